//! What a TPM gives here is what the verifier's own code accepts there.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use countersign_evidence::tpm;
use countersign_platform::swtpm::Swtpm;
use countersign_platform::{
    PcrSet, Qualifying, ReleaseKey, ReleasePolicy, ReleaseSignature, Tpm, TpmEvidence,
};
use p256::ecdsa::signature::hazmat::PrehashSigner as _;
use p256::ecdsa::{Signature, SigningKey};

const QUALIFYING: Qualifying = Qualifying([0x51; 32]);

fn release(tpm: &Tpm) -> ReleasePolicy {
    let signer = SigningKey::from_slice(&[1; 32]).unwrap();
    let key = ReleaseKey::parse(signer.verifying_key().to_sec1_point(false).as_bytes()).unwrap();
    ReleasePolicy::approve(tpm.pcrs(PcrSet::PROFILE).unwrap(), 1, key, |digest| {
        let signature: Signature = signer.sign_prehash(&digest.0)?;
        let (r, s) = signature.split_bytes();
        Ok::<_, p256::ecdsa::Error>(ReleaseSignature {
            r: r.into(),
            s: s.into(),
        })
    })
    .unwrap()
}

fn appraised(tpm: &Tpm, release: &ReleasePolicy, evidence: &TpmEvidence) -> tpm::TpmAppraisal {
    let TpmEvidence {
        ak_public,
        quote,
        quote_signature,
        pcrs,
        nv_public,
        certify,
        certify_signature,
        event_log,
    } = evidence;
    let key = tpm::ReleaseKey::parse(&release.release_key.tpmt_public()).unwrap();
    let presented = tpm::TpmEvidence {
        ak_public,
        quote,
        quote_signature,
        pcrs: pcrs.clone(),
        nv_public,
        certify,
        certify_signature,
        event_log: event_log.as_deref(),
    };
    let expected = tpm::Expected {
        profile: tpm::TpmProfile::Swtpm,
        qualifying: tpm::Qualifying(QUALIFYING.0),
        attestation_key: tpm::TpmName(tpm.identity().attestation_key.name),
        pcrs: tpm::PcrSet::new(PcrSet::PROFILE.iter()).unwrap(),
        counter_policy: tpm::policy_authorize_digest(&key),
        firmware_floor: None,
    };
    tpm::appraise_tpm(&presented, &expected)
}

/// The counter that the verifier reads out of evidence it accepts.
fn accepted(tpm: &Tpm, release: &ReleasePolicy, evidence: &TpmEvidence) -> u64 {
    let appraisal = appraised(tpm, release, evidence);
    let failures: Vec<_> = appraisal.failures().collect();
    assert!(failures.is_empty(), "{failures:?}");
    appraisal.verified().unwrap().counter()
}

#[test]
fn the_verifier_accepts_evidence_and_reads_the_same_counter() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start(state.path()).unwrap();
    let tpm = Tpm::open(swtpm.address()).unwrap();
    let release = release(&tpm);
    tpm.provision(&release, 1).unwrap();
    let (counter, evidence) = tpm.advance(&release, QUALIFYING).unwrap();
    assert_eq!(accepted(&tpm, &release, &evidence), counter);
}

#[test]
fn the_verifier_accepts_evidence_right_after_a_power_cut() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start(state.path()).unwrap();
    let tpm = Tpm::open(swtpm.address()).unwrap();
    let release = release(&tpm);
    tpm.provision(&release, 1).unwrap();
    drop(tpm);
    let swtpm = swtpm.restart().unwrap();
    let tpm = Tpm::open(swtpm.address()).unwrap();
    let (counter, evidence) = tpm.advance(&release, QUALIFYING).unwrap();
    assert_eq!(accepted(&tpm, &release, &evidence), counter);
}

#[test]
fn the_verifier_takes_a_software_tpm_for_software() {
    let state = tempfile::tempdir().unwrap();
    let swtpm = Swtpm::start(state.path()).unwrap();
    let tpm = Tpm::open(swtpm.address()).unwrap();
    let release = release(&tpm);
    tpm.provision(&release, 1).unwrap();
    let evidence = tpm.evidence(&release, QUALIFYING).unwrap();
    let class = appraised(&tpm, &release, &evidence).class();
    assert_eq!(class, tpm::EvidenceClass::Software);
}
