//! Programs of Debian's MPICH, unmodified. Without that package these tests say so and pass.

use std::path::PathBuf;
use std::process::Command;

use crate::allocation::Allocation;

/// Compiles the hello program into the folder; nothing when there is no MPICH here.
fn hello(allocation: &Allocation, test: &str) -> Option<PathBuf> {
    let program = allocation.folder().join("hello");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/fixtures/hello.c");
    match Command::new("mpicc.mpich")
        .args(["-O1", "-o"])
        .arg(&program)
        .arg(source)
        .status()
    {
        Ok(status) => {
            assert!(status.success(), "mpicc.mpich cannot compile {source}");
            Some(program)
        }
        Err(error) => {
            eprintln!("SKIPPED {test}: mpicc.mpich does not run ({error}); apt-get install mpich libmpich-dev");
            None
        }
    }
}

#[test]
fn an_mpich_program_runs_with_four_ranks_on_one_node() {
    let allocation = Allocation::of(&[2]);
    if hello(&allocation, "an_mpich_program_runs_with_four_ranks_on_one_node").is_none() {
        return;
    }
    let ended = allocation.run(&["-n", "4", "./hello"]);
    assert_eq!(ended.code, 0, "{}", ended.stderr);
    let expected = [
        "hello from 0 of 4",
        "hello from 1 of 4",
        "hello from 2 of 4",
        "hello from 3 of 4",
        "sum 6",
    ];
    assert_eq!(ended.sorted_lines(), expected);
}

#[test]
fn an_mpich_abort_gives_its_code() {
    let allocation = Allocation::of(&[2]);
    if hello(&allocation, "an_mpich_abort_gives_its_code").is_none() {
        return;
    }
    let ended = allocation.run(&["-n", "2", "./hello", "abort"]);
    assert_eq!(ended.code, 42, "{}", ended.stderr);
    assert!(
        ended
            .stderr
            .contains("mpiexec: rank 1 on n1 aborted the launch with code 42"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("readline failed"), "{}", ended.stderr);
}
