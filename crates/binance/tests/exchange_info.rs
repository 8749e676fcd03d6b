//! Real exchangeInfo replies become instruments; nothing of them is assumed.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use std::io::Read;

use binance::limits::LimitKind;
use binance::rest::{InstrumentError, parse_exchange_info};
use market::{Amount, InstrumentStatus, Nanos, Px, Qty};
use serde_json::{Value, json};

fn recorded(name: &str) -> Option<Vec<u8>> {
    let path = testkit::shared_data(&format!("venue/exchangeinfo/{name}"))?;
    let mut body = Vec::new();
    flate2::read::GzDecoder::new(std::fs::File::open(path).unwrap()).read_to_end(&mut body).unwrap();
    Some(body)
}

#[test]
fn every_symbol_of_both_venues() {
    for (name, count, weight) in [
        ("mainnet_fapi_exchangeInfo_20241002.json.gz", 347, 2400),
        ("testnet_fapi_exchangeInfo_20251224.json.gz", 659, 6000),
    ] {
        let Some(body) = recorded(name) else { return };
        let root: Value = serde_json::from_slice(&body).unwrap();
        // The testnet lists a symbol with a tick of 0: unusable, and told so if it is wanted.
        let broken = |r: &&Value| r["filters"][0]["tickSize"] == "0";
        for row in root["symbols"].as_array().unwrap().iter().filter(broken) {
            let said =
                parse_exchange_info(&body, &[row["symbol"].as_str().unwrap()]).unwrap_err().to_string();
            assert!(said.contains("OPENUSDT: PRICE_FILTER `0`"), "{said}");
        }
        let rows: Vec<&Value> = root["symbols"].as_array().unwrap().iter().filter(|r| !broken(r)).collect();
        let names: Vec<&str> = rows.iter().map(|r| r["symbol"].as_str().unwrap()).collect();
        assert_eq!(names.len(), count);
        let info = parse_exchange_info(&body, &names).unwrap();
        assert!(
            info.limits
                .iter()
                .any(|l| l.kind == LimitKind::Weight && l.limit == weight && l.length == 60 * Nanos::SECOND)
        );
        for (row, i) in rows.iter().zip(&info.instruments) {
            let filter = |kind: &str| {
                row["filters"].as_array().unwrap().iter().find(|f| f["filterType"] == kind).unwrap()
            };
            let float = |v: &Value| v.as_str().unwrap().parse::<f64>().unwrap();
            assert_eq!(i.symbol, row["symbol"].as_str().unwrap());
            assert_eq!(i.tick.to_f64(), float(&filter("PRICE_FILTER")["tickSize"]), "{}", i.symbol);
            assert_eq!(i.lot.to_f64(), float(&filter("LOT_SIZE")["stepSize"]), "{}", i.symbol);
            assert_eq!(i.status == InstrumentStatus::Trading, row["status"] == "TRADING");
            // A bound that is off the grid moves by less than one step, to the side that allows less.
            let (max, min) =
                (float(&filter("PRICE_FILTER")["maxPrice"]), float(&filter("PRICE_FILTER")["minPrice"]));
            assert!(
                i.px_f64(i.max_px) <= max * (1.0 + 1e-12) && i.px_f64(i.max_px) > max - i.tick.to_f64(),
                "{}",
                i.symbol
            );
            assert!(
                i.px_f64(i.min_px) >= min * (1.0 - 1e-12) && i.px_f64(i.min_px) < min + i.tick.to_f64(),
                "{}",
                i.symbol
            );
            // A minimum of zero is a minimum of one lot: no order has less.
            let min_qty = float(&filter("LOT_SIZE")["minQty"]).max(i.lot.to_f64());
            assert_eq!(i.qty_f64(i.min_qty), min_qty, "{}", i.symbol);
        }
    }
}

#[test]
fn btcusdt_of_the_testnet() {
    let Some(body) = recorded("testnet_fapi_exchangeInfo_20251224.json.gz") else { return };
    let info = parse_exchange_info(&body, &["ETHUSDT", "BTCUSDT"]).unwrap();
    let btc = &info.instruments[1];
    assert_eq!((btc.id.0, btc.symbol.as_str()), (1, "BTCUSDT"));
    assert_eq!((btc.min_px, btc.max_px), (Px(2611), Px(8_094_840)));
    assert_eq!(
        (btc.min_qty, btc.max_qty, btc.min_notional),
        (Qty(1), Qty(1_000_000), Amount(100 * Amount::ONE))
    );
    assert_eq!(btc.max_orders, 10_000);
}

fn one(filters: &Value) -> Result<binance::rest::ExchangeInfo, InstrumentError> {
    let body = json!({"symbols": [{"symbol": "XUSDT", "status": "BREAK", "filters": filters}]}).to_string();
    parse_exchange_info(body.as_bytes(), &["XUSDT"])
}

#[test]
fn what_is_missing_is_named() {
    let said = parse_exchange_info(br#"{"symbols":[]}"#, &["NOPEUSDT"]).unwrap_err().to_string();
    assert!(said.contains("NOPEUSDT"), "{said}");
    let said = one(&json!([{"filterType": "PRICE_FILTER", "tickSize": "0"}])).unwrap_err().to_string();
    assert!(said.contains("XUSDT") && said.contains("PRICE_FILTER"), "{said}");
    assert!(parse_exchange_info(b"<html>", &[]).is_err());
    let info = one(
        &json!([{"filterType": "PRICE_FILTER", "tickSize": "0.5"}, {"filterType": "LOT_SIZE", "stepSize": 1}]),
    );
    assert_eq!(info.unwrap().instruments[0].status, InstrumentStatus::Halted);
}
