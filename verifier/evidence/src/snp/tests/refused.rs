//! One thing is wrong in each, everything is genuinely signed, and the named check alone refuses it.

use countersign_devices::der;
use countersign_devices::key::Scheme;
use countersign_devices::rsa::Hash;
use countersign_devices::snp::{amd_extension, amd_name};
use countersign_devices::x509::Extension;
use proptest::prelude::*;

use super::*;

type Change = fn(&mut Draft);
type Part = fn(&mut Tcb) -> &mut u8;

/// The checks that refuse a change of good evidence of Milan.
fn refused(change: impl FnOnce(&mut Draft)) -> Vec<&'static str> {
    refused_of(fake::Product::Milan, change)
}

fn refused_of(product: fake::Product, change: impl FnOnce(&mut Draft)) -> Vec<&'static str> {
    let draft = Draft::new(product, Kind::Vcek).with(change);
    let product = product_of(product);
    codes(&appraise(&draft, &full_policy(product), &roots(product)))
}

fn refused_vlek(change: impl FnOnce(&mut Draft)) -> Vec<&'static str> {
    let draft = Draft::new(fake::Product::Milan, Kind::Vlek).with(change);
    let policy = Policy {
        providers: vec![PartyName::parse(fake::PROVIDER).unwrap()],
        ..full_policy(Product::Milan)
    };
    codes(&appraise(&draft, &policy, &roots(Product::Milan)))
}

/// The checks that refuse good evidence of Milan under a change of the policy.
fn refused_by(change: impl FnOnce(&mut Policy)) -> Vec<&'static str> {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let mut policy = full_policy(Product::Milan);
    change(&mut policy);
    codes(&appraise(&draft, &policy, &roots(Product::Milan)))
}

fn of_milan(policy: &mut Policy) -> &mut ProductPolicy {
    policy.products.get_mut(&Product::Milan).unwrap()
}

/// Changes bytes after everything was signed.
fn altered(change: impl FnOnce(&mut fake::Evidence)) -> Vec<&'static str> {
    let mut built = Draft::new(fake::Product::Milan, Kind::Vcek).build();
    change(&mut built);
    let policy = full_policy(Product::Milan);
    let roots = roots(Product::Milan);
    codes(&appraise_snp(
        &evidence(&built),
        &policy,
        &roots,
        AT,
        &mut Chains::new(),
    ))
}

fn extension<'d>(draft: &'d mut Draft, rest: &str) -> &'d mut Extension {
    let oid = format!("1.3.6.1.4.1.3704.1.{rest}");
    let list = &mut draft.key.extensions;
    list.iter_mut().find(|e| e.oid == oid).unwrap()
}

fn without(draft: &mut Draft, rest: &str) {
    let oid = format!("1.3.6.1.4.1.3704.1.{rest}");
    let before = draft.key.extensions.len();
    draft.key.extensions.retain(|e| e.oid != oid);
    assert_eq!(draft.key.extensions.len() + 1, before);
}

#[test]
fn a_report_that_is_not_1184_bytes() {
    let short = altered(|e| e.report.truncate(1183));
    assert_eq!(short, ["snp.report.structure"]);
    assert_eq!(altered(|e| e.report.push(0)), ["snp.report.structure"]);
    assert_eq!(altered(|e| e.report.clear()), ["snp.report.structure"]);
}

#[test]
fn a_layout_that_is_not_known() {
    for version in [0, 1, 6, u32::MAX] {
        let found = refused(|d| {
            d.report.version = version;
            if version < 3 {
                d.report.processor = [0; 3];
            }
            if version < 5 {
                d.report.launch_mit_vector = 0;
                d.report.current_mit_vector = 0;
            }
        });
        let expected: &[&str] = if version < 5 {
            &["snp.report.version", "snp.mitigations"]
        } else {
            &["snp.report.version"]
        };
        assert_eq!(found, expected, "version {version}");
    }
}

#[test]
fn a_reserved_byte_that_is_not_zero() {
    let reserved = [
        0x4c..0x50,
        0x18b..0x1a0,
        0x1eb..0x1ec,
        0x1ef..0x1f0,
        0x208..0x2a0,
    ];
    for place in reserved.into_iter().flatten() {
        let found = refused(|d| d.patches.push((place, 1)));
        assert_eq!(found, ["snp.report.reserved"], "byte {place:#x}");
    }
    let reserved = [
        0x2a0 + 48..0x2a0 + 72,
        0x2a0 + 120..0x2a0 + 144,
        0x330..0x4a0,
    ];
    for place in reserved.into_iter().flatten() {
        let found = altered(|e| e.report[place] = 1);
        assert_eq!(found, ["snp.report.reserved"], "byte {place:#x}");
    }
}

