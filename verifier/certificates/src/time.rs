//! Times of certificates and tokens, without a calendar library.
//!
//! In: digits as DER has them. Out: milliseconds since 1970. Only UTC exists here. Leap seconds are
//! read as the second before.

use crate::der::{DerError, Element, GENERALIZED_TIME, Reader, UTC_TIME};

/// A time of a certificate: UTCTime or GeneralizedTime, in whole seconds.
///
/// SPEC: RFC 5280 4.1.2.5.
///
/// # Errors
/// If it is none.
pub fn certificate_time(r: &mut Reader<'_>, field: &'static str) -> Result<u64, DerError> {
    let element = r.any(field)?;
    let text = element.content;
    let parsed = match element.tag {
        UTC_TIME => text.split_at_checked(2).and_then(|(year, rest)| {
            let year = digits(year, 2)?;
            // 50 to 99 are of the last century.
            let century = if year < 50 { 2000 } else { 1900 };
            seconds(year.checked_add(century)?, rest.strip_suffix(b"Z")?)
        }),
        GENERALIZED_TIME => text
            .split_at_checked(4)
            .and_then(|(year, rest)| seconds(digits(year, 4)?, rest.strip_suffix(b"Z")?)),
        _ => None,
    };
    parsed
        .and_then(|s| s.checked_mul(1000))
        .ok_or(element.wrong(field))
}

/// A token's time: GeneralizedTime with a fraction or without, rounded up to milliseconds, so that what
/// existed before the time existed before the number.
///
/// SPEC: RFC 3161 2.4.2: no zeros at a fraction's end, and no fraction of zero.
///
/// # Errors
/// If it is none.
pub fn token_time(element: Element<'_>, field: &'static str) -> Result<u64, DerError> {
    let parse = || {
        let text = element.content.strip_suffix(b"Z")?;
        let mut halves = text.splitn(2, |b| *b == b'.');
        let (whole, fraction) = (halves.next()?, halves.next());
        let (year, rest) = whole.split_at_checked(4)?;
        let second = seconds(digits(year, 4)?, rest)?;
        let fraction = fraction.map_or(Some(0), fraction_millis)?;
        second.checked_mul(1000)?.checked_add(fraction)
    };
    parse().ok_or(element.wrong(field))
}

/// Milliseconds of a fraction of a second, rounded up.
fn fraction_millis(text: &[u8]) -> Option<u64> {
    if text.len() > 9 || text.last().is_none_or(|b| *b == b'0') {
        return None;
    }
    let value = digits(text, text.len())?;
    let scale = 10_u64.checked_pow(u32::try_from(text.len()).ok()?)?;
    value
        .checked_mul(1000)?
        .checked_add(scale.checked_sub(1)?)?
        .checked_div(scale)
}

fn digits(text: &[u8], length: usize) -> Option<u64> {
    if text.len() != length {
        return None;
    }
    text.iter().try_fold(0_u64, |n, byte| {
        let digit = byte.checked_sub(b'0').filter(|d| *d < 10)?;
        n.checked_mul(10)?.checked_add(u64::from(digit))
    })
}

/// Seconds since 1970 of a year and the ten digits of month, day, hour, minute and second.
fn seconds(year: u64, rest: &[u8]) -> Option<u64> {
    let mut pairs = rest.chunks(2).map(|pair| digits(pair, 2));
    let mut next = || pairs.next()?;
    let (month, day, hour, minute, second) = (next()?, next()?, next()?, next()?, next()?);
    if pairs.next().is_some() || hour > 23 || minute > 59 || second > 60 {
        return None;
    }
    day_number(year, month, day)?
        .checked_mul(86_400)?
        .checked_add(hour.checked_mul(3600)?)?
        .checked_add(minute.checked_mul(60)?)?
        .checked_add(second.min(59))
}

