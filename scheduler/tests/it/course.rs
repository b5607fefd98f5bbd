//! The course of jobs, as events tell it, for the checker: nothing starts of a job that is in configuration, held or over;
//! nothing starts before what it depends on by name or number; a task that ended well never runs again; a job ends with all
//! its tasks, and none waits for what can never be.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{JobId, NodeId, ScheduleName, Step, TaskId, TaskNumber};
use proto::model::exit::DependencyAction;
use proto::model::job::JobSpec;
use proto::model::task::{AttemptOutcome, Request, TaskKind, TaskOutcome, TaskSpec};
use proto::units::Timestamp;

#[derive(Default)]
pub(crate) struct Course {
    jobs: BTreeMap<JobId, Job>,
    /// The job that each schedule made last.
    made: BTreeMap<ScheduleName, JobId>,
}

struct Job {
    spec: JobSpec,
    configuring: bool,
    over: bool,
    disabled: bool,
    deleting: bool,
    deleted: bool,
    tasks: BTreeMap<TaskId, (TaskSpec, State)>,
    /// Preparation and release tasks.
    errands: BTreeMap<TaskId, (TaskSpec, State)>,
    /// Tasks whose end lets others run that depend on them.
    satisfied: BTreeSet<TaskId>,
    /// Elements of arrays that no event named.
    untouched: BTreeSet<TaskId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Waits,
    Tried,
    Good,
    Bad,
}

impl Job {
    /// Whether a task of it has no end of its own.
    fn has_service(&self) -> bool {
        self.tasks.values().any(|(spec, _)| spec.kind == TaskKind::Service)
    }
}

impl Course {
    pub(crate) fn see(&mut self, event: &Event) {
        match event {
            Event::JobAdded {
                job,
                spec,
                tasks,
                schedule,
                ..
            } => {
                self.made_by(*job, schedule.as_ref());
                self.created(*job, spec, false);
                self.managed(*job);
                self.added(*job, TaskNumber(1), tasks);
            }
            Event::JobCreated { job, spec, .. } => self.created(*job, spec, true),
            Event::TasksAdded { job, first, tasks, .. } => self.added(*job, *first, tasks),
            Event::JobSubmitted { job: id, .. } => {
                let job = self.job_mut(*id);
                assert!(job.configuring, "a job is submitted twice");
                job.configuring = false;
                self.managed(*id);
            }
            Event::JobDisabled { job } => self.job_mut(*job).disabled = true,
            Event::JobEnabled { job } => {
                let known = self.job_mut(*job);
                assert!(known.disabled, "job {job} is enabled twice");
                known.disabled = false;
            }
            Event::JobDeleting { job } => {
                let known = self.job_mut(*job);
                assert!(!known.deleting, "job {job} is to be deleted twice");
                known.deleting = true;
            }
            Event::JobDeleted { job } => {
                let known = self.job_mut(*job);
                assert!(
                    known.over && !known.deleted,
                    "job {job} is deleted before its end, or twice"
                );
                known.deleted = true;
            }
            Event::JobModified { job, spec, .. } => self.job_mut(*job).spec = (**spec).clone(),
            Event::JobRequeued { job } => assert!(!self.job_mut(*job).over, "job {job} is over and requeued"),
            Event::JobRevived { job, .. } => {
                let known = self.job_mut(job.id);
                assert!(known.over, "job {} is revived and was not over", job.id);
                assert!(
                    !known.deleting && !known.deleted,
                    "job {} is deleted and revived",
                    job.id
                );
                (known.over, known.configuring, known.disabled) = (false, false, false);
                known.errands.clear();
                known.spec = job.spec.clone();
                self.managed(job.id);
            }
            Event::ArrayRestCanceled { task, .. } => self.rest(*task, State::Waits, State::Bad),
            Event::ArrayRestRequeued { task } => self.rest(*task, State::Bad, State::Waits),
            Event::ErrandAdded { task } if !task.number.is_per_node() => {
                let node = NodeId(task.step.expect("a node").0);
                let mut spec = TaskSpec::of_command(vec!["prepare".to_owned()]);
                spec.request = Request::Beside { node };
                let before = self.job_mut(task.job).tasks.insert(*task, (spec, State::Waits));
                let tried = before.is_some_and(|(_, state)| state == State::Tried);
                assert!(!tried, "task {task} is under way and waits anew");
            }
            Event::ErrandForgotten { task } if !task.number.is_per_node() => {
                let before = self.job_mut(task.job).tasks.remove(task).map(|(_, state)| state);
                let idle = before.is_some_and(|state| state != State::Tried);
                assert!(idle, "task {task} is {before:?} and forgotten");
            }
            Event::ErrandAdded { task } => {
                let mut spec = TaskSpec::of_command(vec!["errand".to_owned()]);
                let node = NodeId(task.step.expect("a node").0);
                spec.request = Request::Beside { node };
                let before = self.job_mut(task.job).errands.insert(*task, (spec, State::Waits));
                assert!(before.is_none(), "errand {task} is added twice");
            }
            Event::ErrandForgotten { task } => drop(self.job_mut(task.job).errands.remove(task)),
            Event::Granted { task, .. } if task.number.is_per_node() => self.errand_granted(*task),
            Event::Granted { task, at, .. } => self.granted(*task, *at),
            Event::TaskRequeued { task, asked, .. } => {
                self.job_mut(task.job).untouched.remove(task);
                let state = self.state_mut(*task);
                let allowed = *state == State::Tried || (*asked && *state == State::Bad);
                assert!(allowed, "task {task} is {state:?} and waits again");
                *state = State::Waits;
                self.job_mut(task.job).satisfied.remove(task);
            }
            Event::TaskEnded { task, outcome, .. } => {
                self.job_mut(task.job).untouched.remove(task);
                let state = self.state_mut(*task);
                assert!(matches!(state, State::Waits | State::Tried), "task {task} ends twice");
                *state = match outcome {
                    TaskOutcome::Finished => State::Good,
                    TaskOutcome::Failed { .. } | TaskOutcome::Canceled => State::Bad,
                };
                let job = self.job_mut(task.job);
                if job.tasks.get(task).is_some_and(|(spec, _)| satisfies(spec, outcome)) {
                    job.satisfied.insert(*task);
                }
            }
            Event::JobEnded { job: id, .. } => {
                let job = self.job_mut(*id);
                assert!(!job.over, "job {id} ends twice");
                job.over = true;
                let left = job
                    .tasks
                    .iter()
                    .chain(&job.errands)
                    .find(|(_, (_, state))| !is_over(*state));
                assert!(
                    left.is_none(),
                    "job {id} ends before task {:?}",
                    left.map(|(task, _)| task)
                );
            }
            _ => {}
        }
    }

