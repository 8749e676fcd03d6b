//! Prices to eigen scans (SPEC §6, offline): reads day files, runs the scanner of `alpha` over their prices without
//! a break from day to day, and writes the same days with recomputed meta columns.
//!
//! Day files need not have the same assets. A scanner has, so where they change a new one is made and warmed with
//! the prices kept from the days before: each day is what a scanner of that day's assets, running all along, says.

use std::collections::{HashMap, VecDeque};
use std::path::{Path, PathBuf};

use alpha::eigen::{Health, Scan, Scanner, ScannerError, Verdict, WINDOWS};
use archive::day::{self, AssetColumns, Bar, Day, DayError, Wanted};

use crate::output::Earlier;

/// Why day files could not be recomputed.
#[derive(Debug, thiserror::Error)]
pub enum EigenError {
    /// A day that cannot be listed, read or written.
    #[error(transparent)]
    Day(#[from] DayError),
    /// Too many assets in a day, or a bad stride.
    #[error("{}: {source}", path.display())]
    Scanner {
        /// The data read.
        path: PathBuf,
        /// What is out of range.
        source: ScannerError,
    },
    /// The output directory cannot be made.
    #[error("{}: cannot make the output directory: {source}", path.display())]
    Out {
        /// The directory.
        path: PathBuf,
        /// The system's reason.
        source: std::io::Error,
    },
    /// The scanner found itself wrong.
    #[error("{date}: {health}: nothing was written for that day; please report this, with the file")]
    Unsound {
        /// Day.
        date: market::Date,
        /// What it found.
        health: Health,
    },
    /// A file of the output is there.
    #[error("{}: is there already: name another directory, or say --force to replace it", path.display())]
    There {
        /// The file.
        path: PathBuf,
    },
    /// The output would replace the input.
    #[error("{}: the output directory holds the input files: choose another --out", path.display())]
    OutIsData {
        /// The directory.
        path: PathBuf,
    },
}

/// What was done.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Recomputed {
    /// Files written, in date order.
    pub files: Vec<PathBuf>,
    /// Bars in them.
    pub bars: usize,
    /// What was passed over in the input directory, and why.
    pub notes: Vec<String>,
}

/// Reads the day files at `data` (a directory or one file), recomputes their meta columns with bars of `stride`
/// rows and writes `out/YYYY-MM-DD.parquet`, each complete or not at all. `timestamp`, `scan_number` and the prices of
/// `assets` stay. `earlier`: what becomes of files that are there.
pub fn recompute(
    data: &Path,
    out: &Path,
    stride: usize,
    assets: AssetColumns,
    earlier: Earlier,
) -> Result<Recomputed, EigenError> {
    let mut list = day::list(data, &Wanted { assets, ..Wanted::default() })?;
    list.assets()?;
    let mut continuous = Continuous::new(stride);
    let folder = if data.is_dir() { Some(data) } else { data.parent() };
    if folder.is_some_and(|folder| same_directory(folder, out)) {
        return Err(EigenError::OutIsData { path: out.to_path_buf() });
    }
    let path = |date: market::Date| out.join(format!("{date}.parquet"));
    let mut dates = list.days.iter().map(|source| path(source.date));
    if earlier == Earlier::Refused
        && let Some(path) = dates.find(|path| path.exists())
    {
        return Err(EigenError::There { path });
    }
    let mut done = Recomputed { files: Vec::new(), bars: 0, notes: list.notes };
    for source in &list.days {
        let mut day = Day::default();
        source.load()?.decode_into(&mut day)?;
        let failed = |source| EigenError::Scanner { path: data.to_path_buf(), source };
        let date = day.date;
        continuous.scan(day).map_err(failed)?;
        let health = continuous.check();
        if !health.is_sound() {
            return Err(EigenError::Unsound { date, health });
        }
        let Some(day) = continuous.last() else { continue };
        std::fs::create_dir_all(out).map_err(|source| EigenError::Out { path: out.to_path_buf(), source })?;
        let path = path(day.date);
        if path.exists() {
            done.notes.push(format!("{} was there already and is replaced", path.display()));
        }
        day::write(&path, day)?;
        done.bars += day.len();
        done.files.push(path);
    }
    Ok(done)
}

