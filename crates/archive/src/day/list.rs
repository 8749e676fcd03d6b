//! The days of a directory.
//!
//! | in the directory | is |
//! |---|---|
//! | `YYYY-MM-DD.parquet` | that day; scan files of the same date are then not used |
//! | `YYYY-MM-DD/` with `*.json` in it | that day, as scan files |
//! | `*.json` with a date (`YYYY-MM-DD` or `YYYYMMDD`) in its name | scan files of that date |
//! | other `*.json` that hold scans | scan files of the date of their first timestamp |
//!
//! A date with both a folder and loose scan files is ambiguous: an error. Everything else in the directory (other
//! files and folders, JSON files that hold no scan) is passed over, with a note where it looks like data.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use market::{Date, utc_date};

use super::{Day, DayError, MAX_FILE_BYTES, scan, table_file};

/// The form of a day on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Parquet(PathBuf),
    Scans(Vec<PathBuf>),
}

/// Where a day is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySource {
    /// The date it is named for.
    pub date: Date,
    form: Form,
}

/// The days found, in date order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayList {
    /// At least one.
    pub days: Vec<DaySource>,
    /// What was passed over, and why: for a log.
    pub notes: Vec<String>,
}

/// The bytes of a day.
#[derive(Debug, Clone)]
pub struct LoadedDay {
    /// The date it is named for.
    pub date: Date,
    /// Its files in order, whole.
    pub files: Vec<(PathBuf, Bytes)>,
    scans: bool,
}

impl DaySource {
    /// A day that is one parquet file.
    pub fn parquet(date: Date, path: PathBuf) -> Self {
        Self { date, form: Form::Parquet(path) }
    }

    /// Its files, in the order they are read.
    pub fn files(&self) -> &[PathBuf] {
        match &self.form {
            Form::Parquet(path) => std::slice::from_ref(path),
            Form::Scans(paths) => paths,
        }
    }

    /// Its asset columns. Of a parquet file only the footer is read; scan files must be read whole.
    pub fn assets(&self) -> Result<Vec<String>, DayError> {
        match &self.form {
            Form::Parquet(path) => {
                let file = File::open(path).map_err(DayError::io(path))?;
                table_file::assets(path, &file)
            }
            Form::Scans(_) => {
                let mut day = Day::default();
                self.load()?.decode_into(&mut day)?;
                Ok(day.assets)
            }
        }
    }

    /// Reads its files into memory.
    pub fn load(&self) -> Result<LoadedDay, DayError> {
        let files = self.files().iter().map(|path| Ok((path.clone(), read_file(path)?)));
        let scans = matches!(self.form, Form::Scans(_));
        Ok(LoadedDay { date: self.date, files: files.collect::<Result<_, DayError>>()?, scans })
    }
}

impl LoadedDay {
    /// A parquet day from memory; `path` is only for messages.
    pub fn from_parquet(date: Date, path: PathBuf, bytes: Bytes) -> Self {
        Self { date, files: vec![(path, bytes)], scans: false }
    }

    /// Makes the rows, in buffers that are used again. Returns the number of repeated scans that were dropped
    /// (0 for a parquet file). After an error `day` holds no bars.
    pub fn decode_into(&self, day: &mut Day) -> Result<usize, DayError> {
        if self.scans {
            return scan::decode(&self.files, self.date, day);
        }
        for (path, bytes) in &self.files {
            table_file::decode(path, bytes, self.date, day)?;
        }
        Ok(0)
    }
}

fn read_file(path: &Path) -> Result<Bytes, DayError> {
    let mut file = File::open(path).map_err(DayError::io(path))?;
    let size = file.metadata().map_err(DayError::io(path))?.len();
    if size > MAX_FILE_BYTES {
        let what = format!("its size, {size} bytes,");
        return Err(DayError::TooLarge { path: path.to_path_buf(), what, limit: MAX_FILE_BYTES });
    }
    let mut bytes = Vec::with_capacity(size as usize + 1);
    file.by_ref().take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(DayError::io(path))?;
    Ok(bytes.into())
}

/// The days at `path` (a directory, or one file) from `from` to `to`, both inclusive.
pub fn list(path: &Path, from: Option<Date>, to: Option<Date>) -> Result<DayList, DayError> {
    let meta = fs::metadata(path).map_err(DayError::io(path))?;
    let mut found = if meta.is_dir() {
        directory(path)?
    } else {
        DayList { days: vec![single(path)?], notes: Vec::new() }
    };
    let (Some(first), Some(last)) = (found.days.first(), found.days.last()) else {
        return Err(DayError::NoDays { path: path.to_path_buf() });
    };
    let (first, last) = (first.date, last.date);
    found.days.retain(|d| from.is_none_or(|f| d.date >= f) && to.is_none_or(|t| d.date <= t));
    if found.days.is_empty() {
        return Err(DayError::NoneInRange { path: path.to_path_buf(), first, last });
    }
    Ok(found)
}

