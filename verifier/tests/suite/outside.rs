//! Outside clocks: timestamps over checkpoints, and what they say of the times that entries claim.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

#[expect(dead_code, reason = "the tests of tokens use the rest")]
#[path = "../../timestamps/tests/common/mod.rs"]
mod clock;

use crate::common::*;
use clock::{Forge, seq, tlv};
use countersign_record::binding::Profile;
use countersign_record::body::{Mode, Verdict};
use countersign_record::cbor::Bytes;
use countersign_record::checkpoint::Checkpoint;
use countersign_record::digest::UnixMillis;
use countersign_record::export::{ExportWriter, Framer, Timestamp};
use countersign_verify::Options;
use countersign_verify::codes::Code;
use countersign_verify::ledger::State;
use countersign_verify::report::{Report, SeenBy};
use countersign_verify::text::{Detail, render};
use countersign_verify::time;
use countersign_verify::trust::{Trust, TrustError};

const NAME: &str = "Example Time";

/// How long after [`START`], in milliseconds.
#[derive(Clone, Copy)]
struct After(u64);

/// A token over a checkpoint, before it is made.
fn token(note: &str, after: After) -> Forge {
    let checkpoint = Checkpoint::parse(note.as_bytes(), &gateway()).unwrap();
    let text: String = time::format(UnixMillis(START + after.0))
        .chars()
        .filter(char::is_ascii_digit)
        .collect();
    Forge::new(checkpoint.imprint(), &format!("{text}Z"))
}

fn over(note: &str, token: Vec<u8>) -> Timestamp {
    let checkpoint = Checkpoint::parse(note.as_bytes(), &gateway()).unwrap();
    Timestamp {
        size: checkpoint.head().size,
        token: Bytes(token),
    }
}

/// Puts a token over the checkpoint of that number into the parts.
fn stamp(parts: &mut Parts, number: usize, after: After) {
    let note = parts.checkpoints[number].clone();
    let token = token(&note, after).token();
    parts.timestamps.push((note.clone(), over(&note, token)));
}

/// Puts the checkpoint over the first so many entries into its place, stamped.
fn stamp_at(parts: &mut Parts, log: &Mini, size: usize, after: After) {
    let note = checkpoint(&log.leaves[..size]);
    let token = token(&note, after).token();
    parts.timestamps.push((note.clone(), over(&note, token)));
    parts.placed.push((size, note));
}

/// The trust file's end, with the test's authority.
fn authority() -> String {
    let root = clock::issuer("root", "root", clock::ROOT, clock::ROOT).der();
    format!(
        "[[timestamping]]\nname = \"{NAME}\"\nroot = \"{}\"\n",
        hex::encode(root)
    )
}

fn judged_by(parts: &Parts, more: &str) -> Report {
    let trust = Trust::parse((trust_text("hardware-tpm") + more).as_bytes()).unwrap();
    check_with(&parts.bytes(), &trust, Options::default())
}

fn judged(parts: &Parts) -> Report {
    judged_by(parts, &authority())
}

/// The sample, with its checkpoint stamped some time after its start.
fn stamped(after: After) -> Parts {
    let mut parts = Parts::of(&sample(Profile::Tpm));
    stamp(&mut parts, 0, after);
    parts
}

/// Whatever the check says.
fn reason(report: &Report) -> &str {
    let check = report.checks.iter().find(|c| c.code == "outside-time");
    &check.unwrap().reason
}

/// Asserts that this check alone failed, and why.
fn breaks_policy(report: &Report, why: &str) {
    let text = render(report, Detail::Full);
    assert_eq!(
        (report.exit_code, failed(report)),
        (2, vec!["outside-time"]),
        "{text}"
    );
    assert!(reason(report).contains(why), "{}", reason(report));
}

/// Asserts that nothing failed and the check was not made, and why.
fn not_made(report: &Report, why: &str) {
    let text = render(report, Detail::Full);
    assert_eq!(report.exit_code, 0, "{text}");
    assert_eq!(report.state(Code::OutsideTime), State::NotChecked, "{text}");
    assert!(reason(report).contains(why), "{}", reason(report));
}

