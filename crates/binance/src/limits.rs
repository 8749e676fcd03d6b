//! The venue's rate limits: one budget of request weight per address and of orders per account, by classes.
//!
//! The venue's windows are fixed and begin at multiples of their length in venue time. What is used of a window is the
//! venue's own number, which counts everybody on the address, and what we have sent since the request that it came
//! with; so two nodes on one address share the budget without knowing of each other. Rules:
//!
//! 1. Each class above [`Urgency::Snapshot`] has a reserve of weight. What is left of a reserve is closed to the classes
//!    below it; what its own class has used of it is not kept back a second time.
//! 2. Audits and polls stop where two fifths of a window are used, so that what comes later still finds room.
//! 3. [`HEADROOM`] is used by nobody: requests of others may be under way that no number tells of yet.
//! 4. The venue's clock is only estimated, so a window counts from [`EDGE`] after its beginning to as long after its end:
//!    what goes out at the edge still counts for the old window, and the number that it brings back is the old one's. That
//!    number is left out when the new window has begun: it would close it for its whole length.
//! 5. After a refusal (429, 418, 403) nothing goes out before its time, whatever we have counted.

use arrayvec::ArrayVec;
use market::Nanos;
use market::planted::{Bug, planted};
use serde::Deserialize;

use crate::errors::{Action, Class, ErrorRule, ban_ends};

/// How long a 403 or an unexplained 418 keeps us silent.
const DEFAULT_BAN: u64 = 120 * Nanos::SECOND;
/// Of each weight window, percent: left to what the numbers do not tell yet.
const HEADROOM: u64 = 2;
/// Most of a weight window that audits and polls may see used, percent.
const AUDIT_SHARE: u64 = 40;
/// How far our windows begin behind the venue's, ns: more than its clock is estimated wrong by.
const EDGE: u64 = 250 * Nanos::MS;

/// What a request costs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Cost {
    /// Request weight (per address).
    pub weight: u32,
    /// Orders (per account).
    pub orders: u32,
}

/// What a request is for, from the least urgent on: which share of a window it may fill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Urgency {
    /// Comparisons and polls: whatever can be left out.
    Audit,
    /// The first snapshot of a book.
    Snapshot,
    /// A snapshot for a book that was in step and is lost.
    Resync,
    /// What a start needs before it can trade, and the history that it reads later.
    Start,
    /// Comparison with the venue: open orders, positions, balances, recent fills.
    Reconcile,
    /// Opening orders.
    Entry,
    /// Closing orders, queries of orders, the listen key, the venue's time.
    Exit,
    /// Cancels and the dead-man switch.
    Cancel,
}

impl Urgency {
    /// All, in their order.
    pub const ALL: [Self; 8] = [
        Self::Audit,
        Self::Snapshot,
        Self::Resync,
        Self::Start,
        Self::Reconcile,
        Self::Entry,
        Self::Exit,
        Self::Cancel,
    ];

    /// What is kept back for it of a weight window, percent.
    fn reserve(self) -> u64 {
        match self {
            Self::Exit | Self::Cancel if planted(Bug::LimitReserveForCancelsGone) => 0,
            // Orders have no weight.
            Self::Audit | Self::Snapshot | Self::Entry => 0,
            Self::Resync | Self::Start | Self::Exit | Self::Cancel => 3,
            Self::Reconcile => 5,
        }
    }

    /// How far it may fill a window of orders, percent.
    fn orders_share(self) -> u64 {
        match self {
            _ if planted(Bug::LimitReserveForCancelsGone) => 100 - HEADROOM,
            Self::Cancel => 100 - HEADROOM,
            Self::Exit => 90,
            _ => 80,
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

/// What we have sent since the program began.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Sums {
    weight: u64,
    orders: u64,
}

impl Sums {
    const fn of(self, kind: LimitKind) -> u64 {
        match kind {
            LimitKind::Weight => self.weight,
            LimitKind::Orders => self.orders,
            LimitKind::Other => 0,
        }
    }
}

/// A request that was counted: what the venue tells in its reply is about this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket {
    /// Venue time of sending.
    sent: Nanos,
    /// All that was sent by then, this request included.
    sums: Sums,
}

#[derive(Debug, Clone, Copy)]
struct Window {
    kind: LimitKind,
    length: u64,
    limit: u32,
    /// Number of the window that the rest belongs to.
    number: u64,
    /// The venue's own number.
    told: u32,
    /// Our sum that `told` includes.
    base: u64,
    /// Our own weight in this window, by class.
    ours: [u32; Urgency::ALL.len()],
}

impl Window {
    const fn number_at(&self, server: Nanos) -> u64 {
        server.0.saturating_sub(EDGE) / self.length
    }

