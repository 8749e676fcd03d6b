//! Conditional orders at the exchange: placed, triggered, cancelled, ended. A refusal changes nothing.
//!
//! Prices that may trigger are noted while the market moves and looked at in [`Exchange::on_time`]: an order never
//! appears in the middle of another one's match.

use market::{Amount, ExecType, Nanos, OrderType, Px, Qty, Side, SymbolId, TimeInForce};

use super::algo::{AlgoOrder, AlgoRef, AlgoStatus, PlaceAlgo};
use super::exchange::Exchange;
use super::ids::AccountId;
use super::listing::SymbolStatus;
use super::order::{Order, Origin, Output, PlaceOrder};
use super::reject::{self, Reject};
use super::terms::{AlgoKind, WorkingType};
use super::trading::is_client_id;

/// Conditional orders an account may have waiting.
const MAX_OPEN: usize = 200;
/// Ended conditional orders remembered per account.
const DONE_KEPT: usize = 5_000;
/// Largest distance of last and mark price at which a protected order triggers (`triggerProtect`), in 10⁻⁴.
const TRIGGER_PROTECT: i64 = 500;

impl Exchange {
    /// Places a conditional order.
    pub fn place_algo(
        &mut self,
        account: AccountId,
        ask: PlaceAlgo,
        now: Nanos,
    ) -> Result<AlgoOrder, Reject> {
        self.check_algo(account, &ask)?;
        let id = self.next_algo;
        self.next_algo += 1;
        let algo = AlgoOrder {
            id,
            account,
            client_id: ask.client_id.clone().unwrap_or_else(|| format!("algo-{id}")),
            best: self.price(ask.symbol, ask.working),
            ask,
            status: AlgoStatus::New,
            order: None,
            filled: Qty::ZERO,
            quote: Amount::ZERO,
            reason: String::new(),
            created: now,
            updated: now,
            triggered: Nanos(0),
        };
        self.accounts[account.0 as usize].open_algos.insert(id);
        self.algos.insert(id, algo.clone());
        self.out.push(Output::Algo(Box::new(algo.clone())));
        Ok(algo)
    }

    /// A conditional order, waiting or ended; by client id, waiting ones come before ended ones, newest first.
    pub fn find_algo(&self, account: AccountId, which: &AlgoRef) -> Option<&AlgoOrder> {
        let a = self.account(account);
        let found = match which {
            AlgoRef::Id(id) => self.algos.get(id),
            AlgoRef::Client(c) => {
                let ids = a.open_algos.iter().chain(a.done_algos.iter().rev());
                ids.filter_map(|id| self.algos.get(id)).find(|o| o.client_id == *c)
            }
        };
        found.filter(|o| o.account == account)
    }

    /// All conditional orders of an account that are remembered, oldest first.
    pub fn algos_of(&self, account: AccountId) -> impl Iterator<Item = &AlgoOrder> {
        self.algos.values().filter(move |o| o.account == account)
    }

    /// Cancels a waiting conditional order.
    pub fn cancel_algo(
        &mut self,
        account: AccountId,
        which: &AlgoRef,
        now: Nanos,
    ) -> Result<AlgoOrder, Reject> {
        let id = match self.find_algo(account, which) {
            Some(o) if o.is_open() => o.id,
            _ => return Err(reject::UNKNOWN_ORDER),
        };
        self.end_algo(id, AlgoStatus::Canceled, now);
        Ok(self.algos[&id].clone())
    }

    /// Cancels every waiting conditional order of an account on a symbol.
    pub fn cancel_all_algos(&mut self, account: AccountId, symbol: SymbolId, now: Nanos) {
        self.end_algos(account, |o| o.ask.symbol == symbol, AlgoStatus::Canceled, now);
    }

    /// Ends waiting conditional orders of an account.
    pub(super) fn end_algos(
        &mut self,
        account: AccountId,
        which: impl Fn(&AlgoOrder) -> bool,
        status: AlgoStatus,
        now: Nanos,
    ) {
        let ids: Vec<u64> = self.account(account).open_algos.iter().copied().collect();
        for id in ids {
            if which(&self.algos[&id]) {
                self.end_algo(id, status, now);
            }
        }
    }

    fn end_algo(&mut self, id: u64, status: AlgoStatus, now: Nanos) {
        self.close_algo(id);
        self.tell_algo(id, status, now);
    }

