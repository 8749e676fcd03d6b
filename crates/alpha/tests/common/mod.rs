//! Day files for tests: the columns the engine wants, nothing more.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::fs::File;
use std::path::Path;

use alpha::{DayResult, Engine, StepReport, TickInput, TradeRecord};
use arrow_array::cast::AsArray;
use arrow_array::types::Float64Type;
use market::{Date, Nanos, Posture};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;

/// One day of bars.
#[derive(Debug, Clone)]
pub struct Day {
    pub date: Date,
    pub assets: Vec<String>,
    /// Rows of prices in column order.
    pub prices: Vec<Vec<f64>>,
    pub vel_div: Vec<f64>,
    pub v50: Vec<f64>,
    pub v750: Vec<f64>,
    pub instability_50: Vec<f64>,
}

const META: [&str; 9] = [
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

/// Reads a day file.
pub fn read_day(path: &Path) -> Day {
    let date = path.file_stem().unwrap().to_str().unwrap().parse().unwrap();
    let builder = ParquetRecordBatchReaderBuilder::try_new(File::open(path).unwrap()).unwrap();
    let names: Vec<String> = builder.schema().fields().iter().map(|f| f.name().clone()).collect();
    let mut columns: Vec<Vec<f64>> = vec![Vec::new(); names.len()];
    for batch in builder.build().unwrap() {
        let batch = batch.unwrap();
        for (column, array) in columns.iter_mut().zip(batch.columns()) {
            if let Some(floats) = array.as_primitive_opt::<Float64Type>() {
                column.extend(floats.iter().map(|v| v.unwrap_or(f64::NAN)));
            }
        }
    }
    let named = |name: &str| columns[names.iter().position(|n| n == name).unwrap()].clone();
    let assets: Vec<usize> = (0..names.len()).filter(|&i| !META.contains(&names[i].as_str())).collect();
    let vel_div = named("vel_div");
    Day {
        date,
        prices: (0..vel_div.len()).map(|row| assets.iter().map(|&a| columns[a][row]).collect()).collect(),
        assets: assets.iter().map(|&a| names[a].clone()).collect(),
        v50: named("v50_lambda_max_velocity"),
        v750: named("v750_lambda_max_velocity"),
        instability_50: named("instability_50"),
        vel_div,
    }
}

/// All day files below a folder of the shared data, in date order; `None` where it is not there.
pub fn read_days(folder: &str) -> Option<Vec<Day>> {
    let folder = testkit::shared_data(folder)?;
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    Some(files.iter().map(|f| read_day(f)).collect())
}

impl Day {
    /// The input of a row.
    pub fn input(&self, row: usize) -> TickInput<'_> {
        TickInput {
            bar_idx: row as u32,
            ts_event: Nanos(0),
            vel_div: self.vel_div[row],
            prices: &self.prices[row],
            vol_regime_ok: None,
            v50_velocity: self.v50[row],
            v750_velocity: self.v750[row],
            instability_50: self.instability_50[row],
            ob: None,
            may_enter: true,
        }
    }
}

/// Replays days as the bar handler does.
pub fn replay(engine: &mut Engine, days: &[Day], direction: i8) -> (Vec<TradeRecord>, Vec<DayResult>) {
    let (mut trades, mut results) = (Vec::new(), Vec::new());
    for day in days {
        engine.begin_day(day.date, Posture::Apex, 1.0, direction).unwrap();
        for row in 0..day.prices.len() {
            let _: StepReport = engine.step_bar(&day.input(row));
        }
        trades.extend(engine.drain_trades());
        results.push(engine.end_day().unwrap());
    }
    (trades, results)
}
