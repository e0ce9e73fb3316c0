//! # Whole-system tests: the harness
//!
//! Real programs on a software TPM: `countersign` as a child process, an upstream MCP server whose
//! effects can be counted, `countersign-verify` on what comes out.
//!
//! | module | what it is |
//! |---|---|
//! | [`site`] | a site directory with two tenants, a token agent, a signing agent, a person |
//! | [`machine`] | site, state directory and software TPM: what an operator has |
//! | [`process`] | a child process, awaited by what it says |
//! | [`client`] | an agent: HTTP and MCP, tokens and signatures |
//! | [`interface`] | the HTTP interface as its description says it |
//! | [`auditor`] | trust, reference values, verdicts, and an export read entry by entry |
//! | [`audit`] | what must hold of every export, whatever happened |
//! | [`crash`] | kills the gateway anywhere, again and again |
//! | [`handover`] | one machine continues the work of another, one command a person |
//! | [`witness`] | a witness that an auditor runs |
//! | [`timestamping`] | a timestamping authority, and a wire to it that the operator owns |
//! | [`certificates`] | an authority of the tests' own, and clients that believe it |
//! | [`protected`] | a gateway that speaks TLS |
//! | [`confined`] | a hostile program in a sandbox |
//! | [`collector`] | an endpoint of OpenTelemetry's protocol |
//! | [`relay`] | somebody between a client and a gateway that speaks TLS |
//! | [`chip`] | a processor that reports, on a machine without a TPM: a fake device, genuinely signed |
//! | [`issuer`] | an OAuth issuer, its tokens, and proofs by those who hold them |
//! | [`gate`] | holds a tool call in the middle until the test lets go |
//!
//! **May know:** everything. **Must never:** sleep to synchronise, or reach into a running gateway.
//!
//! ```no_run
//! use countersign_tests::{machine::Machine, client::Client};
//! use serde_json::json;
//!
//! let mut machine = Machine::enrolled();
//! let mut gateway = machine.start();
//! let mut alpha = gateway.alpha();
//! let answer = alpha.call("effects.append", json!({ "line": "hello" })).unwrap();
//! assert!(answer.is_ok());
//! gateway.kill();
//! let gateway = machine.start();
//! let verdict = machine.auditor().verify(&gateway.export());
//! assert_eq!(verdict.exit_code, 0);
//! ```
#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    reason = "a harness for tests: it fails by panicking, and runs on real clocks"
)]

pub mod audit;
pub mod auditor;
pub mod certificates;
pub mod chip;
pub mod client;
pub mod collector;
pub mod confined;
pub mod crash;
pub mod gate;
pub mod handover;
pub mod interface;
pub mod issuer;
pub mod machine;
pub mod process;
pub mod protected;
pub mod relay;
pub mod site;
pub mod timestamping;
pub mod witness;

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Longest wait for anything that has to happen. Reaching it is a failure, never a step of a test.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A program of this workspace, beside the running test's own.
///
/// # Panics
/// If it has not been built.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test has a file");
    let directory = own
        .parent()
        .and_then(Path::parent)
        .expect("a test's file is in target/<profile>/deps");
    let program = directory.join(name);
    assert!(
        program.is_file(),
        "{} is not there; build it first: cargo build -p countersign, and in verifier/: cargo build -p countersign-verify",
        program.display()
    );
    program
}

/// The Python that has what `tests/python/requirements.txt` names.
///
/// # Panics
/// If it was not made.
#[must_use]
pub fn python() -> PathBuf {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("python/.venv/bin/python");
    assert!(
        python.exists(),
        "{} is not there; make it first: tests/python/setup",
        python.display()
    );
    python
}

/// A file of `tests/fixtures`.
#[must_use]
pub fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

/// A random number below `bound`; tests that use it say so, and hold for every number.
#[must_use]
pub fn random_below(bound: u64) -> u64 {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random bytes of the system");
    u64::from_be_bytes(bytes) % bound
}

/// A text that no other call of this function gives.
#[must_use]
pub fn unique(prefix: &str) -> String {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).expect("random bytes of the system");
    format!("{prefix}-{}", hex::encode(bytes))
}
