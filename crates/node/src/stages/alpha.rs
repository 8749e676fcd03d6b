//! The bar handler around the engine (SPEC §3.13), live: one tick in, at most one intent out.

use std::sync::Arc;

use alpha::{
    AcbPush, Action, Booked, Engine, Gate, ObView, Recent, Rehearsal, SafetyWord, StepReport, TickInput,
    Trade,
};
use arrayvec::ArrayVec;
use market::{Date, ExitReason, Intent, Nanos, Outcome, Posture, utc_date};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::journal::tap::{Entry, Tap};
use runtime::latency::Probe;
use runtime::pending::{Publisher, Taker};
use runtime::ring::{Rx, Tx};
use runtime::shared::Shared;
use runtime::stage::{Stage, Work};
use serde::{Deserialize, Serialize};

use super::memory::{MemoryNews, MemoryScan, Step, UNSETTLED, Unsettled};
use super::{Cause, Hop, StampedIntent, Stamps, Tick, Trace};
use crate::config::{Config, HibernateAction, Signal};
use crate::published::EngineView;

/// What the control thread asks of the engine's stage.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum AlphaCommand {
    /// No entries from here on; the position is closed if `flatten`.
    Stop {
        /// Close the position.
        flatten: bool,
    },
    /// Orders sent and refused since the last word, for the circuit breaker.
    Orders {
        /// Accepted.
        accepted: u32,
        /// Refused by the venue.
        rejected: u32,
    },
}

/// What the engine's stage tells.
#[derive(Debug, Clone, Copy)]
pub enum AlphaNews {
    /// How many steps came to each gate, in the order of [`Gate::ALL`]; every 10 ticks.
    Gates([u64; Gate::ALL.len()]),
    /// The trade of that number was closed, or what was told of it was put right.
    Closed(u64, Trade),
    /// A day ended.
    DayEnded(Date),
    /// State changed during a step: its result must not be used.
    StaleState,
    /// An outcome that did not fit.
    Mismatch,
    /// Scans that were too old to be used, so far.
    StaleScans(u64),
    /// What memory says about safety cannot be read.
    SafetyUnreadable,
    /// What the engine allows, whenever it changed: posture, highest leverage, breaker.
    Allowed {
        /// Posture in force.
        posture: Posture,
        /// `abs_max_eff` of SPEC §3.8.
        abs_max_leverage: f64,
        /// The circuit breaker lets positions be opened.
        breaker_can_open: bool,
    },
}

/// What the stage took and what it decided, for the journal: of each duty cycle what was taken, then what came of it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub enum AlphaRecord {
    /// A pushed boost and beta, taken with the next tick.
    Acb(AcbPush),
    /// A word of memory about safety, taken with the next tick.
    Safety(SafetyWord),
    /// A measured Rm, taken with the next tick.
    Rm(f64),
    /// A scan of system memory, taken with the next tick.
    Scan(MemoryScan),
    /// An outcome.
    Outcome(Outcome),
    /// A command.
    Command(AlphaCommand),
    /// A tick; it was sent before this.
    Tick,
    /// Decided: what a step came to.
    Step {
        /// Lifetime tick.
        tick: u64,
        /// The gate it came to.
        gate: Gate,
        /// [`Engine::digest`] after it.
        digest: u64,
    },
    /// Decided: an intent.
    Intent(Intent),
}

/// A record on its way to the journal.
pub type AlphaEntry = Entry<AlphaRecord>;

/// What the stage keeps from one duty cycle to the next, beside the engine's snapshot.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct AlphaMemo {
    may_enter: bool,
    scan: Option<i64>,
    exit: Option<ExitReason>,
    booked: Nanos,
    recent: Recent,
}

impl AlphaMemo {
    /// Of a stage that is about to start around `engine`.
    pub fn at_start(engine: &Engine, booked: Nanos) -> Self {
        Self { may_enter: true, scan: None, exit: None, booked, recent: engine.recent() }
    }
}

/// The stage's end of the journal.
pub struct AlphaJournal {
    /// Records.
    pub tap: Tap<AlphaRecord>,
    /// Ticks, shared with system memory.
    pub ticks: Tx<Arc<Tick>>,
}

