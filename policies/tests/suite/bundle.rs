//! Which bundles a gateway opens.

use crate::fixture::{
    bundle, engine, example, pins, plus, public, sign, signing_key, unsigned, with,
};
use countersign_policies::bundle::Rules;
use countersign_policies::problem::Problem;
use countersign_policies::{AttachError, Bundle, BundleError, Pins, Site, UnsignedBundle};
use countersign_record::bundle::{BUNDLE_TYP, BundlePayload, MAX_BUNDLE_BYTES, SignedBundle};
use countersign_record::cbor::{Bytes, Cbor};
use countersign_record::cose::Unsigned;
use countersign_record::digest::{ArtifactDigest, Signature};
use ed25519_dalek::Signer as _;

fn signed() -> Vec<u8> {
    let mut bundle = unsigned(&example());
    sign(&mut bundle, 3);
    bundle.to_bytes()
}

fn refusal(bytes: &[u8], pins: &Pins) -> BundleError {
    Bundle::open(bytes, pins).expect_err("a bundle that is refused")
}

/// The payload changed and signed again by the pinned signer.
fn resigned(change: impl FnOnce(&mut BundlePayload)) -> Vec<u8> {
    let mut signed = SignedBundle::from_bytes(&signed()).unwrap();
    let mut payload = BundlePayload::from_bytes(&signed.payload.0).unwrap();
    change(&mut payload);
    signed.signatures = vec![statement(&payload, 3, BUNDLE_TYP)];
    signed.payload = Bytes(payload.to_bytes());
    signed.to_bytes()
}

fn statement(payload: &BundlePayload, seed: u8, typ: &str) -> Bytes {
    let unsigned = Unsigned::new(typ, public(seed).id(), payload.statement().to_bytes());
    let signature = signing_key(seed).sign(&unsigned.to_be_signed());
    Bytes(unsigned.with_signature(Signature(signature.to_bytes())))
}

#[test]
fn a_bundle_of_the_pinned_signer_is_opened() {
    let opened = Bundle::open(&signed(), &pins()).unwrap();
    assert_eq!(opened.signers(), [public(3).id()]);
    assert_eq!(opened.digest(), ArtifactDigest::of(opened.payload()));
}

#[test]
fn the_same_site_gives_the_same_bytes() {
    assert_eq!(signed(), signed());
}

#[test]
fn a_bundle_without_signatures_is_refused() {
    assert_eq!(
        refusal(&unsigned(&example()).to_bytes(), &pins()),
        BundleError::Unsigned
    );
}

#[test]
fn a_bundle_of_another_signer_is_refused() {
    let mut bundle = unsigned(&example());
    sign(&mut bundle, 9);
    let kid = public(9).id();
    assert_eq!(
        refusal(&bundle.to_bytes(), &pins()),
        BundleError::UnknownSigner { kid }
    );
}

#[test]
fn a_bundle_that_also_another_key_signed_is_refused() {
    let mut bundle = unsigned(&example());
    sign(&mut bundle, 3);
    sign(&mut bundle, 9);
    let kid = public(9).id();
    assert_eq!(
        refusal(&bundle.to_bytes(), &pins()),
        BundleError::UnknownSigner { kid }
    );
}

#[test]
fn too_few_signers_are_refused() {
    let pins = Pins {
        signers: vec![public(3), public(4)],
        threshold: 2,
        ..pins()
    };
    assert_eq!(
        refusal(&signed(), &pins),
        BundleError::BelowThreshold {
            found: 1,
            expected: 2
        }
    );
}

#[test]
fn as_many_signers_as_the_threshold_are_enough() {
    let mut bundle = unsigned(&example());
    sign(&mut bundle, 3);
    sign(&mut bundle, 4);
    let pins = Pins {
        signers: vec![public(3), public(4), public(5)],
        threshold: 2,
        ..pins()
    };
    assert_eq!(
        Bundle::open(&bundle.to_bytes(), &pins)
            .unwrap()
            .signers()
            .len(),
        2
    );
}

#[test]
fn one_signer_twice_is_not_two() {
    let mut twice = SignedBundle::from_bytes(&signed()).unwrap();
    twice.signatures.push(twice.signatures[0].clone());
    let pins = Pins {
        signers: vec![public(3), public(4)],
        threshold: 2,
        ..pins()
    };
    let kid = public(3).id();
    assert_eq!(
        refusal(&twice.to_bytes(), &pins),
        BundleError::RepeatedSigner { kid }
    );
}

