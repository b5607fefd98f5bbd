//! The first process of a host made of namespaces: sets the host up from inside, then only reaps, until whoever made the
//! host is gone.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, chown};
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;
use nix::errno::Errno;
use nix::mount::{MsFlags, mount};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::{Pid, sethostname};

use crate::hosts::{BIN, SHARED};

/// Said on standard output when everything is there.
pub const READY: &str = "ready";

/// Word for a process that only holds its namespaces.
pub const HOLD: &str = "--hold";

/// Word for the first process of a host; its name, its folder and the folder of our programs follow.
pub const HOST: &str = "--host";

/// Holds namespaces until the end of input.
#[must_use]
pub fn hold() -> ExitCode {
    live(Ok(()))
}

/// Sets a host up, then holds it until the end of input.
#[must_use]
pub fn host(name: &str, folder: &str, programs: &str) -> ExitCode {
    live(set_up(name, Path::new(folder), Path::new(programs)))
}

fn set_up(name: &str, folder: &Path, programs: &Path) -> anyhow::Result<()> {
    sethostname(name)?;
    mount(
        None::<&str>,
        "/",
        None::<&str>,
        MsFlags::MS_REC | MsFlags::MS_PRIVATE,
        None::<&str>,
    )
    .context("mounts cannot be kept apart")?;
    mount(Some("proc"), "/proc", Some("proc"), MsFlags::empty(), None::<&str>)?;
    let homes = fs::read_to_string(folder.join("homes"))?;
    // The folders of this machine's programs and of the user database may lie under what is replaced below.
    own("/opt", "0755")?;
    fs::create_dir_all(BIN)?;
    bind(programs, Path::new(BIN))?;
    fs::create_dir(SHARED)?;
    bind(&folder.with_file_name("shared"), Path::new(SHARED))?;
    own_users(folder)?;
    for (place, mode) in [
        ("/dev/shm", "1777"),
        ("/run", "0755"),
        ("/home", "0755"),
        ("/root", "0700"),
        ("/var/lib", "0755"),
        ("/tmp", "1777"),
    ] {
        own(place, mode)?;
    }
    for line in homes.lines() {
        let (user, id) = line.split_once(' ').context("a home")?;
        let home = Path::new("/home").join(user);
        fs::create_dir(&home)?;
        fs::set_permissions(&home, fs::Permissions::from_mode(0o700))?;
        chown(&home, Some(id.parse()?), Some(id.parse()?))?;
    }
    Ok(())
}

/// Lays the host's user database over this machine's `/etc`. To mount the two files alone would not last: whoever adds a
/// user to this machine puts new files in their place, which takes the mounts away.
fn own_users(folder: &Path) -> anyhow::Result<()> {
    let (over, work) = (Path::new("/opt/etc"), Path::new("/opt/etc.work"));
    for folder in [over, work] {
        fs::create_dir(folder)?;
    }
    for file in ["passwd", "group"] {
        fs::copy(folder.join(file), over.join(file))?;
    }
    let options = format!("lowerdir=/etc,upperdir={},workdir={}", over.display(), work.display());
    mount(
        Some("overlay"),
        "/etc",
        Some("overlay"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .context("the host cannot have users of its own")
}

fn own(place: &str, mode: &str) -> anyhow::Result<()> {
    let options = format!("mode={mode}");
    mount(
        Some("tmpfs"),
        place,
        Some("tmpfs"),
        MsFlags::empty(),
        Some(options.as_str()),
    )
    .with_context(|| format!("{place} cannot be made the host's own"))
}

fn bind(from: &Path, to: &Path) -> anyhow::Result<()> {
    mount(Some(from), to, None::<&str>, MsFlags::MS_BIND, None::<&str>)
        .with_context(|| format!("{} cannot be shown as {}", from.display(), to.display()))
}

#[expect(clippy::print_stderr, reason = "whoever made the host reads it")]
fn live(set_up: anyhow::Result<()>) -> ExitCode {
    if let Err(error) = set_up {
        eprintln!("{error:#}");
        return ExitCode::FAILURE;
    }
    let mut children = SigSet::empty();
    children.add(Signal::SIGCHLD);
    let ready = children
        .thread_block()
        .map_err(std::io::Error::from)
        .and_then(|()| writeln!(std::io::stdout(), "{READY}"));
    if ready.is_err() {
        return ExitCode::FAILURE;
    }
    std::thread::spawn(|| {
        // Nothing is ever said; the end of input is the end of the host.
        let _ = std::io::stdin().read(&mut [0]);
        std::process::exit(0);
    });
    loop {
        match waitpid(Pid::from_raw(-1), Some(WaitPidFlag::WNOHANG)) {
            Ok(WaitStatus::StillAlive) | Err(Errno::ECHILD) => {
                // Blocked above, so none is missed.
                let _ = children.wait();
            }
            Ok(_) | Err(_) => {}
        }
    }
}
