//! Margin, leverage, position mode, funding, liquidation, and everything that happens because time passed.

use std::collections::BTreeSet;

use market::{
    Amount, ExecType, Nanos, OrderStatus, OrderType, PositionSide, Px, Qty, Side, SymbolId, TimeInForce,
};

use super::account::Setting;
use super::exchange::Exchange;
use super::ids::{AccountId, Leg};
use super::listing::SymbolStatus;
use super::order::{ExpiryReason, Order, Output, PlaceOrder, SelfTrade};
use super::reject::{self, Reject};

/// The totals of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Margins {
    /// Wallet balance.
    pub wallet: Amount,
    /// Unrealised profit at the mark.
    pub unrealised: Amount,
    /// Initial margin of the positions.
    pub position: Amount,
    /// Initial margin of the open orders beyond that.
    pub orders: Amount,
    /// Maintenance margin.
    pub maintenance: Amount,
}

impl Margins {
    /// Wallet and unrealised profit.
    pub fn balance(&self) -> Amount {
        self.wallet + self.unrealised
    }

    /// What new orders may use; never negative.
    pub fn available(&self) -> Amount {
        (self.balance() - self.position - self.orders).max(Amount::ZERO)
    }
}

/// The sides of an account's positions in its mode.
pub(crate) fn legs(hedge: bool) -> &'static [PositionSide] {
    if hedge { &[PositionSide::Long, PositionSide::Short] } else { &[PositionSide::Both] }
}

impl Exchange {
    /// Symbols on which an account has a position or an open order.
    pub fn symbols_of(&self, account: AccountId) -> BTreeSet<SymbolId> {
        let a = self.account(account);
        let held = a.positions.iter().filter(|(_, p)| p.qty.0 != 0).map(|((s, _), _)| *s);
        held.chain(a.open.iter().map(|id| self.orders[id].symbol)).collect()
    }

    /// Initial margin of an account on a symbol: for the position, and for the worse side of its open orders beyond
    /// it. `without` leaves an order out, `with` adds one.
    pub fn initial_margin(
        &self,
        account: AccountId,
        symbol: SymbolId,
        without: Option<u64>,
        with: Option<(Side, Amount)>,
    ) -> (Amount, Amount) {
        let a = self.account(account);
        let listing = self.listing(symbol);
        let held = |leg| listing.at_mark(a.position(symbol, leg).qty).0;
        let (both, long, short) =
            (held(PositionSide::Both), held(PositionSide::Long), held(PositionSide::Short));
        let (mut buys, mut sells) = (0i64, 0i64);
        let mut add = |side: Side, value: i64| match side {
            Side::Buy => buys = buys.saturating_add(value),
            Side::Sell => sells = sells.saturating_add(value),
        };
        for id in &a.open {
            let o = &self.orders[id];
            if o.symbol == symbol && !o.closes && Some(*id) != without {
                add(o.side, listing.notional(o.px, o.leaves()).0);
            }
        }
        if let Some((side, value)) = with {
            add(side, value.0);
        }
        let position = both.abs() + long.abs() + short.abs();
        let worst = if a.hedge {
            long.abs() + short.abs() + buys + sells
        } else {
            (both.saturating_add(buys)).abs().max((both - sells).abs()).max(both.abs())
        };
        let leverage = i64::from(a.setting(symbol).leverage.max(1));
        (Amount(position / leverage), Amount((worst - position).max(0) / leverage))
    }

    /// An account's totals.
    pub fn margins(&self, account: AccountId) -> Margins {
        let a = self.account(account);
        let mut m = Margins { wallet: a.wallet, ..Margins::default() };
        for symbol in self.symbols_of(account) {
            let (position, orders) = self.initial_margin(account, symbol, None, None);
            m.position += position;
            m.orders += orders;
            for leg in [PositionSide::Both, PositionSide::Long, PositionSide::Short] {
                let p = a.position(symbol, leg);
                if p.qty.0 != 0 {
                    m.unrealised += self.listing(symbol).unrealised(&p);
                    m.maintenance += self.listing(symbol).maintenance(self.listing(symbol).at_mark(p.qty));
                }
            }
        }
        m
    }

    pub(super) fn check_margin(&self, account: AccountId, ask: &PlaceOrder) -> Result<(), Reject> {
        self.check_margin_less(account, ask, None)
    }

