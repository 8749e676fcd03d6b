//! Orders in: place, cancel, modify, cancel all. A refusal changes nothing.

use market::{
    Amount, ExecType, Nanos, OrderStatus, OrderType, PositionSide, Px, Qty, Side, SymbolId, TimeInForce,
};

use super::exchange::Exchange;
use super::ids::AccountId;
use super::ladder::Hit;
use super::listing::SymbolStatus;
use super::order::{ExpiryReason, Order, OrderRef, PlaceOrder};
use super::reject::{self, Reject};
use super::terms::{PriceMatch, SelfTrade};

/// A client order id: 1–36 of `A-Z a-z 0-9 . : / _ -`.
pub(crate) fn is_client_id(text: &str) -> bool {
    (1..=36).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric() || b".:/_-".contains(&b))
}

impl Exchange {
    /// Places an order; what it did at once is in the order returned.
    pub fn place(&mut self, account: AccountId, ask: PlaceOrder, now: Nanos) -> Result<Order, Reject> {
        let closes = self.check_place(account, &ask)?;
        let id = self.next_order;
        self.next_order += 1;
        let order = Order {
            id,
            account,
            symbol: ask.symbol,
            client_id: ask.client_id.unwrap_or_else(|| format!("venue-{id}")),
            side: ask.side,
            kind: ask.kind,
            tif: ask.tif,
            px: if ask.kind == OrderType::Limit { ask.px } else { Px::ZERO },
            qty: ask.qty,
            filled: Qty::ZERO,
            quote: Amount::ZERO,
            reduce_only: ask.reduce_only,
            closes,
            position_side: ask.position_side,
            self_trade: ask.self_trade,
            good_till: ask.good_till,
            price_match: ask.price_match,
            origin: ask.origin,
            status: OrderStatus::New,
            expiry: ExpiryReason::None,
            edits: 0,
            created: now,
            updated: now,
            next_at_end: 0,
        };
        self.accept(order, now);
        Ok(self.orders[&id].clone())
    }

    /// All checks of a new order; returns whether it can only close.
    pub fn check_place(&self, account: AccountId, ask: &PlaceOrder) -> Result<bool, Reject> {
        let listing = self.listing(ask.symbol);
        match listing.status {
            SymbolStatus::Trading => {}
            SymbolStatus::Settling => return Err(reject::SYMBOL_STATUS),
            _ => return Err(reject::BAD_SYMBOL_STATUS),
        }
        self.check_leg(account, ask.position_side, ask.reduce_only)?;
        let a = self.account(account);
        if let Some(id) = &ask.client_id {
            if !is_client_id(id) {
                return Err(reject::BAD_CLIENT_ID);
            }
            if a.by_client.contains_key(id) {
                return Err(reject::DUPLICATE_ID);
            }
        }
        let closes = match ask.position_side {
            PositionSide::Both => ask.reduce_only,
            PositionSide::Long => ask.side == Side::Sell,
            PositionSide::Short => ask.side == Side::Buy,
        };
        let mut filtered = ask.clone();
        filtered.reduce_only = closes;
        listing.check(&filtered)?;
        if closes {
            let held = a.position(ask.symbol, ask.position_side).qty.0;
            let wrong_way = held == 0 || held.signum() == ask.side.sign();
            if wrong_way || (a.hedge && ask.qty.0 > held.abs()) {
                return Err(reject::REDUCE_ONLY);
            }
        }
        let working = a.open.iter().filter(|id| self.orders[*id].symbol == ask.symbol).count();
        let limit = listing.instrument.max_orders as usize;
        if limit > 0 && working >= limit && ask.kind == OrderType::Limit {
            return Err(reject::MAX_ORDERS);
        }
        self.check_liquidity(account, ask)?;
        if !closes {
            self.check_margin(account, ask)?;
        }
        Ok(closes)
    }

    /// Position side and reduce-only against the account's position mode.
    pub(super) fn check_leg(
        &self,
        account: AccountId,
        leg: PositionSide,
        reduce_only: bool,
    ) -> Result<(), Reject> {
        let hedge = self.account(account).hedge;
        if hedge == (leg == PositionSide::Both) {
            return Err(reject::POSITION_SIDE);
        }
        if hedge && reduce_only { Err(reject::REDUCE_ONLY_CONFLICT) } else { Ok(()) }
    }

