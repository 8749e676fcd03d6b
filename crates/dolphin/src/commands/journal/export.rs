//! What is made of a journal: day files, and a table of decisions.

use std::path::{Path, PathBuf};

use archive::day::{Bar, Day};
use archive::table::{Column, write_parquet};
use market::{Nanos, OrderRequest, utc_date};
use node::config::{Config, Signal};
use node::error::Failure;
use node::journal::records::{ALPHA, ROUTER, SCAN, TICK, decode, kind_name, stream_name, symbol, value};
use node::stages::Tick;
use node::stages::alpha::AlphaRecord;
use node::stages::memory::MemoryScan;
use node::stages::router::RouterRecord;

use super::each::each;
use crate::commands::refuse_existing;

/// Where the signal came from system memory, the scans that were used are those.
struct MemorySignal {
    used: bool,
    stale_after: Nanos,
    taken: Option<MemoryScan>,
    newest: Option<i64>,
}

impl MemorySignal {
    fn of(config: &Config) -> Self {
        let stale_after = Nanos::from_millis(config.market.scan_stale_after_ms);
        Self { used: config.signal == Signal::Memory, stale_after, taken: None, newest: None }
    }

    /// As the engine's stage takes it (SPEC §3.13 ④): a scan that is too old, or the same again, gives no signal.
    fn apply(&mut self, tick: &mut Tick) {
        if !self.used {
            return;
        }
        let s = &mut tick.scan;
        (s.lambda, s.velocity) = ([f64::NAN; 4], [f64::NAN; 4]);
        (s.vel_div, s.instability_50, s.instability_150) = (f64::NAN, f64::NAN, f64::NAN);
        let Some(scan) = self.taken.take() else { return };
        let again = scan.number.is_some() && scan.number == self.newest;
        if again || tick.ts.since(scan.at) > self.stale_after {
            return;
        }
        self.newest = scan.number;
        (s.vel_div, s.velocity[0], s.velocity[3]) = (scan.vel_div, scan.v50, scan.v750);
        s.instability_50 = scan.instability_50;
    }
}

/// Ticks by day of event time, in order; a date that two runs share is one file.
pub fn days(journal: &Path) -> Result<Vec<Day>, Failure> {
    let mut days: Vec<Day> = Vec::new();
    let mut signal: Option<(u64, MemorySignal)> = None;
    each(journal, |header, record| {
        if record.stream != ALPHA {
            return Ok(true);
        }
        if signal.as_ref().is_none_or(|(run, _)| *run != header.run) {
            let config = header.config().map_err(Failure::input)?;
            signal = Some((header.run, MemorySignal::of(&config)));
        }
        let Some((_, signal)) = &mut signal else { return Ok(true) };
        if record.kind == SCAN
            && let AlphaRecord::Scan(scan) = decode(record.payload).map_err(Failure::input)?
        {
            signal.taken = Some(scan);
        }
        if record.kind != TICK {
            return Ok(true);
        }
        let mut tick: Tick = decode(record.payload).map_err(Failure::input)?;
        signal.apply(&mut tick);
        let date = utc_date(tick.ts);
        if days.last().is_none_or(|day| day.date != date || day.assets != header.symbols) {
            if days.iter().any(|day| day.date == date) {
                return Err(Failure::input(format!(
                    "{date}: two runs follow other symbols; export one of them by its segment"
                )));
            }
            days.push(Day::new(date, header.symbols.clone()));
        }
        let s = &tick.scan;
        let bar = Bar {
            ts: Some(tick.ts),
            scan_number: Some(i64::try_from(tick.ts.0 / Nanos::MS).unwrap_or(i64::MAX)),
            vel_div: s.vel_div,
            v50: s.velocity[0],
            v150: s.velocity[1],
            v300: s.velocity[2],
            v750: s.velocity[3],
            instability_50: s.instability_50,
            instability_150: s.instability_150,
        };
        if let Some(day) = days.last_mut() {
            day.push(bar, &tick.mids);
        }
        Ok(true)
    })?;
    Ok(days)
}

pub fn export_days(journal: &Path, out: &Path, force: bool) -> Result<(), Failure> {
    let days = days(journal)?;
    let path = |day: &Day| out.join(format!("{}.parquet", day.date));
    days.iter().try_for_each(|day| refuse_existing(&path(day), force))?;
    std::fs::create_dir_all(out).map_err(|e| Failure::usage(format!("{}: {e}", out.display())))?;
    for day in &days {
        let path = path(day);
        archive::day::write(&path, day).map_err(|e| Failure::usage(e.to_string()))?;
        println!("{}: {} ticks, {} assets", path.display(), day.len(), day.assets.len());
    }
    Ok(())
}

/// Where [`export_decisions`] writes.
pub fn decisions(out: &Path) -> PathBuf {
    out.join("decisions.parquet")
}

/// One table: what was wanted, sent, reported and booked, in the order of the records.
pub fn export_decisions(journal: &Path, out: &Path) -> Result<(), Failure> {
    let (mut at, mut runs, mut stages, mut seqs) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let (mut kinds, mut symbols, mut ids, mut values) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    each(journal, |header, record| {
        let name = kind_name(record.stream, record.kind);
        if !matches!(name, "intent" | "request" | "report" | "outcome_told") {
            return Ok(true);
        }
        let id = match decode::<RouterRecord>(record.payload) {
            Ok(RouterRecord::Request(request)) if record.stream == ROUTER => match request {
                OrderRequest::New(o) => Some(o.client_order_id),
                OrderRequest::Cancel(o) | OrderRequest::Query(o) => Some(o.client_order_id),
                OrderRequest::Replace(o) => Some(o.client_order_id),
                OrderRequest::CancelAll(_) => None,
            },
            Ok(RouterRecord::Report(report)) if record.stream == ROUTER => report.origin.ours(),
            _ => None,
        };
        let symbol = symbol(record).and_then(|s| header.symbols.get(usize::from(s)));
        at.push(i64::try_from(header.wall_at(record.at)).unwrap_or(i64::MAX));
        runs.push(format!("{:013x}", header.run));
        stages.push(stream_name(record.stream).to_owned());
        seqs.push(i64::try_from(record.seq).unwrap_or(i64::MAX));
        kinds.push(name.to_owned());
        symbols.push(symbol.cloned().unwrap_or_default());
        ids.push(id.map(|id| id.to_string()).unwrap_or_default());
        values.push(value(record).to_string());
        Ok(true)
    })?;
    std::fs::create_dir_all(out).map_err(|e| Failure::usage(format!("{}: {e}", out.display())))?;
    let (path, n) = (decisions(out), at.len());
    let columns = [
        ("at_ns", Column::Int(at)),
        ("run", Column::Text(runs)),
        ("stage", Column::Text(stages)),
        ("seq", Column::Int(seqs)),
        ("kind", Column::Text(kinds)),
        ("symbol", Column::Text(symbols)),
        ("client_order_id", Column::Text(ids)),
        ("value", Column::Text(values)),
    ];
    write_parquet(&path, &columns).map_err(|e| Failure::usage(e.to_string()))?;
    println!("{}: {n} rows", path.display());
    Ok(())
}
