//! What a healthy journal does.

use super::site::*;
use crate::{
    Alone, AppendError, Appended, Fault, Health, Journal, Limits, Options, PendingOpening,
    PendingRenewal, ReadError, Refusal, StoreError,
};
use countersign_record::checkpoint::{Checkpoint, epoch_name, origin};
use countersign_record::digest::{ArtifactDigest, EntryDigest, KeyId, UnixMillis};
use countersign_record::entry::{Body, Entry, EntryRef};
use countersign_record::merkle::{Head, entry_digest, verify_consistency, verify_inclusion};
use ed25519_dalek::SigningKey;
use std::path::Path;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};

#[test]
fn entries_come_back_after_reopening_as_they_were_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, found) = open(dir.path());
    assert!(found.created && found.last.is_none());
    begin(&journal, 2);
    let mut acknowledged = Vec::new();
    for n in 0..700 {
        let intent_ = append(&journal, intent((1, 1), n)).unwrap();
        acknowledged.push(append(&journal, settlement((1, 1), n, &intent_)).unwrap());
        acknowledged.push(intent_);
    }
    acknowledged.push(append(&journal, intent((2, 2), 900)).unwrap());
    let head = journal.snapshot();
    drop(journal);
    let mut folded = 0;
    let (journal, found) = Journal::open(dir.path(), options(limits()), &mut |_, _| {
        folded += 1;
        Ok(())
    })
    .unwrap();
    assert!(!found.created && !found.wal_recovered);
    assert_eq!((found.head, folded), (head.head, 1402));
    assert_eq!(journal.snapshot(), head);
    assert_eq!(found.checkpoint, Some(head.head));
    for a in &acknowledged {
        assert_eq!(journal.entry(a.index).unwrap().bytes, a.bytes);
        assert_eq!(journal.find(a.digest).unwrap().unwrap().index, a.index);
    }
    assert_eq!(journal.find(EntryDigest([1; 32])), Ok(None));
    assert_eq!(journal.entries_of_call(call(3)).unwrap().len(), 2);
    let [open_intent] = found.open_intents.as_slice() else {
        panic!("one intent is open")
    };
    assert_eq!(
        (open_intent.call, open_intent.entry.index),
        (call(900), 1401)
    );
    assert_eq!(found.open_runs.len(), 2);
    assert_eq!(audit(&journal), [call(900)]);
}

#[test]
fn an_open_call_of_the_last_process_is_settled_in_the_next_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    drop(journal);
    let (journal, _) = open(dir.path());
    assert_eq!(journal.open_calls(), 1);
    begin(&journal, 3);
    append(&journal, settlement((1, 1), 1, &intent_)).unwrap();
    assert_eq!(journal.open_calls(), 0);
    assert!(audit(&journal).is_empty());
}

#[test]
fn only_a_base_of_this_key_gateway_and_log_opens_an_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    assert_eq!(append(&journal, event(1)), Err(Refusal::NoEpoch.into()));
    let (ours, other) = (
        SigningKey::from_bytes(&[2; 32]),
        SigningKey::from_bytes(&[3; 32]),
    );
    journal.begin_epoch(signer(&ours)).unwrap();
    assert_eq!(append(&journal, event(1)), Err(Refusal::NoEpoch.into()));
    let foreign = base(&journal, &other);
    assert_eq!(
        append(&journal, plain(Body::Base(foreign))),
        Err(Refusal::EpochKey.into())
    );
    let good = base(&journal, &ours);
    let mut elsewhere = good.clone();
    elsewhere.previous = Some(EntryDigest([1; 32]));
    assert!(matches!(
        append(&journal, plain(Body::Base(elsewhere))),
        Err(AppendError::Refused(Refusal::Head { .. }))
    ));
    append(&journal, plain(Body::Base(good.clone()))).unwrap();
    assert_eq!(
        append(&journal, plain(Body::Base(good))),
        Err(Refusal::EpochOpen.into())
    );
    assert_eq!(journal.begin_epoch(signer(&other)), Err(Refusal::EpochOpen));
}

