//! Where ranks go: rank numbers in blocks over the nodes of an allocation.

use serde::{Deserialize, Serialize};

use crate::ids::Rank;

/// One run of consecutive ranks on one node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// The node's position in the allocation, from 0.
    pub node: u32,
    /// The first rank of the run.
    pub first: Rank,
    /// How many ranks, at least 1.
    pub count: u32,
}

/// Which node holds which ranks. Every rank from 0 to `size - 1` stands in exactly one block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMap {
    blocks: Vec<Block>,
    size: u32,
}

/// Why ranks cannot be mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum MapError {
    /// Nothing to place, or nowhere to place it.
    #[error("{ranks} ranks cannot be placed on {nodes} nodes")]
    Empty {
        /// Ranks asked for.
        ranks: u32,
        /// Nodes of the allocation.
        nodes: usize,
    },
    /// More ranks than a launch may have.
    #[error("{ranks} ranks are more than the bound of {MAX_RANKS}")]
    TooMany {
        /// Ranks asked for.
        ranks: u64,
    },
}

/// The most ranks of one launch.
pub const MAX_RANKS: u32 = 1 << 20;

impl TaskMap {
    /// `per_node` ranks on each of `nodes` nodes (mpiexec's `-c`).
    ///
    /// # Errors
    /// [`MapError`] when there is nothing to place or too much.
    pub fn per_node(nodes: usize, per_node: u32) -> Result<Self, MapError> {
        let ranks = nodes as u64 * u64::from(per_node);
        let total = u32::try_from(ranks)
            .ok()
            .filter(|n| *n <= MAX_RANKS)
            .ok_or(MapError::TooMany { ranks })?;
        Self::blocks(&vec![per_node; nodes], total)
    }

    /// `ranks` ranks in blocks of each node's cores; when ranks remain, another round of blocks begins at the first node.
    ///
    /// # Errors
    /// [`MapError`] when there is nothing to place or too much.
    pub fn blocks(cores: &[u32], ranks: u32) -> Result<Self, MapError> {
        if ranks == 0 || cores.iter().all(|c| *c == 0) {
            return Err(MapError::Empty {
                ranks,
                nodes: cores.len(),
            });
        }
        if ranks > MAX_RANKS {
            return Err(MapError::TooMany {
                ranks: u64::from(ranks),
            });
        }
        let (mut blocks, mut next) = (Vec::<Block>::new(), 0);
        while next < ranks {
            for (node, cores) in (0u32..).zip(cores) {
                let count = (*cores).min(ranks - next);
                if count > 0 {
                    blocks.push(Block {
                        node,
                        first: Rank(next),
                        count,
                    });
                    next += count;
                }
            }
        }
        Ok(Self { blocks, size: ranks })
    }

    /// How many ranks there are.
    #[must_use]
    pub const fn size(&self) -> u32 {
        self.size
    }

    /// The runs in rank order.
    #[must_use]
    pub fn runs(&self) -> &[Block] {
        &self.blocks
    }

    /// The ranks of one node, ascending.
    pub fn ranks_of(&self, node: u32) -> impl Iterator<Item = Rank> {
        self.blocks
            .iter()
            .filter(move |b| b.node == node)
            .flat_map(|b| (b.first.0..b.first.0 + b.count).map(Rank))
    }

    /// The node of one rank.
    #[must_use]
    pub fn node_of(&self, rank: Rank) -> Option<u32> {
        let found = self
            .blocks
            .iter()
            .find(|b| (b.first.0..b.first.0 + b.count).contains(&rank.0));
        found.map(|b| b.node)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn blocks_fill_nodes_in_order_and_wrap() {
        let map = TaskMap::blocks(&[2, 2], 6).expect("a map");
        assert_eq!(map.ranks_of(0).map(|r| r.0).collect::<Vec<_>>(), [0, 1, 4, 5]);
        assert_eq!(map.ranks_of(1).map(|r| r.0).collect::<Vec<_>>(), [2, 3]);
    }

    proptest! {
        #[test]
        fn every_rank_has_one_node(cores in prop::collection::vec(0u32..9, 1..9), ranks in 1u32..200) {
            prop_assume!(cores.iter().any(|c| *c > 0));
            let map = TaskMap::blocks(&cores, ranks).expect("a map");
            let mut seen = vec![0; ranks as usize];
            for node in 0..u32::try_from(cores.len()).expect("small") {
                for rank in map.ranks_of(node) {
                    seen[rank.index()] += 1;
                    prop_assert_eq!(map.node_of(rank), Some(node));
                }
            }
            prop_assert!(seen.iter().all(|n| *n == 1));
        }
    }
}
