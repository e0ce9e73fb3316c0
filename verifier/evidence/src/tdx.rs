//! Intel TDX: a quote, and the collateral that says what it is worth.
//!
//! In: [`TdxEvidence`], the bytes as received; a [`Policy`], what they have to say; [`Roots`]; a moment.
//! Out: [`TdxAppraisal`]: every check by name, and, only if none failed, what is now known
//! ([`VerifiedTdx`]). Relies on `countersign-certificates` for X.509 and on [`crate::eventlog`] for the
//! log of a guest's boot.
//!
//! What it shows: a processor of Intel, with a TDX module, a quoting enclave and microcode of these
//! versions, ran a trust domain with this initial memory, and these registers and report data when it was
//! asked. What that is worth at the given moment is what Intel's collateral says, and the policy accepts.
//!
//! The way of trust: root → PCK CA → PCK of this platform → quoting enclave's report → attestation key →
//! quote; and root → TCB signer → TCB info and identity of the quoting enclave; and root and PCK CA → lists
//! of what they took back.
//!
//! Spec: `docs/spec/tdx.md`. Sources: Intel TDX DCAP Quoting Library API (layouts of quotes), Intel PCK
//! Certificate and CRL Profile, Intel PCS API v4 (collateral, and how levels are chosen).

mod appraise;
mod body;
mod collateral;
mod enclave;
mod forms;
mod identity;
mod level;
mod pck;
mod pki;
mod policy;
mod quote;
mod roots;
mod tcbinfo;
mod types;

pub use appraise::appraise_tdx;
pub use body::{AttributeBit, ExtendedBody, LaterBody, TdAttributes, TdBody, Xfam};
pub use collateral::{Collateral, CollateralError, PcsAnswers};
pub use enclave::EnclaveReport;
pub use forms::{MAX_PADDING_BYTES, PaddingError, without_padding};
pub use level::TcbStatus;
pub use pck::{PckExtension, PlatformFlags};
pub use policy::{Features, Flag, Flags, Policy, SeptVe};
pub use quote::{Header, MAX_QUOTE_BYTES};
pub use roots::{RootDigest, Roots};
pub use types::{
    CpuSvn, EnclaveMeasurement, Fmspc, Measurement, PceId, Ppid, ReportData, TdId, TeeTcbSvn,
};

use crate::Moment;
use crate::appraisal::{Check, Outcome};
use crate::party::Party;

/// What a trust domain (or what claims to be one) presented, untouched.
#[derive(Clone, Copy)]
pub struct TdxEvidence<'a> {
    /// The quote, exactly: see [`without_padding`] for what platforms hand out.
    pub quote: &'a [u8],
    /// What Intel says about the platform. Without it nothing is known of its worth.
    pub collateral: Option<&'a Collateral>,
    /// Event log of the boot (CCEL), where there is one.
    pub event_log: Option<&'a [u8]>,
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TdxAppraisal {
    checks: Vec<Check<TdxCheck>>,
    claimed: Option<Box<Claimed>>,
    verified: Option<Box<VerifiedTdx>>,
}

/// What a quote says, whether or not it holds: for display alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claimed {
    header: Header,
    body: TdBody,
}

impl Claimed {
    /// The quote's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The report on the trust domain.
    #[must_use]
    pub fn body(&self) -> &TdBody {
        &self.body
    }
}

impl TdxAppraisal {
    /// All checks, each once, in the order of [`TdxCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<TdxCheck>] {
        &self.checks
    }

    /// What the quote says, if it could be read. Nothing of it is verified.
    #[must_use]
    pub fn claimed(&self) -> Option<&Claimed> {
        self.claimed.as_deref()
    }

    /// What is known now. `None` if any check failed, or one that is needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedTdx> {
        self.verified.as_deref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<TdxCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

/// What evidence says, all checks passed. Only [`appraise_tdx`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedTdx {
    header: Header,
    body: TdBody,
    quoting_enclave: EnclaveReport,
    platform: PckExtension,
    tcb: PlatformTcb,
}

