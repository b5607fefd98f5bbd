//! Remarks on a task that is submitted: what is probably meant otherwise than it was typed. It is taken as it is.
//!
//! Only slips that fail late and puzzling are worth a remark; whatever could be refused is refused in `request`.

use proto::model::task::TaskSpec;

/// A line for each.
pub(crate) fn on(task: &TaskSpec) -> Vec<String> {
    let mut remarks = Vec::new();
    let carried = task.script.is_some();
    if let (None, Some(program)) = (&task.workdir, relative_program(&task.command).filter(|_| !carried)) {
        remarks.push(format!(
            "the task starts in a new folder of its own; {program} will not be there: give /workdir:$PWD"
        ));
    }
    let words = task.command.iter();
    if let Some(name) = words.filter_map(|word| percent_variable(word)).next() {
        remarks.push(format!(
            "%{name}% is not expanded, no shell reads the command line: write sh -c '... ${name}'"
        ));
    }
    if task.sweep.is_some() && !uses_step(task) {
        remarks.push(
            "no '*' stands anywhere, so that every step does the same; the step is in CCP_TASKINSTANCEID".to_owned(),
        );
    }
    remarks
}

/// Whether steps differ by anything but their variable. A script reads the variable.
fn uses_step(task: &TaskSpec) -> bool {
    let paths = [&task.workdir, &task.stdin, &task.stdout, &task.stderr];
    task.script.is_some()
        || task
            .command
            .iter()
            .any(|word| word.contains('*') || word.contains("CCP_TASKINSTANCEID"))
        || paths.into_iter().flatten().any(|path| path.contains('*'))
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

    fn task(line: &str) -> TaskSpec {
        TaskSpec::of_command(line.split_whitespace().map(str::to_owned).collect())
    }

    #[test]
    fn what_is_probably_meant_otherwise_is_said() {
        let remarks = |line: &str| on(&task(line)).join("; ");
        for relative in [
            "./prog",
            "../bin/prog x",
            "mpiexec -c 1 -l ./prog",
            "/usr/bin/mpiexec ./prog",
        ] {
            let said = remarks(relative);
            assert!(
                said.contains("prog will not be there: give /workdir:$PWD"),
                "{relative}: {said}"
            );
        }
        for fine in [
            "prog ./input",
            "mpiexec -wdir /w ./prog",
            "date +%H%M%S",
            "echo 5% of 7%",
        ] {
            assert_eq!(remarks(fine), "", "{fine}");
        }
        let mut elsewhere = task("./prog");
        elsewhere.workdir = Some("/w".to_owned());
        assert!(on(&elsewhere).is_empty());
        let mut carried = task("./run.sh");
        carried.script = Some("#!/bin/sh\n".to_owned());
        assert!(on(&carried).is_empty());
        let mut sweep = task("prog");
        sweep.sweep = proto::model::sweep::Sweep::new(1, 9, 1).ok();
        assert!(on(&sweep).concat().contains("every step does the same"));
        sweep.stdout = Some("/o/*".to_owned());
        assert!(on(&sweep).is_empty());
        let said = remarks("echo a%CCP_TASKID%b");
        assert!(
            said.contains("%CCP_TASKID% is not expanded") && said.contains("$CCP_TASKID'"),
            "{said}"
        );
    }
}
