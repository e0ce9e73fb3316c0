//! What a TPM's evidence shows.
//!
//! In: its container, and what it has to say. Out: [`TpmFacts`], or which check should be blamed and why.

use super::Blame;
use crate::codes::Code;
use countersign_evidence::tpm::{
    self, EvidenceClass as Appraised, Expected, PcrSet, ReleaseKey, TpmCheck, TpmName, TpmProfile,
    appraise_tpm, policy_authorize_digest,
};
use countersign_record::binding::{Binding, Profile};
use countersign_record::digest::Qualifying;
use countersign_record::evidence::TpmEvidence;

/// Registers that evidence of a hardware profile must cover: boot loader, secure boot state,
/// kernel image, command line, extensions. Source: `docs/spec/evidence.md`.
pub(crate) const HARDWARE_PCRS: &[u8] = &[4, 7, 11, 12, 13];

/// What verified evidence of a TPM shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TpmFacts {
    /// Name of the attestation key.
    pub(crate) ak_name: Vec<u8>,
    /// The certified counter.
    pub(crate) counter: u64,
    /// What tells this counter from another of the same chip: the release key in its policy.
    pub(crate) counter_name: Vec<u8>,
    /// The chip's resets and restarts.
    pub(crate) resets: (u32, u32),
    /// The chip's clock, in milliseconds.
    pub(crate) clock: u64,
    /// Quoted registers, ascending.
    pub(crate) pcrs: Vec<(u8, [u8; 32])>,
    /// Whether it is, or looks like, a software TPM.
    pub(crate) software: bool,
}

/// Appraises evidence against a binding.
pub(super) fn appraise(
    evidence: &TpmEvidence,
    qualifying: Qualifying,
    binding: &Binding,
) -> Result<TpmFacts, Vec<Blame>> {
    let one = |code, text: String| vec![Blame { code, text }];
    if evidence.profile != binding.profile {
        let text = format!(
            "it is evidence of profile {}, the opening names {}",
            evidence.profile, binding.profile
        );
        return Err(one(Code::EvidenceSet, text));
    }
    let profile = match binding.profile {
        Profile::Swtpm => TpmProfile::Swtpm,
        Profile::Tpm
        | Profile::AzureSnp
        | Profile::AzureTdx
        | Profile::GcpSnp
        | Profile::GcpTdx => TpmProfile::Tpm,
        // Nobody asks for a TPM's evidence there.
        Profile::Snp | Profile::Tdx => {
            return Err(one(
                Code::EvidenceSet,
                format!("profile {} has no tpm", binding.profile),
            ));
        }
    };
    if profile == TpmProfile::Tpm && !HARDWARE_PCRS.iter().all(|p| binding.pcrs.contains(p)) {
        let text =
            format!("evidence of a hardware profile covers at least registers {HARDWARE_PCRS:?}");
        return Err(one(Code::EvidenceSet, text));
    }
    let release = ReleaseKey::parse(&binding.release_key.0)
        .map_err(|e| one(Code::Evidence, e.to_string()))?;
    let pcrs = PcrSet::new(binding.pcrs.iter().copied())
        .map_err(|e| one(Code::EvidenceSet, e.to_string()))?;
    let name = <[u8; 34]>::try_from(binding.ak_name.0.as_slice()).map_err(|_| {
        one(
            Code::AttestationKey,
            "the opening's attestation key name is not 34 bytes".to_owned(),
        )
    })?;
    let expected = Expected {
        profile,
        qualifying: tpm::Qualifying(qualifying.0),
        attestation_key: TpmName(name),
        pcrs,
        counter_policy: policy_authorize_digest(&release),
        firmware_floor: None,
    };
    let presented = tpm::TpmEvidence {
        ak_public: &evidence.ak_public.0,
        quote: &evidence.quote.0,
        quote_signature: &evidence.quote_signature.0,
        pcrs: evidence.pcrs.iter().map(|p| (p.index, p.value)).collect(),
        nv_public: &evidence.nv_public.0,
        certify: &evidence.certify.0,
        certify_signature: &evidence.certify_signature.0,
        event_log: evidence.event_log.as_ref().map(|b| b.0.as_slice()),
    };
    let appraisal = appraise_tpm(&presented, &expected);
    let Some(verified) = appraisal.verified() else {
        let mut blames: Vec<Blame> = appraisal
            .failures()
            .map(|check| Blame {
                code: blamed(check.code),
                text: format!("{}: {}", check.code, check.reason),
            })
            .collect();
        if blames.is_empty() {
            blames = one(
                Code::Evidence,
                "a check that evidence needs could not run".to_owned(),
            );
        }
        return Err(blames);
    };
    Ok(TpmFacts {
        ak_name: verified.attestation_key().0.to_vec(),
        counter: verified.counter(),
        counter_name: release.name().0.to_vec(),
        resets: (
            verified.session().reset_count,
            verified.session().restart_count,
        ),
        clock: verified.quoted_at_ms(),
        pcrs: verified
            .pcrs()
            .iter()
            .map(|(index, value)| (*index, *value))
            .collect(),
        software: appraisal.class() == Appraised::Software,
    })
}

fn blamed(check: TpmCheck) -> Code {
    if check == TpmCheck::AkName {
        Code::AttestationKey
    } else {
        Code::Evidence
    }
}
