//! Launches that end badly: what is told, which code, and that nothing is left running.

use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::allocation::{Allocation, Shape, ended, kill, wait_for, wait_until_gone};

/// Each rank names its process in a file; then what the rank with that number does, and the others sleep.
fn with_rank(rank: u32, does: &str) -> String {
    format!("echo $$ > pid.$PMI_RANK; if [ $PMI_RANK = {rank} ]; then {does}; fi; exec sleep 300")
}

/// Until all ranks have named their process.
const ALL_THERE: &str = "while [ $(ls pid.* | wc -l) -lt $PMI_SIZE ]; do sleep 0.01; done";

#[test]
fn one_rank_that_fails_stops_all() {
    let allocation = Allocation::of(&[1, 1, 1]);
    let ended = allocation.run(&["sh", "-c", &with_rank(1, &format!("{ALL_THERE}; echo bad; exit 7"))]);
    assert_eq!((ended.code, ended.stdout.as_str()), (7, "bad\n"));
    assert_eq!(
        ended.stderr,
        "mpiexec: rank 1 on n2 exited with code 7; all ranks were stopped\n"
    );
    wait_until_gone(&allocation.rank_processes(3));
}

#[test]
fn a_signal_is_told_by_number_and_name() {
    let allocation = Allocation::of(&[1, 1]);
    let ended = allocation.run(&["sh", "-c", &with_rank(0, "kill -SEGV $$")]);
    assert_eq!(ended.code, 139);
    assert_eq!(
        ended.stderr,
        "mpiexec: rank 0 on n1 was ended by signal 11 (SIGSEGV); all ranks were stopped\n"
    );
}

#[test]
fn ranks_that_ignore_a_stop_are_killed() {
    let allocation = Allocation::of(&[1, 1]);
    let deaf = "trap '' TERM; echo $$ > pid.$PMI_RANK; if [ $PMI_RANK = 1 ]; then while [ ! -s pid.0 ]; do :; done; exit 3; fi; \
                while :; do sleep 300; done";
    let began = Instant::now();
    assert_eq!(allocation.run(&["sh", "-c", deaf]).code, 3);
    assert!(
        began.elapsed() < Duration::from_secs(9),
        "the deadline of mpiexec itself: {:?}",
        began.elapsed()
    );
    wait_until_gone(&allocation.rank_processes(2));
}

#[test]
fn an_abort_over_pmi_gives_its_code() {
    let allocation = Allocation::of(&[1, 1]);
    let abort = "echo cmd=abort exitcode=42 >&$PMI_FD";
    let ended = allocation.run(&["bash", "-c", &with_rank(1, abort)]);
    assert_eq!(ended.code, 42);
    assert_eq!(ended.stderr, "mpiexec: rank 1 on n2 aborted the launch with code 42\n");
}

#[test]
fn leaving_mpi_early_is_a_fault_and_a_crash_is_not() {
    let init = "echo cmd=init pmi_version=1 pmi_subversion=1 >&$PMI_FD; read -r answer <&$PMI_FD";
    let allocation = Allocation::of(&[1, 1]);
    let early = allocation.run(&["bash", "-c", &with_rank(1, &format!("{init}; exit 0"))]);
    assert_eq!(early.code, 122);
    assert!(
        early
            .stderr
            .starts_with("mpiexec: rank 1 on n2 ended before MPI_Finalize"),
        "{}",
        early.stderr
    );
    let crash = allocation.run(&["bash", "-c", &with_rank(1, &format!("{init}; kill -ABRT $$"))]);
    assert_eq!(crash.code, 134, "{}", crash.stderr);
}

