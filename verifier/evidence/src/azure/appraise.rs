//! The checks themselves. Each says in one sentence what it found; none stops another that can run.

use sha2::{Digest as _, Sha256};
use thiserror::Error;

use super::claims::{KeyOperation, RuntimeClaims, VmConfiguration, VmId};
use super::report::{Hardware, HardwareReport, ParavisorReport};
use super::tdreport::{TdReport, TdReportError};
use super::{
    AzureAppraisal, AzureCheck, AzureEvidence, AzurePolicy, Demand, KeyOperationPolicy,
    VerifiedParavisor,
};
use crate::appraisal::{Ledger, Outcome};
use crate::hex::Hex;
use crate::party::Party;
use crate::reader::{FormError, Reader};
use crate::tpm::{EvidenceClass, VouchedKey};

/// Runs every check on what a paravisor says.
#[must_use]
pub fn appraise_paravisor<'a>(
    evidence: &AzureEvidence<'a>,
    policy: &AzurePolicy,
) -> AzureAppraisal<'a> {
    let mut ledger = Ledger(Vec::new());
    let report = ledger.note(
        AzureCheck::ReportStructure,
        ParavisorReport::parse(evidence.report),
        |report| {
            format!(
                "header version {}, data version {}, {} bytes of claims, {} of padding",
                report.header_version(),
                report.data_version(),
                report.claims().len(),
                report.padding()
            )
        },
    );
    let hardware = report.map(|it| it.hardware());
    appraise_hardware(&mut ledger, hardware, policy);
    appraise_tdreport(&mut ledger, hardware, evidence.td_quote);
    let claims = appraise_runtime(&mut ledger, report.as_ref(), policy);
    appraise_key(&mut ledger, claims.as_ref(), policy);
    appraise_user_data(&mut ledger, claims.as_ref(), policy);
    appraise_machine(&mut ledger, claims.as_ref(), policy);

    let all_hold = ledger.0.iter().all(|check| match check.outcome {
        Outcome::Pass => true,
        Outcome::Fail => false,
        Outcome::NotChecked => match check.code {
            // Nobody asked; absence of the fact fails where somebody did.
            AzureCheck::UserData
            | AzureCheck::Machine
            | AzureCheck::TpmPersisted
            | AzureCheck::SecureBoot
            | AzureCheck::Console => true,
            // Not applicable under SEV-SNP, and only there.
            AzureCheck::TdReport | AzureCheck::TdQuote => {
                hardware.is_some_and(|it| it.kind() == Hardware::Snp)
            }
            AzureCheck::ReportStructure
            | AzureCheck::ReportHardware
            | AzureCheck::RuntimeBinding
            | AzureCheck::RuntimeStructure
            | AzureCheck::RuntimeMembers
            | AzureCheck::KeyOperation
            | AzureCheck::Tpm => false,
        },
    });
    let verified = hardware
        .zip(claims.clone())
        .filter(|_| all_hold)
        .map(|(hardware, claims)| VerifiedParavisor {
            hardware,
            td_quote: evidence.td_quote,
            attestation_key: VouchedKey::new(
                claims.attestation_key.key.clone(),
                EvidenceClass::ParavisorTpm,
                vec![Party::MicrosoftParavisor],
            ),
            claims,
        });
    AzureAppraisal {
        checks: ledger.0,
        claims,
        verified,
    }
}

/// Why a check of values fails. Every variant carries what was expected and what was found.
#[derive(Debug, PartialEq, Eq, Error)]
enum Finding {
    #[error("report is of {found}, the policy names {expected}")]
    Hardware { found: Hardware, expected: Hardware },
    #[error("{0}")]
    TdReport(#[from] TdReportError),
    #[error(
        "report is of tdx, and there is no quote that repeats it: a tdreport alone proves nothing"
    )]
    NoQuote,
    #[error("report is of sev-snp, and there is a tdx quote beside it")]
    StrayQuote,
    #[error("report data: {0}")]
    Form(#[from] FormError),
    #[error(
        "claims hash to {}, the hardware's report names {}",
        Hex(computed),
        Hex(found)
    )]
    Binding { computed: [u8; 32], found: [u8; 32] },
    #[error("report data has bytes that are not zero after the hash of the claims")]
    BindingRest,
    #[error("claims have the member {name:?}, which is neither known nor accepted by the policy")]
    Member { name: String },
    #[error("claims say encrypt of the attestation key, expected sign")]
    Encrypts,
    #[error("claims have no user data, expected {}", Hex(expected))]
    NoUserData { expected: Vec<u8> },
    #[error("user data is {}, expected {}", Hex(found), Hex(expected))]
    UserData { found: Vec<u8>, expected: Vec<u8> },
    #[error("machine is {found}, the policy names {count} others")]
    Machine { found: VmId, count: usize },
    #[error("the machine has no tpm")]
    NoTpm,
    #[error("{what} is {found}, expected {expected}")]
    Flag {
        what: &'static str,
        found: &'static str,
        expected: bool,
    },
}

