//! Exports made to cost: each is judged within little memory, ends, and is no success.
//!
//! A run is stopped after two minutes of processor time, which is a hundred times what the slowest
//! of them takes: that finds what is endless or grows with the square, not what is slow.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::wildcard_enum_match_arm,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Erasure, Hold, HoldAct, IndexRange};
use countersign_record::cbor::{Bytes, Cbor as _, Writer};
use countersign_record::commitment::{Disclosure, Field};
use countersign_record::digest::{Commitment, Salt, SubjectId};
use countersign_record::entry::Body;
use countersign_record::export::{Artifact, ExportWriter, Frame, Framer, ItemKind, MAGIC};
use countersign_record::profile::Disclosed;
use std::io::Write;
use std::process::{ChildStdin, Command, Stdio};

/// Most memory for data, in KiB (96 MiB): three of the largest item there may be.
const MEMORY_KIB: u32 = 96 * 1024;
const SECONDS: u32 = 120;

/// Feeds an export to the program; what it exits with, and what it prints.
fn judged(
    name: &str,
    feed: impl FnOnce(&mut ChildStdin) -> std::io::Result<()> + Send,
) -> (i32, String) {
    let path = std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("hostile")
        .join(name);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("trust.toml"), trust_text("hardware-tpm")).unwrap();
    let limited = format!("ulimit -d {MEMORY_KIB}; ulimit -t {SECONDS}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, env!("CARGO_BIN_EXE_countersign-verify")])
        .args([
            "-",
            "--trust",
            "trust.toml",
            "--now",
            "2026-02-02T03:40:00Z",
            "--threads",
            "2",
        ])
        .current_dir(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let output = std::thread::scope(|scope| {
        // Whoever has seen enough reads no further.
        scope.spawn(move || feed(&mut to).ok());
        child.wait_with_output().unwrap()
    });
    let said = String::from_utf8_lossy(&output.stderr);
    let code = output.status.code();
    assert!(code.is_some(), "{name}: {:?}: {said}", output.status);
    (code.unwrap(), String::from_utf8(output.stdout).unwrap())
}

#[track_caller]
fn fails(
    name: &str,
    check: &str,
    feed: impl FnOnce(&mut ChildStdin) -> std::io::Result<()> + Send,
) {
    let (code, printed) = judged(name, feed);
    assert_eq!(code, 1, "{name}: {printed}");
    assert!(
        printed.starts_with(&format!("ALTERED OR UNTRUSTED ({check})")),
        "{name}: {printed}"
    );
    // A report is for people, however much is wrong.
    assert!(printed.len() < 64 * 1024, "{name}: {} bytes", printed.len());
}

/// An item's head with a length that is claimed.
fn item(kind: u8, length: u64) -> Vec<u8> {
    let mut w = Writer::new();
    w.array(2);
    w.uint(u64::from(kind));
    let mut bytes = w.into_bytes();
    bytes.push(0x5b);
    bytes.extend(length.to_be_bytes());
    bytes
}

/// A genuine log's export with `more` in place of its trailer.
fn then(
    more: impl FnOnce(&mut ExportWriter, &mut ChildStdin) -> std::io::Result<()> + Send,
) -> impl FnOnce(&mut ChildStdin) -> std::io::Result<()> + Send {
    move |to| {
        let parts = Parts::of(&sample(Profile::Tpm));
        let (mut writer, start) = ExportWriter::start(&parts.manifest);
        to.write_all(&start)?;
        let mut framer = Framer::new();
        framer.push(&parts.bytes());
        while let Ok(Some(Frame { kind, content, .. })) = framer.next_frame() {
            let bytes = match kind {
                ItemKind::Artifact => writer.artifact(&Artifact::from_bytes(&content).unwrap()),
                ItemKind::Entry => writer.entry(&content),
                ItemKind::Disclosures => writer.disclosures(&Vec::from_bytes(&content).unwrap()),
                _ => continue,
            };
            to.write_all(&bytes)?;
        }
        more(&mut writer, to)?;
        to.write_all(&writer.checkpoint(parts.checkpoints[0].as_bytes()))?;
        to.write_all(&writer.finish())
    }
}

#[test]
fn an_item_of_a_claimed_exbibyte_is_not_waited_for() {
    fails("claimed-item", "framing", |to| {
        to.write_all(MAGIC)?;
        to.write_all(&item(0, 1 << 60))
    });
}

#[test]
fn an_entry_of_thirty_million_nested_arrays_is_malformed() {
    fails(
        "nested",
        "entries",
        then(|writer, to| to.write_all(&writer.entry(&vec![0x81; 30_000_000]))),
    );
}

#[test]
fn a_map_of_a_claimed_four_billion_pairs_is_malformed() {
    fails(
        "map",
        "entries",
        then(|writer, to| to.write_all(&writer.entry(&[0xba, 0xff, 0xff, 0xff, 0xff, 0x01, 0x01]))),
    );
}

#[test]
fn a_million_entries_that_are_none_are_counted_and_a_few_named() {
    fails(
        "no-entries",
        "entries",
        then(|writer, to| {
            for _ in 0..1_000_000 {
                to.write_all(&writer.entry(&[0xf6]))?;
            }
            Ok(())
        }),
    );
}

#[test]
fn a_million_artifacts_that_nothing_refers_to_take_little_memory() {
    let parts = Parts::of(&sample(Profile::Tpm));
    let (code, printed) = judged("artifacts", move |to| {
        let (mut writer, start) = ExportWriter::start(&parts.manifest);
        to.write_all(&start)?;
        for number in 0u32..1_000_000 {
            let artifact = Artifact {
                kind: "application/x".into(),
                bytes: Bytes(number.to_be_bytes().to_vec()),
            };
            to.write_all(&writer.artifact(&artifact))?;
        }
        to.write_all(&writer.finish())
    });
    assert_ne!(code, 0, "{printed}");
}

#[test]
fn half_a_million_disclosures_of_one_entry_are_judged() {
    fails(
        "disclosures",
        "disclosures",
        then(|writer, to| {
            let many: Vec<Disclosure> = (0..500_000u32)
                .map(|n| Disclosure {
                    field: Field::Agent,
                    salt: Salt([9; 16]),
                    value: Bytes(n.to_be_bytes().to_vec()),
                })
                .collect();
            let last = Parts::of(&sample(Profile::Tpm))
                .leaves
                .last()
                .unwrap()
                .0
                .clone();
            to.write_all(&writer.entry(&last))?;
            to.write_all(&writer.disclosures(&many))
        }),
    );
}

#[test]
fn a_span_of_all_the_leaves_there_can_be_is_refused() {
    fails(
        "span",
        "framing",
        then(|writer, to| {
            let mut log = Parts::of(&sample(Profile::Tpm)).span(0, 4);
            log.count = 1 << 62;
            to.write_all(&writer.span(&log))
        }),
    );
}

/// Holds that fit no entry and erasures that name every entry, by turns: what one erasure costs may not rise with what others cover.
#[test]
fn many_holds_and_many_erasures_of_everything_are_judged() {
    let mut log = sample(Profile::Tpm);
    log.disclosed = Disclosed::new(vec![], vec![]);
    let end = log.next() - 1;
    let (hold, _) = log.hold_body(HoldAct::Placed);
    let (erasure, _) = log.erasure_body(&[0]);
    for number in 0..4_000u32 {
        let mut subject = [1; 32];
        subject[..4].copy_from_slice(&number.to_be_bytes());
        let hold = Hold {
            id: number.to_string(),
            subject: Some(SubjectId(subject)),
            ..hold.clone()
        };
        log.push(Body::Hold(hold), None, vec![]);
        let erasure = Erasure {
            entries: vec![IndexRange {
                first: 0,
                last: end,
            }],
            statement: Commitment([number as u8; 32]),
            ..erasure.clone()
        };
        log.push(Body::Erasure(erasure), None, vec![]);
    }
    let export = log.export();
    fails("holds", "erasures", move |to| to.write_all(&export));
}

#[test]
fn a_checkpoint_of_many_lines_is_judged() {
    fails(
        "checkpoint",
        "checkpoint-signatures",
        then(|writer, to| {
            let mut note = Parts::of(&sample(Profile::Tpm)).checkpoints[0].clone();
            for number in 0..200_000u32 {
                note.push_str(&format!(
                    "\u{2014} witness{number} AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n"
                ));
            }
            to.write_all(&writer.checkpoint(note.as_bytes()))
        }),
    );
}