    /// Takes a conditional order from the waiting ones.
    fn close_algo(&mut self, id: u64) {
        let a = &mut self.accounts[self.algos[&id].account.0 as usize];
        a.open_algos.remove(&id);
        if a.done_algos.len() == DONE_KEPT
            && let Some(old) = a.done_algos.pop_front()
        {
            self.algos.remove(&old);
        }
        a.done_algos.push_back(id);
    }

    fn tell_algo(&mut self, id: u64, status: AlgoStatus, now: Nanos) {
        let Some(algo) = self.algos.get_mut(&id) else { return };
        algo.status = status;
        algo.updated = now;
        if status == AlgoStatus::Triggering {
            algo.triggered = now;
        }
        self.out.push(Output::Algo(Box::new(algo.clone())));
    }

    /// Notes a price that may trigger something.
    pub(super) fn note_price(&mut self, symbol: SymbolId, of: WorkingType, px: Amount) {
        if self.accounts.iter().any(|a| !a.open_algos.is_empty()) {
            self.noted.push((symbol, of, px));
        }
    }

    /// The present price of a kind: the mark where nothing has traded yet.
    fn price(&self, symbol: SymbolId, of: WorkingType) -> Amount {
        let last = self.last_px(symbol);
        match of {
            WorkingType::Contract if last.0 > 0 => self.listing(symbol).unit_price(last),
            _ => self.listing(symbol).mark.mark,
        }
    }

    /// Ends what has outlived its date, and triggers what the prices since the last call have met, in their order.
    pub(super) fn work_algos(&mut self, now: Nanos) {
        for account in self.account_ids() {
            let over = |o: &AlgoOrder| o.ask.good_till.is_some_and(|t| t <= now);
            self.end_algos(account, over, AlgoStatus::Expired, now);
        }
        for (symbol, of, px) in std::mem::take(&mut self.noted) {
            let waiting = self.accounts.iter().flat_map(|a| a.open_algos.iter().copied());
            let ids: Vec<u64> = waiting.filter(|id| self.algos[id].ask.symbol == symbol).collect();
            for id in ids {
                self.offer_price(id, of, px, now);
            }
        }
    }

    fn offer_price(&mut self, id: u64, of: WorkingType, px: Amount, now: Nanos) {
        // An earlier one may have ended this one.
        let Some(algo) = self.algos.get(&id).filter(|o| o.is_open() && o.ask.working == of) else { return };
        let listing = self.listing(algo.ask.symbol);
        let trigger = match algo.ask.trigger {
            Px(0) => px,
            trigger => listing.unit_price(trigger),
        };
        let apart = (self.price(algo.ask.symbol, WorkingType::Contract) - listing.mark.mark).abs();
        let limit = i128::from(listing.mark.mark.0) * i128::from(TRIGGER_PROTECT) / 10_000;
        let held_back = algo.ask.price_protect && i128::from(apart.0) > limit;
        let algo = self.algos.get_mut(&id).expect("just found");
        if algo.meets(px, trigger) && !held_back {
            self.trigger(id, now);
        }
    }

    /// A conditional order becomes an order.
    fn trigger(&mut self, id: u64, now: Nanos) {
        self.close_algo(id);
        self.tell_algo(id, AlgoStatus::Triggering, now);
        let Some(algo) = self.algos.get(&id).cloned() else { return };
        let account = algo.account;
        if let Err(refused) = self.order_of(&algo).and_then(|ask| self.place(account, ask, now)) {
            let algo = self.algos.get_mut(&id).expect("just found");
            algo.reason = refused.msg.into_owned();
            self.tell_algo(id, AlgoStatus::Rejected, now);
            let Some(algo) = self.algos.get(&id).cloned() else { return };
            self.out.push(Output::TriggerReject(Box::new(algo)));
        }
    }

