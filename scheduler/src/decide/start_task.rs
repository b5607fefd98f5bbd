//! Start tasks of pools: run on each node when it joins, and in each new life of it.
//!
//! A hidden job of kind Start stands for the start task of a pool. It has one task with a step per node and goes on until
//! the start task is changed, which ends it and makes another. A node keeps in its row how far it is; until a start task
//! that is waited for has ended well, the placement pass gives the node nothing else. A new start task is run by nodes in
//! their next life, and at once by those where the old one has not ended well.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{BootId, JobId, NodeId, PoolName, Step, SubmissionId, TaskId};
use proto::model::attempt::AttemptPhase;
use proto::model::job::{JobKind, JobOutcome, JobSpec};
use proto::model::node::{NodeRow, NodeStart, StartState};
use proto::model::owner::Caller;
use proto::model::pool::PoolRow;
use proto::model::role::StartTaskSpec;
use proto::model::task::{AttemptOutcome, Request, TaskKind, TaskOutcome, TaskSpec};

use super::cancel::stop;
use super::check::check_task;
use super::ledger::Ledger;
use crate::cluster::{Cluster, start_task};
use crate::refusal::invalid;

/// Jobs that the head node makes itself have submission ids of their own, which no client's random one is like to be.
const OWN_SUBMISSIONS: u128 = u128::MAX << 64;

/// Of a start task that waits for the node's hello, which says in which life it is. Lives have random numbers.
const NO_LIFE: BootId = BootId(0);

/// A start task by itself, as any task; it asks for nothing but its node.
pub(super) fn check(cluster: &Cluster, caller: &Caller, spec: &StartTaskSpec) -> Result<(), Refusal> {
    let task = &spec.task;
    let unfit = [
        (task.sweep.is_some(), "a sweep"),
        (task.interactive.is_some(), "input from whoever attaches"),
        (task.coordination.is_some(), "a coordination command"),
        (task.kind == TaskKind::Service, "the type Service"),
        (
            !task.depends_on.is_empty() || !task.depends_on_ranges.is_empty(),
            "tasks to wait for",
        ),
        (
            !task.resources.is_empty() || task.memory_mib.is_some(),
            "memory or resources",
        ),
        (task.exit_conditions.is_some(), "exit conditions"),
    ];
    if let Some((_, what)) = unfit.iter().find(|(unfit, _)| *unfit) {
        return Err(invalid(
            format!("a start task with {what} is asked for"),
            format!("give it to the pool without {what}"),
        ));
    }
    let plain = TaskSpec {
        request: Request::default(),
        ..task.clone()
    };
    check_task(cluster, caller, &JobSpec::default(), &plain).map_err(|refusal| Refusal {
        what: format!("start task: {}", refusal.what),
        ..refusal
    })
}

/// Makes the job that stands for a pool's start task; it runs as whoever set it.
pub(super) fn make_job(ledger: &mut Ledger<'_>, caller: &Caller, pool: &PoolName) -> JobId {
    let job = ledger.cluster.meta().next_job;
    let spec = JobSpec {
        name: format!("start task of pool {pool}"),
        kind: JobKind::Start,
        pool: Some(pool.clone()),
        run_until_canceled: true,
        ..JobSpec::default()
    };
    ledger.push(Event::JobAdded {
        job,
        submission: SubmissionId(OWN_SUBMISSIONS | u128::from(job.0)),
        owner: caller.owner.clone(),
        spec: Box::new(spec),
        tasks: Vec::new(),
        at: ledger.now.wall,
        schedule: None,
    });
    job
}

/// Ends a job that stood for a start task, and what of it runs or waits.
pub(super) fn end_job(ledger: &mut Ledger<'_>, job: JobId) {
    stop(ledger, job, JobOutcome::Finished, &TaskOutcome::Canceled, false);
}

/// A pool has another start task, or none any more; `pool` is the row as it is now.
pub(super) fn change(ledger: &mut Ledger<'_>, before: &PoolRow, pool: &PoolRow) {
    let cluster = ledger.cluster;
    if let Some(old) = before.start_job {
        end_job(ledger, old);
    }
    for row in cluster.nodes_of(&pool.name) {
        let Some(start) = &row.start else { continue };
        let runs_still = cluster.attempts_on(row.id).any(|attempt| {
            let job = cluster.job(attempt.task.job);
            attempt.phase != AttemptPhase::Releasing && job.is_some_and(|job| job.spec.kind == JobKind::Start)
        });
        match (&start.state, pool.start_job) {
            (_, None) => set_start(ledger, row.id, None),
            (StartState::Done, Some(_)) => {}
            // Its end is followed by the new one, so that there are never two at once.
            (StartState::Running, Some(_)) if runs_still => {}
            (StartState::Running | StartState::Failed { .. }, Some(_)) => begin(ledger, pool, row, start.boot),
        }
    }
}

