//! Commands of stories about the life of jobs, and about job schedules.
//!
//! ```text
//! > disable 1 wait | requeue | terminate     > enable 1     > terminate 1 reason=x     > delete 1
//! > schedule add NAME every=300 window=60 from=60 until=900    seconds from now; and words as in `submit`
//! > schedule modify NAME ...     > schedule disable | enable | terminate | delete NAME     > schedules
//! > away 600s              time passes and nobody is there to notice
//! words of a job:  wall=60 parents=1,2 parallel=2 manager=command keep shared prep=command release=command
//! ```
//!
//! As a shell does, they take parents that have finished and left memory out of what is asked.

use proptest::prelude::*;
use proto::event::Event;
use proto::ids::{JobId, ScheduleName, SubmissionId};
use proto::model::job::{DisableTasks, JobChange, JobSpec, JobState, Priority, SetTo};
use proto::model::owner::{Caller, Role};
use proto::model::role::{ManagerSpec, PreparationSpec};
use proto::model::schedule::{Recurrence, ScheduleAction, ScheduleRow, ScheduleSpec, ScheduleState};
use proto::model::sweep::Sweep;
use proto::model::task::{Interactive, Request, TaskSpec};
use proto::stored::{Change, Row, RowKey};
use proto::units::{Millis, Timestamp};
use scheduler::{Input, Settings, parent_is_met};

use crate::requests::refused;
use crate::scenario::Words;
use crate::world::{World, root, user};

/// What `submit`, `new` and `schedule` say about the life of a job.
pub(crate) fn read(words: &Words<'_>, job: &mut JobSpec, world: &World) {
    let task = |key: &str| words.value(key).map(|word| TaskSpec::of_command(vec![word.to_owned()]));
    job.max_wall_clock = seconds(words, "wall");
    job.parents = parents(words, world).unwrap_or_default();
    job.manager = task("manager").map(|task| {
        Box::new(ManagerSpec {
            task,
            kill_job_on_completion: !words.has("keep"),
            run_exclusive: !words.has("shared"),
        })
    });
}

/// What `modify` says about it.
pub(crate) fn change(words: &Words<'_>, world: &World) -> JobChange {
    JobChange {
        max_wall_clock: seconds(words, "wall").map(SetTo::Value),
        parents: parents(words, world),
        ..JobChange::default()
    }
}

/// The input of a command, if it is one of these. `wanted` is what its words ask for as in `submit`.
pub(crate) fn input(
    words: &Words<'_>,
    world: &World,
    wanted: impl FnOnce() -> (JobSpec, Vec<TaskSpec>),
) -> Option<Input> {
    let caller = words.caller();
    let job = || JobId(words.number(1));
    Some(match words.verb() {
        "disable" => Input::DisableJob {
            caller,
            job: job(),
            tasks: match words.rest(2).first().copied() {
                Some("requeue") => DisableTasks::Requeue,
                Some("terminate") => DisableTasks::Terminate,
                _ => DisableTasks::Wait,
            },
        },
        "enable" => Input::EnableJob { caller, job: job() },
        "terminate" => Input::TerminateJob {
            caller,
            job: job(),
            reason: words.value("reason").unwrap_or_default().to_owned(),
        },
        "delete" => Input::DeleteJob {
            caller,
            job: job(),
            stored: world.stored_job(job()),
        },
        "schedule" => {
            let name = ScheduleName::new(words.rest(2)[0]).expect("a name");
            let act = |action| Input::ActOnSchedule {
                caller: words.caller(),
                name: name.clone(),
                action,
            };
            match words.rest(1)[0] {
                "disable" => act(ScheduleAction::Disable),
                "enable" => act(ScheduleAction::Enable),
                "terminate" => act(ScheduleAction::Terminate),
                "delete" => act(ScheduleAction::Delete),
                verb => {
                    let (job, tasks) = wanted();
                    let recurrence = recurrence(words, world.now.wall);
                    let spec = Box::new(ScheduleSpec { recurrence, job, tasks });
                    match verb {
                        "add" => Input::AddSchedule { caller, name, spec },
                        _ => Input::ModifySchedule { caller, name, spec },
                    }
                }
            }
        }
        _ => return None,
    })
}

fn recurrence(words: &Words<'_>, now: Timestamp) -> Recurrence {
    Recurrence {
        do_not_run_until: seconds(words, "from").map(|span| now + span),
        do_not_run_after: seconds(words, "until").map(|span| now + span),
        start_window: seconds(words, "window"),
        interval: seconds(words, "every"),
    }
}

