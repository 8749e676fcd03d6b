//! What the status model is made of besides the control thread's own state, and what is remembered from one to the next.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use runtime::worker::StageStats;
use telemetry::latency::Minute;
use telemetry::published::Published;
use telemetry::state as show;

use crate::memory_link::MemoryWatcher;
use crate::published::{EngineView, RouterView};
use crate::session::Session;
use crate::stages::Hop;

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
    pub fn new(facts: Facts, out: Option<Arc<Published>>) -> Self {
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
            session: Session::default(),
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
