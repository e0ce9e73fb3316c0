//! Quotes of real platforms, at their own time and later.

use super::*;
use crate::eventlog::CcLog;

macro_rules! vector {
    ($path:literal) => {
        include_bytes!(concat!("../../../vectors/tdx/", $path)).as_slice()
    };
}

fn at(date: &str) -> Moment {
    let days = |y: u64, m: usize, d: u64| {
        let before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
        let leap = (y - 1969) / 4 + u64::from(y.is_multiple_of(4) && m > 2);
        (y - 1970) * 365 + leap + before[m - 1] + d - 1
    };
    let mut parts = date.split('-').map(|part| part.parse::<u64>().unwrap());
    let (y, m, d) = (
        parts.next().unwrap(),
        parts.next().unwrap(),
        parts.next().unwrap(),
    );
    Moment(days(y, usize::try_from(m).unwrap(), d) * fake::DAY)
}

/// As strict as a policy can be that is of a real server: what it is configured as is tolerated, and its
/// report data are taken from the manifest of captures, which are the quote's own.
pub(super) fn capture(quote: &[u8], collateral: Option<&[u8]>, date: &str) -> Case {
    let quote = without_padding(quote).unwrap_or(quote).to_vec();
    let length = if quote.first() == Some(&5) { 54 } else { 48 };
    let report_data: [u8; 64] = quote[length + 520..length + 584].try_into().unwrap();
    Case {
        quote,
        collateral: collateral.map(|json| Collateral::from_json(json).unwrap()),
        event_log: None,
        policy: Policy {
            flags: Flags::ANY,
            evaluation_floor: Some(15),
            ..Policy::strict(ReportData(report_data))
        },
        roots: Roots::intel(),
        at: at(date),
    }
}

#[test]
fn a_quote_of_version_4_holds_at_its_time_and_neither_before_nor_after() {
    let (quote, said) = (
        vector!("dcap-qvl/tdx_quote"),
        vector!("dcap-qvl/tdx_quote_collateral.json"),
    );
    let case = capture(quote, Some(said), "2025-06-25");
    let appraisal = case.appraise();
    let verified = appraisal
        .verified()
        .unwrap_or_else(|| panic!("{}", print(&appraisal)));
    assert_eq!(verified.tcb().status, TcbStatus::UpToDate);
    assert_eq!(verified.tcb().advisories, [""; 0]);
    assert_eq!(verified.platform().fmspc().to_string(), "b0c06f000000");
    assert_eq!(verified.platform().flags().smt, Some(true));
    let stale = [
        "tdx.pckcrl.validity",
        "tdx.tcbinfo.validity",
        "tdx.qeidentity.validity",
    ];
    assert_eq!(
        failed(&capture(quote, Some(said), "2025-06-19").appraise()),
        stale
    );
    assert_eq!(
        failed(&capture(quote, Some(said), "2025-07-20").appraise()),
        stale
    );
}

#[test]
fn another_quote_of_version_4_holds_where_its_configuration_is_named() {
    let (quote, said) = (
        vector!("dcap-qvl/near_quote.bin"),
        vector!("dcap-qvl/near_quote_collateral.json"),
    );
    let case = capture(quote, Some(said), "2025-09-10");
    assert_eq!(failed(&case.appraise()), ["tdx.td.configid"]);
    let configuration = case.appraise().claimed().unwrap().body().mrconfigid();
    let case = case.asking(|policy| policy.mrconfigid = Some(vec![configuration]));
    let appraisal = case.appraise();
    let verified = appraisal
        .verified()
        .unwrap_or_else(|| panic!("{}", print(&appraisal)));
    assert_eq!(verified.tcb().status, TcbStatus::UpToDate);
    let later = Case {
        at: at("2026-02-01"),
        ..case
    };
    let stale = [
        "tdx.pckcrl.validity",
        "tdx.tcbinfo.validity",
        "tdx.qeidentity.validity",
    ];
    assert_eq!(failed(&later.appraise()), stale);
}

