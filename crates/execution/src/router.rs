//! The router: its state, and what the surroundings tell it. What it does with it: [`crate::intents`] (the engine's
//! wishes), [`crate::work`] (orders), [`crate::reports`] (reports), [`crate::reconcile`] (comparison with the venue),
//! [`crate::status`] (what others may ask).

use arrayvec::ArrayVec;
use market::{
    Amount, ClientOrderId, Instrument, Level, MarkPrice, Nanos, OrderRequest, OrderStatus, Px, Qty,
};
use market::{SymbolId, VenueTime};
use serde::{Deserialize, Serialize};

use crate::check::{Broken, Check, Denial, Latch};
use crate::config::{MAX_ACTIVE, RouterConfig};
use crate::fills::{FillSum, TradeIds};
use crate::gate::Gate;
use crate::gates::{ACCOUNT, Exposure, Margin, SYMBOL, Since, price};
use crate::kill::{KillAction, KillSwitch, KillTrigger, KillView, Remains};
use crate::ledger::Ledger;
use crate::limits::ConfigError;
use crate::orders::{Purpose, WorkingOrders};
use crate::outbox::{Alert, AlertKind, Control, MAX_REQUESTS, Outbox};
use crate::position::{MakerShare, Position};
use crate::rearm::Rearmed;
use crate::risk::Risk;
use crate::trade::Trade;
use crate::trips::{Booking, ClosedTrips, Part, RoundTrip};
use crate::venue_state::UnlistedHoldings;

/// Lots that the venue's position has and no fill explains yet: a fill that comes later prices them.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Unexplained {
    pub sign: i64,
    pub part: Part,
    pub px: Px,
    /// A fill after this is another one.
    pub until: VenueTime,
}

/// A refusal that is being repeated.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Refusal {
    pub check: Check,
    /// It is told again after this,
    pub until: Nanos,
    /// and then after twice as long.
    pub step: u32,
}

/// What the router knows of one instrument.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct SymbolState {
    pub bid: Level,
    pub ask: Level,
    pub book_at: Nanos,
    pub mark: f64,
    pub mark_at: Nanos,
    pub next_funding: VenueTime,
    pub liquidation_px: f64,
    pub position: Position,
    /// The open round trip: there whenever the position is not zero.
    pub trip: Option<RoundTrip>,
    pub trade: Option<Trade>,
    pub unexplained: ArrayVec<Unexplained, 4>,
    /// A round trip may have to be told or corrected.
    pub untold: bool,
    /// Profit realised here today, commissions included.
    pub day_realised: Amount,
    /// No new entries until the filters have been read again.
    pub blocked: bool,
    /// The venue closed a position here (liquidation, ADL, settlement), or the session's units do not fit any more: no
    /// entry until a person lets them go on.
    pub halted: bool,
    pub last_fill_at: Nanos,
    /// A fill up to then was booked by a run before this one: it is no news, however often it is told.
    pub booked_until: VenueTime,
    /// The dead-man switch was asked for last; 0 = it is off.
    pub dead_man_at: Nanos,
    /// The newest of these that the venue has confirmed.
    pub dead_man_ok_at: Nanos,
    pub active: bool,
    /// The refusal being repeated, of a short and of a long.
    pub refusals: [Option<Refusal>; 2],
    pub gates_since: Since<{ SYMBOL.len() }>,
}

impl SymbolState {
    /// Price in ticks, once one has come.
    pub(crate) fn price(&self, i: &Instrument) -> Option<Px> {
        price(i, self.mark, self.bid, self.ask)
    }
}

/// Why there can be no router.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NewRouterError {
    /// A config value.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The table of instruments is not in order.
    #[error(
        "instrument table: `{symbol}` at place {place} carries id {id}; ids must be 0, 1, 2 … in table order"
    )]
    Instruments {
        /// Venue name.
        symbol: String,
        /// Where it stands.
        place: usize,
        /// What it says.
        id: u16,
    },
}

