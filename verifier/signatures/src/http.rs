//! Signed HTTP requests (RFC 9421): callers at assurance 3.
//!
//! In: a request as it was received, body included. Out: a [`VerifiedCall`], which holds the
//! signature base for the record, so that an auditor can check the caller's signature again. Relies
//! on [`crate::ed25519`]. Spec: RFC 9421 and RFC 9530, narrowed as `docs/http.md` says.
//!
//! The profile, the same for everybody:
//!
//! 1. exactly one signature, under any label;
//! 2. it covers `@method`; `@target-uri`, or `@authority` and `@path` (and `@query` where there is a
//!    query); `content-digest`; and each header of [`COVERED_WHEN_PRESENT`] that the request has;
//! 3. parameters `created`, `keyid`, `nonce`, `alg="ed25519"`, `tag="countersign"`; `expires` if the
//!    caller likes; no others;
//! 4. `content-digest` (RFC 9530) is one SHA-256 digest, and that of the body;
//! 5. the signature holds under the key that `keyid` names;
//! 6. it is fresh, and its nonce is new.
//!
//! [`SignedRequest::parse`] does 1 to 4, [`SignedRequest::verify`] does 5 and, by way of
//! [`verify_base`], all of 2 to 4 that a base shows. [`VerifiedCall::appraise_freshness`] does the
//! first half of 6; remembering nonces is the gateway's, for it needs a memory.

mod base;
mod fields;

use thiserror::Error;

pub use base::{
    ALGORITHM, BaseError, FreshnessError, MAX_BASE_BYTES, MIN_NONCE_CHARS, SignedBase, TAG,
    VerifiedCall, Window, verify_base,
};
pub use fields::FieldError;

use crate::ed25519::{PublicKey, SIGNATURE_BYTES};
use base::Content;
use fields::{NamedBytes, SignatureInput};

/// Headers that a signature must cover if the request has them, because they change what is done.
pub const COVERED_WHEN_PRESENT: [&str; 4] = [
    "authorization",
    "idempotency-key",
    "mcp-protocol-version",
    "mcp-session-id",
];

/// Longest value of `signature-input`, `signature` or `content-digest`, in bytes.
///
/// 32 components and 6 parameters of common names take about 1 KiB.
pub const MAX_FIELD_BYTES: usize = 4096;

/// Whole seconds since 1970-01-01T00:00:00Z, without leap seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixSeconds(pub u64);

/// How the request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// In the clear, default port 80.
    Http,
    /// Over TLS, default port 443.
    Https,
}

/// One header line as received.
#[derive(Clone, Copy)]
pub struct Header<'a> {
    /// Its name, in any case.
    pub name: &'a str,
    /// Its value, as received.
    pub value: &'a [u8],
}

/// A request as received. Everything in it is hostile.
#[derive(Clone, Copy)]
pub struct HttpRequest<'a> {
    /// The method, as received (upper and lower case differ).
    pub method: &'a str,
    /// By which scheme it came to this server.
    pub scheme: Scheme,
    /// The `host` header or `:authority`.
    pub authority: &'a str,
    /// The path of the target, as received, without decoding.
    pub path: &'a str,
    /// The query without its `?`; `None` where the target has no `?`.
    pub query: Option<&'a str>,
    /// Header lines in their order.
    pub headers: &'a [Header<'a>],
    /// The body, whole.
    pub body: &'a [u8],
}

