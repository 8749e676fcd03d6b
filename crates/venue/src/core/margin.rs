//! Margin, leverage, margin and position modes, and what happens because time or the mark price moved.

use std::collections::BTreeSet;

use market::{Amount, ExecType, Nanos, OrderType, PositionSide, Side, SymbolId};

use super::account::Setting;
use super::exchange::Exchange;
use super::ids::AccountId;
use super::order::{ExpiryReason, Output, PlaceOrder};
use super::reject::{self, Reject};
use super::terms::WorkingType;

/// The totals of an account.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Margins {
    /// Wallet balance, what is set aside for isolated positions included.
    pub wallet: Amount,
    /// Wallet balance without that.
    pub cross_wallet: Amount,
    /// Unrealised profit at the mark.
    pub unrealised: Amount,
    /// Unrealised profit of the crossed positions.
    pub cross_unrealised: Amount,
    /// Initial margin of the positions.
    pub position: Amount,
    /// Initial margin of the crossed positions.
    pub cross_position: Amount,
    /// Initial margin of the open orders beyond that.
    pub orders: Amount,
    /// Maintenance margin.
    pub maintenance: Amount,
    /// Maintenance margin of the crossed positions.
    pub cross_maintenance: Amount,
}

impl Margins {
    /// Wallet and unrealised profit.
    pub fn balance(&self) -> Amount {
        self.wallet + self.unrealised
    }

    /// What new orders may use; never negative.
    pub fn available(&self) -> Amount {
        let crossed = self.cross_wallet + self.cross_unrealised;
        (crossed - self.cross_position - self.orders).max(Amount::ZERO)
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
        let mut m = Margins { wallet: a.wallet, cross_wallet: a.cross_wallet(), ..Margins::default() };
        for symbol in self.symbols_of(account) {
            let isolated = a.setting(symbol).isolated;
            let (position, orders) = self.initial_margin(account, symbol, None, None);
            m.position += position;
            m.orders += orders;
            if !isolated {
                m.cross_position += position;
            }
            for leg in [PositionSide::Both, PositionSide::Long, PositionSide::Short] {
                let p = a.position(symbol, leg);
                if p.qty.0 == 0 {
                    continue;
                }
                let listing = self.listing(symbol);
                let (unrealised, maintenance) =
                    (listing.unrealised(&p), listing.maintenance(listing.at_mark(p.qty)));
                m.unrealised += unrealised;
                m.maintenance += maintenance;
                if !isolated {
                    m.cross_unrealised += unrealised;
                    m.cross_maintenance += maintenance;
                }
            }
        }
        m
    }

