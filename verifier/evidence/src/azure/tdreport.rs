//! The TDREPORT in a paravisor's report, and the quote that has to repeat it.
//!
//! A TDREPORT is authenticated by a MAC of the CPU that made it, which nobody else can check. A quote
//! is signed, but by its own layout: so every field of the quote's body is compared with the same
//! field of the TDREPORT, and the quote itself is for `tdx` to verify, over the same bytes.
//!
//! Layout of the TDREPORT, 1024 bytes: `REPORTMACSTRUCT` 0..256 (type, CPUSVN, hashes of the two
//! parts below, REPORTDATA at 128, MAC at 224), `TEE_TCB_INFO` 256..495, reserved, `TDINFO` 512..1024.
//!
//! Source: Intel TDX Module ABI specification, "TDREPORT_STRUCT"; Intel TDX DCAP Quoting Library API,
//! A.3 (quote versions 4 and 5).

use sha2::{Digest as _, Sha384};
use thiserror::Error;

use super::report::TD_REPORT_BYTES;
use crate::reader::{FormError, Reader, expect};

/// Fields of a TDREPORT, in the order in which a quote's body has them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TdReport<'a> {
    /// `CPUSVN`.
    pub cpu_svn: &'a [u8; 16],
    /// `REPORTDATA`.
    pub report_data: &'a [u8; 64],
    /// `TEE_TCB_SVN`.
    pub tee_tcb_svn: &'a [u8; 16],
    /// Measurement of the TDX module.
    pub mr_seam: &'a [u8; 48],
    /// Signer of the TDX module; zero is Intel.
    pub mr_signer_seam: &'a [u8; 48],
    /// Attributes of the TDX module.
    pub seam_attributes: &'a [u8; 8],
    /// `TEE_TCB_SVN2`: the module that a running update would fall back to.
    pub tee_tcb_svn2: &'a [u8; 16],
    /// `ATTRIBUTES` of the TD.
    pub attributes: &'a [u8; 8],
    /// `XFAM` of the TD.
    pub xfam: &'a [u8; 8],
    /// Launch measurement.
    pub mr_td: &'a [u8; 48],
    /// `MRCONFIGID`.
    pub mr_config_id: &'a [u8; 48],
    /// `MROWNER`.
    pub mr_owner: &'a [u8; 48],
    /// `MROWNERCONFIG`.
    pub mr_owner_config: &'a [u8; 48],
    /// RTMR 0 to 3.
    pub rtmr: [&'a [u8; 48]; 4],
    /// Hash of service TDs.
    pub mr_service_td: &'a [u8; 48],
}

/// Why bytes are not a TDREPORT, or not the one that a quote repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum TdReportError {
    /// A field is malformed.
    #[error("tdreport: {0}")]
    Form(#[from] FormError),
    /// Bytes that have to be zero are not.
    #[error("tdreport has bytes that are not zero in {field}")]
    NotZero {
        /// Which.
        field: &'static str,
    },
    /// A hash in the head is not that of its part.
    #[error("tdreport has another {field} than its part gives")]
    Hash {
        /// Which.
        field: &'static str,
    },
    /// The quote is malformed as far as its body.
    #[error("quote: {0}")]
    Quote(FormError),
    /// A version of quotes that is not known.
    #[error("quote has version {found}, known are 4 and 5")]
    QuoteVersion {
        /// The version.
        found: u16,
    },
    /// A body of another kind.
    #[error("quote has a body of type {found}, known are 2 (td 1.0) and 3 (td 1.5)")]
    BodyType {
        /// The type.
        found: u16,
    },
    /// The quote says something else.
    #[error("quote has another {field} than the tdreport")]
    Other {
        /// What.
        field: &'static str,
    },
}

