//! One gateway continues another's work: what its log shows, what the other's shows, and what both show together.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::{LogHead, Profile};
use countersign_record::body::{Adopt, Enrol, Mode, Verdict};
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::digest::*;
use countersign_record::entry::Body;
use countersign_record::export::{ADOPT_KIND, Artifact};
use countersign_record::merkle::{Frontier, leaf_hash};
use countersign_record::statement::*;
use countersign_verify::Options;
use countersign_verify::codes::Code;
use countersign_verify::handover::{Continues, HandedOver, link};
use countersign_verify::ledger::State;
use countersign_verify::report::Report;
use countersign_verify::trust::Trust;

/// Time between two entries, in milliseconds.
const STEP: u64 = 1_000;
const OTHER: GatewayId = GatewayId([1; 32]);

/// A log of one epoch with one call, before anything is adopted.
fn log() -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.decide(&call(1, Mode::Network), Verdict::Deny, None);
    log
}

/// Governance's word that this gateway continues another.
fn word() -> AdoptStatement {
    AdoptStatement {
        gateway: gateway(),
        predecessor: OTHER,
        head: LogHead {
            size: 9,
            root: NodeHash([5; 32]),
        },
        last: EntryDigest([2; 32]),
        reason: "machine lost".into(),
        issued: UnixMillis(START),
        stored: Stored::Recovered,
    }
}

/// Enters an adoption; the entry says what `entry` says.
fn adopt(log: &mut Mini, entry: &AdoptStatement, signed: Vec<u8>) {
    let body = Body::Adopt(Adopt {
        predecessor: entry.predecessor,
        head: entry.head.clone(),
        statement: Bytes(signed),
    });
    log.push(body, None, vec![]);
}

fn signed(statement: &AdoptStatement) -> Vec<u8> {
    governance().statement(ADOPT_TYP, statement.to_bytes())
}

/// A log with one adoption, by a statement that differs from the usual one.
fn adopted(change: impl FnOnce(&mut AdoptStatement)) -> Report {
    let (mut log, mut statement) = (log(), word());
    change(&mut statement);
    adopt(&mut log, &statement, signed(&statement));
    log.renew();
    check(&log.export())
}

fn state(report: &Report, code: Code) -> State {
    let name = code.info().name;
    report.checks.iter().find(|c| c.code == name).unwrap().state
}

#[track_caller]
fn expect_failed(report: &Report, code: Code, words: &str) {
    let found = report.checks.iter().find(|c| c.code == code.info().name);
    let found = found.unwrap();
    assert_eq!(found.state, State::Fail, "{:?}", failed(report));
    assert!(found.reason.contains(words), "{}", found.reason);
}

// ---- the log that goes on --------------------------------------------------------------

#[test]
fn a_log_that_continues_another_says_so_and_the_check_is_not_passed_without_it() {
    let report = adopted(|_| ());
    assert_eq!((report.exit_code, failed(&report)), (0, vec![]));
    assert_eq!(state(&report, Code::Adoption), State::NotChecked);
    assert!(report.subject.handovers[0].contains("continues gateway 0101"));
    let said = |l: &String| l.starts_with("adoption: whether");
    assert!(report.not_checked.iter().any(said));
}

#[test]
fn values_that_are_lost_are_said_in_the_report() {
    let report = adopted(|s| s.stored = Stored::Lost);
    assert!(report.subject.handovers[0].contains("its values are LOST"));
}

#[test]
fn an_adoption_by_another_key_is_named() {
    let mut log = log();
    let forged = bundle_signer().statement(ADOPT_TYP, word().to_bytes());
    adopt(&mut log, &word(), forged);
    expect_failed(&check(&log.export()), Code::Adoption, "signed by");
}

#[test]
fn a_statement_of_another_type_adopts_nothing() {
    let mut log = log();
    let other = governance().statement(RECOVER_TYP, word().to_bytes());
    adopt(&mut log, &word(), other);
    expect_failed(&check(&log.export()), Code::Adoption, "type");
}

#[test]
fn an_adoption_by_another_gateway_is_named() {
    let report = adopted(|s| s.gateway = GatewayId([8; 32]));
    expect_failed(&report, Code::Adoption, "about other gateways");
}

#[test]
fn an_entry_that_names_another_log_than_its_statement_is_named() {
    let (mut log, mut other) = (log(), word());
    other.head.size = 8;
    adopt(&mut log, &other, signed(&word()));
    expect_failed(&check(&log.export()), Code::Adoption, "another log");
}

