//! Real QUIC on loopback: who is let in, who is not, and what both sides are told.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use proto::ids::{AttemptId, NodeId};
use proto::model::owner::Role;

use super::*;
use crate::identity::{
    Alpn, Authority, CertificateFault, ClientCertificate, ClientTls, DynamicTrust, HEAD_SERVER_NAME, HandshakeProblem,
    Identity, JoinToken, KeyPair, ServerTls, Subject, Trust, Whose, allocation_server_name,
};

const DAY: Duration = Duration::from_secs(24 * 3600);
const DEADLINE: Duration = Duration::from_secs(10);
const NODE: Subject = Subject::Node(NodeId(7));
const LOOPBACK: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 0);

fn authority() -> Authority {
    // Always the same name: what tells authorities apart is their key.
    Authority::create("cluster", SystemTime::now(), DAY).expect("an authority")
}

fn identity_at(authority: &Authority, subject: &Subject, now: SystemTime) -> Identity {
    let key = KeyPair::generate().expect("a key");
    let request = key.certificate_request().expect("a request");
    let certificate = authority.issue(&request, subject, now, DAY).expect("issues");
    Identity::new(key, certificate, authority.certificate().clone()).expect("belongs together")
}

fn identity(authority: &Authority, subject: &Subject) -> Identity {
    identity_at(authority, subject, SystemTime::now())
}

fn expired(authority: &Authority, subject: &Subject) -> Identity {
    identity_at(authority, subject, SystemTime::now() - 2 * DAY)
}

fn head(identity: &Identity, clients: ClientCertificate) -> Listener {
    let tls = ServerTls::new(identity, clients, Alpn::Head).expect("server settings");
    Listener::bind(LOOPBACK, &tls, Settings::default()).expect("listens")
}

fn client(identity: &Identity) -> ClientTls {
    ClientTls::new(Some(identity), &identity.trust(), Alpn::Head).expect("client settings")
}

/// What both sides see of one attempt to connect. The dialling side's view includes the first receive, for only then has
/// the other side looked at its certificate.
struct Seen {
    dialled: Result<Connection, String>,
    accepted: Result<Connection, AcceptError>,
}

impl Seen {
    fn both(self) -> (Connection, Connection) {
        (self.dialled.expect("dials"), self.accepted.expect("accepts"))
    }

    /// The texts of both refusals.
    fn refusals(self) -> (String, String) {
        let dialled = self.dialled.expect_err("is refused");
        (dialled, self.accepted.expect_err("refuses").to_string())
    }
}

async fn connect(listener: &Listener, tls: &ClientTls, server_name: &str) -> Seen {
    let address = listener.local_address().expect("an address");
    let accept = async {
        let accepted = listener.accept().await.expect("is open").complete(DEADLINE).await;
        if let Ok(connection) = &accepted {
            let (mut writer, _reader) = connection.open_stream().await.expect("opens");
            writer.send(&"welcome").await.expect("sends");
            // Finished by being dropped.
        }
        accepted
    };
    let dial = async {
        let dialled = dial(address, server_name, tls, Settings::default(), DEADLINE).await;
        let connection = dialled.map_err(|error| error.to_string())?;
        let (_writer, mut reader) = connection.accept_stream().await.map_err(|error| error.to_string())?;
        let greeting = reader.recv::<String>().await.map_err(|error| error.to_string())?;
        assert_eq!(greeting.as_deref(), Some("welcome"));
        Ok(connection)
    };
    let both = async { tokio::join!(dial, accept) };
    let (dialled, accepted) = tokio::time::timeout(2 * DEADLINE, both).await.expect("in time");
    Seen { dialled, accepted }
}

