//! Names in the order in which people count: `node2` before `node10`.

use std::cmp::Ordering;

/// Compares two names so that numbers in them count as numbers, without regard to case.
#[must_use]
pub fn natural_order(a: &str, b: &str) -> Ordering {
    natural_key(a).cmp(&natural_key(b))
}

/// A key whose byte order is the natural order of names. Equal only for names that are equal without regard to case.
///
/// A run of digits becomes a `0`, its length without leading zeros, and its digits; so a longer number is the larger
/// one. The name itself follows after a zero byte and settles `n1` against `n01`.
pub(crate) fn natural_key(name: &str) -> Vec<u8> {
    let name = name.to_ascii_lowercase();
    let mut key = Vec::with_capacity(2 * name.len() + 3);
    let mut rest = name.as_bytes();
    while let Some(first) = rest.first() {
        if first.is_ascii_digit() {
            let end = rest.iter().position(|b| !b.is_ascii_digit()).unwrap_or(rest.len());
            let (run, after) = rest.split_at(end);
            let zeros = run.iter().take_while(|b| **b == b'0').count();
            // Names have 64 bytes at most; a longer text only loses the order among its giants.
            let digits = u8::try_from(run.len() - zeros).unwrap_or(u8::MAX);
            key.extend([b'0', digits]);
            key.extend(&run[zeros..]);
            rest = after;
        } else {
            key.push(*first);
            rest = &rest[1..];
        }
    }
    key.push(0);
    key.extend(name.as_bytes());
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["node10", "node2", "Node1", "node", "node02", "a", "node2b", "node2-1"];
        names.sort_by(|a, b| natural_order(a, b));
        assert_eq!(
            names,
            ["a", "node", "Node1", "node02", "node2", "node2-1", "node2b", "node10"]
        );
        assert_eq!(natural_order("N1", "n1"), Ordering::Equal);
    }
}
