//! What people sign: fleet statements, approvals, recoveries, adoptions, erasures, holds, stops.
//!
//! In: fields. Out: payloads of [`crate::cose::Sign1`] statements with a type each, signed
//! by keys that a customer holds and no gateway ever sees.
//!
//! Spec: `docs/spec/record.md`, "Statements of people".

use crate::binding::LogHead;
use crate::body::{HoldAct, IndexRange, StopAct};
use crate::digest::{
    ActionDigest, Commitment, EntryDigest, GatewayId, KeyId, Nonce, SubjectId, TenantId,
    UnixMillis, sha256_in,
};
use crate::{cbor_enum, cbor_map};

/// Type of a [`FleetStatement`].
pub const FLEET_TYP: &str = "application/countersign.fleet+cose";
/// Type of an [`ApprovalStatement`].
pub const APPROVAL_TYP: &str = "application/countersign.approval+cose";
/// Type of a [`RecoverStatement`].
pub const RECOVER_TYP: &str = "application/countersign.recover+cose";
/// Type of an [`AdoptStatement`].
pub const ADOPT_TYP: &str = "application/countersign.adopt-statement+cose";
/// Type of an [`ErasureStatement`].
pub const ERASURE_TYP: &str = "application/countersign.erasure-statement+cose";
/// Type of a [`HoldStatement`].
pub const HOLD_TYP: &str = "application/countersign.hold-statement+cose";
/// Type of a [`StopStatement`].
pub const STOP_TYP: &str = "application/countersign.stop-statement+cose";

cbor_map! {
    /// A gateway that a customer calls its own.
    pub struct FleetMember {
        /// Which gateway.
        1 => gateway: GatewayId,
        /// Name for people.
        2 => name: String,
        /// From when.
        3 => from: UnixMillis,
        /// Until when, if it has left.
        4 => until: Option<UnixMillis>,
        /// Name of its TPM's attestation key, as checked when it was enrolled.
        5 => ak_name: Option<crate::cbor::Bytes>,
    }
}

cbor_map! {
    /// A customer's numbered list of its gateways, signed by the governance key.
    pub struct FleetStatement {
        /// Name of the fleet.
        1 => fleet: String,
        /// Number of the statement; each new one has a higher number.
        2 => number: u64,
        /// When it was issued.
        3 => issued: UnixMillis,
        /// All gateways of the fleet.
        4 => members: Vec<FleetMember>,
    }
}

cbor_enum! {
    /// What an approver chose.
    pub enum Choice ("choice") {
        /// Let the action happen.
        Approve = 1: "approve",
        /// Do not.
        Refuse = 2: "refuse",
    }
}

cbor_map! {
    /// A person's word on one action, once.
    pub struct ApprovalStatement {
        /// Where the action waits.
        1 => gateway: GatewayId,
        /// The exact action.
        2 => action: ActionDigest,
        /// What the person was shown.
        3 => preview: Commitment,
        /// The person's enrolled key.
        4 => approver: KeyId,
        /// Yes or no.
        5 => choice: Choice,
        /// When it was signed.
        6 => issued: UnixMillis,
        /// Until when it may be used.
        7 => expires: UnixMillis,
        /// Makes each statement one of a kind.
        8 => nonce: Nonce,
    }
}

cbor_map! {
    /// The governance key's word that a gateway may go on although entries are missing.
    pub struct RecoverStatement {
        /// Which gateway.
        1 => gateway: GatewayId,
        /// The log as it was found.
        2 => head: LogHead,
        /// The counter that the log explains.
        3 => explained: u64,
        /// The counter that the TPM shows.
        4 => found: u64,
        /// Why, in words.
        5 => reason: String,
        /// When it was signed.
        6 => issued: UnixMillis,
        /// Entries that a witness had seen, where it had seen more, or others, than the log has.
        7 => witnessed: Option<u64>,
    }
}

cbor_enum! {
    /// What became of the values that open a handed-over log's commitments.
    pub enum Stored ("stored values") {
        /// The recovery key made them readable to the gateway that continues.
        Recovered = 1: "recovered",
        /// Nobody can read them any more; nor does the gateway know which calls must not be repeated.
        Lost = 2: "lost",
    }
}

cbor_map! {
    /// The governance key's word that one gateway continues another's work.
    pub struct AdoptStatement {
        /// The gateway that continues.
        1 => gateway: GatewayId,
        /// The gateway that is gone.
        2 => predecessor: GatewayId,
        /// The predecessor's log, as far as it is known.
        3 => head: LogHead,
        /// Last entry of that log.
        4 => last: EntryDigest,
        /// Why, in words.
        5 => reason: String,
        /// When it was signed.
        6 => issued: UnixMillis,
        /// Whether its stored values were recovered.
        7 => stored: Stored,
    }
}

cbor_map! {
    /// A person's word that disclosures are to be destroyed: of a subject, or of named entries.
    pub struct ErasureStatement {
        /// Where.
        1 => gateway: GatewayId,
        /// All that stands under this pseudonym, and the key behind it.
        2 => subject: Option<SubjectId>,
        /// These entries; none where a subject is named.
        3 => entries: Vec<IndexRange>,
        /// Why: a code such as `gdpr-17`.
        4 => basis: String,
        /// The person's enrolled key.
        5 => signer: KeyId,
        /// When it was signed.
        6 => issued: UnixMillis,
        /// Until when it may be handed in.
        7 => expires: UnixMillis,
        /// Makes each statement one of a kind.
        8 => nonce: Nonce,
    }
}

cbor_map! {
    /// A person's word that disclosures must be kept, or need not be kept any more.
    pub struct HoldStatement {
        /// Where.
        1 => gateway: GatewayId,
        /// Whether it is placed or lifted.
        2 => act: HoldAct,
        /// Name of the hold.
        3 => id: String,
        /// Of this subject alone.
        4 => subject: Option<SubjectId>,
        /// Of this tenant alone.
        5 => tenant: Option<TenantId>,
        /// Of these entries alone.
        6 => entries: Option<IndexRange>,
        /// Until when; absent: until it is lifted.
        7 => until: Option<UnixMillis>,
        /// Why, in words.
        8 => reason: String,
        /// The person's enrolled key.
        9 => signer: KeyId,
        /// When it was signed.
        10 => issued: UnixMillis,
        /// Until when the statement may be handed in.
        11 => expires: UnixMillis,
        /// Makes each statement one of a kind.
        12 => nonce: Nonce,
    }
}

cbor_map! {
    /// A person's word that calls are stopped, or may go on again.
    pub struct StopStatement {
        /// Where.
        1 => gateway: GatewayId,
        /// Whether calls are stopped or resumed.
        2 => act: StopAct,
        /// Name of the stop.
        3 => id: String,
        /// Of this tenant alone.
        4 => tenant: Option<TenantId>,
        /// Of this capability alone.
        5 => capability: Option<String>,
        /// Of this agent alone, by its URN.
        6 => agent: Option<String>,
        /// Why, in words.
        7 => reason: String,
        /// The person's enrolled key.
        8 => signer: KeyId,
        /// When it was signed.
        9 => issued: UnixMillis,
        /// Until when the statement may be handed in.
        10 => expires: UnixMillis,
        /// Makes each statement one of a kind.
        11 => nonce: Nonce,
    }
}

/// The digest of an encoded [`crate::body::Action`]; what an approver signs.
#[must_use]
pub fn action_digest(action: &[u8]) -> ActionDigest {
    ActionDigest(sha256_in("countersign/action/v1", &[action]))
}
