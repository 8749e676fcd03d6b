//! The venue's rate limits: known from exchangeInfo, counted here, corrected by what replies say.
//!
//! Three kinds of window bound us: request weight per address, and orders per account over ten seconds and over a
//! minute. The venue's windows are fixed and begin at multiples of their length in venue time. A share of each is
//! kept back: entries stop first, exits next, cancels last. While the venue has banned the address nothing is sent.

use arrayvec::ArrayVec;
use market::Nanos;
use serde::Deserialize;

use crate::errors::{Action, Class, ErrorRule, ban_ends};

/// How long a 403 or an unexplained 418 keeps us silent.
const DEFAULT_BAN: u64 = 120 * Nanos::SECOND;

/// What a request costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Request weight (per address).
    pub weight: u32,
    /// Orders (per account).
    pub orders: u32,
}

/// How urgent a request is: which share of a window it may fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Urgency {
    /// Data and opening orders: up to 80 %.
    Entry,
    /// Closing orders and queries of orders: up to 90 %.
    Exit,
    /// Cancels and the dead-man switch: up to 98 %.
    Cancel,
}

impl Urgency {
    const fn percent(self) -> u64 {
        match self {
            Self::Entry => 80,
            Self::Exit => 90,
            Self::Cancel => 98,
        }
    }
}

/// What a window counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum LimitKind {
    /// Request weight.
    #[serde(rename = "REQUEST_WEIGHT")]
    Weight,
    /// Orders.
    #[serde(rename = "ORDERS")]
    Orders,
    /// Anything else the venue may announce.
    #[serde(other)]
    Other,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    kind: LimitKind,
    length: u64,
    limit: u32,
    /// Number of the window that `used` belongs to.
    number: u64,
    used: u32,
}

impl Window {
    fn roll(&mut self, server: Nanos) {
        let number = server.0 / self.length;
        // A clock that is corrected backwards must not empty the window.
        if number > self.number {
            self.number = number;
            self.used = 0;
        }
    }

    fn end(&self) -> Nanos {
        Nanos((self.number + 1).saturating_mul(self.length))
    }
}

/// A request that must wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Wait {
    /// A window is full.
    #[error("the venue's rate limit is used up until {until} (venue time)")]
    Window {
        /// When the window ends, venue time.
        until: Nanos,
    },
    /// The address is banned.
    #[error("the venue has banned this address until {until} (venue time)")]
    Ban {
        /// When the ban ends, venue time.
        until: Nanos,
    },
}

/// What the venue has told us to wait for: shared between the connections of one address.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Holds {
    /// Nothing goes out before this (418, 403).
    pub banned_until: Nanos,
    /// Nothing with a weight but cancels (429).
    pub weight_until: Nanos,
    /// No order but cancels (−1015).
    pub orders_until: Nanos,
}

/// The rate limits of one address and account. All times are venue time.
#[derive(Debug, Clone)]
pub struct RateLimits {
    windows: ArrayVec<Window, 8>,
    banned_until: Nanos,
    paused: [(LimitKind, Nanos); 2],
}

impl RateLimits {
    /// The venue's limits of 2026 until exchangeInfo says otherwise: the stricter of mainnet and testnet.
    pub fn new() -> Self {
        let mut limits = Self {
            windows: ArrayVec::new(),
            banned_until: Nanos(0),
            paused: [(LimitKind::Weight, Nanos(0)), (LimitKind::Orders, Nanos(0))],
        };
        limits.set(LimitKind::Weight, 60 * Nanos::SECOND, 2400);
        limits.set(LimitKind::Orders, 10 * Nanos::SECOND, 300);
        limits.set(LimitKind::Orders, 60 * Nanos::SECOND, 1200);
        limits
    }

    /// A limit announced by exchangeInfo. Unusable values (zero length or limit) are ignored.
    pub fn set(&mut self, kind: LimitKind, length: u64, limit: u32) {
        if length == 0 || limit == 0 || kind == LimitKind::Other {
            return;
        }
        match self.windows.iter_mut().find(|w| w.kind == kind && w.length == length) {
            Some(w) => w.limit = limit,
            None => {
                let _ = self.windows.try_push(Window { kind, length, limit, number: 0, used: 0 });
            }
        }
    }

