use countersign_devices::azure::{Claims, Report, TdReport as Td, jwk, report_data};
use countersign_devices::key::{Key, Rsa};
use proptest::prelude::*;

use super::*;
use crate::captures::{self, AzureCapture};
use crate::tpm::PlainKey;

fn claims() -> Claims {
    Claims::new(&Key::rsa(Rsa::Tpm), &Key::rsa(Rsa::Endorsement))
}

fn snp() -> AzurePolicy {
    AzurePolicy::strict(Hardware::Snp)
}

/// What a machine with these claims presents.
fn machine(change: impl FnOnce(&mut Claims)) -> Vec<u8> {
    let mut claims = claims();
    change(&mut claims);
    Report::snp(&claims.to_json()).to_bytes()
}

fn appraise<'a>(report: &'a [u8], policy: &AzurePolicy) -> AzureAppraisal<'a> {
    let evidence = AzureEvidence {
        report,
        td_quote: None,
    };
    appraise_paravisor(&evidence, policy)
}

fn codes(appraisal: &AzureAppraisal<'_>) -> Vec<&'static str> {
    assert_eq!(
        appraisal
            .checks()
            .iter()
            .map(|it| it.code)
            .collect::<Vec<_>>(),
        AzureCheck::ALL
    );
    appraisal.failures().map(|it| it.code.as_str()).collect()
}

/// The checks that fail. If one does, nothing is verified.
fn failures(report: &[u8], policy: &AzurePolicy) -> Vec<&'static str> {
    let appraisal = appraise(report, policy);
    let codes = codes(&appraisal);
    assert_eq!(appraisal.verified().is_some(), codes.is_empty());
    codes
}

/// The report that a change gives, and why it is none.
fn refusal(change: impl FnOnce(&mut Report)) -> ReportError {
    let mut report = Report::snp(&claims().to_json());
    change(&mut report);
    let bytes = report.to_bytes();
    assert_eq!(failures(&bytes, &snp())[0], "azure.report.structure");
    ParavisorReport::parse(&bytes).unwrap_err()
}

fn claims_refusal(json: &[u8]) -> ClaimsError {
    let mut report = Report::snp(json);
    report.padding.clear();
    let bytes = report.to_bytes();
    assert_eq!(failures(&bytes, &snp()), ["azure.runtime.structure"]);
    RuntimeClaims::parse(json).unwrap_err()
}

fn tdx(report: &Td, quote: Option<&[u8]>) -> Vec<&'static str> {
    let bytes = Report::tdx(report, &claims().to_json()).to_bytes();
    let evidence = AzureEvidence {
        report: &bytes,
        td_quote: quote,
    };
    let appraisal = appraise_paravisor(&evidence, &AzurePolicy::strict(Hardware::Tdx));
    let codes = codes(&appraisal);
    assert_eq!(appraisal.verified().is_some(), codes.is_empty());
    codes
}

fn td() -> Td {
    Td::new(report_data(&claims().to_json()))
}

#[test]
fn a_strict_policy_accepts_a_machine_that_has_everything() {
    let report = machine(|_| {});
    let policy = AzurePolicy {
        user_data: Some([0x5a; 64]),
        machines: VmId::parse("911b0ef8-9dba-48b0-b275-4e4df2d39252").map(|id| vec![id]),
        ..snp()
    };
    let appraisal = appraise(&report, &policy);
    assert_eq!(codes(&appraisal), [""; 0]);
    let verified = appraisal.verified().unwrap();
    let key = PlainKey::rsa(&Key::rsa(Rsa::Tpm).modulus(), 65537).unwrap();
    assert_eq!(verified.attestation_key().key(), &key);
    assert_eq!(
        verified.attestation_key().class(),
        crate::tpm::EvidenceClass::ParavisorTpm
    );
    assert_eq!(verified.parties(), [Party::MicrosoftParavisor]);
    assert_eq!(verified.hardware().bytes(), &report[32..32 + 1184]);
    assert_eq!(
        verified.claims().configuration.vm_unique_id.to_string(),
        "911B0EF8-9DBA-48B0-B275-4E4DF2D39252"
    );
}

