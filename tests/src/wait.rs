//! Waiting for a condition with a deadline; the only place where a test lets time pass.

use std::time::{Duration, Instant};

use anyhow::bail;

/// Between two looks. Conditions here are files and processes, which cannot wake us.
const BETWEEN_LOOKS: Duration = Duration::from_millis(20);

/// Looks until `condition` gives something.
///
/// # Errors
/// The condition's own error at once, or, after `within`, one that names `what`.
pub fn until<T>(
    what: &str,
    within: Duration,
    mut condition: impl FnMut() -> anyhow::Result<Option<T>>,
) -> anyhow::Result<T> {
    let start = Instant::now();
    loop {
        if let Some(found) = condition()? {
            return Ok(found);
        }
        if start.elapsed() > within {
            bail!("waited {} s in vain for: {what}", within.as_secs());
        }
        std::thread::park_timeout(BETWEEN_LOOKS);
    }
}
