//! Other programs on the gateway's own TPM.
//!
//! A software TPM that booted nothing has zeros in its registers; `measure` makes it the TPM of a machine that
//! booted another image. To a TPM, what shows the same registers *is* the gateway: the last test says so.

use super::foreign::{COUNTER, Claim, FLOOR, Foreign, Refused, certify_counter, release};
use super::parts::Parts;
use super::*;
use countersign_evidence::tpm::{
    Expected, PcrSet, Qualifying, ReleaseKey, TpmEvidence as Presented, TpmName, TpmProfile,
    appraise_tpm, policy_authorize_digest,
};
use countersign_platform::{SealLabel, SealedBlob, Tpm};
use countersign_record::binding::Binding;
use countersign_record::cbor::{Bytes, Cbor as _};
use countersign_record::evidence::TpmEvidence;
use countersign_tests::auditor::Log;
use std::fs;
use std::path::PathBuf;
use tss_esapi::handles::PcrHandle;

/// `TPM_RC_NV_AUTHORIZATION`. Source: TPM 2.0 Part 2, 6.6.
const NOT_BY_OWNER: u32 = 0x149;
/// `TPM_RC_AUTH_UNAVAILABLE`.
const NO_PASSWORD: u32 = 0x12F;

/// A gateway that has served a call and was closed, and its export.
fn closed() -> (Machine, PathBuf) {
    let machine = Machine::enrolled();
    let mut gateway = machine.start();
    serve_calls(&gateway, &["one"]);
    let export = gateway.export();
    assert!(gateway.stop().success(), "{}", gateway.process.said());
    (machine, export)
}

#[test]
fn another_image_on_the_same_tpm_does_not_unseal_the_keys() {
    let (machine, _) = closed();
    let sealed = fs::read(machine.state().join("keys.sealed")).unwrap();
    let mut foreign = Foreign::on(&machine);
    foreign.measure(PcrHandle::Pcr11);
    assert_eq!(
        foreign.unseal_by_password(&sealed),
        Err(Refused::AuthUnavailable)
    );
    assert_eq!(
        foreign.unseal_by_registers(&sealed),
        Err(Refused::PolicyFail)
    );
    assert_eq!(
        foreign.present_approval(&release(&machine)),
        Err(Refused::Value)
    );
}

#[test]
fn a_changed_register_keeps_the_keys_sealed_and_is_named() {
    let (machine, _) = closed();
    Foreign::on(&machine).measure(PcrHandle::Pcr11);
    expect_no_start(
        &machine,
        "the gateway's keys stay sealed: pcr 11 differ from what the release approves",
    );
}

#[test]
fn a_register_outside_the_profile_does_not_matter() {
    let (machine, _) = closed();
    Foreign::on(&machine).measure(PcrHandle::Pcr10);
    serve_calls(&machine.start(), &["two"]);
}

#[test]
fn another_program_neither_reads_nor_advances_nor_certifies_the_counter() {
    let (machine, _) = closed();
    let mut foreign = Foreign::on(&machine);
    for (claim, refused) in [
        (Claim::Owner, Refused::NvAuthorization),
        (Claim::Password, Refused::AuthUnavailable),
    ] {
        assert_eq!(
            foreign.read_counter(claim).map(|_| ()),
            Err(refused),
            "{claim:?}"
        );
        assert_eq!(foreign.advance_counter(claim), Err(refused), "{claim:?}");
    }
    drop(foreign);
    assert_eq!(certify_counter(&machine, Claim::Owner), NOT_BY_OWNER);
    assert_eq!(certify_counter(&machine, Claim::Password), NO_PASSWORD);
    let gateway = machine.start();
    serve_calls(&gateway, &["two"]);
    expect_verified(&machine, &gateway.export());
}

#[test]
fn a_counter_that_the_owner_authorization_deleted_keeps_the_gateway_from_starting() {
    let (machine, _) = closed();
    Foreign::on(&machine).delete(COUNTER);
    expect_no_start(
        &machine,
        "the epoch counter cannot be read: nv index 0x01500020 is missing from this tpm",
    );
}

