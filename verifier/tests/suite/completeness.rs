//! What an export may leave out, and what then is complete: periods, tenants, runs, questions, several exports.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Mode, Verdict};
use countersign_record::digest::{GatewayId, NodeHash, RunId, TenantId, UnixMillis};
use countersign_record::export::{Period, Scope};
use countersign_record::statement::{FLEET_TYP, FleetMember, FleetStatement};
use countersign_record::{cbor::Cbor as _, merkle::subtrees};
use countersign_verify::Options;
use countersign_verify::codes::Code;
use countersign_verify::fleet::{Asked, FleetReport, judge};
use countersign_verify::ledger::State;
use countersign_verify::query::Query;
use countersign_verify::report::Report;
use countersign_verify::text::{Detail, render};

const OTHER: TenantId = TenantId([8; 16]);
const OURS: RunId = RunId([1; 16]);
const THEIRS: RunId = RunId([2; 16]);

/// Calls of two tenants: ours are entries 3, 7, 11 and 12 (the run's close), theirs 4 to 6, 9 and 10.
fn two_tenants() -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.renew();
    ours(&mut log, 1);
    (2..5).for_each(|n| theirs(&mut log, n));
    ours(&mut log, 5);
    log.renew();
    (6..8).for_each(|n| theirs(&mut log, n));
    ours(&mut log, 8);
    log.close_run(OURS);
    log.renew();
    log
}

fn ours(log: &mut Mini, number: u8) {
    log.tenant = TENANT;
    log.decide(&call(number, Mode::Network), Verdict::Deny, None);
}

fn theirs(log: &mut Mini, number: u8) {
    log.tenant = OTHER;
    let call = Call {
        run: THEIRS,
        ..call(number, Mode::Network)
    };
    log.decide(&call, Verdict::Deny, None);
    log.tenant = TENANT;
}

/// When an entry of that log was made.
fn time(index: u64) -> UnixMillis {
    UnixMillis(START + 1000 * (index + 1))
}

fn period(from: u64, until: u64) -> Option<Period> {
    Some(Period {
        from: time(from),
        until: time(until),
    })
}

/// Our part of that log.
fn our_part() -> Parts {
    let log = two_tenants();
    let mut parts = Parts::of(&log);
    (parts.manifest.scope, parts.manifest.tenant) = (Scope::Tenant, Some(TENANT));
    parts.spans = vec![(4, 3), (9, 2)];
    parts.proofs = vec![log.proof(0, TENANT)];
    parts
}

/// Entries 9 and 10 of that log, by time.
fn a_period() -> Parts {
    let mut parts = Parts::of(&two_tenants());
    parts.manifest.period = period(9, 11);
    parts.spans = vec![(3, 5)];
    parts.withheld = vec![12];
    parts
}

#[track_caller]
fn expect(report: &Report, exit_code: u8, code: Code, state: State) {
    let text = render(report, Detail::Full);
    assert_eq!(report.exit_code, exit_code, "{text}");
    assert_eq!(report.state(code), state, "{text}");
}

#[track_caller]
fn verified(report: &Report, complete: &str) {
    expect(report, 0, Code::Scope, State::Pass);
    assert_eq!(report.complete, complete);
}

// ---- spans --------------------------------------------------------------------------------

#[test]
fn withheld_stretches_lead_to_the_same_root() {
    let whole = check(&two_tenants().export());
    let part = check(&our_part().bytes());
    assert_eq!(whole.subject.root, part.subject.root);
    assert_eq!(part.counts.withheld, 5);
}

/// The file with one byte string exchanged for another of the same length.
fn exchanged(file: Vec<u8>, old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = file.windows(old.len()).position(|w| w == old).unwrap();
    let mut out = file;
    out.splice(at..at + old.len(), new.iter().copied());
    out
}

