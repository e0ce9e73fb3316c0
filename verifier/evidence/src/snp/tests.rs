#![expect(
    clippy::arithmetic_side_effects,
    reason = "tests count positions in fixed data"
)]

mod bits;
mod captured;
mod certificates;
mod generated;
mod reasons;
mod refused;
mod spec;

use std::collections::BTreeMap;

use countersign_devices::key::{Key, Rsa};
use countersign_devices::snp as fake;
use countersign_devices::snp::{Draft, Kind};

use super::*;
use crate::Moment;
use crate::chains::Chains;
use crate::party::PartyName;

/// 2026-06-01 00:00:00 UTC, in the middle of the time of every draft.
const AT: Moment = Moment(1_780_272_000_000);

/// The fake root of all products' drafts.
fn roots(product: Product) -> Roots {
    let key = SpkiDigest::of(&Key::rsa(Rsa::Ark).spki());
    Roots::of(vec![Root { product, key }])
}

fn product_of(product: fake::Product) -> Product {
    match product {
        fake::Product::Milan => Product::Milan,
        fake::Product::Genoa => Product::Genoa,
        fake::Product::Turin => Product::Turin,
    }
}

fn floor(product: Product) -> Tcb {
    let [bootloader, tee, snp, microcode] = fake::VERSIONS;
    Tcb {
        fmc: (product == Product::Turin).then_some(1),
        bootloader,
        tee,
        snp,
        microcode,
    }
}

/// Names a value for everything that a policy can name; a good draft has them all.
fn full_policy(product: Product) -> Policy {
    let of_product = ProductPolicy {
        floor: Some(floor(product)),
        firmware: Some(Firmware {
            major: 1,
            minor: 58,
            build: 2,
        }),
        mitigations: Some(MitigationBits(0x0b)),
        chips: None,
    };
    Policy {
        guest_abi: Some((1, 51)),
        guest_required: vec![GuestFeature::Smt],
        guest_forbidden: vec![GuestFeature::Cxl],
        platform_required: vec![PlatformFeature::AliasCheck, PlatformFeature::Ecc],
        platform_forbidden: vec![PlatformFeature::Tio],
        measurements: Some(vec![LaunchMeasurement([0x3e; 48])]),
        host_data: Some(HostData([0x0d; 32])),
        id_keys: Some(vec![KeyDigest([0x1b; 48])]),
        image: Some(([0xfa; 16], [0x1d; 16])),
        guest_svn: Some(3),
        ..Policy::strict(
            ReportData([fake::REPORT_DATA; 64]),
            BTreeMap::from([(product, of_product)]),
        )
    }
}

fn evidence(built: &fake::Evidence) -> SnpEvidence<'_> {
    SnpEvidence {
        report: &built.report,
        key: &built.key,
        issuer: &built.issuer,
        root: &built.root,
        crl: built.crl.as_deref(),
    }
}

fn appraise(draft: &Draft, policy: &Policy, roots: &Roots) -> SnpAppraisal {
    let built = draft.build();
    let appraisal = appraise_snp(&evidence(&built), policy, roots, AT, &mut Chains::new());
    let listed: Vec<SnpCheck> = appraisal.checks().iter().map(|c| c.code).collect();
    assert_eq!(listed, SnpCheck::ALL, "every check once and in order");
    appraisal
}

fn codes(appraisal: &SnpAppraisal) -> Vec<&'static str> {
    let codes: Vec<&'static str> = appraisal.failures().map(|c| c.code.as_str()).collect();
    assert!(codes.is_empty() || appraisal.verified().is_none());
    codes
}

fn reason(appraisal: &SnpAppraisal, code: SnpCheck) -> (Outcome, &str) {
    let check = appraisal.checks().iter().find(|c| c.code == code).unwrap();
    (check.outcome, &check.reason)
}

