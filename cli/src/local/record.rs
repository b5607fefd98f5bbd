//! up.json: how the cluster was started, so that the next `muster up` starts it alike. Also the process numbers, for
//! people and tests; this program reads the live ones from /proc.
//!
//! The file is this program's own: no other program of ours reads it, so its form stands here and not in `proto`.

use std::fs;
use std::io::{self, Write};

use serde::{Deserialize, Serialize};

use super::{LocalError, StateFolder};

/// What was started.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Record {
    /// The head node.
    pub(super) head: HeadRecord,
    /// The compute nodes, in order.
    pub(super) nodes: Vec<NodeRecord>,
    /// The head node was started alone, for nodes on other hosts.
    pub(super) alone: bool,
}

/// The head node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct HeadRecord {
    pub(super) pid: i32,
    /// Where nodes dial in. A restarted head must be there again: running agents know no other address.
    pub(super) address: String,
}

/// A compute node.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct NodeRecord {
    pub(super) name: String,
    /// Of its agent.
    pub(super) pid: i32,
    pub(super) address: String,
    pub(super) cores: Option<u32>,
}

impl Record {
    /// Reads it; none when there is none.
    ///
    /// # Errors
    /// When it cannot be read, or holds something else.
    pub(super) fn read(state: &StateFolder) -> Result<Option<Self>, LocalError> {
        let path = state.record();
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => {
                return Err(LocalError::Files {
                    doing: "reading",
                    path,
                    source,
                });
            }
        };
        let wrong = |error: serde_json::Error| LocalError::Files {
            doing: "reading",
            path,
            source: error.into(),
        };
        serde_json::from_slice(&text).map(Some).map_err(wrong)
    }

    /// Writes it whole or not at all.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(super) fn write(&self, state: &StateFolder) -> Result<(), LocalError> {
        let path = state.record();
        let new = path.with_extension("json.new");
        let save = || -> io::Result<()> {
            let mut file = fs::File::create(&new)?;
            serde_json::to_writer_pretty(&mut file, self)?;
            file.write_all(b"\n")?;
            fs::rename(&new, &path)
        };
        save().map_err(LocalError::files("writing", &path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::at(folder.path()).expect("a folder");
        assert_eq!(Record::read(&state).expect("reads"), None);
        let node = NodeRecord {
            name: "node1".into(),
            pid: 7,
            address: "127.0.0.2".into(),
            cores: Some(2),
        };
        let record = Record {
            head: HeadRecord {
                pid: 6,
                address: "127.0.0.1:9".into(),
            },
            nodes: vec![node],
            alone: false,
        };
        record.write(&state).expect("writes");
        assert_eq!(Record::read(&state).expect("reads"), Some(record));
        fs::write(state.record(), "{").expect("writes");
        assert!(Record::read(&state).is_err());
    }
}
