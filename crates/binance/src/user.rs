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
use market::{Amount, ExecType, ExecutionReport, Nanos, OrderStatus, PositionSide, Qty, SymbolId};

use crate::json::{JsonError, Reader, Scalar, unescape};
use crate::report::{self, Fields, FrameError, blank_report, leaves};
use crate::symbols::Symbols;

/// A short venue name: an asset or a symbol that is not ours.
pub type Name = ArrayString<32>;

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
    /// Known to be of no interest (algo, strategy and grid orders), or of a kind that is not known.
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
        let mut raw = RawFrame::default();
        Reader::new(frame)?.document(&mut |r, key| raw.field(r, key))?;
        let made = raw.events(frame, &self.symbols, &mut self.events);
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

const ORDER: &str = "ORDER_TRADE_UPDATE";
const LITE: &str = "TRADE_LITE";
const ACCOUNT: &str = "ACCOUNT_UPDATE";

/// Single-letter fields, as they stand in the frame itself (TRADE_LITE) or in its `o` (orders).
#[derive(Debug, Clone, Copy)]
struct Letters<'a>([Scalar<'a>; 58]);

impl Default for Letters<'_> {
    fn default() -> Self {
        Self([Scalar::Missing; 58])
    }
}

impl<'a> Letters<'a> {
    fn set(&mut self, key: &str, value: Scalar<'a>) {
        if let [letter @ (b'A'..=b'Z' | b'a'..=b'z')] = *key.as_bytes() {
            self.0[usize::from(letter - b'A')] = value;
        }
    }

    fn get(&self, letter: u8) -> Scalar<'a> {
        self.0[usize::from(letter - b'A')]
    }
}

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

#[derive(Debug, Default)]
struct RawFrame<'a> {
    letters: Letters<'a>,
    order: Option<(Letters<'a>, Scalar<'a>)>,
    reason: Scalar<'a>,
    config_symbol: Scalar<'a>,
    config_leverage: Scalar<'a>,
    multi_assets: Scalar<'a>,
}

