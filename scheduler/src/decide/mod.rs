//! From an input to events or a refusal. One match; its arms stand in the files beside it. Nothing is changed here:
//! a refused request leaves no trace.

mod admin;
mod attempt;
mod cancel;
mod check;
mod check_task;
mod consequence;
mod depend;
mod duty;
mod errand;
mod job;
mod join;
mod leave;
mod ledger;
mod lifecycle;
mod limits;
mod liveness;
mod manager;
mod modify;
mod parents;
mod pool;
mod requeue;
mod restart;
mod schedule;
mod service;
mod settings;
mod shape;
mod start_task;
mod submit;
mod task;
mod users;
mod window;

use proto::client::Refusal;
use proto::model::owner::{Caller, Role};
use proto::units::Now;

use crate::cluster::Cluster;
use crate::input::{Answer, Decision, Input};
use crate::refusal::forbidden;
use ledger::Ledger;
pub use parents::parent_is_met;
pub(crate) use submit::check_submission;

/// What follows from an input. Repeating an input that was decided and applied gives no further events.
///
/// # Errors
/// A refusal for the asker, for inputs that somebody asked. Reports, heartbeats and ticks are never refused.
pub fn decide(cluster: &Cluster, input: &Input, now: Now) -> Result<Decision, Refusal> {
    let mut ledger = Ledger::new(cluster, now);
    let answer = match input {
        Input::Submit {
            caller,
            submission,
            job,
            tasks,
        } => submit::submit(&mut ledger, caller, *submission, job, tasks)?,
        Input::CancelJob {
            caller,
            job,
            force,
            message,
        } => cancel::cancel(&mut ledger, caller, *job, *force, message)?,
        Input::SwitchNodes {
            caller,
            nodes,
            admin,
            option,
        } => {
            require(caller, Role::Operator, "switch nodes on and off")?;
            admin::switch(&mut ledger, nodes, *admin, *option)?
        }
        Input::RestartNodes {
            caller,
            nodes,
            option,
            reimage,
        } => {
            let role = if *reimage { Role::Administrator } else { Role::Operator };
            require(caller, role, "have nodes start anew")?;
            restart::restart(&mut ledger, nodes, *option, *reimage)?
        }
        Input::AddPool { caller, name, spec } => {
            require(caller, Role::Administrator, "make pools")?;
            pool::add(&mut ledger, caller, name, spec)?
        }
        Input::SetPool { caller, name, change } => {
            require(caller, Role::Administrator, "change pools")?;
            pool::set(&mut ledger, caller, name, change)?
        }
        Input::ResizePool {
            caller,
            name,
            wanted,
            option,
            timeout,
        } => {
            require(caller, Role::Administrator, "resize pools")?;
            pool::resize(&mut ledger, name, *wanted, *option, *timeout)?
        }
        Input::DeletePool { caller, name } => {
            require(caller, Role::Administrator, "take pools away")?;
            pool::delete(&mut ledger, name)?
        }
        Input::SetLimits { caller, user, limits } => {
            require(caller, Role::Administrator, "set limits")?;
            limits::set(&mut ledger, user.as_ref(), *limits)?
        }
        Input::DisableJob { caller, job, tasks } => lifecycle::disable(&mut ledger, caller, *job, *tasks)?,
        Input::EnableJob { caller, job } => lifecycle::enable(&mut ledger, caller, *job)?,
        Input::TerminateJob { caller, job, reason } => lifecycle::terminate(&mut ledger, caller, *job, reason)?,
        Input::DeleteJob { caller, job, stored } => lifecycle::delete(&mut ledger, caller, *job, stored.as_deref())?,
        Input::ReactivateTasks { caller, tasks } => requeue::reactivate(&mut ledger, caller, tasks)?,
        Input::AddSchedule { caller, name, spec } => schedule::add(&mut ledger, caller, name, spec)?,
        Input::ModifySchedule { caller, name, spec } => schedule::modify(&mut ledger, caller, name, spec)?,
        Input::ActOnSchedule { caller, name, action } => schedule::act(&mut ledger, caller, name, *action)?,
        Input::RemoveNodes { caller, nodes, force } => {
            require(caller, Role::Administrator, "remove nodes")?;
            leave::remove(&mut ledger, nodes, *force)?
        }
        Input::AddUser {
            caller,
            user,
            ids,
            role,
        } => {
            require(caller, Role::Administrator, "add users")?;
            users::add(&mut ledger, user, *ids, *role)?
        }
        Input::RemoveUser { caller, user } => {
            require(caller, Role::Administrator, "remove users")?;
            users::remove(&mut ledger, user)?
        }
        Input::RevokeCredential { caller, user, key } => users::revoke(&mut ledger, caller, user, key)?,
        Input::MakeLogin { caller, user, token } => users::make_login(&mut ledger, caller, user, token)?,
        Input::Login {
            secret_hash,
            credential,
        } => users::login(&mut ledger, secret_hash, credential)?,
        Input::RenewCredential { caller, credential } => users::renew(&mut ledger, caller, credential)?,
        Input::SetSettings {
            caller,
            env,
            parameters,
        } => {
            require(
                caller,
                Role::Administrator,
                "set the cluster's variables and parameters",
            )?;
            settings::set(&mut ledger, env, parameters)?
        }
        Input::AddToGroup { caller, group, nodes } => {
            require(caller, Role::Operator, "change node groups")?;
            admin::add_to_group(&mut ledger, group, nodes)?
        }
        Input::RemoveFromGroup { caller, group, nodes } => {
            require(caller, Role::Operator, "change node groups")?;
            admin::remove_from_group(&mut ledger, group, nodes)?
        }
        Input::MakeToken { caller, token } => {
            require(caller, Role::Administrator, "make join tokens")?;
            join::make_token(&mut ledger, token)?
        }
        Input::Join {
            secret_hash,
            name,
            key,
            certificate_ends,
        } => join::join(&mut ledger, secret_hash, name, *key, *certificate_ends)?,
        Input::Renew {
            node,
            key,
            certificate_ends,
        } => join::renew(&mut ledger, *node, *key, *certificate_ends)?,
        Input::NodeUp { node, key, hello } => {
            liveness::hello(&mut ledger, *node, *key, hello)?;
            Answer::None
        }
        Input::Heard { node } => {
            liveness::heard(&mut ledger, *node);
            Answer::None
        }
        Input::NodeGone { node } => {
            liveness::gone(&mut ledger, *node);
            Answer::None
        }
        Input::Report { node, boot, report } => {
            attempt::report(&mut ledger, *node, *boot, report);
            Answer::None
        }
        Input::NewJob {
            caller,
            submission,
            job,
        } => submit::create(&mut ledger, caller, *submission, job)?,
        Input::AddTasks {
            caller,
            submission,
            job,
            tasks,
            stored,
        } => submit::add(&mut ledger, caller, *submission, *job, tasks, stored.as_deref())?,
        Input::SubmitJob { caller, job } => submit::put_into_queue(&mut ledger, caller, *job)?,
        Input::ModifyJob { caller, job, change } => modify::modify(&mut ledger, caller, *job, change)?,
        Input::CloneJob {
            caller,
            submission,
            job,
            stored,
        } => submit::clone(&mut ledger, caller, *submission, *job, stored.as_deref())?,
        Input::RequeueJob { caller, job, stored } => {
            requeue::requeue_job(&mut ledger, caller, *job, stored.as_deref())?
        }
        Input::FinishJob { caller, job, message } => cancel::finish(&mut ledger, caller, *job, message)?,
        Input::CancelTasks {
            caller,
            tasks,
            force,
            message,
        } => task::cancel(&mut ledger, caller, tasks, *force, message)?,
        Input::RequeueTasks { caller, tasks, stored } => {
            requeue::requeue_tasks(&mut ledger, caller, tasks, stored.as_deref())?
        }
        Input::FinishTasks { caller, tasks, message } => task::finish(&mut ledger, caller, tasks, message)?,
        Input::Tick => {
            liveness::tick(&mut ledger);
            cancel::enforce_limits(&mut ledger);
            lifecycle::enforce_wall_clocks(&mut ledger);
            cancel::end_holds(&mut ledger);
            ledger.look_at_deleting();
            schedule::run_due(&mut ledger);
            pool::end_resizes(&mut ledger);
            duty::end_retentions(&mut ledger);
            Answer::None
        }
    };
    Ok(ledger.close(answer))
}

fn require(caller: &Caller, role: Role, what: &str) -> Result<(), Refusal> {
    if caller.role >= role {
        return Ok(());
    }
    let (user, has, needs) = (&caller.owner.name, caller.role.as_str(), role.as_str());
    Err(forbidden(
        format!("'{user}' may not {what}: that takes the role {needs}, not {has}"),
        "ask an administrator",
    ))
}