#[test]
fn a_gateway_that_adopts_itself_is_named() {
    let report = adopted(|s| s.predecessor = gateway());
    expect_failed(&report, Code::Adoption, "its own work");
}

#[test]
fn a_log_without_entries_is_not_continued() {
    let report = adopted(|s| s.head.size = 0);
    expect_failed(&report, Code::Adoption, "has no entries");
}

#[test]
fn one_gateway_is_not_adopted_twice() {
    let mut log = log();
    for _ in 0..2 {
        adopt(&mut log, &word(), signed(&word()));
    }
    expect_failed(&check(&log.export()), Code::Adoption, "adopted before");
}

#[test]
fn a_gateway_that_the_fleet_still_lists_is_not_continued() {
    let mut log = log();
    let member = |gateway, name: &str, until| FleetMember {
        gateway,
        name: name.into(),
        from: UnixMillis(START),
        until,
        ak_name: None,
    };
    let fleet = |number, until| FleetStatement {
        fleet: "acme".into(),
        number,
        issued: UnixMillis(START),
        members: vec![member(gateway(), "a", None), member(OTHER, "b", until)],
    };
    let enter = |log: &mut Mini, fleet: FleetStatement| {
        let statement = Bytes(governance().statement(FLEET_TYP, fleet.to_bytes()));
        let number = fleet.number;
        log.push(Body::Enrol(Enrol { number, statement }), None, vec![]);
    };
    enter(&mut log, fleet(6, None));
    adopt(&mut log, &word(), signed(&word()));
    let report = check(&log.export());
    expect_failed(&report, Code::Adoption, "fleet statement 6 still lists");
    enter(&mut log, fleet(7, Some(UnixMillis(START))));
    assert_eq!(failed(&check(&log.export())), Vec::<&str>::new());
}

#[test]
fn without_a_governance_key_nobody_says_what_may_be_continued() {
    let mut log = log();
    adopt(&mut log, &word(), signed(&word()));
    let key = governance().public().to_string();
    let text = trust_text("hardware-tpm").replace(&format!("\"{key}\""), "");
    let text = format!("{text}\n[gateways]\nids = [\"{}\"]", gateway());
    let trust = Trust::parse(text.as_bytes()).unwrap();
    let report = check_with(&log.export(), &trust, Options::default());
    assert_eq!(state(&report, Code::Adoption), State::NotChecked);
}

// ---- the log that was handed over ------------------------------------------------------

/// A log whose last entry no checkpoint covers: the machine was lost before one was made.
fn lost() -> (Mini, Parts) {
    let mut log = log();
    log.renew();
    let covered = log.checkpoint();
    log.event();
    let mut parts = Parts::of(&log);
    parts.checkpoints = vec![covered];
    (log, parts)
}

fn head(log: &Mini) -> LogHead {
    let mut frontier = Frontier::new();
    for leaf in &log.leaves {
        frontier.append(leaf_hash(&leaf.bytes), |_, _, _| ());
    }
    LogHead {
        size: frontier.size(),
        root: frontier.root(),
    }
}

/// Governance's word that another gateway continues this log.
fn handed(log: &Mini) -> AdoptStatement {
    let last = log.leaves.last().unwrap();
    AdoptStatement {
        gateway: OTHER,
        predecessor: gateway(),
        head: head(log),
        last: EntryDigest(leaf_hash(&last.bytes).0),
        issued: UnixMillis(log.time),
        ..word()
    }
}

fn enclose(parts: &mut Parts, statement: Vec<u8>) {
    parts.artifacts.push(Artifact {
        kind: ADOPT_KIND.into(),
        bytes: Bytes(statement),
    });
}

/// The lost log with a statement that differs from the usual one.
fn handed_over(change: impl FnOnce(&mut AdoptStatement)) -> Report {
    let (log, mut parts) = lost();
    let mut statement = handed(&log);
    change(&mut statement);
    enclose(&mut parts, signed(&statement));
    check(&parts.bytes())
}

#[test]
fn governances_word_stands_for_the_last_entries_of_a_log_that_was_handed_over() {
    let report = handed_over(|_| ());
    assert_eq!((report.exit_code, failed(&report)), (0, vec![]));
    assert_eq!(state(&report, Code::Adoption), State::Pass);
    assert_eq!(state(&report, Code::HandedOver), State::Pass);
    assert!(report.subject.handovers[0].contains("were handed over to gateway 0101"));
}

