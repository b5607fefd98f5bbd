//! What `mpipingpong` says when it cannot measure.

use std::process::{Command, Output};

fn mpipingpong(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_mpipingpong"));
    for name in ["PMI_FD", "PMI_PORT", "PMI_RANK", "PMI_SIZE", "PMI_ID"] {
        command.env_remove(name);
    }
    command.args(arguments).output().expect("mpipingpong starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn without_a_launcher_it_says_how_to_start_it() {
    let output = mpipingpong(&["-p", "1:100"]);
    assert_eq!(output.status.code(), Some(2));
    let said = text(&output.stderr);
    assert!(said.contains("mpiexec -c 1 -affinity mpipingpong"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn help_needs_no_launcher() {
    let output = mpipingpong(&["-h"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("Usage: mpiexec"));
}

#[test]
fn a_wrong_option_is_refused_before_anything_starts() {
    let output = mpipingpong(&["-ring"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(
        text(&output.stderr).contains("unknown option '-ring'"),
        "{}",
        text(&output.stderr)
    );
}
