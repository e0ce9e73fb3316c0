//! X.509 certificates.
//!
//! In: DER of a certificate. Out: its parts as they arrived, and whether it may issue others, and did. An
//! extension that is critical and not known here refuses the certificate where it is used; whoever knows
//! another one asks for it by [`Certificate::extension`]. Names are compared byte by byte.
//!
//! Spec: RFC 5280 4.1, 4.2 and 6.1.

use crate::algorithm::{Identifier, Key, Scheme, Signed};
use crate::der::{
    BIT_STRING, BOOLEAN, DerError, Element, INTEGER, Reader, SEQUENCE, SET, boolean, number,
};
use crate::error::CertificateError;
use crate::time::certificate_time;

/// 2.5.29.14
const SUBJECT_KEY_ID: &[u8] = b"\x55\x1d\x0e";
/// 2.5.29.15
const KEY_USAGE: &[u8] = b"\x55\x1d\x0f";
/// 2.5.29.19
const BASIC_CONSTRAINTS: &[u8] = b"\x55\x1d\x13";
/// 2.5.29.37
const EXTENDED_KEY_USAGE: &[u8] = b"\x55\x1d\x25";

/// Bits of the first byte of a KeyUsage. SPEC: RFC 5280 4.2.1.3.
pub mod usage {
    /// digitalSignature
    pub const DIGITAL_SIGNATURE: u8 = 0x80;
    /// nonRepudiation
    pub const NON_REPUDIATION: u8 = 0x40;
    /// keyCertSign
    pub const CERTIFICATES: u8 = 0x04;
    /// cRLSign
    pub const LISTS: u8 = 0x02;
}

/// Most extensions of a certificate. Those of authorities have about ten, those of chips about twenty; each is compared
/// with all before it.
const MAX_EXTENSIONS: usize = 32;

/// Longest certificate that is read, in bytes.
pub const MAX_CERTIFICATE_BYTES: usize = 32 * 1024;

/// A certificate whose signature is not verified yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate<'a> {
    whole: &'a [u8],
    tbs: &'a [u8],
    serial: &'a [u8],
    issuer: &'a [u8],
    subject: &'a [u8],
    validity: Validity,
    key: Element<'a>,
    algorithm: Identifier<'a>,
    signature: &'a [u8],
    extensions: Extensions<'a>,
}

/// From when to when a certificate is valid, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// First moment.
    pub from: u64,
    /// Last moment: the end of its last second.
    pub until: u64,
}

/// What the extensions say that are known here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Extensions<'a> {
    /// Subject key identifier.
    pub key_id: Option<&'a [u8]>,
    /// First byte of the key usage; see [`usage`].
    pub usage: Option<u8>,
    /// Whether the key usage has its ninth bit, decipherOnly, too.
    pub decipher_only: bool,
    /// Basic constraints.
    pub constraints: Option<Constraints>,
    /// Extended key usage.
    pub purposes: Option<Purposes<'a>>,
    /// Whether one that is not among these is critical.
    pub unknown_critical: bool,
    others: Vec<Extension<'a>>,
}

/// An extension as it stands in a certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extension<'a> {
    /// Content of its object identifier.
    pub oid: &'a [u8],
    /// Whether it must not be passed over.
    pub critical: bool,
    /// Content of its value.
    pub value: &'a [u8],
}

/// Basic constraints.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Constraints {
    /// Whether it may issue.
    pub issuer: bool,
    /// How many issuers may follow.
    pub below: Option<u64>,
}

/// Extended key usage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Purposes<'a> {
    /// Whether it must not be passed over.
    pub critical: bool,
    /// Contents of the object identifiers.
    pub list: Vec<&'a [u8]>,
}

