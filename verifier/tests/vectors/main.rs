//! The corpus as it is made: makes every case, compares the files with what it makes, and the index with what is expected.
//!
//! The verdict, the first failure and the states that are the point of a case are written by hand, in
//! the lists beside this file; the other states are this verifier's, kept in the index and reviewed
//! as code. That the verifier comes to what the index says is shown by `tests/corpus`, from the files
//! alone. `UPDATE_GOLDEN=1` rewrites `vectors/`, the list of what the program carries with it, and the
//! list of tests of `tests/corpus`.

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
use countersign_verify::report::Verdict;
use countersign_verify::selftest::{CaseEntry, Index, SUMS};
use countersign_verify::trust::{Reference, Trust};
use countersign_verify::{Options, verify};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// A case, and its entry in the index.
type Indexed = (Case, CaseEntry);

/// The cases of each file, made once for all tests, and a test of each file's.
macro_rules! groups {
    ($($cases:ident of $group:ident: fn $test:ident),* $(,)?) => {
        $(
            static $cases: LazyLock<Vec<Indexed>> = LazyLock::new(|| {
                let with_entry = |case| {
                    let entry = entry(&case);
                    (case, entry)
                };
                $group::cases().into_iter().map(with_entry).collect()
            });

            #[test]
            fn $test() {
                indexed_as_expected(&$cases);
            }
        )*

        fn cases() -> impl Iterator<Item = &'static Indexed> {
            let groups: Vec<&'static [Indexed]> = vec![$($cases.as_slice()),*];
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

/// Entries of the index on disk, by name.
static ON_DISK: LazyLock<BTreeMap<String, CaseEntry>> = LazyLock::new(|| {
    let index = std::fs::read(directory().join("index.json")).unwrap();
    let index: Index = serde_json::from_slice(&index).unwrap();
    let named = |entry: CaseEntry| (entry.name.clone(), entry);
    index.cases.into_iter().map(named).collect()
});

/// The entry of a case: what it is comes from its making, what is said of it from the index, or from the verifier
/// where that is to be rewritten.
fn entry(case: &Case) -> CaseEntry {
    let mut entry = CaseEntry {
        name: case.name.to_owned(),
        sentence: case.sentence.to_owned(),
        export: format!("cases/{}.cbor", case.name),
        trust: format!("trust/{}.toml", case.trust.0),
        reference: case
            .reference
            .as_ref()
            .map(|(name, _)| format!("reference/{name}.toml")),
        receipts: (!case.receipts.is_empty()).then(|| format!("receipts/{}.cbor", case.name)),
        checkpoints: (0..case.checkpoints.len())
            .map(|number| format!("checkpoints/{}-{number}.note", case.name))
            .collect(),
        now: case.now.0,
        verdict: Verdict::CannotBeEvaluated,
        exit_code: 3,
        first_failure: None,
        states: BTreeMap::new(),
    };
    if update() {
        judge(case, &mut entry);
    } else {
        let listed = ON_DISK.get(case.name);
        assert!(
            listed.is_some(),
            "the index has no case {}: UPDATE_GOLDEN=1 adds it",
            case.name
        );
        let listed = listed.unwrap();
        entry.verdict = listed.verdict;
        entry.exit_code = listed.exit_code;
        entry.first_failure.clone_from(&listed.first_failure);
        entry.states.clone_from(&listed.states);
    }
    entry
}

fn judge(case: &Case, entry: &mut CaseEntry) {
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
        ..Options::default()
    };
    let trust = Trust::parse(case.trust.1.as_bytes()).unwrap();
    let report = verify(case.export.as_slice(), &trust, &options, case.now);
    entry.verdict = report.verdict;
    entry.exit_code = report.exit_code;
    entry.first_failure = report.first_failure.map(str::to_owned);
    entry.states = report
        .checks
        .iter()
        .filter(|c| c.state != State::Pass)
        .map(|c| (c.code.to_owned(), c.state))
        .collect();
}

fn state(entry: &CaseEntry, code: &str) -> State {
    entry.states.get(code).copied().unwrap_or(State::Pass)
}

fn indexed_as_expected(cases: &[Indexed]) {
    let mut wrong = Vec::new();
    for (case, entry) in cases {
        let found = (entry.exit_code, entry.first_failure.as_deref());
        if found != case.expected {
            wrong.push(format!(
                "{}: {found:?}, expected {:?}",
                case.name, case.expected
            ));
        }
        for (code, expected) in &case.states {
            assert!(Code::from_name(code).is_some(), "{}: {code}", case.name);
            let found = state(entry, code);
            if found != *expected {
                wrong.push(format!(
                    "{}: {code} is {found:?}, expected {expected:?}",
                    case.name
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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

/// Checks that a case of one export and no question does not call for; `tests/suite/completeness.rs` plays them.
const OF_NO_CASE: [&str; 3] = ["query", "fleet", "histories"];

#[test]
fn every_check_passes_in_one_case_and_fails_in_another() {
    let mut passes = BTreeSet::new();
    let mut fails = BTreeSet::new();
    let mut named = BTreeSet::new();
    for (case, entry) in cases() {
        for code in Code::ALL.iter().map(|c| c.info().name) {
            match state(entry, code) {
                State::Pass => passes.insert(code),
                State::Fail => fails.insert(code),
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
    };
    for (case, entry) in cases() {
        put(entry.export.clone(), case.export.clone());
        put(entry.trust.clone(), case.trust.1.clone().into_bytes());
        for (name, (_, text)) in entry.reference.iter().zip(&case.reference) {
            put(name.clone(), text.clone().into_bytes());
        }
        if let Some(name) = &entry.receipts {
            put(name.clone(), case.receipts.concat());
        }
        for (name, note) in entry.checkpoints.iter().zip(&case.checkpoints) {
            put(name.clone(), note.clone().into_bytes());
        }
    }
    let index = Index {
        corpus: 1,
        licence: "CC0-1.0".to_owned(),
        cases: cases().map(|(_, entry)| entry.clone()).collect(),
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

/// The tests of `tests/corpus`, one a case.
fn tests() -> String {
    let mut out = String::from(
        "//! A test for each case of the corpus. Written by `tests/vectors`, which compares it.\n\ncases! {\n",
    );
    for (case, _) in cases() {
        out.push_str(&format!(
            "    {} {:?}\n",
            case.name.replace('-', "_"),
            case.name
        ));
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
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let lists = [
        (package.join("src/selftest/files.rs"), list(&made)),
        (package.join("tests/corpus/cases.rs"), tests()),
    ];
    if update() {
        for name in on_disk().keys().filter(|n| !made.contains_key(*n)) {
            std::fs::remove_file(directory().join(name)).unwrap();
        }
        for (name, bytes) in &made {
            let path = directory().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, bytes).unwrap();
        }
        for (path, text) in &lists {
            std::fs::write(path, text).unwrap();
        }
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
    for (path, text) in lists {
        assert_eq!(std::fs::read_to_string(path).unwrap(), text);
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the tests, not the machine, whether to rewrite"
)]
fn update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1")
}
