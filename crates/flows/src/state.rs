//! Capital continuity (SPEC §9, §12 invariant 6), from date to date: what a run begins with, and what memory is told of it.
//!
//! Under `latest` (paper) and `latest_nautilus` stands the newest state; beside them each date keeps its own under
//! `<flow>.YYYY-MM-DD`, with what that date began with. So a date may run again, and begins as it did the first time:
//! same result, one entry. [`KEPT`] dates are kept.
//!
//! A state that a trading node has written is of its venue: a flow takes nothing from it and never writes over it.

use std::collections::BTreeMap;

use alpha::Snapshot;
use market::{Date, Nanos};
use memory::Write;
use memory::schema::{Deployment, EngineState, FromMemory, STATE_LATEST, STATE_LATEST_NAUTILUS, to_text};
use node::error::Failure;
use node::memory_link::Saved;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::Flow;
use crate::day::DayRun;

/// The venue that a flow's state names: none that takes orders.
pub const VENUE: &str = "replay";
/// Dates whose states are kept.
pub const KEPT: usize = 14;

/// What a date begins with.
#[derive(Debug, Clone)]
pub struct Start {
    /// Capital; `None`: the configuration's.
    pub capital: Option<f64>,
    /// The engine at the end of the date before.
    pub snapshot: Option<Snapshot>,
    /// Where it came from, for people.
    pub origin: String,
}

/// A state as it stands in memory.
#[derive(Debug)]
struct Found<'a> {
    key: &'a str,
    date: Option<Date>,
    state: EngineState,
}

impl Found<'_> {
    fn start(&self) -> Result<Start, Failure> {
        let engine = self.state.snapshot.as_ref().and_then(|s| s.get("engine"));
        let snapshot = engine.map(Snapshot::deserialize).transpose().map_err(|e| {
            Failure::input(format!(
                "the state `{}` cannot be read: {e}; remove it to begin with its capital",
                self.key
            ))
        })?;
        let origin = match self.date {
            Some(date) => format!("{} of {date}", self.key),
            None => self.key.to_owned(),
        };
        Ok(Start { capital: Some(self.state.capital), snapshot, origin })
    }

    /// Is it a trading node's?
    fn venue(&self) -> Option<&str> {
        self.state.snapshot.as_ref()?.get("venue")?.as_str().filter(|venue| *venue != VENUE)
    }
}

/// The key of a date's own state.
pub fn dated_key(flow: Flow, date: Date) -> String {
    format!("{}.{date}", flow.name())
}

fn dated(key: &str) -> Option<(Flow, Date)> {
    let (flow, date) = key.split_once('.')?;
    Some((flow.parse().ok()?, date.parse().ok()?))
}

/// Task `restore_capital`: what `date` begins with, from all entries of the deployment's state map.
pub fn choose(entries: &BTreeMap<String, String>, flow: Flow, date: Date) -> Result<Start, Failure> {
    let mut states = Vec::new();
    for (key, text) in entries {
        let named = dated(key);
        if named.is_none() && ![STATE_LATEST, STATE_LATEST_NAUTILUS].contains(&key.as_str()) {
            continue;
        }
        let state = match EngineState::from_memory(text) {
            Ok(state) => state,
            Err(error) => {
                tracing::warn!("the state `{key}` is passed over: {error}");
                continue;
            }
        };
        let stated = state.date.as_deref().and_then(|d| d.parse().ok());
        states.push(Found { key, date: named.map(|(_, date)| date).or(stated), state });
    }
    if let Some((found, venue)) =
        states.iter().find_map(|f| Some((f, f.venue()?))).filter(|(f, _)| f.key == flow.state_key())
    {
        return Err(Failure::usage(format!(
            "the state `{}` is a trading node's, of the venue {venue}: a flow writes nothing over it; give the flow a \
             memory or a deployment of its own (`memory:` in its configuration)",
            found.key
        )));
    }
    states.retain(|f| f.venue().is_none());
    // Of one date the flow's own state counts before the other flow's, a dated one before an undated.
    let rank = |f: &Found<'_>| {
        let own = match dated(f.key) {
            Some((of, _)) => 2 + u8::from(of == flow),
            None => u8::from(f.key == STATE_LATEST_NAUTILUS),
        };
        (f.date, own)
    };
    if let Some(before) = states.iter().filter(|f| f.date.is_none_or(|d| d < date)).max_by_key(|f| rank(f)) {
        return before.start();
    }
    // The date is the first that is known of: it begins again as it began.
    if let Some(first) =
        states.iter().filter(|f| dated(f.key).is_some() && f.date == Some(date)).max_by_key(|f| rank(f))
    {
        let capital = first.state.extra.get("start_capital").and_then(Value::as_f64);
        return Ok(Start { capital, snapshot: None, origin: format!("as {} began", first.key) });
    }
    match states.iter().filter_map(|f| f.date).min() {
        None => Ok(Start { capital: None, snapshot: None, origin: "initial_capital".to_owned() }),
        Some(oldest) => Err(Failure::input(format!(
            "the oldest state that is kept is of {oldest}: {date} lies before it and cannot run with the capital it had"
        ))),
    }
}

