//! Which of the candidates a task gets: all that it asks for, or nothing. Nodes come in the order of their names, which
//! is the order of ranks.

use proto::model::task::Request;

use super::candidates::{Candidates, can_ever};
use super::{Part, Place};
use crate::cluster::{Cluster, Tenant};

pub(super) fn choose(
    candidates: &mut Candidates,
    cluster: &Cluster,
    places: &[Place],
    request: Request,
    tenant: Tenant,
) -> Option<Vec<Part>> {
    match request {
        Request::Cores { count } => cores(candidates, cluster, places, count, tenant),
        Request::Nodes { count } => nodes(candidates, places, count),
    }
}

/// On one node where one is large enough, the fullest that fits, so that whole nodes stay free for those who need them;
/// else spread over as few as possible.
fn cores(
    candidates: &mut Candidates,
    cluster: &Cluster,
    places: &[Place],
    count: u32,
    tenant: Tenant,
) -> Option<Vec<Part>> {
    let admits = |place: &Place| place.occupancy.admits(tenant);
    if let Some(index) = candidates.fullest(places, count, admits) {
        return Some(vec![(index, count)]);
    }
    if candidates.is_empty() {
        return None;
    }
    let capacity = candidates.capacity(cluster);
    if count <= capacity.largest || !can_ever(capacity, Request::Cores { count }) {
        return None;
    }
    let mut missing = count;
    let mut parts = Vec::new();
    for index in candidates.emptiest(places, admits) {
        let slots = places[index].free.min(missing);
        parts.push((index, slots));
        missing -= slots;
        if missing == 0 {
            parts.sort_unstable();
            return Some(parts);
        }
    }
    None
}

fn nodes(candidates: &mut Candidates, places: &[Place], count: u32) -> Option<Vec<Part>> {
    let found = candidates.idle(places, count as usize)?;
    Some(found.into_iter().map(|index| (index, places[index].slots)).collect())
}
