//! Times are arguments: nanoseconds since the Unix epoch, and the UTC date they fall on.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A calendar date (UTC).
pub type Date = jiff::civil::Date;

/// Nanoseconds since the Unix epoch, or a duration of as many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// One millisecond.
    pub const MS: u64 = 1_000_000;
    /// One second.
    pub const SECOND: u64 = 1_000_000_000;

    /// From venue milliseconds; saturates at the end of time.
    pub const fn from_millis(ms: u64) -> Self {
        Self(ms.saturating_mul(Self::MS))
    }

    /// Whole milliseconds.
    pub const fn millis(self) -> u64 {
        self.0 / Self::MS
    }

    /// Time since `earlier`, zero if it is later.
    #[must_use]
    pub const fn since(self, earlier: Self) -> Self {
        Self(self.0.saturating_sub(earlier.0))
    }

    /// Later by `ns`.
    #[must_use]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.saturating_add(ns))
    }
}

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:09}", self.0 / Self::SECOND, self.0 % Self::SECOND)
    }
}

/// A point on the venue's clock. It has no arithmetic with our own times: those meet only through a [`ClockOffset`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
#[repr(transparent)]
pub struct VenueTime(pub Nanos);

impl VenueTime {
    /// Later by `ns`.
    #[must_use]
    pub const fn plus(self, ns: u64) -> Self {
        Self(self.0.plus(ns))
    }

    /// Earlier by `ns`, not below the epoch.
    #[must_use]
    pub const fn minus(self, ns: u64) -> Self {
        Self(Nanos(self.0.0.saturating_sub(ns)))
    }
}

/// The venue's clock against ours, as measured, and how wrong the measurement may be.
///
/// `at` and every `now` are our own clock's times; the offset is *venue minus ours*. Between measurements the two
/// clocks drift apart, so the error grows by [`Self::DRIFT_PPM`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClockOffset {
    /// Venue minus ours, ns.
    pub offset_ns: i64,
    /// Largest error of the offset when it was measured, ns.
    pub error_ns: u64,
    /// When it was measured (our clock).
    pub at: Nanos,
}

impl ClockOffset {
    /// How fast two undisciplined clocks may drift apart, parts per million.
    pub const DRIFT_PPM: u64 = 100;
    /// Both clocks are one: replay, tests.
    pub const EXACT: Self = Self { offset_ns: 0, error_ns: 0, at: Nanos(u64::MAX) };

    /// Largest error of the offset at `now`, ns.
    pub const fn error_at(&self, now: Nanos) -> u64 {
        let drift = now.since(self.at).0 / 1_000_000 * Self::DRIFT_PPM;
        self.error_ns.saturating_add(drift)
    }

    /// The venue's time at our `now`, as far as known.
    pub const fn to_venue(&self, now: Nanos) -> VenueTime {
        VenueTime(Nanos(now.0.saturating_add_signed(self.offset_ns)))
    }

    /// How old a venue event is at our `now`, ns; negative where it lies ahead. True to [`Self::error_at`].
    pub fn age_ns(&self, now: Nanos, event: VenueTime) -> i64 {
        let age = i128::from(self.to_venue(now).0.0) - i128::from(event.0.0);
        age.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64
    }
}

/// The UTC date of a time (SPEC §3.13: dates come from event time).
pub fn utc_date(at: Nanos) -> Date {
    let days = i32::try_from(at.0 / (86_400 * Nanos::SECOND)).unwrap_or(i32::MAX);
    let epoch = jiff::civil::date(1970, 1, 1);
    epoch.checked_add(jiff::Span::new().days(days)).unwrap_or(Date::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_taken_on_the_venues_clock_and_the_error_grows() {
        let ms = Nanos::from_millis;
        let clock = ClockOffset { offset_ns: -1_100_000_000, error_ns: 5_000_000, at: ms(10_000) };
        assert_eq!(clock.to_venue(ms(10_000)), VenueTime(ms(8_900)));
        assert_eq!(clock.age_ns(ms(10_000), VenueTime(ms(8_800))), 100_000_000);
        assert_eq!(clock.age_ns(ms(10_000), VenueTime(ms(9_000))), -100_000_000);
        assert_eq!((clock.error_at(ms(10_000)), clock.error_at(ms(20_000))), (5_000_000, 6_000_000));
        assert_eq!(ClockOffset::EXACT.error_at(Nanos(u64::MAX)), 0);
        let far = ClockOffset { offset_ns: i64::MIN, ..ClockOffset::EXACT };
        assert_eq!(far.age_ns(Nanos(0), VenueTime(Nanos(u64::MAX))), i64::MIN);
    }

    #[test]
    fn a_date_changes_at_midnight_utc() {
        let midnight = 1_618_099_200u64; // 2021-04-11T00:00:00Z
        assert_eq!(utc_date(Nanos(midnight * Nanos::SECOND)).to_string(), "2021-04-11");
        assert_eq!(utc_date(Nanos(midnight * Nanos::SECOND - 1)).to_string(), "2021-04-10");
        assert_eq!(utc_date(Nanos(u64::MAX)).to_string(), "2554-07-21");
    }
}
