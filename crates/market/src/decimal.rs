//! Exact numbers. Money, prices and quantities are integers; text becomes an integer once, at the edge.
//!
//! A price is a count of the instrument's ticks, a quantity a count of its lots. [`Increment`] is the size of one
//! tick or lot as `mantissa · 10^-scale`; it turns venue text into counts and counts into text, without rounding:
//! text that is not a whole multiple is an error, never a neighbour.

use std::fmt;
use std::ops::{Add, AddAssign, Neg, Sub, SubAssign};

use arrayvec::ArrayString;
use serde::{Deserialize, Serialize};

/// Largest number of decimals an [`Increment`] may have (`10^18` still fits an `i64`).
pub const MAX_SCALE: u8 = 18;

const POW10: [i64; 19] = {
    let mut p = [1i64; 19];
    let mut i = 1;
    while i < 19 {
        p[i] = p[i - 1] * 10;
        i += 1;
    }
    p
};

/// Why a text is not a number of the wanted kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NumberError {
    /// Not plain decimal digits with at most one dot (signs, exponents, NaN and blanks are refused).
    #[error("not a plain decimal number")]
    Malformed,
    /// More digits than 64 bits hold.
    #[error("number out of range")]
    OutOfRange,
    /// A number, but not a whole multiple of the tick or lot.
    #[error("not a multiple of the increment")]
    OffGrid,
}

macro_rules! counted {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        #[repr(transparent)]
        pub struct $name(pub i64);

        impl $name {
            /// Nothing.
            pub const ZERO: Self = Self(0);
            /// Is it zero?
            pub const fn is_zero(self) -> bool {
                self.0 == 0
            }
            /// Distance from zero.
            #[must_use]
            pub const fn abs(self) -> Self {
                Self(self.0.abs())
            }
        }
        impl Add for $name {
            type Output = Self;
            fn add(self, o: Self) -> Self {
                Self(self.0 + o.0)
            }
        }
        impl Sub for $name {
            type Output = Self;
            fn sub(self, o: Self) -> Self {
                Self(self.0 - o.0)
            }
        }
        impl Neg for $name {
            type Output = Self;
            fn neg(self) -> Self {
                Self(-self.0)
            }
        }
        impl AddAssign for $name {
            fn add_assign(&mut self, o: Self) {
                self.0 += o.0;
            }
        }
        impl SubAssign for $name {
            fn sub_assign(&mut self, o: Self) {
                self.0 -= o.0;
            }
        }
    };
}

counted! {
    /// A price, in ticks of its instrument.
    Px
}
counted! {
    /// A quantity, in lots of its instrument. Signed where it is a position.
    Qty
}
counted! {
    /// An amount of the quote asset, in units of 10⁻⁸.
    Amount
}

impl Amount {
    /// Units in one whole of the quote asset.
    pub const ONE: i64 = 100_000_000;

    /// The nearest amount to `value`; `None` where it does not fit or is not finite.
    pub fn from_f64(value: f64) -> Option<Self> {
        let units = (value * Self::ONE as f64).round();
        (units.abs() < 9.0e18).then_some(Self(units as i64))
    }

    /// For reports and signals only.
    pub fn to_f64(self) -> f64 {
        self.0 as f64 / Self::ONE as f64
    }

    /// Venue text such as `-0.01234567`; digits past the eighth are cut toward zero (the venue sends at most eight).
    pub fn parse(text: &[u8]) -> Result<Self, NumberError> {
        let (negative, digits) = match text.split_first() {
            Some((b'-', rest)) => (true, rest),
            _ => (false, text),
        };
        let units = parse_scaled(digits, 8, true)?;
        Ok(Self(if negative { -units } else { units }))
    }
}

impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let a = self.0.unsigned_abs();
        let sign = if self.0 < 0 { "-" } else { "" };
        write!(f, "{sign}{}.{:08}", a / Self::ONE as u64, a % Self::ONE as u64)
    }
}

/// The size of one tick or one lot: `mantissa · 10^-scale`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Increment {
    mantissa: i64,
    scale: u8,
}

