//! User data frames to events (BINANCE.md §3.4).
//!
//! One frame may hold several facts (an account update lists balances and positions), so a frame becomes a list,
//! made complete before anything of it is given out: a frame is taken whole or refused whole. Frames arrive raw or
//! wrapped (`{"stream":…,"data":{…}}`), with fields missing, added, reordered or of another type; only what a fact
//! cannot do without is demanded. Orders that we never sent (liquidation, ADL, settlement, by hand) are reported
//! like ours: they move the position all the same.
//!
//! The same fill is told twice, by TRADE_LITE first and by ORDER_TRADE_UPDATE after it, with the same trade id:
//! (symbol, trade id) is one fill, however often it is told. A fill may be told before its order's NEW.

use arrayvec::ArrayString;
use market::{Amount, ExecutionReport, Nanos, PositionSide, Qty, Side, SymbolId};

use crate::json::{JsonError, Reader, Scalar, unescape};
use crate::report::{self, Fact, Fields, FrameError, OrderRow, Source, amount};
use crate::symbols::Symbols;

/// A short venue name: an asset or a symbol that is not ours.
pub type Name = ArrayString<32>;
/// A text of the venue, cut.
pub type Text = ArrayString<96>;

macro_rules! kinds {
    ($($kind:ident $name:literal,)*) => {
        /// The kinds of user events that the venue has. A stream delivers those that its URL names (SPEC §8).
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum UserEventKind {
            $(#[doc = concat!("`", $name, "`.")] $kind,)*
        }

        impl UserEventKind {
            /// All kinds.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)*];

            /// On the wire.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$kind => $name,)*
                }
            }

            /// The kind of this name on the wire.
            pub fn of(name: &str) -> Option<Self> {
                match name {
                    $($name => Some(Self::$kind),)*
                    _ => None,
                }
            }
        }
    };
}

kinds! {
    OrderTradeUpdate "ORDER_TRADE_UPDATE",
    AccountUpdate "ACCOUNT_UPDATE",
    TradeLite "TRADE_LITE",
    MarginCall "MARGIN_CALL",
    AccountConfigUpdate "ACCOUNT_CONFIG_UPDATE",
    AlgoUpdate "ALGO_UPDATE",
    TriggerReject "CONDITIONAL_ORDER_TRIGGER_REJECT",
    StrategyUpdate "STRATEGY_UPDATE",
    GridUpdate "GRID_UPDATE",
    ListenKeyExpired "listenKeyExpired",
}

/// Where a conditional order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AlgoStatus {
    /// Waits for its trigger.
    New,
    /// Its trigger is being worked on.
    Triggering,
    /// Its order has been placed.
    Triggered,
    /// Done: its order was filled or cancelled.
    Finished,
    /// Done: cancelled before its trigger.
    Canceled,
    /// Done: the venue refused it.
    Rejected,
    /// Done: the venue gave it up.
    Expired,
    /// Not known here.
    Unknown,
}

/// News of a conditional order.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AlgoUpdate {
    /// Instrument.
    pub symbol: SymbolId,
    /// The venue's id of the conditional order.
    pub algo_id: u64,
    /// Its maker's id of it.
    pub client_algo_id: ArrayString<40>,
    /// Where it stands.
    pub status: AlgoStatus,
    /// Side.
    pub side: Side,
    /// Quantity in lots (0: it closes the position).
    pub qty: Qty,
    /// The order that it placed (0: none yet).
    pub order_id: u64,
    /// Closes the whole position.
    pub close_position: bool,
    /// Why it was refused, where it was.
    pub reason: Text,
    /// Venue time.
    pub ts_event: Nanos,
}

