//! Changes of a job that is not over. What decides where its tasks go may be changed while nothing of it runs; the rest at
//! any time, for what starts after that.

use proto::client::Refusal;
use proto::ids::{JobId, TaskId};
use proto::model::job::{JobChange, JobRow, JobSpec, JobState, Progress, SetTo};
use proto::model::owner::Caller;
use proto::model::task::TaskOutcome;

use super::check::{check_job, check_task};
use super::consequence::cancel_dependents;
use super::job::{live_job, may_act_as_owner};
use super::ledger::Ledger;
use super::parents::{check_parents, without_met};
use super::submit::one_of_each;
use crate::input::Answer;
use crate::refusal::{invalid, wrong_state};

/// The most characters of a progress message, as in HPC Pack.
const MAX_PROGRESS_CHARS: usize = 80;

pub(super) fn modify(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    id: JobId,
    change: &JobChange,
) -> Result<Answer, Refusal> {
    let cluster = ledger.cluster;
    let job = live_job(cluster, caller, id)?;
    if matches!(job.state, JobState::Canceling { .. }) {
        return Err(wrong_state(
            format!("job {id} is being ended"),
            format!("see 'job view {id}'"),
        ));
    }
    if !change.env.is_empty() {
        may_act_as_owner(caller, job, "set variables of")?;
    }
    // These are commands, and run as the job's owner; to take one back is less.
    let brings = |wish: &Option<SetTo<_>>| matches!(wish, Some(SetTo::Value(_)));
    let brings_release = matches!(change.release, Some(SetTo::Value(_)));
    if brings(&change.preparation) || brings_release {
        may_act_as_owner(caller, job, "give commands to")?;
    }
    refuse_late(ledger, job, change)?;
    let progress = progressed(job, change)?;
    let mut spec = changed(&job.spec, change);
    if job.state != JobState::Configuring {
        spec.hold_until = spec.hold_until.filter(|at| *at > ledger.now.wall);
    }
    if change.parents.is_some() {
        check_parents(cluster, caller, &spec, id)?;
        spec.parents = without_met(cluster, &spec.parents);
    }
    if spec == job.spec && progress == job.progress {
        return Ok(Answer::Notes(vec![format!("nothing of job {id} is changed by that")]));
    }
    if spec != job.spec {
        check_job(caller, cluster, &spec)?;
    }
    if placement(change).next().is_some() {
        for task in one_of_each(cluster.tasks_of(id)) {
            check_task(cluster, caller, &spec, &task.spec).map_err(|refusal| Refusal {
                what: format!("task {}: {}", TaskId::new(id, task.id.number), refusal.what),
                ..refusal
            })?;
        }
    }
    let waits_for_good = job.spec.run_dependents_of_failed && !spec.run_dependents_of_failed;
    let may_be_over = job.spec.run_until_canceled && !spec.run_until_canceled;
    ledger.modify_job(job, spec, progress);
    if waits_for_good {
        cancel_stuck(ledger, id);
    }
    if may_be_over {
        ledger.settle_job(id);
    }
    Ok(Answer::Notes(Vec::new()))
}

/// The names of what is to be changed that decides where tasks go.
fn placement(change: &JobChange) -> impl Iterator<Item = &'static str> {
    let fields = [
        (change.pool.is_some(), "pool"),
        (change.node_groups.is_some(), "node groups"),
        (change.group_operator.is_some(), "operator of its node groups"),
        (change.requested_nodes.is_some(), "requested nodes"),
        (change.cores_per_node.is_some(), "cores per node"),
        (change.memory_per_node.is_some(), "memory per node"),
        (change.single_node.is_some(), "single node"),
        (change.order_by.is_some(), "order of nodes"),
        (change.units.is_some(), "units"),
        (change.exclusive.is_some(), "exclusive"),
    ];
    fields.into_iter().filter_map(|(given, name)| given.then_some(name))
}

fn refuse_late(ledger: &Ledger<'_>, job: &JobRow, change: &JobChange) -> Result<(), Refusal> {
    // After a requeue its preparation task may be on a node still, when none of its tasks is.
    let begun = matches!(job.state, JobState::Running { .. }) || job.counts.running > 0 || ledger.is_held(job.id);
    let order = [
        (change.parents.is_some(), "parent jobs"),
        (change.preparation.is_some(), "job preparation task"),
    ];
    let order = order.into_iter().filter_map(|(given, name)| given.then_some(name));
    match placement(change).chain(order).next().filter(|_| begun) {
        Some(field) => Err(wrong_state(
            format!("job {} has started, so its {field} can no longer be changed", job.id),
            format!("make a new one like it and change that: job clone {}", job.id),
        )),
        None => Ok(()),
    }
}

