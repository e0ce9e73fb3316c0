//! Exports that are large, slow to come, or only looked at: progress, memory, interruption, many of one thing, the tree alone.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::body::{Event, EventKind, Mode, Verdict};
use countersign_record::cbor::Bytes;
use countersign_record::commitment::{Disclosure, Field, commit};
use countersign_record::digest::{CallId, RunId, Salt, TenantId};
use countersign_record::entry::Body;
use countersign_record::export::{ExportWriter, Timestamp};
use countersign_verify::codes::Code;
use countersign_verify::ledger::State;
use countersign_verify::report::Report;
use countersign_verify::{Depth, Options};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

const NOW_TEXT: &str = "2026-02-02T03:40:00Z";

/// A directory for one test, with a trust file.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR"))
        .join("scale")
        .join(name);
    let _ = std::fs::remove_dir_all(&path);
    std::fs::create_dir_all(&path).unwrap();
    std::fs::write(path.join("trust.toml"), trust_text("hardware-tpm")).unwrap();
    path
}

fn command(directory: &PathBuf, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-verify"));
    command
        .current_dir(directory)
        .args(["--trust", "trust.toml", "--now", NOW_TEXT])
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

// Progress.

#[test]
fn progress_that_is_asked_for_is_shown_beside_the_report() {
    let path = directory("progress");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    let output = command(&path, &["log.export", "--progress"])
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
    assert!(said.starts_with("checking: "), "{said}");
    assert!(
        said.lines().all(|l| l.ends_with("; no verdict yet")),
        "{said}"
    );
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .starts_with("VERIFIED\n")
    );
}

#[test]
fn nobody_who_reads_a_pipe_sees_progress() {
    let path = directory("silent");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    let output = command(&path, &["log.export"]).output().unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
}

// A report in a file.

