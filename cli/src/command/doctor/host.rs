//! Whether this machine is a compute node of some cluster, and whether that runs. What it is to know of a node it asks the
//! node's own program, which knows the files.

use std::path::Path;
use std::process::{Command, Stdio};

use crate::answer::Check;
use crate::local::program;

const WHAT: &str = "this node";

/// Looks at the node of this machine, and tells whether there is one.
pub(super) fn check(folder: &Path, checks: &mut Vec<Check>) -> bool {
    if !folder.exists() {
        return false;
    }
    if std::fs::read_dir(folder).is_err() {
        checks.push(Check::ok(
            WHAT,
            format!("is a compute node ({}); only root may look at it", folder.display()),
        ));
        return true;
    }
    let asked = program("muster-computenode").map_err(|error| error.to_string());
    let asked = asked.and_then(|program| {
        let mut command = Command::new(program);
        command.arg("status").arg("--dir").arg(folder).stdin(Stdio::null());
        command.output().map_err(|error| error.to_string())
    });
    checks.push(match asked {
        Ok(output) => told(output.status.success(), &output.stdout, &output.stderr),
        Err(error) => Check::warn(WHAT, error, "install muster-computenode beside this program"),
    });
    true
}

/// What the node's program said, on one line.
fn told(is_well: bool, output: &[u8], errors: &[u8]) -> Check {
    let text = String::from_utf8_lossy(output) + String::from_utf8_lossy(errors);
    let lines = text
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "));
    let found = lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ");
    if is_well {
        return Check::ok(WHAT, found);
    }
    Check::fail(
        WHAT,
        found,
        "its log says why: 'journalctl -u muster-agent' where it is a service, else the file 'log' in its folder",
    )
}

/// Said where no head node is meant to be.
pub(super) fn no_head_here() -> Check {
    Check::ok(
        "head node",
        "on another machine: 'muster doctor' there looks at the whole cluster, or here after 'muster login HEAD'",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::answer::Verdict;

    #[test]
    fn a_machine_without_a_node_has_nothing_to_say() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut checks = Vec::new();
        assert!(!check(&folder.path().join("none"), &mut checks) && checks.is_empty());
    }

    #[test]
    fn what_the_node_says_is_one_line() {
        let check = told(false, b"node    n1\nagent   does not run\n\n", b"");
        assert_eq!(check.verdict, Verdict::Fail);
        assert_eq!(check.found, "node n1; agent does not run");
    }
}
