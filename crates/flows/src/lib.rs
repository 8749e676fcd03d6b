//! The daily flows (SPEC §10) as a library: [`day`] runs the engine over one date, [`state`] says what that date begins
//! with and what memory is told of it, [`log`] keeps the PnL log, [`supervise`] joins them into the two flows with their
//! retries and limits. `dolphin supervise` and the Python package (and so the Prefect flows) call the same functions.

pub mod day;
mod flow;
pub mod log;
pub mod state;
pub mod supervise;
pub mod task;

pub use flow::{Flow, load_config};
