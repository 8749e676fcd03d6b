//! Scan files (SPEC §2.2): the fallback where a day has no parquet file. A file holds one scan, an array of scans, or
//! one scan after the other (JSON lines).
//!
//! Order and repeats: if every scan of the day has a `scan_number`, that is the order, and a number seen again is the
//! same scan delivered twice: the first delivery (earlier timestamp, then file name) counts, as it would live.
//! Otherwise the order is by timestamp, then by file name and place in the file.
//!
//! Python writes `NaN` and `Infinity`, which JSON does not know: outside of strings they are taken for missing
//! numbers, and those are NaN.

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use market::{Date, Nanos};
use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use super::{Bar, Columns, Day, DayError, MAX_CELLS, MAX_COLUMNS, stamp};
use crate::json::blank_python_numbers;

/// One scan, as it stands in its file.
#[derive(Debug, Clone)]
pub(super) struct Scan {
    pub(super) bar: Bar,
    pub(super) has_vel_div: bool,
    pub(super) prices: Vec<(String, f64)>,
}

/// Puts the scans of a day in order into `day`; says how many were repeats.
pub(super) fn decode(
    files: &[(impl AsRef<Path>, Bytes)],
    date: Date,
    day: &mut Day,
) -> Result<usize, DayError> {
    day.reset(date, Vec::new());
    let mut scans = Vec::new();
    let mut cells = 0usize;
    for (path, bytes) in files {
        let path = path.as_ref();
        for scan in parse(path, bytes)? {
            cells = cells.saturating_add(scan.prices.len().max(16));
            if cells > MAX_CELLS {
                let what = "the number of prices in the scans of the day".to_owned();
                return Err(DayError::TooLarge { path: path.to_path_buf(), what, limit: MAX_CELLS as u64 });
            }
            scans.push(scan);
        }
    }
    let numbered = scans.iter().all(|s| s.bar.scan_number.is_some());
    let total = scans.len();
    // The sort is stable: equal keys stay in the order of file names and places.
    if numbered {
        scans.sort_by_key(|s| (s.bar.scan_number, s.bar.ts));
        scans.dedup_by_key(|s| s.bar.scan_number);
    } else {
        scans.sort_by_key(|s| s.bar.ts);
    }
    let repeats = total - scans.len();
    let first = files.first().map(|(path, _)| path.as_ref()).unwrap_or(Path::new(""));
    if !scans.is_empty() && !scans.iter().any(|s| s.has_vel_div) {
        let (path, found) = (first.to_path_buf(), Columns(Vec::new()));
        return Err(DayError::MissingColumn { path, column: "vel_div", found });
    }
    fill(first, &scans, day)?;
    Ok(repeats)
}

fn fill(path: &Path, scans: &[Scan], day: &mut Day) -> Result<(), DayError> {
    let mut column: HashMap<&str, usize> = HashMap::new();
    let mut assets = Vec::new();
    for (name, _) in scans.iter().flat_map(|s| &s.prices) {
        column.entry(name).or_insert_with(|| {
            assets.push(name.clone());
            assets.len() - 1
        });
    }
    if assets.len() > MAX_COLUMNS || scans.len().saturating_mul(assets.len()) > MAX_CELLS {
        let what = format!("{} scans of {} assets", scans.len(), assets.len());
        return Err(DayError::TooLarge { path: path.to_path_buf(), what, limit: MAX_CELLS as u64 });
    }
    if assets.is_empty() && !scans.is_empty() {
        return Err(DayError::NoAssets { path: path.to_path_buf(), found: Columns(Vec::new()) });
    }
    let width = assets.len();
    day.assets = assets;
    day.prices.resize(scans.len() * width, f64::NAN);
    for (row, scan) in scans.iter().enumerate() {
        day.bars.push(scan.bar);
        for (name, price) in &scan.prices {
            day.prices[row * width + column[name.as_str()]] = *price;
        }
    }
    Ok(())
}

/// All scans of a file, in their order. An object that is no scan comes out without `vel_div` and prices.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<Scan>, DayError> {
    let bad = |detail: String| DayError::BadScan { path: path.to_path_buf(), detail };
    let mut text = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).to_vec();
    blank_python_numbers(&mut text);
    let mut scans = Vec::new();
    for document in serde_json::Deserializer::from_slice(&text).into_iter::<Document>() {
        match document.map_err(|e| bad(e.to_string()))? {
            Document::One(scan) => scans.push(*scan),
            Document::Many(mut many) => scans.append(&mut many),
        }
    }
    if scans.is_empty() {
        return Err(bad("no scan in it".to_owned()));
    }
    Ok(scans)
}

