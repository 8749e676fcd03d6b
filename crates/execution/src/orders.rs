//! Working orders and what may happen to them.
//!
//! Rules, each with its test:
//! 1. A terminal state is sticky; only the filled quantity may still grow (a late fill is a fill).
//! 2. The filled quantity never shrinks, whatever a stale report says.
//! 3. A state never goes back: the reply "new" after a fill changes nothing.
//! 4. No answer is an answer of its own: [`OrderStatus::Unknown`], with the whole quantity reserved, until the venue
//!    says what is so. "No such order" counts only from a question asked after the request could no longer arrive
//!    (`recvWindow` + clock error), and only when no earlier question can still be on its way back.
//! 5. Nothing is ever sent twice: a new try is a new order, under a new id, after the old one's fate is known.
//! 6. An order is remembered after it is done, for as long as the venue can still speak of it: see [`REMEMBERED`].

use market::planted::{Bug, planted};
use market::{Amount, ClientOrderId, ExecType, ExecutionReport, Nanos, OrderStatus, OrderType, Px, Qty};
use market::{Side, SymbolId, TimeInForce};
use serde::{Deserialize, Serialize};

use crate::codes::RejectClass;
use crate::config::{MAX_ORDERS, RouterConfig};
use crate::fills::FillDelta;
use crate::index::{Index, hash};
use crate::trips::Parts;

/// Done orders that are remembered.
///
/// The venue speaks of a done order by a late report (seconds), by the answer to a question (`query_timeout_ms`), and by
/// the list of fills that a comparison brings, which reaches back to the last clean comparison; while none is clean
/// nothing new is opened, so the memory hardly turns over. At the highest rate that our own limits allow (half of the
/// venue's 1,200 orders a minute) it spans more than [`REMEMBER_FOR`]; at the champion's rate, some twenty orders in ten
/// minutes, it spans days, about as long as the venue itself keeps a cancelled order without a fill (three days).
pub const REMEMBERED: usize = 8_192;
/// While an order that is younger than this would have to be forgotten, nothing is opened.
pub const REMEMBER_FOR: u64 = 600 * Nanos::SECOND;

/// What an order is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// Opens.
    Entry,
    /// Rests at the take-profit price.
    TakeProfit,
    /// Closes.
    Exit,
}

/// An order of ours, working or remembered.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct WorkingOrder {
    /// Our id.
    pub id: ClientOrderId,
    /// Venue's id, 0 while unknown.
    pub order_id: u64,
    /// Instrument.
    pub symbol: SymbolId,
    /// Number of the trade (its entry's intent) it belongs to.
    pub trade: u32,
    /// What for.
    pub purpose: Purpose,
    /// Side.
    pub side: Side,
    /// Type.
    pub order_type: OrderType,
    /// Time in force.
    pub tif: TimeInForce,
    /// Limit price; for market orders the touch at sending.
    pub px: Px,
    /// Quantity.
    pub qty: Qty,
    /// Reduce-only.
    pub reduce_only: bool,
    /// Status.
    pub status: OrderStatus,
    /// Filled.
    pub cum: Qty,
    /// Of `cum`, lots whose price is known.
    pub priced: Qty,
    /// Has the venue ever acknowledged it?
    pub acked: bool,
    /// How long the venue may take it for.
    pub recv_window_ms: u32,
    /// Where its lots without a price are counted.
    pub(crate) parts: Parts,
    /// Since when it has some.
    pub(crate) unpriced_since: Nanos,
    pub(crate) done_at: Nanos,
    pub(crate) sent_at: Nanos,
    pub(crate) seen_at: Nanos,
    pub(crate) cancels: u8,
    pub(crate) cancel_at: Nanos,
    pub(crate) unknown_since: Nanos,
    pub(crate) queries: u32,
    pub(crate) next_query: Nanos,
    pub(crate) last_query: Nanos,
    pub(crate) last_early_query: Nanos,
    pub(crate) paged: bool,
}

/// What a report did to an order.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Applied {
    /// Fills.
    pub fill: FillDelta,
    /// It became Unknown with this report.
    pub became_unknown: bool,
    /// It became done with this report.
    pub became_done: bool,
    /// It was done before.
    pub was_done: bool,
    /// The venue forgot an order it had acknowledged.
    pub vanished: bool,
}

/// When an Unknown order is asked for, after it became so; then every [`QUERY_EVERY`].
const QUERY_AFTER: [u64; 4] = [100 * Nanos::MS, 300 * Nanos::MS, Nanos::SECOND, 3 * Nanos::SECOND];
const QUERY_EVERY: u64 = 3 * Nanos::SECOND;
/// Cancels before the order is asked for instead.
pub(crate) const MAX_CANCELS: u8 = 3;

impl WorkingOrder {
    /// Could it still trade?
    pub fn is_live(&self) -> bool {
        !self.status.is_done()
    }