/// What Intel says of a platform's versions, at the moment of the appraisal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformTcb {
    /// Of the platform, its TDX module and its quoting enclave together.
    pub status: TcbStatus,
    /// Known weaknesses of the matched levels, in order, each once.
    pub advisories: Vec<String>,
    /// The oldest date of the matched levels.
    pub date: Moment,
    /// Number of the evaluation that the TCB info is of.
    pub evaluation: u32,
    /// Until when all of the collateral is current.
    pub current_until: Moment,
}

impl VerifiedTdx {
    /// The quote's header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The report on the trust domain: measurements, registers, report data, attributes, versions.
    #[must_use]
    pub fn body(&self) -> &TdBody {
        &self.body
    }

    /// The report on the quoting enclave that signed.
    #[must_use]
    pub fn quoting_enclave(&self) -> &EnclaveReport {
        &self.quoting_enclave
    }

    /// What the certificate says of the platform.
    #[must_use]
    pub fn platform(&self) -> &PckExtension {
        &self.platform
    }

    /// What Intel says of its versions.
    #[must_use]
    pub fn tcb(&self) -> &PlatformTcb {
        &self.tcb
    }

    /// Who has to be trusted for this to mean anything. A paravisor that runs in the trust domain comes
    /// on top, where a platform has one.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        &[Party::Intel]
    }
}

