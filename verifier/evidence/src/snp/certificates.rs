//! Chains in the forms in which people have them: DER, PEM, and the table that a host hands to its guests.
//!
//! In: bytes. Out: [`SnpCertificates`], each in its place. Nothing is trusted for standing here: the
//! appraisal verifies every certificate, so it does no harm that the host chose them.
//!
//! Source: AMD 56421 (GHCB), 4.1.8.1, for the table; `/dev/sev-guest` and `auxblob` of configfs-tsm give it.

use countersign_certificates::{Certificate, CertificateError, pem};
use thiserror::Error;

use super::SnpEvidence;
use super::key::COMMON_NAME;
use crate::reader::{FormError, Reader};

/// A chain, and the root's list if there is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnpCertificates {
    /// Of the signing key (VCEK or VLEK), in DER.
    pub key: Vec<u8>,
    /// Of its issuer (ASK or ASVK), in DER.
    pub issuer: Vec<u8>,
    /// Of the root (ARK), in DER.
    pub root: Vec<u8>,
    /// The root's revocation list, in DER.
    pub crl: Option<Vec<u8>>,
}

/// Why certificates are no chain of a report.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SnpCertificatesError {
    /// Not PEM.
    #[error("{0}")]
    Pem(#[from] pem::PemError),
    /// One of them is no certificate.
    #[error("certificate {number}: {error}")]
    Certificate {
        /// Which, from 1.
        number: usize,
        /// Why.
        error: CertificateError,
    },
    /// None, or more than one, is what is looked for.
    #[error("{found} certificates are that of {what}, expected 1")]
    NotOne {
        /// What is looked for.
        what: &'static str,
        /// How many there are.
        found: usize,
    },
    /// The table has other contents.
    #[error("{0}")]
    Table(#[from] TableError),
}

impl SnpCertificates {
    /// Puts certificates in their places, whatever their order: the key by its common name, each issuer by
    /// the name that the one below it has. Others may stand beside them, as in bundles that have both of AMD's issuers.
    ///
    /// # Errors
    /// If there is not exactly one for each place.
    pub fn of(ders: &[Vec<u8>]) -> Result<Self, SnpCertificatesError> {
        let mut parsed = Vec::new();
        for (place, der) in ders.iter().enumerate() {
            let number = place.saturating_add(1);
            parsed.push(
                Certificate::parse(der)
                    .map_err(|error| SnpCertificatesError::Certificate { number, error })?,
            );
        }
        let key = one(&parsed, "a signing key", |c| {
            matches!(c.named(COMMON_NAME), Some(b"SEV-VCEK" | b"SEV-VLEK"))
        })?;
        let issuer = one(&parsed, "the signing key's issuer", |c| {
            c.subject() == key.issuer()
        })?;
        let root = one(&parsed, "the root", |c| c.subject() == issuer.issuer())?;
        Ok(Self {
            key: key.whole().to_vec(),
            issuer: issuer.whole().to_vec(),
            root: root.whole().to_vec(),
            crl: None,
        })
    }

    /// Likewise from PEM.
    ///
    /// # Errors
    /// If the text is not certificates in PEM, or not one for each place.
    pub fn from_pem(text: &str) -> Result<Self, SnpCertificatesError> {
        Self::of(&pem::blocks(text, pem::CERTIFICATE)?)
    }

    /// Likewise from a host's table, with certificates that it leaves out.
    ///
    /// # Errors
    /// If there is not exactly one for each place.
    pub fn from_table(
        table: &CertificateTable<'_>,
        more: &[Vec<u8>],
    ) -> Result<Self, SnpCertificatesError> {
        let given = [VCEK, VLEK, ASK, ARK]
            .into_iter()
            .filter_map(|guid| table.get(guid));
        let ders: Vec<Vec<u8>> = given
            .map(<[u8]>::to_vec)
            .chain(more.iter().cloned())
            .collect();
        Ok(Self {
            crl: table.get(CRL).map(<[u8]>::to_vec),
            ..Self::of(&ders)?
        })
    }

    /// With a report, what an appraisal takes.
    #[must_use]
    pub fn beside<'a>(&'a self, report: &'a [u8]) -> SnpEvidence<'a> {
        SnpEvidence {
            report,
            key: &self.key,
            issuer: &self.issuer,
            root: &self.root,
            crl: self.crl.as_deref(),
        }
    }
}

/// The one that fits; the same certificate twice is one.
fn one<'c, 'a>(
    all: &'c [Certificate<'a>],
    what: &'static str,
    fits: impl Fn(&Certificate<'a>) -> bool,
) -> Result<&'c Certificate<'a>, SnpCertificatesError> {
    let mut found: Vec<&Certificate<'a>> = Vec::new();
    for certificate in all.iter().filter(|c| fits(c)) {
        if !found.iter().any(|c| c.whole() == certificate.whole()) {
            found.push(certificate);
        }
    }
    match found.as_slice() {
        [one] => Ok(*one),
        others => Err(SnpCertificatesError::NotOne {
            what,
            found: others.len(),
        }),
    }
}

/// The table that a host hands to its guests: identifiers, each with bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateTable<'a> {
    entries: Vec<(Guid, &'a [u8])>,
}

/// Identifier of an entry: the bytes in the order of its text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Guid(pub [u8; 16]);

/// Longest table that is read, in bytes: 16 pages, what the Linux driver takes at most.
pub const MAX_TABLE_BYTES: usize = 64 * 1024;

/// Most entries of a table. Hosts give five, and Google's one more.
const MAX_ENTRIES: usize = 16;

/// Bytes of an entry's head: identifier, offset, length.
const ENTRY_BYTES: usize = 24;

/// Why bytes are no table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TableError {
    /// It ends too early.
    #[error("certificate table: {0}")]
    Form(#[from] FormError),
    /// Longer than it may be.
    #[error("certificate table is {found} bytes, limit is {MAX_TABLE_BYTES}")]
    TooLarge {
        /// Its length, in bytes.
        found: usize,
    },
    /// More entries than are looked at.
    #[error("certificate table has more than {MAX_ENTRIES} entries")]
    Entries,
    /// An entry's bytes are not there, or are another's too.
    #[error("certificate table has an entry of {length} bytes at {offset}, which are not its own")]
    Bounds {
        /// Where they should start, from the table's start.
        offset: u32,
        /// How many there should be.
        length: u32,
    },
    /// One identifier twice.
    #[error("certificate table has an identifier twice")]
    Twice,
    /// Bytes that belong to no entry.
    #[error("certificate table has bytes that belong to no entry")]
    Unclaimed,
}

impl<'a> CertificateTable<'a> {
    /// Reads a table. A page is filled up with zeros; all other bytes belong to an entry.
    ///
    /// # Errors
    /// Why it is none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        if bytes.len() > MAX_TABLE_BYTES {
            return Err(TableError::TooLarge { found: bytes.len() });
        }
        let mut r = Reader::new(bytes);
        let mut heads: Vec<(Guid, u32, u32)> = Vec::new();
        loop {
            let guid = Guid(r.array("identifier")?);
            let (offset, length) = (r.u32_le("offset")?, r.u32_le("length")?);
            if (guid.0, offset, length) == ([0; 16], 0, 0) {
                break;
            }
            if heads.iter().any(|(other, ..)| *other == guid) {
                return Err(TableError::Twice);
            }
            if heads.len() >= MAX_ENTRIES {
                return Err(TableError::Entries);
            }
            heads.push((guid, offset, length));
        }
        let mut sorted = heads.clone();
        sorted.sort_by_key(|(_, offset, _)| *offset);
        let mut free = heads.len().saturating_add(1).saturating_mul(ENTRY_BYTES);
        let mut entries = Vec::new();
        for (guid, offset, length) in sorted {
            let bounds = TableError::Bounds { offset, length };
            let start = usize::try_from(offset).map_err(|_| bounds.clone())?;
            let size = usize::try_from(length).map_err(|_| bounds.clone())?;
            let end = start.checked_add(size).ok_or(bounds.clone())?;
            let between = bytes.get(free..start).ok_or(bounds.clone())?;
            let own = bytes.get(start..end).ok_or(bounds)?;
            expect_zeros(between)?;
            entries.push((guid, own));
            free = end;
        }
        expect_zeros(bytes.get(free..).unwrap_or_default())?;
        Ok(Self { entries })
    }

    /// The bytes of an entry. Most hosts write an identifier in the order of its text, some as UEFI does.
    #[must_use]
    pub fn get(&self, guid: Guid) -> Option<&'a [u8]> {
        let [a, b, c, d, e, f, g, h, rest @ ..] = guid.0;
        let [i, j, k, l, m, n, o, p] = rest;
        let mixed = Guid([d, c, b, a, f, e, h, g, i, j, k, l, m, n, o, p]);
        self.entries
            .iter()
            .find(|(found, _)| *found == guid || *found == mixed)
            .map(|(_, bytes)| *bytes)
    }

    /// What it holds, in the order of its bytes.
    pub fn contents(&self) -> impl Iterator<Item = &'a [u8]> {
        self.entries.iter().map(|(_, bytes)| *bytes)
    }

    /// How many entries it has.
    #[must_use]
    pub fn count(&self) -> usize {
        self.entries.len()
    }
}