#[test]
fn without_that_word_the_last_entries_stand_under_no_root() {
    let (_, parts) = lost();
    expect_failed(&check(&parts.bytes()), Code::Root, "no genuine checkpoint");
}

#[test]
fn another_keys_word_stands_for_nothing() {
    let (log, mut parts) = lost();
    let forged = bundle_signer().statement(ADOPT_TYP, handed(&log).to_bytes());
    enclose(&mut parts, forged);
    let report = check(&parts.bytes());
    expect_failed(&report, Code::Adoption, "signed by");
    expect_failed(&report, Code::Root, "no genuine checkpoint");
}

#[test]
fn a_word_about_another_log_stands_for_nothing() {
    let report = handed_over(|s| s.predecessor = GatewayId([9; 32]));
    expect_failed(&report, Code::Adoption, "another log");
    expect_failed(&report, Code::Root, "no genuine checkpoint");
}

#[test]
fn a_log_with_another_root_than_was_handed_over_is_another_history() {
    let report = handed_over(|s| s.head.root = NodeHash([9; 32]));
    expect_failed(&report, Code::Adoption, "two histories");
    expect_failed(&report, Code::Root, "no genuine checkpoint");
}

#[test]
fn another_last_entry_than_was_handed_over_is_named() {
    let report = handed_over(|s| s.last = EntryDigest([9; 32]));
    expect_failed(&report, Code::Adoption, "last entry");
}

#[test]
fn a_log_that_is_shorter_than_what_was_handed_over_was_cut() {
    let report = handed_over(|s| s.head.size += 1);
    expect_failed(&report, Code::Leaves, "its end was cut off");
}

#[test]
fn two_words_about_one_log_are_named() {
    let (log, mut parts) = lost();
    for reason in ["one", "two"] {
        let mut statement = handed(&log);
        statement.reason = reason.into();
        enclose(&mut parts, signed(&statement));
    }
    expect_failed(&check(&parts.bytes()), Code::Adoption, "two statements");
}

/// The lost log, and entries after those that were handed over, `later` milliseconds after the statement.
fn went_on(later: u64) -> Report {
    let (mut log, _) = lost();
    let statement = handed(&log);
    log.time += later;
    log.event();
    let mut parts = Parts::of(&log);
    enclose(&mut parts, signed(&statement));
    check(&parts.bytes())
}

#[test]
fn entries_that_were_not_handed_over_are_counted() {
    let report = went_on(1_000);
    assert_eq!(report.exit_code, 2, "{:?}", failed(&report));
    expect_failed(&report, Code::HandedOver, "1 entries follow the 5");
}

#[test]
fn a_log_that_goes_on_after_it_was_handed_over_has_a_twin() {
    expect_failed(&went_on(600_000), Code::Adoption, "it went on until");
}

#[test]
fn the_clocks_of_gateway_and_governance_may_differ_by_five_minutes() {
    let report = went_on(300_000 - STEP);
    assert_eq!(state(&report, Code::Adoption), State::Pass);
    let report = went_on(300_001 - STEP);
    expect_failed(&report, Code::Adoption, "it went on until");
}

#[test]
fn entries_that_governance_handed_over_are_not_after_its_word_whatever_time_they_claim() {
    let report = handed_over(|s| s.issued.0 -= 600_000);
    assert_eq!(state(&report, Code::Adoption), State::Pass);
}

// ---- both ------------------------------------------------------------------------------

#[test]
fn what_one_export_says_is_kept_for_the_other() {
    let AdoptStatement {
        predecessor,
        head: LogHead { size, root },
        last,
        issued,
        ..
    } = word();
    let links = adopted(|_| ()).links;
    let continues = Continues {
        entry: 3,
        predecessor,
        size,
        root,
        last,
        issued,
    };
    assert_eq!((links.continues, links.handed), (vec![continues], None));
    let LogHead { size, root } = head(&lost().0);
    let links = handed_over(|_| ()).links;
    let handed = HandedOver {
        gateway: OTHER,
        size,
        root,
    };
    assert_eq!((links.continues, links.handed), (vec![], Some(handed)));
    // A log that went on has its root where it was handed over, too.
    assert_eq!(went_on(1_000).links.roots.get(&size), Some(&root));
    // A word that the log does not agree with hands nothing over.
    let links = handed_over(|s| s.head.root = NodeHash([9; 32])).links;
    assert_eq!(links.handed, None);
}

