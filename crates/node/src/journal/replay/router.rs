//! The router's stage, fed by its records.

use std::sync::Arc;

use execution::Router;
use market::Nanos;
use runtime::clock::Clock;
use runtime::journal::tap::Tap;
use runtime::latency::Collector;
use runtime::pending::pending;
use runtime::ring::ring;

use super::alpha::Was;
use super::fault::{Fault, decode_checked};
use crate::day::SharedDay;
use crate::journal::records::encoded;
use crate::stages::Hop;
use crate::stages::router::{RouterLinks, RouterRecord, RouterStage};

/// The stage; its links are not used.
pub struct RouterReplay {
    stage: RouterStage,
    /// Something waited for room behind the router.
    waits: bool,
}

impl RouterReplay {
    /// A stage in the state in which the run, or a segment of it, began.
    pub fn new(router: Router, fills: u64) -> Self {
        let mut latency = Collector::new(Hop::ALL.len());
        let links = RouterLinks {
            intents: ring("intents", 1).1,
            reports: ring("reports", 1).1,
            quotes: ring("quotes", 1).1,
            commands: ring("commands", 1).1,
            requests: ring("requests", 1).0,
            outcomes: ring("outcomes", 1).0,
            news: ring("news", 1).0,
            view: pending().0,
            journal: Tap::closed(),
        };
        let probe = latency.probe("router", 1);
        let mut stage =
            RouterStage::new(router, links, SharedDay::default(), Clock::simulated(Arc::default()), probe);
        stage.set_fills(fills);
        Self { stage, waits: false }
    }

    /// The router and the count beside it; `None` in the middle of a duty cycle's records.
    pub fn state(&mut self) -> Option<(Vec<u8>, Vec<u8>)> {
        let quiet = !self.waits && self.all_compared().is_ok();
        quiet.then(|| (encoded(self.stage.router()), encoded(&self.stage.fills())))
    }

    /// Takes a record in, or compares a decision.
    pub fn take(&mut self, at: u64, payload: &[u8]) -> Result<Was, Fault> {
        let now = Nanos(at);
        let symbols = self.stage.router().instruments().len();
        let record = decode_checked::<RouterRecord>(payload, symbols)?;
        let out = self.stage.outbox();
        let decided = match record {
            RouterRecord::Waits(waits) => {
                self.waits = waits;
                return Ok(Was::Input);
            }
            RouterRecord::Request(_) => out.requests.pop_at(0).map(RouterRecord::Request),
            RouterRecord::Outcome(_) => out.outcomes.pop_at(0).map(RouterRecord::Outcome),
            RouterRecord::ControlRequest(_) => out.controls.pop_at(0).map(RouterRecord::ControlRequest),
            RouterRecord::State(_) => Some(RouterRecord::State(self.stage.state())),
            input => {
                self.all_compared()?;
                if matches!(input, RouterRecord::Timer) && !self.stage.is_due(now) {
                    return Err(Fault::Differs("no deadline has passed".to_owned()));
                }
                if !self.waits {
                    let out = self.stage.outbox();
                    out.alerts.clear();
                    out.denials.clear();
                }
                self.stage.apply(now, input);
                return Ok(Was::Input);
            }
        };
        let Some(decided) = decided else { return Err(Fault::Differs("nothing".to_owned())) };
        if encoded(&decided) != payload {
            return Err(Fault::Differs(format!("{decided:?}")));
        }
        Ok(Was::Decision)
    }

    /// Nothing was decided now that was not decided then.
    pub fn all_compared(&mut self) -> Result<(), Fault> {
        if self.waits {
            return Ok(());
        }
        let out = self.stage.outbox();
        let request = out.requests.first().map(|r| format!("{r:?}"));
        let outcome = || out.outcomes.first().map(|o| format!("{o:?}"));
        let control = || out.controls.first().map(|c| format!("{c:?}"));
        request.or_else(outcome).or_else(control).map_or(Ok(()), |now| Err(Fault::Differs(now)))
    }
}
