//! Items that are passed over whole are as strict as those that are read; and what an entry gives out is what came in.

use super::example::example;
use crate::cbor::{CborError, Reader};
use crate::entry::{Body, Entry};

fn any(bytes: &[u8]) -> Result<Vec<u8>, CborError> {
    let mut reader = Reader::new(bytes);
    let found = reader.any()?.to_vec();
    reader.finish()?;
    Ok(found)
}

#[test]
fn an_item_that_is_passed_over_comes_out_as_it_is() {
    for item in [
        &[0x00][..],
        &[0x20],
        &[0x41, 0xff],
        &[0x61, b'a'],
        &[0x82, 0x00, 0x01],
        &[0xa2, 0x00, 0xf4, 0x01, 0xf5],
        &[0xf5],
        &[0x1a, 0x00, 0x01, 0x00, 0x00],
        &[0x1b, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00],
    ] {
        assert_eq!(any(item), Ok(item.to_vec()));
    }
}

#[test]
fn keys_of_a_map_that_is_passed_over_are_in_order() {
    for (map, at) in [
        (&[0xa2, 0x01, 0x00, 0x01, 0x00][..], 3),
        (&[0xa2, 0x02, 0x00, 0x01, 0x00], 3),
        (&[0xa3, 0x01, 0x00, 0x02, 0x00, 0x02, 0x00], 5),
        (&[0xa3, 0x01, 0x00, 0x03, 0x00, 0x02, 0x00], 5),
    ] {
        assert_eq!(any(map), Err(CborError::KeyOrder { at, key: 0 }));
    }
}

#[test]
fn a_tag_is_no_item_wherever_it_stands() {
    let expected = "an untagged item";
    assert_eq!(
        any(&[0xc1, 0x00]),
        Err(CborError::Unexpected { at: 0, expected })
    );
    assert_eq!(
        any(&[0x81, 0xc1, 0x00]),
        Err(CborError::Unexpected { at: 1, expected })
    );
}

#[test]
fn a_truth_value_where_a_number_is_due_is_of_the_wrong_type() {
    for byte in [0xf4, 0xf5] {
        let found = Reader::new(&[byte]).uint();
        assert!(
            matches!(found, Err(CborError::Unexpected { at: 0, .. })),
            "{found:?}"
        );
    }
    assert_eq!(
        Reader::new(&[0xf6]).uint(),
        Err(CborError::Simple { at: 0 })
    );
}

#[test]
fn a_number_in_more_bytes_than_it_needs_is_refused_at_each_border() {
    let long = Err(CborError::NotShortest { at: 0 });
    for bytes in [
        &[0x18, 0x17][..],
        &[0x19, 0x00, 0xff],
        &[0x1a, 0x00, 0x00, 0xff, 0xff],
        &[0x1b, 0x00, 0x00, 0x00, 0x00, 0xff, 0xff, 0xff, 0xff],
    ] {
        assert_eq!(Reader::new(bytes).uint(), long.clone());
    }
    for (bytes, number) in [
        (&[0x18, 0x18][..], 24),
        (&[0x19, 0x01, 0x00], 256),
        (&[0x1a, 0x00, 0x01, 0x00, 0x00], 65_536),
        (
            &[0x1b, 0x00, 0x00, 0x00, 0x01, 0x00, 0x00, 0x00, 0x00],
            4_294_967_296,
        ),
    ] {
        assert_eq!(Reader::new(bytes).uint(), Ok(number));
    }
}

#[test]
fn an_entry_is_the_bytes_that_it_was_read_from_and_names_its_evidence() {
    let mut with_evidence = 0;
    for bytes in example().entries {
        let entry = Entry::parse(&bytes).unwrap();
        assert_eq!(entry.bytes(), bytes);
        let named = match entry.body() {
            Body::Base(b) => &b.evidence,
            Body::Renewal(b) => &b.evidence,
            Body::Close(b) => &b.evidence,
            _ => &vec![],
        };
        assert_eq!(entry.body().evidence(), named.as_slice());
        with_evidence += named.len();
    }
    assert_eq!(with_evidence, 3);
}

#[test]
fn keys_of_a_map_are_in_the_order_of_their_encodings_negative_ones_last() {
    let whole = |bytes: &[u8]| {
        let mut reader = Reader::new(bytes);
        reader.map(|m| m.skip_rest())?;
        reader.finish()
    };
    // 0, 1, −1, −2
    assert_eq!(
        whole(&[0xa4, 0x00, 0x00, 0x01, 0x00, 0x20, 0x00, 0x21, 0x00]),
        Ok(())
    );
    for (map, at, key) in [
        (&[0xa2, 0x21, 0x00, 0x20, 0x00][..], 3, -1),
        (&[0xa2, 0x20, 0x00, 0x00, 0x00], 3, 0),
        (&[0xa2, 0x20, 0x00, 0x20, 0x00], 3, -1),
        (&[0xa2, 0x01, 0x00, 0x00, 0x00], 3, 0),
    ] {
        assert_eq!(whole(map), Err(CborError::KeyOrder { at, key }));
    }
}
