//! The local Binance-compatible exchange.
pub mod core;
