//! A session over real sockets: market data, orders, user stream, WebSocket API.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeMap;

use common::{Client, Socket, hmac, now_ms, small, start};
use ed25519_dalek::{Signer, SigningKey};
use serde_json::{Value, json};
use venue::{AccountConfig, Credential, Rules, VenueConfig, VenueError};

fn number(v: &Value) -> f64 {
    v.as_str().unwrap().parse().unwrap()
}

#[tokio::test]
async fn the_depth_stream_bridges_to_the_snapshot_and_chains() {
    let venue = small();
    let client = Client::new(&venue);
    let mut depth = Socket::open(&venue, "/public/stream?streams=btcusdt@depth@100ms").await;
    let mut events = vec![depth.json().await["data"].clone()];
    let snapshot = client.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=1000").await.json;
    let last = snapshot["lastUpdateId"].as_u64().unwrap();
    while events.len() < 30 || events.last().unwrap()["u"].as_u64().unwrap() <= last {
        events.push(depth.json().await["data"].clone());
    }
    for w in events.windows(2) {
        assert_eq!(w[1]["pu"], w[0]["u"], "pu chains");
        assert!(w[1]["U"].as_u64() > w[0]["u"].as_u64());
    }
    let mut book: [BTreeMap<i64, f64>; 2] = Default::default();
    let mut apply = |side: usize, rows: &Value| {
        for r in rows.as_array().unwrap() {
            let (px, qty) = ((number(&r[0]) * 10.0).round() as i64, number(&r[1]));
            if qty == 0.0 {
                book[side].remove(&px)
            } else {
                book[side].insert(px, qty)
            };
        }
    };
    apply(0, &snapshot["bids"]);
    apply(1, &snapshot["asks"]);
    let live: Vec<&Value> = events.iter().filter(|e| e["u"].as_u64().unwrap() >= last).collect();
    assert!(live[0]["U"].as_u64().unwrap() <= last, "the first one bridges");
    for e in live {
        apply(0, &e["b"]);
        apply(1, &e["a"]);
    }
    let (bid, ask) = (*book[0].keys().next_back().unwrap(), *book[1].keys().next().unwrap());
    assert!(bid < ask && bid > 800_000, "{bid} {ask}");
    assert!(*book[0].keys().next().unwrap() < bid * 96 / 100, "depth reaches beyond 4 %");
}

#[tokio::test]
async fn public_and_market_streams_on_their_routes() {
    let venue = small();
    let mut public = Socket::open(&venue, "/public/ws/0").await;
    public
        .subscribe(&["btcusdt@bookTicker", "btcusdt@trade", "btcusdt@depth5@100ms", "btcusdt@aggTrade"])
        .await;
    let mut market = Socket::open(&venue, "/market/stream?streams=").await;
    market
        .subscribe(&["btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@kline_1m", "!miniTicker@arr"])
        .await;
    for e in ["bookTicker", "trade", "depthUpdate"] {
        let v = public.until(|v| v["e"] == e).await;
        assert_eq!((v["s"].as_str(), v["E"].is_u64()), (Some("BTCUSDT"), true), "{v}");
    }
    for stream in ["btcusdt@aggTrade", "btcusdt@markPrice@1s", "btcusdt@kline_1m", "!miniTicker@arr"] {
        market.until(|v| v["stream"] == stream).await;
    }
    // aggTrade ids are contiguous.
    let mut last = None;
    for _ in 0..3 {
        let id = market.until(|v| v["stream"] == "btcusdt@aggTrade").await["data"]["a"].as_u64().unwrap();
        assert!(last.is_none_or(|l: u64| id == l + 1));
        last = Some(id);
    }
    // The wrong route was acknowledged and stays silent.
    assert!(public.within(600).await.iter().all(|v| v["e"] != "aggTrade"));
    // An unrouted URL delivers public data only.
    let mut legacy = Socket::open(&venue, "/stream?streams=btcusdt@aggTrade/btcusdt@depth@100ms").await;
    assert!(legacy.within(800).await.iter().all(|v| v["stream"] == "btcusdt@depth@100ms"));
}

#[tokio::test]
async fn a_latency_is_the_way_to_the_venue() {
    let latency = std::time::Duration::from_millis(150);
    let venue = start(VenueConfig { symbols: 1, latency, ..VenueConfig::default() });
    let client = Client::new(&venue);
    let begun = std::time::Instant::now();
    let reply = client.get("/api/v3/ping", "").await;
    assert!(begun.elapsed() >= latency);
    assert_eq!(reply.headers.get("x-mbx-used-weight"), reply.headers.get("x-mbx-used-weight-1m"));
    assert!(reply.headers.contains_key("x-mbx-used-weight"), "as the spot API tells it");
    let mut s = Socket::open(&venue, "/public/stream").await;
    let begun = std::time::Instant::now();
    s.subscribe(&["btcusdt@bookTicker"]).await;
    assert!(begun.elapsed() >= latency);
}

