//! What a pass would make of one task; and what would become of a submission: checked as it would be, placed as it would be, and not made.

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{JobId, NodeId, TaskId, TaskNumber};
use proto::model::job::JobSpec;
use proto::model::owner::Caller;
use proto::model::task::{Request, TaskSpec};
use proto::model::why::{Hold, Why};
use proto::stored::FIRST_TASK;
use proto::units::{Now, Timestamp};

use super::{Applicant, Pass};
use crate::cluster::{Class, ClassId, Cluster, Shape, WaitingJob, depends};
use crate::decide::check_submission;
use crate::explain::Subject;

/// What would become of a submission now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rehearsal {
    /// Whether its first task would start at once.
    pub starts_now: bool,
    /// The nodes that this task would get, primary first.
    pub nodes: Vec<NodeId>,
    /// Why it would wait; none when it would start, or when there is no task.
    pub why: Option<Why>,
}

/// What a submission would become if it came now. Changes nothing.
///
/// # Errors
/// The refusal that the submission would get.
pub fn rehearse(
    cluster: &Cluster,
    caller: &Caller,
    job: &JobSpec,
    tasks: &[TaskSpec],
    now: Now,
) -> Result<Rehearsal, Refusal> {
    check_submission(cluster, caller, job, tasks)?;
    let id = cluster.meta().next_job;
    // Dependencies have no cycles, so one task at least depends on nothing.
    let own = job.manager.iter().map(|manager| (TaskNumber::MANAGER.0, &manager.task));
    let first = own.chain((FIRST_TASK.0..).zip(tasks)).find(|(_, task)| !depends(task));
    let Some((number, first)) = first else {
        // It has none, and goes on until somebody cancels it.
        return Ok(Rehearsal {
            starts_now: false,
            nodes: Vec::new(),
            why: None,
        });
    };
    let class = Class::of(job);
    let applicant = Applicant {
        id,
        user: &caller.owner.name,
        spec: job,
        class_id: ClassId::NEW,
        class: &class,
        started: false,
        started_at: None,
        running: 0,
    };
    let (task, shape) = (TaskId::new(id, TaskNumber(number)), Shape::of(first));
    let until = job.hold_until.filter(|at| *at > now.wall);
    let parents = (!job.parents.is_empty()).then(|| Hold::Parents {
        jobs: job.parents.clone(),
    });
    let held = parents.or_else(|| until.map(|at| Hold::Until { at }));
    let forecast = match held {
        Some(_) => Forecast::default(),
        None => forecast_for(
            cluster,
            &applicant,
            &WaitingJob::of(task, shape.clone()),
            (task, &shape),
            now,
        ),
    };
    let why = forecast.nodes.is_none().then(|| {
        let subject = Subject {
            job: id,
            user: &caller.owner.name,
            spec: job,
            class: &class,
            task,
            shape: shape.clone(),
            started: false,
            running: 0,
        };
        subject.explain(cluster, held, &forecast)
    });
    Ok(Rehearsal {
        starts_now: forecast.nodes.is_some(),
        nodes: forecast.nodes.unwrap_or_default(),
        why,
    })
}

/// What a pass would make of one task.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Forecast {
    /// The nodes that it would get now, primary first.
    pub(crate) nodes: Option<Vec<NodeId>>,
    /// When it starts at the latest, as far as limits tell.
    pub(crate) start: Option<Timestamp>,
    /// Nodes that are kept for tasks before it.
    pub(crate) kept: BTreeSet<NodeId>,
}

/// What a pass would make of a waiting task of a job in memory.
pub(crate) fn forecast(cluster: &Cluster, job: JobId, task: TaskId, shape: &Shape, now: Now) -> Forecast {
    let waiting = cluster.queue().jobs().find(|(id, _)| *id == job);
    match (Applicant::of(cluster, job), waiting) {
        (Some(applicant), Some((_, waiting))) => forecast_for(cluster, &applicant, waiting, (task, shape), now),
        _ => Forecast::default(),
    }
}

/// A pass over all that goes before the job, and over the job.
fn forecast_for(
    cluster: &Cluster,
    applicant: &Applicant<'_>,
    waiting: &WaitingJob,
    (task, shape): (TaskId, &Shape),
    now: Now,
) -> Forecast {
    let mut pass = Pass::foreseeing(cluster, now);
    if let Request::Beside { node } = shape.request {
        pass.place_beside(node, &[task].into());
        return Forecast {
            nodes: pass.nodes_of(task),
            ..Forecast::default()
        };
    }
    let goes_before = |other: &Applicant<'_>| {
        (std::cmp::Reverse(other.spec.priority), other.id) < (std::cmp::Reverse(applicant.spec.priority), applicant.id)
    };
    let before = cluster.queue().jobs().filter_map(|(id, waiting)| {
        let other = Applicant::of(cluster, id)?;
        Some((other, waiting))
    });
    for (other, waiting) in before.take_while(|(other, _)| goes_before(other)) {
        pass.foresee(&other, waiting);
    }
    let kept = pass.kept();
    pass.foresee(applicant, waiting);
    let nodes = pass.nodes_of(task);
    let start = match &nodes {
        Some(_) => Some(now.wall),
        None => {
            let before = usize::try_from(waiting.count_of_before(shape, task)).unwrap_or(usize::MAX);
            pass.foreseen(applicant.id, shape, before)
        }
    };
    Forecast { nodes, start, kept }
}

impl Pass<'_> {
    fn nodes_of(&self, task: TaskId) -> Option<Vec<NodeId>> {
        self.events.iter().find_map(|event| match event {
            Event::Granted { task: of, shares, .. } if *of == task => {
                Some(shares.iter().map(|share| share.node).collect())
            }
            _ => None,
        })
    }
}
