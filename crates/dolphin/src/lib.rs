//! The command line: parsing, logging, exit codes, reports. What a command runs stands in the other crates.

#[macro_use]
mod out;

pub mod cli;
pub mod commands;
mod from_journal;
pub mod paper;
pub mod recorder;
pub mod secrets;
pub mod session;
mod tail;
pub mod top;
