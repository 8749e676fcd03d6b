//! `replay` and `parity`: `dolphin replay` and `dolphin parity` with their options.

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;

use ::replay::ReplayError;
use ::replay::controls::{Controls, TimedPush};
use ::replay::days::{BarView, Observer, Progress, ReplayConfig, Run};
use ::replay::output::{Earlier, Staging, day_columns, trade_columns};
use ::replay::parity::{Expected, Parity, check_watched};
use ::replay::report::Provenance;
use ::replay::summary::Summary;
use archive::day::AssetColumns;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};
use serde_json::Value;

use crate::config::{choose, set_all};
use crate::convert::{from_py, maybe_date, to_py};
use crate::error::{self, data, usage};
use crate::interrupt::{Cancel, run as interruptible};
use crate::table::Table;

/// Ends a run when the caller has gone.
struct Watch<'a>(&'a Cancel);

impl Watch<'_> {
    fn go(&self) -> ControlFlow<()> {
        if self.0.is_set() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }
}

impl Observer for Watch<'_> {
    fn bar(&mut self, _: &BarView<'_>) -> ControlFlow<()> {
        self.go()
    }
    fn progress(&mut self, _: &Progress) -> ControlFlow<()> {
        self.go()
    }
}

/// What a replay gave.
#[pyclass(frozen, module = "dolphin_engine")]
#[derive(Debug)]
pub struct ReplayResult {
    run: Run,
    trades: Table,
    days: Table,
}

#[pymethods]
impl ReplayResult {
    /// Closed trades (SPEC 3.11), an Arrow table.
    #[getter]
    fn trades(&self) -> Table {
        self.trades.clone()
    }

    /// Days (SPEC 3.3), an Arrow table.
    #[getter]
    fn days(&self) -> Table {
        self.days.clone()
    }

    /// As `summary.json`: roi, profit_factor, sharpe, max_drawdown, win_rate, trades, …
    #[getter]
    fn summary<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &Summary::of(&self.run))
    }

    /// What a reader should know: gaps, files passed over, rejected pushes.
    #[getter]
    fn notes(&self) -> Vec<String> {
        self.run.notes.clone()
    }

    /// Assets followed, in column order.
    #[getter]
    fn assets(&self) -> Vec<String> {
        self.run.assets.clone()
    }

    /// Wall time of the replay, s.
    #[getter]
    fn elapsed_s(&self) -> f64 {
        self.run.elapsed.as_secs_f64()
    }

    /// Hash of the parameters.
    #[getter]
    fn param_hash(&self) -> &str {
        &self.run.param_hash
    }

    fn __repr__(&self) -> String {
        let m = &self.run.metrics;
        format!("ReplayResult({} days, {} trades, ROI {:+.4})", self.run.days.len(), m.trades, m.roi)
    }
}

/// What a comparison gave.
#[pyclass(frozen, module = "dolphin_engine")]
#[derive(Debug)]
pub struct ParityResult {
    parity: Parity,
}

#[pymethods]
impl ParityResult {
    /// Same?
    #[getter]
    fn equal(&self) -> bool {
        self.parity.equal
    }

    /// Everything as a dictionary.
    fn to_dict<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.parity)
    }

    /// The headline numbers side by side: name, expected, got, difference, equal.
    #[getter]
    fn lines<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.parity.lines)
    }

    /// The first divergence with its context, or None.
    #[getter]
    fn first_divergence<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.parity.first_divergence)
    }

    fn __bool__(&self) -> bool {
        self.parity.equal
    }

    /// As `dolphin parity` prints it.
    fn __str__(&self) -> String {
        self.parity.to_string()
    }

    fn __repr__(&self) -> String {
        format!("ParityResult(equal={})", if self.parity.equal { "True" } else { "False" })
    }
}