#[test]
fn a_field_of_a_later_layout_in_an_earlier_one() {
    for (version, place) in [(2, 0x188), (2, 0x18a), (4, 0x1f8), (4, 0x207), (2, 0x1f8)] {
        let found = refused(|d| {
            d.report.version = version;
            if version == 2 {
                d.report.processor = [0; 3];
            }
            d.report.launch_mit_vector = 0;
            d.report.current_mit_vector = 0;
            d.patches.push((place, 1));
        });
        let expected = ["snp.report.reserved", "snp.mitigations"];
        assert_eq!(found, expected, "byte {place:#x} of version {version}");
    }
}

#[test]
fn a_bit_that_is_not_known_yet() {
    let reserved = ["snp.report.reserved"];
    assert_eq!(refused(|d| d.report.policy &= !(1 << 17)), reserved);
    for bit in 26..64 {
        assert_eq!(refused(|d| d.report.policy |= 1 << bit), reserved);
    }
    for bit in (8..64).chain([6]) {
        assert_eq!(refused(|d| d.report.platform_info |= 1 << bit), reserved);
    }
    for bit in 5..32 {
        assert_eq!(refused(|d| d.report.flags |= 1 << bit), reserved);
    }
}

#[test]
fn another_signature_algorithm() {
    for number in [0, 2, 257] {
        let found = refused(|d| d.report.signature_algo = number);
        assert_eq!(found, ["snp.report.algorithm"]);
    }
}

#[test]
fn a_root_that_is_not_pinned() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let key = SpkiDigest::of(&Key::rsa(Rsa::Other).spki());
    let other = Root {
        product: Product::Milan,
        key,
    };
    for roots in [Roots::of(vec![]), Roots::of(vec![other]), Roots::amd()] {
        let appraisal = appraise(&draft, &full_policy(Product::Milan), &roots);
        assert_eq!(codes(&appraisal), ["snp.root.pinned"]);
        assert_eq!(
            reason(&appraisal, SnpCheck::KeyProduct),
            (Outcome::NotChecked, "the root is not pinned")
        );
    }
}

#[test]
fn a_whole_chain_of_somebody_else() {
    let found = refused(|d| {
        let other = Key::rsa(Rsa::Other);
        d.root.key = other.spki();
        (d.root_by, d.issuer_by, d.crl_by) = (other.clone(), other.clone(), other);
    });
    assert_eq!(found, ["snp.root.pinned"]);
}

#[test]
fn a_root_that_is_not_signed_by_its_key() {
    let found = refused(|d| d.root_by = Key::rsa(Rsa::Other));
    assert_eq!(found, ["snp.root.signature"]);
    let found = refused(|d| d.root.extensions = vec![Extension::no_issuer()]);
    assert_eq!(found, ["snp.root.signature", "snp.issuer.signature"]);
}

#[test]
fn a_root_of_a_shorter_key() {
    let key = Key::rsa(Rsa::Tpm);
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| {
        d.root.key = key.spki();
        (d.root_by, d.issuer_by, d.crl_by) = (key.clone(), key.clone(), key.clone());
    });
    let roots = Roots::of(vec![Root {
        product: Product::Milan,
        key: SpkiDigest::of(&key.spki()),
    }]);
    let appraisal = appraise(&draft, &full_policy(Product::Milan), &roots);
    assert_eq!(codes(&appraisal), ["snp.root.signature"]);
}

#[test]
fn an_issuer_that_the_root_did_not_issue() {
    let expected = ["snp.issuer.signature"];
    assert_eq!(refused(|d| d.issuer_by = Key::rsa(Rsa::Other)), expected);
    assert_eq!(
        refused(|d| d.issuer.issuer = amd_name("ARK-Genoa")),
        expected
    );
    let short = Key::rsa(Rsa::Tpm);
    let found = refused(|d| {
        d.issuer.key = short.spki();
        d.key_by = short.clone();
    });
    assert_eq!(found, expected);
    let curve = Key::p384(9);
    let found = refused(|d| {
        d.issuer.key = curve.spki();
        d.key_by = curve.clone();
        d.key.scheme = Scheme::Ecdsa(Hash::Sha384);
    });
    assert_eq!(found, expected);
}

#[test]
fn an_issuer_of_a_name_that_amd_does_not_use() {
    for name in [
        "SEV-Berlin",
        "SEV-",
        "SEV-VLEK-",
        "ARK-Milan",
        "SEV-Milan-B0",
    ] {
        let found = refused(|d| {
            d.issuer.subject = amd_name(name);
            d.key.issuer = amd_name(name);
        });
        assert_eq!(found, ["snp.issuer.kind"], "{name}");
    }
}