/// Why a request is not signed as it should be.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RequestError {
    /// A header that is needed is absent.
    #[error("request has no header {name}")]
    HeaderMissing {
        /// Its name.
        name: &'static str,
    },
    /// A header that may stand once stands more often.
    #[error("request has more than one header {name}")]
    HeaderRepeated {
        /// Its name.
        name: &'static str,
    },
    /// A header is longer than [`MAX_FIELD_BYTES`].
    #[error("header {name} is {bytes} bytes, limit is {MAX_FIELD_BYTES}")]
    HeaderTooLong {
        /// Its name.
        name: &'static str,
        /// Its length.
        bytes: usize,
    },
    /// A header is not a well-formed structured field with one member.
    #[error("header {name}: {error}")]
    Field {
        /// Its name.
        name: &'static str,
        /// What is wrong.
        error: FieldError,
    },
    /// `signature` and `signature-input` have different labels.
    #[error("signature and signature-input have different labels")]
    OtherLabel,
    /// The signature has another length than Ed25519's.
    #[error("signature is {bytes} bytes, expected {SIGNATURE_BYTES}")]
    SignatureLength {
        /// Its length.
        bytes: usize,
    },
    /// A covered component that we cannot or will not derive.
    #[error("component {position} of the signature is not supported")]
    UnsupportedComponent {
        /// Which one, from 1.
        position: usize,
    },
    /// A covered header that the request does not have.
    #[error("component {position} of the signature is not in the request")]
    ComponentAbsent {
        /// Which one, from 1.
        position: usize,
    },
    /// The value of a covered component has bytes that are not printable ASCII.
    #[error("component {position} of the signature has a value that is not printable ascii")]
    ComponentNotText {
        /// Which one, from 1.
        position: usize,
    },
    /// A header or query that the request has must be covered, and is not.
    #[error("request has {component}, which its signature does not cover")]
    PresentButNotCovered {
        /// The header's name, or `@query`.
        component: &'static str,
    },
    /// The base has the wrong content.
    #[error(transparent)]
    Base(#[from] BaseError),
    /// `content-digest` is not that of the body.
    #[error("content-digest is not the digest of the body")]
    OtherBody,
}

/// A request with a well-formed signature that nobody has verified yet.
#[must_use = "nothing is known of the caller before `verify`"]
pub struct SignedRequest {
    base: Vec<u8>,
    signature: [u8; SIGNATURE_BYTES],
    content: Content,
}

impl SignedRequest {
    /// Reads the signature of a request: points 1 to 4 of the profile.
    pub fn parse(request: &HttpRequest<'_>) -> Result<Self, RequestError> {
        let input_field = request.single("signature-input")?;
        let input = SignatureInput::parse(input_field).map_err(|error| RequestError::Field {
            name: "signature-input",
            error,
        })?;
        let signature = request.named_bytes("signature")?;
        if signature.name != input.label {
            return Err(RequestError::OtherLabel);
        }
        let bytes = signature.bytes.len();
        let signature = signature
            .bytes
            .try_into()
            .map_err(|_| RequestError::SignatureLength { bytes })?;
        request.single("content-digest")?;
        let base = request.base(&input.parameters.components, input.text)?;
        let content = Content::parse(&base)?;
        request.appraise_coverage(&content)?;
        if content.content_digest != base::content_digest(request.body) {
            return Err(RequestError::OtherBody);
        }
        Ok(Self {
            base,
            signature,
            content,
        })
    }

    /// How the caller names its key: what to look up. A claim until [`SignedRequest::verify`].
    #[must_use]
    pub fn claimed_key_id(&self) -> &str {
        &self.content.key_id
    }

    /// Checks the signature under the key that was looked up.
    pub fn verify(self, key: &PublicKey) -> Result<VerifiedCall, BaseError> {
        verify_base(
            SignedBase {
                base: &self.base,
                signature: &self.signature,
            },
            key,
        )
    }
}

impl core::fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("SignedRequest")
            .field("created", &self.content.created)
            .finish_non_exhaustive()
    }
}

/// What a caller chooses when it signs.
#[derive(Debug, Clone, Copy)]
pub struct SigningParameters<'a> {
    /// How the server knows the key. Printable ASCII without quotes and backslashes.
    pub key_id: &'a str,
    /// Now.
    pub created: UnixSeconds,
    /// Until when the signature shall be used.
    pub expires: Option<UnixSeconds>,
    /// Random, never used before. Printable ASCII without quotes and backslashes.
    pub nonce: &'a str,
}