#[tokio::test]
async fn control_frames() {
    let venue = start(VenueConfig {
        symbols: 1,
        rules: Rules { messages_per_second: 8, ..Rules::default() },
        ..VenueConfig::default()
    });
    let mut s = Socket::open(&venue, "/public/stream").await;
    let mut ask = async |v: Value| {
        s.send(v).await;
        s.until(|v| v.get("stream").is_none()).await
    };
    assert_eq!(ask(json!({"method": "LIST_SUBSCRIPTIONS", "id": 7})).await, json!({"result": [], "id": 7}));
    assert_eq!(ask(json!({"method": "GET_PROPERTY", "params": ["combined"], "id": 8})).await["result"], true);
    assert_eq!(
        ask(json!({"method": "SET_PROPERTY", "params": ["combined", 5], "id": 9})).await["error"]["code"],
        1
    );
    assert_eq!(ask(json!({"method": "NONSENSE", "id": "x"})).await["error"]["code"], 2);
    // The venue may close before all are sent.
    for n in 0..20 {
        s.try_send(json!({"method": "LIST_SUBSCRIPTIONS", "id": n})).await;
    }
    while s.text().await.is_some() {}
}

#[tokio::test]
async fn orders_fills_user_events_and_money() {
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    let ticker = client.get("/fapi/v1/ticker/bookTicker", "symbol=BTCUSDT").await.json;
    let low = (number(&ticker["bidPrice"]) * 0.97).floor();
    // A resting order: placed, seen, queried, modified, cancelled.
    let query = format!(
        "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTX&quantity=0.010&price={low}&newClientOrderId=abc%3A1"
    );
    let placed = client.ok("POST", "/fapi/v1/order", &query).await;
    assert_eq!((placed["status"].as_str(), placed["clientOrderId"].as_str()), (Some("NEW"), Some("abc:1")));
    assert!(placed.get("avgPrice").is_none(), "gone since 2026-07-15");
    let event = user.event("ORDER_TRADE_UPDATE/NEW").await;
    assert_eq!((event["o"]["c"].as_str(), event["o"]["X"].as_str()), (Some("abc:1"), Some("NEW")));
    let open = client.ok("GET", "/fapi/v1/openOrders", "symbol=BTCUSDT").await;
    assert_eq!(open.as_array().unwrap().len(), 1);
    assert_eq!(client.signed("POST", "/fapi/v1/order", &query).await.code(), -4116);
    let edited = client
        .ok(
            "PUT",
            "/fapi/v1/order",
            &format!("symbol=BTCUSDT&side=BUY&quantity=0.020&price={low}&origClientOrderId=abc%3A1"),
        )
        .await;
    assert_eq!(edited["origQty"], "0.020");
    user.event("ORDER_TRADE_UPDATE/AMENDMENT").await;
    let gone =
        client.ok("DELETE", "/fapi/v1/order", &format!("symbol=BTCUSDT&orderId={}", placed["orderId"])).await;
    assert_eq!(gone["status"], "CANCELED");
    user.event("ORDER_TRADE_UPDATE/CANCELED").await;
    assert_eq!(
        client.signed("DELETE", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=abc%3A1").await.code(),
        -2011
    );
    // A market order: fills, position, fees.
    let taken = client
        .ok(
            "POST",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.010&newOrderRespType=RESULT",
        )
        .await;
    assert_eq!(taken["status"], "FILLED");
    let lite = user.event("TRADE_LITE").await;
    let trade = user.event("ORDER_TRADE_UPDATE/TRADE").await;
    assert_eq!(lite["t"], trade["o"]["t"]);
    let risk = client.ok("GET", "/fapi/v3/positionRisk", "").await;
    assert_eq!(risk[0]["positionAmt"], "-0.010");
    let close = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&reduceOnly=true";
    client.ok("POST", "/fapi/v1/order", close).await;
    assert_eq!(client.signed("POST", "/fapi/v1/order", close).await.code(), -2022);
    // The wallet is the opening balance plus everything in the income history.
    let income = client.ok("GET", "/fapi/v1/income", "limit=1000").await;
    let sum: f64 = income.as_array().unwrap().iter().map(|r| number(&r["income"])).sum();
    let balance = client.ok("GET", "/fapi/v2/balance", "").await;
    assert!((number(&balance[0]["balance"]) - 100_000.0 - sum).abs() < 1e-6);
    let fills = client.ok("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT").await;
    assert!(fills.as_array().unwrap().len() >= 2);
    assert_eq!(fills[0]["id"], trade["o"]["t"]);
    let account = client.ok("GET", "/fapi/v3/account", "").await;
    assert_eq!(account["totalWalletBalance"], balance[0]["balance"]);
}

#[tokio::test]
async fn refusals_carry_the_venues_codes() {
    let venue = small();
    let mut client = Client::new(&venue);
    for (method, path, query, code, status) in [
        ("POST", "/fapi/v1/order", "symbol=NOPE&side=BUY&type=MARKET&quantity=1", -1121, 400),
        ("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=UP&type=MARKET&quantity=1", -1117, 400),
        (
            "POST",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=BUY&type=STOP_MARKET&quantity=1&stopPrice=1",
            -4120,
            400,
        ),
        ("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=80000", -1102, 400),
        ("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.0005", -1111, 400),
        (
            "POST",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.01&price=84000.05",
            -4014,
            400,
        ),
        (
            "POST",
            "/fapi/v1/order",
            "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&positionSide=LONG",
            -4061,
            400,
        ),
        ("GET", "/fapi/v1/order", "symbol=BTCUSDT&orderId=1", -2013, 400),
        ("PUT", "/fapi/v1/listenKey", "", -1125, 400),
        ("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=126", -4028, 400),
        ("POST", "/fapi/v1/positionSide/dual", "dualSidePosition=false", -4059, 400),
        ("GET", "/fapi/v1/nowhere", "", -1099, 404),
    ] {
        let r = client.signed(method, path, query).await;
        assert_eq!((r.code(), r.status), (code, status), "{method} {path} {query}: {}", r.json);
    }
    let stale = format!("timestamp={}", now_ms() - 6000);
    let signature = hmac("S", &stale);
    let r = client.get("/fapi/v3/balance", &format!("{stale}&signature={signature}")).await;
    assert_eq!(r.code(), -1021);
    assert!(r.headers.contains_key("X-MBX-USED-WEIGHT-1M"));
    client.secret = "wrong".into();
    assert_eq!(client.signed("GET", "/fapi/v3/balance", "").await.code(), -1022);
    client.key = "nobody".into();
    let r = client.signed("GET", "/fapi/v3/balance", "").await;
    assert_eq!((r.code(), r.status), (-2015, 401));
}

#[tokio::test]
async fn the_websocket_api_places_and_logs_on() {
    let key = SigningKey::from_bytes(&[7; 32]);
    let public =
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.verifying_key().as_bytes());
    let ed = AccountConfig {
        api_key: "ED".into(),
        credential: Credential::Ed25519(public),
        ..AccountConfig::hmac("", "", 5000)
    };
    let venue = start(VenueConfig {
        symbols: 1,
        accounts: vec![AccountConfig::hmac("K", "S", 1000), ed],
        ..VenueConfig::default()
    });
    let mut api = Socket::open(&venue, "/ws-fapi/v1").await;
    // HMAC, signed over sorted raw parameters.
    let at = now_ms();
    let text = format!("apiKey=K&quantity=0.001&side=BUY&symbol=BTCUSDT&timestamp={at}&type=MARKET");
    let params = json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "0.001", "apiKey": "K",
        "timestamp": at, "signature": hmac("S", &text)});
    api.send(json!({"id": "a", "method": "order.place", "params": params})).await;
    let r = api.json().await;
    assert_eq!((r["id"].as_str(), r["status"].as_u64()), (Some("a"), Some(200)), "{r}");
    assert_eq!(r["rateLimits"][0]["count"], 1);
    // HMAC keys may not log on; Ed25519 keys may, and then need no signature.
    let log_on = |api_key: &str, signature: &dyn Fn(&str) -> String| {
        let at = now_ms();
        let text = format!("apiKey={api_key}&timestamp={at}");
        json!({"id": 2, "method": "session.logon", "params": {"apiKey": api_key, "timestamp": at, "signature": signature(&text)}})
    };
    api.send(log_on("K", &|t| hmac("S", t))).await;
    assert_eq!(api.json().await["status"], 400);
    api.send(log_on("ED", &|t| {
        base64::Engine::encode(&base64::engine::general_purpose::STANDARD, key.sign(t.as_bytes()).to_bytes())
    }))
    .await;
    assert_eq!(api.json().await["result"]["apiKey"], "ED");
    api.send(json!({"id": 3, "method": "v2/account.balance", "params": {"timestamp": now_ms()}})).await;
    assert_eq!(api.json().await["result"][0]["balance"], "5000.00000000");
    api.send(json!({"id": null, "method": "order.cancel", "params": {"symbol": "BTCUSDT", "orderId": 5, "timestamp": now_ms()}})).await;
    assert_eq!(api.json().await["error"]["code"], -2011);
    api.send(json!({"id": 4, "method": "time"})).await;
    assert!(api.json().await["result"]["serverTime"].is_u64());
}

#[tokio::test]
async fn a_port_in_use_and_a_bad_recording_are_told() {
    let venue = small();
    let taken = VenueConfig { listen: venue.addr(), symbols: 1, ..VenueConfig::default() };
    assert!(matches!(venue::Venue::start(taken), Err(VenueError::Listen { .. })));
    let broken = VenueConfig { recordings: vec!["/no/such.gz".into()], ..VenueConfig::default() };
    assert!(matches!(venue::Venue::start(broken), Err(VenueError::Recording { .. })));
    let addr = venue.addr();
    venue.stop();
    assert!(std::net::TcpStream::connect(addr).is_err(), "stopped");
}
