//! What a follower is told, in which order, and when it ends.

use proto::ids::{JobId, TaskNumber};

use super::*;

fn id(number: u32) -> TaskId {
    TaskId::new(JobId(1), TaskNumber(number))
}

fn task(number: u32, stage: Stage, attempt: u64) -> TaskStage {
    TaskStage {
        task: id(number),
        stage,
        last: (attempt > 0).then_some((AttemptId(attempt), NodeId(1))),
    }
}

fn steps(plan: &mut Plan) -> Vec<String> {
    std::iter::from_fn(|| plan.next_step())
        .map(|step| match step {
            Step::Open(open) => format!(
                "open {}/{} {:?}",
                open.task,
                open.attempt,
                open.place.resume(open.from).0
            ),
            Step::End { task, attempt, .. } => format!("end {task}/{attempt}"),
        })
        .collect()
}

#[test]
fn without_follow_everything_is_told_once_in_order() {
    let mut plan = Plan::new(FollowFrom::Start, false, false);
    let tasks = [
        task(1, Stage::Over, 11),
        task(2, Stage::Running, 12),
        task(3, Stage::Waiting, 0),
        task(4, Stage::Over, 0),
    ];
    plan.begin(false, &tasks);
    assert_eq!(steps(&mut plan), ["open 1.1/11 Start", "open 1.2/12 Start"]);
    assert!(!plan.is_done());
    let now = Instant::now();
    assert!(!plan.closed(id(2), Outcome::Drained, Place::default(), now));
    assert!(
        plan.closed(id(1), Outcome::Lost, Place::default(), now),
        "told as unreachable"
    );
    assert_eq!(steps(&mut plan), ["end 1.2/12", "end 1.1/11"]);
    assert!(plan.is_done());
}

#[test]
fn what_runs_goes_first_and_the_rest_waits_for_places() {
    let mut plan = Plan::new(FollowFrom::Start, true, false);
    let mut tasks: Vec<TaskStage> = (1..=300).map(|n| task(n, Stage::Over, u64::from(n))).collect();
    tasks.push(task(301, Stage::Running, 301));
    plan.begin(false, &tasks);
    let opened = steps(&mut plan);
    assert_eq!(opened.len(), MAX_OPEN);
    assert_eq!(opened[0], "open 1.301/301 Start");
    plan.closed(id(1), Outcome::Drained, Place::default(), Instant::now());
    assert_eq!(steps(&mut plan), ["end 1.1/1", "open 1.192/192 Start"]);
}

#[test]
fn a_try_ends_when_its_last_byte_and_its_end_are_known_and_the_next_is_told_from_its_start() {
    let from = FollowFrom::Last { bytes: 5 };
    let mut plan = Plan::new(from, true, true);
    plan.begin(false, &[task(1, Stage::Running, 7)]);
    assert_eq!(steps(&mut plan), ["open 1.1/7 Last { bytes: 5 }"]);
    // The node has sent all before the head node heard of the end.
    plan.closed(id(1), Outcome::Drained, Place::default(), Instant::now());
    assert!(steps(&mut plan).is_empty());
    plan.see_job(false, &[task(1, Stage::Waiting, 7)]);
    assert_eq!(steps(&mut plan), ["end 1.1/7"]);
    assert!(!plan.is_done(), "it will be tried again");
    plan.see_job(false, &[task(1, Stage::Starting, 8)]);
    assert!(steps(&mut plan).is_empty(), "nothing to read yet");
    plan.see_job(false, &[task(1, Stage::Running, 8)]);
    assert_eq!(steps(&mut plan), ["open 1.1/8 Start"]);
    plan.see_job(true, &[task(1, Stage::Over, 8)]);
    assert!(steps(&mut plan).is_empty() && !plan.is_done());
    plan.closed(id(1), Outcome::Drained, Place::default(), Instant::now());
    assert_eq!(steps(&mut plan), ["end 1.1/8"]);
    assert!(plan.is_done());
    plan.see_job(true, &[task(1, Stage::Over, 8)]);
    assert!(steps(&mut plan).is_empty() && plan.is_done(), "told once");
}

