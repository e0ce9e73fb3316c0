//! A fake AMD, and a fake chip: SEV-SNP reports with their chain under keys of nobody.
//!
//! A [`Draft`] is good evidence; a test changes what it wants to have wrong, and [`Draft::build`] signs.
//!
//! Source: AMD 56860 (report), 57230 and 58369 (certificates).

use crate::der;
use crate::key::{Key, Rsa, Scheme};
use crate::rsa::Hash;
use crate::x509::{Certificate, Crl, Extension, name};

/// Generation of a fake chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Product {
    /// Reports of version 2 and later, TCB as Milan has it.
    Milan,
    /// Like Milan, another processor.
    Genoa,
    /// TCB with a first firmware, chips of 8 bytes.
    Turin,
}

impl Product {
    /// As certificates have it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Milan => "Milan",
            Self::Genoa => "Genoa",
            Self::Turin => "Turin",
        }
    }

    /// Family, model, stepping.
    fn processor(self) -> [u8; 3] {
        match self {
            Self::Milan => [0x19, 0x01, 0x01],
            Self::Genoa => [0x19, 0x11, 0x01],
            Self::Turin => [0x1a, 0x02, 0x01],
        }
    }

    /// Lays out a boot loader, TEE, SNP and microcode version, and Turin's first firmware 1.
    #[must_use]
    pub fn tcb(self, versions: [u8; 4]) -> [u8; 8] {
        let [bootloader, tee, snp, microcode] = versions;
        match self {
            Self::Milan | Self::Genoa => [bootloader, tee, 0, 0, 0, 0, snp, microcode],
            Self::Turin => [1, bootloader, tee, snp, 0, 0, 0, microcode],
        }
    }
}

/// Which key signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The chip's own.
    Vcek,
    /// One that a provider holds.
    Vlek,
}

/// Every field of a report but what is reserved and the signature.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names are those of AMD 56860")]
pub struct Report {
    pub version: u32,
    pub guest_svn: u32,
    pub policy: u64,
    pub family_id: [u8; 16],
    pub image_id: [u8; 16],
    pub vmpl: u32,
    pub signature_algo: u32,
    pub current_tcb: [u8; 8],
    pub platform_info: u64,
    pub flags: u32,
    pub report_data: [u8; 64],
    pub measurement: [u8; 48],
    pub host_data: [u8; 32],
    pub id_key_digest: [u8; 48],
    pub author_key_digest: [u8; 48],
    pub report_id: [u8; 32],
    pub report_id_ma: [u8; 32],
    pub reported_tcb: [u8; 8],
    pub processor: [u8; 3],
    pub chip_id: [u8; 64],
    pub committed_tcb: [u8; 8],
    /// Build, minor, major.
    pub current_firmware: [u8; 3],
    /// Build, minor, major.
    pub committed_firmware: [u8; 3],
    pub launch_tcb: [u8; 8],
    pub launch_mit_vector: u64,
    pub current_mit_vector: u64,
}

impl Report {
    /// The report with a signature of zeros.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            version,
            guest_svn,
            policy,
            family_id,
            image_id,
            vmpl,
            signature_algo,
            current_tcb,
            platform_info,
            flags,
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            processor,
            chip_id,
            committed_tcb,
            current_firmware,
            committed_firmware,
            launch_tcb,
            launch_mit_vector,
            current_mit_vector,
        } = self;
        let bytes = [
            version.to_le_bytes().as_slice(),
            &guest_svn.to_le_bytes(),
            &policy.to_le_bytes(),
            family_id,
            image_id,
            &vmpl.to_le_bytes(),
            &signature_algo.to_le_bytes(),
            current_tcb,
            &platform_info.to_le_bytes(),
            &flags.to_le_bytes(),
            &[0; 4],
            report_data,
            measurement,
            host_data,
            id_key_digest,
            author_key_digest,
            report_id,
            report_id_ma,
            reported_tcb,
            processor,
            &[0; 21],
            chip_id,
            committed_tcb,
            current_firmware,
            &[0],
            committed_firmware,
            &[0],
            launch_tcb,
            &launch_mit_vector.to_le_bytes(),
            &current_mit_vector.to_le_bytes(),
            &[0; 152],
            &[0; 512],
        ]
        .concat();
        assert_eq!(bytes.len(), 1184);
        bytes
    }
}

