//! How fast a replay is (TARGETS, `bench replay`): bars per second over generated days of the champion's shape. Figures of one
//! run, to be compared with each other: the engine alone on rows in memory; decoding alone, on one thread, which bounds what a
//! replay can reach; and both together, one after the other and side by side, as a replay does it.

use std::ops::ControlFlow;
use std::path::PathBuf;
use std::time::Instant;

use archive::day::{Day, LoadedDay, encode};
use bytes::Bytes;
use serde::Serialize;

use crate::ReplayError;
use crate::days::{BarHandler, ReplayConfig};
use crate::feed::each_decoded;
use crate::generate::Generator;

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
    /// Parquet in memory to rows, one thread: the bound.
    pub read: Rate,
    /// Parquet in memory to trades, a day after the other, one thread.
    pub one_thread: Rate,
    /// The same as a replay does it: the next day is decoded by a thread of its own while this one is stepped.
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
    let engine = rate("engine: rows in memory → trades", bars, rounds, || {
        let mut handler = BarHandler::new(&config, assets.clone())?;
        for day in &rows {
            handler.step_day(day)?;
        }
        trades = handler.finish(Instant::now()).trades.len();
        Ok(())
    })?;
    let mut day = Day::default();
    let read = rate("decode: parquet in memory → rows", bars, rounds, || {
        files.iter().try_for_each(|file| Ok(file.decode_into(&mut day).map(drop)?))
    })?;
    let replayed = |what, threads| {
        rate(what, bars, rounds, || {
            let decode = |file: &LoadedDay, day: &mut Day| file.decode_into(day);
            let begin = || BarHandler::new(&config, assets.clone());
            each_decoded(&files, threads, decode, begin, |handler, day, _| {
                handler.step_day(day)?;
                Ok::<_, ReplayError>(ControlFlow::Continue(()))
            })
            .map(drop)
        })
    };
    let one_thread = replayed("replay: parquet → trades, one thread", 1)?;
    let replay = replayed("replay: the next day decoded beside it", 2)?;
    let of_read_bound = replay.p50 / read.p50;
    let days = rows.len();
    Ok(ReplayBench { days, assets: assets.len(), trades, engine, read, one_thread, replay, of_read_bound })
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
