//! The days of a directory.
//!
//! | in the directory | is |
//! |---|---|
//! | `YYYY-MM-DD.parquet`, `YYYYMMDD.parquet` | that day; scan files of the same date are then not used |
//! | a folder `YYYY-MM-DD` or `YYYYMMDD` with `*.json` in it | that day, as scan files |
//! | `*.json` with a date (`YYYY-MM-DD` or `YYYYMMDD`) in its name | scan files of that date |
//! | other `*.json` that hold scans | scan files of the dates of their timestamps |
//!
//! Extensions may be in capitals. Nothing that may be data is passed over without a word: two sources of one date and
//! scans of which nothing tells the date are errors, everything else that is not read is named in a note.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use market::{Date, utc_date};

use super::select::AssetColumns;
use super::source::{DaySource, ScanFile, read_file};
use super::types::{Columns, Day, DayError};
use super::{scan, table_file};

/// Endings of files that may hold data, and are not read.
const DATA_ENDINGS: [&str; 12] =
    ["jsonl", "ndjson", "csv", "tsv", "pq", "parq", "feather", "arrow", "gz", "zst", "bz2", "zip"];

/// Which days are wanted, and which of their columns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Wanted {
    /// First date, inclusive.
    pub from: Option<Date>,
    /// Last date, inclusive.
    pub to: Option<Date>,
    /// Which columns are assets.
    pub assets: AssetColumns,
}

/// The days found, in date order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayList {
    /// At least one.
    pub days: Vec<DaySource>,
    /// What was passed over, and why: for a log.
    pub notes: Vec<String>,
    wanted: Wanted,
    path: PathBuf,
}

impl DayList {
    /// The assets of all days, in order of first appearance. What columns were left out goes to the notes.
    pub fn assets(&mut self) -> Result<Vec<String>, DayError> {
        let (mut assets, mut left_out): (Vec<String>, Vec<(String, usize)>) = (Vec::new(), Vec::new());
        let mut seen = std::collections::HashSet::new();
        for day in &self.days {
            let contents = day.contents()?;
            for column in contents.left_out {
                match left_out.iter_mut().find(|(name, _)| *name == column) {
                    Some((_, days)) => *days += 1,
                    None => left_out.push((column, 1)),
                }
            }
            // The usual case, and cheap: the same columns as ever.
            if contents.assets != assets {
                assets.extend(contents.assets.into_iter().filter(|asset| seen.insert(asset.clone())));
            }
        }
        let missing = self.wanted.assets.missing(&assets);
        if !missing.is_empty() {
            let found = assets.into_iter().chain(left_out.into_iter().map(|(name, _)| name)).collect();
            let path = self.path.clone();
            return Err(DayError::NoSuchAssets { path, names: Columns(missing), found: Columns(found) });
        }
        if !left_out.is_empty() {
            let all = self.days.len();
            let named = left_out.into_iter().map(|(name, days)| match days {
                days if days == all => format!("`{name}`"),
                days => format!("`{name}` (on {days} of {all} days)"),
            });
            let (named, wanted) = (Columns(named.collect()), &self.wanted.assets);
            self.notes
                .push(format!("columns left out, none is {wanted}: {named}; --assets A,B takes others"));
        }
        Ok(assets)
    }
}

/// The days at `path` (a directory, or one file) that are wanted.
pub fn list(path: &Path, wanted: &Wanted) -> Result<DayList, DayError> {
    let meta = fs::metadata(path).map_err(DayError::io(path))?;
    let assets = Arc::new(wanted.assets.clone());
    let (mut days, notes) =
        if meta.is_dir() { directory(path, &assets)? } else { (single(path, &assets)?, Vec::new()) };
    let (Some(first), Some(last)) = (days.first(), days.last()) else {
        return Err(DayError::NoDays { path: path.to_path_buf() });
    };
    let (first, last) = (first.date, last.date);
    let Wanted { from, to, .. } = *wanted;
    days.retain(|d| from.is_none_or(|f| d.date >= f) && to.is_none_or(|t| d.date <= t));
    if days.is_empty() {
        return Err(DayError::NoneInRange { path: path.to_path_buf(), first, last });
    }
    Ok(DayList { days, notes, wanted: wanted.clone(), path: path.to_path_buf() })
}

fn single(path: &Path, assets: &Arc<AssetColumns>) -> Result<Vec<DaySource>, DayError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if has_extension(path, "json") {
        let dates = match dates_in_name(&stem)[..] {
            [date] => vec![(date, None)],
            _ => dates_inside(path, &scan::parse(path, &read_file(path)?)?)?,
        };
        let file = |only| ScanFile { path: path.to_path_buf(), only };
        return Ok(dates
            .into_iter()
            .map(|(date, only)| DaySource::scans(date, vec![file(only)], assets))
            .collect());
    }
    if let [date] = dates_in_name(&stem)[..] {
        return Ok(vec![DaySource::parquet(date, path.to_path_buf(), assets)]);
    }
    let mut day = Day::default();
    table_file::decode(path, &read_file(path)?, Date::ZERO, assets, &mut day)?;
    match day.bars.iter().find_map(|b| b.ts) {
        Some(ts) => Ok(vec![DaySource::parquet(utc_date(ts), path.to_path_buf(), assets)]),
        None => Err(DayError::Undated { path: path.to_path_buf() }),
    }
}

