//! From an input to events or a refusal. One match; its arms stand in the files beside it. Nothing is changed here:
//! a refused request leaves no trace.

mod admin;
mod attempt;
mod cancel;
mod join;
mod ledger;
mod liveness;
mod submit;

use proto::client::Refusal;
use proto::model::owner::{Caller, Role};
use proto::units::Now;

use crate::cluster::Cluster;
use crate::input::{Answer, Decision, Input};
use crate::refusal::forbidden;
use ledger::Ledger;
pub(crate) use ledger::may_rerun;

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
        Input::SwitchNodes { caller, nodes, admin } => {
            require(caller, Role::Operator, "switch nodes on and off")?;
            admin::switch(&mut ledger, nodes, *admin)?
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
        Input::Join { secret_hash, name } => join::join(&mut ledger, secret_hash, name)?,
        Input::NodeUp { node, hello } => {
            liveness::hello(&mut ledger, *node, hello)?;
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
        Input::Tick => {
            liveness::tick(&mut ledger);
            cancel::enforce_limits(&mut ledger);
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
