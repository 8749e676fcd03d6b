//! Fuzzing: bytes that somebody else made, spoiled on purpose, into everything that reads them. Nothing may panic, nothing
//! may be taken half, and where serde_json is an oracle both must agree.
//!
//! Each target has a small corpus of whole inputs; they are mutated byte by byte and token by token, and an input that
//! makes the target answer in a new way joins the corpus. With the test command it is a fixed start of a fixed sequence,
//! a second a target; `tests/fuzz/run` gives each minutes and another seed ([docs/testing.md]). An input that fails is
//! shortened, written to a file and named: it belongs into `tests/fuzz/found/TARGET/`, which is tried first, always.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod files;
mod frames;
mod journal;
mod memory_values;
mod mutate;
mod rest;
mod runner;

use runner::fuzz;

#[test]
fn market_frames() {
    let mut target = frames::Market::new();
    fuzz("market_frames", frames::MARKET, |bytes| target.take(bytes));
}

#[test]
fn user_frames_and_order_replies() {
    let mut target = frames::User::new();
    fuzz("user_frames_and_order_replies", frames::USER, |bytes| target.take(bytes));
}

#[test]
fn rest_replies() {
    let mut target = rest::Target::new();
    fuzz("rest_replies", rest::CORPUS, |bytes| target.take(bytes));
}

#[test]
fn memory_values_of_every_key() {
    fuzz("memory_values", memory_values::CORPUS, memory_values::take);
}

#[test]
fn journal_segments() {
    let target = journal::Segments::new();
    fuzz("journal_segments", &target.corpus(), |bytes| target.take(bytes));
}

#[test]
fn journal_records() {
    // Its corpus is another one each time, so it is no fixed sequence.
    if !runner::is_long() {
        return;
    }
    let mut target = journal::Records::of_a_demo();
    let corpus = target.corpus();
    fuzz("journal_records", &corpus, |bytes| target.take(bytes));
}

#[test]
fn day_files() {
    let mut target = files::Days::new();
    let corpus = target.corpus();
    fuzz("day_files", &corpus, |bytes| target.take(bytes));
}

#[test]
fn recordings_and_tables() {
    let mut target = files::Others::new();
    let corpus = target.corpus();
    fuzz("recordings_and_tables", &corpus, |bytes| target.take(bytes));
}

#[test]
fn configurations() {
    fuzz("configurations", files::CONFIGURATIONS, files::configuration);
}
