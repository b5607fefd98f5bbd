//! Which places of a lane a task gets: all that it asks for, or nothing. Nodes come in the order of their names, which is
//! the order of ranks.
//!
//! A task of several nodes gets them in one placement domain, if one alone could ever hold it, and waits for that; if none
//! could, or where it does not mind, it gets them in as few domains as possible. Of several domains it takes the one with
//! the fewest free nodes that fit, so that larger holes stay for larger tasks.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use proto::ids::DomainName;
use proto::model::pool::FillType;

use super::Part;
use super::candidates::Lane;
use super::capacity::Capacity;
use super::need::{Measure, Need, Reach};
use super::place::Place;

/// Whether a task may come into a place and take up to so many slots there.
pub(super) type Admits<'f> = &'f dyn Fn(&Place<'_>, u32) -> bool;

/// More slots than are spare anywhere: the task takes what there is.
const ALL: u32 = u32::MAX;

pub(super) fn choose(
    lane: &mut Lane<'_>,
    capacity: impl FnOnce(&mut Lane<'_>) -> Capacity,
    (places, likes): (&[Place<'_>], Option<usize>),
    need: Need,
    admits: Admits<'_>,
) -> Option<Vec<Part>> {
    if need.measure() == Measure::Nodes {
        return nodes(lane, capacity, (places, likes), need, admits);
    }
    if let Some(part) = on_one(lane, (places, likes), need, admits) {
        return Some(vec![part]);
    }
    if need.single_node || lane.is_empty() {
        return None;
    }
    let capacity = capacity(lane);
    if need.least <= capacity.largest || !capacity.can_ever(need) {
        return None;
    }
    spread(lane, capacity, places, need, admits)
}

/// On the node that the task likes best, if it fits there now. Else on the fullest node that fits, so that whole nodes stay
/// free for those who need them; and in pools that spread their work, on the emptiest. What takes more where more is free
/// goes where it gets most.
fn on_one(
    lane: &mut Lane<'_>,
    (places, likes): (&[Place<'_>], Option<usize>),
    need: Need,
    admits: Admits<'_>,
) -> Option<Part> {
    let measure = need.measure();
    let part = |index: usize| {
        let place = &places[index];
        let units = place.free_units(measure).min(need.most);
        (index, units * place.slots_per_unit(measure))
    };
    let open = |place: &Place<'_>| admits(place, need.most.saturating_mul(place.slots_per_unit(measure)));
    let packs = |place: &Place<'_>| place.fill == FillType::Pack && open(place);
    let spreads = |place: &Place<'_>| place.fill == FillType::Spread && open(place);
    let enough = |index: &usize| places[*index].free_units(measure) >= need.least && open(&places[*index]);
    if let Some(index) = likes.filter(enough) {
        return Some(part(index));
    }
    let index = lane
        .fullest(places, need.most, packs)
        .or_else(|| lane.roomiest(places, need.most, spreads))
        .or_else(|| {
            let flexible = need.most > need.least;
            flexible.then(|| lane.roomiest(places, need.least, open)).flatten()
        })?;
    Some(part(index))
}

/// Over as few nodes as possible, where no node is large enough.
fn spread(
    lane: &mut Lane<'_>,
    capacity: Capacity,
    places: &[Place<'_>],
    need: Need,
    admits: Admits<'_>,
) -> Option<Vec<Part>> {
    let measure = need.measure();
    let passes = |place: &Place<'_>| place.together && admits(place, ALL);
    let mut domains: BTreeMap<Option<&DomainName>, (u64, Vec<usize>)> = BTreeMap::new();
    for index in lane.emptiest(places, passes) {
        let domain = domains.entry(places[index].domain).or_default();
        domain.0 += u64::from(places[index].free_units(measure));
        domain.1.push(index);
    }
    let mut domains: Vec<(u64, Vec<usize>)> = domains.into_values().collect();
    let fitting = domains.iter().filter(|(units, _)| *units >= u64::from(need.least));
    let chosen: Vec<usize> = match fitting.min_by_key(|(units, _)| (*units < u64::from(need.most), *units)) {
        Some((_, indexes)) => indexes.clone(),
        None if capacity.in_one_domain(need) => return None,
        None => {
            domains.sort_by_key(|(units, _)| Reverse(*units));
            domains.into_iter().flat_map(|(_, indexes)| indexes).collect()
        }
    };
    let mut taken = 0;
    let mut parts = Vec::new();
    for index in chosen {
        if taken == need.most {
            break;
        }
        let place = &places[index];
        let units = place.free_units(measure).min(need.most - taken);
        parts.push((index, units * place.slots_per_unit(measure)));
        taken += units;
    }
    parts.sort_unstable();
    (taken >= need.least).then_some(parts)
}

fn nodes(
    lane: &mut Lane<'_>,
    capacity: impl FnOnce(&mut Lane<'_>) -> Capacity,
    (places, likes): (&[Place<'_>], Option<usize>),
    need: Need,
    admits: Admits<'_>,
) -> Option<Vec<Part>> {
    let most = if need.single_node { need.most.min(1) } else { need.most } as usize;
    let least = need.least as usize;
    if most < least {
        return None;
    }
    let whole = |index: usize| (index, places[index].slots);
    let open = |place: &Place<'_>| admits(place, ALL);
    if most == 1 {
        let enough = |index: &usize| places[*index].is_idle() && open(&places[*index]);
        if let Some(index) = likes.filter(enough) {
            return Some(vec![whole(index)]);
        }
    }
    let together = |place: &Place<'_>| (place.together || need.reach == Reach::Apart) && open(place);
    let mut domains = match most {
        1 => lane.idle(places, 1, open),
        _ => lane.idle(places, most, together),
    };
    if most == 1 || domains.is_empty() && least == 1 {
        // One node is all that it gets, so nothing has to lie near to it.
        let all = if most == 1 { domains } else { lane.idle(places, 1, open) };
        let first = all.iter().flat_map(|domain| &domain.found).min()?;
        return Some(vec![whole(first.1)]);
    }
    let fitting = domains.iter().filter(|domain| domain.found.len() >= least);
    let best = fitting.min_by_key(|domain| (Reverse(domain.found.len()), domain.count));
    let mut found: Vec<usize> = match best {
        Some(domain) => domain.found.iter().map(|(_, index)| *index).collect(),
        None if domains.iter().map(|domain| domain.found.len()).sum::<usize>() < least => return None,
        None if capacity(lane).in_one_domain(need) => return None,
        None => {
            domains.sort_by_key(|domain| Reverse(domain.found.len()));
            let all = domains.iter().flat_map(|domain| &domain.found);
            all.map(|(_, index)| *index).take(most).collect()
        }
    };
    found.sort_unstable();
    Some(found.into_iter().map(whole).collect())
}
