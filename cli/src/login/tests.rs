//! Logging in, asking and renewing against a head node of a few lines, over QUIC on loopback.

use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use proto::client::{Greeted, Greeting, JobFilter, Refusal, RefusalCode, Reply, Request};
use proto::control::{Knock, LoginReply};
use proto::frame::VERSION;
use proto::ids::{Sequence, UserName};
use proto::model::owner::Role;
use proto::units::Timestamp;
use transport::control::{Connection, Listener, Settings};
use transport::identity::{
    Alpn, Authority, ClientCertificate, Identity, KeyPair, LoginToken, RequestDer, ServerTls, Subject, validity_of,
};

use super::*;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::place::{Surroundings, Target};
use crate::render::now;

const DAY: Duration = Duration::from_secs(86_400);
const DEADLINE: Duration = Duration::from_secs(10);

struct Head {
    authority: Authority,
    listener: Listener,
    /// The certificates that it gives began so long ago, and live for 90 days.
    age: Duration,
}

impl Head {
    fn new(age: Duration) -> Self {
        let authority = Authority::create("c", SystemTime::now() - 100 * DAY, 1000 * DAY).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let certificate = authority
            .issue(&request, &Subject::Head, SystemTime::now(), DAY)
            .expect("issues");
        let own = Identity::new(key, certificate, authority.certificate().clone()).expect("belongs together");
        let tls = ServerTls::new(&own, ClientCertificate::Optional, Alpn::Head).expect("settings");
        let at = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self {
            listener: Listener::bind(at, &tls, Settings::default()).expect("listens"),
            authority,
            age,
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_address().expect("an address").port()
    }

    fn token(&self) -> LoginToken {
        LoginToken::generate(self.authority.fingerprint()).expect("a token")
    }

    fn certificate(&self, request: Vec<u8>, age: Duration) -> Vec<u8> {
        let user = Subject::User {
            name: "alice".to_owned(),
            role: Role::User,
        };
        let issued = self
            .authority
            .issue(&RequestDer::from(request), &user, SystemTime::now() - age, 90 * DAY);
        issued.expect("issues").to_vec()
    }

    async fn accept(&self) -> Connection {
        let pending = self.listener.accept().await.expect("is open");
        pending.complete(DEADLINE).await.expect("shakes hands")
    }

    /// One log-in, refused when a reason is given.
    async fn let_in(&self, refuse: Option<&str>) {
        let connection = self.accept().await;
        assert!(connection.subject().is_none(), "has nothing to show yet");
        let (mut to, mut from) = connection.accept_stream().await.expect("knocks");
        let Some(Knock::Login(login)) = from.recv().await.expect("reads") else {
            panic!("a log-in");
        };
        let reply = match refuse {
            Some(reason) => LoginReply::Refused {
                reason: reason.to_owned(),
            },
            None => LoginReply::LoggedIn {
                user: UserName::new("alice").expect("a name"),
                role: Role::User,
                cluster: "c".to_owned(),
                certificate: self.certificate(login.request, self.age),
                authority: self.authority.certificate().to_vec(),
                expires_at: Timestamp(5),
                clock: now(),
            },
        };
        to.send(&reply).await.expect("answers");
        connection.closed().await;
    }

    /// Serves one client until it leaves: a stream for each request.
    async fn serve(&self) -> Vec<Request> {
        let connection = self.accept().await;
        assert!(matches!(connection.subject(), Some(Subject::User { name, .. }) if name == "alice"));
        let mut seen = Vec::new();
        let mut greeted = false;
        while let Ok((mut to, mut from)) = connection.accept_stream().await {
            if !greeted {
                let greeting: Greeting = from.recv().await.expect("reads").expect("greets");
                assert_eq!(greeting.version, VERSION);
                let welcome = Greeted::Welcome {
                    version: VERSION,
                    cluster: "c".to_owned(),
                    user: "alice".to_owned(),
                    role: Role::User,
                };
                to.send(&welcome).await.expect("welcomes");
                greeted = true;
                continue;
            }
            let Ok(Some(request)) = from.recv::<Request>().await else {
                continue;
            };
            for reply in self.replies(&request) {
                to.send(&reply).await.expect("answers");
            }
            seen.push(request);
        }
        seen
    }

    fn replies(&self, request: &Request) -> Vec<Reply> {
        let done = Reply::Done {
            sequence: Sequence(1),
            notes: vec!["done".to_owned()],
        };
        match request {
            Request::RenewCredential { request } => vec![Reply::Certified {
                certificate: self.certificate(request.clone(), Duration::ZERO),
                authority: self.authority.certificate().to_vec(),
                expires_at: Timestamp(6),
            }],
            Request::Events { .. } => vec![
                Reply::Events {
                    events: Vec::new(),
                    missed: false,
                },
                done,
            ],
            Request::ListUsers => vec![Reply::Refused(Refusal {
                code: RefusalCode::Forbidden,
                what: "no".to_owned(),
                remedy: String::new(),
                retry_after: None,
            })],
            _ => vec![done],
        }
    }
}

fn logins() -> (tempfile::TempDir, Logins) {
    let folder = tempfile::tempdir().expect("a folder");
    let around = Surroundings {
        xdg_config: Some(folder.path().to_owned()),
        ..Surroundings::default()
    };
    (folder, Logins::of(&around))
}

async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(3 * DEADLINE, work).await.expect("in time")
}

