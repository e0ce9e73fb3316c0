//! Checkpoints that outside clocks have stamped.

use super::site::*;
use crate::{Cosigned, Journal, Keep, Stamp};

fn stamp(journal: &Journal, note: &str, authority: &str, token: &[u8]) {
    let size = note.lines().nth(1).unwrap().parse().unwrap();
    journal
        .put_stamp(Stamp {
            size,
            note: note.to_owned(),
            authority: authority.to_owned(),
            token: token.to_vec(),
        })
        .unwrap();
}

#[test]
fn tokens_stay_with_their_checkpoint_over_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    append(&journal, event(1)).unwrap();
    let note = journal.checkpoint_until_next().unwrap();
    assert_eq!(journal.vouched_after(0).unwrap(), None);
    stamp(&journal, &note, "b", b"second");
    stamp(&journal, &note, "a", b"first");
    // Others take the place of those that nobody stands behind.
    for n in 2..40 {
        append(&journal, event(n)).unwrap();
        journal.checkpoint_until_next().unwrap();
    }
    let check = |journal: &Journal| {
        assert_eq!(journal.vouched_after(0).unwrap(), Some((2, note.clone())));
        assert_eq!(journal.vouched_after(2).unwrap(), None);
        assert_eq!(journal.cosigned_after(0).unwrap(), None);
        assert_eq!(
            journal.stamps_over(2).unwrap(),
            [b"first".to_vec(), b"second".to_vec()]
        );
        assert!(journal.stamps_over(40).unwrap().is_empty());
        assert_eq!(journal.stamped_before(3).unwrap(), [2]);
        assert!(journal.stamped_before(2).unwrap().is_empty());
    };
    check(&journal);
    drop(journal);
    check(&open(dir.path()).0);
}

#[test]
fn the_first_token_of_an_authority_over_a_checkpoint_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let note = journal.checkpoint().unwrap();
    stamp(&journal, &note, "a", b"early");
    stamp(&journal, &note, "a", b"late");
    assert_eq!(journal.stamps_over(1).unwrap(), [b"early".to_vec()]);
}

#[test]
fn a_token_that_comes_late_brings_its_checkpoint_back() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let early = journal.checkpoint_until_next().unwrap();
    append(&journal, event(1)).unwrap();
    journal.checkpoint_until_next().unwrap();
    stamp(&journal, &early, "a", b"token");
    assert_eq!(journal.vouched_after(0).unwrap(), Some((1, early)));
}

#[test]
fn a_checkpoint_that_is_stamped_keeps_the_lines_of_witnesses_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (journal, _) = open(dir.path());
    begin(&journal, 2);
    let note = journal.checkpoint_until_next().unwrap();
    let line = |n: u64| format!("\u{2014} witness.test/w {n}\n");
    let cosign = |note: &str, n: u64| {
        let size = note.lines().nth(1).unwrap().parse().unwrap();
        let (note, line, keep) = (note.to_owned(), line(n), Keep::UntilNext);
        let cosigned = Cosigned {
            size,
            note,
            line,
            keep,
        };
        journal.put_cosignature(cosigned).unwrap();
    };
    cosign(&note, 1);
    stamp(&journal, &note, "a", b"token");
    for n in 2..40 {
        append(&journal, event(n)).unwrap();
        cosign(&journal.checkpoint_until_next().unwrap(), n);
    }
    let expected = format!("{note}{}", line(1));
    assert_eq!(journal.vouched_after(0).unwrap(), Some((1, expected)));
    assert_eq!(journal.stamps_over(1).unwrap(), [b"token".to_vec()]);
}
