//! Scan files (SPEC §2.2): the fallback where a day has no parquet file. A file holds one scan, an array of scans, or
//! one scan after the other (JSON lines).
//!
//! Order and repeats: if every scan of the day has a `scan_number`, that is the order, and a number seen again is the
//! same scan delivered twice: the first delivery (earlier timestamp, then file name) counts, as it would live.
//! Otherwise the order is by timestamp, then by file name and place in the file.
//!
//! Python writes `NaN` and `Infinity`, which JSON does not know: outside of strings they are taken for missing
//! numbers, and those are NaN.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::fmt;
use std::path::Path;

use bytes::Bytes;
use market::json::blank_python_numbers;
use market::scan::{ScanRecord, ScanVisitor};
use market::{Date, Nanos, utc_date};
use serde::Deserialize;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::select::AssetColumns;
use super::types::{Bar, Columns, Day, DayError, MAX_CELLS, MAX_COLUMNS};

/// What is known of a day's scans beside its rows.
#[derive(Debug, Clone, Default)]
pub(super) struct Decoded {
    /// Scans that were there twice.
    pub(super) repeats: usize,
    /// Names with a price that are no assets.
    pub(super) left_out: Vec<String>,
}

/// Puts the scans of a day in order into `day`, of each file those of the date in `only` if there is one.
pub(super) fn decode(
    files: &[(impl AsRef<Path>, Bytes)],
    only: &[Option<Date>],
    date: Date,
    wanted: &AssetColumns,
    day: &mut Day,
) -> Result<Decoded, DayError> {
    day.reset(date, Vec::new());
    let mut scans = Vec::new();
    let mut cells = 0usize;
    for ((path, bytes), only) in files.iter().zip(only) {
        let path = path.as_ref();
        let mut found = parse(path, bytes)?;
        if let Some(only) = only {
            let dates = dates(&found);
            found.retain(|scan| date_of(scan, &dates) == Some(*only));
        }
        for scan in found {
            cells = cells.saturating_add(scan.asset_prices.len().max(16));
            if cells > MAX_CELLS {
                let what = "the number of prices in the scans of the day".to_owned();
                return Err(DayError::TooLarge { path: path.to_path_buf(), what, limit: MAX_CELLS as u64 });
            }
            scans.push(scan);
        }
    }
    let numbered = scans.iter().all(|s| s.scan_number.is_some());
    let total = scans.len();
    // The sort is stable: equal keys stay in the order of file names and places.
    if numbered {
        scans.sort_by_key(|s| (s.scan_number, s.ts));
        scans.dedup_by_key(|s| s.scan_number);
    } else {
        scans.sort_by_key(|s| s.ts);
    }
    let repeats = total - scans.len();
    let first = files.first().map(|(path, _)| path.as_ref()).unwrap_or(Path::new(""));
    if !scans.is_empty() && !scans.iter().any(|s| s.vel_div.is_some()) {
        let (path, found) = (first.to_path_buf(), Columns(Vec::new()));
        return Err(DayError::MissingColumn { path, column: "vel_div", found });
    }
    let left_out = fill(first, &scans, wanted, day)?;
    Ok(Decoded { repeats, left_out })
}

/// Lays the scans out as rows; gives the names that were left out.
fn fill(
    path: &Path,
    scans: &[ScanRecord],
    wanted: &AssetColumns,
    day: &mut Day,
) -> Result<Vec<String>, DayError> {
    let mut column: HashMap<&str, usize> = HashMap::new();
    let (mut assets, mut left_out) = (Vec::new(), Vec::new());
    let mut others: HashSet<&str> = HashSet::new();
    for (name, _) in scans.iter().flat_map(|s| &s.asset_prices) {
        if column.contains_key(name.as_str()) {
            continue;
        }
        if wanted.takes(name) {
            column.insert(name, assets.len());
            assets.push(name.clone());
        } else if others.insert(name) {
            left_out.push(name.clone());
        }
    }
    if assets.len() > MAX_COLUMNS || scans.len().saturating_mul(assets.len()) > MAX_CELLS {
        let what = format!("{} scans of {} assets", scans.len(), assets.len());
        return Err(DayError::TooLarge { path: path.to_path_buf(), what, limit: MAX_CELLS as u64 });
    }
    if assets.is_empty() && !scans.is_empty() {
        let (path, wanted) = (path.to_path_buf(), wanted.to_string());
        return Err(DayError::NoAssets { path, wanted, found: Columns(left_out) });
    }
    let width = assets.len();
    day.assets = assets;
    day.prices.resize(scans.len() * width, f64::NAN);
    for (row, scan) in scans.iter().enumerate() {
        day.bars.push(bar(scan));
        for (name, price) in &scan.asset_prices {
            if let Some(column) = column.get(name.as_str()) {
                day.prices[row * width + column] = *price;
            }
        }
    }
    Ok(left_out)
}

fn bar(scan: &ScanRecord) -> Bar {
    let [v50, v150, v300, v750] = scan.velocity;
    let [instability_50, instability_150] = scan.instability;
    Bar {
        ts: scan.ts,
        scan_number: scan.scan_number,
        vel_div: scan.vel_div.unwrap_or(f64::NAN),
        v50,
        v150,
        v300,
        v750,
        instability_50,
        instability_150,
    }
}

/// The dates of the scans of a file, by their times. A bar may be stamped at its close: a date of which there is only
/// the midnight it begins with is the end of the one before.
pub(super) fn dates(scans: &[ScanRecord]) -> BTreeSet<Date> {
    let times = || scans.iter().filter_map(|scan| scan.ts);
    let within: BTreeSet<Date> = times().filter(|ts| !is_midnight(*ts)).map(utc_date).collect();
    let midnights = times().filter(|ts| is_midnight(*ts)).map(utc_date);
    let alone = midnights.filter(|date| !date.yesterday().is_ok_and(|before| within.contains(&before)));
    let alone: Vec<Date> = alone.collect();
    within.into_iter().chain(alone).collect()
}

/// The date of `dates` that a scan belongs to.
fn date_of(scan: &ScanRecord, dates: &BTreeSet<Date>) -> Option<Date> {
    let date = utc_date(scan.ts?);
    if dates.contains(&date) { Some(date) } else { date.yesterday().ok() }
}

fn is_midnight(ts: Nanos) -> bool {
    ts.0.is_multiple_of(86_400 * Nanos::SECOND)
}

/// All scans of a file, in their order. An object that is no scan comes out without `vel_div` and prices.
pub(super) fn parse(path: &Path, bytes: &[u8]) -> Result<Vec<ScanRecord>, DayError> {
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

enum Document {
    One(Box<ScanRecord>),
    Many(Vec<ScanRecord>),
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
