//! What every stage stands on: rings, the pending slot, workers, the clock, latency histograms, and what a program
//! takes from its surroundings ([`environment`]). Knows no trading.
//!
//! A [`stage::Stage`] is a duty cycle that never blocks; a [`worker::Worker`] gives it a thread, a core and an idle
//! strategy; [`ring`]s and [`conveyor`]s join stages, each with a capacity and a counted answer to being full; the
//! [`pending`] slot brings the newest control update to a stage by one atomic swap. This is the only crate that
//! may contain `unsafe`.

pub mod clock;
pub mod console;
pub mod conveyor;
pub mod counting_alloc;
pub mod environment;
pub mod journal;
pub mod latency;
pub mod pending;
pub mod ring;
pub mod shared;
pub mod stage;
pub mod worker;
