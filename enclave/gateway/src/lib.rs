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
//! |  | [`admission`] | → [`admission::Admitted`] |
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
//! Within the stages the checks have one order, too: [`check::Check::ORDER`].
//!
//! [`recall`] puts recorded inputs in the place of the world, so that a replay runs these same stages.
//!
//! **May know:** the bundle's compiled policies, the control state that the log folds to.
//! **Must never know:** sockets, files, clocks, randomness, devices. What is timed or random
//! is an argument.
//!
//! **Start reading** at [`request`], then follow the table.
//!
//! # What does not compile
//!
//! The stages in their order, as the shell calls them:
//!
//! ```
//! use countersign_gateway::{admission, approval, budget, identity::Identified, policy, surface};
//! # use countersign_gateway::{approval::Clearance, call::Moment, refusal::Refused, state::State};
//! # use countersign_policies::Engine;
//! fn way(i: Identified, e: &Engine, s: &mut State, now: Moment) -> Result<Clearance, Box<Refused>> {
//!     let admitted = admission::admit(i, admission::Conditions::MET)?;
//!     let surfaced = surface::surface(admitted, e, |c| surface::Observed::Descriptor(c.descriptor))?;
//!     let budgeted = budget::budget(surfaced, s, now)?;
//!     match policy::decide(budgeted, e, s, now)? {
//!         policy::Judgement::Permitted(permitted) => approval::clear(permitted, s),
//!         policy::Judgement::Escalated(escalated) => approval::approve(escalated, e, s, now),
//!     }
//! }
//! ```
//!
//! A call that skips the budget:
//!
//! ```compile_fail
//! use countersign_gateway::{call::Moment, policy, state::State, surface::Surfaced};
//! fn way(surfaced: Surfaced, e: &countersign_policies::Engine, s: &State, now: Moment) {
//!     let _ = policy::decide(surfaced, e, s, now);
//! }
//! ```
//!
//! A call that is escalated and goes on without people:
//!
//! ```compile_fail
//! use countersign_gateway::{approval, policy::Escalated, state::State};
//! fn way(escalated: Escalated, s: &State) {
//!     let _ = approval::clear(escalated, s);
//! }
//! ```
//!
//! A call that leaves before its intent is durable:
//!
//! ```compile_fail
//! use countersign_gateway::{call::Moment, seal::Sealed};
//! fn way(sealed: Sealed, now: Moment) {
//!     let _ = sealed.dispatch(now);
//! }
//! ```
//!
//! A call that leaves twice:
//!
//! ```compile_fail
//! use countersign_gateway::{call::Moment, seal::Committed};
//! fn way(committed: Committed, now: Moment) {
//!     let _ = committed.dispatch(now);
//!     let _ = committed.dispatch(now);
//! }
//! ```
//!
//! A right that is made up:
//!
//! ```compile_fail
//! use countersign_gateway::policy::{Escalated, Permitted};
//! fn way(escalated: Escalated) -> Permitted {
//!     Permitted(escalated.decided)
//! }
//! ```

pub mod admission;
pub mod approval;
pub mod budget;
pub mod call;
pub mod check;
pub mod decision;
pub mod execute;
pub mod flow;
pub mod identity;
pub mod mcp;
pub mod policy;
pub mod recall;
pub mod refusal;
pub mod release;
pub mod request;
pub mod seal;
pub mod security;
pub mod state;
pub mod surface;

#[cfg(test)]
mod tests;
