//! The world of a run: the venue, the network, memory, machines and the nodes on them, and the loop that moves them all.
//!
//! One thread. The loop and every task of every process are tasks of one tokio runtime whose clock is paused: it moves
//! on when nobody has anything to do, to the next time that anybody waits for. So the order of everything is decided
//! by times and by the order of waking, and both by the seed.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use binance::hosts::{Hosts, Venue as VenueName};
use binance::key::ApiKey;
use binance::rest::{HttpFailure, HttpResponse, TransportKind};
use market::Nanos;
use memory::schema;
use node::config::Config;
use node::control::{Orders, Seen};
use node::live::{History, Options};
use node::roles::{Role, Share, ingest};
use node::summary::Summary;
use runtime::environment::Files;
use telemetry::published::Published;
use tokio::sync::watch;
use tokio::time::sleep_until;
use venue::core::{AccountId, SymbolStatus};
use venue::faults::{Fault as VenueFault, Rule};
use venue::{Answer, HttpRequest, PolledVenue, RequestId, VenueConfig};

use crate::cluster::Cluster;
use crate::disk::Trouble;
use crate::machine::Host;
use crate::network::{Machine, Network, address};
use crate::process::{Process, ProcessSpawner};
use crate::time::TrueTime;

/// Key of the account; it opens nothing but the venue of the run.
pub const KEY: (&str, &str) = ("sim-key-of-the-account", "sim-secret-that-must-never-leave");
/// The account of [`KEY`] at the venue.
pub const ACCOUNT: AccountId = AccountId(0);
/// The kill file of every machine.
pub const KILL_FILE: &str = "/etc/dolphin/kill";
/// A node that ended is started again after this, as systemd would; not one that says that its configuration is wrong.
const RESTART: u64 = 1_000 * Nanos::MS;
/// What a person does unheard is dropped from the user stream for so long, ms.
const UNHEARD_MS: u64 = 500;
const USAGE: u8 = 2;
/// Lines of the timeline that are kept.
const LINES: usize = 2_000;

/// What a machine is to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// For people.
    pub name: String,
    /// Configuration.
    pub config: Config,
    /// Role.
    pub role: Role,
    /// Of an ingest node.
    pub share: Share,
    /// The model that judges its days, if any.
    pub forewarner: Option<alpha::Forewarner>,
    /// Changes the hosts that it is told.
    pub hosts: fn(&mut Hosts),
    /// Close positions at the end.
    pub flatten: bool,
    /// It is started again when it has ended, as systemd would.
    pub restarts: bool,
}

impl Program {
    /// One that does everything, on the venue's own hosts, started again whenever it has ended.
    pub const fn all(name: String, config: Config) -> Self {
        let (role, share) = (Role::All, Share::Whole);
        Self { name, config, role, share, forewarner: None, hosts: |_| {}, flatten: false, restarts: true }
    }
}

/// What a run begins with.
#[derive(Debug, Clone)]
pub struct Scene {
    /// Seed of network, memory and machines.
    pub seed: u64,
    /// The venue.
    pub venue: VenueConfig,
    /// What runs, each on a machine of its own.
    pub programs: Vec<Program>,
    /// Bars of prices that the nodes are given for their warm-up.
    pub bars: usize,
    /// Time at the beginning, ns since the Unix epoch.
    pub begins_ns: u64,
    /// Do the nodes publish their state, as they do where somebody looks at them? It changes nothing of the run.
    pub published: bool,
}

/// How a process ended.
#[derive(Debug, Clone)]
pub enum End {
    /// In good order.
    Done(Box<Summary>),
    /// With an error: exit code and message.
    Failed(u8, String),
    /// It was killed.
    Killed,
}

