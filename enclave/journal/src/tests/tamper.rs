//! A disk that was changed while nobody looked: each change is named on opening.

use super::site::*;
use crate::{Fault, Journal, OpenError, ReadError};
use rusqlite::Connection;
use std::fs::OpenOptions;
use std::path::Path;

/// A closed log of 600 entries: two full tiles and an edge. Returns its directory.
fn log() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    journal.put_artifact("text/plain", b"evidence").unwrap();
    for n in 1..598 {
        append(&journal, event(n)).unwrap();
    }
    append(&journal, detailed("one")).unwrap();
    append(&journal, detailed("two")).unwrap();
    dir
}

fn change(dir: &Path, sql: &str) {
    let conn = Connection::open(dir.join("log.sqlite")).unwrap();
    conn.execute_batch(sql).unwrap();
}

fn opened_after(sql: &str) -> Option<OpenError> {
    let dir = log();
    change(dir.path(), sql);
    try_open(dir.path()).err()
}

const LAST_BYTE: &str = "substr(bytes, 1, length(bytes) - 1) || CAST(x'00' AS BLOB)";

fn flip(index: u64) -> String {
    format!("UPDATE entry SET bytes = CAST({LAST_BYTE} AS BLOB) WHERE idx = {index};")
}

#[test]
fn an_untouched_log_opens() {
    assert_eq!(opened_after("SELECT 1"), None);
}

#[test]
fn a_changed_byte_under_a_tile_is_named_with_its_entry() {
    assert_eq!(
        opened_after(&flip(300)),
        Some(OpenError::Changed { index: 300 })
    );
}

#[test]
fn a_changed_byte_in_the_edge_changes_the_root_of_the_checkpoint() {
    assert!(matches!(
        opened_after(&flip(590)),
        Some(OpenError::Root { size: 600, .. })
    ));
}

#[test]
fn a_changed_byte_after_the_newest_checkpoint_fails_its_signature() {
    let sql = format!("DELETE FROM note; {}", flip(590));
    assert_eq!(
        opened_after(&sql),
        Some(OpenError::Signature { index: 590 })
    );
}

#[test]
fn a_byte_changed_inside_the_payload_is_malformed_or_changed() {
    let middle = "UPDATE entry SET bytes = CAST(substr(bytes, 1, 100) || x'ff' || substr(bytes, 102) AS BLOB) WHERE idx = 17";
    let error = opened_after(middle).unwrap();
    assert!(
        matches!(
            error,
            OpenError::Entry { index: 17, .. }
                | OpenError::Changed { index: 17 }
                | OpenError::Refused { index: 17, .. }
                | OpenError::Sequence { index: 17, .. }
        ),
        "{error:?}"
    );
}

#[test]
fn a_dropped_row_is_missing() {
    assert_eq!(
        opened_after("DELETE FROM entry WHERE idx = 300"),
        Some(OpenError::MissingEntry { index: 300 })
    );
}

#[test]
fn a_dropped_last_row_is_missing_even_without_checkpoints() {
    let sql = "DELETE FROM note; DELETE FROM entry WHERE idx = 599";
    assert_eq!(
        opened_after(sql),
        Some(OpenError::MissingEntry { index: 599 })
    );
}

#[test]
fn a_log_cut_together_with_its_head_is_shorter_than_its_checkpoint() {
    let dir = log();
    let (journal, _) = open(dir.path());
    let root = hex::encode(journal.head_at(599).unwrap().root.0);
    drop(journal);
    change(
        dir.path(),
        &format!("DELETE FROM entry WHERE idx = 599; UPDATE head SET size = 599, root = x'{root}'"),
    );
    assert_eq!(
        try_open(dir.path()).err(),
        Some(OpenError::Shorter {
            found: 599,
            stored: 600
        })
    );
}

#[test]
fn swapped_rows_are_misplaced() {
    let sql = "UPDATE entry SET idx = -1 WHERE idx = 20; UPDATE entry SET idx = 20 WHERE idx = 21;
               UPDATE entry SET idx = 21 WHERE idx = -1";
    assert_eq!(
        opened_after(sql),
        Some(OpenError::Misplaced {
            index: 20,
            found: 21
        })
    );
}

#[test]
fn a_doubled_row_is_misplaced() {
    let sql = "UPDATE entry SET bytes = (SELECT bytes FROM entry WHERE idx = 20) WHERE idx = 21";
    assert_eq!(
        opened_after(sql),
        Some(OpenError::Misplaced {
            index: 21,
            found: 20
        })
    );
}

#[test]
fn a_row_too_many_is_named() {
    let sql = "INSERT INTO entry SELECT 600, opened, bytes FROM entry WHERE idx = 599";
    assert_eq!(
        opened_after(sql),
        Some(OpenError::Longer {
            index: 600,
            stored: 600
        })
    );
}

#[test]
fn a_missing_tile_is_named() {
    assert_eq!(
        opened_after("DELETE FROM tile WHERE id = 1"),
        Some(OpenError::Tile {
            level: 0,
            number: 1
        })
    );
}

#[test]
fn a_changed_head_is_another_root() {
    let sql = "UPDATE head SET root = zeroblob(32)";
    assert!(matches!(
        opened_after(sql),
        Some(OpenError::Root { size: 600, .. })
    ));
}

