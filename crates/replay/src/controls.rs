//! What reaches the engine from outside in live trading, given by files in replay: postures, ACB pushes and external
//! risk factors (SPEC §11).

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use alpha::Safety;
use market::Date;
use serde_json::Value;

use crate::ReplayError;

/// Entries that a control file may have.
const MAX_ENTRIES: usize = 1_000_000;

/// An ACB push, as the file has it: the engine judges its numbers, so that a bad push is rejected and counted exactly
/// as it would be live.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimedPush {
    /// Date and bar at the top of which it is applied.
    pub at: (Date, u32),
    /// Boost; NaN where it is missing or no number.
    pub boost: f64,
    /// Beta; NaN where it is missing or no number.
    pub beta: f64,
}

/// The outside world of a replay. Empty: APEX every day, no push, no factor.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Controls {
    /// Posture by date; a date that is not named is APEX with Rm 1.
    pub postures: BTreeMap<Date, Safety>,
    /// ACB pushes by time; those of one bar in file order.
    pub pushes: Vec<TimedPush>,
    /// Active risk factors by date.
    pub factors: BTreeMap<Date, u32>,
}

impl Controls {
    /// Reads the files that are given.
    pub fn read(
        posture: Option<&Path>,
        acb: Option<&Path>,
        factors: Option<&Path>,
    ) -> Result<Self, ReplayError> {
        Ok(Self {
            postures: posture.map(postures).transpose()?.unwrap_or_default(),
            pushes: acb.map(pushes).transpose()?.unwrap_or_default(),
            factors: factors.map(factor_counts).transpose()?.unwrap_or_default(),
        })
    }

    /// The posture read on a date.
    pub fn safety(&self, date: Date) -> Safety {
        self.postures.get(&date).copied().unwrap_or(Safety::FREE)
    }
}

fn bad(path: &Path) -> impl Fn(String) -> ReplayError + use<> {
    let path = path.to_path_buf();
    move |detail| ReplayError::Control { path: path.clone(), detail }
}

fn json(path: &Path) -> Result<Value, ReplayError> {
    let mut bytes = fs::read(path).map_err(|e| bad(path)(e.to_string()))?;
    market::json::blank_python_numbers(&mut bytes);
    serde_json::from_slice(&bytes).map_err(|e| bad(path)(format!("not JSON: {e}")))
}

fn date(path: &Path, text: &str) -> Result<Date, ReplayError> {
    text.parse().map_err(|_| bad(path)(format!("`{text}` is not a date: write YYYY-MM-DD")))
}

fn by_date(path: &Path, shape: &str) -> Result<serde_json::Map<String, Value>, ReplayError> {
    match json(path)? {
        Value::Object(map) if map.len() <= MAX_ENTRIES => Ok(map),
        _ => Err(bad(path)(format!("wanted an object such as {shape}"))),
    }
}

fn postures(path: &Path) -> Result<BTreeMap<Date, Safety>, ReplayError> {
    let map = by_date(path, r#"{"2026-02-01": {"posture": "TURTLE", "Rm": 0.6}}"#)?;
    let entries = map.into_iter().map(|(day, value)| {
        let safety =
            Safety::parse(value.to_string().as_bytes()).map_err(|e| bad(path)(format!("{day}: {e}")))?;
        Ok((date(path, &day)?, safety))
    });
    entries.collect()
}

fn factor_counts(path: &Path) -> Result<BTreeMap<Date, u32>, ReplayError> {
    let map = by_date(path, r#"{"2026-02-01": 2}"#)?;
    let entries = map.into_iter().map(|(day, value)| {
        let count = value.as_u64().and_then(|n| u32::try_from(n).ok());
        let count =
            count.ok_or_else(|| bad(path)(format!("{day}: `{value}` is not a count of risk factors")))?;
        Ok((date(path, &day)?, count))
    });
    entries.collect()
}

fn pushes(path: &Path) -> Result<Vec<TimedPush>, ReplayError> {
    let shape = r#"wanted a list such as [{"date": "2026-02-01", "bar": 300, "boost": 1.4, "beta": 0.8}]"#;
    let Value::Array(list) = json(path)? else { return Err(bad(path)(shape.to_owned())) };
    if list.len() > MAX_ENTRIES {
        return Err(bad(path)(format!("more than {MAX_ENTRIES} pushes")));
    }
    let mut pushes = Vec::with_capacity(list.len());
    for (i, entry) in list.iter().enumerate() {
        let day = entry["date"].as_str().ok_or_else(|| bad(path)(format!("push {i}: no date; {shape}")))?;
        let bar = entry["bar"].as_u64().and_then(|n| u32::try_from(n).ok());
        let bar = bar.ok_or_else(|| bad(path)(format!("push {i}: `bar` is not a bar number; {shape}")))?;
        let number = |key: &str| entry[key].as_f64().unwrap_or(f64::NAN);
        pushes.push(TimedPush { at: (date(path, day)?, bar), boost: number("boost"), beta: number("beta") });
    }
    pushes.sort_by_key(|p| p.at);
    Ok(pushes)
}
