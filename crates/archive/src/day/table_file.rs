//! Parquet day files. The whole file is in memory before it is decoded (a read per column chunk costs more than the
//! decoding); it is decoded a few columns at a time and batch by batch, and each batch is turned into rows at once, so that
//! the columnar copy never holds more than a few hundred bars of them.
//!
//! The arrow schema that some writers embed is not used: the parquet schema alone says what a column holds, and
//! pandas categories, string views and the like then come as the plain values they stand for.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use arrow_array::RecordBatch;
use arrow_schema::{DataType, Schema};
use bytes::Bytes;
use market::Date;
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader};
use parquet::arrow::{ProjectionMask, parquet_to_arrow_field_levels};
use parquet::file::metadata::{ParquetMetaData, ParquetStatisticsPolicy};
use parquet::file::reader::ChunkReader;

use super::pages::FilePages;
use super::select::AssetColumns;
use super::types::{Bar, Columns, Contents, Day, DayError, MAX_CELLS, MAX_COLUMNS, META_COLUMNS};
use crate::column::{floats, integers, is_number, is_time, times};

/// Bars decoded at a time: the transposed block of 48 assets stays within the second-level cache.
const BATCH: usize = 512;
/// Columns read at a time: the prices of so many are a cache line of each row.
const TOGETHER: usize = 8;
/// Room reserved on the word of a file header alone.
const TRUSTED_CELLS: usize = 1 << 24;

/// What a column of the file is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    Timestamp,
    ScanNumber,
    Meta(&'static str),
    Asset(usize),
}

/// Which columns are read, and as what.
struct Plan {
    /// Root columns read, in file order, with their roles.
    columns: Vec<(usize, Role)>,
    contents: Contents,
}

/// The columns of a parquet file; reads only its footer.
pub(super) fn contents(
    path: &Path,
    file: &impl ChunkReader,
    assets: &AssetColumns,
) -> Result<Contents, DayError> {
    guarded(path, || {
        let meta = metadata(path, file)?;
        Ok(plan(path, &meta, assets)?.contents)
    })
}

/// Decodes a file into `day`, whose buffers are reused. On an error `day` holds no bars.
pub(super) fn decode(
    path: &Path,
    bytes: &Bytes,
    date: Date,
    assets: &AssetColumns,
    day: &mut Day,
) -> Result<(), DayError> {
    day.reset(date, Vec::new());
    let done = guarded(path, || decode_rows(path, bytes, assets, day));
    if done.is_err() {
        day.reset(date, Vec::new());
    }
    done
}

/// The decoder is meant to return errors on damaged files; where it trips over its own assertions instead, that is
/// an error of the file, too.
fn guarded<T>(path: &Path, work: impl FnOnce() -> Result<T, DayError>) -> Result<T, DayError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(DayError::Corrupt { path: path.to_path_buf(), detail: "the decoder gave up".to_owned() })
    })
}

fn corrupt(path: &Path) -> impl Fn(&dyn std::fmt::Display) -> DayError + use<> {
    let path = path.to_path_buf();
    move |detail| DayError::Corrupt { path: path.clone(), detail: detail.to_string() }
}

fn metadata(path: &Path, file: &impl ChunkReader) -> Result<ArrowReaderMetadata, DayError> {
    // Nobody asks for the statistics of its columns, which are most of a footer.
    let options = ArrowReaderOptions::new()
        .with_skip_arrow_metadata(true)
        .with_column_stats_policy(ParquetStatisticsPolicy::SkipAll)
        .with_size_stats_policy(ParquetStatisticsPolicy::SkipAll);
    ArrowReaderMetadata::load(file, options).map_err(|e| corrupt(path)(&e))
}

fn decode_rows(path: &Path, bytes: &Bytes, assets: &AssetColumns, day: &mut Day) -> Result<(), DayError> {
    let meta = metadata(path, bytes)?;
    let Plan { columns, contents: Contents { assets, .. } } = plan(path, &meta, assets)?;
    let width = assets.len();
    let rows = usize::try_from(meta.metadata().file_metadata().num_rows()).unwrap_or(usize::MAX);
    check_cells(path, rows, width)?;
    day.assets = assets;
    day.bars.reserve(rows.min(TRUSTED_CELLS / 16));
    day.prices.reserve(rows.saturating_mul(width).min(TRUSTED_CELLS));

    let schema = meta.parquet_schema();
    let pages = FilePages::new(meta.clone(), bytes.clone());
    for columns in columns.chunks(TOGETHER) {
        let mask = ProjectionMask::roots(schema, columns.iter().map(|&(root, _)| root));
        let reader = parquet_to_arrow_field_levels(schema, mask, None)
            .and_then(|levels| {
                ParquetRecordBatchReader::try_new_with_row_groups(&levels, &pages, BATCH, None)
            })
            .map_err(|e| corrupt(path)(&e))?;
        let mut first = 0;
        for batch in reader {
            let batch = batch.map_err(|e| corrupt(path)(&e))?;
            check_cells(path, first + batch.num_rows(), width)?;
            put(path, &batch, (first, columns), day)?;
            first += batch.num_rows();
        }
        if first != rows {
            return Err(corrupt(path)(&format_args!("{first} rows instead of the {rows} announced")));
        }
    }
    Ok(())
}

