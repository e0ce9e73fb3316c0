//! The command: exit codes, output, its own files.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test, and numbers are small"
)]

use crate::common::*;
use countersign_record::binding::Profile;
use countersign_record::digest::CallId;
use countersign_record::entry::EntryRef;
use std::path::PathBuf;
use std::process::{Command, Output};

/// A directory for one test.
fn directory(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::create_dir_all(&path).unwrap();
    path
}

/// Runs the command on a sample in a directory of its own.
fn run(name: &str, more: &[&str]) -> Output {
    let path = directory(name);
    std::fs::write(path.join("log.export"), sample(Profile::Tpm).export()).unwrap();
    std::fs::write(path.join("trust.toml"), trust_text("hardware-tpm")).unwrap();
    let base = [
        "log.export",
        "--trust",
        "trust.toml",
        "--now",
        "2026-02-02T03:40:00Z",
    ];
    Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .current_dir(&path)
        .args(base)
        .args(more)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr)
}

#[test]
fn a_genuine_export_exits_with_0_and_says_so_first() {
    let output = run("genuine", &[]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(text(&output).starts_with("VERIFIED\n"));
}

#[test]
fn the_json_has_a_version_and_the_exit_code() {
    let output = run("json", &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (json["report"].as_u64(), json["exit_code"].as_u64()),
        (Some(1), Some(0))
    );
}

#[test]
fn the_jsons_field_names_are_frozen() {
    let output = run("fields", &["--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let names = |v: &serde_json::Value| {
        v.as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
            .join(" ")
    };
    assert_eq!(
        names(&json),
        "axes checks complete counts depth exit_code first_failure headline not_checked not_proved now parties query reference report self_test subject summary trust verdict verifier"
    );
    assert_eq!(
        names(&json["checks"][0]),
        "code failed findings held need reason section severity skipped state todo unknown"
    );
}

#[test]
fn an_altered_export_exits_with_1() {
    let path = directory("altered");
    let mut export = sample(Profile::Tpm).export();
    let middle = export.len() * 3 / 4;
    export[middle] ^= 1;
    std::fs::write(path.join("altered.export"), export).unwrap();
    std::fs::write(path.join("trust.toml"), trust_text("hardware-tpm")).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .current_dir(&path)
        .args(["altered.export", "--trust=trust.toml", "--quiet"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
}

#[test]
fn without_a_trust_file_it_is_usage() {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .arg("log.export")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4));
}

#[test]
fn an_unknown_option_is_usage() {
    assert_eq!(
        run("option", &["--trust-everything"]).status.code(),
        Some(4)
    );
}

#[test]
fn a_malformed_reference_file_is_usage_and_named() {
    let path = directory("reference");
    std::fs::write(path.join("reference.toml"), "version = 1\nbuilds = []").unwrap();
    let output = run("reference", &["--reference", "reference.toml"]);
    assert_eq!(output.status.code(), Some(4));
    assert!(text(&output).contains("reference.toml"));
}

#[test]
fn receipts_are_read_in_binary_and_in_base64() {
    let log = sample(Profile::Tpm);
    let last = log.leaves.last().unwrap();
    let entry = EntryRef {
        index: last.payload.place.index,
        digest: countersign_record::merkle::entry_digest(&last.bytes),
    };
    let receipt = log.receipt(
        &entry,
        CallId([6; 16]),
        countersign_record::body::Verdict::Deny,
    );
    let path = directory("receipts");
    let line = base64::Engine::encode(&base64::engine::general_purpose::STANDARD, &receipt);
    std::fs::write(path.join("lines"), format!("{line}\n{line}\n")).unwrap();
    std::fs::write(path.join("binary"), [receipt.clone(), receipt].concat()).unwrap();
    let output = run(
        "receipts",
        &["--receipts", "lines", "--receipts", "binary", "--json"],
    );
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let check = json["checks"]
        .as_array()
        .unwrap()
        .iter()
        .find(|c| c["code"] == "receipt-missing")
        .unwrap();
    assert_eq!(
        (output.status.code(), check["held"].as_u64()),
        (Some(0), Some(4))
    );
}

#[test]
fn help_is_no_verdict_and_exits_with_0() {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .arg("--help")
        .output()
        .unwrap();
    assert!(text(&output).contains("exit codes"));
}

#[test]
fn the_self_test_passes_and_prints_its_score_and_the_corpus() {
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .args(["self-test", "--json"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let score = &json["score"];
    assert_eq!(score["cases"], score["agreed"]);
    assert!(score["cases"].as_u64().unwrap() > 400);
    let directory = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors");
    let sums = std::fs::read(format!("{directory}/SHA256SUMS")).unwrap();
    let digest = hex::encode(countersign_record::digest::sha256(&sums));
    assert_eq!(score["corpus"].as_str(), Some(digest.as_str()));
}

#[test]
fn a_corpus_of_ones_own_is_judged_and_a_wrong_expectation_exits_with_1() {
    let path = directory("corpus");
    let export = sample(Profile::Tpm).export();
    let trust = trust_text("hardware-tpm");
    let case = serde_json::json!({
        "name": "mine", "sentence": "A genuine log.", "export": "mine.cbor", "trust": "trust.toml",
        "reference": null, "receipts": null, "checkpoints": [], "now": NOW.0,
        "verdict": "untrusted", "exit_code": 1, "first_failure": "leaves", "states": {}
    });
    let index = serde_json::json!({ "corpus": 1, "licence": "none", "cases": [case] }).to_string();
    let mut sums = String::new();
    for (name, bytes) in [
        ("mine.cbor", export.as_slice()),
        ("trust.toml", trust.as_bytes()),
        ("index.json", index.as_bytes()),
    ] {
        std::fs::write(path.join(name), bytes).unwrap();
        let sum = hex::encode(countersign_record::digest::sha256(bytes));
        sums.push_str(&format!("{sum}  {name}\n"));
    }
    std::fs::write(path.join("SHA256SUMS"), sums).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .current_dir(&path)
        .args(["self-test", "--corpus", "."])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    assert!(text(&output).starts_with("0 of 1 cases as expected\n"));
    assert!(text(&output).contains("the first failure is none, expected leaves"));
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .current_dir(&path)
        .args(["self-test", "--json", "--corpus=."])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", text(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["score"]["cases"], 1);
    assert_eq!(json["disagreements"][0]["case"], "mine");
}

#[test]
fn what_the_self_test_does_not_know_is_usage() {
    for words in [
        &["colour"][..],
        &["--json", "--json"],
        &["--json=1"],
        &["--corpus"],
        &["--corpus=.", "--corpus", "."],
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
            .arg("self-test")
            .args(words)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(4), "{words:?}");
    }
}

#[test]
fn a_directory_that_is_no_corpus_is_usage() {
    let path = directory("no-corpus");
    let output = Command::new(env!("CARGO_BIN_EXE_countersign-verify"))
        .current_dir(&path)
        .args(["self-test", "--corpus=."])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
}

#[test]
fn a_report_says_what_the_program_was_tried_on() {
    let output = run("tried", &["--self-test", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0));
    let score = &json["self_test"];
    assert!(score["cases"].as_u64().is_some_and(|n| n > 400));
    assert_eq!(score["cases"], score["agreed"]);
}

#[test]
fn several_exports_are_judged_by_themselves_and_together() {
    let path = directory("several");
    std::fs::write(path.join("copy.export"), sample(Profile::Tpm).export()).unwrap();
    let output = run("several", &["copy.export", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(json["reports"].as_array().unwrap().len(), 2);
    assert_eq!(
        json["fleet"]["answer"],
        "complete for 1 of 1 gateways of fleet statement 5 of acme"
    );
    let output = run("several", &["copy.export"]);
    let first = text(&output).lines().next().unwrap_or_default().to_owned();
    assert!(
        first.starts_with("VERIFIED: complete for 1 of 1"),
        "{first}"
    );
}

#[test]
fn exports_of_one_log_are_compared_where_the_older_ends() {
    let path = directory("older");
    let mut newer = sample(Profile::Tpm);
    newer.renew();
    std::fs::write(path.join("newer.export"), newer.export()).unwrap();
    let output = run("older", &["newer.export", "--json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let checks = json["fleet"]["checks"].as_array().unwrap();
    let histories = checks.iter().find(|c| c["code"] == "histories").unwrap();
    assert_eq!(histories["state"], "pass", "{}", text(&output));
}

#[test]
fn standard_input_is_one_export_only() {
    let output = run("standard-input", &["-"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
}

#[test]
fn a_question_is_answered_beside_the_verdict() {
    let output = run("question", &["--query", "verdict=deny"]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output));
    assert!(
        text(&output).contains("3 of 6 records: verdict=deny; provable"),
        "{}",
        text(&output)
    );
    let output = run("question", &["--query", "wrong=deny"]);
    assert_eq!(output.status.code(), Some(4), "{}", text(&output));
}

/// Exit code where nothing can be printed.
fn unheard(name: &str, options: &[&str], change: impl FnOnce(&mut Vec<u8>)) -> Option<i32> {
    let path = directory(name);
    let mut export = sample(Profile::Tpm).export();
    change(&mut export);
    std::fs::write(path.join("export.cbor"), export).unwrap();
    std::fs::write(path.join("trust.toml"), trust_text("hardware-tpm")).unwrap();
    let full = std::fs::File::create("/dev/full").unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_countersign-verify"));
    command.current_dir(&path).stdout(full).args(options);
    command.args([
        "export.cbor",
        "--trust",
        "trust.toml",
        "--now",
        "2026-02-02T03:40:00Z",
    ]);
    command.status().unwrap().code()
}

#[test]
fn a_verdict_that_cannot_be_printed_is_no_success_and_a_bad_one_stays_bad() {
    assert_eq!(unheard("unheard", &[], |_| ()), Some(3));
    let altered = |export: &mut Vec<u8>| *export.last_mut().unwrap() ^= 1;
    assert_eq!(unheard("unheard-altered", &[], altered), Some(1));
}

#[test]
fn what_reads_no_entries_answers_nothing_about_them() {
    for asks in [["--query", "code=x"], ["--receipts", "trust.toml"]] {
        let [option, value] = asks;
        let code = unheard("asks", &["--tree-only", option, value], |_| ());
        assert_eq!(code, Some(4), "{option}");
    }
}

#[test]
fn a_file_of_ones_own_is_read_up_to_64_mebibytes() {
    let path = directory("large");
    let file = std::fs::File::create(path.join("large.receipts")).unwrap();
    for (size, refused) in [(64 << 20, false), ((64 << 20) + 1, true)] {
        file.set_len(size).unwrap();
        let said = text(&run("large", &["--receipts", "large.receipts"]));
        let limit = format!("file is {size} bytes, limit is 67108864");
        assert_eq!(said.contains(&limit), refused, "{said}");
        assert!(said.contains("large.receipts: "), "{said}");
    }
}

#[test]
fn of_files_that_may_be_given_several_times_there_are_at_most_1024() {
    for option in ["--checkpoint", "--today"] {
        let given = |times: usize| {
            let words = [option, "missing"].repeat(times);
            text(&run("several-times", &words))
        };
        let refused = format!("{option} is given more than 1024 times");
        assert!(given(1025).contains(&refused));
        let said = given(1024);
        assert!(
            said.contains("missing: ") && !said.contains(&refused),
            "{said}"
        );
    }
}

#[test]
fn one_export_is_judged_as_a_fleet_where_anything_is_asked_of_a_fleet() {
    let path = directory("fleet-of-one");
    std::fs::write(path.join("fleet"), "no statement").unwrap();
    for (asked, fleet) in [
        (&[][..], false),
        (&["--fleet", "fleet"], true),
        (&["--from", "2026-02-02T03:00:00Z"], true),
        (&["--until", "2026-02-02T03:00:00Z"], true),
    ] {
        let output = run("fleet-of-one", &[&["--json"], asked].concat());
        let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(json.get("fleet").is_some(), fleet, "{asked:?}");
    }
}
