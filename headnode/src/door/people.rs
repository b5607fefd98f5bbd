//! Tokens for nodes and users, and users that are added: what has to be looked up or made before the controller is asked.

use nix::unistd::{Uid, User};
use proto::client::{Refusal, RefusalCode, Reply};
use proto::ids::{GroupName, PoolName, UserName};
use proto::model::owner::{Caller, Role};
use proto::stored::TokenRow;
use proto::units::Millis;
use scheduler::Input;

use super::Door;
use super::caller::system_user;
use super::refusal::refused;

/// The longest life of a join token: 30 days.
const MAX_TOKEN_LIFE: Millis = Millis::from_seconds(30 * 86_400);

impl Door {
    pub(super) async fn make_token(
        &self,
        who: &Caller,
        (pool, groups): (PoolName, Vec<GroupName>),
        uses: u32,
        lifetime: Millis,
    ) -> Result<Reply, Refusal> {
        let made = self.tokens.make();
        let (text, hash) = made.map_err(|error| {
            let what = format!("no join token can be made: {error}");
            refused(RefusalCode::Busy, what, "try again")
        })?;
        let expires_at = self.clock.now().wall + lifetime.min(MAX_TOKEN_LIFE);
        let token = TokenRow {
            hash,
            pool,
            groups,
            expires_at,
            uses_left: uses,
        };
        let caller = who.clone();
        self.write(who, Input::MakeToken { caller, token }).await?;
        Ok(Reply::Token {
            token: text,
            expires_at,
        })
    }

    pub(super) async fn make_login(&self, who: &Caller, user: UserName, lifetime: Millis) -> Result<Reply, Refusal> {
        let (text, token) = self.credentials.make_login(lifetime)?;
        let expires_at = token.expires_at;
        let caller = who.clone();
        self.write(who, Input::MakeLogin { caller, user, token }).await?;
        Ok(Reply::Token {
            token: text,
            expires_at,
        })
    }

    pub(super) async fn add_user(
        &self,
        who: &Caller,
        user: UserName,
        role: Role,
        ids: Option<(u32, u32)>,
    ) -> Result<Reply, Refusal> {
        // Before anything of this machine's user database is told to somebody.
        if who.role < Role::Administrator {
            let what = "only an administrator adds users or gives them another role";
            return Err(refused(RefusalCode::Forbidden, what, "ask one of them"));
        }
        let ids = self.account(&user, ids).await?;
        let caller = who.clone();
        self.write(
            who,
            Input::AddUser {
                caller,
                user,
                ids,
                role,
            },
        )
        .await
    }

    /// User and group number: what this machine says, else what the administrator says, else what was said before.
    async fn account(&self, user: &UserName, given: Option<(u32, u32)>) -> Result<(u32, u32), Refusal> {
        let name = user.to_string();
        let known = system_user(move || User::from_name(&name)).await;
        let known = known.map(|account| (account.uid.as_raw(), account.gid.as_raw()));
        match (known, given) {
            (Some(known), Some(given)) if known != given => Err(refused(
                RefusalCode::Invalid,
                format!(
                    "user '{user}' has the numbers {}:{} on the head node's machine, not {}:{}",
                    known.0, known.1, given.0, given.1
                ),
                "leave the numbers out, or correct the account there",
            )),
            (Some(known), _) => Ok(known),
            (None, Some(given)) => match holder_of(given.0).await {
                // Jobs are told apart by numbers: under that one the new user would be the other.
                Some(other) => Err(refused(
                    RefusalCode::Invalid,
                    format!(
                        "the number {} is the account '{other}' on the head node's machine",
                        given.0
                    ),
                    format!("add '{other}', or give '{user}' a number of their own"),
                )),
                None => Ok(given),
            },
            (None, None) => self.view.user(user).map(|row| (row.uid, row.gid)).ok_or_else(|| {
                refused(
                    RefusalCode::NotFound,
                    format!("the head node's machine knows no user '{user}'"),
                    "check the name, or say as whom their tasks run: --uid N --gid N",
                )
            }),
        }
    }
}

/// The account of this machine that has a number.
async fn holder_of(uid: u32) -> Option<String> {
    let account = system_user(move || User::from_uid(Uid::from_raw(uid))).await;
    account.map(|account| account.name)
}
