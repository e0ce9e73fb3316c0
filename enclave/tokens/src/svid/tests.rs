//! Hostile certificates of workloads: each is a good one with one thing changed, signed anew, and refused for that thing.

use super::{
    MAX_CHAIN, NotASpiffeId, SpiffeId, Svid, SvidError, TrustDomain, TrustDomainError, Workloads,
    named,
};
use countersign_certificates::CertificateError;
use countersign_devices::der;
use countersign_devices::svid::{self, DNS, HOUR, URI, names, purposes, signed};
use countersign_devices::tdx;
use countersign_devices::x509::{Certificate, Extension};
use proptest::prelude::*;
use std::sync::Arc;

const NOW: u64 = 1_795_132_900_000;
const DESK: &str = "spiffe://bank.example/agents/desk";
/// Seeds of keys.
const ROOT: u8 = 1;
const MIDDLE: u8 = 2;
const OWN: u8 = 3;
const STRANGER: u8 = 4;

fn authority(subject: &str, issuer: &str, key: u8) -> Certificate {
    svid::authority((subject, issuer), key, NOW)
}

fn desk(issuer: &str) -> Certificate {
    svid::workload(issuer, DESK, OWN, NOW)
}

fn root() -> Vec<u8> {
    signed(&authority("root", "root", ROOT), ROOT)
}

fn middle() -> Vec<u8> {
    middle_of(ROOT)
}

fn middle_of(root: u8) -> Vec<u8> {
    signed(&authority("middle", "root", MIDDLE), root)
}

fn pem(ders: &[Vec<u8>]) -> String {
    let ders: Vec<&[u8]> = ders.iter().map(Vec::as_slice).collect();
    String::from_utf8(tdx::pem(&ders)).unwrap()
}

fn workloads_of(roots: &[Vec<u8>]) -> Workloads {
    Workloads::new([TrustDomain::parse("bank.example", &pem(roots)).unwrap()])
}

fn workloads() -> Workloads {
    workloads_of(&[root()])
}

fn judge(workloads: &Workloads, chain: &[Vec<u8>]) -> Result<Arc<Svid>, SvidError> {
    let chain: Vec<&[u8]> = chain.iter().map(Vec::as_slice).collect();
    workloads.judge(&chain, NOW)
}

fn refused(chain: &[Vec<u8>]) -> SvidError {
    judge(&workloads(), chain).unwrap_err()
}

#[test]
fn a_certificate_of_a_root_names_its_workload() {
    let svid = judge(&workloads(), &[signed(&desk("root"), ROOT)]).unwrap();
    assert_eq!(
        (svid.id().as_str(), svid.id().domain()),
        (DESK, "bank.example")
    );
}

#[test]
fn issuers_between_it_and_the_root_are_followed_with_and_without_the_root() {
    let own = signed(&desk("middle"), MIDDLE);
    assert!(judge(&workloads(), &[own.clone(), middle()]).is_ok());
    assert!(judge(&workloads(), &[own, middle(), root()]).is_ok());
}

#[test]
fn a_root_that_replaces_another_may_stand_beside_it() {
    let next = signed(&authority("next", "next", STRANGER), STRANGER);
    let workloads = workloads_of(&[next, root()]);
    assert!(judge(&workloads, &[signed(&desk("root"), ROOT)]).is_ok());
    assert!(judge(&workloads, &[signed(&desk("next"), STRANGER)]).is_ok());
}

type Change = fn(&mut Certificate);

/// A change of the workload's own certificate, which the root signs anew.
fn changed(change: Change) -> SvidError {
    let mut own = desk("root");
    change(&mut own);
    refused(&[signed(&own, ROOT)])
}