impl Increment {
    /// `mantissa · 10^-scale`; `None` unless `mantissa > 0` and `scale ≤ 18`.
    pub const fn new(mantissa: i64, scale: u8) -> Option<Self> {
        if mantissa > 0 && scale <= MAX_SCALE { Some(Self { mantissa, scale }) } else { None }
    }

    /// One unit in the last of `scale` decimals. Panics if `scale > 18`: a constant of the program, not an input.
    pub const fn decimals(scale: u8) -> Self {
        assert!(scale <= MAX_SCALE, "at most 18 decimals");
        Self { mantissa: 1, scale }
    }

    /// From venue text such as `0.10` or `5`; trailing zeros are dropped.
    pub fn parse(text: &str) -> Result<Self, NumberError> {
        let (int, frac) = text.split_once('.').unwrap_or((text, ""));
        let frac = frac.trim_end_matches('0');
        let scale = u8::try_from(frac.len()).map_err(|_| NumberError::OutOfRange)?;
        if scale > MAX_SCALE {
            return Err(NumberError::OutOfRange);
        }
        let mut joined = ArrayString::<40>::new();
        if joined.try_push_str(int).is_err() || joined.try_push_str(frac).is_err() {
            return Err(NumberError::OutOfRange);
        }
        let mantissa = parse_scaled(joined.as_bytes(), 0, false)?;
        Self::new(mantissa, scale).ok_or(NumberError::Malformed)
    }

    /// Decimals in the text of a multiple.
    pub const fn scale(self) -> u8 {
        self.scale
    }

    /// Units of `10^-scale` in one increment.
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The increment as a float (for signals and display).
    pub fn to_f64(self) -> f64 {
        self.value(1)
    }

    /// `count` increments as the float nearest to the exact decimal, the one that parsing its text would give:
    /// numerator and power of ten are exact, so the single division rounds once.
    #[inline]
    pub fn value(self, count: i64) -> f64 {
        (count * self.mantissa) as f64 / POW10[self.scale as usize] as f64
    }

    /// How many increments `value` is, to the nearest; `None` where it is not finite or does not fit.
    pub fn nearest(self, value: f64) -> Option<i64> {
        let n = (value * POW10[self.scale as usize] as f64 / self.mantissa as f64).round();
        (n.abs() < 9.0e15).then_some(n as i64)
    }

    /// How many whole increments fit below `value` (never above it, beyond one part in 10¹²).
    pub fn floor(self, value: f64) -> Option<i64> {
        let exact = value * POW10[self.scale as usize] as f64 / self.mantissa as f64;
        let near = exact.round();
        // 0.3 / 0.1 is 2.9999999999999996: a value within one part in 10¹² of the grid is on the grid.
        let n = if (exact - near).abs() <= near.abs() * 1e-12 { near } else { exact.floor() };
        (n.abs() < 9.0e15).then_some(n as i64)
    }

    /// Venue text to a count: unsigned plain decimal, exact or an error.
    #[inline]
    pub fn parse_count(self, text: &[u8]) -> Result<i64, NumberError> {
        let units = parse_scaled(text, self.scale, false)?;
        if self.mantissa == 1 {
            return Ok(units);
        }
        if units % self.mantissa != 0 {
            return Err(NumberError::OffGrid);
        }
        Ok(units / self.mantissa)
    }

    /// A count as venue text with exactly `scale` decimals.
    pub fn format(self, count: i64) -> ArrayString<24> {
        let mut out = ArrayString::new();
        self.write(count, &mut out).expect("an i64 with a dot and a sign fits 24 bytes");
        out
    }

    /// Writes [`Self::format`] into `out`.
    pub fn write(self, count: i64, out: &mut impl fmt::Write) -> fmt::Result {
        let units = i128::from(count) * i128::from(self.mantissa);
        let p = i128::from(POW10[self.scale as usize]);
        let sign = if units < 0 { "-" } else { "" };
        let (int, frac) = (units.abs() / p, units.abs() % p);
        if self.scale == 0 {
            write!(out, "{sign}{int}")
        } else {
            write!(out, "{sign}{int}.{frac:0width$}", width = self.scale as usize)
        }
    }
}

