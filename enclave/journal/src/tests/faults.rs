//! What happens when the disk does not do as told.

use super::site::*;
use crate::command::Command;
use crate::{AppendError, Appended, Fault, Health, Journal, Limits, OpenError, StoreError};
use std::fs;
use std::path::Path;
use std::process::Command as Process;

fn sql(journal: &Journal, text: &'static str) {
    journal.command(|reply| Command::Sql(text, reply)).unwrap();
}

/// Appends large events until one fails.
fn until_it_fails(journal: &Journal) -> AppendError {
    let large = "x".repeat(30_000);
    (0..100_000)
        .find_map(|_| append(journal, detailed(&large)).err())
        .unwrap()
}

#[test]
fn a_full_database_refuses_calls_and_nothing_is_half_written() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    sql(&journal, "PRAGMA max_page_count = 1");
    assert_eq!(
        until_it_fails(&journal),
        AppendError::NotDurable(Fault::DiskFull)
    );
    assert_eq!(journal.health(), Health::Refusing(Fault::DiskFull));
    let size = journal.snapshot().head.size;
    assert_eq!(
        append(&journal, intent((1, 1), 2)),
        Err(AppendError::Refusing(Fault::DiskFull))
    );
    let mut settlement_ = settlement((1, 1), 1, &intent_);
    settlement_.disclosures = vec![];
    sql(&journal, "PRAGMA query_only = ON");
    assert_eq!(
        append(&journal, settlement_),
        Err(AppendError::NotDurable(Fault::ReadOnly))
    );
    assert_eq!(journal.snapshot().head.size, size);
    sql(
        &journal,
        "PRAGMA query_only = OFF; PRAGMA max_page_count = 1073741823",
    );
    journal.resume().unwrap();
    assert_eq!(
        append(&journal, settlement((1, 1), 1, &intent_))
            .unwrap()
            .index,
        size
    );
    append(&journal, intent((1, 1), 2)).unwrap();
    assert_eq!(audit(&journal), [call(2)]);
    drop(journal);
    audit(&open(dir.path()).0);
}

#[test]
fn a_token_takes_no_room_of_a_log_that_refuses_calls() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let stamp = crate::Stamp {
        size: 1,
        note: journal.checkpoint().unwrap(),
        authority: "a".to_owned(),
        token: b"token".to_vec(),
    };
    sql(&journal, "PRAGMA query_only = ON");
    append(&journal, event(1)).unwrap_err();
    sql(&journal, "PRAGMA query_only = OFF");
    assert_eq!(
        journal.put_stamp(stamp.clone()),
        Err(StoreError::Store(Fault::ReadOnly))
    );
    assert!(journal.stamps_over(1).unwrap().is_empty());
    journal.resume().unwrap();
    journal.put_stamp(stamp).unwrap();
    assert_eq!(journal.stamps_over(1).unwrap(), [b"token".to_vec()]);
}

#[test]
fn a_settlement_that_can_be_written_again_opens_the_journal_again() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    sql(&journal, "PRAGMA query_only = ON");
    assert_eq!(
        append(&journal, event(1)),
        Err(AppendError::NotDurable(Fault::ReadOnly))
    );
    assert_eq!(journal.resume(), Err(StoreError::Store(Fault::ReadOnly)));
    sql(&journal, "PRAGMA query_only = OFF");
    append(&journal, settlement((1, 1), 1, &intent_)).unwrap();
    assert_eq!(journal.health(), Health::Open);
    append(&journal, event(1)).unwrap();
}

#[test]
fn threads_that_fail_together_leave_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    sql(&journal, "PRAGMA max_page_count = 40");
    let acknowledged: Vec<Appended> = std::thread::scope(|scope| {
        let work = |t: u64| {
            let journal = &journal;
            scope.spawn(move || -> Vec<Appended> {
                (0..200)
                    .filter_map(|n| append(journal, intent((1, t), t * 1_000 + n)).ok())
                    .collect()
            })
        };
        let threads: Vec<_> = (0..16).map(work).collect();
        threads
            .into_iter()
            .flat_map(|t| t.join().unwrap())
            .collect()
    });
    assert_eq!(journal.health(), Health::Refusing(Fault::DiskFull));
    assert!(acknowledged.len() < 3_200);
    assert_eq!(audit(&journal).len(), acknowledged.len());
    assert_eq!(journal.open_calls(), acknowledged.len());
    drop(journal);
    let (journal, found) = open(dir.path());
    assert_eq!(found.open_intents.len(), acknowledged.len());
    assert!(
        acknowledged
            .iter()
            .all(|a| journal.entry(a.index).unwrap().bytes == a.bytes)
    );
}

