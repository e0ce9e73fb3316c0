//! TPM 2.0 evidence: a quote and a certified counter, side by side.
//!
//! In: [`TpmEvidence`], the bytes as received, and [`Expected`], what they have to say. Out:
//! [`TpmAppraisal`]: every check by name, and, only if none failed, what is now known
//! ([`VerifiedTpm`]). Relies on [`crate::eventlog`] for the boot log.
//!
//! What it shows: a TPM that holds this attestation key, a restricted primary key of its endorsement
//! hierarchy, saw these PCR values and this counter value, both in one run of the machine and over
//! this qualifying data. It does not show whose TPM that is: without a chain from a manufacturer
//! the class is never more than [`EvidenceClass::UnendorsedTpm`], for software can do all of this.
//!
//! The order is the producer's: the counter is certified first, then the PCRs are quoted.
//!
//! Spec: `docs/spec/evidence.md`. Structures: TCG "TPM 2.0 Library" Part 2.

mod appraise;
mod certified;
mod chain;
mod key;
mod pcr;
mod policy;
mod quote;
mod structures;
mod vouched;

pub use appraise::{appraise_tpm, appraise_vouched_tpm};
pub use certified::{
    CertifiedAppraisal, CertifiedCheck, CertifiedEvidence, CertifiedPolicy, appraise_certified,
};
pub use chain::{
    Activation, AkAppraisal, AkCheck, AkEvidence, AkPolicy, AkRoot, AkRootKind, AkRoots,
    CertifiedKey, Instance, InstanceId, MAX_ISSUERS, VerifiedAk, appraise_ak,
};
pub use key::{KeyError, KeyName, KeySignature, KeySignatureError, PlainKey, TpmKey};
pub use pcr::{PcrSet, PcrSetError, PcrValues};
pub use policy::{
    POLICY_REF, PolicyDigest, RELEASE_KEY_ATTRIBUTES, ReleaseKey, ReleaseKeyError,
    policy_authorize_digest,
};
pub use quote::{
    QuoteAppraisal, QuoteCheck, QuoteEvidence, QuotePolicy, Selection, VerifiedQuote,
    appraise_quote,
};
pub use structures::{EccPublicError, TpmName};
pub use vouched::{ExpectedKey, PresentedKey, VouchedKey};

use crate::appraisal::{Check, Outcome};
use crate::party::Party;

/// What a TPM (or what claims to be one) presented, untouched.
#[derive(Clone)]
pub struct TpmEvidence<'a> {
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: &'a [u8],
    /// `TPMS_ATTEST` of type quote.
    pub quote: &'a [u8],
    /// `TPMT_SIGNATURE` over the quote.
    pub quote_signature: &'a [u8],
    /// The values that the quote is said to cover, by index, SHA-256 bank.
    pub pcrs: Vec<(u8, [u8; 32])>,
    /// `TPMS_NV_PUBLIC` of the counter.
    pub nv_public: &'a [u8],
    /// `TPMS_ATTEST` of type NV.
    pub certify: &'a [u8],
    /// `TPMT_SIGNATURE` over the certification.
    pub certify_signature: &'a [u8],
    /// Event log of the boot, where the platform has one.
    pub event_log: Option<&'a [u8]>,
}

/// What evidence has to say. None of it may come from the evidence.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Under which profile the evidence was made.
    pub profile: TpmProfile,
    /// What both statements were made over.
    pub qualifying: Qualifying,
    /// The attestation key that the binding names.
    pub attestation_key: TpmName,
    /// Exactly the PCRs that the profile names.
    pub pcrs: PcrSet,
    /// The counter's policy, see [`policy_authorize_digest`].
    pub counter_policy: PolicyDigest,
    /// Oldest firmware that the trust policy accepts; `None` where it names none.
    pub firmware_floor: Option<FirmwareVersion>,
}

/// What a TPM was asked to sign beside its own state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qualifying(pub [u8; 32]);

/// A TPM's own number of its firmware; comparable only between TPMs of one make.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct FirmwareVersion(pub u64);

impl core::fmt::Display for FirmwareVersion {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{:#018x}", self.0)
    }
}

/// What kind of TPM the gateway says it has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TpmProfile {
    /// A software TPM, started beside the gateway.
    Swtpm,
    /// A TPM of the machine.
    Tpm,
}

/// What evidence of this kind is worth; a trust policy names the classes that it accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvidenceClass {
    /// Made by software that says so, or whose firmware number is that of a software TPM.
    Software,
    /// Like a TPM in everything that was checked, but no manufacturer vouches for it. Software can
    /// look like this, so a policy that wants hardware must not accept it.
    UnendorsedTpm,
    /// A TPM chip whose manufacturer, or whoever checked its endorsement key, vouches for its attestation key.
    /// [`appraise_tpm`] never says so: nobody vouches there.
    DiscreteTpm,
    /// A TPM that a cloud's hypervisor runs, outside the guest's protected memory.
    HypervisorTpm,
    /// A TPM that a paravisor runs within the guest's protected memory, above the guest.
    ParavisorTpm,
}

impl EvidenceClass {
    /// Its stable name.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Software => "software",
            Self::UnendorsedTpm => "unendorsed-tpm",
            Self::DiscreteTpm => "discrete-tpm",
            Self::HypervisorTpm => "hypervisor-tpm",
            Self::ParavisorTpm => "paravisor-tpm",
        }
    }
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmAppraisal {
    checks: Vec<Check<TpmCheck>>,
    class: EvidenceClass,
    parties: Vec<Party>,
    verified: Option<VerifiedTpm>,
}

