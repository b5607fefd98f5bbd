//! How far the tasks of one job are, as a follower of their output has to know it: small facts, many tasks.

use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::ids::{AttemptId, JobId, NodeId, Sequence, Step, TaskId, TaskNumber};
use proto::model::array::{Element, ElementState, untouched};
use proto::model::owner::Caller;
use proto::model::task::{TaskRow, TaskState};
use proto::stored::{Row, RowKey};

use scheduler::ElementPlace;

use super::{View, no_task, unreadable};
use crate::store::StoreError;

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
        let take = &mut |task: &TaskRow| {
            if wanted.takes(task.id) {
                stages.tasks.push(stage_of(task));
            }
            true
        };
        self.stored_stages(id, asked, live, take)
            .map_err(|error| unreadable(&error))?;
        for element in wanted.missing() {
            match self.untouched(element, live).map_err(|error| unreadable(&error))? {
                Some(row) => stages.tasks.push(stage_of(&row)),
                None => return Err(no_task(&job, element)),
            }
        }
        Ok(stages)
    }

    /// The row that an element of an array would have; none when it is no element.
    fn untouched(&self, element: TaskId, live: bool) -> Result<Option<TaskRow>, StoreError> {
        let Some(step) = element.step else { return Ok(None) };
        let head = TaskId::new(element.job, element.number);
        let head = if live {
            self.cluster().task(head).cloned()
        } else {
            match self.store.row(&RowKey::Task(head))? {
                Some(Row::Task(row)) => Some(*row),
                _ => None,
            }
        };
        let is_in = |head: &TaskRow| head.array.is_some() && head.spec.sweep.is_some_and(|of| of.index(step).is_some());
        Ok(head.filter(is_in).map(|head| untouched(&head, step)))
    }

    /// What is not in memory: all of a job that is over; of one that lives, elements of arrays that ended well. Elements that
    /// nobody touched have nothing to tell; the row of their array says whether there are more to come.
    fn stored_stages(
        &self,
        id: JobId,
        asked: &[TaskId],
        live: bool,
        take: &mut dyn FnMut(&TaskRow) -> bool,
    ) -> Result<(), StoreError> {
        // A few tasks of a large job must not cost reading all of it.
        let numbers: BTreeSet<TaskNumber> = asked.iter().map(|name| name.number).collect();
        let mut heads: Vec<TaskRow> = Vec::new();
        if live {
            let cluster = self.cluster();
            let arrays = cluster.arrays_of(id);
            heads.extend(
                arrays
                    .filter(|row| asked.is_empty() || numbers.contains(&row.id.number))
                    .cloned(),
            );
        } else if asked.is_empty() {
            self.store.tasks_up(id, None, &mut |task| {
                heads.extend(task.array.is_some().then(|| task.clone()));
                take(&task)
            })?;
        } else {
            for number in numbers {
                let before = before(TaskId::new(id, number));
                self.store.tasks_up(id, Some(before), &mut |task| {
                    let is_its = task.id.number == number;
                    heads.extend((is_its && task.array.is_some()).then(|| task.clone()));
                    is_its && take(&task)
                })?;
            }
        }
        for head in heads {
            self.store.chunks_up(id, Some((head.id, 0)), &mut |chunk| {
                let is_its = chunk.array == head.id;
                let is_stored_only =
                    |element: &&Element| !live || matches!(element.state, ElementState::Finished { .. });
                let elements = chunk.elements.iter().filter(|_| is_its).filter(is_stored_only);
                elements.filter_map(|element| element.row(&head)).all(|row| take(&row)) && is_its
            })?;
        }
        Ok(())
    }

    /// These very tasks of a job, as far as they are in memory; none when the job has left it.
    #[must_use]
    pub fn stages_of(&self, job: JobId, tasks: &BTreeSet<TaskId>) -> Option<JobStages> {
        let cluster = self.cluster();
        let row = cluster.job(job)?;
        // With an element goes the row of its array, which says whether there are more to come.
        let heads = tasks.iter().map(|id| TaskId::new(id.job, id.number));
        let all: BTreeSet<TaskId> = tasks.iter().copied().chain(heads).collect();
        let rows = all.into_iter().filter_map(|id| match cluster.element_place(id) {
            ElementPlace::Row | ElementPlace::Packed(_) => cluster.task_or_untouched(id),
            ElementPlace::Untouched | ElementPlace::Stored | ElementPlace::None => None,
        });
        let stages = rows.map(|row| stage_of(&row));
        Some(JobStages {
            sequence: cluster.sequence(),
            is_over: row.state.is_ended(),
            tasks: stages.collect(),
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

    /// What was asked for by name and not found among the rows.
    fn missing(&self) -> impl Iterator<Item = TaskId> {
        self.asked.difference(&self.found).copied()
    }
}

fn stage_of(task: &TaskRow) -> TaskStage {
    let stage = match &task.state {
        TaskState::Queued | TaskState::Granted { ahead: true, .. } => Stage::Waiting,
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
