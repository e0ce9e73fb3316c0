//! What each kind of entry says.
//!
//! Start reading at [`Decision`], the Decision Record. [`call`] has what happens to a call,
//! [`lifecycle`] what happens to a gateway, [`control`] what happens to what is in force,
//! [`privacy`] what is forgotten and what must be kept.
//!
//! Nothing personal stands here in the clear: values are [`crate::digest::Commitment`]s,
//! opened by [`crate::commitment::Disclosure`]s that travel beside the log.
//!
//! Spec: `docs/spec/record.md`, "Bodies".

pub mod call;
pub mod control;
pub mod lifecycle;
pub mod privacy;

pub use call::{
    Action, Approval, Caller, CapabilityRef, Classification, Decision, Effect, Handling, Intent,
    Lineage, Mode, PolicyOutcome, RunClosed, Times, Trace, Verdict,
};
pub use control::{Change, ChangeKind, Event, EventKind, Stop, StopAct};
pub use lifecycle::{
    AbandonedOpening, Adopt, Base, Close, Enrol, EvidenceRef, Gap, Renewal, TenantHead,
    TenantProof, tenant_proof, tenants_root,
};
pub use privacy::{Erasure, Hold, HoldAct, Holdable, IndexRange};
