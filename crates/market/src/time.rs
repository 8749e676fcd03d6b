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
    fn a_date_changes_at_midnight_utc() {
        let midnight = 1_618_099_200u64; // 2021-04-11T00:00:00Z
        assert_eq!(utc_date(Nanos(midnight * Nanos::SECOND)).to_string(), "2021-04-11");
        assert_eq!(utc_date(Nanos(midnight * Nanos::SECOND - 1)).to_string(), "2021-04-10");
        assert_eq!(utc_date(Nanos(u64::MAX)).to_string(), "2554-07-21");
    }
}
