//! The parts of the daily flows (crate `flows`), for flows that transport memory's values themselves.

use std::collections::BTreeMap;
use std::path::PathBuf;

use alpha::Safety;
use archive::day::{AssetColumns, Wanted};
use flows::day::{self, DayData};
use flows::{Flow, state};
use market::Nanos;
use memory::schema::FromMemory;
use numpy::{IntoPyArray, PyArray1, PyArray2, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::{date, maybe_date, to_py};
use crate::error::{failure, usage};
use crate::interrupt::run as interruptible;
use crate::table::Table;

/// The bars of a day.
#[pyclass(frozen, module = "dolphin_engine")]
#[derive(Debug)]
pub struct DayBars {
    data: DayData,
}

#[pymethods]
impl DayBars {
    /// Date it is named for.
    #[getter]
    fn date(&self) -> String {
        self.data.day.date.to_string()
    }

    /// Symbols, in column order.
    #[getter]
    fn assets(&self) -> Vec<String> {
        self.data.day.assets.clone()
    }

    /// What was passed over, and why.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.data.notes.clone()
    }

    /// Prices, bars × assets; NaN: none.
    #[getter]
    fn prices<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f64>>> {
        let day = &self.data.day;
        day.prices.clone().into_pyarray(py).reshape([day.len(), day.assets.len()])
    }

    /// Event times, ns since 1970; 0 where there is none.
    #[getter]
    fn ts_ns<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let times = self.data.day.bars.iter().map(|b| b.ts.map_or(0, |t| t.0 as i64));
        times.collect::<Vec<_>>().into_pyarray(py)
    }

    /// Numbers of the scans; -1 where there is none.
    #[getter]
    fn scan_number<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        let numbers = self.data.day.bars.iter().map(|b| b.scan_number.unwrap_or(-1));
        numbers.collect::<Vec<_>>().into_pyarray(py)
    }

    /// A column of the scan: vel_div, v50, v150, v300, v750, instability_50, instability_150.
    fn column<'py>(&self, py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyArray1<f64>>> {
        let get: fn(&archive::day::Bar) -> f64 = match name {
            "vel_div" => |b| b.vel_div,
            "v50" | "v50_lambda_max_velocity" => |b| b.v50,
            "v150" | "v150_lambda_max_velocity" => |b| b.v150,
            "v300" | "v300_lambda_max_velocity" => |b| b.v300,
            "v750" | "v750_lambda_max_velocity" => |b| b.v750,
            "instability_50" => |b| b.instability_50,
            "instability_150" => |b| b.instability_150,
            other => return Err(usage(format!("no column `{other}` in a scan"))),
        };
        Ok(self.data.day.bars.iter().map(get).collect::<Vec<_>>().into_pyarray(py))
    }

    fn __len__(&self) -> usize {
        self.data.day.len()
    }
}

/// Task `load_day_scans`, `load_bar_data`: the one day `date` of the directory `data`. A day that is missing or broken is a
/// DataError.
#[pyfunction]
pub(crate) fn load_day(
    py: Python<'_>,
    config: PathBuf,
    data: PathBuf,
    #[pyo3(from_py_with = date)] date: market::Date,
) -> PyResult<DayBars> {
    let loaded = interruptible(py, move |_| {
        flows::load_config(&config).and_then(|config| day::load(&config, &data, date))
    })?;
    loaded.map(|data| DayBars { data }).map_err(|e| failure(&e))
}

/// The days of a directory (or the one day of a file): dates and assets in order of first appearance, and what was passed over.
#[pyfunction]
#[pyo3(signature = (data, reference="BTCUSDT", start=None, end=None))]
pub(crate) fn list_days<'py>(
    py: Python<'py>,
    data: PathBuf,
    reference: &str,
    start: Option<&Bound<'py, PyAny>>,
    end: Option<&Bound<'py, PyAny>>,
) -> PyResult<Bound<'py, PyDict>> {
    let wanted = Wanted {
        from: maybe_date(start)?,
        to: maybe_date(end)?,
        assets: AssetColumns::of_reference(reference),
    };
    let mut list = archive::day::list(&data, &wanted).map_err(crate::error::data)?;
    let assets = list.assets().map_err(crate::error::data)?;
    let dict = PyDict::new(py);
    dict.set_item("dates", list.days.iter().map(|d| d.date.to_string()).collect::<Vec<_>>())?;
    dict.set_item("assets", assets)?;
    dict.set_item("notes", list.notes)?;
    Ok(dict)
}

/// The one day `date` of the directory `data`, its assets those of the quote of `reference`.
#[pyfunction]
#[pyo3(signature = (data, date, reference="BTCUSDT"))]
pub(crate) fn read_day(
    py: Python<'_>,
    data: PathBuf,
    #[pyo3(from_py_with = date)] date: market::Date,
    reference: &str,
) -> PyResult<DayBars> {
    let reference = reference.to_owned();
    let loaded = interruptible(py, move |_| day::read(&reference, &data, date))?;
    loaded.map(|data| DayBars { data }).map_err(|e| failure(&e))
}

