//! Files in and out: day files, scan files, market recordings, result tables.

pub mod day;
pub mod recording;
