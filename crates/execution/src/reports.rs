//! Execution reports: what the venue (or its silence) says, taken into orders, positions and the trade.

use market::{
    AbandonReason, Amount, ExecType, ExecutionReport, ExitReason, Nanos, OrderOrigin, OrderRequest,
    OrderStatus,
};
use market::{CancelOrder, ClientOrderId, Qty, SymbolId, TimeInForce, VenueTime};

use crate::check::{Check, Latch};
use crate::codes::RejectClass;
use crate::config::{RouterConfig, UnexpectedPosition};
use crate::fills::FillDelta;
use crate::orders::{Applied, Purpose, WorkingOrder};
use crate::outbox::{Alert, AlertKind, Control, Outbox};
use crate::router::{Router, Unexplained};
use crate::trade::{ExitStyle, Phase};
use crate::trips::Parts;

impl Router {
    /// The venue reported on an order, or the gateway on the lack of an answer.
    ///
    /// Reports must carry commissions (`ORDER_TRADE_UPDATE`, not `TRADE_LITE`), and a gateway that answers a query for
    /// an order with fills should first replay those fills (`userTrades`) as reports of their own.
    pub fn on_report(&mut self, now: Nanos, r: &ExecutionReport, out: &mut Outbox) {
        if r.symbol.index() >= self.symbols.len() || r.cum_qty.0 < 0 || r.last_qty.0 < 0 {
            out.alert(Alert { code: r.code, ..Alert::new(now, AlertKind::BadReport) });
            return;
        }
        let slot = r.origin.ours().and_then(|id| self.orders.find(id));
        match slot {
            Some(slot) if self.orders.get(slot).symbol == r.symbol => self.on_own(now, slot, r, out),
            Some(_) => {
                let symbol = Some(r.symbol);
                out.alert(Alert { symbol, id: r.origin.ours(), ..Alert::new(now, AlertKind::BadReport) });
                return;
            }
            None => self.on_foreign(now, r, out),
        }
        self.drive(now, r.symbol, out);
    }

    fn is_fill(r: &ExecutionReport) -> bool {
        let kind = matches!(r.exec_type, ExecType::Trade | ExecType::Calculated | ExecType::Expired);
        kind && r.trade_id != 0 && r.last_qty.0 > 0
    }

    fn on_own(&mut self, now: Nanos, slot: usize, r: &ExecutionReport, out: &mut Outbox) {
        let fill = Self::is_fill(r);
        let fresh = !fill || self.trade_ids.insert(r.symbol, r.trade_id);
        if !fresh {
            self.stats.duplicate_reports += 1;
        }
        // A report that is no fill must not be taken for one, whatever its fields say.
        let plain = ExecutionReport { trade_id: 0, last_qty: Qty::ZERO, ..*r };
        let report = if fill { r } else { &plain };
        let cfg = &self.cfg;
        let applied = self.orders.update(slot, |o| o.apply(now, report, fresh, cfg));
        let o = *self.orders.get(slot);
        let alert = Alert {
            symbol: Some(o.symbol),
            id: Some(o.id),
            code: r.code,
            ..Alert::new(now, AlertKind::LateFill)
        };
        if !applied.fill.is_empty() {
            self.take_fill(now, slot, &applied, out);
        }
        if applied.became_unknown {
            self.stats.unknowns += 1;
            out.alert(Alert { kind: AlertKind::OrderUnknown, ..alert });
        }
        if applied.vanished {
            out.alert(Alert { kind: AlertKind::OrderVanished, ..alert });
        }
        if applied.became_done {
            self.order_done(now, &o, r, out);
        }
    }

