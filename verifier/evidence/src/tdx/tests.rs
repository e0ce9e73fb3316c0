#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count positions in fixed data"
)]

mod captures;
mod changes;
mod forms;
mod generated;
mod refused;
mod spec;

use countersign_devices::tdx as fake;

use super::*;
use crate::chains::Chains;

/// Everything that a fake platform presents.
#[derive(Clone)]
struct Case {
    quote: Vec<u8>,
    collateral: Option<Collateral>,
    event_log: Option<Vec<u8>>,
    policy: Policy,
    roots: Roots,
    at: Moment,
}

fn collateral(fake: &fake::Collateral) -> Collateral {
    Collateral {
        tcb_info: fake.tcb_info.clone().into_bytes(),
        tcb_info_signature: fake.tcb_info_signature(),
        tcb_info_chain: fake.tcb_info_chain.clone(),
        qe_identity: fake.qe_identity.clone().into_bytes(),
        qe_identity_signature: fake.qe_identity_signature(),
        qe_identity_chain: fake.qe_identity_chain.clone(),
        pck_crl: fake.pck_crl.sign(&fake.pck_crl_by),
        root_crl: fake.root_crl.sign(&fake.root_crl_by),
    }
}

impl Case {
    fn good() -> Self {
        let root = fake::Intel::default().root_der();
        Self {
            quote: fake::Quote::default().to_bytes(),
            collateral: Some(collateral(&fake::Collateral::default())),
            event_log: None,
            policy: policy(),
            roots: Roots::of(vec![RootDigest::of(&root)]),
            at: Moment(fake::NOW),
        }
    }

    fn quote(change: impl FnOnce(&mut fake::Quote)) -> Self {
        let mut quote = fake::Quote::default();
        change(&mut quote);
        Self {
            quote: quote.to_bytes(),
            ..Self::good()
        }
    }

    /// Of version 5 with a body of type 4, which has every field.
    fn extended(change: impl FnOnce(&mut fake::Td)) -> Self {
        Self::quote(|quote| {
            quote.version = 5;
            quote.body_type = 4;
            change(&mut quote.td);
        })
    }

    fn td(change: impl FnOnce(&mut fake::Td)) -> Self {
        Self::quote(|quote| change(&mut quote.td))
    }

    fn enclave(change: impl FnOnce(&mut fake::Enclave)) -> Self {
        Self::quote(|quote| change(&mut quote.enclave))
    }

    fn intel(change: impl FnOnce(&mut fake::Intel)) -> Self {
        let mut intel = fake::Intel::default();
        change(&mut intel);
        Self::quote(|quote| quote.chain = intel.pck_chain())
    }

    fn pck(change: impl FnOnce(&mut fake::Pck)) -> Self {
        let mut pck = fake::Pck::default();
        change(&mut pck);
        Self::quote(|quote| quote.chain = fake::Intel::with(&pck).pck_chain())
    }

    fn said(change: impl FnOnce(&mut fake::Collateral)) -> Self {
        let mut said = fake::Collateral::default();
        change(&mut said);
        Self {
            collateral: Some(collateral(&said)),
            ..Self::good()
        }
    }

    fn received(change: impl FnOnce(&mut Collateral)) -> Self {
        let mut case = Self::good();
        change(case.collateral.as_mut().unwrap());
        case
    }

    fn tcb_info(from: &str, to: &str) -> Self {
        Self::said(|said| {
            assert!(said.tcb_info.contains(from), "{from} does not stand there");
            said.tcb_info = said.tcb_info.replace(from, to);
        })
    }

    fn qe_identity(from: &str, to: &str) -> Self {
        Self::said(|said| {
            assert!(
                said.qe_identity.contains(from),
                "{from} does not stand there"
            );
            said.qe_identity = said.qe_identity.replace(from, to);
        })
    }

    fn policy(change: impl FnOnce(&mut Policy)) -> Self {
        let mut case = Self::good();
        change(&mut case.policy);
        case
    }

    fn asking(mut self, change: impl FnOnce(&mut Policy)) -> Self {
        change(&mut self.policy);
        self
    }

    fn at(millis: u64) -> Self {
        Self {
            at: Moment(millis),
            ..Self::good()
        }
    }

    fn appraise(&self) -> TdxAppraisal {
        self.appraise_with(&mut Chains::new())
    }

