//! Values of system memory, each to the reader of its key: maps that others write too.

use memory::schema;

use crate::runner::{Answer, answer, message};

/// Map, key and value, a line feed between.
pub const CORPUS: &[&str] = &[
    "DOLPHIN_SAFETY\nlatest\n{\"posture\": \"TURTLE\", \"Rm\": 0.6, \"timestamp\": \"2026-01-31T12:00:00+00:00\"}",
    "DOLPHIN_FEATURES\nacb_boost\n{\"boost\": 1.2, \"beta\": 0.8}",
    "DOLPHIN_FEATURES\nlatest_eigen_scan\n{\"scan_number\": 7, \"timestamp\": 1767225600.5, \"vel_div\": -0.03, \"v50_lambda_max_velocity\": 0.01, \"v150_lambda_max_velocity\": NaN, \"instability_50\": 0.1, \"asset_prices\": {\"BTCUSDT\": 84551.1, \"ETHUSDT\": 1}}",
    "DOLPHIN_HEARTBEAT\nnautilus_flow_heartbeat\n{\"ts\": 1767225600.5, \"iso\": \"2026-01-01T00:00:00Z\", \"phase\": \"trading\", \"run_date\": \"2026-01-01\"}",
    "DOLPHIN_STATE_BLUE\nlatest\n{\"strategy\": \"blue\", \"capital\": 25000.0, \"date\": \"2026-01-01\", \"trades\": 3, \"updated_at\": \"2026-01-01T00:00:00Z\"}",
    "DOLPHIN_STATE_BLUE\nlatest_nautilus\n{\"capital\": 25000.0, \"param_hash\": \"aaae\", \"posture\": \"APEX\", \"open_position\": null, \"updated_at\": \"2026-01-01T00:00:00Z\"}",
    "DOLPHIN_PNL_BLUE\n2026-01-01\n{\"date\": \"2026-01-01\", \"pnl\": -1.5, \"capital\": 24998.5, \"trades\": 2, \"boost\": 1.0, \"beta\": 0.2, \"mc_status\": \"OK\", \"posture\": \"APEX\", \"stale_state\": false}",
    "DOLPHIN_LEASES\nblue\n{\"holder\": \"a/1\", \"number\": 3, \"until_ms\": 1767225600000, \"ttl_ms\": 3000}",
    "DOLPHIN_CONTROL\nkill_blue\n{\"reason\": \"a test\", \"flatten\": true, \"by\": \"me\", \"at\": \"2026-01-01T00:00:00Z\"}",
    "DOLPHIN_CONTROL\nrearm_blue\n{\"reason\": \"a test of it\", \"day\": true, \"by\": \"me\", \"at\": \"2026-01-01T00:00:00Z\"}",
    "DOLPHIN_FEATURES_SHARD_00\nBTCUSDT\n{\"symbol\": \"BTCUSDT\", \"timestamp\": 1767225600.5, \"imbalance\": 0.1, \"bid\": 1.0, \"ask\": 1.1}",
    "ANYTHING\nkey\n{\"fence\": 18446744073709551615}",
];

pub fn take(bytes: &[u8]) -> Answer {
    let text = String::from_utf8_lossy(bytes);
    let mut parts = text.splitn(3, '\n');
    let (map, key) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let value = parts.next().unwrap_or_default();
    let fence = memory::fence_of(value);
    let stamped = memory::stamp(value, 7);
    if let Some(stamped) = &stamped {
        assert_eq!(memory::fence_of(stamped), Some(7), "{stamped}");
    }
    let read = schema::validate(map, key, value).map_or_else(|why| message(&why.to_string()), |()| 1);
    let mut blanked = value.as_bytes().to_vec();
    market::json::blank_python_numbers(&mut blanked);
    // What JSON takes is no Python number, so nothing may change in it.
    if serde_json::from_str::<serde_json::Value>(value).is_ok() {
        assert_eq!(blanked, value.as_bytes(), "JSON is changed");
    }
    answer((read, fence.is_some(), stamped.is_some()))
}
