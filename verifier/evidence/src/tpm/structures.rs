//! TPM structures that evidence is made of, read from the bytes that arrived.
//!
//! Source: TCG "TPM 2.0 Library" Part 2 (structures), revision 1.59; section numbers stand at the
//! types. All integers are big-endian. Each reader takes all bytes or refuses.

use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use p256::ecdsa::{Signature, VerifyingKey};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

use crate::reader::{FormError, Reader, expect};

/// Name of a key or NV index: `TPM_ALG_SHA256`, then SHA-256 of its public area, 34 bytes.
///
/// SPEC: Part 1, section 16.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TpmName(pub [u8; 34]);

impl TpmName {
    /// The name of a public area with SHA-256 as its name algorithm.
    #[must_use]
    pub fn of(public_area: &[u8]) -> Self {
        Self::from_digest(Sha256::digest(public_area).into())
    }

    /// Qualified name of a primary key: its name under the handle of its hierarchy. SPEC: Part 1, 16.
    pub(crate) fn qualified_by(&self, hierarchy: u32) -> Self {
        Self::from_digest(
            Sha256::new()
                .chain_update(hierarchy.to_be_bytes())
                .chain_update(self.0)
                .finalize()
                .into(),
        )
    }

    pub(super) fn from_digest(digest: [u8; 32]) -> Self {
        let mut name = [0; 34];
        let (algorithm, rest) = name.split_at_mut(2);
        algorithm.copy_from_slice(&ALG_SHA256.to_be_bytes());
        rest.copy_from_slice(&digest);
        Self(name)
    }
}

impl core::fmt::Display for TpmName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_hex(f, &self.0)
    }
}

impl core::fmt::Debug for TpmName {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write_hex(f, &self.0)
    }
}

/// Why a public area is not that of an ECDSA P-256 key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EccPublicError {
    /// It has another form, algorithm, scheme or curve.
    #[error("public area: {0}")]
    Form(#[from] FormError),
    /// Its point is not on P-256.
    #[error("public area has a point that is not on the curve p-256")]
    NotOnCurve,
}

/// `TPMT_PUBLIC` of an ECDSA P-256 signing key. SPEC: Part 2, 12.2.4
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct EccPublic {
    pub(crate) attributes: u32,
    pub(crate) name: TpmName,
    pub(crate) auth_policy_bytes: usize,
    key: VerifyingKey,
}

impl EccPublic {
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, EccPublicError> {
        let mut reader = Reader::new(bytes);
        reader.expect_u16(ALG_ECC, "type")?;
        reader.expect_u16(ALG_SHA256, "nameAlg")?;
        let attributes = reader.u32("objectAttributes")?;
        let auth_policy_bytes = reader.sized(64, "authPolicy")?.len();
        reader.expect_u16(ALG_NULL, "symmetric")?;
        reader.expect_u16(ALG_ECDSA, "scheme")?;
        reader.expect_u16(ALG_SHA256, "scheme.hashAlg")?;
        reader.expect_u16(ECC_NIST_P256, "curveID")?;
        reader.expect_u16(ALG_NULL, "kdf")?;
        let x = scalar(&mut reader, "unique.x")?;
        let y = scalar(&mut reader, "unique.y")?;
        reader.end()?;
        let point = [&[4], x.as_slice(), y.as_slice()].concat();
        let key = VerifyingKey::from_sec1_bytes(&point).map_err(|_| EccPublicError::NotOnCurve)?;
        Ok(Self {
            attributes,
            name: TpmName::of(bytes),
            auth_policy_bytes,
            key,
        })
    }

    /// Checks a `TPMT_SIGNATURE` over a message as it arrived.
    pub(crate) fn verify(&self, signed: SignedBytes<'_>) -> Result<(), TpmSignatureError> {
        let signature = parse_signature(signed.signature)?;
        self.key
            .verify_prehash(&Sha256::digest(signed.message), &signature)
            .map_err(|_| TpmSignatureError::Mismatch)
    }
}

