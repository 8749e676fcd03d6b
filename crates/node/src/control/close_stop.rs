//! The stop for the case that the node dies (`router.disaster_stop_pct`, SPEC §8): each position has one conditional
//! order at the venue that closes it at the market, placed after the entry's fill and removed with the position.
//!
//! The router says which positions there are; the venue says what they were entered at and which stops stand. Every turn
//! compares the two and sends at most one request for a symbol: cancel what has no position or the wrong side, place
//! what is missing, and now and then list what stands, so that a stop which somebody cancelled is placed again. Stops of
//! an earlier run are known by their ids and go on being used. A run that ends with a position leaves its stop.

use std::collections::BTreeMap;
use std::sync::Arc;

use binance::Symbols;
use binance::errors::Class;
use binance::limits::Urgency;
use binance::rest::{CloseStop, RestClient, RestError};
use market::{Nanos, Qty, SymbolId};

use super::state::{Control, Done};

/// What the ids of these orders begin with; no client order id reads so.
const PREFIX: &str = "dlp-stop-";
/// What stands is listed again after this.
const VERIFY_NS: u64 = 30 * Nanos::SECOND;
/// A refused request is sent again after this, doubled up to six times.
const AGAIN_NS: u64 = Nanos::SECOND;
/// The id is in use: an earlier attempt was executed.
const DUPLICATE: i32 = -4116;
/// There is no such order (any more).
const GONE: [i32; 2] = [-2011, -2013];

/// The answer to a request.
pub(in crate::control) enum StopAnswer {
    /// What stands, of a symbol or of all.
    Listed(Option<SymbolId>, Result<Vec<CloseStop>, RestError>),
    /// Placed; `false`: the venue knows of no such position.
    Placed(SymbolId, CloseStop, Result<bool, RestError>),
    Canceled(SymbolId, String, Result<(), RestError>),
}

/// A symbol that has a position, or a stop.
#[derive(Default)]
struct Guard {
    held: Qty,
    stands: Vec<CloseStop>,
    asking: bool,
    due: u64,
    failures: u32,
}

impl Guard {
    /// What has to go: everything but one stop of the right side.
    fn surplus(&self) -> Option<&CloseStop> {
        let right = |s: &&CloseStop| !self.held.is_zero() && s.sells == (self.held.0 > 0);
        let kept = self.stands.iter().find(right).map(|s| &s.client_id);
        self.stands.iter().find(|s| Some(&s.client_id) != kept)
    }

    fn failed(&mut self, now: u64) {
        self.due = now + (AGAIN_NS << self.failures.min(6));
        self.failures += 1;
    }
}

/// All of them.
pub(in crate::control) struct CloseStops {
    /// Distance from the entry, %; 0: off.
    pct: f64,
    guards: BTreeMap<SymbolId, Guard>,
    /// The stops of earlier runs have been listed.
    listed: bool,
    listing: bool,
    list_due: u64,
    list_failures: u32,
    /// Ids begin with the run's start and are counted.
    started: u64,
    count: u64,
}

impl CloseStops {
    pub(in crate::control) fn new(pct: f64, now: u64) -> Self {
        Self {
            pct,
            guards: BTreeMap::new(),
            listed: false,
            listing: false,
            list_due: now,
            list_failures: 0,
            started: now,
            count: 0,
        }
    }

    /// The router's word.
    pub(in crate::control) fn on_position(&mut self, symbol: SymbolId, held: Qty, now: u64) {
        if self.pct > 0.0 {
            let guard = self.guards.entry(symbol).or_default();
            (guard.held, guard.due, guard.failures) = (held, now, 0);
        }
    }

    fn client_id(&mut self, symbol: SymbolId) -> String {
        self.count += 1;
        format!("{PREFIX}{:x}-{}-{}", self.started / Nanos::MS, symbol.0, self.count)
    }
}

impl Control {
    /// What is due.
    pub(super) fn tend_stops(&mut self, now: u64) {
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

/// Places a stop this far beyond what the venue says the position was entered at; `false`: it knows of none of this
/// side.
async fn place(
    rest: &RestClient,
    symbols: &Symbols,
    symbol: SymbolId,
    stop: &CloseStop,
    pct: f64,
) -> Result<bool, RestError> {
    let positions = rest.positions(symbols, Some(&stop.symbol), Urgency::Exit).await?;
    let held = positions.iter().find(|p| p.id == Some(symbol) && !p.qty.is_zero());
    let Some(position) = held.filter(|p| (p.qty.0 > 0) == stop.sells && p.entry_px > 0.0) else {
        return Ok(false);
    };
    let Some(instrument) = symbols.get(symbol) else { return Ok(false) };
    let away = position.entry_px * pct / 100.0;
    let trigger = if stop.sells { position.entry_px - away } else { position.entry_px + away };
    let Some(ticks) = instrument.tick.nearest(trigger).filter(|px| *px > 0) else { return Ok(false) };
    rest.place_close_stop(stop, &instrument.tick.format(ticks)).await.map(|()| true)
}

/// Removes the stops that have no position, at the end of a run: one may have been on its way when the position closed.
pub(crate) async fn remove_orphans(rest: &RestClient, held: impl Fn(&str) -> bool) -> Result<(), RestError> {
    for stop in rest.close_stops(None).await? {
        if stop.client_id.starts_with(PREFIX) && !held(&stop.symbol) {
            match rest.cancel_close_stop(&stop.client_id).await {
                Err(error) if !GONE.contains(&error.code()) => return Err(error),
                _ => {}
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stop(sells: bool, id: &str) -> CloseStop {
        CloseStop { symbol: "BTCUSDT".into(), sells, client_id: id.into() }
    }

    #[test]
    fn one_stop_of_the_right_side_is_kept() {
        let mut g =
            Guard { held: Qty(5), stands: vec![stop(false, "a"), stop(true, "b")], ..Guard::default() };
        assert_eq!(g.surplus().unwrap().client_id, "a");
        g.stands = vec![stop(true, "b"), stop(true, "c")];
        assert_eq!(g.surplus().unwrap().client_id, "c");
        g.stands.pop();
        assert_eq!(g.surplus(), None);
        g.held = Qty(-5);
        assert_eq!(g.surplus().unwrap().client_id, "b");
        (g.held, g.stands) = (Qty::ZERO, vec![stop(true, "b")]);
        assert_eq!(g.surplus().unwrap().client_id, "b");
    }

    #[test]
    fn ids_are_the_venues_and_nobody_elses() {
        let mut stops = CloseStops::new(2.0, 1_795_392_000_000 * Nanos::MS);
        let ids = [stops.client_id(SymbolId(399)), stops.client_id(SymbolId(399))];
        assert_ne!(ids[0], ids[1]);
        assert!(ids[0].len() <= 36 && market::ClientOrderId::parse(&ids[0]).is_none(), "{}", ids[0]);
    }
}
