//! What has to hold once all faults are over: everything ends, nothing is left, and the whole cluster can be had again.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use anyhow::{bail, ensure};
use proto::client::{JobFilter, Reply, Request};
use proto::ids::{JobId, SubmissionId, TaskId};
use proto::model::job::JobSpec;
use proto::model::node::Liveness;
use proto::model::task::{Request as Demand, TaskSpec};
use tokio::runtime::Runtime;

use super::checker::Requests;
use super::client::{Asking, MARK};
use super::ground::Ground;
use super::record::{State, Told};
use crate::wait;

/// A node that was given up needs the lost timeout of 38 s, and its tasks their time.
const REST: Duration = Duration::from_secs(90);

/// Processes that were told to end need the grace of a stop.
const LEFT: Duration = Duration::from_secs(20);

/// A client of our own, which waits.
struct Observer {
    runtime: Runtime,
    asking: Asking,
}

impl Observer {
    fn new(ground: &Ground) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self {
            runtime,
            asking: Asking::new(ground.socket()?),
        })
    }

    fn ask(&mut self, request: &Request) -> anyhow::Result<Reply> {
        self.runtime
            .block_on(async { tokio::time::timeout(REST, self.asking.ask(request)).await? })
    }

    fn look(&mut self, job: JobId) -> anyhow::Result<Vec<(TaskId, Told)>> {
        self.runtime
            .block_on(async { tokio::time::timeout(REST, self.asking.look(job)).await? })
    }

    fn live_jobs(&mut self) -> anyhow::Result<Vec<JobId>> {
        let filter = JobFilter {
            all_users: true,
            ..JobFilter::default()
        };
        match self.ask(&Request::ListJobs { filter })? {
            Reply::Jobs { jobs, .. } => Ok(jobs.iter().map(|job| job.id).collect()),
            other => bail!("the list of jobs is {other:?}"),
        }
    }
}

/// Waits until no job lives; gives what the head node tells of all tasks of acknowledged jobs.
///
/// # Errors
/// Naming what does not end.
pub(super) fn all_over(ground: &Ground, requests: &Requests) -> anyhow::Result<BTreeMap<TaskId, Told>> {
    let mut observer = Observer::new(ground)?;
    let mut live = observer.live_jobs()?;
    // Nodes were away for long: what waits takes its time, and each job that ends gives it more.
    let over = loop {
        let before = live.len();
        let fewer = wait::until("one more job to end", REST, || {
            live = observer.live_jobs()?;
            Ok((live.len() < before || live.is_empty()).then_some(()))
        });
        if fewer.is_err() || live.is_empty() {
            break fewer;
        }
    };
    if let Err(error) = over {
        let mut lines = Vec::new();
        for job in live.iter().take(5) {
            let tasks = observer.look(*job)?;
            let open = tasks
                .iter()
                .filter(|(_, told)| matches!(told.state, State::Live { .. }));
            lines.extend(open.take(3).map(|(task, told)| format!("task {task}: {told:?}")));
            lines.push(
                ground
                    .host(0)?
                    .run(crate::hosts::ROOT, &["muster", "job", "why", &job.to_string()])?
                    .out,
            );
        }
        lines.push(
            ground
                .host(0)?
                .run(crate::hosts::ROOT, &["muster", "node", "list"])?
                .out,
        );
        bail!("{error:#}; {} jobs live on\n{}", live.len(), lines.join("\n"));
    }
    let mut told = BTreeMap::new();
    for job in requests.jobs() {
        told.extend(observer.look(job)?);
    }
    Ok(told)
}

/// No process of the run is left anywhere: looked for by the mark in its environment and by its words.
///
/// # Errors
/// Naming those that are left.
pub(super) fn no_orphan(ground: &Ground, name: &str) -> anyhow::Result<()> {
    let mut left = Vec::new();
    let gone = wait::until("all processes of tasks to be gone", LEFT, || {
        left = processes_of(name)?;
        Ok(left.is_empty().then_some(()))
    });
    if let Err(error) = gone {
        for index in 1..=ground.nodes() {
            left.extend(
                ground
                    .host(index)?
                    .run(crate::hosts::ROOT, &["ps", "-ef", "--forest"])
                    .map(|said| said.out),
            );
        }
        bail!(
            "broken: no process of a task is left\n    {error:#}\n    {}",
            left.join("\n    ")
        );
    }
    Ok(())
}

fn processes_of(name: &str) -> anyhow::Result<Vec<String>> {
    let mark = format!("{MARK}={name}");
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let folder = entry?.path();
        // Processes end while we look.
        let read = |file: &str| fs::read(folder.join(file)).unwrap_or_default();
        let environment = read("environ");
        if environment
            .split(|byte| *byte == 0)
            .any(|variable| variable == mark.as_bytes())
        {
            let words = String::from_utf8_lossy(&read("cmdline")).replace('\0', " ");
            let attempt = environment
                .split(|byte| *byte == 0)
                .find(|variable| variable.starts_with(b"MUSTER_ATTEMPT="));
            let attempt = String::from_utf8_lossy(attempt.unwrap_or_default()).into_owned();
            found.push(format!("{} {attempt} {words}", folder.display()));
        }
    }
    Ok(found)
}

/// All nodes answer and hold nothing, and a job gets all of them at once.
///
/// # Errors
/// Naming what is held.
pub(super) fn no_slot_leaked(ground: &Ground) -> anyhow::Result<()> {
    let mut observer = Observer::new(ground)?;
    let mut shown = String::new();
    let free = wait::until("all nodes to answer and to hold nothing", REST, || {
        let Reply::Nodes { nodes } = observer.ask(&Request::ListNodes)? else {
            bail!("the list of nodes is something else");
        };
        let whole = nodes.len() == ground.nodes();
        let free = nodes.iter().all(|node| {
            matches!(node.row.liveness, Liveness::Up { .. }) && node.slots_held == 0 && node.tasks.is_empty()
        });
        shown = format!("{nodes:?}");
        Ok((whole && free).then_some(()))
    });
    if let Err(error) = free {
        bail!("broken: no slot is held by nothing\n    {error:#}\n    {shown}");
    }
    let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
    task.request = Demand::Nodes {
        count: u32::try_from(ground.nodes())?,
    };
    let submission = SubmissionId(u128::MAX);
    let request = Request::Submit {
        submission,
        job: Box::new(JobSpec::default()),
        tasks: vec![task],
    };
    let Reply::Submitted { job, .. } = observer.ask(&request)? else {
        bail!("the probe over all nodes was refused");
    };
    wait::until("the probe over all nodes to end", REST, || {
        let tasks = observer.look(job)?;
        ensure!(
            tasks
                .iter()
                .all(|(_, told)| matches!(told.state, State::Live { .. } | State::Finished)),
            "broken: a job gets all nodes\n    {tasks:?}"
        );
        Ok(tasks
            .iter()
            .all(|(_, told)| told.state == State::Finished)
            .then_some(()))
    })
}

/// No daemon has panicked.
///
/// # Errors
/// With the line of its log.
pub(super) fn no_panic(ground: &Ground) -> anyhow::Result<()> {
    for (name, path) in ground.logs()? {
        let text = String::from_utf8_lossy(&fs::read(&path)?).into_owned();
        if let Some(line) = text.lines().position(|line| line.contains("panicked at")) {
            let lines: Vec<&str> = text.lines().skip(line).take(3).collect();
            bail!("broken: no daemon panics\n    {name}: {}", lines.join("\n    "));
        }
    }
    Ok(())
}
