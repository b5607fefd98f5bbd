//! Waiting for a condition, with a deadline.

use std::time::{Duration, Instant};

/// Far above what anything here takes on a loaded machine.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

/// Looks until `found` gives something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut found: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = found() {
            return found;
        }
        assert!(start.elapsed() < DEADLINE, "not within {DEADLINE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// The same for what happens while the test's own head node goes on talking.
pub(crate) async fn until_later(what: &str, found: impl Fn() -> bool) {
    let looking = async {
        while !found() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let looked = tokio::time::timeout(DEADLINE, looking).await;
    looked.unwrap_or_else(|_| panic!("not within {DEADLINE:?}: {what}"));
}

/// Whether a process is there and not a zombie.
pub(crate) fn alive(pid: i32) -> bool {
    computenode::spawner::processes::process(pid).is_some()
}

/// The number that a task wrote into a file.
pub(crate) fn pid_in(path: &std::path::Path) -> i32 {
    until(&format!("a process id in {}", path.display()), || {
        std::fs::read_to_string(path).ok()?.strip_suffix('\n')?.parse().ok()
    })
}
