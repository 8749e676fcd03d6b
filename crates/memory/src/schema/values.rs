//! The small values of the schema: safety, boost, day result, state, heartbeat.

use std::collections::BTreeMap;

use market::{Nanos, Posture};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::json::{FromMemory, Object, SchemaError};

/// Posture and Rm of the survival stack (SPEC §4.2).
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Safety {
    /// Posture.
    pub posture: Posture,
    /// Rm, in [0, 1].
    #[serde(rename = "Rm")]
    pub rm: f64,
    /// The sensors Rm is the product of, each in [0, 1]; empty when read.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub sensors: BTreeMap<String, f64>,
}

impl Safety {
    /// What holds when memory says nothing.
    pub const fn apex() -> Self {
        Self { posture: Posture::Apex, rm: 1.0, sensors: BTreeMap::new() }
    }
}

impl FromMemory for Safety {
    const KIND: &'static str = "safety";

    /// Either of posture and Rm may be missing. Where they disagree the stricter posture holds; a posture without Rm
    /// gets the smallest Rm of that posture.
    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        let object = Object::parse(Self::KIND, text)?;
        let named: Option<Posture> = match object.text("posture")? {
            Some(name) => Some(name.trim().parse().map_err(|reason: String| object.bad(reason))?),
            None => None,
        };
        let rm_key = if object.has("Rm") { "Rm" } else { "rm" };
        let rm = if object.has(rm_key) { Some(object.within(rm_key, 0.0, 1.0)?) } else { None };
        let (posture, rm) = match (named, rm) {
            (None, None) => return Err(object.bad("neither `posture` nor `Rm` is there")),
            (None, Some(rm)) => (Posture::from_rm(rm), rm),
            (Some(posture), None) => (posture, smallest_rm(posture)),
            (Some(posture), Some(rm)) => {
                let derived = Posture::from_rm(rm);
                (if derived.strictness() > posture.strictness() { derived } else { posture }, rm)
            }
        };
        Ok(Self { posture, rm, sensors: BTreeMap::new() })
    }
}

const fn smallest_rm(posture: Posture) -> f64 {
    match posture {
        Posture::Apex => 0.90,
        Posture::Stalker => 0.75,
        Posture::Turtle => 0.50,
        Posture::Hibernate => 0.0,
    }
}

/// A push of the ACB flow (SPEC §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AcbBoost {
    /// In [0.5, 2].
    pub boost: f64,
    /// In [0, 2].
    pub beta: f64,
}

impl FromMemory for AcbBoost {
    const KIND: &'static str = "acb_boost";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        let object = Object::parse(Self::KIND, text)?;
        Ok(Self { boost: object.within("boost", 0.5, 2.0)?, beta: object.within("beta", 0.0, 2.0)? })
    }
}

/// The result of a day (SPEC §3.3), key `YYYY-MM-DD`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DayResult {
    /// `YYYY-MM-DD`, UTC.
    pub date: String,
    /// Σ pnl of the trades closed on it, quote asset.
    pub pnl: f64,
    /// Trades closed on it.
    pub trades: u32,
    /// Capital at its end, quote asset.
    pub capital: f64,
    /// ACB boost at its end.
    pub boost: f64,
    /// ACB beta at its end.
    pub beta: f64,
    /// The forewarner's scale.
    pub mc_scale: f64,
    /// The forewarner's status.
    pub mc_status: String,
    /// Posture at its end.
    pub posture: Posture,
    /// Ticks stepped.
    pub bars: u32,
    /// State changed during a step: do not use.
    pub stale_state: bool,
    /// Hash of the parameters.
    pub param_hash: String,
}

impl FromMemory for DayResult {
    const KIND: &'static str = "day result";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        super::json::parse(Self::KIND, text)
    }
}

/// What a node needs to go on where the last one stopped.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EngineState {
    /// Capital, quote asset, > 0.
    pub capital: f64,
    /// Date of the state, `YYYY-MM-DD`, UTC.
    pub date: Option<String>,
    /// Pnl of that date.
    pub pnl: f64,
    /// Hash of the parameters it was made with; empty: unknown.
    pub param_hash: String,
    /// The engine's snapshot.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub snapshot: Option<Value>,
    /// Everything else that stands there.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

impl FromMemory for EngineState {
    const KIND: &'static str = "engine state";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        let mut object = Object::parse(Self::KIND, text)?;
        let capital = object.within("capital", f64::MIN_POSITIVE, 1e15)?;
        let date = object.text("date")?.map(str::to_owned);
        let pnl = object.number("pnl")?;
        let param_hash = object.text("param_hash")?.unwrap_or_default().to_owned();
        let snapshot = object.take("snapshot");
        let mut extra = object.into_map();
        // The fence is that of the write, not of the state.
        for named in ["capital", "date", "pnl", "param_hash", "snapshot", "fence"] {
            extra.remove(named);
        }
        Ok(Self { capital, date, pnl, param_hash, snapshot, extra })
    }
}

