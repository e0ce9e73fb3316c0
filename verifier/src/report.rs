//! The report: everything that was found, as data. Text and JSON are functions of it.
//!
//! In: a ledger and what the checks derived. Out: [`Report`], with frozen field names
//! (`"report": 1`), and the verdict that follows from the states.

use crate::codes::{Code, Need, Section, Severity};
use crate::fleet::Seen;
use crate::handover::Links;
use crate::ledger::{Finding, Ledger, State};
use crate::selftest::Score;
use crate::stream::Depth;
use serde::{Deserialize, Serialize};

/// Version of the report's field names.
pub const REPORT_VERSION: u64 = 1;

/// What follows from all states.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    /// Every check that a verdict needs ran, and nothing failed.
    Verified,
    /// Altered, or not of a gateway of yours.
    Untrusted,
    /// Genuine, but against a rule of yours.
    AgainstPolicy,
    /// There is no verdict.
    CannotBeEvaluated,
}

impl Verdict {
    /// The exit code of the command.
    #[must_use]
    pub fn exit_code(self) -> u8 {
        match self {
            Self::Verified => 0,
            Self::Untrusted => 1,
            Self::AgainstPolicy => 2,
            Self::CannotBeEvaluated => 3,
        }
    }

    /// The words of the first line.
    #[must_use]
    pub fn words(self) -> &'static str {
        match self {
            Self::Verified => "VERIFIED",
            Self::Untrusted => "ALTERED OR UNTRUSTED",
            Self::AgainstPolicy => "GENUINE, BUT AGAINST YOUR POLICY",
            Self::CannotBeEvaluated => "CANNOT BE EVALUATED",
        }
    }

    /// The verdict that follows from a ledger.
    ///
    /// A failure of trust outweighs all. What could not be told comes before rules of yours,
    /// because "genuine" was not shown; rules that are broken come before checks that you gave no values for.
    #[must_use]
    pub fn of(ledger: &Ledger) -> Self {
        let has = |wanted: &dyn Fn(Code) -> bool| Code::ALL.iter().copied().any(wanted);
        let failed = |severity| {
            has(&|c: Code| ledger.state(c) == State::Fail && c.info().severity == severity)
        };
        if failed(Severity::Untrusted) {
            Self::Untrusted
        } else if has(&|c| {
            ledger.state(c) == State::CannotTell
                || (ledger.lacks(c) && c.info().severity == Severity::Untrusted)
        }) {
            Self::CannotBeEvaluated
        } else if failed(Severity::Policy) {
            Self::AgainstPolicy
        } else if has(&|c| ledger.lacks(c)) {
            Self::CannotBeEvaluated
        } else {
            Self::Verified
        }
    }
}

/// A file that the verification was done with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Source {
    /// Its path, as given.
    pub path: String,
    /// SHA-256 of its bytes, hexadecimal; absent where it was not a file of its own.
    pub sha256: Option<String>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckResult {
    /// Its stable code.
    pub code: &'static str,
    /// Where it is printed.
    pub section: Section,
    /// What became of it.
    pub state: State,
    /// What a failure means.
    pub severity: Severity,
    /// Whether a verdict needs it.
    pub need: Need,
    /// In words.
    pub reason: String,
    /// What to do; absent if it passed.
    pub todo: Option<&'static str>,
    /// How many observations held.
    pub held: u64,
    /// How many did not.
    pub failed: u64,
    /// How many had no result.
    pub unknown: u64,
    /// How many were not made.
    pub skipped: u64,
    /// The first of those that did not hold.
    pub findings: Vec<Finding>,
}

