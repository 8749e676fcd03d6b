//! From decision to orders: SmartPlacer, order state machine, positions, pre-trade risk, kill switch.
//!
//! [`Router`] is the stage: intents, execution reports, best prices and the passing of time go in; requests to the
//! gateway, outcomes for the engine, denials and alerts come out in an [`Outbox`]. It is a plain state machine: it reads
//! no clock, does no I/O and allocates nothing after construction, so the same inputs in the same order always lead to
//! the same orders.
//!
//! How it is kept right: quantities follow the venue's cumulative counts and only grow ([`fills`]); an order without an
//! answer is *Unknown* and reserved in full until the venue tells its fate ([`orders`]); every order that opens passes
//! [`risk`], and no trip ever blocks an exit.

pub mod codes;
pub mod config;
pub mod fills;
pub mod kill;
pub mod orders;
pub mod outbox;
pub mod position;
pub mod rate;
mod reconcile;
mod reports;
pub mod risk;
mod router;
mod trade;
mod work;

pub use config::{ConfigError, RiskConfig, RouterConfig, UnexpectedPosition};
pub use kill::{KillStep, KillSwitch, KillTrigger, RearmError};
pub use orders::{Purpose, WorkingOrder, WorkingOrders};
pub use outbox::{Alert, AlertKind, Control, Outbox};
pub use position::{Account, MakerShare, Position};
pub use reconcile::{Difference, Reconciliation, VenuePosition, VenueState};
pub use risk::{Check, Denial, Gate, TradingState};
pub use router::{NewRouterError, Router, Stats};