fn same_directory(a: &Path, b: &Path) -> bool {
    let a = if a.as_os_str().is_empty() { Path::new(".") } else { a };
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// A scanner that runs through days, whatever their assets.
#[derive(Debug)]
pub struct Continuous {
    stride: usize,
    scanner: Option<Scanner>,
    /// The last days, as many as it takes to warm a scanner.
    kept: VecDeque<Day>,
}

impl Continuous {
    /// Nothing seen yet; a bar is `stride` rows.
    pub fn new(stride: usize) -> Self {
        Self { stride, scanner: None, kept: VecDeque::new() }
    }

    /// The last day, recomputed.
    pub fn last(&self) -> Option<&Day> {
        self.kept.back()
    }

    /// Whether the scanner was sound through the last day, and a full decomposition of each of its windows agrees.
    pub fn check(&mut self) -> Health {
        let Some(scanner) = &mut self.scanner else { return Health::default() };
        let health = scanner.health();
        let checks = (0..WINDOWS.len()).filter_map(|window| scanner.check_copy(window));
        let verdicts: Vec<Verdict> = checks.map(|check| check.verify()).collect();
        verdicts.iter().for_each(|verdict| scanner.take_verdict(verdict));
        if health.is_sound() { scanner.health() } else { health }
    }

    /// Recomputes the meta columns of the next day and hands it back.
    pub fn scan(&mut self, mut day: Day) -> Result<&Day, ScannerError> {
        let same = self.kept.back().is_some_and(|last| last.assets == day.assets);
        let mut scanner = match self.scanner.take() {
            Some(scanner) if same => scanner,
            _ => self.warmed(&day.assets)?,
        };
        let width = day.assets.len();
        for (bar, prices) in day.bars.iter_mut().zip(day.prices.chunks_exact(width)) {
            fill(bar, &scanner.step(prices));
        }
        self.kept.push_back(day);
        self.forget(scanner.warmup_ticks());
        self.scanner = Some(scanner);
        Ok(self.kept.back().expect("a day was just put there"))
    }

    /// A scanner of `assets` that has run through the kept days.
    fn warmed(&self, assets: &[String]) -> Result<Scanner, ScannerError> {
        let mut scanner = Scanner::new(assets.len(), self.stride)?;
        for day in &self.kept {
            let columns: HashMap<&str, usize> =
                day.assets.iter().enumerate().map(|(i, name)| (name.as_str(), i)).collect();
            let places: Vec<Option<usize>> =
                assets.iter().map(|name| columns.get(name.as_str()).copied()).collect();
            let mut row = vec![f64::NAN; assets.len()];
            for prices in day.prices.chunks_exact(day.assets.len()) {
                for (price, place) in row.iter_mut().zip(&places) {
                    *price = place.map_or(f64::NAN, |i| prices[i]);
                }
                scanner.step(&row);
            }
        }
        Ok(scanner)
    }

    /// Drops days that a warm-up of `ticks` does not reach; the newest stays.
    fn forget(&mut self, ticks: usize) {
        let mut rows: usize = self.kept.iter().map(Day::len).sum();
        while let Some(oldest) = self.kept.front() {
            if rows - oldest.len() < ticks {
                return;
            }
            rows -= oldest.len();
            self.kept.pop_front();
        }
    }
}

fn fill(bar: &mut Bar, scan: &Scan) {
    bar.vel_div = scan.vel_div;
    [bar.v50, bar.v150, bar.v300, bar.v750] = scan.velocity;
    bar.instability_50 = scan.instability_50;
    bar.instability_150 = scan.instability_150;
}
