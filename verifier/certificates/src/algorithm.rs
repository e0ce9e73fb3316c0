//! Algorithms by their names in DER, keys, and signatures over messages.
//!
//! In: identifiers and keys as received. Out: whether a signature holds. Accepted are SHA-256, -384
//! and -512, RSA PKCS#1 v1.5 and PSS of 2048 to 4096 bits, ECDSA on P-256 and P-384. Everything else is an
//! error with a name, SHA-1 among it.
//!
//! Spec: RFC 4055, RFC 5754, RFC 5758, RFC 8017; `docs/spec/timestamp.md`, "Algorithms".

use crate::der::{DerError, Element, NULL, OID, Reader, SEQUENCE};
use crate::error::CertificateError;
use crate::rsa::RsaKey;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256, Sha384, Sha512};

/// 2.16.840.1.101.3.4.2.1, SHA-256
pub const SHA256: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x01";
/// 2.16.840.1.101.3.4.2.2
const SHA384: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x02";
/// 2.16.840.1.101.3.4.2.3
const SHA512: &[u8] = b"\x60\x86\x48\x01\x65\x03\x04\x02\x03";
/// 1.2.840.113549.1.1.1, a key, and in CMS a signature whose digest is named beside it.
const RSA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x01";
/// 1.2.840.113549.1.1.8, the mask of PSS
const MGF1: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x08";
/// 1.2.840.113549.1.1.10, PSS with what its parameters say
const RSA_PSS: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0a";
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
pub struct Identifier<'a> {
    oid: &'a [u8],
    parameters: Option<Element<'a>>,
    /// All of it, tag and length too.
    pub whole: &'a [u8],
}

