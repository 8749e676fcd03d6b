//! Every user event at hand decodes, prices and quantities come back as they were sent, and nothing panics.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
use std::path::{Path, PathBuf};

use binance::Symbols;
use binance::user::{AlgoStatus, UserDecoder, UserEvent, UserEventKind};
use market::{
    Amount, ExecType, ExecutionReport, Increment, Instrument, OrderOrigin, OrderStatus, Qty, Side, SymbolId,
};
use proptest::prelude::*;
use serde_json::Value;

/// All symbols that occur, with ticks and lots fine enough for every recorded number.
fn symbols() -> Symbols {
    let names = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "ETHUSDC", "SEIUSDT", "ADAUSDT", "BTCUSD_240329"];
    let fine = Increment::decimals(8);
    let all = names.iter().enumerate().map(|(i, n)| Instrument::plain(SymbolId(i as u16), n, fine, fine));
    Symbols::new(all.collect())
}

fn decode(frame: &[u8]) -> Vec<UserEvent> {
    UserDecoder::new(symbols()).decode(frame).unwrap().to_vec()
}

fn report(frame: &[u8]) -> ExecutionReport {
    match decode(frame)[..] {
        [UserEvent::Report(report)] => report,
        ref other => panic!("{other:?}"),
    }
}

fn files(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, out);
        } else {
            out.push(path);
        }
    }
}

/// The user events in the shared data: whole files, the payload after `= ` in request/response pairs, recorded frames.
fn recorded() -> Option<Vec<(String, String)>> {
    let dir = testkit::shared_data("venue/user_data")?;
    let mut paths = Vec::new();
    files(&dir, &mut paths);
    let mut all: Vec<(String, String)> = Vec::new();
    for path in paths {
        let text = std::fs::read_to_string(&path).unwrap();
        let body = text.split_once("\n= ").map_or(text.as_str(), |(_, b)| b);
        all.push((path.display().to_string(), body.to_owned()));
    }
    let frames = testkit::shared_data("venue/frames/real_frames.jsonl")?;
    for line in std::fs::read_to_string(frames).unwrap().lines() {
        let line: Value = serde_json::from_str(line).unwrap();
        all.push((line["kind"].to_string(), line["raw"].as_str().unwrap().to_owned()));
    }
    Some(all)
}

/// Is the text the same number as the count? (Compared as text, not as floats.)
fn same(count: i64, text: &str) -> bool {
    Increment::decimals(8).parse_count(text.as_bytes()) == Ok(count)
}

#[test]
fn every_recorded_user_event_decodes_and_its_numbers_round_trip() {
    let Some(all) = recorded() else { return };
    let (mut orders, mut lite, mut accounts, mut others) = (0, 0, 0, 0);
    for (name, text) in all {
        let Ok(value) = serde_json::from_str::<Value>(&text) else { continue };
        let data = if value["data"].is_object() { &value["data"] } else { &value };
        let Some(kind) = data["e"].as_str() else { continue };
        let events = UserDecoder::new(symbols()).decode(text.as_bytes()).map(<[UserEvent]>::to_vec);
        let events = events.unwrap_or_else(|e| panic!("{name}: {e}"));
        let row = match kind {
            "ORDER_TRADE_UPDATE" => {
                orders += 1;
                &data["o"]
            }
            "TRADE_LITE" => {
                lite += 1;
                data
            }
            "ACCOUNT_UPDATE" => {
                accounts += 1;
                let rows =
                    data["a"]["B"].as_array().unwrap().len() + data["a"]["P"].as_array().unwrap().len();
                assert_eq!(events.len(), rows, "{name}");
                continue;
            }
            _ => {
                others += 1;
                continue;
            }
        };
        let [UserEvent::Report(r), ..] = events[..] else { panic!("{name}: {events:?}") };
        for (count, field) in
            [(r.px.0, "p"), (r.qty.0, "q"), (r.last_px.0, "L"), (r.last_qty.0, "l"), (r.cum_qty.0, "z")]
        {
            if let Some(text) = row[field].as_str() {
                assert!(same(count, text), "{name}: {field} {text} became {count}");
            }
        }
        assert_eq!(Some(r.trade_id), row["t"].as_u64(), "{name}");
        assert_eq!(Some(r.order_id), row["i"].as_u64(), "{name}");
    }
    assert!(
        orders >= 20 && lite >= 5 && accounts >= 4 && others >= 10,
        "{orders} {lite} {accounts} {others}"
    );
}

