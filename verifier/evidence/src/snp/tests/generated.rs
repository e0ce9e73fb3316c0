//! Cases of `vectors/snp/generated.json`: under a root of their own, made by another program.
//!
//! Genuinely signed ones in which one thing alone is wrong are in `refused`.

use serde_json::Value;

use super::*;

fn cases() -> Value {
    serde_json::from_str(include_str!("../../../vectors/snp/generated.json")).unwrap()
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value[key].as_str().unwrap()
}

/// The check that refuses a case.
fn expected(name: &str) -> &'static [&'static str] {
    match name {
        "valid" | "valid-vlek" | "crl-clean" => &[],
        "debug-policy" => &["snp.guest.debug"],
        "migrate-ma" => &["snp.guest.migration"],
        "policy-bit17-zero" => &["snp.report.reserved"],
        "vmpl3" => &["snp.vmpl"],
        "report-data-unbound" => &["snp.report.data"],
        "wrong-chip" => &["snp.key.chip"],
        "tcb-reported-below-committed" | "below-minimum-tcb" => &["snp.tcb.reported"],
        "bad-signature" | "tampered-measurement" => &["snp.report.signature"],
        "signer-none" => &["snp.key.kind"],
        "sigalgo-0" => &["snp.report.algorithm"],
        "vcek-wrong-issuer-key" => &["snp.key.signature"],
        "expired-vcek" | "not-yet-valid-vcek" => &["snp.chain.validity"],
        "unknown-family" => &["snp.key.product"],
        "version-1" | "version-6" | "all-zero-report" | "all-ff-report" => &["snp.report.version"],
        "truncated" | "trailing-byte" => &["snp.report.structure"],
        "revoked-ask" => &["snp.chain.revocation"],
        other => panic!("case {other} has no expected check"),
    }
}

#[test]
fn every_generated_case_gets_its_verdict_from_the_check_that_it_is_about() {
    let cases = cases();
    let pin = hex::decode(text(&cases, "pin_ark_spki_sha384")).unwrap();
    let roots = Roots::of(vec![Root {
        product: Product::Milan,
        key: SpkiDigest(pin.try_into().unwrap()),
    }]);
    let at = Moment::of_seconds(cases["now"].as_u64().unwrap());
    let min = |part: &str| u8::try_from(cases["min_tcb"][part].as_u64().unwrap()).unwrap();
    let floor = Tcb {
        fmc: None,
        bootloader: min("bl"),
        tee: min("tee"),
        snp: min("snp"),
        microcode: min("ucode"),
    };
    let list = cases["cases"].as_array().unwrap();
    let file = |key: &str| hex::decode(text(&cases["files"], key)).unwrap();
    let valid = file(text(&list[0], "report"));
    let policy = Policy {
        providers: vec![PartyName::parse("fake-csp").unwrap()],
        revocation: Requirement::Optional,
        ..Policy::strict(
            ReportData(valid[0x50..0x90].try_into().unwrap()),
            BTreeMap::from([(
                Product::Milan,
                ProductPolicy {
                    floor: Some(floor),
                    ..ProductPolicy::default()
                },
            )]),
        )
    };
    let mut migration = 0;
    for case in list {
        let name = text(case, "name");
        let crl = case["crl"].as_str().map(file);
        let [report, key, issuer, root] =
            ["report", "key", "issuer", "root"].map(|part| file(text(case, part)));
        let evidence = SnpEvidence {
            report: &report,
            key: &key,
            issuer: &issuer,
            root: &root,
            crl: crl.as_deref(),
        };
        let appraisal = appraise_snp(&evidence, &policy, &roots, at, &mut Chains::new());
        let is_report = Report::parse(&report).is_ok_and(|r| *r.report_id_ma() == [0; 32]);
        let mut found = codes(&appraisal);
        // Whoever made these left the migration agent's identity zero, where real firmware writes ones if
        // there is none. So that is refused in all of them, rightly, and each is judged by the rest.
        if is_report && name != "migrate-ma" {
            assert!(found.contains(&"snp.guest.migration"), "{name}");
            assert_eq!(appraisal.verified(), None, "{name}");
            found.retain(|code| *code != "snp.guest.migration");
        }
        let expected = expected(name);
        assert_eq!(expected.is_empty(), text(case, "expect") == "accept");
        assert_eq!(found.is_empty(), expected.is_empty(), "{name}: {found:?}");
        assert!(
            expected.iter().all(|e| found.contains(e)),
            "{name}: {found:?}"
        );
        if name == "migrate-ma" {
            let allowed = "the guest policy is 0x70000: a migration agent may have the guest";
            let expected = (Outcome::Fail, allowed);
            assert_eq!(reason(&appraisal, SnpCheck::GuestMigration), expected);
            migration += 1;
        }
        let under_amd = appraise_snp(&evidence, &policy, &Roots::amd(), at, &mut Chains::new());
        assert!(codes(&under_amd).contains(&"snp.root.pinned"), "{name}");
    }
    assert_eq!((list.len(), migration), (26, 1));
}
