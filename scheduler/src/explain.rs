//! Why a job waits: its first waiting task against every node, with counts, and what else holds it up. Made when somebody
//! asks, never in the placement pass.

mod hold;
mod next;

use std::borrow::Cow;
use std::collections::BTreeMap;

use proto::ids::{DomainName, JobId, NodeId, TaskId};
use proto::model::job::{JobRow, JobSpec, JobState};
use proto::model::node::{Liveness, NodeRow};
use proto::model::task::{Request, TaskRow, TaskState};
use proto::model::why::{Cause, Hold, Why};
use proto::units::Now;

use crate::cluster::{Class, ClassId, Cluster, Lack, Shape, Tenant, hindrance, wares_of};
use crate::plan::{Budget, Capacity, Forecast, Measure, Need, Reach, domain_of, forecast, slots_per_socket};
use hold::is_prepared;

/// Why a job waits, told by its first waiting task; none when nothing of it does, or when there is no such job in memory.
/// A job whose tasks all hold nodes may still wait for its preparation task there.
#[must_use]
pub fn explain(cluster: &Cluster, id: JobId, now: Now) -> Option<Why> {
    let job = cluster.job(id)?;
    let prepared = || {
        cluster
            .tasks_of(id)
            .find(|task| is_prepared(cluster, task))
            .map(Cow::Borrowed)
    };
    let task = first_waiting(cluster, job).or_else(prepared)?;
    explain_row(cluster, job, &task, now)
}

/// Why one task waits; none when it does not.
#[must_use]
pub fn explain_task(cluster: &Cluster, id: TaskId, now: Now) -> Option<Why> {
    let (job, row) = (cluster.job(id.job)?, cluster.task_or_untouched(id)?);
    // Of an array, its first element that waits.
    let row = cluster.first_untouched(&row).map_or(row, Cow::Owned);
    let waits = row.state == TaskState::Queued || is_prepared(cluster, &row);
    waits.then(|| explain_row(cluster, job, &row, now)).flatten()
}

fn explain_row(cluster: &Cluster, job: &JobRow, task: &TaskRow, now: Now) -> Option<Why> {
    let class = cluster.class(cluster.class_of(job.id)?)?;
    let subject = Subject {
        job: job.id,
        user: &job.owner.name,
        spec: &job.spec,
        class,
        task: task.id,
        shape: Shape::of(&task.spec),
        started: job.state != JobState::Queued,
        running: job.counts.running,
    };
    let hold = hold::hold(cluster, job, task);
    let forecast = match hold {
        Some(_) => Forecast::default(),
        None => forecast(cluster, job.id, task.id, &subject.shape, now),
    };
    Some(subject.explain(cluster, hold, &forecast))
}

/// The first task that could be started if there were room; else the first that waits for something else.
fn first_waiting<'a>(cluster: &'a Cluster, job: &JobRow) -> Option<Cow<'a, TaskRow>> {
    if job.counts.queued == 0 {
        return None;
    }
    let waiting = || cluster.tasks_of(job.id).filter(|task| cluster.waits(task));
    let in_queue = |task: &&TaskRow| cluster.queue().contains(job.spec.priority, task.id);
    let first = waiting().find(in_queue).or_else(|| waiting().next())?;
    // Of an array its first untouched element waits, unless one before it waits again.
    let Some(untouched) = cluster.first_untouched(first) else {
        return Some(Cow::Borrowed(first));
    };
    let again = cluster
        .elements_of(first.id)
        .find(|task| cluster.waits(task) && in_queue(task));
    Some(match again.filter(|task| task.id < untouched.id) {
        Some(again) => Cow::Borrowed(again),
        None => Cow::Owned(untouched),
    })
}

/// One task that waits, of a job in memory or of one that is only rehearsed.
pub(crate) struct Subject<'a> {
    pub(crate) job: JobId,
    /// Whose it is.
    pub(crate) user: &'a str,
    pub(crate) spec: &'a JobSpec,
    pub(crate) class: &'a Class,
    pub(crate) task: TaskId,
    pub(crate) shape: Shape,
    /// Whether something of the job ran before.
    pub(crate) started: bool,
    /// Tasks of it that hold nodes.
    pub(crate) running: u32,
}

