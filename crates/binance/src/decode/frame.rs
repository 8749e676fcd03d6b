//! What decoding gives and what it refuses: the words that both readers use.

use market::{DepthSnapshot, Increment, MarketEvent, NumberError};

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

    pub(super) fn count(&mut self, error: DecodeError) {
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

/// A decoded frame without its levels: those stay in the buffers until the frame is handed out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Decoded {
    /// With no levels inside.
    Plain(MarketEvent<'static>),
    /// With the levels of the buffers.
    Depth(MarketEvent<'static>),
    Snapshot(DepthSnapshot<'static>),
    Ignored(Ignored),
}

/// A price or quantity as text, on the grid of its instrument and within what a book holds.
pub(super) fn count_in_range(
    grid: Increment,
    text: &[u8],
    max: i64,
    field: &'static str,
) -> Result<i64, DecodeError> {
    let n = grid.parse_count(text).map_err(|reason| DecodeError::BadNumber { field, reason })?;
    if n > max { Err(DecodeError::OutOfRange(field)) } else { Ok(n) }
}
