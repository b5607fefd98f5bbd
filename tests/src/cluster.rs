//! A cluster of real processes on this machine, started by `muster up` in a folder of its own.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::wait;

/// How long anything may take that is expected to take a moment.
pub const SOON: Duration = Duration::from_secs(60);

/// A running cluster; taken down, with all its processes and files, when it goes out of scope.
#[derive(Debug)]
pub struct Cluster {
    folder: tempfile::TempDir,
    nodes: u32,
    variables: Vec<(&'static str, String)>,
}

/// What a command said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Exit code, or 128 + signal.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

impl Said {
    /// Reads what a process left.
    #[must_use]
    pub fn of(output: &Output) -> Self {
        use std::os::unix::process::ExitStatusExt;
        let signal = || 128 + output.status.signal().unwrap_or(0);
        Self {
            code: output.status.code().unwrap_or_else(signal),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// One of our programs, built beside this one.
///
/// # Errors
/// When it was not built.
pub fn program(name: &str) -> anyhow::Result<PathBuf> {
    let here = std::env::current_exe()?;
    let beside = here.ancestors().skip(1).take(2).map(|folder| folder.join(name));
    beside
        .into_iter()
        .find(|path| path.is_file())
        .with_context(|| format!("{name} was not built: run ./dev build"))
}

impl Cluster {
    /// Starts a head node and so many compute nodes of two cores each.
    ///
    /// # Errors
    /// What `muster up` said.
    pub fn start(nodes: u32) -> anyhow::Result<Self> {
        Self::start_with(nodes, &[])
    }

    /// The same with variables for all its processes.
    ///
    /// # Errors
    /// What `muster up` said.
    pub fn start_with(nodes: u32, variables: &[(&'static str, &str)]) -> anyhow::Result<Self> {
        let folder = tempfile::Builder::new().prefix("muster-show.").tempdir()?;
        let variables = variables.iter().map(|(name, value)| (*name, (*value).to_owned()));
        let cluster = Self {
            folder,
            nodes,
            variables: variables.collect(),
        };
        cluster.up()?;
        Ok(cluster)
    }

    /// Starts what does not run.
    ///
    /// # Errors
    /// What `muster up` said.
    pub fn up(&self) -> anyhow::Result<()> {
        let said = self.run(
            "muster",
            &["up", "--nodes", &self.nodes.to_string(), "--cores-per-node", "2"],
        )?;
        if said.code == 0 {
            Ok(())
        } else {
            bail!("muster up failed: {}{}", said.out, said.err)
        }
    }

    /// Its folder.
    #[must_use]
    pub fn state(&self) -> &Path {
        self.folder.path()
    }

    /// Runs a command as a user of the cluster types it: the first word is a name in the folder of links.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn run(&self, name: &str, words: &[&str]) -> anyhow::Result<Said> {
        Ok(Said::of(&self.command(name)?.args(words).output()?))
    }

    /// A command for further settings.
    ///
    /// # Errors
    /// When the program is not there.
    pub fn command(&self, name: &str) -> anyhow::Result<Command> {
        let link = self.state().join("bin").join(name);
        let mut command = Command::new(if link.exists() { link } else { program(name)? });
        command.stdin(Stdio::null()).env("MUSTER_STATE", self.state());
        for leftover in ["CCP_SCHEDULER", "MUSTER_SOCKET"] {
            command.env_remove(leftover);
        }
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        Ok(command)
    }

    /// Runs a command line that must succeed.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub fn ok(&self, line: &str) -> anyhow::Result<String> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (name, rest) = words.split_first().context("an empty line")?;
        let said = self.run(name, rest)?;
        if said.code == 0 {
            Ok(said.out)
        } else {
            bail!("'{line}' ended with {}: {}{}", said.code, said.out, said.err)
        }
    }

    /// Submits and gives the job's number.
    ///
    /// # Errors
    /// When the submission is refused.
    pub fn submit(&self, words: &[&str]) -> anyhow::Result<u64> {
        let said = self.run("job", &[&["submit"], words].concat())?;
        let number = said
            .out
            .trim()
            .strip_prefix("Job has been submitted. ID: ")
            .and_then(|text| text.strip_suffix('.'));
        match number.map(str::parse) {
            Some(Ok(number)) if said.code == 0 => Ok(number),
            _ => bail!(
                "job submit {words:?} ended with {}: {}{}",
                said.code,
                said.out,
                said.err
            ),
        }
    }

    /// The fields of one row, from a command with `-o json`.
    ///
    /// # Errors
    /// When the command fails or prints no JSON.
    pub fn json(&self, line: &str) -> anyhow::Result<Value> {
        let out = self.ok(&format!("{line} -o json"))?;
        serde_json::from_str(&out).with_context(|| format!("'{line}' printed no JSON: {out}"))
    }

    /// The processes of one role, from the file that `muster up` keeps: `head`, `node1`, ...
    ///
    /// # Errors
    /// When the file does not name it.
    pub fn pid(&self, role: &str) -> anyhow::Result<Pid> {
        let text = std::fs::read_to_string(self.state().join("up.json"))?;
        let up: Value = serde_json::from_str(&text)?;
        let found = find_pid(&up, role).with_context(|| format!("up.json names no {role}: {text}"))?;
        Ok(Pid::from_raw(i32::try_from(found)?))
    }

    /// Kills a process as hard as one can, and sees it gone.
    ///
    /// # Errors
    /// When it is not there, or does not go.
    pub fn kill_9(&self, role: &str) -> anyhow::Result<()> {
        let pid = self.pid(role)?;
        kill(pid, Signal::SIGKILL)?;
        wait::until(&format!("{role} (process {pid}) to be gone"), SOON, || {
            Ok((!is_alive(pid)).then_some(()))
        })
    }
}

/// Whether a process runs; one that only waits to be reaped does not.
#[must_use]
pub fn is_alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with(['Z', 'X']))
}

fn find_pid(value: &Value, role: &str) -> Option<i64> {
    match value {
        Value::Object(fields) => {
            let named = fields
                .get("name")
                .or_else(|| fields.get("role"))
                .and_then(Value::as_str)
                == Some(role);
            match fields.get("pid").and_then(Value::as_i64) {
                Some(pid) if named => Some(pid),
                _ => fields.iter().find_map(|(key, inner)| {
                    if key == role {
                        inner.get("pid").and_then(Value::as_i64)
                    } else {
                        find_pid(inner, role)
                    }
                }),
            }
        }
        Value::Array(items) => items.iter().find_map(|item| find_pid(item, role)),
        _ => None,
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A failing demonstration still shows its own reason; what could not be stopped is said by `muster down`.
        if let Ok(said) = self.run("muster", &["down", "--purge"])
            && said.code != 0
        {
            eprintln!("muster down: {}{}", said.out, said.err);
        }
    }
}
