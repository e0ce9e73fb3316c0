//! The corpus judged, from its files alone: a test for each case, so that one can be run by itself.
//!
//! What a case has to come to stands in `vectors/index.json`. `tests/vectors` makes the files, and compares the
//! index with what the authors of the cases expect. What this verifier says of a case stands in `said.txt`, and the
//! whole report on some in `reports/`: reviewed as text, and rewritten with `UPDATE_GOLDEN=1`.

#![expect(clippy::unwrap_used, reason = "test code: a panic is a failed test")]

use countersign_record::digest::{UnixMillis, sha256};
use countersign_verify::ledger::State;
use countersign_verify::report::Report;
use countersign_verify::selftest::{CaseEntry, CorpusError, Index, SUMS, SelfTest, embedded, run};
use countersign_verify::text::{Detail, is_hostile, neutralize, render};
use countersign_verify::trust::{Reference, Trust};
use countersign_verify::{Options, receipts, verify};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

/// Declares a test for each case.
macro_rules! cases {
    ($($test:ident $name:literal)*) => {
        $(
            #[test]
            fn $test() {
                super::comes_out_as_the_index_says($name);
            }
        )*
    };
}

mod cases;

static INDEX: LazyLock<Index> =
    LazyLock::new(|| serde_json::from_slice(&embedded("index.json").unwrap()).unwrap());

fn comes_out_as_the_index_says(name: &str) {
    let case = INDEX.cases.iter().find(|c| c.name == name).unwrap();
    let report = report(case, 1);
    let said = (case.verdict, case.exit_code, case.first_failure.as_deref());
    let found = (report.verdict, report.exit_code, report.first_failure);
    assert_eq!(found, said, "{}", render(&report, Detail::Brief));
    let others: BTreeMap<String, State> = report
        .checks
        .iter()
        .filter(|c| c.state != State::Pass)
        .map(|c| (c.code.to_owned(), c.state))
        .collect();
    assert_eq!(others, case.states, "{}", render(&report, Detail::Brief));
    no_case_is_printed_with_what_could_mislead_a_terminal(&report);
    if !update() {
        let said = SAID.get(name).map(String::as_str);
        assert_eq!(Some(findings(&report).as_str()), said, "UPDATE_GOLDEN=1");
        if WHOLE.contains(&name) {
            for detail in [Detail::Full, Detail::Brief] {
                let text = std::fs::read_to_string(file(name, detail)).unwrap();
                assert_eq!(render(&report, detail), text, "UPDATE_GOLDEN=1");
            }
        }
    }
}

fn report(case: &CaseEntry, threads: usize) -> Report {
    let export = embedded(&case.export).unwrap();
    report_of(case, threads, export.as_slice())
}

fn report_of(case: &CaseEntry, threads: usize, export: impl Read) -> Report {
    let trust = Trust::parse(&embedded(&case.trust).unwrap()).unwrap();
    let reference = case
        .reference
        .as_ref()
        .map(|name| Reference::parse(&embedded(name).unwrap()).unwrap());
    let receipts = case
        .receipts
        .as_ref()
        .map(|name| receipts::split(&embedded(name).unwrap()).unwrap());
    let options = Options {
        reference,
        receipts: receipts.unwrap_or_default(),
        checkpoints: case
            .checkpoints
            .iter()
            .map(|name| (name.clone(), embedded(name).unwrap()))
            .collect(),
        threads,
        ..Options::default()
    };
    verify(export, &trust, &options, UnixMillis(case.now))
}

fn no_case_is_printed_with_what_could_mislead_a_terminal(report: &Report) {
    let text = render(report, Detail::Full);
    let printed = text.clone() + &report.to_json().unwrap();
    assert!(!printed.chars().any(|c| c != '\n' && is_hostile(c)));
    // Whatever a name says, the verdict is the first line, and no other line is one.
    let verified = text.lines().filter(|l| *l == "VERIFIED").count();
    let says_so = report.exit_code == 0 && report.headline == "VERIFIED";
    assert_eq!(verified, usize::from(says_so));
}

#[test]
fn no_case_depends_on_the_number_of_threads() {
    for case in &INDEX.cases {
        assert_eq!(report(case, 1), report(case, 3), "{}", case.name);
    }
}

/// Gives so many bytes at a time, as a pipe may.
struct InParts<'a>(&'a [u8], usize);

impl Read for InParts<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let part = u64::try_from(self.1).unwrap();
        self.0.by_ref().take(part).read(buffer)
    }
}

