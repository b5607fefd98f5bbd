//! `muster backup`, `restore`, `dump`, `check`, `compact`: done by the head node's own program, which knows its store. This
//! program must not: what it links would grow by a database.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use super::{LocalError, StateFolder, start};

/// Becomes that program; only the failure to do so comes back.
pub(crate) fn store(verb: &str, file: Option<String>, state: &Path) -> LocalError {
    let found = StateFolder::at(state).and_then(|state| Ok((state, start::program("muster-headnode")?)));
    let (state, program) = match found {
        Ok(found) => found,
        Err(error) => return error,
    };
    let mut command = Command::new(program);
    command.arg(verb);
    // A dump is of a backup when a file is named, and else of the folder, as all others are.
    let is_of_file = verb == "dump" && file.is_some();
    command.args(file);
    if !is_of_file {
        command.arg(state.head());
    }
    LocalError::NoStart {
        what: format!("muster-headnode {verb}"),
        source: command.exec(),
    }
}