#[test]
fn a_span_with_another_count_than_its_hashes_is_no_span() {
    let parts = our_part();
    let span = parts.span(4, 3).to_bytes();
    for count in [0u8, 1, 2, 4, 23] {
        let mut lying = span.clone();
        *lying.get_mut(2).unwrap() = count;
        let report = check(&exchanged(parts.bytes(), &span, &lying));
        // Four entries from index 4 have one hash, three have two.
        expect(&report, 1, Code::Framing, State::Fail);
    }
}

#[test]
fn a_span_of_huge_length_costs_nothing_and_is_no_log() {
    // From index 0 a power of two has one hash.
    for count in [1u64 << 63, (1 << 63) - 1, u64::MAX] {
        let roots = subtrees(0, count).unwrap().len();
        let mut parts = Parts::of(&two_tenants());
        parts.leaves.clear();
        let span = countersign_record::export::Span {
            count,
            roots: vec![NodeHash([5; 32]); roots],
        };
        let (mut writer, mut file) =
            countersign_record::export::ExportWriter::start(&parts.manifest);
        file.extend(writer.span(&span));
        file.extend(writer.span(&span));
        file.extend(writer.finish());
        assert_ne!(check(&file).exit_code, 0);
    }
}

#[test]
fn a_span_over_the_size_that_a_renewal_covers_is_named() {
    let mut log = two_tenants();
    theirs(&mut log, 20);
    let statement = log.renewal_statement();
    theirs(&mut log, 21);
    log.renew_with(&statement);
    let mut parts = our_part();
    let whole = Parts::of(&log);
    (parts.leaves, parts.artifacts, parts.checkpoints) =
        (whole.leaves, whole.artifacts, whole.checkpoints);
    parts.manifest.end = log.next();
    parts.proofs = vec![log.proof(0, TENANT)];
    // The renewal covers 15 entries, of which 14 is the last.
    parts.spans = vec![(4, 3), (9, 2), (14, 2)];
    expect(&check(&parts.bytes()), 1, Code::Renewals, State::Fail);
    parts.spans = vec![(4, 3), (9, 2)];
    parts.withheld = vec![14, 15];
    expect(&check(&parts.bytes()), 0, Code::Renewals, State::Pass);
}

#[test]
fn a_withheld_renewal_is_named() {
    let mut parts = our_part();
    parts.spans = vec![(4, 5), (9, 2)];
    expect(&check(&parts.bytes()), 1, Code::Counter, State::Fail);
}

#[test]
fn an_epoch_after_a_stretch_without_a_hash_of_its_own_cannot_be_told() {
    let mut log = two_tenants();
    theirs(&mut log, 20);
    theirs(&mut log, 21);
    log.open();
    log.renew();
    let mut parts = Parts::of(&log);
    (parts.manifest.scope, parts.manifest.tenant) = (Scope::Tenant, Some(TENANT));
    parts.spans = vec![(4, 3), (9, 2), (14, 2)];
    parts.proofs = vec![log.proof(0, TENANT)];
    expect(&check(&parts.bytes()), 3, Code::Epochs, State::CannotTell);
    parts.spans = vec![(4, 3), (9, 2)];
    parts.withheld = vec![14, 15];
    expect(&check(&parts.bytes()), 0, Code::Epochs, State::Pass);
}

#[test]
fn withheld_hashes_that_were_made_up_are_not_the_log() {
    let parts = our_part();
    let span = parts.span(4, 3).to_bytes();
    let mut other = span.clone();
    *other.last_mut().unwrap() ^= 1;
    let report = check(&exchanged(parts.bytes(), &span, &other));
    expect(&report, 1, Code::Root, State::Fail);
}

// ---- tenants ------------------------------------------------------------------------------

#[test]
fn a_tenants_entries_are_complete_by_the_proof_of_the_last() {
    verified(
        &check(&our_part().bytes()),
        "the tenant's entries 0 to 3, none missing",
    );
}

