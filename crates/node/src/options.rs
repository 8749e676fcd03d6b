//! What a node is to run.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use binance::hosts::{Hosts, Venue};
use binance::key::ApiKey;
use telemetry::published::Published;

use crate::config::Config;
use crate::control::orders::Orders;
use crate::role::Role;
use crate::topology::ExtraStage;

/// Prices from before the start, oldest first, one row a bar.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct History {
    /// Columns.
    pub symbols: Vec<String>,
    /// Rows; NaN = no price.
    pub bars: Vec<Vec<f64>>,
}

/// What a node is to run.
pub struct Options {
    /// Which part of the system: all of it, or alpha.
    pub role: Role,
    /// Configuration, checked.
    pub config: Config,
    /// Key of the account.
    pub key: ApiKey,
    /// Where.
    pub venue: Venue,
    /// Its hosts, overrides applied.
    pub hosts: Hosts,
    /// Prices to warm the histories with.
    pub history: History,
    /// The forewarner of `mc_models_dir`, where there is one that can be read (SPEC §4.3).
    pub forewarner: Option<alpha::Forewarner>,
    /// How it ends.
    pub orders: Orders,
    /// Set by a signal.
    pub signalled: Arc<AtomicBool>,
    /// Stages of the caller's own.
    pub extra_stages: Vec<ExtraStage>,
    /// Where the state is published for whoever looks at the node.
    pub published: Option<Arc<Published>>,
}
