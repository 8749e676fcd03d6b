//! Floats as Python's `repr` writes them: the shortest digits that read back, in scientific form below 10⁻⁴ and
//! from 10¹⁶ on, always with a dot or an exponent.

/// `repr(x)` of Python 3; `x` must be finite (parameters are).
pub(super) fn repr(x: f64) -> String {
    let mut buffer = zmij::Buffer::new();
    let shortest = buffer.format(x);
    let (sign, magnitude) = shortest.strip_prefix('-').map_or(("", shortest), |rest| ("-", rest));
    let (mantissa, exponent) = magnitude.split_once('e').unwrap_or((magnitude, "0"));
    let Ok(exponent) = exponent.parse::<i32>() else { return shortest.to_owned() };
    let (int, frac) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let joined = format!("{int}{frac}");
    let digits = joined.trim_start_matches('0');
    let leading_zeros = joined.len() - digits.len();
    let digits = digits.trim_end_matches('0');
    if digits.is_empty() {
        return format!("{sign}0.0");
    }
    // The value is 0.d₁d₂d₃… · 10^point.
    let point = int.len() as i32 - leading_zeros as i32 + exponent;
    format!("{sign}{}", place(digits, point))
}

fn place(digits: &str, point: i32) -> String {
    let n = digits.len() as i32;
    match point {
        -3..=0 => format!("0.{}{digits}", "0".repeat(point.unsigned_abs() as usize)),
        1..=16 if n <= point => format!("{digits}{}.0", "0".repeat((point - n) as usize)),
        1..=16 => {
            let (int, frac) = digits.split_at(point as usize);
            format!("{int}.{frac}")
        }
        _ => {
            let exponent = point - 1;
            let (first, rest) = digits.split_at(1);
            let dot = if rest.is_empty() { "" } else { "." };
            let sign = if exponent < 0 { '-' } else { '+' };
            format!("{first}{dot}{rest}e{sign}{:02}", exponent.abs())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::repr;
    use proptest::prelude::*;

    #[test]
    fn as_python_prints() {
        // Left: any spelling of the number; right: what CPython 3 prints for it.
        for (x, text) in [
            (0.2, "0.2"),
            (-0.02, "-0.02"),
            (6.0, "6.0"),
            (0.0, "0.0"),
            (-0.0, "-0.0"),
            (0.0001, "0.0001"),
            (0.000099, "9.9e-05"),
            (1e-5, "1e-05"),
            (1.5e-7, "1.5e-07"),
            (123456.789, "123456.789"),
            (1e15, "1000000000000000.0"),
            (9999999999999998.0, "9999999999999998.0"),
            (1e16, "1e+16"),
            (1.2345e17, "1.2345e+17"),
            (1e22, "1e+22"),
            (1e100, "1e+100"),
            (5e-324, "5e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (1.0 / 3.0, "0.3333333333333333"),
            (100.0, "100.0"),
            (0.1 + 0.2, "0.30000000000000004"),
        ] {
            assert_eq!(repr(x), text);
        }
    }

    proptest! {
        #[test]
        fn reads_back(bits: u64) {
            let x = f64::from_bits(bits);
            prop_assume!(x.is_finite());
            prop_assert_eq!(repr(x).parse::<f64>().unwrap().to_bits(), x.to_bits());
        }
    }
}