#[test]
fn a_tenants_newest_entry_that_is_withheld_is_named() {
    let mut parts = our_part();
    parts.withheld = vec![12];
    expect(&check(&parts.bytes()), 1, Code::TenantHeads, State::Fail);
}

#[test]
fn an_entry_in_the_middle_of_a_tenant_that_is_withheld_is_named() {
    let mut parts = our_part();
    parts.withheld = vec![7];
    expect(
        &check(&parts.bytes()),
        1,
        Code::TenantSequences,
        State::Fail,
    );
}

#[test]
fn without_a_proof_the_newest_entries_are_not_provable() {
    let mut parts = our_part();
    parts.proofs.clear();
    expect(
        &check(&parts.bytes()),
        3,
        Code::TenantHeads,
        State::CannotTell,
    );
}

#[test]
fn an_earlier_proof_says_nothing_of_the_newest_entries() {
    let mut parts = our_part();
    parts.proofs = vec![two_tenants().proof(1, TENANT)];
    expect(
        &check(&parts.bytes()),
        3,
        Code::TenantHeads,
        State::CannotTell,
    );
}

#[test]
fn the_proof_of_another_tenant_is_none_of_this_one() {
    let mut parts = our_part();
    parts.proofs = vec![two_tenants().proof(0, OTHER)];
    expect(&check(&parts.bytes()), 1, Code::TenantHeads, State::Fail);
}

#[test]
fn a_proof_after_another_entry_is_named() {
    let mut parts = our_part();
    let (_, proof) = two_tenants().proof(0, TENANT);
    parts.proofs.push((11, proof));
    expect(&check(&parts.bytes()), 1, Code::TenantHeads, State::Fail);
}

#[test]
fn a_close_proves_a_tenants_last_number_to_the_end() {
    let mut log = two_tenants();
    theirs(&mut log, 20);
    log.close();
    let mut parts = our_part();
    let whole = Parts::of(&log);
    (parts.leaves, parts.artifacts, parts.checkpoints) =
        (whole.leaves, whole.artifacts, whole.checkpoints);
    parts.manifest.end = log.next();
    parts.withheld = vec![14];
    parts.proofs = vec![log.proof(0, TENANT)];
    let report = check(&parts.bytes());
    verified(&report, "the tenant's entries 0 to 3, none missing");
    assert!(!render(&report, Detail::Full).contains("not provable"));
}

#[test]
fn a_tenant_without_entries_cannot_be_evaluated() {
    let mut parts = our_part();
    parts.manifest.tenant = Some(TenantId([9; 16]));
    parts.proofs.clear();
    parts.withheld = vec![3, 7, 11, 12];
    expect(
        &check(&parts.bytes()),
        3,
        Code::TenantHeads,
        State::CannotTell,
    );
}

#[test]
fn an_entry_of_another_tenant_is_named() {
    let mut parts = our_part();
    parts.spans = vec![(5, 2), (9, 2)];
    expect(&check(&parts.bytes()), 1, Code::Scope, State::Fail);
}

#[test]
fn an_export_of_a_tenant_that_does_not_say_of_which_is_refused() {
    let mut parts = our_part();
    parts.manifest.tenant = None;
    expect(&check(&parts.bytes()), 1, Code::Scope, State::Fail);
}

// ---- runs ---------------------------------------------------------------------------------

/// One run of that log.
fn one_run(run: RunId) -> Parts {
    let mut parts = our_part();
    (parts.manifest.scope, parts.manifest.run) = (Scope::Run, Some(run));
    parts.proofs.clear();
    if run == THEIRS {
        parts.manifest.tenant = Some(OTHER);
        parts.spans = vec![];
        parts.withheld = vec![3, 7, 11, 12];
    }
    parts
}

#[test]
fn a_closed_run_is_complete() {
    verified(
        &check(&one_run(OURS).bytes()),
        "the run's entries 0 to 3, none missing",
    );
}

