//! One run: storms of faults, each followed by a heal and a look at everything, and a flat end.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use market::Nanos;
use memory::schema;
use node::config::{Backend, Config, JournalContent};
use node::control::Seen;
use node::roles::{Role, Share};
use serde::Serialize;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::sleep;
use venue::faults::Fault as VenueFault;
use venue::{AccountConfig, VenueConfig};

use crate::faults::{Fault, Planned, Stage, draw};
use crate::invariants::{Ledger, Violation, agreement, books, not_armed, positions, secrets};
use crate::journals::{Again, decide_again};
use crate::random::Random;
use crate::scene::Scene;
use crate::world::{ACCOUNT, KEY, Program, World};

/// The node's settings: short bars and holds, so that an hour holds many trades.
const CONFIG: &str = include_str!("../../../configs/demo.yml");
/// A storm, and the calm after it, ms.
const STORM_MS: u64 = 240_000;
const CALM_MS: u64 = 60_000;
/// A position may be held longer than the engine's limit by this much, ms: the exit's own time.
const HOLD_MORE_MS: u64 = 40_000;
/// After a heal the node must be trading again within this, ms (SPEC 13).
const ARMED_WITHIN_MS: u64 = 30_000;
/// Balance of the account at the start, USDT.
const BALANCE: i64 = 100_000;

/// What to run.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The seed.
    pub seed: u64,
    /// Simulated time, ms.
    pub length_ms: u64,
    /// Symbols.
    pub symbols: usize,
    /// Which machines there are.
    pub layout: Layout,
    /// What else is as the seed decides.
    pub circumstances: Circumstances,
    /// Faults; `None`: drawn from the seed.
    pub script: Option<Vec<Planned>>,
    /// Do the nodes keep a journal? It changes nothing of the run.
    pub journal: bool,
    /// Do they publish their state? Nor does this.
    pub published: bool,
}

/// Settings of node and venue that a fault alone does not reach: holds long enough for a dead-man switch to run out,
/// connections young enough to be replaced, limits tight enough to be met.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// `max_hold_bars` of the engine, bars of 500 ms.
    pub hold_bars: u32,
    /// The node replaces a market connection at this age, s.
    pub connection_age_s: u64,
    /// Orders that the venue takes in 10 s.
    pub orders_per_10s: u32,
    /// Every book of the venue changes once in so many ms.
    pub market_step_ms: u64,
    /// The smaller side of a split memory agrees to nothing, as docs/lease.md demands; else each side may have a holder of the
    /// lease until they heal, who trades.
    pub split_refuses: bool,
}

impl Circumstances {
    /// As usual: short holds, so that there is much to lose, and limits that nobody meets.
    pub const USUAL: Self = Self {
        hold_bars: 3,
        connection_age_s: 23 * 3_600,
        orders_per_10s: 300,
        market_step_ms: 100,
        split_refuses: false,
    };

    /// Each departs from the usual in a quarter of the seeds; the market, which is as busy as the venue's largest symbols,
    /// is in three of four as calm as its small ones: what decides there is what is done between two ticks.
    fn drawn(seed: u64) -> Self {
        let mut random = Random::new(seed, 0x6369);
        let mut or = |usual: u64, from: u64, to: u64| {
            let (other, departs) = (random.between(from, to), random.one_in(4));
            if departs { other } else { usual }
        };
        Self {
            hold_bars: or(3, 80, 160) as u32,
            connection_age_s: or(23 * 3_600, 60, 240),
            orders_per_10s: or(300, 25, 60) as u32,
            market_step_ms: or(400, 100, 100),
            split_refuses: or(1, 0, 0) == 1,
        }
    }
}

impl Setup {
    /// The usual run of a seed: two nodes, and ingest nodes before them, in a third of the seeds.
    pub fn of(seed: u64, length_ms: u64, symbols: usize) -> Self {
        let layout = if seed.is_multiple_of(3) { Layout::Four } else { Layout::One };
        let circumstances = Circumstances::drawn(seed);
        Self {
            seed,
            length_ms,
            symbols,
            layout,
            circumstances,
            script: None,
            journal: true,
            published: false,
        }
    }
}

