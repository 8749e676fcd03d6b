//! Replies and events have the shape of published examples (those that JKorf's client tests itself with): every key
//! of the example is there, with the same JSON type. What the venue dropped since, or says of conditional orders only,
//! is listed here.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use common::{Client, Socket, small};
use serde_json::Value;

/// Keys of the examples that a venue of 2026-11 does not send for limit and market orders.
const GONE: [&str; 15] = [
    "activatePrice",
    "priceRate",
    "AP",
    "cr",
    "tradeGroupId",
    "canDeposit",
    "canWithdraw",
    "canTrade",
    "bidNotional",
    "leverage",
    "marginType",
    "maxNotionalValue",
    "isAutoAddMargin",
    "HEDGE",
    // Only where an account's brackets were adjusted.
    "notionalCoef",
];
/// The examples are older: today's official SDK takes a bool and an integer here.
const RETYPED: [&str; 2] = ["/isAutoAddMargin", "/tranId"];
/// Not in order replies: the first two went in 2026, the others are of coin-margined contracts.
const GONE_FROM_REPLIES: [&str; 4] = ["avgPrice", "cumQuote", "cumBase", "pair"];

/// The example's method, path and JSON.
fn example(root: &std::path::Path, name: &str) -> (String, String, Value) {
    let text = std::fs::read_to_string(root.join(name)).unwrap();
    let mut lines = text.lines();
    let (method, path) = (lines.next().unwrap_or_default().trim(), lines.next().unwrap_or_default().trim());
    let body = match text.split_once("\n=") {
        Some((_, body)) => body,
        None => text.splitn(4, '\n').nth(3).unwrap(),
    };
    // Some examples end a list with a comma.
    let json = serde_json::from_str(body.trim().trim_start_matches('\u{feff}'));
    (method.to_owned(), path.to_owned(), json.unwrap_or_else(|e| panic!("{name}: {e}")))
}

/// What `ours` lacks of `theirs`.
fn lacks(theirs: &Value, ours: &Value, gone: &[&str], at: &str, out: &mut Vec<String>) {
    match (theirs, ours) {
        (Value::Object(a), Value::Object(b)) => {
            for (k, v) in a {
                match b.get(k) {
                    Some(mine) => lacks(v, mine, gone, &format!("{at}/{k}"), out),
                    None if gone.contains(&k.as_str()) => {}
                    None => out.push(format!("{at}/{k}")),
                }
            }
        }
        (Value::Array(a), Value::Array(b)) => match (a.first(), b.first()) {
            (Some(a), Some(b)) => lacks(a, b, gone, &format!("{at}/0"), out),
            (Some(_), None) => out.push(format!("{at}: empty")),
            _ => {}
        },
        (a, b) => {
            let kind = |v: &Value| match v {
                Value::Null => "null",
                Value::Bool(_) => "bool",
                Value::Number(_) => "number",
                Value::String(_) => "string",
                Value::Array(_) => "array",
                Value::Object(_) => "object",
            };
            if kind(a) != kind(b) && !RETYPED.iter().any(|k| at.ends_with(k)) {
                out.push(format!("{at}: {} for {}", kind(b), kind(a)));
            }
        }
    }
}

