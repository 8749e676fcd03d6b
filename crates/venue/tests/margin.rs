//! Margin: isolated positions have money of their own, liquidation prices are where liquidations happen, the brackets
//! limit the leverage, and the settings that exclude each other are refused.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;
#[path = "common/trader.rs"]
mod trader;

use serde_json::{Value, json};
use trader::Trader;
use venue::faults::Fault;

fn num(v: &Value) -> f64 {
    v.as_str().unwrap().parse().unwrap()
}

fn near(a: f64, b: f64) -> bool {
    (a - b).abs() < 1e-6
}

/// What the account and the position in BTCUSDT look like.
trait Margin {
    fn isolate(&mut self);
    fn account(&mut self) -> Value;
    fn risk(&mut self) -> Value;
    fn code(&mut self, path: &str, query: &str) -> i64;
    fn update(&mut self, reason: &str) -> Value;
}

impl Margin for Trader {
    fn isolate(&mut self) {
        assert_eq!(self.code("/fapi/v1/marginType", "symbol=BTCUSDT&marginType=ISOLATED"), 200);
    }

    fn account(&mut self) -> Value {
        self.b.call("GET", "/fapi/v3/account", "").1
    }

    fn risk(&mut self) -> Value {
        self.b.call("GET", "/fapi/v3/positionRisk", "symbol=BTCUSDT").1[0].clone()
    }

    /// The code of a POST's reply.
    fn code(&mut self, path: &str, query: &str) -> i64 {
        let (status, v) = self.b.call("POST", path, query);
        v["code"].as_i64().unwrap_or(i64::from(status))
    }

    /// The last ACCOUNT_UPDATE for a reason.
    fn update(&mut self, reason: &str) -> Value {
        let events = self.events();
        let found = events.iter().rfind(|e| e["e"] == "ACCOUNT_UPDATE" && e["a"]["m"] == reason);
        found.unwrap_or_else(|| panic!("no {reason} in {events:#?}"))["a"].clone()
    }
}

#[test]
fn an_isolated_position_has_money_of_its_own() {
    let mut t = Trader::new();
    t.isolate();
    t.buy("0.100"); // at 80 000.1 with leverage 20
    let update = t.update("ORDER");
    let (b, p) = (&update["B"][0], &update["P"][0]);
    assert_eq!((p["mt"].as_str(), num(&p["iw"])), (Some("isolated"), 400.0005));
    assert!(near(num(&b["wb"]) - num(&b["cw"]), 400.0005), "{b}");
    let (risk, account) = (t.risk(), t.account());
    assert_eq!((num(&risk["isolatedWallet"]), num(&risk["isolatedMargin"])), (400.0005, 399.9905));
    assert!(near(num(&account["totalWalletBalance"]) - num(&account["totalCrossWalletBalance"]), 400.0005));
    assert_eq!((num(&account["totalCrossUnPnl"]), num(&account["totalUnrealizedProfit"])), (0.0, -0.01));
    assert!(near(num(&account["availableBalance"]), num(&account["totalCrossWalletBalance"])));
    // Half of it is closed: half of its money comes back, with the result.
    let wallet = num(&account["totalWalletBalance"]);
    t.market(81_000);
    t.events();
    t.b.call("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.050&reduceOnly=true");
    let (risk, account) = (t.risk(), t.account());
    assert_eq!(num(&risk["isolatedWallet"]), 200.00025);
    let fee = num(&t.b.call("GET", "/fapi/v1/userTrades", "symbol=BTCUSDT").1[1]["commission"]);
    assert!(near(num(&account["totalWalletBalance"]), wallet + 0.05 * (80_999.9 - 80_000.1) - fee));
    t.b.call("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.050&reduceOnly=true");
    let update = t.update("ORDER");
    assert_eq!(update["B"][0]["wb"], update["B"][0]["cw"]);
    assert_eq!(num(&update["P"][0]["iw"]), 0.0);
}