#[test]
fn an_outside_clock_bounds_the_times_of_what_it_saw() {
    let parts = stamped(After(60_000));
    let report = judged(&parts);
    let text = render(&report, Detail::Full);
    assert_eq!(report.exit_code, 0, "{text}");
    assert_eq!(report.state(Code::OutsideTime), State::Pass, "{text}");
    let entries = parts.manifest.end;
    let expected = SeenBy {
        entries,
        before: START + 60_000,
        by: NAME.into(),
    };
    assert_eq!(report.subject.seen_by, [expected]);
    let said =
        format!("the first {entries} entries existed before 2026-02-02 02:41:00Z, says {NAME}");
    assert!(text.contains(&said), "{text}");
    assert!(text.contains("no later than outside clocks say"), "{text}");
    assert!(
        text.contains("whoever runs the clocks of Example Time"),
        "{text}"
    );
}

#[test]
fn a_checkpoint_within_the_log_is_stamped_at_its_place() {
    let log = sample(Profile::Tpm);
    let mut parts = Parts::of(&log);
    stamp_at(&mut parts, &log, 5, After(60_000));
    let report = judged(&parts);
    assert_eq!(
        report.state(Code::OutsideTime),
        State::Pass,
        "{}",
        reason(&report)
    );
    assert_eq!(report.subject.seen_by[0].entries, 5);
}

#[test]
fn several_authorities_stamp_one_checkpoint() {
    let mut parts = stamped(After(60_000));
    let note = parts.checkpoints[0].clone();
    let mut other = token(&note, After(50_000));
    other.signer = clock::stamper("stamper", "other", clock::SIGNER, 9);
    parts
        .timestamps
        .push((note.clone(), over(&note, other.token())));
    let root = clock::issuer("other", "other", 9, 9).der();
    let more = format!(
        "{}[[timestamping]]\nname = \"Other Time\"\nroot = \"{}\"\n",
        authority(),
        hex::encode(root)
    );
    let report = judged_by(&parts, &more);
    let seen: Vec<_> = report
        .subject
        .seen_by
        .iter()
        .map(|s| (s.before, s.by.as_str()))
        .collect();
    assert_eq!(
        seen,
        [(START + 60_000, NAME), (START + 50_000, "Other Time")]
    );
}

/// The sample with a last entry that claims ten minutes later than the one before.
fn late() -> Mini {
    let mut log = sample(Profile::Tpm);
    log.time = START + 600_000;
    log.event();
    log
}

#[test]
fn an_entry_that_claims_to_be_made_after_the_outside_clock_saw_it_is_named() {
    let log = late();
    let mut parts = Parts::of(&log);
    stamp(&mut parts, 0, After(60_000));
    let last = log.leaves.len() - 1;
    breaks_policy(&judged(&parts), &format!("entry {last}: it claims"));
}

#[test]
fn of_entries_that_claim_one_time_the_first_is_named() {
    let mut log = late();
    log.time -= 1000;
    log.event();
    let mut parts = Parts::of(&log);
    stamp(&mut parts, 0, After(60_000));
    let first = log.leaves.len() - 2;
    breaks_policy(&judged(&parts), &format!("entry {first}: it claims"));
}

#[test]
fn an_entry_after_the_stamped_ones_may_claim_a_later_time() {
    let log = late();
    let mut parts = Parts::of(&log);
    stamp_at(&mut parts, &log, log.leaves.len() - 1, After(60_000));
    assert_eq!(judged(&parts).state(Code::OutsideTime), State::Pass);
}

#[test]
fn clocks_may_differ_by_a_minute() {
    // The last entry claims START + 601 s.
    for (after, state) in [(541_000, State::Pass), (540_000, State::Fail)] {
        let mut parts = Parts::of(&late());
        stamp(&mut parts, 0, After(after));
        assert_eq!(judged(&parts).state(Code::OutsideTime), state, "{after}");
    }
}

