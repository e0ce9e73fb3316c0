//! Google Cloud: the processor vouches for our keys, Google's certificate for a key of the TPM that its hypervisor runs,
//! and that key for ours. Nothing but the anchor, which both statements carry, joins one to the other.
//!
//! In: the parts of the container. Out: the facts of the processor, and of the hypervisor.

use super::parts::Parts;
use super::processor::{Guest, amd, intel};
use super::{
    Blame, Judged, PlatformFacts, Remark, Settings, expect_genuine, judged, not_run, vouched,
};
use crate::trust::EvidenceClass;
use crate::trust::platform::Pinned;
use countersign_evidence::Moment;
use countersign_evidence::azure::Demand;
use countersign_evidence::gcp::{
    EndorsementCheck, EndorsementEvidence, EndorsementPolicy, LaunchMeasurement,
    appraise_endorsement,
};
use countersign_evidence::tpm::{AkEvidence, AkPolicy, AkRoots, CertifiedKey, appraise_ak};
use countersign_record::binding::{Binding, Profile};
use countersign_record::digest::UnixMillis;
use countersign_record::evidence::EndorsementKind;

/// All of it.
pub(super) fn appraise(
    parts: &Parts<'_>,
    report_data: [u8; 64],
    binding: &Binding,
    settings: &mut Settings<'_>,
) -> Result<PlatformFacts, Vec<Blame>> {
    let report = parts.report(binding.profile)?;
    let processor = if binding.profile == Profile::GcpTdx {
        intel(parts, report, report_data, Guest::OfItself, settings)?
    } else {
        amd(parts, report, report_data, Guest::OfItself, settings)?
    };
    let mut facts = processor.facts(binding.profile, EvidenceClass::HypervisorTpm);
    facts
        .remarks
        .extend([Remark::JoinedByAnchor, Remark::NotProven]);
    key_of_the_hypervisor(parts, binding, settings, &mut facts)?;
    firmware(parts, binding.profile, settings, &mut facts)?;
    if settings.trust.gcp.is_none() {
        let nothing = Judged::NotAsked("your trust file has no table [gcp]");
        facts.add_rules(nothing.clone(), nothing);
    }
    Ok(facts)
}

/// Google's certificate names a key of its TPM, and that key certifies ours.
fn key_of_the_hypervisor(
    parts: &Parts<'_>,
    binding: &Binding,
    settings: &mut Settings<'_>,
    facts: &mut PlatformFacts,
) -> Result<(), Vec<Blame>> {
    let certificates = parts.key_certificates();
    let (certificate, issuers) = certificates.split_first().ok_or_else(not_run)?;
    let evidence = AkEvidence {
        certificate,
        subject: CertifiedKey::Attestation,
        issuers: issuers.to_vec(),
        lists: Vec::new(),
    };
    let rule = settings.trust.gcp.as_ref();
    let roots = match rule.map(|rule| &rule.roots) {
        Some(Pinned::TrustFile(roots)) => {
            facts.remarks.push(Remark::ForeignRoot);
            roots.clone()
        }
        Some(Pinned::Vendor) | None => AkRoots::google(),
    };
    let mut policy = AkPolicy {
        // The profile has no lists of Google's.
        lists: Demand::Any,
        ..AkPolicy::strict()
    };
    let then = Moment(settings.then.0);
    let any_machine = appraise_ak(&evidence, &policy, &roots, then, settings.chains);
    expect_genuine(any_machine.checks(), |_| false)?;
    let verified = any_machine.verified().ok_or_else(not_run)?;
    vouched(parts, verified.key(), binding)?;
    facts.parties.extend_from_slice(verified.key().parties());
    policy.instances = rule.and_then(|rule| rule.instances.clone());
    let mut rules = |at: UnixMillis| {
        judged(appraise_ak(&evidence, &policy, &roots, Moment(at.0), settings.chains).checks())
    };
    let (then, today) = (rules(settings.then), rules(settings.now));
    facts.add_rules(then, today);
    Ok(())
}

/// Google's statement about the firmware that was launched, where one came.
fn firmware(
    parts: &Parts<'_>,
    profile: Profile,
    settings: &mut Settings<'_>,
    facts: &mut PlatformFacts,
) -> Result<(), Vec<Blame>> {
    let rule = settings.trust.gcp.as_ref();
    let rule = rule.and_then(|rule| rule.endorsement.as_ref());
    let Some(endorsement) = parts.endorsement(EndorsementKind::GoogleLaunch) else {
        if rule.is_some() {
            let text = "your trust file asks for a statement about the firmware, and none came";
            let refused = Judged::Refused(vec![text.to_owned()]);
            facts.add_rules(refused.clone(), refused);
        }
        return Ok(());
    };
    let evidence = EndorsementEvidence {
        endorsement,
        measurement: if profile == Profile::GcpTdx {
            LaunchMeasurement::Tdx(facts.launch)
        } else {
            LaunchMeasurement::Snp(facts.launch)
        },
    };
    let policy = rule.map_or_else(EndorsementPolicy::nobody, |rule| rule.policy.clone());
    let mut at =
        |at: UnixMillis| appraise_endorsement(&evidence, &policy, Moment(at.0), settings.chains);
    let (then, today) = (at(settings.then), at(settings.now));
    // What came has to be what it says it is, whether anybody asks for it or not.
    expect_genuine(then.checks(), EndorsementCheck::is_rule)?;
    match rule {
        Some(rule) => {
            facts.endorsed = rule.stands_for_launch && then.verified().is_some();
            facts.add_rules(judged(then.checks()), judged(today.checks()));
        }
        None => facts.remarks.push(Remark::EndorsementNotAsked),
    }
    Ok(())
}
