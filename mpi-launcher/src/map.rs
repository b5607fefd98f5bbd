//! Ranks to nodes: which nodes of the allocation take part, and which ranks each one gets.
//!
//! Pure. Ranks go in blocks over the allocation's order, each node by its share; more ranks than cores wrap around and
//! share cores, as in MS-MPI and Hydra. Positions in the map count only nodes that have ranks, because MPI libraries
//! expect node numbers without gaps.

use proto::control::AllocatedNode;
use proto::launch::AllocationView;
use proto::taskmap::{MapError, TaskMap};

/// Which ranks are where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placement {
    /// The nodes that have ranks; the index is the position in the map.
    pub nodes: Vec<AllocatedNode>,
    /// The ranks of each.
    pub map: TaskMap,
}

/// Places the ranks of a launch.
///
/// # Errors
/// [`MapError`] when the allocation holds no cores or the ranks are too many.
pub fn place(allocation: &AllocationView, ranks: Option<u32>, per_node: Option<u32>) -> Result<Placement, MapError> {
    let mut nodes: Vec<AllocatedNode> = allocation.nodes.iter().filter(|node| node.slots > 0).cloned().collect();
    let shares: Vec<u32> = nodes.iter().map(|node| per_node.unwrap_or(node.slots)).collect();
    let all: u64 = shares.iter().copied().map(u64::from).sum();
    let ranks = match ranks {
        Some(ranks) => ranks,
        None => u32::try_from(all).map_err(|_| MapError::TooMany { ranks: all })?,
    };
    let map = TaskMap::blocks(&shares, ranks)?;
    // The first round of blocks goes through the nodes in order, so those without ranks are at the end.
    let used = map.runs().iter().map(|run| run.node as usize + 1).max().unwrap_or(0);
    nodes.truncate(used);
    Ok(Placement { nodes, map })
}

#[cfg(test)]
mod tests {
    use proto::ids::{AttemptId, JobId, NodeId, NodeName, TaskId, TaskNumber};

    use super::*;

    fn allocation(slots: &[u32]) -> AllocationView {
        let nodes = (1u32..).zip(slots).map(|(n, slots)| AllocatedNode {
            node: NodeId(n),
            name: NodeName::new(&format!("n{n}")).expect("a name"),
            slots: *slots,
            peer: ([127, 0, 0, 1], 1).into(),
        });
        AllocationView {
            attempt: AttemptId(1),
            task: TaskId::new(JobId(1), TaskNumber(1)),
            nodes: nodes.collect(),
            here: NodeId(1),
            address: [127, 0, 0, 1].into(),
        }
    }

    fn placed(slots: &[u32], ranks: Option<u32>, per_node: Option<u32>) -> Vec<Vec<u32>> {
        let placement = place(&allocation(slots), ranks, per_node).expect("a placement");
        let positions = 0..u32::try_from(placement.nodes.len()).expect("few");
        positions
            .map(|node| placement.map.ranks_of(node).map(|rank| rank.0).collect())
            .collect()
    }

    #[test]
    fn one_rank_per_core_unless_told() {
        assert_eq!(placed(&[2, 1], None, None), [vec![0, 1], vec![2]]);
        assert_eq!(placed(&[2, 2], None, Some(1)), [vec![0], vec![1]]);
        assert_eq!(placed(&[2, 2], Some(3), Some(1)), [vec![0, 2], vec![1]]);
    }

    #[test]
    fn ten_ranks_on_four_nodes_wrap() {
        assert_eq!(
            placed(&[2, 2, 2, 2], Some(10), None),
            [vec![0, 1, 8, 9], vec![2, 3], vec![4, 5], vec![6, 7]]
        );
    }

    #[test]
    fn nodes_without_ranks_take_no_part() {
        assert_eq!(placed(&[2, 2, 2, 2], Some(3), None), [vec![0, 1], vec![2]]);
        assert_eq!(placed(&[0, 2], Some(1), None), [vec![0]], "positions have no gaps");
        assert!(place(&allocation(&[0]), None, None).is_err());
    }
}