    /// A fill of ours: into the position, the wallet and the trade.
    fn take_fill(&mut self, now: Nanos, slot: usize, applied: &Applied, out: &mut Outbox) {
        let d = &applied.fill;
        let o = *self.orders.get(slot);
        let of_trade = self.symbols[o.symbol.index()].trade.filter(|t| t.intent == o.trade);
        let reason = match (o.purpose, of_trade.map(|t| t.phase)) {
            (Purpose::TakeProfit, _) => ExitReason::Tp,
            (_, Some(Phase::Exiting(reason, _))) => reason,
            _ => ExitReason::Flatten,
        };
        if o.cum == d.lots && !d.lots.is_zero() {
            self.ledger.day_mut().filled_orders += 1;
        }
        let parts = self.book_fill(now, &o, d, reason);
        self.keep_parts(now, slot, parts);
        let s = &mut self.symbols[o.symbol.index()];
        let planned = of_trade.is_some();
        if let Some(t) = s.trade.as_mut().filter(|_| planned) {
            if o.purpose == Purpose::Entry {
                t.got += d.lots;
                let opened = s.trip.as_ref().filter(|trip| trip.direction == t.direction && !t.told);
                t.trip = opened.map_or(t.trip, |trip| trip.id);
            } else {
                t.exit_fails = 0;
            }
        }
        if applied.was_done && !d.lots.is_zero() {
            self.stats.late_fills += 1;
            let alert = Alert::new(now, AlertKind::LateFill);
            out.alert(Alert { symbol: Some(o.symbol), id: Some(o.id), qty: d.lots, ..alert });
        }
        // An entry that was reported as abandoned has filled after all.
        self.close_leftover(now, o.symbol, out);
    }

    /// Remembers where an order's lots without a price are counted.
    fn keep_parts(&mut self, now: Nanos, slot: usize, parts: Parts) {
        let (before, after) = self.orders.update(slot, |o| {
            let before = std::mem::replace(&mut o.parts, parts).lots() > 0;
            if !before {
                o.unpriced_since = now;
            }
            (before, parts.lots() > 0)
        });
        self.unpriced = self.unpriced + u32::from(after) - u32::from(before);
    }

    /// Books a change of an order's fills: position, round trip, wallet. Returns where its lots without a price are now.
    fn book_fill(&mut self, now: Nanos, o: &WorkingOrder, d: &FillDelta, reason: ExitReason) -> Parts {
        let (sign, mut parts, mut gain) = (o.side.sign(), o.parts, Amount::ZERO);
        let mut d = *d;
        let commission = d.commission;
        let mut left = d.repriced.0;
        while let Some(part) = parts.take(left) {
            gain += self.booking(o.symbol).price(sign, part, &d);
            d.commission = Amount::ZERO;
            left -= part.lots;
        }
        let fresh = d.priced - d.repriced;
        if !fresh.is_zero() {
            gain += self.count(now, o.symbol, sign * fresh.0, &d, reason, None);
            d.commission = Amount::ZERO;
        }
        let unpriced = d.lots - fresh;
        if !unpriced.is_zero() {
            gain += self.count(now, o.symbol, sign * unpriced.0, &d, reason, Some(&mut parts));
        }
        self.booked(now, o.symbol, &d, gain, commission);
        let value = self.instruments[o.symbol.index()].notional(d.px, d.priced).unwrap_or_default();
        self.maker.add(o.purpose == Purpose::Entry, value, d.maker);
        parts
    }

    /// New lots (signed): those that a comparison has counted already get their price, the others are counted. `parts`:
    /// they have no price yet, and this is where they are. Returns what the wallet gains.
    fn count(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        lots: i64,
        d: &FillDelta,
        reason: ExitReason,
        mut parts: Option<&mut Parts>,
    ) -> Amount {
        let (sign, mut left, mut gain, mut d) = (lots.signum(), lots.abs(), Amount::ZERO, *d);
        let at = self.event_time(now, d.ts_event);
        while let Some(found) = self.take_unexplained(symbol, sign, left, at) {
            let mut b = self.booking(symbol);
            match &mut parts {
                None => gain += b.price(sign, found.part, &FillDelta { stand_in: found.px, ..d }),
                Some(parts) => {
                    gain += b.restate(sign, found.part, found.px, d.stand_in);
                    parts.push(found.part);
                }
            }
            d.commission = Amount::ZERO;
            left -= found.part.lots;
        }
        if left > 0 {
            let (profit, counted) = self.booking(symbol).count(sign * left, &d, parts.is_none(), reason);
            gain += profit;
            if let Some(parts) = parts {
                counted.into_iter().for_each(|part| parts.push(part));
            }
        }
        gain
    }