/// The dates that the scans of a file are of; of a file of several, each stands for its own scans alone.
fn dates_inside(
    path: &Path,
    scans: &[market::scan::ScanRecord],
) -> Result<Vec<(Date, Option<Date>)>, DayError> {
    let dates: Vec<Date> = scan::dates(scans).into_iter().collect();
    match dates[..] {
        [] => Err(DayError::Undated { path: path.to_path_buf() }),
        [date] => Ok(vec![(date, None)]),
        _ => match scans.iter().filter(|scan| scan.ts.is_none()).count() {
            0 => Ok(dates.into_iter().map(|date| (date, Some(date))).collect()),
            undated => {
                let dates = Columns(dates.iter().map(Date::to_string).collect());
                Err(DayError::PartlyUndated { path: path.to_path_buf(), dates, undated })
            }
        },
    }
}

/// What a directory holds, sorted by kind.
#[derive(Default)]
struct Found {
    parquet: BTreeMap<Date, PathBuf>,
    folders: BTreeMap<Date, (PathBuf, Vec<ScanFile>)>,
    loose: BTreeMap<Date, Vec<ScanFile>>,
    notes: Vec<String>,
}

impl Found {
    fn pass_over(&mut self, path: &Path, why: impl std::fmt::Display) {
        self.notes.push(format!("{}: passed over: {why}", path.display()));
    }
}

fn directory(dir: &Path, assets: &Arc<AssetColumns>) -> Result<(Vec<DaySource>, Vec<String>), DayError> {
    let mut found = Found::default();
    for path in entries(dir)? {
        sort_in(path, &mut found)?;
    }
    let Found { parquet, folders, loose, mut notes } = found;
    let mut days: BTreeMap<Date, DaySource> = BTreeMap::new();
    for (date, files) in loose {
        if let (Some((folder, _)), false) = (folders.get(&date), parquet.contains_key(&date)) {
            let (first, second) = (folder.clone(), files[0].path.clone());
            return Err(DayError::Ambiguous { date, first, second });
        }
        days.insert(date, DaySource::scans(date, files, assets));
    }
    days.extend(folders.into_iter().map(|(date, (_, files))| (date, DaySource::scans(date, files, assets))));
    for (date, path) in parquet {
        if days.insert(date, DaySource::parquet(date, path.clone(), assets)).is_some() {
            notes.push(format!("{date}: {} is used, the scan files of that date are not", path.display()));
        }
    }
    Ok((days.into_values().collect(), notes))
}

fn sort_in(path: PathBuf, found: &mut Found) -> Result<(), DayError> {
    let Some(name) = path.file_name().and_then(|n| n.to_str()).map(str::to_owned) else {
        found.pass_over(&path, "its name is not UTF-8");
        return Ok(());
    };
    if name.starts_with('.') {
        return Ok(());
    }
    if path.is_dir() {
        return folder(path, &name, found);
    }
    let stem = path.file_stem().and_then(|s| s.to_str()).unwrap_or_default().to_owned();
    if has_extension(&path, "parquet") {
        let Some(date) = whole_date(&stem) else {
            let what =
                if dates_in_name(&stem).len() > 1 { "two dates in its name" } else { "no date for a name" };
            found.pass_over(&path, format_args!("{what}: a day file is called YYYY-MM-DD.parquet"));
            return Ok(());
        };
        return insert_once(date, path, &mut found.parquet);
    }
    if has_extension(&path, "json") {
        return loose_scans(path, &stem, found);
    }
    if DATA_ENDINGS.iter().any(|ending| has_extension(&path, ending)) {
        found.pass_over(&path, "day files end in .parquet, scan files in .json");
    }
    Ok(())
}

fn insert_once(date: Date, path: PathBuf, paths: &mut BTreeMap<Date, PathBuf>) -> Result<(), DayError> {
    match paths.entry(date) {
        Entry::Vacant(free) => drop(free.insert(path)),
        Entry::Occupied(taken) => {
            return Err(DayError::Ambiguous { date, first: taken.get().clone(), second: path });
        }
    }
    Ok(())
}

