//! The venue's words about orders and fills to execution reports: the one reader for the user stream, the replies of the
//! WebSocket API, and REST.
//!
//! The same facts come under three sets of names ([`Source`]). The table of [`order_fields!`] below holds them side by
//! side; what a fact cannot do without, and what its numbers mean, is decided once, in [`OrderRow::report`].

use market::{
    Amount, ExecType, ExecutionReport, Increment, Instrument, Nanos, NewOrder, NumberError, OrderOrigin,
    OrderRequest, OrderStatus, Px, Qty, ReplaceOrder, Side, SymbolId,
};

use crate::errors::Class;
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

/// An amount of an asset as told; a missing or empty one is zero.
pub(crate) fn amount(
    frame: &'static str,
    field: &'static str,
    value: Scalar<'_>,
) -> Result<Amount, FrameError> {
    let Some(text) = value.filled() else { return Ok(Amount::ZERO) };
    Amount::parse(text.as_bytes()).map_err(|why| {
        let text = text.chars().take(40).collect();
        FrameError::Number { frame, field, text, why }
    })
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

/// Why an order event came. A type that the venue may add: the state beside it still holds.
fn exec_type(text: &str) -> ExecType {
    match text {
        "NEW" => ExecType::New,
        "TRADE" => ExecType::Trade,
        "CANCELED" => ExecType::Canceled,
        "EXPIRED" => ExecType::Expired,
        "AMENDMENT" => ExecType::Amendment,
        "CALCULATED" => ExecType::Calculated,
        "REJECTED" => ExecType::Rejected,
        _ => ExecType::Status,
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
fn origin(value: Scalar<'_>) -> OrderOrigin {
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

/// Who tells of an order, and so under which names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) enum Source {
    /// REST and the WebSocket API: the reply to place, modify, cancel, query; a row of openOrders or allOrders.
    #[default]
    Reply,
    /// The user stream: `o` of ORDER_TRADE_UPDATE, or TRADE_LITE itself.
    Event,
    /// A row of userTrades.
    Fill,
}

/// What is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fact {
    /// An order's state; the caller knows why it comes.
    State(ExecType),
    /// An order's state and why it comes, told with it.
    Event,
    /// A fill without its order's state: status, filled and open quantity are not told.
    Fill,
}

macro_rules! order_fields {
    ($($field:ident: $(reply $reply:literal)? $(event $event:literal)? $(fill $fill:literal)?;)*) => {
        /// An order or a fill as it stood on the wire.
        #[derive(Debug, Clone, Copy, Default)]
        pub(crate) struct OrderRow<'a> {
            source: Source,
            $($field: Scalar<'a>,)*
        }

        /// The names of one source, for errors; empty where it does not tell.
        #[expect(dead_code, reason = "made for all fields; errors name those that can be wrong")]
        struct Names {
            $($field: &'static str,)*
        }

        impl Source {
            const fn names(self) -> &'static Names {
                const REPLY: Names = Names { $($field: concat!($($reply)?),)* };
                const EVENT: Names = Names { $($field: concat!($($event)?),)* };
                const FILL: Names = Names { $($field: concat!($($fill)?),)* };
                match self {
                    Self::Reply => &REPLY,
                    Self::Event => &EVENT,
                    Self::Fill => &FILL,
                }
            }
        }

        impl<'a> OrderRow<'a> {
            fn slot(&mut self, key: &str) -> Option<&mut Scalar<'a>> {
                match (self.source, key) {
                    $(
                        $((Source::Reply, $reply) => Some(&mut self.$field),)?
                        $((Source::Event, $event) => Some(&mut self.$field),)?
                        $((Source::Fill, $fill) => Some(&mut self.$field),)?
                    )*
                    _ => None,
                }
            }
        }
    };
}

order_fields! {
    symbol:           reply "symbol"        event "s"  fill "symbol";
    order_id:         reply "orderId"       event "i"  fill "orderId";
    client_order_id:  reply "clientOrderId" event "c";
    side:             reply "side"          event "S"  fill "side";
    status:           reply "status"        event "X";
    exec_type:                              event "x";
    px:               reply "price"         event "p";
    qty:              reply "origQty"       event "q";
    cum_qty:          reply "executedQty"   event "z";
    last_px:                                event "L"  fill "price";
    last_qty:                               event "l"  fill "qty";
    trade_id:                               event "t"  fill "id";
    commission:                             event "n"  fill "commission";
    commission_asset:                       event "N"  fill "commissionAsset";
    realised:                               event "rp" fill "realizedPnl";
    maker:                                  event "m"  fill "maker";
    reduce_only:      reply "reduceOnly"    event "R";
    // An event's own `T` is of the match; its frame's, when it became known, counts for both of its kinds.
    updated:          reply "updateTime"               fill "time";
    created:          reply "time";
}

/// A commission that was paid in another asset than the quote asset.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct OtherCommission<'a> {
    pub(crate) asset: &'a str,
    pub(crate) amount: f64,
}

