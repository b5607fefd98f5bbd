//! Watches events and nothing else, and knows the promises: no slot is granted twice, a gang starts whole or not at all,
//! what is exclusive is alone, a task that is over never runs again, and no try begins before the last one was let go.
//!
//! Written apart from the scheduler on purpose: it shares no code with what it watches.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId, TaskNumber};
use proto::model::job::JobSpec;
use proto::model::task::TaskSpec;

use crate::course::Course;
use crate::lives::Closed;
use crate::places::Places;

#[derive(Default)]
pub(crate) struct Checker {
    slots: BTreeMap<NodeId, u32>,
    places: Places,
    course: Course,
    closed: Closed,
    /// What is held: by node and attempt, the slots.
    held: BTreeMap<(NodeId, AttemptId), (TaskId, u32)>,
    newest: u64,
}

impl Checker {
    pub(crate) fn see(&mut self, events: &[Event]) {
        for event in events {
            self.see_one(event);
        }
        self.course.expect_going();
    }

    fn see_one(&mut self, event: &Event) {
        self.places.see(event);
        self.course.see(event);
        self.closed.see(event);
        match event {
            Event::NodeUp { node, inventory, .. } => drop(self.slots.insert(*node, inventory.cores)),
            Event::Granted {
                attempt, task, shares, ..
            } => {
                assert!(attempt.0 > self.newest, "attempt {attempt} is not new");
                self.newest = attempt.0;
                let again = self.held.values().any(|(held, _)| held == task);
                assert!(!again, "task {task} is tried again before its last try was let go");
                let shares: Vec<(NodeId, u32)> = shares.iter().map(|share| (share.node, share.slots)).collect();
                self.expect_whole(*task, &shares);
                for (node, slots) in shares {
                    if task.number == TaskNumber::RELEASE {
                        let mut there = self.held.iter().filter(|((other, _), _)| *other == node);
                        let left = there.find(|(_, (other, _))| other.job == task.job);
                        assert!(left.is_none(), "{task} starts before {left:?} has left");
                    }
                    if slots > 0 {
                        self.expect_alone(*task, node);
                    }
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
                    let on_node = self.held.iter().filter(|((other, _), _)| *other == node);
                    let memory = on_node.map(|(_, (task, _))| self.task(*task).1.memory_mib.unwrap_or(0));
                    self.places.expect_memory(node, memory);
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
            Event::JobDeleted { job } => {
                let held = self.held.values().any(|(task, _)| task.job == *job);
                assert!(!held, "job {job} is deleted and holds nodes");
            }
            _ => {}
        }
    }

    /// Whether a job was taken away.
    pub(crate) fn is_deleted(&self, job: JobId) -> bool {
        self.course.is_deleted(job)
    }

    /// A node joined where nobody watched.
    pub(crate) fn joined(&mut self, node: NodeId, groups: &[&str]) {
        self.places.joined(node, groups);
    }

    /// A node is told of a task.
    pub(crate) fn expect_prepared(&self, task: TaskId, nodes: impl Iterator<Item = NodeId>) {
        self.course.expect_prepared(task, nodes);
    }

    fn task(&self, task: TaskId) -> (&JobSpec, &TaskSpec) {
        self.course.task(task)
    }

    fn expect_whole(&self, task: TaskId, shares: &[(NodeId, u32)]) {
        let nodes: BTreeSet<NodeId> = shares.iter().map(|(node, _)| *node).collect();
        assert_eq!(nodes.len(), shares.len(), "task {task} gets a node twice");
        let (job, spec) = self.task(task);
        self.places.expect_fit(task, job, spec, shares, &self.slots);
        if let Some(units) = job.units.filter(|_| !task.number.is_per_node()) {
            let held = self
                .held
                .iter()
                .filter(|(_, (other, slots))| other.job == task.job && *slots > 0);
            let held = held.map(|((node, _), (_, slots))| (*node, *slots));
            self.places
                .expect_within(task, units, held.chain(shares.iter().copied()), &self.slots);
        }
    }

    fn expect_alone(&self, task: TaskId, node: NodeId) {
        let (job, spec) = self.task(task);
        let beside_none = |((n, _), (_, slots)): &(&(NodeId, AttemptId), &(TaskId, u32))| *n == node && *slots > 0;
        for ((_, attempt), (other, _)) in self.held.iter().filter(beside_none) {
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
        self.course.expect_done();
    }
}
