//! Witnesses: one log that passes, and one for each way in which it does not.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Decision, Mode, Verdict};
use countersign_record::entry::{Body, EntryRef};
use countersign_record::export::ExportWriter;
use countersign_record::note::{NoteKey, Role, UnixSeconds, cosigned};
use countersign_verify::Options;
use countersign_verify::codes::Code;
use countersign_verify::ledger::State;
use countersign_verify::report::Report;
use countersign_verify::text::{Detail, render};
use countersign_verify::trust::Trust;

/// A witness, by the seed of its key.
fn witness(seed: u8) -> (Key, NoteKey) {
    let key = Key::new(seed);
    let name = format!("witness.test/w{seed}");
    let public = NoteKey::new(&name, Role::Witness, key.public()).unwrap();
    (key, public)
}

const A: u8 = 61;
const B: u8 = 62;
const STRANGER: u8 = 63;
const OWN: u8 = 64;

/// A checkpoint with another line under it.
fn with_line(note: &str, seed: u8, time: u64) -> String {
    let (key, public) = witness(seed);
    let text = note.split_once("\n\n").unwrap().0.to_owned() + "\n";
    let signature = key.sign(cosigned(UnixSeconds(time), &text).as_bytes());
    format!(
        "{note}{}",
        public.cosignature_line(UnixSeconds(time), &signature)
    )
}

/// Trust in witnesses A, B and the operator's own.
fn trusting(rule: &str) -> Trust {
    let pin = |seed: u8, organisation: &str, own: bool| {
        format!(
            "[[witnesses]]\nkey = \"{}\"\norganisation = \"{organisation}\"\nown = {own}\n",
            witness(seed).1
        )
    };
    let text = format!(
        "{}{}{}{}[log]\nmax_gap = 0\n{rule}",
        trust_text("hardware-tpm"),
        pin(A, "Alpha Audit", false),
        pin(B, "Beta Bank", false),
        pin(OWN, "Operator", true),
    );
    Trust::parse(text.as_bytes()).unwrap()
}

/// A log with one witnessed call, its checkpoint over the intent, and what the export is made of.
struct Log {
    parts: Parts,
    intent: EntryRef,
    /// Claimed time of the intent, in seconds.
    time: u64,
}

fn log_with(change: impl FnOnce(&mut Decision)) -> Log {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    let read = call(2, Mode::ReadOnly);
    let intent = log.intent(&read, vec![], None);
    let over_intent = log.checkpoint();
    let time = log.time / 1000;
    let mut decision = log.decision_body(&read, Verdict::Allow, Some(intent.clone()));
    decision.witnessed = true;
    change(&mut decision);
    let opened = log.opened(&read, &decision);
    log.push(Body::Decision(decision), Some(read.run), opened);
    log.renew();
    let mut parts = Parts::of(&log);
    parts.placed = vec![(intent.index as usize + 1, over_intent)];
    Log {
        parts,
        intent,
        time,
    }
}

fn log() -> Log {
    log_with(|_| ())
}

impl Log {
    /// Puts a witness's line under the checkpoint over the intent.
    fn cosigned(mut self, seed: u8) -> Self {
        let time = self.time + 1;
        let note = &mut self.parts.placed[0].1;
        *note = with_line(note, seed, time);
        self
    }

    /// Puts a witness's line under the last checkpoint.
    fn ended(mut self, seed: u8) -> Self {
        let time = self.time + 60;
        let note = &mut self.parts.checkpoints[0];
        *note = with_line(note, seed, time);
        self
    }

    fn report(&self, rule: &str) -> Report {
        self.report_given(rule, Vec::new())
    }

    fn report_given(&self, rule: &str, checkpoints: Vec<(String, Vec<u8>)>) -> Report {
        let options = Options {
            checkpoints,
            threads: 2,
            ..Options::default()
        };
        check_with(&self.parts.bytes(), &trusting(rule), options)
    }
}

fn given(note: &str) -> Vec<(String, Vec<u8>)> {
    vec![("theirs.note".to_owned(), note.as_bytes().to_vec())]
}

