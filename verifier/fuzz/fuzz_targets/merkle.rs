//! Merkle proofs: no panic and no long work, whatever the numbers; a proof of another leaf never holds for the same root.
#![no_main]

use countersign_record::digest::NodeHash;
use countersign_record::merkle::{Head, leaf_hash, verify_consistency, verify_inclusion};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((first, rest)) = bytes.split_first_chunk::<8>() else {
        return;
    };
    let Some((second, rest)) = rest.split_first_chunk::<8>() else {
        return;
    };
    let (first, second) = (u64::from_be_bytes(*first), u64::from_be_bytes(*second));
    let mut hashes = rest
        .chunks_exact(32)
        .filter_map(|c| c.try_into().ok())
        .map(NodeHash);
    let (Some(a), Some(b)) = (hashes.next(), hashes.next()) else {
        return;
    };
    let path: Vec<NodeHash> = hashes.collect();
    let other = leaf_hash(&a.0);
    let held = verify_inclusion(a, first, second, &path, b).is_ok();
    assert!(!(held && verify_inclusion(other, first, second, &path, b).is_ok()));
    let (earlier, later) = (
        Head {
            size: first,
            root: a,
        },
        Head {
            size: second,
            root: b,
        },
    );
    let held = verify_consistency(earlier, later, &path).is_ok();
    if held && first > 0 {
        let forged = Head {
            root: other,
            ..earlier
        };
        assert!(verify_consistency(forged, later, &path).is_err());
    }
});
