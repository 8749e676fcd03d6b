//! One instrument's book: the **played** quantities (simulated or recorded, not ours) with our accounts' resting
//! orders among them.
//!
//! The played market does not know our accounts, so their effect is kept beside it: what a taker of ours consumed
//! stays consumed until the played market updates that level, and each resting order remembers how much played
//! quantity stands ahead of it. That queue shrinks by trades at its price, by our own takers, and by cancels, which
//! are assumed to be spread evenly over the level.

use std::collections::BTreeMap;

use market::{Level, Px, Qty, Side};

use super::ids::AccountId;
use super::levels::Levels;

/// Played quantity at one price.
#[derive(Debug, Clone, Copy, Default)]
struct Cell {
    /// As the played market shows it.
    shown: i64,
    /// Consumed by takers of ours since then.
    taken: i64,
    /// Traded by the played market itself since then: that part of the next decrease is no cancel.
    traded: i64,
}

impl Cell {
    fn available(self) -> i64 {
        (self.shown - self.taken).max(0)
    }
}

/// An order of ours in the book.
#[derive(Debug, Clone, Copy)]
pub(super) struct Resting {
    /// Order id.
    pub order: u64,
    /// Owner.
    pub account: AccountId,
    /// Still working.
    pub leaves: i64,
    /// Played quantity that trades before it.
    pub ahead: i64,
}

/// What a taker meets first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hit {
    /// The played market.
    Played {
        /// At this price.
        px: Px,
        /// At most this much.
        qty: Qty,
    },
    /// An order of ours.
    Resting {
        /// At this price.
        px: Px,
        /// At most this much.
        qty: Qty,
        /// Its id.
        order: u64,
        /// Its owner.
        account: AccountId,
    },
}

/// A played trade's effect on our resting orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct MakerFill {
    /// The order.
    pub order: u64,
    /// Its price.
    pub px: Px,
    /// Filled quantity.
    pub qty: Qty,
}

const fn index(side: Side) -> usize {
    match side {
        Side::Buy => 0,
        Side::Sell => 1,
    }
}

/// The book of one instrument.
#[derive(Debug)]
pub struct Ladder {
    played: [Levels<Cell>; 2],
    resting: [BTreeMap<i64, Vec<Resting>>; 2],
    /// The played market's side is out of sight (a fault).
    hidden: [bool; 2],
    /// Levels that changed, with what is published there, in the order they did.
    dirty: Vec<(usize, Level)>,
}

impl Default for Ladder {
    fn default() -> Self {
        Self {
            played: [Levels::new(Side::Buy), Levels::new(Side::Sell)],
            resting: [BTreeMap::new(), BTreeMap::new()],
            hidden: [false; 2],
            dirty: Vec::new(),
        }
    }
}

impl Ladder {
    /// The quantity published at a price: played, less what was consumed, plus our orders.
    pub fn published(&self, side: Side, px: Px) -> Qty {
        self.published_at(index(side), px.0)
    }

    fn published_at(&self, i: usize, px: i64) -> Qty {
        let ours: i64 = self.resting[i].get(&px).map_or(0, |v| v.iter().map(|r| r.leaves).sum());
        Qty(self.cell(i, px).available() + ours)
    }

    /// The played quantity at a price, nothing on a hidden side.
    fn cell(&self, i: usize, px: i64) -> Cell {
        if self.hidden[i] { Cell::default() } else { self.played[i].get(px).copied().unwrap_or_default() }
    }

    /// Hides the played quantity of a side, or shows it again.
    pub(super) fn hide(&mut self, side: Side, on: bool) {
        let i = index(side);
        if self.hidden[i] != on {
            self.hidden[i] = on;
            let prices: Vec<i64> = self.played[i].iter().map(|(px, _)| px).collect();
            prices.into_iter().for_each(|px| self.changed(i, px));
        }
    }

