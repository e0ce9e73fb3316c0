//! Certificates, lists and signatures as a vendor would make them, with one thing changed in each.
#![expect(clippy::unwrap_used, clippy::arithmetic_side_effects, reason = "tests")]

use countersign_certificates::algorithm::{Hash, Identifier, Key, Scheme};
use countersign_certificates::der::Reader;
use countersign_certificates::rsa::RsaKey;
use countersign_certificates::{Certificate, CertificateError, Crl};
use countersign_devices::der;
use countersign_devices::key::{self, Rsa};
use countersign_devices::rsa;
use countersign_devices::x509::{self, Extension, common_name, signed};

const NOW: u64 = 1_760_000_000_000;

/// A certificate of the issuer's own, to be changed.
fn issuer(key: &key::Key, scheme: key::Scheme) -> x509::Certificate {
    x509::Certificate {
        serial: vec![1],
        issuer: common_name("Issuer"),
        subject: common_name("Issuer"),
        not_before: NOW - 1000,
        not_after: NOW + 1_000_000,
        key: key.spki(),
        extensions: vec![Extension::issuer(None), Extension::usage(0x06)],
        scheme,
    }
}

const ECDSA: key::Scheme = key::Scheme::Ecdsa(rsa::Hash::Sha256);

/// The same by a key of P-256, with these extensions.
fn with(extensions: Vec<Extension>) -> Vec<u8> {
    let key = key::Key::p256(1);
    let draft = x509::Certificate {
        extensions,
        ..issuer(&key, ECDSA)
    };
    draft.sign(&key)
}

fn parse(der: &[u8]) -> Certificate<'_> {
    Certificate::parse(der).unwrap()
}

/// What comes of a certificate of the issuer's own with these extensions.
fn issued(extensions: Vec<Extension>, below: u64) -> Result<(), CertificateError> {
    let der = with(extensions);
    let certificate = parse(&der);
    certificate.issued(&certificate, below)
}

// ---- signatures --------------------------------------------------------------------------

fn schemes() -> Vec<(key::Key, key::Scheme)> {
    use key::Scheme::{Ecdsa, Pkcs1, Pss};
    use rsa::Hash::{Sha256, Sha384, Sha512};
    let mut out = Vec::new();
    for (hash, length) in [(Sha256, 32), (Sha384, 48), (Sha512, 64)] {
        out.push((key::Key::rsa(Rsa::Tpm), Pkcs1(hash)));
        out.push((key::Key::rsa(Rsa::Tpm), Pss(hash, length)));
        out.push((key::Key::p256(1), Ecdsa(hash)));
        out.push((key::Key::p384(2), Ecdsa(hash)));
    }
    out
}

#[test]
fn every_scheme_that_is_accepted_holds() {
    for (key, scheme) in schemes() {
        let der = issuer(&key, scheme).sign(&key);
        let certificate = parse(&der);
        assert_eq!(certificate.issued(&certificate, 0), Ok(()), "{scheme:?}");
    }
}

#[test]
fn a_signature_made_in_another_way_than_is_named_does_not_hold() {
    for (key, scheme) in schemes() {
        let others = schemes().into_iter().map(|(_, other)| other);
        for other in others.filter(|other| *other != scheme) {
            let kind = |s: key::Scheme| matches!(s, key::Scheme::Ecdsa(_));
            if kind(other) != kind(scheme) {
                continue;
            }
            let tbs = issuer(&key, scheme).to_tbs();
            let signature = der::bits(&key.sign(other, &tbs));
            let der = der::sequence(&[&tbs, &scheme.identifier(), &signature]);
            let certificate = parse(&der);
            assert_eq!(
                certificate.issued(&certificate, 0),
                Err(CertificateError::Signature("a certificate")),
                "{scheme:?} by {other:?}"
            );
        }
    }
}

/// An RSA key of which both halves are known.
fn rsa_key() -> (rsa::RsaPrivate, RsaKey) {
    let key::Key::Rsa(private) = key::Key::rsa(Rsa::Tpm) else {
        unreachable!("it is an RSA key")
    };
    let public = RsaKey::new(&private.modulus(), 65537).unwrap();
    (*private, public)
}

/// A signature of a message under PSS as it was before it was raised.
fn encoded(private: &rsa::RsaPrivate, public: &RsaKey, message: &[u8]) -> Vec<u8> {
    let signature = private.sign_pss(rsa::Hash::Sha256, 32, message);
    public.message(&signature).unwrap()
}

