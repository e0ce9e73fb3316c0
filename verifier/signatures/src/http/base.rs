//! The signature base (RFC 9421 §2.5): what is signed, and what the record keeps.
//!
//! In: bytes of a base. Out: a verified call. The gateway builds the base from a request and gives
//! it to the same function as the verifier gives the base that it found in a record.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::UnixSeconds;
use super::fields::{FieldError, NamedBytes, Parameters};
use crate::ed25519::{KeyId, PublicKey, SIGNATURE_BYTES, SignatureError, Signed};

/// Longest signature base, in bytes (16 KiB).
///
/// Bounds what a record keeps of a caller's signature. The covered headers of a call take well
/// below 1 KiB; an `authorization` header of 8 KiB (assumed limit of HTTP servers) still fits.
pub const MAX_BASE_BYTES: usize = 16 * 1024;

/// Shortest nonce, in characters: 96 random bits in base64.
pub const MIN_NONCE_CHARS: usize = 16;

/// The `tag` that says a signature was made for this purpose (RFC 9421 §2.3).
pub const TAG: &str = "countersign";

/// The `alg` that is accepted (RFC 9421 §3.3.6).
pub const ALGORITHM: &str = "ed25519";

/// A signature base and the signature over it, as a record keeps them.
#[derive(Clone, Copy)]
pub struct SignedBase<'a> {
    /// The signature base, as it was built from the request.
    pub base: &'a [u8],
    /// The caller's signature over it.
    pub signature: &'a [u8; SIGNATURE_BYTES],
}

/// A call whose caller signed it: the signature holds over a base that covers all it has to.
///
/// The base holds an `authorization` header where the caller sent one, so it is as secret as that.
#[derive(PartialEq, Eq)]
pub struct VerifiedCall {
    base: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
    key: KeyId,
    content: Content,
}

/// What a base says, after its form and coverage were checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Content {
    pub(super) components: Vec<(String, String)>,
    pub(super) key_id: String,
    pub(super) nonce: String,
    pub(super) created: UnixSeconds,
    pub(super) expires: Option<UnixSeconds>,
    pub(super) content_digest: [u8; 32],
}

/// Why a signature base is refused.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum BaseError {
    /// Longer than [`MAX_BASE_BYTES`].
    #[error("signature base is {bytes} bytes, limit is {MAX_BASE_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A line that is not `"name": value` in printable ASCII.
    #[error("line {line} of the signature base is malformed")]
    MalformedLine {
        /// Which line, from 1.
        line: usize,
    },
    /// The last line's parameters are malformed.
    #[error("parameters of the signature: {0}")]
    Parameters(FieldError),
    /// The lines are not the components that the parameters list, in their order.
    #[error("signature base has other components than its parameters list")]
    OtherComponents,
    /// A component that must be covered is not.
    #[error("signature does not cover {component}")]
    NotCovered {
        /// Its name.
        component: &'static str,
    },
    /// A required parameter is absent.
    #[error("signature has no parameter {name}")]
    ParameterMissing {
        /// Its name.
        name: &'static str,
    },
    /// Another `alg` than [`ALGORITHM`].
    #[error("signature algorithm is not {ALGORITHM}")]
    OtherAlgorithm,
    /// Another `tag` than [`TAG`].
    #[error("signature tag is not {TAG}")]
    OtherTag,
    /// A nonce too short to be random.
    #[error("nonce has {chars} characters, at least {MIN_NONCE_CHARS} are needed")]
    ShortNonce {
        /// Its length.
        chars: usize,
    },
    /// The covered `content-digest` is not one SHA-256 digest.
    #[error("content-digest: {0}")]
    ContentDigest(FieldError),
    /// The covered `content-digest` has another algorithm or length.
    #[error("content-digest is not one sha-256 digest")]
    OtherDigest,
    /// The signature over the base does not hold.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

/// Checks a base and the caller's signature over it. Used by the gateway and by the verifier.
pub fn verify_base(signed: SignedBase<'_>, key: &PublicKey) -> Result<VerifiedCall, BaseError> {
    let content = Content::parse(signed.base)?;
    key.verify(Signed {
        message: signed.base,
        signature: signed.signature,
    })?;
    Ok(VerifiedCall {
        base: signed.base.to_vec(),
        signature: *signed.signature,
        key: key.id(),
        content,
    })
}

