//! Times as people write them, without a calendar library.
//!
//! In: RFC 3339 text, or milliseconds. Out: [`UnixMillis`], and back. Only UTC is written;
//! leap seconds are read as the second before.

use crate::digest::UnixMillis;

/// Milliseconds in a day.
const DAY: i64 = 86_400_000;

/// Reads milliseconds since 1970, or RFC 3339 such as `2026-03-04T05:06:07Z`.
#[must_use]
pub fn parse(text: &str) -> Option<UnixMillis> {
    if !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit()) {
        return text.parse().ok().map(UnixMillis);
    }
    let (date, rest) = text.split_once(['T', 't', ' '])?;
    let mut parts = date.split('-');
    let (year, month, day) = (
        digits(parts.next()?, 4)?,
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
    );
    if parts.next().is_some()
        || !(1..=12).contains(&month)
        || !(1..=days_in(year, month)).contains(&day)
    {
        return None;
    }
    let zone = rest.find(['Z', 'z', '+', '-'])?;
    let (clock, zone) = rest.split_at_checked(zone)?;
    let (clock, fraction) = clock.split_once('.').unwrap_or((clock, "0"));
    let mut parts = clock.split(':');
    let (hour, minute, second) = (
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
        digits(parts.next()?, 2)?,
    );
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    let millis = days(year, month, day)
        .checked_mul(DAY)?
        .checked_add(hour.checked_mul(3_600_000)?)?
        .checked_add(minute.checked_mul(60_000)?)?
        .checked_add(second.min(59).checked_mul(1000)?)?
        .checked_add(fraction_millis(fraction)?)?
        .checked_sub(offset(zone)?)?;
    u64::try_from(millis).ok().map(UnixMillis)
}

/// `2026-03-04 05:06:07Z`.
#[must_use]
pub fn format(at: UnixMillis) -> String {
    let UnixMillis(millis) = at;
    let second = (millis / 1000) % 86_400;
    // Of 64 bits, 38 are left.
    let (year, month, day) = civil((millis / 86_400_000).cast_signed());
    format!(
        "{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02}Z",
        second / 3600,
        second / 60 % 60,
        second % 60
    )
}

/// A length of time in words: `90 s`, `12 min`, `5 h`, `3 days`.
#[must_use]
pub fn span(millis: u64) -> String {
    let seconds = millis.div_ceil(1000);
    match seconds {
        0..=119 => format!("{seconds} s"),
        120..=7199 => format!("{} min", seconds.div_ceil(60)),
        7200..=172_799 => format!("{} h", seconds.div_ceil(3600)),
        _ => format!("{} days", seconds.div_ceil(86_400)),
    }
}

fn digits(text: &str, length: usize) -> Option<i64> {
    (text.len() == length && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok())?
}

fn fraction_millis(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let three: String = text.chars().chain("00".chars()).take(3).collect();
    three.parse().ok()
}

fn offset(zone: &str) -> Option<i64> {
    if zone.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let (sign, rest) = match zone.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let (hour, minute) = rest.split_once(':')?;
    let (hour, minute) = (digits(hour, 2)?, digits(minute, 2)?);
    if hour > 23 || minute > 59 {
        return None;
    }
    let minutes = hour.checked_mul(60)?.checked_add(minute)?;
    minutes.checked_mul(60_000)?.checked_mul(sign)
}

fn days_in(year: i64, month: i64) -> i64 {
    match month {
        2 if year.rem_euclid(4) == 0
            && (year.rem_euclid(100) != 0 || year.rem_euclid(400) == 0) =>
        {
            29
        }
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar, by counting from 1 March.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "years have four digits here, so nothing comes near the limits"
)]
fn days(year: i64, month: i64, day: i64) -> i64 {
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let era = y.div_euclid(400);
    let in_era = y.rem_euclid(400);
    let of_year = (153 * m + 2) / 5 + day - 1;
    era * 146_097 + in_era * 365 + in_era / 4 - in_era / 100 + of_year - 719_468
}

