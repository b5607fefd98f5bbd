//! The head node as a service of systemd: one unit, made from the one that is delivered, with this installation's paths.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{LocalError, start};
use crate::answer::Answer;

/// As it is delivered: for programs in /usr/local/bin and the usual folder.
const UNIT: &str = include_str!("../../../configs/systemd/muster-headnode.service");

const NAME: &str = "muster-headnode.service";

/// Where an administrator's units lie.
const FOLDER: &str = "/etc/systemd/system";

/// The line of the unit that is ours to fill in.
const COMMAND: &str = "ExecStart=";

/// Installs, enables and starts the service, or only prints the unit.
///
/// # Errors
/// [`LocalError`]; a unit that was written stays, and the next `install` replaces it.
pub(crate) fn install(state: &Path, listen: Option<SocketAddr>, print: bool) -> Result<Answer, LocalError> {
    let program = start::program("muster-headnode")?;
    let unit = unit(&program, state, listen);
    if print {
        return Ok(Answer::Script {
            lines: unit,
            notes: Vec::new(),
        });
    }
    check_systemd()?;
    let head = state.join("head");
    fs::create_dir_all(&head).map_err(LocalError::files("making the folder", &head))?;
    let path = Path::new(FOLDER).join(NAME);
    replace(&path, &unit).map_err(LocalError::files("writing", &path))?;
    for words in [&["daemon-reload"][..], &["enable", NAME], &["restart", NAME]] {
        systemctl(words)?;
    }
    Ok(Answer::Notes(vec![
        format!(
            "The head node is a service now: {}, with its state in {}.",
            path.display(),
            head.display()
        ),
        "'systemctl status muster-headnode' shows it, 'journalctl -u muster-headnode' its log.".to_owned(),
        "'muster node join-command' prints the line that brings hosts in.".to_owned(),
    ]))
}

/// Stops the service and takes its unit away. The state stays.
///
/// # Errors
/// When there is none, or systemd refuses.
pub(crate) fn uninstall() -> Result<Answer, LocalError> {
    check_systemd()?;
    let path = Path::new(FOLDER).join(NAME);
    if !path.exists() {
        return Err(LocalError::NoService { path });
    }
    systemctl(&["disable", "--now", NAME])?;
    fs::remove_file(&path).map_err(LocalError::files("removing", &path))?;
    systemctl(&["daemon-reload"])?;
    Ok(Answer::Notes(vec![
        "The head node is stopped and no service any more; its state stays. Tasks that run go on.".to_owned(),
    ]))
}

fn unit(program: &Path, state: &Path, listen: Option<SocketAddr>) -> String {
    let listen = listen.map(|address| format!(" --listen {address}")).unwrap_or_default();
    let command = format!(
        "{COMMAND}{} --dir {}{listen}",
        quoted(program),
        quoted(&state.join("head"))
    );
    let line = |line: &str| {
        if line.starts_with(COMMAND) {
            command.clone()
        } else {
            line.to_owned()
        }
    };
    UNIT.lines().map(|text| line(text) + "\n").collect()
}

/// As one word of a unit's command line: `%` and `$` mean something there.
fn quoted(path: &Path) -> String {
    let text = path.display().to_string().replace('%', "%%").replace('$', "$$");
    if text
        .bytes()
        .any(|b| b.is_ascii_whitespace() || matches!(b, b'"' | b'\'' | b'\\' | b';'))
    {
        format!("\"{}\"", text.replace('\\', r"\\").replace('"', "\\\""))
    } else {
        text
    }
}

fn check_systemd() -> Result<(), LocalError> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(LocalError::NoSystemd);
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(LocalError::NotRoot);
    }
    Ok(())
}

fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new: PathBuf = path.with_extension("service.new");
    fs::write(&new, text)?;
    fs::rename(&new, path)
}

fn systemctl(words: &[&str]) -> Result<(), LocalError> {
    let ran = Command::new("systemctl").args(words).output();
    let ran = ran.map_err(LocalError::files("running", Path::new("systemctl")))?;
    if ran.status.success() {
        return Ok(());
    }
    Err(LocalError::Systemctl {
        words: words.join(" "),
        said: String::from_utf8_lossy(&ran.stderr).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_unit_has_this_installations_paths_and_keeps_tasks_alive() {
        let text = unit(
            Path::new("/opt/m/muster-headnode"),
            Path::new("/srv/m"),
            "10.0.0.1:8745".parse().ok(),
        );
        assert!(
            text.contains("\nExecStart=/opt/m/muster-headnode --dir /srv/m/head --listen 10.0.0.1:8745\n"),
            "{text}"
        );
        assert!(text.contains("KillMode=process"), "{text}");
        assert_eq!(text.matches(COMMAND).count(), 1, "{text}");
        let odd = unit(Path::new("/o p/x"), Path::new("/s%"), None);
        assert!(odd.contains("ExecStart=\"/o p/x\" --dir /s%%/head\n"), "{odd}");
    }
}
