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
use market::{CrossAsset, Nanos, ObFeatures, OrderRequest};
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

/// When a tick, and the order that came of it, passed each point of the way: monotonic ns, 0 where it never did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Stamps {
    /// The book stage took the frame that made the tick due.
    pub taken_ns: u64,
    /// It was decoded.
    pub decoded_ns: u64,
    /// The features of all symbols were there.
    pub sampled_ns: u64,
    /// The tick was handed on.
    pub handed_ns: u64,
    /// The scanner took it.
    pub scan_began_ns: u64,
    /// It had its scan.
    pub scanned_ns: u64,
    /// The engine took it.
    pub step_began_ns: u64,
    /// The engine had decided.
    pub decided_ns: u64,
    /// The router took what it came of.
    pub route_began_ns: u64,
}

/// What a request came of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cause {
    /// A tick, and the engine's decision on it.
    Tick,
    /// A quote that moved the touch.
    Quote,
    /// A word of the venue.
    Report,
    /// An outcome or a command: no moment on the wire that it could be measured from.
    #[default]
    Command,
    /// A deadline.
    Timer,
}

/// Why something is sent: what for, by which tick, and the way so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Trace {
    /// What it came of.
    pub cause: Cause,
    /// The boundary of the tick, event time; 0 without one.
    pub boundary: Nanos,
    /// Up to the router.
    pub stamps: Stamps,
}

impl Trace {
    /// Of something that the router took at this time, and no tick led to.
    pub fn of(cause: Cause, route_began_ns: u64) -> Self {
        Self { cause, boundary: Nanos(0), stamps: Stamps { route_began_ns, ..Stamps::default() } }
    }
}

/// The way of one request to the venue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeline {
    /// The request.
    pub request: OrderRequest,
    /// Why, and the way up to the router.
    pub trace: Trace,
    /// The router had done with it.
    pub routed_ns: u64,
    /// The gateway took the request.
    pub sent_ns: u64,
    /// The signed bytes were written to the socket.
    pub written_ns: u64,
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
    /// Its way so far; no input of a decision, and not kept.
    #[serde(skip)]
    pub stamps: Stamps,
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
            stamps: Stamps::default(),
        }
    }
}

impl Tick {
    /// Changes places with a tick of as many symbols, without copying what lies in vectors. A place that has had no tick yet
    /// gets its size.
    pub fn change_places(&mut self, other: &mut Self) {
        if self.mids.len() != other.mids.len() {
            *self = Self::new(other.mids.len());
        }
        std::mem::swap(self, other);
    }
}

/// A tick that journal and memory read where it lies.
pub type SharedTick = std::sync::Arc<Tick>;

/// An intent with the stamps that the latency of its order is measured from.
#[derive(Debug, Clone, Copy)]
pub struct StampedIntent {
    /// The intent.
    pub intent: market::Intent,
    /// See [`Tick::recv_ns`].
    pub recv_ns: u64,
    /// When the engine had decided.
    pub decided_ns: u64,
    /// The way so far.
    pub trace: Trace,
}

/// An order request with the same stamps.
#[derive(Debug, Clone, Copy)]
pub struct StampedRequest {
    /// The request.
    pub request: OrderRequest,
    /// See [`Tick::recv_ns`]; 0 where no tick led to it (timers, re-pegs).
    pub recv_ns: u64,
    /// When the router had decided.
    pub routed_ns: u64,
    /// The way up to the router.
    pub trace: Trace,
}