/// What a TPM signed, and its signature.
#[derive(Debug, Clone, Copy)]
pub(crate) struct SignedBytes<'a> {
    /// `TPMS_ATTEST`, as received.
    pub(crate) message: &'a [u8],
    /// `TPMT_SIGNATURE`, as received.
    pub(crate) signature: &'a [u8],
}

/// Why a `TPMT_SIGNATURE` does not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum TpmSignatureError {
    /// It is not an ECDSA signature with SHA-256.
    #[error("signature: {0}")]
    Form(#[from] FormError),
    /// r or s is zero or not below the group order.
    #[error("signature has an r or s out of range")]
    OutOfRange,
    /// Another key, another message, or altered.
    #[error("signature does not hold under the attestation key")]
    Mismatch,
}

/// `TPMT_SIGNATURE`, ECDSA over P-256 with SHA-256. SPEC: Part 2, 11.3.4
fn parse_signature(bytes: &[u8]) -> Result<Signature, TpmSignatureError> {
    let mut reader = Reader::new(bytes);
    reader.expect_u16(ALG_ECDSA, "sigAlg")?;
    reader.expect_u16(ALG_SHA256, "hash")?;
    let r = scalar(&mut reader, "signatureR")?;
    let s = scalar(&mut reader, "signatureS")?;
    reader.end()?;
    Signature::from_scalars(r, s).map_err(|_| TpmSignatureError::OutOfRange)
}

/// `TPM2B_ECC_PARAMETER`: a TPM may leave out leading zeros, so short ones are padded. SPEC: Part 2, 11.2.5
fn scalar(reader: &mut Reader<'_>, field: &'static str) -> Result<[u8; 32], FormError> {
    let bytes = reader.sized(32, field)?;
    let mut padded = [0; 32];
    padded
        .iter_mut()
        .rev()
        .zip(bytes.iter().rev())
        .for_each(|(to, from)| *to = *from);
    Ok(padded)
}

/// The head of a `TPMS_ATTEST`. SPEC: Part 2, 10.12.12
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head<'a> {
    pub(crate) qualified_signer: &'a [u8],
    pub(crate) extra_data: &'a [u8],
    pub(crate) clock_ms: u64,
    pub(crate) reset_count: u32,
    pub(crate) restart_count: u32,
    pub(crate) safe: u8,
    pub(crate) firmware_version: u64,
}

impl<'a> Head<'a> {
    fn parse(reader: &mut Reader<'a>, kind: u16) -> Result<Self, FormError> {
        reader.expect_u32(GENERATED, "magic")?;
        reader.expect_u16(kind, "type")?;
        let head = Self {
            qualified_signer: reader.sized(68, "qualifiedSigner")?,
            extra_data: reader.sized(66, "extraData")?,
            clock_ms: reader.u64("clockInfo.clock")?,
            reset_count: reader.u32("clockInfo.resetCount")?,
            restart_count: reader.u32("clockInfo.restartCount")?,
            safe: reader.u8("clockInfo.safe")?,
            firmware_version: reader.u64("firmwareVersion")?,
        };
        // TPMI_YES_NO has two values.
        expect("clockInfo.safe", head.safe.into(), head.safe.min(1).into())?;
        Ok(head)
    }
}

/// `TPMS_ATTEST` of a quote. SPEC: Part 2, 10.12.4
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QuoteStatement<'a> {
    pub(crate) head: Head<'a>,
    /// Bank, and the bytes of its selection.
    pub(crate) selections: Vec<(u16, &'a [u8])>,
    pub(crate) pcr_digest: &'a [u8],
}

impl<'a> QuoteStatement<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FormError> {
        let mut reader = Reader::new(bytes);
        let head = Head::parse(&mut reader, ATTEST_QUOTE)?;
        let count = reader.u32("pcrSelect.count")?;
        if count > MAX_SELECTIONS {
            let (found, limit) = (count.into(), MAX_SELECTIONS.into());
            return Err(FormError::TooLarge {
                field: "pcrSelect.count",
                found,
                limit,
            });
        }
        let mut selections = Vec::new();
        for _ in 0..count {
            let bank = reader.u16("pcrSelect.hash")?;
            let octets = reader.u8("pcrSelect.sizeofSelect")?;
            selections.push((bank, reader.take(octets.into(), "pcrSelect.pcrSelect")?));
        }
        let pcr_digest = reader.sized(64, "pcrDigest")?;
        reader.end()?;
        Ok(Self {
            head,
            selections,
            pcr_digest,
        })
    }
}

