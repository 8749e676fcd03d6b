//! Round trips: what was bought and sold from flat to flat, and what the engine was told of it.
//!
//! Every lot that is counted belongs to exactly one side of one round trip: it opens or adds to the open one, or it
//! closes it; what goes beyond flat begins the next. So the profit of the trips is the profit of the wallet, whatever
//! order, plan or stranger the lots came from. A trip is remembered after it was closed, and with it what the engine was
//! told: when a price, a commission or a quantity comes later, the difference to that is told as a correction.

use arrayvec::ArrayVec;
use market::{
    Amount, Correction, EntryFilled, ExitFilled, ExitReason, Instrument, Nanos, Outcome, Px, Qty, SymbolId,
    TripId,
};
use serde::{Deserialize, Serialize};

use crate::fills::{FillDelta, FillSum};
use crate::position::Position;

/// Closed round trips that are remembered. A price that is late comes within the next comparisons with the venue, and
/// while those fail nothing is opened.
const REMEMBERED: usize = 256;

/// From flat to flat, or as far as it came.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct RoundTrip {
    /// Names it.
    pub id: TripId,
    /// Instrument.
    pub symbol: SymbolId,
    /// +1 long, −1 short.
    pub direction: i8,
    /// What opened it.
    pub entry: FillSum,
    /// What closed it.
    pub exit: FillSum,
    /// Why the last exit fill happened.
    pub closed_by: ExitReason,
    /// Did an order of this run begin it? Then it is ours to close, whatever becomes of the entry.
    pub own: bool,
    told_entry: Option<FillSum>,
    told_exit: Option<FillSum>,
}

impl RoundTrip {
    fn new(id: TripId, symbol: SymbolId, direction: i8) -> Self {
        let (entry, exit) = (FillSum::default(), FillSum::default());
        let closed_by = ExitReason::External;
        Self { id, symbol, direction, entry, exit, closed_by, own: false, told_entry: None, told_exit: None }
    }

    /// Has its end been told?
    pub fn is_told(&self) -> bool {
        self.told_exit.is_some()
    }

    /// The entry as an outcome; from now on changes of it are corrections.
    pub(crate) fn tell_entry(&mut self, i: &Instrument) -> EntryFilled {
        self.told_entry = Some(self.entry);
        let e = self.entry.filled(i);
        EntryFilled {
            symbol: self.symbol,
            direction: self.direction,
            trip: self.id,
            provisional: !self.entry.is_complete(),
            qty: Qty(self.entry.qty.0 * i64::from(self.direction)),
            avg_px: e.avg_px,
            notional: e.notional,
            commission: e.commission,
            maker_share: e.maker_share,
            ts_event: self.entry.ts_event,
        }
    }

    /// The exit as an outcome; from now on changes of it are corrections.
    pub(crate) fn tell_exit(&mut self, i: &Instrument) -> ExitFilled {
        self.told_exit = Some(self.exit);
        let x = self.exit.filled(i);
        ExitFilled {
            symbol: self.symbol,
            trip: self.id,
            provisional: !self.exit.is_complete(),
            reason: self.closed_by,
            avg_px: x.avg_px,
            notional: x.notional,
            commission: x.commission,
            maker_share: x.maker_share,
            ts_event: self.exit.ts_event,
        }
    }

    /// The whole of it as one outcome.
    pub(crate) fn tell_whole(&mut self, i: &Instrument) -> Outcome {
        Outcome::Unplanned { entry: self.tell_entry(i), exit: self.tell_exit(i) }
    }

    /// What differs from what was told, if anything does.
    pub(crate) fn correction(&self, i: &Instrument) -> Option<Correction> {
        let entry = self.told_entry.is_some_and(|t| t != self.entry).then(|| self.entry.filled(i));
        let exit = self.told_exit.is_some_and(|t| t != self.exit).then(|| self.exit.filled(i));
        let Self { id: trip, symbol, direction, .. } = *self;
        (entry.is_some() || exit.is_some()).then_some(Correction { trip, symbol, direction, entry, exit })
    }

    /// The correction was told.
    pub(crate) fn corrected(&mut self) {
        self.told_entry = self.told_entry.map(|_| self.entry);
        self.told_exit = self.told_exit.map(|_| self.exit);
    }

