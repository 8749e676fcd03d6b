//! `dolphin journal`: what a node's journal holds, what is lost of it, and what can be made of it.

mod bundle;
mod each;
mod export;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use node::error::Failure;
use node::journal::header::Header;
use node::journal::records::{ALPHA, BOOK, TICK, decode, kind_name, stream_name, symbol, value};
use node::journal::replay::runs;
use node::stages::Tick;
use runtime::environment::SystemFiles;
use runtime::journal::frame::Record;
use runtime::journal::library::Limits;
use runtime::journal::library::{Numbers, read, trim};
use runtime::journal::segment::{OWN, kind};
use serde::Serialize;

use self::bundle::bundle;
pub use self::each::each;
pub use self::export::days;
use self::export::{decisions, export_days, export_decisions};

/// What a node took in and decided
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  dolphin journal list ~/.local/state/dolphin/journal/testnet
  dolphin journal show DIR --kind intent --kind request
  dolphin journal verify DIR
  dolphin replay --journal DIR")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Runs and their segments
    List {
        /// Directory of a journal, or one segment
        #[arg(value_name = "DIR|FILE")]
        journal: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Records, a line each
    Show(Show),
    /// Is everything whole? What is lost? Exit 1 where anything is damaged or missing
    Verify {
        /// Directory of a journal, or one segment
        #[arg(value_name = "DIR|FILE")]
        journal: PathBuf,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Ticks as day files, decisions as a parquet table
    Export {
        /// Directory of a journal, or one segment
        #[arg(value_name = "DIR|FILE")]
        journal: PathBuf,
        /// Scans and prices of every tick, one parquet file a day (row = tick)
        #[arg(long, value_name = "DIR", required_unless_present = "parquet")]
        day_files: Option<PathBuf>,
        /// decisions.parquet: intents, order requests, reports and outcomes
        #[arg(long, value_name = "DIR")]
        parquet: Option<PathBuf>,
        /// Replace files that are there
        #[arg(long)]
        force: bool,
    },
    /// Remove the oldest segments
    Trim {
        /// Directory of a journal
        #[arg(value_name = "DIR")]
        journal: PathBuf,
        /// Those begun before so many days
        #[arg(long, value_name = "D", default_value_t = 36_500)]
        days: u64,
        /// Until the rest is not larger than this, GB
        #[arg(long, value_name = "GB", default_value_t = 1e6)]
        max_gb: f64,
    },
    /// The newest run in a directory of its own, with its configuration: for whoever is to look at it
    Bundle {
        /// Directory of a journal
        #[arg(value_name = "DIR")]
        journal: PathBuf,
        /// Where to; made, and must not be there
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Log and other text files to put beside it
        #[arg(long = "with", value_name = "FILE")]
        with: Vec<PathBuf>,
    },
}

#[derive(Debug, clap::Args)]
struct Show {
    /// Directory of a journal, or one segment
    #[arg(value_name = "DIR|FILE")]
    journal: PathBuf,
    /// From this time on (2026-01-31T12:00:00Z)
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    from: Option<u64>,
    /// Up to this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    to: Option<u64>,
    /// Records about this symbol
    #[arg(long, value_name = "SYMBOL")]
    symbol: Option<String>,
    /// Records of this kind: tick, step, intent, outcome, quote, report, request, frame, … (repeatable)
    #[arg(long = "kind", value_name = "KIND")]
    kinds: Vec<String>,
    /// One JSON object a line
    #[arg(long)]
    json: bool,
}

/// A time as people write it, ns since 1970.
pub fn parse_time(text: &str) -> Result<u64, String> {
    let parsed: Result<jiff::Timestamp, _> = text.parse();
    let at = parsed.map_err(|e| format!("{e}; write 2026-01-31T12:00:00Z"))?;
    u64::try_from(at.as_nanosecond()).map_err(|_| "a time before 1970".to_owned())
}

fn time(ns: u64) -> String {
    let at = jiff::Timestamp::from_nanosecond(i128::from(ns)).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    at.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()
}

/// Runs it.
pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::List { journal, json } => list(&journal, json),
        Command::Show(show) => show.run(),
        Command::Verify { journal, json } => verify(&journal, json),
        Command::Export { journal, day_files, parquet, force } => {
            // Before anything is written.
            if let Some(out) = &parquet {
                super::refuse_existing(&decisions(out), force)?;
            }
            if let Some(out) = day_files {
                export_days(&journal, &out, force)?;
            }
            parquet.map_or(Ok(()), |out| export_decisions(&journal, &out))
        }
        Command::Trim { journal, days, max_gb } => {
            let max_bytes = (max_gb.max(0.0) * 1e9) as u64;
            let limits = Limits { dir: journal, segment_bytes: 0, days, max_bytes, fsync_ns: 0 };
            let now = u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or(0);
            let removed = trim(&SystemFiles, &limits, now, None)
                .map_err(|e| Failure::input(format!("{}: {e}", limits.dir.display())))?;
            let bytes: u64 = removed.iter().map(|f| f.bytes).sum();
            println!("{} segments removed, {:.1} MB", removed.len(), bytes as f64 / 1e6);
            Ok(())
        }
        Command::Bundle { journal, out, with } => bundle(&journal, &out, &with),
    }
}