    /// Up to `lots` that the venue's position had before any fill explained them, and that a fill of `at` may explain.
    fn take_unexplained(
        &mut self,
        symbol: SymbolId,
        sign: i64,
        lots: i64,
        at: VenueTime,
    ) -> Option<Unexplained> {
        let list = &mut self.symbols[symbol.index()].unexplained;
        let place = list.iter().position(|u| u.sign == sign && at <= u.until).filter(|_| lots > 0)?;
        let mut found = list[place];
        found.part.lots = found.part.lots.min(lots);
        list[place].part.lots -= found.part.lots;
        if list[place].part.lots == 0 {
            list.remove(place);
        }
        Some(found)
    }

    /// When a fill happened; now, where the venue gave no time.
    pub(crate) fn event_time(&self, now: Nanos, ts_event: Nanos) -> VenueTime {
        if ts_event.0 == 0 { self.to_venue(now) } else { VenueTime(ts_event) }
    }

    /// A change of fills was booked: into the ledger with it.
    pub(crate) fn booked(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        d: &FillDelta,
        gain: Amount,
        commission: Amount,
    ) {
        self.activate(symbol);
        let at = self.event_time(now, d.ts_event);
        let (i, s) = (&self.instruments[symbol.index()], &mut self.symbols[symbol.index()]);
        s.last_fill_at = now;
        s.day_realised += gain;
        s.untold = true;
        let fresh = d.priced - d.repriced;
        let value = i.notional(d.px, fresh).unwrap_or_default();
        let estimated = i.notional(d.stand_in, d.lots - fresh).unwrap_or_default();
        self.ledger.fill(gain, commission, value + estimated, at);
        self.observe_equity();
    }

    /// An order of ours has come to its end.
    fn order_done(&mut self, now: Nanos, o: &WorkingOrder, r: &ExecutionReport, out: &mut Outbox) {
        let refused = o.status == OrderStatus::Rejected && r.exec_type == ExecType::Rejected;
        // The venue tells a post-only order that would take either as a refusal or as an expiry without a fill.
        let expired_gtx = o.status == OrderStatus::Expired && o.tif == TimeInForce::Gtx && o.cum.is_zero();
        let class = if expired_gtx { RejectClass::WouldTake } else { RejectClass::of(r.code) };
        if refused {
            self.refused(now, o, r.code, class, out);
        } else if o.purpose == Purpose::Entry {
            self.risk.accepted();
        }
        let pause = RouterConfig::ns(self.cfg.min_repeg_interval_ms);
        let retry = RouterConfig::ns(self.cfg.exit_retry_ms);
        let Some(t) = self.symbols[o.symbol.index()].trade.as_mut().filter(|t| t.intent == o.trade) else {
            return;
        };
        let ended_badly = refused || (o.status != OrderStatus::Filled && o.cancels == 0);
        match (o.purpose, t.phase) {
            (Purpose::Entry, Phase::EntryMaker) if class == RejectClass::WouldTake => {
                t.retry_at = now.plus(pause);
            }
            (Purpose::Entry, Phase::EntryMaker | Phase::EntryCross) if refused => {
                t.go(Phase::EntryEnding(AbandonReason::Rejected), None);
            }
            // Ended by the venue (self-trade prevention, expiry, dead-man): take it as the end of the entry.
            (Purpose::Entry, Phase::EntryMaker) if ended_badly => {
                t.go(Phase::EntryEnding(AbandonReason::Rejected), None);
            }
            (Purpose::TakeProfit, _) if ended_badly => {
                // Through the price already: take it. An immediate try that got nothing goes back to resting.
                t.tp_through = class == RejectClass::WouldTake && !t.tp_through;
                t.retry_at = if t.tp_through { Nanos(0) } else { now.plus(pause) };
            }
            (Purpose::Exit, Phase::Exiting(_, ExitStyle::Maker)) if ended_badly => {
                t.retry_at = now.plus(pause);
            }
            (Purpose::Exit, Phase::Exiting(_, ExitStyle::Market)) if ended_badly => {
                t.exit_fails += 1;
                t.retry_at = now.plus(retry << t.exit_fails.min(4));
                if t.exit_fails % 5 == 0 {
                    let alert = Alert::new(now, AlertKind::ExitStuck);
                    out.alert(Alert { symbol: Some(o.symbol), id: Some(o.id), code: r.code, ..alert });
                }
            }
            _ => {}
        }
        if o.purpose == Purpose::TakeProfit {
            self.watch_take_profit(now, o.symbol, out);
        }
    }

