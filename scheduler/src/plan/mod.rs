//! The placement pass: fits what waits into what is free. A pure function from a cluster to grants.
//!
//! Jobs are served by priority, then by number; tasks of a job by theirs. A task that could run once others end, but not
//! now, *reserves* (see [`reserve`]): by the limits of what runs it is known when enough nodes are free at the latest, and
//! those nodes are kept for it from then on. Later work may use them if its own limit ends before, which is EASY
//! backfilling, as HPC Pack has it. So nothing small starves something large, and no hole stays empty that could be used.
//! A task that today's nodes could never hold reserves nothing, and neither does one that waits for its own job, its user
//! or its pool to hold less. Commands beside the queue wait for their node to answer and take nothing.
//!
//! The pass is bounded by what is free, not by what waits: it ends when every open node is full or closed, tasks of one job
//! that ask for the same are looked at once, jobs that may use the same nodes share their lists of candidates, and behind
//! the first that is blocked only so many are tried as the parameter `BackfillLookAhead` says.

mod allowance;
mod budget;
mod candidates;
mod capacity;
mod choose;
mod demand;
mod foresee;
mod need;
mod outlook;
mod place;
mod rehearsal;
mod reserve;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::event::Event;
use proto::ids::{AttemptId, JobId, NodeId, TaskId, TaskNumber};
use proto::model::attempt::{Held, Share};
use proto::model::demand::{Demand, Unplaced};
use proto::model::job::{JobSpec, JobState};
use proto::model::node::Liveness;
use proto::units::{Now, Timestamp};

use crate::cluster::{Class, ClassId, Cluster, Shape, Tenant, Usage, WaitingJob, Wares, errand_id};
pub(crate) use budget::Budget;
use candidates::Lane;
pub(crate) use capacity::Capacity;
use foresee::Foresight;
pub(crate) use need::{Measure, Need, Reach, slots_per_socket};
pub(crate) use outlook::end_of;
use outlook::{Holding, Outlook};
pub(crate) use place::domain_of;
use place::{Place, Taker};
pub(crate) use rehearsal::{Forecast, forecast};
pub use rehearsal::{Rehearsal, rehearse};
pub use window::windows;

/// Grants, to be applied and stored like any decision. Why the rest waits is told by [`crate::explain`] when asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// In the order in which the tasks were served.
    pub events: Vec<Event>,
    /// What could not be placed, by job and shape, in the order of the queue; at most 1000 of them.
    pub demand: Vec<Demand>,
}

/// Places what can be placed now.
#[must_use]
pub fn plan(cluster: &Cluster, now: Now) -> Plan {
    let queue = cluster.queue();
    let (mut waiting, mut beside) = (queue.jobs().peekable(), queue.beside().peekable());
    if waiting.peek().is_none() && beside.peek().is_none() {
        return Plan {
            events: Vec::new(),
            demand: Vec::new(),
        };
    }
    let mut pass = Pass::new(cluster, now);
    for (node, tasks) in beside {
        pass.place_beside(node, tasks);
    }
    for (id, job) in waiting {
        if pass.is_over() {
            break;
        }
        if let Some(applicant) = Applicant::of(cluster, id) {
            pass.serve(&applicant, job);
        }
    }
    Plan {
        events: pass.events,
        demand: pass.demand,
    }
}

/// Slots of one place for one task.
type Part = (usize, u32);

/// What makes a list of candidates: which nodes, counted in what, and what they have to have beside slots.
type LaneKey = (ClassId, Measure, Option<Arc<Wares>>);

/// A job as the pass sees it.
#[derive(Clone, Copy)]
struct Applicant<'a> {
    id: JobId,
    user: &'a str,
    spec: &'a JobSpec,
    class_id: ClassId,
    class: &'a Class,
    /// Whether something of it ran before; then it need not wait for the least that it needs as a whole.
    started: bool,
    /// The first grant, from which its limit counts.
    started_at: Option<Timestamp>,
    /// Tasks that hold nodes.
    running: u32,
}

impl<'a> Applicant<'a> {
    fn of(cluster: &'a Cluster, id: JobId) -> Option<Self> {
        let (job, class_id) = (cluster.job(id)?, cluster.class_of(id)?);
        Some(Self {
            id,
            user: &job.owner.name,
            spec: &job.spec,
            class_id,
            class: cluster.class(class_id)?,
            started: job.state != JobState::Queued,
            started_at: match job.state {
                JobState::Running { started_at } => Some(started_at),
                _ => None,
            },
            running: job.counts.running,
        })
    }

