//! Azure: the processor vouches for the paravisor, the paravisor for a key of the TPM, that key for ours.
//!
//! In: the parts of the container. Out: the facts of the processor, and of whoever stands above the guest.

use super::parts::Parts;
use super::processor::{Guest, amd, intel};
use super::{Blame, Judged, PlatformFacts, Settings, expect_genuine, judged, not_run, vouched};
use crate::codes::Code;
use crate::trust::EvidenceClass;
use countersign_evidence::azure::{AzureEvidence, AzurePolicy, Hardware, appraise_paravisor};
use countersign_record::binding::{Binding, Profile};

/// All of it.
pub(super) fn appraise(
    parts: &Parts<'_>,
    binding: &Binding,
    settings: &mut Settings<'_>,
) -> Result<PlatformFacts, Vec<Blame>> {
    let hardware = if binding.profile == Profile::AzureTdx {
        Hardware::Tdx
    } else {
        Hardware::Snp
    };
    let evidence = AzureEvidence {
        report: parts.paravisor.unwrap_or_default(),
        td_quote: parts.report,
    };
    let paravisor = appraise_paravisor(&evidence, &AzurePolicy::open(hardware));
    expect_genuine(paravisor.checks(), |_| false)?;
    let paravisor = paravisor.verified().ok_or_else(not_run)?;
    let data = paravisor.hardware().report_data();
    let data = data.map_err(|e| Blame::one(Code::Evidence, e.to_string()))?;
    let processor = match (paravisor.hardware().bytes(), paravisor.td_quote()) {
        (report, None) => amd(parts, report, data, Guest::BelowParavisor, settings)?,
        (_, Some(quote)) => intel(parts, quote, data, Guest::BelowParavisor, settings)?,
    };
    let key = paravisor.attestation_key();
    vouched(parts, key, binding)?;
    let mut facts = processor.facts(binding.profile, EvidenceClass::ParavisorTpm);
    facts.parties.extend_from_slice(key.parties());
    let machine = match settings.trust.azure {
        None => Judged::NotAsked("your trust file has no table [azure]"),
        Some(rule) => judged(appraise_paravisor(&evidence, &rule.policy(hardware)).checks()),
    };
    facts.add_rules(machine.clone(), machine);
    Ok(facts)
}
