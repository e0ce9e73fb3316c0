//! Why a certificate, a revocation list or a signature shows nothing.

use crate::der::DerError;
use thiserror::Error;

/// Why a certificate or a list is none, or does not hold. Times are milliseconds since 1970.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CertificateError {
    /// Not DER of this shape.
    #[error("{0}")]
    Form(#[from] DerError),
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
    /// A certificate with more extensions than are looked at.
    #[error("a certificate has more than {limit} extensions")]
    Extensions {
        /// The limit.
        limit: usize,
    },
    /// An algorithm that is not accepted.
    #[error("{0} is not an algorithm that is accepted")]
    Algorithm(&'static str),
    /// A key that is not accepted.
    #[error("{whose} has a key that is not accepted: {why}")]
    Key {
        /// Whose.
        whose: &'static str,
        /// Why.
        why: &'static str,
    },
    /// Two places that have to name one algorithm name two.
    #[error("{0} is named in two ways")]
    TwoAlgorithms(&'static str),
    /// A signature does not hold.
    #[error("the signature of {0} does not hold")]
    Signature(&'static str),
    /// A certificate was not valid at that time.
    #[error("{whose} is valid from {from} to {until}, the time is {at}")]
    Validity {
        /// Whose.
        whose: &'static str,
        /// From when.
        from: u64,
        /// Until when, inclusive.
        until: u64,
        /// The time asked about.
        at: u64,
    },
    /// A certificate that issues others may not.
    #[error("an issuer's certificate may not issue this one: {0}")]
    Issuer(&'static str),
    /// The name of who issued is not that of the issuer.
    #[error("{0} names another issuer")]
    IssuerName(&'static str),
    /// An extension that must not be passed over is not known.
    #[error("{0} has a critical extension that is not known")]
    CriticalExtension(&'static str),
    /// An extension stands in a certificate twice.
    #[error("{0} has an extension twice")]
    ExtensionTwice(&'static str),
    /// Longer than such a thing may be.
    #[error("{what} is {found} bytes, limit is {limit}")]
    TooLarge {
        /// What.
        what: &'static str,
        /// Its length, in bytes.
        found: usize,
        /// The limit.
        limit: usize,
    },
}
