//! The stages once more, in the journal's thread: they take the records in as they are written, so that each segment can
//! begin with a state, and a difference is found while the run still runs.
//!
//! The hot stages cannot give their state without stopping for it: it is megabytes. This costs what the stages themselves
//! cost, on a thread that waits for nobody.

use ::alpha::Forewarner;

use super::records::{ALPHA, ROUTER};
use super::replay::{AlphaReplay, RouterReplay};
use super::states::States;
use crate::config::Config;

/// Both stages, as far as the journal is.
pub struct Shadow {
    alpha: AlphaReplay,
    router: RouterReplay,
    /// Newest records taken in.
    numbers: [u64; 2],
}

impl Shadow {
    /// From the states that the run begins with.
    pub fn new(config: &Config, states: &States, forewarner: Option<Forewarner>) -> Result<Self, String> {
        let (engine, memo) = states.engine()?;
        let (router, fills) = states.router()?;
        let alpha = AlphaReplay::new(config, &engine, memo, forewarner)?;
        Ok(Self { alpha, router: RouterReplay::new(router, fills), numbers: states.numbers()? })
    }

    /// Takes a record in. `Err`: it cannot be followed any further.
    pub fn take(&mut self, stream: u8, kind: u8, seq: u64, at: u64, payload: &[u8]) -> Result<(), String> {
        let newest = match stream {
            ALPHA => &mut self.numbers[0],
            ROUTER => &mut self.numbers[1],
            _ => return Ok(()),
        };
        if seq != *newest + 1 {
            return Err(format!("records {} to {} are lost", *newest + 1, seq - 1));
        }
        *newest = seq;
        let taken =
            if stream == ALPHA { self.alpha.take(kind, at, payload) } else { self.router.take(at, payload) };
        taken.map(drop).map_err(|now| format!("record {seq} of stream {stream} is decided otherwise: {now}"))
    }

    /// The states of now; `None` in the middle of a duty cycle's records.
    pub fn states(&mut self) -> Option<States> {
        Some(States::new(self.alpha.state()?, self.router.state()?, self.numbers))
    }
}
