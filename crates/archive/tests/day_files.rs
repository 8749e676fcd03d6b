//! Day files in every form that a writer may give them, and in the forms that are no day files at all.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]
#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::sync::Arc;

use archive::day::{AssetColumns, Bar, Day, DayError, LoadedDay, Wanted, encode, list, write};
use arrow_array::builder::StringDictionaryBuilder;
use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, BooleanArray, Decimal128Array, Float32Array, Float64Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, TimestampNanosecondArray,
    TimestampSecondArray,
};
use bytes::Bytes;
use market::{Date, Nanos};
use parquet::arrow::ArrowWriter;
use parquet::basic::{BrotliLevel, Compression, GzipLevel, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::WriterProperties;
use proptest::prelude::*;

const DATE: Date = Date::constant(2021, 4, 10);
const T0: i64 = 1_618_012_860; // 2021-04-10T00:01:00Z

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(columns.into_iter().map(|(n, a)| (n, a, true))).unwrap()
}

fn parquet(batch: &RecordBatch, properties: WriterProperties) -> Bytes {
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties)).unwrap();
    writer.write(batch).unwrap();
    writer.close().unwrap();
    bytes.into()
}

fn decode(bytes: Bytes) -> Result<Day, DayError> {
    let mut day = Day::default();
    LoadedDay::from_parquet(DATE, PathBuf::from("somewhere/2021-04-10.parquet"), bytes)
        .decode_into(&mut day)?;
    Ok(day)
}

fn decode_columns(columns: Vec<(&str, ArrayRef)>) -> Result<Day, DayError> {
    decode(parquet(&table(columns), WriterProperties::default()))
}

fn f64s(values: &[f64]) -> ArrayRef {
    Arc::new(Float64Array::from(values.to_vec()))
}

/// Two bars of one asset, with one more column.
fn with(name: &'static str, column: ArrayRef) -> Result<Day, DayError> {
    decode_columns(vec![
        ("vel_div", f64s(&[-0.01, f64::NAN])),
        (name, column),
        ("BTCUSDT", f64s(&[1.0, 2.0])),
    ])
}

fn sample(bars: usize, assets: usize) -> Day {
    let mut day = Day::new(DATE, (0..assets).map(|i| format!("A{i}USDT")).collect());
    for i in 0..bars {
        let bar = Bar {
            ts: Some(Nanos((T0 as u64 + 60 * i as u64) * Nanos::SECOND)),
            scan_number: Some(i as i64),
            vel_div: -0.01 * i as f64,
            ..Bar::EMPTY
        };
        let prices: Vec<f64> = (0..assets).map(|a| (a * bars + i) as f64 + 0.5).collect();
        day.push(bar, &prices);
    }
    day
}

/// Equal, NaN being equal to NaN.
fn assert_same(a: &Day, b: &Day) {
    assert_eq!((a.date, &a.assets, a.len()), (b.date, &b.assets, b.len()));
    assert_eq!(format!("{:?}", a.bars), format!("{:?}", b.bars));
    assert_eq!(format!("{:?}", a.prices), format!("{:?}", b.prices));
}

#[test]
fn a_time_may_come_in_any_form() {
    let want = [Some(Nanos(T0 as u64 * Nanos::SECOND)), None];
    let int = |unit: i64| -> ArrayRef { Arc::new(Int64Array::from(vec![Some(T0 * unit), None])) };
    let text = |t: &str| -> ArrayRef { Arc::new(StringArray::from(vec![Some(t), None])) };
    let mut categories = StringDictionaryBuilder::<Int32Type>::new();
    categories.append_value("2021-04-10 00:01:00");
    categories.append_null();
    let forms: Vec<ArrayRef> = vec![
        Arc::new(TimestampSecondArray::from(vec![Some(T0), None])),
        Arc::new(TimestampMillisecondArray::from(vec![Some(T0 * 1_000), None]).with_timezone("UTC")),
        Arc::new(TimestampMicrosecondArray::from(vec![Some(T0 * 1_000_000), None]).with_timezone("+02:00")),
        Arc::new(TimestampNanosecondArray::from(vec![Some(T0 * 1_000_000_000), None])),
        int(1),
        int(1_000),
        int(1_000_000),
        int(1_000_000_000),
        Arc::new(Float64Array::from(vec![Some(T0 as f64), None])),
        text("2021-04-10T00:01:00Z"),
        text("2021-04-10T02:01:00+02:00"),
        text("2021-04-10 00:01:00.000"),
        Arc::new(categories.finish()),
    ];
    for form in forms {
        let kind = form.data_type().clone();
        let day = with("timestamp", form).unwrap();
        assert_eq!(day.bars.iter().map(|b| b.ts).collect::<Vec<_>>(), want, "{kind}");
    }
}

