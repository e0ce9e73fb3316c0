//! X.509 certificates, as far as timestamps need them.
//!
//! In: DER of a certificate. Out: its parts as they arrived, and whether it may stamp, or issue
//! another. An extension that is critical and not known here refuses the certificate where it is
//! used. Names are compared byte by byte.
//!
//! Spec: RFC 5280 4.1, 4.2 and 6.1; RFC 3161 2.3.

use crate::algorithm::{Identifier, Key, Scheme, Signed};
use crate::der::{
    BIT_STRING, BOOLEAN, DerError, Element, INTEGER, Reader, SEQUENCE, boolean, number,
};
use crate::error::TimestampError;
use crate::time::certificate_time;

/// 2.5.29.14
const SUBJECT_KEY_ID: &[u8] = b"\x55\x1d\x0e";
/// 2.5.29.15
const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";
/// 2.5.29.37.0
const ANY_PURPOSE: &[u8] = b"\x55\x1d\x25\x00";
/// 1.3.6.1.5.5.7.3.8, id-kp-timeStamping
const TIME_STAMPING: &[u8] = b"\x2b\x06\x01\x05\x05\x07\x03\x08";

/// Bits of the first byte of a KeyUsage. SPEC: RFC 5280 4.2.1.3.
const DIGITAL_SIGNATURE: u8 = 0x80;
const NON_REPUDIATION: u8 = 0x40;
const KEY_CERT_SIGN: u8 = 0x04;

/// Most extensions of a certificate. Those of authorities have about ten; each is compared with all before it.
const MAX_EXTENSIONS: usize = 32;