#[test]
fn nothing_follows_a_close_but_a_new_epoch() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    assert_eq!(
        append(&journal, plain(close(&journal))),
        Err(Refusal::Unsettled { calls: 1 }.into())
    );
    let stale = close(&journal);
    append(&journal, settlement((1, 1), 1, &intent_)).unwrap();
    assert!(matches!(
        append(&journal, plain(stale)),
        Err(AppendError::Refused(Refusal::Head {
            claimed: 2,
            size: 3
        }))
    ));
    append(&journal, plain(close(&journal))).unwrap();
    assert_eq!(append(&journal, event(1)), Err(Refusal::NoEpoch.into()));
    assert_eq!(journal.checkpoint(), Err(StoreError::NoEpoch));
    begin(&journal, 3);
    append(&journal, event(1)).unwrap();
    drop(journal);
    let (journal, found) = open(dir.path());
    assert_eq!(found.close, None);
    begin(&journal, 4);
    append(&journal, plain(close(&journal))).unwrap();
    drop(journal);
    assert!(open(dir.path()).1.close.is_some());
}

#[test]
fn time_never_runs_behind_the_entry_before() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let at = |at| {
        append(
            &journal,
            crate::Draft {
                at: UnixMillis(at),
                ..event(1)
            },
        )
        .unwrap()
        .at
        .0
    };
    assert_eq!([at(5_000), at(4_000), at(6_000)], [5_000, 5_000, 6_000]);
}

#[test]
fn a_call_has_one_intent_and_one_settlement_that_names_it() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    let call_ = call(1);
    let refused = |draft| match append(&journal, draft) {
        Err(AppendError::Refused(refusal)) => refusal,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        refused(intent((1, 1), 1)),
        Refusal::DuplicateCall { call: call_ }
    );
    assert_eq!(
        refused(decision((1, 1), 1, None)),
        Refusal::IntentNotNamed { call: call_ }
    );
    assert_eq!(
        refused(settlement((1, 2), 1, &intent_)),
        Refusal::WrongIntent { call: call_ }
    );
    let elsewhere = Some(EntryRef {
        index: 0,
        digest: intent_.digest,
    });
    assert_eq!(
        refused(decision((1, 1), 1, elsewhere)),
        Refusal::WrongIntent { call: call_ }
    );
    append(&journal, settlement((1, 1), 1, &intent_)).unwrap();
    assert_eq!(
        refused(settlement((1, 1), 1, &intent_)),
        Refusal::NoIntent { call: call_ }
    );
}

#[test]
fn a_closed_run_takes_nothing_and_its_name_is_spent() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    let close_run =
        |journal: &Journal| journal.close_run_and_wait(tenant(1), run(1), UnixMillis(0), 0);
    assert_eq!(
        close_run(&journal),
        Err(Refusal::RunBusy { calls: 1 }.into())
    );
    let last = append(&journal, settlement((1, 1), 1, &intent_)).unwrap();
    assert_eq!(
        append(&journal, intent((2, 1), 2)),
        Err(Refusal::RunOfOtherTenant.into())
    );
    let closed = close_run(&journal).unwrap();
    let Body::Run(summary) = Entry::parse(&closed.bytes).unwrap().payload().body.clone() else {
        panic!()
    };
    assert_eq!(
        (summary.count, summary.first, summary.last, summary.head),
        (2, 1, 2, last.digest)
    );
    assert_eq!(
        append(&journal, intent((1, 1), 2)),
        Err(Refusal::RunClosed.into())
    );
    assert_eq!(close_run(&journal), Err(Refusal::RunUnknown.into()));
    drop(journal);
    let (journal, _) = open(dir.path());
    begin(&journal, 3);
    assert_eq!(
        append(&journal, intent((1, 1), 2)),
        Err(Refusal::RunClosed.into())
    );
}

