//! What the keeper does around starts that hang, come too late, or are not wanted any more.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child as Process, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};

use proto::ids::LaunchId;

use super::starting::STARTING_LIMIT;
use super::*;
use crate::spawner::message::Output;

mod coordination;

const ATTEMPT: AttemptId = AttemptId(1);

/// A keeper with an agent, which holds one attempt.
fn keeper() -> (tempfile::TempDir, Keeper) {
    let folder = tempfile::tempdir().expect("a folder");
    let records = Records::open(&folder.path().join("records")).expect("opens");
    let mut keeper = Keeper::new(BootId(9), records, Vec::new());
    keeper.attach(1);
    keeper.handle(ToSpawner::Hold {
        attempt: ATTEMPT,
        kept: Vec::new(),
        rerunnable: true,
        kill_grace: Millis(0),
    });
    keeper.outgoing(1);
    (folder, keeper)
}

fn order(role: Role) -> ToSpawner {
    SpawnOrder {
        attempt: ATTEMPT,
        role,
        command: vec!["true".to_owned()],
        program: None,
        env: Vec::new(),
        workdirs: vec!["/".to_owned()],
        own_workdir: false,
        stdin: None,
        stdout: Output::Null,
        stderr: Output::Null,
        credentials: None,
        runtime_limit: None,
        new_privileges: false,
        single: false,
        ahead: false,
        cores: Vec::new(),
    }
    .into_message()
}

fn told(keeper: &mut Keeper) -> Vec<FromSpawner> {
    keeper.outgoing(1).expect("the line counts").into()
}

fn outcome(keeper: &mut Keeper) -> AttemptOutcome {
    // Children of other tests look like orphans to the quick way to the end.
    keeper.found_bare(&[ATTEMPT]);
    match &told(keeper)[..] {
        [FromSpawner::Ended(record)] => record.outcome.clone(),
        other => panic!("{other:?}"),
    }
}

/// A start that hangs: a process that stands for a child before its exec.
fn hanging(keeper: &mut Keeper) -> (SpawnOrder, Arc<AtomicI32>, Process) {
    keeper.handle(order(Role::Root));
    let (order, pid) = keeper.next_start().expect("an order");
    let process = Command::new("sleep").arg("1000").spawn().expect("sleep starts");
    pid.store(i32::try_from(process.id()).expect("fits"), Ordering::Release);
    (order, pid, process)
}

/// The end of a hanging start, as reaper and starter tell it.
fn killed(keeper: &mut Keeper, order: &SpawnOrder, pid: &Arc<AtomicI32>, mut process: Process) {
    let number = pid.load(Ordering::Acquire);
    let signal = process.wait().expect("it ends").signal().expect("by a signal");
    assert_eq!(signal, 9);
    keeper.exited(number, Ended::Signaled(signal));
    keeper.started(order, pid, Ok(number));
}

#[test]
fn a_start_that_hangs_is_ended_by_a_stop() {
    let (_folder, mut keeper) = keeper();
    let (order, pid, process) = hanging(&mut keeper);
    let grace = Millis(0);
    keeper.handle(ToSpawner::Stop {
        attempt: ATTEMPT,
        grace,
    });
    assert!(matches!(keeper.due(), Due::At(_)));
    killed(&mut keeper, &order, &pid, process);
    assert_eq!(outcome(&mut keeper), AttemptOutcome::Stopped);
}

#[test]
fn a_start_that_hangs_is_ended_by_the_lease() {
    let (_folder, mut keeper) = keeper();
    let (order, pid, process) = hanging(&mut keeper);
    keeper.handle(ToSpawner::Lease { until: BootTime::now() });
    keeper.due();
    killed(&mut keeper, &order, &pid, process);
    assert_eq!(outcome(&mut keeper), AttemptOutcome::Fenced);
}

#[test]
fn a_start_that_hangs_too_long_is_told_so() {
    let (_folder, mut keeper) = keeper();
    let (order, pid, process) = hanging(&mut keeper);
    let since = keeper.in_flight[0].since;
    assert_eq!(keeper.end_flights(since + Millis(1)), Some(since + STARTING_LIMIT));
    keeper.end_flights(since + STARTING_LIMIT);
    killed(&mut keeper, &order, &pid, process);
    let AttemptOutcome::NotStarted { reason } = outcome(&mut keeper) else {
        panic!("another outcome")
    };
    assert!(reason.contains("file server"), "{reason}");
}

#[test]
fn what_waits_for_a_starter_ends_without_one() {
    let (_folder, mut keeper) = keeper();
    let launch = LaunchId(5);
    keeper.handle(order(Role::Root));
    keeper.handle(order(Role::Proxy { launch }));
    keeper.handle(ToSpawner::Stop {
        attempt: ATTEMPT,
        grace: Millis(60_000),
    });
    keeper.due();
    let told = told(&mut keeper);
    assert!(
        told.iter()
            .any(|news| matches!(news, FromSpawner::Proxy { refused: Some(_), .. })),
        "{told:?}"
    );
    assert!(keeper.next_start().is_none());
    assert!(matches!(
        keeper.attempts[&ATTEMPT].root,
        Root::Left(_) | Root::Reported(_)
    ));
}

#[test]
fn a_start_after_the_lease_is_left_as_fenced() {
    let (_folder, mut keeper) = keeper();
    keeper.handle(ToSpawner::Lease { until: BootTime::now() });
    keeper.handle(order(Role::Root));
    assert!(keeper.next_start().is_none());
    assert_eq!(outcome(&mut keeper), AttemptOutcome::Fenced);
}

#[test]
fn an_attempt_that_cannot_be_prepared_is_over_with_its_reason() {
    let (_folder, mut keeper) = keeper();
    let reason = "no user 'x' here".to_owned();
    keeper.handle(ToSpawner::Refuse {
        attempt: ATTEMPT,
        reason: reason.clone(),
    });
    assert_eq!(outcome(&mut keeper), AttemptOutcome::NotStarted { reason });
    keeper.handle(order(Role::Root));
    assert!(keeper.next_start().is_none());
}

#[test]
fn the_end_of_a_stranger_is_not_kept() {
    let (_folder, mut keeper) = keeper();
    let (order, pid, mut process) = hanging(&mut keeper);
    let number = pid.load(Ordering::Acquire);
    keeper.exited(number + 1, Ended::Exited(0));
    assert_eq!(keeper.early, []);
    keeper.exited(number, Ended::Exited(3));
    assert_eq!(keeper.early, [(number, Ended::Exited(3))]);
    keeper.started(&order, &pid, Ok(number));
    assert_eq!(keeper.early, []);
    process.kill().expect("it is there");
    process.wait().expect("it ends");
}