#[test]
fn no_case_depends_on_the_parts_in_which_it_is_read() {
    for case in &INDEX.cases {
        let export = embedded(&case.export).unwrap();
        let found = report_of(case, 1, InParts(&export, 61));
        assert_eq!(report(case, 1), found, "{}", case.name);
    }
}

// ---- what is said ------------------------------------------------------------------------

/// Cases of which the whole report is kept: every kind of part, and every verdict.
const WHOLE: [&str; 20] = [
    "accept-every-kind",
    "accept-smallest",
    "accept-tenant-with-proof",
    "accept-closed-run-alone",
    "accept-period",
    "accept-handed-over",
    "accept-erased",
    "accept-withheld-fields",
    "accept-witnessed",
    "accept-timestamp",
    "accept-receipts",
    "accept-platform-gcp-machine",
    "accept-platform-azure-snp",
    "accept-platform-azure-tdx",
    "accept-gap",
    "accept-stopped-and-resumed",
    "accept-optional-extension",
    "trust-anchor-none",
    "bundle-signers-none",
    "settlement-never",
];

/// What is said of each case, by its name.
static SAID: LazyLock<BTreeMap<String, String>> = LazyLock::new(|| {
    let text = std::fs::read_to_string(directory().join("said.txt")).unwrap();
    let mut out = BTreeMap::new();
    let mut name = String::new();
    for line in text.lines().skip(1) {
        if line.starts_with(' ') {
            let said: &mut String = out.entry(name.clone()).or_default();
            said.push_str(line);
            said.push('\n');
        } else {
            name = line.to_owned();
            out.insert(name.clone(), String::new());
        }
    }
    out
});

/// What did not hold, could not be told, or was not looked at in an entry; and what is noted beside what held.
fn findings(report: &Report) -> String {
    let mut out = String::new();
    let mut line = |code: &str, entry: Option<u64>, text: &str| {
        let entry = entry.map(|e| format!(" {e}")).unwrap_or_default();
        let line = neutralize(&format!("  {code}{entry}: {text}"));
        out.push_str(&line);
        out.push('\n');
    };
    for check in &report.checks {
        for finding in &check.findings {
            let telling = match finding.state {
                State::Fail | State::CannotTell => true,
                // That no bundles are pinned is so in nearly all of them.
                State::NotChecked => finding.entry.is_some() && check.code != "bundle-pins",
                State::Pass => false,
            };
            if telling {
                line(check.code, finding.entry, &finding.text);
            }
        }
        if let Some((_, note)) = check.reason.split_once("); ") {
            line(check.code, None, note);
        }
    }
    out
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus")
}

fn file(name: &str, detail: Detail) -> PathBuf {
    let end = match detail {
        Detail::Full => "txt",
        Detail::Brief => "brief.txt",
    };
    directory().join("reports").join(format!("{name}.{end}"))
}

#[test]
fn of_every_case_and_of_no_other_is_kept_what_is_said() {
    if update() {
        let mut text = String::from(
            "What this verifier says of each case: checks that failed, could not tell, or were not made at an entry; and notes.\n",
        );
        for case in &INDEX.cases {
            let report = report(case, 1);
            text.push_str(&format!("{}\n{}", case.name, findings(&report)));
            if WHOLE.contains(&case.name.as_str()) {
                for detail in [Detail::Full, Detail::Brief] {
                    std::fs::write(file(&case.name, detail), render(&report, detail)).unwrap();
                }
            }
        }
        std::fs::write(directory().join("said.txt"), text).unwrap();
    }
    let names: Vec<&String> = INDEX.cases.iter().map(|c| &c.name).collect();
    assert!(SAID.keys().all(|name| names.contains(&name)));
    assert_eq!(SAID.len(), names.len());
}

#[expect(
    clippy::disallowed_methods,
    reason = "asks whoever runs the tests, not the machine, whether to rewrite"
)]
fn update() -> bool {
    std::env::var("UPDATE_GOLDEN").is_ok_and(|v| v == "1")
}

// ---- the self-test ----------------------------------------------------------------------

type Files = BTreeMap<String, Vec<u8>>;

/// A corpus of two cases that this program carries: one that is verified, one with receipts or checkpoints.
fn two_cases() -> (Index, Files) {
    let wanted = |case: &&CaseEntry| {
        case.name == "accept-story" || (case.receipts.is_some() && case.exit_code != 0)
    };
    let index = Index {
        cases: INDEX.cases.iter().filter(wanted).take(2).cloned().collect(),
        ..INDEX.clone()
    };
    assert_eq!(index.cases.len(), 2);
    let mut files = Files::new();
    for case in &index.cases {
        let names = [&case.export, &case.trust].into_iter();
        let names = names.chain(&case.reference).chain(&case.receipts);
        for name in names.chain(&case.checkpoints) {
            files.insert(name.clone(), embedded(name).unwrap());
        }
    }
    (index, files)
}