impl AlphaJournal {
    /// Records a tick, or leaves a hole; `None`: there was no place for it.
    pub fn tick(&mut self, at: u64, tick: Option<&Arc<Tick>>) {
        if !self.tap.is_open() {
            return;
        }
        let tick = tick.filter(|_| self.tap.has_room());
        match tick.map(|tick| self.ticks.push(Arc::clone(tick))) {
            Some(Ok(())) => self.tap.push(at, AlphaRecord::Tick),
            _ => self.tap.lose(),
        }
    }
}

/// The ends of the stage's links.
pub struct AlphaLinks {
    /// Ticks with their scan.
    pub ticks: Unloader<Tick>,
    /// Lossless.
    pub outcomes: Rx<Outcome>,
    /// Lossless.
    pub commands: Rx<AlphaCommand>,
    /// Newest pushed boost and beta.
    pub acb: Taker<AcbPush>,
    /// Newest pushed safety.
    pub safety: Taker<SafetyWord>,
    /// Newest Rm of our own sensors.
    pub rm: Taker<f64>,
    /// Newest scan of system memory.
    pub scan: Taker<MemoryScan>,
    /// Lossless.
    pub intents: Tx<StampedIntent>,
    /// News; the newest is given up when full.
    pub news: Tx<AlphaNews>,
    /// Steps for system memory. No empty box: memory's thread is behind, the step is not recorded there.
    pub steps: Loader<Step>,
    /// Trades and days for system memory.
    pub memory_news: Tx<MemoryNews>,
    /// What is taken and decided. Full: a hole, counted.
    pub journal: AlphaJournal,
    /// For people.
    pub view: Publisher<EngineView>,
}

/// How the stage is to act.
#[derive(Debug, Clone, Copy)]
struct Policy {
    /// −1, +1, 0.
    direction: i8,
    /// Length of a tick, ns of event time.
    tick_ns: u64,
    /// What to do with a position in HIBERNATE.
    hibernate: HibernateAction,
    /// Where the signal comes from.
    signal: Signal,
    /// A scan older than this gives no signal.
    scan_stale_after: Nanos,
}

/// The stage.
pub struct AlphaStage {
    /// Books by the router's outcomes.
    engine: Engine,
    policy: Policy,
    links: AlphaLinks,
    clock: Clock,
    probe: Probe,
    /// No entries once this is false.
    may_enter: bool,
    /// The allowance sent last.
    allowance: Option<(Posture, f64, bool)>,
    /// Ticks stepped, and those at the gate counts sent last.
    ticks: u64,
    ticks_counted: u64,
    /// An intent that found its ring full.
    waiting: Option<StampedIntent>,
    /// Number of the last scan used.
    scan: Option<i64>,
    /// Scans that were too old, and how many of them the control thread knows of.
    stale_scans: u64,
    stale_scans_sent: u64,
    /// Why the working exit was asked for.
    exit: Option<ExitReason>,
    /// Event time of the newest tick; before the first, up to when the engine is.
    at: Nanos,
    /// Venue time up to which fills are booked in closed trades.
    booked: Nanos,
    /// Memory does not have the last event yet.
    unrecorded: bool,
    /// The way of the newest tick.
    stamps: Stamps,
    /// Time of this poll.
    polled_at: u64,
    /// Intents of the last input that the journal does not have yet: the router has them first.
    decided: ArrayVec<Intent, 4>,
    /// Trades that were booked at a provisional price; so was the entry of the open one.
    unsettled: ArrayVec<Unsettled, UNSETTLED>,
    entry_unsettled: bool,
    /// Where ticks lie while journal and memory read them.
    ticks_shared: Shared<Tick>,
    /// A tick that was decided upon and has not been handed on to journal, memory and people.
    unfinished: Option<Unfinished>,
    /// The newest tick and room for what a step writes, for rehearsals.
    newest: Option<Arc<Tick>>,
    room: Rehearsal,
}

