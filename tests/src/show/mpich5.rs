//! `mpich5`: a program built with MPICH 5 (the wheel of the Python package index) on four hosts.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use super::{Skipped, say};
use crate::cluster::{Said, program};
use crate::hosts::{ALICE, SHARED};
use crate::site::Site;

pub(super) fn run() -> anyhow::Result<()> {
    let wheel = wheel()?;
    let mut site = Site::start()?;
    let shared = site.network().shared();
    build(&wheel, &shared)?;
    site.join(&["n1", "n2", "n3", "n4"])?;
    let job = site.submit(
        "head",
        ALICE,
        &format!("/numnodes:4 /env:LD_LIBRARY_PATH={SHARED}/lib:{SHARED}/lib/mpich mpiexec -c 2 {SHARED}/ring"),
    )?;
    let waited = site.head()?.run(ALICE, &["muster", "job", "wait", &job.to_string()])?;
    let view = site.head()?.types(ALICE, &format!("muster task view {job}.1"))?;
    ensure!(waited.code == 0, "job {job} failed: {waited:?}\n{view}");
    ensure!(
        view.contains("8 ranks, sum 36, MPICH Version:      5"),
        "not the answer of MPICH 5:\n{view}"
    );
    let hosts: BTreeSet<&str> = view
        .lines()
        .filter(|line| line.starts_with("rank "))
        .filter_map(|line| line.rsplit(' ').next())
        .collect();
    ensure!(
        hosts == BTreeSet::from(["n1", "n2", "n3", "n4"]),
        "two ranks on each of four hosts:\n{view}"
    );
    for line in view.lines().filter(|line| line.contains("rank")) {
        say(line.trim());
    }
    Ok(())
}

/// Where `./dev test` put the wheel: beside the folder of our programs.
fn wheel() -> anyhow::Result<PathBuf> {
    let programs = program("muster")?;
    let folder = programs
        .ancestors()
        .nth(2)
        .context("a target folder")?
        .join("peers/mpich5");
    if folder.join("bin/mpicc").exists() {
        return Ok(folder);
    }
    Err(Skipped("MPICH 5 is not there: ./dev setup installs it from the Python package index".to_owned()).into())
}

/// The program and its libraries, where all hosts see them.
fn build(wheel: &Path, shared: &Path) -> anyhow::Result<()> {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/ring.c");
    let mut compile = Command::new(wheel.join("bin/mpicc"));
    compile.arg("-o").arg(shared.join("ring")).arg(source);
    let mut copy = Command::new("cp");
    copy.arg("-r").arg(wheel.join("lib")).arg(shared.join("lib"));
    for mut command in [compile, copy] {
        let said = Said::of(&command.output()?);
        ensure!(said.code == 0, "{command:?}: {}", said.err);
    }
    Ok(())
}
