//! What orders may never exceed. Units stand in the names; each limit has a hard ceiling here, whatever the file says.
//!
//! Limits of value follow the capital: `…_x_capital` is a multiple of the capital that the engine sized its intent with,
//! `…_of_equity` a fraction of the equity when the day began. `…_usd` sets one absolutely instead; 0 turns it off where
//! its text says so.

use serde::{Deserialize, Serialize};

/// Limits checked before every order. Each denial names its key.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RiskConfig {
    /// Largest value of one order; a larger one is cut to it.
    pub max_order_notional_usd: Option<f64>,
    /// The same as a multiple of the capital (the champion's largest is 0.20 × 6 = 1.2).
    pub max_order_notional_x_capital: f64,
    /// Largest value of one position, working and unknown orders counted as filled; an order beyond it is cut.
    pub max_position_usd: Option<f64>,
    /// The same as a multiple of the capital.
    pub max_position_x_capital: f64,
    /// Largest value of all positions and working orders together, those of instruments not followed included.
    pub max_gross_usd: Option<f64>,
    /// The same as a multiple of the capital.
    pub max_gross_x_capital: f64,
    /// Largest net value of all positions, every working order that makes it larger counted as filled.
    pub max_net_usd: Option<f64>,
    /// The same as a multiple of the capital.
    pub max_net_x_capital: f64,
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
    /// Farthest a fill may be from the price it was decided at, on the bad side: beyond it entries latch.
    pub max_slippage_bps: f64,
    /// Oldest book an entry may be placed on.
    pub max_book_age_ms: u64,
    /// Oldest decision that may become an order, on the venue's clock, the error of ours included.
    pub max_signal_age_ms: u64,
    /// Farthest a decision may lie ahead of our clock, beyond its error: such an event time is not believed.
    pub max_signal_ahead_ms: u64,
    /// Largest clock offset for new entries; a quarter of `recv_window_ms` by FAULTS §2 row 13.
    pub max_clock_offset_ms: u64,
    /// Largest error of the clock offset for new entries.
    pub max_clock_error_ms: u64,
    /// Orders in state Unknown with which a new entry is still allowed.
    pub max_unknown_orders: u32,
    /// An order Unknown for longer raises a page.
    pub max_unknown_age_ms: u64,
    /// The same order (instrument, side, price, quantity) again within this is a duplicate. Below `min_repeg_interval_ms`.
    pub duplicate_window_ms: u64,
    /// Entries sent within `repeat_window_ms` before the router stops itself (latched).
    pub max_repeated_entries: u32,
    /// Window of `max_repeated_entries`.
    pub repeat_window_ms: u64,
    /// Refusals by the venue within a minute before the router stops itself (latched).
    pub max_rejects_per_min: u32,
    /// No entry for this long after the venue found the margin insufficient.
    pub margin_cooldown_ms: u64,
    /// Loss of the day (realised, unrealised, fees, funding) beyond which nothing is opened; 0 = off.
    pub max_day_loss_usd: Option<f64>,
    /// The same as a fraction of the equity when the day began; 0 = off.
    pub max_day_loss_of_equity: f64,
    /// Fall from the day's highest equity beyond which nothing is opened, as a fraction; 0 = off.
    pub max_day_drawdown: f64,
    /// Loss of the day in one instrument beyond which nothing is opened in it; 0 = off.
    pub max_symbol_loss_usd: Option<f64>,
    /// The same as a fraction of the equity when the day began; 0 = off.
    pub max_symbol_loss_of_equity: f64,
    /// Value of all fills of a day; 0 = off.
    pub max_day_turnover_usd: Option<f64>,
    /// The same as a multiple of the capital; 0 = off.
    pub max_day_turnover_x_capital: f64,
    /// Commissions of a day; 0 = off.
    pub max_day_fees_usd: Option<f64>,
    /// The same as a fraction of the equity when the day began; 0 = off.
    pub max_day_fees_of_equity: f64,
    /// Orders and cancels of the day for each order that was filled, whole or in part; 0 = off.
    pub max_order_to_trade: f64,
    /// Messages of the day before `max_order_to_trade` counts.
    pub order_to_trade_after: u64,
    /// Margin that must be left free after an order, as a fraction of the equity; 0 = off.
    pub min_free_margin_of_equity: f64,
    /// Nearest that the liquidation price may be or come by an order, as a fraction of the price; 0 = off.
    pub min_liquidation_distance: f64,
    /// No entry in an instrument for this long before its funding time.
    pub funding_guard_before_ms: u64,
    /// And for this long after it.
    pub funding_guard_after_ms: u64,
    /// Oldest confirmation of the dead-man switch while orders rest; less than its countdown.
    pub max_dead_man_age_ms: u64,
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
            max_order_notional_usd: None,
            max_order_notional_x_capital: 1.3,
            max_position_usd: None,
            max_position_x_capital: 1.3,
            max_gross_usd: None,
            max_gross_x_capital: 1.5,
            max_net_usd: None,
            max_net_x_capital: 1.5,
            max_open_positions: 1,
            max_orders_per_symbol: 4,
            price_collar_bps: 50.0,
            mark_collar_bps: 100.0,
            max_mark_age_ms: 5_000,
            max_decision_drift_bps: 50.0,
            max_slippage_bps: 150.0,
            max_book_age_ms: 1_000,
            max_signal_age_ms: 1_000,
            max_signal_ahead_ms: 250,
            max_clock_offset_ms: 1_250,
            max_clock_error_ms: 500,
            max_unknown_orders: 0,
            max_unknown_age_ms: 5_000,
            duplicate_window_ms: 250,
            max_repeated_entries: 10,
            repeat_window_ms: 60_000,
            max_rejects_per_min: 20,
            margin_cooldown_ms: 60_000,
            max_day_loss_usd: None,
            max_day_loss_of_equity: 0.10,
            max_day_drawdown: 0.16,
            max_symbol_loss_usd: None,
            max_symbol_loss_of_equity: 0.05,
            max_day_turnover_usd: None,
            max_day_turnover_x_capital: 400.0,
            max_day_fees_usd: None,
            max_day_fees_of_equity: 0.10,
            max_order_to_trade: 100.0,
            order_to_trade_after: 500,
            min_free_margin_of_equity: 0.05,
            min_liquidation_distance: 0.05,
            funding_guard_before_ms: 15_000,
            funding_guard_after_ms: 5_000,
            max_dead_man_age_ms: 15_000,
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
    /// The range it must keep to.
    pub rule: &'static str,
}