    fn appraise_with(&self, chains: &mut Chains) -> TdxAppraisal {
        let evidence = TdxEvidence {
            quote: &self.quote,
            collateral: self.collateral.as_ref(),
            event_log: self.event_log.as_deref(),
        };
        appraise_tdx(&evidence, &self.policy, &self.roots, self.at, chains)
    }
}

/// What the fake platform fulfils, everything named.
fn policy() -> Policy {
    let one = |byte| Some(vec![Measurement([byte; 48])]);
    Policy {
        mrseam: one(0x5e),
        mrtd: one(0x71),
        rtmrs: [one(0x80), one(0x81), one(0x82), one(0x83)],
        evaluation_floor: Some(18),
        tee_tcb_floor: Some(TeeTcbSvn([6, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0])),
        platforms: Some(vec![Ppid([0xaa; 16])]),
        ..Policy::strict(ReportData([0xd0; 64]))
    }
}

/// The checks that failed, and that nothing holds because of them.
fn failed(appraisal: &TdxAppraisal) -> Vec<&'static str> {
    let failed: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
    assert!(failed.is_empty() || appraisal.verified().is_none());
    failed
}

fn reason(appraisal: &TdxAppraisal, code: TdxCheck) -> &str {
    let check = appraisal.checks().iter().find(|it| it.code == code);
    &check.expect("every check is listed").reason
}

fn outcome(appraisal: &TdxAppraisal, code: TdxCheck) -> Outcome {
    let check = appraisal.checks().iter().find(|it| it.code == code);
    check.expect("every check is listed").outcome
}

fn print(appraisal: &TdxAppraisal) -> String {
    let lines = appraisal.checks().iter().map(|it| {
        format!(
            "{:11} {:28} {}\n",
            it.outcome.to_string(),
            it.code.as_str(),
            it.reason
        )
    });
    lines.collect()
}

#[test]
fn every_check_of_a_good_quote_passes_or_says_why_not() {
    let appraisal = Case::good().appraise();
    let verified = appraisal
        .verified()
        .unwrap_or_else(|| panic!("{}", print(&appraisal)));
    let skipped: Vec<_> = appraisal
        .checks()
        .iter()
        .filter(|it| it.outcome != Outcome::Pass)
        .map(|it| it.code.as_str())
        .collect();
    let of_later_layouts_and_logs = [
        "tdx.td.vmid",
        "tdx.td.servicetd",
        "tdx.eventlog.form",
        "tdx.eventlog.replay",
    ];
    assert_eq!(skipped, of_later_layouts_and_logs);
    assert_eq!(verified.body().mrtd(), Measurement([0x71; 48]));
    assert_eq!(verified.body().report_data(), ReportData([0xd0; 64]));
    assert_eq!(verified.tcb().status, TcbStatus::UpToDate);
    assert_eq!(verified.tcb().evaluation, 18);
    assert_eq!(verified.tcb().date.to_string(), "2025-11-13T00:00:00Z");
    assert_eq!(
        verified.tcb().current_until,
        Moment(fake::NOW + 25 * fake::DAY)
    );
    assert_eq!(verified.platform().fmspc().to_string(), "b0c06f000000");
    assert_eq!(verified.quoting_enclave().isv_svn(), 6);
    assert_eq!(verified.parties(), [crate::party::Party::Intel]);
}

#[test]
fn every_check_is_listed_once_and_in_order_whatever_is_presented() {
    let mut nothing = Case::good();
    nothing.quote = vec![];
    nothing.collateral = None;
    for case in [Case::good(), Case::extended(|_| ()), nothing] {
        let appraisal = case.appraise();
        let codes: Vec<_> = appraisal.checks().iter().map(|it| it.code).collect();
        assert_eq!(codes, TdxCheck::ALL);
        assert!(appraisal.checks().iter().all(|it| !it.reason.is_empty()));
    }
}

#[test]
fn texts_of_checks_are_unique() {
    let mut texts: Vec<_> = TdxCheck::ALL.iter().map(|it| it.as_str()).collect();
    texts.sort_unstable();
    texts.dedup();
    assert_eq!(texts.len(), TdxCheck::ALL.len());
}