/// A machine and what runs on it.
pub struct Slot {
    /// The machine.
    pub host: Host,
    /// What it runs.
    pub program: Program,
    /// The process, while there is one.
    pub process: Option<Arc<Process>>,
    /// Sets SIGTERM.
    pub signalled: Arc<AtomicBool>,
    /// What its control thread sees.
    pub seen: watch::Sender<Seen>,
    outcome: Rc<RefCell<Option<End>>>,
    /// It is to be started then; `u64::MAX`: not by itself.
    pub start_at: u64,
    /// Ends so far.
    pub ends: Vec<(u64, End)>,
    /// It is to be continued then (SIGCONT).
    pub continue_at: u64,
    /// Its clock is to be set right then.
    pub clock_right_at: u64,
    /// It loses its power when its process is killed.
    pub power_lost: bool,
    /// Its disk is in order again then.
    pub disk_right_at: u64,
    /// Where its processes publish their state, if anybody looks.
    pub published: Option<Arc<Published>>,
}

/// The world.
pub struct World {
    /// True time.
    pub time: TrueTime,
    /// The network.
    pub network: Arc<Network>,
    /// Memory.
    pub cluster: Arc<Cluster>,
    /// The venue.
    pub venue: RefCell<PolledVenue>,
    /// Machines.
    pub slots: RefCell<Vec<Slot>>,
    history: History,
    calls: RefCell<BTreeMap<RequestId, u64>>,
    /// Memory's cluster heals then.
    pub merge_at: Cell<u64>,
    /// Starts so far.
    pub starts: Cell<u64>,
    finished: Cell<bool>,
    timeline: RefCell<VecDeque<(u64, String)>>,
}

impl World {
    /// A world in which nothing runs yet.
    pub fn new(scene: Scene) -> Result<Rc<Self>, String> {
        let Scene { seed, venue, programs, bars, begins_ns, published } = scene;
        let time = TrueTime::begin(begins_ns);
        let now = Nanos(time.now_ns());
        let network = Network::new(time, seed, programs.len());
        let cluster = Cluster::new(time, seed, programs.len());
        let bar = programs.first().map_or(500, |p| p.config.market.bar_ms);
        let preroll = venue.preroll(bars, Duration::from_millis(bar));
        let history = History { symbols: preroll.symbols, bars: preroll.rows };
        let venue = PolledVenue::new(venue, now).map_err(|e| e.to_string())?;
        let host = |i: usize| {
            let host = Host::new(i, seed);
            host.files.forbid(KEY.1);
            host
        };
        let slot = |(i, program): (usize, Program)| Slot {
            host: host(i),
            program,
            process: None,
            signalled: Arc::default(),
            seen: watch::Sender::default(),
            outcome: Rc::default(),
            start_at: now.0,
            ends: Vec::new(),
            continue_at: u64::MAX,
            clock_right_at: u64::MAX,
            power_lost: false,
            disk_right_at: u64::MAX,
            published: published.then(Arc::default),
        };
        Ok(Rc::new(Self {
            time,
            network,
            cluster,
            venue: RefCell::new(venue),
            slots: RefCell::new(programs.into_iter().enumerate().map(slot).collect()),
            history,
            calls: RefCell::default(),
            merge_at: Cell::new(u64::MAX),
            starts: Cell::new(0),
            finished: Cell::new(false),
            timeline: RefCell::default(),
        }))
    }

