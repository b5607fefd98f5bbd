//! `clusrun`: one command on many nodes, beside whatever runs there.
//!
//! ```text
//!   nodes --select--> one job of kind Admin, a task for each node --tail--> lines, pieces or files --> a summary
//! ```
//!
//! Nodes that do not answer are counted as failed at once instead of being waited for, and those that stop answering
//! meanwhile soon after ([`silence`]). Control-C cancels the job. A head node that goes away meanwhile is waited for; what
//! was told already is not told twice, because every piece of output bears its place in its file.

mod silence;
mod sink;

use std::collections::BTreeMap;

use proto::client::{NodeView, Output, OutputPart, Reply, Request};
use proto::control::{FollowFrom, TaskFile};
use proto::ids::{AttemptId, JobId, NodeId, NodeName, Sequence, SubmissionId, TaskId, TaskNumber};
use proto::model::job::{JobKind, JobSpec};
use proto::model::node::{AdminState, Liveness};
use proto::model::task::{AttemptOutcome, Request as Needs, TaskOutcome, TaskRow, TaskSpec, TaskState};

use super::{Door, submit};
use crate::answer::{ClusRan, ClusterAnswer, Ran};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::{Progress, Teller};
use crate::request::{ClusRun, Selector, Telling};
use silence::Silence;
use sink::{Stream, make_folder};

const FILES: [TaskFile; 2] = [TaskFile::Stdout, TaskFile::Stderr];

/// Carries it out.
///
/// # Errors
/// When nothing can be selected or submitted. That the command failed on a node is in the answer.
pub(super) async fn run(wanted: ClusRun, door: &Door) -> Result<ClusterAnswer, CliError> {
    let mut client = door.connect().await?;
    let (reached, silent) = select(&wanted, &mut client).await?;
    let spec = |node: &(NodeId, NodeName)| TaskSpec {
        name: node.1.to_string(),
        request: Needs::Beside { node: node.0 },
        rerunnable: false,
        max_requeues: Some(0),
        workdir: wanted.workdir.clone(),
        stdin: wanted.stdin.clone(),
        env: wanted.env.clone(),
        ..TaskSpec::of_command(wanted.command.clone())
    };
    let tasks: Vec<TaskSpec> = reached.iter().map(spec).collect();
    let mut failed: Vec<Ran> = silent.into_iter().map(unreached).collect();
    if tasks.is_empty() {
        failed.sort_by(|a, b| a.node.cmp(&b.node));
        return Err(CliError::NoNodes {
            silent: failed.into_iter().map(|ran| ran.node).collect(),
        });
    }
    let submission = submit::random_id().map_err(CliError::NoRandom)?;
    let (job, sequence) = submitted(submission, tasks, &wanted, door).await?;
    let mut run = Run::new(job, &reached, Silence::since(sequence), &wanted.telling)?;
    let followed = tokio::select! {
        followed = run.follow(client, door) => followed,
        // Failing to listen for Control-C leaves the system's own way to end us.
        Ok(()) = tokio::signal::ctrl_c() => return Err(canceled(job, door).await),
    };
    followed?;
    let mut nodes = run.finish();
    nodes.extend(failed);
    nodes.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(ClusterAnswer::Ran(ClusRan {
        job,
        nodes,
        told: wanted.telling != Telling::Sorted,
    }))
}

fn unreached(node: NodeName) -> Ran {
    Ran {
        node,
        output: Vec::new(),
        errors: Vec::new(),
        outcome: Err("does not answer".to_owned()),
    }
}

async fn submitted(
    submission: SubmissionId,
    tasks: Vec<TaskSpec>,
    wanted: &ClusRun,
    door: &Door,
) -> Result<(JobId, Sequence), CliError> {
    let job = JobSpec {
        name: format!("clusrun {}", wanted.command.first().map_or("", String::as_str))
            .chars()
            .take(128)
            .collect(),
        kind: JobKind::Admin,
        ..JobSpec::default()
    };
    let request = Request::Submit {
        submission,
        job: Box::new(job),
        tasks,
    };
    match door.ask_again(&request).await? {
        Reply::Submitted { job, sequence, .. } => Ok((job, sequence)),
        _ => Err(ClientError::Unexpected { asked: "clusrun" }.into()),
    }
}

async fn canceled(job: JobId, door: &Door) -> CliError {
    let request = Request::CancelJob {
        job,
        force: false,
        message: "clusrun was interrupted".to_owned(),
    };
    let note = match door.ask(request).await {
        Ok(_) => format!("job {job} is canceled; its programs are asked to end, and killed after the grace period"),
        Err(error) => format!("job {job} could not be canceled ({error}); type 'job cancel {job}'"),
    };
    CliError::Interrupted { note }
}