/// The report of a log that continues a log of five entries, and that other log's.
fn both() -> [Report; 2] {
    let mut after = adopted(|_| ());
    let before = handed_over(|_| ());
    let root = before.links.roots[&before.links.size];
    // The generator has one identity; here the two are told apart.
    after.links.gateway = Some(OTHER);
    after.links.continues = vec![Continues {
        entry: 3,
        predecessor: gateway(),
        size: before.links.size,
        root,
        last: EntryDigest([2; 32]),
        issued: UnixMillis(START),
    }];
    [after, before]
}

fn linked(change: impl FnOnce(&mut [Report; 2])) -> Report {
    let mut reports = both();
    change(&mut reports);
    link(&mut reports);
    let [after, _] = reports;
    after
}

#[test]
fn a_log_that_is_the_one_that_was_handed_over_makes_the_check_pass() {
    let [before, _] = both();
    let report = linked(|_| ());
    assert_eq!((report.exit_code, failed(&report)), (0, vec![]));
    assert_eq!(state(&report, Code::Adoption), State::Pass);
    // What else was not checked is said as before.
    let of_others = before.not_checked.iter();
    let of_others: Vec<_> = of_others.filter(|l| !l.starts_with("adoption:")).collect();
    assert!(of_others.len() < before.not_checked.len() && !of_others.is_empty());
    assert_eq!(report.not_checked.iter().collect::<Vec<_>>(), of_others);
}

#[test]
fn the_order_of_the_exports_does_not_matter() {
    let mut reports = both();
    reports.reverse();
    link(&mut reports);
    assert_eq!(state(&reports[1], Code::Adoption), State::Pass);
}

#[test]
fn an_export_of_somebody_else_makes_no_check() {
    let report = linked(|r| r[1].links.gateway = Some(GatewayId([9; 32])));
    assert_eq!(state(&report, Code::Adoption), State::NotChecked);
}

#[test]
fn another_root_at_the_size_that_was_handed_over_is_another_history() {
    let report = linked(|r| r[0].links.continues[0].root = NodeHash([9; 32]));
    expect_failed(&report, Code::Adoption, "two histories");
    assert!(
        report
            .headline
            .starts_with("ALTERED OR UNTRUSTED (adoption)")
    );
    assert_eq!(report.exit_code, 1);
}

#[test]
fn an_export_that_ends_before_what_was_handed_over_tells_nothing() {
    let report = linked(|r| r[0].links.continues[0].size += 1);
    assert_eq!(state(&report, Code::Adoption), State::CannotTell);
}

#[test]
fn a_size_at_which_no_root_is_known_tells_nothing() {
    let report = linked(|r| r[1].links.roots.clear());
    assert_eq!(state(&report, Code::Adoption), State::CannotTell);
}

#[test]
fn entries_of_the_log_before_that_were_not_handed_over_are_named() {
    let report = linked(|r| {
        r[1].links.size += 2;
        r[1].links.handed = None;
        r[1].links.last_at = Some(UnixMillis(START));
    });
    assert_eq!(report.exit_code, 2, "{:?}", failed(&report));
    expect_failed(&report, Code::HandedOver, "recorded 2 entries after the 5");
}

#[test]
fn a_predecessor_that_goes_on_for_longer_than_clocks_differ_is_named() {
    let went_on = |later: u64| {
        linked(|r| {
            r[1].links.size += 2;
            r[1].links.last_at = Some(UnixMillis(START + later));
        })
    };
    expect_failed(&went_on(300_001), Code::Adoption, "went on until");
    let report = went_on(300_000);
    assert_eq!(state(&report, Code::Adoption), State::Pass);
    expect_failed(&report, Code::HandedOver, "recorded 2 entries after the 5");
}

#[test]
fn two_gateways_do_not_continue_one_log() {
    let mut reports = both().to_vec();
    let mut second = reports[0].clone();
    second.links.gateway = Some(GatewayId([9; 32]));
    reports.push(second);
    link(&mut reports);
    for one in [&reports[0], &reports[2]] {
        expect_failed(one, Code::Adoption, "another gateway continues");
    }
}

#[test]
fn a_log_that_was_handed_to_another_gateway_is_named() {
    let report = linked(|r| {
        r[1].links.handed = Some(HandedOver {
            gateway: GatewayId([9; 32]),
            size: 5,
            root: NodeHash([5; 32]),
        });
    });
    expect_failed(&report, Code::Adoption, "handed over to another gateway");
}

#[test]
fn an_altered_export_of_the_log_before_shows_nothing() {
    let report = linked(|r| r[1].verdict = countersign_verify::report::Verdict::Untrusted);
    assert_eq!(state(&report, Code::Adoption), State::CannotTell);
}
