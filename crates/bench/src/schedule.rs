//! When each symbol does what: a pattern from a phase of its own, so many times as fast, for ever. The schedule goes by
//! intended times alone; it never waits for anybody (open loop).

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use market::{Amount, Instrument, InstrumentStatus, Nanos, Px, Qty, SymbolId};
use venue::core::Listing;
use venue::{Mirrored, PolledVenue};

use crate::market::{Change, Pattern, Source};

/// Between two mark prices of a symbol, ns.
const MARK_EVERY: u64 = 1_000_000_000;

struct Player {
    pattern: usize,
    next: usize,
    /// Intended time at which the pattern began.
    origin: i128,
    mark_due: u64,
}

/// What is due.
pub struct Schedule<'a> {
    source: &'a Source,
    /// Thousandths.
    rate: u64,
    /// Beyond the run: nothing is paid while it lasts.
    next_funding: Nanos,
    players: Vec<Player>,
    due: BinaryHeap<Reverse<(u64, u16)>>,
}

/// The pattern of a symbol, and the phase it begins with.
fn place(source: &Source, symbol: usize) -> (usize, usize) {
    let n = source.patterns.len();
    let phases = source.patterns[symbol % n].phases.len();
    // 101 is prime to the number of phases: neighbours lie far apart.
    (symbol % n, (symbol / n * 101) % phases)
}

/// The instruments that the venue lists: names of its own, grids of the patterns.
pub fn listings(source: &Source, symbols: usize) -> Vec<Listing> {
    let named = venue::sim::listings(symbols);
    let listing = |(i, named): (usize, &Listing)| {
        let (pattern, phase) = place(source, i);
        let p = &source.patterns[pattern];
        let middle = p.phases[phase].middle();
        let instrument = Instrument {
            id: named.instrument.id,
            symbol: named.instrument.symbol.clone(),
            status: InstrumentStatus::Trading,
            tick: p.tick,
            lot: p.lot,
            min_px: Px(1),
            max_px: Px(1 << 40),
            min_qty: Qty(1),
            max_qty: Qty(1 << 40),
            max_market_qty: Qty(1 << 40),
            min_notional: Amount(5 * Amount::ONE),
            multiplier_up: 1.5,
            multiplier_down: 0.5,
            max_orders: 200,
            px_step: 1,
            qty_step: 1,
        };
        let mut listing = Listing::new(instrument, &named.base, "USDT", 75);
        listing.mark.mark = amount(p, middle);
        listing.mark.index = listing.mark.mark;
        listing
    };
    named.iter().enumerate().map(listing).collect()
}

/// Opening middle prices.
pub fn openings(source: &Source, symbols: usize) -> Vec<f64> {
    let middle = |i| {
        let (pattern, phase) = place(source, i);
        let p = &source.patterns[pattern];
        p.tick.value(1) * p.phases[phase].middle()
    };
    (0..symbols).map(middle).collect()
}

fn amount(p: &Pattern, ticks: f64) -> Amount {
    Amount::from_f64(p.tick.value(1) * ticks).unwrap_or_default()
}

impl<'a> Schedule<'a> {
    /// From `now` on, `rate` thousandths as fast as the patterns.
    pub fn new(source: &'a Source, symbols: usize, rate: u64, now: u64) -> Self {
        let next_funding = Nanos(now + 8 * 3600 * Nanos::SECOND);
        let (players, due, rate) = (Vec::new(), BinaryHeap::new(), rate.max(1));
        let mut schedule = Self { source, rate, next_funding, players, due };
        for i in 0..symbols {
            let (pattern, phase) = place(source, i);
            let p = &source.patterns[pattern];
            let next = p.phases[phase].next;
            let begins = p.changes.get(next).map_or(0, |c| c.after);
            // A little apart from each other beyond their phases, so that no two ever move together.
            let origin = i128::from(now + i as u64 * 37_003) - i128::from(begins) * 1000 / i128::from(rate);
            schedule.players.push(Player { pattern, next, origin, mark_due: 0 });
            schedule.put(i);
        }
        schedule
    }

    /// The venue's books as they are before anything happens.
    pub fn open(&self, venue: &mut PolledVenue, now: u64) {
        for i in 0..self.players.len() {
            let (pattern, phase) = place(self.source, i);
            let phase = &self.source.patterns[pattern].phases[phase];
            let book = Mirrored::Book { bids: &phase.bids, asks: &phase.asks };
            venue.mirror(SymbolId(i as u16), book, Nanos(now));
        }
    }

