//! Day files to trades: the bar handler of SPEC §3.13 over the one engine.
//!
//! For each row, in this order: ACB pushes due at this bar, the date boundary (end of the day, posture of the new one,
//! its beginning), then the step. In HIBERNATE the engine itself steps nothing. What the live handler does beside —
//! staleness of scans, a state that changed during a step — cannot happen here: nothing runs beside the replay.
//!
//! **The date of a row** comes from its event time, never from a clock. A bar may be stamped at its opening or at its
//! close, so both midnights of the date in the file's name belong to that date; any other time belongs to its own UTC
//! date. Dates never go back: a row from before the current date is stepped in the current one. Rows without a time
//! belong to the file's date; so do all rows of a file none of whose times falls on the date in its name (times that
//! contradict the name altogether are no event times), with a note.
//!
//! **Assets** are those of all files together, in order of first appearance; where a day has no column for one, it has
//! no price on that day.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use alpha::{
    Action, DayResult, Engine, Forewarner, Gate, McStatus, Metrics, OpenPosition, Params, StepReport,
    TickInput, TradeRecord,
};
use archive::day::{self, AssetColumns, Bar, Day, DayError, DayList, DaySource, Wanted};
use market::{Date, Nanos, utc_date};
use serde::Serialize;

use crate::ReplayError;
use crate::controls::Controls;
pub use crate::feed::DataFile;
use crate::feed::{Origin, each_day};
use crate::track::Track;

/// Notes kept of a run; what comes beyond is only counted.
const MAX_NOTES: usize = 200;

/// What to replay.
#[derive(Debug, Clone)]
pub struct ReplayConfig {
    /// Parameters of the engine.
    pub params: Params,
    /// −1 SHORT, +1 LONG, 0 both.
    pub direction: i8,
    /// A directory of days, or one day file.
    pub data: PathBuf,
    /// First date, inclusive.
    pub from: Option<Date>,
    /// Last date, inclusive.
    pub to: Option<Date>,
    /// Rows a bar: 1 where each is a bar, more where each is a tick.
    pub stride: u32,
    /// Which columns are assets; `None`: the symbols of the reference symbol's quote.
    pub assets: Option<AssetColumns>,
    /// Postures, ACB pushes, factors.
    pub controls: Controls,
    /// 1: everything on the caller's thread; more: so many decode days beside it. Changes no result.
    pub threads: usize,
    /// Keep what a report wants beside the results: the run bar by bar ([`Run::track`]) and the digests of its files.
    pub report: bool,
}

impl ReplayConfig {
    /// Champion parameters, SHORT, over all days of `data`.
    pub fn champion(data: impl Into<PathBuf>) -> Self {
        Self {
            params: Params::default(),
            direction: -1,
            data: data.into(),
            from: None,
            to: None,
            stride: 1,
            assets: None,
            controls: Controls::default(),
            threads: 1,
            report: true,
        }
    }

    /// The days it asks for, and their assets in order of first appearance.
    pub(crate) fn list(&self) -> Result<(DayList, Vec<String>), ReplayError> {
        let mut list = self.days()?;
        let assets = list.assets()?;
        Ok((list, assets))
    }

    fn days(&self) -> Result<DayList, DayError> {
        let of_reference = || AssetColumns::of_reference(&self.params.reference_symbol);
        let assets = self.assets.clone().unwrap_or_else(of_reference);
        day::list(&self.data, &Wanted { from: self.from, to: self.to, assets })
    }
}

/// How many steps came to one gate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct GateCount {
    /// The gate that stopped the step, or what the step did.
    pub gate: Gate,
    /// Steps.
    pub steps: u64,
}

