//! Venue booking: what the router reports, what it puts right afterwards, and closing on request.

use market::{
    Amount, Correction, EntryFilled, ExitFilled, ExitIntent, ExitReason, Filled, Intent, Nanos, Outcome,
    SymbolId, TripId,
};

use serde::{Deserialize, Serialize};

use super::{Booking, Engine, Hold};
use crate::params::Params;
use crate::position::{Fill, Position, Trade, TradeRecord, When};
use crate::report::Action;

/// Trades that may still be corrected: a correction comes within a few comparisons with the venue, and while those fail
/// nothing is opened.
const RECENT: usize = 64;

/// The newest trades of this run, by the round trips that they were. They are no part of a snapshot, which outlives the
/// run; whoever goes on within it needs them beside one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Recent(Vec<Known>);

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Known {
    number: u64,
    trip: TripId,
    trade: Trade,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(RECENT))
    }

    fn push(&mut self, known: Known) {
        if self.0.len() == RECENT {
            self.0.remove(0);
        }
        self.0.push(known);
    }
}

/// What an outcome led to.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Booked {
    /// A position was opened; `exit` is set where one was requested meanwhile.
    Entered {
        /// To be handed to the router at once.
        exit: Option<Intent>,
    },
    /// The entry came to nothing; the engine is flat.
    Abandoned,
    /// The position is closed; the trade is the newest of [`Engine::trades`].
    Exited,
    /// A round trip that no decision explains was booked; the trade is the newest of [`Engine::trades`].
    Unplanned,
    /// What was booked before was put right: the open position, or the trades of [`Engine::trades_since`] that number
    /// (`None`: no trade). They are to be written again.
    Corrected {
        /// The first trade whose record has changed; those after it have another capital.
        since: Option<u64>,
    },
}

/// An outcome that does not fit the engine's state. Nothing was changed; position and venue must be reconciled.
#[derive(Debug, Clone, Copy, PartialEq, thiserror::Error)]
pub enum OutcomeError {
    /// No such asset.
    #[error("the outcome is about asset {0:?}, which the engine does not follow")]
    UnknownAsset(SymbolId),
    /// A price, notional or direction that cannot be.
    #[error("the outcome about asset {0:?} has an impossible price, notional or direction")]
    Impossible(SymbolId),
    /// A position is held already.
    #[error("the outcome about asset {0:?} opens a position while one is held")]
    Occupied(SymbolId),
    /// Not the asset that is entered or held.
    #[error("the outcome about asset {0:?} is about no entry or position of the engine")]
    NotOurs(SymbolId),
    /// A correction of a trade that is not known, or known no more.
    #[error("the correction about asset {0:?} is of a round trip that the engine does not know")]
    UnknownTrip(SymbolId),
}

impl Engine {
    /// Books what the router did. An entry without an intent is an adopted position.
    pub fn on_outcome(&mut self, outcome: &Outcome) -> Result<Booked, OutcomeError> {
        match outcome {
            Outcome::Entered(filled) => self.on_entered(filled),
            Outcome::Abandoned { symbol, .. } => match self.state.book.hold {
                Hold::Entering { wanted, .. } if wanted.symbol == *symbol => {
                    self.state.book.hold = Hold::Flat;
                    Ok(Booked::Abandoned)
                }
                _ => Err(OutcomeError::NotOurs(*symbol)),
            },
            Outcome::Exited(filled) => self.on_exited(filled),
            Outcome::Unplanned { entry, exit } => self.on_unplanned(entry, exit),
            Outcome::Corrected(correction) => self.on_corrected(correction),
        }
    }

    fn on_entered(&mut self, f: &EntryFilled) -> Result<Booked, OutcomeError> {
        if f.symbol.index() >= self.assets.len() {
            return Err(OutcomeError::UnknownAsset(f.symbol));
        }
        if !possible(f) {
            return Err(OutcomeError::Impossible(f.symbol));
        }
        let (wanted, exit_after) = match self.state.book.hold {
            Hold::Entering { wanted, exit_after, .. } => (Some(wanted), exit_after),
            Hold::Flat => (None, None),
            Hold::Open(_) | Hold::Exiting(_) => return Err(OutcomeError::Occupied(f.symbol)),
        };
        if wanted.is_some_and(|w| w.symbol != f.symbol || w.direction != f.direction) {
            return Err(OutcomeError::NotOurs(f.symbol));
        }
        let Some(when) = self.now() else { return Err(OutcomeError::NotOurs(f.symbol)) };
        let base = wanted.unwrap_or_else(|| adopted(&self.params, f, self.state.book.capital, when));
        let position = Position {
            entry_price: f.avg_px,
            notional: f.notional,
            entry_tick: when.tick,
            entry_bar: when.bar,
            entry_date: when.date,
            maker_entry: made(f.maker_share),
            fee_entry: fee(f.commission, f.notional),
            ..base
        };
        self.state.book.hold = Hold::Open(position);
        let exit = exit_after.map(|reason| {
            self.state.book.hold = Hold::Exiting(position);
            Intent::Exit(ExitIntent { symbol: f.symbol, reason, ts_event: f.ts_event })
        });
        Ok(Booked::Entered { exit })
    }

