//! What passes between the signal and the router: intents one way, outcomes the other.
//!
//! The alpha engine says *what* position it wants; the router decides *how* and reports what really happened. The
//! engine holds at most one position (SPEC §3.4), so intents need no id here: the router numbers them.

use serde::{Deserialize, Serialize};

use crate::decimal::{Amount, Qty};
use crate::instrument::SymbolId;
use crate::time::{Nanos, VenueTime};

/// Why a position is closed (SPEC §3.10, and the two that only live trading knows).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ExitReason {
    /// Take profit.
    Tp,
    /// Stop loss.
    Stop,
    /// Held for `max_hold_bars`.
    MaxHold,
    /// HIBERNATE with `hibernate_action: flatten`, the kill switch, or the operator.
    Flatten,
    /// Closed by the venue or from outside: liquidation, ADL, settlement, by hand.
    External,
}

impl ExitReason {
    /// Its name in trade records.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tp => "TP",
            Self::Stop => "STOP",
            Self::MaxHold => "MAX_HOLD",
            Self::Flatten => "FLATTEN",
            Self::External => "EXTERNAL",
        }
    }
}

/// Open a position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EnterIntent {
    /// Instrument.
    pub symbol: SymbolId,
    /// +1 long, −1 short.
    pub direction: i8,
    /// Wanted value in the quote asset.
    pub notional: f64,
    /// Leverage that the engine used (≤ abs_max_eff).
    pub leverage: f64,
    /// Capital that it sized with, quote asset: limits that are not set absolutely are multiples of it.
    pub capital: f64,
    /// Price the engine decided at (mid of the book).
    pub decision_px: f64,
    /// Distance of the resting take-profit order from the entry price (`fixed_tp_pct`).
    pub tp_pct: f64,
    /// Fill probability of the side it would rest on; NaN where there are no features.
    pub fill_probability: f64,
    /// Event time of the tick that decided.
    pub ts_event: VenueTime,
}

/// Close the position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExitIntent {
    /// Instrument.
    pub symbol: SymbolId,
    /// Why.
    pub reason: ExitReason,
    /// Event time of the tick that decided.
    pub ts_event: Nanos,
}

/// Alpha → router.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Intent {
    /// Open.
    Enter(EnterIntent),
    /// While an entry works: does its signal still hold? (SPEC §8: cross only if it does.)
    EntrySignal {
        /// Instrument of the working entry.
        symbol: SymbolId,
        /// Still fires on the newest scan.
        holds: bool,
    },
    /// Close.
    Exit(ExitIntent),
}

/// Why an entry came to nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum AbandonReason {
    /// A pre-trade check refused it.
    RiskDenied,
    /// The maker order timed out and crossing was not worth it or the signal was gone.
    TimedOut,
    /// The venue refused it.
    Rejected,
    /// Trading was stopped (kill switch, posture, disconnect).
    Halted,
}

/// One round trip, from flat to flat, of one session: names it in outcomes and corrections.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct TripId(u64);

impl TripId {
    /// None: a model's trade, or one that recovery folded from the venue's fills.
    pub const NONE: Self = Self(0);

    /// The `number`th round trip (from 1) of session `run`, of whose number the lower half is enough to tell it from
    /// its neighbours.
    pub const fn new(run: u64, number: u32) -> Self {
        Self((run & 0xffff_ffff) << 32 | number as u64)
    }

    /// Is it [`Self::NONE`]?
    pub const fn is_none(self) -> bool {
        self.0 == 0
    }
}

/// An entry that got a position, whole or in part; nothing of it is working any more.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct EntryFilled {
    /// Instrument.
    pub symbol: SymbolId,
    /// +1 long, −1 short.
    pub direction: i8,
    /// The round trip it begins.
    pub trip: TripId,
    /// Price or commission of a part is an estimate: a [`Outcome::Corrected`] follows when the venue has told them.
    pub provisional: bool,
    /// Signed position it made.
    pub qty: Qty,
    /// Average price.
    pub avg_px: f64,
    /// Value at the average price, in the quote asset.
    pub notional: f64,
    /// Commission paid (negative = rebate).
    pub commission: Amount,
    /// Share of the quantity that we made, in [0, 1].
    pub maker_share: f64,
    /// Venue time of the last fill.
    pub ts_event: Nanos,
}

/// A position that is closed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct ExitFilled {
    /// Instrument.
    pub symbol: SymbolId,
    /// The round trip it ends.
    pub trip: TripId,
    /// Price or commission of a part is an estimate: a [`Outcome::Corrected`] follows when the venue has told them.
    pub provisional: bool,
    /// Why it was closed.
    pub reason: ExitReason,
    /// Average price.
    pub avg_px: f64,
    /// Value at the average price, in the quote asset.
    pub notional: f64,
    /// Commission of the exit (negative = rebate).
    pub commission: Amount,
    /// Share of the quantity that we made, in [0, 1].
    pub maker_share: f64,
    /// Venue time of the last fill.
    pub ts_event: Nanos,
}

/// One side of a round trip as the venue's own fills have it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Filled {
    /// Average price.
    pub avg_px: f64,
    /// Value at the average price, in the quote asset.
    pub notional: f64,
    /// Commission paid (negative = rebate).
    pub commission: Amount,
    /// Share of the quantity that we made, in [0, 1].
    pub maker_share: f64,
}

/// What was told of a round trip, put right. The values are what is true now, not differences: taking one twice changes
/// nothing the second time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Correction {
    /// Which round trip.
    pub trip: TripId,
    /// Instrument.
    pub symbol: SymbolId,
    /// +1 long, −1 short.
    pub direction: i8,
    /// The entry, where it differs from what was told last.
    pub entry: Option<Filled>,
    /// The exit, where it differs from what was told last; never before the exit itself was told.
    pub exit: Option<Filled>,
}

/// Router → alpha.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    /// The entry is done and there is a position.
    Entered(EntryFilled),
    /// The entry is done and there is none.
    Abandoned {
        /// Instrument.
        symbol: SymbolId,
        /// Why.
        reason: AbandonReason,
    },
    /// The position is closed.
    Exited(ExitFilled),
    /// A whole round trip that no intent explains, closed already: an entry that filled after it was reported as
    /// abandoned, a position from outside that was flattened. Its profit counts.
    Unplanned {
        /// How it began.
        entry: EntryFilled,
        /// How it ended.
        exit: ExitFilled,
    },
    /// What was told of a round trip before was an estimate, or has changed: this is what the venue's fills say.
    Corrected(Correction),
}
