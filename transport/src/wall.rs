//! The wall clock, as every program of ours reads it. What has a duration is never measured with it: it may be set.
//!
//! In builds with debug assertions `MUSTER_DEBUG_CLOCK` may name a file with a number of seconds, which may be negative,
//! by which the clock is off; it is read at every reading, so a test can set the clock of programs that run. A release
//! build has none of that.

use std::time::SystemTime;

/// Now, as far as anybody knows.
#[must_use]
pub fn now() -> SystemTime {
    set::shifted(SystemTime::now())
}

/// The variable that names the file, in builds that read it.
pub const FILE_VARIABLE: Option<&str> = set::VARIABLE;

#[cfg(not(debug_assertions))]
mod set {
    use std::time::SystemTime;

    pub(super) const VARIABLE: Option<&str> = None;

    pub(super) const fn shifted(moment: SystemTime) -> SystemTime {
        moment
    }
}

#[cfg(debug_assertions)]
mod set {
    use std::path::{Path, PathBuf};
    use std::sync::OnceLock;
    use std::time::{Duration, SystemTime};

    const NAME: &str = "MUSTER_DEBUG_CLOCK";

    pub(super) const VARIABLE: Option<&str> = Some(NAME);

    pub(super) fn shifted(moment: SystemTime) -> SystemTime {
        static FILE: OnceLock<Option<PathBuf>> = OnceLock::new();
        let file = FILE.get_or_init(|| std::env::var_os(NAME).map(PathBuf::from));
        file.as_deref().map_or(moment, |path| by_file(path, moment))
    }

    /// A file that is not there, or holds no number, shifts nothing.
    fn by_file(path: &Path, moment: SystemTime) -> SystemTime {
        let text = std::fs::read_to_string(path).unwrap_or_default();
        let seconds: i64 = text.trim().parse().unwrap_or(0);
        let span = Duration::from_secs(seconds.unsigned_abs());
        let shifted = if seconds < 0 {
            moment.checked_sub(span)
        } else {
            moment.checked_add(span)
        };
        shifted.unwrap_or(moment)
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_file_shifts_the_clock_both_ways() {
            let folder = tempfile::tempdir().expect("a folder");
            let path = folder.path().join("clock");
            let (noon, day) = (
                SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000),
                Duration::from_secs(86_400),
            );
            assert_eq!(by_file(&path, noon), noon, "no file");
            for (text, expected) in [("86400\n", noon + day), ("-86400", noon - day), ("x", noon)] {
                std::fs::write(&path, text).expect("writes");
                assert_eq!(by_file(&path, noon), expected);
            }
        }
    }
}
