//! `torture`: a real cluster under load whose daemons, disks and links are broken at random; about four minutes.

use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;

use super::say;
use crate::torture;

/// As many as `./dev test` runs.
const CYCLES: u64 = 60;

pub(super) fn run(words: &[&str]) -> anyhow::Result<()> {
    let (cycles, seed) = match words {
        [] => (CYCLES, new_seed()),
        [cycles] => (number(cycles)?, new_seed()),
        [cycles, seed, ..] => (number(cycles)?, number(seed)?),
    };
    torture::run(cycles, seed, &|line| say(line))
}

/// Runs with one seed after the other until stopped, or until one breaks a promise (`./dev soak torture [CYCLES]`).
#[must_use]
pub fn soak(words: &[&str]) -> std::process::ExitCode {
    let mut seed = new_seed();
    loop {
        let cycles = words.first().map_or(Ok(CYCLES), |word| number(word));
        if let Err(error) = cycles.and_then(|cycles| torture::run(cycles, seed, &|line| say(line))) {
            say(format!("FAIL: {error:#}"));
            return std::process::ExitCode::FAILURE;
        }
        seed += 1;
    }
}

fn new_seed() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |since| since.as_secs())
}

fn number(word: &str) -> anyhow::Result<u64> {
    word.parse().with_context(|| format!("'{word}' is no number"))
}
