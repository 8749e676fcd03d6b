//! Comparison with the venue, at start, after each reconnect and regularly (SPEC §8, invariant 9).
//!
//! The venue is the truth, but a snapshot is a look at the past: what was reported after it was asked for is newer.
//! So the list of fills is taken in first, then orders are compared (a known one that the venue does not list is asked
//! for by id, one of ours that it lists and we do not know is cancelled), and an instrument's position is only compared
//! once no order of it is on its way. The balance comes last, when everything that is in it is booked.

use market::planted::{Bug, planted};
use market::{
    CancelOrder, ExecType, ExecutionReport, ExitReason, Nanos, OrderOrigin, OrderRequest, OrderStatus,
};
use market::{Px, Qty, SymbolId, VenueTime};

use crate::check::Check;
use crate::config::RouterConfig;
use crate::fills::FillDelta;
use crate::ledger::Balance;
use crate::outbox::{Alert, AlertKind, Control, Outbox};
use crate::router::{Router, Unexplained};
use crate::venue_state::{Difference, Reconciliation, VenueState};

/// A fill whose price the venue has not told by now will not be told: its estimate stands.
const PRICE_GIVEN_UP: u64 = 600 * Nanos::SECOND;

impl Router {
    /// Compares with the venue and acts on each difference. Until a comparison is clean nothing is opened, and the next
    /// one is asked for after `reconcile_retry_ms`; while all is well, every `reconcile_interval_ms`; while prices are
    /// estimated, in between.
    pub fn reconcile(&mut self, now: Nanos, venue: &VenueState<'_>, out: &mut Outbox) -> Reconciliation {
        let mut found = Reconciliation::default();
        if planted(Bug::ReconcileSkipped) {
            self.reconciled = true;
            self.reconcile_due = Some(now.plus(RouterConfig::ns(self.cfg.reconcile_interval_ms)));
            return found;
        }
        self.take_history(now, venue, &mut found, out);
        self.compare_listed(now, venue, &mut found, out);
        self.compare_missing(now, venue, &mut found);
        for k in 0..self.symbols.len() {
            self.compare_position(now, SymbolId(k as u16), venue, &mut found, out);
        }
        self.take_account(now, venue, out);
        // Messages that cross a look at the venue are no reason to stop what was in order before it.
        self.reconciled =
            self.gate.user_stream && (found.is_clean() || (self.reconciled && found.is_in_flight()));
        if found.is_conclusive() {
            let left = self.unlisted.remains(venue.orders.len() as u32, venue.positions.len() as u32);
            self.compared = Some((venue.requested_at, left));
        }
        self.plan_next(now, &found);
        for k in (0..self.active.len()).rev() {
            let symbol = self.active[k];
            self.drive(now, symbol, out);
        }
        self.drive_kill(now, out);
        self.observe_gates(now);
        found
    }

    /// When to compare again.
    fn plan_next(&mut self, now: Nanos, found: &Reconciliation) {
        let (retry, regular) = (self.cfg.reconcile_retry_ms, self.cfg.reconcile_interval_ms);
        let estimated = self.unpriced > 0 && self.orders.iter().any(|o| o.awaits_price(now, PRICE_GIVEN_UP));
        let wait = if !found.is_clean() {
            self.stats.mismatches += found.differences.len() as u64 + u64::from(found.unlisted);
            self.reconcile_again = 0;
            retry
        } else if estimated || !self.ledger.is_settled() {
            self.reconcile_again += 1;
            (retry << self.reconcile_again.min(16)).min(regular)
        } else {
            self.reconcile_again = 0;
            regular
        };
        self.reconcile_due = Some(now.plus(RouterConfig::ns(wait)));
    }

    /// Takes in the fills that were missed: first of all, so that the position is compared with them.
    fn take_history(
        &mut self,
        now: Nanos,
        venue: &VenueState<'_>,
        found: &mut Reconciliation,
        out: &mut Outbox,
    ) {
        let symbols = self.symbols.len();
        for r in venue.fills.iter().filter(|r| r.symbol.index() < symbols) {
            if self.trade_ids.contains(r.symbol, r.trade_id) {
                continue;
            }
            let listed = venue.orders.iter().find(|o| o.order_id == r.order_id && o.symbol == r.symbol);
            let ours = self.orders.by_venue_id(r.symbol, r.order_id).map(OrderOrigin::Ours);
            match ours.or(listed.map(|o| o.origin)) {
                Some(origin) => self.on_report(now, &ExecutionReport { origin, ..*r }, out),
                // It may be an order of ours whose acknowledgement is lost: its query will tell.
                None if self.orders.live_in(r.symbol).any(|o| o.order_id == 0) => {
                    found.push(Difference::Deferred(r.symbol));
                }
                None => self.on_report(now, r, out),
            }
        }
    }

    fn compare_listed(
        &mut self,
        now: Nanos,
        venue: &VenueState<'_>,
        found: &mut Reconciliation,
        out: &mut Outbox,
    ) {
        let symbols = self.symbols.len();
        for r in venue.orders.iter().filter(|r| r.symbol.index() < symbols) {
            let r = ExecutionReport { exec_type: ExecType::Status, ..*r };
            let known = r.origin.ours().and_then(|id| self.orders.find(id));
            match (known, r.origin.ours()) {
                // Done here, listed there: the snapshot is older than our news.
                (Some(slot), _) if !self.orders.get(slot).is_live() => {
                    found.push(Difference::Deferred(r.symbol));
                }
                (Some(_), _) => self.on_report(now, &r, out),
                (None, Some(id)) => {
                    let cancel = CancelOrder { symbol: r.symbol, client_order_id: id };
                    if self.send(OrderRequest::Cancel(cancel), out) {
                        self.risk.sent_weight(now, 1);
                        self.stats.cancels += 1;
                    }
                    found.push(Difference::StrayOrder(r.symbol, id));
                }
                (None, None) => self.foreign_listed(now, &r, found, out),
            }
        }
    }

