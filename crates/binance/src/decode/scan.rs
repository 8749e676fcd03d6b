//! The scanner: frames as the venue writes them, without blanks, in one pass.
//!
//! It says `None` to everything it does not know for certain, never why: that is for `document` to say. Fields may
//! come in any order as long as `e` is the first and `s` comes before the levels, whose grid it decides.

use market::{
    Bbo, DepthUpdate, Level, MarkPrice, MarketEvent, Nanos, Px, Qty, Side, SymbolId, Trade, TradeKind,
};

use super::document::{MAX_MILLIS, is_partial_depth, parse_decimal};
use super::frame::{Decoded, MAX_FRAME_BYTES};
use super::levels::{self, Levels};
use super::swar;
use super::table::{Entry, SymbolTable};

/// Reads a frame, or leaves it to the document reader. The level buffers hold levels only if a depth update results.
#[inline]
pub(super) fn scan(frame: &[u8], table: &SymbolTable, levels: &mut Levels) -> Option<Decoded> {
    if frame.len() > MAX_FRAME_BYTES {
        return None;
    }
    let mut c = Cursor { bytes: frame, at: 0 };
    let combined = c.eat(b"{\"stream\":\"");
    if combined {
        let stream = c.rest_of_text()?;
        if !is_of_events(stream) {
            return None;
        }
        c.expect(b",\"data\":")?;
    }
    let decoded = event(&mut c, table, levels)?;
    if combined {
        c.expect(b"}")?;
    }
    (c.at == frame.len()).then_some(decoded)
}

/// Not a partial book and not a recorded snapshot, which look like depth updates or are none.
#[inline(always)]
fn is_of_events(stream: &[u8]) -> bool {
    let name = stream.iter().position(|&c| c == b'@').map_or(stream, |at| &stream[at..]);
    matches!(name, b"@depth@100ms" | b"@bookTicker" | b"@aggTrade") || is_of_events_by_text(stream)
}

#[cold]
fn is_of_events_by_text(stream: &[u8]) -> bool {
    let other = |stream: &str| !is_partial_depth(stream) && !stream.ends_with("@depthSnapshot");
    std::str::from_utf8(stream).is_ok_and(other)
}

fn event(c: &mut Cursor<'_>, table: &SymbolTable, levels: &mut Levels) -> Option<Decoded> {
    c.expect(b"{\"e\":\"")?;
    if c.eat(b"depthUpdate\",") {
        depth(c, table, levels)
    } else if c.eat(b"bookTicker\",") {
        bbo(c, table)
    } else if c.eat(b"aggTrade\",") {
        trade(c, table, TradeKind::Aggregate)
    } else if c.eat(b"trade\",") {
        trade(c, table, TradeKind::Raw)
    } else if c.eat(b"markPriceUpdate\",") {
        mark(c, table)
    } else {
        None
    }
}

/// What the events share; zero, `None`: not seen.
#[derive(Default)]
struct Common<'t> {
    seen: u64,
    entry: Option<&'t Entry>,
    ts_send: Nanos,
    ts_event: Nanos,
}

/// `E`, `T`, `s`, `st` have bits of their own in [`Common::seen`]; other keys take theirs by letter.
fn bit(key: u16) -> u64 {
    // 'A'..='Z' → 0..26, 'a'..='z' → 32..58, the two-letter keys that matter fill the gap.
    match key {
        ST => 1 << 30,
        PU => 1 << 31,
        _ => 1u64 << (key.wrapping_sub(u16::from(b'A')) & 63),
    }
}

const ST: u16 = u16::from_le_bytes(*b"st");
const PU: u16 = u16::from_le_bytes(*b"pu");

/// A one-letter key.
const fn k(letter: u8) -> u16 {
    letter as u16
}

impl<'t> Common<'t> {
    /// Notes a needed or checked field; `None` if it was there before.
    #[inline(always)]
    fn once(&mut self, key: u16) -> Option<()> {
        let bit = bit(key);
        if self.seen & bit != 0 {
            return None;
        }
        self.seen |= bit;
        Some(())
    }

    fn has(&self, letters: &[u8]) -> bool {
        letters.iter().all(|&l| self.seen & bit(k(l)) != 0)
    }

    /// A field all events have, or one that means nothing here.
    fn field(&mut self, key: u16, c: &mut Cursor<'_>, table: &'t SymbolTable) -> Option<()> {
        match key {
            EVENT => return None,
            SEND_TIME => self.ts_send = c.millis()?,
            TIME => self.ts_event = c.millis()?,
            SYMBOL => self.entry = Some(table.get(c.text()?)?),
            ST if c.integer()? != 1 => return None,
            ST => {}
            _ => return c.skip(),
        }
        self.once(key)
    }

    /// Symbol, `T` (or `E` where the venue gave none) and `E`, if the needed ones were there.
    fn head(&self) -> Option<(&'t Entry, Nanos, Nanos)> {
        let entry = self.entry?;
        if !self.has(b"E") {
            return None;
        }
        let ts_event = if self.has(b"T") { self.ts_event } else { self.ts_send };
        Some((entry, ts_event, self.ts_send))
    }
}

