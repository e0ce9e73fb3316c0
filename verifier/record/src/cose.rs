//! Signed statements: tagged COSE_Sign1 with one fixed shape.
//!
//! In: bytes from anywhere. Out: a [`Sign1`] that borrows them, its signature not yet
//! verified. The shape is narrower than RFC 9052 allows: tag 18, algorithm −19
//! (Ed25519, RFC 9864), a 32-byte key id, a type, an empty unprotected header, a
//! 64-byte signature; so one statement has one encoding and nothing rides along unsigned.
//!
//! Spec: RFC 9052 §4.2–4.4; `docs/spec/record.md`, "Signed statements".

use crate::cbor::{CborError, Reader, Writer};
use crate::digest::{KeyId, Signature};

/// COSE algorithm Ed25519, fully specified. SPEC: RFC 9864.
pub const ALG_ED25519: i64 = -19;

/// COSE header parameters: algorithm, key id, type. SPEC: RFC 9052 §3.1, RFC 9596.
const HEADER_ALG: i64 = 1;
const HEADER_KID: i64 = 4;
const HEADER_TYP: i64 = 16;

/// CBOR tag of COSE_Sign1. SPEC: RFC 9052 §4.2.
const TAG_SIGN1: u64 = 18;

/// A signed statement whose signature is not verified yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sign1<'a> {
    protected: &'a [u8],
    typ: &'a str,
    kid: KeyId,
    payload: &'a [u8],
    signature: Signature,
}

impl<'a> Sign1<'a> {
    /// Reads a statement that takes up all of `bytes`.
    ///
    /// # Errors
    /// If the bytes have any other shape.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CborError> {
        let mut r = Reader::new(bytes);
        r.tag(TAG_SIGN1)?;
        let statement = r.tuple(4, |r| {
            let protected = r.bytes()?;
            r.map(|_| Ok(()))?;
            let payload = r.bytes()?;
            let signature = Signature(r.bytes_exact()?);
            let (kid, typ) = parse_protected(protected)?;
            Ok(Self {
                protected,
                typ,
                kid,
                payload,
                signature,
            })
        })?;
        r.finish()?;
        Ok(statement)
    }

    /// The type of the statement, a media type.
    #[must_use]
    pub fn typ(&self) -> &'a str {
        self.typ
    }

    /// Who is said to have signed.
    #[must_use]
    pub fn kid(&self) -> KeyId {
        self.kid
    }

    /// What is signed.
    #[must_use]
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// The signature.
    #[must_use]
    pub fn signature(&self) -> Signature {
        self.signature
    }

    /// The bytes that the signature is over, built from the bytes that arrived.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        sig_structure(self.protected, self.payload)
    }
}

/// A statement that waits for its signature.
#[derive(Debug, Clone)]
pub struct Unsigned {
    protected: Vec<u8>,
    payload: Vec<u8>,
}

impl Unsigned {
    /// A statement of type `typ`, to be signed by `kid`.
    #[must_use]
    pub fn new(typ: &str, kid: KeyId, payload: Vec<u8>) -> Self {
        let mut w = Writer::new();
        w.map(3);
        w.int(HEADER_ALG);
        w.int(ALG_ED25519);
        w.int(HEADER_KID);
        w.bytes(&kid.0);
        w.int(HEADER_TYP);
        w.text(typ);
        Self {
            protected: w.into_bytes(),
            payload,
        }
    }

    /// The bytes to sign.
    #[must_use]
    pub fn to_be_signed(&self) -> Vec<u8> {
        sig_structure(&self.protected, &self.payload)
    }

    /// The signed statement.
    #[must_use]
    pub fn with_signature(&self, signature: Signature) -> Vec<u8> {
        let mut w = Writer::new();
        w.tag(TAG_SIGN1);
        w.array(4);
        w.bytes(&self.protected);
        w.map(0);
        w.bytes(&self.payload);
        w.bytes(&signature.0);
        w.into_bytes()
    }
}

/// `Sig_structure` without external data. SPEC: RFC 9052 §4.4.
fn sig_structure(protected: &[u8], payload: &[u8]) -> Vec<u8> {
    let mut w = Writer::new();
    w.array(4);
    w.text("Signature1");
    w.bytes(protected);
    w.bytes(&[]);
    w.bytes(payload);
    w.into_bytes()
}

fn parse_protected(bytes: &[u8]) -> Result<(KeyId, &str), CborError> {
    let mut r = Reader::new(bytes);
    r.map_head(3)?;
    header(&mut r, HEADER_ALG, "header 1 (algorithm)")?;
    header(&mut r, ALG_ED25519, "algorithm -19 (Ed25519)")?;
    header(&mut r, HEADER_KID, "header 4 (key id)")?;
    let kid = KeyId(r.bytes_exact()?);
    header(&mut r, HEADER_TYP, "header 16 (type)")?;
    let typ = r.text()?;
    r.finish()?;
    Ok((kid, typ))
}

/// The integer that must come next.
fn header(r: &mut Reader<'_>, value: i64, expected: &'static str) -> Result<(), CborError> {
    let at = r.position();
    if r.int()? == value {
        Ok(())
    } else {
        Err(CborError::Unexpected { at, expected })
    }
}

#[cfg(test)]
mod tests;
