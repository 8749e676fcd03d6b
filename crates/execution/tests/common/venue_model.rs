//! A small hostile venue: a matching model that knows the truth, and a wire that delays, drops, doubles and reorders.

use std::collections::BTreeMap;

use execution::*;
use market::*;

/// xorshift64*: enough for a test, the same everywhere.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
    /// True `per_mille` times in a thousand.
    pub fn chance(&mut self, per_mille: u64) -> bool {
        self.below(1_000) < per_mille
    }
}

/// How hostile, per mille.
#[derive(Debug, Clone, Copy)]
pub struct Faults {
    /// A request never arrives.
    pub lose_request: u64,
    /// A report (or answer) never arrives.
    pub lose_report: u64,
    /// A report arrives twice.
    pub double_report: u64,
    /// A message is late (up to two seconds; others up to 30 ms).
    pub delay: u64,
    /// An order is refused for no good reason.
    pub refuse: u64,
    /// The gateway says "unknown" although it does not know better (executed or not).
    pub unknown: u64,
    /// The cancel report tells less than was filled; the fill comes later.
    pub late_fill: u64,
    /// Per step: a fill that is not ours.
    pub foreign: u64,
    /// Per step: the connection breaks for a while.
    pub disconnect: u64,
    /// Per step: a transfer to or from the account.
    pub transfer: u64,
    /// Per step: funding is paid or received.
    pub funding: u64,
}

impl Faults {
    pub const NONE: Self = Self {
        lose_request: 0,
        lose_report: 0,
        double_report: 0,
        delay: 0,
        refuse: 0,
        unknown: 0,
        late_fill: 0,
        foreign: 0,
        disconnect: 0,
        transfer: 0,
        funding: 0,
    };
}

#[derive(Debug, Clone, Copy)]
pub struct ModelOrder {
    pub new: NewOrder,
    pub order_id: u64,
    pub status: OrderStatus,
    pub cum: i64,
}

impl ModelOrder {
    fn live(&self) -> bool {
        !self.status.is_done()
    }
}

/// What is on the wire.
#[derive(Debug, Clone)]
pub enum Message {
    Request {
        sent: u64,
        request: OrderRequest,
    },
    Report(ExecutionReport),
    /// Orders, positions and balance as they were at `requested_at`; fills and transfers are read when it is answered.
    Snapshot {
        requested_at: Nanos,
        orders: Vec<ExecutionReport>,
        positions: Vec<VenuePosition>,
        wallet: Amount,
    },
    Income {
        change: Amount,
        is_profit: bool,
    },
}

pub struct Venue {
    pub rng: Rng,
    pub faults: Faults,
    pub orders: BTreeMap<ClientOrderId, ModelOrder>,
    pub position: i64,
    /// Σ −side·px·qty of all fills, ticks × lots.
    pub cash: i128,
    /// Cost of the position, ticks × lots, by its average price.
    cost: i128,
    /// Units of 10⁻⁸.
    pub wallet: i64,
    pub commissions: i64,
    pub funding: i64,
    pub transferred: i64,
    /// Every fill as the venue lists it: without a client order id.
    pub fills: Vec<ExecutionReport>,
    pub transfers: Vec<Transfer>,
    pub bid: i64,
    pub ask: i64,
    pub now: u64,
    pub wire: Vec<(u64, Message)>,
    pub connected: bool,
    pub lost_fill_reports: bool,
    /// The first balance was told: what the account had before it is no profit of the day.
    pub begun: bool,
    next_id: u64,
    next_trade: u64,
}

pub const RECV_WINDOW: u64 = 5_000;
/// What the account begins with.
pub const WALLET: i64 = 25_000 * Amount::ONE;
/// One tick × lot of the test instruments in units of 10⁻⁸.
pub const TICK_LOT: i64 = 10_000;
const QUERY_TIMEOUT: u64 = 2_000;

