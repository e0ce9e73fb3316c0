//! What ran: a tally for each check, and the states that follow.
//!
//! In: single observations. Out: a state for each check. There is no other way to a `pass`
//! than at least one observation that held, and none that did not.

use crate::codes::{Code, Need};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Findings that are kept for one check. The rest is counted.
pub const MAX_FINDINGS: usize = 8;

/// The result of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum State {
    /// It ran, and all that it looked at held.
    Pass,
    /// It ran, and something did not hold.
    Fail,
    /// It did not run.
    NotChecked,
    /// It ran, and could not come to a result.
    CannotTell,
}

impl State {
    /// The word in reports.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Fail => "FAIL",
            Self::NotChecked => "not checked",
            Self::CannotTell => "cannot tell",
        }
    }
}

/// One observation that did not hold, or could not be made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What became of it.
    pub state: State,
    /// Leaf index that it is about, where it is about one.
    pub entry: Option<u64>,
    /// What was found, in words.
    pub text: String,
}

/// Observations of one check.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many held.
    pub held: u64,
    /// How many did not.
    pub failed: u64,
    /// How many had no result.
    pub unknown: u64,
    /// How many were not made.
    pub skipped: u64,
    /// The first of those that did not hold, had no result or were not made.
    pub findings: Vec<Finding>,
    /// Something to say beside the numbers.
    pub note: Option<String>,
}

impl Tally {
    /// The state that follows from the observations.
    #[must_use]
    pub fn state(&self) -> State {
        if self.failed > 0 {
            State::Fail
        } else if self.unknown > 0 {
            State::CannotTell
        } else if self.held > 0 {
            State::Pass
        } else {
            State::NotChecked
        }
    }

    fn keep(&mut self, finding: Finding) {
        // A failure is never crowded out by lesser findings.
        let same = self
            .findings
            .iter()
            .filter(|f| f.state == finding.state)
            .count();
        if same < MAX_FINDINGS {
            self.findings.push(finding);
        }
    }
}

/// All tallies.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ledger(BTreeMap<Code, Tally>);

impl Ledger {
    /// Nothing ran yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn at(&mut self, code: Code) -> &mut Tally {
        self.0.entry(code).or_default()
    }

    /// One observation held.
    pub fn held(&mut self, code: Code) {
        self.held_times(code, 1);
    }

    /// Several observations held.
    pub fn held_times(&mut self, code: Code, times: u64) {
        let tally = self.at(code);
        tally.held = tally.held.saturating_add(times);
    }

    /// One observation did not hold.
    pub fn fail(&mut self, code: Code, entry: Option<u64>, text: impl Into<String>) {
        let tally = self.at(code);
        tally.failed = tally.failed.saturating_add(1);
        tally.keep(Finding {
            state: State::Fail,
            entry,
            text: text.into(),
        });
    }

    /// One observation had no result.
    pub fn unknown(&mut self, code: Code, entry: Option<u64>, text: impl Into<String>) {
        let tally = self.at(code);
        tally.unknown = tally.unknown.saturating_add(1);
        tally.keep(Finding {
            state: State::CannotTell,
            entry,
            text: text.into(),
        });
    }

    /// One observation was not made.
    pub fn skipped(&mut self, code: Code, entry: Option<u64>, text: impl Into<String>) {
        let tally = self.at(code);
        tally.skipped = tally.skipped.saturating_add(1);
        tally.keep(Finding {
            state: State::NotChecked,
            entry,
            text: text.into(),
        });
    }

    /// What was not made for want of something is made after all.
    pub fn made(&mut self, code: Code, entry: Option<u64>) {
        let tally = self.at(code);
        let before = tally.findings.len();
        tally
            .findings
            .retain(|f| f.state != State::NotChecked || f.entry != entry);
        let gone = before.saturating_sub(tally.findings.len());
        let gone = u64::try_from(gone).unwrap_or(u64::MAX);
        tally.skipped = tally.skipped.saturating_sub(gone);
    }

    /// One observation, as a result.
    pub fn observe(&mut self, code: Code, entry: Option<u64>, result: Result<(), String>) {
        match result {
            Ok(()) => self.held(code),
            Err(text) => self.fail(code, entry, text),
        }
    }

    /// Something to say beside the numbers.
    pub fn note(&mut self, code: Code, text: impl Into<String>) {
        self.at(code).note = Some(text.into());
    }

    /// The observations of a check.
    #[must_use]
    pub fn tally(&self, code: Code) -> Tally {
        self.0.get(&code).cloned().unwrap_or_default()
    }

    /// The state of a check.
    #[must_use]
    pub fn state(&self, code: Code) -> State {
        self.0.get(&code).map_or(State::NotChecked, Tally::state)
    }

    /// Whether a check that a verdict needs was never made.
    #[must_use]
    pub fn lacks(&self, code: Code) -> bool {
        code.info().need == Need::Required && self.state(code) == State::NotChecked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_each_state_the_first_findings_are_kept_and_all_are_counted() {
        let mut ledger = Ledger::new();
        for entry in 0..20 {
            ledger.unknown(Code::Leaves, Some(entry), "unknown");
            ledger.skipped(Code::Leaves, Some(entry), "skipped");
            ledger.fail(Code::Leaves, Some(entry), "failed");
        }
        let tally = ledger.tally(Code::Leaves);
        assert_eq!((tally.failed, tally.unknown, tally.skipped), (20, 20, 20));
        for state in [State::Fail, State::CannotTell, State::NotChecked] {
            let kept = tally.findings.iter().filter(|f| f.state == state);
            let entries: Vec<Option<u64>> = kept.map(|f| f.entry).collect();
            assert_eq!(entries, (0..8).map(Some).collect::<Vec<_>>());
        }
    }

    #[test]
    fn what_is_made_after_all_was_not_left_out_of_that_entry() {
        let mut ledger = Ledger::new();
        for entry in 0..3 {
            ledger.skipped(Code::Leaves, Some(entry), "skipped");
        }
        ledger.fail(Code::Leaves, Some(1), "failed");
        ledger.made(Code::Leaves, Some(1));
        let tally = ledger.tally(Code::Leaves);
        assert_eq!((tally.failed, tally.skipped), (1, 2));
        let entries: Vec<Option<u64>> = tally.findings.iter().map(|f| f.entry).collect();
        assert_eq!(entries, [Some(0), Some(2), Some(1)]);
    }
}