/// Which machines there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// One node that does everything.
    One,
    /// Two nodes that do everything, on one account and one deployment: one too many.
    Two,
    /// Two ingest nodes, an alpha node and its standby.
    Four,
}

/// What came of it.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Layout.
    pub layout: Layout,
    /// Simulated time, s.
    pub simulated_s: f64,
    /// Faults that struck, by kind.
    pub struck: BTreeMap<String, u64>,
    /// Orders of ours at the venue.
    pub orders: u64,
    /// Fills.
    pub fills: usize,
    /// Round trips.
    pub round_trips: u64,
    /// Starts of processes.
    pub starts: u64,
    /// What the journals of its nodes decided again.
    pub again: Again,
    /// Violations, in the order found.
    pub violations: Vec<Violation>,
    /// Of everything that was decided, ordered and kept.
    pub digest: String,
    /// The faults that struck or would have.
    #[serde(skip)]
    pub script: Vec<Planned>,
    /// What happened, ms since the beginning and in words.
    #[serde(skip)]
    pub timeline: Vec<(u64, String)>,
}

fn programs(setup: &Setup, symbols: Vec<String>) -> Result<Vec<Program>, String> {
    let mut config = Config::parse(CONFIG).map_err(|e| format!("configs/demo.yml{e}"))?;
    config.market.max_symbols = setup.symbols;
    config.market.symbols = symbols;
    config.memory.backend = Backend::Hazelcast;
    // The local state lies beside it.
    config.memory.path = Some("/var/lib/dolphin/memory".into());
    config.runtime.layout = Some(1);
    config.alpha.max_hold_bars = setup.circumstances.hold_bars;
    config.market.max_connection_age_s = setup.circumstances.connection_age_s;
    config.journal.enabled = setup.journal;
    // As small as they may be, so that many begin with a state.
    config.journal.segment_mb = 1;
    // Of every other seed that is decided again the ticks are made again of the market's frames.
    if setup.decides_again() && setup.seed.is_multiple_of(2) {
        config.journal.content = JournalContent::Frames;
    }
    let program =
        |name: &str, role, share| Program { role, share, ..Program::all(name.to_owned(), config.clone()) };
    Ok(match setup.layout {
        Layout::One => vec![program("all", Role::All, Share::Whole)],
        Layout::Two => {
            vec![program("all-1", Role::All, Share::Whole), program("all-2", Role::All, Share::Whole)]
        }
        Layout::Four => vec![
            program("alpha-1", Role::Alpha, Share::Whole),
            program("alpha-2", Role::Alpha, Share::Whole),
            program("ingest-1", Role::Ingest, Share::Part { part: 1, of: 2 }),
            program("ingest-2", Role::Ingest, Share::Part { part: 2, of: 2 }),
        ],
    })
}

impl Setup {
    /// Are the journals of this run decided again at its end? It takes longer than the run itself, so only two of seven drawn
    /// runs are (of each layout and content some); those whose faults somebody wrote always.
    const fn decides_again(&self) -> bool {
        self.script.is_some() || matches!(self.seed % 7, 5 | 6)
    }

    /// What it begins with.
    pub fn scene(&self) -> Result<Scene, String> {
        let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, BALANCE)];
        let mut venue =
            VenueConfig { seed: self.seed, symbols: self.symbols, accounts, ..VenueConfig::default() };
        venue.rules.orders_per_10s = self.circumstances.orders_per_10s;
        venue.market_step = Duration::from_millis(self.circumstances.market_step_ms);
        // By name: a symbol that does not trade at a start is followed all the same.
        let symbols = venue.preroll(1, Duration::from_secs(1)).symbols;
        let programs = programs(self, symbols)?;
        Ok(Scene { published: self.published, ..Scene::of(self.seed, venue, programs) })
    }
}