#[track_caller]
fn expect(report: &Report, exit_code: u8, failing: &[&str]) {
    assert_eq!(
        (report.exit_code, failed(report).as_slice()),
        (exit_code, failing),
        "{}",
        render(report, Detail::Full)
    );
}

fn said(report: &Report, code: Code) -> String {
    let check = report.checks.iter().find(|c| c.code == code.info().name);
    check.unwrap().reason.clone()
}

#[test]
fn a_log_that_two_organisations_cosigned_is_witnessed() {
    let log = log().cosigned(A).cosigned(B).ended(A).ended(B);
    let report = log.report("min_witnesses = 2");
    expect(&report, 0, &[]);
    assert_eq!(
        report.axes.witnessed,
        "WITNESSED 2 of 2 by Alpha Audit, Beta Bank"
    );
    for code in [
        Code::Witnesses,
        Code::WitnessedCalls,
        Code::Cosignatures,
        Code::OutsideTime,
    ] {
        assert_eq!(report.state(code), State::Pass, "{}", code.info().name);
    }
    let unproved = report.not_proved.join("\n");
    assert!(!unproved.contains("the only one"), "{unproved}");
    assert!(unproved.contains("no later than outside clocks say"));
}

#[test]
fn how_much_of_the_tail_was_not_witnessed_is_said() {
    let report = log().cosigned(A).cosigned(B).report("min_witnesses = 2");
    expect(&report, 0, &[]);
    let unproved = report.not_proved.join("\n");
    assert!(
        unproved.contains("the only one beyond its first 3 entries"),
        "{unproved}"
    );
    let text = render(&report, Detail::Full);
    assert!(
        text.contains("3 entries were cosigned, the last 2 were not"),
        "{text}"
    );
}

#[test]
fn witnesses_of_nobody_you_trust_change_nothing_and_are_counted() {
    let report = log_with(|d| d.witnessed = false).ended(STRANGER).report("");
    expect(&report, 0, &[]);
    assert_eq!(report.state(Code::Witnesses), State::NotChecked);
    assert_eq!(report.axes.witnessed, "WITNESSED 0 of 2");
    let text = report.not_checked.join("\n");
    assert!(text.contains("cosignatures"), "{text}");
}

#[test]
fn fewer_organisations_than_demanded_break_policy() {
    let report = log().cosigned(A).ended(A).report("min_witnesses = 2");
    expect(&report, 2, &["witnesses", "witnessed-calls"]);
}

#[test]
fn the_operators_own_witness_never_counts() {
    let report = log().cosigned(OWN).ended(OWN).report("min_witnesses = 1");
    expect(&report, 2, &["witnesses", "witnessed-calls"]);
    assert_eq!(report.axes.witnessed, "WITNESSED 0 of 2");
    assert_eq!(report.state(Code::Cosignatures), State::Pass);
    assert_eq!(report.state(Code::OutsideTime), State::NotChecked);
}

#[test]
fn a_false_line_in_the_name_of_a_witness_is_named() {
    let mut log = log().cosigned(A);
    let note = &log.parts.checkpoints[0];
    // The line of another checkpoint is no line of this one.
    let line = log.parts.placed[0].1.lines().last().unwrap().to_owned();
    log.parts.checkpoints[0] = format!("{note}{line}\n");
    expect(&log.report(""), 1, &["cosignatures"]);
}

#[test]
fn a_call_that_says_it_was_witnessed_and_was_not_is_named() {
    // Cosigned at the end, but not before the call left.
    let report = log().ended(A).report("");
    expect(&report, 2, &["witnessed-calls"]);
    assert!(
        said(&report, Code::WitnessedCalls).contains("0 of your witnesses' organisations"),
        "{}",
        said(&report, Code::WitnessedCalls)
    );
}

#[test]
fn a_checkpoint_before_the_intent_does_not_cover_it() {
    let mut log = log().cosigned(A);
    let mut short = Mini::new(Profile::Tpm);
    short.open();
    short.enrol();
    let note = with_line(&short.checkpoint(), A, log.time);
    log.parts.placed = vec![(2, note)];
    expect(&log.report(""), 2, &["witnessed-calls"]);
    assert_eq!(log.intent.index, 2);
}

