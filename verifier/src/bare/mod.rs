//! A bare piece of evidence, without an export: for whoever debugs a platform, or holds a capture in hands.
//!
//! In: files, by content ([`pieces`]); what the evidence has to be over; a trust file, if there is one; a
//! time. Out: a [`Bare`]: every check of the same appraisals as those of exports, by name, what the evidence
//! says of itself, and a verdict. A check that nobody gave anything to compare with is printed as not made.
//!
//! The verdict is never better than what was asked: without `--expect-report-data` or `--nonce` nobody said what
//! the evidence should be over, and without a trust file nobody said what is accepted.

mod judge;
mod pieces;
mod report;
mod says;
mod window;

pub use countersign_evidence::eventlog::EventLog;
pub use countersign_evidence::tdx::Collateral as IntelCollateral;
pub(crate) use pieces::armour;

pub use judge::{Asked, BareError, Given, judge};
pub use pieces::{Piece, PieceError, Vendor, pieces, vendor};
pub use report::{BARE_VERSION, Bare, Line, Part, Said};
pub use window::{UnreadableReport, Window, tpm_persisted, window};
