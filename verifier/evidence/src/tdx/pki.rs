//! Chains of Intel's certificates and their revocation lists.
//!
//! In: PEM and DER as they came, the roots. Out: certificates whose chain holds. Intel's names of roles are
//! part of what is checked: a root issues CAs of platforms' certificates and signers of collateral alike, and
//! none may stand in the other's place.
//!
//! Source: Intel SGX PCK Certificate and CRL Profile Specification.

use countersign_certificates::algorithm::Key;
use countersign_certificates::{Certificate, CertificateError, Crl, pem, usage};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::roots::Roots;
use crate::Moment;
use crate::chains::{Chains, Link, LinkKind};

/// Longest text of a chain, in bytes (64 KiB). Those of Intel have 4 KiB.
const MAX_CHAIN_BYTES: usize = 64 * 1024;

/// Common name (2.5.4.3).
const COMMON_NAME: &[u8] = b"\x55\x04\x03";

/// What a certificate is for, by its common name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Of a platform.
    Platform,
    /// Issues those of platforms.
    PlatformCa,
    /// Signs collateral.
    TcbSigner,
}

impl Role {
    fn names(self) -> &'static [&'static str] {
        match self {
            Self::Platform => &["Intel SGX PCK Certificate"],
            Self::PlatformCa => &["Intel SGX PCK Platform CA", "Intel SGX PCK Processor CA"],
            Self::TcbSigner => &["Intel SGX TCB Signing"],
        }
    }
}