#[test]
fn a_price_may_come_in_any_number_type() {
    let forms: Vec<ArrayRef> = vec![
        Arc::new(Float32Array::from(vec![Some(3.0), None])),
        Arc::new(Float64Array::from(vec![Some(3.0), None])),
        Arc::new(Int64Array::from(vec![Some(3), None])),
        Arc::new(Int32Array::from(vec![Some(3), None])),
        Arc::new(Decimal128Array::from(vec![Some(300), None]).with_precision_and_scale(10, 2).unwrap()),
    ];
    for form in forms {
        let kind = form.data_type().clone();
        let day = with("ETHUSDT", form).unwrap();
        assert_eq!(day.assets, ["ETHUSDT", "BTCUSDT"]);
        assert_eq!(day.row(0), [3.0, 1.0], "{kind}");
        assert!(day.row(1)[0].is_nan() && day.row(1)[1] == 2.0, "{kind}");
    }
}

#[test]
fn any_compression_and_row_group_layout_gives_the_same_rows() {
    let day = sample(700, 5);
    let plain = decode(encode(&day).unwrap().into()).unwrap();
    assert_same(&day, &plain);
    let columns = (0..5).map(|a| {
        let prices: Vec<f64> = (0..700).map(|i| day.row(i)[a]).collect();
        (day.assets[a].as_str(), f64s(&prices))
    });
    let vel_div: Vec<f64> = day.bars.iter().map(|b| b.vel_div).collect();
    let batch = table(std::iter::once(("vel_div", f64s(&vel_div))).chain(columns).collect());
    for compression in [
        Compression::UNCOMPRESSED,
        Compression::SNAPPY,
        Compression::LZ4,
        Compression::LZ4_RAW,
        Compression::ZSTD(ZstdLevel::default()),
        Compression::GZIP(GzipLevel::default()),
        Compression::BROTLI(BrotliLevel::default()),
    ] {
        for (rows, dictionary) in [(1, true), (97, false), (100_000, true)] {
            let properties = WriterProperties::builder()
                .set_compression(compression)
                .set_max_row_group_row_count(Some(rows))
                .set_dictionary_enabled(dictionary)
                .build();
            let read = decode(parquet(&batch, properties)).unwrap();
            assert_eq!(read.prices, day.prices, "{compression:?} {rows}");
            assert!(read.bars.iter().zip(&day.bars).all(|(a, b)| a.vel_div == b.vel_div));
        }
    }
}

#[test]
fn a_pandas_index_is_no_asset() {
    let index: ArrayRef = Arc::new(Int64Array::from(vec![0, 1]));
    let day = with("__index_level_0__", index.clone()).unwrap();
    assert_eq!(day.assets, ["BTCUSDT"]);
    let batch =
        table(vec![("vel_div", f64s(&[0.0, 0.0])), ("BTCUSDT", f64s(&[1.0, 2.0])), ("my_index", index)]);
    let pandas = KeyValue::new("pandas".to_owned(), r#"{"index_columns": ["my_index"]}"#.to_owned());
    let properties = WriterProperties::builder().set_key_value_metadata(Some(vec![pandas])).build();
    assert_eq!(decode(parquet(&batch, properties)).unwrap().assets, ["BTCUSDT"]);
}

/// One bar of whatever columns people keep beside the prices.
fn crowded() -> Vec<(&'static str, ArrayRef)> {
    let words = || -> ArrayRef { Arc::new(StringArray::from(vec!["a word"])) };
    vec![
        ("row_id", Arc::new(Int64Array::from(vec![7]))),
        ("Unnamed: 0", Arc::new(Int64Array::from(vec![7]))),
        ("vel_div", f64s(&[-0.03])),
        ("comment", words()),
        ("1000SHIBUSDT", f64s(&[3.0])),
        ("BTCUSDC", f64s(&[5.0])),
        ("comment", words()),
        ("flag", Arc::new(BooleanArray::from(vec![true]))),
        ("BTCUSDT", f64s(&[1.0])),
        ("gold", f64s(&[9.0])),
    ]
}

fn in_a_directory(columns: Vec<(&str, ArrayRef)>) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    // Names may be there twice: built by hand.
    let fields: Vec<_> = columns
        .iter()
        .map(|(name, array)| arrow_schema::Field::new(*name, array.data_type().clone(), true))
        .collect();
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    let batch = RecordBatch::try_new(Arc::new(arrow_schema::Schema::new(fields)), arrays).unwrap();
    put(dir.path(), "2021-04-10.parquet", parquet(&batch, WriterProperties::default()));
    dir
}