/// Counters since start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stats {
    /// Orders sent.
    pub orders: u64,
    /// Cancels sent.
    pub cancels: u64,
    /// Queries sent.
    pub queries: u64,
    /// Orders refused by the venue.
    pub rejects: u64,
    /// Orders refused by our own checks; one that is refused again and again for one reason counts once.
    pub denials: u64,
    /// Orders that became Unknown.
    pub unknowns: u64,
    /// Fill reports that were told before.
    pub duplicate_reports: u64,
    /// Fills that were not ours.
    pub external_fills: u64,
    /// Fills of orders that were done.
    pub late_fills: u64,
    /// Differences found by reconciliation.
    pub mismatches: u64,
    /// Re-pegs.
    pub repegs: u64,
    /// Entries that got a position.
    pub entries: u64,
    /// Entries that got none; as with denials, a repeated one counts once.
    pub abandoned: u64,
    /// Positions closed.
    pub exits: u64,
    /// Outcomes that were put right after they were told.
    pub corrections: u64,
}

/// From intents to orders. See the crate's documentation.
#[derive(Debug, Serialize, Deserialize)]
pub struct Router {
    pub(crate) cfg: RouterConfig,
    pub(crate) instruments: Vec<Instrument>,
    pub(crate) symbols: Vec<SymbolState>,
    pub(crate) active: ArrayVec<SymbolId, MAX_ACTIVE>,
    pub(crate) orders: WorkingOrders,
    /// Orders with lots that have no price yet.
    pub(crate) unpriced: u32,
    pub(crate) trade_ids: TradeIds,
    pub(crate) closed: ClosedTrips,
    pub(crate) risk: Risk,
    pub(crate) gate: Gate,
    pub(crate) gates_since: Since<{ ACCOUNT.len() }>,
    pub(crate) kill: KillSwitch,
    pub(crate) ledger: Ledger,
    pub(crate) margin: Option<Margin>,
    pub(crate) unlisted: UnlistedHoldings,
    pub(crate) maker: MakerShare,
    pub(crate) stats: Stats,
    pub(crate) rearmed: Option<Rearmed>,
    pub(crate) run: u64,
    pub(crate) last_intent: u32,
    pub(crate) reconciled: bool,
    /// Until then an order of a run before this one may reach the venue; 0: none can, and a comparison that was asked for
    /// after it has said so.
    pub(crate) alone_from: Nanos,
    /// Until then an order of a run before this one may appear; one that appears later is of another node.
    pub(crate) predecessor_until: Nanos,
    /// The newest comparison in which nothing was on its way: asked for when, and what was left at the venue.
    pub(crate) compared: Option<(Nanos, Remains)>,
    pub(crate) reconcile_due: Option<Nanos>,
    /// Comparisons in a row after which something was still to be found out.
    pub(crate) reconcile_again: u32,
    pub(crate) last_enter: Option<(SymbolId, i8, VenueTime)>,
    /// Something found no room in the outbox: take it up again at once.
    pub(crate) stalled: bool,
}

impl Router {
    /// A router for one session. `run` is the session's epoch, never used before; `instruments` in id order.
    /// Its gate is shut until [`Self::set_gate`], and nothing is opened before the first clean [`Self::reconcile`].
    pub fn new(cfg: RouterConfig, instruments: Vec<Instrument>, run: u64) -> Result<Self, NewRouterError> {
        cfg.validate()?;
        for (place, i) in instruments.iter().enumerate() {
            if i.id.index() != place {
                let symbol = i.symbol.clone();
                return Err(NewRouterError::Instruments { symbol, place, id: i.id.0 });
            }
        }
        Ok(Self {
            risk: Risk::new(cfg.risk.clone()),
            cfg,
            symbols: vec![SymbolState::default(); instruments.len()],
            instruments,
            active: ArrayVec::new(),
            orders: WorkingOrders::new(),
            unpriced: 0,
            trade_ids: TradeIds::new(),
            closed: ClosedTrips::new(run),
            gate: Gate::default(),
            gates_since: [None; ACCOUNT.len()],
            kill: KillSwitch::default(),
            ledger: Ledger::default(),
            margin: None,
            unlisted: UnlistedHoldings::default(),
            maker: MakerShare::default(),
            stats: Stats::default(),
            rearmed: None,
            run,
            last_intent: 0,
            reconciled: false,
            alone_from: Nanos(0),
            predecessor_until: Nanos(0),
            compared: None,
            reconcile_due: Some(Nanos(0)),
            reconcile_again: 0,
            last_enter: None,
            stalled: false,
        })
    }

