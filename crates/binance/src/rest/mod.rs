//! REST: everything that is asked seldom. Orders go over the WebSocket API; here is only their cold fallback.
//!
//! The client is async and runs on a runtime of the caller's; no hot thread ever waits for it. It counts weights
//! before it sends, keeps the venue's clock, and never puts a secret, a signature or a listen key into an error.

pub(crate) mod account;
mod beside;
mod client;
mod conditional;
mod error;
mod instruments;
mod listings;
mod pages;
mod system;
mod transport;

pub use account::{
    AccountConfig, AccountSummary, ApiRestrictions, Balance, CommissionRate, Income, Leverage, Position,
    SymbolConfig,
};
pub use beside::UnlistedOrder;
pub use client::{Clock, RestClient, RestConfig};
pub use conditional::CloseStop;
pub use error::{RestError, TransportKind};
#[cfg(test)]
pub(crate) use instruments::parse_perpetuals;
pub use instruments::{AnnouncedLimit, ExchangeInfo, InstrumentError, parse_exchange_info};
pub use listings::IncomeKind;
pub use pages::{LISTED_MS, TimeWindow, windows};
pub use system::SystemTransport;
pub use transport::{Exchange, HttpFailure, HttpRequest, HttpResponse, Transport};
