//! The journals of a world's machines, decided again: every decision of every run must come out the same (SPEC 13).

use std::collections::BTreeMap;
use std::ops::AddAssign;

use market::{Nanos, OrderRequest, SymbolId};
use node::journal::header::Header;
use node::journal::records::{self, ROUTER};
use node::journal::replay::{Counts, Verdict, Within, replay};
use node::stages::router::{Quote, RouterRecord};
use runtime::journal::frame::Record;
use serde::Serialize;

use crate::disk::MachineFiles;
use crate::invariants::Violation;

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

/// What a router knew of each book when it sent orders.
#[derive(Debug, Default)]
struct Books {
    run: u64,
    /// Oldest that a book may be, ms.
    limit_ms: u64,
    /// When the newest quote came, ns; 0: the book was lost since.
    quoted: BTreeMap<SymbolId, u64>,
    /// Orders that opened on an older book than the limit allows.
    old: Vec<String>,
}

impl Books {
    fn see(&mut self, header: &Header, record: &Record<'_>) {
        if record.stream != ROUTER {
            return;
        }
        let run = header.run;
        if run != self.run {
            let limit_ms = header.config["router"]["risk"]["max_book_age_ms"].as_u64().unwrap_or(0);
            *self = Self { run, limit_ms, quoted: BTreeMap::new(), old: std::mem::take(&mut self.old) };
        }
        match records::decode::<RouterRecord>(record.payload) {
            Ok(RouterRecord::Quote(Quote::Bbo(bbo))) => drop(self.quoted.insert(bbo.symbol, record.at)),
            Ok(RouterRecord::Quote(Quote::Lost(symbol))) => drop(self.quoted.insert(symbol, 0)),
            Ok(RouterRecord::Request(OrderRequest::New(order))) if !order.reduce_only => {
                let quoted = self.quoted.get(&order.symbol).copied().unwrap_or(0);
                let age_ms = Nanos(record.at).since(Nanos(quoted)).millis();
                if age_ms > self.limit_ms {
                    self.old.push(format!("run {run:x}: {order:?}, its book {age_ms} ms old"));
                }
            }
            // What cannot be read is found where it is decided again.
            _ => {}
        }
    }
}

/// Decides the journals of a machine again. Where its disk was in trouble they may have holes, which they must name.
pub fn decide_again(files: &MachineFiles, at_ms: u64, again: &mut Again, violations: &mut Vec<Violation>) {
    const AGAIN: &str = "the journal decides the same again";
    for dir in files.journals() {
        let mut books = Books::default();
        let mut see = |header: &Header, _: Option<&_>, record: &Record<'_>| {
            books.see(header, record);
            true
        };
        let reports = match replay(files, &dir, Within::ALL, &|_| None, &mut see) {
            Ok(reports) => reports,
            Err(error) => {
                violations.push(Violation { at_ms, invariant: AGAIN, found: error.to_string() });
                continue;
            }
        };
        // Quotes may be missing where there are holes.
        if !files.was_troubled() {
            let violation = |found| Violation { at_ms, invariant: "no entry on an old book", found };
            violations.extend(books.old.into_iter().map(violation));
        }
        let mut violation = |found: String| {
            violations.push(Violation { at_ms, invariant: AGAIN, found });
        };
        for report in reports {
            let whole = report.gaps.is_empty() && report.damage.is_empty();
            if !(whole || files.was_troubled()) {
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
                    // Its first segment may be what the disk refused.
                    Verdict::Stopped(_) if files.was_troubled() => {}
                    Verdict::Stopped(why) => violation(format!("run {:x}, {stage}: {why}", report.run)),
                }
            }
        }
    }
}
