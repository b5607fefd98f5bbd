//! Launches outside a cluster: ranks on this machine.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::allocation::{Ended, MPIEXEC, ended, finish, kill, wait_for, wait_until_gone};

fn alone(words: &[&str]) -> Command {
    let mut command = Command::new(MPIEXEC);
    command
        .args(words)
        .env_remove("MUSTER_TASK_SOCKET")
        .stdin(Stdio::null());
    command
}

fn run(words: &[&str]) -> Ended {
    finish(&mut alone(words))
}

#[test]
fn ranks_run_on_this_machine() {
    let ended = run(&[
        "-n",
        "3",
        "sh",
        "-c",
        "echo $PMI_RANK of $PMI_SIZE ${MUSTER_TASK_SOCKET-none}",
    ]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(ended.sorted_lines(), ["0 of 3 none", "1 of 3 none", "2 of 3 none"]);
    assert_eq!(
        run(&["sh", "-c", "echo $PMI_SIZE"]).stdout,
        "1\n",
        "one rank unless told"
    );
    assert_eq!(run(&["-c", "2", "sh", "-c", "echo $PMI_SIZE"]).stdout, "2\n2\n");
}

#[test]
fn the_first_failure_is_the_exit_code() {
    let ended = run(&["-n", "2", "sh", "-c", "test $PMI_RANK = 0 && exec sleep 60; exit 7"]);
    assert_eq!(ended.code, 7, "{}", ended.stderr);
    assert_eq!(run(&["no-such-program"]).code, 127);
}

#[test]
fn input_goes_to_rank_0() {
    let mut command = alone(&["-n", "2", "-l", "cat"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"typed\n").expect("writes");
    drop(stdin);
    let ended = ended(child);
    assert_eq!(
        (ended.code, ended.stdout.as_str()),
        (0, "[0] typed\n"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_signal_ends_all_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut command = alone(&["-n", "2", "sh", "-c", "echo $$ > pid-$PMI_RANK; exec sleep 60"]);
    command.current_dir(folder.path()).env("XDG_RUNTIME_DIR", folder.path());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let ranks: Vec<u32> = ["pid-0", "pid-1"]
        .iter()
        .map(|file| {
            wait_for("a rank", || {
                let text = std::fs::read_to_string(folder.path().join(file)).ok()?;
                text.trim().parse().ok()
            })
        })
        .collect();
    kill(child.id(), "INT");
    let ended = ended(child);
    assert_ne!(ended.code, 0);
    wait_until_gone(&ranks);
    let left = std::fs::read_dir(folder.path()).expect("a folder").count();
    assert_eq!(left, 2, "only what the ranks wrote is left");
}

#[test]
fn ports_are_of_the_range() {
    let taken = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    let port = taken.local_addr().expect("an address").port();
    let with = |range: &str| finish(alone(&["true"]).env("MUSTER_PORT_RANGE", range));
    let exhausted = with(&format!("{port}-{port}"));
    assert_eq!(exhausted.code, 125);
    assert!(
        exhausted.stderr.contains(&format!("{port}-{port} is in use")),
        "{}",
        exhausted.stderr
    );
    let malformed = with("many");
    assert_eq!(malformed.code, 125);
    assert!(
        malformed.stderr.contains("MUSTER_PORT_RANGE: 'many'"),
        "{}",
        malformed.stderr
    );
    drop(taken);
    assert_eq!(with(&format!("{port}-{port}")).code, 0);
}
