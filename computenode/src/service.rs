//! What starts a node's agent and spawner: systemd units where systemd minds this machine, else a process in the background.
//!
//! The units are the files of `configs/systemd`, with this program and folder filled in. There is one pair of them on a
//! machine; a second node on the same machine is started in the background.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail};
use nix::unistd::geteuid;

use crate::commands::own_program;
use crate::directory::NodeDirectory;

/// The units, spawner first.
const UNITS: [Unit; 2] = [
    Unit {
        name: "muster-spawner.service",
        text: include_str!("../../configs/systemd/muster-spawner.service"),
    },
    Unit {
        name: "muster-agent.service",
        text: include_str!("../../configs/systemd/muster-agent.service"),
    },
];

/// Where an administrator's units lie.
const UNIT_FOLDER: &str = "/etc/systemd/system";

/// What is written in the units of `configs/systemd`.
const SAMPLE_PROGRAM: &str = "/usr/local/bin/muster-computenode";
const SAMPLE_FOLDER: &str = "/var/lib/muster-node";

struct Unit {
    name: &'static str,
    text: &'static str,
}

/// What minds the node's processes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Minder {
    /// The units; the node comes back with the machine.
    Systemd,
    /// Nobody.
    Background {
        /// For the administrator.
        why: &'static str,
    },
}

impl Minder {
    /// The best one here.
    pub(crate) fn best(service_wanted: bool) -> Self {
        let why = if !service_wanted {
            "--no-service was given"
        } else if !is_systemd() {
            "systemd does not mind this machine"
        } else if !geteuid().is_root() {
            "only root can install services"
        } else {
            return Self::Systemd;
        };
        Self::Background { why }
    }
}

/// Whether the first process here is systemd.
pub(crate) fn is_systemd() -> bool {
    let first = fs::read_to_string("/proc/1/comm").unwrap_or_default();
    first.trim() == "systemd" && Path::new("/run/systemd/system").is_dir()
}

/// Writes and enables the units, and starts what of them does not run.
///
/// # Errors
/// When the units are those of another folder, or systemd refuses.
pub(crate) fn install(directory: &NodeDirectory) -> anyhow::Result<()> {
    let program = own_program()?;
    if is_of_other_folder(directory) {
        bail!(
            "another node of this machine has the units in {UNIT_FOLDER}; start this one in the background with --no-service"
        );
    }
    for unit in &UNITS {
        let path = Path::new(UNIT_FOLDER).join(unit.name);
        let text = filled_in(unit.text, &program, directory.path());
        fs::write(&path, text).with_context(|| format!("writing {}", path.display()))?;
        fs::set_permissions(&path, Permissions::from_mode(0o644))?;
    }
    let names = UNITS.map(|unit| unit.name);
    systemctl(&["daemon-reload"], &[])?;
    // An agent that ended for good, because the node was removed, counts as failed. It may not be.
    let _ = systemctl(&["reset-failed"], &names);
    systemctl(&["enable", "--now"], &names)
}

/// Stops the units of this folder and takes them away. Tells whether there were any.
///
/// # Errors
/// When systemd refuses.
pub(crate) fn uninstall(directory: &NodeDirectory) -> anyhow::Result<bool> {
    let there = UNITS.iter().any(|unit| Path::new(UNIT_FOLDER).join(unit.name).exists());
    if !there || is_of_other_folder(directory) || !is_systemd() {
        return Ok(false);
    }
    // The agent first: it would wait for the spawner.
    let [spawner, agent] = UNITS.map(|unit| unit.name);
    systemctl(&["disable", "--now"], &[agent])?;
    systemctl(&["disable", "--now"], &[spawner])?;
    for unit in &UNITS {
        let path = Path::new(UNIT_FOLDER).join(unit.name);
        fs::remove_file(&path).with_context(|| format!("removing {}", path.display()))?;
    }
    systemctl(&["daemon-reload"], &[])?;
    Ok(true)
}

/// Whether the units that are installed start a node in another folder.
fn is_of_other_folder(directory: &NodeDirectory) -> bool {
    let ours = format!("--dir {}", quoted(directory.path()));
    UNITS.iter().any(|unit| {
        let there = fs::read_to_string(Path::new(UNIT_FOLDER).join(unit.name)).unwrap_or_default();
        let mut starts = there.lines().filter(|line| line.starts_with("ExecStart="));
        starts.any(|line| !line.ends_with(&ours))
    })
}

fn systemctl(verb: &[&str], units: &[&str]) -> anyhow::Result<()> {
    let asked = Command::new("systemctl")
        .args(verb)
        .args(units)
        .stdin(Stdio::null())
        .output();
    let output = asked.context("systemctl cannot be started")?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!(
            "'systemctl {} {}' failed: {}",
            verb.join(" "),
            units.join(" "),
            said.trim()
        );
    }
    Ok(())
}

