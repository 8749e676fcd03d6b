//! What the operator may set: how orders are placed ([`RouterConfig`]); what they may never exceed is [`RiskConfig`].
//!
//! Units stand in the names. The defaults are tight enough that a fault costs little, loose enough that the champion's
//! own orders (capital × 0.20 × ≤ 6) pass.

use market::Nanos;
use serde::{Deserialize, Serialize};

use crate::limits::{ConfigError, RiskConfig, ensure};

/// What to do with a position that no intent of this run explains.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UnexpectedPosition {
    /// Leave it, stop opening new ones, call a human.
    #[default]
    Stop,
    /// Keep it as ours, without a take-profit order; an exit intent closes it.
    Adopt,
    /// Close it with a reduce-only order.
    Flatten,
}

/// How intents become orders (SPEC §8, SmartPlacer and order state machine).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RouterConfig {
    /// Work orders as maker first. `false` (the engine's `use_alpha_layers: false`): cross at once, no resting
    /// take-profit order, exits by market order.
    pub smart_placer: bool,
    /// Rest only where the chance of a fill within 5 s is at least this.
    pub min_fill_probability: f64,
    /// Cross only where the spread is below this.
    pub ob_edge_bps: f64,
    /// How long an entry rests before it crosses or gives up. 5 s is the horizon of the fill probability (SPEC §5).
    pub maker_timeout_ms: u64,
    /// How long an exit rests before it becomes a market order.
    pub exit_maker_timeout_ms: u64,
    /// How often one entry or exit may move after the touch.
    pub max_repegs: u32,
    /// Shortest time between two such moves: bounds the message rate.
    pub min_repeg_interval_ms: u64,
    /// How often a take-profit order may be placed in one position before the router leaves it to the exit intent.
    pub max_tp_orders: u32,
    /// No report this long after sending: the order is Unknown and is asked for.
    pub ack_timeout_ms: u64,
    /// No answer to a cancel this long: it is sent again, three times at most, then the order is asked for.
    pub cancel_timeout_ms: u64,
    /// The gateway gives up a query after this; no answer comes later.
    pub query_timeout_ms: u64,
    /// A working order without any report for this long is asked for.
    pub verify_interval_ms: u64,
    /// `recvWindow` of signed requests; an order's own is shorter where less of the lease is left.
    pub recv_window_ms: u64,
    /// An order that the lease leaves less than this to arrive is not sent.
    pub min_recv_window_ms: u64,
    /// Largest error of our clock against the venue's. After its `recvWindow` plus this a request that was lost on
    /// the way can no longer become an order.
    pub max_clock_error_ms: u64,
    /// Longest time to hold a position, by our own clock: no lost or stopped tick makes it longer. 0 = the engine alone
    /// decides.
    pub max_hold_ms: u64,
    /// How long an outcome waits for the price of a fill of which only the quantity is known.
    pub fill_detail_wait_ms: u64,
    /// First pause after a refused exit order; doubles up to 16 times this.
    pub exit_retry_ms: u64,
    /// Countdown of the dead-man switch (`countdownCancelAll`); 0 = off.
    pub dead_man_countdown_ms: u64,
    /// How often the countdown is started afresh.
    pub dead_man_refresh_ms: u64,
    /// How often to compare with the venue while all is well: finds what lost reports have hidden.
    pub reconcile_interval_ms: u64,
    /// How soon to compare with the venue again after a difference.
    pub reconcile_retry_ms: u64,
    /// What to do with a position nobody here opened.
    pub unexpected_position: UnexpectedPosition,
    /// Orders or fills that are not ours stop new entries (a second program on the account).
    pub stop_on_foreign_orders: bool,
    /// Does the kill switch also close positions?
    pub kill_flattens: bool,
    /// How far through the touch the kill switch may go when it closes.
    pub kill_max_slippage_bps: f64,
    /// Limits.
    pub risk: RiskConfig,
}