#[test]
fn a_threshold_of_none_opens_nothing() {
    let none = Pins {
        threshold: 0,
        ..pins()
    };
    assert_eq!(
        refusal(&signed(), &none),
        BundleError::Threshold {
            threshold: 0,
            signers: 1
        }
    );
    let repeated = Pins {
        signers: vec![public(3), public(3)],
        threshold: 2,
        ..pins()
    };
    assert_eq!(
        refusal(&signed(), &repeated),
        BundleError::Threshold {
            threshold: 2,
            signers: 1
        }
    );
}

#[test]
fn a_changed_signature_is_refused() {
    let mut changed = SignedBundle::from_bytes(&signed()).unwrap();
    *changed.signatures[0].0.last_mut().unwrap() ^= 1;
    let kid = public(3).id();
    assert_eq!(
        refusal(&changed.to_bytes(), &pins()),
        BundleError::BadSignature { kid }
    );
}

#[test]
fn a_signature_over_another_payload_is_refused() {
    let other = unsigned(&plus("schemas/unused.json", "{}"));
    let mut spliced = SignedBundle::from_bytes(&signed()).unwrap();
    spliced.payload = SignedBundle::from_bytes(&other.to_bytes()).unwrap().payload;
    let kid = public(3).id();
    assert_eq!(
        refusal(&spliced.to_bytes(), &pins()),
        BundleError::OtherStatement { kid }
    );
}

#[test]
fn a_signature_over_another_kind_of_statement_is_refused() {
    let mut other = SignedBundle::from_bytes(&signed()).unwrap();
    let payload = BundlePayload::from_bytes(&other.payload.0).unwrap();
    other.signatures = vec![statement(
        &payload,
        3,
        "application/countersign.approval+cose",
    )];
    let kid = public(3).id();
    assert_eq!(
        refusal(&other.to_bytes(), &pins()),
        BundleError::OtherStatement { kid }
    );
}

#[test]
fn no_changed_byte_of_the_payload_passes() {
    let bytes = signed();
    for at in (0..bytes.len()).step_by(101) {
        let mut changed = bytes.clone();
        changed[at] ^= 0x20;
        assert!(Bundle::open(&changed, &pins()).is_err(), "byte {at}");
    }
}

#[test]
fn an_older_bundle_is_refused() {
    let pins = Pins {
        minimum_version: 2,
        ..pins()
    };
    assert_eq!(
        refusal(&signed(), &pins),
        BundleError::Downgraded {
            found: 1,
            minimum: 2
        }
    );
}

#[test]
fn a_bundle_for_another_environment_is_refused() {
    let pins = Pins {
        environment: "production".into(),
        ..pins()
    };
    let expected = BundleError::OtherEnvironment {
        found: "demo".into(),
        expected: "production".into(),
    };
    assert_eq!(refusal(&signed(), &pins), expected);
}

#[test]
fn a_bundle_for_another_site_is_refused() {
    let pins = Pins {
        name: "payments".into(),
        ..pins()
    };
    let expected = BundleError::OtherSite {
        found: "erasure-desk".into(),
        expected: "payments".into(),
    };
    assert_eq!(refusal(&signed(), &pins), expected);
}

#[test]
fn a_bundle_that_is_not_the_pinned_one_is_refused() {
    let expected = ArtifactDigest([1; 32]);
    let found = unsigned(&example()).digest();
    let pins = Pins {
        pinned: Some(expected),
        ..pins()
    };
    assert_eq!(
        refusal(&signed(), &pins),
        BundleError::NotPinned { found, expected }
    );
}

#[test]
fn the_pinned_bundle_is_opened() {
    let pins = Pins {
        pinned: Some(unsigned(&example()).digest()),
        ..pins()
    };
    assert!(Bundle::open(&signed(), &pins).is_ok());
}

#[test]
fn a_large_bundle_is_refused_before_it_is_read() {
    let found = MAX_BUNDLE_BYTES + 1;
    assert_eq!(
        refusal(&vec![0; found], &pins()),
        BundleError::TooLarge { found }
    );
}

