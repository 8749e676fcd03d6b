//! `NDAlphaEngine`: the engine by the source's names.

use std::collections::BTreeMap;

use alpha::{Action, Engine, Snapshot, TickInput, TradeRecord};
use market::{Date, Nanos, Posture};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::exceptions::PyRuntimeWarning;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::breaker;
use crate::config::choose;
use crate::convert::{self, from_py, to_py};
use crate::error::{data, usage};
use crate::forewarner::DolphinForewarner;
use crate::ob::ObView;
use crate::step::StepResult;

/// The engine: `begin_day`, then `step_bar` for each tick, then `end_day`. Deterministic: same inputs, same trades, bit for
/// bit. One caller at a time: a call while another is in progress is a RuntimeError.
#[pyclass(module = "dolphin_engine")]
#[derive(Debug)]
pub struct NDAlphaEngine {
    engine: Engine,
    direction: i8,
    assets: Py<PyTuple>,
    trades: Vec<TradeRecord>,
    mc_scale: f64,
    acb_rejects: u64,
    ob: Option<Py<PyAny>>,
    row: Vec<f64>,
}

impl NDAlphaEngine {
    fn around(py: Python<'_>, engine: Engine, direction: i8) -> PyResult<Self> {
        let assets = PyTuple::new(py, engine.assets())?.unbind();
        let row = vec![f64::NAN; engine.assets().len()];
        let none = Vec::new();
        Ok(Self { engine, direction, assets, trades: none, mc_scale: 1.0, acb_rejects: 0, ob: None, row })
    }

    /// Prices that are no contiguous row of floats: by name, or by column.
    fn take_row(&mut self, prices: &Bound<'_, PyAny>) -> PyResult<()> {
        if let Ok(named) = prices.cast::<PyDict>() {
            for (price, asset) in self.row.iter_mut().zip(self.engine.assets()) {
                let given = named.get_item(asset)?.filter(|p| !p.is_none());
                *price = given.map_or(Ok(f64::NAN), |p| p.extract())?;
            }
            return Ok(());
        }
        let row: Vec<f64> = prices
            .extract()
            .map_err(|_| usage("prices: a float64 row of NumPy, a sequence of floats, or {symbol: price}"))?;
        self.check_width(row.len())?;
        self.row.copy_from_slice(&row);
        Ok(())
    }

    fn check_width(&self, found: usize) -> PyResult<()> {
        let wanted = self.engine.assets().len();
        if found == wanted {
            return Ok(());
        }
        Err(usage(format!("{found} prices for {wanted} assets: one for each, in their order")))
    }

    /// The features of a step: those given, else the provider's.
    fn features<'py>(
        &self,
        py: Python<'py>,
        given: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, ObView>>> {
        let found = match (given.filter(|g| !g.is_none()), &self.ob) {
            (Some(given), _) => given.clone(),
            (None, Some(provider)) => provider.bind(py).call_method1("view", (self.assets.bind(py),))?,
            (None, None) => return Ok(None),
        };
        if found.is_none() {
            return Ok(None);
        }
        let view = match found.cast_into::<ObView>() {
            Ok(view) => view,
            Err(other) => {
                let records = from_py(&other.into_inner())?;
                Bound::new(py, ObView::of(&records, self.engine.assets(), None)?)?
            }
        };
        if view.get().width() != self.engine.assets().len() {
            return Err(usage("the ObView was made for other assets"));
        }
        Ok(Some(view))
    }
}

#[pymethods]
impl NDAlphaEngine {
    /// `params`: None (the champion), a dictionary, a preset's name or a configuration file; further keywords set single
    /// parameters. `assets`: symbols, in column order. `stride`: ticks a bar.
    #[new]
    #[pyo3(signature = (params=None, assets=None, stride=1, **overrides))]
    fn new(
        py: Python<'_>,
        params: Option<&Bound<'_, PyAny>>,
        assets: Option<Vec<String>>,
        stride: u32,
        overrides: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let chosen = choose(params, overrides)?;
        let assets = assets.ok_or_else(|| usage("assets: the symbols, in column order"))?;
        let mut engine = Engine::new(chosen.params, assets, stride).map_err(usage)?;
        if let Some(dir) = engine.params().mc_models_dir.clone() {
            match replay::days::forewarner(dir.as_ref()) {
                Ok(model) => engine.set_forewarner(Some(model)),
                Err(why) => warn(py, &format!("forewarner DISABLED: {why}"))?,
            }
        }
        Self::around(py, engine, chosen.direction)
    }

