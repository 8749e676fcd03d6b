//! Working an instrument: one step at a time from what is towards what [`Trade::want`] says should be.

use market::planted::{Bug, planted};
use market::{AbandonReason, CancelOrder, ExitReason, Nanos, NewOrder, OrderRequest, OrderStatus};
use market::{OrderType, Outcome, PositionSide, Posture, Px, Qty, Side, SymbolId, TripId};

use crate::check::{Broken, Check, Latch};
use crate::config::RouterConfig;
use crate::fills::FillSum;
use crate::gate::TradingState;
use crate::orders::{MAX_CANCELS, Purpose, WorkingOrder};
use crate::outbox::{Alert, AlertKind, Control, Outbox};
use crate::risk::{Allowed, Scene};
use crate::router::Router;
use crate::trade::{ExitStyle, Phase, Trade, View, Want, Wanted};
use crate::trips::{Parts, RoundTrip};

/// Steps per call: a phase leads to the next at most this often without news from outside.
const MAX_STEPS: usize = 6;

impl Router {
    /// Brings an instrument as far as it goes now.
    pub(crate) fn drive(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) {
        for _ in 0..MAX_STEPS {
            if !self.step(now, symbol, out) {
                break;
            }
        }
        self.tell_trips(symbol, out);
        self.retire(symbol);
    }

    /// One step; `true` if another may follow at once.
    fn step(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) -> bool {
        if self.symbols[symbol.index()].trade.is_some_and(|t| t.is_overdue(now)) {
            // The engine's ticks were lost or stand still: time decides.
            self.start_exit(now, symbol, ExitReason::MaxHold);
        }
        let Some(mut t) = self.symbols[symbol.index()].trade else {
            self.cancel_all_but(now, symbol, None, out);
            return false;
        };
        let stopped = self.symbols[symbol.index()].halted || !self.may_open();
        if t.is_entering() && !matches!(t.phase, Phase::EntryEnding(_)) && stopped {
            t.go(Phase::EntryEnding(AbandonReason::Halted), None);
        }
        let view = self.view(now, symbol, &t);
        t.advance(&view);
        let want = t.want(&view);
        self.symbols[symbol.index()].trade = Some(t);
        if !self.gate.order_path {
            return false;
        }
        let wanted = if let Want::Order(w) = want { Some(w) } else { None };
        let (matched, others) = self.cancel_all_but(now, symbol, wanted.as_ref(), out);
        match wanted {
            Some(w) if !matched && (!others || w.urgent) => self.place(now, symbol, &w, out),
            None if want == Want::End && !others => self.finish(now, symbol, out),
            _ => false,
        }
    }

    /// Does anything forbid that an entry goes on?
    fn may_open(&self) -> bool {
        self.trading_state() == TradingState::Active
            && self.gate.order_path
            && self.gate.user_stream
            && !self.gate.fallback
            && self.reconciled
            && self.gate.breaker_can_open
            && self.gate.posture != Posture::Hibernate
    }

