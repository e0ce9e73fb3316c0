//! Tokens that hold: another implementation's, and our own in every form that is allowed.

#![expect(
    clippy::unwrap_used,
    clippy::arithmetic_side_effects,
    reason = "test code: a panic is a failed test"
)]

use crate::common::*;
use base64::{Engine as _, engine::general_purpose::STANDARD};
use countersign_timestamps::exchange::{Nonce, ReplyError, request, token_of};
use countersign_timestamps::{
    Authority, CertificateError, Imprint, RootError, Stamped, TimestampError, Token,
};
use sha2::{Digest as _, Sha256, Sha384};
use std::path::Path;

fn file(name: &str) -> Vec<u8> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/openssl");
    std::fs::read(directory.join(name)).unwrap()
}

fn note() -> Imprint {
    Imprint(Sha256::digest(file("note.txt")).into())
}

fn roots() -> Vec<Authority> {
    ["rsa-root.der", "ec-root.der"]
        .map(|name| Authority::parse(&file(name)).unwrap())
        .to_vec()
}

/// 2026-11-25 17:57, when the files were made.
const MADE: std::ops::Range<u64> = 1_795_629_420_000..1_795_629_540_000;

fn openssl(name: &str, authority: usize) {
    let bytes = file(name);
    let stamped = Token::parse(&bytes)
        .unwrap()
        .verify(note(), &roots())
        .unwrap();
    assert_eq!(stamped.authority(), authority);
    assert!(MADE.contains(&stamped.at_ms()), "{}", stamped.at_ms());
    // Its accuracy is 1 s, 500 ms and 100 µs.
    assert_eq!(stamped.latest_ms(), stamped.at_ms() + 1501);
}

#[test]
fn a_token_of_openssl_by_rsa_2048_with_sha_256_holds() {
    openssl("rsa-2048-sha256.tst", 0);
}

#[test]
fn a_token_of_openssl_by_rsa_3072_with_sha_384_holds() {
    openssl("rsa-3072-sha384.tst", 0);
}

#[test]
fn a_token_of_openssl_by_rsa_4096_with_sha_512_holds() {
    openssl("rsa-4096-sha512.tst", 0);
}

#[test]
fn a_token_of_openssl_with_an_issuer_between_holds() {
    openssl("rsa-below-sha256.tst", 0);
}

#[test]
fn a_token_of_openssl_by_p_256_holds() {
    openssl("p-256-sha256.tst", 1);
}

#[test]
fn a_token_of_openssl_by_p_384_with_sha_512_holds() {
    openssl("p-384-sha512.tst", 1);
}

#[test]
fn a_token_of_openssl_is_nobodys_without_its_root() {
    let bytes = file("p-256-sha256.tst");
    let others = &roots()[..1];
    let found = Token::parse(&bytes).unwrap().verify(note(), others);
    assert_eq!(found, Err(TimestampError::NobodyKnown));
}

#[test]
fn a_short_rsa_key_is_refused() {
    let bytes = file("rsa-1024.tst");
    let found = Token::parse(&bytes).unwrap().verify(note(), &roots());
    assert!(
        matches!(
            found,
            Err(TimestampError::Certificate(CertificateError::Key { .. }))
        ),
        "{found:?}"
    );
}

#[test]
fn a_token_that_is_signed_with_sha_1_is_refused() {
    let bytes = file("signed-by-sha1.tst");
    let found = Token::parse(&bytes).unwrap().verify(note(), &roots());
    assert_eq!(
        found,
        Err(TimestampError::Certificate(CertificateError::Algorithm(
            "the token's digest"
        )))
    );
}

#[test]
fn a_token_that_names_its_certificate_by_sha_1_alone_is_refused() {
    let found = Token::parse(&file("named-by-sha1.tst")).map(|_| ());
    assert_eq!(
        found,
        Err(TimestampError::NoAttribute("signing-certificate-v2"))
    );
}

#[test]
fn a_token_over_another_digest_of_the_same_bytes_is_refused() {
    let found = Token::parse(&file("over-sha512.tst")).map(|_| ());
    let what = "the digest of the message imprint";
    assert_eq!(
        found,
        Err(TimestampError::Certificate(CertificateError::Algorithm(
            what
        )))
    );
}