/// Days since 1970-01-01. Nothing before that is a time here.
fn day_number(year: u64, month: u64, day: u64) -> Option<u64> {
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let february = if leap(year) { 29 } else { 28 };
    let lengths = [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31];
    let before = usize::try_from(month.checked_sub(1)?).ok()?;
    if day == 0 || day > *lengths.get(before)? {
        return None;
    }
    // Leap days up to the end of the year before.
    let last = year.checked_sub(1)?;
    let leaps = |y: u64| (y / 4).checked_sub(y / 100)?.checked_add(y / 400);
    year.checked_sub(1970)?
        .checked_mul(365)?
        .checked_add(leaps(last)?.checked_sub(leaps(1969)?)?)?
        .checked_add(lengths.get(..before)?.iter().sum())?
        .checked_add(day.checked_sub(1)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn element(tag: u8, text: &str) -> Vec<u8> {
        let length = u8::try_from(text.len()).unwrap();
        [&[tag, length], text.as_bytes()].concat()
    }

    fn token(text: &str) -> Option<u64> {
        let bytes = element(GENERALIZED_TIME, text);
        token_time(Reader::new(&bytes).any("t").unwrap(), "t").ok()
    }

    fn certificate(tag: u8, text: &str) -> Option<u64> {
        let bytes = element(tag, text);
        certificate_time(&mut Reader::new(&bytes), "t").ok()
    }

    #[test]
    fn a_time_is_read() {
        assert_eq!(token("20260304050607Z"), Some(1_772_600_767_000));
        assert_eq!(token("19700101000000Z"), Some(0));
        assert_eq!(token("20000229235959Z"), Some(951_868_799_000));
        assert_eq!(token("21000301000000Z"), Some(4_107_542_400_000));
    }

    #[test]
    fn a_fraction_is_rounded_up() {
        assert_eq!(token("20260304050607.089Z"), Some(1_772_600_767_089));
        assert_eq!(token("20260304050607.0890001Z"), Some(1_772_600_767_090));
        assert_eq!(token("20260304050607.089000001Z"), Some(1_772_600_767_090));
    }

    #[test]
    fn a_leap_second_is_the_second_before() {
        assert_eq!(token("20161231235960Z"), token("20161231235959Z"));
        assert_eq!(token("20161231235959Z"), Some(1_483_228_799_000));
    }

    #[test]
    fn a_fraction_has_one_form() {
        for text in [
            "20260304050607.Z",
            "20260304050607.0Z",
            "20260304050607.50Z",
            "20260304050607,5Z",
            "20260304050607.1234567891Z",
        ] {
            assert_eq!(token(text), None, "{text}");
        }
    }

    #[test]
    fn a_time_that_is_none_is_refused() {
        for text in [
            "20260229000000Z",
            "21000229000000Z",
            "20261301000000Z",
            "20260001000000Z",
            "20260100000000Z",
            "20260101240000Z",
            "20260101006000Z",
            "20260101000061Z",
            "202601010000Z",
            "20260101000000",
            "20260101000000+0000",
            "2026010100000 Z",
            "2026010100000:Z",
            "19691231235959Z",
            "",
        ] {
            assert_eq!(token(text), None, "{text}");
        }
    }

    #[test]
    fn the_two_digits_of_a_year_are_of_1950_to_2049() {
        assert_eq!(
            certificate(UTC_TIME, "490101000000Z"),
            certificate(GENERALIZED_TIME, "20490101000000Z")
        );
        assert_eq!(
            certificate(UTC_TIME, "990101000000Z"),
            certificate(GENERALIZED_TIME, "19990101000000Z")
        );
        // 1950 is before the first time that there is here; 2050 would not be.
        assert_eq!(certificate(UTC_TIME, "500101000000Z"), None);
        assert!(certificate(GENERALIZED_TIME, "20500101000000Z").is_some());
    }

    #[test]
    fn a_certificates_time_has_no_fraction() {
        assert_eq!(certificate(GENERALIZED_TIME, "20490101000000.5Z"), None);
    }
}