#[test]
fn a_signing_key_whose_certificate_is_not_that_of_one() {
    let expected = ["snp.key.form"];
    let changes: [(&str, Change); 25] = [
        ("another name", |d| d.key.subject = amd_name("SEV-VCEK2")),
        ("two names", |d| {
            d.key.subject = countersign_devices::x509::name(&[
                ("2.5.4.3", "SEV-VCEK"),
                ("2.5.4.3", "SEV-VCEK"),
            ]);
        }),
        ("unknown and critical", |d| {
            d.key.extensions.push(Extension::critical("1.2.3", vec![]));
        }),
        ("an issuer", |d| {
            d.key.extensions.push(Extension::issuer(None))
        }),
        ("a key of p-256", |d| d.key.key = Key::p256(7).spki()),
        ("a key of rsa", |d| d.key.key = Key::rsa(Rsa::Tpm).spki()),
        ("no product", |d| without(d, "2")),
        ("another product", |d| {
            extension(d, "2").value = der::ia5("Milano")
        }),
        ("a product as utf-8", |d| {
            extension(d, "2").value = der::utf8("Milan")
        }),
        ("a product with more", |d| extension(d, "2").value.push(0)),
        ("no boot loader", |d| without(d, "3.1")),
        ("no tee", |d| without(d, "3.2")),
        ("no snp", |d| without(d, "3.3")),
        ("no microcode", |d| without(d, "3.8")),
        ("a version of 256", |d| {
            extension(d, "3.8").value = der::number(256)
        }),
        ("a version with more", |d| extension(d, "3.8").value.push(0)),
        ("a reserved version", |d| {
            extension(d, "3.4").value = der::number(1)
        }),
        ("a reserved version", |d| {
            extension(d, "3.5").value = der::number(1)
        }),
        ("a reserved version", |d| {
            extension(d, "3.6").value = der::number(1)
        }),
        ("a reserved version", |d| {
            extension(d, "3.7").value = der::number(1)
        }),
        ("a first firmware", |d| {
            d.key.extensions.push(amd_extension("3.9", der::number(1)));
        }),
        ("no chip", |d| without(d, "4")),
        ("half a chip", |d| extension(d, "4").value.truncate(32)),
        ("a chip of turin", |d| extension(d, "4").value.truncate(8)),
        ("a provider", |d| {
            d.key.extensions.push(amd_extension("5", der::ia5("x")));
        }),
    ];
    for (what, change) in changes {
        assert_eq!(refused(change), expected, "{what}");
    }
    let found = refused_of(fake::Product::Turin, |d| without(d, "3.9"));
    assert_eq!(found, expected);
    assert_eq!(refused_vlek(|d| without(d, "5")), expected);
    assert_eq!(
        refused_vlek(|d| extension(d, "5").value = der::ia5("a b")),
        expected
    );
    let chip = amd_extension("4", vec![0xc1; 64]);
    assert_eq!(refused_vlek(|d| d.key.extensions.push(chip)), expected);
}

#[test]
fn a_signing_key_that_the_issuer_did_not_issue() {
    let expected = ["snp.key.signature"];
    assert_eq!(refused(|d| d.key_by = Key::rsa(Rsa::Other)), expected);
    assert_eq!(refused(|d| d.key.issuer = amd_name("SEV-Genoa")), expected);
    // By the other key of AMD, which issues VLEKs.
    assert_eq!(refused(|d| d.key_by = Key::rsa(Rsa::Asvk)), expected);
    let found = refused(|d| d.issuer.extensions = vec![Extension::usage(0x80)]);
    assert_eq!(found, expected);
}

#[test]
fn a_certificate_out_of_its_time() {
    let expected = ["snp.chain.validity"];
    let second = 1000;
    for late in [0, 1, 2] {
        let found = refused(|d| {
            let one = [&mut d.root, &mut d.issuer, &mut d.key];
            one.into_iter().nth(late).unwrap().not_before = AT.0 + second;
        });
        assert_eq!(found, expected);
        let found = refused(|d| {
            let one = [&mut d.root, &mut d.issuer, &mut d.key];
            one.into_iter().nth(late).unwrap().not_after = AT.0 - second;
        });
        assert_eq!(found, expected);
    }
}

#[test]
fn a_revocation_list_that_is_missing_or_does_not_hold() {
    let expected = ["snp.chain.revocation"];
    assert_eq!(refused(|d| d.crl = None), expected);
    let changes: [fn(&mut countersign_devices::x509::Crl); 5] = [
        |crl| crl.this_update = AT.0 + 1000,
        |crl| crl.next_update = Some(AT.0 - 1000),
        |crl| crl.next_update = None,
        |crl| crl.issuer = amd_name("ARK-Genoa"),
        |crl| {
            crl.extensions
                .push(Extension::critical("2.5.29.28", der::sequence(&[])))
        },
    ];
    for change in changes {
        assert_eq!(refused(|d| change(d.crl.as_mut().unwrap())), expected);
    }
    assert_eq!(refused(|d| d.crl_by = Key::rsa(Rsa::Other)), expected);
    let more = altered(|e| e.crl.as_mut().unwrap().push(0));
    assert_eq!(more, expected);
    assert_eq!(altered(|e| e.crl = Some(vec![])), expected);
}

