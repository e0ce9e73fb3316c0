//! What an export may repeat without end is remembered and told only so often; the counts go on.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::{LogHead, Profile};
use countersign_record::body::Adopt;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::{EntryDigest, GatewayId, NodeHash, UnixMillis};
use countersign_record::entry::{Body, Extensions};
use countersign_record::statement::{ADOPT_TYP, AdoptStatement, Stored};
use countersign_verify::codes::Code;
use countersign_verify::ledger::State;

/// A log with so many openings before which a step of the counter is missing, each signed for.
fn gaps(number: usize) -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    for _ in 0..number {
        log.close();
        log.device.counter += 1;
        log.open();
        let found = log.device.counter;
        log.gap(found - 2, found);
    }
    log.renew();
    log
}

#[test]
fn all_gaps_are_counted_and_the_first_64_told() {
    for (number, told) in [(1, 1), (64, 64), (65, 64), (66, 64)] {
        let report = check(&gaps(number).export());
        assert_eq!(report.counts.gaps, u64::try_from(number).unwrap());
        assert_eq!(report.subject.gaps.len(), told, "of {number}");
    }
}

/// A log that continues so many others.
fn adopting(number: u8) -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    for id in 1..=number {
        let (predecessor, head) = (
            GatewayId([id; 32]),
            LogHead {
                size: 9,
                root: NodeHash([5; 32]),
            },
        );
        let statement = AdoptStatement {
            gateway: gateway(),
            predecessor,
            head: head.clone(),
            last: EntryDigest([2; 32]),
            reason: "machine lost".into(),
            issued: UnixMillis(START),
            stored: Stored::Recovered,
        };
        let statement = Bytes(governance().statement(ADOPT_TYP, statement.to_bytes()));
        let body = Adopt {
            predecessor,
            head,
            statement,
        };
        log.push(Body::Adopt(body), None, vec![]);
    }
    log.renew();
    log
}

#[test]
fn of_more_than_64_adoptions_nothing_can_be_told() {
    for (number, state) in [(64, State::NotChecked), (65, State::CannotTell)] {
        let report = check(&adopting(number).export());
        assert_eq!(report.state(Code::Adoption), state, "{number}");
        assert_eq!(report.subject.handovers.len(), 64);
    }
}

#[test]
fn the_first_16_programs_are_named_each_once() {
    for (epochs, named) in [(2, 2), (16, 16), (17, 16)] {
        let mut log = Mini::new(Profile::Tpm);
        for _ in 0..epochs {
            for _ in 0..2 {
                log.edits.base = Some(|b| b.software = format!("gateway {}", b.epoch.div_ceil(2)));
                log.open();
            }
        }
        assert_eq!(check(&log.export()).subject.software.len(), named);
    }
}

#[test]
fn the_first_8_extensions_are_shown() {
    for (number, shown) in [(7, 7), (8, 8), (9, 8)] {
        let mut log = Mini::new(Profile::Tpm);
        log.open();
        log.event();
        let leaf = log.leaves.last_mut().unwrap();
        let pairs = (0..number).map(|key| (key, Bytes(vec![0xab])));
        leaf.payload.optional = Extensions::new(pairs.collect());
        leaf.bytes = sign(&leaf.payload, &epoch_key(1));
        let extensions = check(&log.export()).subject.extensions;
        assert_eq!(extensions.len(), shown);
        assert_eq!(extensions.first().unwrap(), "entry 1: 0 = ab");
    }
}
