//! The layout of a quote, versions 4 and 5.
//!
//! In: all bytes of a quote. Out: its parts, which point into them. Little-endian; every length is exact.
//!
//! ```text
//! header 48 · [version 5: body type 2, body size 4] · body · length 4 · signature data
//! signature data: signature 64 · attestation key 64 · type 2 (6) · length 4 · certification
//! certification:  report on the quoting enclave 384 · signature 64 · length 2 · authentication data
//!                 · type 2 (5) · length 4 · certificates as PEM
//! ```
//!
//! What is signed by the attestation key is everything before the length of the signature data. The rest is
//! bound from within (by signatures, and by the hash in the enclave's report data), or has one value only.
//!
//! Source: Intel TDX DCAP Quoting Library API, "Quote Format"; `sgx_quote_4.h`, `sgx_quote_5.h`.

use super::body::{BodyKind, TdBody};
use super::enclave::REPORT_BYTES;
use crate::reader::{FormError, Reader, expect};

/// Longest quote that is read, in bytes (64 KiB). Quotes seen have about 5000.
pub const MAX_QUOTE_BYTES: usize = 64 * 1024;

/// Length of the header, in bytes.
pub(super) const HEADER_BYTES: usize = 48;

/// `tee_type` of a trust domain.
pub(super) const TEE_TDX: u32 = 0x81;

/// Attestation key type: ECDSA over P-256 with SHA-256.
pub(super) const KEY_P256: u16 = 2;

/// Who made the quoting enclave: Intel.
pub(super) const VENDOR_INTEL: [u8; 16] = [
    0x93, 0x9a, 0x72, 0x33, 0xf7, 0x9c, 0x4c, 0xa9, 0x94, 0x0a, 0x0d, 0xb3, 0x95, 0x7f, 0x06, 0x07,
];

/// The header: signed, as the rest of what comes before the signature data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    version: u16,
    key_type: u16,
    tee: u32,
    reserved: u32,
    vendor: [u8; 16],
    user_data: [u8; 20],
}

impl Header {
    pub(super) fn parse(quote: &[u8]) -> Result<Self, FormError> {
        if quote.len() > MAX_QUOTE_BYTES {
            return Err(FormError::TooLarge {
                field: "length of the quote",
                found: u64::try_from(quote.len()).unwrap_or(u64::MAX),
                limit: u64::try_from(MAX_QUOTE_BYTES).unwrap_or(u64::MAX),
            });
        }
        let mut r = Reader::new(quote);
        let version = r.u16_le("version")?;
        let key_type = r.u16_le("attestation key type")?;
        let tee = r.u32_le("tee type")?;
        let reserved = r.u32_le("reserved after tee type")?;
        Ok(Self {
            version,
            key_type,
            tee,
            reserved,
            vendor: r.array("qe vendor id")?,
            user_data: r.array("user data")?,
        })
    }

    /// Version of the layout.
    #[must_use]
    pub fn version(&self) -> u16 {
        self.version
    }

    /// Kind of the attestation key.
    #[must_use]
    pub fn key_type(&self) -> u16 {
        self.key_type
    }

    /// Kind of what is quoted.
    #[must_use]
    pub fn tee(&self) -> u32 {
        self.tee
    }

    /// Zero in quotes of trust domains.
    #[must_use]
    pub fn reserved_bytes(&self) -> u32 {
        self.reserved
    }

    /// Who made the quoting enclave.
    #[must_use]
    pub fn vendor(&self) -> [u8; 16] {
        self.vendor
    }

    /// Bytes of the quoting enclave's own; the first 16 name the platform to it.
    #[must_use]
    pub fn user_data(&self) -> [u8; 20] {
        self.user_data
    }
}

/// The body, and where it ends.
#[derive(Clone, Copy)]
pub(super) struct Body<'a> {
    pub(super) td: TdBody,
    /// What the attestation key signed.
    pub(super) signed: &'a [u8],
    /// What comes behind it.
    pub(super) rest: &'a [u8],
}