#[test]
fn good_evidence_of_every_product_says_everything() {
    for made in [
        fake::Product::Milan,
        fake::Product::Genoa,
        fake::Product::Turin,
    ] {
        let product = product_of(made);
        let draft = Draft::new(made, Kind::Vcek);
        let appraisal = appraise(&draft, &full_policy(product), &roots(product));
        assert_eq!(codes(&appraisal), [""; 0]);
        let skipped: Vec<&str> = appraisal
            .checks()
            .iter()
            .filter(|c| c.outcome == Outcome::NotChecked)
            .map(|c| c.code.as_str())
            .collect();
        assert_eq!(skipped, ["snp.chip.accepted", "snp.author-key"]);
        let verified = appraisal.verified().unwrap();
        assert_eq!(verified.product(), product);
        assert_eq!(verified.parties(), [Party::Amd]);
        assert_eq!(verified.tcb().launch, floor(product));
        assert_eq!(verified.report(), appraisal.claimed().unwrap());
    }
}

#[test]
fn every_field_is_read_from_its_place() {
    let mut draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let made = &mut draft.report;
    made.guest_svn = 0x0102_0304;
    made.policy = 0x0302_1f05;
    made.vmpl = 2;
    made.platform_info = 0xa1;
    made.flags = 0b1_1111;
    made.current_tcb = [1; 8];
    made.reported_tcb = [2; 8];
    made.committed_tcb = [3; 8];
    made.launch_tcb = [4; 8];
    made.author_key_digest = [5; 48];
    made.current_firmware = [6, 7, 8];
    made.committed_firmware = [9, 10, 11];
    made.launch_mit_vector = 12;
    made.current_mit_vector = 13;
    let made = draft.report.clone();
    let read = Report::parse(&draft.build().report).unwrap();
    assert_eq!(read.version(), 5);
    assert_eq!(read.guest_svn(), made.guest_svn);
    assert_eq!(read.policy(), GuestPolicy(made.policy));
    assert_eq!(
        (read.policy().abi_major(), read.policy().abi_minor()),
        (0x1f, 5)
    );
    assert_eq!(*read.family_id(), made.family_id);
    assert_eq!(*read.image_id(), made.image_id);
    assert_eq!(read.vmpl(), Vmpl(2));
    assert_eq!(read.signature_algorithm(), 1);
    assert_eq!(read.current_tcb(), RawTcb([1; 8]));
    assert_eq!(read.platform(), PlatformInfo(0xa1));
    assert!(read.has_author_key() && read.masks_chip_key());
    assert_eq!((read.signing_key_number(), read.signing_key()), (7, None));
    assert_eq!(*read.report_data(), made.report_data);
    assert_eq!(*read.measurement(), made.measurement);
    assert_eq!(*read.host_data(), made.host_data);
    assert_eq!(*read.id_key_digest(), made.id_key_digest);
    assert_eq!(*read.author_key_digest(), made.author_key_digest);
    assert_eq!(*read.report_id(), made.report_id);
    assert_eq!(*read.report_id_ma(), made.report_id_ma);
    assert_eq!(read.reported_tcb(), RawTcb([2; 8]));
    let processor = Processor {
        family: 0x19,
        model: 1,
        stepping: 1,
    };
    assert_eq!(read.processor(), Some(processor));
    assert_eq!(*read.chip_id(), ChipId(made.chip_id));
    assert_eq!(read.committed_tcb(), RawTcb([3; 8]));
    let firmware = |major, minor, build| Firmware {
        major,
        minor,
        build,
    };
    assert_eq!(read.current_firmware(), firmware(8, 7, 6));
    assert_eq!(read.committed_firmware(), firmware(11, 10, 9));
    assert_eq!(read.launch_tcb(), RawTcb([4; 8]));
    let mitigations = Mitigations {
        launch: 12,
        current: 13,
    };
    assert_eq!(read.mitigations(), Some(mitigations));
}

