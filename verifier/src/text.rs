//! A report as text for people, and how strings of strangers are made harmless.
//!
//! In: a [`Report`], nothing else. Out: text. The first line is the verdict. Text from an
//! export may hold terminal escapes, line breaks or characters that turn reading direction
//! around; [`neutralize`] writes those as visible escapes.

use crate::codes::{Need, Section};
use crate::fleet::FleetReport;
use crate::ledger::State;
use crate::report::{CheckResult, Report};
use crate::time;
use countersign_record::digest::UnixMillis;

pub use countersign_record::preview::is_hostile;

/// How much of a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Detail {
    /// Everything.
    Full,
    /// The verdict, the counts, and checks that stand in its way.
    Brief,
}

/// Text with hostile characters as `\u{…}`, and backslashes doubled so that nothing can look like an escape.
#[must_use]
pub fn neutralize(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            c if is_hostile(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}

/// JSON with hostile characters as `\uXXXX`, which mean the same.
#[must_use]
pub fn neutralize_json(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for c in json.chars() {
        // Line breaks and spaces between values are the printer's own; inside strings they are escaped already.
        if c != '\n' && is_hostile(c) {
            let mut units = [0; 2];
            c.encode_utf16(&mut units)
                .iter()
                .for_each(|u| out.push_str(&format!("\\u{u:04x}")));
        } else {
            out.push(c);
        }
    }
    out
}

/// The report for people.
#[must_use]
pub fn render(report: &Report, detail: Detail) -> String {
    let mut out = Lines::default();
    out.line(&report.headline);
    out.line(&report.summary);
    out.line(&report.complete);
    if let Some(asked) = &report.query {
        out.line(&asked.answer);
    }
    head(&mut out, report);
    for section in Section::ALL {
        let checks: Vec<&CheckResult> = report
            .checks
            .iter()
            .filter(|c| c.section == *section)
            .filter(|c| detail == Detail::Full || is_telling(c))
            .collect();
        if checks.is_empty() {
            continue;
        }
        out.line("");
        out.line(section.title());
        checks
            .into_iter()
            .for_each(|check| one(&mut out, check, detail));
    }
    if detail == Detail::Full {
        out.list("Whom this relies on", &report.parties);
        out.list("What was not checked", &report.not_checked);
        out.list(
            "Extensions that change no verdict",
            &report.subject.extensions,
        );
    }
    out.list("What this cannot prove", &report.not_proved);
    out.0
}

/// Several reports for people, after what is said of them together.
#[must_use]
pub fn render_fleet(fleet: &FleetReport, detail: Detail) -> String {
    let mut out = Lines::default();
    out.line(&fleet.headline);
    let from = fleet.fleet.source.iter();
    from.for_each(|source| out.line(&format!("fleet      statement from {source}")));
    fleet
        .fleet
        .checks
        .iter()
        .for_each(|check| one(&mut out, check, detail));
    out.list(
        "What this cannot prove of the fleet",
        &fleet.fleet.not_proved,
    );
    for (number, report) in fleet.reports.iter().enumerate() {
        out.line("");
        let number = number.saturating_add(1);
        out.line(&format!("== export {number} of {}", fleet.reports.len()));
        out.0.push_str(&render(report, detail));
    }
    out.0
}

/// Whether a check belongs in a brief report.
fn is_telling(check: &CheckResult) -> bool {
    match check.state {
        State::Pass => false,
        State::Fail | State::CannotTell => true,
        State::NotChecked => check.need == Need::Required,
    }
}

#[derive(Default)]
struct Lines(String);

impl Lines {
    fn line(&mut self, text: &str) {
        self.0.push_str(&neutralize(text));
        self.0.push('\n');
    }

    fn list(&mut self, title: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        self.line("");
        self.line(title);
        items
            .iter()
            .for_each(|item| self.line(&format!("  - {item}")));
    }
}

fn head(out: &mut Lines, report: &Report) {
    let subject = &report.subject;
    out.line(&format!(
        "{} · {}",
        report.axes.vouched, report.axes.witnessed
    ));
    out.line("");
    if let Some(gateway) = &subject.gateway {
        let name = subject
            .name
            .as_ref()
            .map(|n| format!(" \"{n}\""))
            .unwrap_or_default();
        let fleet = subject
            .fleet
            .as_ref()
            .map(|f| format!(", fleet {f}"))
            .unwrap_or_default();
        out.line(&format!("gateway    {gateway}{name}{fleet}"));
    }
    let times = subject.first_at.zip(subject.last_at).map(|(a, b)| {
        format!(
            ", {} to {} (claimed)",
            time::format(UnixMillis(a)),
            time::format(UnixMillis(b))
        )
    });
    let scope = subject
        .scope
        .as_ref()
        .map(|s| format!(", scope {s}"))
        .unwrap_or_default();
    let profile = subject
        .profile
        .as_ref()
        .map(|p| format!(", disclosures {p}"))
        .unwrap_or_default();
    out.line(&format!(
        "log        {} entries in {} epochs, {} runs{}{scope}{profile}",
        subject.size,
        report.counts.epochs,
        report.counts.runs,
        times.unwrap_or_default()
    ));
    let counts = &report.counts;
    out.line(&format!(
        "values     {} opened, {} withheld, {} erased, {} missing",
        counts.values_opened, counts.values_withheld, counts.values_erased, counts.values_missing
    ));
    out.line(&format!("root       {}", subject.root));
    let digest = |s: &crate::report::Source| {
        s.sha256
            .as_ref()
            .map(|d| format!(" (sha-256 {d})"))
            .unwrap_or_default()
    };
    out.line(&format!(
        "trust      {}{}",
        report.trust.path,
        digest(&report.trust)
    ));
    match &report.reference {
        Some(source) => out.line(&format!("reference  {}{}", source.path, digest(source))),
        None => out.line("reference  values of the trust file, if it has any"),
    }
    out.line(&format!(
        "as of      {}, countersign-verify {}",
        time::format(UnixMillis(report.now)),
        report.verifier
    ));
    if let Some(score) = &report.self_test {
        out.line(&format!(
            "self-test  {} of {} cases as expected, corpus {}",
            score.agreed, score.cases, score.corpus
        ));
    }
    for gap in &subject.gaps {
        out.line(&format!("GAP        {gap}"));
    }
    for handover in &subject.handovers {
        out.line(&format!("HAND-OVER  {handover}"));
    }
}

fn one(out: &mut Lines, check: &CheckResult, detail: Detail) {
    out.line(&format!(
        "  {:<12} {:<22} {}",
        check.state.word(),
        check.code,
        check.reason
    ));
    if check.state == State::Pass {
        return;
    }
    let shown = check
        .findings
        .iter()
        .filter(|f| f.state == check.state)
        .skip(1);
    if detail == Detail::Full && check.state != State::NotChecked {
        for finding in shown {
            let at = finding
                .entry
                .map(|e| format!("entry {e}: "))
                .unwrap_or_default();
            out.line(&format!("{:38}{at}{}", "", finding.text));
        }
    }
    if let Some(todo) = check.todo {
        out.line(&format!("{:38}→ {todo}", ""));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::codes::Code;
    use crate::ledger::Ledger;
    use crate::report::result;

    fn lines(ledger: &Ledger, detail: Detail) -> Vec<String> {
        let mut out = Lines::default();
        one(&mut out, &result(Code::Leaves, ledger), detail);
        out.0.lines().map(|l| l.trim_start().to_owned()).collect()
    }

    #[test]
    fn beside_the_first_finding_a_full_report_has_the_others_of_its_state() {
        let mut ledger = Ledger::new();
        ledger.skipped(Code::Leaves, Some(1), "left out");
        ledger.skipped(Code::Leaves, Some(2), "left out");
        let not_checked = lines(&ledger, Detail::Full);
        assert_eq!(not_checked.len(), 2, "{not_checked:?}");
        assert!(not_checked[0].ends_with(" entry 1: left out"));
        ledger.fail(Code::Leaves, Some(3), "changed");
        ledger.fail(Code::Leaves, Some(4), "moved");
        ledger.fail(Code::Leaves, None, "short");
        let full = lines(&ledger, Detail::Full);
        assert!(full[0].ends_with(" entry 3: changed; and 2 more of 3"));
        assert_eq!(full[1..3], ["entry 4: moved", "short"]);
        assert!(full[3].starts_with("→ ") && full.len() == 4, "{full:?}");
        let brief = lines(&ledger, Detail::Brief);
        assert_eq!(brief, [full[0].as_str(), full[3].as_str()]);
    }

    #[test]
    fn terminal_escapes_become_visible() {
        assert_eq!(neutralize("a\u{1b}[2Jb\nc"), "a\\u{1b}[2Jb\\u{a}c");
    }

    #[test]
    fn reading_direction_cannot_be_turned() {
        assert_eq!(neutralize("\u{202e}txt"), "\\u{202e}txt");
    }

    #[test]
    fn a_written_escape_is_not_taken_for_ours() {
        assert_eq!(neutralize("\\u{202e}"), "\\\\u{202e}");
    }

    #[test]
    fn neutralized_json_means_the_same() {
        let text = "a\u{202e}b\u{9b}c\u{e0041}\n";
        let json = serde_json::to_string(text).unwrap();
        let safe = neutralize_json(&json);
        assert!(!safe.chars().any(is_hostile));
        assert_eq!(serde_json::from_str::<String>(&safe).unwrap(), text);
    }
}
