//! Files in and out: day files, scan files, market recordings, result tables.

pub mod day;
pub mod json;
pub mod recording;
pub mod table;