const FILL: &str = r#"{"e":"ORDER_TRADE_UPDATE","T":1742585119595,"E":1742585119596,"o":{"s":"BTCUSDT","c":"dlp-1f-7-2",
 "S":"SELL","o":"LIMIT","f":"GTX","q":"0.300","p":"84146.50","ap":"84146.50000","sp":"0","x":"TRADE","X":"PARTIALLY_FILLED",
 "i":4129479931,"l":"0.100","z":"0.200","L":"84146.50","n":"-1.68293000","N":"USDT","T":1742585119595,"t":310194316,
 "b":"0","a":"0","m":true,"R":true,"wt":"CONTRACT_PRICE","ot":"LIMIT","ps":"BOTH","cp":false,"rp":"-0.5","pP":false,
 "si":0,"ss":0,"V":"NONE","pm":"NONE","gtd":0,"er":"0"}}"#;

#[test]
fn a_fill_of_ours() {
    let r = report(FILL.as_bytes());
    let OrderOrigin::Ours(id) = r.origin else { panic!("{r:?}") };
    assert_eq!((id.run, id.intent, id.attempt), (0x1f, 7, 2));
    assert_eq!((r.exec_type, r.status, r.side), (ExecType::Trade, OrderStatus::PartiallyFilled, Side::Sell));
    assert_eq!((r.cum_qty, r.leaves_qty), (Qty(20_000_000), Qty(10_000_000)));
    assert_eq!((r.commission, r.realised), (Amount(-168_293_000), Amount(-50_000_000)));
    assert!(r.maker && r.reduce_only);
    assert_eq!(r.ts_event.millis(), 1_742_585_119_595);
}

#[test]
fn the_same_fill_by_two_routes_has_one_identity() {
    let lite = br#"{"e":"TRADE_LITE","E":1742585119595,"T":1742585119595,"s":"BTCUSDT","q":"0.3","p":"84146.50","m":true,
        "c":"dlp-1f-7-2","S":"SELL","L":"84146.50","l":"0.1","t":310194316,"i":4129479931}"#;
    let (a, b) = (report(lite), report(FILL.as_bytes()));
    assert_eq!((a.symbol, a.trade_id, a.last_qty, a.last_px), (b.symbol, b.trade_id, b.last_qty, b.last_px));
    assert_eq!(a.exec_type, ExecType::Trade);
}

#[test]
fn fields_may_be_missing_added_reordered_or_of_another_type() {
    // Numbers as numbers, ids as texts, no optional field at all, `o` before `e`.
    let odd = br#"{"new":{"x":[1]},"o":{"X":"EXPIRED_IN_MATCH","x":"EXPIRED","i":"77","q":0.3,"S":"BUY","s":"ETHUSDT",
        "z":null,"q2":{}},"E":"1742585119596","e":"ORDER_TRADE_UPDATE"}"#;
    let r = report(odd);
    assert_eq!((r.order_id, r.qty, r.status), (77, Qty(30_000_000), OrderStatus::Expired));
    assert_eq!((r.origin, r.exec_type), (OrderOrigin::External, ExecType::Expired));
    assert_eq!(r.ts_event.millis(), 1_742_585_119_596);
}

#[test]
fn what_a_fact_needs_is_demanded() {
    for field in [
        "\"s\":\"BTCUSDT\",",
        "\"X\":\"PARTIALLY_FILLED\",",
        "\"i\":4129479931,",
        "\"t\":310194316,",
        "\"l\":\"0.100\",",
    ] {
        assert!(FILL.contains(field));
        let without = FILL.replacen(field, "", 1);
        assert!(UserDecoder::new(symbols()).decode(without.as_bytes()).is_err(), "{field}");
    }
    for (from, to) in [
        ("0.100", "NaN"),
        ("0.100", "1e400"),
        ("0.200", "99999999999999999999"),
        ("84146.50\",\"n", "-1\",\"n"),
    ] {
        let bad = FILL.replacen(from, to, 1);
        assert!(UserDecoder::new(symbols()).decode(bad.as_bytes()).is_err(), "{to}");
    }
}

