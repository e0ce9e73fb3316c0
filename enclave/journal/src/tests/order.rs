//! Random histories: whatever happens, three sequences stay gapless and the next start agrees.

use super::site::*;
use crate::command::Command;
use crate::{Appended, Journal};
use countersign_record::digest::UnixMillis;
use proptest::prelude::*;

#[derive(Debug, Clone)]
enum Step {
    Event,
    Intent { tenant: u8, run: u64 },
    Settle(usize),
    CloseRun { tenant: u8, run: u64 },
    Checkpoint,
    Full,
    Room,
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => Just(Step::Event),
        8 => (0..3u8, 0..4u64).prop_map(|(tenant, run)| Step::Intent { tenant, run: u64::from(tenant) * 10 + run }),
        6 => any::<usize>().prop_map(Step::Settle),
        2 => (0..3u8, 0..4u64).prop_map(|(tenant, run)| Step::CloseRun { tenant, run: u64::from(tenant) * 10 + run }),
        1 => Just(Step::Checkpoint),
        1 => Just(Step::Full),
        2 => Just(Step::Room),
        1 => Just(Step::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn sequences_stay_gapless_over_random_histories(steps in prop::collection::vec(step(), 1..120)) {
        let dir = tempfile::tempdir().unwrap();
        let (mut journal, _) = open(dir.path());
        let mut epoch = 2u8;
        begin(&journal, epoch);
        let mut open_calls: Vec<((u8, u64), u64, Appended)> = Vec::new();
        let mut acknowledged: Vec<Appended> = Vec::new();
        for (n, step) in (1u64..).zip(steps) {
            match step {
                Step::Event => acknowledged.extend(append(&journal, detailed(&"x".repeat(9_000)))),
                Step::Intent { tenant, run } => {
                    if let Ok(a) = append(&journal, intent((tenant, run), n)) {
                        open_calls.push(((tenant, run), n, a.clone()));
                        acknowledged.push(a);
                    }
                }
                Step::Settle(which) if !open_calls.is_empty() => {
                    let at = which % open_calls.len();
                    let (owner, n, a) = open_calls[at].clone();
                    if let Ok(a) = append(&journal, settlement(owner, n, &a)) {
                        open_calls.swap_remove(at);
                        acknowledged.push(a);
                    }
                }
                Step::Settle(_) => {}
                Step::CloseRun { tenant: t, run: r } => {
                    acknowledged.extend(journal.close_run_and_wait(tenant(t), run(r), UnixMillis(n), n));
                }
                Step::Checkpoint => drop(journal.checkpoint()),
                Step::Full => journal.command(|reply| Command::Sql("PRAGMA max_page_count = 1", reply)).unwrap(),
                Step::Room => make_room(&journal),
                Step::Reopen => {
                    drop(journal);
                    (journal, _) = open(dir.path());
                    epoch += 1;
                    begin(&journal, epoch);
                }
            }
        }
        make_room(&journal);
        let mut open_now: Vec<_> = open_calls.iter().map(|(_, n, _)| call(*n)).collect();
        let mut audited = audit(&journal);
        open_now.sort();
        audited.sort();
        prop_assert_eq!(&audited, &open_now);
        for a in &acknowledged {
            prop_assert_eq!(&journal.entry(a.index).unwrap().bytes, &a.bytes);
        }
        let head = journal.snapshot().head;
        drop(journal);
        let (_, found) = open(dir.path());
        prop_assert_eq!(found.head, head);
        prop_assert_eq!(found.open_intents.len(), open_now.len());
    }
}

fn make_room(journal: &Journal) {
    journal
        .command(|reply| Command::Sql("PRAGMA max_page_count = 1073741823", reply))
        .unwrap();
    journal.resume().unwrap();
}
