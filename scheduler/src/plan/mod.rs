//! The placement pass: fits what waits into what is free. A pure function from a cluster to grants.
//!
//! Jobs are served by priority, then by number; tasks of a job by theirs. A task that could run once others end, but not
//! now, *reserves* the nodes that it may use: later jobs get none of them, so nothing small starves something large. A
//! task that today's nodes could never hold reserves nothing, and neither does one that waits for its own job to hold less.
//! Later work does not fill the gaps yet. Commands beside the queue wait for their node to answer and take nothing.
//!
//! The pass is bounded by what is free, not by what waits: it ends when every open node is full or reserved, tasks of one
//! job that ask for the same are looked at once, and jobs that may use the same nodes share their lists of candidates.

mod budget;
mod candidates;
mod choose;
mod need;
mod place;
mod rehearsal;

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId};
use proto::model::attempt::{Held, Share};
use proto::model::job::{JobSpec, JobState};
use proto::model::node::Liveness;
use proto::units::Now;

use crate::cluster::{Class, ClassId, Cluster, Shape, Tenant};
pub(crate) use budget::Budget;
pub(crate) use candidates::Capacity;
use candidates::Lane;
pub(crate) use need::{Measure, Need, slots_per_socket};
use place::Place;
pub use rehearsal::{Rehearsal, rehearse};

/// Grants, to be applied and stored like any decision. Why the rest waits is told by [`crate::explain`] when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which the tasks were served.
    pub events: Vec<Event>,
}

/// Places what can be placed now.
#[must_use]
pub fn plan(cluster: &Cluster, now: Now) -> Plan {
    let queue = cluster.queue();
    let (mut waiting, mut beside) = (queue.jobs().peekable(), queue.beside().peekable());
    let nothing = waiting.peek().is_none() || cluster.floor().open().len() == 0;
    if nothing && beside.peek().is_none() {
        return Plan { events: Vec::new() };
    }
    let mut pass = Pass::new(cluster, now);
    for (node, tasks) in beside {
        pass.place_beside(node, tasks);
    }
    for (id, job) in waiting {
        if pass.left == 0 {
            break;
        }
        if let Some(applicant) = Applicant::of(cluster, id) {
            pass.place_job(&applicant, job.tasks(), job.kinds());
        }
    }
    Plan { events: pass.events }
}

/// Slots of one place for one task.
type Part = (usize, u32);

/// A job as the pass sees it.
#[derive(Clone, Copy)]
struct Applicant<'a> {
    id: JobId,
    spec: &'a JobSpec,
    class_id: ClassId,
    class: &'a Class,
    /// Whether something of it ran before; then it need not wait for the least that it needs as a whole.
    started: bool,
}

impl<'a> Applicant<'a> {
    fn of(cluster: &'a Cluster, id: JobId) -> Option<Self> {
        let (job, class_id) = (cluster.job(id)?, cluster.class_of(id)?);
        Some(Self {
            id,
            spec: &job.spec,
            class_id,
            class: cluster.class(class_id)?,
            started: job.state != JobState::Queued,
        })
    }

    const fn tenant(&self, task_alone: bool) -> Tenant {
        Tenant {
            job: self.id,
            job_alone: self.spec.exclusive,
            task_alone,
        }
    }
}

/// How the search for one task ended.
enum Search {
    Found(Vec<Part>),
    /// Nothing fits now.
    Full,
    /// Its own job holds too much.
    OverBudget,
}

struct Pass<'a> {
    cluster: &'a Cluster,
    now: Now,
    /// In the order of the nodes' names, so that an index sorts as a name does.
    places: Vec<Place>,
    /// Places that are neither full nor reserved.
    left: usize,
    lanes: BTreeMap<(ClassId, Measure), Vec<Lane>>,
    next_attempt: AttemptId,
    events: Vec<Event>,
}

impl<'a> Pass<'a> {
    fn new(cluster: &'a Cluster, now: Now) -> Self {
        let open = cluster.floor().open().filter_map(|id| cluster.node(id));
        let places: Vec<Place> = open.map(|row| Place::of(cluster, row)).collect();
        Self {
            cluster,
            now,
            left: places.len(),
            places,
            lanes: BTreeMap::new(),
            next_attempt: cluster.meta().next_attempt,
            events: Vec::new(),
        }
    }

    /// Starts commands on a node that answers, whatever else is there.
    fn place_beside(&mut self, node: NodeId, tasks: &BTreeSet<TaskId>) {
        let up = self
            .cluster
            .node(node)
            .is_some_and(|row| matches!(row.liveness, Liveness::Up { .. }));
        for task in tasks.iter().filter(|_| up) {
            let share = Share {
                node,
                slots: 0,
                held: Held::Yes,
            };
            self.grant(*task, vec![share]);
        }
    }

