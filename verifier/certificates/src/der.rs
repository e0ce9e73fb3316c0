//! A strict reader of DER: one encoding for each value, nothing left over.
//!
//! In: bytes. Out: elements that point into them. Lengths are definite and as short as can be, tags
//! have one byte, and a length is only ever used to cut the input. There is no recursion here, so
//! depth is that of the grammar that a caller follows.
//!
//! Spec: ITU-T X.690, clauses 8 and 10.

use thiserror::Error;

/// Tag: a truth value.
pub const BOOLEAN: u8 = 0x01;
/// Tag: a whole number.
pub const INTEGER: u8 = 0x02;
/// Tag: a string of bits.
pub const BIT_STRING: u8 = 0x03;
/// Tag: a string of bytes.
pub const OCTET_STRING: u8 = 0x04;
/// Tag: nothing.
pub const NULL: u8 = 0x05;
/// Tag: an object identifier.
pub const OID: u8 = 0x06;
/// Tag: a time with two digits of the year.
pub const UTC_TIME: u8 = 0x17;
/// Tag: a time with four digits of the year.
pub const GENERALIZED_TIME: u8 = 0x18;
/// Tag: a sequence.
pub const SEQUENCE: u8 = 0x30;
/// Tag: a set.
pub const SET: u8 = 0x31;

/// Why bytes are not the DER that is expected. `field` is a name of the RFCs, `at` counts bytes from
/// the start of the bytes that were read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DerError {
    /// The bytes end inside an element.
    #[error("bytes end inside {field}, at byte {at}")]
    Truncated {
        /// Which.
        field: &'static str,
        /// Where it starts.
        at: usize,
    },
    /// Another element stands there.
    #[error("{field} at byte {at} has tag {found:#04x}, expected {expected:#04x}")]
    Tag {
        /// Which was expected.
        field: &'static str,
        /// Where.
        at: usize,
        /// The tag that stands there.
        found: u8,
        /// The tag that should.
        expected: u8,
    },
    /// A length that is indefinite, or longer than it has to be.
    #[error("{field} at byte {at} has a length that is not der")]
    Length {
        /// Of what.
        field: &'static str,
        /// Where it starts.
        at: usize,
    },
    /// A value that is not in the one form it has, or that this place does not allow.
    #[error("{field} at byte {at} has a value that is not allowed there")]
    Value {
        /// Of what.
        field: &'static str,
        /// Where its content starts.
        at: usize,
    },
    /// Bytes are left after the last element.
    #[error("{count} bytes are left after {field}")]
    Trailing {
        /// After what.
        field: &'static str,
        /// How many.
        count: usize,
    },
}

/// One element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Element<'a> {
    /// Its tag.
    pub tag: u8,
    /// Its content.
    pub content: &'a [u8],
    /// Tag and length too.
    pub whole: &'a [u8],
    /// Where the content starts.
    pub at: usize,
}

impl<'a> Element<'a> {
    /// The elements inside.
    #[must_use]
    pub fn inside(&self) -> Reader<'a> {
        Reader {
            rest: self.content,
            at: self.at,
        }
    }

    /// Why its content does not serve.
    #[must_use]
    pub fn wrong(&self, field: &'static str) -> DerError {
        DerError::Value { field, at: self.at }
    }
}

