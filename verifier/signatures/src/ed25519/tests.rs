use ed25519_dalek::{Signer as _, SigningKey};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn signer(seed: u8) -> SigningKey {
    SigningKey::from_bytes(&[seed; 32])
}

fn public(key: &SigningKey) -> PublicKey {
    PublicKey::parse(key.verifying_key().as_bytes()).expect("a generated key is fit")
}

fn unhex<const N: usize>(text: &Value) -> Option<[u8; N]> {
    hex::decode(text.as_str()?).ok()?.try_into().ok()
}

/// Verdict for bytes from a vector: the same alone, in a batch of one, and among good ones.
fn verdict(key: &[u8; 32], message: &[u8], signature: &[u8; 64]) -> bool {
    let Ok(key) = PublicKey::parse(key) else {
        return false;
    };
    let signed = Signed { message, signature };
    let single = key.verify(signed).is_ok();
    let mut alone = Batch::new();
    alone.push(&key, signed);
    assert_eq!(single, alone.verify().is_ok(), "a batch of one disagrees");
    let good = signer(9);
    let good_signature = good.sign(b"good").to_bytes();
    let mut among = Batch::new();
    for position in 0..12 {
        if position == 7 {
            among.push(&key, signed);
        } else {
            among.push(
                &public(&good),
                Signed {
                    message: b"good",
                    signature: &good_signature,
                },
            );
        }
    }
    match among.verify() {
        Ok(()) => assert!(single, "the batch accepts what alone is refused"),
        Err(bad) => {
            assert_eq!(
                bad,
                BadSignatures {
                    positions: vec![7],
                    total: 12
                }
            );
            assert!(!single, "the batch refuses what alone is accepted");
        }
    }
    single
}

