//! What happened at the venue while nobody watched: a program that was killed left orders, fills and a position.
//!
//! The state in memory is older than the venue by whatever the last write missed. A position that is just as the state says,
//! and has not changed since, goes on at once: nothing of the past is needed for it. Else the account's fills since the last
//! booked exit are folded into round trips: from flat to flat, the last one perhaps still open; what closes the position
//! rests at the venue until that is done. They are handed to the engine as the outcomes that the router would have
//! reported, so that capital, trades and position are booked by the code that always books them; what is open is
//! adopted by the router, and its exits go on.

pub mod settle;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use alpha::{Engine, TradeRecord};
use binance::Symbols;
use binance::limits::Urgency;
use binance::rest::{RestClient, RestError, windows};
use execution::fills::{FillDelta, FillSum};
use execution::{Router, UnexpectedPosition, VenuePosition};
use market::planted::{Bug, planted};
use market::{
    AbandonReason, Amount, CancelOrder, ClientOrderId, EntryFilled, ExecutionReport, ExitFilled, ExitReason,
    Instrument, Nanos,
};
use market::{OrderOrigin, OrderRequest, Outcome, Qty, SymbolId, TripId, VenueTime};
use runtime::clock::Clock;

use crate::roles::lease::Fence;
use crate::stages::gateway::UNMEASURED;

/// Looks at the open orders until none of ours is left.
const CANCEL_ROUNDS: u32 = 10;
/// Between two of them.
const CANCEL_PAUSE: Duration = Duration::from_millis(100);
/// How far back fills are asked for where no state says (the venue's own limit is 7 days).
pub const WITHOUT_STATE: u64 = 6 * 86_400 * Nanos::SECOND;
/// An order may be older than its fill by this much, ns.
const ORDER_AGE: u64 = 3_600 * Nanos::SECOND;

/// From flat to flat, or as far as it came.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Trip {
    symbol: SymbolId,
    /// +1 long, −1 short.
    direction: i8,
    /// Venue time of the first fill.
    begun: Nanos,
    entry: FillSum,
    exit: FillSum,
    /// Closed by somebody else: by a person, or by the venue itself (liquidation, ADL, settlement).
    by_venue: bool,
    /// Begun by an order of ours.
    ours: bool,
}

impl Trip {
    fn is_closed(&self) -> bool {
        self.exit.qty == self.entry.qty
    }
}

/// An open position that goes on.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Adopted {
    /// Instrument.
    pub symbol: SymbolId,
    /// Signed lots.
    pub qty: Qty,
    /// Average price of the entry.
    pub avg_px: f64,
    /// What is closed of it already.
    pub exit: FillSum,
}

/// What the venue said.
#[derive(Debug, Clone, Default)]
pub struct Found {
    /// Fills of the account, by symbol, oldest first: ours, the venue's own, and those of a person who closed for us.
    fills: BTreeMap<SymbolId, Vec<ExecutionReport>>,
    /// Positions that are not zero.
    positions: Vec<VenuePosition>,
    /// When each of them changed last, venue time: the fills up to then are in it.
    updated: BTreeMap<SymbolId, Nanos>,
}

impl Found {
    fn position(&self, symbol: SymbolId) -> Qty {
        self.positions.iter().find(|p| p.symbol == symbol).map_or(Qty::ZERO, |p| p.qty)
    }

    /// Do the fills since `booked` lead to the positions, wherever fills were asked for?
    fn is_explained(&self, booked: Option<Nanos>) -> bool {
        let leads = |booked, symbol, fills| since(fills, booked, self.position(symbol)).is_some();
        booked.is_none_or(|booked| self.fills.iter().all(|(symbol, fills)| leads(booked, *symbol, fills)))
    }
}

/// What the state believes about the account.
#[derive(Debug, Clone, Copy, Default)]
pub struct Believed {
    /// The open position: symbol, direction, average price of the entry, quantity in units.
    pub position: Option<(SymbolId, i8, f64, f64)>,
    /// An entry was at work.
    pub entering: Option<SymbolId>,
    /// Everything up to this venue time was told when it was written.
    pub at: Nanos,
}

impl Believed {
    fn symbol(&self) -> Option<SymbolId> {
        self.position.map(|(symbol, ..)| symbol).or(self.entering)
    }

