//! A fake Intel, and a platform of its own with a trust domain: quotes of every layout, certificates, lists
//! and collateral, genuinely signed under keys of nobody. Every field is a test's to change; what a test does
//! not change, holds.
//!
//! SPEC: as `docs/spec/tdx.md` has the layouts; written here a second time.

use sha2::{Digest as _, Sha256};

use crate::der;
use crate::key::{Key, Scheme};
use crate::rsa::Hash;
use crate::x509::{self, Certificate, Crl, Extension};

/// 2026-01-01T00:00:00Z, when everything here is valid, in milliseconds since 1970.
pub const NOW: u64 = 1_767_225_600_000;

/// A day, in milliseconds.
pub const DAY: u64 = 86_400_000;

/// Object identifier of Intel's extension.
pub const SGX: &str = "1.2.840.113741.1.13.1";

/// Keys and certificates of the fake Intel and one of its platforms, before they are signed.
#[derive(Debug, Clone)]
pub struct Intel {
    /// Issued itself.
    pub root: Certificate,
    /// Issues platforms' certificates.
    pub ca: Certificate,
    /// The platform's.
    pub pck: Certificate,
    /// Signs collateral.
    pub signer: Certificate,
    /// Who signs the platform's certificate.
    pub pck_by: Key,
    /// Who signs the CA's and the signer's certificate.
    pub ca_by: Key,
    /// Who signs the signer's certificate.
    pub signer_by: Key,
}

/// The root's key.
#[must_use]
pub fn root_key() -> Key {
    Key::p256(0x11)
}

/// The key of the CA of platforms.
#[must_use]
pub fn ca_key() -> Key {
    Key::p256(0x12)
}

/// The platform's key.
#[must_use]
pub fn pck_key() -> Key {
    Key::p256(0x13)
}

/// The key of the signer of collateral.
#[must_use]
pub fn signer_key() -> Key {
    Key::p256(0x14)
}

/// The attestation key.
#[must_use]
pub fn attestation_key() -> Key {
    Key::p256(0x15)
}

/// Of somebody else.
#[must_use]
pub fn other_key() -> Key {
    Key::p256(0x66)
}

fn certificate(
    serial: u8,
    issuer: &str,
    subject: &str,
    key: &Key,
    extensions: Vec<Extension>,
) -> Certificate {
    Certificate {
        serial: vec![serial],
        issuer: x509::common_name(issuer),
        subject: x509::common_name(subject),
        not_before: NOW - 100 * DAY,
        not_after: NOW + 1000 * DAY,
        key: key.spki(),
        extensions,
        scheme: Scheme::Ecdsa(Hash::Sha256),
    }
}

/// Name of the root.
pub const ROOT: &str = "Intel SGX Root CA";
/// Name of a CA of platforms.
pub const PLATFORM_CA: &str = "Intel SGX PCK Platform CA";
/// Name of another CA of platforms.
pub const PROCESSOR_CA: &str = "Intel SGX PCK Processor CA";
/// Name of every platform.
pub const PLATFORM: &str = "Intel SGX PCK Certificate";
/// Name of the signer of collateral.
pub const SIGNER: &str = "Intel SGX TCB Signing";

impl Default for Intel {
    fn default() -> Self {
        let issuer = |below| vec![Extension::issuer(below), Extension::usage(0x06)];
        let last = || vec![Extension::no_issuer(), Extension::usage(0xc0)];
        let mut pck = certificate(3, PLATFORM_CA, PLATFORM, &pck_key(), last());
        pck.extensions
            .push(Extension::new(SGX, Pck::default().to_der()));
        Self {
            root: certificate(1, ROOT, ROOT, &root_key(), issuer(Some(1))),
            ca: certificate(2, ROOT, PLATFORM_CA, &ca_key(), issuer(Some(0))),
            pck,
            signer: certificate(4, ROOT, SIGNER, &signer_key(), last()),
            pck_by: ca_key(),
            ca_by: root_key(),
            signer_by: root_key(),
        }
    }
}

impl Intel {
    /// With another extension of the platform.
    #[must_use]
    pub fn with(pck: &Pck) -> Self {
        let mut intel = Self::default();
        intel.pck.extensions.pop();
        intel.pck.extensions.push(Extension::new(SGX, pck.to_der()));
        intel
    }

    /// The root's certificate, DER.
    #[must_use]
    pub fn root_der(&self) -> Vec<u8> {
        self.root.sign(&root_key())
    }

    /// Platform, CA and root as PEM.
    #[must_use]
    pub fn pck_chain(&self) -> Vec<u8> {
        let ca = self.ca.sign(&self.ca_by);
        let pck = self.pck.sign(&self.pck_by);
        pem(&[&pck, &ca, &self.root_der()])
    }

