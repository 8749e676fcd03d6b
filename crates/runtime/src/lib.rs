//! Stages, workers, rings, the pending slot, clock, histograms, journal. Knows no trading.

pub mod counting_alloc;
