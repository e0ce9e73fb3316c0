//! What a file holds, by its content: evidence and collateral in the forms in which people have them.
//!
//! In: the bytes of a file. Out: [`Piece`]s, or why it is none that is known. Names and endings of files
//! say nothing here. Binary, PEM, hexadecimal digits, Base64, and JSON of tools that collect evidence;
//! whatever a form holds is what would have stood there in binary, byte for byte.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use countersign_certificates::{Certificate, Crl, der, pem};
use countersign_evidence::snp::{CertificateTable, SNP_REPORT_BYTES};
use countersign_evidence::tdx::Collateral;
use serde_json::{Map, Value};
use thiserror::Error;

/// Something that evidence is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Piece {
    /// An SEV-SNP report.
    SnpReport(Vec<u8>),
    /// A TDX quote, or one of SGX, which is refused by name.
    TdxQuote(Vec<u8>),
    /// A report of Azure's paravisor.
    Paravisor(Vec<u8>),
    /// A certificate, DER.
    Certificate(Vec<u8>),
    /// A revocation list, DER.
    Crl(Vec<u8>),
    /// Collateral of a TDX quote, all of it.
    Collateral(Box<Collateral>),
    /// An answer of Intel's service: TCB information.
    TcbInfo(Vec<u8>),
    /// An answer of Intel's service: identity of the quoting enclave.
    QeIdentity(Vec<u8>),
    /// `TPMS_ATTEST` of type quote.
    Quote(Vec<u8>),
    /// `TPMT_SIGNATURE`.
    Signature(Vec<u8>),
    /// The number alone of an RSA signature.
    RawSignature(Vec<u8>),
    /// Values of boot registers, SHA-256 bank.
    Registers(Vec<(u8, [u8; 32])>),
    /// `TPMT_PUBLIC`.
    TpmPublic(Vec<u8>),
    /// `SubjectPublicKeyInfo`, DER.
    Spki(Vec<u8>),
    /// An event log of a boot.
    EventLog(Vec<u8>),
}

impl Piece {
    /// What it is, for people.
    #[must_use]
    pub fn what(&self) -> &'static str {
        match self {
            Self::SnpReport(_) => "SEV-SNP report",
            Self::TdxQuote(_) => "TDX quote",
            Self::Paravisor(_) => "paravisor report of Azure",
            Self::Certificate(_) => "certificate",
            Self::Crl(_) => "revocation list",
            Self::Collateral(_) => "collateral of TDX",
            Self::TcbInfo(_) => "TCB information of Intel",
            Self::QeIdentity(_) => "identity of the quoting enclave",
            Self::Quote(_) => "TPM quote",
            Self::Signature(_) | Self::RawSignature(_) => "TPM signature",
            Self::Registers(_) => "values of boot registers",
            Self::TpmPublic(_) => "public area of a TPM key",
            Self::Spki(_) => "public key",
            Self::EventLog(_) => "event log of a boot",
        }
    }

    /// Its bytes; none for what has no single row of them.
    #[must_use]
    pub fn into_bytes(self) -> Vec<u8> {
        match self {
            Self::SnpReport(bytes)
            | Self::TdxQuote(bytes)
            | Self::Paravisor(bytes)
            | Self::Certificate(bytes)
            | Self::Crl(bytes)
            | Self::TcbInfo(bytes)
            | Self::QeIdentity(bytes)
            | Self::Quote(bytes)
            | Self::Signature(bytes)
            | Self::RawSignature(bytes)
            | Self::TpmPublic(bytes)
            | Self::Spki(bytes)
            | Self::EventLog(bytes) => bytes,
            Self::Collateral(_) | Self::Registers(_) => Vec::new(),
        }
    }
}

