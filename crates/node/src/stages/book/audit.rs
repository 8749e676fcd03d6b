//! Books compared level by level with the venue's at the same update id, one at a time, the symbols in turn.

use book::{Audit, LocalBook, Verdict};
use market::{DepthSnapshot, DepthUpdate, Nanos, SymbolId};

/// An audit that has found no verdict in this time is given up.
const AUDIT_FOR: u64 = 10 * Nanos::SECOND;

/// The audit under way, and whose turn is next.
#[derive(Debug)]
pub struct Audits {
    audit: Audit,
    symbol: Option<SymbolId>,
    next: u16,
    due: u64,
    /// A book is audited this often, ns; 0: never.
    interval: u64,
}

impl Audits {
    /// One audit every `interval` ns; 0: none.
    pub fn new(interval: u64) -> Self {
        Self { audit: Audit::default(), symbol: None, next: 0, due: 0, interval }
    }

    /// Is the book of this symbol being audited?
    #[inline]
    pub fn is_of(&self, symbol: SymbolId) -> bool {
        self.symbol == Some(symbol)
    }

    /// Is the next audit due?
    pub const fn is_due(&self, now_ns: u64) -> bool {
        self.interval != 0 && now_ns >= self.due
    }

    /// Whose turn it is, when the next audit is due. The one before has either come to its verdict or is given up.
    pub fn due(&mut self, now_ns: u64, symbols: usize) -> Option<SymbolId> {
        if !self.is_due(now_ns) {
            return None;
        }
        let symbol = SymbolId(self.next);
        self.next = (self.next + 1) % symbols.max(1) as u16;
        self.due = now_ns + self.interval;
        self.symbol = None;
        Some(symbol)
    }

    /// The snapshot to compare with has been asked for.
    pub fn begin(&mut self, symbol: SymbolId, now_ns: u64) {
        self.audit.begin();
        self.symbol = Some(symbol);
        self.due = now_ns + self.interval.max(AUDIT_FOR);
    }

    /// An update of the book being audited.
    pub fn on_update(&mut self, update: &DepthUpdate<'_>) {
        self.audit.on_update(update);
    }

    /// The snapshot to compare with.
    pub fn on_snapshot(&mut self, snapshot: &DepthSnapshot<'_>) {
        self.audit.on_snapshot(snapshot);
    }

    /// The verdict over the book, once there is one: then the audit is over.
    pub fn verdict(&mut self, book: &LocalBook, now_ns: u64) -> Option<Verdict> {
        let verdict = self.audit.verdict(book)?;
        self.symbol = None;
        self.due = now_ns + self.interval;
        Some(verdict)
    }
}
