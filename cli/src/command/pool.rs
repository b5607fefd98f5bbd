//! Commands about pools, and about limits of users.
//!
//! The head node takes limits as a whole. Who changes one of them is told the others first, and sends them back as they are;
//! of two administrators who do so in the same moment the second one's word counts.

use proto::client::{Reply, Request};
use proto::ids::{PoolName, UserName};
use proto::model::limits::Limits;
use proto::model::pool::PoolSpec;

use super::Door;
use crate::answer::{Answer, UserLimitsAnswer};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::request::{LimitChange, PoolCommand};

/// Carries out one.
pub(super) async fn run(command: PoolCommand, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let request = match command {
        PoolCommand::List => Request::ListPools,
        PoolCommand::View(pool) => {
            let view = view(pool, &mut client).await?;
            return Ok(Answer::Pool(Box::new(view)));
        }
        PoolCommand::Create { name, spec } => return create(name, spec, &mut client).await,
        PoolCommand::Set {
            name,
            mut change,
            limits,
        } => {
            if limits != LimitChange::default() {
                let standing = view(name.clone(), &mut client).await?.row.spec.limits;
                change.limits = Some(limits.on(standing));
            }
            Request::SetPool { name, change }
        }
        PoolCommand::Resize {
            name,
            wanted,
            option,
            timeout,
        } => Request::ResizePool {
            name,
            wanted,
            option,
            timeout,
        },
        PoolCommand::Delete(name) => Request::DeletePool { name },
        PoolCommand::Limits => return Ok(Answer::Limits(Box::new(limits(&mut client).await?))),
        PoolCommand::SetLimits { user, change } => {
            let standing = standing(&limits(&mut client).await?, user.as_ref());
            Request::SetLimits {
                user,
                limits: Some(change.on(standing)),
            }
        }
        PoolCommand::ClearLimits(user) => Request::SetLimits {
            user: Some(user),
            limits: None,
        },
    };
    match client.request(request).await? {
        Reply::Pools { pools } => Ok(Answer::Pools(pools)),
        Reply::Done { notes, .. } => Ok(Answer::Notes(notes)),
        _ => Err(ClientError::Unexpected { asked: "this command" }.into()),
    }
}

/// A pool that is to have nodes says what brings them, as a resize does.
async fn create(name: PoolName, spec: Box<PoolSpec>, client: &mut Client) -> Result<Answer, CliError> {
    let wanted = spec.wanted.unwrap_or_default();
    let request = Request::AddPool {
        name: name.clone(),
        spec,
    };
    match client.request(request).await? {
        Reply::Done { mut notes, .. } => {
            if notes.is_empty() && wanted > 0 {
                let nodes = if wanted == 1 { "node" } else { "nodes" };
                notes.push(format!(
                    "pool '{name}' waits for {wanted} {nodes}; let them join: muster node join-command --pool {name}"
                ));
            }
            Ok(Answer::Notes(notes))
        }
        _ => Err(ClientError::Unexpected { asked: "pool create" }.into()),
    }
}

async fn view(pool: PoolName, client: &mut Client) -> Result<proto::client::PoolView, CliError> {
    let wrong = ClientError::Unexpected { asked: "pool view" };
    match client.request(Request::ViewPool { pool }).await? {
        Reply::Pools { pools } => pools.into_iter().next().ok_or_else(|| wrong.into()),
        _ => Err(wrong.into()),
    }
}

async fn limits(client: &mut Client) -> Result<UserLimitsAnswer, CliError> {
    match client.request(Request::ListLimits).await? {
        Reply::Limits { each, users } => Ok(UserLimitsAnswer { each, users }),
        _ => Err(ClientError::Unexpected { asked: "limit list" }.into()),
    }
}

/// A user's first limits of their own begin with none.
fn standing(known: &UserLimitsAnswer, user: Option<&UserName>) -> Limits {
    match user {
        None => known.each,
        Some(user) => {
            let own = known.users.iter().find(|one| one.own && one.user == user.as_str());
            own.map(|one| one.limits).unwrap_or_default()
        }
    }
}