impl fmt::Display for Increment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(1, f)
    }
}

/// Unsigned plain decimal text in units of `10^-scale`. Extra decimals must be zeros unless `cut`.
#[inline]
fn parse_scaled(text: &[u8], scale: u8, cut: bool) -> Result<i64, NumberError> {
    let mut value: i64 = 0;
    let mut i = 0;
    let push = |value: i64, digit: u8| {
        value.checked_mul(10).and_then(|v| v.checked_add(i64::from(digit))).ok_or(NumberError::OutOfRange)
    };
    while i < text.len() && text[i].is_ascii_digit() {
        value = push(value, text[i] - b'0')?;
        i += 1;
    }
    if i == 0 {
        return Err(NumberError::Malformed);
    }
    let mut decimals = 0;
    if i < text.len() {
        if text[i] != b'.' || i + 1 == text.len() {
            return Err(NumberError::Malformed);
        }
        for &c in &text[i + 1..] {
            if !c.is_ascii_digit() {
                return Err(NumberError::Malformed);
            }
            if decimals < scale {
                value = push(value, c - b'0')?;
                decimals += 1;
            } else if c != b'0' && !cut {
                return Err(NumberError::OffGrid);
            }
        }
    }
    value.checked_mul(POW10[(scale - decimals) as usize]).ok_or(NumberError::OutOfRange)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn venue_text_is_taken_exactly_or_refused() {
        let tick = Increment::parse("0.10").unwrap();
        assert_eq!((tick.mantissa(), tick.scale()), (1, 1));
        assert_eq!(tick.parse_count(b"61800.20"), Ok(618_002));
        assert_eq!(tick.parse_count(b"61800.25"), Err(NumberError::OffGrid));
        let half = Increment::parse("0.5").unwrap();
        assert_eq!(half.parse_count(b"7.0"), Ok(14));
        assert_eq!(half.parse_count(b"7.2"), Err(NumberError::OffGrid));
        for bad in
            ["", ".", "1.", ".5", "-1", "+1", "1e3", "NaN", "Infinity", " 1", "1 ", "1.2.3", "0x1", "１"]
        {
            assert_eq!(tick.parse_count(bad.as_bytes()), Err(NumberError::Malformed), "{bad:?}");
        }
        assert_eq!(tick.parse_count(b"99999999999999999999"), Err(NumberError::OutOfRange));
    }

    #[test]
    fn floor_keeps_what_is_on_the_grid() {
        let lot = Increment::decimals(1);
        assert_eq!(lot.floor(0.3), Some(3));
        assert_eq!(lot.floor(0.39), Some(3));
        assert_eq!(lot.floor(f64::NAN), None);
    }

    #[test]
    fn amounts_print_and_parse() {
        assert_eq!(Amount::parse(b"-0.01234567").unwrap().to_string(), "-0.01234567");
        assert_eq!(Amount::parse(b"12").unwrap(), Amount(12 * Amount::ONE));
        assert!(Amount::parse(b"--1").is_err());
    }

    proptest! {
        #[test]
        fn text_round_trips(count in 0i64..1_000_000_000_000, mantissa in prop::sample::select(vec![1i64, 5, 25]), scale in 0u8..9) {
            let inc = Increment::new(mantissa, scale).unwrap();
            let text = inc.format(count);
            prop_assert_eq!(inc.parse_count(text.as_bytes()), Ok(count));
            prop_assert_eq!(inc.value(count), text.parse::<f64>().unwrap());
            prop_assert_eq!(inc.nearest(inc.value(count)), Some(count));
        }

        #[test]
        fn no_text_panics(text in prop::collection::vec(any::<u8>(), 0..40)) {
            let _ = Increment::decimals(8).parse_count(&text);
            let _ = Amount::parse(&text);
            let _ = std::str::from_utf8(&text).map(Increment::parse);
        }
    }
}