/// Where a run stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The flow has begun.
    FlowStart,
    /// The engine is about to run.
    EngineStart,
    /// The flow is over.
    FlowEnd,
    /// The live node is running.
    LivePulse,
}

/// A sign of life.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Heartbeat {
    /// When, UTC. Written as seconds.
    #[serde(serialize_with = "write_seconds")]
    pub ts: Nanos,
    /// Phase.
    pub phase: Phase,
    /// Whatever else the writer wants to say.
    #[serde(flatten)]
    pub extra: Map<String, Value>,
}

fn write_seconds<S: serde::Serializer>(at: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(super::scan::seconds(*at))
}

impl FromMemory for Heartbeat {
    const KIND: &'static str = "heartbeat";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        let mut object = Object::parse(Self::KIND, text)?;
        let ts = object.time("ts")?.ok_or_else(|| object.bad("`ts` is missing"))?;
        let phase = object.take("phase").ok_or_else(|| object.bad("`phase` is missing"))?;
        let phase = serde_json::from_value(phase).map_err(|e| object.bad(e.to_string()))?;
        let mut extra = object.into_map();
        extra.remove("ts");
        Ok(Self { ts, phase, extra })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::schema::json::to_text;

    #[test]
    fn safety_takes_the_stricter_of_posture_and_rm() {
        let read = |text: &str| Safety::from_memory(text).map(|s| (s.posture, s.rm)).map_err(|e| e.reason);
        assert_eq!(read(r#"{"posture": "STALKER", "Rm": 0.8, "why": []}"#), Ok((Posture::Stalker, 0.8)));
        assert_eq!(read(r#"{"posture": "APEX", "Rm": 0.4}"#), Ok((Posture::Hibernate, 0.4)));
        assert_eq!(read(r#"{"posture": "HIBERNATE", "Rm": 1.0}"#), Ok((Posture::Hibernate, 1.0)));
        assert_eq!(read(r#"{"posture": "turtle"}"#), Ok((Posture::Turtle, 0.5)));
        assert_eq!(read(r#"{"rm": 0.76}"#), Ok((Posture::Stalker, 0.76)));
        for bad in [
            "{}",
            r#"{"posture": "BRAVE", "Rm": 1}"#,
            r#"{"Rm": 1.01}"#,
            r#"{"posture":"APEX","Rm":NaN}"#,
            "HIBERNATE",
        ] {
            // `NaN` is a missing number: the posture alone counts.
            if bad.contains("NaN") {
                assert_eq!(read(bad), Ok((Posture::Apex, 0.9)));
            } else {
                assert!(read(bad).is_err(), "{bad}");
            }
        }
        assert_eq!(to_text(&Safety::apex()), r#"{"posture":"APEX","Rm":1.0}"#);
    }

    #[test]
    fn a_bad_push_is_rejected_with_the_reason() {
        assert_eq!(
            AcbBoost::from_memory(r#"{"boost": 1.25, "beta": 0.8, "n": 3}"#),
            Ok(AcbBoost { boost: 1.25, beta: 0.8 })
        );
        for (text, reason) in [
            ("1.25", "object"),
            (r#"{"boost": 1.25}"#, "`beta` is missing"),
            (r#"{"boost": NaN, "beta": 0.2}"#, "`boost` is NaN"),
            (r#"{"boost": 2.0001, "beta": 0.2}"#, "within [0.5, 2]"),
            (r#"{"boost": 1, "beta": -0.1}"#, "`beta`"),
            (r#"{"boost": [1], "beta": 1}"#, "`boost`"),
        ] {
            let error = AcbBoost::from_memory(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }

    #[test]
    fn state_and_heartbeat_round_trip() {
        let state = EngineState {
            capital: 25_123.456_789_012_3,
            date: Some("2021-04-11".into()),
            pnl: -12.5,
            param_hash: "aaae".into(),
            snapshot: Some(json!({"rng": [1, 2]})),
            extra: json!({"trades": 3}).as_object().unwrap().clone(),
        };
        assert_eq!(EngineState::from_memory(&to_text(&state)), Ok(state));
        for bad in [r#"{"capital": 0}"#, r#"{"capital": "NaN"}"#, r#"{"pnl": 1}"#, r#"{"capital": -5}"#] {
            assert!(EngineState::from_memory(bad).is_err(), "{bad}");
        }
        let beat = Heartbeat {
            ts: Nanos(1_618_099_205_500_000_000),
            phase: Phase::EngineStart,
            extra: json!({"date": "2021-04-11"}).as_object().unwrap().clone(),
        };
        assert!(to_text(&beat).contains(r#""phase":"engine_start""#));
        assert_eq!(Heartbeat::from_memory(&to_text(&beat)), Ok(beat));
    }
}
