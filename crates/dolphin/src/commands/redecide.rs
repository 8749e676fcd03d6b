//! `dolphin replay --journal`, `dolphin parity --journal`: a journal decided again, as it was or otherwise.

use std::path::Path;
use std::time::Instant;

use ::replay::days::ReplayConfig;
use ::replay::sweep::set;
use market::text::{counted, signed};
use node::config::{Config, Direction};
use node::error::Failure;
use node::journal::records::ALPHA;
use node::journal::replay::{Decided, Hypothesis, RunReport, Verdict, WhatIf, replay, what_if};
use runtime::environment::SystemFiles;

use super::replay_error;

/// Decides a journal again and compares every decision; exit 1 with the first difference.
pub fn compare(journal: &Path, until: Option<u64>, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let reports = replay(&SystemFiles, journal, until, &super::forewarner, &mut |_, _, _| true)?;
    let seconds = began.elapsed().as_secs_f64();
    if json {
        super::print_json(&reports)?;
    } else {
        reports.iter().for_each(|r| print(r, seconds / reports.len() as f64));
    }
    if let Some(r) = reports.iter().find(|r| r.differs()) {
        return Err(Failure::answer_no(format!("run {:013x} decides otherwise now", r.run)));
    }
    if !reports.iter().any(RunReport::is_equal) {
        let why = reports.iter().flat_map(|r| [&r.alpha, &r.router]).find_map(|v| match v {
            Verdict::Stopped(why) => Some(why.as_str()),
            _ => None,
        });
        return Err(Failure::input(format!(
            "{}: no run could be decided again to its end: {}",
            journal.display(),
            why.unwrap_or("it has no records")
        )));
    }
    Ok(())
}

fn print(r: &RunReport, seconds: f64) {
    let c = &r.counts;
    let lasted = (r.to_ns - r.from_ns) as f64 / 1e9;
    println!(
        "run {:013x} ({}, {} symbols, {lasted:.1} s): {} records in {seconds:.2} s, {:.0} × real time",
        r.run,
        r.venue,
        r.symbols,
        c.records,
        lasted / seconds.max(1e-9)
    );
    println!(
        "  the same again: {} steps of the engine, {} intents, {} order requests, {} outcomes, {} requests to the \
         control thread, {} states of the router, {} whole states",
        c.steps, c.intents, c.requests, c.outcomes, c.errands, c.states, c.snapshots
    );
    for (stage, verdict) in [("alpha", &r.alpha), ("router", &r.router)] {
        match verdict {
            Verdict::Equal => println!("  {stage}: every decision is equal"),
            Verdict::Stopped(why) => println!("  {stage}: not followed to the end: {why}"),
            Verdict::Differs(d) => {
                println!("  {stage}: record {} is decided otherwise now", d.seq);
                d.before.iter().for_each(|line| println!("    before: {line}"));
                println!("    then:   {}", d.then);
                println!("    now:    {}", d.now);
            }
        }
    }
    for gap in &r.gaps {
        let stage = if gap.stream == ALPHA { "alpha" } else { "router" };
        println!("  {stage}: records {} to {} are missing, and were not decided again", gap.first, gap.last);
    }
    for (file, lost) in &r.damage {
        println!("  {file}: bytes {} to {}: {}", lost.from, lost.to, lost.what);
    }
}

/// What the engine would have decided under another configuration or other parameters.
pub fn suppose(
    journal: &Path,
    config: Option<&Path>,
    settings: &[String],
    until: Option<u64>,
    json: bool,
) -> Result<(), Failure> {
    let other = config.map(Config::load).transpose()?;
    let change = |config: &mut Config| {
        if let Some(other) = &other {
            config.alpha = other.alpha.clone();
            config.direction = other.direction;
        }
        change(config, settings)
    };
    let runs = what_if(&SystemFiles, journal, until, &super::forewarner, &change)?;
    if json {
        return super::print_json(&runs);
    }
    for run in &runs {
        println!("run {:013x}: {} ticks; HYPOTHETICAL, fills and fees by the model", run.run, run.ticks);
        side("as it was configured", &run.as_was);
        side("as it was asked for", &run.as_set);
        println!("  really intended: {}", entries(&run.intended));
    }
    Ok(())
}

