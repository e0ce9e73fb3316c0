//! Real certificates and foreign signatures.
#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests")]

use countersign_certificates::algorithm::Hash;
use countersign_certificates::rsa::RsaKey;
use countersign_certificates::{Certificate, CertificateError, pem};
use proptest::prelude::*;

/// Issuer and root of AMD's chips of the Genoa generation; see testdata/README.md.
const GENOA: &str = include_str!("../../testdata/google_ask_ark_genoa.pem");
const ISSUER: &[u8] = include_bytes!("../../testdata/issuer.der");
const GOOD: &[u8] = include_bytes!("../../testdata/good.der");

fn genoa() -> Vec<Vec<u8>> {
    pem::blocks(GENOA, pem::CERTIFICATE).unwrap()
}

fn parse(der: &[u8]) -> Certificate<'_> {
    Certificate::parse(der).unwrap()
}

#[test]
fn a_chain_by_rsa_pss_holds() {
    let ders = genoa();
    let (ask, ark) = (parse(&ders[0]), parse(&ders[1]));
    ark.issued(&ark, 1).unwrap();
    ark.issued(&ask, 0).unwrap();
    assert_eq!(ask.named(b"\x55\x04\x03"), Some(&b"SEV-Genoa"[..]));
    assert_eq!(ask.named(b"\x55\x04\x04"), None);
    assert_eq!(ask.validity().from, 1_667_223_228_000);
}

#[test]
fn a_chain_by_ecdsa_holds_and_an_extension_is_found_by_its_name() {
    let (issuer, good) = (parse(ISSUER), parse(GOOD));
    issuer.issued(&good, 0).unwrap();
    let extension = good
        .extension(b"\x2b\x06\x01\x04\x01\x9c\x78\x01\x01")
        .unwrap();
    assert_eq!(
        (extension.critical, extension.value),
        (false, &[2, 1, 5][..])
    );
    assert!(
        good.extension(b"\x2b\x06\x01\x04\x01\x9c\x78\x01\x02")
            .is_none()
    );
}

#[test]
fn a_certificate_gives_out_the_bytes_that_stand_in_it() {
    let (issuer, good) = (parse(ISSUER), parse(GOOD));
    assert_eq!(good.whole(), GOOD);
    assert_eq!(good.issuer(), issuer.subject());
    let key = good.spki();
    let stands = GOOD.windows(key.len().max(60)).any(|bytes| bytes == key);
    assert!(stands && key.first() == Some(&0x30), "{key:?}");
}

#[test]
fn a_certificate_is_valid_from_its_first_to_its_last_millisecond() {
    let good = parse(GOOD);
    let (from, until) = (good.validity().from, good.validity().until);
    assert_eq!(
        (good.valid(from, "x"), good.valid(until, "x")),
        (Ok(()), Ok(()))
    );
    for at in [from - 1, until + 1] {
        let outside = CertificateError::Validity {
            whose: "x",
            from,
            until,
            at,
        };
        assert_eq!(good.valid(at, "x"), Err(outside));
    }
}

#[test]
fn who_may_not_issue_did_not_issue() {
    let (issuer, good) = (parse(ISSUER), parse(GOOD));
    assert_eq!(
        good.issued(&issuer, 0),
        Err(CertificateError::Issuer("it is not of an issuer"))
    );
    assert_eq!(
        issuer.issued(&good, 2),
        Err(CertificateError::Issuer(
            "more issuers follow than it allows"
        ))
    );
    let ders = genoa();
    assert_eq!(
        issuer.issued(&parse(&ders[0]), 0),
        Err(CertificateError::IssuerName("a certificate"))
    );
}

#[test]
fn no_bit_of_a_certificate_can_be_changed() {
    let issuer = parse(ISSUER);
    for place in 0..GOOD.len() {
        for bit in 0..8 {
            let mut changed = GOOD.to_vec();
            changed[place] ^= 1 << bit;
            let holds = Certificate::parse(&changed).is_ok_and(|c| issuer.issued(&c, 0).is_ok());
            assert!(!holds, "byte {place}, bit {bit}");
        }
    }
}

fn rsa() -> RsaKey {
    let hex = include_str!("../../testdata/modulus.hex").trim();
    let modulus: Vec<u8> = (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect();
    RsaKey::new(&modulus, 65537).unwrap()
}

#[test]
fn pss_of_another_implementation_holds_with_the_one_salt_length() {
    let (good, short) = (
        include_bytes!("../../testdata/pss-48.sig"),
        include_bytes!("../../testdata/pss-32.sig"),
    );
    assert!(rsa().verify_pss(Hash::Sha384, b"a message", good).is_ok());
    assert!(rsa().verify_pss(Hash::Sha384, b"a massage", good).is_err());
    assert!(rsa().verify_pss(Hash::Sha256, b"a message", good).is_err());
    assert!(rsa().verify_pss(Hash::Sha384, b"a message", short).is_err());
    for place in 0..good.len() {
        let mut changed = *good;
        changed[place] ^= 1;
        assert!(
            rsa()
                .verify_pss(Hash::Sha384, b"a message", &changed)
                .is_err()
        );
    }
}

proptest! {
    #[test]
    fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..400), place in 0_usize..380, value in any::<u8>()) {
        let _ = Certificate::parse(&bytes);
        let _ = countersign_certificates::Crl::parse(&bytes);
        let mut changed = GOOD.to_vec();
        changed[place] = value;
        if let Ok(certificate) = Certificate::parse(&changed) {
            let _ = parse(ISSUER).issued(&certificate, 0);
            let _ = certificate.named(b"\x55\x04\x03");
        }
    }
}