impl<'a> Body<'a> {
    /// Of a quote whose version is 4 or 5.
    pub(super) fn parse(quote: &'a [u8], version: u16) -> Result<Self, FormError> {
        let mut r = Reader::new(quote);
        r.take(HEADER_BYTES, "header")?;
        let kind = if version == 4 {
            BodyKind::Td10
        } else {
            let number = r.u16_le("body type")?;
            let kind = BodyKind::of_type(number).ok_or(FormError::Value {
                field: "body type",
                found: number.into(),
                expected: 3,
            })?;
            let size = u64::from(r.u32_le("body size")?);
            expect("body size", size, u64::try_from(kind.bytes()).unwrap_or(0))?;
            kind
        };
        let td = TdBody::parse(r.take(kind.bytes(), "body")?, kind)?;
        let rest = r.rest();
        let length = quote.len().saturating_sub(rest.len());
        let signed = quote.get(..length).unwrap_or_default();
        Ok(Self { td, signed, rest })
    }
}

/// Signature and key of the quote, and what vouches for the key.
#[derive(Clone, Copy)]
pub(super) struct SignatureData<'a> {
    /// r and s.
    pub(super) signature: &'a [u8; 64],
    /// x and y.
    pub(super) key: &'a [u8; 64],
    certification_type: u16,
    certification: &'a [u8],
}

impl<'a> SignatureData<'a> {
    /// Of everything behind the body; nothing may be left.
    pub(super) fn parse(rest: &'a [u8]) -> Result<Self, FormError> {
        let mut r = Reader::new(rest);
        let data = sized(&mut r, "signature data")?;
        r.end()?;
        let mut r = Reader::new(data);
        let signature = fixed(&mut r, "signature of the quote")?;
        let key = fixed(&mut r, "attestation key")?;
        let certification_type = r.u16_le("certification type")?;
        let certification = sized(&mut r, "certification")?;
        r.end()?;
        Ok(Self {
            signature,
            key,
            certification_type,
            certification,
        })
    }
}

/// What vouches for the attestation key.
#[derive(Clone, Copy)]
pub(super) struct Certification<'a> {
    /// The report on the quoting enclave.
    pub(super) report: &'a [u8],
    /// r and s, by the platform's key.
    pub(super) signature: &'a [u8; 64],
    /// What the quoting enclave hashed beside the attestation key.
    pub(super) authentication: &'a [u8],
    /// PEM.
    pub(super) chain: &'a [u8],
}

impl<'a> Certification<'a> {
    pub(super) fn parse(data: &SignatureData<'a>) -> Result<Self, FormError> {
        // 6: a report on the quoting enclave. 5: certificates; 1 to 3 name a platform without certifying it.
        let found = data.certification_type;
        expect("certification type", found.into(), 6)?;
        let mut r = Reader::new(data.certification);
        let report = r.take(REPORT_BYTES, "report on the quoting enclave")?;
        let signature = fixed(&mut r, "signature of the report")?;
        let length = r.u16_le("length of the authentication data")?;
        let authentication = r.take(length.into(), "authentication data")?;
        let inner = r.u16_le("type of the inner certification")?;
        expect("type of the inner certification", inner.into(), 5)?;
        let chain = sized(&mut r, "certificates")?;
        r.end()?;
        Ok(Self {
            report,
            signature,
            authentication,
            chain,
        })
    }
}

/// Four bytes of length, then that many.
fn sized<'a>(r: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8], FormError> {
    let found = r.u32_le(field)?;
    let length = usize::try_from(found).map_err(|_| FormError::TooLarge {
        field,
        found: found.into(),
        limit: 0,
    })?;
    r.take(length, field)
}

fn fixed<'a>(r: &mut Reader<'a>, field: &'static str) -> Result<&'a [u8; 64], FormError> {
    let cut = FormError::Truncated { field, at: 0 };
    r.take(64, field)?.try_into().map_err(|_| cut)
}