fn expect_zeros(bytes: &[u8]) -> Result<(), TableError> {
    if bytes.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(TableError::Unclaimed)
    }
}

/// 63da758d-e664-4564-adc5-f4b93be8accd
const VCEK: Guid = Guid(*b"\x63\xda\x75\x8d\xe6\x64\x45\x64\xad\xc5\xf4\xb9\x3b\xe8\xac\xcd");
/// a8074bc2-a25a-483e-aae6-39c045a0b8a1
const VLEK: Guid = Guid(*b"\xa8\x07\x4b\xc2\xa2\x5a\x48\x3e\xaa\xe6\x39\xc0\x45\xa0\xb8\xa1");
/// 4ab7b379-bbac-4fe4-a02f-05aef327c782
const ASK: Guid = Guid(*b"\x4a\xb7\xb3\x79\xbb\xac\x4f\xe4\xa0\x2f\x05\xae\xf3\x27\xc7\x82");
/// c0b406a4-a803-4952-9743-3fb6014cd0ae
const ARK: Guid = Guid(*b"\xc0\xb4\x06\xa4\xa8\x03\x49\x52\x97\x43\x3f\xb6\x01\x4c\xd0\xae");
/// 92f81bc3-5811-4d3d-97ff-d19f88dc67ea
const CRL: Guid = Guid(*b"\x92\xf8\x1b\xc3\x58\x11\x4d\x3d\x97\xff\xd1\x9f\x88\xdc\x67\xea");