/// Signs a report: two numbers of 72 bytes each, little-endian, from byte 0x2a0 on.
///
/// # Panics
/// If it is shorter than a report, or the key is not of P-384.
pub fn sign(report: &mut [u8], by: &Key) {
    let (r, s) = by.sign_raw(Hash::Sha384, &report[..0x2a0]);
    for (number, at) in [(r, 0x2a0), (s, 0x2a0 + 72)] {
        for (byte, place) in number.iter().rev().zip(at..) {
            report[place] = *byte;
        }
    }
}

/// Evidence, as owned bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// The report.
    pub report: Vec<u8>,
    /// VCEK or VLEK certificate.
    pub key: Vec<u8>,
    /// ASK or ASVK certificate.
    pub issuer: Vec<u8>,
    /// ARK certificate.
    pub root: Vec<u8>,
    /// The root's list.
    pub crl: Option<Vec<u8>>,
}

/// What will be evidence, and who signs each part of it.
#[derive(Debug, Clone)]
pub struct Draft {
    /// The report.
    pub report: Report,
    /// Bytes of the report that are set before it is signed.
    pub patches: Vec<(usize, u8)>,
    /// Signs the report.
    pub report_by: Key,
    /// VCEK or VLEK certificate.
    pub key: Certificate,
    /// Signs it.
    pub key_by: Key,
    /// ASK or ASVK certificate.
    pub issuer: Certificate,
    /// Signs it.
    pub issuer_by: Key,
    /// ARK certificate.
    pub root: Certificate,
    /// Signs it.
    pub root_by: Key,
    /// The root's list.
    pub crl: Option<Crl>,
    /// Signs it.
    pub crl_by: Key,
}

/// 2026-01-01 00:00:00 UTC: from then on everything of a good draft is valid.
pub const VALID_FROM: u64 = 1_767_225_600_000;
/// 2027-01-01 00:00:00 UTC: until then.
pub const VALID_UNTIL: u64 = 1_798_761_600_000;

/// Versions of a good draft: boot loader, TEE, SNP, microcode.
pub const VERSIONS: [u8; 4] = [4, 2, 24, 220];
/// Report data of a good draft, each byte.
pub const REPORT_DATA: u8 = 0xa5;
/// Id of the provider in a good draft's VLEK.
pub const PROVIDER: &str = "CN=cc-test.example.com";

impl Draft {
    /// Good evidence: of version 5, with bits for an alias check that was made.
    #[must_use]
    pub fn new(product: Product, kind: Kind) -> Self {
        let tcb = product.tcb(VERSIONS);
        let chip_bytes = match product {
            Product::Milan | Product::Genoa => 64,
            Product::Turin => 8,
        };
        let mut chip_id = [0; 64];
        chip_id[..chip_bytes].fill(0xc1);
        let chip = match kind {
            Kind::Vcek => chip_id[..chip_bytes].to_vec(),
            Kind::Vlek => vec![],
        };
        if kind == Kind::Vlek {
            chip_id = [0; 64];
        }
        let (issuer_name, key_name, issuer_key) = match kind {
            Kind::Vcek => (format!("SEV-{}", product.name()), "SEV-VCEK", Rsa::Ask),
            Kind::Vlek => (
                format!("SEV-VLEK-{}", product.name()),
                "SEV-VLEK",
                Rsa::Asvk,
            ),
        };
        let root_name = amd_name(&format!("ARK-{}", product.name()));
        let ark = Key::rsa(Rsa::Ark);
        let signing = Key::p384(7);
        Self {
            report: Report {
                flags: match kind {
                    Kind::Vcek => 0,
                    Kind::Vlek => 1 << 2,
                },
                chip_id,
                ..report(product, tcb)
            },
            patches: vec![],
            report_by: signing.clone(),
            key: Certificate {
                serial: vec![],
                extensions: key_extensions(product, kind, &chip),
                ..certificate(&amd_name(&issuer_name), key_name, &signing)
            },
            key_by: Key::rsa(issuer_key),
            issuer: Certificate {
                serial: vec![1, 0, 1],
                extensions: vec![Extension::issuer(Some(0)), Extension::usage(0x04)],
                ..certificate(&root_name, &issuer_name, &Key::rsa(issuer_key))
            },
            issuer_by: ark.clone(),
            root: Certificate {
                serial: vec![1, 0, 0],
                extensions: vec![Extension::issuer(None), Extension::usage(0x06)],
                ..certificate(&root_name, &format!("ARK-{}", product.name()), &ark)
            },
            root_by: ark.clone(),
            crl: Some(Crl {
                issuer: root_name,
                this_update: VALID_FROM,
                next_update: Some(VALID_UNTIL),
                revoked: vec![],
                extensions: vec![Extension::crl_number(1)],
                scheme: Scheme::PSS_SHA384,
            }),
            crl_by: ark,
        }
    }

