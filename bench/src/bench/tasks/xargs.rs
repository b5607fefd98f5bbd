//! `xargs -P`: no queue, no head node, no record; what a user types on one machine.

use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, ensure};

/// Processes per second of so many `/bin/true`, so many at once.
pub(super) fn rate(tasks: u32, at_once: u32) -> anyhow::Result<f64> {
    let lines = "x\n".repeat(tasks as usize);
    let start = Instant::now();
    let mut child = Command::new("xargs")
        .arg(format!("-P{at_once}"))
        .args(["-n1", "/bin/true"])
        .stdin(Stdio::piped())
        .spawn()
        .context("xargs cannot be started")?;
    let fed = child
        .stdin
        .take()
        .context("a pipe")
        .and_then(|mut pipe| Ok(pipe.write_all(lines.as_bytes())?));
    ensure!(child.wait()?.success(), "xargs failed");
    fed?;
    Ok(f64::from(tasks) / start.elapsed().as_secs_f64())
}
