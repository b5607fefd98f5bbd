//! `muster-computenode status` and `leave`: what runs in a node's folder, and the end of it.
//!
//! Leaving ends the tasks and removes the folder, and only a folder that joining made: its settings are the mark. The
//! head node is not asked; it keeps the node until somebody there removes it.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, bail};
use proto::units::Millis;

use crate::config::read_settings;
use crate::directory::{NodeDirectory, settings_in};
use crate::join::{DEFAULT_FOLDER, Membership, dir_flag};
use crate::link::Member;
use crate::running::{Running, agent, is_welcome, spawner, stop_agent, stop_spawner};
use crate::service;

/// The flags of `muster-computenode status` and `leave`.
#[derive(Debug, Clone, clap::Args)]
pub struct Flags {
    /// The node's folder.
    #[arg(long, default_value = DEFAULT_FOLDER)]
    pub dir: PathBuf,
}

/// Says what runs. Tells whether the node is connected to its head node.
///
/// # Errors
/// When the folder is no node's.
pub fn status(flags: &Flags, out: &mut dyn Write) -> anyhow::Result<bool> {
    let (directory, name, head) = node_in(&flags.dir)?;
    match Membership::read(&directory) {
        Some(joined) => writeln!(
            out,
            "node         {name}, number {}, of cluster '{}' (head node {head}); pool {}, groups {}",
            joined.node,
            joined.cluster,
            joined.pool,
            joined.groups.join(" ")
        )?,
        None => writeln!(out, "node         {name} (head node {head})")?,
    }
    let connected = is_welcome(&directory);
    let link = if connected { ", connected" } else { ", not connected" };
    let agent = agent(&directory);
    writeln!(out, "agent        {}{}", shown(agent), agent.map_or("", |_| link))?;
    writeln!(out, "spawner      {}", shown(spawner(&directory)))?;
    writeln!(out, "certificate  {}", certificate(&directory)?)?;
    if let Ok(reason) = std::fs::read_to_string(directory.removed()) {
        writeln!(
            out,
            "removed      the head node took it out of the cluster: {reason}; to join again, paste here what \
             'muster node join-command' prints there"
        )?;
    } else if agent.is_none() {
        let folder = dir_flag(directory.path());
        writeln!(out, "start it with 'muster-computenode join --head {head}{folder}'")?;
    }
    Ok(connected)
}

/// Ends the node's processes and tasks and removes its folder.
///
/// # Errors
/// When the folder is no node's, or something does not end.
pub fn leave(flags: &Flags, out: &mut dyn Write) -> anyhow::Result<()> {
    let (directory, name, _) = node_in(&flags.dir)?;
    if service::uninstall(&directory)? {
        writeln!(
            out,
            "service   muster-agent and muster-spawner are stopped and taken away"
        )?;
    }
    if stop_agent(&directory)? {
        writeln!(out, "agent     has ended")?;
    }
    if stop_spawner(&directory)? {
        writeln!(out, "spawner   has ended, and all tasks with it")?;
    }
    // What tasks made is in it, and what start tasks mounted: that is not emptied.
    let removed = crate::removal::remove_whole(directory.path());
    removed.with_context(|| format!("removing {}", directory.path().display()))?;
    writeln!(out, "folder    {} is removed", directory.path().display())?;
    writeln!(
        out,
        "\nThis host has left. On the head node: 'muster node remove {name}' makes it forget the node."
    )?;
    Ok(())
}

/// The folder, name and head node of a node that has joined.
fn node_in(dir: &Path) -> anyhow::Result<(NodeDirectory, String, String)> {
    let settings = settings_in(dir);
    if !settings.exists() {
        bail!(
            "{} is no folder of a node that has joined (it has no node.toml); say which with --dir",
            dir.display()
        );
    }
    let file = read_settings(&settings)?;
    let directory = NodeDirectory::open(dir)?;
    Ok((directory, file.name.unwrap_or_default(), file.head.unwrap_or_default()))
}

fn shown(running: Option<Running>) -> String {
    let Some(running) = running else {
        return "does not run".to_owned();
    };
    let since = running.since.and_then(|since| since.elapsed().ok());
    let since = since.map(|span| format!(" for {}", millis(span))).unwrap_or_default();
    format!("runs (process {}){since}", running.pid)
}

fn certificate(directory: &NodeDirectory) -> anyhow::Result<String> {
    let Some((member, _)) = Member::known(directory.path())? else {
        return Ok("none: the join did not come to its end, repeat it".to_owned());
    };
    let now = SystemTime::now();
    let (Some(life), renewal) = (member.credential.life(), member.credential.renew_at()) else {
        return Ok("unreadable".to_owned());
    };
    Ok(match (life.ends.duration_since(now), renewal.duration_since(now)) {
        (Err(_), _) => "has expired; it is renewed as soon as the head node is reached".to_owned(),
        (Ok(left), Ok(wait)) => format!("ends in {}, is renewed in {}", millis(left), millis(wait)),
        (Ok(left), Err(_)) => format!("ends in {}, is being renewed", millis(left)),
    })
}

fn millis(span: std::time::Duration) -> Millis {
    Millis(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_others_is_neither_shown_nor_removed() {
        let folder = tempfile::tempdir().expect("a folder");
        let thesis = folder.path().join("thesis.tex");
        std::fs::write(&thesis, "").expect("writes");
        let flags = Flags {
            dir: folder.path().to_owned(),
        };
        let mut out = Vec::new();
        let error = leave(&flags, &mut out).expect_err("is somebody's").to_string();
        assert!(error.contains("no node.toml") && thesis.exists(), "{error}");
        assert!(status(&flags, &mut out).is_err() && out.is_empty());
    }
}
