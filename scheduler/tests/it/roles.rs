//! What a story's `submit` says about tasks of the job itself, and about gangs that coordinate.
//!
//! ```text
//! prep=COMMAND prepretries=1 nowait once norerunprep     the preparation task; it need not end well; once for all lives
//! release=COMMAND releaselimit=60                        the release task
//! coord=COMMAND                                          the task's coordination command
//! ```

use proptest::prelude::*;
use proto::control::{Order, Report, StartOrder};
use proto::event::Event;
use proto::ids::{BootId, JobId, SubmissionId};
use proto::model::exit::Retries;
use proto::model::job::{JobKind, JobSpec};
use proto::model::role::{MAX_RELEASE_TIME, PreparationSpec, TaskRole};
use proto::model::task::{AttemptOutcome, Request, TaskSpec};
use proto::units::Millis;
use scheduler::{Action, Input, Settings};

use crate::scenario::Words;
use crate::world::{Round, World, hello, user};

pub(crate) fn read(words: &Words<'_>, job: &mut JobSpec, task: &mut TaskSpec) {
    let command = |key: &str| words.value(key).map(|word| vec![word.to_owned()]);
    let number = |key: &str| words.value(key).map(|text| text.parse::<u32>().expect("a number"));
    job.preparation = command("prep").map(|command| {
        let mut task = TaskSpec::of_command(command);
        task.max_retries = number("prepretries").map(Retries::AtMost);
        task.rerunnable = !words.has("norerunprep");
        Box::new(PreparationSpec {
            task,
            wait_for_success: !words.has("nowait"),
            rerun_after_reboot: !words.has("once"),
        })
    });
    job.release = command("release").map(|command| {
        let mut task = TaskSpec::of_command(command);
        task.runtime_limit = number("releaselimit").map(|seconds| Millis::from_seconds(u64::from(seconds)));
        Box::new(task)
    });
    task.coordination = command("coord");
}

/// What the jobs of random stories want of their nodes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Roles {
    preparation: Option<[bool; 3]>,
    release: bool,
    coordination: bool,
}

pub(crate) fn roles() -> impl Strategy<Value = Roles> {
    let preparation = prop::option::weighted(0.3, prop::array::uniform3(any::<bool>()));
    (preparation, prop::bool::weighted(0.3), prop::bool::weighted(0.2)).prop_map(
        |(preparation, release, coordination)| Roles {
            preparation,
            release,
            coordination,
        },
    )
}

impl Roles {
    pub(crate) fn write(&self, job: &mut JobSpec, task: &mut TaskSpec) {
        let command = |word: &str| TaskSpec::of_command(vec![word.to_owned()]);
        if job.kind != JobKind::Batch {
            return;
        }
        job.preparation = self.preparation.map(|[waits, again, rerunnable]| {
            let mut task = command("unpack");
            task.rerunnable = rerunnable;
            Box::new(PreparationSpec {
                task,
                wait_for_success: waits,
                rerun_after_reboot: again,
            })
        });
        job.release = self.release.then(|| Box::new(command("clean")));
        let several = matches!(task.request, Request::Nodes { .. });
        task.coordination = (self.coordination && several).then(|| vec!["listen".to_owned()]);
    }
}

/// A release task that is asked for while the job runs is due where the job was.
#[test]
fn a_late_release_knows_where_its_job_was() {
    let mut world = World::new(Settings::default());
    let node = world.join("n0", "p", &[]);
    world.node_up(hello("n0", 4, 1)).answer.expect("a hello");
    let input = Input::Submit {
        caller: user("ann"),
        submission: SubmissionId(1),
        job: Box::default(),
        tasks: vec![TaskSpec::of_command(vec!["true".to_owned()])],
    };
    world.round(&input).answer.expect("a job");
    let release = Some(Box::new(TaskSpec::of_command(vec!["clean".to_owned()])));
    let spec = JobSpec {
        release,
        ..JobSpec::default()
    };
    world.cluster.apply(&Event::JobModified {
        job: JobId(1),
        spec: Box::new(spec),
        progress: None,
    });
    let job = world.cluster.job(JobId(1)).expect("a job");
    assert_eq!(job.touched_nodes, [node].into());
}

fn start_of(round: &Round) -> &StartOrder {
    let start = round.actions.iter().find_map(|action| match action {
        Action::Order {
            order: Order::Start(start),
            ..
        } => Some(start),
        _ => None,
    });
    start.expect("a start")
}

/// A job of one task on one node is prepared, runs and is released: what the node is told of each.
#[test]
fn nodes_are_told_what_a_task_is_for_its_job() {
    let mut world = World::new(Settings::default());
    let node = world.join("n0", "p", &[]);
    world.node_up(hello("n0", 4, 1)).answer.expect("a hello");
    let command = |word: &str| TaskSpec::of_command(vec![word.to_owned()]);
    let job = JobSpec {
        preparation: Some(Box::new(PreparationSpec {
            task: command("unpack*"),
            wait_for_success: true,
            rerun_after_reboot: true,
        })),
        release: Some(Box::new(TaskSpec {
            rerunnable: true,
            ..command("clean")
        })),
        ..JobSpec::default()
    };
    let input = Input::Submit {
        caller: user("ann"),
        submission: SubmissionId(1),
        job: Box::new(job),
        tasks: vec![command("true")],
    };
    let mut round = world.round(&input);
    let prep = start_of(&round).clone();
    assert_eq!((prep.role, prep.prepared_by), (TaskRole::Preparation, None));
    assert_eq!(
        prep.command,
        ["unpack*"],
        "its step is the node's number, and fills nothing in"
    );
    let ended = |world: &mut World, attempt| {
        world.round(&Input::Report {
            node,
            boot: BootId(1),
            report: Report::Ended {
                attempt,
                outcome: AttemptOutcome::Exited { code: 0 },
                at: world.now.wall,
                started_at: None,
                then: None,
            },
        })
    };
    round = ended(&mut world, prep.attempt);
    let task = start_of(&round).clone();
    assert_eq!((task.role, task.prepared_by), (TaskRole::Task, Some(prep.attempt)));
    round = ended(&mut world, task.attempt);
    let release = start_of(&round).clone();
    assert_eq!((release.role, release.rerunnable), (TaskRole::Release, false));
    assert_eq!(
        release.runtime_limit,
        Some(MAX_RELEASE_TIME),
        "no longer than Azure Batch lets it"
    );
    let rows: Vec<String> = world
        .cluster
        .errands_of(JobId(1))
        .map(|row| row.id.to_string())
        .collect();
    assert_eq!(rows, ["1.prep.1", "1.release.1"]);
    assert_eq!(
        world.cluster.tasks_of(JobId(1)).count(),
        1,
        "they are none of the job's tasks"
    );
    ended(&mut world, release.attempt).answer.expect("a report is taken");
    assert!(world.cluster.job(JobId(1)).is_none(), "the job is over");
}
