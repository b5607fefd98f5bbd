//! `muster __complete`: what shells ask at every press of a key. Quick or silent: what the head node has not said within
//! 300 ms is left out, and nothing that goes wrong is told.

use std::time::Duration;

use proto::client::{JobFilter, Reply, Request};
use proto::ids::JobId;

use super::Door;
use crate::answer::Answer;
use crate::args::{Source, complete};
use crate::place::Surroundings;
use crate::request::Globals;

/// Longer than this nobody waits for a key.
const DEADLINE: Duration = Duration::from_millis(300);

/// More than fits on a screen.
const MOST: usize = 500;

/// One line for each word, with a tab before what it means.
pub(super) async fn run(words: &[String], globals: &Globals, around: &Surroundings) -> Answer {
    let completion = complete(words);
    let mut found = completion.words;
    if let Some(source) = completion.source {
        let asked = tokio::time::timeout(DEADLINE, ask(source, &completion.begun, globals, around)).await;
        let known = asked.ok().flatten().unwrap_or_default();
        let begins = |(word, _): &(String, String)| {
            let begun = word.get(..completion.begun.len());
            begun.is_some_and(|begun| begun.eq_ignore_ascii_case(&completion.begun))
        };
        let whole = |(word, about): (String, String)| (format!("{}{word}", completion.before), about);
        found.extend(known.into_iter().filter(begins).map(whole).take(MOST));
    }
    // What users wrote must stay on its line.
    let plain = |text: &str| -> String { text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect() };
    let lines = found
        .iter()
        .map(|(word, about)| format!("{}\t{}\n", plain(word), plain(about)));
    Answer::Help(lines.collect())
}

async fn ask(source: Source, begun: &str, globals: &Globals, around: &Surroundings) -> Option<Vec<(String, String)>> {
    let mut client = Door::of(globals, around).ok()?.connect().await.ok()?;
    let task_of: Option<JobId> = begun.split_once('.').and_then(|(job, _)| job.parse().ok());
    let request = match (source, task_of) {
        (Source::Tasks, Some(job)) => Request::ListTasks {
            job,
            after: None,
            states: Vec::new(),
        },
        (Source::Jobs | Source::Tasks, _) => Request::ListJobs {
            filter: JobFilter {
                ended: true,
                ..JobFilter::default()
            },
        },
        (Source::Nodes, _) => Request::ListNodes,
        (Source::Groups, _) => Request::ListGroups,
        (Source::Pools, _) => Request::ListPools,
        (Source::Users, _) => Request::ListUsers,
        (Source::Schedules, _) => Request::ListSchedules,
    };
    Some(match client.request(request).await.ok()? {
        Reply::Jobs { jobs, .. } => jobs
            .into_iter()
            .map(|job| {
                let dot = if source == Source::Tasks { "." } else { "" };
                (
                    format!("{}{dot}", job.id),
                    format!("{} {}", job.state.word(), job.spec.name),
                )
            })
            .collect(),
        Reply::Tasks { tasks, .. } => tasks
            .into_iter()
            .map(|task| (task.id.to_string(), format!("{} {}", task.state.word(), task.spec.name)))
            .collect(),
        Reply::Nodes { nodes } => nodes
            .into_iter()
            .map(|node| (node.row.name.to_string(), format!("pool {}", node.row.pool)))
            .collect(),
        Reply::Groups { groups } => groups
            .into_iter()
            .map(|group| (group.name.to_string(), format!("{} nodes", group.nodes.len())))
            .collect(),
        Reply::Pools { pools } => pools
            .into_iter()
            .map(|pool| (pool.row.name.to_string(), format!("{} nodes", pool.nodes.len())))
            .collect(),
        Reply::Users { users } => users
            .into_iter()
            .map(|user| (user.name.to_string(), user.role.as_str().to_owned()))
            .collect(),
        Reply::Schedules { schedules } => schedules
            .into_iter()
            .map(|schedule| (schedule.name.to_string(), schedule.state.word().to_owned()))
            .collect(),
        _ => return None,
    })
}