    /// The price that a price match finds now; `None` without one (−5041 where the book is not that deep).
    pub fn matched_px(&self, symbol: SymbolId, side: Side, how: PriceMatch) -> Result<Option<Px>, Reject> {
        let (of, n) = match how {
            PriceMatch::None => return Ok(None),
            PriceMatch::Opponent(n) => (side.opposite(), n),
            PriceMatch::Queue(n) => (side, n),
        };
        let level = self.ladder(symbol).levels(of).nth(usize::from(n).saturating_sub(1));
        level.map(|l| Some(l.px)).ok_or(reject::NO_MATCH)
    }

    /// What the book decides at once: post-only, fill-or-kill, an empty opposite side.
    fn check_liquidity(&self, account: AccountId, ask: &PlaceOrder) -> Result<(), Reject> {
        let ladder = self.ladder(ask.symbol);
        if ask.kind == OrderType::Market {
            let Some(best) = ladder.best(ask.side.opposite()) else { return Err(reject::NO_DEPTH) };
            let limit = self.listing(ask.symbol).market_limit(ask.side);
            let outside = limit.is_some_and(|l| match ask.side {
                Side::Buy => best.px > l,
                Side::Sell => best.px < l,
            });
            return if outside { Err(reject::COUNTERPARTY) } else { Ok(()) };
        }
        match ask.tif {
            TimeInForce::Gtx if ladder.first_hit(ask.side, Some(ask.px)).is_some() => Err(reject::POST_ONLY),
            TimeInForce::Fok if ladder.takeable(ask.side, Some(ask.px), account) < ask.qty => {
                Err(reject::FOK)
            }
            _ => Ok(()),
        }
    }

    fn accept(&mut self, order: Order, now: Nanos) {
        let id = order.id;
        let a = &mut self.accounts[order.account.0 as usize];
        a.open.insert(id);
        a.by_client.insert(order.client_id.clone(), id);
        self.orders.insert(id, order);
        self.report(id, ExecType::New, None, now);
        self.work(id, now);
    }

    /// Lets an order take what it may, then rests or ends it.
    fn work(&mut self, id: u64, now: Nanos) {
        let stopped = self.take(id, now);
        let order = &self.orders[&id];
        if !order.is_open() || stopped {
            return;
        }
        let reason = match (order.kind, order.tif) {
            (OrderType::Market, _) => Some(ExpiryReason::MarketRest),
            (_, TimeInForce::Ioc | TimeInForce::Fok) => Some(ExpiryReason::IocRest),
            _ => None,
        };
        match reason {
            Some(reason) => self.close_order(id, ExecType::Expired, reason, now),
            None => {
                let o = &self.orders[&id];
                let (symbol, side, px, account) = (o.symbol, o.side, o.px, o.account);
                let mut leaves = o.leaves();
                if o.closes {
                    let held = self.account(account).position(symbol, o.position_side).qty;
                    leaves = leaves.min(held.abs());
                }
                self.ladders[symbol.index()].rest(side, px, id, account, leaves);
            }
        }
    }

    /// Takes liquidity until the order is done, its limit reached or self-trade prevention ends it (`true`).
    fn take(&mut self, id: u64, now: Nanos) -> bool {
        loop {
            let o = &self.orders[&id];
            let (symbol, side, account, mode) = (o.symbol, o.side, o.account, o.self_trade);
            let mut want = o.leaves();
            if o.closes {
                let held = self.account(account).position(symbol, o.position_side).qty.0;
                want = want.min(Qty(if held.signum() == side.sign() { 0 } else { held.abs() }));
            }
            if want.0 <= 0 || !o.is_open() {
                return false;
            }
            let limit = match o.kind {
                OrderType::Limit => Some(o.px),
                OrderType::Market => self.listing(symbol).market_limit(side),
            };
            match self.ladder(symbol).first_hit(side, limit) {
                None => return false,
                Some(Hit::Played { px, qty }) => {
                    let qty = qty.min(want);
                    self.ladders[symbol.index()].consume(side, px, qty);
                    let trade = self.publish_trade(symbol, px, qty, side, now);
                    self.book_fill(id, px, qty, trade, false, ExecType::Trade, now);
                }
                Some(Hit::Resting { order, account: owner, .. })
                    if owner == account && mode != SelfTrade::None =>
                {
                    if mode != SelfTrade::ExpireTaker {
                        self.close_order(order, ExecType::Expired, ExpiryReason::SelfTrade, now);
                    }
                    if mode != SelfTrade::ExpireMaker {
                        self.close_order(id, ExecType::Expired, ExpiryReason::SelfTrade, now);
                        return true;
                    }
                }
                Some(Hit::Resting { px, qty, order, .. }) => {
                    let qty = qty.min(want);
                    let trade = self.publish_trade(symbol, px, qty, side, now);
                    self.fill_resting(order, px, qty, trade, now);
                    if self.orders[&id].is_open() {
                        self.book_fill(id, px, qty, trade, false, ExecType::Trade, now);
                    }
                }
            }
        }
    }

