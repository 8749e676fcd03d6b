//! Endpoints answer with something true, or with a refusal of the venue's own; never with an empty pretence.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;
#[path = "common/trader.rs"]
mod trader;

use bench::{Bench, read};
use serde_json::{Value, json};
use trader::Trader;
use venue::VenueConfig;
use venue::faults::Fault;

fn num(v: &Value) -> f64 {
    v.as_str().unwrap_or_else(|| panic!("no text: {v}")).parse().unwrap()
}

fn get(b: &mut Bench, path: &str, query: &str) -> Value {
    let (status, v) = b.call("GET", path, query);
    assert_eq!(status, 200, "{path}?{query}: {v}");
    v
}

#[test]
fn a_deep_snapshot_is_deep() {
    let mut b = Bench::new(VenueConfig { symbols: 48, ..VenueConfig::default() });
    b.run(1000);
    let names: Vec<String> =
        b.venue.inspect(|x| x.listings().iter().map(|l| l.instrument.symbol.clone()).collect());
    for name in names {
        for limit in [5, 100, 1000] {
            let v = get(&mut b, "/fapi/v1/depth", &format!("symbol={name}&limit={limit}"));
            let sides = [&v["bids"], &v["asks"]].map(|s| s.as_array().unwrap().len());
            assert_eq!(sides, [limit; 2], "{name}");
        }
    }
}

#[test]
fn mark_index_and_premium_have_candles_of_their_own() {
    let mut b = Bench::small();
    b.run(500);
    b.venue.inject(Fault::MarkOff { symbol: "BTCUSDT".into(), factor: 1.01 }, None, b.now).unwrap();
    b.run(185_000);
    let mark = get(&mut b, "/fapi/v1/markPriceKlines", "symbol=BTCUSDT&interval=1m&limit=3");
    let index = get(&mut b, "/fapi/v1/indexPriceKlines", "pair=BTCUSDT&interval=1m&limit=3");
    let premium = get(&mut b, "/fapi/v1/premiumIndexKlines", "symbol=BTCUSDT&interval=1m&limit=3");
    for (kind, rows) in [("mark", &mark), ("index", &index), ("premium", &premium)] {
        assert_eq!(rows.as_array().unwrap().len(), 3, "{kind}");
        for row in &rows.as_array().unwrap()[..2] {
            assert_eq!(
                (row[5].as_str(), row[8].as_u64()),
                (Some("0"), Some(60)),
                "{kind}: a mark a second: {row}"
            );
            assert!(
                num(&row[2]) >= num(&row[1]).max(num(&row[4]))
                    && num(&row[3]) <= num(&row[1]).min(num(&row[4]))
            );
        }
    }
    for i in 0..2 {
        assert!((num(&mark[i][4]) / num(&index[i][4]) - 1.01).abs() < 1e-9);
        assert!((num(&premium[i][4]) - 0.01).abs() < 1e-7);
    }
    // There is a history from before the opening, as of the trades.
    let rows = get(&mut b, "/fapi/v1/markPriceKlines", "symbol=ETHUSDT&interval=1h&limit=10");
    assert_eq!(rows.as_array().unwrap().len(), 10);
}

#[test]
fn funding_has_a_history_and_terms() {
    let mut b = Bench::small();
    b.run(1000);
    let before = get(&mut b, "/fapi/v1/fundingRate", "symbol=BTCUSDT");
    let before = before.as_array().unwrap();
    assert!(before.len() >= 3, "the periods before the opening");
    assert!(
        before
            .windows(2)
            .all(|w| w[1]["fundingTime"].as_u64().unwrap() - w[0]["fundingTime"].as_u64().unwrap()
                == 8 * 3_600_000)
    );
    assert!(before.iter().all(|r| num(&r["markPrice"]) > 10_000.0 && r["fundingRate"] == "0.00010000"));
    b.venue.inject(Fault::Funding { symbol: "BTCUSDT".into(), rate: -0.0003 }, None, b.now).unwrap();
    let (now, n) = (b.now.millis(), before.len());
    let after = get(&mut b, "/fapi/v1/fundingRate", "symbol=BTCUSDT");
    let last = &after[n];
    assert_eq!(
        (last["fundingTime"].as_u64(), last["fundingRate"].as_str()),
        (Some(now), Some("-0.00030000"))
    );
    let one = get(&mut b, "/fapi/v1/fundingRate", &format!("symbol=BTCUSDT&startTime={now}&limit=5"));
    assert_eq!(one.as_array().unwrap().len(), 1);
    let all = get(&mut b, "/fapi/v1/fundingRate", "limit=1000");
    assert_eq!(all.as_array().unwrap().len(), 3 * n + 1);
    let terms = get(&mut b, "/fapi/v1/fundingInfo", "");
    assert_eq!(terms[0]["symbol"], "BTCUSDT");
    assert_eq!(
        (terms[0]["fundingIntervalHours"].as_u64(), num(&terms[0]["adjustedFundingRateCap"])),
        (Some(8), 0.02)
    );
}

