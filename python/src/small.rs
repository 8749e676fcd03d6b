//! Small things: the generator, ACB, postures, scans, metrics.

use alpha::acb;
use alpha::rng::RandomState as Mt;
use alpha::{AcbPush, Metrics, Safety};
use memory::schema::{self, FromMemory, Scan};
use numpy::{IntoPyArray, PyArray1};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::convert::to_py;
use crate::error::{data, usage};

/// NumPy's `RandomState(seed)`: the draws of the fee model.
#[pyclass(module = "dolphin_engine")]
#[derive(Debug)]
pub struct RandomState {
    generator: Mt,
}

#[pymethods]
impl RandomState {
    #[new]
    fn new(seed: u32) -> Self {
        Self { generator: Mt::new(seed) }
    }

    /// The next draws, in [0, 1): one, or an array of `size`.
    #[pyo3(signature = (size=None))]
    fn random_sample<'py>(&mut self, py: Python<'py>, size: Option<usize>) -> PyResult<Bound<'py, PyAny>> {
        match size {
            None => Ok(self.generator.random_sample().into_pyobject(py)?.into_any()),
            Some(n) => {
                let draws: Vec<f64> = (0..n).map(|_| self.generator.random_sample()).collect();
                let array: Bound<'py, PyArray1<f64>> = draws.into_pyarray(py);
                Ok(array.into_any())
            }
        }
    }
}

/// `clamp(1 + 0.5·ln(1 + n), 0.5, 2)`: the boost of a day with `n_signals` external risk factors.
#[pyfunction]
pub(crate) fn base_boost(n_signals: u32) -> f64 {
    acb::base_boost(n_signals)
}

/// `size·(1 − cut)`; `cut` is one of 0, 0.15, 0.45, 0.55, 0.75, 0.80.
#[pyfunction]
pub(crate) fn apply_cut_to_position_size(size: f64, cut: f64) -> PyResult<f64> {
    acb::apply_cut_to_position_size(size, cut).map_err(usage)
}

/// The posture that belongs to an Rm in [0, 1]; NaN hibernates.
#[pyfunction]
pub(crate) fn posture_of(rm: f64) -> String {
    Safety::of(rm).posture.to_string()
}

/// A scan (SPEC 2.2) as a dictionary; missing numbers are NaN, `timestamp` is seconds since 1970.
#[pyfunction]
pub(crate) fn parse_scan<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyDict>> {
    let scan = Scan::from_memory(text).map_err(data)?;
    let dict = PyDict::new(py);
    dict.set_item("scan_number", scan.scan_number)?;
    dict.set_item("timestamp", scan.timestamp.map(|t| t.0 as f64 / 1e9))?;
    dict.set_item("vel_div", scan.vel_div)?;
    dict.set_item("v50_lambda_max_velocity", scan.v50_lambda_max_velocity)?;
    dict.set_item("v150_lambda_max_velocity", scan.v150_lambda_max_velocity)?;
    dict.set_item("v300_lambda_max_velocity", scan.v300_lambda_max_velocity)?;
    dict.set_item("v750_lambda_max_velocity", scan.v750_lambda_max_velocity)?;
    dict.set_item("instability_50", scan.instability_50)?;
    dict.set_item("instability_150", scan.instability_150)?;
    let prices = PyDict::new(py);
    for (symbol, price) in scan.asset_prices {
        prices.set_item(symbol, price)?;
    }
    dict.set_item("asset_prices", prices)?;
    Ok(dict)
}

/// A push of the ACB flow, `{"boost": f, "beta": f}`, as (boost, beta); one out of range is an error.
#[pyfunction]
pub(crate) fn parse_acb_push(text: &str) -> PyResult<(f64, f64)> {
    AcbPush::parse(text.as_bytes()).map(|push| (push.boost, push.beta)).map_err(data)
}

/// A safety value of memory, `{"posture": …, "Rm": …}`, as (posture, Rm); where they disagree the stricter posture.
#[pyfunction]
pub(crate) fn parse_safety(text: &str) -> PyResult<(String, f64)> {
    let safety = schema::Safety::from_memory(text).map_err(data)?;
    Ok((safety.posture.to_string(), safety.rm))
}

/// ROI, profit factor, Sharpe, max drawdown, win rate (SPEC 3.12); what is not defined is None. `trades`: (pnl,
/// capital_after) in order; `daily_capital`: the capital at the end of each day.
#[pyfunction]
pub(crate) fn metrics<'py>(
    py: Python<'py>,
    initial_capital: f64,
    trades: Vec<(f64, f64)>,
    daily_capital: Vec<f64>,
) -> PyResult<Bound<'py, PyAny>> {
    if !(initial_capital > 0.0 && initial_capital.is_finite()) {
        return Err(usage(format!("the initial capital is {initial_capital}; it must be above 0")));
    }
    to_py(py, &Metrics::new(initial_capital, trades, &daily_capital))
}

/// The map of memory that holds the features of a symbol: `DOLPHIN_FEATURES_SHARD_00` … `_09`.
#[pyfunction]
pub(crate) fn features_map(symbol: &str) -> String {
    schema::features_map(symbol)
}