/// A certificate whose signature is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Certificate<'a> {
    pub(crate) whole: &'a [u8],
    /// What is signed.
    tbs: &'a [u8],
    /// Its integer, tag and length too.
    pub(crate) serial: &'a [u8],
    /// Its Name, tag and length too.
    pub(crate) issuer: &'a [u8],
    pub(crate) subject: &'a [u8],
    not_before: u64,
    not_after: u64,
    key: Element<'a>,
    algorithm: Identifier<'a>,
    signature: &'a [u8],
    extensions: Extensions<'a>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Extensions<'a> {
    key_id: Option<&'a [u8]>,
    usage: Option<u8>,
    constraints: Option<Constraints>,
    purposes: Option<Purposes<'a>>,
    unknown_critical: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Constraints {
    issuer: bool,
    below: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Purposes<'a> {
    critical: bool,
    list: Vec<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate, all of the bytes.
    pub(crate) fn parse(bytes: &'a [u8]) -> Result<Self, TimestampError> {
        let mut r = Reader::new(bytes);
        let certificate = Self::of(r.expect(SEQUENCE, "Certificate")?)?;
        r.end("Certificate")?;
        Ok(certificate)
    }

    /// Reads a certificate that stands in something.
    pub(crate) fn of(element: Element<'a>) -> Result<Self, TimestampError> {
        let mut outer = element.inside();
        let tbs = outer.expect(SEQUENCE, "TBSCertificate")?;
        let algorithm = Identifier::read(&mut outer, "Certificate.signatureAlgorithm")?;
        let signature = outer.bits("Certificate.signature")?;
        outer.end("Certificate")?;

        let mut r = tbs.inside();
        // Version 3 is what has extensions; no other may stamp or issue.
        let mut version = r.expect(0xa0, "TBSCertificate.version")?.inside();
        let found = version.number("TBSCertificate.version")?;
        version.end("TBSCertificate.version")?;
        if found != 2 {
            return Err(TimestampError::Version {
                field: "TBSCertificate.version",
                found,
                expected: 2,
            });
        }
        let serial = r.expect(INTEGER, "TBSCertificate.serialNumber")?.whole;
        let named = Identifier::read(&mut r, "TBSCertificate.signature")?;
        if named.whole != algorithm.whole {
            return Err(TimestampError::TwoAlgorithms("a certificate's signature"));
        }
        let issuer = r.expect(SEQUENCE, "TBSCertificate.issuer")?.whole;
        let mut validity = r.sequence("TBSCertificate.validity")?;
        let not_before = certificate_time(&mut validity, "Validity.notBefore")?;
        let not_after = certificate_time(&mut validity, "Validity.notAfter")?;
        validity.end("TBSCertificate.validity")?;
        let subject = r.expect(SEQUENCE, "TBSCertificate.subject")?.whole;
        let key = r.expect(SEQUENCE, "TBSCertificate.subjectPublicKeyInfo")?;
        r.optional(0x81, "TBSCertificate.issuerUniqueID")?;
        r.optional(0x82, "TBSCertificate.subjectUniqueID")?;
        let extensions = match r.optional(0xa3, "TBSCertificate.extensions")? {
            Some(element) => Extensions::of(element)?,
            None => Extensions::default(),
        };
        r.end("TBSCertificate")?;
        Ok(Self {
            whole: element.whole,
            tbs: tbs.whole,
            serial,
            issuer,
            subject,
            not_before,
            not_after,
            key,
            algorithm,
            signature,
            extensions,
        })
    }

    /// Its subject key identifier, if it has one.
    pub(crate) fn key_id(&self) -> Option<&'a [u8]> {
        self.extensions.key_id
    }

    pub(crate) fn key(&self, whose: &'static str) -> Result<Key, TimestampError> {
        Key::parse(&self.key, whose)
    }

    fn valid(&self, at: u64, whose: &'static str) -> Result<(), TimestampError> {
        // The last second of a certificate's time is one whole second.
        let until = self.not_after.saturating_add(999);
        if self.not_before <= at && at <= until {
            Ok(())
        } else {
            Err(TimestampError::Validity {
                whose,
                from: self.not_before,
                until,
                at,
            })
        }
    }

    /// Whether this is a certificate for timestamps and nothing else, valid at that time.
    pub(crate) fn may_stamp(&self, at: u64) -> Result<(), TimestampError> {
        let Extensions {
            key_id: _,
            usage,
            constraints,
            purposes,
            unknown_critical,
        } = &self.extensions;
        self.valid(at, "the signer's certificate")?;
        if *unknown_critical {
            return Err(TimestampError::CriticalExtension(
                "the signer's certificate",
            ));
        }
        // SPEC: RFC 3161 2.3: exactly one purpose, critical.
        let why = match purposes {
            None => Some("it names no purpose"),
            Some(p) if !p.critical => Some("its purpose is not critical"),
            Some(p) if p.list != [TIME_STAMPING] => {
                Some("it has another purpose, or more than one")
            }
            Some(_) => None,
        };
        let why = why.or_else(|| {
            usage
                .is_some_and(|u| u & (DIGITAL_SIGNATURE | NON_REPUDIATION) == 0)
                .then_some("its key is not for signatures")
        });
        let why = why.or_else(|| {
            constraints
                .as_ref()
                .is_some_and(|c| c.issuer)
                .then_some("it may issue certificates")
        });
        why.map_or(Ok(()), |why| Err(TimestampError::Purpose(why)))
    }

    /// Whether this is a certificate that may issue others at all.
    pub(crate) fn is_issuer(&self) -> Result<(), TimestampError> {
        let Extensions {
            key_id: _,
            usage,
            constraints,
            purposes,
            unknown_critical,
        } = &self.extensions;
        if *unknown_critical {
            return Err(TimestampError::CriticalExtension("an issuer's certificate"));
        }
        let why = if !constraints.as_ref().is_some_and(|c| c.issuer) {
            Some("it is not of an issuer")
        } else if usage.is_some_and(|u| u & KEY_CERT_SIGN == 0) {
            Some("its key is not for certificates")
        } else if purposes
            .as_ref()
            .is_some_and(|p| !p.list.contains(&TIME_STAMPING) && !p.list.contains(&ANY_PURPOSE))
        {
            Some("its purposes leave out timestamps")
        } else {
            None
        };
        why.map_or(Ok(()), |why| Err(TimestampError::Issuer(why)))
    }

    /// Whether this one may issue, at that time, with so many issuers between it and the signer; and
    /// whether it did issue `subject`.
    pub(crate) fn issued(
        &self,
        subject: &Certificate<'_>,
        at: u64,
        below: u64,
    ) -> Result<(), TimestampError> {
        self.is_issuer()?;
        self.valid(at, "an issuer's certificate")?;
        let limit = self.extensions.constraints.as_ref().and_then(|c| c.below);
        if limit.is_some_and(|limit| below > limit) {
            return Err(TimestampError::Issuer("more issuers follow than it allows"));
        }
        let scheme = Scheme::of(&subject.algorithm, "a certificate's signature algorithm")?;
        let signed = Signed {
            message: subject.tbs,
            signature: subject.signature,
        };
        self.key("an issuer")?
            .verify(scheme, &signed, "a certificate")
    }
}