    fn view(&self, now: Nanos, symbol: SymbolId, t: &Trade) -> View<'_> {
        let s = &self.symbols[symbol.index()];
        let mine = |o: &&WorkingOrder| match t.phase {
            Phase::EntryMaker | Phase::EntryCross | Phase::EntryEnding(_) => o.purpose == Purpose::Entry,
            Phase::Holding | Phase::Exiting(_, ExitStyle::RestTp) => o.purpose == Purpose::TakeProfit,
            Phase::Exiting(..) => o.purpose == Purpose::Exit && o.id.intent == t.exit_intent,
        };
        let killed = self.kill.is_latched();
        // Once the engine's round trip is closed the trade is over, even where orders that filled late made another
        // position: that one is closed by itself.
        let over = t.told && s.trip.is_none_or(|trip| trip.id != t.trip);
        View {
            now,
            cfg: &self.cfg,
            instrument: &self.instruments[symbol.index()],
            bid: s.bid,
            ask: s.ask,
            book_at: s.book_at,
            position: if over { Qty::ZERO } else { s.position.qty },
            entry: self.trip_of(symbol, t.trip).map_or_else(FillSum::default, |trip| trip.entry),
            resting: self.orders.live_in(symbol).find(mine),
            tp_may_rest: !killed && self.gate.state != TradingState::Halted,
            tp_may_place: self.reconciled,
            slippage_bps: self.kill.flattens().then_some(self.cfg.kill_max_slippage_bps),
        }
    }

    /// Cancels what works in an instrument and is not `keep`: (is it working, does anything else).
    /// An urgent order waits for others of its own purpose only: never two live orders of one intent.
    fn cancel_all_but(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        keep: Option<&Wanted>,
        out: &mut Outbox,
    ) -> (bool, bool) {
        let (mut matched, mut others) = (false, false);
        let exit_intent = self.symbols[symbol.index()].trade.map_or(0, |t| t.exit_intent);
        for slot in self.orders.slots() {
            let o = self.orders.get(slot);
            if o.symbol != symbol || !o.is_live() {
                continue;
            }
            if !matched && keep.is_some_and(|w| w.is(o)) {
                matched = true;
                continue;
            }
            others = true;
            // The same intent's order blocks even an urgent one: report it as the match that is awaited.
            matched |=
                keep.is_some_and(|w| w.urgent) && o.purpose == Purpose::Exit && o.id.intent == exit_intent;
            self.cancel(now, slot, out);
        }
        (matched, others)
    }

    /// Cancels a resting order that the venue has acknowledged. One on its way is left until it is heard of; immediate
    /// ones end by themselves; an unknown one is being asked for.
    fn cancel(&mut self, now: Nanos, slot: usize, out: &mut Outbox) {
        let o = *self.orders.get(slot);
        let live = matches!(o.status, OrderStatus::New | OrderStatus::PartiallyFilled);
        if !live || !o.rests() || !self.gate.order_path {
            return;
        }
        let request = OrderRequest::Cancel(CancelOrder { symbol: o.symbol, client_order_id: o.id });
        if !self.send(request, out) {
            return;
        }
        self.risk.sent_weight(now, 1);
        self.stats.cancels += 1;
        self.orders.update(slot, |o| {
            o.status = OrderStatus::PendingCancel;
            o.cancel_at = now;
            o.cancels = if o.cancels >= MAX_CANCELS { 1 } else { o.cancels + 1 };
        });
    }

    pub(crate) fn scene(&self, now: Nanos, symbol: SymbolId, side: Side) -> Scene<'_> {
        let busy = |other: &&SymbolId| {
            let s = &self.symbols[other.index()];
            **other != symbol && (s.trade.is_some() || !s.position.qty.is_zero())
        };
        let opposite = self.orders.live_in(symbol).filter(|o| o.side != side && o.rests()).map(|o| o.px);
        Scene {
            view: self.symbol_view(now, symbol),
            position: self.symbols[symbol.index()].position.qty,
            working: self.orders.worst_case(symbol),
            own_opposite: if side == Side::Buy { opposite.min() } else { opposite.max() },
            orders_here: self.orders.live_in(symbol).count() as u32,
            elsewhere: self.exposure_beside(Some(symbol)),
            open_positions: self.active.iter().filter(busy).count() as u32,
        }
    }

    /// Places an order if the checks let it pass; `true` if the trade's phase changed.
    fn place(&mut self, now: Nanos, symbol: SymbolId, w: &Wanted, out: &mut Outbox) -> bool {
        let Some(t) = self.symbols[symbol.index()].trade else { return false };
        let (intent, attempt) = if w.purpose == Purpose::Exit {
            (t.exit_intent, t.exit_attempts)
        } else {
            (t.intent, t.attempts)
        };
        let opens = w.purpose == Purpose::Entry;
        let mut order = NewOrder {
            symbol,
            client_order_id: self.client_order_id(intent, attempt + 1),
            side: w.side,
            order_type: w.order_type,
            tif: w.tif,
            px: w.px,
            qty: w.qty,
            reduce_only: !opens && !planted(Bug::ReduceOnlyMissing),
            position_side: PositionSide::Both,
            recv_window_ms: 0,
        };
        if opens {
            order.qty = self.cut(now, &order, t.capital, out);
        }
        let scene = self.scene(now, symbol, w.side);
        let window = self.recv_window(now);
        let verdict = window.and_then(|_| match w.purpose {
            Purpose::Entry => self.risk.check_entry(&scene, &order, (t.decision_px, t.capital)),
            _ => self.risk.check_reduce(&scene, &order, self.kill.flattens()),
        });
        let verdict = verdict.and_then(|()| {
            let full = (Check::TableFull, 1.0, 0.0);
            if self.orders.has_room(now, !opens) { Ok(()) } else { Err(full) }
        });
        if let Err(broken) = verdict {
            return self.denied(now, symbol, w, broken, out);
        }
        order.recv_window_ms = window.unwrap_or(0);
        if !self.send(OrderRequest::New(order), out) {
            return false;
        }
        self.risk.sent_order(now, &order);
        if opens && t.attempts == 0 {
            self.risk.entered(now);
        }
        self.stats.orders += 1;
        self.orders.insert(working(now, &order, t.intent, w.purpose));
        self.placed(now, symbol, w);
        false
    }

    /// How long the venue may take an order for: the configured window, or what is left of the lease, our clock's error
    /// taken off.
    fn recv_window(&self, now: Nanos) -> Result<u32, Broken> {
        let most = self.cfg.recv_window_ms;
        let error = self.gate.clock.map_or(0, |c| c.error_at(now).div_ceil(Nanos::MS));
        let left = self.gate.lease_until.map(|t| t.since(now).millis().saturating_sub(error));
        let window = left.map_or(most, |left| left.min(most));
        if window < self.cfg.min_recv_window_ms {
            return Err((Check::Lease, window as f64, self.cfg.min_recv_window_ms as f64));
        }
        Ok(u32::try_from(window).unwrap_or(u32::MAX))
    }

    /// The order's quantity, cut to the limits of an order's and a position's value; the cut is told once an entry.
    /// Where what is left is no order any more it is not cut, and the limit refuses it.
    fn cut(&mut self, now: Nanos, o: &NewOrder, capital: f64, out: &mut Outbox) -> Qty {
        let scene = self.scene(now, o.symbol, o.side);
        let Allowed { lots, check, limit } = self.risk.allowed(&scene, o.side, o.px, capital);
        let i = &self.instruments[o.symbol.index()];
        let value = i.notional(o.px, Qty(lots));
        if o.qty.0 <= lots || lots < i.min_qty.0.max(1) || value.is_none_or(|v| v < i.min_notional) {
            return o.qty;
        }
        let wanted = i.px_f64(o.px) * i.qty_f64(o.qty);
        let Some(t) = &mut self.symbols[o.symbol.index()].trade else { return o.qty };
        t.target = t.got + Qty(lots);
        if !std::mem::replace(&mut t.cut_told, true) {
            let (symbol, qty) = (Some(o.symbol), Qty(o.qty.0 - lots));
            let check = Some((check, wanted, limit));
            out.alert(Alert { symbol, qty, check, ..Alert::new(now, AlertKind::SizeCut) });
        }
        Qty(lots)
    }

    /// Counts an order that went out.
    fn placed(&mut self, now: Nanos, symbol: SymbolId, w: &Wanted) {
        let Some(t) = &mut self.symbols[symbol.index()].trade else { return };
        if w.purpose == Purpose::Exit {
            t.exit_attempts += 1;
        } else {
            t.attempts += 1;
        }
        match t.phase {
            Phase::EntryMaker | Phase::Exiting(_, ExitStyle::Maker) => {
                if t.pegged_at.0 > 0 {
                    t.repegs += 1;
                    self.stats.repegs += 1;
                }
                t.pegged_at = now;
            }
            Phase::EntryCross => t.crossed = true,
            _ => {}
        }
        if w.purpose == Purpose::TakeProfit {
            t.tp_orders += 1;
        }
        t.detail_until = None;
    }

    /// Our own checks refused an order.
    fn denied(&mut self, now: Nanos, symbol: SymbolId, w: &Wanted, broken: Broken, out: &mut Outbox) -> bool {
        let pause = RouterConfig::ns(self.cfg.exit_retry_ms);
        let Some(t) = &mut self.symbols[symbol.index()].trade else { return false };
        let (first, mut again) = (t.exit_fails == 0, false);
        match (w.purpose, t.phase) {
            (Purpose::Entry, _) => {
                t.go(Phase::EntryEnding(AbandonReason::RiskDenied), None);
                again = true;
            }
            (_, Phase::Exiting(reason, ExitStyle::Maker)) => {
                t.go(Phase::Exiting(reason, ExitStyle::Market), None);
                again = true;
            }
            _ => {
                t.exit_fails += 1;
                t.retry_at = now.plus(pause << t.exit_fails.min(4));
            }
        }
        if first || again {
            self.deny(now, symbol, broken, out);
        }
        again
    }

    /// Nothing works any more and the phase is over: report it and go on; `true` if there is more to do.
    fn finish(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) -> bool {
        let Some(mut t) = self.symbols[symbol.index()].trade else { return false };
        let entering = t.is_entering();
        let trip = self.trip_of(symbol, t.trip);
        let sum = trip.map_or_else(FillSum::default, |trip| if entering { trip.entry } else { trip.exit });
        if !sum.is_complete() && t.pending_exit.is_none() {
            let wait = now.plus(RouterConfig::ns(self.cfg.fill_detail_wait_ms));
            if t.detail_until.is_none() {
                // The fill's own report is lost or late: the venue's list of fills has it.
                self.control(Control::Reconcile, out);
            }
            let until = *t.detail_until.get_or_insert(wait);
            self.symbols[symbol.index()].trade = Some(t);
            if now < until {
                return false;
            }
            let qty = sum.qty - sum.priced;
            out.alert(Alert { symbol: Some(symbol), qty, ..Alert::new(now, AlertKind::FillPriceEstimated) });
        }
        if out.outcomes.is_full() {
            self.stalled = true;
            return false;
        }
        if entering {
            self.finish_entry(now, symbol, &mut t, out)
        } else {
            self.finish_exit(now, symbol, &t, out)
        }
    }

    fn finish_entry(&mut self, now: Nanos, symbol: SymbolId, t: &mut Trade, out: &mut Outbox) -> bool {
        let i = &self.instruments[symbol.index()];
        let s = &mut self.symbols[symbol.index()];
        let trip = s.trip.as_mut().filter(|r| r.id == t.trip);
        let Some(trip) = trip.or_else(|| self.closed.iter_mut().rev().find(|r| r.id == t.trip)) else {
            let reason = if let Phase::EntryEnding(r) = t.phase { r } else { AbandonReason::TimedOut };
            self.stats.abandoned += 1;
            out.outcomes.push(Outcome::Abandoned { symbol, reason });
            s.trade = None;
            s.untold = true;
            self.close_leftover(now, symbol, out);
            return true;
        };
        self.stats.entries += 1;
        let told = trip.tell_entry(i);
        out.outcomes.push(Outcome::Entered(told));
        t.told = true;
        let pending = t.pending_exit.take();
        t.go(Phase::Holding, None);
        t.hold_until = self.hold_from(now);
        self.symbols[symbol.index()].trade = Some(*t);
        if !told.provisional {
            let worse = f64::from(t.direction) * (told.avg_px / t.decision_px - 1.0);
            self.check_slippage(now, symbol, worse, out);
        }
        if let Some(reason) = pending {
            self.start_exit(now, symbol, reason);
        }
        true
    }

    fn finish_exit(&mut self, now: Nanos, symbol: SymbolId, t: &Trade, out: &mut Outbox) -> bool {
        let s = &mut self.symbols[symbol.index()];
        s.trade = None;
        // What the engine does not hold is told as a whole, by `tell_trips`.
        s.untold = true;
        let closed = &mut self.closed;
        let trip = closed.iter_mut().rev().find(|r| t.told && r.id == t.trip && !r.is_told());
        if let Some(trip) = trip {
            self.stats.exits += 1;
            let told = trip.tell_exit(&self.instruments[symbol.index()]);
            out.outcomes.push(Outcome::Exited(told));
            if !told.provisional && told.reason != ExitReason::External {
                let worse = -f64::from(t.direction) * (told.avg_px / t.exit_px - 1.0);
                self.check_slippage(now, symbol, worse, out);
            }
        }
        self.close_leftover(now, symbol, out);
        true
    }

    /// A trade is over, and orders of an earlier one have filled after all: nobody holds that position, so it is closed. What
    /// another one bought in the symbol while ours worked is explained by no trade any more.
    pub(crate) fn close_leftover(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) {
        let s = &self.symbols[symbol.index()];
        if s.trade.is_some() {
            return;
        }
        if s.trip.is_some_and(|trip| trip.own) {
            self.begin_flatten(symbol);
            self.start_exit(now, symbol, ExitReason::Flatten);
        } else {
            self.unexpected_position(now, symbol, out);
        }
    }

    /// A fill is this much worse than the price that was decided at: beyond the limit nothing is opened until a person
    /// has seen why. Where no price is known (NaN) nothing is judged.
    fn check_slippage(&mut self, now: Nanos, symbol: SymbolId, worse: f64, out: &mut Outbox) {
        let (value, limit) = (worse * 1e4, self.risk.limits().max_slippage_bps);
        if value > limit {
            self.latch(Latch { check: Check::Slippage, at: now, value, limit }, Some(symbol), out);
        }
    }

    pub(crate) fn trip_of(&self, symbol: SymbolId, id: TripId) -> Option<&RoundTrip> {
        if id.is_none() {
            return None;
        }
        let open = self.symbols[symbol.index()].trip.as_ref().filter(|r| r.id == id);
        open.or_else(|| self.closed.iter().rev().find(|r| r.id == id))
    }

    /// Tells the round trips that no intent explains, and what has changed of those told before.
    fn tell_trips(&mut self, symbol: SymbolId, out: &mut Outbox) {
        let (i, s) = (&self.instruments[symbol.index()], &mut self.symbols[symbol.index()]);
        if !s.untold {
            return;
        }
        // The trade's own trip is told by the trade, when it is over.
        let own = s.trade.filter(|t| t.told || t.is_entering()).map_or(TripId::NONE, |t| t.trip);
        s.untold = false;
        let open = s.trip.as_mut().map(|trip| (false, trip));
        let closed = self.closed.iter_mut().filter(|trip| trip.symbol == symbol).map(|trip| (true, trip));
        for (closed, trip) in closed.chain(open) {
            let whole = closed && !trip.is_told() && trip.id != own;
            let correction = trip.correction(i).filter(|_| !planted(Bug::CorrectionNotTold));
            if !whole && correction.is_none() {
                continue;
            }
            if out.outcomes.is_full() {
                s.untold = true;
                self.stalled = true;
                return;
            }
            self.stats.corrections += u64::from(!whole);
            out.outcomes.push(match correction {
                Some(correction) if !whole => Outcome::Corrected(correction),
                _ => trip.tell_whole(i),
            });
            trip.corrected();
        }
    }

    /// Takes an instrument off the list once nothing of it needs looking after.
    fn retire(&mut self, symbol: SymbolId) {
        let s = &mut self.symbols[symbol.index()];
        let idle = s.trade.is_none() && s.position.qty.is_zero() && s.dead_man_at.0 == 0 && !s.untold;
        if s.active && idle && self.orders.live_in(symbol).next().is_none() {
            s.active = false;
            self.active.retain(|a| *a != symbol);
        }
    }

    // ---- orders that time has caught up with --------------------------------------------------------------------

    /// Silence: acknowledgements, cancels and answers that did not come.
    pub(crate) fn follow_orders(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.gate.order_path {
            return;
        }
        for slot in self.orders.slots() {
            let o = *self.orders.get(slot);
            if o.deadline(&self.cfg).is_none_or(|t| now < t) {
                continue;
            }
            match o.status {
                OrderStatus::PendingNew if planted(Bug::ResendWithoutQuery) => {
                    self.orders.update(slot, |o| o.status = OrderStatus::Rejected);
                }
                OrderStatus::PendingNew => self.lose_sight(now, slot, AlertKind::OrderUnknown, out),
                OrderStatus::PendingCancel if o.cancels >= MAX_CANCELS => {
                    self.lose_sight(now, slot, AlertKind::StuckCancel, out);
                }
                OrderStatus::PendingCancel => {
                    self.orders.update(slot, |o| {
                        let nothing = o.cum.is_zero();
                        o.status = if nothing { OrderStatus::New } else { OrderStatus::PartiallyFilled };
                    });
                    self.cancel(now, slot, out);
                }
                _ => self.ask(now, slot, out),
            }
        }
    }

    /// An order's fate is no longer known.
    pub(crate) fn lose_sight(&mut self, now: Nanos, slot: usize, kind: AlertKind, out: &mut Outbox) {
        let (symbol, id) = self.orders.update(slot, |o| {
            o.set_unknown(now);
            (Some(o.symbol), Some(o.id))
        });
        self.stats.unknowns += 1;
        out.alert(Alert { symbol, id, ..Alert::new(now, kind) });
    }

    /// Asks the venue for an order.
    fn ask(&mut self, now: Nanos, slot: usize, out: &mut Outbox) {
        let o = *self.orders.get(slot);
        let request = OrderRequest::Query(CancelOrder { symbol: o.symbol, client_order_id: o.id });
        // Exposure is reserved meanwhile: a question can wait, a cancel cannot.
        if !self.risk.may_query(now) {
            self.orders.update(slot, |o| (o.next_query, o.seen_at) = (now.plus(Nanos::SECOND), now));
            return;
        }
        if !self.send(request, out) {
            return;
        }
        self.risk.sent_weight(now, 1);
        self.stats.queries += 1;
        let cfg = &self.cfg;
        let page = self.orders.update(slot, |o| {
            if o.status != OrderStatus::Unknown {
                (o.seen_at, o.last_query) = (now, now);
                return false;
            }
            o.queried(now, cfg);
            let late = now.since(o.unknown_since).millis() > cfg.risk.max_unknown_age_ms;
            late && !std::mem::replace(&mut o.paged, true)
        });
        if page {
            let (symbol, id) = (Some(o.symbol), Some(o.id));
            out.alert(Alert { symbol, id, ..Alert::new(now, AlertKind::UnknownTooLong) });
        }
    }

    // ---- dead-man switch ----------------------------------------------------------------------------------------

    /// When an instrument's countdown must be started afresh (or stopped).
    pub(crate) fn dead_man_due(&self, symbol: SymbolId) -> Option<Nanos> {
        if self.cfg.dead_man_countdown_ms == 0 {
            return None;
        }
        let at = self.symbols[symbol.index()].dead_man_at;
        let working = self.orders.live_in(symbol).any(WorkingOrder::rests);
        match (at.0, working) {
            (0, false) => None,
            (0, true) => Some(Nanos(0)),
            (_, true) if planted(Bug::DeadManNotRefreshed) => None,
            _ => Some(at.plus(RouterConfig::ns(self.cfg.dead_man_refresh_ms))),
        }
    }

    pub(crate) fn refresh_dead_man(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.gate.order_path {
            return;
        }
        for k in (0..self.active.len()).rev() {
            let symbol = self.active[k];
            if self.dead_man_due(symbol).is_none_or(|t| now < t) || out.controls.is_full() {
                continue;
            }
            let working = self.orders.live_in(symbol).any(WorkingOrder::rests);
            let countdown_ms = if working { self.cfg.dead_man_countdown_ms } else { 0 };
            self.control(Control::DeadMan { symbol, countdown_ms }, out);
            self.risk.sent_weight(now, 10);
            let s = &mut self.symbols[symbol.index()];
            if s.dead_man_at.0 == 0 {
                // The first one: its confirmation has the same time as any other's.
                s.dead_man_ok_at = now;
            }
            s.dead_man_at = if working { now } else { Nanos(0) };
            self.retire(symbol);
        }
    }
}

fn working(now: Nanos, o: &NewOrder, trade: u32, purpose: Purpose) -> WorkingOrder {
    let zero = Nanos(0);
    WorkingOrder {
        id: o.client_order_id,
        order_id: 0,
        symbol: o.symbol,
        trade,
        purpose,
        side: o.side,
        order_type: o.order_type,
        tif: o.tif,
        px: if o.order_type == OrderType::Market && o.px.is_zero() { Px(1) } else { o.px },
        qty: o.qty,
        reduce_only: o.reduce_only,
        status: OrderStatus::PendingNew,
        cum: Qty::ZERO,
        priced: Qty::ZERO,
        acked: false,
        recv_window_ms: o.recv_window_ms,
        parts: Parts::default(),
        unpriced_since: zero,
        done_at: zero,
        sent_at: now,
        seen_at: now,
        cancels: 0,
        cancel_at: zero,
        unknown_since: zero,
        queries: 0,
        next_query: zero,
        last_query: zero,
        last_early_query: zero,
        paged: false,
    }
}