fn seconds(words: &Words<'_>, key: &str) -> Option<Millis> {
    let text = words.value(key)?;
    Some(Millis::from_seconds(text.parse().expect("seconds")))
}

/// As a shell reads them: without those that have finished and left memory.
fn parents(words: &Words<'_>, world: &World) -> Option<Vec<JobId>> {
    let ids = words.value("parents")?.split(',').filter(|id| *id != "none");
    let ids = ids.map(|id| JobId(id.parse().expect("a number")));
    Some(ids.filter(|id| !has_finished(world, *id)).collect())
}

fn has_finished(world: &World, id: JobId) -> bool {
    let stored = world.stored(&RowKey::Job(id));
    matches!(stored, Some(Row::Job(row)) if matches!(&row.state, JobState::Ended { outcome, .. } if parent_is_met(outcome)))
}

/// An event in words, when it is one of these.
pub(crate) fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::JobAdded {
            job,
            schedule: Some(schedule),
            ..
        } => format!("job {job} made by schedule {schedule}"),
        Event::JobDisabled { job } => format!("job {job} disabled"),
        Event::JobEnabled { job } => format!("job {job} enabled"),
        Event::JobDeleting { job } => format!("job {job} is to be deleted"),
        Event::JobDeleted { job } => format!("job {job} deleted"),
        Event::ScheduleChanged { schedule } => told(schedule),
        Event::ScheduleRemoved { schedule } => format!("schedule {schedule} removed"),
        _ => return None,
    })
}

/// All schedules.
pub(crate) fn schedules(world: &World) -> Vec<String> {
    world.cluster.schedules().map(told).collect()
}

/// Moments in seconds since the story began.
fn told(row: &ScheduleRow) -> String {
    let next = match row.next_run {
        Some(at) => format!("next at {}s", at.since(crate::world::EPOCH).0 / 1000),
        None => "no next".to_owned(),
    };
    let (state, runs, missed) = (row.state.word(), row.runs, row.missed);
    format!("schedule {} {state}: {runs} made, {missed} missed, {next}", row.name)
}

/// What random stories do to jobs and schedules.
#[derive(Debug, Clone)]
pub(crate) enum Life {
    Disable {
        job: u64,
        tasks: DisableTasks,
    },
    Enable {
        job: u64,
    },
    Terminate {
        job: u64,
    },
    Delete {
        job: u64,
    },
    Manage {
        tasks: usize,
        kill: bool,
        parent: Option<u64>,
        wall: bool,
    },
    Schedule {
        name: u8,
        minutes: u64,
        window: bool,
        once: bool,
    },
    Act {
        name: u8,
        action: ScheduleAction,
    },
}

pub(crate) fn life() -> impl Strategy<Value = Life> {
    let tasks = prop_oneof![
        Just(DisableTasks::Requeue),
        Just(DisableTasks::Terminate),
        Just(DisableTasks::Wait)
    ];
    let action = prop_oneof![
        Just(ScheduleAction::Disable),
        Just(ScheduleAction::Enable),
        Just(ScheduleAction::Terminate),
        Just(ScheduleAction::Delete),
    ];
    let job = 1..12u64;
    prop_oneof![
        2 => (job.clone(), tasks).prop_map(|(job, tasks)| Life::Disable { job, tasks }),
        2 => job.clone().prop_map(|job| Life::Enable { job }),
        1 => job.clone().prop_map(|job| Life::Terminate { job }),
        1 => job.clone().prop_map(|job| Life::Delete { job }),
        4 => (0..3usize, any::<bool>(), prop::option::of(job), any::<bool>())
            .prop_map(|(tasks, kill, parent, wall)| Life::Manage { tasks, kill, parent, wall }),
        2 => (0..2u8, 1..4u64, any::<bool>(), any::<bool>())
            .prop_map(|(name, minutes, window, once)| Life::Schedule { name, minutes, window, once }),
        1 => (0..2u8, action).prop_map(|(name, action)| Life::Act { name, action }),
    ]
}

