//! The reader for every JSON text: slower than the scanner, and the judge of what is wrong with a frame.

use market::{
    Bbo, DepthSnapshot, DepthUpdate, Increment, Level, MarkPrice, MarketEvent, Nanos, NumberError, Px, Qty,
    Side, SymbolId, Trade, TradeKind,
};
use simd_json::{Buffers, Node, StaticNode, Tape};

use super::frame::{DecodeError, Decoded, Ignored, MAX_DEPTH, MAX_FRAME_BYTES, MAX_LEVELS, count_in_range};
use super::levels::Levels;
use super::table::{Entry, SymbolTable};

/// Latest time read, ms: November 2286. A time stamp beyond it is no time stamp.
pub(super) const MAX_MILLIS: u64 = 9_999_999_999_999;

/// Reads documents with buffers that it keeps.
pub(super) struct Reader {
    /// simd-json writes into its input, so it gets a copy.
    text: Vec<u8>,
    buffers: Buffers,
    tape: Option<Tape<'static>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reader").field("text", &self.text.len()).finish_non_exhaustive()
    }
}

impl Reader {
    pub(super) fn new() -> Self {
        const USUAL: usize = 64 << 10;
        Self {
            text: Vec::with_capacity(USUAL),
            buffers: Buffers::with_max_depth(USUAL, MAX_DEPTH),
            tape: Some(Tape(Vec::with_capacity(USUAL / 8))),
        }
    }

    pub(super) fn read(
        &mut self,
        frame: &[u8],
        table: &SymbolTable,
        levels: &mut Levels,
    ) -> Result<Decoded, DecodeError> {
        self.with_document(frame, |root| read_frame(root, table, levels))
    }

    pub(super) fn read_snapshot(
        &mut self,
        reply: &[u8],
        symbol: SymbolId,
        table: &SymbolTable,
        levels: &mut Levels,
    ) -> Result<DepthSnapshot<'static>, DecodeError> {
        let entry = table.by_id(symbol).ok_or(DecodeError::OutOfRange("symbol"))?;
        self.with_document(reply, |root| read_snapshot(root.object("reply")?, entry, levels))
    }

    fn with_document<T>(
        &mut self,
        frame: &[u8],
        read: impl FnOnce(Value<'_>) -> Result<T, DecodeError>,
    ) -> Result<T, DecodeError> {
        if frame.len() > MAX_FRAME_BYTES {
            return Err(DecodeError::TooLong(frame.len()));
        }
        self.text.clear();
        self.text.extend_from_slice(frame);
        let mut tape = self.tape.take().unwrap_or_else(Tape::null).reset();
        let parsed = simd_json::fill_tape(&mut self.text, &mut self.buffers, &mut tape);
        let result = match parsed {
            Ok(()) if !tape.0.is_empty() => read(Value(&tape.0)),
            _ => Err(DecodeError::NotJson),
        };
        self.tape = Some(tape.reset());
        result
    }
}

