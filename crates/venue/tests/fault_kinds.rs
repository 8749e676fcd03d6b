//! Faults that came with the simulation: replays of the past, names that stand twice, locked books, strange instruments,
//! and changes of rates, steps and modes.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;

use bench::{Bench, read};
use market::Side;
use serde_json::{Value, json};
use venue::faults::{Fault, Rule};

fn ids(texts: &[String]) -> Vec<u64> {
    texts.iter().map(|t| serde_json::from_str::<Value>(t).unwrap()["u"].as_u64().unwrap()).collect()
}

#[test]
fn the_past_comes_back() {
    let mut b = Bench::small();
    let mut c = b.connect("/public/ws/btcusdt@depth@100ms");
    let replay = |back| Fault::Replay { stream: "btcusdt@depth@100ms".into(), back };
    assert!(b.venue.inject(replay(0), None, b.now).is_err());
    assert!(b.venue.inject(replay(65), None, b.now).is_err());
    let id = b.venue.inject(Rule::once(replay(3)), None, b.now).unwrap();
    b.run(1500);
    let seen = ids(&c.texts());
    assert_eq!(b.venue.hits(id), 1);
    assert_eq!(seen[4], seen[0], "the fourth frame is followed by the one three before it");
    let mut once = seen.clone();
    once.remove(4);
    assert!(once.is_sorted() && once.len() > 8, "{seen:?}");
}

#[test]
fn a_name_stands_twice() {
    let mut b = Bench::small();
    let mut c = b.connect("/public/ws/btcusdt@depth@100ms");
    let stream = "btcusdt@depth@100ms".into();
    b.venue
        .inject(Rule::once(Fault::RepeatField { stream, name: "u".into(), value: json!(1) }), None, b.now)
        .unwrap();
    b.run(250);
    let texts = c.texts();
    assert_eq!(texts[0].matches(r#""u":"#).count(), 2);
    assert!(texts[0].ends_with(r#""st":1,"u":1}"#), "{}", texts[0]);
    assert_eq!(texts[1].matches(r#""u":"#).count(), 1);
}

#[test]
fn a_book_locks_and_opens_again() {
    let mut b = Bench::small();
    b.run(500);
    let symbol = b.venue.symbol("BTCUSDT").unwrap();
    let touch = |b: &Bench| {
        b.venue.inspect(|x| [Side::Buy, Side::Sell].map(|s| x.ladder(symbol).best(s).unwrap().px))
    };
    b.venue.inject(Fault::LockBook { symbol: "BTCUSDT".into() }, Some(1000), b.now).unwrap();
    b.run(0);
    let [bid, ask] = touch(&b);
    assert_eq!(bid, ask);
    b.run(1100);
    let [bid, ask] = touch(&b);
    assert!(bid < ask);
}

#[test]
fn strange_instruments_are_listed_and_streamed() {
    let mut b = Bench::small();
    let mut c = b.connect("/market/ws/!markPrice@arr@1s");
    b.venue.inject(Fault::ForeignSymbols, None, b.now).unwrap();
    b.run(2500);
    let rows = read(&c.texts()).last().unwrap().as_array().unwrap().clone();
    let of: Vec<(&str, u64)> =
        rows.iter().map(|r| (r["s"].as_str().unwrap(), r["st"].as_u64().unwrap())).collect();
    assert_eq!(of, [("BTCUSDT", 1), ("ETHUSDT", 1), ("BNBUSDT", 1), ("币安人生USDT", 1), ("BTCUSD_PERP", 2)]);
    let (_, info) = b.call("GET", "/fapi/v1/exchangeInfo", "");
    assert_eq!(info["symbols"][3]["symbol"], "币安人生USDT");
    let (_, error) = b.call("GET", "/fapi/v1/depth", "symbol=%E5%B8%81%E5%AE%89%E4%BA%BA%E7%94%9FUSDT");
    assert_eq!(error["code"], -1121, "listed, and nothing more");
}

#[test]
fn rates_steps_and_modes_change() {
    let mut b = Bench::small();
    b.run(500);
    let post = |b: &mut Bench, q: &str| {
        let (_, v) =
            b.call("POST", "/fapi/v1/order", &format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity={q}"));
        v["code"].as_i64().unwrap_or(0)
    };
    let rates = Fault::SetCommission { maker: "0.0004".into(), taker: "0.001".into() };
    b.venue.inject(rates, None, b.now).unwrap();
    let (_, says) = b.call("GET", "/fapi/v1/commissionRate", "symbol=BTCUSDT");
    assert_eq!(says["takerCommissionRate"], "0.001000");
    assert_eq!(post(&mut b, "0.015"), 0);
    let (_, trades) = b.call("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT");
    let num = |v: &Value| v.as_str().unwrap().parse::<f64>().unwrap();
    assert!((num(&trades[0]["commission"]) / num(&trades[0]["quoteQty"]) - 0.001).abs() < 1e-9);

    let step = |step: Option<&str>, most: Option<&str>| Fault::SetStep {
        symbol: "BTCUSDT".into(),
        step: step.map(str::to_owned),
        max_qty: most.map(str::to_owned),
    };
    for wrong in [Some("0.0005"), Some("0"), Some("x")] {
        assert!(b.venue.inject(step(wrong, None), None, b.now).is_err());
    }
    b.venue.inject(step(Some("0.010"), Some("5")), None, b.now).unwrap();
    let (_, info) = b.call("GET", "/fapi/v1/exchangeInfo", "");
    let lot = &info["symbols"][0]["filters"][1];
    assert_eq!((lot["stepSize"].as_str(), lot["maxQty"].as_str()), (Some("0.010"), Some("5.000")));
    assert_eq!([post(&mut b, "0.015"), post(&mut b, "0.020")], [-4023, 0]);
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&price=83000&quantity=6";
    assert_eq!(b.call("POST", "/fapi/v1/order", limit).1["code"], -4005);

    b.venue.inject(Fault::SetMultiAssets { account: 0, on: true }, None, b.now).unwrap();
    assert_eq!(b.call("GET", "/fapi/v1/multiAssetsMargin", "").1["multiAssetsMargin"], true);
}
