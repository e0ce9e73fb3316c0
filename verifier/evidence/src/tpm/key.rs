//! Attestation keys in the forms in which platforms present them.
//!
//! In: a `TPMT_PUBLIC`, a `SubjectPublicKeyInfo`, or modulus and exponent. Out: a key that signatures
//! can be verified under, and, where the TPM's own public area is known, its attributes and name.
//!
//! A bare key says nothing of its attributes, and a signature of a key that is not restricted shows
//! nothing: software can have such a key sign a made-up statement. But a statement names its signer by
//! a hash over the whole public area ([`PlainKey::identify`]). Where that is the name of a primary of
//! the endorsement hierarchy with this key and a known template, it is one that a TPM would have written
//! of such a key. That alone proves nothing, for who has a key sign anything can write any signer: it
//! counts under a key of which somebody says that it is an attestation key, or whose name is pinned.
//!
//! Accepted: RSA of 2048 to 4096 bits with RSASSA and SHA-256; ECDSA on P-256 with SHA-256, on P-384
//! with SHA-256 or SHA-384. Source: TCG "TPM 2.0 Library" Part 2, 12.2.4 (`TPMT_PUBLIC`), 11.3.4
//! (`TPMT_SIGNATURE`); Part 1, 16 (names).

use countersign_certificates::algorithm::{Hash, Key, Scheme, Signed};
use countersign_certificates::rsa::RsaKey;
use countersign_certificates::{CertificateError, der};
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use sha2::{Digest as _, Sha256, Sha384};
use thiserror::Error;

use super::structures::{
    ALG_ECC, ALG_ECDSA, ALG_NULL, ALG_SHA256, ECC_NIST_P256, TpmName, write_hex,
};
use crate::reader::{FormError, Reader};

/// A public key without what its TPM says of it.
#[derive(Debug, Clone)]
pub struct PlainKey {
    key: Key,
    /// What makes it this key: modulus, or the point uncompressed.
    text: Vec<u8>,
}

/// A public area: a key, and what its TPM says of it.
#[derive(Debug, Clone)]
pub struct TpmKey {
    plain: PlainKey,
    hash: Hash,
    attributes: u32,
    name: KeyName,
}

/// A key's name: its public area under its name algorithm.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyName {
    /// 00 0B, then SHA-256.
    Sha256(TpmName),
    /// 00 0C, then SHA-384.
    Sha384([u8; 50]),
}