/// Day files to trades. `data`: a directory of days, or one day file. `config`: a configuration file, a preset's name, a
/// dictionary of parameters, or None: the champion. `start`, `end`: dates, inclusive. `postures`: {date: {"posture", "Rm"}},
/// `acb`: [{"date", "bar", "boost", "beta"}], `factors`: {date: count}, each also a file. `settings`: single parameters and
/// `direction`, as `--set`. `assets`: which columns. `threads`: 1 or more, changes no result. `out`: also write the files of
/// `dolphin replay --out`; those of an earlier run are refused unless `force`.
#[pyfunction]
#[pyo3(signature = (data, config=None, *, start=None, end=None, postures=None, acb=None, factors=None, settings=None, assets=None, threads=None, out=None, force=false))]
pub(crate) fn replay(
    py: Python<'_>,
    data: PathBuf,
    config: Option<&Bound<'_, PyAny>>,
    start: Option<&Bound<'_, PyAny>>,
    end: Option<&Bound<'_, PyAny>>,
    postures: Option<&Bound<'_, PyAny>>,
    acb: Option<&Bound<'_, PyAny>>,
    factors: Option<&Bound<'_, PyAny>>,
    settings: Option<&Bound<'_, PyDict>>,
    assets: Option<Vec<String>>,
    threads: Option<usize>,
    out: Option<PathBuf>,
    force: bool,
) -> PyResult<ReplayResult> {
    let setup = Setup { config, start, end, postures, acb, factors, settings, assets, threads };
    let origin = Provenance {
        live: Value::Null,
        config: config.map_or_else(|| "champion".to_owned(), ToString::to_string),
        data: data.display().to_string(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        made_at: py.import("time")?.call_method1("strftime", ("%Y-%m-%dT%H:%M:%SZ",))?.extract()?,
    };
    let mut replay = setup.replay_config(data)?;
    replay.report = out.is_some();
    let done = interruptible(py, move |cancel| -> Result<Run, ReplayError> {
        let staging = out.as_deref().map(|out| Staging::new(out, Earlier::forced(force))).transpose()?;
        let run = ::replay::days::run(&replay, &mut Watch(cancel))?;
        if cancel.is_set() {
            return Err(ReplayError::Interrupted);
        }
        if let Some(staging) = staging {
            staging.commit(&run, &origin)?;
        }
        Ok(run)
    })?;
    let run = done.map_err(|e| error::replay(&e))?;
    let trades = Table::of(&trade_columns(&run.trades))?;
    let days = Table::of(&day_columns(&run.days))?;
    Ok(ReplayResult { run, trades, days })
}

/// Is a replay what is expected? `expected`: trades (.parquet, .csv, .json, .jsonl), a summary (.json), or the word
/// `champion`. The other arguments are those of `replay`. Floats are equal within `rtol` of the larger; 0: to the bit.
#[pyfunction]
#[pyo3(signature = (data, expected, config=None, *, rtol=1e-9, start=None, end=None, postures=None, acb=None, factors=None, settings=None, assets=None, threads=None))]
pub(crate) fn parity(
    py: Python<'_>,
    data: PathBuf,
    expected: PathBuf,
    config: Option<&Bound<'_, PyAny>>,
    rtol: f64,
    start: Option<&Bound<'_, PyAny>>,
    end: Option<&Bound<'_, PyAny>>,
    postures: Option<&Bound<'_, PyAny>>,
    acb: Option<&Bound<'_, PyAny>>,
    factors: Option<&Bound<'_, PyAny>>,
    settings: Option<&Bound<'_, PyDict>>,
    assets: Option<Vec<String>>,
    threads: Option<usize>,
) -> PyResult<ParityResult> {
    if !(0.0..1.0).contains(&rtol) {
        return Err(usage(format!("rtol {rtol} is not in [0, 1)")));
    }
    let setup = Setup { config, start, end, postures, acb, factors, settings, assets, threads };
    let replay = setup.replay_config(data)?;
    let done = interruptible(py, move |cancel| {
        let expected = Expected::read(&expected)?;
        check_watched(&replay, &expected, rtol, &mut Watch(cancel))
    })?;
    done.map(|parity| ParityResult { parity }).map_err(|e| error::replay(&e))
}

struct Setup<'a, 'py> {
    config: Option<&'a Bound<'py, PyAny>>,
    start: Option<&'a Bound<'py, PyAny>>,
    end: Option<&'a Bound<'py, PyAny>>,
    postures: Option<&'a Bound<'py, PyAny>>,
    acb: Option<&'a Bound<'py, PyAny>>,
    factors: Option<&'a Bound<'py, PyAny>>,
    settings: Option<&'a Bound<'py, PyDict>>,
    assets: Option<Vec<String>>,
    threads: Option<usize>,
}

impl Setup<'_, '_> {
    fn replay_config(self, data: PathBuf) -> PyResult<ReplayConfig> {
        let mut chosen = choose(self.config, None)?;
        if let Some(settings) = self.settings {
            set_all(&mut chosen, settings)?;
        }
        chosen.params.verify().map_err(usage)?;
        let (from, to) = (maybe_date(self.start)?, maybe_date(self.end)?);
        if let (Some(from), Some(to)) = (from, to)
            && from > to
        {
            return Err(usage(format!("start {from} lies after end {to}: no day is in between")));
        }
        let named = self.assets.map(|names| AssetColumns::named(&names.join(","))).transpose();
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(ReplayConfig {
            params: chosen.params,
            direction: chosen.direction,
            data,
            from,
            to,
            stride: 1,
            assets: named.map_err(|e| usage(format!("assets: {e}")))?,
            controls: controls(self.postures, self.acb, self.factors)?,
            threads: self.threads.unwrap_or(cores).clamp(1, 1024),
            report: false,
        })
    }
}

/// A control as a file, or as what would stand in it.
enum Given {
    File(PathBuf),
    Value(Value),
}

fn given(object: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Given>> {
    let Some(object) = object.filter(|o| !o.is_none()) else { return Ok(None) };
    if object.is_instance_of::<PyString>() || object.hasattr("__fspath__")? {
        return object.extract().map(|path| Some(Given::File(path)));
    }
    from_py(object).map(|value| Some(Given::Value(value)))
}

fn controls(
    postures: Option<&Bound<'_, PyAny>>,
    acb: Option<&Bound<'_, PyAny>>,
    factors: Option<&Bound<'_, PyAny>>,
) -> PyResult<Controls> {
    let (postures, acb, factors) = (given(postures)?, given(acb)?, given(factors)?);
    let file = |given: &Option<Given>| match given {
        Some(Given::File(path)) => Some(path.clone()),
        _ => None,
    };
    let files = (file(&postures), file(&acb), file(&factors));
    let mut controls = Controls::read(files.0.as_deref(), files.1.as_deref(), files.2.as_deref())
        .map_err(|e| error::replay(&e))?;
    let day =
        |text: &str| text.parse().map_err(|_| usage(format!("`{text}` is not a date: write YYYY-MM-DD")));
    if let Some(Given::Value(value)) = postures {
        for (date, safety) in object(value, "postures")? {
            let safety = alpha::Safety::parse(safety.to_string().as_bytes());
            controls
                .postures
                .insert(day(&date)?, safety.map_err(|e| data(format!("postures: {date}: {e}")))?);
        }
    }
    if let Some(Given::Value(value)) = factors {
        for (date, count) in object(value, "factors")? {
            let count = count.as_u64().and_then(|n| u32::try_from(n).ok());
            controls
                .factors
                .insert(day(&date)?, count.ok_or_else(|| data(format!("factors: {date}: no count")))?);
        }
    }
    if let Some(Given::Value(value)) = acb {
        let Value::Array(pushes) = value else { return Err(data("acb: wanted a list of pushes")) };
        for push in pushes {
            let date = push["date"].as_str().ok_or_else(|| data(format!("acb: no date in {push}")))?;
            let bar = push["bar"].as_u64().and_then(|n| u32::try_from(n).ok());
            let bar = bar.ok_or_else(|| data(format!("acb: no bar number in {push}")))?;
            let number = |key: &str| push[key].as_f64().unwrap_or(f64::NAN);
            controls.pushes.push(TimedPush {
                at: (day(date)?, bar),
                boost: number("boost"),
                beta: number("beta"),
            });
        }
        controls.pushes.sort_by_key(|push| push.at);
    }
    Ok(controls)
}

fn object(value: Value, what: &str) -> PyResult<BTreeMap<String, Value>> {
    match value {
        Value::Object(map) => Ok(map.into_iter().collect()),
        _ => Err(data(format!("{what}: wanted a dictionary by date"))),
    }
}
