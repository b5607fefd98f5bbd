//! Which places of a lane a task gets: all that it asks for, or nothing. Nodes come in the order of their names, which is
//! the order of ranks.

use super::Part;
use super::candidates::Lane;
use super::need::{Measure, Need};
use super::place::Place;
use crate::cluster::{Class, Cluster};

pub(super) fn choose(
    lane: &mut Lane,
    (cluster, class): (&Cluster, &Class),
    places: &[Place],
    need: Need,
    admits: impl Fn(&Place) -> bool,
) -> Option<Vec<Part>> {
    if need.measure() == Measure::Nodes {
        return nodes(lane, places, need);
    }
    if let Some(part) = on_one(lane, places, need, &admits) {
        return Some(vec![part]);
    }
    if need.single_node || lane.is_empty() {
        return None;
    }
    let capacity = lane.capacity(cluster, class);
    if need.least <= capacity.largest || !capacity.can_ever(need) {
        return None;
    }
    spread(lane, places, need, admits)
}

/// On the fullest node that fits, so that whole nodes stay free for those who need them. What takes more where more is
/// free goes where it gets most.
fn on_one(lane: &mut Lane, places: &[Place], need: Need, admits: &impl Fn(&Place) -> bool) -> Option<Part> {
    let measure = need.measure();
    let part = |index: usize| {
        let place = &places[index];
        let units = place.free_units(measure).min(need.most);
        (index, units * place.slots_per_unit(measure))
    };
    let index = lane.fullest(places, need.most, admits).or_else(|| {
        let flexible = need.most > need.least;
        flexible.then(|| lane.roomiest(places, need.least, admits)).flatten()
    })?;
    Some(part(index))
}

/// Over as few nodes as possible, where no node is large enough.
fn spread(lane: &mut Lane, places: &[Place], need: Need, admits: impl Fn(&Place) -> bool) -> Option<Vec<Part>> {
    let measure = need.measure();
    let mut taken = 0;
    let mut parts = Vec::new();
    for index in lane.emptiest(places, admits) {
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

fn nodes(lane: &mut Lane, places: &[Place], need: Need) -> Option<Vec<Part>> {
    let most = if need.single_node { need.most.min(1) } else { need.most };
    if most < need.least {
        return None;
    }
    let found = lane.idle(places, need.least as usize, most as usize)?;
    Some(found.into_iter().map(|index| (index, places[index].slots)).collect())
}
