//! Removal of folders that users filled, as root, without a way for them to lead it elsewhere or to end it.
//!
//! What a user makes has no bounds: folders 15,000 deep overflow the stack of a removal that recurses, and their paths
//! are too long for any call. So nothing recurses here, and every call names one entry of an open folder:
//!
//! ```text
//!   top/            each folder is opened, made ours, and emptied:
//!     wd/             what can be unlinked is,
//!       a/  --+       what is a folder with something in it moves up into `top` under a counted name,
//!   +---------+       and the folder itself is removed.
//!   +-> top/1     Then the ones that moved up, one after the other, the last first.
//! ```
//!
//! At most six descriptors are open, whatever the depth. No link is followed. What is mounted stays: `rmdir` says so of
//! a mount point before it says that it is not empty, which catches bind mounts of the same device; and whatever is
//! opened has to be on the device of the folder above `top`. std's `remove_dir_all` does neither.
//!
//! A folder is closed to its user when it is opened, so that nobody fills it meanwhile. When the work stops half way
//! (the budget is spent, the agent is killed), the next call goes on with what it finds.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, fchown};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// How many names are tried for a folder that moves up. They hold the time, so that one is free at once, unless the
/// user guessed it.
const NAMES_TRIED: usize = 8;

/// What a removal came to.
#[derive(Debug)]
pub(crate) enum Removed {
    /// Nothing is left.
    Whole,
    /// The budget was spent; the next call goes on.
    Partly,
    /// Something cannot be removed, all else is.
    Left(LeftBehind),
}

/// What stays, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeftBehind {
    #[error("{} lies on another file system, and is left as it is; unmount it", path.display())]
    Elsewhere { path: PathBuf },
    #[error("{} is in use: something is mounted there; unmount it", path.display())]
    InUse { path: PathBuf },
    #[error("{}: {source}", path.display())]
    Refused { path: PathBuf, source: io::Error },
}

impl LeftBehind {
    fn new(path: PathBuf, source: io::Error) -> Self {
        match source.kind() {
            io::ErrorKind::CrossesDevices => Self::Elsewhere { path },
            io::ErrorKind::ResourceBusy => Self::InUse { path },
            _ => Self::Refused { path, source },
        }
    }
}

/// Opens the folder that holds what is to be removed.
///
/// # Errors
/// When it is not there, is a link, or cannot be opened.
pub(crate) fn open_above(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// Removes the entry `name` of the open folder `above`, which lies at `path`, with all that is in it. Takes one from
/// the budget for each entry that it meets.
pub(crate) fn remove(above: &File, path: &Path, name: &OsStr, budget: &mut usize) -> Removed {
    let path = path.join(name);
    match discard(above, name) {
        Ok(Found::Gone) => return Removed::Whole,
        Ok(Found::Full) => {}
        Err(error) => return Removed::Left(LeftBehind::new(path, error)),
    }
    let opened = above.metadata().and_then(|found| {
        let device = found.dev();
        Ok((device, take(above, name, device)?))
    });
    let (device, top) = match opened {
        Ok(opened) => opened,
        Err(error) => return Removed::Left(LeftBehind::new(path, error)),
    };
    let began = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    let mut removal = Removal {
        top,
        path,
        device,
        budget,
        stamp: began.unwrap_or_default().as_nanos(),
        moved: 0,
        done: 0,
        left: None,
    };
    removal.run(above, name)
}

/// Removes a folder whole, however long that takes.
///
/// # Errors
/// What is left of it, and why.
pub(crate) fn remove_whole(path: &Path) -> io::Result<()> {
    let (Some(above), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::ErrorKind::InvalidInput.into());
    };
    let opened = open_above(above)?;
    loop {
        let mut budget = usize::MAX;
        match remove(&opened, above, name, &mut budget) {
            Removed::Whole => return Ok(()),
            Removed::Partly => {}
            Removed::Left(left) => return Err(io::Error::other(left)),
        }
    }
}

/// What became of an entry.
#[derive(Debug, PartialEq, Eq)]
enum Found {
    Gone,
    /// A folder with something in it, and no mount point.
    Full,
}

/// What the loop over one folder came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Emptied {
    Yes,
    No,
    /// The budget is spent.
    Stopped,
}