/// What came of it.
#[derive(Debug, Clone)]
pub struct Run {
    /// Parameters used.
    pub params: Params,
    /// Their hash.
    pub param_hash: String,
    /// Direction used.
    pub direction: i8,
    /// Closed trades, in order.
    pub trades: Vec<TradeRecord>,
    /// Event time of each trade's entry, where the data has one.
    pub entry_times: Vec<Option<Nanos>>,
    /// Days, in order.
    pub days: Vec<DayResult>,
    /// Metrics of the whole.
    pub metrics: Metrics,
    /// Capital at the end.
    pub final_capital: f64,
    /// The position still open at the end.
    pub open_position: Option<OpenPosition>,
    /// Bars stepped (those of HIBERNATE days are not).
    pub bars: u64,
    /// The gate funnel, in the order of [`Gate::ALL`].
    pub gates: Vec<GateCount>,
    /// Assets followed.
    pub assets: Vec<String>,
    /// Files read; empty where no report was wanted.
    pub files: Vec<DataFile>,
    /// The run bar by bar; `None`: it was not stepped here, or no report was wanted.
    pub track: Option<Track>,
    /// What a reader of the results should know: passed-over files, gaps, rejected pushes, …
    pub notes: Vec<String>,
    /// Wall time.
    pub elapsed: Duration,
}

/// One bar as it was stepped.
#[derive(Debug, Clone, Copy)]
pub struct BarView<'a> {
    /// Date it was stepped in.
    pub date: Date,
    /// Bar of the day, 0-based.
    pub bar_idx: u32,
    /// Meta values of the row.
    pub bar: &'a Bar,
    /// Prices, in the order of [`Run::assets`].
    pub prices: &'a [f64],
    /// What the step came to.
    pub report: StepReport,
    /// Capital after it.
    pub capital: f64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// Days done.
    pub days: usize,
    /// Days in all.
    pub of: usize,
    /// Date of the last file.
    pub date: Date,
    /// Bars stepped.
    pub bars: u64,
    /// Capital.
    pub capital: f64,
}

/// Watches a run.
pub trait Observer {
    /// After each bar. Breaking ends the run there, with what there is by then.
    fn bar(&mut self, _bar: &BarView<'_>) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
    /// After each file. Breaking ends the run with [`ReplayError::Interrupted`].
    fn progress(&mut self, _progress: &Progress) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }
}

/// Nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Unwatched;
impl Observer for Unwatched {}

/// Replays all days.
pub fn run(config: &ReplayConfig, observer: &mut impl Observer) -> Result<Run, ReplayError> {
    let started = Instant::now();
    let mut list = config.days()?;
    let days = list.days.clone();
    let begin = || -> Result<_, ReplayError> {
        let mut handler = BarHandler::new(config, list.assets()?)?;
        handler.notes.append(&mut list.notes);
        handler.note_gaps(&list.days);
        Ok(handler)
    };
    let mut files = Vec::new();
    let mut interrupted = false;
    let of = days.len();
    let step = |handler: &mut BarHandler, day: &Day, origin: Origin| -> Result<_, ReplayError> {
        files.extend(origin.files);
        if origin.repeats > 0 {
            handler.note(format!("{}: {} repeated scans dropped", day.date, origin.repeats));
        }
        if handler.take_day(day, observer)?.is_break() {
            return Ok(ControlFlow::Break(()));
        }
        handler.files += 1;
        let progress = Progress {
            days: handler.files,
            of,
            date: day.date,
            bars: handler.engine.ticks(),
            capital: handler.engine.capital(),
        };
        let go = observer.progress(&progress);
        interrupted = go.is_break();
        Ok(go)
    };
    let handler = each_day(&days, (config.threads, config.report), begin, step)?;
    if interrupted {
        return Err(ReplayError::Interrupted);
    }
    let mut run = handler.finish(started);
    run.files = files;
    Ok(run)
}

/// The forewarner in `mc_models_dir`, or why there is none: never a reason not to trade (SPEC §4.3).
pub fn forewarner(dir: &Path) -> Result<Forewarner, String> {
    let (json, onnx) = (dir.join("forewarner.json"), dir.join("forewarner.onnx"));
    // The JSON export is exact; ONNX thresholds are f32. Where both are there, the exact one counts.
    let path = if json.exists() || !onnx.exists() { &json } else { &onnx };
    let bytes = fs::read(path).map_err(|e| format!("{}: {e}", path.display()))?;
    let model = if *path == onnx { Forewarner::from_onnx(&bytes) } else { Forewarner::from_json(&bytes) };
    model.map_err(|e| format!("{}: {e}", path.display()))
}