fn read_with(dir: &Path, assets: AssetColumns) -> Result<(Day, Vec<String>), DayError> {
    let mut found = list(dir, &Wanted { assets, ..Wanted::default() })?;
    let assets = found.assets()?;
    let mut day = Day::default();
    found.days[0].load()?.decode_into(&mut day)?;
    assert_eq!(assets, day.assets);
    Ok((day, found.notes))
}

#[test]
fn only_symbols_of_the_quote_are_assets_and_the_rest_is_named() {
    let dir = in_a_directory(crowded());
    let (day, notes) = read_with(dir.path(), AssetColumns::of_reference("ETHUSDT")).unwrap();
    assert_eq!((day.assets.join(" ").as_str(), day.row(0)), ("1000SHIBUSDT BTCUSDT", &[3.0, 1.0][..]));
    let [note] = &notes[..] else { panic!("{notes:?}") };
    for name in ["`row_id`", "`Unnamed: 0`", "`comment`", "`BTCUSDC`", "`flag`", "`gold`", "--assets", "USDT"]
    {
        assert!(note.contains(name), "{note}");
    }
    let (day, _) = read_with(dir.path(), AssetColumns::of_reference("BTCUSDC")).unwrap();
    assert_eq!(day.assets, ["BTCUSDC"]);
    let (day, notes) = read_with(dir.path(), AssetColumns::named("gold,BTCUSDT").unwrap()).unwrap();
    assert_eq!(day.assets, ["BTCUSDT", "gold"], "in file order");
    assert!(notes[0].contains("`1000SHIBUSDT`"), "{notes:?}");
    let missing = read_with(dir.path(), AssetColumns::named("silver,gold").unwrap()).unwrap_err().to_string();
    assert!(missing.contains("silver") && missing.contains("row_id"), "{missing}");
    let words = read_with(dir.path(), AssetColumns::named("comment").unwrap()).unwrap_err().to_string();
    assert!(words.contains("`comment` "), "{words}");
}

#[test]
fn a_day_of_scans_has_the_assets_of_its_file() {
    let dir = tempfile::tempdir().unwrap();
    let scan = r#"{"vel_div": 0, "timestamp": 1618012860, "asset_prices": {"row_id": 7, "BTCUSDT": 1, "BTCUSDC": 5}}"#;
    put(dir.path(), "2021-04-10/a.json", scan);
    let (day, notes) = read_with(dir.path(), AssetColumns::default()).unwrap();
    assert_eq!((day.assets, day.prices), (vec!["BTCUSDT".to_owned()], vec![1.0]));
    assert!(notes[0].contains("`row_id`, `BTCUSDC`"), "{notes:?}");
}

#[test]
fn a_column_left_out_on_some_days_says_on_how_many() {
    let dir = tempfile::tempdir().unwrap();
    for (day, extra) in [(1, None), (2, Some("row_id")), (3, None)] {
        let mut columns = vec![("vel_div", f64s(&[0.0])), ("BTCUSDT", f64s(&[1.0]))];
        columns.extend(extra.map(|name| (name, f64s(&[1.0]))));
        let bytes = parquet(&table(columns), WriterProperties::default());
        put(dir.path(), &format!("2026-02-0{day}.parquet"), bytes);
    }
    let (_, notes) = read_with(dir.path(), AssetColumns::default()).unwrap();
    assert!(notes[0].contains("`row_id` (on 1 of 3 days)"), "{notes:?}");
}

#[test]
fn what_is_missing_is_nan_or_none() {
    let day = decode_columns(vec![("vel_div", f64s(&[-0.03])), ("BTCUSDT", f64s(&[5.0]))]).unwrap();
    assert_eq!(format!("{:?}", day.bars[0]), format!("{:?}", Bar { vel_div: -0.03, ..Bar::EMPTY }));
}