#[test]
fn every_feature_has_a_name_and_a_bit_of_its_own_and_is_read_there() {
    let mut bits = 0;
    for feature in GuestFeature::ALL {
        assert_eq!(GuestFeature::named(feature.as_str()), Some(feature));
        assert!(GuestPolicy(feature.bit()).has(feature));
        assert!(!GuestPolicy(!feature.bit()).has(feature));
        bits |= feature.bit();
    }
    // 16 and 20 to 25.
    assert_eq!(bits, 0x03f1_0000);
    bits = 0;
    for feature in PlatformFeature::ALL {
        assert_eq!(PlatformFeature::named(feature.as_str()), Some(feature));
        assert!(PlatformInfo(feature.bit()).has(feature));
        assert!(!PlatformInfo(!feature.bit()).has(feature));
        bits |= feature.bit();
    }
    // 0 to 5 and 7.
    assert_eq!(bits, 0xbf);
    assert_eq!(GuestFeature::named("debug"), None);
    assert_eq!(PlatformFeature::named("SMT"), None);
}

#[test]
fn every_layout_is_accepted_with_the_fields_that_it_has() {
    for version in 2..=5 {
        let draft = Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| {
            d.report.version = version;
            if version < 3 {
                d.report.processor = [0; 3];
            }
            if version < 5 {
                d.report.launch_mit_vector = 0;
                d.report.current_mit_vector = 0;
            }
        });
        let mut policy = full_policy(Product::Milan);
        if let Some(of_product) = policy.products.get_mut(&Product::Milan) {
            of_product.mitigations = None;
        }
        let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
        assert_eq!(codes(&appraisal), [""; 0], "version {version}");
        let report = appraisal.verified().unwrap().report();
        assert_eq!(report.processor().is_some(), version >= 3);
        assert_eq!(report.mitigations().is_some(), version >= 5);
    }
}

#[test]
fn every_model_of_a_product_is_of_it() {
    let models: [(fake::Product, u8, &[u8]); 3] = [
        (fake::Product::Milan, 0x19, &[0x00, 0x01, 0x0f]),
        (fake::Product::Genoa, 0x19, &[0x10, 0x1f, 0xa0, 0xaf]),
        (fake::Product::Turin, 0x1a, &[0x00, 0x02, 0x11]),
    ];
    for (made, family, models) in models {
        for model in models {
            let draft =
                Draft::new(made, Kind::Vcek).with(|d| d.report.processor = [family, *model, 0xff]);
            let product = product_of(made);
            let appraisal = appraise(&draft, &full_policy(product), &roots(product));
            assert_eq!(codes(&appraisal), [""; 0], "model {model:#x}");
        }
    }
}

#[test]
fn a_product_has_its_name_alone_and_in_a_certificate_a_stepping_too() {
    for product in Product::ALL {
        assert_eq!(product.to_string().parse(), Ok(product));
        let stepping = format!("{product}-B0");
        assert!(stepping.parse::<Product>().is_err());
        assert_eq!(Product::of_name(stepping.as_bytes()), Some(product));
    }
    assert_eq!(Product::of_name(b"MilanB0"), None);
}

#[test]
fn a_loaded_key_brings_its_provider_among_those_to_trust() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vlek);
    let name = PartyName::parse(fake::PROVIDER).unwrap();
    let policy = Policy {
        providers: vec![name.clone()],
        ..full_policy(Product::Milan)
    };
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    assert_eq!(codes(&appraisal), [""; 0]);
    assert_eq!(
        appraisal.verified().unwrap().parties(),
        [Party::Amd, Party::CloudProvider(name)]
    );
}

