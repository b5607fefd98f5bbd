//! What users and administrators ask for, at random: jobs of every shape, and everything that may be done to them.

use std::collections::BTreeMap;

use proto::ids::{JobId, NodeName, SubmissionId, TaskNumber};
use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, ExitRule, Retries};
use proto::model::job::{DisableTasks, JobChange, JobSpec, Priority};
use proto::model::node::{AdminState, Deallocation};
use proto::model::owner::{Caller, Owner, Role};
use proto::model::role::{ManagerSpec, PreparationSpec};
use proto::model::sweep::Sweep;
use proto::model::task::{Request, TaskRange, TaskSpec};
use proto::units::Millis;
use scheduler::Input;

use super::head::Slot;
use super::rng::Rng;

/// Users and administrators.
pub(super) struct Workload {
    rng: Rng,
    nodes: Vec<NodeName>,
    last_slot: Slot,
    /// Whether nearly all tasks are so short that windows fill.
    brisk: bool,
    /// Requests without an answer yet.
    open: BTreeMap<Slot, Input>,
    /// Jobs that were acknowledged, with what was asked, and whether somebody deleted them.
    pub(super) jobs: BTreeMap<JobId, Acknowledged>,
}

/// A job that the cluster owes.
#[derive(Debug, Clone)]
pub(super) struct Acknowledged {
    pub(super) tasks: Vec<TaskSpec>,
    /// Somebody asked for its deletion, which may or may not have come through.
    pub(super) deleted: bool,
}

/// A user by number; 0 is root, who may do everything.
pub(super) fn caller(uid: u32) -> Caller {
    let name = if uid == 0 { "root".to_owned() } else { format!("u{uid}") };
    Caller {
        owner: Owner { name, uid, gid: uid },
        role: if uid == 0 { Role::Administrator } else { Role::User },
    }
}

impl Workload {
    pub(super) const fn new(rng: Rng, nodes: Vec<NodeName>, brisk: bool) -> Self {
        Self {
            rng,
            nodes,
            last_slot: 0,
            brisk,
            open: BTreeMap::new(),
            jobs: BTreeMap::new(),
        }
    }

    /// The next thing that somebody asks for.
    pub(super) fn next(&mut self) -> (Slot, Input) {
        let input = match self.rng.within(1, 100) {
            1..=55 => self.submission(),
            56..=75 => self.about_a_job().unwrap_or_else(|| self.submission()),
            76..=90 => self.about_a_node(),
            _ => self.about_a_job().unwrap_or_else(|| self.about_a_node()),
        };
        (self.ask(input.clone()), input)
    }

    /// Remembers a request until it is answered.
    pub(super) fn ask(&mut self, input: Input) -> Slot {
        self.last_slot += 1;
        self.open.insert(self.last_slot, input);
        self.last_slot
    }

    /// What is sent again after the head node was gone: submissions, which are safe to repeat. The rest is given up.
    pub(super) fn ask_again(&mut self) -> Vec<(Slot, Input)> {
        self.open.retain(|_, input| matches!(input, Input::Submit { .. }));
        self.open.iter().map(|(slot, input)| (*slot, input.clone())).collect()
    }

    /// An answer came.
    pub(super) fn answered(&mut self, slot: Slot, job: Option<JobId>) -> Result<(), String> {
        let Some(input) = self.open.remove(&slot) else {
            return Ok(());
        };
        let (Input::Submit { tasks, .. }, Some(id)) = (input, job) else {
            return Ok(());
        };
        let owed = Acknowledged { tasks, deleted: false };
        match self.jobs.insert(id, owed) {
            Some(_) => Err(format!("two submissions were acknowledged as job {id}")),
            None => Ok(()),
        }
    }