    /// Signer and root as PEM.
    #[must_use]
    pub fn signer_chain(&self) -> Vec<u8> {
        pem(&[&self.signer.sign(&self.signer_by), &self.root_der()])
    }
}

/// Certificates as PEM, in lines of 64 characters.
#[must_use]
pub fn pem(certificates: &[&[u8]]) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for der in certificates {
        let mut text = String::new();
        for chunk in der.chunks(3) {
            let bytes = [0, 1, 2].map(|at| u32::from(chunk.get(at).copied().unwrap_or(0)));
            let bits = bytes[0] << 16 | bytes[1] << 8 | bytes[2];
            for (place, shift) in [18, 12, 6, 0].into_iter().enumerate() {
                let digit = usize::try_from(bits >> shift & 0x3f).unwrap();
                let is_there = place <= chunk.len();
                text.push(if is_there {
                    char::from(DIGITS[digit])
                } else {
                    '='
                });
            }
        }
        out.push_str("-----BEGIN CERTIFICATE-----\n");
        for line in text.as_bytes().chunks(64) {
            out.push_str(core::str::from_utf8(line).unwrap());
            out.push('\n');
        }
        out.push_str("-----END CERTIFICATE-----\n");
    }
    out.into_bytes()
}

/// What the platform's certificate says of it.
#[derive(Debug, Clone)]
pub struct Pck {
    /// Which platform.
    pub ppid: Vec<u8>,
    /// Versions of components.
    pub components: [u64; 16],
    /// Version of the provisioning certification enclave.
    pub pce_svn: u64,
    /// Number of it.
    pub pce_id: Vec<u8>,
    /// Family and model.
    pub fmspc: Vec<u8>,
    /// Dynamic platform, cached keys, threads; none for a platform of one package.
    pub flags: Option<[bool; 3]>,
}

impl Default for Pck {
    fn default() -> Self {
        let mut components = [0; 16];
        components[..8].copy_from_slice(&[3, 3, 2, 2, 4, 1, 0, 5]);
        Self {
            ppid: vec![0xaa; 16],
            components,
            pce_svn: 13,
            pce_id: vec![0, 0],
            fmspc: vec![0xb0, 0xc0, 0x6f, 0, 0, 0],
            flags: Some([false, false, false]),
        }
    }
}

impl Pck {
    /// The extension's value.
    #[must_use]
    pub fn to_der(&self) -> Vec<u8> {
        let element = |number: &str, value: Vec<u8>| {
            der::sequence(&[&der::oid(&format!("{SGX}.{number}")), &value])
        };
        let mut tcb: Vec<u8> = (1..)
            .zip(self.components)
            .flat_map(|(number, svn)| element(&format!("2.{number}"), der::number(svn)))
            .collect();
        tcb.extend(element("2.17", der::number(self.pce_svn)));
        tcb.extend(element("2.18", der::octets(&[3; 16])));
        let mut all = [
            element("1", der::octets(&self.ppid)),
            element("2", der::element(0x30, &tcb)),
            element("3", der::octets(&self.pce_id)),
            element("4", der::octets(&self.fmspc)),
            element("5", der::element(0x0a, &[1])),
        ]
        .concat();
        if let Some(flags) = self.flags {
            let flags: Vec<u8> = (1..)
                .zip(flags)
                .flat_map(|(number, flag)| element(&format!("7.{number}"), der::boolean(flag)))
                .collect();
            all.extend(element("6", der::octets(&[0xbb; 16])));
            all.extend(element("7", der::element(0x30, &flags)));
        }
        der::element(0x30, &all)
    }
}

/// The trust domain's report.
#[derive(Debug, Clone)]
pub struct Td {
    /// Versions of the module at launch.
    pub tee_tcb_svn: [u8; 16],
    /// The module.
    pub mrseam: [u8; 48],
    /// Who signed it.
    pub mrsignerseam: [u8; 48],
    /// Its attributes.
    pub seam_attributes: [u8; 8],
    /// The trust domain's attributes.
    pub attributes: u64,
    /// Its extended state.
    pub xfam: u64,
    /// Its initial memory.
    pub mrtd: [u8; 48],
    /// `MRCONFIGID`.
    pub mrconfigid: [u8; 48],
    /// `MROWNER`.
    pub mrowner: [u8; 48],
    /// `MROWNERCONFIG`.
    pub mrownerconfig: [u8; 48],
    /// Its registers.
    pub rtmrs: [[u8; 48]; 4],
    /// What it asked to have signed.
    pub report_data: [u8; 64],
    /// Versions of the module of now.
    pub tee_tcb_svn_2: [u8; 16],
    /// Service domains.
    pub mrservicetd: [u8; 48],
    /// Guest within it.
    pub vmid: u8,
    /// Which trust domain.
    pub td_id: [u8; 32],
    /// Service domains at launch.
    pub initial_servicetd: [u8; 48],
    /// Service domains now.
    pub current_servicetd: [u8; 48],
}