fn folder(path: PathBuf, name: &str, found: &mut Found) -> Result<(), DayError> {
    let Some(date) = whole_date(name) else {
        if !dates_in_name(name).is_empty() {
            found.pass_over(&path, "a folder of scan files is called YYYY-MM-DD");
        }
        return Ok(());
    };
    let (scans, others): (Vec<_>, Vec<_>) =
        entries(&path)?.into_iter().partition(|p| has_extension(p, "json"));
    if scans.is_empty() {
        found.pass_over(&path, "no *.json scan files in it");
        return Ok(());
    }
    if let Some(first) = others.first() {
        let more = if others.len() > 1 { format!(" and {} more", others.len() - 1) } else { String::new() };
        found.pass_over(first, format_args!("not a *.json scan file{more}"));
    }
    if let Some((first, _)) = found.folders.get(&date) {
        return Err(DayError::Ambiguous { date, first: first.clone(), second: path });
    }
    let files = scans.into_iter().map(|path| ScanFile { path, only: None }).collect();
    found.folders.insert(date, (path, files));
    Ok(())
}

fn loose_scans(path: PathBuf, stem: &str, found: &mut Found) -> Result<(), DayError> {
    let dates = match dates_in_name(stem)[..] {
        [date] => vec![(date, None)],
        // Whatever JSON is kept beside the data: only what parses as scans counts.
        _ => match scan::parse(&path, &read_file(&path)?) {
            Ok(scans) if scans.iter().any(|s| s.vel_div.is_some() && !s.asset_prices.is_empty()) => {
                dates_inside(&path, &scans)?
            }
            Ok(_) => {
                found.pass_over(&path, "no scans in it");
                return Ok(());
            }
            Err(DayError::BadScan { detail, .. }) => {
                found.pass_over(&path, format_args!("no date in its name, and no scans in it: {detail}"));
                return Ok(());
            }
            Err(other) => return Err(other),
        },
    };
    for (date, only) in dates {
        found.loose.entry(date).or_default().push(ScanFile { path: path.clone(), only });
    }
    Ok(())
}

/// The entries of a directory, by name.
fn entries(dir: &Path) -> Result<Vec<PathBuf>, DayError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(dir).map_err(DayError::io(dir))? {
        paths.push(entry.map_err(DayError::io(dir))?.path());
    }
    paths.sort();
    Ok(paths)
}

fn has_extension(path: &Path, extension: &str) -> bool {
    path.extension().is_some_and(|e| e.eq_ignore_ascii_case(extension))
}

/// `YYYY-MM-DD` and nothing else.
fn exact_date(name: &str) -> Option<Date> {
    let shape = name.len() == 10
        && name.bytes().enumerate().all(|(i, b)| match i {
            4 | 7 => b == b'-',
            _ => b.is_ascii_digit(),
        });
    shape.then(|| name.parse().ok()).flatten()
}

/// `YYYYMMDD` and nothing else, of a year that may have traded.
fn compact_date(name: &str) -> Option<Date> {
    let digits = name.len() == 8 && name.bytes().all(|b| b.is_ascii_digit());
    let dashed = digits.then(|| format!("{}-{}-{}", &name[..4], &name[4..6], &name[6..]))?;
    exact_date(&dashed).filter(|d| (1990..2200).contains(&d.year()))
}

/// A name that is a date and nothing else.
fn whole_date(name: &str) -> Option<Date> {
    exact_date(name).or_else(|| compact_date(name))
}

/// The dates in a name, `YYYY-MM-DD` or `YYYYMMDD`, that are not part of a longer number; each once.
fn dates_in_name(name: &str) -> Vec<Date> {
    let bytes = name.as_bytes();
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    let mut dates = Vec::new();
    for i in (0..bytes.len()).filter(|&i| digit(i) && (i == 0 || !digit(i - 1))) {
        let part = |length: usize| name.get(i..i + length).filter(|_| !digit(i + length));
        if let Some(date) = part(10).and_then(exact_date).or_else(|| part(8).and_then(compact_date))
            && !dates.contains(&date)
        {
            dates.push(date);
        }
    }
    dates
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_names() {
        let found = |name: &str| dates_in_name(name).iter().map(Date::to_string).collect::<Vec<_>>();
        for one in
            ["scan_2021-04-10_000123", "scan_20210410_000123", "000123_20210410", "20210410-2021-04-10"]
        {
            assert_eq!(found(one), ["2021-04-10"], "{one}");
        }
        assert_eq!(found("2021-04-10_2021-04-11"), ["2021-04-10", "2021-04-11"]);
        for none in ["scan_1618012860", "2021-13-40", "latest_eigen_scan", "12345678", "", "é2021-04-1"] {
            assert_eq!(found(none), Vec::<String>::new(), "{none}");
        }
        let whole = |name: &str| whole_date(name).map(|d| d.to_string());
        for name in ["2021-04-10", "20210410"] {
            assert_eq!(whole(name).as_deref(), Some("2021-04-10"));
        }
        assert_eq!(whole("2021-04-10_eigen"), None);
    }
}
