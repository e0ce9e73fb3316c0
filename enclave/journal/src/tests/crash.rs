//! SIGKILL at random points under load: this test runs itself as a child and kills it.

use super::site::*;
use crate::{Appended, Journal, OpenError};
use countersign_record::digest::EntryDigest;
use countersign_record::entry::EntryRef;
use std::collections::HashSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

const CHILD: &str = "tests::crash::child_that_is_killed";
const ROUNDS: u64 = 30;

/// The child: reads a directory from its input, writes what is acknowledged to its output, until it is killed.
#[test]
#[ignore = "run by the other tests of this file, with a directory on its input"]
fn child_that_is_killed() {
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    let Some((dir, seed)) = line.trim().split_once('|') else {
        return;
    };
    let seed: u64 = seed.parse().unwrap();
    let (journal, _) = open(Path::new(dir));
    begin(&journal, u8::try_from(seed % 200).unwrap() + 10);
    let say = |a: &Appended| {
        writeln!(
            std::io::stdout().lock(),
            "acknowledged {} {}",
            a.index,
            a.digest
        )
        .unwrap()
    };
    let next = AtomicU64::new(seed * 1_000_000);
    std::thread::scope(|scope| {
        for t in 0..6u8 {
            let (journal, next) = (&journal, &next);
            scope.spawn(move || {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    let owner = (t % 3, seed * 100 + u64::from(t));
                    let Ok(intent_) = append(journal, intent(owner, n)) else {
                        return;
                    };
                    say(&intent_);
                    let Ok(settled) = append(journal, settlement(owner, n, &intent_)) else {
                        return;
                    };
                    say(&settled);
                    if let Ok(a) = append(journal, detailed("payload")) {
                        say(&a);
                    }
                }
            });
        }
    });
}

struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
}

fn start(dir: &Path, seed: u64) -> Running {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([CHILD, "--exact", "--ignored", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    writeln!(child.stdin.take().unwrap(), "{}|{seed}", dir.display()).unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    Running { child, output }
}

fn acknowledged(line: &str) -> Option<(u64, EntryDigest)> {
    // The harness may print before the first of ours on the same line.
    let (_, rest) = line.split_once("acknowledged ")?;
    let (index, digest) = rest.trim_end().split_once(' ')?;
    Some((index.parse().ok()?, EntryDigest::from_hex(digest)?))
}

impl Running {
    /// Kills the child once it has acknowledged `count` entries. A last line that was cut is no acknowledgement.
    fn kill_after(mut self, count: usize) -> Vec<(u64, EntryDigest)> {
        let mut seen = Vec::new();
        let mut killed = false;
        loop {
            if seen.len() >= count && !killed {
                self.child.kill().unwrap();
                killed = true;
            }
            let mut line = String::new();
            if self.output.read_line(&mut line).unwrap() == 0 {
                break;
            }
            if line.ends_with('\n') {
                seen.extend(acknowledged(&line));
            }
        }
        self.child.wait().unwrap();
        seen
    }
}

fn settle_what_is_open(journal: &Journal, found: &crate::Found) {
    for open in &found.open_intents {
        let (t, r) = (open.tenant.unwrap(), open.run.unwrap());
        let mut draft = decision(
            (0, 0),
            0,
            Some(EntryRef {
                index: open.entry.index,
                digest: open.entry.digest,
            }),
        );
        draft.tenant = Some(t);
        draft.run = Some(r);
        if let countersign_record::entry::Body::Decision(d) = &mut draft.body {
            d.call = open.call;
            d.effect = countersign_record::body::Effect::Unknown;
        }
        append(journal, draft).unwrap();
    }
}

#[test]
fn killed_at_random_points_nothing_acknowledged_is_lost_and_nothing_is_invented() {
    let dir = tempfile::tempdir().unwrap();
    let mut all: HashSet<(u64, EntryDigest)> = HashSet::new();
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    let mut recovered = 0;
    for round in 0..ROUNDS {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        let count = if round % 7 == 3 {
            0
        } else {
            usize::try_from(random % 400).unwrap()
        };
        all.extend(start(dir.path(), round).kill_after(count));
        let (journal, found) = open(dir.path());
        recovered += u32::from(found.wal_recovered);
        assert_eq!(audit(&journal).len(), found.open_intents.len());
        // At most one open call a thread: nobody asked for more.
        assert!(
            found.open_intents.len() <= 6,
            "{}",
            found.open_intents.len()
        );
        for (index, digest) in &all {
            assert_eq!(
                journal.find(*digest).unwrap().unwrap().index,
                *index,
                "round {round}"
            );
        }
        begin(&journal, 250);
        settle_what_is_open(&journal, &found);
        assert!(audit(&journal).is_empty());
    }
    assert!(
        recovered > 10,
        "{recovered} of {ROUNDS} starts had something to recover"
    );
    assert!(all.len() > 1_000);
}

#[test]
fn a_second_process_is_refused_while_the_first_lives() {
    let dir = tempfile::tempdir().unwrap();
    let mut running = start(dir.path(), 1);
    let mut line = String::new();
    while acknowledged(&line).is_none() {
        line.clear();
        assert!(running.output.read_line(&mut line).unwrap() > 0);
    }
    assert_eq!(
        try_open(dir.path()).err(),
        Some(OpenError::Locked {
            dir: dir.path().to_owned()
        })
    );
    running.kill_after(0);
    open(dir.path());
}
