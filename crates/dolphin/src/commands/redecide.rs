//! `dolphin replay --journal`, `dolphin parity --journal`: a journal decided again, as it was or otherwise.

use std::path::{Path, PathBuf};
use std::time::Instant;

use ::replay::days::ReplayConfig;
use ::replay::sweep::set;
use archive::day::{Day, LoadedDay};
use market::text::{counted, signed};
use node::config::{Config, Direction};
use node::error::Failure;
use node::journal::records::stream_name;
use node::journal::replay::{
    Against, Apart, Decided, Hypothesis, RunReport, Verdict, Within, against, replay, what_if,
};
use node::stages::Tick;
use runtime::environment::SystemFiles;

use super::replay_error;

/// Decides a journal again and compares every decision; exit 1 with the first difference.
pub fn compare(journal: &Path, within: Within, json: bool) -> Result<(), Failure> {
    let began = Instant::now();
    let reports = replay(&SystemFiles, journal, within, &super::forewarner, &mut |_, _, _| true)?;
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
        c.steps, c.intents, c.requests, c.outcomes, c.control_requests, c.states, c.snapshots
    );
    if r.book.is_some() {
        println!(
            "  made again of {}: {}, bit for bit those of the engine; {} were conflated",
            counted(c.frames, "frame"),
            counted(c.ticks, "tick"),
            c.conflated
        );
    }
    let stages = [("alpha", Some(&r.alpha)), ("router", Some(&r.router)), ("book", r.book.as_ref())];
    for (stage, verdict) in stages.into_iter().filter_map(|(stage, verdict)| Some((stage, verdict?))) {
        match verdict {
            Verdict::Equal if stage == "book" => println!("  book: every tick is equal"),
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
        let stage = stream_name(gap.stream);
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
    within: Within,
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
    let runs = what_if(&SystemFiles, journal, within, &super::forewarner, &change)?;
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

/// The scans of a session as day files, and these replayed by the engine at the stride of the run: where live and model
/// start from the same they must decide the same. What differs because of real fills is listed. Exit 1 for anything else.
pub fn parity(journal: &Path, json: bool) -> Result<(), Failure> {
    let mut rows = DayRows::of(journal)?;
    let files = rows.days.len();
    let compared = against(&SystemFiles, journal, &super::forewarner, &mut |tick| rows.give(tick));
    let (reports, runs) = compared?;
    if json {
        super::print_json(&runs)?;
    } else {
        println!("{} ticks in {files} day files, replayed", rows.days.iter().map(Day::len).sum::<usize>());
        runs.iter().for_each(print_against);
    }
    if let Some(r) = reports.iter().find(|r| r.differs()) {
        return Err(Failure::answer_no(format!(
            "run {:013x} decides otherwise now: dolphin replay --journal {} shows where",
            r.run,
            journal.display()
        )));
    }
    let unexplained: usize = runs.iter().map(|r| r.unexplained.len()).sum();
    if unexplained > 0 {
        return Err(Failure::answer_no(format!(
            "{unexplained} decisions are other ones although both were flat: no fill explains them"
        )));
    }
    Ok(())
}

fn print_against(r: &Against) {
    println!(
        "run {:013x}, S = {}: {} ticks; with the fills that it had: {} intents and {} steps are the same",
        r.run,
        r.stride,
        r.ticks,
        r.same_intents,
        r.same_with_fills - r.same_intents
    );
    if let Some(why) = &r.stopped {
        println!("  not compared to its end: {why}");
    }
    println!(
        "  booked by the model instead: at {} ticks both were flat, at {} of these the same was decided",
        r.both_flat, r.equal
    );
    println!(
        "  {} real entries, {} of the model, {} at the same tick in the same symbol ({} of them closed alike)",
        r.live_entries, r.model_entries, r.same_entries, r.same_exits
    );
    if !r.by_fills.is_empty() {
        println!("  by real fills (later, elsewhere, at another price or not at all):");
        r.by_fills.iter().for_each(print_apart);
    }
    if !r.unexplained.is_empty() {
        println!("  NOT explained by a fill:");
        r.unexplained.iter().for_each(print_apart);
    }
}

fn print_apart(a: &Apart) {
    let at = jiff::Timestamp::from_nanosecond(i128::from(a.at_ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    println!("    {}  live: {}  ·  model: {}", at.strftime("%H:%M:%S%.3f"), a.live, a.model);
}

/// Day files of a journal, written and read again in memory; their rows in order.
struct DayRows {
    days: Vec<Day>,
    next: (usize, usize),
}

impl DayRows {
    fn of(journal: &Path) -> Result<Self, Failure> {
        let again = |day: Day| -> Result<Day, Failure> {
            let name = PathBuf::from(format!("{}.parquet", day.date));
            let bytes = archive::day::encode(&day).map_err(Failure::input)?;
            let file = LoadedDay::from_parquet(day.date, name, bytes.into());
            let mut read = Day::default();
            file.decode_into(&mut read).map_err(|e| Failure::input(e.to_string()))?;
            Ok(read)
        };
        let days = super::journal::days(journal)?.into_iter().map(again).collect::<Result<_, _>>()?;
        Ok(Self { days, next: (0, 0) })
    }

    /// The next row, which must be of this tick.
    fn give(&mut self, tick: &mut Tick) -> Result<(), String> {
        while self.days.get(self.next.0).is_some_and(|day| self.next.1 >= day.len()) {
            self.next = (self.next.0 + 1, 0);
        }
        let (day, row) = self.next;
        let none = || format!("no row of the day files is of the tick at {}", tick.ts.millis());
        let day = self.days.get(day).ok_or_else(none)?;
        let (bar, prices) = (&day.bars[row], day.row(row));
        if bar.ts != Some(tick.ts) || prices.len() != tick.mids.len() {
            return Err(none());
        }
        tick.mids.copy_from_slice(prices);
        let s = &mut tick.scan;
        s.velocity = [bar.v50, bar.v150, bar.v300, bar.v750];
        (s.vel_div, s.instability_50) = (bar.vel_div, bar.instability_50);
        s.instability_150 = bar.instability_150;
        self.next.1 += 1;
        Ok(())
    }
}
