//! A session on ticks whose prices and scans come from elsewhere, from its day files: with the fills that it really had every
//! intent must come out the same. And against the engine's own booking: where both are flat they must decide the same, at every
//! tick. Where one of them holds or works something that the other does not, a real fill did it: that is listed as such.

use std::path::Path;

use ::alpha::{Forewarner, Gate, Snapshot};
use market::{Intent, Nanos, Outcome};
use runtime::environment::Files;
use runtime::journal::frame::Record;
use serde::Serialize;

use super::alpha::{AlphaReplay, Was};
use super::run::{RunReport, Within, replay};
use super::what_if::Decided;
use crate::config::Config;
use crate::error::Failure;
use crate::journal::header::Header;
use crate::journal::records::{ALPHA, TICK, decode, encoded, kind_name, value};
use crate::stages::Tick;
use crate::stages::alpha::{AlphaMemo, AlphaRecord};

/// Gives a tick the prices and the scan that another source has for it; `Err`: it has none, or others.
pub type Rows<'a> = dyn FnMut(&mut Tick) -> Result<(), String> + 'a;

/// A tick at which the two did not do the same.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Apart {
    /// Event time, ns since 1970.
    pub at_ns: u64,
    /// What the node did.
    pub live: String,
    /// What the model did.
    pub model: String,
}

/// What the comparison came to.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Against {
    /// The run.
    pub run: u64,
    /// Ticks a bar.
    pub stride: u32,
    /// Ticks.
    pub ticks: u64,
    /// Intents and steps decided the same with the fills that the node really had.
    pub same_with_fills: u64,
    /// Of these, intents.
    pub same_intents: u64,
    /// Why it was not compared to its end.
    pub stopped: Option<String>,
    /// Ticks at which live and the engine's own booking were flat, so that both were to decide from the same.
    pub both_flat: u64,
    /// Those of them at which the same was decided: the same gate, and the same symbol and direction where it was an entry.
    pub equal: u64,
    /// Entries that the node intended.
    pub live_entries: u64,
    /// Entries of the model.
    pub model_entries: u64,
    /// Entries of both, at the same tick.
    pub same_entries: u64,
    /// Of these, what both closed at the same tick.
    pub same_exits: u64,
    /// Entries and exits that one of them made while the other held or worked something else, or had other money: that comes
    /// of real fills.
    pub by_fills: Vec<Apart>,
    /// Other decisions from the same state: there may be none.
    pub unexplained: Vec<Apart>,
}

/// One side at a tick.
#[derive(Debug, Clone, Default)]
struct Side {
    gate: Option<Gate>,
    entry: Option<Decided>,
    /// What it holds or works, by name.
    holds: Option<String>,
    /// When the trade was closed that both had entered.
    closed: Option<(u64, &'static str)>,
}

struct Comparison {
    header: Header,
    /// With the real fills; `None` once it has decided otherwise.
    real: Option<AlphaReplay>,
    model: AlphaReplay,
    /// Newest record.
    seq: u64,
    tick: Nanos,
    /// Of the newest tick, until the next.
    live: Side,
    supposed: Side,
    /// What both hold since the same tick.
    shared: Option<String>,
    found: Against,
}

/// Compares every run, on ticks whose prices and scans come from `rows`. Beside it, every decision is taken again.
pub fn against(
    files: &dyn Files,
    path: &Path,
    forewarner: &dyn Fn(&Config) -> Option<Forewarner>,
    rows: &mut Rows<'_>,
) -> Result<(Vec<RunReport>, Vec<Against>), Failure> {
    let (mut done, mut failed) = (Vec::new(), None);
    let mut comparison: Option<Comparison> = None;
    let reports = replay(files, path, Within::ALL, forewarner, &mut |header, begun, record| {
        let mut step = || -> Result<(), Failure> {
            if comparison.as_ref().is_none_or(|c| c.header.run != header.run) {
                done.extend(comparison.take().map(Comparison::end));
                let Some(begun) = begun else { return Ok(()) };
                comparison = Some(Comparison::begin(header, begun, forewarner).map_err(Failure::input)?);
            }
            comparison.as_mut().map_or(Ok(()), |c| c.take(record, rows)).map_err(Failure::input)
        };
        if failed.is_none() {
            failed = step().err();
        }
        failed.is_none()
    })?;
    if let Some(why) = failed {
        return Err(why);
    }
    done.extend(comparison.take().map(Comparison::end));
    if done.is_empty() {
        return Err(Failure::input(
            "no run of the journal begins with the engine's state: nothing can be compared",
        ));
    }
    Ok((reports, done))
}

impl Comparison {
    fn begin(
        header: &Header,
        (state, memo): &(Snapshot, AlphaMemo),
        forewarner: &dyn Fn(&Config) -> Option<Forewarner>,
    ) -> Result<Self, String> {
        let config = header.config()?;
        let model = || if header.forewarner { forewarner(&config) } else { None };
        let real = AlphaReplay::new(&config, state, memo.clone(), model())?;
        let supposed = AlphaReplay::hypothetical(&config, state, Nanos(header.booked), model())?;
        Ok(Self {
            header: header.clone(),
            real: Some(real),
            model: supposed,
            seq: 0,
            tick: Nanos(0),
            live: Side::default(),
            supposed: Side::default(),
            shared: None,
            found: Against { run: header.run, stride: state.stride(), ..Against::default() },
        })
    }