#[tokio::test]
async fn both_sides_learn_who_the_other_is() {
    let authority = authority();
    let listener = head(&identity(&authority, &Subject::Head), ClientCertificate::Required);
    let seen = connect(&listener, &client(&identity(&authority, &NODE)), HEAD_SERVER_NAME).await;
    let (dialled, accepted) = seen.both();
    assert_eq!(dialled.subject(), Some(&Subject::Head));
    assert_eq!(accepted.subject(), Some(&NODE));
    assert!(accepted.peer_validity().expect("has a certificate").not_after > SystemTime::now());
    assert!(accepted.remote_address().ip().is_loopback());
}

#[tokio::test]
async fn a_client_of_another_cluster_is_refused_and_both_say_why() {
    let (ours, theirs) = (authority(), authority());
    let listener = head(&identity(&ours, &Subject::Head), ClientCertificate::Required);
    let foreign = identity(&theirs, &NODE);
    // It trusts this head, but its certificate is of another authority.
    let trust = Trust::Authority(ours.certificate().clone());
    let tls = ClientTls::new(Some(&foreign), &trust, Alpn::Head).expect("client settings");
    let (dialled, accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
    assert!(
        dialled.contains("refused our certificate, for another CA than its own made it"),
        "{dialled}"
    );
    assert!(dialled.contains("token"), "names the remedy: {dialled}");
    let expected = format!(
        "was not made by this cluster's CA (fingerprint {})",
        ours.fingerprint().short()
    );
    assert!(accepted.contains(&expected), "{accepted}");
    assert!(accepted.contains("127.0.0.1:"), "names the peer: {accepted}");
}

#[tokio::test]
async fn a_head_of_another_cluster_is_refused_and_both_say_why() {
    let (ours, theirs) = (authority(), authority());
    let listener = head(&identity(&theirs, &Subject::Head), ClientCertificate::Required);
    let (dialled, accepted) = connect(&listener, &client(&identity(&ours, &NODE)), HEAD_SERVER_NAME)
        .await
        .refusals();
    let address = listener.local_address().expect("an address");
    let expected = format!(
        "the certificate of {address} was not made by this cluster's CA (fingerprint {})",
        ours.fingerprint().short()
    );
    assert!(dialled.starts_with(&expected), "{dialled}");
    assert!(
        accepted.contains("refused our certificate, for another CA than its own made it"),
        "{accepted}"
    );
}

#[tokio::test]
async fn an_expired_certificate_is_refused_and_both_say_so() {
    let authority = authority();
    let listener = head(&identity(&authority, &Subject::Head), ClientCertificate::Required);
    let (dialled, accepted) = connect(&listener, &client(&expired(&authority, &NODE)), HEAD_SERVER_NAME)
        .await
        .refusals();
    assert!(
        dialled.contains("refused our certificate as expired or not good yet"),
        "{dialled}"
    );
    assert!(accepted.contains("has expired or is not good yet"), "{accepted}");

    let listener = head(&expired(&authority, &Subject::Head), ClientCertificate::Required);
    let (dialled, accepted) = connect(&listener, &client(&identity(&authority, &NODE)), HEAD_SERVER_NAME)
        .await
        .refusals();
    assert!(dialled.contains("has expired or is not good yet"), "{dialled}");
    assert!(
        accepted.contains("refused our certificate as expired or not good yet"),
        "{accepted}"
    );
}

#[tokio::test]
async fn an_expired_node_may_come_to_renew_and_nobody_else_that_expired() {
    let (ours, theirs) = (authority(), authority());
    let listener = head(&identity(&ours, &Subject::Head), ClientCertificate::Renewable);
    let late = expired(&ours, &NODE);
    let (_dialled, accepted) = connect(&listener, &client(&late), HEAD_SERVER_NAME).await.both();
    assert!(accepted.peer_expired());
    assert_eq!(accepted.subject(), Some(&NODE));
    assert_eq!(accepted.peer_key(), Some(late.key().hash()));
    let good = identity(&ours, &NODE);
    let (_dialled, accepted) = connect(&listener, &client(&good), HEAD_SERVER_NAME).await.both();
    assert!(!accepted.peer_expired());

    let user = Subject::User {
        name: "alice".into(),
        role: Role::User,
    };
    let early = identity_at(&ours, &NODE, SystemTime::now() + DAY / 2);
    let foreign = expired(&theirs, &NODE);
    let foreign_tls = ClientTls::new(Some(&foreign), &good.trust(), Alpn::Head).expect("client settings");
    let cases = [
        (
            "expired user",
            client(&expired(&ours, &user)),
            "expired or not good yet",
        ),
        ("not good yet", client(&early), "expired or not good yet"),
        ("another authority", foreign_tls, "another CA"),
    ];
    for (case, tls, expected) in cases {
        let (dialled, _accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
        assert!(dialled.contains(expected), "{case}: {dialled}");
    }
}

#[tokio::test]
async fn a_server_shows_a_new_certificate_without_ending_connections() {
    let authority = authority();
    let old = identity(&authority, &Subject::Head);
    let tls = ServerTls::new(&old, ClientCertificate::Optional, Alpn::Head).expect("server settings");
    let listener = Listener::bind(LOOPBACK, &tls, Settings::default()).expect("listens");
    let (before, _kept) = connect(&listener, &client(&old), HEAD_SERVER_NAME).await.both();
    assert_eq!(before.peer_key(), Some(old.key().hash()));
    let new = identity(&authority, &Subject::Head);
    tls.show(&new).expect("shows");
    let (after, _kept_too) = connect(&listener, &client(&old), HEAD_SERVER_NAME).await.both();
    assert_eq!(after.peer_key(), Some(new.key().hash()));
    assert_eq!(before.close_reason(), None);
}

#[tokio::test]
async fn a_client_without_a_certificate_comes_in_only_where_it_may() {
    let authority = authority();
    let own = identity(&authority, &Subject::Head);
    let tls = ClientTls::new(None, &own.trust(), Alpn::Head).expect("client settings");
    let listener = head(&own, ClientCertificate::Optional);
    let (_dialled, accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.both();
    assert_eq!(accepted.subject(), None);

    let listener = head(&own, ClientCertificate::Required);
    let (dialled, accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
    assert!(
        dialled.contains("wants a certificate and we have none: join with a token"),
        "{dialled}"
    );
    assert!(accepted.contains("showed no certificate"), "{accepted}");
}

#[tokio::test]
async fn a_foreign_certificate_is_no_way_in_where_none_is_needed() {
    let (ours, theirs) = (authority(), authority());
    let listener = head(&identity(&ours, &Subject::Head), ClientCertificate::Optional);
    let trust = Trust::Authority(ours.certificate().clone());
    let tls = ClientTls::new(Some(&identity(&theirs, &NODE)), &trust, Alpn::Head).expect("client settings");
    let (_, accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
    assert!(accepted.contains("was not made by this cluster's CA"), "{accepted}");
}

#[tokio::test]
async fn a_join_token_finds_its_own_head_and_no_other() {
    let (ours, theirs) = (authority(), authority());
    let token = JoinToken::generate(ours.fingerprint()).expect("a token");
    let tls = ClientTls::new(None, &Trust::pinned(token.authority), Alpn::Head).expect("client settings");

    let listener = head(&identity(&ours, &Subject::Head), ClientCertificate::Optional);
    let (dialled, accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.both();
    assert_eq!(dialled.subject(), Some(&Subject::Head));
    assert_eq!(accepted.subject(), None);

    let listener = head(&identity(&theirs, &Subject::Head), ClientCertificate::Optional);
    let (dialled, accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
    assert!(dialled.contains("is not the one of the token"), "{dialled}");
    assert!(dialled.contains(&ours.fingerprint().short()), "{dialled}");
    assert!(accepted.contains("came with a token of another cluster"), "{accepted}");
    assert!(accepted.contains(&theirs.fingerprint().short()), "{accepted}");
}

#[tokio::test]
async fn a_pinned_authority_still_has_to_have_made_the_certificate() {
    let (ours, theirs) = (authority(), authority());
    // An impostor that sends our authority's certificate along with its own.
    let real = identity(&theirs, &Subject::Head);
    let impostor = Identity::new(
        real.key().clone(),
        real.certificate().clone(),
        ours.certificate().clone(),
    );
    let listener = head(&impostor.expect("nothing checks it here"), ClientCertificate::Optional);
    let tls = ClientTls::new(None, &Trust::pinned(ours.fingerprint()), Alpn::Head).expect("client settings");
    let (dialled, _) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
    assert!(dialled.contains("was not made by this cluster's CA"), "{dialled}");
}

#[tokio::test]
async fn nobody_but_the_head_can_serve_as_the_head() {
    let authority = authority();
    let user = Subject::User {
        name: "alice".into(),
        role: Role::Administrator,
    };
    for subject in [NODE, user, Subject::Allocation(AttemptId(1))] {
        let listener = head(&identity(&authority, &subject), ClientCertificate::Required);
        let tls = client(&identity(&authority, &NODE));
        let (dialled, _) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
        let known = ["is not for what we dialled", "was made for another purpose"];
        assert!(known.iter().any(|text| dialled.contains(text)), "{subject}: {dialled}");
    }
}

#[tokio::test]
async fn another_protocol_is_told_from_another_cluster() {
    let authority = authority();
    let listener = head(&identity(&authority, &Subject::Head), ClientCertificate::Required);
    let own = identity(&authority, &NODE);
    let tls = ClientTls::new(Some(&own), &own.trust(), Alpn::Launch).expect("client settings");
    let (dialled, accepted) = connect(&listener, &tls, HEAD_SERVER_NAME).await.refusals();
    assert!(dialled.contains("does not speak our protocol"), "{dialled}");
    assert!(accepted.contains("does not speak our protocol"), "{accepted}");
}

#[tokio::test]
async fn an_agent_serves_the_allocations_of_the_moment() {
    let (first, second) = (AttemptId(1), AttemptId(2));
    let (ours, theirs) = (authority(), authority());
    let trust = DynamicTrust::new();
    let tls = ServerTls::launch(&trust).expect("server settings");
    let listener = Listener::bind(LOOPBACK, &tls, Settings::default()).expect("listens");
    let program = identity(&ours, &Subject::Allocation(first));
    let launch = |own: &Identity, trust: &Trust| ClientTls::new(Some(own), trust, Alpn::Launch).expect("settings");
    let (tls, name) = (launch(&program, &program.trust()), allocation_server_name(first));

    let not_served = "does not serve the name that we dialled";
    let (dialled, accepted) = connect(&listener, &tls, &name).await.refusals();
    assert!(dialled.contains(not_served), "before: {dialled}");
    assert!(
        accepted.contains("dialled a name that we do not serve"),
        "before: {accepted}"
    );

    trust
        .add(first, &identity(&ours, &Subject::Allocation(first)))
        .expect("adds");
    trust
        .add(second, &identity(&theirs, &Subject::Allocation(second)))
        .expect("adds");
    let (_dialled, accepted) = connect(&listener, &tls, &name).await.both();
    assert_eq!(accepted.subject(), Some(&Subject::Allocation(first)));

    assert!(trust.remove(first));
    let (dialled, _) = connect(&listener, &tls, &name).await.refusals();
    assert!(dialled.contains(not_served), "after: {dialled}");
    assert!(trust.contains(second));
}

#[tokio::test]
async fn nodes_that_made_their_allocations_authority_apart_believe_each_other() {
    let attempt = AttemptId(42);
    let (seed, subject) = ([7; 32], Subject::Allocation(attempt));
    let own = |at| {
        let authority = Authority::of_allocation(&seed, attempt, at).expect("an authority");
        (authority.fingerprint(), identity(&authority, &subject))
    };
    let (first_fingerprint, server) = own(SystemTime::now() - Duration::from_secs(3600));
    let (second_fingerprint, program) = own(SystemTime::now());
    assert_ne!(first_fingerprint, second_fingerprint, "only key and name are the same");
    let trust = DynamicTrust::new();
    trust.add(attempt, &server).expect("adds");
    let tls = ServerTls::launch(&trust).expect("server settings");
    let listener = Listener::bind(LOOPBACK, &tls, Settings::default()).expect("listens");
    let tls = ClientTls::new(Some(&program), &program.trust(), Alpn::Launch).expect("settings");
    let (dialled, accepted) = connect(&listener, &tls, &allocation_server_name(attempt)).await.both();
    assert_eq!(
        (dialled.subject(), accepted.subject()),
        (Some(&subject), Some(&subject))
    );
}

#[tokio::test]
async fn no_program_passes_for_one_of_another_allocation() {
    let (first, second) = (AttemptId(1), AttemptId(2));
    let (ours, theirs) = (authority(), authority());
    let trust = DynamicTrust::new();
    trust
        .add(first, &identity(&ours, &Subject::Allocation(first)))
        .expect("adds");
    trust
        .add(second, &identity(&theirs, &Subject::Allocation(second)))
        .expect("adds");
    let tls = ServerTls::launch(&trust).expect("server settings");
    let listener = Listener::bind(LOOPBACK, &tls, Settings::default()).expect("listens");
    let server = Trust::Authority(theirs.certificate().clone());
    // Holders of the first allocation's authority can make any certificate with it.
    for claim in [Subject::Allocation(second), NODE, Subject::Head] {
        let forged = identity(&ours, &claim);
        let tls = ClientTls::new(Some(&forged), &server, Alpn::Launch).expect("settings");
        let (dialled, _) = connect(&listener, &tls, &allocation_server_name(second))
            .await
            .refusals();
        assert!(
            dialled.contains("refused our certificate, for another CA"),
            "{claim}: {dialled}"
        );
    }
}

#[tokio::test]
async fn a_large_message_and_the_reason_of_a_close_arrive() {
    let authority = authority();
    let listener = head(&identity(&authority, &Subject::Head), ClientCertificate::Required);
    let seen = connect(&listener, &client(&identity(&authority, &NODE)), HEAD_SERVER_NAME).await;
    let (near, far) = seen.both();
    let large = "x".repeat(12_000_000);
    let send = async {
        let (mut writer, _reader) = near.open_stream().await.expect("opens");
        writer.send(&large).await.expect("sends");
        writer.finish_and_wait(DEADLINE).await.expect("is taken");
        near.close(CloseCode::Refused, "no such pool: make it first");
    };
    let receive = async {
        let (_writer, mut reader) = far.accept_stream().await.expect("accepts");
        let received = reader.recv::<String>().await.expect("receives").expect("a message");
        assert!(reader.recv::<String>().await.expect("ends well").is_none());
        (received.len(), far.closed().await)
    };
    let both = async { tokio::join!(send, receive) };
    let ((), (length, failure)) = tokio::time::timeout(2 * DEADLINE, both).await.expect("in time");
    assert_eq!(length, large.len());
    let code = u64::from(CloseCode::Refused.number());
    assert_eq!(
        failure.problem,
        HandshakeProblem::Closed {
            code,
            reason: "no such pool: make it first".into()
        }
    );
    assert!(
        failure
            .to_string()
            .ends_with("ended the connection: no such pool: make it first"),
        "{failure}"
    );
    assert_eq!(far.close_reason(), Some(failure));
}

#[tokio::test]
async fn a_listener_takes_no_more_than_it_may() {
    let authority = authority();
    let tls = ServerTls::new(
        &identity(&authority, &Subject::Head),
        ClientCertificate::Required,
        Alpn::Head,
    );
    let settings = Settings {
        max_connections: 1,
        ..Settings::default()
    };
    let listener = Listener::bind(LOOPBACK, &tls.expect("server settings"), settings).expect("listens");
    let tls = client(&identity(&authority, &NODE));
    let (_first, _held) = connect(&listener, &tls, HEAD_SERVER_NAME).await.both();
    let address = listener.local_address().expect("an address");
    let second = dial(address, HEAD_SERVER_NAME, &tls, Settings::default(), DEADLINE);
    let error = tokio::select! {
        outcome = second => outcome.expect_err("is one too many"),
        _ = listener.accept() => panic!("took one too many"),
    };
    assert_eq!(error.problem(), Some(&HandshakeProblem::Refused));
    assert!(error.is_passing());
}

#[tokio::test]
async fn silence_is_no_answer_and_passes() {
    let silent = std::net::UdpSocket::bind(LOOPBACK).expect("binds");
    let address = silent.local_addr().expect("an address");
    let tls = client(&identity(&authority(), &NODE));
    let waited = Duration::from_millis(50);
    let error = dial(address, HEAD_SERVER_NAME, &tls, Settings::default(), waited)
        .await
        .expect_err("nobody there");
    assert!(error.is_passing());
    assert!(
        error
            .to_string()
            .starts_with(&format!("no answer from {address} within 50ms")),
        "{error}"
    );
}

#[tokio::test]
async fn a_peer_that_fell_silent_is_lost_after_the_idle_time() {
    let authority = authority();
    let tls = ServerTls::new(
        &identity(&authority, &Subject::Head),
        ClientCertificate::Required,
        Alpn::Head,
    );
    let settings = Settings::default().with_idle_timeout(Duration::from_millis(100));
    let listener = Listener::bind(LOOPBACK, &tls.expect("server settings"), settings).expect("listens");
    let seen = connect(&listener, &client(&identity(&authority, &NODE)), HEAD_SERVER_NAME).await;
    let (_near, far) = seen.both();
    let failure = tokio::time::timeout(DEADLINE, far.closed()).await.expect("in time");
    assert_eq!(failure.problem, HandshakeProblem::TimedOut);
}

#[test]
fn faults_of_a_certificate_do_not_pass_by_themselves() {
    let fault = HandshakeProblem::Certificate {
        whose: Whose::Theirs,
        fault: CertificateFault::Foreign,
    };
    assert!(!fault.is_passing());
    assert!(HandshakeProblem::TimedOut.is_passing());
}

#[tokio::test]
async fn peers_of_a_killed_server_notice_with_their_next_packet() {
    let authority = authority();
    let tls = ServerTls::new(
        &identity(&authority, &Subject::Head),
        ClientCertificate::Required,
        Alpn::Head,
    )
    .expect("server settings");
    let restart = |address, tls: &ServerTls| {
        Listener::bind_restarting(address, tls, Settings::default(), &[7; 32]).expect("listens")
    };
    // A runtime that is dropped takes its sockets along without a word to anybody, as kill -9 does.
    let (listens, address) = tokio::sync::oneshot::channel();
    let (kill, killed) = tokio::sync::oneshot::channel::<()>();
    let first_tls = tls.clone();
    let first = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        let served = runtime.block_on(async {
            let listener = restart(LOOPBACK, &first_tls);
            listens
                .send(listener.local_address().expect("an address"))
                .expect("is awaited");
            let accepted = listener
                .accept()
                .await
                .expect("is open")
                .complete(DEADLINE)
                .await
                .expect("accepts");
            killed.await.expect("is told");
            (listener, accepted)
        });
        drop(runtime);
        drop(served);
    });
    let address = address.await.expect("listens");
    let own = client(&identity(&authority, &NODE));
    let dialled = dial(address, HEAD_SERVER_NAME, &own, Settings::default(), DEADLINE)
        .await
        .expect("dials");
    kill.send(()).expect("is awaited");
    first.join().expect("ends");

    let _second = restart(address, &tls);
    let (mut writer, _reader) = dialled.open_stream().await.expect("opens");
    writer.send(&"a heartbeat").await.expect("sends");
    let ended = tokio::time::timeout(DEADLINE, dialled.closed())
        .await
        .expect("long before the idle time");
    assert_eq!(ended.problem, HandshakeProblem::Restarted, "{ended}");
}
