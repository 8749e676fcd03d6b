//! OB feature JSON (SPEC §2.3).

use std::collections::BTreeMap;

use market::{CrossAsset, DEPTH_BANDS, Nanos, ObFeatures};
use serde::{Deserialize, Serialize, Serializer};
use serde_json::Value;

use super::json::{FromMemory, Object, SchemaError, parse_time, to_text};
use super::scan::seconds;

/// The features of a symbol with its name and time, as they stand in the shard maps.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ObRecord {
    /// Symbol.
    pub symbol: String,
    /// Sampling time (event time), UTC. Written as seconds.
    #[serde(serialize_with = "write_seconds")]
    pub timestamp: Nanos,
    /// The symbol's features.
    #[serde(flatten)]
    pub features: ObFeatures,
    /// What all symbols said at that sample.
    #[serde(flatten)]
    pub cross_asset: CrossAsset,
}

fn write_seconds<S: Serializer>(at: &Nanos, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_f64(seconds(*at))
}

/// The file of the newest features of all symbols, `{symbol: record}` (SPEC 2.3), in the directory of whoever writes it.
pub const OB_CACHE: &str = "ob_cache/latest_ob_features.json";

/// The text of [`OB_CACHE`].
pub fn cache_text<T: Serialize>(records: impl IntoIterator<Item = (String, T)>) -> String {
    to_text(&records.into_iter().collect::<BTreeMap<_, _>>())
}

/// What an ingest node writes: the features and the prices that an alpha node needs beside them, so that the shards alone
/// feed it. Prices are those of whole ticks; the shortest text of such a double is the venue's own decimal text.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ShardRecord {
    /// The features, readable by whoever reads [`ObRecord`].
    #[serde(flatten)]
    pub ob: ObRecord,
    /// Mid price at the sample.
    pub mid: f64,
    /// Best bid, newest at the time of writing.
    pub bid: f64,
    /// Quantity there.
    pub bid_qty: f64,
    /// Best ask.
    pub ask: f64,
    /// Quantity there.
    pub ask_qty: f64,
    /// Mark price; NaN: not known yet.
    pub mark: f64,
}

impl FromMemory for ShardRecord {
    const KIND: &'static str = "shard record";

    /// Beside what [`ObRecord`] wants: a mid, and a bid below an ask.
    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        if let Some(record) = Plain::read(text) {
            return Ok(record);
        }
        let object = Object::parse(Self::KIND, text)?;
        let price = |key: &str| object.within(key, f64::MIN_POSITIVE, 1e15);
        let quantity = |key: &str| object.within(key, 0.0, 1e18);
        let record = Self {
            ob: ObRecord::from_object(&object)?,
            mid: price("mid")?,
            bid: price("bid")?,
            bid_qty: quantity("bid_qty")?,
            ask: price("ask")?,
            ask_qty: quantity("ask_qty")?,
            mark: object.number("mark")?,
        };
        if record.bid >= record.ask {
            return Err(object.bad(format!("`bid` {} is not below `ask` {}", record.bid, record.ask)));
        }
        Ok(record)
    }
}

/// A [`ShardRecord`] as we write it: read ten times a second for every symbol, and so without a map of values in between.
/// What it does not take is read with all tolerance.
#[derive(Deserialize)]
struct Plain {
    symbol: String,
    timestamp: Value,
    bid_depth: [f64; DEPTH_BANDS],
    ask_depth: [f64; DEPTH_BANDS],
    bid_notional: [f64; DEPTH_BANDS],
    ask_notional: [f64; DEPTH_BANDS],
    coverage_pct: Option<f64>,
    spread_proxy_bps: f64,
    depth_quality: Option<f64>,
    fill_probability_bid: Option<f64>,
    fill_probability_ask: Option<f64>,
    fill_probability: f64,
    depth_asymmetry: f64,
    imbalance_persistence: f64,
    withdrawal_velocity: Option<f64>,
    macro_imbalance: f64,
    macro_spread_bps: Option<f64>,
    agreement_pct: f64,
    cascade_count: f64,
    regime_signal: f64,
    mid: f64,
    bid: f64,
    bid_qty: f64,
    ask: f64,
    ask_qty: f64,
    mark: Option<f64>,
}

