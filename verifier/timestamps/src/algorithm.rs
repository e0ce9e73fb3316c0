//! Algorithms by their names in DER, keys, and signatures over messages.
//!
//! In: identifiers and keys as received. Out: whether a signature holds. Accepted are SHA-256, -384
//! and -512, RSA PKCS#1 v1.5 of 2048 to 4096 bits, ECDSA on P-256 and P-384. Everything else is an
//! error with a name, SHA-1 among it.
//!
//! Spec: RFC 5754, RFC 5758, RFC 8017; `docs/spec/timestamp.md`, "Algorithms".

use crate::der::{DerError, Element, NULL, OID, Reader};
use crate::error::TimestampError;
use crate::rsa::RsaKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// 2.16.840.1.101.3.4.2.1
pub(crate) const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
/// 2.16.840.1.101.3.4.2.2
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
/// 2.16.840.1.101.3.4.2.3
const SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";
/// 1.2.840.113549.1.1.1, a key, and in CMS a signature whose digest is named beside it.
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
/// 1.2.840.113549.1.1.11
const RSA_SHA256: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b";
/// 1.2.840.113549.1.1.12
const RSA_SHA384: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c";
/// 1.2.840.113549.1.1.13
const RSA_SHA512: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d";
/// 1.2.840.10045.2.1
const EC: &[u8] = b"\x2a\x86\x48\xce\x3d\x02\x01";
/// 1.2.840.10045.3.1.7
const P256: &[u8] = b"\x2a\x86\x48\xce\x3d\x03\x01\x07";
/// 1.3.132.0.34
const P384: &[u8] = b"\x2b\x81\x04\x00\x22";
/// 1.2.840.10045.4.3.2
const ECDSA_SHA256: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x02";
/// 1.2.840.10045.4.3.3
const ECDSA_SHA384: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x03";
/// 1.2.840.10045.4.3.4
const ECDSA_SHA512: &[u8] = b"\x2a\x86\x48\xce\x3d\x04\x03\x04";

/// An `AlgorithmIdentifier` as received.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Identifier<'a> {
    oid: &'a [u8],
    parameters: Option<Element<'a>>,
    pub(crate) whole: &'a [u8],
}

impl<'a> Identifier<'a> {
    pub(crate) fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, DerError> {
        Self::of(r.expect(crate::der::SEQUENCE, field)?, field)
    }

    fn of(element: Element<'a>, field: &'static str) -> Result<Self, DerError> {
        let mut inside = element.inside();
        let oid = inside.oid(field)?;
        let parameters = if inside.is_empty() {
            None
        } else {
            Some(inside.any(field)?)
        };
        inside.end(field)?;
        Ok(Self {
            oid,
            parameters,
            whole: element.whole,
        })
    }

    /// Whether there are no parameters, or NULL, which mean the same for digests and for RSA.
    fn is_plain(&self) -> bool {
        self.parameters
            .is_none_or(|p| p.tag == NULL && p.content.is_empty())
    }
}

/// A digest that is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hash {
    Sha256,
    Sha384,
    Sha512,
}

impl Hash {
    pub(crate) fn of(
        identifier: &Identifier<'_>,
        what: &'static str,
    ) -> Result<Self, TimestampError> {
        if !identifier.is_plain() {
            return Err(TimestampError::Algorithm(what));
        }
        match identifier.oid {
            SHA256 => Ok(Self::Sha256),
            SHA384 => Ok(Self::Sha384),
            SHA512 => Ok(Self::Sha512),
            _ => Err(TimestampError::Algorithm(what)),
        }
    }

    pub(crate) fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// The DigestInfo of RFC 8017 9.2, note 1.
    fn digest_info(self, bytes: &[u8]) -> Vec<u8> {
        let (oid, whole, length) = match self {
            Self::Sha256 => (SHA256, 0x31, 0x20),
            Self::Sha384 => (SHA384, 0x41, 0x30),
            Self::Sha512 => (SHA512, 0x51, 0x40),
        };
        [
            &[0x30, whole, 0x30, 0x0d, OID, 0x09],
            oid,
            &[NULL, 0x00, 0x04, length],
            &self.digest(bytes),
        ]
        .concat()
    }
}

/// How a signature is made, without the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scheme {
    Rsa(Hash),
    Ecdsa(Hash),
}

impl Scheme {
    /// Of a certificate, which names scheme and digest together.
    pub(crate) fn of(
        identifier: &Identifier<'_>,
        what: &'static str,
    ) -> Result<Self, TimestampError> {
        let scheme = match identifier.oid {
            RSA_SHA256 => Self::Rsa(Hash::Sha256),
            RSA_SHA384 => Self::Rsa(Hash::Sha384),
            RSA_SHA512 => Self::Rsa(Hash::Sha512),
            ECDSA_SHA256 => Self::Ecdsa(Hash::Sha256),
            ECDSA_SHA384 => Self::Ecdsa(Hash::Sha384),
            ECDSA_SHA512 => Self::Ecdsa(Hash::Sha512),
            _ => return Err(TimestampError::Algorithm(what)),
        };
        let fitting = match scheme {
            Self::Rsa(_) => identifier.is_plain(),
            Self::Ecdsa(_) => identifier.parameters.is_none(),
        };
        if fitting {
            Ok(scheme)
        } else {
            Err(TimestampError::Algorithm(what))
        }
    }

