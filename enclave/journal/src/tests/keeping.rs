//! A log of a gateway that is gone: kept as it was, read, never written.

use super::site::*;
use crate::{Archive, KeyRing, OpenError, ReadError, SideError, StorageKey};
use countersign_record::digest::GatewayId;
use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};
use std::fs::File;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

fn gateway() -> GatewayId {
    public(&identity()).gateway()
}

fn ring() -> KeyRing {
    KeyRing::new(1, StorageKey::new(Zeroizing::new([5; 32])))
}

/// A log of three entries, the last with a disclosure, and a place for its copy.
fn log() -> (tempfile::TempDir, PathBuf, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("log"), dir.path().join("kept"));
    let (journal, _) = open(&from);
    begin(&journal, 2);
    append(&journal, event(1)).unwrap();
    append(&journal, detailed("one")).unwrap();
    drop(journal);
    (dir, from, to)
}

fn kept() -> (tempfile::TempDir, PathBuf) {
    let (dir, from, to) = log();
    Archive::copy(&from, &to).unwrap();
    (dir, to)
}

fn try_open_kept(dir: &Path) -> Result<Archive, OpenError> {
    Archive::open(dir, gateway(), ring(), &mut |_, _| Ok(())).map(|(archive, _)| archive)
}

#[test]
fn a_kept_log_has_the_same_root_and_opens_the_same_values() {
    let (_dir, from, to) = log();
    Archive::copy(&from, &to).unwrap();
    let (journal, _) = open(&from);
    let archive = try_open_kept(&to).unwrap();
    assert_eq!(archive.head(), journal.head());
    assert_eq!(
        archive.disclosures(2).unwrap(),
        journal.disclosures(2).unwrap()
    );
    assert_eq!(archive.latest_checkpoint(), journal.latest_checkpoint());
}

#[test]
fn a_kept_log_says_whose_it_is() {
    let (_dir, kept) = kept();
    assert_eq!(Archive::gateway_of(&kept), Ok(gateway()));
}

#[test]
fn what_stood_in_the_write_ahead_log_of_a_process_that_was_killed_is_kept() {
    let dir = tempfile::tempdir().unwrap();
    let (from, at_once, to) = (
        dir.path().join("log"),
        dir.path().join("at-once"),
        dir.path().join("kept"),
    );
    let (journal, _) = open(&from);
    begin(&journal, 2);
    append(&journal, event(1)).unwrap();
    // As the disk is while the process runs: nothing was moved to the database yet.
    std::fs::create_dir(&at_once).unwrap();
    for name in ["log.sqlite", "log.sqlite-wal"] {
        std::fs::copy(from.join(name), at_once.join(name)).unwrap();
    }
    Archive::copy(&at_once, &to).unwrap();
    assert_eq!(try_open_kept(&to).unwrap().head(), journal.head());
}

#[test]
fn a_lock_that_is_let_go_within_a_moment_is_waited_for() {
    let (_dir, from, to) = log();
    let held = File::open(from.join("lock")).unwrap();
    flock(&held, FlockOperation::NonBlockingLockExclusive).unwrap();
    let letting_go = std::thread::spawn(move || {
        std::thread::sleep(std::time::Duration::from_millis(30));
        drop(held);
    });
    Archive::copy(&from, &to).unwrap();
    letting_go.join().unwrap();
}

#[test]
fn a_log_that_is_in_use_is_not_copied() {
    let (_dir, from, to) = log();
    let _journal = open(&from);
    assert!(matches!(
        Archive::copy(&from, &to),
        Err(OpenError::Locked { .. })
    ));
}

#[test]
fn a_copy_is_not_made_over_another() {
    let (_dir, from, to) = log();
    Archive::copy(&from, &to).unwrap();
    assert!(matches!(
        Archive::copy(&from, &to),
        Err(OpenError::Directory { .. })
    ));
}

#[test]
fn a_kept_log_is_one_file_that_its_owner_can_only_read() {
    let (_dir, kept) = kept();
    let files: Vec<_> = std::fs::read_dir(&kept)
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    assert_eq!(files, ["log.sqlite"]);
    let mode = std::fs::metadata(kept.join("log.sqlite")).unwrap();
    assert_eq!(mode.permissions().mode() & 0o777, 0o400);
    try_open_kept(&kept).unwrap();
    assert_eq!(std::fs::read_dir(&kept).unwrap().count(), 1);
}

#[test]
fn without_keys_its_entries_are_there_and_its_values_are_not() {
    let (_dir, kept) = kept();
    let ring = KeyRing::without_keys();
    let (archive, _) = Archive::open(&kept, gateway(), ring, &mut |_, _| Ok(())).unwrap();
    assert!(!archive.has_values());
    assert_eq!(archive.entry(2).unwrap().disclosures, 1);
    assert_eq!(
        archive.disclosures(2),
        Err(ReadError::Side {
            index: 2,
            source: SideError::NoKey { version: 1 }
        })
    );
}

#[test]
fn another_storage_key_opens_no_value() {
    let (_dir, kept) = kept();
    let ring = KeyRing::new(1, StorageKey::new(Zeroizing::new([6; 32])));
    let (archive, _) = Archive::open(&kept, gateway(), ring, &mut |_, _| Ok(())).unwrap();
    assert_eq!(
        archive.disclosures(2),
        Err(ReadError::Side {
            index: 2,
            source: SideError::Decrypt
        })
    );
}

#[test]
fn the_log_of_another_gateway_is_named() {
    let (_dir, kept) = kept();
    let expected = GatewayId([9; 32]);
    let opened = Archive::open(&kept, expected, ring(), &mut |_, _| Ok(()));
    assert_eq!(
        opened.err(),
        Some(OpenError::ForeignGateway {
            expected,
            found: gateway()
        })
    );
}

#[test]
fn an_entry_that_was_changed_in_the_copy_is_named() {
    let (_dir, kept) = kept();
    let file = kept.join("log.sqlite");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
    let conn = Connection::open(&file).unwrap();
    conn.execute_batch(
        "UPDATE entry SET bytes = (SELECT bytes FROM entry WHERE idx = 2) WHERE idx = 1;",
    )
    .unwrap();
    drop(conn);
    assert_eq!(
        try_open_kept(&kept).err(),
        Some(OpenError::Misplaced { index: 1, found: 2 })
    );
}

#[test]
fn a_log_without_entries_is_nobodys() {
    let dir = tempfile::tempdir().unwrap();
    let (from, to) = (dir.path().join("log"), dir.path().join("kept"));
    drop(open(&from));
    Archive::copy(&from, &to).unwrap();
    assert_eq!(
        Archive::gateway_of(&to),
        Err(OpenError::MissingEntry { index: 0 })
    );
}