    fn submission(&mut self) -> Input {
        let uid = self.rng.count(1, 3);
        let mut job = self.job();
        let mut tasks = Vec::new();
        for number in 1..=self.rng.count(1, 6) {
            tasks.push(self.task(number, &job));
        }
        if self.rng.percent(10) {
            let mut only = self.work();
            only.name.clear();
            job.manager = Some(Box::new(ManagerSpec {
                task: only,
                kill_job_on_completion: self.rng.percent(50),
                run_exclusive: self.rng.percent(50),
            }));
        }
        Input::Submit {
            caller: caller(uid),
            submission: SubmissionId(u128::from(self.rng.within(1, u64::MAX - 1))),
            job: Box::new(job),
            tasks,
        }
    }

    fn job(&mut self) -> JobSpec {
        let rng = &mut self.rng;
        let mut job = JobSpec {
            priority: Priority::new(i32::try_from(rng.within(0, 4)).unwrap_or(0) * 100).unwrap_or_default(),
            exclusive: rng.percent(5),
            fail_on_task_failure: rng.percent(15),
            run_dependents_of_failed: rng.percent(20),
            ..JobSpec::default()
        };
        if rng.percent(50) {
            job.runtime_limit = Some(Millis(rng.within(500, 8000)));
        }
        if rng.percent(10) {
            job.max_wall_clock = Some(Millis(rng.within(5000, 20_000)));
        }
        if rng.percent(15) {
            job.max_parallel_tasks = Some(rng.count(1, 3));
        }
        if rng.percent(15) {
            job.max_retries = Some(Retries::AtMost(rng.count(1, 2)));
        }
        if rng.percent(15) {
            job.preparation = Some(Box::new(PreparationSpec {
                task: self.work(),
                wait_for_success: self.rng.percent(80),
                rerun_after_reboot: self.rng.percent(50),
            }));
            if self.rng.percent(60) {
                job.release = Some(Box::new(self.work()));
            }
        }
        let over: Vec<JobId> = self.jobs.keys().copied().collect();
        if self.rng.percent(10)
            && let Some(parent) = self.rng.pick(&over)
        {
            job.parents = vec![*parent];
        }
        job
    }

    /// `work MS CODE`, mostly short and mostly well.
    fn work(&mut self) -> TaskSpec {
        let rng = &mut self.rng;
        let ms = match rng.within(1, 20) {
            3..=20 if self.brisk => rng.within(1, 12),
            1..=11 => rng.within(1, 60),
            12..=16 => rng.within(60, 1500),
            17 | 18 => rng.within(1500, 9000),
            // Longer than a lost node takes to be given up.
            _ => rng.within(9000, 45_000),
        };
        let code = if rng.percent(85) { 0 } else { rng.within(1, 4) };
        TaskSpec::of_command(vec!["work".to_owned(), ms.to_string(), code.to_string()])
    }

    fn task(&mut self, number: u32, job: &JobSpec) -> TaskSpec {
        let mut task = self.work();
        let rng = &mut self.rng;
        task.name = format!("t{number}");
        task.request = match rng.within(1, 20) {
            1..=12 => Request::Cores { count: 1 },
            13..=15 => Request::Cores { count: rng.count(2, 4) },
            16 => Request::Cores { count: rng.count(5, 8) },
            _ => Request::Nodes { count: rng.count(1, 4) },
        };
        task.rerunnable = rng.percent(80);
        task.exclusive = rng.percent(5);
        if rng.percent(25) {
            task.memory_mib = Some(rng.within(256, 6000));
        }
        if rng.percent(40) {
            task.runtime_limit = Some(Millis(rng.within(100, 4000)));
        }
        if rng.percent(10) {
            task.max_retries = Some(Retries::AtMost(rng.count(0, 3)));
        }
        let several = matches!(task.request, Request::Nodes { count } if count > 1);
        if several && rng.percent(40) {
            task.coordination = Some(vec!["true".to_owned()]);
        }
        if several && rng.percent(30) {
            task.any_domain = true;
        }
        if number > 1 && rng.percent(25) {
            if rng.percent(50) {
                task.depends_on = vec![format!("t{}", rng.count(1, number - 1))];
            } else {
                let first = rng.count(1, number - 1);
                task.depends_on_ranges = vec![TaskRange {
                    first: TaskNumber(first),
                    last: TaskNumber(rng.count(first, number - 1)),
                }];
            }
        }
        if rng.percent(15) {
            task.sweep = Sweep::new(1, rng.count(2, 12), 1).ok();
        }
        if rng.percent(15) {
            task.exit_conditions = Some(Box::new(ExitConditions {
                codes: vec![ExitRule {
                    first: 1,
                    last: 2,
                    options: ExitOptions {
                        dependency: Some(DependencyAction::Satisfy),
                        job: None,
                    },
                }],
                ..ExitConditions::default()
            }));
        }
        if job.single_node {
            task.request = Request::Cores { count: 1 };
        }
        task
    }

