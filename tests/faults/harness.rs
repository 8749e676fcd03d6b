//! A local venue and a live node on it, in this process; see the fields of [`Setup`] for what a test may choose.
//!
//! Nothing here sleeps and hopes: a test names a condition and [`Node::until`] waits for it, up to [`PATIENCE`].
//! [`Node::finish`] ends the run in good order and checks [`always`] what must hold after every fault.

#![allow(dead_code, reason = "the halves of the suite use different parts")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use binance::hosts::{Hosts, Venue as VenueName};
use binance::key::ApiKey;
use market::{ClientOrderId, Nanos, Qty};
use node::config::Config;
use node::control::{Orders, Seen};
use node::environment::Environment;
use node::error::Failure;
use node::live::{self, History, Options};
use node::roles::Role;
use node::summary::Summary;
use node::topology::ExtraStage;
use runtime::stage::{Stage, Work};
use runtime::worker::Idle;
use telemetry::published::Published;
use tokio::sync::watch;
use venue::core::Order;
use venue::faults::Rule;
use venue::{AccountConfig, Venue, VenueConfig, VenueHandle};

/// How long a condition may take to come true. Only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Nodes that run at one time: more than cores would make each other late.
const AT_ONCE: usize = 2;
/// The account; it opens nothing but the venue of its test.
pub const KEY: (&str, &str) = ("faults", "dummy-secret-of-a-test");
/// The engine's settings of the demo: short bars and holds, so that trades come within seconds.
pub const DEMO: &str = include_str!("../../configs/demo.yml");

/// What is started.
pub struct Setup {
    /// The node's configuration: the demo's on eight symbols.
    pub config: Config,
    /// The venue's.
    pub venue: VenueConfig,
    /// Close the position at the end (the default), or leave it.
    pub flatten: bool,
    /// Pulls the kill switch when it appears.
    pub kill_file: Option<PathBuf>,
    /// Changes the hosts that the node is told.
    pub hosts: fn(&mut Hosts),
    /// Stages polled beside the node's own.
    pub extra_stages: Vec<ExtraStage>,
    /// Warm the histories with prices from before the start (the default).
    pub warm: bool,
}

impl Setup {
    /// The usual node, on the market of this seed.
    pub fn new(seed: u64) -> Self {
        let mut config = Config::parse(DEMO).unwrap();
        config.market.max_symbols = 8;
        config.runtime.idle = Some(Idle::Park);
        config.runtime.unpinned = true;
        // It would lie in the state directory of whoever runs the tests.
        config.journal.enabled = false;
        let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)];
        let venue = VenueConfig { seed, symbols: 8, accounts, ..VenueConfig::default() };
        Self {
            config,
            venue,
            flatten: true,
            kill_file: None,
            hosts: |_| {},
            extra_stages: Vec::new(),
            warm: true,
        }
    }

    /// With other settings of the node.
    pub fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    /// With other settings of the venue.
    pub fn venue(mut self, change: impl FnOnce(&mut VenueConfig)) -> Self {
        change(&mut self.venue);
        self
    }

    /// Starts both and waits until the node is ready to trade: all books in sync, connected, reconciled.
    pub fn start(self) -> Node {
        let symbols = self.config.market.max_symbols as u32;
        let node = self.launch(&[]);
        node.until("all books in sync, everything connected and reconciled", |now| {
            let s = now.seen;
            s.book.live_books == symbols && s.gate.order_path && s.gate.user_stream && s.router.reconciled
        });
        node
    }

    /// Starts both, the venue with these faults from the first connection on, and waits for nothing.
    pub fn launch(self, faults: &[Rule]) -> Node {
        logs();
        let turn = Turn::take();
        let venue = Venue::start(self.venue).unwrap();
        for fault in faults {
            venue.inject(fault.clone()).unwrap();
        }
        let name = VenueName::Local(venue.addr().to_string());
        let bars = alpha::eigen::WINDOWS[3] + 150;
        let preroll = venue.preroll(bars, Duration::from_millis(self.config.market.bar_ms));
        let history = match self.warm {
            true => History { symbols: preroll.symbols, bars: preroll.rows },
            false => History::default(),
        };
        let (show, seen) = watch::channel(Seen::default());
        let orders = Orders {
            seconds: None,
            flatten: self.flatten,
            kill_file: self.kill_file,
            private_path: String::new(),
            progress: false,
            watch: Some(show),
        };
        let signalled = Arc::new(AtomicBool::new(false));
        let published = Arc::new(Published::default());
        let mut hosts = name.hosts();
        (self.hosts)(&mut hosts);
        let options = Options {
            role: Role::All,
            hosts,
            venue: name,
            key: ApiKey::hmac(KEY.0, KEY.1).unwrap(),
            config: self.config,
            history,
            forewarner: None,
            orders,
            signalled: Arc::clone(&signalled),
            extra_stages: self.extra_stages,
            published: Some(Arc::clone(&published)),
        };
        let thread = std::thread::Builder::new()
            .name("node".into())
            .spawn(move || live::run(options, &Environment::system()))
            .unwrap();
        Node { venue, seen, published, signalled, thread: Some(thread), _turn: turn }
    }
}