#[test]
fn an_isolated_position_is_liquidated_alone_and_costs_no_more_than_it_has() {
    let mut t = Trader::new();
    t.isolate();
    t.buy("0.100");
    let price = num(&t.risk()["liquidationPrice"]);
    // 0.1·(80 000.1 − P) = 400.0005 − 0.004·0.1·P
    assert!((price - 7600.0095 / 0.0996).abs() < 0.01, "{price}");
    let other = t.b.venue.symbol("ETHUSDT").unwrap();
    let (account, now) = (t.b.venue.account(0), t.b.now);
    t.b.venue.act(now, |x, at| {
        let levels = |px| [market::Level { px: market::Px(px), qty: market::Qty(1_000_000) }];
        x.play_levels(other, &levels(247_999), &levels(248_001), at);
        let buy = venue::core::PlaceOrder::market(other, market::Side::Buy, market::Qty(1000));
        x.place(account, buy, at).unwrap();
    });
    let before = num(&t.account()["totalWalletBalance"]);
    t.mark(76_306);
    assert_eq!(t.held(), 100, "a dollar above its liquidation price");
    t.events();
    t.mark(70_000);
    assert_eq!(t.held(), 0);
    let kinds: Vec<String> = (t.events().iter())
        .filter(|e| e["e"] == "ORDER_TRADE_UPDATE")
        .map(|e| e["o"]["c"].as_str().unwrap().to_owned())
        .collect();
    assert!(kinds.iter().all(|c| c.starts_with("autoclose-")), "{kinds:?}");
    let held = t.b.venue.inspect(|x| x.account(account).position(other, market::PositionSide::Both).qty.0);
    assert_eq!(held, 1000, "the other position is no business of this one");
    let lost = before - num(&t.account()["totalWalletBalance"]);
    assert!((399.0..=405.0).contains(&lost), "its own money and a commission: {lost}");
}

#[test]
fn a_cross_position_is_liquidated_at_its_liquidation_price() {
    let mut t = Trader::new();
    t.b.venue.inject(Fault::Transfer { account: 0, amount: "-99000".into() }, None, t.b.now).unwrap();
    t.buy("0.100");
    let price = num(&t.risk()["liquidationPrice"]);
    assert!((70_000.0..71_000.0).contains(&price), "{price}");
    t.mark(price.ceil() as i64);
    assert_eq!(t.held(), 100);
    t.mark(price.floor() as i64);
    assert_eq!(t.held(), 0);
}

#[test]
fn margin_is_added_and_taken_away() {
    let mut t = Trader::new();
    assert_eq!(t.code("/fapi/v1/positionMargin", "symbol=BTCUSDT&amount=10&type=1"), -4049, "crossed");
    t.isolate();
    assert_eq!(t.code("/fapi/v1/positionMargin", "symbol=BTCUSDT&amount=10&type=1"), -4054, "no position");
    t.buy("0.100");
    let price = num(&t.risk()["liquidationPrice"]);
    t.events();
    let (status, done) = t.b.call("POST", "/fapi/v1/positionMargin", "symbol=BTCUSDT&amount=100&type=1");
    assert_eq!((status, &done["amount"], &done["type"]), (200, &json!(100.0), &json!(1)));
    let update = t.update("MARGIN_TRANSFER");
    assert_eq!(num(&update["P"][0]["iw"]), 500.0005);
    assert!(near(num(&update["B"][0]["wb"]) - num(&update["B"][0]["cw"]), 500.0005));
    assert!(num(&t.risk()["liquidationPrice"]) < price - 900.0, "more margin, lower liquidation price");
    for (query, code) in [
        ("amount=0&type=1", -4055),
        ("amount=-5&type=1", -4055),
        ("amount=1e3&type=1", -1102),
        ("amount=5&type=3", -1102),
        ("amount=200000&type=1", -4050),
        // What the position needs at the mark, 400, and its loss, 0.01, must stay.
        ("amount=100&type=2", -4051),
        ("amount=99.99&type=2", 200),
    ] {
        assert_eq!(t.code("/fapi/v1/positionMargin", &format!("symbol=BTCUSDT&{query}")), code, "{query}");
    }
    assert_eq!(num(&t.risk()["isolatedWallet"]), 400.0105);
    let (_, history) = t.b.call("GET", "/fapi/v1/positionMargin/history", "symbol=BTCUSDT");
    let rows: Vec<_> = (history.as_array().unwrap().iter())
        .map(|r| (r["type"].as_u64().unwrap(), num(&r["amount"]), r["deltaType"].as_str().unwrap()))
        .collect();
    assert_eq!(rows, [(1, 100.0, "USER_ADJUST"), (2, 99.99, "USER_ADJUST")]);
    let (_, one) = t.b.call("GET", "/fapi/v1/positionMargin/history", "symbol=BTCUSDT&type=2");
    assert_eq!(one.as_array().unwrap().len(), 1);
}

