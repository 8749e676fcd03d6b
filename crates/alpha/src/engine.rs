//! The engine: one step per tick, from prices and velocities to at most one position (SPEC §3.3, §3.4).
//!
//! The same decision code serves two bookings. [`Booking::Model`] books a decision at once at the tick's price with the
//! fee model of SPEC §3.9. [`Booking::Venue`] emits an intent and changes nothing until the router reports what became
//! of it. Everything that outlives a step is in `State`, which a snapshot carries whole.

pub(crate) mod rehearsal;
mod resume;
mod snapshot;
mod step;
mod venue;

use std::collections::BTreeMap;

use market::{Date, ExitReason, Posture};
use serde::{Deserialize, Serialize};

use crate::acb::{Acb, AcbReject};
use crate::breaker::CircuitBreaker;
use crate::forewarner::{Forewarner, McStatus, MorningState};
use crate::history::{PriceHistory, Ring};
use crate::params::{BoostMode, ParamError, Params};
use crate::position::{Position, Trade, TradeRecord};
use crate::report::{ControlSnapshot, DayResult, DayStart, Gate};
use crate::rng::RandomState;
use crate::selection::Selector;
use crate::survival::{Safety, SafetyWord, Survival};

pub use resume::{Prices, Resumed};
pub use snapshot::{Held, Image, Snapshot, SnapshotError};
pub use venue::{Booked, OutcomeError, Recent};

/// Assets that an engine may follow.
pub const MAX_ASSETS: usize = 4096;
/// Largest stride.
pub const MAX_STRIDE: u32 = 10_000;
/// Numbers that the histories may hold (1 GiB).
pub const MAX_HISTORY: usize = 1 << 27;
/// Trades that fit before the list of an undrained engine grows.
const TRADES_CAPACITY: usize = 4096;
/// Bars whose x proxy_b ranks against, and the fewest finite ones that make a rank.
const PROXY_BARS: usize = 500;
const PROXY_MIN: usize = 100;

/// Who books a decision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Booking {
    /// At once, at the tick's price, with model fees: replay.
    Model,
    /// The router, by its outcomes: live.
    Venue,
}

/// Why an engine cannot be made or a day not begun.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum EngineError {
    /// The parameters are refused.
    #[error(transparent)]
    Params(#[from] ParamError),
    /// No assets, too many, or one twice.
    #[error("bad list of assets: {0}")]
    Assets(String),
    /// Stride outside [1, 10000].
    #[error("stride {0} is not between 1 and {MAX_STRIDE}")]
    Stride(u32),
    /// The lookbacks at this stride and number of assets need more memory than allowed.
    #[error("histories of {0} numbers exceed the limit of {MAX_HISTORY}: shorten a lookback or the stride")]
    History(usize),
    /// A direction other than −1, 0, +1.
    #[error("direction {0} is not -1, 0 or +1")]
    Direction(i8),
    /// The day before is still open.
    #[error("{0} is still open: end it before the next day begins")]
    DayOpen(Date),
}

/// The engine. See the module's documentation.
#[derive(Debug, Clone)]
pub struct Engine {
    params: Params,
    param_hash: String,
    assets: Vec<String>,
    reference: Option<usize>,
    stride: usize,
    booking: Booking,
    /// An asset without order-book features is no candidate.
    needs_features: bool,
    forewarner: Option<Forewarner>,
    selector: Selector,
    state: State,
    /// Trades that may still be corrected. Not state: corrections are of this run's round trips.
    recent: Recent,
    gates: [u64; Gate::ALL.len()],
    /// The step that runs will be taken back.
    rehearsing: bool,
}

/// All that one step leaves to the next.
#[derive(Debug, Clone, PartialEq)]
struct State {
    prices: PriceHistory,
    rings: Rings,
    rng: RandomState,
    book: Ledger,
}

/// The histories of single numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rings {
    /// Prices of the reference symbol.
    reference: Ring,
    /// Its one-bar returns.
    returns: Ring,
    /// x of proxy_b; a single slot in the baseline.
    proxy: Ring,
}

impl Rings {
    fn new(size: &RingSizes) -> Self {
        Self {
            reference: Ring::new(size.reference),
            returns: Ring::new(size.returns),
            proxy: Ring::new(size.proxy),
        }
    }

    fn fit(&self, size: &RingSizes) -> bool {
        self.reference.fits(size.reference) && self.returns.fits(size.returns) && self.proxy.fits(size.proxy)
    }
}

/// How far back each ring must reach, in ticks.
struct RingSizes {
    reference: usize,
    returns: usize,
    proxy: usize,
}

