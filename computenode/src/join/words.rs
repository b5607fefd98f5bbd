//! What is said to whoever joins a host. Pure, but for the last line of a log.

use std::path::Path;

use proto::model::node::Inventory;
use proto::units::Millis;

use super::DEFAULT_FOLDER;
use crate::directory::NodeDirectory;
use crate::link::CLOCK_TOLERANCE;

/// What was found on this host, in a line.
pub(super) fn describe(found: &Inventory) -> String {
    let tenths = found.memory_bytes.saturating_mul(10) >> 30;
    let plural = |count: u32| if count == 1 { "" } else { "s" };
    format!(
        "{} core{} on {} socket{}, {}.{} GiB, {}",
        found.cores,
        plural(found.cores),
        found.sockets,
        plural(found.sockets),
        tenths / 10,
        tenths % 10,
        found.os
    )
}

pub(super) fn clock_difference(ahead_ms: i64) -> String {
    let off = Millis(ahead_ms.unsigned_abs());
    let way = if ahead_ms > 0 { "ahead of" } else { "behind" };
    if off > CLOCK_TOLERANCE {
        format!("WARNING: the clock here is {off} {way} the head node's, set it (chrony, systemd-timesyncd)")
    } else {
        format!("the clock here is {off} {way} the head node's")
    }
}

/// Where the words of the agent and its spawner are.
pub(crate) fn logs(directory: &NodeDirectory, background: bool) -> String {
    if background {
        directory.agent_log().display().to_string()
    } else {
        "journalctl -u muster-agent -u muster-spawner".to_owned()
    }
}

/// To be typed behind a command for this folder.
pub(crate) fn dir_flag(folder: &Path) -> String {
    if folder == Path::new(DEFAULT_FOLDER) {
        String::new()
    } else {
        format!(" --dir {}", folder.display())
    }
}

/// The last line of a log.
pub(super) fn last_words(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let last = text.lines().rev().find(|line| !line.trim().is_empty());
    last.map_or_else(|| format!("see {}", log.display()), str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inventory_is_a_line() {
        let found = Inventory {
            cores: 1,
            sockets: 2,
            memory_bytes: 33_500_000_000,
            os: "Debian".to_owned(),
            ..Inventory::default()
        };
        assert_eq!(describe(&found), "1 core on 2 sockets, 31.1 GiB, Debian");
    }

    #[test]
    fn a_clock_far_off_is_a_warning() {
        assert_eq!(clock_difference(-12), "the clock here is 12ms behind the head node's");
        assert!(clock_difference(90_000).starts_with("WARNING: the clock here is 1m 30s ahead of"));
    }
}
