//! `features` and `eigen`: recordings and prices to tables.

use std::ops::ControlFlow;
use std::path::PathBuf;

use alpha::eigen::Scanner;
use archive::day::AssetColumns;
use archive::table::Column;
use market::Nanos;
use numpy::PyReadonlyArray2;
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyDict;
use replay::eigen::EigenError;
use replay::features::{FeatureRows, FeaturesError, replay_features};
use replay::output::Earlier;

use crate::error::{DolphinError, data, usage};
use crate::interrupt::run as interruptible;
use crate::table::Table;

/// Rows of a batch.
const BATCH_ROWS: usize = 1 << 16;

/// Order-book features (SPEC 5) of recordings: one path or several, merged by receive time; sampled every `interval_ms` of
/// event time. Columns as of `dolphin features`.
#[pyfunction]
#[pyo3(signature = (recording, interval_ms=100))]
pub(crate) fn features(py: Python<'_>, recording: &Bound<'_, PyAny>, interval_ms: u64) -> PyResult<Table> {
    let files: Vec<PathBuf> = match recording.extract::<PathBuf>() {
        Ok(one) => vec![one],
        Err(_) => recording.extract().map_err(|_| usage("recording: a path, or a list of paths"))?,
    };
    interruptible(py, move |cancel| {
        let mut rows = FeatureRows::new();
        let (mut batches, mut failed) = (Vec::new(), None);
        replay_features(&files, Nanos::from_millis(interval_ms), |survey, sample| {
            rows.push(survey, sample);
            if rows.len() >= BATCH_ROWS {
                match rows.take() {
                    Ok(batch) => batches.push(batch),
                    Err(error) => failed = Some(error),
                }
            }
            if cancel.is_set() || failed.is_some() {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            }
        })
        .map_err(|e| match e {
            FeaturesError::Recording(_) => data(e),
            other => usage(other),
        })?;
        if cancel.is_set() {
            return Err(PyKeyboardInterrupt::new_err(()));
        }
        let arrow = |e: arrow_schema::ArrowError| DolphinError::new_err(e.to_string());
        if let Some(error) = failed {
            return Err(arrow(error));
        }
        batches.push(rows.take().map_err(arrow)?);
        Ok(Table::new(rows.schema(), batches))
    })?
}

/// Eigen scans (SPEC 6) of prices: a float64 array, a row a tick, a column an asset, NaN where there is none. Columns
/// `vel_div`, `v50_lambda_max_velocity`, …, `instability_150`, and `lambda_50` … `lambda_750`; NaN: not defined yet.
#[pyfunction]
#[pyo3(signature = (prices, stride=1))]
pub(crate) fn eigen(py: Python<'_>, prices: PyReadonlyArray2<'_, f64>, stride: usize) -> PyResult<Table> {
    let view = prices.as_array();
    let width = view.ncols();
    let rows: Vec<f64> = view.iter().copied().collect();
    drop(prices);
    let mut scanner = Scanner::new(width, stride).map_err(usage)?;
    let done = interruptible(py, move |cancel| {
        let mut columns: Vec<Vec<f64>> = vec![Vec::with_capacity(rows.len() / width.max(1)); COLUMNS.len()];
        for row in rows.chunks_exact(width.max(1)) {
            if cancel.is_set() {
                return None;
            }
            let scan = scanner.step(row);
            let values = [scan.vel_div]
                .into_iter()
                .chain(scan.velocity)
                .chain([scan.instability_50, scan.instability_150])
                .chain(scan.lambda);
            for (column, value) in columns.iter_mut().zip(values) {
                column.push(value);
            }
        }
        Some((columns, scanner.health()))
    })?;
    let (columns, health) = done.ok_or_else(|| PyKeyboardInterrupt::new_err(()))?;
    if !health.is_sound() {
        return Err(DolphinError::new_err(format!("{health}: please report this, with the prices")));
    }
    let columns: Vec<_> = COLUMNS.into_iter().zip(columns.into_iter().map(Column::Float)).collect();
    Table::of(&columns)
}

const COLUMNS: [&str; 11] = [
    "vel_div",
    "v50_lambda_max_velocity",
    "v150_lambda_max_velocity",
    "v300_lambda_max_velocity",
    "v750_lambda_max_velocity",
    "instability_50",
    "instability_150",
    "lambda_50",
    "lambda_150",
    "lambda_300",
    "lambda_750",
];

/// Day files with recomputed eigen columns, as `dolphin eigen`: from `data` to the directory `out`. Gives the files written,
/// the bars in them, and notes.
#[pyfunction]
#[pyo3(signature = (data, out, stride=1, assets=None))]
pub(crate) fn recompute<'py>(
    py: Python<'py>,
    data: PathBuf,
    out: PathBuf,
    stride: usize,
    assets: Option<Vec<String>>,
) -> PyResult<Bound<'py, PyDict>> {
    let assets = match assets {
        Some(names) => AssetColumns::named(&names.join(",")).map_err(|e| usage(format!("assets: {e}")))?,
        None => AssetColumns::default(),
    };
    let done =
        interruptible(py, move |_| replay::eigen::recompute(&data, &out, stride, assets, Earlier::Replaced))?;
    let done = done.map_err(|e| match e {
        EigenError::Day(_) | EigenError::Unsound { .. } => crate::error::data(e),
        other => usage(other),
    })?;
    let dict = PyDict::new(py);
    dict.set_item("files", done.files)?;
    dict.set_item("bars", done.bars)?;
    dict.set_item("notes", done.notes)?;
    Ok(dict)
}
