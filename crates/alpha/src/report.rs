//! What goes into a step and what comes out of it, and out of a day.

use market::{CrossAsset, Date, ExitReason, Intent, Nanos, ObFeatures, Posture, SymbolId};
use serde::{Deserialize, Serialize};

use crate::forewarner::McStatus;
use crate::position::date_text;

/// One tick.
#[derive(Debug, Clone, Copy)]
pub struct TickInput<'a> {
    /// Ticks since the day began, 0-based.
    pub bar_idx: u32,
    /// Event time; goes into intents, decides nothing.
    pub ts_event: Nanos,
    /// v50 − v150; NaN: no new scan.
    pub vel_div: f64,
    /// Prices by asset, in column order; NaN (or ≤ 0): none now.
    pub prices: &'a [f64],
    /// The caller's own volatility gate, in place of §3.5.
    pub vol_regime_ok: Option<bool>,
    /// Velocity of the 50-bar window; recorded by callers, decides nothing in the champion.
    pub v50_velocity: f64,
    /// Velocity of the 750-bar window.
    pub v750_velocity: f64,
    /// Instability of the 50-bar window.
    pub instability_50: f64,
    /// Order-book features, where there are any.
    pub ob: Option<ObView<'a>>,
    /// False: no entry on this tick (exits and histories go on).
    pub may_enter: bool,
}

impl<'a> TickInput<'a> {
    /// A tick with nothing but prices: no scan, no features, entries allowed.
    pub const fn quiet(bar_idx: u32, ts_event: Nanos, prices: &'a [f64]) -> Self {
        Self {
            bar_idx,
            ts_event,
            vel_div: f64::NAN,
            prices,
            vol_regime_ok: None,
            v50_velocity: f64::NAN,
            v750_velocity: f64::NAN,
            instability_50: f64::NAN,
            ob: None,
            may_enter: true,
        }
    }
}

/// The newest order-book features.
#[derive(Debug, Clone, Copy)]
pub struct ObView<'a> {
    /// By asset, in column order; `None`: none, or older than `ob_stale_after`.
    pub features: &'a [Option<ObFeatures>],
    /// Of all symbols together.
    pub cross: CrossAsset,
}

/// What a step came to: the gate that stopped it, or what it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum Gate {
    /// No day is open: nothing was stepped.
    NoDay,
    /// HIBERNATE: nothing was stepped.
    Posture,
    /// The caller allowed no entry.
    Caller,
    /// Volatility regime (layer 2).
    Volatility,
    /// Forewarner RED.
    Forewarner,
    /// Circuit breaker tripped.
    Breaker,
    /// The velocity divergence does not fire (layer 1).
    Signal,
    /// The reference symbol does not confirm the direction (layer 1).
    Direction,
    /// No asset is selected (layers 4 and 5).
    Asset,
    /// A venue booking with nothing to spend.
    Capital,
    /// Entered, or the intent to was emitted.
    Entered,
    /// An entry works at the venue.
    EntryWorking,
    /// A position is held.
    Holding,
    /// An exit works at the venue.
    ExitWorking,
    /// Exited, or the intent to was emitted.
    Exited,
}

impl Gate {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 15] = [
        Self::NoDay,
        Self::Posture,
        Self::Caller,
        Self::Volatility,
        Self::Forewarner,
        Self::Breaker,
        Self::Signal,
        Self::Direction,
        Self::Asset,
        Self::Capital,
        Self::Entered,
        Self::EntryWorking,
        Self::Holding,
        Self::ExitWorking,
        Self::Exited,
    ];

    /// Its name in metrics and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoDay => "no_day",
            Self::Posture => "posture",
            Self::Caller => "caller",
            Self::Volatility => "volatility",
            Self::Forewarner => "forewarner",
            Self::Breaker => "breaker",
            Self::Signal => "signal",
            Self::Direction => "direction",
            Self::Asset => "asset",
            Self::Capital => "capital",
            Self::Entered => "entered",
            Self::EntryWorking => "entry_working",
            Self::Holding => "holding",
            Self::ExitWorking => "exit_working",
            Self::Exited => "exited",
        }
    }
}

/// What the engine did, or wants done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Action {
    /// Nothing.
    None,
    /// A model fill opened the position ([`crate::Engine::position`]).
    Entered(SymbolId),
    /// A model fill closed it; the trade is the newest of [`crate::Engine::trades`].
    Exited(ExitReason),
    /// For the router.
    Intent(Intent),
}

/// The numbers behind the gates; NaN, zero or `None` where the step did not come that far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GateValues {
    /// Velocity divergence as given.
    pub vel_div: f64,
    /// Volatility of the reference symbol.
    pub vol_std: f64,
    /// +1 or −1 where the signal fired, else 0.
    pub direction: i8,
    /// Move of the reference symbol in that direction, bps.
    pub dc_move_bps: f64,
    /// Assets that could be chosen.
    pub candidates: u16,
    /// Assets that passed the selection.
    pub passed: u16,
    /// The candidate with the largest score before the tests, and the winner after them.
    pub best: Option<SymbolId>,
    /// Its score.
    pub best_score: f64,
    /// Its alignment.
    pub best_alignment: f64,
    /// Return of the held position in its direction.
    pub change: f64,
}

impl GateValues {
    pub(crate) const NONE: Self = Self {
        vel_div: f64::NAN,
        vol_std: f64::NAN,
        direction: 0,
        dc_move_bps: f64::NAN,
        candidates: 0,
        passed: 0,
        best: None,
        best_score: f64::NAN,
        best_alignment: f64::NAN,
        change: f64::NAN,
    };
}

/// The result of a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StepReport {
    /// Lifetime tick, 0-based.
    pub tick: u64,
    /// What it came to.
    pub gate: Gate,
    /// What was done.
    pub action: Action,
    /// Why.
    pub values: GateValues,
}

/// How a day began.
#[derive(Debug, Clone, PartialEq)]
pub struct DayStart {
    /// The forewarner's scale.
    pub mc_scale: f64,
    /// Its status.
    pub mc_status: McStatus,
    /// Why it is DISABLED though there is a model: worth a warning.
    pub warning: Option<String>,
}

/// The result of a day (SPEC §3.3).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DayResult {
    /// Date.
    #[serde(with = "date_text")]
    pub date: Date,
    /// Σ pnl of the trades closed on it.
    pub pnl: f64,
    /// Trades closed on it.
    pub trades: u32,
    /// Capital at its end.
    pub capital: f64,
    /// Boost in force at its end (before proxy_b).
    pub boost: f64,
    /// Beta in force at its end.
    pub beta: f64,
    /// Forewarner's scale.
    pub mc_scale: f64,
    /// Forewarner's status.
    pub mc_status: McStatus,
    /// Posture at its end.
    pub posture: Posture,
    /// Ticks stepped.
    pub bars: u32,
    /// State changed during a step of it: do not use.
    pub stale_state: bool,
    /// Hash of the parameters.
    pub param_hash: String,
}

/// What must not change during a step (SPEC §3.13 ⑤ and ⑧). Beta as the engine derives it from each bar's v750 is not
/// part of it, only a pushed one.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ControlSnapshot {
    /// Boost in force.
    pub acb_boost: f64,
    /// Pushed beta.
    pub acb_beta: Option<f64>,
    /// Posture.
    pub posture: Posture,
    /// Is the forewarner's gate open?
    pub mc_gate_open: bool,
}
