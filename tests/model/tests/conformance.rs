//! The model's verifier and the product's say the same.
//!
//! Logs of every shape that is reachable within small bounds are made anew with real signatures and real
//! evidence, by the sample gateway of the verifier's own tests, and given to the product's verifier.

#![expect(
    clippy::unwrap_used,
    clippy::as_conversions,
    clippy::arithmetic_side_effects,
    reason = "a test fails by panicking; numbers are small"
)]

#[expect(
    dead_code,
    reason = "shared by several programs, each of which uses a part"
)]
#[path = "../../../verifier/tests/common/mod.rs"]
mod common;

use common::{Call, LEASE, Mini, call, check_with, trust_text};
use countersign_model::verifier::{Claim, verify};
use countersign_model::world::{Body, Entry, Head};
use countersign_model::{Bounds, Rules, search};
use countersign_record::binding::Profile;
use countersign_record::body::{AbandonedOpening, Event, EventKind, Mode, Verdict};
use countersign_record::digest::{CallId, KeyId};
use countersign_record::entry::Body as RealBody;
use countersign_verify::Options;
use countersign_verify::codes::Code;
use countersign_verify::ledger::State;
use countersign_verify::trust::Trust;
use std::collections::{HashMap, HashSet};

/// Enough for forks, gaps, failed renewals, closes, and steps that came to nothing.
const BOUNDS: Bounds = Bounds {
    disks: 2,
    counter: 4,
    boots: 3,
    calls: 1,
    crashes: 1,
    failures: 1,
    restores: 1,
    recoveries: 1,
    submissions: 0,
};

/// Logs of one shape that are compared with each set of rules.
const OF_A_SHAPE: usize = 6;

/// Where the sample's counter stands before the first epoch.
const CREATED: u64 = 40;

/// What both say of a log.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Refused,
    Passed {
        /// Leases that may be missing, at each end where any may be.
        unseen: Vec<u64>,
        /// Steps that governance signed for.
        signed_for: u64,
    },
}

impl Said {
    fn forget_leases(&mut self) {
        if let Self::Passed { unseen, .. } = self {
            unseen.clear();
        }
    }
}

#[test]
fn the_models_verifier_and_the_products_agree_on_logs_of_every_small_shape() {
    let careless = Rules {
        foreign_steps_end_the_renewals: false,
        unexplained_steps_hold_the_gateway: false,
        ..Rules::ALL
    };
    for rules in [Rules::ALL, careless] {
        for log in logs(&rules) {
            let (mut model, mut product) = (of_model(verify(&log, &rules).ok()), of_product(&log));
            if !log.iter().any(|e| matches!(e.body, Body::Renewal(_))) {
                // Without a renewal no lease is known, so leases cannot be told from times.
                [&mut model, &mut product]
                    .into_iter()
                    .for_each(Said::forget_leases);
            }
            assert_eq!(product, model, "{log:#?}");
        }
    }
}

/// What is in a log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
struct Shape {
    bases: usize,
    renewals: usize,
    abandoned: usize,
    gap: bool,
    failed: bool,
    closed: bool,
    passes: bool,
}

impl Shape {
    fn of(log: &[Entry], rules: &Rules) -> Self {
        let mut shape = Self {
            passes: verify(log, rules).is_ok(),
            ..Self::default()
        };
        for entry in log {
            match &entry.body {
                Body::Base { abandoned, .. } => {
                    shape.bases += 1;
                    shape.abandoned += abandoned.len();
                }
                Body::Gap { .. } => shape.gap = true,
                Body::Renewal(_) => shape.renewals += 1,
                Body::Failed(_) => shape.failed = true,
                Body::Close(_) => shape.closed = true,
                Body::Call { .. } => {}
            }
        }
        shape
    }
}

/// The first logs of each shape, each once.
fn logs(rules: &Rules) -> Vec<Vec<Entry>> {
    let mut seen = HashSet::new();
    let mut shapes: HashMap<Shape, usize> = HashMap::new();
    let mut out = Vec::new();
    search::walk(BOUNDS, rules, |world| {
        for export in world.exports() {
            let entries = world.entries(export);
            if !seen.insert(Head::of(entries)) {
                continue;
            }
            let kept = shapes.entry(Shape::of(entries, rules)).or_default();
            if *kept < OF_A_SHAPE {
                *kept += 1;
                out.push(entries.to_vec());
            }
        }
        None
    });
    for feature in [
        |s: &Shape| s.gap,
        |s: &Shape| s.failed,
        |s: &Shape| s.closed && s.bases > 1,
        |s: &Shape| s.abandoned > 1,
        |s: &Shape| s.abandoned == 1 && s.closed,
        |s: &Shape| !s.passes && s.renewals > 0,
    ] {
        assert!(shapes.keys().any(feature), "a shape is missing: {shapes:?}");
    }
    println!("{} logs of {} shapes", out.len(), shapes.len());
    out
}

