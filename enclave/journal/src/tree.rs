//! The Merkle tree as stored: tiles of 256 hashes, each written once when it is full.
//!
//! In: leaf hashes in order. Out: tiles to store, the root, and the nodes that proofs ask
//! for. The right edge, at most 255 hashes a level, stays in memory and is made anew from
//! the entries on opening. Tile `n` of level `l` holds nodes `256n … 256n + 255` of level
//! `8l` of the tree, as in C2SP tlog-tiles; nodes between those levels are computed.

use countersign_record::digest::NodeHash;
use countersign_record::merkle::{Frontier, Head, Nodes, node_hash};
use std::cell::RefCell;
use std::collections::HashMap;

/// Hashes in a full tile.
pub(crate) const TILE: usize = 256;
const TILE_LEVELS: u8 = 8;

/// Which tile.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct TileId {
    pub(crate) level: u8,
    pub(crate) number: u64,
}

impl TileId {
    /// The row. Levels are below 8, numbers below 2⁵⁶.
    pub(crate) fn row(self) -> i64 {
        i64::try_from((u64::from(self.level) << 56) | self.number).unwrap_or(i64::MAX)
    }
}

/// A full tile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Tile {
    pub(crate) id: TileId,
    pub(crate) hashes: Vec<NodeHash>,
}

impl Tile {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        tile_bytes(&self.hashes)
    }
}

fn tile_bytes(hashes: &[NodeHash]) -> Vec<u8> {
    hashes.iter().flat_map(|h| h.0).collect()
}

pub(crate) fn tile_hashes(bytes: &[u8]) -> Option<Vec<NodeHash>> {
    let (hashes, rest) = bytes.as_chunks::<32>();
    (rest.is_empty() && hashes.len() == TILE)
        .then(|| hashes.iter().copied().map(NodeHash).collect())
}

/// The tree: its frontier and its right edge.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tree {
    frontier: Frontier,
    /// Hashes of the last tile of each level, fewer than [`TILE`].
    edge: Vec<Vec<NodeHash>>,
}

impl Tree {
    pub(crate) fn size(&self) -> u64 {
        self.frontier.size()
    }

    pub(crate) fn head(&self) -> Head {
        Head {
            size: self.frontier.size(),
            root: self.frontier.root(),
        }
    }

    /// Adds a leaf; `full` gets each tile that it fills.
    pub(crate) fn append(&mut self, leaf: NodeHash, mut full: impl FnMut(Tile)) {
        self.frontier.append(leaf, |_, _, _| ());
        let size = self.frontier.size();
        let mut hash = leaf;
        for level in 0..TILE_LEVELS {
            let slot = usize::from(level);
            if self.edge.len() <= slot {
                self.edge.push(Vec::with_capacity(TILE));
            }
            let Some(edge) = self.edge.get_mut(slot) else {
                return;
            };
            edge.push(hash);
            if edge.len() < TILE {
                return;
            }
            let hashes = std::mem::take(edge);
            hash = subtree(&hashes);
            let shift = u32::from(level).saturating_add(1).saturating_mul(8);
            let number = size.checked_shr(shift).unwrap_or(0).saturating_sub(1);
            full(Tile {
                id: TileId { level, number },
                hashes,
            });
        }
    }

    /// A hash of the tile that is not full yet.
    fn edge_part(&self, id: TileId, at: Span) -> Option<NodeHash> {
        let shift = u32::from(id.level).saturating_add(1).saturating_mul(8);
        if self.size().checked_shr(shift).unwrap_or(0) != id.number {
            return None;
        }
        at.subtree(self.edge.get(usize::from(id.level))?)
    }
}

/// Part of a tile: `count` hashes, a power of two.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: usize,
    count: usize,
}

impl Span {
    fn subtree(self, hashes: &[NodeHash]) -> Option<NodeHash> {
        hashes
            .get(self.from..self.from.checked_add(self.count)?)
            .map(subtree)
    }
}