#[test]
fn an_entry_that_is_too_large_leaves_no_gap() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let mut large = intent((1, 1), 1);
    if let Body::Intent(body) = &mut large.body {
        body.controls = vec!["x".repeat(70_000)];
    }
    assert!(matches!(
        append(&journal, large),
        Err(AppendError::TooLarge { .. })
    ));
    assert_eq!(append(&journal, event(1)).unwrap().index, 1);
    assert_eq!(journal.open_calls(), 0);
}

#[test]
fn disclosures_come_back_and_must_open_a_commitment() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let entry = append(&journal, detailed("secret")).unwrap();
    assert_eq!(
        journal.disclosures(entry.index).unwrap(),
        [disclosure("secret")]
    );
    assert_eq!(journal.disclosures(0).unwrap(), []);
    let mut wrong = detailed("secret");
    wrong.disclosures = vec![disclosure("another")];
    assert_eq!(
        append(&journal, wrong),
        Err(AppendError::Disclosure { number: 0 })
    );
    drop(journal);
    let file = std::fs::read(dir.path().join("log.sqlite")).unwrap();
    assert!(!file.windows(6).any(|w| w == b"secret"));
    let mut folded = Vec::new();
    let fold = &mut |_: &Entry<'_>, d: &crate::Disclosures<'_>| {
        folded.extend(d.read().map_err(|e| e.to_string())?);
        Ok(())
    };
    Journal::open(dir.path(), options(limits()), fold).unwrap();
    assert_eq!(folded, [disclosure("secret")]);
}

#[test]
fn proofs_and_checkpoints_agree_with_the_entries() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let mut heads = vec![journal.snapshot().head];
    let mut entries = Vec::new();
    for n in 0..600 {
        entries.push(append(&journal, event(n)).unwrap());
        heads.push(journal.snapshot().head);
    }
    let last = *heads.last().unwrap();
    for entry in entries.iter().step_by(37) {
        let path = journal.inclusion(entry.index, last.size).unwrap();
        let leaf = countersign_record::merkle::leaf_hash(&entry.bytes);
        verify_inclusion(leaf, entry.index, last.size, &path, last.root).unwrap();
    }
    for first in heads.iter().step_by(41) {
        verify_consistency(
            *first,
            last,
            &journal.consistency(first.size, last.size).unwrap(),
        )
        .unwrap();
        assert_eq!(journal.head_at(first.size).unwrap(), *first);
    }
    assert_eq!(
        journal.leaf_hashes(1..601).unwrap()[599].0,
        entries[599].digest.0
    );
    assert_eq!(
        journal.inclusion(601, 602),
        Err(ReadError::OutOfRange {
            index: 601,
            size: 601
        })
    );
    let note = journal.checkpoint().unwrap();
    assert_eq!(journal.latest_checkpoint().unwrap(), Some(note.clone()));
    assert_eq!(journal.checkpoint_over(601).unwrap(), Some(note.clone()));
    assert_eq!(journal.checkpoint_over(602).unwrap(), None);
    let gateway = public(&identity()).gateway();
    let parsed = Checkpoint::parse(note.as_bytes(), &gateway).unwrap();
    assert_eq!(
        parsed.head(),
        Head {
            size: 601,
            root: last.root
        }
    );
    for (name, key) in [
        (origin(&gateway), identity()),
        (epoch_name(&gateway), SigningKey::from_bytes(&[2; 32])),
    ] {
        let signature = parsed.signature(&name, &public(&key), "test").unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&signature.0);
        key.verifying_key()
            .verify_strict(parsed.text().as_bytes(), &signature)
            .unwrap();
    }
}