#[test]
fn a_quote_of_version_5_of_an_old_platform_reaches_no_level() {
    let (quote, said) = (
        vector!("dcap-qvl/tdx_quote_outdated"),
        vector!("dcap-qvl/tdx_quote_outdated_collateral.json"),
    );
    let appraisal = capture(quote, Some(said), "2026-02-25").appraise();
    assert_eq!(
        failed(&appraisal),
        ["tdx.platform.tcb"],
        "{}",
        print(&appraisal)
    );
    let body = *appraisal.claimed().unwrap().body();
    assert_eq!(
        body.later().unwrap().tee_tcb_svn_2.to_string(),
        format!("0d0103{:026}", 0)
    );
    let why = reason(&appraisal, TdxCheck::PlatformTcb);
    assert!(
        why.contains("components 03030202040100030000000000000000 with pcesvn 13"),
        "{why}"
    );
}

/// Behind this quote stands a sentence, which its publisher added.
fn early() -> &'static [u8] {
    let file = vector!("google/tdx_prod_quote_SPR_E4.dat");
    let (quote, sentence) = file.split_at(file.len() - 39);
    assert!(sentence.starts_with(b"\nextra bytes"));
    quote
}

#[test]
fn a_quote_of_an_early_platform_reaches_no_level_and_may_get_faults() {
    let said = vector!("google/tdx_prod_quote_SPR_E4.collateral.json");
    let appraisal = capture(early(), Some(said), "2023-06-20").appraise();
    let expected = ["tdx.td.septve", "tdx.td.features", "tdx.platform.tcb"];
    assert_eq!(failed(&appraisal), expected, "{}", print(&appraisal));
    assert!(reason(&appraisal, TdxCheck::TdFeatures).contains("PKS"));
}

#[test]
fn bytes_behind_a_quote_are_refused() {
    let file = vector!("google/tdx_prod_quote_SPR_E4.dat");
    assert_eq!(
        without_padding(file),
        Err(PaddingError::NotZero { count: 39 })
    );
    let said = vector!("google/tdx_prod_quote_SPR_E4.collateral.json");
    let appraisal = capture(file, Some(said), "2023-06-20").appraise();
    assert!(failed(&appraisal).contains(&"tdx.quote.form"));
}

#[test]
fn answers_of_intels_service_are_the_collateral_that_another_tool_assembled() {
    let json = Collateral::from_json(vector!("google/tdx_prod_quote_SPR_E4.collateral.json"));
    let json = json.unwrap();
    let escaped = String::from_utf8(json.tcb_info_chain.clone()).unwrap();
    let escaped = escaped
        .replace('\n', "%0A")
        .replace(' ', "%20")
        .replace('=', "%3D");
    let answers = PcsAnswers {
        tcb_info: vector!("google/sample_tcbInfo_response"),
        tcb_info_chain: escaped.as_bytes(),
        qe_identity: vector!("google/sample_qeIdentity_response"),
        qe_identity_chain: &json.qe_identity_chain,
        pck_crl: vector!("google/pckcrl"),
        root_crl: vector!("google/rootcrl.der"),
    };
    assert_eq!(Collateral::from_pcs(answers).unwrap(), json);
}

/// The service's answers do not carry chains; every statement of a year has the same.
fn answered(tcb_info: &'static [u8], identity: &'static [u8], lists: &'static [u8]) -> Collateral {
    let lists = Collateral::from_json(lists).unwrap();
    let answers = PcsAnswers {
        tcb_info,
        tcb_info_chain: &lists.tcb_info_chain,
        qe_identity: identity,
        qe_identity_chain: &lists.qe_identity_chain,
        pck_crl: &lists.pck_crl,
        root_crl: &lists.root_crl,
    };
    Collateral::from_pcs(answers).unwrap()
}

#[test]
fn a_quote_with_a_list_of_the_month_before_is_refused_for_that_alone() {
    let mut case = capture(vector!("trustee/tdx_quote_6.dat"), None, "2025-11-01");
    case.collateral = Some(answered(
        vector!("trustee/tcbInfo.json"),
        vector!("trustee/enclaveIdentity.json"),
        vector!("dcap-qvl/near_quote_collateral.json"),
    ));
    let configuration = case.appraise().claimed().unwrap().body().mrconfigid();
    let case = case.asking(|policy| {
        policy.mrconfigid = Some(vec![configuration]);
        policy.statuses = vec![TcbStatus::OutOfDate];
    });
    let appraisal = case.appraise();
    assert_eq!(
        failed(&appraisal),
        ["tdx.pckcrl.validity"],
        "{}",
        print(&appraisal)
    );
}

