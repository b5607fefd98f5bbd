//! What each user and each pool has of its limits. Counted from what jobs hold and from their counts of waiting tasks when
//! somebody asks: a cluster without limits never pays for it.

use std::collections::{BTreeMap, BTreeSet};

use proto::client::UserUse;
use proto::ids::{JobId, PoolName};
use proto::model::job::{JobRow, JobState};
use proto::model::limits::Limits;
use proto::model::why::LimitKind;

use super::Cluster;

/// What somebody holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Held {
    /// Jobs that hold nodes.
    pub(crate) jobs: BTreeSet<JobId>,
    /// Slots.
    pub(crate) cores: u64,
}

impl Held {
    /// The limit that keeps this job from taking so many slots more, and its bound.
    pub(crate) fn exceeds(&self, limits: Limits, job: JobId, slots: u64) -> Option<(LimitKind, u64)> {
        let jobs = self.jobs.len() + usize::from(!self.jobs.contains(&job));
        let jobs_over = limits.running_jobs.filter(|most| jobs > *most as usize);
        let cores_over = || limits.cores.filter(|most| self.cores + slots > u64::from(*most));
        let over = |kind, most| (kind, u64::from(most));
        jobs_over
            .map(|most| over(LimitKind::RunningJobs, most))
            .or_else(|| cores_over().map(|most| over(LimitKind::Cores, most)))
    }

    pub(crate) fn take(&mut self, job: JobId, slots: u32) {
        self.jobs.insert(job);
        self.cores += u64::from(slots);
    }
}

/// What users and pools hold.
#[derive(Debug, Default)]
pub(crate) struct Usage {
    pub(crate) users: BTreeMap<String, Held>,
    pub(crate) pools: BTreeMap<PoolName, Held>,
}

impl Usage {
    /// As it is now.
    pub(crate) fn of(cluster: &Cluster) -> Self {
        let mut all = Self::default();
        for (id, nodes) in cluster.floor().jobs() {
            // A job that is over may be out of memory while a node still holds something of it.
            let user = cluster.job(id).map(|job| job.owner.name.as_str());
            for (node, slots) in nodes {
                if let Some(user) = user {
                    all.take_for_user(user, id, *slots);
                }
                if let Some(row) = cluster.node(*node) {
                    all.take_in_pool(&row.pool, id, *slots);
                }
            }
        }
        all
    }

    pub(crate) fn take_for_user(&mut self, user: &str, job: JobId, slots: u32) {
        if let Some(held) = self.users.get_mut(user) {
            held.take(job, slots);
        } else {
            self.users.entry(user.to_owned()).or_default().take(job, slots);
        }
    }

    pub(crate) fn take_in_pool(&mut self, pool: &PoolName, job: JobId, slots: u32) {
        if let Some(held) = self.pools.get_mut(pool) {
            held.take(job, slots);
        } else {
            self.pools.entry(pool.clone()).or_default().take(job, slots);
        }
    }
}

impl Cluster {
    /// What users have of their limits: those with limits of their own, and those who have anything; by name.
    pub fn user_uses(&self) -> impl Iterator<Item = UserUse> {
        let limits = &self.settings_row.limits;
        let usage = Usage::of(self);
        let mut uses: BTreeMap<String, UserUse> = BTreeMap::new();
        let blank = |user: &str| UserUse {
            user: user.to_owned(),
            limits: limits.of(user),
            own: limits.of.keys().any(|name| name.as_str() == user),
            running_jobs: 0,
            cores: 0,
            queued_tasks: 0,
        };
        for name in limits.of.keys() {
            uses.insert(name.to_string(), blank(name.as_str()));
        }
        for (user, held) in &usage.users {
            let entry = uses.entry(user.clone()).or_insert_with(|| blank(user));
            entry.running_jobs = u32::try_from(held.jobs.len()).unwrap_or(u32::MAX);
            entry.cores = u32::try_from(held.cores).unwrap_or(u32::MAX);
        }
        for job in self.jobs().filter(|job| waits(job)) {
            let user = &job.owner.name;
            let entry = uses.entry(user.clone()).or_insert_with(|| blank(user));
            entry.queued_tasks += u64::from(job.counts.queued);
        }
        uses.into_values()
    }

    /// Whether any user or pool has limits on what it holds; else the placement pass counts nothing.
    pub(crate) fn has_limits(&self) -> bool {
        let users = &self.settings_row.limits;
        !users.each.is_none()
            || users.of.values().any(|limits| !limits.is_none())
            || self.pools.values().any(|pool| !pool.spec.limits.is_none())
    }

    /// Tasks of a user that wait.
    pub(crate) fn queued_tasks_of(&self, user: &str) -> u64 {
        let own = self.jobs().filter(|job| job.owner.name == user && waits(job));
        own.map(|job| u64::from(job.counts.queued)).sum()
    }

    /// Tasks that wait, of jobs that ask for this pool.
    pub(crate) fn queued_tasks_in(&self, pool: &PoolName) -> u64 {
        let own = self
            .jobs()
            .filter(|job| job.spec.pool.as_ref() == Some(pool) && waits(job));
        own.map(|job| u64::from(job.counts.queued)).sum()
    }
}

/// Whether the waiting tasks of a job count: not while it is ending.
const fn waits(job: &JobRow) -> bool {
    !matches!(job.state, JobState::Canceling { .. } | JobState::Ended { .. }) && job.counts.queued > 0
}