impl TpmAppraisal {
    /// All checks, each once, in the order of [`TpmCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<TpmCheck>] {
        &self.checks
    }

    /// What such evidence is worth, if it holds.
    #[must_use]
    pub fn class(&self) -> EvidenceClass {
        self.class
    }

    /// Who has to be trusted for that class; none where nobody vouches for the key.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }

    /// What is known now. `None` if any check failed, or one that is needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedTpm> {
        self.verified.as_ref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<TpmCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

/// What evidence says, all checks passed. Only [`appraise_tpm`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTpm {
    attestation_key: TpmName,
    counter: u64,
    session: TpmSession,
    certified_at_ms: u64,
    quoted_at_ms: u64,
    firmware_version: FirmwareVersion,
    pcrs: PcrValues,
}

/// One run of a machine, as its TPM counts: constant from reset to reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct TpmSession {
    /// TPM resets since its hierarchies were made.
    pub reset_count: u32,
    /// Restarts and resumes since the last reset.
    pub restart_count: u32,
}

impl VerifiedTpm {
    /// The key that signed both statements.
    #[must_use]
    pub fn attestation_key(&self) -> TpmName {
        self.attestation_key
    }

    /// Value of the epoch counter.
    #[must_use]
    pub fn counter(&self) -> u64 {
        self.counter
    }

    /// The run in which both statements were made.
    #[must_use]
    pub fn session(&self) -> TpmSession {
        self.session
    }

    /// The TPM's clock when the counter was certified, in milliseconds it was ever powered.
    #[must_use]
    pub fn certified_at_ms(&self) -> u64 {
        self.certified_at_ms
    }

    /// The TPM's clock when the PCRs were quoted, in milliseconds it was ever powered.
    #[must_use]
    pub fn quoted_at_ms(&self) -> u64 {
        self.quoted_at_ms
    }

    /// Firmware of the TPM.
    #[must_use]
    pub fn firmware_version(&self) -> FirmwareVersion {
        self.firmware_version
    }

    /// The quoted PCR values, to be compared with reference values.
    #[must_use]
    pub fn pcrs(&self) -> &PcrValues {
        &self.pcrs
    }
}

crate::appraisal::checks! {
    /// The checks of [`appraise_tpm`]. Their texts are stable: reports and tools rely on them.
    TpmCheck {
        /// The attestation key is an ECDSA P-256 key in its exact form.
        AkPublic = "tpm.ak.public",
        /// It is restricted to what its TPM made, was made in that TPM, and cannot leave it.
        AkAttributes = "tpm.ak.attributes",
        /// It is the key that the binding names.
        AkName = "tpm.ak.name",
        /// A key of the platform vouches for it, where one was presented ([`appraise_vouched_tpm`]).
        AkVouched = "tpm.ak.vouched",
        /// The certification of the counter has its exact form.
        CounterStructure = "tpm.counter.structure",
        /// The attestation key signed it.
        CounterSignature = "tpm.counter.signature",
        /// It names that key as a primary of the endorsement hierarchy.
        CounterSigner = "tpm.counter.signer",
        /// It was made over the expected qualifying data.
        CounterQualifying = "tpm.counter.qualifying",
        /// The TPM vouches for its clock.
        CounterClock = "tpm.counter.clock",
        /// The counter's public area is the expected one: handle, kind, policy only, size.
        CounterPublic = "tpm.counter.public",
        /// The certified index has that public area.
        CounterName = "tpm.counter.name",
        /// The certification covers the whole value.
        CounterValue = "tpm.counter.value",
        /// The quote has its exact form.
        QuoteStructure = "tpm.quote.structure",
        /// The attestation key signed it.
        QuoteSignature = "tpm.quote.signature",
        /// It names that key as a primary of the endorsement hierarchy.
        QuoteSigner = "tpm.quote.signer",
        /// It was made over the expected qualifying data.
        QuoteQualifying = "tpm.quote.qualifying",
        /// The TPM vouches for its clock.
        QuoteClock = "tpm.quote.clock",
        /// It covers exactly the expected PCRs of the SHA-256 bank.
        QuoteSelection = "tpm.quote.selection",
        /// The presented values are those quoted.
        QuoteDigest = "tpm.quote.digest",
        /// Both statements are from one run of one TPM with one firmware.
        PairSession = "tpm.pair.session",
        /// The quote is not older than the certification.
        PairClock = "tpm.pair.clock",
        /// The firmware is not older than the trust policy accepts.
        Firmware = "tpm.firmware",
        /// The event log has its exact form.
        EventLogStructure = "tpm.eventlog.structure",
        /// The event log leads to the quoted values.
        EventLogReplay = "tpm.eventlog.replay",
    }
}

impl TpmCheck {
    /// Whether evidence can hold without this check having run.
    fn is_optional(self) -> bool {
        matches!(
            self,
            Self::AkVouched | Self::Firmware | Self::EventLogStructure | Self::EventLogReplay
        )
    }
}

/// Handle of the epoch counter's NV index.
pub const COUNTER_INDEX: u32 = 0x0150_0020;

/// Attributes of the epoch counter once written: `POLICYWRITE | TPM_NT_COUNTER | POLICYREAD | NO_DA
/// | WRITTEN`. No right of owner, platform or password: only the policy advances or reads it.
///
/// Source: Part 2, 13.4 (`TPMA_NV`).
pub const COUNTER_ATTRIBUTES: u32 = 0x2208_0018;

#[cfg(test)]
mod tests;