const EVENT: u16 = k(b'e');
const SEND_TIME: u16 = k(b'E');
const TIME: u16 = k(b'T');
const SYMBOL: u16 = k(b's');

const FIRST_ID: u16 = k(b'U');
const LAST_ID: u16 = k(b'u');
const BIDS: u16 = k(b'b');
const ASKS: u16 = k(b'a');

fn depth(c: &mut Cursor<'_>, table: &SymbolTable, levels: &mut Levels) -> Option<Decoded> {
    let mut common = Common::default();
    let (mut first, mut last, mut prev) = (0, 0, 0);
    loop {
        let key = c.key()?;
        match key {
            FIRST_ID => first = c.integer()?,
            LAST_ID => last = c.integer()?,
            PU => prev = c.integer()?,
            BIDS | ASKS => c.levels(common.entry?, key, levels)?,
            _ => common.field(key, c, table)?,
        }
        if matches!(key, FIRST_ID | LAST_ID | PU | BIDS | ASKS) {
            common.once(key)?;
        }
        if c.end_of_member()? {
            break;
        }
    }
    let (entry, ts_event, ts_send) = common.head()?;
    if !common.has(b"Uuba") || common.seen & bit(PU) == 0 || first > last {
        return None;
    }
    Some(Decoded::Depth(MarketEvent::Depth(DepthUpdate {
        symbol: entry.symbol,
        ts_event,
        ts_send,
        first_update_id: first,
        last_update_id: last,
        prev_last_update_id: prev,
        bids: &[],
        asks: &[],
    })))
}

/// Prices and quantities that come before their symbol: read when the frame is done.
#[derive(Clone, Copy, Default)]
struct Texts<'f>([&'f [u8]; 4]);

const BID_QTY: u16 = k(b'B');
const ASK_QTY: u16 = k(b'A');

fn bbo(c: &mut Cursor<'_>, table: &SymbolTable) -> Option<Decoded> {
    let mut common = Common::default();
    let mut texts = Texts::default();
    let mut update_id = 0;
    loop {
        let key = c.key()?;
        match key {
            LAST_ID => update_id = c.integer()?,
            BIDS => texts.0[0] = c.text()?,
            BID_QTY => texts.0[1] = c.text()?,
            ASKS => texts.0[2] = c.text()?,
            ASK_QTY => texts.0[3] = c.text()?,
            _ => common.field(key, c, table)?,
        }
        if matches!(key, LAST_ID | BIDS | BID_QTY | ASKS | ASK_QTY) {
            common.once(key)?;
        }
        if c.end_of_member()? {
            break;
        }
    }
    let (entry, ts_event, ts_send) = common.head()?;
    if !common.has(b"ubBaA") {
        return None;
    }
    let [bid, bid_qty, ask, ask_qty] = texts.0;
    Some(Decoded::Plain(MarketEvent::Bbo(Bbo {
        symbol: entry.symbol,
        ts_event,
        ts_send,
        update_id,
        bid: Level { px: price(bid, entry)?, qty: quantity(bid_qty, entry)? },
        ask: Level { px: price(ask, entry)?, qty: quantity(ask_qty, entry)? },
    })))
}

const PRICE: u16 = k(b'p');
const QUANTITY: u16 = k(b'q');
const MAKER: u16 = k(b'm');
const TRADE_ID: u16 = k(b't');
const MATCH: u16 = k(b'X');

fn trade(c: &mut Cursor<'_>, table: &SymbolTable, kind: TradeKind) -> Option<Decoded> {
    let mut common = Common::default();
    let mut texts = Texts::default();
    let (mut id, mut buyer_is_maker) = (0, false);
    let id_key = if kind == TradeKind::Aggregate { ASKS } else { TRADE_ID };
    loop {
        let key = c.key()?;
        let mine = key == id_key || matches!(key, PRICE | QUANTITY | MAKER | MATCH);
        match key {
            PRICE => texts.0[0] = c.text()?,
            QUANTITY => texts.0[1] = c.text()?,
            MAKER => buyer_is_maker = c.boolean()?,
            MATCH if c.text()? != b"MARKET" => return None,
            MATCH => {}
            _ if key == id_key => id = c.integer()?,
            _ => common.field(key, c, table)?,
        }
        if mine {
            common.once(key)?;
        }
        if c.end_of_member()? {
            break;
        }
    }
    let (entry, ts_event, ts_send) = common.head()?;
    if !common.has(b"pqm") || common.seen & bit(id_key) == 0 {
        return None;
    }
    let [px, qty, ..] = texts.0;
    let (px, qty) = (price(px, entry)?, quantity(qty, entry)?);
    let aggressor = if buyer_is_maker { Side::Sell } else { Side::Buy };
    let symbol: SymbolId = entry.symbol;
    let trade = Trade { symbol, kind, id, ts_event, ts_send, px, qty, aggressor };
    (!qty.is_zero()).then_some(Decoded::Plain(MarketEvent::Trade(trade)))
}

