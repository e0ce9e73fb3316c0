//! Opened commitments as they are written before they are sealed: a value that stands there twice is written once.
//!
//! A result that is released as it came is two values, the raw one and the released one, of the same bytes; they are most
//! of what a log holds. What is written is an array, which has for each disclosure either its own encoding (a map) or, for
//! a value that an earlier one has too, `[field, salt, number of the earlier one]`. Whole arrays of maps, from before, are
//! read as they were; a release from before does not read the other form.

use countersign_record::cbor::{Cbor as _, CborError, Reader, Writer};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::Salt;
use zeroize::Zeroizing;

/// The major type of a map, in the first byte of its encoding.
const MAP: u8 = 5;

pub(crate) fn write(disclosures: &[Disclosure]) -> Zeroizing<Vec<u8>> {
    let values = disclosures.iter().map(|d| d.value.0.len());
    let about = values.fold(16usize, |sum, n| sum.saturating_add(n).saturating_add(64));
    // Large enough from the start: a buffer that grows leaves what it held behind.
    let mut w = Writer::with_capacity(about);
    w.array(disclosures.len());
    for (number, disclosure) in disclosures.iter().enumerate() {
        let earlier = disclosures.get(..number).unwrap_or_default();
        match same_value(disclosure, earlier) {
            None => disclosure.write(&mut w),
            Some(earlier) => {
                w.array(3);
                disclosure.field.write(&mut w);
                disclosure.salt.write(&mut w);
                w.uint(earlier);
            }
        }
    }
    Zeroizing::new(w.into_bytes())
}

fn same_value(disclosure: &Disclosure, earlier: &[Disclosure]) -> Option<u64> {
    let number = earlier.iter().position(|e| e.value == disclosure.value)?;
    u64::try_from(number).ok()
}

pub(crate) fn read(plain: &[u8]) -> Result<Vec<Disclosure>, CborError> {
    let mut r = Reader::new(plain);
    let disclosures = r.array(|r, count| {
        let mut read: Vec<Disclosure> = Vec::new();
        for _ in 0..count {
            let at = r.position();
            let item = r.any()?;
            let disclosure = match item.first() {
                Some(first) if first >> 5 == MAP => Disclosure::from_bytes(item)?,
                Some(_) | None => repeated(item, &read, at)?,
            };
            read.push(disclosure);
        }
        Ok(read)
    })?;
    r.finish()?;
    Ok(disclosures)
}

fn repeated(item: &[u8], read: &[Disclosure], at: usize) -> Result<Disclosure, CborError> {
    let mut r = Reader::new(item);
    let (field, salt, number) = r.tuple(3, |r| Ok((Field::read(r)?, Salt::read(r)?, r.uint()?)))?;
    r.finish()?;
    let earlier = usize::try_from(number).ok().and_then(|n| read.get(n));
    let earlier = earlier.ok_or(CborError::OutOfRange {
        at,
        what: "number of an earlier disclosure",
    })?;
    Ok(Disclosure {
        field,
        salt,
        value: earlier.value.clone(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::cbor::Bytes;
    use proptest::prelude::*;

    fn disclosure(field: Field, salt: u8, value: &[u8]) -> Disclosure {
        Disclosure {
            field,
            salt: Salt([salt; 16]),
            value: Bytes(value.to_vec()),
        }
    }

    fn result(value: &[u8]) -> [Disclosure; 3] {
        [
            disclosure(Field::Received, 1, b"what was asked for"),
            disclosure(Field::RawResult, 2, value),
            disclosure(Field::Released, 3, value),
        ]
    }

    #[test]
    fn a_value_that_stands_there_twice_is_written_once() {
        let long = [7; 2000];
        let once = write(&result(&long)[..2]).len();
        assert!(write(&result(&long)).len() < once + 40);
        assert_eq!(read(&write(&result(&long))).unwrap(), result(&long));
    }

    #[test]
    fn an_array_of_whole_disclosures_is_read_as_before() {
        let mut w = Writer::new();
        w.array(3);
        result(&[7; 2000]).iter().for_each(|d| d.write(&mut w));
        assert_eq!(read(&w.into_bytes()).unwrap(), result(&[7; 2000]));
    }

    #[test]
    fn what_is_the_same_as_itself_or_as_a_later_one_is_refused() {
        for number in [0, 1, u64::MAX] {
            let mut w = Writer::new();
            w.array(1);
            w.array(3);
            Field::Released.write(&mut w);
            Salt([1; 16]).write(&mut w);
            w.uint(number);
            assert!(matches!(
                read(&w.into_bytes()),
                Err(CborError::OutOfRange { .. })
            ));
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read(
            values in prop::collection::vec((0usize..3, 0u8..9, prop::collection::vec(0u8..2, 0..40)), 0..8),
        ) {
            let fields = [Field::RawResult, Field::Released, Field::Received];
            let all: Vec<Disclosure> = values
                .iter()
                .map(|(field, salt, value)| disclosure(fields[*field], *salt, value))
                .collect();
            prop_assert_eq!(read(&write(&all)).unwrap(), all);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>) {
            drop(read(&bytes));
        }
    }
}
