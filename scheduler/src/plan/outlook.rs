//! When a task that does not fit now will fit at the latest, and where: what EASY backfilling keeps for it. Every ready node
//! with the moments at which it is let go, by the limits of what runs there; a task without a limit never ends here.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::sync::Arc;

use proto::ids::{DomainName, NodeId};
use proto::model::attempt::{AttemptPhase, AttemptRow};
use proto::model::job::JobState;
use proto::model::node::NodeRow;
use proto::units::Timestamp;

use super::capacity::Capacity;
use super::need::{Measure, Need, Reach, slots_per_socket};
use super::place::{Place, Taker, domain_of};
use crate::cluster::{Class, Cluster, Occupancy, Tenant, Wares, hindrance, wares_of};

/// What is held on a node, and until when at the latest.
#[derive(Debug, Clone)]
pub(super) struct Holding {
    pub(super) end: Option<Timestamp>,
    pub(super) slots: u32,
    pub(super) tenant: Tenant,
    pub(super) wares: Option<Arc<Wares>>,
    /// Granted at this very moment. Which nodes are kept must not depend on it, else a second pass would find more.
    pub(super) fresh: bool,
}

/// A ready node.
struct Span<'a> {
    row: &'a NodeRow,
    /// Its index among the places of the pass; none when it is full.
    place: Option<usize>,
    together: bool,
    /// First those that end first, last those without an end.
    holdings: Vec<Holding>,
    /// Kept for a task that goes before.
    kept: bool,
}

impl Span<'_> {
    fn add(&mut self, holding: Holding) {
        let key = |holding: &Holding| (holding.end.is_none(), holding.end);
        let at = self.holdings.partition_point(|other| key(other) <= key(&holding));
        self.holdings.insert(at, holding);
    }
}

/// All ready nodes, by number.
pub(super) struct Outlook<'a> {
    now: Timestamp,
    spans: Vec<Span<'a>>,
    by_node: BTreeMap<NodeId, usize>,
}

/// What can be told of a task that does not fit now.
pub(super) enum Prospect {
    /// By then it fits, whatever happens, on these: index of the span, and slots there that it will not need.
    At(Timestamp, Vec<(usize, u32)>),
    /// Something that has no limit has to end first.
    Unknown,
    /// Too few nodes are left by those that go before.
    Never,
}

/// When something comes free: the moment, the units, and the span.
type Gain = (Timestamp, u64, usize);

