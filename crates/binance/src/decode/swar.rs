//! Numbers out of bytes, eight digits at a time in ordinary registers (SWAR).
//!
//! The venue writes the prices of a symbol with one number of decimals, and its quantities with another. A [`Column`]
//! of numbers knows its own and reads a text by it: the bytes are shifted until the closing quote stands behind the
//! highest one, so that the dot must be in a known byte; one comparison then checks dot and digits alike, two masks
//! close the gap, and three multiplications sum up eight digits, without a branch on what the text says. A text of
//! another form goes byte by byte, and the column takes on its form for the next one. Either way the result is that
//! of [`Increment::parse_count`].
//!
//! Chosen by `dolphin bench decode`, decode and book of a frame of 20 levels a side: a reader that looks for the dot in
//! every number 2.2 µs, this one 0.9 µs, in batches of levels (`levels`) 0.6 µs; serde_json and ordered maps 6 µs.

use market::Increment;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
/// Eight times `'0'`.
const ZEROS: u64 = 0x3030_3030_3030_3030;
const QUOTES: u64 = ONES * b'"' as u64;
const ESCAPES: u64 = ONES * b'\\' as u64;
const BLANKS: u64 = ONES * b' ' as u64;
const POW10: [u64; 9] = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];
/// Added to a byte (less `'0'`), sets its high bit unless the byte is a digit.
const NO_DIGIT: u64 = 0x76;
/// Added to a byte, sets its high bit unless the byte is zero.
const NOT_ZERO: u64 = 0x7f;

/// High bits of the zero bytes of `word`. Borrows disturb only bytes above the first one.
#[inline(always)]
fn zero_bytes(word: u64) -> u64 {
    word.wrapping_sub(ONES) & !word & HIGHS
}

/// Index of the first byte with its high bit set; 8 if there is none.
#[inline(always)]
fn first(highs: u64) -> usize {
    (highs.trailing_zeros() / 8) as usize
}

/// High bits where a byte (already less `'0'`) is no digit. Carries disturb only bytes above the first one.
#[inline(always)]
fn not_digits(x: u64) -> u64 {
    (x.wrapping_add(NO_DIGIT * ONES) | x) & HIGHS
}

