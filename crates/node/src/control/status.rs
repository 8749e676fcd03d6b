//! What the control thread has seen of a run.

use std::collections::BTreeMap;

use alpha::Trade;
use execution::Gate;
use market::Qty;
use serde::Serialize;

use crate::config::Rates;
use crate::shards::assembly::ShardCounters;
use crate::stages::book::{BookCounters, Mask};
use crate::stages::feed::FeedCounters;
use crate::stages::router::RouterState;

/// What became of a connection.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct LineSummary {
    /// Times it opened.
    pub opened: u64,
    /// Times a successor took over without a gap.
    pub replaced: u64,
    /// Times it was lost, by reason.
    pub lost: BTreeMap<String, u64>,
    /// Attempts that failed.
    pub failed: u64,
    /// When its newest frame came (monotonic), to half a second.
    #[serde(skip)]
    pub heard_at: Option<u64>,
    /// Why the last one did.
    pub last_failure: String,
}

/// What the control thread has seen.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    /// Sockets of market data.
    pub feed: FeedCounters,
    /// Market connections by name.
    pub connections: BTreeMap<String, LineSummary>,
    /// Symbols that are masked now, and why.
    pub masked: BTreeMap<String, Mask>,
    /// Books.
    pub book: BookCounters,
    /// Steps by gate.
    pub gates: Option<[u64; alpha::Gate::ALL.len()]>,
    /// Router.
    pub router: RouterState,
    /// Positions that are not zero, by symbol.
    pub positions: BTreeMap<String, Qty>,
    /// What the account has in instruments that are not followed, in words; empty: nothing, or not asked yet.
    pub unlisted: String,
    /// What the router was last told of its surroundings.
    pub gate: Gate,
    /// How ticks are gathered from the shards (role alpha).
    pub shards: ShardCounters,
    /// The lease was lost: another node may act for the account, so this one does not touch it any more.
    pub fenced: bool,
    /// Closed trades and their numbers, as they are known now.
    pub trades: Vec<(u64, Trade)>,
    /// What the account pays for its fills.
    pub commission: Option<Rates>,
    /// What changed the wallet besides orders, by the venue's reason: funding, transfers, commissions in other assets.
    pub ledger: BTreeMap<String, f64>,
    /// Alerts by kind.
    pub alerts: BTreeMap<String, u64>,
    /// Why the run ended.
    pub ended_by: String,
    /// What made the run impossible, if something did.
    pub failed: Option<String>,
}

impl Seen {
    /// Counts an alert.
    pub fn alert(&mut self, kind: &str) {
        *self.alerts.entry(kind.to_owned()).or_default() += 1;
    }
}
