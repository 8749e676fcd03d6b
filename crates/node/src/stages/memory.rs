//! What passes between the engine's stage and system memory ([`crate::memory_link`]): boxes and rings one way, pending
//! slots the other. Neither side waits for the other.

use std::sync::Arc;

use ::alpha::{DayResult, Image, Trade};
use arrayvec::ArrayVec;
use market::{ExitReason, Nanos};
use serde::{Deserialize, Serialize};

use super::Tick;

/// Most unsettled trades that are remembered: the newest.
pub const UNSETTLED: usize = 8;

/// A trade that was booked before the venue had told all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unsettled {
    /// Its number.
    pub number: u64,
    /// Venue time of its exit, as far as it was known.
    pub exit_at: Nanos,
}

/// A step of the engine, or a change between two steps.
#[derive(Debug, Clone)]
pub struct Step {
    /// The tick that was stepped, shared with the journal.
    pub tick: Option<Arc<Tick>>,
    /// Number of the tick in the engine's life; `None` where the engine did not step it (HIBERNATE).
    pub number: Option<u64>,
    /// Event time of the newest tick.
    pub at: Nanos,
    /// The engine after it.
    pub image: Image,
    /// Why the working exit was asked for.
    pub exit: Option<ExitReason>,
    /// Venue time up to which fills are booked in closed trades.
    pub booked: Nanos,
    /// Trades of this run that were booked at a provisional price, the newest.
    pub unsettled: ArrayVec<Unsettled, UNSETTLED>,
    /// So was the entry of the open position.
    pub entry_unsettled: bool,
    /// Something happened that a restart must know: position, order, trade or day.
    pub urgent: bool,
}

impl Step {
    /// An empty step.
    pub fn new(image: &Image) -> Self {
        Self {
            tick: None,
            number: None,
            at: Nanos(0),
            image: image.clone(),
            exit: None,
            booked: Nanos(0),
            unsettled: ArrayVec::new(),
            entry_unsettled: false,
            urgent: false,
        }
    }
}

/// What happens rarely and must not be lost.
#[derive(Debug)]
pub enum MemoryNews {
    /// A trade was closed; its number in the engine's life.
    Closed(u64, Trade),
    /// A day ended.
    DayEnded(Box<DayResult>),
}

/// A scan that memory pushed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct MemoryScan {
    /// Its number; the same again carries no signal.
    pub number: Option<i64>,
    /// When it was made: its timestamp, else its arrival.
    pub at: Nanos,
    /// v50 − v150.
    pub vel_div: f64,
    /// Velocity of the 50-bar window.
    pub v50: f64,
    /// Velocity of the 750-bar window.
    pub v750: f64,
    /// Instability of the 50-bar window.
    pub instability_50: f64,
}