#[test]
fn edge_cases_are_accepted_exactly_by_the_written_rule() {
    let vectors: Vec<Value> =
        serde_json::from_str(include_str!("../../testdata/cctv-ed25519.json")).unwrap();
    assert_eq!(vectors.len(), 914);
    let mut accepted = 0;
    for vector in &vectors {
        let flags: Vec<&str> = vector["flags"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .collect();
        let refused_by_rule = ["low_order_A", "non_canonical_A", "non_canonical_R"]
            .iter()
            .any(|flag| flags.contains(flag));
        let (key, signature) = (
            unhex(&vector["key"]).unwrap(),
            unhex(&vector["sig"]).unwrap(),
        );
        let message = vector["msg"].as_str().unwrap().as_bytes();
        assert_eq!(
            verdict(&key, message, &signature),
            !refused_by_rule,
            "vector {}",
            vector["number"]
        );
        accepted += usize::from(!refused_by_rule);
    }
    assert!(accepted > 0 && accepted < vectors.len());
}

#[test]
fn wycheproof_verdicts_are_ours() {
    let suite: Value =
        serde_json::from_str(include_str!("../../testdata/wycheproof-ed25519.json")).unwrap();
    let mut seen = 0;
    for group in suite["testGroups"].as_array().unwrap() {
        let key: [u8; 32] = unhex(&group["publicKey"]["pk"]).unwrap();
        for test in group["tests"].as_array().unwrap() {
            seen += 1;
            let message = hex::decode(test["msg"].as_str().unwrap()).unwrap();
            let expected = test["result"] == "valid";
            // Another length than 64 bytes cannot even be asked about.
            let accepted =
                unhex(&test["sig"]).is_some_and(|signature| verdict(&key, &message, &signature));
            assert_eq!(
                accepted, expected,
                "test {}: {}",
                test["tcId"], test["comment"]
            );
        }
    }
    assert_eq!(seen, suite["numberOfTests"]);
}

#[test]
fn a_key_of_small_order_is_refused_by_name() {
    for bytes in &SMALL_ORDER {
        assert_eq!(PublicKey::parse(bytes), Err(KeyError::SmallOrder));
    }
}

#[test]
fn a_key_with_y_of_p_is_refused_as_non_canonical() {
    assert_eq!(PublicKey::parse(&FIELD_PRIME), Err(KeyError::NonCanonical));
}

#[test]
fn a_key_with_a_sign_on_zero_is_refused_as_non_canonical() {
    assert_eq!(
        PublicKey::parse(&with_sign(ONE)),
        Err(KeyError::NonCanonical)
    );
    assert_eq!(
        PublicKey::parse(&with_sign(MINUS_ONE)),
        Err(KeyError::NonCanonical)
    );
}

#[test]
fn a_key_off_the_curve_is_refused_by_name() {
    let mut bytes = [0; 32];
    bytes[0] = 2;
    assert_eq!(PublicKey::parse(&bytes), Err(KeyError::NotOnCurve));
}

#[test]
fn an_s_of_the_group_order_is_refused_by_name() {
    let key = signer(1);
    let mut signature = key.sign(b"m").to_bytes();
    signature[32..].copy_from_slice(&GROUP_ORDER);
    let signed = Signed {
        message: b"m",
        signature: &signature,
    };
    assert_eq!(
        public(&key).verify(signed),
        Err(SignatureError::NonCanonicalS)
    );
}

#[test]
fn a_non_canonical_r_is_refused_by_name() {
    let key = signer(1);
    let mut signature = key.sign(b"m").to_bytes();
    signature[..32].copy_from_slice(&FIELD_PRIME);
    let signed = Signed {
        message: b"m",
        signature: &signature,
    };
    assert_eq!(
        public(&key).verify(signed),
        Err(SignatureError::NonCanonicalR)
    );
}

#[test]
fn a_signature_by_another_key_does_not_hold() {
    let signature = signer(1).sign(b"m").to_bytes();
    let signed = Signed {
        message: b"m",
        signature: &signature,
    };
    assert_eq!(
        public(&signer(2)).verify(signed),
        Err(SignatureError::Mismatch)
    );
}

#[test]
fn an_empty_batch_holds() {
    assert!(Batch::new().is_empty());
    assert_eq!(Batch::new().verify(), Ok(()));
}

#[test]
fn two_errors_that_cancel_without_coefficients_are_both_named() {
    // S of one is raised by one and of the other lowered by one: with equal coefficients the sum would hold.
    let key = signer(3);
    let (mut up, mut down) = (key.sign(b"up").to_bytes(), key.sign(b"down").to_bytes());
    let (raised, borrowed) = (up[32].overflowing_add(1), down[32].overflowing_sub(1));
    assert!(!raised.1 && !borrowed.1, "choose messages without a carry");
    (up[32], down[32]) = (raised.0, borrowed.0);
    let mut batch = Batch::new();
    let good = key.sign(b"good").to_bytes();
    for _ in 0..6 {
        batch.push(
            &public(&key),
            Signed {
                message: b"good",
                signature: &good,
            },
        );
    }
    batch.push(
        &public(&key),
        Signed {
            message: b"up",
            signature: &up,
        },
    );
    batch.push(
        &public(&key),
        Signed {
            message: b"down",
            signature: &down,
        },
    );
    assert_eq!(
        batch.verify(),
        Err(BadSignatures {
            positions: vec![6, 7],
            total: 8
        })
    );
}

#[test]
fn a_batch_with_a_signature_is_not_empty_even_if_it_was_refused_at_once() {
    let mut batch = Batch::new();
    batch.push(
        &public(&signer(1)),
        Signed {
            message: b"m",
            signature: &[0xff; 64],
        },
    );
    assert!(!batch.is_empty());
    assert_eq!(batch.len(), 1);
}

#[test]
fn the_name_of_a_key_is_the_hash_of_its_bytes_in_hexadecimal() {
    let key = public(&signer(1));
    let expected = hex::encode(Sha256::digest(signer(1).verifying_key().as_bytes()));
    assert_eq!(key.id().to_string(), expected);
    assert_eq!(key.as_bytes(), signer(1).verifying_key().as_bytes());
}

#[test]
fn coefficients_depend_on_every_key_signature_and_message_of_a_batch() {
    // Otherwise whoever makes a batch could know its coefficients beforehand, and choose errors that cancel.
    let of = |key: u8, message: &[u8], signature: [u8; 64]| {
        let signature = &signature;
        item_digest(&public(&signer(key)), Signed { message, signature })
    };
    let digest = of(1, b"m", [1; 64]);
    assert_ne!(digest, of(2, b"m", [1; 64]), "the key");
    assert_ne!(digest, of(1, b"n", [1; 64]), "the message");
    assert_ne!(digest, of(1, b"m", [2; 64]), "the signature");
}

#[test]
fn coefficients_are_hashes_of_the_seed_and_a_counter() {
    use rand_core::TryRng as _;
    let blocks: Vec<u8> = [0_u64, 1]
        .iter()
        .flat_map(|counter| {
            let block = Sha512::new().chain_update([1; 64]);
            block.chain_update(counter.to_le_bytes()).finalize()
        })
        .collect();
    let mut source = Coefficients::new([1; 64]);
    let mut found = source.try_next_u32().unwrap().to_le_bytes().to_vec();
    found.extend(source.try_next_u64().unwrap().to_le_bytes());
    let mut rest = [0; 116];
    source.try_fill_bytes(&mut rest).unwrap();
    found.extend(rest);
    assert_eq!(found, blocks);
}

#[test]
fn coefficients_differ_from_one_another_and_follow_from_the_seed() {
    let first: [[u8; 16]; 9] = {
        let mut source = Coefficients::new([1; 64]);
        core::array::from_fn(|_| source.next())
    };
    let again: [[u8; 16]; 9] = {
        let mut source = Coefficients::new([1; 64]);
        core::array::from_fn(|_| source.next())
    };
    assert_eq!(first, again);
    let distinct: std::collections::BTreeSet<_> = first.iter().collect();
    assert_eq!(distinct.len(), first.len());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_changed_bit_of_a_signature_is_refused(
        seed: u8, message in prop::collection::vec(any::<u8>(), 0..64), bit in 0_usize..512,
    ) {
        let key = signer(seed);
        let mut signature = key.sign(&message).to_bytes();
        signature[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(!verdict(public(&key).as_bytes(), &message, &signature));
    }

    #[test]
    fn a_batch_names_exactly_the_items_that_fail_alone(
        items in prop::collection::vec((0_u8..3, any::<[u8; 4]>(), 0_u8..8), 0..70),
    ) {
        let mut batch = Batch::new();
        let mut expected = Vec::new();
        for (position, (seed, message, fate)) in items.iter().enumerate() {
            let key = signer(*seed);
            let mut signature = key.sign(message).to_bytes();
            match fate {
                0 => signature[0] ^= 1,
                1 => signature[63] |= 0x80,
                _ => {}
            }
            let signed = Signed { message, signature: &signature };
            if public(&key).verify(signed).is_err() {
                expected.push(position);
            }
            batch.push(&public(&key), signed);
        }
        let found = batch.verify().map_or_else(|bad| bad.positions, |()| Vec::new());
        prop_assert_eq!(found, expected);
    }

    #[test]
    fn random_bytes_never_panic(key: [u8; 32], message: Vec<u8>, head: [u8; 32], tail: [u8; 32]) {
        let mut signature = [0; 64];
        signature[..32].copy_from_slice(&head);
        signature[32..].copy_from_slice(&tail);
        verdict(&key, &message, &signature);
    }
}