impl RingSizes {
    fn of(params: &Params, stride: usize) -> Self {
        let bars = |n: u32| n as usize * stride;
        Self {
            reference: bars(params.dc_lookback_bars.max(1)),
            returns: bars(params.vol_window_bars - 1),
            proxy: if params.boost_mode == BoostMode::ProxyB { PROXY_BARS * stride } else { 0 },
        }
    }
}

/// Everything that is not a history of prices.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ledger {
    capital: f64,
    /// Ticks stepped in the engine's life.
    ticks: u64,
    acb: Acb,
    breaker: CircuitBreaker,
    survival: Survival,
    day: Option<Day>,
    yesterday: Yesterday,
    hold: Hold,
    trades: Vec<Trade>,
    /// Trades closed in the engine's life.
    trades_closed: u64,
    /// The ACB's product at the last entry decision.
    regime_size_mult: f64,
}

impl Ledger {
    /// The open day's result as it stands; `None` if no day is open.
    fn day_result(&self, param_hash: &str) -> Option<DayResult> {
        let day = self.day?;
        Some(DayResult {
            date: day.date,
            pnl: day.pnl,
            trades: day.trades,
            capital: self.capital,
            boost: self.acb.boost(),
            beta: self.acb.beta(),
            mc_scale: day.mc_scale,
            mc_status: day.mc_status,
            posture: self.survival.in_force().posture,
            bars: day.bars,
            stale_state: day.stale_state,
            param_hash: param_hash.to_owned(),
        })
    }
}

/// The day before.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Yesterday {
    trades: u32,
    pnl: f64,
}

/// The open day.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Day {
    #[serde(with = "crate::position::date_text")]
    date: Date,
    direction: i8,
    mc_scale: f64,
    mc_status: McStatus,
    bars: u32,
    /// Of the last tick.
    bar_idx: u32,
    trades: u32,
    pnl: f64,
    stale_state: bool,
}

/// The one position, or the way to or from it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
enum Hold {
    Flat,
    /// An entry works. The position is as decided; the router tells what it became.
    Entering {
        wanted: Position,
        /// Newest velocity divergence of a scan.
        vel_div: f64,
        /// Close whatever it brings.
        exit_after: Option<ExitReason>,
    },
    Open(Position),
    /// An exit works.
    Exiting(Position),
}

impl Engine {
    /// An engine that follows `assets` (in column order) at `stride` ticks a bar, booking by the model.
    pub fn new(params: Params, assets: Vec<String>, stride: u32) -> Result<Self, EngineError> {
        let param_hash = params.verify()?;
        check_assets(&assets)?;
        if !(1..=MAX_STRIDE).contains(&stride) {
            return Err(EngineError::Stride(stride));
        }
        let s = stride as usize;
        let rings = RingSizes::of(&params, s);
        let numbers = PriceHistory::size(assets.len(), s, params.lookback as usize)
            .saturating_add(rings.reference + rings.returns + rings.proxy);
        if numbers > MAX_HISTORY {
            return Err(EngineError::History(numbers));
        }
        let state = State {
            prices: PriceHistory::new(assets.len(), s, params.lookback as usize),
            rings: Rings::new(&rings),
            rng: RandomState::new(params.seed),
            book: Ledger {
                capital: params.initial_capital,
                ticks: 0,
                acb: Acb::new(),
                breaker: CircuitBreaker::default(),
                survival: Survival::default(),
                day: None,
                yesterday: Yesterday::default(),
                hold: Hold::Flat,
                trades: Vec::with_capacity(TRADES_CAPACITY),
                trades_closed: 0,
                regime_size_mult: 1.0,
            },
        };
        Ok(Self {
            reference: assets.iter().position(|a| *a == params.reference_symbol),
            selector: Selector::new(&assets, &params.excluded_assets),
            params,
            param_hash,
            assets,
            stride: s,
            booking: Booking::Model,
            needs_features: false,
            forewarner: None,
            state,
            recent: Recent::new(),
            gates: [0; Gate::ALL.len()],
            rehearsing: false,
        })
    }

    /// The same engine with another booking. One that a venue books for needs the features of what it enters (SPEC §3.7).
    #[must_use]
    pub const fn with_booking(mut self, booking: Booking) -> Self {
        self.booking = booking;
        self.needs_features = matches!(booking, Booking::Venue);
        self
    }

    /// The same engine, booking by the model on what a live one saw.
    #[must_use]
    pub const fn supposing(mut self) -> Self {
        self.booking = Booking::Model;
        self.needs_features = true;
        self
    }

