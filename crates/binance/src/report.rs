//! The venue's rows about orders to execution reports: what replies, queries and user events share.

use market::{
    Amount, ExecType, ExecutionReport, Increment, Instrument, Nanos, NumberError, OrderOrigin, OrderStatus,
    Px, Qty, Side, SymbolId,
};

use crate::json::{JsonError, Reader, Scalar, unescape};
use crate::symbols::Symbols;

/// Why a private frame or reply was refused. It was refused whole: nothing of it has been applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Not JSON.
    #[error(transparent)]
    Json(#[from] JsonError),
    /// A field that must be there is missing or of a type that cannot be read.
    #[error("{frame}: field `{field}` is missing or unreadable")]
    Field {
        /// Kind of frame.
        frame: &'static str,
        /// Field name on the wire.
        field: &'static str,
    },
    /// A quantity that is not in the symbol's lots: its filters may have changed (read exchangeInfo again).
    #[error("{frame}: field `{field}` = `{text}`: {why}")]
    Number {
        /// Kind of frame.
        frame: &'static str,
        /// Field name on the wire.
        field: &'static str,
        /// As received (cut to 40 characters).
        text: String,
        /// What is wrong with it.
        why: NumberError,
    },
    /// A symbol that is not in the session's table.
    #[error("{frame}: `{symbol}` is not among this session's symbols")]
    UnlistedSymbol {
        /// Kind of frame.
        frame: &'static str,
        /// Symbol as received.
        symbol: String,
    },
}

/// Reads fields of one frame kind against one instrument.
#[derive(Clone, Copy)]
pub(crate) struct Fields<'i> {
    pub(crate) frame: &'static str,
    pub(crate) instrument: &'i Instrument,
}

impl Fields<'_> {
    fn bad(&self, field: &'static str, text: &str, why: NumberError) -> FrameError {
        FrameError::Number { frame: self.frame, field, text: text.chars().take(40).collect(), why }
    }

    pub(crate) fn missing(&self, field: &'static str) -> FrameError {
        FrameError::Field { frame: self.frame, field }
    }

    /// A quantity; a missing or empty one is zero. It is exact or refused: positions are made of it.
    pub(crate) fn qty(&self, field: &'static str, value: Scalar<'_>) -> Result<Qty, FrameError> {
        match value.filled() {
            None => Ok(Qty::ZERO),
            Some(t) => {
                self.instrument.lot.parse_count(t.as_bytes()).map(Qty).map_err(|e| self.bad(field, t, e))
            }
        }
    }

    /// A signed quantity (a position).
    pub(crate) fn signed_qty(&self, field: &'static str, value: Scalar<'_>) -> Result<Qty, FrameError> {
        let text = value.filled().ok_or_else(|| self.missing(field))?;
        let (sign, digits) = match text.strip_prefix('-') {
            Some(rest) => (-1, rest),
            None => (1, text),
        };
        let count =
            self.instrument.lot.parse_count(digits.as_bytes()).map_err(|e| self.bad(field, text, e))?;
        Ok(Qty(sign * count))
    }

    /// A price; a missing or empty one is zero. One that is off the ticks goes to the nearest: bankruptcy and
    /// settlement prices are not made of ticks, and a fill must not be lost for that.
    pub(crate) fn px(&self, field: &'static str, value: Scalar<'_>) -> Result<Px, FrameError> {
        let Some(text) = value.filled() else { return Ok(Px::ZERO) };
        match self.instrument.tick.parse_count(text.as_bytes()) {
            Ok(count) => Ok(Px(count)),
            Err(NumberError::OffGrid) => nearest(self.instrument.tick, text)
                .map(Px)
                .ok_or_else(|| self.bad(field, text, NumberError::OutOfRange)),
            Err(why) => Err(self.bad(field, text, why)),
        }
    }

    /// An amount of the quote asset; a missing or empty one is zero.
    pub(crate) fn amount(&self, field: &'static str, value: Scalar<'_>) -> Result<Amount, FrameError> {
        match value.filled() {
            None => Ok(Amount::ZERO),
            Some(t) => Amount::parse(t.as_bytes()).map_err(|e| self.bad(field, t, e)),
        }
    }
}

fn nearest(increment: Increment, text: &str) -> Option<i64> {
    increment.nearest(fast_float2::parse(text).ok()?)
}

/// The instrument that a frame is about.
pub(crate) fn instrument<'s>(
    symbols: &'s Symbols,
    frame: &'static str,
    field: &'static str,
    value: Scalar<'_>,
) -> Result<&'s Instrument, FrameError> {
    let text = value.filled().ok_or(FrameError::Field { frame, field })?;
    let name = unescape(text);
    symbols.by_name(&name).ok_or_else(|| FrameError::UnlistedSymbol { frame, symbol: name.into_owned() })
}