impl<'a> OrderRow<'a> {
    /// An empty row, to be filled by [`Self::set`].
    pub(crate) fn of(source: Source) -> Self {
        Self { source, ..Self::default() }
    }

    /// Reads the object that comes next.
    pub(crate) fn read(source: Source, reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut row = Self::of(source);
        reader.object(&mut |r, key| {
            row.set(key, r.scalar()?);
            Ok(())
        })?;
        Ok(row)
    }

    /// Takes a field, if it is one of its source's.
    pub(crate) fn set(&mut self, key: &str, value: Scalar<'a>) {
        if let Some(slot) = self.slot(key) {
            *slot = value;
        }
    }

    /// The symbol as told.
    pub(crate) const fn symbol(&self) -> Scalar<'a> {
        self.symbol
    }

    /// When the order was created, venue ms (REST alone tells it).
    pub(crate) fn created_ms(&self) -> Option<u64> {
        self.created.u64()
    }

    /// The report of `fact`; the instrument is looked up.
    pub(crate) fn report_of(
        &self,
        frame: &'static str,
        symbols: &Symbols,
        fact: Fact,
    ) -> Result<ExecutionReport, FrameError> {
        let instrument = instrument(symbols, frame, self.source.names().symbol, self.symbol)?;
        self.report(frame, instrument, fact)
    }

    /// The report of `fact`, whose instrument this is. `frame` names it in errors.
    pub(crate) fn report(
        &self,
        frame: &'static str,
        instrument: &Instrument,
        fact: Fact,
    ) -> Result<ExecutionReport, FrameError> {
        let (fields, names) = (Fields { frame, instrument }, self.source.names());
        let told = |value: Scalar<'a>, name| value.filled().ok_or_else(|| fields.missing(name));
        let exec_type = match fact {
            Fact::State(why) => why,
            Fact::Event => exec_type(told(self.exec_type, names.exec_type)?),
            Fact::Fill => ExecType::Trade,
        };
        let status = match fact {
            Fact::Fill => OrderStatus::Unknown,
            Fact::State(_) | Fact::Event => status(told(self.status, names.status)?),
        };
        let qty = fields.qty(names.qty, self.qty)?;
        let cum_qty = fields.qty(names.cum_qty, self.cum_qty)?;
        let last_qty = fields.qty(names.last_qty, self.last_qty)?;
        let trade_id = self.trade_id.u64().unwrap_or(0);
        let last_px = fields.px(names.last_px, self.last_px)?;
        if exec_type == ExecType::Trade {
            // A fill is known by its number, moves the position by its quantity and the wallet by its price and commission.
            // Without one of them it is none: the venue is asked for it.
            let lacking = [
                (trade_id == 0, names.trade_id),
                (last_qty <= Qty::ZERO, names.last_qty),
                (last_px <= Px::ZERO, names.last_px),
                (fact == Fact::Event && cum_qty < last_qty, names.cum_qty),
                (
                    self.commission.filled().is_none() && self.commission_asset.filled().is_some(),
                    names.commission,
                ),
                (
                    self.commission.filled().is_some() && self.commission_asset.filled().is_none(),
                    names.commission_asset,
                ),
            ];
            if let Some((_, field)) = lacking.into_iter().find(|(lacks, _)| *lacks) {
                return Err(fields.missing(field));
            }
        }
        let in_quote = self.other_commission(instrument).is_none();
        Ok(ExecutionReport {
            order_id: self.order_id.u64().ok_or_else(|| fields.missing(names.order_id))?,
            status,
            side: self.side.text().and_then(side).ok_or_else(|| fields.missing(names.side))?,
            px: fields.px(names.px, self.px)?,
            qty,
            last_px,
            last_qty,
            cum_qty: if fact == Fact::Fill { Qty::ZERO } else { cum_qty },
            leaves_qty: if fact == Fact::Fill { Qty::ZERO } else { leaves(status, qty, cum_qty) },
            trade_id,
            commission: if in_quote && self.commission_asset.filled().is_some() {
                amount(frame, names.commission, self.commission)?
            } else {
                Amount::ZERO
            },
            realised: amount(frame, names.realised, self.realised)?,
            maker: self.maker.bool().unwrap_or(false),
            reduce_only: self.reduce_only.bool().unwrap_or(false),
            ts_event: Nanos::from_millis(self.updated.u64().unwrap_or(0)),
            ..blank_report(instrument.id, origin(self.client_order_id), exec_type)
        })
    }

    /// The commission, if it was paid in another asset than the instrument's quote asset: the report has none then.
    pub(crate) fn other_commission(&self, instrument: &Instrument) -> Option<OtherCommission<'a>> {
        let asset = self.commission_asset.filled()?;
        let other = !instrument.symbol.ends_with(asset);
        other.then(|| OtherCommission { asset, amount: self.commission.f64().unwrap_or(0.0) })
    }
}

/// What is still open of an order.
fn leaves(status: OrderStatus, qty: Qty, cum: Qty) -> Qty {
    if status.is_done() { Qty::ZERO } else { Qty((qty - cum).0.max(0)) }
}