/// A fact from the user data stream.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum UserEvent {
    /// News of an order, ours or not.
    Report(ExecutionReport),
    /// A fill's commission was paid in another asset (BNB): the report before it has none.
    OtherCommission {
        /// Instrument.
        symbol: SymbolId,
        /// Trade id of the fill.
        trade_id: u64,
        /// Asset it was paid in.
        asset: Name,
        /// Amount of that asset.
        amount: f64,
    },
    /// A balance after a change.
    Balance {
        /// Why (`ORDER`, `FUNDING_FEE`, `DEPOSIT`, …).
        reason: Name,
        /// Asset.
        asset: Name,
        /// Wallet balance.
        wallet: Amount,
        /// Change apart from realised profit and commission (funding, transfers).
        change: Amount,
        /// Venue time.
        ts_event: Nanos,
    },
    /// A position after a change.
    Position {
        /// Why.
        reason: Name,
        /// Instrument.
        symbol: SymbolId,
        /// Which position.
        side: PositionSide,
        /// Signed quantity.
        qty: Qty,
        /// Entry price.
        entry_px: f64,
        /// Unrealised profit in the quote asset.
        unrealised: Amount,
        /// Isolated margin.
        isolated: bool,
        /// Venue time.
        ts_event: Nanos,
    },
    /// An order or position of a symbol that is not in the session's table: somebody else trades on this account.
    Unlisted {
        /// Symbol.
        symbol: Name,
        /// The position after it, in units of the asset, where it is told.
        position: Option<f64>,
        /// Venue time.
        ts_event: Nanos,
    },
    /// A margin call for a position.
    MarginCall {
        /// Symbol.
        symbol: Name,
        /// Signed quantity, in units of the asset.
        position: f64,
        /// Maintenance margin needed.
        maintenance: f64,
        /// Venue time.
        ts_event: Nanos,
    },
    /// The listen key has expired: nothing more comes on this connection, even if it stays open.
    ListenKeyExpired,
    /// Leverage of a symbol, or the multi-assets mode, was changed from outside.
    ConfigUpdate {
        /// Symbol whose leverage changed.
        symbol: Option<Name>,
        /// New leverage.
        leverage: Option<u32>,
        /// New multi-assets mode.
        multi_assets: Option<bool>,
    },
    /// News of a conditional order, ours or not.
    Algo(AlgoUpdate),
    /// A conditional order was triggered and its order refused: nothing was placed.
    TriggerRejected {
        /// Symbol.
        symbol: Name,
        /// The venue's id of the order.
        order_id: u64,
        /// Why, in the venue's words.
        reason: Text,
        /// Venue time.
        ts_event: Nanos,
    },
    /// One of the venue's own trading bots works on this account: somebody else trades here.
    Strategy {
        /// Symbol.
        symbol: Name,
        /// The venue's id of the strategy.
        strategy_id: u64,
        /// Where it stands, in the venue's words.
        status: Name,
        /// Venue time.
        ts_event: Nanos,
    },
    /// Of a kind that is not known.
    Ignored,
}

/// Decodes user data frames; its list is reused, so nothing is allocated after warm-up.
pub struct UserDecoder {
    symbols: Symbols,
    events: Vec<UserEvent>,
}

impl UserDecoder {
    /// A decoder for a session's instruments.
    pub fn new(symbols: Symbols) -> Self {
        Self { symbols, events: Vec::with_capacity(64) }
    }

    /// Another table of the same instruments: their filters have changed.
    pub fn set_symbols(&mut self, symbols: Symbols) {
        self.symbols = symbols;
    }

    /// The facts of a frame (at least one: [`UserEvent::Ignored`]).
    pub fn decode(&mut self, frame: &[u8]) -> Result<&[UserEvent], FrameError> {
        self.events.clear();
        let made = RawFrame::read(frame)?.events(frame, &self.symbols, &mut self.events);
        if let Err(error) = made {
            self.events.clear();
            return Err(error);
        }
        if self.events.is_empty() {
            self.events.push(UserEvent::Ignored);
        }
        Ok(&self.events)
    }
}

const ACCOUNT: &str = UserEventKind::AccountUpdate.name();

#[derive(Debug, Clone, Copy, Default)]
struct RawBalance<'a> {
    asset: Scalar<'a>,
    wallet: Scalar<'a>,
    change: Scalar<'a>,
}

impl<'a> RawBalance<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut b = Self::default();
        reader.object(&mut |r, key| {
            let value = r.scalar()?;
            match key {
                "a" => b.asset = value,
                "wb" => b.wallet = value,
                "bc" => b.change = value,
                _ => {}
            }
            Ok(())
        })?;
        Ok(b)
    }
}

/// A row of `P` in an account update or of `p` in a margin call.
#[derive(Debug, Clone, Copy, Default)]
struct RawPosition<'a> {
    symbol: Scalar<'a>,
    side: Scalar<'a>,
    amount: Scalar<'a>,
    entry: Scalar<'a>,
    unrealised: Scalar<'a>,
    margin_type: Scalar<'a>,
    maintenance: Scalar<'a>,
}

impl<'a> RawPosition<'a> {
    fn read(reader: &mut Reader<'a>) -> Result<Self, JsonError> {
        let mut p = Self::default();
        reader.object(&mut |r, key| {
            let value = r.scalar()?;
            match key {
                "s" => p.symbol = value,
                "ps" => p.side = value,
                "pa" => p.amount = value,
                "ep" => p.entry = value,
                "up" => p.unrealised = value,
                "mt" => p.margin_type = value,
                "mm" => p.maintenance = value,
                _ => {}
            }
            Ok(())
        })?;
        Ok(p)
    }
}