impl Default for Td {
    fn default() -> Self {
        let svn = [6, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        Self {
            tee_tcb_svn: svn,
            mrseam: [0x5e; 48],
            mrsignerseam: [0; 48],
            seam_attributes: [0; 8],
            attributes: 1 << 28,
            xfam: 0x0006_02e7,
            mrtd: [0x71; 48],
            mrconfigid: [0; 48],
            mrowner: [0; 48],
            mrownerconfig: [0; 48],
            rtmrs: [[0x80; 48], [0x81; 48], [0x82; 48], [0x83; 48]],
            report_data: [0xd0; 64],
            tee_tcb_svn_2: svn,
            mrservicetd: [0; 48],
            vmid: 0,
            td_id: [0x1d; 32],
            initial_servicetd: [0; 48],
            current_servicetd: [0; 48],
        }
    }
}

impl Td {
    /// As a body of type 2, 3 or 4.
    #[must_use]
    pub fn to_bytes(&self, body_type: u16) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.tee_tcb_svn);
        out.extend(self.mrseam);
        out.extend(self.mrsignerseam);
        out.extend(self.seam_attributes);
        out.extend(self.attributes.to_le_bytes());
        out.extend(self.xfam.to_le_bytes());
        out.extend(self.mrtd);
        out.extend(self.mrconfigid);
        out.extend(self.mrowner);
        out.extend(self.mrownerconfig);
        out.extend(self.rtmrs.concat());
        out.extend(self.report_data);
        if body_type > 2 {
            out.extend(self.tee_tcb_svn_2);
            out.extend(self.mrservicetd);
        }
        if body_type > 3 {
            out.push(self.vmid);
            out.extend(self.td_id);
            out.extend([0xde; 48]);
            out.extend(self.initial_servicetd);
            out.extend([0; 8]);
            out.extend([4; 16]);
            out.extend([5; 16]);
            out.extend([6; 12]);
            out.extend(self.current_servicetd);
            out.extend([0; 8]);
        }
        out
    }
}

/// The quoting enclave's report.
#[derive(Debug, Clone)]
pub struct Enclave {
    /// Extended features.
    pub misc_select: [u8; 4],
    /// Flags and state.
    pub attributes: [u8; 16],
    /// Who signed it.
    pub mrsigner: [u8; 32],
    /// Product.
    pub isv_prod_id: u16,
    /// Version.
    pub isv_svn: u16,
    /// Report data; none for those that bind the attestation key.
    pub report_data: Option<[u8; 64]>,
    /// Which byte to set that has to be zero.
    pub dirty: Option<usize>,
}

impl Default for Enclave {
    fn default() -> Self {
        let mut attributes = [0; 16];
        attributes[0] = 0x15;
        attributes[8] = 0xe7;
        Self {
            misc_select: [0; 4],
            attributes,
            mrsigner: [0xdc; 32],
            isv_prod_id: 2,
            isv_svn: 6,
            report_data: None,
            dirty: None,
        }
    }
}

impl Enclave {
    fn to_bytes(&self, bound: [u8; 64]) -> Vec<u8> {
        let mut out = vec![0; 384];
        out[..16].copy_from_slice(&[3; 16]);
        out[16..20].copy_from_slice(&self.misc_select);
        out[48..64].copy_from_slice(&self.attributes);
        out[64..96].copy_from_slice(&[0xe5; 32]);
        out[128..160].copy_from_slice(&self.mrsigner);
        out[256..258].copy_from_slice(&self.isv_prod_id.to_le_bytes());
        out[258..260].copy_from_slice(&self.isv_svn.to_le_bytes());
        out[320..].copy_from_slice(&self.report_data.unwrap_or(bound));
        if let Some(at) = self.dirty {
            out[at] = 1;
        }
        out
    }
}

