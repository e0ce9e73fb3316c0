use super::*;
use std::collections::HashMap;

struct Stored(HashMap<(u8, u64), NodeHash>);
impl Nodes for Stored {
    fn node(&self, level: u8, index: u64) -> Option<NodeHash> {
        self.0.get(&(level, index)).copied()
    }
}

/// The definition of RFC 9162 §2.1.1, written down directly.
fn by_definition(leaves: &[NodeHash]) -> NodeHash {
    match leaves {
        [] => empty_root(),
        [one] => *one,
        many => {
            let k = many.len().next_power_of_two() >> 1;
            node_hash(&by_definition(&many[..k]), &by_definition(&many[k..]))
        }
    }
}

fn tree(n: u8) -> (Vec<NodeHash>, Stored, Frontier) {
    let mut stored = Stored(HashMap::new());
    let mut frontier = Frontier::new();
    let leaves: Vec<_> = (0..n).map(|i| leaf_hash(&[i])).collect();
    for leaf in &leaves {
        frontier.append(*leaf, |l, i, h| {
            assert!(stored.0.insert((l, i), h).is_none())
        });
    }
    (leaves, stored, frontier)
}

#[test]
fn the_root_is_that_of_the_definition_at_every_size() {
    for n in 0..70 {
        let (leaves, stored, frontier) = tree(n);
        assert_eq!(frontier.root(), by_definition(&leaves));
        assert_eq!(
            root_at(&stored, u64::from(n)).unwrap(),
            by_definition(&leaves)
        );
    }
}

#[test]
fn every_leaf_of_every_tree_is_proved_and_no_other_passes() {
    let (leaves, stored, _) = tree(40);
    for size in 1..=40u64 {
        let root = root_at(&stored, size).unwrap();
        for index in 0..size {
            let path = inclusion_proof(&stored, index, size).unwrap();
            let at = usize::try_from(index).unwrap();
            verify_inclusion(leaves[at], index, size, &path, root).unwrap();
            assert!(verify_inclusion(leaf_hash(b"other"), index, size, &path, root).is_err());
            assert!(
                verify_inclusion(leaves[at], index ^ 1, size, &path, root).is_err() || size == 1
            );
            let mut longer = path.clone();
            longer.push(root);
            assert!(verify_inclusion(leaves[at], index, size, &longer, root).is_err());
            if let Some((_, shorter)) = path.split_last() {
                assert!(verify_inclusion(leaves[at], index, size, shorter, root).is_err());
            }
        }
    }
}

#[test]
fn every_pair_of_sizes_is_consistent_and_a_changed_root_is_not() {
    let (_, stored, _) = tree(40);
    for second in 0..=40u64 {
        for first in 0..=second {
            let path = consistency_proof(&stored, first, second).unwrap();
            let a = Head {
                size: first,
                root: root_at(&stored, first).unwrap(),
            };
            let b = Head {
                size: second,
                root: root_at(&stored, second).unwrap(),
            };
            verify_consistency(a, b, &path).unwrap();
            let bad = Head {
                root: leaf_hash(b"other"),
                ..a
            };
            assert!(verify_consistency(bad, b, &path).is_err());
            if first > 0 && first < second {
                let bad = Head {
                    root: leaf_hash(b"other"),
                    ..b
                };
                assert!(verify_consistency(a, bad, &path).is_err());
            }
        }
    }
}

#[test]
fn foreign_inclusion_and_consistency_probes_are_judged_as_their_authors_do() {
    crate::testdata::each_merkle_probe(|name, probe| {
        let found = probe.verify();
        // Its authors call growth out of an empty tree useless to prove; here a first epoch's
        // previous log is empty, and its root is compared.
        if name.ends_with("size1-is-zero-and-size2-is-not-zero.json") {
            return assert_eq!(found, Ok(()));
        }
        assert_eq!(found.is_err(), probe.want_err, "{name}: {found:?}");
    });
}

#[test]
fn an_empty_tree_has_one_root_and_grows_into_any_other() {
    let empty = Head {
        size: 0,
        root: empty_root(),
    };
    let other = Head {
        size: 0,
        root: leaf_hash(b"other"),
    };
    let grown = Head {
        size: 1,
        root: leaf_hash(b"leaf"),
    };
    verify_consistency(empty, empty, &[]).unwrap();
    verify_consistency(empty, grown, &[]).unwrap();
    assert!(verify_consistency(empty, other, &[]).is_err());
    assert!(verify_consistency(other, empty, &[]).is_err());
    assert!(verify_consistency(other, other, &[]).is_err());
    assert!(verify_consistency(other, grown, &[]).is_err());
}

