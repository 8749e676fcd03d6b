//! What the book stage exchanges with the control thread.

use binance::decode::DecodeError;
use binance::feed::FeedEvent;
use binance::snapshots::SnapshotRequest;
use book::Verdict;
use market::{Level, SymbolId};

/// Why a symbol is masked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Mask {
    /// Its book is not in sync with the venue.
    Unsynced,
    /// A stream of it is silent.
    Silent,
    /// Its book has not moved for longer than `ob_stale_after_ms` of event time.
    Stale,
    /// One side of its book is empty: it has no mid.
    OneSided,
    /// Its mid is farther from the mark price than `max_mark_gap_pct`.
    Odd,
}

/// What the book stage tells the control thread.
#[derive(Debug)]
pub enum BookNews {
    /// This symbol's book waits for a snapshot.
    NeedsSnapshot(SymbolId),
    /// This symbol's book is in sync (again), with this mid, in ticks.
    Synced(SymbolId, f64),
    /// A deeper book of so many levels a side took the place of this symbol's; `None`: it did not come into step.
    Deepened(SymbolId, Option<u32>),
    /// A snapshot is wanted to compare this symbol's book with.
    Audit(SymbolId),
    /// The comparison found a difference; the book is taken again.
    AuditFailed(SymbolId, Verdict),
    /// Of one state of this symbol's book `bookTicker` and the book say different best bids and asks: (bid, ask) of each.
    TouchDiffers(SymbolId, [(Level, Level); 2]),
    /// A symbol was masked, or is no longer.
    Masked(SymbolId, Option<Mask>),
    /// Of the streams.
    Streams(StreamNews),
    /// Counters, every 10 samples.
    Counters(BookCounters),
}

/// What passed through.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct BookCounters {
    /// Frames decoded into events.
    pub events: u64,
    /// Frames refused.
    pub rejected: u64,
    /// Frames of no interest.
    pub ignored: u64,
    /// Samples of all symbols.
    pub samples: u64,
    /// `pu` gaps.
    pub gaps: u64,
    /// Books found crossed.
    pub crossed: u64,
    /// Updates not newer than the book: replayed or late, dropped.
    pub old_updates: u64,
    /// Snapshots older than what was buffered for them.
    pub old_snapshots: u64,
    /// Books taken again after they had been in sync.
    pub resyncs: u64,
    /// Longest time that took, ms.
    pub longest_resync_ms: u64,
    /// Books in sync and not masked at the last sample.
    pub live_books: u32,
    /// Samples whose place a newer one took: the engine is behind.
    pub lost_samples: u64,
    /// States of books of which `bookTicker` and the book said the same best bid and ask.
    pub touches_same: u64,
    /// … and others.
    pub touches_different: u64,
    /// Samples whose features had all been computed before their boundary came.
    pub prepared: u64,
    /// Features that had to be computed at their boundary, symbol by symbol.
    pub computed_late: u64,
    /// Ticks whose eigen scan had been made before their boundary came.
    pub scans_prepared: u64,
    /// Event times too far from the venue's clock to be believed.
    pub odd_times: u64,
    /// Books compared level by level with the venue's at the same update id, and found equal.
    pub audits: u64,
    /// … and found different.
    pub audit_failures: u64,
    /// Of the streams.
    pub streams: StreamCounters,
}

/// A depth snapshot as the REST reply brought it.
#[derive(Debug)]
pub struct SnapshotReply {
    /// Whose, what for, and how deep.
    pub request: SnapshotRequest,
    /// The reply's body; `None`: it is being asked for, and updates count from here on ([`Purpose::Deepen`] alone).
    ///
    /// [`Purpose::Deepen`]: binance::snapshots::Purpose::Deepen
    pub body: Option<Vec<u8>>,
}

/// Bytes of a rejected frame that are shown.
pub const HEAD: usize = 96;

/// What the streams tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StreamNews {
    /// The connection has brought its first data since the start.
    Delivers {
        /// Connection.
        route: u8,
    },
    /// From the rules of [`binance::feed`].
    Event {
        /// Connection.
        route: u8,
        /// What.
        event: FeedEvent,
    },
    /// A frame was refused whole.
    BadFrame {
        /// Connection.
        route: u8,
        /// Why.
        error: DecodeError,
        /// How it begins.
        head: arrayvec::ArrayVec<u8, HEAD>,
    },
    /// More refused frames within a minute than a connection may have: it is replaced.
    TooManyBadFrames {
        /// Connection.
        route: u8,
    },
}

/// Counters of the streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct StreamCounters {
    /// Streams found silent.
    pub silent: u64,
    /// Streams silent after a second subscription.
    pub dead: u64,
    /// Connections on which everything fell silent together.
    pub stalled: u64,
    /// Holes in the ids of aggregate trades.
    pub trade_gaps: u64,
    /// Trades missing in them.
    pub trades_missed: u64,
    /// Aggregate trades told before, dropped.
    pub repeated_trades: u64,
    /// Connections replaced because of these findings.
    pub replaced: u64,
}