#[test]
fn captures_are_bound_and_say_how_their_machines_are_set_up() {
    // Console on in all of them; a TPM that outlives a boot is claimed by none.
    let real = |hardware| AzurePolicy {
        tpm_persisted: Demand::Any,
        console_off: Demand::Any,
        user_data: Some([0; 64]),
        ..AzurePolicy::strict(hardware)
    };
    for AzureCapture {
        name,
        report,
        td_quote,
        ..
    } in captures::azure()
    {
        let evidence = AzureEvidence {
            report: &report,
            td_quote: td_quote.as_deref(),
        };
        let hardware = match td_quote {
            Some(_) => Hardware::Tdx,
            None => Hardware::Snp,
        };
        let appraisal = appraise_paravisor(&evidence, &real(hardware));
        assert_eq!(codes(&appraisal), [""; 0], "{name}");
        let verified = appraisal.verified().unwrap();
        assert!(verified.claims().endorsement_key.is_some(), "{name}");
        let strict = appraise_paravisor(&evidence, &AzurePolicy::strict(hardware));
        assert_eq!(
            codes(&strict),
            ["azure.vm.tpm_persisted", "azure.vm.console"],
            "{name}"
        );
    }
}

#[test]
fn claims_of_2023_are_taken_where_the_policy_says_so() {
    let report = include_bytes!("../../vectors/azure/kinvolk/hcl-report-snp.bin");
    let strict = AzurePolicy {
        tpm_persisted: Demand::Any,
        console_off: Demand::Any,
        ..snp()
    };
    assert_eq!(failures(report, &strict), ["azure.key.operation"]);
    let lenient = AzurePolicy {
        key_operation: KeyOperationPolicy::EncryptToo,
        ..strict
    };
    let appraisal = appraise(report, &lenient);
    assert_eq!(codes(&appraisal), [""; 0]);
    let claims = appraisal.verified().unwrap().claims();
    assert_eq!(claims.configuration.current_time, Some(1_678_652_405));
    assert_eq!((claims.user_data, &claims.endorsement_key), (None, &None));
    let asked = AzurePolicy {
        user_data: Some([0; 64]),
        ..lenient
    };
    assert_eq!(failures(report, &asked), ["azure.user_data"]);
}

#[test]
fn a_captured_tdreport_without_its_quote_proves_nothing() {
    let report = include_bytes!("../../vectors/azure/kinvolk/hcl-report-tdx.bin");
    let policy = AzurePolicy {
        tpm_persisted: Demand::Any,
        console_off: Demand::Any,
        secure_boot: Demand::Any,
        ..AzurePolicy::strict(Hardware::Tdx)
    };
    assert_eq!(failures(report, &policy), ["azure.tdreport.quote"]);
    // Nor does another machine's.
    let other = captures::azure().pop().unwrap().td_quote.unwrap();
    let evidence = AzureEvidence {
        report,
        td_quote: Some(&other),
    };
    let appraisal = appraise_paravisor(&evidence, &policy);
    assert_eq!(codes(&appraisal), ["azure.tdreport.quote"]);
}

#[test]
fn each_field_of_header_and_request_data_has_one_value() {
    let form = |error| matches!(error, ReportError::Form(_));
    assert!(form(refusal(|it| it.signature = *b"HCLB")));
    for version in [0, 3] {
        let error = refusal(|it| it.header_version = version);
        let part = "header";
        assert_eq!(error, ReportError::Version { part, version });
        let error = refusal(|it| it.data_version = version);
        let part = "request data";
        assert_eq!(error, ReportError::Version { part, version });
    }
    for found in [0, 1, 3, 5] {
        let error = refusal(|it| it.report_type = found);
        assert_eq!(error, ReportError::ReportType { found });
    }
    for found in [0, 2, 3, 4, u32::MAX] {
        let error = refusal(|it| it.hash_type = found);
        assert_eq!(error, ReportError::HashType { found });
    }
    assert!(form(refusal(|it| it.request_type = 1)));
    assert!(form(refusal(|it| it.status = 1)));
    let area = "header's reserved field";
    assert_eq!(
        refusal(|it| it.reserved[11] = 1),
        ReportError::NotZero { area }
    );
}

