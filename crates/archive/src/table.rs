//! Result tables: named columns to parquet, and back from parquet, CSV, JSON or JSON lines. For tables that fit in
//! memory many times over (trades, features), read and written by people as much as by programs: values, not speed.

use std::collections::HashMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use arrow_schema::{DataType, Field, Schema};
use bytes::Bytes;
use market::json::blank_python_numbers;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ArrowReaderOptions, ParquetRecordBatchReaderBuilder};
use parquet::basic::Compression;
use parquet::file::properties::WriterProperties;

use crate::column::{floats, is_number, is_time, times};

/// Most rows that are read.
pub const MAX_ROWS: usize = 10_000_000;

/// The values of one column to write.
#[derive(Debug, Clone, PartialEq)]
pub enum Column {
    /// Text.
    Text(Vec<String>),
    /// Floats.
    Float(Vec<f64>),
    /// Integers.
    Int(Vec<i64>),
    /// Booleans, or null.
    Bool(Vec<Option<bool>>),
}

/// One value read.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing there.
    Null,
    /// A boolean.
    Bool(bool),
    /// An integer.
    Int(i64),
    /// A float.
    Float(f64),
    /// Text; dates and times come as ISO 8601.
    Text(String),
}

/// A table read.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Table {
    /// Column names, in file order.
    pub columns: Vec<String>,
    /// Rows, each with a cell for each column.
    pub rows: Vec<Vec<Cell>>,
}

/// Why a table could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum TableError {
    /// The operating system said no.
    #[error("{}: {source}", path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// Its reason.
        source: std::io::Error,
    },
    /// Neither `.parquet`, `.csv`, `.json` nor `.jsonl`.
    #[error("{}: its name must end in .parquet, .csv, .json or .jsonl", path.display())]
    UnknownFormat {
        /// File.
        path: PathBuf,
    },
    /// Not what its name says.
    #[error("{}: cannot be read as a table: {detail}", path.display())]
    Malformed {
        /// File.
        path: PathBuf,
        /// Why.
        detail: String,
    },
}

/// Writes columns of equal length to a parquet file, complete or not at all.
pub fn write_parquet(path: &Path, columns: &[(&str, Column)]) -> Result<(), TableError> {
    let arrays = columns.iter().map(|(name, column)| (*name, array(column))).collect();
    let bytes = encode_columns(arrays)
        .map_err(|detail| TableError::Malformed { path: path.to_path_buf(), detail })?;
    write_whole(path, &bytes).map_err(|source| TableError::Io { path: path.to_path_buf(), source })
}

/// The columns as one Arrow batch, for whoever takes tables in memory. An error means that two columns have the same name
/// or another length.
pub fn batch(columns: &[(&str, Column)]) -> Result<RecordBatch, String> {
    named_batch(columns.iter().map(|(name, column)| (*name, array(column))).collect())
}

fn array(column: &Column) -> ArrayRef {
    match column {
        Column::Text(v) => Arc::new(StringArray::from_iter_values(v)),
        Column::Float(v) => Arc::new(Float64Array::from_iter_values(v.iter().copied())),
        Column::Int(v) => Arc::new(Int64Array::from_iter_values(v.iter().copied())),
        Column::Bool(v) => Arc::new(v.iter().copied().collect::<BooleanArray>()),
    }
}

fn named_batch(columns: Vec<(&str, ArrayRef)>) -> Result<RecordBatch, String> {
    let mut seen = std::collections::HashSet::new();
    if let Some((name, _)) = columns.iter().find(|(name, _)| !seen.insert(*name)) {
        return Err(format!("column `{name}` is there twice"));
    }
    let fields = columns.iter().map(|(name, array)| {
        let nullable =
            array.null_count() > 0 || matches!(array.data_type(), DataType::Boolean | DataType::Int64);
        Field::new(*name, array.data_type().clone(), nullable || array.is_empty())
    });
    let schema = Arc::new(Schema::new(fields.collect::<Vec<_>>()));
    let arrays = columns.into_iter().map(|(_, array)| array).collect();
    RecordBatch::try_new(schema, arrays).map_err(|e| e.to_string())
}