    /// The engine knows the entry from before this run: what is closed of it already is `exit`.
    pub(crate) fn adopt_exits(&mut self, exit: FillSum, cost: i128) {
        self.entry.qty += exit.qty;
        self.entry.priced += exit.qty;
        self.entry.value += cost;
        self.exit = exit;
        self.told_entry = Some(self.entry);
    }
}

/// The closed round trips of this run, the newest of them.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ClosedTrips {
    run: u64,
    begun: u32,
    ring: Vec<RoundTrip>,
    next: usize,
}

impl ClosedTrips {
    pub(crate) fn new(run: u64) -> Self {
        Self { run, begun: 0, ring: Vec::with_capacity(REMEMBERED), next: 0 }
    }

    pub(crate) fn begin(&mut self, symbol: SymbolId, direction: i8) -> RoundTrip {
        self.begun += 1;
        RoundTrip::new(TripId::new(self.run, self.begun), symbol, direction)
    }

    fn close(&mut self, trip: RoundTrip) {
        if self.ring.len() < REMEMBERED {
            self.ring.push(trip);
        } else {
            self.ring[self.next] = trip;
            self.next = (self.next + 1) % REMEMBERED;
        }
    }

    /// Oldest first.
    pub(crate) fn iter_mut(&mut self) -> impl DoubleEndedIterator<Item = &mut RoundTrip> {
        let (newer, older) = self.ring.split_at_mut(self.next);
        older.iter_mut().chain(newer)
    }

    /// Oldest first.
    pub(crate) fn iter(&self) -> impl DoubleEndedIterator<Item = &RoundTrip> {
        let (newer, older) = self.ring.split_at(self.next);
        older.iter().chain(newer)
    }
}

/// Where lots were counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Part {
    pub trip: TripId,
    /// Did they close (and not open)?
    pub exit: bool,
    /// How many, > 0.
    pub lots: i64,
}

/// Where the lots of an order are that have no price yet, oldest first. One place almost always; two where it closed
/// one round trip and began the next. Beyond three the newest lots are taken for those of the last place.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Parts {
    used: u8,
    parts: [Part; 3],
}

impl Parts {
    pub(crate) fn push(&mut self, part: Part) {
        let (used, full) = (usize::from(self.used), usize::from(self.used) == self.parts.len());
        match self.parts[..used].last_mut() {
            Some(p) if full || (p.trip, p.exit) == (part.trip, part.exit) => p.lots += part.lots,
            _ => {
                self.parts[used] = part;
                self.used += 1;
            }
        }
    }

    /// Takes up to `lots` from the oldest place.
    pub(crate) fn take(&mut self, lots: i64) -> Option<Part> {
        let used = usize::from(self.used);
        let first = self.parts[..used].first_mut()?;
        let taken = Part { lots: first.lots.min(lots), ..*first };
        first.lots -= taken.lots;
        if first.lots == 0 {
            self.parts.copy_within(1.., 0);
            self.used -= 1;
        }
        (taken.lots > 0).then_some(taken)
    }

    pub(crate) fn lots(&self) -> i64 {
        self.parts[..usize::from(self.used)].iter().map(|p| p.lots).sum()
    }
}

/// Counts lots into one instrument's position and round trips.
pub(crate) struct Booking<'a> {
    pub instrument: &'a Instrument,
    pub position: &'a mut Position,
    pub open: &'a mut Option<RoundTrip>,
    pub closed: &'a mut ClosedTrips,
}

