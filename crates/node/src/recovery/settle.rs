//! Trades of the run before that it had booked at a provisional price when it ended: the venue's own fills put them right
//! (SPEC §8, money is booked from the venue's facts).

use alpha::{Engine, TradeRecord};
use binance::Symbols;
use binance::rest::{RestClient, RestError};
use market::{Correction, Filled, Instrument, Nanos, Outcome, Qty, TripId};

use super::{Found, ORDER_AGE, Trip, fills, fold, signed};
use crate::memory_link::Saved;
use crate::stages::memory::Unsettled;

/// The time of a provisional exit is that of a comparison with the venue: the fill is this near to it.
const NEAR: u64 = 600 * Nanos::SECOND;

/// Puts them right: capital, the day, their records and the capital in those after them. `tick_ns`: what `bars_held` counts.
pub async fn settle(
    rest: &RestClient,
    symbols: &Symbols,
    (engine, saved): (&mut Engine, &mut Saved),
    found: &Found,
    (tick_ns, now): (u64, Nanos),
) -> Result<(), RestError> {
    // One that fails is tried again with those after it; those before it are done.
    while let Some(unsettled) = saved.unsettled.first().copied() {
        settle_one(rest, symbols, (engine, saved), found, (tick_ns, now), unsettled).await?;
        saved.unsettled.remove(0);
    }
    Ok(())
}

/// The same of the open position's entry, which the trade will be made of. `since`: venue time before it.
pub async fn settle_entry(
    rest: &RestClient,
    symbols: &Symbols,
    engine: &mut Engine,
    found: &Found,
    (since, now): (Nanos, Nanos),
) -> Result<(), RestError> {
    let Some(held) = engine.position() else { return Ok(()) };
    let Some(instrument) = symbols.get(held.symbol) else { return Ok(()) };
    let fills = fills(rest, symbols, held.symbol, since, now.millis() + 60_000).await?;
    let position = found.positions.iter().find(|p| p.symbol == held.symbol).map_or(Qty::ZERO, |p| p.qty);
    let trips = from_flat(&fills, position);
    let open = trips.iter().rfind(|t| !t.is_closed() && t.direction == held.direction);
    let Some(Trip { entry, .. }) = open else {
        let name = &instrument.symbol;
        tracing::warn!(
            "the entry in {name} was booked at a provisional price, and no fill tells the right one"
        );
        return Ok(());
    };
    let entry = Some(Filled {
        avg_px: entry.avg_px(instrument),
        notional: entry.notional(instrument),
        commission: entry.commission,
        maker_share: entry.maker_share(),
    });
    let (trip, symbol, direction) = (TripId::NONE, held.symbol, held.direction);
    let outcome = Outcome::Corrected(Correction { trip, symbol, direction, entry, exit: None });
    if engine.on_outcome(&outcome).is_ok() {
        tracing::info!("the entry in {} is put right by the venue's fills", instrument.symbol);
    }
    Ok(())
}

async fn settle_one(
    rest: &RestClient,
    symbols: &Symbols,
    (engine, saved): (&mut Engine, &mut Saved),
    found: &Found,
    (tick_ns, now): (u64, Nanos),
    unsettled: Unsettled,
) -> Result<(), RestError> {
    // The newest of that number: a correction is kept behind what it corrects.
    let place = saved.recent.iter().rposition(|t| t.number == unsettled.number);
    let Some(place) = place else { return Ok(()) };
    let was = saved.recent[place].trade.clone();
    let Some(symbol) = symbols.id(&was.symbol) else { return Ok(()) };
    let Some(instrument) = symbols.get(symbol) else { return Ok(()) };
    let held = was.bars_held.saturating_mul(tick_ns).saturating_add(ORDER_AGE);
    let since = Nanos(unsettled.exit_at.0.saturating_sub(held));
    let fills = fills(rest, symbols, symbol, since, now.millis() + 60_000).await?;
    let position = found.positions.iter().find(|p| p.symbol == symbol).map_or(Qty::ZERO, |p| p.qty);
    let Some(trip) = nearest(&from_flat(&fills, position), was.direction, unsettled.exit_at) else {
        tracing::warn!(
            "trade {} in {} was booked at a provisional price, and no fill tells the right one",
            unsettled.number,
            was.symbol
        );
        return Ok(());
    };
    let is = restated(&was, &trip, instrument);
    let change = is.pnl - was.pnl;
    // It was put right before the run ended.
    if change.abs() < 1e-8 {
        return Ok(());
    }
    tracing::info!("trade {} in {} is put right by {change:+.8}", unsettled.number, was.symbol);
    let newest = saved.recent.iter().all(|t| t.number <= unsettled.number);
    engine.correct_past(&was, is.pnl, newest);
    saved.recent[place].trade = is;
    for later in saved.recent[place..].iter_mut().filter(|t| t.number >= unsettled.number) {
        later.trade.capital_after += change;
    }
    Ok(())
}

/// Round trips from the first moment on at which the account was flat, by where the fills have led to.
fn from_flat(fills: &[market::ExecutionReport], position: Qty) -> Vec<Trip> {
    let mut before = position.0 - fills.iter().map(signed).sum::<i64>();
    for (i, fill) in fills.iter().enumerate() {
        if before == 0 {
            return fold(&fills[i..]);
        }
        before += signed(fill);
    }
    Vec::new()
}

fn nearest(trips: &[Trip], direction: i8, exit_at: Nanos) -> Option<Trip> {
    let away = |t: &Trip| t.exit.ts_event.0.abs_diff(exit_at.0);
    let closed = trips.iter().filter(|t| t.is_closed() && t.direction == direction && away(t) <= NEAR);
    closed.min_by_key(|t| away(t)).copied()
}

/// The record as the fills have it; the capital after it is the caller's to move.
fn restated(was: &TradeRecord, trip: &Trip, i: &Instrument) -> TradeRecord {
    let (entry_price, exit_price, notional) =
        (trip.entry.avg_px(i), trip.exit.avg_px(i), trip.entry.notional(i));
    let gross_pnl = notional * f64::from(trip.direction) * (exit_price / entry_price - 1.0);
    let fees = (trip.entry.commission + trip.exit.commission).to_f64();
    let made = |share: f64| match share {
        s if s >= 1.0 => Some(true),
        s if s <= 0.0 => Some(false),
        _ => None,
    };
    TradeRecord {
        entry_price,
        exit_price,
        notional,
        fees,
        gross_pnl,
        pnl: gross_pnl - fees,
        maker_entry: made(trip.entry.maker_share()),
        maker_exit: made(trip.exit.maker_share()),
        ..was.clone()
    }
}
