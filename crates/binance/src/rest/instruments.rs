//! exchangeInfo to instruments. Nothing is hard-coded: testnet and mainnet differ in ticks, lots and limits.

use market::{Amount, Increment, Instrument, InstrumentStatus, NumberError, Px, Qty, SymbolId};
use serde_json::Value;

use crate::limits::{LimitKind, RateLimits, interval_ns};

/// A rate limit that exchangeInfo announces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AnnouncedLimit {
    /// What is counted.
    pub kind: LimitKind,
    /// Window, ns.
    pub length: u64,
    /// Limit.
    pub limit: u32,
}

/// What is used of exchangeInfo.
#[derive(Debug, Clone, PartialEq)]
pub struct ExchangeInfo {
    /// The wanted symbols, in the order wanted.
    pub instruments: Vec<Instrument>,
    /// Rate limits.
    pub limits: Vec<AnnouncedLimit>,
}

impl ExchangeInfo {
    /// Puts the announced limits into `limits`.
    pub fn apply_limits(&self, limits: &mut RateLimits) {
        for l in &self.limits {
            limits.set(l.kind, l.length, l.limit);
        }
    }
}

/// Why exchangeInfo cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InstrumentError {
    /// Not the JSON of an exchangeInfo.
    #[error("exchangeInfo is not understood: {0}")]
    Shape(String),
    /// Symbols that the venue does not have.
    #[error("the venue has no symbol {}: take it out of the config, or is this the wrong venue?", .0.join(", "))]
    NoSuchSymbol(Vec<String>),
    /// A filter that is missing or cannot be read.
    #[error("exchangeInfo: {symbol}: {filter} `{text}`: {why}")]
    Filter {
        /// Symbol.
        symbol: String,
        /// Filter and field.
        filter: &'static str,
        /// As received.
        text: String,
        /// What is wrong with it.
        why: NumberError,
    },
    /// More symbols than a table holds.
    #[error("{0} symbols wanted: the most is 65535")]
    TooMany(usize),
}

/// The instruments of `wanted` (venue names), in that order: their ids are their places.
pub fn parse_exchange_info(body: &[u8], wanted: &[&str]) -> Result<ExchangeInfo, InstrumentError> {
    if wanted.len() > usize::from(u16::MAX) {
        return Err(InstrumentError::TooMany(wanted.len()));
    }
    let root: Value = serde_json::from_slice(body).map_err(|e| InstrumentError::Shape(e.to_string()))?;
    let rows = root["symbols"].as_array().ok_or_else(|| InstrumentError::Shape("no `symbols`".into()))?;
    let by_name: std::collections::BTreeMap<&str, &Value> =
        rows.iter().filter_map(|row| Some((row["symbol"].as_str()?, row))).collect();
    let missing: Vec<String> =
        wanted.iter().filter(|w| !by_name.contains_key(*w)).map(|w| (*w).to_owned()).collect();
    if !missing.is_empty() {
        return Err(InstrumentError::NoSuchSymbol(missing));
    }
    let instruments =
        wanted.iter().enumerate().map(|(i, name)| instrument(SymbolId(i as u16), name, by_name[name]));
    Ok(ExchangeInfo {
        instruments: instruments.collect::<Result<_, _>>()?,
        limits: announced(&root["rateLimits"]),
    })
}

/// The perpetuals in `quote` that trade now, in the order listed.
pub fn parse_perpetuals(body: &[u8], quote: &str) -> Result<Vec<String>, InstrumentError> {
    let root: Value = serde_json::from_slice(body).map_err(|e| InstrumentError::Shape(e.to_string()))?;
    let rows = root["symbols"].as_array().ok_or_else(|| InstrumentError::Shape("no `symbols`".into()))?;
    let trades = |row: &&Value| {
        row["contractType"] == "PERPETUAL" && row["status"] == "TRADING" && row["quoteAsset"] == quote
    };
    Ok(rows.iter().filter(trades).filter_map(|row| row["symbol"].as_str()).map(str::to_owned).collect())
}

fn announced(rows: &Value) -> Vec<AnnouncedLimit> {
    let rows = rows.as_array().map(Vec::as_slice).unwrap_or_default();
    rows.iter()
        .filter_map(|row| {
            let kind = match row["rateLimitType"].as_str()? {
                "REQUEST_WEIGHT" => LimitKind::Weight,
                "ORDERS" => LimitKind::Orders,
                _ => return None,
            };
            let length = interval_ns(row["interval"].as_str()?, row["intervalNum"].as_u64()?)?;
            Some(AnnouncedLimit { kind, length, limit: u32::try_from(row["limit"].as_u64()?).ok()? })
        })
        .collect()
}

