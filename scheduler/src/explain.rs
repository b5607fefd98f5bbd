//! Why a job waits: its first waiting task against every node, with counts, and what else holds it up. Made when somebody
//! asks, never in the placement pass.

use std::collections::BTreeMap;

use proto::ids::{JobId, NodeId, TaskId};
use proto::model::job::{JobRow, JobSpec, JobState};
use proto::model::node::{Liveness, NodeRow};
use proto::model::task::{Request, TaskRow, TaskState};
use proto::model::why::{Cause, Hold, Why};

use crate::cluster::{Class, ClassId, Cluster, Shape, Tenant, hindrance};
use crate::plan::{Budget, Capacity, Measure, Need, slots_per_socket};

/// Why a job waits; none when nothing of it does, or when there is no such job in memory.
#[must_use]
pub fn explain(cluster: &Cluster, id: JobId) -> Option<Why> {
    let job = cluster.job(id)?;
    let class = cluster.class(cluster.class_of(id)?)?;
    let task = first_waiting(cluster, job)?;
    let subject = Subject {
        job: id,
        spec: &job.spec,
        class,
        task: task.id,
        shape: Shape::of(&task.spec),
        started: job.state != JobState::Queued,
    };
    Some(subject.explain(cluster, hold(cluster, job, task)))
}

/// The first task that could be started if there were room; else the first that waits for something else.
fn first_waiting<'a>(cluster: &'a Cluster, job: &JobRow) -> Option<&'a TaskRow> {
    if job.counts.queued == 0 {
        return None;
    }
    let waiting = || cluster.tasks_of(job.id).filter(|task| task.state == TaskState::Queued);
    waiting()
        .find(|task| cluster.queue().contains(job.spec.priority, task.id))
        .or_else(|| waiting().next())
}

/// What keeps a task out of the queue; none when it is in.
fn hold(cluster: &Cluster, job: &JobRow, task: &TaskRow) -> Option<Hold> {
    if job.state == JobState::Configuring {
        return Some(Hold::Configuring);
    }
    if cluster.queue().contains(job.spec.priority, task.id) {
        return None;
    }
    if let Some(at) = job.spec.hold_until.filter(|_| cluster.is_held(job)) {
        return Some(Hold::Until { at });
    }
    if task.last_attempt.is_some_and(|last| cluster.attempt(last).is_some()) {
        return Some(Hold::LastTry);
    }
    predecessors(cluster, task)
}

/// The tasks that have to end before this one, as far as they have not.
fn predecessors(cluster: &Cluster, task: &TaskRow) -> Option<Hold> {
    let dependencies = cluster.dependencies(task.id.job)?;
    let (names, counts): (Vec<String>, Vec<u32>) = dependencies
        .awaited(&task.spec)
        .map(|(name, open)| (name.to_owned(), open))
        .unzip();
    (!names.is_empty()).then(|| Hold::Tasks {
        names,
        count: counts.into_iter().fold(0, u32::saturating_add),
    })
}

/// One task that waits, of a job in memory or of one that is only rehearsed.
pub(crate) struct Subject<'a> {
    pub(crate) job: JobId,
    pub(crate) spec: &'a JobSpec,
    pub(crate) class: &'a Class,
    pub(crate) task: TaskId,
    pub(crate) shape: Shape,
    /// Whether something of the job ran before.
    pub(crate) started: bool,
}