#[test]
fn funding_of_an_isolated_position_is_its_own() {
    let mut t = Trader::new();
    t.isolate();
    t.buy("0.100");
    t.events();
    t.b.venue.inject(Fault::Funding { symbol: "BTCUSDT".into(), rate: 0.001 }, None, t.b.now).unwrap();
    let update = t.update("FUNDING_FEE");
    assert_eq!(num(&update["P"][0]["iw"]), 400.0005 - 8.0);
    assert_eq!(num(&update["B"][0]["bc"]), -8.0);
    let mut t = Trader::new();
    t.buy("0.100");
    t.events();
    t.b.venue.inject(Fault::Funding { symbol: "BTCUSDT".into(), rate: 0.001 }, None, t.b.now).unwrap();
    assert_eq!(t.update("FUNDING_FEE")["P"], json!([]), "a crossed one's is the account's");
}

#[test]
fn leverage_has_brackets_and_does_not_fall_under_an_isolated_position() {
    let mut t = Trader::new();
    assert_eq!(t.code("/fapi/v1/leverage", "symbol=BTCUSDT&leverage=125"), 200);
    let order = |q: &str| format!("symbol=BTCUSDT&side=BUY&type=MARKET&quantity={q}");
    // The first bracket ends at 50 000.
    assert_eq!(t.code("/fapi/v1/order", &order("0.630")), -2027);
    assert_eq!(t.code("/fapi/v1/leverage", "symbol=BTCUSDT&leverage=20"), 200);
    t.buy("0.630");
    assert_eq!(t.code("/fapi/v1/leverage", "symbol=BTCUSDT&leverage=125"), -2027, "beyond its bracket");
    let maintenance = num(&t.account()["totalMaintMargin"]);
    // The second bracket's ratio is that of leverage 62; the first bracket's part is cheaper.
    assert!(near(maintenance, 50_400.0 * 0.008 - 50_000.0 * (0.008 - 0.004)), "{maintenance}");
    t.b.venue.inject(Fault::Transfer { account: 0, amount: "-97000".into() }, None, t.b.now).unwrap();
    assert_eq!(t.code("/fapi/v1/leverage", "symbol=BTCUSDT&leverage=10"), -2028, "no margin for it");
    let mut t = Trader::new();
    t.isolate();
    t.buy("0.100");
    assert_eq!(t.code("/fapi/v1/leverage", "symbol=BTCUSDT&leverage=10"), -4161);
    assert_eq!(t.code("/fapi/v1/leverage", "symbol=BTCUSDT&leverage=50"), 200);
}

#[test]
fn multi_assets_mode_and_isolated_margin_exclude_each_other() {
    let mut t = Trader::new();
    t.isolate();
    assert_eq!(t.update("MARGIN_TYPE_CHANGE")["P"][0]["mt"], "isolated");
    let on = "multiAssetsMargin=true";
    assert_eq!(t.code("/fapi/v1/multiAssetsMargin", on), -4167);
    assert_eq!(t.code("/fapi/v1/marginType", "symbol=BTCUSDT&marginType=CROSSED"), 200);
    let order = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=79000";
    t.b.call("POST", "/fapi/v1/order", order);
    assert_eq!(t.code("/fapi/v1/multiAssetsMargin", on), -4170);
    t.b.call("DELETE", "/fapi/v1/allOpenOrders", "symbol=BTCUSDT");
    t.events();
    assert_eq!(t.code("/fapi/v1/multiAssetsMargin", on), 200);
    let events = t.events();
    let told = events.iter().find(|e| e["e"] == "ACCOUNT_CONFIG_UPDATE").unwrap();
    assert_eq!(told["ai"], json!({"j": true}));
    assert_eq!(t.code("/fapi/v1/multiAssetsMargin", on), -4171);
    assert_eq!(t.code("/fapi/v1/marginType", "symbol=BTCUSDT&marginType=ISOLATED"), -4168);
    for path in ["/fapi/v2/account", "/fapi/v1/accountConfig", "/fapi/v1/multiAssetsMargin"] {
        assert_eq!(t.b.call("GET", path, "").1["multiAssetsMargin"], true, "{path}");
    }
}
