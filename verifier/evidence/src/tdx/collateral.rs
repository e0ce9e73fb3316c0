//! Collateral: what Intel says about platforms, as it was received.
//!
//! In: the forms in which people have it: one JSON object with everything ([`Collateral::from_json`], the
//! form that DCAP libraries in Rust write), or the answers of Intel's service ([`Collateral::from_pcs`]).
//! Out: [`Collateral`], byte strings. Nothing is verified here; what is wrong fails in the appraisal.
//!
//! Signed objects are cut from the answer as they stand there, byte for byte.

use countersign_certificates::pem;
use thiserror::Error;

use super::Fmspc;
use super::tcbinfo::TcbInfo;
use crate::json::{Fields, Json, JsonError, hex_bytes};

/// Longest answer or object of collateral, in bytes (2 MiB). Those seen have up to 20 KiB.
const MAX_BYTES: usize = 2 * 1024 * 1024;

/// What is needed to judge a quote, beside the quote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collateral {
    /// TCB info, the object alone, as Intel signed it.
    pub tcb_info: Vec<u8>,
    /// r and s over it.
    pub tcb_info_signature: Vec<u8>,
    /// Its signer's certificate and the root's, as PEM.
    pub tcb_info_chain: Vec<u8>,
    /// Identity of the quoting enclave, the object alone, as Intel signed it.
    pub qe_identity: Vec<u8>,
    /// r and s over it.
    pub qe_identity_signature: Vec<u8>,
    /// Its signer's certificate and the root's, as PEM.
    pub qe_identity_chain: Vec<u8>,
    /// Revocation list of platforms' certificates, DER. Its issuer's certificate is the quote's own.
    pub pck_crl: Vec<u8>,
    /// Revocation list of the root, DER.
    pub root_crl: Vec<u8>,
}

/// Answers of Intel's service, or of a cache of it, as they came.
#[derive(Debug, Clone, Copy)]
pub struct PcsAnswers<'a> {
    /// Body of `/tdx/certification/v4/tcb`.
    pub tcb_info: &'a [u8],
    /// Its header `TCB-Info-Issuer-Chain`: PEM, with percent signs as in an URL or without.
    pub tcb_info_chain: &'a [u8],
    /// Body of `/tdx/certification/v4/qe/identity`.
    pub qe_identity: &'a [u8],
    /// Its header `SGX-Enclave-Identity-Issuer-Chain`.
    pub qe_identity_chain: &'a [u8],
    /// Body of `/sgx/certification/v4/pckcrl`, DER or PEM.
    pub pck_crl: &'a [u8],
    /// The root's list, DER or PEM.
    pub root_crl: &'a [u8],
}