    fn watch_take_profit(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) {
        let most = self.cfg.max_tp_orders;
        let s = &self.symbols[symbol.index()];
        if s.trade.is_some_and(|t| t.tp_orders == most) && !s.position.qty.is_zero() {
            out.alert(Alert { symbol: Some(symbol), ..Alert::new(now, AlertKind::TakeProfitGivenUp) });
        }
    }

    /// What a refusal means beyond its order.
    fn refused(&mut self, now: Nanos, o: &WorkingOrder, code: i32, class: RejectClass, out: &mut Outbox) {
        let alert =
            Alert { symbol: Some(o.symbol), id: Some(o.id), code, ..Alert::new(now, AlertKind::Rejected) };
        // A request that never left is no refusal by the venue; nor is one that has to wait, told by the venue or known here:
        // it says nothing of how the venue takes our orders.
        self.stats.rejects += u64::from(code != 0 && class != RejectClass::RateLimit);
        if class == RejectClass::WouldTake {
            return;
        }
        out.alert(alert);
        // The venue's own throttles say nothing of our orders.
        let ours = !matches!(class, RejectClass::Overload | RejectClass::RateLimit | RejectClass::Clock);
        if let Some(latch) = (ours && code != 0).then(|| self.risk.rejected(now)).flatten() {
            self.latch(latch, Some(o.symbol), out);
        }
        match class {
            RejectClass::Rules | RejectClass::SymbolHalted => {
                self.symbols[o.symbol.index()].blocked = true;
                out.alert(Alert { kind: AlertKind::SymbolBlocked, ..alert });
                self.control(Control::RefreshFilters(o.symbol), out);
            }
            RejectClass::ReduceOnly => self.reconcile_due = Some(now),
            RejectClass::Margin => {
                self.risk.margin_short(now);
                self.reconcile_due = Some(now);
            }
            // To the next edge of the venue's ten-second window.
            RejectClass::RateLimit => self.risk.back_off(now.plus(10 * Nanos::SECOND)),
            RejectClass::Overload => self.risk.overloaded(now),
            RejectClass::Clock => self.control(Control::SyncClock, out),
            RejectClass::Auth | RejectClass::AccountReduceOnly => {
                out.alert(Alert { kind: AlertKind::AuthRefused, ..alert });
                let latch = Latch { check: Check::Refused, at: now, value: f64::from(code), limit: 0.0 };
                self.latch(latch, None, out);
            }
            _ => {}
        }
    }

    // ---- orders that are not in the table -----------------------------------------------------------------------

    /// An order of an earlier run, of another program, of the venue itself. Its fills count.
    fn on_foreign(&mut self, now: Nanos, r: &ExecutionReport, out: &mut Outbox) {
        let symbol = r.symbol;
        let ours = r.origin.ours();
        let alert = Alert {
            symbol: Some(symbol),
            id: ours,
            code: r.code,
            ..Alert::new(now, AlertKind::ForeignOrder)
        };
        if ours.is_some_and(|id| id.run == self.run && id.intent <= self.last_intent) {
            return self.on_forgotten(now, r, alert, out);
        }
        if Self::is_fill(r) {
            let booked = VenueTime(r.ts_event) <= self.symbols[symbol.index()].booked_until;
            if booked || !self.trade_ids.insert(symbol, r.trade_id) {
                self.stats.duplicate_reports += 1;
                return;
            }
            self.foreign_fill(now, r, alert, out);
        }
        match r.origin {
            // A run before this one sends nothing any more: another node trades on this account.
            OrderOrigin::Ours(id) if self.is_of_another_node(now, id, r) => {
                out.alert(alert);
                self.trip(now, Check::Foreign, out);
                self.cancel_stray(now, symbol, id, out);
            }
            // One of ours that this run does not know: it must not stay.
            OrderOrigin::Ours(id) if Self::is_live(r) => self.cancel_stray(now, symbol, id, out),
            OrderOrigin::External if self.cfg.stop_on_foreign_orders => {
                out.alert(alert);
                self.trip(now, Check::Foreign, out);
            }
            OrderOrigin::External if r.exec_type == ExecType::New => out.alert(alert),
            _ => {}
        }
    }

