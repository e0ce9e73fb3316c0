//! What must be true in every state.

use crate::Rules;
use crate::verifier::{Claim, End, verify};
use crate::world::{Body, Counter, Entry, Prefix, World};
use std::collections::BTreeSet;

/// Most leases that can be lost at one end of an epoch without a word of governance's, where one gateway runs at a time.
///
/// One is the lease that was running; one more is a renewal that was announced, made, and undone with its entry.
pub const SILENT_LEASES: usize = 2;

/// What is not true.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Broken {
    /// An export passes, and lacks a call that was acknowledged under a lease that the verifier calls complete.
    CallMissing {
        /// The export.
        export: Prefix,
        /// The call's lease.
        lease: Counter,
    },
    /// An export passes, and more leases are missing at an end than the verifier says.
    LeasesMissing {
        /// The export.
        export: Prefix,
        /// The end.
        end: End,
    },
    /// An export passes without a word of governance's, and lacks more than [`SILENT_LEASES`] at an end, although
    /// one gateway ran at a time.
    SilentlyLong {
        /// The export.
        export: Prefix,
        /// The end.
        end: End,
    },
    /// A witness cosigned two histories.
    TwoHistories,
    /// An export passes that is shorter than what a witness cosigned, or another history.
    UnlikeTheWitness {
        /// The export.
        export: Prefix,
    },
    /// Nobody meddled, and a gateway was held.
    HeldForNothing,
    /// Nobody meddled, and an export is refused.
    RefusedForNothing {
        /// The export.
        export: Prefix,
    },
}

/// The first thing that is not true.
#[must_use]
pub fn broken(world: &World, rules: &Rules) -> Option<Broken> {
    if world.held && !world.meddled {
        return Some(Broken::HeldForNothing);
    }
    let histories = &world.witness.cosigned;
    let apart = |a: &[Entry], b: &[Entry]| !a.starts_with(b) && !b.starts_with(a);
    let two = histories.iter().enumerate().any(|(n, a)| {
        histories[..n]
            .iter()
            .any(|b| apart(world.entries(*a), world.entries(*b)))
    });
    if two {
        return Some(Broken::TwoHistories);
    }
    world
        .exports()
        .find_map(|export| of_export(world, rules, export))
}

/// Whether an export passes: the verifier's own rules, and the witness's word where it is asked.
fn accepted(world: &World, rules: &Rules, export: Prefix) -> Option<Claim> {
    let entries = world.entries(export);
    let claim = verify(entries, rules).ok()?;
    let witnessed = !rules.the_auditor_asks_the_witness
        || world
            .witness
            .cosigned
            .iter()
            .all(|cosigned| entries.starts_with(world.entries(*cosigned)));
    witnessed.then_some(claim)
}

fn of_export(world: &World, rules: &Rules, export: Prefix) -> Option<Broken> {
    let entries = world.entries(export);
    let Some(claim) = accepted(world, rules, export) else {
        // Before its gap an opening is not yet explained; that is no reproach.
        let honest = !world.meddled && world.witness.cosigned.is_empty();
        return honest.then_some(Broken::RefusedForNothing { export });
    };
    let unlike = |c: &&Prefix| !entries.starts_with(world.entries(**c));
    if world.witness.cosigned.iter().any(|c| unlike(&c)) {
        return Some(Broken::UnlikeTheWitness { export });
    }
    let missing = missing_leases(world, entries, claim.upto);
    for end in &claim.ends {
        let here = missing
            .iter()
            .filter(|l| (end.from..end.until).contains(*l))
            .count();
        if here > usize::from(end.leases) {
            return Some(Broken::LeasesMissing { export, end: *end });
        }
        let alone = world.disks[1].is_none();
        if alone && end.signed_for == 0 && here > SILENT_LEASES {
            return Some(Broken::SilentlyLong { export, end: *end });
        }
    }
    let covered = |lease: &Counter| claim.ends.iter().any(|e| (e.from..e.until).contains(lease));
    missing
        .into_iter()
        .find(|lease| !covered(lease))
        .map(|lease| Broken::CallMissing { export, lease })
}

/// Leases before `upto` under which calls were acknowledged that are not among `entries`.
fn missing_leases(world: &World, entries: &[Entry], upto: Counter) -> BTreeSet<Counter> {
    let there: BTreeSet<u8> = entries.iter().filter_map(call).map(|(id, _)| id).collect();
    let acknowledged = world
        .logs
        .iter()
        .flat_map(|log| log.iter().filter_map(call));
    acknowledged
        .filter(|(id, lease)| *lease < upto && !there.contains(id))
        .map(|(_, lease)| lease)
        .collect()
}

fn call(entry: &Entry) -> Option<(u8, Counter)> {
    match entry.body {
        Body::Call { id, lease } => Some((id, lease)),
        Body::Base { .. }
        | Body::Gap { .. }
        | Body::Renewal(_)
        | Body::Failed(_)
        | Body::Close(_) => None,
    }
}