    /// Is there margin for the order, `replaced` counted as gone? (−2019; −2027 beyond the leverage's bracket)
    pub(super) fn check_margin_less(
        &self,
        account: AccountId,
        ask: &PlaceOrder,
        replaced: Option<u64>,
    ) -> Result<(), Reject> {
        let listing = self.listing(ask.symbol);
        let value = match ask.kind {
            OrderType::Limit => listing.notional(ask.px, ask.qty),
            OrderType::Market => listing.at_mark(ask.qty),
        };
        let sum = |(p, o): (Amount, Amount)| p + o;
        let before = sum(self.initial_margin(account, ask.symbol, None, None));
        let after = sum(self.initial_margin(account, ask.symbol, replaced, Some((ask.side, value))));
        if after - before > self.margins(account).available() {
            return Err(reject::MARGIN);
        }
        let leverage = self.account(account).setting(ask.symbol).leverage;
        let notional = Amount(after.0.saturating_mul(i64::from(leverage)));
        if notional > listing.max_notional(leverage) {
            return Err(reject::MAX_POSITION);
        }
        Ok(())
    }

    /// Changes the initial leverage; returns the largest notional it allows.
    pub fn set_leverage(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        leverage: u32,
        now: Nanos,
    ) -> Result<Amount, Reject> {
        if leverage == 0 || leverage > self.listing(symbol).max_leverage() {
            return Err(Reject::text(-4028, format!("Leverage {leverage} is not valid")));
        }
        let old = self.account(account).setting(symbol);
        self.accounts[account.0 as usize].settings.insert(symbol, Setting { leverage, ..old });
        if leverage < old.leverage {
            let m = self.margins(account);
            if m.position + m.orders > m.balance() {
                self.accounts[account.0 as usize].settings.insert(symbol, old);
                return Err(reject::MARGIN);
            }
        }
        if leverage != old.leverage {
            self.out.push(Output::Leverage { account, symbol, leverage, at: now });
        }
        Ok(self.listing(symbol).max_notional(leverage))
    }

    /// Changes the margin type of a symbol.
    pub fn set_isolated(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        isolated: bool,
    ) -> Result<(), Reject> {
        let a = self.account(account);
        let old = a.setting(symbol);
        if old.isolated == isolated {
            return Err(reject::SAME_MARGIN_TYPE);
        }
        if a.open.iter().any(|id| self.orders[id].symbol == symbol) {
            return Err(reject::MARGIN_TYPE_ORDERS);
        }
        if a.positions.iter().any(|((s, _), p)| *s == symbol && p.qty.0 != 0) {
            return Err(reject::MARGIN_TYPE_POSITION);
        }
        self.accounts[account.0 as usize].settings.insert(symbol, Setting { isolated, ..old });
        Ok(())
    }

    /// Changes between one-way and hedge mode.
    pub fn set_hedge(&mut self, account: AccountId, hedge: bool) -> Result<(), Reject> {
        let a = self.account(account);
        if a.hedge == hedge {
            return Err(reject::SAME_POSITION_SIDE);
        }
        if !a.open.is_empty() {
            return Err(reject::MODE_ORDERS);
        }
        if a.positions.values().any(|p| p.qty.0 != 0) {
            return Err(reject::MODE_POSITION);
        }
        self.accounts[account.0 as usize].hedge = hedge;
        Ok(())
    }

    /// Arms (or with 0 ms disarms) the dead man's switch of a symbol.
    pub fn set_countdown(&mut self, account: AccountId, symbol: SymbolId, ms: u64, now: Nanos) {
        let timers = &mut self.accounts[account.0 as usize].countdown;
        if ms == 0 {
            timers.remove(&symbol);
        } else {
            timers.insert(symbol, now.plus(ms.saturating_mul(Nanos::MS)));
        }
    }

    /// What is due by `now`: dead man's switches, good-till-date orders.
    pub fn on_time(&mut self, now: Nanos) {
        for account in self.account_ids() {
            let a = &mut self.accounts[account.0 as usize];
            let due: Vec<SymbolId> =
                a.countdown.iter().filter(|(_, t)| **t <= now).map(|(s, _)| *s).collect();
            for symbol in due {
                self.accounts[account.0 as usize].countdown.remove(&symbol);
                self.cancel_all(account, symbol, now);
            }
            let expired: Vec<u64> = (self.account(account).open.iter().copied())
                .filter(|id| self.orders[id].good_till.is_some_and(|t| t <= now))
                .collect();
            for id in expired {
                self.close_order(id, ExecType::Expired, ExpiryReason::Gtd, now);
            }
        }
    }

