//! What the operator may set: how orders are placed ([`RouterConfig`]) and what they may never exceed ([`RiskConfig`]).
//!
//! Units stand in the names. The defaults are meant for live trading on the test network with the champion's capital:
//! tight enough that a fault costs little, loose enough that the champion's own orders (25 000 × 0.20 × ≤ 6) pass.

use market::Nanos;
use serde::{Deserialize, Serialize};

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
    /// `recvWindow` of signed requests.
    pub recv_window_ms: u64,
    /// Largest error of our clock against the venue's. After `recv_window_ms` plus this a request that was lost on
    /// the way can no longer become an order.
    pub max_clock_error_ms: u64,
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
            max_clock_error_ms: 1_000,
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

/// Limits checked before every order. Each denial names its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskConfig {
    /// Largest value of one order.
    pub max_order_notional_usd: f64,
    /// Largest value of one position, working and unknown orders counted as filled.
    pub max_position_usd: f64,
    /// Largest value of all positions and working orders together.
    pub max_gross_usd: f64,
    /// Positions and entries at the same time (the engine holds one).
    pub max_open_positions: u32,
    /// Orders working in one instrument (the venue's own limit applies where it is lower).
    pub max_orders_per_symbol: u32,
    /// Farthest an entry's price may be from the mid.
    pub price_collar_bps: f64,
    /// Farthest the mid may be from the mark price (checked where a mark is known and fresh).
    pub mark_collar_bps: f64,
    /// A mark older than this is no mark.
    pub max_mark_age_ms: u64,
    /// Farthest the mid may have moved from the price the engine decided at.
    pub max_decision_drift_bps: f64,
    /// Oldest book an entry may be placed on.
    pub max_book_age_ms: u64,
    /// Oldest decision that may become an order.
    pub max_signal_age_ms: u64,
    /// Largest clock offset for new entries; a quarter of `recv_window_ms` by FAULTS §2 row 13.
    pub max_clock_offset_ms: u64,
    /// Orders in state Unknown with which a new entry is still allowed.
    pub max_unknown_orders: u32,
    /// An order Unknown for longer raises a page.
    pub max_unknown_age_ms: u64,
    /// The same order (instrument, side, price, quantity) again within this is a duplicate. Below `min_repeg_interval_ms`.
    pub duplicate_window_ms: u64,
    /// Entries within `repeat_window_ms` before the router stops itself (latched).
    pub max_repeated_entries: u32,
    /// Window of `max_repeated_entries`.
    pub repeat_window_ms: u64,
    /// Refusals by the venue within a minute before the router stops itself (latched).
    pub max_rejects_per_min: u32,
    /// No entry for this long after the venue found the margin insufficient.
    pub margin_cooldown_ms: u64,
    /// Loss of the day (realised, unrealised, fees) beyond which nothing is opened; 0 = off.
    pub max_day_loss_usd: f64,
    /// Fall from the day's highest equity beyond which nothing is opened, as a fraction; 0 = off.
    pub max_day_drawdown: f64,
    /// The venue's order limit per 10 s (`exchangeInfo.rateLimits`).
    pub venue_orders_per_10s: u32,
    /// The venue's order limit per minute.
    pub venue_orders_per_min: u32,
    /// The venue's request weight per minute.
    pub venue_weight_per_min: u32,
    /// Share of the venue's limits we use, at most a half.
    pub rate_share: f64,
    /// Share of our budget kept back from entries, for exits and cancels.
    pub rate_reserve: f64,
}

impl Default for RiskConfig {
    fn default() -> Self {
        Self {
            max_order_notional_usd: 31_000.0,
            max_position_usd: 31_000.0,
            max_gross_usd: 35_000.0,
            max_open_positions: 1,
            max_orders_per_symbol: 4,
            price_collar_bps: 50.0,
            mark_collar_bps: 100.0,
            max_mark_age_ms: 5_000,
            max_decision_drift_bps: 50.0,
            max_book_age_ms: 1_000,
            max_signal_age_ms: 1_000,
            max_clock_offset_ms: 1_250,
            max_unknown_orders: 0,
            max_unknown_age_ms: 5_000,
            duplicate_window_ms: 250,
            max_repeated_entries: 10,
            repeat_window_ms: 60_000,
            max_rejects_per_min: 20,
            margin_cooldown_ms: 60_000,
            max_day_loss_usd: 2_500.0,
            max_day_drawdown: 0.16,
            venue_orders_per_10s: 300,
            venue_orders_per_min: 1_200,
            venue_weight_per_min: 2_400,
            rate_share: 0.5,
            rate_reserve: 0.3,
        }
    }
}

