//! `full-disk`: the disk of the head node's store runs full, first by submissions, then to the last byte by somebody else.
//! Submissions are refused with the reason, reading goes on, running tasks end; when room is made, everything that was
//! acknowledged is there, the ends of the tasks too, and work goes on.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::say;
use super::snapshot_damage::states;
use crate::cluster::{Cluster, SOON};
use crate::hosts::NeedsRoot;
use crate::wait;

/// Room for the store.
const DISK_MIB: u64 = 96;
/// What submissions may fill: above this and below the store's floor.
const LEFT_BYTES: u64 = headnode::store::FLOOR_BYTES + 3 * 1024 * 1024;
/// Of a command, so that some dozens fill it.
const COMMAND_BYTES: usize = 30_000;
/// A submission that is not answered for so long waits for room.
const ANSWERED_WITHIN: Duration = Duration::from_secs(3);

/// A small disk, gone when this goes out of scope.
struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Puts a small disk where the store is, with the store on it.
    fn under(store: &Path) -> anyhow::Result<Self> {
        let aside = store.with_extension("aside");
        fs::rename(store, &aside)?;
        fs::create_dir(store)?;
        let size = format!("size={DISK_MIB}m,mode=0700");
        mount(
            Some("tmpfs"),
            store,
            Some("tmpfs"),
            MsFlags::empty(),
            Some(size.as_str()),
        )?;
        let disk = Self { path: store.to_owned() };
        copy(&aside, store)?;
        fs::remove_dir_all(&aside)?;
        Ok(disk)
    }

    fn free_bytes(&self) -> anyhow::Result<u64> {
        let stat = nix::sys::statvfs::statvfs(&self.path)?;
        Ok(stat.blocks_available() * stat.fragment_size())
    }

    /// Takes bytes until so many are free.
    fn fill(&self, name: &str, free_bytes: u64) -> anyhow::Result<()> {
        let mut ballast = File::create(self.path.join(name))?;
        let piece = vec![0xa5; 64 * 1024];
        while self.free_bytes()? > free_bytes {
            if let Err(error) = ballast.write_all(&piece) {
                ensure!(
                    error.kind() == std::io::ErrorKind::StorageFull,
                    "filling the disk: {error}"
                );
                return Ok(());
            }
        }
        Ok(())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Whoever still has files open there keeps them until they end.
        if let Err(error) = umount2(&self.path, MntFlags::MNT_DETACH) {
            eprintln!("unmounting {}: {error}", self.path.display());
        }
    }
}

fn copy(from: &Path, to: &Path) -> anyhow::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let to = to.join(path.file_name().context("a name")?);
        if path.is_dir() {
            copy(&path, &to)?;
        } else {
            fs::copy(&path, &to)?;
        }
    }
    Ok(())
}

pub(super) fn run() -> anyhow::Result<()> {
    if !nix::unistd::geteuid().is_root() {
        bail!(NeedsRoot);
    }
    let cluster = Cluster::start(1)?;
    cluster.ok("muster down")?;
    let disk = Disk::under(&cluster.state().join("head/store"))?;
    // Stopped before its disk goes.
    let result = story(&cluster, &disk);
    let down = cluster.ok("muster down");
    result?;
    down.map(drop)
}