/// Why collateral cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CollateralError {
    /// Not the JSON that it should be.
    #[error("collateral: {0}")]
    Json(#[from] JsonError),
    /// Longer than any is.
    #[error("{what} is {found} bytes, limit is {MAX_BYTES}")]
    TooLong {
        /// What.
        what: &'static str,
        /// Its length.
        found: usize,
    },
    /// Digits that are none.
    #[error("{0} is not in hexadecimal digits")]
    Hex(&'static str),
    /// A list as PEM that is none.
    #[error("{0} is not one list as pem")]
    Pem(&'static str),
    /// A header whose percent signs are not followed by two digits.
    #[error("{0} is not encoded as an url")]
    Percent(&'static str),
}

impl Collateral {
    /// From one object with everything: signed objects as strings, signatures and lists in hexadecimal
    /// digits, chains as PEM.
    ///
    /// Chains of the lists' issuers and of the platform may stand there; a quote has its own, so they are
    /// left out.
    ///
    /// # Errors
    /// If it is none.
    pub fn from_json(bytes: &[u8]) -> Result<Self, CollateralError> {
        let json = Json::parse(bytes)?;
        let mut fields = Fields::of(&json, "collateral")?;
        let digits = |fields: &mut Fields<'_, '_>, name| {
            hex_bytes(fields.text(name)?).ok_or(CollateralError::Hex(name))
        };
        let text = |fields: &mut Fields<'_, '_>, name| {
            Ok::<_, JsonError>(fields.text(name)?.as_bytes().to_vec())
        };
        let collateral = Self {
            tcb_info: text(&mut fields, "tcb_info")?,
            tcb_info_signature: digits(&mut fields, "tcb_info_signature")?,
            tcb_info_chain: text(&mut fields, "tcb_info_issuer_chain")?,
            qe_identity: text(&mut fields, "qe_identity")?,
            qe_identity_signature: digits(&mut fields, "qe_identity_signature")?,
            qe_identity_chain: text(&mut fields, "qe_identity_issuer_chain")?,
            pck_crl: digits(&mut fields, "pck_crl")?,
            root_crl: digits(&mut fields, "root_ca_crl")?,
        };
        fields.optional("pck_crl_issuer_chain");
        fields.optional("pck_certificate_chain");
        fields.end()?;
        Ok(collateral)
    }

    /// From the answers of Intel's service.
    ///
    /// # Errors
    /// If one of them is none.
    pub fn from_pcs(answers: PcsAnswers<'_>) -> Result<Self, CollateralError> {
        let (tcb_info, tcb_info_signature) = signed(answers.tcb_info, "tcbInfo")?;
        let (qe_identity, qe_identity_signature) = signed(answers.qe_identity, "enclaveIdentity")?;
        Ok(Self {
            tcb_info,
            tcb_info_signature,
            tcb_info_chain: unescaped(answers.tcb_info_chain, "the chain of the tcb info")?,
            qe_identity,
            qe_identity_signature,
            qe_identity_chain: unescaped(
                answers.qe_identity_chain,
                "the chain of the qe identity",
            )?,
            pck_crl: list(answers.pck_crl, "the platforms' revocation list")?,
            root_crl: list(answers.root_crl, "the root's revocation list")?,
        })
    }
}

impl Collateral {
    /// The family of platforms that its TCB information is about, if that can be read. Nothing is verified.
    #[must_use]
    pub fn fmspc(&self) -> Option<Fmspc> {
        let json = Json::parse(&self.tcb_info).ok()?;
        TcbInfo::of(&json).ok().map(|info| info.fmspc)
    }
}

/// The object that is signed, as it stands in an answer, and the signature.
fn signed(answer: &[u8], name: &'static str) -> Result<(Vec<u8>, Vec<u8>), CollateralError> {
    let json = Json::parse(answer)?;
    let mut fields = Fields::of(&json, "answer")?;
    let object = fields.take(name)?.raw.to_vec();
    let signature =
        hex_bytes(fields.text("signature")?).ok_or(CollateralError::Hex("signature"))?;
    fields.end()?;
    Ok((object, signature))
}

fn limited(bytes: &[u8], what: &'static str) -> Result<(), CollateralError> {
    if bytes.len() > MAX_BYTES {
        return Err(CollateralError::TooLong {
            what,
            found: bytes.len(),
        });
    }
    Ok(())
}

/// A list as DER, from DER or PEM.
fn list(bytes: &[u8], what: &'static str) -> Result<Vec<u8>, CollateralError> {
    limited(bytes, what)?;
    if !bytes.starts_with(b"-----BEGIN") {
        return Ok(bytes.to_vec());
    }
    let text = core::str::from_utf8(bytes).map_err(|_| CollateralError::Pem(what))?;
    let mut blocks = pem::blocks(text, pem::CRL).map_err(|_| CollateralError::Pem(what))?;
    match (blocks.pop(), blocks.is_empty()) {
        (Some(der), true) => Ok(der),
        (Some(_) | None, _) => Err(CollateralError::Pem(what)),
    }
}

/// A header's value without its percent signs. PEM itself has none.
fn unescaped(bytes: &[u8], what: &'static str) -> Result<Vec<u8>, CollateralError> {
    limited(bytes, what)?;
    let mut parts = bytes.split(|byte| *byte == b'%');
    let mut out = parts.next().unwrap_or_default().to_vec();
    for part in parts {
        let wrong = CollateralError::Percent(what);
        let (digits, rest) = part.split_at_checked(2).ok_or(wrong.clone())?;
        let digits = core::str::from_utf8(digits).map_err(|_| wrong.clone())?;
        out.extend(hex_bytes(digits).ok_or(wrong)?);
        out.extend_from_slice(rest);
    }
    Ok(out)
}
