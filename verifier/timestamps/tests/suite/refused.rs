//! Tokens that do not hold: each genuinely signed, with one thing changed, and the error that names it.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test"
)]

use crate::common::*;
use countersign_timestamps::{
    Authority, CertificateError, DerError, Imprint, TimestampError, Token,
};
use proptest::prelude::*;

const OVER: Imprint = Imprint([5; 32]);

fn forge() -> Forge {
    Forge::new(OVER.0, "20260304050607Z")
}

fn judged(forge: &Forge, token: &[u8]) -> TimestampError {
    let root = Authority::parse(&forge.root.der()).unwrap();
    Token::parse(token)
        .and_then(|t| t.verify(OVER, &[root]))
        .unwrap_err()
}

/// Why a token is refused of which one thing was changed before it was signed.
fn changed(change: impl FnOnce(&mut Forge)) -> TimestampError {
    let mut forge = forge();
    change(&mut forge);
    judged(&forge, &forge.token())
}

/// The same for the signed attributes.
fn with_attributes(change: impl FnOnce(&mut Vec<Attribute>)) -> TimestampError {
    let forge = forge();
    let content = forge.content();
    let mut attributes = forge.attributes(&content);
    change(&mut attributes);
    judged(&forge, &forge.token_of(&content, &attributes))
}

// ---- what it is over, and by whom --------------------------------------------------------

#[test]
fn another_imprint() {
    let found = changed(|f| f.imprint = vec![6; 32]);
    assert_eq!(found, TimestampError::Imprint);
}

#[test]
fn an_imprint_of_another_length() {
    let found = changed(|f| f.imprint = vec![5; 31]);
    assert!(matches!(
        found,
        TimestampError::Form(DerError::Value { .. })
    ));
}

#[test]
fn an_authority_that_is_not_pinned() {
    let found = changed(|f| f.root.subject = "somebody else");
    assert_eq!(found, TimestampError::NobodyKnown);
}

#[test]
fn no_authority_at_all() {
    let token = forge().token();
    let found = Token::parse(&token).unwrap().verify(OVER, &[]);
    assert_eq!(found, Err(TimestampError::NobodyKnown));
}

#[test]
fn a_root_of_the_same_name_with_another_key() {
    let found = changed(|f| f.root = issuer("root", "root", 8, 8));
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Signature("a certificate"))
    );
}

#[test]
fn a_root_that_only_the_token_brings() {
    let forge = forge();
    let mut with_root = forge.clone();
    with_root.extra = vec![forge.root.der()];
    let other = Authority::parse(&issuer("other", "other", 8, 8).der()).unwrap();
    let found = Token::parse(&with_root.token())
        .unwrap()
        .verify(OVER, &[other]);
    assert_eq!(found, Err(TimestampError::NobodyKnown));
}

#[test]
fn a_signer_whose_certificate_does_not_come_along() {
    assert_eq!(changed(|f| f.with_signer = false), TimestampError::NoSigner);
}

#[test]
fn a_signature_by_another_key() {
    assert_eq!(
        changed(|f| f.signs = 9),
        TimestampError::Certificate(CertificateError::Signature("the token"))
    );
}

// ---- the signed attributes ---------------------------------------------------------------

#[test]
fn a_missing_attribute() {
    for (place, name) in ["content-type", "message-digest", "signing-certificate-v2"]
        .into_iter()
        .enumerate()
    {
        let found = with_attributes(|a| drop(a.remove(place)));
        assert_eq!(found, TimestampError::NoAttribute(name));
    }
}

#[test]
fn an_attribute_that_stands_there_twice() {
    let found = with_attributes(|a| a.push(a[1].clone()));
    assert_eq!(found, TimestampError::AttributeTwice("message-digest"));
}

#[test]
fn an_attribute_with_two_values() {
    let found = with_attributes(|a| {
        let value = a[1].values[0].clone();
        a[1].values.push(value);
    });
    assert_eq!(found, TimestampError::AttributeTwice("message-digest"));
}

#[test]
fn an_attribute_without_a_value() {
    let found = with_attributes(|a| a[1].values.clear());
    assert_eq!(found, TimestampError::AttributeTwice("message-digest"));
}

