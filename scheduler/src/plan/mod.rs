//! The placement pass: fits what waits into what is free. A pure function from a cluster to grants.
//!
//! Jobs are served by priority, then by number; tasks of a job by theirs. A task that could run once others end, but not
//! now, *reserves* the nodes that it may use: later jobs get none of them, so nothing small starves something large. A
//! task that today's nodes could never hold reserves nothing. Later work does not fill the gaps yet.
//!
//! The pass is bounded by what is free, not by what waits: it ends when every open node is full or reserved, tasks of one
//! job that ask for the same are looked at once, and jobs that may use the same nodes share one list of candidates.

mod candidates;
mod choose;

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId};
use proto::model::attempt::{Held, Share};
use proto::units::Now;

use crate::cluster::{ClassId, Cluster, Occupancy, Shape, Tenant, WaitingJob};
use candidates::Candidates;
pub(crate) use candidates::{Capacity, can_ever};

/// Grants, to be applied and stored like any decision. Why the rest waits is told by [`crate::explain`] when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which the tasks were served.
    pub events: Vec<Event>,
}

/// Places what can be placed now.
#[must_use]
pub fn plan(cluster: &Cluster, now: Now) -> Plan {
    let mut waiting = cluster.queue().jobs().peekable();
    if waiting.peek().is_none() || cluster.floor().open().len() == 0 {
        return Plan { events: Vec::new() };
    }
    let mut pass = Pass::new(cluster, now);
    for (id, job) in waiting {
        if pass.left == 0 {
            break;
        }
        pass.place_job(id, job);
    }
    Plan { events: pass.events }
}

/// A ready node with something free, as far as the pass has come.
struct Place {
    node: NodeId,
    slots: u32,
    free: u32,
    occupancy: Occupancy,
    reserved: bool,
}

impl Place {
    /// Nothing runs there, and every slot is free.
    fn is_idle(&self) -> bool {
        self.free == self.slots && self.occupancy == Occupancy::Empty
    }
}

/// Slots of one place for one task.
type Part = (usize, u32);

struct Pass<'a> {
    cluster: &'a Cluster,
    now: Now,
    /// In the order of the nodes' names, so that an index sorts as a name does.
    places: Vec<Place>,
    /// Places that are neither full nor reserved.
    left: usize,
    classes: BTreeMap<ClassId, Candidates>,
    next_attempt: AttemptId,
    events: Vec<Event>,
}

impl<'a> Pass<'a> {
    fn new(cluster: &'a Cluster, now: Now) -> Self {
        let open = cluster.floor().open().filter_map(|id| cluster.node(id));
        let places: Vec<Place> = open
            .map(|row| Place {
                node: row.id,
                slots: row.slots,
                free: cluster.floor().free(row),
                occupancy: cluster.floor().occupancy(row.id),
                reserved: false,
            })
            .collect();
        Self {
            cluster,
            now,
            left: places.len(),
            places,
            classes: BTreeMap::new(),
            next_attempt: cluster.meta().next_attempt,
            events: Vec::new(),
        }
    }

    fn place_job(&mut self, id: JobId, waiting: &WaitingJob) {
        let (Some(class), Some(job)) = (self.cluster.class_of(id), self.cluster.job(id)) else {
            return;
        };
        let mut candidates = match self.classes.remove(&class) {
            Some(candidates) => candidates,
            None => Candidates::new(self.cluster, class, &self.places),
        };
        let mut blocked = BTreeSet::new();
        for (number, shape) in waiting.tasks() {
            if self.left == 0 || blocked.len() == waiting.kinds() {
                break;
            }
            if blocked.contains(&shape) {
                continue;
            }
            let tenant = Tenant {
                job: id,
                job_alone: job.spec.exclusive,
                task_alone: shape.alone,
            };
            match choose::choose(&mut candidates, self.cluster, &self.places, shape.request, tenant) {
                Some(parts) => self.grant(TaskId { job: id, number }, &parts, tenant),
                None => {
                    self.reserve(&mut candidates, shape);
                    blocked.insert(shape);
                }
            }
        }
        self.classes.insert(class, candidates);
    }

    fn grant(&mut self, task: TaskId, parts: &[Part], tenant: Tenant) {
        let mut shares = Vec::with_capacity(parts.len());
        for (index, slots) in parts {
            let place = &mut self.places[*index];
            place.free -= slots;
            place.occupancy = place.occupancy.with(tenant);
            if place.free == 0 {
                self.left -= 1;
            }
            shares.push(Share {
                node: place.node,
                slots: *slots,
                held: Held::Yes,
            });
        }
        let attempt = self.next_attempt;
        self.next_attempt = AttemptId(attempt.0.saturating_add(1));
        self.events.push(Event::Granted {
            attempt,
            task,
            shares,
            at: self.now.wall,
        });
    }

    /// Keeps later tasks off the nodes that this one waits for.
    fn reserve(&mut self, candidates: &mut Candidates, shape: Shape) {
        if candidates.is_empty() {
            return;
        }
        let capacity = candidates.capacity(self.cluster);
        if !can_ever(capacity, shape.request) {
            return;
        }
        let least = capacity.least_slots(shape.request);
        for index in candidates.take_all(&self.places) {
            let place = &mut self.places[index];
            if place.slots < least {
                candidates.put_back(index, place);
            } else if !place.reserved {
                place.reserved = true;
                if place.free > 0 {
                    self.left -= 1;
                }
            }
        }
    }
}
