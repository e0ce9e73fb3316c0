//! A fake paravisor of Azure: its report around a hardware's, and its claims; every field is a test's
//! to change. The hardware's report in it is not signed here: whoever wants that signs the area.
//!
//! SPEC: microsoft/openvmm, `openhcl_attestation_protocol`, `IgvmAttestRequestBase` and
//! `runtime_claims`; Intel TDX Module ABI, `TDREPORT_STRUCT`.

use sha2::{Digest as _, Sha256, Sha384};

use crate::key::Key;

/// A report, field by field. Lengths that are `None` are as they should be.
#[derive(Debug, Clone)]
pub struct Report {
    /// `HCLA`.
    pub signature: [u8; 4],
    /// Version of the header.
    pub header_version: u32,
    /// Bytes up to the end of the claims.
    pub report_size: Option<u32>,
    /// 2.
    pub request_type: u32,
    /// 0.
    pub status: u32,
    /// Zeros.
    pub reserved: [u8; 12],
    /// The hardware's report; padded with zeros to 1184 bytes.
    pub hardware: Vec<u8>,
    /// Bytes of request data and claims.
    pub data_size: Option<u32>,
    /// Version of the request data.
    pub data_version: u32,
    /// 2 SEV-SNP, 4 TDX.
    pub report_type: u32,
    /// 1, SHA-256.
    pub hash_type: u32,
    /// Bytes of the claims.
    pub variable_size: Option<u32>,
    /// Of version 2 only.
    pub capabilities: u32,
    /// JSON.
    pub claims: Vec<u8>,
    /// What stands after the claims.
    pub padding: Vec<u8>,
}

impl Report {
    /// Around 1184 bytes of SEV-SNP with this report data, zeros otherwise.
    #[must_use]
    pub fn snp(claims: &[u8]) -> Self {
        let mut hardware = vec![0; 1184];
        hardware[0x50..0x90].copy_from_slice(&report_data(claims));
        Self::around(hardware, 2, claims)
    }

    /// Around a TDREPORT.
    #[must_use]
    pub fn tdx(report: &TdReport, claims: &[u8]) -> Self {
        Self::around(report.to_bytes(), 4, claims)
    }

    /// Around any hardware's report.
    #[must_use]
    pub fn around(hardware: Vec<u8>, report_type: u32, claims: &[u8]) -> Self {
        Self {
            signature: *b"HCLA",
            header_version: 2,
            report_size: None,
            request_type: 2,
            status: 0,
            reserved: [0; 12],
            hardware,
            data_size: None,
            data_version: 1,
            report_type,
            hash_type: 1,
            variable_size: None,
            capabilities: 0,
            claims: claims.to_vec(),
            padding: vec![0; 100],
        }
    }

    /// As the NV index holds it.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let Self {
            signature,
            header_version,
            report_size,
            request_type,
            status,
            reserved,
            hardware,
            data_size,
            data_version,
            report_type,
            hash_type,
            variable_size,
            capabilities,
            claims,
            padding,
        } = self;
        let mut area = hardware.clone();
        area.resize(area.len().max(1184), 0);
        let extension = match data_version {
            2 => capabilities.to_le_bytes().to_vec(),
            _ => vec![],
        };
        let variable = u32::try_from(claims.len()).unwrap();
        let data = 20 + u32::try_from(extension.len()).unwrap() + variable;
        [
            signature.as_slice(),
            &header_version.to_le_bytes(),
            &report_size.unwrap_or(32 + 1184 + data).to_le_bytes(),
            &request_type.to_le_bytes(),
            &status.to_le_bytes(),
            reserved,
            &area,
            &data_size.unwrap_or(data).to_le_bytes(),
            &data_version.to_le_bytes(),
            &report_type.to_le_bytes(),
            &hash_type.to_le_bytes(),
            &variable_size.unwrap_or(variable).to_le_bytes(),
            &extension,
            claims,
            padding,
        ]
        .concat()
    }
}

/// The report data that commits to claims: SHA-256, then zeros.
#[must_use]
pub fn report_data(claims: &[u8]) -> [u8; 64] {
    let mut data = [0; 64];
    data[..32].copy_from_slice(&Sha256::digest(claims));
    data
}

/// A TDREPORT. Hashes that are `None` are those of its parts.
#[derive(Debug, Clone)]
pub struct TdReport {
    /// `REPORTTYPE`.
    pub kind: [u8; 4],
    /// Reserved bytes of the head: 12 after the type, then 32 after the report data.
    pub reserved: ([u8; 12], [u8; 32]),
    /// `CPUSVN`.
    pub cpu_svn: [u8; 16],
    /// `TEE_TCB_INFO_HASH`.
    pub tcb_hash: Option<[u8; 48]>,
    /// `TEE_INFO_HASH`.
    pub info_hash: Option<[u8; 48]>,
    /// `REPORTDATA`.
    pub report_data: [u8; 64],
    /// `TEE_TCB_INFO`, 239 bytes.
    pub tcb_info: Vec<u8>,
    /// The 17 bytes between the parts.
    pub between: [u8; 17],
    /// `TDINFO`, 512 bytes.
    pub td_info: Vec<u8>,
}