/// Why a chain or a list does not hold.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub(super) enum PkiError {
    #[error("chain is {found} bytes, limit is {MAX_CHAIN_BYTES}")]
    TooLong { found: usize },
    #[error("chain is not pem: {0}")]
    Pem(&'static str),
    #[error("chain: {0}")]
    Blocks(#[from] pem::PemError),
    #[error("chain has {found} certificates, expected {expected}")]
    Count { found: usize, expected: usize },
    #[error("certificate {number} of the chain: {error}")]
    Certificate {
        number: usize,
        error: CertificateError,
    },
    #[error("the chain's root is none of ours")]
    Root,
    #[error("certificate has the name {found:?}, expected {expected:?}")]
    Name {
        found: String,
        expected: &'static [&'static str],
    },
    #[error("the last certificate of a chain may issue others")]
    IssuesOthers,
    #[error("a certificate's key is not for signatures")]
    Usage,
    #[error("a certificate has a critical extension that is not known")]
    Critical,
    #[error("{whose} has a key that is not of p-256")]
    Key { whose: &'static str },
    #[error("{0}")]
    X509(#[from] CertificateError),
    #[error("signature is {found} bytes, expected 64")]
    SignatureLength { found: usize },
    #[error("signature has an r or s out of range")]
    OutOfRange,
    #[error("signature does not hold under {by}")]
    Mismatch { by: &'static str },
    #[error("{whose} is valid from {from} to {until}, the moment is {at}")]
    Validity {
        whose: &'static str,
        from: Moment,
        until: Moment,
        at: Moment,
    },
    #[error("certificate was taken back on {since}")]
    Revoked { since: Moment },
}

/// The certificates of a chain, each as DER.
pub(super) fn blocks(text: &[u8]) -> Result<Vec<Vec<u8>>, PkiError> {
    if text.len() > MAX_CHAIN_BYTES {
        return Err(PkiError::TooLong { found: text.len() });
    }
    let text = core::str::from_utf8(text).map_err(|_| PkiError::Pem("it is not utf-8"))?;
    Ok(pem::blocks(text, pem::CERTIFICATE)?)
}

/// So many certificates, from the end of the chain to its root.
pub(super) fn certificates<const N: usize>(
    blocks: &[Vec<u8>],
) -> Result<[Certificate<'_>; N], PkiError> {
    let parsed = (1..)
        .zip(blocks)
        .map(|(number, der)| {
            Certificate::parse(der).map_err(|error| PkiError::Certificate { number, error })
        })
        .collect::<Result<Vec<_>, _>>()?;
    let found = parsed.len();
    parsed
        .try_into()
        .map_err(|_| PkiError::Count { found, expected: N })
}

/// Whether a certificate is one of our roots.
pub(super) fn rooted(root: &Certificate<'_>, roots: &Roots) -> Result<(), PkiError> {
    if roots.contains(root.whole()) {
        Ok(())
    } else {
        Err(PkiError::Root)
    }
}

/// Whether one certificate issued another, with so many issuers between it and the last.
pub(super) fn issued(
    issuer: &Certificate<'_>,
    subject: &Certificate<'_>,
    below: u8,
    chains: &mut Chains,
) -> Result<(), PkiError> {
    let link = Link {
        kind: LinkKind::Certificate { below },
        issuer: issuer.whole(),
        subject: subject.whole(),
        signature: &[],
    };
    chains.verify(link, || issuer.issued(subject, below.into()))?;
    Ok(())
}

/// Whether a certificate is at the end of chains, and has this role.
pub(super) fn last(certificate: &Certificate<'_>, role: Role) -> Result<(), PkiError> {
    let extensions = certificate.extensions();
    if extensions.constraints.as_ref().is_some_and(|c| c.issuer) {
        return Err(PkiError::IssuesOthers);
    }
    if extensions.unknown_critical {
        return Err(PkiError::Critical);
    }
    if extensions
        .usage
        .is_none_or(|bits| bits & usage::DIGITAL_SIGNATURE == 0)
    {
        return Err(PkiError::Usage);
    }
    named(certificate, role)
}

/// Whether a certificate has this role.
pub(super) fn named(certificate: &Certificate<'_>, role: Role) -> Result<(), PkiError> {
    let name = certificate.named(COMMON_NAME).unwrap_or_default();
    let expected = role.names();
    if expected.iter().any(|known| known.as_bytes() == name) {
        Ok(())
    } else {
        let found = String::from_utf8_lossy(name).chars().take(64).collect();
        Err(PkiError::Name { found, expected })
    }
}

/// Whether all are valid at that moment.
pub(super) fn valid(certificates: &[Certificate<'_>], at: Moment) -> Result<(), PkiError> {
    for certificate in certificates {
        let validity = certificate.validity();
        if at.0 < validity.from || validity.until < at.0 {
            return Err(PkiError::Validity {
                whose: "a certificate",
                from: Moment(validity.from),
                until: Moment(validity.until),
                at,
            });
        }
    }
    Ok(())
}

/// The first moment at which one of them is not valid any more.
pub(super) fn valid_until(certificates: &[Certificate<'_>]) -> Option<Moment> {
    certificates
        .iter()
        .map(|certificate| Moment(certificate.validity().until))
        .min()
}

/// Whether a certificate signed a revocation list.
pub(super) fn listed(
    issuer: &Certificate<'_>,
    whole: &[u8],
    crl: &Crl<'_>,
    chains: &mut Chains,
) -> Result<(), PkiError> {
    let link = Link {
        kind: LinkKind::List,
        issuer: issuer.whole(),
        subject: whole,
        signature: &[],
    };
    chains.verify(link, || crl.verify(issuer))?;
    Ok(())
}

/// Whether a list is current at that moment.
pub(super) fn current(crl: &Crl<'_>, at: Moment) -> Result<(), PkiError> {
    crl.current(at.0).map_err(|_| PkiError::Validity {
        whose: "a revocation list",
        from: Moment(crl.this_update()),
        until: Moment(crl.next_update()),
        at,
    })
}

/// Whether a list leaves a certificate alone.
pub(super) fn not_revoked(crl: &Crl<'_>, certificate: &Certificate<'_>) -> Result<(), PkiError> {
    match crl.revoked(certificate.serial()) {
        None => Ok(()),
        Some(since) => Err(PkiError::Revoked {
            since: Moment(since),
        }),
    }
}

/// A statement of Intel's formats, and its signature: r and s, 32 bytes each.
pub(super) struct Statement<'a> {
    /// What was signed.
    pub(super) message: &'a [u8],
    /// r and s.
    pub(super) signature: &'a [u8],
}

impl Statement<'_> {
    /// Whether a certificate's key signed it.
    pub(super) fn by_certificate(
        &self,
        certificate: &Certificate<'_>,
        by: &'static str,
        chains: &mut Chains,
    ) -> Result<(), PkiError> {
        let Key::P256(key) = certificate.key(by)? else {
            return Err(PkiError::Key { whose: by });
        };
        chains.verify(self.link(certificate.spki()), || self.by_key(&key, by))
    }

    /// Whether a key that a quote brings signed it: x and y.
    pub(super) fn by_coordinates(
        &self,
        coordinates: &[u8; 64],
        by: &'static str,
        chains: &mut Chains,
    ) -> Result<(), PkiError> {
        chains.verify(self.link(coordinates), || {
            let sec1 = [&[4], coordinates.as_slice()].concat();
            let key = VerifyingKey::from_sec1_bytes(&sec1);
            let key = key.map_err(|_| PkiError::Key { whose: by })?;
            self.by_key(&key, by)
        })
    }

    fn link<'l>(&'l self, issuer: &'l [u8]) -> Link<'l> {
        Link {
            kind: LinkKind::Statement,
            issuer,
            subject: self.message,
            signature: self.signature,
        }
    }

    fn by_key(&self, key: &VerifyingKey, by: &'static str) -> Result<(), PkiError> {
        let found = self.signature.len();
        if found != 64 {
            return Err(PkiError::SignatureLength { found });
        }
        let signature = Signature::from_slice(self.signature).map_err(|_| PkiError::OutOfRange)?;
        key.verify_prehash(&Sha256::digest(self.message), &signature)
            .map_err(|_| PkiError::Mismatch { by })
    }
}