#[test]
fn every_part_of_the_padding_of_pss_is_compared() {
    let (private, public) = rsa_key();
    let encoded = encoded(&private, &public, b"a message");
    let verify =
        |encoded: &[u8]| public.verify_pss(Hash::Sha256, b"a message", &private.raise(encoded));
    assert!(verify(&encoded).is_ok());
    let last = encoded.len() - 1;
    // The masked zeros, the 1 before the salt, the salt, the digest, the trailer.
    for place in [
        0,
        1,
        100,
        last - 66,
        last - 65,
        last - 64,
        last - 33,
        last - 32,
        last - 1,
        last,
    ] {
        let mut changed = encoded.clone();
        changed[place] ^= 1;
        assert!(verify(&changed).is_err(), "byte {place}");
    }
}

#[test]
fn the_bit_of_pss_that_is_not_used_is_not_free() {
    let (private, public) = rsa_key();
    // Only below the modulus is there another signature of the same message.
    let (message, other) = (0..64_u8)
        .map(|number| {
            let mut other = encoded(&private, &public, &[number]);
            other[0] |= 0x80;
            ([number], other)
        })
        .find(|(_, other)| *other < private.modulus())
        .unwrap();
    let signature = private.raise(&other);
    assert_eq!(public.message(&signature), Some(other));
    assert!(
        public
            .verify_pss(Hash::Sha256, &message, &signature)
            .is_err()
    );
}

// ---- algorithms by their names -------------------------------------------------------------

