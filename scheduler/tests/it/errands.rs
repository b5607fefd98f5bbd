//! Random requests about jobs and tasks: put together, changed, held, run again, finished. Most name a job that is over or
//! was never made, and are refused; whatever is taken has to keep the promises.

use proptest::prelude::*;
use proto::ids::{JobId, Step, SubmissionId, TaskId, TaskNumber};
use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, ExitRule, Retries};
use proto::model::job::{JobChange, JobSpec, Priority, SetTo};
use proto::model::sweep::Sweep;
use proto::model::task::{ExitCodes, TaskKind, TaskRange, TaskSpec};
use proto::units::{Millis, Timestamp};
use scheduler::Input;

use crate::world::{World, root, user};

#[derive(Debug, Clone)]
pub(crate) struct Errand {
    job: u64,
    task: u32,
    step: Option<u32>,
    /// Choices, used as each kind needs them.
    choice: [bool; 4],
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    New,
    Add,
    Put,
    Modify,
    Clone,
    Requeue,
    Finish,
    CancelTask,
    RequeueTask,
    FinishTask,
    Reactivate,
}

/// The names of tasks. A name waits only for those before it or, where that is refused, in a ring.
const NAMES: [&str; 4] = ["", "a", "b", "c"];

pub(crate) fn errand() -> impl Strategy<Value = Errand> {
    let kind = prop_oneof![
        3 => Just(Kind::New),
        8 => Just(Kind::Add),
        4 => Just(Kind::Put),
        2 => Just(Kind::Modify),
        1 => Just(Kind::Clone),
        3 => Just(Kind::Requeue),
        1 => Just(Kind::Finish),
        2 => Just(Kind::CancelTask),
        4 => Just(Kind::RequeueTask),
        1 => Just(Kind::FinishTask),
        3 => Just(Kind::Reactivate),
    ];
    (
        1..12u64,
        1..5u32,
        prop::option::of(0..3u32),
        prop::array::uniform4(any::<bool>()),
        kind,
    )
        .prop_map(|(job, task, step, choice, kind)| Errand {
            job,
            task,
            step,
            choice,
            kind,
        })
}

impl Errand {
    pub(crate) fn input(&self, world: &World, submission: SubmissionId) -> Input {
        let [a, b, c, d] = self.choice;
        let job = JobId(self.job);
        let task = TaskId {
            step: self.step.filter(|_| a).map(Step),
            ..TaskId::new(job, TaskNumber(self.task))
        };
        let stored = world.stored_job(job);
        let tasks = vec![task];
        let caller = root();
        match self.kind {
            Kind::New => Input::NewJob {
                caller: user("ann"),
                submission,
                job: Box::new(JobSpec {
                    fail_on_task_failure: a && b,
                    run_dependents_of_failed: b && c,
                    run_until_canceled: c && d,
                    perform_exit_actions: a && c,
                    max_parallel_tasks: (a && b).then_some(2),
                    max_retries: (b && !a).then_some(Retries::AtMost(1)),
                    valid_exit_codes: d.then(|| ExitCodes::new(vec![(1, 1)]).expect("a code")),
                    hold_until: (a && d).then(|| self.later(world)),
                    ..JobSpec::default()
                }),
            },
            Kind::Add => Input::AddTasks {
                caller,
                submission,
                job,
                tasks: vec![self.task(a, [b, c, d])],
                stored,
            },
            Kind::Put => Input::SubmitJob { caller, job },
            Kind::Modify => Input::ModifyJob {
                caller,
                job,
                change: Box::new(JobChange {
                    priority: a.then(|| Priority::new(if b { 5 } else { -5 }).expect("in range")),
                    hold_until: c.then(|| {
                        if d {
                            SetTo::Nothing
                        } else {
                            SetTo::Value(self.later(world))
                        }
                    }),
                    run_dependents_of_failed: (a && d).then_some(b),
                    run_until_canceled: (b && d).then_some(c),
                    exclusive: (b && c).then_some(d),
                    ..JobChange::default()
                }),
            },
            Kind::Clone => Input::CloneJob {
                caller,
                submission,
                job,
                stored,
            },
            Kind::Requeue => Input::RequeueJob { caller, job, stored },
            Kind::Finish => Input::FinishJob {
                caller,
                job,
                message: String::new(),
            },
            Kind::CancelTask => Input::CancelTasks {
                caller,
                tasks,
                force: b,
                message: String::new(),
            },
            Kind::RequeueTask => Input::RequeueTasks { caller, tasks, stored },
            Kind::Reactivate => Input::ReactivateTasks { caller, tasks },
            Kind::FinishTask => Input::FinishTasks {
                caller,
                tasks,
                message: String::new(),
            },
        }
    }

    /// `rules` has it follow the newer rules of single tasks.
    fn task(&self, rules: bool, [sweep, depends, backwards]: [bool; 3]) -> TaskSpec {
        let mut task = TaskSpec::of_command(vec!["run".to_owned(), "*".to_owned()]);
        let name = self.task as usize % NAMES.len();
        task.name = NAMES[name].to_owned();
        task.sweep = sweep.then(|| Sweep::new(0, 2, 1).expect("a sweep"));
        task.rerunnable = !(sweep && backwards);
        let others = match backwards {
            false => &NAMES[1..name.max(1)],
            true => &NAMES[name + 1..],
        };
        task.depends_on = others
            .iter()
            .filter(|_| depends)
            .map(|name| (*name).to_owned())
            .collect();
        if rules {
            self.give_rules(&mut task, depends);
        }
        task
    }

    fn give_rules(&self, task: &mut TaskSpec, depends: bool) {
        if task.sweep.is_some() && !depends {
            // Refused where the job does not bound itself.
            task.kind = TaskKind::Service;
            return;
        }
        task.max_retries = Some(Retries::AtMost(self.task % 3));
        let options = ExitOptions {
            dependency: (self.task > 1).then_some(DependencyAction::Satisfy),
            job: None,
        };
        let codes = vec![ExitRule {
            first: 1,
            last: 1,
            options,
        }];
        task.exit_conditions = Some(Box::new(ExitConditions {
            codes,
            ..ExitConditions::default()
        }));
        // From the first on, so that all are there: a range with its own number is refused.
        let first_ones = TaskRange {
            first: TaskNumber(1),
            last: TaskNumber(self.task),
        };
        task.depends_on_ranges = depends.then_some(first_ones).into_iter().collect();
    }

    fn later(&self, world: &World) -> Timestamp {
        world.now.wall + Millis::from_seconds(u64::from(self.task) * 20)
    }
}
