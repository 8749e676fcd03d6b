//! Would whoever reads a value understand it?

use super::control::{Kill, LeaseRecord, RearmOrder};
use super::features::{ObRecord, ShardRecord};
use super::json::{FromMemory, SchemaError};
use super::names::{
    ACB_BOOST, CONTROL, Deployment, FEATURES, HEARTBEAT, LATEST_EIGEN_SCAN, LEASES, SAFETY, STATE_LATEST,
    STATE_LATEST_NAUTILUS, features_map, is_shard,
};
use super::scan::Scan;
use super::values::{AcbBoost, DayResult, EngineState, Heartbeat, Safety};

/// Reads a value as its reader would, by the map and key it is meant for; the error says what is wrong with it. What the
/// schema does not know is fine.
pub fn validate(map: &str, key: &str, text: &str) -> Result<(), SchemaError> {
    let deployments = [Deployment::Blue, Deployment::Green];
    let of = |name: fn(Deployment) -> &'static str| deployments.into_iter().any(|d| name(d) == map);
    match (map, key) {
        (SAFETY, _) => read::<Safety>(text),
        (FEATURES, ACB_BOOST) => read::<AcbBoost>(text),
        (FEATURES, LATEST_EIGEN_SCAN) => read::<Scan>(text),
        (HEARTBEAT, _) => read::<Heartbeat>(text),
        (LEASES, _) => read::<LeaseRecord>(text),
        (CONTROL, key) if deployments.iter().any(|d| d.kill_key() == key) => read::<Kill>(text),
        (CONTROL, key) if deployments.iter().any(|d| d.rearm_key() == key) => read::<RearmOrder>(text),
        (_, STATE_LATEST | STATE_LATEST_NAUTILUS) if of(Deployment::state_map) => read::<EngineState>(text),
        _ if of(Deployment::pnl_map) => day(key, text),
        _ if is_shard(map) => features(map, key, text),
        _ => Ok(()),
    }
}

fn read<T: FromMemory>(text: &str) -> Result<(), SchemaError> {
    T::from_memory(text).map(|_| ())
}

fn day(key: &str, text: &str) -> Result<(), SchemaError> {
    let day = DayResult::from_memory(text)?;
    if day.date == key {
        return Ok(());
    }
    Err(SchemaError::new(DayResult::KIND, format!("its date is `{}`, its key `{key}`", day.date)))
}

fn features(map: &str, key: &str, text: &str) -> Result<(), SchemaError> {
    let record = ObRecord::from_memory(text)?;
    if text.contains("\"bid\"") {
        read::<ShardRecord>(text)?;
    }
    if record.symbol != key || features_map(key) != map {
        let place = features_map(&record.symbol);
        return Err(SchemaError::new(
            ObRecord::KIND,
            format!("they are of {0}, whose place is {place}[{0}]", record.symbol),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use market::Nanos;

    use super::*;
    use crate::schema::features::tests::record;
    use crate::schema::json::to_text;

    #[test]
    fn what_its_reader_would_refuse_is_refused_with_the_reason() {
        let state = r#"{"capital": 25000, "date": "2021-04-11", "pnl": 0, "param_hash": "a"}"#;
        let day = r#"{"date":"2021-04-11","pnl":1,"trades":1,"capital":1,"boost":1,"beta":1,"mc_scale":1,
            "mc_status":"GREEN","posture":"APEX","bars":1,"stale_state":false,"param_hash":"a"}"#;
        let kill = r#"{"number": 1, "killed_at": 1618099205}"#;
        let features = to_text(&record("BTCUSDT", Nanos(1_618_099_205_000_000_000)));
        let good = [
            (SAFETY, "latest", r#"{"posture": "TURTLE", "Rm": 0.6}"#),
            (SAFETY, "live_blue", r#"{"Rm": 0.6}"#),
            (FEATURES, "acb_boost", r#"{"boost": 1, "beta": 0}"#),
            (FEATURES, "latest_eigen_scan", r#"{"vel_div": NaN}"#),
            (FEATURES, "something else", "anything"),
            (HEARTBEAT, "node", r#"{"ts": 1618099205, "phase": "live_pulse"}"#),
            (LEASES, "alpha_blue", r#"{"owner": "", "fence": 1, "beat": 0}"#),
            (CONTROL, "kill_green", kill),
            (CONTROL, "note", "anything"),
            ("DOLPHIN_STATE_BLUE", "latest_nautilus", state),
            ("DOLPHIN_STATE_GREEN", "history.7", "anything"),
            ("DOLPHIN_PNL_BLUE", "2021-04-11", day),
            ("DOLPHIN_FEATURES_SHARD_07", "BTCUSDT", &features),
            ("MINE", "k", "anything"),
        ];
        for (map, key, text) in good {
            assert_eq!(validate(map, key, text), Ok(()), "{map}[{key}]");
        }
        for (map, key, text, reason) in [
            (SAFETY, "latest", "HIBERNATE", "JSON"),
            (SAFETY, "latest", r#"{"Rm": 7}"#, "`Rm` is 7"),
            (FEATURES, "acb_boost", r#"{"boost": 9, "beta": 0}"#, "`boost` is 9"),
            (FEATURES, "latest_eigen_scan", "[]", "array"),
            (HEARTBEAT, "node", r#"{"ts": 1}"#, "`phase`"),
            (LEASES, "alpha_blue", "{}", "owner"),
            (CONTROL, "kill_blue", "{}", "`number`"),
            ("DOLPHIN_STATE_BLUE", "latest", r#"{"capital": -1}"#, "`capital`"),
            ("DOLPHIN_PNL_BLUE", "2021-04-12", day, "its key `2021-04-12`"),
            ("DOLPHIN_FEATURES_SHARD_08", "BTCUSDT", &features, "DOLPHIN_FEATURES_SHARD_07[BTCUSDT]"),
            ("DOLPHIN_FEATURES_SHARD_05", "ETHUSDT", &features, "they are of BTCUSDT"),
        ] {
            let error = validate(map, key, text).unwrap_err().to_string();
            assert!(error.contains(reason), "{map}[{key}]: {error}");
        }
    }
}