    fn on_exited(&mut self, f: &ExitFilled) -> Result<Booked, OutcomeError> {
        // The resting take-profit order, or the venue itself, may close without an intent of ours.
        let (Hold::Open(position) | Hold::Exiting(position)) = self.state.book.hold else {
            return Err(OutcomeError::NotOurs(f.symbol));
        };
        let Some(when) = self.now().filter(|_| position.symbol == f.symbol) else {
            return Err(OutcomeError::NotOurs(f.symbol));
        };
        if !sound(f.avg_px) {
            return Err(OutcomeError::Impossible(f.symbol));
        }
        let fill =
            Fill { price: f.avg_px, maker: made(f.maker_share), fee: fee(f.commission, position.notional) };
        self.book_exit(position, fill, f.reason, when);
        self.remember(f.trip);
        Ok(Booked::Exited)
    }

    /// A round trip that was over before the engine heard of it: booked beside whatever it holds or enters.
    fn on_unplanned(&mut self, e: &EntryFilled, x: &ExitFilled) -> Result<Booked, OutcomeError> {
        if e.symbol.index() >= self.assets.len() {
            return Err(OutcomeError::UnknownAsset(e.symbol));
        }
        if !possible(e) || !sound(x.avg_px) {
            return Err(OutcomeError::Impossible(e.symbol));
        }
        let Some(when) = self.now() else { return Err(OutcomeError::NotOurs(e.symbol)) };
        if self.recent.0.iter().any(|known| known.trip == x.trip && !x.trip.is_none()) {
            return Ok(Booked::Corrected { since: None });
        }
        let position = Position {
            maker_entry: made(e.maker_share),
            fee_entry: fee(e.commission, e.notional),
            ..adopted(&self.params, e, self.state.book.capital, when)
        };
        let fill = Fill { price: x.avg_px, maker: made(x.maker_share), fee: fee(x.commission, e.notional) };
        let hold = self.state.book.hold;
        self.book_exit(position, fill, x.reason, when);
        self.state.book.hold = hold;
        self.remember(x.trip);
        Ok(Booked::Unplanned)
    }

    fn remember(&mut self, trip: TripId) {
        let book = &self.state.book;
        if let Some(trade) = book.trades.last().filter(|_| !trip.is_none()) {
            self.recent.push(Known { number: book.trades_closed, trip, trade: *trade });
        }
    }

    /// Puts right what an outcome had told before: capital, the day's sums, the trade's record and the capital in those
    /// after it. The values are absolute, so that a correction taken twice changes nothing the second time.
    fn on_corrected(&mut self, c: &Correction) -> Result<Booked, OutcomeError> {
        let possible = |f: &Filled| sound(f.avg_px) && sound(f.notional);
        if !c.entry.iter().chain(&c.exit).all(possible) {
            return Err(OutcomeError::Impossible(c.symbol));
        }
        let place = self.recent.0.iter().rposition(|known| known.trip == c.trip && !c.trip.is_none());
        let Some(place) = place else { return self.correct_position(c) };
        let was = self.recent.0[place].trade;
        let position = c.entry.map_or(was.position, |e| entered_at(was.position, &e));
        let fill = match c.exit {
            Some(x) => Fill {
                price: x.avg_px,
                maker: made(x.maker_share),
                fee: fee(x.commission, position.notional),
            },
            None => {
                // The exit's part of the fees is what the entry's leaves.
                let exit_fees = was.fees - was.position.notional * was.position.fee_entry;
                Fill { price: was.exit_price, maker: was.maker_exit, fee: exit_fees / position.notional }
            }
        };
        let when = When { tick: was.exit_tick, bar: was.exit_bar, date: was.exit_date };
        let now = Trade::close(position, fill, when, was.reason, was.capital_after - was.pnl);
        self.replace(place, &was, now);
        Ok(Booked::Corrected { since: Some(self.recent.0[place].number) })
    }

