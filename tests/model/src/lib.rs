//! # The model: counter, renewals and witnesses against an operator, searched completely
//!
//! A small state machine of what `docs/spec/evidence.md` ("The counter") says, of the verifier's
//! rules about it, and of an operator who owns the disks. [`search::explore`] visits every state that
//! is reachable within [`Bounds`], and asks in each whether what the verifier claims is true
//! ([`claims::broken`]). A rule that is taken out ([`Rules`]) must give a counterexample; the
//! tests take each out once.
//!
//! | module | what it is |
//! |---|---|
//! | [`world`] | what there is: one TPM, two disks, two processes, one witness, every log that ever was |
//! | [`steps`] | what can happen next: the gateway's steps, the operator's |
//! | [`verifier`] | what the verifier says of a log |
//! | [`claims`] | what must be true of what it says |
//! | [`search`] | breadth first, so that a counterexample is a shortest one |
//!
//! **May know:** the protocol, in its own words. **Must never know:** the code that it models; `tests/conformance.rs`
//! compares the two from outside. What it leaves out stands in `docs/model.md`.
#![expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::as_conversions,
    reason = "a model for tests: numbers are below ten, and a panic is a failed test"
)]

pub mod claims;
pub mod search;
pub mod steps;
pub mod verifier;
pub mod world;

/// The rules of gateway, verifier and witness. All hold in the product; tests take one out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// An announcement counts only beside a log that is at least as long as when it was made.
    pub announcements_bound_to_the_log: bool,
    /// Steps are announced, durably, before the counter moves.
    pub announced_before_the_step: bool,
    /// Calls are served from the first renewal on, not from the base on.
    pub renewal_before_the_first_call: bool,
    /// A running gateway stops renewing when somebody else moved the counter.
    pub foreign_steps_end_the_renewals: bool,
    /// A gateway whose log does not explain the counter is held.
    pub unexplained_steps_hold_the_gateway: bool,
    /// The verifier wants each step of the counter between epochs explained.
    pub steps_between_epochs_are_counted: bool,
    /// The verifier wants each step of the counter within an epoch explained.
    pub steps_within_an_epoch_are_counted: bool,
    /// Each announced step that came to nothing lengthens what may be missing by a lease.
    pub abandoned_steps_are_counted: Counted,
    /// So does each step that only governance's word explains.
    pub unexplained_steps_are_counted: bool,
    /// The witness compares and remembers in one step.
    pub the_witness_is_atomic: bool,
    /// The auditor compares the export with what the witness cosigned.
    pub the_auditor_asks_the_witness: bool,
}

impl Rules {
    /// The product's.
    pub const ALL: Self = Self {
        announcements_bound_to_the_log: true,
        announced_before_the_step: true,
        renewal_before_the_first_call: true,
        foreign_steps_end_the_renewals: true,
        unexplained_steps_hold_the_gateway: true,
        steps_between_epochs_are_counted: true,
        steps_within_an_epoch_are_counted: true,
        abandoned_steps_are_counted: Counted::All,
        unexplained_steps_are_counted: true,
        the_witness_is_atomic: true,
        the_auditor_asks_the_witness: true,
    };
}

/// Which steps that came to nothing the verifier counts as a lease that may be missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// All: the product's rule.
    All,
    /// Those of renewals, after an epoch without a close.
    RenewalsOnly,
    /// None.
    None,
}

/// How far the search goes: how often each may happen in one history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Bounds {
    /// Disks, 1 or 2; a gateway can run on each.
    pub disks: u8,
    /// Steps of the counter.
    pub counter: u8,
    /// Starts of a gateway.
    pub boots: u8,
    /// Calls that were served and acknowledged.
    pub calls: u8,
    /// Ends of a process without a close.
    pub crashes: u8,
    /// Answers of the TPM that do not arrive.
    pub failures: u8,
    /// Disks that the operator writes as he likes.
    pub restores: u8,
    /// Words of governance that let a held gateway go on.
    pub recoveries: u8,
    /// Checkpoints that are given to the witness.
    pub submissions: u8,
}