/// What is left to do for a tick once its decision has left: nothing that comes after it is taken in before that.
struct Unfinished {
    tick: Box<Tick>,
    report: StepReport,
    polled_at: u64,
}

/// Ticks that journal, memory and rehearsals may have at once: what their links hold, and the one each is reading.
const SHARED: usize = 1024 + 32 + 5;
/// Of these, places that have their size from the start; the others get it with their first tick, in a catch-up.
const SIZED: usize = 16;

/// Places for ticks on their way to journal and memory.
pub fn shared_ticks(symbols: usize) -> Shared<Tick> {
    Shared::new(SHARED, |place| Tick::new(if place < SIZED { symbols } else { 0 }))
}

/// Ticks between two copies of the gate counts.
const COUNT_EVERY: u64 = 10;

impl AlphaStage {
    /// Around an engine that was warmed before the start; fills up to the venue time `booked` are in its closed trades.
    pub fn new(
        config: &Config,
        engine: Engine,
        booked: Nanos,
        links: AlphaLinks,
        clock: Clock,
        probe: Probe,
    ) -> Self {
        let symbols = engine.assets().len();
        let policy = Policy {
            direction: config.direction.sign(),
            tick_ns: Nanos::from_millis(config.market.tick_ms).0,
            hibernate: config.hibernate_action,
            signal: config.signal,
            scan_stale_after: Nanos::from_millis(config.market.scan_stale_after_ms),
        };
        Self {
            engine,
            policy,
            links,
            clock,
            probe,
            may_enter: true,
            allowance: None,
            ticks: 0,
            ticks_counted: 0,
            waiting: None,
            scan: None,
            stale_scans: 0,
            stale_scans_sent: 0,
            exit: None,
            at: Nanos(0),
            booked,
            unrecorded: true,
            stamps: Stamps::default(),
            polled_at: 0,
            decided: ArrayVec::new(),
            ticks_shared: shared_ticks(symbols),
            unsettled: ArrayVec::new(),
            entry_unsettled: false,
            unfinished: None,
            newest: None,
            room: Rehearsal::default(),
        }
    }

    /// The engine is that of this time, until a tick comes: a state that is written before says so.
    #[must_use]
    pub const fn from(mut self, at: Nanos) -> Self {
        self.at = at;
        self
    }

    /// What it keeps beside the engine's snapshot.
    pub fn memo(&self) -> AlphaMemo {
        let (may_enter, scan, exit, booked) = (self.may_enter, self.scan, self.exit, self.booked);
        AlphaMemo { may_enter, scan, exit, booked, recent: self.engine.recent() }
    }

    /// Goes on with what was kept.
    pub fn go_on(&mut self, memo: AlphaMemo) {
        let AlphaMemo { may_enter, scan, exit, booked, recent } = memo;
        (self.may_enter, self.scan, self.exit, self.booked) = (may_enter, scan, exit, booked);
        self.engine.set_recent(recent);
    }

    /// Event time of the newest tick.
    pub const fn tick_at(&self) -> Nanos {
        self.at
    }