/// Adds the index, and the sums of everything.
fn sealed(index: &Index, mut files: Files) -> Files {
    let text = serde_json::to_vec(index).unwrap();
    files.insert("index.json".to_owned(), text);
    let line = |(name, bytes): (&String, &Vec<u8>)| {
        let sum = hex::encode(sha256(bytes));
        format!("{sum}  {name}\n")
    };
    let sums: String = files.iter().map(line).collect();
    files.insert(SUMS.to_owned(), sums.into_bytes());
    files
}

fn tried(files: &Files) -> Result<SelfTest, CorpusError> {
    run(|name| files.get(name).cloned().ok_or_else(|| name.to_owned()))
}

#[test]
fn a_corpus_that_comes_out_as_it_says_agrees() {
    let (index, files) = two_cases();
    let files = sealed(&index, files);
    let result = tried(&files).unwrap();
    assert!(result.agrees());
    assert_eq!((result.score.cases, result.score.agreed), (2, 2));
    assert_eq!(result.score.corpus, hex::encode(sha256(&files[SUMS])));
    assert_eq!(
        result.render(),
        format!("2 of 2 cases as expected\ncorpus {}\n", result.score.corpus)
    );
}

#[test]
fn a_wrong_expectation_is_a_disagreement() {
    let (mut index, files) = two_cases();
    let case = index.cases.iter_mut().find(|c| c.exit_code == 0).unwrap();
    case.exit_code = 1;
    let name = case.name.clone();
    let result = tried(&sealed(&index, files)).unwrap();
    assert!(!result.agrees());
    assert_eq!((result.score.cases, result.score.agreed), (2, 1));
    assert_eq!(result.disagreements[0].case, name);
    assert_eq!(
        result.disagreements[0].differs,
        ["the exit code is 0, expected 1"]
    );
}

#[test]
fn a_state_that_is_not_as_listed_is_a_disagreement() {
    let (mut index, files) = two_cases();
    index.cases[0].states.insert("leaves".into(), State::Fail);
    index.cases[0].states.insert("colour".into(), State::Fail);
    let result = tried(&sealed(&index, files)).unwrap();
    assert_eq!(
        result.disagreements[0].differs,
        [
            "leaves is pass, expected FAIL",
            "colour is a check that this verifier does not have"
        ]
    );
}

#[test]
fn an_altered_file_of_a_corpus_is_no_corpus() {
    let (index, files) = two_cases();
    let mut files = sealed(&index, files);
    files.get_mut("cases/accept-story.cbor").unwrap()[100] ^= 1;
    let name = "cases/accept-story.cbor".to_owned();
    assert_eq!(tried(&files), Err(CorpusError::Altered { name }));
}

#[test]
fn a_file_that_is_not_listed_is_not_read() {
    let (index, mut files) = two_cases();
    let name = "cases/accept-story.cbor".to_owned();
    let export = files.remove(&name).unwrap();
    let mut files = sealed(&index, files);
    files.insert(name.clone(), export);
    assert_eq!(tried(&files), Err(CorpusError::Unlisted { name }));
}

#[test]
fn a_corpus_reads_no_file_outside_of_it() {
    for name in [
        "../cases/a",
        "/cases/a",
        "cases//a",
        "./a",
        ".hidden",
        "a b",
        "a\\b",
    ] {
        let (index, mut files) = two_cases();
        files.insert(name.to_owned(), vec![]);
        let line = 1 + files.keys().position(|k| k == name).unwrap();
        // The index stands between directories and names that are before it in the alphabet.
        let line = line + usize::from(name > "index.json");
        assert_eq!(
            tried(&sealed(&index, files)),
            Err(CorpusError::Sums { line })
        );
    }
}

#[test]
fn a_corpus_without_a_case_is_no_corpus() {
    let (mut index, files) = two_cases();
    index.cases.clear();
    assert_eq!(tried(&sealed(&index, files)), Err(CorpusError::Empty));
}

#[test]
fn a_corpus_of_another_version_is_not_judged() {
    let (mut index, files) = two_cases();
    index.corpus = 2;
    assert_eq!(
        tried(&sealed(&index, files)),
        Err(CorpusError::Version { found: 2 })
    );
}
