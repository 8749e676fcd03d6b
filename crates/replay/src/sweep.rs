//! Many parameter sets over the same days: each day is read once and stepped by every engine of the grid, spread over
//! all threads. Every engine sees exactly what it would see alone, so each row equals a single replay bit for bit; rows
//! come in grid order (the last key runs fastest), however many threads there are.

use std::ops::ControlFlow;
use std::sync::{Arc, mpsc};
use std::time::Instant;

use alpha::Metrics;
use archive::day::Day;
use serde::Serialize;

use crate::ReplayError;
use crate::days::{BarHandler, Observer, Progress, ReplayConfig, Run};
use crate::feed::each_day;

/// Most combinations of one sweep.
pub const MAX_COMBINATIONS: usize = 10_000;

/// One axis of the grid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Axis {
    /// Any parameter, or `direction`.
    pub key: String,
    /// Its values.
    pub values: Vec<String>,
}

impl std::str::FromStr for Axis {
    type Err = ReplayError;
    /// `key=a,b,c`.
    fn from_str(text: &str) -> Result<Self, ReplayError> {
        let bad = || ReplayError::Sweep(format!("`{text}` is not of the form key=a,b,c"));
        let (key, values) = text.split_once('=').ok_or_else(bad)?;
        let values: Vec<String> = values.split(',').map(|v| v.trim().to_owned()).collect();
        if key.trim().is_empty() || values.iter().any(String::is_empty) {
            return Err(bad());
        }
        Ok(Self { key: key.trim().to_owned(), values })
    }
}

/// What came of one combination.
#[derive(Debug, Clone, Serialize)]
pub struct SweepRow {
    /// `(key, value)` of each axis.
    pub settings: Vec<(String, String)>,
    /// Metrics.
    #[serde(flatten)]
    pub metrics: Metrics,
    /// Capital at the end.
    pub final_capital: f64,
    /// Hash of the parameters.
    pub param_hash: String,
}

/// A finished sweep.
#[derive(Debug, Clone, Serialize)]
pub struct Sweep {
    /// Keys of the grid.
    pub keys: Vec<String>,
    /// Rows in grid order.
    pub rows: Vec<SweepRow>,
    /// Days replayed.
    pub days: usize,
    /// Bars stepped by each engine.
    pub bars: u64,
    /// Wall time, s.
    pub elapsed_s: f64,
    /// Notes of the first combination.
    pub notes: Vec<String>,
}

impl Sweep {
    /// The rows as cells, with a header: keys, then metrics.
    fn cells(&self) -> Vec<Vec<String>> {
        const METRICS: [&str; 7] =
            ["roi", "profit_factor", "sharpe", "max_drawdown", "win_rate", "trades", "final_capital"];
        let header = self.keys.iter().cloned().chain(METRICS.map(str::to_owned)).collect();
        let rows = self.rows.iter().map(|row| {
            let m = &row.metrics;
            let maybe = |x: Option<f64>| x.map_or_else(String::new, |x| x.to_string());
            let numbers = [
                m.roi.to_string(),
                maybe(m.profit_factor),
                maybe(m.sharpe),
                m.max_drawdown.to_string(),
                maybe(m.win_rate),
                m.trades.to_string(),
                row.final_capital.to_string(),
            ];
            row.settings.iter().map(|(_, value)| value.clone()).chain(numbers).collect()
        });
        std::iter::once(header).chain(rows).collect()
    }

