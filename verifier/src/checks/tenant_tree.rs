//! The root over all tenants' last numbers, kept as they change.
//!
//! In: numbers as they come. Out: the root of [`tenants_root`](countersign_record::body::tenants_root)
//! over the last of each tenant. A number of a known tenant costs its path. A new tenant moves all those
//! behind it, so that what it costs grows with their number: that is bounded, and beyond the bound there is
//! no root. Otherwise a small export of very many tenants and renewals would take hours.

use countersign_record::body::TenantHead;
use countersign_record::cbor::Cbor as _;
use countersign_record::digest::{NodeHash, TenantId};
use countersign_record::merkle::{empty_root, leaf_hash, node_hash};
use std::collections::BTreeMap;

/// Leaves that new tenants may move, in all: more than 65,536 tenants ever do, even each of them new at a renewal of its own.
pub(super) const MOST_MOVED: u64 = 1 << 31;

/// The tree of the tenants' last numbers.
#[derive(Debug)]
pub(super) struct TenantTree {
    /// In order.
    tenants: Vec<TenantId>,
    /// The leaves, and above them level for level what each two of them make; one without a sibling rises as it is.
    levels: Vec<Vec<NodeHash>>,
    /// Numbers that are not yet in the tree.
    fresh: BTreeMap<TenantId, u64>,
    /// Leaves that may still be moved; nothing once there was too much to move.
    left: Option<u64>,
}

impl Default for TenantTree {
    fn default() -> Self {
        Self::bounded(MOST_MOVED)
    }
}

impl TenantTree {
    fn bounded(left: u64) -> Self {
        Self {
            tenants: Vec::new(),
            levels: vec![Vec::new()],
            fresh: BTreeMap::new(),
            left: Some(left),
        }
    }

    /// The tenant's last number is this one.
    pub(super) fn note(&mut self, tenant: TenantId, seq: u64) {
        if self.left.is_some() {
            self.fresh.insert(tenant, seq);
        }
    }

    /// The root, and how many tenants it covers; nothing if that was too much work.
    pub(super) fn root(&mut self) -> Option<(NodeHash, u64)> {
        let mut dirty = Vec::new();
        let mut added = Vec::new();
        let mut moved = None;
        let leaves = self.levels.first_mut()?;
        for (tenant, seq) in std::mem::take(&mut self.fresh) {
            let leaf = leaf_hash(&TenantHead { tenant, seq }.to_bytes());
            match self.tenants.binary_search(&tenant) {
                Ok(position) => {
                    *leaves.get_mut(position)? = leaf;
                    dirty.push(position);
                }
                Err(position) => {
                    // They come in order, so that the first stands lowest.
                    moved.get_or_insert(position);
                    added.push((tenant, leaf));
                }
            }
        }
        let moved = moved.unwrap_or(leaves.len());
        if !added.is_empty() {
            let cost = super::count(leaves.len().saturating_sub(moved));
            self.left = self.left.and_then(|left| left.checked_sub(cost));
            let mut rest: Vec<_> = self
                .tenants
                .drain(moved..)
                .zip(leaves.drain(moved..))
                .collect();
            rest.append(&mut added);
            // Two runs that are in order already: this merges them.
            rest.sort_by_key(|(tenant, _)| *tenant);
            let (tenants, hashes): (Vec<_>, Vec<_>) = rest.into_iter().unzip();
            self.tenants.extend(tenants);
            leaves.extend(hashes);
        }
        if self.left.is_none() {
            // What is not needed any more takes no memory.
            self.tenants = Vec::new();
            self.levels = vec![Vec::new()];
            return None;
        }
        self.rise(dirty, moved)?;
        let root = match self.levels.last()?.as_slice() {
            [root] => *root,
            _ => empty_root(),
        };
        Some((root, super::count(self.tenants.len())))
    }

    /// Makes anew what stands over changed leaves, and over all from `moved` on.
    fn rise(&mut self, mut dirty: Vec<usize>, mut moved: usize) -> Option<()> {
        let mut level = 0usize;
        while self.levels.get(level)?.len() > 1 {
            level = level.saturating_add(1);
            if self.levels.len() == level {
                self.levels.push(Vec::new());
            }
            let (below, above) = self.levels.split_at_mut_checked(level)?;
            let (below, above) = (below.last()?, above.first_mut()?);
            moved /= 2;
            above.truncate(moved);
            dirty.iter_mut().for_each(|position| *position /= 2);
            dirty.dedup();
            dirty.retain(|position| *position < above.len());
            for position in &dirty {
                let pair = below.get(position.saturating_mul(2)..)?;
                *above.get_mut(*position)? = parent(pair)?;
            }
            let rest = below.get(above.len().saturating_mul(2)..)?;
            above.extend(rest.chunks(2).filter_map(parent));
        }
        Some(())
    }
}

/// What the first two make, or the only one.
fn parent(nodes: &[NodeHash]) -> Option<NodeHash> {
    match nodes {
        [left, right, ..] => Some(node_hash(left, right)),
        [only] => Some(*only),
        [] => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::body::tenants_root;
    use countersign_record::digest::sha256;

    fn tenant(number: u64) -> TenantId {
        let digest = sha256(&number.to_be_bytes());
        TenantId(*digest.first_chunk().unwrap())
    }

    /// Plays numbers of tenants, with a look at the root after each `together` of them.
    fn agrees(numbers: impl Iterator<Item = u64>, together: u64) {
        let mut tree = TenantTree::default();
        let mut heads = BTreeMap::new();
        for (seq, number) in (0u64..).zip(numbers) {
            tree.note(tenant(number), seq);
            heads.insert(tenant(number), seq);
            if seq.is_multiple_of(together) {
                let all: Vec<_> = heads
                    .iter()
                    .map(|(tenant, seq)| TenantHead {
                        tenant: *tenant,
                        seq: *seq,
                    })
                    .collect();
                let expected = (tenants_root(&all), u64::try_from(all.len()).unwrap());
                assert_eq!(tree.root(), Some(expected), "after {seq}");
            }
        }
    }

    #[test]
    fn the_root_is_that_of_the_whole_list_after_each_new_tenant() {
        agrees(0..70, 1);
    }

    #[test]
    fn the_root_is_that_of_the_whole_list_when_old_and_new_tenants_mix() {
        agrees((0..300).map(|n| (n * 7) % (1 + n / 3)), 1);
    }

    #[test]
    fn the_root_is_that_of_the_whole_list_after_many_at_once() {
        agrees((0..500).map(|n| (n * 31) % 97), 13);
    }

    #[test]
    fn no_tenant_has_the_root_of_no_tenant() {
        assert_eq!(TenantTree::default().root(), Some((tenants_root(&[]), 0)));
    }

    #[test]
    fn tenants_that_move_too_many_others_have_no_root() {
        // Each stands before all those that came before it: 1, 2, 3 and 4 are moved, and then 5.
        let mut tree = TenantTree::bounded(10);
        for number in (4..10).rev() {
            assert!(tree.root().is_some(), "before {number}");
            tree.note(TenantId([number; 16]), 0);
        }
        assert_eq!(tree.root(), None);
        tree.note(TenantId([9; 16]), 1);
        assert_eq!(tree.root(), None);
    }

    #[test]
    fn numbers_of_known_tenants_move_nobody() {
        let mut tree = TenantTree::bounded(0);
        tree.note(TenantId([1; 16]), 0);
        tree.note(TenantId([2; 16]), 0);
        for seq in 1..100 {
            assert!(tree.root().is_some());
            tree.note(TenantId([1; 16]), seq);
        }
        assert!(tree.root().is_some());
    }
}
