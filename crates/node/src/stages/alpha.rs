//! The bar handler around the engine (SPEC §3.13), live: one tick in, at most one intent out.

use alpha::{AcbPush, Action, Booked, Engine, Gate, ObView, Safety, StepReport, TickInput, Trade};
use market::{Date, ExitReason, Intent, Nanos, Outcome, Posture, utc_date};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader};
use runtime::latency::Probe;
use runtime::pending::Taker;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use super::memory::{MemoryNews, MemoryScan, Step};
use super::{Hop, StampedIntent, Tick};
use crate::config::{HibernateAction, Signal};

/// What the control thread asks of the engine's stage.
#[derive(Debug, Clone, Copy)]
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
    /// A trade was closed.
    Closed(Trade),
    /// A day ended.
    DayEnded(Date),
    /// State changed during a step: its result must not be used.
    StaleState,
    /// An outcome that did not fit.
    Mismatch,
    /// Scans that were too old to be used, so far.
    StaleScans(u64),
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

/// The stage; the rings are named by their ends.
pub struct AlphaStage {
    /// The engine, booking by the router's outcomes.
    pub engine: Engine,
    /// −1, +1, 0.
    pub direction: i8,
    /// Length of a tick, ns of event time.
    pub tick_ns: u64,
    /// What to do with a position in HIBERNATE.
    pub hibernate: HibernateAction,
    /// No entries once this is false.
    pub may_enter: bool,
    /// Ticks with their scan.
    pub scanner_to_alpha: Unloader<Tick>,
    /// Lossless.
    pub router_to_alpha: Rx<Outcome>,
    /// Lossless.
    pub control_to_alpha: Rx<AlphaCommand>,
    /// Newest pushed boost and beta.
    pub pending_acb: Taker<AcbPush>,
    /// Newest pushed safety.
    pub pending_safety: Taker<Safety>,
    /// Newest Rm of our own sensors.
    pub pending_rm: Taker<f64>,
    /// Newest scan of system memory.
    pub pending_scan: Taker<MemoryScan>,
    /// Where the signal comes from.
    pub signal: Signal,
    /// A scan older than this gives no signal.
    pub scan_stale_after: Nanos,
    /// Lossless.
    pub alpha_to_router: Tx<StampedIntent>,
    /// News; the newest is given up when full.
    pub alpha_to_control: Tx<AlphaNews>,
    /// Steps for system memory. No empty box: memory's thread is behind, the step is not recorded there.
    pub alpha_to_memory: Loader<Step>,
    /// Trades and days for system memory.
    pub news_to_memory: Tx<MemoryNews>,
    /// For latencies.
    pub clock: Clock,
    /// Latencies.
    pub probe: Probe,
    /// What it remembers from one duty cycle to the next.
    pub memo: Memo,
}

/// What the stage remembers from one duty cycle to the next.
#[derive(Debug, Default)]
pub struct Memo {
    /// The last allowance told.
    told: Option<(Posture, f64, bool)>,
    /// An intent that found its ring full.
    waiting: Option<StampedIntent>,
    /// Number of the last scan used.
    scan: Option<i64>,
    /// Scans that were too old.
    stale_scans: u64,
    /// Why the working exit was asked for.
    exit: Option<ExitReason>,
    /// Event time of the newest tick.
    at: Nanos,
    /// Venue time up to which fills are booked in closed trades.
    booked: Nanos,
    /// Memory has not been told of the last event yet.
    untold: bool,
}

impl Memo {
    /// At a start: fills up to this venue time are booked.
    pub fn new(booked: Nanos) -> Self {
        Self { booked, untold: true, ..Self::default() }
    }
}

impl AlphaStage {
    fn tell(&mut self, news: AlphaNews) {
        // News is telemetry: what finds no room is given up, and the ring counts it.
        let _ = self.alpha_to_control.push(news);
    }

    fn emit(&mut self, action: Action, recv_ns: u64) {
        if let Action::Intent(intent) = action {
            let stamped = StampedIntent { intent, recv_ns, decided_ns: self.clock.now_ns() };
            self.memo.waiting = self.alpha_to_router.push(stamped).err();
            match intent {
                Intent::Enter(_) => self.memo.untold = true,
                Intent::Exit(exit) => (self.memo.exit, self.memo.untold) = (Some(exit.reason), true),
                Intent::EntrySignal { .. } => {}
            }
        }
    }

