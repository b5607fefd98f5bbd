//! `bad-input`: what a new user gets wrong. Each answer names the thing and the remedy, and has its own exit code.

use anyhow::{bail, ensure};

use super::say;
use crate::cluster::{Cluster, SOON, Said};
use crate::wait;

/// A command line, the exit code it must have, and what its message must name.
struct Case {
    line: &'static str,
    code: i32,
    named: &'static [&'static str],
}

const CASES: &[Case] = &[
    Case {
        line: "job submit /nodegroup:azurenode hostname",
        code: 3,
        named: &["azurenode", "AzureNodes", "nodegroup list"],
    },
    Case {
        line: "job submit /numnode:4 hostname",
        code: 2,
        named: &["/numnode", "numnodes"],
    },
    Case {
        line: "job submit /jobtemplate:x hostname",
        code: 2,
        named: &["jobtemplate", "not built yet"],
    },
    Case {
        line: "job submit /priority:5000 hostname",
        code: 2,
        named: &["5000", "4000"],
    },
    Case {
        line: "job submit /numnodes:four hostname",
        code: 2,
        named: &["four", "numnodes"],
    },
    Case {
        line: "job submit",
        code: 2,
        named: &["command"],
    },
    Case {
        line: "job sumbit hostname",
        code: 2,
        named: &["sumbit", "submit"],
    },
    Case {
        line: "job view twelve",
        code: 2,
        named: &["twelve", "job id"],
    },
    Case {
        line: "job view 999999",
        code: 3,
        named: &["999999", "job list"],
    },
    Case {
        line: "task view 7",
        code: 2,
        named: &["'7'", "JOB.TASK"],
    },
    Case {
        line: "node view nodo1",
        code: 3,
        named: &["nodo1", "node1", "node list"],
    },
    Case {
        line: "job submit /requestednodes:node9 hostname",
        code: 3,
        named: &["node9", "node list"],
    },
    Case {
        line: "job list /scheduler:far.example",
        code: 4,
        named: &["far.example", "credential", "muster login"],
    },
];

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(2)?;
    for case in CASES {
        let words: Vec<&str> = case.line.split_whitespace().collect();
        let said = cluster.run(words[0], &words[1..])?;
        check(case.line, &said, case.code, case.named)?;
    }
    too_many_nodes(&cluster)?;
    no_such_program(&cluster)?;
    head_down(&cluster)
}

fn check(line: &str, said: &Said, code: i32, named: &[&str]) -> anyhow::Result<()> {
    let text = format!("{}{}", said.out, said.err);
    say(format!(
        "{line}\n      -> {} [{}]",
        text.trim().replace('\n', "\n         "),
        said.code
    ));
    ensure!(said.code == code, "'{line}' ended with {} instead of {code}", said.code);
    match named.iter().find(|name| !text.contains(**name)) {
        None => Ok(()),
        Some(missing) => bail!("the answer to '{line}' does not name '{missing}'"),
    }
}

/// More nodes than there are: the job waits, and `job why` says so with counts.
fn too_many_nodes(cluster: &Cluster) -> anyhow::Result<()> {
    let job = cluster.submit(&["/numnodes:9", "hostname"])?;
    let line = format!("job why {job}");
    let said = cluster.run("job", &["why", &job.to_string()])?;
    check(&line, &said, 0, &["9 nodes", "2 "])?;
    cluster.ok(&format!("job cancel {job}"))?;
    Ok(())
}

fn no_such_program(cluster: &Cluster) -> anyhow::Result<()> {
    let job = cluster.submit(&["no-such-program", "--flag"])?;
    let waited = cluster.run("job", &["wait", &job.to_string()])?;
    ensure!(waited.code == 1, "the job must fail: {waited:?}");
    let line = format!("task view {job}.1");
    let said = cluster.run("task", &["view", &format!("{job}.1")])?;
    check(&line, &said, 0, &["no-such-program", "node", "PATH"])
}

fn head_down(cluster: &Cluster) -> anyhow::Result<()> {
    cluster.kill_9("head")?;
    wait::until("the command line to see it", SOON, || {
        let said = cluster.run("job", &["list"])?;
        Ok((said.code == 5).then_some(()))
    })?;
    let said = cluster.run("job", &["list"])?;
    check("job list (head down)", &said, 5, &["head.sock", "muster up"])
}
