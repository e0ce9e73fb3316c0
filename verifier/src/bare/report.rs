//! What came of a bare piece of evidence, as data. Text and JSON are functions of it.

use crate::report::{Source, Verdict};
use crate::text::{neutralize, neutralize_json};
use countersign_evidence::appraisal::{Check, Outcome};
use serde::Serialize;
use std::fmt::{Display, Write as _};

/// Version of the field names.
pub const BARE_VERSION: u64 = 1;

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Bare {
    /// [`BARE_VERSION`].
    pub evidence: u64,
    /// Version of this program.
    pub verifier: &'static str,
    /// What follows.
    pub verdict: Verdict,
    /// The exit code of the command.
    pub exit_code: u8,
    /// The first line.
    pub headline: String,
    /// The time taken as now, in milliseconds since 1970.
    pub now: u64,
    /// The trust file, if there was one.
    pub trust: Option<Source>,
    /// What each file was taken for.
    pub files: Vec<Said>,
    /// Appraisals, in the order in which they build on each other.
    pub parts: Vec<Part>,
    /// On whom all of it rests, if it holds.
    pub parties: Vec<String>,
    /// What nobody looked at.
    pub not_checked: Vec<String>,
}

/// One appraisal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Part {
    /// Of what.
    pub title: &'static str,
    /// Every check, in order.
    pub checks: Vec<Line>,
    /// What the evidence says, whether or not it holds.
    pub says: Vec<Said>,
}

/// One check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Line {
    /// Its stable text.
    pub code: String,
    /// `pass`, `fail` or `not checked`.
    pub outcome: String,
    /// In words.
    pub reason: String,
    /// Whether it is a rule of the auditor's: a failure is then against policy, and not a forgery.
    pub rule: bool,
}

/// A name and a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Said {
    /// The name.
    pub name: String,
    /// The value.
    pub value: String,
}

impl Said {
    pub(super) fn new(name: impl Into<String>, value: impl Display) -> Self {
        Self {
            name: name.into(),
            value: value.to_string(),
        }
    }
}

impl Part {
    pub(super) fn of<C: Copy + Display>(
        title: &'static str,
        checks: &[Check<C>],
        is_rule: impl Fn(C) -> bool,
        says: Vec<Said>,
    ) -> Self {
        let line = |check: &Check<C>| Line {
            code: check.code.to_string(),
            outcome: check.outcome.to_string(),
            reason: check.reason.clone(),
            rule: is_rule(check.code),
        };
        Self {
            title,
            checks: checks.iter().map(line).collect(),
            says,
        }
    }

    fn failed(&self, rule: bool) -> bool {
        let failed = Outcome::Fail.to_string();
        self.checks
            .iter()
            .any(|line| line.outcome == failed && line.rule == rule)
    }
}

/// What follows from appraisals: `complete` if all that evidence needs was there and was looked at.
pub(super) fn verdict(parts: &[Part], complete: bool) -> Verdict {
    if parts.iter().any(|p| p.failed(false)) {
        Verdict::Untrusted
    } else if parts.iter().any(|p| p.failed(true)) {
        Verdict::AgainstPolicy
    } else if complete {
        Verdict::Verified
    } else {
        Verdict::CannotBeEvaluated
    }
}

impl Bare {
    /// As JSON.
    ///
    /// # Errors
    /// If it cannot be written as JSON; it always can.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        serde_json::to_string_pretty(self).map(|text| format!("{}\n", neutralize_json(&text)))
    }

    /// As text. What files say of themselves is neutralized.
    #[must_use]
    pub fn render(&self) -> String {
        let mut out = String::new();
        line(&mut out, &self.headline);
        for file in &self.files {
            line(&mut out, &format!("  {}: {}", file.name, file.value));
        }
        for part in &self.parts {
            out.push('\n');
            line(&mut out, part.title);
            for check in &part.checks {
                let Line {
                    code,
                    outcome,
                    reason,
                    rule: _,
                } = check;
                line(&mut out, &format!("  {outcome:<11} {code:<32} {reason}"));
            }
            if !part.says.is_empty() {
                line(&mut out, "  it says:");
            }
            for Said { name, value } in &part.says {
                line(&mut out, &format!("    {name:<22} {value}"));
            }
        }
        list(&mut out, "It rests on", &self.parties);
        list(&mut out, "Not checked", &self.not_checked);
        out
    }
}

fn list(out: &mut String, title: &str, items: &[String]) {
    if items.is_empty() {
        return;
    }
    out.push('\n');
    line(out, title);
    for item in items {
        line(out, &format!("  {item}"));
    }
}

/// One line, whatever a file has in its names.
fn line(out: &mut String, text: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "{}", neutralize(text));
}
