//! A harness for tests: a router, a clock, and the venue played by hand.
#![allow(dead_code)]

pub mod venue_model;

use std::collections::VecDeque;

use execution::*;
use market::*;

pub const SYM: SymbolId = SymbolId(0);
pub const T0: u64 = 1_700_000_000_000;

pub fn instruments() -> Vec<Instrument> {
    ["AAAUSDT", "BBBUSDT"]
        .iter()
        .enumerate()
        .map(|(k, name)| Instrument {
            min_notional: Amount(5 * Amount::ONE),
            multiplier_up: 1.05,
            multiplier_down: 0.95,
            max_orders: 200,
            ..Instrument::plain(SymbolId(k as u16), name, Increment::decimals(2), Increment::decimals(2))
        })
        .collect()
}

pub struct Harness {
    pub router: Router,
    pub out: Outbox,
    pub ms: u64,
    pub book: (i64, i64),
    pub requests: VecDeque<OrderRequest>,
    pub outcomes: VecDeque<Outcome>,
    pub denials: VecDeque<Denial>,
    pub alerts: Vec<Alert>,
    pub controls: Vec<Control>,
    pub tp: Option<NewOrder>,
    pub next_trade: u64,
}

impl Harness {
    pub fn new() -> Self {
        Self::with(RouterConfig::default())
    }

    pub fn with(cfg: RouterConfig) -> Self {
        let mut d = Self::cold(cfg);
        d.router.set_gate(d.now(), Gate::open(), &mut d.out);
        d.reconcile(&[], &[]);
        d.drain();
        d
    }

    /// Not connected, not reconciled.
    pub fn cold(cfg: RouterConfig) -> Self {
        Self {
            router: Router::new(cfg, instruments(), 7).expect("a config in order"),
            out: Outbox::new(),
            ms: T0,
            book: (0, 0),
            requests: VecDeque::new(),
            outcomes: VecDeque::new(),
            denials: VecDeque::new(),
            alerts: Vec::new(),
            controls: Vec::new(),
            tp: None,
            next_trade: 1,
        }
    }

    /// A harness that holds a position entered at 100.00, its take-profit order resting.
    pub fn holding(direction: i8, lots: i64) -> Self {
        let mut d = Self::new();
        d.bbo(10_000, 10_002);
        d.enter(direction, lots as f64 + 0.5, 0.9);
        let o = d.sent_new();
        let px = o.px.0;
        d.ack(&o);
        d.fill(&o, o.qty.0, o.qty.0, px, true);
        assert_eq!(o.qty.0, lots);
        assert!(matches!(d.outcome(), Outcome::Entered(_)));
        let tp = d.sent_new();
        d.ack(&tp);
        d.tp = Some(tp);
        d
    }

    pub fn now(&self) -> Nanos {
        Nanos::from_millis(self.ms)
    }

    pub fn drain(&mut self) {
        self.requests.extend(self.out.requests.drain(..));
        self.outcomes.extend(self.out.outcomes.drain(..));
        self.denials.extend(self.out.denials.drain(..));
        self.alerts.extend(self.out.alerts.drain(..));
        self.controls.extend(self.out.controls.drain(..));
    }

    /// Time passes, in ms, without timers.
    pub fn at(&mut self, later: u64) {
        self.ms += later;
    }

    /// Time passes, every due deadline is served.
    pub fn wait(&mut self, later: u64) {
        let end = self.ms + later;
        for _ in 0..10_000 {
            let due = self.router.next_deadline().map_or(u64::MAX, |t| t.0.div_ceil(1_000_000)).max(self.ms);
            if due > end {
                break;
            }
            self.ms = due;
            let before = (self.router.next_deadline(), self.out.requests.len());
            self.router.on_timer(self.now(), &mut self.out);
            self.drain();
            if due == end && self.router.next_deadline() == before.0 {
                break;
            }
        }
        self.ms = end;
    }

    /// Time passes while the book is told every 100 ms.
    pub fn wait_with_book(&mut self, later: u64) {
        for _ in 0..later / 100 {
            self.wait(100);
            self.bbo(self.book.0, self.book.1);
        }
        self.wait(later % 100);
    }

    pub fn bbo(&mut self, bid: i64, ask: i64) {
        self.book = (bid, ask);
        let level = |px| Level { px: Px(px), qty: Qty(1_000) };
        self.router.on_bbo(self.now(), SYM, level(bid), level(ask), &mut self.out);
        self.drain();
    }

    pub fn enter(&mut self, direction: i8, notional: f64, fill_probability: f64) {
        let mid = (self.book.0 + self.book.1) as f64 / 200.0;
        let e = EnterIntent {
            symbol: SYM,
            direction,
            notional,
            leverage: 1.0,
            capital: 25_000.0,
            decision_px: mid,
            tp_pct: 0.0095,
            fill_probability,
            ts_event: VenueTime(self.now()),
        };
        self.intent(Intent::Enter(e));
    }