    /// Of a CMS signer, which names the digest a second time, or for RSA there alone.
    pub(crate) fn of_signer(
        identifier: &Identifier<'_>,
        digest: Hash,
    ) -> Result<Self, TimestampError> {
        let what = "the token's signature algorithm";
        if identifier.oid == RSA && identifier.is_plain() {
            return Ok(Self::Rsa(digest));
        }
        let scheme = Self::of(identifier, what)?;
        let (Self::Rsa(named) | Self::Ecdsa(named)) = scheme;
        if named == digest {
            Ok(scheme)
        } else {
            Err(TimestampError::TwoAlgorithms(
                "the digest of the token's signature",
            ))
        }
    }
}

/// A public key that is accepted.
#[derive(Debug, Clone)]
pub(crate) enum Key {
    Rsa(Box<RsaKey>),
    P256(p256::ecdsa::VerifyingKey),
    P384(p384::ecdsa::VerifyingKey),
}

impl Key {
    /// From a `SubjectPublicKeyInfo`.
    pub(crate) fn parse(spki: &Element<'_>, whose: &'static str) -> Result<Self, TimestampError> {
        let refused = |why| TimestampError::Key { whose, why };
        let mut inside = spki.inside();
        let identifier = Identifier::read(&mut inside, "SubjectPublicKeyInfo.algorithm")?;
        let bits = inside.bits("SubjectPublicKeyInfo.subjectPublicKey")?;
        inside.end("SubjectPublicKeyInfo")?;
        match (identifier.oid, identifier.parameters) {
            (RSA, _) if identifier.is_plain() => {
                let mut outer = Reader::new(bits);
                let mut numbers = outer.sequence("RSAPublicKey")?;
                let modulus = numbers.unsigned("RSAPublicKey.modulus")?;
                let exponent = numbers.number("RSAPublicKey.publicExponent")?;
                numbers.end("RSAPublicKey")?;
                outer.end("RSAPublicKey")?;
                RsaKey::new(modulus, exponent)
                    .map(|key| Self::Rsa(Box::new(key)))
                    .map_err(refused)
            }
            // Points are taken uncompressed only, so that one key has one text.
            (EC, Some(curve)) if curve.tag == OID && bits.first() == Some(&4) => {
                let why = "it is no point of its curve";
                match curve.content {
                    P256 => p256::ecdsa::VerifyingKey::from_sec1_bytes(bits)
                        .map(Self::P256)
                        .map_err(|_| refused(why)),
                    P384 => p384::ecdsa::VerifyingKey::from_sec1_bytes(bits)
                        .map(Self::P384)
                        .map_err(|_| refused(why)),
                    _ => Err(refused("its curve is neither P-256 nor P-384")),
                }
            }
            _ => Err(refused(
                "it is neither an RSA key nor an uncompressed point of a named curve",
            )),
        }
    }

    /// Whether this key signed this message.
    pub(crate) fn verify(
        &self,
        scheme: Scheme,
        signed: &Signed<'_>,
        what: &'static str,
    ) -> Result<(), TimestampError> {
        let Signed { message, signature } = signed;
        let holds = match (self, scheme) {
            (Self::Rsa(key), Scheme::Rsa(hash)) => {
                key.verify(&hash.digest_info(message), signature).is_ok()
            }
            (Self::P256(key), Scheme::Ecdsa(hash)) => raw(signature, 32)
                .and_then(|raw| p256::ecdsa::Signature::from_slice(&raw).ok())
                .is_some_and(|s| key.verify_prehash(&hash.digest(message), &s).is_ok()),
            (Self::P384(key), Scheme::Ecdsa(hash)) => raw(signature, 48)
                .and_then(|raw| p384::ecdsa::Signature::from_slice(&raw).ok())
                .is_some_and(|s| key.verify_prehash(&hash.digest(message), &s).is_ok()),
            (Self::Rsa(_), Scheme::Ecdsa(_)) | (Self::P256(_) | Self::P384(_), Scheme::Rsa(_)) => {
                false
            }
        };
        if holds {
            Ok(())
        } else {
            Err(TimestampError::Signature(what))
        }
    }
}

/// A message and what is said to be its signature.
pub(crate) struct Signed<'a> {
    pub(crate) message: &'a [u8],
    pub(crate) signature: &'a [u8],
}

/// An ECDSA signature in DER as r and s of `width` bytes each.
fn raw(signature: &[u8], width: usize) -> Option<Vec<u8>> {
    let mut outer = Reader::new(signature);
    let mut inside = outer.sequence("ECDSA-Sig-Value").ok()?;
    let r = inside.unsigned("ECDSA-Sig-Value.r").ok()?;
    let s = inside.unsigned("ECDSA-Sig-Value.s").ok()?;
    inside.end("ECDSA-Sig-Value").ok()?;
    outer.end("ECDSA-Sig-Value").ok()?;
    let mut out = Vec::new();
    for number in [r, s] {
        out.resize(out.len().checked_add(width.checked_sub(number.len())?)?, 0);
        out.extend_from_slice(number);
    }
    Some(out)
}