    /// The job, as whoever looks for a place for a task of that shape; of no shape, for the job as a whole.
    fn taker<'s>(&self, shape: Option<&'s Shape>, now: Timestamp) -> Taker<'s> {
        let of_task = shape.and_then(|shape| shape.limit).map(|limit| now + limit);
        let of_job = self.spec.runtime_limit;
        let of_job = of_job.map(|limit| self.started_at.unwrap_or(now) + limit);
        Taker {
            tenant: Tenant {
                job: self.id,
                job_alone: self.spec.exclusive,
                task_alone: shape.is_some_and(|shape| shape.alone),
            },
            wares: shape.and_then(|shape| shape.wares.as_deref()),
            end: of_task.into_iter().chain(of_job).min(),
        }
    }
}

/// How the search for one task ended.
enum Search {
    Found(Vec<Part>),
    /// Nothing fits now.
    Full,
    /// Its own job, its user or its pool holds too much.
    OverLimit,
}

struct Pass<'a> {
    cluster: &'a Cluster,
    now: Now,
    /// In the order of the nodes' names, so that an index sorts as a name does.
    places: Vec<Place<'a>>,
    /// Places that are neither full nor closed.
    left: usize,
    /// Places by node; made when first asked for.
    by_node: Option<BTreeMap<NodeId, usize>>,
    lanes: BTreeMap<LaneKey, Vec<Lane<'a>>>,
    next_attempt: AttemptId,
    /// Preparation tasks that are made here.
    errands: BTreeSet<TaskId>,
    events: Vec<Event>,
    demand: Vec<Demand>,
    /// What was granted in this pass, by place.
    granted: Vec<(usize, Holding)>,
    outlook: Option<Outlook<'a>>,
    /// How often the outlook was asked.
    prospects: usize,
    /// Set where somebody asks when things start.
    foresight: Option<Foresight>,
    /// When blocked tasks start at the latest, by job and shape, in the order of their numbers.
    foreseen: BTreeMap<(JobId, Shape), Vec<Timestamp>>,
    /// Of classes with a blocked job: how many were tried behind it.
    behind: BTreeMap<ClassId, u32>,
    /// Needs that found nothing, with the end by which they looked; none would have taken any.
    failed: BTreeMap<(LaneKey, Need), Option<Timestamp>>,
    /// What users and pools hold; none where nobody has limits.
    usage: Option<Usage>,
    /// Tasks that were looked at: what a test bounds.
    steps: usize,
}

impl<'a> Pass<'a> {
    fn new(cluster: &'a Cluster, now: Now) -> Self {
        let open = cluster.floor().open().filter_map(|id| cluster.node(id));
        let places: Vec<Place<'a>> = open.map(|row| Place::of(cluster, row)).collect();
        Self {
            cluster,
            now,
            left: places.len(),
            places,
            by_node: None,
            lanes: BTreeMap::new(),
            next_attempt: cluster.meta().next_attempt,
            errands: BTreeSet::new(),
            events: Vec::new(),
            demand: Vec::new(),
            granted: Vec::new(),
            outlook: None,
            prospects: 0,
            foresight: None,
            foreseen: BTreeMap::new(),
            behind: BTreeMap::new(),
            failed: BTreeMap::new(),
            usage: cluster.has_limits().then(|| Usage::of(cluster)),
            steps: 0,
        }
    }

    /// Starts commands on a node that answers, whatever else is there.
    fn place_beside(&mut self, node: NodeId, tasks: &BTreeSet<TaskId>) {
        let up = self
            .cluster
            .node(node)
            .is_some_and(|row| matches!(row.liveness, Liveness::Up { .. }));
        let barred = |task: &TaskId| self.cluster.is_barred(task.job, node);
        let tasks: Vec<TaskId> = tasks.iter().copied().filter(|task| up && !barred(task)).collect();
        for task in tasks {
            let share = Share {
                node,
                slots: 0,
                held: Held::Yes,
            };
            self.grant(task, vec![share]);
        }
    }

    /// Whether nothing more can be found, and nothing more would be told.
    fn is_over(&self) -> bool {
        self.left == 0 && self.demand.len() >= demand::MOST
    }

