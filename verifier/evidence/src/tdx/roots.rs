//! Whom chains have to end at.
//!
//! A root is pinned by its certificate: what is not byte for byte the pinned one is no root, whatever key
//! it has. It comes with the evidence; its file with source and date is in `measurements/roots/intel`.

use core::fmt;

use sha2::{Digest as _, Sha256};

/// SHA-256 of a root's certificate, DER.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RootDigest(pub [u8; 32]);

impl RootDigest {
    /// Of a certificate.
    #[must_use]
    pub fn of(der: &[u8]) -> Self {
        Self(Sha256::digest(der).into())
    }
}

impl fmt::Display for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

impl fmt::Debug for RootDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Pinned roots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots(Vec<RootDigest>);

impl Roots {
    /// Intel's for SGX and TDX, "Intel SGX Root CA", valid from 2018-05-21 to 2049-12-31.
    #[must_use]
    pub fn intel() -> Self {
        Self(vec![INTEL_SGX_ROOT_CA])
    }

    /// Others, for a trust file or a test. None accepts nothing.
    #[must_use]
    pub fn of(roots: Vec<RootDigest>) -> Self {
        Self(roots)
    }

    pub(super) fn contains(&self, der: &[u8]) -> bool {
        self.0.contains(&RootDigest::of(der))
    }
}

const INTEL_SGX_ROOT_CA: RootDigest = RootDigest([
    0x44, 0xa0, 0x19, 0x6b, 0x2b, 0x99, 0xf8, 0x89, 0xb8, 0xe1, 0x49, 0xe9, 0x5b, 0x80, 0x7a, 0x35,
    0x0e, 0x74, 0x24, 0x96, 0x43, 0x99, 0xe8, 0x85, 0xa7, 0xcb, 0xb8, 0xcc, 0xfa, 0xb6, 0x74, 0xd3,
]);
