//! The result of a step: light, and read only where it is asked.

use alpha::{Action, StepReport};
use market::SymbolId;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// What a step came to.
#[pyclass(frozen, module = "dolphin_engine")]
#[derive(Debug)]
pub struct StepResult {
    pub(crate) report: StepReport,
    /// Names of the assets, shared with the engine.
    pub(crate) assets: Py<PyTuple>,
    pub(crate) capital: f64,
}

impl StepResult {
    fn name(&self, py: Python<'_>, symbol: Option<SymbolId>) -> PyResult<Option<String>> {
        symbol.map(|s| self.assets.bind(py).get_item(s.index())?.extract()).transpose()
    }
}

#[pymethods]
impl StepResult {
    /// Lifetime tick, 0-based.
    #[getter]
    fn tick(&self) -> u64 {
        self.report.tick
    }

    /// The gate that stopped the step, or what it did: `no_day`, `posture`, `volatility`, `forewarner`, `breaker`, `signal`,
    /// `direction`, `asset`, `entered`, `holding`, `exited`.
    #[getter]
    fn gate(&self) -> &'static str {
        self.report.gate.name()
    }

    /// `none`, `entered` or `exited`.
    #[getter]
    fn action(&self) -> &'static str {
        match self.report.action {
            Action::Entered(_) => "entered",
            Action::Exited(_) => "exited",
            Action::None | Action::Intent(_) => "none",
        }
    }

    /// Symbol entered, if one was.
    #[getter]
    fn symbol(&self, py: Python<'_>) -> PyResult<Option<String>> {
        match self.report.action {
            Action::Entered(symbol) => self.name(py, Some(symbol)),
            _ => Ok(None),
        }
    }

    /// Why the position was closed, if it was: `TP`, `STOP`, `MAX_HOLD`.
    #[getter]
    fn reason(&self) -> Option<&'static str> {
        match self.report.action {
            Action::Exited(reason) => Some(reason.name()),
            _ => None,
        }
    }

    /// Capital after the step, quote asset.
    #[getter]
    fn capital(&self) -> f64 {
        self.capital
    }

    /// Volatility of the reference symbol (population standard deviation of one-bar returns); NaN: not computed.
    #[getter]
    fn vol_std(&self) -> f64 {
        self.report.values.vol_std
    }

    /// +1 or -1 where the signal fired, else 0.
    #[getter]
    fn direction(&self) -> i8 {
        self.report.values.direction
    }

    /// The numbers behind the gates, by name.
    #[getter]
    fn values<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let v = &self.report.values;
        let dict = PyDict::new(py);
        dict.set_item("vel_div", v.vel_div)?;
        dict.set_item("vol_std", v.vol_std)?;
        dict.set_item("direction", v.direction)?;
        dict.set_item("dc_move_bps", v.dc_move_bps)?;
        dict.set_item("candidates", v.candidates)?;
        dict.set_item("passed", v.passed)?;
        dict.set_item("best", self.name(py, v.best)?)?;
        dict.set_item("best_score", v.best_score)?;
        dict.set_item("best_alignment", v.best_alignment)?;
        dict.set_item("change", v.change)?;
        Ok(dict)
    }

    fn __repr__(&self, py: Python<'_>) -> PyResult<String> {
        let what = match self.report.action {
            Action::Entered(symbol) => format!(" {}", self.name(py, Some(symbol))?.unwrap_or_default()),
            Action::Exited(reason) => format!(" {}", reason.name()),
            _ => String::new(),
        };
        Ok(format!("StepResult(tick {}: {}{what})", self.report.tick, self.report.gate.name()))
    }
}
