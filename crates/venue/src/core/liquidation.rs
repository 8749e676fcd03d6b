//! What the venue closes by itself: liquidation, auto-deleveraging, settlement.

use market::{
    Amount, ExecType, Nanos, OrderStatus, OrderType, PositionSide, Px, Qty, Side, SymbolId, TimeInForce,
};

use super::algo::AlgoStatus;
use super::exchange::Exchange;
use super::ids::{AccountId, Leg};
use super::listing::SymbolStatus;
use super::order::{ExpiryReason, Order, Output};
use super::reject::{self, Reject};
use super::terms::{PriceMatch, SelfTrade};

impl Exchange {
    /// Calls for margin, or liquidates: the crossed positions together, each isolated one by itself.
    pub(super) fn check_solvency(&mut self, account: AccountId, now: Nanos) {
        let m = self.margins(account);
        match solvency(m.cross_wallet + m.cross_unrealised, m.cross_maintenance) {
            Solvency::Broken => {
                self.expire_orders(account, None, ExpiryReason::Liquidated, now);
                let crossed = self.held(account, None);
                let crossed =
                    crossed.into_iter().filter(|(s, ..)| !self.account(account).setting(*s).isolated);
                self.liquidate_positions(account, crossed.collect(), now);
                self.clear_debt(account, now);
            }
            other => self.call_margin(account, None, other == Solvency::Shaky, now),
        }
        for (symbol, leg, qty) in self.held(account, None) {
            if !self.account(account).setting(symbol).isolated {
                continue;
            }
            let listing = self.listing(symbol);
            let p = self.account(account).position(symbol, leg.into());
            let maintenance = listing.maintenance(listing.at_mark(p.qty));
            match solvency(p.isolated + listing.unrealised(&p), maintenance) {
                Solvency::Broken => self.liquidate_isolated(account, symbol, leg, qty, now),
                other => self.call_margin(account, Some((symbol, leg)), other == Solvency::Shaky, now),
            }
        }
    }

    /// Tells once of a margin that runs short, and forgets it when it has recovered.
    fn call_margin(&mut self, account: AccountId, of: Option<(SymbolId, Leg)>, short: bool, now: Nanos) {
        let called = &mut self.accounts[account.0 as usize].margin_called;
        if !short {
            called.remove(&of);
        } else if called.insert(of) {
            let a = self.account(account);
            let concerned = |s: SymbolId, leg: Leg| match of {
                Some(one) => one == (s, leg),
                None => !a.setting(s).isolated,
            };
            let held = self.held(account, None);
            let positions = (held.into_iter().filter(|(s, leg, _)| concerned(*s, *leg)))
                .map(|(s, leg, qty)| {
                    let l = self.listing(s);
                    (a.row(l, leg.into()), l.maintenance(l.at_mark(qty)))
                })
                .collect();
            let cross = of.is_none().then(|| a.cross_wallet());
            self.out.push(Output::MarginCall { account, cross, positions, at: now });
        }
    }

    /// An isolated position ends with its own money, whatever the mark price has done.
    fn liquidate_isolated(&mut self, account: AccountId, symbol: SymbolId, leg: Leg, qty: Qty, now: Nanos) {
        self.expire_orders(account, Some(symbol), ExpiryReason::Liquidated, now);
        let before = self.account(account).position(symbol, leg.into());
        self.liquidate_positions(account, vec![(symbol, leg, qty)], now);
        let after = self.account(account).position(symbol, leg.into());
        let loss = before.realised - after.realised;
        self.insure(account, loss - before.isolated, now);
    }

    /// What is lost beyond an account's money is the insurance fund's.
    fn insure(&mut self, account: AccountId, debt: Amount, now: Nanos) {
        if debt.0 > 0 {
            self.insurance -= debt;
            let a = &mut self.accounts[account.0 as usize];
            a.wallet += debt;
            a.add_income("INSURANCE_CLEAR", None, debt, 0, now);
            self.tell_account(account, "INSURANCE_CLEAR", debt, &[], None, now);
        }
    }

    fn clear_debt(&mut self, account: AccountId, now: Nanos) {
        self.insure(account, -self.account(account).cross_wallet(), now);
    }

    fn liquidate_positions(&mut self, account: AccountId, held: Vec<(SymbolId, Leg, Qty)>, now: Nanos) {
        for (symbol, leg, qty) in held {
            let id = self.close_by_venue(account, symbol, leg.into(), qty, "autoclose-", now);
            self.out.push(Output::Liquidation(Box::new(self.orders[&id].clone())));
        }
    }

