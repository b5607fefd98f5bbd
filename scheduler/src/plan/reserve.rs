//! What a blocked task keeps for itself: EASY backfilling.
//!
//! Where the limits of what runs tell when enough nodes are free at the latest, these nodes are kept from that moment on,
//! and no others: later work may have them if it ends before. Where nobody can tell, because what runs has no limit, all
//! nodes that the task may use are kept, and nobody passes. A later task that is blocked reserves among what is not kept;
//! if that cannot hold it, it reserves nothing, and its turn comes when those in front have started.

use std::sync::Arc;

use proto::model::demand::Unplaced;

use super::need::Need;
use super::outlook::{Outlook, Prospect};
use super::place::Kept;
use super::{Applicant, Capacity, Pass};
use crate::cluster::{Shape, Wares};
use crate::settings::LOOK_AHEAD;

/// How often a pass looks for a moment at which something will fit: each look walks over all ready nodes. Those behind
/// reserve nothing, and come into this number as those in front start.
const MOST_PROSPECTS: usize = 64;

impl<'a> Pass<'a> {
    /// How many waiting jobs behind a blocked one are tried.
    pub(super) fn look_ahead(&self) -> u32 {
        let set = self.cluster.settings_row().parameters.backfill_look_ahead;
        set.unwrap_or(LOOK_AHEAD)
    }

    /// Whether those who are blocked may still have something kept for them.
    pub(super) const fn may_reserve(&self) -> bool {
        self.prospects < MOST_PROSPECTS
    }

    /// Keeps later tasks off the nodes that this one waits for, as long as they would delay it. For a job that waits to
    /// begin there is no shape.
    pub(super) fn reserve(&mut self, job: &Applicant<'_>, need: Need, shape: Option<&Shape>) -> Unplaced {
        let taker = job.taker(shape, self.now.wall);
        let wares = shape.and_then(|shape| shape.wares.as_ref());
        let capacities = self.capacities(job, need, wares);
        if !capacities.iter().any(|capacity| capacity.can_ever(need)) {
            return Unplaced::Short;
        }
        self.behind.entry(job.class_id).or_insert(0);
        if !self.may_reserve() {
            return Unplaced::Busy;
        }
        self.prospects += 1;
        let outlook = self.outlook();
        let prospects = (0..).zip(&capacities).filter(|(_, capacity)| capacity.can_ever(need));
        let prospects: Vec<Prospect> = prospects
            .map(|(lane, capacity)| outlook.prospect((job.class, lane), *capacity, need, &taker))
            .collect();
        let unknown = prospects.iter().any(|prospect| matches!(prospect, Prospect::Unknown));
        let first = prospects.into_iter().filter_map(|prospect| match prospect {
            Prospect::At(at, spans) => Some((at, spans)),
            Prospect::Unknown | Prospect::Never => None,
        });
        if let Some((at, spans)) = first.min_by_key(|(at, _)| *at) {
            for (span, spare) in spans {
                self.keep(span, Kept::From { at, spare });
            }
        } else if unknown {
            for (lane, capacity) in (0..).zip(&capacities).filter(|(_, capacity)| capacity.can_ever(need)) {
                // Nodes that are full are kept too: others that are blocked must not count on them.
                let places = self.outlook().keep_all((job.class, lane), *capacity, need, &taker);
                self.close(&places);
            }
        }
        Unplaced::Busy
    }

    /// What the lanes of a job have, if all of it were free.
    pub(super) fn capacities(&mut self, job: &Applicant<'_>, need: Need, wares: Option<&Arc<Wares>>) -> Vec<Capacity> {
        let key = (job.class_id, need.measure(), wares.cloned());
        let mut lanes = self.take_lanes(job, &key);
        let capacities = lanes.iter_mut().map(|lane| lane.capacity(self.cluster, job.class));
        let capacities = capacities.collect();
        self.lanes.insert(key, lanes);
        capacities
    }

    pub(super) fn outlook(&mut self) -> &mut Outlook<'a> {
        let (cluster, places, now) = (self.cluster, &self.places, self.now.wall);
        let granted = &mut self.granted;
        self.outlook.get_or_insert_with(|| {
            let mut outlook = Outlook::new(cluster, places, now);
            for (index, holding) in granted.drain(..) {
                outlook.hold(places[index].node, holding);
            }
            outlook
        })
    }

    fn keep(&mut self, span: usize, kept: Kept) {
        let kept = if self.look_ahead() == 0 { Kept::Always } else { kept };
        let Some(index) = self.outlook().keep(span) else { return };
        let place = &mut self.places[index];
        if place.free > 0 && kept == Kept::Always && !place.is_closed() {
            self.left -= 1;
        }
        place.kept = kept;
    }

    /// Closes places that are not kept for another. One with less than a unit free is closed like the others: what small
    /// work took there could keep the unit from ever being whole.
    fn close(&mut self, places: &[usize]) {
        for index in places {
            let place = &mut self.places[*index];
            if place.kept == Kept::No {
                place.kept = Kept::Always;
                if place.free > 0 {
                    self.left -= 1;
                }
            }
        }
    }
}