    fn take(&mut self, record: &Record<'_>, rows: &mut Rows<'_>) -> Result<(), String> {
        if record.stream != ALPHA {
            return Ok(());
        }
        let last = std::mem::replace(&mut self.seq, record.seq);
        if last != 0 && record.seq != last + 1 && self.found.stopped.is_none() {
            self.settle();
            let why = format!("records {} to {} are missing", last + 1, record.seq.saturating_sub(1));
            self.found.stopped = Some(why);
        }
        if record.kind == TICK {
            self.settle();
            let mut tick: Tick = decode(record.payload)?;
            rows(&mut tick)?;
            if self.found.stopped.is_some() {
                return Ok(());
            }
            self.repeat(&Record { payload: &encoded(&tick), ..*record });
            return self.suppose(record, &tick);
        }
        if self.found.stopped.is_some() {
            return Ok(());
        }
        self.repeat(record);
        match decode::<AlphaRecord>(record.payload)? {
            AlphaRecord::Step { gate, .. } => self.live.gate = Some(gate),
            AlphaRecord::Intent(Intent::Enter(e)) => {
                let entry = self.entry(e.symbol, e.direction);
                self.live.holds = Some(entry.symbol.clone());
                self.live.entry = Some(entry);
            }
            AlphaRecord::Intent(Intent::Exit(e)) => {
                self.live.closed.get_or_insert((e.ts_event.0, e.reason.name()));
            }
            AlphaRecord::Intent(Intent::EntrySignal { .. }) => {}
            AlphaRecord::Outcome(outcome) => match outcome {
                Outcome::Abandoned { .. } => {
                    self.live.closed.get_or_insert((self.tick.0, "not filled"));
                }
                Outcome::Exited(e) => {
                    self.live.closed.get_or_insert((e.ts_event.0, "filled at the venue"));
                }
                Outcome::Entered(_) | Outcome::Unplanned { .. } | Outcome::Corrected(_) => {}
            },
            _ => {
                self.model.suppose(record.kind, record.at, record.payload)?;
            }
        }
        Ok(())
    }

    /// With the fills of then.
    fn repeat(&mut self, record: &Record<'_>) {
        let Some(real) = &mut self.real else { return };
        match real.take(record.kind, record.at, record.payload) {
            Ok(Was::Decision) => {
                self.found.same_with_fills += 1;
                self.found.same_intents += u64::from(kind_name(ALPHA, record.kind) == "intent");
            }
            Ok(Was::Input) => {}
            Err(now) => {
                let live = format!("with the same fills: {}", value(record));
                self.found.unexplained.push(Apart { at_ns: self.tick.0, live, model: now.to_string() });
                self.real = None;
            }
        }
    }

