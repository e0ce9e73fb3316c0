//! A timestamp token: CMS SignedData of one signer over a TSTInfo.
//!
//! In: DER. Out: a [`Token`], which claims nothing, and from it [`Stamped`]. The steps of
//! [`Token::verify`] are those of `docs/spec/timestamp.md`, "Verification", by their numbers.
//!
//! Spec: RFC 3161 2.4.2, RFC 5652 5, RFC 5816.

use crate::authority::Authority;
use crate::chain::root_of;
use crate::error::TimestampError;
use crate::purpose::may_stamp;
use countersign_certificates::algorithm::{Hash, Identifier, SHA256, Scheme, Signed};
use countersign_certificates::der::{
    BOOLEAN, Element, GENERALIZED_TIME, INTEGER, OCTET_STRING, Reader, SEQUENCE, SET, boolean,
    magnitude, number,
};
use countersign_certificates::time::token_time;
use countersign_certificates::{Certificate, CertificateError};

/// Longest token that is read, in bytes (64 KiB). Those of public authorities have 2 to 8 KiB, most of it certificates.
pub const MAX_TOKEN_BYTES: usize = 64 * 1024;

/// Most certificates of a token. Ways have four at most; the rest is room for cross-signed ones.
const MAX_CERTIFICATES: usize = 8;

/// 1.2.840.113549.1.7.2
const SIGNED_DATA: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x02";
/// 1.2.840.113549.1.9.16.1.4, id-ct-TSTInfo
const TST_INFO: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x01\x04";
/// 1.2.840.113549.1.9.3
const CONTENT_TYPE: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x03";
/// 1.2.840.113549.1.9.4
const MESSAGE_DIGEST: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x04";
/// 1.2.840.113549.1.9.16.2.47
const SIGNING_CERTIFICATE_V2: &[u8] = b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x10\x02\x2f";

/// What a token is over: SHA-256 of the bytes that were stamped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Imprint(pub [u8; 32]);

/// A token whose signature is not verified yet.
#[derive(Debug, Clone)]
pub struct Token<'a> {
    /// The bytes of the TSTInfo, which the signed attributes hold the digest of.
    content: &'a [u8],
    info: Info<'a>,
    certificates: Vec<Certificate<'a>>,
    signer: Signer<'a>,
}

/// What an authority said, verified. Only [`Token::verify`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamped {
    authority: usize,
    at_ms: u64,
    accuracy_ms: u64,
    serial: Vec<u8>,
}

impl Stamped {
    /// Place of the authority among those that were given.
    #[must_use]
    pub fn authority(&self) -> usize {
        self.authority
    }

    /// When, in milliseconds since 1970.
    #[must_use]
    pub fn at_ms(&self) -> u64 {
        self.at_ms
    }

    /// The latest time that the token leaves open, in milliseconds since 1970: what was stamped existed before it.
    #[must_use]
    pub fn latest_ms(&self) -> u64 {
        self.at_ms.saturating_add(self.accuracy_ms)
    }

    /// The authority's number of the token, big-endian.
    #[must_use]
    pub fn serial(&self) -> &[u8] {
        &self.serial
    }
}

#[derive(Debug, Clone)]
struct Info<'a> {
    imprint: [u8; 32],
    serial: &'a [u8],
    at_ms: u64,
    accuracy_ms: u64,
    nonce: Option<&'a [u8]>,
}

#[derive(Debug, Clone)]
struct Signer<'a> {
    id: SignerId<'a>,
    digest: Identifier<'a>,
    /// The signed attributes with the tag that they have in the token.
    attributes: &'a [u8],
    content_type: Element<'a>,
    message_digest: Element<'a>,
    signing_certificate: Element<'a>,
    algorithm: Identifier<'a>,
    signature: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
enum SignerId<'a> {
    IssuerAndSerial { issuer: &'a [u8], serial: &'a [u8] },
    KeyId(&'a [u8]),
}

impl SignerId<'_> {
    fn names(&self, certificate: &Certificate<'_>) -> bool {
        match self {
            Self::IssuerAndSerial { issuer, serial } => {
                certificate.issuer() == *issuer && certificate.serial() == *serial
            }
            Self::KeyId(id) => certificate.extensions().key_id == Some(*id),
        }
    }
}