    fn about_a_job(&mut self) -> Option<Input> {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        let job = *self.rng.pick(&jobs)?;
        let caller = caller(0);
        Some(match self.rng.within(1, 12) {
            1 | 2 => Input::CancelJob {
                caller,
                job,
                force: self.rng.percent(30),
                message: String::new(),
            },
            3 | 4 => Input::RequeueJob {
                caller,
                job,
                stored: None,
            },
            5 => Input::DisableJob {
                caller,
                job,
                tasks: match self.rng.within(1, 3) {
                    1 => DisableTasks::Requeue,
                    2 => DisableTasks::Terminate,
                    _ => DisableTasks::Wait,
                },
            },
            6 | 7 => Input::EnableJob { caller, job },
            8 => Input::TerminateJob {
                caller,
                job,
                reason: String::new(),
            },
            9 => {
                if let Some(owed) = self.jobs.get_mut(&job) {
                    owed.deleted = true;
                }
                Input::DeleteJob {
                    caller,
                    job,
                    stored: None,
                }
            }
            10 => Input::FinishJob {
                caller,
                job,
                message: String::new(),
            },
            _ => Input::ModifyJob {
                caller,
                job,
                change: Box::new(JobChange {
                    priority: Priority::new(i32::try_from(self.rng.within(0, 4)).unwrap_or(0) * 100).ok(),
                    ..JobChange::default()
                }),
            },
        })
    }

    fn about_a_node(&mut self) -> Input {
        let caller = caller(0);
        let nodes = self.rng.pick(&self.nodes).cloned().into_iter().collect();
        let option = match self.rng.within(1, 4) {
            1 => Deallocation::Requeue,
            2 => Deallocation::Terminate,
            _ => Deallocation::TaskCompletion,
        };
        let admin = if self.rng.percent(60) {
            AdminState::Online
        } else {
            AdminState::Offline
        };
        if self.rng.percent(20) {
            return Input::RestartNodes {
                caller,
                nodes,
                option,
                reimage: false,
            };
        }
        Input::SwitchNodes {
            caller,
            nodes,
            admin,
            option,
        }
    }

    /// Faults are over: all nodes work again.
    pub(super) fn all_online(&mut self) -> (Slot, Input) {
        let input = Input::SwitchNodes {
            caller: caller(0),
            nodes: Vec::new(),
            admin: AdminState::Online,
            option: Deallocation::default(),
        };
        (self.ask(input.clone()), input)
    }

    /// Faults are over: a job that can run nowhere is given up.
    pub(super) fn cancel(&mut self, job: JobId) -> (Slot, Input) {
        let input = Input::CancelJob {
            caller: caller(0),
            job,
            force: false,
            message: String::new(),
        };
        (self.ask(input.clone()), input)
    }

    /// Faults are over: a job that somebody disabled goes on.
    pub(super) fn enable(&mut self, job: JobId) -> (Slot, Input) {
        let input = Input::EnableJob { caller: caller(0), job };
        (self.ask(input.clone()), input)
    }
}
