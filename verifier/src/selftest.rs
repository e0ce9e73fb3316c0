//! Whether this program judges the published cases as it should.
//!
//! In: a corpus, file by file: the one in this program ([`embedded`]), or one from a directory. Out:
//! a [`SelfTest`]: how many cases came out as its index says, and every one that did not. The corpus
//! is that of `verifier/vectors`; its `README.md` says what the files are.
//!
//! The score and the digest of the corpus can travel in a report, so that a reader knows what the
//! program that wrote it had been tried on.

/// Declares what this program carries with it.
macro_rules! files {
    ($($name:literal)*) => {
        /// Files of the corpus, by name.
        pub(super) const FILES: &[(&str, &[u8])] =
            &[$(($name, include_bytes!(concat!("../../vectors/", $name)))),*];
    };
}

mod files;

use crate::codes::Code;
use crate::ledger::State;
use crate::report::{Report, Verdict};
use crate::trust::{Reference, Trust};
use crate::{Options, receipts, verify};
use countersign_record::digest::{UnixMillis, sha256};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;

/// Name of the file with the sums of all others; its own sum is the digest of the corpus.
pub const SUMS: &str = "SHA256SUMS";

/// Version of the index that this code reads.
pub const CORPUS_VERSION: u64 = 1;

/// What the cases of a corpus are, and what has to come of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Index {
    /// [`CORPUS_VERSION`].
    pub corpus: u64,
    /// Licence of the files.
    pub licence: String,
    /// The cases.
    pub cases: Vec<CaseEntry>,
}

/// One case: its files, by name below the corpus, and the expected result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseEntry {
    /// Its name.
    pub name: String,
    /// What is the matter, in a sentence.
    pub sentence: String,
    /// The export.
    pub export: String,
    /// The trust file.
    pub trust: String,
    /// The reference file, if there is one.
    pub reference: Option<String>,
    /// A file with receipts, if there are any.
    pub receipts: Option<String>,
    /// Checkpoints that the auditor has from elsewhere, a file each.
    pub checkpoints: Vec<String>,
    /// Now, in milliseconds since 1970.
    pub now: u64,
    /// The expected verdict.
    pub verdict: Verdict,
    /// The expected exit code.
    pub exit_code: u8,
    /// The expected first failure.
    pub first_failure: Option<String>,
    /// States of checks; those that are not listed pass.
    pub states: BTreeMap<String, State>,
}

/// What a program was tried on, and how it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Score {
    /// SHA-256 of the file of sums, hexadecimal.
    pub corpus: String,
    /// How many cases there are.
    pub cases: u64,
    /// How many came out as expected.
    pub agreed: u64,
}

/// A case that came out otherwise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Disagreement {
    /// Its name.
    pub case: String,
    /// What it is about.
    pub sentence: String,
    /// Each thing that differs: what was expected, what came out.
    pub differs: Vec<String>,
}

/// The result of a self-test.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SelfTest {
    /// How it went.
    pub score: Score,
    /// The cases that came out otherwise.
    pub disagreements: Vec<Disagreement>,
}

impl SelfTest {
    /// Whether every case came out as expected.
    #[must_use]
    pub fn agrees(&self) -> bool {
        self.disagreements.is_empty()
    }

    /// As JSON, with a final newline.
    ///
    /// # Errors
    /// Only if memory cannot hold it.
    pub fn to_json(&self) -> Result<String, serde_json::Error> {
        let mut text = crate::text::neutralize_json(&serde_json::to_string_pretty(self)?);
        text.push('\n');
        Ok(text)
    }

    /// For people, with a final newline.
    #[must_use]
    pub fn render(&self) -> String {
        let Score {
            corpus,
            cases,
            agreed,
        } = &self.score;
        let mut out = format!("{agreed} of {cases} cases as expected\ncorpus {corpus}\n");
        for Disagreement {
            case,
            sentence,
            differs,
        } in &self.disagreements
        {
            out.push_str(&crate::text::neutralize(&format!("\n{case}: {sentence}")));
            out.push('\n');
            for line in differs {
                out.push_str(&crate::text::neutralize(&format!("  {line}")));
                out.push('\n');
            }
        }
        out
    }
}

/// Why files are no corpus.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CorpusError {
    /// A file could not be read.
    #[error("{0}")]
    Unreadable(String),
    /// The file of sums is malformed, or names files outside the corpus.
    #[error("line {line} of {SUMS} is not a sum and a name")]
    Sums {
        /// Which line, from 1.
        line: usize,
    },
    /// A file is not the one whose sum is listed.
    #[error("{name} is not the file whose sum is in {SUMS}")]
    Altered {
        /// Its name.
        name: String,
    },
    /// The index names a file whose sum is not listed.
    #[error("{name} is not listed in {SUMS}")]
    Unlisted {
        /// Its name.
        name: String,
    },
    /// The index is malformed.
    #[error("index.json: {0}")]
    Index(String),
    /// The index is of another version.
    #[error("index.json has version {found}, this verifier reads version {CORPUS_VERSION}")]
    Version {
        /// Its version.
        found: u64,
    },
    /// There is no case.
    #[error("index.json has no case")]
    Empty,
    /// A trust, reference or receipts file of a case cannot be read.
    #[error("{name}: {reason}")]
    Input {
        /// Its name.
        name: String,
        /// Why.
        reason: String,
    },
}

