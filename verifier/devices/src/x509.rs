//! Certificates and revocation lists as a vendor would write them; every field is a test's to change.
//!
//! SPEC: RFC 5280 4.1, 4.2, 5.1 and 5.2.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::der;
use crate::key::{Key, Scheme};

/// A certificate to be signed. What is not said here is as an issuer of good certificates would have it.
#[derive(Debug, Clone)]
pub struct Certificate {
    /// Magnitude of the serial number, big-endian; none is 0, as AMD's device certificates have.
    pub serial: Vec<u8>,
    /// `Name` of the issuer, see [`name`].
    pub issuer: Vec<u8>,
    /// `Name` of the subject.
    pub subject: Vec<u8>,
    /// First moment of its time, in milliseconds since 1970.
    pub not_before: u64,
    /// Last moment of its time, in milliseconds since 1970.
    pub not_after: u64,
    /// `SubjectPublicKeyInfo`, see [`Key::spki`].
    pub key: Vec<u8>,
    /// In this order.
    pub extensions: Vec<Extension>,
    /// How it is signed, and what it says of that.
    pub scheme: Scheme,
}

/// An extension.
#[derive(Debug, Clone)]
pub struct Extension {
    /// Its identifier, with dots.
    pub oid: String,
    /// Whether it must not be passed over.
    pub critical: bool,
    /// What stands in the `OCTET STRING`.
    pub value: Vec<u8>,
}

impl Extension {
    /// One that may be passed over.
    #[must_use]
    pub fn new(oid: &str, value: Vec<u8>) -> Self {
        Self {
            oid: oid.into(),
            critical: false,
            value,
        }
    }

    /// One that must not be passed over.
    #[must_use]
    pub fn critical(oid: &str, value: Vec<u8>) -> Self {
        Self {
            critical: true,
            ..Self::new(oid, value)
        }
    }

    /// BasicConstraints of an issuer with at most `below` issuers below it.
    #[must_use]
    pub fn issuer(below: Option<u64>) -> Self {
        let below = below.map(der::number).unwrap_or_default();
        let value = der::sequence(&[&der::boolean(true), &below]);
        Self::critical("2.5.29.19", value)
    }

    /// BasicConstraints of somebody who issues nothing.
    #[must_use]
    pub fn no_issuer() -> Self {
        Self::critical("2.5.29.19", der::sequence(&[]))
    }

    /// KeyUsage; bit 0 (digitalSignature) is the highest of the byte. 0x04 issues certificates, 0x02 lists.
    #[must_use]
    pub fn usage(bits: u8) -> Self {
        let unused = u8::try_from(bits.trailing_zeros().min(7)).unwrap();
        Self::critical("2.5.29.15", der::element(0x03, &[unused, bits]))
    }

    /// Number of a revocation list.
    #[must_use]
    pub fn crl_number(number: u64) -> Self {
        Self::new("2.5.29.20", der::number(number))
    }

    fn to_der(&self) -> Vec<u8> {
        let critical = if self.critical {
            der::boolean(true)
        } else {
            vec![]
        };
        der::sequence(&[&der::oid(&self.oid), &critical, &der::octets(&self.value)])
    }
}

impl Certificate {
    /// What is signed.
    #[must_use]
    pub fn to_tbs(&self) -> Vec<u8> {
        let Self {
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            extensions,
            scheme,
        } = self;
        let extensions = match extensions.as_slice() {
            [] => vec![],
            list => der::explicit(3, &extension_list(list)),
        };
        der::sequence(&[
            &der::explicit(0, &der::number(2)),
            &der::unsigned(serial),
            &scheme.identifier(),
            issuer,
            &der::sequence(&[&der::time(*not_before), &der::time(*not_after)]),
            subject,
            key,
            &extensions,
        ])
    }

    /// The certificate, signed.
    #[must_use]
    pub fn sign(&self, by: &Key) -> Vec<u8> {
        signed(&self.to_tbs(), self.scheme, by)
    }
}

/// A revocation list to be signed.
#[derive(Debug, Clone)]
pub struct Crl {
    /// `Name` of the issuer.
    pub issuer: Vec<u8>,
    /// When it was made, in milliseconds since 1970.
    pub this_update: u64,
    /// When the next is due, in milliseconds since 1970.
    pub next_update: Option<u64>,
    /// Magnitudes of serial numbers, big-endian, each with the time of its revocation.
    pub revoked: Vec<(Vec<u8>, u64)>,
    /// Of the list, in this order.
    pub extensions: Vec<Extension>,
    /// How it is signed, and what it says of that.
    pub scheme: Scheme,
}

impl Crl {
    /// The list, signed.
    #[must_use]
    pub fn sign(&self, by: &Key) -> Vec<u8> {
        let Self {
            issuer,
            this_update,
            next_update,
            revoked,
            extensions,
            scheme,
        } = self;
        let entries: Vec<Vec<u8>> = revoked
            .iter()
            .map(|(serial, at)| der::sequence(&[&der::unsigned(serial), &der::time(*at)]))
            .collect();
        // SPEC: RFC 5280 5.1.2.6: an empty list is left out.
        let entries = if entries.is_empty() {
            vec![]
        } else {
            der::element(0x30, &entries.concat())
        };
        let extensions = match extensions.as_slice() {
            [] => vec![],
            list => der::explicit(0, &extension_list(list)),
        };
        let tbs = der::sequence(&[
            &der::number(1),
            &scheme.identifier(),
            issuer,
            &der::time(*this_update),
            &next_update.map(der::time).unwrap_or_default(),
            &entries,
            &extensions,
        ]);
        signed(&tbs, *scheme, by)
    }
}

fn extension_list(list: &[Extension]) -> Vec<u8> {
    let all: Vec<u8> = list.iter().flat_map(Extension::to_der).collect();
    der::element(0x30, &all)
}

/// SEQUENCE of what is signed, how, and the signature.
#[must_use]
pub fn signed(tbs: &[u8], scheme: Scheme, by: &Key) -> Vec<u8> {
    let identifier = scheme.identifier();
    let what = [by.spki(), identifier.clone(), tbs.to_vec()];
    let mut made = MADE.lock().unwrap();
    let signature = made
        .entry(what)
        .or_insert_with(|| der::bits(&by.sign(scheme, tbs)));
    der::sequence(&[tbs, &identifier, signature])
}

/// Signatures that were made already, by key, scheme and message: thousands of tests have the same chain.
static MADE: Mutex<BTreeMap<[Vec<u8>; 3], Vec<u8>>> = Mutex::new(BTreeMap::new());

/// `Name` of identifiers with dots and their texts as UTF8String, each a set of its own.
#[must_use]
pub fn name(parts: &[(&str, &str)]) -> Vec<u8> {
    let sets: Vec<u8> = parts
        .iter()
        .flat_map(|(oid, text)| {
            der::set_of_one(&der::sequence(&[&der::oid(oid), &der::utf8(text)]))
        })
        .collect();
    der::element(0x30, &sets)
}

/// `Name` of a common name (2.5.4.3) alone.
#[must_use]
pub fn common_name(text: &str) -> Vec<u8> {
    name(&[("2.5.4.3", text)])
}

#[cfg(test)]
mod tests;
