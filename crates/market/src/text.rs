//! Numbers as people read them, one way everywhere: `1 trade` and `2 trades`, and never `-0.00`.

use std::fmt::Display;

/// A count of things: `1 trade`, `2 trades`, `0 entries`.
pub fn counted<N: Display + PartialEq + From<u8>>(n: N, what: &str) -> String {
    if n == N::from(1) { format!("{n} {what}") } else { format!("{n} {}", plural(what)) }
}

fn plural(what: &str) -> String {
    let before_y = what.strip_suffix('y').filter(|stem| !stem.ends_with(['a', 'e', 'o', 'u']));
    match before_y {
        Some(stem) => format!("{stem}ies"),
        None if what.ends_with(['s', 'x']) || what.ends_with("ch") => format!("{what}es"),
        None => format!("{what}s"),
    }
}

/// A number with so many digits behind the point; what rounds to zero has no sign.
pub fn fixed(x: f64, digits: usize) -> String {
    unsigned_zero(format!("{x:.digits$}"), "")
}

/// The same with its sign; what rounds to zero is `+0.00`.
pub fn signed(x: f64, digits: usize) -> String {
    unsigned_zero(format!("{x:+.digits$}"), "+")
}

/// A length of time to the nearest unit that says enough: `40 s`, `13 min`, `3 h`.
pub fn rough(ms: u64) -> String {
    match ms {
        0..120_000 => format!("{} s", ms.div_ceil(1_000)),
        120_000..7_200_000 => format!("{} min", ms.div_ceil(60_000)),
        _ => format!("{} h", ms.div_ceil(3_600_000)),
    }
}

fn unsigned_zero(text: String, sign: &str) -> String {
    match text.strip_prefix('-') {
        Some(rest) if rest.bytes().all(|b| matches!(b, b'0' | b'.')) => format!("{sign}{rest}"),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_not_many() {
        assert_eq!(counted(1, "trade"), "1 trade");
        assert_eq!(counted(0_u64, "trade"), "0 trades");
        assert_eq!(counted(2_usize, "entry"), "2 entries");
        assert_eq!(counted(2_u32, "day"), "2 days");
        assert_eq!(counted(3, "day file"), "3 day files");
        assert_eq!(counted(3, "loss"), "3 losses");
    }

    #[test]
    fn a_rough_time_is_never_none() {
        assert_eq!(rough(1), "1 s");
        assert_eq!(rough(760_000), "13 min");
        assert_eq!(rough(3 * 3_600_000), "3 h");
    }

    #[test]
    fn what_rounds_to_zero_has_no_minus() {
        assert_eq!(fixed(-0.001, 2), "0.00");
        assert_eq!(fixed(-0.0, 0), "0");
        assert_eq!(fixed(-0.006, 2), "-0.01");
        assert_eq!(signed(-0.001, 2), "+0.00");
        assert_eq!(signed(-1.5, 2), "-1.50");
        assert_eq!(signed(1.5, 2), "+1.50");
        assert_eq!(fixed(f64::NEG_INFINITY, 2), "-inf");
    }
}
