//! Disabled and terminated jobs, what holds things up, nodes with errands, pools, limits and schedules.

use proto::client::UserUse;
use proto::ids::{BootId, ResourceName, ScheduleName};
use proto::model::limits::Limits;
use proto::model::node::{NodeErrand, NodeErrandKind, NodeStart, StartState};
use proto::model::role::{PreparationSpec, StartTaskSpec};
use proto::model::schedule::{Recurrence, ScheduleRow, ScheduleSpec, ScheduleState};
use proto::model::why::{Hold, LimitKind};

use super::*;
use crate::answer::UserLimitsAnswer;

fn ended(outcome: JobOutcome) -> JobRow {
    let mut row = job(
        3,
        JobState::Ended {
            started_at: Some(NOON),
            ended_at: NOON + Millis(12_000),
            outcome,
        },
    );
    row.counts = TaskCounts {
        finished: 3,
        ..TaskCounts::default()
    };
    row
}

fn terminated(by: &str, reason: &str) -> JobRow {
    ended(JobOutcome::Terminated {
        by: by.into(),
        reason: reason.into(),
    })
}

#[test]
fn a_terminated_job_says_by_whom_and_whether_it_went_well() {
    let told = |row: &JobRow| out(&Answer::Waited(Box::new(row.clone())), Form::Table);
    let exit = |row: &JobRow| Answer::Waited(Box::new(row.clone())).exit().code();
    let by_hand = terminated("bob", "UserTerminate");
    assert_eq!(told(&by_hand), "job 3: Terminated after 12s: terminated by bob\n");
    assert_eq!(exit(&by_hand), 1);
    let said = terminated("bob", "converged");
    assert_eq!(
        told(&said),
        "job 3: Terminated after 12s: terminated by bob: converged\n"
    );
    let by_manager = terminated("", "JMComplete");
    assert_eq!(
        told(&by_manager),
        "job 3: Terminated after 12s: its manager task is over\n"
    );
    assert_eq!(exit(&by_manager), 0);
    let mut badly = by_manager;
    badly.counts.failed = 1;
    assert_eq!(exit(&badly), 1);
    assert_eq!(exit(&terminated("", "MaxWallClockTimeExpiry")), 1);
}

#[test]
fn a_job_with_all_its_parts() {
    let mut row = job(3, JobState::Disabled { started_at: None });
    let task = |text: &str| TaskSpec::of_command(text.split(' ').map(str::to_owned).collect());
    row.spec.parents = vec![JobId(1), JobId(2)];
    row.spec.preparation = Some(Box::new(PreparationSpec {
        task: task("stage-in x"),
        wait_for_success: true,
        rerun_after_reboot: false,
    }));
    row.spec.release = Some(Box::new(task("stage-out")));
    row.schedule = ScheduleName::new("nightly").ok();
    let text = out(&Answer::Job(Box::new(row.clone())), Form::List);
    for part in [
        "State           : Disabled\n",
        "After jobs      : 1, 2\n",
        "Preparation     : stage-in x; once for each node\n",
        "Release         : stage-out\n",
        "Schedule        : nightly\n",
    ] {
        assert!(text.contains(part), "{part}{text}");
    }
    row.counts = TaskCounts::default();
    row.state = JobState::Canceling {
        started_at: Some(NOON),
        outcome: JobOutcome::Finished,
    };
    let text = out(&Answer::Job(Box::new(row)), Form::Table);
    assert!(
        text.contains(" : Finishing\n") && text.contains("its release tasks run"),
        "{text}"
    );
}

#[test]
fn a_job_says_how_far_its_tasks_on_nodes_are() {
    let on = |number, node, outcome| {
        let mut row = task(outcome, None);
        row.id = TaskId {
            step: Some(Step(node)),
            ..TaskId::new(JobId(3), number)
        };
        row
    };
    let cause = AttemptOutcome::Exited { code: 3 };
    let answer = Answer::JobOnNodes {
        job: Box::new(job(3, JobState::Queued)),
        tasks: vec![
            on(TaskNumber::PREPARATION, 1, TaskOutcome::Finished),
            on(TaskNumber::PREPARATION, 2, TaskOutcome::Failed { cause }),
            on(TaskNumber::RELEASE, 1, TaskOutcome::Finished),
        ],
        names: names(),
    };
    let text = out(&answer, Form::Table);
    assert!(
        text.ends_with("Prepared nodes  : 1 Failed, 1 Finished; failed on node2\nReleased nodes  : 1 Finished\n"),
        "{text}"
    );
    let value: serde_json::Value = serde_json::from_str(&out(&answer, Form::Json)).expect("JSON");
    assert_eq!(value["node_tasks"][1]["id"], "3.prep.2");
}