/// Reads elements in order.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Of these bytes.
    #[must_use]
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, at: 0 }
    }

    /// Whether nothing is left.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    fn take(&mut self, count: usize, error: DerError) -> Result<&'a [u8], DerError> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(error)?;
        self.rest = rest;
        self.at = self.at.saturating_add(count);
        Ok(taken)
    }

    fn byte(&mut self, error: DerError) -> Result<u8, DerError> {
        self.take(1, error)?.first().copied().ok_or(error)
    }

    /// The next element, whatever it is.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn any(&mut self, field: &'static str) -> Result<Element<'a>, DerError> {
        let (start, from) = (self.rest, self.at);
        let truncated = DerError::Truncated { field, at: from };
        let tag = self.byte(truncated)?;
        if tag & 0x1f == 0x1f {
            // No tag of these formats needs more than one byte.
            return Err(DerError::Value { field, at: from });
        }
        let length = self.length(field, from, truncated)?;
        let at = self.at;
        let content = self.take(length, truncated)?;
        let whole = start.get(..self.at.saturating_sub(from)).ok_or(truncated)?;
        Ok(Element {
            tag,
            content,
            whole,
            at,
        })
    }

    fn length(
        &mut self,
        field: &'static str,
        from: usize,
        truncated: DerError,
    ) -> Result<usize, DerError> {
        let wrong = DerError::Length { field, at: from };
        let first = self.byte(truncated)?;
        if first < 0x80 {
            return Ok(usize::from(first));
        }
        // 80 is the indefinite form of BER. Four bytes count more than any input here has.
        let width = usize::from(first & 0x7f);
        if !(1..=4).contains(&width) {
            return Err(wrong);
        }
        let mut length = 0_u32;
        for byte in self.take(width, truncated)? {
            length = length.wrapping_shl(8) | u32::from(*byte);
        }
        let shortest = match width {
            1 => 0x80,
            2 => 0x100,
            3 => 0x1_0000,
            _ => 0x100_0000,
        };
        if length < shortest {
            return Err(wrong);
        }
        usize::try_from(length).map_err(|_| wrong)
    }

    /// The next element, which has to have this tag.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn expect(&mut self, tag: u8, field: &'static str) -> Result<Element<'a>, DerError> {
        let at = self.at;
        let element = self.any(field)?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(DerError::Tag {
                field,
                at,
                found: element.tag,
                expected: tag,
            })
        }
    }

    /// The next element if it has this tag.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn optional(
        &mut self,
        tag: u8,
        field: &'static str,
    ) -> Result<Option<Element<'a>>, DerError> {
        if self.rest.first() == Some(&tag) {
            self.any(field).map(Some)
        } else {
            Ok(None)
        }
    }

    /// The next element, a sequence: what is inside.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn sequence(&mut self, field: &'static str) -> Result<Self, DerError> {
        self.expect(SEQUENCE, field).map(|e| e.inside())
    }

    /// The next element, an object identifier: its content.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn oid(&mut self, field: &'static str) -> Result<&'a [u8], DerError> {
        self.expect(OID, field).map(|e| e.content)
    }

    /// The next element, a string of bytes: its content.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn octets(&mut self, field: &'static str) -> Result<&'a [u8], DerError> {
        self.expect(OCTET_STRING, field).map(|e| e.content)
    }

    /// A whole number of bytes as a bit string.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn bits(&mut self, field: &'static str) -> Result<&'a [u8], DerError> {
        let element = self.expect(BIT_STRING, field)?;
        match element.content.split_first() {
            Some((0, bytes)) => Ok(bytes),
            Some(_) | None => Err(element.wrong(field)),
        }
    }

    /// An integer that is not negative: its bytes, without the zero that keeps it so.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn unsigned(&mut self, field: &'static str) -> Result<&'a [u8], DerError> {
        let element = self.expect(INTEGER, field)?;
        magnitude(element, field)
    }

    /// An integer from 0 to 2^64 − 1.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn number(&mut self, field: &'static str) -> Result<u64, DerError> {
        let element = self.expect(INTEGER, field)?;
        number(element, field)
    }

    /// Nothing may be left.
    ///
    /// # Errors
    /// What stands there instead.
    pub fn end(&self, field: &'static str) -> Result<(), DerError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(DerError::Trailing { field, count }),
        }
    }
}

/// The bytes of an integer that is not negative, whatever its tag.
///
/// # Errors
/// If it is none.
pub fn magnitude<'a>(element: Element<'a>, field: &'static str) -> Result<&'a [u8], DerError> {
    match element.content {
        [] => Err(element.wrong(field)),
        [0, second, ..] if *second < 0x80 => Err(element.wrong(field)),
        [0, rest @ ..] if !rest.is_empty() => Ok(rest),
        [first, ..] if *first >= 0x80 => Err(element.wrong(field)),
        all => Ok(all),
    }
}

/// An integer from 0 to 2^64 − 1, whatever its tag.
///
/// # Errors
/// If it is none.
pub fn number(element: Element<'_>, field: &'static str) -> Result<u64, DerError> {
    let bytes = magnitude(element, field)?;
    if bytes.len() > 8 {
        return Err(element.wrong(field));
    }
    Ok(bytes
        .iter()
        .fold(0_u64, |n, byte| n.wrapping_shl(8) | u64::from(*byte)))
}