#[test]
fn nonsense_on_the_pmi_socket_is_a_fault() {
    let allocation = Allocation::of(&[1]);
    let ended = allocation.run(&["bash", "-c", &with_rank(0, "echo hello >&$PMI_FD")]);
    assert_eq!(ended.code, 122);
    assert!(
        ended.stderr.contains("rank 0 on n1 broke the PMI protocol: 'hello'"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_time_limit_stops_all() {
    let allocation = Allocation::of(&[1, 1]);
    let ended = allocation.run(&["-timeout", "1", "sh", "-c", &with_rank(9, ":")]);
    assert_eq!(ended.code, 124);
    assert_eq!(
        ended.stderr,
        "mpiexec: the time limit of 1 s (-timeout) was over; all ranks were stopped\n"
    );
    wait_until_gone(&allocation.rank_processes(2));
}

#[test]
fn programs_that_cannot_start_are_named_with_the_node() {
    let allocation = Allocation::of(&[1]);
    let missing = allocation.run(&["no-such-program"]);
    assert_eq!(missing.code, 127);
    let said = "mpiexec: rank 0 could not be started on n1: no such program 'no-such-program' in PATH";
    assert!(missing.stderr.starts_with(said), "{}", missing.stderr);
    std::fs::write(allocation.folder().join("data"), "x").expect("written");
    let data = allocation.run(&["./data"]);
    assert_eq!(data.code, 126);
    assert!(data.stderr.contains("cannot be executed"), "{}", data.stderr);
    let nowhere = allocation.run(&["-wdir", "/no/such/place", "true"]);
    assert_eq!(nowhere.code, 125);
    assert!(
        nowhere.stderr.contains("'/no/such/place' is not there"),
        "{}",
        nowhere.stderr
    );
}

#[test]
fn a_node_without_proxy_is_named_and_no_rank_starts() {
    let allocation = Allocation::shaped(Shape {
        slots: vec![1, 1, 1],
        refusing: Some(2),
        proxy_env: vec![],
    });
    let ended = allocation.run(&["touch", "started"]);
    assert_eq!(ended.code, 125);
    assert_eq!(
        ended.stderr,
        "mpiexec: node n2 started no proxy: this attempt is being released\n"
    );
    assert!(!allocation.folder().join("started").exists());
}

#[test]
fn a_lost_proxy_is_named_and_stops_all() {
    let allocation = Allocation::of(&[1, 1, 1]);
    let script = with_rank(9, ":");
    let mut command = allocation.mpiexec(&["sh", "-c", &script]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let ranks = allocation.rank_processes(3);
    kill(allocation.proxy_on(2), "KILL");
    let ended = ended(child);
    assert_eq!(ended.code, 123, "{}", ended.stderr);
    assert!(
        ended.stderr.starts_with("mpiexec: node n2 was lost: "),
        "{}",
        ended.stderr
    );
    // The rank of the lost proxy is for its node's agent to find; those of the others are gone.
    let others: Vec<u32> = ranks.into_iter().filter(|rank| !is_orphan(*rank)).collect();
    wait_until_gone(&others);
    for process in allocation.rank_processes(3) {
        if is_orphan(process) {
            kill(process, "KILL");
        }
    }
}

/// Whether a living process has lost its proxy.
fn is_orphan(process: u32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let parent = status
        .lines()
        .find_map(|line| line.strip_prefix("PPid:"))
        .map(str::trim);
    let name = parent.and_then(|parent| std::fs::read_to_string(format!("/proc/{parent}/comm")).ok());
    !status.is_empty() && name.is_some_and(|name| !name.starts_with("muster-mpiexec"))
}

#[test]
fn without_mpiexec_ranks_end() {
    let allocation = Allocation::of(&[1, 1]);
    let script = with_rank(9, ":");
    let mut child = allocation.mpiexec(&["sh", "-c", &script]).spawn().expect("starts");
    let ranks = allocation.rank_processes(2);
    let proxies = [allocation.proxy_on(1), allocation.proxy_on(2)];
    child.kill().expect("killed");
    child.wait().expect("ended");
    wait_until_gone(&ranks);
    wait_until_gone(&proxies);
}

#[test]
fn a_signal_reaches_every_rank_and_a_second_one_kills() {
    let allocation = Allocation::of(&[1, 1]);
    let polite = "trap 'echo bye; exit 0' TERM; echo $$ > pid.$PMI_RANK; while :; do sleep 0.01; done";
    let mut command = allocation.mpiexec(&["sh", "-c", polite]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    allocation.rank_processes(2);
    kill(child.id(), "TERM");
    let once = ended(child);
    assert_eq!((once.code, once.stdout.as_str()), (0, "bye\nbye\n"), "{}", once.stderr);

    let allocation = Allocation::of(&[1, 1]);
    let deaf = "trap '' INT; echo $$ > pid.$PMI_RANK; while :; do sleep 300; done";
    let mut command = allocation.mpiexec(&["sh", "-c", deaf]);
    let mut child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let ranks = allocation.rank_processes(2);
    // Two of them count when they come within a second, and are one when the first was not taken yet; so until it ends.
    wait_for("the end after two signals", || {
        kill(child.id(), "INT");
        std::thread::sleep(Duration::from_millis(100));
        child.try_wait().expect("a status")
    });
    let twice = ended(child);
    assert_eq!(twice.code, 130, "{}", twice.stderr);
    wait_until_gone(&ranks);
}

#[test]
fn output_that_nobody_reads_holds_up_no_stop() {
    let allocation = Allocation::of(&[1, 1]);
    // Rank 0 fills every buffer on the way; rank 1 fails when it surely has.
    let script =
        "echo $$ > pid.$PMI_RANK; if [ $PMI_RANK = 0 ]; then exec yes 'a line that nobody reads'; fi; sleep 1; exit 5";
    let mut command = allocation.mpiexec(&["sh", "-c", script]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("starts");
    let ranks = allocation.rank_processes(2);
    wait_until_gone(&ranks);
    let ended = ended(child);
    assert_eq!(ended.code, 5, "{}", ended.stderr);
    // The very last line is as far as the program got when it was stopped.
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let whole = |line: &&str| *line == "a line that nobody reads";
    assert!(
        lines.len() > 1 && lines[..lines.len() - 1].iter().all(whole),
        "a line was torn"
    );
}