fn of_model(claim: Option<Claim>) -> Said {
    let Some(claim) = claim else {
        return Said::Refused;
    };
    let ends = claim.ends.iter();
    Said::Passed {
        unseen: ends
            .clone()
            .map(|e| u64::from(e.leases - e.signed_for))
            .filter(|n| *n > 0)
            .collect(),
        signed_for: ends.map(|e| u64::from(e.signed_for)).sum(),
    }
}

/// The same log with signatures and evidence, and what the product's verifier says of it.
fn of_product(log: &[Entry]) -> Said {
    let mut mini = Mini::new(Profile::Tpm);
    let mut epochs = Vec::new();
    for entry in log {
        match &entry.body {
            Body::Base {
                step,
                explained,
                abandoned,
            } => {
                let known = |key| match epochs.iter().position(|k| *k == key) {
                    Some(number) => common::epoch_key(number as u64 + 1).public().id(),
                    None => KeyId([key; 32]),
                };
                let abandoned = abandoned.iter().map(|(counter, key)| AbandonedOpening {
                    counter: CREATED + u64::from(*counter),
                    epoch_key: known(*key),
                });
                let abandoned = abandoned.collect();
                mini.device.counter = CREATED + u64::from(step.claimed) - 1;
                let binding = mini.binding();
                mini.device.counter = CREATED + u64::from(step.certified);
                mini.open_after(binding, CREATED + u64::from(*explained), abandoned);
                epochs.push(entry.key);
            }
            Body::Gap { explained, found } => {
                mini.gap(CREATED + u64::from(*explained), CREATED + u64::from(*found));
            }
            Body::Renewal(step) => {
                mini.device.counter = CREATED + u64::from(step.claimed) - 1;
                let statement = mini.renewal_statement();
                mini.device.counter = CREATED + u64::from(step.certified);
                mini.renew_with(&statement);
            }
            Body::Close(step) => {
                mini.device.counter = CREATED + u64::from(step.claimed) - 1;
                let statement = mini.close_statement();
                mini.device.counter = CREATED + u64::from(step.certified);
                mini.close_with(&statement);
            }
            Body::Failed(count) => {
                let event = Event {
                    kind: EventKind::RenewalFailed,
                    count: u64::from(*count),
                    detail: None,
                };
                mini.push(RealBody::Event(event), None, vec![]);
            }
            Body::Call { id, .. } => {
                let call = Call {
                    id: CallId([*id; 16]),
                    ..call(1, Mode::Network)
                };
                mini.decide(&call, Verdict::Deny, None);
            }
        }
    }
    let text = trust_text("hardware-tpm").replace(
        "[governance]",
        "[log]\nmax_gap = 0\nmax_unquoted_tail_seconds = 0\n[governance]",
    );
    let trust = Trust::parse(text.as_bytes()).unwrap();
    let report = check_with(&mini.export(), &trust, Options::default());
    let about_the_log = [
        Code::BaseReference,
        Code::Epochs,
        Code::Counter,
        Code::Renewals,
    ];
    if about_the_log
        .iter()
        .any(|c| report.state(*c) == State::Fail)
    {
        return Said::Refused;
    }
    let findings = |code: Code| {
        let check = report.checks.iter().find(|c| c.code == code.info().name);
        check.unwrap().findings.iter().map(|f| f.text.clone())
    };
    let minutes = |text: &str| {
        text.split("up to ")
            .last()
            .unwrap()
            .split(' ')
            .next()
            .unwrap()
            .parse()
    };
    Said::Passed {
        unseen: findings(Code::EpochEnds)
            .map(|text| minutes(&text).map(|m: u64| m * 60_000 / LEASE).unwrap())
            .collect(),
        signed_for: findings(Code::Gaps)
            .map(|text| text.split(' ').next().unwrap().parse::<u64>().unwrap())
            .sum(),
    }
}