    /// Waits, in simulated time.
    pub async fn wait_ms(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Where the node of a machine publishes its state, if it does.
    pub fn published(&self, machine: Machine) -> Option<Arc<Published>> {
        self.slots.borrow()[machine].published.clone()
    }

    /// Simulated time since the beginning, ms.
    pub fn now_ms(&self) -> u64 {
        self.time.since_begin_ns() / Nanos::MS
    }

    /// The loop. Run it as a task; it ends after [`Self::finish`].
    pub async fn run(self: Rc<Self>) {
        while !self.finished.get() {
            let now = self.time.now_ns();
            self.arrivals(now);
            self.processes(now);
            let next = self.next_due(now);
            self.network.watch_until(next);
            tokio::select! {
                biased;
                () = self.network.sooner.notified() => {}
                () = sleep_until(self.time.instant(next)) => {}
            }
        }
    }

    /// A line of the timeline.
    pub fn note(&self, text: String) {
        tracing::debug!(at = crate::faults::clock(self.now_ms()), "{text}");
        let mut timeline = self.timeline.borrow_mut();
        if timeline.len() == LINES {
            timeline.pop_front();
        }
        timeline.push_back((self.now_ms(), text));
    }

    /// What happened, ms since the beginning and in words, oldest first.
    pub fn timeline(&self) -> Vec<(u64, String)> {
        self.timeline.borrow().iter().cloned().collect()
    }

    /// Ends the loop.
    pub fn finish(&self) {
        self.finished.set(true);
        self.network.sooner.notify_one();
    }

    fn next_due(&self, now: u64) -> u64 {
        let venue = self.venue.borrow().next_due(Nanos(now)).0;
        let slots = self.slots.borrow();
        let waits = slots.iter().flat_map(|s| [s.start_at, s.continue_at, s.clock_right_at, s.disk_right_at]);
        let network = self.network.next_due().unwrap_or(u64::MAX);
        // The clock moves in whole milliseconds.
        waits.chain([venue, network, self.merge_at.get()]).min().unwrap_or(u64::MAX).max(now + 1)
    }

    // ---- network and venue -----------------------------------------------------------------------------------------

    fn arrivals(self: &Rc<Self>, now: u64) {
        let arrived = self.network.arrive();
        let mut venue = self.venue.borrow_mut();
        for id in arrived.accepts {
            if let Some((stream, ip)) = self.network.accepted(id) {
                venue.accept(Box::new(stream), ip, Nanos(now));
            }
        }
        for (call, machine, request) in arrived.requests {
            let request = HttpRequest {
                method: request.method.to_owned(),
                path: request.path.to_owned(),
                query: request.query,
                body: String::new(),
                api_key: request.api_key,
                ip: address(machine),
            };
            let id = venue.request(request, Nanos(now));
            self.calls.borrow_mut().insert(id, call);
        }
        if arrived.venue || venue.next_due(Nanos(now)).0 <= now {
            venue.poll(Nanos(now));
        }
        for (id, answer) in venue.take_answers(Nanos(now)) {
            if let Some(call) = self.calls.borrow_mut().remove(&id) {
                self.network.answer(call, response(answer));
            }
        }
        let slots = self.slots.borrow();
        for machine in arrived.machines {
            if let Some(process) = slots.get(machine).and_then(|s| s.process.as_ref()) {
                process.arrived.notify_one();
            }
        }
    }

    // ---- processes -------------------------------------------------------------------------------------------------

    fn processes(self: &Rc<Self>, now: u64) {
        if now >= self.merge_at.get() {
            self.merge_at.set(u64::MAX);
            self.cluster.heal();
        }
        let n = self.slots.borrow().len();
        for machine in 0..n {
            self.ended(machine, now);
            let mut slots = self.slots.borrow_mut();
            let slot = &mut slots[machine];
            if now >= slot.continue_at {
                slot.continue_at = u64::MAX;
                slot.process.iter().for_each(|p| p.stop(false));
            }
            if now >= slot.clock_right_at {
                slot.clock_right_at = u64::MAX;
                slot.host.clock.set_right(now);
            }
            if now >= slot.disk_right_at {
                slot.disk_right_at = u64::MAX;
                slot.host.files.trouble(Trouble::None);
            }
            if slot.process.is_none() && now >= slot.start_at {
                slot.start_at = u64::MAX;
                drop(slots);
                self.start(machine);
            }
        }
    }

    /// Notices that a process has ended.
    fn ended(&self, machine: Machine, now: u64) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[machine];
        let Some(process) = &slot.process else { return };
        let end = match slot.outcome.borrow_mut().take() {
            _ if process.is_dead() => End::Killed,
            Some(end) => end,
            None => return,
        };
        let how = match &end {
            End::Done(summary) => format!("done, {}", summary.ended_by),
            End::Failed(exit, message) => format!("exit {exit}: {message}"),
            End::Killed => "killed".to_owned(),
        };
        let stays = matches!(end, End::Failed(USAGE, _)) || !slot.program.restarts;
        let restart = if stays { u64::MAX } else { now + RESTART };
        let open = self.venue.borrow().inspect(|e| e.account(ACCOUNT).open.len());
        self.note(format!("{} ends with {open} orders at the venue: {how}", process.name));
        process.kill_after(0);
        self.venue.borrow_mut().client_gone(address(machine));
        if std::mem::take(&mut slot.power_lost) {
            slot.host.lose_power();
        }
        slot.process = None;
        slot.ends.push((now, end));
        if slot.start_at == u64::MAX {
            slot.start_at = restart;
        }
    }