/// What a date begins with.
#[pyclass(frozen, module = "dolphin_engine")]
#[derive(Debug)]
pub struct Start {
    start: state::Start,
}

#[pymethods]
impl Start {
    /// Capital; None: the configuration's.
    #[getter]
    fn capital(&self) -> Option<f64> {
        self.start.capital
    }

    /// Where it came from.
    #[getter]
    fn origin(&self) -> &str {
        &self.start.origin
    }

    /// Does the engine itself go on (histories, position, fee draws), not the capital alone?
    #[getter]
    fn has_engine(&self) -> bool {
        self.start.snapshot.is_some()
    }

    /// The engine at the end of the date before as JSON, for `NDAlphaEngine.restore`; None: it begins anew.
    #[getter]
    fn snapshot(&self) -> PyResult<Option<String>> {
        self.start.snapshot.as_ref().map(|s| serde_json::to_string(s).map_err(crate::error::data)).transpose()
    }
}

/// Task `restore_capital`: from all entries of the deployment's state map.
#[pyfunction]
pub(crate) fn restore_capital(
    entries: BTreeMap<String, String>,
    flow: &str,
    #[pyo3(from_py_with = date)] date: market::Date,
) -> PyResult<Start> {
    let flow: Flow = flow.parse().map_err(|e: String| usage(e))?;
    state::choose(&entries, flow, date).map(|start| Start { start }).map_err(|e| failure(&e))
}

/// A date that was run.
#[pyclass(frozen, module = "dolphin_engine")]
#[derive(Debug)]
pub struct DayRun {
    run: day::DayRun,
    flow: Flow,
    deployment: memory::schema::Deployment,
}

#[pymethods]
impl DayRun {
    /// The day's result (SPEC 3.3).
    #[getter]
    fn result<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.run.result)
    }

    /// Trades closed on it, an Arrow table.
    #[getter]
    fn trades(&self) -> PyResult<Table> {
        Table::of(&replay::output::trade_columns(&self.run.trades))
    }

    /// Capital at its beginning, quote asset.
    #[getter]
    fn start_capital(&self) -> f64 {
        self.run.start_capital
    }

    /// What a reader should know.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.run.notes.clone()
    }

    /// What memory is told: (map, key, value). `entries`: all entries of the state map; `now`: seconds since 1970.
    fn writes(&self, entries: BTreeMap<String, String>, now: f64) -> PyResult<Vec<(String, String, String)>> {
        let at = Nanos((now.max(0.0) * 1e9) as u64);
        let writes =
            state::writes(&entries, self.deployment, self.flow, &self.run, at).map_err(|e| failure(&e))?;
        Ok(writes.into_iter().map(|w| (w.map, w.key, w.value)).collect())
    }

    /// Keys of the state map that are kept no longer.
    fn outdated(&self, entries: BTreeMap<String, String>) -> Vec<String> {
        state::outdated(&entries, self.flow)
    }

    /// Task `log_pnl`: its line in the log, in place of the line of the same date and flow.
    fn log_pnl(&self, path: PathBuf) -> PyResult<()> {
        flows::log::put(&path, self.flow, &self.run).map_err(|e| failure(&e))
    }
}

/// Tasks `run_engine_day`, `run`: the engine over a date. `safety`: the text of `DOLPHIN_SAFETY[latest]`, None: APEX,
/// unreadable: TURTLE.
#[pyfunction]
#[pyo3(signature = (config, day, start, flow="paper", safety=None))]
pub(crate) fn run_engine_day(
    py: Python<'_>,
    config: PathBuf,
    day: &Bound<'_, DayBars>,
    start: &Bound<'_, Start>,
    flow: &str,
    safety: Option<&str>,
) -> PyResult<DayRun> {
    let flow: Flow = flow.parse().map_err(|e: String| usage(e))?;
    let safety = match safety.map(memory::schema::Safety::from_memory) {
        Some(Ok(told)) => Safety { posture: told.posture, rm: told.rm },
        // There and unreadable: TURTLE (SPEC 4.2).
        Some(Err(_)) => Safety::of(0.5),
        None => Safety::FREE,
    };
    let (data, start) = (day.get().data.clone(), start.get().start.clone());
    let done = interruptible(py, move |_| {
        let config = flows::load_config(&config)?;
        let run = day::run(&config, &data, start.snapshot.as_ref(), start.capital, safety)?;
        Ok((run, config.memory.deployment.into()))
    })?;
    let (run, deployment) = done.map_err(|e| failure(&e))?;
    Ok(DayRun { run, flow, deployment })
}