/// The root over a power of two of hashes.
fn subtree(hashes: &[NodeHash]) -> NodeHash {
    let mut row = hashes.to_vec();
    while row.len() > 1 {
        row = row
            .as_chunks::<2>()
            .0
            .iter()
            .map(|[left, right]| node_hash(left, right))
            .collect();
    }
    row.first()
        .copied()
        .unwrap_or_else(countersign_record::merkle::empty_root)
}

/// Nodes of a tree: the edge, and stored tiles through `load`.
pub(crate) struct View<'a, F> {
    tree: &'a Tree,
    load: F,
    loaded: RefCell<HashMap<TileId, Option<Vec<NodeHash>>>>,
}

impl<'a, F: Fn(TileId) -> Option<Vec<NodeHash>>> View<'a, F> {
    pub(crate) fn new(tree: &'a Tree, load: F) -> Self {
        Self {
            tree,
            load,
            loaded: RefCell::new(HashMap::new()),
        }
    }

    /// The leaf hash at `index`.
    pub(crate) fn leaf(&self, index: u64) -> Option<NodeHash> {
        self.node(0, index)
    }
}

impl<F: Fn(TileId) -> Option<Vec<NodeHash>>> Nodes for View<'_, F> {
    fn node(&self, level: u8, index: u64) -> Option<NodeHash> {
        let tile_level = level.checked_div(TILE_LEVELS)?;
        let above = u32::from(level.checked_rem(TILE_LEVELS)?);
        let first = index.checked_shl(above)?;
        let id = TileId {
            level: tile_level,
            number: first >> TILE_LEVELS,
        };
        let at = Span {
            from: usize::try_from(first & 0xff).ok()?,
            count: 1usize.checked_shl(above)?,
        };
        if let Some(hash) = self.tree.edge_part(id, at) {
            return Some(hash);
        }
        let mut loaded = self.loaded.borrow_mut();
        let tile = loaded.entry(id).or_insert_with(|| (self.load)(id));
        at.subtree(tile.as_deref()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use countersign_record::merkle::{
        consistency_proof, inclusion_proof, root_at, verify_consistency, verify_inclusion,
    };

    fn leaf(i: u64) -> NodeHash {
        countersign_record::merkle::leaf_hash(&i.to_be_bytes())
    }

    #[test]
    fn proofs_from_tiles_hold_for_sizes_around_each_boundary() {
        let mut tree = Tree::default();
        let mut tiles: HashMap<TileId, Vec<NodeHash>> = HashMap::new();
        let mut heads = vec![tree.head()];
        for i in 0..66_000u64 {
            tree.append(leaf(i), |t| {
                assert_eq!(tile_hashes(&t.bytes()).unwrap(), t.hashes);
                assert!(tiles.insert(t.id, t.hashes).is_none());
            });
            heads.push(tree.head());
        }
        let view = View::new(&tree, |id| tiles.get(&id).cloned());
        let sizes = [
            1u64, 2, 255, 256, 257, 511, 512, 513, 4096, 65_535, 65_536, 65_537, 65_792, 66_000,
        ];
        for second in sizes {
            let head = heads[usize::try_from(second).unwrap()];
            assert_eq!(root_at(&view, second).unwrap(), head.root);
            for index in sizes.iter().map(|s| s - 1).filter(|i| *i < second) {
                let path = inclusion_proof(&view, index, second).unwrap();
                verify_inclusion(leaf(index), index, second, &path, head.root).unwrap();
            }
            for first in sizes.into_iter().filter(|s| *s <= second) {
                let path = consistency_proof(&view, first, second).unwrap();
                verify_consistency(heads[usize::try_from(first).unwrap()], head, &path).unwrap();
            }
        }
    }

    #[test]
    fn a_missing_tile_gives_no_proof() {
        let mut tree = Tree::default();
        (0..600).for_each(|i| tree.append(leaf(i), |_| ()));
        let view = View::new(&tree, |_| None);
        assert!(inclusion_proof(&view, 3, 600).is_err());
    }
}
