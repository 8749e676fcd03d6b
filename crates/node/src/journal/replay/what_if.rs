//! What the engine would have decided on the ticks of a journal: the same stage, booking by the model of SPEC §3.9 instead of
//! by what the venue did. Two of these on the same ticks show what a parameter does; one beside the real intents shows
//! what real fills did.

use std::path::Path;

use ::alpha::{Forewarner, Gate, Snapshot, TradeRecord};
use market::{Intent, Nanos};
use runtime::environment::Files;
use runtime::journal::frame::Record;
use serde::Serialize;

use super::alpha::AlphaReplay;
use super::run::{Within, replay};
use crate::config::Config;
use crate::error::Failure;
use crate::journal::header::Header;
use crate::journal::records::{ALPHA, decode};
use crate::stages::alpha::{AlphaMemo, AlphaRecord};

/// An entry or exit, of the real run or of a hypothetical one.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Decided {
    /// Event time, ns since 1970.
    pub at_ns: u64,
    /// Symbol.
    pub symbol: String,
    /// −1, +1; 0: an exit.
    pub direction: i8,
    /// Why an exit.
    pub reason: Option<&'static str>,
}

/// What the engine came to under one set of parameters.
#[derive(Debug, Clone, Serialize)]
pub struct Hypothesis {
    /// Hash of its parameters.
    pub param_hash: String,
    /// Steps by the gate that stopped them.
    pub gates: Vec<(&'static str, u64)>,
    /// Entries, at the ticks that decided them.
    pub entries: Vec<Decided>,
    /// Closed trades, fees and fills by the model.
    pub trades: Vec<TradeRecord>,
    /// Their profit.
    pub pnl: f64,
    /// The symbol of an open position.
    pub open: Option<String>,
}

/// What came of a journal under other parameters. Hypothetical: no fill of it ever happened.
#[derive(Debug, Clone, Serialize)]
pub struct WhatIf {
    /// The run.
    pub run: u64,
    /// Always true: a reader of the JSON must not take it for what was traded.
    pub hypothetical: bool,
    /// Ticks.
    pub ticks: u64,
    /// What the node really wanted.
    pub intended: Vec<Decided>,
    /// Under the parameters of the run.
    pub as_was: Hypothesis,
    /// Under those that were asked for.
    pub as_set: Hypothesis,
}

struct Pair {
    header: Header,
    ticks: u64,
    intended: Vec<Decided>,
    engines: [AlphaReplay; 2],
    hashes: [String; 2],
    gates: [[u64; Gate::ALL.len()]; 2],
    entries: [Vec<Decided>; 2],
}

/// Decides every run of a journal hypothetically: as it was configured, and as `change` makes its configuration.
pub fn what_if(
    files: &dyn Files,
    path: &Path,
    within: Within,
    forewarner: &dyn Fn(&Config) -> Option<Forewarner>,
    change: &dyn Fn(&mut Config) -> Result<(), Failure>,
) -> Result<Vec<WhatIf>, Failure> {
    let (mut done, mut failed) = (Vec::new(), None);
    let mut pair: Option<Pair> = None;
    let begin = |header: &Header, state: &Snapshot| -> Result<Pair, Failure> {
        let was = header.config().map_err(Failure::input)?;
        let mut set = was.clone();
        change(&mut set)?;
        let engine = |config: &Config| {
            let model = if header.forewarner { forewarner(config) } else { None };
            AlphaReplay::hypothetical(config, state, Nanos(header.booked), model).map_err(Failure::usage)
        };
        Ok(Pair {
            header: header.clone(),
            ticks: 0,
            intended: Vec::new(),
            engines: [engine(&was)?, engine(&set)?],
            hashes: [was.alpha.hash(), set.alpha.hash()],
            gates: [[0; Gate::ALL.len()]; 2],
            entries: [Vec::new(), Vec::new()],
        })
    };
    let mut observe = |header: &Header, state: Option<&(Snapshot, AlphaMemo)>, record: &Record<'_>| {
        if failed.is_some() {
            return false;
        }
        if pair.as_ref().is_none_or(|p| p.header.run != header.run) {
            done.extend(pair.take().map(Pair::end));
            let Some((state, _)) = state else { return true };
            match begin(header, state) {
                Ok(begun) => pair = Some(begun),
                Err(why) => failed = Some(why),
            }
        }
        if let Some(pair) = &mut pair
            && let Err(why) = pair.take(record)
        {
            failed = Some(Failure::input(why));
        }
        failed.is_none()
    };
    replay(files, path, within, forewarner, &mut observe)?;
    if let Some(why) = failed {
        return Err(why);
    }
    done.extend(pair.take().map(Pair::end));
    if done.is_empty() {
        return Err(Failure::input(
            "no run of the journal begins with the engine's state: nothing can be tried",
        ));
    }
    Ok(done)
}

