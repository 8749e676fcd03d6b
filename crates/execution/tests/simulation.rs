//! The router against a hostile venue: whatever the wire does, after the dust has settled nothing is lost, nothing is
//! doubled, and our position is the venue's.
//!
//! At every moment, on the venue's side: at most one live order per intent, no client order id used twice, no fill that
//! turns a position around. At the end, to the last unit: our wallet is the venue's, what the engine was told of its
//! trades is what the venue's fills say, and the day's profit is theirs with funding and without transfers. Run more seeds with `DOLPHIN_SIM_SEEDS=20000`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

mod common;

use std::collections::BTreeMap;

use common::venue_model::*;
use common::*;
use execution::*;
use market::*;
use proptest::prelude::{ProptestConfig, proptest};

#[derive(Debug, Clone, Copy, PartialEq)]
enum Engine {
    Flat,
    Entering,
    Holding,
}

struct World {
    venue: Venue,
    router: Router,
    out: Outbox,
    engine: Engine,
    bets: u32,
    gate: Gate,
    back_at: u64,
    max_hold_until: u64,
    entered: i64,
    /// What the engine was told of each round trip, put right by corrections.
    records: BTreeMap<TripId, Record>,
    with_transfers: bool,
    log: Vec<String>,
}

impl World {
    fn new(seed: u64, faults: Faults) -> Self {
        let mut cfg = RouterConfig { stop_on_foreign_orders: false, ..RouterConfig::default() };
        cfg.risk.max_rejects_per_min = 32;
        cfg.risk.max_repeated_entries = 32;
        cfg.risk.margin_cooldown_ms = 1_000;
        let mut venue = Venue::new(seed, faults);
        venue.now = T0;
        let mut w = Self {
            venue,
            router: Router::new(cfg, instruments(), 9).expect("a config in order"),
            out: Outbox::new(),
            engine: Engine::Flat,
            bets: 0,
            gate: Gate::open(),
            back_at: 0,
            max_hold_until: 0,
            entered: 0,
            records: BTreeMap::new(),
            with_transfers: false,
            log: Vec::new(),
        };
        let gate = w.gate;
        w.router.set_gate(w.now(), gate, &mut w.out);
        w.drain();
        w
    }

    fn now(&self) -> Nanos {
        Nanos::from_millis(self.venue.now)
    }

    fn note(&mut self, text: impl FnOnce() -> String) {
        if std::env::var_os("DOLPHIN_SIM_LOG").is_some() {
            let line = format!("{} {}", self.venue.now - T0, text());
            self.log.push(line);
        }
    }

    fn drain(&mut self) {
        let mut out = std::mem::take(&mut self.out);
        for r in out.requests.drain(..) {
            self.note(|| format!("→ {r:?}"));
            self.venue.send(r);
        }
        for c in out.controls.drain(..) {
            match c {
                Control::Reconcile => self.venue.snapshot(),
                Control::ListTransfers => self.with_transfers = true,
                Control::DeadMan { symbol, countdown_ms } if countdown_ms > 0 => {
                    self.router.on_dead_man(symbol, true);
                }
                _ => {}
            }
        }
        for o in out.outcomes.drain(..) {
            self.note(|| format!("= {o:?}"));
            self.on_outcome(&o);
        }
        for d in out.denials.drain(..) {
            self.note(|| format!("! {d}"));
        }
        for a in out.alerts.drain(..) {
            self.note(|| format!("! {a}"));
        }
    }

    /// What the engine books.
    fn record(&mut self, o: &Outcome) {
        let log = &self.log;
        let complain = || log.join("\n");
        match o {
            Outcome::Entered(e) => {
                let new =
                    self.records.insert(e.trip, Record { direction: e.direction, entry: of(e), exit: None });
                assert!(new.is_none(), "{:?} was told twice\n{}", e.trip, complain());
            }
            Outcome::Exited(x) if !x.trip.is_none() => {
                let r = self.records.get_mut(&x.trip).expect("an exit of a trip that was told");
                assert!(r.exit.replace(exit_of(x)).is_none(), "{:?} ended twice", x.trip);
            }
            Outcome::Unplanned { entry: e, exit: x } => {
                assert_eq!(e.trip, x.trip);
                let record = Record { direction: e.direction, entry: of(e), exit: Some(exit_of(x)) };
                assert!(self.records.insert(e.trip, record).is_none(), "{:?}\n{}", e.trip, complain());
            }
            Outcome::Corrected(c) => {
                let r = self.records.get_mut(&c.trip).expect("a correction of a trip that was told");
                r.entry = c.entry.unwrap_or(r.entry);
                assert!(c.exit.is_none() || r.exit.is_some());
                r.exit = c.exit.or(r.exit);
            }
            _ => {}
        }
    }