/// What calls came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Settled calls.
    pub calls: u64,
    /// An answer came back.
    pub carried_out: u64,
    /// Of those, how many a person had approved.
    pub carried_out_approved: u64,
    /// Refused.
    pub denied: u64,
    /// Halted for approval.
    pub halted: u64,
    /// Halted calls that were approved and taken up again.
    pub halted_approved: u64,
    /// Put off.
    pub deferred: u64,
    /// Allowed, and nothing left the gateway.
    pub without_effect: u64,
    /// It is not known whether they were carried out.
    pub unknown: u64,
    /// Still under way at the end of the export.
    pub open: u64,
    /// Entries.
    pub entries: u64,
    /// Leaves of which only the hash is in the export.
    pub withheld: u64,
    /// Epochs.
    pub epochs: u64,
    /// Runs.
    pub runs: u64,
    /// Known gaps.
    pub gaps: u64,
    /// Values that the export opens.
    pub values_opened: u64,
    /// Values that its profile does not promise, and that it does not open.
    pub values_withheld: u64,
    /// Promised values that an erasure destroyed.
    pub values_erased: u64,
    /// Promised values that are not there, and that nothing erased.
    pub values_missing: u64,
}

/// The words an auditor learns once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Axes {
    /// `SIGNED` or `QUOTED by <class>`.
    pub vouched: String,
    /// `WITNESSED k of n`.
    pub witnessed: String,
}

/// Which log the export is of.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// Name of the gateway, hexadecimal.
    pub gateway: Option<String>,
    /// Its name for people, from the signed fleet statement.
    pub name: Option<String>,
    /// The fleet and the number of the statement.
    pub fleet: Option<String>,
    /// Claimed time of the first entry, in milliseconds since 1970.
    pub first_at: Option<u64>,
    /// Claimed time of the last entry, in milliseconds since 1970.
    pub last_at: Option<u64>,
    /// Leaves of the log in this export.
    pub size: u64,
    /// Root over them, hexadecimal: what to compare with other copies.
    pub root: String,
    /// Which entries are there.
    pub scope: Option<String>,
    /// Which disclosures are there.
    pub profile: Option<String>,
    /// The program of each epoch, as it calls itself.
    pub software: Vec<String>,
    /// Digests of release keys seen, hexadecimal: SHA-256 of `TPMT_PUBLIC`.
    pub release_keys: Vec<String>,
    /// Names of attestation keys seen, hexadecimal.
    pub attestation_keys: Vec<String>,
    /// Parties on whom processors' evidence rests; see evidence.md.
    pub rests_on: Vec<String>,
    /// Extensions that change no verdict.
    pub extensions: Vec<String>,
    /// Gaps, with the reason that governance signed.
    pub gaps: Vec<String>,
    /// Where this log continues another one, or is continued, with the reason that governance signed.
    pub handovers: Vec<String>,
    /// For each outside clock, how much of the log it saw, and when.
    pub seen_by: Vec<SeenBy>,
}

/// An outside clock's word: so many entries existed before a time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SeenBy {
    /// The first so many entries of the log.
    pub entries: u64,
    /// Before when, in milliseconds since 1970, by that clock.
    pub before: u64,
    /// Authority or organisation, as the trust file names it.
    pub by: String,
}

/// The result of a verification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Report {
    /// [`REPORT_VERSION`].
    pub report: u64,
    /// Version of this program.
    pub verifier: &'static str,
    /// How much was looked at.
    pub depth: Depth,
    /// What follows.
    pub verdict: Verdict,
    /// Exit code of the command.
    pub exit_code: u8,
    /// The verdict in a sentence.
    pub headline: String,
    /// The check that catches the first failure most directly.
    pub first_failure: Option<&'static str>,
    /// The time that was taken as now, in milliseconds since 1970.
    pub now: u64,
    /// The trust file.
    pub trust: Source,
    /// The file of reference values.
    pub reference: Option<Source>,
    /// Which log.
    pub subject: Subject,
    /// Who vouches.
    pub axes: Axes,
    /// Counts.
    pub counts: Counts,
    /// Counts in a sentence.
    pub summary: String,
    /// What the export shows to be complete, in a sentence.
    pub complete: String,
    /// The answer to a question, where one was asked.
    pub query: Option<Asked>,
    /// Every check, in order.
    pub checks: Vec<CheckResult>,
    /// Whom this result relies on.
    pub parties: Vec<String>,
    /// What was not checked.
    pub not_checked: Vec<String>,
    /// What this cannot prove.
    pub not_proved: Vec<String>,
    /// What this program was tried on before, if somebody asked for that.
    pub self_test: Option<Score>,
    /// What other exports are compared with; part of no output.
    #[serde(skip)]
    pub seen: Seen,
    /// What it knows for others of the same run.
    #[serde(skip)]
    pub links: Links,
    /// What the states follow from.
    #[serde(skip)]
    pub(crate) ledger: Ledger,
    /// The end of the headline: what vouches.
    #[serde(skip)]
    pub(crate) vouched: String,
}