    /// What may still fill.
    pub fn open_qty(&self) -> Qty {
        if self.is_live() { self.qty - self.cum } else { Qty::ZERO }
    }

    /// Does it stay on the book until cancelled?
    pub fn rests(&self) -> bool {
        self.order_type == OrderType::Limit && matches!(self.tif, TimeInForce::Gtc | TimeInForce::Gtx)
    }

    /// Are some of its lots counted at an estimated price, and may the venue still tell the real one?
    pub(crate) fn awaits_price(&self, now: Nanos, given_up: u64) -> bool {
        self.parts.lots() > 0 && now.since(self.unpriced_since).0 < given_up
    }

    /// Nobody knows: ask, beginning soon.
    pub(crate) fn set_unknown(&mut self, now: Nanos) {
        self.status = OrderStatus::Unknown;
        self.unknown_since = now;
        self.queries = 0;
        self.next_query = now.plus(QUERY_AFTER[0]);
        self.paged = false;
    }

    /// A query goes out now.
    pub(crate) fn queried(&mut self, now: Nanos, cfg: &RouterConfig) {
        self.last_query = now;
        if now < cfg.lost_after(self.sent_at, self.recv_window_ms) {
            self.last_early_query = now;
        }
        self.queries += 1;
        self.next_query = match QUERY_AFTER.get(self.queries as usize) {
            Some(&after) => self.unknown_since.plus(after).max(now.plus(QUERY_AFTER[0])),
            None => now.plus(QUERY_EVERY),
        };
    }

    /// Rule 4: does "no such order", heard now, prove that it was never placed?
    fn absence_is_proof(&self, now: Nanos, cfg: &RouterConfig) -> bool {
        let settled = self.last_early_query.plus(RouterConfig::ns(cfg.query_timeout_ms));
        let lost_after = cfg.lost_after(self.sent_at, self.recv_window_ms);
        self.last_query >= lost_after && (self.last_early_query.0 == 0 || now >= settled)
    }

    /// Takes a report. `fresh_trade`: its trade id was not seen before.
    pub(crate) fn apply(
        &mut self,
        now: Nanos,
        r: &ExecutionReport,
        fresh_trade: bool,
        cfg: &RouterConfig,
    ) -> Applied {
        let mut out = Applied { was_done: !self.is_live(), ..Applied::default() };
        if r.order_id != 0 {
            self.order_id = r.order_id;
        }
        if !(out.was_done && planted(Bug::LatePartialFillDropped)) {
            out.fill = self.take_fill(r, fresh_trade);
        }
        if out.was_done {
            return out;
        }
        let before = self.status;
        self.status = self.next_status(now, r, cfg, &mut out.vanished);
        if self.cum >= self.qty {
            self.status = OrderStatus::Filled;
        }
        out.became_done = self.status.is_done();
        if out.became_done {
            self.done_at = now;
        }
        if self.status == OrderStatus::Unknown && before != OrderStatus::Unknown {
            self.set_unknown(now);
            out.became_unknown = true;
        }
        if !matches!(r.exec_type, ExecType::Unknown | ExecType::NotFound | ExecType::CancelRejected) {
            self.seen_at = now;
            self.acked |= r.exec_type != ExecType::Rejected;
        }
        out
    }

    fn take_fill(&mut self, r: &ExecutionReport, fresh_trade: bool) -> FillDelta {
        let mut d = FillDelta { ts_event: r.ts_event, stand_in: self.px, ..FillDelta::default() };
        let told = r.cum_qty.0.clamp(0, self.qty.0);
        if r.trade_id != 0 && r.last_qty.0 > 0 {
            if !fresh_trade {
                return d;
            }
            let room = self.qty - self.priced;
            d.priced = Qty(r.last_qty.0.min(room.0));
            d.px = r.last_px;
            d.maker = r.maker;
            d.commission = r.commission;
        }
        let unpriced = self.cum - self.priced;
        self.priced += d.priced;
        let cum = self.cum.0.max(told).max(self.priced.0);
        d.lots = Qty(cum - self.cum.0);
        // Lots told before without a price are the ones this report prices, unless the order grew by them now.
        d.repriced = Qty((d.priced.0 - d.lots.0).clamp(0, unpriced.0));
        if !d.repriced.is_zero() && planted(Bug::LateCommissionDropped) {
            d.commission = Amount::ZERO;
        }
        self.cum = Qty(cum);
        d
    }