#[test]
fn entries_are_found_on_both_sides_of_a_segment_and_after_reopening() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    let (to, from) = channel();
    for n in 0..16_500u64 {
        let to = to.clone();
        loop {
            if journal.health() == Health::Open && n - n.min(1_000) <= journal.snapshot().head.size
            {
                break;
            }
            std::thread::yield_now();
        }
        journal.append(event(n), Box::new(move |r| to.send(r).unwrap()));
    }
    drop(to);
    let all: Vec<_> = from.iter().map(Result::unwrap).collect();
    assert_eq!(all.len(), 16_500);
    append(&journal, settlement((1, 1), 1, &intent_)).unwrap();
    let look = |journal: &Journal| {
        for a in all.iter().step_by(1_111).chain(&all[16_370..16_390]) {
            assert_eq!(journal.find(a.digest).unwrap().unwrap().index, a.index);
        }
        let of_call: Vec<u64> = journal
            .entries_of_call(call(1))
            .unwrap()
            .iter()
            .map(|e| e.index)
            .collect();
        assert_eq!(of_call, [1, 16_502]);
    };
    look(&journal);
    drop(journal);
    look(&open(dir.path()).0);
    let conn = rusqlite::Connection::open(dir.path().join("log.sqlite")).unwrap();
    conn.execute(
        "DELETE FROM lookup WHERE id = (SELECT max(id) FROM lookup)",
        [],
    )
    .unwrap();
    drop(conn);
    assert_eq!(
        try_open(dir.path()).err(),
        Some(crate::OpenError::Index { segment: 0 })
    );
}

#[test]
fn announcements_are_kept_until_what_they_announce_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let opening = |counter| PendingOpening {
        counter,
        epoch_key: KeyId([4; 32]),
    };
    journal.put_pending_opening(&opening(1)).unwrap();
    journal.put_pending_opening(&opening(2)).unwrap();
    drop(journal);
    let (journal, found) = open(dir.path());
    assert_eq!(found.pending_openings, [opening(1), opening(2)]);
    begin(&journal, 2);
    let renewal = PendingRenewal {
        counter: 3,
        number: 1,
    };
    journal.put_pending_renewal(&renewal).unwrap();
    drop(journal);
    let (_, found) = open(dir.path());
    assert_eq!(
        (found.pending_openings.len(), found.pending_renewals),
        (0, vec![renewal])
    );
}

#[test]
fn artifacts_are_found_by_digest_and_kept_once() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    let digest = journal.put_artifact("text/plain", b"evidence").unwrap();
    assert_eq!(
        journal.put_artifact("text/plain", b"evidence").unwrap(),
        digest
    );
    assert_eq!(
        journal.artifact(digest).unwrap().unwrap().bytes.0,
        b"evidence"
    );
    assert_eq!(journal.artifact(ArtifactDigest([0; 32])).unwrap(), None);
    assert_eq!(journal.artifacts_of("text/plain").unwrap(), [digest]);
    assert_eq!(journal.artifacts_of("text/html").unwrap(), []);
}

#[test]
fn a_full_queue_refuses_calls_and_still_takes_settlements() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        waiting: 16,
        open_calls: 100_000,
        settlement_bytes: 0,
        ..Limits::default()
    };
    let (journal, _) = Journal::open(dir.path(), options(limits), &mut |_, _| Ok(())).unwrap();
    begin(&journal, 2);
    let intent_ = append(&journal, intent((1, 1), 1)).unwrap();
    let (go, blocked) = channel::<()>();
    journal.append(event(0), Box::new(move |_| blocked.recv().unwrap()));
    let (to, from) = channel();
    let mut n = 10usize;
    let refused = loop {
        let to = to.clone();
        journal.append(
            intent((1, 1), u64::try_from(n).unwrap()),
            Box::new(move |r| to.send(r).unwrap()),
        );
        n += 1;
        match from.try_recv() {
            Ok(Err(error)) => break error,
            Ok(Ok(a)) => panic!("{a:?} was acknowledged although the writer is blocked"),
            Err(_) => {}
        }
    };
    assert!(matches!(
        refused,
        AppendError::Backpressure { waiting: 16, .. }
    ));
    let (settled, settling) = channel();
    journal.append(
        settlement((1, 1), 1, &intent_),
        Box::new(move |r| settled.send(r).unwrap()),
    );
    go.send(()).unwrap();
    settling.recv().unwrap().unwrap();
    drop(to);
    assert_eq!(from.iter().filter(Result::is_ok).count(), n - 11);
    assert_eq!(audit(&journal).len(), n - 11);
}

