//! Launches that end well: where ranks are, what they find, how their streams are brought.

use std::io::Write;
use std::process::{Command, Stdio};

use crate::allocation::{Allocation, MPIEXEC, Shape, ended, finish};

#[test]
fn four_nodes_one_rank_each() {
    let allocation = Allocation::of(&[2, 2, 2, 2]);
    let script = "echo $PMI_RANK of $PMI_SIZE on $MUSTER_NODE_NAME at $MUSTER_NODE_ADDRESS, $MPI_LOCALRANKID of $MPI_LOCALNRANKS";
    let ended = allocation.run(&["-c", "1", "sh", "-c", script]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let expected: Vec<String> = (0..4)
        .map(|rank| format!("{rank} of 4 on n{0} at 127.0.0.{1}, 0 of 1", rank + 1, rank + 2))
        .collect();
    assert_eq!(ended.sorted_lines(), expected);
}

#[test]
fn more_ranks_than_cores_wrap_around() {
    let allocation = Allocation::of(&[2, 1]);
    let ended = allocation.run(&[
        "-n",
        "5",
        "sh",
        "-c",
        "echo $PMI_RANK $MUSTER_NODE_NAME $MPI_LOCALRANKID",
    ]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    assert_eq!(ended.sorted_lines(), ["0 n1 0", "1 n1 1", "2 n2 0", "3 n1 2", "4 n1 3"]);
}

#[test]
fn ranks_get_our_variables_and_not_those_of_others() {
    let allocation = Allocation::of(&[1, 1]);
    let script = "echo $A $B $FROM_MPIEXEC ${SLURM_PROCID-none} ${PMI_ID-none} ${MUSTER_LAUNCH-none} $PWD";
    let mut command = allocation.mpiexec(&[
        "-genv", "A", "1", "-genv", "B", "2", "-env", "A", "3", "sh", "-c", script,
    ]);
    command
        .env("FROM_MPIEXEC", "x")
        .env("SLURM_PROCID", "9")
        .env("PMI_ID", "9");
    let ended = finish(&mut command);
    let line = format!("3 2 x none none none {}", allocation.folder().display());
    assert_eq!((ended.code, ended.sorted_lines()), (0, vec![line.as_str(); 2]));
    let ended = allocation.run(&["-wdir", "/", "pwd"]);
    assert_eq!((ended.code, ended.sorted_lines()), (0, vec!["/"; 2]));
}

#[test]
fn lines_are_labelled_and_exits_told() {
    let allocation = Allocation::of(&[1, 1]);
    let ended = allocation.run(&["-l", "-exitcodes", "sh", "-c", "echo one; echo two; printf three"]);
    assert_eq!(ended.code, 0);
    assert_eq!(
        ended.sorted_lines(),
        ["[0] one", "[0] three", "[0] two", "[1] one", "[1] three", "[1] two"]
    );
    assert_eq!(
        ended.stderr,
        "mpiexec: rank 0 exited with code 0\nmpiexec: rank 1 exited with code 0\n"
    );
}

#[test]
fn both_streams_keep_their_way_and_lines_stay_whole() {
    const LINES: usize = 3000;
    let allocation = Allocation::of(&[2, 2]);
    let script = format!(
        "i=0; while [ $i -lt {LINES} ]; do echo rank $PMI_RANK has a line of some length; i=$((i+1)); done; echo err >&2"
    );
    let ended = allocation.run(&["sh", "-c", &script]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, "err\nerr\nerr\nerr\n"));
    let lines = ended.sorted_lines();
    assert_eq!(lines.len(), 4 * LINES);
    for (rank, lines) in lines.chunks(LINES).enumerate() {
        assert!(
            lines
                .iter()
                .all(|line| *line == format!("rank {rank} has a line of some length")),
            "rank {rank}"
        );
    }
}

#[test]
fn input_goes_to_rank_0_and_ends() {
    let allocation = Allocation::of(&[1, 1]);
    let mut command = allocation.mpiexec(&["-l", "wc", "-c"]);
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let mut stdin = child.stdin.take().expect("a pipe");
    let writer = std::thread::spawn(move || stdin.write_all(&vec![b'x'; 300_000]).expect("it is read"));
    let ended = ended(child);
    writer.join().expect("all was written");
    assert_eq!((ended.code, ended.sorted_lines()), (0, vec!["[0] 300000", "[1] 0"]));
}

#[test]
fn puts_cross_the_nodes() {
    let allocation = Allocation::of(&[2, 2, 2]);
    let script = r#"
        ask() { echo "$1" >&$PMI_FD; read -r answer <&$PMI_FD; }
        ask 'cmd=init pmi_version=1 pmi_subversion=1'
        ask 'cmd=get_my_kvsname'; name=${answer##*kvsname=}
        ask "cmd=put kvsname=$name key=k$PMI_RANK value=from=$PMI_RANK"
        ask 'cmd=barrier_in'
        ask "cmd=get kvsname=$name key=k$(( (PMI_RANK + 1) % PMI_SIZE ))"; neighbour=${answer##*value=}
        ask "cmd=get kvsname=$name key=PMI_process_mapping"; map=${answer##*value=}
        ask 'cmd=barrier_in'
        ask 'cmd=finalize'
        echo "$PMI_RANK got $neighbour in $map"
    "#;
    let ended = allocation.run(&["bash", "-c", script]);
    assert_eq!((ended.code, ended.stderr.as_str()), (0, ""));
    let expected: Vec<String> = (0..6)
        .map(|rank| format!("{rank} got from={} in (vector,(0,3,2))", (rank + 1) % 6))
        .collect();
    assert_eq!(ended.sorted_lines(), expected);
}

#[test]
fn ranks_are_bound_to_the_cores_that_the_allocation_names() {
    let core = first_core();
    let named: &'static str = Box::leak(core.clone().into_boxed_str());
    let allocation = Allocation::shaped(Shape {
        slots: vec![2],
        refusing: None,
        proxy_env: vec![("CCP_COREIDS", named)],
    });
    let script = "sed -n 's/^Cpus_allowed_list:[[:space:]]*//p' /proc/self/status";
    let ended = allocation.run(&["-affinity", "sh", "-c", script]);
    assert_eq!(
        (ended.code, ended.sorted_lines()),
        (0, vec![core.as_str(); 2]),
        "{}",
        ended.stderr
    );
}

/// The first core that this process may use.
fn first_core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").expect("the status");
    let list = status
        .lines()
        .find_map(|line| line.strip_prefix("Cpus_allowed_list:"))
        .expect("the list")
        .trim();
    list.split([',', '-']).next().expect("a core").to_owned()
}

#[test]
fn help_and_mistakes_need_no_task() {
    let run = |words: &[&str]| finish(Command::new(MPIEXEC).args(words).env_remove("MUSTER_TASK_SOCKET"));
    let help = run(&["-help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    assert!(help.stdout.starts_with("usage: mpiexec"), "{}", help.stdout);
    let wrong = run(&["-afinity", "x"]);
    assert_eq!(wrong.code, 125);
    assert!(wrong.stderr.contains("did you mean '-affinity'?"), "{}", wrong.stderr);
    let elsewhere = run(&["-hosts", "2", "a", "b", "true"]);
    assert_eq!(elsewhere.code, 125);
    assert!(elsewhere.stderr.contains("job submit"), "{}", elsewhere.stderr);
}