    /// What the venue says is used of a window. The larger of its count and ours holds: ours knows requests that
    /// are still under way.
    pub fn observe(&mut self, kind: LimitKind, length: u64, used: u32, server: Nanos) {
        if let Some(w) = self.windows.iter_mut().find(|w| w.kind == kind && w.length == length) {
            w.roll(server);
            w.used = w.used.max(used);
        }
    }

    /// May a request of this cost go now? If so it is counted.
    #[inline]
    pub fn take(&mut self, cost: Cost, urgency: Urgency, server: Nanos) -> Result<(), Wait> {
        if server < self.banned_until {
            return Err(Wait::Ban { until: self.banned_until });
        }
        for (kind, until) in self.paused {
            if server < until && cost_of(cost, kind) > 0 && urgency < Urgency::Cancel {
                return Err(Wait::Window { until });
            }
        }
        for w in &mut self.windows {
            w.roll(server);
            let share = u64::from(w.limit) * urgency.percent() / 100;
            let cost = cost_of(cost, w.kind);
            if cost > 0 && u64::from(w.used) + u64::from(cost) > share {
                return Err(Wait::Window { until: w.end() });
            }
        }
        for w in &mut self.windows {
            w.used = w.used.saturating_add(cost_of(cost, w.kind));
        }
        Ok(())
    }

    /// The venue refused a request for a limit: nothing that counts to it goes out before its window ends, or
    /// before the time it named (`retry_after`, ns).
    pub fn refused(&mut self, rule: &ErrorRule, text: &str, retry_after: Option<u64>, server: Nanos) {
        match (rule.class, rule.action) {
            (_, Action::WaitForBan) => {
                let until = match ban_ends(text) {
                    Some(ms) => Nanos::from_millis(ms),
                    None => server.plus(retry_after.unwrap_or(DEFAULT_BAN)),
                };
                self.banned_until = self.banned_until.max(until);
            }
            (Class::Throttled, _) => {
                let kind = if rule.first == -1015 { LimitKind::Orders } else { LimitKind::Weight };
                let until = match retry_after {
                    Some(ns) => server.plus(ns),
                    None => self.next_edge(kind, server),
                };
                let pause = &mut self.paused[usize::from(kind == LimitKind::Orders)];
                pause.1 = pause.1.max(until);
            }
            // A 403 of the firewall.
            (Class::Fatal, _) if rule.first == 0 => {
                self.banned_until = self.banned_until.max(server.plus(retry_after.unwrap_or(DEFAULT_BAN)));
            }
            _ => {}
        }
    }

    /// What there is to wait for.
    pub fn holds(&self) -> Holds {
        let [(_, weight_until), (_, orders_until)] = self.paused;
        Holds { banned_until: self.banned_until, weight_until, orders_until }
    }

    /// Another connection from this address was told so.
    pub fn hold(&mut self, holds: Holds) {
        self.banned_until = self.banned_until.max(holds.banned_until);
        self.paused[0].1 = self.paused[0].1.max(holds.weight_until);
        self.paused[1].1 = self.paused[1].1.max(holds.orders_until);
    }

    /// End of the ban, venue time (zero: there was none).
    pub fn banned_until(&self) -> Nanos {
        self.banned_until
    }

    /// The fullest window's share, in [0, 1] and above where the venue counted more than its limit.
    pub fn used_ratio(&self, kind: LimitKind, server: Nanos) -> f64 {
        let current = |w: &&Window| w.kind == kind && server.0 / w.length <= w.number;
        self.windows
            .iter()
            .filter(current)
            .map(|w| f64::from(w.used) / f64::from(w.limit))
            .fold(0.0, f64::max)
    }

    /// The end of the shortest window of `kind` (the next 10 s edge for orders).
    fn next_edge(&self, kind: LimitKind, server: Nanos) -> Nanos {
        let length = self.windows.iter().filter(|w| w.kind == kind).map(|w| w.length).min();
        let length = length.unwrap_or(60 * Nanos::SECOND);
        Nanos((server.0 / length + 1).saturating_mul(length))
    }
}

