//! Azure's confidential VMs: what the paravisor says of the guest's TPM, under the hardware's name.
//!
//! In: [`AzureEvidence`], the bytes as received, and [`AzurePolicy`], what they have to say. Out:
//! [`AzureAppraisal`]: every check by name, and, only if none failed, the attestation key and the
//! configuration ([`VerifiedParavisor`]). Relies on `snp` or `tdx` for the hardware's own report:
//! [`VerifiedParavisor::hardware`] is what the caller has to have verified there, over those bytes.
//!
//! What it shows, if the hardware's report holds: the software that the launch measurement names, which
//! stands between guest and hardware, said that a TPM with this attestation key belongs to this machine.
//! That software is Microsoft's. So the measurement has to be pinned: any guest of SEV-SNP or TDX can
//! make up a paravisor's report with a key of its own, and every check here passes. And nothing here is
//! fresh: the report is made at boot, and the freshness of evidence is that of the quote
//! ([`crate::tpm::appraise_quote`]), or of the guest's bytes where the guest had it made again.
//!
//! Order of checks, each named in [`AzureCheck`]: form of the report, hardware, TDREPORT and quote, binding
//! of the claims, their form, the keys, what the guest said, how the machine is set up.
//!
//! Spec: `docs/spec/azure.md`. Start reading at [`appraise_paravisor`].

mod appraise;
mod claims;
mod report;
mod tdreport;

pub use appraise::appraise_paravisor;
pub use claims::{ClaimedKey, ClaimsError, KeyOperation, RuntimeClaims, VmConfiguration, VmId};
pub use report::{
    Hardware, HardwareReport, MAX_REPORT_BYTES, ParavisorReport, REPORT_AT, ReportError,
    SNP_REPORT_BYTES, TD_REPORT_BYTES,
};
pub use tdreport::{QuoteBody, TdReport, TdReportError};

use crate::appraisal::{Check, Outcome};
use crate::party::Party;
use crate::tpm::VouchedKey;

/// What a machine presented, untouched.
#[derive(Debug, Clone, Copy)]
pub struct AzureEvidence<'a> {
    /// The paravisor's report: NV index 0x01400001.
    pub report: &'a [u8],
    /// The TDX quote that repeats the TDREPORT; `None` on SEV-SNP.
    pub td_quote: Option<&'a [u8]>,
}

/// What evidence has to say. None of it may come from the evidence. Start from [`AzurePolicy::strict`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AzurePolicy {
    /// Which hardware stands under the paravisor.
    pub hardware: Hardware,
    /// What the guest has to have had put into the report; `None` checks nothing, and says so.
    pub user_data: Option<[u8; 64]>,
    /// Whether the firmware has to enforce Secure Boot.
    pub secure_boot: Demand,
    /// Whether the TPM's state has to outlive a boot.
    pub tpm_persisted: Demand,
    /// Whether the serial console has to be off.
    pub console_off: Demand,
    /// Machines that are accepted; `None` checks nothing, an empty list accepts none.
    pub machines: Option<Vec<VmId>>,
    /// Whether claims may say `encrypt` of the key that signs, as those of 2023 do.
    pub key_operation: KeyOperationPolicy,
    /// Members of claims and configuration that are not known here and are accepted all the same.
    pub accepted_members: Vec<String>,
}

/// Whether something is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Demand {
    /// It has to be so; what the paravisor does not say is not so.
    Required,
    /// Nobody asks; the report says what was found.
    Any,
}

/// Which words claims may have for the attestation key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyOperationPolicy {
    /// `sign`.
    SignOnly,
    /// `encrypt` too.
    EncryptToo,
}

impl AzurePolicy {
    /// Everything that can be asked of every machine is asked.
    #[must_use]
    pub fn strict(hardware: Hardware) -> Self {
        Self {
            hardware,
            user_data: None,
            secure_boot: Demand::Required,
            tpm_persisted: Demand::Required,
            console_off: Demand::Required,
            machines: None,
            key_operation: KeyOperationPolicy::SignOnly,
            accepted_members: Vec::new(),
        }
    }

    /// Nothing is asked but that the report holds together: what a machine is like, others judge.
    #[must_use]
    pub fn open(hardware: Hardware) -> Self {
        Self {
            secure_boot: Demand::Any,
            tpm_persisted: Demand::Any,
            console_off: Demand::Any,
            key_operation: KeyOperationPolicy::EncryptToo,
            ..Self::strict(hardware)
        }
    }
}

/// Everything that came of an appraisal.
#[derive(Debug, Clone)]
pub struct AzureAppraisal<'a> {
    checks: Vec<Check<AzureCheck>>,
    claims: Option<RuntimeClaims>,
    verified: Option<VerifiedParavisor<'a>>,
}