#[test]
fn a_wide_list_of_jobs_says_what_they_wait_for() {
    let answer = Answer::Jobs {
        jobs: vec![job(3, JobState::Queued), job(4, JobState::Queued)],
        more: false,
        among: Among::OwnLive,
        whys: vec![why(Request::Cores { count: 1 })],
    };
    let text = out(&answer, Form::Wide);
    let ends: Vec<&str> = text.lines().filter_map(|line| line.rsplit("  ").next()).collect();
    assert_eq!(ends, ["Waits for", "1 task before it", "-"], "{text}");
    let value: serde_json::Value = serde_json::from_str(&out(&answer, Form::Json)).expect("JSON");
    assert_eq!(value[0]["why"]["ahead"], 1);
    assert!(value[1].get("why").is_none());
}

#[test]
fn what_holds_a_task_up_says_what_to_type() {
    let told = |held: Hold| {
        let held = Why {
            held: Some(held),
            next: Some(NextEvent::NodeReady { node: NodeId(2) }),
            ..why(Request::Cores { count: 1 })
        };
        let answer = Answer::Why {
            job: Box::new(job(3, JobState::Queued)),
            why: Some(Box::new(held)),
            names: names(),
        };
        out(&answer, Form::Table)
    };
    let pool = PoolName::new("gpu").expect("a name");
    let resource = ResourceName::new("gpu").expect("a name");
    for (held, part) in [
        (Hold::Disabled, "is disabled; 'job enable 3' lets it go on"),
        (
            Hold::Parents {
                jobs: vec![JobId(1), JobId(2)],
            },
            "waits for jobs 1, 2 to finish; see 'job why 1'",
        ),
        (
            Hold::TaskNumbers { first: id(), count: 3 },
            "depends on task 3.1 and 2 others, which have not ended well",
        ),
        (
            Hold::UserLimit {
                user: "alice".into(),
                limit: LimitKind::Cores,
                most: 128,
            },
            "a limit of user alice: 128 cores at a time; see 'muster limit list'",
        ),
        (
            Hold::PoolLimit {
                pool,
                limit: LimitKind::RunningJobs,
                most: 1,
            },
            "a limit of pool gpu: 1 running job at a time; see 'pool view gpu'",
        ),
        (
            Hold::Parallel { most: 2 },
            "the job runs 2 tasks at a time; 'job modify 3",
        ),
        (
            Hold::Preparing {
                nodes: vec![NodeId(1), NodeId(7)],
            },
            "preparation task runs first on node1, #7; see 'task list 3'",
        ),
        (
            Hold::NoSuchResource { resource },
            "needs the resource gpu, and no node has any",
        ),
        (Hold::Until { at: NOON }, "is held until 2026-11-21 12:00:00;"),
    ] {
        let text = told(held);
        assert!(text.contains(part), "{part}: {text}");
        assert!(
            text.ends_with("\n  next: node node2 is ready; see 'node view node2'\n"),
            "{text}"
        );
    }
}

#[test]
fn a_node_that_has_things_to_do() {
    let mut view = node("node1", AdminState::Draining, Liveness::Up { since: NOON });
    let row = &mut view.row;
    row.drain = Deallocation::RetainedData;
    row.retained_until = Some(NOON);
    row.start = Some(NodeStart {
        boot: BootId(7),
        state: StartState::Failed {
            reason: "exit code 3".into(),
        },
        wait_for_success: true,
    });
    row.errand = Some(NodeErrand {
        kind: NodeErrandKind::Reboot,
        asked_at: NOON,
        sent: false,
        admin: AdminState::Online,
    });
    let has = row.inventory.as_mut().expect("an inventory");
    has.resources = [(ResourceName::new("gpu").expect("a name"), 2)].into();
    has.tags = [GroupName::new("fast").expect("a name")].into();
    let text = out(&Answer::Node(Box::new(view.clone())), Form::Table);
    for part in [
        " : retaineddata (its tasks go on to their end, and their files are kept)\n",
        " : failed: exit code 3\n",
        " : reboot, asked 2026-11-21 12:00:00; when it holds nothing any more\n",
        "Resources        : gpu:2\n",
        "Tags             : fast\n",
    ] {
        assert!(text.contains(part), "{part}{text}");
    }
    let wide = out(&Answer::Nodes(vec![view]), Form::Wide);
    assert!(
        wide.contains("failed: exit code 3  reboot  retaineddata  gpu:2") && wide.contains("Kept until"),
        "{wide}"
    );
}

