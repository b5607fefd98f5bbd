//! The socket of a session: one guest at a time, the newest.
//!
//! It lies in the task's own folder, which nobody but its user and root can enter, and the kernel is asked who comes.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;

use nix::sys::socket::{getsockopt, sockopt::PeerCredentials};
use nix::unistd::geteuid;
use proto::control::Input;

use super::sink::Given;
use super::wire::{self, HEADER_BYTES, MAX_INPUT_BYTES};

/// Where guests come in.
#[derive(Debug)]
pub(super) struct Door {
    listener: UnixListener,
    guest: Option<Guest>,
}

#[derive(Debug)]
struct Guest {
    stream: UnixStream,
    /// What was read and not taken.
    buffer: Vec<u8>,
    /// Has an answer to come; one that came after the input that is being written has not.
    waits: bool,
}

impl Door {
    /// Makes the socket. It gets its name when it can be connected to, so whoever waits for the name need not try.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else {
            return Err(io::ErrorKind::InvalidInput.into());
        };
        // The path of a socket has room for 107 bytes only; this way the folder's own path does not count.
        let folder = File::open(folder)?;
        let near = Path::new("/proc/self/fd").join(folder.as_raw_fd().to_string());
        let new = near.join("input.new");
        match fs::remove_file(&new) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(&new)?;
        fs::set_permissions(&new, fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        fs::rename(&new, near.join(name))?;
        Ok(Self { listener, guest: None })
    }

    pub(super) fn listener(&self) -> BorrowedFd<'_> {
        self.listener.as_fd()
    }

    /// The guest, while there is room for what it says.
    pub(super) fn guest(&self) -> Option<BorrowedFd<'_>> {
        let guest = self.guest.as_ref()?;
        (guest.buffer.len() < HEADER_BYTES + MAX_INPUT_BYTES).then(|| guest.stream.as_fd())
    }

    /// Lets whoever knocks in; who was there before has to go.
    pub(super) fn let_in(&mut self) {
        // Who knocked may have gone again.
        while let Ok((stream, _)) = self.listener.accept() {
            let welcome = getsockopt(&stream, PeerCredentials)
                .is_ok_and(|peer| peer.uid() == 0 || peer.uid() == geteuid().as_raw());
            if welcome && stream.set_nonblocking(true).is_ok() {
                self.guest = Some(Guest {
                    stream,
                    buffer: Vec::new(),
                    waits: false,
                });
            }
        }
    }

    /// Reads what the guest says; one that left or says nonsense is forgotten.
    pub(super) fn read(&mut self) {
        let Some(guest) = &mut self.guest else { return };
        let mut bytes = [0; 16 * 1024];
        match guest.stream.read(&mut bytes) {
            Ok(count) if count > 0 => guest.buffer.extend(bytes.get(..count).unwrap_or_default()),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
            Ok(_) | Err(_) => self.guest = None,
        }
    }

    /// The next whole input.
    pub(super) fn next_input(&mut self) -> Option<Input> {
        let guest = self.guest.as_mut()?;
        match wire::take(&mut guest.buffer) {
            Ok(input) => {
                guest.waits |= input.is_some();
                input
            }
            Err(_) => {
                self.guest = None;
                None
            }
        }
    }

    /// Tells the guest what became of its input.
    pub(super) fn answer(&mut self, given: Given) {
        if let Some(guest) = &mut self.guest
            && std::mem::take(&mut guest.waits)
            && guest.stream.write_all(&[given.byte()]).is_err()
        {
            self.guest = None;
        }
    }
}