impl Default for RateLimits {
    fn default() -> Self {
        Self::new()
    }
}

const fn cost_of(cost: Cost, kind: LimitKind) -> u32 {
    match kind {
        LimitKind::Weight => cost.weight,
        LimitKind::Orders => cost.orders,
        LimitKind::Other => 0,
    }
}

/// Length in ns of a venue interval such as (`MINUTE`, 1); `None` for a name that is not known.
pub(crate) fn interval_ns(name: &str, count: u64) -> Option<u64> {
    let unit = match name {
        "SECOND" | "S" => 1,
        "MINUTE" | "M" => 60,
        "HOUR" | "H" => 3_600,
        "DAY" | "D" => 86_400,
        _ => return None,
    };
    count.checked_mul(unit)?.checked_mul(Nanos::SECOND).filter(|ns| *ns > 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::errors::classify;

    const ORDER: Cost = Cost { weight: 0, orders: 1 };
    const CANCEL: Cost = Cost { weight: 1, orders: 0 };

    fn at(seconds: u64) -> Nanos {
        Nanos(1_800_000_000 * Nanos::SECOND + seconds * Nanos::SECOND)
    }

    #[test]
    fn entries_stop_before_exits_and_exits_before_cancels() {
        let mut limits = RateLimits::new();
        let count = |limits: &mut RateLimits, urgency| {
            (0..1000).take_while(|_| limits.take(ORDER, urgency, at(1)).is_ok()).count()
        };
        assert_eq!(count(&mut limits, Urgency::Entry), 240);
        assert_eq!(count(&mut limits, Urgency::Exit), 30);
        assert_eq!(limits.take(ORDER, Urgency::Exit, at(1)), Err(Wait::Window { until: at(10) }));
        assert!(limits.take(CANCEL, Urgency::Cancel, at(1)).is_ok());
        assert_eq!(count(&mut limits, Urgency::Cancel), 24);
        assert!(limits.take(ORDER, Urgency::Entry, at(10)).is_ok(), "a new window");
    }

    #[test]
    fn a_refused_request_is_not_counted() {
        let mut limits = RateLimits::new();
        limits.observe(LimitKind::Orders, 60 * Nanos::SECOND, 1200, at(1));
        assert!(limits.take(ORDER, Urgency::Cancel, at(1)).is_err());
        assert!(limits.used_ratio(LimitKind::Orders, at(1)) >= 1.0);
        assert_eq!(limits.take(ORDER, Urgency::Entry, at(60)), Ok(()));
    }

    #[test]
    fn no_request_at_all_during_a_ban() {
        let mut limits = RateLimits::new();
        let text = format!("Way too many requests; IP(1.1.1.1) banned until {}.", at(500).millis());
        limits.refused(classify(418, -1003, &text), &text, None, at(1));
        for second in [1, 60, 499] {
            let wait = limits.take(CANCEL, Urgency::Cancel, at(second));
            assert_eq!(wait, Err(Wait::Ban { until: at(500) }));
        }
        assert!(limits.take(CANCEL, Urgency::Cancel, at(500)).is_ok());
    }

    #[test]
    fn too_many_orders_pauses_orders_but_not_cancels() {
        let mut limits = RateLimits::new();
        limits.refused(classify(429, -1015, "Too many new orders."), "", None, at(3));
        assert_eq!(limits.take(ORDER, Urgency::Exit, at(4)), Err(Wait::Window { until: at(10) }));
        assert!(limits.take(CANCEL, Urgency::Cancel, at(4)).is_ok());
        limits.refused(classify(429, -1003, ""), "", Some(30 * Nanos::SECOND), at(3));
        assert!(limits.take(Cost { weight: 20, orders: 0 }, Urgency::Entry, at(20)).is_err());
        assert!(limits.take(Cost { weight: 20, orders: 0 }, Urgency::Entry, at(33)).is_ok());
    }
}
