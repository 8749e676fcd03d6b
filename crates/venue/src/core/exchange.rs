//! What the exchange holds, the played market, fills and the ends of orders.

use std::collections::{BTreeMap, VecDeque};

use market::{Amount, ExecType, Level, Nanos, OrderStatus, PositionSide, Px, Qty, Side, SymbolId};

use super::account::Account;
use super::algo::{AlgoOrder, AlgoStatus};
use super::commission::Commission;
use super::ids::AccountId;
use super::ladder::Ladder;
use super::listing::Listing;
use super::order::{Amendment, ExpiryReason, Fill, Funding, Order, OrderRef, OrderReport, Output};
use super::reject::{self, Reject};
use super::terms::WorkingType;

/// Edits kept.
const AMENDMENTS_KEPT: usize = 10_000;
/// What the insurance fund has at the opening, in the quote asset.
const INSURANCE: i64 = 10_000_000;
/// Finished orders kept per account.
const DONE_KEPT: usize = 20_000;

/// The exchange.
#[derive(Debug)]
pub struct Exchange {
    pub(super) listings: Vec<Listing>,
    pub(super) ladders: Vec<Ladder>,
    pub(super) last_px: Vec<Px>,
    pub(super) accounts: Vec<Account>,
    pub(super) orders: BTreeMap<u64, Order>,
    pub(super) algos: BTreeMap<u64, AlgoOrder>,
    pub(super) next_algo: u64,
    /// Prices that may trigger conditional orders, since they were looked at last.
    pub(super) noted: Vec<(SymbolId, WorkingType, Amount)>,
    pub(super) commission: Commission,
    pub(super) next_order: u64,
    /// Time of the last fill.
    matched: Nanos,
    pub(super) next_trade: Vec<u64>,
    pub(super) amendments: VecDeque<Amendment>,
    pub(super) next_amendment: u64,
    /// Fundings of each symbol, oldest first.
    pub(super) fundings: Vec<VecDeque<Funding>>,
    /// The insurance fund.
    pub(super) insurance: Amount,
    pub(super) out: Vec<Output>,
}

impl Exchange {
    /// An exchange with these instruments (their ids are their places in the table) and accounts.
    pub fn new(listings: Vec<Listing>, accounts: Vec<Account>, commission: Commission) -> Self {
        let n = listings.len();
        Self {
            ladders: (0..n).map(|_| Ladder::default()).collect(),
            last_px: vec![Px::ZERO; n],
            next_trade: (0..n as u64).map(|i| 1_000_000_000 + i * 10_000_019).collect(),
            listings,
            accounts,
            orders: BTreeMap::new(),
            algos: BTreeMap::new(),
            next_algo: 3_000_000_000_000_001,
            noted: Vec::new(),
            commission,
            next_order: 8_000_000_000,
            matched: Nanos(0),
            amendments: VecDeque::new(),
            next_amendment: 1,
            fundings: vec![VecDeque::new(); n],
            insurance: Amount(INSURANCE * Amount::ONE),
            out: Vec::new(),
        }
    }

    /// The instruments.
    pub fn listings(&self) -> &[Listing] {
        &self.listings
    }

    /// An instrument.
    pub fn listing(&self, symbol: SymbolId) -> &Listing {
        &self.listings[symbol.index()]
    }

    /// To change an instrument's filters, status or mark price.
    pub fn listing_mut(&mut self, symbol: SymbolId) -> &mut Listing {
        &mut self.listings[symbol.index()]
    }

    /// The book of an instrument.
    pub fn ladder(&self, symbol: SymbolId) -> &Ladder {
        &self.ladders[symbol.index()]
    }

    /// Takes the published changes of a book: see [`Ladder::take_changes`].
    pub fn take_book_changes(&mut self, symbol: SymbolId, each: impl FnMut(Side, Level)) -> bool {
        self.ladders[symbol.index()].take_changes(each)
    }

    /// Price of the last trade (0: none yet).
    pub fn last_px(&self, symbol: SymbolId) -> Px {
        self.last_px[symbol.index()]
    }

    /// The next trade's id will be above this.
    pub fn last_trade_id(&self, symbol: SymbolId) -> u64 {
        self.next_trade[symbol.index()] - 1
    }

    /// An account.
    pub fn account(&self, id: AccountId) -> &Account {
        &self.accounts[id.0 as usize]
    }

    /// To change an account's settings from outside (an operator's hand).
    pub fn account_mut(&mut self, id: AccountId) -> &mut Account {
        &mut self.accounts[id.0 as usize]
    }

    /// All accounts.
    pub fn account_ids(&self) -> impl Iterator<Item = AccountId> + use<> {
        (0..self.accounts.len()).map(|i| AccountId(u16::try_from(i).expect("few accounts")))
    }

