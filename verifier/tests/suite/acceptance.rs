//! What a genuine export looks like to the verifier, and what is missing when trust is.

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::AbandonedOpening;
use countersign_record::digest::KeyId;
use countersign_record::export::Scope;
use countersign_verify::Options;
use countersign_verify::codes::{Code, checks_document};
use countersign_verify::ledger::State;
use countersign_verify::report::Verdict;
use countersign_verify::text::{Detail, render};
use countersign_verify::trust::{Reference, Trust};

#[test]
fn a_genuine_export_is_verified() {
    let report = check(&sample(Profile::Tpm).export());
    assert_eq!(
        report.verdict,
        Verdict::Verified,
        "{}",
        render(&report, Detail::Full)
    );
    assert_eq!(report.exit_code, 0);
}

#[test]
fn every_check_of_a_genuine_export_ran_but_those_that_nothing_calls_for() {
    let report = check(&sample(Profile::Tpm).export());
    let absent: Vec<_> = report
        .checks
        .iter()
        .filter(|c| c.state != State::Pass)
        .map(|c| c.code)
        .collect();
    assert_eq!(
        absent,
        [
            "bundle-pins",
            "cosignatures",
            "holds",
            "stops",
            "period",
            "adoption",
            "handed-over",
            "freshness",
            "receipts",
            "receipt-missing",
            "query",
            "fleet",
            "histories",
            "witnesses",
            "witnessed-calls",
            "outside-time"
        ]
    );
}

#[test]
fn the_counts_are_said_in_a_sentence() {
    let report = check(&sample(Profile::Tpm).export());
    assert_eq!(
        report.summary,
        "6 calls: 2 carried out, 3 denied, 1 halted and approved; 1 gaps"
    );
}

#[test]
fn software_evidence_is_refused_by_default() {
    let report = check(&sample(Profile::Swtpm).export());
    assert_eq!(
        (report.exit_code, failed(&report)),
        (2, vec!["evidence-class"])
    );
}

#[test]
fn with_software_allowed_the_first_line_says_that_no_hardware_vouches() {
    let trust = Trust::parse(trust_text("software").as_bytes()).unwrap();
    let report = check_with(&sample(Profile::Swtpm).export(), &trust, Options::default());
    let text = render(&report, Detail::Brief);
    assert_eq!(report.exit_code, 0, "{text}");
    assert!(
        text.lines()
            .next()
            .unwrap()
            .contains("no hardware vouches for this")
    );
}

#[test]
fn a_plain_tpm_that_nobody_checked_is_not_hardware() {
    let mut log = crate::common::Mini::new(Profile::Tpm);
    log.open();
    log.decide(
        &call(1, countersign_record::body::Mode::Network),
        countersign_record::body::Verdict::Deny,
        None,
    );
    log.renew();
    let text = trust_text("hardware-tpm").replace(
        "[evidence]",
        &format!("[gateways]\nids = [\"{}\"]\n[evidence]", gateway()),
    );
    let pinned = text.replace(
        &format!("[governance]\nkeys = [\"{}\"]\n", governance().public()),
        "",
    );
    let report = check_with(
        &log.export(),
        &Trust::parse(pinned.as_bytes()).unwrap(),
        Options::default(),
    );
    assert_eq!(
        (report.exit_code, failed(&report)),
        (2, vec!["evidence-class"])
    );
}

#[test]
fn without_a_pinned_key_it_is_genuine_but_of_whom() {
    let text = trust_text("hardware-tpm").replace(
        &format!("\"{}\"]\n[evidence]", governance().public()),
        "]\n[evidence]",
    );
    let report = check_with(
        &sample(Profile::Tpm).export(),
        &Trust::parse(text.as_bytes()).unwrap(),
        Options::default(),
    );
    assert_ne!(report.exit_code, 0);
    assert_eq!(report.state(Code::TrustAnchor), State::NotChecked);
}

#[test]
fn without_reference_values_there_is_no_verdict() {
    let options = Options {
        reference: Some(Reference::default()),
        ..Options::default()
    };
    let report = check_with(&sample(Profile::Tpm).export(), &trust(), options);
    assert_eq!(report.exit_code, 3);
}

#[test]
fn an_empty_list_of_builds_accepts_nothing() {
    let reference = Reference {
        build: Some(vec![]),
        ..trust().reference
    };
    let options = Options {
        reference: Some(reference),
        ..Options::default()
    };
    let report = check_with(&sample(Profile::Tpm).export(), &trust(), options);
    assert_eq!((report.exit_code, failed(&report)), (2, vec!["build"]));
}

#[test]
fn an_export_without_entries_is_never_a_success() {
    let mut parts = Parts::of(&sample(Profile::Tpm));
    (parts.leaves, parts.checkpoints, parts.manifest.end) = (vec![], vec![], 0);
    assert_ne!(check(&parts.bytes()).exit_code, 0);
}

#[test]
fn no_bytes_at_all_are_no_export() {
    let report = check(b"");
    assert_eq!(
        (report.exit_code, report.first_failure),
        (1, Some("framing"))
    );
}

#[test]
fn a_trust_file_that_came_with_the_export_is_flagged() {
    let mut parts = Parts::of(&sample(Profile::Tpm));
    let bytes = [b"# ".as_slice(), trust_text("hardware-tpm").as_bytes()].concat();
    let kind = "application/toml".to_owned();
    parts.artifacts.push(countersign_record::export::Artifact {
        kind,
        bytes: countersign_record::cbor::Bytes(bytes),
    });
    assert_eq!(failed(&check(&parts.bytes())), ["trust-source"]);
}