    fn put(&mut self, symbol: usize) {
        let player = &mut self.players[symbol];
        let pattern = &self.source.patterns[player.pattern];
        if player.next >= pattern.changes.len() {
            // The end: on from the first phase, as a book told anew.
            let first = &pattern.phases[0];
            let spent = |i: usize| pattern.changes.get(i).map_or(0, |c| c.after);
            let length = spent(pattern.changes.len() - 1) - spent(first.next);
            player.origin += i128::from(length) * 1000 / i128::from(self.rate);
            player.next = first.next;
        }
        let after = i128::from(pattern.changes[player.next].after) * 1000 / i128::from(self.rate);
        let at = u64::try_from(player.origin + after).unwrap_or(0);
        self.due.push(Reverse((at, symbol as u16)));
    }

    /// When the next change is due.
    pub fn next_due(&self) -> u64 {
        self.due.peek().map_or(u64::MAX, |Reverse((at, _))| *at)
    }

    /// Lets the next change happen at the venue.
    pub fn play(&mut self, venue: &mut PolledVenue, now: u64) {
        let Some(Reverse((at, symbol))) = self.due.pop() else { return };
        let player = &mut self.players[usize::from(symbol)];
        let pattern = &self.source.patterns[player.pattern];
        let id = SymbolId(symbol);
        let begins_anew = pattern.phases[0].next == player.next;
        if begins_anew {
            let first = &pattern.phases[0];
            venue.mirror(id, Mirrored::Book { bids: &first.bids, asks: &first.asks }, Nanos(now));
        }
        match &pattern.changes[player.next].change {
            Change::Levels(bids, asks) => venue.mirror(id, Mirrored::Levels { bids, asks }, Nanos(now)),
            Change::Trade(aggressor, px, qty) => {
                venue.mirror(id, Mirrored::Trade { aggressor: *aggressor, px: *px, qty: *qty }, Nanos(now));
                if at >= player.mark_due {
                    player.mark_due = at + MARK_EVERY;
                    let mark = amount(pattern, px.0 as f64);
                    let next_funding = self.next_funding;
                    let what = Mirrored::Mark { mark, index: mark, funding_rate: 0, next_funding };
                    venue.mirror(id, what, Nanos(now));
                }
            }
        }
        player.next += 1;
        self.put(usize::from(symbol));
    }

    /// Changes a second at the patterns' own speed.
    pub fn per_second(&self) -> f64 {
        let of = |p: &Player| {
            let changes = &self.source.patterns[p.pattern].changes;
            let length = changes.last().map_or(1, |c| c.after).max(1);
            changes.len() as f64 * 1e9 / length as f64
        };
        self.players.iter().map(of).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times(rate: u64, n: usize) -> Vec<u64> {
        let source = Source::generated(5);
        let config = venue::VenueConfig { mirrored: listings(&source, 4), ..Default::default() };
        let mut venue = PolledVenue::new(config, Nanos(1_700_000_000_000_000_000)).unwrap();
        let mut schedule = Schedule::new(&source, 4, rate, 1_700_000_000_000_000_000);
        schedule.open(&mut venue, 1_700_000_000_000_000_000);
        let step = |_| {
            let at = schedule.next_due();
            schedule.play(&mut venue, at);
            at - 1_700_000_000_000_000_000
        };
        (0..n).map(step).collect()
    }

    /// Ten times as fast is the same order of things in a tenth of the time, over the pattern's end and beyond.
    #[test]
    fn a_rate_shortens_the_waits_and_nothing_else() {
        let (slow, fast) = (times(1000, 3000), times(10_000, 3000));
        assert!(slow.windows(2).all(|w| w[0] <= w[1]), "times only go on");
        assert!(slow[2999] > 10_000_000_000, "over the end: {}", slow[2999]);
        let ratio = slow[2999] as f64 / fast[2999] as f64;
        assert!((9.5..10.5).contains(&ratio), "{ratio}");
    }

    #[test]
    fn symbols_begin_at_phases_of_their_own() {
        let source = Source::generated(60);
        let listed = listings(&source, 48);
        let mut places: Vec<_> = (0..48).map(|i| place(&source, i)).collect();
        places.sort_unstable();
        places.dedup();
        assert_eq!((listed.len(), places.len()), (48, 48));
        assert!(openings(&source, 48).iter().all(|px| *px > 1000.0));
    }
}