#[test]
fn a_call_that_had_to_be_witnessed_and_does_not_say_so_is_named() {
    let demanded = |d: &mut Decision| {
        d.witnessed = false;
        let policy = d.policy.as_mut().unwrap();
        policy.obligations.push("witnessed".to_owned());
    };
    let report = log_with(demanded).ended(A).report("");
    let failing = failed(&report);
    assert!(failing.contains(&"witnessed-calls"), "{failing:?}");
}

#[test]
fn an_entry_that_claims_to_be_later_than_a_cosignature_over_it_is_named() {
    let mut log = log();
    let note = &mut log.parts.placed[0].1;
    // More than a minute before the intent's claimed time.
    *note = with_line(note, A, log.time - 62);
    expect(&log.report(""), 2, &["outside-time"]);
}

#[test]
fn clocks_that_differ_by_a_minute_are_no_contradiction() {
    let mut log = log();
    let note = &mut log.parts.placed[0].1;
    *note = with_line(note, A, log.time - 60);
    expect(&log.report(""), 0, &[]);
}

#[test]
fn a_checkpoint_that_the_auditor_has_is_found_in_the_export() {
    let log = log();
    let theirs = with_line(&log.parts.placed[0].1, B, log.time);
    let report = log.report_given("min_witnesses = 1", given(&theirs));
    expect(&report, 0, &[]);
    assert_eq!(report.axes.witnessed, "WITNESSED 1 of 2 by Beta Bank");
}

#[test]
fn an_export_that_ends_before_the_auditors_checkpoint_was_cut() {
    let mut log = log();
    let theirs = log.parts.checkpoints[0].clone();
    log.parts.leaves.truncate(4);
    log.parts.manifest.end = 4;
    let mut shorter = Mini::new(Profile::Tpm);
    shorter.open();
    shorter.enrol();
    let read = call(2, Mode::ReadOnly);
    let intent = shorter.intent(&read, vec![], None);
    let mut decision = shorter.decision_body(&read, Verdict::Allow, Some(intent));
    decision.witnessed = true;
    let opened = shorter.opened(&read, &decision);
    shorter.push(Body::Decision(decision), Some(read.run), opened);
    log.parts.checkpoints = vec![shorter.checkpoint()];
    // What the export itself shows is genuine.
    let before = log.cosigned(A);
    let alone = before.report("");
    assert!(
        !failed(&alone).contains(&"leaves"),
        "{}",
        render(&alone, Detail::Full)
    );
    let report = before.report_given("", given(&theirs));
    assert!(failed(&report).contains(&"leaves"), "{:?}", failed(&report));
    assert_eq!(
        (report.exit_code, report.first_failure),
        (1, Some("leaves"))
    );
}

#[test]
fn two_histories_are_named_by_the_auditors_checkpoint() {
    let mut other = Mini::new(Profile::Tpm);
    other.open();
    other.enrol();
    other.event();
    let theirs = with_line(&other.checkpoint(), A, START / 1000);
    let report = log().cosigned(A).report_given("", given(&theirs));
    expect(&report, 1, &["root"]);
    assert!(said(&report, Code::Root).contains("two histories"));
}

#[test]
fn a_checkpoint_that_is_not_the_gateways_proves_nothing() {
    let log = log().cosigned(A);
    let good = log.parts.checkpoints[0].clone();
    let unsigned = good.replacen("\u{2014} countersign/", "\u{2014} nobody/", 1);
    let foreign = good.replace("countersign/", "elsewhere/");
    for theirs in [unsigned.as_str(), &foreign, "", "no checkpoint"] {
        let report = log.report_given("", given(theirs));
        expect(&report, 3, &[]);
        assert_eq!(report.state(Code::Cosignatures), State::CannotTell);
    }
}

#[test]
fn a_checkpoint_in_front_of_its_entries_is_a_cut_log() {
    let mut log = log().cosigned(A);
    log.parts.placed[0].0 = 1;
    let report = log.report("");
    assert_eq!(report.exit_code, 1);
    assert!(failed(&report).contains(&"leaves"));
}