/// The venue's order status; what it may add in future is not known.
pub(crate) fn status(text: &str) -> OrderStatus {
    match text {
        "NEW" | "NEW_INSURANCE" | "NEW_ADL" => OrderStatus::New,
        "PARTIALLY_FILLED" => OrderStatus::PartiallyFilled,
        "FILLED" => OrderStatus::Filled,
        "CANCELED" => OrderStatus::Canceled,
        "REJECTED" => OrderStatus::Rejected,
        "EXPIRED" | "EXPIRED_IN_MATCH" => OrderStatus::Expired,
        _ => OrderStatus::Unknown,
    }
}

/// Buy or sell.
pub(crate) fn side(text: &str) -> Option<Side> {
    match text {
        "BUY" => Some(Side::Buy),
        "SELL" => Some(Side::Sell),
        _ => None,
    }
}

/// Whose order, by its client order id.
pub(crate) fn origin(value: Scalar<'_>) -> OrderOrigin {
    match value.text() {
        // Deliveries are closed like settlements, under a name of their own.
        Some(id) if id.starts_with("delivery_autoclose-") => OrderOrigin::Settlement,
        Some(id) => OrderOrigin::from_text(id),
        None => OrderOrigin::External,
    }
}

/// A report with nothing in it but instrument and origin.
pub(crate) fn blank_report(symbol: SymbolId, origin: OrderOrigin, exec_type: ExecType) -> ExecutionReport {
    ExecutionReport {
        symbol,
        origin,
        order_id: 0,
        exec_type,
        status: OrderStatus::Unknown,
        side: Side::Buy,
        px: Px::ZERO,
        qty: Qty::ZERO,
        last_px: Px::ZERO,
        last_qty: Qty::ZERO,
        cum_qty: Qty::ZERO,
        leaves_qty: Qty::ZERO,
        trade_id: 0,
        commission: Amount::ZERO,
        realised: Amount::ZERO,
        maker: false,
        reduce_only: false,
        code: 0,
        ts_event: Nanos(0),
    }
}

/// What is still open of an order.
pub(crate) fn leaves(status: OrderStatus, qty: Qty, cum: Qty) -> Qty {
    if status.is_done() { Qty::ZERO } else { Qty((qty - cum).0.max(0)) }
}

/// An order as REST and the WebSocket API tell it (a reply to place, modify, cancel, query; a row of openOrders).
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OrderRow<'a> {
    symbol: Scalar<'a>,
    order_id: Scalar<'a>,
    client_order_id: Scalar<'a>,
    status: Scalar<'a>,
    side: Scalar<'a>,
    price: Scalar<'a>,
    orig_qty: Scalar<'a>,
    executed_qty: Scalar<'a>,
    reduce_only: Scalar<'a>,
    update_time: Scalar<'a>,
}

impl<'a> OrderRow<'a> {
    /// Reads the object that comes next.
    pub(crate) fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut row = Self::default();
        reader.object(&mut |r, key| row.field(r, key))?;
        Ok(row)
    }

    fn field(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), JsonError> {
        let value = reader.scalar()?;
        match key {
            "symbol" => self.symbol = value,
            "orderId" => self.order_id = value,
            "clientOrderId" => self.client_order_id = value,
            "status" => self.status = value,
            "side" => self.side = value,
            "price" => self.price = value,
            "origQty" => self.orig_qty = value,
            "executedQty" => self.executed_qty = value,
            "reduceOnly" => self.reduce_only = value,
            "updateTime" => self.update_time = value,
            _ => {}
        }
        Ok(())
    }

    /// The report of this state. `exec_type` says why it came.
    pub(crate) fn report(
        &self,
        symbols: &Symbols,
        exec_type: ExecType,
    ) -> Result<ExecutionReport, FrameError> {
        const FRAME: &str = "order";
        let instrument = instrument(symbols, FRAME, "symbol", self.symbol)?;
        let fields = Fields { frame: FRAME, instrument };
        let status = status(self.status.filled().ok_or_else(|| fields.missing("status"))?);
        let qty = fields.qty("origQty", self.orig_qty)?;
        let cum = fields.qty("executedQty", self.executed_qty)?;
        Ok(ExecutionReport {
            order_id: self.order_id.u64().ok_or_else(|| fields.missing("orderId"))?,
            status,
            side: self.side.text().and_then(side).ok_or_else(|| fields.missing("side"))?,
            px: fields.px("price", self.price)?,
            qty,
            cum_qty: cum,
            leaves_qty: leaves(status, qty, cum),
            reduce_only: self.reduce_only.bool().unwrap_or(false),
            ts_event: Nanos::from_millis(self.update_time.u64().unwrap_or(0)),
            ..blank_report(instrument.id, origin(self.client_order_id), exec_type)
        })
    }
}
