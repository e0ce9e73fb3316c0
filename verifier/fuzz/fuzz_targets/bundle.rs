//! Signed bundles and what is in them: no panic, and a bundle that is read has one statement.
#![no_main]

use countersign_record::bundle::{BundlePayload, SignedBundle};
use countersign_record::cbor::Cbor;
use countersign_record::cose::Sign1;
use countersign_record::digest::{ArtifactDigest, KeyId};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(bundle) = SignedBundle::from_bytes(bytes) else {
        return;
    };
    for signature in &bundle.signatures {
        let _ = Sign1::parse(&signature.0);
    }
    if let Ok(payload) = BundlePayload::from_bytes(&bundle.payload.0) {
        assert_eq!(
            payload.statement().digest,
            ArtifactDigest::of(&bundle.payload.0)
        );
        for approver in &payload.registry.approvers {
            assert!(payload.registry.approver(approver.key.id()).is_some());
        }
        let _ = payload.registry.agent_by_key(KeyId([0; 32]));
    }
});
