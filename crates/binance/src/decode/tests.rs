//! The scanner against the document reader, the document reader against serde_json, on recorded, generated and
//! damaged frames.

use std::io::Read;

use market::{Increment, Instrument, Level, NumberError, SymbolId};
use proptest::prelude::*;

use super::*;

const DEPTH: &str = r#"{"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790526538985,"T":1790526538981,"s":"BTCUSDT","ps":"BTCUSDT","U":11671659683245,"u":11671659687966,"pu":11671659683147,"b":[["1000.00","139.491"],["84551.00","0.000"]],"a":[["84551.10","5.302"],["123456789.10","1234567.001"]],"st":1}}"#;
const TICKER: &str = r#"{"stream":"btcusdt@bookTicker","data":{"e":"bookTicker","u":11671659685961,"s":"BTCUSDT","ps":"BTCUSDT","b":"84551.00","B":"2.646","a":"84551.10","A":"5.302","T":1790526538939,"E":1790526538940,"st":1}}"#;
const AGG_TRADE: &str = r#"{"e":"aggTrade","E":1791269849801,"a":3476312671,"s":"BTCUSDT","p":"85299.90","q":"0.004","nq":"0.004","f":8149080393,"l":8149080393,"T":1791269849651,"m":true,"st":1}"#;
const TRADE: &str = r#"{"stream":"btcusdt@trade","data":{"e":"trade","E":1771263510064,"T":1771263510064,"s":"BTCUSDT","t":7297376207,"p":"68005.00","q":"0.100","X":"MARKET","m":false}}"#;
const MARK: &str = r#"{"e":"markPriceUpdate","E":1791269856000,"s":"BTCUSDT","p":"85296.60260870","ap":"85296.60260870","P":"85321.91711993","i":"85345.93826087","r":"-0.00000523","T":1791273600000,"st":1}"#;
const SNAPSHOT: &str = r#"{"stream":"btcusdt@depthSnapshot","data":{"lastUpdateId":11289247357348,"E":1786742451231,"T":1786742451224,"bids":[["62858.90","40.395"]],"asks":[["62859.00","2.613"]]}}"#;
const FRAMES: [&str; 6] = [DEPTH, TICKER, AGG_TRADE, TRADE, MARK, SNAPSHOT];

fn instruments() -> Vec<Instrument> {
    [("BTCUSDT", 1, 3), ("ETHUSDT", 2, 3), ("币安人生USDT", 4, 0)]
        .into_iter()
        .zip(0..)
        .map(|((name, px, qty), id)| {
            Instrument::plain(SymbolId(id), name, Increment::decimals(px), Increment::decimals(qty))
        })
        .collect()
}

/// A result that can be kept: everything a frame says.
#[derive(Debug, PartialEq)]
struct Said {
    decoded: Decoded,
    bids: Vec<Level>,
    asks: Vec<Level>,
}

struct Readers {
    table: SymbolTable,
    document: document::Reader,
}

impl Readers {
    fn new() -> Self {
        Self { table: SymbolTable::new(&instruments()), document: document::Reader::new() }
    }

    fn said(decoded: Decoded, levels: Levels) -> Said {
        let with_levels = matches!(decoded, Decoded::Depth(_) | Decoded::Snapshot(_));
        let Levels { bids, asks, .. } = levels;
        let (bids, asks) = if with_levels { (bids, asks) } else { (vec![], vec![]) };
        Said { decoded, bids, asks }
    }

    fn scan(&self, frame: &[u8]) -> Option<Said> {
        let mut levels = Levels::new(&self.table, 0);
        scan::scan(frame, &self.table, &mut levels).map(|d| Self::said(d, levels))
    }

    fn document(&mut self, frame: &[u8]) -> Result<Said, DecodeError> {
        let mut levels = Levels::new(&self.table, 0);
        self.document.read(frame, &self.table, &mut levels).map(|d| Self::said(d, levels))
    }