#[test]
fn an_open_run_is_not_provable() {
    let report = check(&one_run(THEIRS).bytes());
    expect(&report, 3, Code::RunCloses, State::CannotTell);
}

#[test]
fn a_withheld_entry_of_a_run_is_named() {
    let mut parts = one_run(OURS);
    parts.withheld = vec![7];
    expect(&check(&parts.bytes()), 1, Code::RunChains, State::Fail);
}

#[test]
fn the_withheld_last_entry_of_a_run_is_named_by_its_close() {
    let mut parts = one_run(OURS);
    parts.withheld = vec![11];
    expect(&check(&parts.bytes()), 1, Code::RunChains, State::Fail);
}

// ---- periods ------------------------------------------------------------------------------

#[test]
fn a_period_is_complete_between_an_earlier_and_a_later_entry() {
    let report = check(&a_period().bytes());
    expect(&report, 0, Code::Period, State::Pass);
    assert!(
        report
            .complete
            .starts_with("entries 9 to 10 of the period from "),
        "{}",
        report.complete
    );
    // What stands at its edges is none of its calls.
    assert_eq!(report.counts.calls, 2);
}

#[test]
fn a_withheld_entry_of_a_period_is_named() {
    let mut parts = a_period();
    parts.withheld = vec![10, 12];
    expect(&check(&parts.bytes()), 1, Code::Period, State::Fail);
}

#[test]
fn a_period_without_a_later_entry_at_its_end_is_not_complete() {
    let mut parts = a_period();
    parts.withheld = vec![11, 12];
    expect(&check(&parts.bytes()), 1, Code::Period, State::Fail);
}

#[test]
fn withheld_entries_of_the_same_time_as_the_first_of_a_period_may_belong_to_it() {
    // Entry 8, which stands before, is as late as the period begins: so may be those before it.
    let mut parts = a_period();
    parts.manifest.period = period(8, 11);
    expect(&check(&parts.bytes()), 1, Code::Period, State::Fail);
}

#[test]
fn a_period_without_a_call_cannot_be_evaluated() {
    let mut parts = Parts::of(&two_tenants());
    parts.manifest.period = period(13, 14);
    parts.spans = vec![(3, 5), (9, 3)];
    expect(&check(&parts.bytes()), 3, Code::Period, State::CannotTell);
}

#[test]
fn a_period_that_ends_before_it_begins_is_refused() {
    let mut parts = a_period();
    parts.manifest.period = period(11, 9);
    expect(&check(&parts.bytes()), 1, Code::Scope, State::Fail);
}

#[test]
fn a_tenants_period_is_complete_by_its_own_entries_on_both_sides() {
    let mut parts = our_part();
    parts.manifest.period = period(6, 9);
    parts.proofs.clear();
    parts.withheld = vec![12];
    let report = check(&parts.bytes());
    expect(&report, 0, Code::TenantHeads, State::Pass);
    assert!(report.complete.contains("the tenant's entries 1 to 1"));
    // Without the entry before, nothing shows that the missing one was earlier.
    parts.withheld = vec![3, 12];
    expect(&check(&parts.bytes()), 1, Code::Period, State::Fail);
}

#[test]
fn a_tenants_period_up_to_a_renewal_is_complete_by_its_proof() {
    let mut parts = our_part();
    // Until after its last entry; renewal 13 covers entry 12, which is not before the end.
    parts.manifest.period = period(9, 12);
    expect(&check(&parts.bytes()), 0, Code::TenantHeads, State::Pass);
    parts.manifest.period = period(9, 13);
    parts.withheld = vec![12];
    expect(&check(&parts.bytes()), 1, Code::TenantHeads, State::Fail);
}

#[test]
fn an_entry_with_an_earlier_time_than_the_one_before_is_named() {
    let mut log = two_tenants();
    log.time -= 5000;
    log.event();
    let report = check(&log.export());
    expect(&report, 1, Code::ClockOrder, State::Fail);
}