    /// Does the account hold just the believed position, unchanged since the state was written? Then nothing has happened
    /// to it, and no list of the past is needed to go on with it.
    fn is_as_it_was(&self, found: &Found, symbols: &Symbols) -> bool {
        let (Some((symbol, direction, entry_px, units)), None, [held]) =
            (self.position, self.entering, found.positions.as_slice())
        else {
            return false;
        };
        let Some(i) = symbols.get(symbol) else { return false };
        let untouched = found.updated.get(&symbol).is_some_and(|updated| *updated <= self.at);
        let lots = held.qty.0.abs() as f64 - units / i.lot.to_f64();
        held.symbol == symbol
            && held.qty.0.signum() == i64::from(direction)
            && lots.abs() < 0.5
            && (held.entry_px / entry_px - 1.0).abs() < 1e-7
            && untouched
    }
}

/// By what right requests are sent, and for how long one may be on its way.
#[derive(Debug, Clone)]
pub struct Sending {
    /// Nothing is sent behind it.
    pub fence: Fence,
    /// Our clock.
    pub clock: Clock,
    /// Longest receive window, ms.
    pub most_ms: u32,
}

impl Sending {
    /// The window of a request that is sent now; 0: it is too late.
    fn window_ms(&self, rest: &RestClient) -> u32 {
        let now = self.clock.now_ns();
        if self.fence.is_dry() {
            return self.most_ms; // It is answered before it leaves.
        }
        if !self.fence.is_open(now) {
            return 0;
        }
        self.fence.window_ms(now, rest.clock().error_bound().unwrap_or(UNMEASURED), self.most_ms)
    }
}