    fn on_outcome(&mut self, o: &Outcome) {
        self.record(o);
        if matches!(o, Outcome::Unplanned { .. } | Outcome::Corrected(_)) {
            return;
        }
        self.engine = match (self.engine, o) {
            (Engine::Entering, Outcome::Entered(e)) => {
                assert!(e.qty.0 != 0 && e.avg_px > 90.0 && e.avg_px < 110.0, "{e:?}");
                assert!((0.0..=1.0).contains(&e.maker_share));
                self.entered += 1;
                Engine::Holding
            }
            (Engine::Entering, Outcome::Abandoned { .. }) => Engine::Flat,
            (Engine::Holding, Outcome::Exited(x)) => {
                assert!(x.avg_px > 90.0 && x.avg_px < 110.0, "{x:?}");
                Engine::Flat
            }
            (state, o) => panic!("outcome {o:?} while {state:?}\n{}", self.log.join("\n")),
        };
    }

    fn deliver(&mut self) {
        for m in self.venue.due() {
            self.note(|| format!("~ {m:?}"));
            let now = self.now();
            match m {
                Message::Request { sent, request } => self.venue.arrive(sent, request),
                Message::Report(r) if self.venue.connected => self.router.on_report(now, &r, &mut self.out),
                Message::Income { change, is_profit } if self.venue.connected => {
                    self.router.on_income(now, change, is_profit);
                }
                Message::Snapshot { requested_at, orders, positions, wallet } if self.venue.connected => {
                    let transfers = self.venue.transfers.clone();
                    let state = VenueState {
                        requested_at,
                        orders: &orders,
                        positions: &positions,
                        fills: &self.venue.listed(),
                        wallet,
                        margin: Some(Margin { available: wallet, maintenance: Amount::ZERO }),
                        transfers: std::mem::take(&mut self.with_transfers).then_some(&transfers),
                        unlisted: Some(&[]),
                    };
                    let found = self.router.reconcile(now, &state, &mut self.out);
                    self.venue.begun = true;
                    let ledger = self.router.ledger().clone();
                    self.note(|| format!("reconciled {:?} {wallet} {ledger:?}", found.differences));
                }
                _ => {}
            }
            self.drain();
        }
    }

    fn step(&mut self, engine_acts: bool) {
        self.venue.now += 20;
        self.venue.tick();
        self.deliver();
        let level = |px| Level { px: Px(px), qty: Qty(1_000) };
        let (bid, ask) = (level(self.venue.bid), level(self.venue.ask));
        let now = self.now();
        self.router.on_bbo(now, SYM, bid, ask, &mut self.out);
        self.drain();
        if self.router.next_deadline().is_some_and(|t| t <= now) {
            self.router.on_timer(now, &mut self.out);
            self.drain();
        }
        self.connection();
        if engine_acts {
            self.act();
        }
    }

    fn connection(&mut self) {
        let now = self.now();
        if self.venue.connected && self.venue.rng.chance(self.venue.faults.disconnect) {
            self.venue.connected = false;
            self.back_at = self.venue.now + 100 + self.venue.rng.below(4_000);
            self.gate = Gate { order_path: false, user_stream: false, ..Gate::open() };
            self.note(|| "DISCONNECTED".to_owned());
        } else if !self.venue.connected && self.venue.now >= self.back_at {
            self.venue.connected = true;
            self.gate = Gate::open();
            self.note(|| "CONNECTED".to_owned());
        } else {
            return;
        }
        let gate = self.gate;
        self.router.set_gate(now, gate, &mut self.out);
        self.drain();
    }