    /// Places what can be placed of a job, if it is its turn to be looked at; the rest is demand.
    fn serve(&mut self, job: &Applicant<'_>, waiting: &WaitingJob) {
        let look_ahead = self.look_ahead();
        let in_reach = match self.behind.get_mut(&job.class_id) {
            Some(tried) if *tried >= look_ahead => false,
            Some(tried) => {
                *tried += 1;
                true
            }
            None => true,
        };
        if in_reach && self.left > 0 {
            self.place_job(job, waiting);
        } else {
            self.demand_rest(job, waiting);
            self.lose_sight();
        }
    }

    fn place_job(&mut self, job: &Applicant<'_>, waiting: &WaitingJob) {
        if !job.started
            && let Err(because) = self.may_begin(job, waiting)
        {
            self.demand_all(job, waiting, because);
            self.lose_sight();
            return;
        }
        let mut walk = waiting.walk();
        let mut budget = Budget::of(self.cluster, job.id, job.spec.units);
        let mut running = job.running;
        let mut fate = demand::Fate::default();
        while self.left > 0
            && let Some((task, shape)) = walk.next()
        {
            self.steps += 1;
            let parallel = job.spec.max_parallel_tasks.is_some_and(|most| running >= most);
            let search = match parallel {
                true => Search::OverLimit,
                false => self.search(job, shape, budget.as_ref()),
            };
            match search {
                Search::Found(parts) => {
                    if let Some(budget) = &mut budget {
                        budget.take(&parts, &self.places);
                    }
                    self.place(task, &parts, job, shape);
                    running += 1;
                    fate.placed(shape);
                    continue;
                }
                Search::Full => {
                    let because = self.reserve(job, Need::of(job.spec, shape), Some(shape));
                    if because == Unplaced::Busy {
                        self.follow(job, shape, waiting.count_of(shape).saturating_sub(fate.count(shape)));
                    }
                    fate.blocked(shape, because);
                }
                Search::OverLimit => fate.blocked(shape, Unplaced::Limit),
            }
            walk.block(shape);
        }
        self.demand_left(job, waiting, &fate);
    }

    /// Whether as much is free as a job needs to begin; keeps later jobs off when it is not.
    fn may_begin(&mut self, job: &Applicant<'_>, waiting: &WaitingJob) -> Result<(), Unplaced> {
        let Some(units) = job.spec.units else { return Ok(()) };
        let need = Need::exactly(units.min);
        // Whatever it begins with takes as much; and what is kept for it must not change when others take what it cannot use.
        if waiting.shapes().all(|shape| Need::of(job.spec, shape).covers(need)) {
            return Ok(());
        }
        let taker = job.taker(None, self.now.wall);
        let key = (job.class_id, need.measure(), None);
        let mut lanes = self.take_lanes(job, &key);
        let enough = lanes.iter_mut().any(|lane| {
            let admits = |place: &Place<'_>| place.admits(&taker, u32::MAX);
            lane.capacity(self.cluster, job.class).can_ever(need)
                && lane.free(&self.places, admits) >= u64::from(need.least)
        });
        self.lanes.insert(key, lanes);
        if enough {
            Ok(())
        } else {
            Err(self.reserve(job, need, None))
        }
    }

