//! Times in files come as seconds, milliseconds, microseconds or nanoseconds, as integers, floats or text. The unit
//! of a number is told by its size: a plausible event time in one unit is far outside the plausible range of the next.

use crate::Nanos;
use jiff::civil::DateTime;
use jiff::tz::Offset;

/// Below: not an event time but a row counter or the like (2001-09-09 in seconds).
const FIRST_SECOND: i64 = 1_000_000_000;
/// Above: not a time we keep (2262, the end of 64-bit nanoseconds).
const LAST_SECOND: i64 = 9_223_372_036;

/// An integer time by its magnitude: below 10¹¹ seconds, 10¹⁴ milliseconds, 10¹⁷ microseconds, else nanoseconds.
/// `None` where it is no plausible event time (before 2001-09-09).
pub fn nanos_from_int(value: i64) -> Option<Nanos> {
    let (unit, per_second) = match value {
        v if v < 100_000_000_000 => (1_000_000_000, 1),
        v if v < 100_000_000_000_000 => (1_000_000, 1_000),
        v if v < 100_000_000_000_000_000 => (1_000, 1_000_000),
        _ => (1, 1_000_000_000),
    };
    let seconds = value / per_second;
    if !(FIRST_SECOND..LAST_SECOND).contains(&seconds) {
        return None;
    }
    u64::try_from(value).ok()?.checked_mul(unit).map(Nanos)
}

/// A float time by its magnitude, as [`nanos_from_int`]; NaN and infinities are no times. Seconds and milliseconds are
/// taken to the microsecond: a double carries no more of them.
pub fn nanos_from_float(value: f64) -> Option<Nanos> {
    if !value.is_finite() || value < FIRST_SECOND as f64 || value > 9.2e18 {
        return None;
    }
    let whole = nanos_from_int(value.trunc() as i64)?;
    let fraction = match value {
        v if v < 1e11 => (v.fract() * 1e6).round() * 1e3,
        v if v < 1e14 => (v.fract() * 1e3).round() * 1e3,
        v if v < 1e17 => (v.fract() * 1e3).round(),
        _ => 0.0,
    };
    Some(whole.plus(fraction as u64))
}

/// A text time: ISO 8601 with or without a zone (without = UTC), `T` or a blank between date and time, a date
/// alone, or a number. `Ok(None)` for blank text, `Err(())` for anything else.
#[expect(
    clippy::result_unit_err,
    reason = "the caller knows the file, row and text; there is nothing to add"
)]
pub fn nanos_from_text(text: &str) -> Result<Option<Nanos>, ()> {
    let text = text.trim();
    if matches!(text, "" | "NaT" | "NaN" | "nan" | "None" | "null") {
        return Ok(None);
    }
    if let Ok(value) = text.parse::<i64>() {
        return Ok(nanos_from_int(value));
    }
    if let Ok(value) = text.parse::<f64>() {
        return Ok(nanos_from_float(value));
    }
    let instant = text.parse::<jiff::Timestamp>().or_else(|_| {
        let civil: DateTime = text.parse()?;
        Offset::UTC.to_timestamp(civil)
    });
    match instant {
        Ok(t) => {
            Ok(u64::try_from(t.as_nanosecond()).ok().and_then(|n| i64::try_from(n).ok()).and_then(exact))
        }
        Err(_) => Err(()),
    }
}

/// Nanoseconds, known to be nanoseconds; `None` before 2001-09-09.
pub fn exact(ns: i64) -> Option<Nanos> {
    (ns / 1_000_000_000 >= FIRST_SECOND).then(|| Nanos(ns.unsigned_abs()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const T: u64 = 1_618_012_860; // 2021-04-10T00:01:00Z

    #[test]
    fn a_number_tells_its_unit_by_its_size() {
        for scale in [1i64, 1_000, 1_000_000, 1_000_000_000] {
            let v = T as i64 * scale;
            assert_eq!(nanos_from_int(v), Some(Nanos(T * Nanos::SECOND)), "{v}");
            assert_eq!(nanos_from_float(v as f64), Some(Nanos(T * Nanos::SECOND)), "{v}");
        }
        assert_eq!(nanos_from_float(T as f64 + 0.5), Some(Nanos(T * Nanos::SECOND + Nanos::SECOND / 2)));
        // `time.time()` of Python, to the microsecond it was made with.
        assert_eq!(nanos_from_float(1_618_099_205.123_456), Some(Nanos(1_618_099_205_123_456_000)));
        for counter in [0, 1, 1439, -5, i64::MIN] {
            assert_eq!(nanos_from_int(counter), None);
        }
        assert_eq!(nanos_from_float(f64::NAN), None);
        assert_eq!(nanos_from_float(f64::INFINITY), None);
    }

    #[test]
    fn text_times_are_utc_unless_they_say_otherwise() {
        let want = Ok(Some(Nanos(T * Nanos::SECOND)));
        for text in [
            "2021-04-10T00:01:00Z",
            "2021-04-10T00:01:00+00:00",
            "2021-04-10 00:01:00",
            "2021-04-10T00:01:00.000000",
            "2021-04-10 02:01:00+02:00",
            "1618012860",
            "1618012860000",
            "1618012860.0",
        ] {
            assert_eq!(nanos_from_text(text), want, "{text}");
        }
        assert_eq!(nanos_from_text("2021-04-10"), Ok(Some(Nanos((T - 60) * Nanos::SECOND))));
        assert_eq!(nanos_from_text(" "), Ok(None));
        assert_eq!(nanos_from_text("yesterday"), Err(()));
        assert_eq!(nanos_from_text("1500-01-01T00:00:00Z"), Ok(None));
    }

    proptest! {
        #[test]
        fn nothing_panics(i: i64, f: f64, text in ".{0,30}") {
            let _ = (nanos_from_int(i), nanos_from_float(f), nanos_from_text(&text));
        }
    }
}