#[test]
fn a_revoked_issuer_or_root() {
    for serial in [vec![1, 0, 1], vec![1, 0, 0]] {
        let found = refused(|d| {
            let crl = d.crl.as_mut().unwrap();
            crl.revoked = vec![(vec![7], AT.0), (serial, AT.0)];
        });
        assert_eq!(found, ["snp.chain.revocation"]);
    }
    // All signing keys have the number 0: a list that has it takes nothing back that could be told apart.
    let found = refused(|d| d.crl.as_mut().unwrap().revoked = vec![(vec![], AT.0)]);
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_list_that_does_not_hold_is_refused_even_where_none_is_needed() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek)
        .with(|d| d.crl.as_mut().unwrap().revoked = vec![(vec![1, 0, 1], AT.0)]);
    let policy = Policy {
        revocation: Requirement::Optional,
        ..full_policy(Product::Milan)
    };
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    assert_eq!(codes(&appraisal), ["snp.chain.revocation"]);
}

#[test]
fn a_signing_key_of_another_kind_than_the_report_says() {
    let expected = ["snp.key.kind"];
    for number in 1..8 {
        assert_eq!(refused(|d| d.report.flags = number << 2), expected);
    }
    // The chip's key is not used where the host masks it.
    assert_eq!(refused(|d| d.report.flags = 1 << 1), expected);
    assert_eq!(refused_vlek(|d| d.report.flags = 0), expected);
    assert_eq!(refused_vlek(|d| d.report.flags |= 1 << 1), [""; 0]);
    let found = refused(|d| {
        let name = amd_name("SEV-VLEK-Milan");
        (d.issuer.subject, d.key.issuer) = (name.clone(), name);
    });
    assert_eq!(found, expected);
    let found = refused_vlek(|d| {
        let name = amd_name("SEV-Milan");
        (d.issuer.subject, d.key.issuer) = (name.clone(), name);
    });
    assert_eq!(found, expected);
}

