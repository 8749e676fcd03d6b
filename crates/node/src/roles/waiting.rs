//! What a node shows that does not trade itself: one that waits for the lease, and an ingest node.

use std::collections::BTreeMap;
use std::sync::Arc;

use market::Nanos;
use runtime::clock::Clock;
use telemetry::published::Published;
use telemetry::state::{self as show, State};

use super::lease::LeaseView;
use crate::gates::Shut;
use crate::published::EVERY_NS;
use crate::shards::assembly::ShardCounters;

/// Publishes the state of such a node, four times a second, where somebody looks.
pub struct Waiting {
    out: Option<Arc<Published>>,
    node: show::Node,
    due: u64,
    /// Since when each gate is closed, ms since the epoch.
    since: BTreeMap<&'static str, u64>,
}

impl Waiting {
    /// Of this node.
    pub const fn new(out: Option<Arc<Published>>, node: show::Node) -> Self {
        Self { out, node, due: 0, since: BTreeMap::new() }
    }

    /// Publishes when it is due: closed gates, and what else there is to show.
    pub fn publish(
        &mut self,
        clock: &Clock,
        shut: impl FnOnce() -> Vec<Shut>,
        more: impl FnOnce(&mut State),
    ) {
        let (Some(out), now) = (&self.out, clock.now_ns()) else { return };
        if now < self.due {
            return;
        }
        self.due = now + EVERY_NS;
        let (at_ms, shut) = (clock.wall_ns() / Nanos::MS, shut());
        self.since.retain(|name, _| shut.iter().any(|g| g.name == *name));
        let gates = shut.into_iter().map(|g| show::ClosedGate {
            name: g.name.to_owned(),
            cause: g.cause,
            since_ms: *self.since.entry(g.name).or_insert(at_ms),
            reopens: g.reopens,
            symbols: g.symbols,
        });
        let mut state = State {
            schema: show::SCHEMA,
            at_ms,
            sequence: out.newest().sequence + 1,
            node: self.node.clone(),
            trading_state: "HALTED".to_owned(),
            gates: gates.collect(),
            log: telemetry::log::tail(50),
            ..State::default()
        };
        more(&mut state);
        out.publish(state);
    }
}

/// Why a standby does not trade.
pub fn of_standby(view: &LeaseView) -> Vec<Shut> {
    let mut shut = Vec::new();
    if let Some(kill) = view.killed() {
        let cause = format!("the deployment is killed by {}: {}", kill.by, kill.reason);
        shut.push(Shut::new("kill", cause, "`dolphin rearm --reason`"));
    }
    shut.push(match view.state {
        "standby" if !view.holder.is_empty() => {
            let cause = format!("standing by: {} holds the lease and trades", view.holder);
            Shut::new("role", cause, "when it ends, or gives no sign of life for the lease's time to live")
        }
        "held" => Shut::new("lease", "the lease has just come, the node begins", "in a moment"),
        _ => Shut::new("lease", "system memory does not say who holds the lease", "when memory answers"),
    });
    shut
}

/// Why an ingest node trades nothing.
pub fn of_ingest() -> Vec<Shut> {
    vec![Shut::new(
        "role",
        "an ingest node trades nothing: it keeps books for the others",
        "never, by its role",
    )]
}

/// The market as the shards bring it.
pub fn of_shards(c: &ShardCounters) -> show::Market {
    show::Market {
        data_age_ms: (c.ticks > 0).then_some(c.oldest_ms),
        books: c.symbols,
        books_live: c.fresh,
        samples: c.ticks,
        events: c.updates,
        ..show::Market::default()
    }
}
