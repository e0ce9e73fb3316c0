//! What the processor and whoever stands between it and the guest show.
//!
//! In: their container, the binding, and what the auditor accepts. Out: [`PlatformFacts`], or which check
//! should be blamed and why.
//!
//! Two kinds of checks are told apart. What makes evidence genuine and the guest private (signatures,
//! chains, report data, no debugger) has to hold at the time that the opening claims, or there are no
//! facts. What an auditor may see one way or the other (products, floors, states) is a rule: it is asked at
//! that time and again today, and its answer stands beside the facts.
//!
//! Spec: `docs/spec/evidence.md`, "Platform profiles".

mod azure;
mod google;
mod parts;
mod processor;

use super::{Blame, Use};
use crate::codes::Code;
use crate::today::{Newer, Today};
use crate::trust::{EvidenceClass, Trust};
use countersign_evidence::Chains;
use countersign_evidence::appraisal::{Check, Outcome};
use countersign_evidence::party::Party;
use countersign_evidence::tpm::{
    CertifiedEvidence, CertifiedPolicy, ExpectedKey, KeyName, KeySignature, PresentedKey, TpmName,
    VouchedKey, appraise_certified,
};
use countersign_record::binding::{Binding, Profile, anchor_of};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::UnixMillis;
use countersign_record::evidence::PlatformEvidence;
use parts::Parts;
use processor::{Guest, amd, intel};
use std::fmt::Display;

/// What the auditor brings, and when.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) trust: &'a Trust,
    /// The time that the entry claims.
    pub(crate) then: UnixMillis,
    /// The verifier's own.
    pub(crate) now: UnixMillis,
    /// What vendors say at that time.
    pub(crate) today: &'a Today,
    pub(crate) chains: &'a mut Chains,
}

/// What verified evidence of a processor shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlatformFacts {
    /// Which platform.
    pub(crate) profile: Profile,
    /// Where the attestation key is kept.
    pub(crate) class: EvidenceClass,
    /// On whom it rests.
    pub(crate) parties: Vec<Party>,
    /// What was launched.
    pub(crate) launch: [u8; 48],
    /// Registers of a trust domain.
    pub(crate) rtmrs: Option<[[u8; 48]; 4]>,
    /// Whether these registers alone tell what was booted.
    pub(crate) registers_tell: bool,
    /// The auditor's rules, at the time that the opening claims.
    pub(crate) then: Judged,
    /// The same today, with everything that has a time.
    pub(crate) today: Judged,
    /// Whether the auditor gave something newer about this platform, which `today` goes by.
    pub(crate) newer: Newer,
    /// Whether the cloud provider signed that this is its firmware, under a root that the trust file names, and the trust
    /// file lets that stand for a reference value.
    pub(crate) endorsed: bool,
    /// What a reader has to know beside it.
    pub(crate) remarks: Vec<Remark>,
}

impl PlatformFacts {
    /// Whether this is of the same launch: what was launched, what booted, and on whom it rests. The last register is the guest's
    /// own to change.
    pub(crate) fn is_of(&self, opening: &Self) -> bool {
        let booted = |facts: &Self| facts.rtmrs.map(|[a, b, c, _]| [a, b, c]);
        self.launch == opening.launch
            && booted(self) == booted(opening)
            && self.parties == opening.parties
    }

    /// What further rules make of it.
    fn add_rules(&mut self, then: Judged, today: Judged) {
        self.then = std::mem::replace(&mut self.then, Judged::Accepted).and(then);
        self.today = std::mem::replace(&mut self.today, Judged::Accepted).and(today);
    }
}

/// What holds, and is less than it may look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Remark {
    /// A chain ends in a root that the trust file names instead of the vendor's.
    ForeignRoot,
    /// No revocation list came, which a trust file may allow.
    NoList,
    /// Nothing but the anchor, which both carry, joins the processor's report to the TPM.
    JoinedByAnchor,
    /// A statement about the firmware came, and the trust file names nobody who may make it.
    EndorsementNotAsked,
    /// The formats of this profile were never met in evidence of a real machine.
    NotProven,
}

impl Remark {
    /// For reports.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::ForeignRoot => {
                "the chain ends in a root that your trust file names in the vendor's place"
            }
            Self::NoList => {
                "no revocation list came with the evidence, which your trust file may allow: nothing was looked up"
            }
            Self::JoinedByAnchor => {
                "nothing but the anchor that both carry joins the processor's report to the TPM: what booted is the hypervisor's word"
            }
            Self::EndorsementNotAsked => {
                "a statement about the firmware came, and your trust file names no root under which it counts"
            }
            Self::NotProven => {
                "not proven on captured evidence: no real machine's evidence of this platform was at hand when this verifier was made"
            }
        }
    }
}

