//! A fake Google: certificates of its TPMs' keys, and statements about firmware, under roots of nobody.
//!
//! SPEC: TCG "EK Credential Profile" 2.5, 3.1 and 3.2; google/go-tpm-tools, `server/instance_info.go`;
//! google/gce-tcb-verifier, `proto/endorsement.proto`.

use base64::Engine as _;
use sha2::{Digest as _, Sha384};

use crate::der;
use crate::key::{Key, Rsa, Scheme};
use crate::rsa::Hash;
use crate::x509::{self, Certificate, Extension};

/// Attributes of the attestation key that Google's template makes: `fixedTPM | fixedParent |
/// sensitiveDataOrigin | userWithAuth | restricted | sign`.
pub const AK_ATTRIBUTES: u32 = 0x0005_0072;

/// Root, issuer and certificate of an attestation key; every part is a test's to change.
#[derive(Debug, Clone)]
pub struct KeyChain {
    /// Of the root.
    pub root: Certificate,
    /// Of the issuer.
    pub issuer: Certificate,
    /// Of the key.
    pub leaf: Certificate,
    /// The root's key and the issuer's.
    pub keys: [Key; 2],
    /// Who signs the root's own certificate.
    pub root_by: Key,
}

impl KeyChain {
    /// Of that key, as Google would have it.
    #[must_use]
    pub fn of(key: &Key) -> Self {
        let name = x509::common_name;
        let (root_key, issuer_key) = (Key::rsa(Rsa::Other), Key::rsa(Rsa::Endorsement));
        let root = Certificate {
            serial: vec![1],
            issuer: name("root"),
            subject: name("root"),
            not_before: 1_700_000_000_000,
            not_after: 1_800_000_000_000,
            key: root_key.spki(),
            extensions: vec![Extension::issuer(None), Extension::usage(0x06)],
            scheme: Scheme::Pkcs1(Hash::Sha256),
        };
        let issuer = Certificate {
            serial: vec![2],
            subject: name("issuer"),
            key: issuer_key.spki(),
            extensions: vec![Extension::issuer(Some(0)), Extension::usage(0x06)],
            ..root.clone()
        };
        let maker = [("2.23.133.2.1", "id:474F4F47"), ("2.23.133.2.2", "vTPM")];
        let leaf = Certificate {
            serial: vec![3],
            issuer: name("issuer"),
            subject: der::sequence(&[]),
            key: key.spki(),
            extensions: vec![
                Extension::no_issuer(),
                Extension::usage(0x80),
                purpose("1"),
                Extension::critical("2.5.29.17", alternative_name(&maker)),
                Extension::new("1.3.6.1.4.1.11129.2.1.21", machine(42)),
            ],
            ..root.clone()
        };
        Self {
            root,
            issuer,
            leaf,
            root_by: root_key.clone(),
            keys: [root_key, issuer_key],
        }
    }

    /// The key's certificate, the issuer's, the root's.
    #[must_use]
    pub fn build(&self) -> [Vec<u8>; 3] {
        let [root_key, issuer_key] = &self.keys;
        [
            self.leaf.sign(issuer_key),
            self.issuer.sign(root_key),
            self.root.sign(&self.root_by),
        ]
    }

    /// SHA-384 of the root's key, as a trust file pins it.
    #[must_use]
    pub fn root_digest(&self) -> [u8; 48] {
        Sha384::digest(&self.root.key).into()
    }
}

/// Extended key usage of one purpose of the TCG's (2.23.133.8 and this).
#[must_use]
pub fn purpose(last: &str) -> Extension {
    let oid = der::oid(&format!("2.23.133.8.{last}"));
    Extension::new("2.5.29.37", der::sequence(&[&oid]))
}

/// A subject's alternative name: one directory name.
#[must_use]
pub fn alternative_name(parts: &[(&str, &str)]) -> Vec<u8> {
    let name = x509::name(parts);
    der::sequence(&[&der::element(0xa4, &name)])
}

/// What a certificate says of its machine: project `project`, and this number.
#[must_use]
pub fn machine(number: u64) -> Vec<u8> {
    der::sequence(&[
        &der::utf8("us-central1-a"),
        &der::number(117),
        &der::utf8("project"),
        &der::number(number),
        &der::utf8("machine"),
        &der::explicit(0, &der::sequence(&[])),
    ])
}

/// A launch endorsement, under a root of its own; every part is a test's to change.
#[derive(Debug, Clone)]
pub struct Launch {
    /// `timestamp`, see [`varint`].
    pub timestamp: Vec<u8>,
    /// Of whoever endorses.
    pub certificate: Certificate,
    /// Of the root.
    pub root: Certificate,
    /// The root's key.
    pub root_key: Key,
    /// SHA-384 of the firmware.
    pub firmware: Vec<u8>,
    /// `VMSevSnp`.
    pub snp: Vec<u8>,
    /// `VMTdx`.
    pub tdx: Vec<u8>,
    /// Fields after all others.
    pub more: Vec<u8>,
    /// Who signs it.
    pub signer: Key,
    /// How.
    pub scheme: Scheme,
    /// Issuers, where they are not the root in PEM.
    pub issuers: Option<Vec<u8>>,
}

