//! Account rows of the REST API.

use market::{
    Amount, ExecutionReport, Instrument, Nanos, PositionSide, Qty, Side, SymbolId, Trade, TradeKind,
};

use crate::json::{JsonError, Reader, Scalar};
use crate::report::{Fact, Fields, FrameError, OrderRow, Source};
use crate::symbols::Symbols;

/// A balance.
#[derive(Debug, Clone, PartialEq)]
pub struct Balance {
    /// Asset.
    pub asset: String,
    /// Wallet balance.
    pub wallet: Amount,
    /// What can be used for new positions.
    pub available: Amount,
    /// Unrealised profit of crossed positions.
    pub unrealised: Amount,
}

/// Totals of the account in the quote asset.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct AccountSummary {
    /// Wallet balance.
    pub wallet: Amount,
    /// Wallet and unrealised profit.
    pub margin: Amount,
    /// Unrealised profit.
    pub unrealised: Amount,
    /// What can be used for new positions.
    pub available: Amount,
    /// Maintenance margin.
    pub maintenance: Amount,
}

/// A position.
#[derive(Debug, Clone, PartialEq)]
pub struct Position {
    /// Venue name.
    pub symbol: String,
    /// Instrument, if it is in the session's table.
    pub id: Option<SymbolId>,
    /// Which position.
    pub side: PositionSide,
    /// Signed quantity in lots (zero for a symbol that is not in the table; see `amount`).
    pub qty: Qty,
    /// Signed quantity in units of the asset.
    pub amount: f64,
    /// Entry price.
    pub entry_px: f64,
    /// Mark price.
    pub mark_px: f64,
    /// Liquidation price (0 = none).
    pub liquidation_px: f64,
    /// Unrealised profit.
    pub unrealised: Amount,
    /// When it changed last, venue time; `None`: the venue does not say.
    pub updated: Option<Nanos>,
}

/// Leverage as set.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leverage {
    /// Leverage.
    pub leverage: u32,
    /// Largest position value at it (quote asset).
    pub max_notional: f64,
}

/// Fees as fractions (negative = rebate).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CommissionRate {
    /// Resting.
    pub maker: f64,
    /// Taking.
    pub taker: f64,
}

/// How the account is set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AccountConfig {
    /// May it trade?
    pub can_trade: bool,
    /// Hedge mode.
    pub dual_side: bool,
    /// Multi-assets mode.
    pub multi_assets: bool,
}

/// How a symbol is set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SymbolConfig {
    /// Venue name.
    pub symbol: String,
    /// Leverage.
    pub leverage: u32,
    /// Isolated margin.
    pub isolated: bool,
}

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ApiRestrictions {
    /// Bound to addresses.
    pub ip_restricted: bool,
    /// May withdraw: such a key is refused.
    pub withdrawals: bool,
    /// May transfer between accounts: such a key is refused.
    pub transfers: bool,
    /// May trade futures.
    pub futures: bool,
}

/// A change of the wallet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Income {
    /// Asset.
    pub asset: String,
    /// Signed.
    pub amount: Amount,
    /// Symbol, empty for transfers.
    pub symbol: String,
    /// Venue's id, unique within a kind.
    pub id: u64,
    /// Venue time.
    pub ts_event: Nanos,
}

/// The named scalars of one object.
pub(crate) struct Row<'a, const N: usize> {
    names: &'static [&'static str; N],
    values: [Scalar<'a>; N],
}

impl<'a, const N: usize> Row<'a, N> {
    /// Reads the object that comes next.
    pub(crate) fn read(
        names: &'static [&'static str; N],
        reader: &mut Reader<'a>,
    ) -> Result<Self, JsonError> {
        let mut values = [Scalar::Missing; N];
        reader.object(&mut |r, key| {
            let value = r.scalar()?;
            if let Some(i) = names.iter().position(|n| *n == key) {
                values[i] = value;
            }
            Ok(())
        })?;
        Ok(Self { names, values })
    }

    /// Reads a document that is such an object.
    pub(crate) fn document(names: &'static [&'static str; N], body: &'a [u8]) -> Result<Self, JsonError> {
        let mut reader = Reader::new(body)?;
        let row = Self::read(names, &mut reader)?;
        reader.end()?;
        Ok(row)
    }

    /// Reads a document that is a list of such objects.
    pub(crate) fn list(names: &'static [&'static str; N], body: &'a [u8]) -> Result<Vec<Self>, JsonError> {
        let mut rows = Vec::new();
        Reader::new(body)?.list(&mut |r| {
            rows.push(Self::read(names, r)?);
            Ok(())
        })?;
        Ok(rows)
    }

    pub(crate) fn get(&self, name: &str) -> Scalar<'a> {
        self.names.iter().position(|n| *n == name).map_or(Scalar::Missing, |i| self.values[i])
    }

    pub(crate) fn need<T>(
        &self,
        frame: &'static str,
        name: &'static str,
        read: impl Fn(Scalar<'a>) -> Option<T>,
    ) -> Result<T, FrameError> {
        read(self.get(name)).ok_or(FrameError::Field { frame, field: name })
    }
}