impl<'a> Token<'a> {
    /// Reads a token, all of the bytes.
    ///
    /// # Errors
    /// Why the bytes are none.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TimestampError> {
        if bytes.len() > MAX_TOKEN_BYTES {
            return Err(TimestampError::TooLarge { found: bytes.len() });
        }
        let mut outer = Reader::new(bytes);
        let mut r = outer.sequence("ContentInfo")?;
        outer.end("ContentInfo")?;
        if r.oid("ContentInfo.contentType")? != SIGNED_DATA {
            return Err(TimestampError::Kind("ContentInfo.contentType"));
        }
        let mut explicit = r.expect(0xa0, "ContentInfo.content")?.inside();
        r.end("ContentInfo")?;
        let mut r = explicit.sequence("SignedData")?;
        explicit.end("ContentInfo.content")?;

        version(&mut r, "SignedData.version", 3)?;
        let mut digests = r.expect(SET, "SignedData.digestAlgorithms")?.inside();
        while !digests.is_empty() {
            Identifier::read(&mut digests, "SignedData.digestAlgorithms")?;
        }
        let content = content(&mut r)?;
        let certificates = certificates(&mut r)?;
        r.optional(0xa1, "SignedData.crls")?;
        let mut signers = r.expect(SET, "SignedData.signerInfos")?.inside();
        r.end("SignedData")?;
        let mut found = Vec::new();
        while !signers.is_empty() {
            found.push(signers.expect(SEQUENCE, "SignerInfo")?);
        }
        let [signer] = found.as_slice() else {
            return Err(TimestampError::Signers { found: found.len() });
        };
        Ok(Self {
            content,
            info: Info::parse(content)?,
            certificates,
            signer: Signer::of(*signer)?,
        })
    }

    /// What it says it is over.
    #[must_use]
    pub fn imprint(&self) -> Imprint {
        Imprint(self.info.imprint)
    }

    /// The number that whoever asked for it chose, big-endian without leading zeros, if it has one.
    #[must_use]
    pub fn nonce(&self) -> Option<&'a [u8]> {
        self.info.nonce
    }

    /// Whether one of the authorities stamped this imprint, and when.
    ///
    /// # Errors
    /// [`TimestampError::NobodyKnown`] if it is of somebody else; otherwise why it does not hold.
    pub fn verify(
        &self,
        over: Imprint,
        authorities: &[Authority],
    ) -> Result<Stamped, TimestampError> {
        // 1: it is over what was to be stamped.
        if self.info.imprint != over.0 {
            return Err(TimestampError::Imprint);
        }
        // 2: the signer's certificate came with it.
        let signer = self
            .certificates
            .iter()
            .find(|c| self.signer.id.names(c))
            .ok_or(TimestampError::NoSigner)?;
        // 3: issuers lead from there to a pinned root.
        let at = self.info.at_ms;
        let authority = root_of(signer, &self.certificates, authorities, at)?;
        // 4: it is for timestamps alone.
        may_stamp(signer, at)?;
        // 5: the signed attributes are about this content and this certificate.
        let digest = Hash::of(&self.signer.digest, "the token's digest")?;
        self.signer.is_about(self.content, signer, digest)?;
        // 6: the signer signed them.
        let scheme = Scheme::of_signer(&self.signer.algorithm, digest)?;
        let message = self.signer.message();
        let signed = Signed {
            message: &message,
            signature: self.signer.signature,
        };
        signer
            .key("the signer")?
            .verify(scheme, &signed, "the token")?;
        Ok(Stamped {
            authority,
            at_ms: at,
            accuracy_ms: self.info.accuracy_ms,
            serial: self.info.serial.to_vec(),
        })
    }
}

/// The bytes of the TSTInfo.
fn content<'a>(r: &mut Reader<'a>) -> Result<&'a [u8], TimestampError> {
    let mut inside = r.sequence("EncapsulatedContentInfo")?;
    if inside.oid("eContentType")? != TST_INFO {
        return Err(TimestampError::Kind("eContentType"));
    }
    let mut explicit = inside.expect(0xa0, "eContent")?.inside();
    inside.end("EncapsulatedContentInfo")?;
    let content = explicit.octets("eContent")?;
    explicit.end("eContent")?;
    Ok(content)
}

fn certificates<'a>(r: &mut Reader<'a>) -> Result<Vec<Certificate<'a>>, TimestampError> {
    let mut out = Vec::new();
    let Some(set) = r.optional(0xa0, "SignedData.certificates")? else {
        return Ok(out);
    };
    let mut set = set.inside();
    while !set.is_empty() {
        if out.len() >= MAX_CERTIFICATES {
            return Err(TimestampError::Certificates {
                found: out.len().saturating_add(1),
                limit: MAX_CERTIFICATES,
            });
        }
        out.push(Certificate::of(set.expect(SEQUENCE, "Certificate")?)?);
    }
    Ok(out)
}