/// What an algo update has beside an order's fields.
#[derive(Debug, Clone, Copy, Default)]
struct RawAlgo<'a> {
    id: Scalar<'a>,
    client_id: Scalar<'a>,
    order_id: Scalar<'a>,
    status: Scalar<'a>,
    side: Scalar<'a>,
    qty: Scalar<'a>,
    close_position: Scalar<'a>,
    reason: Scalar<'a>,
}

impl<'a> RawAlgo<'a> {
    fn set(&mut self, key: &str, value: Scalar<'a>) {
        match key {
            "aid" => self.id = value,
            "caid" => self.client_id = value,
            "ai" => self.order_id = value,
            "X" => self.status = value,
            "S" => self.side = value,
            "q" => self.qty = value,
            "cp" => self.close_position = value,
            "rm" => self.reason = value,
            _ => {}
        }
    }
}

/// What a refused trigger or a strategy tells: `or`, `su`, `gu`.
#[derive(Debug, Clone, Copy, Default)]
struct RawNote<'a> {
    symbol: Scalar<'a>,
    order_id: Scalar<'a>,
    reason: Scalar<'a>,
    strategy_id: Scalar<'a>,
    status: Scalar<'a>,
}

#[derive(Debug, Default)]
struct RawFrame<'a> {
    kind: Scalar<'a>,
    transaction: Scalar<'a>,
    sent: Scalar<'a>,
    /// The frame's own fields: TRADE_LITE is a fill.
    top: OrderRow<'a>,
    order: Option<OrderRow<'a>>,
    algo: RawAlgo<'a>,
    note: RawNote<'a>,
    reason: Scalar<'a>,
    config_symbol: Scalar<'a>,
    config_leverage: Scalar<'a>,
    multi_assets: Scalar<'a>,
}

impl<'a> RawFrame<'a> {
    fn read(frame: &'a [u8]) -> Result<Self, JsonError> {
        let mut raw = Self { top: OrderRow::of(Source::Event), ..Self::default() };
        Reader::new(frame)?.document(&mut |r, key| raw.field(r, key))?;
        Ok(raw)
    }

    fn field(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), JsonError> {
        match key {
            "data" if reader.at_object()? => reader.object(&mut |r, key| self.field(r, key)),
            "o" if reader.at_object()? => self.order_field(reader),
            "or" | "su" | "gu" if reader.at_object()? => self.note_field(reader),
            "a" if reader.at_object()? => reader.object(&mut |r, key| {
                let value = r.scalar()?;
                if key == "m" {
                    self.reason = value;
                }
                Ok(())
            }),
            "ac" | "ai" if reader.at_object()? => reader.object(&mut |r, key| {
                let value = r.scalar()?;
                match key {
                    "s" => self.config_symbol = value,
                    "l" => self.config_leverage = value,
                    "j" => self.multi_assets = value,
                    _ => {}
                }
                Ok(())
            }),
            _ => {
                let value = reader.scalar()?;
                match key {
                    "e" => self.kind = value,
                    "T" => self.transaction = value,
                    "E" => self.sent = value,
                    _ => self.top.set(key, value),
                }
                Ok(())
            }
        }
    }

