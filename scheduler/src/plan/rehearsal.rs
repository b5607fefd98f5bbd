//! What would become of a submission: checked as it would be, placed as it would be, and not made.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{NodeId, TaskId, TaskNumber};
use proto::model::job::JobSpec;
use proto::model::owner::Caller;
use proto::model::task::{Request, TaskSpec};
use proto::model::why::{Hold, Why};
use proto::stored::FIRST_TASK;
use proto::units::Now;

use super::{Applicant, Pass};
use crate::cluster::{Class, ClassId, Cluster, Shape};
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
    let first = (FIRST_TASK.0..).zip(tasks).find(|(_, task)| task.depends_on.is_empty());
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
        spec: job,
        class_id: ClassId::NEW,
        class: &class,
        started: false,
    };
    let (task, shape) = (TaskId::new(id, TaskNumber(number)), Shape::of(first));
    let held_until = job.hold_until.filter(|at| *at > now.wall);
    let nodes = match held_until {
        Some(_) => None,
        None => places_of(cluster, &applicant, task, shape, now),
    };
    let why = nodes.is_none().then(|| {
        let subject = Subject {
            job: id,
            spec: job,
            class: &class,
            task,
            shape,
            started: false,
        };
        subject.explain(cluster, held_until.map(|at| Hold::Until { at }))
    });
    Ok(Rehearsal {
        starts_now: nodes.is_some(),
        nodes: nodes.unwrap_or_default(),
        why,
    })
}

/// The nodes that a task of a new job would get, after all that goes before it.
fn places_of(
    cluster: &Cluster,
    applicant: &Applicant<'_>,
    task: TaskId,
    shape: Shape,
    now: Now,
) -> Option<Vec<NodeId>> {
    let mut pass = Pass::new(cluster, now);
    if let Request::Beside { node } = shape.request {
        pass.place_beside(node, &[task].into());
    } else {
        let before = cluster.queue().jobs().filter_map(|(id, waiting)| {
            let other = Applicant::of(cluster, id)?;
            Some((other, waiting))
        });
        for (other, waiting) in before.take_while(|(other, _)| other.spec.priority >= applicant.spec.priority) {
            if pass.left == 0 {
                break;
            }
            pass.place_job(&other, waiting.tasks(), waiting.kinds());
        }
        pass.place_job(applicant, std::iter::once((task, shape)), 1);
    }
    pass.events.into_iter().find_map(|event| match event {
        Event::Granted { task: of, shares, .. } if of == task => {
            Some(shares.into_iter().map(|share| share.node).collect())
        }
        _ => None,
    })
}