/// A parquet file of one row group, snappy, no dictionary on floats.
pub(crate) fn encode_columns(columns: Vec<(&str, ArrayRef)>) -> Result<Vec<u8>, String> {
    let batch = named_batch(columns)?;
    let mut properties = WriterProperties::builder().set_compression(Compression::SNAPPY);
    for field in batch.schema().fields() {
        if field.data_type() == &DataType::Float64 {
            properties = properties.set_column_dictionary_enabled(field.name().as_str().into(), false);
        }
    }
    let encode = || -> Result<Vec<u8>, parquet::errors::ParquetError> {
        let mut bytes = Vec::new();
        let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties.build()))?;
        writer.write(&batch)?;
        writer.close()?;
        Ok(bytes)
    };
    encode().map_err(|e| e.to_string())
}

/// Writes a file complete or not at all: a temporary file beside it, synced, then renamed over it.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?;
    let part = path.with_file_name(format!(".{}.part", name.to_string_lossy()));
    let written = fs::File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        fs::remove_file(&part).ok();
    }
    written
}

/// Reads a table, by the ending of its name. JSON is an array of objects or an object with one such array in it.
pub fn read(path: &Path) -> Result<Table, TableError> {
    let bytes = fs::read(path).map_err(|source| TableError::Io { path: path.to_path_buf(), source })?;
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    let table = match ending.as_str() {
        "parquet" => std::panic::catch_unwind(move || from_parquet(bytes.into()))
            .unwrap_or_else(|_| Err("the decoder gave up: truncated or damaged".to_owned())),
        "csv" => from_csv(&bytes),
        "json" | "jsonl" | "ndjson" => from_json(bytes),
        _ => return Err(TableError::UnknownFormat { path: path.to_path_buf() }),
    };
    table.map_err(|detail| TableError::Malformed { path: path.to_path_buf(), detail })
}

fn from_parquet(bytes: Bytes) -> Result<Table, String> {
    let options = ArrowReaderOptions::new().with_skip_arrow_metadata(true);
    let builder =
        ParquetRecordBatchReaderBuilder::try_new_with_options(bytes, options).map_err(|e| e.to_string())?;
    let columns: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut table = Table { columns, rows: Vec::new() };
    for batch in builder.build().map_err(|e| e.to_string())? {
        let batch = batch.map_err(|e| e.to_string())?;
        let first = table.rows.len();
        if first + batch.num_rows() > MAX_ROWS {
            return Err(format!("more than {MAX_ROWS} rows"));
        }
        table.rows.resize(first + batch.num_rows(), Vec::with_capacity(table.columns.len()));
        for (column, name) in batch.columns().iter().zip(&table.columns) {
            let cells =
                cells(column).ok_or_else(|| format!("column `{name}` holds {}", column.data_type()))?;
            table.rows[first..].iter_mut().zip(cells).for_each(|(row, cell)| row.push(cell));
        }
    }
    let index: Vec<bool> = table.columns.iter().map(|c| c.starts_with("__index_level_")).collect();
    if index.contains(&true) {
        table.columns.retain(|c| !c.starts_with("__index_level_"));
        for row in &mut table.rows {
            let mut keep = index.iter().map(|&is_index| !is_index);
            row.retain(|_| keep.next().unwrap_or(true));
        }
    }
    Ok(table)
}

