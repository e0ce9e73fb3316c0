//! Keys for which somebody vouches, and how the key of a statement is found among the forms it comes in.
//!
//! In: a key as presented, and whom a policy believes. Out: the key with its attributes, and, where
//! somebody vouches for it, what such evidence is worth and who has to be trusted for it.

use thiserror::Error;

use super::key::{KeyError, KeyName, PlainKey, TpmKey};
use super::{EvidenceClass, TpmName};
use crate::party::Party;

/// A key of a TPM for which somebody vouches: a paravisor, a cloud, a manufacturer, or another key of the
/// same TPM. Only appraisals make one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VouchedKey {
    key: PlainKey,
    name: Option<KeyName>,
    class: EvidenceClass,
    parties: Vec<Party>,
}

impl VouchedKey {
    /// A key of which the voucher names modulus or point only.
    pub(crate) fn new(key: PlainKey, class: EvidenceClass, parties: Vec<Party>) -> Self {
        Self {
            key,
            name: None,
            class,
            parties,
        }
    }

    /// A key that stands in for this one, by its name on the same TPM.
    pub(crate) fn passes_on_to(&self, key: &TpmKey) -> Self {
        Self {
            key: key.plain().clone(),
            name: Some(key.name()),
            class: self.class,
            parties: self.parties.clone(),
        }
    }

    /// The key.
    #[must_use]
    pub fn key(&self) -> &PlainKey {
        &self.key
    }

    /// Its name, where the voucher names it, and not only modulus or point.
    #[must_use]
    pub fn name(&self) -> Option<KeyName> {
        self.name
    }

    /// What evidence under this key is worth.
    #[must_use]
    pub fn class(&self) -> EvidenceClass {
        self.class
    }

    /// Who has to be trusted that this is a key of such a TPM.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        &self.parties
    }
}

/// The key of a statement, as presented.
#[derive(Debug, Clone, Copy)]
pub enum PresentedKey<'a> {
    /// `TPMT_PUBLIC`.
    Public(&'a [u8]),
    /// `SubjectPublicKeyInfo` in DER: the attributes have to be found by the signer's name.
    Spki(&'a [u8]),
    /// A key that something else names, such as a paravisor's claims or a certificate.
    Plain(&'a PlainKey),
}

/// Whose key a statement has to be under.
#[derive(Debug, Clone, Copy)]
pub enum ExpectedKey<'a> {
    /// A key for which somebody vouches.
    Vouched(&'a VouchedKey),
    /// One of these, pinned by name; an empty list accepts none.
    Named(&'a [KeyName]),
    /// Nobody says. Then nothing is known from the statement, and the check says so.
    Nobody,
}

/// A presented key, read.
#[derive(Debug, Clone)]
pub(super) struct Signer {
    pub(super) plain: PlainKey,
    /// Public area, presented or recognised by the signer's name.
    pub(super) tpm: Option<TpmKey>,
    /// Which of both.
    pub(super) area: Area,
}

/// Where a public area comes from. Neither shows what the key is: a signer can write any name, and anybody
/// any public area. Who vouches for the key, or pins its name, does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Area {
    /// It came with the key.
    Presented,
    /// The statement's signer is this key by a known template.
    Recognised,
}

impl Area {
    /// For reasons of checks.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Presented => "by its public area",
            Self::Recognised => "by the signer's name, which is that of a known template",
        }
    }
}

impl Signer {
    pub(super) fn read(
        presented: PresentedKey<'_>,
        qualified_signer: Option<&[u8]>,
    ) -> Result<Self, KeyError> {
        let plain = match presented {
            PresentedKey::Public(bytes) => {
                let tpm = TpmKey::parse(bytes)?;
                return Ok(Self {
                    plain: tpm.plain().clone(),
                    tpm: Some(tpm),
                    area: Area::Presented,
                });
            }
            PresentedKey::Spki(bytes) => PlainKey::spki(bytes)?,
            PresentedKey::Plain(key) => key.clone(),
        };
        let tpm = qualified_signer.and_then(|name| plain.identify(name));
        Ok(Self {
            plain,
            tpm,
            area: Area::Recognised,
        })
    }

    /// Whether somebody that the policy believes vouches for this key.
    pub(super) fn vouched(&self, expected: ExpectedKey<'_>) -> Result<Voucher, Unvouched> {
        let name = self.tpm.as_ref().map(TpmKey::name);
        match expected {
            ExpectedKey::Vouched(vouched) => {
                let other_name = vouched.name.is_some() && vouched.name != name;
                if vouched.key != self.plain || other_name {
                    return Err(Unvouched::Other);
                }
                Ok(Voucher {
                    class: vouched.class,
                    parties: vouched.parties.clone(),
                })
            }
            ExpectedKey::Named(names) => {
                let name = name.ok_or(Unvouched::NoName)?;
                if names.contains(&name) {
                    Ok(Voucher {
                        class: EvidenceClass::UnendorsedTpm,
                        parties: Vec::new(),
                    })
                } else {
                    Err(Unvouched::NotNamed { found: name })
                }
            }
            ExpectedKey::Nobody => Err(Unvouched::Nobody),
        }
    }
}

/// Who vouches, and what for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Voucher {
    pub(super) class: EvidenceClass,
    pub(super) parties: Vec<Party>,
}

impl core::fmt::Display for Voucher {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "class {}", self.class.as_str())?;
        let parties: Vec<String> = self.parties.iter().map(Party::to_string).collect();
        if parties.is_empty() {
            f.write_str(", pinned by name")
        } else {
            write!(f, ", on the word of {}", parties.join(", "))
        }
    }
}

/// Why nobody vouches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(super) enum Unvouched {
    #[error("it is another key than the one that is vouched for")]
    Other,
    #[error("name is {found}, which is not pinned")]
    NotNamed { found: KeyName },
    #[error("keys are pinned by name, and the name of this key is not known")]
    NoName,
    #[error("nobody says whose key this is")]
    Nobody,
}

/// A check of an AK's attributes that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error(
    "attributes are {found:#010x}: {AK_ATTRIBUTES:#010x} must be set, and nothing but {AK_OPTIONAL_ATTRIBUTES:#010x} besides"
)]
pub(super) struct WrongAttributes {
    found: u32,
}

/// Whether a key is restricted to what its TPM made, was made in that TPM, and cannot leave it.
pub(super) fn appraise_attributes(key: &TpmKey) -> Result<u32, WrongAttributes> {
    let found = key.attributes();
    let as_wanted = found & AK_ATTRIBUTES == AK_ATTRIBUTES
        && found & !(AK_ATTRIBUTES | AK_OPTIONAL_ATTRIBUTES) == 0;
    if as_wanted {
        Ok(found)
    } else {
        Err(WrongAttributes { found })
    }
}

impl From<TpmName> for KeyName {
    fn from(name: TpmName) -> Self {
        Self::Sha256(name)
    }
}

/// `fixedTPM | fixedParent | sensitiveDataOrigin | restricted | sign`. SPEC: Part 2, 8.3
pub(super) const AK_ATTRIBUTES: u32 = 0x0005_0032;

/// `userWithAuth | noDA`: who may use the key does not change what its signature means.
pub(super) const AK_OPTIONAL_ATTRIBUTES: u32 = 0x0000_0440;
