//! The engine's stage, fed by its records.

use std::collections::VecDeque;
use std::sync::Arc;

use ::alpha::{AcbPush, Booking, Engine, Forewarner, Gate, SafetyWord, Snapshot};
use market::{Nanos, Outcome};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader, conveyor};
use runtime::journal::tap::{Drain, tap};
use runtime::latency::Collector;
use runtime::pending::{Publisher, pending};
use runtime::ring::{Rx, Tx, ring};
use runtime::stage::Stage;

use super::fault::{Fault, decode_checked};
use crate::config::Config;
use crate::journal::records::{COMMAND, TICK, encoded};
use crate::stages::alpha::{
    AlphaCommand, AlphaJournal, AlphaLinks, AlphaMemo, AlphaNews, AlphaRecord, AlphaStage,
};
use crate::stages::memory::{MemoryNews, MemoryScan, Step};
use crate::stages::{Hop, SharedTick, StampedIntent, Tick};

/// The stage and the other ends of its links.
pub struct AlphaReplay {
    stage: AlphaStage,
    ticks: Loader<Tick>,
    outcomes: Tx<Outcome>,
    commands: Tx<AlphaCommand>,
    acb: Publisher<AcbPush>,
    safety: Publisher<SafetyWord>,
    rm: Publisher<f64>,
    scan: Publisher<MemoryScan>,
    intents: Rx<StampedIntent>,
    news: Rx<AlphaNews>,
    memory_news: Rx<MemoryNews>,
    steps: Unloader<Step>,
    own: Drain<AlphaRecord>,
    own_ticks: Rx<SharedTick>,
    /// Decided again, and not yet compared.
    decided: VecDeque<AlphaRecord>,
    /// Pushes wait for the next tick.
    offered: bool,
}

/// What a record was to the stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Was {
    /// Taken in.
    Input,
    /// A decision, and the same one.
    Decision,
}

impl AlphaReplay {
    /// A stage in the state in which the run, or a segment of it, began.
    pub fn new(
        config: &Config,
        state: &Snapshot,
        memo: AlphaMemo,
        forewarner: Option<Forewarner>,
    ) -> Result<Self, String> {
        let engine = Engine::restore(config.alpha.clone(), state).map_err(|e| e.to_string())?;
        let mut engine = engine.with_booking(Booking::Venue);
        engine.set_forewarner(forewarner);
        let mut replay = Self::around(config, engine, Nanos(0));
        replay.stage.go_on(memo);
        Ok(replay)
    }

    /// A stage whose engine has that state under any parameters and books by the model.
    pub fn hypothetical(
        config: &Config,
        state: &Snapshot,
        booked: Nanos,
        forewarner: Option<Forewarner>,
    ) -> Result<Self, String> {
        let engine = Engine::restore_under(config.alpha.clone(), state).map_err(|e| e.to_string())?;
        let mut engine = engine.supposing();
        engine.set_forewarner(forewarner);
        Ok(Self::around(config, engine, booked))
    }

    fn around(config: &Config, engine: Engine, booked: Nanos) -> Self {
        let n = engine.assets().len();
        let mut latency = Collector::new(Hop::ALL.len());
        let (ticks, ticks_out) = conveyor("ticks", 1, || Tick::new(n));
        let (outcomes, outcomes_out) = ring("outcomes", 1);
        let (commands, commands_out) = ring("commands", 1);
        let ((acb, acb_taken), (safety, safety_taken)) = (pending(), pending());
        let ((rm, rm_taken), (scan, scan_taken)) = (pending(), pending());
        let (intents_in, intents) = ring("intents", 8);
        let (news_in, news) = ring("news", 64);
        let (memory_news_in, memory_news) = ring("memory", 64);
        let image = engine.image();
        let (steps_in, steps) = conveyor("steps", 2, || Step::new(&image));
        let (tap, own) = tap("own", 64);
        let (own_ticks_in, own_ticks) = ring("own_ticks", 2);
        let links = AlphaLinks {
            ticks: ticks_out,
            outcomes: outcomes_out,
            commands: commands_out,
            acb: acb_taken,
            safety: safety_taken,
            rm: rm_taken,
            scan: scan_taken,
            intents: intents_in,
            news: news_in,
            steps: steps_in,
            memory_news: memory_news_in,
            view: pending().0,
            journal: AlphaJournal { tap, ticks: own_ticks_in },
        };
        // Latencies are measured by a clock that stands.
        let clock = Clock::simulated(Arc::default());
        let probe = latency.probe("alpha", 1);
        let stage = AlphaStage::new(config, engine, booked, links, clock, probe);
        Self {
            stage,
            ticks,
            outcomes,
            commands,
            acb,
            safety,
            rm,
            scan,
            intents,
            news,
            memory_news,
            steps,
            own,
            own_ticks,
            decided: VecDeque::new(),
            offered: false,
        }
    }

    /// Event time of the newest tick.
    pub const fn tick_at(&self) -> Nanos {
        self.stage.tick_at()
    }

