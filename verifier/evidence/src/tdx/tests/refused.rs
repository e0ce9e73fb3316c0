//! A negative for every check: genuinely signed, and wrong in one thing.

use core::time::Duration;

use countersign_devices::key::Scheme;
use countersign_devices::rsa::Hash;
use countersign_devices::x509::{self, Crl, Extension};

use super::*;

macro_rules! refused {
    ($($name:ident: $case:expr => [$($code:literal),+];)*) => {
        $(
            #[test]
            fn $name() {
                let appraisal = $case.appraise();
                assert_eq!(failed(&appraisal), [$($code),+], "{}", print(&appraisal));
                assert!(appraisal.verified().is_none());
            }
        )*

        /// The checks that some case here is refused by alone.
        const ALONE: &[&[&str]] = &[$(&[$($code),+]),*];
    };
}

#[test]
fn every_check_refuses_some_case_alone() {
    let lacking: Vec<_> = TdxCheck::ALL
        .iter()
        .map(|code| code.as_str())
        .filter(|code| !ALONE.iter().any(|codes| codes == &[*code]))
        .collect();
    assert_eq!(lacking, [""; 0]);
}

fn cut(bytes: usize) -> Case {
    let mut case = Case::good();
    case.quote.truncate(bytes);
    case
}

/// A root that is changed and pinned.
fn with_root(change: impl FnOnce(&mut fake::Intel)) -> Case {
    let mut intel = fake::Intel::default();
    change(&mut intel);
    let chain = intel.signer_chain();
    let mut said = fake::Collateral::default();
    said.tcb_info_chain.clone_from(&chain);
    said.qe_identity_chain = chain;
    let mut case = Case::quote(|quote| quote.chain = intel.pck_chain());
    case.collateral = Some(collateral(&said));
    case.roots = Roots::of(vec![RootDigest::of(&intel.root_der())]);
    case
}

/// Another signer of the TCB info alone.
fn tcb_signer(change: impl FnOnce(&mut fake::Intel)) -> Case {
    let mut intel = fake::Intel::default();
    intel.signer.serial = vec![5];
    change(&mut intel);
    Case::said(|said| said.tcb_info_chain = intel.signer_chain())
}

/// Another signer of the quoting enclave's identity alone.
fn qe_signer(change: impl FnOnce(&mut fake::Intel)) -> Case {
    let mut intel = fake::Intel::default();
    intel.signer.serial = vec![5];
    change(&mut intel);
    Case::said(|said| said.qe_identity_chain = intel.signer_chain())
}

fn revoke(crl: &mut Crl, serial: u8) {
    crl.revoked.push((vec![serial], fake::NOW - 50 * fake::DAY));
}

fn level(status: &str) -> Case {
    Case::tcb_info(
        "\"tcbDate\":\"2025-11-13T00:00:00Z\",\"tcbStatus\":\"UpToDate\"},{\"tcb\":{\"sgxtcbcomponents\":[{\"svn\":2}",
        &format!(
            "\"tcbDate\":\"2025-11-13T00:00:00Z\",\"tcbStatus\":\"{status}\"}},{{\"tcb\":{{\"sgxtcbcomponents\":[{{\"svn\":2}}"
        ),
    )
}

/// The platform has the older level, of 2025-03-13.
fn old_platform() -> Case {
    Case::pck(|pck| pck.components[0] = 2)
}

fn old_enclave() -> Case {
    Case::enclave(|enclave| enclave.isv_svn = 5)
}

fn old_module() -> Case {
    Case::td(|td| td.tee_tcb_svn[0] = 5).asking(|policy| policy.tee_tcb_floor = None)
}

fn log(registers: &[[u8; 48]; 4]) -> Vec<u8> {
    let mut log = Vec::new();
    let mut event = |register: u32, kind: u32, digest: [u8; 48]| {
        for number in [register, kind, 1] {
            log.extend(number.to_le_bytes());
        }
        log.extend(0x0c_u16.to_le_bytes());
        log.extend(digest);
        log.extend(0_u32.to_le_bytes());
    };
    for (register, digest) in (1..).zip(registers) {
        event(register, 8, *digest);
    }
    let mut header = Vec::new();
    for number in [1_u32, 3] {
        header.extend(number.to_le_bytes());
    }
    header.extend([0; 20]);
    header.extend(33_u32.to_le_bytes());
    header.extend(b"Spec ID Event03\0");
    header.extend([0, 0, 0, 0, 0, 2, 0, 2]);
    header.extend([1, 0, 0, 0, 0x0c, 0, 48, 0, 0]);
    [header, log].concat()
}

/// A log, and a trust domain whose registers it leads to, but for one.
fn logged(other: Option<usize>) -> Case {
    use sha2::{Digest as _, Sha384};
    let mut digests = [[1; 48], [2; 48], [3; 48], [4; 48]];
    let rtmrs = digests.map(|digest| Sha384::digest([[0; 48], digest].concat()).into());
    let mut case = Case::td(|td| td.rtmrs = rtmrs).asking(|policy| {
        policy.rtmrs = rtmrs.map(|value| Some(vec![Measurement(value)]));
    });
    if let Some(index) = other {
        digests[index][47] ^= 1;
    }
    case.event_log = Some(log(&digests));
    case
}

