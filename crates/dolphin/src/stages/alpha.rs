//! The bar handler around the engine (SPEC §3.13), live: one tick in, at most one intent out.

use alpha::{AcbPush, Action, Booked, Engine, Gate, ObView, Safety, StepReport, TickInput, Trade};
use market::{Date, ExitReason, Nanos, Outcome, Posture, utc_date};
use runtime::clock::Clock;
use runtime::conveyor::Unloader;
use runtime::latency::Probe;
use runtime::pending::Taker;
use runtime::ring::{Rx, Tx};
use runtime::stage::{Stage, Work};

use super::{Hop, StampedIntent, Tick};
use crate::config::HibernateAction;

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
    /// A scan that was too old, or an outcome that did not fit.
    Mismatch,
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
    /// Lossless.
    pub alpha_to_router: Tx<StampedIntent>,
    /// News; the newest is given up when full.
    pub alpha_to_control: Tx<AlphaNews>,
    /// For latencies.
    pub clock: Clock,
    /// Latencies.
    pub probe: Probe,
    /// The last allowance told.
    pub told: Option<(Posture, f64, bool)>,
    /// An intent that found its ring full.
    pub waiting: Option<StampedIntent>,
}

impl AlphaStage {
    fn tell(&mut self, news: AlphaNews) {
        // News is telemetry: what finds no room is given up, and the ring counts it.
        let _ = self.alpha_to_control.push(news);
    }

    fn emit(&mut self, action: Action, recv_ns: u64) {
        if let Action::Intent(intent) = action {
            let stamped = StampedIntent { intent, recv_ns, decided_ns: self.clock.now_ns() };
            self.waiting = self.alpha_to_router.push(stamped).err();
        }
    }

    fn outcome(&mut self, outcome: &Outcome) {
        match self.engine.on_outcome(outcome) {
            Ok(Booked::Entered { exit: Some(exit) }) => self.emit(Action::Intent(exit), 0),
            Ok(Booked::Entered { exit: None } | Booked::Abandoned) => {}
            Ok(Booked::Exited) => {
                if let Some(&trade) = self.engine.trades().last() {
                    self.tell(AlphaNews::Closed(trade));
                }
            }
            Err(_) => self.tell(AlphaNews::Mismatch),
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
        if let Some(push) = self.pending_acb.take()
            && self.engine.update_acb_boost(push.boost, push.beta).is_err()
        {
            self.tell(AlphaNews::Mismatch);
        }
        if let Some(safety) = self.pending_safety.take() {
            self.engine.push_safety(safety);
        }
        let today = utc_date(ts);
        if self.engine.date() != Some(today) {
            let told = self.engine.told_safety();
            if let Some(day) = self.engine.end_day() {
                self.tell(AlphaNews::DayEnded(day.date));
            }
            if self.engine.begin_day(today, told.posture, told.rm, self.direction).is_err() {
                self.tell(AlphaNews::Mismatch);
            }
        }
    }

    fn step(&mut self, tick: &Tick) -> StepReport {
        let day_ns = tick.ts.0 % (86_400 * Nanos::SECOND);
        let input = TickInput {
            bar_idx: u32::try_from(day_ns / self.tick_ns).unwrap_or(u32::MAX),
            ts_event: tick.ts,
            vel_div: tick.scan.vel_div,
            prices: &tick.mids,
            vol_regime_ok: None,
            v50_velocity: tick.scan.velocity[0],
            v750_velocity: tick.scan.velocity[3],
            instability_50: tick.scan.instability_50,
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
        if self.told != Some(allowed) {
            self.told = Some(allowed);
            let (posture, abs_max_leverage, breaker_can_open) = allowed;
            self.tell(AlphaNews::Allowed { posture, abs_max_leverage, breaker_can_open });
        }
    }

    fn tick(&mut self, tick: &Tick) {
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
    }
}

impl Stage for AlphaStage {
    fn name(&self) -> &'static str {
        "alpha"
    }

    fn poll(&mut self, now_ns: u64) -> Work {
        if let Some(waiting) = self.waiting.take() {
            self.waiting = self.alpha_to_router.push(waiting).err();
            if self.waiting.is_some() {
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
        let Some(tick) = self.scanner_to_alpha.recv() else { return Work::Idle };
        self.tick(&tick);
        self.scanner_to_alpha.give_back(tick);
        Work::Done
    }
}