/// A truth value. FALSE may stand where it is the default: some authorities write it.
///
/// # Errors
/// If it is none.
pub fn boolean(element: Element<'_>, field: &'static str) -> Result<bool, DerError> {
    match element.content {
        [0x00] => Ok(false),
        [0xff] => Ok(true),
        _ => Err(element.wrong(field)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(bytes: &[u8]) -> Result<Element<'_>, DerError> {
        Reader::new(bytes).any("x")
    }

    #[test]
    fn an_indefinite_length_is_refused() {
        let found = one(&[0x30, 0x80, 0x00, 0x00]);
        assert_eq!(found, Err(DerError::Length { field: "x", at: 0 }));
    }

    #[test]
    fn a_length_in_more_bytes_than_it_needs_is_refused() {
        for bytes in [
            &[0x04, 0x81, 0x7f][..],
            &[0x04, 0x82, 0x00, 0xff],
            &[0x04, 0x83, 0x00, 0xff, 0xff],
            &[0x04, 0x84, 0x00, 0xff, 0xff, 0xff],
        ] {
            assert_eq!(one(bytes), Err(DerError::Length { field: "x", at: 0 }));
        }
    }

    #[test]
    fn the_shortest_lengths_of_each_width_are_read() {
        for (head, length) in [
            (&[0x04, 0x7f][..], 0x7f),
            (&[0x04, 0x81, 0x80], 0x80),
            (&[0x04, 0x81, 0xff], 0xff),
            (&[0x04, 0x82, 0x01, 0x00], 0x100),
            (&[0x04, 0x83, 0x01, 0x00, 0x00], 0x1_0000),
            (&[0x04, 0x84, 0x01, 0x00, 0x00, 0x00], 0x100_0000),
        ] {
            let bytes = [head, &vec![5; length]].concat();
            assert_eq!(one(&bytes).unwrap().content.len(), length);
        }
    }

    #[test]
    fn a_length_beyond_the_input_is_cut_short_and_costs_nothing() {
        let found = one(&[0x04, 0x84, 0xff, 0xff, 0xff, 0xff, 0x00]);
        assert_eq!(found, Err(DerError::Truncated { field: "x", at: 0 }));
    }

    #[test]
    fn a_tag_of_several_bytes_is_refused() {
        let found = one(&[0x1f, 0x81, 0x01, 0x00]);
        assert_eq!(found, Err(DerError::Value { field: "x", at: 0 }));
    }

    #[test]
    fn an_element_knows_its_whole() {
        let element = one(&[0x04, 0x02, 0xaa, 0xbb, 0xcc]).unwrap();
        assert_eq!(element.content, [0xaa, 0xbb]);
        assert_eq!(element.whole, [0x04, 0x02, 0xaa, 0xbb]);
    }

    #[test]
    fn integers_have_one_form_and_are_not_negative() {
        let read = |bytes: &[u8]| Reader::new(bytes).number("x").ok();
        assert_eq!(read(&[0x02, 0x01, 0x00]), Some(0));
        assert_eq!(read(&[0x02, 0x02, 0x00, 0x80]), Some(0x80));
        assert_eq!(read(&[0x02, 0x00]), None);
        assert_eq!(read(&[0x02, 0x01, 0x80]), None);
        assert_eq!(read(&[0x02, 0x02, 0x00, 0x7f]), None);
        assert_eq!(read(&[0x02, 0x09, 1, 0, 0, 0, 0, 0, 0, 0, 0]), None);
        let most = [[0x02, 0x09, 0x00].as_slice(), &[0xff; 8]].concat();
        assert_eq!(read(&most), Some(u64::MAX));
        assert_eq!(Reader::new(&[0x02, 0x01, 0x00]).unsigned("x"), Ok(&[0][..]));
    }

    #[test]
    fn a_truth_value_is_00_or_ff() {
        let read = |byte| boolean(one(&[0x01, 0x01, byte]).unwrap(), "x").ok();
        assert_eq!(
            (read(0), read(0xff), read(1)),
            (Some(false), Some(true), None)
        );
    }

    #[test]
    fn a_signature_of_other_than_whole_bytes_is_refused() {
        assert!(Reader::new(&[0x03, 0x02, 0x01, 0x80]).bits("x").is_err());
        assert!(Reader::new(&[0x03, 0x00]).bits("x").is_err());
    }
}
