//! TDX evidence: a quote after its length in 16 bits, likewise a log, then collateral: one JSON object, or, after a
//! zero byte, eight parts each after its length. No panic, every check is reported, and nothing is ever verified: the
//! expected report data are in no seed, and nobody here can sign.
#![no_main]

use countersign_evidence::Moment;
use countersign_evidence::chains::Chains;
use countersign_evidence::eventlog::CcLog;
use countersign_evidence::tdx::{
    Collateral, Flags, PcsAnswers, Policy, ReportData, Roots, SeptVe, TcbStatus, TdxCheck,
    TdxEvidence, appraise_tdx, without_padding,
};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

/// 2025-06-25, when the collateral of the first seed was current.
const AT: Moment = Moment(1_750_809_600_000);

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    mrconfigid: None,
    mrowner: None,
    mrownerconfig: None,
    sept_ve: SeptVe::AzureParavisor,
    statuses: TcbStatus::ALL.to_vec(),
    flags: Flags::ANY,
    ..Policy::strict(ReportData([0x5a; 64]))
});

fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return &[];
    };
    let (part, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *bytes = rest;
    part
}

fn collateral(bytes: &[u8]) -> Option<Collateral> {
    let Some((0, mut rest)) = bytes.split_first().map(|(first, rest)| (*first, rest)) else {
        return Collateral::from_json(bytes).ok();
    };
    let [info, signature, chain, identity, other, second, pck, root] =
        std::array::from_fn(|_| part(&mut rest));
    let _ = Collateral::from_pcs(PcsAnswers {
        tcb_info: info,
        tcb_info_chain: chain,
        qe_identity: identity,
        qe_identity_chain: second,
        pck_crl: pck,
        root_crl: root,
    });
    Some(Collateral {
        tcb_info: info.to_vec(),
        tcb_info_signature: signature.to_vec(),
        tcb_info_chain: chain.to_vec(),
        qe_identity: identity.to_vec(),
        qe_identity_signature: other.to_vec(),
        qe_identity_chain: second.to_vec(),
        pck_crl: pck.to_vec(),
        root_crl: root.to_vec(),
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let [quote, log] = std::array::from_fn(|_| part(&mut rest));
    let collateral = collateral(rest);
    if let Ok(exact) = without_padding(quote) {
        assert!(quote.starts_with(exact));
        assert_eq!(without_padding(exact), Ok(exact));
    }
    let evidence = TdxEvidence {
        quote,
        collateral: collateral.as_ref(),
        event_log: (!log.is_empty()).then_some(log),
    };
    let mut chains = Chains::new();
    let appraisal = appraise_tdx(&evidence, &POLICY, &Roots::intel(), AT, &mut chains);
    assert!(appraisal.verified().is_none());
    assert!(appraisal.failures().next().is_some());
    assert!(
        appraisal
            .checks()
            .iter()
            .map(|check| check.code)
            .eq(TdxCheck::ALL.iter().copied())
    );
    // What held is remembered, and says the same the second time.
    let again = appraise_tdx(&evidence, &POLICY, &Roots::intel(), AT, &mut chains);
    assert_eq!(appraisal, again);
    let _ = CcLog::parse(rest);
});
