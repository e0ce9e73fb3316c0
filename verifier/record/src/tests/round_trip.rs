//! One value, one encoding: what was written is read, and what was read is written the same.

use super::schema::{Choices, MAPS, made_up, made_up_payload};
use crate::cbor::{Bytes, Cbor, Writer};
use crate::cose::Unsigned;
use crate::digest::{ArtifactDigest, KeyId, NodeHash, Signature};
use crate::entry::{Entry, Kind};
use crate::export::{ExportWriter, Framer, ItemKind, Timestamp};
use proptest::collection::vec;
use proptest::prelude::*;

fn signed(kind: Kind, payload: Vec<u8>) -> Vec<u8> {
    Unsigned::new(kind.typ(), KeyId([1; 32]), payload).with_signature(Signature([2; 64]))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_map_that_its_declaration_allows_is_read_and_written_the_same(
        which in 0..MAPS.len(),
        choices in vec(any::<u8>(), 0..600),
    ) {
        let bytes = made_up(MAPS[which].name, &mut Choices::From(choices.iter()));
        prop_assert_eq!((MAPS[which].rewrite)(&bytes), Ok(bytes), "{}", MAPS[which].name);
    }

    #[test]
    fn every_entry_is_read_and_written_the_same(
        which in 0..Kind::ALL.len(),
        choices in vec(any::<u8>(), 0..600),
    ) {
        let kind = Kind::ALL[which];
        let payload = made_up_payload(kind, &mut Choices::From(choices.iter()));
        let bytes = signed(kind, payload.clone());
        let entry = Entry::parse(&bytes).unwrap();
        prop_assert_eq!(entry.body().kind(), kind);
        prop_assert_eq!(entry.payload().to_bytes(), payload);
        let again = entry.payload().unsigned(entry.kid());
        prop_assert_eq!(again.to_be_signed(), entry.to_be_signed());
        prop_assert_eq!(again.with_signature(entry.signature()), bytes);
    }

    #[test]
    fn whatever_of_a_changed_map_is_accepted_is_written_the_same(
        which in 0..MAPS.len(),
        choices in vec(any::<u8>(), 0..300),
        changes in vec((any::<u16>(), any::<u8>(), 0u8..4), 1..4),
    ) {
        let mut bytes = made_up(MAPS[which].name, &mut Choices::From(choices.iter()));
        changes.iter().for_each(|change| apply(*change, &mut bytes));
        if let Ok(again) = (MAPS[which].rewrite)(&bytes) {
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn whatever_of_a_changed_entry_is_accepted_is_written_the_same(
        which in 0..Kind::ALL.len(),
        choices in vec(any::<u8>(), 0..300),
        changes in vec((any::<u16>(), any::<u8>(), 0u8..4), 1..4),
    ) {
        let kind = Kind::ALL[which];
        let mut bytes = signed(kind, made_up_payload(kind, &mut Choices::From(choices.iter())));
        changes.iter().for_each(|change| apply(*change, &mut bytes));
        if let Ok(entry) = Entry::parse(&bytes) {
            let again = entry.payload().unsigned(entry.kid()).with_signature(entry.signature());
            prop_assert_eq!(again, bytes);
        }
    }

    #[test]
    fn an_integer_is_read_and_written_the_same(n in any::<i64>()) {
        let mut w = Writer::new();
        w.int(n);
        let bytes = w.into_bytes();
        let mut r = crate::cbor::Reader::new(&bytes);
        prop_assert_eq!(r.int(), Ok(n));
        prop_assert_eq!(r.finish(), Ok(()));
    }

    #[test]
    fn an_export_is_cut_into_its_items_however_it_arrives(
        items in vec((0u8..4, vec(any::<u8>(), 0..300)), 0..20),
        cuts in vec(1usize..200, 1..20),
    ) {
        let (file, expected) = export_of(&items);
        let mut framer = Framer::new();
        let mut found = Vec::new();
        let (mut rest, mut cuts) = (file.as_slice(), cuts.iter().cycle());
        while !rest.is_empty() {
            let (now, later) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
            framer.push(now);
            rest = later;
            while let Some(frame) = framer.next_frame().unwrap() {
                found.push((frame.kind, frame.content));
            }
        }
        let trailer = found.pop().unwrap();
        prop_assert_eq!(trailer.0, ItemKind::Trailer);
        prop_assert_eq!(found.split_off(1), expected);
        prop_assert!(framer.finish().is_ok());
    }
}

fn stamp(token: &[u8]) -> Vec<u8> {
    let timestamp = Timestamp {
        size: 3,
        token: Bytes(token.to_vec()),
    };
    timestamp.to_bytes()
}

fn export_of(items: &[(u8, Vec<u8>)]) -> (Vec<u8>, Vec<(ItemKind, Vec<u8>)>) {
    let (mut writer, mut file) = ExportWriter::start(&super::schema::full("Manifest"));
    let mut expected = Vec::new();
    for (which, content) in items {
        let (kind, content) = match which {
            0 => (ItemKind::Entry, content.clone()),
            1 => (ItemKind::Checkpoint, content.clone()),
            2 => (ItemKind::Timestamp, stamp(content)),
            _ => (ItemKind::Leaf, vec![7; 32]),
        };
        file.extend(match which {
            0 => writer.entry(&content),
            1 => writer.checkpoint(&content),
            2 => writer.timestamp(&Timestamp::from_bytes(&content).unwrap()),
            _ => writer.leaf(&NodeHash([7; 32])),
        });
        expected.push((kind, content));
    }
    file.extend(writer.finish());
    (file, expected)
}

/// Sets, inserts or removes one byte, or flips one bit.
pub(super) fn apply((place, byte, what): (u16, u8, u8), bytes: &mut Vec<u8>) {
    let at = usize::from(place) % bytes.len().max(1);
    match what {
        _ if bytes.is_empty() => bytes.push(byte),
        0 => bytes[at] = byte,
        1 => bytes.insert(at, byte),
        2 => drop(bytes.remove(at)),
        _ => bytes[at] ^= 1 << (byte % 8),
    }
}

/// Gives one byte, is interrupted, gives the rest, and may fail then.
struct Stutters<'a> {
    left: &'a [u8],
    read: usize,
    fails: bool,
}

impl std::io::Read for Stutters<'_> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.read += 1;
        match self.read {
            1 => self.left.read(&mut into[..1]),
            2 => Err(std::io::ErrorKind::Interrupted.into()),
            _ if self.fails && self.left.is_empty() => Err(std::io::ErrorKind::Other.into()),
            _ => self.left.read(into),
        }
    }
}

#[test]
fn an_artifact_has_one_digest_whether_it_is_held_or_read_in_pieces() {
    for length in [0, 1, 65_535, 65_536, 65_537, 200_000] {
        let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
        let mut reader = Stutters {
            left: &bytes,
            read: 0,
            fails: false,
        };
        let read = ArtifactDigest::of_reader(&mut reader).unwrap();
        assert_eq!(read, ArtifactDigest::of(&bytes), "{length} bytes");
    }
}

#[test]
fn an_artifact_that_cannot_be_read_to_its_end_has_no_digest() {
    let mut reader = Stutters {
        left: &[1; 100],
        read: 0,
        fails: true,
    };
    assert!(ArtifactDigest::of_reader(&mut reader).is_err());
}
