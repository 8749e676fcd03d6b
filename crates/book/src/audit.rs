//! An audit: is the book the venue's, level by level, at one and the same update id?
//!
//! Ids that chain without a gap prove that no update was missed, not that every one was read and applied rightly, nor
//! that levels far from the touch are not ghosts (an update that was lost before the book was taken, a fault of the
//! venue). So now and then a second book is built from a fresh snapshot and the same updates. The moment it is in step,
//! both stand at the same update id and must be equal, as far as both snapshots reached.

use market::{DepthSnapshot, DepthUpdate, Level, Side};

use crate::local_book::{BookOutcome, LocalBook};

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Equal, over this many levels.
    Same {
        /// Levels compared.
        levels: usize,
    },
    /// The first level that differs, best first.
    Differs {
        /// Side.
        side: Side,
        /// The book's level, if it has one there.
        ours: Option<Level>,
        /// The venue's.
        theirs: Option<Level>,
    },
}

/// A second book under construction.
#[derive(Debug, Clone, Default)]
pub struct Audit {
    shadow: LocalBook,
    has_snapshot: bool,
}

impl Audit {
    /// Begins anew: updates are collected for a snapshot to come.
    pub fn begin(&mut self) {
        self.shadow = LocalBook::new();
        self.has_snapshot = false;
    }

    /// Takes an update, after the audited book has taken it.
    pub fn on_update(&mut self, update: &DepthUpdate<'_>) -> BookOutcome {
        self.shadow.on_update(update)
    }

    /// Takes the snapshot.
    pub fn on_snapshot(&mut self, snapshot: &DepthSnapshot<'_>) -> BookOutcome {
        self.has_snapshot = true;
        self.shadow.on_snapshot(snapshot)
    }

    /// The second book itself, once both are in step at the same update id: it may take the place of `book`, whose levels
    /// it has and those beyond as far as its snapshot reached.
    pub fn take(&mut self, book: &LocalBook) -> Option<LocalBook> {
        self.is_in_step(book).then(|| {
            self.has_snapshot = false;
            std::mem::take(&mut self.shadow)
        })
    }

    fn is_in_step(&self, book: &LocalBook) -> bool {
        let live = self.has_snapshot && self.shadow.is_live() && book.is_live();
        live && self.shadow.last_update_id() == book.last_update_id()
    }

    /// Compares, once both books are in step at the same update id; `None` before.
    pub fn verdict(&self, book: &LocalBook) -> Option<Verdict> {
        if !self.is_in_step(book) {
            return None;
        }
        // Each knows only what its snapshot told.
        let (known, told) = (book.known(), self.shadow.known());
        let (low, high) = (known.0.max(told.0), known.1.min(told.1));
        let (ours, theirs) = (book.book(), self.shadow.book());
        let bids = first_difference(
            ours.bids().take_while(|l| l.px >= low),
            theirs.bids().take_while(|l| l.px >= low),
        );
        let asks = first_difference(
            ours.asks().take_while(|l| l.px <= high),
            theirs.asks().take_while(|l| l.px <= high),
        );
        let differs = |side| move |(ours, theirs)| Verdict::Differs { side, ours, theirs };
        let levels = match (bids, asks) {
            (Ok(bids), Ok(asks)) => Ok(bids + asks),
            (Err(bids), _) => Err(differs(Side::Buy)(bids)),
            (_, Err(asks)) => Err(differs(Side::Sell)(asks)),
        };
        Some(levels.map_or_else(|differs| differs, |levels| Verdict::Same { levels }))
    }
}