/// The answer to a question about calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Asked {
    /// The question.
    pub query: String,
    /// Records that were asked.
    pub records: u64,
    /// How many of them have what was asked for.
    pub matches: u64,
    /// How many do not say.
    pub withheld: u64,
    /// Whether the number is that of all records.
    pub provable: bool,
    /// In a sentence.
    pub answer: String,
}

impl Report {
    /// The state of a check.
    #[must_use]
    pub fn state(&self, code: Code) -> State {
        self.checks
            .iter()
            .find(|c| c.code == code.info().name)
            .map_or(State::NotChecked, |c| c.state)
    }

    /// As JSON, with a final newline; characters that could mislead a terminal are escaped.
    ///
    /// # Errors
    /// Only if memory cannot hold it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = crate::text::neutralize_json(&serde_json::to_string_pretty(self)?);
        text.push('\n');
        Ok(text)
    }
}

impl Report {
    /// Takes in what only several exports together show, and concludes anew.
    pub(crate) fn amend(&mut self, observe: impl FnOnce(&mut Ledger)) {
        observe(&mut self.ledger);
        let verdict = Verdict::of(&self.ledger);
        self.verdict = verdict;
        self.exit_code = verdict.exit_code();
        self.first_failure = first_failure(&self.ledger).map(|c| c.info().name);
        let words = first_words(&self.ledger, self.depth);
        self.headline = format!("{words}{}", self.vouched);
        self.checks = results(&self.ledger);
        let made = |line: &String| {
            let code = line
                .split_once(':')
                .and_then(|(name, _)| Code::from_name(name));
            code.is_none_or(|c| self.ledger.tally(c).skipped > 0 || self.ledger.lacks(c))
        };
        self.not_checked.retain(made);
    }
}

/// The verdict, and the check that it follows from; before all else, if only the tree was looked at.
#[must_use]
pub(crate) fn first_words(ledger: &Ledger, depth: Depth) -> String {
    let verdict = Verdict::of(ledger);
    let mut line = match depth {
        Depth::Full => verdict.words().to_owned(),
        Depth::TreeOnly => format!("TREE ONLY: {}", verdict.words()),
    };
    if let (false, Some(code)) = (verdict == Verdict::Verified, first_failure(ledger)) {
        line.push_str(&format!(" ({})", code.info().name));
    }
    if verdict == Verdict::CannotBeEvaluated {
        let missing = Code::ALL
            .iter()
            .find(|c| ledger.state(**c) == State::CannotTell || ledger.lacks(**c))
            .map(|c| c.info().name);
        line.push_str(&missing.map(|m| format!(" ({m})")).unwrap_or_default());
    }
    line
}

/// Results of all checks, in order.
#[must_use]
pub fn results(ledger: &Ledger) -> Vec<CheckResult> {
    let mut out: Vec<CheckResult> = Code::ALL.iter().map(|code| result(*code, ledger)).collect();
    out.sort_by_key(|c| c.section);
    out
}