fn progressed(job: &JobRow, change: &JobChange) -> Result<Option<Progress>, Refusal> {
    let Some(new) = &change.progress else {
        return Ok(job.progress.clone());
    };
    if let Some(percent) = new.percent.filter(|percent| *percent > 100) {
        return Err(invalid(
            format!("a progress of {percent} percent is given"),
            "give a number from 0 to 100",
        ));
    }
    let chars = new.message.chars().count();
    if chars > MAX_PROGRESS_CHARS || new.message.contains('\0') {
        return Err(invalid(
            format!("the progress message has {chars} characters, and {MAX_PROGRESS_CHARS} are the most, without NUL"),
            "shorten it",
        ));
    }
    let old = job.progress.clone().unwrap_or_default();
    Ok(Some(Progress {
        percent: new.percent.or(old.percent),
        message: if new.message.is_empty() {
            old.message
        } else {
            new.message.clone()
        },
    }))
}

fn changed(spec: &JobSpec, change: &JobChange) -> JobSpec {
    fn set<T: Clone>(to: &mut T, value: Option<&T>) {
        if let Some(value) = value {
            *to = value.clone();
        }
    }
    fn set_or_clear<T: Clone>(to: &mut Option<T>, value: Option<&SetTo<T>>) {
        if let Some(value) = value {
            *to = value.clone().into_option();
        }
    }
    let mut spec = spec.clone();
    set(&mut spec.name, change.name.as_ref());
    set(&mut spec.project, change.project.as_ref());
    set(&mut spec.priority, change.priority.as_ref());
    set_or_clear(&mut spec.pool, change.pool.as_ref());
    set(&mut spec.node_groups, change.node_groups.as_ref());
    set(&mut spec.group_operator, change.group_operator.as_ref());
    set(&mut spec.requested_nodes, change.requested_nodes.as_ref());
    set_or_clear(&mut spec.cores_per_node, change.cores_per_node.as_ref());
    set_or_clear(&mut spec.memory_per_node, change.memory_per_node.as_ref());
    set(&mut spec.single_node, change.single_node.as_ref());
    set(&mut spec.order_by, change.order_by.as_ref());
    set_or_clear(&mut spec.units, change.units.as_ref());
    set(&mut spec.exclusive, change.exclusive.as_ref());
    set_or_clear(&mut spec.runtime_limit, change.runtime_limit.as_ref());
    spec.env
        .extend(change.env.iter().map(|(name, value)| (name.clone(), value.clone())));
    set_or_clear(&mut spec.hold_until, change.hold_until.as_ref());
    set(&mut spec.fail_on_task_failure, change.fail_on_task_failure.as_ref());
    set(
        &mut spec.run_dependents_of_failed,
        change.run_dependents_of_failed.as_ref(),
    );
    set(&mut spec.run_until_canceled, change.run_until_canceled.as_ref());
    set_or_clear(&mut spec.valid_exit_codes, change.valid_exit_codes.as_ref());
    set_or_clear(&mut spec.max_wall_clock, change.max_wall_clock.as_ref());
    set_or_clear(&mut spec.max_retries, change.max_retries.as_ref());
    set(&mut spec.perform_exit_actions, change.perform_exit_actions.as_ref());
    set_or_clear(&mut spec.max_parallel_tasks, change.max_parallel_tasks.as_ref());
    set_or_clear(&mut spec.preparation, change.preparation.as_ref());
    set_or_clear(&mut spec.release, change.release.as_ref());
    set(&mut spec.parents, change.parents.as_ref());
    spec
}

/// Tasks that waited for others that did not end well can never start now.
fn cancel_stuck(ledger: &mut Ledger<'_>, id: JobId) {
    let cluster = ledger.cluster;
    let Some(dependencies) = cluster.dependencies(id) else {
        return;
    };
    let stuck: Vec<TaskId> = cluster
        .tasks_of(id)
        .filter(|task| cluster.waits(task) && dependencies.broken(&task.spec).is_some())
        .map(|task| task.id)
        .collect();
    for task in &stuck {
        ledger.end_task(*task, TaskOutcome::Canceled, ledger.now.wall);
    }
    cancel_dependents(ledger, stuck);
}