/// A number that may be missing: `null` and empty text are NaN.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NumberVisitor;
        impl Visitor<'_> for NumberVisitor {
            type Value = Number;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number or null")
            }
            fn visit_unit<E>(self) -> Result<Number, E> {
                Ok(Number(f64::NAN))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Number, E> {
                Ok(Number(v))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Number, E> {
                Ok(Number(v as f64))
            }
            /// `json.dumps(…, default=str)` turns NumPy numbers into text.
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Number, E> {
                match v.trim() {
                    "" => Ok(Number(f64::NAN)),
                    text => text.parse().map(finite_or_nan).map_err(|_| {
                        E::invalid_value(
                            de::Unexpected::Str(&text.chars().take(40).collect::<String>()),
                            &self,
                        )
                    }),
                }
            }
        }
        deserializer.deserialize_any(NumberVisitor)
    }
}

fn finite_or_nan(v: f64) -> Number {
    Number(if v.is_finite() { v } else { f64::NAN })
}

/// `timestamp`: a number by its magnitude, or ISO text.
struct Time(Option<Nanos>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a time: seconds, ms, µs, ns since 1970, or ISO 8601")
            }
            fn visit_unit<E>(self) -> Result<Time, E> {
                Ok(Time(None))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Time, E> {
                Ok(Time(stamp::nanos_from_float(v)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Time, E> {
                Ok(Time(stamp::nanos_from_int(v)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Time, E> {
                Ok(Time(i64::try_from(v).ok().and_then(stamp::nanos_from_int)))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Time, E> {
                stamp::nanos_from_text(v).map(Time).map_err(|()| {
                    E::invalid_value(de::Unexpected::Str(&v.chars().take(40).collect::<String>()), &self)
                })
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

/// `asset_prices`, in the order of the file; a name given twice keeps its place and takes the last price.
struct Prices(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Prices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PricesVisitor;
        impl<'de> Visitor<'de> for PricesVisitor {
            type Value = Prices;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of asset prices")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Prices, A::Error> {
                let mut prices = Vec::new();
                while let Some((name, Number(price))) = map.next_entry::<String, Number>()? {
                    if prices.len() >= MAX_COLUMNS {
                        return Err(de::Error::custom(format_args!("more than {MAX_COLUMNS} assets")));
                    }
                    prices.push((name, price));
                }
                Ok(Prices(prices))
            }
        }
        deserializer.deserialize_map(PricesVisitor)
    }
}

enum Document {
    One(Box<Scan>),
    Many(Vec<Scan>),
}

impl<'de> Deserialize<'de> for Document {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct DocumentVisitor;
        impl<'de> Visitor<'de> for DocumentVisitor {
            type Value = Document;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a scan object or an array of them")
            }
            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Document, A::Error> {
                ScanVisitor.visit_map(map).map(|scan| Document::One(Box::new(scan)))
            }
            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Document, A::Error> {
                let mut scans = Vec::new();
                while let Some(scan) = seq.next_element()? {
                    scans.push(scan);
                }
                Ok(Document::Many(scans))
            }
        }
        deserializer.deserialize_any(DocumentVisitor)
    }
}

impl<'de> Deserialize<'de> for Scan {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ScanVisitor)
    }
}

struct ScanVisitor;

impl<'de> Visitor<'de> for ScanVisitor {
    type Value = Scan;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scan object")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Scan, A::Error> {
        let mut scan = Scan { bar: Bar::EMPTY, has_vel_div: false, prices: Vec::new() };
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "timestamp" => scan.bar.ts = map.next_value::<Time>()?.0,
                "scan_number" => {
                    let Number(n) = map.next_value()?;
                    scan.bar.scan_number = (n.fract() == 0.0 && n.abs() < 9e15).then_some(n as i64);
                }
                "asset_prices" => {
                    scan.prices = map.next_value::<Option<Prices>>()?.map_or_else(Vec::new, |p| p.0);
                }
                name => match scan.bar.float_mut(name) {
                    Some(cell) => *cell = map.next_value::<Number>()?.0,
                    None => drop(map.next_value::<IgnoredAny>()?),
                },
            }
            scan.has_vel_div |= key == "vel_div";
        }
        Ok(scan)
    }
}