    /// CSV with full digits.
    pub fn csv(&self) -> String {
        let quoted = |cell: &String| {
            if cell.contains([',', '"', '\n']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        };
        let lines = self
            .cells()
            .iter()
            .map(|row| row.iter().map(quoted).collect::<Vec<_>>().join(","))
            .collect::<Vec<_>>();
        lines.join("\n") + "\n"
    }

    /// A table for people: five digits, columns aligned.
    pub fn table(&self) -> String {
        let keys = self.keys.len();
        let mut cells = self.cells();
        for row in cells.iter_mut().skip(1) {
            for cell in &mut row[keys..] {
                if let (Ok(x), false) = (cell.parse::<f64>(), cell.parse::<u64>().is_ok()) {
                    *cell = format!("{x:.5}");
                }
            }
        }
        let columns = cells[0].len();
        let width = |c: usize| cells.iter().map(|row| row[c].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..columns).map(width).collect();
        let line = |row: &Vec<String>| {
            row.iter().zip(&widths).map(|(cell, &w)| format!("{cell:>w$}")).collect::<Vec<_>>().join("  ")
        };
        cells.iter().map(line).collect::<Vec<_>>().join("\n")
    }
}

/// Sets `direction` or a parameter. `true`: a frozen one was touched.
pub fn set(config: &mut ReplayConfig, key: &str, value: &str) -> Result<bool, ReplayError> {
    if key != "direction" {
        return Ok(config.params.set(key, value)?);
    }
    config.direction = match value.trim().to_ascii_lowercase().as_str() {
        "-1" | "short" => -1,
        "1" | "+1" | "long" => 1,
        "0" | "both" => 0,
        _ => {
            let (key, text) = (key.to_owned(), value.to_owned());
            let why = "-1 (short), 1 (long) or 0 (both) is wanted".to_owned();
            return Err(alpha::ParamError::BadValue { key, text, why }.into());
        }
    };
    Ok(false)
}

/// Runs the grid of `axes` over `base`.
pub fn sweep(base: &ReplayConfig, axes: &[Axis], observer: &mut impl Observer) -> Result<Sweep, ReplayError> {
    let started = Instant::now();
    let grid = grid(base, axes)?;
    let (list, assets) = base.list()?;
    let handlers = grid.iter().map(|(_, config)| BarHandler::new(config, assets.clone()));
    let handlers = handlers.collect::<Result<Vec<_>, _>>()?;
    let workers = base.threads.clamp(1, handlers.len());
    let mut shares: Vec<Vec<(usize, BarHandler)>> = (0..workers).map(|_| Vec::new()).collect();
    for (i, handler) in handlers.into_iter().enumerate() {
        shares[i % workers].push((i, handler));
    }
    let mut runs = std::thread::scope(|scope| -> Result<Vec<(usize, Run)>, ReplayError> {
        let mut inboxes = Vec::with_capacity(workers);
        let mut threads = Vec::with_capacity(workers);
        for share in shares {
            // One day waits while another is stepped.
            let (inbox, days) = mpsc::sync_channel::<Arc<Day>>(1);
            inboxes.push(inbox);
            threads.push(scope.spawn(move || step_all(share, &days, started)));
        }
        let mut done = 0;
        let mut interrupted = false;
        each_day(
            &list.days,
            (1, false),
            || Ok(()),
            |(), day, _| -> Result<_, ReplayError> {
                let shared = Arc::new(day.clone());
                for inbox in &inboxes {
                    // A worker that stopped has an error to tell, which joining it brings out.
                    inbox.send(shared.clone()).ok();
                }
                done += 1;
                let progress =
                    Progress { days: done, of: list.days.len(), date: day.date, bars: 0, capital: f64::NAN };
                interrupted = observer.progress(&progress).is_break();
                Ok(if interrupted { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            },
        )?;
        drop(inboxes);
        let mut runs = Vec::new();
        for thread in threads {
            runs.extend(thread.join().expect("a worker does not panic: it steps engines")?);
        }
        if interrupted { Err(ReplayError::Interrupted) } else { Ok(runs) }
    })?;
    runs.sort_by_key(|(i, _)| *i);
    let first = runs.first().map(|(_, run)| run);
    let notes = list.notes.into_iter().chain(first.map(|r| r.notes.clone()).unwrap_or_default());
    Ok(Sweep {
        keys: axes.iter().map(|a| a.key.clone()).collect(),
        days: first.map_or(0, |r| r.days.len()),
        bars: first.map_or(0, |r| r.bars),
        notes: notes.collect(),
        elapsed_s: started.elapsed().as_secs_f64(),
        rows: grid
            .into_iter()
            .zip(runs)
            .map(|((settings, _), (_, run))| SweepRow {
                settings,
                metrics: run.metrics,
                final_capital: run.final_capital,
                param_hash: run.param_hash,
            })
            .collect(),
    })
}

fn step_all(
    mut share: Vec<(usize, BarHandler)>,
    days: &mpsc::Receiver<Arc<Day>>,
    started: Instant,
) -> Result<Vec<(usize, Run)>, ReplayError> {
    for day in days {
        for (_, handler) in &mut share {
            handler.step_day(&day)?;
        }
    }
    Ok(share.into_iter().map(|(i, handler)| (i, handler.finish(started))).collect())
}

type Combination = (Vec<(String, String)>, ReplayConfig);

/// Every combination, checked before anything runs.
fn grid(base: &ReplayConfig, axes: &[Axis]) -> Result<Vec<Combination>, ReplayError> {
    let size = axes.iter().try_fold(1usize, |n, axis| n.checked_mul(axis.values.len()));
    let size = size.filter(|&n| (1..=MAX_COMBINATIONS).contains(&n) && !axes.is_empty());
    if size.is_none() {
        return Err(ReplayError::Sweep(format!("a grid of 1 to {MAX_COMBINATIONS} combinations is wanted")));
    }
    for (i, axis) in axes.iter().enumerate() {
        if axes[..i].iter().any(|other| other.key == axis.key) {
            return Err(ReplayError::Sweep(format!("`{}` is there twice", axis.key)));
        }
    }
    let mut grid: Vec<Combination> = vec![(Vec::new(), base.clone())];
    for axis in axes {
        let mut next = Vec::with_capacity(grid.len() * axis.values.len());
        for (settings, config) in &grid {
            for value in &axis.values {
                let (mut settings, mut config) = (settings.clone(), config.clone());
                set(&mut config, &axis.key, value)?;
                settings.push((axis.key.clone(), value.clone()));
                next.push((settings, config));
            }
        }
        grid = next;
    }
    Ok(grid)
}