/// A small file system of its own; needs the right to mount one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let status = Process::new("mount")
            .args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"])
            .arg(dir.path())
            .status();
        status.is_ok_and(|s| s.success()).then_some(Self(dir))
    }
    fn dir(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Process::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn settlements_fit_on_a_full_disk_in_the_room_set_aside() {
    let Some(small) = Small::mount() else {
        println!("not checked: mounting a small file system is not permitted here");
        return;
    };
    let limits = Limits {
        open_calls: 64,
        settlement_bytes: 65_536,
        ..Limits::default()
    };
    let dir = small.dir().join("journal");
    let (journal, _) = Journal::open(&dir, options(limits), &mut |_, _| Ok(())).unwrap();
    begin(&journal, 2);
    let calls: Vec<_> = (0..64)
        .map(|n| append(&journal, intent((1, n), n)).unwrap())
        .collect();
    assert_eq!(
        until_it_fails(&journal),
        AppendError::NotDurable(Fault::DiskFull)
    );
    // Whatever the failed flush left over is taken away as well.
    let room = fs::metadata(dir.join("ballast")).unwrap().len();
    assert_eq!(room, 0);
    let (settled, rest) = calls.split_at(60);
    for (n, intent_) in (0u64..).zip(settled) {
        append(&journal, settlement((1, n), n, intent_)).unwrap();
    }
    assert_eq!(journal.open_calls(), rest.len());
    drop(journal);
    let reopened = Journal::open(
        &dir,
        options(Limits {
            settlement_bytes: 0,
            ..limits
        }),
        &mut |_, _| Ok(()),
    );
    let (journal, found) = reopened.unwrap();
    assert_eq!(found.open_intents.len(), 4);
    audit(&journal);
}

#[test]
fn a_disk_without_room_for_settlements_is_not_opened() {
    let Some(small) = Small::mount() else {
        println!("not checked: mounting a small file system is not permitted here");
        return;
    };
    let limits = Limits {
        open_calls: 1024,
        settlement_bytes: 65_536,
        ..Limits::default()
    };
    let opened = Journal::open(small.dir(), options(limits), &mut |_, _| Ok(()));
    assert!(matches!(
        opened.err(),
        Some(OpenError::Room {
            bytes: 67_108_864,
            ..
        })
    ));
}

#[test]
fn a_deleted_database_stops_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    fs::remove_file(dir.path().join("log.sqlite")).unwrap();
    assert_eq!(
        append(&journal, event(1)),
        Err(AppendError::NotDurable(Fault::Deleted))
    );
    assert_eq!(journal.health(), Health::Stopped(Fault::Deleted));
    assert_eq!(
        append(&journal, settlement((1, 1), 1, &intent_)),
        Err(AppendError::NotDurable(Fault::Deleted))
    );
    assert_eq!(journal.resume(), Err(StoreError::Store(Fault::Deleted)));
}

#[test]
fn a_deleted_write_ahead_log_stops_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    fs::remove_file(dir.path().join("log.sqlite-wal")).unwrap();
    assert_eq!(
        append(&journal, event(1)),
        Err(AppendError::NotDurable(Fault::Deleted))
    );
}

#[test]
fn a_replaced_database_stops_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let file = dir.path().join("log.sqlite");
    fs::copy(&file, dir.path().join("copy")).unwrap();
    fs::rename(dir.path().join("copy"), &file).unwrap();
    assert_eq!(
        append(&journal, event(1)),
        Err(AppendError::NotDurable(Fault::Replaced))
    );
    assert_eq!(journal.health(), Health::Stopped(Fault::Replaced));
}

#[test]
fn a_second_user_of_the_directory_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (_journal, _) = open(dir.path());
    assert_eq!(
        try_open(dir.path()).err(),
        Some(OpenError::Locked {
            dir: dir.path().to_owned()
        })
    );
}

#[test]
fn a_signature_that_is_not_the_identitys_makes_no_checkpoint() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let epoch = ed25519_dalek::SigningKey::from_bytes(&[2; 32]);
    let wrong = Box::new(|_: &[u8]| countersign_record::digest::Signature([0; 64]));
    journal
        .begin_epoch(crate::EpochSigner::new(epoch.clone(), wrong))
        .unwrap();
    append(
        &journal,
        plain(countersign_record::entry::Body::Base(base(
            &journal, &epoch,
        ))),
    )
    .unwrap();
    assert_eq!(journal.checkpoint(), Err(StoreError::IdentitySignature));
}

#[test]
fn a_log_that_is_open_is_seen_to_be_in_use_and_one_that_is_not_there_is_not_made() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("log");
    assert_eq!(Journal::refuse_if_in_use(&missing), Ok(()));
    assert!(!missing.exists());
    let (journal, _) = open(dir.path());
    let found = Journal::refuse_if_in_use(dir.path());
    assert!(matches!(found, Err(OpenError::Locked { .. })), "{found:?}");
    drop(journal);
    assert_eq!(Journal::refuse_if_in_use(dir.path()), Ok(()));
}