impl<'a> AzureAppraisal<'a> {
    /// All checks, each once, in the order of [`AzureCheck::ALL`].
    #[must_use]
    pub fn checks(&self) -> &[Check<AzureCheck>] {
        &self.checks
    }

    /// What is known now, if the hardware's report holds. `None` if any check failed, or one that is
    /// needed could not run.
    #[must_use]
    pub fn verified(&self) -> Option<&VerifiedParavisor<'a>> {
        self.verified.as_ref()
    }

    /// The claims as they were read, whether or not they hold: for display.
    #[must_use]
    pub fn claimed_claims(&self) -> Option<&RuntimeClaims> {
        self.claims.as_ref()
    }

    /// The checks that failed, in order.
    pub fn failures(&self) -> impl Iterator<Item = &Check<AzureCheck>> {
        self.checks
            .iter()
            .filter(|check| check.outcome == Outcome::Fail)
    }
}

/// What a paravisor says, all checks passed. Only [`appraise_paravisor`] makes one.
#[derive(Debug, Clone)]
pub struct VerifiedParavisor<'a> {
    hardware: HardwareReport<'a>,
    td_quote: Option<&'a [u8]>,
    claims: RuntimeClaims,
    attestation_key: VouchedKey,
}

impl<'a> VerifiedParavisor<'a> {
    /// The hardware's report that all this stands under. On SEV-SNP `snp` has to verify these bytes.
    #[must_use]
    pub fn hardware(&self) -> HardwareReport<'a> {
        self.hardware
    }

    /// The quote that repeats the TDREPORT. On TDX `tdx` has to verify these bytes.
    #[must_use]
    pub fn td_quote(&self) -> Option<&'a [u8]> {
        self.td_quote
    }

    /// The claims.
    #[must_use]
    pub fn claims(&self) -> &RuntimeClaims {
        &self.claims
    }

    /// The key for which the paravisor vouches.
    #[must_use]
    pub fn attestation_key(&self) -> &VouchedKey {
        &self.attestation_key
    }

    /// Who has to be trusted beside the maker of the hardware.
    #[must_use]
    pub fn parties(&self) -> &[Party] {
        self.attestation_key.parties()
    }
}

crate::appraisal::checks! {
    /// The checks of [`appraise_paravisor`]. Their texts are stable: reports and tools rely on them.
    AzureCheck {
        /// The paravisor's report has its exact form: known versions, three lengths that agree, zeros.
        ReportStructure = "azure.report.structure",
        /// It is of the hardware that the policy names.
        ReportHardware = "azure.report.hardware",
        /// On TDX: the TDREPORT has its exact form, and its hashes are those of its parts.
        TdReport = "azure.tdreport.structure",
        /// On TDX: the quote repeats every field of the TDREPORT.
        TdQuote = "azure.tdreport.quote",
        /// SHA-256 of the claims are the first 32 bytes of the report data, and the rest is zero.
        RuntimeBinding = "azure.runtime.binding",
        /// The claims are well formed: one attestation key, at most one endorsement key, a configuration.
        RuntimeStructure = "azure.runtime.structure",
        /// The claims have no member that is neither known nor accepted.
        RuntimeMembers = "azure.runtime.members",
        /// The claims say of the attestation key that it signs.
        KeyOperation = "azure.key.operation",
        /// The guest's bytes are those expected.
        UserData = "azure.user_data",
        /// The machine is one that the policy names.
        Machine = "azure.vm.id",
        /// The machine has a TPM.
        Tpm = "azure.vm.tpm",
        /// The TPM's state outlives a boot.
        TpmPersisted = "azure.vm.tpm_persisted",
        /// The firmware enforces Secure Boot.
        SecureBoot = "azure.vm.secure_boot",
        /// The serial console is off.
        Console = "azure.vm.console",
    }
}

impl AzureCheck {
    /// Whether an auditor may see it one way or the other: a failure is against a policy, and no sign of forgery.
    #[must_use]
    pub fn is_rule(self) -> bool {
        match self {
            Self::KeyOperation
            | Self::UserData
            | Self::Machine
            | Self::TpmPersisted
            | Self::SecureBoot
            | Self::Console => true,
            Self::ReportStructure
            | Self::ReportHardware
            | Self::TdReport
            | Self::TdQuote
            | Self::RuntimeBinding
            | Self::RuntimeStructure
            | Self::RuntimeMembers
            | Self::Tpm => false,
        }
    }
}

#[cfg(test)]
mod tests;