/// Values of the three headers that make a request a signed one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SignatureHeaders {
    /// Value of `content-digest`.
    pub content_digest: String,
    /// Value of `signature-input`.
    pub signature_input: String,
    /// Value of `signature`.
    pub signature: String,
}

/// Why a request cannot be signed.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SignError {
    /// `key_id` or `nonce` is too long or has characters that a structured field would escape.
    #[error("{name} is not a plain string of at most 256 characters")]
    NotPlain {
        /// Which one.
        name: &'static str,
    },
    /// The request has one of the three headers already.
    #[error("request has a header {name} already")]
    SignedBefore {
        /// Which one.
        name: &'static str,
    },
    /// The server would refuse it.
    #[error(transparent)]
    Request(#[from] RequestError),
}

/// Signs a request as the profile asks. `sign` makes an Ed25519 signature over the bytes it gets.
pub fn sign_request(
    request: &HttpRequest<'_>,
    parameters: &SigningParameters<'_>,
    sign: impl FnOnce(&[u8]) -> [u8; SIGNATURE_BYTES],
) -> Result<SignatureHeaders, SignError> {
    let SigningParameters {
        key_id,
        created,
        expires,
        nonce,
    } = *parameters;
    for (name, text) in [("keyid", key_id), ("nonce", nonce)] {
        if !fields::is_plain_string(text) {
            return Err(SignError::NotPlain { name });
        }
    }
    for name in ["content-digest", "signature-input", "signature"] {
        if request.values(name).next().is_some() {
            return Err(SignError::SignedBefore { name });
        }
    }
    let mut components = vec!["@method", "@authority", "@path"];
    components.extend(request.query.map(|_| "@query"));
    components.push("content-digest");
    components.extend(
        COVERED_WHEN_PRESENT
            .into_iter()
            .filter(|name| request.values(name).next().is_some()),
    );
    let list = components
        .iter()
        .map(|name| format!("\"{name}\""))
        .collect::<Vec<_>>()
        .join(" ");
    let expires = expires
        .map(|at| format!(";expires={}", at.0))
        .unwrap_or_default();
    let text = format!(
        "({list});created={}{expires};keyid=\"{key_id}\";nonce=\"{nonce}\";alg=\"{ALGORITHM}\";tag=\"{TAG}\"",
        created.0
    );

    let content_digest = format!(
        "sha-256={}",
        fields::write_bytes(&base::content_digest(request.body))
    );
    let mut headers = request.headers.to_vec();
    headers.push(Header {
        name: "content-digest",
        value: content_digest.as_bytes(),
    });
    let complete = HttpRequest {
        headers: &headers,
        ..*request
    };
    let names: Vec<String> = components.into_iter().map(str::to_owned).collect();
    let base = complete.base(&names, &text)?;
    Content::parse(&base).map_err(RequestError::Base)?;
    let signature = format!("{LABEL}={}", fields::write_bytes(&sign(&base)));
    Ok(SignatureHeaders {
        content_digest,
        signature_input: format!("{LABEL}={text}"),
        signature,
    })
}