/// A signature as it arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeySignature<'a> {
    /// `TPMT_SIGNATURE`.
    Tpmt(&'a [u8]),
    /// The number alone that RSASSA with SHA-256 gives, as some tools store it.
    RsaRaw(&'a [u8]),
}

/// Why bytes are not a key that is accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum KeyError {
    /// Another form, algorithm, scheme or curve.
    #[error("public area: {0}")]
    Form(#[from] FormError),
    /// Neither RSA nor an elliptic curve.
    #[error("public area is of type {found:#06x}, known are rsa (0x0001) and ecc (0x0023)")]
    Type {
        /// `TPM_ALG_ID`.
        found: u16,
    },
    /// A name, a digest or a curve that is not accepted here.
    #[error("public area has {field} {found:#06x}, which is not accepted")]
    Algorithm {
        /// Which field.
        field: &'static str,
        /// Its value.
        found: u16,
    },
    /// A modulus of another length than the key says.
    #[error("public area has a modulus of {bytes} bytes, but says {bits} bits")]
    ModulusLength {
        /// Length of the modulus.
        bytes: usize,
        /// `keyBits`.
        bits: u16,
    },
    /// Modulus or exponent are not accepted.
    #[error("rsa key: {0}")]
    Rsa(&'static str),
    /// A point that is not on its curve.
    #[error("public area has a point that is not on its curve")]
    NotOnCurve,
    /// A `SubjectPublicKeyInfo` that is malformed or of another kind.
    #[error("{0}")]
    Spki(CertificateError),
}

/// Why a signature does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum KeySignatureError {
    /// Not of the key's scheme and digest, or malformed.
    #[error("signature: {0}")]
    Form(#[from] FormError),
    /// r or s is zero or not below the group order.
    #[error("signature has an r or s out of range")]
    OutOfRange,
    /// A number alone, beside a key that is not RSA.
    #[error("signature is a number alone, the key is not rsa")]
    NotRsa,
    /// Another key, another message, or altered.
    #[error("signature does not hold under the attestation key")]
    Mismatch,
}

impl KeyName {
    /// Algorithm and digest, as a TPM writes them.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Sha256(name) => &name.0,
            Self::Sha384(name) => name,
        }
    }

    fn of(algorithm: NameAlgorithm, parts: [&[u8]; 2]) -> Self {
        let [first, second] = parts;
        match algorithm {
            NameAlgorithm::Sha256 => Self::Sha256(TpmName::from_digest(
                Sha256::new()
                    .chain_update(first)
                    .chain_update(second)
                    .finalize()
                    .into(),
            )),
            NameAlgorithm::Sha384 => {
                let digest = Sha384::new()
                    .chain_update(first)
                    .chain_update(second)
                    .finalize();
                let mut name = [0; 50];
                let (algorithm, rest) = name.split_at_mut(2);
                algorithm.copy_from_slice(&ALG_SHA384.to_be_bytes());
                rest.copy_from_slice(&digest);
                Self::Sha384(name)
            }
        }
    }

    /// The qualified name of a primary key of the endorsement hierarchy. SPEC: Part 1, 16
    #[must_use]
    pub fn qualified(&self) -> Self {
        let algorithm = match self {
            Self::Sha256(_) => NameAlgorithm::Sha256,
            Self::Sha384(_) => NameAlgorithm::Sha384,
        };
        Self::of(algorithm, [&RH_ENDORSEMENT.to_be_bytes(), self.as_bytes()])
    }
}

impl core::fmt::Display for KeyName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_hex(f, self.as_bytes())
    }
}

impl core::fmt::Debug for KeyName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_hex(f, self.as_bytes())
    }
}

#[derive(Clone, Copy)]
enum NameAlgorithm {
    Sha256,
    Sha384,
}

impl PartialEq for PlainKey {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for PlainKey {}

impl PlainKey {
    /// From an RSA modulus without leading zeros, and the exponent.
    pub fn rsa(modulus: &[u8], exponent: u64) -> Result<Self, KeyError> {
        // The exponent is part of what makes a key this key; with 65537 alone it need not be compared.
        if exponent != DEFAULT_EXPONENT {
            return Err(KeyError::Rsa("its exponent is not 65537"));
        }
        let key = RsaKey::new(modulus, exponent).map_err(KeyError::Rsa)?;
        Ok(Self {
            key: Key::Rsa(Box::new(key)),
            text: modulus.to_vec(),
        })
    }

    /// From a `SubjectPublicKeyInfo`, all of the bytes.
    pub fn spki(bytes: &[u8]) -> Result<Self, KeyError> {
        let form = |error: countersign_certificates::DerError| KeyError::Spki(error.into());
        let mut reader = der::Reader::new(bytes);
        let element = reader
            .expect(der::SEQUENCE, "SubjectPublicKeyInfo")
            .map_err(form)?;
        reader.end("SubjectPublicKeyInfo").map_err(form)?;
        let key = Key::parse(&element, "the attestation key").map_err(KeyError::Spki)?;
        let mut inside = element.inside();
        inside
            .expect(der::SEQUENCE, "SubjectPublicKeyInfo.algorithm")
            .map_err(form)?;
        let bits = inside
            .bits("SubjectPublicKeyInfo.subjectPublicKey")
            .map_err(form)?;
        match key {
            Key::Rsa(_) => {
                let mut numbers = der::Reader::new(bits)
                    .sequence("RSAPublicKey")
                    .map_err(form)?;
                let modulus = numbers.unsigned("RSAPublicKey.modulus").map_err(form)?;
                let exponent = numbers
                    .number("RSAPublicKey.publicExponent")
                    .map_err(form)?;
                Self::rsa(modulus, exponent)
            }
            Key::P256(_) | Key::P384(_) => Ok(Self {
                key,
                text: bits.to_vec(),
            }),
        }
    }

