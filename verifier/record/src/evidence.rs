//! Evidence as it travels beside the log: the device's own bytes, untouched.
//!
//! In and out: containers of vendor structures. What is in them is verified by
//! `countersign-evidence`; here they are byte strings. An entry holds the digest
//! ([`crate::digest::ArtifactDigest`]) of the container's encoding.
//!
//! Spec: `docs/spec/evidence.md`; CDDL `tpm-evidence`.

use crate::binding::Profile;
use crate::cbor::Bytes;
use crate::cbor_map;

cbor_map! {
    /// Value of a platform configuration register, SHA-256 bank.
    pub struct PcrValue {
        /// Which register, 0 to 23.
        1 => index: u8,
        /// Its value.
        2 => value: [u8; 32],
    }
}

cbor_map! {
    /// What a TPM 2.0 says about one qualifying value: a quote, and beside it the counter.
    pub struct TpmEvidence {
        /// Which profile this evidence is complete for.
        1 => profile: Profile,
        /// Public area of the attestation key, `TPMT_PUBLIC`.
        2 => ak_public: Bytes,
        /// `TPMS_ATTEST` of type quote.
        3 => quote: Bytes,
        /// `TPMT_SIGNATURE` over the quote.
        4 => quote_signature: Bytes,
        /// The quoted registers, ascending.
        5 => pcrs: Vec<PcrValue>,
        /// Public area of the counter, `TPMS_NV_PUBLIC`.
        6 => nv_public: Bytes,
        /// `TPMS_ATTEST` of type NV for the counter.
        7 => certify: Bytes,
        /// `TPMT_SIGNATURE` over the certification.
        8 => certify_signature: Bytes,
        /// TCG event log of the boot, where the platform has one.
        9 => event_log: Option<Bytes>,
    }
}