    fn roll(&mut self, server: Nanos, sums: Sums) {
        let number = self.number_at(server);
        // A clock that is corrected backwards must not empty the window.
        if number > self.number {
            let (kind, length, limit) = (self.kind, self.length, self.limit);
            *self = Self { kind, length, limit, number, told: 0, base: sums.of(kind), ours: [0; 8] };
        }
    }

    fn end(&self) -> Nanos {
        Nanos((self.number + 1).saturating_mul(self.length).saturating_add(EDGE))
    }

    fn used(&self, sums: Sums) -> u32 {
        let since = sums.of(self.kind).saturating_sub(self.base);
        self.told.saturating_add(u32::try_from(since).unwrap_or(u32::MAX))
    }

    /// How far a request of this class may fill it.
    fn ceiling(&self, urgency: Urgency) -> u32 {
        let share = |percent: u64| (u64::from(self.limit) * percent / 100) as u32;
        match self.kind {
            LimitKind::Orders | LimitKind::Other => share(urgency.orders_share()),
            LimitKind::Weight => {
                let left =
                    |class: &Urgency| share(class.reserve()).saturating_sub(self.ours[*class as usize]);
                let kept: u32 = Urgency::ALL.iter().filter(|class| **class > urgency).map(left).sum();
                let open = share(100 - HEADROOM).saturating_sub(kept);
                if urgency == Urgency::Audit { open.min(share(AUDIT_SHARE)) } else { open }
            }
        }
    }
}

/// How a window stands, for people and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WindowStatus {
    /// What it counts.
    pub kind: LimitKind,
    /// Its length, ns.
    pub length: u64,
    /// The venue's limit.
    pub limit: u32,
    /// What is used of it, by everybody on the address (orders: on the account).
    pub used: u32,
    /// When it has surely ended, venue time.
    pub ends: Nanos,
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
    sums: Sums,
    banned_until: Nanos,
    paused: [(LimitKind, Nanos); 2],
}

