//! What can go wrong at a TPM, by operation. Every message names the cause.
//!
//! No error carries a secret; handles, PCR indices, names and response codes are public.

use crate::pcr::PcrError;
use crate::wire::WireError;
use std::io;

/// A TPM could not be asked, or did not answer as it should.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TpmError {
    /// Nothing answers at the address.
    #[error("no tpm at {address}: {cause}")]
    Unreachable {
        /// Where it was looked for.
        address: String,
        /// What the operating system said.
        cause: io::ErrorKind,
    },
    /// The connection broke during a command; the next request connects again.
    #[error("connection to the tpm broke during {command}: {cause}")]
    Transport {
        /// The command being carried out.
        command: &'static str,
        /// What the operating system said.
        cause: io::ErrorKind,
    },
    /// The TPM refused a command.
    #[error("tpm refused {command} with {code:#05x} ({})", meaning(*code))]
    Refused {
        /// The command refused.
        command: &'static str,
        /// `TPM_RC`. Source: Part 2, 6.6.
        code: u32,
    },
    /// The answer is not laid out as the specification says.
    #[error("answer of the tpm to {command} is malformed: {wrong}")]
    Malformed {
        /// The command answered.
        command: &'static str,
        /// What is wrong.
        wrong: WireError,
    },
    /// The answer does not carry the session's authentication code: something stands between.
    #[error("answer to {command} was not authenticated by the tpm's session")]
    Forged {
        /// The command answered.
        command: &'static str,
    },
    /// The storage key at its standard handle is not one we can rely on.
    #[error(
        "persistent key {handle:#010x} is not an empty-password ecc p-256 storage key made by this tpm"
    )]
    ForeignStorageKey {
        /// Its handle.
        handle: u32,
    },
    /// After reconnecting, another TPM answers than before.
    #[error("another tpm answers than at start: its attestation key differs")]
    Replaced,
    /// The system's random source failed.
    #[error("the system gave no random bytes")]
    Entropy,
    /// The thread that owns the TPM has ended.
    #[error("the thread that owns the tpm has ended")]
    Stopped,
    /// More random bytes were asked for than one request gives.
    #[error("{asked} random bytes asked for, limit is {limit}")]
    TooManyBytes {
        /// Bytes asked for.
        asked: usize,
        /// Most that are given.
        limit: usize,
    },
}

impl TpmError {
    /// Whether the TPM refused with one of these codes, whatever parameter it was about.
    pub(crate) fn is_refusal(&self, codes: &[u32]) -> bool {
        if let Self::Refused { code, .. } = self {
            codes.contains(&base(*code))
        } else {
            false
        }
    }
}

/// A release policy was not satisfied, or an operation that needs one failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// The release key is not a point the TPM accepts.
    #[error("release key is not a valid p-256 key")]
    ReleaseKeyInvalid,
    /// The approval is not by the release key, or not over this policy.
    #[error("release policy is not signed by the release key")]
    SignatureWrong,
    /// An index was never made, or was deleted.
    #[error("nv index {index:#010x} is missing from this tpm")]
    IndexMissing {
        /// Its handle.
        index: u32,
    },
    /// An index exists but is not ours: other attributes, other size or another release key.
    #[error("nv index {index:#010x} belongs to another program or another release key")]
    IndexForeign {
        /// Its handle.
        index: u32,
    },
    /// An index exists but was never written.
    #[error("nv index {index:#010x} was never written")]
    IndexUnwritten {
        /// Its handle.
        index: u32,
    },
    /// The release floor shuts this release out.
    #[error("release floor is {floor}, above this release's sequence {sequence}")]
    FloorAboveRelease {
        /// What the floor holds.
        floor: u64,
        /// Sequence of this release.
        sequence: u64,
    },
    /// The machine did not boot to what the release approves.
    #[error("pcr {} differ from what the release approves", list(pcrs))]
    PcrChanged {
        /// Indices of the PCRs that differ.
        pcrs: Vec<u8>,
    },
    /// The floor never goes down.
    #[error("release floor is {floor}, cannot be lowered to {asked}")]
    FloorWouldFall {
        /// What the floor holds.
        floor: u64,
        /// What was asked for.
        asked: u64,
    },
    /// A release never shuts itself out.
    #[error("release floor {asked} would be above this release's sequence {sequence}")]
    FloorAboveSelf {
        /// What was asked for.
        asked: u64,
        /// Sequence of this release.
        sequence: u64,
    },
    /// The owner authorization is set, so no index can be made.
    #[error("the tpm's owner authorization is set; clear it or define the nv indexes beforehand")]
    OwnerAuthorizationSet,
    /// PCRs kept changing while they were quoted.
    #[error("pcrs changed in each of {attempts} attempts to quote them")]
    PcrUnstable {
        /// Quotes taken.
        attempts: u32,
    },
    /// The quote and the certified counter are of different boots of the TPM.
    #[error("tpm was reset between quote (reset {quoted}) and certification (reset {certified})")]
    ResetBetween {
        /// Reset count of the quote.
        quoted: u32,
        /// Reset count of the certification.
        certified: u32,
    },
    /// The clock may be behind what it showed before; verifiers do not accept that.
    #[error(
        "tpm's clock is not safe yet after an unclean shutdown; it will be within its saving interval"
    )]
    ClockUnsafe,
    /// The event log exists but could not be read.
    #[error("measured-boot event log could not be read: {cause}")]
    EventLog {
        /// What the operating system said.
        cause: io::ErrorKind,
    },
    /// The event log is larger than we accept.
    #[error("measured-boot event log is larger than the limit of {limit} bytes")]
    EventLogTooLarge {
        /// The limit, in bytes.
        limit: u64,
    },
    /// The TPM answered with PCRs that make no set.
    #[error(transparent)]
    Pcrs(#[from] PcrError),
    /// The TPM itself.
    #[error(transparent)]
    Tpm(#[from] TpmError),
}

/// A secret was not sealed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// Too short to be a key, or longer than a TPM seals.
    #[error("secret is {found} bytes, limits are {least} and {most}")]
    Length {
        /// Bytes given.
        found: usize,
        /// Fewest accepted.
        least: usize,
        /// Most accepted.
        most: usize,
    },
    /// The TPM itself.
    #[error(transparent)]
    Tpm(#[from] TpmError),
}

/// A sealed blob was not opened.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnsealError {
    /// Sealed under the storage key of another TPM, or of this one before it was cleared.
    #[error("blob was sealed by another tpm (storage key {sealed_under}, here {here})")]
    OtherTpm {
        /// Name of the storage key it was sealed under, hexadecimal.
        sealed_under: String,
        /// Name of this TPM's storage key, hexadecimal.
        here: String,
    },
    /// Sealed for another release key.
    #[error("blob was sealed for another release key")]
    OtherReleaseKey,
    /// The TPM does not recognize the blob as its own.
    #[error(
        "blob was altered, or its storage key was replaced: the tpm rejects its integrity value"
    )]
    Altered,
    /// A blob of another purpose stands in this one's place.
    #[error("blob was sealed under another label than {expected}")]
    OtherLabel {
        /// The label asked for.
        expected: &'static str,
    },
    /// The release policy is not satisfied.
    #[error(transparent)]
    Policy(#[from] PolicyError),
}