/// A quote before it is signed.
#[derive(Debug, Clone)]
pub struct Quote {
    /// Layout.
    pub version: u16,
    /// Kind of attestation key.
    pub key_type: u16,
    /// Kind of what is quoted.
    pub tee: u32,
    /// Zero.
    pub reserved: u32,
    /// Intel's.
    pub vendor: [u8; 16],
    /// In version 5: 2, 3 or 4.
    pub body_type: u16,
    /// In version 5, where it is another than the body's.
    pub body_size: Option<u32>,
    /// The report.
    pub td: Td,
    /// The quoting enclave.
    pub enclave: Enclave,
    /// What it hashed beside the key.
    pub authentication: Vec<u8>,
    /// 6.
    pub certification_type: u16,
    /// 5.
    pub inner_type: u16,
    /// Who signs the quote.
    pub signed_by: Key,
    /// Who signs the enclave's report.
    pub report_by: Key,
    /// PEM.
    pub chain: Vec<u8>,
    /// Behind everything.
    pub trailing: Vec<u8>,
}

impl Default for Quote {
    fn default() -> Self {
        Self {
            version: 4,
            key_type: 2,
            tee: 0x81,
            reserved: 0,
            vendor: *b"\x93\x9a\x72\x33\xf7\x9c\x4c\xa9\x94\x0a\x0d\xb3\x95\x7f\x06\x07",
            body_type: 2,
            body_size: None,
            td: Td::default(),
            enclave: Enclave::default(),
            authentication: (0..32).collect(),
            certification_type: 6,
            inner_type: 5,
            signed_by: attestation_key(),
            report_by: pck_key(),
            chain: Intel::default().pck_chain(),
            trailing: vec![],
        }
    }
}

fn raw(key: &Key, message: &[u8]) -> Vec<u8> {
    let (r, s) = key.sign_raw(Hash::Sha256, message);
    [r, s].concat()
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    [&u32::try_from(bytes.len()).unwrap().to_le_bytes(), bytes].concat()
}

impl Quote {
    /// The quote, signed.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(self.version.to_le_bytes());
        out.extend(self.key_type.to_le_bytes());
        out.extend(self.tee.to_le_bytes());
        out.extend(self.reserved.to_le_bytes());
        out.extend(self.vendor);
        out.extend([0x0d; 20]);
        let body = self
            .td
            .to_bytes(if self.version == 5 { self.body_type } else { 2 });
        if self.version == 5 {
            out.extend(self.body_type.to_le_bytes());
            let size = u32::try_from(body.len()).unwrap();
            out.extend(self.body_size.unwrap_or(size).to_le_bytes());
        }
        out.extend(body);

        let key = attestation_key().point()[1..].to_vec();
        let mut bound = [0; 64];
        let digest = Sha256::digest([key.as_slice(), &self.authentication].concat());
        bound[..32].copy_from_slice(&digest);
        let report = self.enclave.to_bytes(bound);
        let authentication = u16::try_from(self.authentication.len()).unwrap();
        let certification = [
            report.as_slice(),
            &raw(&self.report_by, &report),
            &authentication.to_le_bytes(),
            &self.authentication,
            &self.inner_type.to_le_bytes(),
            &sized(&self.chain),
        ]
        .concat();
        let data = [
            raw(&self.signed_by, &out).as_slice(),
            &key,
            &self.certification_type.to_le_bytes(),
            &sized(&certification),
        ]
        .concat();
        out.extend(sized(&data));
        out.extend(&self.trailing);
        out
    }
}

/// Collateral before it is signed.
#[derive(Debug, Clone)]
pub struct Collateral {
    /// TCB info, JSON.
    pub tcb_info: String,
    /// Identity of the quoting enclave, JSON.
    pub qe_identity: String,
    /// Who signs the first.
    pub tcb_info_by: Key,
    /// Who signs the second.
    pub qe_identity_by: Key,
    /// Chain of the first, PEM.
    pub tcb_info_chain: Vec<u8>,
    /// Chain of the second, PEM.
    pub qe_identity_chain: Vec<u8>,
    /// The root's list.
    pub root_crl: Crl,
    /// Who signs it.
    pub root_crl_by: Key,
    /// The list of platforms.
    pub pck_crl: Crl,
    /// Who signs it.
    pub pck_crl_by: Key,
}

/// A level of a platform; `extra` stands behind its date.
#[must_use]
pub fn platform_level(
    sgx: [u8; 8],
    pce_svn: u16,
    tdx: [u8; 3],
    status: &str,
    date: &str,
    extra: &str,
) -> String {
    let list = |head: &[u8]| {
        let all: Vec<String> = (0..16)
            .map(|at| format!("{{\"svn\":{}}}", head.get(at).copied().unwrap_or(0)))
            .collect();
        all.join(",")
    };
    format!(
        "{{\"tcb\":{{\"sgxtcbcomponents\":[{}],\"pcesvn\":{pce_svn},\"tdxtcbcomponents\":[{}]}},\
         \"tcbDate\":\"{date}\",\"tcbStatus\":\"{status}\"{extra}}}",
        list(&sgx),
        list(&tdx)
    )
}

