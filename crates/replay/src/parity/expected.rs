//! Reading what is expected.

use std::fs;
use std::path::{Path, PathBuf};

use archive::table::{self, Cell};
use market::Date;
use serde_json::Value;

use super::fields::{FIELDS, find, normal};
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
}

impl Expected {
    /// Reads a file by its ending: `.parquet`, `.csv`, `.jsonl`, `.json`; the word `champion` is no file. A JSON object
    /// with `metrics` or `roi` is a summary, other JSON is trades.
    pub fn read(path: &Path) -> Result<Self, ReplayError> {
        if path.as_os_str() == "champion" {
            return Ok(Self::Champion);
        }
        if path.extension().is_some_and(|e| e == "json") {
            let mut bytes = fs::read(path)
                .map_err(|e| ReplayError::Expected { path: path.to_path_buf(), detail: e.to_string() })?;
            archive::json::blank_python_numbers(&mut bytes);
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
        let known = super::FIELD_NAMES.join(", ");
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
            let shown = super::show(&cell);
            cells.push(
                normal(field.kind, cell).ok_or_else(|| {
                    bad(format!("row {}: `{shown}` is no value for `{}`", i + 1, field.name))
                })?,
            );
        }
        rows.push(cells);
    }
    Ok(ExpectedTrades { path: path.to_path_buf(), columns, rows })
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

    pub(super) fn cell<'a>(&self, row: &'a [Cell], name: &str) -> Option<&'a Cell> {
        let at = self.columns.iter().position(|&f| FIELDS[f].name == name)?;
        row.get(at)
    }

    pub(super) fn symbol(&self, row: &[Cell]) -> Option<String> {
        match self.cell(row, "symbol") {
            Some(Cell::Text(symbol)) => Some(symbol.clone()),
            _ => None,
        }
    }

    /// Entry and exit of a row, as far as it tells.
    pub(super) fn times(&self, row: &[Cell]) -> super::Times {
        let at = |date: &str, bar: &str| -> Option<(Date, u32)> {
            match (self.cell(row, date)?, self.cell(row, bar)?) {
                (Cell::Text(date), Cell::Int(bar)) => Some((date.parse().ok()?, u32::try_from(*bar).ok()?)),
                _ => None,
            }
        };
        (at("entry_date", "entry_bar"), at("exit_date", "exit_bar"))
    }

    /// The floats of a column, as far as the file has it.
    pub(super) fn floats(&self, name: &str) -> Option<Vec<f64>> {
        self.columns.iter().position(|&f| FIELDS[f].name == name)?;
        self.rows.iter().map(|row| self.cell(row, name).and_then(super::fields::number)).collect()
    }
}