#[test]
fn products_that_do_not_agree() {
    let expected = ["snp.key.product"];
    // The pin is of another product.
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let appraisal = appraise(&draft, &full_policy(Product::Milan), &roots(Product::Genoa));
    assert_eq!(codes(&appraisal), expected);
    // The issuer is.
    let found = refused(|d| {
        let name = amd_name("SEV-Genoa");
        (d.issuer.subject, d.key.issuer) = (name.clone(), name);
    });
    assert_eq!(found, expected);
    // The certificate is.
    let draft = draft.with(|d| extension(d, "2").value = der::ia5("Genoa"));
    let appraisal = appraise(&draft, &full_policy(Product::Genoa), &roots(Product::Milan));
    assert_eq!(codes(&appraisal), expected);
    // The processor is.
    for processor in [
        [0x19, 0x10, 1],
        [0x19, 0x20, 1],
        [0x19, 0xa0, 1],
        [0x1a, 0x01, 1],
        [0x17, 0x01, 1],
        [0, 0, 0],
    ] {
        assert_eq!(refused(|d| d.report.processor = processor), expected);
    }
    for processor in [[0x1a, 0x12, 0], [0x1b, 0, 0], [0x19, 1, 1]] {
        let found = refused_of(fake::Product::Turin, |d| d.report.processor = processor);
        assert_eq!(found, expected);
    }
    for processor in [
        [0x19, 0x0f, 1],
        [0x19, 0x20, 1],
        [0x19, 0x9f, 1],
        [0x19, 0xb0, 1],
    ] {
        let found = refused_of(fake::Product::Genoa, |d| d.report.processor = processor);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_turin_that_does_not_name_its_processor() {
    let found = refused_of(fake::Product::Turin, |d| {
        d.report.version = 2;
        d.report.processor = [0; 3];
        d.report.launch_mit_vector = 0;
        d.report.current_mit_vector = 0;
    });
    assert_eq!(found, ["snp.key.product", "snp.mitigations"]);
}

#[test]
fn a_key_of_another_tcb() {
    for (rest, place) in [("3.1", 0), ("3.2", 1), ("3.3", 6), ("3.8", 7)] {
        // The key is that of a newer TCB than the report has, and of an older one.
        let found = refused(|d| extension(d, rest).value = der::number(255));
        assert_eq!(found, ["snp.key.tcb"], "{rest}");
        let found = refused(|d| extension(d, rest).value = der::number(0));
        assert_eq!(found, ["snp.key.tcb"], "{rest}");
        let found = refused(|d| d.report.reported_tcb[place] -= 1);
        assert_eq!(found, ["snp.key.tcb", "snp.tcb.reported"], "{rest}");
    }
    let found = refused_of(fake::Product::Turin, |d| {
        extension(d, "3.9").value = der::number(2);
    });
    assert_eq!(found, ["snp.key.tcb"]);
}

#[test]
fn a_reserved_part_of_a_tcb() {
    for place in 2..6 {
        let found = refused(|d| d.report.launch_tcb[place] = 1);
        assert_eq!(found, ["snp.tcb.order"]);
    }
    for place in 4..7 {
        let found = refused_of(fake::Product::Turin, |d| d.report.launch_tcb[place] = 1);
        assert_eq!(found, ["snp.tcb.order"]);
    }
    let found = refused(|d| d.report.reported_tcb[2] = 1);
    assert_eq!(found, ["snp.key.tcb", "snp.tcb.order"]);
    assert_eq!(refused(|d| d.report.current_tcb[2] = 1), ["snp.tcb.order"]);
    assert_eq!(
        refused(|d| d.report.committed_tcb[2] = 1),
        ["snp.tcb.order"]
    );
}

#[test]
fn a_key_of_another_chip() {
    let expected = ["snp.key.chip"];
    for place in [0, 31, 63] {
        assert_eq!(refused(|d| d.report.chip_id[place] ^= 1), expected);
        assert_eq!(refused(|d| extension(d, "4").value[place] ^= 1), expected);
    }
    for place in [0, 7, 8, 63] {
        let found = refused_of(fake::Product::Turin, |d| d.report.chip_id[place] ^= 1);
        assert_eq!(found, expected);
    }
}

#[test]
fn a_chip_that_is_hidden() {
    let expected = ["snp.key.chip"];
    assert_eq!(refused(|d| d.report.chip_id = [0; 64]), expected);
    let found = refused(|d| {
        d.report.chip_id = [0; 64];
        extension(d, "4").value = vec![0; 64];
    });
    assert_eq!(found, expected);
}

#[test]
fn a_chip_in_an_octet_string_is_the_same_chip() {
    let found = refused(|d| {
        let chip = extension(d, "4");
        chip.value = der::octets(&chip.value);
    });
    assert_eq!(found, [""; 0]);
    // A chip whose identity begins like an octet string of what follows is no octet string of 64 bytes.
    let found = refused(|d| {
        (d.report.chip_id[0], d.report.chip_id[1]) = (0x04, 62);
        extension(d, "4").value = d.report.chip_id.to_vec();
    });
    assert_eq!(found, [""; 0]);
    let found = refused(|d| {
        let chip = extension(d, "4");
        chip.value = [der::octets(&chip.value), vec![0]].concat();
    });
    assert_eq!(found, ["snp.key.form"]);
}

#[test]
fn a_report_that_the_key_did_not_sign() {
    let expected = ["snp.report.signature"];
    assert_eq!(refused(|d| d.report_by = Key::p384(8)), expected);
    // r is zero, s is zero, r is the curve's order and more.
    assert_eq!(altered(|e| e.report[0x2a0..0x2a0 + 48].fill(0)), expected);
    assert_eq!(altered(|e| e.report[0x2e8..0x2e8 + 48].fill(0)), expected);
    assert_eq!(
        altered(|e| e.report[0x2a0..0x2a0 + 48].fill(0xff)),
        expected
    );
}

#[test]
fn a_product_that_the_policy_does_not_accept() {
    let unfloored = |p: &mut Policy| {
        p.products = BTreeMap::from([(Product::Genoa, ProductPolicy::default())]);
    };
    assert_eq!(refused_by(unfloored), ["snp.product.accepted"]);
    assert_eq!(refused_by(|p| p.products.clear()), ["snp.product.accepted"]);
}

#[test]
fn a_provider_that_the_policy_does_not_accept() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vlek);
    let other = PartyName::parse("CN=cc-other.example.com").unwrap();
    for providers in [vec![], vec![other]] {
        let policy = Policy {
            providers,
            ..full_policy(Product::Milan)
        };
        let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
        assert_eq!(codes(&appraisal), ["snp.provider.accepted"]);
    }
}

#[test]
fn a_chip_that_the_policy_does_not_accept() {
    let (chip, other) = (ChipId([0xc1; 64]), ChipId([0xc2; 64]));
    let expected = ["snp.chip.accepted"];
    let only = |chips: Vec<ChipId>| refused_by(|p| of_milan(p).chips = Some(chips));
    assert_eq!(only(vec![other, chip]), [""; 0]);
    assert_eq!(only(vec![other]), expected);
    assert_eq!(only(vec![]), expected);
    let policy = Policy {
        denied_chips: vec![other],
        ..full_policy(Product::Milan)
    };
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    let (outcome, why) = reason(&appraisal, SnpCheck::ChipAccepted);
    assert_eq!((outcome, why), (Outcome::Pass, &*format!("chip {chip}")));
    assert_eq!(refused_by(|p| p.denied_chips = vec![other, chip]), expected);
    let both = refused_by(|p| {
        of_milan(p).chips = Some(vec![chip]);
        p.denied_chips = vec![chip];
    });
    assert_eq!(both, expected);
}

#[test]
fn a_chip_that_is_hidden_is_none_that_is_listed_and_may_be_one_that_is_denied() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vlek);
    let policy = Policy {
        providers: vec![PartyName::parse(fake::PROVIDER).unwrap()],
        ..full_policy(Product::Milan)
    };
    let mut listed = policy.clone();
    of_milan(&mut listed).chips = Some(vec![ChipId([0; 64])]);
    let denied = Policy {
        denied_chips: vec![ChipId([0xc2; 64])],
        ..policy
    };
    for policy in [listed, denied] {
        let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
        assert_eq!(codes(&appraisal), ["snp.chip.accepted"]);
    }
}

