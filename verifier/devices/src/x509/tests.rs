use super::*;
use crate::key::Rsa;
use crate::rsa::Hash;

fn certificate(key: &Key, scheme: Scheme) -> Certificate {
    Certificate {
        serial: vec![1, 0, 1],
        issuer: common_name("Test Root"),
        subject: common_name("Test Root"),
        not_before: 1_700_000_000_000,
        not_after: 4_107_542_400_000,
        key: key.spki(),
        extensions: vec![Extension::issuer(Some(1)), Extension::usage(0x06)],
        scheme,
    }
}

/// Digests of what a program that has nothing to do with this one (OpenSSL 3) says OK to: each certificate
/// below was written to a file and `openssl verify -x509_strict -check_ss_sig` ran on it.
#[test]
fn certificates_are_the_bytes_that_openssl_verified() {
    let pss = Scheme::PSS_SHA384;
    let cases = [
        ("ark", Key::rsa(Rsa::Ark), pss),
        ("tpm", Key::rsa(Rsa::Tpm), Scheme::Pkcs1(Hash::Sha256)),
        ("p256", Key::p256(1), Scheme::Ecdsa(Hash::Sha256)),
        ("p384", Key::p384(2), Scheme::Ecdsa(Hash::Sha384)),
    ];
    let found: Vec<String> = cases
        .iter()
        .map(|(name, key, scheme)| {
            let der = certificate(key, *scheme).sign(key);
            format!("{name} {}", hex::encode(Hash::Sha256.digest(&der)))
        })
        .collect();
    assert_eq!(found, DIGESTS);
}

/// Likewise `openssl crl -verify`.
#[test]
fn a_list_is_the_bytes_that_openssl_verified() {
    let key = Key::rsa(Rsa::Ark);
    let crl = Crl {
        issuer: common_name("Test Root"),
        this_update: 1_700_000_000_000,
        next_update: Some(1_800_000_000_000),
        revoked: vec![(vec![7], 1_700_000_000_000)],
        extensions: vec![Extension::crl_number(3)],
        scheme: Scheme::PSS_SHA384,
    };
    let der = crl.sign(&key);
    assert_eq!(hex::encode(Hash::Sha256.digest(&der)), CRL_DIGEST);
}

const DIGESTS: [&str; 4] = [
    "ark e09a30e5ccfe5adddec045b12c2cb3881a43b3f00158a42051634cc26bac419a",
    "tpm 9b9e8c0c9376062a9276e21959bf195bcd12622f3b3cc72d2040e260ff75e207",
    "p256 658f8946cdf489a60a19caa1edc37fc22af1bac32ab160dd23b5f8139102d65f",
    "p384 7aac07f4f5c404e6c5da7db6aa4b34e18f1be9b6dd4a97327a0fbe4d8fc52e2c",
];
const CRL_DIGEST: &str = "c56407500316832f8aa8344dec415061e8314e4da7386974a1a4f6115a20231d";
