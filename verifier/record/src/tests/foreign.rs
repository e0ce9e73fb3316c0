//! Vectors that others wrote; `testdata/README.md` says whose.

use crate::cbor::{CborError, Reader};
use crate::checkpoint::Claimed;
use crate::digest::{GatewayId, NodeHash, sha256};
use crate::merkle::{
    Frontier, Head, Nodes, consistency_proof, leaf_hash, verify_consistency, verify_inclusion,
};
use crate::note::{Cosignature, Note, NoteKey, UnixSeconds, cosigned};
use crate::testdata::{directory, files};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use std::collections::HashMap;

#[test]
fn foreign_files_are_those_of_their_source() {
    let sums = std::fs::read_to_string(directory().join("SHA256SUMS")).unwrap();
    let mut count = 0;
    for line in sums.lines() {
        let (sum, path) = line.split_once("  ").unwrap();
        let bytes = std::fs::read(directory().join(path)).unwrap();
        assert_eq!(hex::encode(sha256(&bytes)), sum, "{path}");
        count += 1;
    }
    let there = ["merkle", "tessera", "cose-wg", "scitt-cose", "sunlight"]
        .map(|d| files(&directory().join(d)).len());
    assert_eq!(there.iter().sum::<usize>(), count);
}

#[test]
fn encodings_of_the_standard_are_accepted_or_refused_by_name() {
    let text = std::fs::read_to_string(directory().join("rfc8949-appendix-a.txt")).unwrap();
    let mut accepted = 0;
    for line in text.lines().filter(|l| !l.starts_with('#')) {
        let (hex, expected) = line.split_once(' ').unwrap();
        let bytes = hex::decode(hex).unwrap();
        let mut r = Reader::new(&bytes);
        let found = match r.any() {
            Ok(all) => {
                assert_eq!(all, bytes);
                accepted += 1;
                "accepted"
            }
            Err(CborError::Simple { .. }) => "simple",
            Err(CborError::NotShortest { .. }) => "indefinite",
            Err(CborError::Unexpected { .. }) => "tag",
            Err(_) => "other",
        };
        assert_eq!(found, expected, "{hex}");
    }
    assert_eq!(accepted, 35);
}

struct Stored(HashMap<(u8, u64), NodeHash>);
impl Nodes for Stored {
    fn node(&self, level: u8, index: u64) -> Option<NodeHash> {
        self.0.get(&(level, index)).copied()
    }
}

/// Entries of a tile's bundle: each after its length in 16 bits. Source: C2SP tlog-tiles, "Log Entries".
fn entries(mut bundle: &[u8]) -> Vec<Vec<u8>> {
    let mut entries = Vec::new();
    while let Some((length, rest)) = bundle.split_first_chunk::<2>() {
        let (entry, rest) = rest.split_at(usize::from(u16::from_be_bytes(*length)));
        entries.push(entry.to_vec());
        bundle = rest;
    }
    entries
}

#[test]
fn a_foreign_log_has_our_leaf_hashes_and_our_roots_at_every_size() {
    let log = directory().join("tessera");
    let root_of = |size: usize| {
        let note = std::fs::read_to_string(log.join(format!("checkpoint.{size}"))).unwrap();
        let fields: Vec<&str> = note.lines().collect();
        assert_eq!(fields[1], size.to_string());
        NodeHash(STANDARD.decode(fields[2]).unwrap().try_into().unwrap())
    };
    let all = entries(&std::fs::read(log.join("tile/entries/000.p/15")).unwrap());
    let mut stored = Stored(HashMap::new());
    let mut frontier = Frontier::new();
    assert_eq!(frontier.root(), root_of(0));
    for (size, entry) in (1..=15).zip(&all) {
        let leaf = leaf_hash(entry);
        frontier.append(leaf, |level, index, hash| {
            stored.0.insert((level, index), hash);
        });
        let tile = std::fs::read(log.join(format!("tile/0/000.p/{size}"))).unwrap();
        assert_eq!(tile.len(), size * 32);
        assert_eq!(tile[(size - 1) * 32..], leaf.0);
        assert_eq!(
            entries(&std::fs::read(log.join(format!("tile/entries/000.p/{size}"))).unwrap()),
            all[..size]
        );
        assert_eq!(frontier.root(), root_of(size));
    }
    let head = |size: usize| Head {
        size: size as u64,
        root: root_of(size),
    };
    for first in 0..=15 {
        for second in first..=15 {
            let proof = consistency_proof(&stored, first as u64, second as u64).unwrap();
            verify_consistency(head(first), head(second), &proof).unwrap();
        }
    }
}

