//! Users on other hosts: log-in tokens, and the certificates that they become.
//!
//! A credential is a key in its user's row. The certificate says whose key it is and when it ends, never what its user
//! may do: that is read from the row at each request, so taking the key out of the row takes the credential back.

use std::sync::Arc;

use proto::client::{Refusal, RefusalCode, Reply};
use proto::control::{Login, LoginReply};
use proto::ids::{KeyHash, UserName};
use proto::model::owner::{Caller, Role};
use proto::model::user::{Credential, LoginToken};
use proto::units::{Millis, Timestamp};
use scheduler::{Answer, Input};
use transport::identity::{CertificateDer, LoginToken as TokenText, RequestDer, Subject, TokenHash};

use crate::authority::ClusterAuthority;
use crate::clock::Clock;
use crate::knock::{Turned, check_version, hash_of};
use crate::serve::Requests;
use crate::view::View;

/// The longest life of a log-in token: 7 days.
pub const MAX_LOGIN_LIFE: Millis = Millis::from_seconds(7 * 86_400);

/// The most bytes of a host's name that are kept.
const MAX_HOST_BYTES: usize = 64;

/// Gives users their tokens and certificates.
#[derive(Debug, Clone)]
pub struct Credentials {
    /// Signs, and is what tokens pin.
    pub authority: Arc<ClusterAuthority>,
    /// To the controller.
    pub requests: Requests,
    /// For where a key that is renewed was made.
    pub view: Arc<View>,
    /// For the ends of tokens.
    pub clock: Clock,
    /// The cluster's name.
    pub cluster: String,
    /// How long a certificate is good for.
    pub life: Millis,
}

impl Credentials {
    /// A new log-in token: its text, to be shown once, and what is kept of it, for [`Input::MakeLogin`].
    ///
    /// # Errors
    /// When the system gives no randomness.
    pub fn make_login(&self, lifetime: Millis) -> Result<(String, LoginToken), Refusal> {
        let made = TokenText::generate(self.authority.fingerprint()).map_err(|error| Refusal {
            code: RefusalCode::Busy,
            what: format!("no log-in token can be made: {error}"),
            remedy: "try again".to_owned(),
            retry_after: None,
        })?;
        let token = LoginToken {
            hash: TokenHash::of(&made.secret).to_string(),
            expires_at: self.clock.now().wall + lifetime.min(MAX_LOGIN_LIFE),
        };
        Ok((made.to_string(), token))
    }

    /// Turns a log-in token into a certificate.
    pub(crate) async fn login(&self, login: Login) -> Result<LoginReply, Turned> {
        check_version(login.version, "this command line")?;
        // Before the token is spent on it.
        let request = RequestDer::from(login.request);
        let key = self
            .authority
            .check(&request)
            .map_err(|error| Turned::otherwise(&error))?;
        let secret_hash = hash_of(&login.secret)?;
        let credential = self.credential(key, &login.host);
        let expires_at = credential.expires_at;
        let input = Input::Login {
            secret_hash,
            credential,
        };
        let answer = self.requests.ask(input).await.map_err(|refusal| Turned::by(&refusal))?;
        let Answer::LoggedIn { user, role } = answer else {
            return Err(Turned::Otherwise(
                "the head node answered a log-in with something else".to_owned(),
            ));
        };
        let issued = self.issue(&request, &user, role, expires_at);
        let certificate = issued.map_err(|error| Turned::otherwise(&error))?;
        tracing::info!(%user, role = role.as_str(), host = harmless_host(&login.host), "user logged in");
        Ok(LoginReply::LoggedIn {
            user,
            role,
            cluster: self.cluster.clone(),
            certificate: certificate.to_vec(),
            authority: self.authority.certificate().to_vec(),
            expires_at,
            clock: self.clock.now().wall,
        })
    }

    /// A new certificate for the key that the caller shows: `shown` is [`transport::control::Connection::peer_key`], none
    /// on the unix socket.
    ///
    /// # Errors
    /// When the caller shows no key or the request is for another one, and what the scheduler refuses.
    pub async fn renew(&self, caller: Caller, request: Vec<u8>, shown: Option<KeyHash>) -> Result<Reply, Refusal> {
        let Some(shown) = shown else {
            return Err(refused(
                "on the head node's own machine nobody has a credential that could be renewed",
                "renew it on the host where you logged in",
            ));
        };
        let request = RequestDer::from(request);
        let key = self
            .authority
            .check(&request)
            .map_err(|error| refused(format!("{error:#}"), AGAIN))?;
        if key != shown {
            return Err(refused("a credential is renewed for the key that it is of", AGAIN));
        }
        let credential = self.credential(key, &self.host_of(key));
        let expires_at = credential.expires_at;
        let answer = self.requests.ask(Input::RenewCredential { caller, credential }).await?;
        let Answer::LoggedIn { user, role } = answer else {
            return Err(refused("the head node answered a renewal with something else", AGAIN));
        };
        let issued = self.issue(&request, &user, role, expires_at);
        let certificate = issued.map_err(|error| refused(format!("{error:#}"), AGAIN))?;
        tracing::info!(%user, "credential renewed");
        Ok(Reply::Certified {
            certificate: certificate.to_vec(),
            authority: self.authority.certificate().to_vec(),
            expires_at,
        })
    }

    /// The host that a key was made on, as it said when it logged in.
    fn host_of(&self, key: KeyHash) -> String {
        let held = self
            .view
            .user_of_key(key)
            .map(|row| row.credentials)
            .unwrap_or_default();
        let credential = held.into_iter().find(|credential| credential.key == key);
        credential.map(|credential| credential.host).unwrap_or_default()
    }

    fn credential(&self, key: KeyHash, host: &str) -> Credential {
        Credential {
            key,
            issued_at: self.clock.now().wall,
            expires_at: self.authority.ends_after(self.life),
            host: harmless_host(host),
        }
    }

    fn issue(
        &self,
        request: &RequestDer<'_>,
        user: &UserName,
        role: Role,
        ends: Timestamp,
    ) -> anyhow::Result<CertificateDer<'static>> {
        let name = user.to_string();
        self.authority.issue(request, &Subject::User { name, role }, ends)
    }
}

const AGAIN: &str = "log in again with a new token: 'muster user token NAME' makes one";

fn refused(what: impl Into<String>, remedy: &str) -> Refusal {
    Refusal {
        code: RefusalCode::Invalid,
        what: what.into(),
        remedy: remedy.to_owned(),
        retry_after: None,
    }
}

/// A host's word for itself as lists and logs may show it.
fn harmless_host(text: &str) -> String {
    let mut host: String = text.chars().filter(|character| !character.is_control()).collect();
    let mut end = host.len().min(MAX_HOST_BYTES);
    while !host.is_char_boundary(end) {
        end -= 1;
    }
    host.truncate(end);
    host
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hosts_name_is_cut_and_cleaned() {
        assert_eq!(harmless_host("laptop\u{1b}[2J\n"), "laptop[2J");
        let long = harmless_host(&"é".repeat(100));
        assert_eq!(long, "é".repeat(32));
    }
}