#[test]
fn a_tail_longer_than_allowed_breaks_policy() {
    let mut log = sample(Profile::Tpm);
    log.time += 1_100_000;
    log.event();
    log.time += 1_100_000;
    log.event();
    let report = check(&log.export());
    assert_eq!((report.exit_code, failed(&report)), (2, vec!["tail"]));
}

#[test]
fn an_epoch_without_a_close_is_complete_up_to_its_last_renewal() {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.renew();
    log.event();
    log.open();
    log.renew();
    let report = check(&log.export());
    assert_eq!(report.exit_code, 0, "{}", render(&report, Detail::Full));
    assert!(
        report
            .not_proved
            .iter()
            .any(|t| t.contains("unknown number of entries")),
        "{:?}",
        report.not_proved
    );
}

/// A step of the counter that was announced and came to nothing.
fn abandon(log: &mut Mini) -> AbandonedOpening {
    log.device.counter = log.device.counter.saturating_add(1);
    AbandonedOpening {
        counter: log.device.counter,
        epoch_key: KeyId([9; 32]),
    }
}

/// A log whose second opening lists one step that came to nothing, after a close or without one.
fn with_an_abandoned_step(close: bool) -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.renew();
    if close {
        log.close();
    }
    let explained = log.device.counter;
    let abandoned = abandon(&mut log);
    let binding = log.binding();
    log.open_after(binding, explained, vec![abandoned]);
    log.renew();
    log
}

#[test]
fn an_announced_step_that_came_to_nothing_may_hide_a_lease_even_after_a_close() {
    let report = check(&with_an_abandoned_step(true).export());
    assert_eq!(report.exit_code, 0, "{}", render(&report, Detail::Full));
    let said = "1 announced steps of the counter came to nothing: of calls there, missing may be up to 20 min";
    assert!(
        report.not_proved.iter().any(|t| t.contains(said)),
        "{:?}",
        report.not_proved
    );
}

#[test]
fn an_announced_step_that_came_to_nothing_adds_a_lease_to_an_end_without_a_close() {
    let report = check(&with_an_abandoned_step(false).export());
    assert_eq!((report.exit_code, failed(&report)), (2, vec!["epoch-ends"]));
    assert!(render(&report, Detail::Full).contains("after that up to 40 min"));
}

#[test]
fn announced_steps_before_the_first_epoch_may_hide_a_lease() {
    let mut log = Mini::new(Profile::Tpm);
    let explained = log.device.counter;
    let abandoned = abandon(&mut log);
    let binding = log.binding();
    log.open_after(binding, explained, vec![abandoned]);
    log.enrol();
    log.renew();
    let report = check(&log.export());
    assert_eq!(report.exit_code, 0, "{}", render(&report, Detail::Full));
    assert!(
        report
            .not_proved
            .iter()
            .any(|t| t.contains("before the first epoch")),
        "{:?}",
        report.not_proved
    );
}

#[test]
fn one_tenant_can_be_shown_without_the_others_entries() {
    let mut log = sample(Profile::Tpm);
    log.scope = Scope::Tenant;
    let mut parts = Parts::of(&log);
    // An event belongs to nobody; it stands for what is withheld.
    parts.withheld = vec![12];
    parts.proofs = vec![log.proof(0, TENANT)];
    let report = check(&parts.bytes());
    assert_eq!(report.exit_code, 0, "{}", render(&report, Detail::Full));
    assert_eq!(report.complete, "the tenant's entries 0 to 9, none missing");
}

#[test]
fn hostile_text_of_an_export_is_printed_harmlessly() {
    let mut parts = Parts::of(&sample(Profile::Tpm));
    parts.manifest.profile = "full\u{1b}[2J\u{202e}\nVERIFIED".into();
    let report = check(&parts.bytes());
    let printed = render(&report, Detail::Full) + &report.to_json().unwrap();
    assert!(
        !printed
            .chars()
            .any(|c| c != '\n' && countersign_verify::text::is_hostile(c))
    );
    // The verdict is the one line of that text, and the first.
    assert_eq!(printed.lines().filter(|l| *l == "VERIFIED").count(), 1);
}

#[test]
fn the_report_is_the_same_with_any_number_of_threads() {
    let export = sample(Profile::Tpm).export();
    let one = check_with(
        &export,
        &trust(),
        Options {
            threads: 1,
            ..Options::default()
        },
    );
    let four = check_with(
        &export,
        &trust(),
        Options {
            threads: 4,
            ..Options::default()
        },
    );
    assert_eq!(one, four);
}

#[test]
fn the_document_of_checks_is_the_table() {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/checks.md");
    if update() {
        std::fs::write(&path, checks_document()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), checks_document());
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the tests, not the machine, whether to rewrite"
)]
fn update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1")
}

/// A file of which the first reading is an error.
struct Halting<'a> {
    left: &'a [u8],
    error: Option<std::io::ErrorKind>,
}

impl std::io::Read for Halting<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self.error.take() {
            Some(kind) => Err(kind.into()),
            None => std::io::Read::read(&mut self.left, buffer),
        }
    }
}

#[test]
fn reading_goes_on_after_an_interruption_and_ends_at_any_other_error() {
    let export = sample(Profile::Tpm).export();
    let read = |error| {
        let file = Halting {
            left: &export,
            error,
        };
        countersign_verify::verify(file, &trust(), &countersign_verify::Options::default(), NOW)
    };
    let whole = read(None);
    assert_eq!(whole.exit_code, 0);
    assert_eq!(read(Some(std::io::ErrorKind::Interrupted)), whole);
    let broken = read(Some(std::io::ErrorKind::ConnectionReset));
    assert_ne!(broken.exit_code, 0);
}