/// The date of a day since 1970-01-01.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "days come from milliseconds in 64 bits, far from the limits of i64"
)]
fn civil(days: i64) -> (i64, i64, i64) {
    let z = days + 719_468;
    let era = z.div_euclid(146_097);
    let of_era = z.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let m = (5 * of_year + 2) / 153;
    let day = of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    (year_of_era + era * 400 + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_read_and_written() {
        let at = parse("2026-03-04T05:06:07.089Z").unwrap();
        assert_eq!(at, UnixMillis(1_772_600_767_089));
        assert_eq!(format(at), "2026-03-04 05:06:07Z");
    }

    #[test]
    fn milliseconds_are_read_as_they_are() {
        assert_eq!(parse("1772600767089"), Some(UnixMillis(1_772_600_767_089)));
        assert_eq!(parse("0"), Some(UnixMillis(0)));
        assert_eq!(parse(""), None);
    }

    #[test]
    fn an_offset_is_taken_off() {
        let at = parse("2026-03-04T05:06:07Z");
        assert!(at.is_some());
        for same in [
            "2026-03-04t05:06:07z",
            "2026-03-04T07:06:07+02:00",
            "2026-03-04T03:36:07-01:30",
            "2026-03-05T05:05:07+23:59",
        ] {
            assert_eq!(parse(same), at, "{same}");
        }
    }

    #[test]
    fn the_first_and_the_last_moment_of_everything_is_read() {
        for (text, millis) in [
            ("1970-01-01T00:00:00Z", 0),
            ("1970-01-31T23:59:59Z", 2_678_399_000),
            ("1970-12-31T23:59:59.999Z", 31_535_999_999),
            ("1970-12-31T23:59:60Z", 31_535_999_000),
            ("1970-01-01T00:00:00.5Z", 500),
            ("1970-01-01T00:00:00.0891Z", 89),
        ] {
            assert_eq!(parse(text), Some(UnixMillis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "1969-12-31T23:59:59Z",
            "2026-00-04T05:06:07Z",
            "2026-13-04T05:06:07Z",
            "2026-03-00T05:06:07Z",
            "2026-03-32T05:06:07Z",
            "2026-04-31T05:06:07Z",
            "2026-3-04T05:06:07Z",
            "2026-+3-04T05:06:07Z",
            "2026-03-04-05T05:06:07Z",
            "2026-03-04T24:06:07Z",
            "2026-03-04T05:60:07Z",
            "2026-03-04T05:06:61Z",
            "2026-03-04T05:06:07:08Z",
            "2026-03-04T05:06:07.Z",
            "2026-03-04T05:06:07.1xZ",
            "2026-03-04T05:06:07+24:00",
            "2026-03-04T05:06:07+02:60",
            "2026-03-04T05:06:07+2:00",
            "2026-03-04T05:06:07Zz",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }

    #[test]
    fn the_last_second_of_a_day_is_written() {
        let last = parse("2026-12-31T23:59:58Z").unwrap();
        assert_eq!(format(last), "2026-12-31 23:59:58Z");
    }

    #[test]
    fn every_day_of_ten_thousand_years_is_counted_as_a_calendar_counts_it() {
        // 1970-01-01 is 719,528 days after 0000-01-01.
        let mut expected = -719_528;
        for year in 0..10_000 {
            let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
            let february = if leap { 29 } else { 28 };
            let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
            for (month, length) in (1..).zip(lengths) {
                assert_eq!(days_in(year, month), length);
                for day in 1..=length {
                    assert_eq!(days(year, month, day), expected);
                    assert_eq!(civil(expected), (year, month, day));
                    expected += 1;
                }
            }
        }
    }

    #[test]
    fn a_length_of_time_has_the_unit_that_suits_it() {
        for (seconds, words) in [
            (0, "0 s"),
            (119, "119 s"),
            (120, "2 min"),
            (7199, "120 min"),
            (7200, "2 h"),
            (172_799, "48 h"),
            (172_800, "2 days"),
        ] {
            assert_eq!(span(seconds * 1000), words);
        }
        assert_eq!(span(1), "1 s");
    }

    #[test]
    fn the_leap_day_is_a_day() {
        assert_eq!(
            format(parse("2024-02-29T00:00:00Z").unwrap()),
            "2024-02-29 00:00:00Z"
        );
        assert_eq!(parse("2026-02-29T00:00:00Z"), None);
    }

    #[test]
    fn a_date_without_a_zone_is_refused() {
        assert_eq!(parse("2026-03-04T05:06:07"), None);
    }
}