fn filled_in(text: &str, program: &Path, folder: &Path) -> String {
    // The folder is longer than any part of the program's sample, and neither contains the other.
    text.replace(SAMPLE_PROGRAM, &quoted(program))
        .replace(SAMPLE_FOLDER, &quoted(folder))
}

/// A path as systemd reads one in a command line.
fn quoted(path: &Path) -> String {
    let text = path.to_string_lossy();
    let plain = |letter: char| letter.is_ascii_alphanumeric() || "/._-+:@,=".contains(letter);
    if text.chars().all(plain) {
        return text.into_owned();
    }
    let escaped: String = text
        .chars()
        .map(|letter| match letter {
            '"' | '\\' => format!("\\{letter}"),
            '%' | '$' => format!("{letter}{letter}"),
            other => other.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

/// Starts the agent so that it outlives us and our terminal; its words go to the log in its folder. It starts its
/// spawner itself.
///
/// # Errors
/// When the log cannot be opened or the process not be started.
pub(crate) fn start_in_background(directory: &NodeDirectory) -> anyhow::Result<Child> {
    let path = directory.agent_log();
    let log = File::options().create(true).append(true).open(&path);
    let log = log.with_context(|| format!("opening {}", path.display()))?;
    let mut command = Command::new(own_program()?);
    command
        .args(["agent", "--background", "--dir"])
        .arg(directory.path())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log);
    command.spawn().context("starting the agent")
}

/// Keeps a log that others append to within its bound: what it holds goes to `LOG.1`, in place of what was there, and it
/// begins anew. Its writers keep it open, so it is copied and emptied; a line written between the two is lost.
///
/// # Errors
/// When the disk refuses; the log then grows on.
pub(crate) fn bound_log(path: &Path, most_bytes: u64) -> std::io::Result<()> {
    match fs::metadata(path) {
        Ok(found) if found.len() > most_bytes => {}
        Ok(_) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    }
    let mut before = path.as_os_str().to_owned();
    before.push(".1");
    fs::copy(path, &before)?;
    File::options().write(true).open(path)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn a_log_goes_on_where_it_is_and_the_old_one_is_kept_once() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let bound = || bound_log(&path, 10).expect("can be bound");
        bound();
        let mut log = File::options().create(true).append(true).open(&path).expect("opens");
        let read = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap_or_default();
        for (line, now, before) in [
            ("short\n", "short\n", ""),
            ("longer\n", "", "short\nlonger\n"),
            ("another one\n", "", "another one\n"),
        ] {
            log.write_all(line.as_bytes()).expect("writes");
            bound();
            assert_eq!((read("log"), read("log.1")), (now.to_owned(), before.to_owned()));
        }
    }

    const HEAD_UNIT: &str = include_str!("../../configs/systemd/muster-headnode.service");

    #[test]
    fn no_unit_kills_what_belongs_to_tasks() {
        for text in UNITS.map(|unit| unit.text).into_iter().chain([HEAD_UNIT]) {
            assert!(text.lines().any(|line| line == "KillMode=process"), "{text}");
        }
    }

    #[test]
    fn program_and_folder_are_filled_in() {
        for unit in &UNITS {
            let text = filled_in(
                unit.text,
                Path::new("/opt/m/muster-computenode"),
                Path::new("/data/a b%"),
            );
            let starts: Vec<&str> = text.lines().filter(|line| line.starts_with("ExecStart=")).collect();
            let [start] = starts[..] else { panic!("{text}") };
            assert!(start.starts_with("ExecStart=/opt/m/muster-computenode "), "{start}");
            assert!(start.ends_with("--dir \"/data/a b%%\""), "{start}");
            assert!(!text.contains(SAMPLE_FOLDER), "{text}");
        }
    }

    #[test]
    fn systemd_takes_the_units() {
        let Ok(asked) = Command::new("systemd-analyze").arg("--version").output() else {
            eprintln!("SKIPPED systemd_takes_the_units: there is no systemd-analyze here");
            return;
        };
        assert!(asked.status.success());
        let folder = tempfile::tempdir().expect("a folder");
        let names = UNITS
            .map(|unit| unit.name)
            .into_iter()
            .chain(["muster-headnode.service"]);
        let texts = UNITS.map(|unit| unit.text).into_iter().chain([HEAD_UNIT]);
        let mut paths = Vec::new();
        for (name, text) in names.zip(texts) {
            let path = folder.path().join(name);
            let text = filled_in(text, Path::new("/bin/true"), Path::new("/tmp"))
                .replace("/usr/local/bin/muster-headnode", "/bin/true");
            fs::write(&path, text).expect("writes");
            paths.push(path);
        }
        let verified = Command::new("systemd-analyze").arg("verify").args(&paths).output();
        let verified = verified.expect("starts");
        let said = String::from_utf8_lossy(&verified.stderr);
        // It also speaks of units of this machine.
        let ours: Vec<&str> = said.lines().filter(|line| line.contains("muster-")).collect();
        assert!(ours.is_empty(), "{ours:#?}");
    }
}