/// What is known of the run before.
#[derive(Debug, Clone, Copy)]
pub struct Before {
    /// Venue time up to which fills are booked in closed trades; `None`: nothing is known.
    pub booked: Option<Nanos>,
    /// Why the exit that worked was asked for.
    pub exit: Option<ExitReason>,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Recovered {
    /// Trades that were closed unseen, with their numbers.
    pub trades: Vec<(u64, TradeRecord)>,
    /// The position that goes on.
    pub adopted: Option<Adopted>,
    /// Fills up to this venue time are booked.
    pub booked: Nanos,
    /// Every fill seen: the router must not count it again.
    pub seen: Vec<(SymbolId, u64)>,
    /// Up to when everything that happened in an instrument is booked, venue time.
    pub booked_in: BTreeMap<SymbolId, Nanos>,
}

// ---- asking ---------------------------------------------------------------------------------------------------------

/// Asks for positions and, unless the account is as the state believes, for the fills since `booked`; cancels our working
/// orders. What closes a position rests until all that is known: it is all that protects it meanwhile. `now`: venue time.
pub async fn ask(
    rest: &RestClient,
    symbols: &Symbols,
    believed: Believed,
    booked: Option<Nanos>,
    now: Nanos,
    sending: &Sending,
) -> Result<Found, RestError> {
    // Our idea of the venue's time may be a little behind.
    let until_ms = now.millis() + 60_000;
    let look = async || {
        let mut found = positions(rest, symbols).await?;
        if !believed.is_as_it_was(&found, symbols) {
            found.fills = history(rest, symbols, (&found, believed.symbol()), booked, until_ms).await?;
        }
        Ok::<_, RestError>(found)
    };
    let mut closing = cancel_ours(rest, symbols, sending, true).await?;
    let mut found = look().await?;
    for _ in 0..CHANGES {
        if closing.is_empty() {
            // Positions and fills are two questions: what happens in between is in the fills alone.
            if found.is_explained(booked) {
                break;
            }
            tokio::time::sleep(CANCEL_PAUSE).await;
        } else {
            for (symbol, client_order_id) in closing.drain(..) {
                // Filled meanwhile, or refused: the next look tells.
                let cancel = OrderRequest::Cancel(CancelOrder { symbol, client_order_id });
                let _ = rest.order(&cancel, symbols, sending.window_ms(rest)).await;
            }
            cancel_ours(rest, symbols, sending, false).await?;
            let same = positions(rest, symbols).await?.positions == found.positions;
            if same && found.is_explained(booked) {
                break;
            }
        }
        found = look().await?;
    }
    Ok(found)
}

/// How often the account may change under our eyes.
const CHANGES: u32 = 3;

async fn positions(rest: &RestClient, symbols: &Symbols) -> Result<Found, RestError> {
    let mut found = Found::default();
    for p in rest.positions(symbols, None, Urgency::Exit).await? {
        let Some(symbol) = p.id.filter(|_| !p.qty.is_zero()) else { continue };
        let (qty, entry_px, liquidation_px) = (p.qty, p.entry_px, p.liquidation_px);
        found.positions.push(VenuePosition { symbol, qty, entry_px, liquidation_px });
        found.updated.extend(p.updated.map(|at| (symbol, at)));
    }
    Ok(found)
}

/// The fills since `booked` wherever there may be any.
async fn history(
    rest: &RestClient,
    symbols: &Symbols,
    (found, held): (&Found, Option<SymbolId>),
    booked: Option<Nanos>,
    until_ms: u64,
) -> Result<BTreeMap<SymbolId, Vec<ExecutionReport>>, RestError> {
    let mut wanted: BTreeSet<SymbolId> = found.positions.iter().map(|p| p.symbol).chain(held).collect();
    if let Some(booked) = booked {
        let names = rest.traded_between(booked.millis(), until_ms, Urgency::Start).await?;
        wanted.extend(names.iter().filter_map(|name| symbols.id(name)));
    }
    let since = booked.unwrap_or(Nanos((until_ms * Nanos::MS).saturating_sub(WITHOUT_STATE)));
    let mut all = BTreeMap::new();
    for symbol in wanted {
        all.insert(symbol, fills(rest, symbols, symbol, since, until_ms).await?);
    }
    Ok(all)
}

/// Cancels our orders, but for those that only close a position if `keep_closing`: these are returned.
async fn cancel_ours(
    rest: &RestClient,
    symbols: &Symbols,
    sending: &Sending,
    keep_closing: bool,
) -> Result<Vec<(SymbolId, ClientOrderId)>, RestError> {
    let mut kept = Vec::new();
    for _ in 0..CANCEL_ROUNDS {
        let (orders, _) = rest.open_orders(symbols, None, Urgency::Exit).await?;
        let ours = orders.iter().filter_map(|o| Some((o.symbol, o.origin.ours()?, o.reduce_only)));
        let (closing, others): (Vec<_>, Vec<_>) = ours.partition(|(.., closes)| *closes && keep_closing);
        kept = closing.into_iter().map(|(symbol, id, _)| (symbol, id)).collect();
        if others.is_empty() {
            return Ok(kept);
        }
        for (symbol, client_order_id, _) in others {
            tracing::info!("an order of an earlier run is cancelled: {client_order_id}");
            let cancel = OrderRequest::Cancel(CancelOrder { symbol, client_order_id });
            let cancelled = rest.order(&cancel, symbols, sending.window_ms(rest)).await;
            // Another node may act for the account by now. Filled meanwhile, or refused: the next look tells.
            if let Err(RestError::TooLate) = cancelled {
                return Err(RestError::TooLate);
            }
        }
        tokio::time::sleep(CANCEL_PAUSE).await;
    }
    tracing::warn!("orders of an earlier run still work; the router goes on cancelling them");
    Ok(kept)
}

/// Fills of the account in an instrument, since a venue time, with whose orders they are of.
async fn fills(
    rest: &RestClient,
    symbols: &Symbols,
    symbol: SymbolId,
    since: Nanos,
    until_ms: u64,
) -> Result<Vec<ExecutionReport>, RestError> {
    let Some(name) = symbols.get(symbol).map(|i| i.symbol.clone()) else { return Ok(Vec::new()) };
    let mut fills = Vec::new();
    for window in windows(since.millis(), until_ms) {
        fills.extend(rest.user_trades(symbols, &name, window, Urgency::Start).await?);
    }
    let mut origins: BTreeMap<u64, OrderOrigin> = BTreeMap::new();
    if !fills.is_empty() {
        for window in windows(Nanos(since.0.saturating_sub(ORDER_AGE)).millis(), until_ms) {
            let orders = rest.all_orders(symbols, &name, window, Urgency::Start).await?;
            origins.extend(orders.iter().map(|o| (o.order_id, o.origin)));
        }
    }
    for fill in &mut fills {
        fill.origin = match origins.get(&fill.order_id) {
            Some(origin) => *origin,
            None => {
                // An order may be much older than its fill.
                let asked = rest.order_by_id(symbols, &name, fill.order_id, Urgency::Start).await;
                let origin = asked.map_or(OrderOrigin::External, |order| order.origin);
                origins.insert(fill.order_id, origin);
                origin
            }
        };
    }
    fills.sort_by_key(|f| (f.ts_event, f.trade_id));
    fills.dedup_by_key(|f| f.trade_id);
    Ok(fills)
}

// ---- folding --------------------------------------------------------------------------------------------------------

fn signed(f: &ExecutionReport) -> i64 {
    f.side.sign() * f.last_qty.0
}

/// Fills that begin flat, as round trips.
fn fold(fills: &[ExecutionReport]) -> Vec<Trip> {
    let mut trips: Vec<Trip> = Vec::new();
    for f in fills {
        let sign = f.side.sign();
        let mut lots = f.last_qty.0;
        let mut commission = f.commission;
        while lots > 0 {
            let open = trips.last_mut().filter(|t| !t.is_closed());
            let Some(trip) = open else {
                let direction = if sign < 0 { -1 } else { 1 };
                let (entry, exit) = (FillSum::default(), FillSum::default());
                let by_venue = false;
                let (symbol, begun, ours) = (f.symbol, f.ts_event, matches!(f.origin, OrderOrigin::Ours(_)));
                trips.push(Trip { symbol, direction, begun, entry, exit, by_venue, ours });
                trips.last_mut().expect("just pushed").entry.add(&delta(f, lots, commission));
                break;
            };
            if i64::from(trip.direction) == sign {
                trip.entry.add(&delta(f, lots, commission));
                break;
            }
            // What goes beyond flat opens the other side; the commission goes with the part that closes.
            let closing = lots.min(trip.entry.qty.0 - trip.exit.qty.0);
            trip.exit.add(&delta(f, closing, commission));
            trip.by_venue |= !matches!(f.origin, OrderOrigin::Ours(_));
            (lots, commission) = (lots - closing, Amount::ZERO);
        }
    }
    trips
}

fn delta(f: &ExecutionReport, lots: i64, commission: Amount) -> FillDelta {
    FillDelta {
        lots: Qty(lots),
        priced: Qty(lots),
        px: f.last_px,
        commission,
        maker: f.maker,
        ts_event: f.ts_event,
        ..FillDelta::default()
    }
}

/// The fills since `booked`, if they lead to the position. Those in the millisecond of the last booked exit may belong to
/// either side of it: the sum tells.
fn since(fills: &[ExecutionReport], booked: Nanos, position: Qty) -> Option<&[ExecutionReport]> {
    let ms = booked.millis();
    let after = fills.partition_point(|f| f.ts_event.millis() <= ms);
    let at = fills.partition_point(|f| f.ts_event.millis() < ms);
    let parts = [&fills[after..], &fills[at..]];
    parts.into_iter().find(|part| part.iter().map(signed).sum::<i64>() == position.0)
}

/// The round trips that explain a position. Where the fills since `booked` do not come out, only those since the position
/// was last flat are used.
fn explain(fills: &[ExecutionReport], booked: Option<Nanos>, position: Qty) -> Vec<Trip> {
    if let Some(fills) = booked.and_then(|booked| since(fills, booked, position)) {
        return fold(fills);
    }
    let mut before = position.0;
    for (i, f) in fills.iter().enumerate().rev() {
        before -= signed(f);
        if before == 0 {
            return fold(&fills[i..]);
        }
    }
    Vec::new()
}

// ---- booking --------------------------------------------------------------------------------------------------------

/// Books what was found. The engine must have an open day; `now` is the venue's time.
pub fn book(
    engine: &mut Engine,
    instruments: &[Instrument],
    found: &Found,
    before: Before,
    policy: UnexpectedPosition,
    now: Nanos,
) -> Recovered {
    let mut trips: Vec<Trip> = Vec::new();
    for (&symbol, fills) in &found.fills {
        let mut new = explain(fills, before.booked, found.position(symbol));
        // What a person opened and closed again is in the wallet, and no trade of ours.
        new.retain(|t| t.ours || !t.is_closed());
        if before.booked.is_none() || planted(Bug::FillsOfTheDeadRunDropped) {
            // Without a state nothing says which round trips are booked: only what is open goes on.
            new.retain(|t| !t.is_closed());
        }
        trips.extend(new);
    }
    trips.sort_by_key(|t| t.begun);
    // Without a state: the fills of what is open are not booked, those before it are none of this life's.
    let fresh = trips.first().map_or(now, |t| Nanos(t.begun.0.saturating_sub(1)));
    let booked = before.booked.unwrap_or(fresh);
    let mut recovered = Recovered {
        trades: Vec::new(),
        adopted: None,
        booked,
        seen: Vec::new(),
        booked_in: found.updated.clone(),
    };
    for f in found.fills.values().flatten() {
        recovered.seen.push((f.symbol, f.trade_id));
        let until = recovered.booked_in.entry(f.symbol).or_default();
        *until = f.ts_event.max(*until);
    }
    let mut exit = before.exit;
    for trip in &trips {
        let Some(instrument) = instruments.get(trip.symbol.index()) else { continue };
        recovered.take(engine, instrument, trip, exit.take());
    }
    recovered.rest(engine, instruments, found, policy);
    recovered
}

impl Recovered {
    /// One round trip, whole or open.
    fn take(&mut self, engine: &mut Engine, i: &Instrument, trip: &Trip, asked: Option<ExitReason>) {
        let key = (trip.symbol, trip.direction);
        if !trip.ours && engine.position().is_none_or(|p| (p.symbol, p.direction) != key) {
            return; // A position that nobody here opened: `rest` says what becomes of it.
        }
        if let Some((symbol, _)) = engine.entering().filter(|entering| *entering != key) {
            tell(engine, &Outcome::Abandoned { symbol, reason: AbandonReason::Halted });
        }
        if let Some(p) = engine.position().copied().filter(|p| (p.symbol, p.direction) != key) {
            self.vanished(engine, p.symbol, p.entry_price, trip.begun);
        }
        if engine.position().is_none() {
            let entered = EntryFilled {
                symbol: trip.symbol,
                direction: trip.direction,
                trip: TripId::NONE,
                provisional: false,
                qty: Qty(trip.entry.qty.0 * i64::from(trip.direction)),
                avg_px: trip.entry.avg_px(i),
                notional: trip.entry.notional(i),
                commission: trip.entry.commission,
                maker_share: trip.entry.maker_share(),
                ts_event: trip.entry.ts_event,
            };
            tell(engine, &Outcome::Entered(entered));
        }
        if trip.is_closed() {
            let avg_px = trip.exit.avg_px(i);
            self.exited(
                engine,
                &ExitFilled {
                    symbol: trip.symbol,
                    trip: TripId::NONE,
                    provisional: false,
                    reason: reason(engine, trip, avg_px, asked),
                    avg_px,
                    notional: trip.exit.notional(i),
                    commission: trip.exit.commission,
                    maker_share: trip.exit.maker_share(),
                    ts_event: trip.exit.ts_event,
                },
            );
            return;
        }
        let lots = trip.entry.qty.0 - trip.exit.qty.0;
        let qty = Qty(lots * i64::from(trip.direction));
        let avg_px = trip.entry.avg_px(i);
        self.adopted = Some(Adopted { symbol: trip.symbol, qty, avg_px, exit: trip.exit });
    }

