//! What the stored events claim, looked at by rules that were written apart from the scheduler: no slot is granted twice, a
//! gang is whole or not there, what has finished never runs again, an attempt begins when the one before holds nothing, a
//! dependency never jumps, a bound is kept.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId, TaskNumber};
use proto::model::exit::DependencyAction;
use proto::model::job::{JobOutcome, JobSpec};
use proto::model::task::{AttemptOutcome, Request, TaskOutcome, TaskSpec};

use super::node::CORES;

/// MiB of memory of each node.
const MEMORY_MIB: u64 = 8 << 10;

/// What was claimed so far.
#[derive(Debug, Default)]
pub(super) struct Claims {
    jobs: BTreeMap<JobId, Job>,
    attempts: BTreeMap<AttemptId, Attempt>,
    /// The newest end of each task's elements.
    ends: BTreeMap<TaskId, End>,
    /// How often somebody asked for a task to run again.
    asked: BTreeMap<TaskId, u32>,
    /// Jobs that somebody finished by hand.
    by_hand: BTreeSet<JobId>,
    pub(super) events: usize,
    /// Grants ahead of time, and recalls of those.
    pub(super) ahead: usize,
    pub(super) recalled: usize,
}

#[derive(Debug)]
struct Job {
    spec: JobSpec,
    tasks: BTreeMap<TaskNumber, TaskSpec>,
    disabled: bool,
    over: bool,
}

#[derive(Debug)]
struct Attempt {
    task: TaskId,
    held: BTreeMap<NodeId, u32>,
    memory_mib: u64,
    /// Whether it waits in a window.
    ahead: bool,
    /// Whether its task is over, or waits again: nodes only have to let go.
    over: bool,
}

#[derive(Debug, Clone)]
struct End {
    outcome: TaskOutcome,
    /// Exit code of the newest try.
    code: Option<i32>,
}

impl Claims {
    /// The next stored event.
    ///
    /// # Errors
    /// When it breaks a rule.
    pub(super) fn see(&mut self, event: &Event) -> Result<(), String> {
        self.events += 1;
        match event {
            Event::JobAdded { job, spec, tasks, .. } => {
                let numbers = (1..).map(TaskNumber);
                let new = Job {
                    spec: (**spec).clone(),
                    tasks: numbers.zip(tasks.iter().cloned()).collect(),
                    disabled: false,
                    over: false,
                };
                if self.jobs.insert(*job, new).is_some() {
                    return Err(format!("job {job} is added twice"));
                }
            }
            Event::JobModified { job, spec, .. } => self.job(*job)?.spec = (**spec).clone(),
            Event::JobDisabled { job } => self.job(*job)?.disabled = true,
            Event::JobEnabled { job } => self.job(*job)?.disabled = false,
            Event::JobEnded { job, .. } => {
                let waits = self.attempts.values().any(|attempt| attempt.task.job == *job);
                let job = self.job(*job)?;
                job.over = true;
                job.disabled = false;
                // Its attempts may still be letting go; that none runs is the truth's to say.
                let _ = waits;
            }
            Event::JobRevived { job, .. } => {
                let job = self.job(job.id)?;
                (job.over, job.disabled) = (false, false);
            }
            Event::Granted {
                attempt,
                task,
                shares,
                ahead,
                ..
            } => {
                let held: BTreeMap<NodeId, u32> = shares.iter().map(|share| (share.node, share.slots)).collect();
                if held.len() != shares.len() {
                    return Err(format!("attempt {attempt} of task {task} holds a node twice"));
                }
                self.ahead += usize::from(*ahead);
                self.granted((*attempt, *ahead), *task, held)?;
            }
            Event::Advanced { attempt, .. } => self.advanced(*attempt)?,
            Event::Recalled { .. } => self.recalled += 1,
            Event::ShareReleased { attempt, node } => {
                if let Some(row) = self.attempts.get_mut(attempt) {
                    row.held.remove(node);
                    if row.held.is_empty() {
                        self.attempts.remove(attempt);
                    }
                }
            }
            Event::AttemptEnded { attempt, outcome, .. } => {
                if let Some(row) = self.attempts.get_mut(attempt) {
                    row.over = true;
                }
                let AttemptOutcome::Exited { code } = outcome else {
                    return Ok(());
                };
                if let Some(task) = self.attempts.get(attempt).map(|attempt| attempt.task) {
                    let end = self.ends.entry(task).or_insert(End {
                        outcome: TaskOutcome::Canceled,
                        code: None,
                    });
                    end.code = Some(*code);
                }
            }
            Event::TaskEnded { task, outcome, .. } => {
                let code = self.ends.get(task).and_then(|end| end.code);
                let outcome = outcome.clone();
                self.ends.insert(*task, End { outcome, code });
            }
            Event::JobStopping {
                job,
                outcome: JobOutcome::Finished,
            } => drop(self.by_hand.insert(*job)),
            Event::TaskRequeued { task, asked, retry, .. } => {
                *self.asked.entry(*task).or_default() += u32::from(*asked || *retry);
                let finished = self
                    .ends
                    .get(task)
                    .is_some_and(|end| end.outcome == TaskOutcome::Finished && !self.is_tried(*task));
                if finished {
                    return Err(format!("task {task} has finished and waits again"));
                }
                self.ends.remove(task);
            }
            // What a job runs once per node is done anew in another life of it.
            Event::ErrandAdded { task } | Event::ErrandForgotten { task } => drop(self.ends.remove(task)),
            _ => {}
        }
        Ok(())
    }