impl<'a> TdReport<'a> {
    /// Reads a TDREPORT and recomputes both hashes of its head.
    pub fn parse(bytes: &'a [u8; TD_REPORT_BYTES]) -> Result<Self, TdReportError> {
        let mut r = Reader::new(bytes);
        // TYPE 0x81 is a TD, subtype and version zero for one without service TDs.
        let kind: [u8; 4] = r.array("REPORTTYPE")?;
        expect("REPORTTYPE", u32::from_be_bytes(kind).into(), 0x8100_0000)?;
        zero(r.take(12, "reserved")?, "REPORTMACSTRUCT.reserved")?;
        let cpu_svn = r.array_ref("CPUSVN")?;
        let tcb_hash: &[u8; 48] = r.array_ref("TEE_TCB_INFO_HASH")?;
        let info_hash: &[u8; 48] = r.array_ref("TEE_INFO_HASH")?;
        let report_data = r.array_ref("REPORTDATA")?;
        zero(r.take(32, "reserved")?, "REPORTMACSTRUCT.reserved")?;
        r.take(32, "MAC")?;

        let tcb_info = r.take(239, "TEE_TCB_INFO")?;
        zero(r.take(17, "reserved")?, "TDREPORT_STRUCT.reserved")?;
        let td_info = r.take(512, "TDINFO")?;
        r.end()?;
        hashed(tcb_info, tcb_hash, "TEE_TCB_INFO_HASH")?;
        hashed(td_info, info_hash, "TEE_INFO_HASH")?;

        let mut t = Reader::new(tcb_info);
        t.take(8, "VALID")?;
        let tee_tcb_svn = t.array_ref("TEE_TCB_SVN")?;
        let mr_seam = t.array_ref("MRSEAM")?;
        let mr_signer_seam = t.array_ref("MRSIGNERSEAM")?;
        let seam_attributes = t.array_ref("SEAMATTRIBUTES")?;
        let tee_tcb_svn2 = t.array_ref("TEE_TCB_SVN2")?;
        zero(t.rest(), "TEE_TCB_INFO.reserved")?;

        let mut i = Reader::new(td_info);
        let report = Self {
            cpu_svn,
            report_data,
            tee_tcb_svn,
            mr_seam,
            mr_signer_seam,
            seam_attributes,
            tee_tcb_svn2,
            attributes: i.array_ref("ATTRIBUTES")?,
            xfam: i.array_ref("XFAM")?,
            mr_td: i.array_ref("MRTD")?,
            mr_config_id: i.array_ref("MRCONFIGID")?,
            mr_owner: i.array_ref("MROWNER")?,
            mr_owner_config: i.array_ref("MROWNERCONFIG")?,
            rtmr: [
                i.array_ref("RTMR0")?,
                i.array_ref("RTMR1")?,
                i.array_ref("RTMR2")?,
                i.array_ref("RTMR3")?,
            ],
            mr_service_td: i.array_ref("SERVTD_HASH")?,
        };
        zero(i.rest(), "TDINFO.reserved")?;
        Ok(report)
    }

    /// Compares every field of a quote's body with this report. The quote's signature is not looked at.
    pub fn is_quoted(&self, quote: &[u8]) -> Result<QuoteBody, TdReportError> {
        let mut q = Reader::new(quote);
        let head = |error| TdReportError::Quote(error);
        let version = q.u16_le("version").map_err(head)?;
        q.take(46, "header").map_err(head)?;
        let body = match version {
            4 => QuoteBody::Td10,
            5 => match q.u16_le("body type").map_err(head)? {
                2 => QuoteBody::Td10,
                3 => QuoteBody::Td15,
                found => return Err(TdReportError::BodyType { found }),
            },
            found => return Err(TdReportError::QuoteVersion { found }),
        };
        if version == 5 {
            let size = q.u32_le("body size").map_err(head)?;
            expect("body size", size.into(), body.bytes()).map_err(head)?;
        }
        let mut same = |field, bytes: &[u8]| {
            let found = q.take(bytes.len(), field).map_err(TdReportError::Quote)?;
            if found == bytes {
                Ok(())
            } else {
                Err(TdReportError::Other { field })
            }
        };
        same("TEE_TCB_SVN", self.tee_tcb_svn)?;
        same("MRSEAM", self.mr_seam)?;
        same("MRSIGNERSEAM", self.mr_signer_seam)?;
        same("SEAMATTRIBUTES", self.seam_attributes)?;
        same("TDATTRIBUTES", self.attributes)?;
        same("XFAM", self.xfam)?;
        same("MRTD", self.mr_td)?;
        same("MRCONFIGID", self.mr_config_id)?;
        same("MROWNER", self.mr_owner)?;
        same("MROWNERCONFIG", self.mr_owner_config)?;
        for (field, rtmr) in ["RTMR0", "RTMR1", "RTMR2", "RTMR3"]
            .into_iter()
            .zip(self.rtmr)
        {
            same(field, rtmr)?;
        }
        same("REPORTDATA", self.report_data)?;
        if body == QuoteBody::Td15 {
            same("TEE_TCB_SVN2", self.tee_tcb_svn2)?;
            same("MRSERVICETD", self.mr_service_td)?;
        }
        Ok(body)
    }
}

/// Which body a quote has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QuoteBody {
    /// 584 bytes: of quote version 4, or of type 2 in version 5.
    Td10,
    /// 648 bytes, type 3 of version 5: also the second TCB and the service TDs.
    Td15,
}

impl QuoteBody {
    fn bytes(self) -> u64 {
        match self {
            Self::Td10 => 584,
            Self::Td15 => 648,
        }
    }
}

fn hashed(part: &[u8], hash: &[u8; 48], field: &'static str) -> Result<(), TdReportError> {
    if Sha384::digest(part).as_slice() == hash {
        Ok(())
    } else {
        Err(TdReportError::Hash { field })
    }
}

fn zero(bytes: &[u8], field: &'static str) -> Result<(), TdReportError> {
    if bytes.iter().all(|byte| *byte == 0) {
        Ok(())
    } else {
        Err(TdReportError::NotZero { field })
    }
}
