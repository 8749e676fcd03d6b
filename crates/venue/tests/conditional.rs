//! Conditional orders (the venue's algo service): they wait outside the book, trigger by the last or the mark price, and
//! tell of each step. The market is the test's own.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

#[path = "common/bench.rs"]
mod bench;
#[path = "common/pipe.rs"]
mod pipe;
#[path = "common/trader.rs"]
mod trader;

use bench::read;
use serde_json::{Value, json};
use trader::Trader;

/// Conditional orders of the account.
trait Algo {
    fn algo(&mut self, query: &str) -> (u16, Value);
    fn placed(&mut self, query: &str) -> u64;
    fn steps(&mut self) -> Vec<String>;
    fn status(&mut self, id: u64) -> String;
}

impl Algo for Trader {
    fn algo(&mut self, query: &str) -> (u16, Value) {
        self.b.call("POST", "/fapi/v1/algoOrder", &format!("algoType=CONDITIONAL&symbol=BTCUSDT&{query}"))
    }

    fn placed(&mut self, query: &str) -> u64 {
        let (status, v) = self.algo(query);
        assert_eq!((status, v["algoStatus"].as_str()), (200, Some("NEW")), "{query}: {v}");
        v["algoId"].as_u64().unwrap()
    }

    /// The order and algo events since the last call, in short.
    fn steps(&mut self) -> Vec<String> {
        let events = self.events();
        let steps = events.iter().filter_map(|e| match e["e"].as_str().unwrap() {
            "ALGO_UPDATE" => Some(format!("algo {}", e["o"]["X"].as_str().unwrap())),
            "ORDER_TRADE_UPDATE" => Some(format!("order {}", e["o"]["x"].as_str().unwrap())),
            _ => None,
        });
        steps.collect()
    }

    fn status(&mut self, id: u64) -> String {
        let (_, v) = self.b.call("GET", "/fapi/v1/algoOrder", &format!("algoId={id}"));
        v["algoStatus"].as_str().unwrap().to_owned()
    }
}

#[test]
fn a_stop_closes_the_position_and_tells_of_each_step() {
    let mut d = Trader::new();
    d.buy("0.050");
    d.events();
    let (_, placed) = d.algo(
        "side=SELL&type=STOP_MARKET&triggerPrice=79000&workingType=MARK_PRICE&closePosition=true&clientAlgoId=stop-1",
    );
    let id = placed["algoId"].as_u64().unwrap();
    let told = d.events();
    let o = &told[0]["o"];
    assert_eq!((told.len(), told[0]["e"].as_str()), (1, Some("ALGO_UPDATE")));
    assert_eq!(
        *o,
        json!({
            "caid": "stop-1", "aid": id, "at": "CONDITIONAL", "o": "STOP_MARKET", "s": "BTCUSDT", "S": "SELL",
            "ps": "BOTH", "f": "GTE_GTC", "q": "0", "X": "NEW", "ai": "", "tp": "79000", "p": "0",
            "V": "EXPIRE_MAKER", "wt": "MARK_PRICE", "pm": "NONE", "cp": true, "pP": false, "R": true, "tt": 0,
            "gtd": 0, "ia": false,
        })
    );
    // The last price alone does not trigger it.
    d.trade(78_500);
    assert_eq!((d.steps(), d.held()), (vec![], 50));
    d.mark(79_001);
    assert_eq!(d.steps(), Vec::<String>::new());
    d.mark(79_000);
    let events = d.events();
    let kinds: Vec<String> = (events.iter())
        .map(|e| {
            let o = &e["o"];
            format!("{} {}", e["e"].as_str().unwrap(), o["X"].as_str().or(o["x"].as_str()).unwrap_or("-"))
        })
        .filter(|k| k.starts_with("ALGO") || k.starts_with("ORDER"))
        .collect();
    assert_eq!(
        kinds,
        [
            "ALGO_UPDATE TRIGGERING",
            "ORDER_TRADE_UPDATE NEW",
            "ALGO_UPDATE TRIGGERED",
            "ORDER_TRADE_UPDATE FILLED",
            "ALGO_UPDATE FINISHED"
        ]
    );
    assert_eq!(d.held(), 0);
    let order = events.iter().find(|e| e["e"] == "ORDER_TRADE_UPDATE").unwrap()["o"].clone();
    for (name, value) in [
        ("c", json!("stop-1")),
        ("o", json!("MARKET")),
        ("ot", json!("STOP_MARKET")),
        ("sp", json!("79000")),
        ("wt", json!("MARK_PRICE")),
        ("cp", json!(true)),
        ("R", json!(true)),
        ("q", json!("0.050")),
    ] {
        assert_eq!(order[name], value, "{name}");
    }
    let finished = &events.iter().rfind(|e| e["e"] == "ALGO_UPDATE").unwrap()["o"];
    assert_eq!(finished["ai"], order["i"].to_string());
    assert_eq!((finished["aq"].as_str(), finished["act"].as_str()), (Some("0.050"), Some("MARKET")));
    assert!((finished["ap"].as_str().unwrap().parse::<f64>().unwrap() - 78_499.9).abs() < 1e-6);
    let (_, found) = d.b.call("GET", "/fapi/v1/algoOrder", "clientAlgoId=stop-1");
    assert_eq!((found["algoStatus"].as_str(), &found["actualOrderId"]), (Some("FINISHED"), &finished["ai"]));
}

