//! What must hold whatever happens, checked from the venue's side and from the node's (SPEC 13).

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use market::{Amount, ClientOrderId, Nanos, Qty, Side, SymbolId};
use node::control::Seen;
use serde::Serialize;
use serde_json::Value;
use venue::core::{AccountId, Exchange, Order};

use crate::world::{KEY, World};

/// A kill has stopped all opening within this, ns.
const KILLED_WITHIN: u64 = 3 * Nanos::SECOND;

/// What was violated.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Violation {
    /// Since the run's beginning, ms.
    pub at_ms: u64,
    /// Which invariant.
    pub invariant: &'static str,
    /// What was found.
    pub found: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}: {}", crate::faults::clock(self.at_ms), self.invariant, self.found)
    }
}

/// What of an order may change.
type Progress = (Nanos, i64, i64, bool);

/// An opening order of an intent.
#[derive(Debug, Clone)]
struct Opening {
    order: u64,
    /// See [`Order::next_at_end`].
    next_at_end: u64,
    qty: i64,
    filled: i64,
    open: bool,
}

/// What the venue has been seen to hold, from check to check.
#[derive(Debug, Default)]
pub struct Ledger {
    /// Orders that were followed, as far as they had come: one that has not changed need not be looked at again.
    known: BTreeMap<u64, Progress>,
    /// Client order ids of ours, and the venue's id of each.
    ids: BTreeMap<String, u64>,
    openings: BTreeMap<(u64, u32), Vec<Opening>>,
    fills: usize,
    /// Signed lots by symbol, of all fills of ours and the venue's, folded from the venue's list.
    position: BTreeMap<SymbolId, i64>,
    /// Round trips completed, flat to flat.
    pub round_trips: u64,
    /// Orders of ours, fills.
    pub orders: u64,
    last_trade: BTreeSet<(SymbolId, u64)>,
    /// Somebody pulled the kill switch of the one node then, the world's time.
    pub killed_at: Option<Nanos>,
    /// Since when a position is not flat, venue time.
    held_since: BTreeMap<SymbolId, Nanos>,
    /// Opening orders since the last look, in the venue's order, and their runs.
    opened: BTreeMap<u64, u64>,
    /// The run that opened last, and those before it.
    writes: Option<u64>,
    over: BTreeSet<u64>,
    /// Realised profit after commissions of what is in closed round trips, and of what is open, USDT.
    closed: f64,
    open: BTreeMap<SymbolId, f64>,
    /// The profit of each closed round trip, by symbol, in their order.
    trips: BTreeMap<String, Vec<f64>>,
}

impl Ledger {
    /// Takes in what the venue did since the last look.
    pub fn follow(
        &mut self,
        exchange: &Exchange,
        account: AccountId,
        at_ms: u64,
        found: &mut Vec<Violation>,
    ) {
        for order in exchange.orders_of(account) {
            let progress = (order.updated, order.qty.0, order.filled.0, order.is_open());
            if self.known.insert(order.id, progress) == Some(progress) {
                continue;
            }
            let Some(id) = ClientOrderId::parse(&order.client_id) else { continue };
            match self.ids.get(&order.client_id) {
                Some(known) if *known != order.id => found.push(Violation {
                    at_ms,
                    invariant: "no client order id twice",
                    found: format!("{} is the id of orders {known} and {}", order.client_id, order.id),
                }),
                Some(_) => {}
                None => {
                    self.orders += 1;
                    self.ids.insert(order.client_id.clone(), order.id);
                    if !order.reduce_only {
                        self.opened.insert(order.id, id.run);
                        let killed = self.killed_at.map(|at| order.created.since(at).0);
                        if killed.is_some_and(|since| since > KILLED_WITHIN) {
                            let found_text = format!("{} opens after the kill", order.client_id);
                            found.push(Violation {
                                at_ms,
                                invariant: "nothing opened after a kill",
                                found: found_text,
                            });
                        }
                    }
                }
            }
            if !order.reduce_only {
                self.opening(id, order);
            }
        }
        self.take_fills(exchange, account);
    }

    fn opening(&mut self, id: ClientOrderId, order: &Order) {
        let openings = self.openings.entry((id.run, id.intent)).or_default();
        let new = Opening {
            order: order.id,
            next_at_end: order.next_at_end,
            qty: order.qty.0,
            filled: order.filled.0,
            open: order.is_open(),
        };
        match openings.iter_mut().find(|o| o.order == order.id) {
            Some(old) => *old = new,
            None => openings.push(new),
        }
    }

