//! 54 cases that another library's test program generated under its own root, at the time they were made.
//!
//! They are nobody's quotes: a header with versions where Intel has reserved bytes, a chain of two, names of
//! roles that are not Intel's, no extended state, report data of zero. That library looks at none of this,
//! so seven of them hold there; here each is refused by every check that it deserves, and no other.
//!
//! Those of trust domains carry type 5 where a quote of version 4 has 6. That byte is not signed, so each is
//! also tried with 6 there, which shows what lies behind it.

use super::*;

/// 2026-11-20T18:30:03Z
const MADE: Moment = Moment(1_795_199_403_000);

/// Where the type of the certification stands in a quote of version 4.
const TYPE_AT: usize = 48 + 584 + 4 + 64 + 64;

/// What every quote of an enclave fails by.
const ENCLAVE: &[&str] = &[
    "tdx.quote.header",
    "tdx.quote.version",
    "tdx.quote.tee",
    "tdx.tcbinfo.chain",
    "tdx.tcbinfo.id",
    "tdx.qeidentity.chain",
    "tdx.qeidentity.id",
];

/// What every quote of a trust domain fails by.
const DOMAIN: &[&str] = &[
    "tdx.quote.header",
    "tdx.quote.certification",
    "tdx.td.xfam",
    "tdx.td.reportdata",
    "tdx.tcbinfo.chain",
    "tdx.qeidentity.chain",
];

struct Generated {
    name: &'static str,
    base: &'static [&'static str],
    /// Not failed, although the base is.
    without: &'static [&'static str],
    /// Failed besides.
    also: &'static [&'static str],
}

const fn enclave(name: &'static str) -> Generated {
    Generated {
        name,
        base: ENCLAVE,
        without: &[],
        also: &[],
    }
}