    /// The order that a triggered conditional order asks for.
    fn order_of(&self, algo: &AlgoOrder) -> Result<PlaceOrder, Reject> {
        let ask = &algo.ask;
        let held = self.account(algo.account).position(ask.symbol, ask.position_side).qty.abs();
        let limit = ask.kind.is_limit();
        let px = match limit {
            true => self.matched_px(ask.symbol, ask.side, ask.price_match)?.unwrap_or(ask.px),
            false => Px::ZERO,
        };
        let hedge = self.account(algo.account).hedge;
        Ok(PlaceOrder {
            symbol: ask.symbol,
            client_id: Some(algo.client_id.clone()),
            side: ask.side,
            kind: if limit { OrderType::Limit } else { OrderType::Market },
            tif: if limit { ask.tif } else { TimeInForce::Gtc },
            px,
            qty: if ask.close_position { held } else { ask.qty },
            reduce_only: ask.reduce_only || (ask.close_position && !hedge),
            position_side: ask.position_side,
            self_trade: ask.self_trade,
            good_till: ask.good_till,
            price_match: ask.price_match,
            origin: Some(Origin {
                algo: algo.id,
                kind: ask.kind,
                trigger: ask.trigger,
                working: ask.working,
                close_position: ask.close_position,
                price_protect: ask.price_protect,
                callback: ask.callback,
            }),
        })
    }

    /// An order that came from a conditional one has reported something.
    pub(super) fn follow_origin(&mut self, order: &Order, exec: ExecType, now: Nanos) {
        let Some(origin) = &order.origin else { return };
        let Some(algo) = self.algos.get_mut(&origin.algo) else { return };
        (algo.filled, algo.quote) = (order.filled, order.quote);
        if exec == ExecType::New {
            algo.order = Some(order.id);
            self.tell_algo(origin.algo, AlgoStatus::Triggered, now);
        } else if !order.is_open() {
            self.tell_algo(origin.algo, AlgoStatus::Finished, now);
        }
    }

    fn check_algo(&self, account: AccountId, ask: &PlaceAlgo) -> Result<(), Reject> {
        let listing = self.listing(ask.symbol);
        match listing.status {
            SymbolStatus::Trading => {}
            SymbolStatus::Settling => return Err(reject::SYMBOL_STATUS),
            _ => return Err(reject::BAD_SYMBOL_STATUS),
        }
        self.check_leg(account, ask.position_side, ask.reduce_only)?;
        let a = self.account(account);
        let open = || a.open_algos.iter().map(|id| &self.algos[id]);
        if let Some(id) = &ask.client_id {
            if !is_client_id(id) {
                return Err(reject::BAD_CLIENT_ID);
            }
            if open().any(|o| o.client_id == *id) {
                return Err(reject::DUPLICATE_ID);
            }
        }
        if ask.close_position {
            let held = a.position(ask.symbol, ask.position_side).qty.0;
            if held == 0 || held.signum() == ask.side.sign() {
                return Err(reject::GTE_WITHOUT_POSITION);
            }
            let same = |o: &&AlgoOrder| {
                o.ask.close_position
                    && (o.ask.symbol, o.ask.side, o.ask.position_side)
                        == (ask.symbol, ask.side, ask.position_side)
                    && o.ask.kind.takes_profit() == ask.kind.takes_profit()
            };
            if open().any(|o| same(&o)) {
                return Err(reject::CLOSING_EXISTS);
            }
        } else {
            let kind = if ask.kind.is_limit() { OrderType::Limit } else { OrderType::Market };
            listing.check_qty(ask.qty, kind)?;
        }
        listing.check_stop_px(ask.trigger, ask.kind == AlgoKind::TrailingStopMarket)?;
        if ask.kind.is_limit() && !ask.price_match.is_some() {
            listing.check_px_range(ask.px)?;
        }
        if open().count() >= MAX_OPEN {
            return Err(reject::MAX_STOP_ORDERS);
        }
        self.check_not_met(ask)
    }

    /// −2021 for an order whose condition is met already.
    fn check_not_met(&self, ask: &PlaceAlgo) -> Result<(), Reject> {
        if ask.trigger == Px::ZERO {
            return Ok(());
        }
        let (px, trigger) =
            (self.price(ask.symbol, ask.working), self.listing(ask.symbol).unit_price(ask.trigger));
        // A trailing stop is activated from the side where a take-profit triggers.
        let falls_to = match ask.kind {
            AlgoKind::TrailingStopMarket => ask.side == Side::Buy,
            kind => (ask.side == Side::Buy) == kind.takes_profit(),
        };
        let met = if falls_to { px <= trigger } else { px >= trigger };
        if met { Err(reject::WOULD_TRIGGER) } else { Ok(()) }
    }
}
