//! Writes day files in the layout of the input files: the meta columns, then the assets in order; millisecond UTC
//! timestamps (nanoseconds where a time needs them), f64 with NaN for what is missing, snappy without dictionaries
//! (prices hardly repeat: a dictionary only costs time).

use std::path::Path;
use std::sync::Arc;

use arrow_array::{ArrayRef, Float64Array, Int64Array, TimestampMillisecondArray, TimestampNanosecondArray};
use market::Nanos;

use super::types::{Bar, Day, DayError, META_COLUMNS};
use crate::table::{encode_columns, write_whole};

/// Writes `day` to `path`, complete or not at all (a temporary file beside it, then a rename).
pub fn write(path: &Path, day: &Day) -> Result<(), DayError> {
    let bytes = encode(day).map_err(|detail| DayError::Corrupt { path: path.to_path_buf(), detail })?;
    write_whole(path, &bytes).map_err(DayError::io(path))
}

/// The bytes of a day file. An error means that two columns have the same name.
pub fn encode(day: &Day) -> Result<Vec<u8>, String> {
    let mut columns: Vec<(&str, ArrayRef)> = Vec::with_capacity(META_COLUMNS.len() + day.assets.len());
    if day.is_empty() || day.bars.iter().any(|b| b.ts.is_some()) {
        columns.push(("timestamp", timestamps(&day.bars)));
    }
    if day.is_empty() || day.bars.iter().any(|b| b.scan_number.is_some()) {
        let numbers: Int64Array = day.bars.iter().map(|b| b.scan_number).collect();
        columns.push(("scan_number", Arc::new(numbers)));
    }
    let floats: [fn(&Bar) -> f64; 7] = [
        |b| b.vel_div,
        |b| b.v50,
        |b| b.v150,
        |b| b.v300,
        |b| b.v750,
        |b| b.instability_50,
        |b| b.instability_150,
    ];
    for (name, value) in META_COLUMNS[2..].iter().zip(floats) {
        columns.push((name, Arc::new(day.bars.iter().map(value).map(Some).collect::<Float64Array>())));
    }
    let width = day.assets.len();
    for (i, asset) in day.assets.iter().enumerate() {
        let prices = day.prices.iter().skip(i).step_by(width.max(1)).copied();
        columns.push((asset, Arc::new(Float64Array::from_iter_values(prices))));
    }
    encode_columns(columns)
}

fn timestamps(bars: &[Bar]) -> ArrayRef {
    let times = || bars.iter().map(|b| b.ts);
    if times().flatten().all(|Nanos(ns)| ns % Nanos::MS == 0) {
        let ms = times().map(|t| t.map(|t| t.millis() as i64));
        Arc::new(ms.collect::<TimestampMillisecondArray>().with_timezone("UTC"))
    } else {
        let ns = times().map(|t| t.map(|t| t.0 as i64));
        Arc::new(ns.collect::<TimestampNanosecondArray>().with_timezone("UTC"))
    }
}