    fn suppose(&mut self, record: &Record<'_>, tick: &Tick) -> Result<(), String> {
        let gate = self.model.suppose(TICK, record.at, &encoded(tick))?;
        self.tick = tick.ts;
        self.found.ticks += 1;
        self.supposed.gate = gate;
        if gate == Some(Gate::Entered)
            && let Some(p) = self.model.engine().position()
        {
            let entry = self.entry(p.symbol, p.direction);
            self.supposed.holds = Some(entry.symbol.clone());
            self.supposed.entry = Some(entry);
        }
        if gate == Some(Gate::Exited) {
            let reason = self.model.engine().trades().last().map_or("?", |t| t.reason.name());
            self.supposed.closed.get_or_insert((tick.ts.0, reason));
        }
        Ok(())
    }

    fn entry(&self, symbol: market::SymbolId, direction: i8) -> Decided {
        let name = self.header.symbols.get(symbol.index());
        let symbol = name.cloned().unwrap_or_else(|| format!("#{}", symbol.0));
        Decided { at_ns: self.tick.0, symbol, direction, reason: None }
    }

    /// Compares what both did at the newest tick.
    fn settle(&mut self) {
        let (Some(live), Some(model)) = (self.live.gate.take(), self.supposed.gate.take()) else {
            return;
        };
        let (live_entry, model_entry) = (self.live.entry.take(), self.supposed.entry.take());
        let found = &mut self.found;
        found.live_entries += u64::from(live_entry.is_some());
        found.model_entries += u64::from(model_entry.is_some());
        let apart = Apart {
            at_ns: self.tick.0,
            live: said(live, live_entry.as_ref(), self.live.holds.as_deref()),
            model: said(model, model_entry.as_ref(), self.supposed.holds.as_deref()),
        };
        let (live_flat, model_flat) = (was_flat(live), was_flat(model));
        if live_flat && model_flat {
            found.both_flat += 1;
            self.closed();
            let found = &mut self.found;
            if live == model && live_entry == model_entry {
                found.equal += 1;
                if let Some(entry) = live_entry {
                    found.same_entries += 1;
                    self.shared = Some(entry.symbol);
                }
            } else if of_money(live) || of_money(model) {
                found.by_fills.push(apart);
            } else {
                found.unexplained.push(apart);
            }
        } else if live_entry.is_some() || model_entry.is_some() {
            found.by_fills.push(apart);
        }
        for (side, gate) in [(&mut self.live, live), (&mut self.supposed, model)] {
            if was_flat(gate) && gate != Gate::Entered {
                side.holds = None;
            }
        }
    }

    /// Both are flat again: how did each of them close what both had entered?
    fn closed(&mut self) {
        let (live, model) = (self.live.closed.take(), self.supposed.closed.take());
        let Some(symbol) = self.shared.take() else { return };
        if live.is_some() && live == model {
            self.found.same_exits += 1;
            return;
        }
        let said = |closed: Option<(u64, &'static str)>| match closed {
            Some((at, why)) => format!("closes {symbol}: {why} at {}", time_of_day(at)),
            None => format!("no longer holds {symbol}"),
        };
        let at_ns = live.map_or(self.tick.0, |(at, _)| at);
        self.found.by_fills.push(Apart { at_ns, live: said(live), model: said(model) });
    }

    fn end(mut self) -> Against {
        self.settle();
        self.found.by_fills.sort_by_key(|apart| apart.at_ns);
        self.found
    }
}

/// Was it flat before the step that came to this gate?
const fn was_flat(gate: Gate) -> bool {
    !matches!(gate, Gate::EntryWorking | Gate::Holding | Gate::ExitWorking | Gate::Exited)
}

/// Gates that close by what was won and lost.
const fn of_money(gate: Gate) -> bool {
    matches!(gate, Gate::Breaker | Gate::Capital)
}

fn said(gate: Gate, entry: Option<&Decided>, holds: Option<&str>) -> String {
    match entry {
        Some(e) => format!("enters {} {}", e.symbol, if e.direction < 0 { "short" } else { "long" }),
        None if !was_flat(gate) => format!("{} {}", gate.name(), holds.unwrap_or("")),
        None => format!("no entry: {}", gate.name()),
    }
}

fn time_of_day(at_ns: u64) -> String {
    let (s, ms) = (at_ns / Nanos::SECOND % 86_400, at_ns / Nanos::MS % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", s / 3600, s / 60 % 60, s % 60)
}