    fn place_job(&mut self, job: &Applicant<'_>, tasks: impl Iterator<Item = (TaskId, Shape)>, kinds: usize) {
        if !job.started && !self.may_begin(job) {
            return;
        }
        let mut budget = Budget::of(self.cluster, job.id, job.spec.units);
        let mut blocked = BTreeSet::new();
        for (task, shape) in tasks {
            if self.left == 0 || blocked.len() == kinds {
                break;
            }
            if blocked.contains(&shape) {
                continue;
            }
            match self.search(job, shape, budget.as_ref()) {
                Search::Found(parts) => {
                    if let Some(budget) = &mut budget {
                        budget.take(&parts, &self.places);
                    }
                    self.place(task, &parts, job.tenant(shape.alone));
                    continue;
                }
                Search::Full => self.reserve(job, Need::of(job.spec, shape)),
                Search::OverBudget => {}
            }
            blocked.insert(shape);
        }
    }

    /// Whether as much is free as a job needs to begin; keeps later jobs off when it is not.
    fn may_begin(&mut self, job: &Applicant<'_>) -> bool {
        let Some(units) = job.spec.units else { return true };
        let need = Need::exactly(units.min);
        let tenant = job.tenant(false);
        let mut lanes = self.take_lanes(job, need.measure());
        let enough = lanes.iter_mut().any(|lane| {
            let admits = |place: &Place| place.occupancy.admits(tenant);
            lane.capacity(self.cluster, job.class).can_ever(need)
                && lane.free(&self.places, admits) >= u64::from(need.least)
        });
        self.lanes.insert((job.class_id, need.measure()), lanes);
        if !enough {
            self.reserve(job, need);
        }
        enough
    }

    fn search(&mut self, job: &Applicant<'_>, shape: Shape, budget: Option<&Budget>) -> Search {
        let need = Need::of(job.spec, shape);
        let Some(need) = budget.map_or(Some(need), |budget| budget.bound(need)) else {
            return Search::OverBudget;
        };
        let tenant = job.tenant(shape.alone);
        let mut lanes = self.take_lanes(job, need.measure());
        let places = &self.places;
        let mut choose = |admits: &dyn Fn(&Place) -> bool| {
            lanes
                .iter_mut()
                .find_map(|lane| choose::choose(lane, (self.cluster, job.class), places, need, admits))
        };
        let open = |place: &Place| place.occupancy.admits(tenant);
        let found = choose(&|place| open(place) && budget.is_none_or(|budget| budget.admits(place, need)));
        let found = match (found, budget) {
            (Some(parts), Some(budget)) if !budget.affords(&parts, places) => Search::OverBudget,
            (Some(parts), _) => Search::Found(parts),
            // It may use nodes of its own job only: others must not wait for these.
            (None, Some(budget)) if budget.is_tied() => Search::OverBudget,
            // Likewise when nodes are free and only its own bound forbids them.
            (None, Some(budget)) if budget.counts_otherwise(need) && choose(&open).is_some() => Search::OverBudget,
            (None, _) => Search::Full,
        };
        self.lanes.insert((job.class_id, need.measure()), lanes);
        found
    }

    fn take_lanes(&mut self, job: &Applicant<'_>, measure: Measure) -> Vec<Lane> {
        self.lanes
            .remove(&(job.class_id, measure))
            .unwrap_or_else(|| Lane::all(self.cluster, job.class, &self.places, measure))
    }

    fn place(&mut self, task: TaskId, parts: &[Part], tenant: Tenant) {
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
        self.grant(task, shares);
    }

    fn grant(&mut self, task: TaskId, shares: Vec<Share>) {
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
    fn reserve(&mut self, job: &Applicant<'_>, need: Need) {
        let measure = need.measure();
        let mut lanes = self.take_lanes(job, measure);
        for lane in lanes.iter_mut().filter(|lane| !lane.is_empty()) {
            let capacity = lane.capacity(self.cluster, job.class);
            if !capacity.can_ever(need) {
                continue;
            }
            let least = capacity.least_units(need);
            for index in lane.take_all(&self.places) {
                let place = &mut self.places[index];
                if place.units(measure) < least {
                    lane.put_back(index, place);
                } else if !place.reserved {
                    place.reserved = true;
                    if place.free > 0 {
                        self.left -= 1;
                    }
                }
            }
        }
        self.lanes.insert((job.class_id, measure), lanes);
    }
}