    /// When [`Self::on_time`] has something to do next.
    pub fn due(&self) -> Nanos {
        let timers = self.accounts.iter().flat_map(|a| a.countdown.values().copied());
        let ends = (self.accounts.iter().flat_map(|a| &a.open)).filter_map(|id| self.orders[id].good_till);
        timers.chain(ends).min().unwrap_or(Nanos(u64::MAX))
    }

    /// A new mark price; accounts that cannot bear it are liquidated.
    pub fn set_mark(&mut self, symbol: SymbolId, mark: Amount, index: Amount, now: Nanos) {
        let m = &mut self.listings[symbol.index()].mark;
        m.mark = mark;
        m.index = index;
        for account in self.account_ids() {
            let holds = legs(true).iter().chain(legs(false));
            if holds.into_iter().any(|&leg| self.account(account).position(symbol, leg).qty.0 != 0) {
                self.check_solvency(account, now);
            }
        }
    }

    fn check_solvency(&mut self, account: AccountId, now: Nanos) {
        let m = self.margins(account);
        if m.balance() < m.maintenance {
            self.liquidate(account, now);
        } else if m.balance().0 < m.maintenance.0 + m.maintenance.0 / 4 {
            if !std::mem::replace(&mut self.accounts[account.0 as usize].margin_called, true) {
                let a = self.account(account);
                let held = a.positions.iter().filter(|(_, p)| p.qty.0 != 0);
                let positions = held
                    .map(|((s, leg), p)| {
                        let l = self.listing(*s);
                        (a.row(l, (*leg).into()), l.maintenance(l.at_mark(p.qty)))
                    })
                    .collect();
                self.out.push(Output::MarginCall { account, wallet: a.wallet, positions, at: now });
            }
        } else {
            self.accounts[account.0 as usize].margin_called = false;
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
        for (symbol, leg, qty) in self.held(account, None) {
            let id = self.close_by_venue(account, symbol, leg.into(), qty, "autoclose-", now);
            self.out.push(Output::Liquidation(Box::new(self.orders[&id].clone())));
        }
        let a = &mut self.accounts[account.0 as usize];
        if a.wallet.0 < 0 {
            let debt = -a.wallet;
            a.wallet = Amount::ZERO;
            a.add_income("INSURANCE_CLEAR", None, debt, 0, now);
            let wallet = a.wallet;
            let reason = "INSURANCE_CLEAR";
            self.out.push(Output::Account {
                account,
                reason,
                wallet,
                change: debt,
                positions: vec![],
                symbol: None,
                at: now,
            });
        }
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
            status: OrderStatus::New,
            expiry: ExpiryReason::None,
            edits: 0,
            created: now,
            updated: now,
        };
        self.accounts[account.0 as usize].open.insert(id);
        self.orders.insert(id, order);
        let trade = self.next_trade[symbol.index()];
        self.next_trade[symbol.index()] += 1;
        self.book_fill(id, px, held.abs(), trade, false, ExecType::Calculated, now);
        id
    }

    /// Charges funding on a symbol: longs pay shorts while the rate is positive.
    pub fn fund(&mut self, symbol: SymbolId, now: Nanos) {
        let rate = self.listing(symbol).mark.funding_rate;
        for account in self.account_ids() {
            let mut total = 0;
            for leg in [PositionSide::Both, PositionSide::Long, PositionSide::Short] {
                let value = self.listing(symbol).at_mark(self.account(account).position(symbol, leg).qty);
                let fee = i128::from(value.0) * i128::from(rate) / i128::from(Amount::ONE);
                total -= i64::try_from(fee).expect("a rate below one");
            }
            if total == 0 {
                continue;
            }
            let a = &mut self.accounts[account.0 as usize];
            a.wallet.0 += total;
            a.add_income("FUNDING_FEE", Some(symbol), Amount(total), 0, now);
            let (wallet, change) = (a.wallet, Amount(total));
            let reason = "FUNDING_FEE";
            self.out.push(Output::Account {
                account,
                reason,
                wallet,
                change,
                positions: vec![],
                symbol: Some(symbol),
                at: now,
            });
        }
    }

    /// Adds to (or takes from) an account's wallet.
    pub fn transfer(&mut self, account: AccountId, amount: Amount, now: Nanos) {
        let a = &mut self.accounts[account.0 as usize];
        a.wallet += amount;
        a.add_income("TRANSFER", None, amount, 0, now);
        let wallet = a.wallet;
        let reason = if amount.0 < 0 { "WITHDRAW" } else { "DEPOSIT" };
        self.out.push(Output::Account {
            account,
            reason,
            wallet,
            change: amount,
            positions: vec![],
            symbol: None,
            at: now,
        });
    }
}