#[test]
fn tcb_info_of_another_day_says_the_same_of_an_old_platform() {
    let quote = vector!("dcap-qvl/tdx_quote_outdated");
    let said = vector!("dcap-qvl/tdx_quote_outdated_collateral.json");
    let mut case = capture(quote, Some(said), "2026-02-25");
    let other = answered(
        vector!("google/sample_tcbinfo_response_v5"),
        vector!("google/sample_qeIdentity_response"),
        said,
    );
    let collateral = case.collateral.as_mut().unwrap();
    collateral.tcb_info = other.tcb_info;
    collateral.tcb_info_signature = other.tcb_info_signature;
    let appraisal = case.appraise();
    assert_eq!(
        failed(&appraisal),
        ["tdx.platform.tcb"],
        "{}",
        print(&appraisal)
    );
}

#[test]
fn a_trust_domain_that_can_be_debugged_is_refused_for_that_alone() {
    let (quote, said) = (
        vector!("trustee/tdx_quote_4.dat"),
        vector!("google/tdx_prod_quote_SPR_E4.collateral.json"),
    );
    let appraisal = capture(quote, Some(said), "2023-06-20").appraise();
    assert_eq!(
        failed(&appraisal),
        ["tdx.td.debug"],
        "{}",
        print(&appraisal)
    );
}

#[test]
fn without_collateral_every_quote_holds_up_to_it() {
    for (quote, date) in [
        (vector!("dcap-qvl/near_quote.bin"), "2025-11-01"),
        (vector!("google/ccel/cos-113-tdx-quote.dat"), "2025-09-30"),
        (vector!("trustee/tdx_quote_6.dat"), "2025-11-01"),
        (vector!("azure/td-quote.bin"), "2025-09-30"),
    ] {
        let case = capture(quote, None, date).asking(|policy| {
            policy.mrconfigid = None;
            policy.sept_ve = SeptVe::AzureParavisor;
        });
        let appraisal = case.appraise();
        let zero = case.policy.report_data == Some(ReportData::ZERO);
        let expected: &[&str] = match zero {
            true => &["tdx.td.reportdata", "tdx.collateral.present"],
            false => &["tdx.collateral.present"],
        };
        assert_eq!(failed(&appraisal), expected, "{}", print(&appraisal));
        for code in [
            TdxCheck::QuoteSignature,
            TdxCheck::QeSignature,
            TdxCheck::PckChain,
        ] {
            assert_eq!(outcome(&appraisal, code), Outcome::Pass);
        }
    }
}

#[test]
fn a_trust_domain_with_a_service_domain_is_refused() {
    let appraisal = capture(vector!("trustee/tdx_quote_5.dat"), None, "2025-11-01").appraise();
    let expected = ["tdx.td.servicetd", "tdx.collateral.present"];
    assert_eq!(failed(&appraisal), expected, "{}", print(&appraisal));
}

#[test]
fn quotes_in_hexadecimal_digits_hold_up_to_their_collateral() {
    for text in [
        vector!("dcap-qvl/tdx-quote.hex"),
        vector!("dcap-qvl/quote-from-tappd.hex"),
    ] {
        let text = core::str::from_utf8(text).unwrap().trim();
        let quote = hex::decode(text.trim_start_matches("0x")).unwrap();
        let appraisal = capture(&quote, None, "2024-12-01").appraise();
        assert_eq!(
            failed(&appraisal),
            ["tdx.collateral.present"],
            "{}",
            print(&appraisal)
        );
    }
}

#[test]
fn azures_quote_needs_the_option_that_names_its_paravisor() {
    let quote = vector!("azure/td-quote.bin");
    let strict = capture(quote, None, "2025-09-30");
    let expected = ["tdx.td.septve", "tdx.collateral.present"];
    assert_eq!(failed(&strict.appraise()), expected);
    let azure = strict.asking(|policy| policy.sept_ve = SeptVe::AzureParavisor);
    assert_eq!(failed(&azure.appraise()), ["tdx.collateral.present"]);
}

#[test]
fn a_quote_of_an_enclave_is_none_of_a_trust_domain() {
    let (quote, said) = (
        vector!("dcap-qvl/sgx_quote"),
        vector!("dcap-qvl/sgx_quote_collateral.json"),
    );
    let mut case = capture(vector!("dcap-qvl/tdx_quote"), Some(said), "2025-06-25");
    case.quote = quote.to_vec();
    let appraisal = case.appraise();
    let expected = [
        "tdx.quote.header",
        "tdx.quote.version",
        "tdx.quote.tee",
        "tdx.tcbinfo.id",
        "tdx.qeidentity.id",
    ];
    assert_eq!(failed(&appraisal), expected, "{}", print(&appraisal));
}