fn appraise_hardware(
    ledger: &mut Ledger<AzureCheck>,
    hardware: Option<HardwareReport<'_>>,
    policy: &AzurePolicy,
) {
    let Some(hardware) = hardware else {
        return ledger.skip(AzureCheck::ReportHardware, NO_REPORT);
    };
    let (found, expected) = (hardware.kind(), policy.hardware);
    let result = if found == expected {
        Ok(found)
    } else {
        Err(Finding::Hardware { found, expected })
    };
    ledger.note(AzureCheck::ReportHardware, result, |found| {
        format!("{found}, as the policy names")
    });
}

fn appraise_tdreport(
    ledger: &mut Ledger<AzureCheck>,
    hardware: Option<HardwareReport<'_>>,
    quote: Option<&[u8]>,
) {
    let bytes = match hardware {
        None => {
            ledger.skip(AzureCheck::TdReport, NO_REPORT);
            return ledger.skip(AzureCheck::TdQuote, NO_REPORT);
        }
        Some(HardwareReport::Snp(_)) => {
            ledger.skip(AzureCheck::TdReport, "the report is of sev-snp");
            if quote.is_some() {
                let stray: Result<(), _> = Err(Finding::StrayQuote);
                ledger.note(AzureCheck::TdQuote, stray, |()| String::new());
            } else {
                ledger.skip(AzureCheck::TdQuote, "the report is of sev-snp");
            }
            return;
        }
        Some(HardwareReport::Tdx(bytes)) => bytes,
    };
    let report = ledger.note(AzureCheck::TdReport, TdReport::parse(bytes), |_| {
        "well formed, both hashes are those of its parts".into()
    });
    let Some(report) = report else {
        return ledger.skip(AzureCheck::TdQuote, "the tdreport is malformed");
    };
    let quoted = quote
        .ok_or(Finding::NoQuote)
        .and_then(|quote| Ok(report.is_quoted(quote)?));
    ledger.note(AzureCheck::TdQuote, quoted, |_| {
        "the quote repeats every field of the tdreport".into()
    });
}

fn appraise_runtime(
    ledger: &mut Ledger<AzureCheck>,
    report: Option<&ParavisorReport<'_>>,
    policy: &AzurePolicy,
) -> Option<RuntimeClaims> {
    let Some(report) = report else {
        ledger.skip(AzureCheck::RuntimeBinding, NO_REPORT);
        ledger.skip(AzureCheck::RuntimeStructure, NO_REPORT);
        ledger.skip(AzureCheck::RuntimeMembers, NO_REPORT);
        return None;
    };
    let bound = bound(report.hardware(), report.claims());
    ledger.note(AzureCheck::RuntimeBinding, bound, |digest| {
        format!("sha-256 of the claims is {}, then zeros", Hex(digest))
    });
    let claims = RuntimeClaims::parse(report.claims());
    let claims = ledger.note(AzureCheck::RuntimeStructure, claims, |claims| {
        let endorsed = claims.endorsement_key.is_some();
        let beside = if endorsed { "an" } else { "no" };
        format!(
            "attestation key of {}, {beside} endorsement key",
            claims.attestation_key.key.kind()
        )
    });
    let Some(claims) = claims else {
        ledger.skip(AzureCheck::RuntimeMembers, NO_CLAIMS);
        return None;
    };
    let mut members = claims.others.iter().chain(&claims.configuration.others);
    let unknown = members.find(|name| !policy.accepted_members.contains(name));
    let result = match unknown {
        None => Ok(()),
        Some(name) => Err(Finding::Member { name: name.clone() }),
    };
    ledger.note(AzureCheck::RuntimeMembers, result, |()| {
        "every member is known or accepted".into()
    });
    Some(claims)
}

fn bound(hardware: HardwareReport<'_>, claims: &[u8]) -> Result<[u8; 32], Finding> {
    let data = hardware.report_data()?;
    let mut reader = Reader::new(&data);
    let found: [u8; 32] = reader.array("report data")?;
    let computed: [u8; 32] = Sha256::digest(claims).into();
    if found != computed {
        return Err(Finding::Binding { computed, found });
    }
    if reader.rest().iter().any(|byte| *byte != 0) {
        return Err(Finding::BindingRest);
    }
    Ok(computed)
}

