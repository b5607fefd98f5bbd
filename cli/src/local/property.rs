//! Whose folder it is, and what in it is ours: the one place that throws files away.
//!
//! A state folder may be any folder that somebody names, also one where they keep other things. So `muster up` writes a
//! marker before it makes anything, refuses a folder where names that it needs are taken, and only what stands below is
//! ever removed: names that Muster makes, in a folder that has the marker. A folder of ours goes only when it is empty.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User};

use super::record::Record;
use super::{LocalError, MOST_NODES, StateFolder, node_name};

/// Says that the folder is ours.
const MARKER: &str = "muster-cluster";

const MARKER_TEXT: &str = "A cluster of Muster, made by 'muster up'. Because of this file 'muster down --purge' may throw \
                           away bin, head, log, nodes, up.json and join.token beside it.\n";

/// The names that `muster up` needs.
const NAMES: [&str; 6] = ["bin", "head", "log", "nodes", "up.json", "join.token"];

/// The programs that links of ours lead to.
const PROGRAMS: [&str; 3] = ["muster", "muster-mpiexec", "mpipingpong"];

impl StateFolder {
    fn marker(&self) -> PathBuf {
        self.path().join(MARKER)
    }

    /// Whether `muster up` made this cluster: by the marker, or by the record of a release that wrote no marker.
    pub(super) fn is_ours(&self) -> bool {
        let recorded = || matches!(Record::read(self), Ok(Some(record)) if !record.head.address.is_empty());
        self.marker().is_file() || recorded()
    }

    /// Refuses a folder where somebody else has what `muster up` would make.
    pub(super) fn check_free(&self) -> Result<(), LocalError> {
        // The names first: another `up` writes its marker before them.
        let taken = NAMES
            .iter()
            .find(|name| self.path().join(name).symlink_metadata().is_ok());
        match taken {
            Some(name) if !self.is_ours() => Err(LocalError::Taken {
                state: self.path().to_owned(),
                name,
            }),
            _ => Ok(()),
        }
    }

    /// Refuses a cluster of another user. Root may stop one, but not start it: its files would be root's from then on.
    pub(super) fn check_owner(&self, root_may: bool) -> Result<(), LocalError> {
        let (me, owner) = (Uid::effective(), self.owner());
        match owner {
            Some(owner) if owner != me && !(root_may && me.is_root()) => Err(LocalError::AnotherUser {
                state: self.path().to_owned(),
                // A user without a name is told by number.
                user: User::from_uid(owner)
                    .ok()
                    .flatten()
                    .map_or_else(|| owner.to_string(), |user| user.name),
            }),
            _ => Ok(()),
        }
    }

    fn owner(&self) -> Option<Uid> {
        let owner = |path: &Path| path.symlink_metadata().map(|meta| Uid::from_raw(meta.uid()));
        match owner(&self.marker()) {
            Ok(owner) => Some(owner),
            // Behind a closed door nothing can be seen but whose door it is.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => owner(self.path()).ok(),
            Err(_) => owner(&self.record()).ok(),
        }
    }

    /// Marks the folder as ours.
    pub(super) fn mark(&self) -> Result<(), LocalError> {
        let path = self.marker();
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let written = match made {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            Err(error) => Err(error),
            Ok(mut file) => file.write_all(MARKER_TEXT.as_bytes()),
        };
        written.map_err(LocalError::files("writing", &path))
    }

    /// Throws away all that is ours, and gives the names of what is not and stays.
    ///
    /// # Errors
    /// [`LocalError::Taken`] when the folder is not ours; nothing was removed then.
    pub(super) fn purge(&self) -> Result<Vec<String>, LocalError> {
        self.purge_content()?;
        let lock = self.path().join("up.lock");
        remove(&lock, |path| fs::remove_file(path))?;
        let left = self.left_over();
        // While something of somebody lies in a folder of ours, the next `up` must know it again.
        let is_inside = |name: &String| NAMES.iter().any(|own| name.split('/').next() == Some(own));
        if !left.iter().any(is_inside) {
            remove(&self.marker(), |path| fs::remove_file(path))?;
            // Not empty when somebody keeps other things there.
            let _ = fs::remove_dir(self.path());
        }
        Ok(left)
    }

