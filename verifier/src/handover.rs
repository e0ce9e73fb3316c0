//! Two logs, of which one continues the other: compared when both exports are at hand.
//!
//! In: reports of one run, each of an export that was checked by itself. Out: the same reports,
//! with the check `adoption` made in those of gateways that continue another's work.
//!
//! What a successor says of the log before it is governance's word. Whether that log is the one
//! whose export is here, whether it goes on after it was handed over, and whether two gateways
//! continue it, only both exports show.

use crate::codes::Code;
use crate::report::{Report, Verdict};
use crate::time;
use countersign_record::digest::{EntryDigest, GatewayId, NodeHash, UnixMillis};
use std::collections::BTreeMap;

/// A log that another one continues, as its successor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continues {
    /// Leaf index of the `adopt` entry.
    pub entry: u64,
    /// The gateway before.
    pub predecessor: GatewayId,
    /// How many entries of its log were handed over.
    pub size: u64,
    /// Root over them.
    pub root: NodeHash,
    /// The last of them.
    pub last: EntryDigest,
    /// When governance signed.
    pub issued: UnixMillis,
}

/// To whom a log was handed over, as the statement in its own export says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HandedOver {
    /// The gateway that continues.
    pub gateway: GatewayId,
    /// How many entries were handed over.
    pub size: u64,
    /// Root over them, which the entries lead to.
    pub root: NodeHash,
}

/// What a report knows for others: not printed, and compared here alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// The gateway.
    pub gateway: Option<GatewayId>,
    /// Logs that this one continues.
    pub continues: Vec<Continues>,
    /// By whom this one is continued, if its export says so and the log agrees.
    pub handed: Option<HandedOver>,
    /// Roots of the log at the sizes that were computed.
    pub roots: BTreeMap<u64, NodeHash>,
    /// Size of the log.
    pub size: u64,
    /// Claimed time of the last entry.
    pub last_at: Option<UnixMillis>,
}

/// What comparing one adoption came to.
enum Outcome {
    Holds,
    Fails(String),
    Unknown(String),
    /// Genuine entries that were not handed over.
    More(u64),
}

/// Compares every adoption whose predecessor's export is among the reports.
pub fn link(reports: &mut [Report]) {
    let known: Vec<(Links, bool)> = reports
        .iter()
        .map(|r| (r.links.clone(), r.verdict == Verdict::Untrusted))
        .collect();
    for report in reports {
        for one in report.links.continues.clone() {
            let own = report.links.gateway;
            let twice = known.iter().any(|(other, _)| {
                let mut continues = other.continues.iter();
                other.gateway != own && continues.any(|c| c.predecessor == one.predecessor)
            });
            if twice {
                let text = format!("another gateway continues gateway {}, too", one.predecessor);
                conclude(report, &one, Outcome::Fails(text));
            }
            for (before, untrusted) in &known {
                if before.gateway != Some(one.predecessor) {
                    continue;
                }
                let outcome = if *untrusted {
                    Outcome::Unknown(format!(
                        "the export of gateway {} is altered or untrusted",
                        one.predecessor
                    ))
                } else {
                    compare(&one, before, own)
                };
                conclude(report, &one, outcome);
            }
        }
    }
}

fn conclude(report: &mut Report, one: &Continues, outcome: Outcome) {
    let entry = Some(one.entry);
    report.amend(|ledger| {
        // What was not made for want of the other export is made now.
        ledger.made(Code::Adoption, entry);
        match outcome {
            Outcome::Holds => {
                ledger.held(Code::Adoption);
                ledger.held(Code::HandedOver);
                let text = format!(
                    "gateway {}'s log of {} entries is at hand, and is the one that was handed over; nothing after it is known",
                    one.predecessor, one.size
                );
                ledger.note(Code::Adoption, text);
            }
            Outcome::Fails(text) => ledger.fail(Code::Adoption, entry, text),
            Outcome::Unknown(text) => ledger.unknown(Code::Adoption, entry, text),
            Outcome::More(count) => {
                ledger.held(Code::Adoption);
                let text = format!(
                    "gateway {} recorded {count} entries after the {} that were handed over: they exist, and its successor did not know them",
                    one.predecessor, one.size
                );
                ledger.fail(Code::HandedOver, entry, text);
            }
        }
    });
}

fn compare(one: &Continues, before: &Links, successor: Option<GatewayId>) -> Outcome {
    if let Some(handed) = &before.handed
        && Some(handed.gateway) != successor
    {
        return Outcome::Fails(format!(
            "the export of gateway {} was handed over to another gateway",
            one.predecessor
        ));
    }
    if before.size < one.size {
        return Outcome::Unknown(format!(
            "the export of gateway {} ends after {} entries, {} were handed over",
            one.predecessor, before.size, one.size
        ));
    }
    match before.roots.get(&one.size) {
        None => {
            return Outcome::Unknown(format!(
                "the export of gateway {} shows no root at {} entries; ask its successor for that log",
                one.predecessor, one.size
            ));
        }
        Some(root) if *root != one.root => {
            return Outcome::Fails(format!(
                "the first {} entries of gateway {} lead to another root than the one that was handed over: two histories",
                one.size, one.predecessor
            ));
        }
        Some(_) => {}
    }
    let more = before.size.saturating_sub(one.size);
    if more == 0 {
        return Outcome::Holds;
    }
    match before.last_at {
        Some(last) if last.0 > one.issued.0.saturating_add(CLOCK_SKEW) => Outcome::Fails(format!(
            "gateway {} went on until {}, after it had been handed over on {}",
            one.predecessor,
            time::format(last),
            time::format(one.issued)
        )),
        Some(_) | None => Outcome::More(more),
    }
}

/// Tolerated difference between the clocks of gateway and governance, in milliseconds (5 minutes).
const CLOCK_SKEW: u64 = 300_000;