fn amount(value: Scalar<'_>) -> Option<Amount> {
    Amount::parse(value.filled()?.as_bytes()).ok()
}

pub(crate) fn balances(body: &[u8]) -> Result<Vec<Balance>, FrameError> {
    const FRAME: &str = "balance";
    let rows = Row::list(&["asset", "balance", "availableBalance", "crossUnPnl"], body)?;
    rows.iter()
        .map(|row| {
            Ok(Balance {
                asset: row.need(FRAME, "asset", Scalar::filled)?.to_owned(),
                wallet: row.need(FRAME, "balance", amount)?,
                available: amount(row.get("availableBalance")).unwrap_or_default(),
                unrealised: amount(row.get("crossUnPnl")).unwrap_or_default(),
            })
        })
        .collect()
}

pub(crate) fn summary(body: &[u8]) -> Result<AccountSummary, FrameError> {
    const FRAME: &str = "account";
    const NAMES: [&str; 5] = [
        "totalWalletBalance",
        "totalMarginBalance",
        "totalUnrealizedProfit",
        "availableBalance",
        "totalMaintMargin",
    ];
    let row = Row::document(&NAMES, body)?;
    Ok(AccountSummary {
        wallet: row.need(FRAME, NAMES[0], amount)?,
        margin: row.need(FRAME, NAMES[1], amount)?,
        unrealised: row.need(FRAME, NAMES[2], amount)?,
        available: row.need(FRAME, NAMES[3], amount)?,
        maintenance: row.need(FRAME, NAMES[4], amount)?,
    })
}

pub(crate) fn positions(body: &[u8], symbols: &Symbols) -> Result<Vec<Position>, FrameError> {
    const FRAME: &str = "positionRisk";
    const NAMES: [&str; 8] = [
        "symbol",
        "updateTime",
        "positionSide",
        "positionAmt",
        "entryPrice",
        "markPrice",
        "liquidationPrice",
        "unRealizedProfit",
    ];
    let rows = Row::list(&NAMES, body)?;
    rows.iter()
        .map(|row| {
            let symbol = row.need(FRAME, "symbol", Scalar::filled)?;
            let instrument = symbols.by_name(&crate::json::unescape(symbol));
            let qty = match instrument {
                Some(i) => Fields { frame: FRAME, instrument: i }
                    .signed_qty("positionAmt", row.get("positionAmt"))?,
                None => Qty::ZERO,
            };
            Ok(Position {
                symbol: crate::json::unescape(symbol).into_owned(),
                id: instrument.map(|i| i.id),
                side: match row.get("positionSide").text() {
                    Some("LONG") => PositionSide::Long,
                    Some("SHORT") => PositionSide::Short,
                    _ => PositionSide::Both,
                },
                qty,
                amount: row.need(FRAME, "positionAmt", Scalar::f64)?,
                entry_px: row.get("entryPrice").f64().unwrap_or(0.0),
                mark_px: row.get("markPrice").f64().unwrap_or(0.0),
                liquidation_px: row.get("liquidationPrice").f64().unwrap_or(0.0),
                unrealised: amount(row.get("unRealizedProfit")).unwrap_or_default(),
                updated: row.get("updateTime").u64().filter(|ms| *ms > 0).map(Nanos::from_millis),
            })
        })
        .collect()
}

/// Fills. The venue does not tell the client order id here: `origin` is `External`, match by `order_id`.
pub(crate) fn user_trades(body: &[u8], symbols: &Symbols) -> Result<Vec<ExecutionReport>, FrameError> {
    let mut rows = Vec::new();
    Reader::new(body)?.list(&mut |r| {
        rows.push(OrderRow::read(Source::Fill, r)?);
        Ok(())
    })?;
    rows.iter().map(|row| row.report_of("userTrades", symbols, Fact::Fill)).collect()
}