impl<'a> Certificate<'a> {
    /// Reads a certificate, all of the bytes.
    ///
    /// # Errors
    /// Why the bytes are none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_CERTIFICATE_BYTES {
            return Err(CertificateError::TooLarge {
                what: "a certificate",
                found: bytes.len(),
                limit: MAX_CERTIFICATE_BYTES,
            });
        }
        let mut r = Reader::new(bytes);
        let certificate = Self::of(r.expect(SEQUENCE, "Certificate")?)?;
        r.end("Certificate")?;
        Ok(certificate)
    }

    /// Reads a certificate that stands in something.
    ///
    /// # Errors
    /// Why it is none.
    pub fn of(element: Element<'a>) -> Result<Self, CertificateError> {
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
            return Err(CertificateError::Version {
                field: "TBSCertificate.version",
                found,
                expected: 2,
            });
        }
        let serial = r.expect(INTEGER, "TBSCertificate.serialNumber")?.whole;
        let named = Identifier::read(&mut r, "TBSCertificate.signature")?;
        if named.whole != algorithm.whole {
            return Err(CertificateError::TwoAlgorithms("a certificate's signature"));
        }
        let issuer = r.expect(SEQUENCE, "TBSCertificate.issuer")?.whole;
        let mut validity = r.sequence("TBSCertificate.validity")?;
        let from = certificate_time(&mut validity, "Validity.notBefore")?;
        let last = certificate_time(&mut validity, "Validity.notAfter")?;
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
            validity: Validity {
                from,
                // The last second of a certificate's time is one whole second.
                until: last.saturating_add(999),
            },
            key,
            algorithm,
            signature,
            extensions,
        })
    }

    /// All of its bytes.
    #[must_use]
    pub fn whole(&self) -> &'a [u8] {
        self.whole
    }

    /// Its serial number, tag and length too. Chips' certificates of one vendor all have the number 0.
    #[must_use]
    pub fn serial(&self) -> &'a [u8] {
        self.serial
    }

    /// Name of its issuer, tag and length too.
    #[must_use]
    pub fn issuer(&self) -> &'a [u8] {
        self.issuer
    }

    /// Its own name, tag and length too.
    #[must_use]
    pub fn subject(&self) -> &'a [u8] {
        self.subject
    }

    /// The value of a part of its own name, such as the common name (2.5.4.3), if it stands there once.
    #[must_use]
    pub fn named(&self, oid: &[u8]) -> Option<&'a [u8]> {
        let mut outer = Reader::new(self.subject);
        let mut sets = outer.sequence("Name").ok()?;
        let mut found = None;
        while !sets.is_empty() {
            let mut set = sets.expect(SET, "RelativeDistinguishedName").ok()?.inside();
            while !set.is_empty() {
                let mut pair = set.sequence("AttributeTypeAndValue").ok()?;
                let kind = pair.oid("type").ok()?;
                let value = pair.any("value").ok()?;
                if kind == oid && found.replace(value.content).is_some() {
                    return None;
                }
            }
        }
        found
    }

    /// When it is valid.
    #[must_use]
    pub fn validity(&self) -> Validity {
        self.validity
    }

    /// Its `SubjectPublicKeyInfo`, tag and length too: what pins are over.
    #[must_use]
    pub fn spki(&self) -> &'a [u8] {
        self.key.whole
    }

    /// What its known extensions say.
    #[must_use]
    pub fn extensions(&self) -> &Extensions<'a> {
        &self.extensions
    }

    /// An extension that is not among the known ones, by the content of its object identifier.
    #[must_use]
    pub fn extension(&self, oid: &[u8]) -> Option<Extension<'a>> {
        self.extensions
            .others
            .iter()
            .find(|e| e.oid == oid)
            .copied()
    }

    /// Whether an extension is critical that is neither read here nor one of these, by the contents of their
    /// object identifiers: whoever reads those himself asks by this, not by `unknown_critical`.
    #[must_use]
    pub fn critical_besides(&self, known: &[&[u8]]) -> bool {
        self.extensions
            .others
            .iter()
            .any(|e| e.critical && !known.contains(&e.oid))
    }

    /// Its key.
    ///
    /// # Errors
    /// Why it is not accepted.
    pub fn key(&self, whose: &'static str) -> Result<Key, CertificateError> {
        Key::parse(&self.key, whose)
    }

    /// Whether it is valid at that time.
    ///
    /// # Errors
    /// If it is not.
    pub fn valid(&self, at: u64, whose: &'static str) -> Result<(), CertificateError> {
        let Validity { from, until } = self.validity;
        if from <= at && at <= until {
            Ok(())
        } else {
            Err(CertificateError::Validity {
                whose,
                from,
                until,
                at,
            })
        }
    }

    /// Whether this is a certificate that may issue others at all.
    ///
    /// # Errors
    /// Why it may not.
    pub fn is_issuer(&self) -> Result<(), CertificateError> {
        let extensions = &self.extensions;
        if extensions.unknown_critical {
            return Err(CertificateError::CriticalExtension(
                "an issuer's certificate",
            ));
        }
        let why = if !extensions.constraints.as_ref().is_some_and(|c| c.issuer) {
            Some("it is not of an issuer")
        } else if extensions
            .usage
            .is_some_and(|u| u & usage::CERTIFICATES == 0)
        {
            Some("its key is not for certificates")
        } else {
            None
        };
        why.map_or(Ok(()), |why| Err(CertificateError::Issuer(why)))
    }

    /// Whether its key may sign revocation lists. Some vendors' roots sign theirs although their key usage
    /// speaks of certificates alone, so that is enough.
    pub(crate) fn may_sign_lists(&self) -> Result<(), CertificateError> {
        let fits = |u: u8| u & (usage::LISTS | usage::CERTIFICATES) != 0;
        if self.extensions.usage.is_none_or(fits) {
            Ok(())
        } else {
            Err(CertificateError::Issuer("its key is not for lists"))
        }
    }

    /// Whether this one may issue, with so many issuers between it and the last of the chain, and whether it did issue
    /// `subject`: name and signature. No time is looked at.
    ///
    /// # Errors
    /// Why it may not, or did not.
    pub fn issued(&self, subject: &Certificate<'_>, below: u64) -> Result<(), CertificateError> {
        self.is_issuer()?;
        let limit = self.extensions.constraints.as_ref().and_then(|c| c.below);
        if limit.is_some_and(|limit| below > limit) {
            return Err(CertificateError::Issuer(
                "more issuers follow than it allows",
            ));
        }
        if subject.issuer != self.subject {
            return Err(CertificateError::IssuerName("a certificate"));
        }
        self.signed(
            &subject.algorithm,
            subject.tbs,
            subject.signature,
            "a certificate",
        )
    }

    /// Whether its key made this signature.
    pub(crate) fn signed(
        &self,
        algorithm: &Identifier<'_>,
        message: &[u8],
        signature: &[u8],
        what: &'static str,
    ) -> Result<(), CertificateError> {
        let scheme = Scheme::of(algorithm, "a certificate's signature algorithm")?;
        let signed = Signed { message, signature };
        self.key("an issuer")?.verify(scheme, &signed, what)
    }
}