/// The nodes that answer, and those that were meant and do not.
async fn select(wanted: &ClusRun, client: &mut Client) -> Result<(Vec<(NodeId, NodeName)>, Vec<NodeName>), CliError> {
    let Reply::Nodes { nodes } = client.request(Request::ListNodes).await? else {
        return Err(ClientError::Unexpected { asked: "node list" }.into());
    };
    let known = |name: &NodeName| nodes.iter().any(|node| node.row.name == *name);
    let named = match &wanted.on {
        Selector::Named(names) => names.as_slice(),
        _ => &[],
    };
    if let Some(unknown) = named.iter().chain(&wanted.exclude).find(|name| !known(name)) {
        return Err(CliError::NoNode {
            node: unknown.clone(),
            nearest: crate::args::nearest(unknown.as_str(), nodes.iter().map(|node| node.row.name.as_str()))
                .map(str::to_owned),
        });
    }
    if let Selector::Group(group) = &wanted.on {
        super::node::check_group(group.clone(), client).await?;
    }
    let meant = |node: &&NodeView| is_meant(&wanted.on, node) && !wanted.exclude.contains(&node.row.name);
    let (mut reached, mut silent) = (Vec::new(), Vec::new());
    for node in nodes.iter().filter(meant) {
        if matches!(node.row.liveness, Liveness::Up { .. }) {
            reached.push((node.row.id, node.row.name.clone()));
        } else {
            silent.push(node.row.name.clone());
        }
    }
    Ok((reached, silent))
}

fn is_meant(on: &Selector, node: &NodeView) -> bool {
    match on {
        Selector::All => true,
        Selector::Ready => node.row.admin == AdminState::Online && matches!(node.row.liveness, Liveness::Up { .. }),
        Selector::Named(names) => names.contains(&node.row.name),
        Selector::Group(group) => {
            node.row.groups.contains(group) || node.row.pool.as_str().eq_ignore_ascii_case(group.as_str())
        }
        Selector::Job(job) => node.tasks.iter().any(|task| task.job == *job),
        Selector::Task(task) => node.tasks.iter().any(|held| task.covers(*held)),
    }
}

/// A job under way.
struct Run {
    job: JobId,
    parts: BTreeMap<TaskId, Part>,
    silence: Silence,
    teller: Teller,
    progress: Progress,
}

/// The command on one node.
struct Part {
    id: NodeId,
    node: NodeName,
    attempt: Option<AttemptId>,
    files: [Stream; 2],
    outcome: Option<Result<(), String>>,
}

impl Run {
    fn new(job: JobId, nodes: &[(NodeId, NodeName)], silence: Silence, telling: &Telling) -> Result<Self, CliError> {
        if let Telling::Files(folder) = telling {
            make_folder(folder)?;
        }
        let mut parts = BTreeMap::new();
        for (number, (id, node)) in (1..).zip(nodes) {
            let stream = |file| Stream::of(telling, node, file);
            let part = Part {
                id: *id,
                node: node.clone(),
                attempt: None,
                files: [stream(FILES[0])?, stream(FILES[1])?],
                outcome: None,
            };
            parts.insert(TaskId::new(job, TaskNumber(number)), part);
        }
        Ok(Self {
            job,
            parts,
            silence,
            teller: Teller::new(),
            progress: Progress::new(),
        })
    }

    /// Tells output until the job is over, also across a restart of the head node.
    async fn follow(&mut self, mut client: Client, door: &Door) -> Result<(), CliError> {
        loop {
            let error = match self.follow_once(&mut client, door).await {
                Ok(()) => {
                    // Of its own: output may still be under way on the other one.
                    self.fill_in(&mut door.connect().await?).await?;
                    return self.give_up_silent(door).await;
                }
                Err(CliError::Client(error)) if error.is_passing() => error,
                Err(error) => return Err(error),
            };
            self.progress.show("the head node went away; waiting for it");
            client = door.reconnect(error).await?;
        }
    }

    async fn follow_once(&mut self, client: &mut Client, door: &Door) -> Result<(), CliError> {
        let mut news = self.silence.listen(door).await?;
        let request = Request::Tail {
            job: self.job,
            tasks: Vec::new(),
            from: FollowFrom::Start,
            follow: true,
        };
        client.open(&request).await?;
        while !self.is_through() {
            tokio::select! {
                reply = client.next() => match reply? {
                    Reply::Output(output) => self.take(*output)?,
                    Reply::Done { .. } => return Ok(()),
                    _ => return Err(ClientError::Unexpected { asked: "clusrun" }.into()),
                },
                reply = news.next() => match reply? {
                    Reply::Events { events, .. } => self.silence.see(&events),
                    _ => return Err(ClientError::Unexpected { asked: "muster events" }.into()),
                },
                () = self.silence.runs_out() => {}
            }
        }
        Ok(())
    }

