//! A local venue and a live node before it, in one simulated world; see the fields of [`Setup`] for what a test may choose.
//!
//! A scenario is a seed, settings, a story that injects faults, and what it expects. Time is simulated, so a story takes
//! as long as its work and goes the same way on every machine. A test names a condition and [`Node::until`] waits for
//! it, up to [`PATIENCE_MS`]; [`Node::finish`] ends the run in good order and checks [`always`] what must hold after
//! every fault.

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::time::Duration;

use binance::hosts::Hosts;
use market::{ClientOrderId, Nanos, Qty};
use node::config::Config;
use node::control::Seen;
use node::error::Failure;
use node::summary::Summary;
use sim::faults::Fault as Strike;
use sim::invariants::{Ledger, books, secrets};
use sim::journals::{Again, decide_again};
use sim::scene::Scene;
use sim::strike::strike;
pub use sim::world::KEY;
use sim::world::{ACCOUNT, End, Program, World};
use tokio::sync::watch;
use venue::core::{AccountId, Exchange, Order};
use venue::faults::{Fault, Rule};
use venue::{AccountConfig, Counters, VenueConfig};

/// How long a condition may take to come true, simulated. Only a failure takes so long.
pub const PATIENCE_MS: u64 = 60_000;
/// Between two looks at a condition.
const LOOK_MS: u64 = 5;
/// The engine's settings of the demo: short bars and holds, so that trades come within seconds.
pub const DEMO: &str = include_str!("../../configs/demo.yml");
/// The machine of the node.
const HERE: usize = 0;

/// What is started.
pub struct Setup {
    /// The node's configuration: the demo's on eight symbols.
    pub config: Config,
    /// The venue's.
    pub venue: VenueConfig,
    /// Close the position at the end (the default), or leave it.
    pub flatten: bool,
    /// Changes the hosts that the node is told.
    pub hosts: fn(&mut Hosts),
    /// How long after midnight it begins: windows of limits begin with the minute.
    pub begins_ms: u64,
}

impl Setup {
    /// The usual node, on the market of this seed.
    pub fn new(seed: u64) -> Self {
        let mut config = Config::parse(DEMO).unwrap();
        config.market.max_symbols = 8;
        config.runtime.layout = Some(1);
        let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)];
        let venue = VenueConfig { seed, symbols: 8, accounts, ..VenueConfig::default() };
        Self { config, venue, flatten: true, hosts: |_| {}, begins_ms: 0 }
    }

    /// With other settings of the node.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// Starts both and waits until the node is ready to trade: all books in sync, connected, reconciled.
    pub fn start(self, story: impl AsyncFnOnce(Node)) {
        let symbols = self.config.market.max_symbols as u32;
        self.launch(&[], async |node| {
            node.ready(symbols).await;
            story(node).await;
        });
    }

    /// Starts both, the venue with these faults from the first connection on, and waits for nothing.
    pub fn launch(self, faults: &[Rule], story: impl AsyncFnOnce(Node)) {
        logs();
        let mut program = Program::all("node".to_owned(), self.config);
        (program.hosts, program.flatten, program.restarts) = (self.hosts, self.flatten, false);
        let mut scene = Scene::of(self.venue.seed, self.venue, vec![program]);
        scene.begins_ns += self.begins_ms * Nanos::MS;
        scene
            .play(async |world| {
                let seen = world.slots.borrow()[HERE].seen.subscribe();
                let venue = Venue(Rc::clone(world));
                let node = Node { world: Rc::clone(world), venue, seen, ends: Cell::default() };
                for fault in faults {
                    node.inject(fault.clone());
                }
                story(node).await;
            })
            .unwrap();
    }
}

/// The venue, as a test sees it.
pub struct Venue(Rc<World>);

impl Venue {
    /// Puts a fault in force; the error says what is wrong with it.
    pub fn inject(&self, rule: impl Into<Rule>) -> Result<u64, String> {
        let now = Nanos(self.0.time.now_ns());
        let id = self.0.venue.borrow_mut().inject(rule, None, now);
        self.0.network.sooner.notify_one();
        id
    }

    /// Removes all faults.
    pub fn clear_faults(&self) {
        self.0.venue.borrow_mut().clear_faults();
        self.0.network.sooner.notify_one();
    }

    /// How often a rule struck.
    pub fn hits(&self, id: u64) -> u64 {
        self.0.venue.borrow().hits(id)
    }

    /// What it counted.
    pub fn counters(&self) -> Counters {
        self.0.venue.borrow_mut().counters()
    }

    /// Looks at the exchange: accounts, orders, fills, books.
    pub fn inspect<T>(&self, look: impl FnOnce(&Exchange) -> T) -> T {
        self.0.venue.borrow().inspect(look)
    }

    /// The account of a place in its configuration.
    pub const fn account(&self, n: u16) -> AccountId {
        AccountId(n)
    }
}

/// A running node and its venue.
pub struct Node {
    /// The world that both live in.
    pub world: Rc<World>,
    /// The venue: faults go in here, and its view of orders and positions is read here.
    pub venue: Venue,
    seen: watch::Receiver<Seen>,
    /// Ends that were looked at.
    ends: Cell<usize>,
}

