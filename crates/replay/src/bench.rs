//! How fast a replay is (TARGETS, `bench replay`): bars per second on one core, over generated days of the champion's
//! shape. Three figures of one run, to be compared with each other: the engine alone on rows in memory, reading parquet
//! alone from memory, and both together as a replay does it.

use std::path::PathBuf;
use std::time::Instant;

use archive::day::{Day, LoadedDay, encode};
use bytes::Bytes;
use serde::Serialize;

use crate::ReplayError;
use crate::days::{BarHandler, ReplayConfig};
use crate::generate::Generator;

/// The percentiles that benches print.
pub const QUANTILES: [(&str, f64); 4] = [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999)];

/// Which of them rest on too few of `n` samples, fewer than 10/(1 − q): to be taken with care.
pub fn few_samples(n: u64) -> Vec<&'static str> {
    let few = |&(name, q): &(&'static str, f64)| ((n as f64) < (10.0 / (1.0 - q)).round()).then_some(name);
    QUANTILES.iter().filter_map(few).collect()
}

/// One figure: rounds over the same days.
#[derive(Debug, Clone, Serialize)]
pub struct Rate {
    /// What was measured.
    pub what: &'static str,
    /// Bars in one round.
    pub bars: u64,
    /// Rounds.
    pub n: usize,
    /// Bars per second of the slowest round.
    pub min: f64,
    /// … of the median round.
    pub p50: f64,
    /// … of the fastest round.
    pub max: f64,
}

/// The figures of one run.
#[derive(Debug, Clone, Serialize)]
pub struct ReplayBench {
    /// Days generated.
    pub days: usize,
    /// Assets.
    pub assets: usize,
    /// Trades that the engine made (a replay that trades, not one that idles).
    pub trades: usize,
    /// Engine on rows in memory.
    pub engine: Rate,
    /// Parquet in memory to rows.
    pub read: Rate,
    /// Parquet in memory to trades.
    pub replay: Rate,
    /// `replay` ÷ `read`, medians: how near to the bound of reading.
    pub of_read_bound: f64,
}

/// Measures `rounds` rounds over `days` generated days.
pub fn bench(days: usize, rounds: usize) -> Result<ReplayBench, ReplayError> {
    let mut generator = Generator::champion(7);
    let rows: Vec<Day> = (0..days.max(1)).map(|_| generator.next_day()).collect();
    let config = ReplayConfig::champion("");
    let assets = rows[0].assets.clone();
    let mut files = Vec::with_capacity(rows.len());
    for day in &rows {
        let path = PathBuf::from(format!("{}.parquet", day.date));
        let bytes =
            encode(day).map_err(|detail| archive::day::DayError::Corrupt { path: path.clone(), detail })?;
        files.push(LoadedDay::from_parquet(day.date, path, Bytes::from(bytes)));
    }
    let bars = rows.iter().map(|d| d.len() as u64).sum();
    let mut trades = 0;
    let engine = rate("engine alone, rows in memory", bars, rounds, || {
        let mut handler = BarHandler::new(&config, assets.clone())?;
        for day in &rows {
            handler.step_day(day)?;
        }
        trades = handler.finish(Instant::now()).trades.len();
        Ok(())
    })?;
    let mut day = Day::default();
    let read = rate("parquet in memory to rows", bars, rounds, || {
        files.iter().try_for_each(|file| Ok(file.decode_into(&mut day).map(drop)?))
    })?;
    let replay = rate("parquet in memory to trades", bars, rounds, || {
        let mut handler = BarHandler::new(&config, assets.clone())?;
        for file in &files {
            file.decode_into(&mut day)?;
            handler.step_day(&day)?;
        }
        Ok(())
    })?;
    let of_read_bound = replay.p50 / read.p50;
    Ok(ReplayBench { days: rows.len(), assets: assets.len(), trades, engine, read, replay, of_read_bound })
}

fn rate(
    what: &'static str,
    bars: u64,
    rounds: usize,
    mut round: impl FnMut() -> Result<(), ReplayError>,
) -> Result<Rate, ReplayError> {
    round()?; // warm-up
    let mut rates = Vec::with_capacity(rounds);
    for _ in 0..rounds.max(1) {
        let started = Instant::now();
        round()?;
        rates.push(bars as f64 / started.elapsed().as_secs_f64());
    }
    rates.sort_by(f64::total_cmp);
    let at = |i: usize| rates[i];
    Ok(Rate { what, bars, n: rates.len(), min: at(0), p50: at(rates.len() / 2), max: at(rates.len() - 1) })
}
