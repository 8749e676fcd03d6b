//! Which event times are believed. The clock of samples, days and decisions is the largest event time seen: one that lies
//! ahead of the venue's present would stop all of it until the market has caught up.

use market::{ClockOffset, MarketEvent, Nanos};

/// An event that is older than this at its arrival counts as so old: a wrong one must not begin the clock in the past.
const OLDEST: u64 = 60 * Nanos::SECOND;

/// The venue's clock as the book stage knows it.
#[derive(Debug, Clone, Copy)]
pub struct VenueClock {
    offset: Option<ClockOffset>,
    /// How far ahead of it an event may lie, beyond its error, ns.
    max_ahead: u64,
}

impl VenueClock {
    /// Not measured yet: every time is believed.
    pub const fn new(max_ahead: Nanos) -> Self {
        Self { offset: None, max_ahead: max_ahead.0 }
    }

    /// It was measured.
    pub const fn set(&mut self, offset: ClockOffset) {
        self.offset = Some(offset);
    }

    /// The event that was received at `recv` (our clock), its send time (`E`) put to the nearest that can be; was it
    /// another?
    #[inline]
    pub fn believe(&self, event: &mut MarketEvent<'_>, recv: Nanos) -> bool {
        let Some(offset) = self.offset else { return false };
        let now = offset.to_venue(recv).0;
        let latest = now.plus(self.max_ahead + offset.error_at(recv));
        let earliest = Nanos(now.0.saturating_sub(OLDEST));
        let ts = match event {
            MarketEvent::Depth(e) => &mut e.ts_send,
            MarketEvent::Bbo(e) => &mut e.ts_send,
            MarketEvent::Trade(e) => &mut e.ts_send,
            MarketEvent::Mark(e) => &mut e.ts_send,
        };
        let told = std::mem::replace(ts, (*ts).clamp(earliest, latest));
        told != *ts
    }
}

#[cfg(test)]
mod tests {
    use market::{MarkPrice, SymbolId};

    use super::*;

    fn at(clock: &VenueClock, ts_ms: u64, recv_ms: u64) -> (u64, bool) {
        let mut event = MarketEvent::Mark(MarkPrice {
            symbol: SymbolId(0),
            ts_send: Nanos::from_millis(ts_ms),
            mark: 1.0,
            index: 1.0,
            funding_rate: 0.0,
            next_funding: Nanos(0),
        });
        let changed = clock.believe(&mut event, Nanos::from_millis(recv_ms));
        (event.ts_send().millis(), changed)
    }

    #[test]
    fn a_time_ahead_of_the_venues_clock_is_not_believed() {
        let mut clock = VenueClock::new(Nanos::from_millis(250));
        let hour = 3_600_000;
        assert_eq!(at(&clock, 100 * hour, hour), (100 * hour, false), "nothing is known of the clock yet");
        let (offset_ns, error_ns) = (-(2_000 * Nanos::MS as i64), 30 * Nanos::MS);
        clock.set(ClockOffset { offset_ns, error_ns, at: Nanos::from_millis(hour) });
        // The venue's time is hour − 2 s.
        assert_eq!(at(&clock, hour - 2_000, hour), (hour - 2_000, false));
        assert_eq!(at(&clock, hour - 1_720, hour), (hour - 1_720, false));
        assert_eq!(at(&clock, hour - 1_719, hour), (hour - 1_720, true));
        assert_eq!(at(&clock, hour + 3_000_000, hour), (hour - 1_720, true));
        assert_eq!(at(&clock, hour - 50_000, hour), (hour - 50_000, false), "late is late");
        assert_eq!(at(&clock, 1, hour), (hour - 62_000, true));
    }
}
