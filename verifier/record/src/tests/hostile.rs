//! A bounded attack on every parser, the same every time: each example changed in each of its bytes.

use super::example::{Example, example};
use super::round_trip::apply;
use super::schema::{Choices, MAPS, made_up};
use crate::checkpoint::{
    Checkpoint, CheckpointError, MAX_CHECKPOINT_BYTES, epoch_name, note_text, origin,
};
use crate::cose::Sign1;
use crate::digest::{GatewayId, sha256};
use crate::entry::Entry;
use crate::export::{ExportError, Framer, ItemKind, MAGIC, MAX_ITEM_BYTES};

/// Each bit flipped, each byte removed or doubled, each end cut, and pairs of changes, in a fixed order.
fn changed(bytes: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let single = (0..bytes.len()).flat_map(move |at| {
        let flips = (0..8).map(move |bit| {
            let mut bad = bytes.to_vec();
            bad[at] ^= 1 << bit;
            bad
        });
        let shorter = [&bytes[..at], &bytes[at + 1..]].concat();
        let longer = [&bytes[..at], &bytes[at..=at], &bytes[at..]].concat();
        flips.chain([shorter, longer, bytes[..at].to_vec()])
    });
    let pairs = (0..2000u32).map(move |n| {
        let random = sha256(&n.to_be_bytes());
        let mut bad = bytes.to_vec();
        for part in random.chunks_exact(4).take(1 + usize::from(random[31] % 3)) {
            apply(
                (u16::from_be_bytes([part[0], part[1]]), part[2], part[3] % 4),
                &mut bad,
            );
        }
        bad
    });
    single.chain(pairs)
}

#[test]
fn a_changed_entry_is_refused_or_has_another_digest_and_the_same_bytes() {
    let Example {
        entries, extended, ..
    } = example();
    for entry in entries.iter().chain([&extended]) {
        let digest = Entry::parse(entry).unwrap().digest();
        for bad in changed(entry).filter(|bad| bad != entry) {
            if let Ok(found) = Entry::parse(&bad) {
                assert_ne!(found.digest(), digest);
                assert_eq!(
                    found
                        .payload()
                        .unsigned(found.kid())
                        .with_signature(found.signature()),
                    bad
                );
            }
        }
    }
}

#[test]
fn a_changed_statement_is_refused_or_has_the_same_bytes() {
    for (name, _, bytes) in example().statements {
        for bad in changed(&bytes) {
            if let Ok(found) = Sign1::parse(&bad) {
                let again =
                    crate::cose::Unsigned::new(found.typ(), found.kid(), found.payload().to_vec());
                assert_eq!(again.with_signature(found.signature()), bad, "{name}");
            }
        }
    }
}

#[test]
fn a_changed_map_is_refused_or_has_the_same_bytes() {
    for map in MAPS {
        for bad in changed(&made_up(map.name, &mut Choices::Full(0))) {
            if let Ok(again) = (map.rewrite)(&bad) {
                assert_eq!(again, bad, "{}", map.name);
            }
        }
    }
}

#[test]
fn a_changed_checkpoint_is_refused_or_says_something_else() {
    let e = example();
    let good = Checkpoint::parse(e.checkpoint.as_bytes(), &e.gateway).unwrap();
    for bad in changed(e.checkpoint.as_bytes()).filter(|bad| bad != e.checkpoint.as_bytes()) {
        let Ok(found) = Checkpoint::parse(&bad, &e.gateway) else {
            continue;
        };
        assert_eq!(
            found.text(),
            note_text(&e.gateway, &found.head()),
            "one head has one text"
        );
        assert_ne!(found, good);
    }
}

type Items = Vec<(ItemKind, Vec<u8>)>;

/// Reads an export: its items, and the digest of all before the trailer.
fn read(bytes: &[u8]) -> Result<(Items, [u8; 32]), ExportError> {
    let mut framer = Framer::new();
    framer.push(bytes);
    let mut items = Vec::new();
    while let Some(frame) = framer.next_frame()? {
        items.push((frame.kind, frame.content));
    }
    framer.next_frame()?;
    Ok((items, framer.finish()?))
}

#[test]
fn a_changed_export_is_refused_or_has_another_digest_or_other_items() {
    let export = example().export;
    let good = read(&export).unwrap();
    for bad in changed(&export).filter(|bad| bad != &export) {
        if let Ok(found) = read(&bad) {
            assert_ne!(found, good);
        }
    }
}

#[test]
fn an_export_that_ends_early_is_named_truncated() {
    let export = example().export;
    for end in 0..export.len() {
        let offset = end as u64;
        assert_eq!(
            read(&export[..end]).unwrap_err(),
            ExportError::Truncated { offset }
        );
    }
}

#[test]
fn bytes_after_the_trailer_are_refused_from_where_it_ends() {
    let export = example().export;
    let offset = export.len() as u64;
    for count in 1..4 {
        let export = [export.clone(), vec![0; count]].concat();
        assert_eq!(read(&export).unwrap_err(), ExportError::Trailing { offset });
    }
}

#[test]
fn a_file_of_another_kind_is_refused_at_once() {
    for other in [
        b"PK\x03\x04 and some more bytes of a zip".as_slice(),
        &[0; 64],
        &[0xd9; 64],
    ] {
        assert_eq!(read(other).unwrap_err(), ExportError::Magic);
    }
}

