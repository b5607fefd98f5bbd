//! Remarks on a submission: what is probably meant otherwise than it was typed. The job is taken as it is.
//!
//! Only slips that fail late and puzzling are worth a remark; whatever could be refused is refused in `request`.

use crate::request::Submission;

impl Submission {
    /// A line for each.
    #[must_use]
    pub fn remarks(&self) -> Vec<String> {
        let mut remarks = Vec::new();
        if let (None, Some(program)) = (&self.task.workdir, relative_program(&self.task.command)) {
            remarks.push(format!(
                "the task starts in a new folder of its own; {program} will not be there: give /workdir:$PWD"
            ));
        }
        let words = self.task.command.iter();
        if let Some(name) = words.filter_map(|word| percent_variable(word)).next() {
            remarks.push(format!(
                "%{name}% is not expanded, no shell reads the command line: write sh -c '... ${name}'"
            ));
        }
        remarks
    }
}

/// The program, or what mpiexec shall start, when it is a path from the directory of the task.
fn relative_program(command: &[String]) -> Option<&str> {
    let is_relative = |word: &&String| word.starts_with("./") || word.starts_with("../");
    let first = command.first()?;
    let is_mpiexec = first.rsplit('/').next() == Some("mpiexec");
    // With a directory for the ranks, paths start there.
    let moves = |word: &String| ["wdir", "dir", "gwdir"].contains(&word.trim_start_matches(['-', '/']));
    match first {
        first if is_relative(&first) => Some(first),
        _ if is_mpiexec && !command.iter().any(moves) => command.iter().find(is_relative).map(String::as_str),
        _ => None,
    }
}

/// The name in `%NAME%`.
fn percent_variable(word: &str) -> Option<&str> {
    let mut parts = word.split('%');
    parts.next()?;
    let inner: Vec<&str> = parts.collect();
    // What stands behind the last sign is behind no pair.
    let (_, between) = inner.split_last()?;
    let is_name = |name: &&str| {
        // One letter is a form of `date`.
        name.len() > 1
            && name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
    };
    between.iter().copied().find(is_name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{Invocation, parse};
    use crate::request::{Command, checked};

    fn submitted(line: &str) -> Submission {
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let Ok(Invocation::Do { verb, options, words }) = parse(&words[0], &words[1..]) else {
            panic!("{line}");
        };
        match checked(verb, &options, &words, None) {
            Ok(Command::JobSubmit(submission)) => *submission,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_probably_meant_otherwise_is_said() {
        let remarks = |line: &str| submitted(line).remarks().join("; ");
        for relative in [
            "job submit ./prog",
            "job submit ../bin/prog x",
            "job submit mpiexec -c 1 -l ./prog",
            "job submit /usr/bin/mpiexec ./prog",
        ] {
            let said = remarks(relative);
            assert!(
                said.contains("prog will not be there: give /workdir:$PWD"),
                "{relative}: {said}"
            );
        }
        for fine in [
            "job submit /workdir:/w ./prog",
            "job submit prog ./input",
            "job submit mpiexec -wdir /w ./prog",
            "job submit date +%H%M%S",
            "job submit echo 5% of 7%",
        ] {
            assert_eq!(remarks(fine), "", "{fine}");
        }
        let said = remarks("job submit echo a%CCP_TASKID%b");
        assert!(
            said.contains("%CCP_TASKID% is not expanded") && said.contains("$CCP_TASKID'"),
            "{said}"
        );
    }
}