/// Changes of the wallet.
pub(crate) fn income(body: &[u8]) -> Result<Vec<Income>, FrameError> {
    const FRAME: &str = "income";
    let rows = Row::list(&["asset", "income", "symbol", "tranId", "time"], body)?;
    rows.iter()
        .map(|row| {
            Ok(Income {
                asset: row.need(FRAME, "asset", Scalar::filled)?.to_owned(),
                amount: row.need(FRAME, "income", amount)?,
                symbol: crate::json::unescape(row.get("symbol").text().unwrap_or("")).into_owned(),
                id: row.need(FRAME, "tranId", Scalar::u64)?,
                ts_event: Nanos::from_millis(row.need(FRAME, "time", Scalar::u64)?),
            })
        })
        .collect()
}

/// Aggregate trades. REST tells no send time: the time of the trade stands in for it.
pub(crate) fn agg_trades(body: &[u8], instrument: &Instrument) -> Result<Vec<Trade>, FrameError> {
    const FRAME: &str = "aggTrades";
    let fields = Fields { frame: FRAME, instrument };
    let rows = Row::list(&["a", "p", "q", "T", "m"], body)?;
    rows.iter()
        .map(|row| {
            let ts_event = Nanos::from_millis(row.need(FRAME, "T", Scalar::u64)?);
            let sold = row.need(FRAME, "m", Scalar::bool)?;
            Ok(Trade {
                symbol: instrument.id,
                kind: TradeKind::Aggregate,
                id: row.need(FRAME, "a", Scalar::u64)?,
                ts_event,
                ts_send: ts_event,
                px: fields.px("p", row.get("p"))?,
                qty: fields.qty("q", row.get("q"))?,
                aggressor: if sold { Side::Sell } else { Side::Buy },
            })
        })
        .collect()
}

pub(crate) fn leverage(body: &[u8]) -> Result<Leverage, FrameError> {
    let row = Row::document(&["leverage", "maxNotionalValue"], body)?;
    Ok(Leverage {
        leverage: row.need("leverage", "leverage", |v| v.u64().and_then(|l| u32::try_from(l).ok()))?,
        max_notional: row.get("maxNotionalValue").f64().unwrap_or(0.0),
    })
}

pub(crate) fn commission_rate(body: &[u8]) -> Result<CommissionRate, FrameError> {
    let row = Row::document(&["makerCommissionRate", "takerCommissionRate"], body)?;
    Ok(CommissionRate {
        maker: row.need("commissionRate", "makerCommissionRate", Scalar::f64)?,
        taker: row.need("commissionRate", "takerCommissionRate", Scalar::f64)?,
    })
}

pub(crate) fn account_config(body: &[u8]) -> Result<AccountConfig, FrameError> {
    let row = Row::document(&["canTrade", "dualSidePosition", "multiAssetsMargin"], body)?;
    Ok(AccountConfig {
        can_trade: row.need("accountConfig", "canTrade", Scalar::bool)?,
        dual_side: row.need("accountConfig", "dualSidePosition", Scalar::bool)?,
        multi_assets: row.get("multiAssetsMargin").bool().unwrap_or(false),
    })
}

pub(crate) fn symbol_configs(body: &[u8]) -> Result<Vec<SymbolConfig>, FrameError> {
    let rows = Row::list(&["symbol", "leverage", "marginType"], body)?;
    rows.iter()
        .map(|row| {
            Ok(SymbolConfig {
                symbol: row.need("symbolConfig", "symbol", Scalar::filled)?.to_owned(),
                leverage: row
                    .need("symbolConfig", "leverage", |v| v.u64().and_then(|l| u32::try_from(l).ok()))?,
                isolated: row.get("marginType").text().is_some_and(|m| m.eq_ignore_ascii_case("isolated")),
            })
        })
        .collect()
}

pub(crate) fn restrictions(body: &[u8]) -> Result<ApiRestrictions, FrameError> {
    const FRAME: &str = "apiRestrictions";
    const NAMES: [&str; 5] = [
        "ipRestrict",
        "enableWithdrawals",
        "permitsUniversalTransfer",
        "enableInternalTransfer",
        "enableFutures",
    ];
    let row = Row::document(&NAMES, body)?;
    Ok(ApiRestrictions {
        ip_restricted: row.need(FRAME, NAMES[0], Scalar::bool)?,
        withdrawals: row.need(FRAME, NAMES[1], Scalar::bool)?,
        transfers: [NAMES[2], NAMES[3]].iter().any(|n| row.get(n).bool() == Some(true)),
        futures: row.need(FRAME, NAMES[4], Scalar::bool)?,
    })
}
