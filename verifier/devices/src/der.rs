//! A writer of DER: each function gives one element, tag and length too.

/// An element of any tag of one byte.
#[must_use]
pub fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let bytes = content.len().to_be_bytes();
    let significant: Vec<u8> = bytes.into_iter().skip_while(|b| *b == 0).collect();
    let mut out = vec![tag];
    match significant.as_slice() {
        [] => out.push(0),
        [short] if *short < 0x80 => out.push(*short),
        long => {
            out.push(0x80 | u8::try_from(long.len()).unwrap());
            out.extend_from_slice(long);
        }
    }
    out.extend_from_slice(content);
    out
}

/// SEQUENCE of elements.
#[must_use]
pub fn sequence(parts: &[&[u8]]) -> Vec<u8> {
    element(0x30, &parts.concat())
}

/// SET of one element; an order is not needed then.
#[must_use]
pub fn set_of_one(part: &[u8]) -> Vec<u8> {
    element(0x31, part)
}

/// `[number] EXPLICIT` around an element.
#[must_use]
pub fn explicit(number: u8, part: &[u8]) -> Vec<u8> {
    element(0xa0 | number, part)
}

/// INTEGER of a magnitude, big-endian; leading zeros are left out, and one is put where the sign needs it.
#[must_use]
pub fn unsigned(magnitude: &[u8]) -> Vec<u8> {
    let mut content: Vec<u8> = magnitude.iter().copied().skip_while(|b| *b == 0).collect();
    if content.first().is_none_or(|b| *b >= 0x80) {
        content.insert(0, 0);
    }
    element(0x02, &content)
}

/// INTEGER.
#[must_use]
pub fn number(value: u64) -> Vec<u8> {
    unsigned(&value.to_be_bytes())
}

/// BOOLEAN.
#[must_use]
pub fn boolean(is: bool) -> Vec<u8> {
    element(0x01, &[if is { 0xff } else { 0x00 }])
}

/// NULL.
#[must_use]
pub fn null() -> Vec<u8> {
    element(0x05, &[])
}

/// BIT STRING of whole bytes.
#[must_use]
pub fn bits(bytes: &[u8]) -> Vec<u8> {
    element(0x03, &[&[0], bytes].concat())
}

/// OCTET STRING.
#[must_use]
pub fn octets(bytes: &[u8]) -> Vec<u8> {
    element(0x04, bytes)
}

/// UTF8String.
#[must_use]
pub fn utf8(text: &str) -> Vec<u8> {
    element(0x0c, text.as_bytes())
}

/// PrintableString.
#[must_use]
pub fn printable(text: &str) -> Vec<u8> {
    element(0x13, text.as_bytes())
}

/// IA5String.
#[must_use]
pub fn ia5(text: &str) -> Vec<u8> {
    element(0x16, text.as_bytes())
}

/// OBJECT IDENTIFIER, from its numbers with dots between.
#[must_use]
pub fn oid(dotted: &str) -> Vec<u8> {
    element(0x06, &oid_content(dotted))
}

/// The content of an OBJECT IDENTIFIER, as parsers compare it.
#[must_use]
pub fn oid_content(dotted: &str) -> Vec<u8> {
    let numbers: Vec<u64> = dotted.split('.').map(|n| n.parse().unwrap()).collect();
    let (first, rest) = numbers.split_at(2);
    let head = first.first().unwrap() * 40 + first.last().unwrap();
    let mut out = Vec::new();
    for number in [&[head], rest].concat() {
        let mut groups = vec![u8::try_from(number & 0x7f).unwrap()];
        let mut left = number >> 7;
        while left > 0 {
            groups.push(u8::try_from(left & 0x7f).unwrap() | 0x80);
            left >>= 7;
        }
        out.extend(groups.iter().rev());
    }
    out
}

/// A time as certificates have it: UTCTime before 2050, GeneralizedTime from then on. `at` is in
/// milliseconds since 1970 and rounded down to seconds. SPEC: RFC 5280 4.1.2.5
#[must_use]
pub fn time(at: u64) -> Vec<u8> {
    let (year, text) = calendar(at);
    if year < 2050 {
        element(0x17, text.get(2..).unwrap().as_bytes())
    } else {
        element(0x18, text.as_bytes())
    }
}

/// The year, and `YYYYMMDDhhmmssZ`.
fn calendar(at: u64) -> (u64, String) {
    let seconds = at / 1000;
    let (mut days, second) = (seconds / 86_400, seconds % 86_400);
    let leap = |y: u64| y.is_multiple_of(4) && (!y.is_multiple_of(100) || y.is_multiple_of(400));
    let mut year = 1970;
    while days >= if leap(year) { 366 } else { 365 } {
        days -= if leap(year) { 366 } else { 365 };
        year += 1;
    }
    let february = if leap(year) { 29 } else { 28 };
    let mut month = 1;
    for length in [31, february, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31] {
        if days < length {
            break;
        }
        days -= length;
        month += 1;
    }
    let text = format!(
        "{year:04}{month:02}{:02}{:02}{:02}{:02}Z",
        days + 1,
        second / 3600,
        second / 60 % 60,
        second % 60
    );
    (year, text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_are_as_short_as_can_be() {
        assert_eq!(element(4, &[]), [4, 0]);
        assert_eq!(element(4, &[7; 127])[..2], [4, 127]);
        assert_eq!(element(4, &[7; 128])[..3], [4, 0x81, 128]);
        assert_eq!(element(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
    }

    #[test]
    fn integers_are_not_negative() {
        assert_eq!(number(0), [2, 1, 0]);
        assert_eq!(number(127), [2, 1, 127]);
        assert_eq!(number(128), [2, 2, 0, 128]);
        assert_eq!(unsigned(&[0, 0, 1, 2]), [2, 2, 1, 2]);
    }

    #[test]
    fn identifiers_are_as_in_the_standards() {
        assert_eq!(oid_content("2.5.29.19"), [0x55, 0x1d, 0x13]);
        assert_eq!(
            oid_content("1.2.840.113549.1.1.10"),
            [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x0a]
        );
    }

    #[test]
    fn times_are_as_in_the_standards() {
        assert_eq!(time(951_868_799_000)[2..], *b"000229235959Z");
        assert_eq!(time(1_772_600_767_999)[2..], *b"260304050607Z");
        assert_eq!(time(4_107_542_400_000)[2..], *b"21000301000000Z");
    }
}
