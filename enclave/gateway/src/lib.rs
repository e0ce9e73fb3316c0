//! # countersign-gateway: the decisions
//!
//! A call's way from untrusted bytes to a signed Decision Record, as ten stages. Each stage
//! is a module; its output has private fields and is the next stage's only input, so a check
//! that is left out does not compile. The shell (`countersign`) awaits between stages.
//!
//! | # | stage | from → to |
//! |---|---|---|
//! | 1 | [`request`] | untrusted bytes → [`request::Request`] |
//! | 2 | [`identity`] | → [`identity::Identified`] |
//! | 3 | [`surface`] | → [`surface::Surfaced`] |
//! | 4 | [`budget`] | → [`budget::Budgeted`] |
//! | 5 | [`policy`] | → [`policy::Permitted`], [`policy::Escalated`], or a refusal |
//! | 6 | [`approval`] | → [`approval::Approved`], or a halt |
//! | 7 | [`seal`] | → [`seal::Sealed`] → (journal) → [`seal::Committed`] |
//! | 8 | [`execute`] | [`seal::Committed`] → call → [`execute::Outcome`] |
//! | 9 | [`release`] | → [`release::Settled`] |
//! | 10 | [`decision`] | → the Decision Record, then the response |
//!
//! A stage that refuses gives a [`refusal::Refused`], which carries what is known of the call
//! so far and can only become a Decision Record.
//!
//! **May know:** the bundle's compiled policies, the control state that the log folds to.
//! **Must never know:** sockets, files, clocks, randomness, devices. What is timed or random
//! is an argument.
//!
//! **Start reading** at [`request`], then follow the table.

pub mod approval;
pub mod budget;
pub mod call;
pub mod decision;
pub mod execute;
pub mod identity;
pub mod mcp;
pub mod policy;
pub mod refusal;
pub mod release;
pub mod request;
pub mod seal;
pub mod state;
pub mod surface;

#[cfg(test)]
mod tests;
