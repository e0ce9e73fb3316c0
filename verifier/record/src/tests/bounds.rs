//! Where something ends: the last that is inside and the first that is not, and what is found by a name or key.

use super::example::{example, public_key};
use super::schema::full;
use crate::body::{Erasure, IndexRange, TenantHead, tenant_proof, tenants_root};
use crate::bundle::{AgentEntry, ApproverEntry, MAX_BUNDLE_BYTES, Registry};
use crate::cbor::{Bytes, CborError};
use crate::checkpoint::{Checkpoint, CheckpointError, Claimed};
use crate::digest::{ArtifactDigest, PublicKey, TenantId, UnixMillis, sha256};
use crate::entry::{Entry, EntryError, MAX_ENTRY_BYTES};
use crate::export::{Artifact, MAX_ITEM_BYTES, Period};
use crate::merkle::ProofError;

#[test]
fn limits_are_the_written_ones() {
    assert_eq!(MAX_BUNDLE_BYTES, 16_777_216);
    assert_eq!(MAX_ITEM_BYTES, 33_554_432);
}

#[test]
fn a_period_has_its_first_moment_and_not_its_end() {
    let period = Period {
        from: UnixMillis(10),
        until: UnixMillis(20),
    };
    let inside: Vec<u64> = (0..40)
        .filter(|at| period.contains(UnixMillis(*at)))
        .collect();
    assert_eq!(inside, (10..20).collect::<Vec<_>>());
}

#[test]
fn a_range_has_its_first_and_its_last_entry() {
    let range = IndexRange { first: 3, last: 5 };
    let inside: Vec<u64> = (0..9).filter(|index| range.contains(*index)).collect();
    assert_eq!(inside, [3, 4, 5]);
}

#[test]
fn an_erasure_covers_each_of_its_ranges_and_nothing_between() {
    let entries = vec![
        IndexRange { first: 1, last: 2 },
        IndexRange { first: 5, last: 5 },
    ];
    let erasure = Erasure {
        entries,
        ..full("Erasure")
    };
    let covered: Vec<u64> = (0..9).filter(|index| erasure.covers(*index)).collect();
    assert_eq!(covered, [1, 2, 5]);
}

#[test]
fn an_entry_of_the_largest_size_is_read() {
    let bytes = vec![0; MAX_ENTRY_BYTES];
    let refused = Entry::parse(&bytes).unwrap_err();
    assert!(
        matches!(refused, EntryError::Malformed(CborError::Unexpected { .. })),
        "{refused}"
    );
}

#[test]
fn an_artifact_is_named_by_its_bytes_alone() {
    let artifact = |kind: &str| Artifact {
        kind: kind.to_owned(),
        bytes: Bytes(vec![1, 2, 3]),
    };
    assert_eq!(artifact("a").digest(), ArtifactDigest::of(&[1, 2, 3]));
    assert_eq!(artifact("b").digest(), ArtifactDigest::of(&[1, 2, 3]));
}

#[test]
fn people_and_agents_are_found_by_their_key() {
    let agent = |urn: &str, key| AgentEntry {
        urn: urn.to_owned(),
        tenant: "t".to_owned(),
        key,
        token: None,
        user: None,
    };
    let approver = |id: &str, key| ApproverEntry {
        id: id.to_owned(),
        name: id.to_owned(),
        key,
        groups: Vec::new(),
        tenants: Vec::new(),
        capabilities: Vec::new(),
    };
    let (first, second) = (public_key("approver"), public_key("governance"));
    let registry = Registry {
        tenants: Vec::new(),
        agents: vec![
            agent("keyless", None),
            agent("a", Some(first)),
            agent("b", Some(second)),
        ],
        approvers: vec![approver("a", first), approver("b", second)],
    };
    for (key, name) in [(first, "a"), (second, "b")] {
        let agent = registry.agent_by_key(key.id());
        assert_eq!(agent.map(|a| a.urn.as_str()), Some(name));
        let approver = registry.approver(key.id());
        assert_eq!(approver.map(|a| a.id.as_str()), Some(name));
    }
    let nobody = PublicKey([9; 32]).id();
    assert_eq!(registry.agent_by_key(nobody), None);
    assert_eq!(registry.approver(nobody), None);
}

#[test]
fn each_tenants_last_number_is_proved_and_no_other() {
    for count in 0..9_u8 {
        let heads: Vec<TenantHead> = (0..count)
            .rev()
            .map(|n| TenantHead {
                tenant: TenantId([n; 16]),
                seq: u64::from(n) * 10,
            })
            .collect();
        let (root, size) = (tenants_root(&heads), u64::from(count));
        for (position, head) in (0..).zip(heads.iter().rev()) {
            let mut proof = tenant_proof(&heads, head.tenant).unwrap();
            assert_eq!((&proof.head, proof.position), (head, position));
            assert_eq!(proof.verify(root, size), Ok(()));
            proof.head.seq += 1;
            assert!(matches!(
                proof.verify(root, size),
                Err(ProofError::Root { .. })
            ));
        }
        assert_eq!(tenant_proof(&heads, TenantId([99; 16])), None);
    }
}

#[test]
fn a_head_says_its_log_and_how_many_lines_say_nothing_of_the_tree() {
    let root = crate::note::encode(&[7; 32]);
    let claimed = Claimed::parse(&format!("log.example\n12\n{root}\nmore\nlines\n")).unwrap();
    assert_eq!(claimed.origin, "log.example");
    assert_eq!((claimed.head.size, claimed.head.root.0), (12, [7; 32]));
    assert_eq!(claimed.extensions, 2);
    for size in ["012", "+12", "", "-1"] {
        let refused = Claimed::parse(&format!("log.example\n{size}\n{root}\n"));
        assert!(
            matches!(refused, Err(CheckpointError::Form(_))),
            "{size}: {refused:?}"
        );
    }
}

#[test]
fn a_checkpoint_is_stamped_by_its_text_and_not_by_its_lines() {
    let e = example();
    let checkpoint = Checkpoint::parse(e.checkpoint.as_bytes(), &e.gateway).unwrap();
    let (text, _) = e.checkpoint.split_once("\n\n").unwrap();
    assert_eq!(checkpoint.text(), format!("{text}\n"));
    assert_eq!(checkpoint.imprint(), sha256(checkpoint.text().as_bytes()));
    let names: Vec<&str> = checkpoint.names().collect();
    let lines = checkpoint.lines();
    assert!(lines.len() > 1);
    assert_eq!(names, lines.iter().map(|l| l.name()).collect::<Vec<_>>());
}
