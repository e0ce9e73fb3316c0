//! Evidence as it travels beside the log: the device's own bytes, untouched.
//!
//! In and out: containers of vendor structures. What is in them is verified by
//! `countersign-evidence`; here they are byte strings. An entry holds the digest
//! ([`crate::digest::ArtifactDigest`]) of the container's encoding.
//!
//! Spec: `docs/spec/evidence.md`; CDDL `tpm-evidence`, `platform-evidence`.

use crate::binding::Profile;
use crate::cbor::Bytes;
use crate::{cbor_enum, cbor_map};

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

cbor_enum! {
    /// What a piece of an endorsement is.
    pub enum EndorsementKind ("kind of endorsement") {
        /// AMD: certificate of the key that signed the report (VCEK or VLEK), DER.
        AmdVek = 1: "amd-vek",
        /// AMD: certificate of its issuer (ASK or ASVK), DER.
        AmdIssuer = 2: "amd-issuer",
        /// AMD: certificate of the root (ARK), DER.
        AmdRoot = 3: "amd-root",
        /// AMD: the root's revocation list, DER.
        AmdCrl = 4: "amd-crl",
        /// Intel: TCB information, the answer of its service, JSON with the signature inside.
        IntelTcbInfo = 5: "intel-tcb-info",
        /// Intel: issuers of the TCB information, PEM.
        IntelTcbInfoChain = 6: "intel-tcb-info-chain",
        /// Intel: identity of the quoting enclave, the answer of its service, JSON with the signature inside.
        IntelQeIdentity = 7: "intel-qe-identity",
        /// Intel: issuers of the identity of the quoting enclave, PEM.
        IntelQeIdentityChain = 8: "intel-qe-identity-chain",
        /// Intel: revocation list of the platform's certificate, DER.
        IntelPckCrl = 9: "intel-pck-crl",
        /// Intel: the root's revocation list, DER.
        IntelRootCrl = 10: "intel-root-crl",
        /// A certificate towards the platform's attestation key, DER: the key's own first.
        KeyCertificate = 11: "key-certificate",
        /// Google: signed statement about the firmware that a launch measurement is of.
        GoogleLaunch = 12: "google-launch",
    }
}

cbor_map! {
    /// Something of a vendor's that makes evidence mean something, as the vendor gave it.
    pub struct Endorsement {
        /// What it is.
        1 => kind: EndorsementKind,
        /// Its bytes.
        2 => bytes: Bytes,
    }
}

cbor_map! {
    /// A key of the platform's that vouches for the attestation key, both in one TPM.
    pub struct PlatformKey {
        /// Public area of the platform's key, `TPMT_PUBLIC`.
        1 => public: Bytes,
        /// `TPMS_ATTEST` of type certify, about the attestation key.
        2 => certify: Bytes,
        /// `TPMT_SIGNATURE` over it, by the platform's key.
        3 => certify_signature: Bytes,
    }
}

cbor_map! {
    /// What the processor and whoever stands between it and the guest say about an opening, and what vendors say about them.
    pub struct PlatformEvidence {
        /// Which profile this evidence is complete for.
        1 => profile: Profile,
        /// Report of the processor: an SEV-SNP report or a TDX quote. Absent where the paravisor's report has it inside.
        2 => report: Option<Bytes>,
        /// Report of Azure's paravisor.
        3 => paravisor: Option<Bytes>,
        /// The platform's own key, where the TPM is the platform's.
        4 => key: Option<PlatformKey>,
        /// Endorsements, in the order of their kinds.
        5 => endorsements: Vec<Endorsement>,
    }
}

/// Which endorsements belong to the evidence of an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endorsements {
    /// Those that have to be there.
    pub needed: &'static [EndorsementKind],
    /// Those that may be.
    pub allowed: &'static [EndorsementKind],
}

impl Profile {
    /// The endorsements of this profile: the last column of `docs/spec/evidence.md`, "Platform profiles".
    #[must_use]
    pub fn endorsements(self) -> Endorsements {
        let (needed, allowed) = match self {
            Self::Swtpm | Self::Tpm => (&[][..], &[][..]),
            Self::Snp | Self::AzureSnp => (AMD, AMD_ALSO),
            Self::Tdx | Self::AzureTdx => (INTEL, &[][..]),
            Self::GcpSnp => (AMD_AND_KEY, GOOGLE_AMD_ALSO),
            Self::GcpTdx => (INTEL_AND_KEY, GOOGLE_ALSO),
        };
        Endorsements { needed, allowed }
    }
}

const AMD: &[EndorsementKind] = &[
    EndorsementKind::AmdVek,
    EndorsementKind::AmdIssuer,
    EndorsementKind::AmdRoot,
];
const AMD_AND_KEY: &[EndorsementKind] = &[
    EndorsementKind::AmdVek,
    EndorsementKind::AmdIssuer,
    EndorsementKind::AmdRoot,
    EndorsementKind::KeyCertificate,
];
const INTEL: &[EndorsementKind] = &[
    EndorsementKind::IntelTcbInfo,
    EndorsementKind::IntelTcbInfoChain,
    EndorsementKind::IntelQeIdentity,
    EndorsementKind::IntelQeIdentityChain,
    EndorsementKind::IntelPckCrl,
    EndorsementKind::IntelRootCrl,
];
const INTEL_AND_KEY: &[EndorsementKind] = &[
    EndorsementKind::IntelTcbInfo,
    EndorsementKind::IntelTcbInfoChain,
    EndorsementKind::IntelQeIdentity,
    EndorsementKind::IntelQeIdentityChain,
    EndorsementKind::IntelPckCrl,
    EndorsementKind::IntelRootCrl,
    EndorsementKind::KeyCertificate,
];
const AMD_ALSO: &[EndorsementKind] = &[EndorsementKind::AmdCrl];
const GOOGLE_ALSO: &[EndorsementKind] = &[EndorsementKind::GoogleLaunch];
const GOOGLE_AMD_ALSO: &[EndorsementKind] =
    &[EndorsementKind::AmdCrl, EndorsementKind::GoogleLaunch];
