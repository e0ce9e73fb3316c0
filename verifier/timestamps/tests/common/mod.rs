//! A small authority in test code: makes certificates and tokens with real signatures, so that tests can
//! change one thing at a time. The tests of the verifier use it too.

#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    unreachable_pub,
    reason = "test support, shared by several test programs that each use a part"
)]

use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};
use sha2::{Digest as _, Sha256};

pub const SHA256: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 1];
pub const SHA384: &[u64] = &[2, 16, 840, 1, 101, 3, 4, 2, 2];
pub const ECDSA_SHA256: &[u64] = &[1, 2, 840, 10045, 4, 3, 2];
pub const ECDSA_SHA384: &[u64] = &[1, 2, 840, 10045, 4, 3, 3];
pub const ECDSA_SHA1: &[u64] = &[1, 2, 840, 10045, 4, 1];
pub const EC: &[u64] = &[1, 2, 840, 10045, 2, 1];
pub const P256: &[u64] = &[1, 2, 840, 10045, 3, 1, 7];
pub const SIGNED_DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 2];
pub const DATA: &[u64] = &[1, 2, 840, 113549, 1, 7, 1];
pub const TST_INFO: &[u64] = &[1, 2, 840, 113549, 1, 9, 16, 1, 4];
pub const CONTENT_TYPE: &[u64] = &[1, 2, 840, 113549, 1, 9, 3];
pub const MESSAGE_DIGEST: &[u64] = &[1, 2, 840, 113549, 1, 9, 4];
pub const SIGNING_CERTIFICATE: &[u64] = &[1, 2, 840, 113549, 1, 9, 16, 2, 47];
pub const TIME_STAMPING: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 8];
pub const CODE_SIGNING: &[u64] = &[1, 3, 6, 1, 5, 5, 7, 3, 3];
pub const KEY_ID: &[u64] = &[2, 5, 29, 14];
pub const KEY_USAGE: &[u64] = &[2, 5, 29, 15];
pub const CONSTRAINTS: &[u64] = &[2, 5, 29, 19];
pub const NAME_CONSTRAINTS: &[u64] = &[2, 5, 29, 30];
pub const PURPOSES: &[u64] = &[2, 5, 29, 37];

// ---- DER ---------------------------------------------------------------------------------

pub fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len();
    let head = match length {
        0..=0x7f => vec![tag, u8::try_from(length).unwrap()],
        0x80..=0xff => vec![tag, 0x81, u8::try_from(length).unwrap()],
        _ => {
            let [high, low] = u16::try_from(length).unwrap().to_be_bytes();
            vec![tag, 0x82, high, low]
        }
    };
    [head.as_slice(), content].concat()
}

pub fn seq(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x30, &parts.concat())
}

pub fn set(parts: &[Vec<u8>]) -> Vec<u8> {
    tlv(0x31, &parts.concat())
}

pub fn oid(arcs: &[u64]) -> Vec<u8> {
    let mut content = vec![u8::try_from(arcs[0].wrapping_mul(40).wrapping_add(arcs[1])).unwrap()];
    for arc in &arcs[2..] {
        let mut bytes = vec![u8::try_from(arc & 0x7f).unwrap()];
        let mut rest = arc >> 7;
        while rest > 0 {
            bytes.insert(0, u8::try_from(rest & 0x7f).unwrap() | 0x80);
            rest >>= 7;
        }
        content.extend(bytes);
    }
    tlv(0x06, &content)
}

pub fn int(value: u8) -> Vec<u8> {
    assert!(value < 0x80);
    tlv(0x02, &[value])
}

pub fn octets(content: &[u8]) -> Vec<u8> {
    tlv(0x04, content)
}

pub fn bits(content: &[u8]) -> Vec<u8> {
    tlv(0x03, &[&[0], content].concat())
}

/// A digest's identifier, with NULL.
pub fn digest_id(arcs: &[u64]) -> Vec<u8> {
    seq(&[oid(arcs), vec![0x05, 0x00]])
}

pub fn name(text: &str) -> Vec<u8> {
    let common_name = seq(&[oid(&[2, 5, 4, 3]), tlv(0x0c, text.as_bytes())]);
    seq(&[set(&[common_name])])
}

pub fn time(text: &str) -> Vec<u8> {
    tlv(0x18, text.as_bytes())
}

// ---- keys and certificates ---------------------------------------------------------------

pub fn key(seed: u8) -> SigningKey {
    SigningKey::from_slice(&[seed; 32]).unwrap()
}

pub fn point(seed: u8) -> Vec<u8> {
    key(seed)
        .verifying_key()
        .to_sec1_point(false)
        .as_bytes()
        .to_vec()
}