impl Subject<'_> {
    pub(crate) fn explain(&self, cluster: &Cluster, held: Option<Hold>) -> Why {
        let need = self.need(cluster);
        let mut why = Why {
            job: self.job,
            task: self.task,
            asked: need.request,
            nodes: 0,
            eligible: 0,
            eligible_slots: 0,
            free: 0,
            free_slots: 0,
            causes: BTreeMap::new(),
            ahead: self.ahead(cluster),
            held: held.or_else(|| self.over_budget(cluster)),
        };
        let lanes: Vec<Capacity> = (0..self.class.lanes())
            .map(|lane| Capacity::of(cluster, self.class, lane, need.measure()))
            .collect();
        // Cores and nodes are counted below; of sockets only this says that all together are too few.
        let never = need.measure() == Measure::Sockets && !lanes.iter().any(|lane| lane.can_ever(need));
        let never = never.then_some(Cause::TooSmall);
        for row in cluster.nodes() {
            why.nodes += 1;
            let least = self.least(row, need, &lanes);
            if let Some(cause) = self.unfit(row, need, least).or(never) {
                *why.causes.entry(cause).or_default() += 1;
                continue;
            }
            why.eligible += 1;
            why.eligible_slots = why.eligible_slots.saturating_add(row.slots);
            match self.taken(cluster, row, need, least) {
                Some(cause) => *why.causes.entry(cause).or_default() += 1,
                None => {
                    why.free += 1;
                    why.free_slots = why.free_slots.saturating_add(cluster.floor().free(row));
                }
            }
        }
        why
    }

    /// What the task needs; or, where its job needs more to begin and that is not free, what the job needs.
    fn need(&self, cluster: &Cluster) -> Need {
        let own = Need::of(self.spec, self.shape);
        let Some(units) = self.spec.units.filter(|_| !self.started) else {
            return own;
        };
        let all = Need::exactly(units.min);
        let free = |lane: usize| -> u64 {
            cluster
                .nodes()
                .filter(|row| hindrance(row).is_none() && self.class.excludes(row).is_none())
                .filter(|row| self.class.is_in_lane(lane, row))
                .filter(|row| cluster.floor().occupancy(row.id).admits(self.tenant()))
                .map(|row| u64::from(free_units(cluster, row, all.measure())))
                .sum()
        };
        let begins = (0..self.class.lanes()).any(|lane| free(lane) >= u64::from(all.least));
        if begins { own } else { all }
    }

    fn tenant(&self) -> Tenant {
        Tenant {
            job: self.job,
            job_alone: self.spec.exclusive,
            task_alone: self.shape.alone,
        }
    }

    /// Whether the job's own bound keeps the task back, even if all were free.
    fn over_budget(&self, cluster: &Cluster) -> Option<Hold> {
        let units = self.spec.units?;
        let budget = Budget::of(cluster, self.job, Some(units))?;
        let own = Need::of(self.spec, self.shape);
        (budget.is_tied() || budget.bound(own).is_none()).then_some(Hold::JobUnits { units })
    }

    /// Units that a node must have, at least, to take a part; of several sets of nodes, the set that asks for least.
    fn least(&self, row: &NodeRow, need: Need, capacities: &[Capacity]) -> u32 {
        let own = capacities.iter().enumerate();
        own.filter(|(lane, _)| self.class.is_in_lane(*lane, row))
            .map(|(_, capacity)| capacity.least_units(need))
            .min()
            .unwrap_or(1)
    }

    /// What keeps a node from ever taking a part as it is.
    fn unfit(&self, row: &NodeRow, need: Need, least: u32) -> Option<Cause> {
        if let Request::Beside { node } = need.request {
            return match (row.id == node, row.liveness) {
                (false, _) => Some(Cause::NotRequested),
                (true, Liveness::Up { .. }) => None,
                (true, _) => hindrance(row),
            };
        }
        let class = self.class;
        class
            .outside(row)
            .or_else(|| hindrance(row))
            .or_else(|| class.is_other_size(row).then_some(Cause::OtherSize))
            .or_else(|| {
                let many_on_one = need.measure() == Measure::Nodes && need.single_node && need.least > 1;
                (many_on_one || need.measure().units_of(row) < least).then_some(Cause::TooSmall)
            })
    }

    /// What keeps an eligible node from taking a part now.
    fn taken(&self, cluster: &Cluster, row: &NodeRow, need: Need, least: u32) -> Option<Cause> {
        let tenant = self.tenant();
        let enough = match need.request {
            Request::Beside { .. } => return None,
            Request::Nodes { .. } => cluster.floor().free(row) == row.slots,
            // Of a need that one node can hold, a node takes all; of a larger one, what it has.
            Request::Cores { .. } | Request::Sockets { .. } => free_units(cluster, row, need.measure()) >= least,
        };
        let admits = cluster.floor().occupancy(row.id).admits(tenant);
        match (admits, enough) {
            (false, _) if !tenant.job_alone && !tenant.task_alone => Some(Cause::HeldExclusively),
            (false, _) | (true, false) => Some(Cause::Busy),
            (true, true) => None,
        }
    }

    /// Tasks that are served before this one and want some of the same nodes.
    fn ahead(&self, cluster: &Cluster) -> u32 {
        let beside = matches!(self.shape.request, Request::Beside { .. });
        let in_queue = cluster.queue().contains(self.spec.priority, self.task);
        let known = cluster.job(self.job).is_some();
        if beside || (known && !in_queue) {
            return 0; // It stands in no queue.
        }
        let own = nodes_of(cluster, self.class);
        let mut shares: BTreeMap<ClassId, bool> = BTreeMap::new();
        let mut count = 0;
        for (id, waiting) in cluster.queue().jobs() {
            if id == self.job {
                count += waiting.tasks().take_while(|(task, _)| *task < self.task).count();
                break;
            }
            let (Some(other), Some(class_id)) = (cluster.job(id), cluster.class_of(id)) else {
                continue;
            };
            if other.spec.priority < self.spec.priority {
                break;
            }
            let same = *shares.entry(class_id).or_insert_with(|| {
                cluster
                    .class(class_id)
                    .is_some_and(|class| class == self.class || own.iter().any(|node| may_use(cluster, class, *node)))
            });
            if same {
                count += waiting.tasks().len();
            }
        }
        u32::try_from(count).unwrap_or(u32::MAX)
    }
}

/// Whole units that are free on a node; of whole nodes, the node itself.
fn free_units(cluster: &Cluster, row: &NodeRow, measure: Measure) -> u32 {
    let free = cluster.floor().free(row);
    match measure {
        Measure::Slots => free,
        Measure::Sockets => free / slots_per_socket(row),
        Measure::Nodes => u32::from(row.slots > 0 && free == row.slots),
    }
}

fn nodes_of(cluster: &Cluster, class: &Class) -> Vec<NodeId> {
    cluster
        .nodes()
        .map(|row| row.id)
        .filter(|node| may_use(cluster, class, *node))
        .collect()
}

fn may_use(cluster: &Cluster, class: &Class, node: NodeId) -> bool {
    cluster.node(node).is_some_and(|row| class.excludes(row).is_none())
}