impl<'a> Identifier<'a> {
    /// Reads one.
    ///
    /// # Errors
    /// If there is none.
    pub fn read(r: &mut Reader<'a>, field: &'static str) -> Result<Self, DerError> {
        Self::of(r.expect(SEQUENCE, field)?, field)
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
pub enum Hash {
    /// SHA-256
    Sha256,
    /// SHA-384
    Sha384,
    /// SHA-512
    Sha512,
}

impl Hash {
    /// By its name.
    ///
    /// # Errors
    /// If it is not accepted.
    pub fn of(identifier: &Identifier<'_>, what: &'static str) -> Result<Self, CertificateError> {
        if !identifier.is_plain() {
            return Err(CertificateError::Algorithm(what));
        }
        match identifier.oid {
            SHA256 => Ok(Self::Sha256),
            SHA384 => Ok(Self::Sha384),
            SHA512 => Ok(Self::Sha512),
            _ => Err(CertificateError::Algorithm(what)),
        }
    }

    /// The digest of these bytes.
    #[must_use]
    pub fn digest(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }

    /// Bytes of a digest.
    #[must_use]
    pub fn length(self) -> usize {
        match self {
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
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
pub enum Scheme {
    /// RSASSA-PKCS1-v1_5
    Rsa(Hash),
    /// RSASSA-PSS, mask and digest by one function, a salt as long as the digest
    RsaPss(Hash),
    /// ECDSA, the signature in DER
    Ecdsa(Hash),
}

impl Scheme {
    /// Of a certificate, which names scheme and digest together.
    ///
    /// # Errors
    /// If it is not accepted.
    pub fn of(identifier: &Identifier<'_>, what: &'static str) -> Result<Self, CertificateError> {
        let scheme = match identifier.oid {
            RSA_PSS => return pss(identifier, what),
            RSA_SHA256 => Self::Rsa(Hash::Sha256),
            RSA_SHA384 => Self::Rsa(Hash::Sha384),
            RSA_SHA512 => Self::Rsa(Hash::Sha512),
            ECDSA_SHA256 => Self::Ecdsa(Hash::Sha256),
            ECDSA_SHA384 => Self::Ecdsa(Hash::Sha384),
            ECDSA_SHA512 => Self::Ecdsa(Hash::Sha512),
            _ => return Err(CertificateError::Algorithm(what)),
        };
        let fitting = match scheme {
            Self::Rsa(_) | Self::RsaPss(_) => identifier.is_plain(),
            Self::Ecdsa(_) => identifier.parameters.is_none(),
        };
        if fitting {
            Ok(scheme)
        } else {
            Err(CertificateError::Algorithm(what))
        }
    }

    /// Of a CMS signer, which names the digest a second time, or for RSA there alone.
    ///
    /// # Errors
    /// If it is not accepted, or the two names differ.
    pub fn of_signer(identifier: &Identifier<'_>, digest: Hash) -> Result<Self, CertificateError> {
        let what = "the token's signature algorithm";
        if identifier.oid == RSA && identifier.is_plain() {
            return Ok(Self::Rsa(digest));
        }
        let scheme = Self::of(identifier, what)?;
        let (Self::Rsa(named) | Self::RsaPss(named) | Self::Ecdsa(named)) = scheme;
        if named == digest {
            Ok(scheme)
        } else {
            Err(CertificateError::TwoAlgorithms(
                "the digest of the token's signature",
            ))
        }
    }
}

/// A public key that is accepted.
#[derive(Debug, Clone)]
pub enum Key {
    /// RSA, 2048 to 4096 bits
    Rsa(Box<RsaKey>),
    /// A point of P-256
    P256(p256::ecdsa::VerifyingKey),
    /// A point of P-384
    P384(p384::ecdsa::VerifyingKey),
}

impl Key {
    /// From a `SubjectPublicKeyInfo`.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn parse(spki: &Element<'_>, whose: &'static str) -> Result<Self, CertificateError> {
        let refused = |why| CertificateError::Key { whose, why };
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
    ///
    /// # Errors
    /// If it did not, or signs in another way.
    pub fn verify(
        &self,
        scheme: Scheme,
        signed: &Signed<'_>,
        what: &'static str,
    ) -> Result<(), CertificateError> {
        let Signed { message, signature } = signed;
        let holds = match (self, scheme) {
            (Self::Rsa(key), Scheme::Rsa(hash)) => {
                key.verify(&hash.digest_info(message), signature).is_ok()
            }
            (Self::Rsa(key), Scheme::RsaPss(hash)) => {
                key.verify_pss(hash, message, signature).is_ok()
            }
            (Self::P256(key), Scheme::Ecdsa(hash)) => raw(signature, 32)
                .and_then(|raw| p256::ecdsa::Signature::from_slice(&raw).ok())
                .is_some_and(|s| key.verify_prehash(&hash.digest(message), &s).is_ok()),
            (Self::P384(key), Scheme::Ecdsa(hash)) => raw(signature, 48)
                .and_then(|raw| p384::ecdsa::Signature::from_slice(&raw).ok())
                .is_some_and(|s| key.verify_prehash(&hash.digest(message), &s).is_ok()),
            (Self::Rsa(_), Scheme::Ecdsa(_))
            | (Self::P256(_) | Self::P384(_), Scheme::Rsa(_) | Scheme::RsaPss(_)) => false,
        };
        if holds {
            Ok(())
        } else {
            Err(CertificateError::Signature(what))
        }
    }
}

/// A message and what is said to be its signature.
pub struct Signed<'a> {
    /// What was signed.
    pub message: &'a [u8],
    /// The signature.
    pub signature: &'a [u8],
}

/// The parameters of PSS, each as vendors write it: one function for digest and mask, a salt of its length, trailer 1.
///
/// SPEC: RFC 4055 3.1. The trailer may stand there although it is the default: AMD's certificates have it.
fn pss(identifier: &Identifier<'_>, what: &'static str) -> Result<Scheme, CertificateError> {
    let refused = CertificateError::Algorithm(what);
    let Some(parameters) = identifier.parameters.filter(|p| p.tag == SEQUENCE) else {
        return Err(refused);
    };
    let mut r = parameters.inside();
    let mut inside = r.expect(0xa0, "hashAlgorithm")?.inside();
    let hash = Hash::of(&Identifier::read(&mut inside, "hashAlgorithm")?, what)?;
    inside.end("hashAlgorithm")?;
    let mut inside = r.expect(0xa1, "maskGenAlgorithm")?.inside();
    let mask = Identifier::read(&mut inside, "maskGenAlgorithm")?;
    inside.end("maskGenAlgorithm")?;
    let mask_hash = match mask.parameters {
        Some(element) if mask.oid == MGF1 && element.tag == SEQUENCE => {
            Hash::of(&Identifier::of(element, "maskGenAlgorithm")?, what)?
        }
        _ => return Err(refused),
    };
    let mut inside = r.expect(0xa2, "saltLength")?.inside();
    let salt = inside.number("saltLength")?;
    inside.end("saltLength")?;
    let trailer = match r.optional(0xa3, "trailerField")? {
        Some(element) => {
            let mut inside = element.inside();
            let found = inside.number("trailerField")?;
            inside.end("trailerField")?;
            found
        }
        None => 1,
    };
    r.end("RSASSA-PSS-params")?;
    if mask_hash == hash && Ok(salt) == u64::try_from(hash.length()) && trailer == 1 {
        Ok(Scheme::RsaPss(hash))
    } else {
        Err(refused)
    }
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