#[test]
fn a_report_in_a_file_is_the_json_that_would_be_printed() {
    let path = directory("out");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    let output = command(&path, &["log.export", "--json", "--out", "report.json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0));
    assert_eq!(
        std::fs::read(path.join("report.json")).unwrap(),
        output.stdout
    );
}

#[test]
fn a_report_replaces_no_file() {
    let path = directory("taken");
    let export = sample(Profile::Tpm).export();
    std::fs::write(path.join("log.export"), &export).unwrap();
    let output = command(&path, &["log.export", "--out", "log.export"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
    assert_eq!(std::fs::read(path.join("log.export")).unwrap(), export);
}

#[test]
fn a_name_that_no_file_can_have_is_refused_before_anything_is_checked() {
    let path = directory("name");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    let output = command(&path, &["log.export", "--out", "trust.toml/report.json"])
        .output()
        .unwrap();
    assert_eq!((output.status.code(), output.stdout), (Some(4), vec![]));
}

#[test]
fn a_report_that_cannot_be_written_is_no_success() {
    let path = directory("nowhere");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    let output = command(&path, &["log.export", "--out", "missing/report.json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(3));
}

// Interruption.

/// A run that waits for the rest of its export; it has said that it waits.
fn waiting(directory: &PathBuf) -> (Child, String) {
    let mut child = command(
        directory,
        &["-", "--progress", "--json", "--out", "report.json"],
    )
    .spawn()
    .unwrap();
    let export = sample(Profile::Tpm).export();
    let half = export.get(..export.len() / 2).unwrap();
    child.stdin.as_mut().unwrap().write_all(half).unwrap();
    let mut said = String::new();
    let mut reader = BufReader::new(child.stderr.take().unwrap());
    reader.read_line(&mut said).unwrap();
    child.stderr = Some(reader.into_inner());
    (child, said)
}

fn interrupted(name: &str, signal: &str, number: i32) {
    let path = directory(name);
    let (mut child, said) = waiting(&path);
    let sent = Command::new("kill")
        .args([signal, &child.id().to_string()])
        .status()
        .unwrap();
    assert!(sent.success());
    let status = child.wait().unwrap();
    let mut printed = String::new();
    child.stdout.unwrap().read_to_string(&mut printed).unwrap();
    // A shell shows 128 and the number of the signal, which is no verdict.
    assert_eq!((status.code(), status.signal()), (None, Some(number)));
    assert_eq!(printed, "");
    assert!(said.ends_with("; no verdict yet\n"), "{said}");
    let left: Vec<_> = std::fs::read_dir(&path)
        .unwrap()
        .map(|f| f.unwrap().file_name())
        .collect();
    assert_eq!(left, ["trust.toml"]);
}

#[test]
fn an_interrupted_run_leaves_no_report_and_no_success() {
    interrupted("int", "-INT", 2);
}

#[test]
fn a_terminated_run_leaves_no_report_and_no_success() {
    interrupted("term", "-TERM", 15);
}

#[test]
fn progress_follows_what_was_read() {
    let path = directory("progress");
    let mut child = command(&path, &["-", "--progress"]).spawn().unwrap();
    let export = sample(Profile::Tpm).export();
    let half = export.get(..export.len() / 2).unwrap();
    child.stdin.as_mut().unwrap().write_all(half).unwrap();
    let said = BufReader::new(child.stderr.take().unwrap()).lines();
    // It says at regular times how far it is; what was written has arrived by one of them.
    let mut said = said.map_while(Result::ok).take(100);
    let found = said.find(|l| l.starts_with("checking: 1 MiB") && !l.contains(", 0 entries,"));
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(found.is_some());
}

// Memory.

/// Size of one disclosed value, in bytes (256 KiB), and how many there are: 128 MiB together.
const VALUE_BYTES: usize = 256 * 1024;
const VALUES: u8 = 128;
const TIMES: usize = 4;

fn value(number: u8) -> Vec<u8> {
    vec![number; VALUE_BYTES]
}

/// Checks an export of 128 MiB with at most so many KiB of memory; what it prints, if it comes that far.
fn with_memory(name: &str, kibibytes: u32) -> (Option<i32>, String) {
    let path = directory(name);
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    let small = log.leaves.len();
    for number in (0..VALUES).cycle().take(usize::from(VALUES) * TIMES) {
        let detail = commit(Field::EventDetail, Salt([9; 16]), &value(number));
        let event = Event {
            kind: EventKind::Unauthenticated,
            count: 1,
            detail: Some(detail),
        };
        log.push(Body::Event(event), None, vec![]);
    }
    log.renew();
    let parts = Parts::of(&log);
    let program = env!("CARGO_BIN_EXE_countersign-verify");
    let limited = format!("ulimit -d {kibibytes}; exec \"$0\" \"$@\"");
    let mut child = Command::new("sh")
        .args(["-c", &limited, program])
        .args([
            "-",
            "--trust",
            "trust.toml",
            "--now",
            NOW_TEXT,
            "--threads",
            "2",
        ])
        .current_dir(&path)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut to = child.stdin.take().unwrap();
    let feeder = std::thread::spawn(move || {
        let (mut writer, start) = ExportWriter::start(&parts.manifest);
        // A program that was ended for want of memory reads no further.
        to.write_all(&start).ok()?;
        let (front, evidence) = parts.placed_artifacts();
        for artifact in front {
            to.write_all(&writer.artifact(artifact)).ok()?;
        }
        for (number, (bytes, _)) in parts.leaves.iter().enumerate() {
            for (_, artifact) in evidence.iter().filter(|(at, _)| *at == number) {
                to.write_all(&writer.artifact(artifact)).ok()?;
            }
            to.write_all(&writer.entry(bytes)).ok()?;
            let event = number.checked_sub(small);
            let event = event.filter(|n| *n < usize::from(VALUES) * TIMES);
            if let Some(number) = event {
                let number = u8::try_from(number % usize::from(VALUES)).unwrap();
                let disclosure = Disclosure {
                    field: Field::EventDetail,
                    salt: Salt([9; 16]),
                    value: Bytes(value(number)),
                };
                to.write_all(&writer.disclosures(&[disclosure])).ok()?;
            }
        }
        for checkpoint in &parts.checkpoints {
            to.write_all(&writer.checkpoint(checkpoint.as_bytes()))
                .ok()?;
        }
        to.write_all(&writer.finish()).ok()
    });
    let output = child.wait_with_output().unwrap();
    feeder.join().unwrap();
    (
        output.status.code(),
        String::from_utf8(output.stdout).unwrap(),
    )
}

#[test]
fn an_export_of_twice_its_memory_is_verified() {
    let (code, printed) = with_memory("memory", 64 * 1024);
    assert_eq!(code, Some(0), "{printed}");
}

/// How many items there are, of 2 MiB each: fewer than may wait for the entries before them.
const ITEMS: usize = 60;
const ITEM_BYTES: usize = 2 << 20;

/// Which check fails first in an export of 120 MiB, checked with at most 64 MiB of memory.
fn first_failure_with_little_memory(name: &str, parts: &Parts) -> String {
    let path = directory(name);
    std::fs::write(path.join("log.export"), parts.bytes()).unwrap();
    let output = Command::new("sh")
        .args(["-c", "ulimit -d 65536; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_countersign-verify"))
        .args(["log.export", "--trust", "trust.toml", "--now", NOW_TEXT])
        .args(["--threads", "2", "--json"])
        .current_dir(&path)
        .output()
        .unwrap();
    std::fs::remove_dir_all(&path).unwrap();
    assert_eq!(String::from_utf8(output.stderr).unwrap(), "");
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let failed = json.get("first_failure").and_then(|f| f.as_str());
    failed.unwrap().to_owned()
}

#[test]
fn what_is_too_large_to_be_a_checkpoint_does_not_wait_in_memory() {
    let mut parts = Parts::of(&sample(Profile::Tpm));
    let large = std::iter::repeat_n("x".repeat(ITEM_BYTES), ITEMS);
    parts.checkpoints.extend(large);
    let failed = first_failure_with_little_memory("checkpoints", &parts);
    assert_eq!(failed, "checkpoint-signatures");
}

#[test]
fn what_is_too_large_to_be_a_timestamp_does_not_wait_in_memory() {
    let mut parts = Parts::of(&sample(Profile::Tpm));
    let note = parts.checkpoints[0].clone();
    for _ in 0..ITEMS {
        let token = Bytes(vec![0x30; ITEM_BYTES]);
        let size = parts.manifest.end;
        let timestamp = Timestamp { size, token };
        parts.timestamps.push((note.clone(), timestamp));
    }
    let failed = first_failure_with_little_memory("timestamps", &parts);
    assert_eq!(failed, "outside-time");
}

#[test]
fn a_system_that_gives_no_thread_gets_a_report_all_the_same() {
    let path = directory("threads");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    // Room for no stack of a thread.
    let output = Command::new("sh")
        .args(["-c", "ulimit -d 1024; exec \"$0\" \"$@\""])
        .arg(env!("CARGO_BIN_EXE_countersign-verify"))
        .args(["log.export", "--trust", "trust.toml", "--now", NOW_TEXT])
        .args(["--threads", "2"])
        .current_dir(&path)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{said}");
}

// Many of one thing.

#[test]
fn each_checkpoint_is_of_the_epoch_that_its_last_entry_is_in() {
    let log = sample(Profile::Tpm);
    let mut parts = Parts::of(&log);
    let earlier = (1..log.leaves.len()).map(|n| checkpoint(&log.leaves[..n]));
    parts.checkpoints.splice(0..0, earlier);
    let report = check(&parts.bytes());
    assert_eq!(failed(&report), Vec::<&str>::new());
    assert_eq!(report.state(Code::CheckpointSignatures), State::Pass);
}

#[test]
fn a_checkpoint_of_the_epoch_after_its_last_entry_is_not_signed() {
    let mut log = sample(Profile::Tpm);
    let opened = log.leaves.iter().position(|l| l.epoch == 2).unwrap();
    log.leaves[opened - 1].epoch = 2;
    let mut parts = Parts::of(&log);
    parts
        .checkpoints
        .insert(0, checkpoint(&log.leaves[..opened]));
    let report = check(&parts.bytes());
    assert_eq!(failed(&report), ["checkpoint-signatures"]);
}

/// A log of many tenants, each new at a renewal of its own; then half of them come once more.
fn tenants(count: u8) -> Mini {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    for number in (0..count).chain(0..count / 2) {
        log.tenant = TenantId([number.wrapping_mul(91); 16]);
        let call = Call {
            id: CallId([number; 16]),
            run: RunId([number; 16]),
            ..call(1, Mode::Network)
        };
        log.decide(&call, Verdict::Deny, None);
        log.renew();
    }
    log
}

#[test]
fn the_last_numbers_of_many_tenants_are_compared_at_each_renewal() {
    let report = check(&tenants(60).export());
    assert_eq!(report.state(Code::TenantHeads), State::Pass);
}

// The tree alone.

fn tree(export: &[u8]) -> Report {
    let options = Options {
        threads: 2,
        depth: Depth::TreeOnly,
        ..Options::default()
    };
    check_with(export, &trust(), options)
}

#[test]
fn the_tree_alone_is_labelled_first_and_is_no_verdict() {
    let report = tree(&sample(Profile::Tpm).export());
    assert_eq!(report.exit_code, 3);
    assert!(
        report
            .headline
            .starts_with("TREE ONLY: CANNOT BE EVALUATED (signatures)"),
        "{}",
        report.headline
    );
    assert_eq!(failed(&report), Vec::<&str>::new());
    assert_eq!(report.state(Code::Root), State::Pass);
    assert_eq!(report.state(Code::Evidence), State::Pass);
    assert_eq!(report.state(Code::Renewals), State::Pass);
    assert_eq!(report.state(Code::Settlement), State::NotChecked);
}

#[test]
fn the_tree_alone_has_the_root_and_the_count_of_the_full_check() {
    let export = sample(Profile::Tpm).export();
    let (full, tree) = (check(&export), tree(&export));
    assert_eq!(
        (full.subject.root, full.counts.entries),
        (tree.subject.root, tree.counts.entries)
    );
}

#[test]
fn the_command_says_in_text_and_json_that_it_saw_the_tree_alone() {
    let path = directory("tree");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    let text = command(&path, &["log.export", "--tree-only"])
        .output()
        .unwrap();
    assert_eq!(text.status.code(), Some(3));
    assert!(
        String::from_utf8(text.stdout)
            .unwrap()
            .starts_with("TREE ONLY: ")
    );
    let json = command(&path, &["log.export", "--tree-only", "--json"])
        .output()
        .unwrap();
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["depth"], "tree-only");
}

#[test]
fn the_tree_alone_misses_every_single_entry_that_is_taken_out() {
    let parts = Parts::of(&sample(Profile::Tpm));
    for number in 0..parts.leaves.len() {
        let mut parts = parts.clone();
        parts.leaves.remove(number);
        assert_eq!(tree(&parts.bytes()).exit_code, 1, "entry {number}");
    }
}

#[test]
fn the_tree_alone_finds_a_call_that_was_changed() {
    let mut log = Mini::new(Profile::Tpm);
    log.open();
    log.enrol();
    log.decide(&call(1, Mode::Network), Verdict::Deny, None);
    log.renew();
    let mut parts = Parts::of(&log);
    let (bytes, _) = parts.leaves.get_mut(2).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    let report = tree(&parts.bytes());
    assert_eq!(report.exit_code, 1);
    assert!(
        report
            .headline
            .starts_with("TREE ONLY: ALTERED OR UNTRUSTED")
    );
}

#[test]
fn receipts_need_the_entries_and_not_the_tree_alone() {
    let path = directory("both");
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    let output = command(&path, &["log.export", "--tree-only", "--receipts", "x"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
}