    /// The same, with a change.
    #[must_use]
    pub fn with(mut self, change: impl FnOnce(&mut Self)) -> Self {
        change(&mut self);
        self
    }

    /// Signs everything.
    #[must_use]
    pub fn build(&self) -> Evidence {
        let mut report = self.report.to_bytes();
        for (place, byte) in &self.patches {
            report[*place] = *byte;
        }
        sign(&mut report, &self.report_by);
        Evidence {
            report,
            key: self.key.sign(&self.key_by),
            issuer: self.issuer.sign(&self.issuer_by),
            root: self.root.sign(&self.root_by),
            crl: self.crl.as_ref().map(|crl| crl.sign(&self.crl_by)),
        }
    }
}

fn report(product: Product, tcb: [u8; 8]) -> Report {
    Report {
        version: 5,
        guest_svn: 3,
        // Interface 1.51, SMT, reserved one.
        policy: 0x0003_0133,
        family_id: [0xfa; 16],
        image_id: [0x1d; 16],
        vmpl: 0,
        signature_algo: 1,
        current_tcb: tcb,
        // SMT, TSME, ECC, aliases checked.
        platform_info: 0b10_0111,
        flags: 0,
        report_data: [REPORT_DATA; 64],
        measurement: [0x3e; 48],
        host_data: [0x0d; 32],
        id_key_digest: [0x1b; 48],
        author_key_digest: [0; 48],
        report_id: [0x77; 32],
        report_id_ma: [0xff; 32],
        reported_tcb: tcb,
        processor: product.processor(),
        chip_id: [0; 64],
        committed_tcb: tcb,
        current_firmware: [2, 58, 1],
        committed_firmware: [2, 58, 1],
        launch_tcb: tcb,
        launch_mit_vector: 0x0b,
        current_mit_vector: 0x0b,
    }
}

fn certificate(issuer: &[u8], common_name: &str, key: &Key) -> Certificate {
    Certificate {
        serial: vec![],
        issuer: issuer.to_vec(),
        subject: amd_name(common_name),
        not_before: VALID_FROM,
        not_after: VALID_UNTIL,
        key: key.spki(),
        extensions: vec![],
        scheme: Scheme::PSS_SHA384,
    }
}

/// A name as AMD's certificates have it.
#[must_use]
pub fn amd_name(common_name: &str) -> Vec<u8> {
    name(&[
        ("2.5.4.11", "Engineering"),
        ("2.5.4.6", "US"),
        ("2.5.4.7", "Santa Clara"),
        ("2.5.4.8", "CA"),
        ("2.5.4.10", "Advanced Micro Devices"),
        ("2.5.4.3", common_name),
    ])
}

/// An extension of AMD's, 1.3.6.1.4.1.3704.1 and the rest.
#[must_use]
pub fn amd_extension(rest: &str, value: Vec<u8>) -> Extension {
    Extension::new(&format!("1.3.6.1.4.1.3704.1.{rest}"), value)
}

fn key_extensions(product: Product, kind: Kind, chip: &[u8]) -> Vec<Extension> {
    let version =
        |last: u8, version: u8| amd_extension(&format!("3.{last}"), der::number(version.into()));
    let [bootloader, tee, snp, microcode] = VERSIONS;
    let mut list = vec![
        amd_extension("1", der::number(0)),
        amd_extension("2", der::ia5(product.name())),
        version(1, bootloader),
        version(2, tee),
        version(5, 0),
        version(6, 0),
        version(7, 0),
        version(3, snp),
        version(8, microcode),
    ];
    match product {
        Product::Milan | Product::Genoa => list.push(version(4, 0)),
        Product::Turin => list.push(version(9, 1)),
    }
    list.push(match kind {
        Kind::Vcek => amd_extension("4", chip.to_vec()),
        Kind::Vlek => amd_extension("5", der::ia5(PROVIDER)),
    });
    list
}
