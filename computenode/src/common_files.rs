//! Files that every node of a task gets, written into its folder before anything of it runs.
//!
//! They are written with the daemon's rights, and only while the folder is still the daemon's own: nobody else can have
//! put a link there. Each is whole or not there, because the agent may be killed at any moment; what is there stays.

use std::fs::{self, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, lchown};
use std::path::{Component, Path, PathBuf};

use proto::model::task::CommonFile;

use crate::spawner::message::Credentials;
use crate::workdir::make_0700;

/// What the node itself puts into a task's folder.
const OWN_NAMES: [&str; 6] = [
    "script",
    "script.part",
    "input",
    "common.part",
    "stdout.txt",
    "stderr.txt",
];

/// The folder where commands start; files may lie in it.
const OWN_FOLDER: &str = "wd";

/// Puts one file into the folder, as the user's; folders on its way are made.
///
/// # Errors
/// When its path leads elsewhere or to what is the node's own, or the disk refuses.
pub(crate) fn write(folder: &Path, file: &CommonFile, user: Option<&Credentials>) -> io::Result<()> {
    let path = checked(&file.path)?;
    let mut above = folder.to_owned();
    for part in path.parent().into_iter().flat_map(Path::components) {
        above.push(part);
        make_0700(&above)?;
        give(&above, user)?;
    }
    let target = folder.join(&path);
    match fs::symlink_metadata(&target) {
        Ok(found) if found.is_dir() => return wrong("a folder of that name is there for another of the files"),
        Ok(_) => return Ok(()),
        Err(_) => {}
    }
    let part = folder.join("common.part");
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut made = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    made.write_all(file.text.as_bytes())?;
    // Before the owner changes: afterwards a mode would be set on what is the user's.
    made.set_permissions(Permissions::from_mode(file.mode & 0o777))?;
    give(&part, user)?;
    fs::rename(part, target)
}

/// The path, when it stays in the folder. The head node has checked it; a bug there must not write elsewhere.
fn checked(text: &str) -> io::Result<PathBuf> {
    let path = PathBuf::from(text);
    let stays = path.components().all(|part| matches!(part, Component::Normal(_)));
    if !stays || text.is_empty() || text.ends_with('/') {
        return wrong("give a path in the task's folder, without '..' and not from '/'");
    }
    if path == Path::new(OWN_FOLDER) {
        return wrong("the node makes the task's working folder under that name; give another, or 'wd/NAME'");
    }
    if OWN_NAMES.iter().any(|own| path.starts_with(own)) {
        return wrong("the node keeps something of its own under that name; give another, or 'wd/NAME'");
    }
    Ok(path)
}

fn wrong<T>(why: &str) -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::InvalidInput, why.to_owned()))
}

fn give(path: &Path, user: Option<&Credentials>) -> io::Result<()> {
    user.map_or(Ok(()), |user| lchown(path, Some(user.uid), Some(user.gid)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str, mode: u32) -> CommonFile {
        CommonFile {
            path: path.to_owned(),
            text: text.to_owned(),
            mode,
        }
    }

    #[test]
    fn files_get_their_folders_and_modes_and_stay_as_they_are() {
        let folder = tempfile::tempdir().expect("a folder");
        let write = |file: &CommonFile| write(folder.path(), file, None);
        write(&file("a/b/hosts", "n1\n", 0o640)).expect("writes");
        write(&file("run.sh", "#!/bin/sh\n", 0o4755)).expect("writes");
        write(&file("run.sh", "another", 0o600)).expect("it is there");
        let found = |name: &str| {
            let path = folder.path().join(name);
            let mode = fs::metadata(&path).expect("it is there").permissions().mode() & 0o7777;
            (fs::read_to_string(&path).expect("reads"), mode)
        };
        assert_eq!(found("a/b/hosts"), ("n1\n".to_owned(), 0o640));
        assert_eq!(found("run.sh"), ("#!/bin/sh\n".to_owned(), 0o755), "no set-user-id bit");
        assert!(!folder.path().join("common.part").exists());
    }

    #[test]
    fn names_of_the_node_are_refused_and_their_like_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        make_0700(&folder.path().join("wd")).expect("makes it");
        let write = |path: &str| write(folder.path(), &file(path, "x", 0o600), None);
        for own in OWN_NAMES.into_iter().chain([OWN_FOLDER]) {
            let error = write(own).expect_err(own).to_string();
            assert!(error.contains("give another, or 'wd/NAME'"), "{own}: {error}");
        }
        for other in [
            "wd/script",
            "wd/stdout.txt",
            "scripts",
            "stdout.txt.old",
            "a/input",
            "a/wd",
        ] {
            write(other).expect(other);
            assert!(folder.path().join(other).is_file(), "{other}");
        }
        let error = write("a").expect_err("is a folder").to_string();
        assert!(error.contains("a folder of that name"), "{error}");
    }

    #[test]
    fn no_file_leads_elsewhere_or_takes_a_name_of_the_node() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("task");
        fs::create_dir(&inner).expect("makes it");
        for path in ["../x", "/tmp/x", "a/../../x", "", "./x", "a/", "script", "input/x"] {
            let error = write(&inner, &file(path, "x", 0o600), None).expect_err(path);
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}: {error}");
        }
        assert_eq!(fs::read_dir(&inner).expect("lists").count(), 0);
        assert_eq!(fs::read_dir(folder.path()).expect("lists").count(), 1);
    }
}