/// Runs it on this thread.
pub fn run(setup: &Setup) -> Result<Report, String> {
    setup.scene()?.play(async |world| {
        world.cluster.refuse_in_the_smaller_half(setup.circumstances.split_refuses);
        let mut run = Run::new(setup, Rc::clone(world));
        run.play().await;
        run.report()
    })
}

struct Run<'s> {
    setup: &'s Setup,
    world: Rc<World>,
    script: Vec<Planned>,
    struck: BTreeMap<String, u64>,
    ledger: Ledger,
    violations: Vec<Violation>,
    /// Bytes of the market were changed on their way: books may be wrong without anybody's fault.
    spoiled: bool,
    digest: Sha256,
}

impl<'s> Run<'s> {
    fn new(setup: &'s Setup, world: Rc<World>) -> Self {
        let script = setup.script.clone().unwrap_or_else(|| Self::drawn(setup, &world));
        Self {
            setup,
            world,
            script,
            struck: BTreeMap::new(),
            ledger: Ledger::default(),
            violations: Vec::new(),
            spoiled: false,
            digest: Sha256::new(),
        }
    }

    fn drawn(setup: &Setup, world: &World) -> Vec<Planned> {
        let symbols: Vec<String> = world
            .venue
            .borrow()
            .inspect(|e| e.listings().iter().map(|l| l.instrument.symbol.clone()).collect());
        let machines = world.slots.borrow().len();
        let mut script = Vec::new();
        let mut from_ms = CALM_MS;
        let mut storm = 0u64;
        while from_ms < setup.length_ms {
            let to_ms = (from_ms + STORM_MS).min(setup.length_ms);
            let stage = Stage { machines, symbols: &symbols, from_ms, to_ms };
            script.extend(draw(setup.seed ^ storm << 40, &stage));
            from_ms = to_ms + CALM_MS;
            storm += 1;
        }
        script
    }

    async fn play(&mut self) {
        // Everything starts in a calm, so that there is something to lose.
        self.calm("start").await;
        let mut next = 0;
        while self.world.now_ms() < self.setup.length_ms && self.violations.is_empty() {
            let until = (self.world.now_ms() + STORM_MS).min(self.setup.length_ms);
            while next < self.script.len() && self.script[next].at_ms < until {
                let planned = self.script[next].clone();
                next += 1;
                self.wait_until(planned.at_ms).await;
                self.strike(&planned.fault);
            }
            self.wait_until(until).await;
            self.world.note(format!("heal, {} orders so far", self.world.orders()));
            self.follow();
            self.ledger.killed_at = None;
            self.world.heal();
            self.calm("heal").await;
        }
        if self.violations.is_empty() {
            self.flat_end().await;
        }
    }

    async fn wait_until(&mut self, ms: u64) {
        // The venue forgets orders after a while: it is looked at often enough.
        loop {
            let now = self.world.now_ms();
            if now >= ms {
                return;
            }
            sleep(Duration::from_millis((ms - now).min(20_000))).await;
            self.follow();
        }
    }

    fn follow(&mut self) {
        let at_ms = self.world.now_ms();
        let (ledger, violations) = (&mut self.ledger, &mut self.violations);
        self.world.venue.borrow().inspect(|e| ledger.follow(e, ACCOUNT, at_ms, violations));
        let mut found = Vec::new();
        self.ledger.one_writer(at_ms, &mut found);
        self.take_unless_two_held(found);
    }

    /// Where memory was split so that each side could have a holder of the lease there were two writers by its operator's choice,
    /// and what the one leaves the other keeps for a person.
    fn take_unless_two_held(&mut self, found: Vec<Violation>) {
        if self.setup.circumstances.split_refuses || !self.struck.contains_key("memory_split") {
            self.violations.extend(found);
        }
    }

