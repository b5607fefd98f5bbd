//! Watches events and nothing else, and knows the promises: no slot is granted twice, a gang starts whole or not at all,
//! what is exclusive is alone, a task that is over never runs again, and no try begins before the last one was let go.
//!
//! Written apart from the scheduler on purpose: it shares no code with what it watches.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId, TaskNumber};
use proto::model::job::JobSpec;
use proto::model::task::{Request, TaskSpec};

#[derive(Default)]
pub(crate) struct Checker {
    slots: BTreeMap<NodeId, u32>,
    jobs: BTreeMap<JobId, (JobSpec, Vec<TaskSpec>)>,
    /// What is held: by node and attempt, the slots.
    held: BTreeMap<(NodeId, AttemptId), (TaskId, u32)>,
    over: BTreeSet<TaskId>,
    jobs_over: BTreeSet<JobId>,
    newest: u64,
}

impl Checker {
    pub(crate) fn see(&mut self, events: &[Event]) {
        for event in events {
            self.see_one(event);
        }
    }

    fn see_one(&mut self, event: &Event) {
        match event {
            Event::NodeUp { node, inventory, .. } => drop(self.slots.insert(*node, inventory.cores)),
            Event::JobAdded { job, spec, tasks, .. } => {
                assert!(
                    self.jobs.insert(*job, ((**spec).clone(), tasks.clone())).is_none(),
                    "job {job} is added twice"
                );
            }
            Event::Granted {
                attempt, task, shares, ..
            } => {
                assert!(attempt.0 > self.newest, "attempt {attempt} is not new");
                self.newest = attempt.0;
                assert!(!self.over.contains(task), "task {task} is over and runs again");
                assert!(
                    !self.jobs_over.contains(&task.job),
                    "job {} is over and runs again",
                    task.job
                );
                let again = self.held.values().any(|(held, _)| held == task);
                assert!(!again, "task {task} is tried again before its last try was let go");
                let shares: Vec<(NodeId, u32)> = shares.iter().map(|share| (share.node, share.slots)).collect();
                self.expect_whole(*task, &shares);
                for (node, slots) in shares {
                    self.expect_alone(*task, node);
                    assert!(
                        self.held.insert((node, *attempt), (*task, slots)).is_none(),
                        "a node is granted twice"
                    );
                    let sum: u32 = self
                        .held
                        .iter()
                        .filter(|((n, _), _)| *n == node)
                        .map(|(_, (_, s))| s)
                        .sum();
                    assert!(
                        sum <= self.slots[&node],
                        "node {node}: {sum} slots are held of {}",
                        self.slots[&node]
                    );
                }
            }
            Event::ShareReleased { attempt, node } => {
                assert!(
                    self.held.remove(&(*node, *attempt)).is_some(),
                    "{attempt} held nothing on node {node}"
                );
            }
            Event::TaskRequeued { task } => assert!(!self.over.contains(task), "task {task} is over and waits again"),
            Event::TaskEnded { task, .. } => assert!(self.over.insert(*task), "task {task} ends twice"),
            Event::JobEnded { job, .. } => {
                assert!(self.jobs_over.insert(*job), "job {job} ends twice");
                let tasks = u32::try_from(self.jobs[job].1.len()).expect("few tasks");
                let all = (1..=tasks).all(|n| {
                    self.over.contains(&TaskId {
                        job: *job,
                        number: TaskNumber(n),
                    })
                });
                assert!(all, "job {job} ends before its tasks");
            }
            _ => {}
        }
    }

    fn task(&self, task: TaskId) -> (&JobSpec, &TaskSpec) {
        let (job, tasks) = &self.jobs[&task.job];
        (job, &tasks[task.number.0 as usize - 1])
    }

    fn expect_whole(&self, task: TaskId, shares: &[(NodeId, u32)]) {
        let nodes: BTreeSet<NodeId> = shares.iter().map(|(node, _)| *node).collect();
        assert_eq!(nodes.len(), shares.len(), "task {task} gets a node twice");
        assert!(
            shares.iter().all(|(_, slots)| *slots > 0),
            "task {task} gets an empty share"
        );
        match self.task(task).1.request {
            Request::Cores { count } => {
                assert_eq!(
                    shares.iter().map(|(_, slots)| slots).sum::<u32>(),
                    count,
                    "task {task} gets all its cores"
                );
            }
            Request::Nodes { count } => {
                assert_eq!(shares.len(), count as usize, "task {task} gets all its nodes");
                assert!(
                    shares.iter().all(|(node, slots)| *slots == self.slots[node]),
                    "task {task} gets whole nodes"
                );
            }
        }
    }

    fn expect_alone(&self, task: TaskId, node: NodeId) {
        let (job, spec) = self.task(task);
        for ((_, attempt), (other, _)) in self.held.iter().filter(|((n, _), _)| *n == node) {
            let (other_job, other_spec) = self.task(*other);
            assert!(
                !spec.exclusive && !other_spec.exclusive,
                "task {task} meets attempt {attempt} on node {node}"
            );
            let strangers = other.job != task.job && (job.exclusive || other_job.exclusive);
            assert!(!strangers, "job {} meets job {} on node {node}", task.job, other.job);
        }
    }

    /// Nothing is held and every job is over.
    pub(crate) fn expect_done(&self) {
        assert!(self.held.is_empty(), "held at the end: {:?}", self.held);
        let unfinished: Vec<&JobId> = self.jobs.keys().filter(|job| !self.jobs_over.contains(job)).collect();
        assert!(unfinished.is_empty(), "never over: {unfinished:?}");
    }
}