impl Venue {
    pub fn new(seed: u64, faults: Faults) -> Self {
        Self {
            rng: Rng::new(seed),
            faults,
            orders: BTreeMap::new(),
            position: 0,
            cash: 0,
            cost: 0,
            wallet: WALLET,
            commissions: 0,
            funding: 0,
            transferred: 0,
            fills: Vec::new(),
            transfers: Vec::new(),
            bid: 10_000,
            ask: 10_002,
            now: 0,
            wire: Vec::new(),
            connected: true,
            lost_fill_reports: false,
            begun: false,
            next_id: 1,
            next_trade: 1,
        }
    }

    fn latency(&mut self) -> u64 {
        if self.rng.chance(self.faults.delay) { self.rng.below(2_500) } else { self.rng.below(30) }
    }

    pub fn send(&mut self, request: OrderRequest) {
        if !self.connected || self.rng.chance(self.faults.lose_request) {
            return;
        }
        let at = self.now + self.latency();
        if let OrderRequest::New(o) = request
            && self.rng.chance(self.faults.unknown)
        {
            let r = ExecutionReport {
                code: -1007,
                ..self.about(&o, 0, ExecType::Unknown, OrderStatus::Unknown, 0)
            };
            let at = self.now + self.latency();
            self.wire.push((at, Message::Report(r)));
        }
        self.wire.push((at, Message::Request { sent: self.now, request }));
    }

    fn report(&mut self, r: ExecutionReport) {
        let fill = r.trade_id != 0;
        if !self.connected || self.rng.chance(self.faults.lose_report) {
            self.lost_fill_reports |= fill;
            return;
        }
        let copies = 1 + u64::from(self.rng.chance(self.faults.double_report));
        for _ in 0..copies {
            let at = self.now + self.latency();
            self.wire.push((at, Message::Report(r)));
        }
    }

    fn about(
        &self,
        o: &NewOrder,
        order_id: u64,
        exec: ExecType,
        status: OrderStatus,
        cum: i64,
    ) -> ExecutionReport {
        ExecutionReport {
            symbol: o.symbol,
            origin: OrderOrigin::Ours(o.client_order_id),
            order_id,
            exec_type: exec,
            status,
            side: o.side,
            px: o.px,
            qty: o.qty,
            last_px: Px::ZERO,
            last_qty: Qty::ZERO,
            cum_qty: Qty(cum),
            leaves_qty: Qty(o.qty.0 - cum),
            trade_id: 0,
            commission: Amount::ZERO,
            realised: Amount::ZERO,
            maker: false,
            reduce_only: o.reduce_only,
            code: 0,
            ts_event: Nanos::from_millis(self.now),
        }
    }

    fn tell(&mut self, id: ClientOrderId, exec: ExecType, status: OrderStatus, code: i32) {
        let o = self.orders[&id];
        let mut cum = o.cum;
        if exec == ExecType::Canceled && self.rng.chance(self.faults.late_fill) {
            cum = 0;
        }
        let r = ExecutionReport { code, ..self.about(&o.new, o.order_id, exec, status, cum) };
        self.report(r);
    }

    /// A request arrives.
    pub fn arrive(&mut self, sent: u64, request: OrderRequest) {
        match request {
            OrderRequest::New(o) => self.place(sent, o),
            OrderRequest::Cancel(c) => self.cancel(c),
            OrderRequest::CancelAll(_) => {
                let live: Vec<_> = self.orders.iter().filter(|(_, o)| o.live()).map(|(id, _)| *id).collect();
                for id in live {
                    self.end(id, OrderStatus::Canceled, ExecType::Canceled);
                }
            }
            OrderRequest::Query(c) => self.query(sent, c),
            OrderRequest::Replace(_) => panic!("the router does not modify orders"),
        }
    }

