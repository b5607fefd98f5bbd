//! What will become of those who wait behind others, for people who ask when their work starts: each blocked task, in turn,
//! is thought to start when it can at the latest and to take as long as its limit says. Real passes do better, as things
//! end before their limits. Where somebody in front has no limit, nobody knows.

use std::collections::BTreeSet;

use proto::ids::{JobId, NodeId};
use proto::units::{Now, Timestamp};

use super::need::Need;
use super::outlook::{Holding, Outlook, Prospect};
use super::place::{Kept, Taker};
use super::{Applicant, Pass};
use crate::cluster::{Cluster, Shape, WaitingJob};

/// How many tasks are followed into the future, at most.
const MOST_TASKS: u64 = 1000;

/// How many nodes are looked at for that, all tasks together: a second of a slow machine.
const MOST_NODES: usize = 5_000_000;

/// What a pass sees beyond the present, when somebody asks.
#[derive(Debug, Default)]
pub(super) struct Foresight {
    tasks: u64,
    nodes: usize,
    /// Something in front is not followed, so nothing behind it is known.
    blind: bool,
}

impl<'a> Pass<'a> {
    /// A pass that also follows blocked tasks into the future.
    pub(super) fn foreseeing(cluster: &'a Cluster, now: Now) -> Self {
        Self {
            foresight: Some(Foresight::default()),
            ..Self::new(cluster, now)
        }
    }

    /// As a pass serves a job, but goes on when nothing is free any more, to see what is kept for whom.
    pub(super) fn foresee(&mut self, job: &Applicant<'_>, waiting: &WaitingJob) {
        self.left += 1;
        self.serve(job, waiting);
        self.left = self.left.saturating_sub(1);
    }

    /// A job is not looked at: what comes behind it is not known.
    pub(super) fn lose_sight(&mut self) {
        if let Some(foresight) = &mut self.foresight {
            foresight.blind = true;
        }
    }

    /// Follows the tasks of one shape of a job that are blocked; the first may have its nodes kept from a moment on.
    pub(super) fn follow(&mut self, job: &Applicant<'_>, shape: &Shape, count: u64) {
        if self.foresight.is_none() {
            return;
        }
        let need = Need::of(job.spec, shape);
        let taker = job.taker(Some(shape), self.now.wall);
        let lasts = taker.end.map(|end| end.since(self.now.wall));
        for _ in 0..count {
            let spans = self.outlook().len();
            let Some(foresight) = &mut self.foresight else { return };
            foresight.tasks += 1;
            foresight.nodes += spans;
            if foresight.blind || foresight.tasks > MOST_TASKS || foresight.nodes > MOST_NODES {
                foresight.blind = true;
                return;
            }
            let Some((at, spans)) = self.latest(job, shape, need, &taker) else {
                self.lose_sight();
                return;
            };
            for span in spans {
                let holding = Holding {
                    end: lasts.map(|lasts| at + lasts),
                    slots: 0,
                    tenant: taker.tenant,
                    wares: shape.wares.clone(),
                    fresh: true,
                };
                self.outlook().occupy(span, need, holding);
            }
            self.foreseen.entry((job.id, shape.clone())).or_default().push(at);
        }
    }

    /// When a task starts at the latest, after all that was followed before it, and on which spans.
    fn latest(
        &mut self,
        job: &Applicant<'_>,
        shape: &Shape,
        need: Need,
        taker: &Taker<'_>,
    ) -> Option<(Timestamp, Vec<usize>)> {
        let capacities = self.capacities(job, need, shape.wares.as_ref());
        let outlook = self.outlook();
        let prospects = (0..).zip(&capacities).filter(|(_, capacity)| capacity.can_ever(need));
        let ats = prospects.filter_map(|(lane, capacity)| {
            match outlook.prospect_behind_all((job.class, lane), *capacity, need, taker) {
                Prospect::At(at, spans) => Some((at, spans.into_iter().map(|(span, _)| span).collect())),
                Prospect::Unknown | Prospect::Never => None,
            }
        });
        ats.min_by_key(|(at, _): &(Timestamp, Vec<usize>)| *at)
    }

    /// When the task of that place among those of its shape starts at the latest.
    pub(super) fn foreseen(&self, job: JobId, shape: &Shape, place: usize) -> Option<Timestamp> {
        self.foreseen.get(&(job, shape.clone()))?.get(place).copied()
    }

    /// Nodes that are kept for somebody.
    pub(super) fn kept(&self) -> BTreeSet<NodeId> {
        let of_places = self.places.iter().filter(|place| place.kept != Kept::No);
        let of_places = of_places.map(|place| place.node);
        let of_outlook = self.outlook.iter().flat_map(Outlook::kept);
        of_places.chain(of_outlook).collect()
    }
}