    /// What no fill explains.
    fn rest(
        &mut self,
        engine: &mut Engine,
        instruments: &[Instrument],
        found: &Found,
        policy: UnexpectedPosition,
    ) {
        if let Some((symbol, _)) = engine.entering() {
            tell(engine, &Outcome::Abandoned { symbol, reason: AbandonReason::Halted });
        }
        if let Some(p) = engine.position().copied().filter(|_| self.adopted.is_none()) {
            let same =
                |v: &&VenuePosition| v.symbol == p.symbol && v.qty.0.signum() == i64::from(p.direction);
            match found.positions.iter().find(same) {
                Some(v) => {
                    let (symbol, qty, avg_px) = (v.symbol, v.qty, p.entry_price);
                    self.adopted = Some(Adopted { symbol, qty, avg_px, exit: FillSum::default() });
                }
                None => self.vanished(engine, p.symbol, p.entry_price, self.booked),
            }
        }
        let unexplained = found.positions.iter().find(|v| self.adopted.is_none_or(|a| a.symbol != v.symbol));
        if let Some(v) =
            unexplained.filter(|_| policy == UnexpectedPosition::Adopt && engine.position().is_none())
            && let Some(i) = instruments.get(v.symbol.index())
        {
            let entered = EntryFilled {
                symbol: v.symbol,
                direction: if v.qty.0 < 0 { -1 } else { 1 },
                trip: TripId::NONE,
                provisional: false,
                qty: v.qty,
                avg_px: v.entry_px,
                notional: v.entry_px * i.qty_f64(v.qty.abs()),
                commission: Amount::ZERO,
                maker_share: 0.0,
                ts_event: self.booked,
            };
            tell(engine, &Outcome::Entered(entered));
            let exit = FillSum::default();
            self.adopted = Some(Adopted { symbol: v.symbol, qty: v.qty, avg_px: v.entry_px, exit });
        }
        // The exit that worked was cancelled with the other orders: the exits decide anew.
        engine.reopen();
    }