    fn place(&mut self, sent: u64, o: NewOrder) {
        assert!(!self.orders.contains_key(&o.client_order_id), "id {} was used before", o.client_order_id);
        assert!(o.qty.0 > 0);
        let refuse = |v: &mut Self, code| {
            let r = ExecutionReport { code, ..v.about(&o, 0, ExecType::Rejected, OrderStatus::Rejected, 0) };
            v.report(r);
        };
        let takes = match o.side {
            Side::Buy => o.px.0 >= self.ask,
            Side::Sell => o.px.0 <= self.bid,
        };
        assert!(o.recv_window_ms > 0 && u64::from(o.recv_window_ms) <= RECV_WINDOW, "{o:?}");
        if self.now - sent > u64::from(o.recv_window_ms) {
            return refuse(self, -1021);
        } else if self.rng.chance(self.faults.refuse) {
            let code = [-2010, -1008, -1021, -2019][self.rng.below(4) as usize];
            return refuse(self, code);
        } else if o.order_type == OrderType::Limit && o.tif == TimeInForce::Gtx && takes {
            return refuse(self, -5022);
        } else if o.reduce_only && self.position * o.side.sign() >= 0 {
            return refuse(self, -2022);
        }
        let twin = self
            .orders
            .values()
            .find(|w| w.live() && w.new.client_order_id.intent == o.client_order_id.intent);
        assert!(twin.is_none(), "two live orders of one intent: {twin:?} and {o:?}");
        self.next_id += 1;
        let order = ModelOrder { new: o, order_id: self.next_id, status: OrderStatus::New, cum: 0 };
        self.orders.insert(o.client_order_id, order);
        self.tell(o.client_order_id, ExecType::New, OrderStatus::New, 0);
        let market = o.order_type == OrderType::Market;
        if market || o.tif == TimeInForce::Ioc {
            if market || takes {
                let px = if o.side == Side::Buy { self.ask } else { self.bid };
                let most =
                    if self.rng.chance(300) { 1 + self.rng.below(o.qty.0 as u64) as i64 } else { o.qty.0 };
                let first = if most > 1 && self.rng.chance(500) { most / 2 } else { most };
                self.fill(o.client_order_id, first, px, false);
                self.fill(o.client_order_id, most - first, px, false);
            }
            if self.orders[&o.client_order_id].live() {
                self.end(o.client_order_id, OrderStatus::Expired, ExecType::Expired);
            }
        }
    }

    fn cancel(&mut self, c: CancelOrder) {
        let Some(o) = self.orders.get(&c.client_order_id).copied() else {
            let r = self.nowhere(c, ExecType::CancelRejected, -2011);
            return self.report(r);
        };
        if o.live() {
            self.end(c.client_order_id, OrderStatus::Canceled, ExecType::Canceled);
        } else {
            self.tell(c.client_order_id, ExecType::CancelRejected, OrderStatus::Unknown, -2011);
        }
    }

    fn nowhere(&self, c: CancelOrder, exec: ExecType, code: i32) -> ExecutionReport {
        let o = NewOrder {
            symbol: c.symbol,
            client_order_id: c.client_order_id,
            side: Side::Buy,
            order_type: OrderType::Limit,
            tif: TimeInForce::Gtc,
            px: Px::ZERO,
            qty: Qty::ZERO,
            reduce_only: false,
            position_side: PositionSide::Both,
            recv_window_ms: 5_000,
        };
        ExecutionReport { code, ..self.about(&o, 0, exec, OrderStatus::Unknown, 0) }
    }

    fn query(&mut self, sent: u64, c: CancelOrder) {
        let r = match self.orders.get(&c.client_order_id) {
            Some(o) => self.about(&o.new, o.order_id, ExecType::Status, o.status, o.cum),
            None => self.nowhere(c, ExecType::NotFound, -2013),
        };
        // The gateway gives a query up after its time-out: one answer by then, or none.
        let at = self.now + self.latency();
        if self.connected && !self.rng.chance(self.faults.lose_report) && at < sent + QUERY_TIMEOUT {
            self.wire.push((at, Message::Report(r)));
        }
    }

