//! The venue's time, estimated from request/reply pairs.
//!
//! Our own times come from a monotonic clock, so a step of the wall clock changes nothing. Each sample bounds the
//! offset to ± half its round trip; of the last samples the one with the shortest round trip says most, so it is
//! the estimate. Old samples leave the window, so drift is followed.

use arrayvec::ArrayVec;
use market::Nanos;
use market::planted::{Bug, planted};

/// Samples kept.
const WINDOW: usize = 16;
/// A sample older than this is forgotten, ns: 50 ppm of drift is 30 ms in ten minutes.
const MAX_AGE: u64 = 600 * Nanos::SECOND;
/// Two samples whose ranges are further apart than this cannot both be right: drift over [`MAX_AGE`] and more.
const STEP: u64 = 100 * Nanos::MS;

#[derive(Debug, Clone, Copy)]
struct Sample {
    at: Nanos,
    offset: i64,
    rtt: u64,
}

/// Estimates `venue time − our time`.
#[derive(Debug, Clone, Default)]
pub struct ServerClock {
    samples: ArrayVec<Sample, WINDOW>,
    best: Option<(i64, u64)>,
}

impl ServerClock {
    /// A clock without samples: the venue's time is taken to be ours.
    pub fn new() -> Self {
        Self::default()
    }

    /// A reply that told the venue's time in ms, with our times of sending and receiving. A reply that is older
    /// than its request is ignored.
    pub fn sample(&mut self, sent: Nanos, received: Nanos, server_ms: u64) {
        if received < sent || server_ms == 0 {
            return;
        }
        let rtt = received.0 - sent.0;
        let middle = sent.0 + rtt / 2;
        // The venue cuts to whole milliseconds: half of one is the expected loss.
        let server = Nanos::from_millis(server_ms).0.saturating_add(Nanos::MS / 2);
        let offset = (i128::from(server) - i128::from(middle)).clamp(i64::MIN.into(), i64::MAX.into()) as i64;
        if self.samples.is_full() {
            self.samples.remove(0);
        }
        // A sample that the new one contradicts is from before a step of the venue's clock: it says nothing any more.
        let agrees = |s: &Sample| offset.abs_diff(s.offset) <= rtt / 2 + s.rtt / 2 + STEP;
        self.samples.retain(|s| received.since(s.at).0 <= MAX_AGE && agrees(s));
        self.samples.push(Sample { at: received, offset, rtt });
        self.best = self.samples.iter().min_by_key(|s| s.rtt).map(|s| (s.offset, s.rtt));
    }

    /// Forgets all samples: the venue said that the estimate is wrong (−1021).
    pub fn reset(&mut self) {
        self.samples.clear();
        self.best = None;
    }

    /// `venue time − our time` in ns, 0 while nothing is known.
    pub fn offset(&self) -> i64 {
        self.best.map_or(0, |(offset, _)| offset)
    }

    /// Largest error of [`Self::offset`] in ns (half the best round trip and half a millisecond).
    pub fn error_bound(&self) -> Option<u64> {
        self.best.map(|(_, rtt)| rtt / 2 + Nanos::MS / 2)
    }

    /// The venue's time at our `now`.
    #[inline]
    pub fn server_time(&self, now: Nanos) -> Nanos {
        if planted(Bug::ClockOffsetIgnored) {
            return now;
        }
        Nanos(now.0.saturating_add_signed(self.offset()))
    }

    /// Our time of the venue's `server_ms`.
    pub fn our_time(&self, server_ms: u64) -> Nanos {
        Nanos(Nanos::from_millis(server_ms).0.saturating_add_signed(self.offset().saturating_neg()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_shortest_round_trip_wins_and_drift_is_followed() {
        let ms = Nanos::from_millis;
        let mut clock = ServerClock::new();
        assert_eq!(clock.server_time(ms(5)), ms(5));
        clock.sample(ms(1_000), ms(1_400), 3_200); // offset 2000 ± 200
        clock.sample(ms(2_000), ms(2_010), 3_300); // offset 1295 ± 5
        assert_eq!(clock.offset(), 1_295_500_000);
        assert_eq!(clock.error_bound(), Some(5_500_000));
        let later = 700_000;
        clock.sample(ms(later), ms(later + 100), later + 1_400);
        assert_eq!(clock.offset(), 1_350_500_000);
        clock.reset();
        assert_eq!(clock.offset(), 0);
    }

    proptest! {
        #[test]
        fn the_true_offset_is_within_the_bound(true_ms in -5_000i64..5_000, trips in prop::collection::vec((1u64..300, 1u64..300), 1..40)) {
            let mut clock = ServerClock::new();
            let mut now = 1_000_000u64;
            for (there, back) in trips {
                let server = (now + there).saturating_add_signed(true_ms);
                clock.sample(Nanos::from_millis(now), Nanos::from_millis(now + there + back), server);
                now += there + back + 100;
            }
            let error = (clock.offset() - true_ms * Nanos::MS as i64).unsigned_abs();
            prop_assert!(error <= clock.error_bound().unwrap());
        }

        #[test]
        fn no_sample_panics(sent: u64, received: u64, server: u64, now: u64) {
            let mut clock = ServerClock::new();
            clock.sample(Nanos(sent), Nanos(received), server);
            clock.server_time(Nanos(now));
            clock.our_time(server);
        }
    }
}