/// What memory is told of a run: the day's result, the date's state, and the newest state where there is no newer one.
pub fn writes(
    entries: &BTreeMap<String, String>,
    deployment: Deployment,
    flow: Flow,
    run: &DayRun,
    at: Nanos,
) -> Result<Vec<Write>, Failure> {
    let date = run.result.date;
    let put = |map: &str, key: &str, value: String| Write { map: map.to_owned(), key: key.to_owned(), value };
    let state = to_text(&state_of(flow, run, at)?);
    let map = deployment.state_map();
    let mut writes = vec![
        put(deployment.pnl_map(), &date.to_string(), to_text(&run.result)),
        put(map, &dated_key(flow, date), state.clone()),
    ];
    let newest = entries.get(flow.state_key()).and_then(|text| EngineState::from_memory(text).ok());
    let newest: Option<Date> = newest.and_then(|state| state.date?.parse().ok());
    if newest.is_none_or(|newest| newest <= date) {
        writes.push(put(map, flow.state_key(), state));
    }
    Ok(writes)
}

/// The dated states that are kept no longer.
pub fn outdated(entries: &BTreeMap<String, String>, flow: Flow) -> Vec<String> {
    let mut own: Vec<(Date, &String)> = entries
        .keys()
        .filter_map(|key| dated(key).filter(|(of, _)| *of == flow).map(|(_, date)| (date, key)))
        .collect();
    own.sort_unstable();
    let drop = own.len().saturating_sub(KEPT);
    own.into_iter().take(drop).map(|(_, key)| key.clone()).collect()
}

fn state_of(flow: Flow, run: &DayRun, at: Nanos) -> Result<EngineState, Failure> {
    let impossible = |e: serde_json::Error| Failure::input(format!("the state cannot be written: {e}"));
    // In the form of a node's state, so that a node reads whose it is and takes nothing of it; the engine beside it.
    let saved = Saved {
        venue: VENUE.to_owned(),
        account: String::new(),
        at,
        image: run.snapshot.image(),
        exit: None,
        booked: Nanos(0),
        unsettled: Vec::new(),
        entry_unsettled: false,
        recent: Vec::new(),
        day: None,
        rearm: String::new(),
    };
    let mut snapshot = serde_json::to_value(saved).map_err(impossible)?;
    snapshot["engine"] = serde_json::to_value(&run.snapshot).map_err(impossible)?;
    let mut extra = Map::new();
    extra.insert("flow".to_owned(), json!(flow.name()));
    extra.insert("start_capital".to_owned(), json!(run.start_capital));
    extra.insert("trades".to_owned(), json!(run.result.trades));
    Ok(EngineState {
        capital: run.result.capital,
        date: Some(run.result.date.to_string()),
        pnl: run.result.pnl,
        param_hash: run.result.param_hash.clone(),
        snapshot: Some(snapshot),
        extra,
    })
}