// ---- questions ----------------------------------------------------------------------------

fn asked(export: &[u8], query: &str) -> Report {
    let options = Options {
        query: Some(Query::parse(query).unwrap()),
        ..Options::default()
    };
    check_with(export, &trust(), options)
}

#[test]
fn a_number_is_provable_if_all_headers_are_there() {
    let report = asked(&two_tenants().export(), "capability=crm.erase,verdict=deny");
    expect(&report, 0, Code::Query, State::Pass);
    let answer = report.query.unwrap();
    assert_eq!(
        (answer.matches, answer.records, answer.provable),
        (8, 8, true)
    );
}

#[test]
fn records_are_found_by_each_key() {
    for (query, matches) in [
        ("capability=crm.erase", 8),
        ("capability=crm.read", 0),
        ("verdict=deny", 8),
        ("code=policy_denied", 8),
        ("code=rate_limited", 0),
        ("mode=network", 8),
        ("mode=destructive", 0),
        ("mode=network,code=rate_limited", 0),
    ] {
        let answer = asked(&two_tenants().export(), query).query.unwrap();
        assert_eq!(answer.matches, matches, "{query}");
    }
}

#[test]
fn zero_matches_count_only_if_that_is_provable() {
    let report = asked(&two_tenants().export(), "verdict=allow");
    expect(&report, 0, Code::Query, State::Pass);
    let mut parts = our_part();
    parts.proofs.clear();
    let report = asked(&parts.bytes(), "verdict=allow");
    expect(&report, 3, Code::Query, State::CannotTell);
}

#[test]
fn a_number_over_withheld_fields_is_not_provable() {
    let mut log = two_tenants();
    log.leaves.iter_mut().for_each(|l| l.disclosures.clear());
    let report = asked(&log.export(), "agent=agent:acme/support@1");
    expect(&report, 3, Code::Query, State::CannotTell);
    assert_eq!(report.query.unwrap().withheld, 8);
}

#[test]
fn an_agent_is_found_by_what_its_intent_discloses() {
    let report = asked(
        &sample(Profile::Tpm).export(),
        "agent=agent:acme/support@1,verdict=allow",
    );
    let answer = report.query.unwrap();
    assert_eq!((answer.matches, answer.withheld), (2, 0));
}

#[test]
fn without_any_record_there_is_nothing_to_ask() {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.renew();
    let report = asked(&log.export(), "verdict=deny");
    expect(&report, 3, Code::Query, State::CannotTell);
}

// ---- several exports ----------------------------------------------------------------------

/// The report on an export beside others that end at these sizes.
fn beside(export: &[u8], sizes: &[u64]) -> Report {
    let options = Options {
        sizes: sizes.to_vec(),
        ..Options::default()
    };
    check_with(export, &trust(), options)
}

fn together(reports: Vec<Report>, asked: &Asked) -> FleetReport {
    judge(reports, &trust(), asked, NOW)
}

fn state(fleet: &FleetReport, code: Code) -> State {
    let name = code.info().name;
    let check = fleet.fleet.checks.iter().find(|c| c.code == name);
    check.unwrap().state
}

/// A second gateway's report: one of ours under another name.
fn another(id: u8, report: &Report) -> Report {
    let mut other = report.clone();
    other.seen.gateway = Some(GatewayId([id; 32]));
    other
}

fn member(gateway: GatewayId, name: &str) -> FleetMember {
    FleetMember {
        gateway,
        name: name.into(),
        from: UnixMillis(START),
        until: None,
        ak_name: None,
    }
}

/// A fleet of this gateway and two others.
fn three(number: u64) -> Asked {
    let statement = FleetStatement {
        fleet: "acme".into(),
        number,
        issued: UnixMillis(START),
        members: vec![
            member(gateway(), "shop-1"),
            member(GatewayId([1; 32]), "shop-2"),
            member(GatewayId([2; 32]), "shop-3"),
        ],
    };
    let bytes = governance().statement(FLEET_TYP, statement.to_bytes());
    Asked {
        statement: Some(("fleet.cose".into(), bytes)),
        ..Asked::default()
    }
}