/// Why a report comes, by what was asked and the state that came back.
pub(crate) const fn reply_type(request: Option<&OrderRequest>, status: OrderStatus) -> ExecType {
    match (request, status) {
        (Some(OrderRequest::New(_)), OrderStatus::New) => ExecType::New,
        (Some(OrderRequest::New(_)), OrderStatus::Expired) => ExecType::Expired,
        (Some(OrderRequest::Replace(_)), OrderStatus::New | OrderStatus::PartiallyFilled) => {
            ExecType::Amendment
        }
        // A modify that would take, or that leaves nothing open, cancels the order.
        (Some(OrderRequest::Cancel(_) | OrderRequest::Replace(_)), OrderStatus::Canceled) => {
            ExecType::Canceled
        }
        _ => ExecType::Status,
    }
}

/// The report of a request that was refused or not answered.
pub(crate) fn error_report(request: &OrderRequest, class: Class, code: i32) -> ExecutionReport {
    let unknown = class == Class::Unknown;
    let report = |symbol, id, exec_type| ExecutionReport {
        code,
        ..blank_report(symbol, OrderOrigin::Ours(id), if unknown { ExecType::Unknown } else { exec_type })
    };
    match request {
        OrderRequest::New(NewOrder { symbol, client_order_id, side, px, qty, reduce_only, .. }) => {
            ExecutionReport {
                status: if unknown { OrderStatus::Unknown } else { OrderStatus::Rejected },
                side: *side,
                px: *px,
                qty: *qty,
                reduce_only: *reduce_only,
                ..report(*symbol, *client_order_id, ExecType::Rejected)
            }
        }
        OrderRequest::Replace(ReplaceOrder { symbol, client_order_id, side, px, qty }) => ExecutionReport {
            side: *side,
            px: *px,
            qty: *qty,
            ..report(*symbol, *client_order_id, ExecType::ReplaceRejected)
        },
        OrderRequest::Cancel(o) => report(o.symbol, o.client_order_id, ExecType::CancelRejected),
        // A query that failed says nothing about its order; only −2013 does.
        OrderRequest::Query(o) if code == -2013 => report(o.symbol, o.client_order_id, ExecType::NotFound),
        OrderRequest::Query(o) => report(o.symbol, o.client_order_id, ExecType::Unknown),
        OrderRequest::CancelAll(symbol) => {
            ExecutionReport { code, ..blank_report(*symbol, OrderOrigin::External, ExecType::CancelRejected) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One fill of one order under the names of all sources: what they tell, they tell alike.
    #[test]
    fn three_sources_one_meaning() {
        let grid = (Increment::decimals(2), Increment::decimals(3));
        let symbols = Symbols::new(vec![Instrument::plain(SymbolId(0), "BTCUSDT", grid.0, grid.1)]);
        let report = |source, text: &str, fact| {
            let mut reader = Reader::new(text.as_bytes()).unwrap();
            let row = OrderRow::read(source, &mut reader).unwrap();
            row.report_of("test", &symbols, fact).unwrap()
        };
        let event = report(
            Source::Event,
            r#"{"s":"BTCUSDT","c":"dlp-1-2-3","S":"SELL","q":"0.300","p":"84146.5","x":"TRADE","X":"PARTIALLY_FILLED",
                "i":9,"l":"0.1","z":"0.200","L":"84146.51","n":"0.02","N":"USDT","t":31,"m":true,"R":true,"rp":"-0.5"}"#,
            Fact::Event,
        );
        let reply = report(
            Source::Reply,
            r#"{"symbol":"BTCUSDT","clientOrderId":"dlp-1-2-3","side":"SELL","origQty":"0.3","price":"84146.50",
                "status":"PARTIALLY_FILLED","orderId":"9","executedQty":"0.2","reduceOnly":true}"#,
            Fact::State(ExecType::Status),
        );
        assert_eq!((event.exec_type, reply.exec_type), (ExecType::Trade, ExecType::Status));
        assert_eq!(
            (event.px, event.qty, event.cum_qty, event.leaves_qty, event.status, event.reduce_only),
            (reply.px, reply.qty, reply.cum_qty, reply.leaves_qty, reply.status, reply.reduce_only)
        );
        assert_eq!((event.origin, event.order_id, event.side), (reply.origin, reply.order_id, reply.side));
        let fill = report(
            Source::Fill,
            r#"{"symbol":"BTCUSDT","id":31,"orderId":9,"side":"SELL","price":"84146.51","qty":"0.100","realizedPnl":"-0.50",
                "commission":"0.020","commissionAsset":"USDT","maker":true,"time":5}"#,
            Fact::Fill,
        );
        assert_eq!(
            (fill.status, fill.cum_qty, fill.leaves_qty),
            (OrderStatus::Unknown, Qty::ZERO, Qty::ZERO)
        );
        assert_eq!(
            (event.trade_id, event.last_px, event.last_qty, event.commission, event.realised, event.maker),
            (fill.trade_id, fill.last_px, fill.last_qty, fill.commission, fill.realised, fill.maker)
        );
    }
}
