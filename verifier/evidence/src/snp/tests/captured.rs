//! What real machines said, each judged for its own time and for later; `vectors/snp/README.md` says whence.

use super::*;

/// A capture: report, certificate of its key, product, and the issuer's kind.
struct Capture {
    name: &'static str,
    report: &'static [u8],
    key: &'static [u8],
    kind: SigningKey,
    /// A moment at which the chain was valid.
    at: Moment,
    /// A moment at which it is valid no more.
    later: Moment,
    version: u32,
    vmpl: u32,
    /// What refuses it besides the age of its firmware.
    refused: &'static [&'static str],
}

macro_rules! bytes {
    ($name:literal) => {
        include_bytes!(concat!("../../../vectors/snp/", $name)).as_slice()
    };
}

const MID_2025: Moment = Moment(1_750_000_000_000);
const EARLY_2031: Moment = Moment(1_925_000_000_000);
const EARLY_2026: Moment = Moment(1_768_000_000_000);
const MID_2032: Moment = Moment(1_972_000_000_000);

fn captures() -> Vec<Capture> {
    let milan_v2 = Capture {
        name: "milan-v2-virtee",
        report: bytes!("captured/milan-v2-virtee.report"),
        key: bytes!("captured/milan-v2-virtee.der"),
        kind: SigningKey::Vcek,
        at: MID_2025,
        later: EARLY_2031,
        version: 2,
        vmpl: 0,
        refused: &[],
    };
    vec![
        Capture {
            name: "milan-v2-debug",
            report: bytes!("captured/milan-v2-debug.report"),
            key: bytes!("captured/milan-v2-debug.der"),
            refused: &["snp.guest.debug"],
            ..milan_v2
        },
        Capture {
            name: "milan-v2-trustee",
            report: bytes!("captured/milan-v2-trustee.report"),
            key: bytes!("captured/milan-v2-trustee.der"),
            ..milan_v2
        },
        Capture {
            name: "milan-v2-azure",
            report: bytes!("captured/milan-v2-azure.report"),
            key: bytes!("captured/milan-v2-azure.der"),
            ..milan_v2
        },
        Capture {
            name: "milan-v2-kinvolk",
            report: bytes!("captured/milan-v2-kinvolk.report"),
            key: bytes!("captured/milan-v2-kinvolk.der"),
            // The certificate beside it is that of another chip.
            refused: &["snp.key.chip", "snp.report.signature"],
            ..milan_v2
        },
        Capture {
            name: "milan-v3-azure-a",
            report: bytes!("captured/milan-v3-azure-a.report"),
            key: bytes!("captured/milan-v3-azure-a.der"),
            later: MID_2032,
            version: 3,
            ..milan_v2
        },
        Capture {
            name: "milan-v3-azure-b",
            report: bytes!("captured/milan-v3-azure-b.report"),
            key: bytes!("captured/milan-v3-azure-b.der"),
            later: MID_2032,
            version: 3,
            ..milan_v2
        },
        Capture {
            name: "milan-v3-aws-vlek",
            report: bytes!("captured/milan-v3-aws-vlek.report"),
            key: bytes!("captured/milan-v3-aws-vlek.der"),
            kind: SigningKey::Vlek,
            later: EARLY_2026,
            version: 3,
            vmpl: 1,
            ..milan_v2
        },
        milan_v2,
    ]
}

impl Capture {
    fn evidence(&self) -> SnpEvidence<'_> {
        SnpEvidence {
            report: self.report,
            key: self.key,
            issuer: match self.kind {
                SigningKey::Vcek => bytes!("roots/milan-ask.der"),
                SigningKey::Vlek => bytes!("roots/milan-asvk.der"),
            },
            root: bytes!("roots/milan-ark.der"),
            crl: None,
        }
    }

    /// Accepts what captures of before 2026 can have: no list, no check for aliases.
    fn policy(&self) -> Policy {
        let report = Report::parse(self.report).unwrap();
        Policy {
            providers: vec![PartyName::parse(AWS).unwrap()],
            revocation: Requirement::Optional,
            vmpl: Vmpl(self.vmpl),
            platform_required: vec![],
            ..Policy::strict(
                ReportData(*report.report_data()),
                BTreeMap::from([(Product::Milan, ProductPolicy::default())]),
            )
        }
    }

    fn appraise(&self, policy: &Policy, at: Moment) -> SnpAppraisal {
        appraise_snp(
            &self.evidence(),
            policy,
            &Roots::amd(),
            at,
            &mut Chains::new(),
        )
    }
}