#[test]
fn collateral_of_another_platform_is_refused() {
    let (quote, said) = (
        vector!("dcap-qvl/tdx_quote"),
        vector!("dcap-qvl/tdx_quote_outdated_collateral.json"),
    );
    let appraisal = capture(quote, Some(said), "2026-02-25").appraise();
    assert!(
        failed(&appraisal).contains(&"tdx.tcbinfo.fmspc"),
        "{}",
        print(&appraisal)
    );
}

#[test]
fn old_collateral_is_refused_by_a_floor() {
    let (quote, said) = (
        vector!("dcap-qvl/tdx_quote"),
        vector!("dcap-qvl/tdx_quote_collateral.json"),
    );
    let case = capture(quote, Some(said), "2025-06-25");
    let case = case.asking(|policy| policy.evaluation_floor = Some(18));
    let expected = ["tdx.tcbinfo.evaluation", "tdx.qeidentity.evaluation"];
    assert_eq!(failed(&case.appraise()), expected);
}

#[test]
fn padding_is_taken_off_and_refused_where_it_stands() {
    for (quote, padding) in [
        (vector!("dcap-qvl/tdx_quote"), 70),
        (vector!("google/ccel/cos-113-tdx-quote.dat"), 3065),
        (vector!("trustee/tdx_quote_5.dat"), 0),
    ] {
        let exact = without_padding(quote).unwrap();
        assert_eq!(exact.len() + padding, quote.len());
        assert_eq!(without_padding(exact), Ok(exact));
        let mut case = capture(quote, None, "2025-06-25");
        assert!(!failed(&case.appraise()).contains(&"tdx.quote.form"));
        case.quote = quote.to_vec();
        let refused = failed(&case.appraise()).contains(&"tdx.quote.form");
        assert_eq!(refused, padding > 0);
    }
}

#[test]
fn a_log_of_google_leads_to_the_registers_of_its_quote_and_to_no_other() {
    let quote = vector!("google/ccel/cos-113-tdx-quote.dat");
    let mut case = capture(quote, None, "2025-09-30");
    case.event_log = Some(vector!("google/ccel/ccel_data.dat").to_vec());
    let appraisal = case.appraise();
    assert_eq!(outcome(&appraisal, TdxCheck::EventLogForm), Outcome::Pass);
    assert_eq!(outcome(&appraisal, TdxCheck::EventLogReplay), Outcome::Pass);
    case.event_log = Some(vector!("trustee/CCEL_data_ovmf").to_vec());
    assert!(failed(&case.appraise()).contains(&"tdx.eventlog.replay"));
    case.event_log = Some(vector!("google/ccel/ccel_table.dat").to_vec());
    assert!(failed(&case.appraise()).contains(&"tdx.eventlog.form"));
}

#[test]
fn a_log_of_another_machine_does_not_explain_a_quote() {
    let mut case = capture(vector!("trustee/tdx_quote_4.dat"), None, "2023-06-20");
    case.event_log = Some(vector!("trustee/CCEL_data_ovmf").to_vec());
    assert!(failed(&case.appraise()).contains(&"tdx.eventlog.replay"));
}

#[test]
fn logs_of_real_trust_domains_are_replayed() {
    for log in [
        vector!("google/ccel/ccel_data.dat"),
        vector!("trustee/CCEL_data_ovmf"),
        vector!("ccel/CCEL_AAEL_alibabacloud"),
        vector!("ccel/CCEL_unpadded.data.bin"),
        vector!("ccel/cos-113-intel-tdx-dupe-separator-unpadded.bin"),
        vector!("ccel/event_log.bin"),
    ] {
        let log = CcLog::parse(log);
        assert!(log.is_ok(), "{log:?}");
    }
}

#[test]
fn the_pinned_root_is_the_certificate_that_every_capture_carries() {
    let said = Collateral::from_json(vector!("dcap-qvl/tdx_quote_collateral.json")).unwrap();
    let blocks = super::super::pki::blocks(&said.tcb_info_chain).unwrap();
    let root = blocks.last().unwrap();
    let text = "44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3";
    assert_eq!(RootDigest::of(root).to_string(), text);
    assert_eq!(Roots::intel(), Roots::of(vec![RootDigest::of(root)]));
}
