//! Commands that ask before they change, or in more than one question: pools, limits, schedules, reasons, job files.

use proto::client::{PoolView, UserUse};
use proto::ids::{NodeId, PoolName, ScheduleName};
use proto::model::limits::Limits;
use proto::model::pool::{Allocation, PoolRow, PoolSpec};
use proto::model::schedule::{Recurrence, ScheduleRow, ScheduleSpec, ScheduleState};
use proto::model::task::Request as Needs;
use proto::model::why::{NextEvent, Why};
use proto::units::Millis;

use super::*;

fn limits(cores: u32) -> Limits {
    Limits {
        running_jobs: Some(2),
        cores: Some(cores),
        queued_tasks: None,
    }
}

fn pool() -> Reply {
    let row = PoolRow {
        name: PoolName::new("p").expect("a name"),
        spec: PoolSpec {
            limits: limits(8),
            ..PoolSpec::default()
        },
        created_at: Timestamp(1),
        allocation: Allocation::Steady,
        resize_error: None,
        start_job: None,
        deleting: false,
    };
    let view = PoolView {
        row,
        nodes: vec![],
        ready: 0,
        slots: 0,
        slots_held: 0,
    };
    Reply::Pools { pools: vec![view] }
}

#[tokio::test]
async fn one_limit_is_changed_and_the_others_stay() {
    let head = Head::new(|request| match request {
        Request::ViewPool { .. } => vec![pool()],
        Request::ListLimits => vec![Reply::Limits {
            each: limits(64),
            users: vec![UserUse {
                user: "alice".to_owned(),
                limits: limits(16),
                own: true,
                running_jobs: 0,
                cores: 0,
                queued_tasks: 0,
            }],
        }],
        Request::SetPool { .. } | Request::SetLimits { .. } => done(),
        other => panic!("{other:?}"),
    });
    head.run("pool set p --max-cores 32").await.expect("an answer");
    let asked = head.asked();
    let Some(Request::SetPool { change, .. }) = asked.last() else {
        panic!("{asked:?}");
    };
    assert_eq!(change.limits, Some(limits(32)));
    head.run("pool set p --fill spread").await.expect("an answer");
    assert!(matches!(head.asked().last(), Some(Request::SetPool { change, .. }) if change.limits.is_none()));
    assert_eq!(head.asked().len(), 3, "what is not changed is not asked for");

    let mut set = Vec::new();
    for line in [
        "muster limit set --cores 1",
        "muster limit set --user alice --cores 1",
        "muster limit set --user bob --cores 1",
        "muster limit clear --user alice",
    ] {
        head.run(line).await.expect("an answer");
        match head.asked().pop() {
            Some(Request::SetLimits { user, limits }) => set.push((user.map(|user| user.to_string()), limits)),
            other => panic!("{other:?}"),
        }
    }
    let first = Limits {
        cores: Some(1),
        ..Limits::default()
    };
    let alice = || Some("alice".to_owned());
    assert_eq!(
        set,
        [
            (None, Some(limits(1))),
            (alice(), Some(limits(1))),
            (Some("bob".to_owned()), Some(first)),
            (alice(), None)
        ]
    );
}

#[tokio::test]
async fn a_schedule_is_asked_for_before_it_is_changed() {
    let head = Head::new(|request| match request {
        Request::ViewSchedule { name } => vec![Reply::Schedules {
            schedules: vec![ScheduleRow {
                name: name.clone(),
                owner: Owner {
                    name: "a".to_owned(),
                    uid: 1,
                    gid: 1,
                },
                spec: ScheduleSpec {
                    recurrence: Recurrence {
                        interval: Some(Millis::from_seconds(60)),
                        ..Recurrence::default()
                    },
                    job: JobSpec::default(),
                    tasks: vec![TaskSpec::of_command(vec!["x".to_owned()])],
                },
                state: ScheduleState::Active,
                created_at: Timestamp(1),
                next_run: None,
                recent_job: None,
                runs: 0,
                missed: 0,
                deleting: false,
            }],
        }],
        Request::ModifySchedule { .. } => done(),
        other => panic!("{other:?}"),
    });
    head.run("muster jobschedule modify --job-name z n")
        .await
        .expect("an answer");
    let asked = head.asked();
    let [Request::ViewSchedule { name }, Request::ModifySchedule { spec, .. }] = asked.as_slice() else {
        panic!("{asked:?}");
    };
    assert_eq!(*name, ScheduleName::new("n").expect("a name"));
    assert_eq!((spec.job.name.as_str(), spec.tasks.len()), ("z", 1));
    assert_eq!(spec.recurrence.interval, Some(Millis::from_seconds(60)));
}

#[tokio::test]
async fn reasons_name_their_nodes_and_tasks_are_asked_for_one_by_one() {
    let why = |job, task| Why {
        job,
        task,
        asked: Needs::Cores { count: 1 },
        nodes: 1,
        eligible: 1,
        eligible_slots: 1,
        free: 0,
        free_slots: 0,
        causes: [].into(),
        ahead: 0,
        held: None,
        next: Some(NextEvent::NodeReady { node: NodeId(4) }),
        expected_start: None,
        short_nodes: None,
    };
    let head = Head::new(move |request| {
        let (id, task) = match request {
            Request::WhyJob { job } => (*job, TaskId::new(*job, TaskNumber(1))),
            Request::WhyTask { task } => (task.job, *task),
            Request::ListNodes => return vec![Reply::Nodes { nodes: vec![] }],
            other => panic!("{other:?}"),
        };
        let Reply::Job { job } = job(id.0, JobState::Queued, 0) else {
            panic!("a job");
        };
        vec![Reply::Why {
            job,
            why: Some(Box::new(why(id, task))),
        }]
    });
    let answer = head.run("job why 3 4.2 4.3").await.expect("an answer");
    assert!(matches!(&answer, Answer::Many(all) if all.len() == 3), "{answer:?}");
    let asked = head.asked();
    assert_eq!(asked.len(), 4, "the names are asked for once: {asked:?}");
    assert!(matches!(&asked[1], Request::WhyTask { task } if task.to_string() == "4.2"));
    assert_eq!(asked[3], Request::ListNodes);
}