    /// The engine.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    fn send_news(&mut self, news: AlphaNews) {
        // News is telemetry: what finds no room is given up, and the ring counts it.
        let _ = self.links.news.push(news);
    }

    fn emit(&mut self, action: Action, recv_ns: u64) {
        if let Action::Intent(intent) = action {
            let decided_ns = self.clock.now_ns();
            let trace = if recv_ns == 0 {
                Trace::default()
            } else {
                let stamps = Stamps { decided_ns, ..self.stamps };
                Trace { cause: Cause::Tick, boundary: self.at, stamps }
            };
            let stamped = StampedIntent { intent, recv_ns, decided_ns, trace };
            self.waiting = self.links.intents.push(stamped).err();
            if self.links.journal.tap.is_open() {
                // A poll makes two at most.
                let _ = self.decided.try_push(intent);
            }
            match intent {
                Intent::Enter(_) => self.unrecorded = true,
                Intent::Exit(exit) => (self.exit, self.unrecorded) = (Some(exit.reason), true),
                Intent::EntrySignal { .. } => {}
            }
        }
    }

    /// Tells the journal what the poll of that time took, and what it decided.
    fn keep(&mut self, polled_at: u64, taken: AlphaRecord) {
        self.links.journal.tap.push(polled_at, taken);
        for intent in self.decided.drain(..) {
            self.links.journal.tap.push(polled_at, AlphaRecord::Intent(intent));
        }
    }

    /// ⑨ Hands the step on, off the hot path. `tick`: what was stepped, and its number if the engine took it.
    fn record(&mut self, tick: Option<Arc<Tick>>, number: Option<u64>) {
        let Some(mut step) = self.links.steps.acquire() else { return };
        (step.tick, step.number) = (tick, number);
        step.at = self.at;
        step.exit = self.exit;
        step.booked = self.booked;
        step.unsettled.clone_from(&self.unsettled);
        step.entry_unsettled = self.entry_unsettled && self.engine.position().is_some();
        step.urgent = std::mem::take(&mut self.unrecorded);
        self.engine.refresh(&mut step.image);
        self.links.steps.send(step);
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match self.engine.on_outcome(outcome) {
            Ok(Booked::Entered { exit }) => {
                self.entry_unsettled = matches!(outcome, Outcome::Entered(e) if e.provisional);
                if let Some(exit) = exit {
                    self.emit(Action::Intent(exit), 0);
                }
            }
            Ok(Booked::Abandoned) => {}
            Ok(Booked::Corrected { since }) => {
                let mut next = since;
                let from = |engine: &Engine, n| engine.trades_since(n).next().map(|(n, trade)| (n, *trade));
                while let Some((number, trade)) = next.and_then(|n| from(&self.engine, n)) {
                    // The same number again: the record is written anew.
                    self.tell_trade(number, trade);
                    next = Some(number + 1);
                }
            }
            Ok(Booked::Exited | Booked::Unplanned) => {
                if let Outcome::Exited(filled) | Outcome::Unplanned { exit: filled, .. } = outcome {
                    self.booked = self.booked.max(filled.ts_event);
                }
                self.note_unsettled(outcome);
                while let Some(trade) = self.engine.take_trade() {
                    let waiting = self.engine.trades().len() as u64;
                    self.tell_trade(self.engine.trades_closed() - waiting, trade);
                }
            }
            Err(_) => self.send_news(AlphaNews::Mismatch),
        }
        if self.engine.position().is_none() {
            self.exit = None;
        }
        self.unrecorded = true;
        self.record(None, None);
    }

    fn tell_trade(&mut self, number: u64, trade: Trade) {
        self.send_news(AlphaNews::Closed(number, trade));
        // Full only if memory's thread is dead; the venue still tells the trade to the next start.
        let _ = self.links.memory_news.push(MemoryNews::Closed(number, trade));
    }

    /// Remembers a trade that the venue has not told all of: the next start looks at it again, if this run ends before.
    fn note_unsettled(&mut self, outcome: &Outcome) {
        let (provisional, exit_at) = match outcome {
            Outcome::Exited(x) => (x.provisional | std::mem::take(&mut self.entry_unsettled), x.ts_event),
            Outcome::Unplanned { entry, exit } => (entry.provisional | exit.provisional, exit.ts_event),
            _ => return,
        };
        if provisional {
            if self.unsettled.is_full() {
                self.unsettled.remove(0);
            }
            self.unsettled.push(Unsettled { number: self.engine.trades_closed(), exit_at });
        }
    }

    fn command(&mut self, command: AlphaCommand, now_ns: u64) {
        match command {
            AlphaCommand::Stop { flatten } => {
                self.may_enter = false;
                if flatten {
                    let exit = self.engine.request_exit(ExitReason::Flatten, Nanos(now_ns));
                    self.emit(exit, 0);
                }
            }
            AlphaCommand::Orders { accepted, rejected } => {
                let breaker = self.engine.breaker_mut();
                (0..accepted).for_each(|_| breaker.on_order(false));
                (0..rejected).for_each(|_| breaker.on_order(true));
            }
        }
    }

    /// ① pending updates, ② date boundary by event time.
    fn begin(&mut self, ts: Nanos) {
        let at = self.polled_at;
        if let Some(push) = self.links.acb.take() {
            self.links.journal.tap.push(at, AlphaRecord::Acb(push));
            if self.engine.update_acb_boost(push.boost, push.beta).is_err() {
                self.send_news(AlphaNews::Mismatch);
            }
        }
        if let Some(safety) = self.links.safety.take() {
            self.links.journal.tap.push(at, AlphaRecord::Safety(safety));
            self.engine.hear_safety(safety);
            if safety == SafetyWord::Unreadable {
                self.send_news(AlphaNews::SafetyUnreadable);
            }
        }
        if let Some(rm) = self.links.rm.take() {
            self.links.journal.tap.push(at, AlphaRecord::Rm(rm));
            self.engine.measure_rm(rm);
        }
        let today = utc_date(ts);
        if self.engine.date() != Some(today) {
            let told = self.engine.told_safety();
            if let Some(day) = self.engine.end_day() {
                self.send_news(AlphaNews::DayEnded(day.date));
                let _ = self.links.memory_news.push(MemoryNews::DayEnded(Box::new(day)));
                self.unrecorded = true;
            }
            if self.engine.begin_day(today, told.posture, told.rm, self.policy.direction).is_err() {
                self.send_news(AlphaNews::Mismatch);
            }
        }
    }

    /// ④ The scan of this tick: of our own scanner, or the newest of memory if it is new and fresh. Between two scans
    /// there is none.
    fn scan(&mut self, tick: &Tick) -> MemoryScan {
        if self.policy.signal == Signal::Scanner {
            let s = &tick.scan;
            let (v50, v750) = (s.velocity[0], s.velocity[3]);
            let (vel_div, instability_50) = (s.vel_div, s.instability_50);
            return MemoryScan { number: None, at: tick.ts, vel_div, v50, v750, instability_50 };
        }
        let nan = f64::NAN;
        let none =
            MemoryScan { number: None, at: tick.ts, vel_div: nan, v50: nan, v750: nan, instability_50: nan };
        let Some(scan) = self.links.scan.take() else { return none };
        self.links.journal.tap.push(self.polled_at, AlphaRecord::Scan(scan));
        if tick.ts.since(scan.at) > self.policy.scan_stale_after {
            self.stale_scans += 1;
            return none;
        }
        if scan.number.is_some() && scan.number == self.scan {
            return none;
        }
        self.scan = scan.number;
        scan
    }

    /// Number of a tick in its day.
    fn bar_of(&self, ts: Nanos) -> u32 {
        let day_ns = ts.0 % (86_400 * Nanos::SECOND);
        u32::try_from(day_ns / self.policy.tick_ns).unwrap_or(u32::MAX)
    }

    fn step(&mut self, tick: &Tick) -> StepReport {
        let scan = self.scan(tick);
        let input = TickInput {
            bar_idx: self.bar_of(tick.ts),
            ts_event: tick.ts,
            vel_div: scan.vel_div,
            prices: &tick.mids,
            vol_regime_ok: None,
            v50_velocity: scan.v50,
            v750_velocity: scan.v750,
            instability_50: scan.instability_50,
            ob: Some(ObView { features: &tick.features, cross: tick.cross }),
            may_enter: self.may_enter,
        };
        let before = self.engine.control_snapshot();
        let report = self.engine.step_bar(&input);
        if self.engine.control_snapshot() != before {
            self.engine.mark_stale();
            self.send_news(AlphaNews::StaleState);
        }
        report
    }

    fn tick(&mut self, tick: Box<Tick>) {
        self.at = tick.ts;
        self.stamps = Stamps { step_began_ns: self.clock.now_ns(), ..tick.stamps };
        self.begin(tick.ts);
        let report = self.step(&tick);
        self.emit(report.action, tick.recv_ns);
        self.probe.record(Hop::Alpha as u8, self.clock.now_ns() - tick.handed_ns);
        let hibernates = report.gate == Gate::Posture && self.policy.hibernate == HibernateAction::Flatten;
        if hibernates && self.engine.position().is_some() {
            let exit = self.engine.request_exit(ExitReason::Flatten, tick.ts);
            self.emit(exit, tick.recv_ns);
        }
        self.unfinished = Some(Unfinished { tick, report, polled_at: self.polled_at });
    }

    /// Tells journal, people and memory of the tick decided upon last; `false`: they know.
    fn finish(&mut self) -> bool {
        let Some(Unfinished { mut tick, report, polled_at }) = self.unfinished.take() else { return false };
        let (ts, share) = (tick.ts, self.ticks_shared.share(|place| place.change_places(&mut tick)));
        self.links.ticks.give_back(tick);
        self.links.journal.tick(polled_at, share.as_ref());
        if self.links.journal.tap.is_open() {
            let (number, digest) = (report.tick, self.engine.digest());
            self.keep(polled_at, AlphaRecord::Step { tick: number, gate: report.gate, digest });
        }
        self.ticks += 1;
        let bar_ticks = ts.0 % (86_400 * Nanos::SECOND) / self.policy.tick_ns;
        let view = EngineView::of(&self.engine, ts, self.ticks, bar_ticks, &report);
        self.links.view.publish(view);
        if share.is_some() {
            self.newest.clone_from(&share);
        }
        let stepped = !matches!(report.gate, Gate::Posture | Gate::NoDay);
        self.record(share, stepped.then_some(report.tick));
        true
    }
}