#[test]
fn the_three_lengths_agree() {
    let length = u32::try_from(claims().to_json().len()).unwrap();
    let form = |error| matches!(error, ReportError::Form(_));
    for wrong in [0, 1, length + 19, length + 21, u32::MAX] {
        assert!(form(refusal(|it| it.data_size = Some(wrong))));
        assert!(form(refusal(|it| it.report_size = Some(wrong))));
        assert!(form(refusal(|it| it.variable_size = Some(wrong))));
    }
    // All three longer than the bytes there are.
    assert!(form(refusal(|it| {
        it.variable_size = Some(2000);
        it.data_size = Some(2020);
        it.report_size = Some(2020 + 1216);
    })));
    // The layout of version 2, called version 1: four bytes are no claims.
    assert!(form(refusal(|it| {
        it.data_size = Some(length + 24);
        it.report_size = Some(length + 24 + 1216);
    })));
}

#[test]
fn nothing_but_zeros_follows_and_not_too_many() {
    let area = "padding";
    assert_eq!(
        refusal(|it| it.padding[99] = 1),
        ReportError::NotZero { area }
    );
    let bytes = 2601;
    let padded = |it: &mut Report, bytes: usize| {
        let whole = it.to_bytes().len();
        it.padding = vec![0; it.padding.len() + bytes - whole];
    };
    let error = refusal(|it| padded(it, bytes));
    assert_eq!(error, ReportError::TooLong { bytes });
    let mut longest = Report::snp(&claims().to_json());
    padded(&mut longest, bytes - 1);
    assert_eq!(failures(&longest.to_bytes(), &snp()), [""; 0]);
    let mut report = Report::snp(&claims().to_json());
    report.padding.clear();
    assert_eq!(failures(&report.to_bytes(), &snp()), [""; 0]);
}

#[test]
fn request_data_of_version_2_have_four_bytes_more() {
    let mut report = Report::snp(&claims().to_json());
    report.data_version = 2;
    report.capabilities = 3;
    let bytes = report.to_bytes();
    assert_eq!(failures(&bytes, &snp()), [""; 0]);
    let parsed = ParavisorReport::parse(&bytes).unwrap();
    assert_eq!((parsed.data_version(), parsed.capabilities()), (2, Some(3)));
    assert_eq!(parsed.claims(), claims().to_json());
}

#[test]
fn a_report_of_other_hardware_than_the_policy_names_is_refused() {
    let report = machine(|_| {});
    let policy = AzurePolicy::strict(Hardware::Tdx);
    assert_eq!(failures(&report, &policy), ["azure.report.hardware"]);
}

#[test]
fn a_tdx_quote_beside_a_report_of_sev_snp_is_refused() {
    let report = machine(|_| {});
    let evidence = AzureEvidence {
        report: &report,
        td_quote: Some(&[]),
    };
    let appraisal = appraise_paravisor(&evidence, &snp());
    assert_eq!(codes(&appraisal), ["azure.tdreport.quote"]);
    assert!(appraisal.verified().is_none());
}

#[test]
fn claims_that_the_hardware_does_not_name_are_refused() {
    let mut report = Report::snp(&claims().to_json());
    let mut other = claims();
    other.user_data = Some("00".repeat(64));
    report.claims = other.to_json();
    assert_eq!(
        failures(&report.to_bytes(), &snp()),
        ["azure.runtime.binding"]
    );
}

#[test]
fn report_data_after_the_hash_are_zero() {
    for at in [0x70, 0x8f] {
        let mut report = Report::snp(&claims().to_json());
        report.hardware[at] = 1;
        assert_eq!(
            failures(&report.to_bytes(), &snp()),
            ["azure.runtime.binding"]
        );
    }
}

#[test]
fn claims_without_exactly_one_attestation_key_are_refused() {
    let (kid, tpm) = ("HCLAkPub", Key::rsa(Rsa::Tpm));
    let mut none = claims();
    none.keys.remove(0);
    let count = 0;
    assert_eq!(
        claims_refusal(&none.to_json()),
        ClaimsError::Keys { kid, count }
    );
    let mut two = claims();
    two.keys[1] = jwk(kid, "sign", &Key::rsa(Rsa::Endorsement));
    let count = 2;
    assert_eq!(
        claims_refusal(&two.to_json()),
        ClaimsError::Keys { kid, count }
    );
    let mut more = claims();
    more.keys[1] = jwk("HCLTransferKey", "encrypt", &tpm);
    assert_eq!(claims_refusal(&more.to_json()), ClaimsError::UnknownKey);
}