    fn search(&mut self, job: &Applicant<'_>, shape: &Shape, budget: Option<&Budget>) -> Search {
        let need = Need::of(job.spec, shape);
        let need = budget.map_or(Some(need), |budget| budget.bound(need));
        let Some(need) = need.and_then(|need| self.allowed(job, need)) else {
            return Search::OverLimit;
        };
        let taker = job.taker(Some(shape), self.now.wall);
        let key = (job.class_id, need.measure(), shape.wares.clone());
        let plain = budget.is_none() && self.usage.is_none() && !taker.is_alone();
        let failed = (key.clone(), need);
        if plain
            && self
                .failed
                .get(&failed)
                .is_some_and(|end| ends_no_earlier(taker.end, *end))
        {
            return Search::Full;
        }
        let full_pools = self.full_pools(job.id);
        let likes = self.liked(job.class, shape);
        let mut lanes = self.take_lanes(job, &key);
        let places = &self.places;
        let mut choose = |admits: choose::Admits<'_>| {
            lanes.iter_mut().enumerate().find_map(|(number, lane)| {
                let likes = likes.filter(|index| job.class.is_in_lane(number, places[*index].row));
                let capacity = |lane: &mut Lane<'_>| lane.capacity(self.cluster, job.class);
                choose::choose(lane, capacity, (places, likes), need, admits)
            })
        };
        let open = |place: &Place<'_>, slots| place.admits(&taker, slots);
        let found = choose(&|place, slots| {
            open(place, slots)
                && !full_pools.contains(&&place.row.pool)
                && budget.is_none_or(|budget| budget.admits(place, need))
        });
        let found = match (found, budget) {
            (Some(parts), Some(budget)) if !budget.affords(&parts, places) => Search::OverLimit,
            (Some(parts), _) if self.exceeds(job, &parts) => Search::OverLimit,
            (Some(parts), _) => Search::Found(parts),
            // It may use nodes of its own job only: others must not wait for these.
            (None, Some(budget)) if budget.is_tied() => Search::OverLimit,
            // Likewise when nodes are free and only a bound forbids them.
            (None, budget) => {
                let bound = budget.is_some_and(|budget| budget.counts_otherwise(need)) || !full_pools.is_empty();
                match bound && choose(&open).is_some() {
                    true => Search::OverLimit,
                    false => Search::Full,
                }
            }
        };
        self.lanes.insert(key, lanes);
        if plain && matches!(found, Search::Full) {
            self.failed.insert(failed, taker.end);
        }
        found
    }

    /// The node that a task likes best, where it is open and of the class.
    fn liked(&mut self, class: &Class, shape: &Shape) -> Option<usize> {
        let row = self.cluster.node_by_name(shape.affinity.as_ref()?)?;
        let places = &self.places;
        let by_node = self.by_node.get_or_insert_with(|| {
            let nodes = places.iter().map(|place| place.node);
            nodes.zip(0..).collect()
        });
        let index = by_node.get(&row.id).copied()?;
        class.excludes(row).is_none().then_some(index)
    }

    fn take_lanes(&mut self, job: &Applicant<'_>, key: &LaneKey) -> Vec<Lane<'a>> {
        self.lanes
            .remove(key)
            .unwrap_or_else(|| Lane::all(job.class, &self.places, key))
    }

    fn place(&mut self, task: TaskId, parts: &[Part], job: &Applicant<'_>, shape: &Shape) {
        let taker = job.taker(Some(shape), self.now.wall);
        let mut shares = Vec::with_capacity(parts.len());
        for (index, slots) in parts {
            let place = &mut self.places[*index];
            place.take(&taker, *slots);
            if place.free == 0 {
                self.left -= 1;
            }
            if let Some(usage) = &mut self.usage {
                usage.take_for_user(job.user, job.id, *slots);
                usage.take_in_pool(&place.row.pool, job.id, *slots);
            }
            let holding = Holding {
                end: taker.end,
                slots: *slots,
                tenant: taker.tenant,
                wares: shape.wares.clone(),
                fresh: true,
            };
            match &mut self.outlook {
                Some(outlook) => outlook.hold(place.node, holding),
                None => self.granted.push((*index, holding)),
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
        let job = self.cluster.job(task.job);
        let prepares = !task.number.is_per_node() && job.is_some_and(|job| job.spec.preparation.is_some());
        let nodes: Vec<NodeId> = shares.iter().map(|share| share.node).filter(|_| prepares).collect();
        self.push_grant(task, shares);
        for node in nodes {
            self.prepare(errand_id(TaskNumber::PREPARATION, task.job, node), node);
        }
    }

    /// A job's preparation task is due on the node that one of its tasks was given, unless it was there before. The node is
    /// ready, so it starts at once, but not beside an earlier try of its own.
    fn prepare(&mut self, task: TaskId, node: NodeId) {
        if self.cluster.task(task).is_some() || !self.errands.insert(task) {
            return;
        }
        self.events.push(Event::ErrandAdded { task });
        if self.cluster.attempts_on(node).any(|attempt| attempt.task == task) {
            return;
        }
        let share = Share {
            node,
            slots: 0,
            held: Held::Yes,
        };
        self.push_grant(task, vec![share]);
    }

    fn push_grant(&mut self, task: TaskId, shares: Vec<Share>) {
        let attempt = self.next_attempt;
        self.next_attempt = AttemptId(attempt.0.saturating_add(1));
        self.events.push(Event::Granted {
            attempt,
            task,
            shares,
            ahead: false,
            at: self.now.wall,
        });
    }
}

#[cfg(test)]
mod tests;

/// Whether what ends then ends as late as that or later; without an end it is never over.
fn ends_no_earlier(end: Option<Timestamp>, than: Option<Timestamp>) -> bool {
    match (end, than) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(end), Some(than)) => end >= than,
    }
}