#[test]
fn a_day_without_rows_is_an_empty_day() {
    let day = decode_columns(vec![("vel_div", f64s(&[])), ("BTCUSDT", f64s(&[]))]).unwrap();
    assert!(day.is_empty());
    assert_eq!(day.assets, ["BTCUSDT"]);
    let empty = Day::new(DATE, vec!["BTCUSDT".to_owned()]);
    assert_same(&decode(encode(&empty).unwrap().into()).unwrap(), &empty);
}

fn message(result: Result<Day, DayError>) -> String {
    let text = result.unwrap_err().to_string();
    assert!(text.contains("2021-04-10.parquet"), "{text} does not name the file");
    text
}

#[test]
fn an_error_names_the_file_and_the_column() {
    let price = || ("BTCUSDT", f64s(&[1.0]));
    let vel_div = || ("vel_div", f64s(&[1.0]));
    let missing = message(decode_columns(vec![("v50_lambda_max_velocity", f64s(&[1.0])), price()]));
    assert!(
        missing.contains("`vel_div`") && missing.contains("v50_lambda_max_velocity, BTCUSDT"),
        "{missing}"
    );
    let none = message(decode_columns(vec![vel_div(), ("instability_50", f64s(&[1.0]))]));
    assert!(none.contains("no asset column") && none.contains("vel_div, instability_50"), "{none}");
    assert!(none.contains("a symbol quoted in USDT") && none.contains("--assets"), "{none}");
    let words: ArrayRef = Arc::new(StringArray::from(vec!["high"]));
    let text = message(decode_columns(vec![vel_div(), ("ETHUSDT", words.clone())]));
    assert!(text.contains("`ETHUSDT` holds text"), "{text}");
    let flags: ArrayRef = Arc::new(BooleanArray::from(vec![true]));
    let flag = message(decode_columns(vec![vel_div(), ("ETHUSDT", flags)]));
    assert!(flag.contains("`ETHUSDT` holds booleans"), "{flag}");
    let bad_meta = message(decode_columns(vec![("vel_div", words.clone()), price()]));
    assert!(bad_meta.contains("`vel_div` holds text"), "{bad_meta}");
    let time = message(decode_columns(vec![("timestamp", words), vel_div(), price()]));
    assert!(time.contains("row 0: `high` is not a time"), "{time}");
}

#[test]
fn a_truncated_file_is_an_error_wherever_it_ends() {
    let whole: Bytes = encode(&sample(300, 4)).unwrap().into();
    for end in (0..whole.len()).step_by(13) {
        let text = message(decode(whole.slice(..end)));
        assert!(text.contains("truncated or damaged"), "{text}");
    }
}

#[test]
fn nothing_is_left_of_a_day_that_failed() {
    let mut day = sample(3, 1);
    let path = PathBuf::from("x.parquet");
    LoadedDay::from_parquet(DATE, path, Bytes::from_static(b"PAR1")).decode_into(&mut day).unwrap_err();
    assert!(day.is_empty() && day.prices.is_empty());
}

fn any_f64() -> impl Strategy<Value = f64> {
    prop_oneof![Just(f64::NAN), Just(f64::INFINITY), any::<f64>(), 0.1..1e5f64]
}

fn any_day() -> impl Strategy<Value = Day> {
    (1usize..5, 0usize..20).prop_flat_map(|(assets, bars)| {
        let bar = (any::<Option<bool>>(), proptest::collection::vec(any_f64(), 7), 0u64..9_000_000_000);
        let rows = proptest::collection::vec((bar, proptest::collection::vec(any_f64(), assets)), bars);
        rows.prop_map(move |rows| {
            let mut day = Day::new(DATE, (0..assets).map(|i| format!("A{i}USDT")).collect());
            for ((given, m, ns), prices) in rows {
                let bar = Bar {
                    ts: given.map(|_| Nanos(T0 as u64 * Nanos::SECOND + ns)),
                    scan_number: given.map(|_| ns as i64),
                    vel_div: m[0],
                    v50: m[1],
                    v150: m[2],
                    v300: m[3],
                    v750: m[4],
                    instability_50: m[5],
                    instability_150: m[6],
                };
                day.push(bar, &prices);
            }
            day
        })
    })
}

