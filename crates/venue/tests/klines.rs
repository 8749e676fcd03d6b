//! Candles: every bar ends with one final event, whether it traded or not, and the intervals are the venue's own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;

use std::collections::BTreeMap;

use bench::{Bench, read};
use market::{Px, Qty, Side};
use serde_json::Value;
use venue::{Mirrored, VenueConfig};

const MINUTE: u64 = 60_000;

fn num(v: &Value) -> f64 {
    v.as_str().unwrap().parse().unwrap()
}

#[test]
fn every_bar_ends_with_one_final_event() {
    let mut b = Bench::new(VenueConfig { symbols: 3, ..VenueConfig::default() });
    let mut c = b.connect("/market/stream?streams=btcusdt@kline_1m/ethusdt@kline_1m/btcusdt@kline_3m");
    b.run(245_000);
    let mut bars: BTreeMap<(String, String, u64), Vec<Value>> = BTreeMap::new();
    for event in read(&c.texts()) {
        let k = &event["data"]["k"];
        let (s, i) = (k["s"].as_str().unwrap().to_owned(), k["i"].as_str().unwrap().to_owned());
        bars.entry((s, i, k["t"].as_u64().unwrap())).or_default().push(k.clone());
    }
    // The test begins on a full minute: four bars of a minute have ended and one of three minutes.
    assert_eq!(bars.len(), 5 + 5 + 2, "{:?}", bars.keys());
    for ((symbol, interval, open), events) in &bars {
        let finals = events.iter().filter(|k| k["x"] == true).count();
        let ended = open + if interval == "1m" { MINUTE } else { 3 * MINUTE } <= b.now.millis();
        assert_eq!(finals, usize::from(ended), "{symbol} {interval} {open}");
        assert_eq!(events.last().unwrap()["x"], ended, "the final event is the last one");
        assert!(events.windows(2).all(|w| w[0]["n"].as_u64() <= w[1]["n"].as_u64()), "a bar only grows");
    }
    // What was streamed as final is what REST says of the bar.
    let (_, rows) = b.call("GET", "/fapi/v1/klines", "symbol=BTCUSDT&interval=1m&limit=5");
    for row in &rows.as_array().unwrap()[..4] {
        let key = ("BTCUSDT".to_owned(), "1m".to_owned(), row[0].as_u64().unwrap());
        let last = bars[&key].last().unwrap();
        for (i, name) in [(1, "o"), (2, "h"), (3, "l"), (4, "c"), (5, "v"), (7, "q"), (9, "V"), (10, "Q")] {
            assert_eq!(num(&row[i]), num(&last[name]), "{name}");
        }
        assert_eq!(row[8], last["n"]);
    }
}

#[test]
fn a_bar_without_a_trade_is_a_bar() {
    let mirrored = venue::sim::listings(1);
    let mut b = Bench::new(VenueConfig { mirrored, ..VenueConfig::default() });
    let symbol = b.venue.symbol("BTCUSDT").unwrap();
    let trade = Mirrored::Trade { aggressor: Side::Buy, px: Px(845_000), qty: Qty(3) };
    b.venue.mirror(symbol, trade, b.now);
    let mut c = b.connect("/market/ws/btcusdt@kline_1m");
    b.run(4 * MINUTE + 1000);
    let finals: Vec<Value> =
        read(&c.texts()).into_iter().map(|e| e["k"].clone()).filter(|k| k["x"] == true).collect();
    assert_eq!(finals.len(), 4);
    assert_eq!((finals[0]["n"].as_u64(), finals[0]["c"].as_str()), (Some(1), Some("84500.0")));
    for (before, bar) in finals.iter().zip(&finals[1..]) {
        assert_eq!(bar["t"].as_u64().unwrap(), before["t"].as_u64().unwrap() + MINUTE);
        assert_eq!((&bar["o"], bar["n"].as_u64(), num(&bar["v"])), (&before["c"], Some(0), 0.0));
        assert_eq!((&bar["h"], &bar["l"], &bar["c"]), (&bar["o"], &bar["o"], &bar["o"]));
    }
}

#[test]
fn the_intervals_are_the_venues() {
    let mut b = Bench::small();
    b.run(1000);
    for interval in
        ["1m", "3m", "5m", "15m", "30m", "1h", "2h", "4h", "6h", "8h", "12h", "1d", "3d", "1w", "1M"]
    {
        let (status, rows) = b.call("GET", "/fapi/v1/klines", &format!("symbol=BTCUSDT&interval={interval}"));
        assert_eq!(status, 200, "{interval}: {rows}");
        let rows = rows.as_array().unwrap();
        for w in rows.windows(2) {
            assert_eq!(
                w[0][6].as_u64().unwrap() + 1,
                w[1][0].as_u64().unwrap(),
                "{interval}: bars follow each other"
            );
        }
        let last = rows.last().unwrap();
        let (open, close) = (last[0].as_u64().unwrap(), last[6].as_u64().unwrap());
        assert!(
            open <= b.now.millis() && b.now.millis() <= close,
            "{interval}: the last bar is the present one"
        );
    }
    // 2026-11-23 is a Monday.
    let open = |b: &mut Bench, interval: &str| {
        let (_, rows) =
            b.call("GET", "/fapi/v1/klines", &format!("symbol=BTCUSDT&interval={interval}&limit=1"));
        rows[0][0].as_u64().unwrap()
    };
    assert_eq!(open(&mut b, "1w"), 1_795_392_000_000);
    assert_eq!(open(&mut b, "1M"), 1_793_491_200_000, "2026-11-01");
    for interval in ["7m", "13h", "2d", "60m", "0m", "1s", "m", "1y", "2M"] {
        let (_, error) = b.call("GET", "/fapi/v1/klines", &format!("symbol=BTCUSDT&interval={interval}"));
        assert_eq!(error["code"], -1120, "{interval}");
    }
}
