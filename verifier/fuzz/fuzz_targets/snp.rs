//! SEV-SNP evidence: report, three certificates and a revocation list, each after its length in 16 bits, then a
//! host's table of certificates. No panic, every check is reported, and nothing is ever verified: the expected
//! report data is in no seed, and nobody here can sign.
#![no_main]

use countersign_evidence::Moment;
use countersign_evidence::chains::Chains;
use countersign_evidence::snp::{
    CertificateTable, Policy, Product, ProductPolicy, ReportData, Requirement, Roots,
    SnpCertificates, SnpCheck, SnpEvidence, appraise_snp,
};
use libfuzzer_sys::fuzz_target;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// 2025-06-15, when the chains of most seeds were valid.
const AT: Moment = Moment(1_750_000_000_000);

static POLICY: LazyLock<Policy> = LazyLock::new(|| Policy {
    revocation: Requirement::Optional,
    platform_required: vec![],
    ..Policy::strict(
        ReportData([0x5a; 64]),
        Product::ALL
            .into_iter()
            .map(|product| (product, ProductPolicy::default()))
            .collect::<BTreeMap<_, _>>(),
    )
});

fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let Some((length, rest)) = bytes.split_first_chunk::<2>() else {
        return &[];
    };
    let (part, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)).min(rest.len()));
    *bytes = rest;
    part
}

fuzz_target!(|bytes: &[u8]| {
    let mut rest = bytes;
    let [report, key, issuer, root, crl] = std::array::from_fn(|_| part(&mut rest));
    let evidence = SnpEvidence {
        report,
        key,
        issuer,
        root,
        crl: (!crl.is_empty()).then_some(crl),
    };
    let appraisal = appraise_snp(&evidence, &POLICY, &Roots::amd(), AT, &mut Chains::new());
    assert!(appraisal.verified().is_none());
    assert!(appraisal.failures().next().is_some());
    assert!(
        appraisal
            .checks()
            .iter()
            .map(|check| check.code)
            .eq(SnpCheck::ALL.iter().copied())
    );
    if let Ok(table) = CertificateTable::parse(rest) {
        let _ =
            SnpCertificates::from_table(&table, &[key.to_vec(), issuer.to_vec(), root.to_vec()]);
    }
});
