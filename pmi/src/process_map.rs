//! `PMI_process_mapping`: which rank is on which node, in the form that MPICH reads.
//!
//! `(vector,(S,C,P),...)` says: from node S, C nodes with P consecutive ranks each; the list begins again when ranks
//! remain. The map must always be there and be true: without it MPICH groups by host name, and two nodes of one name would
//! try shared memory with each other.

use proto::taskmap::{Block, TaskMap};

use crate::limits::MAX_VALUE_BYTES;

/// The key that ranks ask for. The server answers it; nobody puts it.
pub const KEY: &str = "PMI_process_mapping";

/// The map as a value, or nothing when it would be longer than a value may be.
///
/// That happens only with some hundred nodes of all different sizes; MPICH then falls back to host names, which is right
/// on real machines.
#[must_use]
pub fn encode(map: &TaskMap) -> Option<String> {
    let mut text = String::from("(vector");
    for (start, nodes, per_node) in merged(period(map.runs())) {
        text.push_str(&format!(",({start},{nodes},{per_node})"));
    }
    text.push(')');
    (text.len() <= MAX_VALUE_BYTES).then_some(text)
}

/// The shortest beginning of the list whose repetition is the list; the last run may be cut short by the last rank.
///
/// Readers repeat from a block with start 0, so only a beginning that stands for one pass over the nodes from 0 is cut.
fn period(runs: &[Block]) -> &[Block] {
    let repeats = |length: usize| {
        runs.iter().enumerate().all(|(i, run)| {
            let model = &runs[i % length];
            let last = i + 1 == runs.len();
            run.node == model.node && (run.count == model.count || (last && run.count < model.count))
        })
    };
    let one_pass = |length: usize| runs[0].node == 0 && runs[1..length].iter().all(|run| run.node != 0);
    let found = (1..runs.len()).find(|length| one_pass(*length) && repeats(*length));
    &runs[..found.unwrap_or(runs.len())]
}

/// Neighbouring nodes with equally many ranks become one triple.
fn merged(runs: &[Block]) -> Vec<(u32, u32, u32)> {
    let mut triples = Vec::<(u32, u32, u32)>::new();
    for run in runs {
        match triples.last_mut() {
            Some((start, nodes, per_node)) if *start + *nodes == run.node && *per_node == run.count => *nodes += 1,
            _ => triples.push((run.node, 1, run.count)),
        }
    }
    triples
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(cores: &[u32], ranks: u32) -> String {
        encode(&TaskMap::blocks(cores, ranks).expect("a map")).expect("short")
    }

    #[test]
    fn the_forms_that_mpich_knows() {
        assert_eq!(encoded(&[4, 4], 8), "(vector,(0,2,4))");
        assert_eq!(encoded(&[3, 1], 4), "(vector,(0,1,3),(1,1,1))");
        assert_eq!(encoded(&[1, 1], 8), "(vector,(0,2,1))");
        assert_eq!(encoded(&[2, 2], 3), "(vector,(0,1,2),(1,1,1))");
        assert_eq!(encoded(&[2, 2], 7), "(vector,(0,2,2))");
        assert_eq!(encoded(&[4], 1), "(vector,(0,1,1))");
        assert_eq!(encoded(&[2], 4), "(vector,(0,1,2))");
    }

    #[test]
    fn a_map_too_long_for_a_value_is_left_out() {
        let cores: Vec<u32> = (1..400).map(|n| n % 7 + 1).collect();
        let ranks = cores.iter().sum();
        assert_eq!(encode(&TaskMap::blocks(&cores, ranks).expect("a map")), None);
    }

    /// Reads a map as MPICH does: blocks in order, then again from the block with start 0.
    fn nodes_as_mpich_reads(text: &str, ranks: usize) -> Vec<u32> {
        let inner = text
            .strip_prefix("(vector,")
            .and_then(|t| t.strip_suffix(')'))
            .expect("a vector");
        let triples: Vec<Vec<u32>> = inner
            .split("),(")
            .map(|t| {
                t.trim_matches(['(', ')'])
                    .split(',')
                    .map(|n| n.parse().expect("a number"))
                    .collect()
            })
            .collect();
        let again = triples.iter().position(|t| t[0] == 0).unwrap_or(0);
        let mut nodes = Vec::new();
        let mut from = 0;
        while nodes.len() < ranks {
            for t in &triples[from..] {
                for node in t[0]..t[0] + t[1] {
                    nodes.extend(std::iter::repeat_n(node, t[2] as usize));
                }
            }
            from = again;
        }
        nodes.truncate(ranks);
        nodes
    }

    proptest! {
        #[test]
        fn mpich_reads_what_was_meant(cores in prop::collection::vec(0u32..4, 1..7), ranks in 1u32..60) {
            prop_assume!(cores.iter().any(|c| *c > 0));
            let map = TaskMap::blocks(&cores, ranks).expect("a map");
            let read = nodes_as_mpich_reads(&encode(&map).expect("short"), ranks as usize);
            for rank in 0..ranks {
                prop_assert_eq!(map.node_of(proto::ids::Rank(rank)), Some(read[rank as usize]));
            }
        }
    }
}