#[test]
fn an_item_larger_than_the_limit_is_refused_before_it_arrives() {
    let limit = u32::try_from(MAX_ITEM_BYTES).unwrap();
    let at_limit = [MAGIC, &[0x82, 1, 0x5a], &limit.to_be_bytes()].concat();
    assert!(matches!(
        read(&at_limit),
        Err(ExportError::Truncated { .. })
    ));
    let above = [MAGIC, &[0x82, 1, 0x5a], &(limit + 1).to_be_bytes()].concat();
    assert!(matches!(
        read(&above),
        Err(ExportError::TooLarge { number: 0, .. })
    ));
    let huge = [MAGIC, &[0x82, 1, 0x5b], &[0xff; 8]].concat();
    assert!(matches!(
        read(&huge),
        Err(ExportError::TooLarge {
            found: u64::MAX,
            ..
        })
    ));
}

#[test]
fn an_item_of_an_unknown_kind_is_refused() {
    let unknown = [MAGIC, &[0x82, 15, 0x40]].concat();
    assert!(matches!(
        read(&unknown),
        Err(ExportError::Item { number: 0, .. })
    ));
}

#[test]
fn an_export_that_arrives_byte_by_byte_is_not_read_again_and_again() {
    // Two megabytes in one item, then a trailer: work that grew with the square of this would not end.
    let (mut writer, mut file) =
        crate::export::ExportWriter::start(&super::schema::full("Manifest"));
    file.extend(writer.entry(&vec![0; 2 << 20]));
    file.extend(writer.finish());
    let mut framer = Framer::new();
    let mut count = 0;
    for byte in &file {
        framer.push(std::slice::from_ref(byte));
        while framer.next_frame().unwrap().is_some() {
            count += 1;
        }
    }
    assert_eq!(count, 3);
    framer.finish().unwrap();
}

fn refused(text: &str) -> CheckpointError {
    Checkpoint::parse(text.as_bytes(), &GatewayId([0; 32])).unwrap_err()
}

#[test]
fn a_checkpoint_has_one_text() {
    let name = origin(&GatewayId([0; 32]));
    let root = "A".repeat(43) + "=";
    let line = format!("\u{2014} {name} AAAAAAAA\n");
    let parse = |text: &str| Checkpoint::parse(text.as_bytes(), &GatewayId([0; 32]));
    assert!(parse(&format!("{name}\n5\n{root}\n\n{line}")).is_ok());
    let form = |text: String| matches!(refused(&text), CheckpointError::Form(_));
    for size in [
        "05",
        "+5",
        "-5",
        "",
        " 5",
        "5 ",
        "18446744073709551616",
        "\u{665}",
    ] {
        assert!(
            form(format!("{name}\n{size}\n{root}\n\n{line}")),
            "{size:?}"
        );
    }
    // Bits that base64 leaves over, no padding, too short, a blank inside.
    for bad in [
        "A".repeat(42) + "B=",
        "A".repeat(43),
        "AAAA".to_owned(),
        format!("{root} "),
    ] {
        assert!(form(format!("{name}\n5\n{bad}\n\n{line}")), "{bad}");
    }
    assert!(
        form(format!("{name}\n5\n{root}\nextension\n\n{line}")),
        "a fourth line"
    );
    assert!(form(format!("{name}\n5\n{root}\n{line}")), "no empty line");
    assert!(
        form(format!("{name}\n5\n{root}\n\n{}", line.trim_end())),
        "no final newline"
    );
    assert!(form(format!("{name}\n5\n{root}\n\n")), "no signature line");
    assert!(
        form(format!("{name}\n5\n{root}\n\n{line}\n")),
        "a blank line at the end"
    );
    assert_eq!(
        refused(&format!("{name}\r\n5\n{root}\n\n{line}")),
        CheckpointError::Origin
    );
    assert_eq!(
        refused(&format!("{name}/epoch\n5\n{root}\n\n{line}")),
        CheckpointError::Origin
    );
    for name in ["", "a b", "a+b", "a\u{1b}[2J", "a\u{a0}b", "a\tb"] {
        assert!(
            form(format!(
                "{}\n5\n{root}\n\n\u{2014} {name} AAAAAAAA\n",
                origin(&GatewayId([0; 32]))
            )),
            "{name:?}"
        );
    }
    let long = "x".repeat(MAX_CHECKPOINT_BYTES);
    assert_eq!(
        refused(&(long + "y")),
        CheckpointError::TooLarge {
            found: MAX_CHECKPOINT_BYTES + 1
        }
    );
}

#[test]
fn a_checkpoint_lacks_the_line_of_a_key_that_has_not_signed_under_that_name() {
    let e = example();
    let note = Checkpoint::parse(e.checkpoint.as_bytes(), &e.gateway).unwrap();
    let (identity, epoch) = (
        super::example::public_key("gateway identity"),
        super::example::public_key("epoch"),
    );
    let (log, in_epoch) = (origin(&e.gateway), epoch_name(&e.gateway));
    assert!(note.signature(&log, &identity, "identity").is_ok());
    assert!(note.signature(&in_epoch, &epoch, "epoch").is_ok());
    assert_eq!(
        note.signature(&log, &epoch, "epoch"),
        Err(CheckpointError::NoLine("epoch"))
    );
    assert_eq!(
        note.signature(&in_epoch, &identity, "identity"),
        Err(CheckpointError::NoLine("identity"))
    );
    assert_eq!(
        note.names().collect::<Vec<_>>(),
        [log.as_str(), in_epoch.as_str()]
    );
}

#[test]
fn lines_of_others_are_kept_and_not_judged() {
    let e = example();
    let with_witness = format!("{}\u{2014} witness.example AAAAAAAAAAAA\n", e.checkpoint);
    let note = Checkpoint::parse(with_witness.as_bytes(), &e.gateway).unwrap();
    assert_eq!(note.names().count(), 3);
}