/// A running node and its venue.
pub struct Node {
    /// The venue: faults go in here, and its view of orders and positions is read here.
    pub venue: VenueHandle,
    seen: watch::Receiver<Seen>,
    /// What it shows to whoever looks from outside.
    pub published: Arc<Published>,
    signalled: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Summary, Failure>>>,
    _turn: Turn,
}

/// What a condition looks at.
pub struct Now<'a> {
    /// The node's view.
    pub seen: &'a Seen,
    /// The venue.
    pub venue: &'a VenueHandle,
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
    /// Puts a fault in force.
    pub fn inject(&self, rule: impl Into<Rule>) -> u64 {
        self.venue.inject(rule).unwrap()
    }

    /// Puts a fault in force that strikes once.
    pub fn inject_once(&self, fault: venue::faults::Fault) -> u64 {
        self.inject(Rule { fault, times: 1, skip: 0 })
    }

    /// What the node shows now.
    pub fn seen(&self) -> Seen {
        self.seen.borrow().clone()
    }

    /// Waits for a condition and says how long it took; fails, with what the node shows, after [`PATIENCE`] or when the
    /// node ends.
    pub fn until(&self, what: &str, mut holds: impl FnMut(&Now<'_>) -> bool) -> Duration {
        let start = Instant::now();
        loop {
            let seen = self.seen();
            if holds(&Now { seen: &seen, venue: &self.venue }) {
                return start.elapsed();
            }
            let over = self.thread.as_ref().is_none_or(JoinHandle::is_finished);
            assert!(!over, "the node ended before: {what}\n{seen:#?}");
            assert!(start.elapsed() < PATIENCE, "this did not come about: {what}\n{seen:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Watches that something stays true for a while; for what must *not* happen.
    pub fn holds_for(&self, time: Duration, what: &str, mut holds: impl FnMut(&Now<'_>) -> bool) {
        let start = Instant::now();
        while start.elapsed() < time {
            let seen = self.seen();
            assert!(holds(&Now { seen: &seen, venue: &self.venue }), "no longer true: {what}\n{seen:#?}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Ends all faults and waits until the node has come to rest with the venue: nothing unknown, reconciled, positions
    /// equal.
    pub fn heal(&self) {
        self.venue.clear_faults();
        self.until("healed: reconciled, no order unknown, positions equal", |now| {
            let r = &now.seen.router;
            r.reconciled && r.unknown == 0 && now.positions_agree()
        });
    }

    /// Heals, ends the run in good order, and holds it to what must be true after every run.
    pub fn finish(self) -> Summary {
        self.heal();
        let (summary, _venue) = self.end();
        summary
    }

    /// Ends the run without healing first; the checks are made all the same.
    pub fn end(mut self) -> (Summary, BTreeMap<String, Qty>) {
        self.signalled.store(true, Ordering::Release);
        let result = self.thread.take().unwrap().join().expect("the node does not panic");
        let summary = result.unwrap_or_else(|e| panic!("the run ended with an error: {e:?}"));
        always(&self.venue, &summary);
        let left = positions(&self.venue);
        (summary, left)
    }

    /// Asks the node to end, as a signal does.
    pub fn signal(&self) {
        self.signalled.store(true, Ordering::Release);
    }

    /// Waits for a node that ends by itself, with its result.
    pub fn ended(&mut self) -> Result<Summary, Failure> {
        let start = Instant::now();
        while !self.thread.as_ref().unwrap().is_finished() {
            assert!(start.elapsed() < PATIENCE, "the node did not end\n{:#?}", self.seen());
            std::thread::sleep(Duration::from_millis(5));
        }
        self.thread.take().unwrap().join().expect("the node does not panic")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.signalled.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Positions of the account at the venue that are not zero, by symbol.
pub fn positions(venue: &VenueHandle) -> BTreeMap<String, Qty> {
    venue.inspect(|exchange| {
        let account = exchange.account(venue.account(0));
        let open = account.positions.iter().filter(|(_, p)| !p.qty.is_zero());
        open.map(|((symbol, _), p)| (exchange.listing(*symbol).instrument.symbol.clone(), p.qty)).collect()
    })
}

/// Orders of the account at the venue, oldest first.
pub fn orders(venue: &VenueHandle) -> Vec<Order> {
    venue.inspect(|exchange| exchange.orders_of(venue.account(0)).cloned().collect())
}

/// Orders of the account that are open at the venue.
pub fn open_orders(venue: &VenueHandle) -> Vec<Order> {
    orders(venue).into_iter().filter(Order::is_open).collect()
}

/// What is true after every run, whatever happened in it.
fn always(venue: &VenueHandle, summary: &Summary) {
    let text = summary.text();
    let all = orders(venue);
    let left: Vec<&Order> = all.iter().filter(|o| o.is_open()).collect();
    assert!(left.is_empty(), "orders left at the venue: {left:#?}\n{text}");
    assert_eq!(summary.open_orders, Some(0), "{text}");
    assert_eq!(summary.router.unknown, 0, "the fate of every order is known\n{text}");
    let at_venue = positions(venue);
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

/// Log lines of a failing test; `RUST_LOG` chooses the level.
fn logs() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let filter = std::env::var("RUST_LOG").ok().and_then(|v| v.parse().ok());
        let level = filter.unwrap_or(tracing_subscriber::filter::LevelFilter::INFO);
        tracing_subscriber::fmt().with_max_level(level).with_test_writer().init();
    });
}

/// The right to run a node: held while it runs.
pub struct Turn;

static RUNNING: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

impl Turn {
    pub fn take() -> Self {
        let running = RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner);
        let free = |running: &mut usize| *running >= AT_ONCE;
        *RUNNING.1.wait_while(running, free).unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        *RUNNING.0.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        RUNNING.1.notify_one();
    }
}

/// A stage that does nothing, until it is told to stand still: then its whole worker does.
pub struct Stall(Arc<AtomicU64>);

impl Stall {
    /// On this worker; the handle takes the milliseconds of the next stall.
    pub fn on(worker: &'static str) -> (ExtraStage, Arc<AtomicU64>) {
        let handle = Arc::new(AtomicU64::new(0));
        (ExtraStage { worker, stage: Box::new(Self(Arc::clone(&handle))) }, handle)
    }
}

impl Stage for Stall {
    fn name(&self) -> &'static str {
        "stall"
    }

    fn poll(&mut self, _now_ns: u64) -> Work {
        // Set back after the stall: a test sees its end by it.
        std::thread::sleep(Duration::from_millis(self.0.load(Ordering::Acquire)));
        self.0.store(0, Ordering::Release);
        Work::Idle
    }
}

/// Nanoseconds of the venue's wall clock, for comparing with order times.
pub fn wall() -> Nanos {
    Nanos(runtime::clock::Clock::new().wall_ns())
}
