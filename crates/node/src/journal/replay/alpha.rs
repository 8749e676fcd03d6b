//! The engine's stage, fed by its records.

use std::collections::VecDeque;
use std::sync::Arc;

use ::alpha::{AcbPush, Booking, Engine, Forewarner, Safety, Snapshot};
use market::{Nanos, Outcome};
use runtime::clock::Clock;
use runtime::conveyor::{Loader, Unloader, conveyor};
use runtime::journal::tap::{Drain, tap};
use runtime::latency::Collector;
use runtime::pending::{Publisher, pending};
use runtime::ring::{Rx, Tx, ring};
use runtime::stage::Stage;

use crate::config::Config;
use crate::journal::records::{TICK, decode, encoded};
use crate::stages::alpha::{AlphaCommand, AlphaJournal, AlphaLinks, AlphaNews, AlphaRecord, AlphaStage};
use crate::stages::memory::{MemoryNews, MemoryScan, Step};
use crate::stages::{Hop, StampedIntent, Tick};

/// The stage and the other ends of its links.
pub struct AlphaReplay {
    stage: AlphaStage,
    ticks: Loader<Tick>,
    outcomes: Tx<Outcome>,
    commands: Tx<AlphaCommand>,
    acb: Publisher<AcbPush>,
    safety: Publisher<Safety>,
    rm: Publisher<f64>,
    scan: Publisher<MemoryScan>,
    intents: Rx<StampedIntent>,
    news: Rx<AlphaNews>,
    memory_news: Rx<MemoryNews>,
    steps: Unloader<Step>,
    own: Drain<AlphaRecord>,
    own_ticks: Unloader<Tick>,
    /// Decided again, and not yet compared.
    decided: VecDeque<AlphaRecord>,
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
    /// A stage in the state in which the run began.
    pub fn new(
        config: &Config,
        state: &Snapshot,
        booked: Nanos,
        forewarner: Option<Forewarner>,
    ) -> Result<Self, String> {
        let engine = Engine::restore(config.alpha.clone(), state).map_err(|e| e.to_string())?;
        let mut engine = engine.with_booking(Booking::Venue);
        engine.set_forewarner(forewarner);
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
        let (steps_in, steps) = conveyor("steps", 2, || Step::new(n, &image));
        let (tap, own) = tap("own", 64);
        let (own_ticks_in, own_ticks) = conveyor("own_ticks", 1, || Tick::new(n));
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
            journal: AlphaJournal { tap, ticks: own_ticks_in },
        };
        // Latencies are measured by a clock that stands.
        let clock = Clock::simulated(Arc::default());
        let probe = latency.probe("alpha", 1);
        let stage = AlphaStage::new(config, engine, booked, links, clock, probe);
        Ok(Self {
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
        })
    }

    /// Takes a record in, or compares a decision. `Err`: what was decided now, where the record says something else.
    pub fn take(&mut self, kind: u8, at: u64, payload: &[u8]) -> Result<Was, String> {
        if kind == TICK {
            self.all_compared()?;
            let tick: Tick = decode(payload)?;
            let mut lent = self.ticks.acquire().ok_or("the stage keeps its tick")?;
            if tick.mids.len() != lent.mids.len() || tick.features.len() != lent.features.len() {
                self.ticks.send(lent);
                return Err(format!("a tick of {} symbols", tick.mids.len()));
            }
            // What latencies are measured from: the clock stands, and no duration is negative.
            *lent = Tick { handed_ns: 0, ..tick };
            self.ticks.send(lent);
            self.poll(at);
            return Ok(Was::Input);
        }
        match decode::<AlphaRecord>(payload)? {
            AlphaRecord::Acb(push) => self.acb.publish(push),
            AlphaRecord::Safety(safety) => self.safety.publish(safety),
            AlphaRecord::Rm(rm) => self.rm.publish(rm),
            AlphaRecord::Scan(scan) => self.scan.publish(scan),
            AlphaRecord::Outcome(outcome) => {
                self.all_compared()?;
                self.outcomes.push(outcome).map_err(|_| "the stage does not take outcomes")?;
                self.poll(at);
            }
            AlphaRecord::Command(command) => {
                self.all_compared()?;
                self.commands.push(command).map_err(|_| "the stage does not take commands")?;
                self.poll(at);
            }
            AlphaRecord::Tick => return Err("a tick without its prices".to_owned()),
            AlphaRecord::Step { .. } | AlphaRecord::Intent(_) => {
                let Some(now) = self.decided.pop_front() else { return Err("nothing".to_owned()) };
                if encoded(&now) != payload {
                    return Err(format!("{now:?}"));
                }
                return Ok(Was::Decision);
            }
        }
        Ok(Was::Input)
    }

    /// Nothing was decided now that was not decided then.
    pub fn all_compared(&self) -> Result<(), String> {
        self.decided.front().map_or(Ok(()), |extra| Err(format!("{extra:?}")))
    }

    fn poll(&mut self, at: u64) {
        let _ = self.stage.poll(at);
        while self.intents.pop().is_some() {}
        while self.news.pop().is_some() {}
        while self.memory_news.pop().is_some() {}
        while let Some(step) = self.steps.recv() {
            self.steps.give_back(step);
        }
        while let Some(entry) = self.own.pop() {
            match entry.item {
                AlphaRecord::Tick => {
                    if let Some(tick) = self.own_ticks.recv() {
                        self.own_ticks.give_back(tick);
                    }
                }
                decided @ (AlphaRecord::Step { .. } | AlphaRecord::Intent(_)) => self.decided.push_back(decided),
                _ => {}
            }
        }
    }
}
