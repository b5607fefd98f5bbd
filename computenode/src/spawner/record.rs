//! Exit records on disk: one small file per ended attempt, there until the head node has the report.
//!
//! Records are read only by the next spawner, which leaves out what it finds half written, and they are not synced: a
//! record lost in a power failure is an attempt that the new boot id proves to be over, which the head node handles
//! anyway, and a sync per task would cost more than the task. A record outlives its spawner.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use proto::frame::{self, FrameError};
use proto::ids::AttemptId;

use crate::spawner::message::ExitRecord;

/// The folder of records.
#[derive(Debug)]
pub(super) struct Records {
    folder: PathBuf,
}

/// Why a record was not written or read.
#[derive(Debug, thiserror::Error)]
pub(super) enum RecordError {
    /// The disk refused.
    #[error("the exit record {path} cannot be written or read")]
    File {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The file is no record.
    #[error("the exit record {path} is damaged")]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Why.
        #[source]
        source: FrameError,
    },
}

impl Records {
    /// Opens the folder, making it if it is not there.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(super) fn open(folder: &Path) -> Result<Self, RecordError> {
        fs::create_dir_all(folder).map_err(|source| RecordError::File {
            path: folder.to_owned(),
            source,
        })?;
        Ok(Self {
            folder: folder.to_owned(),
        })
    }

    /// Writes a record.
    ///
    /// # Errors
    /// When the disk refuses; the attempt's end is then known only while the spawner lives.
    pub(super) fn write(&self, record: &ExitRecord) -> Result<(), RecordError> {
        let path = self.path(record.attempt);
        let mut bytes = Vec::with_capacity(256);
        frame::encode(record, &mut bytes).map_err(|source| RecordError::Damaged {
            path: path.clone(),
            source,
        })?;
        fs::write(&path, &bytes).map_err(|source| RecordError::File { path, source })
    }

    /// Removes a record, if there is one.
    pub(super) fn remove(&self, attempt: AttemptId) {
        // A record that stays is reported once more at the next start, which the head node answers by dropping it.
        let _ = fs::remove_file(self.path(attempt));
    }

    /// All records; damaged ones are told and left out.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub(super) fn read_all(&self) -> Result<Vec<ExitRecord>, RecordError> {
        let failed = |source| RecordError::File {
            path: self.folder.clone(),
            source,
        };
        let mut records = Vec::new();
        for entry in fs::read_dir(&self.folder).map_err(failed)? {
            let path = entry.map_err(failed)?.path();
            if path
                .file_name()
                .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
            {
                continue;
            }
            match read(&path) {
                Ok(record) => records.push(record),
                Err(error) => tracing::warn!("{error}: it is skipped"),
            }
        }
        records.sort_by_key(|record| record.attempt);
        Ok(records)
    }

    fn path(&self, attempt: AttemptId) -> PathBuf {
        self.folder.join(attempt.to_string())
    }
}

fn read(path: &Path) -> Result<ExitRecord, RecordError> {
    let bytes = fs::read(path).map_err(|source| RecordError::File {
        path: path.to_owned(),
        source,
    })?;
    let damaged = |source| RecordError::Damaged {
        path: path.to_owned(),
        source,
    };
    let body = match frame::split(&bytes).map_err(damaged)? {
        Some((start, end)) => bytes.get(start..end).unwrap_or_default(),
        None => &[],
    };
    frame::decode(body).map_err(damaged)
}

#[cfg(test)]
mod tests {
    use proto::ids::BootId;
    use proto::model::task::AttemptOutcome;
    use proto::units::Timestamp;

    use super::*;
    use crate::spawner::message::Part;

    #[test]
    fn records_are_read_as_written_and_damaged_ones_left_out() {
        let folder = tempfile::tempdir().expect("a folder");
        let records = Records::open(folder.path()).expect("opens");
        let record = ExitRecord {
            attempt: AttemptId(7),
            boot: BootId(1),
            started_at: Some(Timestamp(1)),
            ended_at: Timestamp(2),
            outcome: AttemptOutcome::Exited { code: 3 },
            part: Part::Coordination,
            then: Some(AttemptId(8)),
        };
        records.write(&record).expect("writes");
        fs::write(folder.path().join("8"), b"\0\0\0\x05half").expect("writes");
        fs::write(folder.path().join(".9"), b"unfinished").expect("writes");
        assert_eq!(records.read_all().expect("reads"), [record]);
        records.remove(AttemptId(7));
        records.remove(AttemptId(7));
        assert_eq!(records.read_all().expect("reads"), []);
    }
}
