//! What `summary.json` says of a run (SPEC §11).

use alpha::OpenPosition;
use serde::Serialize;

use crate::days::{GateCount, Run};

/// `summary.json`.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Return on the initial capital.
    pub roi: f64,
    /// Σ wins ÷ |Σ losses|.
    pub profit_factor: Option<f64>,
    /// Annualised Sharpe ratio of the daily returns.
    pub sharpe: Option<f64>,
    /// Largest drawdown of the equity after each trade, as a fraction.
    pub max_drawdown: f64,
    /// Share of winning trades.
    pub win_rate: Option<f64>,
    /// Closed trades.
    pub trades: u64,
    /// Days replayed.
    pub days: usize,
    /// Bars stepped.
    pub bars: u64,
    /// Capital at the start.
    pub initial_capital: f64,
    /// Capital at the end.
    pub final_capital: f64,
    /// Hash of the parameters.
    pub param_hash: String,
    /// Position still open.
    pub open_position: Option<OpenPosition>,
    /// Wall time, s.
    pub elapsed_s: f64,
    /// Profile of the parameters.
    pub profile: String,
    /// −1 SHORT, +1 LONG, 0 both.
    pub direction: i8,
    /// Gate funnel.
    pub gates: Vec<GateCount>,
    /// What a reader should know.
    pub notes: Vec<String>,
}

impl Summary {
    /// The summary of a run.
    pub fn of(run: &Run) -> Self {
        let m = &run.metrics;
        Self {
            roi: m.roi,
            profit_factor: m.profit_factor,
            sharpe: m.sharpe,
            max_drawdown: m.max_drawdown,
            win_rate: m.win_rate,
            trades: m.trades,
            days: run.days.len(),
            bars: run.bars,
            initial_capital: run.params.initial_capital,
            final_capital: run.final_capital,
            param_hash: run.param_hash.clone(),
            open_position: run.open_position.clone(),
            elapsed_s: run.elapsed.as_secs_f64(),
            profile: run.params.profile.clone(),
            direction: run.direction,
            gates: run.gates.clone(),
            notes: run.notes.clone(),
        }
    }
}