#[test]
fn a_content_type_that_is_not_the_contents() {
    let found = with_attributes(|a| a[0].values = vec![oid(DATA)]);
    assert_eq!(found, TimestampError::Kind("signed attribute content-type"));
}

#[test]
fn a_digest_of_another_content() {
    let found = with_attributes(|a| a[1].values = vec![octets(&[7; 32])]);
    assert_eq!(found, TimestampError::ContentDigest);
}

#[test]
fn a_content_that_was_exchanged_after_it_was_signed() {
    let forge = forge();
    let attributes = forge.attributes(&forge.content());
    let mut later = forge.clone();
    later.time = "20260204050607Z".into();
    let token = forge.token_of(&later.content(), &attributes);
    assert_eq!(judged(&forge, &token), TimestampError::ContentDigest);
}

#[test]
fn attributes_that_were_changed_after_they_were_signed() {
    let forge = forge();
    let content = forge.content();
    let list = |content: &[u8], extra: &[Attribute]| -> Vec<u8> {
        [&forge.attributes(content), extra]
            .concat()
            .iter()
            .flat_map(|a| seq(&[oid(a.id), set(&a.values)]))
            .collect()
    };
    let signature = sign(SIGNER, &tlv(0x31, &list(&content, &[])));
    let more = Attribute {
        id: &[1, 2, 3],
        values: vec![int(1)],
    };
    let token = forge.assemble(&content, &list(&content, &[more]), &signature);
    assert_eq!(
        judged(&forge, &token),
        TimestampError::Certificate(CertificateError::Signature("the token"))
    );
}

#[test]
fn attributes_that_are_signed_under_the_tag_that_they_have_in_the_token() {
    let forge = forge();
    let content = forge.content();
    let attributes: Vec<u8> = forge
        .attributes(&content)
        .iter()
        .flat_map(|a| seq(&[oid(a.id), set(&a.values)]))
        .collect();
    let signature = sign(SIGNER, &tlv(0xa0, &attributes));
    let token = forge.assemble(&content, &attributes, &signature);
    assert_eq!(
        judged(&forge, &token),
        TimestampError::Certificate(CertificateError::Signature("the token"))
    );
}

#[test]
fn a_signature_over_the_content_instead_of_the_attributes() {
    let forge = forge();
    let content = forge.content();
    let attributes: Vec<u8> = forge
        .attributes(&content)
        .iter()
        .flat_map(|a| seq(&[oid(a.id), set(&a.values)]))
        .collect();
    let token = forge.assemble(&content, &attributes, &sign(SIGNER, &content));
    assert_eq!(
        judged(&forge, &token),
        TimestampError::Certificate(CertificateError::Signature("the token"))
    );
}

#[test]
fn a_named_certificate_that_is_not_the_signers() {
    let found = with_attributes(|a| a[2].values = vec![seq(&[seq(&[seq(&[octets(&[7; 32])])])])]);
    assert_eq!(found, TimestampError::SigningCertificate);
}

#[test]
fn the_signers_certificate_exchanged_for_another_of_the_same_key_and_name() {
    let forge = forge();
    let content = forge.content();
    let attributes = forge.attributes(&content);
    let mut exchanged = forge.clone();
    exchanged.signer.until = "20460101000000Z";
    let token = exchanged.token_of(&content, &attributes);
    assert_eq!(judged(&forge, &token), TimestampError::SigningCertificate);
}

#[test]
fn a_named_certificate_by_an_unknown_digest() {
    let id = seq(&[digest_id(&[1, 3, 14, 3, 2, 26]), octets(&[7; 20])]);
    let found = with_attributes(|a| a[2].values = vec![seq(&[seq(&[id])])]);
    let what = "the digest of signing-certificate-v2";
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Algorithm(what))
    );
}

// ---- the signer's certificate ------------------------------------------------------------

#[test]
fn a_signer_without_a_purpose() {
    let found = changed(|f| f.signer.without(PURPOSES));
    assert_eq!(found, TimestampError::Purpose("it names no purpose"));
}

