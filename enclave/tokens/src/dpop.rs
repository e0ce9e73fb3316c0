//! Proofs that a caller holds the key that its token is bound to (DPoP, RFC 9449).
//!
//! In: a proof as it was sent, and the request that it came with. Out: a [`Proof`], or why not. Fresh is the
//! gateway's judgement by its own time, and once is its memory's; what [`kept`] verifies again from a record is
//! all that holds without either.
//!
//! Steps of [`Proof::verify`], those of RFC 9449 4.3:
//!
//! 1. form; `typ` is `dpop+jwt`; the algorithm is of the closed list; the header has a public key;
//! 2. the signature holds under that key;
//! 3. `htm` and `htu` are the method and the URL of the request, without query;
//! 4. `iat` is within the window; `jti` is there;
//! 5. `ath` is the digest of the token that came with it.
//!
//! There is no nonce of the server: `jti` counts once, and the window is a minute.

use crate::access::digest;
use crate::json;
use crate::jwk::Jwk;
use crate::jws::{Compact, JwsError};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_signatures::http::{UnixSeconds, Window};
use thiserror::Error;

/// Why a proof does not count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ProofError {
    /// It cannot be looked into.
    #[error("the proof cannot be read: {0}")]
    Form(JwsError),
    /// It is something else.
    #[error("the proof is not of type dpop+jwt")]
    Type,
    /// Its header has no public key of a kind that is accepted.
    #[error("the header of the proof has no public key that is accepted")]
    Key,
    /// The signature does not hold.
    #[error("the signature of the proof does not hold under its key")]
    Signature,
    /// It is for another method.
    #[error("the proof is for another method")]
    Method,
    /// It is for another URL.
    #[error("the proof is for another URL")]
    Url,
    /// It is for another token.
    #[error("the proof is for another token")]
    Token,
    /// It has no identifier.
    #[error("the proof has no jti")]
    Id,
    /// It is too old, or comes from the future.
    #[error("the proof was not made within the last minute")]
    Stale,
}

/// The request that a proof came with.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// Its method.
    pub method: &'a str,
    /// Its URL, without query: scheme, host, port where it is not the scheme's own, path.
    pub url: &'a str,
    /// Digest of the access token.
    pub token: [u8; 32],
    /// The gateway's time.
    pub now: UnixSeconds,
    /// How far from it `iat` may be.
    pub window: Window,
}

/// A proof that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proof {
    thumbprint: [u8; 32],
    id: String,
    made: UnixSeconds,
}

impl Proof {
    /// Verifies a proof as it was sent.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn verify(text: &str, asked: &Asked<'_>) -> Result<Self, ProofError> {
        let proof = Compact::parse(text).map_err(ProofError::Form)?;
        let thumbprint = signer(&proof)?;
        let claims = proof.claims();
        let text = |name| json::optional(claims, name).ok().flatten();
        if text("htm") != Some(asked.method) {
            return Err(ProofError::Method);
        }
        let url = text("htu").and_then(normal);
        if url.is_none() || url != normal(asked.url) {
            return Err(ProofError::Url);
        }
        is_for(&proof, asked.token)?;
        let id = text("jti").ok_or(ProofError::Id)?.to_owned();
        let made = json::seconds(claims, "iat").ok().flatten();
        let made = made.ok_or(ProofError::Stale)?;
        let Window {
            past_seconds,
            future_seconds,
        } = asked.window;
        let fresh = made.saturating_add(past_seconds) >= asked.now.0
            && made <= asked.now.0.saturating_add(future_seconds);
        if !fresh {
            return Err(ProofError::Stale);
        }
        Ok(Self {
            thumbprint,
            id,
            made: UnixSeconds(made),
        })
    }

    /// Name of the key that was shown to be held.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// Its identifier; counts once for each key.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// When it was made, by its own word.
    #[must_use]
    pub fn made(&self) -> UnixSeconds {
        self.made
    }
}

/// What holds of a kept proof without a clock: it is signed by the key that it names, over this token. Gives the
/// key's thumbprint.
///
/// # Errors
/// The first thing that is wrong.
pub fn kept(text: &str, token: [u8; 32]) -> Result<[u8; 32], ProofError> {
    let proof = Compact::parse(text).map_err(ProofError::Form)?;
    let thumbprint = signer(&proof)?;
    is_for(&proof, token)?;
    Ok(thumbprint)
}

/// What a proof is remembered by in a log: digest of what it signs. Signatures can be changed into others that hold.
#[must_use]
pub fn signed_part(text: &str) -> Option<[u8; 32]> {
    text.rsplit_once('.').map(|(signed, _)| digest(signed))
}

/// Steps 1 and 2.
fn signer(proof: &Compact<'_>) -> Result<[u8; 32], ProofError> {
    if proof.typ().as_deref() != Some("dpop+jwt") {
        return Err(ProofError::Type);
    }
    let key = proof.jwk().ok_or(ProofError::Key)?;
    let key = Jwk::parse(key).map_err(|_| ProofError::Key)?;
    if proof.is_signed_by(&key) {
        Ok(key.thumbprint())
    } else {
        Err(ProofError::Signature)
    }
}

fn is_for(proof: &Compact<'_>, token: [u8; 32]) -> Result<(), ProofError> {
    let ath = json::optional(proof.claims(), "ath").ok().flatten();
    if ath == Some(URL_SAFE_NO_PAD.encode(token).as_str()) {
        Ok(())
    } else {
        Err(ProofError::Token)
    }
}

/// A URL in the one form that is compared: scheme and host in lower case, no port that the scheme has anyway, no query
/// and fragment, a path. SPEC: RFC 9449 4.3 step 9, RFC 3986 6.2.
fn normal(url: &str) -> Option<String> {
    let end = url.find(['?', '#']).unwrap_or(url.len());
    let (scheme, rest) = url.get(..end)?.split_once("://")?;
    let scheme = scheme.to_ascii_lowercase();
    let at = rest.find('/').unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(at)?;
    let authority = authority.to_ascii_lowercase();
    let default = match scheme.as_str() {
        "https" => ":443",
        "http" => ":80",
        _ => return None,
    };
    let authority = authority.strip_suffix(default).unwrap_or(&authority);
    if authority.is_empty() || authority.contains('@') {
        return None;
    }
    let path = if path.is_empty() { "/" } else { path };
    Some(format!("{scheme}://{authority}{path}"))
}