    fn end(&mut self, id: ClientOrderId, status: OrderStatus, exec: ExecType) {
        self.orders.get_mut(&id).expect("an order of the model").status = status;
        self.tell(id, exec, status, 0);
    }

    /// A fill, clipped as the venue clips it.
    pub fn fill(&mut self, id: ClientOrderId, qty: i64, px: i64, maker: bool) {
        let o = self.orders[&id];
        let sign = o.new.side.sign();
        let mut qty = qty.min(o.new.qty.0 - o.cum);
        if o.new.reduce_only {
            qty = qty.min((-self.position * sign).max(0));
        }
        if qty > 0 {
            let before = self.position;
            let commission = self.book(sign * qty, px, maker);
            // A cancel report that hides a fill, or a fill by hand, leaves a time in which nobody here could know.
            let knowable = self.faults.late_fill == 0 && self.faults.foreign == 0;
            let flipped = before.signum() * self.position.signum() < 0;
            assert!(!(flipped && knowable), "position flipped: {before} → {}", self.position);
            let w = self.orders.get_mut(&id).expect("an order of the model");
            w.cum += qty;
            w.status = if w.cum == w.new.qty.0 { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
            let w = *w;
            let r = ExecutionReport {
                last_px: Px(px),
                last_qty: Qty(qty),
                trade_id: self.next_trade,
                maker,
                commission,
                ..self.about(&w.new, w.order_id, ExecType::Trade, w.status, w.cum)
            };
            self.next_trade += 1;
            self.list(&r);
            self.report(r);
        }
        // Nothing left to reduce: the venue takes reduce-only orders down.
        if self.position == 0 {
            let live: Vec<_> = self
                .orders
                .iter()
                .filter(|(_, o)| o.live() && o.new.reduce_only)
                .map(|(id, _)| *id)
                .collect();
            for id in live {
                self.end(id, OrderStatus::Expired, ExecType::Expired);
            }
        }
    }

    /// Position, cost and wallet, by the average price; gives the commission.
    fn book(&mut self, lots: i64, px: i64, maker: bool) -> Amount {
        let (old, value) = (self.position, i128::from(px) * i128::from(lots));
        self.position += lots;
        self.cash -= value;
        let commission = px * lots.abs() * if maker { 2 } else { 5 };
        self.commissions += commission;
        self.wallet -= commission;
        if old == 0 || (old > 0) == (lots > 0) {
            self.cost += value;
            return Amount(commission);
        }
        let closing = if lots.abs() <= old.abs() { lots } else { -old };
        let out = self.cost * i128::from(-closing) / i128::from(old);
        let gain = -i128::from(px) * i128::from(closing) - out;
        self.cost += i128::from(px) * i128::from(lots - closing) - out;
        self.wallet += gain as i64 * TICK_LOT;
        Amount(commission)
    }

    fn list(&mut self, r: &ExecutionReport) {
        let row = ExecutionReport {
            origin: OrderOrigin::External,
            status: OrderStatus::Unknown,
            px: Px::ZERO,
            qty: Qty::ZERO,
            cum_qty: Qty::ZERO,
            ..*r
        };
        self.fills.push(row);
    }

    /// Fills of the last two minutes.
    pub fn listed(&self) -> Vec<ExecutionReport> {
        let since = Nanos::from_millis(self.now - 120_000);
        self.fills.iter().filter(|f| f.ts_event >= since).copied().collect()
    }

    /// Money that comes and goes by itself; the stream tells, or the report is lost.
    fn income(&mut self) {
        let (is_profit, often) =
            if self.rng.chance(500) { (true, self.faults.funding) } else { (false, self.faults.transfer) };
        if !self.rng.chance(often) || !self.begun {
            return;
        }
        let change = (self.rng.below(2_000) as i64 - 1_000) * Amount::ONE / if is_profit { 1_000 } else { 1 };
        self.wallet += change;
        if is_profit {
            self.funding += change;
        } else {
            self.transferred += change;
            let (id, at) = (self.transfers.len() as u64 + 1, VenueTime(Nanos::from_millis(self.now)));
            self.transfers.push(Transfer { id, at, amount: Amount(change) });
        }
        if self.connected && !self.rng.chance(self.faults.lose_report) {
            let at = self.now + self.latency();
            self.wire.push((at, Message::Income { change: Amount(change), is_profit }));
        }
    }

    /// The market moves; resting orders at or through the touch may fill.
    pub fn tick(&mut self) {
        let step = self.rng.below(5) as i64 - 2;
        let width = 1 + self.rng.below(8) as i64;
        self.bid = (self.bid + step).clamp(9_700, 10_300);
        self.ask = self.bid + width;
        let resting: Vec<_> = self.orders.values().filter(|o| o.live()).map(|o| (o.new, o.cum)).collect();
        for (o, cum) in resting {
            let through = if o.side == Side::Buy { o.px.0 >= self.ask } else { o.px.0 <= self.bid };
            let touch = if o.side == Side::Buy { o.px.0 >= self.bid } else { o.px.0 <= self.ask };
            if through {
                self.fill(o.client_order_id, o.qty.0 - cum, o.px.0, true);
            } else if touch && self.rng.chance(60) {
                let part = 1 + self.rng.below((o.qty.0 - cum).max(1) as u64) as i64;
                self.fill(o.client_order_id, part, o.px.0, true);
            }
        }
        self.income();
        if self.rng.chance(self.faults.foreign) && self.position != 0 {
            self.foreign_fill();
        }
    }

    /// Somebody reduces the position by hand.
    fn foreign_fill(&mut self) {
        let side = if self.position > 0 { Side::Sell } else { Side::Buy };
        let qty = 1 + self.rng.below(self.position.unsigned_abs()) as i64;
        let commission = self.book(side.sign() * qty, self.bid, false);
        let r = ExecutionReport {
            origin: OrderOrigin::External,
            side,
            last_px: Px(self.bid),
            last_qty: Qty(qty),
            trade_id: self.next_trade,
            commission,
            order_id: 1_000_000 + self.next_trade,
            ..self.nowhere(
                CancelOrder {
                    symbol: SymbolId(0),
                    client_order_id: ClientOrderId { run: 0, intent: 0, attempt: 0 },
                },
                ExecType::Trade,
                0,
            )
        };
        let r = ExecutionReport { status: OrderStatus::Filled, qty: Qty(qty), cum_qty: Qty(qty), ..r };
        self.next_trade += 1;
        self.list(&r);
        self.report(r);
    }

    /// The answer to a reconciliation, as things are now.
    pub fn snapshot(&mut self) {
        if !self.connected {
            return;
        }
        let orders: Vec<_> = self
            .orders
            .values()
            .filter(|o| o.live())
            .map(|o| self.about(&o.new, o.order_id, ExecType::Status, o.status, o.cum))
            .collect();
        let qty = Qty(self.position);
        let positions = if qty.is_zero() {
            vec![]
        } else {
            let entry_px = (self.cost as f64 / self.position as f64).abs() * 0.01;
            vec![VenuePosition { symbol: SymbolId(0), qty, entry_px, liquidation_px: 0.0 }]
        };
        let at = self.now + self.latency();
        let requested_at = Nanos::from_millis(self.now);
        let wallet = Amount(self.wallet);
        self.wire.push((at, Message::Snapshot { requested_at, orders, positions, wallet }));
    }

    /// What arrives now, in the order of arrival.
    pub fn due(&mut self) -> Vec<Message> {
        let now = self.now;
        let mut due: Vec<_> = self.wire.iter().filter(|(at, _)| *at <= now).cloned().collect();
        self.wire.retain(|(at, _)| *at > now);
        due.sort_by_key(|(at, _)| *at);
        due.into_iter().map(|(_, m)| m).collect()
    }
}
