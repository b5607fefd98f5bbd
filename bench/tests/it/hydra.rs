//! `mpipingpong` under a launcher that is not ours: Debian's `mpiexec.hydra`. Proves that wire-up is plain PMI-1 and that
//! ranks need no authority of a cluster.

use std::process::{Command, Output};
use std::{env, fs};

const PROGRAM: &str = env!("CARGO_BIN_EXE_mpipingpong");

/// Hydra if it is here; else says aloud that `test` is skipped.
fn hydra(test: &str) -> Option<Command> {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path)
        .map(|folder| folder.join("mpiexec.hydra"))
        .find(|program| program.is_file());
    if found.is_none() {
        eprintln!("SKIPPED {test}: mpiexec.hydra is not installed (Debian package mpich)");
    }
    // Hydra ends a launch that takes longer itself, ranks included.
    found.map(|program| {
        let mut command = Command::new(program);
        command
            .env("MPIEXEC_TIMEOUT", "120")
            .env_remove("MUSTER_NODE_NAME")
            .env_remove("MUSTER_NODE_ADDRESS");
        command
    })
}

/// A section for each of four nodes, with names and addresses as Muster's launcher would set them.
fn four_nodes(command: &mut Command, arguments: &[&str]) -> Output {
    for node in 1..=4 {
        if node > 1 {
            command.arg(":");
        }
        command.args(["-n", "1", "-env", "MUSTER_NODE_NAME", &format!("node{node}")]);
        command.args(["-env", "MUSTER_NODE_ADDRESS", &format!("127.0.0.{}", node + 1)]);
        command.arg(PROGRAM).args(arguments);
    }
    command.output().expect("mpiexec.hydra starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn four_ranks_on_four_nodes_give_six_rows() {
    let Some(mut hydra) = hydra("four_ranks_on_four_nodes_give_six_rows") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("table.txt");
    let output = four_nodes(&mut hydra, &["-p", "1:300", "-op", "-s", file.to_str().unwrap()]);
    let (table, progress) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{table}{progress}");
    for pair in [
        "node1 -> node2",
        "node1 -> node3",
        "node1 -> node4",
        "node2 -> node3",
        "node2 -> node4",
        "node3 -> node4",
    ] {
        assert!(table.lines().any(|line| line.starts_with(pair)), "{pair} in:\n{table}");
    }
    assert!(table.starts_with("mpipingpong: 4 ranks, 4 nodes, 6 pairs"), "{table}");
    assert!(progress.contains("pair 3/6: node1 - node4 ..."), "{progress}");
    assert_eq!(fs::read_to_string(&file).unwrap(), table);
}

#[test]
fn large_messages_go_there_and_back() {
    let Some(mut hydra) = hydra("large_messages_go_there_and_back") else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    hydra.current_dir(folder.path());
    let output = four_nodes(&mut hydra, &["-p", "4000000:3", "-s", "nul"]);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(text(&output.stdout).contains("4000000 bytes there and back, 3 round trips"));
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0, "nul is no file");
}

/// Two ranks on one node whose standard error goes to a file: Hydra ends a launch at the first failure, and what it has
/// not forwarded by then is lost now and then.
fn failing(hydra: &mut Command, arguments: &str) -> (Output, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("said");
    let line = format!("exec '{PROGRAM}' {arguments} 2>>'{}'", file.display());
    let output = hydra
        .args(["-n", "2", "sh", "-c", &line])
        .output()
        .expect("mpiexec.hydra starts");
    (output, fs::read_to_string(&file).unwrap_or_default())
}

#[test]
fn ranks_on_one_node_need_permission() {
    let Some(mut refused) = hydra("ranks_on_one_node_need_permission") else {
        return;
    };
    let (output, said) = failing(&mut refused, "-p 1:10");
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(
        said.contains("2 ranks run on") && said.contains("mpipingpong -m"),
        "{said}"
    );

    let Some(mut allowed) = hydra("ranks_on_one_node_need_permission") else {
        return;
    };
    let allowed = allowed.args(["-n", "2", PROGRAM, "-m", "-p", "1:10"]).output().unwrap();
    assert!(allowed.status.success(), "{}", text(&allowed.stderr));
    assert!(text(&allowed.stdout).contains("[0] -> "), "{}", text(&allowed.stdout));
}

#[test]
fn a_netmask_that_matches_nothing_is_an_error_that_names_it() {
    let Some(mut hydra) = hydra("a_netmask_that_matches_nothing_is_an_error_that_names_it") else {
        return;
    };
    hydra.args(["-genv", "MPICH_NETMASK", "203.0.113.0/255.255.255.0"]);
    hydra.args(["-genv", "MUSTER_NODE_ADDRESS", "127.0.0.7"]);
    let (output, said) = failing(&mut hydra, "-m -p 1:10");
    assert!(!output.status.success(), "{said}");
    assert!(
        said.contains("MPICH_NETMASK=203.0.113.0/24") && said.contains("127.0.0.7"),
        "{said}"
    );
}

#[test]
fn over_a_port_instead_of_a_socket() {
    let Some(mut hydra) = hydra("over_a_port_instead_of_a_socket") else {
        return;
    };
    let output = four_nodes(hydra.arg("-pmi-port"), &["-p", "1:10"]);
    assert!(
        output.status.success(),
        "{}{}",
        text(&output.stdout),
        text(&output.stderr)
    );
    assert!(text(&output.stdout).contains("node3 -> node4"));
}
