//! From decision to orders: SmartPlacer, order state machine, positions, pre-trade risk, kill switch.
//!
//! [`Router`] is the stage: intents, execution reports, best prices and the passing of time go in; requests to the
//! gateway, outcomes for the engine, denials and alerts come out in an [`Outbox`]. It is a plain state machine: it reads
//! no clock, does no I/O and allocates nothing after construction, so the same inputs in the same order always lead to
//! the same orders.
//!
//! How it is kept right: quantities follow the venue's cumulative counts and only grow ([`fills`]); every lot belongs to
//! one round trip, and what was told of it is corrected when a better fact comes ([`trips`]); an order without an
//! answer is *Unknown* and reserved in full until the venue tells its fate ([`orders`]); every order that opens passes
//! every gate ([`gates`]) and check ([`risk`]), and no trip ever blocks an exit.
//!
//! Times called `now` are our own monotonic clock's; the venue's are [`market::VenueTime`], and the two meet only through
//! the measured offset of the gate.

pub mod check;
pub mod codes;
pub mod config;
pub mod day;
pub mod fills;
pub mod gate;
pub mod gates;
mod index;
mod intents;
pub mod kill;
pub mod ledger;
pub mod limits;
pub mod orders;
pub mod outbox;
pub mod position;
pub mod rate;
pub mod rearm;
mod reconcile;
mod rehearsal;
mod reports;
pub mod risk;
mod router;
mod status;
mod trade;
pub mod trips;
pub mod venue_state;
mod work;

pub use check::{Check, ClosedGate, Denial, Latch, Reopens};
pub use config::{RouterConfig, UnexpectedPosition};
pub use day::{DayState, SymbolDay};
pub use gate::{Gate, TradingState};
pub use gates::Margin;
pub use kill::{KillReport, KillSwitch, KillTrigger, Remains};
pub use ledger::{Ledger, Transfer};
pub use limits::{ConfigError, RiskConfig};
pub use orders::{Purpose, WorkingOrder, WorkingOrders};
pub use outbox::{Alert, AlertKind, Control, Outbox};
pub use position::{MakerShare, Position};
pub use rearm::{KillStep, Rearm, RearmError, Rearmed};
pub use rehearsal::Rehearsal;
pub use router::{NewRouterError, Router, Stats};
pub use trips::RoundTrip;
pub use venue_state::{
    Difference, Reconciliation, Unlisted, UnlistedHolding, UnlistedHoldings, VenuePosition, VenueState,
};