#[test]
fn a_second_report_under_the_chain_costs_one_signature_and_a_second_moment_none() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let (first, second) = (
        draft.build(),
        draft.with(|d| d.report.report_id = [9; 32]).build(),
    );
    let (policy, roots) = (full_policy(Product::Milan), roots(Product::Milan));
    let mut chains = Chains::new();
    let mut count = |built: &fake::Evidence, at| {
        let appraisal = appraise_snp(&evidence(built), &policy, &roots, at, &mut chains);
        assert!(appraisal.verified().is_some());
        chains.remembered()
    };
    // Root, issuer, key, list, report.
    assert_eq!(count(&first, AT), 5);
    assert_eq!(count(&first, Moment(AT.0 + 1)), 5);
    assert_eq!(count(&second, AT), 6);
}

#[test]
fn what_a_policy_does_not_name_is_not_checked_and_says_so() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let policy = Policy {
        revocation: Requirement::Optional,
        platform_required: vec![],
        ..Policy::strict(
            ReportData([fake::REPORT_DATA; 64]),
            BTreeMap::from([(Product::Milan, ProductPolicy::default())]),
        )
    };
    let draft = draft.with(|d| d.crl = None);
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    let skipped: Vec<SnpCheck> = appraisal
        .checks()
        .iter()
        .filter(|c| c.outcome == Outcome::NotChecked)
        .map(|c| c.code)
        .collect();
    let optional: Vec<SnpCheck> = SnpCheck::ALL
        .iter()
        .copied()
        .filter(|code| code.is_optional())
        .collect();
    assert_eq!(skipped, optional);
    assert!(appraisal.verified().is_some());
    assert_eq!(
        reason(&appraisal, SnpCheck::TcbCommitted),
        (
            Outcome::NotChecked,
            "the policy names no floor for this product"
        )
    );
}

#[test]
fn without_expected_report_data_nothing_is_verified() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let policy = Policy {
        report_data: None,
        ..full_policy(Product::Milan)
    };
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    assert_eq!(codes(&appraisal), [""; 0]);
    assert_eq!(
        reason(&appraisal, SnpCheck::ReportData).0,
        Outcome::NotChecked
    );
    assert_eq!(appraisal.verified(), None);
    assert!(appraisal.claimed().is_some());
}

#[test]
fn an_open_policy_names_no_report_data_and_nothing_else_that_is_refused() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| {
        d.crl = None;
        d.report.vmpl = 3;
        d.report.platform_info = 0;
        d.report.report_data = [0; 64];
    });
    let appraisal = appraise(&draft, &Policy::open(), &roots(Product::Milan));
    assert_eq!(codes(&appraisal), [""; 0]);
    let (outcome, _) = reason(&appraisal, SnpCheck::ReportData);
    assert_eq!(outcome, Outcome::NotChecked);
    assert_eq!(appraisal.verified(), None);
}

#[test]
fn the_pinned_roots_are_the_keys_of_amds_certificates_and_of_no_test() {
    let certificate = |name: &str| match name {
        "milan" => include_bytes!("../../vectors/snp/roots/milan-ark.der").as_slice(),
        "genoa" => include_bytes!("../../vectors/snp/roots/genoa-ark.der"),
        _ => include_bytes!("../../vectors/snp/roots/turin-ark.der"),
    };
    for (name, product) in [
        ("milan", Product::Milan),
        ("genoa", Product::Genoa),
        ("turin", Product::Turin),
    ] {
        let der = certificate(name);
        let root = countersign_certificates::Certificate::parse(der).unwrap();
        let found = Roots::amd().product_of(SpkiDigest::of(root.spki()));
        assert_eq!(found, Some(product));
    }
    for key in [
        Rsa::Ark,
        Rsa::Ask,
        Rsa::Asvk,
        Rsa::Other,
        Rsa::Tpm,
        Rsa::Endorsement,
    ] {
        let spki = SpkiDigest::of(&Key::rsa(key).spki());
        assert_eq!(Roots::amd().product_of(spki), None);
    }
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let appraisal = appraise(&draft, &full_policy(Product::Milan), &Roots::amd());
    assert_eq!(codes(&appraisal), ["snp.root.pinned"]);
}
