//! Frames as text, written without detours: numbers digit by digit into one buffer.

use market::{Amount, Increment};
use serde_json::Value;

/// The first number of nine digits.
const EIGHT: u64 = 100_000_000;
/// Eight characters `0`.
const ZEROS: u64 = 0x3030_3030_3030_3030;

/// A value as JSON: what its `to_string` says, without a formatter between the two.
pub(crate) fn text_of(value: &Value) -> String {
    serde_json::to_string(value).expect("the keys of a value are texts")
}

/// A frame being written.
#[derive(Debug, Default)]
pub(crate) struct Text(Vec<u8>);

impl Text {
    /// A number of increments alone.
    pub(crate) fn of(increment: Increment, count: i64) -> String {
        let mut text = Self(Vec::with_capacity(24));
        text.count(increment, count);
        text.as_str().to_owned()
    }

    /// Begins anew.
    pub(crate) fn clear(&mut self) -> &mut Self {
        self.0.clear();
        self
    }

    /// What was written.
    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).expect("whole texts were joined")
    }

    /// Appends a text.
    pub(crate) fn str(&mut self, text: &str) -> &mut Self {
        self.0.extend_from_slice(text.as_bytes());
        self
    }

    /// Appends a whole number.
    pub(crate) fn int(&mut self, n: u64) -> &mut Self {
        self.digits(n, 0)
    }

    /// Appends a number of increments, with the increment's decimals.
    pub(crate) fn count(&mut self, of: Increment, count: i64) -> &mut Self {
        let units = count.checked_mul(of.mantissa());
        match units {
            Some(units) => self.signed(units, usize::from(of.scale())),
            None => self.str(&of.format(count)),
        }
    }

    /// Appends an amount, with eight decimals.
    pub(crate) fn amount(&mut self, a: Amount) -> &mut Self {
        self.signed(a.0, 8)
    }

    /// Appends `true` or `false`.
    pub(crate) fn flag(&mut self, on: bool) -> &mut Self {
        self.str(if on { "true" } else { "false" })
    }

    fn signed(&mut self, units: i64, decimals: usize) -> &mut Self {
        if units < 0 {
            self.0.push(b'-');
        }
        self.digits(units.unsigned_abs(), decimals)
    }

    /// `n` with a point before the last `decimals` digits.
    fn digits(&mut self, n: u64, decimals: usize) -> &mut Self {
        if n < EIGHT && decimals < 8 {
            let all = eight_digits(n);
            // Zeros in front go, but for one before the point.
            let zeros = ((all | 1 << 56).trailing_zeros() / 8) as usize;
            let len = (8 - zeros).max(decimals + 1);
            let text = (all | ZEROS) >> (8 * (8 - len));
            if decimals == 0 {
                return self.block(text, len);
            }
            let whole = len - decimals;
            self.block(text, whole).0.push(b'.');
            return self.block(text >> (8 * whole), decimals);
        }
        if decimals == 0 && n < EIGHT * EIGHT {
            return self.digits(n / EIGHT, 0).block(eight_digits(n % EIGHT) | ZEROS, 8);
        }
        self.many_digits(n, decimals)
    }

    /// The first `len` of eight characters. Eight are copied, which is cheaper than `len`.
    fn block(&mut self, text: u64, len: usize) -> &mut Self {
        let end = self.0.len() + len;
        self.0.extend_from_slice(&text.to_le_bytes());
        self.0.truncate(end);
        self
    }

    #[cold]
    fn many_digits(&mut self, n: u64, decimals: usize) -> &mut Self {
        let digits = format!("{n:0width$}", width = decimals + 1);
        let (whole, rest) = digits.split_at(digits.len() - decimals);
        self.str(whole);
        if decimals > 0 {
            self.str(".").str(rest);
        }
        self
    }
}

/// The eight digits of `n < 10⁸` as values from 0 to 9, the first in the lowest byte.
fn eight_digits(n: u64) -> u64 {
    // Halves of four digits, quarters of two, digits: all of a kind are divided at once.
    let halves = (n / 10_000) | ((n % 10_000) << 32);
    let hundreds = ((halves * 10_486) >> 20) & 0x0000_007f_0000_007f;
    let pairs = hundreds | (halves - 100 * hundreds) << 16;
    let tens = ((pairs * 103) >> 10) & 0x000f_000f_000f_000f;
    tens | (pairs - 10 * tens) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_read_as_the_vocabulary_writes_them() {
        let counts = [0, 1, -1, 9, 10, 99, 100, 12_345, -12_345, 8_455_012, i64::MAX, i64::MIN + 1];
        for step in ["1", "0.1", "0.10", "0.5", "0.001", "0.00000001", "25"] {
            let of = Increment::parse(step).unwrap();
            for n in counts {
                let mut t = Text::default();
                assert_eq!(t.count(of, n).as_str(), of.format(n).as_str(), "{n} × {step}");
            }
        }
        for a in counts {
            assert_eq!(Text::default().amount(Amount(a)).as_str(), Amount(a).to_string());
        }
        for n in [
            0,
            7,
            10,
            42,
            100,
            101,
            9_999,
            10_000,
            99_999_999,
            1_795_392_000_000,
            EIGHT * EIGHT - 1,
            u64::MAX,
        ] {
            assert_eq!(Text::default().int(n).as_str(), n.to_string());
        }
    }

    #[test]
    fn every_group_of_four_digits_is_right() {
        for n in 0..10_000u64 {
            for n in [n, n * 10_000, n * 10_001] {
                assert_eq!(Text::default().int(n).as_str(), n.to_string());
            }
        }
    }
}
