//! Requests, orders, user events, accounts.

use serde_json::{Value, json};
use venue::faults::Fault;

use crate::common::{Client, Socket, hmac, now_ms, small};
use crate::{ORDER, far, market, once, post};

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
async fn listen_keys_expire_and_user_events_go_astray() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    // The fill's report comes before NEW.
    venue.inject(once(Fault::Late { stream: "user@ORDER_TRADE_UPDATE@NEW".into(), ms: 300 })).unwrap();
    client.ok("POST", "/fapi/v1/order", &market("BUY", "late-new")).await;
    let first = user.until(|v| v["o"]["c"] == "late-new").await;
    assert_eq!(first["o"]["x"], "TRADE");
    let then = user.until(|v| v["o"]["c"] == "late-new" && v["o"]["x"] == "NEW").await;
    assert_eq!(then["o"]["X"], "NEW");
    venue.inject(Fault::ExpireListenKeys { event: true }).unwrap();
    user.event("listenKeyExpired").await;
    assert_eq!(client.try_call("PUT", "/fapi/v1/listenKey", "").await.unwrap().code(), -1125);
    client.ok("POST", "/fapi/v1/order", &market("BUY", "unheard")).await;
    assert!(user.within(300).await.is_empty(), "the socket stays open and silent");
}

#[tokio::test]
async fn others_act_on_the_account_and_the_venue_changes_its_rules() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    let order = json!({"fault": "external_order", "symbol": "BTCUSDT", "side": "BUY", "quantity": "0.050"});
    assert_eq!(post(&venue, order).await.0, 200);
    let event = user.event("ORDER_TRADE_UPDATE/TRADE").await;
    assert!(event["o"]["c"].as_str().unwrap().starts_with("web_"));
    assert_eq!(
        post(&venue, json!({"fault": "deleverage", "symbol": "BTCUSDT", "quantity": "0.020"})).await.0,
        200
    );
    let event = user.event("ORDER_TRADE_UPDATE/CALCULATED").await;
    assert_eq!(event["o"]["c"], "adl_autoclose");
    assert_eq!(post(&venue, json!({"fault": "liquidate"})).await.0, 200);
    let event = user.event("ORDER_TRADE_UPDATE/CALCULATED").await;
    assert!(event["o"]["c"].as_str().unwrap().starts_with("autoclose-"));
    assert_eq!(client.ok("GET", "/fapi/v3/positionRisk", "").await.as_array().unwrap().len(), 0);
    assert_eq!(
        post(
            &venue,
            json!({"fault": "set_filter", "symbol": "BTCUSDT", "tick": "0.50", "min_notional": "2000"})
        )
        .await
        .0,
        200
    );
    let info = client.get("/fapi/v1/exchangeInfo", "").await.json;
    assert_eq!(info["symbols"][0]["filters"][0]["tickSize"], "0.5");
    assert_eq!(client.signed("POST", "/fapi/v1/order", &far("small")).await.code(), -4164);
    assert_eq!(post(&venue, json!({"fault": "no_such_fault"})).await.0, 400);
    assert_eq!(post(&venue, json!({"fault": "clock_offset", "ms": 20_000})).await.0, 200);
    assert_eq!(client.signed("GET", "/fapi/v3/balance", "").await.code(), -1021);
    venue.clear_faults();
    venue.inject(Fault::Ban { ms: 60_000 }).unwrap();
    let r = client.signed("GET", "/fapi/v3/balance", "").await;
    assert_eq!((r.status, r.code()), (418, -1003));
    assert!(r.json["msg"].as_str().unwrap().contains("banned until"));
}