    fn next_status(
        &self,
        now: Nanos,
        r: &ExecutionReport,
        cfg: &RouterConfig,
        vanished: &mut bool,
    ) -> OrderStatus {
        match r.exec_type {
            ExecType::Canceled => OrderStatus::Canceled,
            ExecType::Expired => OrderStatus::Expired,
            ExecType::Rejected if RejectClass::of(r.code).may_live() => OrderStatus::Unknown,
            // A refusal of an order that the venue had taken is about something else (a stale reply).
            ExecType::Rejected if self.acked => self.status,
            ExecType::Rejected => OrderStatus::Rejected,
            ExecType::Unknown if planted(Bug::UnknownTakenForRejected) => OrderStatus::Rejected,
            ExecType::CancelRejected if planted(Bug::CancelRejectTakenForSuccess) => OrderStatus::Canceled,
            ExecType::Unknown | ExecType::CancelRejected => OrderStatus::Unknown,
            ExecType::NotFound if self.status == OrderStatus::Unknown && self.absence_is_proof(now, cfg) => {
                *vanished = self.acked;
                if self.acked { OrderStatus::Canceled } else { OrderStatus::Rejected }
            }
            ExecType::NotFound => OrderStatus::Unknown,
            // A row of the venue's list of fills: it says nothing of the order's state now.
            ExecType::Trade if r.status == OrderStatus::Unknown && self.status != OrderStatus::PendingNew => {
                self.status
            }
            ExecType::Status => match r.status {
                s if s.is_done() => s,
                // A look at the venue says what is so: it lives, so our cancel has not worked (yet).
                OrderStatus::New | OrderStatus::PartiallyFilled => {
                    self.live_status(self.status == OrderStatus::PendingCancel)
                }
                _ => self.status,
            },
            ExecType::New
            | ExecType::Trade
            | ExecType::Amendment
            | ExecType::Calculated
            | ExecType::ReplaceRejected => {
                if r.status.is_done() && r.exec_type != ExecType::ReplaceRejected {
                    r.status
                } else {
                    self.live_status(self.status == OrderStatus::PendingCancel)
                }
            }
        }
    }

    fn live_status(&self, pending_cancel: bool) -> OrderStatus {
        match (pending_cancel, self.cum.is_zero()) {
            (true, _) => OrderStatus::PendingCancel,
            (_, true) => OrderStatus::New,
            _ => OrderStatus::PartiallyFilled,
        }
    }

    /// When something must be done about it without a report; `None` when done.
    pub(crate) fn deadline(&self, cfg: &RouterConfig) -> Option<Nanos> {
        let ns = RouterConfig::ns;
        match self.status {
            OrderStatus::PendingNew => Some(self.sent_at.plus(ns(cfg.ack_timeout_ms))),
            OrderStatus::PendingCancel => Some(self.cancel_at.plus(ns(cfg.cancel_timeout_ms))),
            OrderStatus::Unknown => Some(self.next_query),
            OrderStatus::New | OrderStatus::PartiallyFilled if self.rests() => {
                Some(self.seen_at.plus(ns(cfg.verify_interval_ms)))
            }
            // Immediate orders are done as soon as they are acknowledged: hearing nothing more means a lost report.
            OrderStatus::New | OrderStatus::PartiallyFilled => {
                Some(self.seen_at.plus(ns(cfg.ack_timeout_ms)))
            }
            _ => None,
        }
    }
}

/// The orders of this run: those at work, and the done ones for as long as the venue may speak of them. A *slot* names
/// one until the next order is taken in; slots from [`MAX_ORDERS`] on are remembered orders.
#[derive(Debug, Serialize, Deserialize)]
pub struct WorkingOrders {
    working: Vec<WorkingOrder>,
    done: Vec<WorkingOrder>,
    /// The oldest of `done`, once it is full.
    oldest: usize,
    by_id: Index,
    by_venue_id: Index,
}

fn id_hash(id: ClientOrderId) -> u64 {
    hash(u64::from(id.intent) << 16 | u64::from(id.attempt), id.run)
}

fn venue_hash(symbol: SymbolId, order_id: u64) -> u64 {
    hash(order_id, u64::from(symbol.0))
}

impl WorkingOrders {
    pub(crate) fn new() -> Self {
        Self {
            working: Vec::with_capacity(MAX_ORDERS),
            done: Vec::with_capacity(REMEMBERED),
            oldest: 0,
            by_id: Index::new(REMEMBERED),
            by_venue_id: Index::new(REMEMBERED),
        }
    }

    /// Forgets the orders at work.
    pub(crate) fn forget_working(&mut self) {
        self.working.clear();
    }

    /// Where an order is. Newest first: reports are mostly about those.
    pub(crate) fn find(&self, id: ClientOrderId) -> Option<usize> {
        let remembered = || self.by_id.find(id_hash(id), |place| self.done[place].id == id);
        let working = self.working.iter().rposition(|o| o.id == id);
        working.or_else(|| remembered().map(|place| MAX_ORDERS + place))
    }