/// `TPMS_ATTEST` of an NV index. SPEC: Part 2, 10.12.8
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NvStatement<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) index_name: &'a [u8],
    pub(crate) offset: u16,
    pub(crate) contents: &'a [u8],
}

impl<'a> NvStatement<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FormError> {
        let mut reader = Reader::new(bytes);
        let head = Head::parse(&mut reader, ATTEST_NV)?;
        let statement = Self {
            head,
            index_name: reader.sized(68, "indexName")?,
            offset: reader.u16("offset")?,
            contents: reader.sized(2048, "nvContents")?,
        };
        reader.end()?;
        Ok(statement)
    }
}

/// `TPMS_ATTEST` of a key. SPEC: Part 2, 10.12.3
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct CertifyStatement<'a> {
    pub(crate) head: Head<'a>,
    pub(crate) name: &'a [u8],
    pub(crate) qualified_name: &'a [u8],
}

impl<'a> CertifyStatement<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FormError> {
        let mut reader = Reader::new(bytes);
        let head = Head::parse(&mut reader, ATTEST_CERTIFY)?;
        let statement = Self {
            head,
            name: reader.sized(68, "name")?,
            qualified_name: reader.sized(68, "qualifiedName")?,
        };
        reader.end()?;
        Ok(statement)
    }
}

/// `TPMS_NV_PUBLIC`. SPEC: Part 2, 13.5
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NvPublic<'a> {
    pub(crate) index: u32,
    pub(crate) attributes: u32,
    pub(crate) auth_policy: &'a [u8],
    pub(crate) data_bytes: u16,
}

impl<'a> NvPublic<'a> {
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, FormError> {
        let mut reader = Reader::new(bytes);
        let index = reader.u32("nvIndex")?;
        reader.expect_u16(ALG_SHA256, "nameAlg")?;
        let attributes = reader.u32("attributes")?;
        let auth_policy = reader.sized(64, "authPolicy")?;
        let data_bytes = reader.u16("dataSize")?;
        reader.end()?;
        Ok(Self {
            index,
            attributes,
            auth_policy,
            data_bytes,
        })
    }
}

pub(crate) fn write_hex(f: &mut core::fmt::Formatter<'_>, bytes: &[u8]) -> core::fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
}

/// Most banks in a quote's selection (`HASH_COUNT` of implementations is at most 16).
const MAX_SELECTIONS: u32 = 16;

/// `TPM_GENERATED_VALUE`: nothing else that a restricted key signs begins so. SPEC: Part 2, 6.2
pub(crate) const GENERATED: u32 = 0xff54_4347;

/// `TPM_ST_ATTEST_QUOTE`. SPEC: Part 2, 6.9
pub(crate) const ATTEST_QUOTE: u16 = 0x8018;

/// `TPM_ST_ATTEST_CERTIFY`. SPEC: Part 2, 6.9
pub(crate) const ATTEST_CERTIFY: u16 = 0x8017;

/// `TPM_ST_ATTEST_NV`. SPEC: Part 2, 6.9
pub(crate) const ATTEST_NV: u16 = 0x8014;

/// Algorithm identifiers. SPEC: Part 2, 6.3
pub(crate) const ALG_SHA256: u16 = 0x000b;
pub(crate) const ALG_NULL: u16 = 0x0010;
pub(crate) const ALG_ECDSA: u16 = 0x0018;
pub(crate) const ALG_ECC: u16 = 0x0023;

/// `TPM_ECC_NIST_P256`. SPEC: Part 2, 6.4
pub(crate) const ECC_NIST_P256: u16 = 0x0003;
