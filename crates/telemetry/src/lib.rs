//! What a node shows of itself. The node publishes one value, [`state::State`], a few times a second; status line, metrics,
//! `/api/state`, dashboard, terminal view and notifications are made from it, and from it alone, so that no two of them
//! can differ. A reader takes the newest value and can keep nothing waiting.

mod access;
pub mod client;
pub mod config;
mod connections;
pub mod latency;
pub mod line;
pub mod log;
pub mod notify;
pub mod openmetrics;
pub mod published;
pub mod registry;
pub mod server;
pub mod slot;
mod standing;
pub mod state;
mod wall;
