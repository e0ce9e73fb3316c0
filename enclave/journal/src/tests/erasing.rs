//! What an erasure destroys stays destroyed, and everything else opens.

use super::site::*;
use crate::{Draft, Journal, KeyRing, OpenError, Options, ReadError, SideError, StorageKey};
use countersign_record::body::{Erasure, privacy::ranges_of};
use countersign_record::digest::{Commitment, KeyId};
use countersign_record::entry::Body;
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

fn key(n: u8) -> StorageKey {
    StorageKey::new(Zeroizing::new([n; 32]))
}

fn open_with(dir: &Path, ring: KeyRing) -> Result<Journal, OpenError> {
    let options = Options {
        ring,
        ..options(limits())
    };
    // Reads every value, as a start does for calls.
    Journal::open(dir, options, &mut |_, disclosures| {
        disclosures.read().map(|_| ()).map_err(|e| e.to_string())
    })
    .map(|(journal, _)| journal)
}

fn erasure(entries: &[u64]) -> Draft {
    plain(Body::Erasure(Erasure {
        entries: ranges_of(entries.iter().copied()),
        basis: "gdpr-17".into(),
        ordered_by: KeyId([0; 32]),
        ring: 2,
        statement: Commitment([0; 32]),
        subject: None,
        anchored: true,
    }))
}

/// A log with a base and four entries that have values.
fn log() -> (tempfile::TempDir, PathBuf, Journal) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let journal = open_with(&path, KeyRing::new(1, key(5))).unwrap();
    begin(&journal, 2);
    for text in ["one", "two", "three", "four"] {
        append(&journal, detailed(text)).unwrap();
    }
    (dir, path, journal)
}

#[test]
fn the_values_of_an_erased_entry_are_gone_and_those_of_others_are_there() {
    let (_dir, path, journal) = log();
    append(&journal, erasure(&[2, 3])).unwrap();
    for _ in 0..2 {
        let journal = open_again(&journal, &path);
        assert_eq!(journal.disclosures(2).unwrap(), []);
        assert_eq!(journal.disclosures(3).unwrap(), []);
        assert_eq!(journal.disclosures(1).unwrap(), [disclosure("one")]);
        assert_eq!(journal.disclosures(4).unwrap(), [disclosure("four")]);
        assert!(journal.is_erased(2).unwrap() && !journal.is_erased(4).unwrap());
    }
}

/// The same log, as a copy of the disk has it.
fn open_again(journal: &Journal, path: &Path) -> Journal {
    let head = journal.head();
    let copy = tempfile::tempdir().unwrap().keep();
    for name in ["log.sqlite", "log.sqlite-wal"] {
        std::fs::copy(path.join(name), copy.join(name)).unwrap();
    }
    let again = open_with(&copy, KeyRing::new(1, key(5))).unwrap();
    assert_eq!(again.head(), head);
    again
}

#[test]
fn the_rows_of_an_erased_entry_are_not_in_the_database_any_more() {
    let (_dir, path, journal) = log();
    append(&journal, erasure(&[2])).unwrap();
    drop(journal);
    let conn = Connection::open(path.join("log.sqlite")).unwrap();
    for table in ["side", "wrap"] {
        let query = format!("SELECT group_concat(idx) FROM {table}");
        let left: String = conn.query_row(&query, [], |row| row.get(0)).unwrap();
        assert_eq!(left, "1,3,4", "{table}");
    }
}

#[test]
fn an_erasure_whose_pointer_was_taken_away_is_named() {
    let (_dir, path, journal) = log();
    append(&journal, erasure(&[2])).unwrap();
    drop(journal);
    let conn = Connection::open(path.join("log.sqlite")).unwrap();
    conn.execute("DELETE FROM erased", []).unwrap();
    drop(conn);
    let found = try_open(&path).err();
    assert_eq!(found, Some(OpenError::Erasures { index: 5 }));
}

#[test]
fn a_pointer_to_what_is_no_erasure_is_named() {
    let (_dir, path, journal) = log();
    drop(journal);
    let conn = Connection::open(path.join("log.sqlite")).unwrap();
    conn.execute("INSERT INTO erased(idx) VALUES (3)", [])
        .unwrap();
    conn.execute("DELETE FROM side WHERE idx = 2", []).unwrap();
    drop(conn);
    let found = try_open(&path).err();
    assert_eq!(found, Some(OpenError::Erasures { index: 3 }));
}