#[tokio::test]
async fn a_token_becomes_a_credential_that_requests_are_made_with() {
    let (_folder, logins) = logins();
    let head = Head::new(Duration::ZERO);
    let remote = logins.place("127.0.0.1", head.port()).expect("a place");
    let (logged_in, ()) = in_time(async {
        let token = head.token();
        tokio::join!(log_in(&remote, &token, "desk"), head.let_in(None))
    })
    .await;
    let logged_in = logged_in.expect("logs in");
    assert_eq!(
        (logged_in.login.user.as_str(), logged_in.expires_at),
        ("alice", Timestamp(5))
    );
    assert!(logged_in.clock_ahead_ms.abs() < 5000);
    let key = std::fs::metadata(remote.folder.join("user.key"))
        .expect("a key")
        .permissions()
        .mode();
    assert_eq!(key & 0o777, 0o600);
    assert_eq!(logins.newest(), Some(remote.clone()));

    let ask = async {
        let mut client = Client::connect(Target::Remote(remote.clone())).await.expect("connects");
        assert_eq!(client.welcome().user, "alice");
        assert!(matches!(client.request(Request::Status).await, Ok(Reply::Done { .. })));
        let refused = client.request(Request::ListUsers).await;
        assert!(matches!(refused, Err(ClientError::Refused(_))), "{refused:?}");
        let events = Request::Events {
            after: None,
            follow: true,
        };
        client.open(&events).await.expect("opens");
        assert!(matches!(client.next().await, Ok(Reply::Events { .. })));
        // The rest of the stream is left behind.
        let filter = JobFilter::default();
        assert!(matches!(
            client.request(Request::ListJobs { filter }).await,
            Ok(Reply::Done { .. })
        ));
    };
    let ((), seen) = in_time(async { tokio::join!(ask, head.serve()) }).await;
    assert_eq!(seen.len(), 4, "nothing was renewed: {seen:?}");
}

#[tokio::test]
async fn a_credential_of_two_thirds_of_its_life_is_renewed_on_the_way() {
    let (_folder, logins) = logins();
    let head = Head::new(70 * DAY);
    let remote = logins.place("localhost", head.port()).expect("a place");
    let token = head.token();
    let (logged_in, ()) = in_time(async { tokio::join!(log_in(&remote, &token, ""), head.let_in(None)) }).await;
    logged_in.expect("logs in");
    let left = || {
        let identity = remote.identity().expect("a credential");
        let life = validity_of(identity.certificate()).expect("a life");
        life.not_after.duration_since(SystemTime::now()).expect("is good")
    };
    assert!(left() < 30 * DAY);
    let connect = async {
        let client = Client::connect(Target::Remote(remote.clone())).await.expect("connects");
        drop(client);
    };
    let ((), seen) = in_time(async { tokio::join!(connect, head.serve()) }).await;
    assert!(matches!(seen.as_slice(), [Request::RenewCredential { .. }]), "{seen:?}");
    assert!(left() > 80 * DAY);
}

#[tokio::test]
async fn a_refusal_keeps_nothing_and_a_wrong_head_learns_no_secret() {
    let (_folder, logins) = logins();
    let head = Head::new(Duration::ZERO);
    let remote = logins.place("127.0.0.1", head.port()).expect("a place");
    let token = head.token();
    let (logged_in, ()) =
        in_time(async { tokio::join!(log_in(&remote, &token, ""), head.let_in(Some("it was used"))) }).await;
    let error = CliError::from(logged_in.expect_err("is refused"));
    assert_eq!(error.exit(), Exit::Forbidden);
    assert!(error.chain().contains("it was used"), "{}", error.chain());
    assert!(logins.newest().is_none() && remote.identity().is_err());

    let other = LoginToken::generate(transport::identity::Fingerprint::of(b"another authority")).expect("a token");
    let accept = async {
        let pending = head.listener.accept().await.expect("is open");
        assert!(pending.complete(DEADLINE).await.is_err(), "the handshake fails");
    };
    let (logged_in, ()) = in_time(async { tokio::join!(log_in(&remote, &other, ""), accept) }).await;
    let error = logged_in.expect_err("is not the head node of the token");
    assert!(matches!(error, ClientError::Dial { .. }), "{error:?}");
}

#[tokio::test]
async fn a_credential_that_has_ended_says_what_to_type() {
    let (_folder, logins) = logins();
    let head = Head::new(95 * DAY);
    let remote = logins.place("127.0.0.1", head.port()).expect("a place");
    let token = head.token();
    let (logged_in, ()) = in_time(async { tokio::join!(log_in(&remote, &token, ""), head.let_in(None)) }).await;
    logged_in.expect("logs in");
    let error = in_time(Client::connect(Target::Remote(remote)))
        .await
        .expect_err("has ended");
    let error = CliError::from(error);
    let text = error.chain();
    assert!(
        text.contains("ended") && text.contains("muster user token") && text.contains("muster login 127.0.0.1:"),
        "{text}"
    );
    assert_eq!(error.exit(), Exit::Forbidden);
}
