//! The circuit breaker alone; an engine has its own.

use alpha::{BreakerLimits, CircuitBreaker};
use pyo3::prelude::*;

use crate::convert::to_py;
use crate::error::usage;

/// Limits from keyword arguments.
pub(crate) fn limits(
    max_daily_loss: Option<f64>,
    max_consecutive_losses: Option<u32>,
    max_reject_rate: Option<f64>,
    min_orders: u32,
) -> PyResult<BreakerLimits> {
    if max_daily_loss.is_some_and(|x| !(x > 0.0 && x <= 1.0)) {
        return Err(usage("max_daily_loss is a fraction of the capital, above 0, at most 1"));
    }
    if max_reject_rate.is_some_and(|x| !(0.0..1.0).contains(&x)) {
        return Err(usage("max_reject_rate is a share, from 0 to below 1"));
    }
    if max_consecutive_losses == Some(0) {
        return Err(usage("max_consecutive_losses is 1 or more"));
    }
    Ok(BreakerLimits { max_daily_loss, max_consecutive_losses, max_reject_rate, min_orders })
}

/// Circuit breaker (SPEC 4.4): trips on a daily loss, losses in a row, a reject rate, or by hand; stops new positions, never
/// an exit. Without limits it never trips by itself.
#[pyclass(module = "dolphin_engine")]
#[derive(Debug)]
pub struct CircuitBreakerManager {
    breaker: CircuitBreaker,
}

#[pymethods]
impl CircuitBreakerManager {
    #[new]
    #[pyo3(signature = (max_daily_loss=None, max_consecutive_losses=None, max_reject_rate=None, min_orders=0))]
    fn new(
        max_daily_loss: Option<f64>,
        max_consecutive_losses: Option<u32>,
        max_reject_rate: Option<f64>,
        min_orders: u32,
    ) -> PyResult<Self> {
        let limits = limits(max_daily_loss, max_consecutive_losses, max_reject_rate, min_orders)?;
        Ok(Self { breaker: CircuitBreaker::new(limits) })
    }

    /// The date changed; `capital` is that of the day's start, quote asset.
    fn begin_day(&mut self, capital: f64) {
        self.breaker.begin_day(capital);
    }

    /// A position was closed with this profit, quote asset.
    fn on_trade(&mut self, pnl: f64) {
        self.breaker.on_trade(pnl);
    }

    /// The venue answered an order.
    fn on_order(&mut self, rejected: bool) {
        self.breaker.on_order(rejected);
    }

    /// Trips by hand.
    fn trip(&mut self) {
        self.breaker.trip();
    }

    /// Resets by hand; the counters begin anew.
    fn reset(&mut self) {
        self.breaker.reset();
    }

    /// Is it tripped?
    #[getter]
    fn is_tripped(&self) -> bool {
        self.breaker.is_tripped()
    }

    /// May a position be opened?
    #[getter]
    fn can_open(&self) -> bool {
        self.breaker.can_open()
    }

    /// Why, and the counters.
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.breaker.status())
    }
}