#[test]
fn a_guest_that_can_be_debugged() {
    let found = refused(|d| d.report.policy |= 1 << 19);
    assert_eq!(found, ["snp.guest.debug"]);
}

#[test]
fn a_guest_that_can_migrate() {
    let expected = ["snp.guest.migration"];
    assert_eq!(refused(|d| d.report.policy |= 1 << 18), expected);
    assert_eq!(refused(|d| d.report.report_id_ma[31] = 0xfe), expected);
    assert_eq!(refused(|d| d.report.report_id_ma = [0; 32]), expected);
}

#[test]
fn a_guest_for_an_older_interface() {
    let expected = ["snp.guest.abi"];
    assert_eq!(refused_by(|p| p.guest_abi = Some((1, 52))), expected);
    assert_eq!(refused_by(|p| p.guest_abi = Some((2, 0))), expected);
    assert_eq!(refused_by(|p| p.guest_abi = Some((0, 255))), [""; 0]);
}

#[test]
fn features_that_are_missing_or_forbidden() {
    let guest = [
        (GuestFeature::Smt, 16),
        (GuestFeature::SingleSocket, 20),
        (GuestFeature::Cxl, 21),
        (GuestFeature::Aes256, 22),
        (GuestFeature::RaplOff, 23),
        (GuestFeature::CiphertextHiding, 24),
        (GuestFeature::PageSwapOff, 25),
    ];
    let only = |required: Vec<GuestFeature>, forbidden: Vec<GuestFeature>, bits: u64| {
        let draft = Draft::new(fake::Product::Milan, Kind::Vcek)
            .with(|d| d.report.policy = 1 << 17 | 0x0133 | bits);
        let policy = Policy {
            guest_required: required,
            guest_forbidden: forbidden,
            ..full_policy(Product::Milan)
        };
        codes(&appraise(&draft, &policy, &roots(Product::Milan)))
    };
    for (feature, bit) in guest {
        assert_eq!(only(vec![feature], vec![], 1 << bit), [""; 0]);
        assert_eq!(only(vec![feature], vec![], 0), ["snp.guest.features"]);
        assert_eq!(only(vec![], vec![feature], 0), [""; 0]);
        let all = guest.iter().fold(0, |all, (_, bit)| all | 1 << bit);
        assert_eq!(
            only(vec![feature], vec![], all ^ 1 << bit),
            ["snp.guest.features"]
        );
        assert_eq!(
            only(vec![], vec![feature], 1 << bit),
            ["snp.guest.features"]
        );
    }
}

#[test]
fn a_platform_whose_features_are_missing_or_forbidden() {
    let platform = [
        (PlatformFeature::Smt, 0),
        (PlatformFeature::Tsme, 1),
        (PlatformFeature::Ecc, 2),
        (PlatformFeature::RaplOff, 3),
        (PlatformFeature::CiphertextHiding, 4),
        (PlatformFeature::AliasCheck, 5),
        (PlatformFeature::Tio, 7),
    ];
    let only = |required: Vec<PlatformFeature>, forbidden: Vec<PlatformFeature>, bits: u64| {
        let draft =
            Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| d.report.platform_info = bits);
        let policy = Policy {
            platform_required: required,
            platform_forbidden: forbidden,
            ..full_policy(Product::Milan)
        };
        codes(&appraise(&draft, &policy, &roots(Product::Milan)))
    };
    let expected = ["snp.platform.features"];
    for (feature, bit) in platform {
        assert_eq!(only(vec![feature], vec![], 1 << bit), [""; 0]);
        assert_eq!(only(vec![feature], vec![], 0xbf ^ 1 << bit), expected);
        assert_eq!(only(vec![], vec![feature], 0xbf ^ 1 << bit), [""; 0]);
        assert_eq!(only(vec![], vec![feature], 1 << bit), expected);
    }
}

#[test]
fn memory_that_was_not_checked_for_aliases_under_a_strict_policy() {
    let draft =
        Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| d.report.platform_info &= !(1 << 5));
    let policy = Policy::strict(
        ReportData([fake::REPORT_DATA; 64]),
        BTreeMap::from([(Product::Milan, ProductPolicy::default())]),
    );
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    assert_eq!(codes(&appraisal), ["snp.platform.features"]);
}