impl<'a> RawFrame<'a> {
    fn field(&mut self, reader: &mut Reader<'a>, key: &str) -> Result<(), JsonError> {
        match key {
            "data" if reader.at_object()? => reader.object(&mut |r, key| self.field(r, key)),
            "o" if reader.at_object()? => self.order_field(reader),
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
                self.letters.set(key, value);
                Ok(())
            }
        }
    }

    fn order_field(&mut self, reader: &mut Reader<'a>) -> Result<(), JsonError> {
        let (mut letters, mut realised) = (Letters::default(), Scalar::Missing);
        reader.object(&mut |r, key| {
            let value = r.scalar()?;
            if key == "rp" {
                realised = value;
            }
            letters.set(key, value);
            Ok(())
        })?;
        self.order = Some((letters, realised));
        Ok(())
    }

    fn ts_event(&self) -> Nanos {
        let ms = self.letters.get(b'T').u64().or_else(|| self.letters.get(b'E').u64());
        Nanos::from_millis(ms.unwrap_or(0))
    }

    fn events(&self, frame: &[u8], symbols: &Symbols, out: &mut Vec<UserEvent>) -> Result<(), FrameError> {
        match self.letters.get(b'e').text() {
            Some(ORDER) => self.order_update(symbols, out),
            Some(LITE) => self.trade_lite(symbols, out),
            Some(ACCOUNT) => self.rows(frame, symbols, false, out),
            Some("MARGIN_CALL") => self.rows(frame, symbols, true, out),
            Some("listenKeyExpired") => {
                out.push(UserEvent::ListenKeyExpired);
                Ok(())
            }
            Some("ACCOUNT_CONFIG_UPDATE") => {
                out.push(UserEvent::ConfigUpdate {
                    symbol: self.config_symbol.filled().map(name),
                    leverage: self.config_leverage.u64().and_then(|l| u32::try_from(l).ok()),
                    multi_assets: self.multi_assets.bool(),
                });
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn order_update(&self, symbols: &Symbols, out: &mut Vec<UserEvent>) -> Result<(), FrameError> {
        let (o, realised) = self.order.as_ref().ok_or(FrameError::Field { frame: ORDER, field: "o" })?;
        let Some(instrument) = known(symbols, ORDER, o.get(b's'), self.ts_event(), out)? else {
            return Ok(());
        };
        let fields = Fields { frame: ORDER, instrument };
        let status = report::status(o.get(b'X').filled().ok_or_else(|| fields.missing("X"))?);
        let exec_type = exec_type(o.get(b'x').filled().ok_or_else(|| fields.missing("x"))?);
        let qty = fields.qty("q", o.get(b'q'))?;
        let cum = fields.qty("z", o.get(b'z'))?;
        let last = fields.qty("l", o.get(b'l'))?;
        let trade_id = o.get(b't').u64().unwrap_or(0);
        if exec_type == ExecType::Trade && (last <= Qty::ZERO || trade_id == 0) {
            return Err(fields.missing(if trade_id == 0 { "t" } else { "l" }));
        }
        let (commission, other) = commission(&fields, o, trade_id)?;
        out.push(UserEvent::Report(ExecutionReport {
            order_id: o.get(b'i').u64().ok_or_else(|| fields.missing("i"))?,
            status,
            side: o.get(b'S').text().and_then(report::side).ok_or_else(|| fields.missing("S"))?,
            px: fields.px("p", o.get(b'p'))?,
            qty,
            last_px: fields.px("L", o.get(b'L'))?,
            last_qty: last,
            cum_qty: cum,
            leaves_qty: leaves(status, qty, cum),
            trade_id,
            commission,
            realised: fields.amount("rp", *realised)?,
            maker: o.get(b'm').bool().unwrap_or(false),
            reduce_only: o.get(b'R').bool().unwrap_or(false),
            ts_event: self.ts_event(),
            ..blank_report(instrument.id, report::origin(o.get(b'c')), exec_type)
        }));
        out.extend(other);
        Ok(())
    }

    /// The fill without its order's state: what was filled in all is not told, so `cum_qty` and `leaves_qty` are 0
    /// and the status is unknown.
    fn trade_lite(&self, symbols: &Symbols, out: &mut Vec<UserEvent>) -> Result<(), FrameError> {
        let o = &self.letters;
        let Some(instrument) = known(symbols, LITE, o.get(b's'), self.ts_event(), out)? else {
            return Ok(());
        };
        let fields = Fields { frame: LITE, instrument };
        let last_qty = fields.qty("l", o.get(b'l'))?;
        if last_qty <= Qty::ZERO {
            return Err(fields.missing("l"));
        }
        out.push(UserEvent::Report(ExecutionReport {
            order_id: o.get(b'i').u64().ok_or_else(|| fields.missing("i"))?,
            status: OrderStatus::Unknown,
            side: o.get(b'S').text().and_then(report::side).ok_or_else(|| fields.missing("S"))?,
            px: fields.px("p", o.get(b'p'))?,
            qty: fields.qty("q", o.get(b'q'))?,
            last_px: fields.px("L", o.get(b'L'))?,
            last_qty,
            trade_id: o.get(b't').u64().filter(|t| *t > 0).ok_or_else(|| fields.missing("t"))?,
            maker: o.get(b'm').bool().unwrap_or(false),
            ts_event: self.ts_event(),
            ..blank_report(instrument.id, report::origin(o.get(b'c')), ExecType::Trade)
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
        let reason = name(self.reason.text().unwrap_or(""));
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
            asset: name(asset),
            wallet: amount("B.wb", row.wallet)?,
            change: amount("B.bc", row.change)?,
            ts_event: self.ts_event,
        })
    }

    fn position(&self, row: &RawPosition<'_>) -> Result<UserEvent, FrameError> {
        let text = row.symbol.filled().ok_or(FrameError::Field { frame: ACCOUNT, field: "P.s" })?;
        let Some(instrument) = self.symbols.by_name(&unescape(text)) else {
            let (symbol, position) = (name(text), row.amount.f64());
            return Ok(UserEvent::Unlisted { symbol, position, ts_event: self.ts_event });
        };
        Ok(UserEvent::Position {
            reason: self.reason,
            symbol: instrument.id,
            side: position_side(row.side.text().unwrap_or("BOTH")),
            qty: Fields { frame: ACCOUNT, instrument }.signed_qty("P.pa", row.amount)?,
            entry_px: row.entry.f64().unwrap_or(0.0),
            unrealised: amount("P.up", row.unrealised)?,
            isolated: row.margin_type.text().is_some_and(|m| m.eq_ignore_ascii_case("isolated")),
            ts_event: self.ts_event,
        })
    }

    fn margin_call(&self, row: &RawPosition<'_>) -> UserEvent {
        UserEvent::MarginCall {
            symbol: name(row.symbol.filled().unwrap_or("")),
            position: row.amount.f64().unwrap_or(0.0),
            maintenance: row.maintenance.f64().unwrap_or(0.0),
            ts_event: self.ts_event,
        }
    }
}

/// An amount of an account update; a missing or empty one is zero.
fn amount(field: &'static str, value: Scalar<'_>) -> Result<Amount, FrameError> {
    let Some(text) = value.filled() else { return Ok(Amount::ZERO) };
    Amount::parse(text.as_bytes()).map_err(|why| {
        let text = text.chars().take(40).collect();
        FrameError::Number { frame: ACCOUNT, field, text, why }
    })
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
        out.push(UserEvent::Unlisted { symbol: name(text), position: None, ts_event });
    }
    Ok(found)
}

/// Commission in the quote asset, or the event that tells of another asset.
fn commission(
    fields: &Fields<'_>,
    o: &Letters<'_>,
    trade_id: u64,
) -> Result<(Amount, Option<UserEvent>), FrameError> {
    let Some(asset) = o.get(b'N').filled() else { return Ok((Amount::ZERO, None)) };
    if fields.instrument.symbol.ends_with(asset) {
        return Ok((fields.amount("n", o.get(b'n'))?, None));
    }
    let amount = o.get(b'n').f64().unwrap_or(0.0);
    let symbol = fields.instrument.id;
    let other = UserEvent::OtherCommission { symbol, trade_id, asset: name(asset), amount };
    Ok((Amount::ZERO, (amount != 0.0).then_some(other)))
}

fn exec_type(text: &str) -> ExecType {
    match text {
        "NEW" => ExecType::New,
        "TRADE" => ExecType::Trade,
        "CANCELED" => ExecType::Canceled,
        "EXPIRED" => ExecType::Expired,
        "AMENDMENT" => ExecType::Amendment,
        "CALCULATED" => ExecType::Calculated,
        "REJECTED" => ExecType::Rejected,
        // A type that the venue may add: the state beside it still holds.
        _ => ExecType::Status,
    }
}

fn position_side(text: &str) -> PositionSide {
    match text {
        "LONG" => PositionSide::Long,
        "SHORT" => PositionSide::Short,
        _ => PositionSide::Both,
    }
}

/// A name cut to what fits.
fn name(text: &str) -> Name {
    let mut out = Name::new();
    for c in unescape(text).chars() {
        if out.try_push(c).is_err() {
            break;
        }
    }
    out
}
