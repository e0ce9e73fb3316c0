//! # countersign-verify: the auditor's checks
//!
//! In: the bytes of an export, as a stream; the auditor's own [`trust::Trust`]; a time.
//! Out: a [`report::Report`]. Nothing here reads a clock, a file by itself, or a network, and
//! nothing that stands in an export is believed because it stands there.
//!
//! Every check runs and is printed with a state: `pass`, `fail`, `not-checked` or `cannot-tell`.
//! A state is derived from what ran ([`ledger::Ledger`]), never from a field that is present:
//! a check that was never made cannot pass.
//!
//! **May know:** the format, signatures, evidence. **Must never know:** a policy engine, a
//! gateway, a device.
//!
//! A client that is about to call a gateway appraises it by the same code: [`counterpart`].
//!
//! Several exports of a fleet are judged one by one, and then together by [`fleet::judge`].
//!
//! **Start reading** at [`verify`], then [`codes`] for what is checked, [`checks`] for how,
//! and [`text`] for what people see. `docs/checks.md` lists the codes; a test compares it.

pub mod bare;
pub mod checks;
pub mod codes;
pub mod counterpart;
pub mod fleet;
pub mod handover;
pub mod ledger;
pub mod parallel;
pub mod progress;
pub mod query;
pub mod receipts;
pub mod report;
pub mod selftest;
pub mod stream;
pub mod text;
pub mod today;
pub mod trust;

mod hardware;
mod keys;

pub use countersign_record::time;
pub use stream::{Depth, MAX_GIVEN, Options, verify};
