//! Certificates of workloads as SPIRE issues them; every field is a test's to change.
//!
//! SPEC: SPIFFE X509-SVID 2 to 4.

use crate::der;
use crate::key::{Key, Scheme};
use crate::rsa::Hash;
use crate::x509::{Certificate, Extension, common_name};

/// How long certificates are valid before and after the moment for which they are made, in milliseconds.
pub const HOUR: u64 = 3_600_000;

/// Tag of a URI among general names.
pub const URI: u8 = 0x86;
/// Tag of a host's name among general names.
pub const DNS: u8 = 0x82;

/// A certificate for the key of this seed, around `now`.
#[must_use]
pub fn certificate(
    (subject, issuer): (&str, &str),
    key: u8,
    now: u64,
    extensions: Vec<Extension>,
) -> Certificate {
    Certificate {
        serial: vec![key],
        issuer: common_name(issuer),
        subject: common_name(subject),
        not_before: now - HOUR,
        not_after: now + HOUR,
        key: Key::p256(key).spki(),
        extensions,
        scheme: Scheme::Ecdsa(Hash::Sha256),
    }
}

/// Of an authority.
#[must_use]
pub fn authority(names: (&str, &str), key: u8, now: u64) -> Certificate {
    let extensions = vec![Extension::issuer(None), Extension::usage(0x06)];
    certificate(names, key, now, extensions)
}

/// Of a workload with this SPIFFE ID: key usage, extended key usage, basic constraints and names, in this order.
#[must_use]
pub fn workload(issuer: &str, id: &str, key: u8, now: u64) -> Certificate {
    let extensions = vec![
        Extension::usage(0x88),
        purposes(&["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.2"]),
        Extension::no_issuer(),
        names(&[(URI, id)]),
    ];
    certificate(("workload", issuer), key, now, extensions)
}

/// SubjectAltName of these general names, by tag.
#[must_use]
pub fn names(names: &[(u8, &str)]) -> Extension {
    let list = names
        .iter()
        .flat_map(|(tag, text)| der::element(*tag, text.as_bytes()));
    let list: Vec<u8> = list.collect();
    Extension::new("2.5.29.17", der::element(0x30, &list))
}

/// ExtendedKeyUsage of these purposes.
#[must_use]
pub fn purposes(oids: &[&str]) -> Extension {
    let list: Vec<u8> = oids.iter().flat_map(|oid| der::oid(oid)).collect();
    Extension::new("2.5.29.37", der::element(0x30, &list))
}

/// The certificate, signed by the key of this seed.
#[must_use]
pub fn signed(certificate: &Certificate, by: u8) -> Vec<u8> {
    certificate.sign(&Key::p256(by))
}