impl RateLimits {
    /// The venue's limits of 2026 until exchangeInfo says otherwise: the stricter of mainnet and testnet.
    pub fn new() -> Self {
        let mut limits = Self {
            windows: ArrayVec::new(),
            sums: Sums::default(),
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
                let base = self.sums.of(kind);
                let fresh = Window { kind, length, limit, number: 0, told: 0, base, ours: [0; 8] };
                let _ = self.windows.try_push(fresh);
            }
        }
    }

    /// What the venue says is used of a window, told in the reply to the request of `ticket`. Within a window its number
    /// only grows; what we sent after that request comes on top.
    pub fn observe(&mut self, kind: LimitKind, length: u64, used: u32, ticket: Ticket, server: Nanos) {
        let sums = self.sums;
        let Some(w) = self.windows.iter_mut().find(|w| w.kind == kind && w.length == length) else { return };
        w.roll(server, sums);
        if w.number_at(ticket.sent) != w.number {
            return;
        }
        w.told = w.told.max(used);
        w.base = w.base.max(ticket.sums.of(kind));
    }

    /// May a request of this cost go now? If so it is counted.
    #[inline]
    pub fn take(&mut self, cost: Cost, urgency: Urgency, server: Nanos) -> Result<Ticket, Wait> {
        if server < self.banned_until {
            return Err(Wait::Ban { until: self.banned_until });
        }
        for (kind, until) in self.paused {
            if server < until && cost_of(cost, kind) > 0 && urgency < Urgency::Cancel {
                return Err(Wait::Window { until });
            }
        }
        let sums = self.sums;
        for w in &mut self.windows {
            w.roll(server, sums);
            let cost = cost_of(cost, w.kind);
            if cost > 0 && w.used(sums).saturating_add(cost) > w.ceiling(urgency) {
                return Err(Wait::Window { until: w.end() });
            }
        }
        Ok(self.count(cost, urgency, server))
    }

    /// Counts a request that goes out in any case.
    pub fn count(&mut self, cost: Cost, urgency: Urgency, server: Nanos) -> Ticket {
        let sums = self.sums;
        for w in &mut self.windows {
            w.roll(server, sums);
            let ours = &mut w.ours[urgency as usize];
            *ours = ours.saturating_add(cost_of(cost, w.kind));
        }
        self.sums.weight += u64::from(cost.weight);
        self.sums.orders += u64::from(cost.orders);
        Ticket { sent: server, sums: self.sums }
    }

    /// The weight that requests of this class may take now.
    pub fn room(&self, urgency: Urgency, server: Nanos) -> u32 {
        let closed = server < self.banned_until || (server < self.paused[0].1 && urgency < Urgency::Cancel);
        let room = |w: &Window| {
            let mut w = *w;
            w.roll(server, self.sums);
            w.ceiling(urgency).saturating_sub(w.used(self.sums))
        };
        if closed { 0 } else { self.weights().map(room).min().unwrap_or(u32::MAX) }
    }

    /// The weight that requests of this class may take from now until then, if nobody else takes any.
    pub fn room_until(&self, urgency: Urgency, server: Nanos, until: Nanos) -> u64 {
        let opens = self.banned_until.max(self.paused[0].1);
        let later = |w: &Window| {
            let mut fresh = *w;
            fresh.roll(Nanos(u64::MAX), self.sums);
            let windows = w.number_at(until).saturating_sub(w.number_at(server.max(opens)));
            windows.saturating_mul(u64::from(fresh.ceiling(urgency)))
        };
        let later = self.weights().map(later).min().unwrap_or(u64::MAX);
        later.saturating_add(u64::from(self.room(urgency, server)))
    }

    fn weights(&self) -> impl Iterator<Item = &Window> {
        self.windows.iter().filter(|w| w.kind == LimitKind::Weight)
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

    /// How the windows stand.
    pub fn status(&self, server: Nanos) -> ArrayVec<WindowStatus, 8> {
        let status = |w: &Window| {
            let mut w = *w;
            w.roll(server, self.sums);
            let (kind, length, limit) = (w.kind, w.length, w.limit);
            WindowStatus { kind, length, limit, used: w.used(self.sums), ends: w.end() }
        };
        self.windows.iter().map(status).collect()
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

    const MINUTE: u64 = 60 * Nanos::SECOND;
    const ORDER: Cost = Cost { weight: 0, orders: 1 };
    const CANCEL: Cost = Cost { weight: 1, orders: 0 };

    fn at(seconds: u64) -> Nanos {
        Nanos(1_800_000_000 * Nanos::SECOND + seconds * Nanos::SECOND)
    }

    fn weight(weight: u32) -> Cost {
        Cost { weight, orders: 0 }
    }

    fn used(limits: &RateLimits, kind: LimitKind, length: u64, server: Nanos) -> u32 {
        limits.status(server).iter().find(|w| w.kind == kind && w.length == length).unwrap().used
    }

    /// How much weight goes out, one by one, until the class must wait.
    fn fill(limits: &mut RateLimits, urgency: Urgency, server: Nanos) -> u32 {
        (0..5_000).take_while(|_| limits.take(weight(1), urgency, server).is_ok()).count() as u32
    }

    #[test]
    fn entries_stop_before_exits_and_exits_before_cancels() {
        let mut limits = RateLimits::new();
        let count = |limits: &mut RateLimits, urgency| {
            (0..1000).take_while(|_| limits.take(ORDER, urgency, at(1)).is_ok()).count()
        };
        assert_eq!(count(&mut limits, Urgency::Entry), 240);
        assert_eq!(count(&mut limits, Urgency::Exit), 30);
        let until = Nanos(at(10).0 + EDGE);
        assert_eq!(limits.take(ORDER, Urgency::Exit, at(1)), Err(Wait::Window { until }));
        assert!(limits.take(CANCEL, Urgency::Cancel, at(1)).is_ok());
        assert_eq!(count(&mut limits, Urgency::Cancel), 24);
        assert!(limits.take(ORDER, Urgency::Entry, at(10)).is_err(), "perhaps not yet at the venue");
        assert!(limits.take(ORDER, Urgency::Entry, until).is_ok(), "a new window");
    }

    #[test]
    fn each_class_has_its_reserve() {
        let mut limits = RateLimits::new();
        let filled = Urgency::ALL.map(|urgency| (urgency, fill(&mut limits, urgency, at(1))));
        let expected = [
            (Urgency::Audit, 960),
            (Urgency::Snapshot, 984),
            (Urgency::Resync, 72),
            (Urgency::Start, 72),
            (Urgency::Reconcile, 120),
            (Urgency::Entry, 0),
            (Urgency::Exit, 72),
            (Urgency::Cancel, 72),
        ];
        assert_eq!(filled, expected, "and 48 are used by nobody");
        let until = Nanos(at(60).0 + EDGE);
        assert_eq!(limits.take(CANCEL, Urgency::Cancel, at(2)), Err(Wait::Window { until }));
        assert_eq!(fill(&mut limits, Urgency::Snapshot, until), 1944, "a new window");
    }

    #[test]
    fn what_a_class_used_of_its_reserve_is_not_kept_back_again() {
        let mut limits = RateLimits::new();
        limits.take(weight(200), Urgency::Reconcile, at(1)).unwrap();
        // 98 % of 2400, less what is left of the reserves: 72 + 72 + 0 + 72 + 72.
        assert_eq!(fill(&mut limits, Urgency::Snapshot, at(1)), 2352 - 288 - 200);
        assert!(limits.take(weight(72), Urgency::Exit, at(1)).is_ok());
    }

    #[test]
    fn the_venues_number_counts_everybody_and_corrects_ours() {
        let mut limits = RateLimits::new();
        let window = |limits: &RateLimits| used(limits, LimitKind::Weight, MINUTE, at(5));
        // Ten requests that never reached the venue, and one that did.
        for _ in 0..10 {
            limits.take(weight(20), Urgency::Snapshot, at(2)).unwrap();
        }
        assert_eq!(window(&limits), 200);
        let ticket = limits.take(weight(20), Urgency::Snapshot, at(3)).unwrap();
        let under_way = limits.take(weight(40), Urgency::Reconcile, at(4)).unwrap();
        limits.observe(LimitKind::Weight, MINUTE, 20, ticket, at(5));
        assert_eq!(window(&limits), 60, "its number, and what we sent since");
        // Another node on the address.
        limits.observe(LimitKind::Weight, MINUTE, 1_000, under_way, at(5));
        assert_eq!(window(&limits), 1_000);
        // A reply that was overtaken says nothing smaller.
        limits.observe(LimitKind::Weight, MINUTE, 500, ticket, at(5));
        assert_eq!(window(&limits), 1_000);
        limits.observe(LimitKind::Weight, MINUTE, 2_399, under_way, at(5));
        assert!(limits.take(CANCEL, Urgency::Cancel, at(5)).is_err());
    }

    #[test]
    fn a_number_of_the_last_window_does_not_close_this_one() {
        let before_the_edge = Nanos(at(60).0 - 50 * Nanos::MS);
        let after_the_edge = Nanos(at(60).0 + 50 * Nanos::MS);
        for sent in [before_the_edge, after_the_edge] {
            let mut limits = RateLimits::new();
            let ticket = limits.take(weight(20), Urgency::Snapshot, sent).unwrap();
            limits.observe(LimitKind::Weight, MINUTE, 2_399, ticket, at(61));
            assert!(limits.take(weight(20), Urgency::Snapshot, at(61)).is_ok(), "{sent}");
            let ticket = limits.take(weight(20), Urgency::Snapshot, at(61)).unwrap();
            limits.observe(LimitKind::Weight, MINUTE, 2_399, ticket, at(62));
            assert!(limits.take(weight(20), Urgency::Snapshot, at(62)).is_err());
        }
    }

    #[test]
    fn room_is_what_may_be_taken() {
        let mut limits = RateLimits::new();
        for urgency in Urgency::ALL {
            let room = limits.room(urgency, at(1));
            assert_eq!(limits.clone().take(weight(room + 1), urgency, at(1)).ok(), None, "{urgency:?}");
            assert!(limits.clone().take(weight(room), urgency, at(1)).is_ok(), "{urgency:?}");
        }
        limits.take(weight(1_000), Urgency::Snapshot, at(1)).unwrap();
        assert_eq!(limits.room_until(Urgency::Snapshot, at(1), at(59)), 944);
        assert_eq!(limits.room_until(Urgency::Snapshot, at(1), at(61)), 944 + 1_944);
        limits.refused(classify(429, -1003, ""), "", Some(30 * Nanos::SECOND), at(2));
        assert_eq!(limits.room(Urgency::Snapshot, at(3)), 0);
        assert!(limits.room(Urgency::Cancel, at(3)) > 0);
        assert_eq!(limits.room_until(Urgency::Snapshot, at(3), at(61)), 1_944);
    }

    #[test]
    fn a_refused_request_is_not_counted() {
        let mut limits = RateLimits::new();
        let ticket = limits.take(ORDER, Urgency::Cancel, at(1)).unwrap();
        limits.observe(LimitKind::Orders, MINUTE, 1200, ticket, at(1));
        assert!(limits.take(ORDER, Urgency::Cancel, at(1)).is_err());
        assert_eq!(used(&limits, LimitKind::Orders, MINUTE, at(1)), 1200);
        assert!(limits.take(ORDER, Urgency::Entry, at(61)).is_ok());
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
        assert!(limits.take(weight(20), Urgency::Snapshot, at(20)).is_err());
        assert!(limits.take(weight(20), Urgency::Snapshot, at(33)).is_ok());
    }
}