#[tokio::test]
async fn user_events_are_lost_doubled_swapped_and_repeated() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    let event = |x: &str| format!("user@ORDER_TRADE_UPDATE@{x}");
    venue.inject(once(Fault::Drop { stream: event("NEW") })).unwrap();
    venue.inject(once(Fault::Duplicate { stream: event("TRADE") })).unwrap();
    client.ok("POST", "/fapi/v1/order", &market("SELL", "a")).await;
    let seen = user.within(300).await;
    let executions: Vec<&str> = seen.iter().filter_map(|v| v["o"]["x"].as_str()).collect();
    assert!(!executions.contains(&"NEW"));
    assert!(executions.len() >= 2 && seen.iter().filter(|v| **v == seen[seen.len() - 1]).count() >= 1);
    let doubled = seen.iter().filter(|v| v["o"]["x"] == "TRADE");
    let ids: Vec<u64> = doubled.map(|v| v["o"]["t"].as_u64().unwrap()).collect();
    assert_eq!(ids[0], ids[1], "the same trade twice");
    // A second subscriber gets the last events again.
    venue.inject(once(Fault::ReplayEvents { count: 2 })).unwrap();
    let mut again = Socket::user(&venue, &client).await;
    let last = [again.json().await, again.json().await];
    assert_eq!(last[1]["o"]["t"], ids[ids.len() - 1]);
    // The venue publishes ACCOUNT_UPDATE, TRADE_LITE, then the execution.
    assert_eq!(last[0]["e"], "TRADE_LITE");
    // An event that never comes: the order is filled all the same.
    venue.inject(Fault::Mute { stream: "user@*".into() }).unwrap();
    client.ok("POST", "/fapi/v1/order", &market("BUY", "b")).await;
    assert!(user.within(200).await.is_empty());
    let r = client.ok("GET", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=b").await;
    assert_eq!(r["status"], "FILLED");
}

#[tokio::test]
async fn a_fill_comes_before_the_cancel_or_the_modify() {
    let venue = small();
    let client = Client::new(&venue);
    let fault =
        |q: Option<&str>| once(Fault::FillFirst { symbol: "*".into(), quantity: q.map(str::to_owned) });
    client.ok("POST", "/fapi/v1/order", &far("all")).await;
    venue.inject(fault(None)).unwrap();
    let name = |id: &str| format!("symbol=BTCUSDT&origClientOrderId={id}");
    assert_eq!(client.signed("DELETE", "/fapi/v1/order", &name("all")).await.code(), -2011);
    assert_eq!(client.ok("GET", "/fapi/v1/order", &name("all")).await["status"], "FILLED");
    client.ok("POST", "/fapi/v1/order", &far("part")).await;
    venue.inject(fault(Some("0.004"))).unwrap();
    let r = client.ok("DELETE", "/fapi/v1/order", &name("part")).await;
    assert_eq!((r["status"].as_str(), r["executedQty"].as_str()), (Some("CANCELED"), Some("0.004")));
    client.ok("POST", "/fapi/v1/order", &far("edit")).await;
    venue.inject(fault(None)).unwrap();
    let edit = format!("{}&side=BUY&quantity=0.020&price=82000", name("edit"));
    assert_eq!(client.signed("PUT", "/fapi/v1/order", &edit).await.code(), -2013);
    let held = client.ok("GET", "/fapi/v3/positionRisk", "").await;
    assert_eq!(held[0]["positionAmt"], "0.024");
}

#[tokio::test]
async fn the_operator_fills_and_cancels() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    for id in ["one", "two"] {
        client.ok("POST", "/fapi/v1/order", &far(id)).await;
    }
    let fill = json!({"fault": "fill_order", "symbol": "BTCUSDT", "client_id": "one", "quantity": "0.003"});
    assert_eq!(post(&venue, fill).await.0, 200);
    let event = user.event("ORDER_TRADE_UPDATE/TRADE").await;
    assert_eq!((event["o"]["X"].as_str(), event["o"]["m"].as_bool()), (Some("PARTIALLY_FILLED"), Some(true)));
    assert_eq!(
        post(&venue, json!({"fault": "cancel_order", "symbol": "BTCUSDT", "client_id": "two"})).await.0,
        200
    );
    assert_eq!(user.event("ORDER_TRADE_UPDATE/CANCELED").await["o"]["c"], "two");
    assert_eq!(post(&venue, json!({"fault": "cancel_order", "symbol": "BTCUSDT"})).await.0, 200);
    assert_eq!(user.event("ORDER_TRADE_UPDATE/CANCELED").await["o"]["z"], "0.003");
    let none = json!({"fault": "fill_order", "symbol": "BTCUSDT", "client_id": "one"});
    assert_eq!(post(&venue, none).await.0, 400, "nothing rests");
}