#[test]
fn each_kind_triggers_on_its_side() {
    // Kind and parameters, a price that does not trigger it, a price that does, the lots it leaves.
    for (query, before, at, lots) in [
        ("side=SELL&type=STOP_MARKET&triggerPrice=79000&quantity=0.010", 79_001, 79_000, 40),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&quantity=0.010", 80_999, 81_000, 60),
        ("side=SELL&type=TAKE_PROFIT_MARKET&triggerPrice=81000&quantity=0.010", 80_999, 81_000, 40),
        ("side=BUY&type=TAKE_PROFIT_MARKET&triggerPrice=79000&quantity=0.010", 79_001, 79_000, 60),
        (
            "side=SELL&type=STOP&triggerPrice=79000&price=78000&timeInForce=IOC&quantity=0.010",
            79_001,
            78_900,
            40,
        ),
        ("side=BUY&type=TAKE_PROFIT&triggerPrice=79000&price=79500&quantity=0.010", 79_001, 78_900, 60),
    ] {
        let mut d = Trader::new();
        d.buy("0.050");
        let id = d.placed(query);
        d.events();
        d.market(before);
        assert_eq!((d.steps(), d.held()), (vec![], 50), "{query}");
        d.market(at);
        assert_eq!((d.status(id).as_str(), d.held()), ("FINISHED", lots), "{query}: {:?}", d.steps());
    }
}