pub fn sign(seed: u8, message: &[u8]) -> Vec<u8> {
    let signature: Signature = key(seed).sign_prehash(&Sha256::digest(message)).unwrap();
    let raw = signature.to_bytes();
    let number = |bytes: &[u8]| {
        let zeros = bytes.iter().take_while(|b| **b == 0).count();
        let sign: &[u8] = if bytes[zeros] >= 0x80 { &[0] } else { &[] };
        tlv(0x02, &[sign, &bytes[zeros..]].concat())
    };
    seq(&[number(&raw[..32]), number(&raw[32..])])
}

#[derive(Clone)]
pub struct Extension {
    pub id: &'static [u64],
    pub critical: bool,
    pub value: Vec<u8>,
}

pub fn extension(id: &'static [u64], critical: bool, value: Vec<u8>) -> Extension {
    Extension {
        id,
        critical,
        value,
    }
}

/// A certificate before it is signed.
#[derive(Clone)]
pub struct Certificate {
    pub version: u8,
    pub serial: u8,
    pub subject: &'static str,
    pub issuer: &'static str,
    pub from: &'static str,
    pub until: &'static str,
    /// Seeds of its key and of its issuer's.
    pub key: u8,
    pub by: u8,
    pub key_info: Vec<u8>,
    pub algorithm: &'static [u64],
    /// What stands outside of what is signed; `algorithm` if nothing else.
    pub outer_algorithm: &'static [u64],
    pub extensions: Vec<Extension>,
}

pub fn certificate(subject: &'static str, issuer: &'static str, key: u8, by: u8) -> Certificate {
    Certificate {
        version: 2,
        serial: key,
        subject,
        issuer,
        from: "20260101000000Z",
        until: "20360101000000Z",
        key,
        by,
        key_info: seq(&[seq(&[oid(EC), oid(P256)]), bits(&point(key))]),
        algorithm: ECDSA_SHA256,
        outer_algorithm: ECDSA_SHA256,
        extensions: vec![extension(KEY_ID, false, octets(&[key; 20]))],
    }
}

pub fn issuer(subject: &'static str, by: &'static str, key: u8, seed: u8) -> Certificate {
    let mut out = certificate(subject, by, key, seed);
    let constraints = seq(&[tlv(0x01, &[0xff])]);
    out.extensions
        .push(extension(CONSTRAINTS, true, constraints));
    // keyCertSign and cRLSign.
    out.extensions
        .push(extension(KEY_USAGE, true, tlv(0x03, &[1, 0x06])));
    out
}

pub fn stamper(subject: &'static str, by: &'static str, key: u8, seed: u8) -> Certificate {
    let mut out = certificate(subject, by, key, seed);
    out.extensions
        .push(extension(PURPOSES, true, seq(&[oid(TIME_STAMPING)])));
    out.extensions
        .push(extension(KEY_USAGE, true, tlv(0x03, &[7, 0x80])));
    out
}

impl Certificate {
    pub fn extension(&mut self, id: &[u64]) -> &mut Extension {
        self.extensions.iter_mut().find(|e| e.id == id).unwrap()
    }

    pub fn without(&mut self, id: &[u64]) {
        self.extensions.retain(|e| e.id != id);
    }

    pub fn serial(&self) -> Vec<u8> {
        int(self.serial)
    }

    pub fn der(&self) -> Vec<u8> {
        let extensions: Vec<_> = self
            .extensions
            .iter()
            .map(|e| {
                let critical = if e.critical {
                    tlv(0x01, &[0xff])
                } else {
                    vec![]
                };
                seq(&[oid(e.id), critical, octets(&e.value)])
            })
            .collect();
        let tbs = seq(&[
            tlv(0xa0, &int(self.version)),
            self.serial(),
            seq(&[oid(self.algorithm)]),
            name(self.issuer),
            seq(&[time(self.from), time(self.until)]),
            name(self.subject),
            self.key_info.clone(),
            tlv(0xa3, &seq(&extensions)),
        ]);
        let signature = bits(&sign(self.by, &tbs));
        seq(&[tbs, seq(&[oid(self.outer_algorithm)]), signature])
    }
}

// ---- tokens ------------------------------------------------------------------------------

pub const ROOT: u8 = 1;
pub const SIGNER: u8 = 3;

#[derive(Clone, PartialEq)]
pub struct Attribute {
    pub id: &'static [u64],
    pub values: Vec<Vec<u8>>,
}

/// How the signer is named in the token.
#[derive(Clone, Copy, PartialEq)]
pub enum NamedBy {
    IssuerAndSerial,
    KeyId,
}