#[tokio::test]
async fn settings_money_and_status_change_behind_ones_back() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    let mut info = Socket::open(&venue, "/market/ws/!contractInfo").await;
    let done = async |body: Value| assert_eq!(post(&venue, body.clone()).await.0, 200, "{body}");
    done(json!({"fault": "set_leverage", "symbol": "BTCUSDT", "leverage": 3})).await;
    assert_eq!(user.event("ACCOUNT_CONFIG_UPDATE").await["ac"]["l"], 3);
    done(json!({"fault": "set_margin_type", "symbol": "BTCUSDT", "isolated": true})).await;
    let config = client.ok("GET", "/fapi/v1/symbolConfig", "symbol=BTCUSDT").await;
    assert_eq!(config[0]["marginType"], "ISOLATED");
    done(json!({"fault": "set_margin_type", "symbol": "BTCUSDT", "isolated": false})).await;
    done(json!({"fault": "set_hedge", "on": true})).await;
    assert_eq!(client.signed("POST", "/fapi/v1/order", &market("BUY", "x")).await.code(), -4061);
    done(json!({"fault": "set_hedge", "on": false})).await;
    client.ok("POST", "/fapi/v1/order", &market("BUY", "y")).await;
    assert_eq!(post(&venue, json!({"fault": "set_hedge", "on": true})).await.0, 400, "it holds a position");
    done(json!({"fault": "funding", "symbol": "BTCUSDT", "rate": 0.001})).await;
    let paid = user.until(|v| v["a"]["m"] == "FUNDING_FEE").await;
    assert!(paid["a"]["B"][0]["bc"].as_str().unwrap().starts_with('-'));
    done(json!({"fault": "transfer", "amount": "-99900"})).await;
    user.until(|v| v["a"]["m"] == "WITHDRAW").await;
    let big = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=1";
    assert_eq!(client.signed("POST", "/fapi/v1/order", big).await.code(), -2019);
    for (status, code) in [("BREAK", -1122), ("CANCEL_ONLY", -1122), ("SETTLING", -4140), ("CLOSE", -1122)] {
        done(json!({"fault": "set_status", "symbol": "BTCUSDT", "status": status})).await;
        assert_eq!(info.json().await["cs"], status);
        assert_eq!(client.signed("POST", "/fapi/v1/order", &market("SELL", "z")).await.code(), code);
    }
    done(json!({"fault": "settle", "symbol": "BTCUSDT"})).await;
    let closed = user.until(|v| v["o"]["c"].as_str().is_some_and(|c| c.starts_with("settlement_"))).await;
    assert_eq!(closed["o"]["X"], "FILLED");
}

#[tokio::test]
async fn faults_strike_the_websocket_api_too() {
    let venue = small();
    let client = Client::new(&venue);
    let mut api = Socket::open(&venue, "/ws-fapi/v1").await;
    let order = |id: &str| {
        let at = now_ms();
        let text = format!(
            "apiKey=K&newClientOrderId={id}&quantity=0.001&side=BUY&symbol=BTCUSDT&timestamp={at}&type=MARKET"
        );
        json!({"id": id, "method": "order.place", "params": {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET",
            "quantity": "0.001", "newClientOrderId": id, "apiKey": "K", "timestamp": at, "signature": hmac("S", &text)}})
    };
    let on = || "order.place".to_owned();
    // A late reply is overtaken.
    venue.inject(once(Fault::ReplyDelay { on: on(), ms: 300 })).unwrap();
    api.send(order("slow")).await;
    api.send(order("fast")).await;
    assert_eq!(api.json().await["id"], "fast");
    assert_eq!(api.json().await["id"], "slow");
    venue.inject(once(Fault::ReplyNever { on: on(), executed: true })).unwrap();
    api.send(order("never")).await;
    venue
        .inject(once(Fault::ReplyError {
            on: on(),
            code: -1008,
            msg: "busy".into(),
            status: 503,
            executed: false,
        }))
        .unwrap();
    api.send(order("busy")).await;
    let r = api.json().await;
    assert_eq!(
        (r["id"].as_str(), r["status"].as_u64(), r["error"]["code"].as_i64()),
        (Some("busy"), Some(503), Some(-1008))
    );
    for (id, there) in [("slow", true), ("never", true), ("busy", false)] {
        let r =
            client.signed("GET", "/fapi/v1/order", &format!("symbol=BTCUSDT&origClientOrderId={id}")).await;
        assert_eq!(r.status == 200, there, "{id}");
    }
    venue.inject(once(Fault::ReplyLost { on: on(), executed: true })).unwrap();
    api.send(order("lost")).await;
    assert!(api.text().await.is_none(), "reset");
    venue.inject(Fault::RevokeKey { api_key: "K".into() }).unwrap();
    assert_eq!(client.signed("GET", "/fapi/v3/balance", "").await.code(), -2015);
    assert!(venue.inject(Fault::RevokeKey { api_key: "K".into() }).is_err(), "it is gone");
}