impl Booking<'_> {
    /// New lots (signed) of an order of ours, or of nobody we know (`reason` is then [`ExitReason::External`]), at `d`'s
    /// price if they are `priced`, else at its stand-in; `d`'s commission goes with the first
    /// part, that which closes. Returns the profit and where the lots are.
    pub(crate) fn count(
        &mut self,
        signed: i64,
        d: &FillDelta,
        priced: bool,
        reason: ExitReason,
    ) -> (Amount, ArrayVec<Part, 2>) {
        let (mut gain, mut parts, mut left) = (Amount::ZERO, ArrayVec::new(), signed);
        let mut piece = FillDelta { repriced: Qty::ZERO, ..*d };
        while left != 0 {
            let before = self.position.qty.0;
            let closes = before.signum() == -left.signum();
            let n = if closes { left.signum() * left.abs().min(before.abs()) } else { left };
            gain += self.position.trade(self.instrument, n, if priced { d.px } else { d.stand_in });
            piece.lots = Qty(n.abs());
            piece.priced = if priced { piece.lots } else { Qty::ZERO };
            let id = self.instrument.id;
            let direction = if n < 0 { -1 } else { 1 };
            let own = reason != ExitReason::External;
            let trip = self.open.get_or_insert_with(|| RoundTrip { own, ..self.closed.begin(id, direction) });
            if closes {
                trip.exit.add(&piece);
                trip.closed_by = reason;
            } else {
                trip.entry.add(&piece);
            }
            parts.push(Part { trip: trip.id, exit: closes, lots: n.abs() });
            if self.position.qty.is_zero()
                && let Some(trip) = self.open.take()
            {
                self.closed.close(trip);
            }
            piece.commission = Amount::ZERO;
            left -= n;
        }
        self.position.commission += d.commission;
        (gain - d.commission, parts)
    }

    /// Lots counted before, at `d.stand_in`, have `d`'s price and commission. `sign` of the order. Returns the profit.
    pub(crate) fn price(&mut self, sign: i64, part: Part, d: &FillDelta) -> Amount {
        let lots = Qty(part.lots);
        let piece = FillDelta { lots: Qty::ZERO, priced: lots, repriced: lots, ..*d };
        self.move_price(sign, part, (d.stand_in, d.px), d.commission, |sum| sum.add(&piece))
    }

    /// Lots counted at one stand-in price have another one.
    pub(crate) fn restate(&mut self, sign: i64, part: Part, from: Px, to: Px) -> Amount {
        let change = i128::from(to.0 - from.0) * i128::from(part.lots);
        self.move_price(sign, part, (from, to), Amount::ZERO, |sum| sum.estimate += change)
    }

    fn move_price(
        &mut self,
        sign: i64,
        part: Part,
        prices: (Px, Px),
        commission: Amount,
        change: impl Fn(&mut FillSum),
    ) -> Amount {
        let held = self.position.qty.0.abs();
        let open = self.open.as_mut().filter(|t| t.id == part.trip);
        let mut share = (0, 1);
        if let Some(trip) = open {
            if part.exit {
                change(&mut trip.exit);
            } else {
                change(&mut trip.entry);
                share = (held, trip.entry.qty.0);
            }
        } else if let Some(trip) = self.closed.iter_mut().rev().find(|t| t.id == part.trip) {
            change(if part.exit { &mut trip.exit } else { &mut trip.entry });
        }
        self.position.commission += commission;
        self.position.reprice(self.instrument, sign * part.lots, prices, share) - commission
    }

    /// A position from before this run, with its cost in ticks × lots (positive).
    pub(crate) fn adopt(&mut self, qty: Qty, cost: i128, now: Nanos) {
        let direction = if qty.0 < 0 { -1 } else { 1 };
        let mut trip = self.closed.begin(self.instrument.id, direction);
        let lots = qty.abs();
        trip.entry = FillSum { qty: lots, priced: lots, value: cost, ts_event: now, ..FillSum::default() };
        trip.told_entry = Some(trip.entry);
        *self.open = Some(trip);
        self.position.qty = qty;
        self.position.cost = cost * i128::from(direction);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fills::value_amount;
    use market::Increment;
    use proptest::prelude::*;

    fn inst() -> Instrument {
        Instrument::plain(SymbolId(0), "X", Increment::decimals(2), Increment::decimals(3))
    }

    proptest! {
        /// However fills come, and however late their prices: position and round trips end where the same prices known
        /// at once would have brought them, and profit is what was received minus what was paid, to the last unit.
        #[test]
        fn profit_is_cash_flow_whenever_prices_become_known(
            trades in prop::collection::vec((-50i64..50, 9_000i64..11_000, 0usize..12), 1..60),
        ) {
            let i = inst();
            let (mut position, mut open, mut closed) = (Position::default(), None, ClosedTrips::new(3));
            let mut waiting: Vec<(usize, i64, Part, i64)> = Vec::new();
            let (mut cash, mut paid) = (0i128, 0);
            for (n, &(lots, px, late)) in trades.iter().enumerate().filter(|(_, t)| t.0 != 0) {
                let mut b =
                    Booking { instrument: &i, position: &mut position, open: &mut open, closed: &mut closed };
                waiting.retain(|(due, sign, part, px)| {
                    if *due > n {
                        return true;
                    }
                    let d = FillDelta { px: Px(*px), stand_in: Px(10_000), commission: Amount(7), ..Default::default() };
                    b.price(*sign, *part, &d);
                    false
                });
                let d = FillDelta { px: Px(px), stand_in: Px(10_000), commission: Amount(7), ..Default::default() };
                let free = FillDelta { commission: Amount::ZERO, ..d };
                let (_, parts) = b.count(lots, if late == 0 { &d } else { &free }, late == 0, ExitReason::Tp);
                prop_assert_eq!(parts.iter().map(|p| p.lots).sum::<i64>(), lots.abs());
                if late > 0 {
                    waiting.extend(parts.iter().map(|p| (n + late, lots.signum(), *p, px)));
                    paid += 7 * parts.len() as i64;
                } else {
                    paid += 7;
                }
                cash -= i128::from(lots) * i128::from(px);
            }
            let mut b = Booking { instrument: &i, position: &mut position, open: &mut open, closed: &mut closed };
            for (_, sign, part, px) in waiting {
                let d = FillDelta { px: Px(px), stand_in: Px(10_000), commission: Amount(7), ..Default::default() };
                b.price(sign, part, &d);
            }
            // Close what is open: then nothing is estimated, cut or in proportion.
            let rest = position.qty.0;
            let mut b = Booking { instrument: &i, position: &mut position, open: &mut open, closed: &mut closed };
            b.count(-rest, &FillDelta { px: Px(10_000), ..Default::default() }, true, ExitReason::Tp);
            cash += i128::from(rest) * 10_000;
            prop_assert!(open.is_none() && position.qty.is_zero() && position.cost == 0);
            prop_assert_eq!(position.realised, value_amount(&i, cash));
            prop_assert_eq!(position.commission, Amount(paid));
            let profit = |t: &RoundTrip| (t.exit.value - t.entry.value) * i128::from(t.direction);
            prop_assert_eq!(closed.iter().map(profit).sum::<i128>(), cash);
            prop_assert_eq!(closed.iter().map(|t| t.entry.commission.0 + t.exit.commission.0).sum::<i64>(), paid);
            prop_assert!(closed.iter().all(|t| t.entry.is_complete() && t.exit.is_complete() && t.entry.qty == t.exit.qty));
        }
    }

    #[test]
    fn what_was_told_and_changes_is_a_correction_once() {
        let i = inst();
        let (mut position, mut open, mut closed) = (Position::default(), None, ClosedTrips::new(3));
        let mut b = Booking { instrument: &i, position: &mut position, open: &mut open, closed: &mut closed };
        let d =
            FillDelta { px: Px(9_000), stand_in: Px(10_000), commission: Amount(7), ..Default::default() };
        let (_, parts) = b.count(5, &FillDelta { commission: Amount::ZERO, ..d }, false, ExitReason::Tp);
        let trip = open.as_mut().unwrap();
        let told = trip.tell_entry(&i);
        assert!(told.provisional && told.avg_px == 100.0 && told.trip == TripId::new(3, 1));
        assert_eq!(trip.correction(&i), None);
        let mut b = Booking { instrument: &i, position: &mut position, open: &mut open, closed: &mut closed };
        b.price(1, parts[0], &d);
        let trip = open.as_mut().unwrap();
        let c = trip.correction(&i).unwrap();
        assert_eq!((c.entry.unwrap().avg_px, c.entry.unwrap().commission, c.exit), (90.0, Amount(7), None));
        trip.corrected();
        assert_eq!(trip.correction(&i), None);
        assert_eq!(position.avg_ticks(), 9_000.0);
    }
}
