//! The command line: parsing, logging, exit codes, reports. What a command runs stands in the other crates.

pub mod cli;
pub mod commands;
pub mod paper;
pub mod secrets;