    /// There was a run before this one, and an order that it sent may reach the venue until `until`. That the venue does
    /// not list it before then says nothing: nothing is opened until a clean comparison that was asked for afterwards.
    pub const fn set_predecessor(&mut self, until: Nanos) {
        self.alone_from = until;
        self.predecessor_until = until;
    }

    /// What the venue tells of fills of earlier runs up to `until` is booked already, in one instrument or in all.
    pub fn booked_until(&mut self, symbol: Option<SymbolId>, until: VenueTime) {
        for (k, s) in self.symbols.iter_mut().enumerate() {
            if symbol.is_none_or(|symbol| symbol.index() == k) {
                s.booked_until = s.booked_until.max(until);
            }
        }
    }

    // ---- inputs -------------------------------------------------------------------------------------------------

    /// Best bid and offer. Call it at every sample even where nothing changed: its age is the age of the book.
    pub fn on_bbo(&mut self, now: Nanos, symbol: SymbolId, bid: Level, ask: Level, out: &mut Outbox) {
        let Some(s) = self.symbols.get_mut(symbol.index()) else { return };
        s.bid = bid;
        s.ask = ask;
        s.book_at = now;
        if s.active {
            if self.ledger.equity().is_none() {
                self.observe_equity();
            }
            self.drive(now, symbol, out);
        }
    }

    /// The book is not to be trusted any more (a gap, silence): nothing is opened on it until the next best bid and
    /// offer. What rests and what closes goes on.
    pub fn on_book_lost(&mut self, symbol: SymbolId) {
        if let Some(s) = self.symbols.get_mut(symbol.index()) {
            s.book_at = Nanos(0);
        }
    }

    /// Mark price.
    pub fn on_mark(&mut self, now: Nanos, mark: &MarkPrice) {
        let Some(s) = self.symbols.get_mut(mark.symbol.index()) else { return };
        s.mark = mark.mark;
        s.mark_at = now;
        s.next_funding = VenueTime(mark.next_funding);
        if s.active {
            self.observe_equity();
        }
    }

    /// A deadline has passed (or the caller's poll came round).
    pub fn on_timer(&mut self, now: Nanos, out: &mut Outbox) {
        self.stalled = false;
        self.drive_kill(now, out);
        for k in (0..self.active.len()).rev() {
            let symbol = self.active[k];
            self.drive(now, symbol, out);
        }
        self.follow_orders(now, out);
        self.refresh_dead_man(now, out);
        if self.gate.order_path && self.reconcile_due.is_some_and(|t| now >= t) {
            self.reconcile_due = Some(now.plus(RouterConfig::ns(self.cfg.reconcile_retry_ms)));
            self.control(Control::Reconcile, out);
        }
        self.observe_gates(now);
    }

    /// When [`Self::on_timer`] is next needed; `None` while nothing is pending. While the order path is down nothing is.
    pub fn next_deadline(&self) -> Option<Nanos> {
        if self.stalled {
            return Some(Nanos(0));
        }
        if !self.gate.order_path {
            return None;
        }
        let orders = self.orders.live().filter_map(|o| o.deadline(&self.cfg));
        let trades = self.active.iter().filter_map(|s| self.symbols[s.index()].trade.as_ref()?.deadline());
        let dead_man = self.active.iter().filter_map(|s| self.dead_man_due(*s));
        let mut next = orders.chain(trades).chain(dead_man).min();
        for t in [self.reconcile_due, self.kill.deadline()].into_iter().flatten() {
            next = Some(next.map_or(t, |n| n.min(t)));
        }
        next
    }