refused! {
    a_quote_of_nothing_is_refused: cut(0) => ["tdx.quote.header"];
    a_quote_that_ends_in_its_header_is_refused: cut(47) => ["tdx.quote.header"];
    a_quote_longer_than_any_is_refused:
        Case::quote(|quote| quote.trailing = vec![0; 65_536]) => ["tdx.quote.header"];
    reserved_bytes_of_the_header_are_zero:
        Case::quote(|quote| quote.reserved = 0x0100_0000) => ["tdx.quote.header"];
    version_3_is_refused: Case::quote(|quote| quote.version = 3) => ["tdx.quote.version"];
    version_6_is_refused: Case::quote(|quote| quote.version = 6) => ["tdx.quote.version"];
    another_tee_is_refused: Case::quote(|quote| quote.tee = 0) => ["tdx.quote.tee"];
    another_kind_of_key_is_refused: Case::quote(|quote| quote.key_type = 3) => ["tdx.quote.keytype"];
    another_vendors_quoting_enclave_is_refused:
        Case::quote(|quote| quote.vendor[15] = 8) => ["tdx.quote.vendor"];
    a_body_of_an_enclave_is_refused: Case::quote(|quote| {
        quote.version = 5;
        quote.body_type = 1;
    }) => ["tdx.quote.body"];
    a_body_type_that_nobody_knows_is_refused: Case::quote(|quote| {
        quote.version = 5;
        quote.body_type = 5;
    }) => ["tdx.quote.body"];
    a_body_that_says_another_size_is_refused: Case::quote(|quote| {
        quote.version = 5;
        quote.body_type = 3;
        quote.body_size = Some(647);
    }) => ["tdx.quote.body"];
    a_quote_that_ends_in_its_body_is_refused: cut(631) => ["tdx.quote.body"];
    a_quote_without_signature_data_is_refused: cut(632) => ["tdx.quote.form"];
    a_quote_that_ends_in_its_signature_data_is_refused: cut(1000) => ["tdx.quote.form"];
    a_byte_behind_the_quote_is_refused:
        Case::quote(|quote| quote.trailing = vec![0]) => ["tdx.quote.form"];
    certificates_without_a_report_on_the_quoting_enclave_are_refused:
        Case::quote(|quote| quote.certification_type = 5) => ["tdx.quote.certification"];
    a_platform_that_is_named_but_not_certified_is_refused:
        Case::quote(|quote| quote.inner_type = 3) => ["tdx.quote.certification"];

    a_chain_of_two_is_refused: Case::quote(|quote| {
        let intel = fake::Intel::default();
        let pck = intel.pck.sign(&intel.pck_by);
        quote.chain = fake::pem(&[&pck, &intel.root_der()]);
    }) => ["tdx.pck.form"];
    a_chain_of_four_is_refused: Case::quote(|quote| {
        let root = fake::Intel::default().root_der();
        quote.chain.extend(fake::pem(&[&root]));
    }) => ["tdx.pck.form"];
    a_chain_that_is_not_pem_is_refused:
        Case::quote(|quote| quote.chain.insert(0, b'x')) => ["tdx.pck.form"];
    a_chain_that_is_not_text_is_refused:
        Case::quote(|quote| quote.chain = vec![0xff]) => ["tdx.pck.form"];
    a_certificate_with_a_byte_behind_it_is_refused: Case::quote(|quote| {
        let intel = fake::Intel::default();
        let mut pck = intel.pck.sign(&intel.pck_by);
        pck.push(0);
        quote.chain = fake::pem(&[&pck, &intel.ca.sign(&intel.ca_by), &intel.root_der()]);
    }) => ["tdx.pck.form"];
    another_root_certificate_of_the_same_key_is_none_of_ours:
        Case::intel(|intel| intel.root.serial = vec![9]) => ["tdx.pck.root"];
    no_root_accepts_nothing: {
        let mut case = Case::good();
        case.roots = Roots::of(vec![]);
        case
    } => ["tdx.pck.root", "tdx.tcbinfo.chain", "tdx.qeidentity.chain"];
    intels_root_does_not_accept_the_fake:
        Case { roots: Roots::intel(), ..Case::good() }
        => ["tdx.pck.root", "tdx.tcbinfo.chain", "tdx.qeidentity.chain"];
    a_platform_certified_by_somebody_else_is_refused:
        Case::intel(|intel| intel.pck_by = fake::other_key()) => ["tdx.pck.chain"];
    a_ca_certified_by_somebody_else_is_refused:
        Case::intel(|intel| intel.ca_by = fake::other_key()) => ["tdx.pck.chain"];
    a_ca_that_may_not_issue_is_refused:
        Case::intel(|intel| intel.ca.extensions = vec![Extension::no_issuer(), Extension::usage(0x06)])
        => ["tdx.pck.chain"];
    a_platform_that_names_another_issuer_is_refused:
        Case::intel(|intel| intel.pck.issuer = x509::common_name(fake::PROCESSOR_CA)) => ["tdx.pck.chain"];
    a_platform_that_may_issue_is_refused: Case::intel(|intel| {
        intel.pck.extensions[0] = Extension::issuer(None);
        intel.pck.extensions[1] = Extension::usage(0x86);
    }) => ["tdx.pck.chain"];
    a_platform_whose_key_is_not_for_signatures_is_refused:
        Case::intel(|intel| intel.pck.extensions[1] = Extension::usage(0x40)) => ["tdx.pck.chain"];
    a_platform_without_key_usage_is_refused: Case::intel(|intel| {
        intel.pck.extensions.remove(1);
    }) => ["tdx.pck.chain"];
    a_platform_with_an_unknown_critical_extension_is_refused:
        Case::intel(|intel| intel.pck.extensions.push(Extension::critical("1.2.3.4", vec![5, 0])))
        => ["tdx.pck.chain"];
    a_signer_of_collateral_is_no_platform:
        Case::intel(|intel| intel.pck.subject = x509::common_name(fake::SIGNER)) => ["tdx.pck.chain"];
    a_ca_of_another_name_is_refused: {
        let name = x509::common_name("Intel SGX Other CA");
        let mut case = Case::intel(|intel| {
            intel.ca.subject.clone_from(&name);
            intel.pck.issuer.clone_from(&name);
        });
        case.collateral = Case::said(|said| said.pck_crl.issuer.clone_from(&name)).collateral;
        case
    } => ["tdx.pck.chain"];
    a_root_that_allows_no_issuer_below_it_is_refused: with_root(|intel| {
        intel.root.extensions[0] = Extension::issuer(Some(0));
    }) => ["tdx.pck.chain"];
    a_platforms_certificate_that_is_over_is_refused:
        Case::intel(|intel| intel.pck.not_after = fake::NOW - 1000) => ["tdx.pck.validity"];
    a_platforms_certificate_that_is_not_valid_yet_is_refused:
        Case::intel(|intel| intel.pck.not_before = fake::NOW + 1000) => ["tdx.pck.validity"];
    a_cas_certificate_that_is_over_is_refused:
        Case::intel(|intel| intel.ca.not_after = fake::NOW - 1000) => ["tdx.pck.validity"];
    a_platform_without_intels_extension_is_refused: Case::intel(|intel| {
        intel.pck.extensions.pop();
    }) => ["tdx.pck.extension"];
    an_extension_with_bytes_behind_it_is_refused:
        Case::intel(|intel| intel.pck.extensions[2].value.push(0)) => ["tdx.pck.extension"];
    a_component_beyond_a_byte_is_refused:
        Case::pck(|pck| pck.components[3] = 256) => ["tdx.pck.extension"];
    a_version_beyond_two_bytes_is_refused:
        Case::pck(|pck| pck.pce_svn = 65_536) => ["tdx.pck.extension"];
    an_fmspc_of_seven_bytes_is_refused:
        Case::pck(|pck| pck.fmspc.push(0)) => ["tdx.pck.extension"];

    reserved_bytes_after_miscselect_are_zero:
        Case::enclave(|enclave| enclave.dirty = Some(20)) => ["tdx.qe.form"];
    reserved_bytes_after_mrenclave_are_zero:
        Case::enclave(|enclave| enclave.dirty = Some(127)) => ["tdx.qe.form"];
    reserved_bytes_after_mrsigner_are_zero:
        Case::enclave(|enclave| enclave.dirty = Some(160)) => ["tdx.qe.form"];
    reserved_bytes_after_isvsvn_are_zero:
        Case::enclave(|enclave| enclave.dirty = Some(319)) => ["tdx.qe.form"];
    a_report_signed_by_somebody_else_is_refused:
        Case::quote(|quote| quote.report_by = fake::other_key()) => ["tdx.qe.signature"];
    a_quoting_enclave_in_debug_mode_is_refused_even_where_its_identity_does_not_look: {
        let mut case = Case::enclave(|enclave| enclave.attributes[0] = 0x17);
        case.collateral = Case::qe_identity("\"FBFFFF", "\"F9FFFF").collateral;
        case
    } => ["tdx.qe.debug"];
    a_report_that_binds_another_key_is_refused:
        Case::enclave(|enclave| enclave.report_data = Some([7; 64])) => ["tdx.quote.key"];
    a_report_that_says_more_than_the_binding_is_refused: {
        let good = Case::good();
        let report_at = 632 + 4 + 134;
        let mut bound: [u8; 64] = good.quote[report_at + 320..report_at + 384].try_into().unwrap();
        bound[63] = 1;
        Case::enclave(|enclave| enclave.report_data = Some(bound))
    } => ["tdx.quote.key"];
    a_quote_signed_by_somebody_else_is_refused:
        Case::quote(|quote| quote.signed_by = fake::other_key()) => ["tdx.quote.signature"];

    a_trust_domain_in_debug_mode_is_refused: Case::td(|td| td.attributes |= 1) => ["tdx.td.debug"];
    a_trust_domain_with_hardware_guidance_is_refused:
        Case::td(|td| td.attributes |= 1 << 4) => ["tdx.td.profiling"];
    a_trust_domain_whose_performance_is_seen_is_refused:
        Case::td(|td| td.attributes |= 1 << 5) => ["tdx.td.profiling"];
    a_trust_domain_whose_telemetry_is_seen_is_refused:
        Case::td(|td| td.attributes |= 1 << 6) => ["tdx.td.profiling"];
    a_trust_domain_that_can_be_moved_is_refused:
        Case::td(|td| td.attributes |= 1 << 29) => ["tdx.td.migratable"];
    a_trust_domain_that_gets_faults_is_refused:
        Case::td(|td| td.attributes = 0) => ["tdx.td.septve"];
    lass_is_refused_unless_named: Case::td(|td| td.attributes |= 1 << 27) => ["tdx.td.features"];
    protection_keys_are_refused_unless_named:
        Case::td(|td| td.attributes |= 1 << 30) => ["tdx.td.features"];
    key_locker_is_refused_unless_named:
        Case::td(|td| td.attributes |= 1 << 31) => ["tdx.td.features"];
    performance_counters_are_refused_unless_named:
        Case::td(|td| td.attributes |= 1 << 63) => ["tdx.td.features"];
    another_feature_that_is_named_does_not_help: Case::td(|td| td.attributes |= 1 << 30)
        .asking(|policy| policy.features = vec![Features::Perfmon, Features::KeyLocker])
        => ["tdx.td.features"];
    a_trust_domain_without_x87_is_refused: Case::td(|td| td.xfam &= !1) => ["tdx.td.xfam"];
    a_trust_domain_without_sse_is_refused: Case::td(|td| td.xfam &= !2) => ["tdx.td.xfam"];
    extended_state_that_no_module_has_is_refused:
        Case::td(|td| td.xfam |= 1 << 19) => ["tdx.td.xfam"];
    extended_state_that_the_policy_leaves_out_is_refused:
        Case::policy(|policy| policy.xfam = Xfam(0x2e7)) => ["tdx.td.xfam"];
    a_guest_within_a_trust_domain_is_refused: Case::extended(|td| td.vmid = 1) => ["tdx.td.vmid"];
    a_bound_service_domain_is_refused:
        Case::extended(|td| td.mrservicetd[0] = 1) => ["tdx.td.servicetd"];
    a_service_domain_bound_at_launch_is_refused:
        Case::extended(|td| td.initial_servicetd[47] = 1) => ["tdx.td.servicetd"];
    a_service_domain_bound_now_is_refused:
        Case::extended(|td| td.current_servicetd[47] = 1) => ["tdx.td.servicetd"];
    a_service_domain_in_a_report_of_tdx_1_5_is_refused: Case::quote(|quote| {
        quote.version = 5;
        quote.body_type = 3;
        quote.td.mrservicetd[47] = 1;
    }) => ["tdx.td.servicetd"];
    another_module_than_the_policy_names_is_refused: Case::td(|td| td.mrseam[0] ^= 1) => ["tdx.td.mrseam"];
    another_initial_memory_is_refused: Case::td(|td| td.mrtd[47] ^= 1) => ["tdx.td.mrtd"];
    an_empty_list_of_measurements_accepts_nothing:
        Case::policy(|policy| policy.mrtd = Some(vec![])) => ["tdx.td.mrtd"];
    a_configuration_that_nobody_named_is_refused:
        Case::td(|td| td.mrconfigid[0] = 1) => ["tdx.td.configid"];
    an_owner_that_nobody_named_is_refused: Case::td(|td| td.mrowner[0] = 1) => ["tdx.td.owner"];
    an_owners_configuration_that_nobody_named_is_refused:
        Case::td(|td| td.mrownerconfig[0] = 1) => ["tdx.td.ownerconfig"];
    another_register_0_is_refused: Case::td(|td| td.rtmrs[0][0] ^= 1) => ["tdx.td.rtmr0"];
    another_register_1_is_refused: Case::td(|td| td.rtmrs[1][0] ^= 1) => ["tdx.td.rtmr1"];
    another_register_2_is_refused: Case::td(|td| td.rtmrs[2][0] ^= 1) => ["tdx.td.rtmr2"];
    another_register_3_is_refused: Case::td(|td| td.rtmrs[3][0] ^= 1) => ["tdx.td.rtmr3"];
    report_data_are_compared_to_the_last_byte:
        Case::td(|td| td.report_data[63] ^= 1) => ["tdx.td.reportdata"];
    report_data_of_zero_bind_nothing_even_if_they_are_expected: Case::td(|td| td.report_data = [0; 64])
        .asking(|policy| policy.report_data = Some(ReportData::ZERO)) => ["tdx.td.reportdata"];

    no_collateral_is_a_failure:
        Case { collateral: None, ..Case::good() } => ["tdx.collateral.present"];
    a_root_list_that_is_none_is_refused:
        Case::received(|it| it.root_crl.truncate(20)) => ["tdx.rootcrl.form"];
    an_empty_root_list_is_refused: Case::received(|it| it.root_crl.clear()) => ["tdx.rootcrl.form"];
    a_root_list_of_somebody_else_is_refused:
        Case::said(|said| said.root_crl_by = fake::other_key()) => ["tdx.rootcrl.signature"];
    a_root_list_that_names_another_issuer_is_refused:
        Case::said(|said| said.root_crl.issuer = x509::common_name("Other")) => ["tdx.rootcrl.signature"];
    a_root_list_whose_next_was_due_is_refused:
        Case::said(|said| said.root_crl.next_update = Some(fake::NOW - 1000)) => ["tdx.rootcrl.validity"];
    a_root_list_of_the_future_is_refused:
        Case::said(|said| said.root_crl.this_update = fake::NOW + 1000) => ["tdx.rootcrl.validity"];
    a_ca_that_was_taken_back_is_refused:
        Case::said(|said| revoke(&mut said.root_crl, 2)) => ["tdx.pckca.revocation"];
    a_list_of_platforms_that_is_none_is_refused:
        Case::received(|it| it.pck_crl.push(0)) => ["tdx.pckcrl.form"];
    a_list_of_platforms_of_somebody_else_is_refused:
        Case::said(|said| said.pck_crl_by = fake::other_key()) => ["tdx.pckcrl.signature"];
    the_list_of_the_other_ca_is_refused:
        Case::said(|said| said.pck_crl.issuer = x509::common_name(fake::PROCESSOR_CA))
        => ["tdx.pckcrl.signature"];
    the_roots_list_in_place_of_the_platforms_is_refused:
        Case::received(|it| it.pck_crl.clone_from(&it.root_crl)) => ["tdx.pckcrl.signature"];
    a_list_of_platforms_whose_next_was_due_is_refused:
        Case::said(|said| said.pck_crl.next_update = Some(fake::NOW - 1000)) => ["tdx.pckcrl.validity"];
    a_list_of_platforms_of_the_future_is_refused:
        Case::said(|said| said.pck_crl.this_update = fake::NOW + 1000) => ["tdx.pckcrl.validity"];
    a_platform_that_was_taken_back_is_refused:
        Case::said(|said| revoke(&mut said.pck_crl, 3)) => ["tdx.pck.revocation"];

    tcb_info_that_is_not_json_is_refused:
        Case::said(|said| said.tcb_info.push('}')) => ["tdx.tcbinfo.form"];
    tcb_info_that_says_a_thing_twice_is_refused:
        Case::tcb_info("{\"id\":\"TDX\",\"version\"", "{\"id\":\"SGX\",\"id\":\"TDX\",\"version\"") => ["tdx.tcbinfo.form"];
    tcb_info_that_does_not_say_what_it_is_is_refused:
        Case::tcb_info("\"id\":\"TDX\",\"version\"", "\"version\"") => ["tdx.tcbinfo.form"];
    a_signer_of_tcb_info_certified_by_somebody_else_is_refused:
        tcb_signer(|intel| intel.signer_by = fake::other_key()) => ["tdx.tcbinfo.chain"];
    a_signer_of_tcb_info_under_another_root_certificate_is_refused:
        tcb_signer(|intel| intel.root.serial = vec![9]) => ["tdx.tcbinfo.chain"];
    a_signer_of_tcb_info_that_may_issue_is_refused: tcb_signer(|intel| {
        intel.signer.extensions = vec![Extension::issuer(None), Extension::usage(0x86)];
    }) => ["tdx.tcbinfo.chain"];
    a_platform_cannot_sign_tcb_info:
        tcb_signer(|intel| intel.signer.subject = x509::common_name(fake::PLATFORM)) => ["tdx.tcbinfo.chain"];
    a_signer_of_tcb_info_below_a_ca_is_refused: {
        let mut intel = fake::Intel::default();
        intel.signer.issuer = x509::common_name(fake::PLATFORM_CA);
        let signer = intel.signer.sign(&fake::ca_key());
        let ca = intel.ca.sign(&intel.ca_by);
        let chain = fake::pem(&[&signer, &ca, &intel.root_der()]);
        Case::said(|said| said.tcb_info_chain = chain)
    } => ["tdx.tcbinfo.chain"];
    a_signer_of_tcb_info_below_a_ca_that_is_left_out_is_refused: {
        let mut intel = fake::Intel::default();
        intel.signer.issuer = x509::common_name(fake::PLATFORM_CA);
        intel.signer_by = fake::ca_key();
        Case::said(|said| said.tcb_info_chain = intel.signer_chain())
    } => ["tdx.tcbinfo.chain"];
    a_signer_of_tcb_info_whose_certificate_is_over_is_refused:
        tcb_signer(|intel| intel.signer.not_after = fake::NOW - 1000) => ["tdx.tcbinfo.chainvalidity"];
    a_signer_of_tcb_info_that_was_taken_back_is_refused: {
        let mut case = tcb_signer(|_| ());
        let list = Case::said(|said| revoke(&mut said.root_crl, 5)).collateral.unwrap().root_crl;
        case.collateral.as_mut().unwrap().root_crl = list;
        case
    } => ["tdx.tcbinfo.revocation"];
    tcb_info_signed_by_somebody_else_is_refused:
        Case::said(|said| said.tcb_info_by = fake::other_key()) => ["tdx.tcbinfo.signature"];
    tcb_info_written_with_another_space_is_not_what_was_signed:
        Case::received(|it| it.tcb_info.insert(1, b' ')) => ["tdx.tcbinfo.signature"];
    a_signature_of_tcb_info_that_is_too_short_is_refused: Case::received(|it| {
        it.tcb_info_signature.pop();
    }) => ["tdx.tcbinfo.signature"];
    a_signature_of_tcb_info_of_zeros_is_refused:
        Case::received(|it| it.tcb_info_signature = vec![0; 64]) => ["tdx.tcbinfo.signature"];
    tcb_info_of_enclaves_is_refused:
        Case::tcb_info("\"id\":\"TDX\",\"version\"", "\"id\":\"SGX\",\"version\"") => ["tdx.tcbinfo.id"];
    tcb_info_of_another_version_is_refused:
        Case::tcb_info("\"version\":3", "\"version\":4") => ["tdx.tcbinfo.id"];
    tcb_info_with_an_unknown_member_is_refused:
        Case::tcb_info("\"version\":3", "\"version\":3,\"except\":1") => ["tdx.tcbinfo.members"];
    tcb_info_that_compares_in_another_way_is_refused:
        Case::tcb_info("\"tcbType\":0", "\"tcbType\":1") => ["tdx.tcbinfo.members"];
    tcb_info_without_a_module_is_refused:
        Case::tcb_info("\"tdxModule\":", "\"tdxModulf\":") => ["tdx.tcbinfo.members"];
    a_level_without_components_of_tdx_is_refused:
        Case::tcb_info("\"tdxtcbcomponents\"", "\"tdxtcbcomponentt\"") => ["tdx.tcbinfo.members"];
    a_level_of_fifteen_components_is_refused:
        Case::tcb_info("\"sgxtcbcomponents\":[{\"svn\":3},", "\"sgxtcbcomponents\":[") => ["tdx.tcbinfo.members"];
    a_level_with_a_status_that_nobody_knows_is_refused: level("Fine") => ["tdx.tcbinfo.members"];
    a_level_that_advises_a_relaunch_is_refused: level("TDRelaunchAdvised") => ["tdx.tcbinfo.members"];
    a_level_that_advises_a_relaunch_and_configuration_is_refused:
        level("TDRelaunchAdvisedConfigurationNeeded") => ["tdx.tcbinfo.members"];
    a_level_of_a_module_that_needs_configuration_is_refused: Case::tcb_info(
        "{\"isvsvn\":6},\"tcbDate\":\"2025-11-13T00:00:00Z\",\"tcbStatus\":\"UpToDate\"",
        "{\"isvsvn\":6},\"tcbDate\":\"2025-11-13T00:00:00Z\",\"tcbStatus\":\"ConfigurationNeeded\"",
    ) => ["tdx.tcbinfo.members"];
    a_module_that_stands_twice_is_refused:
        Case::tcb_info("TDX_03", "TDX_01") => ["tdx.tcbinfo.members"];
    a_level_with_an_unknown_member_is_refused:
        Case::tcb_info("\"pcesvn\":13", "\"pcesvn\":13,\"x\":0") => ["tdx.tcbinfo.members"];
    a_component_with_an_unknown_member_is_refused:
        Case::tcb_info("[{\"svn\":3}", "[{\"svn\":3,\"x\":0}") => ["tdx.tcbinfo.members"];
    an_advisory_that_is_not_a_name_is_refused:
        Case::tcb_info("\"INTEL-SA-01036\"", "\"INTEL SA\"") => ["tdx.tcbinfo.members"];
    a_date_in_another_form_is_refused:
        Case::tcb_info("2025-12-28T00:00:00Z", "2025-12-28") => ["tdx.tcbinfo.members"];
    tcb_info_whose_next_was_due_is_refused:
        Case::tcb_info("2026-01-27T00:00:00Z", "2025-12-31T23:59:59Z") => ["tdx.tcbinfo.validity"];
    tcb_info_of_the_future_is_refused:
        Case::tcb_info("2025-12-28T00:00:00Z", "2026-01-01T00:00:01Z") => ["tdx.tcbinfo.validity"];
    tcb_info_of_another_family_is_refused:
        Case::tcb_info("b0c06f000000", "b0c06f000001") => ["tdx.tcbinfo.fmspc"];
    tcb_info_of_another_provisioning_enclave_is_refused:
        Case::tcb_info("\"pceId\":\"0000\"", "\"pceId\":\"0001\"") => ["tdx.tcbinfo.pceid"];
    an_older_evaluation_of_tcb_info_is_refused:
        Case::tcb_info("Number\":18", "Number\":17") => ["tdx.tcbinfo.evaluation"];

    an_identity_that_is_not_json_is_refused:
        Case::said(|said| said.qe_identity.push('}')) => ["tdx.qeidentity.form"];
    a_signer_of_the_identity_certified_by_somebody_else_is_refused:
        qe_signer(|intel| intel.signer_by = fake::other_key()) => ["tdx.qeidentity.chain"];
    a_signer_of_the_identity_that_may_issue_is_refused: qe_signer(|intel| {
        intel.signer.extensions = vec![Extension::issuer(None), Extension::usage(0x86)];
    }) => ["tdx.qeidentity.chain"];
    a_signer_of_the_identity_whose_certificate_is_not_valid_yet_is_refused:
        qe_signer(|intel| intel.signer.not_before = fake::NOW + 1000) => ["tdx.qeidentity.chainvalidity"];
    a_signer_of_the_identity_that_was_taken_back_is_refused: {
        let mut case = qe_signer(|_| ());
        let list = Case::said(|said| revoke(&mut said.root_crl, 5)).collateral.unwrap().root_crl;
        case.collateral.as_mut().unwrap().root_crl = list;
        case
    } => ["tdx.qeidentity.revocation"];
    an_identity_signed_by_somebody_else_is_refused:
        Case::said(|said| said.qe_identity_by = fake::other_key()) => ["tdx.qeidentity.signature"];
    an_identity_signed_with_a_key_of_another_curve_is_refused: qe_signer(|intel| {
        intel.signer.key = countersign_devices::key::Key::p384(9).spki();
    }) => ["tdx.qeidentity.signature"];
    the_identity_of_the_quoting_enclave_for_enclaves_is_refused:
        Case::qe_identity("\"TD_QE\"", "\"QE\"") => ["tdx.qeidentity.id"];
    an_identity_of_another_version_is_refused:
        Case::qe_identity("\"version\":2", "\"version\":3") => ["tdx.qeidentity.id"];
    an_identity_with_an_unknown_member_is_refused:
        Case::qe_identity("\"version\":2", "\"version\":2,\"x\":0") => ["tdx.qeidentity.members"];
    an_identity_whose_signer_is_too_short_is_refused:
        Case::qe_identity("\"mrsigner\":\"dc", "\"mrsigner\":\"") => ["tdx.qeidentity.members"];
    an_identity_whose_next_was_due_is_refused:
        Case::qe_identity("2026-01-27T00:00:00Z", "2025-12-31T23:59:59Z") => ["tdx.qeidentity.validity"];
    an_identity_of_the_future_is_refused:
        Case::qe_identity("2025-12-28T00:00:00Z", "2026-01-01T00:00:01Z") => ["tdx.qeidentity.validity"];
    an_older_evaluation_of_the_identity_is_refused:
        Case::qe_identity("Number\":18", "Number\":17") => ["tdx.qeidentity.evaluation"];
    a_quoting_enclave_of_another_signer_is_refused:
        Case::enclave(|enclave| enclave.mrsigner[31] ^= 1) => ["tdx.qe.mrsigner"];
    another_product_than_the_quoting_enclave_is_refused:
        Case::enclave(|enclave| enclave.isv_prod_id = 1) => ["tdx.qe.isvprodid"];
    other_extended_features_of_the_quoting_enclave_are_refused:
        Case::enclave(|enclave| enclave.misc_select[3] = 1) => ["tdx.qe.miscselect"];
    other_attributes_of_the_quoting_enclave_are_refused:
        Case::enclave(|enclave| enclave.attributes[0] = 0x35) => ["tdx.qe.attributes"];
    a_quoting_enclave_below_every_level_is_refused:
        Case::enclave(|enclave| enclave.isv_svn = 3) => ["tdx.qe.tcb"];

    a_module_that_intel_did_not_sign_is_refused:
        Case::td(|td| td.mrsignerseam[0] = 1) => ["tdx.module.identity"];
    a_module_with_other_attributes_is_refused:
        Case::td(|td| td.seam_attributes[7] = 1) => ["tdx.module.identity"];
    a_module_of_an_unknown_major_version_is_refused:
        Case::td(|td| td.tee_tcb_svn[1] = 2) => ["tdx.module.identity", "tdx.module.tcb"];
    a_module_of_now_of_an_unknown_major_version_is_refused: Case::extended(|td| {
        td.tee_tcb_svn_2[1] = 2;
    }) => ["tdx.module.identity", "tdx.module.tcb"];
    a_module_below_every_level_is_refused: Case::td(|td| td.tee_tcb_svn[0] = 1)
        .asking(|policy| policy.tee_tcb_floor = None) => ["tdx.module.tcb"];
    a_component_below_every_level_is_refused:
        Case::pck(|pck| pck.components[7] = 4) => ["tdx.platform.tcb"];
    a_provisioning_enclave_below_every_level_is_refused:
        Case::pck(|pck| pck.pce_svn = 4) => ["tdx.platform.tcb"];
    microcode_of_tdx_below_every_level_is_refused: Case::td(|td| td.tee_tcb_svn[2] = 1)
        .asking(|policy| policy.tee_tcb_floor = None) => ["tdx.platform.tcb"];
    no_level_at_all_is_refused: Case::said(|said| {
        let at = said.tcb_info.find("\"tcbLevels\":[{\"tcb\":{\"sgx").unwrap();
        said.tcb_info.truncate(at);
        said.tcb_info.push_str("\"tcbLevels\":[]}");
    }) => ["tdx.platform.tcb"];
    a_module_below_the_floor_is_refused: Case::policy(|policy| {
        policy.tee_tcb_floor = Some(TeeTcbSvn([7, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    }) => ["tdx.tcb.floor"];
    a_module_of_an_older_major_version_than_the_floor_is_refused: Case::policy(|policy| {
        policy.tee_tcb_floor = Some(TeeTcbSvn([0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    }) => ["tdx.tcb.floor"];
    microcode_below_the_floor_is_refused: Case::policy(|policy| {
        policy.tee_tcb_floor = Some(TeeTcbSvn([0, 1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]));
    }) => ["tdx.tcb.floor"];

    a_platform_that_lacks_updates_is_refused: old_platform() => ["tdx.tcb.status"];
    a_quoting_enclave_that_lacks_updates_is_refused: old_enclave() => ["tdx.tcb.status"];
    a_module_that_lacks_updates_is_refused: old_module() => ["tdx.tcb.status"];
    a_platform_that_needs_hardening_is_refused_unless_named:
        level("SWHardeningNeeded") => ["tdx.tcb.status"];
    a_platform_that_needs_configuration_is_refused_unless_named:
        level("ConfigurationNeeded") => ["tdx.tcb.status"];
    a_platform_that_needs_both_is_refused_unless_named:
        level("ConfigurationAndSWHardeningNeeded") => ["tdx.tcb.status"];
    a_revoked_platform_is_refused_even_if_every_status_is_named: level("Revoked").asking(|policy| {
        policy.statuses = TcbStatus::ALL.to_vec();
        policy.grace = Duration::MAX;
    }) => ["tdx.tcb.revoked"];
    a_revoked_quoting_enclave_is_refused_even_if_every_status_is_named: Case::qe_identity(
        "2025-11-13T00:00:00Z\",\"tcbStatus\":\"UpToDate\"",
        "2025-11-13T00:00:00Z\",\"tcbStatus\":\"Revoked\"",
    ).asking(|policy| policy.statuses = TcbStatus::ALL.to_vec()) => ["tdx.tcb.revoked"];
    a_revoked_module_is_refused_even_if_every_status_is_named: Case::tcb_info(
        "{\"isvsvn\":6},\"tcbDate\":\"2025-11-13T00:00:00Z\",\"tcbStatus\":\"UpToDate\"",
        "{\"isvsvn\":6},\"tcbDate\":\"2025-11-13T00:00:00Z\",\"tcbStatus\":\"Revoked\"",
    ).asking(|policy| policy.statuses = TcbStatus::ALL.to_vec()) => ["tdx.tcb.revoked"];
    an_empty_list_of_states_accepts_nothing:
        Case::policy(|policy| policy.statuses = vec![]) => ["tdx.tcb.status"];
    grace_that_is_over_does_not_help: old_platform().asking(|policy| {
        // From 2025-03-13 to 2026-01-01 there are 294 days.
        policy.grace = Duration::from_millis(294 * fake::DAY - 1);
    }) => ["tdx.tcb.status"];
    grace_does_not_help_where_an_up_to_date_platform_is_not_accepted: old_platform().asking(|policy| {
        policy.grace = Duration::MAX;
        policy.statuses = vec![TcbStatus::ConfigurationNeeded];
    }) => ["tdx.tcb.status"];
    an_advisory_that_is_refused_concerns_the_platform: old_platform().asking(|policy| {
        policy.statuses = vec![TcbStatus::OutOfDate];
        policy.denied_advisories = vec!["INTEL-SA-01036".into()];
    }) => ["tdx.tcb.advisories"];
    an_advisory_that_is_refused_concerns_the_quoting_enclave: old_enclave().asking(|policy| {
        policy.statuses = vec![TcbStatus::OutOfDate];
        policy.denied_advisories = vec!["INTEL-SA-09999".into()];
    }) => ["tdx.tcb.advisories"];
    an_advisory_that_is_refused_concerns_the_module: old_module().asking(|policy| {
        policy.statuses = vec![TcbStatus::OutOfDate];
        policy.denied_advisories = vec!["INTEL-SA-01036".into()];
    }) => ["tdx.tcb.advisories"];
    a_dynamic_platform_is_refused_unless_named:
        Case::pck(|pck| pck.flags = Some([true, false, false])) => ["tdx.platform.flags"];
    cached_keys_are_refused_unless_named:
        Case::pck(|pck| pck.flags = Some([false, true, false])) => ["tdx.platform.flags"];
    threads_are_refused_unless_named:
        Case::pck(|pck| pck.flags = Some([false, false, true])) => ["tdx.platform.flags"];
    a_platform_that_does_not_say_how_it_is_configured_is_refused:
        Case::pck(|pck| pck.flags = None) => ["tdx.platform.flags"];
    a_platform_that_nobody_named_is_refused:
        Case::pck(|pck| pck.ppid[15] ^= 1) => ["tdx.platform.id"];
    an_empty_list_of_platforms_accepts_nothing:
        Case::policy(|policy| policy.platforms = Some(vec![])) => ["tdx.platform.id"];
    a_platform_that_is_denied_is_refused_even_if_it_is_named:
        Case::policy(|policy| policy.denied_platforms = vec![Ppid([0xaa; 16])]) => ["tdx.platform.id"];
    a_platform_that_is_denied_is_refused_where_none_is_named: Case::policy(|policy| {
        policy.platforms = None;
        policy.denied_platforms = vec![Ppid([0xaa; 16])];
    }) => ["tdx.platform.id"];

    a_log_that_is_none_is_refused:
        Case { event_log: Some(vec![1]), ..Case::good() } => ["tdx.eventlog.form"];
    a_log_that_leads_elsewhere_in_register_0_is_refused: logged(Some(0)) => ["tdx.eventlog.replay"];
    a_log_that_leads_elsewhere_in_register_3_is_refused: logged(Some(3)) => ["tdx.eventlog.replay"];
    reserved_attributes_are_refused: Case::td(|td| td.attributes |= 1 << 62) => ["tdx.td.reserved"];
}

#[test]
fn each_reserved_attribute_is_refused() {
    let known = [0, 4, 5, 6, 27, 28, 29, 30, 31, 63];
    for bit in (0..64).filter(|bit| !known.contains(bit)) {
        let appraisal = Case::td(|td| td.attributes |= 1 << bit).appraise();
        assert_eq!(failed(&appraisal), ["tdx.td.reserved"], "bit {bit}");
    }
}

#[test]
fn without_expected_report_data_nothing_holds() {
    let appraisal = Case::policy(|policy| policy.report_data = None).appraise();
    assert_eq!(failed(&appraisal), [""; 0]);
    assert_eq!(
        outcome(&appraisal, TdxCheck::TdReportData),
        Outcome::NotChecked
    );
    assert!(appraisal.verified().is_none());
}

#[test]
fn what_nobody_named_is_not_checked_and_says_so() {
    let case = Case::policy(|policy| {
        *policy = Policy::strict(ReportData([0xd0; 64]));
        policy.mrconfigid = None;
        policy.mrowner = None;
        policy.mrownerconfig = None;
    });
    let appraisal = case.appraise();
    assert!(appraisal.verified().is_some(), "{}", print(&appraisal));
    let skipped: Vec<_> = appraisal
        .checks()
        .iter()
        .filter(|it| it.outcome == Outcome::NotChecked)
        .map(|it| (it.code.as_str(), it.reason.as_str()))
        .filter(|(_, why)| *why == "the policy names none")
        .map(|(code, _)| code)
        .collect();
    let expected = [
        "tdx.td.mrseam",
        "tdx.td.mrtd",
        "tdx.td.configid",
        "tdx.td.owner",
        "tdx.td.ownerconfig",
        "tdx.td.rtmr0",
        "tdx.td.rtmr1",
        "tdx.td.rtmr2",
        "tdx.td.rtmr3",
        "tdx.tcbinfo.evaluation",
        "tdx.qeidentity.evaluation",
        "tdx.tcb.floor",
        "tdx.platform.id",
    ];
    assert_eq!(skipped, expected);
}

#[test]
fn certificates_lists_and_statements_are_current_to_the_last_second_and_from_the_first() {
    // Lists are of 5 days before, statements of 4; both last long enough.
    let first = fake::NOW - 4 * fake::DAY;
    assert!(Case::at(first).appraise().verified().is_some());
    let early = ["tdx.tcbinfo.validity", "tdx.qeidentity.validity"];
    assert_eq!(failed(&Case::at(first - 1).appraise()), early);
    let last = fake::NOW + 25 * fake::DAY;
    assert!(Case::at(last).appraise().verified().is_some());
    assert!(failed(&Case::at(last + 1000).appraise()).contains(&"tdx.rootcrl.validity"));
    let statements = Case::said(|said| {
        said.root_crl.next_update = Some(fake::NOW + 90 * fake::DAY);
        said.pck_crl.next_update = Some(fake::NOW + 90 * fake::DAY);
    });
    let at = |millis| Case {
        at: Moment(millis),
        ..statements.clone()
    };
    let last = fake::NOW + 26 * fake::DAY;
    assert!(at(last).appraise().verified().is_some());
    assert_eq!(failed(&at(last + 1).appraise()), early);
    let verified = at(last).appraise();
    assert_eq!(
        verified.verified().unwrap().tcb().current_until,
        Moment(last)
    );
}

#[test]
fn collateral_is_current_until_the_first_of_its_parts_is_not() {
    let until = |case: Case| case.appraise().verified().unwrap().tcb().current_until;
    let soon = fake::NOW + fake::DAY;
    let cases = [
        Case::said(|said| said.root_crl.next_update = Some(soon)),
        Case::said(|said| said.pck_crl.next_update = Some(soon)),
        Case::tcb_info("2026-01-27T00:00:00Z", "2026-01-02T00:00:00Z"),
        Case::qe_identity("2026-01-27T00:00:00Z", "2026-01-02T00:00:00Z"),
    ];
    for case in cases {
        assert_eq!(until(case), Moment(soon));
    }
    let chain = Case::intel(|intel| intel.pck.not_after = soon);
    assert_eq!(until(chain), Moment(soon + 999));
}

#[test]
fn a_certificate_is_valid_in_its_first_second_and_until_its_last_is_over() {
    let first = Case::intel(|intel| intel.pck.not_before = fake::NOW);
    assert!(first.appraise().verified().is_some());
    let mut last = Case::intel(|intel| intel.pck.not_after = fake::NOW);
    last.at = Moment(fake::NOW + 999);
    assert!(last.appraise().verified().is_some());
    last.at = Moment(fake::NOW + 1000);
    assert_eq!(failed(&last.appraise()), ["tdx.pck.validity"]);
}

#[test]
fn an_open_policy_asks_for_nothing_that_an_auditor_may_see_either_way() {
    let open = |policy: &mut Policy| {
        *policy = Policy {
            report_data: Some(ReportData([0xd0; 64])),
            ..Policy::open()
        }
    };
    let other = |td: &mut fake::Td| {
        // Every feature, and faults that the host provokes are not fatal.
        td.attributes = 1 << 27 | 1 << 30 | 1 << 31 | 1 << 63;
        (td.mrconfigid, td.mrowner, td.mrownerconfig) = ([1; 48], [2; 48], [3; 48]);
    };
    let flagged = fake::Pck {
        flags: Some([true; 3]),
        ..fake::Pck::default()
    };
    let case = Case::quote(|quote| {
        other(&mut quote.td);
        quote.chain = fake::Intel::with(&flagged).pck_chain();
    });
    let appraisal = case.asking(open).appraise();
    assert_eq!(failed(&appraisal), [""; 0], "{}", print(&appraisal));
    assert!(appraisal.verified().is_some());
    for status in TcbStatus::ALL {
        assert_eq!(
            Policy::open().statuses.contains(status),
            *status != TcbStatus::Revoked
        );
    }
    let over_nothing = Case::policy(|policy| *policy = Policy::open()).appraise();
    assert_eq!(failed(&over_nothing), [""; 0]);
    assert!(over_nothing.verified().is_none());
}

#[test]
fn features_that_the_policy_names_are_accepted() {
    for (bit, feature) in [
        (27, Features::Lass),
        (30, Features::Pks),
        (31, Features::KeyLocker),
        (63, Features::Perfmon),
    ] {
        let case = Case::td(|td| td.attributes |= 1 << bit);
        let case = case.asking(|policy| policy.features = vec![feature]);
        assert!(case.appraise().verified().is_some(), "{feature:?}");
    }
}

#[test]
fn every_status_that_is_named_is_accepted_and_said() {
    for status in [
        TcbStatus::SwHardeningNeeded,
        TcbStatus::ConfigurationNeeded,
        TcbStatus::ConfigurationAndSwHardeningNeeded,
        TcbStatus::OutOfDate,
        TcbStatus::OutOfDateConfigurationNeeded,
    ] {
        let case = level(status.as_str()).asking(|policy| policy.statuses = vec![status]);
        let appraisal = case.appraise();
        let verified = appraisal
            .verified()
            .unwrap_or_else(|| panic!("{}", print(&appraisal)));
        assert_eq!(verified.tcb().status, status);
    }
}

#[test]
fn an_old_platform_says_its_advisories_and_its_date() {
    let case = old_platform().asking(|policy| policy.statuses = vec![TcbStatus::OutOfDate]);
    let appraisal = case.appraise();
    let tcb = appraisal.verified().unwrap().tcb();
    assert_eq!(tcb.advisories, ["INTEL-SA-01036"]);
    assert_eq!(tcb.date.to_string(), "2025-03-13T00:00:00Z");
    let both = Case::quote(|quote| {
        let mut pck = fake::Pck::default();
        pck.components[0] = 2;
        quote.chain = fake::Intel::with(&pck).pck_chain();
        quote.enclave.isv_svn = 5;
    });
    let both = both
        .asking(|policy| policy.statuses = vec![TcbStatus::OutOfDate])
        .appraise();
    let advisories = &both.verified().unwrap().tcb().advisories;
    assert_eq!(*advisories, ["INTEL-SA-01036", "INTEL-SA-09999"]);
}

#[test]
fn grace_counts_from_the_date_of_the_oldest_level_that_lacks_updates() {
    let with = |case: Case, days: u64| {
        let grace = Duration::from_millis(days * fake::DAY);
        case.asking(|policy| policy.grace = grace).appraise()
    };
    // From 2025-03-13 to 2026-01-01 there are 294 days.
    for case in [old_platform(), old_enclave(), old_module()] {
        let appraisal = with(case.clone(), 294);
        let verified = appraisal
            .verified()
            .unwrap_or_else(|| panic!("{}", print(&appraisal)));
        assert_eq!(verified.tcb().status, TcbStatus::OutOfDate);
        assert_eq!(failed(&with(case, 293)), ["tdx.tcb.status"]);
    }
    let configured = level("OutOfDateConfigurationNeeded");
    assert_eq!(failed(&with(configured.clone(), 400)), ["tdx.tcb.status"]);
    let configured =
        configured.asking(|policy| policy.statuses = vec![TcbStatus::ConfigurationNeeded]);
    assert!(with(configured, 400).verified().is_some());
}

#[test]
fn a_module_that_was_replaced_while_the_trust_domain_ran_advises_a_relaunch() {
    let launched = |launch: u8, now: u8, status: &str| {
        let said = level(status).collateral;
        let mut case = Case::extended(|td| {
            td.tee_tcb_svn[0] = launch;
            td.tee_tcb_svn_2[0] = now;
        });
        case.collateral = said;
        case.asking(|policy| {
            policy.tee_tcb_floor = None;
            policy.statuses = TcbStatus::ALL.to_vec();
        })
    };
    for (launch, now, status, expected) in [
        (6, 6, "UpToDate", TcbStatus::UpToDate),
        (5, 6, "UpToDate", TcbStatus::TdRelaunchAdvised),
        (5, 6, "SWHardeningNeeded", TcbStatus::TdRelaunchAdvised),
        (
            5,
            6,
            "ConfigurationNeeded",
            TcbStatus::TdRelaunchAdvisedConfigurationNeeded,
        ),
        (5, 5, "UpToDate", TcbStatus::OutOfDate),
        (
            5,
            5,
            "ConfigurationNeeded",
            TcbStatus::OutOfDateConfigurationNeeded,
        ),
        // The module of now may not be older than that of the launch; it counts all the same.
        (6, 5, "UpToDate", TcbStatus::OutOfDate),
        (6, 6, "ConfigurationNeeded", TcbStatus::ConfigurationNeeded),
    ] {
        let appraisal = launched(launch, now, status).appraise();
        let verified = appraisal
            .verified()
            .unwrap_or_else(|| panic!("{}", print(&appraisal)));
        assert_eq!(verified.tcb().status, expected, "{launch} {now} {status}");
    }
    let strict = launched(5, 6, "UpToDate")
        .asking(|policy| policy.statuses = vec![TcbStatus::UpToDate, TcbStatus::OutOfDate]);
    assert_eq!(failed(&strict.appraise()), ["tdx.tcb.status"]);
}

#[test]
fn a_module_of_major_version_0_has_its_versions_compared_with_the_platforms() {
    let with = |minor: u8| {
        Case::td(|td| {
            td.tee_tcb_svn[0] = minor;
            td.tee_tcb_svn[1] = 0;
        })
        .asking(|policy| policy.tee_tcb_floor = None)
    };
    assert!(with(5).appraise().verified().is_some());
    assert_eq!(failed(&with(4).appraise()), ["tdx.platform.tcb"]);
    let mut other = with(5);
    other.collateral = Case::tcb_info(
        "\"tdxModule\":{\"mrsigner\":\"00",
        "\"tdxModule\":{\"mrsigner\":\"01",
    )
    .collateral;
    assert_eq!(failed(&other.appraise()), ["tdx.module.identity"]);
}

#[test]
fn a_log_that_leads_to_every_register_is_accepted() {
    let appraisal = logged(None).appraise();
    assert!(appraisal.verified().is_some(), "{}", print(&appraisal));
    assert_eq!(outcome(&appraisal, TdxCheck::EventLogReplay), Outcome::Pass);
}

#[test]
fn a_later_major_version_is_above_every_floor_of_an_earlier_one() {
    let case = Case::td(|td| td.tee_tcb_svn = [3, 3, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    let appraisal = case.appraise();
    assert!(appraisal.verified().is_some(), "{}", print(&appraisal));
}

#[test]
fn masks_of_the_identity_leave_out_what_they_do_not_look_at() {
    // The mask of attributes leaves out bit 2 of the flags and all of the extended state.
    let case = Case::enclave(|enclave| {
        enclave.attributes[0] = 0x11;
        enclave.attributes[8] = 0x07;
    });
    assert!(case.appraise().verified().is_some());
}

#[test]
fn miscselect_is_written_as_a_number_with_its_highest_byte_first() {
    let mut case = Case::enclave(|enclave| enclave.misc_select = [1, 0, 0, 0]);
    case.collateral =
        Case::qe_identity("\"miscselect\":\"00000000\"", "\"miscselect\":\"00000001\"").collateral;
    assert!(case.appraise().verified().is_some());
}

#[test]
fn certificates_signed_in_another_way_are_refused() {
    let case = Case::intel(|intel| intel.pck.scheme = Scheme::Ecdsa(Hash::Sha384));
    // ECDSA with SHA-384 under P-256 is a way that certificates may have; the signature holds.
    assert!(case.appraise().verified().is_some());
    let case = Case::intel(|intel| {
        intel.ca.key = countersign_devices::key::Key::p384(9).spki();
        intel.pck_by = countersign_devices::key::Key::p384(9);
    });
    assert_eq!(failed(&case.appraise()), ["tdx.pckcrl.signature"]);
}