macro_rules! checks {
    ($($(#[$doc:meta])* $variant:ident = $text:literal,)*) => {
        /// The checks of [`appraise_tdx`]. Their texts are stable: reports and tools rely on them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum TdxCheck { $($(#[$doc])* $variant,)* }

        impl TdxCheck {
            /// Every check, in the order in which an appraisal lists them.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable text.
            #[must_use]
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }
    };
}

checks! {
    /// The quote is not longer than any is, and has a header whose reserved bytes are zero.
    QuoteHeader = "tdx.quote.header",
    /// It has version 4 or 5.
    QuoteVersion = "tdx.quote.version",
    /// It is of a trust domain, not of an enclave.
    QuoteTee = "tdx.quote.tee",
    /// Its attestation key is of ECDSA P-256.
    QuoteKeyType = "tdx.quote.keytype",
    /// It was made by Intel's quoting enclave.
    QuoteVendor = "tdx.quote.vendor",
    /// Its body is a report on a trust domain, of the exact size.
    QuoteBody = "tdx.quote.body",
    /// Its signature data have the exact form, and nothing follows them.
    QuoteForm = "tdx.quote.form",
    /// They carry the quoting enclave's report (type 6) and in it a chain of certificates (type 5).
    QuoteCertification = "tdx.quote.certification",
    /// The chain is of three certificates: of the platform, its CA, and a root.
    PckForm = "tdx.pck.form",
    /// The root is one of ours.
    PckRoot = "tdx.pck.root",
    /// The root issued the CA, and the CA the platform's certificate.
    PckChain = "tdx.pck.chain",
    /// All three are valid at the moment.
    PckValidity = "tdx.pck.validity",
    /// The platform's certificate says which platform it is of.
    PckExtension = "tdx.pck.extension",
    /// The report on the quoting enclave has the exact form.
    QeForm = "tdx.qe.form",
    /// The platform's key signed it.
    QeSignature = "tdx.qe.signature",
    /// The quoting enclave is not in debug mode.
    QeDebug = "tdx.qe.debug",
    /// The quoting enclave vouches for the attestation key.
    QuoteKey = "tdx.quote.key",
    /// The attestation key signed header and body.
    QuoteSignature = "tdx.quote.signature",
    /// The trust domain cannot be debugged.
    TdDebug = "tdx.td.debug",
    /// It cannot be profiled.
    TdProfiling = "tdx.td.profiling",
    /// It cannot be migrated.
    TdMigratable = "tdx.td.migratable",
    /// No reserved attribute is set.
    TdReserved = "tdx.td.reserved",
    /// Its memory does not turn into faults that it has to handle.
    TdSeptVe = "tdx.td.septve",
    /// It has no other optional feature than the policy accepts.
    TdFeatures = "tdx.td.features",
    /// It has no other extended state than the policy accepts.
    TdXfam = "tdx.td.xfam",
    /// It is the trust domain itself, not a guest within it.
    TdVmid = "tdx.td.vmid",
    /// No service domain is bound to it.
    TdServiceTd = "tdx.td.servicetd",
    /// The TDX module is one that the policy names.
    TdMrseam = "tdx.td.mrseam",
    /// Its initial memory is one that the policy names.
    TdMrtd = "tdx.td.mrtd",
    /// Its configuration is one that the policy names.
    TdConfigId = "tdx.td.configid",
    /// Its owner is one that the policy names.
    TdOwner = "tdx.td.owner",
    /// Its owner's configuration is one that the policy names.
    TdOwnerConfig = "tdx.td.ownerconfig",
    /// Register 0 (virtual hardware and firmware's configuration) has a value that the policy names.
    TdRtmr0 = "tdx.td.rtmr0",
    /// Register 1 (what was booted) has a value that the policy names.
    TdRtmr1 = "tdx.td.rtmr1",
    /// Register 2 (what that loaded) has a value that the policy names.
    TdRtmr2 = "tdx.td.rtmr2",
    /// Register 3 (the application's) has a value that the policy names.
    TdRtmr3 = "tdx.td.rtmr3",
    /// Its report data are the expected ones, all 64 bytes, and not zero.
    TdReportData = "tdx.td.reportdata",
    /// Collateral is presented.
    Collateral = "tdx.collateral.present",
    /// The root's revocation list has its form.
    RootCrlForm = "tdx.rootcrl.form",
    /// The root signed it.
    RootCrlSignature = "tdx.rootcrl.signature",
    /// It is current at the moment.
    RootCrlValidity = "tdx.rootcrl.validity",
    /// The root did not take back the CA of the platform's certificate.
    PckCaRevocation = "tdx.pckca.revocation",
    /// The revocation list of platforms' certificates has its form.
    PckCrlForm = "tdx.pckcrl.form",
    /// The CA of the platform's certificate signed it: Processor and Platform CA have one each.
    PckCrlSignature = "tdx.pckcrl.signature",
    /// It is current at the moment.
    PckCrlValidity = "tdx.pckcrl.validity",
    /// The CA did not take back the platform's certificate.
    PckRevocation = "tdx.pck.revocation",
    /// The TCB info is strict JSON that says what it is.
    TcbInfoForm = "tdx.tcbinfo.form",
    /// Its signer's chain: two certificates, the second a root of ours that issued the first.
    TcbInfoChain = "tdx.tcbinfo.chain",
    /// Both are valid at the moment.
    TcbInfoChainValidity = "tdx.tcbinfo.chainvalidity",
    /// The root did not take back the signer's certificate.
    TcbInfoRevocation = "tdx.tcbinfo.revocation",
    /// The signer signed it, as it was received.
    TcbInfoSignature = "tdx.tcbinfo.signature",
    /// It is of TDX, version 3.
    TcbInfoId = "tdx.tcbinfo.id",
    /// Its members are exactly those of that version.
    TcbInfoMembers = "tdx.tcbinfo.members",
    /// It is current at the moment.
    TcbInfoValidity = "tdx.tcbinfo.validity",
    /// It is of the platform's family and model.
    TcbInfoFmspc = "tdx.tcbinfo.fmspc",
    /// It is of the platform's provisioning enclave.
    TcbInfoPceId = "tdx.tcbinfo.pceid",
    /// It is not of an older evaluation than the policy accepts.
    TcbInfoEvaluation = "tdx.tcbinfo.evaluation",
    /// The identity of the quoting enclave is strict JSON that says what it is.
    QeIdentityForm = "tdx.qeidentity.form",
    /// Its signer's chain: two certificates, the second a root of ours that issued the first.
    QeIdentityChain = "tdx.qeidentity.chain",
    /// Both are valid at the moment.
    QeIdentityChainValidity = "tdx.qeidentity.chainvalidity",
    /// The root did not take back the signer's certificate.
    QeIdentityRevocation = "tdx.qeidentity.revocation",
    /// The signer signed it, as it was received.
    QeIdentitySignature = "tdx.qeidentity.signature",
    /// It is of the quoting enclave for trust domains, version 2.
    QeIdentityId = "tdx.qeidentity.id",
    /// Its members are exactly those of that version.
    QeIdentityMembers = "tdx.qeidentity.members",
    /// It is current at the moment.
    QeIdentityValidity = "tdx.qeidentity.validity",
    /// It is not of an older evaluation than the policy accepts.
    QeIdentityEvaluation = "tdx.qeidentity.evaluation",
    /// The quoting enclave was signed by whom its identity names.
    QeSigner = "tdx.qe.mrsigner",
    /// It is the product that its identity names.
    QeProduct = "tdx.qe.isvprodid",
    /// Its extended features are those that its identity names.
    QeMiscSelect = "tdx.qe.miscselect",
    /// Its attributes are those that its identity names.
    QeAttributes = "tdx.qe.attributes",
    /// Its version has a level.
    QeTcb = "tdx.qe.tcb",
    /// The TDX module is one of Intel's that the TCB info names.
    ModuleIdentity = "tdx.module.identity",
    /// Its version has a level.
    ModuleTcb = "tdx.module.tcb",
    /// The platform's versions have a level.
    PlatformTcb = "tdx.platform.tcb",
    /// The platform's versions are not below the policy's floor.
    TcbFloor = "tdx.tcb.floor",
    /// The joint status of platform, module and quoting enclave is not that it was taken back.
    TcbRevoked = "tdx.tcb.revoked",
    /// The status of platform, module and quoting enclave together is one that the policy accepts.
    TcbStatus = "tdx.tcb.status",
    /// No advisory of the matched levels is one that the policy refuses.
    TcbAdvisories = "tdx.tcb.advisories",
    /// The platform is configured as the policy accepts.
    PlatformFlags = "tdx.platform.flags",
    /// The platform is one that the policy accepts, and none that it refuses.
    PlatformId = "tdx.platform.id",
    /// The event log has its exact form.
    EventLogForm = "tdx.eventlog.form",
    /// The event log leads to all four registers.
    EventLogReplay = "tdx.eventlog.replay",
}

impl TdxCheck {
    /// Whether an auditor may see it one way or the other: a failure is against a policy, and no sign of forgery.
    #[must_use]
    pub fn is_rule(self) -> bool {
        matches!(
            self,
            Self::TdMrseam
                | Self::TdSeptVe
                | Self::TdFeatures
                | Self::TdXfam
                | Self::TdMrtd
                | Self::TdConfigId
                | Self::TdOwner
                | Self::TdOwnerConfig
                | Self::TdRtmr0
                | Self::TdRtmr1
                | Self::TdRtmr2
                | Self::TdRtmr3
                | Self::TcbInfoEvaluation
                | Self::QeIdentityEvaluation
                | Self::TcbFloor
                | Self::TcbStatus
                | Self::TcbAdvisories
                | Self::PlatformFlags
                | Self::PlatformId
        )
    }

    /// Whether evidence can hold without this check having run: what it compares with is named by
    /// nobody, or stands in later versions of the layout alone.
    fn is_optional(self) -> bool {
        matches!(
            self,
            Self::TdVmid
                | Self::TdServiceTd
                | Self::TdMrseam
                | Self::TdMrtd
                | Self::TdConfigId
                | Self::TdOwner
                | Self::TdOwnerConfig
                | Self::TdRtmr0
                | Self::TdRtmr1
                | Self::TdRtmr2
                | Self::TdRtmr3
                | Self::TcbInfoEvaluation
                | Self::QeIdentityEvaluation
                | Self::TcbFloor
                | Self::PlatformId
                | Self::EventLogForm
                | Self::EventLogReplay
        )
    }
}

impl core::fmt::Display for TdxCheck {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests;
