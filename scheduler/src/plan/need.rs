//! What a task asks of the nodes: how many units, of which kind, and whether all on one node.

use proto::model::job::JobSpec;
use proto::model::node::NodeRow;
use proto::model::task::Request;

use crate::cluster::Shape;

/// What units are counted in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Measure {
    Slots,
    Sockets,
    Nodes,
}

impl Measure {
    pub(crate) const fn of(request: Request) -> Self {
        match request {
            Request::Cores { .. } | Request::Beside { .. } => Self::Slots,
            Request::Sockets { .. } => Self::Sockets,
            Request::Nodes { .. } => Self::Nodes,
        }
    }

    /// Units of a node if all of it is free; of whole nodes, its slots, because a lane of them is sorted by these.
    pub(crate) fn units_of(self, node: &NodeRow) -> u32 {
        match self {
            Self::Slots | Self::Nodes => node.slots,
            Self::Sockets => node.slots / slots_per_socket(node),
        }
    }

    /// Units that so many slots of a node take up.
    pub(crate) const fn units_in(self, slots: u32, slots_per_socket: u32) -> u32 {
        match self {
            Self::Slots => slots,
            Self::Sockets => slots.div_ceil(slots_per_socket),
            Self::Nodes => {
                if slots > 0 {
                    1
                } else {
                    0
                }
            }
        }
    }
}

/// Slots that make one socket of a node, at least one.
pub(crate) fn slots_per_socket(node: &NodeRow) -> u32 {
    let sockets = node.inventory.as_ref().map_or(1, |inventory| inventory.sockets.max(1));
    (node.slots / sockets).max(1)
}

/// What a task, or a job as a whole, needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Need {
    pub(crate) request: Request,
    /// So many units at least, as in the request.
    pub(crate) least: u32,
    /// Up to so many, where they are free.
    pub(crate) most: u32,
    /// All of it on one node.
    pub(crate) single_node: bool,
    /// How its nodes have to lie to each other.
    pub(crate) reach: Reach,
}

/// How several nodes of one need have to lie to each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Reach {
    /// Any: a job as a whole, whose tasks are nothing to each other.
    Apart,
    /// In pools that let nodes work together.
    Together,
    /// Together, and in one placement domain where one alone could ever hold it.
    OneDomain,
}

impl Need {
    pub(crate) fn of(job: &JobSpec, shape: &Shape) -> Self {
        Self {
            most: shape.most,
            single_node: job.single_node,
            reach: if shape.any_domain {
                Reach::Together
            } else {
                Reach::OneDomain
            },
            ..Self::exactly(shape.request)
        }
    }

    /// As many as the request says, wherever they are.
    pub(crate) const fn exactly(request: Request) -> Self {
        let count = match request {
            Request::Cores { count } | Request::Sockets { count } | Request::Nodes { count } => count,
            Request::Beside { .. } => 0,
        };
        Self {
            request,
            least: count,
            most: count,
            single_node: false,
            reach: Reach::Apart,
        }
    }

    pub(crate) const fn measure(&self) -> Measure {
        Measure::of(self.request)
    }

    /// Whether as much as this is free wherever the need itself fits.
    pub(crate) fn covers(&self, other: Self) -> bool {
        self.measure() == other.measure() && self.least >= other.least
    }
}