    pub fn intent(&mut self, i: Intent) {
        self.router.on_intent(self.now(), &i, &mut self.out);
        self.drain();
    }

    pub fn signal(&mut self, holds: bool) {
        self.intent(Intent::EntrySignal { symbol: SYM, holds });
    }

    pub fn exit(&mut self, reason: ExitReason) {
        self.intent(Intent::Exit(ExitIntent { symbol: SYM, reason, ts_event: self.now() }));
    }

    pub fn report(&mut self, r: ExecutionReport) {
        self.router.on_report(self.now(), &r, &mut self.out);
        self.drain();
    }

    pub fn base(&self, o: &NewOrder) -> ExecutionReport {
        ExecutionReport {
            symbol: o.symbol,
            origin: OrderOrigin::Ours(o.client_order_id),
            order_id: 1_000
                + u64::from(o.client_order_id.intent) * 100
                + u64::from(o.client_order_id.attempt),
            exec_type: ExecType::New,
            status: OrderStatus::New,
            side: o.side,
            px: o.px,
            qty: o.qty,
            last_px: Px::ZERO,
            last_qty: Qty::ZERO,
            cum_qty: Qty::ZERO,
            leaves_qty: o.qty,
            trade_id: 0,
            commission: Amount::ZERO,
            realised: Amount::ZERO,
            maker: false,
            reduce_only: o.reduce_only,
            code: 0,
            ts_event: self.now(),
        }
    }

    pub fn ack(&mut self, o: &NewOrder) {
        let r = self.base(o);
        self.report(r);
    }

    pub fn fill(&mut self, o: &NewOrder, last: i64, cum: i64, px: i64, maker: bool) -> ExecutionReport {
        let status = if cum == o.qty.0 { OrderStatus::Filled } else { OrderStatus::PartiallyFilled };
        let r = ExecutionReport {
            exec_type: ExecType::Trade,
            status,
            last_px: Px(px),
            last_qty: Qty(last),
            cum_qty: Qty(cum),
            trade_id: self.next_trade,
            maker,
            ..self.base(o)
        };
        self.next_trade += 1;
        self.report(r);
        r
    }

    pub fn canceled(&mut self, o: &NewOrder, cum: i64) {
        let r = ExecutionReport {
            exec_type: ExecType::Canceled,
            status: OrderStatus::Canceled,
            cum_qty: Qty(cum),
            ..self.base(o)
        };
        self.report(r);
    }

    pub fn says(&mut self, o: &NewOrder, exec_type: ExecType, status: OrderStatus, cum: i64, code: i32) {
        let r = ExecutionReport { exec_type, status, cum_qty: Qty(cum), code, ..self.base(o) };
        self.report(r);
    }

    pub fn reconcile(&mut self, orders: &[ExecutionReport], positions: &[VenuePosition]) -> Reconciliation {
        let venue = VenueState { orders, positions, ..self.venue_state() };
        let found = self.router.reconcile(self.now(), &venue, &mut self.out);
        self.drain();
        found
    }

    /// A flat account with 25 000 in it, requested at the present moment.
    pub fn venue_state(&self) -> VenueState<'static> {
        VenueState {
            requested_at: self.now(),
            orders: &[],
            positions: &[],
            fills: &[],
            wallet: Amount(25_000 * Amount::ONE),
            margin: Some(Margin { available: Amount(20_000 * Amount::ONE), maintenance: Amount::ZERO }),
            transfers: None,
            unlisted: Some(&[]),
        }
    }

    pub fn sent_new(&mut self) -> NewOrder {
        match self.requests.pop_front() {
            Some(OrderRequest::New(o)) => o,
            other => panic!("expected a new order, got {other:?}; denials {:?}", self.denials),
        }
    }

    pub fn sent_cancel(&mut self) -> ClientOrderId {
        match self.requests.pop_front() {
            Some(OrderRequest::Cancel(c)) => c.client_order_id,
            other => panic!("expected a cancel, got {other:?}"),
        }
    }

    pub fn sent_query(&mut self) -> ClientOrderId {
        match self.requests.pop_front() {
            Some(OrderRequest::Query(c)) => c.client_order_id,
            other => panic!("expected a query, got {other:?}"),
        }
    }

    pub fn nothing_sent(&self) -> bool {
        self.requests.is_empty()
    }

    pub fn outcome(&mut self) -> Outcome {
        self.outcomes.pop_front().expect("an outcome")
    }

    pub fn alerted(&self, kind: AlertKind) -> bool {
        self.alerts.iter().any(|a| a.kind == kind)
    }
}
