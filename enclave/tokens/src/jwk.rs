//! Public keys as issuers and callers write them (RFC 7517, 8037), and their names (RFC 7638).
//!
//! In: JSON. Out: a [`Jwk`] of a closed list of kinds, or why it is none. A private member is an error:
//! a key that travels with its private half proves nothing.

use crate::json::{self, Object};
use crate::jws::Algorithm;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use countersign_certificates::rsa::RsaKey;
use countersign_signatures::ed25519;
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// Largest set of keys, in bytes. Sets in use are a few KiB.
pub const MAX_SET_BYTES: usize = 64 * 1024;

/// Most keys of a set.
pub const MAX_KEYS: usize = 32;

/// Why a key, or a set of keys, is not accepted.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum JwkError {
    /// It is not JSON of the form.
    #[error("it is not a JSON object without repeated keys")]
    Json,
    /// A set without a list of keys.
    #[error("it has no list of keys")]
    NoKeys,
    /// Too many keys.
    #[error("it has {found} keys, limit is {MAX_KEYS}")]
    TooMany {
        /// How many it has.
        found: usize,
    },
    /// A private or symmetric key.
    #[error("it has a secret member, {name:?}")]
    Secret {
        /// The member.
        name: &'static str,
    },
    /// A kind of key that is not in use here.
    #[error("it is neither an Ed25519, nor a P-256, nor an RSA key")]
    Kind,
    /// A member is missing or malformed.
    #[error("its member {name:?} is missing or malformed")]
    Member {
        /// The member.
        name: &'static str,
    },
    /// A point that is none, or a number that is too small.
    #[error("it is no key: {why}")]
    Value {
        /// Why not.
        why: String,
    },
    /// It is for something else than signatures.
    #[error("it is not for signatures")]
    Use,
    /// Its algorithm does not fit its kind, or is not in use here.
    #[error("its algorithm is none of its kind")]
    Algorithm,
    /// Keys of a set need names to be told apart by.
    #[error("a key of the set has no \"kid\"")]
    NoName,
    /// Two keys have one name.
    #[error("two keys of the set have one \"kid\"")]
    NameTwice,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Jwk {
    key: Key,
    algorithm: Option<Algorithm>,
    thumbprint: [u8; 32],
}

/// A key that is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Key {
    Ed25519(Box<ed25519::PublicKey>),
    P256(Box<p256::ecdsa::VerifyingKey>),
    Rsa(Box<RsaKey>),
}

/// Members that a public key does not have. RFC 7518 6.2.2, 6.3.2 and 6.4.1.
const SECRETS: [&str; 8] = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

impl Jwk {
    /// Reads a public key.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(value: &Value) -> Result<Self, JwkError> {
        let object = value.as_object().ok_or(JwkError::Json)?;
        if let Some(name) = SECRETS.into_iter().find(|s| object.contains_key(*s)) {
            return Err(JwkError::Secret { name });
        }
        may_verify(object)?;
        let (key, canonical) = match object.get("kty").and_then(Value::as_str) {
            Some("OKP") => ed25519_key(object)?,
            Some("EC") => p256_key(object)?,
            Some("RSA") => rsa_key(object)?,
            Some(_) | None => return Err(JwkError::Kind),
        };
        let algorithm = match object.get("alg") {
            None => None,
            Some(name) => {
                let named = name.as_str().and_then(Algorithm::from_name);
                Some(named.ok_or(JwkError::Algorithm)?)
            }
        };
        if algorithm.is_some_and(|a| !key.fits(a)) {
            return Err(JwkError::Algorithm);
        }
        Ok(Self {
            key,
            algorithm,
            thumbprint: Sha256::digest(canonical).into(),
        })
    }

    /// The key's name by what it is. SPEC: RFC 7638 3.
    #[must_use]
    pub fn thumbprint(&self) -> [u8; 32] {
        self.thumbprint
    }

    /// The key, if it may be used with this algorithm.
    pub(crate) fn for_algorithm(&self, algorithm: Algorithm) -> Option<&Key> {
        let named = self.algorithm.is_none_or(|a| a == algorithm);
        (named && self.key.fits(algorithm)).then_some(&self.key)
    }
}

/// The name that an Ed25519 key has as a JWK.
#[must_use]
pub fn ed25519_thumbprint(key: &[u8; 32]) -> [u8; 32] {
    Sha256::digest(ed25519_canonical(key)).into()
}

impl Key {
    /// Whether this kind of key makes signatures of this algorithm.
    fn fits(&self, algorithm: Algorithm) -> bool {
        matches!(
            (self, algorithm),
            (Self::Ed25519(_), Algorithm::EdDsa)
                | (Self::P256(_), Algorithm::Es256)
                | (Self::Rsa(_), Algorithm::Rs256 | Algorithm::Ps256)
        )
    }
}

