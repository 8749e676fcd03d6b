//! Connections, hosts, clocks, limits.

use std::time::Duration;

use serde_json::json;
use venue::faults::{Ending, Fault, Rule};
use venue::{Rules, VenueConfig};

use crate::common::{Client, Socket, small, start};
use crate::{ORDER, far, once, post};

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
async fn a_half_open_socket_answers_no_ping() {
    let venue = small();
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await;
    s.json().await;
    assert!(s.pong().await, "before");
    venue.inject(Fault::Disconnect { route: "public".into(), how: Ending::Silence }).unwrap();
    assert!(!s.pong().await, "after");
}

#[tokio::test]
async fn new_connections_are_refused_or_ignored_for_a_while() {
    let venue = small();
    let client = Client::new(&venue);
    client.ok("GET", "/fapi/v3/balance", "").await;
    venue.inject_for(Fault::RefuseConnections, Duration::from_millis(400)).unwrap();
    assert!(Socket::try_open(&venue, "/public/ws/btcusdt@depth").await.is_err());
    client.ok("GET", "/fapi/v3/balance", "").await; // the old connection lives
    while Socket::try_open(&venue, "/public/ws/btcusdt@depth").await.is_err() {}
    let id = venue.inject(once(Fault::IgnoreConnections)).unwrap();
    let open = Socket::try_open(&venue, "/public/ws/btcusdt@depth");
    assert!(tokio::time::timeout(Duration::from_millis(300), open).await.is_err(), "no answer at all");
    assert_eq!(venue.hits(id), 1);
    Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await.json().await;
}

#[tokio::test]
async fn rest_connections_are_cut_and_a_new_one_works() {
    let venue = small();
    let client = Client::new(&venue);
    client.ok("GET", "/fapi/v3/balance", "").await;
    venue.inject(once(Fault::ReplyNever { on: "GET /fapi/v3/balance".into(), executed: false })).unwrap();
    let query = client.signed_query("");
    let hanging = client.try_call("GET", "/fapi/v3/balance", &query);
    let cut = async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        venue.inject(Fault::Disconnect { route: "rest".into(), how: Ending::Reset }).unwrap();
    };
    assert!(tokio::join!(hanging, cut).0.is_err());
    client.ok("GET", "/fapi/v3/balance", "").await;
}

#[tokio::test]
async fn connections_have_a_life_and_a_limit() {
    let rules = Rules { connections_per_5min: 4, ..Rules::default() };
    let venue = start(VenueConfig { symbols: 1, rules, ..VenueConfig::default() });
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await;
    s.json().await;
    venue.inject(Fault::ConnectionLife { ms: 500 }).unwrap();
    while s.text().await.is_some() {}
    venue.clear_faults();
    for _ in 0..3 {
        Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await.json().await;
    }
    let refused = Socket::try_open(&venue, "/public/ws/btcusdt@depth@100ms").await;
    assert!(refused.err().unwrap().contains("429"));
    assert_eq!(venue.counters().connects, 4);
}

#[tokio::test]
async fn maintenance_and_firewall() {
    let venue = small();
    let client = Client::new(&venue);
    assert_eq!(post(&venue, json!({"fault": "page", "status": 503})).await.0, 200);
    let r = client.signed("POST", "/fapi/v1/order", &far("page")).await;
    assert_eq!((r.status, r.json.is_null()), (503, true), "no JSON");
    assert!(Socket::try_open(&venue, "/private/ws?listenKey=x").await.err().unwrap().contains("503"));
    assert_eq!(post(&venue, json!({"fault": "clock_drift", "ppm": 0})).await.0, 200, "but the operator");
    venue.clear_faults();
    assert_eq!(
        client.signed("GET", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=page").await.code(),
        -2013
    );
    venue.inject(once(Fault::Page { on: "GET /fapi/v1/*".into(), status: 403 })).unwrap();
    assert_eq!(client.get("/fapi/v1/time", "").await.status, 403);
    assert_eq!(client.get("/fapi/v1/time", "").await.status, 200);
}

#[tokio::test]
async fn limits_and_waits() {
    let venue = small();
    let client = Client::new(&venue);
    venue.inject(once(Fault::TooManyRequests { retry_after_s: 7 })).unwrap();
    let r = client.signed("GET", "/fapi/v3/balance", "").await;
    assert_eq!((r.status, r.code(), r.headers["retry-after"].as_bytes()), (429, -1003, &b"7"[..]));
    // Late execution and late reply: the order exists before the late reply comes, not before the late execution.
    for (fault, there) in [
        (Fault::ReplyDelay { on: ORDER.into(), ms: 600 }, true),
        (Fault::RequestDelay { on: ORDER.into(), ms: 600 }, false),
    ] {
        venue.inject(once(fault)).unwrap();
        let id = format!("late-{there}");
        let (query, ask) = (client.signed_query(&far(&id)), format!("symbol=BTCUSDT&origClientOrderId={id}"));
        let place = client.try_call("POST", "/fapi/v1/order", &query);
        let look = async {
            tokio::time::sleep(Duration::from_millis(250)).await;
            client.signed("GET", "/fapi/v1/order", &ask).await.status
        };
        let (placed, seen) = tokio::join!(place, look);
        assert_eq!(placed.unwrap().status, 200);
        assert_eq!(seen == 200, there);
    }
}

#[tokio::test]
async fn the_clock_drifts() {
    let venue = small();
    let client = Client::new(&venue);
    let off = async || {
        let t = client.get("/fapi/v1/time", "").await.json["serverTime"].as_i64().unwrap();
        t - i64::try_from(crate::common::now_ms()).unwrap()
    };
    assert!(off().await.abs() < 100);
    venue.inject(Fault::ClockDrift { ppm: 5_000_000 }).unwrap();
    let mut last = off().await;
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(50)).await;
        let now = off().await;
        assert!(now > last, "{last} {now}");
        last = now;
    }
    venue.clear_faults();
    venue.inject(Rule::times(Fault::ClockOffset { ms: -2000 }, 0)).unwrap();
    assert_eq!(client.signed("GET", "/fapi/v3/balance", "").await.code(), -1021, "ahead of the venue");
}