impl VerifiedCall {
    /// The bytes that were signed; keep them, encrypted, to verify again offline.
    #[must_use]
    pub fn base(&self) -> &[u8] {
        &self.base
    }

    /// The caller's signature over [`VerifiedCall::base`].
    #[must_use]
    pub fn signature(&self) -> &[u8; SIGNATURE_BYTES] {
        &self.signature
    }

    /// The key that it holds under.
    #[must_use]
    pub fn key(&self) -> KeyId {
        self.key
    }

    /// How the caller named its key (`keyid`); a claim.
    #[must_use]
    pub fn key_id(&self) -> &str {
        &self.content.key_id
    }

    /// The caller's nonce; whoever decides remembers it for as long as the window of freshness.
    #[must_use]
    pub fn nonce(&self) -> &str {
        &self.content.nonce
    }

    /// When the caller says it signed.
    #[must_use]
    pub fn created(&self) -> UnixSeconds {
        self.content.created
    }

    /// Until when the caller wants it used.
    #[must_use]
    pub fn expires(&self) -> Option<UnixSeconds> {
        self.content.expires
    }

    /// SHA-256 of the body that was signed (RFC 9530 `sha-256`: the bare hash of the bytes).
    #[must_use]
    pub fn content_digest(&self) -> &[u8; 32] {
        &self.content.content_digest
    }

    /// The signed value of a component such as `@path` or `mcp-session-id`, if it is covered.
    #[must_use]
    pub fn component(&self, name: &str) -> Option<&str> {
        self.content.component(name)
    }

    /// Whether the signature is fresh at `now`.
    pub fn appraise_freshness(
        &self,
        now: UnixSeconds,
        window: Window,
    ) -> Result<(), FreshnessError> {
        let created = self.created();
        let Window {
            past_seconds,
            future_seconds,
        } = window;
        if created.0 > now.0.saturating_add(future_seconds) {
            return Err(FreshnessError::FromTheFuture {
                created,
                now,
                future_seconds,
            });
        }
        if now.0 > created.0.saturating_add(past_seconds) {
            return Err(FreshnessError::Stale {
                created,
                now,
                past_seconds,
            });
        }
        match self.expires() {
            Some(expires) if now.0 > expires.0 => Err(FreshnessError::Expired { expires, now }),
            Some(_) | None => Ok(()),
        }
    }
}

impl core::fmt::Debug for VerifiedCall {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        // Neither base nor components: they may hold a token.
        f.debug_struct("VerifiedCall")
            .field("key", &self.key)
            .field("created", &self.created())
            .finish_non_exhaustive()
    }
}

/// How far `created` may be from now, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    /// Oldest accepted age.
    pub past_seconds: u64,
    /// Furthest accepted lead of the caller's clock.
    pub future_seconds: u64,
}

impl Window {
    /// One minute either way, the drift that the gateway tolerates of its own clock too.
    pub const MINUTE: Self = Self {
        past_seconds: 60,
        future_seconds: 60,
    };
}

/// Why a signature is not fresh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum FreshnessError {
    /// Created too long ago.
    #[error("signature was created at {}, now is {}, at most {past_seconds} s may lie between", created.0, now.0)]
    Stale {
        /// When it was created.
        created: UnixSeconds,
        /// When it was looked at.
        now: UnixSeconds,
        /// The limit.
        past_seconds: u64,
    },
    /// Created later than now.
    #[error("signature was created at {}, now is {}, at most {future_seconds} s may lie between", created.0, now.0)]
    FromTheFuture {
        /// When it was created.
        created: UnixSeconds,
        /// When it was looked at.
        now: UnixSeconds,
        /// The limit.
        future_seconds: u64,
    },
    /// Past its own `expires`.
    #[error("signature expired at {}, now is {}", expires.0, now.0)]
    Expired {
        /// When it expired.
        expires: UnixSeconds,
        /// When it was looked at.
        now: UnixSeconds,
    },
}

/// A base in its form: lines, and the parameters that end it.
pub(super) struct Lines {
    pub(super) components: Vec<(String, String)>,
    pub(super) parameters: Parameters,
}

