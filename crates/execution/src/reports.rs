//! Execution reports: what the venue (or its silence) says, taken into orders, positions and the trade.

use market::{
    AbandonReason, ExecType, ExecutionReport, ExitReason, Nanos, OrderOrigin, OrderRequest, OrderStatus,
};
use market::{CancelOrder, Px, Qty, Side, SymbolId, TimeInForce};

use crate::codes::RejectClass;
use crate::config::{RouterConfig, UnexpectedPosition};
use crate::fills::FillDelta;
use crate::orders::{Applied, Purpose, WorkingOrder};
use crate::outbox::{Alert, AlertKind, Control, Outbox};
use crate::position::book;
use crate::risk::Check;
use crate::router::Router;
use crate::trade::{ExitStyle, Phase};

impl Router {
    /// The venue reported on an order, or the gateway on the lack of an answer.
    ///
    /// Reports must carry commissions (`ORDER_TRADE_UPDATE`, not `TRADE_LITE`), and a gateway that answers a query for
    /// an order with fills should first replay those fills (`userTrades`) as reports of their own.
    pub fn on_report(&mut self, now: Nanos, r: &ExecutionReport, out: &mut Outbox) {
        if r.symbol.index() >= self.symbols.len() || r.cum_qty.0 < 0 || r.last_qty.0 < 0 {
            out.alert(Alert { code: r.code, ..self.alert(now, AlertKind::BadReport) });
            return;
        }
        let slot = r.origin.ours().and_then(|id| self.orders.find(id));
        match slot {
            Some(slot) if self.orders.get(slot).symbol == r.symbol => self.on_own(now, slot, r, out),
            Some(_) => {
                let symbol = Some(r.symbol);
                out.alert(Alert { symbol, id: r.origin.ours(), ..self.alert(now, AlertKind::BadReport) });
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
        let applied = self.orders.get_mut(slot).apply(now, report, fresh, &self.cfg);
        let o = *self.orders.get(slot);
        let alert = Alert {
            symbol: Some(o.symbol),
            id: Some(o.id),
            code: r.code,
            ..self.alert(now, AlertKind::LateFill)
        };
        if !applied.fill.is_empty() {
            self.take_fill(now, &o, &applied, out);
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
    fn take_fill(&mut self, now: Nanos, o: &WorkingOrder, applied: &Applied, out: &mut Outbox) {
        let d = &applied.fill;
        self.book_fill(now, o.symbol, o.side, d, o.px, o.purpose == Purpose::Entry);
        let s = &mut self.symbols[o.symbol.index()];
        let of_trade = s.trade.as_mut().filter(|t| t.intent == o.trade);
        let planned = of_trade.is_some();
        if let Some(t) = of_trade {
            if o.purpose == Purpose::Entry {
                t.entry.add(d);
            } else {
                t.exit.add(d);
                t.exit_fails = 0;
                t.closed_by = match (o.purpose, t.phase) {
                    (Purpose::TakeProfit, _) => ExitReason::Tp,
                    (_, Phase::Exiting(reason, _)) => reason,
                    _ => t.closed_by,
                };
            }
        }
        if applied.was_done && !d.lots.is_zero() {
            self.stats.late_fills += 1;
            let alert = self.alert(now, AlertKind::LateFill);
            out.alert(Alert { symbol: Some(o.symbol), id: Some(o.id), qty: d.lots, ..alert });
        }
        // An entry that was reported as abandoned has filled after all: nobody holds it, so it is closed at once.
        let position = self.symbols[o.symbol.index()].position.qty;
        if !planned
            && self.symbols[o.symbol.index()].trade.is_none()
            && !position.is_zero()
            && !d.lots.is_zero()
        {
            self.begin_flatten(now, o.symbol, true);
            self.start_exit(now, o.symbol, ExitReason::Flatten);
        }
    }

    fn book_fill(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        side: Side,
        d: &FillDelta,
        stand_in: Px,
        entry: bool,
    ) {
        self.activate(symbol);
        let i = &self.instruments[symbol.index()];
        let s = &mut self.symbols[symbol.index()];
        self.account.wallet += book(&mut s.position, i, side, d, stand_in);
        s.last_fill_at = now;
        let value = i.notional(d.px, d.priced).unwrap_or_default();
        self.maker.add(entry, value, d.maker);
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
                    let alert = self.alert(now, AlertKind::ExitStuck);
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
            out.alert(Alert { symbol: Some(symbol), ..self.alert(now, AlertKind::TakeProfitGivenUp) });
        }
    }

    /// What a refusal means beyond its order.
    fn refused(&mut self, now: Nanos, o: &WorkingOrder, code: i32, class: RejectClass, out: &mut Outbox) {
        let alert =
            Alert { symbol: Some(o.symbol), id: Some(o.id), code, ..self.alert(now, AlertKind::Rejected) };
        // A request that never left is no refusal by the venue.
        self.stats.rejects += u64::from(code != 0);
        if class == RejectClass::WouldTake {
            return;
        }
        out.alert(alert);
        // The venue's own throttles say nothing of our orders.
        let ours = !matches!(class, RejectClass::Overload | RejectClass::RateLimit | RejectClass::Clock);
        if ours && code != 0 && self.risk.rejected(now) {
            out.alert(Alert { kind: AlertKind::Tripped, ..alert });
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
                self.trip(now, Check::State, out);
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
            ..self.alert(now, AlertKind::ForeignOrder)
        };
        if Self::is_fill(r) {
            if !self.trade_ids.insert(symbol, r.trade_id) {
                self.stats.duplicate_reports += 1;
                return;
            }
            self.foreign_fill(now, r, alert, out);
        }
        let live = matches!(r.status, OrderStatus::New | OrderStatus::PartiallyFilled);
        match r.origin {
            // One of ours that this run does not know: it must not stay.
            OrderOrigin::Ours(client_order_id) if live && r.exec_type != ExecType::CancelRejected => {
                if self.send(OrderRequest::Cancel(CancelOrder { symbol, client_order_id }), out) {
                    self.risk.sent_weight(now, 1);
                    self.stats.cancels += 1;
                }
                self.reconcile_due.get_or_insert(now.plus(RouterConfig::ns(self.cfg.reconcile_retry_ms)));
            }
            OrderOrigin::External if self.cfg.stop_on_foreign_orders => {
                out.alert(alert);
                self.trip(now, Check::Foreign, out);
            }
            OrderOrigin::External if r.exec_type == ExecType::New => out.alert(alert),
            _ => {}
        }
    }

    fn foreign_fill(&mut self, now: Nanos, r: &ExecutionReport, alert: Alert, out: &mut Outbox) {
        let d = FillDelta {
            lots: r.last_qty,
            priced: r.last_qty,
            px: r.last_px,
            repriced: Qty::ZERO,
            commission: r.commission,
            maker: r.maker,
            ts_event: r.ts_event,
        };
        let before = self.symbols[r.symbol.index()].position.qty;
        self.book_fill(now, r.symbol, r.side, &d, r.last_px, false);
        self.stats.external_fills += 1;
        let kind = match r.origin {
            OrderOrigin::Ours(_) => AlertKind::OrphanFill,
            OrderOrigin::External => AlertKind::ExternalFill,
            _ => AlertKind::VenueClosed,
        };
        out.alert(Alert { kind, qty: Qty(r.side.sign() * r.last_qty.0), ..alert });
        let s = &mut self.symbols[r.symbol.index()];
        if kind == AlertKind::VenueClosed {
            s.halted = true;
        }
        let reduces = before.0.signum() == -r.side.sign();
        match &mut s.trade {
            Some(t) if reduces && !t.is_entering() => {
                t.exit.add(&d);
                t.closed_by = ExitReason::External;
            }
            Some(_) => {}
            None => self.unexpected_position(now, r.symbol, out),
        }
    }

    /// A position that no trade explains, found in fills or in a reconciliation.
    pub(crate) fn unexpected_position(&mut self, now: Nanos, symbol: SymbolId, out: &mut Outbox) {
        let qty = self.symbols[symbol.index()].position.qty;
        if qty.is_zero() {
            return;
        }
        let alert = self.alert(now, AlertKind::UnexpectedPosition);
        out.alert(Alert { symbol: Some(symbol), qty, ..alert });
        match self.cfg.unexpected_position {
            UnexpectedPosition::Stop => self.trip(now, Check::Position, out),
            UnexpectedPosition::Adopt => self.begin_flatten(now, symbol, false),
            UnexpectedPosition::Flatten => {
                self.begin_flatten(now, symbol, true);
                self.start_exit(now, symbol, ExitReason::Flatten);
            }
        }
    }
}