    /// The mark price at which a position is liquidated, the others unchanged; `None` where there is none, or where no
    /// price does that.
    pub fn liquidation_price(&self, account: AccountId, symbol: SymbolId, leg: PositionSide) -> Option<f64> {
        let a = self.account(account);
        let (listing, p) = (self.listing(symbol), a.position(symbol, leg));
        if p.qty.0 == 0 {
            return None;
        }
        let notional = listing.at_mark(p.qty);
        // What the position may lose beyond its own maintenance margin.
        let money = if a.setting(symbol).isolated {
            p.isolated
        } else {
            let m = self.margins(account);
            m.cross_wallet + (m.cross_unrealised - listing.unrealised(&p))
                - (m.cross_maintenance - listing.maintenance(notional))
        };
        // money + q·P − cost = |q|·P·ratio − cum
        let (bracket, q) = (listing.bracket(notional), listing.instrument.qty_f64(p.qty));
        let slope = q - q.abs() * bracket.maint_bp as f64 / 10_000.0;
        let price = (p.cost - money - bracket.cum).to_f64() / slope;
        (price > 0.0 && price.is_finite()).then_some(price)
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
        let held = self.account(account).positions.iter().any(|((s, _), p)| *s == symbol && p.qty.0 != 0);
        if old.isolated && held && leverage < old.leverage {
            return Err(reject::ISOLATED_LEVERAGE);
        }
        let (position, orders) = self.initial_margin(account, symbol, None, None);
        let notional = (position + orders).0.saturating_mul(i64::from(old.leverage));
        if Amount(notional) > self.listing(symbol).max_notional(leverage) {
            return Err(reject::MAX_POSITION);
        }
        self.accounts[account.0 as usize].settings.insert(symbol, Setting { leverage, ..old });
        if leverage < old.leverage {
            let m = self.margins(account);
            if m.cross_position + m.orders > m.cross_wallet + m.cross_unrealised {
                self.accounts[account.0 as usize].settings.insert(symbol, old);
                return Err(reject::LEVERAGE_TOO_SMALL);
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
        now: Nanos,
    ) -> Result<(), Reject> {
        let a = self.account(account);
        let old = a.setting(symbol);
        if old.isolated == isolated {
            return Err(reject::SAME_MARGIN_TYPE);
        }
        if isolated && a.multi_assets {
            return Err(reject::ISOLATED_IN_MULTI_ASSETS);
        }
        let waits = a.open_algos.iter().any(|id| self.algos[id].ask.symbol == symbol);
        if waits || a.open.iter().any(|id| self.orders[id].symbol == symbol) {
            return Err(reject::MARGIN_TYPE_ORDERS);
        }
        if a.positions.iter().any(|((s, _), p)| *s == symbol && p.qty.0 != 0) {
            return Err(reject::MARGIN_TYPE_POSITION);
        }
        self.accounts[account.0 as usize].settings.insert(symbol, Setting { isolated, ..old });
        let legs: Vec<_> = legs(self.account(account).hedge).iter().map(|leg| (symbol, *leg)).collect();
        self.tell_account(account, "MARGIN_TYPE_CHANGE", Amount::ZERO, &legs, None, now);
        Ok(())
    }

    /// Changes the multi-assets mode. There is one asset, so it changes no margin; what it excludes is refused.
    pub fn set_multi_assets(&mut self, account: AccountId, on: bool, now: Nanos) -> Result<(), Reject> {
        let a = self.account(account);
        if a.multi_assets == on {
            return Err(reject::SAME_MULTI_ASSETS);
        }
        if on && a.settings.values().any(|s| s.isolated) {
            return Err(reject::MULTI_ASSETS_WITH_ISOLATED);
        }
        if !a.open.is_empty() || !a.open_algos.is_empty() {
            return Err(reject::MULTI_ASSETS_WITH_ORDERS);
        }
        self.accounts[account.0 as usize].multi_assets = on;
        self.out.push(Output::MultiAssets { account, on, at: now });
        Ok(())
    }

    /// Changes between one-way and hedge mode.
    pub fn set_hedge(&mut self, account: AccountId, hedge: bool) -> Result<(), Reject> {
        let a = self.account(account);
        if a.hedge == hedge {
            return Err(reject::SAME_POSITION_SIDE);
        }
        if !a.open.is_empty() || !a.open_algos.is_empty() {
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
        self.work_algos(now);
        for account in self.account_ids() {
            let a = &mut self.accounts[account.0 as usize];
            let due: Vec<SymbolId> =
                a.countdown.iter().filter(|(_, t)| **t <= now).map(|(s, _)| *s).collect();
            for symbol in due {
                let works = self.account(account).open.iter().any(|id| self.orders[id].symbol == symbol);
                let a = &mut self.accounts[account.0 as usize];
                a.countdown.remove(&symbol);
                a.countdowns += u64::from(works);
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
        let algos = self.accounts.iter().flat_map(|a| &a.open_algos);
        let dates = algos.filter_map(|id| self.algos[id].ask.good_till);
        if !self.noted.is_empty() {
            return Nanos(0);
        }
        timers.chain(ends).chain(dates).min().unwrap_or(Nanos(u64::MAX))
    }

    /// A new mark price; accounts that cannot bear it are liquidated.
    pub fn set_mark(&mut self, symbol: SymbolId, mark: Amount, index: Amount, now: Nanos) {
        let m = &mut self.listings[symbol.index()].mark;
        m.mark = mark;
        m.index = index;
        self.note_price(symbol, WorkingType::Mark, mark);
        for account in self.account_ids() {
            let holds = legs(true).iter().chain(legs(false));
            if holds.into_iter().any(|&leg| self.account(account).position(symbol, leg).qty.0 != 0) {
                self.check_solvency(account, now);
            }
        }
    }
}