    fn take_fills(&mut self, exchange: &Exchange, account: AccountId) {
        for fill in &exchange.account(account).fills {
            if !self.last_trade.insert((fill.symbol, fill.id)) {
                continue;
            }
            self.fills += 1;
            let signed = fill.qty.0 * if fill.side == Side::Buy { 1 } else { -1 };
            let position = self.position.entry(fill.symbol).or_default();
            if *position == 0 {
                self.held_since.insert(fill.symbol, fill.at);
            }
            *position += signed;
            if *position == 0 {
                self.held_since.remove(&fill.symbol);
            }
            let money = self.open.entry(fill.symbol).or_default();
            *money += fill.realised.to_f64() - fill.commission.to_f64();
            if *position == 0 {
                self.round_trips += 1;
                let money = std::mem::take(money);
                self.closed += money;
                let symbol = &exchange.listing(fill.symbol).instrument.symbol;
                self.trips.entry(symbol.clone()).or_default().push(money);
            }
        }
    }

    /// The opening orders of each intent: never two at a time, together not more than was wanted.
    pub fn one_order_an_intent(&self, at_ms: u64, found: &mut Vec<Violation>) {
        for ((run, intent), openings) in &self.openings {
            let mut sorted: Vec<&Opening> = openings.iter().collect();
            sorted.sort_by_key(|o| o.order);
            for pair in sorted.windows(2) {
                if pair[0].open || pair[0].next_at_end > pair[1].order {
                    found.push(Violation {
                        at_ms,
                        invariant: "one opening order an intent",
                        found: format!(
                            "run {run:x} intent {intent}: orders {} and {}",
                            pair[0].order, pair[1].order
                        ),
                    });
                }
            }
            let wanted = sorted.iter().map(|o| o.qty).max().unwrap_or(0);
            let filled: i64 = sorted.iter().map(|o| o.filled).sum();
            if filled > wanted {
                found.push(Violation {
                    at_ms,
                    invariant: "one opening order an intent",
                    found: format!("run {run:x} intent {intent}: {filled} lots filled of {wanted} wanted"),
                });
            }
        }
    }

    /// Once a later run has opened something no earlier one does: one writer an account.
    pub fn one_writer(&mut self, at_ms: u64, found: &mut Vec<Violation>) {
        for (order, run) in std::mem::take(&mut self.opened) {
            if self.over.contains(&run) {
                let text = format!("order {order} is of run {run:x}, and a later run had opened before");
                found.push(Violation { at_ms, invariant: "one writer an account", found: text });
            }
            if let Some(before) = self.writes.replace(run).filter(|before| *before != run) {
                self.over.insert(before);
            }
        }
    }

    /// No position is older than this.
    pub fn held_no_longer_than(&self, limit_ms: u64, at_ms: u64, now: Nanos, found: &mut Vec<Violation>) {
        for (symbol, since) in &self.held_since {
            let held_ms = now.since(*since).millis();
            if held_ms > limit_ms {
                let text = format!("symbol {} for {held_ms} ms, at most {limit_ms}", symbol.0);
                found.push(Violation { at_ms, invariant: "no position outlives its hold", found: text });
            }
        }
    }

    /// Fills seen.
    pub const fn fills(&self) -> usize {
        self.fills
    }

    /// Realised profit after commissions of closed round trips, USDT.
    pub const fn closed(&self) -> f64 {
        self.closed
    }

    /// The first trade in memory whose profit is not that of the venue's round trip in its place.
    fn first_that_differs(&self, trades: &[(String, String)]) -> Option<String> {
        let mut next: BTreeMap<&str, std::slice::Iter<'_, f64>> =
            self.trips.iter().map(|(symbol, trips)| (symbol.as_str(), trips.iter())).collect();
        let number = |key: &str| key.rsplit('.').next().and_then(|n| n.parse::<u64>().ok());
        let mut in_order: Vec<_> = trades.iter().collect();
        in_order.sort_by_key(|(key, _)| number(key));
        in_order.into_iter().find_map(|(key, text)| {
            let trade: Value = serde_json::from_str(text).ok()?;
            let venue = next.get_mut(trade.get("symbol")?.as_str()?)?.next()?;
            let differs = (trade.get("pnl")?.as_f64()? - venue).abs() > 1e-6;
            differs.then(|| format!("; {key} should have made {venue:.8}: {text}"))
        })
    }
}