#[test]
fn a_counter_made_anew_with_other_rights_is_not_taken() {
    let (machine, _) = closed();
    let mut foreign = Foreign::on(&machine);
    foreign.delete(COUNTER);
    foreign.define_counter_of_ones_own();
    foreign.advance_counter(Claim::Owner).unwrap();
    drop(foreign);
    expect_no_start(
        &machine,
        "the epoch counter cannot be read: nv index 0x01500020 belongs to another program or another release key",
    );
}

#[test]
fn a_counter_made_anew_alike_has_no_value_that_anybody_else_could_give_it() {
    let (machine, _) = closed();
    let mut foreign = Foreign::on(&machine);
    foreign.delete(COUNTER);
    foreign.define_counter_alike(&release(&machine));
    assert_eq!(
        foreign.advance_counter(Claim::Owner),
        Err(Refused::NvAuthorization)
    );
    drop(foreign);
    expect_no_start(
        &machine,
        "the epoch counter cannot be read: nv index 0x01500020 was never written",
    );
}

/// A counter made anew starts above the highest that this TPM ever had, so it cannot be set back.
#[test]
fn a_counter_made_anew_by_the_same_image_jumps_forward_and_is_held() {
    let (machine, _) = closed();
    Foreign::on(&machine).delete(COUNTER);
    let tpm = Tpm::open(machine.tpm_address()).unwrap();
    tpm.provision(&release(&machine), 1).unwrap();
    drop(tpm);
    // The log explains 4: base 2, renewal 3, close 4.
    expect_held(&machine.boot(), 4, 5, 8);
}

#[test]
fn a_raised_floor_shuts_an_older_release_out() {
    let (machine, _) = closed();
    let newer = fs::read_to_string(machine.site().settings()).unwrap();
    machine.site().edit("sequence = 1", "sequence = 2");
    machine.sign_release();
    let tpm = Tpm::open(machine.tpm_address()).unwrap();
    tpm.raise_floor(&release(&machine), 2).unwrap();
    drop(tpm);
    machine.start().stop();
    machine.site().write("countersign.toml", &newer);
    machine.sign_release();
    expect_no_start(
        &machine,
        "the gateway's keys stay sealed: release floor is 2, above this release's sequence 1",
    );
}

/// Decision 0002, "What this does not give": the owner authorization of most machines is empty.
#[test]
fn a_floor_made_anew_lets_an_older_release_in_again() {
    let (machine, _) = closed();
    let older = fs::read_to_string(machine.site().settings()).unwrap();
    let older_release = release(&machine);
    machine.site().edit("sequence = 1", "sequence = 2");
    machine.sign_release();
    let tpm = Tpm::open(machine.tpm_address()).unwrap();
    tpm.raise_floor(&release(&machine), 2).unwrap();
    drop(tpm);
    machine.site().write("countersign.toml", &older);
    machine.sign_release();
    Foreign::on(&machine).delete(FLOOR);
    expect_no_start(&machine, "nv index 0x01500010 is missing from this tpm");
    let tpm = Tpm::open(machine.tpm_address()).unwrap();
    tpm.provision(&older_release, 1).unwrap();
    drop(tpm);
    serve_calls(&machine.start(), &["two"]);
}

