//! Market frames to events.
//!
//! The problem: a depth frame is a kilobyte of text that must become integers in a fraction of a microsecond, while
//! nothing the venue (or a broken proxy) sends may crash the program or reach the book half read.
//!
//! The idea: two readers of one meaning. `scan` reads the frames as the venue writes them, compact and in any field
//! order, number by number with eight digits at a time; whatever it does not expect (blanks, escapes, a nested
//! unknown field, a wrong type, an error of any kind) it leaves alone. `document` reads every JSON text, by
//! simd-json's tape, and it alone decides what is wrong with a frame. A frame that `scan` takes, `document` takes with
//! the same values; the tests hold them to it. Levels are read into buffers of the decoder and handed out only when
//! the whole frame has been accepted. After the buffers have grown, nothing allocates.
//!
//! ```text
//! {"stream":"btcusdt@depth@100ms","data":{"e":"depthUpdate","E":1790526538985,"T":1790526538981,"s":"BTCUSDT",
//!  "ps":"BTCUSDT","U":11671659683245,"u":11671659687966,"pu":11671659683147,
//!  "b":[["1000.00","139.491"]],"a":[["84551.10","0.000"]],"st":1}}
//! ```

mod document;
mod levels;
mod scan;
mod swar;
mod table;
#[cfg(test)]
mod tests;

use market::{DepthSnapshot, Increment, Instrument, Level, MarketEvent, NumberError, SymbolId};

pub use table::SymbolTable;

/// Longest frame read. A full snapshot of 1000 levels a side has about 50 kB.
pub const MAX_FRAME_BYTES: usize = 4 << 20;
/// Deepest nesting read; the venue's own frames need five.
pub const MAX_DEPTH: usize = 16;
/// Most levels a side in one frame.
pub const MAX_LEVELS: usize = 10_000;

/// An accepted frame.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Frame<'a> {
    /// A market event of a known symbol.
    Market(MarketEvent<'a>),
    /// A recorded depth snapshot (`<symbol>@depthSnapshot`, SPEC §2.4).
    Snapshot(DepthSnapshot<'a>),
    /// Well-formed, but nothing for us.
    Ignored(Ignored),
}

/// Why a well-formed frame is of no concern.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ignored {
    /// Another event type, a control reply, an array.
    OtherKind,
    /// `st` ≠ 1: not of USDⓈ-M.
    OtherMarket,
    /// A symbol outside the table.
    UnknownSymbol,
    /// A partial book (`@depth5`, `@depth10`, `@depth20`): not a difference, must not be applied.
    PartialDepth,
    /// A `trade` with `X` other than `MARKET`: insurance fund, ADL; `aggTrade` leaves these out, too.
    NoMatch,
}

