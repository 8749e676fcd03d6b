//! The faults do what they say.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::{Client, Socket, small};
use serde_json::{Value, json};
use venue::faults::{Ending, Fault, Rule};

const ORDER: &str = "POST /fapi/v1/order";

fn once(fault: Fault) -> Rule {
    Rule { fault, times: 1, skip: 0 }
}

fn far(id: &str) -> String {
    format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=82000&newClientOrderId={id}"
    )
}

#[tokio::test]
async fn lost_replies_and_unknown_outcomes() {
    let venue = small();
    let client = Client::new(&venue);
    for (id, executed) in [("lost-1", true), ("lost-2", false)] {
        venue.inject(once(Fault::ReplyLost { on: ORDER.into(), executed })).unwrap();
        let query = client.signed_query(&far(id));
        assert!(client.try_call("POST", "/fapi/v1/order", &query).await.is_err());
        let r =
            client.signed("GET", "/fapi/v1/order", &format!("symbol=BTCUSDT&origClientOrderId={id}")).await;
        assert_eq!(r.status == 200, executed, "{}", r.json);
    }
    let unknown = Fault::ReplyError {
        on: ORDER.into(),
        code: -1007,
        msg:
            "Timeout waiting for response from backend server. Send status unknown; execution status unknown."
                .into(),
        status: 408,
        executed: true,
    };
    venue.inject(once(unknown)).unwrap();
    let r = client.signed("POST", "/fapi/v1/order", &far("unknown-1")).await;
    assert_eq!((r.status, r.code()), (408, -1007));
    assert_eq!(
        client.signed("POST", "/fapi/v1/order", &far("unknown-1")).await.code(),
        -4116,
        "it was executed"
    );
    venue.inject(Fault::Overload).unwrap();
    assert_eq!(client.signed("POST", "/fapi/v1/order", &far("over")).await.code(), -1008);
    client.ok("DELETE", "/fapi/v1/allOpenOrders", "symbol=BTCUSDT").await;
    venue.clear_faults();
    venue.inject(Fault::ReadLag { ms: 60_000 }).unwrap();
    client.ok("POST", "/fapi/v1/order", &far("lag")).await;
    assert_eq!(
        client.signed("GET", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=lag").await.code(),
        -2013
    );
}

#[tokio::test]
async fn gaps_duplicates_disorder_and_mutes() {
    let venue = small();
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await;
    let stream = || "btcusdt@depth@100ms".to_owned();
    let u = |v: &Value, name: &str| v[name].as_u64().unwrap();
    // What came before the fault is read before it: the fault may strike the very next frame.
    let mut last = u(&s.json().await, "u");
    venue.inject(once(Fault::Drop { stream: stream() })).unwrap();
    loop {
        let v = s.json().await;
        if u(&v, "pu") != last {
            break;
        }
        last = u(&v, "u");
    }
    let mut last = s.json().await;
    venue.inject(once(Fault::Duplicate { stream: stream() })).unwrap();
    loop {
        let v = s.json().await;
        if v == last {
            break;
        }
        last = v;
    }
    let mut last = u(&s.json().await, "u");
    venue.inject(once(Fault::Reorder { stream: stream() })).unwrap();
    loop {
        let v = s.json().await;
        if u(&v, "u") < last {
            break;
        }
        last = u(&v, "u");
    }
    venue.inject(once(Fault::Truncate { stream: stream() })).unwrap();
    while serde_json::from_str::<Value>(&s.text().await.unwrap()).is_ok() {}
    s.subscribe(&["ethusdt@depth@100ms"]).await;
    venue.inject(Fault::Mute { stream: "btcusdt@*".into() }).unwrap();
    s.within(300).await;
    let heard = s.within(600).await;
    assert!(!heard.is_empty() && heard.iter().all(|v| v["s"] == "ETHUSDT"));
}

#[tokio::test]
async fn connections_end_in_three_ways() {
    let venue = small();
    for how in [Ending::Close, Ending::Reset] {
        let mut s = Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await;
        s.json().await;
        venue.inject(Fault::Disconnect { route: "public".into(), how }).unwrap();
        while s.text().await.is_some() {}
    }
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await;
    s.json().await;
    venue.inject(Fault::Disconnect { route: "*".into(), how: Ending::Silence }).unwrap();
    s.within(200).await;
    assert!(s.within(500).await.is_empty(), "half open: nothing comes, nothing ends");
}

#[tokio::test]
async fn listen_keys_expire_and_user_events_go_astray() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010";
    // The fill's report comes before NEW.
    venue.inject(once(Fault::Late { stream: "user@ORDER_TRADE_UPDATE@NEW".into(), ms: 300 })).unwrap();
    client.ok("POST", "/fapi/v1/order", &format!("{market}&newClientOrderId=late-new")).await;
    let first = user.until(|v| v["o"]["c"] == "late-new").await;
    assert_eq!(first["o"]["x"], "TRADE");
    let then = user.until(|v| v["o"]["c"] == "late-new" && v["o"]["x"] == "NEW").await;
    assert_eq!(then["o"]["X"], "NEW");
    venue.inject(Fault::ExpireListenKeys { event: true }).unwrap();
    user.event("listenKeyExpired").await;
    assert_eq!(client.try_call("PUT", "/fapi/v1/listenKey", "").await.unwrap().code(), -1125);
    client.ok("POST", "/fapi/v1/order", market).await;
    assert!(user.within(300).await.is_empty(), "the socket stays open and silent");
}

