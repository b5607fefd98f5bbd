//! `attach`: `job submit -it` of an interactive program with input, and `-i` with a pipe.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};

use super::say;
use crate::cluster::{Cluster, Said};

pub(super) fn run() -> anyhow::Result<()> {
    let cluster = Cluster::start(1)?;
    // A terminal as people have one: script(1) makes it, and types what we give it.
    let job = cluster.command("job")?;
    let line = format!("{} submit -it sh", job.get_program().to_string_lossy());
    let mut terminal = Command::new("script");
    terminal.args(["-q", "-e", "-c", &line, "/dev/null"]);
    for (name, value) in job.get_envs() {
        match value {
            Some(value) => terminal.env(name, value),
            None => terminal.env_remove(name),
        };
    }
    let said = typed(terminal, "tty; stty size; echo answer $((6*7))\nexit 7\n")?;
    ensure!(said.out.contains("answer 42"), "no answer from the program: {said:?}");
    ensure!(said.out.contains("/dev/pts/"), "the program has no terminal: {said:?}");
    ensure!(said.code == 7, "the program ended with 7: {said:?}");
    say("job submit -it sh, typed 'echo answer $((6*7))' and 'exit 7': answer 42, exit code 7");

    let mut pipe = cluster.command("job")?;
    pipe.args(["submit", "-i", "sort"]);
    let said = typed(pipe, "pear\napple\n")?;
    ensure!(
        said.out == "apple\npear\n" && said.code == 0,
        "sort got its input and its end: {said:?}"
    );
    say("printf 'pear\\napple\\n' | job submit -i sort: apple, pear");

    let said = cluster.run(
        "job",
        &["submit", "--wait", "sh", "-c", "echo out; echo err >&2; exit 3"],
    )?;
    ensure!(
        said.code == 3 && said.out.contains("out") && said.err.contains("err"),
        "--wait brings output and exit code: {said:?}"
    );
    say("job submit --wait: output, errors and the exit code 3");
    Ok(())
}

fn typed(mut command: Command, input: &str) -> anyhow::Result<Said> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot be started")?;
    let mut stdin = child.stdin.take().context("a pipe was asked for")?;
    stdin.write_all(input.as_bytes())?;
    drop(stdin);
    Ok(Said::of(&child.wait_with_output()?))
}