    /// Whether nothing is left to wait for, because all nodes that did not end it have been silent for too long.
    fn is_through(&self) -> bool {
        let mut left = self.parts.values().filter(|part| part.outcome.is_none()).peekable();
        left.peek().is_some() && left.all(|part| self.silence.is_too_long(part.id))
    }

    /// Counts what did not end as failed, and has it ended when its node is back.
    async fn give_up_silent(&mut self, door: &Door) -> Result<(), CliError> {
        if self.parts.values().all(|part| part.outcome.is_some()) {
            return Ok(());
        }
        let job = self.job;
        let request = Request::CancelJob {
            job,
            force: false,
            message: "its node stopped answering clusrun".to_owned(),
        };
        let why = match door.ask(request).await {
            Ok(_) => "stopped answering; its command is ended when it is back".to_owned(),
            Err(_) => format!("stopped answering; 'job cancel {job}' ends its command when it is back"),
        };
        for part in self.parts.values_mut() {
            part.outcome.get_or_insert_with(|| Err(why.clone()));
        }
        Ok(())
    }

    fn take(&mut self, output: Output) -> Result<(), CliError> {
        let all = self.parts.len();
        let over = self.parts.values().filter(|part| part.outcome.is_some()).count();
        let Some(part) = self.parts.get_mut(&output.task) else {
            return Ok(());
        };
        if part.attempt.is_some_and(|before| before != output.attempt) {
            part.files.iter_mut().for_each(|stream| stream.told = 0);
        }
        part.attempt = Some(output.attempt);
        match output.part {
            OutputPart::Piece(piece) => {
                self.progress.clear();
                let at = usize::from(piece.file == TaskFile::Stderr);
                let node = part.node.clone();
                part.files[at].take(&node, piece.file, piece.offset, &piece.bytes, &mut self.teller)?;
            }
            OutputPart::Missing { reason, .. } => {
                self.progress.clear();
                self.teller
                    .remark(&format!("{}: its output cannot be shown: {reason}", part.node));
            }
            OutputPart::Unreachable { reason } => {
                self.progress.show(&format!("{}: {reason}; trying again", part.node));
            }
            OutputPart::End { task } => {
                part.outcome = outcome(&task);
                self.progress.show(&format!("{} of {all} nodes are through", over + 1));
            }
        }
        Ok(())
    }

    /// Tasks whose end was not told.
    async fn fill_in(&mut self, client: &mut Client) -> Result<(), CliError> {
        if self.parts.values().all(|part| part.outcome.is_some()) {
            return Ok(());
        }
        let mut after = None;
        loop {
            let request = Request::ListTasks {
                job: self.job,
                after,
                states: Vec::new(),
            };
            let Reply::Tasks { tasks, more, .. } = client.request(request).await? else {
                return Err(ClientError::Unexpected { asked: "task list" }.into());
            };
            for task in &tasks {
                if let Some(part) = self.parts.get_mut(&task.id).filter(|part| part.outcome.is_none()) {
                    part.outcome = outcome(task);
                }
            }
            after = tasks.last().map(|task| task.id);
            if !more || after.is_none() {
                return Ok(());
            }
        }
    }

    fn finish(mut self) -> Vec<Ran> {
        self.progress.clear();
        let mut nodes = Vec::new();
        for part in self.parts.into_values() {
            let [output, errors] = part.files;
            nodes.push(Ran {
                output: output.rest(&part.node, TaskFile::Stdout, &mut self.teller),
                errors: errors.rest(&part.node, TaskFile::Stderr, &mut self.teller),
                node: part.node,
                outcome: part.outcome.unwrap_or_else(|| Err("its end is not known".to_owned())),
            });
        }
        nodes
    }
}

/// How it went, once it is over.
fn outcome(task: &TaskRow) -> Option<Result<(), String>> {
    let TaskState::Ended { outcome, .. } = &task.state else {
        return None;
    };
    Some(match outcome {
        TaskOutcome::Finished => Ok(()),
        TaskOutcome::Canceled => Err("canceled".to_owned()),
        TaskOutcome::Failed { cause } => Err(match cause {
            AttemptOutcome::Exited { code } => format!("exit {code}"),
            AttemptOutcome::Signaled { signal } => format!("signal {signal}"),
            AttemptOutcome::NotStarted { reason } => format!("not started: {reason}"),
            AttemptOutcome::TimedOut { .. } => "timed out".to_owned(),
            AttemptOutcome::Stopped => "stopped".to_owned(),
            AttemptOutcome::Fenced | AttemptOutcome::NodeLost { .. } => "the node was lost".to_owned(),
            AttemptOutcome::Unknown => "ended in a way that this program does not know".to_owned(),
        }),
    })
}