#[test]
fn a_reported_tcb_above_the_committed_or_a_committed_above_the_current() {
    for place in [0, 1, 6, 7] {
        let found = refused(|d| {
            d.report.committed_tcb[place] -= 1;
        });
        assert_eq!(found, ["snp.tcb.order", "snp.tcb.committed"]);
        let found = refused(|d| d.report.current_tcb[place] -= 1);
        assert_eq!(found, ["snp.tcb.order"]);
    }
    let found = refused_of(fake::Product::Turin, |d| d.report.current_tcb[0] = 0);
    assert_eq!(found, ["snp.tcb.order"]);
    assert_eq!(
        refused(|d| d.report.current_firmware[0] = 1),
        ["snp.tcb.order"]
    );
    // Floors are judged all the same.
    let found = refused(|d| {
        d.report.committed_tcb[7] = 0;
    });
    assert_eq!(found, ["snp.tcb.order", "snp.tcb.committed"]);
    // Loaded, committed and reported one after the other, as hosts do.
    let found = refused(|d| {
        d.report.committed_tcb[7] += 1;
        d.report.current_tcb[7] += 2;
        d.report.current_firmware[0] += 1;
    });
    assert_eq!(found, [""; 0]);
}

#[test]
fn a_tcb_below_the_floor() {
    let parts: [(Part, usize); 4] = [
        (|tcb| &mut tcb.bootloader, 0),
        (|tcb| &mut tcb.tee, 1),
        (|tcb| &mut tcb.snp, 6),
        (|tcb| &mut tcb.microcode, 7),
    ];
    for (part, place) in parts {
        let raised = |p: &mut Policy| *part(of_milan(p).floor.as_mut().unwrap()) += 1;
        assert_eq!(
            refused_by(raised),
            ["snp.tcb.reported", "snp.tcb.committed", "snp.tcb.launch"]
        );
        let found = refused(|d| d.report.launch_tcb[place] -= 1);
        assert_eq!(found, ["snp.tcb.launch"]);
        // Committed and current are at the raised floor, what is reported is not.
        let draft = Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| {
            d.report.committed_tcb[place] += 1;
            d.report.current_tcb[place] += 1;
            d.report.launch_tcb[place] += 1;
        });
        let mut policy = full_policy(Product::Milan);
        raised(&mut policy);
        let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
        assert_eq!(codes(&appraisal), ["snp.tcb.reported"]);
    }
    // A floor for a part that the product does not have is not reached.
    let found = refused_by(|p| of_milan(p).floor.as_mut().unwrap().fmc = Some(0));
    let all = ["snp.tcb.reported", "snp.tcb.committed", "snp.tcb.launch"];
    assert_eq!(found, all);
    let draft = Draft::new(fake::Product::Turin, Kind::Vcek);
    let mut policy = full_policy(Product::Turin);
    let of_turin = policy.products.get_mut(&Product::Turin).unwrap();
    of_turin.floor.as_mut().unwrap().fmc = Some(2);
    let appraisal = appraise(&draft, &policy, &roots(Product::Turin));
    assert_eq!(codes(&appraisal), all);
}

#[test]
fn firmware_below_the_floor() {
    for (major, minor, build) in [(1, 58, 3), (1, 59, 0), (2, 0, 0)] {
        let floor = Firmware {
            major,
            minor,
            build,
        };
        let found = refused_by(|p| of_milan(p).firmware = Some(floor));
        assert_eq!(found, ["snp.firmware"]);
    }
    // What runs is new enough, and can still be taken back.
    assert_eq!(
        refused(|d| d.report.committed_firmware[0] = 1),
        ["snp.firmware"]
    );
}

#[test]
fn a_mitigation_that_is_or_was_not_in_force() {
    let expected = ["snp.mitigations"];
    assert_eq!(refused(|d| d.report.launch_mit_vector = 0x0a), expected);
    assert_eq!(refused(|d| d.report.current_mit_vector = 0x09), expected);
    let found = refused(|d| {
        d.report.version = 4;
        d.report.launch_mit_vector = 0;
        d.report.current_mit_vector = 0;
    });
    assert_eq!(found, expected);
}

#[test]
fn a_report_asked_for_at_a_lower_privilege() {
    for level in [1, 3, u32::MAX] {
        assert_eq!(refused(|d| d.report.vmpl = level), ["snp.vmpl"]);
    }
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek);
    for (level, expected) in [(1, [""; 0].as_slice()), (2, &["snp.vmpl"])] {
        let policy = Policy {
            vmpl: Vmpl(1),
            ..full_policy(Product::Milan)
        };
        let draft = draft.clone().with(|d| d.report.vmpl = level);
        let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
        assert_eq!(codes(&appraisal), expected);
    }
}

#[test]
fn report_data_that_differs_in_any_byte() {
    for place in 0..64 {
        let found = refused(|d| d.report.report_data[place] ^= 0x80);
        assert_eq!(found, ["snp.report.data"], "byte {place}");
    }
}

#[test]
fn report_data_of_zeros_even_where_zeros_are_expected() {
    let draft =
        Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| d.report.report_data = [0; 64]);
    let policy = Policy {
        report_data: Some(ReportData([0; 64])),
        ..full_policy(Product::Milan)
    };
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    assert_eq!(codes(&appraisal), ["snp.report.data"]);
}

