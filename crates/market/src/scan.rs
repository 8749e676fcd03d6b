//! An eigen scan as JSON (SPEC §2.2): what the scanner writes to memory and to scan files, whoever reads it.
//!
//! `Deserialize` takes everything that Python writers are known to write: missing numbers as `null`, as empty text or not
//! at all, numbers as text, times as seconds to nanoseconds or as ISO text, unknown keys. Bare `NaN` and `Infinity` are
//! no JSON: [`crate::json::blank_python_numbers`] first.

use std::fmt;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny, MapAccess, Visitor};

use crate::json::Number;
use crate::stamp;
use crate::time::Nanos;

/// Most assets of a scan.
pub const MAX_SCAN_ASSETS: usize = 4096;

/// One scan. Numbers that are not there are NaN.
#[derive(Debug, Clone, PartialEq)]
pub struct ScanRecord {
    /// When it was made, UTC.
    pub ts: Option<Nanos>,
    /// Number of the scan; the same number again is the same scan.
    pub scan_number: Option<i64>,
    /// v50 − v150; `None` where there is no such key, so that other JSON is not taken for a scan.
    pub vel_div: Option<f64>,
    /// Velocity of the largest eigenvalue of windows 50, 150, 300, 750.
    pub velocity: [f64; 4],
    /// Turn of the first eigenvector of windows 50 and 150.
    pub instability: [f64; 2],
    /// Prices in the writer's order; a name given twice is there twice, and the last price counts.
    pub asset_prices: Vec<(String, f64)>,
}

impl<'de> Deserialize<'de> for ScanRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(ScanVisitor)
    }
}

/// Reads a [`ScanRecord`] from a map.
#[derive(Debug, Clone, Copy)]
pub struct ScanVisitor;

impl<'de> Visitor<'de> for ScanVisitor {
    type Value = ScanRecord;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a scan object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ScanRecord, A::Error> {
        const NAN: f64 = f64::NAN;
        let mut scan = ScanRecord {
            ts: None,
            scan_number: None,
            vel_div: None,
            velocity: [NAN; 4],
            instability: [NAN; 2],
            asset_prices: Vec::new(),
        };
        while let Some(key) = map.next_key::<String>()? {
            let cell = match key.as_str() {
                "timestamp" => {
                    scan.ts = map.next_value::<Time>()?.0;
                    continue;
                }
                "scan_number" => {
                    scan.scan_number = whole(map.next_value::<Number>()?.0)?;
                    continue;
                }
                "asset_prices" => {
                    scan.asset_prices = map.next_value::<Option<Prices>>()?.map_or_else(Vec::new, |p| p.0);
                    continue;
                }
                "vel_div" => scan.vel_div.insert(NAN),
                "v50_lambda_max_velocity" => &mut scan.velocity[0],
                "v150_lambda_max_velocity" => &mut scan.velocity[1],
                "v300_lambda_max_velocity" => &mut scan.velocity[2],
                "v750_lambda_max_velocity" => &mut scan.velocity[3],
                "instability_50" => &mut scan.instability[0],
                "instability_150" => &mut scan.instability[1],
                _ => {
                    map.next_value::<IgnoredAny>()?;
                    continue;
                }
            };
            *cell =
                map.next_value::<Number>().map_err(|e| de::Error::custom(format_args!("`{key}`: {e}")))?.0;
        }
        Ok(scan)
    }
}

/// A scan number: whole, or not there.
fn whole<E: de::Error>(number: f64) -> Result<Option<i64>, E> {
    if number.is_nan() {
        return Ok(None);
    }
    if number.fract() != 0.0 || number.abs() > 9e15 {
        return Err(E::custom(format_args!("`scan_number` {number} is no whole number")));
    }
    Ok(Some(number as i64))
}

/// `timestamp`: a number by its magnitude, or ISO text.
struct Time(Option<Nanos>);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct TimeVisitor;
        impl Visitor<'_> for TimeVisitor {
            type Value = Time;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a `timestamp`: seconds, ms, µs, ns since 1970, or ISO 8601")
            }
            fn visit_unit<E>(self) -> Result<Time, E> {
                Ok(Time(None))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Time, E> {
                Ok(Time(stamp::nanos_from_float(v)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Time, E> {
                Ok(Time(stamp::nanos_from_int(v)))
            }
            fn visit_u64<E>(self, v: u64) -> Result<Time, E> {
                Ok(Time(i64::try_from(v).ok().and_then(stamp::nanos_from_int)))
            }
            fn visit_str<E: de::Error>(self, v: &str) -> Result<Time, E> {
                stamp::nanos_from_text(v).map(Time).map_err(|()| {
                    E::invalid_value(de::Unexpected::Str(&v.chars().take(40).collect::<String>()), &self)
                })
            }
        }
        deserializer.deserialize_any(TimeVisitor)
    }
}

/// `asset_prices`, in the order of the file.
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
                while let Some(name) = map.next_key::<String>()? {
                    if prices.len() >= MAX_SCAN_ASSETS {
                        return Err(de::Error::custom(format_args!("more than {MAX_SCAN_ASSETS} assets")));
                    }
                    let price = map.next_value::<Number>().map_err(|e| {
                        de::Error::custom(format_args!("the price of `{name}` is no number: {e}"))
                    })?;
                    prices.push((name, price.0));
                }
                Ok(Prices(prices))
            }
        }
        deserializer.deserialize_map(PricesVisitor)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<ScanRecord, String> {
        let mut bytes = text.as_bytes().to_vec();
        crate::json::blank_python_numbers(&mut bytes);
        serde_json::from_slice(&bytes).map_err(|e| e.to_string())
    }

    #[test]
    fn reads_what_python_writes_in_its_order() {
        let scan = read(
            r#"{"scan_number": 12, "timestamp": "2021-04-11T00:00:05", "vel_div": -0.031, "extra": {"x": [1]},
            "v50_lambda_max_velocity": NaN, "v750_lambda_max_velocity": "0.5", "instability_50": null,
            "asset_prices": {"ZECUSDT": 1.5, "BTCUSDT": NaN, "ADAUSDT": "2"}}"#,
        )
        .unwrap();
        assert_eq!((scan.scan_number, scan.vel_div, scan.velocity[3]), (Some(12), Some(-0.031), 0.5));
        assert_eq!(scan.ts, Some(Nanos(1_618_099_205 * Nanos::SECOND)));
        assert!(scan.velocity[0].is_nan() && scan.instability[0].is_nan() && scan.instability[1].is_nan());
        let names: Vec<_> = scan.asset_prices.iter().map(|(name, _)| name.as_str()).collect();
        assert_eq!(names, ["ZECUSDT", "BTCUSDT", "ADAUSDT"]);
        assert!(scan.asset_prices[1].1.is_nan());
        assert_eq!(read("{}").unwrap().vel_div, None);
        assert!(read(r#"{"vel_div": NaN}"#).unwrap().vel_div.is_some_and(f64::is_nan));
    }

    #[test]
    fn nonsense_is_refused_with_the_reason() {
        for (text, reason) in [
            ("[1]", "scan object"),
            (r#"{"vel_div": true}"#, "`vel_div`"),
            (r#"{"v50_lambda_max_velocity": "high"}"#, "high"),
            (r#"{"scan_number": 1.5}"#, "no whole number"),
            (r#"{"timestamp": "soon"}"#, "`timestamp`"),
            (r#"{"asset_prices": {"A": {}}}"#, "price of `A`"),
            (r#"{"asset_prices": [1]}"#, "sequence"),
        ] {
            let error = read(text).unwrap_err();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