impl<'a> Extensions<'a> {
    fn of(element: Element<'a>) -> Result<Self, CertificateError> {
        let mut outer = element.inside();
        let mut list = outer.sequence("Extensions")?;
        outer.end("Extensions")?;
        let mut out = Self::default();
        let mut seen: Vec<&[u8]> = Vec::new();
        while !list.is_empty() {
            let extension = read_extension(&mut list)?;
            let Extension {
                oid,
                critical,
                value,
            } = extension;
            if seen.contains(&oid) {
                return Err(CertificateError::ExtensionTwice("a certificate"));
            }
            if seen.len() >= MAX_EXTENSIONS {
                return Err(CertificateError::Extensions {
                    limit: MAX_EXTENSIONS,
                });
            }
            seen.push(oid);
            let mut value = Reader::new(value);
            match oid {
                SUBJECT_KEY_ID => out.key_id = Some(value.octets("SubjectKeyIdentifier")?),
                KEY_USAGE => {
                    let (first, decipher_only) = key_usage(&mut value)?;
                    out.usage = Some(first);
                    out.decipher_only = decipher_only;
                }
                BASIC_CONSTRAINTS => out.constraints = Some(Constraints::of(&mut value)?),
                EXTENDED_KEY_USAGE => {
                    out.purposes = Some(Purposes {
                        critical,
                        list: purposes(&mut value)?,
                    });
                }
                _ => {
                    out.unknown_critical |= critical;
                    out.others.push(extension);
                    continue;
                }
            }
            value.end("Extension.extnValue")?;
        }
        Ok(out)
    }
}

/// One extension of a certificate, a list, or an entry of a list.
pub(crate) fn read_extension<'a>(list: &mut Reader<'a>) -> Result<Extension<'a>, DerError> {
    let mut r = list.sequence("Extension")?;
    let oid = r.oid("Extension.extnID")?;
    let critical = match r.optional(BOOLEAN, "Extension.critical")? {
        Some(element) => boolean(element, "Extension.critical")?,
        None => false,
    };
    let value = r.octets("Extension.extnValue")?;
    r.end("Extension")?;
    Ok(Extension {
        oid,
        critical,
        value,
    })
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

/// The first byte of the bits, and whether the ninth is there.
fn key_usage(r: &mut Reader<'_>) -> Result<(u8, bool), DerError> {
    let element = r.expect(BIT_STRING, "KeyUsage")?;
    match element.content {
        [unused @ 0..=7, first] if first.trailing_zeros() >= u32::from(*unused) => {
            Ok((*first, false))
        }
        [unused @ 0..=7, first, second] if second.trailing_zeros() >= u32::from(*unused) => {
            Ok((*first, second & 0x80 != 0))
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