fn appraise_key(
    ledger: &mut Ledger<AzureCheck>,
    claims: Option<&RuntimeClaims>,
    policy: &AzurePolicy,
) {
    let Some(claims) = claims else {
        return ledger.skip(AzureCheck::KeyOperation, NO_CLAIMS);
    };
    let result = match (claims.attestation_key.operation, policy.key_operation) {
        (KeyOperation::Sign, _) => Ok("sign"),
        (KeyOperation::Encrypt, KeyOperationPolicy::EncryptToo) => {
            Ok("encrypt, as claims of 2023 do, which the policy accepts")
        }
        (KeyOperation::Encrypt, KeyOperationPolicy::SignOnly) => Err(Finding::Encrypts),
    };
    ledger.note(AzureCheck::KeyOperation, result, |said| {
        format!("claims say {said}")
    });
}

fn appraise_user_data(
    ledger: &mut Ledger<AzureCheck>,
    claims: Option<&RuntimeClaims>,
    policy: &AzurePolicy,
) {
    let Some(claims) = claims else {
        return ledger.skip(AzureCheck::UserData, NO_CLAIMS);
    };
    let Some(expected) = policy.user_data else {
        return ledger.skip(AzureCheck::UserData, "nobody named the guest's bytes");
    };
    let result = match claims.user_data {
        None => Err(Finding::NoUserData {
            expected: expected.to_vec(),
        }),
        Some(found) if found != expected => Err(Finding::UserData {
            found: found.to_vec(),
            expected: expected.to_vec(),
        }),
        Some(found) => Ok(found),
    };
    ledger.note(AzureCheck::UserData, result, |found| {
        format!("{}, all 64 bytes", Hex(found))
    });
}

fn appraise_machine(
    ledger: &mut Ledger<AzureCheck>,
    claims: Option<&RuntimeClaims>,
    policy: &AzurePolicy,
) {
    let Some(claims) = claims else {
        for code in [
            AzureCheck::Machine,
            AzureCheck::Tpm,
            AzureCheck::TpmPersisted,
            AzureCheck::SecureBoot,
            AzureCheck::Console,
        ] {
            ledger.skip(code, NO_CLAIMS);
        }
        return;
    };
    let VmConfiguration {
        secure_boot,
        tpm_enabled,
        tpm_persisted,
        console_enabled,
        // Without a console it takes no input.
        interactive_console_enabled: _,
        // Said by the newest paravisors only; shown, and for whoever knows what it allows.
        filtered_vpci_devices_allowed: _,
        root_cert_thumbprint: _,
        vm_unique_id,
        current_time: _,
        others: _,
    } = &claims.configuration;
    match &policy.machines {
        None => ledger.skip(
            AzureCheck::Machine,
            format!("nobody named machines; it is {vm_unique_id}"),
        ),
        Some(named) => {
            let result = if named.contains(vm_unique_id) {
                Ok(())
            } else {
                Err(Finding::Machine {
                    found: *vm_unique_id,
                    count: named.len(),
                })
            };
            ledger.note(AzureCheck::Machine, result, |()| {
                format!("{vm_unique_id}, as the policy names")
            });
        }
    }
    let tpm = if *tpm_enabled {
        Ok(())
    } else {
        Err(Finding::NoTpm)
    };
    ledger.note(AzureCheck::Tpm, tpm, |()| "there is one".into());
    let mut flag = |code, what, found: Option<bool>, expected, demand| {
        let said = match found {
            Some(true) => "true",
            Some(false) => "false",
            None => "not stated",
        };
        match demand {
            Demand::Any => ledger.skip(code, format!("nobody asks; {what} is {said}")),
            Demand::Required => {
                let result = if found == Some(expected) {
                    Ok(())
                } else {
                    Err(Finding::Flag {
                        what,
                        found: said,
                        expected,
                    })
                };
                ledger.note(code, result, |()| format!("{what} is {said}"));
            }
        }
    };
    flag(
        AzureCheck::TpmPersisted,
        "tpm-persisted",
        *tpm_persisted,
        true,
        policy.tpm_persisted,
    );
    flag(
        AzureCheck::SecureBoot,
        "secure-boot",
        Some(*secure_boot),
        true,
        policy.secure_boot,
    );
    flag(
        AzureCheck::Console,
        "console-enabled",
        Some(*console_enabled),
        false,
        policy.console_off,
    );
}

const NO_REPORT: &str = "the paravisor's report is malformed";
const NO_CLAIMS: &str = "the runtime claims are malformed";