    fn order_field(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError> {
        let mut order = OrderRow::of(Source::Event);
        reader.object(&mut |r, key| {
            let value = r.scalar()?;
            order.set(key, value);
            self.algo.set(key, value);
            Ok(())
        })?;
        self.order = Some(order);
        Ok(())
    }

    fn note_field(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError> {
        reader.object(&mut |r, key| {
            let value = r.scalar()?;
            match key {
                "s" => self.note.symbol = value,
                "i" => self.note.order_id = value,
                "r" => self.note.reason = value,
                "si" => self.note.strategy_id = value,
                "ss" => self.note.status = value,
                _ => {}
            }
            Ok(())
        })
    }

    fn ts_event(&self) -> Nanos {
        let ms = self.transaction.u64().or_else(|| self.sent.u64());
        Nanos::from_millis(ms.unwrap_or(0))
    }

    fn events(&self, frame: &[u8], symbols: &Symbols, out: &mut Vec<UserEvent>) -> Result<(), FrameError> {
        use UserEventKind as K;
        let Some(kind) = self.kind.text().and_then(K::of) else { return Ok(()) };
        match kind {
            K::OrderTradeUpdate => self.order(kind, self.order.as_ref(), Fact::Event, symbols, out)?,
            K::TradeLite => self.order(kind, Some(&self.top), Fact::Fill, symbols, out)?,
            K::AccountUpdate => self.rows(frame, symbols, false, out)?,
            K::MarginCall => self.rows(frame, symbols, true, out)?,
            K::ListenKeyExpired => out.push(UserEvent::ListenKeyExpired),
            K::AccountConfigUpdate => out.push(UserEvent::ConfigUpdate {
                symbol: self.config_symbol.filled().map(cut),
                leverage: self.config_leverage.u64().and_then(|l| u32::try_from(l).ok()),
                multi_assets: self.multi_assets.bool(),
            }),
            K::AlgoUpdate => self.algo(kind.name(), symbols, out)?,
            K::TriggerReject => out.push(UserEvent::TriggerRejected {
                symbol: cut(self.note.symbol.filled().unwrap_or("")),
                order_id: self.note.order_id.u64().unwrap_or(0),
                reason: cut(self.note.reason.filled().unwrap_or("")),
                ts_event: self.ts_event(),
            }),
            K::StrategyUpdate | K::GridUpdate => out.push(UserEvent::Strategy {
                symbol: cut(self.note.symbol.filled().unwrap_or("")),
                strategy_id: self.note.strategy_id.u64().unwrap_or(0),
                status: cut(self.note.status.filled().unwrap_or("")),
                ts_event: self.ts_event(),
            }),
        }
        Ok(())
    }

    /// An order's state, or a fill without it: what was filled in all is not told by TRADE_LITE.
    fn order(
        &self,
        kind: UserEventKind,
        row: Option<&OrderRow<'_>>,
        fact: Fact,
        symbols: &Symbols,
        out: &mut Vec<UserEvent>,
    ) -> Result<(), FrameError> {
        let frame = kind.name();
        let row = row.ok_or(FrameError::Field { frame, field: "o" })?;
        let ts_event = self.ts_event();
        let Some(instrument) = known(symbols, frame, row.symbol(), ts_event, out)? else { return Ok(()) };
        let report = ExecutionReport { ts_event, ..row.report(frame, instrument, fact)? };
        out.push(UserEvent::Report(report));
        if let Some(other) = row.other_commission(instrument).filter(|other| other.amount != 0.0) {
            out.push(UserEvent::OtherCommission {
                symbol: instrument.id,
                trade_id: report.trade_id,
                asset: cut(other.asset),
                amount: other.amount,
            });
        }
        Ok(())
    }

    fn algo(
        &self,
        frame: &'static str,
        symbols: &Symbols,
        out: &mut Vec<UserEvent>,
    ) -> Result<(), FrameError> {
        let order = self.order.as_ref().ok_or(FrameError::Field { frame, field: "o" })?;
        let ts_event = self.ts_event();
        let Some(instrument) = known(symbols, frame, order.symbol(), ts_event, out)? else { return Ok(()) };
        let (fields, algo) = (Fields { frame, instrument }, &self.algo);
        out.push(UserEvent::Algo(AlgoUpdate {
            symbol: instrument.id,
            algo_id: algo.id.u64().ok_or_else(|| fields.missing("aid"))?,
            client_algo_id: cut(algo.client_id.filled().unwrap_or("")),
            status: algo_status(algo.status.filled().ok_or_else(|| fields.missing("X"))?),
            side: algo.side.text().and_then(report::side).ok_or_else(|| fields.missing("S"))?,
            qty: fields.qty("q", algo.qty)?,
            // Empty until it was triggered.
            order_id: algo.order_id.u64().unwrap_or(0),
            close_position: algo.close_position.bool().unwrap_or(false),
            reason: cut(algo.reason.filled().unwrap_or("")),
            ts_event,
        }));
        Ok(())
    }

    /// The balances and positions of an account update, or the positions of a margin call: read in a second pass,
    /// when kind, reason and time are known, so that no rows have to be kept.
    fn rows(
        &self,
        frame: &[u8],
        symbols: &Symbols,
        margin_call: bool,
        out: &mut Vec<UserEvent>,
    ) -> Result<(), FrameError> {
        let reason = cut(self.reason.text().unwrap_or(""));
        let mut rows = Rows { symbols, margin_call, reason, ts_event: self.ts_event(), out, failed: None };
        Reader::new(frame)?.document(&mut |r, key| rows.field(r, key))?;
        rows.failed.map_or(Ok(()), Err)
    }
}

/// Reads the rows of one frame into events. The first row that cannot be read fails the frame.
struct Rows<'s> {
    symbols: &'s Symbols,
    margin_call: bool,
    reason: Name,
    ts_event: Nanos,
    out: &'s mut Vec<UserEvent>,
    failed: Option<FrameError>,
}

impl Rows<'_> {
    fn field(&mut self, reader: &mut Reader<'_>, key: &str) -> Result<(), JsonError> {
        match key {
            "data" | "a" if reader.at_object()? => reader.object(&mut |r, key| self.field(r, key)),
            "B" if reader.at_array()? => reader.array(&mut |r| {
                if !r.at_object()? {
                    return r.skip();
                }
                let event = self.balance(&RawBalance::read(r)?);
                self.push(event);
                Ok(())
            }),
            "P" | "p" if reader.at_array()? => reader.array(&mut |r| {
                if !r.at_object()? {
                    return r.skip();
                }
                let row = RawPosition::read(r)?;
                let event = if self.margin_call { Ok(self.margin_call(&row)) } else { self.position(&row) };
                self.push(event);
                Ok(())
            }),
            _ => reader.skip(),
        }
    }