    fn p256(x: &[u8; 32], y: &[u8; 32]) -> Result<Self, KeyError> {
        let text = [&[4], x.as_slice(), y].concat();
        let key =
            p256::ecdsa::VerifyingKey::from_sec1_bytes(&text).map_err(|_| KeyError::NotOnCurve)?;
        Ok(Self {
            key: Key::P256(key),
            text,
        })
    }

    fn p384(x: &[u8; 48], y: &[u8; 48]) -> Result<Self, KeyError> {
        let text = [&[4], x.as_slice(), y].concat();
        let key =
            p384::ecdsa::VerifyingKey::from_sec1_bytes(&text).map_err(|_| KeyError::NotOnCurve)?;
        Ok(Self {
            key: Key::P384(key),
            text,
        })
    }

    /// Its kind, for people.
    #[must_use]
    pub fn kind(&self) -> String {
        match &self.key {
            Key::Rsa(key) => format!("rsa {} bits", key.bits()),
            Key::P256(_) => "ecdsa p-256".into(),
            Key::P384(_) => "ecdsa p-384".into(),
        }
    }

    /// The public area that this key has if a statement's signer is a primary of the endorsement
    /// hierarchy, made by one of the templates that clouds and we use.
    #[must_use]
    pub fn identify(&self, qualified_signer: &[u8]) -> Option<TpmKey> {
        TEMPLATES
            .iter()
            .filter_map(|attributes| TpmKey::parse(&self.public_area(*attributes)?).ok())
            .find(|key| key.name.qualified().as_bytes() == qualified_signer)
    }

    /// `TPMT_PUBLIC` of this key without a policy: SHA-256, RSASSA or ECDSA.
    fn public_area(&self, attributes: u32) -> Option<Vec<u8>> {
        let sized = |bytes: &[u8]| -> Option<Vec<u8>> {
            Some([&u16::try_from(bytes.len()).ok()?.to_be_bytes(), bytes].concat())
        };
        let kind = match &self.key {
            Key::Rsa(_) => ALG_RSA,
            Key::P256(_) | Key::P384(_) => ALG_ECC,
        };
        let head = [
            kind.to_be_bytes().as_slice(),
            &ALG_SHA256.to_be_bytes(),
            &attributes.to_be_bytes(),
            &[0, 0],
            &ALG_NULL.to_be_bytes(),
        ]
        .concat();
        let words = |words: &[u16]| -> Vec<u8> {
            words.iter().flat_map(|word| word.to_be_bytes()).collect()
        };
        let point = |curve| -> Option<Vec<u8>> {
            let (x, y) = self.text.get(1..)?.split_at_checked(self.text.len() / 2)?;
            Some(
                [
                    words(&[ALG_ECDSA, ALG_SHA256, curve, ALG_NULL]),
                    sized(x)?,
                    sized(y)?,
                ]
                .concat(),
            )
        };
        let tail = match &self.key {
            Key::Rsa(key) => [
                words(&[
                    ALG_RSASSA,
                    ALG_SHA256,
                    u16::try_from(key.bits()).ok()?,
                    0,
                    0,
                ]),
                sized(&self.text)?,
            ]
            .concat(),
            Key::P256(_) => point(ECC_NIST_P256)?,
            Key::P384(_) => point(ECC_NIST_P384)?,
        };
        Some([head, tail].concat())
    }