impl Launch {
    /// Of a firmware of F0s that measures to these values.
    #[must_use]
    pub fn of(snp: [u8; 48], tdx: [u8; 48]) -> Self {
        let name = x509::common_name;
        let certificate = Certificate {
            serial: vec![2],
            issuer: name("root"),
            subject: name("signer"),
            not_before: 1_700_000_000_000,
            not_after: 1_800_000_000_000,
            key: Key::rsa(Rsa::Tpm).spki(),
            extensions: vec![Extension::no_issuer(), Extension::usage(0x80)],
            scheme: Scheme::Pkcs1(Hash::Sha256),
        };
        let root = Certificate {
            serial: vec![1],
            subject: name("root"),
            key: Key::rsa(Rsa::Endorsement).spki(),
            extensions: vec![Extension::issuer(None), Extension::usage(0x04)],
            ..certificate.clone()
        };
        Self {
            timestamp: [varint(1, 1_740_000_000), varint(2, 5_000_000)].concat(),
            certificate,
            root,
            root_key: Key::rsa(Rsa::Endorsement),
            firmware: vec![0xf0; 48],
            snp: snp_measurements(5, &snp),
            tdx: tdx_measurements(6, &tdx),
            more: vec![],
            signer: Key::rsa(Rsa::Tpm),
            scheme: Scheme::Pss(Hash::Sha256, 32),
            issuers: None,
        }
    }

    /// `VMGoldenMeasurement`, which is what is signed.
    #[must_use]
    pub fn golden(&self) -> Vec<u8> {
        let root = self.root.sign(&self.root_key);
        let issuers = self.issuers.clone();
        [
            bytes(1, &self.timestamp),
            varint(2, 99),
            bytes(4, &self.certificate.sign(&self.root_key)),
            bytes(5, &self.firmware),
            bytes(6, &issuers.unwrap_or_else(|| pem(&root).into_bytes())),
            bytes(7, &self.snp),
            bytes(8, &self.tdx),
            self.more.clone(),
        ]
        .concat()
    }

    /// `VMLaunchEndorsement`.
    #[must_use]
    pub fn build(&self) -> Vec<u8> {
        let golden = self.golden();
        let signature = self.signer.sign(self.scheme, &golden);
        [bytes(1, &golden), bytes(2, &signature)].concat()
    }

    /// SHA-384 of the root's key, as a trust file pins it.
    #[must_use]
    pub fn root_digest(&self) -> [u8; 48] {
        Sha384::digest(&self.root.key).into()
    }
}

/// `VMSevSnp` with a security version; the measurement is that of two processors.
#[must_use]
pub fn snp_measurements(svn: u64, measurement: &[u8]) -> Vec<u8> {
    let entry = |count, measurement: &[u8]| {
        let of = [varint(1, count), bytes(2, measurement)].concat();
        bytes(2, &of)
    };
    [
        varint(1, svn),
        entry(1, &[0x10; 48]),
        entry(2, measurement),
        bytes(3, &[3; 16]),
        bytes(4, &[4; 16]),
        varint(5, 0x7_0000),
    ]
    .concat()
}

/// `VMTdx` with a security version; the measurement is that of 4 GiB.
#[must_use]
pub fn tdx_measurements(svn: u64, measurement: &[u8]) -> Vec<u8> {
    let machine = [varint(1, 4), varint(2, 1), bytes(3, measurement)].concat();
    [
        varint(1, svn),
        bytes(2, &bytes(3, &[0x20; 48])),
        bytes(2, &machine),
    ]
    .concat()
}

/// A field of protocol buffers: a number.
#[must_use]
pub fn varint(field: u64, value: u64) -> Vec<u8> {
    [number(field << 3), number(value)].concat()
}

/// A field of protocol buffers: bytes.
#[must_use]
pub fn bytes(field: u64, value: &[u8]) -> Vec<u8> {
    let length = number(value.len().try_into().unwrap());
    [number(field << 3 | 2), length, value.to_vec()].concat()
}

fn number(value: u64) -> Vec<u8> {
    let (mut out, mut rest) = (vec![], value);
    loop {
        let byte = u8::try_from(rest & 0x7f).unwrap();
        rest >>= 7;
        if rest == 0 {
            out.push(byte);
            return out;
        }
        out.push(byte | 0x80);
    }
}

/// A certificate in PEM.
#[must_use]
pub fn pem(der: &[u8]) -> String {
    let digits = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = digits
        .as_bytes()
        .chunks(64)
        .map(|line| core::str::from_utf8(line).unwrap())
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}