proptest! {
    #[test]
    fn what_is_written_is_read_back(day in any_day()) {
        let back = decode(encode(&day).unwrap().into()).unwrap();
        assert_same(&back, &day);
    }

    #[test]
    fn a_damaged_file_is_read_or_refused(
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..8),
        from_the_end in any::<bool>(),
    ) {
        let mut bytes = encode(&sample(120, 3)).unwrap();
        // Half of the time the damage goes into the footer, where it does most.
        let start = if from_the_end { bytes.len() - bytes.len().min(1500) } else { 0 };
        for (at, value) in damage {
            let at = start + at.index(bytes.len() - start);
            bytes[at] = value;
        }
        if let Err(error) = decode(bytes.into()) {
            prop_assert!(error.to_string().contains("2021-04-10.parquet"));
        }
    }

    #[test]
    fn no_bytes_at_all_are_trusted(mut bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
        bytes.extend_from_slice(b"PAR1");
        prop_assert!(decode(bytes.into()).is_err());
    }
}

// ---- directories -------------------------------------------------------------------------------------------------

fn put(dir: &Path, name: &str, content: impl AsRef<[u8]>) {
    let path = dir.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, content).unwrap();
}

fn read_all(dir: &Path) -> Vec<Day> {
    let days = list(dir, &Wanted::default()).unwrap().days;
    let read = days.iter().map(|source| {
        let mut day = Day::default();
        source.load().unwrap().decode_into(&mut day).unwrap();
        assert_eq!(source.contents().unwrap().assets, day.assets);
        day
    });
    read.collect()
}

#[test]
fn days_come_in_date_order_and_within_the_range() {
    let dir = tempfile::tempdir().unwrap();
    for date in ["2026-02-03", "2026-02-01", "2026-02-02"] {
        let mut day = sample(2, 1);
        day.date = date.parse().unwrap();
        write(&dir.path().join(format!("{date}.parquet")), &day).unwrap();
    }
    put(dir.path(), "notes.txt", "x");
    put(dir.path(), "trades.parquet", "x");
    let dates = |from: Option<&str>, to: Option<&str>| {
        let parse = |d: Option<&str>| d.map(|d| d.parse().unwrap());
        list(dir.path(), &Wanted { from: parse(from), to: parse(to), ..Wanted::default() })
            .map(|l| l.days.iter().map(|d| d.date.day()).collect::<Vec<_>>())
    };
    assert_eq!(dates(None, None).unwrap(), [1, 2, 3]);
    assert_eq!(dates(Some("2026-02-02"), None).unwrap(), [2, 3]);
    assert_eq!(dates(Some("2026-02-02"), Some("2026-02-02")).unwrap(), [2]);
    let none = dates(Some("2027-01-01"), None).unwrap_err().to_string();
    assert!(none.contains("2026-02-01 to 2026-02-03"), "{none}");
    let notes = list(dir.path(), &Wanted::default()).unwrap().notes;
    assert!(notes.len() == 1 && notes[0].contains("trades.parquet"), "{notes:?}");
    // Nothing is left of the temporary files.
    assert!(
        std::fs::read_dir(dir.path()).unwrap().all(|e| !e
            .unwrap()
            .file_name()
            .to_string_lossy()
            .starts_with('.'))
    );
}

#[test]
fn a_directory_without_days_says_what_was_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let text = list(dir.path(), &Wanted::default()).unwrap_err().to_string();
    assert!(text.contains("no days") && text.contains("YYYY-MM-DD.parquet"), "{text}");
    let text = list(&dir.path().join("nowhere"), &Wanted::default()).unwrap_err().to_string();
    assert!(text.contains("nowhere"), "{text}");
}