fn version(r: &mut Reader<'_>, field: &'static str, expected: u64) -> Result<(), TimestampError> {
    let found = r.number(field)?;
    if found == expected {
        Ok(())
    } else {
        Err(TimestampError::Version {
            field,
            found,
            expected,
        })
    }
}

impl<'a> Info<'a> {
    fn parse(bytes: &'a [u8]) -> Result<Self, TimestampError> {
        let mut outer = Reader::new(bytes);
        let mut r = outer.sequence("TSTInfo")?;
        outer.end("TSTInfo")?;
        version(&mut r, "TSTInfo.version", 1)?;
        r.oid("TSTInfo.policy")?;
        let mut imprint = r.sequence("TSTInfo.messageImprint")?;
        let algorithm = Identifier::read(&mut imprint, "MessageImprint.hashAlgorithm")?;
        if Hash::of(&algorithm, "the digest of the message imprint")? != Hash::Sha256 {
            return Err(CertificateError::Algorithm("the digest of the message imprint").into());
        }
        let hashed = imprint.expect(OCTET_STRING, "MessageImprint.hashedMessage")?;
        imprint.end("TSTInfo.messageImprint")?;
        let imprint = <[u8; 32]>::try_from(hashed.content)
            .map_err(|_| hashed.wrong("MessageImprint.hashedMessage"))?;
        let serial = r.unsigned("TSTInfo.serialNumber")?;
        let time = r.expect(GENERALIZED_TIME, "TSTInfo.genTime")?;
        let at_ms = token_time(time, "TSTInfo.genTime")?;
        let accuracy_ms = match r.optional(SEQUENCE, "TSTInfo.accuracy")? {
            Some(element) => accuracy(element)?,
            None => 0,
        };
        if let Some(element) = r.optional(BOOLEAN, "TSTInfo.ordering")? {
            boolean(element, "TSTInfo.ordering")?;
        }
        let nonce = match r.optional(INTEGER, "TSTInfo.nonce")? {
            Some(element) => Some(magnitude(element, "TSTInfo.nonce")?),
            None => None,
        };
        r.optional(0xa0, "TSTInfo.tsa")?;
        if let Some(element) = r.optional(0xa1, "TSTInfo.extensions")? {
            no_critical(element)?;
        }
        r.end("TSTInfo")?;
        Ok(Self {
            imprint,
            serial,
            at_ms,
            accuracy_ms,
            nonce,
        })
    }
}

/// Milliseconds, rounded up.
fn accuracy(element: Element<'_>) -> Result<u64, countersign_certificates::DerError> {
    let mut r = element.inside();
    let seconds = match r.optional(INTEGER, "Accuracy.seconds")? {
        Some(element) => number(element, "Accuracy.seconds")?,
        None => 0,
    };
    let mut part = |tag, field| match r.optional(tag, field)? {
        None => Ok(0),
        Some(element) => Some(number(element, field)?)
            .filter(|n| (1..=999).contains(n))
            .ok_or(element.wrong(field)),
    };
    let millis = part(0x80, "Accuracy.millis")?;
    let micros = part(0x81, "Accuracy.micros")?;
    r.end("TSTInfo.accuracy")?;
    Ok(seconds
        .saturating_mul(1000)
        .saturating_add(millis)
        .saturating_add(micros.div_ceil(1000)))
}

/// Extensions of a token: none is known here, so none may be critical.
fn no_critical(element: Element<'_>) -> Result<(), TimestampError> {
    let mut list = element.inside();
    while !list.is_empty() {
        let mut r = list.sequence("Extension")?;
        r.oid("Extension.extnID")?;
        let critical = match r.optional(BOOLEAN, "Extension.critical")? {
            Some(element) => boolean(element, "Extension.critical")?,
            None => false,
        };
        r.octets("Extension.extnValue")?;
        r.end("Extension")?;
        if critical {
            return Err(TimestampError::CriticalExtension("the token"));
        }
    }
    Ok(())
}