/// What a condition looks at.
pub struct Now<'a> {
    /// The node's view.
    pub seen: &'a Seen,
    /// The venue.
    pub venue: &'a Venue,
}

impl Now<'_> {
    /// How often the node raised this alert.
    pub fn alerts(&self, kind: &str) -> u64 {
        self.seen.alerts.get(kind).copied().unwrap_or(0)
    }

    /// Do both sides name the same positions?
    pub fn positions_agree(&self) -> bool {
        self.seen.positions == positions(self.venue)
    }
}

impl Node {
    /// Waits until the node is ready to trade: all books in sync, connected, reconciled.
    pub async fn ready(&self, symbols: u32) {
        self.until("all books in sync, everything connected and reconciled", |now| {
            let s = now.seen;
            s.book.live_books == symbols && s.gate.order_path && s.gate.user_stream && s.router.reconciled
        })
        .await;
    }

    /// Puts a fault of the venue in force.
    pub fn inject(&self, rule: impl Into<Rule>) -> u64 {
        self.venue.inject(rule).unwrap()
    }

    /// Puts a fault of the venue in force that strikes once.
    pub fn inject_once(&self, fault: Fault) -> u64 {
        self.inject(Rule::once(fault))
    }

    /// Lets a fault of the network, the machine or its operator happen.
    pub fn strike(&self, fault: &Strike) {
        assert!(strike(&self.world, fault), "{fault:?} struck nothing");
    }

    /// What the node shows now.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// How often the node has raised this alert.
    pub fn alerts(&self, kind: &str) -> u64 {
        self.seen.borrow().alerts.get(kind).copied().unwrap_or(0)
    }

    /// The true time, which is the venue's unless a fault put its clock off; for comparing with order times.
    pub fn wall(&self) -> Nanos {
        Nanos(self.world.time.now_ns())
    }

    /// Has it not ended yet?
    pub fn runs(&self) -> bool {
        let slots = self.world.slots.borrow();
        slots[HERE].ends.len() == self.ends.get()
    }

    /// Waits for a condition and says how long it took; fails, with what the node shows, after [`PATIENCE_MS`] or when
    /// the node ends.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Now<'_>) -> bool) -> Duration {
        let start = self.world.now_ms();
        loop {
            if holds(&Now { seen: &self.seen.borrow(), venue: &self.venue }) {
                return Duration::from_millis(self.world.now_ms() - start);
            }
            let told = || format!("{:#?}\n{:#?}", self.seen(), self.world.timeline());
            assert!(self.runs(), "the node ended before: {what}\n{}", told());
            assert!(self.world.now_ms() - start < PATIENCE_MS, "this did not come about: {what}\n{}", told());
            self.world.wait_ms(LOOK_MS).await;
        }
    }

    /// Waits for something at the venue, whether the node runs or not.
    pub async fn until_venue(&self, what: &str, holds: impl Fn(&Venue) -> bool) {
        let start = self.world.now_ms();
        while !holds(&self.venue) {
            let told = || self.world.timeline();
            assert!(
                self.world.now_ms() - start < PATIENCE_MS,
                "this did not come about: {what}\n{:#?}",
                told()
            );
            self.world.wait_ms(LOOK_MS).await;
        }
    }

    /// Watches that something stays true for a while; for what must *not* happen.
    pub async fn holds_for(&self, time: Duration, what: &str, mut holds: impl FnMut(&Now<'_>) -> bool) {
        let end = self.world.now_ms() + time.as_millis() as u64;
        while self.world.now_ms() < end {
            let holds = holds(&Now { seen: &self.seen.borrow(), venue: &self.venue });
            assert!(holds, "no longer true: {what}\n{:#?}", self.seen());
            self.world.wait_ms(LOOK_MS).await;
        }
    }

    /// Ends all faults and waits until the node has come to rest with the venue: nothing unknown, reconciled, positions
    /// equal.
    pub async fn heal(&self) {
        self.venue.clear_faults();
        self.until("healed: reconciled, no order unknown, positions equal", |now| {
            let r = &now.seen.router;
            r.reconciled && r.unknown == 0 && now.positions_agree()
        })
        .await;
    }

    /// Heals, ends the run in good order, and holds it to what must be true after every run.
    pub async fn finish(&self) -> Summary {
        self.heal().await;
        self.end().await
    }

    /// Ends the run without healing first; the checks are made all the same.
    pub async fn end(&self) -> Summary {
        self.signal();
        let summary = self.ended().await;
        let summary = summary.unwrap_or_else(|e| panic!("the run ended with an error: {e:?}"));
        always(self, &summary);
        same_again(self);
        summary
    }

    /// Asks the node to end, as a signal does.
    pub fn signal(&self) {
        self.world.signal(HERE);
    }

    /// Waits for a node that ends by itself, with its result.
    pub async fn ended(&self) -> Result<Summary, Failure> {
        let start = self.world.now_ms();
        loop {
            let end = self.world.slots.borrow()[HERE].ends.get(self.ends.get()).cloned();
            if let Some((_, end)) = end {
                self.ends.set(self.ends.get() + 1);
                return match end {
                    End::Done(summary) => Ok(*summary),
                    End::Failed(exit, message) => Err(Failure { exit, message }),
                    End::Killed => panic!("the node was killed"),
                };
            }
            assert!(self.world.now_ms() - start < PATIENCE_MS, "the node did not end\n{:#?}", self.seen());
            self.world.wait_ms(LOOK_MS).await;
        }
    }

    /// Waits for the end of a process that is killed.
    pub async fn killed(&self) {
        while self.runs() {
            self.world.wait_ms(1).await;
        }
        self.ends.set(self.ends.get() + 1);
    }

    /// Starts the next process on the machine of one that has ended.
    pub fn start_again(&self) {
        self.world.start_now(HERE);
    }
}