#[test]
fn an_older_export_is_the_beginning_of_a_newer_one() {
    let older = two_tenants();
    let mut newer = two_tenants();
    theirs(&mut newer, 20);
    newer.renew();
    let sizes = [older.next(), newer.next()];
    let reports = vec![
        beside(&newer.export(), &sizes),
        beside(&older.export(), &sizes),
    ];
    let fleet = together(reports, &Asked::default());
    assert_eq!(state(&fleet, Code::Histories), State::Pass);
    assert_eq!(fleet.exit_code, 0, "{}", fleet.headline);
    assert_eq!(
        fleet.fleet.answer,
        "complete for 1 of 1 gateways of fleet statement 5 of acme"
    );
}

#[test]
fn two_histories_of_one_gateway_are_named_though_each_is_genuine() {
    let one = two_tenants();
    let mut other = Mini::new(Profile::Tpm);
    other.open();
    other.enrol();
    other.renew();
    theirs(&mut other, 1);
    other.renew();
    let sizes = [one.next(), other.next()];
    let reports = vec![
        beside(&one.export(), &sizes),
        beside(&other.export(), &sizes),
    ];
    assert!(reports.iter().all(|r| r.exit_code == 0));
    let fleet = together(reports, &Asked::default());
    assert_eq!(state(&fleet, Code::Histories), State::Fail);
    assert_eq!(fleet.exit_code, 1, "{}", fleet.headline);
}

#[test]
fn exports_that_withhold_where_the_other_ends_cannot_be_compared() {
    let report = check(&two_tenants().export());
    let mut newer = report.clone();
    newer.seen.size += 4;
    let fleet = together(vec![report, newer], &Asked::default());
    assert_eq!(state(&fleet, Code::Histories), State::CannotTell);
    assert_eq!(fleet.exit_code, 3);
}

#[test]
fn a_fleet_is_complete_with_an_export_of_each_gateway() {
    let one = check(&two_tenants().export());
    let reports = vec![another(1, &one), one.clone(), another(2, &one)];
    let fleet = together(reports, &three(7));
    assert_eq!(fleet.exit_code, 0, "{}", fleet.headline);
    assert_eq!(
        fleet.fleet.answer,
        "complete for 3 of 3 gateways of fleet statement 7 of acme"
    );
}

#[test]
fn a_gateway_whose_export_is_kept_back_is_named() {
    let one = check(&two_tenants().export());
    let fleet = together(vec![one.clone(), another(1, &one)], &three(7));
    assert_eq!((fleet.exit_code, fleet.fleet.complete), (3, 2));
    let text = countersign_verify::text::render_fleet(&fleet, Detail::Brief);
    assert!(text.contains("shop-3"), "{text}");
}

#[test]
fn a_gateway_that_no_statement_lists_is_named() {
    let one = check(&two_tenants().export());
    let fleet = together(vec![one.clone(), another(9, &one)], &Asked::default());
    assert_eq!(state(&fleet, Code::Fleet), State::Fail);
    assert_eq!(fleet.exit_code, 1);
}

#[test]
fn an_export_without_a_good_verdict_completes_nothing() {
    let mut parts = our_part();
    parts.manifest.tenant = None;
    let fleet = together(vec![check(&parts.bytes())], &Asked::default());
    assert_eq!((fleet.exit_code, fleet.fleet.complete), (1, 0));
}

#[test]
fn an_export_of_one_tenant_does_not_stand_for_its_gateway() {
    let fleet = together(vec![check(&our_part().bytes())], &Asked::default());
    assert_eq!((fleet.exit_code, fleet.fleet.complete), (3, 0));
}