#[test]
fn open_interest_insurance_constituents_and_risk_are_told() {
    let mut b = Bench::small();
    b.run(1000);
    let before = num(&get(&mut b, "/fapi/v1/openInterest", "symbol=BTCUSDT")["openInterest"]);
    assert!(before > 100.0, "others hold positions: {before}");
    b.call("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.100");
    let after = num(&get(&mut b, "/fapi/v1/openInterest", "symbol=BTCUSDT")["openInterest"]);
    assert!((after - before - 0.1).abs() < 1e-9);
    let parts = get(&mut b, "/fapi/v1/constituents", "symbol=BTCUSDT");
    let index = num(&get(&mut b, "/fapi/v1/premiumIndex", "symbol=BTCUSDT")["indexPrice"]);
    let weighted: f64 = (parts["constituents"].as_array().unwrap().iter())
        .map(|c| num(&c["price"]) * num(&c["weight"]))
        .sum();
    assert_eq!(weighted, index);
    let fund = |b: &mut Bench| {
        let v = get(b, "/fapi/v1/insuranceBalance", "symbol=BTCUSDT");
        assert!(v["symbols"].as_array().unwrap().contains(&json!("BTCUSDT")));
        num(&v["assets"][0]["marginBalance"])
    };
    let full = fund(&mut b);
    b.venue.inject(Fault::Transfer { account: 0, amount: "-100100".into() }, None, b.now).unwrap();
    b.run(2000);
    assert!(fund(&mut b) < full, "it paid what a bankrupt account owed");
    assert_eq!(get(&mut b, "/fapi/v1/symbolAdlRisk", "symbol=BTCUSDT")["adlRisk"], "low");
    assert_eq!(get(&mut b, "/fapi/v1/assetIndex", "symbol=USDTUSD")["index"], "1.00000000");
}

#[test]
fn the_last_quantity_is_the_last_trades() {
    let mut b = Bench::small();
    let mut c = b.connect("/market/ws/btcusdt@ticker");
    b.run(5000);
    let (trades, day) = (
        get(&mut b, "/fapi/v1/trades", "symbol=BTCUSDT&limit=1"),
        get(&mut b, "/fapi/v1/ticker/24hr", "symbol=BTCUSDT"),
    );
    assert_eq!(day["lastQty"], trades[0]["qty"]);
    assert!(num(&read(&c.texts()).last().unwrap()["Q"]) > 0.0);
    let id = trades[0]["id"].as_u64().unwrap();
    let old = get(&mut b, "/fapi/v1/historicalTrades", &format!("symbol=BTCUSDT&fromId={}&limit=2", id - 3));
    let ids: Vec<u64> = old.as_array().unwrap().iter().map(|t| t["id"].as_u64().unwrap()).collect();
    assert_eq!(ids, [id - 3, id - 2]);
}

#[test]
fn what_the_venue_does_not_have_it_refuses() {
    let mut b = Bench::small();
    b.run(100);
    for path in [
        "/futures/data/openInterestHist",
        "/futures/data/topLongShortAccountRatio",
        "/futures/data/globalLongShortAccountRatio",
        "/futures/data/takerlongshortRatio",
        "/futures/data/basis",
        "/fapi/v1/order/asyn",
        "/fapi/v1/order/asyn/id",
        "/fapi/v1/trade/asyn",
        "/fapi/v1/trade/asyn/id",
        "/fapi/v1/income/asyn",
        "/fapi/v1/income/asyn/id",
        "/fapi/v1/tradingSchedule",
    ] {
        let (status, v) = b.call("GET", path, "symbol=BTCUSDT");
        assert_eq!((status, v["code"].as_i64()), (400, Some(-1020)), "{path}: {v}");
    }
    let (status, v) = b.call("GET", "/fapi/v1/nonsense", "");
    assert_eq!((status, v["code"].as_i64()), (404, Some(-1099)));
}