    /// The elements of an array that nobody touched turn all at once.
    fn rest(&mut self, array: TaskId, from: State, to: State) {
        let untouched = std::mem::take(&mut self.job_mut(array.job).untouched);
        let (ours, others): (BTreeSet<TaskId>, _) = untouched.into_iter().partition(|task| array.covers(*task));
        assert!(!ours.is_empty(), "array {array} has no rest");
        for task in &ours {
            let state = self.state_mut(*task);
            assert_eq!(*state, from, "task {task} of the rest");
            *state = to;
        }
        let job = self.job_mut(array.job);
        job.untouched = ours.into_iter().chain(others).collect();
    }

    fn created(&mut self, id: JobId, spec: &JobSpec, configuring: bool) {
        let job = Job {
            spec: spec.clone(),
            configuring,
            over: false,
            disabled: false,
            deleting: false,
            deleted: false,
            tasks: BTreeMap::new(),
            errands: BTreeMap::new(),
            satisfied: BTreeSet::new(),
            untouched: BTreeSet::new(),
        };
        assert!(self.jobs.insert(id, job).is_none(), "job {id} is added twice");
    }

    /// A job that has a manager task has it from when it is in the queue.
    fn managed(&mut self, id: JobId) {
        let job = self.job_mut(id);
        if let Some(manager) = &job.spec.manager {
            let mut task = manager.task.clone();
            task.exclusive |= manager.run_exclusive;
            let manager = TaskId::new(id, TaskNumber::MANAGER);
            job.tasks.entry(manager).or_insert((task, State::Waits));
        }
    }

    /// A schedule has one live job at most.
    fn made_by(&mut self, job: JobId, schedule: Option<&ScheduleName>) {
        let Some(schedule) = schedule else { return };
        if let Some(before) = self.made.insert(schedule.clone(), job) {
            assert!(
                self.job_mut(before).over,
                "schedule {schedule} makes job {job} beside job {before}"
            );
        }
    }