    /// Begins a day: boost of the date, threshold, forewarner, breaker. `rm` outside [0, 1] is held within it, NaN is 0.
    /// `direction`: −1 SHORT, +1 LONG, 0 both.
    pub fn begin_day(
        &mut self,
        date: Date,
        posture: Posture,
        rm: f64,
        direction: i8,
    ) -> Result<DayStart, EngineError> {
        if !(-1..=1).contains(&direction) {
            return Err(EngineError::Direction(direction));
        }
        if let Some(open) = &self.state.book.day {
            return Err(EngineError::DayOpen(open.date));
        }
        let book = &mut self.state.book;
        book.survival.begin_day(Safety { posture, rm: Safety::of(rm).rm });
        book.acb.begin_day(date);
        book.breaker.begin_day(book.capital);
        let start = self.forewarn();
        self.state.book.day = Some(Day {
            date,
            direction,
            mc_scale: start.mc_scale,
            mc_status: start.mc_status,
            bars: 0,
            bar_idx: 0,
            trades: 0,
            pnl: 0.0,
            stale_state: false,
        });
        Ok(start)
    }

    fn forewarn(&self) -> DayStart {
        let (book, p) = (&self.state.book, &self.params);
        let disabled = |warning| DayStart { mc_scale: 1.0, mc_status: McStatus::Disabled, warning };
        let Some(model) = &self.forewarner else { return disabled(None) };
        let state = MorningState {
            capital: book.capital,
            max_leverage: p.max_leverage,
            fraction: p.fraction,
            max_hold_bars: f64::from(p.max_hold_bars),
            fixed_tp_pct: p.fixed_tp_pct,
            w750_mean: book.acb.w750_mean().unwrap_or(f64::NAN),
            w750_p60: book.acb.threshold().unwrap_or(f64::NAN),
            trades_yesterday: f64::from(book.yesterday.trades),
            pnl_yesterday: book.yesterday.pnl,
        };
        match model.evaluate(&state) {
            Ok((mc_scale, mc_status)) => DayStart { mc_scale, mc_status, warning: None },
            Err(error) => disabled(Some(error.to_string())),
        }
    }

    /// Ends the open day; `None` if there is none.
    pub fn end_day(&mut self) -> Option<DayResult> {
        let book = &mut self.state.book;
        let result = book.day_result(&self.param_hash)?;
        book.acb.end_day();
        book.yesterday = Yesterday { trades: result.trades, pnl: result.pnl };
        book.day = None;
        Some(result)
    }

    /// A pushed ACB override, from the next tick on until the next push. A bad one is counted and changes nothing.
    pub fn update_acb_boost(&mut self, boost: f64, beta: f64) -> Result<(), AcbReject> {
        self.state.book.acb.push(boost, beta)
    }

    /// Counts an ACB push that could not be parsed ([`crate::acb::AcbPush::parse`]).
    pub fn count_acb_reject(&mut self) {
        self.state.book.acb.count_reject();
    }

    /// External risk factors by date, for the boost of the days to come.
    pub fn set_factors(&mut self, factors: &BTreeMap<Date, u32>) {
        self.state.book.acb.set_factors(factors);
    }

    /// The forewarner of the days to come.
    pub fn set_forewarner(&mut self, model: Option<Forewarner>) {
        self.forewarner = model;
    }

    /// A safety push during the day: what tightens applies at once, what loosens at the next date change.
    pub fn push_safety(&mut self, told: Safety) -> Safety {
        self.hear_safety(SafetyWord::Says(told))
    }

    /// A word of memory about safety during the day: a push, or something that cannot be read, which holds TURTLE at least
    /// until something can be.
    pub fn hear_safety(&mut self, word: SafetyWord) -> Safety {
        self.state.book.survival.hear(known(word))
    }

    /// What memory says at the start: applies as it is, like at a date change.
    pub fn read_safety(&mut self, word: SafetyWord) {
        self.state.book.survival.begin(known(word));
    }

    /// The Rm that the program measures itself (SPEC §4.2): the stricter of it and what was told is in force.
    pub fn measure_rm(&mut self, rm: f64) {
        self.state.book.survival.measure(rm);
    }

    /// Capital continuity: the capital of the last run, from memory. Ignored unless finite.
    pub fn set_capital(&mut self, capital: f64) {
        if capital.is_finite() {
            self.state.book.capital = capital;
        }
    }

    /// Marks the open day's result `stale_state`.
    pub fn mark_stale(&mut self) {
        if let Some(day) = &mut self.state.book.day {
            day.stale_state = true;
        }
    }

    /// The trades of this run that may still be corrected.
    pub fn recent(&self) -> Recent {
        self.recent.clone()
    }