#[test]
fn a_purpose_that_is_not_critical() {
    let found = changed(|f| f.signer.extension(PURPOSES).critical = false);
    assert_eq!(
        found,
        TimestampError::Purpose("its purpose is not critical")
    );
}

#[test]
fn another_purpose() {
    let found = changed(|f| f.signer.extension(PURPOSES).value = seq(&[oid(CODE_SIGNING)]));
    let why = "it has another purpose, or more than one";
    assert_eq!(found, TimestampError::Purpose(why));
}

#[test]
fn a_second_purpose() {
    let found = changed(|f| {
        f.signer.extension(PURPOSES).value = seq(&[oid(TIME_STAMPING), oid(CODE_SIGNING)]);
    });
    let why = "it has another purpose, or more than one";
    assert_eq!(found, TimestampError::Purpose(why));
}

#[test]
fn a_signers_key_that_is_not_for_signatures() {
    // keyEncipherment alone.
    let found = changed(|f| f.signer.extension(KEY_USAGE).value = tlv(0x03, &[5, 0x20]));
    assert_eq!(
        found,
        TimestampError::Purpose("its key is not for signatures")
    );
}

#[test]
fn a_signer_that_may_issue_certificates() {
    let found = changed(|f| {
        let constraints = seq(&[tlv(0x01, &[0xff])]);
        f.signer
            .extensions
            .push(extension(CONSTRAINTS, true, constraints));
    });
    assert_eq!(found, TimestampError::Purpose("it may issue certificates"));
}

#[test]
fn a_signers_certificate_that_had_expired() {
    let found = changed(|f| f.signer.until = "20260304050606Z");
    assert!(
        matches!(
            found,
            TimestampError::Certificate(CertificateError::Validity {
                whose: "the signer's certificate",
                ..
            })
        ),
        "{found}"
    );
}

#[test]
fn a_signers_certificate_that_was_not_valid_yet() {
    let found = changed(|f| f.signer.from = "20260304050608Z");
    assert!(
        matches!(
            found,
            TimestampError::Certificate(CertificateError::Validity {
                whose: "the signer's certificate",
                ..
            })
        ),
        "{found}"
    );
}

#[test]
fn a_critical_extension_of_the_signer_that_is_not_known() {
    let found = changed(|f| {
        f.signer
            .extensions
            .push(extension(NAME_CONSTRAINTS, true, seq(&[])));
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::CriticalExtension(
            "the signer's certificate"
        ))
    );
}

#[test]
fn an_extension_that_stands_there_twice() {
    let found = changed(|f| {
        let again = f.signer.extension(PURPOSES).clone();
        f.signer.extensions.push(again);
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::ExtensionTwice("a certificate"))
    );
}

#[test]
fn a_certificate_of_an_older_version() {
    let found = changed(|f| f.signer.version = 1);
    let field = "TBSCertificate.version";
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Version {
            field,
            found: 1,
            expected: 2
        })
    );
}

#[test]
fn a_certificate_that_is_signed_with_sha_1() {
    let found =
        changed(|f| (f.signer.algorithm, f.signer.outer_algorithm) = (ECDSA_SHA1, ECDSA_SHA1));
    let what = "a certificate's signature algorithm";
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Algorithm(what))
    );
}

#[test]
fn a_certificate_that_names_two_algorithms() {
    let found = changed(|f| f.signer.outer_algorithm = ECDSA_SHA384);
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::TwoAlgorithms("a certificate's signature"))
    );
}

#[test]
fn a_key_on_another_curve() {
    // P-521.
    let found = changed(|f| {
        let curve = seq(&[oid(EC), oid(&[1, 3, 132, 0, 35])]);
        f.signer.key_info = seq(&[curve, bits(&point(SIGNER))]);
    });
    let why = "its curve is neither P-256 nor P-384";
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Key {
            whose: "the signer",
            why
        })
    );
}

#[test]
fn a_compressed_point() {
    let found = changed(|f| {
        let point = key(SIGNER).verifying_key().to_sec1_point(true);
        f.signer.key_info = seq(&[seq(&[oid(EC), oid(P256)]), bits(point.as_bytes())]);
    });
    assert!(
        matches!(
            found,
            TimestampError::Certificate(CertificateError::Key {
                whose: "the signer",
                ..
            })
        ),
        "{found}"
    );
}