    /// Whether a job was taken away.
    pub(crate) fn is_deleted(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.deleted)
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
                job.untouched.extend(task.step.map(|_| task));
                let before = job.tasks.insert(task, (spec.clone(), State::Waits));
                assert!(before.is_none(), "task {task} is added twice");
            }
        }
    }

    fn granted(&mut self, id: TaskId, at: Timestamp) {
        let job = self.job_mut(id.job);
        assert!(
            !job.over && !job.configuring && !job.disabled && !job.deleting,
            "job {} does not run, and task {id} does",
            id.job
        );
        assert!(
            job.spec.hold_until.is_none_or(|until| until <= at),
            "job {} is held, and task {id} runs",
            id.job
        );
        let awaited = &job.spec.parents;
        assert!(
            awaited.is_empty(),
            "job {} waits for jobs {awaited:?}, and task {id} runs",
            id.job
        );
        let (spec, state) = &job.tasks[&id];
        assert_eq!(*state, State::Waits, "task {id} runs");
        let awaited = job
            .tasks
            .iter()
            .filter(|(other, (other_spec, _))| depends(spec, **other, other_spec));
        for (other, (_, state)) in awaited {
            let met = job.satisfied.contains(other) || (job.spec.run_dependents_of_failed && is_over(*state));
            assert!(met, "task {id} runs, and {other}, which it depends on, is {state:?}");
        }
        for number in spec
            .depends_on_ranges
            .iter()
            .flat_map(|range| range.first.0..=range.last.0)
        {
            let there = job.tasks.keys().any(|other| other.number.0 == number);
            assert!(
                there,
                "task {id} runs, and no task has the number {number}, which it depends on"
            );
        }
        self.job_mut(id.job).untouched.remove(&id);
        *self.state_mut(id) = State::Tried;
    }

    fn errand_granted(&mut self, id: TaskId) {
        let job = self.job_mut(id.job);
        assert!(!job.over, "job {} is over, and errand {id} runs", id.job);
        if id.number == TaskNumber::RELEASE {
            let left = job.tasks.iter().find(|(_, (_, state))| !is_over(*state));
            assert!(left.is_none(), "{id} runs before task {:?}", left.map(|(task, _)| task));
        }
        let state = self.state_mut(id);
        assert_eq!(*state, State::Waits, "errand {id} runs");
        *state = State::Tried;
    }

    /// The nodes are told of a task only when they are prepared for its job, if it is to wait for that.
    pub(crate) fn expect_prepared(&self, id: TaskId, nodes: impl Iterator<Item = NodeId>) {
        let job = &self.jobs[&id.job];
        let waits = job.spec.preparation.as_ref().is_some_and(|prep| prep.wait_for_success);
        for node in nodes.filter(|_| waits && !id.number.is_per_node()) {
            let errand = TaskId {
                number: TaskNumber::PREPARATION,
                step: Some(Step(node.0)),
                ..id
            };
            let state = job.errands.get(&errand).map(|(_, state)| *state);
            assert_eq!(
                state,
                Some(State::Good),
                "task {id} starts on node {node}, which is not prepared"
            );
        }
    }

    fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs.get_mut(&id).unwrap_or_else(|| panic!("there is no job {id}"))
    }

    fn state_mut(&mut self, id: TaskId) -> &mut State {
        let job = self.job_mut(id.job);
        let task = match id.number.is_per_node() {
            true => job.errands.get_mut(&id),
            false => job.tasks.get_mut(&id),
        };
        &mut task.unwrap_or_else(|| panic!("there is no task {id}")).1
    }

    /// What was asked for a task.
    pub(crate) fn task(&self, id: TaskId) -> (&JobSpec, &TaskSpec) {
        let job = &self.jobs[&id.job];
        let rows = if id.number.is_per_node() {
            &job.errands
        } else {
            &job.tasks
        };
        (&job.spec, &rows[&id].0)
    }

    /// After a round: what is in the queue has something that can still happen to it.
    pub(crate) fn expect_going(&self) {
        let in_queue = self.jobs.iter().filter(|(_, job)| !job.over && !job.configuring);
        for (id, job) in in_queue {
            let mut tasks = job.tasks.values().chain(job.errands.values());
            let goes_on = job.spec.run_until_canceled || job.has_service() || tasks.any(|(_, state)| !is_over(*state));
            assert!(goes_on, "all tasks of job {id} are over, and it is not");
            let mut parents = job.spec.parents.iter();
            let over = parents.find(|parent| self.jobs[parent].over);
            assert!(over.is_none(), "job {id} waits for job {over:?}, which is over");
            if job.spec.run_dependents_of_failed {
                continue;
            }
            let bad = job
                .tasks
                .iter()
                .filter(|(id, (_, state))| is_over(*state) && !job.satisfied.contains(id));
            let bad: Vec<(TaskId, &TaskSpec)> = bad.map(|(id, (spec, _))| (*id, spec)).collect();
            let mut waiting = job.tasks.iter().filter(|(_, (_, state))| *state == State::Waits);
            let stuck = waiting.find(|(_, (spec, _))| bad.iter().any(|(id, other)| depends(spec, *id, other)));
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

fn depends(spec: &TaskSpec, other: TaskId, other_spec: &TaskSpec) -> bool {
    let mut ranges = spec.depends_on_ranges.iter();
    spec.depends_on.contains(&other_spec.name)
        || ranges.any(|range| range.first <= other.number && other.number <= range.last)
}

/// What a story's exit conditions can say: a success satisfies, and so does a failure by a code that a rule lets satisfy.
fn satisfies(spec: &TaskSpec, outcome: &TaskOutcome) -> bool {
    let code = match outcome {
        TaskOutcome::Finished => return true,
        TaskOutcome::Failed {
            cause: AttemptOutcome::Exited { code },
        } => *code,
        _ => return false,
    };
    let rules = spec.exit_conditions.iter().flat_map(|conditions| &conditions.codes);
    let named = rules
        .filter(|rule| rule.first <= code && code <= rule.last)
        .map(|rule| rule.options);
    named
        .take(1)
        .any(|options| options.dependency == Some(DependencyAction::Satisfy))
}