#[test]
fn an_export_that_ends_before_the_time_that_is_asked_about_is_named() {
    let one = check(&two_tenants().export());
    let until = |until| Asked {
        until: Some(until),
        ..Asked::default()
    };
    let early = together(vec![one.clone()], &until(time(13)));
    assert_eq!(early.exit_code, 0, "{}", early.headline);
    let late = together(vec![one], &until(time(20)));
    assert_eq!((late.exit_code, late.fleet.complete), (3, 0));
}

#[test]
fn an_older_statement_by_hand_is_used_and_flagged() {
    let one = check(&two_tenants().export());
    let reports = vec![another(1, &one), one.clone(), another(2, &one)];
    let fleet = together(reports, &three(4));
    assert_eq!(fleet.fleet.statement, Some(4));
    let check = fleet
        .fleet
        .checks
        .iter()
        .find(|c| c.code == "fleet")
        .unwrap();
    assert_eq!(check.skipped, 1);
}

#[test]
fn a_fleet_statement_of_somebody_else_says_nothing() {
    let mut asked = three(7);
    if let Some((_, bytes)) = &mut asked.statement {
        let last = bytes.len() - 1;
        *bytes.get_mut(last).unwrap() ^= 1;
    }
    let fleet = together(vec![check(&two_tenants().export())], &asked);
    assert_eq!(fleet.exit_code, 3);
}

#[test]
fn a_statement_that_lists_nobody_for_the_time_is_no_success() {
    let asked = Asked {
        until: Some(UnixMillis(START)),
        ..Asked::default()
    };
    let fleet = together(vec![check(&two_tenants().export())], &asked);
    assert_eq!(state(&fleet, Code::Fleet), State::CannotTell);
    assert_eq!((fleet.exit_code, fleet.fleet.listed), (3, 0));
}

/// The report of an export that is limited to a period, and of a log that may be closed.
fn limited(from: u64, until: u64) -> Report {
    let mut report = check(&two_tenants().export());
    report.seen.period = period(from, until);
    report
}

fn between(from: u64, until: u64) -> Asked {
    Asked {
        from: Some(time(from)),
        until: Some(time(until)),
        ..Asked::default()
    }
}

#[test]
fn a_period_covers_a_time_that_lies_in_it_to_both_ends() {
    for ((from, until), complete) in [
        ((3, 10), 1),
        ((4, 9), 1),
        ((2, 10), 0),
        ((3, 11), 0),
        ((2, 11), 0),
    ] {
        let fleet = together(vec![limited(3, 10)], &between(from, until));
        assert_eq!(fleet.fleet.complete, complete, "{from} to {until}");
    }
    let open = Asked {
        from: Some(time(4)),
        ..Asked::default()
    };
    assert_eq!(together(vec![limited(3, 10)], &open).fleet.complete, 0);
}

/// What is said of a gateway that left the fleet, and of its log.
fn left(until: u64, asked: Option<u64>, closed: bool) -> FleetReport {
    let mut report = check(&two_tenants().export());
    report.seen.closed = closed;
    let statement = FleetStatement {
        fleet: "acme".into(),
        number: 7,
        issued: UnixMillis(START),
        members: vec![FleetMember {
            until: Some(time(until)),
            ..member(gateway(), "shop-1")
        }],
    };
    let bytes = governance().statement(FLEET_TYP, statement.to_bytes());
    let asked = Asked {
        statement: Some(("fleet.cose".into(), bytes)),
        until: asked.map(time),
        ..Asked::default()
    };
    together(vec![report], &asked)
}

#[test]
fn a_gateway_that_has_left_may_have_closed_its_log_before() {
    // Its last entry is 13.
    assert_eq!(left(13, None, false).fleet.complete, 1);
    assert_eq!(left(20, None, true).fleet.complete, 1);
    assert_eq!(left(20, None, false).fleet.complete, 0);
    // Up to a time at which it was still to be there, closing the log is not leaving.
    assert_eq!(left(30, Some(20), true).fleet.complete, 0);
}