    /// The surroundings changed: connection, clock, posture, circuit breaker, lease, operator.
    pub fn set_gate(&mut self, now: Nanos, gate: Gate, out: &mut Outbox) {
        let (path_lost, path_back) =
            (self.gate.order_path && !gate.order_path, !self.gate.order_path && gate.order_path);
        let stream_lost = self.gate.user_stream && !gate.user_stream;
        let path_changed = self.gate.fallback != gate.fallback;
        self.gate = gate;
        if path_lost {
            // What was on its way may or may not have arrived.
            for slot in self.orders.slots() {
                let status = self.orders.get(slot).status;
                if matches!(status, OrderStatus::PendingNew | OrderStatus::PendingCancel) {
                    self.orders.update(slot, |o| o.set_unknown(now));
                    self.stats.unknowns += 1;
                }
            }
        }
        if path_lost || stream_lost || path_changed {
            self.reconciled = false;
        }
        if path_lost || stream_lost || path_back || path_changed {
            self.reconcile_due = Some(now);
        }
        for k in (0..self.active.len()).rev() {
            let symbol = self.active[k];
            self.drive(now, symbol, out);
        }
        self.observe_gates(now);
    }

    /// New filters or a new status of an instrument (slow path), in the session's units
    /// ([`Instrument::in_units_of`]). Lifts the block that stale filters caused.
    pub fn set_instrument(&mut self, instrument: Instrument) -> bool {
        let Some(i) = self.instruments.get_mut(instrument.id.index()) else { return false };
        // Ticks and lots are what orders and positions are counted in.
        let s = &mut self.symbols[instrument.id.index()];
        if i.tick != instrument.tick || i.lot != instrument.lot {
            return false;
        }
        *i = instrument;
        s.blocked = false;
        true
    }

    /// No entry in this instrument until a person lets them go on: its filters are not in the session's units any more.
    /// Its position is closed as before.
    pub fn halt(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) {
        let Some(s) = self.symbols.get_mut(symbol.index()) else { return };
        if !std::mem::replace(&mut s.halted, true) {
            out.alert(Alert { symbol: Some(symbol), ..Alert::new(now, AlertKind::SymbolBlocked) });
        }
    }

    /// The wallet changed by something else than a fill: funding counts as profit of the day, a transfer does not.
    pub fn on_income(&mut self, now: Nanos, change: Amount, is_profit: bool) {
        let at = self.to_venue(now);
        if is_profit {
            self.ledger.income(change, at);
        } else {
            self.ledger.transfer(change, at);
        }
        self.observe_equity();
    }

    /// What came of a [`Control::DeadMan`] with a countdown: did the venue take it?
    pub fn on_dead_man(&mut self, symbol: SymbolId, taken: bool) {
        let Some(s) = self.symbols.get_mut(symbol.index()) else { return };
        if taken {
            // The venue counts from when it took it, not from when we hear of it: the time of asking is never too late.
            s.dead_man_ok_at = s.dead_man_at;
        }
    }

    /// A new day (event time decides when): profit, drawdown and counts of the day begin anew.
    pub fn begin_day(&mut self) {
        self.observe_equity();
        self.ledger.begin_day();
        for s in &mut self.symbols {
            s.day_realised = Amount::ZERO;
        }
    }

    /// A position known from before the restart: its exits go on. Call it before the first [`Self::reconcile`], which
    /// then compares it with the venue's. `tp_pct` 0 = no take-profit order. It may be held for as long as one that is
    /// opened now, unless [`Self::hold_until`] says less. `false` if the instrument is unknown, busy, or the position is
    /// zero.
    pub fn adopt_position(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        qty: Qty,
        avg_px: f64,
        tp_pct: f64,
    ) -> bool {
        let Some(cost) = self.instruments.get(symbol.index()).and_then(|i| cost(i, qty, avg_px)) else {
            return false;
        };
        if qty.is_zero() || self.symbols[symbol.index()].trade.is_some() || !self.activate(symbol) {
            return false;
        }
        self.booking(symbol).adopt(qty, cost, now);
        let (intent, hold_until) = (self.next_intent(), self.hold_from(now));
        let s = &mut self.symbols[symbol.index()];
        let trip = s.trip.map_or_else(Default::default, |t| t.id);
        s.trade = Some(Trade { told: true, hold_until, ..Trade::of_position(intent, qty, tp_pct, trip) });
        self.observe_equity();
        true
    }

