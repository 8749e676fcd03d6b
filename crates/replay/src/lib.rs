//! Recorded inputs through the live stages: day files to trades, parity, sweep, report; recordings to features;
//! prices to eigen scans.

pub mod bench;
pub mod champion;
pub mod compare;
pub mod controls;
pub mod days;
pub mod decode_bench;
pub mod eigen;
mod error;
pub mod features;
mod feed;
pub mod generate;
pub mod output;
pub mod parity;
pub mod report;
pub mod signal_bench;
pub mod summary;
pub mod sweep;
pub mod track;

pub use error::ReplayError;