    fn act(&mut self) {
        let now = self.now();
        let mid = (self.venue.bid + self.venue.ask) as f64 / 200.0;
        match self.engine {
            Engine::Flat if self.venue.rng.chance(20) => {
                self.engine = Engine::Entering;
                self.bets += 1;
                let e = EnterIntent {
                    symbol: SYM,
                    direction: if self.venue.rng.chance(500) { 1 } else { -1 },
                    notional: 10.0 + self.venue.rng.below(500) as f64,
                    leverage: 1.0,
                    capital: 25_000.0,
                    decision_px: mid,
                    tp_pct: 0.0005 + self.venue.rng.below(10) as f64 * 0.0005,
                    fill_probability: if self.venue.rng.chance(200) { 0.1 } else { f64::NAN },
                    ts_event: VenueTime(now),
                };
                self.note(|| format!("ENTER {e:?}"));
                self.router.on_intent(now, &Intent::Enter(e), &mut self.out);
                self.max_hold_until = self.venue.now + 3_000 + self.venue.rng.below(20_000);
            }
            Engine::Entering if self.venue.rng.chance(10) => {
                let holds = self.venue.rng.chance(500);
                self.router.on_intent(now, &Intent::EntrySignal { symbol: SYM, holds }, &mut self.out);
            }
            Engine::Entering if self.venue.rng.chance(2) => self.exit(ExitReason::Flatten),
            Engine::Holding if self.venue.now > self.max_hold_until => {
                let k = self.venue.rng.below(4) as usize;
                self.exit([ExitReason::Tp, ExitReason::MaxHold, ExitReason::Stop, ExitReason::Flatten][k]);
                self.max_hold_until = self.venue.now + 2_000;
            }
            _ => {}
        }
        self.drain();
    }

    fn exit(&mut self, reason: ExitReason) {
        let now = self.now();
        self.note(|| format!("EXIT {reason:?}"));
        self.router.on_intent(
            now,
            &Intent::Exit(ExitIntent { symbol: SYM, reason, ts_event: now }),
            &mut self.out,
        );
        self.drain();
    }

    fn dust_settles(&mut self) {
        self.venue.faults = Faults::NONE;
        self.back_at = 0;
        for n in 0..6_000 {
            if n % 500 == 100 && self.engine != Engine::Flat {
                self.exit(ExitReason::Flatten);
            }
            self.step(false);
        }
    }

    fn check(&self, seed: u64) {
        let tell = || format!("seed {seed}\n{}", self.log.join("\n"));
        let live: Vec<_> = self.venue.orders.values().filter(|o| !o.status.is_done()).collect();
        assert!(live.is_empty(), "live at the venue: {live:?} {}", tell());
        assert_eq!(self.router.orders().live().count(), 0, "live with us: {}", tell());
        assert_eq!(self.router.position(SYM).qty.0, self.venue.position, "position: {}", tell());
        assert_eq!(self.venue.position, 0, "not closed: {}", tell());
        assert_eq!(self.engine, Engine::Flat, "engine: {}", tell());
        assert!(self.router.is_reconciled(), "{}", tell());
        self.check_money(&tell);
        for o in self.router.orders().iter() {
            let cum = self.venue.orders.get(&o.id).map_or(0, |m| m.cum);
            assert_eq!(o.cum.0, cum, "filled quantity of {}: {}", o.id, tell());
        }
    }
}

impl World {
    /// Wallet, records and the day's profit, against the venue's own sums. Everything is flat.
    fn check_money(&self, tell: &dyn Fn() -> String) {
        let v = &self.venue;
        let traded = v.cash as i64 * TICK_LOT - v.commissions;
        assert_eq!(v.wallet, WALLET + traded + v.funding + v.transferred, "the model: {}", tell());
        let ledger = self.router.ledger();
        assert_eq!(ledger.wallet(), Some(Amount(v.wallet)), "wallet: {}", tell());
        assert_eq!(ledger.day_pnl(), Some(Amount(traded + v.funding)), "profit of the day: {}", tell());
        let booked: f64 = self.records.values().map(Record::profit).sum();
        assert!((booked - traded as f64 / 1e8).abs() < 1e-8, "booked {booked}, traded {traded}: {}", tell());
        assert_eq!(self.router.unpriced_orders(), 0, "{}", tell());
    }
}