/// What of a vendor's a piece is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vendor {
    /// Certificate of a VCEK or VLEK.
    AmdVek,
    /// Certificate of an ASK or ASVK.
    AmdIssuer,
    /// Certificate of an ARK.
    AmdRoot,
    /// AMD's revocation list.
    AmdCrl,
    /// Certificate of the key that signs Intel's collateral.
    IntelSigner,
    /// Certificate of Intel's root.
    IntelRoot,
    /// TCB information of Intel.
    IntelTcbInfo,
    /// Identity of the quoting enclave.
    IntelQeIdentity,
    /// Revocation list of a platform's CA.
    IntelPckCrl,
    /// Revocation list of Intel's root.
    IntelRootCrl,
}

/// 2.5.4.3, a common name.
const COMMON_NAME: &[u8] = b"\x55\x04\x03";

/// By the names that vendors give. Nothing is verified.
#[must_use]
pub fn vendor(piece: &Piece) -> Option<Vendor> {
    let contains = |name: &[u8], text: &[u8]| name.windows(text.len()).any(|w| w == text);
    match piece {
        Piece::Certificate(der) => {
            let certificate = Certificate::parse(der).ok()?;
            match certificate.named(COMMON_NAME)? {
                b"SEV-VCEK" | b"SEV-VLEK" => Some(Vendor::AmdVek),
                b"Intel SGX TCB Signing" => Some(Vendor::IntelSigner),
                b"Intel SGX Root CA" => Some(Vendor::IntelRoot),
                name if name.starts_with(b"ARK-") => Some(Vendor::AmdRoot),
                name if name.starts_with(b"SEV-") => Some(Vendor::AmdIssuer),
                _ => None,
            }
        }
        Piece::Crl(der) => {
            let list = Crl::parse(der).ok()?;
            let issuer = list.issuer();
            if contains(issuer, b"ARK-") {
                Some(Vendor::AmdCrl)
            } else if contains(issuer, b"Intel SGX Root CA") {
                Some(Vendor::IntelRootCrl)
            } else if contains(issuer, b"Intel SGX PCK") {
                Some(Vendor::IntelPckCrl)
            } else {
                None
            }
        }
        Piece::TcbInfo(_) => Some(Vendor::IntelTcbInfo),
        Piece::QeIdentity(_) => Some(Vendor::IntelQeIdentity),
        Piece::SnpReport(_)
        | Piece::TdxQuote(_)
        | Piece::Paravisor(_)
        | Piece::Collateral(_)
        | Piece::Quote(_)
        | Piece::Signature(_)
        | Piece::RawSignature(_)
        | Piece::Registers(_)
        | Piece::TpmPublic(_)
        | Piece::Spki(_)
        | Piece::EventLog(_) => None,
    }
}

/// Why a file is none of it.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PieceError {
    /// Nothing.
    #[error("it is empty")]
    Empty,
    /// No form that is known.
    #[error("it is no evidence, certificate or collateral that is known here")]
    Unknown,
    /// A member of JSON that is not what it should be.
    #[error("member {0} is not bytes in digits, in base64, or in a list of numbers")]
    Member(String),
    /// JSON that could not be read.
    #[error("it is not json: {0}")]
    Json(String),
    /// Of a form that is known, and broken.
    #[error("{0}")]
    Broken(String),
}

/// What a file holds.
///
/// # Errors
/// If it is nothing that is known.
pub fn pieces(bytes: &[u8]) -> Result<Vec<Piece>, PieceError> {
    if bytes.is_empty() {
        return Err(PieceError::Empty);
    }
    if let Some(piece) = binary(bytes) {
        return Ok(vec![piece]);
    }
    if let Ok(table) = CertificateTable::parse(bytes) {
        return of_table(&table);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| PieceError::Unknown)?;
    let text = text.trim_end_matches('\0').trim();
    if text.starts_with("-----BEGIN") {
        return armoured(text);
    }
    if text.starts_with('{') {
        return of_json(text);
    }
    let decoded = encoded(text).ok_or(PieceError::Unknown)?;
    binary(&decoded).map(|p| vec![p]).ok_or(PieceError::Unknown)
}