const AWS: &str = "CN=cc-us-east-2.amazonaws.com";

#[test]
fn every_capture_gets_its_verdict_at_its_time_and_later() {
    for capture in captures() {
        let appraisal = capture.appraise(&capture.policy(), capture.at);
        assert_eq!(codes(&appraisal), capture.refused, "{}", capture.name);
        assert_eq!(
            appraisal.verified().is_some(),
            capture.refused.is_empty(),
            "{}",
            capture.name
        );
        let claimed = appraisal.claimed().unwrap();
        assert_eq!(claimed.version(), capture.version, "{}", capture.name);
        assert_eq!(claimed.vmpl(), Vmpl(capture.vmpl), "{}", capture.name);
        assert_eq!(claimed.signing_key(), Some(capture.kind));
        let later = capture.appraise(&capture.policy(), capture.later);
        let found = codes(&later);
        assert_eq!(
            found.first(),
            Some(&"snp.chain.validity"),
            "{}",
            capture.name
        );
        assert_eq!(found[1..], *capture.refused, "{}", capture.name);
        // Before the key was made.
        let before = capture.appraise(&capture.policy(), Moment(1_600_000_000_000));
        assert!(codes(&before).contains(&"snp.chain.validity"));
    }
}

#[test]
fn captures_from_before_the_check_for_aliases_are_refused_by_a_strict_policy() {
    for capture in captures() {
        let claimed = Report::parse(capture.report).unwrap();
        let policy = Policy::strict(
            ReportData(*claimed.report_data()),
            BTreeMap::from([(Product::Milan, ProductPolicy::default())]),
        );
        let found = codes(&capture.appraise(&policy, capture.at));
        assert!(found.contains(&"snp.chain.revocation"), "{}", capture.name);
        let checked = claimed.platform().0 & 1 << 5 != 0;
        assert_eq!(!found.contains(&"snp.platform.features"), checked);
        assert_eq!(checked, capture.version >= 3, "{}", capture.name);
    }
}

#[test]
fn old_firmware_is_refused_by_a_current_floor() {
    let floor = Tcb {
        fmc: None,
        bootloader: 4,
        tee: 0,
        snp: 0x18,
        microcode: 0xdb,
    };
    for capture in captures() {
        let mut policy = capture.policy();
        policy.products.get_mut(&Product::Milan).unwrap().floor = Some(floor);
        let found = codes(&capture.appraise(&policy, capture.at));
        let below: Vec<&str> = found
            .into_iter()
            .filter(|code| code.starts_with("snp.tcb"))
            .collect();
        let expected: &[&str] = match capture.name {
            "milan-v3-azure-a" | "milan-v3-azure-b" => &[],
            // Reported d9, committed and launched db, current dc.
            "milan-v3-aws-vlek" => &["snp.tcb.reported"],
            _ => &["snp.tcb.reported", "snp.tcb.committed", "snp.tcb.launch"],
        };
        assert_eq!(below, expected, "{}", capture.name);
    }
}