impl Life {
    /// What is asked. Most of it names a job that is over or was never made, and is refused.
    pub(crate) fn input(&self, world: &World, submission: SubmissionId) -> Input {
        let caller = root();
        let named = |name: u8| ScheduleName::new(&format!("s{name}")).expect("a name");
        match *self {
            Self::Disable { job, tasks } => Input::DisableJob {
                caller,
                job: JobId(job),
                tasks,
            },
            Self::Enable { job } => Input::EnableJob {
                caller,
                job: JobId(job),
            },
            Self::Terminate { job } => Input::TerminateJob {
                caller,
                job: JobId(job),
                reason: String::new(),
            },
            Self::Delete { job } => Input::DeleteJob {
                caller,
                job: JobId(job),
                stored: world.stored_job(JobId(job)),
            },
            Self::Manage {
                tasks,
                kill,
                parent,
                wall,
            } => Input::Submit {
                caller: user("ann"),
                submission,
                job: Box::new(JobSpec {
                    manager: Some(Box::new(ManagerSpec {
                        task: command(),
                        kill_job_on_completion: kill,
                        run_exclusive: kill && wall,
                    })),
                    parents: parent
                        .map(JobId)
                        .into_iter()
                        .filter(|id| !has_finished(world, *id))
                        .collect(),
                    max_wall_clock: wall.then(|| Millis::from_seconds(100)),
                    ..JobSpec::default()
                }),
                tasks: vec![command(); tasks],
            },
            Self::Schedule {
                name,
                minutes,
                window,
                once,
            } => {
                let name = named(name);
                let recurrence = Recurrence {
                    interval: (!once).then(|| Millis::from_seconds(60 * minutes)),
                    start_window: window.then(|| Millis::from_seconds(90)),
                    ..Recurrence::default()
                };
                let spec = Box::new(ScheduleSpec {
                    recurrence,
                    job: JobSpec::default(),
                    tasks: vec![command()],
                });
                match world.cluster.schedule(&name) {
                    None => Input::AddSchedule { caller, name, spec },
                    Some(_) => Input::ModifySchedule { caller, name, spec },
                }
            }
            Self::Act { name, action } => Input::ActOnSchedule {
                caller,
                name: named(name),
                action,
            },
        }
    }
}

fn command() -> TaskSpec {
    let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
    task.request = Request::Cores { count: 1 };
    task
}

/// At the end of a random story: no schedule makes further jobs.
pub(crate) fn end_schedules(world: &World) -> Vec<Input> {
    let going = |row: &&ScheduleRow| !matches!(row.state, ScheduleState::Completed { .. });
    let end = |row: &ScheduleRow| Input::ActOnSchedule {
        caller: root(),
        name: row.name.clone(),
        action: ScheduleAction::Terminate,
    };
    world.cluster.schedules().filter(going).map(end).collect()
}

fn asks(change: impl FnOnce(&mut JobSpec)) -> Input {
    let mut job = JobSpec::default();
    change(&mut job);
    Input::Submit {
        caller: user("ann"),
        submission: SubmissionId(1),
        job: Box::new(job),
        tasks: vec![command()],
    }
}

fn manager(task: TaskSpec) -> Option<Box<ManagerSpec>> {
    Some(Box::new(ManagerSpec {
        task,
        kill_job_on_completion: true,
        run_exclusive: true,
    }))
}

#[test]
fn the_own_tasks_of_a_job_are_plain_and_checked() {
    let mut world = World::new(Settings::default());
    let with = |change: fn(&mut TaskSpec)| {
        let mut task = command();
        change(&mut task);
        task
    };
    let managed = |task| asks(|job| job.manager = manager(task));
    let released = |task| asks(|job| job.release = Some(Box::new(task)));
    let interactive = with(|task| task.interactive = Some(Interactive { terminal: true }));
    let swept = with(|task| task.sweep = Some(Sweep::new(1, 9, 1).expect("a sweep")));
    let empty = with(|task| task.command.clear());
    let dependent = with(|task| task.depends_on = vec!["a".to_owned()]);
    let long = with(|task| task.runtime_limit = Some(Millis::from_seconds(901)));
    let large = with(|task| task.script = Some("x".repeat(40 << 10)));
    let both = asks(|job| {
        job.manager = manager(large.clone());
        job.release = Some(Box::new(large.clone()));
    });
    for (input, says) in [
        (managed(interactive), "the job manager task is to be interactive"),
        (managed(swept), "the job manager task is to be a sweep"),
        (managed(empty), "job manager task: the command is empty"),
        (
            released(dependent),
            "the job release task is to be dependent on other tasks",
        ),
        (released(long), "may run for 15m 1s, and 15m 0s is the most"),
        (both, "bytes together, and 65536 are the most"),
    ] {
        refused(&mut world, &input, says);
    }
    let enough = with(|task| task.runtime_limit = Some(Millis::from_seconds(900)));
    let taken = world.round(&released(enough)).answer;
    taken.expect("a release task without a preparation task is taken, as in HPC Pack");
}

