//! Requests that become one input each, and the answers to them.

use proto::client::{Refusal, Reply, Request};
use proto::ids::JobId;
use proto::model::owner::Caller;
use scheduler::{Answer, Input};
use tokio::sync::oneshot;

use super::Door;
use super::refusal::ending;
use crate::round::Arrival;
use crate::serve::Slot;

/// A request as the controller takes it.
pub(super) struct Write {
    /// A job that the caller must be able to see: who may not is not told whether it is over.
    job: Option<JobId>,
    input: Input,
}

/// Requests that need nothing but to be handed on; the others come back.
#[expect(clippy::too_many_lines, reason = "one arm per request, each of a few lines")]
pub(super) fn plain(who: &Caller, request: Request) -> Result<Write, Box<Request>> {
    let caller = who.clone();
    let (job, input) = match request {
        Request::Submit { submission, job, tasks } => (
            None,
            Input::Submit {
                caller,
                submission,
                job,
                tasks,
            },
        ),
        Request::NewJob { submission, job } => (
            None,
            Input::NewJob {
                caller,
                submission,
                job,
            },
        ),
        Request::AddTasks { submission, job, tasks } => (
            Some(job),
            Input::AddTasks {
                caller,
                submission,
                job,
                tasks,
                stored: None,
            },
        ),
        Request::SubmitJob { job } => (Some(job), Input::SubmitJob { caller, job }),
        Request::ModifyJob { job, change } => (Some(job), Input::ModifyJob { caller, job, change }),
        Request::CloneJob { submission, job } => (
            Some(job),
            Input::CloneJob {
                caller,
                submission,
                job,
                stored: None,
            },
        ),
        Request::RequeueJob { job } => (
            Some(job),
            Input::RequeueJob {
                caller,
                job,
                stored: None,
            },
        ),
        Request::FinishJob { job, message } => (Some(job), Input::FinishJob { caller, job, message }),
        Request::CancelJob { job, force, message } => (
            Some(job),
            Input::CancelJob {
                caller,
                job,
                force,
                message,
            },
        ),
        Request::CancelTasks { tasks, force, message } => (
            tasks.first().map(|task| task.job),
            Input::CancelTasks {
                caller,
                tasks,
                force,
                message,
            },
        ),
        Request::RequeueTasks { tasks } => (
            tasks.first().map(|task| task.job),
            Input::RequeueTasks {
                caller,
                tasks,
                stored: None,
            },
        ),
        Request::FinishTasks { tasks, message } => (
            tasks.first().map(|task| task.job),
            Input::FinishTasks { caller, tasks, message },
        ),
        Request::SwitchNodes { nodes, admin, requeue } => (
            None,
            Input::SwitchNodes {
                caller,
                nodes,
                admin,
                requeue,
            },
        ),
        Request::RemoveNodes { nodes, force } => (None, Input::RemoveNodes { caller, nodes, force }),
        Request::AddToGroup { group, nodes } => (None, Input::AddToGroup { caller, group, nodes }),
        Request::RemoveFromGroup { group, nodes } => (None, Input::RemoveFromGroup { caller, group, nodes }),
        Request::RemoveUser { user } => (None, Input::RemoveUser { caller, user }),
        Request::RevokeCredential { user, key } => (None, Input::RevokeCredential { caller, user, key }),
        Request::SetSettings { env, parameters } => (
            None,
            Input::SetSettings {
                caller,
                env,
                parameters,
            },
        ),
        other => return Err(Box::new(other)),
    };
    Ok(Write { job, input })
}

impl Door {
    pub(super) async fn write_plain(&self, who: &Caller, write: Write) -> Result<Reply, Refusal> {
        if let Some(job) = write.job {
            self.job(who, job).await?;
        }
        self.write(write.input).await
    }

    pub(super) async fn write(&self, input: Input) -> Result<Reply, Refusal> {
        let (slot, answer) = oneshot::channel();
        let arrival = Arrival::Request {
            input,
            slot: Slot(slot),
        };
        self.arrivals.send(arrival).await.map_err(|_| ending())?;
        let landed = answer.await.map_err(|_| ending())?;
        let sequence = landed.sequence;
        Ok(match landed.answer? {
            Answer::Submitted { job, repeated } => Reply::Submitted {
                job,
                sequence,
                repeated,
            },
            Answer::Added { job, first, repeated } => Reply::Added {
                job,
                first,
                sequence,
                repeated,
            },
            Answer::Notes(notes) => Reply::Done { sequence, notes },
            Answer::None | Answer::Joined { .. } | Answer::LoggedIn { .. } => Reply::Done {
                sequence,
                notes: Vec::new(),
            },
        })
    }
}
