//! Processes that use all the processor time they get: what another user of the machine may be.

use std::process::{Child, Command, Stdio};

use anyhow::Context;

/// Spin until the value is dropped.
#[derive(Debug)]
pub(super) struct Spinners(Vec<Child>);

impl Spinners {
    pub(super) fn start(count: usize) -> anyhow::Result<Self> {
        let mut spinners = Self(Vec::new());
        for _ in 0..count {
            let child = Command::new("/bin/sh")
                .args(["-c", "while :; do :; done"])
                .stdin(Stdio::null())
                .spawn()
                .context("/bin/sh cannot be started")?;
            spinners.0.push(child);
        }
        Ok(spinners)
    }
}

impl Drop for Spinners {
    fn drop(&mut self) {
        for child in &mut self.0 {
            // Gone already is what is wanted.
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