/// By the first bytes, or by the length where a format has nothing else.
fn binary(bytes: &[u8]) -> Option<Piece> {
    let own = || bytes.to_vec();
    let word = |at: usize| {
        let four = bytes.get(at..at.checked_add(4)?)?;
        Some(u32::from_le_bytes(four.try_into().ok()?))
    };
    match bytes {
        [b'H', b'C', b'L', b'A', ..] => return Some(Piece::Paravisor(own())),
        [0xff, b'T', b'C', b'G', 0x80, 0x18, ..] => return Some(Piece::Quote(own())),
        // An event log of SHA-256 begins with the event that says so (TCG PC Client, 10.4.5.1).
        [0, 0, 0, 0, 3, 0, 0, 0, ..] | [1, 0, 0, 0, 3, 0, 0, 0, ..]
            if bytes.get(32..48) == Some(b"Spec ID Event03\0") =>
        {
            return Some(Piece::EventLog(own()));
        }
        [0x30, ..] => return of_der(bytes),
        [3..=5, 0, ..] if is_quote(word(4), bytes.len()) => return Some(Piece::TdxQuote(own())),
        // RSASSA or ECDSA with SHA-256 or SHA-384.
        [0, 0x14 | 0x18, 0, 0x0b | 0x0c, ..] => return Some(Piece::Signature(own())),
        // RSA or ECC, named by SHA-256 or SHA-384.
        [0, 0x01 | 0x23, 0, 0x0b | 0x0c, ..] => return Some(Piece::TpmPublic(own())),
        _ => {}
    }
    (bytes.len() == SNP_REPORT_BYTES).then(|| Piece::SnpReport(own()))
}

/// A quote of Intel's says of which technology it is; an SNP report of one of these versions has its guest's version there.
fn is_quote(tee: Option<u32>, length: usize) -> bool {
    match tee {
        Some(0x81) => length > 600,
        Some(0) => length > 600 && length != SNP_REPORT_BYTES,
        Some(_) | None => false,
    }
}

fn of_der(bytes: &[u8]) -> Option<Piece> {
    if Certificate::parse(bytes).is_ok() {
        return Some(Piece::Certificate(bytes.to_vec()));
    }
    if Crl::parse(bytes).is_ok() {
        return Some(Piece::Crl(bytes.to_vec()));
    }
    let mut reader = der::Reader::new(bytes);
    let mut inside = reader.sequence("SubjectPublicKeyInfo").ok()?;
    inside.sequence("algorithm").ok()?;
    inside.bits("subjectPublicKey").ok()?;
    inside.end("SubjectPublicKeyInfo").ok()?;
    reader.end("SubjectPublicKeyInfo").ok()?;
    Some(Piece::Spki(bytes.to_vec()))
}

fn of_table(table: &CertificateTable<'_>) -> Result<Vec<Piece>, PieceError> {
    let found = table
        .contents()
        .map(|bytes| of_der(bytes).ok_or(PieceError::Unknown));
    found.collect()
}

fn armoured(text: &str) -> Result<Vec<Piece>, PieceError> {
    let broken = |e: pem::PemError| PieceError::Broken(e.to_string());
    let first = text.lines().next().unwrap_or_default();
    let (label, make): (_, fn(Vec<u8>) -> Piece) = match first.trim() {
        "-----BEGIN CERTIFICATE-----" => (pem::CERTIFICATE, Piece::Certificate),
        "-----BEGIN X509 CRL-----" => (pem::CRL, Piece::Crl),
        "-----BEGIN PUBLIC KEY-----" => ("PUBLIC KEY", Piece::Spki),
        _ => return Err(PieceError::Unknown),
    };
    let blocks = pem::blocks(text, label).map_err(broken)?;
    Ok(blocks.into_iter().map(make).collect())
}

/// A certificate in PEM.
pub(crate) fn armour(der: &[u8]) -> String {
    let digits = STANDARD.encode(der);
    format!("-----BEGIN CERTIFICATE-----\n{digits}\n-----END CERTIFICATE-----\n")
}