#[test]
fn a_settlement_price_off_the_ticks_loses_no_fill_but_an_odd_lot_is_refused() {
    let coarse =
        Instrument::plain(SymbolId(0), "BTCUSDT", Increment::parse("0.5").unwrap(), Increment::decimals(3));
    let mut decoder = UserDecoder::new(Symbols::new(vec![coarse]));
    let events = decoder.decode(FILL.replace("84146.50", "84146.61").as_bytes()).unwrap();
    let [UserEvent::Report(r)] = events[..] else { panic!("{events:?}") };
    assert_eq!(r.last_px.0, 168_293);
    let odd = FILL.replacen("\"l\":\"0.100\"", "\"l\":\"0.1001\"", 1);
    assert!(decoder.decode(odd.as_bytes()).unwrap_err().to_string().contains("`l` = `0.1001`"));
}

#[test]
fn a_commission_in_another_asset_is_told_apart() {
    let bnb = FILL.replace("\"N\":\"USDT\"", "\"N\":\"BNB\"").replace("-1.68293000", "0.00042");
    match decode(bnb.as_bytes())[..] {
        [UserEvent::Report(r), UserEvent::OtherCommission { trade_id, asset, amount, .. }] => {
            assert_eq!(
                (r.commission, trade_id, asset.as_str(), amount),
                (Amount::ZERO, 310_194_316, "BNB", 0.00042)
            );
        }
        ref other => panic!("{other:?}"),
    }
}

#[test]
fn somebody_elses_symbol_is_told_not_dropped() {
    let frame = FILL.replace("BTCUSDT", "币安USDT");
    assert!(
        matches!(decode(frame.as_bytes())[..], [UserEvent::Unlisted { symbol, .. }] if symbol.as_str() == "币安USDT")
    );
    let escaped = FILL.replace("BTCUSDT", "\\u5e01\\u5b89USDT");
    assert_eq!(decode(escaped.as_bytes()), decode(frame.as_bytes()));
}