#[test]
fn scan_files_stand_in_for_a_missing_day() {
    let dir = tempfile::tempdir().unwrap();
    let scan = |n: u32, extra: &str| {
        format!(
            r#"{{"scan_number": {n}, "timestamp": {}, "vel_div": -0.0{n}, {extra}, "other": {{"deep": [NaN]}}}}"#,
            T0 + i64::from(n)
        )
    };
    put(dir.path(), "2021-04-10/b.json", scan(1, r#""asset_prices": {"BTCUSDT": 1, "ETHUSDT": NaN}"#));
    put(
        dir.path(),
        "2021-04-10/a.json",
        scan(2, r#""asset_prices": {"BTCUSDT": -Infinity, "SOLUSDT": 7.5}, "v50_lambda_max_velocity": null"#),
    );
    put(dir.path(), "2021-04-10/c.json", scan(1, r#""asset_prices": {"BTCUSDT": 99}"#));
    put(dir.path(), "posture.json", r#"{"2021-04-10": {"posture": "APEX"}}"#);
    let [day] = read_all(dir.path()).try_into().unwrap();
    assert_eq!(day.assets, ["BTCUSDT", "ETHUSDT", "SOLUSDT"]);
    assert_eq!(format!("{:?}", day.prices), "[1.0, NaN, NaN, NaN, NaN, 7.5]");
    assert_eq!(
        day.bars.iter().map(|b| (b.scan_number, b.vel_div)).collect::<Vec<_>>(),
        [(Some(1), -0.01), (Some(2), -0.02)]
    );
    assert!(day.bars[1].v50.is_nan());
    // A parquet file of the date goes first.
    let mut parquet_day = sample(2, 1);
    parquet_day.date = DATE;
    write(&dir.path().join("2021-04-10.parquet"), &parquet_day).unwrap();
    assert_eq!(read_all(dir.path())[0].assets, ["A0USDT"]);
}

#[test]
fn loose_scan_files_belong_to_the_date_they_name_or_tell() {
    let dir = tempfile::tempdir().unwrap();
    let scan = |second: i64| {
        format!(r#"{{"timestamp": {second}, "vel_div": "-0.5", "asset_prices": {{"BTCUSDT": 2}}}}"#)
    };
    put(dir.path(), "scan_20210410_2.json", scan(T0 + 1));
    put(dir.path(), "scan_20210410_1.json", format!("[{},{}]", scan(T0 + 3), scan(T0)));
    put(dir.path(), "latest.json", format!("{}\n{}", scan(T0 + 86_400), scan(T0 + 86_460)));
    let [first, second] = read_all(dir.path()).try_into().unwrap();
    assert_eq!((first.len(), second.len(), second.date.day()), (3, 2, 11));
    let seconds: Vec<u64> = first.bars.iter().map(|b| b.ts.unwrap().0 / Nanos::SECOND - T0 as u64).collect();
    assert_eq!(seconds, [0, 1, 3]);
    put(dir.path(), "2021-04-10/x.json", scan(T0));
    let text = list(dir.path(), &Wanted::default()).unwrap_err().to_string();
    assert!(text.contains("2021-04-10") && text.contains("keep one"), "{text}");
}

#[test]
fn names_may_be_in_capitals_or_without_dashes() {
    let dir = tempfile::tempdir().unwrap();
    let mut day = sample(2, 1);
    for name in ["2026-02-01.PARQUET", "20260202.parquet", "20260203.Parquet"] {
        day.date = DATE;
        put(dir.path(), name, encode(&day).unwrap());
    }
    let scan = format!(r#"{{"timestamp": {T0}, "vel_div": 1, "asset_prices": {{"BTCUSDT": 2}}}}"#);
    put(dir.path(), "20260204/A.JSON", &scan);
    put(dir.path(), "scan_20260205.JSON", &scan);
    let found = list(dir.path(), &Wanted::default()).unwrap();
    assert_eq!(found.days.iter().map(|d| d.date.day()).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    assert_eq!(found.notes, Vec::<String>::new());
    for twice in ["2026-02-02.parquet", "2026-02-01.parquet"] {
        put(dir.path(), twice, encode(&day).unwrap());
        let text = list(dir.path(), &Wanted::default()).unwrap_err().to_string();
        assert!(text.contains(twice) && text.contains("keep one"), "{text}");
        std::fs::remove_file(dir.path().join(twice)).unwrap();
    }
    put(dir.path(), "2026-02-04/A.json", &scan);
    let text = list(dir.path(), &Wanted::default()).unwrap_err().to_string();
    assert!(text.contains("20260204") && text.contains("2026-02-04"), "{text}");
}

#[test]
fn a_scan_file_of_several_dates_is_each_of_its_days() {
    let dir = tempfile::tempdir().unwrap();
    let scan = |second: i64| {
        format!(r#"{{"timestamp": {second}, "vel_div": 0, "asset_prices": {{"BTCUSDT": {second}}}}}"#)
    };
    // The last scan of the first day is stamped at its end; so is that of the second.
    let midnight = T0 - 60;
    let seconds = [T0, midnight + 86_400, midnight + 86_401, midnight + 2 * 86_400];
    put(dir.path(), "all.json", seconds.map(scan).join("\n"));
    put(dir.path(), "2021-04-10_2021-04-11.json", scan(T0 + 5));
    let days = read_all(dir.path());
    let read: Vec<_> = days.iter().map(|d| (d.date.day(), d.len())).collect();
    assert_eq!(read, [(10, 2), (11, 3)]);
    let one = list(&dir.path().join("all.json"), &Wanted::default()).unwrap();
    assert_eq!(one.days.len(), 2);
    // A parquet file of one of the dates goes first, for that date alone.
    put(dir.path(), "2021-04-11.parquet", encode(&sample(7, 1)).unwrap());
    assert_eq!(read_all(dir.path()).iter().map(Day::len).collect::<Vec<_>>(), [2, 7]);
    put(
        dir.path(),
        "bad.json",
        format!("{}{}{}", scan(T0), scan(T0 + 86_400), r#"{"vel_div": 1, "asset_prices": {"BTCUSDT": 1}}"#),
    );
    let text = list(dir.path(), &Wanted::default()).unwrap_err().to_string();
    assert!(text.contains("bad.json") && text.contains("2021-04-10, 2021-04-11"), "{text}");
}

#[test]
fn nothing_that_may_be_data_is_passed_over_without_a_word() {
    let dir = tempfile::tempdir().unwrap();
    put(dir.path(), "2021-04-10.parquet", encode(&sample(2, 1)).unwrap());
    let others = [
        ("days.CSV", "end in .parquet"),
        ("2021-04-11.parquet.gz", "end in .parquet"),
        ("2021-04-12.jsonl", "end in .parquet"),
        ("2021-04-10_2021-04-11.parquet", "two dates"),
        ("prices 2021-04-12.parquet", "no date for a name"),
        ("damaged.json", "no scans in it: "),
        ("posture.json", "no scans in it"),
        ("2021-04-13 scans/a.json", "is called YYYY-MM-DD"),
        ("2021-04-14/a.txt", "no *.json scan files"),
    ];
    for (name, _) in others {
        put(dir.path(), name, "{");
    }
    put(dir.path(), "posture.json", r#"{"2021-04-10": {"posture": "APEX"}}"#);
    let notes = list(dir.path(), &Wanted::default()).unwrap().notes;
    for (name, why) in others {
        let name = name.trim_end_matches("/a.json").trim_end_matches("/a.txt");
        let told = notes.iter().any(|n| n.contains(name) && n.contains(why));
        assert!(told, "{name}: {notes:#?}");
    }
    assert_eq!(notes.len(), others.len(), "{notes:#?}");
    // Scans without any date are data for certain.
    put(dir.path(), "scans.json", r#"{"vel_div": 1, "asset_prices": {"BTCUSDT": 1}}"#);
    let text = list(dir.path(), &Wanted::default()).unwrap_err().to_string();
    assert!(text.contains("scans.json") && text.contains("of which date"), "{text}");
}

#[test]
fn a_bad_scan_file_is_named() {
    for (content, says) in [
        ("{", "EOF"),
        ("", "no scan"),
        (r#"{"vel_div": "high", "asset_prices": {"B": 1}}"#, "high"),
        (r#"{"vel_div": true, "asset_prices": {"B": 1}}"#, "boolean"),
        (r#"{"vel_div": 1, "asset_prices": [1]}"#, "sequence"),
        (r#"{"asset_prices": {"B": 1}}"#, "vel_div"),
        (r#"{"vel_div": 1}"#, "no asset"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "2021-04-10/a.json", content);
        let source = &list(dir.path(), &Wanted::default()).unwrap().days[0];
        let text = source.load().unwrap().decode_into(&mut Day::default()).unwrap_err().to_string();
        assert!(text.contains("a.json") && text.contains(says), "{text}");
    }
}

proptest! {
    #[test]
    fn no_scan_file_panics(content in "[\\[\\]{}\":,0-9a-zNI.\\\\-]{0,80}") {
        let dir = tempfile::tempdir().unwrap();
        put(dir.path(), "2021-04-10/a.json", content);
        let source = &list(dir.path(), &Wanted::default()).unwrap().days[0];
        let _ = source.load().unwrap().decode_into(&mut Day::default());
    }
}

#[test]
fn the_day_files_at_hand_are_read_whole() {
    let Some(dir) = testkit::shared_data("days") else { return };
    let days = read_all(&dir);
    assert_eq!(days.len(), 5);
    for day in days {
        assert_eq!((day.len(), day.assets.len(), day.assets[0].as_str()), (1440, 48, "BTCUSDT"));
        assert!(day.bars.iter().all(|b| b.ts.is_some() && b.scan_number.is_some()));
    }
}