    /// Checks a signature over a message as it arrived, made with this digest.
    fn verify(
        &self,
        hash: Hash,
        message: &[u8],
        signature: KeySignature<'_>,
    ) -> Result<(), KeySignatureError> {
        let mut reader = match signature {
            KeySignature::Tpmt(bytes) => Reader::new(bytes),
            KeySignature::RsaRaw(bytes) => {
                let Key::Rsa(_) = self.key else {
                    return Err(KeySignatureError::NotRsa);
                };
                return self.verify_rsa(hash, message, bytes);
            }
        };
        let algorithm = match hash {
            Hash::Sha256 => ALG_SHA256,
            Hash::Sha384 => ALG_SHA384,
            Hash::Sha512 => ALG_SHA512,
        };
        let scheme = match &self.key {
            Key::Rsa(_) => ALG_RSASSA,
            Key::P256(_) | Key::P384(_) => ALG_ECDSA,
        };
        reader.expect_u16(scheme, "sigAlg")?;
        reader.expect_u16(algorithm, "hash")?;
        match &self.key {
            Key::Rsa(_) => {
                let number = reader.sized(512, "sig")?;
                reader.end()?;
                self.verify_rsa(hash, message, number)
            }
            Key::P256(key) => {
                let r: [u8; 32] = scalar(&mut reader, "signatureR")?;
                let s: [u8; 32] = scalar(&mut reader, "signatureS")?;
                reader.end()?;
                let signature = p256::ecdsa::Signature::from_scalars(r, s)
                    .map_err(|_| KeySignatureError::OutOfRange)?;
                key.verify_prehash(&hash.digest(message), &signature)
                    .map_err(|_| KeySignatureError::Mismatch)
            }
            Key::P384(key) => {
                let r: [u8; 48] = scalar(&mut reader, "signatureR")?;
                let s: [u8; 48] = scalar(&mut reader, "signatureS")?;
                reader.end()?;
                let signature = p384::ecdsa::Signature::from_scalars(r, s)
                    .map_err(|_| KeySignatureError::OutOfRange)?;
                key.verify_prehash(&hash.digest(message), &signature)
                    .map_err(|_| KeySignatureError::Mismatch)
            }
        }
    }

    fn verify_rsa(
        &self,
        hash: Hash,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), KeySignatureError> {
        let signed = Signed { message, signature };
        self.key
            .verify(Scheme::Rsa(hash), &signed, "a statement")
            .map_err(|_| KeySignatureError::Mismatch)
    }
}

impl TpmKey {
    /// Reads a `TPMT_PUBLIC` of a signing key, all of the bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, KeyError> {
        let mut reader = Reader::new(bytes);
        let kind = reader.u16("type")?;
        let name_algorithm = match reader.u16("nameAlg")? {
            ALG_SHA256 => NameAlgorithm::Sha256,
            ALG_SHA384 => NameAlgorithm::Sha384,
            found => {
                return Err(KeyError::Algorithm {
                    field: "nameAlg",
                    found,
                });
            }
        };
        let attributes = reader.u32("objectAttributes")?;
        // Who may use a key does not change what its signature means; the name covers it.
        reader.sized(64, "authPolicy")?;
        // A restricted key has a scheme, and a signing key no cipher.
        reader.expect_u16(ALG_NULL, "symmetric")?;
        let (plain, hash) = match kind {
            ALG_RSA => rsa_rest(&mut reader)?,
            ALG_ECC => ecc_rest(&mut reader)?,
            found => return Err(KeyError::Type { found }),
        };
        reader.end()?;
        Ok(Self {
            plain,
            hash,
            attributes,
            name: KeyName::of(name_algorithm, [bytes, &[]]),
        })
    }

    /// The key itself.
    #[must_use]
    pub fn plain(&self) -> &PlainKey {
        &self.plain
    }

