//! Why a token shows nothing.

use crate::token::MAX_TOKEN_BYTES;
use countersign_certificates::{CertificateError, DerError};
use thiserror::Error;

/// Why bytes are no token, or one that does not hold. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TimestampError {
    /// Longer than a token may be.
    #[error("token is {found} bytes, limit is {MAX_TOKEN_BYTES}")]
    TooLarge {
        /// Its length, in bytes.
        found: usize,
    },
    /// Not DER of this shape.
    #[error("not a timestamp token: {0}")]
    Form(#[from] DerError),
    /// Something about a certificate, an algorithm, a key or a signature.
    #[error("{0}")]
    Certificate(CertificateError),
    /// Something is of another kind than a timestamp needs.
    #[error("not a timestamp token: {0} is of another kind")]
    Kind(&'static str),
    /// Another version of a structure.
    #[error("{field} is {found}, expected {expected}")]
    Version {
        /// Which.
        field: &'static str,
        /// What stands there.
        found: u64,
        /// What should.
        expected: u64,
    },
    /// More or fewer signers than one.
    #[error("token has {found} signers, expected 1")]
    Signers {
        /// How many.
        found: usize,
    },
    /// More certificates than are looked at.
    #[error("token has {found} certificates, limit is {limit}")]
    Certificates {
        /// How many.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// Certificates make more ways to a root than are looked at.
    #[error("more than {limit} signatures of certificates would have to be looked at")]
    Ways {
        /// The limit.
        limit: u8,
    },
    /// A signed attribute that has to be there once is absent.
    #[error("signed attribute {0} is missing")]
    NoAttribute(&'static str),
    /// A signed attribute stands there twice, or with other than one value.
    #[error("signed attribute {0} does not stand there once, with one value")]
    AttributeTwice(&'static str),
    /// It is over something else.
    #[error("token is over other bytes than these")]
    Imprint,
    /// The signed attributes are about another content.
    #[error("signed attribute message-digest is not the digest of the content")]
    ContentDigest,
    /// The signer's certificate is not in the token.
    #[error("the signer's certificate is not in the token")]
    NoSigner,
    /// The signed attributes name another certificate than the signer's.
    #[error("signed attribute signing-certificate-v2 names another certificate")]
    SigningCertificate,
    /// None of the given authorities, by name: somebody else's token.
    #[error("the token is of no authority that is trusted here")]
    NobodyKnown,
    /// The signer's certificate is not for timestamps, and for nothing else.
    #[error("the signer's certificate is not for timestamps alone: {0}")]
    Purpose(&'static str),
    /// An extension that must not be passed over is not known.
    #[error("{0} has a critical extension that is not known")]
    CriticalExtension(&'static str),
}

impl From<CertificateError> for TimestampError {
    fn from(error: CertificateError) -> Self {
        if let CertificateError::Form(form) = error {
            Self::Form(form)
        } else {
            Self::Certificate(error)
        }
    }
}