impl From<TpmError> for UnsealError {
    fn from(error: TpmError) -> Self {
        Self::Policy(PolicyError::Tpm(error))
    }
}

/// A response code without the bits that say which handle, session or parameter it is about.
/// SPEC: Part 2, 6.6.2.
pub(crate) fn base(code: u32) -> u32 {
    if code & 0x80 == 0 { code } else { code & 0xBF }
}

/// `TPM_RC_HANDLE`: no such object or index.
pub(crate) const RC_HANDLE: u32 = 0x8B;
/// `TPM_RC_SIGNATURE`.
pub(crate) const RC_SIGNATURE: u32 = 0x9B;
/// `TPM_RC_INTEGRITY`.
pub(crate) const RC_INTEGRITY: u32 = 0x9F;
/// `TPM_RC_ECC_POINT`.
pub(crate) const RC_ECC_POINT: u32 = 0xA7;
/// `TPM_RC_AUTH_FAIL`.
pub(crate) const RC_AUTH_FAIL: u32 = 0x8E;
/// `TPM_RC_BAD_AUTH`.
pub(crate) const RC_BAD_AUTH: u32 = 0xA2;
/// `TPM_RC_POLICY_FAIL`.
pub(crate) const RC_POLICY_FAIL: u32 = 0x9D;
/// `TPM_RC_AUTH_UNAVAILABLE`: the object or index has no such way in.
#[cfg(test)]
pub(crate) const RC_AUTH_UNAVAILABLE: u32 = 0x12F;
/// `TPM_RC_NV_AUTHORIZATION`: the handle given has no right to this index.
#[cfg(test)]
pub(crate) const RC_NV_AUTHORIZATION: u32 = 0x149;

/// The specification's word for a response code, where it helps to act.
fn meaning(code: u32) -> &'static str {
    match base(code) {
        0x84 => "value out of range or not as the policy demands",
        RC_HANDLE => "no such handle",
        RC_AUTH_FAIL | RC_BAD_AUTH => "wrong authorization value",
        RC_SIGNATURE => "signature wrong",
        RC_POLICY_FAIL => "policy not satisfied",
        RC_INTEGRITY => "integrity value wrong",
        RC_ECC_POINT => "point not on the curve",
        0x120 => "tpm in failure or not started",
        0x126 => "policy comparison failed",
        0x128 => "pcr changed",
        0x12F => "no such way of authorization",
        0x149 => "nv access not authorized",
        0x14A => "nv index never written",
        0x14B => "nv space exhausted",
        0x14C => "nv index exists already",
        0x902 => "no free object slot",
        0x903 => "no free session slot",
        0x908 | 0x90A | 0x922 => "busy, asked again in vain",
        0x920 => "nv write rate limited, asked again in vain",
        0x921 => "locked out after failed authorizations",
        0x923 => "nv not available",
        _ => "see tpm 2.0 part 2, 6.6",
    }
}

/// Indices with commas.
fn list(indices: &[u8]) -> String {
    indices
        .iter()
        .map(u8::to_string)
        .collect::<Vec<_>>()
        .join(", ")
}