#[test]
fn a_point_beside_its_curve() {
    let found = changed(|f| {
        let mut point = point(SIGNER);
        point[64] ^= 1;
        f.signer.key_info = seq(&[seq(&[oid(EC), oid(P256)]), bits(&point)]);
    });
    let why = "it is no point of its curve";
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Key {
            whose: "the signer",
            why
        })
    );
}

// ---- issuers -----------------------------------------------------------------------------

/// Why a token with an issuer between signer and root is refused, one thing of the issuer changed.
fn issuer_changed(change: impl FnOnce(&mut Certificate)) -> TimestampError {
    changed(|f| {
        let mut middle = issuer("middle", "root", 4, ROOT);
        change(&mut middle);
        f.issuers = vec![middle];
        f.signer = stamper("stamper", "middle", SIGNER, 4);
    })
}

#[test]
fn an_issuer_that_is_none() {
    let found = issuer_changed(|c| c.without(CONSTRAINTS));
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Issuer("it is not of an issuer"))
    );
}

#[test]
fn an_issuer_that_says_that_it_is_none() {
    let found = issuer_changed(|c| c.extension(CONSTRAINTS).value = seq(&[]));
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Issuer("it is not of an issuer"))
    );
}

#[test]
fn another_signer_as_issuer() {
    let found = changed(|f| {
        f.issuers = vec![stamper("middle", "root", 4, ROOT)];
        f.signer = stamper("stamper", "middle", SIGNER, 4);
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Issuer("it is not of an issuer"))
    );
}

#[test]
fn an_issuers_key_that_is_not_for_certificates() {
    let found = issuer_changed(|c| c.extension(KEY_USAGE).value = tlv(0x03, &[1, 0x02]));
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Issuer("its key is not for certificates"))
    );
}

#[test]
fn an_issuer_for_other_purposes() {
    let found = issuer_changed(|c| {
        c.extensions
            .push(extension(PURPOSES, false, seq(&[oid(CODE_SIGNING)])));
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Issuer(
            "its purposes leave out timestamps"
        ))
    );
}

#[test]
fn an_issuer_that_had_expired() {
    let found = issuer_changed(|c| c.until = "20260304050606Z");
    assert!(
        matches!(
            found,
            TimestampError::Certificate(CertificateError::Validity {
                whose: "an issuer's certificate",
                ..
            })
        ),
        "{found}"
    );
}

#[test]
fn a_root_that_had_expired() {
    let found = changed(|f| f.root.until = "20260304050606Z");
    assert!(
        matches!(
            found,
            TimestampError::Certificate(CertificateError::Validity {
                whose: "an issuer's certificate",
                ..
            })
        ),
        "{found}"
    );
}

#[test]
fn a_critical_extension_of_an_issuer_that_is_not_known() {
    let found = issuer_changed(|c| {
        c.extensions
            .push(extension(NAME_CONSTRAINTS, true, seq(&[])));
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::CriticalExtension(
            "an issuer's certificate"
        ))
    );
}

#[test]
fn an_issuer_by_another_key_than_the_roots() {
    let found = issuer_changed(|c| c.by = 9);
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Signature("a certificate"))
    );
}

#[test]
fn a_signers_certificate_by_another_key_than_the_issuers() {
    let found = changed(|f| {
        f.issuers = vec![issuer("middle", "root", 4, ROOT)];
        f.signer = stamper("stamper", "middle", SIGNER, 9);
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Signature("a certificate"))
    );
}

#[test]
fn more_issuers_than_one_of_them_allows() {
    let found = changed(|f| {
        let mut one = issuer("one", "root", 4, ROOT);
        // None may follow.
        one.extension(CONSTRAINTS).value = seq(&[tlv(0x01, &[0xff]), int(0)]);
        f.issuers = vec![one, issuer("two", "one", 5, 4)];
        f.signer = stamper("stamper", "two", SIGNER, 5);
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Issuer(
            "more issuers follow than it allows"
        ))
    );
}