#[test]
fn the_hashes_of_nothing_are_the_known_ones() {
    let hex = |hash: NodeHash| hex::encode(hash.0);
    assert_eq!(
        hex(empty_root()),
        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
    );
    let leaf = "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d";
    assert_eq!(hex(leaf_hash(b"")), leaf);
    assert_eq!(hex::encode(entry_digest(b"").0), leaf);
}

#[test]
fn a_frontier_is_made_again_from_its_peaks_if_they_are_as_many_as_its_size_needs() {
    for n in 0..20 {
        let (_, _, frontier) = tree(n);
        assert_eq!(frontier.size(), u64::from(n));
        let peaks = frontier.peaks().to_vec();
        let again = Frontier::from_peaks(u64::from(n), peaks.clone());
        assert_eq!(again, Some(frontier));
        let more = [peaks, vec![leaf_hash(b"more")]].concat();
        assert_eq!(Frontier::from_peaks(u64::from(n), more), None);
    }
}

#[test]
fn a_full_subtree_stands_for_its_leaves_where_it_fits_and_nowhere_else() {
    for before in 0..20_u8 {
        for level in 0..5_u8 {
            let width = 1 << level;
            let (leaves, _, whole) = tree(before + width);
            let (_, _, mut frontier) = tree(before);
            let untouched = frontier.clone();
            let root = by_definition(&leaves[usize::from(before)..]);
            let found = frontier.append_subtree(level, root);
            if before % width == 0 {
                assert_eq!((found, frontier), (Ok(()), whole));
            } else {
                let size = u64::from(before);
                assert_eq!(found, Err(ProofError::Misplaced { size, level }));
                assert_eq!(frontier, untouched);
            }
        }
    }
}

#[test]
fn a_subtree_beyond_the_largest_tree_is_misplaced() {
    let size = 1 << 63;
    let hash = leaf_hash(b"half");
    for level in [63, 64, 255] {
        let mut half = Frontier::from_peaks(size, vec![hash]).unwrap();
        assert_eq!(
            half.append_subtree(level, hash),
            Err(ProofError::Misplaced { size, level })
        );
    }
}

#[test]
fn any_stretch_of_leaves_is_made_of_the_largest_subtrees_that_fit() {
    for start in 0..40 {
        for end in start..80 {
            let mut at = start;
            for Subtree { level, index } in subtrees(start, end - start).unwrap() {
                let width = 1 << level;
                assert_eq!(index * width, at);
                let larger_begins_here = at % (2 * width) == 0;
                assert!(!larger_begins_here || at + 2 * width > end);
                at += width;
            }
            assert_eq!(at, end);
        }
    }
    assert_eq!(subtrees(u64::MAX, 0), Some(Vec::new()));
    assert_eq!(subtrees(u64::MAX, 1), None);
    assert_eq!(subtrees(0, u64::MAX).map(|parts| parts.len()), Some(64));
}

#[test]
fn a_leaf_outside_and_a_tree_that_shrank_are_named() {
    let (leaves, stored, frontier) = tree(5);
    let outside = ProofError::OutsideTree { index: 5, size: 5 };
    assert_eq!(inclusion_proof(&stored, 5, 5), Err(outside.clone()));
    assert_eq!(
        verify_inclusion(leaves[0], 5, 5, &[], frontier.root()),
        Err(outside)
    );
    let shrunk = ProofError::Shrunk {
        first: 5,
        second: 4,
    };
    assert_eq!(consistency_proof(&stored, 5, 4), Err(shrunk.clone()));
    let head = |size| Head {
        size,
        root: root_at(&stored, size).unwrap(),
    };
    assert_eq!(verify_consistency(head(5), head(4), &[]), Err(shrunk));
}

#[test]
fn a_consistency_proof_of_another_length_proves_nothing() {
    let (_, stored, _) = tree(40);
    let head = |size| Head {
        size,
        root: root_at(&stored, size).unwrap(),
    };
    for second in 0..=40 {
        for first in 0..=second {
            let path = consistency_proof(&stored, first, second).unwrap();
            let longer = [path.clone(), vec![leaf_hash(b"more")]].concat();
            let found = longer.len();
            assert_eq!(
                verify_consistency(head(first), head(second), &longer),
                Err(ProofError::Length { found })
            );
            if let Some((_, shorter)) = path.split_last() {
                let found = shorter.len();
                assert_eq!(
                    verify_consistency(head(first), head(second), shorter),
                    Err(ProofError::Length { found })
                );
            }
        }
    }
}

#[test]
fn a_hash_that_is_not_stored_is_missed_by_name() {
    let nothing = Stored(HashMap::new());
    assert_eq!(root_at(&nothing, 0), Ok(empty_root()));
    let missing = ProofError::Missing { level: 2, index: 0 };
    assert_eq!(root_at(&nothing, 5), Err(missing));
}