/// Keys of an issuer by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JwkSet(Vec<(String, Jwk)>);

impl JwkSet {
    /// Reads a set. Every key of it has to be one that can be used here: a set is pinned by people, who take out the rest.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(text: &str) -> Result<Self, JwkError> {
        if text.len() > MAX_SET_BYTES {
            return Err(JwkError::Json);
        }
        let object = json::object(text.as_bytes()).ok_or(JwkError::Json)?;
        let keys = object.get("keys").and_then(Value::as_array);
        let keys = keys.filter(|k| !k.is_empty()).ok_or(JwkError::NoKeys)?;
        if keys.len() > MAX_KEYS {
            return Err(JwkError::TooMany { found: keys.len() });
        }
        let mut out: Vec<(String, Jwk)> = Vec::with_capacity(keys.len());
        for key in keys {
            let name = key.get("kid").and_then(json::text);
            let name = name.ok_or(JwkError::NoName)?.to_owned();
            if out.iter().any(|(n, _)| *n == name) {
                return Err(JwkError::NameTwice);
            }
            out.push((name, Jwk::parse(key)?));
        }
        Ok(Self(out))
    }

    /// The key of this name.
    #[must_use]
    pub fn key(&self, name: &str) -> Option<&Jwk> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, key)| key)
    }
}

/// `use` and `key_ops`, where they are there, let signatures be verified.
fn may_verify(object: &Object) -> Result<(), JwkError> {
    let is_sig = object.get("use").is_none_or(|u| u == "sig");
    let verifies = match object.get("key_ops") {
        None => true,
        Some(operations) => operations
            .as_array()
            .is_some_and(|all| all.iter().any(|o| o == "verify")),
    };
    if is_sig && verifies {
        Ok(())
    } else {
        Err(JwkError::Use)
    }
}

fn bytes(object: &Object, name: &'static str) -> Result<Vec<u8>, JwkError> {
    let text = object.get(name).and_then(Value::as_str);
    text.and_then(|t| URL_SAFE_NO_PAD.decode(t).ok())
        .ok_or(JwkError::Member { name })
}

fn array<const N: usize>(object: &Object, name: &'static str) -> Result<[u8; N], JwkError> {
    bytes(object, name)?
        .try_into()
        .map_err(|_| JwkError::Member { name })
}

fn curve(object: &Object, expected: &str) -> Result<(), JwkError> {
    if object.get("crv").is_some_and(|c| c == expected) {
        Ok(())
    } else {
        Err(JwkError::Kind)
    }
}

fn value(e: impl ToString) -> JwkError {
    JwkError::Value { why: e.to_string() }
}

fn ed25519_key(object: &Object) -> Result<(Key, String), JwkError> {
    curve(object, "Ed25519")?;
    let x: [u8; 32] = array(object, "x")?;
    let key = ed25519::PublicKey::parse(&x).map_err(value)?;
    Ok((Key::Ed25519(Box::new(key)), ed25519_canonical(&x)))
}

fn ed25519_canonical(x: &[u8; 32]) -> String {
    let x = URL_SAFE_NO_PAD.encode(x);
    format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)
}

fn p256_key(object: &Object) -> Result<(Key, String), JwkError> {
    curve(object, "P-256")?;
    let (x, y): ([u8; 32], [u8; 32]) = (array(object, "x")?, array(object, "y")?);
    let point = [&[4], x.as_slice(), y.as_slice()].concat();
    let key = p256::ecdsa::VerifyingKey::from_sec1_bytes(&point)
        .map_err(|_| value("it is no point of its curve"))?;
    let (x, y) = (URL_SAFE_NO_PAD.encode(x), URL_SAFE_NO_PAD.encode(y));
    let canonical = format!(r#"{{"crv":"P-256","kty":"EC","x":"{x}","y":"{y}"}}"#);
    Ok((Key::P256(Box::new(key)), canonical))
}

fn rsa_key(object: &Object) -> Result<(Key, String), JwkError> {
    let (n, e) = (bytes(object, "n")?, bytes(object, "e")?);
    // A leading zero would give one key two names.
    let plain = |b: &[u8], name: &'static str| -> Result<(), JwkError> {
        b.first()
            .filter(|first| **first != 0)
            .map(|_| ())
            .ok_or(JwkError::Member { name })
    };
    plain(&n, "n")?;
    plain(&e, "e")?;
    let exponent = e
        .iter()
        .try_fold(0_u64, |n, b| n.checked_mul(256)?.checked_add((*b).into()))
        .ok_or(JwkError::Member { name: "e" })?;
    let key = RsaKey::new(&n, exponent).map_err(value)?;
    let (n, e) = (URL_SAFE_NO_PAD.encode(n), URL_SAFE_NO_PAD.encode(e));
    let canonical = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    Ok((Key::Rsa(Box::new(key)), canonical))
}