fn single(path: &Path) -> Result<DaySource, DayError> {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    if has_extension(path, "json") {
        let date = match date_in_name(&stem) {
            Some(date) => Some(date),
            None => first_date(&scan::parse(path, &read_file(path)?)?),
        };
        let date = date.ok_or_else(|| DayError::Undated { path: path.to_path_buf() })?;
        return Ok(DaySource { date, form: Form::Scans(vec![path.to_path_buf()]) });
    }
    if let Some(date) = date_in_name(&stem) {
        return Ok(DaySource::parquet(date, path.to_path_buf()));
    }
    let mut day = Day::default();
    table_file::decode(path, &read_file(path)?, Date::ZERO, &mut day)?;
    match day.bars.iter().find_map(|b| b.ts) {
        Some(ts) => Ok(DaySource::parquet(utc_date(ts), path.to_path_buf())),
        None => Err(DayError::Undated { path: path.to_path_buf() }),
    }
}

fn first_date(scans: &[scan::Scan]) -> Option<Date> {
    scans.iter().find_map(|s| s.bar.ts).map(utc_date)
}

/// What a directory holds, sorted by kind.
#[derive(Default)]
struct Found {
    parquet: BTreeMap<Date, PathBuf>,
    folders: BTreeMap<Date, Vec<PathBuf>>,
    loose: BTreeMap<Date, Vec<PathBuf>>,
    notes: Vec<String>,
}

fn directory(dir: &Path) -> Result<DayList, DayError> {
    let mut found = Found::default();
    for path in entries(dir)? {
        sort_in(path, &mut found)?;
    }
    let Found { parquet, folders, loose, mut notes } = found;
    let mut days: BTreeMap<Date, DaySource> = BTreeMap::new();
    for (date, files) in loose {
        if let (Some(folder), false) = (folders.get(&date), parquet.contains_key(&date)) {
            let (first, second) = (folder[0].clone(), files[0].clone());
            return Err(DayError::Ambiguous { date, first, second });
        }
        days.insert(date, DaySource { date, form: Form::Scans(files) });
    }
    days.extend(
        folders.into_iter().map(|(date, files)| (date, DaySource { date, form: Form::Scans(files) })),
    );
    for (date, path) in parquet {
        if days.insert(date, DaySource::parquet(date, path.clone())).is_some() {
            notes.push(format!("{date}: {} is used, the scan files of that date are not", path.display()));
        }
    }
    Ok(DayList { days: days.into_values().collect(), notes })
}

fn sort_in(path: PathBuf, found: &mut Found) -> Result<(), DayError> {
    let Some(name) = path.file_name().and_then(|n| n.to_str()).map(str::to_owned) else { return Ok(()) };
    if name.starts_with('.') {
        return Ok(());
    }
    if path.is_dir() {
        let Some(date) = exact_date(&name) else { return Ok(()) };
        let scans: Vec<_> = entries(&path)?.into_iter().filter(|p| has_extension(p, "json")).collect();
        if scans.is_empty() {
            found.notes.push(format!("{}: passed over: no *.json scan files in it", path.display()));
        } else {
            found.folders.insert(date, scans);
        }
    } else if has_extension(&path, "parquet") {
        match name.strip_suffix(".parquet").and_then(exact_date) {
            Some(date) => drop(found.parquet.insert(date, path)),
            None => {
                found.notes.push(format!("{}: passed over: not named YYYY-MM-DD.parquet", path.display()));
            }
        }
    } else if has_extension(&path, "json") {
        let stem = name.trim_end_matches(".json");
        let date = match date_in_name(stem) {
            Some(date) => Some(date),
            // Whatever JSON is kept beside the data: only what parses as scans counts.
            None => scan::parse(&path, &read_file(&path)?).ok().and_then(|scans| {
                scans.iter().any(|s| s.has_vel_div || !s.prices.is_empty()).then(|| first_date(&scans))?
            }),
        };
        match date {
            Some(date) => found.loose.entry(date).or_default().push(path),
            None => found.notes.push(format!("{}: passed over: no dated scans in it", path.display())),
        }
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
    path.extension().is_some_and(|e| e == extension)
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

/// The first `YYYY-MM-DD` or `YYYYMMDD` in a name that is not part of a longer number.
fn date_in_name(name: &str) -> Option<Date> {
    let bytes = name.as_bytes();
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_digit);
    (0..bytes.len()).filter(|&i| digit(i) && (i == 0 || !digit(i - 1))).find_map(|i| {
        let dashed = name.get(i..i + 10).filter(|_| !digit(i + 10)).and_then(exact_date);
        dashed.or_else(|| {
            let plain =
                name.get(i..i + 8).filter(|p| !digit(i + 8) && p.bytes().all(|b| b.is_ascii_digit()))?;
            exact_date(&format!("{}-{}-{}", &plain[..4], &plain[4..6], &plain[6..]))
                .filter(|d| (1990..2200).contains(&d.year()))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_in_names() {
        let found = |name: &str| date_in_name(name).map(|d| d.to_string());
        assert_eq!(found("scan_2021-04-10_000123").as_deref(), Some("2021-04-10"));
        assert_eq!(found("scan_20210410_000123").as_deref(), Some("2021-04-10"));
        assert_eq!(found("000123_20210410").as_deref(), Some("2021-04-10"));
        for none in ["scan_1618012860", "2021-13-40", "latest_eigen_scan", "12345678", "", "é2021-04-1"] {
            assert_eq!(found(none), None, "{none}");
        }
    }
}