    /// What is there and not ours, after all that is ours has gone.
    fn left_over(&self) -> Vec<String> {
        let mut left = Vec::new();
        for name in names_in(self.path()).into_iter().filter(|name| name != MARKER) {
            let inner = NAMES
                .contains(&name.as_str())
                .then(|| names_in(&self.path().join(&name)));
            match inner {
                Some(inner) if !inner.is_empty() => left.extend(inner.iter().map(|inner| format!("{name}/{inner}"))),
                // Also a link to a folder elsewhere, which is not ours to unmake.
                Some(_) | None => left.push(name),
            }
        }
        left.sort();
        left
    }

    /// Throws away what `muster up` and its processes made, but not the marker and the lock, which the caller holds.
    pub(super) fn purge_content(&self) -> Result<(), LocalError> {
        self.check_free()?;
        if !self.is_ours() {
            return Ok(());
        }
        // Kept until the end: with it a purge that failed half-way can be asked for again.
        self.mark()?;
        let nodes = self.node_names();
        remove(&self.head(), |path| fs::remove_dir_all(path))?;
        for name in &nodes {
            remove(&self.node(name), |path| fs::remove_dir_all(path))?;
        }
        for what in nodes.iter().map(String::as_str).chain(["head"]) {
            remove(&self.log(what), |path| fs::remove_file(path))?;
        }
        let links = fs::read_dir(self.bin()).into_iter().flatten().flatten();
        for link in links.map(|entry| entry.path()).filter(|path| is_link_of_ours(path)) {
            remove(&link, |path| fs::remove_file(path))?;
        }
        for folder in [self.path().join("nodes"), self.log_folder(), self.bin()] {
            // With something in it that is not ours it stays.
            let _ = fs::remove_dir(folder);
        }
        for name in ["up.json", "up.json.new", "join.token"] {
            remove(&self.path().join(name), |path| fs::remove_file(path))?;
        }
        Ok(())
    }

    /// All names that a node of this cluster can have had.
    fn node_names(&self) -> BTreeSet<String> {
        (1..=MOST_NODES).map(node_name).collect()
    }
}

fn names_in(folder: &Path) -> Vec<String> {
    // A folder that cannot be read has nothing that could be told.
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

/// Whether a path is a link to a program of ours, there still or not.
pub(super) fn is_link_of_ours(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|target| {
        target
            .file_name()
            .is_some_and(|name| PROGRAMS.iter().any(|program| name == *program))
    })
}

