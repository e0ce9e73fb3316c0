use countersign_devices::google::{Launch, bytes, snp_measurements, tdx_measurements, varint};
use countersign_devices::key::{Key, Rsa, Scheme as Signing};
use countersign_devices::rsa::Hash as Digest;
use countersign_devices::x509;
use proptest::prelude::*;

use super::*;

const AT: Moment = Moment(1_750_000_000_000);
const SNP: [u8; 48] = [0x11; 48];
const TDX: [u8; 48] = [0x22; 48];

fn good() -> Launch {
    Launch::of(SNP, TDX)
}

fn with(change: impl FnOnce(&mut Launch)) -> Launch {
    let mut draft = good();
    change(&mut draft);
    draft
}

fn policy() -> EndorsementPolicy {
    let root = Key::rsa(Rsa::Endorsement).spki();
    EndorsementPolicy {
        roots: vec![Sha384::digest(root).into()],
        firmware: Some(vec![[0xf0; 48]]),
        svn_floor: Some(5),
    }
}

fn appraise(
    endorsement: &[u8],
    measurement: LaunchMeasurement,
    at: Moment,
) -> EndorsementAppraisal {
    let evidence = EndorsementEvidence {
        endorsement,
        measurement,
    };
    let appraisal = appraise_endorsement(&evidence, &policy(), at, &mut Chains::new());
    let listed: Vec<_> = appraisal.checks().iter().map(|it| it.code).collect();
    assert_eq!(listed, EndorsementCheck::ALL);
    appraisal
}

fn failures(draft: &Launch) -> Vec<&'static str> {
    let appraisal = appraise(&draft.build(), LaunchMeasurement::Snp(SNP), AT);
    let codes: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
    assert_eq!(appraisal.verified().is_some(), codes.is_empty());
    codes
}

#[test]
fn an_endorsement_names_the_firmware_of_a_measurement_and_says_that_it_is_unproven() {
    let endorsement = good().build();
    for (measurement, svn) in [
        (LaunchMeasurement::Snp(SNP), 5),
        (LaunchMeasurement::Tdx(TDX), 6),
    ] {
        let appraisal = appraise(&endorsement, measurement, AT);
        let verified = appraisal.verified().unwrap();
        assert_eq!((verified.firmware(), verified.svn()), ([0xf0; 48], svn));
        assert_eq!(verified.signed_at(), Moment(1_740_000_000_005));
        let last = appraisal.checks().last().unwrap();
        assert_eq!(
            (last.outcome, last.reason.as_str()),
            (Outcome::NotChecked, "not proven on captured evidence")
        );
    }
}

#[test]
fn every_field_is_read() {
    let endorsement = good().build();
    let parsed = LaunchEndorsement::parse(&endorsement).unwrap();
    assert_eq!(parsed.golden.changelist, 99);
    let snp = parsed.golden.snp.unwrap();
    assert_eq!(snp.by_processors, [(1, [0x10; 48]), (2, SNP)]);
    assert_eq!((snp.family_id, snp.image_id), (&[3; 16][..], &[4; 16][..]));
    assert_eq!(snp.policy, 0x7_0000);
    let tdx = parsed.golden.tdx.unwrap();
    assert_eq!(
        tdx.by_memory[1],
        TdxMeasurement {
            ram_gib: 4,
            early_accept: true,
            mrtd: TDX
        }
    );
}

#[test]
fn a_time_counts_down_to_the_last_nanosecond_of_a_second() {
    let time = [varint(1, 1_740_000_000), varint(2, 999_999_999)].concat();
    let endorsement = with(|it| it.timestamp = time).build();
    let parsed = LaunchEndorsement::parse(&endorsement).unwrap();
    assert_eq!(parsed.golden.at_ms, 1_740_000_000_999);
}

#[test]
fn messages_of_another_form_are_refused() {
    let changes: [fn(&mut Launch); 13] = [
        |it| it.more = varint(9, 1),
        |it| it.more = bytes(2, b"x"),
        |it| it.more = varint(2, 99),
        |it| it.more = vec![0x08],
        |it| it.firmware = vec![0; 47],
        |it| it.timestamp = varint(2, 1_000_000_000),
        |it| it.timestamp = varint(3, 1),
        |it| it.timestamp = varint(1, u64::MAX),
        |it| it.snp = [snp_measurements(5, &SNP), varint(1, 5)].concat(),
        |it| {
            it.snp
                .extend(bytes(2, &[varint(1, 2), bytes(2, &SNP)].concat()))
        },
        |it| it.snp.extend(bytes(2, &varint(1, 7))),
        |it| it.snp = bytes(3, &[0; 15]),
        |it| it.tdx = bytes(2, &varint(2, 2)),
    ];
    for change in changes {
        assert_eq!(failures(&with(change)), ["gcp.endorsement.structure"]);
    }
    let good = good().build();
    for bad in [
        &[][..],
        &bytes(1, &[]),
        &[good.clone(), varint(3, 1)].concat(),
    ] {
        let appraisal = appraise(bad, LaunchMeasurement::Snp(SNP), AT);
        let first = appraisal.failures().next().unwrap();
        assert_eq!(first.code, EndorsementCheck::Structure);
        assert!(appraisal.verified().is_none());
    }
    let limit = 262_144;
    assert_eq!(
        LaunchEndorsement::parse(&vec![0; limit + 1]),
        Err(ProtobufError::TooMany { limit })
    );
    // One that is not too long is read, and has too many fields.
    assert_eq!(
        LaunchEndorsement::parse(&vec![0; limit]),
        Err(ProtobufError::TooMany { limit: 1024 })
    );
}