#[test]
fn a_checkpoint_of_another_log_is_refused() {
    let note = std::fs::read(directory().join("tessera/checkpoint.3")).unwrap();
    let error = crate::checkpoint::Checkpoint::parse(&note, &GatewayId([0; 32])).unwrap_err();
    assert_eq!(error, crate::checkpoint::CheckpointError::Origin);
}

#[test]
fn foreign_inclusion_paths_lead_to_their_roots() {
    let mut count = 0;
    for path in files(&directory().join("scitt-cose"))
        .iter()
        .filter(|p| p.ends_with("expected.json"))
    {
        let json: serde_json::Value =
            serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let hash = |v: &serde_json::Value| NodeHash::from_hex(v.as_str().unwrap()).unwrap();
        let statement = std::fs::read(path.with_file_name("statement.cose")).unwrap();
        assert_eq!(
            hash(&json["leaf_entry"]).0,
            sha256(&statement),
            "{}",
            path.display()
        );
        let path_hashes: Vec<NodeHash> = json["inclusion_path"]
            .as_array()
            .unwrap()
            .iter()
            .map(hash)
            .collect();
        // Their leaf is the digest of a statement; ours is the statement.
        let leaf = leaf_hash(&hash(&json["leaf_entry"]).0);
        let (index, size) = (
            json["leaf_index"].as_u64().unwrap(),
            json["tree_size"].as_u64().unwrap(),
        );
        // The tampered path leads to a root that its authors do not name.
        if json["reconstructed_root"].is_null() {
            continue;
        }
        let root = hash(&json["reconstructed_root"]);
        assert_eq!(
            verify_inclusion(leaf, index, size, &path_hashes, root),
            Ok(()),
            "{}",
            path.display()
        );
        count += 1;
    }
    assert_eq!(count, 3);
}

/// A foreign checkpoint, and the key of its cosigner as that one publishes it.
fn cosigned_checkpoint(directory_name: &str, metadata: &str) -> (Note, NoteKey) {
    let at = directory().join("sunlight").join(directory_name);
    let json: serde_json::Value =
        serde_json::from_slice(&std::fs::read(at.join(metadata)).unwrap()).unwrap();
    let text = json["verifier_keys"][0].as_str().unwrap();
    let key = NoteKey::parse(text).unwrap();
    assert_eq!(
        key.to_string(),
        text,
        "a key's text is written as it was read"
    );
    let note = Note::parse(&std::fs::read(at.join("checkpoint")).unwrap()).unwrap();
    (note, key)
}

const COSIGNED: [(&str, &str); 3] = [
    ("witness", "witness.v0.json"),
    ("mirror", "mirror.v0.json"),
    ("witness2", "witness.v0.json"),
];

#[test]
fn cosignatures_of_another_implementation_hold_over_our_message() {
    for (name, metadata) in COSIGNED {
        let (note, key) = cosigned_checkpoint(name, metadata);
        let line = note.lines().iter().find(|l| l.is_of(&key)).unwrap();
        let cosignature = line.cosignature().unwrap();
        // Their fixed time: 2025-12-31T00:00:00Z.
        assert_eq!(cosignature.time, UnixSeconds(1_767_139_200), "{name}");
        let message = cosigned(cosignature.time, note.text());
        let verifying = ed25519_dalek::VerifyingKey::from_bytes(&key.key().0).unwrap();
        let signature = ed25519_dalek::Signature::from_bytes(&cosignature.signature.0);
        verifying
            .verify_strict(message.as_bytes(), &signature)
            .unwrap();
        let later = cosigned(UnixSeconds(cosignature.time.0 + 1), note.text());
        assert!(
            verifying
                .verify_strict(later.as_bytes(), &signature)
                .is_err()
        );
    }
}

#[test]
fn our_line_of_their_cosignature_is_theirs() {
    for (name, metadata) in COSIGNED {
        let (note, key) = cosigned_checkpoint(name, metadata);
        let line = note.lines().iter().find(|l| l.is_of(&key)).unwrap();
        let Cosignature { time, signature } = line.cosignature().unwrap();
        let path = directory().join("sunlight").join(name).join("checkpoint");
        let text = std::fs::read_to_string(path).unwrap();
        assert!(
            text.ends_with(&key.cosignature_line(time, &signature)),
            "{name}"
        );
    }
}

#[test]
fn heads_of_foreign_logs_are_read() {
    let note = std::fs::read(directory().join("sunlight/tree/checkpoint")).unwrap();
    let note = Note::parse(&note).unwrap();
    let claimed = Claimed::parse(note.text()).unwrap();
    assert_eq!(
        (
            claimed.origin.as_str(),
            claimed.head.size,
            claimed.extensions
        ),
        ("rome2026h1.example.org", 300, 0)
    );
}
