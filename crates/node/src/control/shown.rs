//! What the status model is made of besides the control thread's own state, and what is remembered from one to the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use binance::hosts::Venue;
use market::Nanos;
use runtime::clock::Clock;
use runtime::worker::StageStats;
use telemetry::latency::Minute;
use telemetry::published::Published;
use telemetry::state as show;

use super::status::Seen;
use crate::config::Config;
use crate::memory_link::MemoryWatcher;
use crate::published::{EngineView, RouterView};
use crate::role::Role;
use crate::session::Session;
use crate::stages::Hop;

/// Without a frame for so long the market's data is not there.
pub const DATA_AGE_NS: u64 = 1_500 * Nanos::MS;

/// What does not change in a run.
pub struct Facts {
    /// Who it is.
    pub node: show::Node,
    /// A short fires below it.
    pub threshold: f64,
    /// An extreme divergence.
    pub extreme: f64,
    /// Bars of the day before the volatility regime is known.
    pub warm_bars: u32,
    /// Ticks a bar.
    pub stride: u32,
    /// Length of a bar.
    pub bar_ms: u64,
    /// Does our own scanner give the signal?
    pub own_scanner: bool,
    /// A book is not used after so long without an update.
    pub book_stale_ms: u64,
    /// Steps by gate before this run.
    pub gates_before: [u64; alpha::Gate::ALL.len()],
    /// Stages, each with its worker.
    pub stages: Vec<(String, Arc<StageStats>)>,
    /// How memory is doing.
    pub memory: MemoryWatcher,
}

/// Who a node is, for people.
pub fn who(config: &Config, venue: &Venue, role: Role, layout: &str, clock: &Clock) -> show::Node {
    show::Node {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        commit: String::new(),
        venue: venue.name().to_owned(),
        role: role.name().to_owned(),
        profile: config.alpha.profile.clone(),
        param_hash: config.alpha.hash(),
        layout: layout.to_owned(),
        started_ms: clock.wall_ns() / Nanos::MS,
        capital: (role != Role::Ingest).then_some(config.alpha.initial_capital),
    }
}

/// The market, as the control thread of any role has seen it; `age`: since the newest frame, ns.
pub fn market(seen: &Seen, books: usize, age: Option<u64>) -> show::Market {
    let (b, s) = (&seen.book, &seen.book.streams);
    let quiet = age.is_none_or(|age| age > DATA_AGE_NS);
    show::Market {
        data_age_ms: age.map(|age| age / Nanos::MS),
        books: books as u32,
        // Masks are judged with the samples that data brings: without it none of them is current.
        books_live: if quiet { 0 } else { b.live_books },
        frames: seen.feed.frames,
        frames_dropped: seen.feed.dropped_frames,
        events: b.events,
        rejected: b.rejected,
        samples: b.samples,
        samples_lost: b.lost_samples,
        samples_prepared: b.prepared,
        features_late: b.computed_late,
        scans_prepared: b.scans_prepared,
        touches_same: b.touches_same,
        touches_different: b.touches_different,
        gaps: b.gaps,
        crossed: b.crossed,
        resyncs: b.resyncs,
        longest_resync_ms: b.longest_resync_ms,
        audits: b.audits,
        audit_failures: b.audit_failures,
        silent_streams: s.silent,
        dead_streams: s.dead,
        trades_missed: s.trades_missed,
    }
}

/// Connections of market data.
pub fn connections(seen: &Seen, now: u64) -> impl Iterator<Item = show::Connection> + '_ {
    seen.connections.iter().map(move |(name, c)| show::Connection {
        name: name.clone(),
        up: c.opened > c.lost.values().sum(),
        opened: c.opened,
        replaced: c.replaced,
        lost: c.lost.clone(),
        failed: c.failed,
        heard_ms: c.heard_at.map(|at| now.saturating_sub(at) / Nanos::MS),
    })
}

/// What is remembered from one state to the next.
pub struct Publishing {
    pub(super) facts: Facts,
    pub(super) out: Option<Arc<Published>>,
    pub(super) due: u64,
    pub(super) sequence: u64,
    pub(super) router: Option<RouterView>,
    pub(super) engine: Option<EngineView>,
    /// Since when each gate is closed that brings no time of its own.
    pub(super) since: BTreeMap<&'static str, u64>,
    /// Frames counted, and when they last grew.
    pub(super) frames: (u64, Option<u64>),
    pub(super) hops: Vec<Minute>,
    pub(super) latency: Vec<show::Hop>,
    pub(super) latency_due: u64,
    /// Polls and work of each stage at the last state.
    pub(super) worked: Vec<(u64, u64)>,
    /// When each order was first seen.
    pub(super) orders: BTreeMap<String, u64>,
    pub(super) done: VecDeque<show::Order>,
    pub(super) trades: VecDeque<show::Trade>,
    pub(super) trades_seen: usize,
    pub(super) session: Session,
    pub(super) state: Arc<show::State>,
}

impl Publishing {
    /// Of a run that begins.
    pub fn new(facts: Facts, out: Option<Arc<Published>>, now_ms: u64) -> Self {
        let stages = facts.stages.len();
        let sequence = out.as_ref().map_or(0, |o| o.newest().sequence);
        Self {
            facts,
            out,
            due: 0,
            sequence,
            router: None,
            engine: None,
            since: BTreeMap::new(),
            frames: (0, None),
            hops: vec![Minute::default(); Hop::ALL.len()],
            latency: Vec::new(),
            latency_due: 0,
            worked: vec![(0, 0); stages],
            orders: BTreeMap::new(),
            done: VecDeque::new(),
            trades: VecDeque::new(),
            trades_seen: 0,
            session: Session::new(now_ms),
            state: Arc::default(),
        }
    }

    /// What the session's report is made of.
    pub fn into_session(self) -> Session {
        self.session
    }

    /// The newest state.
    pub fn state(&self) -> &Arc<show::State> {
        &self.state
    }
}
