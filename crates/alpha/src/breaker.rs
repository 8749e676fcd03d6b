//! Circuit breaker (SPEC §4.4): stops new positions, never an exit.

use serde::{Deserialize, Serialize};

/// What trips it; `None` is off. All off is the champion.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BreakerLimits {
    /// Realised loss of the day at which it trips, as a fraction of the capital at the day's start; > 0.
    pub max_daily_loss: Option<f64>,
    /// Losing trades in a row at which it trips; ≥ 1.
    pub max_consecutive_losses: Option<u32>,
    /// Share of the day's orders rejected above which it trips, in [0, 1).
    pub max_reject_rate: Option<f64>,
    /// Orders of the day before the reject rate counts.
    pub min_orders: u32,
}

/// Why it tripped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trip {
    /// Daily loss.
    DailyLoss,
    /// Consecutive losses.
    ConsecutiveLosses,
    /// Order reject rate.
    RejectRate,
    /// By hand.
    Manual,
}

/// The breaker.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CircuitBreaker {
    limits: BreakerLimits,
    tripped: Option<Trip>,
    day_capital: f64,
    day_pnl: f64,
    losses_in_a_row: u32,
    orders: u32,
    rejects: u32,
}

/// What the dashboard shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct BreakerStatus {
    /// Why it is tripped, if it is.
    pub tripped: Option<Trip>,
    /// Realised profit of the day, quote asset.
    pub day_pnl: f64,
    /// Losing trades in a row.
    pub consecutive_losses: u32,
    /// Orders of the day.
    pub orders: u32,
    /// Of them rejected.
    pub rejects: u32,
}

impl CircuitBreaker {
    /// A breaker with limits.
    pub fn new(limits: BreakerLimits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Changes the limits; what has been counted stays, what has tripped stays tripped.
    pub fn set_limits(&mut self, limits: BreakerLimits) {
        self.limits = limits;
        self.check();
    }

    /// Is it tripped?
    pub const fn is_tripped(&self) -> bool {
        self.tripped.is_some()
    }

    /// May a position be opened?
    pub const fn can_open(&self) -> bool {
        self.tripped.is_none()
    }

    /// Why, and the counters.
    pub const fn status(&self) -> BreakerStatus {
        BreakerStatus {
            tripped: self.tripped,
            day_pnl: self.day_pnl,
            consecutive_losses: self.losses_in_a_row,
            orders: self.orders,
            rejects: self.rejects,
        }
    }

    /// Trips by hand.
    pub const fn trip(&mut self) {
        self.tripped = Some(Trip::Manual);
    }

    /// Resets by hand; the counters begin anew, so that the same numbers do not trip it again at once.
    pub const fn reset(&mut self) {
        let capital = self.day_capital + self.day_pnl;
        self.begin_day(capital);
    }

    /// The date changed.
    pub const fn begin_day(&mut self, capital: f64) {
        *self = Self {
            limits: self.limits,
            tripped: None,
            day_capital: capital,
            day_pnl: 0.0,
            losses_in_a_row: 0,
            orders: 0,
            rejects: 0,
        };
    }

    /// A position was closed.
    pub fn on_trade(&mut self, pnl: f64) {
        self.day_pnl += pnl;
        self.losses_in_a_row = if pnl < 0.0 { self.losses_in_a_row.saturating_add(1) } else { 0 };
        self.check();
    }

    /// A closed position's profit was not `was` but `is`. `newest`: no other was closed after it. A row of losses that
    /// a corrected profit has ended begins anew with the loss; one that an older trade is part of stays as counted.
    pub fn on_correction(&mut self, was: f64, is: f64, newest: bool) {
        self.day_pnl += is - was;
        if newest && (was < 0.0) != (is < 0.0) {
            self.losses_in_a_row = u32::from(is < 0.0);
        }
        self.check();
    }

    /// The venue answered an order.
    pub fn on_order(&mut self, rejected: bool) {
        self.orders = self.orders.saturating_add(1);
        self.rejects = self.rejects.saturating_add(u32::from(rejected));
        self.check();
    }

    fn check(&mut self) {
        if self.tripped.is_some() {
            return;
        }
        let limits = &self.limits;
        let loss = limits
            .max_daily_loss
            .is_some_and(|l| -self.day_pnl >= l * self.day_capital && self.day_pnl < 0.0);
        let row = limits.max_consecutive_losses.is_some_and(|n| self.losses_in_a_row >= n.max(1));
        let enough = self.orders >= limits.min_orders.max(1);
        let rate = f64::from(self.rejects) / f64::from(self.orders.max(1));
        let rejects = enough && limits.max_reject_rate.is_some_and(|max| rate > max);
        self.tripped = match (loss, row, rejects) {
            (true, _, _) => Some(Trip::DailyLoss),
            (_, true, _) => Some(Trip::ConsecutiveLosses),
            (_, _, true) => Some(Trip::RejectRate),
            _ => None,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_limits_nothing_trips_it_but_the_hand() {
        let mut b = CircuitBreaker::default();
        b.begin_day(1000.0);
        for _ in 0..100 {
            b.on_trade(-500.0);
            b.on_order(true);
        }
        assert!(b.can_open());
        b.trip();
        assert_eq!(b.status().tripped, Some(Trip::Manual));
        b.begin_day(1000.0);
        assert!(b.can_open());
    }

    #[test]
    fn each_limit_trips_and_resets() {
        let limits = BreakerLimits {
            max_daily_loss: Some(0.05),
            max_consecutive_losses: Some(3),
            max_reject_rate: Some(0.5),
            min_orders: 4,
        };
        let fresh = || {
            let mut b = CircuitBreaker::new(limits);
            b.begin_day(1000.0);
            b
        };
        let mut b = fresh();
        b.on_trade(-49.0);
        assert!(b.can_open());
        b.on_trade(-1.0);
        assert_eq!(b.status().tripped, Some(Trip::DailyLoss));
        b.on_trade(500.0);
        assert!(b.is_tripped(), "a win does not close it again");
        b.reset();
        assert!(b.can_open());

        let mut b = fresh();
        for pnl in [-1.0, -1.0, 1.0, -1.0, -1.0] {
            b.on_trade(pnl);
        }
        assert!(b.can_open());
        b.on_trade(-1.0);
        assert_eq!(b.status().tripped, Some(Trip::ConsecutiveLosses));

        let mut b = fresh();
        for rejected in [true, true, true] {
            b.on_order(rejected);
        }
        assert!(b.can_open(), "too few orders");
        b.on_order(false);
        assert_eq!(b.status().tripped, Some(Trip::RejectRate));
    }
}
