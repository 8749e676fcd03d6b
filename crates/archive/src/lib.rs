//! Files in and out: day files, scan files, market recordings, result tables.

mod column;
pub mod day;
pub mod recording;
pub mod table;