    /// What the scanner takes, the document reader takes with the same values; and what is JSON is JSON.
    fn compare(&mut self, frame: &[u8]) -> Result<Said, DecodeError> {
        let document = self.document(frame);
        if let Some(scanned) = self.scan(frame) {
            // NaN (no funding rate) is not equal to itself.
            assert_eq!(
                format!("{:?}", Ok::<_, DecodeError>(scanned)),
                format!("{document:?}"),
                "{}",
                frame.escape_ascii()
            );
        }
        let is_json = serde_json::from_slice::<serde_json::Value>(frame).is_ok();
        // simd-json refuses integers beyond 64 bits, which serde_json reads as floats; the rest must agree.
        let long_integer = frame.split(|c| !c.is_ascii_digit()).any(|digits| digits.len() > 18);
        if document.is_ok() || (is_json && !long_integer) {
            assert!(is_json && document != Err(DecodeError::NotJson), "{}", frame.escape_ascii());
        }
        document
    }
}

#[test]
fn the_documented_frames_are_scanned() {
    let mut readers = Readers::new();
    for frame in &FRAMES[..5] {
        assert!(readers.scan(frame.as_bytes()).is_some(), "{frame}");
        readers.compare(frame.as_bytes()).unwrap();
    }
    assert!(matches!(readers.compare(SNAPSHOT.as_bytes()).unwrap().decoded, Decoded::Snapshot(_)));
}

#[test]
fn a_depth_update_is_read_to_the_last_digit() {
    let mut decoder = Decoder::new(&instruments());
    let Ok(Frame::Market(MarketEvent::Depth(u))) = decoder.decode(DEPTH.as_bytes()) else { panic!() };
    assert_eq!(
        (u.symbol, u.ts_send.millis(), u.ts_event.millis()),
        (SymbolId(0), 1790526538985, 1790526538981)
    );
    assert_eq!(
        (u.first_update_id, u.last_update_id, u.prev_last_update_id),
        (11671659683245, 11671659687966, 11671659683147)
    );
    let levels = |l: &[Level]| l.iter().map(|l| (l.px.0, l.qty.0)).collect::<Vec<_>>();
    assert_eq!(levels(u.bids), [(10_000, 139_491), (845_510, 0)]);
    assert_eq!(levels(u.asks), [(845_511, 5_302), (1_234_567_891, 1_234_567_001)]);
    assert_eq!(decoder.counters().slow, 0);
}

#[test]
fn the_other_events_are_read() {
    let mut decoder = Decoder::new(&instruments());
    let Ok(Frame::Market(MarketEvent::Bbo(b))) = decoder.decode(TICKER.as_bytes()) else { panic!() };
    assert_eq!((b.bid.px.0, b.bid.qty.0, b.ask.px.0, b.ask.qty.0), (845_510, 2_646, 845_511, 5_302));
    let Ok(Frame::Market(MarketEvent::Trade(t))) = decoder.decode(AGG_TRADE.as_bytes()) else { panic!() };
    assert_eq!((t.kind, t.id, t.px.0, t.qty.0), (market::TradeKind::Aggregate, 3476312671, 852_999, 4));
    assert_eq!(t.aggressor, market::Side::Sell);
    let Ok(Frame::Market(MarketEvent::Trade(t))) = decoder.decode(TRADE.as_bytes()) else { panic!() };
    assert_eq!((t.kind, t.id, t.aggressor), (market::TradeKind::Raw, 7297376207, market::Side::Buy));
    let Ok(Frame::Market(MarketEvent::Mark(m))) = decoder.decode(MARK.as_bytes()) else { panic!() };
    assert_eq!((m.mark, m.index, m.funding_rate), (85296.6026087, 85345.93826087, -0.00000523));
    assert_eq!(m.next_funding.millis(), 1791273600000);
    let Ok(Frame::Snapshot(s)) = decoder.decode(SNAPSHOT.as_bytes()) else { panic!() };
    assert_eq!((s.symbol, s.last_update_id, s.bids.len(), s.asks.len()), (SymbolId(0), 11289247357348, 1, 1));
}

