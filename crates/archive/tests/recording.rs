//! Recordings: what is written is read, damage is told with its place.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use archive::recording::{
    MAX_LINE_BYTES, MergedRecordings, RecordingError, RecordingReader, RecordingWriter, Survey, survey,
};
use market::{Nanos, SymbolId};
use proptest::prelude::*;

const TRADE: &str = r#"{"stream":"btcusdt@aggTrade","data":{"e":"aggTrade","E":1,"s":"BTCUSDT","a":1,"p":"1.50","q":"0.125","T":1,"m":true}}"#;
const TICKER: &str =
    r#"{"e":"bookTicker","u":1,"s":"ETHUSDT","b":"1.5","B":"2","a":"1.625","A":"3.5","T":1,"E":1}"#;
const DEPTH: &str = r#"{"stream":"btcusdt@depth","data":{"e":"depthUpdate","E":1,"T":1,"s":"BTCUSDT","U":1,"u":2,"pu":0,"b":[["1.5","2.0001"]],"a":[]}}"#;
const MARK: &str = r#"{"e":"markPriceUpdate","E":1,"s":"BTCUSDT","p":"1.12345678","i":"1.1","r":"","T":1}"#;
const SNAPSHOT: &str = r#"{"lastUpdateId":5,"E":1,"T":1,"bids":[["1.499","7"]],"asks":[["1.6","0.00001"]]}"#;

fn write(path: &Path, lines: &[(u64, &str)]) {
    let mut writer = RecordingWriter::create(path).unwrap();
    for (recv, frame) in lines {
        writer.write(Nanos(*recv), frame.as_bytes()).unwrap();
    }
    assert_eq!(writer.lines(), lines.len() as u64);
    writer.finish().unwrap();
}

fn read(path: &Path) -> Result<Vec<(u64, String)>, RecordingError> {
    let mut reader = RecordingReader::open(path)?;
    let mut lines = vec![];
    while reader.advance()? {
        let line = reader.line();
        lines.push((line.recv.0, String::from_utf8_lossy(line.frame).into_owned()));
    }
    Ok(lines)
}

#[test]
fn every_format_reads_what_it_wrote() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["a.gz", "a.zst", "a.txt"] {
        let path = dir.path().join(name);
        write(&path, &[(3, TRADE), (1, TICKER), (u64::MAX, DEPTH)]);
        let expected = [(3, TRADE.to_owned()), (1, TICKER.to_owned()), (u64::MAX, DEPTH.to_owned())];
        assert_eq!(read(&path).unwrap(), expected, "{name}");
    }
    assert!(fs::read(dir.path().join("a.gz")).unwrap().starts_with(&[0x1f, 0x8b]));
    assert!(fs::read(dir.path().join("a.zst")).unwrap().starts_with(&[0x28, 0xb5, 0x2f, 0xfd]));
}

#[test]
fn a_frame_is_one_line_and_a_snapshot_is_wrapped() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.zst");
    let mut writer = RecordingWriter::create(&path).unwrap();
    writer.write(Nanos(1), b"{\n \"e\":\r\n1}").unwrap();
    writer.write_snapshot(Nanos(2), "BTCUSDT", SNAPSHOT.as_bytes()).unwrap();
    writer.flush().unwrap();
    writer.finish().unwrap();
    let lines = read(&path).unwrap();
    assert_eq!(lines[0], (1, "{  \"e\":  1}".to_owned()));
    assert_eq!(lines[1].1, format!("{{\"stream\":\"btcusdt@depthSnapshot\",\"data\":{SNAPSHOT}}}"));
}

#[test]
fn files_are_merged_by_receive_time() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.gz"), dir.path().join("b.txt"));
    write(&a, &[(10, "a1"), (30, "a2"), (20, "a3"), (50, "a4")]);
    write(&b, &[(10, "b1"), (25, "b2"), (40, "b3")]);
    let mut merged = MergedRecordings::open(&[a.clone(), b]).unwrap();
    let mut order = vec![];
    while let Some(line) = merged.next_line().unwrap() {
        order.push((line.file, line.number, String::from_utf8(line.frame.to_vec()).unwrap()));
    }
    let names: Vec<_> = order.iter().map(|(_, _, name)| name.as_str()).collect();
    assert_eq!(names, ["a1", "b1", "b2", "a2", "a3", "b3", "a4"]);
    assert_eq!((order[3].0, order[3].1), (0, 2));
    assert_eq!(merged.path(0), a);
}