    /// Changes the commission rates of fills to come.
    pub fn set_commission(&mut self, commission: Commission) {
        self.commission = commission;
    }

    /// What is in the insurance fund.
    pub fn insurance(&self) -> Amount {
        self.insurance
    }

    /// Fundings of a symbol that are remembered, oldest first.
    pub fn fundings(&self, symbol: SymbolId) -> impl Iterator<Item = &Funding> {
        self.fundings[symbol.index()].iter()
    }

    /// Positions in a symbol: the accounts', and those of others.
    pub fn open_interest(&self, symbol: SymbolId) -> Qty {
        let held = self.accounts.iter().flat_map(|a| &a.positions).filter(|((s, _), _)| *s == symbol);
        held.fold(self.listing(symbol).open_interest, |sum, (_, p)| sum + p.qty.abs())
    }

    /// Commission rates.
    pub fn commission(&self) -> Commission {
        self.commission
    }

    /// An order, open or finished.
    pub fn order(&self, id: u64) -> Option<&Order> {
        self.orders.get(&id)
    }

    /// The edits of an order that are remembered, newest first.
    pub fn amendments(&self, order: u64) -> impl Iterator<Item = &Amendment> {
        self.amendments.iter().rev().filter(move |a| a.order == order)
    }

    pub(super) fn note_amendment(&mut self, order: u64, px: (Px, Px), qty: (Qty, Qty), at: Nanos) {
        if self.amendments.len() == AMENDMENTS_KEPT {
            self.amendments.pop_front();
        }
        let id = self.next_amendment;
        self.next_amendment += 1;
        self.amendments.push_back(Amendment { id, order, px, qty, at });
    }