#[tokio::test]
async fn a_job_file_is_one_submission_and_a_new_job_gets_its_tasks() {
    let head = Head::new(|request| match request {
        Request::Submit { .. } | Request::NewJob { .. } => vec![Reply::Submitted {
            job: JobId(5),
            sequence: Sequence(1),
            repeated: false,
        }],
        Request::AddTasks { job, .. } => vec![Reply::Added {
            job: *job,
            first: TaskNumber(1),
            sequence: Sequence(2),
            repeated: false,
        }],
        Request::Rehearse { .. } => vec![Reply::Rehearsed {
            starts_now: true,
            nodes: vec![],
            why: None,
        }],
        other => panic!("{other:?}"),
    });
    head.run("job submit --job-file g.toml").await.expect("an answer");
    assert!(matches!(head.asked().as_slice(), [Request::Submit { tasks, .. }] if tasks.len() == 2));
    head.run("job new --job-file g.toml").await.expect("an answer");
    let asked = head.asked();
    assert!(
        matches!(&asked[1..], [Request::NewJob { .. }, Request::AddTasks { job: JobId(5), tasks, .. }] if tasks.len() == 2),
        "{asked:?}"
    );
    let answer = head
        .run("job submit --job-file g.toml --dry-run")
        .await
        .expect("an answer");
    assert!(matches!(answer, Answer::Rehearsed(rehearsed) if rehearsed.tasks == 2));
    let error = head.run("job submit --job-file h.toml").await.expect_err("no file");
    assert_eq!(error.to_string(), "h.toml: there is no h.toml");
}

#[tokio::test]
async fn a_job_is_viewed_with_its_tasks_on_nodes() {
    let head = Head::new(|request| match request {
        Request::ViewJob { .. } => {
            let Reply::Job { mut job } = job(5, JobState::Queued, 0) else {
                panic!("a job");
            };
            job.spec.release = Some(Box::new(TaskSpec::of_command(vec!["clean".to_owned()])));
            vec![Reply::Job { job }]
        }
        Request::ListTasks { job, after, .. } => {
            let id = TaskId {
                step: Some(Step(2)),
                ..TaskId::new(*job, TaskNumber::RELEASE)
            };
            assert!(after.is_some_and(|after| after < TaskId::new(*job, TaskNumber::PREPARATION)));
            vec![Reply::Tasks {
                tasks: vec![task(id, TaskOutcome::Finished)],
                names: vec![],
                more: false,
            }]
        }
        other => panic!("{other:?}"),
    });
    let answer = head.run("job view 5").await.expect("an answer");
    assert!(matches!(answer, Answer::JobOnNodes { tasks, .. } if tasks.len() == 1));
}

#[tokio::test]
async fn of_a_service_only_what_was_touched_is_counted() {
    let all = TaskCounts {
        queued: 9_999_984,
        running: 4,
        finished: 12,
        ..TaskCounts::default()
    };
    let head = Head::new(move |request| match request {
        Request::ViewJob { .. } => {
            let Reply::Job { mut job } = job(
                5,
                JobState::Running {
                    started_at: Timestamp(0),
                },
                0,
            ) else {
                panic!("a job");
            };
            job.counts = all;
            vec![Reply::Job { job }]
        }
        Request::LineTasks { job, .. } => {
            let step = TaskId {
                step: Some(Step(1)),
                ..TaskId::new(*job, TaskNumber(1))
            };
            let mut line = SweepLine::of(&task(step, TaskOutcome::Finished));
            let spec = Arc::make_mut(&mut line.spec);
            spec.kind = proto::model::task::TaskKind::Service;
            line.counts = all;
            vec![Reply::TaskLines {
                lines: vec![TaskLine::Sweep(Box::new(line))],
                names: vec![],
                more: false,
            }]
        }
        other => panic!("{other:?}"),
    });
    let answer = head.run("job view 5").await.expect("an answer");
    assert!(
        matches!(&answer, Answer::Job(job) if job.counts.total() == 16),
        "{answer:?}"
    );
}

#[tokio::test]
async fn a_new_pool_says_what_brings_its_nodes() {
    let head = Head::new(|_| {
        vec![Reply::Done {
            sequence: Sequence(1),
            notes: vec![],
        }]
    });
    let notes = head.run("pool create p --size 2").await.expect("an answer");
    assert!(
        matches!(&notes, Answer::Notes(notes) if notes.concat().contains("waits for 2 nodes; let them join")),
        "{notes:?}"
    );
    let notes = head.run("pool create p").await.expect("an answer");
    assert_eq!(notes, Answer::Notes(vec![]));
}

#[tokio::test]
async fn a_node_that_is_not_there_is_not_watched() {
    let head = Head::new(|request| match request {
        Request::ListNodes => vec![Reply::Nodes { nodes: vec![] }],
        other => panic!("{other:?}"),
    });
    let error = head.run("node watch n1").await.expect_err("refused");
    assert_eq!(error.exit(), Exit::NotFound);
}
