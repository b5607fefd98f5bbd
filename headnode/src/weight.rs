//! About how many bytes things take in a frame, rather too many: to cut messages and lists before they are encoded.

use proto::control::Order;
use proto::event::Event;
use proto::model::job::{Env, JobOutcome, JobRow, JobSpec};
use proto::model::task::{AttemptOutcome, CommonFile, TaskOutcome, TaskRow, TaskSpec};

/// Everything of a row or an order that does not grow with what a user gave.
const FIXED_BYTES: usize = 1024;

/// An event without texts of a user or a node.
const EVENT_BYTES: usize = 512;

/// A node with its name and address.
const NODE_BYTES: usize = 200;

/// The start of one step of a sweep, beside what is the same for all.
const STEP_BYTES: usize = 100;

/// An element of an array, with the reason of its failure.
const ELEMENT_BYTES: usize = 300;

/// A name of a node or a group.
const NAME_BYTES: usize = 80;

/// Of an order to a node.
#[must_use]
pub fn of_order(order: &Order) -> usize {
    let (start, steps) = match order {
        Order::Start(start) => (start, 0),
        Order::StartSteps { order, steps } => (order, STEP_BYTES * steps.len()),
        _ => return FIXED_BYTES,
    };
    let texts = [
        &start.workdir,
        &start.stdin,
        &start.stdout,
        &start.stderr,
        &start.script,
    ];
    let paths: usize = texts.into_iter().flatten().map(String::len).sum();
    let coordination = start.coordination.as_deref().map_or(0, words);
    let files = files(&start.common_files);
    FIXED_BYTES
        + steps
        + words(&start.command)
        + variables(&start.env)
        + paths
        + coordination
        + files
        + NODE_BYTES * start.nodes.len()
}

/// Of a job's row.
#[must_use]
pub fn of_job(job: &JobRow) -> usize {
    of_job_spec(&job.spec)
}

/// Of a task's row, with the names of its nodes beside it.
#[must_use]
pub fn of_task(task: &TaskRow) -> usize {
    of_task_spec(&task.spec) + NAME_BYTES * task.last_nodes.len()
}

/// Of an event.
#[must_use]
pub fn of_event(event: &Event) -> usize {
    match event {
        Event::JobAdded { spec, tasks, .. } => of_job_spec(spec) + tasks.iter().map(of_task_spec).sum::<usize>(),
        Event::TasksAdded { tasks, .. } => FIXED_BYTES + tasks.iter().map(of_task_spec).sum::<usize>(),
        Event::JobRevived { job, tasks, chunks, .. } => {
            let elements: usize = chunks.iter().map(|chunk| chunk.elements.len()).sum();
            of_job(job) + tasks.iter().map(of_task).sum::<usize>() + ELEMENT_BYTES * elements
        }
        Event::ScheduleChanged { schedule } => {
            of_job_spec(&schedule.spec.job) + schedule.spec.tasks.iter().map(of_task_spec).sum::<usize>()
        }
        Event::PoolChanged { pool } => {
            let start = pool.spec.start_task.as_ref();
            FIXED_BYTES + start.map_or(0, |start| of_task_spec(&start.task))
        }
        Event::JobCreated { spec, .. } | Event::JobModified { spec, .. } => of_job_spec(spec),
        Event::Granted { shares, .. } => EVENT_BYTES + 40 * shares.len(),
        Event::SettingsChanged { settings } => EVENT_BYTES + variables(&settings.env),
        Event::NodeJoined { groups, .. } => EVENT_BYTES + NAME_BYTES * groups.len(),
        Event::NodeUp { inventory, .. } => {
            FIXED_BYTES + 5 * inventory.core_ids.len() + NAME_BYTES * inventory.addresses.len()
        }
        Event::TokenAdded { token } => EVENT_BYTES + NAME_BYTES * token.groups.len(),
        Event::JobStopping { outcome, .. } | Event::JobEnded { outcome, .. } => {
            EVENT_BYTES
                + match outcome {
                    JobOutcome::Finished => 0,
                    JobOutcome::Failed { reason } => reason.len(),
                    JobOutcome::Canceled { by, message: text } | JobOutcome::Terminated { by, reason: text } => {
                        by.len() + text.len()
                    }
                }
        }
        Event::AttemptEnded { outcome, .. } => EVENT_BYTES + reason(outcome),
        Event::AttemptStopping { outcome, .. } | Event::TaskEnded { outcome, .. } => {
            EVENT_BYTES
                + match outcome {
                    TaskOutcome::Failed { cause } => reason(cause),
                    TaskOutcome::Finished | TaskOutcome::Canceled => 0,
                }
        }
        _ => EVENT_BYTES,
    }
}

const fn reason(outcome: &AttemptOutcome) -> usize {
    match outcome {
        AttemptOutcome::NotStarted { reason } | AttemptOutcome::NodeLost { reason, .. } => reason.len(),
        _ => 0,
    }
}

fn of_job_spec(spec: &JobSpec) -> usize {
    let names = spec.requested_nodes.len() + spec.node_groups.len();
    let own = [
        spec.manager.as_ref().map(|manager| &manager.task),
        spec.preparation.as_ref().map(|preparation| &preparation.task),
        spec.release.as_deref(),
    ];
    let own: usize = own.into_iter().flatten().map(of_task_spec).sum();
    FIXED_BYTES + variables(&spec.env) + NAME_BYTES * names + 10 * spec.parents.len() + own
}

fn of_task_spec(spec: &TaskSpec) -> usize {
    let texts = [&spec.workdir, &spec.stdin, &spec.stdout, &spec.stderr, &spec.script];
    let texts: usize = texts.into_iter().flatten().map(String::len).sum();
    let names: usize = spec.depends_on.iter().map(|name| name.len() + 8).sum();
    let rules = spec
        .exit_conditions
        .as_ref()
        .map_or(0, |conditions| conditions.codes.len());
    FIXED_BYTES
        + words(&spec.command)
        + variables(&spec.env)
        + texts
        + names
        + spec.coordination.as_deref().map_or(0, words)
        + files(&spec.common_files)
        + 40 * spec.depends_on_ranges.len()
        + 100 * rules
        + NAME_BYTES * spec.resources.len()
}

fn files(files: &[CommonFile]) -> usize {
    files.iter().map(|file| file.path.len() + file.text.len() + 40).sum()
}

fn words(command: &[String]) -> usize {
    command.iter().map(|word| word.len() + 8).sum()
}

fn variables(env: &Env) -> usize {
    env.iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len) + 16)
        .sum()
}