    /// Prices of a side with a published quantity, best first.
    pub fn levels(&self, side: Side) -> impl Iterator<Item = Level> + '_ {
        let i = index(side);
        let played = self.played[i].iter().map(|(px, _)| px);
        let (bids, asks) =
            if i == 0 { (Some(&self.resting[0]), None) } else { (None, Some(&self.resting[1])) };
        let ours =
            bids.into_iter().flat_map(|r| r.keys().rev()).chain(asks.into_iter().flat_map(BTreeMap::keys));
        let merged = Merge { a: played.peekable(), b: ours.copied().peekable(), down: i == 0 };
        merged.map(move |px| Level { px: Px(px), qty: self.published_at(i, px) }).filter(|l| l.qty.0 > 0)
    }

    /// Best published level of a side.
    pub fn best(&self, side: Side) -> Option<Level> {
        self.levels(side).next()
    }

    /// A best level that the played market announced outside its depth updates, as our accounts leave it.
    pub fn adjusted(&self, side: Side, best: Level) -> Level {
        let i = index(side);
        let better =
            self.best_resting(i).filter(|&own| if i == 0 { own > best.px.0 } else { own < best.px.0 });
        if let Some(own) = better {
            return Level { px: Px(own), qty: self.published_at(i, own) };
        }
        let taken = self.played[i].get(best.px.0).map_or(0, |c| c.taken);
        let ours: i64 = self.resting[i].get(&best.px.0).map_or(0, |v| v.iter().map(|r| r.leaves).sum());
        Level { px: best.px, qty: Qty((best.qty.0 - taken).max(0) + ours) }
    }

    /// Best price of a side in the played market alone.
    fn best_played(&self, i: usize) -> Option<(i64, i64)> {
        if self.hidden[i] {
            return None;
        }
        self.played[i].iter().find_map(|(px, c)| (c.available() > 0).then_some((px, c.available())))
    }

    fn best_resting(&self, i: usize) -> Option<i64> {
        if i == 0 {
            self.resting[0].keys().next_back().copied()
        } else {
            self.resting[1].keys().next().copied()
        }
    }

    /// Notes that the quantity published at a price has changed.
    fn changed(&mut self, i: usize, px: i64) {
        self.dirty.push((i, Level { px: Px(px), qty: self.published_at(i, px) }));
    }

    /// The played market says: this level holds `qty` now.
    pub(super) fn set_played(&mut self, side: Side, px: Px, qty: Qty) {
        let (i, qty) = (index(side), qty.max(Qty::ZERO));
        let old = if qty.0 > 0 {
            self.played[i].insert(px.0, Cell { shown: qty.0, taken: 0, traded: 0 })
        } else {
            self.played[i].remove(px.0)
        };
        let old = old.unwrap_or_default();
        if let Some(queue) = self.resting[i].get_mut(&px.0) {
            let expected = (old.available() - old.traded).max(0);
            let cancelled = (expected - qty.0).max(0);
            for r in queue {
                if expected > 0 {
                    let share =
                        i128::from(cancelled) * i128::from(r.ahead.min(expected)) / i128::from(expected);
                    r.ahead -= i64::try_from(share).expect("no more than ahead");
                }
                r.ahead = r.ahead.clamp(0, qty.0);
            }
        }
        if old.available() != qty.0 && !self.hidden[i] {
            if self.resting[i].is_empty() {
                self.dirty.push((i, Level { px, qty }));
            } else {
                self.changed(i, px.0);
            }
        }
    }

    /// All played prices of a side (to replace the played book as a whole).
    pub(super) fn played_prices(&self, side: Side) -> Vec<Px> {
        self.played[index(side)].iter().map(|(p, _)| Px(p)).collect()
    }

    /// Adds an order behind everything that is published at its price.
    pub(super) fn rest(&mut self, side: Side, px: Px, order: u64, account: AccountId, leaves: Qty) {
        let i = index(side);
        let ahead = self.cell(i, px.0).available();
        self.resting[i].entry(px.0).or_default().push(Resting { order, account, leaves: leaves.0, ahead });
        self.changed(i, px.0);
    }

    /// Takes an order out.
    pub(super) fn remove(&mut self, side: Side, px: Px, order: u64) {
        let i = index(side);
        if let Some(queue) = self.resting[i].get_mut(&px.0) {
            queue.retain(|r| r.order != order);
            if queue.is_empty() {
                self.resting[i].remove(&px.0);
            }
            self.changed(i, px.0);
        }
    }

    /// Shrinks an order's working quantity in place (reduce-only orders follow the position).
    pub(super) fn shrink(&mut self, side: Side, px: Px, order: u64, leaves: Qty) {
        let i = index(side);
        if let Some(r) = self.resting[i].get_mut(&px.0).and_then(|q| q.iter_mut().find(|r| r.order == order))
            && r.leaves > leaves.0
        {
            r.leaves = leaves.0;
            self.changed(i, px.0);
        }
    }

    /// What a taker on `taker` side meets first at `limit` or better (`None` = any price), after having consumed
    /// `skip` at the levels already (for dry runs, `skip` is empty).
    pub(super) fn first_hit(&self, taker: Side, limit: Option<Px>) -> Option<Hit> {
        let i = index(taker.opposite());
        let best_played = self.best_played(i).map(|(px, _)| px);
        let px = match (best_played, self.best_resting(i)) {
            (Some(a), Some(b)) if i == 0 => a.max(b),
            (Some(a), Some(b)) => a.min(b),
            (a, b) => a.or(b)?,
        };
        let within = match (limit, taker) {
            (None, _) => true,
            (Some(l), Side::Buy) => px <= l.0,
            (Some(l), Side::Sell) => px >= l.0,
        };
        if !within {
            return None;
        }
        let available = self.cell(i, px).available();
        if let Some(first) = self.resting[i].get(&px).and_then(|q| q.first()) {
            let ahead = first.ahead.min(available);
            if ahead == 0 {
                let qty = Qty(first.leaves);
                return Some(Hit::Resting { px: Px(px), qty, order: first.order, account: first.account });
            }
            return Some(Hit::Played { px: Px(px), qty: Qty(ahead) });
        }
        Some(Hit::Played { px: Px(px), qty: Qty(available) })
    }

    /// A taker consumed played quantity.
    pub(super) fn consume(&mut self, taker: Side, px: Px, qty: Qty) {
        let i = index(taker.opposite());
        if let Some(cell) = self.played[i].get_mut(px.0) {
            cell.taken += qty.0;
        }
        if let Some(queue) = self.resting[i].get_mut(&px.0) {
            for r in queue {
                r.ahead = (r.ahead - qty.0).max(0);
            }
        }
        self.changed(i, px.0);
    }

    /// An order of ours was filled by `qty`: it leaves the book when nothing is left.
    pub(super) fn reduce(&mut self, side: Side, px: Px, order: u64, qty: Qty) {
        let i = index(side);
        let Some(queue) = self.resting[i].get_mut(&px.0) else { return };
        if let Some(r) = queue.iter_mut().find(|r| r.order == order) {
            r.leaves -= qty.0;
        }
        queue.retain(|r| r.leaves > 0);
        if queue.is_empty() {
            self.resting[i].remove(&px.0);
        }
        self.changed(i, px.0);
    }

    /// Quantity that a taker could get at `limit` or better, our own orders of `account` left out.
    pub(super) fn takeable(&self, taker: Side, limit: Option<Px>, account: AccountId) -> Qty {
        let i = index(taker.opposite());
        let inside = |px: i64| match (limit, taker) {
            (None, _) => true,
            (Some(l), Side::Buy) => px <= l.0,
            (Some(l), Side::Sell) => px >= l.0,
        };
        let played: i64 =
            self.played[i].iter().filter(|(p, _)| inside(*p)).map(|(p, _)| self.cell(i, p).available()).sum();
        let ours: i64 = (self.resting[i].iter().filter(|(p, _)| inside(**p)))
            .flat_map(|(_, q)| q.iter().filter(|r| r.account != account).map(|r| r.leaves))
            .sum();
        Qty(played + ours)
    }

    /// The first of our orders that a played trade at `px` of `qty` fills; call again with what is left of the
    /// trade. Returns the fill and how much of the trade is used up before and with it.
    ///
    /// A trade beyond our price must have met our order first; at our price it first eats the queue ahead.
    pub(super) fn trade_hits(&mut self, aggressor: Side, px: Px, qty: Qty) -> (Option<MakerFill>, Qty) {
        let i = index(aggressor.opposite());
        let Some(best) = self.best_resting(i) else {
            self.note_traded(i, px, qty);
            return (None, qty);
        };
        let beyond = if i == 0 { best > px.0 } else { best < px.0 };
        if !beyond && best != px.0 {
            self.note_traded(i, px, qty);
            return (None, qty);
        }
        let Some(first) = self.resting[i].get(&best).and_then(|q| q.first()).copied() else {
            return (None, qty);
        };
        let ahead = if beyond { 0 } else { first.ahead.min(qty.0) };
        if ahead > 0 {
            self.note_traded(i, px, Qty(ahead));
            for r in self.resting[i].get_mut(&best).expect("just read") {
                r.ahead = (r.ahead - ahead).max(0);
            }
        }
        let filled = first.leaves.min(qty.0 - ahead);
        if filled == 0 {
            return (None, qty);
        }
        (Some(MakerFill { order: first.order, px: Px(best), qty: Qty(filled) }), Qty(ahead + filled))
    }

    fn note_traded(&mut self, i: usize, px: Px, qty: Qty) {
        if let Some(cell) = self.played[i].get_mut(px.0) {
            cell.traded += qty.0;
        }
    }

    /// The first resting order that the played market has crossed, with the price and quantity it fills at.
    pub(super) fn crossed(&self) -> Option<(MakerFill, Side, Px)> {
        for side in [Side::Buy, Side::Sell] {
            let (i, j) = (index(side), index(side.opposite()));
            let (Some(own), Some((px, available))) = (self.best_resting(i), self.best_played(j)) else {
                continue;
            };
            if (i == 0 && px > own) || (i == 1 && px < own) {
                continue;
            }
            let first = self.resting[i].get(&own).and_then(|q| q.first()).expect("no empty queues");
            let fill = MakerFill { order: first.order, px: Px(own), qty: Qty(first.leaves.min(available)) };
            return Some((fill, side, Px(px)));
        }
        None
    }

    /// Takes the levels that changed since the last call: side, price, published quantity.
    pub fn take_changes(&mut self, mut each: impl FnMut(Side, Level)) -> bool {
        if self.dirty.is_empty() {
            return false;
        }
        // Of a price that changed twice, the last word counts.
        self.dirty.sort_by_key(|(i, l)| (*i, l.px));
        for (n, &(i, level)) in self.dirty.iter().enumerate() {
            if self.dirty.get(n + 1).is_some_and(|(j, next)| *j == i && next.px == level.px) {
                continue;
            }
            each(if i == 0 { Side::Buy } else { Side::Sell }, level);
        }
        self.dirty.clear();
        true
    }

    /// Are there changes that [`Self::take_changes`] has not handed out?
    pub fn has_changes(&self) -> bool {
        !self.dirty.is_empty()
    }
}

/// Two sequences of prices, best first, as one without duplicates.
struct Merge<A: Iterator<Item = i64>, B: Iterator<Item = i64>> {
    a: std::iter::Peekable<A>,
    b: std::iter::Peekable<B>,
    /// The best is the highest.
    down: bool,
}

impl<A: Iterator<Item = i64>, B: Iterator<Item = i64>> Iterator for Merge<A, B> {
    type Item = i64;

    fn next(&mut self) -> Option<i64> {
        let px = match (self.a.peek(), self.b.peek()) {
            (Some(a), Some(b)) if self.down => *a.max(b),
            (Some(a), Some(b)) => *a.min(b),
            (a, b) => *a.or(b)?,
        };
        self.a.next_if_eq(&px);
        self.b.next_if_eq(&px);
        Some(px)
    }
}