    fn start(self: &Rc<Self>, machine: Machine) {
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[machine];
        let name = slot.program.name.clone();
        let (process, environment) = slot.host.boot(&name, self.time, &self.network, &self.cluster);
        self.note(format!("{} starts", process.name));
        slot.signalled = Arc::default();
        slot.seen.send_replace(Seen::default());
        let spawner = ProcessSpawner::new(Arc::clone(&process));
        let (outcome, program) = (Rc::clone(&slot.outcome), slot.program.clone());
        let venue = VenueName::Local("127.0.0.1:9080".to_owned());
        let (mut hosts, signalled) = (venue.hosts(), Arc::clone(&slot.signalled));
        (program.hosts)(&mut hosts);
        self.starts.set(self.starts.get() + 1);
        if program.role == Role::Ingest {
            let Program { config, share, .. } = program;
            let published = slot.published.clone();
            let (seconds, progress) = (None, false);
            let options =
                ingest::Options { config, venue, hosts, share, seconds, progress, signalled, published };
            spawner.run(Box::pin(async move {
                let end = match ingest::ingest(options, &environment).await {
                    Ok(_) => End::Done(Box::default()),
                    Err(e) => End::Failed(e.exit, e.message),
                };
                *outcome.borrow_mut() = Some(end);
            }));
        } else {
            let key = ApiKey::hmac(KEY.0, KEY.1);
            let orders = Orders {
                seconds: None,
                flatten: program.flatten,
                kill_file: Some(KILL_FILE.into()),
                private_path: String::new(),
                progress: false,
                watch: Some(slot.seen.clone()),
            };
            let (history, published) = (self.history.clone(), slot.published.clone());
            spawner.run(Box::pin(async move {
                let end = match key {
                    Err(e) => End::Failed(2, e.to_string()),
                    Ok(key) => {
                        let Program { config, role, forewarner, .. } = program;
                        let extra_stages = Vec::new();
                        let options = Options {
                            role,
                            config,
                            key,
                            venue,
                            hosts,
                            history,
                            forewarner,
                            orders,
                            signalled,
                            extra_stages,
                            published,
                        };
                        match node::live::live(options, &environment).await {
                            Ok(summary) => End::Done(Box::new(summary)),
                            Err(e) => End::Failed(e.exit, e.message),
                        }
                    }
                };
                *outcome.borrow_mut() = Some(end);
            }));
        }
        slot.process = Some(process);
    }

    /// Starts the process of a machine, unless there is one.
    pub fn start_now(&self, machine: Machine) {
        self.slots.borrow_mut()[machine].start_at = self.time.now_ns();
        self.network.sooner.notify_one();
    }

    /// Kills the process of a machine after so many polls; it starts again after `back_ms`. Was there one?
    pub fn kill(&self, machine: Machine, after_polls: u64, power: bool, back_ms: u64) -> bool {
        let now = self.time.now_ns();
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[machine];
        let Some(process) = &slot.process else { return false };
        slot.start_at = now.saturating_add(back_ms.saturating_mul(Nanos::MS));
        slot.continue_at = u64::MAX;
        slot.power_lost = power;
        if power {
            self.network.unplug(machine);
        }
        process.stop(false);
        process.kill_after(after_polls);
        true
    }