impl<'a> HttpRequest<'a> {
    fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The value of a header that stands exactly once.
    fn single(&self, name: &'static str) -> Result<&'a str, RequestError> {
        let mut values = self.values(name);
        let value = values.next().ok_or(RequestError::HeaderMissing { name })?;
        if values.next().is_some() {
            return Err(RequestError::HeaderRepeated { name });
        }
        if value.len() > MAX_FIELD_BYTES {
            return Err(RequestError::HeaderTooLong {
                name,
                bytes: value.len(),
            });
        }
        core::str::from_utf8(value.trim_ascii()).map_err(|error| RequestError::Field {
            name,
            error: FieldError::Unexpected {
                at: error.valid_up_to(),
                expected: "ascii",
            },
        })
    }

    fn named_bytes(&self, name: &'static str) -> Result<NamedBytes<'a>, RequestError> {
        NamedBytes::parse(self.single(name)?).map_err(|error| RequestError::Field { name, error })
    }

    /// Builds the base. SPEC: RFC 9421 §2.5
    fn base(&self, components: &[String], parameters: &str) -> Result<Vec<u8>, RequestError> {
        let mut base = Vec::new();
        for (position, name) in (1_usize..).zip(components) {
            let value = self.component(name, position)?;
            if !value.iter().all(|byte| matches!(byte, b' '..=b'~')) {
                return Err(RequestError::ComponentNotText { position });
            }
            for part in [b"\"", name.as_bytes(), b"\": ", &value, b"\n"] {
                base.extend_from_slice(part);
            }
            if base.len() > MAX_BASE_BYTES {
                return Err(BaseError::TooLong { bytes: base.len() }.into());
            }
        }
        base.extend_from_slice(b"\"@signature-params\": ");
        base.extend_from_slice(parameters.as_bytes());
        Ok(base)
    }

    // SPEC: RFC 9421 §2.1, §2.2
    fn component(&self, name: &str, position: usize) -> Result<Vec<u8>, RequestError> {
        let path = if self.path.is_empty() { "/" } else { self.path };
        let text = match name {
            "@method" => self.method.to_owned(),
            "@authority" => self.normal_authority(),
            "@path" => path.to_owned(),
            "@query" => format!("?{}", self.query.unwrap_or_default()),
            "@target-uri" => {
                let query = self
                    .query
                    .map(|query| format!("?{query}"))
                    .unwrap_or_default();
                format!(
                    "{}://{}{path}{query}",
                    self.scheme.name(),
                    self.normal_authority()
                )
            }
            // They cannot cover themselves.
            "signature" | "signature-input" => {
                return Err(RequestError::UnsupportedComponent { position });
            }
            _ if is_header_name(name) => return self.header_component(name, position),
            _ => return Err(RequestError::UnsupportedComponent { position }),
        };
        Ok(text.into_bytes())
    }

    // SPEC: RFC 9421 §2.1: lines trimmed, joined with a comma and a space.
    fn header_component(&self, name: &str, position: usize) -> Result<Vec<u8>, RequestError> {
        let values: Vec<&[u8]> = self.values(name).map(<[u8]>::trim_ascii).collect();
        if values.is_empty() {
            return Err(RequestError::ComponentAbsent { position });
        }
        Ok(values.join(b", ".as_slice()))
    }

    // SPEC: RFC 9421 §2.2.3: lower case, without the scheme's default port.
    fn normal_authority(&self) -> String {
        let lower = self.authority.to_ascii_lowercase();
        lower
            .strip_suffix(self.scheme.default_port())
            .map(str::to_owned)
            .unwrap_or(lower)
    }

    /// What this request has must be covered. What every request must cover is [`Content::parse`]'s.
    fn appraise_coverage(&self, content: &Content) -> Result<(), RequestError> {
        let target_covered = content.component("@target-uri").is_some();
        let query = self.query.filter(|_| !target_covered).map(|_| "@query");
        let headers = COVERED_WHEN_PRESENT
            .into_iter()
            .filter(|name| self.values(name).next().is_some());
        match query
            .into_iter()
            .chain(headers)
            .find(|name| content.component(name).is_none())
        {
            Some(component) => Err(RequestError::PresentButNotCovered { component }),
            None => Ok(()),
        }
    }
}

impl Scheme {
    fn name(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }

    fn default_port(self) -> &'static str {
        match self {
            Self::Http => ":80",
            Self::Https => ":443",
        }
    }
}

/// Lower-case `token` of RFC 9110 §5.6.2.
fn is_header_name(name: &str) -> bool {
    !name.is_empty()
        && name.bytes().all(|byte| {
            byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"!#$%&'*+-.^_`|~".contains(&byte)
        })
}

/// The label that [`sign_request`] uses.
const LABEL: &str = "sig1";

#[cfg(test)]
mod tests;
