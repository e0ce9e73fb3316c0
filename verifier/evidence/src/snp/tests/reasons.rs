//! What people read: every reason says what was found and what was expected.

use countersign_devices::der;
use countersign_devices::snp::{amd_extension, amd_name};

use super::*;

/// Outcome and reason of each check, a line each, long digits cut short.
fn lines(appraisal: &SnpAppraisal) -> String {
    let mut out = String::new();
    for check in appraisal.checks() {
        let reason = cut(&check.reason);
        out += &format!("{} {}: {reason}\n", check.code.as_str(), check.outcome);
    }
    out
}

/// Words of more than 40 digits keep 8.
fn cut(reason: &str) -> String {
    let words: Vec<String> = reason
        .split(' ')
        .map(|word| {
            let digits = word.trim_end_matches(|c: char| !c.is_ascii_hexdigit());
            let rest = &word[digits.len()..];
            if digits.len() > 40 && digits.chars().all(|c| c.is_ascii_hexdigit()) {
                format!("{}…{rest}", &digits[..8])
            } else {
                word.into()
            }
        })
        .collect();
    words.join(" ")
}

fn milan_by(
    change: impl FnOnce(&mut Draft),
    change_policy: impl FnOnce(&mut Policy),
) -> SnpAppraisal {
    let draft = Draft::new(fake::Product::Milan, Kind::Vcek).with(change);
    let mut policy = full_policy(Product::Milan);
    change_policy(&mut policy);
    appraise(&draft, &policy, &roots(Product::Milan))
}

/// The failures, a line each.
fn failed(appraisal: &SnpAppraisal) -> Vec<String> {
    appraisal
        .failures()
        .map(|check| format!("{}: {}", check.code.as_str(), cut(&check.reason)))
        .collect()
}

#[test]
fn of_good_evidence() {
    let good = include_str!("reasons/good.txt");
    assert_eq!(lines(&milan_by(GOOD_DRAFT, SAME)), good);
    let draft = Draft::new(fake::Product::Milan, Kind::Vlek);
    let policy = Policy {
        providers: vec![PartyName::parse(fake::PROVIDER).unwrap()],
        ..full_policy(Product::Milan)
    };
    let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
    for (check, expected) in [
        (SnpCheck::IssuerKind, "for vleks of Milan"),
        (SnpCheck::KeyForm, "vlek of Milan"),
        (SnpCheck::KeyKind, "all say vlek"),
        (
            SnpCheck::KeyChip,
            "a vlek is no chip's own; the report names whatever the firmware does",
        ),
        (SnpCheck::ProviderAccepted, fake::PROVIDER),
    ] {
        assert_eq!(reason(&appraisal, check), (Outcome::Pass, expected));
    }
}

#[test]
fn of_nothing() {
    let nothing = SnpEvidence {
        report: &[],
        key: &[],
        issuer: &[],
        root: &[],
        crl: Some(&[]),
    };
    let policy = full_policy(Product::Milan);
    let appraisal = appraise_snp(&nothing, &policy, &Roots::amd(), AT, &mut Chains::new());
    assert_eq!(lines(&appraisal), include_str!("reasons/nothing.txt"));
    assert_eq!(appraisal.claimed(), None);
}

#[test]
fn of_a_report_beside_certificates_that_are_none() {
    let mut built = Draft::new(fake::Product::Milan, Kind::Vcek).build();
    built.key.clear();
    let policy = full_policy(Product::Milan);
    let appraisal = appraise_snp(
        &evidence(&built),
        &policy,
        &roots(Product::Milan),
        AT,
        &mut Chains::new(),
    );
    let (outcome, why) = reason(&appraisal, SnpCheck::TcbLaunch);
    assert_eq!(outcome, Outcome::NotChecked);
    assert_eq!(
        why,
        "the signing key's certificate is malformed, so its product is not known"
    );
    assert_eq!(
        reason(&appraisal, SnpCheck::KeySignature),
        (
            Outcome::NotChecked,
            "the signing key's certificate is malformed"
        )
    );
}

#[test]
fn of_failures() {
    let found: String = FAILURES
        .iter()
        .flat_map(|(change, change_policy)| failed(&milan_by(change, change_policy)))
        .map(|line| line + "\n")
        .collect();
    assert_eq!(found, include_str!("reasons/failures.txt"));
}

type Change = fn(&mut Draft);
type ChangePolicy = fn(&mut Policy);

fn first(draft: &mut Draft, rest: &str) -> usize {
    let oid = format!("1.3.6.1.4.1.3704.1.{rest}");
    let list = &draft.key.extensions;
    list.iter().position(|e| e.oid == oid).unwrap()
}

fn set(draft: &mut Draft, rest: &str, value: Vec<u8>) {
    let place = first(draft, rest);
    draft.key.extensions[place].value = value;
}

fn of_milan(policy: &mut Policy) -> &mut ProductPolicy {
    policy.products.get_mut(&Product::Milan).unwrap()
}

const SAME: ChangePolicy = |_| {};
const GOOD_DRAFT: Change = |_| {};