/// A configuration that cannot be meant.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("router config: `{key}` is {value}, but {rule}; change it or remove the line to take the default")]
pub struct ConfigError {
    /// Which key.
    pub key: &'static str,
    /// What it says.
    pub value: f64,
    /// What it must obey.
    pub rule: &'static str,
}

/// How many orders a router keeps, working and remembered.
pub const MAX_ORDERS: usize = 128;
/// How many instruments may have a position or working orders at the same time.
pub const MAX_ACTIVE: usize = 32;

impl RouterConfig {
    /// Checks every value against its range and the values against each other.
    pub fn validate(&self) -> Result<(), ConfigError> {
        let r = &self.risk;
        let ok =
            |good: bool, key, value, rule| if good { Ok(()) } else { Err(ConfigError { key, value, rule }) };
        let unit = |x: f64| (0.0..=1.0).contains(&x);
        ok(
            unit(self.min_fill_probability),
            "min_fill_probability",
            self.min_fill_probability,
            "it lies in [0, 1]",
        )?;
        ok(self.ob_edge_bps >= 0.0, "ob_edge_bps", self.ob_edge_bps, "it is not negative")?;
        ok(
            (0.0..=1_000.0).contains(&self.kill_max_slippage_bps),
            "kill_max_slippage_bps",
            self.kill_max_slippage_bps,
            "it lies in [0, 1000]",
        )?;
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
            ok((1..=600_000).contains(&ms), key, ms as f64, "it lies in [1, 600000]")?;
        }
        ok(
            self.query_timeout_ms <= 3_000,
            "query_timeout_ms",
            self.query_timeout_ms as f64,
            "it is at most 3000, the pause between queries",
        )?;
        ok(
            r.duplicate_window_ms < self.min_repeg_interval_ms,
            "risk.duplicate_window_ms",
            r.duplicate_window_ms as f64,
            "it is below min_repeg_interval_ms (a re-peg is no duplicate)",
        )?;
        ok(
            self.dead_man_countdown_ms == 0 || self.dead_man_refresh_ms * 2 <= self.dead_man_countdown_ms,
            "dead_man_refresh_ms",
            self.dead_man_refresh_ms as f64,
            "it is at most half of dead_man_countdown_ms",
        )?;
        r.validate()
    }

    pub(crate) fn ns(ms: u64) -> u64 {
        ms.saturating_mul(Nanos::MS)
    }

    /// A request lost at `sent` cannot become an order after this.
    pub(crate) fn lost_after(&self, sent: Nanos) -> Nanos {
        sent.plus(Self::ns(self.recv_window_ms + self.max_clock_error_ms))
    }
}

impl RiskConfig {
    /// A single order above this is a mistake, whatever the file says.
    pub const HARD_MAX_ORDER_USD: f64 = 1_000_000.0;

    fn validate(&self) -> Result<(), ConfigError> {
        let positive = [
            ("risk.max_order_notional_usd", self.max_order_notional_usd),
            ("risk.max_position_usd", self.max_position_usd),
            ("risk.max_gross_usd", self.max_gross_usd),
            ("risk.price_collar_bps", self.price_collar_bps),
            ("risk.mark_collar_bps", self.mark_collar_bps),
            ("risk.max_decision_drift_bps", self.max_decision_drift_bps),
        ];
        for (key, value) in positive {
            if !(value > 0.0 && value.is_finite()) {
                return Err(ConfigError { key, value, rule: "it is a positive number" });
            }
        }
        if self.max_order_notional_usd > Self::HARD_MAX_ORDER_USD {
            let (key, value) = ("risk.max_order_notional_usd", self.max_order_notional_usd);
            return Err(ConfigError { key, value, rule: "no order may exceed 1,000,000 (hard ceiling)" });
        }
        for (key, value, most) in
            [("risk.rate_share", self.rate_share, 0.5), ("risk.rate_reserve", self.rate_reserve, 0.9)]
        {
            if !(value > 0.0 && value <= most) {
                return Err(ConfigError { key, value, rule: "it lies in (0, 0.5], the reserve in (0, 0.9]" });
            }
        }
        for (key, value) in [
            ("risk.max_day_loss_usd", self.max_day_loss_usd),
            ("risk.max_day_drawdown", self.max_day_drawdown),
        ] {
            if !(value >= 0.0 && value.is_finite()) {
                return Err(ConfigError { key, value, rule: "it is not negative (0 = off)" });
            }
        }
        for (key, value) in [
            ("risk.max_open_positions", self.max_open_positions),
            ("risk.max_repeated_entries", self.max_repeated_entries),
            ("risk.max_rejects_per_min", self.max_rejects_per_min),
        ] {
            if value == 0 || value as usize > MAX_ACTIVE {
                return Err(ConfigError { key, value: f64::from(value), rule: "it lies in [1, 32]" });
            }
        }
        Ok(())
    }
}