#[test]
fn pools_with_what_was_asked_of_them() {
    let spec = PoolSpec {
        slots_per_node: Some(4),
        wanted: Some(8),
        inter_node: false,
        start_task: Some(Box::new(StartTaskSpec {
            task: TaskSpec::of_command(vec!["setup".into()]),
            wait_for_success: false,
        })),
        limits: Limits {
            cores: Some(64),
            ..Limits::default()
        },
        ..PoolSpec::default()
    };
    let view = PoolView {
        row: PoolRow {
            name: PoolName::new("gpu").expect("a name"),
            spec,
            created_at: NOON,
            allocation: Allocation::Resizing {
                until: NOON,
                option: Deallocation::Requeue,
            },
            resize_error: Some("2 nodes are missing".into()),
            start_job: Some(JobId(9)),
            deleting: false,
        },
        nodes: vec![],
        ready: 0,
        slots: 0,
        slots_held: 0,
    };
    let text = out(&Answer::Pool(Box::new(view.clone())), Form::Table);
    for part in [
        " : Resizing\n",
        " : 0, wanted: 8\n",
        " : no: each task on one node\n",
        " : 64 cores\n",
        " : until 2026-11-21 12:00:00 (requeue)\n",
        " : 2 nodes are missing\n",
        " : setup; tasks do not wait for it\n",
        " : task list 9 --expand\n",
    ] {
        assert!(text.contains(part), "{part}{text}");
    }
    let wide = out(&Answer::Pools(vec![view.clone()]), Form::Wide);
    assert!(
        wide.contains("gpu   Resizing      0       8") && wide.contains("64 cores"),
        "{wide}"
    );
    let value: serde_json::Value = serde_json::from_str(&out(&Answer::Pools(vec![view]), Form::Json)).expect("JSON");
    assert_eq!((&value[0]["name"], &value[0]["ready"]), (&"gpu".into(), &0.into()));
}

#[test]
fn limits_beside_what_is_used() {
    let limits = Limits {
        cores: Some(128),
        ..Limits::default()
    };
    let answer = Answer::Limits(Box::new(UserLimitsAnswer {
        each: Limits::default(),
        users: vec![UserUse {
            user: "alice".into(),
            limits,
            own: true,
            running_jobs: 2,
            cores: 64,
            queued_tasks: 5,
        }],
    }));
    assert_eq!(
        out(&answer, Form::Table),
        "\
User    Limits        Running jobs      Cores  Queued tasks
(each)  of everybody             -          -             -
alice   own                 2 of -  64 of 128        5 of -
"
    );
    assert_eq!(out(&answer, Form::Quiet), "alice\n");
    let value: serde_json::Value = serde_json::from_str(&out(&answer, Form::Json)).expect("JSON");
    assert_eq!(value["users"][0]["limits"]["cores"], 128);
}

#[test]
fn schedules_and_their_next_jobs() {
    let row = ScheduleRow {
        name: ScheduleName::new("nightly").expect("a name"),
        owner: Owner {
            name: "alice".into(),
            uid: 1,
            gid: 1,
        },
        spec: ScheduleSpec {
            recurrence: Recurrence {
                interval: Some(Millis::from_seconds(86_400)),
                ..Recurrence::default()
            },
            job: JobSpec::default(),
            tasks: vec![TaskSpec::of_command(vec!["report".into()]); 3],
        },
        state: ScheduleState::Active,
        created_at: NOON,
        next_run: Some(NOON),
        recent_job: Some(JobId(7)),
        runs: 2,
        missed: 1,
        deleting: false,
    };
    assert_eq!(
        out(&Answer::Schedules(vec![row.clone()]), Form::Table),
        "\
Schedule  Owner  State   Every  Next                 Runs  Missed  Last job  Command
nightly   alice  Active  1d 0h  2026-11-21 12:00:00     2       1         7  report and 2 more
"
    );
    let text = out(&Answer::Schedule(Box::new(row.clone())), Form::Table);
    assert!(text.contains("Next run  : 2026-11-21 12:00:00\n"), "{text}");
    assert_eq!(out(&Answer::Schedules(vec![row.clone()]), Form::Quiet), "nightly\n");
    let value: serde_json::Value =
        serde_json::from_str(&out(&Answer::Schedule(Box::new(row)), Form::Json)).expect("JSON");
    assert_eq!(value["status"], "Active");
    let none = render(&Answer::Schedules(vec![]), &look(Form::Table));
    assert!(none.err.contains("jobschedule add"), "{}", none.err);
}
