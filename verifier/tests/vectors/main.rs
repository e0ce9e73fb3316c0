//! The corpus: makes every case, compares the files with what it makes, and the verdicts with what is expected.
//!
//! The verdict, the first failure and the states that are the point of a case are written by hand, in
//! the lists beside this file; the other states are this verifier's, kept in the index and reviewed
//! as code. `UPDATE_GOLDEN=1` rewrites `vectors/` and the list of what the program carries with it.

#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    clippy::too_many_lines,
    unreachable_pub,
    reason = "test code: a panic is a failed test, numbers are small, lists are long"
)]

#[expect(
    dead_code,
    reason = "shared by several programs, each of which uses a part"
)]
#[path = "../common/mod.rs"]
mod common;

#[expect(dead_code, reason = "the tests of tokens use the rest")]
#[path = "../../timestamps/tests/common/mod.rs"]
mod clock;

mod bytes;
mod calls;
mod case;
mod clocks;
mod handover;
mod hardware;
mod log;
mod others;
mod parts;
mod platform;
mod privacy;
mod stops;

use case::Case;
use countersign_record::digest::sha256;
use countersign_verify::codes::Code;
use countersign_verify::ledger::State;
use countersign_verify::report::Report;
use countersign_verify::selftest::{CaseEntry, Index, SUMS, run};
use countersign_verify::text::{Detail, is_hostile, render};
use countersign_verify::trust::{Reference, Trust};
use countersign_verify::{Options, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A case with the report on it.
type Judged = (Case, Report);

/// The cases of each file, judged once for all tests, and a test of each file's.
macro_rules! groups {
    ($($cases:ident of $group:ident: fn $test:ident),* $(,)?) => {
        $(
            static $cases: LazyLock<Vec<Judged>> = LazyLock::new(|| {
                let judged = |case| {
                    let report = report(&case, 1);
                    (case, report)
                };
                $group::cases().into_iter().map(judged).collect()
            });

            #[test]
            fn $test() {
                judged_as_expected(&$cases);
            }
        )*

        fn cases() -> impl Iterator<Item = &'static Judged> {
            let groups: Vec<&'static [Judged]> = vec![$($cases.as_slice()),*];
            groups.into_iter().flatten()
        }
    };
}

groups! {
    HARDWARE of hardware: fn cases_of_hardware_are_judged_as_their_author_expected,
    PLATFORM of platform: fn cases_of_platforms_are_judged_as_their_author_expected,
    BYTES of bytes: fn cases_of_bytes_are_judged_as_their_author_expected,
    LOG of log: fn cases_of_logs_are_judged_as_their_author_expected,
    CALLS of calls: fn cases_of_calls_are_judged_as_their_author_expected,
    PARTS of parts: fn cases_of_parts_are_judged_as_their_author_expected,
    OTHERS of others: fn cases_of_others_are_judged_as_their_author_expected,
    CLOCKS of clocks: fn cases_of_clocks_are_judged_as_their_author_expected,
    HANDOVER of handover: fn cases_of_handovers_are_judged_as_their_author_expected,
    PRIVACY of privacy: fn cases_of_privacy_are_judged_as_their_author_expected,
    STOPS of stops: fn cases_of_stops_are_judged_as_their_author_expected,
}

fn report(case: &Case, threads: usize) -> Report {
    let reference = case
        .reference
        .as_ref()
        .map(|(_, text)| Reference::parse(text.as_bytes()).unwrap());
    let options = Options {
        reference,
        receipts: case.receipts.clone(),
        checkpoints: case
            .checkpoints
            .iter()
            .map(|note| (String::new(), note.clone().into_bytes()))
            .collect(),
        threads,
        ..Options::default()
    };
    let trust = Trust::parse(case.trust.1.as_bytes()).unwrap();
    verify(case.export.as_slice(), &trust, &options, case.now)
}