    /// Those of the run that it goes on with.
    pub fn set_recent(&mut self, recent: Recent) {
        self.recent = recent;
    }

    /// What must be equal before and after a step.
    pub fn control_snapshot(&self) -> ControlSnapshot {
        let book = &self.state.book;
        ControlSnapshot {
            acb_boost: book.acb.boost(),
            acb_beta: book.acb.pushed().map(|p| p.beta),
            posture: book.survival.in_force().posture,
            mc_gate_open: book.day.is_none_or(|d| d.mc_status != McStatus::Red),
        }
    }

    /// The parameters.
    pub const fn params(&self) -> &Params {
        &self.params
    }
    /// Their hash.
    pub fn param_hash(&self) -> &str {
        &self.param_hash
    }
    /// The assets, in column order.
    pub fn assets(&self) -> &[String] {
        &self.assets
    }
    /// Is the reference symbol among the assets? Without it the volatility and direction gates never open.
    pub const fn has_reference(&self) -> bool {
        self.reference.is_some()
    }
    /// Ticks a bar.
    pub const fn stride(&self) -> usize {
        self.stride
    }
    /// Capital, quote asset.
    pub const fn capital(&self) -> f64 {
        self.state.book.capital
    }
    /// Ticks stepped in the engine's life.
    pub const fn ticks(&self) -> u64 {
        self.state.book.ticks
    }
    /// The open day.
    pub fn date(&self) -> Option<Date> {
        self.state.book.day.map(|d| d.date)
    }
    /// Posture and Rm told last: what a date change brings if nothing newer is read.
    pub const fn told_safety(&self) -> Safety {
        self.state.book.survival.told()
    }
    /// Posture and Rm in force.
    pub fn safety(&self) -> Safety {
        self.state.book.survival.in_force()
    }
    /// The ACB.
    pub const fn acb(&self) -> &Acb {
        &self.state.book.acb
    }
    /// The circuit breaker.
    pub const fn breaker(&self) -> &CircuitBreaker {
        &self.state.book.breaker
    }
    /// The circuit breaker, to set limits, count orders, trip or reset it.
    pub const fn breaker_mut(&mut self) -> &mut CircuitBreaker {
        &mut self.state.book.breaker
    }
    /// The ACB's product at the last entry decision.
    pub const fn regime_size_mult(&self) -> f64 {
        self.state.book.regime_size_mult
    }
    /// How many steps of this run came to each gate, in the order of [`Gate::ALL`].
    pub const fn gate_counts(&self) -> &[u64; Gate::ALL.len()] {
        &self.gates
    }

    /// The position held, also while its exit works; none while an entry works.
    pub const fn position(&self) -> Option<&Position> {
        match &self.state.book.hold {
            Hold::Open(p) | Hold::Exiting(p) => Some(p),
            Hold::Flat | Hold::Entering { .. } => None,
        }
    }

    /// Closed trades since the last [`Self::drain_trades`].
    pub fn trades(&self) -> &[Trade] {
        &self.state.book.trades
    }

    /// Takes the oldest trade that nobody has taken.
    pub fn take_trade(&mut self) -> Option<Trade> {
        let trades = &mut self.state.book.trades;
        if trades.is_empty() { None } else { Some(trades.remove(0)) }
    }

    /// Trades closed in the engine's life, restarts included: the number of the newest.
    pub const fn trades_closed(&self) -> u64 {
        self.state.book.trades_closed
    }

    /// Hands the closed trades over. To be called at least once a day: they are kept until then.
    pub fn drain_trades(&mut self) -> impl Iterator<Item = TradeRecord> + '_ {
        let assets = &self.assets;
        self.state.book.trades.drain(..).map(|t| t.record(assets))
    }
}

fn check_assets(assets: &[String]) -> Result<(), EngineError> {
    if assets.is_empty() || assets.len() > MAX_ASSETS {
        let message = format!("{} given; 1 to {MAX_ASSETS} are possible", assets.len());
        return Err(EngineError::Assets(message));
    }
    let mut sorted: Vec<&String> = assets.iter().collect();
    sorted.sort_unstable();
    match sorted.windows(2).find(|w| w[0] == w[1]) {
        Some(twice) => Err(EngineError::Assets(format!("{} is there twice", twice[0]))),
        None => Ok(()),
    }
}

/// With an Rm that is a number within its bounds.
fn known(word: SafetyWord) -> SafetyWord {
    match word {
        SafetyWord::Says(s) => SafetyWord::Says(Safety { posture: s.posture, rm: Safety::of(s.rm).rm }),
        SafetyWord::Unreadable => word,
    }
}
