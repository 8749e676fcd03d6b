//! What stands before the first order, through the real binary: keys, clock, hosts, account, `check`, `kill`, `live
//! --paper`. Each failure is one message that says what is wrong and what to do, with its exit code (SPEC §11).

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod account;
mod canary;
mod check;
mod endings;
mod hosts;
mod keys;
mod kill;
mod paper;
mod stage;