/// Positions of the account at the venue that are not zero, by symbol.
pub fn positions(venue: &Venue) -> BTreeMap<String, Qty> {
    venue.inspect(|exchange| sim::invariants::positions(exchange, ACCOUNT))
}

/// Orders of the account at the venue, oldest first.
pub fn orders(venue: &Venue) -> Vec<Order> {
    venue.inspect(|exchange| exchange.orders_of(ACCOUNT).cloned().collect())
}

/// Orders of the account that are open at the venue.
pub fn open_orders(venue: &Venue) -> Vec<Order> {
    orders(venue).into_iter().filter(Order::is_open).collect()
}

/// What is true after every run, whatever happened in it.
pub fn always(node: &Node, summary: &Summary) {
    let text = summary.text();
    let all = orders(&node.venue);
    let left: Vec<&Order> = all.iter().filter(|o| o.is_open()).collect();
    assert!(left.is_empty(), "orders left at the venue: {left:#?}\n{text}");
    assert_eq!(summary.open_orders, Some(0), "{text}");
    assert_eq!(summary.router.unknown, 0, "the fate of every order is known\n{text}");
    let at_venue = positions(&node.venue);
    let symbols: BTreeSet<&String> = at_venue.keys().collect();
    assert_eq!(symbols, summary.open_positions.iter().flatten().map(|p| &p.symbol).collect(), "{text}");

    let mut intents: BTreeMap<(u64, u32), Vec<&Order>> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for order in &all {
        let Some(id) = ClientOrderId::parse(&order.client_id) else { continue };
        assert!(ids.insert(&order.client_id), "accepted twice: {}\n{text}", order.client_id);
        if !order.reduce_only {
            intents.entry((id.run, id.intent)).or_default().push(order);
        }
    }
    for ((_, intent), orders) in intents {
        one_at_a_time(intent, &orders, &text);
    }
}

/// The opening orders of one intent: never two at a time, and together not more than was wanted.
fn one_at_a_time(intent: u32, orders: &[&Order], text: &str) {
    for pair in orders.windows(2) {
        let (before, after) = (pair[0], pair[1]);
        assert!(before.updated <= after.created, "intent {intent} had two orders:\n{pair:#?}\n{text}");
    }
    let wanted = orders.iter().map(|o| o.qty).max().unwrap_or(Qty::ZERO);
    let filled: i64 = orders.iter().map(|o| o.filled.0).sum();
    assert!(filled <= wanted.0, "intent {intent} was filled beyond its size: {orders:#?}\n{text}");
}

/// The journal of each run decides the same again, and no secret stands in it or elsewhere on the machine.
pub fn same_again(node: &Node) -> Again {
    let (mut again, mut violations) = (Again::default(), Vec::new());
    let files = node.world.slots.borrow()[HERE].host.files.clone();
    decide_again(&files, node.world.now_ms(), &mut again, &mut violations);
    secrets(&node.world, &node.world.cluster.dump(), &mut violations);
    assert!(violations.is_empty(), "{violations:#?}");
    again
}

/// Trades and capital in memory, after an orderly and flat end, are the venue's fills to 1e-6.
pub fn books_agree(node: &Node) -> u64 {
    let (mut ledger, mut violations) = (Ledger::default(), Vec::new());
    let at_ms = node.world.now_ms();
    node.venue.inspect(|exchange| ledger.follow(exchange, ACCOUNT, at_ms, &mut violations));
    let trades = node.world.cluster.entries("DOLPHIN_TRADES_BLUE");
    let state = node.world.cluster.get("DOLPHIN_STATE_BLUE", "latest_nautilus");
    let initial = node.world.slots.borrow()[HERE].program.config.alpha.initial_capital;
    books(&trades, state.as_deref(), initial, &ledger, at_ms, &mut violations);
    assert!(violations.is_empty(), "{violations:#?}");
    ledger.round_trips
}

/// Log lines of a failing test; `RUST_LOG` chooses the level.
pub fn logs() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        let filter = std::env::var("RUST_LOG").ok().and_then(|v| v.parse().ok());
        let level = filter.unwrap_or(tracing_subscriber::filter::LevelFilter::INFO);
        tracing_subscriber::fmt().with_max_level(level).with_test_writer().init();
    });
}
