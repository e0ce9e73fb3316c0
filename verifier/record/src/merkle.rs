//! The log's Merkle tree: RFC 9162 hashing, roots, inclusion and consistency proofs.
//!
//! In: leaves and proofs. Out: hashes, or why a proof proves nothing. Making a proof asks
//! a [`Nodes`] for stored hashes of full subtrees; checking one needs the proof alone.
//!
//! Spec: RFC 9162 §2.1; `docs/spec/record.md`, "Log".

use crate::digest::{EntryDigest, NodeHash};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// The hash of a leaf: `SHA-256(0x00 || signed entry)`. SPEC: RFC 9162 2.1.1.
#[must_use]
pub fn leaf_hash(entry: &[u8]) -> NodeHash {
    let mut h = Sha256::new();
    h.update([0x00]);
    h.update(entry);
    NodeHash(h.finalize().into())
}

/// The digest that entries refer to one another by. It is the leaf hash, so that a
/// reference is at the same time what an inclusion proof starts from.
#[must_use]
pub fn entry_digest(entry: &[u8]) -> EntryDigest {
    EntryDigest(leaf_hash(entry).0)
}

/// The hash of an inner node: `SHA-256(0x01 || left || right)`. SPEC: RFC 9162 2.1.1.
#[must_use]
pub fn node_hash(left: &NodeHash, right: &NodeHash) -> NodeHash {
    let mut h = Sha256::new();
    h.update([0x01]);
    h.update(left.0);
    h.update(right.0);
    NodeHash(h.finalize().into())
}

/// The root of an empty tree: the hash of no bytes.
#[must_use]
pub fn empty_root() -> NodeHash {
    NodeHash(Sha256::digest([]).into())
}

/// Why a Merkle proof proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ProofError {
    /// The leaf is not in a tree of that size.
    #[error("leaf {index} is not in a tree of {size} leaves")]
    OutsideTree {
        /// The leaf's index.
        index: u64,
        /// The tree's size.
        size: u64,
    },
    /// The sizes are not in order.
    #[error("a tree of {first} leaves cannot have grown into one of {second}")]
    Shrunk {
        /// Size of the earlier tree.
        first: u64,
        /// Size of the later tree.
        second: u64,
    },
    /// The proof has too few or too many hashes.
    #[error("proof has {found} hashes, which is not the number this tree needs")]
    Length {
        /// How many it has.
        found: usize,
    },
    /// The proof leads to another root.
    #[error("proof leads to root {computed}, not to {expected}")]
    Root {
        /// Where it leads.
        computed: NodeHash,
        /// Where it should.
        expected: NodeHash,
    },
    /// A subtree does not fit at the end of the tree.
    #[error("a subtree of 2^{level} leaves does not fit after {size} leaves")]
    Misplaced {
        /// How many leaves the tree has.
        size: u64,
        /// Level of the subtree's root above the leaves.
        level: u8,
    },
    /// A stored hash is missing.
    #[error("hash of node {index} at level {level} is not stored")]
    Missing {
        /// Level above the leaves.
        level: u8,
        /// Number of the node within its level.
        index: u64,
    },
}

/// The right edge of a tree: enough to append and to compute the root.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Frontier {
    size: u64,
    /// Roots of the full subtrees that make up the tree, largest first.
    peaks: Vec<NodeHash>,
}

impl Frontier {
    /// The empty tree.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A tree of `size` leaves whose full subtrees have these roots, largest first.
    #[must_use]
    pub fn from_peaks(size: u64, peaks: Vec<NodeHash>) -> Option<Self> {
        (u32::try_from(peaks.len()) == Ok(size.count_ones())).then_some(Self { size, peaks })
    }

    /// How many leaves the tree has.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Roots of the full subtrees, largest first.
    #[must_use]
    pub fn peaks(&self) -> &[NodeHash] {
        &self.peaks
    }