#[test]
fn any_order_blanks_and_unknown_fields_change_nothing() {
    let mut readers = Readers::new();
    let plain = readers.compare(DEPTH.as_bytes()).unwrap();
    let same = [
        // Levels before the symbol, `e` last, `data` before `stream`.
        r#"{"data":{"a":[["84551.10","5.302"],["123456789.1","1234567.001"]],"b":[["1000","139.491"],["84551.0","0"]],"pu":11671659683147,"u":11671659687966,"U":11671659683245,"s":"BTCUSDT","T":1790526538981,"E":"1790526538985","e":"depthUpdate"},"stream":"btcusdt@depth"}"#,
        r#" { "stream" : "x" , "data" : { "e" : "depthUpdate", "E": 1790526538985, "T": 1790526538981, "s": "BTCUSDT",
            "U": 11671659683245, "u": 11671659687966, "pu": 11671659683147, "new": {"deep": [1.5e3, null, {"x": []}]},
            "b": [["1000.00", "139.491", []], ["84551.00", "0.000"]], "a": [["84551.10", "5.302"], ["123456789.10", "1234567.001"]] } }
        "#,
    ];
    for frame in same {
        assert_eq!(
            readers.compare(frame.as_bytes()),
            Ok(Said { ..readers.compare(frame.as_bytes()).unwrap() })
        );
        assert_eq!(readers.compare(frame.as_bytes()).unwrap(), plain, "{frame}");
    }
}

