//! Latencies of the last minute, and buckets for Prometheus, from a histogram that only grows.
//!
//! The node hands over the recorded values of a hop since its start; what is a minute old is taken off again by counts,
//! so percentiles of the minute come from merged counts and are never averaged.

use std::collections::VecDeque;

use crate::state::{Hop, Percentiles};

/// Upper bounds of the exported buckets, ns: 1, 2, 5 to the decade, a microsecond to ten seconds.
pub const BOUNDS_NS: [u64; 22] = [
    1_000,
    2_000,
    5_000,
    10_000,
    20_000,
    50_000,
    100_000,
    200_000,
    500_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
    200_000_000,
    500_000_000,
    1_000_000_000,
    2_000_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// Parts of an octave: a percentile is at most 3 % above the true one.
const PARTS: usize = 32;
/// Octaves above the first 32 ns, up to more than a minute.
const OCTAVES: usize = 32;
/// Between two kept counts, ns, and how many make a minute.
const STEP_NS: u64 = 5_000_000_000;
const STEPS: usize = 12;

type Counts = Vec<u64>;

fn place(ns: u64) -> usize {
    if ns < PARTS as u64 {
        return ns as usize;
    }
    let octave = (63 - ns.leading_zeros()) as usize - 5;
    let part = (ns >> octave) as usize - PARTS;
    (PARTS + octave * PARTS + part).min(PARTS * (OCTAVES + 1) - 1)
}

/// The largest value of a place.
fn top(place: usize) -> u64 {
    if place < PARTS {
        return place as u64;
    }
    let (octave, part) = ((place - PARTS) / PARTS, (place - PARTS) % PARTS);
    ((PARTS + part + 1) as u64).checked_shl(octave as u32).map_or(u64::MAX, |x| x - 1)
}

/// One hop's counts and what they were within the last minute.
#[derive(Debug, Clone)]
pub struct Minute {
    counts: Counts,
    kept: VecDeque<Counts>,
    kept_at: u64,
}

impl Default for Minute {
    fn default() -> Self {
        Self { counts: vec![0; PARTS * (OCTAVES + 1)], kept: VecDeque::new(), kept_at: 0 }
    }
}

impl Minute {
    /// The hop at `now_ns`: `recorded` are all values since the start with their counts, ascending.
    pub fn hop(&mut self, name: &str, now_ns: u64, recorded: impl Iterator<Item = (u64, u64)>) -> Hop {
        self.counts.fill(0);
        let (mut buckets, mut sum) = (vec![0; BOUNDS_NS.len()], 0.0);
        for (ns, n) in recorded {
            self.counts[place(ns)] += n;
            sum += ns as f64 * 1e-9 * n as f64;
            let first = BOUNDS_NS.partition_point(|bound| *bound < ns);
            buckets[first..].iter_mut().for_each(|b| *b += n);
        }
        if now_ns >= self.kept_at + STEP_NS {
            self.kept_at = now_ns;
            self.kept.push_back(self.counts.clone());
            if self.kept.len() > STEPS + 1 {
                self.kept.pop_front();
            }
        }
        // Until a minute has been kept, everything is of the last minute.
        let before = self.kept.front().filter(|_| self.kept.len() > STEPS);
        let minute = percentiles(&self.counts, before.map(Vec::as_slice));
        Hop { name: name.to_owned(), minute, all: percentiles(&self.counts, None), buckets, sum }
    }
}

fn percentiles(counts: &[u64], before: Option<&[u64]>) -> Option<Percentiles> {
    let less = |i: usize| before.map_or(0, |b| b[i]);
    let n: u64 = counts.iter().enumerate().map(|(i, c)| c.saturating_sub(less(i))).sum();
    let wanted = [0.5, 0.99, 0.999, 1.0].map(|q: f64| ((q * n as f64).ceil() as u64).max(1));
    let mut found = [0.0; 4];
    let (mut seen, mut next) = (0, 0);
    for (i, count) in counts.iter().enumerate() {
        seen += count.saturating_sub(less(i));
        while next < wanted.len() && n > 0 && seen >= wanted[next] {
            found[next] = top(i) as f64 * 1e-9;
            next += 1;
        }
    }
    let [p50, p99, p999, max] = found;
    (n > 0).then_some(Percentiles { n, p50, p99, p999, max })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_holds_its_values_and_is_narrow() {
        let mut before = None;
        for exponent in 0..36 {
            for part in [0u64, 1, 7, 31] {
                let ns = (1 << exponent) + part * (1u64 << exponent) / 32;
                let (at, end) = (place(ns), top(place(ns)));
                assert!(end >= ns && end as f64 <= ns as f64 * 1.04 + 1.0, "{ns} lies in {at} up to {end}");
                assert!(before.is_none_or(|b| b <= at));
                before = Some(at);
            }
        }
        assert_eq!(place(u64::MAX), PARTS * (OCTAVES + 1) - 1);
    }

    #[test]
    fn the_last_minute_forgets_and_the_whole_run_does_not() {
        let mut minute = Minute::default();
        let second = 1_000_000_000;
        let hop = minute.hop("book", second * 10, [(1_000, 99), (50_000, 1)].into_iter());
        assert_eq!(hop.buckets[0], 99);
        assert_eq!(*hop.buckets.last().unwrap(), 100);
        assert!((hop.sum - 149e-6).abs() < 1e-12, "{}", hop.sum);
        let p = hop.minute.unwrap();
        assert!((p.p50 - 1e-6).abs() < 4e-8 && (p.max - 50e-6).abs() < 2e-6, "{p:?}");
        for t in (15..=80).step_by(5) {
            minute.hop("book", second * t, [(1_000, 99), (50_000, 1)].into_iter());
        }
        let hop = minute.hop("book", second * 85, [(1_000, 99), (2_000, 10), (50_000, 1)].into_iter());
        let p = hop.minute.unwrap();
        assert_eq!(p.n, 10);
        assert!((p.max - 2e-6).abs() < 1e-7);
        assert_eq!(hop.all.unwrap().n, 110);
        assert_eq!(Minute::default().hop("x", 1, std::iter::empty()).minute, None);
    }
}
