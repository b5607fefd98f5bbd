//! Files that hold keys and certificates: written whole or not at all, and keys readable by their owner only.

use std::ffi::OsString;
use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use super::IdentityError;

/// The most bytes read from a key or certificate file; ours have under 4 KiB.
const MAX_FILE_BYTES: u64 = 64 * 1024;

/// Who may read a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Its owner.
    Private,
    /// Everyone.
    Public,
}

impl Access {
    const fn mode(self) -> u32 {
        match self {
            Self::Private => 0o600,
            Self::Public => 0o644,
        }
    }
}

/// Replaces `path` by `bytes`, durably. At no instant is there a half-written file, or a key that others can read.
pub(super) fn write(path: &Path, bytes: &[u8], access: Access) -> Result<(), IdentityError> {
    replace(path, bytes, access).map_err(|source| IdentityError::Write {
        path: path.to_owned(),
        source,
    })
}

fn replace(path: &Path, bytes: &[u8], access: Access) -> io::Result<()> {
    let new = beside(path);
    // What a killed writer left; a name of ours, so nobody else's file.
    match std::fs::remove_file(&new) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(access.mode())
        .open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
    File::open(folder.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

fn beside(path: &Path) -> PathBuf {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".new");
    path.with_file_name(name)
}

/// The text of a file. A private one that others may read is refused.
pub(super) fn read(path: &Path, access: Access) -> Result<Vec<u8>, IdentityError> {
    let failed = |source| IdentityError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(failed)?;
    let mode = file.metadata().map_err(failed)?.mode() & 0o777;
    if access == Access::Private && mode & 0o077 != 0 {
        return Err(IdentityError::Exposed {
            path: path.to_owned(),
            mode,
        });
    }
    let mut bytes = Vec::new();
    file.take(MAX_FILE_BYTES).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// `der` in PEM form (RFC 7468).
pub(super) fn to_pem(label: &str, der: &[u8]) -> String {
    let mut text = format!("-----BEGIN {label}-----\n");
    // 48 bytes make a line of 64 characters.
    for line in der.chunks(48) {
        line.chunks(3).for_each(|group| push_base64(group, &mut text));
        text.push('\n');
    }
    text.push_str(&format!("-----END {label}-----\n"));
    text
}

fn push_base64(group: &[u8], text: &mut String) {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let byte = |at: usize| u32::from(group.get(at).copied().unwrap_or(0));
    let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
    for position in 0..4 {
        if position <= group.len() {
            let digit = (bits >> (18 - 6 * position)) & 63;
            text.push(char::from(DIGITS[digit as usize]));
        } else {
            text.push('=');
        }
    }
}

#[cfg(test)]
mod tests {
    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;

    use super::*;

    #[test]
    fn pem_reads_back_at_every_length() {
        for length in [1_usize, 2, 3, 47, 48, 49, 50, 200] {
            let der: Vec<u8> = (0..=255).cycle().take(length).collect();
            let text = to_pem("CERTIFICATE", &der);
            let back = CertificateDer::from_pem_slice(text.as_bytes()).expect("our own PEM");
            assert_eq!(back.as_ref(), der, "{length} bytes");
        }
    }

    #[test]
    fn a_file_is_replaced_whole_and_with_its_mode() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("some.key");
        write(&path, b"old", Access::Private).expect("writes");
        std::fs::write(beside(&path), "left by a killed writer").expect("writes");
        write(&path, b"new", Access::Private).expect("replaces");
        assert_eq!(read(&path, Access::Private).expect("reads"), b"new");
        assert_eq!(std::fs::metadata(&path).expect("is there").mode() & 0o777, 0o600);
        assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 1);
    }
}