impl<'a> Signer<'a> {
    fn of(element: Element<'a>) -> Result<Self, TimestampError> {
        let mut r = element.inside();
        let said = r.number("SignerInfo.version")?;
        let (id, expected) = match r.optional(0x80, "SignerInfo.sid")? {
            Some(key_id) => (SignerId::KeyId(key_id.content), 3),
            None => {
                let mut sid = r.sequence("SignerInfo.sid")?;
                let issuer = sid.expect(SEQUENCE, "IssuerAndSerialNumber.issuer")?.whole;
                let serial = sid.expect(INTEGER, "IssuerAndSerialNumber.serialNumber")?;
                sid.end("SignerInfo.sid")?;
                let serial = serial.whole;
                (SignerId::IssuerAndSerial { issuer, serial }, 1)
            }
        };
        if said != expected {
            return Err(TimestampError::Version {
                field: "SignerInfo.version",
                found: said,
                expected,
            });
        }
        let digest = Identifier::read(&mut r, "SignerInfo.digestAlgorithm")?;
        let attributes = r.expect(0xa0, "SignerInfo.signedAttrs")?;
        let algorithm = Identifier::read(&mut r, "SignerInfo.signatureAlgorithm")?;
        let signature = r.octets("SignerInfo.signature")?;
        // Nobody signs these; they change nothing.
        r.optional(0xa1, "SignerInfo.unsignedAttrs")?;
        r.end("SignerInfo")?;
        let list = attribute_list(attributes)?;
        Ok(Self {
            id,
            digest,
            attributes: attributes.whole,
            content_type: attribute(&list, CONTENT_TYPE, "content-type")?,
            message_digest: attribute(&list, MESSAGE_DIGEST, "message-digest")?,
            signing_certificate: attribute(
                &list,
                SIGNING_CERTIFICATE_V2,
                "signing-certificate-v2",
            )?,
            algorithm,
            signature,
        })
    }

    /// What is signed: the attributes as they arrived, under the tag of a SET.
    ///
    /// SPEC: RFC 5652 5.4.
    fn message(&self) -> Vec<u8> {
        let rest = self.attributes.get(1..).unwrap_or_default();
        [&[SET], rest].concat()
    }

    fn is_about(
        &self,
        content: &[u8],
        certificate: &Certificate<'_>,
        digest: Hash,
    ) -> Result<(), TimestampError> {
        let mut value = Reader::new(self.content_type.whole);
        if value.oid("ContentType")? != TST_INFO {
            return Err(TimestampError::Kind("signed attribute content-type"));
        }
        let mut value = Reader::new(self.message_digest.whole);
        if value.octets("MessageDigest")? != digest.digest(content) {
            return Err(TimestampError::ContentDigest);
        }
        // SPEC: RFC 5816 2.2.1: the first is the signer's, by SHA-256 unless it says otherwise.
        let mut value = Reader::new(self.signing_certificate.whole);
        let mut r = value.sequence("SigningCertificateV2")?;
        let mut ids = r.sequence("SigningCertificateV2.certs")?;
        let mut id = ids.sequence("ESSCertIDv2")?;
        let named = id.clone();
        let hash = match id.optional(SEQUENCE, "ESSCertIDv2.hashAlgorithm")? {
            None => Hash::Sha256,
            Some(_) => {
                let mut id = named;
                let identifier = Identifier::read(&mut id, "ESSCertIDv2.hashAlgorithm")?;
                Hash::of(&identifier, "the digest of signing-certificate-v2")?
            }
        };
        if id.octets("ESSCertIDv2.certHash")? == hash.digest(certificate.whole()) {
            Ok(())
        } else {
            Err(TimestampError::SigningCertificate)
        }
    }
}

/// Names and sets of values of signed attributes.
fn attribute_list(attributes: Element<'_>) -> Result<Vec<(&[u8], Element<'_>)>, TimestampError> {
    let mut r = attributes.inside();
    let mut list: Vec<(&[u8], Element<'_>)> = Vec::new();
    while !r.is_empty() {
        let mut inside = r.sequence("Attribute")?;
        let name = inside.oid("Attribute.attrType")?;
        let values = inside.expect(SET, "Attribute.attrValues")?;
        inside.end("Attribute")?;
        list.push((name, values));
    }
    Ok(list)
}

/// The one value of an attribute that has to stand there once.
fn attribute<'a>(
    list: &[(&[u8], Element<'a>)],
    oid: &[u8],
    name: &'static str,
) -> Result<Element<'a>, TimestampError> {
    let mut found = list.iter().filter(|(n, _)| *n == oid);
    let Some((_, values)) = found.next() else {
        return Err(TimestampError::NoAttribute(name));
    };
    let mut values = values.inside();
    let value = values
        .any(name)
        .map_err(|_| TimestampError::AttributeTwice(name))?;
    if found.next().is_some() || !values.is_empty() {
        return Err(TimestampError::AttributeTwice(name));
    }
    Ok(value)
}

/// The DER of a `SHA-256` identifier, as requests have it.
pub(crate) fn sha256_identifier() -> Vec<u8> {
    [&[SEQUENCE, 0x0d, 0x06, 0x09], SHA256, &[0x05, 0x00]].concat()
}