#[test]
fn a_changed_checkpoint_is_not_signed_by_this_gateway() {
    let sql = "UPDATE note SET note = replace(note, char(10) || '600' || char(10), char(10) || '600' || char(10))";
    assert_eq!(opened_after(sql), None);
    let sql = "UPDATE note SET size = 599, note = replace(note, char(10) || '600' || char(10), char(10) || '599' || char(10))";
    assert_eq!(
        opened_after(sql),
        Some(OpenError::CheckpointSignature { size: 599 })
    );
}

#[test]
fn a_forged_announcement_is_named() {
    let sql = "INSERT INTO pending(id, kind, sealed) VALUES (9, 1, zeroblob(120))";
    assert!(matches!(
        opened_after(sql),
        Some(OpenError::Pending { id: 9, .. })
    ));
}

/// Rows of `from`, put beside the log in `to`.
fn carry_announcements(from: &std::path::Path, to: &std::path::Path) {
    let conn = Connection::open(to.join("log.sqlite")).unwrap();
    conn.execute(
        "ATTACH ?1 AS later",
        [from.join("log.sqlite").to_str().unwrap()],
    )
    .unwrap();
    conn.execute("INSERT INTO pending SELECT * FROM later.pending", [])
        .unwrap();
}

#[test]
fn an_announcement_over_a_longer_log_explains_nothing_of_a_shorter_one() {
    let (longer, shorter) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (journal, _) = open(shorter.path());
    drop(journal);
    let (journal, _) = open(longer.path());
    begin(&journal, 2);
    let renewal = crate::PendingRenewal {
        counter: 3,
        number: 1,
    };
    journal.put_pending_renewal(&renewal).unwrap();
    drop(journal);
    carry_announcements(longer.path(), shorter.path());
    let (_, found) = open(shorter.path());
    assert_eq!(found.pending_renewals, []);
}

#[test]
fn a_truncated_file_is_malformed() {
    let dir = log();
    let file = OpenOptions::new()
        .write(true)
        .open(dir.path().join("log.sqlite"))
        .unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
    assert_eq!(
        try_open(dir.path()).err(),
        Some(OpenError::Store(Fault::Malformed))
    );
}

#[test]
fn a_file_that_is_no_log_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    change(dir.path(), "CREATE TABLE x(y)");
    assert!(matches!(
        try_open(dir.path()).err(),
        Some(OpenError::NotALog { found: 0, .. })
    ));
}

#[test]
fn the_log_of_another_gateway_is_refused() {
    let dir = log();
    let mut options = options(limits());
    options.identity = public(&ed25519_dalek::SigningKey::from_bytes(&[77; 32]));
    let expected = options.identity.gateway();
    let error = Journal::open(dir.path(), options, &mut |_, _| Ok(())).err();
    assert_eq!(
        error,
        Some(OpenError::ForeignGateway {
            expected,
            found: public(&identity()).gateway()
        })
    );
}

#[test]
fn what_the_fold_does_not_accept_keeps_the_log_closed() {
    let dir = log();
    let fold = &mut |e: &countersign_record::entry::Entry<'_>, _: &crate::Disclosures<'_>| {
        if e.place().index == 5 {
            Err("no".to_owned())
        } else {
            Ok(())
        }
    };
    let error = Journal::open(dir.path(), options(limits()), fold).err();
    assert_eq!(
        error,
        Some(OpenError::Fold {
            index: 5,
            reason: "no".into()
        })
    );
}

#[test]
fn swapped_disclosures_open_no_commitment() {
    let dir = log();
    change(
        dir.path(),
        "UPDATE side SET idx = -1 WHERE idx = 598; UPDATE side SET idx = 598 WHERE idx = 599;
                        UPDATE side SET idx = 599 WHERE idx = -1; UPDATE wrap SET idx = -1 WHERE idx = 598;
                        UPDATE wrap SET idx = 598 WHERE idx = 599; UPDATE wrap SET idx = 599 WHERE idx = -1",
    );
    let (journal, _) = open(dir.path());
    assert_eq!(
        journal.disclosures(598),
        Err(ReadError::DisclosureForeign {
            index: 598,
            number: 0
        })
    );
}

#[test]
fn disclosures_that_are_gone_or_changed_are_named() {
    let dir = log();
    change(
        dir.path(),
        "DELETE FROM side WHERE idx = 598; UPDATE side SET sealed = zeroblob(200) WHERE idx = 599",
    );
    let (journal, _) = open(dir.path());
    assert_eq!(
        journal.disclosures(598),
        Err(ReadError::DisclosuresMissing { index: 598 })
    );
    assert!(matches!(
        journal.disclosures(599),
        Err(ReadError::Side { index: 599, .. })
    ));
}

#[test]
fn a_changed_artifact_is_named() {
    let dir = log();
    let digest = countersign_record::digest::ArtifactDigest::of(b"evidence");
    change(dir.path(), "UPDATE artifact SET bytes = zeroblob(8)");
    let (journal, _) = open(dir.path());
    assert_eq!(
        journal.artifact(digest),
        Err(ReadError::ArtifactChanged { digest })
    );
}
