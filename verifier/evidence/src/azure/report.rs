//! The paravisor's report: a header, the hardware's report, and the runtime claims that it commits to.
//!
//! Layout, all integers little-endian ([`REPORT_AT`] and following constants):
//!
//! | bytes | field | here |
//! |---|---|---|
//! | 0..4 | signature | `HCLA` |
//! | 4..8 | version | 1 or 2 |
//! | 8..12 | report size | bytes up to the end of the claims |
//! | 12..16 | request type | 2, attestation of the TPM's keys |
//! | 16..20 | status | 0 |
//! | 20..32 | reserved | 0 |
//! | 32..1216 | hardware report | 1184 bytes of SEV-SNP, or a TDREPORT of 1024 and zeros |
//! | 1216..1220 | data size | bytes from 1216 to the end of the claims |
//! | 1220..1224 | version | 1, or 2: then 4 bytes stand before the claims |
//! | 1224..1228 | report type | 2 SEV-SNP, 4 TDX |
//! | 1228..1232 | hash type | 1, SHA-256 |
//! | 1232..1236 | variable data size | bytes of the claims |
//! | (1236..1240) | capability bitmap | of version 2 only |
//! | then | runtime claims | JSON |
//! | then | padding | zeros, to at most 2600 bytes, the size of the NV index |
//!
//! Header and request data are signed by nobody. So each of their fields has one value for given
//! contents, and nothing is decided by them that the hardware's report does not confirm.
//!
//! Source: microsoft/openvmm, `openhcl_attestation_protocol/src/igvm_attest/get.rs`
//! (`IgvmAttestRequestBase`); sizes of the NV index from Microsoft's "Azure confidential VM guest
//! attestation design". Version 2 of the request data was never seen in a capture.

use thiserror::Error;

use crate::reader::{FormError, Reader, expect};

/// Where the hardware's report starts.
pub const REPORT_AT: usize = 32;

/// Length of a SEV-SNP report, which is also that of the area for either kind. Source: AMD 56860, 7.3.
pub const SNP_REPORT_BYTES: usize = 1184;

/// Length of a TDREPORT. Source: Intel TDX Module ABI, `TDREPORT_STRUCT`.
pub const TD_REPORT_BYTES: usize = 1024;

/// Longest report, padding among it: the size of NV index 0x01400001.
pub const MAX_REPORT_BYTES: usize = 2600;

/// A paravisor's report, of the right form, verified in no way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ParavisorReport<'a> {
    header_version: u32,
    data_version: u32,
    capabilities: Option<u32>,
    hardware: HardwareReport<'a>,
    claims: &'a [u8],
    padding: usize,
}

/// The hardware's own report, as it stands in the paravisor's. It is for `snp` or `tdx` to verify.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HardwareReport<'a> {
    /// `ATTESTATION_REPORT` of SEV-SNP, 1184 bytes.
    Snp(&'a [u8; SNP_REPORT_BYTES]),
    /// `TDREPORT_STRUCT`, 1024 bytes. Its MAC can be checked by that CPU only: a quote has to repeat it.
    Tdx(&'a [u8; TD_REPORT_BYTES]),
}

/// Which CPU stands under a paravisor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hardware {
    /// AMD SEV-SNP.
    Snp,
    /// Intel TDX.
    Tdx,
}

impl core::fmt::Display for Hardware {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(match self {
            Self::Snp => "sev-snp",
            Self::Tdx => "tdx",
        })
    }
}

/// Why bytes are not a paravisor's report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ReportError {
    /// A field is malformed.
    #[error("paravisor report: {0}")]
    Form(#[from] FormError),
    /// Longer than the NV index that it stands in.
    #[error("paravisor report is {bytes} bytes, limit is {MAX_REPORT_BYTES}")]
    TooLong {
        /// Its length.
        bytes: usize,
    },
    /// A version of header or request data whose layout is not known.
    #[error("paravisor report has version {version} of its {part}, known are 1 and 2")]
    Version {
        /// Of what.
        part: &'static str,
        /// The version.
        version: u32,
    },
    /// Neither SEV-SNP nor TDX.
    #[error(
        "paravisor report holds a hardware report of type {found}, known are 2 (sev-snp) and 4 (tdx)"
    )]
    ReportType {
        /// The type.
        found: u32,
    },
    /// A hash of the claims that report data of 32 bytes and zeros cannot hold.
    #[error("paravisor report hashes its claims by type {found}, known is 1 (sha-256)")]
    HashType {
        /// The type.
        found: u32,
    },
    /// A byte that has to be zero is not.
    #[error("paravisor report has a byte that is not zero in its {area}")]
    NotZero {
        /// Where.
        area: &'static str,
    },
}

impl<'a> ParavisorReport<'a> {
    /// Reads a report, all of the bytes.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, ReportError> {
        if bytes.len() > MAX_REPORT_BYTES {
            return Err(ReportError::TooLong { bytes: bytes.len() });
        }
        let mut reader = Reader::new(bytes);
        let signature: [u8; 4] = reader.array("signature")?;
        expect(
            "signature",
            u32::from_be_bytes(signature).into(),
            u32::from_be_bytes(*b"HCLA").into(),
        )?;
        let header_version = version(&mut reader, "header")?;
        let report_size = reader.u32_le("report_size")?;
        reader.expect_u32_le(REQUEST_AK_CERT, "request_type")?;
        reader.expect_u32_le(0, "status")?;
        zero(reader.take(12, "reserved")?, "header's reserved field")?;

