//! Latency of hops: samples leave the hot path through a ring and become histograms elsewhere.
//!
//! A stage says [`Probe::record`]: one push of eight bytes. The collector, on a slow thread, drains all probes into
//! one `HdrHistogram` per hop; percentiles come from merged counts and are never averaged. Samples that found the
//! ring full are counted, not hidden.

use hdrhistogram::Histogram;

use crate::ring::{Rx, Tx, ring};

/// Largest value kept apart: one minute. What is longer counts as this.
const MAX_NS: u64 = 60_000_000_000;

/// One measured hop; `hop` is the caller's own numbering.
#[derive(Debug, Clone, Copy)]
struct Sample {
    hop: u8,
    ns: u64,
}

/// The hot end: belongs to one stage.
pub struct Probe {
    tx: Tx<Sample>,
}

impl Probe {
    /// Records one passage of `hop`.
    #[inline]
    pub fn record(&mut self, hop: u8, ns: u64) {
        // A full ring is counted by the ring; the sample is given up.
        let _ = self.tx.push(Sample { hop, ns });
    }
}

/// Percentiles of one hop, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct HopSummary {
    /// Samples.
    pub n: u64,
    /// Smallest.
    pub min: u64,
    /// Median.
    pub p50: u64,
    /// 90th percentile.
    pub p90: u64,
    /// 99th percentile.
    pub p99: u64,
    /// 99.9th percentile.
    pub p999: u64,
    /// Largest.
    pub max: u64,
}

/// The slow end: owns the histograms.
pub struct Collector {
    probes: Vec<Rx<Sample>>,
    hops: Vec<Histogram<u64>>,
}

impl Collector {
    /// A collector of `hops` hops, numbered from 0.
    pub fn new(hops: usize) -> Self {
        Self { probes: Vec::new(), hops: (0..hops).map(|_| histogram()).collect() }
    }

    /// A probe for one stage, with room for `capacity` samples between two drains.
    pub fn probe(&mut self, name: &'static str, capacity: usize) -> Probe {
        let (tx, rx) = ring(name, capacity);
        self.probes.push(rx);
        Probe { tx }
    }

    /// Takes in what the probes hold.
    pub fn drain(&mut self) {
        for probe in &mut self.probes {
            while let Some(Sample { hop, ns }) = probe.pop() {
                if let Some(h) = self.hops.get_mut(usize::from(hop)) {
                    h.saturating_record(ns.max(1));
                }
            }
        }
    }

    /// Samples given up because a probe's ring was full.
    pub fn lost(&self) -> u64 {
        self.probes.iter().map(|p| p.stats().full()).sum()
    }

    /// The hop's percentiles so far; `None` before its first sample.
    pub fn summary(&self, hop: usize) -> Option<HopSummary> {
        self.hops.get(hop).and_then(summarise)
    }

    /// Every value recorded of the hop, ascending, with how often it was.
    pub fn recorded(&self, hop: usize) -> Option<impl Iterator<Item = (u64, u64)> + '_> {
        let values = self.hops.get(hop).filter(|h| !h.is_empty())?.iter_recorded();
        Some(values.map(|v| (v.value_iterated_to(), v.count_at_value())))
    }

    /// The hop's histogram.
    pub fn histogram(&self, hop: usize) -> Option<&Histogram<u64>> {
        self.hops.get(hop)
    }
}

/// An empty histogram of nanoseconds up to a minute, three significant digits.
pub fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, MAX_NS, 3).expect("constant bounds are valid")
}

/// Percentiles of a histogram of nanoseconds; `None` if it is empty.
pub fn summarise(h: &Histogram<u64>) -> Option<HopSummary> {
    (!h.is_empty()).then(|| HopSummary {
        n: h.len(),
        min: h.min(),
        p50: h.value_at_quantile(0.50),
        p90: h.value_at_quantile(0.90),
        p99: h.value_at_quantile(0.99),
        p999: h.value_at_quantile(0.999),
        max: h.max(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_become_percentiles_and_losses_are_counted() {
        let mut collector = Collector::new(2);
        let mut probe = collector.probe("stage_collector", 4);
        (1..=6).for_each(|i| probe.record(1, i * 1000));
        collector.drain();
        assert_eq!(collector.lost(), 2);
        let s = collector.summary(1).unwrap();
        assert_eq!((s.n, s.min, s.max / 1000), (4, 1000, 4));
        assert_eq!(collector.summary(0), None);
        assert_eq!(collector.summary(9), None);
    }
}