/// What is wrong with a frame. The frame is rejected whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_FRAME_BYTES`].
    #[error("frame of {0} bytes is longer than the limit of {MAX_FRAME_BYTES}")]
    TooLong(usize),
    /// Not JSON: malformed, truncated, trailing bytes, invalid UTF-8, nested deeper than [`MAX_DEPTH`].
    #[error("frame is not a JSON text of at most {MAX_DEPTH} levels")]
    NotJson,
    /// A needed field is missing.
    #[error("field `{0}` is missing")]
    Missing(&'static str),
    /// A field occurs twice.
    #[error("field `{0}` occurs twice")]
    Duplicate(&'static str),
    /// A field has another JSON type than documented.
    #[error("field `{0}` has a wrong type")]
    WrongType(&'static str),
    /// A text is not the number it must be.
    #[error("field `{field}`: {reason}")]
    BadNumber {
        /// Field.
        field: &'static str,
        /// Reason.
        reason: NumberError,
    },
    /// A price that is zero, a trade of nothing, or a number beyond what a book holds.
    #[error("field `{0}` is out of range")]
    OutOfRange(&'static str),
    /// More than [`MAX_LEVELS`] levels on a side.
    #[error("more than {MAX_LEVELS} levels in `{0}`")]
    TooManyLevels(&'static str),
    /// `U` > `u`.
    #[error("first update id {first} is above the last, {last}")]
    BadIds {
        /// `U`.
        first: u64,
        /// `u`.
        last: u64,
    },
}

/// What the decoder met, by kind.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct DecodeCounters {
    /// Market events and snapshots handed out.
    pub accepted: u64,
    /// Frames ignored, any reason.
    pub ignored: u64,
    /// Accepted or ignored frames that the scanner left to the document reader.
    pub slow: u64,
    /// [`DecodeError::TooLong`].
    pub too_long: u64,
    /// [`DecodeError::NotJson`].
    pub not_json: u64,
    /// [`DecodeError::Missing`].
    pub missing: u64,
    /// [`DecodeError::Duplicate`].
    pub duplicate: u64,
    /// [`DecodeError::WrongType`].
    pub wrong_type: u64,
    /// [`DecodeError::BadNumber`].
    pub bad_number: u64,
    /// [`DecodeError::OutOfRange`] and [`DecodeError::BadIds`].
    pub out_of_range: u64,
    /// [`DecodeError::TooManyLevels`].
    pub too_many_levels: u64,
}

impl DecodeCounters {
    /// Frames rejected, any reason.
    pub fn rejected(&self) -> u64 {
        self.too_long
            + self.not_json
            + self.missing
            + self.duplicate
            + self.wrong_type
            + self.bad_number
            + self.out_of_range
            + self.too_many_levels
    }

    fn count(&mut self, error: DecodeError) {
        *match error {
            DecodeError::TooLong(_) => &mut self.too_long,
            DecodeError::NotJson => &mut self.not_json,
            DecodeError::Missing(_) => &mut self.missing,
            DecodeError::Duplicate(_) => &mut self.duplicate,
            DecodeError::WrongType(_) => &mut self.wrong_type,
            DecodeError::BadNumber { .. } => &mut self.bad_number,
            DecodeError::OutOfRange(_) | DecodeError::BadIds { .. } => &mut self.out_of_range,
            DecodeError::TooManyLevels(_) => &mut self.too_many_levels,
        } += 1;
    }
}

/// The levels of the frame in hand.
#[derive(Debug)]
struct Levels {
    bids: Vec<Level>,
    asks: Vec<Level>,
    /// What the numbers of each instrument looked like last, in column order.
    columns: Vec<levels::Columns>,
    batch: levels::Batch,
}

impl Levels {
    fn new(table: &SymbolTable, capacity: usize) -> Self {
        Self {
            bids: Vec::with_capacity(capacity),
            asks: Vec::with_capacity(capacity),
            columns: table.entries().iter().map(levels::Columns::new).collect(),
            batch: levels::Batch::default(),
        }
    }
}

/// A decoded frame without its levels: those stay in [`Levels`] until the frame is handed out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Decoded {
    /// With no levels inside.
    Plain(MarketEvent<'static>),
    /// With the levels of the buffers.
    Depth(MarketEvent<'static>),
    Snapshot(DepthSnapshot<'static>),
    Ignored(Ignored),
}

/// Decodes market frames of the instruments it was made for.
#[derive(Debug)]
pub struct Decoder {
    table: SymbolTable,
    levels: Levels,
    document: document::Reader,
    counters: DecodeCounters,
}

impl Decoder {
    /// A decoder for these instruments, in column order (their place is their [`SymbolId`]).
    pub fn new(instruments: &[Instrument]) -> Self {
        let table = SymbolTable::new(instruments);
        Self {
            levels: Levels::new(&table, MAX_LEVELS + levels::BATCH),
            table,
            document: document::Reader::new(),
            counters: DecodeCounters::default(),
        }
    }

    /// Decodes one frame: raw (`{"e":…}`) or combined (`{"stream":…,"data":…}`).
    #[inline]
    pub fn decode(&mut self, frame: &[u8]) -> Result<Frame<'_>, DecodeError> {
        let decoded = match scan::scan(frame, &self.table, &mut self.levels) {
            Some(decoded) => decoded,
            None => {
                let decoded = self.document.read(frame, &self.table, &mut self.levels);
                self.counters.slow += u64::from(decoded.is_ok());
                decoded.inspect_err(|&e| self.counters.count(e))?
            }
        };
        Ok(self.hand_out(decoded))
    }

    /// Decodes a bare REST reply of `/fapi/v1/depth`, which does not say whose it is.
    pub fn decode_snapshot(
        &mut self,
        symbol: SymbolId,
        reply: &[u8],
    ) -> Result<DepthSnapshot<'_>, DecodeError> {
        let read = self.document.read_snapshot(reply, symbol, &self.table, &mut self.levels);
        let snapshot = read.inspect_err(|&e| self.counters.count(e))?;
        self.counters.accepted += 1;
        Ok(DepthSnapshot { bids: &self.levels.bids, asks: &self.levels.asks, ..snapshot })
    }

    #[inline]
    fn hand_out(&mut self, decoded: Decoded) -> Frame<'_> {
        if let Decoded::Ignored(reason) = decoded {
            self.counters.ignored += 1;
            return Frame::Ignored(reason);
        }
        self.counters.accepted += 1;
        let (bids, asks) = (&self.levels.bids[..], &self.levels.asks[..]);
        match decoded {
            Decoded::Depth(MarketEvent::Depth(u)) => {
                Frame::Market(MarketEvent::Depth(market::DepthUpdate { bids, asks, ..u }))
            }
            Decoded::Depth(event) | Decoded::Plain(event) => Frame::Market(event),
            Decoded::Snapshot(s) => Frame::Snapshot(DepthSnapshot { bids, asks, ..s }),
            Decoded::Ignored(reason) => Frame::Ignored(reason),
        }
    }

    /// The symbols it resolves.
    pub fn table(&self) -> &SymbolTable {
        &self.table
    }

    /// What it met so far.
    pub fn counters(&self) -> &DecodeCounters {
        &self.counters
    }
}

/// A price or quantity as text, on the grid of its instrument and within what a book holds.
fn count_in_range(grid: Increment, text: &[u8], max: i64, field: &'static str) -> Result<i64, DecodeError> {
    let n = grid.parse_count(text).map_err(|reason| DecodeError::BadNumber { field, reason })?;
    if n > max { Err(DecodeError::OutOfRange(field)) } else { Ok(n) }
}
