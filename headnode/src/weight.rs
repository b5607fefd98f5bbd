//! About how many bytes things take in a frame, rather too many: to cut messages and lists before they are encoded.

use proto::control::Order;
use proto::model::job::{Env, JobRow};
use proto::model::task::TaskRow;

/// Everything of a row or an order that does not grow with what a user gave.
const FIXED_BYTES: usize = 1024;

/// A node with its name and address.
const NODE_BYTES: usize = 200;

/// A name of a node or a group.
const NAME_BYTES: usize = 80;

/// Of an order to a node.
#[must_use]
pub fn of_order(order: &Order) -> usize {
    let Order::Start(start) = order else { return FIXED_BYTES };
    let paths = [&start.workdir, &start.stdout, &start.stderr];
    let paths: usize = paths.into_iter().flatten().map(String::len).sum();
    FIXED_BYTES + words(&start.command) + variables(&start.env) + paths + NODE_BYTES * start.nodes.len()
}

/// Of a job's row.
#[must_use]
pub fn of_job(job: &JobRow) -> usize {
    let names = job.spec.requested_nodes.len() + job.spec.node_groups.len();
    FIXED_BYTES + variables(&job.spec.env) + NAME_BYTES * names
}

/// Of a task's row, with the names of its nodes beside it.
#[must_use]
pub fn of_task(task: &TaskRow) -> usize {
    let spec = &task.spec;
    let paths = [&spec.workdir, &spec.stdout, &spec.stderr];
    let paths: usize = paths.into_iter().flatten().map(String::len).sum();
    FIXED_BYTES + words(&spec.command) + variables(&spec.env) + paths + NAME_BYTES * task.last_nodes.len()
}

fn words(command: &[String]) -> usize {
    command.iter().map(|word| word.len() + 8).sum()
}

fn variables(env: &Env) -> usize {
    env.iter()
        .map(|(name, value)| name.len() + value.as_ref().map_or(0, String::len) + 16)
        .sum()
}
