//! Why a check of values fails. Every variant carries what was expected and what was found.

use thiserror::Error;

use super::super::body::{TdAttributes, Xfam};
use super::super::level::TcbStatus;
use super::super::types::{
    EnclaveMeasurement, Fmspc, Measurement, PceId, Ppid, ReportData, TeeTcbSvn,
};
use super::super::{EnclaveReport, PlatformFlags};
use crate::Moment;
use crate::hex::Hex;

#[derive(Debug, PartialEq, Eq, Error)]
pub(super) enum Finding {
    #[error("version is {found}, expected 4 or 5")]
    Version { found: u16 },
    #[error("tee type is {found:#x}, expected 0x81 (tdx)")]
    Tee { found: u32 },
    #[error("attestation key type is {found}, expected 2 (ecdsa p-256)")]
    KeyType { found: u16 },
    #[error(
        "quoting enclave is of vendor {}, expected intel's {}",
        Hex(found),
        Hex(expected)
    )]
    Vendor { found: [u8; 16], expected: [u8; 16] },
    #[error("the quoting enclave is in debug mode: attributes are {}", Hex(&found.attributes()))]
    QeDebug { found: Box<EnclaveReport> },
    #[error(
        "the quoting enclave's report data are {}, of this attestation key they are {}",
        .0.found,
        .0.expected
    )]
    Binding(Box<TwoReportData>),
    #[error("attributes are {found}: {what} is set")]
    Attribute {
        found: TdAttributes,
        what: &'static str,
    },
    #[error("attributes are {found}: {what} is not among those that the policy accepts")]
    Feature {
        found: TdAttributes,
        what: &'static str,
    },
    #[error("attributes are {found}: reserved bits {reserved:#x} are set")]
    Reserved { found: TdAttributes, reserved: u64 },
    #[error("attributes are {found}: SEPT_VE_DISABLE is not set")]
    SeptVe { found: TdAttributes },
    #[error("xfam is {found}: {} have to be set", Xfam::ALWAYS)]
    XfamMissing { found: Xfam },
    #[error("xfam is {found}: the policy accepts {accepted}")]
    XfamMore { found: Xfam, accepted: Xfam },
    #[error("the report is of the guest {found} within the trust domain, expected 0")]
    Vmid { found: u8 },
    #[error("{what} is {found}, expected zero: a service domain is bound, or was")]
    ServiceTd {
        what: &'static str,
        found: Measurement,
    },
    #[error("{what} is {found}, which is none of the {accepted} that the policy accepts")]
    Measurement {
        what: &'static str,
        found: Measurement,
        accepted: usize,
    },
    #[error("report data are zero: they bind nothing")]
    ReportDataZero,
    #[error("report data are {}, expected {}", .0.found, .0.expected)]
    ReportData(Box<TwoReportData>),
    #[error("no collateral is presented")]
    NoCollateral,
    #[error("statement is {id:?} version {version}, expected {expected}")]
    Kind {
        id: String,
        version: u64,
        expected: &'static str,
    },
    #[error("statement is of {issued} and current until {next}, the moment is {at}")]
    Stale {
        issued: Moment,
        next: Moment,
        at: Moment,
    },
    #[error("tcb info is of fmspc {found}, the platform has {expected}")]
    Fmspc { found: Fmspc, expected: Fmspc },
    #[error("tcb info is of pceid {found}, the platform has {expected}")]
    PceId { found: PceId, expected: PceId },
    #[error("evaluation is {found}, the policy accepts {floor} and later")]
    Evaluation { found: u32, floor: u32 },
    #[error("the quoting enclave's signer is {found}, expected {expected}")]
    QeSigner {
        found: EnclaveMeasurement,
        expected: EnclaveMeasurement,
    },
    #[error("the quoting enclave's product is {found}, expected {expected}")]
    QeProduct { found: u16, expected: u16 },
    #[error(
        "the quoting enclave's {what} is {}, expected {} under {}",
        Hex(found),
        Hex(expected),
        Hex(mask)
    )]
    QeMasked {
        what: &'static str,
        found: Vec<u8>,
        expected: Vec<u8>,
        mask: Vec<u8>,
    },
    #[error("the quoting enclave's version is {found}, below every level")]
    QeLevel { found: u16 },
    #[error("tcb info names no tdx module of major version {major}")]
    NoModule { major: u8 },
    #[error("tdx module's signer is {found}, expected {expected}")]
    ModuleSigner {
        found: Measurement,
        expected: Measurement,
    },
    #[error(
        "tdx module's attributes are {}, expected {} under {}",
        Hex(found),
        Hex(expected),
        Hex(mask)
    )]
    ModuleAttributes {
        found: [u8; 8],
        expected: [u8; 8],
        mask: [u8; 8],
    },
    #[error("tdx module's version in {found} is below every level")]
    ModuleLevel { found: TeeTcbSvn },
    #[error(
        "components {} with pcesvn {pce_svn} and tee tcb svn {tee} are below every level",
        Hex(components)
    )]
    PlatformLevel {
        components: [u8; 16],
        pce_svn: u16,
        tee: TeeTcbSvn,
    },
    #[error("tee tcb svn is {found}, the policy accepts {floor} and later")]
    Floor { found: TeeTcbSvn, floor: TeeTcbSvn },
    #[error("the platform, its module or its quoting enclave was revoked")]
    Revoked,
    #[error("status is {found}, the policy accepts {}", list(accepted))]
    Status {
        found: TcbStatus,
        accepted: Vec<TcbStatus>,
    },
    #[error("advisories {} concern the platform, which the policy refuses", .found.join(", "))]
    Advisories { found: Vec<String> },
    #[error("{what} is on or not said, which the policy refuses ({found})")]
    Flag {
        what: &'static str,
        found: PlatformFlags,
    },
    #[error("platform {found} is refused by the policy")]
    PlatformDenied { found: Ppid },
    #[error("platform {found} is none of the {accepted} that the policy accepts")]
    PlatformUnknown { found: Ppid, accepted: usize },
    #[error("event log leads to {computed} in register {index}, the quote has {quoted}")]
    Replay {
        index: usize,
        computed: Measurement,
        quoted: Measurement,
    },
}

/// Boxed where they stand, for they are the largest of what is found.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct TwoReportData {
    pub(super) found: ReportData,
    pub(super) expected: ReportData,
}

fn list(statuses: &[TcbStatus]) -> String {
    if statuses.is_empty() {
        return "none".into();
    }
    let texts: Vec<&str> = statuses.iter().map(|status| status.as_str()).collect();
    texts.join(", ")
}
