//! The journals of a world's machines, decided again: every decision of every run must come out the same (SPEC 13).

use std::ops::AddAssign;

use node::journal::replay::{Counts, Verdict, Within, replay};
use serde::Serialize;

use crate::invariants::Violation;
use crate::machine::MachineFiles;

/// What was decided again, over all runs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Again {
    /// Runs that left records.
    pub runs: u64,
    /// Steps of the engine.
    pub steps: u64,
    /// Intents.
    pub intents: u64,
    /// Order requests.
    pub requests: u64,
    /// Outcomes.
    pub outcomes: u64,
    /// Whole states at the beginnings of segments.
    pub snapshots: u64,
    /// Ticks made again of market frames.
    pub ticks: u64,
}

impl AddAssign<Counts> for Again {
    fn add_assign(&mut self, counts: Counts) {
        self.runs += 1;
        self.steps += counts.steps;
        self.intents += counts.intents;
        self.requests += counts.requests;
        self.outcomes += counts.outcomes;
        self.snapshots += counts.snapshots;
        self.ticks += counts.ticks;
    }
}

/// Decides the journals of a machine again. Where its disk was in trouble they may have holes, which they must name.
pub fn decide_again(files: &MachineFiles, at_ms: u64, again: &mut Again, violations: &mut Vec<Violation>) {
    let mut violation = |found: String| {
        violations.push(Violation { at_ms, invariant: "the journal decides the same again", found });
    };
    for dir in files.journals() {
        let reports = match replay(files, &dir, Within::ALL, &|_| None, &mut |_, _, _| true) {
            Ok(reports) => reports,
            Err(error) => {
                violation(error.to_string());
                continue;
            }
        };
        for report in reports {
            let holes = !report.gaps.is_empty() || !report.damage.is_empty();
            if holes && !files.was_troubled() {
                violation(format!("run {:x}: {:?} {:?}", report.run, report.gaps, report.damage));
            }
            // Killed before the first look at the rings.
            if report.counts.records == 0 {
                continue;
            }
            *again += report.counts;
            let stages = [
                ("alpha", Some(&report.alpha)),
                ("router", Some(&report.router)),
                ("book", report.book.as_ref()),
            ];
            for (stage, verdict) in stages {
                let Some(verdict) = verdict else { continue };
                match verdict {
                    Verdict::Equal => {}
                    Verdict::Differs(d) => violation(format!("run {:x}, {stage}: {d:#?}", report.run)),
                    Verdict::Stopped(_) if holes => {}
                    Verdict::Stopped(why) => violation(format!("run {:x}, {stage}: {why}", report.run)),
                }
            }
        }
    }
}
