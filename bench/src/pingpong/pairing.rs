//! Which ranks measure with each other, and in what order. Pure.

use proto::ids::Rank;

/// Two ranks that measure: the first sends first and keeps the times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Sends first.
    pub first: Rank,
    /// Sends back.
    pub second: Rank,
}

/// Every pair once, one after the other: n(n-1)/2 of them.
#[must_use]
pub fn serial(ranks: u32) -> Vec<Pair> {
    let pair = |first| {
        (first + 1..ranks).map(move |second| Pair {
            first: Rank(first),
            second: Rank(second),
        })
    };
    (0..ranks).flat_map(pair).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serial_pairs_are_all_and_each_once() {
        let four: Vec<(u32, u32)> = serial(4).iter().map(|pair| (pair.first.0, pair.second.0)).collect();
        assert_eq!(four, [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)]);
        assert_eq!((serial(0).len(), serial(1).len(), serial(17).len()), (0, 0, 136));
    }
}
