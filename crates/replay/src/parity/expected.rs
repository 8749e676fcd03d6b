//! Reading what is expected.

use std::fs;
use std::path::{Path, PathBuf};

use archive::table::{self, Cell};
use market::Date;
use serde_json::Value;

use super::fields::{FIELD_NAMES, FIELDS, Kind, find, normal, number, show};
use crate::ReplayError;

/// What a run is compared with.
#[derive(Debug, Clone, PartialEq)]
pub enum Expected {
    /// The champion's headline numbers (SPEC §1).
    Champion,
    /// A summary: an object of headline numbers.
    Summary {
        /// File.
        path: PathBuf,
        /// Its content.
        value: Value,
    },
    /// Trades.
    Trades(ExpectedTrades),
}

/// Expected trades, by the columns that the file has.
#[derive(Debug, Clone, PartialEq)]
pub struct ExpectedTrades {
    /// File.
    pub path: PathBuf,
    /// Which fields the cells of a row are, by index.
    pub(super) columns: Vec<usize>,
    pub(super) rows: Vec<Vec<Cell>>,
    /// Columns of the file that say nothing of a trade: row numbers, and those without a value in any row.
    pub(super) not_compared: Vec<String>,
}

/// Date and bar of a step.
pub(super) type At = (Date, u32);

impl Expected {
    /// Reads a file by its ending: `.parquet`, `.csv`, `.jsonl`, `.json`; the word `champion` is no file. A JSON object
    /// with `metrics` or `roi` is a summary, other JSON is trades.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        if path.as_os_str() == "champion" {
            return Ok(Self::Champion);
        }
        if path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json")) {
            let mut bytes = fs::read(path)
                .map_err(|e| ReplayError::Expected { path: path.to_path_buf(), detail: e.to_string() })?;
            market::json::blank_python_numbers(&mut bytes);
            if let Ok(value @ Value::Object(_)) = serde_json::from_slice::<Value>(&bytes)
                && (value.get("metrics").is_some()
                    || value.get("roi").is_some()
                    || value.get("final_capital").is_some())
            {
                return Ok(Self::Summary { path: path.to_path_buf(), value });
            }
        }
        trades(path).map(Self::Trades)
    }

    /// How it is called in messages.
    pub fn origin(&self) -> String {
        match self {
            Self::Champion => "the champion's headline numbers".to_owned(),
            Self::Summary { path, .. } => format!("summary {}", path.display()),
            Self::Trades(t) => format!("{} trades in {}", t.rows.len(), t.path.display()),
        }
    }
}

fn trades(path: &Path) -> Result<ExpectedTrades, ReplayError> {
    let bad = |detail: String| ReplayError::Expected { path: path.to_path_buf(), detail };
    let table = table::read(path)?;
    let found: Vec<_> = table.columns.iter().map(|c| find(c)).collect();
    let unknown: Vec<&str> =
        table.columns.iter().zip(&found).filter(|(_, f)| f.is_none()).map(|(c, _)| c.as_str()).collect();
    if !unknown.is_empty() {
        let known = FIELD_NAMES.join(", ");
        return Err(bad(format!(
            "unknown columns: {}; known are {known} (or their aliases)",
            unknown.join(", ")
        )));
    }
    let columns: Vec<usize> = found.iter().filter_map(|f| f.flatten()).collect();
    if columns.is_empty() && !table.rows.is_empty() {
        return Err(bad("no column of a trade in it".to_owned()));
    }
    let mut sorted = columns.clone();
    sorted.sort_unstable();
    if let Some(twice) = sorted.windows(2).find(|w| w[0] == w[1]) {
        return Err(bad(format!("two columns for `{}`", FIELDS[twice[0]].name)));
    }
    let mut rows = Vec::with_capacity(table.rows.len());
    for (i, row) in table.rows.into_iter().enumerate() {
        let mut cells = Vec::with_capacity(columns.len());
        for (cell, field) in row.into_iter().zip(&found) {
            let Some(Some(field)) = field else { continue };
            let field = &FIELDS[*field];
            let shown = show(&cell);
            cells.push(
                normal(field.kind, cell).ok_or_else(|| {
                    bad(format!("row {}: `{shown}` is no value for `{}`", i + 1, field.name))
                })?,
            );
        }
        rows.push(cells);
    }
    let numbering = table.columns.iter().zip(&found).filter(|(_, f)| **f == Some(None));
    let mut trades = ExpectedTrades {
        path: path.to_path_buf(),
        columns,
        rows,
        not_compared: numbering.map(|(name, _)| format!("{name} (numbers the rows)")).collect(),
    };
    trades.drop_empty_columns();
    if trades.columns.is_empty() && !trades.rows.is_empty() {
        return Err(bad("no column of a trade in it has a value".to_owned()));
    }
    Ok(trades)
}

impl ExpectedTrades {
    /// How many.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// A column without a value in any row compares with nothing: it is named instead. Flags alone may be null.
    fn drop_empty_columns(&mut self) {
        let mut at = 0;
        while at < self.columns.len() {
            let field = &FIELDS[self.columns[at]];
            let empty = self.rows.iter().all(|row| row[at] == Cell::Null) && !self.rows.is_empty();
            if empty && field.kind != Kind::Flag {
                self.not_compared.push(format!("{} (no value in any row)", field.name));
                self.columns.remove(at);
                self.rows.iter_mut().for_each(|row| drop(row.remove(at)));
            } else {
                at += 1;
            }
        }
    }

    /// A date column of a row.
    pub(super) fn date(&self, row: &[Cell], name: &str) -> Option<Date> {
        match self.cell(row, name)? {
            Cell::Text(date) => date.parse().ok(),
            _ => None,
        }
    }

    /// A number of a row.
    pub(super) fn number(&self, row: &[Cell], name: &str) -> Option<f64> {
        self.cell(row, name).and_then(number)
    }

    pub(super) fn cell<'a>(&self, row: &'a [Cell], name: &str) -> Option<&'a Cell> {
        let at = self.columns.iter().position(|&f| FIELDS[f].name == name)?;
        row.get(at)
    }

    /// Entry (or exit) of a row, as far as it tells.
    pub(super) fn at(&self, row: &[Cell], date: &str, bar: &str) -> Option<At> {
        match self.cell(row, bar)? {
            Cell::Int(bar) => Some((self.date(row, date)?, u32::try_from(*bar).ok()?)),
            _ => None,
        }
    }

    /// The floats of a column, if every row has one.
    pub(super) fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.rows.iter().map(|row| self.number(row, name)).collect()
    }
}