/// A node says hello: in a new life the start task of its pool is due.
pub(super) fn at_hello(ledger: &mut Ledger<'_>, row: &NodeRow, boot: BootId) {
    let pool = ledger.cluster.pool(&row.pool).filter(|pool| pool.start_job.is_some());
    match (pool, &row.start) {
        (None, None) => {}
        (None, Some(_)) => set_start(ledger, row.id, None),
        (Some(_), Some(start)) if start.boot == boot => {}
        // The pool got its start task in this life of the node.
        (Some(_), None) if row.boot == Some(boot) => {}
        (Some(pool), _) => begin(ledger, pool, row, boot),
    }
}

/// A node that is known joins another pool. Whatever its life is, it has not run the start task of that one.
pub(super) fn at_move(ledger: &mut Ledger<'_>, row: &NodeRow, pool: &PoolName) {
    let pool = ledger.cluster.pool(pool);
    let due = pool.and_then(|pool| pool.spec.start_task.as_ref());
    let start = due.map(|spec| NodeStart {
        boot: NO_LIFE,
        state: StartState::Running,
        wait_for_success: spec.wait_for_success,
    });
    if start.is_some() || row.start.is_some() {
        set_start(ledger, row.id, start);
    }
}

/// The start task waits for the node from now on, whatever became of it before.
fn begin(ledger: &mut Ledger<'_>, pool: &PoolRow, row: &NodeRow, boot: BootId) {
    let (Some(task), Some(spec)) = (start_task(pool, row.id), &pool.spec.start_task) else {
        return;
    };
    if !ledger.nodes.begun.insert(task) {
        return;
    }
    let start = NodeStart {
        boot,
        state: StartState::Running,
        wait_for_success: spec.wait_for_success,
    };
    set_start(ledger, row.id, Some(start));
    let attempt = ledger.cluster.task(task).and_then(|task| task.state.attempt());
    // A node may have carried a try of it over into its new life; the end of that counts.
    if attempt.is_none_or(|attempt| ledger.fate(attempt).is_some()) {
        ledger.push(Event::ErrandAdded { task });
    }
}

fn set_start(ledger: &mut Ledger<'_>, node: NodeId, start: Option<NodeStart>) {
    ledger.nodes.starts.insert(node, start.clone());
    ledger.push(Event::NodeStartChanged { node, start });
}

/// What follows from the ends of start tasks for their nodes.
pub(super) fn follow(ledger: &mut Ledger<'_>) {
    let cluster = ledger.cluster;
    for (task, reason) in ledger.ended_starts() {
        let Some(Step(number)) = task.step else { continue };
        let node = NodeId(number);
        let moves = ledger.nodes.is_removed(node) || ledger.nodes.joined.contains_key(&node);
        let Some(row) = cluster.node(node).filter(|_| !moves) else {
            continue;
        };
        let start = ledger.nodes.starts.get(&node).unwrap_or(&row.start).clone();
        let waits = |start: &NodeStart| start.state == StartState::Running;
        let (Some(start), Some(pool)) = (start.filter(waits), ledger.pool(&row.pool)) else {
            continue;
        };
        if ledger.nodes.begun.contains(&task) {
            continue; // It ended in the node's old life, and waits again in the new one.
        }
        match pool.start_job {
            None => set_start(ledger, node, None),
            Some(job) if job != task.job => begin(ledger, &pool, row, start.boot),
            Some(_) => {
                let state = match reason {
                    None => StartState::Done,
                    Some(reason) => StartState::Failed { reason },
                };
                set_start(ledger, node, Some(NodeStart { state, ..start }));
            }
        }
    }
}

/// A node leaves its pool: the start task is forgotten with it.
pub(super) fn forget(ledger: &mut Ledger<'_>, row: &NodeRow, reason: &str) {
    let cluster = ledger.cluster;
    let pool = cluster.pool(&row.pool);
    let Some(task) = pool.and_then(|pool| cluster.start_task_on(pool, row.id)) else {
        return;
    };
    if cluster.task(task).is_some_and(|task| !task.state.is_ended()) && !ledger.is_over(task) {
        end(ledger, task, row.id, reason);
    }
    ledger.push(Event::ErrandForgotten { task });
}

fn end(ledger: &mut Ledger<'_>, task: TaskId, node: NodeId, reason: &str) {
    let cause = AttemptOutcome::NodeLost {
        node,
        reason: reason.to_owned(),
    };
    ledger.end_task(task, TaskOutcome::Failed { cause }, ledger.now.wall);
}
