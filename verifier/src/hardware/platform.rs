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

use super::{Blame, Use};
use crate::codes::Code;
use crate::trust::platform::Pinned;
use crate::trust::{EvidenceClass, Trust};
use countersign_evidence::appraisal::{Check, Outcome};
use countersign_evidence::azure::{AzureEvidence, AzurePolicy, Hardware, appraise_paravisor};
use countersign_evidence::party::Party;
use countersign_evidence::snp::{self, SnpCheck, SnpEvidence, appraise_snp};
use countersign_evidence::tdx::{self, TdxCheck, TdxEvidence, appraise_tdx};
use countersign_evidence::tpm::{
    CertifiedEvidence, CertifiedPolicy, ExpectedKey, KeyName, KeySignature, PresentedKey, TpmName,
    VouchedKey, appraise_certified,
};
use countersign_evidence::{Chains, Moment};
use countersign_record::binding::{Binding, Profile, anchor_of};
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::UnixMillis;
use countersign_record::evidence::{EndorsementKind, Endorsements, PlatformEvidence, PlatformKey};
use std::fmt::Display;

/// What the auditor brings, and when.
#[derive(Debug)]
pub(crate) struct Settings<'a> {
    pub(crate) trust: &'a Trust,
    /// The time that the entry claims.
    pub(crate) then: UnixMillis,
    /// The verifier's own.
    pub(crate) now: UnixMillis,
    pub(crate) chains: &'a mut Chains,
}

/// What verified evidence of a processor shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PlatformFacts {
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
    /// Whether the chain ends in a root that the trust file names instead of the vendor's.
    pub(crate) foreign_root: bool,
    /// Whether no revocation list came with it, which a trust file may allow.
    pub(crate) no_list: bool,
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
            Ok(processor.facts(EvidenceClass::Processor, Vec::new()))
        }
        Profile::Tdx => {
            let report = parts.report(binding.profile)?;
            let processor = intel(&parts, report, report_data, Guest::OfItself, settings)?;
            Ok(processor.facts(EvidenceClass::Processor, Vec::new()))
        }
        Profile::AzureSnp | Profile::AzureTdx => azure(&parts, binding, settings),
        Profile::GcpSnp | Profile::GcpTdx => Err(Blame::one(
            Code::EvidenceSet,
            format!(
                "this verifier does not appraise evidence of profile {} yet",
                binding.profile
            ),
        )),
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

/// The container, its parts by name.
struct Parts<'a> {
    report: Option<&'a [u8]>,
    paravisor: Option<&'a [u8]>,
    key: Option<&'a PlatformKey>,
    endorsements: Vec<(EndorsementKind, &'a [u8])>,
    /// `TPMT_PUBLIC` of the key that signs beside the report.
    attestation_key: &'a [u8],
}

impl<'a> Parts<'a> {
    /// Exactly the parts that the profile names.
    fn of(
        evidence: &'a PlatformEvidence,
        attestation_key: Option<&'a [u8]>,
    ) -> Result<Self, Vec<Blame>> {
        let PlatformEvidence {
            profile,
            report,
            paravisor,
            key,
            endorsements,
        } = evidence;
        let asked = asked(*profile);
        for (what, there, wanted) in [
            ("a processor's report", report.is_some(), asked.report),
            ("a paravisor's report", paravisor.is_some(), asked.paravisor),
            ("a key of the platform", key.is_some(), asked.key),
        ] {
            if there != wanted {
                let does = if wanted { "needs" } else { "does not have" };
                let text = format!("profile {profile} {does} {what}");
                return Err(Blame::one(Code::EvidenceSet, text));
            }
        }
        let endorsements: Vec<_> = endorsements
            .iter()
            .map(|e| (e.kind, e.bytes.0.as_slice()))
            .collect();
        expect_endorsements(*profile, &endorsements, &asked)?;
        Ok(Self {
            report: report.as_ref().map(|b| b.0.as_slice()),
            paravisor: paravisor.as_ref().map(|b| b.0.as_slice()),
            key: key.as_ref(),
            endorsements,
            attestation_key: attestation_key.unwrap_or_default(),
        })
    }

