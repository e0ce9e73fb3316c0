//! A certificate revocation list: what an issuer takes back.
//!
//! In: DER. Out: its parts; whether an issuer signed it; whether it names a serial number. A list of part
//! of the certificates, or of changes alone, says so by a critical extension, and is refused: it would
//! look as if nothing were revoked.
//!
//! Spec: RFC 5280 5.1 and 5.2.

use crate::algorithm::Identifier;
use crate::certificate::{Certificate, read_extension};
use crate::der::{Element, INTEGER, Reader, SEQUENCE};
use crate::error::CertificateError;
use crate::time::certificate_time;

/// Longest list that is read, in bytes (1 MiB). Those of hardware vendors' authorities have a few KiB.
pub const MAX_CRL_BYTES: usize = 1024 * 1024;

/// 2.5.29.35 and 2.5.29.20: whose key, and the list's number.
const KNOWN: [&[u8]; 2] = [b"\x55\x1d\x23", b"\x55\x1d\x14"];

/// A revocation list whose signature is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Crl<'a> {
    tbs: &'a [u8],
    issuer: &'a [u8],
    this_update: u64,
    next_update: u64,
    /// Elements of type `revokedCertificates`, each read when it was parsed.
    revoked: &'a [u8],
    count: usize,
    algorithm: Identifier<'a>,
    signature: &'a [u8],
}

impl<'a> Crl<'a> {
    /// Reads a list, all of the bytes.
    ///
    /// # Errors
    /// Why the bytes are none, or one that does not say everything.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_CRL_BYTES {
            return Err(CertificateError::TooLarge {
                what: "a revocation list",
                found: bytes.len(),
                limit: MAX_CRL_BYTES,
            });
        }
        let mut outer = Reader::new(bytes);
        let mut list = outer.sequence("CertificateList")?;
        outer.end("CertificateList")?;
        let tbs = list.expect(SEQUENCE, "TBSCertList")?;
        let algorithm = Identifier::read(&mut list, "CertificateList.signatureAlgorithm")?;
        let signature = list.bits("CertificateList.signatureValue")?;
        list.end("CertificateList")?;
        Self::of(tbs, algorithm, signature)
    }

    fn of(
        tbs: Element<'a>,
        algorithm: Identifier<'a>,
        signature: &'a [u8],
    ) -> Result<Self, CertificateError> {
        let mut r = tbs.inside();
        let found = r.number("TBSCertList.version")?;
        if found != 1 {
            return Err(CertificateError::Version {
                field: "TBSCertList.version",
                found,
                expected: 1,
            });
        }
        let named = Identifier::read(&mut r, "TBSCertList.signature")?;
        if named.whole != algorithm.whole {
            return Err(CertificateError::TwoAlgorithms("a list's signature"));
        }
        let issuer = r.expect(SEQUENCE, "TBSCertList.issuer")?.whole;
        let this_update = certificate_time(&mut r, "TBSCertList.thisUpdate")?;
        // SPEC: RFC 5280 5.1.2.5 asks every issuer for it. Without it nobody knows when a list is too old.
        let next_update = certificate_time(&mut r, "TBSCertList.nextUpdate")?;
        let (revoked, count) = match r.optional(SEQUENCE, "TBSCertList.revokedCertificates")? {
            Some(element) => (element.content, expect_entries(element)?),
            None => (&[][..], 0),
        };
        if let Some(element) = r.optional(0xa0, "TBSCertList.crlExtensions")? {
            expect_known(element)?;
        }
        r.end("TBSCertList")?;
        Ok(Self {
            tbs: tbs.whole,
            issuer,
            this_update,
            next_update,
            revoked,
            count,
            algorithm,
            signature,
        })
    }

    /// Name of who issued it, tag and length too.
    #[must_use]
    pub fn issuer(&self) -> &'a [u8] {
        self.issuer
    }

    /// When it was issued, in milliseconds since 1970.
    #[must_use]
    pub fn this_update(&self) -> u64 {
        self.this_update
    }

    /// By when the next one was to come, in milliseconds since 1970.
    #[must_use]
    pub fn next_update(&self) -> u64 {
        self.next_update
    }

    /// How many certificates it names.
    #[must_use]
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether it is the word of this issuer. Its time is not looked at.
    ///
    /// # Errors
    /// Why it is not.
    pub fn verify(&self, issuer: &Certificate<'_>) -> Result<(), CertificateError> {
        if issuer.subject() != self.issuer {
            return Err(CertificateError::IssuerName("a revocation list"));
        }
        issuer.may_sign_lists()?;
        issuer.signed(
            &self.algorithm,
            self.tbs,
            self.signature,
            "a revocation list",
        )
    }

    /// Whether it was the newest at that time, as far as it says.
    ///
    /// # Errors
    /// If it was not issued yet, or the next one was due.
    pub fn current(&self, at: u64) -> Result<(), CertificateError> {
        if self.this_update <= at && at <= self.next_update.saturating_add(999) {
            Ok(())
        } else {
            Err(CertificateError::Validity {
                whose: "a revocation list",
                from: self.this_update,
                until: self.next_update,
                at,
            })
        }
    }

    /// When it took back the certificate with this serial number, tag and length too.
    #[must_use]
    pub fn revoked(&self, serial: &[u8]) -> Option<u64> {
        let mut entries = Reader::new(self.revoked);
        while let Ok(element) = entries.expect(SEQUENCE, "revokedCertificate") {
            let mut r = element.inside();
            let number = r.expect(INTEGER, "userCertificate").ok()?;
            let at = certificate_time(&mut r, "revocationDate").ok()?;
            if number.whole == serial {
                return Some(at);
            }
        }
        None
    }
}

/// Every entry has its form, and no critical extension: one could move it to another issuer.
fn expect_entries(element: Element<'_>) -> Result<usize, CertificateError> {
    let mut list = element.inside();
    let mut count: usize = 0;
    while !list.is_empty() {
        let mut r = list.sequence("revokedCertificate")?;
        r.expect(INTEGER, "userCertificate")?;
        certificate_time(&mut r, "revocationDate")?;
        if !r.is_empty() {
            let mut extensions = r.sequence("crlEntryExtensions")?;
            while !extensions.is_empty() {
                if read_extension(&mut extensions)?.critical {
                    return Err(CertificateError::CriticalExtension(
                        "an entry of a revocation list",
                    ));
                }
            }
        }
        r.end("revokedCertificate")?;
        count = count.saturating_add(1);
    }
    Ok(count)
}

/// No extension is critical but those that change nothing here.
fn expect_known(element: Element<'_>) -> Result<(), CertificateError> {
    let mut outer = element.inside();
    let mut list = outer.sequence("crlExtensions")?;
    outer.end("crlExtensions")?;
    while !list.is_empty() {
        let extension = read_extension(&mut list)?;
        if extension.critical && !KNOWN.contains(&extension.oid) {
            return Err(CertificateError::CriticalExtension("a revocation list"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