impl<'a> Outlook<'a> {
    pub(super) fn new(cluster: &'a Cluster, places: &[Place<'a>], now: Timestamp) -> Self {
        let index_of: BTreeMap<NodeId, usize> = (0..).zip(places).map(|(index, place)| (place.node, index)).collect();
        let ready = |row: &&NodeRow| row.slots > 0 && hindrance(row).is_none();
        let spans: Vec<Span<'a>> = cluster
            .nodes()
            .filter(ready)
            .map(|row| Span {
                row,
                place: index_of.get(&row.id).copied(),
                together: cluster.pool(&row.pool).is_none_or(|pool| pool.spec.inter_node),
                holdings: holdings(cluster, row, now),
                kept: false,
            })
            .collect();
        let by_node = (0..).zip(&spans).map(|(index, span)| (span.row.id, index)).collect();
        Self { now, spans, by_node }
    }

    /// Something was granted in this pass.
    pub(super) fn hold(&mut self, node: NodeId, holding: Holding) {
        let index = self.by_node.get(&node);
        if let Some(span) = index.and_then(|index| self.spans.get_mut(*index)) {
            span.add(holding);
        }
    }

    /// Keeps a node; tells its place in the pass.
    pub(super) fn keep(&mut self, index: usize) -> Option<usize> {
        let span = self.spans.get_mut(index)?;
        span.kept = true;
        span.place
    }

    /// Keeps all nodes of a lane that could take a part, as nobody knows when enough of them are free; tells their places in
    /// the pass.
    pub(super) fn keep_all(
        &mut self,
        (class, lane): (&Class, usize),
        capacity: Capacity,
        need: Need,
        taker: &Taker<'_>,
    ) -> Vec<usize> {
        let mut places = Vec::new();
        for index in self.members((class, lane), capacity, need, taker) {
            let span = &mut self.spans[index];
            span.kept = true;
            places.extend(span.place);
        }
        places
    }

    /// How many nodes there are.
    pub(super) const fn len(&self) -> usize {
        self.spans.len()
    }

    /// A task is thought to start there later and to hold what it needs until its end.
    pub(super) fn occupy(&mut self, index: usize, need: Need, holding: Holding) {
        let Some(span) = self.spans.get_mut(index) else { return };
        let slots = match need.measure() {
            Measure::Slots => need.least.min(span.row.slots),
            Measure::Sockets => need
                .least
                .saturating_mul(slots_per_socket(span.row))
                .min(span.row.slots),
            Measure::Nodes => span.row.slots,
        };
        span.add(Holding { slots, ..holding });
    }

    /// Nodes that are kept for somebody.
    pub(super) fn kept(&self) -> impl Iterator<Item = NodeId> {
        self.spans.iter().filter(|span| span.kept).map(|span| span.row.id)
    }

    /// When a task that does not fit now will fit.
    pub(super) fn prospect(
        &self,
        (class, lane): (&Class, usize),
        capacity: Capacity,
        need: Need,
        taker: &Taker<'_>,
    ) -> Prospect {
        let members = self.members((class, lane), capacity, need, taker);
        self.prospect_on(
            members.into_iter().filter(|index| !self.spans[*index].kept).collect(),
            capacity,
            need,
            taker,
        )
    }

    /// When it will fit after all that hold nodes, and all that are thought to hold some later.
    pub(super) fn prospect_behind_all(
        &self,
        (class, lane): (&Class, usize),
        capacity: Capacity,
        need: Need,
        taker: &Taker<'_>,
    ) -> Prospect {
        self.prospect_on(
            self.members((class, lane), capacity, need, taker),
            capacity,
            need,
            taker,
        )
    }

    fn prospect_on(&self, members: Vec<usize>, capacity: Capacity, need: Need, taker: &Taker<'_>) -> Prospect {
        let measure = need.measure();
        let spreads = capacity.takes_several(need) || need.reach == Reach::Apart;
        if !spreads {
            return self.on_one(&members, need, taker);
        }
        let mut gains: BTreeMap<Option<&DomainName>, Vec<Gain>> = BTreeMap::new();
        let mut all: BTreeMap<Option<&DomainName>, u64> = BTreeMap::new();
        for index in members {
            let span = &self.spans[index];
            let domain = domain_of(span.row).filter(|_| capacity.in_one_domain(need));
            *all.entry(domain).or_default() += whole_units(span.row, measure);
            let gains = gains.entry(domain).or_default();
            self.gains(span, measure, taker, |at, units| gains.push((at, units, index)));
        }
        let least = u64::from(need.least);
        let prospects = gains.into_values().filter_map(|gains| self.first_enough(&gains, least));
        match prospects.min_by_key(|(at, _)| *at) {
            Some((at, spans)) => Prospect::At(at, spans.into_iter().map(|index| (index, 0)).collect()),
            None if all.values().any(|units| *units >= least) => Prospect::Unknown,
            None => Prospect::Never,
        }
    }

    /// Nodes that could take a part of it if all of each were free.
    fn members(&self, (class, lane): (&Class, usize), capacity: Capacity, need: Need, taker: &Taker<'_>) -> Vec<usize> {
        let least = capacity.least_units(need);
        let several = capacity.takes_several(need) && need.reach != Reach::Apart;
        let fits = |span: &Span<'_>| {
            (span.together || !several)
                && need.measure().units_of(span.row) >= least
                && class.excludes(span.row).is_none()
                && class.is_in_lane(lane, span.row)
                && taker
                    .wares
                    .is_none_or(|wares| wares.lack(&wares_of(span.row)).is_none())
        };
        (0..self.spans.len())
            .filter(|index| fits(&self.spans[*index]))
            .collect()
    }

    fn on_one(&self, members: &[usize], need: Need, taker: &Taker<'_>) -> Prospect {
        let slots = |span: &Span<'_>| match need.measure() {
            Measure::Nodes => span.row.slots,
            Measure::Slots => need.least,
            Measure::Sockets => need.least.saturating_mul(slots_per_socket(span.row)),
        };
        let ready = members.iter().filter_map(|index| {
            let span = &self.spans[*index];
            Some((self.ready_at(span, slots(span), taker)?, *index))
        });
        match ready.min() {
            Some((at, index)) => {
                let span = &self.spans[index];
                let plain = taker.wares.is_none() && !taker.is_alone();
                let spare = if plain {
                    free_at(span, at).saturating_sub(slots(span))
                } else {
                    0
                };
                Prospect::At(at, vec![(index, spare)])
            }
            None if members.is_empty() => Prospect::Never,
            None => Prospect::Unknown,
        }
    }

    /// When so many slots of a node are free for the taker, and all else that it needs; none when nobody knows.
    fn ready_at(&self, span: &Span<'_>, slots: u32, taker: &Taker<'_>) -> Option<Timestamp> {
        let ends = &span.holdings;
        let mut at = self.now;
        for left in 0..=ends.len() {
            let rest = &ends[left..];
            let held: u32 = rest.iter().map(|holding| holding.slots).sum();
            let occupancy = rest
                .iter()
                .fold(Occupancy::Empty, |all, holding| all.with(holding.tenant));
            let has_wares = |asked: &Wares| {
                let mut there = wares_of(span.row);
                for wares in rest.iter().filter_map(|holding| holding.wares.as_ref()) {
                    wares.take_off(&mut there);
                }
                asked.lack(&there).is_none()
            };
            let fits = span.row.slots.saturating_sub(held) >= slots
                && occupancy.admits(taker.tenant)
                && taker.wares.is_none_or(has_wares);
            if fits {
                return Some(at);
            }
            let next = rest.first()?;
            at = next.end?.max(self.now);
        }
        None
    }

    /// Gives what a node has for the taker, and when: whole units, as they come free.
    fn gains(&self, span: &Span<'_>, measure: Measure, taker: &Taker<'_>, mut give: impl FnMut(Timestamp, u64)) {
        let shared = |holding: &Holding| !holding.tenant.job_alone && !holding.tenant.task_alone;
        let by_parts =
            measure != Measure::Nodes && taker.wares.is_none() && !taker.is_alone() && span.holdings.iter().all(shared);
        if !by_parts {
            if let Some(at) = self.ready_at(span, span.row.slots, taker) {
                give(at, whole_units(span.row, measure));
            }
            return;
        }
        let per_unit = match measure {
            Measure::Sockets => slots_per_socket(span.row),
            Measure::Slots | Measure::Nodes => 1,
        };
        let ends = &span.holdings;
        let mut held: u32 = ends.iter().map(|holding| holding.slots).sum();
        let units = |held: u32| u64::from(span.row.slots.saturating_sub(held) / per_unit);
        let mut free = 0;
        let moments = std::iter::once((Some(self.now), 0)).chain(ends.iter().map(|end| (end.end, end.slots)));
        for (end, slots) in moments {
            let Some(end) = end else { break };
            held -= slots;
            let more = units(held) - free;
            if more > 0 {
                give(end.max(self.now), more);
            }
            free += more;
        }
    }

    /// The first moment at which these gains, which are in the order of their nodes, are enough, and the nodes to keep for
    /// it: those that come free last, so that what is free now stays open to others for as long as possible.
    fn first_enough(&self, gains: &[Gain], least: u64) -> Option<(Timestamp, Vec<usize>)> {
        let mut soonest: BinaryHeap<Reverse<Gain>> = gains.iter().copied().map(Reverse).collect();
        let mut sum = 0;
        let at = loop {
            let Reverse((at, units, _)) = soonest.pop()?;
            sum += units;
            if sum >= least {
                break at;
            }
        };
        let lasting = |index: usize| {
            let old = self.spans[index].holdings.iter().filter(|holding| !holding.fresh);
            old.filter_map(|holding| holding.end).filter(|end| *end <= at).max()
        };
        let by_span = gains.chunk_by(|(.., one), (.., other)| one == other);
        let by_span = by_span.filter_map(|of_span| {
            let by_then = of_span.iter().filter(|(end, ..)| *end <= at);
            let units: u64 = by_then.map(|(_, units, _)| units).sum();
            let index = of_span.first()?.2;
            (units > 0).then(|| Reverse((Reverse(lasting(index)), Reverse(units), index)))
        });
        let mut best: BinaryHeap<_> = by_span.collect();
        let (mut kept, mut sum) = (Vec::new(), 0);
        while sum < least {
            let Reverse((_, Reverse(units), index)) = best.pop()?;
            sum += units;
            kept.push(index);
        }
        Some((at, kept))
    }
}

