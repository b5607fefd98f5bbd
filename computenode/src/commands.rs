//! The folder `bin` of a node: Muster's own commands under the names that tasks use, first in their `PATH`.
//!
//! Other programs are called `node` and `mpiexec` too, so the names exist only there. The programs are looked for
//! beside this one.

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use crate::directory::NodeDirectory;

/// Name in `bin`, program beside ours.
const COMMANDS: [(&str, &str); 9] = [
    ("muster", "muster"),
    ("job", "muster"),
    ("task", "muster"),
    ("node", "muster"),
    ("nodegroup", "muster"),
    ("pool", "muster"),
    ("muster-mpiexec", "muster-mpiexec"),
    ("mpiexec", "muster-mpiexec"),
    ("mpipingpong", "mpipingpong"),
];

/// Where this program lies; a file that was replaced by an upgrade is still told by its old name.
///
/// # Errors
/// When the system does not tell.
pub(crate) fn own_program() -> io::Result<PathBuf> {
    let path = std::env::current_exe()?;
    let replaced = path
        .to_str()
        .and_then(|text| text.strip_suffix(" (deleted)"))
        .map(PathBuf::from);
    Ok(replaced.unwrap_or(path))
}

/// The program that is started as the proxy of a launch.
///
/// # Errors
/// When this program's own place is not known.
pub(crate) fn proxy_program() -> io::Result<PathBuf> {
    Ok(own_program()?.with_file_name("muster-mpiexec"))
}

/// Makes the links. A program that is not installed gets none, and an older link to it goes.
///
/// # Errors
/// When the folder cannot be written.
pub(crate) fn link(directory: &NodeDirectory) -> io::Result<()> {
    link_from(
        own_program()?.parent().unwrap_or_else(|| Path::new("/")),
        &directory.bin(),
    )
}

fn link_from(programs: &Path, bin: &Path) -> io::Result<()> {
    for (name, program) in COMMANDS {
        let (target, path) = (programs.join(program), bin.join(name));
        if fs::read_link(&path).is_ok_and(|there| there == target) && target.exists() {
            continue;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if target.exists() {
            symlink(&target, &path)?;
        } else {
            tracing::debug!(name, target = %target.display(), "not installed");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_linked_to_the_programs_that_are_there() {
        let folder = tempfile::tempdir().expect("a folder");
        let (programs, bin) = (folder.path().join("programs"), folder.path().join("bin"));
        for path in [&programs, &bin] {
            fs::create_dir(path).expect("makes it");
        }
        fs::write(programs.join("muster"), "").expect("writes");
        symlink("/nowhere", bin.join("job")).expect("links");
        symlink("/nowhere", bin.join("mpiexec")).expect("links");
        for _ in 0..2 {
            link_from(&programs, &bin).expect("links");
            assert_eq!(fs::read_link(bin.join("job")).expect("a link"), programs.join("muster"));
            assert!(fs::symlink_metadata(bin.join("mpiexec")).is_err());
        }
    }
}
