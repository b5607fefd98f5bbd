//! What users and pools may hold at a time: the limits that an administrator has set. A job at such a limit is passed over
//! and keeps nothing; others go on.

use std::collections::BTreeMap;

use proto::ids::{JobId, PoolName};

use super::need::{Measure, Need};
use super::{Applicant, Part, Pass};
use crate::cluster::Held;

impl<'a> Pass<'a> {
    /// The need with what is left to the user as its most; none when that is too little for it.
    pub(super) fn allowed(&self, job: &Applicant<'_>, need: Need) -> Option<Need> {
        let Some(usage) = &self.usage else { return Some(need) };
        let limits = self.cluster.settings_row().limits.of(job.user);
        let none = Held::default();
        let held = usage.users.get(job.user).unwrap_or(&none);
        let least = if need.measure() == Measure::Slots {
            need.least
        } else {
            1
        };
        if held.exceeds(limits, job.id, u64::from(least)).is_some() {
            return None;
        }
        let left = limits.cores.map_or(u32::MAX, |most| {
            most.saturating_sub(u32::try_from(held.cores).unwrap_or(u32::MAX))
        });
        Some(match need.measure() {
            Measure::Slots => Need {
                most: need.most.min(left),
                ..need
            },
            Measure::Sockets | Measure::Nodes => need,
        })
    }

    /// Pools that may give this job nothing more.
    pub(super) fn full_pools(&self, job: JobId) -> Vec<&'a PoolName> {
        let Some(usage) = &self.usage else { return Vec::new() };
        let none = Held::default();
        let full = self.cluster.pools().filter(|pool| {
            let held = usage.pools.get(&pool.name).unwrap_or(&none);
            held.exceeds(pool.spec.limits, job, 1).is_some()
        });
        full.map(|pool| &pool.name).collect()
    }

    /// Whether its user or a pool would hold too much with these parts.
    pub(super) fn exceeds(&self, job: &Applicant<'_>, parts: &[Part]) -> bool {
        let Some(usage) = &self.usage else { return false };
        let none = Held::default();
        let mut pools: BTreeMap<&PoolName, u64> = BTreeMap::new();
        for (index, slots) in parts {
            *pools.entry(&self.places[*index].row.pool).or_default() += u64::from(*slots);
        }
        let limits = self.cluster.settings_row().limits.of(job.user);
        let held = usage.users.get(job.user).unwrap_or(&none);
        let user_over = held.exceeds(limits, job.id, pools.values().sum()).is_some();
        user_over
            || pools.into_iter().any(|(name, slots)| {
                let limits = self.cluster.pool(name).map(|pool| pool.spec.limits).unwrap_or_default();
                let held = usage.pools.get(name).unwrap_or(&none);
                held.exceeds(limits, job.id, slots).is_some()
            })
    }
}
