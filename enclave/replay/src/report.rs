//! What came out, as data. Text and JSON are functions of it.
//!
//! In: what each call came to. Out: [`Replay`], with frozen field names (`"replay": 1`), its
//! status and exit code. The same export gives the same bytes.

use crate::compare::{Difference, Stage};
use crate::whatif::{Against, Weighed};
use countersign_verify::text::{neutralize, neutralize_json};
use serde::Serialize;
use std::fmt::Write as _;

/// Version of the field names.
pub const REPLAY_VERSION: u64 = 1;

/// Calls that the text names one by one; JSON has all.
const SHOWN: usize = 50;

/// What is taken from the record, because nothing in an export could prove it anew.
pub const INPUTS: &[&str] = &[
    "times, as the gateway's clocks claimed them",
    "the identifiers of call, run and entry, and the salts of commitments",
    "that a token was shown; a caller's signature is verified again, its freshness is not",
    "the adapter whose door an MCP call came through, where the tool does not exist",
    "which descriptor the upstream listed",
    "what of the arguments repeated earlier results",
    "the pseudonym of a subject, which is made with a key of the gateway",
    "whether lease, clock and enrolment let the gateway take calls",
    "what calls held that were under way: places in a budget, a key, approvals",
    "whether the log took the intent",
    "what the upstream answered, and when the call left",
];

/// What became of a replay, or of a call in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Every byte that the inputs determine came out as recorded.
    Match,
    /// Something that is needed is not in the export.
    NotReplayable,
    /// Something came out differently.
    Diverged,
    /// The export was altered, or is of no gateway of the auditor's; nothing was computed.
    TamperDetected,
}

impl Status {
    /// The exit code of the command.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Match => 0,
            Self::TamperDetected => 1,
            Self::Diverged => 2,
            Self::NotReplayable => 3,
        }
    }

    /// The word.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Match => "match",
            Self::TamperDetected => "tamper_detected",
            Self::Diverged => "diverged",
            Self::NotReplayable => "not_replayable",
        }
    }
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CallReplay {
    /// The call.
    pub call: String,
    /// Leaf index of its Decision Record.
    pub entry: u64,
    /// The capability.
    pub capability: Option<String>,
    /// The recorded verdict.
    pub verdict: &'static str,
    /// What became of it.
    pub status: Status,
    /// Stages that were run again.
    pub recomputed: Vec<Stage>,
    /// Where it first came out differently.
    pub difference: Option<Difference>,
    /// Why it cannot be replayed.
    pub reason: Option<String>,
}

/// The export.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Name of the gateway, hexadecimal.
    pub gateway: Option<String>,
    /// Entries.
    pub entries: u64,
    /// Root of the log, hexadecimal.
    pub root: String,
}

/// What the verifier said of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verification {
    /// Its verdict in a sentence.
    pub headline: String,
    /// The check that catches the first failure most directly.
    pub first_failure: Option<&'static str>,
    /// Its exit code.
    pub exit_code: u8,
}

/// Counts of calls.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Settled calls that were looked at.
    pub calls: u64,
    /// Came out as recorded.
    pub matched: u64,
    /// Came out differently.
    pub diverged: u64,
    /// Could not be replayed.
    pub not_replayable: u64,
    /// Still under way at the end of the export; not looked at.
    pub open: u64,
}

/// The result of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Replay {
    /// [`REPLAY_VERSION`].
    pub replay: u64,
    /// Version of this program.
    pub program: &'static str,
    /// What follows.
    pub status: Status,
    /// Exit code of the command.
    pub exit_code: u8,
    /// Why, in a sentence.
    pub headline: String,
    /// Which log.
    pub subject: Subject,
    /// What the verifier says of the export.
    pub verification: Verification,
    /// Counts.
    pub counts: Counts,
    /// What was taken from the record.
    pub inputs: &'static [&'static str],
    /// Every call, in order of its Decision Record.
    pub calls: Vec<CallReplay>,
    /// What another bundle says.
    pub against: Option<Against>,
}

impl Replay {
    /// An export on which nothing was computed.
    #[must_use]
    pub fn tampered(verification: Verification, why: String) -> Self {
        Self::new(Status::TamperDetected, why, verification)
    }

    fn new(status: Status, headline: String, verification: Verification) -> Self {
        Self {
            replay: REPLAY_VERSION,
            program: env!("CARGO_PKG_VERSION"),
            status,
            exit_code: status.exit_code(),
            headline,
            subject: Subject::default(),
            verification,
            counts: Counts::default(),
            inputs: INPUTS,
            calls: Vec::new(),
            against: None,
        }
    }