impl Default for RouterConfig {
    fn default() -> Self {
        Self {
            smart_placer: true,
            min_fill_probability: 0.6,
            ob_edge_bps: 5.0,
            maker_timeout_ms: 5_000,
            exit_maker_timeout_ms: 5_000,
            max_repegs: 8,
            min_repeg_interval_ms: 500,
            max_tp_orders: 20,
            ack_timeout_ms: 1_000,
            cancel_timeout_ms: 1_000,
            query_timeout_ms: 2_000,
            verify_interval_ms: 10_000,
            recv_window_ms: 5_000,
            min_recv_window_ms: 250,
            max_clock_error_ms: 1_000,
            max_hold_ms: 0,
            fill_detail_wait_ms: 500,
            exit_retry_ms: 250,
            dead_man_countdown_ms: 30_000,
            dead_man_refresh_ms: 10_000,
            reconcile_interval_ms: 30_000,
            reconcile_retry_ms: 1_000,
            unexpected_position: UnexpectedPosition::Stop,
            stop_on_foreign_orders: true,
            kill_flattens: false,
            kill_max_slippage_bps: 50.0,
            risk: RiskConfig::default(),
        }
    }
}

/// How many orders a router keeps at work, done ones not counted.
pub const MAX_ORDERS: usize = 128;
/// A request that the venue refused for its timestamp goes out once more within this, under the same id.
const RESEND_MS: u64 = 1_000;
/// How many instruments may have a position or working orders at the same time.
pub const MAX_ACTIVE: usize = 32;

impl RouterConfig {
    /// Checks every value against its range and the values against each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let r = &self.risk;
        let p = self.min_fill_probability;
        ensure((0.0..=1.0).contains(&p), "min_fill_probability", p, "it lies in [0, 1]")?;
        ensure(self.ob_edge_bps >= 0.0, "ob_edge_bps", self.ob_edge_bps, "it is not negative")?;
        let slippage = self.kill_max_slippage_bps;
        let good = (0.0..=1_000.0).contains(&slippage);
        ensure(good, "kill_max_slippage_bps", slippage, "it lies in [0, 1000]")?;
        self.times()?;
        ensure(
            r.duplicate_window_ms < self.min_repeg_interval_ms,
            "risk.duplicate_window_ms",
            r.duplicate_window_ms as f64,
            "it is below min_repeg_interval_ms (a re-peg is no duplicate)",
        )?;
        ensure(
            self.dead_man_countdown_ms == 0 || self.dead_man_refresh_ms * 2 <= self.dead_man_countdown_ms,
            "dead_man_refresh_ms",
            self.dead_man_refresh_ms as f64,
            "it is at most half of dead_man_countdown_ms",
        )?;
        let age = r.max_dead_man_age_ms;
        let between = age > self.dead_man_refresh_ms && age < self.dead_man_countdown_ms;
        ensure(
            self.dead_man_countdown_ms == 0 || between,
            "risk.max_dead_man_age_ms",
            age as f64,
            "it lies between dead_man_refresh_ms and dead_man_countdown_ms",
        )?;
        r.validate()
    }

    fn times(&self) -> Result<(), ConfigError> {
        for (key, ms) in [
            ("ack_timeout_ms", self.ack_timeout_ms),
            ("cancel_timeout_ms", self.cancel_timeout_ms),
            ("query_timeout_ms", self.query_timeout_ms),
            ("verify_interval_ms", self.verify_interval_ms),
            ("min_repeg_interval_ms", self.min_repeg_interval_ms),
            ("exit_retry_ms", self.exit_retry_ms),
            ("reconcile_interval_ms", self.reconcile_interval_ms),
            ("reconcile_retry_ms", self.reconcile_retry_ms),
        ] {
            ensure((1..=600_000).contains(&ms), key, ms as f64, "it lies in [1, 600000]")?;
        }
        ensure(
            self.query_timeout_ms <= 3_000,
            "query_timeout_ms",
            self.query_timeout_ms as f64,
            "it is at most 3000, the pause between queries",
        )?;
        let window = self.recv_window_ms;
        let good = (self.min_recv_window_ms..=60_000).contains(&window) && self.min_recv_window_ms > 0;
        ensure(good, "recv_window_ms", window as f64, "it lies between min_recv_window_ms (> 0) and 60000")?;
        let hold = self.max_hold_ms;
        ensure(hold <= 7 * 86_400_000, "max_hold_ms", hold as f64, "it is at most 7 days (0 = off)")
    }

    pub(crate) fn ns(ms: u64) -> u64 {
        ms.saturating_mul(Nanos::MS)
    }

    /// A request with this `recvWindow` that was handed out at `sent` and lost cannot become an order after this.
    pub(crate) fn lost_after(&self, sent: Nanos, recv_window_ms: u32) -> Nanos {
        sent.plus(Self::ns(RESEND_MS + u64::from(recv_window_ms) + self.max_clock_error_ms))
    }
}
