//! The course of jobs, as events tell it, for the checker: nothing starts of a job that is in configuration, held or over;
//! nothing starts before what it depends on; a task that ended well never runs again; a job ends with all its tasks, and
//! none waits for what can never be.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::job::JobSpec;
use proto::model::task::{TaskOutcome, TaskSpec};
use proto::units::Timestamp;

#[derive(Default)]
pub(crate) struct Course {
    jobs: BTreeMap<JobId, Job>,
}

struct Job {
    spec: JobSpec,
    configuring: bool,
    over: bool,
    tasks: BTreeMap<TaskId, (TaskSpec, State)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Tried,
    Good,
    Bad,
}

impl Course {
    pub(crate) fn see(&mut self, event: &Event) {
        match event {
            Event::JobAdded { job, spec, tasks, .. } => {
                self.created(*job, spec, false);
                self.added(*job, TaskNumber(1), tasks);
            }
            Event::JobCreated { job, spec, .. } => self.created(*job, spec, true),
            Event::TasksAdded { job, first, tasks, .. } => self.added(*job, *first, tasks),
            Event::JobSubmitted { job, .. } => {
                let job = self.job_mut(*job);
                assert!(job.configuring, "a job is submitted twice");
                job.configuring = false;
            }
            Event::JobModified { job, spec, .. } => self.job_mut(*job).spec = (**spec).clone(),
            Event::JobRequeued { job } => assert!(!self.job_mut(*job).over, "job {job} is over and requeued"),
            Event::JobRevived { job, .. } => {
                let known = self.job_mut(job.id);
                assert!(known.over, "job {} is revived and was not over", job.id);
                (known.over, known.configuring) = (false, false);
                known.spec = job.spec.clone();
            }
            Event::Granted { task, at, .. } => self.granted(*task, *at),
            Event::TaskRequeued { task, asked } => {
                let state = self.state_mut(*task);
                let allowed = *state == State::Tried || (*asked && *state == State::Bad);
                assert!(allowed, "task {task} is {state:?} and waits again");
                *state = State::Waits;
            }
            Event::TaskEnded { task, outcome, .. } => {
                let state = self.state_mut(*task);
                assert!(matches!(state, State::Waits | State::Tried), "task {task} ends twice");
                *state = match outcome {
                    TaskOutcome::Finished => State::Good,
                    TaskOutcome::Failed { .. } | TaskOutcome::Canceled => State::Bad,
                };
            }
            Event::JobEnded { job: id, .. } => {
                let job = self.job_mut(*id);
                assert!(!job.over, "job {id} ends twice");
                job.over = true;
                let left = job.tasks.iter().find(|(_, (_, state))| !is_over(*state));
                assert!(
                    left.is_none(),
                    "job {id} ends before task {:?}",
                    left.map(|(task, _)| task)
                );
            }
            _ => {}
        }
    }

    fn created(&mut self, id: JobId, spec: &JobSpec, configuring: bool) {
        let job = Job {
            spec: spec.clone(),
            configuring,
            over: false,
            tasks: BTreeMap::new(),
        };
        assert!(self.jobs.insert(id, job).is_none(), "job {id} is added twice");
    }

    fn added(&mut self, id: JobId, first: TaskNumber, specs: &[TaskSpec]) {
        let job = self.job_mut(id);
        assert!(!job.over, "job {id} is over and gets tasks");
        for (number, spec) in (first.0..).zip(specs) {
            let plain = TaskId::new(id, TaskNumber(number));
            let steps: Vec<TaskId> = match spec.sweep {
                Some(sweep) => sweep
                    .steps()
                    .map(|step| TaskId {
                        step: Some(step),
                        ..plain
                    })
                    .collect(),
                None => vec![plain],
            };
            for task in steps {
                let before = job.tasks.insert(task, (spec.clone(), State::Waits));
                assert!(before.is_none(), "task {task} is added twice");
            }
        }
    }

    fn granted(&mut self, id: TaskId, at: Timestamp) {
        let job = self.job_mut(id.job);
        assert!(
            !job.over && !job.configuring,
            "job {} does not run, and task {id} does",
            id.job
        );
        assert!(
            job.spec.hold_until.is_none_or(|until| until <= at),
            "job {} is held, and task {id} runs",
            id.job
        );
        let (spec, state) = &job.tasks[&id];
        assert_eq!(*state, State::Waits, "task {id} runs");
        let awaited = job
            .tasks
            .iter()
            .filter(|(_, (other, _))| spec.depends_on.contains(&other.name));
        for (other, (_, state)) in awaited {
            let met = *state == State::Good || (job.spec.run_dependents_of_failed && *state == State::Bad);
            assert!(met, "task {id} runs, and {other}, which it depends on, is {state:?}");
        }
        *self.state_mut(id) = State::Tried;
    }

    fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).unwrap_or_else(|| panic!("there is no job {id}"))
    }

    fn state_mut(&mut self, id: TaskId) -> &mut State {
        let task = self.job_mut(id.job).tasks.get_mut(&id);
        &mut task.unwrap_or_else(|| panic!("there is no task {id}")).1
    }

    /// What was asked for a task.
    pub(crate) fn task(&self, id: TaskId) -> (&JobSpec, &TaskSpec) {
        let job = &self.jobs[&id.job];
        (&job.spec, &job.tasks[&id].0)
    }

    /// After a round: what is in the queue has something that can still happen to it.
    pub(crate) fn expect_going(&self) {
        let in_queue = self.jobs.iter().filter(|(_, job)| !job.over && !job.configuring);
        for (id, job) in in_queue {
            let goes_on = job.spec.run_until_canceled || job.tasks.values().any(|(_, state)| !is_over(*state));
            assert!(goes_on, "all tasks of job {id} are over, and it is not");
            if job.spec.run_dependents_of_failed {
                continue;
            }
            let bad = job.tasks.values().filter(|(_, state)| *state == State::Bad);
            let bad: BTreeSet<&String> = bad.map(|(spec, _)| &spec.name).collect();
            let mut waiting = job.tasks.iter().filter(|(_, (_, state))| *state == State::Waits);
            let stuck = waiting.find(|(_, (spec, _))| spec.depends_on.iter().any(|name| bad.contains(name)));
            assert!(
                stuck.is_none(),
                "task {:?} can never start",
                stuck.map(|(task, _)| task)
            );
        }
    }

    /// Every job is over, but those that may stay in configuration.
    pub(crate) fn expect_done(&self) {
        let unfinished = self.jobs.iter().filter(|(_, job)| !job.over && !job.configuring);
        let unfinished: Vec<&JobId> = unfinished.map(|(id, _)| id).collect();
        assert!(unfinished.is_empty(), "never over: {unfinished:?}");
    }
}

const fn is_over(state: State) -> bool {
    matches!(state, State::Good | State::Bad)
}