fn remove(path: &Path, how: impl FnOnce(&Path) -> io::Result<()>) -> Result<(), LocalError> {
    match how(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(LocalError::Files {
            doing: "throwing away",
            path: path.to_owned(),
            source: error,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    fn write(path: &Path) {
        fs::create_dir_all(path.parent().expect("a parent")).expect("folders");
        fs::write(path, "mine").expect("writes");
    }

    #[test]
    fn only_what_is_ours_is_thrown_away() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("cluster");
        let state = StateFolder::made(&at).expect("a folder");
        for ours in [
            "head/store/db",
            "nodes/node1/tasks/1/out",
            "log/head.log",
            "log/node12.log",
            "up.json",
        ] {
            write(&at.join(ours));
        }
        symlink("/gone/muster", at.join("bin/job")).expect("a link");
        let foreign = [
            "mine",
            "bin/tool",
            "log/notes.txt",
            "log/nodes.log",
            "nodes/old/data",
            "src/main.rs",
        ];
        for path in foreign {
            write(&at.join(path));
        }
        symlink("/bin/true", at.join("bin/other")).expect("a link");
        let left = [
            "bin/other",
            "bin/tool",
            "log/nodes.log",
            "log/notes.txt",
            "mine",
            "nodes/old",
            "src",
        ];
        assert_eq!(state.purge().expect("purges"), left);
        assert_eq!(state.purge().expect("can be repeated"), left);
        for path in foreign {
            assert_eq!(fs::read(at.join(path)).expect(path), b"mine");
        }
        assert!(at.join("bin/other").is_symlink() && !at.join("bin/job").is_symlink());
        for ours in [
            "head",
            "nodes/node1",
            "log/head.log",
            "log/node12.log",
            "up.json",
            "up.lock",
        ] {
            assert!(!at.join(ours).exists(), "{ours}");
        }
        assert!(StateFolder::made(&at).is_ok(), "the next cluster finds its place");
    }

    #[test]
    fn what_is_all_ours_goes_with_its_folder() {
        let folder = tempfile::tempdir().expect("a folder");
        let at = folder.path().join("cluster");
        let state = StateFolder::made(&at).expect("a folder");
        assert!(state.purge().expect("purges").is_empty() && !at.exists());

        let state = StateFolder::made(&at).expect("a folder");
        let disk = folder.path().join("disk");
        write(&disk.join("node1/tasks/1/out"));
        write(&disk.join("data"));
        fs::remove_dir(at.join("nodes")).expect("is empty");
        symlink(&disk, at.join("nodes")).expect("a link");
        assert_eq!(state.purge().expect("purges"), ["nodes/data"]);
        assert!(!disk.join("node1").exists() && at.join("nodes").is_symlink());
        fs::remove_file(disk.join("data")).expect("is there");
        assert_eq!(state.purge().expect("purges"), ["nodes"]);
        assert!(StateFolder::made(&at).is_ok());
    }

    #[test]
    fn a_folder_of_somebody_else_is_refused_and_left_alone() {
        for taken in ["bin/tool", "head/notes", "nodes/a", "log/x", "up.json", "join.token"] {
            let folder = tempfile::tempdir().expect("a folder");
            write(&folder.path().join(taken));
            let state = StateFolder::at(folder.path()).expect("a folder");
            for error in [
                StateFolder::made(folder.path()).expect_err(taken),
                state.purge().expect_err(taken),
            ] {
                assert!(matches!(error, LocalError::Taken { .. }), "{error}");
                assert_eq!(error.exit().code(), 2);
            }
            assert_eq!(fs::read(folder.path().join(taken)).expect(taken), b"mine");
            assert_eq!(
                fs::read_dir(folder.path()).expect("a folder").count(),
                1,
                "{taken}: nothing was added"
            );
        }
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("mine"));
        assert!(
            StateFolder::made(folder.path()).is_ok(),
            "other names are in nobody's way"
        );
    }

    #[test]
    fn a_record_of_an_earlier_release_is_as_good_as_the_marker() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&folder.path().join("head/db"));
        let record = r#"{"head":{"pid":1,"address":"127.0.0.1:9"},"nodes":[]}"#;
        fs::write(folder.path().join("up.json"), record).expect("writes");
        let state = StateFolder::made(folder.path()).expect("is ours");
        assert!(state.purge().is_ok() && !folder.path().exists());
    }

    #[test]
    fn a_cluster_of_another_user_is_theirs() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::made(folder.path()).expect("a folder");
        assert!(state.check_owner(false).is_ok());
        if !Uid::effective().is_root() {
            return assert!(state.owner().is_some_and(|owner| owner == Uid::effective()));
        }
        std::os::unix::fs::chown(state.marker(), Some(65_534), None).expect("root may");
        assert!(state.check_owner(true).is_ok());
        let error = StateFolder::made(folder.path()).expect_err("is theirs");
        assert_eq!(error.exit().code(), 4);
        assert!(error.to_string().contains("belongs to"), "{error}");
    }
}