    fn job(&mut self, id: JobId) -> Result<&mut Job, String> {
        self.jobs
            .get_mut(&id)
            .ok_or_else(|| format!("an event tells of job {id}, which never was"))
    }

    fn is_tried(&self, task: TaskId) -> bool {
        self.attempts.values().any(|attempt| attempt.task == task)
    }

    /// What waits in a window holds nothing until it gets a slot.
    fn advanced(&mut self, id: AttemptId) -> Result<(), String> {
        let Some(row) = self.attempts.get_mut(&id) else {
            return Err(format!("attempt {id} gets a slot and was never granted"));
        };
        if !std::mem::take(&mut row.ahead) {
            return Err(format!("attempt {id} of task {} gets its slot twice", row.task));
        }
        let (held, memory_mib) = (row.held.clone(), row.memory_mib);
        self.expect_room(id, &held, memory_mib)
    }

    fn expect_room(&self, id: AttemptId, held: &BTreeMap<NodeId, u32>, memory_mib: u64) -> Result<(), String> {
        for (node, slots) in held {
            let others = self.attempts.iter().filter(|(other, row)| **other != id && !row.ahead);
            let on_node: Vec<&Attempt> = others
                .map(|(_, row)| row)
                .filter(|row| row.held.contains_key(node))
                .collect();
            let taken: u32 = on_node.iter().filter_map(|row| row.held.get(node)).sum();
            if taken + slots > CORES {
                return Err(format!(
                    "node {node} has {CORES} slots, and {} are granted",
                    taken + slots
                ));
            }
            let memory: u64 = on_node.iter().map(|row| row.memory_mib).sum();
            if memory + memory_mib > MEMORY_MIB {
                return Err(format!(
                    "node {node} has {MEMORY_MIB} MiB, and {} are granted",
                    memory + memory_mib
                ));
            }
        }
        Ok(())
    }