#[test]
fn a_measurement_that_is_no_reference_value() {
    let found = refused(|d| d.report.measurement[47] ^= 1);
    assert_eq!(found, ["snp.measurement"]);
    let found = refused_by(|p| p.measurements = Some(vec![]));
    assert_eq!(found, ["snp.measurement"]);
}

#[test]
fn another_host_data() {
    let found = refused(|d| d.report.host_data[31] ^= 1);
    assert_eq!(found, ["snp.host-data"]);
}

#[test]
fn a_key_of_an_identity_that_is_not_listed() {
    let expected = ["snp.id-key"];
    assert_eq!(refused(|d| d.report.id_key_digest[47] ^= 1), expected);
    assert_eq!(refused_by(|p| p.id_keys = Some(vec![])), expected);
    // No key at all is not a key that could be listed.
    let draft =
        Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| d.report.id_key_digest = [0; 48]);
    let policy = Policy {
        id_keys: Some(vec![KeyDigest([0; 48])]),
        ..full_policy(Product::Milan)
    };
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    assert_eq!(codes(&appraisal), expected);
}

#[test]
fn a_key_of_an_author_that_is_not_listed() {
    let author = [0xaa; 48];
    let made = |flags: u32, digest: [u8; 48], accepted: Vec<KeyDigest>| {
        let draft = Draft::new(fake::Product::Milan, Kind::Vcek).with(|d| {
            d.report.flags |= flags;
            d.report.author_key_digest = digest;
        });
        let policy = Policy {
            author_keys: Some(accepted),
            ..full_policy(Product::Milan)
        };
        codes(&appraise(&draft, &policy, &roots(Product::Milan)))
    };
    let expected = ["snp.author-key"];
    assert_eq!(made(1, author, vec![KeyDigest(author)]), [""; 0]);
    assert_eq!(made(1, author, vec![KeyDigest([0xab; 48])]), expected);
    assert_eq!(made(1, author, vec![]), expected);
    assert_eq!(made(0, author, vec![KeyDigest(author)]), expected);
    assert_eq!(made(1, [0; 48], vec![KeyDigest([0; 48])]), expected);
}

#[test]
fn another_family_or_image() {
    let expected = ["snp.image"];
    assert_eq!(refused(|d| d.report.family_id[15] ^= 1), expected);
    assert_eq!(refused(|d| d.report.image_id[15] ^= 1), expected);
}

#[test]
fn a_guest_below_its_floor() {
    assert_eq!(refused(|d| d.report.guest_svn = 2), ["snp.guest.svn"]);
    assert_eq!(refused(|d| d.report.guest_svn = 4), [""; 0]);
}

#[test]
fn certificates_that_are_none() {
    let root = altered(|e| e.root.clear());
    assert_eq!(root, ["snp.root.pinned"]);
    assert_eq!(altered(|e| e.root.push(0)), ["snp.root.pinned"]);
    assert_eq!(altered(|e| e.issuer.push(0)), ["snp.issuer.signature"]);
    assert_eq!(altered(|e| e.key.push(0)), ["snp.key.form"]);
    // Each in the place of another.
    let found = altered(|e| std::mem::swap(&mut e.key, &mut e.issuer));
    assert!(found.contains(&"snp.key.form"), "{found:?}");
    let found = altered(|e| e.issuer = e.root.clone());
    assert!(found.contains(&"snp.issuer.kind"), "{found:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_bytes_make_it_panic_or_accept(
        report in prop::collection::vec(any::<u8>(), 0..1400),
        key in prop::collection::vec(any::<u8>(), 0..64),
        crl in prop::option::of(prop::collection::vec(any::<u8>(), 0..64)),
    ) {
        let evidence = SnpEvidence { report: &report, key: &key, issuer: &key, root: &key, crl: crl.as_deref() };
        let policy = full_policy(Product::Milan);
        let appraisal = appraise_snp(&evidence, &policy, &roots(Product::Milan), AT, &mut Chains::new());
        prop_assert!(appraisal.verified().is_none());
        prop_assert_eq!(appraisal.checks().len(), SnpCheck::ALL.len());
    }

    #[test]
    fn no_report_of_the_right_length_makes_it_panic_or_accept(
        report in prop::collection::vec(any::<u8>(), 1184),
        version in 0_u8..8,
    ) {
        let mut report = report;
        report[..4].copy_from_slice(&[version, 0, 0, 0]);
        prop_assert!(Report::parse(&report).is_ok());
        let built = good();
        let evidence = SnpEvidence { report: &report, ..evidence(built) };
        let policy = full_policy(Product::Milan);
        let appraisal = appraise_snp(&evidence, &policy, &roots(Product::Milan), AT, &mut Chains::new());
        prop_assert!(appraisal.verified().is_none());
    }
}

fn good() -> &'static fake::Evidence {
    static GOOD: std::sync::OnceLock<fake::Evidence> = std::sync::OnceLock::new();
    GOOD.get_or_init(|| Draft::new(fake::Product::Milan, Kind::Vcek).build())
}