/// Hexadecimal digits, or Base64 of either alphabet; white space does not count.
fn encoded(text: &str) -> Option<Vec<u8>> {
    let digits: String = text.split_ascii_whitespace().collect();
    let digits = digits.strip_prefix("0x").unwrap_or(&digits);
    hex::decode(digits)
        .ok()
        .or_else(|| STANDARD.decode(digits).ok())
        .or_else(|| URL_SAFE_NO_PAD.decode(digits.trim_end_matches('=')).ok())
}

fn of_json(text: &str) -> Result<Vec<Piece>, PieceError> {
    let json: Value = serde_json::from_str(text).map_err(|e| PieceError::Json(e.to_string()))?;
    let object = json.as_object().ok_or(PieceError::Unknown)?;
    if object.contains_key("tcb_info") && object.contains_key("qe_identity") {
        let read = Collateral::from_json(text.as_bytes());
        let read = read.map_err(|e| PieceError::Broken(e.to_string()))?;
        return Ok(vec![Piece::Collateral(Box::new(read))]);
    }
    if object.contains_key("tcbInfo") {
        return Ok(vec![Piece::TcbInfo(text.as_bytes().to_vec())]);
    }
    if object.contains_key("enclaveIdentity") {
        return Ok(vec![Piece::QeIdentity(text.as_bytes().to_vec())]);
    }
    let out = collected(object)?;
    if out.is_empty() {
        return Err(PieceError::Unknown);
    }
    Ok(out)
}

/// Members of objects in which tools collect evidence of a machine. Members that are not known are left where they are.
fn collected(object: &Map<String, Value>) -> Result<Vec<Piece>, PieceError> {
    let mut out = Vec::new();
    for (name, value) in object {
        match name.as_str() {
            "hcl_report" | "report" | "td_quote" | "snp_report" | "attestation_report"
            | "message" => {
                let bytes = bytes_of(name, value)?;
                out.push(binary(&bytes).ok_or_else(|| PieceError::Member(name.clone()))?);
            }
            "quote" | "tpm_quote" => match value.as_object() {
                Some(inner) => out.extend(collected(inner)?),
                None => {
                    let bytes = bytes_of(name, value)?;
                    out.push(binary(&bytes).ok_or_else(|| PieceError::Member(name.clone()))?);
                }
            },
            "signature" => out.push(signature(bytes_of(name, value)?)),
            "pcrs" => out.push(Piece::Registers(registers(value)?)),
            "vcek" | "vlek" | "ak_public" => out.extend(text_or_bytes(name, value)?),
            _ => {}
        }
    }
    Ok(out)
}

fn signature(bytes: Vec<u8>) -> Piece {
    match binary(&bytes) {
        Some(piece @ Piece::Signature(_)) => piece,
        Some(_) | None => Piece::RawSignature(bytes),
    }
}

fn text_or_bytes(name: &str, value: &Value) -> Result<Vec<Piece>, PieceError> {
    if let Some(text) = value.as_str().filter(|t| t.starts_with("-----BEGIN")) {
        return armoured(text.trim());
    }
    let bytes = bytes_of(name, value)?;
    let piece = binary(&bytes).ok_or_else(|| PieceError::Member(name.to_owned()))?;
    Ok(vec![piece])
}

/// Values by their place in the list.
fn registers(value: &Value) -> Result<Vec<(u8, [u8; 32])>, PieceError> {
    let wrong = || PieceError::Member("pcrs".to_owned());
    let list = value
        .as_array()
        .filter(|l| l.len() <= 24)
        .ok_or_else(wrong)?;
    (0_u8..)
        .zip(list)
        .map(|(index, value)| {
            let bytes = bytes_of("pcrs", value)?;
            Ok((index, bytes.try_into().map_err(|_| wrong())?))
        })
        .collect()
}

fn bytes_of(name: &str, value: &Value) -> Result<Vec<u8>, PieceError> {
    let wrong = || PieceError::Member(name.to_owned());
    match value {
        Value::String(text) => encoded(text).ok_or_else(wrong),
        Value::Array(list) => list
            .iter()
            .map(|n| {
                n.as_u64()
                    .and_then(|n| u8::try_from(n).ok())
                    .ok_or_else(wrong)
            })
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => Err(wrong()),
    }
}
