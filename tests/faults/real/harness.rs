//! A local venue on real sockets and a live node on real threads, in this process. What holds of every run is held in
//! the simulation (`crate::harness`); here only what sockets, threads and processes do is of interest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use binance::hosts::{Hosts, Venue as VenueName};
use binance::key::ApiKey;
use market::Qty;
use node::control::{Orders, Seen};
use node::environment::Environment;
use node::error::Failure;
use node::live::{self, History, Options};
use node::roles::Role;
use node::summary::Summary;
use node::topology::ExtraStage;
use runtime::stage::{Stage, Work};
use runtime::worker::Idle;
use tokio::sync::watch;
use venue::core::Order;
use venue::{AccountConfig, Venue, VenueConfig, VenueHandle};

use crate::harness::logs;

/// How long a condition may take to come true. Only a failure takes so long.
pub const PATIENCE: Duration = Duration::from_secs(60);
/// Nodes that run at one time: more than cores would make each other late.
const AT_ONCE: usize = 2;
/// The account; it opens nothing but the venue of its test.
pub const KEY: (&str, &str) = ("faults", "dummy-secret-of-a-test");

/// What is started.
pub struct Setup {
    /// The node's configuration: the demo's on eight symbols.
    pub config: node::config::Config,
    /// Changes the hosts that the node is told.
    pub hosts: fn(&mut Hosts),
    /// Stages polled beside the node's own.
    pub extra_stages: Vec<ExtraStage>,
    seed: u64,
}

impl Setup {
    /// The usual node, on the market of this seed.
    pub fn new(seed: u64) -> Self {
        let mut config = crate::harness::Setup::new(seed).config;
        config.runtime.layout = None;
        config.runtime.idle = Some(Idle::Park);
        config.runtime.unpinned = true;
        // It would lie in the state directory of whoever runs the tests.
        config.journal.enabled = false;
        Self { config, hosts: |_| {}, extra_stages: Vec::new(), seed }
    }

    /// Starts both and waits until the node is ready to trade: all books in sync, connected, reconciled.
    pub fn start(self) -> Node {
        let node = self.launch();
        node.until("all books in sync, everything connected and reconciled", |now| {
            let s = now.seen;
            s.book.live_books == 8 && s.gate.order_path && s.gate.user_stream && s.router.reconciled
        });
        node
    }

    /// Starts both and waits for nothing.
    pub fn launch(self) -> Node {
        logs();
        let turn = Turn::take();
        let accounts = vec![AccountConfig::hmac(KEY.0, KEY.1, 100_000)];
        let config = VenueConfig { seed: self.seed, symbols: 8, accounts, ..VenueConfig::default() };
        let venue = Venue::start(config).unwrap();
        let name = VenueName::Local(venue.addr().to_string());
        let bars = alpha::eigen::WINDOWS[3] + 150;
        let preroll = venue.preroll(bars, Duration::from_millis(self.config.market.bar_ms));
        let (show, seen) = watch::channel(Seen::default());
        let orders = Orders {
            seconds: None,
            flatten: true,
            kill_file: None,
            private_path: String::new(),
            progress: false,
            watch: Some(show),
        };
        let signalled = Arc::new(AtomicBool::new(false));
        let mut hosts = name.hosts();
        (self.hosts)(&mut hosts);
        let options = Options {
            role: Role::All,
            hosts,
            venue: name,
            key: ApiKey::hmac(KEY.0, KEY.1).unwrap(),
            config: self.config,
            history: History { symbols: preroll.symbols, bars: preroll.rows },
            forewarner: None,
            orders,
            signalled: Arc::clone(&signalled),
            extra_stages: self.extra_stages,
            published: None,
        };
        let thread = std::thread::Builder::new()
            .name("node".into())
            .spawn(move || live::run(options, &Environment::system()))
            .unwrap();
        Node { venue, seen, signalled, thread: Some(thread), _turn: turn }
    }
}

/// A running node and its venue.
pub struct Node {
    /// The venue: faults go in here, and its view of orders and positions is read here.
    pub venue: VenueHandle,
    seen: watch::Receiver<Seen>,
    signalled: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<Summary, Failure>>>,
    _turn: Turn,
}

/// What a condition looks at.
pub struct Now<'a> {
    /// The node's view.
    pub seen: &'a Seen,
    venue: &'a VenueHandle,
}

impl Now<'_> {
    /// All books in sync and none masked.
    pub fn all_well(&self) -> bool {
        self.seen.masked.is_empty() && self.seen.book.live_books == 8
    }

    /// Reconciled, no order unknown, both sides name the same positions.
    pub fn in_order(&self) -> bool {
        let r = &self.seen.router;
        self.seen.gate.user_stream
            && r.reconciled
            && r.unknown == 0
            && self.seen.positions == positions(self.venue)
    }
}

impl Node {
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

    /// Ends all faults and the run, and looks at what is left.
    pub fn finish(mut self) -> Summary {
        self.venue.clear_faults();
        self.until("healed", |now| now.in_order());
        self.signalled.store(true, Ordering::Release);
        let summary = self.ended().unwrap_or_else(|e| panic!("the run ended with an error: {e:?}"));
        let text = summary.text();
        assert!(open_orders(&self.venue).is_empty() && positions(&self.venue).is_empty(), "{text}");
        assert_eq!((summary.open_orders, summary.router.unknown), (Some(0), 0), "{text}");
        assert!(summary.open_positions.as_ref().is_some_and(Vec::is_empty), "{text}");
        summary
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
fn positions(venue: &VenueHandle) -> BTreeMap<String, Qty> {
    venue.inspect(|exchange| sim::invariants::positions(exchange, venue.account(0)))
}

/// Orders of the account at the venue, oldest first.
pub fn orders(venue: &VenueHandle) -> Vec<Order> {
    venue.inspect(|exchange| exchange.orders_of(venue.account(0)).cloned().collect())
}

/// Orders of the account that are open at the venue.
pub fn open_orders(venue: &VenueHandle) -> Vec<Order> {
    orders(venue).into_iter().filter(Order::is_open).collect()
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