#[test]
fn calls_beyond_the_reserved_room_are_refused_until_one_is_settled() {
    let dir = tempfile::tempdir().unwrap();
    let limits = Limits {
        open_calls: 2,
        ..limits()
    };
    let (journal, _) = Journal::open(dir.path(), options(limits), &mut |_, _| Ok(())).unwrap();
    begin(&journal, 2);
    let first = append(&journal, intent((1, 1), 1)).unwrap();
    append(&journal, intent((1, 1), 2)).unwrap();
    assert_eq!(
        append(&journal, intent((1, 1), 3)),
        Err(AppendError::Backpressure {
            waiting: 0,
            open: 2
        })
    );
    append(&journal, settlement((1, 1), 1, &first)).unwrap();
    append(&journal, intent((1, 1), 3)).unwrap();
}

#[test]
fn a_panic_while_places_are_given_out_stops_the_journal_and_not_the_process() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    append(&journal, intent((1, 1), 1)).unwrap();
    // A settlement without its call is refused in the thread that signs, which is this one.
    let unknown = settlement((1, 1), 2, &append(&journal, intent((1, 1), 3)).unwrap());
    let panicking = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        journal.append(unknown, Box::new(|r| panic!("as arranged: {}", r.is_err())));
    }));
    assert!(panicking.is_err());
    let stopped = Fault::Stopped;
    assert_eq!(journal.health(), Health::Stopped(stopped));
    let after = append(&journal, intent((1, 1), 4));
    assert_eq!(after, Err(AppendError::NotDurable(stopped)));
    assert!(journal.checkpoint().is_err());
    drop(journal);
    let (journal, found) = open(dir.path());
    assert_eq!(found.head.size, 3);
    assert_eq!(journal.health(), Health::Open);
}

#[test]
fn sixty_four_threads_get_sixty_four_hundred_places_without_gaps() {
    for alone in [Alone::ByThread, Alone::ByCaller] {
        sixty_four_threads(alone);
    }
}

fn sixty_four_threads(alone: Alone) {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_alone(dir.path(), alone);
    begin(&journal, 2);
    std::thread::scope(|scope| {
        for t in 0..64u8 {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..50 {
                    let owner = (t % 5, u64::from(t));
                    let n = u64::from(t) * 1_000 + n;
                    let intent_ = append(journal, intent(owner, n)).unwrap();
                    let stored = journal.entry(intent_.index).unwrap();
                    assert_eq!(entry_digest(&stored.bytes), intent_.digest);
                    append(journal, settlement(owner, n, &intent_)).unwrap();
                }
            });
        }
    });
    assert_eq!(journal.snapshot().head.size, 6_401);
    assert!(audit(&journal).is_empty());
    assert_eq!(journal.snapshot().tenant_count, 5);
}

/// A directory whose files are flushed at once, where the machine has one.
fn quick_dir() -> tempfile::TempDir {
    tempfile::tempdir_in("/dev/shm").unwrap_or_else(|_| tempfile::tempdir().unwrap())
}

fn open_alone(dir: &Path, alone: Alone) -> Journal {
    let options = Options {
        alone,
        ..options(limits())
    };
    let (journal, _) = Journal::open(dir, options, &mut |_, _| Ok(())).unwrap();
    journal
}

/// Appends entries until one is committed in this thread, and carries out `then` in its callback.
fn until_committed_here(
    journal: &Arc<Journal>,
    then: impl Fn(&Arc<Journal>) + Send + Sync + 'static,
) -> bool {
    let (here, then) = (std::thread::current().id(), Arc::new(then));
    (0..1000u64).any(|n| {
        let (to, from) = channel();
        let (again, then) = (Arc::clone(journal), Arc::clone(&then));
        let done = move |result: Result<Appended, AppendError>| {
            result.unwrap();
            let mine = std::thread::current().id() == here;
            to.send(mine).unwrap();
            if mine {
                then(&again);
            }
        };
        journal.append(event(n), Box::new(done));
        let mine = from.recv().unwrap();
        // The thread says that an entry is durable before it waits again.
        std::thread::sleep(std::time::Duration::from_millis(1));
        mine
    })
}

