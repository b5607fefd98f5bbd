//! The folder of links, and the shell lines that put it into PATH.
//!
//! Other programs are called `node` and `mpiexec` too, so the links never lie in a folder that is in everyone's PATH.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use super::{LocalError, StateFolder, start};
use crate::args::table::Noun;

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

/// Makes the links and gives the lines.
///
/// # Errors
/// When there is no cluster, or a link that is missing cannot be made.
pub(crate) fn script(state: &StateFolder, shell: Shell) -> Result<String, LocalError> {
    if !state.path().is_dir() {
        return Err(LocalError::NoCluster {
            state: state.path().to_owned(),
        });
    }
    make(state)?;
    let (bin, path) = (quoted(&state.bin(), shell), quoted(state.path(), shell));
    Ok(match shell {
        Shell::Posix => format!("export PATH={bin}:\"$PATH\"; export MUSTER_STATE={path}\n"),
        Shell::Fish => format!("set -gx PATH {bin} $PATH; set -gx MUSTER_STATE {path}\n"),
    })
}

/// Makes all links anew where they point elsewhere.
pub(super) fn make(state: &StateFolder) -> Result<(), LocalError> {
    let bin = state.bin();
    fs::create_dir_all(&bin).map_err(LocalError::files("making the folder", &bin))?;
    let own = std::env::current_exe().map_err(LocalError::files("finding", Path::new("/proc/self/exe")))?;
    let nouns = Noun::LINKED.iter().map(|noun| noun.as_str());
    for name in nouns.chain(["muster"]) {
        link(&bin.join(name), &own)?;
    }
    // Without the programs for MPI everything else works; their absence shows where they are used.
    for (name, target) in [("mpiexec", "muster-mpiexec"), ("mpipingpong", "mpipingpong")] {
        if let Ok(target) = start::program(target) {
            link(&bin.join(name), &target)?;
        }
    }
    Ok(())
}

fn link(at: &Path, target: &Path) -> Result<(), LocalError> {
    if at == target || fs::read_link(at).is_ok_and(|now| now == target) {
        return Ok(());
    }
    // Replaced in one step: somebody may be starting the program.
    let new = at.with_extension(format!("new{}", std::process::id()));
    let made = symlink(target, &new).and_then(|()| fs::rename(&new, at));
    match made {
        // The cluster belongs to another user, whose links are as good.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied && at.exists() => Ok(()),
        other => other.map_err(LocalError::files("making the link", at)),
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
        fs::create_dir(&place).expect("a folder");
        let state = StateFolder::at(&place).expect("a folder");
        let lines = script(&state, Shell::of(Some("/bin/bash"))).expect("lines");
        let shown = state.path().display().to_string().replace('\'', r"'\''");
        assert_eq!(
            lines,
            format!("export PATH='{shown}/bin':\"$PATH\"; export MUSTER_STATE='{shown}'\n")
        );
        let run = std::process::Command::new("sh")
            .arg("-c")
            .arg(format!("{lines} echo \"$MUSTER_STATE\""))
            .output();
        assert_eq!(
            String::from_utf8_lossy(&run.expect("sh").stdout).trim(),
            state.path().to_string_lossy()
        );
        assert!(
            script(&state, Shell::of(Some("/usr/bin/fish")))
                .expect("lines")
                .starts_with("set -gx PATH '")
        );
        for name in ["job", "task", "node", "nodegroup", "pool", "muster"] {
            let target = fs::read_link(state.path().join("bin").join(name)).expect(name);
            assert_eq!(target, std::env::current_exe().expect("this program"));
        }
    }

    #[test]
    fn no_folder_is_no_cluster() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::at(&folder.path().join("none")).expect("a path");
        assert!(matches!(
            script(&state, Shell::Posix),
            Err(LocalError::NoCluster { .. })
        ));
    }
}