/// A level of a module or of the quoting enclave.
#[must_use]
pub fn module_level(isv_svn: u16, status: &str, date: &str, extra: &str) -> String {
    format!(
        "{{\"tcb\":{{\"isvsvn\":{isv_svn}}},\"tcbDate\":\"{date}\",\"tcbStatus\":\"{status}\"{extra}}}"
    )
}

fn zeros(bytes: usize) -> String {
    "00".repeat(bytes)
}

impl Default for Collateral {
    fn default() -> Self {
        let intel = Intel::default();
        let list = |issuer: &str| Crl {
            issuer: x509::common_name(issuer),
            this_update: NOW - 5 * DAY,
            next_update: Some(NOW + 25 * DAY),
            revoked: vec![],
            extensions: vec![Extension::crl_number(1)],
            scheme: Scheme::Ecdsa(Hash::Sha256),
        };
        let identity = format!(
            "\"mrsigner\":\"{}\",\"attributes\":\"{}\",\"attributesMask\":\"FFFFFFFFFFFFFFFF\"",
            zeros(48),
            zeros(8)
        );
        let old = ",\"advisoryIDs\":[\"INTEL-SA-01036\"]";
        let tcb_info = format!(
            "{{\"id\":\"TDX\",\"version\":3,\"issueDate\":\"2025-12-28T00:00:00Z\",\
             \"nextUpdate\":\"2026-01-27T00:00:00Z\",\"fmspc\":\"b0c06f000000\",\"pceId\":\"0000\",\
             \"tcbType\":0,\"tcbEvaluationDataNumber\":18,\"tdxModule\":{{{identity}}},\
             \"tdxModuleIdentities\":[{{\"id\":\"TDX_03\",{identity},\"tcbLevels\":[{}]}},\
             {{\"id\":\"TDX_01\",{identity},\"tcbLevels\":[{},{}]}}],\"tcbLevels\":[{},{}]}}",
            module_level(3, "UpToDate", "2025-11-13T00:00:00Z", ""),
            module_level(6, "UpToDate", "2025-11-13T00:00:00Z", ""),
            module_level(2, "OutOfDate", "2025-03-13T00:00:00Z", old),
            platform_level(
                [3, 3, 2, 2, 4, 1, 0, 5],
                13,
                [5, 0, 3],
                "UpToDate",
                "2025-11-13T00:00:00Z",
                ""
            ),
            platform_level(
                [2, 2, 2, 2, 3, 1, 0, 5],
                5,
                [5, 0, 2],
                "OutOfDate",
                "2025-03-13T00:00:00Z",
                old
            ),
        );
        let qe_identity = format!(
            "{{\"id\":\"TD_QE\",\"version\":2,\"issueDate\":\"2025-12-28T00:00:00Z\",\
             \"nextUpdate\":\"2026-01-27T00:00:00Z\",\"tcbEvaluationDataNumber\":18,\
             \"miscselect\":\"00000000\",\"miscselectMask\":\"FFFFFFFF\",\
             \"attributes\":\"11000000000000000000000000000000\",\
             \"attributesMask\":\"FBFFFFFFFFFFFFFF0000000000000000\",\"mrsigner\":\"{}\",\
             \"isvprodid\":2,\"tcbLevels\":[{},{}]}}",
            "dc".repeat(32),
            module_level(6, "UpToDate", "2025-11-13T00:00:00Z", ""),
            module_level(
                4,
                "OutOfDate",
                "2025-03-13T00:00:00Z",
                ",\"advisoryIDs\":[\"INTEL-SA-09999\"]"
            ),
        );
        Self {
            tcb_info,
            qe_identity,
            tcb_info_by: signer_key(),
            qe_identity_by: signer_key(),
            tcb_info_chain: intel.signer_chain(),
            qe_identity_chain: intel.signer_chain(),
            root_crl: list(ROOT),
            root_crl_by: root_key(),
            pck_crl: list(PLATFORM_CA),
            pck_crl_by: ca_key(),
        }
    }
}

impl Collateral {
    /// Signature over the TCB info: r and s.
    #[must_use]
    pub fn tcb_info_signature(&self) -> Vec<u8> {
        raw(&self.tcb_info_by, self.tcb_info.as_bytes())
    }

    /// Signature over the identity: r and s.
    #[must_use]
    pub fn qe_identity_signature(&self) -> Vec<u8> {
        raw(&self.qe_identity_by, self.qe_identity.as_bytes())
    }
}
