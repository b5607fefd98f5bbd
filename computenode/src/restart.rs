//! Starting the node anew, or from its image: a command of its administrator, run once.
//!
//! The order is repeated until this node says hello in another life of its spawner. So the life in which the command was
//! run is noted in `restarting`, and what is repeated in the same life is left alone, also after the agent alone came
//! back. A command that fails takes the note away. What it says goes to `restart.log`.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, SystemTime};

use nix::unistd::geteuid;
use proto::ids::{BootId, NodeName};

use crate::config::{RestartRules, Start};
use crate::directory::NodeDirectory;

/// A machine that has not gone down after so long does not go down any more: the next order is carried out.
const LONGEST: Duration = Duration::from_secs(900);

/// Carries out what the head node wants.
#[derive(Debug)]
pub(crate) struct Restarts {
    directory: NodeDirectory,
    rules: RestartRules,
    name: NodeName,
    /// Where the rules stand, for messages.
    settings: String,
    start: Start,
}

impl Restarts {
    pub(crate) fn new(
        directory: NodeDirectory,
        rules: RestartRules,
        name: NodeName,
        settings: &Path,
        start: Start,
    ) -> Self {
        Self {
            directory,
            rules,
            name,
            settings: settings.display().to_string(),
            start,
        }
    }

    /// Begins, unless it is under way. What comes of the command goes to `failed` when it fails, from another thread.
    ///
    /// # Errors
    /// Why it cannot, for people.
    pub(crate) fn begin(
        &self,
        reimage: bool,
        life: BootId,
        failed: impl FnOnce(String) + Send + 'static,
    ) -> Result<(), String> {
        if self.is_under_way(life) {
            return Ok(());
        }
        let line = self.line(reimage)?;
        let refused = |error: std::io::Error| {
            format!(
                "node {}: '{line}' ([restart] in {}) cannot be run: {error}",
                self.name, self.settings
            )
        };
        let path = self.directory.restart_log();
        let log = File::options().create(true).append(true).open(path).map_err(refused)?;
        fs::write(self.directory.restarting(), life.to_string()).map_err(refused)?;
        let mut child = Command::new("/bin/sh")
            .args(["-c", &line])
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(refused)?)
            .stderr(log)
            // It goes on when the agent ends first.
            .process_group(0)
            .spawn()
            .map_err(refused)?;
        tracing::warn!(line, "this node starts anew");
        let (note, name, log) = (
            self.directory.restarting(),
            self.name.clone(),
            self.directory.restart_log(),
        );
        std::thread::spawn(move || {
            let reason = match child.wait() {
                Ok(status) if status.success() => return,
                Ok(status) => ended_badly(&name, &line, status, &log),
                Err(error) => format!("node {name}: what became of '{line}' is not known: {error}"),
            };
            // It may have been taken away by hand.
            let _ = fs::remove_file(note);
            failed(reason);
        });
        Ok(())
    }

    /// Whether the command was run in this life already, and not too long ago.
    fn is_under_way(&self, life: BootId) -> bool {
        let note = self.directory.restarting();
        let age = fs::metadata(&note)
            .and_then(|found| found.modified())
            .ok()
            .and_then(|noted| SystemTime::now().duration_since(noted).ok());
        fs::read_to_string(&note).is_ok_and(|text| text.trim() == life.to_string())
            && age.is_some_and(|age| age < LONGEST)
    }

    /// The command line.
    fn line(&self, reimage: bool) -> Result<String, String> {
        let (what, key, given) = if reimage {
            ("set up from its image", "reimage", &self.rules.reimage)
        } else {
            ("rebooted", "reboot", &self.rules.reboot)
        };
        if let Some(line) = given {
            return Ok(line.clone());
        }
        // Where a service is the node, the machine is nobody else's: not so several nodes that share one.
        if !reimage && self.start == Start::Service && geteuid().is_root() && crate::service::is_systemd() {
            return Ok("systemctl reboot".to_owned());
        }
        Err(format!(
            "node {} does not know how it is {what}: set {key} = \"COMMAND LINE\" under [restart] in {} on it and restart \
             its agent",
            self.name, self.settings
        ))
    }
}

fn ended_badly(name: &NodeName, line: &str, status: ExitStatus, log: &Path) -> String {
    format!("node {name}: '{line}' failed ({status}); see {} on it", log.display())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const LIFE: BootId = BootId(1);

    fn restarts(reboot: Option<&str>) -> (tempfile::TempDir, Restarts) {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = NodeDirectory::open(folder.path()).expect("opens");
        let rules = RestartRules {
            reboot: reboot.map(str::to_owned),
            reimage: None,
        };
        let name = NodeName::new("n1").expect("a name");
        let restarts = Restarts::new(directory, rules, name, Path::new("/n/node.toml"), Start::ByHand);
        (folder, restarts)
    }

    #[test]
    fn what_is_not_set_is_refused_with_what_to_set() {
        let (_folder, restarts) = restarts(None);
        let refused = |reimage| restarts.begin(reimage, LIFE, |_| ()).expect_err("nothing is set");
        assert_eq!(
            refused(false),
            "node n1 does not know how it is rebooted: set reboot = \"COMMAND LINE\" under [restart] in /n/node.toml on it \
             and restart its agent"
        );
        assert!(refused(true).contains("set reimage ="), "{}", refused(true));
    }

    #[test]
    fn a_command_that_fails_is_told_and_may_be_tried_again() {
        let (folder, restarts) = restarts(Some("echo no; exit 3"));
        for _ in 0..2 {
            let (told, heard) = mpsc::channel();
            let failed = move |reason| told.send(reason).expect("the test listens");
            restarts.begin(false, LIFE, failed).expect("begins");
            let reason = heard.recv_timeout(Duration::from_secs(30)).expect("it fails");
            assert!(
                reason.starts_with("node n1: 'echo no; exit 3' failed (exit status: 3); see "),
                "{reason}"
            );
        }
        let log = fs::read_to_string(folder.path().join("restart.log")).expect("a log");
        assert_eq!(log, "no\nno\n");
    }

    #[test]
    fn a_command_is_run_once_in_a_life() {
        let (folder, restarts) = restarts(Some("echo ran"));
        fs::write(folder.path().join("restarting"), LIFE.to_string()).expect("writes");
        restarts.begin(false, LIFE, |_| ()).expect("is under way");
        assert!(!folder.path().join("restart.log").exists());
        restarts.begin(false, BootId(2), |_| ()).expect("begins");
        assert!(folder.path().join("restart.log").exists());
        let noted = fs::read_to_string(folder.path().join("restarting")).expect("a note");
        assert_eq!(noted, BootId(2).to_string());
    }
}