    /// Adds a leaf; `store` gets every full subtree that this completes, as (level, index, hash).
    pub fn append(&mut self, leaf: NodeHash, mut store: impl FnMut(u8, u64, NodeHash)) {
        let mut hash = leaf;
        let mut index = self.size;
        let mut level = 0u8;
        store(level, index, hash);
        while index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            index >>= 1;
            level = level.saturating_add(1);
            store(level, index, hash);
        }
        self.peaks.push(hash);
        self.size = self.size.saturating_add(1);
    }

    /// Adds all leaves of a full subtree at once, by its root.
    ///
    /// # Errors
    /// If a full subtree of that level cannot stand here.
    pub fn append_subtree(&mut self, level: u8, root: NodeHash) -> Result<(), ProofError> {
        let misplaced = ProofError::Misplaced {
            size: self.size,
            level,
        };
        let width = 1u64
            .checked_shl(u32::from(level))
            .ok_or(misplaced.clone())?;
        let size = self.size.checked_add(width).ok_or(misplaced.clone())?;
        if self.size & width.saturating_sub(1) != 0 {
            return Err(misplaced);
        }
        let mut hash = root;
        let mut index = self.size.checked_shr(u32::from(level)).unwrap_or(0);
        while index & 1 == 1 {
            let Some(left) = self.peaks.pop() else { break };
            hash = node_hash(&left, &hash);
            index >>= 1;
        }
        self.peaks.push(hash);
        self.size = size;
        Ok(())
    }

    /// The root of the tree.
    #[must_use]
    pub fn root(&self) -> NodeHash {
        let mut peaks = self.peaks.iter().rev();
        match peaks.next() {
            None => empty_root(),
            Some(last) => peaks.fold(*last, |right, left| node_hash(left, &right)),
        }
    }
}

/// A full subtree of the log's tree: leaves `index << level .. (index + 1) << level`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subtree {
    /// Level of its root above the leaves.
    pub level: u8,
    /// Number of its root within the level.
    pub index: u64,
}

/// The fewest full subtrees that make up leaves `start .. start + count`, from left to right: each is the
/// largest that begins there and fits. At most two a level, so 128 hashes stand for any stretch. Nothing
/// if the stretch ends after the last leaf that a log can have.
#[must_use]
pub fn subtrees(start: u64, count: u64) -> Option<Vec<Subtree>> {
    start.checked_add(count)?;
    let (mut at, mut left) = (start, count);
    let mut out = Vec::new();
    while left > 0 {
        // Both are at most 63: `left` is not 0.
        let fits = 63u32.saturating_sub(left.leading_zeros());
        let level = at.trailing_zeros().min(fits);
        let width = 1u64.checked_shl(level)?;
        out.push(Subtree {
            level: u8::try_from(level).ok()?,
            index: at.checked_shr(level)?,
        });
        at = at.checked_add(width)?;
        left = left.checked_sub(width)?;
    }
    Some(out)
}

/// Stored hashes of full subtrees: node `index` of `level` covers leaves
/// `index << level .. (index + 1) << level`.
pub trait Nodes {
    /// The hash, if it is stored.
    fn node(&self, level: u8, index: u64) -> Option<NodeHash>;
}

/// The root over leaves `start..end`, where `start` is a multiple of a power of two not below `end - start`.
fn range_root(nodes: &impl Nodes, start: u64, end: u64) -> Result<NodeHash, ProofError> {
    let width = end.saturating_sub(start);
    if width.is_power_of_two() {
        let level = u8::try_from(width.trailing_zeros()).unwrap_or(u8::MAX);
        let index = start.checked_shr(u32::from(level)).unwrap_or(0);
        return nodes
            .node(level, index)
            .ok_or(ProofError::Missing { level, index });
    }
    let middle = start.saturating_add(split(width));
    Ok(node_hash(
        &range_root(nodes, start, middle)?,
        &range_root(nodes, middle, end)?,
    ))
}

/// The largest power of two below `n`, for `n` of at least 2. SPEC: RFC 9162 2.1.1, `k`.
fn split(n: u64) -> u64 {
    let below = n.saturating_sub(1);
    1u64.checked_shl(63u32.saturating_sub(below.leading_zeros()))
        .unwrap_or(1)
}

/// The root of the first `size` leaves.
///
/// # Errors
/// [`ProofError::Missing`] if a hash is not stored.
pub fn root_at(nodes: &impl Nodes, size: u64) -> Result<NodeHash, ProofError> {
    if size == 0 {
        Ok(empty_root())
    } else {
        range_root(nodes, 0, size)
    }
}

/// A proof that leaf `index` is in the tree of `size` leaves, from the leaf upwards.
///
/// # Errors
/// If the leaf is outside, or a hash is not stored.
pub fn inclusion_proof(
    nodes: &impl Nodes,
    index: u64,
    size: u64,
) -> Result<Vec<NodeHash>, ProofError> {
    if index >= size {
        return Err(ProofError::OutsideTree { index, size });
    }
    let (mut start, mut end) = (0, size);
    let mut path = Vec::new();
    while end.saturating_sub(start) > 1 {
        let middle = start.saturating_add(split(end.saturating_sub(start)));
        if index < middle {
            path.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(nodes, start, middle)?);
            start = middle;
        }
    }
    path.reverse();
    Ok(path)
}