fn story(cluster: &Cluster, disk: &Disk) -> anyhow::Result<()> {
    cluster.up()?;
    let gate = cluster.state().join("gate");
    let gated = format!("while [ ! -e {} ]; do sleep 0.05; done", gate.display());
    let running = [
        cluster.submit(&["sh", "-c", &gated])?,
        cluster.submit(&["sh", "-c", &gated])?,
    ];
    wait::until("two tasks to run", SOON, || {
        let states = states(cluster)?;
        Ok(running.iter().all(|job| states[job] == "running").then_some(()))
    })?;

    disk.fill("ballast", LEFT_BYTES)?;
    let (mut jobs, waiting) = submit_until_full(cluster)?;
    say(format!(
        "{} jobs were taken until the disk was full; the next one waits",
        jobs.len()
    ));
    refused(cluster)?;
    disk.fill("more-ballast", 0)?;
    refused(cluster)?;
    say("with not a byte left: a submission is refused with the reason, what is known can be read");

    fs::write(&gate, "")?;
    wait::until("both tasks to end", SOON, || Ok(nothing_runs(cluster)?.then_some(())))?;
    ensure!(
        states(cluster)?[&running[0]] == "running",
        "an end that is not stored is told nobody"
    );
    say("the running tasks have ended; nobody is told before it is stored");

    fs::remove_file(disk.path.join("more-ballast"))?;
    fs::remove_file(disk.path.join("ballast"))?;
    jobs.push(answer(waiting)?);
    jobs.extend(running);
    jobs.push(cluster.submit(&["true"])?);
    all_finish(cluster, &jobs)?;
    say(format!(
        "room was made: all {} jobs are there and have finished",
        jobs.len()
    ));

    cluster.kill_9("head")?;
    cluster.up()?;
    all_finish(cluster, &jobs)?;
    say("and after kill -9 likewise");
    Ok(())
}

/// Whether the node's tasks are gone, by the processes themselves.
fn nothing_runs(cluster: &Cluster) -> anyhow::Result<bool> {
    let gate = cluster.state().join("gate").display().to_string();
    for entry in fs::read_dir("/proc")? {
        let line = fs::read(entry?.path().join("cmdline")).unwrap_or_default();
        let line = String::from_utf8_lossy(&line);
        if line.contains(&gate) && line.contains("while [") {
            return Ok(false);
        }
    }
    Ok(true)
}

fn large_submission(cluster: &Cluster) -> anyhow::Result<Child> {
    let long = "x".repeat(COMMAND_BYTES);
    let mut command = cluster.command("job")?;
    command.args(["submit", "sh", "-c", "true", &long]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    Ok(command.spawn()?)
}

/// The jobs that were taken, and the submission that met the full disk.
fn submit_until_full(cluster: &Cluster) -> anyhow::Result<(Vec<u64>, Child)> {
    let mut jobs = Vec::new();
    while jobs.len() < 2000 {
        let mut child = large_submission(cluster)?;
        let ended = wait::until("an answer", ANSWERED_WITHIN, || Ok(child.try_wait()?));
        if ended.is_err() {
            return Ok((jobs, child));
        }
        match answer(child) {
            Ok(job) => jobs.push(job),
            // Some task's end met it first.
            Err(error) if error.to_string().contains("is full") => bail!("nothing waits: {error}"),
            Err(error) => return Err(error),
        }
    }
    bail!("the disk does not get full")
}

fn answer(child: Child) -> anyhow::Result<u64> {
    let output = child.wait_with_output()?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let number = said.trim().strip_prefix("Job has been submitted. ID: ");
    let number = number
        .and_then(|text| text.strip_suffix('.'))
        .and_then(|text| text.parse().ok());
    number.with_context(|| format!("no job: {said}{}", String::from_utf8_lossy(&output.stderr)))
}

fn refused(cluster: &Cluster) -> anyhow::Result<()> {
    let said = cluster.run("job", &["submit", "true"])?;
    for word in [
        "the disk of the head node is full",
        "bytes free",
        "make room",
        "nothing was lost",
    ] {
        ensure!(
            said.code != 0 && said.err.contains(word),
            "no '{word}': {} {}",
            said.code,
            said.err
        );
    }
    cluster.ok("job list").map(drop)
}

fn all_finish(cluster: &Cluster, jobs: &[u64]) -> anyhow::Result<()> {
    wait::until("all jobs to finish", SOON, || {
        let states = states(cluster)?;
        let finished = jobs
            .iter()
            .all(|job| states.get(job).is_some_and(|state| state == "finished"));
        Ok(finished.then_some(()))
    })
}
