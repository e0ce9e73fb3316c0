//! Checkpoints under which witnesses have put their lines.

use super::site::*;
use crate::{Cosigned, Journal, Keep};
use countersign_record::digest::Signature;
use countersign_record::note::{NoteKey, Role, UnixSeconds};
use ed25519_dalek::SigningKey;

fn line(witness: u8, time: u64) -> String {
    let key = SigningKey::from_bytes(&[witness; 32]);
    let name = format!("witness.test/w{witness}");
    NoteKey::new(&name, Role::Witness, public(&key))
        .unwrap()
        .cosignature_line(UnixSeconds(time), &Signature([witness; 64]))
}

fn put(journal: &Journal, note: &str, line: &str, keep: Keep) {
    let size = note.lines().nth(1).unwrap().parse().unwrap();
    let (note, line) = (note.to_owned(), line.to_owned());
    journal
        .put_cosignature(Cosigned {
            size,
            note,
            line,
            keep,
        })
        .unwrap();
}

/// Sizes of all checkpoints with lines of witnesses, in order.
fn sizes(journal: &Journal) -> Vec<u64> {
    let mut out = Vec::new();
    while let Some((size, _)) = journal
        .cosigned_after(out.last().copied().unwrap_or(0))
        .unwrap()
    {
        out.push(size);
    }
    out
}

#[test]
fn lines_of_witnesses_stay_under_their_checkpoint_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    append(&journal, event(1)).unwrap();
    let note = journal.checkpoint_until_next().unwrap();
    assert_eq!(journal.cosigned_after(0).unwrap(), None);
    put(&journal, &note, &line(1, 5), Keep::Always);
    put(&journal, &note, &line(2, 6), Keep::UntilNext);
    // A witness has one line there, whatever it says later.
    put(&journal, &note, &line(1, 9), Keep::UntilNext);
    let expected = format!("{note}{}{}", line(1, 5), line(2, 6));
    assert_eq!(
        journal.cosigned_after(0).unwrap(),
        Some((2, expected.clone()))
    );
    // The same head signed again keeps them.
    assert_eq!(journal.checkpoint().unwrap(), expected);
    drop(journal);
    let (journal, _) = open(dir.path());
    assert_eq!(journal.cosigned_after(0).unwrap(), Some((2, expected)));
    assert_eq!(journal.cosigned_after(2).unwrap(), None);
}

#[test]
fn the_newest_cosigned_checkpoints_stay_and_those_that_something_rests_on() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    for n in 0..40 {
        append(&journal, event(n)).unwrap();
        let note = journal.checkpoint_until_next().unwrap();
        let keep = if n == 3 {
            Keep::Always
        } else {
            Keep::UntilNext
        };
        put(&journal, &note, &line(1, n), keep);
    }
    let mut expected = vec![5];
    expected.extend(26..=41);
    assert_eq!(sizes(&journal), expected);
    drop(journal);
    assert_eq!(sizes(&open(dir.path()).0), expected);
}

#[test]
fn a_line_that_comes_late_brings_its_checkpoint_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let early = journal.checkpoint_until_next().unwrap();
    append(&journal, event(1)).unwrap();
    journal.checkpoint_until_next().unwrap();
    put(&journal, &early, &line(1, 5), Keep::Always);
    assert_eq!(sizes(&journal), [1]);
}

#[test]
fn lines_without_end_do_not_make_a_checkpoint_that_nobody_can_read() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let note = journal.checkpoint().unwrap();
    for witness in 0..=255 {
        put(&journal, &note, &line(witness, 5), Keep::Always);
    }
    drop(journal);
    let (journal, _) = open(dir.path());
    let (_, note) = journal.cosigned_after(0).unwrap().unwrap();
    assert!(note.len() <= countersign_record::checkpoint::MAX_CHECKPOINT_BYTES);
    assert!(note.contains("witness.test/w1 "));
}