        let area = reader.take(SNP_REPORT_BYTES, "attestation_report")?;
        let data_size = reader.u32_le("data_size")?;
        let data_version = version(&mut reader, "request data")?;
        let report_type = reader.u32_le("report_type")?;
        let hash_type = reader.u32_le("report_data_hash_type")?;
        let variable = reader.u32_le("variable_data_size")?;
        if hash_type != HASH_SHA256 {
            return Err(ReportError::HashType { found: hash_type });
        }
        let (capabilities, fixed) = match data_version {
            1 => (None, REQUEST_DATA_BYTES),
            _ => (
                Some(reader.u32_le("capability_bitmap")?),
                REQUEST_DATA_BYTES.saturating_add(4),
            ),
        };
        // Three lengths say the same thing, in different words; each has to.
        let whole = u64::from(variable).saturating_add(fixed);
        expect("data_size", data_size.into(), whole)?;
        expect(
            "report_size",
            report_size.into(),
            whole.saturating_add(DATA_AT),
        )?;
        let length = usize::try_from(variable).map_err(|_| FormError::TooLarge {
            field: "variable_data_size",
            found: variable.into(),
            limit: 0,
        })?;
        let claims = reader.take(length, "runtime claims")?;
        zero(reader.rest(), "padding")?;
        Ok(Self {
            header_version,
            data_version,
            capabilities,
            hardware: hardware(report_type, area)?,
            claims,
            padding: reader.rest().len(),
        })
    }

    /// Version of the header: 1 or 2.
    #[must_use]
    pub fn header_version(&self) -> u32 {
        self.header_version
    }

    /// Version of the request data: 1 or 2.
    #[must_use]
    pub fn data_version(&self) -> u32 {
        self.data_version
    }

    /// What the paravisor asked of the host's agent; of version 2 only, signed by nobody.
    #[must_use]
    pub fn capabilities(&self) -> Option<u32> {
        self.capabilities
    }

    /// The hardware's report.
    #[must_use]
    pub fn hardware(&self) -> HardwareReport<'a> {
        self.hardware
    }

    /// The runtime claims, JSON, as they were hashed.
    #[must_use]
    pub fn claims(&self) -> &'a [u8] {
        self.claims
    }

    /// Zeros after the claims, in bytes.
    #[must_use]
    pub fn padding(&self) -> usize {
        self.padding
    }
}

impl<'a> HardwareReport<'a> {
    /// Which hardware.
    #[must_use]
    pub fn kind(&self) -> Hardware {
        match self {
            Self::Snp(_) => Hardware::Snp,
            Self::Tdx(_) => Hardware::Tdx,
        }
    }

    /// The report's bytes.
    #[must_use]
    pub fn bytes(&self) -> &'a [u8] {
        match self {
            Self::Snp(bytes) => bytes.as_slice(),
            Self::Tdx(bytes) => bytes.as_slice(),
        }
    }

    /// The 64 bytes that the paravisor had the hardware put its name to: REPORT_DATA or REPORTDATA.
    ///
    /// # Errors
    /// If the report is shorter than one is.
    pub fn report_data(&self) -> Result<[u8; 64], FormError> {
        let (bytes, at) = match self {
            // SPEC: AMD 56860, table 23: REPORT_DATA at 50h.
            Self::Snp(bytes) => (bytes.as_slice(), 0x50),
            // SPEC: Intel TDX Module ABI, REPORTMACSTRUCT: REPORTDATA at 128.
            Self::Tdx(bytes) => (bytes.as_slice(), 128),
        };
        let mut reader = Reader::new(bytes);
        reader.take(at, "fields before the report data")?;
        reader.array("report data")
    }
}

fn hardware(report_type: u32, area: &[u8]) -> Result<HardwareReport<'_>, ReportError> {
    let mut reader = Reader::new(area);
    match report_type {
        REPORT_SNP => Ok(HardwareReport::Snp(reader.array_ref("attestation_report")?)),
        REPORT_TDX => {
            let report = reader.array_ref("attestation_report")?;
            zero(reader.rest(), "rest of the hardware report's area")?;
            Ok(HardwareReport::Tdx(report))
        }
        found => Err(ReportError::ReportType { found }),
    }
}

fn version(reader: &mut Reader<'_>, part: &'static str) -> Result<u32, ReportError> {
    let version = reader.u32_le("version")?;
    if matches!(version, 1 | 2) {
        Ok(version)
    } else {
        Err(ReportError::Version { part, version })
    }
}

fn zero(bytes: &[u8], area: &'static str) -> Result<(), ReportError> {
    if bytes.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(ReportError::NotZero { area })
    }
}

/// Where the request data start: after header and hardware report, 32 + 1184.
const DATA_AT: u64 = 1216;

/// Length of the request data of version 1, in bytes.
const REQUEST_DATA_BYTES: u64 = 20;

/// `AK_CERT_REQUEST`: the claims name the TPM's keys. Claims of other requests name other keys.
const REQUEST_AK_CERT: u32 = 2;

/// `SHA_256`.
const HASH_SHA256: u32 = 1;

/// `SNP_VM_REPORT`.
const REPORT_SNP: u32 = 2;

/// `TDX_VM_REPORT`.
const REPORT_TDX: u32 = 4;