/// A value of the tape: its own node first, what it holds behind it.
#[derive(Clone, Copy)]
struct Value<'t>(&'t [Node<'t>]);

impl<'t> Value<'t> {
    /// Nodes of the value, its own included.
    fn nodes(nodes: &[Node<'_>]) -> usize {
        match nodes.first() {
            Some(Node::Object { count, .. } | Node::Array { count, .. }) => count + 1,
            _ => 1,
        }
    }

    fn object(self, field: &'static str) -> Result<Object<'t>, DecodeError> {
        match self.0.first() {
            Some(Node::Object { .. }) => Ok(Object(&self.0[1..Self::nodes(self.0)])),
            _ => Err(DecodeError::WrongType(field)),
        }
    }

    fn array(self, field: &'static str) -> Result<Items<'t>, DecodeError> {
        match self.0.first() {
            Some(Node::Array { .. }) => Ok(Items(&self.0[1..Self::nodes(self.0)])),
            _ => Err(DecodeError::WrongType(field)),
        }
    }

    fn str(self, field: &'static str) -> Result<&'t str, DecodeError> {
        match self.0.first() {
            Some(&Node::String(s)) => Ok(s),
            _ => Err(DecodeError::WrongType(field)),
        }
    }

    fn bool(self, field: &'static str) -> Result<bool, DecodeError> {
        match self.0.first() {
            Some(&Node::Static(StaticNode::Bool(b))) => Ok(b),
            _ => Err(DecodeError::WrongType(field)),
        }
    }

    fn u64(self, field: &'static str) -> Result<u64, DecodeError> {
        match self.0.first() {
            Some(&Node::Static(StaticNode::U64(n))) => Ok(n),
            Some(&Node::Static(StaticNode::I64(n))) => {
                u64::try_from(n).map_err(|_| DecodeError::OutOfRange(field))
            }
            _ => Err(DecodeError::WrongType(field)),
        }
    }
}

/// The elements of an array.
struct Items<'t>(&'t [Node<'t>]);

impl<'t> Iterator for Items<'t> {
    type Item = Value<'t>;

    fn next(&mut self) -> Option<Value<'t>> {
        if self.0.is_empty() {
            return None;
        }
        let (value, rest) = self.0.split_at(Value::nodes(self.0));
        self.0 = rest;
        Some(Value(value))
    }
}

/// The members of an object.
#[derive(Clone, Copy)]
struct Object<'t>(&'t [Node<'t>]);

impl<'t> Object<'t> {
    fn members(self) -> impl Iterator<Item = (&'t str, Value<'t>)> {
        let mut items = Items(self.0);
        std::iter::from_fn(move || match (items.next()?.0.first(), items.next()) {
            (Some(&Node::String(key)), Some(value)) => Some((key, value)),
            _ => None,
        })
    }

    /// The field, if there; twice is an error.
    fn find(self, field: &'static str) -> Result<Option<Value<'t>>, DecodeError> {
        let mut found = self.members().filter(|(key, _)| *key == field).map(|(_, value)| value);
        match (found.next(), found.next()) {
            (_, Some(_)) => Err(DecodeError::Duplicate(field)),
            (value, None) => Ok(value),
        }
    }

    fn get(self, field: &'static str) -> Result<Value<'t>, DecodeError> {
        self.find(field)?.ok_or(DecodeError::Missing(field))
    }

    fn id(self, field: &'static str) -> Result<u64, DecodeError> {
        self.get(field)?.u64(field)
    }

    fn millis(self, field: &'static str) -> Result<Option<Nanos>, DecodeError> {
        let Some(value) = self.find(field)? else { return Ok(None) };
        millis(value.u64(field)?, field).map(Some)
    }

    /// `E`: an integer, or, as some events have had it, the same in a text.
    fn send_time(self) -> Result<Nanos, DecodeError> {
        let value = self.get("E")?;
        let ms = match value.str("E") {
            Ok(text) => Increment::decimals(0)
                .parse_count(text.as_bytes())
                .map_err(|reason| DecodeError::BadNumber { field: "E", reason })?
                .unsigned_abs(),
            Err(_) => value.u64("E")?,
        };
        millis(ms, "E")
    }

    fn px(self, field: &'static str, entry: &Entry) -> Result<Px, DecodeError> {
        price(self.get(field)?, field, entry)
    }

    fn qty(self, field: &'static str, entry: &Entry) -> Result<Qty, DecodeError> {
        quantity(self.get(field)?, field, entry)
    }
}

fn millis(ms: u64, field: &'static str) -> Result<Nanos, DecodeError> {
    if ms > MAX_MILLIS { Err(DecodeError::OutOfRange(field)) } else { Ok(Nanos::from_millis(ms)) }
}

fn price(value: Value<'_>, field: &'static str, entry: &Entry) -> Result<Px, DecodeError> {
    let n = count_in_range(entry.tick, value.str(field)?.as_bytes(), Level::MAX_PX.0, field)?;
    if n == 0 { Err(DecodeError::OutOfRange(field)) } else { Ok(Px(n)) }
}

fn quantity(value: Value<'_>, field: &'static str, entry: &Entry) -> Result<Qty, DecodeError> {
    count_in_range(entry.lot, value.str(field)?.as_bytes(), Level::MAX_QTY.0, field).map(Qty)
}

fn read_frame(root: Value<'_>, table: &SymbolTable, levels: &mut Levels) -> Result<Decoded, DecodeError> {
    let Ok(root) = root.object("frame") else { return Ok(Decoded::Ignored(Ignored::OtherKind)) };
    let (Some(stream), data) = (root.find("stream")?, root.find("data")?) else {
        return read_event(root, table, levels);
    };
    let stream = stream.str("stream")?;
    let data = data.ok_or(DecodeError::Missing("data"))?;
    let Ok(data) = data.object("data") else { return Ok(Decoded::Ignored(Ignored::OtherKind)) };
    if stream.ends_with("@depthSnapshot") {
        return match table.by_stream(stream) {
            Some(entry) => read_snapshot(data, entry, levels).map(Decoded::Snapshot),
            None => Ok(Decoded::Ignored(Ignored::UnknownSymbol)),
        };
    }
    if is_partial_depth(stream) {
        return Ok(Decoded::Ignored(Ignored::PartialDepth));
    }
    read_event(data, table, levels)
}

/// `<symbol>@depth<levels>[@speed]`.
pub(super) fn is_partial_depth(stream: &str) -> bool {
    stream.split_once("@depth").is_some_and(|(_, rest)| rest.starts_with(|c: char| c.is_ascii_digit()))
}

fn read_event(o: Object<'_>, table: &SymbolTable, levels: &mut Levels) -> Result<Decoded, DecodeError> {
    let kind = match o.find("e")? {
        Some(kind) => kind.str("e")?,
        None => return Ok(Decoded::Ignored(Ignored::OtherKind)),
    };
    if !matches!(kind, "depthUpdate" | "bookTicker" | "aggTrade" | "trade" | "markPriceUpdate") {
        return Ok(Decoded::Ignored(Ignored::OtherKind));
    }
    if let Some(st) = o.find("st")?
        && st.u64("st")? != 1
    {
        return Ok(Decoded::Ignored(Ignored::OtherMarket));
    }
    let Some(entry) = table.get(o.get("s")?.str("s")?.as_bytes()) else {
        return Ok(Decoded::Ignored(Ignored::UnknownSymbol));
    };
    match kind {
        "depthUpdate" => read_depth(o, entry, levels),
        "bookTicker" => read_bbo(o, entry),
        "aggTrade" => read_trade(o, entry, TradeKind::Aggregate),
        "trade" => read_trade(o, entry, TradeKind::Raw),
        _ => read_mark(o, entry),
    }
}

fn read_depth(o: Object<'_>, entry: &Entry, levels: &mut Levels) -> Result<Decoded, DecodeError> {
    let ts_send = o.send_time()?;
    let (first, last) = (o.id("U")?, o.id("u")?);
    if first > last {
        return Err(DecodeError::BadIds { first, last });
    }
    let update = DepthUpdate {
        symbol: entry.symbol,
        ts_event: o.millis("T")?.unwrap_or(ts_send),
        ts_send,
        first_update_id: first,
        last_update_id: last,
        prev_last_update_id: o.id("pu")?,
        bids: &[],
        asks: &[],
    };
    read_levels(o.get("b")?, "b", entry, &mut levels.bids)?;
    read_levels(o.get("a")?, "a", entry, &mut levels.asks)?;
    Ok(Decoded::Depth(MarketEvent::Depth(update)))
}

fn read_snapshot(
    o: Object<'_>,
    entry: &Entry,
    levels: &mut Levels,
) -> Result<DepthSnapshot<'static>, DecodeError> {
    let last_update_id = o.id("lastUpdateId")?;
    let ts_send = o.millis("E")?.unwrap_or_default();
    read_levels(o.get("bids")?, "bids", entry, &mut levels.bids)?;
    read_levels(o.get("asks")?, "asks", entry, &mut levels.asks)?;
    Ok(DepthSnapshot { symbol: entry.symbol, ts_send, last_update_id, bids: &[], asks: &[] })
}

/// `[["price","quantity"],…]`; further elements of a level are ignored.
fn read_levels(
    value: Value<'_>,
    field: &'static str,
    entry: &Entry,
    out: &mut Vec<Level>,
) -> Result<(), DecodeError> {
    out.clear();
    for level in value.array(field)? {
        let mut level = level.array(field)?;
        let (px, qty) = (level.next(), level.next());
        let (Some(px), Some(qty)) = (px, qty) else { return Err(DecodeError::WrongType(field)) };
        if out.len() == MAX_LEVELS {
            return Err(DecodeError::TooManyLevels(field));
        }
        out.push(Level { px: price(px, field, entry)?, qty: quantity(qty, field, entry)? });
    }
    Ok(())
}

fn read_bbo(o: Object<'_>, entry: &Entry) -> Result<Decoded, DecodeError> {
    let ts_send = o.send_time()?;
    let bbo = Bbo {
        symbol: entry.symbol,
        ts_event: o.millis("T")?.unwrap_or(ts_send),
        ts_send,
        update_id: o.id("u")?,
        bid: Level { px: o.px("b", entry)?, qty: o.qty("B", entry)? },
        ask: Level { px: o.px("a", entry)?, qty: o.qty("A", entry)? },
    };
    Ok(Decoded::Plain(MarketEvent::Bbo(bbo)))
}

fn read_trade(o: Object<'_>, entry: &Entry, kind: TradeKind) -> Result<Decoded, DecodeError> {
    if let Some(x) = o.find("X")?
        && x.str("X")? != "MARKET"
    {
        return Ok(Decoded::Ignored(Ignored::NoMatch));
    }
    let ts_send = o.send_time()?;
    let id = match kind {
        TradeKind::Raw => o.id("t")?,
        TradeKind::Aggregate => o.id("a")?,
    };
    let trade = Trade {
        symbol: entry.symbol,
        kind,
        id,
        ts_event: o.millis("T")?.unwrap_or(ts_send),
        ts_send,
        px: o.px("p", entry)?,
        qty: o.qty("q", entry)?,
        aggressor: if o.get("m")?.bool("m")? { Side::Sell } else { Side::Buy },
    };
    if trade.qty.is_zero() {
        return Err(DecodeError::OutOfRange("q"));
    }
    Ok(Decoded::Plain(MarketEvent::Trade(trade)))
}

fn read_mark(o: Object<'_>, entry: &Entry) -> Result<Decoded, DecodeError> {
    let mark = MarkPrice {
        symbol: entry.symbol,
        ts_send: o.send_time()?,
        mark: positive(decimal(o.get("p")?, "p")?, "p")?,
        index: o.find("i")?.map_or(Ok(f64::NAN), |v| decimal(v, "i"))?,
        funding_rate: o.find("r")?.map_or(Ok(f64::NAN), |v| decimal(v, "r"))?,
        next_funding: o.millis("T")?.unwrap_or_default(),
    };
    if mark.index < 0.0 {
        return Err(DecodeError::OutOfRange("i"));
    }
    Ok(Decoded::Plain(MarketEvent::Mark(mark)))
}

fn positive(value: f64, field: &'static str) -> Result<f64, DecodeError> {
    if value > 0.0 { Ok(value) } else { Err(DecodeError::OutOfRange(field)) }
}

/// A plain decimal text with an optional minus; the empty text is NaN. No exponent, no `inf`, no `nan`.
fn decimal(value: Value<'_>, field: &'static str) -> Result<f64, DecodeError> {
    parse_decimal(value.str(field)?.as_bytes()).map_err(|reason| DecodeError::BadNumber { field, reason })
}

pub(super) fn parse_decimal(text: &[u8]) -> Result<f64, NumberError> {
    if text.is_empty() {
        return Ok(f64::NAN);
    }
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let plain = digits.iter().all(|c| c.is_ascii_digit() || *c == b'.') && digits.len() <= 40;
    if !plain || !digits.first().is_some_and(u8::is_ascii_digit) || digits.ends_with(b".") {
        return Err(NumberError::Malformed);
    }
    fast_float2::parse(text).map_err(|_| NumberError::Malformed)
}