/// A token before it is made.
#[derive(Clone)]
pub struct Forge {
    pub root: Certificate,
    pub issuers: Vec<Certificate>,
    pub signer: Certificate,
    /// Whether the signer's certificate comes along.
    pub with_signer: bool,
    pub extra: Vec<Vec<u8>>,
    pub version: u8,
    pub info_version: u8,
    pub imprint: Vec<u8>,
    pub time: String,
    pub accuracy: Vec<u8>,
    pub nonce: Vec<u8>,
    pub info_extensions: Vec<u8>,
    /// What stands among the digests of the whole; the signer's if nothing else.
    pub digests: Option<Vec<u8>>,
    pub content_kind: &'static [u64],
    pub named_by: NamedBy,
    pub signer_version: u8,
    pub digest: Vec<u8>,
    pub algorithm: Vec<u8>,
    /// Seed of the key that signs.
    pub signs: u8,
    pub signers: usize,
}

impl Forge {
    /// A good token over an imprint, at a time such as `20260304050607Z`.
    pub fn new(imprint: [u8; 32], time: &str) -> Self {
        Self {
            root: issuer("root", "root", ROOT, ROOT),
            issuers: vec![],
            signer: stamper("stamper", "root", SIGNER, ROOT),
            with_signer: true,
            extra: vec![],
            version: 3,
            info_version: 1,
            imprint: imprint.to_vec(),
            time: time.to_owned(),
            accuracy: vec![],
            nonce: vec![],
            info_extensions: vec![],
            digests: None,
            content_kind: TST_INFO,
            named_by: NamedBy::IssuerAndSerial,
            signer_version: 1,
            digest: digest_id(SHA256),
            algorithm: seq(&[oid(ECDSA_SHA256)]),
            signs: SIGNER,
            signers: 1,
        }
    }

    /// The TSTInfo.
    pub fn content(&self) -> Vec<u8> {
        seq(&[
            int(self.info_version),
            oid(&[1, 2, 3, 4]),
            seq(&[digest_id(SHA256), octets(&self.imprint)]),
            int(77),
            tlv(0x18, self.time.as_bytes()),
            self.accuracy.clone(),
            self.nonce.clone(),
            self.info_extensions.clone(),
        ])
    }

    /// The signed attributes that belong to a content.
    pub fn attributes(&self, content: &[u8]) -> Vec<Attribute> {
        let digest = Sha256::digest(self.signer.der());
        let id = seq(&[octets(&digest)]);
        vec![
            Attribute {
                id: CONTENT_TYPE,
                values: vec![oid(TST_INFO)],
            },
            Attribute {
                id: MESSAGE_DIGEST,
                values: vec![octets(&Sha256::digest(content))],
            },
            Attribute {
                id: SIGNING_CERTIFICATE,
                values: vec![seq(&[seq(&[id])])],
            },
        ]
    }

    /// The token.
    pub fn token(&self) -> Vec<u8> {
        let content = self.content();
        let attributes = self.attributes(&content);
        self.token_of(&content, &attributes)
    }

    /// The token, signed over these attributes, whatever they say.
    pub fn token_of(&self, content: &[u8], attributes: &[Attribute]) -> Vec<u8> {
        let list: Vec<u8> = attributes
            .iter()
            .flat_map(|a| seq(&[oid(a.id), set(&a.values)]))
            .collect();
        let signature = sign(self.signs, &tlv(0x31, &list));
        self.assemble(content, &list, &signature)
    }

    /// The token out of what it is made of.
    pub fn assemble(&self, content: &[u8], attributes: &[u8], signature: &[u8]) -> Vec<u8> {
        let id = match self.named_by {
            NamedBy::IssuerAndSerial => seq(&[name(self.signer.issuer), self.signer.serial()]),
            NamedBy::KeyId => tlv(0x80, &[self.signer.key; 20]),
        };
        let signer = seq(&[
            int(self.signer_version),
            id,
            self.digest.clone(),
            tlv(0xa0, attributes),
            self.algorithm.clone(),
            octets(signature),
        ]);
        let mut certificates: Vec<_> = self.issuers.iter().map(Certificate::der).collect();
        certificates.extend(self.with_signer.then(|| self.signer.der()));
        certificates.extend(self.extra.iter().cloned());
        let signed = seq(&[
            int(self.version),
            set(std::slice::from_ref(
                self.digests.as_ref().unwrap_or(&self.digest),
            )),
            seq(&[oid(self.content_kind), tlv(0xa0, &octets(content))]),
            tlv(0xa0, &certificates.concat()),
            set(&vec![signer; self.signers]),
        ]);
        seq(&[oid(SIGNED_DATA), tlv(0xa0, &signed)])
    }
}
