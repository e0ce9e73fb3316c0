//! TPM evidence: seven structures, each after its length in 16 bits, then register values. No panic, every
//! check is reported, and bytes that nobody signed are never accepted for another qualifying value.
#![no_main]

use countersign_evidence::tpm::{
    Expected, PcrSet, PolicyDigest, Qualifying, ReleaseKey, TpmEvidence, TpmName, TpmProfile,
    appraise_tpm,
};
use libfuzzer_sys::fuzz_target;

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
        ak_public,
        quote,
        quote_signature,
        nv_public,
        certify,
        certify_signature,
        release,
    ] = std::array::from_fn(|_| part(&mut rest));
    let pcrs = rest
        .chunks_exact(33)
        .filter_map(|c| c.split_first())
        .filter_map(|(index, value)| Some((*index, value.try_into().ok()?)))
        .collect();
    let evidence = TpmEvidence {
        ak_public,
        quote,
        quote_signature,
        pcrs,
        nv_public,
        certify,
        certify_signature,
        event_log: None,
    };
    let Ok(pcrs) = PcrSet::new([4, 7, 11, 12, 13]) else {
        return;
    };
    let expected = Expected {
        profile: TpmProfile::Swtpm,
        // No signature in the seeds is over these.
        qualifying: Qualifying([0x5a; 32]),
        attestation_key: TpmName::of(ak_public),
        pcrs,
        counter_policy: PolicyDigest([0; 32]),
        firmware_floor: None,
    };
    let appraisal = appraise_tpm(&evidence, &expected);
    assert!(appraisal.verified().is_none());
    assert!(appraisal.failures().next().is_some());
    let _ = ReleaseKey::parse(release);
});