fn change(config: &mut Config, settings: &[String]) -> Result<(), Failure> {
    let mut changed = ReplayConfig { params: config.alpha.clone(), ..ReplayConfig::champion("") };
    changed.direction = config.direction.sign();
    for setting in settings {
        let (key, value) = setting
            .split_once('=')
            .ok_or_else(|| Failure::usage(format!("--set {setting}: write KEY=VALUE")))?;
        set(&mut changed, key.trim(), value).map_err(|e| replay_error(&e))?;
    }
    changed.params.verify().map_err(|e| Failure::usage(e.to_string()))?;
    config.alpha = changed.params;
    config.direction = match changed.direction {
        -1 => Direction::Short,
        1 => Direction::Long,
        _ => Direction::Both,
    };
    Ok(())
}

fn side(name: &str, h: &Hypothesis) {
    let gates: Vec<String> = h.gates.iter().map(|(gate, n)| format!("{gate} {n}")).collect();
    println!(
        "  {name} ({}): {}, pnl {}{}",
        &h.param_hash[..12.min(h.param_hash.len())],
        counted(h.trades.len(), "trade"),
        signed(h.pnl, 2),
        h.open.as_ref().map(|s| format!(", {s} still open")).unwrap_or_default()
    );
    println!("    gates: {}", gates.join(", "));
}

fn entries(decided: &[Decided]) -> String {
    let entries = decided.iter().filter(|d| d.direction != 0).count();
    format!("{}, {}", counted(entries, "entry"), counted(decided.len() - entries, "exit"))
}

/// Live against the engine's own booking on the same ticks, at the stride of the run: where the intents part, real fills did
/// it, and it is listed. Exit 1 if the first intents already differ.
pub fn parity(journal: &Path, json: bool) -> Result<(), Failure> {
    let runs = what_if(&SystemFiles, journal, None, &super::forewarner, &|_: &mut Config| Ok(()))?;
    if json {
        super::print_json(&runs)?;
    }
    let mut apart = 0;
    for run in &runs {
        let found = against_model(run);
        apart += u32::from(!found.first_equal);
        if json {
            continue;
        }
        println!(
            "run {:013x}: {} ticks; {} real entries, {} of the model, {} at the same tick in the same symbol",
            run.run, run.ticks, found.real, found.model, found.same
        );
        found.only_real.iter().for_each(|d| println!("  only live:  {}", line(d)));
        found.only_model.iter().for_each(|d| println!("  only model: {}", line(d)));
        if !(found.only_real.is_empty() && found.only_model.is_empty()) {
            println!(
                "  they part where a real fill came later, elsewhere or not at all: one position at a time"
            );
        }
    }
    if apart > 0 {
        return Err(Failure::answer_no(format!("in {apart} runs already the first entries differ")));
    }
    Ok(())
}

struct Against {
    real: usize,
    model: usize,
    same: usize,
    first_equal: bool,
    only_real: Vec<Decided>,
    only_model: Vec<Decided>,
}

fn against_model(run: &WhatIf) -> Against {
    let real: Vec<&Decided> = run.intended.iter().filter(|d| d.direction != 0).collect();
    let model: Vec<Decided> = run.as_was.entries.clone();
    let is_same =
        |a: &Decided, b: &Decided| (a.at_ns, &a.symbol, a.direction) == (b.at_ns, &b.symbol, b.direction);
    let only_real: Vec<Decided> =
        real.iter().filter(|d| !model.iter().any(|m| is_same(d, m))).map(|d| (*d).clone()).collect();
    let only_model: Vec<Decided> =
        model.iter().filter(|m| !real.iter().any(|d| is_same(d, m))).cloned().collect();
    let first_equal = match (real.first(), model.first()) {
        (Some(a), Some(b)) => is_same(a, b),
        (None, None) => true,
        _ => false,
    };
    Against {
        real: real.len(),
        model: model.len(),
        same: real.len() - only_real.len(),
        first_equal,
        only_real,
        only_model,
    }
}

fn line(d: &Decided) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(d.at_ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    format!("{} {} {}", at.strftime("%H:%M:%S%.3f"), if d.direction < 0 { "short" } else { "long" }, d.symbol)
}