/// A run, for people and machines.
#[derive(Debug, Serialize)]
struct RunLine {
    run: String,
    venue: String,
    version: String,
    symbols: usize,
    segments: usize,
    bytes: u64,
    from: String,
    to: String,
    records: BTreeMap<String, u64>,
    whole: bool,
    /// The run ended in good order, and its last segment is here.
    ended: bool,
    /// The last segment that is here was closed.
    closed: bool,
    /// Files with damaged parts: name, first byte, byte behind, what.
    damage: Vec<(String, usize, usize, &'static str)>,
    /// Missing records: stream, first, last, known to the journal itself.
    missing: Vec<(u8, u64, u64, bool)>,
    first_segment: u32,
}

impl RunLine {
    /// What is to be said of its end.
    fn end(&self) -> String {
        match (self.ended, self.closed) {
            (true, _) => String::new(),
            (false, true) => format!(
                "; after segment {} the run went on, or was killed there: nothing behind it is here",
                self.first_segment as usize + self.segments - 1
            ),
            (false, false) => "; its last segment was not closed (killed, or still running)".to_owned(),
        }
    }
}

fn survey(journal: &Path) -> Result<Vec<RunLine>, Failure> {
    let mut lines = Vec::new();
    for (run, segments) in runs(&SystemFiles, journal)? {
        let mut header: Option<Header> = None;
        let mut span: Option<(u64, u64)> = None;
        let first_segment = segments.first().map_or(0, |s| s.name.number);
        let (mut numbers, mut records) =
            (Numbers::from_segment(first_segment), BTreeMap::<String, u64>::new());
        let (mut damage, mut closed, mut ended, mut bytes) = (Vec::new(), false, false, 0);
        let mut next = first_segment;
        for segment in &segments {
            bytes += std::fs::metadata(&segment.path).map_or(segment.bytes, |m| m.len());
            if segment.name.number != next {
                damage.push((segment.name.to_string(), 0, 0, "the segment before it is missing"));
            }
            next = segment.name.number + 1;
            let condition = read(&SystemFiles, &segment.path, |record| {
                numbers.follow(&record);
                if record.stream == OWN && record.kind == kind::HEADER && header.is_none() {
                    header = serde_json::from_slice(record.payload).ok();
                }
                if record.stream != OWN {
                    span = Some((span.map_or(record.at, |(from, _)| from.min(record.at)), record.at));
                }
                *records.entry(kind_name(record.stream, record.kind).to_owned()).or_default() += 1;
                ControlFlow::Continue(())
            });
            let condition =
                condition.map_err(|e| Failure::input(format!("{}: {e:?}", segment.path.display())))?;
            let name = segment.name.to_string();
            damage.extend(condition.lost.into_iter().map(|l| (name.clone(), l.from, l.to, l.what)));
            (closed, ended) = (condition.ended, condition.run_ended);
        }
        let wall = |at: u64| header.as_ref().map_or_else(String::new, |h| time(h.wall_at(at)));
        let (from, to) = span.unwrap_or_default();
        lines.push(RunLine {
            run: format!("{run:013x}"),
            venue: header.as_ref().map(|h| h.venue.clone()).unwrap_or_default(),
            version: header.as_ref().map(|h| h.version.clone()).unwrap_or_default(),
            symbols: header.as_ref().map_or(0, |h| h.symbols.len()),
            segments: segments.len(),
            bytes,
            from: wall(from),
            to: wall(to),
            records,
            whole: damage.is_empty() && numbers.gaps.is_empty(),
            ended,
            closed,
            damage,
            missing: numbers.gaps.iter().map(|g| (g.stream, g.first, g.last, g.known)).collect(),
            first_segment,
        });
    }
    Ok(lines)
}

fn list(journal: &Path, json: bool) -> Result<(), Failure> {
    let lines = survey(journal)?;
    if json {
        return super::print_json(&lines);
    }
    for l in lines {
        let end = if l.ended { "; it ended in good order".to_owned() } else { l.end() };
        println!(
            "run {}  {} … {}  {} · {} symbols · {} segments, {:.1} MB{end}",
            l.run,
            l.from,
            l.to,
            l.venue,
            l.symbols,
            l.segments,
            l.bytes as f64 / 1e6
        );
        let counts: Vec<String> = l.records.iter().map(|(kind, n)| format!("{kind} {n}")).collect();
        println!("  {}", counts.join(", "));
    }
    Ok(())
}

fn verify(journal: &Path, json: bool) -> Result<(), Failure> {
    let lines = survey(journal)?;
    let broken = lines.iter().filter(|l| !l.whole).count();
    if json {
        super::print_json(&lines)?;
    } else {
        for l in &lines {
            let n: u64 = l.records.values().sum();
            let end = l.end();
            match l.whole {
                true => println!("run {}: {n} records, all whole{end}", l.run),
                false => println!("run {}: {n} whole records{end}", l.run),
            }
            if l.first_segment > 0 {
                println!("  begins with segment {}: what was before is not kept", l.first_segment);
            }
            for (file, from, to, what) in &l.damage {
                println!("  {file}: bytes {from} to {to}: {what}");
            }
            for (stream, first, last, known) in &l.missing {
                let stage = stream_name(*stream);
                let why = if *known { "the journal knows of this hole" } else { "lost" };
                println!("  {stage}: records {first} to {last} are missing: {why}");
            }
        }
    }
    if broken == 0 {
        return Ok(());
    }
    Err(Failure::answer_no(format!("{broken} of {} runs are damaged or have holes", lines.len())))
}

impl Show {
    fn run(self) -> Result<(), Failure> {
        let known: Vec<&str> = (ALPHA..=BOOK).flat_map(|s| (0..16).map(move |k| kind_name(s, k))).collect();
        if let Some(bad) = self.kinds.iter().find(|k| !known.contains(&k.as_str()) || *k == "unknown") {
            let mut kinds: Vec<&str> = known.into_iter().filter(|k| *k != "unknown").collect();
            kinds.dedup();
            return Err(Failure::usage(format!("--kind {bad}: there are {}", kinds.join(", "))));
        }
        each(&self.journal, |header, record| {
            let wall = header.wall_at(record.at);
            let name = kind_name(record.stream, record.kind);
            if self.to.is_some_and(|to| wall > to) {
                return Ok(false);
            }
            let of_symbol = || {
                self.symbol.as_ref().is_none_or(|wanted| {
                    let named = symbol(record).and_then(|s| header.symbols.get(usize::from(s)));
                    named.is_some_and(|s| s.eq_ignore_ascii_case(wanted))
                })
            };
            let wanted = self.from.is_none_or(|from| wall >= from)
                && (self.kinds.is_empty() || self.kinds.iter().any(|k| k == name))
                && of_symbol();
            if wanted {
                self.print(header, record, wall, name);
            }
            Ok(true)
        })
    }

    fn print(&self, header: &Header, record: &Record<'_>, wall: u64, name: &str) {
        let symbol = symbol(record).and_then(|s| header.symbols.get(usize::from(s)));
        let stage = stream_name(record.stream);
        if self.json {
            let line = serde_json::json!({
                "run": format!("{:013x}", header.run),
                "stage": stage,
                "seq": record.seq,
                "time": time(wall),
                "at_ns": record.at,
                "kind": name,
                "symbol": symbol,
                "value": value(record),
            });
            println!("{line}");
            return;
        }
        let text = match decode::<Tick>(record.payload) {
            Ok(tick) if record.stream == ALPHA && record.kind == TICK => {
                let fresh = tick.features.iter().flatten().count();
                format!("{} vel_div {:.6}, {fresh} symbols with features", time(tick.ts.0), tick.scan.vel_div)
            }
            _ => value(record).to_string(),
        };
        let symbol = symbol.map_or("", String::as_str);
        println!("{} {stage:6} {:>8} {name:12} {symbol:10} {text}", time(wall), record.seq);
    }
}