    /// ⑨ Hands the step on, off the hot path. `tick`: what was stepped, and its number if the engine took it.
    fn record(&mut self, tick: Option<(&mut Tick, Option<u64>)>) {
        let Some(mut step) = self.alpha_to_memory.acquire() else { return };
        step.has_tick = tick.is_some();
        step.number = None;
        if let Some((tick, number)) = tick {
            std::mem::swap(&mut step.tick, tick);
            step.number = number;
        }
        step.at = self.memo.at;
        step.exit = self.memo.exit;
        step.booked = self.memo.booked;
        step.urgent = std::mem::take(&mut self.memo.untold);
        self.engine.refresh(&mut step.image);
        self.alpha_to_memory.send(step);
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match self.engine.on_outcome(outcome) {
            Ok(Booked::Entered { exit: Some(exit) }) => self.emit(Action::Intent(exit), 0),
            Ok(Booked::Entered { exit: None } | Booked::Abandoned) => {}
            Ok(Booked::Exited) => {
                if let Outcome::Exited(filled) = outcome {
                    self.memo.booked = self.memo.booked.max(filled.ts_event);
                }
                while let Some(trade) = self.engine.take_trade() {
                    self.tell(AlphaNews::Closed(trade));
                    let number = self.engine.trades_closed();
                    // Full only if memory's thread is dead; the venue still tells the trade to the next start.
                    let _ = self.news_to_memory.push(MemoryNews::Closed(number, trade));
                }
            }
            Err(_) => self.tell(AlphaNews::Mismatch),
        }
        if self.engine.position().is_none() {
            self.memo.exit = None;
        }
        self.memo.untold = true;
        self.record(None);
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
        if let Some(push) = self.pending_acb.take()
            && self.engine.update_acb_boost(push.boost, push.beta).is_err()
        {
            self.tell(AlphaNews::Mismatch);
        }
        if let Some(safety) = self.pending_safety.take() {
            self.engine.push_safety(safety);
        }
        if let Some(rm) = self.pending_rm.take() {
            self.engine.measure_rm(rm);
        }
        let today = utc_date(ts);
        if self.engine.date() != Some(today) {
            let told = self.engine.told_safety();
            if let Some(day) = self.engine.end_day() {
                self.tell(AlphaNews::DayEnded(day.date));
                let _ = self.news_to_memory.push(MemoryNews::DayEnded(Box::new(day)));
                self.memo.untold = true;
            }
            if self.engine.begin_day(today, told.posture, told.rm, self.direction).is_err() {
                self.tell(AlphaNews::Mismatch);
            }
        }
    }

    /// ④ The scan of this tick: of our own scanner, or the newest of memory if it is new and fresh. Between two scans
    /// there is none.
    fn scan(&mut self, tick: &Tick) -> MemoryScan {
        if self.signal == Signal::Scanner {
            let s = &tick.scan;
            let (v50, v750) = (s.velocity[0], s.velocity[3]);
            let (vel_div, instability_50) = (s.vel_div, s.instability_50);
            return MemoryScan { number: None, at: tick.ts, vel_div, v50, v750, instability_50 };
        }
        let nan = f64::NAN;
        let none =
            MemoryScan { number: None, at: tick.ts, vel_div: nan, v50: nan, v750: nan, instability_50: nan };
        let Some(scan) = self.pending_scan.take() else { return none };
        if tick.ts.since(scan.at) > self.scan_stale_after {
            self.memo.stale_scans += 1;
            self.tell(AlphaNews::StaleScans(self.memo.stale_scans));
            return none;
        }
        if scan.number.is_some() && scan.number == self.memo.scan {
            return none;
        }
        self.memo.scan = scan.number;
        scan
    }

    fn step(&mut self, tick: &Tick) -> StepReport {
        let day_ns = tick.ts.0 % (86_400 * Nanos::SECOND);
        let scan = self.scan(tick);
        let input = TickInput {
            bar_idx: u32::try_from(day_ns / self.tick_ns).unwrap_or(u32::MAX),
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
            self.tell(AlphaNews::StaleState);
        }
        report
    }

    fn tell_allowance(&mut self) {
        let safety = self.engine.safety();
        let abs_max = alpha::signal::abs_max_effective(self.engine.params(), safety.posture, safety.rm);
        let allowed = (safety.posture, abs_max, self.engine.breaker().can_open());
        if self.memo.told != Some(allowed) {
            self.memo.told = Some(allowed);
            let (posture, abs_max_leverage, breaker_can_open) = allowed;
            self.tell(AlphaNews::Allowed { posture, abs_max_leverage, breaker_can_open });
        }
    }

    fn tick(&mut self, tick: &mut Tick) {
        self.memo.at = tick.ts;
        self.begin(tick.ts);
        let report = self.step(tick);
        self.emit(report.action, tick.recv_ns);
        self.probe.record(Hop::Alpha as u8, self.clock.now_ns() - tick.handed_ns);
        let hibernates = report.gate == Gate::Posture && self.hibernate == HibernateAction::Flatten;
        if hibernates && self.engine.position().is_some() {
            let exit = self.engine.request_exit(ExitReason::Flatten, tick.ts);
            self.emit(exit, tick.recv_ns);
        }
        self.tell_allowance();
        if report.tick.is_multiple_of(10) {
            self.tell(AlphaNews::Gates(*self.engine.gate_counts()));
        }
        let stepped = !matches!(report.gate, Gate::Posture | Gate::NoDay);
        self.record(Some((tick, stepped.then_some(report.tick))));
    }
}

impl Stage for AlphaStage {
    fn name(&self) -> &'static str {
        "alpha"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        if let Some(waiting) = self.memo.waiting.take() {
            self.memo.waiting = self.alpha_to_router.push(waiting).err();
            if self.memo.waiting.is_some() {
                return Work::Idle;
            }
        }
        // One input a duty cycle: each may emit an intent, and the next must not overtake it.
        if let Some(outcome) = self.router_to_alpha.pop() {
            self.outcome(&outcome);
            return Work::Done;
        }
        if let Some(command) = self.control_to_alpha.pop() {
            self.command(command, now_ns);
            return Work::Done;
        }
        let Some(mut tick) = self.scanner_to_alpha.recv() else { return Work::Idle };
        self.tick(&mut tick);
        self.scanner_to_alpha.give_back(tick);
        Work::Done
    }
}
