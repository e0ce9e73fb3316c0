//! One gateway continues another's work: the log that goes on, and the log that was handed over.

use super::case::*;
use super::common::*;
use countersign_record::binding::LogHead;
use countersign_record::body::Adopt;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::*;
use countersign_record::entry::Body;
use countersign_record::export::{ADOPT_KIND, Artifact};
use countersign_record::merkle::{Frontier, leaf_hash};
use countersign_record::statement::*;
use countersign_verify::ledger::State;

const OTHER: GatewayId = GatewayId([1; 32]);

pub fn cases() -> Vec<Case> {
    [goes_on(), was_handed_over()]
        .into_iter()
        .flatten()
        .collect()
}

fn goes_on() -> Vec<Case> {
    vec![
        case(
            "accept-adopted",
            "A gateway continues another's work, by governance's word; what stood in the other log is not shown.",
            adopted(|_, _, _| ()),
        )
        .state("adoption", State::NotChecked),
        case(
            "adopt-by-another-key",
            "Somebody else than governance let the gateway continue another's work.",
            adopted(|_, _, key| *key = Key::new(77)),
        )
        .fails("adoption"),
        case(
            "adopt-of-another-log",
            "The entry names another log than governance's statement.",
            adopted(|a, _, _| a.head.size += 1),
        )
        .fails("adoption"),
        case(
            "adopt-of-another-predecessor",
            "The entry names another predecessor than governance's statement.",
            adopted(|a, _, _| a.predecessor = GatewayId([6; 32])),
        )
        .fails("adoption"),
        case(
            "adopt-by-another-gateway",
            "Governance let another gateway continue that work.",
            adopted(|_, s, _| s.gateway = GatewayId([6; 32])),
        )
        .fails("adoption"),
        case(
            "adopt-of-itself",
            "A gateway is said to continue its own work.",
            adopted(|a, s, _| {
                a.predecessor = gateway();
                s.predecessor = gateway();
            }),
        )
        .fails("adoption"),
        case(
            "adopt-of-no-entries",
            "The log that is continued has no entries.",
            adopted(|a, s, _| {
                a.head.size = 0;
                s.head.size = 0;
            }),
        )
        .fails("adoption"),
        case(
            "adopt-twice",
            "One gateway is continued twice.",
            signed(|log| {
                for _ in 0..2 {
                    enter(log, |_, _, _| ());
                }
            }),
        )
        .fails("adoption"),
    ]
}

fn was_handed_over() -> Vec<Case> {
    vec![
        case(
            "accept-handed-over",
            "No checkpoint covers the last entry; governance's word stands for it.",
            handed(|_, _| (), 0),
        )
        .state("adoption", State::Pass)
        .state("handed-over", State::Pass),
        case(
            "handed-over-by-another-key",
            "Somebody else than governance handed the log over.",
            handed(|_, key| *key = Key::new(77), 0),
        )
        .fails("adoption")
        .state("root", State::Fail),
        case(
            "handed-over-another-log",
            "Governance's word is about another log.",
            handed(|s, _| s.predecessor = GatewayId([6; 32]), 0),
        )
        .fails("adoption")
        .state("root", State::Fail),
        case(
            "handed-over-another-root",
            "Another history of the same length was handed over.",
            handed(|s, _| s.head.root = NodeHash([5; 32]), 0),
        )
        .fails("adoption")
        .state("root", State::Fail),
        case(
            "handed-over-another-last",
            "The last entry that was handed over is another.",
            handed(|s, _| s.last = EntryDigest([5; 32]), 0),
        )
        .fails("adoption")
        .state("root", State::Fail),
        case(
            "handed-over-cut",
            "More was handed over than the export has.",
            handed(|s, _| s.head.size += 1, 0),
        )
        .fails("leaves"),
        case(
            "handed-over-and-more",
            "An entry follows those that were handed over.",
            handed(|_, _| (), 1_000),
        )
        .against("handed-over")
        .state("adoption", State::Pass),
        case(
            "handed-over-and-went-on",
            "The gateway went on after its log had been handed over.",
            handed(|_, _| (), 600_000),
        )
        .fails("adoption"),
    ]
}

fn word() -> AdoptStatement {
    AdoptStatement {
        gateway: gateway(),
        predecessor: OTHER,
        head: LogHead {
            size: 9,
            root: NodeHash([5; 32]),
        },
        last: EntryDigest([2; 32]),
        reason: "machine lost".into(),
        issued: UnixMillis(START),
        stored: Stored::Recovered,
    }
}

type Edit = fn(&mut Adopt, &mut AdoptStatement, &mut Key);

fn adopted(edit: Edit) -> Vec<u8> {
    signed(|log| enter(log, edit))
}

fn enter(log: &mut Mini, edit: Edit) {
    let (mut statement, mut key) = (word(), governance());
    let mut adopt = Adopt {
        predecessor: OTHER,
        head: statement.head.clone(),
        statement: Bytes(vec![]),
    };
    edit(&mut adopt, &mut statement, &mut key);
    adopt.statement = Bytes(key.statement(ADOPT_TYP, statement.to_bytes()));
    log.push(Body::Adopt(adopt), None, vec![]);
}

/// A log whose last entry no checkpoint covers, with the word by which it was handed over; and, `later`
/// milliseconds after that word, one entry more with a checkpoint of its own.
fn handed(edit: fn(&mut AdoptStatement, &mut Key), later: u64) -> Vec<u8> {
    let mut log = log(|_| ());
    let mut note = log.checkpoint();
    log.event();
    let mut frontier = Frontier::new();
    for leaf in &log.leaves {
        frontier.append(leaf_hash(&leaf.bytes), |_, _, _| ());
    }
    let mut statement = AdoptStatement {
        gateway: OTHER,
        predecessor: gateway(),
        head: LogHead {
            size: frontier.size(),
            root: frontier.root(),
        },
        last: EntryDigest(leaf_hash(&log.leaves.last().unwrap().bytes).0),
        issued: UnixMillis(log.time),
        ..word()
    };
    let mut key = governance();
    edit(&mut statement, &mut key);
    if later > 0 {
        log.time += later;
        log.event();
        note = log.checkpoint();
    }
    let mut parts = Parts::of(&log);
    parts.checkpoints = vec![note];
    parts.artifacts.push(Artifact {
        kind: ADOPT_KIND.into(),
        bytes: Bytes(key.statement(ADOPT_TYP, statement.to_bytes())),
    });
    parts.bytes()
}