#[test]
fn a_certificate_that_is_not_for_clients_is_refused() {
    let cases: [(Change, &str); 6] = [
        (
            |c| c.extensions[2] = Extension::issuer(None),
            "it may issue others",
        ),
        (
            |c| drop(c.extensions.remove(0)),
            "its key usage has no digitalSignature",
        ),
        (
            |c| c.extensions[0] = Extension::usage(0x08),
            "its key usage has no digitalSignature",
        ),
        (
            |c| c.extensions[0] = Extension::usage(0x84),
            "its key is for certificates or lists",
        ),
        (
            |c| c.extensions[0] = Extension::usage(0x82),
            "its key is for certificates or lists",
        ),
        (
            |c| c.extensions[1] = purposes(&["1.3.6.1.5.5.7.3.1"]),
            "its extended key usage has no clientAuth",
        ),
    ];
    for (change, expected) in cases {
        assert_eq!(changed(change), SvidError::Use(expected));
    }
}

#[test]
fn an_extended_key_usage_may_be_left_out() {
    let mut own = desk("root");
    own.extensions.remove(1);
    assert!(judge(&workloads(), &[signed(&own, ROOT)]).is_ok());
}

#[test]
fn a_certificate_has_exactly_one_uri_which_names_a_workload() {
    let changes: [Change; 8] = [
        |c| drop(c.extensions.remove(3)),
        |c| c.extensions[3] = names(&[(DNS, "desk.bank.example")]),
        |c| c.extensions[3] = names(&[(URI, DESK), (URI, DESK)]),
        |c| c.extensions[3] = names(&[(URI, DESK), (URI, "https://bank.example/")]),
        |c| c.extensions[3] = names(&[(URI, "https://bank.example/agents/desk")]),
        |c| c.extensions[3] = names(&[(URI, "spiffe://bank.example")]),
        |c| c.extensions[3] = names(&[(URI, "spiffe://bank.example/agents/../desk")]),
        |c| c.extensions[3] = names(&[(URI, "spiffe://bank.example/agents\u{fe}")]),
    ];
    for change in changes {
        assert_eq!(changed(change), SvidError::Name);
    }
    let mut own = desk("root");
    own.extensions[3] = names(&[(DNS, "desk.bank.example"), (URI, DESK)]);
    assert!(judge(&workloads(), &[signed(&own, ROOT)]).is_ok());
}

#[test]
fn a_critical_extension_that_is_not_known_refuses() {
    let critical = |c: &mut Certificate| {
        c.extensions
            .push(Extension::critical("1.3.6.1.4.1.11129.9", der::null()));
    };
    let expected = CertificateError::CriticalExtension("a workload's certificate");
    assert_eq!(changed(critical), SvidError::Certificate(expected));
    // A name that must not be passed over is not passed over.
    let mut own = desk("root");
    own.extensions[3].critical = true;
    assert!(judge(&workloads(), &[signed(&own, ROOT)]).is_ok());
}

#[test]
fn another_trust_domain_is_refused_although_a_root_of_ours_issued_it() {
    let other = "spiffe://other.example/agents/desk";
    let error =
        changed(|c| c.extensions[3] = names(&[(URI, "spiffe://other.example/agents/desk")]));
    assert_eq!(
        error,
        SvidError::Domain(SpiffeId::parse(other).unwrap().domain().to_owned())
    );
}

#[test]
fn a_root_of_one_trust_domain_vouches_for_none_of_another() {
    let other = signed(&authority("other", "other", STRANGER), STRANGER);
    let domain = |name: &str, root: Vec<u8>| TrustDomain::parse(name, &pem(&[root])).unwrap();
    let workloads = Workloads::new([
        domain("bank.example", root()),
        domain("other.example", other),
    ]);
    assert!(judge(&workloads, &[signed(&desk("root"), ROOT)]).is_ok());
    let error = judge(&workloads, &[signed(&desk("other"), STRANGER)]).unwrap_err();
    assert_eq!(error, SvidError::Root);
}

#[test]
fn whoever_is_no_root_of_ours_issues_nothing() {
    assert_eq!(refused(&[signed(&desk("root"), STRANGER)]), SvidError::Root);
    let own_root = signed(&authority("root", "root", STRANGER), STRANGER);
    let chain = [signed(&desk("root"), STRANGER), own_root];
    assert_eq!(refused(&chain), SvidError::Root);
    // A root alone names nobody.
    assert!(matches!(refused(&[root()]), SvidError::Use(_)));
}