#[tokio::test]
async fn replies_have_the_published_shape() {
    let Some(root) = testkit::shared_data("venue/user_data/jkorf/Endpoints/UsdFutures") else { return };
    let venue = small();
    let client = Client::new(&venue);
    client.ok("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010").await;
    let limit = "symbol=BTCUSDT&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.010&price=82000";
    let (one, s) = ("symbol=BTCUSDT&origClientOrderId=one", "symbol=BTCUSDT");
    let place = format!("{limit}&newClientOrderId=one");
    let stop = "symbol=BTCUSDT&algoType=CONDITIONAL&side=BUY&type=STOP_MARKET&triggerPrice=99000&quantity=0.010\
                &clientAlgoId=stop";
    let edit = format!("{one}&side=BUY&quantity=0.020&price=82000");
    let mut wrong = Vec::new();
    for (name, query) in [
        ("Trading/PlaceOrder", place.as_str()),
        ("Trading/GetOrder", one),
        ("Trading/GetOpenOrder", one),
        ("Trading/GetOpenOrders", s),
        ("Trading/GetOrders", s),
        ("Trading/EditOrder", &edit),
        ("Trading/GetOrderEditHistory", one),
        ("Trading/CancelOrder", one),
        ("Trading/CancelAllOrders", s),
        ("Trading/CancelAllOrdersAfterTimeout", "symbol=BTCUSDT&countdownTime=0"),
        ("Trading/GetUserTrades", s),
        ("Trading/GetPositions", s),
        ("Account/GetBalances", ""),
        ("Account/GetAccountInfo", ""),
        ("Account/GetAccountInfoV3", ""),
        ("Account/GetPositionInformation", s),
        ("Account/GetSymbolConfiguration", s),
        ("Account/GetAccountConfiguration", ""),
        ("Account/GetUserCommissionRate", s),
        ("Account/ChangeInitialLeverage", "symbol=BTCUSDT&leverage=5"),
        ("Account/GetMultiAssetsMode", ""),
        ("Account/GetIncomeHistory", ""),
        ("Account/GetPositionAdlQuantileEstimation", ""),
        ("Account/GetOrderRateLimit", ""),
        ("Account/StartUserStream", ""),
        ("Account/GetBnbBurnStatus", ""),
        ("Account/SetBnbBurnStatus", "feeBurn=false"),
        ("Account/GetBrackets", s),
        ("Trading/PlaceConditionalOrder", stop),
        ("Trading/GetOpenConditionalOrders", s),
        ("Trading/CancelConditionalOrder", "clientAlgoId=stop"),
        ("Trading/CancelAllConditionalOrders", s),
        ("ExchangeData/GetServerTime", ""),
        ("ExchangeData/GetOrderBook", s),
        ("ExchangeData/GetBookPrice", s),
        ("ExchangeData/GetPrice", s),
        ("ExchangeData/GetMarkPrice", s),
        ("ExchangeData/GetTicker", s),
        ("ExchangeData/GetOpenInterest", s),
        ("ExchangeData/GetRecentTrades", s),
        ("ExchangeData/GetKlines", "symbol=BTCUSDT&interval=1m"),
        ("ExchangeData/GetMarkPriceKlines", "symbol=BTCUSDT&interval=1m"),
        ("ExchangeData/GetIndexPriceKlines", "pair=BTCUSDT&interval=1m"),
        ("ExchangeData/GetPremiumIndexKlines", "symbol=BTCUSDT&interval=1m"),
        ("ExchangeData/GetFundingRates", s),
        ("ExchangeData/GetFundingInfo", ""),
        ("ExchangeData/GetIndexPriceConstituents", s),
        ("ExchangeData/GetInsuranceFundBalances", s),
        ("ExchangeData/GetAssetIndexes", ""),
        ("ExchangeData/GetContinuousContractKlines", "pair=BTCUSDT&contractType=PERPETUAL&interval=1m"),
    ] {
        let (method, path, theirs) = example(&root, &format!("{name}.txt"));
        let ours = client.ok(&method, &path, query).await;
        let replies: &[&str] = if method == "GET" { &[] } else { &GONE_FROM_REPLIES };
        let gone: Vec<&str> = GONE.iter().chain(replies).copied().collect();
        lacks(&theirs, &ours, &gone, name, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test]
async fn events_have_the_published_shape() {
    let Some(root) = testkit::shared_data("venue/user_data/jkorf/Subscriptions/UsdFutures") else { return };
    let venue = small();
    let client = Client::new(&venue);
    let mut user = Socket::user(&venue, &client).await;
    client.ok("POST", "/fapi/v1/leverage", "symbol=BTCUSDT&leverage=7").await;
    let stop =
        "symbol=BTCUSDT&algoType=CONDITIONAL&side=BUY&type=STOP_MARKET&triggerPrice=99000&quantity=0.010";
    client.ok("POST", "/fapi/v1/algoOrder", &format!("{stop}&clientAlgoId=stop")).await;
    client.ok("DELETE", "/fapi/v1/algoOrder", "clientAlgoId=stop").await;
    client.ok("POST", "/fapi/v1/order", "symbol=BTCUSDT&side=BUY&type=MARKET&quantity=0.010").await;
    let mut public =
        Socket::open(&venue, "/public/stream?streams=btcusdt@depth@100ms/btcusdt@bookTicker").await;
    let mut market = Socket::open(
        &venue,
        "/market/stream?streams=btcusdt@aggTrade/btcusdt@markPrice@1s/btcusdt@kline_1m/btcusdt@ticker/btcusdt@miniTicker",
    )
    .await;
    let mut wrong = Vec::new();
    for (name, event) in [
        ("Leverage", "ACCOUNT_CONFIG_UPDATE"),
        ("AlgoOrderUpdate", "ALGO_UPDATE"),
        ("OrderUpdate", "ORDER_TRADE_UPDATE"),
        ("AccountUpdate", "ACCOUNT_UPDATE"),
        ("Book", "depthUpdate"),
        ("BookTicker", "bookTicker"),
        ("AggTrades", "aggTrade"),
        ("MarkPrice", "markPriceUpdate"),
        ("Klines", "kline"),
        ("Ticker", "24hrTicker"),
        ("MiniTicker", "24hrMiniTicker"),
    ] {
        let (_, _, theirs) = example(&root, &format!("{name}.txt"));
        let theirs = theirs.get("data").unwrap_or(&theirs).clone();
        assert_eq!(theirs["e"], event, "{name}");
        let ours = match name {
            "AlgoOrderUpdate" => user.until(|v| v["e"] == event && v["o"]["X"] == "CANCELED").await,
            "Leverage" | "OrderUpdate" | "AccountUpdate" => user.event(event).await,
            "Book" | "BookTicker" => public.until(|v| v["data"]["e"] == event).await["data"].clone(),
            _ => market.until(|v| v["data"]["e"] == event).await["data"].clone(),
        };
        lacks(&theirs, &ours, &GONE, name, &mut wrong);
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}