impl TdReport {
    /// One whose every field that a quote repeats has a value of its own.
    #[must_use]
    pub fn new(report_data: [u8; 64]) -> Self {
        let fill = |length: usize, from: u8| -> Vec<u8> {
            (0..length)
                .map(|at| from.wrapping_add(u8::try_from(at % 251).unwrap()))
                .collect()
        };
        // VALID, then 136 bytes of fields, then reserved ones.
        let tcb_info = [fill(144, 3), vec![0; 95]].concat();
        let td_info = [fill(448, 101), vec![0; 64]].concat();
        Self {
            kind: [0x81, 0, 0, 0],
            reserved: ([0; 12], [0; 32]),
            cpu_svn: [9; 16],
            tcb_hash: None,
            info_hash: None,
            report_data,
            tcb_info,
            between: [0; 17],
            td_info,
        }
    }

    /// As a CPU writes it, with a MAC that nobody can check.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let hash = |given: Option<[u8; 48]>, part: &[u8]| {
            given.unwrap_or_else(|| Sha384::digest(part).into())
        };
        [
            self.kind.as_slice(),
            &self.reserved.0,
            &self.cpu_svn,
            &hash(self.tcb_hash, &self.tcb_info),
            &hash(self.info_hash, &self.td_info),
            &self.report_data,
            &self.reserved.1,
            &[0xaa; 32],
            &self.tcb_info,
            &self.between,
            &self.td_info,
        ]
        .concat()
    }

    /// Header and body of a quote that repeats this report: version 4 or 5, and for 5 the body's type.
    /// Nothing signs it here.
    #[must_use]
    pub fn to_quote(&self, version: u16, body_type: u16) -> Vec<u8> {
        let mut quote = version.to_le_bytes().to_vec();
        quote.resize(48, 0x33);
        let td15 = version == 5 && body_type == 3;
        if version == 5 {
            let size: u32 = if td15 { 648 } else { 584 };
            quote.extend(body_type.to_le_bytes());
            quote.extend(size.to_le_bytes());
        }
        // TEE_TCB_SVN, MRSEAM, MRSIGNERSEAM, SEAMATTRIBUTES
        quote.extend(&self.tcb_info[8..128]);
        // ATTRIBUTES, XFAM, MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMRs
        quote.extend(&self.td_info[..400]);
        quote.extend(self.report_data);
        if td15 {
            quote.extend(&self.tcb_info[128..144]);
            quote.extend(&self.td_info[400..448]);
        }
        quote
    }
}

/// Claims, member by member. What is `None` is left out.
#[derive(Debug, Clone)]
pub struct Claims {
    /// Objects of `keys`.
    pub keys: Vec<String>,
    /// Members of `vm-configuration`, as JSON.
    pub configuration: Vec<(String, String)>,
    /// `user-data`.
    pub user_data: Option<String>,
    /// Members after these, as JSON.
    pub more: Vec<(String, String)>,
}

impl Claims {
    /// Of a machine that has everything a strict policy asks for.
    #[must_use]
    pub fn new(attestation_key: &Key, endorsement_key: &Key) -> Self {
        let member = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        Self {
            keys: vec![
                jwk("HCLAkPub", "sign", attestation_key),
                jwk("HCLEkPub", "encrypt", endorsement_key),
            ],
            configuration: vec![
                member("console-enabled", "false"),
                member("root-cert-thumbprint", "\"x\""),
                member("secure-boot", "true"),
                member("tpm-enabled", "true"),
                member("tpm-persisted", "true"),
                member("vmUniqueId", "\"911B0EF8-9DBA-48B0-B275-4E4DF2D39252\""),
            ],
            user_data: Some("5a".repeat(64)),
            more: vec![],
        }
    }

    /// Puts another value in the place of a member of `vm-configuration`; none takes it away.
    pub fn configure(&mut self, name: &str, value: Option<&str>) {
        self.configuration.retain(|(known, _)| known != name);
        if let Some(value) = value {
            self.configuration.push((name.into(), value.into()));
        }
    }

    /// JSON.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let object = |members: &[(String, String)]| {
            let members: Vec<String> = members
                .iter()
                .map(|(name, value)| format!("\"{name}\":{value}"))
                .collect();
            format!("{{{}}}", members.join(","))
        };
        let mut members = vec![
            ("keys".into(), format!("[{}]", self.keys.join(","))),
            ("vm-configuration".into(), object(&self.configuration)),
        ];
        if let Some(text) = &self.user_data {
            members.push(("user-data".into(), format!("\"{text}\"")));
        }
        members.extend(self.more.clone());
        object(&members).into_bytes()
    }
}

/// A key as claims name it.
#[must_use]
pub fn jwk(kid: &str, operation: &str, key: &Key) -> String {
    let n = base64url(&key.modulus());
    format!(r#"{{"kid":"{kid}","key_ops":["{operation}"],"kty":"RSA","e":"AQAB","n":"{n}"}}"#)
}

/// Base64 of URLs, without padding.
#[must_use]
pub fn base64url(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut out = String::new();
    for group in bytes.chunks(3) {
        let wide = [0, 1, 2].map(|at| u32::from(group.get(at).copied().unwrap_or(0)));
        let bits = wide[0] << 16 | wide[1] << 8 | wide[2];
        for digit in 0..=group.len() {
            let value = bits >> (18 - 6 * digit) & 63;
            out.push(char::from(DIGITS[usize::try_from(value).unwrap()]));
        }
    }
    out
}
