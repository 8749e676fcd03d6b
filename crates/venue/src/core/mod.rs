//! The exchange itself, pure: no clock, no I/O, no randomness. Time is an argument; what happened is drained as
//! [`Output`]s. The played market comes in by [`Exchange::play_levels`] and [`Exchange::play_trade`]; the accounts'
//! orders meet it and each other at price-time priority.

mod account;
mod algo;
mod conditional;
mod exchange;
mod ids;
mod ladder;
pub(crate) mod levels;
mod liquidation;
mod listing;
mod margin;
mod money;
mod order;
mod position;
pub mod reject;
mod terms;
mod trading;

#[cfg(test)]
mod tests;

pub use account::{Account, Setting};
pub use algo::{AlgoOrder, AlgoRef, AlgoStatus, PlaceAlgo};
pub use exchange::{Exchange, Fees};
pub use ids::{AccountId, Leg};
pub use ladder::Ladder;
pub use listing::{Bracket, Listing, MarkState, SymbolStatus};
pub(crate) use listing::{DELIVERY, ONBOARD};
pub use margin::Margins;
pub(crate) use margin::legs;
pub use order::{
    Amendment, ExpiryReason, Fill, Income, MarginChange, Order, OrderRef, OrderReport, Origin, Output,
    PlaceOrder, PositionRow,
};
pub use position::Position;
pub use reject::Reject;
pub use terms::{AlgoKind, PriceMatch, SelfTrade, WorkingType};
pub(crate) use trading::is_client_id;
