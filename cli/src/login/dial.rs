//! Reaching a head node over the network: with a token for the first time, with the certificate afterwards.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use proto::client::{Reply, Request};
use proto::control::{Knock, Login as LoginMessage, LoginReply};
use proto::frame::VERSION;
use proto::units::Timestamp;
use transport::control::{CloseCode, Connection, Dialer, Settings};
use transport::identity::{
    Alpn, CertificateDer, ClientTls, HEAD_SERVER_NAME, Identity, IdentityError, KeyPair, LoginToken, Trust, Validity,
    validity_of,
};

use super::remembered::{Login, Remote};
use super::{LoggedIn, LoginError};
use crate::client::line::Line;
use crate::client::{Client, ClientError};
use crate::render::now;

/// The name of key and certificate in a log-in's folder.
const NAME: &str = "user";

/// For one address of a head node. A name may have several.
const DIAL_DEADLINE: Duration = Duration::from_secs(5);

/// For the answer to a log-in, which is durable before it comes.
const LOGIN_DEADLINE: Duration = Duration::from_secs(30);

/// A renewal on the way must not hold a command up.
const RENEWAL_DEADLINE: Duration = Duration::from_secs(5);

/// Says something so often, so that a wait of hours survives address translators and the head node's idle time.
const KEEP_ALIVE: Duration = Duration::from_secs(4);

/// Connects to whichever address of the host answers first in their order.
async fn reach(remote: &Remote, tls: &ClientTls) -> Result<(Connection, Dialer), ClientError> {
    let found = tokio::net::lookup_host((remote.host.as_str(), remote.port)).await;
    let addresses: Vec<SocketAddr> = match found {
        Ok(addresses) => addresses.collect(),
        Err(source) => {
            return Err(ClientError::NoAddress {
                host: remote.host.clone(),
                source,
            });
        }
    };
    let settings = Settings::default().with_keep_alive(KEEP_ALIVE);
    let mut failed = ClientError::NoAddress {
        host: remote.host.clone(),
        source: std::io::ErrorKind::NotFound.into(),
    };
    for address in addresses {
        let refused = |source| ClientError::Dial {
            host: remote.to_string(),
            source: Box::new(source),
        };
        let dialer = Dialer::for_peer(address, settings)
            .map_err(|source| refused(transport::control::DialError::NoPort { source }))?;
        match dialer.dial(address, HEAD_SERVER_NAME, tls, DIAL_DEADLINE).await {
            Ok(connection) => return Ok((connection, dialer)),
            Err(error) => failed = refused(error),
        }
    }
    Err(failed)
}

impl Remote {
    /// Key and certificate.
    ///
    /// # Errors
    /// [`LoginError::Damaged`] when they are not there, not whole, or open to others.
    pub(crate) fn identity(&self) -> Result<Identity, LoginError> {
        Identity::load(&self.folder, NAME).map_err(|source| LoginError::Damaged {
            folder: self.folder.clone(),
            source,
        })
    }

    /// Connects with the certificate; a second value says that it wants to be renewed.
    pub(crate) async fn dial(&self) -> Result<(Line, Option<Renewal>), ClientError> {
        let wrong = |error| ClientError::Login(Box::new(error));
        let identity = self.identity().map_err(wrong)?;
        let life = validity_of(identity.certificate());
        if let Some(life) = life
            && let Ok(past) = SystemTime::now().duration_since(life.not_after)
        {
            return Err(wrong(LoginError::Ended {
                host: self.to_string(),
                ago: ago(past),
            }));
        }
        let tls = ClientTls::new(Some(&identity), &identity.trust(), Alpn::Head)
            .map_err(|error| wrong(LoginError::Identity(error)))?;
        let (connection, dialer) = reach(self, &tls).await?;
        let renewal = life.is_some_and(is_due).then(|| Renewal {
            identity,
            remote: self.clone(),
        });
        Ok((Line::of_connection(connection, dialer), renewal))
    }
}

fn ago(past: Duration) -> String {
    let hours = past.as_secs() / 3600;
    match hours {
        0 => format!("{} minutes ago", past.as_secs() / 60),
        1..48 => format!("{hours} hours ago"),
        _ => format!("{} days ago", hours / 24),
    }
}

/// Whether two thirds of a certificate's life are over.
fn is_due(life: Validity) -> bool {
    let whole = life.not_after.duration_since(life.not_before).unwrap_or_default();
    let left = life.not_after.duration_since(SystemTime::now()).unwrap_or_default();
    left < whole / 3
}

/// A certificate that is due.
#[derive(Debug)]
pub(crate) struct Renewal {
    identity: Identity,
    remote: Remote,
}