/// Slots that are free by then, by what is known.
fn free_at(span: &Span<'_>, at: Timestamp) -> u32 {
    let held = span
        .holdings
        .iter()
        .filter(|holding| holding.end.is_none_or(|end| end > at));
    span.row.slots.saturating_sub(held.map(|holding| holding.slots).sum())
}

fn whole_units(row: &NodeRow, measure: Measure) -> u64 {
    match measure {
        Measure::Nodes => 1,
        Measure::Slots | Measure::Sockets => u64::from(measure.units_of(row)),
    }
}

fn holdings(cluster: &Cluster, row: &NodeRow, now: Timestamp) -> Vec<Holding> {
    let holds = cluster.floor().holds(row.id).filter(|(_, slots, ..)| *slots > 0);
    let mut all: Vec<Holding> = holds
        .map(|(id, slots, tenant, wares)| {
            let attempt = cluster.attempt(id);
            Holding {
                end: attempt.and_then(|attempt| end_of(cluster, attempt)),
                slots,
                tenant,
                wares: wares.cloned(),
                fresh: attempt.is_some_and(|attempt| attempt.granted_at >= now),
            }
        })
        .collect();
    all.sort_by_key(|holding| (holding.end.is_none(), holding.end));
    all
}

/// When an attempt will have ended at the latest: by its task's limit from its start, or by its job's from the first start
/// of the job. None when neither has one.
pub(crate) fn end_of(cluster: &Cluster, attempt: &AttemptRow) -> Option<Timestamp> {
    let started_at = match attempt.phase {
        AttemptPhase::Running { started_at } => Some(started_at),
        AttemptPhase::Stopping { started_at, .. } => started_at,
        AttemptPhase::Granted | AttemptPhase::Releasing => None,
    };
    let task = cluster.task(attempt.task).and_then(|task| task.spec.runtime_limit);
    let of_task = task.map(|limit| started_at.unwrap_or(attempt.granted_at) + limit);
    let of_job = cluster.job(attempt.task.job).and_then(|job| match job.state {
        JobState::Running { started_at } if is_of_run(attempt, started_at) => {
            Some(started_at + job.spec.runtime_limit?)
        }
        _ => None,
    });
    of_task.into_iter().chain(of_job).min()
}

/// Whether an attempt is of the run of its job that began then, and not left over from the one before a requeue: the limit of
/// that is gone, and what is known of the attempt must not change when the job is given its first node again.
fn is_of_run(attempt: &AttemptRow, began: Timestamp) -> bool {
    let goes_on = matches!(attempt.phase, AttemptPhase::Granted | AttemptPhase::Running { .. });
    attempt.granted_at > began || (attempt.granted_at == began && goes_on)
}
