//! AMD's root keys: the only anchors of reports.
//!
//! A root is pinned by its key, for one product; its certificate comes with the evidence and has to be
//! signed by that key. Certificates with their sources and dates are in `measurements/roots/amd`.

use core::fmt;
use sha2::{Digest as _, Sha384};

use super::product::Product;

/// SHA-384 of a `SubjectPublicKeyInfo`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SpkiDigest(pub [u8; 48]);

impl SpkiDigest {
    /// Of a key as a certificate has it, tag and length too.
    #[must_use]
    pub fn of(spki: &[u8]) -> Self {
        Self(Sha384::digest(spki).into())
    }
}

impl fmt::Debug for SpkiDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

impl fmt::Display for SpkiDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        crate::hex::write(f, &self.0)
    }
}

/// A pinned key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Root {
    /// The product whose chains may end in it.
    pub product: Product,
    /// The key.
    pub key: SpkiDigest,
}

/// Pinned keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roots(Vec<Root>);

impl Roots {
    /// AMD's: ARK-Milan, ARK-Genoa, ARK-Turin.
    #[must_use]
    pub fn amd() -> Self {
        Self(AMD.to_vec())
    }

    /// Others, for a trust file or a test. None accepts nothing.
    #[must_use]
    pub fn of(roots: Vec<Root>) -> Self {
        Self(roots)
    }

    /// The product whose root has this key.
    pub(crate) fn product_of(&self, key: SpkiDigest) -> Option<Product> {
        self.0
            .iter()
            .find(|root| root.key == key)
            .map(|root| root.product)
    }
}

/// Keys of the certificates in `measurements/roots/amd`, which a test compares.
const AMD: [Root; 3] = [
    Root {
        product: Product::Milan,
        key: SpkiDigest([
            0x12, 0x49, 0xf6, 0x7f, 0x15, 0xcf, 0x22, 0x9a, 0x40, 0x69, 0x19, 0x5e, 0x1a, 0x9c,
            0xe5, 0x37, 0xd1, 0x76, 0x5e, 0xf7, 0x06, 0xa1, 0xf4, 0xa1, 0x23, 0xc3, 0x6b, 0xe9,
            0x51, 0x87, 0x86, 0x51, 0x5d, 0x25, 0xec, 0xc0, 0x07, 0xf3, 0x66, 0xb5, 0x64, 0xd2,
            0xb3, 0xf3, 0x1c, 0x48, 0x08, 0x2e,
        ]),
    },
    Root {
        product: Product::Genoa,
        key: SpkiDigest([
            0x32, 0xab, 0x53, 0xa6, 0xce, 0x5e, 0xc1, 0x49, 0x26, 0x20, 0x73, 0x96, 0xe5, 0xc4,
            0x75, 0xae, 0x76, 0x8a, 0x6a, 0x98, 0x31, 0xb7, 0xe8, 0x60, 0xb5, 0xac, 0xf2, 0xe1,
            0xc1, 0xdf, 0xf2, 0x22, 0xbc, 0x5a, 0x8b, 0xfc, 0x43, 0xeb, 0x5e, 0x06, 0x39, 0x31,
            0x89, 0xc1, 0xf2, 0x46, 0xd8, 0x80,
        ]),
    },
    Root {
        product: Product::Turin,
        key: SpkiDigest([
            0x34, 0x75, 0xf0, 0x8a, 0x97, 0x27, 0xf8, 0xac, 0x9a, 0x1d, 0xea, 0xea, 0x5f, 0x2a,
            0x20, 0x97, 0xaa, 0x59, 0xd6, 0x4d, 0x05, 0xc2, 0xa6, 0x78, 0xc2, 0x29, 0xc8, 0x73,
            0xe6, 0x35, 0x9d, 0x3a, 0x69, 0x26, 0x28, 0x7a, 0x2a, 0x22, 0xcd, 0x5f, 0x88, 0xa3,
            0x85, 0xe3, 0x33, 0xa2, 0xfc, 0xc5,
        ]),
    },
];
