//! The folder of links, and the shell lines that put it into PATH.
//!
//! Other programs are called `node` and `mpiexec` too, so the links never lie in a folder that is in everyone's PATH.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::{LocalError, StateFolder, property, start};
use crate::args::table::{Noun, Verb};

/// Which shell reads the lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shell {
    /// sh, bash, zsh and their like.
    Posix,
    /// fish.
    Fish,
}

impl Shell {
    /// By the value of `SHELL`.
    pub(crate) fn of(shell: Option<&str>) -> Self {
        match shell.map(|shell| shell.rsplit('/').next().unwrap_or(shell)) {
            Some("fish") => Self::Fish,
            _ => Self::Posix,
        }
    }
}

/// Makes the links and gives the lines, and what is to be said about them.
///
/// The variables that are nearer than `MUSTER_STATE` go away: in one shell everything shall mean this cluster.
///
/// # Errors
/// When there is no cluster, or a link that is missing cannot be made.
pub(crate) fn script(state: &StateFolder, shell: Shell) -> Result<(String, Vec<String>), LocalError> {
    // A head node that runs as a service has no `muster up`.
    if !state.is_ours() && !state.socket().exists() {
        return Err(LocalError::NoCluster {
            state: state.path().to_owned(),
        });
    }
    let notes = make(state)?;
    let (bin, path) = (quoted(&state.bin(), shell), quoted(state.path(), shell));
    let lines = match shell {
        Shell::Posix => {
            format!("export PATH={bin}:\"$PATH\"; export MUSTER_STATE={path}; unset MUSTER_SOCKET CCP_SCHEDULER\n")
        }
        Shell::Fish => {
            format!(
                "set -gx PATH {bin} $PATH; set -gx MUSTER_STATE {path}; set -e MUSTER_SOCKET; set -e CCP_SCHEDULER\n"
            )
        }
    };
    Ok((lines, notes))
}

/// Makes all links anew where they point elsewhere; says which names are taken by something that is no link of ours.
pub(super) fn make(state: &StateFolder) -> Result<Vec<String>, LocalError> {
    let bin = state.bin();
    fs::create_dir_all(&bin).map_err(LocalError::files("making the folder", &bin))?;
    let own = std::env::current_exe().map_err(LocalError::files("finding", Path::new("/proc/self/exe")))?;
    let nouns = Noun::LINKED.iter().map(|noun| noun.as_str());
    let nouns = nouns.chain(Verb::LINKED.iter().map(|verb| verb.spec().name));
    let mut wanted: Vec<(&str, PathBuf)> = nouns.chain(["muster"]).map(|name| (name, own.clone())).collect();
    // Without the programs for MPI everything else works; their absence shows where they are used.
    for (name, target) in [("mpiexec", "muster-mpiexec"), ("mpipingpong", "mpipingpong")] {
        wanted.extend(start::program(target).ok().map(|target| (name, target)));
    }
    let mut notes = Vec::new();
    for (name, target) in wanted {
        let at = bin.join(name);
        if !link(&at, &target)? {
            notes.push(format!(
                "{} is no link of Muster's and stays; move it away for Muster's '{name}'.",
                at.display()
            ));
        }
    }
    Ok(notes)
}

/// Whether the link leads there now; what is no link of ours is left alone.
fn link(at: &Path, target: &Path) -> Result<bool, LocalError> {
    if at == target || fs::read_link(at).is_ok_and(|now| now == target) {
        return Ok(true);
    }
    let made = match at.symlink_metadata() {
        // Refused by the system when somebody else is quicker.
        Err(error) if error.kind() == io::ErrorKind::NotFound => symlink(target, at),
        Err(error) => Err(error),
        Ok(_) if !property::is_link_of_ours(at) => return Ok(false),
        Ok(_) => {
            // Replaced in one step: somebody may be starting the program.
            let new = at.with_extension(format!("new{}", std::process::id()));
            symlink(target, &new).and_then(|()| fs::rename(&new, at))
        }
    };
    match made {
        // The cluster belongs to another user, whose links are as good.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && at.exists() => Ok(true),
        other => other.map(|()| true).map_err(LocalError::files("making the link", at)),
    }
}

/// As one word of the shell.
fn quoted(path: &Path, shell: Shell) -> String {
    let text = path.to_string_lossy();
    let inner = match shell {
        Shell::Posix => text.replace('\'', r"'\''"),
        Shell::Fish => text.replace('\\', r"\\").replace('\'', r"\'"),
    };
    format!("'{inner}'")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_for_shells() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = folder.path().join("it's");
        let state = StateFolder::made(&place).expect("a folder");
        let (lines, notes) = script(&state, Shell::of(Some("/bin/bash"))).expect("lines");
        assert!(notes.is_empty(), "{notes:?}");
        let shown = state.path().display().to_string().replace('\'', r"'\''");
        assert_eq!(
            lines,
            format!(
                "export PATH='{shown}/bin':\"$PATH\"; export MUSTER_STATE='{shown}'; unset MUSTER_SOCKET CCP_SCHEDULER\n"
            )
        );
        let run = std::process::Command::new("sh")
            .arg("-c")
            .arg(format!("{lines} echo \"$MUSTER_STATE$MUSTER_SOCKET\""))
            .env("MUSTER_SOCKET", "/elsewhere")
            .output();
        assert_eq!(
            String::from_utf8_lossy(&run.expect("sh").stdout).trim(),
            state.path().to_string_lossy()
        );
        assert!(
            script(&state, Shell::of(Some("/usr/bin/fish")))
                .expect("lines")
                .0
                .starts_with("set -gx PATH '")
        );
        for name in [
            "job",
            "task",
            "node",
            "nodegroup",
            "pool",
            "clusrun",
            "cluscfg",
            "hpcfwutil",
            "muster",
        ] {
            let target = fs::read_link(state.path().join("bin").join(name)).expect(name);
            assert_eq!(target, std::env::current_exe().expect("this program"));
        }
    }

    #[test]
    fn what_is_no_link_of_ours_is_never_replaced() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::made(folder.path()).expect("a folder");
        fs::write(state.bin().join("node"), "mine").expect("writes");
        symlink("/usr/bin/true", state.bin().join("job")).expect("a link");
        symlink("/old/muster", state.bin().join("task")).expect("a link");
        let notes = make(&state).expect("links").join("\n");
        assert!(
            notes.contains("bin/node") && notes.contains("bin/job") && !notes.contains("bin/task"),
            "{notes}"
        );
        assert_eq!(fs::read(state.bin().join("node")).expect("reads"), b"mine");
        let target = |name| fs::read_link(state.bin().join(name)).expect(name);
        assert_eq!(target("job"), Path::new("/usr/bin/true"));
        assert_eq!(target("task"), std::env::current_exe().expect("this program"));
    }

    #[test]
    fn no_folder_is_no_cluster() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::at(&folder.path().join("none")).expect("a path");
        assert!(matches!(
            script(&state, Shell::Posix),
            Err(LocalError::NoCluster { .. })
        ));
        let other = StateFolder::at(folder.path()).expect("a path");
        assert!(matches!(
            script(&other, Shell::Posix),
            Err(LocalError::NoCluster { .. })
        ));
        assert!(!folder.path().join("bin").exists(), "a folder of somebody else");
    }
}