#[test]
fn every_kind_that_the_url_names_is_decoded() {
    let frame = |kind: UserEventKind| match kind {
        UserEventKind::OrderTradeUpdate => FILL.to_owned(),
        UserEventKind::AccountUpdate => {
            r#""T":5,"a":{"m":"ORDER","B":[{"a":"USDT","wb":"1.5","bc":"0"}],"P":[]}"#.to_owned()
        }
        UserEventKind::TradeLite => {
            r#""T":5,"s":"BTCUSDT","S":"SELL","q":"0.3","p":"1","L":"1","l":"0.1","t":7,"i":9"#.to_owned()
        }
        UserEventKind::MarginCall => r#""p":[{"s":"BTCUSDT","pa":"1.3","mm":"2"}]"#.to_owned(),
        UserEventKind::AccountConfigUpdate => r#""ac":{"s":"BTCUSDT","l":25}"#.to_owned(),
        UserEventKind::AlgoUpdate => {
            r#""T":5,"o":{"caid":"dlp-a","aid":2148719,"o":"STOP_MARKET","s":"BTCUSDT","S":"SELL","q":"0.01",
                "X":"REJECTED","ai":"","cp":true,"rm":"Reduce Only reject"}"#
                .to_owned()
        }
        UserEventKind::TriggerReject => r#""T":5,"or":{"s":"BTCUSDT","i":155618472834,"r":"no"}"#.to_owned(),
        UserEventKind::StrategyUpdate => {
            r#""T":5,"su":{"si":176054594,"st":"GRID","ss":"NEW","s":"BTCUSDT"}"#.to_owned()
        }
        UserEventKind::GridUpdate => {
            r#""T":5,"gu":{"si":176057039,"st":"GRID","ss":"WORKING","s":"BTCUSDT","r":"-0.003"}"#.to_owned()
        }
        UserEventKind::ListenKeyExpired => r#""listenKey":"abc""#.to_owned(),
    };
    for &kind in UserEventKind::ALL {
        let body = frame(kind);
        let raw = if body.starts_with('{') { body } else { format!(r#"{{"e":"{}",{body}}}"#, kind.name()) };
        let (fine, ms) = (Increment::decimals(8), market::Nanos::from_millis(5));
        let wrapped = format!(r#"{{"stream":"LK","data":{raw}}}"#);
        assert_eq!(decode(raw.as_bytes()), decode(wrapped.as_bytes()), "{kind:?}");
        let events = decode(raw.as_bytes());
        let fits = match (kind, &events[..]) {
            (UserEventKind::OrderTradeUpdate | UserEventKind::TradeLite, [UserEvent::Report(r)]) => {
                r.trade_id > 0
            }
            (UserEventKind::AccountUpdate, [UserEvent::Balance { wallet, .. }]) => {
                *wallet == Amount(150_000_000)
            }
            (UserEventKind::MarginCall, [UserEvent::MarginCall { position, .. }]) => *position == 1.3,
            (UserEventKind::AccountConfigUpdate, [UserEvent::ConfigUpdate { leverage, .. }]) => {
                *leverage == Some(25)
            }
            (UserEventKind::AlgoUpdate, [UserEvent::Algo(a)]) => {
                (a.algo_id, a.status, a.side, a.order_id) == (2_148_719, AlgoStatus::Rejected, Side::Sell, 0)
                    && Some(a.qty.0) == fine.parse_count(b"0.01").ok()
                    && (a.client_algo_id.as_str(), a.reason.as_str()) == ("dlp-a", "Reduce Only reject")
                    && a.close_position
                    && a.ts_event == ms
            }
            (UserEventKind::TriggerReject, [UserEvent::TriggerRejected { order_id, reason, .. }]) => {
                (*order_id, reason.as_str()) == (155_618_472_834, "no")
            }
            (UserEventKind::StrategyUpdate, [UserEvent::Strategy { strategy_id, status, .. }]) => {
                (*strategy_id, status.as_str()) == (176_054_594, "NEW")
            }
            (UserEventKind::GridUpdate, [UserEvent::Strategy { strategy_id, status, .. }]) => {
                (*strategy_id, status.as_str()) == (176_057_039, "WORKING")
            }
            (UserEventKind::ListenKeyExpired, [UserEvent::ListenKeyExpired]) => true,
            _ => false,
        };
        assert!(fits, "{kind:?}: {events:?}");
    }
    assert_eq!(decode(br#"{"e":"SOMETHING_NEW","s":"BTCUSDT"}"#), [UserEvent::Ignored]);
}

#[test]
fn expiry_in_both_shapes() {
    for frame in [
        r#"{"stream":"abc","data":{"e":"listenKeyExpired","E":1624628889565}}"#,
        r#"{"e":"listenKeyExpired","E":"1624628889565","listenKey":"abc"}"#,
    ] {
        assert_eq!(decode(frame.as_bytes()), [UserEvent::ListenKeyExpired]);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    /// A damaged frame is refused whole or is still JSON (as `json.rs` says what that is); it never panics.
    #[test]
    fn damage_never_panics(at in any::<prop::sample::Index>(), byte: u8, cut in any::<prop::sample::Index>(), truncate: bool) {
        let mut frame = FILL.as_bytes().to_vec();
        let i = at.index(frame.len());
        frame[i] = byte;
        if truncate {
            frame.truncate(cut.index(frame.len()));
        }
        let is_json = serde_json::from_slice::<Value>(&frame).is_ok();
        let mut decoder = UserDecoder::new(symbols());
        if !is_json {
            prop_assert!(decoder.decode(&frame).is_err());
        } else {
            let _ = decoder.decode(&frame);
        }
    }

    /// A field of any other type never panics and never makes a report of a wrong size.
    #[test]
    fn retyped_fields_never_panic(field in prop::sample::select(vec!["s","c","S","q","p","x","X","i","l","z","L","n","N","T","t","m","R","rp"]),
        value in prop::sample::select(vec!["null","true","[]","{}","-1","1.5","\"\"","\"x\"","1e400","\"-0\"","18446744073709551616"])) {
        let mut frame: Value = serde_json::from_str(FILL).unwrap();
        frame["o"][field] = Value::String("@".into());
        let text = frame.to_string().replace("\"@\"", value);
        let mut decoder = UserDecoder::new(symbols());
        if let Ok(events) = decoder.decode(text.as_bytes()) {
            for event in events {
                if let UserEvent::Report(r) = event {
                    prop_assert!(r.last_qty.0 >= 0 && r.cum_qty.0 >= 0 && r.qty.0 >= 0);
                }
            }
        }
    }
}