#[test]
fn the_tokens_own_accuracy_is_allowed_for() {
    let mut parts = Parts::of(&late());
    let note = parts.checkpoints[0].clone();
    let mut token = token(&note, After(540_000));
    // One second.
    token.accuracy = seq(&[tlv(0x02, &[1])]);
    parts
        .timestamps
        .push((note.clone(), over(&note, token.token())));
    assert_eq!(judged(&parts).state(Code::OutsideTime), State::Pass);
}

#[test]
fn a_token_of_an_authority_that_nobody_named_is_not_checked() {
    let parts = stamped(After(60_000));
    let other = clock::issuer("other", "other", 9, 9).der();
    let more = format!(
        "[[timestamping]]\nname = \"{NAME}\"\nroot = \"{}\"\n",
        hex::encode(other)
    );
    not_made(
        &judged_by(&parts, &more),
        "is of no authority that your trust file names",
    );
}

#[test]
fn without_authorities_no_token_counts() {
    let parts = stamped(After(60_000));
    let report = judged_by(&parts, "");
    not_made(&report, "is of no authority that your trust file names");
    assert!(report.subject.seen_by.is_empty());
}

#[test]
fn without_tokens_times_are_the_gateways_claims() {
    let report = judged(&Parts::of(&sample(Profile::Tpm)));
    not_made(&report, "no outside clock stands behind the times");
    let text = "when things happened: times are the gateway's claims";
    assert!(report.not_proved.iter().any(|t| t == text));
}

#[test]
fn a_token_of_a_stranger_beside_a_good_one_is_counted() {
    let mut parts = stamped(After(60_000));
    let note = parts.checkpoints[0].clone();
    let mut other = token(&note, After(60_000));
    other.signer = clock::stamper("stamper", "other", clock::SIGNER, 9);
    parts
        .timestamps
        .push((note.clone(), over(&note, other.token())));
    let report = judged(&parts);
    assert_eq!(report.state(Code::OutsideTime), State::Pass);
    let said = "outside-time: 1 times: the timestamp over";
    assert!(
        report.not_checked.iter().any(|t| t.contains(said)),
        "{:?}",
        report.not_checked
    );
}

#[test]
fn a_token_that_was_moved_from_another_checkpoint_is_refused() {
    let log = sample(Profile::Tpm);
    let mut parts = Parts::of(&log);
    let note = parts.checkpoints[0].clone();
    let shorter = checkpoint(&log.leaves[..4]);
    let token = token(&shorter, After(60_000)).token();
    parts.timestamps.push((note.clone(), over(&note, token)));
    breaks_policy(&judged(&parts), "over other bytes than these");
}

#[test]
fn a_timestamp_that_says_another_size_than_its_checkpoint_is_refused() {
    let mut parts = stamped(After(60_000));
    parts.timestamps[0].1.size -= 1;
    breaks_policy(&judged(&parts), "stands after a checkpoint over");
}

#[test]
fn a_token_with_a_changed_byte_in_its_signature_is_refused() {
    let mut parts = stamped(After(60_000));
    *parts.timestamps[0].1.token.0.last_mut().unwrap() ^= 1;
    breaks_policy(&judged(&parts), "the signature of the token does not hold");
}

#[test]
fn bytes_that_are_no_token_are_refused() {
    let mut parts = stamped(After(60_000));
    parts.timestamps[0].1.token = Bytes(vec![0x30, 0x80, 0, 0]);
    breaks_policy(&judged(&parts), "not a timestamp token");
}

#[test]
fn a_token_over_a_checkpoint_that_other_keys_signed_says_nothing_of_this_log() {
    let mut parts = stamped(After(60_000));
    parts.checkpoints[0] = parts.checkpoints[0].replace("/epoch ", "/other ");
    parts.timestamps[0].0 = parts.checkpoints[0].clone();
    let report = judged(&parts);
    assert_eq!(report.first_failure, Some("checkpoint-signatures"));
    assert_eq!(report.state(Code::OutsideTime), State::NotChecked);
    assert!(
        reason(&report).contains("not shown to be this log's at its place"),
        "{}",
        reason(&report)
    );
}

