//! The states that a segment begins with, by name.

use alpha::Snapshot;
use execution::Router;
use market::{Instrument, ObAverages};
use serde::{Deserialize, Serialize};

use super::records::{
    ALPHA_STAGE_STATE, ENGINE_STATE, MARKET_STATE, NUMBERS_STATE, ROUTER_STAGE_STATE, ROUTER_STATE, decode,
    encoded,
};
use crate::stages::alpha::AlphaMemo;

/// The states as they lie in the segment. Empty: not there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct States {
    /// Engine and what its stage keeps.
    pub alpha: (Vec<u8>, Vec<u8>),
    /// Router and what its stage keeps.
    pub router: (Vec<u8>, Vec<u8>),
    numbers: Vec<u8>,
    /// What book stage and scanner began with: in the first segment of a run that keeps frames.
    pub market: Vec<u8>,
}

/// What the book stage and the scanner began with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MarketBeginning {
    /// In column order.
    pub instruments: Vec<Instrument>,
    /// Bars that the scanner was warmed with, prices by column.
    pub bars: Vec<Vec<f64>>,
    /// The averages that the features went on from, by column.
    pub averages: Vec<Option<ObAverages>>,
}

impl States {
    /// Of both stages; the newest record of each that is in them.
    pub fn new(alpha: (Vec<u8>, Vec<u8>), router: (Vec<u8>, Vec<u8>), numbers: [u64; 2]) -> Self {
        Self { alpha, router, numbers: encoded(&numbers), market: Vec::new() }
    }

    /// Adds a part of a state.
    pub fn add(&mut self, name: &str, part: &[u8]) {
        let state = match name {
            ENGINE_STATE => &mut self.alpha.0,
            ALPHA_STAGE_STATE => &mut self.alpha.1,
            ROUTER_STATE => &mut self.router.0,
            ROUTER_STAGE_STATE => &mut self.router.1,
            NUMBERS_STATE => &mut self.numbers,
            MARKET_STATE => &mut self.market,
            _ => return,
        };
        state.extend_from_slice(part);
    }

    /// By name, as they are written.
    pub fn named(&self) -> Vec<(&'static str, &[u8])> {
        let mut named = self.of_stages().to_vec();
        if !self.market.is_empty() {
            named.push((MARKET_STATE, &self.market));
        }
        named
    }

    fn of_stages(&self) -> [(&'static str, &[u8]); 5] {
        [
            (ENGINE_STATE, &self.alpha.0),
            (ALPHA_STAGE_STATE, &self.alpha.1),
            (ROUTER_STATE, &self.router.0),
            (ROUTER_STAGE_STATE, &self.router.1),
            (NUMBERS_STATE, &self.numbers),
        ]
    }

    /// Are those of engine and router there?
    pub fn are_there(&self) -> bool {
        self.of_stages().iter().all(|(_, state)| !state.is_empty())
    }

    /// Bytes of all.
    pub fn len(&self) -> usize {
        self.named().iter().map(|(_, state)| state.len()).sum()
    }

    /// Is none there?
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Newest record of the engine's stage and of the router's that are in the states.
    pub fn numbers(&self) -> Result<[u64; 2], String> {
        decode(&self.numbers)
    }

    /// The engine's side.
    pub fn engine(&self) -> Result<(Snapshot, AlphaMemo), String> {
        Ok((decode(&self.alpha.0)?, decode(&self.alpha.1)?))
    }

    /// What book stage and scanner began with; `None`: it is not there.
    pub fn market(&self) -> Option<Result<MarketBeginning, String>> {
        (!self.market.is_empty()).then(|| decode(&self.market))
    }

    /// The router's side.
    pub fn router(&self) -> Result<(Router, u64), String> {
        Ok((decode(&self.router.0)?, decode(&self.router.1)?))
    }
}
