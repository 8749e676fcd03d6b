//! The words of day files: bars, days, and what can be wrong with them.

use std::fmt;
use std::path::{Path, PathBuf};

use market::{Date, Nanos};

/// Most price cells (bars × assets) that a day may hold: a day at 10 Hz of 400 assets fits (4 GiB).
pub const MAX_CELLS: usize = 1 << 29;

/// Most columns a day file may have.
pub const MAX_COLUMNS: usize = 4096;

/// Largest file read.
pub const MAX_FILE_BYTES: u64 = 4 << 30;

/// The meta columns of a day file, in file order.
pub const META_COLUMNS: [&str; 9] = [
    "timestamp",
    "scan_number",
    "vel_div",
    "v50_lambda_max_velocity",
    "v150_lambda_max_velocity",
    "v300_lambda_max_velocity",
    "v750_lambda_max_velocity",
    "instability_50",
    "instability_150",
];

/// The meta values of one bar. What the file does not give is NaN, or `None`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Bar {
    /// Event time.
    pub ts: Option<Nanos>,
    /// Number of the scan.
    pub scan_number: Option<i64>,
    /// Eigen-velocity divergence, v50 − v150.
    pub vel_div: f64,
    /// Velocity of the largest eigenvalue over 50 bars.
    pub v50: f64,
    /// … over 150 bars.
    pub v150: f64,
    /// … over 300 bars.
    pub v300: f64,
    /// … over 750 bars.
    pub v750: f64,
    /// Turn of the first eigenvector over 50 bars.
    pub instability_50: f64,
    /// … over 150 bars.
    pub instability_150: f64,
}

impl Bar {
    /// A bar of which nothing is known.
    pub const EMPTY: Self = Self {
        ts: None,
        scan_number: None,
        vel_div: f64::NAN,
        v50: f64::NAN,
        v150: f64::NAN,
        v300: f64::NAN,
        v750: f64::NAN,
        instability_50: f64::NAN,
        instability_150: f64::NAN,
    };

    /// The float of a meta column by its name in [`META_COLUMNS`].
    pub(super) fn float_mut(&mut self, column: &str) -> Option<&mut f64> {
        Some(match column {
            "vel_div" => &mut self.vel_div,
            "v50_lambda_max_velocity" => &mut self.v50,
            "v150_lambda_max_velocity" => &mut self.v150,
            "v300_lambda_max_velocity" => &mut self.v300,
            "v750_lambda_max_velocity" => &mut self.v750,
            "instability_50" => &mut self.instability_50,
            "instability_150" => &mut self.instability_150,
            _ => return None,
        })
    }
}

/// A day in memory, row by row.
#[derive(Debug, Clone, PartialEq)]
pub struct Day {
    /// The date the file is named for.
    pub date: Date,
    /// Asset names, in column order.
    pub assets: Vec<String>,
    /// Meta values of each bar.
    pub bars: Vec<Bar>,
    /// Prices, bar after bar: `bars.len() × assets.len()`.
    pub prices: Vec<f64>,
}

impl Default for Day {
    fn default() -> Self {
        Self { date: Date::ZERO, assets: Vec::new(), bars: Vec::new(), prices: Vec::new() }
    }
}

impl Day {
    /// A day without bars.
    pub fn new(date: Date, assets: Vec<String>) -> Self {
        Self { date, assets, bars: Vec::new(), prices: Vec::new() }
    }

    /// Number of bars.
    pub fn len(&self) -> usize {
        self.bars.len()
    }

    /// Has it no bar at all?
    pub fn is_empty(&self) -> bool {
        self.bars.is_empty()
    }

    /// The prices of a bar, in column order.
    pub fn row(&self, bar: usize) -> &[f64] {
        let n = self.assets.len();
        &self.prices[bar * n..(bar + 1) * n]
    }

    /// Appends a bar. Panics if there is not one price for each asset: a fault of the caller.
    pub fn push(&mut self, bar: Bar, prices: &[f64]) {
        assert_eq!(prices.len(), self.assets.len(), "one price for each asset");
        self.bars.push(bar);
        self.prices.extend_from_slice(prices);
    }

    /// Empties it, keeping its buffers.
    pub(super) fn reset(&mut self, date: Date, assets: Vec<String>) {
        self.date = date;
        self.assets = assets;
        self.bars.clear();
        self.prices.clear();
    }
}

/// What the columns of a day are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Asset columns, in file order.
    pub assets: Vec<String>,
    /// Columns that are neither meta nor asset columns nor an index.
    pub left_out: Vec<String>,
}