/// What is left of the last tick is told even where the worker ends before it comes to that.
impl Drop for AlphaStage {
    fn drop(&mut self) {
        self.finish();
    }
}

impl Stage for AlphaStage {
    fn name(&self) -> &'static str {
        "alpha"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        self.polled_at = now_ns;
        if let Some(waiting) = self.waiting.take() {
            self.waiting = self.links.intents.push(waiting).err();
            if self.waiting.is_some() {
                return Work::Idle;
            }
        }
        // One input a duty cycle: each may emit an intent, and the next must not overtake it.
        if let Some(outcome) = self.links.outcomes.pop() {
            self.finish();
            self.outcome(&outcome);
            self.keep(now_ns, AlphaRecord::Outcome(outcome));
            return Work::Done;
        }
        if let Some(command) = self.links.commands.pop() {
            self.finish();
            self.command(command, now_ns);
            self.keep(now_ns, AlphaRecord::Command(command));
            return Work::Done;
        }
        let Some(tick) = self.links.ticks.recv() else { return Work::Idle };
        self.finish();
        self.tick(tick);
        Work::Done
    }

    fn settle(&mut self, _now_ns: u64) -> Work {
        Work::from(self.finish())
    }

    fn rehearse(&mut self, _now_ns: u64) {
        let Some(tick) = &self.newest else { return };
        let quiet = TickInput::quiet(self.bar_of(tick.ts), tick.ts, &tick.mids);
        let ob = Some(ObView { features: &tick.features, cross: tick.cross });
        std::hint::black_box(self.engine.rehearse(&mut self.room, &TickInput { ob, ..quiet }));
    }

    fn housekeep(&mut self, _now_ns: u64) {
        self.finish();
        // Before the first tick no day has begun: what the engine would allow says nothing yet.
        if self.ticks == 0 {
            return;
        }
        let safety = self.engine.safety();
        let abs_max_leverage =
            alpha::signal::abs_max_effective(self.engine.params(), safety.posture, safety.rm);
        let (posture, breaker_can_open) = (safety.posture, self.engine.breaker().can_open());
        let allowance = Some((posture, abs_max_leverage, breaker_can_open));
        let news = AlphaNews::Allowed { posture, abs_max_leverage, breaker_can_open };
        if self.allowance != allowance && self.links.news.push(news).is_ok() {
            self.allowance = allowance;
        }
        if self.stale_scans != self.stale_scans_sent {
            self.stale_scans_sent = self.stale_scans;
            self.send_news(AlphaNews::StaleScans(self.stale_scans));
        }
        if self.ticks >= self.ticks_counted + COUNT_EVERY {
            self.ticks_counted = self.ticks;
            self.send_news(AlphaNews::Gates(*self.engine.gate_counts()));
        }
    }
}
