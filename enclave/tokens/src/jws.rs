//! Signed JSON in compact form (RFC 7515), narrowed.
//!
//! In: the text of a token. Out: [`Compact`], whose header and claims are well-formed and not yet believed;
//! with a key, whether its signature holds over the bytes that arrived.
//!
//! What is refused whatever the signature: `none` and every symmetric algorithm (a public key is no
//! secret to compute a MAC with), `crit` (an extension that we do not know), a key twice in header or
//! claims, padding and other alphabets in base64. `jku`, `x5u`, `x5c` and, for access tokens, `jwk` are never
//! looked at: a token does not choose the key that it is checked with.

use crate::json::{self, Object};
use crate::jwk::{Jwk, Key};
use crate::pss;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_signatures::ed25519;
use p256::ecdsa::signature::hazmat::PrehashVerifier as _;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Longest token, in bytes. Tokens with many groups reach 4 KiB; headers of servers in use end at 8 KiB.
pub const MAX_TOKEN_BYTES: usize = 8192;

/// What precedes a digest in an RSA signature over SHA-256. RFC 8017 9.2, note 1.
const SHA256_INFO: &[u8] =
    b"\x30\x31\x30\x0d\x06\x09\x60\x86\x48\x01\x65\x03\x04\x02\x01\x05\x00\x04\x20";

/// How a token is signed: a closed list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Algorithm {
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// Ed25519. RFC 8037 calls it `EdDSA`, RFC 9864 `Ed25519`.
    EdDsa,
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    Rs256,
    /// RSASSA-PSS with SHA-256.
    Ps256,
}

impl Algorithm {
    /// Every algorithm, by the name that a site and a token may use.
    pub const NAMES: [(&'static str, Self); 5] = [
        ("ES256", Self::Es256),
        ("EdDSA", Self::EdDsa),
        ("Ed25519", Self::EdDsa),
        ("RS256", Self::Rs256),
        ("PS256", Self::Ps256),
    ];

    /// The algorithm of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let found = Self::NAMES.iter().find(|(n, _)| *n == name);
        found.map(|(_, algorithm)| *algorithm)
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Es256 => "ES256",
            Self::EdDsa => "EdDSA",
            Self::Rs256 => "RS256",
            Self::Ps256 => "PS256",
        }
    }
}

/// Why a text is no token that could be looked into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum JwsError {
    /// Longer than any token.
    #[error("it is {bytes} bytes, limit is {MAX_TOKEN_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// Not three parts in base64url.
    #[error("it is not three parts in unpadded base64url")]
    Form,
    /// Header or claims are no object, or have a key twice.
    #[error("its header or claims are not one JSON object without repeated keys")]
    Json,
    /// An algorithm that is not of the closed list.
    #[error("its algorithm is none that is accepted")]
    Algorithm,
    /// A header that says that more has to be understood.
    #[error("its header names critical extensions")]
    Critical,
    /// A member of the header is not what it should be.
    #[error("its header has a malformed typ or kid")]
    Header,
}

/// A signed text, not yet verified.
#[derive(Debug)]
pub struct Compact<'t> {
    algorithm: Algorithm,
    typ: Option<String>,
    kid: Option<String>,
    jwk: Option<Value>,
    claims: Object,
    signed: &'t str,
    signature: Vec<u8>,
}

/// Whether a text has the form of a signed token: three parts.
#[must_use]
pub fn has_three_parts(text: &str) -> bool {
    text.split('.').count() == 3
}

impl<'t> Compact<'t> {
    /// Reads a text.
    ///
    /// # Errors
    /// Why it is no token.
    pub fn parse(text: &'t str) -> Result<Self, JwsError> {
        if text.len() > MAX_TOKEN_BYTES {
            return Err(JwsError::TooLong { bytes: text.len() });
        }
        let (signed, signature) = text.rsplit_once('.').ok_or(JwsError::Form)?;
        let (header, claims) = signed.split_once('.').ok_or(JwsError::Form)?;
        let decode = |part: &str| URL_SAFE_NO_PAD.decode(part).map_err(|_| JwsError::Form);
        let (header, claims, signature) = (decode(header)?, decode(claims)?, decode(signature)?);
        let header = json::object(&header).ok_or(JwsError::Json)?;
        let claims = json::object(&claims).ok_or(JwsError::Json)?;
        if header.contains_key("crit") {
            return Err(JwsError::Critical);
        }
        let algorithm = header.get("alg").and_then(Value::as_str);
        let text = |name| json::optional(&header, name).map_err(|_| JwsError::Header);
        Ok(Self {
            algorithm: algorithm
                .and_then(Algorithm::from_name)
                .ok_or(JwsError::Algorithm)?,
            typ: text("typ")?.map(str::to_owned),
            kid: text("kid")?.map(str::to_owned),
            jwk: header.get("jwk").cloned(),
            claims,
            signed,
            signature,
        })
    }

    /// How it says that it is signed.
    #[must_use]
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// What it says it is, in lower case and without `application/`. SPEC: RFC 7515 4.1.9.
    #[must_use]
    pub fn typ(&self) -> Option<String> {
        let typ = self.typ.as_ref()?.to_ascii_lowercase();
        let short = typ.strip_prefix("application/");
        Some(short.unwrap_or(&typ).to_owned())
    }

    /// Name of the key that it says it is signed with.
    #[must_use]
    pub fn kid(&self) -> Option<&str> {
        self.kid.as_deref()
    }

    /// The key that its header carries; believed by nobody.
    pub(crate) fn jwk(&self) -> Option<&Value> {
        self.jwk.as_ref()
    }

    /// What it says, believed by nobody until [`Self::is_signed_by`] was asked.
    pub(crate) fn claims(&self) -> &Object {
        &self.claims
    }

    /// Whether its signature holds under this key.
    #[must_use]
    pub fn is_signed_by(&self, key: &Jwk) -> bool {
        let Some(key) = key.for_algorithm(self.algorithm) else {
            return false;
        };
        let digest = || Sha256::digest(self.signed);
        match (key, self.algorithm) {
            (Key::Ed25519(key), Algorithm::EdDsa) => {
                let Ok(signature) = self.signature.as_slice().try_into() else {
                    return false;
                };
                let signed = ed25519::Signed {
                    message: self.signed.as_bytes(),
                    signature,
                };
                key.verify(signed).is_ok()
            }
            // R and S, 32 bytes each. SPEC: RFC 7518 3.4.
            (Key::P256(key), Algorithm::Es256) => {
                p256::ecdsa::Signature::from_slice(&self.signature)
                    .is_ok_and(|s| key.verify_prehash(&digest(), &s).is_ok())
            }
            (Key::Rsa(key), Algorithm::Rs256) => {
                let info = [SHA256_INFO, digest().as_slice()].concat();
                key.verify(&info, &self.signature).is_ok()
            }
            (Key::Rsa(key), Algorithm::Ps256) => {
                let message = key.message(&self.signature);
                message.is_some_and(|m| pss::holds(&m, key.bits(), &digest().into()))
            }
            (
                Key::Ed25519(_) | Key::P256(_) | Key::Rsa(_),
                Algorithm::EdDsa | Algorithm::Es256 | Algorithm::Rs256 | Algorithm::Ps256,
            ) => false,
        }
    }
}
