//! After warm-up nothing allocates from a frame in hand to the signed bytes of an order: decoder, books, features,
//! scanner, engine, router and gateway, fused on one thread as in the smallest layout. Four symbols wander for two
//! minutes of event time; the engine trades them, the reports of a venue that fills what rests at the touch come back
//! to the router, its outcomes to the engine.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use std::fmt::Write;

use alpha::eigen::Scanner;
use alpha::{Action, Booked, Booking, Engine, ObView, Params, TickInput};
use binance::Symbols;
use binance::decode::{Decoder, Frame};
use binance::gateway::{Gateway, GatewayConfig, Outgoing};
use binance::key::ApiKey;
use binance::sign::Signer;
use book::FeatureEngine;
use execution::{Outbox, RiskConfig, Router, RouterConfig, VenueState};
use market::{
    Amount, ExecType, ExecutionReport, Increment, Instrument, Intent, MarketEvent, Nanos, NewOrder,
    OrderOrigin, OrderRequest, OrderStatus, Outcome, Posture, Px, Qty, SymbolId,
};
use runtime::counting_alloc::{CountingAllocator, count};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

const NAMES: [&str; 4] = ["BTCUSDT", "ETHUSDT", "SOLUSDT", "XRPUSDT"];
/// Levels a side that the made-up books keep.
const DEEP: i64 = 10;
const START_MS: u64 = 1_767_225_600_000;
/// When funding comes: long after, because nothing is opened around it.
const FUNDING_MS: u64 = START_MS + 8 * 3_600_000;

fn instruments() -> Vec<Instrument> {
    let one = |(id, name): (u16, &&str)| Instrument {
        max_orders: 200,
        ..Instrument::plain(SymbolId(id), name, Increment::decimals(1), Increment::decimals(3))
    };
    (0..).zip(&NAMES).map(one).collect()
}

/// Frames of a market whose books move as a whole.
struct Market {
    state: u64,
    bids: [i64; 4],
    tick: u64,
}

impl Market {
    fn random(&mut self, below: i64) -> i64 {
        self.state =
            self.state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((self.state >> 33) % below as u64) as i64
    }

    fn level(px: i64, lots: i64) -> String {
        format!("[\"{}.{}0\",\"{}.{:03}\"]", px / 10, px % 10, lots / 1000, lots % 1000)
    }

    fn snapshot(&self, s: usize) -> String {
        let bid = self.bids[s];
        let side = |px: fn(i64, i64) -> i64, lots| {
            (0..DEEP).map(|i| Self::level(px(bid, i), lots)).collect::<Vec<_>>().join(",")
        };
        format!(
            r#"{{"lastUpdateId":1,"E":{START_MS},"bids":[{}],"asks":[{}]}}"#,
            side(|bid, i| bid - i, 1000),
            side(|bid, i| bid + 1 + i, 2000)
        )
    }

    /// The frames of the next 100 ms: of each symbol the new book, a trade that lifts the ask, the mark price.
    fn step(&mut self) -> Vec<String> {
        self.tick += 1;
        let (at, id, funding) = (START_MS + 100 * self.tick + 1, self.tick + 1, FUNDING_MS);
        let common = self.random(25) - 12;
        let mut frames = Vec::new();
        for (s, name) in NAMES.iter().enumerate() {
            let old = self.bids[s];
            let new = old + common + self.random(13) - 6;
            self.bids[s] = new;
            let (low, high) = (old.min(new) - DEEP, old.max(new) + DEEP + 1);
            let mut side = |is_bid: bool| {
                let levels = (low..=high).map(|px| {
                    let there =
                        if is_bid { px <= new && px > new - DEEP } else { px > new && px <= new + DEEP };
                    // More is offered than wanted, at every price.
                    let lots = if is_bid { 1000 } else { 2000 } + self.random(500);
                    Self::level(px, if there { lots } else { 0 })
                });
                levels.collect::<Vec<_>>().join(",")
            };
            let (b, a) = (side(true), side(false));
            frames.push(format!(
                r#"{{"stream":"{}@depth@100ms","data":{{"e":"depthUpdate","E":{at},"T":{at},"s":"{name}","U":{id},"u":{id},"pu":{},"b":[{b}],"a":[{a}],"st":1}}}}"#,
                name.to_lowercase(), id - 1,
            ));
            let px = format!("{}.{}", (new + 1) / 10, (new + 1) % 10);
            frames.push(format!(
                r#"{{"e":"aggTrade","E":{at},"a":{id},"s":"{name}","p":"{px}","q":"9.000","f":1,"l":1,"T":{at},"m":false,"st":1}}"#
            ));
            frames.push(format!(
                r#"{{"e":"markPriceUpdate","E":{at},"s":"{name}","p":"{px}","i":"{px}","r":"0.0001","T":{funding},"st":1}}"#
            ));
        }
        frames
    }
}

/// The stages' cores, fused.
struct Node {
    decoder: Decoder,
    features: FeatureEngine,
    scanner: Scanner,
    engine: Engine,
    router: Router,
    out: Outbox,
    gateway: Gateway,
    reply: String,
    /// Orders the venue holds.
    resting: Vec<NewOrder>,
    bid: [i64; 4],
    bar: u32,
    trade_id: u64,
    signed: u64,
    entered: u64,
    exited: u64,
}