    fn push(&mut self, event: Result<UserEvent, FrameError>) {
        match event {
            Ok(event) => self.out.push(event),
            Err(error) => self.failed = self.failed.take().or(Some(error)),
        }
    }

    fn balance(&self, row: &RawBalance<'_>) -> Result<UserEvent, FrameError> {
        let asset = row.asset.filled().ok_or(FrameError::Field { frame: ACCOUNT, field: "B.a" })?;
        if row.wallet.filled().is_none() {
            return Err(FrameError::Field { frame: ACCOUNT, field: "B.wb" });
        }
        Ok(UserEvent::Balance {
            reason: self.reason,
            asset: cut(asset),
            wallet: amount(ACCOUNT, "B.wb", row.wallet)?,
            change: amount(ACCOUNT, "B.bc", row.change)?,
            ts_event: self.ts_event,
        })
    }

    fn position(&self, row: &RawPosition<'_>) -> Result<UserEvent, FrameError> {
        let text = row.symbol.filled().ok_or(FrameError::Field { frame: ACCOUNT, field: "P.s" })?;
        let Some(instrument) = self.symbols.by_name(&unescape(text)) else {
            let (symbol, position) = (cut(text), row.amount.f64());
            return Ok(UserEvent::Unlisted { symbol, position, ts_event: self.ts_event });
        };
        Ok(UserEvent::Position {
            reason: self.reason,
            symbol: instrument.id,
            side: position_side(row.side.text().unwrap_or("BOTH")),
            qty: Fields { frame: ACCOUNT, instrument }.signed_qty("P.pa", row.amount)?,
            entry_px: row.entry.f64().unwrap_or(0.0),
            unrealised: amount(ACCOUNT, "P.up", row.unrealised)?,
            isolated: row.margin_type.text().is_some_and(|m| m.eq_ignore_ascii_case("isolated")),
            ts_event: self.ts_event,
        })
    }

    fn margin_call(&self, row: &RawPosition<'_>) -> UserEvent {
        UserEvent::MarginCall {
            symbol: cut(row.symbol.filled().unwrap_or("")),
            position: row.amount.f64().unwrap_or(0.0),
            maintenance: row.maintenance.f64().unwrap_or(0.0),
            ts_event: self.ts_event,
        }
    }
}

/// The instrument of a frame; one that is not in the table is told as such.
fn known<'s>(
    symbols: &'s Symbols,
    frame: &'static str,
    symbol: Scalar<'_>,
    ts_event: Nanos,
    out: &mut Vec<UserEvent>,
) -> Result<Option<&'s market::Instrument>, FrameError> {
    let text = symbol.filled().ok_or(FrameError::Field { frame, field: "s" })?;
    let found = symbols.by_name(&unescape(text));
    if found.is_none() {
        out.push(UserEvent::Unlisted { symbol: cut(text), position: None, ts_event });
    }
    Ok(found)
}

fn algo_status(text: &str) -> AlgoStatus {
    match text {
        "NEW" => AlgoStatus::New,
        "TRIGGERING" => AlgoStatus::Triggering,
        "TRIGGERED" => AlgoStatus::Triggered,
        "FINISHED" => AlgoStatus::Finished,
        "CANCELED" => AlgoStatus::Canceled,
        "REJECTED" => AlgoStatus::Rejected,
        "EXPIRED" => AlgoStatus::Expired,
        _ => AlgoStatus::Unknown,
    }
}

fn position_side(text: &str) -> PositionSide {
    match text {
        "LONG" => PositionSide::Long,
        "SHORT" => PositionSide::Short,
        _ => PositionSide::Both,
    }
}

/// A text with its escapes resolved, cut to what fits.
fn cut<const N: usize>(text: &str) -> ArrayString<N> {
    let mut out = ArrayString::new();
    for c in unescape(text).chars() {
        if out.try_push(c).is_err() {
            break;
        }
    }
    out
}