    fn granted(
        &mut self,
        (id, ahead): (AttemptId, bool),
        task: TaskId,
        held: BTreeMap<NodeId, u32>,
    ) -> Result<(), String> {
        let of_user = task.number != TaskNumber::MANAGER && !task.number.is_per_node();
        if let Some((other, _)) = self.attempts.iter().find(|(_, attempt)| attempt.task == task) {
            return Err(format!(
                "attempt {id} of task {task} is granted while attempt {other} holds nodes"
            ));
        }
        if of_user
            && self
                .ends
                .get(&task)
                .is_some_and(|end| end.outcome == TaskOutcome::Finished)
        {
            return Err(format!("task {task} has finished and is granted again"));
        }
        let job = self
            .jobs
            .get(&task.job)
            .ok_or_else(|| format!("task {task} is granted, and its job never was"))?;
        let mut memory_mib = 0;
        if of_user {
            if job.over || job.disabled {
                return Err(format!("task {task} is granted, and its job is over or disabled"));
            }
            let spec = job
                .tasks
                .get(&task.number)
                .ok_or_else(|| format!("there is no task {task}"))?;
            memory_mib = spec.memory_mib.unwrap_or(0);
            expect_whole(task, spec, &held)?;
            self.expect_dependencies(task, job, spec)?;
            let running: BTreeSet<TaskId> = self
                .attempts
                .values()
                .filter(|attempt| !attempt.over)
                .map(|attempt| attempt.task)
                .filter(|other| other.job == task.job && !other.number.is_per_node())
                .collect();
            if let Some(most) = job.spec.max_parallel_tasks
                && running.len() >= most as usize
            {
                return Err(format!(
                    "task {task} is granted beyond the {most} tasks that its job wants at a time"
                ));
            }
        }
        if !ahead {
            self.expect_room(id, &held, memory_mib)?;
        }
        self.attempts.insert(
            id,
            Attempt {
                task,
                held,
                memory_mib,
                ahead,
                over: false,
            },
        );
        Ok(())
    }

    fn expect_dependencies(&self, task: TaskId, job: &Job, spec: &TaskSpec) -> Result<(), String> {
        let wanted = |number: TaskNumber, other: &TaskSpec| {
            spec.depends_on.contains(&other.name)
                || spec
                    .depends_on_ranges
                    .iter()
                    .any(|range| (range.first..=range.last).contains(&number))
        };
        for (number, other) in job.tasks.iter().filter(|(number, other)| wanted(**number, other)) {
            let id = TaskId::new(task.job, *number);
            let members: Vec<TaskId> = match other.sweep {
                Some(sweep) => sweep.steps().map(|step| TaskId { step: Some(step), ..id }).collect(),
                None => vec![id],
            };
            for member in members {
                let Some(end) = self.ends.get(&member).filter(|_| !self.is_waiting(member)) else {
                    return Err(format!("task {task} is granted before task {member} has ended"));
                };
                if !job.spec.run_dependents_of_failed && !satisfies(other, end) {
                    return Err(format!("task {task} is granted, and task {member} did not end well"));
                }
            }
        }
        Ok(())
    }

    /// Whether a task that once ended is being tried again.
    fn is_waiting(&self, task: TaskId) -> bool {
        self.is_tried(task) && !self.ends.contains_key(&task)
    }

    /// How often somebody, or its own failure, asked for a task to run again.
    pub(super) fn asked_again(&self, task: TaskId) -> u32 {
        self.asked.get(&task).copied().unwrap_or(0)
    }

    /// Whether somebody finished the job while tasks of it ran.
    pub(super) fn was_finished_by_hand(&self, job: JobId) -> bool {
        self.by_hand.contains(&job)
    }

    /// How a task ended, if it did.
    pub(super) fn end(&self, task: TaskId) -> Option<&TaskOutcome> {
        self.ends.get(&task).map(|end| &end.outcome)
    }
}

fn satisfies(spec: &TaskSpec, end: &End) -> bool {
    if end.outcome == TaskOutcome::Finished {
        return true;
    }
    let rules = spec.exit_conditions.iter().flat_map(|conditions| &conditions.codes);
    let code = match &end.outcome {
        TaskOutcome::Failed {
            cause: AttemptOutcome::Exited { code },
        } => Some(*code),
        _ => None,
    };
    let fitting = code.and_then(|code| rules.into_iter().find(|rule| (rule.first..=rule.last).contains(&code)));
    fitting.is_some_and(|rule| rule.options.dependency == Some(DependencyAction::Satisfy))
}

/// All or nothing: a task holds what it asked for, and no more than it may.
fn expect_whole(task: TaskId, spec: &TaskSpec, held: &BTreeMap<NodeId, u32>) -> Result<(), String> {
    let slots: u32 = held.values().sum();
    let whole = match spec.request {
        Request::Cores { count } => slots == count,
        Request::Nodes { count } => held.len() == count as usize && held.values().all(|slots| *slots == CORES),
        Request::Sockets { .. } | Request::Beside { .. } => true,
    };
    if whole {
        Ok(())
    } else {
        Err(format!("task {task} asked for {} and holds {held:?}", spec.request))
    }
}
