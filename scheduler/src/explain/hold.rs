//! What keeps a task out of the queue, or in it whatever is free.

use proto::ids::TaskId;
use proto::model::job::{JobRow, JobState};
use proto::model::task::{TaskRow, TaskState};
use proto::model::why::Hold;

use super::Subject;
use crate::cluster::{Cluster, Held, Usage};
use crate::plan::{Measure, Need};

/// What keeps a task out of the queue; none when it is in.
pub(super) fn hold(cluster: &Cluster, job: &JobRow, task: &TaskRow) -> Option<Hold> {
    if is_prepared(cluster, task) {
        return Some(Hold::Preparing {
            nodes: task.last_nodes.clone(),
        });
    }
    match job.state {
        JobState::Configuring => return Some(Hold::Configuring),
        JobState::Disabled { .. } => return Some(Hold::Disabled),
        _ => {}
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
    parents(job)
        .or_else(|| predecessors(cluster, task))
        .or_else(|| numbers(cluster, task))
}

/// Whether a task holds nodes and waits for the preparation task of its job there.
pub(super) fn is_prepared(cluster: &Cluster, task: &TaskRow) -> bool {
    let TaskState::Granted { attempt, .. } = task.state else {
        return false;
    };
    cluster.attempt(attempt).is_some_and(|attempt| !attempt.sent)
}

/// The jobs that have to finish before this one, as far as they have not.
fn parents(job: &JobRow) -> Option<Hold> {
    let jobs = job.spec.parents.clone();
    (!jobs.is_empty()).then_some(Hold::Parents { jobs })
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

/// The same, of those that are named by number.
fn numbers(cluster: &Cluster, task: &TaskRow) -> Option<Hold> {
    let dependencies = cluster.dependencies(task.id.job)?;
    let (first, count) = dependencies.awaited_numbers(&task.spec)?;
    Some(Hold::TaskNumbers {
        first: TaskId::new(task.id.job, first),
        count,
    })
}

impl Subject<'_> {
    /// A limit that keeps the task in the queue, whatever is free; or a resource that nobody has.
    pub(super) fn over_limit(&self, cluster: &Cluster) -> Option<Hold> {
        let parallel = self.spec.max_parallel_tasks.filter(|most| self.running >= *most);
        parallel
            .map(|most| Hold::Parallel { most })
            .or_else(|| self.over_user_limit(cluster))
            .or_else(|| self.over_pool_limit(cluster))
            .or_else(|| self.no_such_resource(cluster))
    }

    /// The least slots that the task takes, as far as that is known before it has nodes.
    fn least_slots(&self) -> u64 {
        let need = Need::of(self.spec, &self.shape);
        match need.measure() {
            Measure::Slots => u64::from(need.least),
            Measure::Sockets | Measure::Nodes => 1,
        }
    }

    fn over_user_limit(&self, cluster: &Cluster) -> Option<Hold> {
        if !cluster.has_limits() {
            return None;
        }
        let usage = Usage::of(cluster);
        let held = usage.users.get(self.user).cloned().unwrap_or_default();
        let limits = cluster.settings_row().limits.of(self.user);
        let (limit, most) = held.exceeds(limits, self.job, self.least_slots())?;
        Some(Hold::UserLimit {
            user: self.user.to_owned(),
            limit,
            most,
        })
    }

    /// Of a pool only where the job asks for that one: else another may take it.
    fn over_pool_limit(&self, cluster: &Cluster) -> Option<Hold> {
        let pool = cluster.pool(self.spec.pool.as_ref()?)?;
        if pool.spec.limits.is_none() {
            return None;
        }
        let usage = Usage::of(cluster);
        let held: Held = usage.pools.get(&pool.name).cloned().unwrap_or_default();
        let (limit, most) = held.exceeds(pool.spec.limits, self.job, self.least_slots())?;
        Some(Hold::PoolLimit {
            pool: pool.name.clone(),
            limit,
            most,
        })
    }

    fn no_such_resource(&self, cluster: &Cluster) -> Option<Hold> {
        let wares = self.shape.wares.as_ref()?;
        let had = |name| {
            let mut inventories = cluster.nodes().filter_map(|row| row.inventory.as_ref());
            inventories.any(|inventory| inventory.resources.contains_key(name))
        };
        let resource = wares.resources.keys().find(|name| !had(*name))?;
        Some(Hold::NoSuchResource {
            resource: resource.clone(),
        })
    }
}