/// One changed byte is refused, or lies where nobody signed and changes nothing that is said.
#[test]
fn a_changed_byte_is_refused_or_changes_nothing() {
    let good = file("p-256-sha256.tst");
    // The root that came along is not looked at: the pinned one counts.
    let root = file("ec-root.der");
    let unused = good.windows(root.len()).position(|w| w == root).unwrap();
    let unused = unused..unused + root.len();
    let said = Token::parse(&good)
        .unwrap()
        .verify(note(), &roots())
        .unwrap();
    let mut passed = 0;
    for at in (0..good.len()).filter(|at| !unused.contains(at)) {
        let mut bytes = good.clone();
        bytes[at] ^= 1;
        if let Ok(found) = Token::parse(&bytes).and_then(|t| t.verify(note(), &roots())) {
            assert_eq!(found, said, "byte {at}");
            passed += 1;
        }
    }
    // The list of digests, which says nothing that the signer does not say again.
    assert!(passed <= 16, "{passed}");
}

#[test]
fn our_question_is_the_one_that_openssl_asks() {
    let query = file("query.tsq");
    let reply = file("reply.tsr");
    let token = Token::parse(&reply[reply.len() - file("rsa-2048-sha256.tst").len()..])
        .unwrap()
        .nonce()
        .unwrap()
        .to_vec();
    let mut nonce = [0; 16];
    nonce[16 - token.len()..].copy_from_slice(&token);
    assert_eq!(request(&note(), &Nonce(nonce)), query);
    assert_eq!(
        token_of(&reply, &note(), &Nonce(nonce)),
        Ok(file("rsa-2048-sha256.tst"))
    );
}

// ---- questions and answers ---------------------------------------------------------------

const NONCE: Nonce = Nonce([0, 0, 0, 0, 0, 0, 0, 0, 0x80, 2, 3, 4, 5, 6, 7, 8]);

fn asked() -> Forge {
    let mut forge = forge();
    forge.nonce = tlv(0x02, &[0, 0x80, 2, 3, 4, 5, 6, 7, 8]);
    forge
}

fn reply(status: u8, token: &[u8]) -> Vec<u8> {
    seq(&[seq(&[int(status)]), token.to_vec()])
}

fn answered(reply: &[u8]) -> Result<Vec<u8>, ReplyError> {
    token_of(reply, &OVER, &NONCE)
}

#[test]
fn an_answer_to_our_question_brings_its_token() {
    let token = asked().token();
    assert_eq!(answered(&reply(0, &token)), Ok(token.clone()));
    assert_eq!(answered(&reply(1, &token)), Ok(token));
}

#[test]
fn a_refusal_is_told_by_its_status() {
    assert_eq!(
        answered(&reply(2, &[])),
        Err(ReplyError::Refused { status: 2 })
    );
}

#[test]
fn a_grant_without_a_token_is_none() {
    assert_eq!(answered(&reply(0, &[])), Err(ReplyError::NoToken));
}

#[test]
fn an_answer_to_another_question_is_refused() {
    let mut forge = asked();
    forge.nonce = tlv(0x02, &[1]);
    assert_eq!(answered(&reply(0, &forge.token())), Err(ReplyError::Nonce));
    forge.nonce = vec![];
    assert_eq!(answered(&reply(0, &forge.token())), Err(ReplyError::Nonce));
}

#[test]
fn an_answer_over_something_else_is_refused() {
    let mut forge = asked();
    forge.imprint = vec![6; 32];
    assert_eq!(
        answered(&reply(0, &forge.token())),
        Err(ReplyError::Imprint)
    );
}

#[test]
fn bytes_after_an_answer_are_refused() {
    let bytes = [reply(0, &asked().token()), vec![0]].concat();
    assert!(matches!(answered(&bytes), Err(ReplyError::Token(_))));
}

#[test]
fn a_huge_answer_is_refused_before_it_is_read() {
    let of = |size| answered(&vec![0x30; size]);
    let found = 64 * 1024 + 4096 + 1;
    assert_eq!(of(found), Err(ReplyError::TooLarge { found }));
    // One that is not is read, and is none.
    assert!(matches!(of(found - 1), Err(ReplyError::Token(_))));
}

// ---- our own -----------------------------------------------------------------------------

const OVER: Imprint = Imprint([5; 32]);

const ANY_PURPOSE: &[u64] = &[2, 5, 29, 37, 0];

fn forge() -> Forge {
    Forge::new(OVER.0, "20260304050607Z")
}

fn verified(forge: &Forge) -> Result<Stamped, TimestampError> {
    let root = Authority::parse(&forge.root.der())?;
    Token::parse(&forge.token())?.verify(OVER, &[root])
}

#[test]
fn a_plain_token_holds() {
    let stamped = verified(&forge()).unwrap();
    assert_eq!(stamped.at_ms(), 1_772_600_767_000);
    assert_eq!(stamped.latest_ms(), stamped.at_ms());
    assert_eq!(stamped.serial(), [77]);
}

#[test]
fn a_signer_named_by_its_key_holds() {
    let mut forge = forge();
    (forge.named_by, forge.signer_version) = (NamedBy::KeyId, 3);
    assert!(verified(&forge).is_ok());
}

