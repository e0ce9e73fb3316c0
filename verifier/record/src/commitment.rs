//! Salted commitments: what stands in an entry in place of a value, and how it is opened.
//!
//! In: a value, a field, an unpredictable salt. Out: 32 bytes that say nothing about the
//! value to anyone without the salt. Destroying the salt leaves every proof intact.
//! The field is part of what is hashed, so a commitment cannot be opened as another field's.
//!
//! Spec: `docs/spec/record.md`, "Commitments"; CDDL `disclosure`.

use crate::cbor::{Bytes, Cbor, Writer};
use crate::digest::{Commitment, Salt, sha256_in};
use crate::{cbor_enum, cbor_map};

cbor_enum! {
    /// Which value a commitment stands for.
    pub enum Field ("committed field") {
        /// The agent's URN, text.
        Agent = 1: "agent",
        /// The delegated user, text.
        User = 2: "user",
        /// The session, as the client names it, text.
        Session = 3: "session",
        /// What proves who called; an encoded [`CallerProof`].
        CallerProof = 4: "caller-proof",
        /// The request as received: the bytes of the arguments.
        Received = 5: "received-input",
        /// The bytes of the arguments that were forwarded.
        Forwarded = 6: "forwarded-input",
        /// The upstream's result as it came.
        RawResult = 7: "raw-result",
        /// The result that the caller got.
        Released = 8: "released-result",
        /// Interim messages, in order.
        Transcript = 9: "transcript",
        /// The exact facts that the verdict was computed from.
        Facts = 10: "facts",
        /// The caller's idempotency key, text.
        Idempotency = 11: "idempotency-key",
        /// What an approver was shown, text.
        Preview = 12: "preview",
        /// A person's signed approval statement.
        ApprovalStatement = 13: "approval-statement",
        /// Details of an event, text.
        EventDetail = 14: "event-detail",
        /// A tenant's name, text.
        Tenant = 15: "tenant",
        /// What the caller's token or certificate said; an encoded [`crate::claims::CallerClaims`].
        Claims = 16: "claims",
        /// The chain of principals behind the caller; an encoded [`crate::claims::PrincipalChain`].
        PrincipalChain = 17: "principal-chain",
        /// Where the call went; an encoded [`crate::egress::EgressConnections`].
        Egress = 18: "egress",
        /// A person's signed erasure statement.
        ErasureStatement = 19: "erasure-statement",
        /// A person's signed hold statement.
        HoldStatement = 20: "hold-statement",
        /// A person's signed stop statement.
        StopStatement = 21: "stop-statement",
    }
}

cbor_map! {
    /// One opened commitment.
    pub struct Disclosure {
        /// Which field of the entry.
        1 => field: Field,
        /// The salt.
        2 => salt: Salt,
        /// The value.
        3 => value: Bytes,
    }
}

impl Disclosure {
    /// The commitment that this opens.
    #[must_use]
    pub fn commitment(&self) -> Commitment {
        commit(self.field, self.salt, &self.value.0)
    }
}

/// Commits to `value`.
#[must_use]
pub fn commit(field: Field, salt: Salt, value: &[u8]) -> Commitment {
    let mut w = Writer::new();
    w.array(3);
    salt.write(&mut w);
    field.write(&mut w);
    w.bytes(value);
    Commitment(sha256_in("countersign/commitment/v1", &[&w.into_bytes()]))
}

cbor_map! {
    /// What proves who called, kept so that it can be verified again offline.
    pub struct CallerProof {
        /// The caller's Ed25519 public key.
        1 => key: crate::digest::PublicKey,
        /// Signature base of RFC 9421.
        2 => signature_base: Bytes,
        /// The signature over it.
        3 => signature: crate::digest::Signature,
    }
}