    /// What an earlier run has closed already of an adopted position: its prices and commissions count in the outcome.
    pub fn adopt_exits(&mut self, symbol: SymbolId, exits: FillSum) {
        let Some(s) = self.symbols.get_mut(symbol.index()) else { return };
        if let Some(trip) = &mut s.trip {
            let cost = (s.position.avg_ticks().abs() * exits.qty.0 as f64).round() as i128;
            trip.adopt_exits(exits, cost);
        }
    }

    /// A position must be closed by `at` (our clock): it was opened before this run.
    pub fn hold_until(&mut self, symbol: SymbolId, at: Nanos) {
        if let Some(t) = self.symbols.get_mut(symbol.index()).and_then(|s| s.trade.as_mut()) {
            t.hold_until = Some(at);
        }
    }

    /// Pulls the kill switch: entries stop, everything is cancelled, positions are closed if `kill_flattens` or `flatten`.
    pub fn kill(&mut self, now: Nanos, trigger: KillTrigger, flatten: bool, out: &mut Outbox) {
        let flatten = flatten || self.cfg.kill_flattens;
        if self.kill.trip(now, trigger, flatten) {
            out.alert(Alert::new(now, AlertKind::KillTripped));
        }
        self.on_timer(now, out);
    }

    /// The caller's own monitors found something that must stop new entries until a person has looked at it.
    pub fn trip(&mut self, now: Nanos, check: Check, out: &mut Outbox) {
        self.latch(Latch { check, at: now, value: 1.0, limit: 0.0 }, None, out);
    }

    pub(crate) fn latch(&mut self, latch: Latch, symbol: Option<SymbolId>, out: &mut Outbox) {
        if self.risk.latch(latch) {
            let check = Some((latch.check, latch.value, latch.limit));
            out.alert(Alert { symbol, check, ..Alert::new(latch.at, AlertKind::Tripped) });
        }
    }

    // ---- helpers ------------------------------------------------------------------------------------------------

    pub(crate) fn to_venue(&self, now: Nanos) -> VenueTime {
        self.gate.clock.map_or(VenueTime(now), |c| c.to_venue(now))
    }

    pub(crate) fn hold_from(&self, now: Nanos) -> Option<Nanos> {
        (self.cfg.max_hold_ms > 0).then(|| now.plus(RouterConfig::ns(self.cfg.max_hold_ms)))
    }

    pub(crate) fn next_intent(&mut self) -> u32 {
        self.last_intent += 1;
        self.last_intent
    }

    pub(crate) fn client_order_id(&self, intent: u32, attempt: u16) -> ClientOrderId {
        ClientOrderId { run: self.run, intent, attempt }
    }