    fn strike(&mut self, fault: &Fault) {
        let kind = fault.kind();
        let text = serde_json::to_string(fault).unwrap_or_default();
        if crate::strike::strike(&self.world, fault) {
            *self.struck.entry(kind).or_default() += 1;
            self.world.note(format!("fault {text}, {} orders so far", self.world.orders()));
        }
        self.follow();
        self.spoiled |= match fault {
            Fault::Flip { .. } => true,
            Fault::Venue { rule, .. } => matches!(rule.fault, VenueFault::Garble { .. }),
            _ => false,
        };
        // Another machine may go on where a kill is pulled by a file of one.
        if matches!(fault, Fault::KillSwitch { .. }) && self.setup.layout == Layout::One {
            self.ledger.killed_at = Some(Nanos(self.world.time.now_ns()));
        }
    }

    /// The node that may trade: its place.
    fn active(&self) -> Option<usize> {
        let slots = self.world.slots.borrow();
        let trades = |s: &crate::world::Slot| s.process.is_some() && s.program.role != Role::Ingest;
        let ready = |s: &crate::world::Slot| s.seen.borrow().gate.order_path;
        slots.iter().position(|s| trades(s) && ready(s))
    }

    /// Nothing is wrong any more: the node must be trading soon, and everything must agree.
    async fn calm(&mut self, after: &str) {
        // The control thread shows what it sees while somebody looks: not all the time, because showing is a copy.
        let lookers = self.lookers();
        let begun = self.world.now_ms();
        let mut why = String::from("nobody is active");
        loop {
            sleep(Duration::from_millis(250)).await;
            if let Some(i) = self.active() {
                match not_armed(&lookers[i].borrow(), self.setup.symbols as u32) {
                    None => break,
                    Some(reason) => why = reason,
                }
            }
            if self.world.now_ms() - begun >= ARMED_WITHIN_MS {
                self.violation("trading again within 30 s", format!("after {after}: {why}"));
                return;
            }
        }
        drop(lookers);
        let countdowns = || self.world.venue.borrow().inspect(|e| e.account(ACCOUNT).countdowns);
        let before = countdowns();
        let rest = (begun + CALM_MS).saturating_sub(self.world.now_ms());
        sleep(Duration::from_millis(rest)).await;
        let ran_out = countdowns() - before;
        if ran_out > 0 {
            let text = format!("the venue's countdown ran out {ran_out} times in the calm after {after}");
            self.violation("dead-man switch set again", text);
        }
        self.follow();
        let held_ms = u64::from(self.setup.circumstances.hold_bars) * 500 + HOLD_MORE_MS;
        let (at_ms, now) = (self.world.now_ms(), Nanos(self.world.time.now_ns()));
        let mut found = Vec::new();
        self.ledger.held_no_longer_than(held_ms, at_ms, now, &mut found);
        self.take_unless_two_held(found);
        let lookers = self.lookers();
        self.settled(&lookers).await;
        self.books_right(&lookers);
        self.look(after);
    }

    fn lookers(&self) -> Vec<watch::Receiver<Seen>> {
        self.world.slots.borrow().iter().map(|s| s.seen.subscribe()).collect()
    }

    /// Where nobody changed bytes of the market no book that was trusted may turn out to be wrong.
    fn books_right(&mut self, lookers: &[watch::Receiver<Seen>]) {
        let wrong: u64 = lookers.iter().map(|l| l.borrow().book.audit_failures).sum();
        if wrong > 0 && !self.spoiled {
            self.violation("books are the venue's", format!("{wrong} audits found another book"));
        }
    }

    /// Waits for a moment at which node and venue agree: reports are always under way.
    async fn settled(&mut self, lookers: &[watch::Receiver<Seen>]) {
        let mut last = Vec::new();
        for _ in 0..200 {
            sleep(Duration::from_millis(50)).await;
            let Some(i) = self.active() else { continue };
            last.clear();
            let at_ms = self.world.now_ms();
            let seen = lookers[i].borrow().clone();
            self.world.venue.borrow().inspect(|e| agreement(&seen, e, ACCOUNT, at_ms, &mut last));
            if last.is_empty() {
                return;
            }
        }
        self.violations.append(&mut last);
    }