#[test]
fn a_closed_log_of_a_gateway_that_has_not_left_ends_early() {
    let mut report = check(&two_tenants().export());
    report.seen.closed = true;
    let asked = Asked {
        until: Some(time(20)),
        ..Asked::default()
    };
    assert_eq!(together(vec![report], &asked).fleet.complete, 0);
}

/// Whether something is noted of a statement by hand.
fn flagged(change: impl FnOnce(&mut FleetStatement)) -> bool {
    let one = check(&two_tenants().export());
    let mut statement = FleetStatement {
        fleet: "acme".into(),
        number: 5,
        issued: UnixMillis(START),
        members: vec![member(gateway(), "shop-1")],
    };
    change(&mut statement);
    let bytes = governance().statement(FLEET_TYP, statement.to_bytes());
    let asked = Asked {
        statement: Some(("fleet.cose".into(), bytes)),
        ..Asked::default()
    };
    let fleet = together(vec![one], &asked);
    fleet.fleet.checks.iter().any(|c| c.skipped > 0)
}

#[test]
fn only_an_older_statement_of_the_same_fleet_is_flagged() {
    // The export has statement 5 of acme.
    assert!(flagged(|s| s.number = 4));
    assert!(!flagged(|_| ()));
    assert!(!flagged(|s| s.number = 6));
    assert!(!flagged(|s| (s.fleet, s.number) = ("other".into(), 4)));
    assert!(!flagged(|s| (s.fleet, s.number) = ("other".into(), 6)));
}

#[test]
fn two_statements_of_one_number_are_named_unless_they_are_the_same() {
    let one = check(&two_tenants().export());
    let with = |change: fn(&mut FleetStatement)| {
        let mut other = another(1, &one);
        let mut statement = other.seen.statement.clone().unwrap();
        statement.members.push(member(GatewayId([1; 32]), "shop-2"));
        let mut first = one.clone();
        first.seen.statement = Some(statement.clone());
        change(&mut statement);
        other.seen.statement = Some(statement);
        together(vec![first, other], &Asked::default())
    };
    assert_eq!(state(&with(|_| ()), Code::Fleet), State::Pass);
    let renamed = with(|s| s.issued = UnixMillis(START + 1));
    assert_eq!(state(&renamed, Code::Fleet), State::Fail);
    let newer = with(|s| {
        s.number += 1;
        s.issued = UnixMillis(START + 1);
    });
    assert_eq!(state(&newer, Code::Fleet), State::Pass);
    let foreign = with(|s| s.fleet = "other".into());
    assert_eq!(state(&foreign, Code::Fleet), State::Fail);
}

#[test]
fn an_export_that_starts_late_accuses_nobody_of_two_histories() {
    let mut parts = Parts::of(&two_tenants());
    let whole = parts.bytes();
    parts.manifest.first = 1;
    parts.leaves.remove(0);
    // As many leaves as the late export has been read to, in the whole one.
    let sizes = [parts.manifest.end - 2, parts.manifest.end - 1];
    let reports = vec![beside(&whole, &sizes), beside(&parts.bytes(), &sizes)];
    let fleet = together(reports, &Asked::default());
    assert_eq!(state(&fleet, Code::Histories), State::CannotTell);
    assert_eq!(fleet.reports[0].exit_code, 0);
}

#[test]
fn a_short_export_beside_one_that_starts_late_accuses_nobody() {
    let short = two_tenants();
    let mut long = two_tenants();
    theirs(&mut long, 20);
    long.renew();
    let mut parts = Parts::of(&long);
    parts.manifest.first = 1;
    parts.leaves.remove(0);
    let sizes = [short.next()];
    let reports = vec![
        beside(&short.export(), &sizes),
        beside(&parts.bytes(), &sizes),
    ];
    let fleet = together(reports, &Asked::default());
    assert_eq!(state(&fleet, Code::Histories), State::CannotTell);
}