pub(crate) fn result(code: Code, ledger: &Ledger) -> CheckResult {
    let info = code.info();
    let tally = ledger.tally(code);
    let state = tally.state();
    let first = tally
        .findings
        .iter()
        .filter(|f| f.state == state)
        .find(|f| !f.text.is_empty());
    let at = |f: &Finding| match f.entry {
        Some(index) => format!("entry {index}: {}", f.text),
        None => f.text.clone(),
    };
    let of = tally
        .held
        .saturating_add(tally.failed)
        .saturating_add(tally.unknown);
    let mut reason = match (state, first) {
        (State::Pass, _) => format!("{} ({} of {of})", info.means, tally.held),
        (State::NotChecked, None) => {
            format!("nothing called for it; it would show that {}", info.means)
        }
        (_, Some(finding)) => at(finding),
        (_, None) => info.means.to_owned(),
    };
    let more = match state {
        State::Fail => tally.failed,
        State::CannotTell => tally.unknown,
        State::Pass | State::NotChecked => 0,
    }
    .saturating_sub(1);
    if more > 0 {
        reason.push_str(&format!("; and {more} more of {of}"));
    }
    if let Some(note) = &tally.note {
        reason.push_str("; ");
        reason.push_str(note);
    }
    CheckResult {
        code: info.name,
        section: info.section,
        state,
        severity: info.severity,
        need: info.need,
        reason,
        // Where nothing called for a check there is nothing to do.
        todo: (state != State::Pass
            && (state != State::NotChecked || first.is_some() || info.need == Need::Required))
            .then_some(info.todo),
        held: tally.held,
        failed: tally.failed,
        unknown: tally.unknown,
        skipped: tally.skipped,
        findings: tally.findings,
    }
}

/// The check that catches a failure most directly.
#[must_use]
pub fn first_failure(ledger: &Ledger) -> Option<Code> {
    let failed = |c: &&Code| ledger.state(**c) == State::Fail;
    Code::BLAME
        .iter()
        .find(failed)
        .or_else(|| Code::ALL.iter().find(failed))
        .copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ledger in which every check holds but these.
    fn all_but(codes: &[Code]) -> Ledger {
        let mut ledger = Ledger::new();
        let others = Code::ALL.iter().filter(|c| !codes.contains(c));
        others.for_each(|code| ledger.held(*code));
        ledger
    }

    #[test]
    fn what_is_not_shown_to_be_genuine_comes_before_a_broken_rule() {
        let (trust, rule, other) = (Code::Gateway, Code::Build, Code::Configuration);
        assert_eq!(Verdict::of(&all_but(&[])), Verdict::Verified);
        for code in [trust, rule] {
            assert_eq!(Verdict::of(&all_but(&[code])), Verdict::CannotBeEvaluated);
        }
        let broken = |codes: &[Code]| {
            let mut ledger = all_but(codes);
            ledger.fail(rule, None, "broken");
            ledger
        };
        assert_eq!(Verdict::of(&broken(&[])), Verdict::AgainstPolicy);
        assert_eq!(Verdict::of(&broken(&[trust])), Verdict::CannotBeEvaluated);
        // A rule for which no values were given takes nothing from one that is broken.
        assert_eq!(Verdict::of(&broken(&[other])), Verdict::AgainstPolicy);
        let mut unknown = broken(&[]);
        unknown.unknown(other, None, "not told");
        assert_eq!(Verdict::of(&unknown), Verdict::CannotBeEvaluated);
        let mut altered = broken(&[other]);
        altered.fail(trust, None, "altered");
        assert_eq!(Verdict::of(&altered), Verdict::Untrusted);
    }

    #[test]
    fn a_reason_says_how_many_more_there_are() {
        let mut ledger = Ledger::new();
        let reason = |ledger: &Ledger| result(Code::Leaves, ledger).reason;
        ledger.held(Code::Leaves);
        ledger.fail(Code::Leaves, Some(3), "changed");
        assert_eq!(reason(&ledger), "entry 3: changed");
        ledger.fail(Code::Leaves, Some(5), "changed");
        assert_eq!(reason(&ledger), "entry 3: changed; and 1 more of 3");
    }
}