#[test]
fn made_up_certificates_are_refused_at_the_root_before_the_others_are_looked_at() {
    // Nothing below the last one holds, and what is said is that no root issued the last one.
    let no_issuer = signed(&desk("middle"), STRANGER);
    let chain = [signed(&desk("middle"), OWN), no_issuer, middle_of(STRANGER)];
    assert_eq!(refused(&chain), SvidError::Root);
}

#[test]
fn an_issuer_between_has_to_be_one() {
    let own = signed(&desk("middle"), MIDDLE);
    let of = |change: Change| {
        let mut middle = authority("middle", "root", MIDDLE);
        change(&mut middle);
        refused(&[own.clone(), signed(&middle, ROOT)])
    };
    assert!(matches!(
        of(|c| c.extensions[0] = Extension::no_issuer()),
        SvidError::Certificate(CertificateError::Issuer(_))
    ));
    assert!(matches!(
        of(|c| c.extensions[1] = Extension::usage(0x80)),
        SvidError::Certificate(CertificateError::Issuer(_))
    ));
    assert_eq!(
        of(|c| c.extensions.push(names(&[(URI, "spiffe://other.example")]))),
        SvidError::IssuerName
    );
    assert_eq!(
        of(|c| c
            .extensions
            .push(names(&[(URI, "spiffe://bank.example.evil")]))),
        SvidError::IssuerName
    );
    let mut named = authority("middle", "root", MIDDLE);
    named
        .extensions
        .push(names(&[(URI, "spiffe://bank.example")]));
    assert!(judge(&workloads(), &[own, signed(&named, ROOT)]).is_ok());
}

#[test]
fn certificates_stand_in_order_and_each_issued_the_one_before() {
    let own = signed(&desk("middle"), MIDDLE);
    assert!(judge(&workloads(), &[own.clone(), root(), middle()]).is_err());
    assert!(judge(&workloads(), &[middle(), own.clone()]).is_err());
    assert_eq!(refused(&[own]), SvidError::Root);
    let stolen = signed(&desk("middle"), STRANGER);
    assert!(matches!(
        refused(&[stolen, middle()]),
        SvidError::Certificate(CertificateError::Signature(_))
    ));
}

#[test]
fn no_more_issuers_follow_than_a_root_allows() {
    let mut root = authority("root", "root", ROOT);
    root.extensions[0] = Extension::issuer(Some(0));
    let workloads = workloads_of(&[signed(&root, ROOT)]);
    assert!(judge(&workloads, &[signed(&desk("root"), ROOT)]).is_ok());
    let chain = [signed(&desk("middle"), MIDDLE), middle()];
    assert_eq!(judge(&workloads, &chain), Err(SvidError::Root));
}

#[test]
fn a_certificate_counts_in_its_time_also_when_it_is_remembered() {
    let workloads = workloads();
    let own = signed(&desk("root"), ROOT);
    let at = |at: u64| {
        workloads
            .judge(&[&own], at)
            .map(|svid| svid.id().to_string())
    };
    assert_eq!(at(NOW).as_deref(), Ok(DESK));
    assert!(at(NOW + HOUR).is_ok());
    for outside in [NOW - HOUR - 1, NOW + HOUR + 1000] {
        assert!(matches!(at(outside), Err(SvidError::Validity { .. })));
    }
    assert_eq!(at(NOW).as_deref(), Ok(DESK));
}

#[test]
fn issuers_and_roots_have_their_time_too() {
    let mut late = authority("middle", "root", MIDDLE);
    late.not_after = NOW - 1000;
    let chain = [signed(&desk("middle"), MIDDLE), signed(&late, ROOT)];
    assert!(matches!(refused(&chain), SvidError::Validity { .. }));
    let mut late = authority("root", "root", ROOT);
    late.not_after = NOW - 1000;
    let workloads = workloads_of(&[signed(&late, ROOT)]);
    let error = judge(&workloads, &[signed(&desk("root"), ROOT)]).unwrap_err();
    assert!(matches!(error, SvidError::Validity { .. }));
}

