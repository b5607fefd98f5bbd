//! What the keeper does around coordination commands: their ends, the lease, and what waits for a start.

use super::*;
use crate::spawner::attempt::Coordination;
use crate::spawner::message::KeptState;

/// A number that is no child of ours: what it stands for is not signalled here.
const PID: i32 = i32::MAX - 1;

/// A coordination command that runs.
fn running(keeper: &mut Keeper) {
    keeper.handle(order(Role::Coordination));
    let (order, pid) = keeper.next_start().expect("an order");
    pid.store(PID, Ordering::Release);
    keeper.started(&order, &pid, Ok(PID));
    assert_eq!(keeper.attempts[&ATTEMPT].state(), KeptState::Coordinating);
    assert_eq!(told(keeper), []);
}

fn record(keeper: &mut Keeper) -> ExitRecord {
    keeper.found_bare(&[ATTEMPT]);
    match &told(keeper)[..] {
        [FromSpawner::Ended(record)] => record.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_good_end_is_told_once_and_the_program_follows() {
    let (_folder, mut keeper) = keeper();
    running(&mut keeper);
    keeper.handle(order(Role::Coordination));
    assert!(keeper.next_start().is_none(), "it is known");
    keeper.exited(PID, Ended::Exited(0));
    assert_eq!(told(&mut keeper), [FromSpawner::Coordinated { attempt: ATTEMPT }]);
    assert_eq!(keeper.attempts[&ATTEMPT].state(), KeptState::Coordinated);
    assert!(matches!(keeper.due(), Due::At(_)), "what it left runs on");
    keeper.handle(order(Role::Root));
    assert!(keeper.next_start().is_some());
}

#[test]
fn a_bad_end_is_the_attempts_and_says_of_what() {
    let (folder, mut keeper) = keeper();
    running(&mut keeper);
    keeper.exited(PID, Ended::Exited(3));
    let record = record(&mut keeper);
    assert_eq!(
        (record.part, record.outcome.clone(), record.started_at),
        (Part::Coordination, AttemptOutcome::Exited { code: 3 }, None)
    );
    let records = Records::open(&folder.path().join("records")).expect("opens");
    assert_eq!(records.read_all().expect("reads"), [record]);
    keeper.handle(order(Role::Root));
    assert!(keeper.next_start().is_none(), "it is over");
}

#[test]
fn one_that_cannot_be_started_says_why() {
    let (_folder, mut keeper) = keeper();
    keeper.handle(order(Role::Coordination));
    let (order, pid) = keeper.next_start().expect("an order");
    let reason = "no program 'x'".to_owned();
    keeper.started(&order, &pid, Err(reason.clone()));
    let record = record(&mut keeper);
    assert_eq!(
        (record.part, record.outcome),
        (Part::Coordination, AttemptOutcome::NotStarted { reason })
    );
}

#[test]
fn one_that_waits_for_a_starter_ends_without_one() {
    for release in [false, true] {
        let (_folder, mut keeper) = keeper();
        keeper.handle(order(Role::Coordination));
        if release {
            keeper.handle(ToSpawner::Release { attempt: ATTEMPT });
        } else {
            let grace = Millis(60_000);
            keeper.handle(ToSpawner::Stop {
                attempt: ATTEMPT,
                grace,
            });
        }
        keeper.due();
        keeper.found_bare(&[ATTEMPT]);
        let told = told(&mut keeper);
        if release {
            assert_eq!(told, [FromSpawner::Released { attempt: ATTEMPT }]);
        } else {
            assert!(
                matches!(&told[..], [FromSpawner::Ended(record)] if record.outcome == AttemptOutcome::Stopped),
                "{told:?}"
            );
        }
        assert!(keeper.next_start().is_none());
    }
}

#[test]
fn the_lease_ends_one_that_runs() {
    let (_folder, mut keeper) = keeper();
    running(&mut keeper);
    keeper.handle(ToSpawner::Lease { until: BootTime::now() });
    let Due::Now(rounds) = keeper.due() else {
        panic!("it is to end")
    };
    assert!(rounds.measures.contains_key(&ATTEMPT));
    keeper.exited(PID, Ended::Signaled(15));
    assert_eq!(record(&mut keeper).outcome, AttemptOutcome::Fenced);
}

#[test]
fn the_lease_ends_what_one_left_and_then_no_program_is_started() {
    let (_folder, mut keeper) = keeper();
    running(&mut keeper);
    keeper.exited(PID, Ended::Exited(0));
    told(&mut keeper);
    keeper.handle(ToSpawner::Lease { until: BootTime::now() });
    let Due::Now(rounds) = keeper.due() else {
        panic!("it is to end")
    };
    assert!(rounds.measures.contains_key(&ATTEMPT));
    keeper.found_bare(&[ATTEMPT]);
    assert_eq!(keeper.attempts[&ATTEMPT].coordination, Coordination::Fenced);
    assert_eq!(told(&mut keeper), [], "its end is the primary's to tell");
    keeper.late_look = None;
    assert!(matches!(keeper.due(), Due::At(_)), "once is enough");
    // The node came back in time; but what the program counts on is gone.
    keeper.handle(ToSpawner::Lease {
        until: BootTime::now() + Millis(60_000),
    });
    keeper.handle(order(Role::Root));
    assert!(keeper.next_start().is_none());
    assert_eq!(record(&mut keeper).outcome, AttemptOutcome::Fenced);
}