fn identified<T>(
    identifier: &[u8],
    of: impl FnOnce(&Identifier<'_>) -> Result<T, CertificateError>,
) -> Result<T, CertificateError> {
    of(&Identifier::read(&mut Reader::new(identifier), "x").unwrap())
}

fn named(oid: &str, parameters: &[u8]) -> Vec<u8> {
    der::sequence(&[&der::oid(oid), parameters])
}

const SHA256: &str = "2.16.840.1.101.3.4.2.1";
const RSA: &str = "1.2.840.113549.1.1.1";
const SHA256_WITH_RSA: &str = "1.2.840.113549.1.1.11";
const MGF1: &str = "1.2.840.113549.1.1.8";

#[test]
fn parameters_that_mean_nothing_are_none_or_null() {
    let hash = |parameters: &[u8]| identified(&named(SHA256, parameters), |i| Hash::of(i, "x"));
    let scheme =
        |parameters: &[u8]| identified(&named(SHA256_WITH_RSA, parameters), |i| Scheme::of(i, "x"));
    for parameters in [vec![], der::null()] {
        assert_eq!(hash(&parameters), Ok(Hash::Sha256));
        assert_eq!(scheme(&parameters), Ok(Scheme::Rsa(Hash::Sha256)));
    }
    for parameters in [der::sequence(&[]), der::element(0x05, &[0]), der::number(1)] {
        assert_eq!(hash(&parameters), Err(CertificateError::Algorithm("x")));
        assert_eq!(scheme(&parameters), Err(CertificateError::Algorithm("x")));
    }
}

#[test]
fn a_signer_names_its_digest_once_or_the_same_twice() {
    let of =
        |identifier: Vec<u8>, digest| identified(&identifier, |i| Scheme::of_signer(i, digest));
    let ecdsa = ECDSA.identifier();
    assert_eq!(
        of(named(RSA, &der::null()), Hash::Sha384),
        Ok(Scheme::Rsa(Hash::Sha384))
    );
    assert_eq!(
        of(ecdsa.clone(), Hash::Sha256),
        Ok(Scheme::Ecdsa(Hash::Sha256))
    );
    assert_eq!(
        of(ecdsa, Hash::Sha384),
        Err(CertificateError::TwoAlgorithms(
            "the digest of the token's signature"
        ))
    );
    let what = "the token's signature algorithm";
    for identifier in [named(RSA, &der::number(1)), named("1.2.3", &der::null())] {
        assert_eq!(
            of(identifier, Hash::Sha256),
            Err(CertificateError::Algorithm(what))
        );
    }
}

/// Parameters of PSS with SHA-256: digest, mask, salt, and a trailer.
fn pss(mask: &[u8], salt: u64, trailer: &[u8]) -> Vec<u8> {
    let digest = named(SHA256, &der::null());
    let parameters = der::sequence(&[
        &der::explicit(0, &digest),
        &der::explicit(1, mask),
        &der::explicit(2, &der::number(salt)),
        trailer,
    ]);
    named("1.2.840.113549.1.1.10", &parameters)
}

#[test]
fn parameters_of_pss_are_those_that_vendors_write() {
    let of = |identifier: &[u8]| identified(identifier, |i| Scheme::of(i, "x"));
    let digest = named(SHA256, &der::null());
    let mask = named(MGF1, &digest);
    let trailer = |number| der::explicit(3, &der::number(number));
    let good = Ok(Scheme::RsaPss(Hash::Sha256));
    assert_eq!(of(&pss(&mask, 32, &[])), good);
    assert_eq!(of(&pss(&mask, 32, &trailer(1))), good);
    let other = named(MGF1, &named("2.16.840.1.101.3.4.2.2", &der::null()));
    let set = named(MGF1, &der::element(0x31, &digest[2..]));
    for wrong in [
        pss(&mask, 48, &[]),
        pss(&mask, 32, &trailer(2)),
        pss(&other, 32, &[]),
        pss(&set, 32, &[]),
        pss(&named(MGF1, &[]), 32, &[]),
        pss(&named("1.2.840.113549.1.1.9", &digest), 32, &[]),
        named("1.2.840.113549.1.1.10", &[]),
        named("1.2.840.113549.1.1.10", &der::null()),
    ] {
        assert_eq!(
            of(&wrong),
            Err(CertificateError::Algorithm("x")),
            "{wrong:02x?}"
        );
    }
}

// ---- keys --------------------------------------------------------------------------------

fn key(algorithm: &[u8], bits: &[u8]) -> Result<Key, CertificateError> {
    let spki = der::sequence(&[algorithm, &der::bits(bits)]);
    Key::parse(&Reader::new(&spki).any("x").unwrap(), "x")
}

#[test]
fn a_point_is_uncompressed_and_of_a_curve_that_is_named() {
    let (curve, ec) = (der::oid("1.2.840.10045.3.1.7"), "1.2.840.10045.2.1");
    let point = key::Key::p256(1).point();
    assert!(matches!(key(&named(ec, &curve), &point), Ok(Key::P256(_))));
    let point384 = key::Key::p384(1).point();
    let curve384 = der::oid("1.3.132.0.34");
    assert!(matches!(
        key(&named(ec, &curve384), &point384),
        Ok(Key::P384(_))
    ));

    let neither = "it is neither an RSA key nor an uncompressed point of a named curve";
    let compressed = [&[2 | (point[64] & 1)], &point[1..33]].concat();
    let octets = der::octets(&curve[2..]);
    let unknown = der::oid("1.3.132.0.35");
    for (parameters, bits, why) in [
        (&curve, compressed.as_slice(), neither),
        (&octets, &point, neither),
        (&vec![], &point, neither),
        (&unknown, &point, "its curve is neither P-256 nor P-384"),
        (&curve384, &point, "it is no point of its curve"),
    ] {
        let refused = CertificateError::Key { whose: "x", why };
        assert_eq!(key(&named(ec, parameters), bits).unwrap_err(), refused);
    }
}

#[test]
fn an_rsa_key_has_no_parameters() {
    let spki = key::Key::rsa(Rsa::Tpm).spki();
    let mut inside = Reader::new(&spki).any("x").unwrap().inside();
    inside.any("x").unwrap();
    let bits = inside.bits("x").unwrap();
    assert!(matches!(
        key(&named(RSA, &der::null()), bits),
        Ok(Key::Rsa(_))
    ));
    assert!(key(&named(RSA, &der::number(1)), bits).is_err());
}

// ---- extensions --------------------------------------------------------------------------

#[test]
fn what_known_extensions_say_is_read() {
    let purposes = ["1.3.6.1.5.5.7.3.1", "1.3.6.1.5.5.7.3.8"].map(der::oid);
    let der = with(vec![
        Extension::new("2.5.29.14", der::octets(&[7; 20])),
        Extension::issuer(Some(3)),
        Extension::usage(0x86),
        Extension::critical("2.5.29.37", der::sequence(&[&purposes[0], &purposes[1]])),
    ]);
    let certificate = parse(&der);
    let extensions = certificate.extensions();
    assert_eq!(extensions.key_id, Some(&[7; 20][..]));
    assert_eq!(extensions.usage, Some(0x86));
    let constraints = extensions.constraints.as_ref().unwrap();
    assert_eq!((constraints.issuer, constraints.below), (true, Some(3)));
    let list = purposes.each_ref().map(|p| &p[2..]);
    let found = extensions.purposes.as_ref().unwrap();
    assert_eq!((found.critical, found.list.as_slice()), (true, &list[..]));
    assert!(!extensions.unknown_critical);
}

#[test]
fn an_extension_that_must_not_be_passed_over_refuses_an_issuer() {
    let unknown = CertificateError::CriticalExtension("an issuer's certificate");
    let plain = || Extension::new("1.2.3", vec![5, 0]);
    let critical = || Extension::critical("1.2.4", vec![5, 0]);
    let and = |more: Vec<Extension>| {
        let mut all = vec![Extension::issuer(None), Extension::usage(0x06)];
        all.extend(more);
        all
    };
    assert_eq!(issued(and(vec![plain()]), 0), Ok(()));
    for order in [vec![critical(), plain()], vec![plain(), critical()]] {
        assert_eq!(issued(and(order.clone()), 0), Err(unknown.clone()));
        let der = with(and(order));
        let certificate = parse(&der);
        let known = |oids: &[&str]| {
            let contents: Vec<Vec<u8>> = oids.iter().map(|o| der::oid_content(o)).collect();
            let contents: Vec<&[u8]> = contents.iter().map(Vec::as_slice).collect();
            certificate.critical_besides(&contents)
        };
        // Whoever reads the critical one himself is not stopped by it, nor by one that may be passed over.
        assert!(known(&[]) && known(&["1.2.3"]));
        assert!(!known(&["1.2.4"]));
    }
}

#[test]
fn an_issuers_key_is_for_certificates() {
    let wrong = CertificateError::Issuer("its key is not for certificates");
    for (usage, expected) in [
        (0x04, Ok(())),
        (0x06, Ok(())),
        (0xff, Ok(())),
        (0x02, Err(wrong.clone())),
        (0x80, Err(wrong.clone())),
        (0xfb, Err(wrong)),
    ] {
        let extensions = vec![Extension::issuer(None), Extension::usage(usage)];
        assert_eq!(issued(extensions, 0), expected, "{usage:02x}");
    }
    assert_eq!(issued(vec![Extension::issuer(None)], 0), Ok(()));
}

#[test]
fn as_many_issuers_may_follow_as_it_allows() {
    let of = |below| issued(vec![Extension::issuer(Some(1))], below);
    assert_eq!((of(0), of(1)), (Ok(()), Ok(())));
    let more = CertificateError::Issuer("more issuers follow than it allows");
    assert_eq!(of(2), Err(more));
}

#[test]
fn bits_of_a_key_usage_that_are_said_not_to_be_used_are_not_set() {
    let usage = |content: &[u8]| {
        let bits = Extension::critical("2.5.29.15", der::element(0x03, content));
        let der = with(vec![bits]);
        let certificate = Certificate::parse(&der).ok()?;
        let extensions = certificate.extensions();
        Some((extensions.usage?, extensions.decipher_only))
    };
    assert_eq!(usage(&[1, 0x06]), Some((0x06, false)));
    assert_eq!(usage(&[7, 0x08, 0x80]), Some((0x08, true)));
    assert_eq!(usage(&[6, 0x08, 0x40]), Some((0x08, false)));
    for wrong in [
        &[2, 0x06][..],
        &[8, 0],
        &[7, 0x08, 0xc0],
        &[7, 0x08, 0x40],
        &[0],
        &[],
        &[0, 1, 2, 3],
    ] {
        assert_eq!(usage(wrong), None, "{wrong:02x?}");
    }
}

/// What is so long, of what is made with so much padding.
fn of_length(length: usize, of: impl Fn(usize) -> Vec<u8>) -> Vec<u8> {
    let rest = of(length / 2).len() - length / 2;
    let out = of(length - rest);
    assert_eq!(out.len(), length);
    out
}

/// Signatures of RSA are all of one length.
const RSA_SCHEME: key::Scheme = key::Scheme::Pkcs1(rsa::Hash::Sha256);

fn padding(length: usize) -> Vec<Extension> {
    vec![Extension::new("1.2.3", vec![5; length])]
}

#[test]
fn the_longest_certificate_is_read_and_no_longer_one() {
    let key = key::Key::rsa(Rsa::Tpm);
    let padded = |length| x509::Certificate {
        extensions: padding(length),
        ..issuer(&key, RSA_SCHEME)
    };
    let of = |length| of_length(length, |more| padded(more).sign(&key));
    assert!(Certificate::parse(&of(32_768)).is_ok());
    for length in [32_769, 32_770] {
        let long = of(length);
        let found = Certificate::parse(&long).unwrap_err();
        assert!(
            matches!(found, CertificateError::TooLarge { .. }),
            "{found}"
        );
    }
}

// ---- lists -------------------------------------------------------------------------------

fn crl(revoked: Vec<(Vec<u8>, u64)>, extensions: Vec<Extension>) -> Vec<u8> {
    crl_by(&key::Key::p256(1), ECDSA, revoked, extensions)
}

fn crl_by(
    key: &key::Key,
    scheme: key::Scheme,
    revoked: Vec<(Vec<u8>, u64)>,
    extensions: Vec<Extension>,
) -> Vec<u8> {
    let list = x509::Crl {
        issuer: common_name("Issuer"),
        this_update: NOW,
        next_update: Some(NOW + 1_000_000),
        revoked,
        extensions,
        scheme,
    };
    list.sign(key)
}

#[test]
fn a_list_has_the_name_of_its_issuer_and_all_of_its_entries() {
    let der = crl(vec![(vec![7], NOW - 5000), (vec![9], NOW - 3000)], vec![]);
    let list = Crl::parse(&der).unwrap();
    assert_eq!(list.issuer(), common_name("Issuer"));
    assert_eq!(list.count(), 2);
    let at = |number| list.revoked(&der::number(number));
    assert_eq!(
        (at(7), at(8), at(9)),
        (Some(NOW - 5000), None, Some(NOW - 3000))
    );
}

#[test]
fn a_list_is_signed_by_a_key_that_is_for_it() {
    let der = crl(vec![], vec![]);
    let list = Crl::parse(&der).unwrap();
    let wrong = CertificateError::Issuer("its key is not for lists");
    for (usage, expected) in [(0x02, Ok(())), (0x04, Ok(())), (0x80, Err(wrong))] {
        let issuer = with(vec![Extension::issuer(None), Extension::usage(usage)]);
        assert_eq!(list.verify(&parse(&issuer)), expected, "{usage:02x}");
    }
    let issuer = with(vec![Extension::issuer(None)]);
    assert_eq!(list.verify(&parse(&issuer)), Ok(()));
}

#[test]
fn a_list_may_say_its_number_and_nothing_unknown_that_matters() {
    let of = |extension| Crl::parse(&crl(vec![], vec![extension])).map(|_| ());
    assert_eq!(of(Extension::crl_number(3)), Ok(()));
    assert_eq!(of(Extension::critical("2.5.29.20", der::number(3))), Ok(()));
    assert_eq!(of(Extension::new("1.2.3", der::null())), Ok(()));
    let refused = CertificateError::CriticalExtension("a revocation list");
    assert_eq!(of(Extension::critical("1.2.3", der::null())), Err(refused));
}

/// A list of one entry with an extension.
fn entry_with(critical: bool) -> Vec<u8> {
    let flag = if critical { der::boolean(true) } else { vec![] };
    let reason = der::element(0x0a, &[1]);
    let extension = der::sequence(&[&der::oid("2.5.29.21"), &flag, &der::octets(&reason)]);
    let entry = der::sequence(&[
        &der::number(7),
        &der::time(NOW),
        &der::sequence(&[&extension]),
    ]);
    let tbs = der::sequence(&[
        &der::number(1),
        &ECDSA.identifier(),
        &common_name("Issuer"),
        &der::time(NOW),
        &der::time(NOW + 1_000_000),
        &der::sequence(&[&entry]),
    ]);
    signed(&tbs, ECDSA, &key::Key::p256(1))
}

#[test]
fn an_entry_of_a_list_may_give_a_reason_and_nothing_that_moves_it() {
    let der = entry_with(false);
    let list = Crl::parse(&der).unwrap();
    assert_eq!(
        (list.count(), list.revoked(&der::number(7))),
        (1, Some(NOW))
    );
    assert_eq!(
        Crl::parse(&entry_with(true)).unwrap_err(),
        CertificateError::CriticalExtension("an entry of a revocation list")
    );
}

#[test]
fn the_longest_list_is_read_and_no_longer_one() {
    let padded = |length| {
        crl_by(
            &key::Key::rsa(Rsa::Tpm),
            RSA_SCHEME,
            vec![],
            padding(length),
        )
    };
    let of = |length| of_length(length, padded);
    assert!(Crl::parse(&of(1_048_576)).is_ok());
    for length in [1_048_577, 1_048_578] {
        let found = Crl::parse(&of(length)).map(|_| ());
        assert!(
            matches!(found, Err(CertificateError::TooLarge { .. })),
            "{found:?}"
        );
    }
}