/// What the auditor's rules make of evidence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Judged {
    /// Nothing was asked.
    NotAsked(&'static str),
    /// Nothing speaks against it.
    Accepted,
    /// What does.
    Refused(Vec<String>),
}

/// Appraises the platform's evidence against a binding.
pub(super) fn appraise(
    evidence: &PlatformEvidence,
    attestation_key: Option<&[u8]>,
    whose: Use,
    binding: &Binding,
    settings: &mut Settings<'_>,
) -> Result<PlatformFacts, Vec<Blame>> {
    let parts = Parts::of(evidence, attestation_key)?;
    let report_data = report_data(whose);
    match binding.profile {
        Profile::Swtpm | Profile::Tpm => Err(Blame::one(
            Code::EvidenceSet,
            "the profile has no report of a processor",
        )),
        Profile::Snp => {
            let report = parts.report(binding.profile)?;
            let processor = amd(&parts, report, report_data, Guest::OfItself, settings)?;
            Ok(processor.facts(binding.profile, EvidenceClass::Processor))
        }
        Profile::Tdx => {
            let report = parts.report(binding.profile)?;
            let processor = intel(&parts, report, report_data, Guest::OfItself, settings)?;
            Ok(processor.facts(binding.profile, EvidenceClass::Processor))
        }
        Profile::AzureSnp | Profile::AzureTdx => azure::appraise(&parts, binding, settings),
        Profile::GcpSnp | Profile::GcpTdx => {
            google::appraise(&parts, report_data, binding, settings)
        }
    }
}

/// All 64 bytes that the processor's report has to be over.
fn report_data(whose: Use) -> [u8; 64] {
    match whose {
        Use::Opening(anchor) => anchor.0,
        Use::Later(qualifying) => {
            let mut data = [0; 64];
            for (to, from) in data.iter_mut().zip(qualifying.0) {
                *to = from;
            }
            data
        }
    }
}

/// Whether the platform's key vouches for the attestation key of the binding, over the anchor.
fn vouched(parts: &Parts<'_>, key: &VouchedKey, binding: &Binding) -> Result<(), Vec<Blame>> {
    let (Some(platform), Ok(name)) = (
        parts.key,
        <[u8; 34]>::try_from(binding.ak_name.0.as_slice()),
    ) else {
        let text = "the opening's attestation key name is not 34 bytes";
        return Err(Blame::one(Code::AttestationKey, text));
    };
    let anchor = anchor_of(&binding.to_bytes());
    let policy = CertifiedPolicy {
        signer: ExpectedKey::Vouched(key),
        qualifying: Some(anchor.qualifying().0.to_vec()),
        certified: KeyName::Sha256(TpmName(name)),
    };
    let evidence = CertifiedEvidence {
        signer: PresentedKey::Public(&platform.public.0),
        public: parts.attestation_key,
        certify: &platform.certify.0,
        signature: KeySignature::Tpmt(&platform.certify_signature.0),
    };
    expect_genuine(appraise_certified(&evidence, &policy).checks(), |_| false)
}

/// Every check that makes evidence genuine ran and holds.
fn expect_genuine<C: Copy + Display>(
    checks: &[Check<C>],
    is_rule: impl Fn(C) -> bool,
) -> Result<(), Vec<Blame>> {
    let blames: Vec<Blame> = checks
        .iter()
        .filter(|check| check.outcome == Outcome::Fail && !is_rule(check.code))
        .map(|check| Blame {
            code: Code::Evidence,
            text: format!("{}: {}", check.code, check.reason),
        })
        .collect();
    if blames.is_empty() {
        Ok(())
    } else {
        Err(blames)
    }
}

fn not_run() -> Vec<Blame> {
    Blame::one(Code::Evidence, "a check that evidence needs could not run")
}

/// What rules make of checks.
fn judged<C: Display>(checks: &[Check<C>]) -> Judged {
    let failed = checks.iter().filter(|check| check.outcome == Outcome::Fail);
    let texts: Vec<String> = failed
        .map(|c| format!("{}: {}", c.code, c.reason))
        .collect();
    if texts.is_empty() {
        Judged::Accepted
    } else {
        Judged::Refused(texts)
    }
}

impl Judged {
    /// Both together: what one refuses is refused.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Refused(mut texts), Self::Refused(more)) => {
                texts.extend(more);
                Self::Refused(texts)
            }
            (Self::Refused(texts), _) | (_, Self::Refused(texts)) => Self::Refused(texts),
            (Self::NotAsked(why), _) | (_, Self::NotAsked(why)) => Self::NotAsked(why),
            (Self::Accepted, Self::Accepted) => Self::Accepted,
        }
    }
}