    fn replace(&mut self, place: usize, was: &Trade, now: Trade) {
        let change = now.pnl - was.pnl;
        let newest = place + 1 == self.recent.0.len();
        self.recent.0[place].trade = now;
        for later in &mut self.recent.0[place + 1..] {
            later.trade.capital_after += change;
        }
        let book = &mut self.state.book;
        book.capital += change;
        book.breaker.on_correction(was.pnl, now.pnl, newest);
        if let Some(day) = &mut book.day {
            day.pnl += change;
        }
        // Trades that nobody has taken yet.
        let first = book.trades_closed - book.trades.len() as u64 + 1;
        for known in &self.recent.0[place..] {
            let taken = known.number.checked_sub(first).and_then(|i| book.trades.get_mut(i as usize));
            if let Some(trade) = taken {
                *trade = known.trade;
            }
        }
    }

    /// A trade of an earlier run, booked in the capital that this engine began with, came to something else.
    pub fn correct_past(&mut self, was: &TradeRecord, pnl: f64, newest: bool) {
        let (change, book) = (pnl - was.pnl, &mut self.state.book);
        book.capital += change;
        if let Some(day) = book.day.as_mut().filter(|day| day.date == was.exit_date) {
            day.pnl += change;
            book.breaker.on_correction(was.pnl, pnl, newest);
        }
    }

    fn correct_position(&mut self, c: &Correction) -> Result<Booked, OutcomeError> {
        let Some(entry) = c.entry.filter(|_| c.exit.is_none()) else {
            return Err(OutcomeError::UnknownTrip(c.symbol));
        };
        match &mut self.state.book.hold {
            Hold::Open(p) | Hold::Exiting(p) if p.symbol == c.symbol && p.direction == c.direction => {
                *p = entered_at(*p, &entry);
                Ok(Booked::Corrected { since: None })
            }
            _ => Err(OutcomeError::UnknownTrip(c.symbol)),
        }
    }

    /// Trades of this run from number `since` on, as they are now, with their numbers; the newest 64 are known.
    pub fn trades_since(&self, since: u64) -> impl Iterator<Item = (u64, &Trade)> {
        self.recent.0.iter().filter(move |k| k.number >= since).map(|k| (k.number, &k.trade))
    }

    /// Closes what there is: HIBERNATE with `flatten`, the kill switch, the operator. A model books at the last known
    /// price; at a venue an intent comes back once, at once for a held position, with the outcome for a working entry.
    pub fn request_exit(&mut self, reason: ExitReason, ts_event: Nanos) -> Action {
        match self.state.book.hold {
            Hold::Open(position) => match self.now() {
                Some(when) => self.exit(position, reason, ts_event, when),
                None => Action::None,
            },
            Hold::Entering { wanted, vel_div, exit_after } => {
                let exit_after = exit_after.or(Some(reason));
                self.state.book.hold = Hold::Entering { wanted, vel_div, exit_after };
                Action::Intent(Intent::EntrySignal { symbol: wanted.symbol, holds: false })
            }
            Hold::Flat | Hold::Exiting(_) => Action::None,
        }
    }

    /// Is an order of the engine's at work?
    pub const fn is_working(&self) -> bool {
        matches!(self.state.book.hold, Hold::Entering { .. } | Hold::Exiting(_))
    }

    /// Who books.
    pub const fn booking(&self) -> Booking {
        self.booking
    }

    /// The last tick stepped in the open day.
    fn now(&self) -> Option<When> {
        let book = &self.state.book;
        let day = book.day?;
        Some(When { tick: book.ticks.saturating_sub(1), bar: day.bar_idx, date: day.date })
    }
}

/// A position whose entry was told anew.
fn entered_at(p: Position, e: &Filled) -> Position {
    Position {
        entry_price: e.avg_px,
        notional: e.notional,
        maker_entry: made(e.maker_share),
        fee_entry: fee(e.commission, e.notional),
        ..p
    }
}

fn possible(f: &EntryFilled) -> bool {
    sound(f.avg_px) && sound(f.notional) && matches!(f.direction, -1 | 1)
}

fn sound(x: f64) -> bool {
    x.is_finite() && x > 0.0
}

fn made(maker_share: f64) -> Option<bool> {
    match maker_share {
        s if s >= 1.0 => Some(true),
        s if s <= 0.0 => Some(false),
        _ => None,
    }
}

fn fee(commission: Amount, notional: f64) -> f64 {
    commission.to_f64() / notional
}

/// What is known of a position that no decision of ours opened.
fn adopted(params: &Params, f: &EntryFilled, capital: f64, when: When) -> Position {
    let leverage = f.notional / (capital * params.fraction);
    Position {
        symbol: f.symbol,
        direction: f.direction,
        entry_price: f.avg_px,
        notional: f.notional,
        leverage: if leverage.is_finite() { leverage } else { 0.0 },
        entry_tick: when.tick,
        entry_bar: when.bar,
        entry_date: when.date,
        maker_entry: None,
        fee_entry: 0.0,
        vel_div: 0.0,
        bucket: 3,
        boost: 1.0,
        beta: 0.0,
        mc_scale: 1.0,
    }
}