/// `Ok` if `good`.
pub(crate) fn ensure(
    good: bool,
    key: &'static str,
    value: f64,
    rule: &'static str,
) -> Result<(), ConfigError> {
    if good { Ok(()) } else { Err(ConfigError { key, value, rule }) }
}

impl RiskConfig {
    /// A single order above this is a mistake, whatever the file says.
    pub const HARD_MAX_ORDER_USD: f64 = 1_000_000.0;
    /// So is any sum of positions above this,
    pub const HARD_MAX_EXPOSURE_USD: f64 = 5_000_000.0;
    /// a limit of more than so many times the capital,
    pub const HARD_MAX_X_CAPITAL: f64 = 20.0;
    /// a loss or fees of a day of more than this part of the equity,
    pub const HARD_MAX_LOSS_OF_EQUITY: f64 = 0.5;
    /// and a distance in price of more than this.
    pub const HARD_MAX_BPS: f64 = 1_000.0;
    /// Hard ceiling of any absolute loss, fees or turnover limit.
    pub const HARD_MAX_DAY_USD: f64 = 100_000_000.0;
    /// Hard ceiling of ages and windows, one hour.
    pub const HARD_MAX_MS: u64 = 3_600_000;

    pub(crate) fn validate(&self) -> Result<(), ConfigError> {
        self.values()?;
        self.fractions()?;
        self.times()?;
        for (key, value) in [
            ("risk.max_open_positions", self.max_open_positions),
            ("risk.max_repeated_entries", self.max_repeated_entries),
            ("risk.max_rejects_per_min", self.max_rejects_per_min),
            ("risk.max_orders_per_symbol", self.max_orders_per_symbol),
        ] {
            ensure((1..=32).contains(&value), key, f64::from(value), "it lies in [1, 32]")?;
        }
        let unknown = self.max_unknown_orders;
        let rule = "it is at most 8";
        ensure(unknown <= 8, "risk.max_unknown_orders", f64::from(unknown), rule)
    }

