//! A point in time, as the caller gives it. Nothing here asks a clock.

use core::fmt;
use core::time::Duration;

/// Milliseconds since 1970-01-01 00:00:00 UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Moment(pub u64);

impl Moment {
    /// So much later; the last moment there is, if that is beyond it.
    #[must_use]
    pub fn later(self, by: Duration) -> Self {
        let by = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self(self.0.saturating_add(by))
    }

    /// From seconds since 1970.
    #[must_use]
    pub fn of_seconds(seconds: u64) -> Self {
        Self(seconds.saturating_mul(1000))
    }
}

/// As RFC 3339 writes it in UTC, to the second: `2025-06-25T00:00:00Z`.
impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.checked_div(1000).unwrap_or_default();
        let days = seconds.checked_div(86_400).unwrap_or_default();
        let rest = seconds.checked_rem(86_400).unwrap_or_default();
        let (year, month, day) = date(days);
        let (hour, rest) = (rest / 3600, rest % 3600);
        let (minute, second) = (rest / 60, rest % 60);
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Year, month and day of a number of days since 1970-01-01.
///
/// The year begins on 1 March here, so that the day that is sometimes there is its last: 146097 days
/// are 400 years, 36524 a century, 1461 four years.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "2^64 milliseconds are 213 million days, far from any overflow below"
)]
fn date(days: u64) -> (u64, u64, u64) {
    // From 0000-03-01 to 1970-01-01 there are 719468 days.
    let days = days + 719_468;
    let era = days / 146_097;
    let day = days % 146_097;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    // 153 days are five months that begin with one of 31.
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let year = era * 400 + year;
    if month < 10 {
        (year, month + 3, day)
    } else {
        (year + 1, month - 9, day)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_moment_is_written_as_a_date() {
        for (millis, text) in [
            (0, "1970-01-01T00:00:00Z"),
            (951_782_399_999, "2000-02-28T23:59:59Z"),
            (951_782_400_000, "2000-02-29T00:00:00Z"),
            (951_868_800_000, "2000-03-01T00:00:00Z"),
            (1_772_600_767_000, "2026-03-04T05:06:07Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00Z"),
            (4_107_456_000_000, "2100-02-28T00:00:00Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59Z"),
        ] {
            assert_eq!(Moment(millis).to_string(), text);
        }
        // Beyond every calendar, and still no panic.
        assert!(Moment(u64::MAX).to_string().ends_with('Z'));
    }

    #[test]
    fn later_ends_at_the_last_moment() {
        assert_eq!(Moment(5).later(Duration::from_millis(3)), Moment(8));
        assert_eq!(Moment(5).later(Duration::MAX), Moment(u64::MAX));
        assert_eq!(Moment::of_seconds(2), Moment(2000));
    }
}