impl Lines {
    // SPEC: RFC 9421 §2.5
    pub(super) fn parse(base: &[u8]) -> Result<Self, BaseError> {
        if base.len() > MAX_BASE_BYTES {
            return Err(BaseError::TooLong { bytes: base.len() });
        }
        let mut components = Vec::new();
        let mut parameters = None;
        for (line, bytes) in (1_usize..).zip(base.split(|byte| *byte == b'\n')) {
            let malformed = BaseError::MalformedLine { line };
            let text =
                Some(bytes).filter(|bytes| bytes.iter().all(|byte| matches!(byte, b' '..=b'~')));
            let text = text
                .and_then(|bytes| core::str::from_utf8(bytes).ok())
                .ok_or(malformed.clone())?;
            let (name, value) = text
                .strip_prefix('"')
                .and_then(|rest| rest.split_once("\": "))
                .ok_or(malformed.clone())?;
            if parameters.is_some() {
                return Err(malformed);
            }
            if name == "@signature-params" {
                parameters = Some(Parameters::parse(value).map_err(BaseError::Parameters)?);
            } else {
                components.push((name.to_owned(), value.to_owned()));
            }
        }
        let parameters = parameters.ok_or(BaseError::NotCovered {
            component: "@signature-params",
        })?;
        let names = components.iter().map(|(name, _)| name);
        if !names.eq(&parameters.components) {
            return Err(BaseError::OtherComponents);
        }
        Ok(Self {
            components,
            parameters,
        })
    }
}

impl Content {
    pub(super) fn parse(base: &[u8]) -> Result<Self, BaseError> {
        let Lines {
            components,
            parameters,
        } = Lines::parse(base)?;
        let Parameters {
            components: names,
            created,
            expires,
            key_id,
            nonce,
            algorithm,
            tag,
        } = parameters;
        appraise_coverage(&names)?;
        let missing = |name| BaseError::ParameterMissing { name };
        if algorithm.ok_or(missing("alg"))? != ALGORITHM {
            return Err(BaseError::OtherAlgorithm);
        }
        if tag.ok_or(missing("tag"))? != TAG {
            return Err(BaseError::OtherTag);
        }
        let nonce = nonce.ok_or(missing("nonce"))?;
        if nonce.len() < MIN_NONCE_CHARS {
            return Err(BaseError::ShortNonce { chars: nonce.len() });
        }
        let created = UnixSeconds(created.ok_or(missing("created"))?);
        let key_id = key_id.ok_or(missing("keyid"))?;
        let digest = find(&components, "content-digest").unwrap_or_default();
        let content_digest = parse_content_digest(digest)?;
        Ok(Self {
            components,
            key_id,
            nonce,
            created,
            expires: expires.map(UnixSeconds),
            content_digest,
        })
    }

    pub(super) fn component(&self, name: &str) -> Option<&str> {
        find(&self.components, name)
    }
}

/// The hash that `content-digest` carries for `body`.
pub(super) fn content_digest(body: &[u8]) -> [u8; 32] {
    Sha256::digest(body).into()
}

/// Every call covers its method, its target and its body.
fn appraise_coverage(names: &[String]) -> Result<(), BaseError> {
    let require = |component: &'static str| {
        names
            .iter()
            .find(|name| *name == component)
            .map(|_| ())
            .ok_or(BaseError::NotCovered { component })
    };
    require("@method")?;
    if require("@target-uri").is_err() {
        require("@authority")?;
        require("@path")?;
    }
    require("content-digest")
}

fn find<'a>(components: &'a [(String, String)], name: &str) -> Option<&'a str> {
    components
        .iter()
        .find(|(found, _)| found == name)
        .map(|(_, value)| value.as_str())
}

// SPEC: RFC 9530 §2; one digest, so that there is no second one that nobody compares.
fn parse_content_digest(value: &str) -> Result<[u8; 32], BaseError> {
    let NamedBytes { name, bytes } = NamedBytes::parse(value).map_err(BaseError::ContentDigest)?;
    let digest = bytes.try_into().map_err(|_| BaseError::OtherDigest)?;
    if name == "sha-256" {
        Ok(digest)
    } else {
        Err(BaseError::OtherDigest)
    }
}
