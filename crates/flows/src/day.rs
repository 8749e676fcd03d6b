//! One date through the engine: tasks `load_day_scans`, `load_bar_data`, `run_engine_day`, `run`.
//!
//! A date goes on from the engine's snapshot of the date before, so that running dates one by one gives what `dolphin
//! replay` gives over all of them, bit for bit: capital, open position, price histories and fee draws travel.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use alpha::{DayResult, Engine, Prices, Safety, Snapshot, TradeRecord};
use archive::day::{self, AssetColumns, Day, Wanted};
use market::Date;
use node::config::Config;
use node::error::Failure;
use replay::controls::Controls;
use replay::days::{BarHandler, ReplayConfig};
use serde::Serialize;

/// A date as it was read.
#[derive(Debug, Clone)]
pub struct DayData {
    /// Its bars.
    pub day: Day,
    /// What was passed over in the directory, and why.
    pub notes: Vec<String>,
}

/// What came of a date.
#[derive(Debug, Clone, Serialize)]
pub struct DayRun {
    /// Its result.
    pub result: DayResult,
    /// Trades closed on it.
    pub trades: Vec<TradeRecord>,
    /// Capital at its beginning.
    pub start_capital: f64,
    /// The engine at its end.
    pub snapshot: Snapshot,
    /// What a reader should know.
    pub notes: Vec<String>,
}

/// Reads the one day `date` of the directory `data`. Exit 3 where it is not there, or broken.
pub fn load(config: &Config, data: &Path, date: Date) -> Result<DayData, Failure> {
    let loaded = read(&config.alpha.reference_symbol, data, date)?;
    if loaded.day.is_empty() {
        return Err(Failure::input(format!("{}: the day file of {date} holds no bars", data.display())));
    }
    Ok(loaded)
}

/// The same for the assets of the quote of `reference`; a day without bars is one.
pub fn read(reference: &str, data: &Path, date: Date) -> Result<DayData, Failure> {
    let assets = AssetColumns::of_reference(reference);
    let wanted = Wanted { from: Some(date), to: Some(date), assets };
    let missing = |e: day::DayError| match e {
        day::DayError::NoneInRange { path, first, last } => Failure::input(format!(
            "{}: no data of {date}: it holds {first} to {last}; run it again when the day's file is there",
            path.display()
        )),
        other => Failure::input(other.to_string()),
    };
    let mut list = day::list(data, &wanted).map_err(missing)?;
    list.assets().map_err(|e| Failure::input(e.to_string()))?;
    let mut loaded = DayData { day: Day::default(), notes: list.notes };
    let source = list.days.first().ok_or_else(|| Failure::input(format!("no data of {date}")))?;
    source
        .load()
        .and_then(|files| files.decode_into(&mut loaded.day))
        .map_err(|e| Failure::input(e.to_string()))?;
    Ok(loaded)
}

/// Runs the engine over a date. `before`: the engine at the end of the date before; `capital`: where there is none, what
/// the date begins with (`None`: the configuration's `initial_capital`). `safety`: posture and Rm read for the date.
pub fn run(
    config: &Config,
    data: &DayData,
    before: Option<&Snapshot>,
    capital: Option<f64>,
    safety: Safety,
) -> Result<DayRun, Failure> {
    let date = data.day.date;
    let mut notes = data.notes.clone();
    let replay = ReplayConfig {
        params: config.alpha.clone(),
        direction: config.direction.sign(),
        data: Path::new("").to_owned(),
        from: Some(date),
        to: Some(date),
        stride: 1,
        assets: None,
        controls: Controls { postures: BTreeMap::from([(date, safety)]), ..Controls::default() },
        threads: 1,
        report: true,
    };
    let mut engine = match before {
        Some(snapshot) => going_on(&replay, snapshot, &data.day.assets, &mut notes)?,
        None => Engine::new(replay.params.clone(), data.day.assets.clone(), 1)
            .map_err(|e| Failure::usage(e.to_string()))?,
    };
    if let (None, Some(capital)) = (before, capital) {
        engine.set_capital(capital);
    }
    let start_capital = engine.capital();
    let failed = |e: replay::ReplayError| Failure::input(e.to_string());
    let mut handler = BarHandler::with_engine(&replay, engine);
    handler.step_day(&data.day).map_err(failed)?;
    let (run, engine) = handler.finish_keeping(Instant::now());
    notes.extend(run.notes);
    let result = run.days.last().cloned();
    let result = result.ok_or_else(|| {
        Failure::input(format!("no row of the day file of {date} is dated {date}: nothing was stepped"))
    })?;
    Ok(DayRun { result, trades: run.trades, start_capital, snapshot: engine.snapshot(), notes })
}

/// The engine of the date before, for this date's assets and parameters.
fn going_on(
    config: &ReplayConfig,
    snapshot: &Snapshot,
    assets: &[String],
    notes: &mut Vec<String>,
) -> Result<Engine, Failure> {
    let broken = |e: alpha::SnapshotError| Failure::input(format!("the state of the date before: {e}"));
    let known = assets.iter().all(|asset| snapshot.assets().contains(asset));
    let image = snapshot.image();
    let params_hash = config.params.verify().map_err(|e| Failure::usage(e.to_string()))?;
    if known && image.param_hash() == params_hash {
        return Engine::restore(config.params.clone(), snapshot).map_err(broken);
    }
    // Columns of before stay, in their order; new ones follow, as in a replay over all days.
    let mut all = snapshot.assets().to_vec();
    all.extend(assets.iter().filter(|asset| !snapshot.assets().contains(asset)).cloned());
    let rows = snapshot.price_rows();
    let first = image.ticks().saturating_sub(rows.len() as u64);
    let prices = Prices { assets: snapshot.assets(), stride: snapshot.stride(), first, rows: &rows };
    let resumed = Engine::resume(config.params.clone(), all, 1, &image, Some(prices), 0).map_err(broken)?;
    if resumed.other_params {
        notes
            .push("the parameters are others than on the date before: capital and position go on".to_owned());
    }
    if resumed.other_assets {
        notes.push("there are assets that the date before did not have: their histories begin".to_owned());
    }
    Ok(resumed.engine)
}
