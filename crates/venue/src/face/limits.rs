//! Request weight per IP, order counts per account, bans (BINANCE.md §3.1, §3.2).

use std::collections::BTreeMap;
use std::net::IpAddr;

use market::Nanos;

use crate::config::Rules;
use crate::core::{AccountId, Reject};

/// Requests after the first 429 that turn it into a ban.
const PATIENCE: u32 = 10;
/// Length of a ban, ms.
const BAN_MS: u64 = 120_000;
/// Addresses and accounts remembered.
const REMEMBERED: usize = 10_000;

/// A count in a window of fixed edges.
#[derive(Debug, Default, Clone, Copy)]
struct Window {
    start: u64,
    count: u32,
}

impl Window {
    fn add(&mut self, now_ms: u64, length_ms: u64, n: u32) -> u32 {
        let start = now_ms / length_ms;
        if start != self.start {
            *self = Self { start, count: 0 };
        }
        self.count = self.count.saturating_add(n);
        self.count
    }
}

#[derive(Debug, Default, Clone, Copy)]
struct Ip {
    weight: Window,
    connects: Window,
    over: u32,
    banned_until: u64,
}

/// All counters.
#[derive(Debug)]
pub(crate) struct Limits {
    ips: BTreeMap<IpAddr, Ip>,
    orders: BTreeMap<AccountId, (Window, Window)>,
    weight_limit: u32,
    connect_limit: u32,
    order_limits: (u32, u32),
}

/// What the counters say after a request.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Used {
    pub weight: u32,
    pub orders: Option<(u32, u32)>,
}

impl Limits {
    pub(crate) fn new(rules: &Rules) -> Self {
        Self {
            ips: BTreeMap::new(),
            orders: BTreeMap::new(),
            weight_limit: rules.weight_per_minute,
            connect_limit: rules.connections_per_5min,
            order_limits: (rules.orders_per_10s, rules.orders_per_minute),
        }
    }

    /// Counts a request's weight: the used weight, or a refusal with its HTTP status and Retry-After seconds.
    pub(crate) fn request(&mut self, ip: IpAddr, weight: u32, now: Nanos) -> Result<u32, (Reject, u16, u64)> {
        if self.ips.len() >= REMEMBERED && !self.ips.contains_key(&ip) {
            self.ips.clear();
        }
        let now_ms = now.millis();
        let e = self.ips.entry(ip).or_default();
        if now_ms < e.banned_until {
            // Each request while banned lengthens the ban.
            e.banned_until += 1000;
            return Err(banned(e.banned_until, now_ms));
        }
        let used = e.weight.add(now_ms, 60_000, weight);
        if used <= self.weight_limit {
            e.over = 0;
            return Ok(used);
        }
        e.over += 1;
        if e.over > PATIENCE {
            e.banned_until = now_ms + BAN_MS;
            return Err(banned(e.banned_until, now_ms));
        }
        let text = format!(
            "Too many requests; current limit of IP({ip}) is {} requests per minute. Please use the websocket for live updates to avoid polling the API.",
            self.weight_limit
        );
        Err((Reject::text(-1003, text), 429, 60 - now_ms / 1000 % 60))
    }

    /// Counts a WebSocket handshake; an error beyond the limit.
    pub(crate) fn connect(&mut self, ip: IpAddr, now: Nanos) -> Result<(), ()> {
        let opened = self.ips.entry(ip).or_default().connects.add(now.millis(), 300_000, 1);
        if opened > self.connect_limit { Err(()) } else { Ok(()) }
    }

    /// Bans this machine and every address that has ever asked, by order of a fault.
    pub(crate) fn ban(&mut self, until_ms: u64) {
        for here in [IpAddr::from([127, 0, 0, 1]), std::net::Ipv6Addr::LOCALHOST.into()] {
            self.ips.entry(here).or_default();
        }
        self.ips.values_mut().for_each(|ip| ip.banned_until = until_ms);
    }

    /// Counts `ten` orders to the 10 s window and `minute` to the minute; a refusal counts too, as at the venue.
    pub(crate) fn orders(
        &mut self,
        account: AccountId,
        ten: u32,
        minute: u32,
        now: Nanos,
    ) -> Result<(), Reject> {
        let e = self.orders.entry(account).or_default();
        let a = e.0.add(now.millis(), 10_000, ten);
        let b = e.1.add(now.millis(), 60_000, minute);
        if a > self.order_limits.0 || b > self.order_limits.1 {
            return Err(Reject::text(
                -1015,
                format!(
                    "Too many new orders; current limit is {} orders per TEN_SECONDS.",
                    self.order_limits.0
                ),
            ));
        }
        Ok(())
    }

    /// An account's order counts now.
    pub(crate) fn order_counts(&mut self, account: AccountId, now: Nanos) -> (u32, u32) {
        let e = self.orders.entry(account).or_default();
        (e.0.add(now.millis(), 10_000, 0), e.1.add(now.millis(), 60_000, 0))
    }

    /// The limits: weight per minute, orders per 10 s, orders per minute.
    pub(crate) fn limits(&self) -> (u32, u32, u32) {
        (self.weight_limit, self.order_limits.0, self.order_limits.1)
    }
}

fn banned(until_ms: u64, now_ms: u64) -> (Reject, u16, u64) {
    let text = format!(
        "Way too many requests; IP banned until {until_ms}. Please use the websocket for live updates to avoid bans."
    );
    (Reject::text(-1003, text), 418, (until_ms - now_ms).div_ceil(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_much_weight_is_refused_then_banned() {
        let rules = Rules { weight_per_minute: 10, ..Rules::default() };
        let mut l = Limits::new(&rules);
        let ip = IpAddr::from([127, 0, 0, 1]);
        let t = Nanos::from_millis(1_795_392_000_000);
        assert_eq!(l.request(ip, 10, t).unwrap(), 10);
        for _ in 0..PATIENCE {
            assert_eq!(l.request(ip, 1, t).unwrap_err().1, 429);
        }
        assert_eq!(l.request(ip, 1, t).unwrap_err().1, 418);
        // The next minute does not help, two minutes and a bit do.
        assert_eq!(l.request(ip, 1, t.plus(61 * Nanos::SECOND)).unwrap_err().1, 418);
        assert_eq!(l.request(ip, 1, t.plus(122 * Nanos::SECOND)).unwrap(), 1);
    }
}