#[test]
fn an_entry_that_is_alone_is_committed_by_whoever_appended_it() {
    let dir = quick_dir();
    let journal = Arc::new(open_alone(dir.path(), Alone::ByCaller));
    begin(&journal, 2);
    assert!(until_committed_here(&journal, |_| ()));
    drop(journal);
    let dir = quick_dir();
    let journal = Arc::new(open_alone(dir.path(), Alone::ByThread));
    begin(&journal, 2);
    assert!(!until_committed_here(&journal, |_| ()));
}

#[test]
fn what_comes_while_a_caller_commits_is_left_to_the_thread() {
    let dir = quick_dir();
    let journal = Arc::new(open_alone(dir.path(), Alone::ByCaller));
    begin(&journal, 2);
    let (to, from) = channel();
    let to = Mutex::new(to);
    assert!(until_committed_here(&journal, move |journal| {
        let to = to.lock().unwrap().clone();
        let another = Arc::clone(journal);
        let (told, tell) = (to.clone(), std::thread::current().id());
        journal.append(
            event(5000),
            Box::new(move |r| {
                r.unwrap();
                to.send(std::thread::current().id() != tell).unwrap();
            }),
        );
        std::thread::spawn(move || told.send(another.checkpoint().is_ok()).unwrap());
        // The other thread asks for its checkpoint while this one commits.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }));
    assert!(from.recv().unwrap() && from.recv().unwrap());
    let size = journal.snapshot().head.size;
    drop(Arc::into_inner(journal));
    let (_, found) = open(dir.path());
    assert_eq!(found.head.size, size);
}

#[test]
fn a_panic_of_a_caller_that_commits_stops_the_journal_and_not_the_process() {
    let dir = quick_dir();
    let journal = Arc::new(open_alone(dir.path(), Alone::ByCaller));
    begin(&journal, 2);
    let panicking = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        until_committed_here(&journal, |_| panic!("as arranged"))
    }));
    assert!(panicking.is_err());
    let stopped = Fault::Stopped;
    assert_eq!(journal.health(), Health::Stopped(stopped));
    let after = append(&journal, intent((1, 1), 4));
    assert_eq!(after, Err(AppendError::NotDurable(stopped)));
    let size = journal.snapshot().head.size;
    drop(Arc::into_inner(journal));
    let (_, found) = open(dir.path());
    assert_eq!(found.head.size, size);
}

#[test]
fn a_panic_on_the_journals_thread_stops_it_and_everybody_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let journal = open_alone(dir.path(), Alone::ByThread);
    begin(&journal, 2);
    let (go, blocked) = channel::<()>();
    let (begun, begins) = channel();
    journal.append(
        event(0),
        Box::new(move |_| {
            begun.send(()).unwrap();
            blocked.recv().unwrap();
            panic!("as arranged")
        }),
    );
    begins.recv().unwrap();
    // Signed on top of it, and waiting for its own flush.
    let (to, from) = channel();
    journal.append(event(1), Box::new(move |r| to.send(r).unwrap()));
    go.send(()).unwrap();
    let stopped = Fault::Stopped;
    assert_eq!(from.recv().unwrap(), Err(AppendError::NotDurable(stopped)));
    assert_eq!(journal.health(), Health::Stopped(stopped));
    let after = append(&journal, intent((1, 1), 4));
    assert_eq!(after, Err(AppendError::NotDurable(stopped)));
    assert!(journal.checkpoint().is_err());
    drop(journal);
    let (_, found) = open(dir.path());
    assert_eq!(found.head.size, 2);
}