#[test]
fn the_fee_burn_is_a_setting() {
    let mut b = Bench::small();
    assert_eq!(get(&mut b, "/fapi/v1/feeBurn", "")["feeBurn"], false);
    assert_eq!(b.call("POST", "/fapi/v1/feeBurn", "feeBurn=true").1["code"], 200);
    assert_eq!(get(&mut b, "/fapi/v1/feeBurn", "")["feeBurn"], true);
    assert_eq!(b.call("POST", "/fapi/v1/feeBurn", "feeBurn=maybe").1["code"], -1102);
}

#[test]
fn a_price_match_is_priced_echoed_and_refused_where_the_book_is_thin() {
    let mut t = Trader::new(); // 79 999.9 and 80 000.1, one level each
    let order = |how: &str, more: &str| {
        format!("symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&priceMatch={how}{more}")
    };
    let (_, placed) = t.b.call("POST", "/fapi/v1/order", &order("QUEUE", "&newClientOrderId=q"));
    assert_eq!((placed["price"].as_str(), placed["priceMatch"].as_str()), (Some("79999.9"), Some("QUEUE")));
    assert_eq!(t.events().iter().find(|e| e["e"] == "ORDER_TRADE_UPDATE").unwrap()["o"]["pm"], "QUEUE");
    for (how, more, code) in [
        ("QUEUE_5", "", -5041),
        ("OPPONENT_20", "", -5041),
        ("NOW", "", -5037),
        ("QUEUE", "&price=79000", -1106),
    ] {
        assert_eq!(t.b.call("POST", "/fapi/v1/order", &order(how, more)).1["code"], code, "{how}{more}");
    }
    let market = "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010&priceMatch=QUEUE";
    assert_eq!(t.b.call("POST", "/fapi/v1/order", market).1["code"], -5038);
    let edit = "symbol=BTCUSDT&side=BUY&origClientOrderId=q&quantity=0.010";
    let (_, plain) = t.b.call("PUT", "/fapi/v1/order", &format!("{edit}&price=79000"));
    assert_eq!((plain["price"].as_str(), plain["priceMatch"].as_str()), (Some("79000.0"), Some("NONE")));
    let (_, matched) = t.b.call("PUT", "/fapi/v1/order", &format!("{edit}&priceMatch=OPPONENT"));
    assert_eq!(
        (matched["price"].as_str(), matched["priceMatch"].as_str()),
        (Some("80000.1"), Some("OPPONENT"))
    );
}

#[test]
fn the_websocket_api_tests_orders() {
    let mut b = Bench::small();
    b.run(500);
    let mut api = b.connect("/ws-fapi/v1?returnRateLimits=false");
    let ask = |q: &str| json!({"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": q});
    b.ask(&api, "good", "order.test", ask("0.010"));
    b.ask(&api, "bad", "order.test", ask("0.0001"));
    b.run(0);
    let replies = read(&api.texts());
    assert_eq!((replies[0]["status"].as_u64(), &replies[0]["result"]), (Some(200), &json!({})));
    assert_eq!(replies[1]["error"]["code"], -1111);
    assert_eq!(b.venue.counters().orders, 0);
}

#[test]
fn a_pairs_continuous_contract_has_a_stream() {
    let mut b = Bench::small();
    let mut c = b.connect("/market/ws/btcusdt_perpetual@continuousKline_1m");
    b.run(61_000);
    let events = read(&c.texts());
    let last = events.last().unwrap();
    assert_eq!(
        (last["e"].as_str(), last["ps"].as_str(), last["ct"].as_str()),
        (Some("continuous_kline"), Some("BTCUSDT"), Some("PERPETUAL"))
    );
    assert_eq!(events.iter().filter(|e| e["k"]["x"] == true).count(), 1);
}