impl Plain {
    /// The record, if it is plain and every number is within its range.
    fn read(text: &str) -> Option<ShardRecord> {
        if !text.starts_with('{') {
            return None;
        }
        let p: Self = serde_json::from_str(text).ok()?;
        let or_nan = |x: Option<f64>| x.unwrap_or(f64::NAN);
        let (symmetric, price, quantity) = (-1.0..=1.0, f64::MIN_POSITIVE..=1e15, 0.0..=1e18);
        let sound = (0.0..=1e5).contains(&p.spread_proxy_bps)
            && (0.0..=1.0).contains(&p.fill_probability)
            && [p.depth_asymmetry, p.imbalance_persistence, p.macro_imbalance, p.regime_signal]
                .iter()
                .all(|x| symmetric.contains(x))
            && (0.0..=1.0).contains(&p.agreement_pct)
            && [p.mid, p.bid, p.ask].iter().all(|x| price.contains(x))
            && [p.bid_qty, p.ask_qty].iter().all(|x| quantity.contains(x))
            && p.bid < p.ask;
        let timestamp = parse_time(&p.timestamp).filter(|_| sound)?;
        let features = ObFeatures {
            bid_depth: p.bid_depth,
            ask_depth: p.ask_depth,
            bid_notional: p.bid_notional,
            ask_notional: p.ask_notional,
            coverage_pct: or_nan(p.coverage_pct),
            spread_proxy_bps: p.spread_proxy_bps,
            depth_quality: or_nan(p.depth_quality),
            fill_probability_bid: or_nan(p.fill_probability_bid),
            fill_probability_ask: or_nan(p.fill_probability_ask),
            fill_probability: p.fill_probability,
            depth_asymmetry: p.depth_asymmetry,
            imbalance_persistence: p.imbalance_persistence,
            withdrawal_velocity: or_nan(p.withdrawal_velocity),
            macro_imbalance: p.macro_imbalance,
            macro_spread_bps: or_nan(p.macro_spread_bps),
        };
        let cross_asset = CrossAsset {
            agreement_pct: p.agreement_pct,
            cascade_count: p.cascade_count.max(0.0) as u32,
            regime_signal: p.regime_signal as i8,
        };
        Some(ShardRecord {
            ob: ObRecord { symbol: p.symbol, timestamp, features, cross_asset },
            mid: p.mid,
            bid: p.bid,
            bid_qty: p.bid_qty,
            ask: p.ask,
            ask_qty: p.ask_qty,
            mark: or_nan(p.mark),
        })
    }
}

impl FromMemory for ObRecord {
    const KIND: &'static str = "OB features";

    fn from_memory(text: &str) -> Result<Self, SchemaError> {
        Self::from_object(&Object::parse(Self::KIND, text)?)
    }
}