#[test]
fn bytes_after_the_bundle_are_refused() {
    let mut bytes = signed();
    bytes.extend_from_slice(&[0, 0]);
    assert_eq!(refusal(&bytes, &pins()), BundleError::Trailing { count: 2 });
}

#[test]
fn a_cut_bundle_is_refused() {
    let bytes = signed();
    let found = refusal(&bytes[..bytes.len() - 1], &pins());
    assert!(matches!(found, BundleError::Malformed(_)), "{found}");
}

#[test]
fn another_format_is_refused() {
    assert_eq!(
        refusal(&resigned(|p| p.format = 2), &pins()),
        BundleError::Format { found: 2 }
    );
}

#[test]
fn an_ill_typed_policy_is_refused_at_load_with_file_and_line() {
    let bytes = resigned(|p| {
        let mut rules = Rules::from_bytes(&p.rules.0).unwrap();
        let policies = rules
            .files
            .iter_mut()
            .find(|f| f.path == "policies/customers.cedar")
            .unwrap();
        policies.text = policies
            .text
            .replace("input_shape.query ==", "input_shape.sql ==");
        p.rules = Bytes(rules.to_bytes());
    });
    let BundleError::Contents(problems) = refusal(&bytes, &pins()) else {
        panic!("another refusal")
    };
    assert_eq!(problems.all().len(), 1, "{problems}");
    assert_eq!(problems.all()[0].file, "policies/customers.cedar");
    assert_eq!(problems.all()[0].line, Some(25), "{problems}");
    assert!(matches!(problems.all()[0].problem, Problem::Policy { .. }));
}

#[test]
fn a_schema_that_the_capabilities_do_not_make_is_refused() {
    let bytes = resigned(|p| {
        let mut rules = Rules::from_bytes(&p.rules.0).unwrap();
        rules.schema.push('\n');
        p.rules = Bytes(rules.to_bytes());
    });
    assert_eq!(refusal(&bytes, &pins()), BundleError::OtherSchema);
}

#[test]
fn approvers_that_no_file_declares_are_refused() {
    let bytes = resigned(|p| p.registry.approvers[0].key = public(9));
    assert_eq!(refusal(&bytes, &pins()), BundleError::OtherRegistry);
}

#[test]
fn files_out_of_order_are_refused() {
    let bytes = resigned(|p| {
        let mut rules = Rules::from_bytes(&p.rules.0).unwrap();
        rules.files.swap(0, 1);
        p.rules = Bytes(rules.to_bytes());
    });
    assert!(matches!(
        refusal(&bytes, &pins()),
        BundleError::Malformed(_)
    ));
}

#[test]
fn a_bundle_can_be_signed_somewhere_else() {
    let file = unsigned(&example()).to_bytes();
    let mut waiting = UnsignedBundle::parse(&file).unwrap();
    let signature = signing_key(3).sign(&waiting.to_be_signed(public(3)));
    waiting
        .attach(public(3), Signature(signature.to_bytes()))
        .unwrap();
    assert!(Bundle::open(&waiting.to_bytes(), &pins()).is_ok());
}

#[test]
fn a_signature_that_does_not_hold_is_not_attached() {
    let mut waiting = unsigned(&example());
    let kid = public(3).id();
    assert_eq!(
        waiting.attach(public(3), Signature([0; 64])),
        Err(AttachError::BadSignature { kid })
    );
}

#[test]
fn a_key_signs_once() {
    let mut waiting = unsigned(&example());
    sign(&mut waiting, 3);
    let kid = public(3).id();
    let again = waiting.sign(public(3), |m| Signature(signing_key(3).sign(m).to_bytes()));
    assert_eq!(again, Err(AttachError::Repeated { kid }));
}

#[test]
fn settings_and_their_addresses_stay_outside() {
    let elsewhere = with("countersign.toml", "127.0.0.1:8443", "127.0.0.1:9443");
    assert_eq!(bundle(&elsewhere).digest(), bundle(&example()).digest());
}

#[test]
fn the_pins_of_the_settings_open_their_own_bundle() {
    let site = Site::parse(&example()).unwrap();
    assert!(Bundle::open(&signed(), &Pins::of_settings(&site.settings)).is_ok());
}

#[test]
fn an_engine_names_its_bundle() {
    assert_eq!(engine(&example()).bundle(), unsigned(&example()).digest());
}