    /// Our id of the order that the venue knows by this id.
    pub(crate) fn by_venue_id(&self, symbol: SymbolId, order_id: u64) -> Option<ClientOrderId> {
        let is_it = |o: &WorkingOrder| o.order_id == order_id && o.symbol == symbol;
        let working = self.working.iter().rev().find(|o| is_it(o));
        let remembered = || {
            let place = self.by_venue_id.find(venue_hash(symbol, order_id), |p| is_it(&self.done[p]))?;
            Some(self.done[place].id)
        };
        working.map(|o| o.id).or_else(remembered)
    }

    /// May an order be taken in: is a place free, and nothing forgotten that is younger than [`REMEMBER_FOR`]?
    /// An order that reduces may always forget.
    pub(crate) fn has_room(&self, now: Nanos, reduces: bool) -> bool {
        let place = self.working.len() < MAX_ORDERS || self.working.iter().any(|o| !o.is_live());
        let oldest = self.done.get(self.oldest).filter(|_| self.done.len() == REMEMBERED);
        place && (reduces || oldest.is_none_or(|o| now.since(o.done_at).0 >= REMEMBER_FOR))
    }

    /// Takes an order in; the done ones move into the memory. `false` when every place is working.
    pub(crate) fn insert(&mut self, order: WorkingOrder) -> bool {
        if self.working.iter().any(|o| !o.is_live()) {
            for slot in 0..self.working.len() {
                let o = self.working[slot];
                if !o.is_live() {
                    self.remember(o);
                }
            }
            self.working.retain(WorkingOrder::is_live);
        }
        let room = self.working.len() < MAX_ORDERS;
        if room {
            self.working.push(order);
        }
        room
    }

    fn remember(&mut self, o: WorkingOrder) {
        let place = if self.done.len() < REMEMBERED {
            self.done.push(o);
            self.done.len() - 1
        } else {
            let place = self.oldest;
            let gone = self.done[place];
            self.by_id.remove(id_hash(gone.id), place);
            // Removing what is not there does nothing: an order without a venue id has no entry.
            self.by_venue_id.remove(venue_hash(gone.symbol, gone.order_id), place);
            self.done[place] = o;
            self.oldest = (place + 1) % REMEMBERED;
            place
        };
        self.by_id.insert(id_hash(o.id), place);
        if o.order_id != 0 {
            self.by_venue_id.insert(venue_hash(o.symbol, o.order_id), place);
        }
    }

    pub(crate) fn get(&self, slot: usize) -> &WorkingOrder {
        if slot < MAX_ORDERS { &self.working[slot] } else { &self.done[slot - MAX_ORDERS] }
    }

    /// Changes an order; its venue id may be told only now.
    pub(crate) fn update<T>(&mut self, slot: usize, change: impl FnOnce(&mut WorkingOrder) -> T) -> T {
        if slot < MAX_ORDERS {
            return change(&mut self.working[slot]);
        }
        let place = slot - MAX_ORDERS;
        let before = self.done[place].order_id;
        let result = change(&mut self.done[place]);
        let o = self.done[place];
        if o.order_id != before {
            self.by_venue_id.remove(venue_hash(o.symbol, before), place);
            self.by_venue_id.insert(venue_hash(o.symbol, o.order_id), place);
        }
        result
    }

    /// Slots of the orders at work, and of those done since the last was taken in.
    pub(crate) fn slots(&self) -> std::ops::Range<usize> {
        0..self.working.len()
    }

    /// All, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = &WorkingOrder> {
        let (newer, older) = self.done.split_at(self.oldest);
        older.iter().chain(newer).chain(&self.working)
    }

    /// Those that could still trade.
    pub fn live(&self) -> impl Iterator<Item = &WorkingOrder> {
        self.working.iter().filter(|o| o.is_live())
    }

    /// Those of one instrument that could still trade.
    pub fn live_in(&self, symbol: SymbolId) -> impl Iterator<Item = &WorkingOrder> {
        self.live().filter(move |o| o.symbol == symbol)
    }

    /// Those whose fate is unknown: how many, and since when the oldest.
    pub fn unknown(&self) -> (u32, Option<Nanos>) {
        let mut n = 0;
        let mut oldest: Option<Nanos> = None;
        for o in self.live().filter(|o| o.status == OrderStatus::Unknown) {
            n += 1;
            oldest = Some(oldest.map_or(o.unknown_since, |t| t.min(o.unknown_since)));
        }
        (n, oldest)
    }

    /// Worst case of an instrument's orders: lots that could still be bought, and sold.
    pub fn worst_case(&self, symbol: SymbolId) -> (Qty, Qty) {
        let (mut buy, mut sell) = (Qty::ZERO, Qty::ZERO);
        for o in self.live_in(symbol) {
            match o.side {
                Side::Buy => buy += o.open_qty(),
                Side::Sell => sell += o.open_qty(),
            }
        }
        (buy, sell)
    }
}
