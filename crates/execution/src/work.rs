//! Working an instrument: one step at a time from what is towards what [`Trade::want`] says should be.

use market::{
    AbandonReason, CancelOrder, EntryFilled, ExitFilled, Nanos, NewOrder, OrderRequest, OrderStatus,
};
use market::{OrderType, Outcome, PositionSide, Posture, Px, Qty, Side, SymbolId};

use crate::config::RouterConfig;
use crate::orders::{MAX_CANCELS, Purpose, WorkingOrder};
use crate::outbox::{Alert, AlertKind, Control, Outbox};
use crate::risk::{Check, Risk, Scene, TradingState};
use crate::router::Router;
use crate::trade::{ExitStyle, Phase, Trade, View, Want, Wanted};

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
        self.retire(symbol);
    }

    /// One step; `true` if another may follow at once.
    fn step(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) -> bool {
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
        View {
            now,
            cfg: &self.cfg,
            instrument: &self.instruments[symbol.index()],
            bid: s.bid,
            ask: s.ask,
            book_at: s.book_at,
            position: s.position.qty,
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
        for slot in 0..self.orders.len() {
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
        let o = self.orders.get_mut(slot);
        o.status = OrderStatus::PendingCancel;
        o.cancel_at = now;
        o.cancels = if o.cancels >= MAX_CANCELS { 1 } else { o.cancels + 1 };
    }

    pub(crate) fn scene(&mut self, now: Nanos, symbol: SymbolId, side: Side) -> (Scene<'_>, &mut Risk) {
        let mut gross_elsewhere = 0.0;
        let mut open_positions = 0;
        for other in self.active.iter().filter(|s| **s != symbol) {
            let (s, i) = (&self.symbols[other.index()], &self.instruments[other.index()]);
            let (buy, sell) = self.orders.worst_case(*other);
            let q = s.position.qty;
            let lots = (q + buy).abs().0.max((q - sell).abs().0);
            gross_elsewhere += i.px_f64(s.mark_px(i)) * i.qty_f64(Qty(lots));
            open_positions += u32::from(s.trade.is_some() || !q.is_zero());
        }
        let (buy, sell) = self.orders.worst_case(symbol);
        let opposite = self.orders.live_in(symbol).filter(|o| o.side != side && o.rests()).map(|o| o.px);
        let own_opposite = if side == Side::Buy { opposite.min() } else { opposite.max() };
        let s = &self.symbols[symbol.index()];
        let scene = Scene {
            now,
            instrument: &self.instruments[symbol.index()],
            blocked: s.blocked || s.halted,
            gate: &self.gate,
            reconciled: self.reconciled,
            killed: self.kill.is_latched(),
            bid: s.bid,
            ask: s.ask,
            book_at: s.book_at,
            mark: s.mark,
            mark_at: s.mark_at,
            account: &self.account,
            position: s.position.qty,
            working: if side == Side::Buy { buy } else { sell },
            own_opposite,
            orders_here: self.orders.live_in(symbol).count() as u32,
            gross_elsewhere,
            open_positions,
            unknown: self.orders.unknown().0,
        };
        (scene, &mut self.risk)
    }

    /// Places an order if the checks let it pass; `true` if the trade's phase changed.
    fn place(&mut self, now: Nanos, symbol: SymbolId, w: &Wanted, out: &mut Outbox) -> bool {
        let t = self.symbols[symbol.index()].trade.expect("only a trade places orders");
        let (intent, attempt) = if w.purpose == Purpose::Exit {
            (t.exit_intent, t.exit_attempts)
        } else {
            (t.intent, t.attempts)
        };
        let order = NewOrder {
            symbol,
            client_order_id: self.client_order_id(intent, attempt + 1),
            side: w.side,
            order_type: w.order_type,
            tif: w.tif,
            px: w.px,
            qty: w.qty,
            reduce_only: w.purpose != Purpose::Entry,
            position_side: PositionSide::Both,
        };
        let kill = self.kill.flattens();
        let (scene, risk) = self.scene(now, symbol, w.side);
        let verdict = match w.purpose {
            Purpose::Entry => risk.check_entry(&scene, &order, t.decision_px),
            _ => risk.check_reduce(&scene, &order, kill),
        };
        let verdict = verdict.and_then(|()| {
            let full = (Check::TableFull, self.orders.len() as f64, self.orders.len() as f64);
            if self.orders.has_room() { Ok(()) } else { Err(full) }
        });
        if let Err(broken) = verdict {
            return self.denied(now, symbol, w, broken, out);
        }
        if !self.send(OrderRequest::New(order), out) {
            return false;
        }
        self.risk.sent_order(now, &order);
        self.stats.orders += 1;
        self.orders.insert(working(now, &order, t.intent, w.purpose));
        self.placed(now, symbol, w);
        false
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
    fn denied(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        w: &Wanted,
        broken: (Check, f64, f64),
        out: &mut Outbox,
    ) -> bool {
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
        let mut t = self.symbols[symbol.index()].trade.expect("only a trade finishes");
        let entering = t.is_entering();
        let sum = if entering { t.entry } else { t.exit };
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
            out.alert(Alert { symbol: Some(symbol), qty, ..self.alert(now, AlertKind::FillPriceEstimated) });
        }
        if out.outcomes.is_full() {
            self.stalled = true;
            return false;
        }
        if entering { self.finish_entry(now, symbol, &mut t, out) } else { self.finish_exit(symbol, &t, out) }
    }

    fn finish_entry(&mut self, now: Nanos, symbol: SymbolId, t: &mut Trade, out: &mut Outbox) -> bool {
        if t.entry.qty.is_zero() {
            let reason = if let Phase::EntryEnding(r) = t.phase { r } else { AbandonReason::TimedOut };
            self.stats.abandoned += 1;
            out.outcomes.push(Outcome::Abandoned { symbol, reason });
            self.symbols[symbol.index()].trade = None;
            return true;
        }
        let i = &self.instruments[symbol.index()];
        self.stats.entries += 1;
        out.outcomes.push(Outcome::Entered(EntryFilled {
            symbol,
            direction: t.direction,
            qty: Qty(t.entry.qty.0 * i64::from(t.direction)),
            avg_px: t.entry.avg_px(i, t.stand_in),
            notional: t.entry.notional(i, t.stand_in),
            commission: t.entry.commission,
            maker_share: t.entry.maker_share(),
            ts_event: t.entry.ts_event,
        }));
        let pending = t.pending_exit.take();
        t.go(Phase::Holding, None);
        self.symbols[symbol.index()].trade = Some(*t);
        if let Some(reason) = pending {
            self.start_exit(now, symbol, reason);
        }
        true
    }

    fn finish_exit(&mut self, symbol: SymbolId, t: &Trade, out: &mut Outbox) -> bool {
        let i = &self.instruments[symbol.index()];
        let s = &self.symbols[symbol.index()];
        let fallback = if t.exit.qty.is_zero() { s.mark_px(i) } else { t.stand_in };
        if !t.silent {
            self.stats.exits += 1;
            out.outcomes.push(Outcome::Exited(ExitFilled {
                symbol,
                reason: t.closed_by,
                avg_px: t.exit.avg_px(i, fallback),
                notional: t.exit.notional(i, fallback),
                commission: t.exit.commission,
                maker_share: t.exit.maker_share(),
                ts_event: t.exit.ts_event,
            }));
        }
        self.symbols[symbol.index()].trade = None;
        true
    }

    /// Takes an instrument off the list once nothing of it needs looking after.
    fn retire(&mut self, symbol: SymbolId) {
        let s = &mut self.symbols[symbol.index()];
        let idle = s.trade.is_none() && s.position.qty.is_zero() && s.dead_man_at.0 == 0;
        if s.active && idle && self.orders.live_in(symbol).next().is_none() {
            s.active = false;
            self.active.retain(|a| *a != symbol);
        }
    }

    // ---- orders that time has caught up with --------------------------------------------------------------------

    /// Silence: acknowledgements, cancels and answers that did not come.
    pub(crate) fn tend_orders(&mut self, now: Nanos, out: &mut Outbox) {
        if !self.gate.order_path {
            return;
        }
        for slot in 0..self.orders.len() {
            let o = *self.orders.get(slot);
            if o.deadline(&self.cfg).is_none_or(|t| now < t) {
                continue;
            }
            match o.status {
                OrderStatus::PendingNew => self.lose_sight(now, slot, AlertKind::OrderUnknown, out),
                OrderStatus::PendingCancel if o.cancels >= MAX_CANCELS => {
                    self.lose_sight(now, slot, AlertKind::StuckCancel, out);
                }
                OrderStatus::PendingCancel => {
                    let o = self.orders.get_mut(slot);
                    o.status = if o.cum.is_zero() { OrderStatus::New } else { OrderStatus::PartiallyFilled };
                    self.cancel(now, slot, out);
                }
                _ => self.ask(now, slot, out),
            }
        }
    }

    /// An order's fate is no longer known.
    pub(crate) fn lose_sight(&mut self, now: Nanos, slot: usize, kind: AlertKind, out: &mut Outbox) {
        let o = self.orders.get_mut(slot);
        o.set_unknown(now);
        self.stats.unknowns += 1;
        let (symbol, id) = (Some(o.symbol), Some(o.id));
        out.alert(Alert { symbol, id, ..self.alert(now, kind) });
    }

    /// Asks the venue for an order.
    fn ask(&mut self, now: Nanos, slot: usize, out: &mut Outbox) {
        let o = *self.orders.get(slot);
        let request = OrderRequest::Query(CancelOrder { symbol: o.symbol, client_order_id: o.id });
        // Exposure is reserved meanwhile: a question can wait, a cancel cannot.
        if !self.risk.may_query(now) {
            self.orders.get_mut(slot).next_query = now.plus(Nanos::SECOND);
            self.orders.get_mut(slot).seen_at = now;
            return;
        }
        if !self.send(request, out) {
            return;
        }
        self.risk.sent_weight(now, 1);
        self.stats.queries += 1;
        let cfg = &self.cfg;
        let o = self.orders.get_mut(slot);
        if o.status != OrderStatus::Unknown {
            o.seen_at = now;
            o.last_query = now;
            return;
        }
        o.queried(now, cfg);
        let age = now.since(o.unknown_since).millis();
        if age > self.cfg.risk.max_unknown_age_ms && !o.paged {
            o.paged = true;
            let (symbol, id) = (Some(o.symbol), Some(o.id));
            out.alert(Alert { symbol, id, ..self.alert(now, AlertKind::UnknownTooLong) });
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
            _ => Some(at.plus(RouterConfig::ns(self.cfg.dead_man_refresh_ms))),
        }
    }

    pub(crate) fn tend_dead_man(&mut self, now: Nanos, out: &mut Outbox) {
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
            self.symbols[symbol.index()].dead_man_at = if working { now } else { Nanos(0) };
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