fn cells(array: &dyn Array) -> Option<Vec<Cell>> {
    let mut cells = vec![Cell::Null; array.len()];
    match array.data_type() {
        DataType::Boolean => {
            for (cell, v) in cells.iter_mut().zip(array.as_boolean()) {
                *cell = v.map_or(Cell::Null, Cell::Bool);
            }
        }
        DataType::Utf8 => {
            for (cell, v) in cells.iter_mut().zip(array.as_string::<i32>()) {
                *cell = v.map_or(Cell::Null, |v| Cell::Text(v.to_owned()));
            }
        }
        DataType::Timestamp(..) | DataType::Date32 => {
            times(array, |row, time| {
                let text = time.and_then(|t| jiff::Timestamp::from_nanosecond(i128::from(t.0)).ok());
                cells[row] = text.map_or(Cell::Null, |t| Cell::Text(t.to_string()));
            })
            .ok()?;
        }
        kind if is_number(kind) => {
            let whole = kind.is_integer();
            floats(array, |row, v| {
                cells[row] = match v {
                    _ if array.is_null(row) => Cell::Null,
                    v if whole => Cell::Int(v as i64),
                    v => Cell::Float(v),
                };
            });
        }
        kind => {
            debug_assert!(!is_time(kind) || matches!(kind, DataType::LargeUtf8 | DataType::Binary));
            return None;
        }
    }
    Some(cells)
}

fn from_csv(bytes: &[u8]) -> Result<Table, String> {
    let mut reader = csv::Reader::from_reader(bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes));
    let columns = reader.headers().map_err(|e| e.to_string())?.iter().map(|c| c.trim().to_owned()).collect();
    let mut table = Table { columns, rows: Vec::new() };
    for record in reader.records() {
        let record = record.map_err(|e| e.to_string())?;
        table.rows.push(record.iter().map(csv_cell).collect());
    }
    // `DataFrame.to_csv` writes its index as a first column without a name.
    if table.columns.first().is_some_and(String::is_empty) {
        table.columns.remove(0);
        table.rows.iter_mut().for_each(|row| drop(row.remove(0)));
    }
    Ok(table)
}

fn csv_cell(text: &str) -> Cell {
    match text.trim() {
        "" | "None" | "null" | "NULL" | "NA" => Cell::Null,
        "true" | "True" | "TRUE" => Cell::Bool(true),
        "false" | "False" | "FALSE" => Cell::Bool(false),
        text => text
            .parse()
            .map(Cell::Int)
            .or_else(|_| text.parse().map(Cell::Float))
            .unwrap_or_else(|_| Cell::Text(text.to_owned())),
    }
}

fn from_json(mut bytes: Vec<u8>) -> Result<Table, String> {
    use serde_json::Value;
    blank_python_numbers(&mut bytes);
    let mut objects = Vec::new();
    for document in serde_json::Deserializer::from_slice(&bytes).into_iter::<Value>() {
        match document.map_err(|e| e.to_string())? {
            Value::Array(rows) => objects.extend(rows),
            // `{"trades": […]}`
            Value::Object(map) if map.len() == 1 && map.values().all(Value::is_array) => {
                objects.extend(map.into_iter().flat_map(|(_, v)| v.as_array().cloned().unwrap_or_default()));
            }
            row => objects.push(row),
        }
    }
    let mut table = Table::default();
    let mut index: HashMap<String, usize> = HashMap::new();
    for object in objects {
        let Value::Object(map) = object else { return Err("a row that is no object".to_owned()) };
        let mut row = vec![Cell::Null; table.columns.len()];
        for (name, value) in map {
            let at = *index.entry(name).or_insert_with_key(|name| {
                table.columns.push(name.clone());
                table.columns.len() - 1
            });
            row.resize(table.columns.len().max(row.len()), Cell::Null);
            row[at] = json_cell(value)?;
        }
        table.rows.push(row);
    }
    let width = table.columns.len();
    table.rows.iter_mut().for_each(|row| row.resize(width, Cell::Null));
    Ok(table)
}

fn json_cell(value: serde_json::Value) -> Result<Cell, String> {
    use serde_json::Value;
    Ok(match value {
        Value::Null => Cell::Null,
        Value::Bool(b) => Cell::Bool(b),
        Value::Number(n) => {
            n.as_i64().map(Cell::Int).or_else(|| n.as_f64().map(Cell::Float)).unwrap_or(Cell::Null)
        }
        Value::String(s) if s.is_empty() => Cell::Null,
        Value::String(s) => Cell::Text(s),
        nested => {
            return Err(format!(
                "a nested value: {}",
                nested.to_string().chars().take(60).collect::<String>()
            ));
        }
    })
}