#[test]
fn damage_is_told_with_file_and_line() {
    let dir = tempfile::tempdir().unwrap();
    let lines: Vec<String> = (0..2000).map(|i| format!("{TRADE}{i}")).collect();
    let lines: Vec<_> = (0u64..).zip(lines.iter().map(String::as_str)).collect();
    for name in ["cut.gz", "cut.zst"] {
        let path = dir.path().join(name);
        write(&path, &lines);
        let whole = fs::read(&path).unwrap();
        fs::write(&path, &whole[..whole.len() - whole.len() / 4]).unwrap();
        let error = read(&path).unwrap_err();
        assert!(matches!(&error, RecordingError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains(name), "{error}");
    }
    let path = dir.path().join("bad.txt");
    for (text, what) in [
        ("1 {}\n\nx {}\n", "line 3: no receive time"),
        ("1 {}\n2{}\n", "line 2: no receive time"),
        ("99999999999999999999 {}\n", "line 1: receive time beyond 64 bits"),
    ] {
        fs::write(&path, text).unwrap();
        assert!(read(&path).unwrap_err().to_string().contains(what));
    }
    let mut file = fs::File::create(&path).unwrap();
    file.write_all(b"1 ").unwrap();
    file.write_all(&vec![b'x'; MAX_LINE_BYTES]).unwrap();
    assert!(read(&path).unwrap_err().to_string().contains("line 1: line too long"));
    assert!(matches!(RecordingReader::open(&dir.path().join("none.gz")), Err(RecordingError::File { .. })));
    fs::write(dir.path().join("no.gz"), "1 {}\n").unwrap();
    assert!(matches!(read(&dir.path().join("no.gz")), Err(RecordingError::Damaged { line: 0, .. })));
}

/// The raw files of cryptofeed: what was received, with the times to the last digit, and the snapshots with their symbols.
#[test]
fn cryptofeed_raw_files_are_read_and_what_cannot_be_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("BINANCE_FUTURES.ws.1.0");
    let text = format!(
        "configuration: {{'a': 1}}\nwss://host/stream <-> 1700000000.25\n1700000000.5: {TRADE}\n\
         wss://host/stream <- 1700000000.6: {{}}\n1700000001: {DEPTH}\n\
         https://host/depth?symbol=BTCUSDT&limit=1000 -> 1700000001.1234567: {SNAPSHOT}\n\
         https://host/openInterest?symbol=BTCUSDT -> 1700000002.0: {{\"openInterest\":\"1\"}}\n"
    );
    fs::write(&path, text).unwrap();
    let wrapped = format!("{{\"stream\":\"btcusdt@depthSnapshot\",\"data\":{SNAPSHOT}}}");
    let expected = [
        (1_700_000_000_500_000_000, TRADE.to_owned()),
        (1_700_000_001_000_000_000, DEPTH.to_owned()),
        (1_700_000_001_123_456_700, wrapped),
    ];
    assert_eq!(read(&path).unwrap(), expected);
    for (bytes, what) in [
        (&b"PK\x03\x04rest"[..], "hftbacktest"),
        (b"timestamp,local_timestamp,side\n", "cryptofeed"),
        (b"1.5e9: {}\n", "no receive time"),
        (b"99999999999999: {}\n", "no receive time"),
        (b"1.1234567890: {}\n", "no receive time"),
    ] {
        fs::write(&path, bytes).unwrap();
        let error = read(&path).unwrap_err().to_string();
        assert!(error.contains("line 1: ") && error.contains(what), "{error}");
    }
}

fn surveyed(dir: &Path, files: &[&[(u64, &str)]]) -> Result<Survey, RecordingError> {
    let paths: Vec<PathBuf> = (0..files.len()).map(|i| dir.join(format!("{i}.zst"))).collect();
    for (path, lines) in paths.iter().zip(files) {
        write(path, lines);
    }
    survey(&paths)
}

#[test]
fn symbols_and_decimals_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let wrapped =
        r#"{"stream":"xrpusdt@depthSnapshot","data":{"lastUpdateId":5,"bids":[["0.51234","7"]],"asks":[]}}"#;
    let ether = [(1, TICKER), (2, "not json"), (3, SNAPSHOT), (4, "")];
    let others = [(1, TRADE), (2, MARK), (3, DEPTH), (4, wrapped)];
    let found = surveyed(dir.path(), &[&ether, &others]).unwrap();
    let all: Vec<_> = found
        .symbols
        .iter()
        .map(|s| (s.symbol.as_str(), s.px_decimals, s.qty_decimals, s.has_aggregates))
        .collect();
    assert_eq!(all, [("BTCUSDT", 2, 4, true), ("ETHUSDT", 3, 5, false), ("XRPUSDT", 5, 0, false)]);
    assert_eq!(found.file_symbols, [Some(SymbolId(1)), None]);
    let ether = &found.instruments()[1];
    assert_eq!((ether.id, ether.tick.scale(), ether.lot.scale()), (SymbolId(1), 3, 5));
}

#[test]
fn a_bare_snapshot_needs_an_owner_and_a_recording_a_symbol() {
    let dir = tempfile::tempdir().unwrap();
    let error = surveyed(dir.path(), &[&[(1, TICKER), (2, TRADE), (3, SNAPSHOT)]]).unwrap_err();
    let told = "line 3: a depth snapshot without a symbol in a file of 2 symbols";
    assert!(error.to_string().contains(told), "{error}");
    let error = surveyed(dir.path(), &[&[(1, "{}"), (2, MARK)]]).unwrap_err();
    assert!(matches!(error, RecordingError::NoSymbols { lines: 2, .. }));
}

proptest! {
    #[test]
    fn no_file_panics(
        bytes in prop::collection::vec(any::<u8>(), 0..400),
        name in prop::sample::select(vec!["a.gz", "a.zst", "a.txt"]),
    ) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        fs::write(&path, bytes).unwrap();
        let _ = read(&path);
        let _ = survey(&[path]);
    }
}
