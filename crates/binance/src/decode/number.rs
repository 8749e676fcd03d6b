//! Numbers out of bytes, eight digits at a time in ordinary registers (SWAR).
//!
//! A number is loaded whole (8 or 16 bytes), its end and its dot are found by comparing all bytes at once, the dot is
//! shifted out, and the digits, pushed against the most significant end, are summed pairwise in three multiplications.
//! What does not fit that mould goes byte by byte; both give what [`Increment::parse_count`] gives.

use market::Increment;

const ONES: u64 = 0x0101_0101_0101_0101;
const HIGHS: u64 = 0x8080_8080_8080_8080;
/// Eight times `'0'`.
const ZEROS: u64 = 0x3030_3030_3030_3030;
const POW10: [i64; 19] = {
    let mut p = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        p[i] = p[i - 1] * 10;
        i += 1;
    }
    p
};

/// Index of the first byte of `word` equal to `byte`; 8 if there is none.
#[inline(always)]
fn find(word: u64, byte: u8) -> usize {
    let x = word ^ (ONES * byte as u64);
    // The high bit of each zero byte of x; borrows disturb only bytes above the first one.
    let zeros = x.wrapping_sub(ONES) & !x & HIGHS;
    (zeros.trailing_zeros() / 8) as usize
}

/// The low `n` < 8 bytes.
#[inline(always)]
fn low(n: usize) -> u64 {
    (1 << (8 * n)) - 1
}

/// High bits where a byte (already less `'0'`) is no digit. Carries disturb only bytes above the first one.
#[inline(always)]
fn not_digits(x: u64) -> u64 {
    (x.wrapping_add(0x76 * ONES) | x) & HIGHS
}

/// Eight digits, the first in the lowest byte.
#[inline(always)]
fn eight_digits(x: u64) -> u64 {
    let pairs = x.wrapping_mul(10 * 256 + 1) >> 8 & 0x00ff_00ff_00ff_00ff;
    let quads = pairs.wrapping_mul(100 * 65_536 + 1) >> 16 & 0x0000_ffff_0000_ffff;
    quads.wrapping_mul(10_000 * 4_294_967_296 + 1) >> 32
}

#[inline(always)]
fn load(bytes: &[u8], at: usize) -> Option<[u64; 2]> {
    let word = bytes.get(at..at + 16)?;
    let (lo, hi) = word.split_at(8);
    Some([u64::from_le_bytes(lo.try_into().ok()?), u64::from_le_bytes(hi.try_into().ok()?)])
}

/// The decimal that begins at `at` and ends before the next quote, as a count of `grid`; and where the quote is.
#[inline(always)]
pub(super) fn decimal(bytes: &[u8], at: usize, grid: Increment) -> Option<(i64, usize)> {
    let Some([lo, hi]) = load(bytes, at) else { return bytewise(bytes, at, grid) };
    let end = find(lo, b'"');
    let (value, len) = if end < 8 {
        (short(lo & low(end), end, grid.scale() as usize)?, end)
    } else {
        let end = 8 + find(hi, b'"');
        if end == 16 {
            return bytewise(bytes, at, grid);
        }
        (long(lo, hi & low(end - 8), end, grid.scale() as usize)?, end)
    };
    if grid.mantissa() == 1 {
        return Some((value, at + len));
    }
    (value % grid.mantissa() == 0).then_some((value / grid.mantissa(), at + len))
}

/// A number of up to seven bytes, zeros above them, in units of `10^-scale`.
#[inline(always)]
fn short(text: u64, len: usize, scale: usize) -> Option<i64> {
    let dot = find(text, b'.');
    let (digits, mut count, mut decimals) = if dot == 8 {
        (text, len, 0)
    } else {
        (text & low(dot) | text >> 8 & !low(dot), len - 1, len - 1 - dot)
    };
    if count == 0 || dot == 0 || (dot < 8 && decimals == 0) {
        return None;
    }
    let x = digits ^ (ZEROS & low(count));
    if not_digits(x) != 0 {
        return None;
    }
    if decimals > scale {
        // Digits past the grid must be zeros; they fall out by the shift below.
        count -= decimals - scale;
        decimals = scale;
        if x >> (8 * count) != 0 {
            return None;
        }
    }
    (eight_digits(x << (8 * (8 - count))) as i64).checked_mul(POW10[scale - decimals])
}