const INDEX: u16 = k(b'i');
const FUNDING: u16 = k(b'r');

fn mark(c: &mut Cursor<'_>, table: &SymbolTable) -> Option<Decoded> {
    let mut common = Common::default();
    let (mut mark, mut index, mut funding_rate) = (f64::NAN, f64::NAN, f64::NAN);
    loop {
        let key = c.key()?;
        match key {
            PRICE => mark = c.float()?,
            INDEX => index = c.float()?,
            FUNDING => funding_rate = c.float()?,
            _ => common.field(key, c, table)?,
        }
        if matches!(key, PRICE | INDEX | FUNDING) {
            common.once(key)?;
        }
        if c.end_of_member()? {
            break;
        }
    }
    let (entry, _, ts_send) = common.head()?;
    if mark.is_nan() || mark <= 0.0 || index < 0.0 {
        return None;
    }
    let next_funding = common.ts_event;
    Some(Decoded::Plain(MarketEvent::Mark(MarkPrice {
        symbol: entry.symbol,
        ts_send,
        mark,
        index,
        funding_rate,
        next_funding,
    })))
}

fn price(text: &[u8], entry: &Entry) -> Option<Px> {
    let px = entry.tick.parse_count(text).ok()?;
    (1..=Level::MAX_PX.0).contains(&px).then_some(Px(px))
}

fn quantity(text: &[u8], entry: &Entry) -> Option<Qty> {
    let qty = entry.lot.parse_count(text).ok()?;
    (qty <= Level::MAX_QTY.0).then_some(Qty(qty))
}

/// A place in a frame.
struct Cursor<'f> {
    bytes: &'f [u8],
    at: usize,
}

impl<'f> Cursor<'f> {
    #[inline(always)]
    fn eat(&mut self, word: &[u8]) -> bool {
        let found = self.bytes[self.at..].starts_with(word);
        if found {
            self.at += word.len();
        }
        found
    }

    #[inline(always)]
    fn expect(&mut self, word: &[u8]) -> Option<()> {
        self.eat(word).then_some(())
    }

    /// `"k":` or `"kk":`, letters only.
    #[inline(always)]
    fn key(&mut self) -> Option<u16> {
        let b: [u8; 5] = self.bytes.get(self.at..self.at + 5)?.try_into().ok()?;
        if b[0] != b'"' || !b[1].is_ascii_alphabetic() {
            return None;
        }
        if b[2] == b'"' {
            self.at += 4;
            return (b[3] == b':').then_some(u16::from(b[1]));
        }
        self.at += 5;
        let two = b[2].is_ascii_alphabetic() && b[3] == b'"' && b[4] == b':';
        two.then_some(u16::from_le_bytes([b[1], b[2]]))
    }

    /// After a value: `true` at the end of the object, `false` before another member.
    #[inline(always)]
    fn end_of_member(&mut self) -> Option<bool> {
        let c = *self.bytes.get(self.at)?;
        self.at += 1;
        match c {
            b',' => Some(false),
            b'}' => Some(true),
            _ => None,
        }
    }

    #[inline(always)]
    fn integer(&mut self) -> Option<u64> {
        let (n, length) = swar::integer(&self.bytes[self.at..])?;
        self.at += length;
        Some(n)
    }

    fn millis(&mut self) -> Option<Nanos> {
        let ms = self.integer()?;
        (ms <= MAX_MILLIS).then_some(Nanos::from_millis(ms))
    }

    fn boolean(&mut self) -> Option<bool> {
        if self.eat(b"true") { Some(true) } else { self.expect(b"false").map(|()| false) }
    }

    /// A text without escapes.
    fn text(&mut self) -> Option<&'f [u8]> {
        self.expect(b"\"")?;
        self.rest_of_text()
    }

    /// A text whose opening quote was read.
    fn rest_of_text(&mut self) -> Option<&'f [u8]> {
        let rest = &self.bytes[self.at..];
        let length = swar::text_len(rest)?;
        self.at += length + 1;
        Some(&rest[..length])
    }

    fn float(&mut self) -> Option<f64> {
        parse_decimal(self.text()?).ok()
    }

    /// A value that means nothing here; an object, an array or a number out of the ordinary is not skipped.
    fn skip(&mut self) -> Option<()> {
        match *self.bytes.get(self.at)? {
            b'"' => self.text().map(drop),
            b't' => self.expect(b"true"),
            b'f' => self.expect(b"false"),
            b'n' => self.expect(b"null"),
            _ => self.integer().map(drop),
        }
    }

    /// `[["price","quantity"],…]`.
    #[inline(always)]
    fn levels(&mut self, entry: &Entry, key: u16, levels: &mut Levels) -> Option<()> {
        self.expect(b"[")?;
        let Levels { bids, asks, columns, batch } = levels;
        let (columns, out) = (columns.get_mut(entry.place)?, if key == BIDS { bids } else { asks });
        let rest = levels::read(&self.bytes[self.at..], columns, batch, out)?;
        self.at = self.bytes.len() - rest.len();
        Some(())
    }
}