#[test]
fn an_attestation_key_of_another_kind_is_refused() {
    let mut long = claims();
    long.keys = vec![jwk("HCLAkPub", "sign", &Key::rsa(Rsa::Other))];
    assert!(matches!(
        claims_refusal(&long.to_json()),
        ClaimsError::KeyLength { .. }
    ));
    let good = jwk("HCLAkPub", "sign", &Key::rsa(Rsa::Tpm));
    for (from, to) in [
        ("AQAB", "Aw"),
        ("AQAB", "AAEAAQ"),
        ("AQAB", "AQAB="),
        ("AQAB", "AQEBAQEBAQEB"),
        // Nine bytes, of which the last eight are 65537.
        ("AQAB", "AQAAAAAAAQAB"),
        ("\"RSA\"", "\"EC\""),
        ("[\"sign\"]", "[\"sign\",\"verify\"]"),
        ("[\"sign\"]", "[]"),
        ("[\"sign\"]", "\"sign\""),
        ("[\"sign\"]", "[\"wrapKey\"]"),
        ("\"kty\"", "\"alg\":\"RS256\",\"kty\""),
        ("\"n\":\"", "\"n\":\"AA"),
        ("\"n\":\"", "\"n\":\"+"),
        ("\"e\":\"AQAB\",", ""),
    ] {
        let mut wrong = claims();
        wrong.keys[0] = good.replacen(from, to, 1);
        claims_refusal(&wrong.to_json());
    }
}

#[test]
fn claims_that_are_malformed_are_refused() {
    let good = String::from_utf8(claims().to_json()).unwrap();
    for (from, to) in [
        ("\"secure-boot\":true", "\"secure-boot\":\"true\""),
        (
            "\"secure-boot\":true",
            "\"secure-boot\":true,\"secure-boot\":true",
        ),
        ("\"tpm-persisted\":true", "\"tpm-persisted\":1"),
        ("\"secure-boot\":true,", ""),
        ("\"tpm-enabled\":true,", ""),
        ("\"console-enabled\":false,", ""),
        ("911B0EF8-", "911B0EF8"),
        ("911B0EF8-", "911B0EG8-"),
        ("911B0EF8-9DBA", "911B0EF-89DBA"),
        ("5a5a", "5a5"),
        ("5a5a", "5x5a"),
        ("5a5a", ""),
        ("\"user-data\":\"", "\"user-data\":0,\"x\":\""),
        (
            "\"root-cert-thumbprint\":\"x\"",
            "\"root-cert-thumbprint\":{}",
        ),
        ("\"vm-configuration\"", "\"vm-config\""),
    ] {
        assert!(good.contains(from), "{from}");
        claims_refusal(good.replacen(from, to, 1).as_bytes());
    }
    claims_refusal(b"");
    claims_refusal(format!("{good}x").as_bytes());
}

#[test]
fn a_member_that_is_not_known_has_to_be_accepted_by_name() {
    let new = |it: &mut Claims| it.configure("peek-allowed", Some("true"));
    let report = machine(new);
    assert_eq!(failures(&report, &snp()), ["azure.runtime.members"]);
    let policy = AzurePolicy {
        accepted_members: vec!["peek-allowed".into()],
        ..snp()
    };
    assert_eq!(failures(&report, &policy), [""; 0]);
    let beside = machine(|it| it.more.push(("other".into(), "0".into())));
    assert_eq!(failures(&beside, &policy), ["azure.runtime.members"]);
}

#[test]
fn members_of_newer_paravisors_are_known() {
    let report = machine(|it| {
        it.configure("interactive-console-enabled", Some("false"));
        it.configure("filtered-vpci-devices-allowed", Some("true"));
    });
    let appraisal = appraise(&report, &snp());
    assert_eq!(codes(&appraisal), [""; 0]);
    let found = &appraisal.verified().unwrap().claims().configuration;
    assert_eq!(found.interactive_console_enabled, Some(false));
    assert_eq!(found.filtered_vpci_devices_allowed, Some(true));
}

#[test]
fn an_attestation_key_that_is_said_to_encrypt_is_refused() {
    let report = machine(|it| it.keys[0] = it.keys[0].replace("sign", "encrypt"));
    assert_eq!(failures(&report, &snp()), ["azure.key.operation"]);
}

