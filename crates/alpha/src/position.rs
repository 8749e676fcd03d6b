//! A position and the trade it becomes (SPEC §3.9–§3.11).

use market::{Date, ExitReason, SymbolId};
use serde::{Deserialize, Serialize};

/// An open position, with what was true when it was opened.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Asset, by column.
    pub symbol: SymbolId,
    /// +1 long, −1 short.
    pub direction: i8,
    /// Price of the tick, or real average price.
    pub entry_price: f64,
    /// Value at entry, quote asset.
    pub notional: f64,
    /// Leverage.
    pub leverage: f64,
    /// Lifetime tick (0-based) of the entry.
    pub entry_tick: u64,
    /// Tick of the day (0-based) of the entry.
    pub entry_bar: u32,
    /// Date of the entry.
    #[serde(with = "date_text")]
    pub entry_date: Date,
    /// Was the entry made? `None`: both, or not modelled.
    pub maker_entry: Option<bool>,
    /// Entry fee as a fraction of the notional.
    pub fee_entry: f64,
    /// Velocity divergence as given.
    pub vel_div: f64,
    /// Strength bucket, 0 extreme … 3 weak.
    pub bucket: u8,
    /// Boost used.
    pub boost: f64,
    /// Beta used.
    pub beta: f64,
    /// Forewarner's scale used.
    pub mc_scale: f64,
}

/// The side of a fill.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fill {
    pub price: f64,
    pub maker: Option<bool>,
    /// Fee as a fraction of the notional at entry.
    pub fee: f64,
}

/// Where on the time line something happened.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct When {
    pub tick: u64,
    pub bar: u32,
    pub date: Date,
}

/// A closed position. [`TradeRecord`] is the same with the symbol's name.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Trade {
    /// What was held.
    pub position: Position,
    /// Lifetime tick of the exit.
    pub exit_tick: u64,
    /// Tick of the day of the exit.
    pub exit_bar: u32,
    /// Date of the exit.
    #[serde(with = "date_text")]
    pub exit_date: Date,
    /// Exit price.
    pub exit_price: f64,
    /// Was the exit made?
    pub maker_exit: Option<bool>,
    /// Both fees, quote asset (negative: rebate).
    pub fees: f64,
    /// Profit before fees, quote asset.
    pub gross_pnl: f64,
    /// Profit, quote asset.
    pub pnl: f64,
    /// Capital after it.
    pub capital_after: f64,
    /// Why it was closed.
    pub reason: ExitReason,
}

impl Trade {
    /// Closes `position` (SPEC §3.10).
    pub(crate) fn close(
        position: Position,
        exit: Fill,
        when: When,
        reason: ExitReason,
        capital: f64,
    ) -> Self {
        let p = position;
        let gross_pnl = p.notional * f64::from(p.direction) * (exit.price / p.entry_price - 1.0);
        let fees = p.notional * (p.fee_entry + exit.fee);
        let pnl = gross_pnl - fees;
        Self {
            position,
            exit_tick: when.tick,
            exit_bar: when.bar,
            exit_date: when.date,
            exit_price: exit.price,
            maker_exit: exit.maker,
            fees,
            gross_pnl,
            pnl,
            capital_after: capital + pnl,
            reason,
        }
    }

    /// The record that files and memory hold.
    pub fn record(&self, assets: &[String]) -> TradeRecord {
        let p = &self.position;
        TradeRecord {
            symbol: assets.get(p.symbol.index()).cloned().unwrap_or_default(),
            direction: p.direction,
            entry_date: p.entry_date,
            entry_bar: p.entry_bar,
            exit_date: self.exit_date,
            exit_bar: self.exit_bar,
            bars_held: self.exit_tick - p.entry_tick,
            entry_price: p.entry_price,
            exit_price: self.exit_price,
            notional: p.notional,
            leverage: p.leverage,
            vel_div: p.vel_div,
            bucket: p.bucket,
            boost: p.boost,
            beta: p.beta,
            mc_scale: p.mc_scale,
            maker_entry: p.maker_entry,
            maker_exit: self.maker_exit,
            fees: self.fees,
            gross_pnl: self.gross_pnl,
            pnl: self.pnl,
            capital_after: self.capital_after,
            reason: self.reason,
        }
    }
}

/// A trade as it is written (SPEC §3.11).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the names are the documented columns of SPEC §3.11")]
pub struct TradeRecord {
    pub symbol: String,
    pub direction: i8,
    #[serde(with = "date_text")]
    pub entry_date: Date,
    pub entry_bar: u32,
    #[serde(with = "date_text")]
    pub exit_date: Date,
    pub exit_bar: u32,
    /// In ticks.
    pub bars_held: u64,
    pub entry_price: f64,
    pub exit_price: f64,
    pub notional: f64,
    pub leverage: f64,
    pub vel_div: f64,
    pub bucket: u8,
    pub boost: f64,
    pub beta: f64,
    pub mc_scale: f64,
    pub maker_entry: Option<bool>,
    pub maker_exit: Option<bool>,
    pub fees: f64,
    pub gross_pnl: f64,
    pub pnl: f64,
    pub capital_after: f64,
    pub reason: ExitReason,
}

/// An open position as it is written: [`Position`] with the symbol's name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[expect(missing_docs, reason = "the fields are those of Position")]
pub struct OpenPosition {
    pub symbol: String,
    pub direction: i8,
    pub entry_price: f64,
    pub notional: f64,
    pub leverage: f64,
    pub entry_tick: u64,
    pub entry_bar: u32,
    #[serde(with = "date_text")]
    pub entry_date: Date,
    pub maker_entry: Option<bool>,
    pub fee_entry: f64,
    pub vel_div: f64,
    pub bucket: u8,
    pub boost: f64,
    pub beta: f64,
    pub mc_scale: f64,
}

impl Position {
    /// The record that files and memory hold.
    pub fn record(&self, assets: &[String]) -> OpenPosition {
        OpenPosition {
            symbol: assets.get(self.symbol.index()).cloned().unwrap_or_default(),
            direction: self.direction,
            entry_price: self.entry_price,
            notional: self.notional,
            leverage: self.leverage,
            entry_tick: self.entry_tick,
            entry_bar: self.entry_bar,
            entry_date: self.entry_date,
            maker_entry: self.maker_entry,
            fee_entry: self.fee_entry,
            vel_div: self.vel_div,
            bucket: self.bucket,
            boost: self.boost,
            beta: self.beta,
            mc_scale: self.mc_scale,
        }
    }
}

/// Dates as `YYYY-MM-DD`.
pub(crate) mod date_text {
    use market::Date;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub fn serialize<S: Serializer>(date: &Date, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(date)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Date, D::Error> {
        let text = Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|_| D::Error::custom(format!("`{text}` is not a date YYYY-MM-DD")))
    }
}