#[test]
fn what_is_not_ours_is_ignored() {
    let mut readers = Readers::new();
    let cases = [
        (DEPTH.replace("\"st\":1", "\"st\":2"), Ignored::OtherMarket),
        (DEPTH.replace("BTCUSDT", "XRPUSDT"), Ignored::UnknownSymbol),
        (DEPTH.replace("@depth@", "@depth5@"), Ignored::PartialDepth),
        (TRADE.replace("MARKET", "INSURANCE_FUND"), Ignored::NoMatch),
        (TRADE.replace("\"MARKET\"", "\"NA\"").replace("68005.00", "0"), Ignored::NoMatch),
        (MARK.replace("markPriceUpdate", "kline"), Ignored::OtherKind),
        (r#"{"result":null,"id":"x"}"#.to_owned(), Ignored::OtherKind),
        (format!("[{MARK}]"), Ignored::OtherKind),
        ("17".to_owned(), Ignored::OtherKind),
    ];
    for (frame, reason) in cases {
        assert_eq!(
            readers.compare(frame.as_bytes()).map(|s| s.decoded),
            Ok(Decoded::Ignored(reason)),
            "{frame}"
        );
    }
}

#[test]
fn names_of_any_script_are_symbols() {
    let mut decoder = Decoder::new(&instruments());
    let frame =
        AGG_TRADE.replace("BTCUSDT", "币安人生USDT").replace("85299.90", "0.1234").replace("0.004", "7");
    let Ok(Frame::Market(event)) = decoder.decode(frame.as_bytes()) else { panic!() };
    assert_eq!(event.symbol(), SymbolId(2));
    assert_eq!(decoder.counters().slow, 0);
    let snapshot = SNAPSHOT.replace("btcusdt", "币安人生usdt").replace(".90", ".9").replace("40.395", "40");
    let snapshot = snapshot.replace("2.613", "2");
    let Ok(Frame::Snapshot(s)) = decoder.decode(snapshot.as_bytes()) else { panic!() };
    assert_eq!(s.symbol, SymbolId(2));
}

#[test]
fn broken_frames_are_rejected_whole_and_counted_by_kind() {
    let not_number = |field| DecodeError::BadNumber { field, reason: NumberError::Malformed };
    let cases = [
        (DEPTH.replace("84551.10", "NaN"), not_number("a")),
        (DEPTH.replace("84551.10", "1e400"), not_number("a")),
        (DEPTH.replace("84551.10", "-84551.10"), not_number("a")),
        (DEPTH.replace("84551.10", ""), not_number("a")),
        (DEPTH.replace("84551.10", "0.00"), DecodeError::OutOfRange("a")),
        (
            DEPTH.replace("84551.10", "84551.15"),
            DecodeError::BadNumber { field: "a", reason: NumberError::OffGrid },
        ),
        (
            DEPTH.replace("5.302", "99999999999999999999"),
            DecodeError::BadNumber { field: "a", reason: NumberError::OutOfRange },
        ),
        (
            DEPTH.replace("5.302", "9999999999999999"),
            DecodeError::BadNumber { field: "a", reason: NumberError::OutOfRange },
        ),
        (DEPTH.replace("5.302", "999999999999999"), DecodeError::OutOfRange("a")),
        (DEPTH.replace("84551.10", "28147497671065.7"), DecodeError::OutOfRange("a")),
        (DEPTH.replace("\"84551.10\"", "84551.10"), DecodeError::WrongType("a")),
        (DEPTH.replace("\"pu\":11671659683147,", ""), DecodeError::Missing("pu")),
        (DEPTH.replace("\"U\":", "\"u\":"), DecodeError::Missing("U")),
        (DEPTH.replace("\"st\":1", "\"u\":1"), DecodeError::Duplicate("u")),
        (DEPTH.replace("\"st\":1", "\"b\":[]"), DecodeError::Duplicate("b")),
        (DEPTH.replace("\"u\":11671659687966", "\"u\":1.5"), DecodeError::WrongType("u")),
        (DEPTH.replace("\"u\":11671659687966", "\"u\":-5"), DecodeError::OutOfRange("u")),
        (
            DEPTH.replace("\"u\":11671659687966", "\"u\":5"),
            DecodeError::BadIds { first: 11671659683245, last: 5 },
        ),
        (DEPTH.replace("1790526538985", "99999999999999"), DecodeError::OutOfRange("E")),
        (DEPTH.replace("[[\"1000.00\",\"139.491\"],", "[[\"1000.00\"],"), DecodeError::WrongType("b")),
        (TICKER.replace("84551.00", "0.00"), DecodeError::OutOfRange("b")),
        (TRADE.replace("0.100", "0.000"), DecodeError::OutOfRange("q")),
        (TRADE.replace("false", "0"), DecodeError::WrongType("m")),
        (MARK.replace("85296.60260870", "inf"), not_number("p")),
        (MARK.replace("85296.60260870", "-1"), DecodeError::OutOfRange("p")),
        (format!("{DEPTH}x"), DecodeError::NotJson),
        (format!("{DEPTH}{DEPTH}"), DecodeError::NotJson),
        (String::new(), DecodeError::NotJson),
        (format!("{{\"e\":{}1{}}}", "[".repeat(10_000), "]".repeat(10_000)), DecodeError::NotJson),
        (" ".repeat(MAX_FRAME_BYTES + 1), DecodeError::TooLong(MAX_FRAME_BYTES + 1)),
    ];
    let mut decoder = Decoder::new(&instruments());
    for (n, (frame, error)) in (1..).zip(&cases) {
        let shown = &frame[..frame.len().min(400)];
        assert_eq!(decoder.decode(frame.as_bytes()), Err(*error), "{shown}");
        assert_eq!(decoder.counters().rejected(), n, "{shown}");
    }
    assert_eq!(decoder.counters().accepted, 0);
    let many = DEPTH.replace("\"a\":[", &format!("\"a\":[{}", "[\"1.0\",\"1\"],".repeat(MAX_LEVELS)));
    assert_eq!(decoder.decode(many.as_bytes()), Err(DecodeError::TooManyLevels("a")));
    assert_eq!(decoder.counters().too_many_levels, 1);
}

#[test]
fn a_frame_cut_anywhere_is_no_frame() {
    let mut readers = Readers::new();
    for frame in FRAMES {
        for end in 0..frame.len() {
            assert_eq!(
                readers.compare(&frame.as_bytes()[..end]),
                Err(DecodeError::NotJson),
                "{}",
                &frame[..end]
            );
        }
    }
}

#[test]
fn any_single_byte_may_be_anything() {
    let mut readers = Readers::new();
    for frame in FRAMES {
        let mut bytes = frame.as_bytes().to_vec();
        for at in 0..bytes.len() {
            for byte in (0..=255).step_by(3).chain(*b"\"\\{}[],:.0123456789eE+-") {
                let old = std::mem::replace(&mut bytes[at], byte);
                let _ = readers.compare(&bytes);
                bytes[at] = old;
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn damaged_frames_are_read_alike(
        frame in prop::sample::select(FRAMES.to_vec()),
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0usize..6, prop::sample::select(vec![
            "", "\"", "{", "}", "[", "]", ",", ":", "0", "00", "9999999999999999999", "1e400", "-1", "NaN", "null", "true", "\\u0041", "\\",
            "\"E\":\"1\",", "\"u\":1,", "\"st\":2,", "[\"1.0\",\"1\"],", " ", "\n", "\u{7f}", "é", "{\"x\":[1]}", "1.5", "\"b\":[],",
        ])), 1..4),
    ) {
        let mut bytes = frame.as_bytes().to_vec();
        for (at, cut, put) in edits {
            let at = at.index(bytes.len());
            let end = (at + cut).min(bytes.len());
            bytes.splice(at..end, put.bytes());
        }
        let _ = Readers::new().compare(&bytes);
    }

    #[test]
    fn any_bytes_are_no_surprise(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = Readers::new().compare(&bytes);
    }

    #[test]
    fn any_numbers_are_read_alike(px in "[0-9]{1,12}(\\.[0-9]{1,6})?", qty in "[0-9]{1,9}(\\.[0-9]{1,5})?", id in "[0-9]{1,20}") {
        let frame = DEPTH.replace("84551.10", &px).replace("5.302", &qty).replace("11671659683147", &id);
        let _ = Readers::new().compare(frame.as_bytes());
        let frame = TICKER.replace("84551.10", &px).replace("5.302", &qty).replace("11671659685961", &id);
        let _ = Readers::new().compare(frame.as_bytes());
    }
}

/// Levels as the venue writes them: one number of decimals a column, and now and then one that is different.
fn side() -> impl Strategy<Value = String> {
    let odd = prop::sample::select(vec![
        r#"["1","2"]"#,
        r#"["1.5","0"]"#,
        r#"["123456789.10","1234567.001"]"#,
        r#"["00.10","1.000"]"#,
        r#"["0.00","1.000"]"#,
        r#"["84551.15","1.000"]"#,
        r#"[".5","1.000"]"#,
        r#"["5.","1.000"]"#,
        r#"["84551.10","1.0000"]"#,
        r#"["84551.10",".500"]"#,
        r#"["84551.10",""]"#,
        r#"["","1.000"]"#,
        r#"["84551.10","1.000",[]]"#,
        r#"["84551.10"]"#,
        r#"["84551.10","1.\u0030"]"#,
        r#"[ "84551.10","1.000"]"#,
        r#"["84551x10","1.000"]"#,
        r#"["84551.10","1.0e0"]"#,
        r#"["84551.10",1.000]"#,
        r#"["8455110","1000"]"#,
    ]);
    let level = (1u64..99_999_999, 0u64..99_999_999, 0u32..20).prop_map(|(px, qty, small)| {
        let (px, qty) = (px / 10 * 10, qty >> small);
        format!("[\"{}.{:02}\",\"{}.{:03}\"]", px / 100, px % 100, qty / 1000, qty % 1000)
    });
    let levels = prop::collection::vec(level, 0..150);
    let odds = prop::collection::vec((any::<prop::sample::Index>(), odd), 0..3);
    (levels, prop_oneof![2 => Just(vec![]), 1 => odds]).prop_map(|(mut levels, odds)| {
        for (at, odd) in odds {
            let at = at.index(levels.len() + 1);
            levels.insert(at, odd.to_owned());
        }
        levels.join(",")
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    /// Frames of many levels through one scanner that keeps what it has learned: whatever came before, it reads a frame
    /// as the document reader does or leaves it alone.
    #[test]
    fn frames_of_many_levels_are_read_alike(
        frames in prop::collection::vec((side(), side(), any::<prop::sample::Index>(), any::<u8>(), 0u8..8), 1..4),
    ) {
        let mut readers = Readers::new();
        let mut levels = Levels::new(&readers.table, 0);
        for (bids, asks, at, byte, damage) in frames {
            let frame = format!(
                "{{\"e\":\"depthUpdate\",\"E\":1790526538985,\"s\":\"BTCUSDT\",\"U\":1,\"u\":2,\"pu\":0,\"b\":[{bids}],\"a\":[{asks}]}}"
            );
            let mut bytes = frame.into_bytes();
            match damage {
                0 => *at.get_mut(&mut bytes) = byte,
                1 => bytes.truncate(at.index(bytes.len())),
                2 => drop(bytes.remove(at.index(bytes.len()))),
                3 => bytes.insert(at.index(bytes.len()), byte),
                _ => {}
            }
            let document = readers.document(&bytes);
            if let Some(decoded) = scan::scan(&bytes, &readers.table, &mut levels) {
                let said = Said { decoded, bids: levels.bids.clone(), asks: levels.asks.clone() };
                prop_assert_eq!(Ok(said), document, "{}", bytes.escape_ascii());
            }
        }
    }
}

#[test]
fn levels_that_look_alike_need_no_document_reader() {
    let mut decoder = Decoder::new(&instruments());
    let level = |i: usize| format!("[\"{}.{:02}\",\"{}.{:03}\"]", 9990 + i, i % 10 * 10, i * i, i);
    for count in [1, 2, 3, 4, 5, 63, 64, 65, 127, 128, 129, 999] {
        let levels = (0..count).map(level).collect::<Vec<_>>().join(",");
        let frame = DEPTH.replace("[\"84551.10\",\"5.302\"]", &levels);
        let Ok(Frame::Market(MarketEvent::Depth(u))) = decoder.decode(frame.as_bytes()) else {
            panic!("{count}")
        };
        assert_eq!(u.asks.len(), count + 1);
        let of = |i: usize| Level {
            px: market::Px(((9990 + i) * 10 + i % 10) as i64),
            qty: market::Qty((i * i * 1000 + i) as i64),
        };
        for i in 0..count {
            assert_eq!(u.asks[i], of(i), "{i} of {count}");
        }
    }
    assert_eq!(decoder.counters().slow, 0);
}

#[test]
fn recorded_frames_are_scanned_and_read_alike() {
    for file in ["recordings/usdm_btcusdt_20240808.gz", "recordings/usdm_ethusdt_20240808.gz"] {
        let Some(path) = testkit::shared_data(file) else { return };
        let mut text = String::new();
        flate2::read::MultiGzDecoder::new(std::fs::File::open(path).unwrap())
            .read_to_string(&mut text)
            .unwrap();
        let mut readers = Readers::new();
        let mut scanned = 0;
        let (mut frames, mut snapshots) = (0, 0);
        for line in text.lines() {
            let frame = line.split_once(' ').unwrap().1.as_bytes();
            if frame.starts_with(b"{\"lastUpdateId") {
                snapshots += 1;
                continue;
            }
            frames += 1;
            scanned += usize::from(readers.scan(frame).is_some());
            if frames % 16 == 0 || frame.len() > 3000 {
                readers.compare(frame).unwrap();
            }
        }
        assert_eq!((scanned, snapshots), (frames, 1), "{file}");
    }
}

#[test]
fn real_frames_of_all_years_are_understood() {
    let Some(path) = testkit::shared_data("venue/frames/real_frames.jsonl") else { return };
    let mut readers = Readers::new();
    for line in std::fs::read_to_string(path).unwrap().lines() {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        let (kind, raw) = (line["kind"].as_str().unwrap(), line["raw"].as_str().unwrap());
        let decoded = readers.compare(raw.as_bytes()).unwrap_or_else(|e| panic!("{kind}: {e}")).decoded;
        let kind_is = |start: &str| kind.starts_with(start);
        match decoded {
            Decoded::Depth(_) => assert!(kind_is("depth@"), "{kind}"),
            Decoded::Plain(MarketEvent::Bbo(_)) => assert!(kind_is("bookTicker"), "{kind}"),
            Decoded::Plain(MarketEvent::Trade(_)) => {
                assert!(kind_is("aggTrade") || kind_is("trade"), "{kind}");
            }
            Decoded::Plain(MarketEvent::Mark(_)) => assert!(kind_is("markPrice"), "{kind}"),
            Decoded::Ignored(Ignored::PartialDepth) => assert!(kind_is("depth5"), "{kind}"),
            _ => assert!(
                !["depth@", "bookTicker", "aggTrade", "trade/", "markPrice"].iter().any(|k| kind_is(k)),
                "{kind}"
            ),
        }
    }
}