impl Subject<'_> {
    pub(crate) fn explain(&self, cluster: &Cluster, held: Option<Hold>, forecast: &Forecast) -> Why {
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
            held: held
                .or_else(|| self.over_budget(cluster))
                .or_else(|| self.over_limit(cluster)),
            next: None,
            expected_start: forecast.start,
            short_nodes: None,
        };
        let wares = self.shape.wares.as_deref();
        let lanes: Vec<Capacity> = (0..self.class.lanes())
            .map(|lane| Capacity::of(cluster, self.class, lane, need.measure(), wares))
            .collect();
        // Cores and nodes are counted below; of sockets only this says that all together are too few.
        let never = need.measure() == Measure::Sockets && !lanes.iter().any(|lane| lane.can_ever(need));
        let never = never.then_some(Cause::TooSmall);
        let unfit = |row: &NodeRow| self.unfit(cluster, row, need, &lanes).or(never);
        let domains = self.small_domains(cluster, need, &lanes, unfit);
        for row in cluster.nodes() {
            why.nodes += 1;
            let too_small = || domains.contains(&domain_of(row)).then_some(Cause::DomainTooSmall);
            if let Some(cause) = unfit(row).or_else(too_small) {
                *why.causes.entry(cause).or_default() += 1;
                continue;
            }
            why.eligible += 1;
            why.eligible_slots = why.eligible_slots.saturating_add(row.slots);
            let reserved = || forecast.kept.contains(&row.id).then_some(Cause::Reserved);
            match self
                .taken(cluster, row, need, self.least(row, need, &lanes))
                .or_else(reserved)
            {
                Some(cause) => *why.causes.entry(cause).or_default() += 1,
                None => {
                    why.free += 1;
                    why.free_slots = why.free_slots.saturating_add(cluster.floor().free(row));
                }
            }
        }
        let short = lanes.iter().map(|lane| lane.short_of(need)).min().flatten();
        why.short_nodes = short.filter(|_| !matches!(need.request, Request::Beside { .. }));
        why.next = self.next(cluster, &why, |row| unfit(row).is_none());
        why
    }

    /// Domains in which too little is ready for a task that has to be in one.
    fn small_domains<'c>(
        &self,
        cluster: &'c Cluster,
        need: Need,
        lanes: &[Capacity],
        unfit: impl Fn(&NodeRow) -> Option<Cause>,
    ) -> Vec<Option<&'c DomainName>> {
        if !lanes.iter().any(|lane| lane.in_one_domain(need)) {
            return Vec::new();
        }
        let mut domains: BTreeMap<Option<&DomainName>, u64> = BTreeMap::new();
        for row in cluster.nodes().filter(|row| unfit(row).is_none()) {
            let units = if need.measure() == Measure::Nodes {
                1
            } else {
                need.measure().units_of(row)
            };
            *domains.entry(domain_of(row)).or_default() += u64::from(units);
        }
        domains.retain(|_, units| *units < u64::from(need.least));
        domains.into_keys().collect()
    }

    /// What the task needs; or, where its job needs more to begin and that is not free, what the job needs.
    fn need(&self, cluster: &Cluster) -> Need {
        let own = Need::of(self.spec, &self.shape);
        let Some(units) = self.spec.units.filter(|_| !self.started) else {
            return own;
        };
        let all = Need::exactly(units.min);
        if own.covers(all) {
            return own;
        }
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
        let own = Need::of(self.spec, &self.shape);
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
    fn unfit(&self, cluster: &Cluster, row: &NodeRow, need: Need, lanes: &[Capacity]) -> Option<Cause> {
        let least = self.least(row, need, lanes);
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
            .or_else(|| self.is_apart(cluster, row, need, lanes).then_some(Cause::NoInterNode))
            .or_else(|| class.is_other_size(row).then_some(Cause::OtherSize))
            .or_else(|| {
                let many_on_one = need.measure() == Measure::Nodes && need.single_node && need.least > 1;
                (many_on_one || need.measure().units_of(row) < least).then_some(Cause::TooSmall)
            })
            .or_else(|| {
                let there = wares_of(row);
                self.shape.wares.as_ref()?.lack(&there).map(|lack| match lack {
                    Lack::Memory => Cause::TooLittleMemory,
                    Lack::Resource(_) => Cause::TooFewResources,
                })
            })
    }

    /// Whether the task needs several nodes, and this one may not work with others.
    fn is_apart(&self, cluster: &Cluster, row: &NodeRow, need: Need, lanes: &[Capacity]) -> bool {
        let several = need.reach != Reach::Apart && lanes.iter().all(|lane| lane.takes_several(need));
        several && cluster.pool(&row.pool).is_some_and(|pool| !pool.spec.inter_node)
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
            (true, true) => {
                let there = cluster.floor().free_wares(row);
                self.shape.wares.as_ref()?.lack(&there).map(|lack| match lack {
                    Lack::Memory => Cause::MemoryBusy,
                    Lack::Resource(_) => Cause::ResourcesBusy,
                })
            }
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
                count += usize::try_from(waiting.count_before(self.task)).unwrap_or(usize::MAX);
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
                count += usize::try_from(waiting.count()).unwrap_or(usize::MAX);
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