#[test]
fn how_many_certificates_are_looked_at_is_bounded() {
    assert_eq!(refused(&[]), SvidError::Count { found: 0 });
    let found = MAX_CHAIN + 1;
    let chain = vec![signed(&desk("root"), ROOT); found];
    assert_eq!(refused(&chain), SvidError::Count { found });
}

#[test]
fn every_changed_bit_of_the_certificate_is_refused() {
    let workloads = workloads();
    let own = signed(&desk("root"), ROOT);
    for (i, bit) in (0..own.len()).flat_map(|i| (0..8).map(move |bit| (i, bit))) {
        let mut changed = own.clone();
        changed[i] ^= 1 << bit;
        assert!(
            judge(&workloads, &[changed]).is_err(),
            "byte {i}, bit {bit}"
        );
    }
}

#[test]
fn a_replay_reads_the_name_whoever_issued_it() {
    let own = signed(&desk("nobody"), STRANGER);
    assert_eq!(named(&own).unwrap().as_str(), DESK);
    assert!(matches!(named(&root()), Err(SvidError::Use(_))));
    assert!(matches!(named(b"0"), Err(SvidError::Certificate(_))));
}

#[test]
fn a_trust_domain_has_a_name_and_roots_that_may_issue() {
    let parse = |name: &str, roots: &str| TrustDomain::parse(name, roots).unwrap_err();
    let good = pem(&[root()]);
    for name in [
        "",
        "Bank.example",
        "bank example",
        "bank/x",
        &"a".repeat(256),
    ] {
        assert_eq!(parse(name, &good), TrustDomainError::Name);
    }
    assert_eq!(parse("bank.example", ""), TrustDomainError::NoRoots);
    assert!(matches!(
        parse("bank.example", "roots"),
        TrustDomainError::Pem(_)
    ));
    let leaf = pem(&[root(), signed(&desk("root"), ROOT)]);
    assert!(matches!(
        parse("bank.example", &leaf),
        TrustDomainError::Root { number: 2, .. }
    ));
}

#[test]
fn a_name_has_one_spelling() {
    for good in [DESK, "spiffe://a/b", "spiffe://a-b_c.1/X/y-z_0.9"] {
        let id = SpiffeId::parse(good).unwrap();
        assert_eq!((id.as_str(), id.to_string().as_str()), (good, good));
    }
    let long = format!("spiffe://a/{}", "b".repeat(super::MAX_ID_BYTES));
    for bad in [
        "",
        "spiffe://",
        "spiffe://bank.example",
        "spiffe://bank.example/",
        "spiffe://bank.example/a/",
        "spiffe://bank.example//a",
        "spiffe://bank.example/.",
        "spiffe://bank.example/../a",
        "spiffe://bank.example/a?b",
        "spiffe://bank.example/a#b",
        "spiffe://bank.example/a%20b",
        "spiffe://bank.example:8443/a",
        "spiffe://user@bank.example/a",
        "spiffe://Bank.example/a",
        "SPIFFE://bank.example/a",
        "spiffe:///a",
        &long,
    ] {
        assert_eq!(SpiffeId::parse(bad), Err(NotASpiffeId), "{bad}");
    }
}

proptest! {
    #[test]
    fn no_bytes_panic_and_no_text_is_a_name_twice(
        bytes in proptest::collection::vec(any::<u8>(), 0..200),
        text in "spiffe://[a-zA-Z.]{0,6}/[a-z./%]{0,8}",
    ) {
        prop_assert!(workloads().judge(&[&bytes], NOW).is_err());
        if let Ok(id) = SpiffeId::parse(&text) {
            prop_assert_eq!(id.as_str(), text.as_str());
            let start = format!("spiffe://{}/", id.domain());
            prop_assert!(text.starts_with(&start));
        }
    }
}