/// A number of 8 to 15 bytes.
#[inline(always)]
fn long(lo: u64, hi: u64, len: usize, scale: usize) -> Option<i64> {
    let low = |n: usize| (1u128 << (8 * n)) - 1;
    let text = u128::from(hi) << 64 | u128::from(lo);
    let dot = match find(lo, b'.') {
        8 => 8 + find(hi, b'.'),
        dot => dot,
    };
    let (digits, mut count, mut decimals) = if dot == 16 {
        (text, len, 0)
    } else {
        (text & low(dot) | text >> 8 & !low(dot), len - 1, len - 1 - dot)
    };
    if dot == 0 || (dot < 16 && decimals == 0) {
        return None;
    }
    let zeros = u128::from(ZEROS) << 64 | u128::from(ZEROS);
    let x = digits ^ (zeros & low(count));
    if not_digits(x as u64) | not_digits((x >> 64) as u64) != 0 {
        return None;
    }
    if decimals > scale {
        count -= decimals - scale;
        decimals = scale;
        if x >> (8 * count) != 0 {
            return None;
        }
    }
    let x = x << (8 * (16 - count));
    let value = eight_digits(x as u64) * 100_000_000 + eight_digits((x >> 64) as u64);
    (value as i64).checked_mul(POW10[scale - decimals])
}

/// Near the end of the frame, or longer than 15 bytes.
#[cold]
fn bytewise(bytes: &[u8], at: usize, grid: Increment) -> Option<(i64, usize)> {
    let len = bytes.get(at..)?.iter().take(64).position(|&c| c == b'"')?;
    Some((grid.parse_count(&bytes[at..at + len]).ok()?, at + len))
}

/// The JSON integer that begins at `at`, and where it ends: no sign, no leading zero, at most 18 digits.
#[inline(always)]
pub(super) fn integer(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    if *bytes.get(at)? == b'0' {
        let more = bytes.get(at + 1).is_some_and(u8::is_ascii_digit);
        return (!more).then_some((0, at + 1));
    }
    let Some([lo, hi]) = load(bytes, at) else { return integer_bytewise(bytes, at) };
    let (lo, hi) = (lo ^ ZEROS, hi ^ ZEROS);
    let first = (not_digits(lo).trailing_zeros() / 8) as usize;
    if first < 8 {
        // No digit at all is no number; the shift by 8 bytes must not be reached.
        return (first > 0).then(|| (eight_digits((lo & low(first)) << (8 * (8 - first))), at + first));
    }
    let second = (not_digits(hi).trailing_zeros() / 8) as usize;
    if second == 8 {
        return integer_bytewise(bytes, at);
    }
    let tail = if second == 0 { 0 } else { eight_digits((hi & low(second)) << (8 * (8 - second))) };
    Some((eight_digits(lo) * POW10[second] as u64 + tail, at + 8 + second))
}

#[cold]
fn integer_bytewise(bytes: &[u8], at: usize) -> Option<(u64, usize)> {
    let len = bytes.get(at..)?.iter().take_while(|c| c.is_ascii_digit()).count();
    if !(1..=18).contains(&len) {
        return None;
    }
    let digits = &bytes[at..at + len];
    Some((digits.iter().fold(0, |n, c| n * 10 + u64::from(c - b'0')), at + len))
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

    proptest! {
        #[test]
        fn decimals_are_those_of_the_plain_parser(
            text in "[0-9]{0,12}(\\.[0-9]{0,9})?|[0-9.\"x-]{0,20}", tail in "[\",\\]0-9.]{0,20}", grid in grids()
        ) {
            let bytes = format!("{text}\"{tail}");
            let found = decimal(bytes.as_bytes(), 0, grid);
            prop_assert_eq!(found, plain(bytes.as_bytes(), grid), "{}", bytes);
        }

        #[test]
        fn any_bytes_are_read_as_the_plain_parser_reads_them(bytes in prop::collection::vec(any::<u8>(), 0..40), grid in grids()) {
            let found = decimal(&bytes, 0, grid);
            // The plain parser knows no limit of length; the reader gives up at 64 bytes.
            prop_assert_eq!(found, plain(&bytes, grid));
        }

        #[test]
        fn zeros_past_the_grid_are_dropped(n in 0i64..1_000_000_000, zeros in 0usize..7, scale in 0u8..5) {
            let grid = Increment::decimals(scale);
            let dot = if scale == 0 && zeros > 0 { "." } else { "" };
            let bytes = format!("{}{dot}{}\",\"1.000\"]", grid.format(n), "0".repeat(zeros));
            prop_assert_eq!(decimal(bytes.as_bytes(), 0, grid).map(|(n, _)| n), Some(n), "{}", bytes);
        }

        #[test]
        fn integers_round_trip(n in any::<u64>(), bits in 0u32..64, tail in "[,}]?[0-9]{0,20}") {
            let n = n >> bits;
            let text = n.to_string();
            let bytes = format!("{text},{tail}");
            let expected = (text.len() <= 18).then_some((n, text.len()));
            prop_assert_eq!(integer(bytes.as_bytes(), 0), expected);
            prop_assert_eq!(integer(text.as_bytes(), 0), expected);
        }
    }

    #[test]
    fn what_is_no_integer_is_none() {
        for bad in ["", "-1", "01", "00", "x", "\"1\"", "9999999999999999999,"] {
            assert_eq!(integer(bad.as_bytes(), 0), None, "{bad}");
        }
        assert_eq!(integer(b"0,                  ", 0), Some((0, 1)));
        assert_eq!(integer(b"                    ", 0), None);
    }
}