#[tokio::test]
async fn others_act_on_the_account_and_the_venue_changes_its_rules() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    // Over the operator's route, as a test of the binary would.
    let http = reqwest::Client::new();
    let post = async |body: Value| {
        http.post(format!("{}/dolphin/faults", venue.http()))
            .body(body.to_string())
            .send()
            .await
            .unwrap()
            .status()
            .as_u16()
    };
    let order = json!({"fault": "external_order", "symbol": "BTCUSDT", "side": "BUY", "quantity": "0.050"});
    assert_eq!(post(order).await, 200);
    let event = user.event("ORDER_TRADE_UPDATE/TRADE").await;
    assert!(event["o"]["c"].as_str().unwrap().starts_with("web_"));
    assert_eq!(post(json!({"fault": "deleverage", "symbol": "BTCUSDT", "quantity": "0.020"})).await, 200);
    let event = user.event("ORDER_TRADE_UPDATE/CALCULATED").await;
    assert_eq!(event["o"]["c"], "adl_autoclose");
    assert_eq!(post(json!({"fault": "liquidate"})).await, 200);
    let event = user.event("ORDER_TRADE_UPDATE/CALCULATED").await;
    assert!(event["o"]["c"].as_str().unwrap().starts_with("autoclose-"));
    assert_eq!(client.ok("GET", "/fapi/v3/positionRisk", "").await.as_array().unwrap().len(), 0);
    assert_eq!(
        post(json!({"fault": "set_filter", "symbol": "BTCUSDT", "tick": "0.50", "min_notional": "2000"}))
            .await,
        200
    );
    let info = client.get("/fapi/v1/exchangeInfo", "").await.json;
    assert_eq!(info["symbols"][0]["filters"][0]["tickSize"], "0.5");
    assert_eq!(client.signed("POST", "/fapi/v1/order", &far("small")).await.code(), -4164);
    assert_eq!(post(json!({"fault": "no_such_fault"})).await, 400);
    assert_eq!(post(json!({"fault": "clock_offset", "ms": 20_000})).await, 200);
    assert_eq!(client.signed("GET", "/fapi/v3/balance", "").await.code(), -1021);
    venue.clear_faults();
    venue.inject(Fault::Ban { ms: 60_000 }).unwrap();
    let r = client.signed("GET", "/fapi/v3/balance", "").await;
    assert_eq!((r.status, r.code()), (418, -1003));
    assert!(r.json["msg"].as_str().unwrap().contains("banned until"));
}
