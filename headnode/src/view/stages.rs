//! How far the tasks of one job are, as a follower of their output has to know it: small facts, many tasks.

use std::collections::{BTreeMap, BTreeSet};

use proto::client::Refusal;
use proto::ids::{AttemptId, JobId, NodeId, Sequence, Step, TaskId, TaskNumber};
use proto::model::job::JobRow;
use proto::model::owner::Caller;
use proto::model::task::{TaskRow, TaskState};

use super::{View, no_task, unreadable};

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// Nothing of it runs; it will be tried, or tried again.
    Waiting,
    /// A try holds nodes and has not started, or nobody knows whether it has.
    Starting,
    /// The newest try runs, or is being stopped.
    Running,
    /// It is over.
    Over,
}

/// One task of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskStage {
    /// Which.
    pub task: TaskId,
    /// How far.
    pub stage: Stage,
    /// The newest try with its primary node, also after its end.
    pub last: Option<(AttemptId, NodeId)>,
}

/// Tasks of a job at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JobStages {
    /// The event after which it was so.
    pub sequence: Sequence,
    /// Whether the job is over.
    pub is_over: bool,
    /// The tasks that were asked for.
    pub tasks: Vec<TaskStage>,
}

impl View {
    /// The tasks of a job that `asked` covers, all when it is empty.
    ///
    /// # Errors
    /// A refusal when the caller sees no such job, when a task is not there, or the store cannot be read.
    pub fn stages(&self, caller: &Caller, id: JobId, asked: &[TaskId]) -> Result<JobStages, Refusal> {
        let job = self.job(caller, id)?;
        let mut wanted = Wanted::new(asked);
        let mut stages = JobStages {
            sequence: Sequence(0),
            is_over: job.state.is_ended(),
            tasks: Vec::new(),
        };
        let live = {
            let cluster = self.cluster();
            stages.sequence = cluster.sequence();
            for task in cluster.tasks_of(id).filter(|task| wanted.takes(task.id)) {
                stages.tasks.push(stage_of(task));
            }
            let live = cluster.job(id);
            // It may have left memory since its row was read; then it is over.
            stages.is_over = live.is_none_or(|job| job.state.is_ended());
            live.is_some()
        };
        if !live {
            let take = &mut |task: TaskRow| {
                if wanted.takes(task.id) {
                    stages.tasks.push(stage_of(&task));
                }
                true
            };
            // A few tasks of a large job must not cost reading all of it.
            let starts = asked.iter().map(|name| (name.number, Some(before(*name))));
            let starts: BTreeMap<_, _> = if asked.is_empty() {
                [(TaskNumber(0), None)].into()
            } else {
                starts.collect()
            };
            for (number, after) in starts {
                let one = &mut |task: TaskRow| {
                    let within = after.is_none() || task.id.number == number;
                    within && take(task)
                };
                self.store
                    .tasks_up(id, after, one)
                    .map_err(|error| unreadable(&error))?;
            }
        }
        wanted.check(&job)?;
        Ok(stages)
    }

    /// These very tasks of a job, as far as they are in memory; none when the job has left it.
    #[must_use]
    pub fn stages_of(&self, job: JobId, tasks: &BTreeSet<TaskId>) -> Option<JobStages> {
        let cluster = self.cluster();
        let row = cluster.job(job)?;
        let tasks = tasks.iter().filter_map(|id| cluster.task(*id));
        Some(JobStages {
            sequence: cluster.sequence(),
            is_over: row.state.is_ended(),
            tasks: tasks.map(stage_of).collect(),
        })
    }
}

/// Behind all tasks of lower numbers, before all of this one's number.
const fn before(task: TaskId) -> TaskId {
    TaskId {
        step: Some(Step(u32::MAX)),
        ..TaskId::new(task.job, TaskNumber(task.number.0.saturating_sub(1)))
    }
}

/// Which tasks were asked for, and which of them were found.
struct Wanted {
    /// Tasks and sweeps; all tasks when it is empty.
    asked: BTreeSet<TaskId>,
    found: BTreeSet<TaskId>,
}

impl Wanted {
    fn new(asked: &[TaskId]) -> Self {
        Self {
            asked: asked.iter().copied().collect(),
            found: BTreeSet::new(),
        }
    }

    fn takes(&mut self, task: TaskId) -> bool {
        if self.asked.is_empty() {
            return true;
        }
        let whole = TaskId::new(task.job, task.number);
        let mut taken = false;
        for name in [task, whole] {
            if self.asked.contains(&name) {
                self.found.insert(name);
                taken = true;
            }
        }
        taken
    }

    fn check(&self, job: &JobRow) -> Result<(), Refusal> {
        let missing = self.asked.difference(&self.found).next();
        missing.map_or(Ok(()), |id| Err(no_task(job, *id)))
    }
}

fn stage_of(task: &TaskRow) -> TaskStage {
    let stage = match &task.state {
        TaskState::Queued => Stage::Waiting,
        TaskState::Granted { .. } | TaskState::Stopping { started_at: None, .. } => Stage::Starting,
        TaskState::Running { .. }
        | TaskState::Stopping {
            started_at: Some(_), ..
        } => Stage::Running,
        TaskState::Ended { .. } => Stage::Over,
    };
    TaskStage {
        task: task.id,
        stage,
        last: task.last_attempt.zip(task.last_nodes.first().copied()),
    }
}
