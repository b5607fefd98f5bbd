//! What placing a task depends on, so that equal tasks are looked at once.

use std::collections::BTreeMap;
use std::sync::Arc;

use proto::ids::{NodeName, ResourceName};
use proto::model::task::{Request, TaskSpec};
use proto::units::Millis;

/// What placing a task depends on. Tasks of one job with the same shape fit or do not fit alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shape {
    pub(crate) request: Request,
    /// Up to so many units where they are free; at least those of the request.
    pub(crate) most: u32,
    /// No other task on its nodes.
    pub(crate) alone: bool,
    /// Its nodes may be of several placement domains, even if one alone would hold it.
    pub(crate) any_domain: bool,
    /// Its own run-time limit.
    pub(crate) limit: Option<Millis>,
    /// What it needs on each node beside slots; none for most tasks.
    pub(crate) wares: Option<Arc<Wares>>,
    /// The node that it likes best.
    pub(crate) affinity: Option<NodeName>,
}

/// What is counted on a node beside slots: needed by a task on each of its nodes, or had by a node.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Wares {
    /// In MiB.
    pub(crate) memory_mib: u64,
    /// Countable resources.
    pub(crate) resources: BTreeMap<ResourceName, u32>,
}

impl Shape {
    pub(crate) fn of(spec: &TaskSpec) -> Self {
        let least = match spec.request {
            Request::Cores { count } | Request::Sockets { count } | Request::Nodes { count } => count,
            Request::Beside { .. } => 0,
        };
        Self {
            request: spec.request,
            most: spec.request_max.map_or(least, |most| most.max(least)),
            alone: spec.exclusive,
            any_domain: spec.any_domain,
            limit: spec.runtime_limit,
            wares: Wares::of(spec),
            affinity: spec.affinity.clone(),
        }
    }
}

impl Wares {
    /// What a task needs on each of its nodes; none when that is slots only.
    pub(crate) fn of(spec: &TaskSpec) -> Option<Arc<Self>> {
        let asks = spec.memory_mib.is_some_and(|mib| mib > 0) || !spec.resources.is_empty();
        asks.then(|| {
            Arc::new(Self {
                memory_mib: spec.memory_mib.unwrap_or(0),
                resources: spec.resources.clone(),
            })
        })
    }

    /// The first of these that is not there in full; none when all of it is.
    pub(crate) fn lack(&self, there: &Self) -> Option<Lack<'_>> {
        if self.memory_mib > there.memory_mib {
            return Some(Lack::Memory);
        }
        let short = |(name, count): &(&ResourceName, &u32)| there.resources.get(*name).is_none_or(|had| had < *count);
        self.resources.iter().find(short).map(|(name, _)| Lack::Resource(name))
    }

    /// Takes these off what is there.
    pub(crate) fn take_off(&self, there: &mut Self) {
        there.memory_mib = there.memory_mib.saturating_sub(self.memory_mib);
        for (name, count) in &self.resources {
            if let Some(had) = there.resources.get_mut(name) {
                *had = had.saturating_sub(*count);
            }
        }
    }
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lack<'a> {
    Memory,
    Resource(&'a ResourceName),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wares_are_taken_while_they_last() {
        let gpu = ResourceName::new("gpu").expect("a name");
        let wares = |memory_mib, gpus| Wares {
            memory_mib,
            resources: [(gpu.clone(), gpus)].into(),
        };
        let mut there = wares(100, 2);
        let asked = wares(60, 1);
        assert_eq!(asked.lack(&there), None);
        asked.take_off(&mut there);
        assert_eq!(there, wares(40, 1));
        assert_eq!(asked.lack(&there), Some(Lack::Memory));
        assert_eq!(wares(10, 2).lack(&there), Some(Lack::Resource(&gpu)));
        assert_eq!(asked.lack(&Wares::default()), Some(Lack::Memory));
    }
}