    fn violation(&mut self, invariant: &'static str, found: String) {
        self.violations.push(Violation { at_ms: self.world.now_ms(), invariant, found });
    }

    fn look(&mut self, after: &str) {
        let at_ms = self.world.now_ms();
        self.ledger.one_order_an_intent(at_ms, &mut self.violations);
        let memory = self.world.cluster.dump();
        secrets(&self.world, &memory, &mut self.violations);
        self.digest.update(after.as_bytes());
        let state = self.world.venue.borrow().inspect(|e| {
            let account = e.account(ACCOUNT);
            format!("{:?} {:?} {}", account.wallet, positions(e, ACCOUNT), account.fills.len())
        });
        self.digest.update(state.as_bytes());
        self.digest.update(memory.as_bytes());
        let (sent, requests) = self.world.network.sent();
        self.digest.update(format!("{sent} {requests}").as_bytes());
    }

    /// Every position is closed and every node ended in good order; then the books must be right to the last digit.
    async fn flat_end(&mut self) {
        let n = self.world.slots.borrow().len();
        for slot in self.world.slots.borrow_mut().iter_mut() {
            // A node that ends takes the wish to close with it only from its start.
            slot.program.flatten = true;
        }
        for machine in 0..n {
            self.world.kill_switch(machine, true);
        }
        let begun = self.world.now_ms();
        loop {
            sleep(Duration::from_millis(250)).await;
            self.follow();
            let running = self
                .world
                .slots
                .borrow()
                .iter()
                .any(|s| s.process.is_some() && s.program.role != Role::Ingest);
            if !running || self.world.now_ms() - begun > 60_000 {
                break;
            }
        }
        for slot in self.world.slots.borrow_mut().iter_mut() {
            slot.start_at = u64::MAX - 1;
            slot.signalled.store(true, Ordering::Release);
        }
        sleep(Duration::from_secs(15)).await;
        self.follow();
        let at_ms = self.world.now_ms();
        let left = self.world.venue.borrow().inspect(|e| positions(e, ACCOUNT));
        if !left.is_empty() {
            self.violation("flat after kill --flatten", format!("the venue still has {left:?}"));
        }
        let open = self.world.venue.borrow().inspect(|e| e.account(ACCOUNT).open.len());
        if open > 0 {
            self.violation("no order left", format!("{open} orders work at the venue"));
        }
        let trades = self.world.cluster.entries("DOLPHIN_TRADES_BLUE");
        let state = self.world.cluster.get("DOLPHIN_STATE_BLUE", schema::STATE_LATEST_NAUTILUS);
        let initial = self.world.slots.borrow()[0].program.config.alpha.initial_capital;
        books(&trades, state.as_deref(), initial, &self.ledger, at_ms, &mut self.violations);
        self.look("end");
    }

    fn report(mut self) -> Report {
        let (at_ms, mut again) = (self.world.now_ms(), Again::default());
        for slot in self.world.slots.borrow().iter().filter(|_| self.setup.decides_again()) {
            decide_again(&slot.host.files, at_ms, &mut again, &mut self.violations);
        }
        let starts = self.world.starts.get();
        Report {
            seed: self.setup.seed,
            layout: self.setup.layout,
            simulated_s: self.world.now_ms() as f64 / 1000.0,
            struck: self.struck,
            orders: self.ledger.orders,
            fills: self.ledger.fills(),
            round_trips: self.ledger.round_trips,
            starts,
            again,
            violations: self.violations,
            digest: self.digest.finalize().iter().map(|b| format!("{b:02x}")).collect(),
            script: self.script,
            timeline: self.world.timeline(),
        }
    }
}