#[test]
fn a_token_over_a_checkpoint_of_another_root_says_nothing_of_this_log() {
    let log = sample(Profile::Tpm);
    let mut parts = Parts::of(&log);
    let mut other = log.leaves.clone();
    other[3].bytes = log.leaves[4].bytes.clone();
    parts.checkpoints[0] = checkpoint(&other);
    stamp(&mut parts, 0, After(60_000));
    let report = judged(&parts);
    assert_eq!(report.first_failure, Some("root"));
    assert_eq!(report.state(Code::OutsideTime), State::NotChecked);
}

#[test]
fn a_token_over_a_checkpoint_that_stands_elsewhere_says_nothing() {
    let log = sample(Profile::Tpm);
    let mut parts = Parts::of(&log);
    // One that is not compared, and one whose root is known: what the last renewal covers.
    for size in [4, log.leaves.len() - 2] {
        stamp_at(&mut parts, &log, size, After(60_000));
        parts.placed.pop();
        parts.checkpoints.insert(0, checkpoint(&log.leaves[..size]));
    }
    not_made(&judged(&parts), "not shown to be this log's at its place");
}

#[test]
fn a_token_after_a_checkpoint_that_cannot_be_read_is_over_nothing() {
    let mut parts = stamped(After(60_000));
    // A good one stands before it.
    parts.checkpoints.push("no checkpoint".into());
    parts.timestamps[0].0 = "no checkpoint".into();
    let report = judged(&parts);
    assert_eq!(report.first_failure, Some("checkpoint-signatures"));
    assert_eq!(report.state(Code::OutsideTime), State::NotChecked);
}

#[test]
fn a_timestamp_that_follows_no_checkpoint_is_out_of_place() {
    let parts = stamped(After(60_000));
    let (mut writer, mut bytes) = ExportWriter::start(&parts.manifest);
    bytes.extend(writer.entry(&parts.leaves[0].0));
    bytes.extend(writer.timestamp(&parts.timestamps[0].1));
    bytes.extend(writer.finish());
    let report = check(&bytes);
    assert_eq!(report.first_failure, Some("framing"));
}

/// Where the trailer starts.
fn trailer(export: &[u8]) -> usize {
    let mut framer = Framer::new();
    framer.push(export);
    let mut offset = 0;
    while let Some(frame) = framer.next_frame().unwrap() {
        offset = frame.offset;
    }
    usize::try_from(offset).unwrap()
}

#[test]
fn a_timestamp_that_is_taken_out_is_missed_by_the_trailer() {
    let with = stamped(After(60_000));
    let mut without = with.clone();
    without.timestamps.clear();
    let (with, without) = (with.bytes(), without.bytes());
    // The trailer of the one after the items of the other.
    let items = &without[..trailer(&without)];
    let report = check(&[items, &with[trailer(&with)..]].concat());
    assert_eq!(failed(&report), ["trailer"]);
}

// ---- how long nobody outside may have seen the log ---------------------------------------

fn within(parts: &Parts, seconds: u64) -> Report {
    let more = format!("[log]\nmax_unseen_seconds = {seconds}\n{}", authority());
    judged_by(parts, &more)
}

#[test]
fn a_log_without_tokens_is_longer_than_may_be_unseen() {
    let parts = Parts::of(&late());
    breaks_policy(
        &within(&parts, 599),
        "no outside clock saw the log from here to its end",
    );
    // It lasted exactly 600 s.
    not_made(
        &within(&parts, 600),
        "no outside clock stands behind the times",
    );
}