fn judged_as_expected(cases: &[Judged]) {
    let mut wrong = Vec::new();
    for (case, report) in cases {
        let found = (report.exit_code, report.first_failure);
        if found != case.expected {
            let shown = render(report, Detail::Brief);
            wrong.push(format!(
                "{}: {found:?}, expected {:?}\n{shown}",
                case.name, case.expected
            ));
        }
        for (code, state) in &case.states {
            let found = report.state(Code::from_name(code).unwrap());
            if found != *state {
                wrong.push(format!(
                    "{}: {code} is {found:?}, expected {state:?}",
                    case.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn no_case_depends_on_the_number_of_threads() {
    for (case, one) in cases() {
        assert_eq!(*one, report(case, 3), "{}", case.name);
    }
}

#[test]
fn no_case_is_printed_with_what_could_mislead_a_terminal() {
    for (case, report) in cases() {
        let printed = render(report, Detail::Full) + &report.to_json().unwrap();
        assert!(
            !printed.chars().any(|c| c != '\n' && is_hostile(c)),
            "{}",
            case.name
        );
        // Whatever a name says, the verdict is the first line, and no other line is one.
        let verified = render(report, Detail::Full)
            .lines()
            .filter(|l| *l == "VERIFIED")
            .count();
        assert_eq!(
            verified,
            usize::from(case.expected.0 == 0 && report.headline == "VERIFIED"),
            "{}",
            case.name
        );
    }
}

#[test]
fn names_of_cases_are_words_and_stand_once() {
    let mut seen = BTreeSet::new();
    for (case, _) in cases() {
        let word = case
            .name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        assert!(word && seen.insert(case.name), "{}", case.name);
        assert!(case.sentence.ends_with('.'), "{}", case.name);
    }
}

/// Checks that no case makes fail: nothing in this version can.
const NEVER_FAIL: [&str; 4] = ["trust-anchor", "recovery-key", "extensions", "receipts"];

/// Checks that a case of one export and no question does not call for; `tests/completeness.rs` plays them.
const OF_NO_CASE: [&str; 3] = ["query", "fleet", "histories"];

#[test]
fn every_check_passes_in_one_case_and_fails_in_another() {
    let mut passes = BTreeSet::new();
    let mut fails = BTreeSet::new();
    let mut named = BTreeSet::new();
    for (case, report) in cases() {
        for check in &report.checks {
            match check.state {
                State::Pass => passes.insert(check.code),
                State::Fail => fails.insert(check.code),
                State::NotChecked | State::CannotTell => false,
            };
        }
        named.extend(case.states.iter().map(|(code, _)| *code));
    }
    let codes = Code::ALL.iter().map(|c| c.info().name);
    for code in codes.filter(|c| !OF_NO_CASE.contains(c)) {
        assert!(passes.contains(code), "{code} passes in no case");
        assert!(named.contains(code), "{code} is the point of no case");
        assert_eq!(
            fails.contains(code),
            !NEVER_FAIL.contains(&code),
            "{code} fails"
        );
    }
}

// ---- files -------------------------------------------------------------------------------

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("vectors")
}

/// Every generated file of the corpus, by its name below `vectors/`.
fn files() -> BTreeMap<String, Vec<u8>> {
    let mut files: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    let mut put = |name: String, bytes: Vec<u8>| {
        let before = files.insert(name.clone(), bytes.clone());
        assert!(before.is_none_or(|b| b == bytes), "{name} is two files");
        name
    };
    let mut entries = Vec::new();
    for (case, report) in cases() {
        let states = report
            .checks
            .iter()
            .filter(|c| c.state != State::Pass)
            .map(|c| (c.code.to_owned(), c.state))
            .collect();
        let (trust, text) = &case.trust;
        let trust = put(format!("trust/{trust}.toml"), text.clone().into_bytes());
        let reference = case
            .reference
            .as_ref()
            .map(|(name, text)| put(format!("reference/{name}.toml"), text.clone().into_bytes()));
        let receipts = (!case.receipts.is_empty()).then(|| {
            put(
                format!("receipts/{}.cbor", case.name),
                case.receipts.concat(),
            )
        });
        let checkpoints = (0..)
            .zip(&case.checkpoints)
            .map(|(number, note)| {
                let name = format!("checkpoints/{}-{number}.note", case.name);
                put(name, note.clone().into_bytes())
            })
            .collect();
        entries.push(CaseEntry {
            name: case.name.to_owned(),
            sentence: case.sentence.to_owned(),
            export: put(format!("cases/{}.cbor", case.name), case.export.clone()),
            trust,
            reference,
            receipts,
            checkpoints,
            now: case.now.0,
            verdict: report.verdict,
            exit_code: report.exit_code,
            first_failure: report.first_failure.map(str::to_owned),
            states,
        });
    }
    let index = Index {
        corpus: 1,
        licence: "CC0-1.0".to_owned(),
        cases: entries,
    };
    let mut index = serde_json::to_string_pretty(&index).unwrap();
    index.push('\n');
    files.insert("index.json".to_owned(), index.into_bytes());
    let sums: String = files
        .iter()
        .map(|(name, bytes)| format!("{}  {name}\n", hex::encode(sha256(bytes))))
        .collect();
    files.insert(SUMS.to_owned(), sums.into_bytes());
    files
}

/// The list of what the program carries with it.
fn list(files: &BTreeMap<String, Vec<u8>>) -> String {
    let mut out = String::from(
        "//! The corpus as this program carries it. Written by `tests/vectors`, which compares it.\n\nfiles! {\n",
    );
    for name in files.keys() {
        out.push_str(&format!("    {name:?}\n"));
    }
    out.push_str("}\n");
    out
}

/// What is below a directory, by name; files that people wrote are left out.
fn on_disk() -> BTreeMap<String, Vec<u8>> {
    let mut out = BTreeMap::new();
    let mut open = vec![directory()];
    while let Some(next) = open.pop() {
        for entry in std::fs::read_dir(next).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let name = path.strip_prefix(directory()).unwrap();
            let name = name.to_str().unwrap().to_owned();
            if !["README.md", "LICENSE"].contains(&name.as_str()) {
                out.insert(name, std::fs::read(path).unwrap());
            }
        }
    }
    out
}

#[test]
fn the_files_of_the_corpus_are_what_its_cases_make() {
    let made = files();
    let listing = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/selftest/files.rs");
    if update() {
        for name in on_disk().keys().filter(|n| !made.contains_key(*n)) {
            std::fs::remove_file(directory().join(name)).unwrap();
        }
        for (name, bytes) in &made {
            let path = directory().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        std::fs::write(&listing, list(&made)).unwrap();
    }
    let found = on_disk();
    let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(&made));
    for (name, bytes) in &made {
        assert!(
            found[name] == *bytes,
            "vectors/{name} is not what its case makes: UPDATE_GOLDEN=1 rewrites it"
        );
    }
    assert_eq!(std::fs::read_to_string(listing).unwrap(), list(&made));
}

#[test]
fn a_wrong_expectation_is_a_disagreement() {
    let mut files = files();
    let index = String::from_utf8(files["index.json"].clone()).unwrap();
    let mut index: Index = serde_json::from_str(&index).unwrap();
    let case = index.cases.iter_mut().find(|c| c.exit_code == 0).unwrap();
    case.exit_code = 1;
    let name = case.name.clone();
    replace(
        &mut files,
        "index.json",
        serde_json::to_vec(&index).unwrap(),
    );
    let result = run(|name| files.get(name).cloned().ok_or_else(|| name.to_owned())).unwrap();
    assert_eq!(result.score.cases, result.score.agreed + 1);
    assert_eq!(result.disagreements[0].case, name);
}

#[test]
fn an_altered_file_of_a_corpus_is_no_corpus() {
    let mut files = files();
    files.get_mut("cases/accept-story.cbor").unwrap()[100] ^= 1;
    let result = run(|name| files.get(name).cloned().ok_or_else(|| name.to_owned()));
    assert!(result.is_err_and(|e| e.to_string().contains("accept-story")));
}

#[test]
fn a_corpus_without_a_case_is_no_corpus() {
    let mut files = files();
    replace(
        &mut files,
        "index.json",
        br#"{"corpus":1,"licence":"CC0-1.0","cases":[]}"#.to_vec(),
    );
    assert!(run(|name| files.get(name).cloned().ok_or_else(|| name.to_owned())).is_err());
}

/// Replaces a file, and its line among the sums.
fn replace(files: &mut BTreeMap<String, Vec<u8>>, name: &str, bytes: Vec<u8>) {
    let before = hex::encode(sha256(&files[name]));
    let sums = String::from_utf8(files[SUMS].clone()).unwrap();
    let sums = sums.replace(&before, &hex::encode(sha256(&bytes)));
    files.insert(SUMS.to_owned(), sums.into_bytes());
    files.insert(name.to_owned(), bytes);
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the tests, not the machine, whether to rewrite"
)]
fn update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1")
}