    /// What happened since the last call.
    pub fn drain(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.out)
    }

    /// Looks an order of an account up; by client id, open orders come before finished ones, newest first.
    pub fn find(&self, account: AccountId, symbol: SymbolId, which: &OrderRef) -> Option<&Order> {
        let a = self.account(account);
        let found = match which {
            OrderRef::Id(id) => self.orders.get(id),
            OrderRef::Client(c) => match a.by_client.get(c) {
                Some(id) => self.orders.get(id),
                None => a.done.iter().rev().filter_map(|id| self.orders.get(id)).find(|o| o.client_id == *c),
            },
        };
        found.filter(|o| o.account == account && o.symbol == symbol)
    }

    /// All orders of an account on a symbol that are remembered, oldest first.
    pub fn orders_of(&self, account: AccountId) -> impl Iterator<Item = &Order> {
        let a = self.account(account);
        let mut ids: Vec<u64> = a.done.iter().chain(a.open.iter()).copied().collect();
        ids.sort_unstable();
        ids.into_iter().filter_map(|id| self.orders.get(&id))
    }

    /// The played market: absolute quantities of some levels of a side.
    pub fn play_levels(&mut self, symbol: SymbolId, bids: &[Level], asks: &[Level], now: Nanos) {
        let ladder = &mut self.ladders[symbol.index()];
        for l in bids {
            ladder.set_played(Side::Buy, l.px, l.qty);
        }
        for l in asks {
            ladder.set_played(Side::Sell, l.px, l.qty);
        }
        self.uncross(symbol, now);
    }

    /// The played market's whole book: levels that are not named are gone.
    pub fn play_snapshot(&mut self, symbol: SymbolId, bids: &[Level], asks: &[Level], now: Nanos) {
        for (side, levels) in [(Side::Buy, bids), (Side::Sell, asks)] {
            let named: std::collections::BTreeSet<Px> = levels.iter().map(|l| l.px).collect();
            let ladder = &mut self.ladders[symbol.index()];
            for px in ladder.played_prices(side) {
                if !named.contains(&px) {
                    ladder.set_played(side, px, Qty::ZERO);
                }
            }
        }
        self.play_levels(symbol, bids, asks, now);
    }

    /// A trade of the played market: it fills our resting orders that stood before it, and is published.
    pub fn play_trade(&mut self, symbol: SymbolId, aggressor: Side, px: Px, qty: Qty, now: Nanos) {
        let mut left = qty;
        while left.0 > 0 {
            let (fill, used) = self.ladders[symbol.index()].trade_hits(aggressor, px, left);
            let Some(fill) = fill else { break };
            let queue = used - fill.qty;
            if queue.0 > 0 {
                self.publish_trade(symbol, px, queue, aggressor, now);
            }
            let trade = self.publish_trade(symbol, fill.px, fill.qty, aggressor, now);
            self.fill_resting(fill.order, fill.px, fill.qty, trade, now);
            left -= used;
        }
        if left.0 > 0 {
            self.publish_trade(symbol, px, left, aggressor, now);
        }
    }

    /// Our resting orders that the played book has crossed are filled at their own price.
    pub(super) fn uncross(&mut self, symbol: SymbolId, now: Nanos) {
        while let Some((fill, side, played_px)) = self.ladders[symbol.index()].crossed() {
            self.ladders[symbol.index()].consume(side, played_px, fill.qty);
            let trade = self.publish_trade(symbol, fill.px, fill.qty, side.opposite(), now);
            self.fill_resting(fill.order, fill.px, fill.qty, trade, now);
        }
    }

    /// Fills a resting order of ours at its own price, as a taker from outside would: at most `qty` of what is left
    /// (−2013 where nothing rests).
    pub fn fill_order(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        which: &OrderRef,
        qty: Qty,
        now: Nanos,
    ) -> Result<(), Reject> {
        let o = self.find(account, symbol, which).filter(|o| o.is_open()).ok_or(reject::NO_SUCH_ORDER)?;
        let (id, px, aggressor) = (o.id, o.px, o.side.opposite());
        let mut most = o.leaves();
        if o.closes {
            most = most.min(self.account(account).position(symbol, o.position_side).qty.abs());
        }
        let qty = Qty(qty.0.clamp(1, most.0.max(1)));
        let trade = self.publish_trade(symbol, px, qty, aggressor, now);
        self.fill_resting(id, px, qty, trade, now);
        Ok(())
    }

    /// Hides the played market's side of a book (a fault), or shows it again.
    pub fn hide_side(&mut self, symbol: SymbolId, side: Side, on: bool) {
        self.ladders[symbol.index()].hide(side, on);
    }

    pub(super) fn publish_trade(
        &mut self,
        symbol: SymbolId,
        px: Px,
        qty: Qty,
        aggressor: Side,
        at: Nanos,
    ) -> u64 {
        let id = self.next_trade[symbol.index()];
        self.next_trade[symbol.index()] += 1;
        self.last_px[symbol.index()] = px;
        let unit = self.listings[symbol.index()].unit_price(px);
        self.note_price(symbol, WorkingType::Contract, unit);
        self.out.push(Output::Trade { symbol, id, px, qty, aggressor, at });
        id
    }

    pub(super) fn fill_resting(&mut self, id: u64, px: Px, qty: Qty, trade: u64, now: Nanos) {
        let order = self.orders.get(&id).expect("a resting order is known");
        let (symbol, side, own_px) = (order.symbol, order.side, order.px);
        self.ladders[symbol.index()].reduce(side, own_px, id, qty);
        self.book_fill(id, px, qty, trade, true, ExecType::Trade, now);
    }

    /// Books one fill: order, position, wallet, history, events; then reduce-only orders follow the position.
    #[expect(
        clippy::too_many_arguments,
        reason = "the facts of a fill; a struct would be built and taken apart once"
    )]
    pub(super) fn book_fill(
        &mut self,
        id: u64,
        px: Px,
        qty: Qty,
        trade: u64,
        maker: bool,
        exec: ExecType,
        now: Nanos,
    ) {
        // Matches have times that only rise, wherever the venue's clock is set to.
        self.matched = self.matched.max(now);
        let now = self.matched;
        let order = self.orders.get_mut(&id).expect("a filled order is known");
        let (account, symbol, side, leg) = (order.account, order.symbol, order.side, order.position_side);
        let listing = &self.listings[symbol.index()];
        let quote = listing.notional(px, qty);
        order.filled += qty;
        order.quote += quote;
        order.updated = now;
        order.status = if order.leaves().0 == 0 { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        let rate = if maker { self.commission.maker } else { self.commission.taker };
        let commission = i128::from(quote.0) * i128::from(rate) / i128::from(Amount::ONE);
        let commission = Amount(i64::try_from(commission).expect("a rate below one"));

        let a = &mut self.accounts[account.0 as usize];
        let setting = a.setting(symbol);
        let position = a.positions.entry((symbol, leg.into())).or_default();
        let was_open = position.qty.0;
        let realised = position.book(side.sign() * qty.0, |q| listing.notional(px, Qty(q)));
        if was_open.signum() * side.sign() >= 0 {
            position.fees += commission;
        }
        if setting.isolated {
            let opened = if was_open.signum() * side.sign() >= 0 { qty.0 } else { qty.0 - was_open.abs() };
            let value = listing.notional(px, Qty(opened.max(0)));
            position.isolated.0 += value.0 / i64::from(setting.leverage.max(1));
        }
        position.updated = now;
        a.wallet = a.wallet + realised - commission;
        let fill = Fill {
            id: trade,
            symbol,
            order: id,
            side,
            position_side: leg,
            px,
            qty,
            quote,
            commission,
            realised,
            maker,
            at: now,
        };
        a.add_fill(fill);
        a.add_income("REALIZED_PNL", Some(symbol), realised, trade, now);
        a.add_income("COMMISSION", Some(symbol), -commission, trade, now);
        if self.orders[&id].status == OrderStatus::Filled {
            self.retire(id);
        }
        self.tell_account(account, "ORDER", Amount::ZERO, &[(symbol, leg)], None, now);
        self.report(id, exec, Some(fill), now);
        self.follow_position(account, symbol, leg, now);
    }

    /// Tells an account of its balance and of some positions.
    pub(super) fn tell_account(
        &mut self,
        account: AccountId,
        reason: &'static str,
        change: Amount,
        of: &[(SymbolId, PositionSide)],
        symbol: Option<SymbolId>,
        at: Nanos,
    ) {
        let a = &self.accounts[account.0 as usize];
        let positions = of.iter().map(|(s, leg)| a.row(&self.listings[s.index()], *leg)).collect();
        let (wallet, cross) = (a.wallet, a.cross_wallet());
        self.out.push(Output::Account { account, reason, wallet, cross, change, positions, symbol, at });
    }

    /// Reduce-only orders never exceed the position: shrink them, or expire them when nothing is left to reduce.
    pub(super) fn follow_position(
        &mut self,
        account: AccountId,
        symbol: SymbolId,
        leg: PositionSide,
        now: Nanos,
    ) {
        let held = self.account(account).position(symbol, leg).qty.0;
        let closing: Vec<u64> = (self.account(account).open.iter().copied())
            .filter(|id| {
                let o = &self.orders[id];
                o.closes && o.symbol == symbol && o.position_side == leg
            })
            .collect();
        for id in closing {
            let o = &self.orders[&id];
            let (side, px) = (o.side, o.px);
            if held == 0 || held.signum() == side.sign() {
                self.close_order(id, ExecType::Expired, ExpiryReason::ReduceOnly, now);
            } else {
                self.ladders[symbol.index()].shrink(side, px, id, Qty(held.abs()));
            }
        }
        if held == 0 {
            let closes =
                |o: &AlgoOrder| o.ask.close_position && o.ask.symbol == symbol && o.ask.position_side == leg;
            self.end_algos(account, closes, AlgoStatus::Expired, now);
        }
    }

    /// Takes an open order out of the book with a final status, and reports it.
    pub(super) fn close_order(&mut self, id: u64, exec: ExecType, reason: ExpiryReason, now: Nanos) {
        let order = self.orders.get_mut(&id).expect("an open order is known");
        order.status = if exec == ExecType::Canceled { OrderStatus::Canceled } else { OrderStatus::Expired };
        order.expiry = reason;
        order.updated = now;
        let (symbol, side, px) = (order.symbol, order.side, order.px);
        self.ladders[symbol.index()].remove(side, px, id);
        self.retire(id);
        self.report(id, exec, None, now);
    }

    /// Moves an order from the open ones to the finished ones.
    pub(super) fn retire(&mut self, id: u64) {
        let order = self.orders.get_mut(&id).expect("an order that ends is known");
        order.next_at_end = self.next_order;
        let a = &mut self.accounts[order.account.0 as usize];
        a.open.remove(&id);
        if a.by_client.get(&order.client_id) == Some(&id) {
            a.by_client.remove(&order.client_id);
        }
        if a.done.len() == DONE_KEPT
            && let Some(old) = a.done.pop_front()
        {
            self.orders.remove(&old);
        }
        a.done.push_back(id);
    }

    pub(super) fn report(&mut self, id: u64, exec: ExecType, fill: Option<Fill>, at: Nanos) {
        let order = self.orders[&id].clone();
        let told = order.origin.is_some().then(|| order.clone());
        let (bid_notional, ask_notional) = self.open_notional(order.account, order.symbol);
        self.out.push(Output::Order(Box::new(OrderReport {
            order,
            exec,
            fill,
            bid_notional,
            ask_notional,
            at,
        })));
        if let Some(order) = told {
            self.follow_origin(&order, exec, at);
        }
    }

    /// Value of an account's open buys and sells on a symbol.
    pub fn open_notional(&self, account: AccountId, symbol: SymbolId) -> (Amount, Amount) {
        let mut sums = (Amount::ZERO, Amount::ZERO);
        for id in &self.account(account).open {
            let o = &self.orders[id];
            if o.symbol == symbol {
                let value = self.listings[symbol.index()].notional(o.px, o.leaves());
                match o.side {
                    Side::Buy => sums.0 += value,
                    Side::Sell => sums.1 += value,
                }
            }
        }
        sums
    }
}