fn check_cells(path: &Path, rows: usize, width: usize) -> Result<(), DayError> {
    if rows.saturating_mul(width.max(16)) > MAX_CELLS {
        let what = format!("{rows} rows of {width} assets");
        return Err(DayError::TooLarge { path: path.to_path_buf(), what, limit: MAX_CELLS as u64 });
    }
    Ok(())
}

/// Turns a batch of columns into cells of the rows of `day` from `first` on; rows that are not there yet are made.
fn put(
    path: &Path,
    batch: &RecordBatch,
    (first, columns): (usize, &[(usize, Role)]),
    day: &mut Day,
) -> Result<(), DayError> {
    let width = day.assets.len();
    let rows = day.bars.len().max(first + batch.num_rows());
    day.bars.resize(rows, Bar::EMPTY);
    day.prices.resize(rows * width, f64::NAN);
    let bars = &mut day.bars[first..];
    let prices = &mut day.prices[first * width..];
    for (array, &(_, role)) in batch.columns().iter().zip(columns) {
        match role {
            Role::Timestamp => times(array, |row, ts| bars[row].ts = ts).map_err(|(row, text)| {
                DayError::BadTimestamp { path: path.to_path_buf(), row: first + row, text }
            })?,
            Role::ScanNumber => integers(array, |row, n| bars[row].scan_number = n),
            Role::Meta(name) => floats(array, |row, value| {
                if let Some(cell) = bars[row].float_mut(name) {
                    *cell = value;
                }
            }),
            Role::Asset(column) => {
                let mut cells = prices.iter_mut().skip(column).step_by(width);
                floats(array, |_, price| {
                    if let Some(cell) = cells.next() {
                        *cell = price;
                    }
                });
            }
        }
    }
    Ok(())
}

/// Gives each column its role, or says which one cannot have one.
fn plan(path: &Path, meta: &ArrowReaderMetadata, assets: &AssetColumns) -> Result<Plan, DayError> {
    let schema = meta.schema();
    if schema.fields().len() > MAX_COLUMNS {
        let what = format!("{} columns", schema.fields().len());
        return Err(DayError::TooLarge { path: path.to_path_buf(), what, limit: MAX_COLUMNS as u64 });
    }
    let index = index_columns(meta.metadata());
    let mut plan = Plan { columns: Vec::new(), contents: Contents::default() };
    let mut seen = std::collections::HashSet::new();
    for (root, field) in schema.fields().iter().enumerate() {
        let name = field.name().as_str();
        let role = match META_COLUMNS.iter().find(|&&meta| meta == name) {
            Some(&"timestamp") => Role::Timestamp,
            Some(&"scan_number") => Role::ScanNumber,
            Some(&meta) => Role::Meta(meta),
            None if name.starts_with("__index_level_") || index.iter().any(|i| i == name) => continue,
            None if assets.takes(name) => Role::Asset(plan.contents.assets.len()),
            None => {
                plan.contents.left_out.push(name.to_owned());
                continue;
            }
        };
        if !seen.insert(name) {
            return Err(DayError::DuplicateColumn { path: path.to_path_buf(), column: name.to_owned() });
        }
        let (fits, wanted) = match role {
            Role::Timestamp => (is_time(field.data_type()), "times (timestamps, numbers or ISO text)"),
            Role::Asset(_) => (is_number(field.data_type()), "prices (numbers)"),
            _ => (is_number(field.data_type()), "numbers"),
        };
        if !fits {
            return Err(DayError::WrongType {
                path: path.to_path_buf(),
                column: name.to_owned(),
                found: type_name(field.data_type()),
                wanted,
            });
        }
        if let Role::Asset(_) = role {
            plan.contents.assets.push(name.to_owned());
        }
        plan.columns.push((root, role));
    }
    check_needed(path, schema, &plan, assets)?;
    Ok(plan)
}

fn check_needed(path: &Path, schema: &Schema, plan: &Plan, assets: &AssetColumns) -> Result<(), DayError> {
    let found = || Columns(schema.fields().iter().map(|f| f.name().clone()).collect());
    if !plan.columns.iter().any(|&(_, role)| role == Role::Meta("vel_div")) {
        return Err(DayError::MissingColumn { path: path.to_path_buf(), column: "vel_div", found: found() });
    }
    if plan.contents.assets.is_empty() {
        let (path, wanted) = (path.to_path_buf(), assets.to_string());
        return Err(DayError::NoAssets { path, wanted, found: found() });
    }
    Ok(())
}

/// The columns that pandas says are its index (named ones too, which look like any other column).
fn index_columns(meta: &ParquetMetaData) -> Vec<String> {
    let pairs = meta.file_metadata().key_value_metadata();
    let pandas = pairs.into_iter().flatten().find(|kv| kv.key == "pandas").and_then(|kv| kv.value.as_deref());
    let parsed: Option<serde_json::Value> = pandas.and_then(|text| serde_json::from_str(text).ok());
    let columns = parsed.as_ref().and_then(|v| v["index_columns"].as_array());
    columns.into_iter().flatten().filter_map(|c| c.as_str().map(str::to_owned)).collect()
}

fn type_name(kind: &DataType) -> String {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 => "text".to_owned(),
        DataType::Boolean => "booleans".to_owned(),
        DataType::Timestamp(..) => "timestamps".to_owned(),
        DataType::Struct(_) => "structs".to_owned(),
        DataType::List(_) | DataType::LargeList(_) => "lists".to_owned(),
        other => format!("{other}"),
    }
}
