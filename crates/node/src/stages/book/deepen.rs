//! Books that were taken shallow get deeper without a gap: a second book is built beside each from a deeper snapshot and the
//! same updates, and takes its place the moment both stand at the same update id (`binance::snapshots`).

use book::{Audit, LocalBook};
use market::{DepthSnapshot, DepthUpdate, Nanos, SymbolId};

/// A second book that is not in step after so long is given up, ns.
const WITHIN: u64 = 10 * Nanos::SECOND;

#[derive(Debug)]
struct Second {
    symbol: SymbolId,
    book: Audit,
    /// Levels a side of its snapshot.
    limit: u32,
    begun: u64,
}

/// The second books under construction.
#[derive(Debug, Default)]
pub struct Deepening(Vec<Second>);

impl Deepening {
    /// Is there one of this symbol?
    #[inline]
    pub fn is_of(&self, symbol: SymbolId) -> bool {
        self.0.iter().any(|s| s.symbol == symbol)
    }

    /// A snapshot of `limit` levels has been asked for: updates count from here on.
    pub fn begin(&mut self, symbol: SymbolId, limit: u32, now_ns: u64) {
        self.give_up(symbol);
        let mut book = Audit::default();
        book.begin();
        self.0.push(Second { symbol, book, limit, begun: now_ns });
    }

    /// An update, after the kept book has taken it.
    pub fn on_update(&mut self, update: &DepthUpdate<'_>) {
        if let Some(second) = self.0.iter_mut().find(|s| s.symbol == update.symbol) {
            second.book.on_update(update);
        }
    }

    /// The snapshot.
    pub fn on_snapshot(&mut self, snapshot: &DepthSnapshot<'_>) {
        if let Some(second) = self.0.iter_mut().find(|s| s.symbol == snapshot.symbol) {
            second.book.on_snapshot(snapshot);
        }
    }

    /// The book that takes the place of `kept`, and its levels, once both stand at the same update id.
    pub fn ready(&mut self, symbol: SymbolId, kept: &LocalBook) -> Option<(LocalBook, u32)> {
        let at = self.0.iter().position(|s| s.symbol == symbol)?;
        let book = self.0[at].book.take(kept)?;
        Some((book, self.0.swap_remove(at).limit))
    }

    /// Ends without one, if there is one.
    pub fn give_up(&mut self, symbol: SymbolId) -> bool {
        let before = self.0.len();
        self.0.retain(|s| s.symbol != symbol);
        self.0.len() < before
    }

    /// One that has taken too long.
    pub fn overdue(&self, now_ns: u64) -> Option<SymbolId> {
        self.0.iter().find(|s| now_ns.saturating_sub(s.begun) >= WITHIN).map(|s| s.symbol)
    }
}