impl ObRecord {
    /// What decides on an entry (SPEC §3.7) must be there; other numbers may be missing and are NaN.
    fn from_object(object: &Object) -> Result<Self, SchemaError> {
        let symbol = object.text("symbol")?.ok_or_else(|| object.bad("`symbol` is missing"))?.to_owned();
        let timestamp = object.time("timestamp")?.ok_or_else(|| object.bad("`timestamp` is missing"))?;
        let features = ObFeatures {
            bid_depth: object.numbers("bid_depth")?,
            ask_depth: object.numbers("ask_depth")?,
            bid_notional: object.numbers("bid_notional")?,
            ask_notional: object.numbers("ask_notional")?,
            coverage_pct: object.number("coverage_pct")?,
            spread_proxy_bps: object.within("spread_proxy_bps", 0.0, 1e5)?,
            depth_quality: object.number("depth_quality")?,
            fill_probability_bid: object.number("fill_probability_bid")?,
            fill_probability_ask: object.number("fill_probability_ask")?,
            fill_probability: object.within("fill_probability", 0.0, 1.0)?,
            depth_asymmetry: object.within("depth_asymmetry", -1.0, 1.0)?,
            imbalance_persistence: object.within("imbalance_persistence", -1.0, 1.0)?,
            withdrawal_velocity: object.number("withdrawal_velocity")?,
            macro_imbalance: object.within("macro_imbalance", -1.0, 1.0)?,
            macro_spread_bps: object.number("macro_spread_bps")?,
        };
        let cross_asset = if object.has("agreement_pct") {
            CrossAsset {
                agreement_pct: object.within("agreement_pct", 0.0, 1.0)?,
                cascade_count: object.number("cascade_count")?.max(0.0) as u32,
                regime_signal: object.within("regime_signal", -1.0, 1.0)? as i8,
            }
        } else {
            CrossAsset::default()
        };
        Ok(Self { symbol, timestamp, features, cross_asset })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn record(symbol: &str, timestamp: Nanos) -> ObRecord {
        let features = ObFeatures {
            bid_depth: [1.0, 2.0, 3.0, 4.0, 5.0],
            ask_depth: [1.5; 5],
            bid_notional: [1e5; 5],
            ask_notional: [2e5; 5],
            coverage_pct: 4.2,
            spread_proxy_bps: 0.7,
            depth_quality: 0.5,
            fill_probability_bid: 0.8,
            fill_probability_ask: f64::NAN,
            fill_probability: 0.7,
            depth_asymmetry: -0.25,
            imbalance_persistence: -0.4,
            withdrawal_velocity: -0.01,
            macro_imbalance: 0.05,
            macro_spread_bps: 0.9,
        };
        let cross_asset = CrossAsset { agreement_pct: 0.66, cascade_count: 3, regime_signal: -1 };
        ObRecord { symbol: symbol.to_owned(), timestamp, features, cross_asset }
    }

    #[test]
    fn what_we_write_we_read() {
        let written = record("BTCUSDT", Nanos(1_618_099_205_123_456_000));
        let text = to_text(&written);
        let mut read = ObRecord::from_memory(&text).unwrap();
        assert!(read.features.fill_probability_ask.is_nan());
        read.features.fill_probability_ask = 1.0;
        let mut expected = written;
        expected.features.fill_probability_ask = 1.0;
        assert_eq!(read, expected);
    }

    #[test]
    fn a_shard_record_carries_exact_prices_and_is_an_ob_record_too() {
        let written = ShardRecord {
            ob: record("1000PEPEUSDT", Nanos(1_618_099_205_100_000_000)),
            mid: 0.008_123_45,
            bid: 0.008_123_4,
            bid_qty: 120_000.0,
            ask: 0.008_123_5,
            ask_qty: 7.5,
            mark: f64::NAN,
        };
        let text = to_text(&written);
        assert!(text.contains(r#""bid":0.0081234,"#), "{text}");
        let read = ShardRecord::from_memory(&text).unwrap();
        assert_eq!((read.mid, read.bid, read.ask), (written.mid, written.bid, written.ask));
        assert_eq!((read.bid_qty, read.ask_qty, read.ob.timestamp), (120_000.0, 7.5, written.ob.timestamp));
        assert!(read.mark.is_nan());
        assert!(Plain::read(&text).is_some(), "what we write needs no tolerance");
        assert!(Plain::read(&text.replacen("\"bid\":0.0081234", "\"bid\":\"0.0081234\"", 1)).is_none());
        assert_eq!(ObRecord::from_memory(&text).unwrap().symbol, "1000PEPEUSDT");
        for (from, to, reason) in [
            ("\"ask\":0.0081235", "\"ask\":0.0081", "not below"),
            ("\"mid\":0.00812345,", "", "`mid` is missing"),
            ("\"bid\":0.0081234", "\"bid\":-1", "`bid`"),
        ] {
            let error = ShardRecord::from_memory(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }

    #[test]
    fn what_decides_an_entry_must_be_there() {
        let good = to_text(&record("BTCUSDT", Nanos(1_618_099_205 * Nanos::SECOND)));
        for (from, to, reason) in [
            ("\"depth_asymmetry\":-0.25", "\"depth_asymmetry\":NaN", "`depth_asymmetry`"),
            ("\"fill_probability\":0.7,", "", "`fill_probability` is missing"),
            ("\"symbol\":\"BTCUSDT\",", "", "`symbol`"),
            ("[1.0,2.0,3.0,4.0,5.0]", "[1.0]", "`bid_depth`"),
            ("\"timestamp\":1618099205.0", "\"timestamp\":\"?\"", "`timestamp`"),
        ] {
            let text = good.replacen(from, to, 1);
            assert_ne!(text, good, "{from}");
            let error = ObRecord::from_memory(&text).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
    }
}