    /// Something is wrong with a machine's disk until then.
    pub fn disk(&self, machine: Machine, trouble: Trouble, until: u64) -> bool {
        let mut slots = self.slots.borrow_mut();
        slots[machine].host.files.trouble(trouble);
        slots[machine].disk_right_at = until;
        true
    }

    /// SIGSTOP, and SIGCONT after `for_ms`.
    pub fn pause(&self, machine: Machine, for_ms: u64) -> bool {
        let now = self.time.now_ns();
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[machine];
        let Some(process) = &slot.process else { return false };
        process.stop(true);
        slot.continue_at = now + for_ms * Nanos::MS;
        true
    }

    /// The workers of a machine do not come back from a poll. Was there a process?
    pub fn hang(&self, machine: Machine) -> bool {
        self.slots.borrow()[machine].process.as_ref().is_some_and(|process| {
            process.hang();
            true
        })
    }

    /// A worker of a machine does not come back from a poll for `for_ms`. Was there a process?
    pub fn stall(&self, machine: Machine, worker: &str, for_ms: u64) -> bool {
        let until = self.time.now_ns() + for_ms * Nanos::MS;
        self.slots.borrow()[machine].process.as_ref().is_some_and(|process| {
            process.stall(worker, until);
            true
        })
    }

    /// A stage on a worker of a machine panics at its next poll. Was there a process?
    pub fn panic(&self, machine: Machine, worker: &str) -> bool {
        self.slots.borrow()[machine].process.as_ref().is_some_and(|process| {
            process.panic(worker);
            true
        })
    }

    /// SIGTERM. Was there a process?
    pub fn signal(&self, machine: Machine) -> bool {
        let slots = self.slots.borrow();
        slots[machine].signalled.store(true, Ordering::Release);
        slots[machine].process.is_some()
    }

    /// SIGTERM; it starts again `back_ms` after now, or when it has ended.
    pub fn terminate(&self, machine: Machine, back_ms: u64) -> bool {
        let now = self.time.now_ns();
        let mut slots = self.slots.borrow_mut();
        let slot = &mut slots[machine];
        if slot.process.is_none() {
            return false;
        }
        slot.start_at = now + back_ms * Nanos::MS;
        slot.signalled.store(true, Ordering::Release);
        true
    }

    /// Pulls the kill switch of a machine.
    pub fn kill_switch(&self, machine: Machine, flatten: bool) {
        let text = if flatten { "flatten" } else { "stop" };
        // The files of a simulated machine take everything.
        let _ = self.slots.borrow()[machine].host.files.write(KILL_FILE.as_ref(), text);
    }

    /// Closes whatever position the account has, as a person would on the venue's own pages. Was there one?
    pub fn close_by_hand(&self, unheard: bool) -> bool {
        let now = Nanos(self.time.now_ns());
        let mut venue = self.venue.borrow_mut();
        let held: Vec<(String, i64, String)> = venue.inspect(|e| {
            let open = e.account(ACCOUNT).positions.iter().filter(|(_, p)| !p.qty.is_zero());
            open.map(|((symbol, _), p)| {
                let i = &e.listing(*symbol).instrument;
                (i.symbol.clone(), p.qty.0, i.lot.format(p.qty.0.abs()).to_string())
            })
            .collect()
        });
        if unheard {
            let dropped = Rule::times(VenueFault::Drop { stream: "user@*".to_owned() }, 0);
            // The venue takes a rule of its own.
            let _ = venue.inject(dropped, Some(UNHEARD_MS), now);
        }
        for (symbol, lots, quantity) in &held {
            let side = if *lots > 0 { "SELL" } else { "BUY" };
            let (account, side, price, client_id) = (0, side.to_owned(), None, None);
            let (symbol, quantity) = (symbol.clone(), quantity.clone());
            let order = VenueFault::ExternalOrder { account, symbol, side, quantity, price, client_id };
            // What the book cannot take now stays open, and is found all the same.
            let _ = venue.inject(order, None, now);
        }
        !held.is_empty()
    }