#[test]
fn quotes_of_version_5_hold_with_every_body_type() {
    for body_type in [2, 3, 4] {
        let case = Case::quote(|quote| {
            quote.version = 5;
            quote.body_type = body_type;
        });
        let appraisal = case.appraise();
        assert_eq!(failed(&appraisal), [""; 0], "{}", print(&appraisal));
        let body = *appraisal.verified().unwrap().body();
        assert_eq!(body.later().is_some(), body_type > 2);
        assert_eq!(body.extended().is_some(), body_type > 3);
        if let Some(extended) = body.extended() {
            assert_eq!(extended.td_id, TdId([0x1d; 32]));
            assert_eq!(extended.device_info, Measurement([0xde; 48]));
            assert_eq!(extended.initial_cpu_svn, CpuSvn([4; 16]));
            assert_eq!(extended.initial_tee_tcb_svn, TeeTcbSvn([5; 16]));
            assert_eq!(extended.initial_fmspc, [6; 12]);
            assert_eq!(extended.initial_servicetd_attributes, [0; 8]);
            assert_eq!(extended.current_servicetd_attributes, [0; 8]);
        }
    }
}

#[test]
fn every_field_of_a_report_has_its_place() {
    let mut place = 0_u8;
    let mut next = || {
        place += 1;
        place
    };
    let td = fake::Td {
        tee_tcb_svn: [6, 1, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9],
        mrseam: [next(); 48],
        mrtd: [next(); 48],
        mrconfigid: [next(); 48],
        mrowner: [next(); 48],
        mrownerconfig: [next(); 48],
        rtmrs: [[next(); 48], [next(); 48], [next(); 48], [next(); 48]],
        report_data: [next(); 64],
        ..fake::Td::default()
    };
    let case = Case::td(|it| *it = td.clone());
    let appraisal = case.appraise();
    let claimed = appraisal.claimed().unwrap();
    let body = claimed.body();
    assert_eq!(body.tee_tcb_svn(), TeeTcbSvn(td.tee_tcb_svn));
    assert_eq!(body.mrseam(), Measurement([1; 48]));
    assert_eq!(body.mrtd(), Measurement([2; 48]));
    assert_eq!(body.mrconfigid(), Measurement([3; 48]));
    assert_eq!(body.mrowner(), Measurement([4; 48]));
    assert_eq!(body.mrownerconfig(), Measurement([5; 48]));
    let rtmrs = [6, 7, 8, 9].map(|byte| Measurement([byte; 48]));
    assert_eq!(body.rtmrs(), &rtmrs);
    assert_eq!(body.report_data(), ReportData([10; 64]));
    assert_eq!(body.attributes(), TdAttributes(1 << 28));
    assert_eq!(body.xfam(), Xfam(0x0006_02e7));
    assert_eq!(claimed.header().user_data(), [0x0d; 20]);
    assert_eq!(claimed.header().version(), 4);
}

#[test]
fn a_second_quote_of_a_platform_costs_its_own_signature_only() {
    let mut chains = Chains::new();
    assert!(Case::good().appraise_with(&mut chains).verified().is_some());
    // Two of the platform's chain, the enclave's report, the quote, two lists, one signer, two statements.
    assert_eq!(chains.remembered(), 9);
    let second = Case::td(|td| td.report_data = [0xd1; 64])
        .asking(|policy| policy.report_data = Some(ReportData([0xd1; 64])));
    assert!(second.appraise_with(&mut chains).verified().is_some());
    assert_eq!(chains.remembered(), 10);
    let later = Case::at(fake::NOW + fake::DAY);
    assert!(later.appraise_with(&mut chains).verified().is_some());
    assert_eq!(chains.remembered(), 10);
}

#[test]
fn a_memory_of_what_held_makes_nothing_else_hold() {
    let mut chains = Chains::new();
    assert!(Case::good().appraise_with(&mut chains).verified().is_some());
    let mut other = Case::quote(|quote| quote.report_by = fake::other_key());
    assert_eq!(
        failed(&other.appraise_with(&mut chains)),
        ["tdx.qe.signature"]
    );
    other = Case::at(fake::NOW + 26 * fake::DAY);
    assert!(!failed(&other.appraise_with(&mut chains)).is_empty());
    other = Case::good();
    other.roots = Roots::intel();
    assert!(!failed(&other.appraise_with(&mut chains)).is_empty());
}