#[test]
fn after_the_storage_key_has_advanced_everything_opens_under_the_new_one_alone() {
    let (_dir, path, journal) = log();
    journal.put_subject([1; 32], b"secret").unwrap();
    journal.advance_ring(2, key(6));
    append(&journal, detailed("five")).unwrap();
    journal.wrap_anew().unwrap();
    journal.retire();
    assert_eq!(journal.ring_version(), Some(2));
    assert_eq!(journal.disclosures(1).unwrap(), [disclosure("one")]);
    drop(journal);
    let journal = open_with(&path, KeyRing::new(2, key(6))).unwrap();
    assert_eq!(journal.disclosures(4).unwrap(), [disclosure("four")]);
    assert_eq!(journal.disclosures(5).unwrap(), [disclosure("five")]);
    assert_eq!(
        journal.subject([1; 32]).unwrap().unwrap().as_slice(),
        b"secret"
    );
}

#[test]
fn a_copy_of_the_disk_from_before_does_not_open_under_the_new_key() {
    let (_dir, path, journal) = log();
    let copy = tempfile::tempdir().unwrap();
    for name in ["log.sqlite", "log.sqlite-wal"] {
        std::fs::copy(path.join(name), copy.path().join(name)).unwrap();
    }
    append(&journal, erasure(&[2])).unwrap();
    journal.advance_ring(2, key(6));
    journal.wrap_anew().unwrap();
    journal.retire();
    let ring = KeyRing::new(2, key(6));
    let options = Options {
        ring,
        ..options(limits())
    };
    let (old, _) = Journal::open(copy.path(), options, &mut |_, _| Ok(())).unwrap();
    let source = SideError::NoKey { version: 1 };
    assert_eq!(
        old.disclosures(2),
        Err(ReadError::Side { index: 2, source })
    );
}

#[test]
fn an_advance_that_broke_off_anywhere_is_completed_with_both_keys() {
    let both = || KeyRing::new(1, key(5)).with(2, key(6));
    let (_dir, path, journal) = log();
    // Taken up, one entry sealed under the new key, nothing wrapped anew.
    journal.advance_ring(2, key(6));
    append(&journal, detailed("five")).unwrap();
    drop(journal);
    let journal = open_with(&path, both()).unwrap();
    journal.wrap_anew().unwrap();
    drop(journal);
    // Wrapped anew, and the earlier key not yet gone.
    let journal = open_with(&path, both()).unwrap();
    journal.wrap_anew().unwrap();
    drop(journal);
    let journal = open_with(&path, KeyRing::new(2, key(6))).unwrap();
    assert_eq!(journal.disclosures(1).unwrap(), [disclosure("one")]);
    assert_eq!(journal.disclosures(5).unwrap(), [disclosure("five")]);
}

#[test]
fn entries_are_taken_while_data_keys_are_wrapped_anew() {
    let (_dir, path, journal) = log();
    for n in 0..2_000 {
        journal.append(detailed(&n.to_string()), Box::new(|_| ()));
    }
    journal.advance_ring(2, key(6));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..500 {
                append(&journal, detailed(&n.to_string())).unwrap();
            }
        });
        journal.wrap_anew().unwrap();
    });
    drop(journal);
    open_with(&path, KeyRing::new(2, key(6))).unwrap();
}

#[test]
fn a_subjects_secret_is_kept_once_and_is_gone_when_it_is_forgotten() {
    let (_dir, path, journal) = log();
    journal.put_subject([1; 32], b"first").unwrap();
    journal.put_subject([1; 32], b"second").unwrap();
    journal.put_subject([2; 32], b"other").unwrap();
    assert_eq!(
        journal.subject([1; 32]).unwrap().unwrap().as_slice(),
        b"first"
    );
    journal.forget_subject([1; 32]).unwrap();
    drop(journal);
    let journal = open_with(&path, KeyRing::new(1, key(5))).unwrap();
    assert_eq!(journal.subject([1; 32]).unwrap(), None);
    let left = journal.subjects().unwrap();
    assert_eq!(left.len(), 1);
    assert_eq!(left[0].1.as_slice(), b"other");
}
