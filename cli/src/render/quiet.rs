//! Ids and names only, one per line: for `$(…)` and `xargs`.

use super::{Printed, remarks_text};
use crate::answer::Answer;

pub(super) fn render(answer: &Answer) -> Printed {
    let lines: Vec<String> = match answer {
        Answer::Submitted { job, .. } => vec![job.to_string()],
        Answer::Jobs { jobs, .. } => jobs.iter().map(|job| job.id.to_string()).collect(),
        Answer::JobOnNodes { job, .. } | Answer::Job(job) | Answer::Waited(job) | Answer::Why { job, .. } => {
            vec![job.id.to_string()]
        }
        Answer::Tasks(page) => page.lines.iter().map(|line| line.id().to_string()).collect(),
        Answer::Sweep(sweep) => vec![sweep.id.to_string()],
        Answer::Made { job, .. } => vec![job.to_string()],
        Answer::Change(job) => vec![job.id.to_string()],
        Answer::Added { task, .. } => vec![task.to_string()],
        Answer::Shown(shown) => vec![shown.task.id.to_string()],
        Answer::Rehearsed(rehearsed) => rehearsed.nodes.iter().map(ToString::to_string).collect(),
        Answer::Task { task, .. } => vec![task.id.to_string()],
        Answer::Nodes(nodes) => nodes.iter().map(|node| node.row.name.to_string()).collect(),
        Answer::Node(node) => vec![node.row.name.to_string()],
        Answer::Groups(groups) => groups.iter().map(|group| group.name.to_string()).collect(),
        Answer::Pools(pools) => pools.iter().map(|pool| pool.row.name.to_string()).collect(),
        Answer::Schedules(schedules) => schedules.iter().map(|schedule| schedule.name.to_string()).collect(),
        Answer::Schedule(schedule) => vec![schedule.name.to_string()],
        Answer::Limits(limits) => limits.users.iter().map(|user| user.user.clone()).collect(),
        Answer::Pool(pool) => vec![pool.row.name.to_string()],
        Answer::Token { token, .. } => vec![token.clone()],
        Answer::Status(status) => vec![status.head.cluster.clone()],
        Answer::Up(up) => up.nodes.iter().map(|node| node.row.name.to_string()).collect(),
        // The last one is told by a file of its own.
        Answer::Many(_)
        | Answer::Told
        | Answer::Notes(_)
        | Answer::Down(_)
        | Answer::Help(_)
        | Answer::Script { .. }
        | Answer::Cluster(_) => Vec::new(),
    };
    let err = match answer {
        Answer::Submitted { remarks, .. } | Answer::Added { remarks, .. } | Answer::Made { remarks, .. } => {
            remarks_text(remarks)
        }
        _ => String::new(),
    };
    Printed {
        out: lines.into_iter().map(|line| line + "\n").collect(),
        err,
    }
}
