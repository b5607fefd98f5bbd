//! Where the jobs of random stories want to be: all that can be asked for and that the nodes of the story can hold.

use proptest::prelude::*;
use proto::ids::{GroupName, NodeId};
use proto::model::job::{GroupOperator, JobKind, JobSpec, OrderBy, OrderKey, Span, Units};
use proto::model::task::{Request, TaskSpec};
use proto::units::Millis;

/// Groups of the story's nodes, by their numbers: the second is in both, the last in none.
pub(crate) const GROUPS: [&[&str]; 4] = [&["a"], &["a", "b"], &["b"], &[]];

/// Sockets of the story's nodes; each has three slots.
pub(crate) const SOCKETS: [u32; 4] = [0, 3, 1, 2];

/// Placement domains of the story's nodes.
pub(crate) const DOMAINS: [Option<&str>; 4] = [Some("d"), Some("d"), None, Some("e")];

/// A wish of a job, or of its task.
#[derive(Debug, Clone)]
pub(crate) enum Want {
    Nothing,
    Sockets {
        least: u32,
        more: u32,
    },
    More {
        by: u32,
    },
    OneNode {
        cores: u32,
        fewest_first: bool,
    },
    Grouped {
        operator: GroupOperator,
        request: Request,
    },
    Sized {
        cores: u32,
    },
    Bounded {
        units: Units,
        request: Request,
    },
    Beside {
        node: usize,
    },
    /// Memory that every node has, on each; and an end that is known, or not.
    Memory {
        mib: u64,
        limit: u64,
    },
}

pub(crate) fn want() -> impl Strategy<Value = Want> {
    let small = prop_oneof![
        (1..=3u32).prop_map(|count| Request::Cores { count }),
        (1..=2u32).prop_map(|count| Request::Sockets { count }),
        Just(Request::Nodes { count: 1 }),
    ];
    let operator = prop_oneof![
        Just(GroupOperator::Intersect),
        Just(GroupOperator::Union),
        Just(GroupOperator::Uniform),
    ];
    let bounded = prop_oneof![
        (1..=6u32, 3..=6u32).prop_map(|(least, most)| (Request::Cores { count: least.min(most) }, most)),
        (1..=4u32, 1..=4u32).prop_map(|(least, most)| (Request::Nodes { count: least.min(most) }, most)),
        (1..=3u32, 3..=4u32).prop_map(|(least, most)| (Request::Sockets { count: least }, most)),
    ];
    prop_oneof![
        8 => Just(Want::Nothing),
        1 => (1..=6u32, 0..3u32).prop_map(|(least, more)| Want::Sockets { least, more }),
        1 => (1..9u32).prop_map(|by| Want::More { by }),
        1 => (1..=3u32, any::<bool>()).prop_map(|(cores, fewest_first)| Want::OneNode { cores, fewest_first }),
        2 => (operator, small.clone()).prop_map(|(operator, request)| Want::Grouped { operator, request }),
        1 => (1..=3u32).prop_map(|cores| Want::Sized { cores }),
        2 => (bounded, small).prop_map(|((min, most), request)| Want::Bounded {
            units: Units { min, max: Some(most) },
            request,
        }),
        1 => (0..4usize).prop_map(|node| Want::Beside { node }),
        3 => (1..=1024u64, 0..90u64).prop_map(|(mib, limit)| Want::Memory { mib, limit }),
    ]
}

impl Want {
    /// Whether only an operator may ask for it.
    pub(crate) const fn is_privileged(&self) -> bool {
        matches!(self, Self::Beside { .. })
    }

    pub(crate) fn write(&self, job: &mut JobSpec, task: &mut TaskSpec, nodes: &[NodeId]) {
        match *self {
            Self::Nothing => {}
            Self::Sockets { least, more } => {
                task.request = Request::Sockets { count: least };
                task.request_max = Some(least + more);
            }
            Self::More { by } => {
                let (Request::Cores { count } | Request::Sockets { count } | Request::Nodes { count }) = task.request
                else {
                    return;
                };
                task.request_max = Some(count + by);
            }
            Self::OneNode { cores, fewest_first } => {
                task.request = Request::Cores { count: cores };
                job.single_node = true;
                job.order_by = vec![OrderBy {
                    by: OrderKey::Memory,
                    more_first: !fewest_first,
                }];
            }
            Self::Grouped { operator, request } => {
                task.request = request;
                job.group_operator = operator;
                job.node_groups = ["b", "a"]
                    .map(|name| GroupName::new(name).expect("a group name"))
                    .into();
            }
            Self::Sized { cores } => {
                let (min, max) = (Some(cores), None);
                job.cores_per_node = Some(Span { min, max });
            }
            Self::Bounded { units, request } => {
                task.request = match (units.min, request) {
                    // More cannot be held at a time, so it would wait for ever.
                    (Request::Sockets { .. }, Request::Nodes { .. }) => Request::Sockets { count: 1 },
                    (_, request) => request,
                };
                job.units = Some(units);
            }
            Self::Memory { mib, limit } => {
                task.memory_mib = Some(mib);
                task.runtime_limit = (limit > 20).then_some(Millis::from_seconds(limit));
            }
            Self::Beside { node } => {
                task.request = Request::Beside { node: nodes[node] };
                job.kind = JobKind::Admin;
            }
        }
    }
}
