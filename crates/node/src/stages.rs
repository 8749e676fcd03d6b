//! The stages of the live path, in the order of the data. Each is a plain state machine; what joins them stands in
//! [`crate::topology`].

pub mod alpha;
pub mod book;
pub mod feed;
pub mod gateway;
pub mod memory;
pub mod router;
pub mod scanner;
pub mod shards;
pub mod streams;
pub mod ticks;

use ::alpha::eigen::Scan;
use market::{CrossAsset, Nanos, ObFeatures};
use serde::{Deserialize, Serialize};

/// The measured hops, in the order of the data (DESIGN.md habit 13: one documented enum feeds every picture).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Hop {
    /// Boundary of event time → tick of all symbols gathered from the shards (role alpha).
    Shards,
    /// Frame received → decoded and in the book: the wait in the ring and the work.
    Book,
    /// Frame that made a sample due → features of all symbols.
    Features,
    /// Tick handed over → four eigen windows.
    Scanner,
    /// Tick handed over → decision of the engine.
    Alpha,
    /// Intent → order requests, all risk checks passed.
    Router,
    /// Order request → signed bytes written to the socket.
    Gateway,
    /// Frame that made the tick due → signed order bytes written: all of the above.
    TickToOrder,
    /// Order written → the venue's first word of it.
    Acknowledged,
}

impl Hop {
    /// All, by number.
    pub const ALL: [Self; 9] = [
        Self::Shards,
        Self::Book,
        Self::Features,
        Self::Scanner,
        Self::Alpha,
        Self::Router,
        Self::Gateway,
        Self::TickToOrder,
        Self::Acknowledged,
    ];

    /// Its name in reports and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Shards => "shards",
            Self::Book => "book",
            Self::Features => "features",
            Self::Scanner => "scanner",
            Self::Alpha => "alpha",
            Self::Router => "router",
            Self::Gateway => "gateway",
            Self::TickToOrder => "tick_to_order",
            Self::Acknowledged => "acknowledged",
        }
    }
}

/// One tick on its way from the books to the engine.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Tick {
    /// The boundary, event time.
    pub ts: Nanos,
    /// When the frame that made it due was received (monotonic).
    pub recv_ns: u64,
    /// When the tick was handed to the next stage (monotonic).
    pub handed_ns: u64,
    /// Mid prices by column; NaN: book not in sync.
    pub mids: Vec<f64>,
    /// Features by column.
    pub features: Vec<Option<ObFeatures>>,
    /// Of all symbols together.
    pub cross: CrossAsset,
    /// Eigen scan of this tick.
    pub scan: Scan,
}

impl Tick {
    /// A tick for `symbols` columns.
    pub fn new(symbols: usize) -> Self {
        Self {
            ts: Nanos(0),
            recv_ns: 0,
            handed_ns: 0,
            mids: vec![f64::NAN; symbols],
            features: vec![None; symbols],
            cross: CrossAsset::default(),
            scan: Scan {
                lambda: [f64::NAN; 4],
                velocity: [f64::NAN; 4],
                vel_div: f64::NAN,
                instability_50: f64::NAN,
                instability_150: f64::NAN,
            },
        }
    }
}

impl Tick {
    /// Becomes equal to one of as many symbols, without allocating.
    pub fn copy_from(&mut self, other: &Self) {
        let Self { ts, recv_ns, handed_ns, ref mids, ref features, cross, scan } = *other;
        (self.ts, self.recv_ns, self.handed_ns) = (ts, recv_ns, handed_ns);
        (self.cross, self.scan) = (cross, scan);
        self.mids.clone_from(mids);
        self.features.clone_from(features);
    }
}

/// An intent with the stamps that the latency of its order is measured from.
#[derive(Debug, Clone, Copy)]
pub struct StampedIntent {
    /// The intent.
    pub intent: market::Intent,
    /// See [`Tick::recv_ns`].
    pub recv_ns: u64,
    /// When the engine had decided.
    pub decided_ns: u64,
}

/// An order request with the same stamps.
#[derive(Debug, Clone, Copy)]
pub struct StampedRequest {
    /// The request.
    pub request: market::OrderRequest,
    /// See [`Tick::recv_ns`]; 0 where no tick led to it (timers, re-pegs).
    pub recv_ns: u64,
    /// When the router had decided.
    pub routed_ns: u64,
}
