//! What control does about the stops at the venue ([`CloseStops`]): lists, places and cancels them, one request a symbol
//! at a time.

use std::sync::Arc;

use binance::errors::Class;
use binance::rest::{CloseStop, RestError};
use market::SymbolId;

use super::close_stop::{AGAIN_NS, DUPLICATE, GONE, Guard, PREFIX, StopAnswer, VERIFY_NS, place};
use super::state::{Control, Done};

impl Control {
    /// What is due.
    pub(super) fn keep_stops(&mut self, now: u64) {
        if self.stops.pct <= 0.0 || !self.may_send() {
            return;
        }
        if !self.stops.listed {
            if !self.stops.listing && now >= self.stops.list_due {
                self.stops.listing = true;
                let rest = Arc::clone(&self.rest);
                self.start(async move { Done::Stop(StopAnswer::Listed(None, rest.close_stops(None).await)) });
            }
            return;
        }
        self.stops.guards.retain(|_, g| g.asking || !g.held.is_zero() || !g.stands.is_empty());
        let due = |(symbol, g): (&SymbolId, &Guard)| (!g.asking && now >= g.due).then_some(*symbol);
        let due: Vec<SymbolId> = self.stops.guards.iter().filter_map(due).collect();
        for symbol in due {
            self.ask(symbol);
        }
    }

    fn ask(&mut self, symbol: SymbolId) {
        let Some(name) = self.symbols.get(symbol).map(|i| i.symbol.clone()) else { return };
        let Some(guard) = self.stops.guards.get_mut(&symbol) else { return };
        guard.asking = true;
        let rest = Arc::clone(&self.rest);
        if let Some(id) = guard.surplus().map(|s| s.client_id.clone()) {
            self.start(async move {
                let result = rest.cancel_close_stop(&id).await;
                Done::Stop(StopAnswer::Canceled(symbol, id, result))
            });
        } else if guard.stands.is_empty() {
            let sells = guard.held.0 > 0;
            let stop = CloseStop { symbol: name, sells, client_id: self.stops.client_id(symbol) };
            let (symbols, pct) = (self.symbols.clone(), self.stops.pct);
            self.start(async move {
                let result = place(&rest, &symbols, symbol, &stop, pct).await;
                Done::Stop(StopAnswer::Placed(symbol, stop, result))
            });
        } else {
            self.start(async move {
                Done::Stop(StopAnswer::Listed(Some(symbol), rest.close_stops(Some(&name)).await))
            });
        }
    }

    pub(super) fn stop_answered(&mut self, answer: StopAnswer) {
        let now = self.clock.now_ns();
        match answer {
            StopAnswer::Listed(symbol, result) => self.stops_listed(symbol, result, now),
            StopAnswer::Placed(symbol, stop, result) => self.stop_placed(symbol, stop, result, now),
            StopAnswer::Canceled(symbol, id, result) => {
                let Some(guard) = self.stops.guards.get_mut(&symbol) else { return };
                guard.asking = false;
                match result {
                    Err(error) if !GONE.contains(&error.code()) => {
                        tracing::warn!("the stop of a closed position is not canceled: {error}");
                        guard.failed(now);
                    }
                    _ => {
                        guard.stands.retain(|s| s.client_id != id);
                        (guard.due, guard.failures) = (now, 0);
                    }
                }
            }
        }
    }

    fn stops_listed(
        &mut self,
        symbol: Option<SymbolId>,
        result: Result<Vec<CloseStop>, RestError>,
        now: u64,
    ) {
        let stops = match result {
            Ok(stops) => stops.into_iter().filter(|s| s.client_id.starts_with(PREFIX)),
            Err(error) => {
                tracing::warn!("the stops at the venue: {error}");
                if let Some(guard) = symbol.and_then(|s| self.stops.guards.get_mut(&s)) {
                    guard.asking = false;
                    guard.failed(now);
                } else {
                    self.stops.listing = false;
                    self.stops.list_due = now + (AGAIN_NS << self.stops.list_failures.min(6));
                    self.stops.list_failures += 1;
                }
                return;
            }
        };
        if let Some(symbol) = symbol {
            let Some(guard) = self.stops.guards.get_mut(&symbol) else { return };
            guard.stands = stops.collect();
            guard.asking = false;
            // The position may have gone or turned meanwhile.
            let right = !guard.stands.is_empty() && guard.surplus().is_none();
            guard.due = if right { now + VERIFY_NS } else { now };
            guard.failures = 0;
        } else {
            self.stops.listed = true;
            for stop in stops {
                if let Some(symbol) = self.symbols.id(&stop.symbol) {
                    self.stops.guards.entry(symbol).or_default().stands.push(stop);
                }
            }
        }
    }

    fn stop_placed(&mut self, symbol: SymbolId, stop: CloseStop, result: Result<bool, RestError>, now: u64) {
        let Some(guard) = self.stops.guards.get_mut(&symbol) else { return };
        guard.asking = false;
        match result {
            Ok(false) => guard.failed(now),
            Ok(true) => {
                guard.stands.push(stop);
                guard.due = if guard.surplus().is_some() { now } else { now + VERIFY_NS };
                guard.failures = 0;
            }
            Err(error) if error.code() == DUPLICATE || error.class() == Class::Unknown => {
                // It may stand: the list will tell.
                guard.stands.push(stop);
                guard.due = now + AGAIN_NS;
            }
            Err(error) => {
                guard.failed(now);
                tracing::error!(
                    "{} has no stop for the case that this node dies: {error}; it is tried again",
                    stop.symbol
                );
                self.private_error(&error);
                self.alert("DisasterStopMissing");
            }
        }
    }
}