#[test]
fn all_tasks_of_a_job_are_followed_until_the_job_is_over_and_new_ones_too() {
    let mut plan = Plan::new(FollowFrom::Start, true, false);
    plan.begin(false, &[]);
    assert!(!plan.is_done(), "the job is not over");
    plan.see_job(false, &[task(1, Stage::Running, 1)]);
    assert_eq!(steps(&mut plan), ["open 1.1/1 Start"]);
    plan.see_job(true, &[task(1, Stage::Over, 1), task(2, Stage::Over, 0)]);
    assert!(!plan.is_done());
    plan.closed(id(1), Outcome::Drained, Place::default(), Instant::now());
    assert_eq!(steps(&mut plan), ["end 1.1/1"]);
    assert!(plan.is_done());
}

#[test]
fn a_node_that_comes_back_goes_on_where_it_was() {
    let mut plan = Plan::new(FollowFrom::Start, true, true);
    plan.begin(false, &[task(1, Stage::Running, 1)]);
    steps(&mut plan);
    let start = Instant::now();
    let mut place = Place::default();
    place.told(TaskFile::Stdout, 100);
    assert!(
        plan.closed(id(1), Outcome::Lost, place, start),
        "the first time is told"
    );
    let soon = start + Duration::from_millis(600);
    plan.retry(soon, |_| false);
    assert!(steps(&mut plan).is_empty());
    assert_eq!(plan.deadline(soon), None, "the return of the node is news enough");
    plan.retry(soon, |_| true);
    assert_eq!(steps(&mut plan), ["open 1.1/1 At { stdout: 100, stderr: 0 }"]);
    assert!(
        !plan.closed(id(1), Outcome::Lost, place, soon),
        "still the same trouble"
    );
    plan.retry(soon + Duration::from_millis(600), |_| true);
    assert!(steps(&mut plan).is_empty(), "it waits longer now");
    plan.retry(soon + Duration::from_millis(1100), |_| true);
    assert_eq!(steps(&mut plan).len(), 1);
    place.told(TaskFile::Stdout, 150);
    assert!(
        plan.closed(id(1), Outcome::Lost, place, soon),
        "another trouble after some output"
    );
}

#[test]
fn the_node_of_a_task_that_is_over_is_waited_for_only_so_long() {
    let mut plan = Plan::new(FollowFrom::Start, true, true);
    plan.begin(true, &[task(1, Stage::Over, 1)]);
    steps(&mut plan);
    let start = Instant::now();
    plan.closed(id(1), Outcome::Lost, Place::default(), start);
    let end = start + PATIENCE;
    assert_eq!(plan.deadline(start + Duration::from_secs(1)), Some(end));
    plan.retry(start + Duration::from_secs(1), |_| false);
    assert!(!plan.is_done());
    plan.retry(end, |_| false);
    assert_eq!(steps(&mut plan), ["end 1.1/1"]);
    assert!(plan.is_done());
}

#[test]
fn a_try_that_was_lost_with_its_node_ends_when_the_task_moves_on() {
    let mut plan = Plan::new(FollowFrom::Start, true, true);
    plan.begin(false, &[task(1, Stage::Running, 1)]);
    steps(&mut plan);
    plan.closed(id(1), Outcome::Lost, Place::default(), Instant::now());
    assert!(steps(&mut plan).is_empty(), "it may come back");
    plan.see_job(false, &[task(1, Stage::Running, 2)]);
    assert_eq!(steps(&mut plan), ["end 1.1/1", "open 1.1/2 Start"]);
}

#[test]
fn places_resume_and_take_away_what_was_told() {
    let last = FollowFrom::Last { bytes: 10 };
    let mut place = Place::default();
    assert_eq!(place.resume(last), (last, false));
    place.told(TaskFile::Stdout, 20);
    assert_eq!(place.resume(last), (last, true), "where stderr began is not known");
    let piece = |offset, text: &str| Piece {
        file: TaskFile::Stdout,
        offset,
        bytes: text.as_bytes().to_vec(),
        rank: None,
        on: None,
    };
    assert_eq!(place.unseen(piece(10, "0123456789")), None);
    assert_eq!(place.unseen(piece(18, "89ab")), Some(piece(20, "ab")));
    assert_eq!(place.unseen(piece(30, "x")), Some(piece(30, "x")));
    place.told(TaskFile::Stderr, 3);
    let at = FollowFrom::At { stdout: 20, stderr: 3 };
    assert_eq!(place.resume(last), (at, false));
    let given = FollowFrom::At { stdout: 5, stderr: 6 };
    assert_eq!(Place::default().resume(given), (given, false));
}
