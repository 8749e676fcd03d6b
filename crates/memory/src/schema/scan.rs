//! Scan JSON (SPEC §2.2).

use std::fmt;

use market::Nanos;
use serde::de::{self, Deserialize, Deserializer, MapAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::Value;

use super::json::{self, FromMemory, SchemaError, number, parse_time};

/// Most assets of a scan.
pub const MAX_SCAN_ASSETS: usize = 4096;

/// A scan of the eigen scanner. Numbers that are not there are NaN.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct Scan {
    /// Number of the scan; the same number again carries no signal.
    pub scan_number: Option<i64>,
    /// When it was made, UTC.
    #[serde(serialize_with = "write_time")]
    pub timestamp: Option<Nanos>,
    /// v50 − v150.
    pub vel_div: f64,
    /// Eigenvalue velocity of window 50.
    pub v50_lambda_max_velocity: f64,
    /// Of window 150.
    pub v150_lambda_max_velocity: f64,
    /// Of window 300.
    pub v300_lambda_max_velocity: f64,
    /// Of window 750.
    pub v750_lambda_max_velocity: f64,
    /// Eigenvector instability of window 50.
    pub instability_50: f64,
    /// Of window 150.
    pub instability_150: f64,
    /// Prices in the writer's order.
    #[serde(serialize_with = "write_prices")]
    pub asset_prices: Vec<(String, f64)>,
}

#[derive(serde::Deserialize)]
#[serde(default)]
struct Wire {
    scan_number: Value,
    timestamp: Value,
    vel_div: Value,
    v50_lambda_max_velocity: Value,
    v150_lambda_max_velocity: Value,
    v300_lambda_max_velocity: Value,
    v750_lambda_max_velocity: Value,
    instability_50: Value,
    instability_150: Value,
    asset_prices: Option<Prices>,
}

impl Default for Wire {
    fn default() -> Self {
        const NULL: Value = Value::Null;
        Self {
            scan_number: NULL,
            timestamp: NULL,
            vel_div: NULL,
            v50_lambda_max_velocity: NULL,
            v150_lambda_max_velocity: NULL,
            v300_lambda_max_velocity: NULL,
            v750_lambda_max_velocity: NULL,
            instability_50: NULL,
            instability_150: NULL,
            asset_prices: None,
        }
    }
}

/// `asset_prices` with its order kept; a name given twice takes the last price.
struct Prices(Vec<(String, f64)>);

impl<'de> Deserialize<'de> for Prices {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct PricesVisitor;
        impl<'de> Visitor<'de> for PricesVisitor {
            type Value = Prices;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of asset prices")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Prices, A::Error> {
                let mut prices = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    if prices.len() >= MAX_SCAN_ASSETS {
                        return Err(de::Error::custom(format_args!("more than {MAX_SCAN_ASSETS} assets")));
                    }
                    let price = number(&value).ok_or_else(|| {
                        de::Error::custom(format_args!("the price of `{name}` is no number"))
                    })?;
                    prices.push((name, price));
                }
                Ok(Prices(prices))
            }
        }
        deserializer.deserialize_map(PricesVisitor)
    }
}

impl FromMemory for Scan {
    const KIND: &'static str = "scan";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        let wire: Wire = json::parse(Self::KIND, text)?;
        let float = |name: &str, value: &Value| {
            number(value).ok_or_else(|| SchemaError::new(Self::KIND, format!("`{name}` is no number")))
        };
        let scan_number = float("scan_number", &wire.scan_number)?;
        if !scan_number.is_nan() && (scan_number.fract() != 0.0 || scan_number.abs() > 9e15) {
            return Err(SchemaError::new(
                Self::KIND,
                format!("`scan_number` {scan_number} is no whole number"),
            ));
        }
        let timestamp = match &wire.timestamp {
            Value::Null => None,
            given => Some(
                parse_time(given).ok_or_else(|| SchemaError::new(Self::KIND, "`timestamp` is no time"))?,
            ),
        };
        Ok(Self {
            scan_number: (!scan_number.is_nan()).then_some(scan_number as i64),
            timestamp,
            vel_div: float("vel_div", &wire.vel_div)?,
            v50_lambda_max_velocity: float("v50_lambda_max_velocity", &wire.v50_lambda_max_velocity)?,
            v150_lambda_max_velocity: float("v150_lambda_max_velocity", &wire.v150_lambda_max_velocity)?,
            v300_lambda_max_velocity: float("v300_lambda_max_velocity", &wire.v300_lambda_max_velocity)?,
            v750_lambda_max_velocity: float("v750_lambda_max_velocity", &wire.v750_lambda_max_velocity)?,
            instability_50: float("instability_50", &wire.instability_50)?,
            instability_150: float("instability_150", &wire.instability_150)?,
            asset_prices: wire.asset_prices.map_or_else(Vec::new, |prices| prices.0),
        })
    }
}

/// Times are written as Python's `time.time()`: seconds, to the microsecond.
pub(super) fn seconds(at: Nanos) -> f64 {
    (at.0 / 1000) as f64 / 1e6
}

fn write_time<S: Serializer>(at: &Option<Nanos>, serializer: S) -> Result<S::Ok, S::Error> {
    at.map(seconds).serialize(serializer)
}

fn write_prices<S: Serializer>(prices: &[(String, f64)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(prices.len()))?;
    for (name, price) in prices {
        map.serialize_entry(name, price)?;
    }
    map.end()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::json::to_text;

    #[test]
    fn reads_what_python_writes_in_its_order() {
        let text = r#"{"scan_number": 12, "timestamp": "2021-04-11T00:00:05", "vel_div": -0.031, "extra": {"x": [1]},
            "v50_lambda_max_velocity": NaN, "v750_lambda_max_velocity": "0.5", "instability_50": null,
            "asset_prices": {"ZECUSDT": 1.5, "BTCUSDT": NaN, "ADAUSDT": "2"}}"#;
        let scan = Scan::from_memory(text).unwrap();
        assert_eq!((scan.scan_number, scan.vel_div, scan.v750_lambda_max_velocity), (Some(12), -0.031, 0.5));
        assert_eq!(scan.timestamp, Some(Nanos(1_618_099_205 * Nanos::SECOND)));
        assert!(scan.v50_lambda_max_velocity.is_nan() && scan.instability_150.is_nan());
        let names: Vec<_> = scan.asset_prices.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ZECUSDT", "BTCUSDT", "ADAUSDT"]);
        assert!(scan.asset_prices[1].1.is_nan());
    }

    #[test]
    fn what_we_write_we_read() {
        let mut scan =
            Scan::from_memory(r#"{"vel_div": -0.1, "asset_prices": {"B": 0.1, "A": 3e-7}}"#).unwrap();
        scan.timestamp = Some(Nanos(1_618_099_205_123_456_000));
        scan.scan_number = Some(7);
        let again = Scan::from_memory(&to_text(&scan)).unwrap();
        assert_eq!((again.timestamp, again.scan_number, again.vel_div), (scan.timestamp, Some(7), -0.1));
        assert_eq!(again.asset_prices, scan.asset_prices);
    }

    #[test]
    fn nonsense_is_rejected_with_the_reason() {
        for (text, reason) in [
            ("", "JSON"),
            ("[1]", "JSON"),
            (r#"{"vel_div": true}"#, "`vel_div`"),
            (r#"{"scan_number": 1.5}"#, "whole number"),
            (r#"{"timestamp": "soon"}"#, "`timestamp`"),
            (r#"{"asset_prices": {"A": {}}}"#, "price of `A`"),
        ] {
            let error = Scan::from_memory(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
