//! Commands about users and log-ins.

use proto::client::{RefusalCode, Reply, Request};
use proto::ids::UserName;
use proto::units::{Millis, Timestamp};
use transport::identity::validity_of;

use super::{Door, invite};
use crate::answer::{Answer, ClusterAnswer, LoginToken, Who};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::login::{self, LoginError, Logins, Remote};
use crate::place::{Surroundings, Target};
use crate::request::{AccessCommand, Globals};

/// Hex digits of a key's hash that people see.
pub(crate) const KEY_DIGITS: usize = 12;

/// Carries out one.
pub(super) async fn run(command: AccessCommand, globals: &Globals, around: &Surroundings) -> Result<Answer, CliError> {
    let told = |answer| Ok(Answer::Cluster(Box::new(answer)));
    let door = || Door::of(globals, around);
    match command {
        AccessCommand::Login { host, token } => told(log_in(host, token, globals, around).await?),
        AccessCommand::Logout { host } => log_out(host, globals, around).await,
        AccessCommand::WhoAmI => told(ClusterAnswer::Who(who(&door()?).await?)),
        AccessCommand::UserList => match door()?.ask(Request::ListUsers).await? {
            Reply::Users { users } => told(ClusterAnswer::Users(users)),
            _ => Err(ClientError::Unexpected { asked: "user list" }.into()),
        },
        AccessCommand::UserToken { user, lifetime } => told(token(user, lifetime, &door()?).await?),
        AccessCommand::UserAdd { user, role, ids } => done(Request::AddUser { user, role, ids }, &door()?).await,
        AccessCommand::UserRemove(user) => done(Request::RemoveUser { user }, &door()?).await,
        AccessCommand::UserRevoke { user, key } => done(Request::RevokeCredential { user, key }, &door()?).await,
    }
}

async fn done(request: Request, door: &Door) -> Result<Answer, CliError> {
    match door.ask(request).await? {
        Reply::Done { notes, .. } => Ok(Answer::Notes(notes)),
        _ => Err(ClientError::Unexpected { asked: "muster user" }.into()),
    }
}

/// Where to log in: the command line, then the surroundings.
fn place_of(host: Option<String>, globals: &Globals, around: &Surroundings) -> Result<Remote, CliError> {
    let named = host
        .or_else(|| globals.scheduler.clone())
        .or_else(|| around.own_scheduler.clone())
        .or_else(|| around.scheduler.clone());
    let host = named.ok_or(LoginError::NoHost)?;
    Ok(Logins::of(around).place_of(&host)?)
}

async fn log_in(
    host: Option<String>,
    given: Option<String>,
    globals: &Globals,
    around: &Surroundings,
) -> Result<ClusterAnswer, CliError> {
    let remote = place_of(host, globals, around)?;
    let token = login::read_token(given.as_deref())?;
    let logged_in = login::log_in(&remote, &token, &around.hostname).await?;
    Ok(ClusterAnswer::LoggedIn(logged_in))
}

/// Takes the credential back at the head node, if that can be reached, and throws it away here in any case.
async fn log_out(host: Option<String>, globals: &Globals, around: &Surroundings) -> Result<Answer, CliError> {
    let logins = Logins::of(around);
    let named = host.or_else(|| globals.scheduler.clone());
    let found = match &named {
        Some(host) => logins.at(host),
        None => logins.newest(),
    };
    let Some(remote) = found else {
        return Err(LoginError::NotLoggedIn { host: named }.into());
    };
    let revoked = match revoke(&remote).await {
        // So it ends our connection once the credential is void, and so it turns us away when it was void before.
        Err(CliError::Client(ClientError::Refused(refusal))) if refusal.code == RefusalCode::Forbidden => Ok(()),
        revoked => revoked,
    };
    remote.forget()?;
    let note = match revoked {
        Ok(()) => format!("Logged out at {remote}; the credential of this host is void."),
        Err(error) => format!(
            "The credential for {remote} is thrown away here. The head node could not be told ({error}); an administrator \
             voids it with 'muster user revoke', see 'muster user list'."
        ),
    };
    Ok(Answer::Notes(vec![note]))
}

async fn revoke(remote: &Remote) -> Result<(), CliError> {
    let key = remote.identity()?.key().hash().to_string();
    let mut client = Client::connect(Target::Remote(remote.clone())).await?;
    let user = UserName::new(&client.welcome().user).map_err(|_| ClientError::Unexpected { asked: "muster logout" })?;
    match client.request(Request::RevokeCredential { user, key }).await {
        // The head node may close the connection of a credential that is void before it answers.
        Ok(_) | Err(ClientError::Lost { .. }) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

async fn who(door: &Door) -> Result<Who, CliError> {
    let client = door.connect().await?;
    let welcome = client.welcome();
    let mut who = Who {
        user: welcome.user.clone(),
        role: welcome.role,
        cluster: welcome.cluster.clone(),
        head: door.target().to_string(),
        certificate_ends: None,
        key: None,
    };
    if let Target::Remote(remote) = door.target() {
        // Read after connecting, which may have renewed it.
        let identity = remote.identity()?;
        let ends = validity_of(identity.certificate()).map(|life| life.not_after);
        let since = ends.and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
        who.certificate_ends = since.map(|span| Timestamp(u64::try_from(span.as_millis()).unwrap_or(u64::MAX)));
        who.key = Some(identity.key().hash().to_string().chars().take(KEY_DIGITS).collect());
    }
    Ok(who)
}

async fn token(user: Option<UserName>, lifetime: Millis, door: &Door) -> Result<ClusterAnswer, CliError> {
    let unexpected = || ClientError::Unexpected { asked: "user token" };
    let mut client = door.connect().await?;
    let user = match user {
        Some(user) => user,
        None => UserName::new(&client.welcome().user).map_err(|_| unexpected())?,
    };
    let request = Request::MakeLogin {
        user: user.clone(),
        lifetime,
    };
    let Reply::Token { token, expires_at } = client.request(request).await? else {
        return Err(unexpected().into());
    };
    let (head, remarks) = invite::head_address(None, &mut client, door).await?;
    Ok(ClusterAnswer::LoginToken(LoginToken {
        token,
        user: user.to_string(),
        head,
        expires_at,
        remarks,
    }))
}
