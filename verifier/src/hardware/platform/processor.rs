//! What a processor's report shows, whichever profile it came in.
//!
//! In: the parts of the container and the bytes that the report has to be over. Out: [`Processor`].

use super::parts::Parts;
use super::{Blame, Judged, PlatformFacts, Remark, Settings, expect_genuine, judged};
use crate::codes::Code;
use crate::today::Newer;
use crate::trust::EvidenceClass;
use crate::trust::platform::Pinned;
use countersign_evidence::party::Party;
use countersign_evidence::snp::{self, SnpCheck, SnpEvidence, appraise_snp};
use countersign_evidence::tdx::{self, TdxCheck, TdxEvidence, appraise_tdx};
use countersign_evidence::{Chains, Moment};
use countersign_record::binding::Profile;
use countersign_record::digest::UnixMillis;
use countersign_record::evidence::EndorsementKind;

/// What a processor's report shows, however it got here.
pub(super) struct Processor {
    pub(super) parties: Vec<Party>,
    pub(super) launch: [u8; 48],
    pub(super) rtmrs: Option<[[u8; 48]; 4]>,
    pub(super) then: Judged,
    pub(super) today: Judged,
    pub(super) newer: Newer,
    pub(super) remarks: Vec<Remark>,
}

impl Processor {
    /// What it shows by itself; whoever stands beside it adds to that.
    pub(super) fn facts(self, profile: Profile, class: EvidenceClass) -> PlatformFacts {
        let Self {
            parties,
            launch,
            rtmrs,
            then,
            today,
            newer,
            remarks,
        } = self;
        PlatformFacts {
            profile,
            class,
            parties,
            launch,
            rtmrs,
            // Below a paravisor they tell that nothing but the paravisor was measured there.
            registers_tell: class != EvidenceClass::HypervisorTpm,
            then,
            today,
            newer,
            endorsed: false,
            remarks,
        }
    }
}

/// An SEV-SNP report.
pub(super) fn amd(
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
    let at = |evidence: &SnpEvidence<'_>, at: UnixMillis, chains: &mut Chains| {
        appraise_snp(evidence, &policy, &roots, Moment(at.0), chains)
    };
    let then = at(&evidence, settings.then, settings.chains);
    expect_genuine(then.checks(), SnpCheck::is_rule)?;
    let (crl, newer) = settings.today.amd(evidence.root, evidence.crl);
    let lately = SnpEvidence { crl, ..evidence };
    let today = at(&lately, settings.now, settings.chains);
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
        newer,
        remarks: remarks(&[
            (Remark::ForeignRoot, foreign_root),
            (Remark::NoList, evidence.crl.is_none()),
        ]),
    })
}

/// Who runs in the trust domain first.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Guest {
    /// The guest itself.
    OfItself,
    /// Azure's paravisor, which handles faults that a host provokes.
    BelowParavisor,
}

/// A TDX quote.
pub(super) fn intel(
    parts: &Parts<'_>,
    quote: &[u8],
    report_data: [u8; 64],
    guest: Guest,
    settings: &mut Settings<'_>,
) -> Result<Processor, Vec<Blame>> {
    let answers = tdx::PcsAnswers {
        tcb_info: parts.needed(EndorsementKind::IntelTcbInfo),
        tcb_info_chain: parts.needed(EndorsementKind::IntelTcbInfoChain),
        qe_identity: parts.needed(EndorsementKind::IntelQeIdentity),
        qe_identity_chain: parts.needed(EndorsementKind::IntelQeIdentityChain),
        pck_crl: parts.needed(EndorsementKind::IntelPckCrl),
        root_crl: parts.needed(EndorsementKind::IntelRootCrl),
    };
    let malformed = |e: tdx::CollateralError| Blame::one(Code::Evidence, e.to_string());
    let collateral = tdx::Collateral::from_pcs(answers).map_err(malformed)?;
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
    let at = |evidence: &TdxEvidence<'_>, at: UnixMillis, chains: &mut Chains| {
        appraise_tdx(evidence, &policy, &roots, Moment(at.0), chains)
    };
    let then = at(&evidence, settings.then, settings.chains);
    expect_genuine(then.checks(), TdxCheck::is_rule)?;
    let lately = settings.today.intel(answers);
    let lately = lately.map(|(collateral, newer)| {
        let evidence = TdxEvidence {
            collateral: Some(&collateral),
            ..evidence
        };
        (at(&evidence, settings.now, settings.chains), newer)
    });
    let claimed = then.claimed();
    let claimed = claimed.ok_or_else(|| Blame::one(Code::Evidence, "the quote is not known"))?;
    let judge = |checks: &[_]| match rule {
        Some(_) => judged(checks),
        None => Judged::NotAsked("your trust file has no table [tdx]"),
    };
    let (today, newer) = match lately {
        Ok((today, newer)) => (judge(today.checks()), newer),
        Err(e) => {
            let text = format!("what you gave for today cannot be read: {e}");
            (Judged::Refused(vec![text]), Newer::Used)
        }
    };
    Ok(Processor {
        parties: vec![Party::Intel],
        launch: claimed.body().mrtd().0,
        rtmrs: Some(claimed.body().rtmrs().map(|r| r.0)),
        then: judge(then.checks()),
        today,
        newer,
        // Lists of Intel's are part of the profile.
        remarks: remarks(&[(Remark::ForeignRoot, foreign_root)]),
    })
}

fn remarks(of: &[(Remark, bool)]) -> Vec<Remark> {
    of.iter()
        .filter(|(_, is_so)| *is_so)
        .map(|(remark, _)| *remark)
        .collect()
}