impl Node {
    fn new() -> Self {
        let params = Params {
            profile: "test".to_owned(),
            vel_div_threshold: -1e-6,
            vel_div_extreme: -1e-2,
            vol_window_bars: 10,
            vol_p60: -1.0,
            warmup_bars: 0,
            lookback: 10,
            max_hold_bars: 20,
            min_irp_alignment: 0.2,
            dc_min_magnitude_bps: -1e6,
            ..Params::default()
        };
        let assets = NAMES.map(str::to_owned).to_vec();
        let mut engine = Engine::new(params, assets, 1).unwrap().with_booking(Booking::Venue);
        engine.begin_day("2026-01-01".parse().unwrap(), Posture::Apex, 1.0, -1).unwrap();
        // It trades more often than any champion: the limits on that, and on what it may lose, are off.
        let risk = RiskConfig {
            max_repeated_entries: 32,
            repeat_window_ms: 10_000,
            max_day_loss_usd: Some(0.0),
            max_day_drawdown: 0.0,
            max_symbol_loss_usd: Some(0.0),
            max_day_fees_usd: Some(0.0),
            max_slippage_bps: 1_000.0,
            ..RiskConfig::default()
        };
        let config = RouterConfig { reconcile_interval_ms: 600_000, risk, ..RouterConfig::default() };
        let mut router = Router::new(config, instruments(), 7).unwrap();
        let (mut out, now) = (Outbox::new(), Nanos::from_millis(START_MS));
        router.set_gate(now, execution::Gate::open(), &mut out);
        let wallet = Amount(25_000 * Amount::ONE);
        router.reconcile(
            now,
            &VenueState {
                requested_at: now,
                orders: &[],
                positions: &[],
                fills: &[],
                wallet,
                margin: Some(execution::Margin { available: wallet, maintenance: Amount::ZERO }),
                transfers: None,
                unlisted: None,
            },
            &mut out,
        );
        let signer = Signer::new(&ApiKey::hmac(&"K".repeat(64), &"S".repeat(64)).unwrap()).unwrap();
        Self {
            decoder: Decoder::new(&instruments()),
            features: FeatureEngine::new(&instruments(), Nanos::from_millis(100)),
            scanner: Scanner::new(NAMES.len(), 1).unwrap(),
            engine,
            router,
            out,
            gateway: Gateway::new(signer, Symbols::new(instruments()), GatewayConfig::default()).unwrap(),
            reply: String::with_capacity(1024),
            resting: Vec::with_capacity(256),
            bid: [0; 4],
            bar: 0,
            trade_id: 0,
            signed: 0,
            entered: 0,
            exited: 0,
        }
    }

    fn snapshot(&mut self, symbol: SymbolId, reply: &str) {
        let snapshot = self.decoder.decode_snapshot(symbol, reply.as_bytes()).unwrap();
        self.features.on_snapshot(&snapshot);
    }

    /// A frame, and everything that follows from it.
    fn frame(&mut self, frame: &str, now: Nanos) {
        let Self { decoder, features, scanner, engine, router, out, bid, bar, .. } = self;
        let Ok(Frame::Market(event)) = decoder.decode(frame.as_bytes()) else { panic!("{frame}") };
        let mut intent: Option<Intent> = None;
        features.on_event(&event, |sample| {
            let scan = scanner.step(sample.mids);
            let report = engine.step_bar(&TickInput {
                vel_div: scan.vel_div,
                v750_velocity: scan.velocity[3],
                instability_50: scan.instability_50,
                ob: Some(ObView { features: sample.features, cross: sample.cross }),
                ..TickInput::quiet(*bar, sample.ts, sample.mids)
            });
            *bar += 1;
            if let Action::Intent(i) = report.action {
                intent = Some(i);
            }
        });
        match event {
            MarketEvent::Depth(u) => {
                let book = features.book(u.symbol).unwrap();
                assert!(book.is_live());
                let (best_bid, best_ask) = (book.book().best_bid().unwrap(), book.book().best_ask().unwrap());
                bid[u.symbol.index()] = best_bid.px.0;
                router.on_bbo(now, u.symbol, best_bid, best_ask, out);
            }
            MarketEvent::Mark(m) => router.on_mark(now, &m),
            _ => {}
        }
        self.settle(now);
        if let Some(intent) = intent {
            self.router.on_intent(now, &intent, &mut self.out);
            self.settle(now);
        }
        if self.router.next_deadline().is_some_and(|due| due <= now) {
            self.router.on_timer(now, &mut self.out);
            self.settle(now);
        }
        self.fill(now);
    }