struct Row<'a> {
    symbol: &'a str,
    filters: &'a [Value],
}

impl Row<'_> {
    /// The text of a filter's field, whether it was sent as a text or a number.
    fn text(&self, filter: &str, field: &str) -> Option<String> {
        let row = self.filters.iter().find(|f| f["filterType"] == filter)?;
        match &row[field] {
            Value::String(s) => Some(s.clone()),
            Value::Number(n) => Some(n.to_string()),
            _ => None,
        }
    }

    fn bad(&self, filter: &'static str, text: &str, why: NumberError) -> InstrumentError {
        let cut = text.chars().take(40).collect();
        InstrumentError::Filter { symbol: self.symbol.to_owned(), filter, text: cut, why }
    }

    fn increment(&self, filter: &'static str, field: &'static str) -> Result<Increment, InstrumentError> {
        let text = self.text(filter, field).unwrap_or_default();
        Increment::parse(&text).map_err(|why| self.bad(filter, &text, why))
    }

    /// A bound in increments; one that is off the grid goes to the side that allows less.
    fn bound(
        &self,
        increment: Increment,
        filter: &'static str,
        field: &'static str,
        lower: bool,
    ) -> Result<Option<i64>, InstrumentError> {
        let Some(text) = self.text(filter, field) else { return Ok(None) };
        match increment.parse_count(text.as_bytes()) {
            Ok(count) => Ok(Some(count)),
            Err(NumberError::OffGrid) => {
                let value = text.parse().map_err(|_| self.bad(filter, &text, NumberError::Malformed))?;
                let below =
                    increment.floor(value).ok_or_else(|| self.bad(filter, &text, NumberError::OutOfRange))?;
                Ok(Some(if lower { below + 1 } else { below }))
            }
            // Larger than any order of ours could be: no bound.
            Err(NumberError::OutOfRange) => Ok(None),
            Err(why) => Err(self.bad(filter, &text, why)),
        }
    }

    fn float(&self, filter: &str, field: &str) -> Option<f64> {
        self.text(filter, field)?.parse().ok().filter(|x: &f64| x.is_finite() && *x > 0.0)
    }
}

fn instrument(id: SymbolId, symbol: &str, row: &Value) -> Result<Instrument, InstrumentError> {
    let filters = row["filters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let trading = row["status"] == "TRADING";
    let row = Row { symbol, filters };
    let tick = row.increment("PRICE_FILTER", "tickSize")?;
    let lot = row.increment("LOT_SIZE", "stepSize")?;
    let max_qty = Qty(row.bound(lot, "LOT_SIZE", "maxQty", false)?.unwrap_or(i64::MAX));
    let min_notional = match row.text("MIN_NOTIONAL", "notional") {
        Some(text) => Amount::parse(text.as_bytes()).map_err(|why| row.bad("MIN_NOTIONAL", &text, why))?,
        None => Amount::ZERO,
    };
    let max_orders = row.text("MAX_NUM_ORDERS", "limit").and_then(|t| t.parse().ok()).unwrap_or(0);
    Ok(Instrument {
        id,
        symbol: symbol.to_owned(),
        status: if trading { InstrumentStatus::Trading } else { InstrumentStatus::Halted },
        tick,
        lot,
        min_px: Px(row.bound(tick, "PRICE_FILTER", "minPrice", true)?.unwrap_or(0)),
        max_px: Px(row.bound(tick, "PRICE_FILTER", "maxPrice", false)?.unwrap_or(0)),
        min_qty: Qty(row.bound(lot, "LOT_SIZE", "minQty", true)?.unwrap_or(1).max(1)),
        max_qty,
        max_market_qty: Qty(row.bound(lot, "MARKET_LOT_SIZE", "maxQty", false)?.unwrap_or(max_qty.0)),
        min_notional,
        multiplier_up: row.float("PERCENT_PRICE", "multiplierUp").unwrap_or(f64::INFINITY),
        multiplier_down: row.float("PERCENT_PRICE", "multiplierDown").unwrap_or(0.0),
        max_orders,
        px_step: 1,
        qty_step: 1,
    })
}
