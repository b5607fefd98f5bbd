//! Input for an interactive task, relayed to the node that runs it.
//!
//! ```text
//!   client                        head                          node
//!   Request::Input  ------------->  waits until the task runs
//!                                   NodeRequest::Input -------->
//!         <------------------ Done
//!   Input  ---------------------->                     -------->
//!         <---------------- InputReply   <----------------------   one for each, only then the next
//! ```
//!
//! It ends with the first `Closed`, with the answer to `Input::End`, or when the client leaves; the task does not notice
//! that. A piece whose answer was lost is not sent again: nobody knows whether the program has read it.

use std::time::Duration;

use anyhow::Context;
use proto::client::{Refusal, RefusalCode, Reply};
use proto::control::{Input, InputReply, NodeRequest};
use proto::ids::{AttemptId, NodeId, TaskId};
use proto::model::owner::Caller;
use tokio::io::{AsyncRead, AsyncWrite};
use transport::control::{Connection, StreamReader, StreamWriter};

use super::Door;
use super::line::Line;
use super::refusal::refused;
use crate::view::Stage;

/// The most bytes of one piece of input.
const MAX_INPUT_BYTES: usize = 64 * 1024;

/// How long a node may take to take a stream.
const OPEN_DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer of a node: a line for people.
const MAX_REPLY_BYTES: usize = 16 * 1024;

/// A stream to the node that runs the task.
struct Ear {
    attempt: AttemptId,
    connection: Connection,
    to: StreamWriter,
    from: StreamReader,
}

