//! Recorded inputs through the live stages: day files to trades, parity, sweep, report; recordings to features;
//! prices to eigen scans.

pub mod days;
pub mod decode_bench;
pub mod eigen;
pub mod features;