/// The handler of SPEC §3.13 over one engine. [`run`] drives it over files; a caller with days in memory drives it
/// itself: [`BarHandler::step_day`] for each, then [`BarHandler::finish`].
#[derive(Debug)]
pub struct BarHandler {
    engine: Engine,
    direction: i8,
    controls: Controls,
    /// The range asked for; rows dated outside it are not stepped.
    range: (Option<Date>, Option<Date>),
    /// Index of the next push.
    next_push: usize,
    date: Option<Date>,
    bar_idx: u32,
    files: usize,
    days: Vec<DayResult>,
    trades: Vec<TradeRecord>,
    entry_times: Vec<Option<Nanos>>,
    /// Of the open position.
    entered_at: Option<Nanos>,
    track: Option<Track>,
    notes: Vec<String>,
    unnoted: usize,
    late_rows: u64,
    out_of_range: u64,
    /// Prices of a row in the engine's order, where the file has another.
    row: Vec<f64>,
}

impl BarHandler {
    /// A handler over a new engine that follows `assets`.
    pub fn new(config: &ReplayConfig, assets: Vec<String>) -> Result<Self, ReplayError> {
        Ok(Self::with_engine(config, Engine::new(config.params.clone(), assets, config.stride)?))
    }

    /// A handler over an engine that has run before: it goes on from there. Forewarner and factors are the
    /// configuration's.
    pub fn with_engine(config: &ReplayConfig, mut engine: Engine) -> Self {
        let mut notes = Vec::new();
        engine.set_factors(&config.controls.factors);
        if let Some(dir) = &config.params.mc_models_dir {
            match forewarner(Path::new(dir)) {
                Ok(model) => engine.set_forewarner(Some(model)),
                Err(why) => notes.push(format!("forewarner {}: {why}", McStatus::Disabled.name())),
            }
        }
        if !engine.has_reference() && config.params.use_alpha_layers {
            let symbol = &config.params.reference_symbol;
            notes.push(format!("no column {symbol}: without the reference symbol there can be no entry"));
        }
        let track = config.report.then(|| Track::new(engine.assets().len(), engine.capital()));
        Self {
            row: vec![f64::NAN; engine.assets().len()],
            engine,
            direction: config.direction,
            controls: config.controls.clone(),
            range: (config.from, config.to),
            next_push: 0,
            date: None,
            bar_idx: 0,
            files: 0,
            days: Vec::new(),
            trades: Vec::new(),
            entry_times: Vec::new(),
            entered_at: None,
            track,
            notes,
            unnoted: 0,
            late_rows: 0,
            out_of_range: 0,
        }
    }