#[test]
fn a_stop_limit_rests_after_its_trigger_and_is_an_order_like_any_other() {
    let mut d = Trader::new();
    let id =
        d.placed("side=BUY&type=TAKE_PROFIT&triggerPrice=79000&price=78000&quantity=0.010&clientAlgoId=dip");
    d.market(79_000);
    assert_eq!(d.status(id), "TRIGGERED");
    let (_, order) = d.b.call("GET", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=dip");
    assert_eq!((order["status"].as_str(), order["price"].as_str()), (Some("NEW"), Some("78000.0")));
    assert_eq!(
        (order["origType"].as_str(), order["stopPrice"].as_str()),
        (Some("TAKE_PROFIT"), Some("79000.0"))
    );
    assert_eq!(
        d.b.call("DELETE", "/fapi/v1/algoOrder", "clientAlgoId=dip").1["code"],
        -2011,
        "no longer open"
    );
    assert_eq!(d.b.call("DELETE", "/fapi/v1/order", "symbol=BTCUSDT&origClientOrderId=dip").0, 200);
    assert_eq!(d.status(id), "FINISHED");
}

#[test]
fn a_trailing_stop_follows_the_price() {
    let mut d = Trader::new();
    d.buy("0.050");
    let id = d.placed(
        "side=SELL&type=TRAILING_STOP_MARKET&activatePrice=81000&callbackRate=1&quantity=0.050&reduceOnly=true",
    );
    // Not active below its activation price, whatever the price does.
    for px in [80_500, 79_000, 80_990] {
        d.market(px);
        assert_eq!(d.held(), 50, "{px}");
    }
    // 1 % below the highest price of 82 000 is 81 180.
    for px in [81_000, 82_000, 81_181] {
        d.market(px);
        assert_eq!(d.held(), 50, "{px}");
    }
    d.market(81_180);
    assert_eq!((d.held(), d.status(id).as_str()), (0, "FINISHED"));
    // Without an activation price it is active at once; a spike between two looks counts.
    let id = d.placed("side=BUY&type=TRAILING_STOP_MARKET&callbackRate=0.5&quantity=0.010");
    for px in [80_000, 80_399] {
        d.market(px);
    }
    assert_eq!(d.status(id), "NEW");
    d.market(80_400);
    assert_eq!((d.status(id).as_str(), d.held()), ("FINISHED", 10));
}

#[test]
fn what_the_venue_refuses() {
    let mut d = Trader::new();
    for (query, code) in [
        ("side=SELL&type=STOP_MARKET&triggerPrice=79000&closePosition=true", -4509),
        ("side=SELL&type=STOP_MARKET&triggerPrice=80000&quantity=0.010", -2021),
        ("side=BUY&type=STOP_MARKET&triggerPrice=79999&quantity=0.010", -2021),
        ("side=SELL&type=TAKE_PROFIT_MARKET&triggerPrice=79999&quantity=0.010", -2021),
        ("side=SELL&type=TRAILING_STOP_MARKET&activatePrice=79000&callbackRate=1&quantity=0.010", -2021),
        ("side=BUY&type=STOP_MARKET&quantity=0.010", -1102),
        ("side=BUY&type=STOP&triggerPrice=81000&quantity=0.010", -1102),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000", -1102),
        ("side=BUY&type=TRAILING_STOP_MARKET&quantity=0.010", -1102),
        ("side=BUY&type=TRAILING_STOP_MARKET&callbackRate=0.05&quantity=0.010", -1130),
        ("side=BUY&type=TRAILING_STOP_MARKET&callbackRate=21&quantity=0.010", -1130),
        ("side=BUY&type=LIMIT&triggerPrice=81000&price=81000&quantity=0.010", -1116),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000.05&quantity=0.010", -4014),
        ("side=BUY&type=STOP_MARKET&triggerPrice=9000000000&quantity=0.010", -4007),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&quantity=0.0001", -1111),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&quantity=9000000", -4005),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&quantity=0.010&workingType=LAST", -4031),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&quantity=0.010&positionSide=LONG", -4061),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&quantity=0.010&clientAlgoId=no%20blanks", -4015),
        ("side=BUY&type=STOP&triggerPrice=81000&price=81000&priceMatch=QUEUE&quantity=0.010", -1106),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&priceMatch=QUEUE&quantity=0.010", -5038),
    ] {
        let (_, error) = d.algo(query);
        assert_eq!(error["code"], code, "{query}: {error}");
    }
    d.buy("0.050");
    for (query, code) in [
        ("side=SELL&type=STOP_MARKET&triggerPrice=79000&closePosition=true&quantity=0.010", -4137),
        ("side=SELL&type=STOP_MARKET&triggerPrice=79000&closePosition=true&reduceOnly=true", -1106),
        ("side=SELL&type=STOP&triggerPrice=79000&price=79000&closePosition=true", -4136),
        ("side=BUY&type=STOP_MARKET&triggerPrice=81000&closePosition=true", -4509),
    ] {
        let (_, error) = d.algo(query);
        assert_eq!(error["code"], code, "{query}: {error}");
    }
    d.placed("side=SELL&type=STOP_MARKET&triggerPrice=79000&closePosition=true&clientAlgoId=one");
    d.placed("side=SELL&type=TAKE_PROFIT_MARKET&triggerPrice=82000&closePosition=true");
    for (query, code) in [
        ("side=SELL&type=STOP_MARKET&triggerPrice=78000&closePosition=true", -4130),
        ("side=SELL&type=TAKE_PROFIT_MARKET&triggerPrice=83000&closePosition=true", -4130),
        ("side=SELL&type=STOP_MARKET&triggerPrice=78000&quantity=0.010&clientAlgoId=one", -4116),
    ] {
        let (_, error) = d.algo(query);
        assert_eq!(error["code"], code, "{query}: {error}");
    }
    let old = "symbol=BTCUSDT&side=SELL&type=STOP_MARKET&stopPrice=79000&quantity=0.010";
    assert_eq!(d.b.call("POST", "/fapi/v1/order", old).1["code"], -4120, "the old endpoint sends one here");
    assert_eq!(d.b.call("GET", "/fapi/v1/algoOrder", "algoId=1").1["code"], -2013);
    assert_eq!(d.b.call("DELETE", "/fapi/v1/algoOrder", "algoId=1").1["code"], -2011);
    assert_eq!(d.b.call("DELETE", "/fapi/v1/algoOrder", "").1["code"], -1102);
}

