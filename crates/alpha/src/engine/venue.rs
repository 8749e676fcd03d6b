//! Venue booking: what the router reports, and closing on request.

use market::{Amount, EntryFilled, ExitFilled, ExitIntent, ExitReason, Intent, Nanos, Outcome, SymbolId};

use super::{Booking, Engine, Hold};
use crate::params::Params;
use crate::position::{Fill, Position, When};
use crate::report::Action;

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
        }
    }

    fn on_entered(&mut self, f: &EntryFilled) -> Result<Booked, OutcomeError> {
        if f.symbol.index() >= self.assets.len() {
            return Err(OutcomeError::UnknownAsset(f.symbol));
        }
        let possible = sound(f.avg_px) && sound(f.notional) && matches!(f.direction, -1 | 1);
        if !possible {
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
        Ok(Booked::Exited)
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