    /// A new order with an id of ours and of another run, later than a run before this one can have sent it. When the venue
    /// took it counts, not when we hear of it: a stream may tell late, and again.
    fn is_of_another_node(&self, now: Nanos, id: ClientOrderId, r: &ExecutionReport) -> bool {
        let new = r.exec_type == ExecType::New && Self::is_live(r);
        new && self.cfg.stop_on_foreign_orders && id.run != self.run && self.is_after_predecessor(now, r)
    }

    /// Did it happen when no order of the run before could reach the venue any more?
    fn is_after_predecessor(&self, now: Nanos, r: &ExecutionReport) -> bool {
        self.event_time(now, r.ts_event) > self.to_venue(self.predecessor_until)
    }

    fn is_live(r: &ExecutionReport) -> bool {
        let live = matches!(r.status, OrderStatus::New | OrderStatus::PartiallyFilled);
        live && r.exec_type != ExecType::CancelRejected
    }

    fn cancel_stray(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        client_order_id: ClientOrderId,
        out: &mut Outbox,
    ) {
        if self.send(OrderRequest::Cancel(CancelOrder { symbol, client_order_id }), out) {
            self.risk.sent_weight(now, 1);
            self.stats.cancels += 1;
        }
        self.reconcile_due.get_or_insert(now.plus(RouterConfig::ns(self.cfg.reconcile_retry_ms)));
    }

    /// An order of this run that had to be forgotten ([`crate::orders::REMEMBERED`]). Whether a fill of it was counted is
    /// not known any more, so it is not counted now: the venue's position tells.
    fn on_forgotten(&mut self, now: Nanos, r: &ExecutionReport, alert: Alert, out: &mut Outbox) {
        if let Some(id) = r.origin.ours().filter(|_| Self::is_live(r)) {
            self.cancel_stray(now, r.symbol, id, out);
        }
        if Self::is_fill(r) && !self.trade_ids.contains(r.symbol, r.trade_id) {
            out.alert(Alert { kind: AlertKind::ForgottenFill, qty: r.last_qty, ..alert });
            self.reconcile_due = Some(now);
        }
    }

    fn foreign_fill(&mut self, now: Nanos, r: &ExecutionReport, alert: Alert, out: &mut Outbox) {
        let d = FillDelta {
            lots: r.last_qty,
            priced: r.last_qty,
            px: r.last_px,
            commission: r.commission,
            maker: r.maker,
            ts_event: r.ts_event,
            ..FillDelta::default()
        };
        // An order of the run before that was on its way when that run died: nobody holds what it opens.
        let late = matches!(r.origin, OrderOrigin::Ours(_)) && !self.is_after_predecessor(now, r);
        let opens = self.symbols[r.symbol.index()].trade.is_none();
        let reason = if late && opens { ExitReason::Flatten } else { ExitReason::External };
        let gain = self.count(now, r.symbol, r.side.sign() * r.last_qty.0, &d, reason, None);
        self.booked(now, r.symbol, &d, gain, r.commission);
        self.stats.external_fills += 1;
        let kind = match r.origin {
            OrderOrigin::Ours(_) => AlertKind::OrphanFill,
            OrderOrigin::External => AlertKind::ExternalFill,
            _ => AlertKind::VenueClosed,
        };
        out.alert(Alert { kind, qty: Qty(r.side.sign() * r.last_qty.0), ..alert });
        if kind == AlertKind::VenueClosed {
            self.symbols[r.symbol.index()].halted = true;
        }
        self.close_leftover(now, r.symbol, out);
    }

    /// A position that no trade explains, found in fills or in a reconciliation.
    pub(crate) fn unexpected_position(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) {
        let qty = self.symbols[symbol.index()].position.qty;
        if qty.is_zero() {
            return;
        }
        out.alert(Alert { symbol: Some(symbol), qty, ..Alert::new(now, AlertKind::UnexpectedPosition) });
        match self.cfg.unexpected_position {
            UnexpectedPosition::Stop => {
                let latch = Latch { check: Check::Unexpected, at: now, value: qty.0 as f64, limit: 0.0 };
                self.latch(latch, Some(symbol), out);
            }
            UnexpectedPosition::Adopt => self.begin_flatten(symbol),
            UnexpectedPosition::Flatten => {
                self.begin_flatten(symbol);
                self.start_exit(now, symbol, ExitReason::Flatten);
            }
        }
    }
}
