//! The inventory of `unsafe` in docs/security.md, compared with the source: a file that gains or loses a block must say so
//! there, with what the block does and why it is sound.

use std::collections::BTreeMap;
use std::fs;

use crate::tidy::{all_sources, root};

/// The heading that the table stands under.
const HEADING: &str = "## Unsafe code";

/// How many unsafe blocks and implementations each file has.
fn found() -> BTreeMap<String, usize> {
    let begins = ["{", "impl", "fn", "extern"].map(|rest| format!("{} {rest}", "unsafe"));
    let count = |text: &str| {
        let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
        code.map(|line| {
            begins
                .iter()
                .map(|begin| line.matches(begin.as_str()).count())
                .sum::<usize>()
        })
        .sum::<usize>()
    };
    let named = all_sources().into_iter().map(|(path, text)| {
        let path = path
            .strip_prefix(root())
            .expect("in the workspace")
            .display()
            .to_string();
        (path, count(&text))
    });
    named.filter(|(_, blocks)| *blocks > 0).collect()
}

/// What the document says: rows of a table that begin with a path and a number.
fn written() -> BTreeMap<String, usize> {
    let text = fs::read_to_string(root().join("docs/security.md")).expect("the document");
    let (_, inventory) = text.split_once(HEADING).expect("the inventory");
    let rows = inventory.lines().filter_map(|line| {
        let mut cells = line.strip_prefix("| `")?.split('|').map(str::trim);
        let path = cells.next()?.strip_suffix('`')?;
        Some((path.to_owned(), cells.next()?.parse().ok()?))
    });
    rows.collect()
}

#[test]
fn every_unsafe_block_is_in_the_inventory() {
    let (found, written) = (found(), written());
    for (path, blocks) in &found {
        let said = written.get(path).copied().unwrap_or_default();
        assert_eq!(
            said, *blocks,
            "{path} has {blocks} unsafe blocks, docs/security.md says {said}: tell there what they do and why that is sound"
        );
    }
    for path in written.keys() {
        assert!(
            found.contains_key(path),
            "{path} has no unsafe code any more: take it out of docs/security.md"
        );
    }
}