#[test]
fn parents_are_bounded_and_longest_reasons_too() {
    let mut world = World::new(Settings::default());
    world.round(&asks(|_| {})).answer.expect("a job");
    let job = JobId(1);
    let many = asks(|wishes| wishes.parents = vec![job; 65]);
    let Input::Submit { job: spec, tasks, .. } = many else {
        unreachable!("it is a submission");
    };
    let many = Input::Submit {
        caller: user("ann"),
        submission: SubmissionId(2),
        job: spec,
        tasks,
    };
    refused(&mut world, &many, "65 parent jobs are named, and 64 are the most");
    let terminate = |reason: String| Input::TerminateJob {
        caller: user("ann"),
        job,
        reason,
    };
    let long = terminate("x".repeat(129));
    refused(&mut world, &long, "the reason has 129 bytes, and 128 are the most");
    world.round(&terminate("x".repeat(128))).answer.expect("ended");
}

/// A job that is over: what a shell would have to write is one deletion, and that of its submission.
#[test]
fn a_deleted_job_is_one_change() {
    let mut world = World::new(Settings::default());
    world.round(&asks(|_| {})).answer.expect("a job");
    let delete = Input::DeleteJob {
        caller: user("ann"),
        job: JobId(1),
        stored: None,
    };
    let decision = scheduler::decide(&world.cluster, &delete, world.now).expect("it is deleted");
    for event in &decision.events {
        world.cluster.apply(event);
    }
    let changes = world.cluster.take_changes();
    let of_job: Vec<&Change> = changes
        .iter()
        .filter(|change| !matches!(change, Change::Put(Row::Meta(_))))
        .collect();
    let submission = Change::Delete(RowKey::Submission(SubmissionId(1)));
    assert_eq!(of_job, [&Change::DeleteJob(JobId(1)), &submission]);
}

fn schedule(name: &str, caller: Caller) -> Input {
    let spec = ScheduleSpec {
        recurrence: Recurrence::default(),
        job: JobSpec::default(),
        tasks: vec![command()],
    };
    Input::AddSchedule {
        caller,
        name: ScheduleName::new(name).expect("a name"),
        spec: Box::new(spec),
    }
}

#[test]
fn schedules_are_bounded_and_their_owners() {
    let mut world = World::new(Settings::default());
    for number in 0..10_000 {
        let add = schedule(&format!("s{number}"), user("ann"));
        let decision = scheduler::decide(&world.cluster, &add, world.now).expect("a schedule");
        decision.events.iter().for_each(|event| world.cluster.apply(event));
    }
    let decide = |input: &Input| scheduler::decide(&world.cluster, input, world.now);
    let refusal = decide(&schedule("more", user("ann"))).expect_err("too many");
    assert!(
        refusal.to_string().starts_with("there are 10000 job schedules"),
        "{refusal}"
    );
    let mut node = user("ann");
    node.role = Role::Node;
    let refusal = decide(&schedule("more", node)).expect_err("a node has none");
    assert!(refusal.to_string().starts_with("a node submits no jobs"), "{refusal}");
    let mut operator = user("olga");
    operator.role = Role::Operator;
    let Input::AddSchedule { caller, name, mut spec } = schedule("s1", operator) else {
        unreachable!("it is an addition");
    };
    spec.job.name = "mine".to_owned();
    let modify = Input::ModifySchedule { caller, name, spec };
    let refusal = decide(&modify).expect_err("it would run as its owner");
    assert!(refusal.to_string().contains("its jobs run as 'ann'"), "{refusal}");
}

/// What an operator may change of others' jobs never brings a command that would run as their owner.
#[test]
fn only_the_owner_gives_a_job_commands() {
    let mut world = World::new(Settings::default());
    world.round(&asks(|_| {})).answer.expect("a job");
    let mut operator = user("olga");
    operator.role = Role::Operator;
    let modify = |caller: &Caller, change: JobChange| Input::ModifyJob {
        caller: caller.clone(),
        job: JobId(1),
        change: Box::new(change),
    };
    let prepare = || JobChange {
        preparation: Some(SetTo::Value(Box::new(PreparationSpec {
            task: command(),
            wait_for_success: true,
            rerun_after_reboot: false,
        }))),
        ..JobChange::default()
    };
    let release = || JobChange {
        release: Some(SetTo::Value(Box::new(command()))),
        ..JobChange::default()
    };
    for change in [prepare(), release()] {
        refused(
            &mut world,
            &modify(&operator, change),
            "'olga' may not give commands to job 1: it would run as 'ann'",
        );
    }
    let hold = JobChange {
        priority: Some(Priority::new(5).expect("in range")),
        ..JobChange::default()
    };
    world.round(&modify(&operator, hold)).answer.expect("no command");
    world.round(&modify(&user("ann"), prepare())).answer.expect("her own");
}