/// Positions that are not zero, by name, in lots.
pub fn positions(exchange: &Exchange, account: AccountId) -> BTreeMap<String, Qty> {
    let held = exchange.account(account).positions.iter().filter(|(_, p)| !p.qty.is_zero());
    held.map(|((symbol, _), p)| (exchange.listing(*symbol).instrument.symbol.clone(), p.qty)).collect()
}

/// Is the node trading, or does it say why not? `None`: it is.
pub fn not_armed(seen: &Seen, symbols: u32) -> Option<String> {
    let mut why = Vec::new();
    if !seen.gate.order_path {
        why.push("no order path".to_owned());
    }
    if !seen.gate.user_stream {
        why.push("no user stream".to_owned());
    }
    if !seen.router.reconciled {
        why.push("not reconciled".to_owned());
    }
    if seen.router.unknown > 0 {
        why.push(format!("{} orders unknown", seen.router.unknown));
    }
    if seen.book.live_books < symbols {
        let masked: Vec<String> = seen.masked.iter().map(|(s, m)| format!("{s} {m:?}")).collect();
        why.push(format!("{} of {symbols} books: {}", seen.book.live_books, masked.join(", ")));
    }
    (!why.is_empty()).then(|| why.join("; "))
}

/// Node and venue agree: positions, working orders, nothing unknown.
pub fn agreement(
    seen: &Seen,
    exchange: &Exchange,
    account: AccountId,
    at_ms: u64,
    found: &mut Vec<Violation>,
) {
    let theirs = positions(exchange, account);
    if theirs != seen.positions {
        let text = format!("the venue has {theirs:?}, the node {:?}", seen.positions);
        found.push(Violation { at_ms, invariant: "positions equal", found: text });
    }
    if seen.router.unknown > 0 {
        let text = format!("{} orders are unknown", seen.router.unknown);
        found.push(Violation { at_ms, invariant: "nothing unknown for long", found: text });
    }
}

/// Trades in memory are exactly the trades that happened, and the capital is the start's plus their profits.
pub fn books(
    trades: &[(String, String)],
    state: Option<&str>,
    initial: f64,
    ledger: &Ledger,
    at_ms: u64,
    found: &mut Vec<Violation>,
) {
    let mut sum = 0.0;
    let mut numbers = BTreeSet::new();
    for (key, text) in trades {
        let value: Value = serde_json::from_str(text).unwrap_or_default();
        sum += value.get("pnl").and_then(Value::as_f64).unwrap_or(f64::NAN);
        numbers.extend(key.rsplit('.').next().and_then(|n| n.parse::<u64>().ok()));
    }
    let mut say = |invariant, text| found.push(Violation { at_ms, invariant, found: text });
    let n = numbers.len() as u64;
    if numbers.last().copied().unwrap_or(0) != n || trades.len() as u64 != n {
        say("trades in memory", format!("{} keys, {n} numbers, the last {:?}", trades.len(), numbers.last()));
    }
    if n != ledger.round_trips {
        say("trades in memory", format!("{n} in memory, {} round trips at the venue", ledger.round_trips));
    }
    // A sum that is no number is never right.
    let equal = |a: f64, b: f64| (a - b).abs() <= 1e-6;
    if !equal(sum, ledger.closed()) {
        let first = ledger.first_that_differs(trades).unwrap_or_default();
        say(
            "capital = start + Σ pnl",
            format!("trades say {sum:.8}, the venue {:.8}{first}", ledger.closed()),
        );
    }
    let state: Value = state.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    let capital = state.get("capital").and_then(Value::as_f64).unwrap_or(f64::NAN);
    if n > 0 && !equal(capital, initial + ledger.closed()) {
        let should = initial + ledger.closed();
        say("capital = start + Σ pnl", format!("capital {capital:.8}, by the venue's fills {should:.8}"));
    }
}

/// No secret has got into memory, of which this is the text, or into a file of a machine.
pub fn secrets(world: &World, memory: &str, found: &mut Vec<Violation>) {
    let mut places: Vec<String> = memory.contains(KEY.1).then(|| "memory".to_owned()).into_iter().collect();
    for slot in world.slots.borrow().iter() {
        let files = slot.host.files.that_told();
        places.extend(files.iter().map(|path| format!("{} of {}", path.display(), slot.program.name)));
    }
    let at_ms = world.now_ms();
    found.extend(places.into_iter().map(|place| Violation {
        at_ms,
        invariant: "no secret",
        found: format!("the secret stands in {place}"),
    }));
}

/// An amount for people.
pub fn usdt(amount: Amount) -> String {
    format!("{:.8}", amount.to_f64())
}
