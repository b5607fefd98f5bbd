//! Requests that become one input each, and the answers to them.

use proto::client::{Refusal, Reply, Request};
use proto::ids::{JobId, ScheduleName};
use proto::model::owner::Caller;
use proto::model::schedule::ScheduleAction;
use scheduler::{Answer, Input};
use tokio::sync::oneshot;

use super::Door;
use super::refusal::{busy, ending};
use crate::round::Arrival;
use crate::serve::Slot;

/// A request as the controller takes it.
pub(super) struct Write {
    /// A job that the caller must be able to see: who may not is not told whether it is over.
    job: Option<JobId>,
    input: Input,
}

/// Requests that need nothing but to be handed on; the others come back.
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
        Request::DisableJob { job, tasks } => (Some(job), Input::DisableJob { caller, job, tasks }),
        Request::EnableJob { job } => (Some(job), Input::EnableJob { caller, job }),
        Request::TerminateJob { job, reason } => (Some(job), Input::TerminateJob { caller, job, reason }),
        Request::DeleteJob { job } => (
            Some(job),
            Input::DeleteJob {
                caller,
                job,
                stored: None,
            },
        ),
        Request::ReactivateTasks { tasks } => (
            tasks.first().map(|task| task.job),
            Input::ReactivateTasks { caller, tasks },
        ),
        other => return of_the_floor(caller, other),
    };
    Ok(Write { job, input })
}

/// Requests about schedules, pools, nodes, groups, users and settings.
fn of_the_floor(caller: Caller, request: Request) -> Result<Write, Box<Request>> {
    let input = match request {
        Request::AddSchedule { name, spec } => Input::AddSchedule { caller, name, spec },
        Request::ModifySchedule { name, spec } => Input::ModifySchedule { caller, name, spec },
        Request::ActOnSchedule { name, action } => Input::ActOnSchedule { caller, name, action },
        Request::AddPool { name, spec } => Input::AddPool { caller, name, spec },
        Request::SetPool { name, change } => Input::SetPool { caller, name, change },
        Request::ResizePool {
            name,
            wanted,
            option,
            timeout,
        } => Input::ResizePool {
            caller,
            name,
            wanted,
            option,
            timeout,
        },
        Request::DeletePool { name } => Input::DeletePool { caller, name },
        Request::RestartNodes { nodes, option, reimage } => Input::RestartNodes {
            caller,
            nodes,
            option,
            reimage,
        },
        Request::SetLimits { user, limits } => Input::SetLimits { caller, user, limits },
        Request::SwitchNodes { nodes, admin, option } => Input::SwitchNodes {
            caller,
            nodes,
            admin,
            option,
        },
        Request::RemoveNodes { nodes, force } => Input::RemoveNodes { caller, nodes, force },
        Request::AddToGroup { group, nodes } => Input::AddToGroup { caller, group, nodes },
        Request::RemoveFromGroup { group, nodes } => Input::RemoveFromGroup { caller, group, nodes },
        Request::RemoveUser { user } => Input::RemoveUser { caller, user },
        Request::RevokeCredential { user, key } => Input::RevokeCredential { caller, user, key },
        Request::SetSettings { env, parameters } => Input::SetSettings {
            caller,
            env,
            parameters,
        },
        other => return Err(Box::new(other)),
    };
    Ok(Write { job: None, input })
}

impl Door {
    pub(super) async fn write_plain(&self, who: &Caller, write: Write) -> Result<Reply, Refusal> {
        if let Some(job) = write.job {
            self.job(who, job).await?;
        }
        let deleted = match &write.input {
            Input::ActOnSchedule {
                name,
                action: ScheduleAction::Delete,
                ..
            } => Some(name.clone()),
            _ => None,
        };
        let reply = self.write(who, write.input).await?;
        if let Some(name) = deleted {
            self.delete_old_jobs_of(who, name).await?;
        }
        Ok(reply)
    }

    /// With a job schedule go its jobs that are over and no longer in memory; the others went with the request itself.
    async fn delete_old_jobs_of(&self, who: &Caller, name: ScheduleName) -> Result<(), Refusal> {
        let jobs = self.read(who, move |view, who| view.old_jobs_of(who, &name)).await?;
        for job in jobs {
            let input = Input::DeleteJob {
                caller: who.clone(),
                job,
                stored: None,
            };
            // One that somebody else deleted meanwhile is gone as well.
            if let Err(refusal) = self.write(who, input).await {
                tracing::debug!(%job, %refusal, "a job of a deleted schedule stays");
            }
        }
        Ok(())
    }

    /// Hands a request to the controller and waits until what was decided is durable. A client waits for the share of its
    /// account; what waits of all clients leaves half of the queue to the nodes, whose work it is that empties it.
    pub(super) async fn write(&self, who: &Caller, input: Input) -> Result<Reply, Refusal> {
        let _share = self.bounds.writes_of_one.take(who.owner.uid).await?;
        if self.arrivals.capacity() <= self.arrivals.max_capacity() / 2 {
            return Err(busy("more requests wait at the head node than it takes"));
        }
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
