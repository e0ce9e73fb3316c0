//! # countersign-replay: the same stages again
//!
//! In: an export, the auditor's [`Trust`], a time. Out: a [`Replay`]: for each settled call
//! whether the stages of `countersign-gateway`, run again on the recorded inputs, give the
//! recorded bytes; the first difference if they do not; and on request what another bundle
//! would have said. No gateway, network, key or device.
//!
//! The export is verified first; one that was altered is not replayed. The stages are the
//! gateway's own functions. What a record cannot prove anew is taken from it, and [`INPUTS`]
//! lists that.
//!
//! **May know:** the format, the gateway's stages, policy, the verifier. **Must never:** change
//! a verdict of the verifier, or be linked by it.
//!
//! **Start reading** at [`replay`], then [`again`] for the stages and [`compare`] for what is
//! compared. `docs/replay.md` says how to read the output.

pub mod again;
pub mod call;
pub mod compare;
pub mod export;
pub mod report;
pub mod rules;
pub mod whatif;

mod run;

pub use report::{INPUTS, Replay, Status};
pub use run::{Options, Progress, ReplayError, replay};

#[cfg(doc)]
use countersign_verify::trust::Trust;
