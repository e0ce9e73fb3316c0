//! What a platform attests, behind one trait, so that other platforms can stand beside the TPM.
//!
//! In: 32 bytes of qualifying data. Out: opaque evidence over exactly them. What the evidence is
//! worth is derived by the verifier again; nothing here is a claim it relies on.

use crate::error::PolicyError;
use crate::policy::ReleasePolicy;
use crate::tpm::Tpm;
use crate::transport::TpmAddress;
use std::fmt;

/// The vendor string of libtpms, which swtpm wraps.
const LIBTPMS_VENDOR: &str = "SW   TPM";

/// A platform profile: which evidence there is, and which PCR set it covers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A TPM 2.0 that does not call itself software.
    Tpm,
    /// A software TPM: simulated, vouches for nothing.
    Swtpm,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tpm => "tpm",
            Self::Swtpm => "swtpm",
        })
    }
}

/// A configured profile claims more than what was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("platform is {found}, configuration cannot make it {asked}")]
pub struct ProfileUpgrade {
    /// What was found.
    pub found: Profile,
    /// What was asked for.
    pub asked: Profile,
}

impl Profile {
    /// By address and vendor string. What is reached over TCP is software, whatever it says.
    pub(crate) fn detect(address: &TpmAddress, vendor: &str) -> Self {
        match address {
            TpmAddress::Tcp { .. } => Self::Swtpm,
            TpmAddress::Device(_) if vendor == LIBTPMS_VENDOR => Self::Swtpm,
            TpmAddress::Device(_) => Self::Tpm,
        }
    }

    /// Applies a configured profile, which may claim less than was found, never more.
    ///
    /// # Errors
    /// When it claims more.
    pub fn restricted_to(self, asked: Self) -> Result<Self, ProfileUpgrade> {
        match (self, asked) {
            (Self::Swtpm, Self::Tpm) => Err(ProfileUpgrade { found: self, asked }),
            (Self::Tpm, Self::Tpm | Self::Swtpm) | (Self::Swtpm, Self::Swtpm) => Ok(asked),
        }
    }
}

/// Qualifying data of quotes and certifications, 32 bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Qualifying(pub [u8; 32]);

/// The attestation key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationKey {
    /// Name: `000b` and the SHA-256 of the public area.
    pub name: [u8; 34],
    /// `TPMT_PUBLIC`.
    pub tpmt_public: Vec<u8>,
}

/// Evidence of a TPM: a quote and a certified counter, by one key over the same qualifying data
/// and with the same reset count. Every field holds the bytes that the TPM gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TpmEvidence {
    /// `TPMT_PUBLIC` of the attestation key.
    pub ak_public: Vec<u8>,
    /// `TPMS_ATTEST` of type quote.
    pub quote: Vec<u8>,
    /// `TPMT_SIGNATURE` over the quote.
    pub quote_signature: Vec<u8>,
    /// Index and value of each PCR quoted, ascending.
    pub pcrs: Vec<(u8, [u8; 32])>,
    /// `TPMS_NV_PUBLIC` of the counter.
    pub nv_public: Vec<u8>,
    /// `TPMS_ATTEST` of type NV.
    pub certify: Vec<u8>,
    /// `TPMT_SIGNATURE` over the certification.
    pub certify_signature: Vec<u8>,
    /// Measured-boot event log, where the platform shows one.
    pub event_log: Option<Vec<u8>>,
}

/// Evidence of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Of a hardware or software TPM.
    Tpm(TpmEvidence),
}

/// A step of the epoch counter with evidence of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advanced {
    /// What the counter holds now.
    pub counter: u64,
    /// Evidence that certifies it.
    pub evidence: Evidence,
}

/// A platform did not attest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AttestError {
    /// The platform's TPM, or the release policy under which it acts.
    #[error(transparent)]
    Tpm(#[from] PolicyError),
    /// The platform has no counter that could be certified.
    #[error("platform {profile} has no certified counter")]
    NoCounter {
        /// The platform.
        profile: Profile,
    },
}

/// A platform that can be asked for evidence.
pub trait Attester: Send + Sync {
    /// Which platform this is.
    fn profile(&self) -> Profile;

    /// Evidence over qualifying data; moves nothing.
    ///
    /// # Errors
    /// When the platform refuses or cannot be reached.
    fn attest(&self, qualifying: Qualifying) -> Result<Evidence, AttestError>;

    /// Advances the epoch counter and attests it.
    ///
    /// # Errors
    /// When the platform refuses, cannot be reached or has no counter.
    fn advance(&self, qualifying: Qualifying) -> Result<Advanced, AttestError>;

    /// What the epoch counter holds.
    ///
    /// # Errors
    /// When the platform refuses, cannot be reached or has no counter.
    fn counter(&self) -> Result<u64, AttestError>;
}

/// A TPM attesting under a release policy.
#[derive(Clone)]
pub struct TpmAttester {
    tpm: Tpm,
    release: ReleasePolicy,
    profile: Profile,
}

impl TpmAttester {
    /// Joins a TPM and the policy of the running release; the profile is the one detected,
    /// restricted to `profile` where configuration asks for one.
    ///
    /// # Errors
    /// When configuration claims more than was found.
    pub fn new(
        tpm: Tpm,
        release: ReleasePolicy,
        profile: Option<Profile>,
    ) -> Result<Self, ProfileUpgrade> {
        let found = tpm.identity().profile;
        let profile = profile.map_or(Ok(found), |asked| found.restricted_to(asked))?;
        Ok(Self {
            tpm,
            release,
            profile,
        })
    }
}

impl Attester for TpmAttester {
    fn profile(&self) -> Profile {
        self.profile
    }

    fn attest(&self, qualifying: Qualifying) -> Result<Evidence, AttestError> {
        Ok(Evidence::Tpm(self.tpm.evidence(&self.release, qualifying)?))
    }

    fn advance(&self, qualifying: Qualifying) -> Result<Advanced, AttestError> {
        let (counter, evidence) = self.tpm.advance(&self.release, qualifying)?;
        Ok(Advanced {
            counter,
            evidence: Evidence::Tpm(evidence),
        })
    }

    fn counter(&self) -> Result<u64, AttestError> {
        Ok(self.tpm.counter(&self.release)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_that_calls_itself_libtpms_is_software() {
        assert_eq!(
            Profile::detect(&TpmAddress::default(), "SW   TPM"),
            Profile::Swtpm
        );
    }

    #[test]
    fn a_tcp_address_is_software_whatever_it_says() {
        let address = TpmAddress::Tcp {
            host: "127.0.0.1".into(),
            port: 1,
        };
        assert_eq!(Profile::detect(&address, "SLB9670"), Profile::Swtpm);
    }

    #[test]
    fn a_device_of_a_vendor_is_a_tpm() {
        assert_eq!(
            Profile::detect(&TpmAddress::default(), "SLB9670"),
            Profile::Tpm
        );
    }

    #[test]
    fn configuration_cannot_turn_software_into_hardware() {
        let upgrade = ProfileUpgrade {
            found: Profile::Swtpm,
            asked: Profile::Tpm,
        };
        assert_eq!(Profile::Swtpm.restricted_to(Profile::Tpm), Err(upgrade));
    }

    #[test]
    fn configuration_may_claim_less() {
        assert_eq!(
            Profile::Tpm.restricted_to(Profile::Swtpm),
            Ok(Profile::Swtpm)
        );
    }
}