    fn report(&self, profile: Profile) -> Result<&'a [u8], Vec<Blame>> {
        let text = || format!("profile {profile} needs a processor's report");
        self.report
            .ok_or_else(|| Blame::one(Code::EvidenceSet, text()))
    }

    fn endorsement(&self, kind: EndorsementKind) -> Option<&'a [u8]> {
        self.endorsements
            .iter()
            .find(|(k, _)| *k == kind)
            .map(|(_, b)| *b)
    }

    /// One that [`Parts::of`] found to be there.
    fn needed(&self, kind: EndorsementKind) -> &'a [u8] {
        self.endorsement(kind).unwrap_or_default()
    }
}

/// What a profile's container has.
struct Asked {
    report: bool,
    paravisor: bool,
    key: bool,
    endorsements: Endorsements,
}

/// The table of `docs/spec/evidence.md`, "Platform profiles".
fn asked(profile: Profile) -> Asked {
    let (report, paravisor, key) = match profile {
        Profile::Swtpm | Profile::Tpm => (false, false, false),
        Profile::Snp | Profile::Tdx => (true, false, false),
        Profile::AzureSnp => (false, true, true),
        Profile::AzureTdx => (true, true, true),
        Profile::GcpSnp | Profile::GcpTdx => (true, false, true),
    };
    Asked {
        report,
        paravisor,
        key,
        endorsements: profile.endorsements(),
    }
}

/// Most certificates towards a platform's key.
const MAX_KEY_CERTIFICATES: usize = 8;

fn expect_endorsements(
    profile: Profile,
    found: &[(EndorsementKind, &[u8])],
    asked: &Asked,
) -> Result<(), Vec<Blame>> {
    let refused = |text: String| Err(Blame::one(Code::EvidenceSet, text));
    for pair in found.windows(2) {
        if let [(before, _), (after, _)] = pair
            && (before > after || (before == after && *after != EndorsementKind::KeyCertificate))
        {
            return refused("endorsements are not in the order of their kinds".to_owned());
        }
    }
    let certificates = found
        .iter()
        .filter(|(k, _)| *k == EndorsementKind::KeyCertificate);
    if certificates.count() > MAX_KEY_CERTIFICATES {
        return refused(format!(
            "more than {MAX_KEY_CERTIFICATES} certificates of a key"
        ));
    }
    let Endorsements { needed, allowed } = asked.endorsements;
    for kind in needed {
        if !found.iter().any(|(k, _)| k == kind) {
            return refused(format!("profile {profile} needs an endorsement {kind}"));
        }
    }
    let fits = |kind: &EndorsementKind| needed.contains(kind) || allowed.contains(kind);
    match found.iter().find(|(kind, _)| !fits(kind)) {
        Some((kind, _)) => refused(format!(
            "profile {profile} does not have an endorsement {kind}"
        )),
        None => Ok(()),
    }
}

/// What a processor's report shows, however it got here.
struct Processor {
    parties: Vec<Party>,
    launch: [u8; 48],
    rtmrs: Option<[[u8; 48]; 4]>,
    then: Judged,
    today: Judged,
    foreign_root: bool,
    no_list: bool,
}

impl Processor {
    fn facts(self, class: EvidenceClass, others: Vec<Party>) -> PlatformFacts {
        let Self {
            mut parties,
            launch,
            rtmrs,
            then,
            today,
            foreign_root,
            no_list,
        } = self;
        parties.extend(others);
        PlatformFacts {
            class,
            parties,
            launch,
            rtmrs,
            // Below a paravisor they tell that nothing but the paravisor was measured there.
            registers_tell: class != EvidenceClass::HypervisorTpm,
            then,
            today,
            foreign_root,
            no_list,
        }
    }
}