impl Pair {
    fn take(&mut self, record: &Record<'_>) -> Result<(), String> {
        if record.stream != ALPHA {
            return Ok(());
        }
        let sides = self.engines.iter_mut().zip(&mut self.gates).zip(&mut self.entries);
        for ((engine, gates), entries) in sides {
            let Some(gate) = engine.suppose(record.kind, record.at, record.payload)? else { continue };
            gates[Gate::ALL.iter().position(|g| *g == gate).unwrap_or(0)] += 1;
            let now = engine.engine();
            if let Some(p) = now.position()
                && p.entry_tick + 1 == now.ticks()
            {
                let symbol = now.assets().get(p.symbol.index()).cloned().unwrap_or_default();
                let at_ns = engine.tick_at().0;
                entries.push(Decided { at_ns, symbol, direction: p.direction, reason: None });
            }
        }
        match decode::<AlphaRecord>(record.payload) {
            _ if record.kind == crate::journal::records::TICK => self.ticks += 1,
            Ok(AlphaRecord::Intent(intent)) => self.intended.extend(self.decided(&intent)),
            _ => {}
        }
        Ok(())
    }

    fn decided(&self, intent: &Intent) -> Option<Decided> {
        let name = |symbol: market::SymbolId| {
            self.header.symbols.get(symbol.index()).cloned().unwrap_or_else(|| format!("#{}", symbol.0))
        };
        match intent {
            Intent::Enter(e) => Some(Decided {
                at_ns: e.ts_event.0.0,
                symbol: name(e.symbol),
                direction: e.direction,
                reason: None,
            }),
            Intent::Exit(e) => Some(Decided {
                at_ns: e.ts_event.0,
                symbol: name(e.symbol),
                direction: 0,
                reason: Some(e.reason.name()),
            }),
            Intent::EntrySignal { .. } => None,
        }
    }

    fn end(self) -> WhatIf {
        let Self { header, ticks, intended, engines, hashes, gates, entries } = self;
        let [was_entries, set_entries] = entries;
        let [was, set] = engines;
        let [was_hash, set_hash] = hashes;
        let end = |engine: AlphaReplay, param_hash, gates: [u64; Gate::ALL.len()], entries| {
            let engine = engine.engine();
            let trades: Vec<TradeRecord> =
                engine.trades().iter().map(|t| t.record(engine.assets())).collect();
            Hypothesis {
                param_hash,
                gates: Gate::ALL.iter().map(|g| g.name()).zip(gates).filter(|(_, n)| *n > 0).collect(),
                entries,
                pnl: trades.iter().map(|t| t.pnl).sum(),
                trades,
                open: engine.position().and_then(|p| engine.assets().get(p.symbol.index()).cloned()),
            }
        };
        WhatIf {
            run: header.run,
            hypothetical: true,
            ticks,
            intended,
            as_was: end(was, was_hash, gates[0], was_entries),
            as_set: end(set, set_hash, gates[1], set_entries),
        }
    }
}
