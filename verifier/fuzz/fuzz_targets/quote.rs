//! A bare quote, a certified key, a certificate of a key and a launch endorsement: key, statement, signature, second
//! public area, certificate, issuer, list and endorsement, each after its length in 16 bits, then register values. No
//! panic, every check is reported, and nothing is verified: nobody here vouches, pins or signs.
#![no_main]

use countersign_evidence::Moment;
use countersign_evidence::azure::Demand;
use countersign_evidence::chains::Chains;
use countersign_evidence::gcp::{
    EndorsementCheck, EndorsementEvidence, EndorsementPolicy, LaunchMeasurement,
    appraise_endorsement,
};
use countersign_evidence::tpm::{
    AkCheck, AkEvidence, AkPolicy, AkRoots, CertifiedCheck, CertifiedEvidence, CertifiedKey,
    CertifiedPolicy, ExpectedKey, KeyName, KeySignature, PcrSet, PresentedKey, QuoteCheck,
    QuoteEvidence, QuotePolicy, Selection, TpmName, appraise_ak, appraise_certified,
    appraise_quote,
};
use libfuzzer_sys::fuzz_target;

/// 2021-10-01, when Google's certificates of the seeds were valid.
const AT: Moment = Moment(1_633_046_400_000);

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
    let [
        key,
        statement,
        signature,
        public,
        certificate,
        issuer,
        list,
        endorsement,
    ] = std::array::from_fn(|_| part(&mut rest));
    let pcrs: Vec<(u8, [u8; 32])> = rest
        .chunks_exact(33)
        .filter_map(|c| c.split_first())
        .filter_map(|(index, value)| Some((*index, value.try_into().ok()?)))
        .collect();
    let Ok(asked) = PcrSet::new([0, 4, 7]) else {
        return;
    };
    let nobody = KeyName::Sha256(TpmName([0; 34]));
    for key in [PresentedKey::Public(key), PresentedKey::Spki(key)] {
        for signature in [
            KeySignature::Tpmt(signature),
            KeySignature::RsaRaw(signature),
        ] {
            let evidence = QuoteEvidence {
                key,
                quote: statement,
                signature,
                pcrs: pcrs.clone(),
                event_log: None,
            };
            let policy = QuotePolicy {
                key: ExpectedKey::Nobody,
                qualifying: Some(vec![0x5a; 32]),
                pcrs: asked,
                selection: Selection::AtLeast,
                firmware_floor: None,
            };
            let appraisal = appraise_quote(&evidence, &policy);
            assert!(
                appraisal
                    .checks()
                    .iter()
                    .map(|it| it.code)
                    .eq(QuoteCheck::ALL.iter().copied())
            );
            assert!(appraisal.verified().is_none());
            let evidence = CertifiedEvidence {
                signer: key,
                public,
                certify: statement,
                signature,
            };
            let policy = CertifiedPolicy {
                signer: ExpectedKey::Nobody,
                qualifying: None,
                certified: nobody,
            };
            let appraisal = appraise_certified(&evidence, &policy);
            assert!(
                appraisal
                    .checks()
                    .iter()
                    .map(|it| it.code)
                    .eq(CertifiedCheck::ALL.iter().copied())
            );
            assert!(appraisal.verified().is_none());
        }
    }
    let mut chains = Chains::new();
    let evidence = AkEvidence {
        certificate,
        subject: CertifiedKey::Endorsement(public),
        issuers: vec![issuer],
        lists: vec![list],
    };
    let policy = AkPolicy {
        activated: vec![],
        lists: Demand::Any,
        instances: None,
    };
    let appraisal = appraise_ak(&evidence, &policy, &AkRoots::of(vec![]), AT, &mut chains);
    assert!(
        appraisal
            .checks()
            .iter()
            .map(|it| it.code)
            .eq(AkCheck::ALL.iter().copied())
    );
    assert!(appraisal.verified().is_none());
    let evidence = EndorsementEvidence {
        endorsement,
        measurement: LaunchMeasurement::Snp([0; 48]),
    };
    let policy = EndorsementPolicy {
        roots: vec![],
        firmware: None,
        svn_floor: None,
    };
    let appraisal = appraise_endorsement(&evidence, &policy, AT, &mut chains);
    assert!(
        appraisal
            .checks()
            .iter()
            .map(|it| it.code)
            .eq(EndorsementCheck::ALL.iter().copied())
    );
    assert!(appraisal.verified().is_none());
});