    pub(crate) fn booking(&mut self, symbol: SymbolId) -> Booking<'_> {
        let s = &mut self.symbols[symbol.index()];
        Booking {
            instrument: &self.instruments[symbol.index()],
            position: &mut s.position,
            open: &mut s.trip,
            closed: &mut self.closed,
        }
    }

    /// Puts an instrument on the list of those that need looking after; `false` when the list is full.
    pub(crate) fn activate(&mut self, symbol: SymbolId) -> bool {
        let s = &mut self.symbols[symbol.index()];
        if !s.active {
            s.active = self.active.try_push(symbol).is_ok();
        }
        s.active
    }

    pub(crate) fn deny(&mut self, at: Nanos, symbol: SymbolId, broken: Broken, out: &mut Outbox) {
        self.stats.denials += 1;
        let (check, value, limit) = broken;
        out.deny(Denial { at, check, symbol, value, limit });
    }

    pub(crate) fn control(&mut self, control: Control, out: &mut Outbox) {
        if out.controls.contains(&control) {
            return;
        }
        if out.controls.try_push(control).is_err() {
            self.stalled = true;
        }
    }

    /// Hands a request out; `false` (and nothing done) when the outbox is full.
    pub(crate) fn send(&mut self, request: OrderRequest, out: &mut Outbox) -> bool {
        // The last places are kept for cancels and for orders that reduce.
        let keep = match request {
            OrderRequest::New(o) if !o.reduce_only => 16,
            OrderRequest::Query(_) => 8,
            _ => 0,
        };
        if out.requests.len() + keep >= MAX_REQUESTS {
            self.stalled = true;
            return false;
        }
        if matches!(request, OrderRequest::New(_) | OrderRequest::Cancel(_)) {
            self.ledger.day_mut().messages += 1;
        }
        out.requests.push(request);
        true
    }

    /// Unrealised profit of all positions; `None`: not every one has a price.
    pub(crate) fn observe_equity(&mut self) {
        let mut unrealised = Some(Amount::ZERO);
        for s in &self.active {
            let (s, i) = (&self.symbols[s.index()], &self.instruments[s.index()]);
            if !s.position.qty.is_zero() {
                let value = s.price(i).map(|px| s.position.unrealised(i, px));
                unrealised = unrealised.zip(value).map(|(sum, value)| sum + value);
            }
        }
        self.ledger.observe(unrealised);
    }

    /// Everything in other instruments, and what is not followed, at its worst.
    pub(crate) fn exposure_beside(&self, symbol: Option<SymbolId>) -> Exposure {
        let u = &self.unlisted;
        let mut sum =
            Exposure { gross: u.gross, long: u.net.max(0.0), short: u.net.min(0.0), unpriced: false };
        for other in self.active.iter().filter(|s| Some(**s) != symbol) {
            let (s, i) = (&self.symbols[other.index()], &self.instruments[other.index()]);
            let (buy, sell) = self.orders.worst_case(*other);
            let px = s.price(i).map(|px| i.px_f64(px));
            sum.add(px, |q| i.qty_f64(q), s.position.qty, buy, sell);
        }
        sum
    }

    pub(crate) fn drive_kill(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.kill.is_latched() || !self.gate.order_path {
            return;
        }
        let positions =
            self.active.iter().filter(|s| !self.symbols[s.index()].position.qty.is_zero()).count();
        let exits = self.orders.live().filter(|o| o.purpose == Purpose::Exit).count();
        let view = KillView {
            live_orders: (self.orders.live().count() - exits) as u32,
            positions: positions as u32,
            compared: self.compared,
        };
        match self.kill.advance(now, &view) {
            None => {}
            Some(KillAction::CancelAll) => {
                for k in 0..self.active.len() {
                    let symbol = self.active[k];
                    if self.send(OrderRequest::CancelAll(symbol), out) {
                        self.risk.sent_weight(now, 1);
                    }
                }
                if self.unlisted.count() > 0 {
                    self.control(Control::ClearUnlisted { flatten: self.kill.flattens() }, out);
                }
            }
            Some(KillAction::Flatten) => self.flatten_all(now),
            Some(KillAction::Verify) => self.control(Control::Reconcile, out),
            Some(KillAction::Report(left)) => {
                let qty = Qty(i64::from(left.positions));
                out.alert(Alert { qty, ..Alert::new(now, AlertKind::KillDone) });
            }
        }
    }
}

/// Cost of a position at an average price, ticks × lots, positive; `None` where it cannot be.
pub(crate) fn cost(i: &Instrument, qty: Qty, avg_px: f64) -> Option<i128> {
    let ticks = avg_px / i.tick.to_f64();
    let cost = (ticks * qty.0.unsigned_abs() as f64).round();
    (ticks > 0.0 && cost < 1e37).then_some(cost as i128)
}