#[test]
fn amazons_report_is_of_its_key_and_no_chip_and_three_versions() {
    let capture = captures()
        .into_iter()
        .find(|c| c.name == "milan-v3-aws-vlek")
        .unwrap();
    let appraisal = capture.appraise(&capture.policy(), capture.at);
    let verified = appraisal.verified().unwrap();
    let aws = Party::CloudProvider(PartyName::parse(AWS).unwrap());
    assert_eq!(verified.parties(), [Party::Amd, aws]);
    assert_eq!(*verified.report().chip_id(), ChipId([0; 64]));
    let tcb = verified.tcb();
    let microcode = [tcb.reported, tcb.committed, tcb.current].map(|tcb| tcb.microcode);
    assert_eq!(microcode, [0xd9, 0xdb, 0xdc]);

    let no_provider = Policy {
        providers: vec![],
        ..capture.policy()
    };
    let found = codes(&capture.appraise(&no_provider, capture.at));
    assert_eq!(found, ["snp.provider.accepted"]);
    let level_0 = Policy {
        vmpl: Vmpl(0),
        ..capture.policy()
    };
    assert_eq!(codes(&capture.appraise(&level_0, capture.at)), ["snp.vmpl"]);
    // Its key, under the issuer of the chips' own keys.
    let evidence = SnpEvidence {
        issuer: bytes!("roots/milan-ask.der"),
        ..capture.evidence()
    };
    let policy = capture.policy();
    let roots = Roots::amd();
    let appraisal = appraise_snp(&evidence, &policy, &roots, capture.at, &mut Chains::new());
    assert_eq!(codes(&appraisal), ["snp.key.signature", "snp.key.kind"]);
}

#[test]
fn certificates_with_an_altered_signature_or_key_are_refused() {
    let capture = captures()
        .into_iter()
        .find(|c| c.name == "milan-v2-trustee")
        .unwrap();
    for key in [
        bytes!("captured/invalid-legacy.der"),
        bytes!("captured/invalid-new.der"),
    ] {
        let evidence = SnpEvidence {
            key,
            ..capture.evidence()
        };
        let policy = capture.policy();
        let roots = Roots::amd();
        let appraisal = appraise_snp(&evidence, &policy, &roots, capture.at, &mut Chains::new());
        let found = codes(&appraisal);
        assert!(found.contains(&"snp.key.signature"), "{found:?}");
    }
}

#[test]
fn a_chain_of_turin_holds_and_is_not_that_of_another_chips_report() {
    let capture = captures().into_iter().next().unwrap();
    let evidence = SnpEvidence {
        key: bytes!("captured/turin-virtee.der"),
        issuer: bytes!("roots/turin-ask.der"),
        root: bytes!("roots/turin-ark.der"),
        ..capture.evidence()
    };
    let policy = capture.policy();
    let roots = Roots::amd();
    let appraisal = appraise_snp(&evidence, &policy, &roots, capture.at, &mut Chains::new());
    for check in [
        SnpCheck::RootPinned,
        SnpCheck::RootSignature,
        SnpCheck::IssuerSignature,
        SnpCheck::IssuerKind,
        SnpCheck::KeyForm,
        SnpCheck::KeySignature,
        SnpCheck::ChainValidity,
    ] {
        assert_eq!(reason(&appraisal, check).0, Outcome::Pass, "{check:?}");
    }
    let found = codes(&appraisal);
    for check in [
        "snp.key.product",
        "snp.key.tcb",
        "snp.key.chip",
        "snp.report.signature",
    ] {
        assert!(found.contains(&check), "{check}");
    }
}

#[test]
fn issuers_of_every_product_are_those_of_the_pinned_roots() {
    let chains = [
        (
            bytes!("roots/milan-ark.der"),
            [
                bytes!("roots/milan-ask.der"),
                bytes!("roots/milan-asvk.der"),
            ],
        ),
        (
            bytes!("roots/genoa-ark.der"),
            [
                bytes!("roots/genoa-ask.der"),
                bytes!("roots/genoa-asvk.der"),
            ],
        ),
        (
            bytes!("roots/turin-ark.der"),
            [
                bytes!("roots/turin-ask.der"),
                bytes!("roots/turin-asvk.der"),
            ],
        ),
    ];
    let capture = captures().into_iter().next().unwrap();
    for (root, issuers) in chains {
        for issuer in issuers {
            let evidence = SnpEvidence {
                root,
                issuer,
                ..capture.evidence()
            };
            let policy = capture.policy();
            let roots = Roots::amd();
            let appraisal = appraise_snp(&evidence, &policy, &roots, MID_2025, &mut Chains::new());
            for check in [
                SnpCheck::RootPinned,
                SnpCheck::RootSignature,
                SnpCheck::IssuerSignature,
                SnpCheck::IssuerKind,
            ] {
                assert_eq!(reason(&appraisal, check).0, Outcome::Pass, "{check:?}");
            }
        }
    }
}
