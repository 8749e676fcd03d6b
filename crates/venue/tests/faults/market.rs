//! Market data: frames, books, prices.

use std::time::Duration;

use serde_json::{Value, json};
use venue::faults::{Fault, Rule};

use crate::common::{Client, Socket, small};
use crate::{once, post, u};

#[tokio::test]
async fn gaps_duplicates_disorder_and_mutes() {
    let venue = small();
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await;
    let stream = || "btcusdt@depth@100ms".to_owned();
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
async fn frames_break_in_every_way() {
    let venue = small();
    let mut s = Socket::open(&venue, "/public/stream?streams=btcusdt@depth@100ms").await;
    let stream = || "btcusdt@depth@100ms".to_owned();
    venue.inject(once(Fault::Append { stream: stream(), text: "}{".into() })).unwrap();
    while !s.text().await.unwrap().ends_with("}}}{") {}
    venue.inject(once(Fault::Replace { stream: stream(), text: "[".into() })).unwrap();
    while s.text().await.unwrap() != "[" {}
    let id = venue.inject(once(Fault::Garble { stream: stream() })).unwrap();
    while !s.text().await.unwrap().contains('#') {}
    assert_eq!(venue.hits(id), 1);
    venue.inject(once(Fault::Nest { stream: stream(), depth: 10_000 })).unwrap();
    while !s.text().await.unwrap().starts_with("{\"junk\":[[[") {}
    venue.inject(once(Fault::Oversize { stream: stream(), bytes: 9_000_000 })).unwrap();
    while s.text().await.unwrap().len() < 9_000_000 {}
    venue.inject(once(Fault::Alter { stream: stream(), at: "/u".into(), value: None })).unwrap();
    s.until(|v| v["data"].get("u").is_none()).await;
    venue
        .inject(once(Fault::Alter { stream: stream(), at: "/s".into(), value: Some(json!("币安")) }))
        .unwrap();
    s.until(|v| v["data"]["s"] == "币安").await;
    venue.inject(Fault::StrangeFields { stream: "*".into() }).unwrap();
    s.until(|v| v["data"]["E"].is_string() && v["data"]["zz"].is_object()).await;
    let c = venue.counters();
    assert!(c.faults >= 8, "{c:?}");
}

#[tokio::test]
async fn stale_and_late_snapshots() {
    let venue = small();
    let client = Client::new(&venue);
    let depth =
        async || u(&client.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=5").await.json, "lastUpdateId");
    let before = depth().await;
    venue.inject(Rule::times(Fault::SnapshotStale { symbol: "BTCUSDT".into() }, 2)).unwrap();
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@depth@100ms").await;
    let moved = s.until(|v| u(v, "u") > before + 20).await;
    let stale = [depth().await, depth().await];
    assert_eq!(stale[0], stale[1]);
    assert!(stale[0] < u(&moved, "u"), "older than the stream");
    assert!(depth().await >= u(&moved, "u"), "two times only");
    // A late one is of the moment it was asked for.
    venue.inject(once(Fault::ReplyDelay { on: "GET /fapi/v1/depth".into(), ms: 400 })).unwrap();
    let (late, heard) = tokio::join!(depth(), s.within(700));
    assert!(late < u(heard.last().unwrap(), "U"));
}

/// Best prices of a bookTicker frame, with zero for an empty side.
fn touch(v: &Value) -> (f64, f64) {
    let n = |name: &str| v[name].as_str().unwrap().parse().unwrap();
    (n("b"), n("a"))
}

#[tokio::test]
async fn books_cross_and_lose_a_side_and_heal() {
    let venue = small();
    let client = Client::new(&venue);
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@bookTicker").await;
    let crossed = |v: &Value| touch(v).0 >= touch(v).1;
    assert!(!crossed(&s.json().await));
    venue.inject_for(Fault::CrossBook { symbol: "BTCUSDT".into() }, Duration::from_millis(600)).unwrap();
    s.until(crossed).await;
    let book = client.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=5").await.json;
    let best = |book: &Value, side: &str| book[side][0][0].as_str().unwrap().parse::<f64>().unwrap();
    assert!(best(&book, "bids") > best(&book, "asks"), "the snapshot is crossed, too");
    s.until(|v| !crossed(v)).await;
    let id = venue.inject(Fault::EmptySide { symbol: "BTCUSDT".into(), side: "BUY".into() }).unwrap();
    s.until(|v| touch(v).0 == 0.0).await;
    let book = client.get("/fapi/v1/depth", "symbol=BTCUSDT&limit=5").await.json;
    assert_eq!((book["bids"].as_array().unwrap().len(), book["asks"].as_array().unwrap().len()), (0, 5));
    let sell = "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.010";
    assert_eq!(client.signed("POST", "/fapi/v1/order", sell).await.code(), -2020, "nobody to sell to");
    assert!(venue.remove_fault(id));
    s.until(|v| touch(v).0 > 0.0 && !crossed(v)).await;
    assert!(venue.inject(Fault::CrossBook { symbol: "NOPE".into() }).is_err());
    assert!(venue.inject(Fault::EmptySide { symbol: "BTCUSDT".into(), side: "LEFT".into() }).is_err());
}

#[tokio::test]
async fn prices_jump_and_marks_stray() {
    let venue = small();
    let mut s = Socket::open(&venue, "/public/ws/btcusdt@bookTicker").await;
    let before = touch(&s.json().await);
    venue.inject(Fault::Jump { symbol: "BTCUSDT".into(), factor: 1.5 }).unwrap();
    let after = touch(&s.until(|v| touch(v).0 > before.0 * 1.3).await);
    assert!((after.1 / before.1 - 1.5).abs() < 0.02, "{before:?} {after:?}");
    assert!(venue.inject(Fault::Jump { symbol: "BTCUSDT".into(), factor: 0.0 }).is_err());
    venue.inject(Fault::MarkOff { symbol: "ETHUSDT".into(), factor: 1.2 }).unwrap();
    let mut m = Socket::open(&venue, "/market/ws/ethusdt@markPrice@1s").await;
    let price = |v: &Value, name: &str| v[name].as_str().unwrap().parse::<f64>().unwrap();
    m.until(|v| (price(v, "p") / price(v, "i") - 1.2).abs() < 1e-6).await;
}

#[tokio::test]
async fn a_subscription_is_silent_and_a_fault_ends_by_itself() {
    let venue = small();
    venue.inject(once(Fault::SubscribeSilently)).unwrap();
    let mut s = Socket::open(&venue, "/public/ws/0").await;
    s.subscribe(&["btcusdt@bookTicker"]).await;
    assert!(s.within(500).await.is_empty());
    s.send(json!({"method": "UNSUBSCRIBE", "params": ["btcusdt@bookTicker"], "id": 1})).await;
    assert_eq!(s.json().await["id"], 1);
    s.subscribe(&["btcusdt@bookTicker"]).await;
    s.json().await;
    let (status, reply) = post(&venue, json!({"fault": "mute", "stream": "btcusdt@*", "for_ms": 300})).await;
    assert_eq!(status, 200);
    assert_eq!(reply["id"].as_u64(), Some(2));
    s.within(100).await;
    s.json().await;
    // What is misspelt is told.
    for (body, word) in [
        (json!({"fault": "mute", "stream": "x", "for": 3}), "for"),
        (json!({"fault": "mute"}), "stream"),
        (json!({"fault": "mute", "stream": "x", "for_ms": "3"}), "for_ms"),
        (json!([1]), "not a fault"),
    ] {
        let (status, reply) = post(&venue, body).await;
        assert_eq!(status, 400);
        assert!(reply["error"].as_str().unwrap().contains(word), "{reply}");
    }
}