impl Renewal {
    /// Renews it on a connection that greeted. Silently: the command goes on whether or not it succeeds, and the next one
    /// tries again; when the certificate ends at last, the error says what to type.
    pub(crate) async fn carry_out(self, client: &mut Client) {
        let Ok(request) = self.identity.key().certificate_request() else {
            return;
        };
        let request = Request::RenewCredential {
            request: request.to_vec(),
        };
        let reply = tokio::time::timeout(RENEWAL_DEADLINE, client.request(request)).await;
        if let Ok(Ok(Reply::Certified {
            certificate, authority, ..
        })) = reply
        {
            let renewed = Identity::new(self.identity.key().clone(), certificate.into(), authority.into());
            // As said above.
            let _ = renewed.and_then(|identity| identity.save(&self.remote.folder, NAME));
        }
    }
}

/// Turns a token into a credential, and keeps it.
///
/// # Errors
/// When the head node cannot be reached or says no; nothing is kept then.
pub(crate) async fn log_in(remote: &Remote, token: &LoginToken, hostname: &str) -> Result<LoggedIn, ClientError> {
    let wrong = |error: LoginError| ClientError::Login(Box::new(error));
    let broken = |error: IdentityError| ClientError::Login(Box::new(LoginError::Identity(error)));
    // Before the token is spent: a folder that cannot be made is found out now.
    remote.make_folder().map_err(wrong)?;
    let key = KeyPair::generate().map_err(broken)?;
    let request = key.certificate_request().map_err(broken)?;
    let tls = ClientTls::new(None, &Trust::pinned(token.authority), Alpn::Head).map_err(broken)?;
    let (connection, dialer) = reach(remote, &tls).await?;
    let knock = Knock::Login(LoginMessage {
        version: VERSION,
        secret: token.secret.to_hex(),
        host: hostname.chars().take(64).collect(),
        request: request.to_vec(),
    });
    let reply = tokio::time::timeout(LOGIN_DEADLINE, say(&connection, &knock)).await;
    connection.close(CloseCode::Done, "");
    dialer.wait_idle(Duration::from_millis(200)).await;
    let no_reply = || {
        wrong(LoginError::NoReply {
            host: remote.to_string(),
        })
    };
    match reply.map_err(|_| no_reply())?? {
        Some(LoginReply::LoggedIn {
            user,
            role,
            cluster,
            certificate,
            authority,
            expires_at,
            clock,
        }) => {
            let identity = Identity::new(key, certificate.into(), authority.into()).map_err(broken)?;
            identity.save(&remote.folder, NAME).map_err(broken)?;
            let login = Login {
                head: remote.to_string(),
                cluster,
                user: user.to_string(),
                role,
                authority: authority_of(identity.authority()),
                logged_in_at: now(),
            };
            remote.remember(&login).map_err(wrong)?;
            Ok(LoggedIn {
                clock_ahead_ms: ahead(login.logged_in_at, clock),
                login,
                expires_at,
            })
        }
        Some(LoginReply::Refused { reason }) => Err(wrong(LoginError::Refused {
            host: remote.to_string(),
            reason,
        })),
        None => Err(no_reply()),
    }
}

async fn say(connection: &Connection, knock: &Knock) -> Result<Option<LoginReply>, ClientError> {
    let lost = |error: transport::control::StreamError| {
        ClientError::of_stream(connection.remote_address().to_string(), Some(error))
    };
    let (mut to, mut from) = connection.open_stream().await.map_err(|error| lost(error.into()))?;
    // A head node that refuses closes at once; its answer tells more than the failed write.
    let sent = to.send(knock).await;
    match from.recv().await {
        Ok(reply) => Ok(reply),
        Err(error) => Err(lost(sent.err().unwrap_or(error))),
    }
}

fn authority_of(certificate: &CertificateDer<'_>) -> String {
    transport::identity::Fingerprint::of(certificate).to_string()
}

/// How far one clock is ahead of another, in milliseconds.
pub(crate) fn ahead(ours: Timestamp, theirs: Timestamp) -> i64 {
    let (ours, theirs) = (i64::try_from(ours.0), i64::try_from(theirs.0));
    ours.unwrap_or(i64::MAX).saturating_sub(theirs.unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_certificate_is_due_after_two_thirds_of_its_life() {
        let life = |before: u64, after: u64| Validity {
            not_before: SystemTime::now() - Duration::from_secs(before),
            not_after: SystemTime::now() + Duration::from_secs(after),
        };
        assert!(!is_due(life(10, 80)));
        assert!(is_due(life(80, 10)));
        assert!(is_due(life(80, 0)), "the last moment");
    }

    #[test]
    fn spans_for_people() {
        assert_eq!(ago(Duration::from_secs(600)), "10 minutes ago");
        assert_eq!(ago(Duration::from_secs(7 * 3600)), "7 hours ago");
        assert_eq!(ago(Duration::from_secs(90 * 86_400)), "90 days ago");
        assert_eq!(ahead(Timestamp(5), Timestamp(7)), -2);
    }
}