/// A file of the corpus in this program.
///
/// # Errors
/// If there is none of that name.
pub fn embedded(name: &str) -> Result<Vec<u8>, String> {
    files::FILES
        .iter()
        .find(|(known, _)| *known == name)
        .map(|(_, bytes)| bytes.to_vec())
        .ok_or_else(|| format!("{name} is not in this program's corpus"))
}

/// Runs every case of a corpus whose files `read` gives.
///
/// # Errors
/// If the files are no corpus; what comes of a case is no error.
pub fn run(mut read: impl FnMut(&str) -> Result<Vec<u8>, String>) -> Result<SelfTest, CorpusError> {
    let sums = read(SUMS).map_err(CorpusError::Unreadable)?;
    let mut files = BTreeMap::new();
    for (name, digest) in parse_sums(&sums)? {
        let bytes = read(&name).map_err(CorpusError::Unreadable)?;
        if sha256(&bytes) != digest {
            return Err(CorpusError::Altered { name });
        }
        files.insert(name, bytes);
    }
    let index = file(&files, "index.json")?;
    let index: Index =
        serde_json::from_slice(index).map_err(|e| CorpusError::Index(e.to_string()))?;
    if index.corpus != CORPUS_VERSION {
        return Err(CorpusError::Version {
            found: index.corpus,
        });
    }
    if index.cases.is_empty() {
        return Err(CorpusError::Empty);
    }
    let mut result = SelfTest {
        score: Score {
            corpus: hex::encode(sha256(&sums)),
            cases: 0,
            agreed: 0,
        },
        disagreements: Vec::new(),
    };
    for case in &index.cases {
        let differs = differences(case, &report(case, &files)?);
        result.score.cases = result.score.cases.saturating_add(1);
        if differs.is_empty() {
            result.score.agreed = result.score.agreed.saturating_add(1);
        } else {
            result.disagreements.push(Disagreement {
                case: case.name.clone(),
                sentence: case.sentence.clone(),
                differs,
            });
        }
    }
    Ok(result)
}

type Files = BTreeMap<String, Vec<u8>>;

fn file<'a>(files: &'a Files, name: &str) -> Result<&'a [u8], CorpusError> {
    files
        .get(name)
        .map(Vec::as_slice)
        .ok_or_else(|| CorpusError::Unlisted {
            name: name.to_owned(),
        })
}

/// `<64 hexadecimal digits>  <name>`, one a line, as `sha256sum` writes and reads.
fn parse_sums(bytes: &[u8]) -> Result<Vec<(String, [u8; 32])>, CorpusError> {
    let text = std::str::from_utf8(bytes).map_err(|_| CorpusError::Sums { line: 1 })?;
    (1_usize..)
        .zip(text.lines())
        .map(|(line, text)| {
            let wrong = CorpusError::Sums { line };
            let (digest, name) = text.split_once("  ").ok_or(wrong.clone())?;
            let mut out = [0; 32];
            hex::decode_to_slice(digest, &mut out).map_err(|_| wrong.clone())?;
            // A corpus from elsewhere must not have files read that are not its own.
            let inside = name
                .split('/')
                .all(|part| !part.is_empty() && !part.starts_with('.'))
                && name
                    .bytes()
                    .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'/'));
            if inside {
                Ok((name.to_owned(), out))
            } else {
                Err(wrong)
            }
        })
        .collect()
}

fn report(case: &CaseEntry, files: &Files) -> Result<Report, CorpusError> {
    let input = |name: &str, reason: String| CorpusError::Input {
        name: name.to_owned(),
        reason,
    };
    let trust =
        Trust::parse(file(files, &case.trust)?).map_err(|e| input(&case.trust, e.to_string()))?;
    let reference = match &case.reference {
        None => None,
        Some(name) => {
            Some(Reference::parse(file(files, name)?).map_err(|e| input(name, e.to_string()))?)
        }
    };
    let receipts = match &case.receipts {
        None => Vec::new(),
        Some(name) => receipts::split(file(files, name)?).map_err(|e| input(name, e))?,
    };
    let checkpoints = case
        .checkpoints
        .iter()
        .map(|name| Ok((name.clone(), file(files, name)?.to_vec())))
        .collect::<Result<_, CorpusError>>()?;
    let options = Options {
        reference,
        receipts,
        checkpoints,
        ..Options::default()
    };
    let export = file(files, &case.export)?;
    Ok(verify(export, &trust, &options, UnixMillis(case.now)))
}

/// What came out otherwise than the index says.
fn differences(case: &CaseEntry, report: &Report) -> Vec<String> {
    let mut out = Vec::new();
    let mut compare = |what: &str, expected: &str, found: &str| {
        if expected != found {
            out.push(format!("{what} is {found}, expected {expected}"));
        }
    };
    compare("the verdict", case.verdict.words(), report.verdict.words());
    compare(
        "the exit code",
        &case.exit_code.to_string(),
        &report.exit_code.to_string(),
    );
    compare(
        "the first failure",
        case.first_failure.as_deref().unwrap_or("none"),
        report.first_failure.unwrap_or("none"),
    );
    for check in &report.checks {
        let expected = case.states.get(check.code).unwrap_or(&State::Pass);
        compare(check.code, expected.word(), check.state.word());
    }
    let unknown = case
        .states
        .keys()
        .filter(|code| Code::from_name(code).is_none());
    out.extend(unknown.map(|code| format!("{code} is a check that this verifier does not have")));
    out
}