    fn values(&self) -> Result<(), ConfigError> {
        let order = (Self::HARD_MAX_ORDER_USD, "it is positive and at most 1,000,000 (hard ceiling)");
        let sum = (Self::HARD_MAX_EXPOSURE_USD, "it is positive and at most 5,000,000 (hard ceiling)");
        for (key, value, (most, rule)) in [
            ("risk.max_order_notional_usd", self.max_order_notional_usd, order),
            ("risk.max_position_usd", self.max_position_usd, sum),
            ("risk.max_gross_usd", self.max_gross_usd, sum),
            ("risk.max_net_usd", self.max_net_usd, sum),
        ] {
            let Some(value) = value else { continue };
            ensure(value > 0.0 && value <= most, key, value, rule)?;
        }
        for (key, value) in [
            ("risk.max_day_loss_usd", self.max_day_loss_usd),
            ("risk.max_symbol_loss_usd", self.max_symbol_loss_usd),
            ("risk.max_day_turnover_usd", self.max_day_turnover_usd),
            ("risk.max_day_fees_usd", self.max_day_fees_usd),
        ] {
            let Some(value) = value else { continue };
            let good = (0.0..=Self::HARD_MAX_DAY_USD).contains(&value);
            ensure(good, key, value, "it lies in [0, 100,000,000], 0 = off (hard ceiling)")?;
        }
        for (key, value) in [
            ("risk.max_order_notional_x_capital", self.max_order_notional_x_capital),
            ("risk.max_position_x_capital", self.max_position_x_capital),
            ("risk.max_gross_x_capital", self.max_gross_x_capital),
            ("risk.max_net_x_capital", self.max_net_x_capital),
        ] {
            let good = value > 0.0 && value <= Self::HARD_MAX_X_CAPITAL;
            ensure(good, key, value, "it is positive and at most 20 times the capital (hard ceiling)")?;
        }
        let turnover = self.max_day_turnover_x_capital;
        let rule = "it lies in [0, 10000] times the capital, 0 = off (hard ceiling)";
        ensure((0.0..=10_000.0).contains(&turnover), "risk.max_day_turnover_x_capital", turnover, rule)
    }

    fn fractions(&self) -> Result<(), ConfigError> {
        for (key, value) in [
            ("risk.price_collar_bps", self.price_collar_bps),
            ("risk.mark_collar_bps", self.mark_collar_bps),
            ("risk.max_decision_drift_bps", self.max_decision_drift_bps),
            ("risk.max_slippage_bps", self.max_slippage_bps),
        ] {
            let good = value > 0.0 && value <= Self::HARD_MAX_BPS;
            ensure(good, key, value, "it is positive and at most 1000 (hard ceiling)")?;
        }
        for (key, value) in [
            ("risk.max_day_loss_of_equity", self.max_day_loss_of_equity),
            ("risk.max_symbol_loss_of_equity", self.max_symbol_loss_of_equity),
            ("risk.max_day_fees_of_equity", self.max_day_fees_of_equity),
            ("risk.max_day_drawdown", self.max_day_drawdown),
            ("risk.min_free_margin_of_equity", self.min_free_margin_of_equity),
            ("risk.min_liquidation_distance", self.min_liquidation_distance),
        ] {
            let good = (0.0..=Self::HARD_MAX_LOSS_OF_EQUITY).contains(&value);
            ensure(good, key, value, "it lies in [0, 0.5], 0 = off (hard ceiling)")?;
        }
        for (key, value, most) in
            [("risk.rate_share", self.rate_share, 0.5), ("risk.rate_reserve", self.rate_reserve, 0.9)]
        {
            let good = value > 0.0 && value <= most;
            ensure(good, key, value, "it lies in (0, 0.5], the reserve in (0, 0.9]")?;
        }
        let ratio = self.max_order_to_trade;
        let rule = "it lies in [0, 10000], 0 = off (hard ceiling)";
        ensure((0.0..=10_000.0).contains(&ratio), "risk.max_order_to_trade", ratio, rule)
    }

    fn times(&self) -> Result<(), ConfigError> {
        for (key, ms, most) in [
            ("risk.max_mark_age_ms", self.max_mark_age_ms, 60_000),
            ("risk.max_book_age_ms", self.max_book_age_ms, 60_000),
            ("risk.max_signal_age_ms", self.max_signal_age_ms, 60_000),
            ("risk.max_signal_ahead_ms", self.max_signal_ahead_ms, 10_000),
            ("risk.max_clock_offset_ms", self.max_clock_offset_ms, 60_000),
            ("risk.max_clock_error_ms", self.max_clock_error_ms, 10_000),
            ("risk.max_unknown_age_ms", self.max_unknown_age_ms, 600_000),
            ("risk.repeat_window_ms", self.repeat_window_ms, Self::HARD_MAX_MS),
            ("risk.margin_cooldown_ms", self.margin_cooldown_ms, Self::HARD_MAX_MS),
            ("risk.funding_guard_before_ms", self.funding_guard_before_ms, 900_000),
            ("risk.funding_guard_after_ms", self.funding_guard_after_ms, 900_000),
            ("risk.max_dead_man_age_ms", self.max_dead_man_age_ms, 120_000),
        ] {
            ensure(ms <= most, key, ms as f64, "it is below its hard ceiling")?;
        }
        Ok(())
    }
}