#[test]
fn other_bytes_of_the_guest_are_refused_whole() {
    for at in [0, 63] {
        let mut expected = [0x5a; 64];
        expected[at] ^= 1;
        let policy = AzurePolicy {
            user_data: Some(expected),
            ..snp()
        };
        assert_eq!(failures(&machine(|_| {}), &policy), ["azure.user_data"]);
    }
    let silent = machine(|it| it.user_data = None);
    let policy = AzurePolicy {
        user_data: Some([0; 64]),
        ..snp()
    };
    assert_eq!(failures(&silent, &policy), ["azure.user_data"]);
}

#[test]
fn a_machine_that_is_not_named_is_refused_and_an_empty_list_names_none() {
    let report = machine(|_| {});
    for machines in [vec![], vec![VmId([0; 16])]] {
        let policy = AzurePolicy {
            machines: Some(machines),
            ..snp()
        };
        assert_eq!(failures(&report, &policy), ["azure.vm.id"]);
    }
}

#[test]
fn each_setting_that_is_asked_for_has_to_be_so() {
    for (name, bad, code) in [
        ("tpm-enabled", Some("false"), "azure.vm.tpm"),
        ("tpm-persisted", Some("false"), "azure.vm.tpm_persisted"),
        ("tpm-persisted", None, "azure.vm.tpm_persisted"),
        ("secure-boot", Some("false"), "azure.vm.secure_boot"),
        ("console-enabled", Some("true"), "azure.vm.console"),
    ] {
        let report = machine(|it| it.configure(name, bad));
        assert_eq!(failures(&report, &snp()), [code], "{name}");
    }
}

#[test]
fn what_nobody_asks_is_not_checked_and_says_what_was_found() {
    let report = machine(|it| it.configure("secure-boot", Some("false")));
    let policy = AzurePolicy {
        secure_boot: Demand::Any,
        ..snp()
    };
    let appraisal = appraise(&report, &policy);
    assert!(appraisal.verified().is_some());
    let check = appraisal
        .checks()
        .iter()
        .find(|it| it.code == AzureCheck::SecureBoot)
        .unwrap();
    assert_eq!(
        (check.outcome, check.reason.as_str()),
        (Outcome::NotChecked, "nobody asks; secure-boot is false")
    );
}

#[test]
fn an_open_policy_asks_nothing_of_how_a_machine_is_set_up() {
    let report = machine(|it| {
        it.keys[0] = it.keys[0].replace("sign", "encrypt");
        it.configure("tpm-persisted", None);
        it.configure("secure-boot", Some("false"));
        it.configure("console-enabled", Some("true"));
    });
    assert_eq!(
        failures(&report, &AzurePolicy::open(Hardware::Snp)),
        [""; 0]
    );
}

#[test]
fn the_page_names_every_check_that_is_a_rule() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/spec/azure.md");
    let page = std::fs::read_to_string(page).unwrap();
    let line = page.lines().find(|it| it.starts_with("**Rules**")).unwrap();
    let named: Vec<&str> = line.split('`').skip(1).step_by(2).collect();
    let rules = AzureCheck::ALL.iter().filter(|code| code.is_rule());
    assert_eq!(named, rules.map(|code| code.as_str()).collect::<Vec<_>>());
}

#[test]
fn a_tdreport_is_accepted_with_a_quote_of_each_version() {
    for (version, body) in [(4, 0), (5, 2), (5, 3)] {
        assert_eq!(tdx(&td(), Some(&td().to_quote(version, body))), [""; 0]);
    }
}

#[test]
fn a_tdreport_of_another_form_is_refused() {
    type Change = fn(&mut Td);
    let changes: [Change; 11] = [
        |it| it.kind[0] = 0,
        |it| it.kind[1] = 1,
        |it| it.kind[3] = 1,
        |it| it.reserved.0[0] = 1,
        |it| it.reserved.1[31] = 1,
        |it| it.between[16] = 1,
        |it| it.tcb_hash = Some([0; 48]),
        |it| it.info_hash = Some([0; 48]),
        |it| it.tcb_info[144] = 1,
        |it| it.td_info[448] = 1,
        |it| it.td_info[511] = 1,
    ];
    for change in changes {
        let mut report = td();
        let quote = report.to_quote(5, 3);
        change(&mut report);
        assert_eq!(tdx(&report, Some(&quote)), ["azure.tdreport.structure"]);
    }
    let mut report = Report::tdx(&td(), &claims().to_json());
    report.hardware.resize(1184, 0);
    report.hardware[1183] = 1;
    let area = "rest of the hardware report's area";
    assert_eq!(
        ParavisorReport::parse(&report.to_bytes()),
        Err(ReportError::NotZero { area })
    );
}