#[test]
fn an_account_holds_two_hundred_of_them() {
    let mut d = Trader::new();
    for n in 0..200 {
        d.b.run(250); // within the order rate limit
        d.placed(&format!("side=BUY&type=STOP_MARKET&triggerPrice={}&quantity=0.001", 90_000 + n));
    }
    d.b.run(250);
    let (_, error) = d.algo("side=BUY&type=STOP_MARKET&triggerPrice=91000&quantity=0.001");
    assert_eq!(error["code"], -4045);
}

#[test]
fn a_trigger_may_end_in_a_refusal() {
    let mut d = Trader::new();
    let id = d.placed("side=SELL&type=STOP_MARKET&triggerPrice=79000&quantity=0.010&reduceOnly=true");
    d.events();
    d.market(79_000);
    let events = d.events();
    let last = &events.iter().rfind(|e| e["e"] == "ALGO_UPDATE").unwrap()["o"];
    assert_eq!(
        (last["X"].as_str(), last["rm"].as_str()),
        (Some("REJECTED"), Some("ReduceOnly Order is rejected."))
    );
    let reject = events.iter().find(|e| e["e"] == "CONDITIONAL_ORDER_TRIGGER_REJECT").unwrap();
    assert_eq!((reject["or"]["s"].as_str(), reject["or"]["i"].as_u64()), (Some("BTCUSDT"), Some(id)));
    assert_eq!((d.status(id).as_str(), d.held()), ("REJECTED", 0));
    // A price that is far from the mark does not trigger an order that wants protection.
    let id = d.placed("side=SELL&type=STOP_MARKET&triggerPrice=78000&quantity=0.010&priceProtect=true");
    d.trade(74_000);
    assert_eq!(d.status(id), "NEW");
    d.mark(74_500);
    d.trade(74_000);
    assert_eq!(d.status(id), "FINISHED");
}

