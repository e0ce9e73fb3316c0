//! The report on an enclave, here the quoting enclave: 384 bytes, little-endian.
//!
//! Source: Intel SDM volume 3D, `REPORT` structure; `sgx_report_body_t` of Intel's SDK. The fields of key
//! separation (extended product id, configuration id and version, family id) are reserved here: the
//! quoting enclave does not use it, and where a vendor says zero, zero is required.

use super::types::{CpuSvn, EnclaveMeasurement, ReportData};
use crate::reader::{FormError, Reader};

/// Length of a report, in bytes.
pub(super) const REPORT_BYTES: usize = 384;

/// What a processor says about an enclave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EnclaveReport {
    cpu_svn: CpuSvn,
    misc_select: [u8; 4],
    attributes: [u8; 16],
    mrenclave: EnclaveMeasurement,
    mrsigner: EnclaveMeasurement,
    isv_prod_id: u16,
    isv_svn: u16,
    report_data: ReportData,
}

impl EnclaveReport {
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, FormError> {
        let mut r = Reader::new(bytes);
        let cpu_svn = CpuSvn(r.array("CPUSVN")?);
        let misc_select = r.array("MISCSELECT")?;
        zero(&mut r, 28, "reserved after MISCSELECT")?;
        let attributes = r.array("ATTRIBUTES")?;
        let mrenclave = EnclaveMeasurement(r.array("MRENCLAVE")?);
        zero(&mut r, 32, "reserved after MRENCLAVE")?;
        let mrsigner = EnclaveMeasurement(r.array("MRSIGNER")?);
        zero(&mut r, 96, "reserved after MRSIGNER")?;
        let isv_prod_id = r.u16_le("ISVPRODID")?;
        let isv_svn = r.u16_le("ISVSVN")?;
        zero(&mut r, 60, "reserved after ISVSVN")?;
        let report_data = ReportData(r.array("REPORTDATA")?);
        r.end()?;
        Ok(Self {
            cpu_svn,
            misc_select,
            attributes,
            mrenclave,
            mrsigner,
            isv_prod_id,
            isv_svn,
            report_data,
        })
    }

    /// Versions of the processor under it.
    #[must_use]
    pub fn cpu_svn(&self) -> CpuSvn {
        self.cpu_svn
    }

    /// Extended features, as bytes, lowest first.
    #[must_use]
    pub fn misc_select(&self) -> [u8; 4] {
        self.misc_select
    }

    /// Flags and extended state, as bytes, lowest first.
    #[must_use]
    pub fn attributes(&self) -> [u8; 16] {
        self.attributes
    }

    /// Whether its memory can be read from outside.
    #[must_use]
    pub fn is_debug(&self) -> bool {
        let [flags, ..] = self.attributes;
        flags & DEBUG != 0
    }

    /// What it is.
    #[must_use]
    pub fn mrenclave(&self) -> EnclaveMeasurement {
        self.mrenclave
    }

    /// Who signed it.
    #[must_use]
    pub fn mrsigner(&self) -> EnclaveMeasurement {
        self.mrsigner
    }

    /// Which product of its signer.
    #[must_use]
    pub fn isv_prod_id(&self) -> u16 {
        self.isv_prod_id
    }

    /// Its version.
    #[must_use]
    pub fn isv_svn(&self) -> u16 {
        self.isv_svn
    }

    /// What it asked to have signed.
    #[must_use]
    pub fn report_data(&self) -> ReportData {
        self.report_data
    }
}

/// So many bytes, all zero.
fn zero(r: &mut Reader<'_>, count: usize, field: &'static str) -> Result<(), FormError> {
    match r.take(count, field)?.iter().find(|byte| **byte != 0) {
        None => Ok(()),
        Some(found) => Err(FormError::Value {
            field,
            found: u64::from(*found),
            expected: 0,
        }),
    }
}

/// Bit 1 of an enclave's flags.
const DEBUG: u8 = 0x02;