#[test]
fn a_way_of_five() {
    let found = changed(|f| {
        f.issuers = vec![
            issuer("one", "root", 4, ROOT),
            issuer("two", "one", 5, 4),
            issuer("three", "two", 6, 5),
        ];
        f.signer = stamper("stamper", "three", SIGNER, 6);
    });
    assert_eq!(found, TimestampError::NobodyKnown);
}

#[test]
fn issuers_that_certify_each_other() {
    let found = changed(|f| {
        f.issuers = vec![issuer("one", "two", 4, 5), issuer("two", "one", 5, 4)];
        f.signer = stamper("stamper", "one", SIGNER, 4);
    });
    assert_eq!(found, TimestampError::NobodyKnown);
}

#[test]
fn certificates_of_one_name_that_make_more_ways_than_are_looked_at() {
    let found = changed(|f| {
        // Each leads to the root by name, and none by its signature.
        f.issuers = (4..11)
            .map(|key| {
                let mut issuer = issuer("root", "root", key, 99);
                issuer.serial = key;
                issuer
            })
            .collect();
        f.signer = stamper("stamper", "root", SIGNER, 98);
    });
    assert_eq!(found, TimestampError::Ways { limit: 16 });
}

#[test]
fn more_extensions_than_are_looked_at() {
    let extensions: Vec<Vec<u64>> = (0..40).map(|n| vec![1, 2, 3, n]).collect();
    let extensions: &'static [Vec<u64>] = extensions.leak();
    let found = changed(|f| {
        for id in extensions {
            f.signer.extensions.push(extension(id, false, vec![5, 0]));
        }
    });
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Extensions { limit: 32 })
    );
}

#[test]
fn a_pinned_certificate_that_may_not_issue() {
    let found = Authority::parse(&stamper("stamper", "root", SIGNER, ROOT).der());
    assert_eq!(
        found,
        Err(TimestampError::Certificate(CertificateError::Issuer(
            "it is not of an issuer"
        )))
    );
}

#[test]
fn a_pinned_certificate_with_a_key_that_is_not_accepted() {
    let mut root = issuer("root", "root", ROOT, ROOT);
    let curve = seq(&[oid(EC), oid(&[1, 3, 132, 0, 35])]);
    root.key_info = seq(&[curve, bits(&point(ROOT))]);
    let found = Authority::parse(&root.der());
    assert!(
        matches!(
            found,
            Err(TimestampError::Certificate(CertificateError::Key { .. }))
        ),
        "{found:?}"
    );
}

// ---- form --------------------------------------------------------------------------------

#[test]
fn two_signers() {
    let found = changed(|f| f.signers = 2);
    assert_eq!(found, TimestampError::Signers { found: 2 });
}

#[test]
fn no_signer() {
    let found = changed(|f| f.signers = 0);
    assert_eq!(found, TimestampError::Signers { found: 0 });
}

#[test]
fn another_content_than_a_timestamp() {
    let found = changed(|f| f.content_kind = DATA);
    assert_eq!(found, TimestampError::Kind("eContentType"));
}

#[test]
fn other_versions() {
    let version = |field, found, expected| TimestampError::Version {
        field,
        found,
        expected,
    };
    let found = changed(|f| f.version = 1);
    assert_eq!(found, version("SignedData.version", 1, 3));
    let found = changed(|f| f.info_version = 2);
    assert_eq!(found, version("TSTInfo.version", 2, 1));
    let found = changed(|f| f.signer_version = 3);
    assert_eq!(found, version("SignerInfo.version", 3, 1));
}

#[test]
fn another_digest_than_the_contents() {
    let found = changed(|f| f.digest = digest_id(SHA384));
    // The content's digest is made by the one that the token names.
    assert_eq!(found, TimestampError::ContentDigest);
}

#[test]
fn a_digest_that_is_named_in_two_ways() {
    let found = changed(|f| f.algorithm = seq(&[oid(ECDSA_SHA384)]));
    let what = "the digest of the token's signature";
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::TwoAlgorithms(what))
    );
}