/// An SEV-SNP report.
fn amd(
    parts: &Parts<'_>,
    report: &[u8],
    report_data: [u8; 64],
    guest: Guest,
    settings: &mut Settings<'_>,
) -> Result<Processor, Vec<Blame>> {
    let evidence = SnpEvidence {
        report,
        key: parts.needed(EndorsementKind::AmdVek),
        issuer: parts.needed(EndorsementKind::AmdIssuer),
        root: parts.needed(EndorsementKind::AmdRoot),
        crl: parts.endorsement(EndorsementKind::AmdCrl),
    };
    let rule = settings.trust.snp.as_ref();
    let mut policy = rule.map_or_else(snp::Policy::open, |rule| rule.policy.clone());
    policy.report_data = Some(snp::ReportData(report_data));
    if guest == Guest::BelowParavisor {
        // The paravisor has the highest privilege; whoever asked with less is a guest that says it is one.
        policy.vmpl = snp::Vmpl(0);
    }
    let (roots, foreign_root) = match rule.map(|rule| &rule.roots) {
        Some(Pinned::TrustFile(roots)) => (roots.clone(), true),
        Some(Pinned::Vendor) | None => (snp::Roots::amd(), false),
    };
    let at = |at: UnixMillis, chains: &mut Chains| {
        appraise_snp(&evidence, &policy, &roots, Moment(at.0), chains)
    };
    let then = at(settings.then, settings.chains);
    expect_genuine(then.checks(), SnpCheck::is_rule)?;
    let today = at(settings.now, settings.chains);
    let claimed = then.claimed();
    let claimed = claimed.ok_or_else(|| Blame::one(Code::Evidence, "the report is not known"))?;
    let judge = |checks| match rule {
        Some(_) => judged(checks),
        None => Judged::NotAsked("your trust file has no table [snp]"),
    };
    Ok(Processor {
        parties: then.rests_on().to_vec(),
        launch: *claimed.measurement(),
        rtmrs: None,
        then: judge(then.checks()),
        today: judge(today.checks()),
        foreign_root,
        no_list: evidence.crl.is_none(),
    })
}

/// Who runs in the trust domain first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Guest {
    /// The guest itself.
    OfItself,
    /// Azure's paravisor, which handles faults that a host provokes.
    BelowParavisor,
}

/// A TDX quote.
fn intel(
    parts: &Parts<'_>,
    quote: &[u8],
    report_data: [u8; 64],
    guest: Guest,
    settings: &mut Settings<'_>,
) -> Result<Processor, Vec<Blame>> {
    let collateral = tdx::Collateral::from_pcs(tdx::PcsAnswers {
        tcb_info: parts.needed(EndorsementKind::IntelTcbInfo),
        tcb_info_chain: parts.needed(EndorsementKind::IntelTcbInfoChain),
        qe_identity: parts.needed(EndorsementKind::IntelQeIdentity),
        qe_identity_chain: parts.needed(EndorsementKind::IntelQeIdentityChain),
        pck_crl: parts.needed(EndorsementKind::IntelPckCrl),
        root_crl: parts.needed(EndorsementKind::IntelRootCrl),
    })
    .map_err(|e| Blame::one(Code::Evidence, e.to_string()))?;
    let evidence = TdxEvidence {
        quote,
        collateral: Some(&collateral),
        event_log: None,
    };
    let rule = settings.trust.tdx.as_ref();
    let mut policy = rule.map_or_else(tdx::Policy::open, |rule| rule.policy.clone());
    policy.report_data = Some(tdx::ReportData(report_data));
    if guest == Guest::BelowParavisor {
        policy.sept_ve = tdx::SeptVe::AzureParavisor;
    }
    let (roots, foreign_root) = match rule.map(|rule| &rule.roots) {
        Some(Pinned::TrustFile(roots)) => (roots.clone(), true),
        Some(Pinned::Vendor) | None => (tdx::Roots::intel(), false),
    };
    let at = |at: UnixMillis, chains: &mut Chains| {
        appraise_tdx(&evidence, &policy, &roots, Moment(at.0), chains)
    };
    let then = at(settings.then, settings.chains);
    expect_genuine(then.checks(), TdxCheck::is_rule)?;
    let today = at(settings.now, settings.chains);
    let claimed = then.claimed();
    let claimed = claimed.ok_or_else(|| Blame::one(Code::Evidence, "the quote is not known"))?;
    let judge = |checks| match rule {
        Some(_) => judged(checks),
        None => Judged::NotAsked("your trust file has no table [tdx]"),
    };
    Ok(Processor {
        parties: vec![Party::Intel],
        launch: claimed.body().mrtd().0,
        rtmrs: Some(claimed.body().rtmrs().map(|r| r.0)),
        then: judge(then.checks()),
        today: judge(today.checks()),
        foreign_root,
        // Lists of Intel's are part of the profile.
        no_list: false,
    })
}

/// Azure: the processor vouches for the paravisor, the paravisor for a key of the TPM, that key for ours.
fn azure(
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
    let mut facts = processor.facts(EvidenceClass::ParavisorTpm, key.parties().to_vec());
    let machine = match settings.trust.azure {
        None => Judged::NotAsked("your trust file has no table [azure]"),
        Some(rule) => judged(appraise_paravisor(&evidence, &rule.policy(hardware)).checks()),
    };
    facts.then = facts.then.and(machine.clone());
    facts.today = facts.today.and(machine);
    Ok(facts)
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