    /// `TPMA_OBJECT`.
    #[must_use]
    pub fn attributes(&self) -> u32 {
        self.attributes
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> KeyName {
        self.name
    }

    /// The digest of its scheme, by which a quote hashes PCR values too.
    pub(super) fn hash(&self) -> Hash {
        self.hash
    }

    /// Checks a signature over a message as it arrived, by this key's scheme.
    pub fn verify(
        &self,
        message: &[u8],
        signature: KeySignature<'_>,
    ) -> Result<(), KeySignatureError> {
        self.plain.verify(self.hash, message, signature)
    }
}

impl PlainKey {
    /// Checks a signature of a key of which nothing else is known, by SHA-256.
    pub(crate) fn verify_plain(
        &self,
        message: &[u8],
        signature: KeySignature<'_>,
    ) -> Result<(), KeySignatureError> {
        self.verify(Hash::Sha256, message, signature)
    }
}

/// `TPMS_RSA_PARMS` after the cipher, and the modulus. SPEC: Part 2, 12.2.3.5
fn rsa_rest(reader: &mut Reader<'_>) -> Result<(PlainKey, Hash), KeyError> {
    reader.expect_u16(ALG_RSASSA, "scheme")?;
    reader.expect_u16(ALG_SHA256, "scheme.hashAlg")?;
    let bits = reader.u16("keyBits")?;
    // Zero is how TPMs write 65537.
    let exponent = match reader.u32("exponent")? {
        0 => DEFAULT_EXPONENT,
        stated => stated.into(),
    };
    let modulus = reader.sized(512, "unique")?;
    if modulus.len().checked_mul(8) != Some(bits.into()) {
        return Err(KeyError::ModulusLength {
            bytes: modulus.len(),
            bits,
        });
    }
    Ok((PlainKey::rsa(modulus, exponent)?, Hash::Sha256))
}

/// `TPMS_ECC_PARMS` after the cipher, and the point. SPEC: Part 2, 12.2.3.6
fn ecc_rest(reader: &mut Reader<'_>) -> Result<(PlainKey, Hash), KeyError> {
    reader.expect_u16(ALG_ECDSA, "scheme")?;
    let hash = match reader.u16("scheme.hashAlg")? {
        ALG_SHA256 => Hash::Sha256,
        ALG_SHA384 => Hash::Sha384,
        found => {
            return Err(KeyError::Algorithm {
                field: "scheme.hashAlg",
                found,
            });
        }
    };
    let curve = reader.u16("curveID")?;
    reader.expect_u16(ALG_NULL, "kdf")?;
    let plain = match (curve, hash) {
        (ECC_NIST_P256, Hash::Sha256) => {
            PlainKey::p256(&scalar(reader, "unique.x")?, &scalar(reader, "unique.y")?)?
        }
        (ECC_NIST_P384, Hash::Sha256 | Hash::Sha384) => {
            PlainKey::p384(&scalar(reader, "unique.x")?, &scalar(reader, "unique.y")?)?
        }
        (found, _) => {
            return Err(KeyError::Algorithm {
                field: "curveID",
                found,
            });
        }
    };
    Ok((plain, hash))
}

/// `TPM2B_ECC_PARAMETER`: a TPM may leave out leading zeros, so short ones are padded. SPEC: Part 2, 11.2.5
fn scalar<const N: usize>(
    reader: &mut Reader<'_>,
    field: &'static str,
) -> Result<[u8; N], FormError> {
    let limit = u16::try_from(N).unwrap_or(u16::MAX);
    let bytes = reader.sized(limit, field)?;
    let mut padded = [0; N];
    padded
        .iter_mut()
        .rev()
        .zip(bytes.iter().rev())
        .for_each(|(to, from)| *to = *from);
    Ok(padded)
}

/// Attributes of attestation keys that are known by their names alone: Azure's paravisor and our own
/// (`fixedTPM | fixedParent | sensitiveDataOrigin | userWithAuth | noDA | restricted | sign`), and
/// Google's, which is without `noDA`.
///
/// Source: captures of both, whose quotes name such a key as their signer.
const TEMPLATES: [u32; 2] = [0x0005_0472, 0x0005_0072];

/// `TPM_RH_ENDORSEMENT`. Elsewhere a TPM obfuscates reset counts and firmware version. SPEC: Part 2, 7.4
const RH_ENDORSEMENT: u32 = 0x4000_000b;

/// The exponent that TPMs write as zero. SPEC: Part 2, 12.2.3.5
const DEFAULT_EXPONENT: u64 = 65_537;

/// Algorithm identifiers. SPEC: Part 2, 6.3
const ALG_RSA: u16 = 0x0001;
const ALG_SHA384: u16 = 0x000c;
const ALG_SHA512: u16 = 0x000d;
const ALG_RSASSA: u16 = 0x0014;

/// `TPM_ECC_NIST_P384`. SPEC: Part 2, 6.4
const ECC_NIST_P384: u16 = 0x0004;