#[test]
fn they_are_listed_cancelled_and_expire() {
    let mut d = Trader::new();
    d.buy("0.050");
    let stop = d.placed("side=SELL&type=STOP_MARKET&triggerPrice=79000&closePosition=true&clientAlgoId=stop");
    let far = d.placed("side=BUY&type=STOP_MARKET&triggerPrice=90000&quantity=0.010");
    let good_till = d.b.now.millis() + 700_000;
    let dated = d.placed(&format!(
        "side=BUY&type=STOP&triggerPrice=90000&price=90000&timeInForce=GTD&goodTillDate={good_till}&quantity=0.010"
    ));
    let ids = |v: &Value| -> Vec<u64> {
        v.as_array().unwrap().iter().map(|o| o["algoId"].as_u64().unwrap()).collect()
    };
    assert_eq!(ids(&d.b.call("GET", "/fapi/v1/openAlgoOrders", "").1), [stop, far, dated]);
    assert_eq!(ids(&d.b.call("GET", "/fapi/v1/openAlgoOrders", "symbol=ETHUSDT").1), [0u64; 0]);
    assert_eq!(d.b.call("GET", "/fapi/v1/openOrders", "").1, json!([]), "they are no orders yet");
    let (status, cancelled) = d.b.call("DELETE", "/fapi/v1/algoOrder", &format!("algoId={far}"));
    assert_eq!(
        (status, cancelled["algoStatus"].as_str(), cancelled["msg"].as_str()),
        (200, Some("CANCELED"), Some("success"))
    );
    d.events();
    d.b.run(701_000);
    assert_eq!((d.status(dated).as_str(), d.steps()), ("EXPIRED", vec!["algo EXPIRED".to_owned()]));
    // Margin type and position mode cannot change while one is open.
    assert_eq!(d.b.call("POST", "/fapi/v1/positionSide/dual", "dualSidePosition=true").1["code"], -4067);
    assert_eq!(
        d.b.call("POST", "/fapi/v1/marginType", "symbol=BTCUSDT&marginType=ISOLATED").1["code"],
        -4047
    );
    // The position closes by another way: the stop goes with it.
    let close = "symbol=BTCUSDT&side=SELL&type=MARKET&quantity=0.050&reduceOnly=true";
    assert_eq!(d.b.call("POST", "/fapi/v1/order", close).0, 200);
    assert_eq!((d.status(stop).as_str(), d.steps().last().unwrap().as_str()), ("EXPIRED", "algo EXPIRED"));
    for n in 0..3 {
        d.placed(&format!("side=BUY&type=STOP_MARKET&triggerPrice={}&quantity=0.010", 90_000 + n));
    }
    let (_, done) = d.b.call("DELETE", "/fapi/v1/algoOpenOrders", "symbol=BTCUSDT");
    assert_eq!(done["code"], 200);
    assert_eq!(d.steps(), [["algo NEW"; 3], ["algo CANCELED"; 3]].concat());
    let (_, all) = d.b.call("GET", "/fapi/v1/allAlgoOrders", "symbol=BTCUSDT");
    assert_eq!(ids(&all).len(), 6);
    let (_, two) =
        d.b.call("GET", "/fapi/v1/allAlgoOrders", &format!("symbol=BTCUSDT&algoId={dated}&limit=2"));
    assert_eq!(ids(&two)[0], dated);
    assert_eq!(ids(&two).len(), 2);
}

#[test]
fn a_liquidation_takes_them_along() {
    let mut d = Trader::new();
    d.buy("0.050");
    let stop = d.placed("side=SELL&type=STOP_MARKET&triggerPrice=79000&closePosition=true");
    let entry = d.placed("side=BUY&type=STOP_MARKET&triggerPrice=90000&quantity=0.010");
    d.b.venue.inject(venue::faults::Fault::Liquidate { account: 0 }, None, d.b.now).unwrap();
    assert_eq!([d.status(stop), d.status(entry)], ["EXPIRED", "EXPIRED"]);
}

#[test]
fn the_websocket_api_places_and_cancels_them() {
    let mut d = Trader::new();
    let mut api = d.b.connect("/ws-fapi/v1?returnRateLimits=false");
    let ask = json!({
        "algoType": "CONDITIONAL", "symbol": "BTCUSDT", "side": "BUY", "type": "STOP_MARKET",
        "triggerPrice": 81000, "quantity": "0.010", "clientAlgoId": "ws",
    });
    d.b.ask(&api, "p", "algoOrder.place", ask);
    d.b.run(0);
    let placed = read(&api.texts())[0].clone();
    assert_eq!(
        (placed["status"].as_u64(), placed["result"]["algoStatus"].as_str()),
        (Some(200), Some("NEW"))
    );
    d.b.ask(&api, "c", "algoOrder.cancel", json!({"clientAlgoId": "ws"}));
    d.b.ask(&api, "d", "algoOrder.cancel", json!({"clientAlgoId": "ws"}));
    d.b.run(0);
    let replies = read(&api.texts());
    assert_eq!(replies[0]["result"]["algoStatus"], "CANCELED");
    assert_eq!(replies[1]["error"]["code"], -2011);
}