    /// The engine.
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    fn note(&mut self, note: String) {
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        } else {
            self.unnoted += 1;
        }
    }

    fn note_gaps(&mut self, days: &[DaySource]) {
        for pair in days.windows(2) {
            let (last, next) = (pair[0].date, pair[1].date);
            let expected = last.tomorrow().unwrap_or(next);
            if expected < next {
                let until = next.yesterday().unwrap_or(next);
                let gap =
                    if expected == until { format!("{expected}") } else { format!("{expected} to {until}") };
                self.note(format!(
                    "no data for {gap}: the next day follows on {last} as if it were adjacent"
                ));
            }
        }
    }

    /// Steps all bars of a day, unwatched.
    pub fn step_day(&mut self, day: &Day) -> Result<(), ReplayError> {
        self.take_day(day, &mut Unwatched).map(drop)
    }

    /// Steps all bars of a day, or those before the observer broke off.
    pub fn take_day(
        &mut self,
        day: &Day,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<()>, ReplayError> {
        let map = column_map(&day.assets, self.engine.assets());
        let span = Span::of(day.date);
        let trusted = day.bars.iter().all(|b| b.ts.is_none())
            || day.bars.iter().any(|b| b.ts.is_some_and(|t| span.holds(t)));
        if !trusted {
            self.note(format!(
                "{}: no timestamp of its file falls on that date: the file's name counts",
                day.date
            ));
        }
        if day.is_empty() {
            self.note(format!("{}: no bars", day.date));
            self.enter_date(day.date)?;
        }
        let mut strangers: BTreeMap<Date, u32> = BTreeMap::new();
        for (i, bar) in day.bars.iter().enumerate() {
            let date = match bar.ts {
                Some(ts) if trusted && !span.holds(ts) => utc_date(ts),
                _ => day.date,
            };
            if date != day.date {
                *strangers.entry(date).or_default() += 1;
            }
            if self.range.0.is_some_and(|from| date < from) || self.range.1.is_some_and(|to| date > to) {
                self.out_of_range += 1;
                continue;
            }
            if self.take_bar(date, bar, day.row(i), map.as_deref(), observer)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        for (date, rows) in strangers {
            self.note(format!("{}: {rows} of its rows are dated {date}", day.date));
        }
        self.trades.extend(self.engine.drain_trades());
        Ok(ControlFlow::Continue(()))
    }

    fn take_bar(
        &mut self,
        date: Date,
        bar: &Bar,
        prices: &[f64],
        map: Option<&[Option<usize>]>,
        observer: &mut impl Observer,
    ) -> Result<ControlFlow<()>, ReplayError> {
        let boundary = match self.date {
            Some(current) if date < current => {
                self.late_rows += 1;
                false
            }
            current => current != Some(date),
        };
        let at = if boundary { (date, 0) } else { (self.date.unwrap_or(date), self.bar_idx) };
        self.apply_pushes(at);
        if boundary {
            self.enter_date(date)?;
        }
        let prices = match map {
            None => prices,
            Some(map) => {
                for (price, from) in self.row.iter_mut().zip(map) {
                    *price = from.map_or(f64::NAN, |column| prices[column]);
                }
                &self.row
            }
        };
        let report = self.engine.step_bar(&TickInput {
            vel_div: bar.vel_div,
            v50_velocity: bar.v50,
            v750_velocity: bar.v750,
            instability_50: bar.instability_50,
            ..TickInput::quiet(self.bar_idx, bar.ts.unwrap_or(Nanos(0)), prices)
        });
        match report.action {
            Action::Entered(_) => self.entered_at = bar.ts,
            Action::Exited(_) => self.entry_times.push(self.entered_at),
            Action::None | Action::Intent(_) => {}
        }
        let capital = self.engine.capital();
        let closed = matches!(report.action, Action::Exited(_));
        if let Some(track) = &mut self.track {
            track.bar((self.days.len(), at.1), prices, capital, self.engine.position(), closed);
        }
        let view = BarView { date: at.0, bar_idx: at.1, bar, prices, report, capital };
        self.bar_idx += 1;
        Ok(observer.bar(&view))
    }

    /// ① of SPEC §3.13. Pushes for bars that never come are passed over when a later bar does.
    fn apply_pushes(&mut self, at: (Date, u32)) {
        while let Some(push) = self.controls.pushes.get(self.next_push).filter(|p| p.at <= at) {
            let push = *push;
            self.next_push += 1;
            let (date, bar) = push.at;
            if push.at < at {
                self.note(format!("ACB push for {date} bar {bar}: there is no such bar; not applied"));
            } else if let Err(reject) = self.engine.update_acb_boost(push.boost, push.beta) {
                self.note(format!("ACB push for {date} bar {bar} rejected: {reject}"));
            }
        }
    }

    /// ② of SPEC §3.13.
    fn enter_date(&mut self, date: Date) -> Result<(), ReplayError> {
        if self.date.is_some_and(|current| date <= current) {
            return Ok(());
        }
        self.leave_date();
        let safety = self.controls.safety(date);
        let start = self.engine.begin_day(date, safety.posture, safety.rm, self.direction)?;
        if let Some(warning) = start.warning {
            self.note(format!("{date}: forewarner: {warning}"));
        }
        self.date = Some(date);
        self.bar_idx = 0;
        Ok(())
    }

    fn leave_date(&mut self) {
        if let Some(result) = self.engine.end_day() {
            self.days.push(result);
        }
    }

    /// Dates of the control files that no day came for.
    fn note_unused_dates(&mut self) {
        let stepped: HashSet<Date> = self.days.iter().map(|day| day.date).collect();
        let unused = |dates: &mut dyn Iterator<Item = &Date>| -> Vec<String> {
            dates.filter(|date| !stepped.contains(date)).map(Date::to_string).collect()
        };
        let postures = unused(&mut self.controls.postures.keys());
        let factors = unused(&mut self.controls.factors.keys());
        for (what, dates) in [("postures", postures), ("risk factors", factors)] {
            if let Some(first) = dates.first() {
                let last = &dates[dates.len() - 1];
                let which = if dates.len() > 3 { format!("{first} to {last}") } else { dates.join(", ") };
                let count = dates.len();
                self.note(format!(
                    "{what} of {count} dates without a day in the data were not used: {which}"
                ));
            }
        }
    }

    /// Ends the last day and sums up.
    pub fn finish(self, started: Instant) -> Run {
        self.finish_keeping(started).0
    }

    /// The same, and the engine for the days to come.
    pub fn finish_keeping(mut self, started: Instant) -> (Run, Engine) {
        self.leave_date();
        self.track.iter_mut().for_each(Track::end);
        self.trades.extend(self.engine.drain_trades());
        let left = self.controls.pushes.len() - self.next_push;
        if left > 0 {
            self.note(format!("{left} ACB pushes for bars after the last one were not applied"));
        }
        self.note_unused_dates();
        if self.out_of_range > 0 {
            self.note(format!("{} rows dated outside the range asked for were left out", self.out_of_range));
        }
        if self.late_rows > 0 {
            self.note(format!(
                "{} rows dated before the day they stand in were stepped in it",
                self.late_rows
            ));
        }
        if self.unnoted > 0 {
            self.notes.push(format!("… and {} notes more", self.unnoted));
        }
        let engine = self.engine;
        let params = engine.params().clone();
        let equity = self.trades.iter().map(|t| (t.pnl, t.capital_after));
        let daily: Vec<f64> = self.days.iter().map(|d| d.capital).collect();
        let gates =
            Gate::ALL.iter().zip(engine.gate_counts()).map(|(&gate, &steps)| GateCount { gate, steps });
        let run = Run {
            metrics: Metrics::new(params.initial_capital, equity, &daily),
            param_hash: engine.param_hash().to_owned(),
            direction: self.direction,
            final_capital: engine.capital(),
            open_position: engine.position().map(|p| p.record(engine.assets())),
            bars: self.days.iter().map(|d| u64::from(d.bars)).sum(),
            gates: gates.collect(),
            assets: engine.assets().to_vec(),
            params,
            trades: self.trades,
            entry_times: self.entry_times,
            days: self.days,
            files: Vec::new(),
            track: self.track,
            notes: self.notes,
            elapsed: started.elapsed(),
        };
        (run, engine)
    }
}

/// For each asset of the engine its column in the file; `None` where the orders are the same.
fn column_map(columns: &[String], assets: &[String]) -> Option<Vec<Option<usize>>> {
    if columns == assets {
        return None;
    }
    let index: HashMap<&str, usize> = columns.iter().enumerate().map(|(i, c)| (c.as_str(), i)).collect();
    Some(assets.iter().map(|a| index.get(a.as_str()).copied()).collect())
}

/// A date with both its midnights.
#[derive(Debug, Clone, Copy)]
struct Span {
    first: u64,
    last: u64,
}

impl Span {
    fn of(date: Date) -> Self {
        let epoch = Date::constant(1970, 1, 1);
        let seconds = u64::try_from(date.duration_since(epoch).as_secs()).unwrap_or(0);
        let first = seconds.saturating_mul(Nanos::SECOND);
        Self { first, last: first.saturating_add(86_400 * Nanos::SECOND) }
    }

    const fn holds(self, ts: Nanos) -> bool {
        self.first <= ts.0 && ts.0 <= self.last
    }
}
