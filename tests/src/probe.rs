//! What a process may do to things that are not its own: tried inside a task, said on standard output.
//!
//! Words come in pairs, what to try and on what. Each try changes nothing where it succeeds, so that the same words run
//! as the owner show that the try itself is sound.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::ExitCode;

use nix::sys::signal::kill;
use nix::unistd::Pid;

/// The word for it.
pub const PROBE: &str = "--probe";

/// Tries each pair and says `what target: yes`, or `no` and why.
#[must_use]
pub fn run(words: &[&str]) -> ExitCode {
    let mut out = io::stdout().lock();
    for pair in words.chunks(2) {
        let [what, target] = pair else {
            return ExitCode::from(2);
        };
        let said = match attempt(what, target) {
            Ok(()) => writeln!(out, "{what} {target}: yes"),
            Err(error) => writeln!(out, "{what} {target}: no ({error})"),
        };
        if said.is_err() {
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn attempt(what: &str, target: &str) -> io::Result<()> {
    let path = Path::new(target);
    match what {
        "read" => File::open(path)?.read(&mut [0]).map(drop),
        "write" => OpenOptions::new().append(true).open(path).map(drop),
        "list" => fs::read_dir(path).map(drop),
        // To the mode that it has: only an owner may.
        "change" => fs::set_permissions(path, fs::metadata(path)?.permissions()),
        "add" => {
            let new = path.join("added-by-a-probe");
            File::create_new(&new)?;
            fs::remove_file(new)
        }
        "connect" => UnixStream::connect(path).map(drop),
        "signal" => {
            let pid = target.parse().map_err(io::Error::other)?;
            Ok(kill(Pid::from_raw(pid), None)?)
        }
        // The kernel asks here what it asks of who wants to trace the process.
        "memory" => OpenOptions::new()
            .read(true)
            .write(true)
            .open(format!("/proc/{target}/mem"))
            .map(drop),
        "environ" => File::open(format!("/proc/{target}/environ"))?.read(&mut [0]).map(drop),
        "descriptors" => fs::read_dir(format!("/proc/{target}/fd")).map(drop),
        _ => Err(io::Error::other("no such try")),
    }
}
