//! Texts of this machine that are sent along: common files, job files.

use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// A text as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileText {
    /// All of it.
    pub text: String,
    /// Permission bits, for example 0o644.
    pub mode: u32,
}

/// Reads a file of at most so many bytes.
///
/// # Errors
/// What is wrong with it, in words that follow its name: it is not there, no file, too long, no text.
pub fn read(path: &str, most: usize) -> Result<FileText, String> {
    let system = |error: std::io::Error| format!("it cannot be read: {error}");
    let metadata = Path::new(path).metadata().map_err(system)?;
    // A pipe or device would never end.
    if !metadata.is_file() {
        return Err("it is no file".to_owned());
    }
    let bound = u64::try_from(most).unwrap_or(u64::MAX);
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(system)?;
    file.take(bound.saturating_add(1))
        .read_to_end(&mut bytes)
        .map_err(system)?;
    if bytes.len() > most {
        return Err(format!("it is longer than {most} bytes"));
    }
    let text = String::from_utf8(bytes).map_err(|_| "it is no UTF-8 text".to_owned())?;
    Ok(FileText {
        text,
        mode: metadata.permissions().mode() & 0o777,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_read_up_to_a_bound() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("t");
        std::fs::write(&path, "four").expect("written");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("set");
        let path = path.to_str().expect("text");
        assert_eq!(
            read(path, 4),
            Ok(FileText {
                text: "four".to_owned(),
                mode: 0o640
            })
        );
        assert_eq!(read(path, 3), Err("it is longer than 3 bytes".to_owned()));
        assert_eq!(read("/dev/null", 9), Err("it is no file".to_owned()));
        assert!(read("/no/such", 9).is_err_and(|wrong| wrong.starts_with("it cannot be read")));
    }
}
