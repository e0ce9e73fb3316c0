//! What a platform attests, behind one trait, so that other platforms can stand beside the TPM.
//!
//! In: 32 bytes of qualifying data. Out: opaque evidence over exactly them. What the evidence is
//! worth is derived by the verifier again; nothing here is a claim it relies on.

use crate::error::PolicyError;
use crate::policy::ReleasePolicy;
use crate::tpm::Tpm;
use crate::transport::TpmAddress;
use crate::vouching::{PARAVISOR_KEY, PlatformWord};
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
    /// SEV-SNP on Azure: a paravisor above the guest holds its TPM.
    AzureSnp,
    /// TDX on Azure: a paravisor above the guest holds its TPM.
    AzureTdx,
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tpm => "tpm",
            Self::Swtpm => "swtpm",
            Self::AzureSnp => "azure-snp",
            Self::AzureTdx => "azure-tdx",
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
    /// By address, vendor string and a paravisor's report, where there is one. What is reached over TCP is software,
    /// whatever it says.
    pub(crate) fn detect(address: &TpmAddress, vendor: &str, paravisor: Option<&[u8]>) -> Self {
        match address {
            TpmAddress::Tcp { .. } => Self::Swtpm,
            TpmAddress::Device(_) if vendor == LIBTPMS_VENDOR => Self::Swtpm,
            TpmAddress::Device(_) => paravisor.and_then(of_paravisor).unwrap_or(Self::Tpm),
        }
    }

    /// Applies a configured profile, which may claim less than was found, never more.
    ///
    /// # Errors
    /// When it claims more.
    pub fn restricted_to(self, asked: Self) -> Result<Self, ProfileUpgrade> {
        let less = match (self, asked) {
            // A TPM in a paravisor is none in a chip: without the processor's report it would look like one.
            (_, Self::Swtpm) => true,
            (found, asked) => found == asked,
        };
        if less {
            Ok(asked)
        } else {
            Err(ProfileUpgrade { found: self, asked })
        }
    }
}

/// Which hardware stands below a paravisor, as its report says. Source: `docs/spec/azure.md`.
fn of_paravisor(report: &[u8]) -> Option<Profile> {
    let kind = report.strip_prefix(b"HCLA")?.get(PARAVISOR_KIND_AT..)?;
    match kind.first_chunk()? {
        [2, 0, 0, 0] => Some(Profile::AzureSnp),
        [4, 0, 0, 0] => Some(Profile::AzureTdx),
        _ => None,
    }
}

/// Where a paravisor's report says of which kind it is, after its first four bytes: 28 bytes of header, 1184 of the
/// processor's report, two numbers.
const PARAVISOR_KIND_AT: usize = 28 + 1184 + 8;

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

/// What stands beside a TPM's evidence when an epoch opens: reports, as the platform gave them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformReport {
    /// Report of the paravisor.
    pub paravisor: Option<Vec<u8>>,
    /// What the platform's key says of the attestation key.
    pub key: Option<PlatformWord>,
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
    /// A profile's evidence has something that this machine does not give.
    #[error("platform {profile} needs {what}, which is not there: {hint}")]
    Missing {
        /// The platform.
        profile: Profile,
        /// What.
        what: &'static str,
        /// What to do.
        hint: &'static str,
    },
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

    /// What stands beside the TPM's evidence of an opening; nothing where the profile has nothing of the kind.
    ///
    /// # Errors
    /// When the platform refuses, or does not have what its profile needs.
    fn platform(&self, qualifying: Qualifying) -> Result<Option<PlatformReport>, AttestError>;

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

    fn platform(&self, qualifying: Qualifying) -> Result<Option<PlatformReport>, AttestError> {
        let missing = |what, hint| AttestError::Missing {
            profile: self.profile,
            what,
            hint,
        };
        match self.profile {
            Profile::Tpm | Profile::Swtpm => Ok(None),
            Profile::AzureTdx => Err(missing(
                "a quote of the trust domain",
                "the host's service makes it, and this version does not ask that service",
            )),
            Profile::AzureSnp => {
                let tpm = |e| AttestError::Tpm(PolicyError::from(e));
                let paravisor = self.tpm.paravisor_report().map_err(tpm)?;
                let key = self
                    .tpm
                    .platform_word(PARAVISOR_KEY, qualifying)
                    .map_err(tpm)?;
                if paravisor.is_none() {
                    let hint = "it stood in NV index 0x01400001 when the TPM was opened; restart the machine";
                    return Err(missing("the paravisor's report", hint));
                }
                if key.is_none() {
                    let hint =
                        "it should be at 0x81000003; restart the machine, which makes it anew";
                    return Err(missing("the paravisor's attestation key", hint));
                }
                Ok(Some(PlatformReport { paravisor, key }))
            }
        }
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
        let paravisor = report(2);
        assert_eq!(
            Profile::detect(&TpmAddress::default(), "SW   TPM", Some(&paravisor)),
            Profile::Swtpm
        );
    }

    #[test]
    fn a_tcp_address_is_software_whatever_it_says() {
        let address = TpmAddress::Tcp {
            host: "127.0.0.1".into(),
            port: 1,
        };
        assert_eq!(
            Profile::detect(&address, "SLB9670", Some(&report(2))),
            Profile::Swtpm
        );
    }

    #[test]
    fn a_device_of_a_vendor_is_a_tpm() {
        assert_eq!(
            Profile::detect(&TpmAddress::default(), "SLB9670", None),
            Profile::Tpm
        );
    }

    /// As much of a paravisor's report as says of which kind it is.
    fn report(kind: u8) -> Vec<u8> {
        let mut report = vec![0; 1300];
        report[..4].copy_from_slice(b"HCLA");
        report[32 + 1184 + 8] = kind;
        report
    }

    #[test]
    fn a_paravisors_report_says_which_hardware_is_below() {
        let found =
            |report: &[u8]| Profile::detect(&TpmAddress::default(), "MSFT xCG fTPM", Some(report));
        assert_eq!(found(&report(2)), Profile::AzureSnp);
        assert_eq!(found(&report(4)), Profile::AzureTdx);
        assert_eq!(found(&report(3)), Profile::Tpm);
        assert_eq!(found(&report(2)[..1226]), Profile::Tpm);
        assert_eq!(found(b"HCLB"), Profile::Tpm);
    }

    #[test]
    fn configuration_cannot_turn_software_into_hardware() {
        let upgrade = ProfileUpgrade {
            found: Profile::Swtpm,
            asked: Profile::Tpm,
        };
        assert_eq!(Profile::Swtpm.restricted_to(Profile::Tpm), Err(upgrade));
        assert!(Profile::Tpm.restricted_to(Profile::AzureSnp).is_err());
        assert!(Profile::AzureSnp.restricted_to(Profile::Tpm).is_err());
        assert!(Profile::AzureTdx.restricted_to(Profile::AzureSnp).is_err());
    }

    #[test]
    fn configuration_may_claim_less() {
        for found in [Profile::Tpm, Profile::AzureSnp, Profile::AzureTdx] {
            assert_eq!(found.restricted_to(Profile::Swtpm), Ok(Profile::Swtpm));
            assert_eq!(found.restricted_to(found), Ok(found));
        }
    }
}