/// Column names for a message: all of them, unless there are very many.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Columns(pub Vec<String>);

impl fmt::Display for Columns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 80;
        if self.0.is_empty() {
            return f.write_str("none");
        }
        f.write_str(&self.0[..self.0.len().min(SHOWN)].join(", "))?;
        if self.0.len() > SHOWN {
            write!(f, " … and {} more", self.0.len() - SHOWN)?;
        }
        Ok(())
    }
}

/// Why a day could not be listed, read or written.
#[derive(Debug, thiserror::Error)]
pub enum DayError {
    /// The operating system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// File or directory.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// Larger than what is read at all.
    #[error("{}: {what} is more than the limit of {limit}", path.display())]
    TooLarge {
        /// File.
        path: PathBuf,
        /// What there is too much of.
        what: String,
        /// How much is taken.
        limit: u64,
    },
    /// Not a whole parquet file.
    #[error("{}: not a readable parquet file (truncated or damaged): {detail}", path.display())]
    Corrupt {
        /// File.
        path: PathBuf,
        /// What the decoder says.
        detail: String,
    },
    /// A column that must be there is not.
    #[error("{}: column `{column}` is missing; columns there: {found}", path.display())]
    MissingColumn {
        /// File.
        path: PathBuf,
        /// The column.
        column: &'static str,
        /// What it has.
        found: Columns,
    },
    /// No column of a price.
    #[error("{}: no asset column: none is {wanted}; columns there: {found} (--assets A,B takes others)", path.display())]
    NoAssets {
        /// File.
        path: PathBuf,
        /// What is an asset.
        wanted: String,
        /// What it has.
        found: Columns,
    },
    /// A column of the wrong type.
    #[error("{}: column `{column}` holds {found}, wanted {wanted}", path.display())]
    WrongType {
        /// File.
        path: PathBuf,
        /// The column.
        column: String,
        /// Its type.
        found: String,
        /// What it should hold.
        wanted: &'static str,
    },
    /// A name used twice.
    #[error("{}: column `{column}` is there twice", path.display())]
    DuplicateColumn {
        /// File.
        path: PathBuf,
        /// The column.
        column: String,
    },
    /// A timestamp that is no time.
    #[error("{}: row {row}: `{text}` is not a time (wanted ISO 8601, or seconds, ms, µs, ns since 1970)", path.display())]
    BadTimestamp {
        /// File.
        path: PathBuf,
        /// Row, from 0.
        row: usize,
        /// What stands there.
        text: String,
    },
    /// A scan file that is not one.
    #[error("{}: not a scan file (SPEC §2.2): {detail}", path.display())]
    BadScan {
        /// File.
        path: PathBuf,
        /// Why.
        detail: String,
    },
    /// The same date from two sources, neither of which goes first.
    #[error("{date}: found both {} and {}: keep one of them", first.display(), second.display())]
    Ambiguous {
        /// Date.
        date: Date,
        /// One source.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A file of which nothing tells the date.
    #[error("{}: of which date? Put YYYY-MM-DD into its name or give it timestamps", path.display())]
    Undated {
        /// File.
        path: PathBuf,
    },
    /// Scans of several dates, and some of which nothing tells the date.
    #[error("{}: holds scans of several dates ({dates}), and {undated} without a timestamp: of which date are those?", path.display())]
    PartlyUndated {
        /// File.
        path: PathBuf,
        /// The dates.
        dates: Columns,
        /// Scans without one.
        undated: usize,
    },
    /// Asked for by name and in no file.
    #[error("{}: no file has a column {names}; there are {found}", path.display())]
    NoSuchAssets {
        /// Data directory.
        path: PathBuf,
        /// The names.
        names: Columns,
        /// What there is.
        found: Columns,
    },
    /// Nothing to replay.
    #[error("{}: no days in it: looked for YYYY-MM-DD.parquet files, YYYY-MM-DD folders of scan files, *.json scan files", path.display())]
    NoDays {
        /// Directory.
        path: PathBuf,
    },
    /// Days, but none in the wanted range.
    #[error("{}: no day in the range asked for: it holds {first} to {last}", path.display())]
    NoneInRange {
        /// Directory.
        path: PathBuf,
        /// Its first day.
        first: Date,
        /// Its last day.
        last: Date,
    },
}

impl DayError {
    pub(super) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + use<> {
        let path = path.to_path_buf();
        move |source| Self::Io { path, source }
    }
}
