//! The stop for the case that the node dies (`router.disaster_stop_pct`, SPEC §8): each position has one conditional
//! order at the venue that closes it at the market, placed after the entry's fill and removed with the position.
//!
//! The router says which positions there are; the venue says what they were entered at and which stops stand. Every turn
//! compares the two and sends at most one request for a symbol: cancel what has no position or the wrong side, place
//! what is missing, and now and then list what stands, so that a stop which somebody cancelled is placed again. Stops of
//! an earlier run are known by their ids and go on being used. A run that ends with a position leaves its stop.

use std::collections::BTreeMap;

use binance::Symbols;
use binance::limits::Urgency;
use binance::rest::{CloseStop, RestClient, RestError};
use market::{Nanos, Qty, SymbolId};

/// What the ids of these orders begin with; no client order id reads so.
pub(super) const PREFIX: &str = "dlp-stop-";
/// What stands is listed again after this.
pub(super) const VERIFY_NS: u64 = 30 * Nanos::SECOND;
/// A refused request is sent again after this, doubled up to six times.
pub(super) const AGAIN_NS: u64 = Nanos::SECOND;
/// The id is in use: an earlier attempt was executed.
pub(super) const DUPLICATE: i32 = -4116;
/// There is no such order (any more).
pub(super) const GONE: [i32; 2] = [-2011, -2013];

/// The answer to a request.
pub(super) enum StopAnswer {
    /// What stands, of a symbol or of all.
    Listed(Option<SymbolId>, Result<Vec<CloseStop>, RestError>),
    /// Placed; `false`: the venue knows of no such position.
    Placed(SymbolId, CloseStop, Result<bool, RestError>),
    Canceled(SymbolId, String, Result<(), RestError>),
}

/// A symbol that has a position, or a stop.
#[derive(Default)]
pub(super) struct Guard {
    pub(super) held: Qty,
    pub(super) stands: Vec<CloseStop>,
    pub(super) asking: bool,
    pub(super) due: u64,
    pub(super) failures: u32,
}

impl Guard {
    /// What has to go: everything but one stop of the right side.
    pub(super) fn surplus(&self) -> Option<&CloseStop> {
        let right = |s: &&CloseStop| !self.held.is_zero() && s.sells == (self.held.0 > 0);
        let kept = self.stands.iter().find(right).map(|s| &s.client_id);
        self.stands.iter().find(|s| Some(&s.client_id) != kept)
    }

    pub(super) fn failed(&mut self, now: u64) {
        self.due = now + (AGAIN_NS << self.failures.min(6));
        self.failures += 1;
    }
}

/// All of them.
pub(super) struct CloseStops {
    /// Distance from the entry, %; 0: off.
    pub(super) pct: f64,
    pub(super) guards: BTreeMap<SymbolId, Guard>,
    /// The stops of earlier runs have been listed.
    pub(super) listed: bool,
    pub(super) listing: bool,
    pub(super) list_due: u64,
    pub(super) list_failures: u32,
    /// Ids begin with the run's start and are counted.
    pub(super) started: u64,
    pub(super) count: u64,
}

impl CloseStops {
    pub(super) fn new(pct: f64, now: u64) -> Self {
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
    pub(super) fn on_position(&mut self, symbol: SymbolId, held: Qty, now: u64) {
        if self.pct > 0.0 {
            let guard = self.guards.entry(symbol).or_default();
            (guard.held, guard.due, guard.failures) = (held, now, 0);
        }
    }

    pub(super) fn client_id(&mut self, symbol: SymbolId) -> String {
        self.count += 1;
        format!("{PREFIX}{:x}-{}-{}", self.started / Nanos::MS, symbol.0, self.count)
    }
}

/// Places a stop this far beyond what the venue says the position was entered at; `false`: it knows of none of this
/// side.
pub(super) async fn place(
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