    /// What follows from all calls.
    #[must_use]
    pub fn of_calls(
        subject: Subject,
        verification: Verification,
        open: u64,
        mut calls: Vec<CallReplay>,
        against: Option<Against>,
    ) -> Self {
        calls.sort_by_key(|c| c.entry);
        let count = |status: Status| {
            let found = calls.iter().filter(|c| c.status == status).count();
            u64::try_from(found).unwrap_or(u64::MAX)
        };
        let counts = Counts {
            calls: u64::try_from(calls.len()).unwrap_or(u64::MAX),
            matched: count(Status::Match),
            diverged: count(Status::Diverged),
            not_replayable: count(Status::NotReplayable),
            open,
        };
        // No call at all is no match.
        let status = calls
            .iter()
            .map(|c| c.status)
            .max()
            .unwrap_or(Status::NotReplayable);
        let headline = match status {
            Status::Match => format!("all {} settled calls came out as recorded", counts.calls),
            Status::Diverged => format!(
                "{} of {} settled calls came out differently",
                counts.diverged, counts.calls
            ),
            Status::NotReplayable | Status::TamperDetected if counts.calls == 0 => {
                "there is no settled call to replay".to_owned()
            }
            Status::NotReplayable | Status::TamperDetected => format!(
                "{} of {} settled calls cannot be replayed",
                counts.not_replayable, counts.calls
            ),
        };
        Self {
            subject,
            counts,
            calls,
            against,
            ..Self::new(status, headline, verification)
        }
    }

    /// As JSON, with a final newline; characters that could mislead a terminal are escaped.
    ///
    /// # Errors
    /// Only if memory cannot hold it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = neutralize_json(&serde_json::to_string_pretty(self)?);
        text.push('\n');
        Ok(text)
    }

    /// For people.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut lines = vec![format!("{}: {}", self.status.name(), self.headline)];
        lines.push(format!("verifier  {}", self.verification.headline));
        if self.status == Status::TamperDetected {
            lines.push("nothing was computed on it".to_owned());
            return text(&lines);
        }
        lines.push(format!(
            "export    gateway {}, {} entries, root {}",
            self.subject.gateway.as_deref().unwrap_or("unknown"),
            self.subject.entries,
            self.subject.root
        ));
        lines.push(format!(
            "calls     {} match, {} diverged, {} not replayable, {} still under way",
            self.counts.matched, self.counts.diverged, self.counts.not_replayable, self.counts.open
        ));
        let wrong: Vec<_> = self
            .calls
            .iter()
            .filter(|c| c.status != Status::Match)
            .collect();
        lines.extend(wrong.iter().take(SHOWN).map(|c| call_line(c)));
        more(&mut lines, wrong.len());
        if let Some(against) = &self.against {
            against_lines(against, &mut lines);
        }
        lines.push("run again: request, identity, surface, budget, policy, approval, seal, release, decision, as far as each call went".to_owned());
        lines.push("taken from the record:".to_owned());
        lines.extend(self.inputs.iter().map(|input| format!("  - {input}")));
        text(&lines)
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().fold(String::new(), |mut out, line| {
        // Writing into a string cannot fail.
        let _infallible = writeln!(out, "{}", neutralize(line));
        out
    })
}

fn more(lines: &mut Vec<String>, count: usize) {
    if let Some(left) = count.checked_sub(SHOWN).filter(|left| *left > 0) {
        lines.push(format!("… and {left} more; --json has all"));
    }
}

fn call_line(call: &CallReplay) -> String {
    let what = call.capability.as_deref().unwrap_or("no capability");
    let why = match (&call.difference, &call.reason) {
        (Some(d), _) => format!(
            "at {}: {} is {}, and comes out as {}",
            d.stage.name(),
            d.field,
            d.recorded,
            d.recomputed
        ),
        (None, Some(reason)) => reason.clone(),
        (None, None) => String::new(),
    };
    format!(
        "{:<9} entry {} call {} {what}: {why}",
        call.status.name(),
        call.entry,
        call.call
    )
}

fn against_lines(against: &Against, lines: &mut Vec<String>) {
    lines.push(format!(
        "against   bundle {} of {} ({}), version {}; {} signatures, {} of them by signers that you trust",
        against.bundle,
        against.name,
        against.environment,
        against.version,
        against.signatures,
        against.signed_by.len()
    ));
    lines.push(format!(
        "          {} same, {} changed, {} not compared",
        against.same,
        against.changed,
        against
            .not_compared
            .values()
            .fold(0u64, |n, m| n.saturating_add(*m))
    ));
    for (way, count) in &against.ways {
        lines.push(format!("{count:>9} {way}"));
    }
    for (reason, count) in &against.not_compared {
        lines.push(format!("{count:>9} not compared: {reason}"));
    }
    for change in against.changes.iter().take(SHOWN) {
        lines.push(format!(
            "changed   entry {} call {} {}: {} → {}",
            change.entry,
            change.call,
            change.capability.as_deref().unwrap_or("no capability"),
            weighed(&change.before),
            weighed(&change.after)
        ));
    }
    more(lines, against.changes.len());
}

fn weighed(weighed: &Weighed) -> String {
    let mut out = weighed.word();
    for (what, names) in [("by", &weighed.policies), ("with", &weighed.obligations)] {
        if !names.is_empty() {
            // Writing into a string cannot fail.
            let _infallible = write!(out, " {what} {}", names.join(", "));
        }
    }
    out
}