    /// Orders a kill of the deployment, as `dolphin kill` does from a machine without a node.
    pub fn order_kill(&self, flatten: bool) {
        let (map, key) = (schema::CONTROL, schema::Deployment::Blue.kill_key());
        let before = schema::Reading::<schema::Kill>::of(self.cluster.get(map, key).as_deref()).number();
        let kill = schema::Kill {
            number: before + 1,
            id: format!("{:016x}", before + 1),
            killed_at: Nanos(self.time.now_ns()),
            reason: "a drill".to_owned(),
            flatten,
            by: "operator".to_owned(),
            rearmed: None,
        };
        self.cluster.put(map, key, schema::to_text(&kill));
    }

    /// Lets everything go on, as `dolphin rearm` does: the kill in memory is taken back, and what latched is lifted.
    pub fn rearm(&self) {
        let (at, reason, by) =
            (Nanos(self.time.now_ns()), "healed by hand".to_owned(), "operator".to_owned());
        let (map, key) = (schema::CONTROL, schema::Deployment::Blue.kill_key());
        let kill = schema::Reading::<schema::Kill>::of(self.cluster.get(map, key).as_deref());
        if let Some(kill) = kill.force() {
            let rearmed = Some(schema::Rearm { at, reason: reason.clone(), by: by.clone() });
            self.cluster.put(map, key, schema::to_text(&schema::Kill { rearmed, ..kill }));
        }
        let order = schema::RearmOrder { id: format!("{:016x}", at.0), at, reason, by, day: true };
        self.cluster.put(map, schema::Deployment::Blue.rearm_key(), schema::to_text(&order));
    }

    /// Orders of the account at the venue so far.
    pub fn orders(&self) -> usize {
        self.venue.borrow().inspect(|e| e.orders_of(ACCOUNT).count())
    }

    /// Takes every fault away: network, clocks, memory, venue, processes, kill switches.
    pub fn heal(&self) {
        let now = self.time.now_ns();
        self.network.heal();
        self.cluster.heal();
        self.rearm();
        self.merge_at.set(u64::MAX);
        let mut venue = self.venue.borrow_mut();
        venue.clear_faults();
        let halted: Vec<String> = venue.inspect(|e| {
            let halted = e.listings().iter().filter(|l| l.status != SymbolStatus::Trading);
            halted.map(|l| l.instrument.symbol.clone()).collect()
        });
        for symbol in halted {
            let fault = VenueFault::SetStatus { symbol, status: "TRADING".to_owned() };
            // The venue takes the name of a status of its own.
            let _ = venue.inject(fault, None, Nanos(now));
        }
        drop(venue);
        for slot in self.slots.borrow_mut().iter_mut() {
            slot.host.clock.set_right(now);
            slot.clock_right_at = u64::MAX;
            slot.host.files.trouble(Trouble::None);
            slot.disk_right_at = u64::MAX;
            slot.continue_at = u64::MAX;
            slot.process.iter().for_each(|p| p.stop(false));
            if slot.process.is_none() {
                slot.start_at = slot.start_at.min(now + RESTART);
            }
            let _ = slot.host.files.remove(KILL_FILE.as_ref());
        }
        self.network.sooner.notify_one();
    }
}

fn response(answer: Answer) -> Result<HttpResponse, HttpFailure> {
    match answer {
        Answer::Lost => Err(HttpFailure::Transport(TransportKind::Broken, "connection reset".to_owned())),
        Answer::Reply(reply) => Ok(HttpResponse {
            status: reply.status,
            headers: reply.headers.into_iter().map(|(n, v)| (n.to_lowercase(), v)).collect(),
            body: reply.body.into_bytes(),
        }),
    }
}
