//! Comparison with the venue, at start and after each reconnect (SPEC §8, invariant 9).
//!
//! The venue is the truth, but a snapshot is a look at the past: what was reported after it was asked for is newer.
//! So orders are compared first — a known one that the venue does not list is asked for by id, one of ours that it lists
//! and we do not know is cancelled — and an instrument's position is only compared once no order of it is in doubt.

use arrayvec::ArrayVec;
use market::{Amount, CancelOrder, ClientOrderId, ExecType, ExecutionReport, ExitReason, Nanos, OrderOrigin};
use market::{OrderRequest, OrderStatus, Px, Qty, SymbolId};

use crate::config::RouterConfig;
use crate::outbox::{Alert, AlertKind, Outbox};
use crate::position::Position;
use crate::risk::Check;
use crate::router::Router;

/// A position as the venue has it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VenuePosition {
    /// Instrument.
    pub symbol: SymbolId,
    /// Signed lots.
    pub qty: Qty,
    /// Average price.
    pub entry_px: f64,
}

/// What the venue says the account looks like.
#[derive(Debug, Clone, Copy)]
pub struct VenueState<'a> {
    /// When it was asked for (our clock): reports taken later are newer.
    pub requested_at: Nanos,
    /// Open orders of the account, as reports of kind [`ExecType::Status`].
    pub orders: &'a [ExecutionReport],
    /// Positions that are not zero.
    pub positions: &'a [VenuePosition],
    /// The venue's list of fills since the last good comparison, read after the positions: those that no report
    /// told of are made good. Rows without a client order id are matched by the venue's order id.
    pub fills: &'a [ExecutionReport],
    /// Wallet balance, without unrealised profit.
    pub wallet: Amount,
}

/// One difference and what was done about it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Difference {
    /// An order with our prefix that this run does not know: cancelled.
    StrayOrder(SymbolId, ClientOrderId),
    /// Somebody else's order: alert, and entries stop if so configured.
    ForeignOrder(SymbolId, u64),
    /// An order we hold for working that the venue does not list: asked for.
    MissingOrder(SymbolId, ClientOrderId),
    /// The position differs: ours, the venue's. The venue's is taken.
    Position(SymbolId, Qty, Qty),
    /// Orders of it are in doubt: its position will be compared next time.
    Deferred(SymbolId),
}

/// The result of a comparison.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reconciliation {
    /// Every difference, in the order found (the first 64).
    pub differences: ArrayVec<Difference, 64>,
    /// Differences that found no room in the list; they were acted upon all the same.
    pub unlisted: u32,
}

impl Reconciliation {
    /// No difference at all: trading may go on.
    pub fn is_clean(&self) -> bool {
        self.differences.is_empty() && self.unlisted == 0
    }

    /// Only orders that are being asked for, and positions that wait for them?
    pub fn is_in_flight(&self) -> bool {
        let passing = |d: &Difference| matches!(d, Difference::Deferred(_) | Difference::MissingOrder(..));
        self.unlisted == 0 && self.differences.iter().all(passing)
    }

    fn push(&mut self, d: Difference) {
        if self.differences.try_push(d).is_err() {
            self.unlisted += 1;
        }
    }
}

impl Router {
    /// Compares with the venue and acts on each difference. Until a comparison is clean nothing is opened, and the next
    /// one is asked for after `reconcile_retry_ms`; while all is well, every `reconcile_interval_ms`.
    pub fn reconcile(&mut self, now: Nanos, venue: &VenueState<'_>, out: &mut Outbox) -> Reconciliation {
        let mut found = Reconciliation::default();
        self.take_history(now, venue, &mut found, out);
        self.compare_listed(now, venue, &mut found, out);
        self.compare_missing(now, venue, &mut found);
        for k in 0..self.symbols.len() {
            self.compare_position(now, SymbolId(k as u16), venue, &mut found, out);
        }
        let mut unrealised = Amount::ZERO;
        for (s, i) in self.symbols.iter().zip(&self.instruments) {
            if !s.position.qty.is_zero() {
                unrealised += s.position.unrealised(i, s.mark_px(i));
            }
        }
        self.account.set_wallet(venue.wallet, unrealised);
        // Messages that cross a look at the venue are no reason to stop what was in order before it.
        self.reconciled =
            self.gate.user_stream && (found.is_clean() || (self.reconciled && found.is_in_flight()));
        if found.is_clean() {
            self.reconciled_at = venue.requested_at;
            self.reconcile_due = Some(now.plus(RouterConfig::ns(self.cfg.reconcile_interval_ms)));
        } else {
            self.stats.mismatches += found.differences.len() as u64 + u64::from(found.unlisted);
            self.reconcile_due = Some(now.plus(RouterConfig::ns(self.cfg.reconcile_retry_ms)));
        }
        for k in (0..self.active.len()).rev() {
            let symbol = self.active[k];
            self.drive(now, symbol, out);
        }
        self.drive_kill(now, out);
        found
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
                (None, None) => {
                    let alert = self.alert(now, AlertKind::ForeignOrder);
                    out.alert(Alert { symbol: Some(r.symbol), ..alert });
                    if self.cfg.stop_on_foreign_orders {
                        self.trip(now, Check::Foreign, out);
                        found.push(Difference::ForeignOrder(r.symbol, r.order_id));
                    }
                }
            }
        }
    }

    fn compare_missing(&mut self, now: Nanos, venue: &VenueState<'_>, found: &mut Reconciliation) {
        for slot in 0..self.orders.len() {
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
                self.orders.get_mut(slot).set_unknown(now);
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
        let s = &self.symbols[symbol.index()];
        let ours = s.position.qty;
        if qty == ours {
            return;
        }
        let doubt = self.orders.live_in(symbol).any(|o| {
            matches!(o.status, OrderStatus::Unknown | OrderStatus::PendingNew | OrderStatus::PendingCancel)
                || !o.rests()
        });
        if doubt || s.last_fill_at >= venue.requested_at {
            found.push(Difference::Deferred(symbol));
            return;
        }
        found.push(Difference::Position(symbol, ours, qty));
        let alert = self.alert(now, AlertKind::ReconcileMismatch);
        out.alert(Alert { symbol: Some(symbol), qty: qty - ours, ..alert });
        self.activate(symbol);
        let i = &self.instruments[symbol.index()];
        let px = theirs.and_then(|p| i.tick.nearest(p.entry_px)).unwrap_or(0);
        let s = &mut self.symbols[symbol.index()];
        s.position = Position { qty, cost: i128::from(px) * i128::from(qty.0), ..s.position };
        match &mut s.trade {
            // Closed or reduced behind our back: the trade goes on with what is left.
            Some(t) if qty.is_zero() || qty.0.signum() == i64::from(t.direction) => {
                t.closed_by = ExitReason::External;
                t.stand_in = if px > 0 { Px(px) } else { t.stand_in };
            }
            Some(_) => self.trip(now, Check::Position, out),
            None => self.unexpected_position(now, symbol, out),
        }
    }
}