const fn domain(name: &'static str, also: &'static [&'static str]) -> Generated {
    Generated {
        name,
        base: DOMAIN,
        without: &[],
        also,
    }
}

const CASES: &[Generated] = &[
    enclave("ca_used_as_end_entity_qe"),
    enclave("ca_used_as_end_entity_tcb"),
    enclave("cert_type_3_with_pck_chain"),
    enclave("cert_type_3_without_pck_chain"),
    enclave("cert_type_5_with_pck_chain"),
    enclave("component_svn_all_higher"),
    enclave("debug_sgx_v3"),
    enclave("fmspc_mismatch"),
    enclave("invalid_cert_format"),
    Generated {
        without: &["tdx.qeidentity.id"],
        also: &["tdx.qeidentity.form", "tdx.qeidentity.signature"],
        ..enclave("invalid_qe_identity_json")
    },
    Generated {
        also: &["tdx.qeidentity.signature"],
        ..enclave("invalid_qe_identity_signature")
    },
    enclave("invalid_qe_report_signature"),
    Generated {
        also: &["tdx.quote.keytype", "tdx.quote.vendor"],
        ..enclave("invalid_quote_format")
    },
    enclave("invalid_quote_signature"),
    Generated {
        without: &["tdx.quote.version"],
        ..enclave("invalid_quote_v5")
    },
    Generated {
        without: &["tdx.quote.version"],
        ..enclave("invalid_sgx_v4")
    },
    Generated {
        without: &["tdx.tcbinfo.id"],
        also: &["tdx.tcbinfo.form", "tdx.tcbinfo.signature"],
        ..enclave("invalid_tcb_json")
    },
    Generated {
        also: &["tdx.tcbinfo.signature"],
        ..enclave("invalid_tcb_signature")
    },
    enclave("qe_attributes_mismatch"),
    enclave("qe_debug_enabled"),
    enclave("qe_identity_expired"),
    enclave("qe_identity_issue_date_future"),
    enclave("qe_isvprodid_mismatch"),
    enclave("qe_miscselect_mismatch"),
    enclave("qe_mrsigner_mismatch"),
    enclave("qe_report_hash_mismatch"),
    enclave("revoked_platform_tcb"),
    enclave("revoked_qe_tcb"),
    enclave("sgx_component_svn_mismatch"),
    // Says that it is of TDX, and has the members of an enclave's.
    Generated {
        without: &["tdx.tcbinfo.id"],
        also: &["tdx.tcbinfo.members"],
        ..enclave("sgx_tcb_id_mismatch")
    },
    enclave("short_qe_identity_chain"),
    enclave("short_tcb_chain"),
    // Changed after it was signed.
    Generated {
        also: &["tdx.tcbinfo.signature"],
        ..enclave("tcb_expired")
    },
    enclave("tcb_issue_date_future"),
    domain("tdx_component_svn_mismatch", &["tdx.tcbinfo.members"]),
    domain("tdx_debug_enabled", &["tdx.td.debug"]),
    // That library accepts Key Locker and protection keys; here a policy has to name them.
    domain("tdx_kl_enabled", &["tdx.td.features"]),
    domain("tdx_missing_components", &["tdx.tcbinfo.members"]),
    domain("tdx_pks_enabled", &["tdx.td.features"]),
    domain("tdx_qe_identity_id_mismatch", &["tdx.qeidentity.id"]),
    // The bit is reserved there; it is that of a domain that can be moved.
    domain("tdx_reserved_bits_set", &["tdx.td.migratable"]),
    domain("tdx_sept_ve_disabled", &["tdx.td.septve"]),
    // Four bytes.
    Generated {
        without: &["tdx.quote.version", "tdx.quote.tee"],
        ..enclave("truncated_quote")
    },
    enclave("unknown_tcb_status"),
    Generated {
        also: &["tdx.quote.keytype"],
        ..enclave("unsupported_key_type_0")
    },
    Generated {
        also: &["tdx.quote.keytype"],
        ..enclave("unsupported_key_type_1")
    },
    Generated {
        also: &["tdx.quote.keytype"],
        ..enclave("unsupported_key_type_255")
    },
    Generated {
        also: &["tdx.quote.keytype"],
        ..enclave("unsupported_key_type_3")
    },
    enclave("unsupported_version_1"),
    enclave("unsupported_version_2"),
    enclave("unsupported_version_255"),
    enclave("unsupported_version_6"),
    enclave("valid_sgx_v3"),
    domain("valid_tdx_v4", &[]),
];

const DIRECTORY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/vectors/tdx/dcap-qvl-gen");

fn generated(name: &str) -> Case {
    let read = |file: &str| std::fs::read(format!("{DIRECTORY}/{file}")).unwrap();
    let collateral = Collateral::from_json(&read(&format!("{name}/collateral.json"))).unwrap();
    let root = read("test_root_ca.der");
    Case {
        quote: read(&format!("{name}/quote.bin")),
        collateral: Some(collateral),
        event_log: None,
        policy: Policy {
            mrconfigid: None,
            mrowner: None,
            mrownerconfig: None,
            ..Policy::strict(ReportData::ZERO)
        },
        roots: Roots::of(vec![RootDigest::of(&root)]),
        at: MADE,
    }
}

fn sorted(codes: impl IntoIterator<Item = &'static str>) -> Vec<&'static str> {
    let mut codes: Vec<_> = codes.into_iter().collect();
    codes.sort_unstable();
    codes
}

#[test]
fn each_generated_case_is_refused_by_the_checks_that_it_deserves() {
    for case in CASES {
        let expected = case
            .base
            .iter()
            .filter(|code| !case.without.contains(code))
            .chain(case.also)
            .copied();
        let appraisal = generated(case.name).appraise();
        let found = sorted(failed(&appraisal));
        assert_eq!(
            found,
            sorted(expected),
            "{}\n{}",
            case.name,
            print(&appraisal)
        );
    }
}

#[test]
fn behind_its_wrong_type_each_generated_domain_fails_by_its_chain_of_two() {
    let domains = CASES.iter().filter(|case| case.base == DOMAIN);
    assert_eq!(domains.clone().count(), 9);
    for case in domains {
        let mut changed = generated(case.name);
        assert_eq!(changed.quote[TYPE_AT], 5);
        changed.quote[TYPE_AT] = 6;
        let appraisal = changed.appraise();
        let expected = case.base.iter().chain(case.also).map(|code| match *code {
            "tdx.quote.certification" => "tdx.pck.form",
            other => other,
        });
        let found = sorted(failed(&appraisal));
        assert_eq!(
            found,
            sorted(expected),
            "{}\n{}",
            case.name,
            print(&appraisal)
        );
        assert_eq!(outcome(&appraisal, TdxCheck::QuoteSignature), Outcome::Pass);
        assert_eq!(outcome(&appraisal, TdxCheck::QuoteKey), Outcome::Pass);
    }
}

#[test]
fn signers_of_generated_statements_are_refused_for_the_reason_of_their_case() {
    for (name, code, why) in [
        (
            "valid_tdx_v4",
            TdxCheck::TcbInfoChain,
            "name \"Test TCB Signer\"",
        ),
        (
            "ca_used_as_end_entity_tcb",
            TdxCheck::TcbInfoChain,
            "may issue others",
        ),
        (
            "ca_used_as_end_entity_qe",
            TdxCheck::QeIdentityChain,
            "may issue others",
        ),
        (
            "short_tcb_chain",
            TdxCheck::TcbInfoChain,
            "has 0 certificates",
        ),
        (
            "short_qe_identity_chain",
            TdxCheck::QeIdentityChain,
            "has 0 certificates",
        ),
        (
            "invalid_cert_format",
            TdxCheck::TcbInfoChain,
            "does not begin and end",
        ),
    ] {
        let appraisal = generated(name).appraise();
        let found = reason(&appraisal, code);
        assert!(found.contains(why), "{name}: {found}");
    }
}

#[test]
fn every_directory_is_a_case_and_none_holds_under_intels_root() {
    let mut names: Vec<String> = std::fs::read_dir(DIRECTORY)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name().into_string().unwrap())
        .collect();
    names.sort_unstable();
    let cases: Vec<&str> = CASES.iter().map(|case| case.name).collect();
    assert_eq!(names, cases);
    assert_eq!(cases.len(), 54);
    for name in cases {
        let mut case = generated(name);
        case.roots = Roots::intel();
        assert!(
            failed(&case.appraise()).contains(&"tdx.tcbinfo.chain"),
            "{name}"
        );
    }
}