    /// Its engine.
    pub const fn engine(&self) -> &Engine {
        self.stage.engine()
    }

    /// Takes in what came from the market, from memory and from the control thread, not what came of orders; who is told to
    /// close closes by the model. The gate of a step.
    pub fn suppose(&mut self, kind: u8, at: u64, payload: &[u8]) -> Result<Option<Gate>, Fault> {
        let gate = match kind {
            TICK => {
                self.decided.clear();
                self.take(kind, at, payload)?;
                self.decided.drain(..).find_map(|decided| match decided {
                    AlphaRecord::Step { gate, .. } => Some(gate),
                    _ => None,
                })
            }
            // Pushes.
            0..=3 => {
                self.take(kind, at, payload)?;
                None
            }
            COMMAND => {
                if let AlphaRecord::Command(mut command) = decode_checked(payload, self.symbols())? {
                    if let AlphaCommand::Stop { flatten } = &mut command {
                        *flatten = false;
                    }
                    self.take(kind, at, &encoded(&AlphaRecord::Command(command)))?;
                }
                None
            }
            _ => None,
        };
        Ok(gate)
    }

    fn symbols(&self) -> usize {
        self.engine().assets().len()
    }

    /// Takes a record in, or compares a decision.
    pub fn take(&mut self, kind: u8, at: u64, payload: &[u8]) -> Result<Was, Fault> {
        let unusable = |why: &str| Fault::Unusable(why.to_owned());
        if kind == TICK {
            self.all_compared()?;
            let tick: Tick = decode_checked(payload, self.symbols())?;
            let mut lent = self.ticks.acquire().ok_or_else(|| unusable("the stage keeps its tick"))?;
            if tick.mids.len() != lent.mids.len() || tick.features.len() != lent.features.len() {
                self.ticks.send(lent);
                return Err(Fault::Unusable(format!("a tick of {} symbols", tick.mids.len())));
            }
            // What latencies are measured from: the clock stands, and no duration is negative.
            self.offered = false;
            *lent = Tick { handed_ns: 0, ..tick };
            self.ticks.send(lent);
            self.poll(at);
            return Ok(Was::Input);
        }
        match decode_checked::<AlphaRecord>(payload, self.symbols())? {
            pushed if kind <= 3 => {
                self.offered = true;
                self.offer(pushed);
            }
            AlphaRecord::Outcome(outcome) => {
                self.all_compared()?;
                self.outcomes.push(outcome).map_err(|_| unusable("the stage does not take outcomes"))?;
                self.poll(at);
            }
            AlphaRecord::Command(command) => {
                self.all_compared()?;
                self.commands.push(command).map_err(|_| unusable("the stage does not take commands"))?;
                self.poll(at);
            }
            AlphaRecord::Tick
            | AlphaRecord::Acb(_)
            | AlphaRecord::Safety(_)
            | AlphaRecord::Rm(_)
            | AlphaRecord::Scan(_) => return Err(unusable("a record whose kind is another one's")),
            AlphaRecord::Step { .. } | AlphaRecord::Intent(_) => {
                let Some(now) = self.decided.pop_front() else {
                    return Err(Fault::Differs("nothing".to_owned()));
                };
                if encoded(&now) != payload {
                    return Err(Fault::Differs(format!("{now:?}")));
                }
                return Ok(Was::Decision);
            }
        }
        Ok(Was::Input)
    }

    fn offer(&mut self, pushed: AlphaRecord) {
        match pushed {
            AlphaRecord::Acb(push) => self.acb.publish(push),
            AlphaRecord::Safety(safety) => self.safety.publish(safety),
            AlphaRecord::Rm(rm) => self.rm.publish(rm),
            AlphaRecord::Scan(scan) => self.scan.publish(scan),
            _ => {}
        }
    }

    /// The engine's snapshot and what the stage keeps beside it; `None` in the middle of a duty cycle's records.
    pub fn state(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        let quiet = self.decided.is_empty() && !self.offered;
        quiet.then(|| (encoded(&self.engine().snapshot()), encoded(&self.stage.memo())))
    }

    /// Nothing was decided now that was not decided then.
    pub fn all_compared(&self) -> Result<(), Fault> {
        self.decided.front().map_or(Ok(()), |extra| Err(Fault::Differs(format!("{extra:?}"))))
    }

    fn poll(&mut self, at: u64) {
        let _ = self.stage.poll(at);
        let _ = self.stage.settle(at);
        while self.intents.pop().is_some() {}
        while self.news.pop().is_some() {}
        while self.memory_news.pop().is_some() {}
        while let Some(mut step) = self.steps.recv() {
            step.tick = None;
            self.steps.give_back(step);
        }
        while let Some(entry) = self.own.pop() {
            match entry.item {
                AlphaRecord::Tick => {
                    drop(self.own_ticks.pop());
                }
                decided @ (AlphaRecord::Step { .. } | AlphaRecord::Intent(_)) => {
                    self.decided.push_back(decided);
                }
                _ => {}
            }
        }
    }
}
