//! What the pass could not place, for whoever decides about more nodes.

use std::collections::BTreeMap;

use proto::model::demand::{Demand, Unplaced};

use super::need::{Need, Reach};
use super::{Applicant, Pass};
use crate::cluster::{Shape, WaitingJob};

/// The most entries: whoever decides about nodes needs no more to see that many are wanted.
pub(super) const MOST: usize = 1000;

/// How many lists of candidates are made only to tell what is short, when nothing can be placed any more.
const MOST_LANES: usize = 8;

/// What became of the tasks of a job, by shape.
#[derive(Default)]
pub(super) struct Fate {
    placed: BTreeMap<Shape, u64>,
    blocked: BTreeMap<Shape, Unplaced>,
}

impl Fate {
    pub(super) fn placed(&mut self, shape: &Shape) {
        match self.placed.get_mut(shape) {
            Some(count) => *count += 1,
            None => drop(self.placed.insert(shape.clone(), 1)),
        }
    }

    /// How many of a shape were placed.
    pub(super) fn count(&self, shape: &Shape) -> u64 {
        self.placed.get(shape).copied().unwrap_or(0)
    }

    pub(super) fn blocked(&mut self, shape: &Shape, because: Unplaced) {
        self.blocked.insert(shape.clone(), because);
    }
}

impl Pass<'_> {
    /// What is left of a job that was looked at.
    pub(super) fn demand_left(&mut self, job: &Applicant<'_>, waiting: &WaitingJob, fate: &Fate) {
        for shape in waiting.shapes() {
            let placed = fate.count(shape);
            let because = fate.blocked.get(shape).copied().unwrap_or(Unplaced::Busy);
            self.ask(job, shape, waiting.count_of(shape).saturating_sub(placed), because);
        }
    }

    pub(super) fn demand_all(&mut self, job: &Applicant<'_>, waiting: &WaitingJob, because: Unplaced) {
        for shape in waiting.shapes() {
            self.ask(job, shape, waiting.count_of(shape), because);
        }
    }

    /// Of a job that was not looked at, because nothing is free or because it is too far back.
    pub(super) fn demand_rest(&mut self, job: &Applicant<'_>, waiting: &WaitingJob) {
        for shape in waiting.shapes() {
            if self.demand.len() >= MOST {
                return;
            }
            let parallel = job.spec.max_parallel_tasks.is_some_and(|most| job.running >= most);
            let because = if parallel || self.allowed(job, Need::of(job.spec, shape)).is_none() {
                Unplaced::Limit
            } else if self.is_short(job, shape) {
                Unplaced::Short
            } else {
                Unplaced::Busy
            };
            self.ask(job, shape, waiting.count_of(shape), because);
        }
    }

    fn is_short(&mut self, job: &Applicant<'_>, shape: &Shape) -> bool {
        let need = Need::of(job.spec, shape);
        let key = (job.class_id, need.measure(), shape.wares.clone());
        if !self.lanes.contains_key(&key) && self.lanes.len() >= MOST_LANES {
            return false;
        }
        let mut lanes = self.take_lanes(job, &key);
        let ever = lanes
            .iter_mut()
            .any(|lane| lane.capacity(self.cluster, job.class).can_ever(need));
        self.lanes.insert(key, lanes);
        !ever
    }

    fn ask(&mut self, job: &Applicant<'_>, shape: &Shape, tasks: u64, because: Unplaced) {
        if tasks == 0 || self.demand.len() >= MOST {
            return;
        }
        let wares = shape.wares.as_deref();
        self.demand.push(Demand {
            job: job.id,
            user: job.user.to_owned(),
            pool: job.spec.pool.clone(),
            groups: job.spec.node_groups.clone(),
            request: shape.request,
            memory_mib: wares.map(|wares| wares.memory_mib).filter(|mib| *mib > 0),
            resources: wares.map(|wares| wares.resources.clone()).unwrap_or_default(),
            one_domain: Need::of(job.spec, shape).reach == Reach::OneDomain,
            tasks,
            because,
        });
    }
}