impl Door {
    pub(super) async fn input<W, R>(&self, line: &mut Line<W, R>, task: TaskId) -> anyhow::Result<()>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        if let Err(refusal) = self.may_type(&line.who, task).await {
            return line.tell(&Reply::Refused(refusal)).await;
        }
        let Some(_place) = self.bounds.inputs.take(line.who.owner.uid, line.who.role) else {
            let refusal = refused(
                RefusalCode::Busy,
                format!(
                    "{} types into {} tasks already, or all users together into {}",
                    line.who.owner.name,
                    super::MAX_INPUTS_OF_ONE,
                    super::MAX_INPUTS
                ),
                "end some, or try again later",
            );
            return line.tell(&Reply::Refused(refusal)).await;
        };
        let mut ear = match self.ear(line, task).await? {
            Ok(ear) => ear,
            Err(reason) => {
                let refusal = refused(RefusalCode::WrongState, reason, "see 'task view'");
                return line.tell(&Reply::Refused(refusal)).await;
            }
        };
        let done = Reply::Done {
            sequence: self.view.sequence(),
            notes: Vec::new(),
        };
        line.tell(&done).await?;
        while let Some(input) = line.from.recv::<Input>().await? {
            if let Err(refusal) = line.check(&self.view) {
                let reason = refusal.to_string();
                return line.stream(&InputReply::Closed { reason }).await;
            }
            let reply = self.pass_on(line, task, &mut ear, &input).await?;
            let is_over = input == Input::End || matches!(reply, InputReply::Closed { .. });
            line.stream(&reply).await?;
            if is_over {
                return Ok(());
            }
        }
        anyhow::bail!("the client left")
    }

    /// Only the owner and administrators: what is typed is done in the owner's name.
    async fn may_type(&self, who: &Caller, id: TaskId) -> Result<(), Refusal> {
        let (job, task) = self
            .read(who, move |view, who| Ok((view.job(who, id.job)?, view.task(who, id)?)))
            .await?;
        if !who.may_act_as(&job.owner) {
            let others = if job.owner.uid == 0 { "" } else { " and administrators" };
            return Err(refused(
                RefusalCode::Forbidden,
                format!("task {id} takes input from its owner {}{others} only", job.owner.name),
                "",
            ));
        }
        if task.spec.interactive.is_none() {
            return Err(refused(
                RefusalCode::Invalid,
                format!("task {id} takes no input: it was not submitted as interactive"),
                "submit it with 'job submit -it'",
            ));
        }
        if task.state.is_ended() {
            return Err(refused(
                RefusalCode::WrongState,
                format!("task {id} is {} and takes no more input", task.state.word()),
                format!("see 'task view {id}'"),
            ));
        }
        Ok(())
    }

    async fn pass_on<W, R>(
        &self,
        line: &mut Line<W, R>,
        task: TaskId,
        ear: &mut Ear,
        input: &Input,
    ) -> anyhow::Result<InputReply>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        if matches!(input, Input::Bytes { bytes } if bytes.len() > MAX_INPUT_BYTES) {
            let reason = format!("a piece of input has at most {MAX_INPUT_BYTES} bytes");
            return Ok(InputReply::Closed { reason });
        }
        // The node may have connected anew since, or the task been tried again; nothing of this piece was sent yet.
        let moved = self.try_of(task).is_some_and(|(attempt, _)| attempt != ear.attempt);
        if moved || ear.connection.close_reason().is_some() {
            match self.ear(line, task).await? {
                Ok(again) => *ear = again,
                Err(reason) => return Ok(InputReply::Closed { reason }),
            }
        }
        let relay = async {
            ear.to.send(input).await?;
            ear.from.recv::<InputReply>().await
        };
        let reply = tokio::select! {
            reply = relay => reply,
            left = line.left() => return left.map(|()| InputReply::Taken),
        };
        Ok(match reply {
            Ok(Some(reply)) => reply,
            Ok(None) => InputReply::Closed {
                reason: "the node takes no more input for this task".to_owned(),
            },
            Err(error) => InputReply::Closed {
                reason: format!(
                    "the connection to the node broke ({error}); it is not known whether the last input came through"
                ),
            },
        })
    }

    /// Waits until the task runs on a node that is connected, for as long as the client stays. The inner error says for
    /// people why that will never be.
    async fn ear<W, R>(&self, line: &mut Line<W, R>, task: TaskId) -> anyhow::Result<Result<Ear, String>>
    where
        W: AsyncWrite + Unpin + Send,
        R: AsyncRead + Unpin + Send,
    {
        let mut changes = self.view.changes();
        loop {
            changes.borrow_and_update();
            let one = [task].into();
            let now = self
                .view
                .stages_of(task.job, &one)
                .and_then(|job| job.tasks.first().copied());
            let stage = match now {
                Some(now) if now.stage != Stage::Over => now.stage,
                _ => return Ok(Err(format!("task {task} is over"))),
            };
            if let Some((attempt, node)) = now.and_then(|now| now.last).filter(|_| stage == Stage::Running)
                && let Some(connection) = self.links.connection(node)
            {
                match tokio::time::timeout(OPEN_DEADLINE, open(connection, attempt)).await {
                    Ok(Ok(ear)) => return Ok(Ok(ear)),
                    Ok(Err(error)) => tracing::debug!(%task, %attempt, %node, "no way for input: {error:#}"),
                    Err(_) => tracing::debug!(%task, %attempt, %node, "no way for input: the node takes no stream"),
                }
            }
            tokio::select! {
                changed = changes.changed() => changed.context("the head node is ending")?,
                left = line.left() => left?,
            }
        }
    }

    fn try_of(&self, task: TaskId) -> Option<(AttemptId, NodeId)> {
        let one = [task].into();
        let job = self.view.stages_of(task.job, &one)?;
        job.tasks.first().and_then(|now| now.last)
    }
}

async fn open(connection: Connection, attempt: AttemptId) -> anyhow::Result<Ear> {
    let (mut to, mut from) = connection.open_stream().await?;
    from.set_limit(MAX_REPLY_BYTES);
    to.send(&NodeRequest::Input { attempt }).await?;
    Ok(Ear {
        attempt,
        connection,
        to,
        from,
    })
}