/// How many levels are equal if all are, else the first pair that is not.
fn first_difference(
    mut ours: impl Iterator<Item = Level>,
    mut theirs: impl Iterator<Item = Level>,
) -> Result<usize, (Option<Level>, Option<Level>)> {
    let mut equal = 0;
    loop {
        match (ours.next(), theirs.next()) {
            (None, None) => return Ok(equal),
            (a, b) if a == b => equal += 1,
            pair => return Err(pair),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use market::{Nanos, Px, Qty, SymbolId};

    fn level(px: i64, qty: i64) -> Level {
        Level { px: Px(px), qty: Qty(qty) }
    }

    fn update<'a>(id: u64, bids: &'a [Level], asks: &'a [Level]) -> DepthUpdate<'a> {
        DepthUpdate {
            symbol: SymbolId(0),
            ts_event: Nanos(id),
            ts_send: Nanos(id),
            first_update_id: id,
            last_update_id: id,
            prev_last_update_id: id - 1,
            bids,
            asks,
        }
    }

    fn snapshot<'a>(id: u64, bids: &'a [Level], asks: &'a [Level]) -> DepthSnapshot<'a> {
        DepthSnapshot { symbol: SymbolId(0), ts_send: Nanos(0), last_update_id: id, bids, asks }
    }

    /// A live book at id 2, and an audit that has seen the same updates since.
    fn pair() -> (LocalBook, Audit) {
        let (mut book, mut audit) = (LocalBook::new(), Audit::default());
        book.on_snapshot(&snapshot(1, &[level(99, 1), level(90, 5)], &[level(101, 1), level(110, 5)]));
        assert_eq!(book.on_update(&update(2, &[level(98, 2)], &[])), BookOutcome::Applied);
        audit.begin();
        (book, audit)
    }

    #[test]
    fn equal_books_are_the_same_as_far_as_the_snapshot_reaches() {
        let (mut book, mut audit) = pair();
        let (bids, asks) = ([level(97, 3)], [level(101, 0), level(102, 2)]);
        let next = update(3, &bids, &asks);
        book.on_update(&next);
        audit.on_update(&next);
        assert_eq!(audit.verdict(&book), None, "no snapshot yet");
        // The snapshot does not reach 90 and 110: what is there is not claimed.
        audit.on_snapshot(&snapshot(2, &[level(99, 1), level(98, 2)], &[level(101, 1), level(105, 0)]));
        let Some(Verdict::Same { levels }) = audit.verdict(&book) else {
            panic!("{:?}", audit.verdict(&book))
        };
        assert_eq!(levels, 3, "99, 98 and 102");
        let bids = [level(99, 0)];
        let next = update(4, &bids, &[]);
        book.on_update(&next);
        assert_eq!(audit.verdict(&book), None, "not at the same id");
    }

    #[test]
    fn what_the_books_own_snapshot_did_not_reach_is_not_compared() {
        let (mut book, mut audit) = pair();
        // The price has moved: the venue's newest snapshot tells of levels that lay beyond the book's own.
        audit.on_snapshot(&snapshot(
            2,
            &[level(99, 1), level(98, 2), level(90, 5), level(89, 7)],
            &[level(101, 1), level(110, 5), level(111, 7)],
        ));
        let next = update(3, &[], &[]);
        book.on_update(&next);
        audit.on_update(&next);
        assert_eq!(audit.verdict(&book), Some(Verdict::Same { levels: 5 }));
    }

    #[test]
    fn a_deeper_book_takes_the_place_of_a_shallow_one_at_the_same_id() {
        let (mut book, mut audit) = pair();
        let bids = [level(97, 3)];
        let next = update(3, &bids, &[]);
        book.on_update(&next);
        audit.on_update(&next);
        assert!(audit.take(&book).is_none(), "no snapshot yet");
        let bids = [level(99, 1), level(98, 2), level(90, 5), level(80, 7)];
        audit.on_snapshot(&snapshot(2, &bids, &[level(101, 1), level(110, 5), level(120, 6)]));
        let bids = [level(96, 1)];
        let early = update(4, &bids, &[]);
        book.on_update(&early);
        assert!(audit.take(&book).is_none(), "not at the same id");
        audit.on_update(&early);
        let deep = audit.take(&book).unwrap();
        assert!(deep.is_live() && deep.last_update_id() == 4);
        let prices = |b: &LocalBook| b.book().bids().map(|l| l.px.0).collect::<Vec<_>>();
        assert_eq!(prices(&deep), [99, 98, 97, 96, 90, 80]);
        assert_eq!(deep.book().asks().count(), 3);
        assert!(audit.take(&book).is_none(), "it is gone");
    }

    #[test]
    fn a_ghost_level_a_wrong_quantity_and_a_missing_level_are_named() {
        for (bids, asks, side) in [
            (vec![level(99, 1)], vec![level(101, 1), level(110, 5)], Side::Buy),
            (vec![level(99, 7), level(98, 2), level(90, 5)], vec![level(101, 1), level(110, 5)], Side::Buy),
            (
                vec![level(99, 1), level(98, 2), level(90, 5)],
                vec![level(101, 1), level(103, 1), level(110, 5)],
                Side::Sell,
            ),
        ] {
            let (mut book, mut audit) = pair();
            if bids.len() == 1 {
                // The venue has nothing below 99 but keeps 90: 98 is a ghost of ours.
                audit.on_snapshot(&snapshot(2, &[level(99, 1), level(90, 5)], &asks));
            } else {
                audit.on_snapshot(&snapshot(2, &bids, &asks));
            }
            let next = update(3, &[], &[]);
            book.on_update(&next);
            audit.on_update(&next);
            let found = audit.verdict(&book);
            assert!(matches!(found, Some(Verdict::Differs { side: s, .. }) if s == side), "{found:?}");
        }
    }
}