#[test]
fn certificates_that_lead_nowhere_are_refused() {
    let changes: [fn(&mut Launch); 8] = [
        |it| it.certificate.extensions[1] = x509::Extension::usage(0x20),
        |it| it.root_key = Key::rsa(Rsa::Tpm),
        |it| it.root.extensions.remove(0).value.clear(),
        |it| it.certificate.issuer = x509::common_name("other"),
        |it| it.certificate.extensions[0] = x509::Extension::issuer(None),
        |it| {
            let unknown = x509::Extension::critical("1.2.3", vec![5, 0]);
            it.certificate.extensions.push(unknown);
        },
        |it| it.issuers = Some(vec![]),
        |it| it.issuers = Some(vec![0xff]),
    ];
    for change in changes {
        assert_eq!(failures(&with(change)), ["gcp.endorsement.path"]);
    }
}

#[test]
fn a_root_that_is_not_pinned_is_refused_and_an_empty_list_pins_none() {
    let draft = with(|it| {
        it.root.key = Key::rsa(Rsa::Other).spki();
        it.root_key = Key::rsa(Rsa::Other);
    });
    assert_eq!(failures(&draft), ["gcp.endorsement.root"]);
    let evidence = EndorsementEvidence {
        endorsement: &good().build(),
        measurement: LaunchMeasurement::Snp(SNP),
    };
    let none = EndorsementPolicy {
        roots: vec![],
        ..policy()
    };
    let appraisal = appraise_endorsement(&evidence, &none, AT, &mut Chains::new());
    let codes: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
    assert_eq!(codes, ["gcp.endorsement.root"]);
}

#[test]
fn certificates_are_valid_at_the_time_and_not_at_another() {
    let endorsement = good().build();
    let failures_at = |at| {
        let appraisal = appraise(&endorsement, LaunchMeasurement::Snp(SNP), at);
        appraisal
            .failures()
            .map(|it| it.code.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        failures_at(Moment(1_800_000_001_000)),
        ["gcp.endorsement.validity"]
    );
    assert_eq!(
        failures_at(Moment(1_699_999_999_999)),
        ["gcp.endorsement.validity", "gcp.endorsement.time"]
    );
    let root = with(|it| it.root.not_after = 1_740_000_000_000);
    assert_eq!(failures(&root), ["gcp.endorsement.validity"]);
}

#[test]
fn other_signatures_are_refused() {
    let changes: [fn(&mut Launch); 3] = [
        |it| it.signer = Key::rsa(Rsa::Endorsement),
        |it| it.scheme = Signing::Pkcs1(Digest::Sha256),
        |it| it.scheme = Signing::Pss(Digest::Sha384, 48),
    ];
    for change in changes {
        assert_eq!(failures(&with(change)), ["gcp.endorsement.signature"]);
    }
}

#[test]
fn an_endorsement_of_a_later_time_is_refused() {
    let draft = with(|it| it.timestamp = varint(1, 1_750_000_001));
    assert_eq!(failures(&draft), ["gcp.endorsement.time"]);
}

#[test]
fn a_measurement_that_is_not_endorsed_is_refused() {
    let other = with(|it| it.snp = bytes(2, &bytes(2, &[0; 48])));
    let svn = "gcp.endorsement.measurement";
    assert_eq!(failures(&other), [svn]);
    // Of the other kind of hardware it is another value.
    let endorsement = good().build();
    for measurement in [LaunchMeasurement::Snp(TDX), LaunchMeasurement::Tdx(SNP)] {
        let appraisal = appraise(&endorsement, measurement, AT);
        let codes: Vec<_> = appraisal.failures().map(|it| it.code.as_str()).collect();
        assert_eq!(codes, [svn]);
    }
}

#[test]
fn firmware_that_is_not_named_or_below_the_floor_is_refused() {
    let draft = with(|it| it.firmware = vec![0; 48]);
    assert_eq!(failures(&draft), ["gcp.endorsement.firmware"]);
    let draft = with(|it| it.snp = snp_measurements(4, &SNP));
    assert_eq!(failures(&draft), ["gcp.endorsement.svn"]);
}

#[test]
fn every_single_bit_of_an_endorsement_is_refused() {
    let good = good().build();
    // Chains remembers what holds; a changed byte is another link.
    let mut chains = Chains::new();
    for bit in 0..good.len() * 8 {
        let mut changed = good.clone();
        changed[bit / 8] ^= 1 << (bit % 8);
        let evidence = EndorsementEvidence {
            endorsement: &changed,
            measurement: LaunchMeasurement::Snp(SNP),
        };
        let appraisal = appraise_endorsement(&evidence, &policy(), AT, &mut chains);
        assert!(appraisal.verified().is_none(), "bit {bit}");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(endorsement: Vec<u8>, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4)) {
        prop_assert!(appraise(&endorsement, LaunchMeasurement::Snp(SNP), AT).verified().is_none());
        let mut golden = [
            bytes(7, &snp_measurements(5, &SNP)),
            bytes(8, &tdx_measurements(6, &TDX)),
        ].concat();
        for (at, value) in changes {
            let at = at.index(golden.len());
            golden[at] = value;
        }
        let _ = LaunchEndorsement::parse(&[bytes(1, &golden), bytes(2, b"x")].concat());
    }
}
