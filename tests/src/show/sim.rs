//! The whole head round under simulation: so many seeds, each with faults, all promises kept.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};

use super::say;
use crate::sim::{self, Broken, Summary};

/// As many as `./dev test` runs.
const SEEDS: u64 = 2000;

pub(super) fn run(words: &[&str]) -> anyhow::Result<()> {
    let [first, seeds] = match words {
        [] => [1, SEEDS],
        [count] => [1, number(count)?],
        [first, count, ..] => [number(first)?, number(count)?],
    };
    let (all, broken) = run_seeds(first, Some(seeds));
    say(format!(
        "{seeds} seeds: {} jobs, {} processes, {} granted ahead of time, {} of these recalled, {} events, {} faults",
        all.jobs, all.processes, all.ahead, all.recalled, all.events, all.faults
    ));
    match broken {
        Some(broken) => bail!("{broken}; again: ./dev show sim {} 1", broken.seed),
        None => Ok(()),
    }
}

/// Runs seeds until stopped, or until one breaks a promise (`./dev soak sim`).
#[must_use]
pub fn soak() -> std::process::ExitCode {
    let first = std::time::SystemTime::now()
        .duration_since(std::time::UNIX_EPOCH)
        .map_or(1, |since| since.as_secs() * 1_000_000);
    let (_, broken) = run_seeds(first, None);
    if let Some(broken) = broken {
        say(format!("FAIL: {broken}; again: ./dev show sim {} 1", broken.seed));
        return std::process::ExitCode::FAILURE;
    }
    std::process::ExitCode::SUCCESS
}

fn number(word: &str) -> anyhow::Result<u64> {
    word.parse().with_context(|| format!("'{word}' is no number of seeds"))
}

/// Runs seeds from `first` on, one thread per processor; stops at the first that breaks a promise.
fn run_seeds(first: u64, count: Option<u64>) -> (Summary, Option<Broken>) {
    let next = AtomicU64::new(first);
    let end = count.map_or(u64::MAX, |count| first.saturating_add(count));
    let found: Mutex<(Summary, Option<Broken>)> = Mutex::default();
    let told = Mutex::new(Instant::now());
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= end || found.lock().is_ok_and(|found| found.1.is_some()) {
                return;
            }
            let run = sim::run(seed);
            let Ok(mut found) = found.lock() else { return };
            match run {
                Ok(one) => {
                    let all = &mut found.0;
                    all.jobs += one.jobs;
                    all.processes += one.processes;
                    all.events += one.events;
                    all.ahead += one.ahead;
                    all.recalled += one.recalled;
                    all.faults += one.faults;
                }
                Err(broken) => found.1 = found.1.take().or(Some(broken)),
            }
            if let Ok(mut told) = told.lock()
                && told.elapsed() > Duration::from_secs(15)
            {
                *told = Instant::now();
                say(format!("{} seeds so far", seed - first));
            }
        }
    };
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
            scope.spawn(work);
        }
    });
    found.into_inner().unwrap_or_default()
}