    /// Cancels an open order.
    pub fn cancel(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        which: &OrderRef,
        now: Nanos,
    ) -> Result<Order, Reject> {
        let id = match self.find(account, symbol, which) {
            Some(o) if o.is_open() => o.id,
            _ => return Err(reject::UNKNOWN_ORDER),
        };
        self.close_order(id, ExecType::Canceled, ExpiryReason::None, now);
        Ok(self.orders[&id].clone())
    }

    /// Cancels every open order of an account on a symbol; returns how many.
    pub fn cancel_all(&mut self, account: AccountId, symbol: SymbolId, now: Nanos) -> usize {
        let ids: Vec<u64> = self
            .account(account)
            .open
            .iter()
            .copied()
            .filter(|id| self.orders[id].symbol == symbol)
            .collect();
        for &id in &ids {
            self.close_order(id, ExecType::Canceled, ExpiryReason::None, now);
        }
        ids.len()
    }

    /// Modifies a resting limit order (venue rules: BINANCE.md §3.1). It loses its place in the queue. A refused
    /// edit leaves it as it was (the price comes with how it was found); the venue's two exceptions cancel it: a new quantity not above what is filled, and a
    /// post-only order whose new price would take.
    pub fn modify(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        which: &OrderRef,
        (px, price_match): (Px, PriceMatch),
        qty: Qty,
        now: Nanos,
    ) -> Result<Order, Reject> {
        let old = match self.find(account, symbol, which) {
            Some(o) if o.is_open() => o.clone(),
            _ => return Err(reject::NO_SUCH_ORDER),
        };
        self.check_modify(&old, px, qty)?;
        let id = old.id;
        let would_take =
            old.tif == TimeInForce::Gtx && self.ladder(symbol).first_hit(old.side, Some(px)).is_some();
        if (old.filled.0 > 0 && qty <= old.filled) || would_take {
            self.close_order(id, ExecType::Canceled, ExpiryReason::None, now);
            return Ok(self.orders[&id].clone());
        }
        self.ladders[symbol.index()].remove(old.side, old.px, id);
        let order = self.orders.get_mut(&id).expect("just found");
        order.px = px;
        order.price_match = price_match;
        order.qty = qty;
        order.edits += 1;
        order.updated = now;
        self.note_amendment(id, (old.px, px), (old.qty, qty), now);
        self.report(id, ExecType::Amendment, None, now);
        self.work(id, now);
        Ok(self.orders[&id].clone())
    }

    fn check_modify(&self, old: &Order, px: Px, qty: Qty) -> Result<(), Reject> {
        if old.kind != OrderType::Limit {
            return Err(reject::MODIFY_LIMIT_ONLY);
        }
        if old.edits >= 10_000 {
            return Err(reject::MODIFY_LIMIT);
        }
        if old.px == px && old.qty == qty {
            return Err(reject::MODIFY_SAME);
        }
        let ask = PlaceOrder {
            symbol: old.symbol,
            client_id: None,
            side: old.side,
            kind: old.kind,
            tif: old.tif,
            px,
            qty,
            reduce_only: old.closes,
            position_side: old.position_side,
            self_trade: old.self_trade,
            good_till: old.good_till,
            price_match: old.price_match,
            origin: None,
        };
        self.listing(old.symbol).check(&ask)?;
        let more =
            self.listing(old.symbol).notional(px, qty) > self.listing(old.symbol).notional(old.px, old.qty);
        if !old.closes && more {
            self.check_margin_less(old.account, &ask, Some(old.id))?;
        }
        Ok(())
    }
}