impl<'a> Extensions<'a> {
    fn of(element: Element<'a>) -> Result<Self, TimestampError> {
        let mut outer = element.inside();
        let mut list = outer.sequence("Extensions")?;
        outer.end("Extensions")?;
        let mut out = Self::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        while !list.is_empty() {
            let mut r = list.sequence("Extension")?;
            let oid = r.oid("Extension.extnID")?;
            let critical = match r.optional(BOOLEAN, "Extension.critical")? {
                Some(element) => boolean(element, "Extension.critical")?,
                None => false,
            };
            let value = r.octets("Extension.extnValue")?;
            r.end("Extension")?;
            if seen.contains(&oid) {
                return Err(TimestampError::ExtensionTwice("a certificate"));
            }
            if seen.len() >= MAX_EXTENSIONS {
                return Err(TimestampError::Extensions {
                    limit: MAX_EXTENSIONS,
                });
            }
            seen.push(oid);
            let mut value = Reader::new(value);
            match oid {
                SUBJECT_KEY_ID => out.key_id = Some(value.octets("SubjectKeyIdentifier")?),
                KEY_USAGE => out.usage = Some(key_usage(&mut value)?),
                BASIC_CONSTRAINTS => out.constraints = Some(Constraints::of(&mut value)?),
                EXTENDED_KEY_USAGE => {
                    out.purposes = Some(Purposes {
                        critical,
                        list: purposes(&mut value)?,
                    });
                }
                _ => {
                    out.unknown_critical |= critical;
                    continue;
                }
            }
            value.end("Extension.extnValue")?;
        }
        Ok(out)
    }
}

impl Constraints {
    fn of(r: &mut Reader<'_>) -> Result<Self, DerError> {
        let mut inside = r.sequence("BasicConstraints")?;
        let issuer = match inside.optional(BOOLEAN, "BasicConstraints.cA")? {
            Some(element) => boolean(element, "BasicConstraints.cA")?,
            None => false,
        };
        let below = match inside.optional(INTEGER, "BasicConstraints.pathLenConstraint")? {
            Some(element) => Some(number(element, "BasicConstraints.pathLenConstraint")?),
            None => None,
        };
        inside.end("BasicConstraints")?;
        Ok(Self { issuer, below })
    }
}

/// The first byte of the bits; the ninth, decipherOnly, means nothing here.
fn key_usage(r: &mut Reader<'_>) -> Result<u8, DerError> {
    let element = r.expect(BIT_STRING, "KeyUsage")?;
    match element.content {
        [unused @ 0..=7, first] if first.trailing_zeros() >= u32::from(*unused) => Ok(*first),
        [unused @ 0..=7, first, second] if second.trailing_zeros() >= u32::from(*unused) => {
            Ok(*first)
        }
        _ => Err(element.wrong("KeyUsage")),
    }
}

fn purposes<'a>(r: &mut Reader<'a>) -> Result<Vec<&'a [u8]>, DerError> {
    let mut inside = r.sequence("ExtKeyUsageSyntax")?;
    let mut list = Vec::new();
    while !inside.is_empty() {
        list.push(inside.oid("KeyPurposeId")?);
    }
    Ok(list)
}