#[test]
fn parameters_where_an_algorithm_has_none() {
    let found = changed(|f| f.algorithm = digest_id(ECDSA_SHA256));
    let what = "the token's signature algorithm";
    assert_eq!(
        found,
        TimestampError::Certificate(CertificateError::Algorithm(what))
    );
}

#[test]
fn a_critical_extension_of_the_token() {
    let found = changed(|f| {
        let critical = seq(&[oid(&[1, 2, 3]), tlv(0x01, &[0xff]), octets(&[1])]);
        f.info_extensions = tlv(0xa1, &critical);
    });
    assert_eq!(found, TimestampError::CriticalExtension("the token"));
}

#[test]
fn an_accuracy_of_more_than_its_parts_hold() {
    let found = changed(|f| f.accuracy = seq(&[tlv(0x80, &[0x03, 0xe8])]));
    assert!(matches!(
        found,
        TimestampError::Form(DerError::Value {
            field: "Accuracy.millis",
            ..
        })
    ));
}

#[test]
fn a_time_without_its_zone() {
    let found = changed(|f| f.time = "20260304050607".into());
    assert!(matches!(
        found,
        TimestampError::Form(DerError::Value {
            field: "TSTInfo.genTime",
            ..
        })
    ));
}

#[test]
fn more_certificates_than_are_looked_at() {
    let found = changed(|f| f.extra = vec![issuer("x", "x", 9, 9).der(); 8]);
    assert!(
        matches!(found, TimestampError::Certificates { .. }),
        "{found}"
    );
}

#[test]
fn bytes_after_the_token() {
    let forge = forge();
    let found = judged(&forge, &[forge.token(), vec![0]].concat());
    let trailing = DerError::Trailing {
        field: "ContentInfo",
        count: 1,
    };
    assert_eq!(found, TimestampError::Form(trailing));
}

#[test]
fn bytes_after_the_content() {
    let forge = forge();
    let content = [forge.content(), vec![0]].concat();
    let found = judged(
        &forge,
        &forge.token_of(&content, &forge.attributes(&content)),
    );
    let trailing = DerError::Trailing {
        field: "TSTInfo",
        count: 1,
    };
    assert_eq!(found, TimestampError::Form(trailing));
}

#[test]
fn a_length_that_is_indefinite() {
    let forge = forge();
    let token = forge.token();
    // The same token in BER: the outermost length is left open, and ended by two zeros.
    let ber = [&[0x30, 0x80], &token[4..], &[0, 0]].concat();
    assert!(matches!(
        judged(&forge, &ber),
        TimestampError::Form(DerError::Length { .. })
    ));
}

#[test]
fn a_token_that_is_too_large() {
    let parsed = |size| Token::parse(&vec![0x30; size]).map(|_| ()).unwrap_err();
    let found = 65_537;
    assert_eq!(parsed(found), TimestampError::TooLarge { found });
    // One that is not is read, and is none.
    assert!(matches!(parsed(65_536), TimestampError::Form(_)));
}

#[test]
fn digests_that_are_none() {
    let found = changed(|f| f.digests = Some(int(1)));
    assert!(matches!(found, TimestampError::Form(_)), "{found}");
}

#[test]
fn any_cut() {
    let forge = forge();
    let token = forge.token();
    for length in 0..token.len() {
        assert!(Token::parse(&token[..length]).is_err(), "{length}");
    }
}

proptest! {
    #[test]
    fn random_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        let _ = Token::parse(&bytes);
        let _ = Authority::parse(&bytes);
    }

    #[test]
    fn changed_bytes_never_panic_and_never_say_something_else(
        changes in proptest::collection::vec((any::<usize>(), any::<u8>()), 1..6),
    ) {
        let forge = forge();
        let good = forge.token();
        let mut token = good.clone();
        for (at, byte) in changes {
            let at = at % token.len();
            token[at] = byte;
        }
        let root = Authority::parse(&forge.root.der()).unwrap();
        if let Ok(stamped) = Token::parse(&token).and_then(|t| t.verify(OVER, std::slice::from_ref(&root))) {
            let said = Token::parse(&good).unwrap().verify(OVER, &[root]).unwrap();
            prop_assert_eq!(stamped, said);
        }
    }
}
