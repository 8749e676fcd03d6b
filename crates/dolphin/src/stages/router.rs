//! Intents to orders: the execution router between the engine and the gateway.

use execution::{Control, Gate, Outbox, Router};
use market::{Bbo, ExecutionReport, Nanos, OrderRequest, Outcome};
use runtime::clock::Clock;
use runtime::latency::Probe;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use super::{Hop, StampedIntent, StampedRequest};

/// What the control thread tells the router.
#[derive(Debug, Clone)]
pub enum RouterCommand {
    /// What the surroundings allow.
    Gate(Gate),
    /// The venue's account, after a query.
    Account(Box<execution::VenueState>),
    /// A mark price.
    Mark(market::SymbolId, f64),
    /// New filters of an instrument.
    Instrument(Box<market::Instrument>),
    /// Stop: no entries, cancel everything, close positions if `flatten`.
    Kill {
        /// Close positions too.
        flatten: bool,
        /// Who wants it.
        trigger: execution::KillTrigger,
    },
}

/// What the router tells the control thread.
#[derive(Debug, Clone, Copy)]
pub enum RouterNews {
    /// An errand over REST.
    Errand(Control),
    /// For people.
    Alert(execution::Alert),
    /// An order that our own checks refused.
    Denied(execution::Denial),
    /// State, whenever it changed.
    State(RouterState),
}

/// The router as others see it.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct RouterState {
    /// Orders working or unknown.
    pub working: u32,
    /// Instruments with a position.
    pub positions: u32,
    /// Orders sent.
    pub orders: u64,
    /// Fills.
    pub fills: u64,
    /// Orders refused by the venue.
    pub rejects: u64,
    /// Orders refused by our own checks.
    pub denials: u64,
    /// Maker share of entries so far, by quantity value; NaN before the first.
    pub maker_entries: f64,
    /// Maker share of exits so far.
    pub maker_exits: f64,
    /// Realised profit and loss, commissions included, quote asset.
    pub realised: f64,
    /// Commissions paid.
    pub commissions: f64,
    /// Kill switch latched.
    pub killed: bool,
}