    /// Hands on what the router has put out, until it is quiet.
    fn settle(&mut self, now: Nanos) {
        while !self.out.requests.is_empty() || !self.out.outcomes.is_empty() {
            while let Some(outcome) = self.out.outcomes.pop() {
                self.outcome(&outcome, now);
            }
            while !self.out.requests.is_empty() {
                let request = self.out.requests.remove(0);
                let Ok(Outgoing::Frame(bytes)) = self.gateway.request(&request, 2_000, now) else {
                    panic!("{request:?}")
                };
                assert!(bytes.len() > 100);
                self.signed += 1;
                self.answer(now);
                self.venue(&request, now);
            }
        }
        self.out.controls.clear();
        self.out.alerts.clear();
        assert!(self.out.denials.is_empty(), "{:?}", self.out.denials);
    }

    /// The venue's reply to the request just signed. What it says of the order comes by [`Self::venue`].
    fn answer(&mut self, now: Nanos) {
        self.reply.clear();
        write!(self.reply, r#"{{"id":{},"status":200,"result":{{"orderId":1,"symbol":"BTCUSDT","status":"NEW","clientOrderId":"dlp-1-2-3","price":"1.0","origQty":"0.01","executedQty":"0","side":"SELL"}},"rateLimits":[]}}"#, self.signed).unwrap();
        self.gateway.on_frame(self.reply.as_bytes(), now, &mut |_| {}).unwrap();
        assert_eq!(self.gateway.in_flight(), 0);
    }

    fn outcome(&mut self, outcome: &Outcome, now: Nanos) {
        match self.engine.on_outcome(outcome).unwrap() {
            Booked::Entered { exit } => {
                self.entered += 1;
                if let Some(exit) = exit {
                    self.router.on_intent(now, &exit, &mut self.out);
                }
            }
            Booked::Exited => {
                self.exited += 1;
                while self.engine.take_trade().is_some() {}
            }
            Booked::Abandoned | Booked::Unplanned | Booked::Corrected { .. } => {}
        }
    }

    /// The venue takes every order and every cancel.
    fn venue(&mut self, request: &OrderRequest, now: Nanos) {
        match request {
            OrderRequest::New(order) => {
                self.resting.push(*order);
                self.report(&Self::said(order, ExecType::New, OrderStatus::New, now), now);
            }
            OrderRequest::Cancel(cancel) => {
                let at = self.resting.iter().position(|o| o.client_order_id == cancel.client_order_id);
                if let Some(at) = at {
                    let order = self.resting.swap_remove(at);
                    self.report(&Self::said(&order, ExecType::Canceled, OrderStatus::Canceled, now), now);
                }
            }
            other => panic!("{other:?}"),
        }
    }

    /// What is not far from the touch is filled.
    fn fill(&mut self, now: Nanos) {
        let near = |o: &NewOrder, bid: i64| o.px.is_zero() || (o.px.0 - bid).abs() * 300 < bid;
        while let Some(at) = self.resting.iter().position(|o| near(o, self.bid[o.symbol.index()])) {
            let order = self.resting.swap_remove(at);
            self.trade_id += 1;
            let px = if order.px.is_zero() { Px(self.bid[order.symbol.index()]) } else { order.px };
            let report = ExecutionReport {
                last_px: px,
                last_qty: order.qty,
                cum_qty: order.qty,
                leaves_qty: Qty::ZERO,
                trade_id: self.trade_id,
                maker: true,
                ..Self::said(&order, ExecType::Trade, OrderStatus::Filled, now)
            };
            self.report(&report, now);
            self.settle(now);
        }
    }

    fn report(&mut self, report: &ExecutionReport, now: Nanos) {
        self.router.on_report(now, report, &mut self.out);
    }

    fn said(o: &NewOrder, exec_type: ExecType, status: OrderStatus, now: Nanos) -> ExecutionReport {
        ExecutionReport {
            symbol: o.symbol,
            origin: OrderOrigin::Ours(o.client_order_id),
            order_id: 1000 + u64::from(o.client_order_id.intent) * 100 + u64::from(o.client_order_id.attempt),
            exec_type,
            status,
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
            ts_event: now,
        }
    }
}

#[test]
fn from_a_frame_to_a_signed_order_nothing_allocates() {
    let mut market = Market { state: 5, bids: [60_000, 50_000, 40_000, 55_000], tick: 0 };
    let mut node = Node::new();
    for s in 0..NAMES.len() {
        node.snapshot(SymbolId(s as u16), &market.snapshot(s));
    }
    let mut run = |node: &mut Node, ticks: usize| {
        let frames: Vec<Vec<String>> = (0..ticks).map(|_| market.step()).collect();
        let first = market.tick - ticks as u64 + 1;
        count(|| {
            for (tick, frames) in (first..).zip(&frames) {
                let now = Nanos::from_millis(START_MS + 100 * tick + 5);
                frames.iter().for_each(|frame| node.frame(frame, now));
            }
        })
    };
    run(&mut node, 800);
    let before = (node.signed, node.entered, node.exited);
    assert_eq!(run(&mut node, 1200), 0);
    let after = (node.signed, node.entered, node.exited);
    assert_eq!(node.decoder.counters().slow, 0);
    assert!(
        after.0 > before.0 + 60 && after.1 > before.1 + 15 && after.2 > before.2 + 15,
        "it traded: signed orders, entries, exits {before:?} then {after:?}"
    );
    // The counter counts.
    assert!(count(|| market.step()) > 0);
}
