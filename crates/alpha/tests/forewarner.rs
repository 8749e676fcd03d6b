//! Models that scikit-learn really fitted, against scikit-learn's own predictions, bit for bit. Fixtures are written by
//! `ops/forewarner/make_fixture.py`.

#![allow(clippy::unwrap_used, clippy::disallowed_methods, reason = "helpers of tests are tests")]

use alpha::forewarner::{Forewarner, MorningState};
use alpha::{Engine, ForewarnerError, McStatus, Params};
use market::{Date, Posture};
use serde_json::{Value, json};

fn fixture(kind: &str) -> Value {
    let path = format!("{}/tests/fixtures/forewarner_{kind}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn load(model: &Value) -> Result<Forewarner, ForewarnerError> {
    Forewarner::from_json(&serde_json::to_vec(model).unwrap())
}

/// Python's `float.hex()`.
fn unhex(value: &Value) -> f64 {
    let text = value.as_str().unwrap();
    let (sign, text) = text.strip_prefix('-').map_or((1.0, text), |t| (-1.0, t));
    let (mantissa, exponent) = text.strip_prefix("0x").unwrap().split_once('p').unwrap();
    let (int, frac) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = u64::from_str_radix(&format!("{int}{frac}"), 16).unwrap();
    // At most 53 bits and no subnormals among the fixtures: both steps are exact.
    sign * digits as f64 * 2f64.powi(exponent.parse::<i32>().unwrap() - 4 * frac.len() as i32)
}

fn predictions_are_scikit_learns(kind: &str) {
    let fixture = fixture(kind);
    let model = load(&fixture["model"]).unwrap();
    let inputs = fixture["inputs"].as_array().unwrap();
    for (row, expected) in inputs.iter().zip(fixture["predictions"].as_array().unwrap()) {
        let row: Vec<f64> = row.as_array().unwrap().iter().map(unhex).collect();
        let (found, expected) = (model.predict(&row), unhex(expected));
        assert_eq!(found.to_bits(), expected.to_bits(), "{row:?}: {found} instead of {expected}");
    }
    assert!(inputs.len() >= 100);
}

#[test]
fn gradient_boosting_is_bit_equal() {
    predictions_are_scikit_learns("gradient_boosting");
}

#[test]
fn random_forest_is_bit_equal() {
    predictions_are_scikit_learns("random_forest");
}

/// 32-bit sums may be taken in another order: a few units in the last place.
fn predictions_are_onnxruntimes(kind: &str) -> Vec<u8> {
    let fixture = fixture(kind);
    let bytes = hex::decode(fixture["onnx_hex"].as_str().unwrap()).unwrap();
    let model = Forewarner::from_onnx(&bytes).unwrap();
    let expected = fixture["predictions"].as_array().unwrap();
    for (row, expected) in fixture["inputs"].as_array().unwrap().iter().zip(expected) {
        let row: Vec<f64> = row.as_array().unwrap().iter().map(unhex).collect();
        let (found, expected) = (model.predict(&row), unhex(expected));
        assert!((found - expected).abs() <= 4.0 * f64::from(f32::EPSILON), "{found} instead of {expected}");
    }
    bytes
}

#[test]
fn onnx_with_named_columns() {
    predictions_are_onnxruntimes("onnx_gradient_boosting");
}

#[test]
fn onnx_with_names_in_its_metadata() {
    let bytes = predictions_are_onnxruntimes("onnx_random_forest");
    // No byte changed or missing makes it panic; a cut file is refused.
    for at in 0..bytes.len() {
        let mut changed = bytes.clone();
        changed[at] ^= 0x55;
        let _ = Forewarner::from_onnx(&changed).map(|m| m.predict(&[0.0; 9]));
    }
    for end in 0..bytes.len() / 2 {
        assert!(Forewarner::from_onnx(&bytes[..end]).is_err(), "cut at {end}");
    }
}

/// A forest of one leaf.
fn constant(value: f64, features: &[&str]) -> Value {
    json!({
        "format": "dolphin-forewarner-1", "kind": "random_forest", "feature_names": features,
        "base_value": 0.0, "learning_rate": 1.0,
        "trees": [{"feature": [-1], "threshold": [0.0], "left": [-1], "right": [-1], "value": [value]}],
    })
}

/// One split at 25000 of the capital.
fn split(left: i32, right: i32) -> Value {
    let mut model = constant(1.2, &["capital"]);
    model["trees"][0] = json!({
        "feature": [0, -1, -1], "threshold": [25_000.0, 0.0, 0.0],
        "left": [left, -1, -1], "right": [right, -1, -1], "value": [0.0, 0.4, 1.2],
    });
    model
}

#[test]
fn status_and_clamp() {
    let state = MorningState {
        capital: 25_000.0,
        max_leverage: 5.0,
        fraction: 0.2,
        max_hold_bars: 120.0,
        fixed_tp_pct: 0.0095,
        w750_mean: f64::NAN,
        w750_p60: f64::NAN,
        trades_yesterday: 0.0,
        pnl_yesterday: 0.0,
    };
    let of = |v| load(&constant(v, &["capital"])).unwrap().evaluate(&state).unwrap();
    assert_eq!(of(9.0), (1.5, McStatus::Green));
    assert_eq!(of(1.0), (1.0, McStatus::Green));
    assert_eq!(of(0.99), (0.99, McStatus::Orange));
    assert_eq!(of(0.5), (0.5, McStatus::Red));
    assert_eq!(of(-3.0), (0.5, McStatus::Red));
    let unknown_yet = load(&constant(1.0, &["w750_p60"])).unwrap().evaluate(&state);
    assert!(matches!(unknown_yet, Err(ForewarnerError::NotANumber(_))), "{unknown_yet:?}");
    assert_eq!(load(&split(1, 2)).unwrap().evaluate(&state), Ok((0.5, McStatus::Red)));
    let richer = MorningState { capital: 25_001.0, ..state };
    assert_eq!(load(&split(1, 2)).unwrap().evaluate(&richer), Ok((1.2, McStatus::Green)));
}

#[test]
fn broken_models_are_refused_whole() {
    let unknown = load(&constant(1.0, &["moon_phase"])).unwrap_err();
    assert_eq!(unknown, ForewarnerError::UnknownFeature("moon_phase".into()));
    for (left, right) in [(0, 2), (1, 0), (3, 2), (1, -1), (-1, 2), (-5, 2)] {
        assert!(load(&split(left, right)).is_err(), "a node with children {left} and {right}");
    }
    let mut feature = split(1, 2);
    feature["trees"][0]["feature"][0] = json!(1);
    assert!(load(&feature).is_err(), "a split on a feature that is not there");
    let mut ragged = split(1, 2);
    ragged["trees"][0]["value"] = json!([0.0, 1.0]);
    assert!(load(&ragged).is_err());
    let mut empty = split(1, 2);
    empty["trees"] = json!([]);
    assert!(load(&empty).is_err());
    let mut version = split(1, 2);
    version["format"] = json!("dolphin-forewarner-9");
    assert!(load(&version).unwrap_err().to_string().contains("dolphin-forewarner-9"));
    for text in ["", "{}", "null", "[1,2", "\u{0}"] {
        assert!(Forewarner::from_json(text.as_bytes()).is_err());
    }
}

#[test]
fn a_day_takes_the_scale_or_goes_on_without() {
    let mut engine = Engine::new(Params::default(), vec!["BTCUSDT".into()], 1).unwrap();
    let date = Date::constant(2026, 1, 1);
    let mut day = |model: Option<Value>| {
        engine.set_forewarner(model.map(|m| load(&m).unwrap()));
        let start = engine.begin_day(date, Posture::Apex, 1.0, -1).unwrap();
        let open = engine.control_snapshot().mc_gate_open;
        let result = engine.end_day().unwrap();
        assert_eq!((result.mc_scale, result.mc_status), (start.mc_scale, start.mc_status));
        (start, open)
    };
    let (none, open) = day(None);
    assert_eq!((none.mc_scale, none.mc_status, none.warning, open), (1.0, McStatus::Disabled, None, true));
    let (red, open) = day(Some(constant(0.1, &["capital"])));
    assert_eq!((red.mc_scale, red.mc_status, open), (0.5, McStatus::Red, false));
    let (unknown, open) = day(Some(constant(0.1, &["w750_mean"])));
    assert_eq!((unknown.mc_scale, unknown.mc_status, open), (1.0, McStatus::Disabled, true));
    assert!(unknown.warning.unwrap().contains("W750Mean"));
}
