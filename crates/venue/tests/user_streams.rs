//! Which user streams deliver (SPEC 8): in production only `…?listenKey=K&events=A/B` does, the testnet takes other
//! forms too; and `events` says which kinds.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;

use std::collections::BTreeSet;

use bench::{Bench, read};
use serde_json::Value;
use venue::{Rules, VenueConfig};

fn venue(rules: Rules) -> (Bench, String) {
    let mut b = Bench::new(VenueConfig { symbols: 1, rules, ..VenueConfig::default() });
    let (_, key) = b.call("POST", "/fapi/v1/listenKey", "");
    b.run(500);
    (b, key["listenKey"].as_str().unwrap().to_owned())
}

/// The kinds of events that a connection to `path` gets of a fill.
fn kinds(b: &mut Bench, path: &str) -> BTreeSet<String> {
    let mut c = b.connect(path);
    assert!(c.head().unwrap().starts_with("HTTP/1.1 101"), "{path}: every form connects");
    let order = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001";
    assert_eq!(b.call("POST", "/fapi/v1/order", order).0, 200);
    let kind = |v: Value| {
        let event = if v["data"].is_object() { &v["data"] } else { &v };
        event["e"].as_str().unwrap().to_owned()
    };
    read(&c.texts()).into_iter().map(kind).collect()
}

fn set(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|s| (*s).to_owned()).collect()
}

const ALL: [&str; 3] = ["ACCOUNT_UPDATE", "ORDER_TRADE_UPDATE", "TRADE_LITE"];

#[test]
fn under_mainnet_rules_only_named_events_come() {
    let (mut b, key) = venue(Rules::default());
    for silent in [
        format!("/private/ws/{key}"),
        format!("/private/ws?listenKey={key}"),
        format!("/private/stream?listenKey={key}"),
        format!("/private/stream?streams={key}"),
        format!("/private/ws?listenKey={key}&events="),
        format!("/public/ws?listenKey={key}&events=ORDER_TRADE_UPDATE"),
    ] {
        assert_eq!(kinds(&mut b, &silent), set(&[]), "{silent}");
    }
    let base = format!("/private/ws?listenKey={key}&events=");
    assert_eq!(
        kinds(&mut b, &format!("{base}ORDER_TRADE_UPDATE/ACCOUNT_UPDATE/TRADE_LITE/ALGO_UPDATE")),
        set(&ALL)
    );
    assert_eq!(kinds(&mut b, &format!("{base}ORDER_TRADE_UPDATE")), set(&["ORDER_TRADE_UPDATE"]));
    assert_eq!(
        kinds(&mut b, &format!("{base}ACCOUNT_UPDATE%2FTRADE_LITE")),
        set(&ALL[..1]).union(&set(&ALL[2..])).cloned().collect()
    );
    let events = "events=TRADE_LITE&listenKey=";
    let combined = format!(
        "/private/stream?listenKey={key}&{events}0123456789abcdef0123456789abcdef&events=ACCOUNT_UPDATE"
    );
    assert_eq!(kinds(&mut b, &combined), set(&["TRADE_LITE"]), "each key has its own events");
}

#[test]
fn the_testnet_takes_every_form() {
    let (mut b, key) = venue(Rules::demo());
    for path in [
        format!("/private/ws/{key}"),
        format!("/private/ws?listenKey={key}"),
        format!("/private/stream?streams={key}"),
    ] {
        assert_eq!(kinds(&mut b, &path), set(&ALL), "{path}");
    }
    let some = format!("/private/ws?listenKey={key}&events=TRADE_LITE");
    assert_eq!(kinds(&mut b, &some), set(&["TRADE_LITE"]), "but events are chosen there, too");
}

#[test]
fn a_key_that_is_subscribed_to_delivers_everything() {
    let (mut b, key) = venue(Rules::default());
    let mut c = b.connect("/private/stream");
    c.text(&format!(r#"{{"method":"SUBSCRIBE","params":["{key}"],"id":1}}"#));
    b.run(0);
    b.call("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.001");
    let texts = read(&c.texts());
    assert_eq!(texts[0]["result"], Value::Null);
    assert!(texts[1..].iter().all(|v| v["stream"] == key[..]));
    let got: BTreeSet<String> =
        texts[1..].iter().map(|v| v["data"]["e"].as_str().unwrap().to_owned()).collect();
    assert_eq!(got, set(&ALL));
}

#[test]
fn an_expired_key_says_so_where_that_is_asked_for() {
    let (mut b, key) =
        venue(Rules { listen_key_life: std::time::Duration::from_secs(60), ..Rules::default() });
    let mut c = b.connect(&format!("/private/ws?listenKey={key}&events=listenKeyExpired"));
    let mut d = b.connect(&format!("/private/ws?listenKey={key}&events=ORDER_TRADE_UPDATE"));
    b.run(60_000);
    assert_eq!(read(&c.texts()).last().unwrap()["e"], "listenKeyExpired");
    assert!(d.texts().is_empty());
}

#[test]
fn unrouted_urls_deliver_markets_on_the_testnet_alone() {
    for (rules, delivered) in [(Rules::default(), false), (Rules::demo(), true)] {
        let (mut b, key) = venue(rules);
        let mut c = b.connect("/stream?streams=btcusdt@markPrice@1s");
        let mut d = b.connect("/ws/btcusdt@bookTicker");
        b.run(2500);
        assert_eq!((!c.texts().is_empty(), d.texts().is_empty()), (delivered, false));
        assert_eq!(kinds(&mut b, &format!("/ws/{key}")).is_empty(), !delivered);
    }
}