    /// Begins a day. `posture` with `Rm` in [0, 1]; `direction` -1 SHORT, +1 LONG, 0 both (default: the configuration's).
    #[pyo3(signature = (date, posture="APEX", Rm=1.0, direction=None))]
    #[allow(non_snake_case, reason = "the source's name")]
    fn begin_day<'py>(
        &mut self,
        py: Python<'py>,
        date: &Bound<'py, PyAny>,
        posture: &str,
        Rm: f64,
        direction: Option<i8>,
    ) -> PyResult<Bound<'py, PyDict>> {
        let posture: Posture = posture.parse().map_err(|e: String| usage(e))?;
        let direction = direction.unwrap_or(self.direction);
        let start = self.engine.begin_day(convert::date(date)?, posture, Rm, direction).map_err(usage)?;
        self.mc_scale = start.mc_scale;
        if let Some(warning) = &start.warning {
            warn(py, &format!("forewarner: {warning}"))?;
        }
        let dict = PyDict::new(py);
        dict.set_item("mc_scale", start.mc_scale)?;
        dict.set_item("mc_status", start.mc_status.name())?;
        Ok(dict)
    }

    /// One tick. `prices`: a float64 row of NumPy in the order of the assets (NaN: none now), a sequence, or {symbol: price}.
    /// `vol_regime_ok`: the caller's own volatility gate, None: the engine's. `ob`: an ObView, a dictionary, or None: the
    /// provider's. In HIBERNATE, and without an open day, it returns at once and nothing is stepped.
    #[pyo3(signature = (bar_idx, vel_div, prices, vol_regime_ok=None, v50_vel=f64::NAN, v750_vel=f64::NAN, ob=None, instability_50=f64::NAN))]
    fn step_bar(
        &mut self,
        py: Python<'_>,
        bar_idx: u32,
        vel_div: f64,
        prices: &Bound<'_, PyAny>,
        vol_regime_ok: Option<bool>,
        v50_vel: f64,
        v750_vel: f64,
        ob: Option<&Bound<'_, PyAny>>,
        instability_50: f64,
    ) -> PyResult<StepResult> {
        let view = self.features(py, ob)?;
        let input = TickInput {
            vel_div,
            vol_regime_ok,
            v50_velocity: v50_vel,
            v750_velocity: v750_vel,
            instability_50,
            ob: view.as_ref().map(|v| v.get().view()),
            ..TickInput::quiet(bar_idx, Nanos(0), &[])
        };
        let array = prices.cast::<PyArray1<f64>>().ok().and_then(|a| a.try_readonly().ok());
        let report = match array.as_ref().and_then(|a| a.as_slice().ok()) {
            Some(row) => {
                self.check_width(row.len())?;
                self.engine.step_bar(&TickInput { prices: row, ..input })
            }
            None => {
                self.take_row(prices)?;
                let row = std::mem::take(&mut self.row);
                let report = self.engine.step_bar(&TickInput { prices: &row, ..input });
                self.row = row;
                report
            }
        };
        if matches!(report.action, Action::Exited(_)) {
            self.trades.extend(self.engine.drain_trades());
        }
        Ok(StepResult { report, assets: self.assets.clone_ref(py), capital: self.engine.capital() })
    }

    /// Ends the open day: its result; None if there is none.
    fn end_day<'py>(&mut self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.engine.end_day())
    }

    /// A pushed ACB override, from the next tick on until the next push: boost in [0.5, 2], beta in [0, 2]. A bad one is
    /// counted, warned of, and changes nothing: False.
    fn update_acb_boost(&mut self, py: Python<'_>, boost: f64, beta: f64) -> PyResult<bool> {
        match self.engine.update_acb_boost(boost, beta) {
            Ok(()) => Ok(true),
            Err(reject) => {
                self.acb_rejects += 1;
                warn(py, &reject.to_string())?;
                Ok(false)
            }
        }
    }

    /// External risk factors by date: {"YYYY-MM-DD": n_signals}, or an object with such `factors`.
    fn set_acb(&mut self, acb: &Bound<'_, PyAny>) -> PyResult<()> {
        let factors = if acb.is_none() {
            self.engine.set_factors(&BTreeMap::new());
            return Ok(());
        } else if acb.hasattr("factors")? {
            acb.getattr("factors")?
        } else {
            acb.clone()
        };
        let dict = factors
            .cast::<PyDict>()
            .map_err(|_| usage("set_acb: {\"YYYY-MM-DD\": count of risk factors}"))?;
        let mut counts: BTreeMap<Date, u32> = BTreeMap::new();
        for (day, count) in dict {
            counts.insert(
                convert::date(&day)?,
                count.extract().map_err(|_| usage(format!("set_acb: {count} is no count")))?,
            );
        }
        self.engine.set_factors(&counts);
        Ok(())
    }

    /// The forewarner of the days to come: a DolphinForewarner, or None.
    fn set_mc_forewarner(&mut self, forewarner: Option<&Bound<'_, DolphinForewarner>>) {
        self.engine.set_forewarner(forewarner.and_then(|f| f.get().model.clone()));
    }

    /// Where order-book features come from: an object with `view(assets) -> ObView | None`, asked at each step that is given
    /// none; or None.
    fn set_ob_engine(&mut self, provider: Option<Py<PyAny>>) {
        self.ob = provider;
    }

    /// A safety push during the day: what tightens applies at once, what loosens at the next date change. Gives the posture
    /// in force.
    #[allow(non_snake_case, reason = "the source's name")]
    fn push_safety(&mut self, posture: &str, Rm: f64) -> PyResult<String> {
        let posture: Posture = posture.parse().map_err(|e: String| usage(e))?;
        Ok(self.engine.push_safety(alpha::Safety { posture, rm: Rm }).posture.to_string())
    }

    /// Marks the open day's result `stale_state`: do not use.
    fn mark_stale(&mut self) {
        self.engine.mark_stale();
    }

    /// Limits of the engine's circuit breaker; what is not given is off.
    #[pyo3(signature = (max_daily_loss=None, max_consecutive_losses=None, max_reject_rate=None, min_orders=0))]
    fn set_breaker_limits(
        &mut self,
        max_daily_loss: Option<f64>,
        max_consecutive_losses: Option<u32>,
        max_reject_rate: Option<f64>,
        min_orders: u32,
    ) -> PyResult<()> {
        let limits = breaker::limits(max_daily_loss, max_consecutive_losses, max_reject_rate, min_orders)?;
        self.engine.breaker_mut().set_limits(limits);
        Ok(())
    }

    /// Trips the engine's circuit breaker by hand: no entry until it is reset, or the date changes.
    fn trip_breaker(&mut self) {
        self.engine.breaker_mut().trip();
    }

    /// Resets it.
    fn reset_breaker(&mut self) {
        self.engine.breaker_mut().reset();
    }

    /// Why it is tripped, and its counters.
    fn breaker_status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.engine.breaker().status())
    }

    /// What must not change during a step: (acb_boost, acb_beta pushed or None, posture, mc_gate_open).
    fn control_snapshot(&self) -> (f64, Option<f64>, String, bool) {
        let s = self.engine.control_snapshot();
        (s.acb_boost, s.acb_beta, s.posture.to_string(), s.mc_gate_open)
    }

    /// All state as JSON: a restored engine goes on bit for bit. Not the forewarner, the OB provider and the trade history.
    fn snapshot(&self) -> PyResult<String> {
        serde_json::to_string(&self.engine.snapshot()).map_err(data)
    }

    /// An engine as it was. `params` as for the constructor; they must be those of the snapshot.
    #[staticmethod]
    #[pyo3(signature = (snapshot, params=None, **overrides))]
    fn restore(
        py: Python<'_>,
        snapshot: &str,
        params: Option<&Bound<'_, PyAny>>,
        overrides: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Self> {
        let chosen = choose(params, overrides)?;
        let snapshot: Snapshot =
            serde_json::from_str(snapshot).map_err(|e| data(format!("the snapshot cannot be read: {e}")))?;
        let engine = Engine::restore(chosen.params, &snapshot).map_err(data)?;
        Self::around(py, engine, chosen.direction)
    }

    /// How many steps came to each gate.
    fn gate_counts(&self) -> BTreeMap<&'static str, u64> {
        alpha::Gate::ALL.iter().zip(self.engine.gate_counts()).map(|(gate, &n)| (gate.name(), n)).collect()
    }

    /// Capital, quote asset.
    #[getter]
    fn capital(&self) -> f64 {
        self.engine.capital()
    }

    /// Capital continuity: the capital of the last run.
    #[setter]
    fn set_capital(&mut self, capital: f64) -> PyResult<()> {
        if !(capital > 0.0 && capital.is_finite()) {
            return Err(usage(format!("a capital of {capital}: it must be above 0")));
        }
        self.engine.set_capital(capital);
        Ok(())
    }

    /// The open position as a dictionary, or None.
    #[getter]
    fn position<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.engine.position().map(|p| p.record(self.engine.assets())))
    }

    /// Closed trades as dictionaries, oldest first.
    #[getter]
    fn trade_history<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.trades)
    }

    /// The newest closed trade, or None.
    #[getter]
    fn last_trade<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, &self.trades.last())
    }

    /// The ACB's product at the last entry decision.
    #[getter]
    fn regime_size_mult(&self) -> f64 {
        self.engine.regime_size_mult()
    }

    /// The boost in force.
    #[getter]
    fn day_base_boost(&self) -> f64 {
        self.engine.acb().boost()
    }

    /// The beta in force.
    #[getter]
    fn day_beta(&self) -> f64 {
        self.engine.acb().beta()
    }

    /// The forewarner's scale of the day.
    #[getter]
    fn day_mc_scale(&self) -> f64 {
        self.mc_scale
    }

    /// Ticks stepped in the engine's life.
    #[getter]
    fn global_bar_idx(&self) -> u64 {
        self.engine.ticks()
    }

    /// The source's name of `day_base_boost`.
    #[getter]
    fn _day_base_boost(&self) -> f64 {
        self.engine.acb().boost()
    }

    /// The source's name of `day_beta`.
    #[getter]
    fn _day_beta(&self) -> f64 {
        self.engine.acb().beta()
    }

    /// The source's name of `day_mc_scale`.
    #[getter]
    fn _day_mc_scale(&self) -> f64 {
        self.mc_scale
    }

    /// The source's name of `global_bar_idx`.
    #[getter]
    fn _global_bar_idx(&self) -> u64 {
        self.engine.ticks()
    }

    /// ACB pushes refused.
    #[getter]
    fn acb_rejects(&self) -> u64 {
        self.acb_rejects
    }

    /// 60th percentile of the w750 history; None before ten days.
    #[getter]
    fn acb_threshold(&self) -> Option<f64> {
        self.engine.acb().threshold()
    }

    /// Posture in force.
    #[getter]
    fn posture(&self) -> String {
        self.engine.safety().posture.to_string()
    }

    /// Date of the open day, or None.
    #[getter]
    fn date(&self) -> Option<String> {
        self.engine.date().map(|d| d.to_string())
    }

    /// Symbols, in column order.
    #[getter]
    fn assets(&self, py: Python<'_>) -> Py<PyTuple> {
        self.assets.clone_ref(py)
    }

    /// Ticks a bar.
    #[getter]
    fn stride(&self) -> usize {
        self.engine.stride()
    }

    /// Hash of the parameters.
    #[getter]
    fn param_hash(&self) -> &str {
        self.engine.param_hash()
    }

    /// The parameters.
    #[getter]
    fn params<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        to_py(py, self.engine.params())
    }

    /// -1 SHORT, +1 LONG, 0 both: what a day begins with where it is not told.
    #[getter]
    fn direction(&self) -> i8 {
        self.direction
    }

    fn __repr__(&self) -> String {
        let e = &self.engine;
        format!(
            "NDAlphaEngine({}, {} assets, capital {:.2}, {} ticks)",
            e.params().profile,
            e.assets().len(),
            e.capital(),
            e.ticks()
        )
    }
}

/// A warning that Python's `warnings` shows or turns into an error.
fn warn(py: Python<'_>, text: &str) -> PyResult<()> {
    let message = std::ffi::CString::new(text.replace('\0', " ")).unwrap_or_default();
    PyErr::warn(py, &py.get_type::<PyRuntimeWarning>(), &message, 1)
}