const FAILURES: &[(Change, ChangePolicy)] = &[
    (|d| d.report.version = 6, SAME),
    (|d| d.report.policy |= 1 << 40, SAME),
    (|d| d.patches.push((0x4d, 7)), SAME),
    (|d| d.report.signature_algo = 2, SAME),
    (|d| d.root.key = Key::rsa(Rsa::Other).spki(), SAME),
    (|d| d.issuer.key = Key::rsa(Rsa::Tpm).spki(), SAME),
    (|d| d.issuer.key = Key::p384(3).spki(), SAME),
    (
        |d| {
            d.issuer.subject = amd_name("SEV-Berlin");
            d.key.issuer = amd_name("SEV-Berlin");
        },
        SAME,
    ),
    (|d| d.key.subject = amd_name("SEV-VCAK"), SAME),
    (|d| d.key.key = Key::p256(3).spki(), SAME),
    (|d| set(d, "2", der::ia5("Rome")), SAME),
    (|d| set(d, "3.1", der::number(300)), SAME),
    (|d| set(d, "3.4", der::number(3)), SAME),
    (|d| set(d, "3.2", vec![]), SAME),
    (|d| set(d, "4", vec![1; 9]), SAME),
    (
        |d| {
            d.key.extensions.push(amd_extension("5", der::ia5("")));
        },
        SAME,
    ),
    (|d| d.key.not_after = 1_768_000_000_000, SAME),
    (|d| d.crl = None, SAME),
    (
        |d| {
            if let Some(crl) = &mut d.crl {
                crl.next_update = Some(1_768_000_000_000);
            }
        },
        SAME,
    ),
    (
        |d| {
            if let Some(crl) = &mut d.crl {
                crl.revoked = vec![(vec![1, 0, 1], 1_768_000_000_000)];
            }
        },
        SAME,
    ),
    (|d| d.report.flags = 7 << 2, SAME),
    (|d| d.report.flags = 1 << 2, SAME),
    (|d| d.report.flags = 2, SAME),
    (|d| set(d, "2", der::ia5("Genoa")), SAME),
    (|d| d.report.processor = [0x1a, 2, 1], SAME),
    (|d| d.report.reported_tcb[7] = 219, SAME),
    (|d| d.report.chip_id = [0; 64], SAME),
    (|d| d.report.chip_id[9] = 0, SAME),
    (|d| d.report_by = Key::p384(9), SAME),
    (GOOD_DRAFT, |p| p.products.clear()),
    (GOOD_DRAFT, |p| {
        let of_milan = ProductPolicy::default();
        p.products = [Product::Genoa, Product::Turin]
            .map(|product| (product, of_milan.clone()))
            .into();
    }),
    (GOOD_DRAFT, |p| p.denied_chips = vec![ChipId([0xc1; 64])]),
    (GOOD_DRAFT, |p| of_milan(p).chips = Some(vec![])),
    (|d| d.report.policy |= 1 << 19, SAME),
    (|d| d.report.policy |= 1 << 18, SAME),
    (|d| d.report.report_id_ma = [0xfe; 32], SAME),
    (GOOD_DRAFT, |p| p.guest_abi = Some((1, 99))),
    (GOOD_DRAFT, |p| {
        p.guest_required = vec![GuestFeature::Aes256];
        p.guest_forbidden = vec![GuestFeature::Smt];
    }),
    (|d| d.report.platform_info = 0x81, SAME),
    (|d| d.report.launch_tcb[3] = 9, SAME),
    (|d| d.report.committed_tcb[0] = 3, SAME),
    (|d| d.report.current_firmware = [1, 58, 1], SAME),
    (|d| d.report.launch_tcb[7] = 1, SAME),
    (|d| d.report.committed_firmware = [1, 58, 1], SAME),
    (|d| d.report.launch_mit_vector = 3, SAME),
    (|d| d.report.vmpl = u32::MAX, SAME),
    (|d| d.report.report_data[1] = 0, SAME),
    (GOOD_DRAFT, |p| p.report_data = Some(ReportData([0; 64]))),
    (|d| d.report.measurement[0] = 0, SAME),
    (|d| d.report.host_data[0] = 0, SAME),
    (|d| d.report.id_key_digest[0] = 0, SAME),
    (GOOD_DRAFT, |p| p.author_keys = Some(vec![])),
    (|d| d.report.image_id[0] = 0, SAME),
    (|d| d.report.guest_svn = 1, SAME),
];

#[test]
fn of_a_provider_that_is_not_accepted() {
    let draft = Draft::new(fake::Product::Milan, Kind::Vlek);
    let [one, other] = ["CN=one", "CN=other"].map(|name| PartyName::parse(name).unwrap());
    for (providers, expected) in [
        (vec![], "none"),
        (vec![one.clone()], "CN=one"),
        (vec![one, other], "CN=one, CN=other"),
    ] {
        let policy = Policy {
            providers,
            ..full_policy(Product::Milan)
        };
        let appraisal = appraise(&draft, &policy, &roots(Product::Milan));
        let why =
            format!("a vlek of \"CN=cc-test.example.com\" signed, the policy accepts {expected}");
        assert_eq!(
            reason(&appraisal, SnpCheck::ProviderAccepted),
            (Outcome::Fail, why.as_str())
        );
    }
}
