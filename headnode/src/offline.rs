//! `muster-headnode backup | restore | dump | check | compact`: what is done to the store of a head node's folder, without
//! the head node. `muster` calls them under the same names.
//!
//! It prints what was done on standard output; errors name the folder and the remedy and end with a code of their own.

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::Subcommand;
use proto::stored;
use scheduler::{Cluster, Settings};

use crate::clock::Clock;
use crate::store::{RowsAtRest, StoreError, offline};

/// What is to be done. The folder comes as a plain word: `--dir` is how a running head node is told from these.
#[derive(Debug, Clone, Subcommand)]
pub enum Verb {
    /// Write all that the head node knows into a file, whether it runs or not
    Backup {
        /// The file, which must not be there yet
        file: PathBuf,
        /// The head node's folder
        #[arg(default_value = "/var/lib/muster/head")]
        dir: PathBuf,
    },
    /// Make the store from a backup, and keep what was there before beside it
    Restore {
        /// What `backup` has written
        file: PathBuf,
        /// The head node's folder; no head node may run on it
        #[arg(default_value = "/var/lib/muster/head")]
        dir: PathBuf,
    },
    /// Print every row as a line of JSON, whether the head node runs or not
    Dump {
        /// The head node's folder, or a backup
        #[arg(default_value = "/var/lib/muster/head")]
        dir: PathBuf,
    },
    /// Read everything and say what is wrong
    Check {
        /// The head node's folder
        #[arg(default_value = "/var/lib/muster/head")]
        dir: PathBuf,
    },
    /// Make the database as small as it can be
    Compact {
        /// The head node's folder; no head node may run on it
        #[arg(default_value = "/var/lib/muster/head")]
        dir: PathBuf,
    },
}

/// Carries out one.
///
/// # Errors
/// What was not possible.
pub fn run(verb: Verb) -> anyhow::Result<()> {
    let mut out = BufWriter::new(io::stdout().lock());
    match verb {
        Verb::Backup { file, dir } => {
            if file.exists() {
                bail!("{} is there already; name a new file", file.display());
            }
            let rows = offline::backup(&store(&dir)?, &file)?;
            writeln!(out, "{rows} rows are in {}.", file.display())?;
        }
        Verb::Restore { file, dir } => {
            std::fs::create_dir_all(&dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
            let (rows, before) = offline::restore(&dir.join("store"), &file)?;
            writeln!(out, "{rows} rows are restored.")?;
            if let Some(before) = before {
                writeln!(out, "What was there before is in {}.", before.display())?;
            }
        }
        Verb::Dump { dir } => dump(&dir, &mut out)?,
        Verb::Check { dir } => check(&store(&dir)?, &mut out)?,
        Verb::Compact { dir } => {
            let (before, after) = offline::compact(&store(&dir)?)?;
            writeln!(out, "The database had {before} bytes and has {after}.")?;
        }
    }
    out.flush()?;
    Ok(())
}

fn store(dir: &Path) -> anyhow::Result<PathBuf> {
    let store = dir.join("store");
    if !store.is_dir() {
        bail!("{} is no head node's folder: there is no store in it", dir.display());
    }
    Ok(store)
}

fn dump(dir: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let rows = if dir.is_file() {
        RowsAtRest::of_backup(dir)?
    } else {
        RowsAtRest::of(&store(dir)?)?
    };
    for entry in rows {
        let (key, value) = entry?;
        let line = serde_json::json!({ "key": readable(&key), "value": fields(&value)? });
        if let Err(error) = writeln!(out, "{line}") {
            // A reader that has gone away has got what it wanted.
            return if error.kind() == io::ErrorKind::BrokenPipe {
                Ok(())
            } else {
                Err(error.into())
            };
        }
    }
    Ok(())
}

/// A value with all its fields, those that this build does not know too.
fn fields(value: &[u8]) -> anyhow::Result<serde_json::Value> {
    match rmp_serde::from_slice(value) {
        Ok(fields) => Ok(fields),
        // What JSON has no word for is said as this build reads it.
        Err(_) => Ok(serde_json::to_value(stored::decode(value).map_err(StoreError::from)?)?),
    }
}

/// A key as people read it: its kind and its name, or its numbers in hexadecimal.
fn readable(key: &[u8]) -> String {
    let (kind, name) = key.split_at(key.len().min(2));
    let kind = String::from_utf8_lossy(kind);
    match std::str::from_utf8(name) {
        Ok(name) if name.bytes().all(|byte| byte.is_ascii_graphic()) => format!("{kind}{name}"),
        _ => name
            .iter()
            .fold(kind.into_owned(), |text, byte| format!("{text}{byte:02x}")),
    }
}

fn check(store: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let mut found = offline::check(store)?;
    let rows = std::mem::take(&mut found.rows);
    if found.wrong.is_empty() {
        let now = Clock::start().now();
        match Cluster::restore(Settings::default(), rows, now) {
            Ok(cluster) => {
                let (jobs, nodes) = (cluster.jobs().count(), cluster.nodes().count());
                found.sound.push(format!(
                    "cluster: {jobs} jobs and {nodes} nodes, all references lead somewhere"
                ));
            }
            Err(error) => found.wrong.push(format!("the cluster contradicts itself: {error}")),
        }
    }
    for line in &found.sound {
        writeln!(out, "{line}")?;
    }
    for line in &found.wrong {
        writeln!(out, "WRONG: {line}")?;
    }
    out.flush()?;
    match found.wrong.len() {
        0 => Ok(()),
        1 => bail!("one thing is wrong"),
        count => bail!("{count} things are wrong"),
    }
}