#[test]
fn a_token_that_came_too_late_leaves_its_entries_unseen() {
    let mut parts = Parts::of(&late());
    stamp(&mut parts, 0, After(1_800_000));
    // The first entry claims START + 1 s.
    breaks_policy(
        &within(&parts, 1798),
        "entry 0: no outside clock saw the log for 30 min",
    );
    assert_eq!(within(&parts, 1799).exit_code, 0);
}

#[test]
fn a_tail_that_no_token_covers_is_unseen() {
    let mut log = sample(Profile::Tpm);
    let size = log.leaves.len() - 2;
    log.time = START + 900_000;
    log.event();
    let mut parts = Parts::of(&log);
    stamp_at(&mut parts, &log, size, After(60_000));
    breaks_policy(
        &within(&parts, 600),
        &format!("entry {size}: no outside clock saw"),
    );
    stamp(&mut parts, 0, After(960_000));
    // Seen to the end, but the entries after the first token only after a quarter of an hour.
    breaks_policy(
        &within(&parts, 900),
        &format!("entry {size}: no outside clock saw"),
    );
    assert_eq!(within(&parts, 960).exit_code, 0);
}

#[test]
fn an_earlier_token_over_more_entries_counts_for_fewer() {
    let log = sample(Profile::Tpm);
    let size = log.leaves.len() - 2;
    let mut parts = Parts::of(&log);
    stamp_at(&mut parts, &log, size, After(1_800_000));
    stamp(&mut parts, 0, After(60_000));
    assert_eq!(within(&parts, 60).exit_code, 0);
}

#[test]
fn time_in_which_the_gateway_was_off_is_not_unseen() {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.close();
    let first = log.leaves.len();
    let night = 3_000_000;
    log.time += night;
    log.open();
    log.decide(&call(1, Mode::Network), Verdict::Deny, None);
    log.renew();
    let mut parts = Parts::of(&log);
    stamp_at(&mut parts, &log, first, After(30_000));
    stamp(&mut parts, 0, After(night + 30_000));
    let report = within(&parts, 60);
    assert_eq!(report.exit_code, 0, "{}", render(&report, Detail::Full));
}

// ---- whom an auditor names ---------------------------------------------------------------

fn trust_of(name: &str, root: &str) -> Result<Trust, TrustError> {
    let more =
        format!("version = 1\n[[timestamping]]\nname = \"{name}\"\nroot = \"\"\"{root}\"\"\"");
    Trust::parse(more.as_bytes())
}

fn pem(der: &[u8]) -> String {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let digits = STANDARD.encode(der);
    let lines: Vec<_> = digits
        .as_bytes()
        .chunks(64)
        .map(|l| std::str::from_utf8(l).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

#[test]
fn a_root_is_read_in_pem_and_in_hexadecimal() {
    let der = clock::issuer("root", "root", clock::ROOT, clock::ROOT).der();
    let one = trust_of(NAME, &pem(&der)).unwrap();
    let other = trust_of(NAME, &hex::encode(&der)).unwrap();
    assert_eq!(one.clocks, other.clocks);
    assert_eq!(
        (one.clocks.authorities().len(), one.clocks.name(0)),
        (1, NAME)
    );
}

#[test]
fn a_root_that_may_not_issue_is_refused() {
    let der = clock::stamper("stamper", "root", clock::SIGNER, clock::ROOT).der();
    assert!(matches!(
        trust_of(NAME, &pem(&der)),
        Err(TrustError::Root { .. })
    ));
}

#[test]
fn two_certificates_are_no_root() {
    let der = clock::issuer("root", "root", clock::ROOT, clock::ROOT).der();
    let two = pem(&der).repeat(2);
    assert!(matches!(
        trust_of(NAME, &two),
        Err(TrustError::Value { .. })
    ));
}

#[test]
fn an_authority_needs_a_name() {
    let der = clock::issuer("root", "root", clock::ROOT, clock::ROOT).der();
    assert!(matches!(
        trust_of(" ", &pem(&der)),
        Err(TrustError::Value { .. })
    ));
}