/// What the engine was told of a round trip.
#[derive(Debug, Clone, Copy)]
struct Record {
    direction: i8,
    entry: Filled,
    exit: Option<Filled>,
}

impl Record {
    fn profit(&self) -> f64 {
        let exit = self.exit.expect("closed");
        let gross = f64::from(self.direction) * (exit.notional - self.entry.notional);
        gross - (self.entry.commission + exit.commission).to_f64()
    }
}

fn of(e: &EntryFilled) -> Filled {
    let EntryFilled { avg_px, notional, commission, maker_share, .. } = *e;
    Filled { avg_px, notional, commission, maker_share }
}

fn exit_of(x: &ExitFilled) -> Filled {
    let ExitFilled { avg_px, notional, commission, maker_share, .. } = *x;
    Filled { avg_px, notional, commission, maker_share }
}

fn run(seed: u64, faults: Faults) -> World {
    let mut w = World::new(seed, faults);
    for _ in 0..3_000 {
        w.step(true);
    }
    w.dust_settles();
    w.check(seed);
    w
}

fn mixed(seed: u64) -> Faults {
    let mut r = Rng::new(seed ^ 0xABCD);
    let mut some = |most: u64| if r.chance(400) { r.below(most) } else { 0 };
    Faults {
        lose_request: some(200),
        lose_report: some(200),
        double_report: some(300),
        delay: some(500),
        refuse: some(150),
        unknown: some(200),
        late_fill: some(300),
        foreign: some(3),
        disconnect: some(3),
        transfer: some(3),
        funding: some(3),
    }
}

fn seeds() -> u32 {
    std::env::var("DOLPHIN_SIM_SEEDS").ok().and_then(|s| s.parse().ok()).unwrap_or(150)
}

#[test]
fn on_a_good_wire_everything_trades_and_the_money_is_exact() {
    let (mut entered, mut bets) = (0, 0);
    for seed in 0..20 {
        let w = run(seed, Faults::NONE);
        entered += w.entered;
        bets += w.bets;
        let i = &instruments()[0];
        // Ticks and lots of 0.01: one tick-lot is 10⁻⁴, so nothing is cut except in averages.
        let cash = fills_value(i, w.venue.cash);
        let slack = i64::from(w.bets) * 100_000;
        assert!((w.router.position(SYM).realised.0 - cash).abs() <= slack, "seed {seed}");
        assert_eq!(w.router.stats().late_fills, 0);
        assert!(w.router.tripped().is_none());
    }
    assert!(entered > 50 && bets > entered as u32, "{entered} of {bets}");
}

fn fills_value(i: &Instrument, ticklots: i128) -> i64 {
    fills::value_amount(i, ticklots).0
}

/// One seed again, with `DOLPHIN_SIM_LOG=1` its whole log: `DOLPHIN_SIM_SEED=n`.
#[test]
fn one_seed() {
    let seed = std::env::var("DOLPHIN_SIM_SEED").ok().and_then(|s| s.parse().ok()).unwrap_or(1);
    run(seed, mixed(seed));
}

#[test]
fn each_fault_alone() {
    let one: [fn(&mut Faults); 11] = [
        |f| f.lose_request = 300,
        |f| f.lose_report = 300,
        |f| f.double_report = 500,
        |f| f.delay = 600,
        |f| f.refuse = 300,
        |f| f.unknown = 500,
        |f| f.late_fill = 800,
        |f| f.foreign = 5,
        |f| f.disconnect = 5,
        |f| f.transfer = 5,
        |f| f.funding = 5,
    ];
    for (k, set) in one.iter().enumerate() {
        let mut entered = 0;
        for seed in 0..12 {
            let mut faults = Faults::NONE;
            set(&mut faults);
            entered += run(seed + 1_000 * k as u64, faults).entered;
        }
        assert!(entered >= 12, "fault {k} stopped all trading: {entered} entries in 12 runs");
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let (a, b) = (run(77, mixed(77)), run(77, mixed(77)));
    assert_eq!(a.router.stats(), b.router.stats());
    assert_eq!(a.router.ledger(), b.router.ledger());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: seeds(), failure_persistence: None, max_shrink_iters: 0, ..ProptestConfig::default() })]

    #[test]
    fn all_faults_together(seed: u64) {
        run(seed, mixed(seed));
    }
}
