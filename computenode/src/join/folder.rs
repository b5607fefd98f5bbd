//! The folder of a node that joins: whose it is before, and what of it is taken back when the join fails.

use std::path::Path;

use anyhow::{Context, bail};
use transport::identity::Fingerprint;

use crate::config::File;
use crate::directory::{NodeDirectory, settings_in};
use crate::link::Member;

/// What a folder is before joining.
pub(super) enum Before {
    /// Not there, empty, or left by a join that did not come to its end.
    Free,
    /// A node of a cluster with this authority.
    Joined { authority: Fingerprint },
    /// A node that its head node took out of the cluster.
    Removed { reason: String },
}

/// What is in the folder.
pub(super) fn look(dir: &Path) -> anyhow::Result<Before> {
    let shown = dir.display();
    let settings = settings_in(dir).exists();
    if let Some((_, identity)) = Member::known(dir)? {
        if !settings {
            bail!(
                "{shown} is the folder of a node that was started by hand or by 'muster up'; give another --dir for this one"
            );
        }
        if let Ok(reason) = std::fs::read_to_string(dir.join("removed")) {
            return Ok(Before::Removed { reason });
        }
        let authority = Fingerprint::of(identity.authority());
        return Ok(Before::Joined { authority });
    }
    let empty = match std::fs::read_dir(dir) {
        Ok(mut entries) => entries.next().is_none(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => true,
        Err(error) => return Err(error).with_context(|| format!("looking into {shown}; are you root?")),
    };
    if !empty && !settings {
        bail!("{shown} is not empty and no node's folder: give another --dir");
    }
    Ok(Before::Free)
}

pub(super) fn open(dir: &Path) -> anyhow::Result<NodeDirectory> {
    NodeDirectory::open(dir).with_context(|| {
        format!(
            "the folder {} cannot be used; be root, or give --dir a folder of your own",
            dir.display()
        )
    })
}

pub(super) fn write_settings(path: &Path, file: &File) -> anyhow::Result<()> {
    let text = format!(
        "# A Muster compute node, written by 'muster-computenode join'. See configs/computenode.toml for what can be said here.\n{}",
        toml::to_string(file)?
    );
    std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
}

/// Takes back what a join made that did not succeed.
pub(super) fn clean_up(folder: &Path, settings: &Path, new: bool) {
    let gone = if new {
        std::fs::remove_dir_all(folder)
    } else {
        std::fs::remove_file(settings)
    };
    if let Err(error) = gone {
        tracing::warn!("what the join began is left in {}: {error}", folder.display());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_of_others_is_refused_and_an_unfinished_one_is_free() {
        let folder = tempfile::tempdir().expect("a folder");
        assert!(matches!(look(folder.path()), Ok(Before::Free)));
        assert!(matches!(look(&folder.path().join("none")), Ok(Before::Free)));
        std::fs::write(folder.path().join("thesis.tex"), "").expect("writes");
        let error = look(folder.path()).err().expect("is somebody's").to_string();
        assert!(error.contains("give another --dir"), "{error}");
        write_settings(&settings_in(folder.path()), &File::default()).expect("writes");
        assert!(matches!(look(folder.path()), Ok(Before::Free)));
    }
}
