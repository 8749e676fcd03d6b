//! Frames as text, written without detours: numbers digit by digit into one buffer.

use market::{Amount, Increment};

/// Pairs of digits.
const PAIRS: &[u8; 200] = b"00010203040506070809101112131415161718192021222324252627282930313233343536373839404142434445464748495051525354555657585960616263646566676869707172737475767778798081828384858687888990919293949596979899";

/// A frame being written.
#[derive(Debug, Default)]
pub(crate) struct Text(Vec<u8>);

impl Text {
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
    fn digits(&mut self, mut n: u64, decimals: usize) -> &mut Self {
        let mut buf = [b'0'; 24];
        let mut at = buf.len();
        while n >= 100 {
            let pair = (n % 100) as usize * 2;
            n /= 100;
            at -= 2;
            buf[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        }
        if n >= 10 {
            at -= 2;
            let pair = n as usize * 2;
            buf[at..at + 2].copy_from_slice(&PAIRS[pair..pair + 2]);
        } else {
            at -= 1;
            buf[at] = b'0' + n as u8;
        }
        if decimals == 0 {
            self.0.extend_from_slice(&buf[at..]);
            return self;
        }
        let point = buf.len() - decimals;
        // At least one digit before the point; what is left of the number is zeros.
        let from = at.min(point - 1);
        self.0.extend_from_slice(&buf[from..point]);
        self.0.push(b'.');
        self.0.extend_from_slice(&buf[point..]);
        self
    }
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
        for n in [0, 7, 10, 42, 100, 101, 1_795_392_000_000, u64::MAX] {
            assert_eq!(Text::default().int(n).as_str(), n.to_string());
        }
    }
}
