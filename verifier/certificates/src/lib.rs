//! X.509 certificates, revocation lists and the signatures on them, as far as chains of hardware vendors
//! and of timestamping authorities need them. Pure Rust, no C.
//!
//! In: bytes as they arrived. Out: parts that point into them, or the first thing that is wrong. DER is
//! strict throughout: one encoding for each value, nothing left over. Signatures are checked over the
//! bytes that arrived, never over something encoded again.
//!
//! What it may know: bytes, and a time that the caller gives. What it must never know: a clock, a file,
//! a network, who is trusted, or what a chain is for: purposes and pins are the callers'.
//!
//! Start reading at [`Certificate`] and [`Crl`]. Times are milliseconds since 1970, UTC.
//! Spec: RFC 5280, RFC 8017, ITU-T X.690.

pub mod algorithm;
mod certificate;
mod crl;
pub mod der;
mod error;
pub mod pem;
pub mod rsa;
pub mod time;

pub use certificate::{
    Certificate, Constraints, Extension, Extensions, MAX_CERTIFICATE_BYTES, Purposes, Validity,
    usage,
};
pub use crl::{Crl, MAX_CRL_BYTES};
pub use der::DerError;
pub use error::CertificateError;
