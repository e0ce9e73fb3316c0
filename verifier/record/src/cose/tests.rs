//! Statements of others: read by others' code as we read ours, and refused by ours where their shape differs.

#![expect(
    clippy::wildcard_enum_match_arm,
    reason = "any other error fails the test"
)]

use super::{ALG_ED25519, Sign1, Unsigned, sig_structure};
use crate::cbor::CborError;
use crate::digest::{KeyId, Signature};
use crate::testdata::{directory, files};
use coset::{
    CoseSign1, Label, RegisteredLabelWithPrivate, TaggedCborSerializable,
    cbor::value::Value as Cbor, iana,
};
use serde_json::Value;

#[test]
fn another_implementation_reads_our_statement_and_signs_the_same_bytes() {
    let unsigned = Unsigned::new("application/x", KeyId([4; 32]), b"payload".to_vec());
    let bytes = unsigned.with_signature(Signature([9; 64]));
    let theirs = CoseSign1::from_tagged_slice(&bytes).unwrap();
    let alg = Some(RegisteredLabelWithPrivate::Assigned(
        iana::Algorithm::Ed25519,
    ));
    assert_eq!(theirs.protected.header.alg, alg);
    assert_eq!(theirs.protected.header.key_id, vec![4; 32]);
    let typ = (Label::Int(16), Cbor::Text("application/x".into()));
    assert_eq!(theirs.protected.header.rest, [typ]);
    assert!(theirs.unprotected.is_empty());
    assert_eq!(theirs.payload.as_deref(), Some(b"payload".as_slice()));
    assert_eq!(theirs.signature, vec![9; 64]);
    assert_eq!(theirs.tbs_data(b""), unsigned.to_be_signed());
    assert_eq!(
        theirs.tbs_data(b""),
        Sign1::parse(&bytes).unwrap().to_be_signed()
    );
    assert_eq!(theirs.to_tagged_vec().unwrap(), bytes);
}

#[test]
fn another_implementation_makes_a_statement_that_we_read() {
    let header = coset::HeaderBuilder::new()
        .algorithm(iana::Algorithm::Ed25519)
        .key_id(vec![4; 32])
        .value(16, Cbor::Text("application/x".into()))
        .build();
    let theirs = coset::CoseSign1Builder::new()
        .protected(header)
        .payload(b"payload".to_vec())
        .create_signature(b"", |_| vec![9; 64])
        .build();
    let bytes = theirs.clone().to_tagged_vec().unwrap();
    let ours = Sign1::parse(&bytes).unwrap();
    assert_eq!(
        (ours.typ(), ours.kid(), ours.payload()),
        ("application/x", KeyId([4; 32]), b"payload".as_slice())
    );
    assert_eq!(ours.to_be_signed(), theirs.tbs_data(b""));
    let same = Unsigned::new("application/x", KeyId([4; 32]), b"payload".to_vec());
    assert_eq!(same.with_signature(Signature([9; 64])), bytes);
}

/// Name, content and encoding of each example of the COSE working group.
fn cose_wg() -> Vec<(String, Value, Vec<u8>)> {
    let found: Vec<_> = files(&directory().join("cose-wg"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|e| e == "json"))
        .map(|path| {
            let json: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
            let bytes = hex::decode(json["output"]["cbor"].as_str().unwrap()).unwrap();
            (
                path.file_name().unwrap().to_string_lossy().into_owned(),
                json,
                bytes,
            )
        })
        .collect();
    assert_eq!(found.len(), 13);
    found
}

#[test]
fn the_bytes_to_sign_are_those_of_the_working_groups_examples() {
    let mut compared = 0;
    for (name, json, bytes) in cose_wg() {
        let Some(sign1) = json["input"].get("sign0") else {
            continue;
        };
        // Examples that were spoilt after signing, or that sign external data, have other bytes by intent.
        let external = sign1.get("external").is_some() || json["input"].get("failures").is_some();
        let Ok(statement) = CoseSign1::from_tagged_slice(&bytes) else {
            continue;
        };
        if external {
            continue;
        }
        let protected = statement.protected.clone().cbor_bstr().unwrap();
        let expected = json["intermediates"]["ToBeSign_hex"]
            .as_str()
            .unwrap()
            .to_lowercase();
        let ours = sig_structure(
            protected.as_bytes().unwrap(),
            statement.payload.as_ref().unwrap(),
        );
        assert_eq!(hex::encode(ours), expected, "{name}");
        compared += 1;
    }
    assert!(compared >= 2, "{compared}");
}

#[test]
fn examples_of_the_working_group_have_other_shapes_and_are_refused() {
    for (name, _, bytes) in cose_wg() {
        let error = Sign1::parse(&bytes).unwrap_err();
        if bytes[0] != 0xd2 {
            // COSE_Sign (tag 98), or no tag.
            assert!(
                matches!(error, CborError::Unexpected { at: 0, .. }),
                "{name}: {error}"
            );
        } else {
            // They carry the key id in the unprotected header.
            assert!(
                matches!(error, CborError::UnknownKey { key: 1 | 4, .. }),
                "{name}: {error}"
            );
        }
    }
}

#[test]
fn statements_and_receipts_of_scitt_are_refused_and_read_by_another_implementation() {
    let mut count = 0;
    for path in files(&directory().join("scitt-cose")) {
        if path.extension().is_none_or(|e| e != "cose") {
            continue;
        }
        count += 1;
        let bytes = std::fs::read(&path).unwrap();
        let theirs = CoseSign1::from_tagged_slice(&bytes).unwrap();
        assert_ne!(
            theirs.protected.header.alg,
            Some(RegisteredLabelWithPrivate::PrivateUse(ALG_ED25519))
        );
        let error = Sign1::parse(&bytes).unwrap_err();
        let receipt = path.ends_with("receipt.cose");
        match error {
            // Receipts carry their proof (396) in the unprotected header.
            CborError::UnknownKey { key: 396, .. } => assert!(receipt, "{}", path.display()),
            // Statements have other headers than ours, and their algorithm is not the first.
            CborError::OutOfRange {
                what: "length of a map",
                ..
            }
            | CborError::Unexpected {
                expected: "header 1 (algorithm)",
                ..
            } => assert!(!receipt, "{}", path.display()),
            other => panic!("{}: {other}", path.display()),
        }
    }
    assert_eq!(count, 8);
}