    fn foreign_listed(
        &mut self,
        now: Nanos,
        r: &ExecutionReport,
        found: &mut Reconciliation,
        out: &mut Outbox,
    ) {
        out.alert(Alert { symbol: Some(r.symbol), ..Alert::new(now, AlertKind::ForeignOrder) });
        // The kill switch clears the account, not only our part of it.
        if self.kill.is_latched() && self.send(OrderRequest::CancelAll(r.symbol), out) {
            self.risk.sent_weight(now, 1);
        }
        if self.cfg.stop_on_foreign_orders {
            self.trip(now, Check::Foreign, out);
            found.push(Difference::ForeignOrder(r.symbol, r.order_id));
        }
    }

    fn compare_missing(&mut self, now: Nanos, venue: &VenueState<'_>, found: &mut Reconciliation) {
        for slot in self.orders.slots() {
            let o = *self.orders.get(slot);
            let listed = venue.orders.iter().any(|r| r.origin.ours() == Some(o.id));
            if !o.is_live() || listed {
                continue;
            }
            // Sent after the look: it could not be listed.
            if o.sent_at < venue.requested_at
                && o.seen_at < venue.requested_at
                && o.status != OrderStatus::Unknown
            {
                self.orders.update(slot, |o| o.set_unknown(now));
                self.stats.unknowns += 1;
                found.push(Difference::MissingOrder(o.symbol, o.id));
            }
        }
    }

    fn compare_position(
        &mut self,
        now: Nanos,
        symbol: SymbolId,
        venue: &VenueState<'_>,
        found: &mut Reconciliation,
        out: &mut Outbox,
    ) {
        let theirs = venue.positions.iter().find(|p| p.symbol == symbol);
        let qty = theirs.map_or(Qty::ZERO, |p| p.qty);
        let s = &mut self.symbols[symbol.index()];
        s.liquidation_px = theirs.map_or(0.0, |p| p.liquidation_px);
        let ours = s.position.qty;
        if qty == ours {
            return;
        }
        let on_its_way = self.orders.live_in(symbol).any(|o| {
            matches!(o.status, OrderStatus::Unknown | OrderStatus::PendingNew | OrderStatus::PendingCancel)
                || !o.rests()
        });
        if on_its_way || s.last_fill_at >= venue.requested_at {
            found.push(Difference::Deferred(symbol));
            return;
        }
        found.push(Difference::Position(symbol, ours, qty));
        let alert = Alert::new(now, AlertKind::ReconcileMismatch);
        out.alert(Alert { symbol: Some(symbol), qty: qty - ours, ..alert });
        self.take_position(now, symbol, qty - ours, theirs.map_or(0.0, |p| p.entry_px));
        let s = &self.symbols[symbol.index()];
        match &s.trade {
            // Closed or reduced behind our back: the trade goes on with what is left.
            Some(t) if qty.is_zero() || qty.0.signum() == i64::from(t.direction) => {}
            Some(_) => self.trip(now, Check::Unexpected, out),
            None => self.unexpected_position(now, symbol, out),
        }
    }

    /// The venue's position has this much more (signed) than ours, and no fill explains it: it is counted at a stand-in
    /// price, and a fill that comes later prices it.
    fn take_position(&mut self, now: Nanos, symbol: SymbolId, lots: Qty, entry_px: f64) {
        self.activate(symbol);
        let until = self.to_venue(now);
        let (i, s) = (&self.instruments[symbol.index()], &self.symbols[symbol.index()]);
        let opens = s.position.qty.is_zero() || s.position.qty.0.signum() == lots.0.signum();
        let average = Px(s.position.avg_ticks() as i64);
        let told = i.tick.nearest(entry_px).filter(|px| *px > 0).map(Px);
        let stand_in = if opens { told.or(s.price(i)) } else { s.price(i).or(Some(average)) };
        let stand_in = stand_in.unwrap_or(average);
        let d = FillDelta { lots: lots.abs(), stand_in, ts_event: until.0, ..FillDelta::default() };
        let (gain, parts) = self.booking(symbol).count(lots.0, &d, false, ExitReason::External);
        self.booked(now, symbol, &d, gain, market::Amount::ZERO);
        let list = &mut self.symbols[symbol.index()].unexplained;
        for part in parts {
            if list.is_full() {
                list.remove(0);
            }
            list.push(Unexplained { sign: lots.0.signum(), part, px: stand_in, until });
        }
    }

    /// Balance, margin, and what is not followed.
    fn take_account(&mut self, now: Nanos, venue: &VenueState<'_>, out: &mut Outbox) {
        self.margin = venue.margin.or(self.margin);
        let before = self.unlisted.count();
        self.unlisted.take(venue.unlisted);
        let count = self.unlisted.count();
        if count > 0 && count != before {
            out.alert(Alert { qty: Qty(i64::from(count)), ..Alert::new(now, AlertKind::Unlisted) });
        }
        let as_of = match self.gate.clock {
            Some(clock) => clock.to_venue(venue.requested_at).minus(clock.error_at(venue.requested_at)),
            None => VenueTime(venue.requested_at),
        };
        let estimates = self.unpriced > 0 || self.symbols.iter().any(|s| !s.unexplained.is_empty());
        let balance = self.ledger.take_balance(venue.wallet, as_of, venue.transfers, estimates);
        if let Balance::Unexplained(_) = balance {
            out.alert(Alert::new(now, AlertKind::WalletUnexplained));
        }
        if !self.ledger.unexplained().is_zero() {
            self.control(Control::ListTransfers, out);
        }
        self.observe_equity();
    }
}