#[test]
fn the_signers_certificate_is_known_by_its_issuer_and_number_together() {
    let other = stamper("other", "root", 4, ROOT);
    let mut of_another = stamper("other", "stranger", 5, 9);
    of_another.serial = SIGNER;
    for before in [other, of_another] {
        let mut forge = forge();
        forge.issuers = vec![before];
        assert!(verified(&forge).is_ok());
    }
}

#[test]
fn an_issuer_for_timestamps_or_for_anything_holds() {
    for purpose in [TIME_STAMPING, ANY_PURPOSE] {
        let mut one = issuer("one", "root", 4, ROOT);
        let purposes = seq(&[oid(purpose)]);
        one.extensions.push(extension(PURPOSES, false, purposes));
        let mut forge = forge();
        forge.issuers = vec![one];
        forge.signer = stamper("stamper", "one", SIGNER, 4);
        assert!(verified(&forge).is_ok());
    }
}

#[test]
fn the_longest_way_holds() {
    let mut forge = forge();
    forge.issuers = vec![issuer("one", "root", 4, ROOT), issuer("two", "one", 5, 4)];
    forge.signer = stamper("stamper", "two", SIGNER, 5);
    assert!(verified(&forge).is_ok());
}

#[test]
fn a_way_that_leads_nowhere_does_not_stop_the_one_that_does() {
    let mut forge = forge();
    // The same issuer, certified by a stranger and by the root.
    let stranger = issuer("one", "stranger", 4, 9);
    forge.issuers = vec![stranger, issuer("one", "root", 4, ROOT)];
    forge.signer = stamper("stamper", "one", SIGNER, 4);
    assert!(verified(&forge).is_ok());
}

#[test]
fn a_root_of_the_same_name_with_another_key_does_not_stop_the_right_one() {
    let forge = forge();
    let token = forge.token();
    let authorities = [issuer("root", "root", 8, 8), forge.root.clone()]
        .map(|c| Authority::parse(&c.der()).unwrap());
    let stamped = Token::parse(&token).unwrap().verify(OVER, &authorities);
    assert_eq!(stamped.unwrap().authority(), 1);
}

#[test]
fn a_certificate_named_by_another_digest_holds() {
    let forge = forge();
    let content = forge.content();
    let mut attributes = forge.attributes(&content);
    let digest = Sha384::digest(forge.signer.der());
    let id = seq(&[digest_id(SHA384), octets(&digest)]);
    attributes[2].values = vec![seq(&[seq(&[id])])];
    let token = forge.token_of(&content, &attributes);
    let root = Authority::parse(&forge.root.der()).unwrap();
    assert!(Token::parse(&token).unwrap().verify(OVER, &[root]).is_ok());
}

#[test]
fn extensions_that_are_not_critical_are_passed_over() {
    let mut forge = forge();
    forge
        .signer
        .extensions
        .push(extension(NAME_CONSTRAINTS, false, seq(&[])));
    let unknown = seq(&[oid(&[1, 2, 3]), octets(&[1])]);
    forge.info_extensions = tlv(0xa1, &unknown);
    assert!(verified(&forge).is_ok());
}

#[test]
fn a_token_is_good_in_the_last_second_of_its_certificate() {
    let mut forge = forge();
    forge.signer.until = "20260304050607Z";
    forge.time = "20260304050607.999Z".into();
    assert!(verified(&forge).is_ok());
}

#[test]
fn a_root_is_read_as_people_write_it_and_not_beside_anything() {
    let der = file("ec-root.der");
    let root = Authority::parse(&der).unwrap();
    let digits = STANDARD.encode(&der);
    let lines: Vec<&str> = (0..digits.len())
        .step_by(64)
        .map(|at| &digits[at..digits.len().min(at + 64)])
        .collect();
    let (begin, end) = ("-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----");
    let pem = format!("\n{begin}\n{}\n{end}\n", lines.join("\n"));
    assert_eq!(Authority::from_text(&pem), Ok(root.clone()));
    assert_eq!(Authority::from_text(&hex::encode(&der)), Ok(root));
    for wrong in [
        "",
        "no certificate",
        &format!("{pem}{pem}"),
        &format!("words{pem}"),
        &pem.replace(end, ""),
    ] {
        let found = Authority::from_text(wrong);
        assert!(
            matches!(found, Err(RootError::Text | RootError::Certificate(_))),
            "{wrong}: {found:?}"
        );
    }
    let signer = hex::encode(Sha256::digest(b"no root"));
    assert!(matches!(
        Authority::from_text(&signer),
        Err(RootError::Certificate(TimestampError::Form(_)))
    ));
}