    /// Expires the open orders of an account that a symbol concerns.
    fn expire_orders(&mut self, account: AccountId, of: Option<SymbolId>, why: ExpiryReason, now: Nanos) {
        let open: Vec<u64> = self.account(account).open.iter().copied().collect();
        for id in open {
            let o = &self.orders[&id];
            if o.is_open() && of.is_none_or(|s| o.symbol == s) {
                self.close_order(id, ExecType::Expired, why, now);
            }
        }
        self.end_algos(account, |o| of.is_none_or(|s| o.ask.symbol == s), AlgoStatus::Expired, now);
    }

    /// Positions of an account, of a symbol or all.
    fn held(&self, account: AccountId, of: Option<SymbolId>) -> Vec<(SymbolId, Leg, Qty)> {
        (self.account(account).positions.iter())
            .filter(|((s, _), p)| p.qty.0 != 0 && of.is_none_or(|x| x == *s))
            .map(|((s, leg), p)| (*s, *leg, p.qty))
            .collect()
    }

    /// Settles an instrument for good: no new orders, the open ones expire (delisted), positions are closed at the
    /// mark price (`settlement_autoclose-…`).
    pub fn settle_symbol(&mut self, symbol: SymbolId, now: Nanos) {
        self.listings[symbol.index()].status = SymbolStatus::Settling;
        for account in self.account_ids() {
            self.expire_orders(account, Some(symbol), ExpiryReason::Delisted, now);
            for (symbol, leg, qty) in self.held(account, Some(symbol)) {
                self.close_by_venue(account, symbol, leg.into(), qty, "settlement_autoclose-", now);
            }
        }
    }

    /// Liquidates an account: its orders expire, its positions are closed at the mark price.
    pub fn liquidate(&mut self, account: AccountId, now: Nanos) {
        self.expire_orders(account, None, ExpiryReason::Liquidated, now);
        self.liquidate_positions(account, self.held(account, None), now);
        self.clear_debt(account, now);
    }

    /// Auto-deleverages (part of) a position at the mark price: the venue's own order, `adl_autoclose`.
    pub fn deleverage(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        leg: PositionSide,
        qty: Qty,
        now: Nanos,
    ) -> Result<u64, Reject> {
        let held = self.account(account).position(symbol, leg).qty;
        if held.0 == 0 {
            return Err(reject::REDUCE_ONLY);
        }
        let qty = Qty(qty.0.clamp(1, held.abs().0) * held.0.signum());
        Ok(self.close_by_venue(account, symbol, leg, qty, "adl_autoclose", now))
    }

    /// Books a fill that no order of the account asked for: the venue closes `held` (signed) at the mark price.
    fn close_by_venue(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        leg: PositionSide,
        held: Qty,
        name: &str,
        now: Nanos,
    ) -> u64 {
        let id = self.next_order;
        self.next_order += 1;
        let side = if held.0 > 0 { Side::Sell } else { Side::Buy };
        let mark = self.listing(symbol).mark.mark.to_f64();
        let px = Px(self.listing(symbol).instrument.tick.nearest(mark).unwrap_or(1).max(1));
        let client_id = if name.ends_with('-') { format!("{name}{id}") } else { name.to_owned() };
        let order = Order {
            id,
            account,
            symbol,
            client_id,
            side,
            kind: OrderType::Limit,
            tif: TimeInForce::Ioc,
            px,
            qty: held.abs(),
            filled: Qty::ZERO,
            quote: Amount::ZERO,
            reduce_only: false,
            closes: true,
            position_side: leg,
            self_trade: SelfTrade::None,
            good_till: None,
            price_match: PriceMatch::None,
            origin: None,
            status: OrderStatus::New,
            expiry: ExpiryReason::None,
            edits: 0,
            created: now,
            updated: now,
            next_at_end: 0,
        };
        self.accounts[account.0 as usize].open.insert(id);
        self.orders.insert(id, order);
        let trade = self.next_trade[symbol.index()];
        self.next_trade[symbol.index()] += 1;
        self.book_fill(id, px, held.abs(), trade, false, ExecType::Calculated, now);
        id
    }
}

/// How much a margin balance is worth against its maintenance margin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Solvency {
    Sound,
    /// Less than a quarter above it.
    Shaky,
    /// Below it.
    Broken,
}

fn solvency(balance: Amount, maintenance: Amount) -> Solvency {
    if balance < maintenance {
        Solvency::Broken
    } else if balance.0 < maintenance.0.saturating_add(maintenance.0 / 4) {
        Solvency::Shaky
    } else {
        Solvency::Sound
    }
}