/// The attestation key signs for anybody on its TPM; nobody else can have the counter certified beside it.
#[test]
fn a_quote_by_the_same_attestation_key_over_other_data_is_no_evidence() {
    let (machine, export) = closed();
    let mut parts = Parts::read(&export);
    let place = parts.evidence_of_renewal(0);
    let genuine = TpmEvidence::from_bytes(&parts.artifacts[place].bytes.0).unwrap();
    let quoted = Foreign::on(&machine).quote(&genuine.ak_public.0, [7; 32]);
    let forged = TpmEvidence {
        quote: Bytes(quoted.quote),
        quote_signature: Bytes(quoted.signature),
        ..genuine
    };
    let binding = &Log::read(&export).bindings()[0];
    assert_eq!(
        failures(&forged, binding, [7; 32]),
        ["tpm.counter.qualifying"],
        "the quote is genuine, and the counter says nothing about it"
    );
    // In the export's place of the genuine one it is not what the entry names.
    parts.artifacts[place].bytes = Bytes(forged.to_bytes());
    let verdict = machine.auditor().verify(&parts.write(&export));
    expect_altered(&verdict, "evidence-set", "does not stand before the entry");
}

/// Checks that evidence fails over this qualifying data, in order.
fn failures(evidence: &TpmEvidence, binding: &Binding, qualifying: [u8; 32]) -> Vec<String> {
    let presented = Presented {
        ak_public: &evidence.ak_public.0,
        quote: &evidence.quote.0,
        quote_signature: &evidence.quote_signature.0,
        pcrs: evidence.pcrs.iter().map(|p| (p.index, p.value)).collect(),
        nv_public: &evidence.nv_public.0,
        certify: &evidence.certify.0,
        certify_signature: &evidence.certify_signature.0,
        event_log: None,
    };
    let release = ReleaseKey::parse(&binding.release_key.0).unwrap();
    let expected = Expected {
        profile: TpmProfile::Swtpm,
        qualifying: Qualifying(qualifying),
        attestation_key: TpmName(binding.ak_name.0.as_slice().try_into().unwrap()),
        pcrs: PcrSet::new(binding.pcrs.iter().copied()).unwrap(),
        counter_policy: policy_authorize_digest(&release),
        firmware_floor: None,
    };
    let appraisal = appraise_tpm(&presented, &expected);
    appraisal
        .failures()
        .map(|check| check.code.to_string())
        .collect()
}

/// The same program, the same TPM, the operator's own release key: another gateway, which nobody enrolled.
#[test]
fn a_gateway_under_another_release_key_on_the_same_tpm_is_nobody_elses() {
    let (machine, _) = closed();
    let kept = machine.snapshot_state();
    let genuine = machine.site().path().with_extension("genuine");
    countersign_tests::machine::copy(machine.site().path(), &genuine);
    let mut foreign = Foreign::on(&machine);
    foreign.delete(COUNTER);
    foreign.delete(FLOOR);
    for slot in countersign_platform::nv::RING_HANDLES {
        foreign.delete(slot);
    }
    drop(foreign);
    super::files::under_own_release_key(&machine);
    fs::remove_dir_all(machine.state()).unwrap();
    let mut other = machine.start();
    expect_refusal(&other, "not_enrolled");
    let verdict = machine.auditor().verify(&other.export());
    expect_altered(&verdict, "enrolment", "this gateway was never enrolled");
    other.stop();
    // And the genuine one finds that its counter is gone.
    fs::remove_dir_all(machine.site().path()).unwrap();
    countersign_tests::machine::copy(&genuine, machine.site().path());
    kept.restore();
    expect_no_start(
        &machine,
        "belongs to another program or another release key",
    );
}

/// What shows the TPM the registers of the release is the gateway to it: the measured boot has to keep others out,
/// and a software TPM measures nothing. It can then advance the counter, which the gateway notices.
#[test]
fn a_program_that_shows_the_same_registers_is_the_gateway_to_the_tpm() {
    let (machine, _) = closed();
    let sealed = fs::read(machine.state().join("keys.sealed")).unwrap();
    let blob = SealedBlob::parse(&sealed).unwrap();
    let (tpm, release) = (Tpm::open(machine.tpm_address()).unwrap(), release(&machine));
    assert!(
        tpm.unseal(&blob, SealLabel("gateway-keys"), &release)
            .is_ok()
    );
    assert_eq!(tpm.increment(&release), Ok(5));
    drop(tpm);
    expect_held(&machine.boot(), 4, 5, 8);
}