#[test]
fn many_checkpoints_do_not_change_what_is_found() {
    let mut log = log().cosigned(A).ended(A);
    let placed = log.parts.placed[0].clone();
    log.parts.placed = vec![placed; 300];
    expect(&log.report("min_witnesses = 1"), 0, &[]);
}

#[test]
fn a_gap_that_a_witness_showed_breaks_policy_unless_gaps_are_accepted() {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.renew();
    let counter = log.device.counter;
    log.open();
    log.gap_witnessed(counter, counter, Some(90));
    log.renew();
    let report = check(&log.export());
    expect(&report, 2, &["gaps"]);
    assert!(report.subject.gaps[0].contains("90 entries"));
    let text = format!("{}[log]\nmax_gap = 1\n", trust_text("hardware-tpm"));
    let trust = Trust::parse(text.as_bytes()).unwrap();
    expect(
        &check_with(&log.export(), &trust, Options::default()),
        0,
        &[],
    );
}

#[test]
fn a_trust_file_with_a_witness_twice_or_a_rule_that_cannot_be_met_is_refused() {
    let pin = |seed: u8, organisation: &str| {
        format!(
            "[[witnesses]]\nkey = \"{}\"\norganisation = \"{organisation}\"\n",
            witness(seed).1
        )
    };
    let refused = |text: String| Trust::parse(format!("version = 1\n{text}").as_bytes()).is_err();
    assert!(!refused(pin(A, "a") + &pin(B, "b")));
    assert!(refused(pin(A, "a") + &pin(A, "b")));
    assert!(refused(pin(A, " ")));
    assert!(refused(pin(A, "a").replace('+', "-")));
    let log_key = NoteKey::new("witness.test/w61", Role::Log, Key::new(A).public()).unwrap();
    assert!(refused(
        pin(A, "a").replace(&witness(A).1.to_string(), &log_key.to_string())
    ));
    let rule = |n: u64| format!("[log]\nmin_witnesses = {n}\n");
    assert!(!refused(pin(A, "a") + &rule(1)));
    assert!(refused(pin(A, "a") + &rule(0)));
    assert!(refused(pin(A, "a") + &rule(2)));
    assert!(refused(pin(A, "a") + &pin(B, "a") + &rule(2)));
}

#[test]
fn what_follows_a_checkpoint_belongs_to_no_entry_before_it() {
    let Log { parts, intent, .. } = log();
    let (mut writer, mut out) = ExportWriter::start(&parts.manifest);
    for artifact in &parts.artifacts {
        out.extend(writer.artifact(artifact));
    }
    for (number, (bytes, disclosures)) in parts.leaves.iter().enumerate() {
        out.extend(writer.entry(bytes));
        if number as u64 == intent.index {
            assert!(!disclosures.is_empty());
            out.extend(writer.checkpoint(parts.placed[0].1.as_bytes()));
        }
        if !disclosures.is_empty() {
            out.extend(writer.disclosures(disclosures));
        }
    }
    out.extend(writer.checkpoint(parts.checkpoints[0].as_bytes()));
    out.extend(writer.finish());
    let report = check(&out);
    assert_eq!(
        (report.exit_code, report.first_failure),
        (1, Some("framing"))
    );
}

#[test]
fn one_key_under_two_names_and_two_keys_under_one_name_are_refused() {
    let pins = |second: &NoteKey| {
        let pin = |key: &NoteKey, organisation: &str| {
            format!("[[witnesses]]\nkey = \"{key}\"\norganisation = \"{organisation}\"\n")
        };
        let text = format!(
            "{}{}{}",
            trust_text("hardware-tpm"),
            pin(&witness(A).1, "Alpha Audit"),
            pin(second, "Beta Bank")
        );
        Trust::parse(text.as_bytes())
    };
    let of = |name: &str, key: &Key| NoteKey::new(name, Role::Witness, key.public()).unwrap();
    let (first, name) = (witness(A).0, witness(A).1.name().to_owned());
    assert!(pins(&of("witness.test/other", &witness(B).0)).is_ok());
    assert!(pins(&of("witness.test/other", &first)).is_err());
    assert!(pins(&of(&name, &witness(B).0)).is_err());
}