    /// The engine believes in a position that is gone without a fill to tell how.
    fn vanished(&mut self, engine: &mut Engine, symbol: SymbolId, px: f64, at: Nanos) {
        tracing::warn!(
            "the position in {} is gone and no fill tells how; it is booked at its entry price",
            engine.assets().get(symbol.index()).map_or("?", String::as_str)
        );
        let (reason, commission) = (ExitReason::External, Amount::ZERO);
        let exit = ExitFilled {
            symbol,
            trip: TripId::NONE,
            provisional: true,
            reason,
            avg_px: px,
            notional: 0.0,
            commission,
            maker_share: 0.0,
            ts_event: at,
        };
        self.exited(engine, &exit);
    }

    fn exited(&mut self, engine: &mut Engine, exit: &ExitFilled) {
        tell(engine, &Outcome::Exited(*exit));
        self.booked = self.booked.max(exit.ts_event);
        while let Some(trade) = engine.take_trade() {
            self.trades.push((engine.trades_closed(), trade.record(engine.assets())));
        }
    }

    /// Hands the position and the fills to the router, before its first comparison with the venue.
    pub fn adopt(&self, router: &mut Router, now: Nanos, tp_pct: f64) {
        if !planted(Bug::FillsSeenForgotten) {
            router.remember_trades(self.seen.iter().copied());
            router.booked_until(None, VenueTime(self.booked));
            for (symbol, until) in &self.booked_in {
                router.booked_until(Some(*symbol), VenueTime(*until));
            }
        }
        if let Some(a) = self.adopted.filter(|_| !planted(Bug::PositionNotAdopted)) {
            if !router.adopt_position(now, a.symbol, a.qty, a.avg_px, tp_pct) {
                // It then finds the position itself, as an unexpected one, and stops.
                tracing::error!("the router does not take the recovered position");
            }
            router.adopt_exits(a.symbol, a.exit);
        }
    }
}

/// Why a position was closed unseen: as it had been asked for; by the resting order where the price says so.
fn reason(engine: &Engine, trip: &Trip, avg_px: f64, asked: Option<ExitReason>) -> ExitReason {
    if trip.by_venue {
        return ExitReason::External;
    }
    let Some(p) = engine.position() else { return ExitReason::External };
    let change = f64::from(p.direction) * (avg_px / p.entry_price - 1.0);
    match asked {
        Some(reason) => reason,
        // A tick of rounding is far below a hundredth of the distance.
        None if change >= engine.params().fixed_tp_pct * 0.99 => ExitReason::Tp,
        None => ExitReason::MaxHold,
    }
}

fn tell(engine: &mut Engine, outcome: &Outcome) {
    if let Err(error) = engine.on_outcome(outcome) {
        tracing::error!("what the venue tells does not fit the state: {error}");
    }
}

#[cfg(test)]
mod tests;
