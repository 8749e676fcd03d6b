//! One day on disk: which files it is, their bytes, their rows.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use market::Date;

use super::select::AssetColumns;
use super::types::{Contents, Day, DayError, MAX_FILE_BYTES};
use super::{scan, table_file};

/// A scan file, or of one that holds several dates the scans of this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ScanFile {
    pub(super) path: PathBuf,
    /// `None`: all of its scans, whatever their times.
    pub(super) only: Option<Date>,
}

/// The form of a day on disk.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Form {
    Parquet(PathBuf),
    Scans(Vec<ScanFile>),
}

/// Where a day is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DaySource {
    /// The date it is named for.
    pub date: Date,
    form: Form,
    assets: Arc<AssetColumns>,
}

/// The bytes of a day.
#[derive(Debug, Clone)]
pub struct LoadedDay {
    /// The date it is named for.
    pub date: Date,
    /// Its files in order, whole.
    pub files: Vec<(PathBuf, Bytes)>,
    /// For scan files: the date that is taken of each.
    only: Option<Vec<Option<Date>>>,
    assets: Arc<AssetColumns>,
}

impl DaySource {
    /// A day that is one parquet file.
    pub(super) fn parquet(date: Date, path: PathBuf, assets: &Arc<AssetColumns>) -> Self {
        Self { date, form: Form::Parquet(path), assets: Arc::clone(assets) }
    }

    /// A day of scan files.
    pub(super) fn scans(date: Date, files: Vec<ScanFile>, assets: &Arc<AssetColumns>) -> Self {
        Self { date, form: Form::Scans(files), assets: Arc::clone(assets) }
    }

    /// Its files, in the order they are read.
    pub fn files(&self) -> Vec<&Path> {
        match &self.form {
            Form::Parquet(path) => vec![path],
            Form::Scans(files) => files.iter().map(|file| file.path.as_path()).collect(),
        }
    }

    /// Its columns. Of a parquet file only the footer is read; scan files must be read whole.
    pub fn contents(&self) -> Result<Contents, DayError> {
        match &self.form {
            Form::Parquet(path) => {
                let file = File::open(path).map_err(DayError::io(path))?;
                table_file::contents(path, &file, &self.assets)
            }
            Form::Scans(_) => {
                let mut day = Day::default();
                let decoded = self.load()?.decode(&mut day)?;
                Ok(Contents { assets: day.assets, left_out: decoded.left_out })
            }
        }
    }

    /// Reads its files into memory.
    pub fn load(&self) -> Result<LoadedDay, DayError> {
        let files = self.files().into_iter().map(|path| Ok((path.to_path_buf(), read_file(path)?)));
        let only = match &self.form {
            Form::Parquet(_) => None,
            Form::Scans(files) => Some(files.iter().map(|file| file.only).collect()),
        };
        let files = files.collect::<Result<_, DayError>>()?;
        Ok(LoadedDay { date: self.date, files, only, assets: Arc::clone(&self.assets) })
    }
}

impl LoadedDay {
    /// A parquet day from memory, its assets quoted in USDT; `path` is only for messages.
    pub fn from_parquet(date: Date, path: PathBuf, bytes: Bytes) -> Self {
        Self { date, files: vec![(path, bytes)], only: None, assets: Arc::default() }
    }

    /// Makes the rows, in buffers that are used again. Returns the number of repeated scans that were dropped
    /// (0 for a parquet file). After an error `day` holds no bars.
    pub fn decode_into(&self, day: &mut Day) -> Result<usize, DayError> {
        self.decode(day).map(|decoded| decoded.repeats)
    }

    fn decode(&self, day: &mut Day) -> Result<scan::Decoded, DayError> {
        if let Some(only) = &self.only {
            return scan::decode(&self.files, only, self.date, &self.assets, day);
        }
        for (path, bytes) in &self.files {
            table_file::decode(path, bytes, self.date, &self.assets, day)?;
        }
        Ok(scan::Decoded::default())
    }
}

pub(super) fn read_file(path: &Path) -> Result<Bytes, DayError> {
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