#[derive(Debug)]
struct Removal<'a> {
    top: File,
    path: PathBuf,
    device: u64,
    budget: &'a mut usize,
    stamp: u128,
    moved: u64,
    /// Entries that were removed or moved up.
    done: u64,
    left: Option<LeftBehind>,
}

impl Removal<'_> {
    fn run(&mut self, above: &File, name: &OsStr) -> Removed {
        loop {
            let before = self.done;
            let emptied = self.empty_top();
            match discard(above, name) {
                Ok(Found::Gone) => return Removed::Whole,
                Ok(Found::Full) if emptied == Emptied::Stopped && (self.done > before || self.left.is_none()) => {
                    return Removed::Partly;
                }
                Ok(Found::Full) if self.done > before => self.left = None,
                Ok(Found::Full) => {
                    let left = self.left.take();
                    let full = || LeftBehind::new(self.path.clone(), io::ErrorKind::DirectoryNotEmpty.into());
                    return Removed::Left(left.unwrap_or_else(full));
                }
                Err(error) => return Removed::Left(LeftBehind::new(self.path.clone(), error)),
            }
        }
    }

    fn empty_top(&mut self) -> Emptied {
        let entries = match entries(&self.top) {
            Ok(entries) => entries,
            Err(error) => return self.stays(Path::new(""), error),
        };
        for entry in entries {
            let name = match entry {
                Ok(entry) => entry.file_name(),
                Err(error) => return self.stays(Path::new(""), error),
            };
            if !self.spend() {
                return Emptied::Stopped;
            }
            match discard(&self.top, &name) {
                Ok(Found::Gone) => self.done += 1,
                Ok(Found::Full) => {
                    if self.empty_below(name) == Emptied::Stopped {
                        return Emptied::Stopped;
                    }
                }
                Err(error) => {
                    self.stays(Path::new(&name), error);
                }
            }
        }
        Emptied::Yes
    }

    /// Removes a folder of `top`, and those that move up out of it.
    fn empty_below(&mut self, name: OsString) -> Emptied {
        let mut waiting = vec![name];
        while let Some(name) = waiting.pop() {
            let folder = match take(&self.top, &name, self.device) {
                Ok(folder) => folder,
                Err(error) => {
                    self.stays(Path::new(&name), error);
                    continue;
                }
            };
            loop {
                let before = self.done;
                let emptied = self.empty(&folder, &name, &mut waiting);
                match discard(&self.top, &name) {
                    Ok(Found::Gone) => {
                        self.done += 1;
                        break;
                    }
                    _ if emptied == Emptied::Stopped => return Emptied::Stopped,
                    // File systems may leave entries out of a list that changes while it is read.
                    Ok(Found::Full) if emptied == Emptied::Yes && self.done > before => {}
                    // What stays in it was noted.
                    Ok(Found::Full) => break,
                    Err(error) => {
                        self.stays(Path::new(&name), error);
                        break;
                    }
                }
            }
        }
        Emptied::Yes
    }

    /// Once through one folder.
    fn empty(&mut self, folder: &File, at: &OsStr, waiting: &mut Vec<OsString>) -> Emptied {
        let entries = match entries(folder) {
            Ok(entries) => entries,
            Err(error) => return self.stays(Path::new(at), error),
        };
        let mut emptied = Emptied::Yes;
        for entry in entries {
            let name = match entry {
                Ok(entry) => entry.file_name(),
                Err(error) => return self.stays(Path::new(at), error),
            };
            if !self.spend() {
                return Emptied::Stopped;
            }
            let gone = match discard(folder, &name) {
                Ok(Found::Gone) => Ok(()),
                Ok(Found::Full) => self.move_up(folder, &name).map(|name| waiting.push(name)),
                Err(error) => Err(error),
            };
            match gone {
                Ok(()) => self.done += 1,
                Err(error) => emptied = self.stays(&Path::new(at).join(name), error),
            }
        }
        emptied
    }

    /// Moves a folder into `top`, and says under which name.
    fn move_up(&mut self, folder: &File, name: &OsStr) -> io::Result<OsString> {
        let mut tries = NAMES_TRIED;
        let mut closed = true;
        loop {
            self.moved += 1;
            let to = OsString::from(format!("{:x}-{}", self.stamp, self.moved));
            match renameat(folder, name, &self.top, to.as_os_str()) {
                Ok(()) => return Ok(to),
                Err(Errno::EEXIST | Errno::ENOTEMPTY | Errno::ENOTDIR) if tries > 1 => tries -= 1,
                // Its own mode may keep its own user from moving it: `..` in it changes.
                Err(Errno::EACCES) if closed => {
                    take(folder, name, self.device)?;
                    closed = false;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn spend(&mut self) -> bool {
        let some = *self.budget > 0;
        *self.budget = self.budget.saturating_sub(1);
        some
    }

    /// The first is told; the others are found when it is mended.
    fn stays(&mut self, below: &Path, error: io::Error) -> Emptied {
        if self.left.is_none() {
            self.left = Some(LeftBehind::new(self.path.join(below), error));
        }
        Emptied::No
    }
}

/// Removes an entry that is no folder, or an empty one. Nothing is looked at before, so nothing changes in between, and
/// a file system that does not answer is not asked.
fn discard(folder: &File, name: &OsStr) -> io::Result<Found> {
    let refused = match unlinkat(folder, name, UnlinkatFlags::NoRemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => return Ok(Found::Gone),
        // POSIX says EPERM of a folder, Linux EISDIR.
        Err(error @ (Errno::EISDIR | Errno::EPERM)) => error,
        Err(error) => return Err(error.into()),
    };
    match unlinkat(folder, name, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(Found::Gone),
        Err(Errno::ENOTEMPTY | Errno::EEXIST) => Ok(Found::Full),
        Err(Errno::ENOTDIR) => Err(refused.into()),
        Err(error) => Err(error.into()),
    }
}

/// Opens a folder, when it is on that device, and closes it to everybody else.
fn take(above: &File, name: &OsStr, device: u64) -> io::Result<File> {
    let folder = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let found = File::from(openat(above, name, folder | OFlag::O_PATH, Mode::empty())?);
    if found.metadata()?.dev() != device {
        return Err(io::ErrorKind::CrossesDevices.into());
    }
    let root = nix::unistd::geteuid().is_root();
    if !root {
        // It may be closed to its own user: then it cannot be opened before.
        fs::set_permissions(near(&found), Permissions::from_mode(0o700))?;
    }
    let opened = File::from(openat(&found, ".", folder, Mode::empty())?);
    if root {
        // Where root may not (a share that maps it to nobody), what follows fails and says why.
        let _ = fchown(&opened, Some(0), Some(0));
        let _ = opened.set_permissions(Permissions::from_mode(0o700));
    }
    Ok(opened)
}

fn entries(folder: &File) -> io::Result<fs::ReadDir> {
    fs::read_dir(near(folder))
}

/// A path to an open file.
fn near(file: &File) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_raw_fd().to_string())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use nix::sys::stat::mkdirat;

    use super::*;

    fn remove_in(above: &Path, name: &str, budget: usize) -> Removed {
        let opened = open_above(above).expect("opens");
        let mut budget = budget;
        remove(&opened, above, OsStr::new(name), &mut budget)
    }

    fn whole(above: &Path) {
        let removed = remove_in(above, "x", usize::MAX);
        assert!(matches!(removed, Removed::Whole), "{removed:?}");
        assert!(fs::symlink_metadata(above.join("x")).is_err());
    }

    fn nest(top: &Path, levels: usize) {
        let mut folder = open_above(top).expect("opens");
        for _ in 0..levels {
            mkdirat(&folder, "d", Mode::S_IRWXU).expect("makes it");
            let flags = OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            folder = openat(&folder, "d", flags, Mode::empty()).expect("opens").into();
        }
    }

    #[test]
    fn a_folder_twenty_thousand_levels_deep_goes_with_little_stack_and_in_parts() {
        // In memory where that can be: a journal makes it slow, and is not what is tested.
        let memory = Path::new("/dev/shm");
        let above = if memory.is_dir() {
            tempfile::tempdir_in(memory).expect("a folder")
        } else {
            tempfile::tempdir().expect("a folder")
        };
        fs::create_dir(above.path().join("x")).expect("makes it");
        nest(&above.path().join("x"), 20_000);
        let path = above.path().to_owned();
        let thread = std::thread::Builder::new().stack_size(64 * 1024).spawn(move || {
            let part = remove_in(&path, "x", 5_000);
            assert!(matches!(part, Removed::Partly), "{part:?}");
            whole(&path);
        });
        thread.expect("starts").join().expect("no panic");
    }

    #[test]
    fn what_a_link_leads_to_stays() {
        let above = tempfile::tempdir().expect("a folder");
        let outside = above.path().join("outside");
        let inner = above.path().join("x/wd/inner");
        fs::create_dir_all(&inner).expect("makes it");
        fs::create_dir(&outside).expect("makes it");
        fs::write(outside.join("file"), "x").expect("writes");
        for link in [above.path().join("x/link"), inner.join("link")] {
            symlink(&outside, link).expect("links");
        }
        symlink("/nowhere", inner.join("dangling")).expect("links");
        whole(above.path());
        assert!(outside.join("file").exists());
        symlink(&outside, above.path().join("x")).expect("links");
        whole(above.path());
        assert!(outside.join("file").exists());
    }

    #[test]
    fn folders_of_any_mode_and_many_beside_each_other_go() {
        let above = tempfile::tempdir().expect("a folder");
        for mode in [0o000, 0o500, 0o300, 0o1777] {
            for number in 0..50 {
                let folder = above.path().join(format!("x/{mode}/{number}"));
                fs::create_dir_all(folder.join("deep/deeper")).expect("makes it");
                fs::write(folder.join("deep/file"), "x").expect("writes");
                fs::set_permissions(folder.join("deep"), Permissions::from_mode(mode)).expect("sets it");
                fs::set_permissions(folder, Permissions::from_mode(mode)).expect("sets it");
            }
        }
        whole(above.path());
        assert_eq!(fs::read_dir(above.path()).expect("lists").count(), 0);
    }

    #[test]
    fn what_is_mounted_stays_and_is_named() {
        if !nix::unistd::geteuid().is_root() {
            eprintln!("skipped: only root mounts");
            return;
        }
        let above = tempfile::tempdir().expect("a folder");
        let path = above.path().to_owned();
        // In mounts of its own, which end with it.
        let thread = std::thread::spawn(move || stays_mounted(&path));
        thread.join().expect("no panic");
    }

    fn stays_mounted(above: &Path) {
        let mount = |words: &[&str]| {
            Command::new("mount")
                .args(words)
                .status()
                .is_ok_and(|status| status.success())
        };
        let own = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS);
        if own.is_err() || !mount(&["--make-rprivate", "/"]) {
            eprintln!("skipped: nothing can be mounted here");
            return;
        }
        let outside = above.join("outside");
        fs::create_dir(&outside).expect("makes it");
        fs::write(outside.join("file"), "x").expect("writes");
        let (bound, other) = (above.join("x/wd/bound"), above.join("x/wd/a/b"));
        let text = |path: &Path| path.to_str().expect("text").to_owned();
        for place in [&bound, &other] {
            fs::create_dir_all(place).expect("makes it");
        }
        // A bind mount is on the same device.
        assert!(mount(&["--bind", &text(&outside), &text(&bound)]));
        assert!(mount(&["-t", "tmpfs", "none", &text(&other)]));
        fs::write(other.join("file"), "x").expect("writes");
        fs::write(above.join("x/wd/a/gone"), "x").expect("writes");
        let Removed::Left(left) = remove_in(above, "x", usize::MAX) else {
            panic!("all of it went");
        };
        let LeftBehind::InUse { path } = left else {
            panic!("{left}");
        };
        assert!(path.exists() && path.starts_with(above.join("x")), "{path:?}");
        assert!(outside.join("file").exists() && bound.join("file").exists());
        assert!(!above.join("x/wd/a").exists(), "it moved up, with its mount");
        // Where a mount is the whole folder, its device tells.
        fs::create_dir(above.join("y")).expect("makes it");
        assert!(mount(&["-t", "tmpfs", "none", &text(&above.join("y"))]));
        fs::write(above.join("y/file"), "x").expect("writes");
        let opened = open_above(above).expect("opens");
        let device = opened.metadata().expect("is open").dev();
        let error = take(&opened, OsStr::new("y"), device).expect_err("another device");
        assert_eq!(error.kind(), io::ErrorKind::CrossesDevices);
        assert!(above.join("y/file").exists());
    }
}
