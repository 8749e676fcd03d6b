//! The best bid and offer of two sources: `bookTicker`, which tells of every move at once and which orders peg to, and the
//! depth stream, which books and features are made of and which comes every 100 ms. Both number the states of the same
//! book, so where both speak of one state they must say the same.

use arrayvec::ArrayVec;
use market::{Bbo, Level};

/// States of `bookTicker` that are remembered: depth tells late, of the last state within its 100 ms.
const KEPT: usize = 4;

/// What was said of one symbol.
#[derive(Debug, Clone, Default)]
pub struct Touch {
    /// Of `bookTicker`, oldest first.
    told: ArrayVec<State, KEPT>,
    /// Of the book after its last update, until it was compared.
    book: Option<State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    id: u64,
    bid: Level,
    ask: Level,
}

impl State {
    const fn of(b: &Bbo) -> Self {
        Self { id: b.update_id, bid: b.bid, ask: b.ask }
    }
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compared {
    /// The two agree.
    Same,
    /// They do not: (bid, ask) by `bookTicker`, by the book.
    Different([(Level, Level); 2]),
}

impl Touch {
    /// `bookTicker` told of a state.
    pub fn on_ticker(&mut self, b: &Bbo) -> Option<Compared> {
        let state = State::of(b);
        if self.told.last().is_some_and(|last| last.id >= state.id) {
            return None;
        }
        if self.told.is_full() {
            self.told.remove(0);
        }
        self.told.push(state);
        let book = self.book.take_if(|book| book.id == state.id)?;
        Some(compare(state, book))
    }

    /// The live book was brought to a state.
    pub fn on_book(&mut self, b: &Bbo) -> Option<Compared> {
        let book = State::of(b);
        if let Some(told) = self.told.iter().rev().find(|told| told.id == book.id) {
            self.book = None;
            return Some(compare(*told, book));
        }
        self.book = Some(book);
        None
    }

    /// The connection was lost, or the book: what comes next is another story.
    pub fn forget(&mut self) {
        *self = Self::default();
    }
}

fn compare(told: State, book: State) -> Compared {
    if told == book {
        Compared::Same
    } else {
        Compared::Different([(told.bid, told.ask), (book.bid, book.ask)])
    }
}

#[cfg(test)]
mod tests {
    use market::{Nanos, Px, Qty, SymbolId};

    use super::*;

    fn bbo(id: u64, bid: i64, qty: i64) -> Bbo {
        Bbo {
            symbol: SymbolId(0),
            ts_event: Nanos(0),
            ts_send: Nanos(0),
            update_id: id,
            bid: Level { px: Px(bid), qty: Qty(qty) },
            ask: Level { px: Px(bid + 1), qty: Qty(1) },
        }
    }

    #[test]
    fn the_same_state_is_compared_once_whichever_tells_of_it_first() {
        let mut touch = Touch::default();
        assert_eq!(touch.on_ticker(&bbo(10, 100, 1)), None);
        assert_eq!(touch.on_ticker(&bbo(12, 101, 1)), None);
        assert_eq!(touch.on_ticker(&bbo(11, 99, 1)), None, "told late: not newer");
        assert_eq!(touch.on_book(&bbo(10, 100, 1)), Some(Compared::Same));
        assert_eq!(touch.on_book(&bbo(13, 101, 1)), None, "nobody else told of it");
        assert_eq!(touch.on_ticker(&bbo(14, 101, 1)), None);
        assert_eq!(touch.on_book(&bbo(15, 102, 1)), None);
        let different = touch.on_ticker(&bbo(15, 102, 2));
        assert!(matches!(different, Some(Compared::Different([told, book])) if told.0.qty != book.0.qty));
        assert_eq!(touch.on_ticker(&bbo(15, 102, 1)), None, "once");
        touch.on_book(&bbo(20, 1, 1));
        touch.forget();
        assert_eq!(touch.on_ticker(&bbo(20, 2, 1)), None);
    }
}
