//! Who has to be trusted for evidence to mean anything. A verdict prints the set; a trust policy lists
//! the parties that it accepts.
//!
//! In: a text of a trust policy, or what vendors signed. Out: [`Party`], closed: whoever adds a platform
//! adds its parties here, and everything that judges them has to say what it makes of them.

use core::fmt;
use core::str::FromStr;
use thiserror::Error;

/// Somebody whose honesty, and whose products' freedom from faults, evidence rests on.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Party {
    /// Makes the processor, its firmware, and the keys that sign SEV-SNP reports.
    Amd,
    /// Makes the processor, its firmware, the quoting enclave, and certifies its keys.
    Intel,
    /// Makes the paravisor that runs above the guest on Azure and holds its TPM.
    MicrosoftParavisor,
    /// Runs the hypervisor that holds the guest's TPM on Google Cloud.
    GoogleHypervisor,
    /// Holds the keys (VLEKs) that AMD makes for a provider and that sign reports on all of its machines.
    /// The name is the provider's id in the certificate.
    CloudProvider(PartyName),
    /// Makes the TPM, and certified its endorsement key. The name is what the certificate says.
    TpmManufacturer(PartyName),
}

/// A name that a vendor's certificate gives to a party: 1 to 64 printable ASCII characters, no space.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartyName(String);

/// Why a text names no party.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PartyError {
    /// None of the closed list.
    #[error("party {0:?} is not known")]
    Unknown(String),
    /// A name that is empty, too long, or has other characters than it may.
    #[error(
        "name of a party is {0:?}, expected 1 to {MAX_NAME_BYTES} printable characters of ascii without spaces"
    )]
    Name(String),
}

impl PartyName {
    /// Reads a name.
    ///
    /// # Errors
    /// If it is none.
    pub fn parse(text: &str) -> Result<Self, PartyError> {
        let fits = (1..=MAX_NAME_BYTES).contains(&text.len());
        if fits && text.bytes().all(|b| b.is_ascii_graphic()) {
            Ok(Self(text.into()))
        } else {
            Err(PartyError::Name(text.into()))
        }
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Party {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Amd => f.write_str(AMD),
            Self::Intel => f.write_str(INTEL),
            Self::MicrosoftParavisor => f.write_str(MICROSOFT_PARAVISOR),
            Self::GoogleHypervisor => f.write_str(GOOGLE_HYPERVISOR),
            Self::CloudProvider(PartyName(name)) => write!(f, "{CLOUD_PROVIDER}:{name}"),
            Self::TpmManufacturer(PartyName(name)) => write!(f, "{TPM_MANUFACTURER}:{name}"),
        }
    }
}

impl FromStr for Party {
    type Err = PartyError;

    /// Reads what `Display` writes.
    fn from_str(text: &str) -> Result<Self, PartyError> {
        match text.split_once(':') {
            Some((CLOUD_PROVIDER, name)) => PartyName::parse(name).map(Self::CloudProvider),
            Some((TPM_MANUFACTURER, name)) => PartyName::parse(name).map(Self::TpmManufacturer),
            Some(_) => Err(PartyError::Unknown(text.into())),
            None => match text {
                AMD => Ok(Self::Amd),
                INTEL => Ok(Self::Intel),
                MICROSOFT_PARAVISOR => Ok(Self::MicrosoftParavisor),
                GOOGLE_HYPERVISOR => Ok(Self::GoogleHypervisor),
                _ => Err(PartyError::Unknown(text.into())),
            },
        }
    }
}

const AMD: &str = "amd";
const INTEL: &str = "intel";
const MICROSOFT_PARAVISOR: &str = "microsoft-paravisor";
const GOOGLE_HYPERVISOR: &str = "google-hypervisor";
const CLOUD_PROVIDER: &str = "cloud-provider";
const TPM_MANUFACTURER: &str = "tpm-manufacturer";

/// Names in certificates of today have at most about 30 characters.
const MAX_NAME_BYTES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_party_reads_back_as_itself() {
        let name = |text| PartyName::parse(text).unwrap();
        for party in [
            Party::Amd,
            Party::Intel,
            Party::MicrosoftParavisor,
            Party::GoogleHypervisor,
            Party::CloudProvider(name("CN=cc-us-east-2.amazonaws.com")),
            Party::TpmManufacturer(name("id:49465800")),
        ] {
            assert_eq!(party.to_string().parse(), Ok(party));
        }
    }

    #[test]
    fn a_text_that_names_no_party_is_refused() {
        for text in [
            "",
            "AMD",
            "amd:x",
            "cloud-provider",
            "cloud-provider:",
            "cloud-provider:a b",
            "tpm-manufacturer:\u{e9}",
        ] {
            assert!(text.parse::<Party>().is_err(), "{text}");
        }
        assert!(PartyName::parse(&"x".repeat(64)).is_ok());
        assert!(PartyName::parse(&"x".repeat(65)).is_err());
    }
}