#[test]
fn every_bit_of_a_quotes_body_has_to_repeat_the_tdreport() {
    let report = td();
    let bytes: [u8; 1024] = report.to_bytes().try_into().unwrap();
    let parsed = TdReport::parse(&bytes).unwrap();
    for (version, body, head) in [(4, 0, 48), (5, 2, 54), (5, 3, 54)] {
        let good = report.to_quote(version, body);
        assert!(parsed.is_quoted(&good).is_ok());
        for bit in head * 8..good.len() * 8 {
            let mut quote = good.clone();
            quote[bit / 8] ^= 1 << (bit % 8);
            assert!(parsed.is_quoted(&quote).is_err(), "bit {bit}");
        }
        for length in 0..good.len() {
            assert!(parsed.is_quoted(&good[..length]).is_err());
        }
    }
}

#[test]
fn a_quote_of_another_version_or_body_is_refused() {
    let good = td().to_quote(5, 3);
    for (at, to) in [(0, 3), (0, 6), (48, 1), (48, 4), (50, 0)] {
        let mut quote = good.clone();
        quote[at] = to;
        assert_eq!(tdx(&td(), Some(&quote)), ["azure.tdreport.quote"]);
    }
}

/// Bytes of a report that neither hash nor fixed value covers here: the hardware's report, which is signed
/// by the hardware and for `snp` to verify. Of TDX: CPUSVN and MAC, which no quote repeats.
fn left_to_others(hardware: Hardware, at: usize) -> bool {
    match hardware {
        Hardware::Snp => (32..32 + 1184).contains(&at) && !(0x70..0xb0).contains(&at),
        Hardware::Tdx => (32 + 16..32 + 32).contains(&at) || (32 + 224..32 + 256).contains(&at),
    }
}

#[test]
fn every_single_bit_of_a_captured_report_is_refused_or_the_hardwares() {
    for AzureCapture {
        name,
        report,
        td_quote,
        ..
    } in captures::azure()
    {
        let hardware = match td_quote {
            Some(_) => Hardware::Tdx,
            None => Hardware::Snp,
        };
        let policy = AzurePolicy {
            tpm_persisted: Demand::Any,
            console_off: Demand::Any,
            ..AzurePolicy::strict(hardware)
        };
        for bit in 0..report.len() * 8 {
            let mut changed = report.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            let evidence = AzureEvidence {
                report: &changed,
                td_quote: td_quote.as_deref(),
            };
            let holds = appraise_paravisor(&evidence, &policy).verified().is_some();
            assert_eq!(
                holds,
                left_to_others(hardware, bit / 8),
                "{name}: bit {bit}"
            );
        }
    }
}

#[test]
fn a_report_cut_at_any_length_is_refused_unless_only_padding_is_gone() {
    let report = machine(|_| {});
    let claims_end = report.len() - 100;
    for length in 0..report.len() {
        let holds = appraise(&report[..length], &snp()).verified().is_some();
        assert_eq!(holds, length >= claims_end, "{length} bytes");
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes: Vec<u8>, quote: Vec<u8>) {
        let evidence = AzureEvidence { report: &bytes, td_quote: Some(&quote) };
        prop_assert!(appraise_paravisor(&evidence, &snp()).verified().is_none());
    }

    #[test]
    fn no_claims_make_it_panic(text in "\\PC*", keep: prop::sample::Index, changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..5)) {
        let _ = RuntimeClaims::parse(text.as_bytes());
        let mut json = claims().to_json();
        for (at, value) in changes {
            let at = at.index(json.len());
            json[at] = value;
        }
        let _ = RuntimeClaims::parse(&json);
        let cut = keep.index(json.len());
        prop_assert!(RuntimeClaims::parse(&json[..cut]).is_err());
    }
}
