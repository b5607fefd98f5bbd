//! What a story's `submit` says about where tasks go, beyond nodes and cores.
//!
//! ```text
//! sockets=2 max=8 beside=n1 groupop=uniform cpn=4:8 mpn=:2048 single orderby=-cores,memory units=cores:4:8
//! ```

use std::str::FromStr;

use proto::ids::{NodeId, NodeName};
use proto::model::job::{GroupOperator, JobKind, JobSpec, OrderBy, OrderKey, Span, Units};
use proto::model::task::{Request, TaskSpec};

use crate::scenario::Words;

pub(crate) fn read(words: &Words<'_>, job: &mut JobSpec, task: &mut TaskSpec, id: impl Fn(&NodeName) -> NodeId) {
    let number = |key: &str| words.value(key).map(parsed::<u32>);
    if let Some(count) = number("sockets") {
        task.request = Request::Sockets { count };
    }
    if let Some(name) = words.value("beside") {
        job.kind = JobKind::Admin;
        let node = id(&NodeName::new(name).expect("a node name"));
        task.request = Request::Beside { node };
    }
    task.request_max = number("max");
    job.single_node = words.has("single");
    job.cores_per_node = words.value("cpn").map(span);
    job.memory_per_node = words.value("mpn").map(span);
    job.units = words.value("units").map(units);
    let orders = words
        .value("orderby")
        .map_or_else(Vec::new, |list| list.split(',').collect());
    job.order_by = orders.into_iter().map(order).collect();
    job.group_operator = match words.value("groupop") {
        Some("union") => GroupOperator::Union,
        Some("uniform") => GroupOperator::Uniform,
        _ => GroupOperator::Intersect,
    };
}

fn parsed<T: FromStr>(text: &str) -> T {
    text.parse().unwrap_or_else(|_| panic!("'{text}' is no number"))
}

fn bound<T: FromStr>(text: &str) -> Option<T> {
    (!text.is_empty()).then(|| parsed(text))
}

fn span<T: FromStr>(text: &str) -> Span<T> {
    let (min, max) = text.split_once(':').expect("min:max");
    Span {
        min: bound(min),
        max: bound(max),
    }
}

fn units(text: &str) -> Units {
    let mut words = text.split(':');
    let (unit, count) = (words.next(), parsed(words.next().expect("a least")));
    let min = match unit {
        Some("nodes") => Request::Nodes { count },
        Some("sockets") => Request::Sockets { count },
        _ => Request::Cores { count },
    };
    Units {
        min,
        max: words.next().and_then(bound),
    }
}

fn order(text: &str) -> OrderBy {
    let less = text.strip_prefix('-');
    let by = match less.unwrap_or(text) {
        "memory" => OrderKey::Memory,
        _ => OrderKey::Cores,
    };
    OrderBy {
        by,
        more_first: less.is_none(),
    }
}