/// Eight digits, the first in the lowest byte.
#[inline(always)]
fn eight_digits(x: u64) -> u64 {
    let pairs = x.wrapping_mul(10 * 256 + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let quads = pairs.wrapping_mul(100 * 65_536 + 1) >> 16 & 0x0000_ffff_0000_ffff;
    quads.wrapping_mul(10_000 * 4_294_967_296 + 1) >> 32
}

/// [`eight_digits`] by shifts and a product of 32 bits: slower for one number, faster in vectors.
#[inline(always)]
fn eight_digits_narrow(x: u64) -> u64 {
    let (tens, ones) = (x & 0x00ff_00ff_00ff_00ff, x >> 8 & 0x00ff_00ff_00ff_00ff);
    let pairs = (tens << 3) + (tens << 1) + ones;
    let (hundreds, ones) = (pairs & 0x0000_ffff_0000_ffff, pairs >> 16 & 0x0000_ffff_0000_ffff);
    let quads = (hundreds << 6) + (hundreds << 5) + (hundreds << 2) + ones;
    (quads & 0xffff_ffff) * 10_000 + (quads >> 32)
}

/// Four texts or numbers: the width of a vector register.
pub(super) type Four = [u64; 4];

/// The eight bytes of `window` from `at` on, which must be there.
#[inline(always)]
pub(super) fn word<const N: usize>(window: &[u8; N], at: usize) -> u64 {
    load(window, at).unwrap_or(0)
}

/// The three bytes of `window` from `at` on; a fourth must be there.
#[inline(always)]
pub(super) fn three<const N: usize>(window: &[u8; N], at: usize) -> u32 {
    let four = window.get(at..).and_then(<[u8]>::first_chunk);
    four.map_or(0, |&four| u32::from_le_bytes(four) & 0x00ff_ffff)
}

/// How many bytes of `word` come before its first quote; 8 if there is none.
#[inline(always)]
pub(super) fn until_quote(word: u64) -> usize {
    first(zero_bytes(word ^ QUOTES))
}

/// The first `length` bytes of `word`, 1 to 8, less `'0'`, the last of them in byte 7.
#[inline(always)]
pub(super) fn aligned(word: u64, length: usize) -> u64 {
    (word ^ ZEROS) << (64 - 8 * length)
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

/// Length of the text that begins `bytes`, up to its closing quote: no escapes, no control characters, UTF-8.
#[inline(always)]
pub(super) fn text_len(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while let Some(word) = load(bytes, at) {
        let quote = zero_bytes(word ^ QUOTES);
        let escape = zero_bytes(word ^ ESCAPES);
        let control = word.wrapping_sub(BLANKS) & !word & HIGHS;
        let special = quote | escape | control | word & HIGHS;
        if special != 0 {
            let len = at + first(special);
            return if bytes[len] == b'"' { Some(len) } else { text_len_bytewise(bytes) };
        }
        at += 8;
    }
    text_len_bytewise(bytes)
}

/// Near the end of the frame, or letters beyond ASCII.
#[cold]
fn text_len_bytewise(bytes: &[u8]) -> Option<usize> {
    let len = bytes.iter().position(|&c| c == b'"' || c == b'\\' || c < b' ')?;
    (bytes[len] == b'"' && std::str::from_utf8(&bytes[..len]).is_ok()).then_some(len)
}

/// Numbers of one kind, prices or quantities of a symbol.
#[derive(Debug, Clone, Copy)]
pub(super) struct Column {
    grid: Increment,
    form: Form,
    /// Length of the last text.
    length: usize,
}

/// How the last eight bytes of a text, less `'0'`, are read; byte 7 is the last.
#[derive(Debug, Clone, Copy)]
struct Form {
    /// The dot in its byte.
    dot: u64,
    /// What added to a byte sets its high bit if the byte may not stand there.
    limits: u64,
    /// Bytes of decimals past the grid: must be zeros.
    past: u64,
    /// Bytes of the other decimals, and of the digits before the dot.
    fraction: u64,
    integer: u64,
    /// By how much the two are shifted up to close the gaps.
    fraction_shift: u32,
    integer_shift: u32,
    /// Shortest text: a digit before the dot, a dot, the decimals.
    shortest: usize,
}

/// Decimals of a form: dot, decimals and a digit before them fit eight bytes.
const MAX_DECIMALS: usize = 6;
/// Longest text of a form: two times eight bytes.
const MAX_FORM: usize = 16;
/// Longest text read at all.
const MAX_LENGTH: usize = 63;

impl Form {
    /// That of no text.
    const NONE: Self = Self {
        dot: 0,
        limits: 0,
        past: 0,
        fraction: 0,
        integer: 0,
        fraction_shift: 0,
        integer_shift: 0,
        shortest: usize::MAX,
    };

    /// The form of texts with `decimals` decimals, on a grid of `scale` of them; `None` if they go byte by byte.
    fn new(decimals: usize, scale: usize) -> Option<Self> {
        let past = decimals.checked_sub(scale)?;
        if decimals > MAX_DECIMALS {
            return None;
        }
        let top = |bytes: usize| if bytes == 0 { 0 } else { u64::MAX << (64 - 8 * bytes) };
        let dots = usize::from(decimals > 0);
        let dot_at = 8 * (7 - decimals);
        let (dot, limit) = match dots {
            0 => (0, 0),
            _ => (u64::from(b'.' ^ b'0') << dot_at, (NO_DIGIT ^ NOT_ZERO) << dot_at),
        };
        Some(Self {
            dot,
            limits: (NO_DIGIT * ONES) ^ limit,
            past: top(past),
            fraction: top(decimals) & !top(past),
            integer: !top(decimals + dots),
            fraction_shift: 8 * past as u32,
            integer_shift: 8 * (past + dots) as u32,
            shortest: decimals + dots + 1,
        })
    }

    /// Other than zero where the last eight bytes, the dot taken away, are no number of this form.
    #[inline(always)]
    fn wrong(&self, x: u64) -> u64 {
        (x.wrapping_add(self.limits) | x) & HIGHS | x & self.past
    }

    /// Their digits without a gap, the last one in byte 7.
    #[inline(always)]
    fn close_gaps(&self, x: u64) -> u64 {
        (x & self.fraction) << self.fraction_shift | (x & self.integer) << self.integer_shift
    }

    /// The number whose last eight bytes, less `'0'`, are `high` and those before them `low`, zeros in front.
    #[inline(always)]
    fn value(&self, low: u64, high: u64) -> Option<u64> {
        let x = high ^ self.dot;
        // The shift by 64 - integer_shift in two steps: integer_shift may be 0.
        let carried = (low >> 1) >> (63 - self.integer_shift);
        let value =
            eight_digits(low << self.integer_shift) * POW10[8] + eight_digits(self.close_gaps(x) | carried);
        (self.wrong(x) | not_digits(low) == 0).then_some(value)
    }
}

impl Column {
    /// A column of counts of `grid`.
    pub(super) fn new(grid: Increment) -> Self {
        let scale = grid.scale() as usize;
        Self { grid, form: Form::new(scale, scale).unwrap_or(Form::NONE), length: 1 }
    }

    /// The number that begins `bytes` and ends before its first quote, as a count of the grid; and where the quote is.
    #[inline]
    pub(super) fn read(&mut self, bytes: &[u8]) -> Option<(i64, usize)> {
        if bytes.get(self.length) == Some(&b'"')
            && let Some(count) = self.read_as_long(bytes)
        {
            return Some((count, self.length));
        }
        self.bytewise(bytes)
    }

    /// A text as long as the last one.
    #[inline]
    fn read_as_long(&self, bytes: &[u8]) -> Option<i64> {
        if self.length < self.form.shortest {
            return None;
        }
        let units = if self.length <= 8 {
            self.form.value(0, aligned(load(bytes, 0)?, self.length))?
        } else {
            let low = aligned(load(bytes, 0)?, self.length - 8);
            self.form.value(low, aligned(load(bytes, self.length - 8)?, 8))?
        };
        let (units, step) = (units as i64, self.grid.mantissa());
        (units % step == 0).then_some(units / step)
    }

    /// Any number, and its form for the next one.
    fn bytewise(&mut self, bytes: &[u8]) -> Option<(i64, usize)> {
        let text = bytes.get(..bytes.iter().take(MAX_LENGTH + 1).position(|&c| c == b'"')?)?;
        let count = self.grid.parse_count(text).ok()?;
        let decimals = text.iter().rev().position(|&c| c == b'.').unwrap_or(0);
        let form = Form::new(decimals, self.grid.scale() as usize);
        if let Some(form) = form.filter(|form| (form.shortest..=MAX_FORM).contains(&text.len())) {
            (self.form, self.length) = (form, text.len());
        }
        Some((count, text.len()))
    }

    /// The length of the last text, if texts of that length can be read by [`Self::counts_of_length`].
    #[inline(always)]
    pub(super) fn word_length(&self) -> Option<usize> {
        let fits = self.length <= 8 && self.form.shortest <= self.length && self.grid.mantissa() == 1;
        fits.then_some(self.length)
    }

    /// The shortest text that can be read by [`Self::counts`], if any can.
    #[inline(always)]
    pub(super) fn word_shortest(&self) -> Option<usize> {
        (self.form.shortest <= 8 && self.grid.mantissa() == 1).then_some(self.form.shortest)
    }

    /// Four texts as long as the last one, each beginning a word; `wrong` becomes other than zero if one is no number.
    #[inline(always)]
    pub(super) fn counts_of_length(&self, words: Four, wrong: &mut Four) -> Four {
        let shift = 64 - 8 * self.length as u32;
        self.counts(words.map(|word| (word ^ ZEROS) << shift), wrong)
    }

    /// Four [`aligned`] texts, none shorter than [`Self::word_shortest`].
    #[inline(always)]
    pub(super) fn counts(&self, texts: Four, wrong: &mut Four) -> Four {
        let form = &self.form;
        let mut counts = [0; 4];
        for k in 0..4 {
            let x = texts[k] ^ form.dot;
            wrong[k] |= form.wrong(x);
            counts[k] = eight_digits_narrow(form.close_gaps(x));
        }
        counts
    }
}

/// The JSON integer that begins `bytes`, and its length: no sign, no leading zero, at most 18 digits.
#[inline(always)]
pub(super) fn integer(bytes: &[u8]) -> Option<(u64, usize)> {
    let (Some(low), Some(high)) = (load(bytes, 0), load(bytes, 8)) else { return integer_bytewise(bytes) };
    let (low, high) = (low ^ ZEROS, high ^ ZEROS);
    if low & 0xff == 0 {
        return integer_bytewise(bytes);
    }
    let length = first(not_digits(low));
    if length < 8 {
        // No digit at all is no number; the shift by 8 bytes must not be reached.
        return (length > 0).then(|| (eight_digits(low << (64 - 8 * length)), length));
    }
    let more = first(not_digits(high));
    if more == 8 {
        return integer_bytewise(bytes);
    }
    // The shift of 64 - 8 * more in two steps: more may be 0.
    let tail = eight_digits((high << 1) << (63 - 8 * more));
    Some((eight_digits(low) * POW10[more] + tail, 8 + more))
}

#[cold]
fn integer_bytewise(bytes: &[u8]) -> Option<(u64, usize)> {
    let length = bytes.iter().take_while(|c| c.is_ascii_digit()).count();
    if !(1..=18).contains(&length) || (bytes[0] == b'0' && length > 1) {
        return None;
    }
    Some((bytes[..length].iter().fold(0, |n, c| n * 10 + u64::from(c - b'0')), length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What the reader must give: the text up to the quote by the plain parser.
    fn plain(bytes: &[u8], grid: Increment) -> Option<(i64, usize)> {
        let end = bytes.iter().position(|&c| c == b'"')?;
        Some((grid.parse_count(&bytes[..end]).ok()?, end))
    }

    fn grids() -> impl Strategy<Value = Increment> {
        (prop::sample::select(vec![1i64, 5, 25]), 0u8..9).prop_map(|(m, s)| Increment::new(m, s).unwrap())
    }

    /// Texts one after the other through one column: whatever form it has come to, each is read as the plain parser
    /// reads it, alone and in fours.
    fn compare(texts: &[Vec<u8>], grid: Increment) -> Result<(), TestCaseError> {
        let mut column = Column::new(grid);
        for text in texts {
            let expected = plain(text, grid);
            if let Some(word) = load(text, 0) {
                let of_word = |count: [u64; 4], wrong: Four| (wrong == [0; 4]).then_some(count[2] as i64);
                let (length, mut wrong) = (until_quote(word), [0; 4]);
                if column.word_shortest().is_some_and(|shortest| (shortest..8).contains(&length)) {
                    let counts = column.counts([aligned(word, length); 4], &mut wrong);
                    if wrong == [0; 4] {
                        prop_assert_eq!(
                            expected,
                            Some((counts[0] as i64, length)),
                            "{}",
                            text.escape_ascii()
                        );
                    }
                    prop_assert_eq!(of_word(counts, wrong), one_form(&column, text, length));
                }
                let (length, mut wrong) = (column.word_length(), [0; 4]);
                if let Some(length) = length.filter(|&length| text.get(length) == Some(&b'"')) {
                    let counts = column.counts_of_length([word; 4], &mut wrong);
                    prop_assert_eq!(of_word(counts, wrong), one_form(&column, text, length));
                }
            }
            prop_assert_eq!(column.read(text), expected, "{}", text.escape_ascii());
        }
        Ok(())
    }

    /// A text of `length` bytes read by the column as it is, without learning.
    fn one_form(column: &Column, text: &[u8], length: usize) -> Option<i64> {
        Column { length, ..*column }.read_as_long(text)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn decimals_are_those_of_the_plain_parser(
            texts in prop::collection::vec("([0-9]{0,12}(\\.[0-9]{0,9})?|[0-9.\"x-]{0,20})\"[\",\\]0-9.]{0,20}", 1..6), grid in grids()
        ) {
            compare(&texts.into_iter().map(String::into_bytes).collect::<Vec<_>>(), grid)?;
        }

        #[test]
        fn numbers_of_one_form_are_read_and_their_neighbours_too(
            numbers in prop::collection::vec((0u64..10_000_000_000, 0u32..34), 1..20),
            decimals in 0usize..8, grid in grids(), damage in any::<(prop::sample::Index, prop::sample::Index, u8, bool)>()
        ) {
            let text = |&(n, bits): &(u64, u32)| {
                let (n, p) = (n >> bits, 10u64.pow(decimals as u32));
                let dot = if decimals > 0 { "." } else { "" };
                let fraction = if decimals > 0 { format!("{:0decimals$}", n % p) } else { String::new() };
                format!("{}{dot}{fraction}\",\"1.000\"],", n / p).into_bytes()
            };
            let mut texts: Vec<_> = numbers.iter().map(text).collect();
            if damage.3 {
                let text = damage.0.get_mut(&mut texts);
                *damage.1.get_mut(text) = damage.2;
            }
            compare(&texts, grid)?;
        }

        #[test]
        fn any_bytes_are_read_as_the_plain_parser_reads_them(texts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..4), grid in grids()) {
            compare(&texts, grid)?;
        }

        #[test]
        fn zeros_past_the_grid_are_dropped(n in 0i64..1_000_000_000, zeros in 0usize..7, scale in 0u8..5) {
            let grid = Increment::decimals(scale);
            let dot = if scale == 0 && zeros > 0 { "." } else { "" };
            let bytes = format!("{}{dot}{}\",\"1.000\"]", grid.format(n), "0".repeat(zeros));
            let mut column = Column::new(grid);
            for _ in 0..2 {
                prop_assert_eq!(column.read(bytes.as_bytes()).map(|(n, _)| n), Some(n), "{}", bytes);
            }
        }

        #[test]
        fn integers_round_trip(n in any::<u64>(), bits in 0u32..64, tail in "[,}]?[0-9]{0,20}") {
            let n = n >> bits;
            let text = n.to_string();
            let bytes = format!("{text},{tail}");
            let expected = (text.len() <= 18).then_some((n, text.len()));
            prop_assert_eq!(integer(bytes.as_bytes()), expected);
            prop_assert_eq!(integer(text.as_bytes()), expected);
        }

        #[test]
        fn a_text_ends_at_its_quote(bytes in prop::collection::vec(prop_oneof![8 => 32u8..127, 1 => any::<u8>()], 0..40)) {
            let end = bytes.iter().position(|&c| c == b'"' || c == b'\\' || c < b' ');
            let end = end.filter(|&end| bytes[end] == b'"' && std::str::from_utf8(&bytes[..end]).is_ok());
            prop_assert_eq!(text_len(&bytes), end);
        }
    }

    #[test]
    fn what_is_no_integer_is_none() {
        for bad in ["", "-1", "01", "00", "x", "\"1\"", "9999999999999999999,"] {
            assert_eq!(integer(bad.as_bytes()), None, "{bad}");
            assert_eq!(integer(format!("{bad}                ").as_bytes()), None, "{bad}");
        }
        assert_eq!(integer(b"0,                  "), Some((0, 1)));
        assert_eq!(integer(b"                    "), None);
    }
}