/// Checks that `leaf` is leaf `index` of the tree of `size` leaves with this root. SPEC: RFC 9162 2.1.3.2.
///
/// # Errors
/// Why the proof does not show that.
pub fn verify_inclusion(
    leaf: NodeHash,
    index: u64,
    size: u64,
    path: &[NodeHash],
    root: NodeHash,
) -> Result<(), ProofError> {
    if index >= size {
        return Err(ProofError::OutsideTree { index, size });
    }
    let length = ProofError::Length { found: path.len() };
    let (mut fn_, mut sn, mut r) = (index, size.saturating_sub(1), leaf);
    for p in path {
        if sn == 0 {
            return Err(length);
        }
        if fn_ & 1 == 1 || fn_ == sn {
            r = node_hash(p, &r);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            r = node_hash(&r, p);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    if sn != 0 {
        return Err(length);
    }
    expect_root(r, root)
}

/// A proof that the tree of `second` leaves extends that of `first`.
///
/// # Errors
/// If the sizes are out of order, or a hash is not stored.
pub fn consistency_proof(
    nodes: &impl Nodes,
    first: u64,
    second: u64,
) -> Result<Vec<NodeHash>, ProofError> {
    if first > second {
        return Err(ProofError::Shrunk { first, second });
    }
    if first == 0 || first == second {
        return Ok(Vec::new());
    }
    let (mut start, mut end, mut whole) = (0u64, second, true);
    let mut path = Vec::new();
    // SPEC: RFC 9162 2.1.4.1, SUBPROOF(m, D_n, b) unrolled; `whole` is b.
    while end != first {
        let middle = start.saturating_add(split(end.saturating_sub(start)));
        if first <= middle {
            path.push(range_root(nodes, middle, end)?);
            end = middle;
        } else {
            path.push(range_root(nodes, start, middle)?);
            start = middle;
            whole = false;
        }
    }
    if !whole {
        path.push(range_root(nodes, start, end)?);
    }
    path.reverse();
    Ok(path)
}

/// Two trees, by size and root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// How many leaves.
    pub size: u64,
    /// The root over them.
    pub root: NodeHash,
}

/// Checks that tree `second` extends tree `first`. SPEC: RFC 9162 2.1.4.2.
///
/// # Errors
/// Why the proof does not show that.
pub fn verify_consistency(first: Head, second: Head, path: &[NodeHash]) -> Result<(), ProofError> {
    let length = ProofError::Length { found: path.len() };
    if first.size > second.size {
        return Err(ProofError::Shrunk {
            first: first.size,
            second: second.size,
        });
    }
    if first.size == second.size || first.size == 0 {
        if !path.is_empty() {
            return Err(length);
        }
        if first.size == 0 {
            expect_root(first.root, empty_root())?;
        }
        return if first.size == second.size {
            expect_root(second.root, first.root)
        } else {
            Ok(())
        };
    }
    let mut rest = path.iter();
    let mut fn_ = first.size.saturating_sub(1);
    let mut sn = second.size.saturating_sub(1);
    while fn_ & 1 == 1 {
        fn_ >>= 1;
        sn >>= 1;
    }
    let start = if first.size.is_power_of_two() {
        first.root
    } else {
        *rest.next().ok_or(length.clone())?
    };
    let (mut fr, mut sr) = (start, start);
    for c in rest {
        if sn == 0 {
            return Err(length);
        }
        if fn_ & 1 == 1 || fn_ == sn {
            fr = node_hash(c, &fr);
            sr = node_hash(c, &sr);
            while fn_ & 1 == 0 && fn_ != 0 {
                fn_ >>= 1;
                sn >>= 1;
            }
        } else {
            sr = node_hash(&sr, c);
        }
        fn_ >>= 1;
        sn >>= 1;
    }
    if sn != 0 {
        return Err(length);
    }
    expect_root(fr, first.root)?;
    expect_root(sr, second.root)
}

fn expect_root(computed: NodeHash, expected: NodeHash) -> Result<(), ProofError> {
    if computed == expected {
        Ok(())
    } else {
        Err(ProofError::Root { computed, expected })
    }
}

#[cfg(test)]
mod tests;
