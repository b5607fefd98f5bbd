//! Certificates over their whole life: joining, renewal in time and after the end, log-in, and taking back at once.

use std::time::Duration;

use headnode::strangers::MAX_STRANGERS_OF_ONE;
use proto::client::{RefusalCode, Reply, Request};
use proto::control::{HeadMessage, JoinReply, LoginReply, NodeMessage};
use proto::frame::{VERSION, Version};
use proto::ids::{NodeName, PoolName, UserName};
use proto::model::owner::Role;
use proto::units::Millis;
use transport::control::{CloseCode, Dialer, Settings};
use transport::identity::{JoinToken, LoginToken};

use crate::head::{DEADLINE, Head, Line};
use crate::peer::{Member, Peer, ask, end_of, hello};

const HOUR: Millis = Millis::from_seconds(3600);

fn alice() -> UserName {
    UserName::new("alice").expect("a name")
}

async fn join_token(line: &mut Line) -> String {
    token_of(line.ask(&make_join_token()).await)
}

fn make_join_token() -> Request {
    Request::MakeToken {
        pool: PoolName::new("default").expect("a name"),
        groups: Vec::new(),
        uses: 10,
        lifetime: HOUR,
    }
}

fn token_of(reply: Reply) -> String {
    match reply {
        Reply::Token { token, .. } => token,
        other => panic!("{other:?}"),
    }
}

async fn done(line: &mut Line, request: &Request) {
    let reply = line.ask(request).await;
    assert!(matches!(reply, Reply::Done { .. }), "{request:?}: {reply:?}");
}

async fn set_role(line: &mut Line, role: Role) {
    let request = Request::AddUser {
        user: alice(),
        role,
        ids: Some((4242, 4242)),
    };
    done(line, &request).await;
}

async fn login_token(line: &mut Line) -> String {
    let request = Request::MakeLogin {
        user: alice(),
        lifetime: HOUR,
    };
    token_of(line.ask(&request).await)
}

/// Alice, logged in on another host.
async fn user(head: &Head, line: &mut Line) -> (Peer, Member) {
    set_role(line, Role::User).await;
    let token = login_token(line).await;
    let peer = Peer::of(head);
    let member = peer.logged_in(&token).await;
    (peer, member)
}

#[tokio::test]
async fn a_node_joins_says_hello_and_renews_in_time() {
    let head = Head::start().await;
    let token = join_token(&mut head.client().await).await;
    let peer = Peer::of(&head);
    let reply = peer.join(&token, "n1").await;
    let JoinReply::Joined {
        certificate,
        authority,
        clock,
        cluster,
        ..
    } = reply
    else {
        panic!("{reply:?}")
    };
    assert_eq!(cluster, "muster");
    assert!(clock.0 > 0);
    let node = peer.certified(&certificate, &authority);
    let mut control = node.say(&hello("n1")).await;
    let welcome = control.hear().await;
    assert!(matches!(welcome, HeadMessage::Welcome { .. }), "{welcome:?}");
    control.to.send(&node.renewal()).await.expect("sends");
    let renewed = control
        .hear_until(|message| !matches!(message, HeadMessage::Orders { .. }))
        .await;
    let renewed = node.renewed(&renewed);
    assert!(renewed.ends() >= node.ends());
    assert_eq!(control.connection.close_reason(), None, "the connection stays");
    let mut control = renewed.say(&hello("n1")).await;
    assert!(matches!(control.hear().await, HeadMessage::Welcome { .. }));
}

#[tokio::test]
async fn a_node_that_was_away_for_too_long_may_renew_and_nothing_else() {
    let head = Head::start_with("node_certificate_life = '5s'").await;
    let token = join_token(&mut head.client().await).await;
    let peer = Peer::of(&head);
    let node = peer.joined(&token, "n1").await;
    node.expire().await;
    let refused = node.say(&hello("n1")).await.hear().await;
    assert!(
        matches!(&refused, HeadMessage::Refused { reason } if reason.contains("has expired")),
        "{refused:?}"
    );
    let renewed = node.say(&node.renewal()).await.hear().await;
    let renewed = node.renewed(&renewed);
    let mut control = renewed.say(&hello("n1")).await;
    let welcome = control.hear().await;
    assert!(matches!(welcome, HeadMessage::Welcome { .. }), "{welcome:?}");
    // Not for another key, however good the certificate is that asks.
    let other = Peer::of(&head).joined(&token, "n2").await;
    let refused = node.say(&other.renewal()).await.hear().await;
    assert!(matches!(refused, HeadMessage::Refused { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_removed_node_is_told_at_once_and_kept_out() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let token = join_token(&mut line).await;
    let node = Peer::of(&head).joined(&token, "n1").await;
    let mut control = node.say(&hello("n1")).await;
    assert!(matches!(control.hear().await, HeadMessage::Welcome { .. }));
    let remove = Request::RemoveNodes {
        nodes: vec![NodeName::new("n1").expect("a name")],
        force: true,
    };
    done(&mut line, &remove).await;
    let is_removed = |message: &HeadMessage| matches!(message, HeadMessage::Removed { .. });
    control.hear_until(is_removed).await;
    end_of(&control.connection).await;
    for message in [hello("n1"), node.renewal()] {
        let removed = node.say(&message).await.hear().await;
        assert!(is_removed(&removed), "{removed:?}");
    }
    // The name is free for another host, which the first one cannot push out.
    let other = Peer::of(&head).joined(&token, "n1").await;
    let mut control = other.say(&hello("n1")).await;
    assert!(matches!(control.hear().await, HeadMessage::Welcome { .. }));
    let removed = node.say(&hello("n1")).await.hear().await;
    assert!(is_removed(&removed), "{removed:?}");
    control.to.send(&other.renewal()).await.expect("sends");
    let answer = control
        .hear_until(|message| !matches!(message, HeadMessage::Orders { .. }))
        .await;
    assert!(matches!(answer, HeadMessage::Renewed { .. }), "{answer:?}");
}

#[tokio::test]
async fn a_token_becomes_a_credential_once() {
    let head = Head::start().await;
    let mut line = head.client().await;
    set_role(&mut line, Role::Operator).await;
    let token = login_token(&mut line).await;
    let peer = Peer::of(&head);
    let reply = peer.login(&token, "laptop").await;
    let LoginReply::LoggedIn {
        user,
        role,
        cluster,
        certificate,
        authority,
        ..
    } = reply
    else {
        panic!("{reply:?}")
    };
    assert_eq!((user, role, cluster.as_str()), (alice(), Role::Operator, "muster"));
    let connection = peer.certified(&certificate, &authority).client().await;
    let status = ask(&connection, &Request::Status).await.expect("asks");
    let Reply::Status { head: shown, .. } = status else {
        panic!("{status:?}")
    };
    let pinned = token.parse::<LoginToken>().expect("a token").authority;
    assert_eq!(shown.fingerprint, pinned.to_string());
    assert!(shown.certificate_ends.since(shown.clock) > Millis::from_seconds(300 * 86_400));

    let again = Peer::of(&head).login(&token, "elsewhere").await;
    assert!(matches!(again, LoginReply::Refused { .. }), "{again:?}");
    let users = line.ask(&Request::ListUsers).await;
    let Reply::Users { users } = users else {
        panic!("{users:?}")
    };
    let alice = users.iter().find(|row| row.name == alice()).expect("is there");
    assert_eq!(alice.credentials.len(), 1);
    assert_eq!(alice.credentials[0].key, peer.key.hash());
    assert_eq!(alice.credentials[0].host, "laptop");
}

#[tokio::test]
async fn a_revoked_credential_ends_its_connections_at_once_and_no_others() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let (peer, member) = user(&head, &mut line).await;
    let token = login_token(&mut line).await;
    let kept = Peer::of(&head).logged_in(&token).await.client().await;
    let connection = member.client().await;
    let revoke = Request::RevokeCredential {
        user: alice(),
        key: peer.key.hash().to_string()[..12].to_owned(),
    };
    done(&mut line, &revoke).await;
    let said = end_of(&connection).await.to_string();
    assert!(said.contains("taken back") && said.contains("muster login"), "{said}");
    let said = end_of(&member.connect().await).await.to_string();
    assert!(said.contains("taken back"), "{said}");
    ask(&kept, &Request::Status)
        .await
        .expect("the other credential is good");

    done(&mut line, &Request::RemoveUser { user: alice() }).await;
    let said = end_of(&kept).await.to_string();
    assert!(said.contains("taken back"), "{said}");
}

#[tokio::test]
async fn a_new_role_counts_with_the_next_request() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let (_peer, member) = user(&head, &mut line).await;
    let connection = member.client().await;
    let reply = ask(&connection, &make_join_token()).await.expect("asks");
    assert!(
        matches!(&reply, Reply::Refused(refusal) if refusal.code == RefusalCode::Forbidden),
        "{reply:?}"
    );
    set_role(&mut line, Role::Administrator).await;
    let reply = ask(&connection, &make_join_token()).await.expect("asks");
    assert!(matches!(reply, Reply::Token { .. }), "{reply:?}");
}

#[tokio::test]
async fn a_credential_is_renewed_for_the_key_that_it_is_of() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let (peer, member) = user(&head, &mut line).await;
    let connection = member.client().await;
    let renewal = |peer: &Peer| Request::RenewCredential {
        request: peer.key.certificate_request().expect("a request").to_vec(),
    };
    let reply = ask(&connection, &renewal(&peer)).await.expect("asks");
    let Reply::Certified {
        certificate, authority, ..
    } = reply
    else {
        panic!("{reply:?}")
    };
    let renewed = peer.certified(&certificate, &authority);
    assert!(renewed.ends() >= member.ends());
    let users = line.ask(&Request::ListUsers).await;
    assert!(
        matches!(&users, Reply::Users { users } if users[0].credentials[0].host == "laptop"),
        "{users:?}"
    );
    ask(&renewed.client().await, &Request::Status).await.expect("is good");
    let reply = ask(&connection, &renewal(&Peer::of(&head))).await.expect("asks");
    assert!(
        matches!(&reply, Reply::Refused(refusal) if refusal.code == RefusalCode::Invalid),
        "{reply:?}"
    );
}

#[tokio::test]
async fn an_expired_user_is_refused() {
    let head = Head::start_with("user_certificate_life = '5s'").await;
    let mut line = head.client().await;
    let (_peer, member) = user(&head, &mut line).await;
    let connection = member.client().await;
    member.expire().await;
    end_of(&connection).await;
    let said = end_of(&member.connect().await).await.to_string();
    assert!(said.contains("refused our certificate as expired"), "{said}");
}

#[tokio::test]
async fn wrong_tokens_make_their_address_wait_even_with_a_right_one() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let right = join_token(&mut line).await;
    let authority = right.parse::<JoinToken>().expect("a token").authority;
    let reason_of = |reply: JoinReply| match reply {
        JoinReply::Refused { reason } => reason,
        JoinReply::Joined { .. } => "let in".to_owned(),
    };
    for _ in 0..5 {
        let wrong = JoinToken::generate(authority).expect("a token").to_string();
        let reason = reason_of(Peer::of(&head).join(&wrong, "n1").await);
        assert!(reason.contains("does not know"), "{reason}");
    }
    let reason = reason_of(Peer::of(&head).join(&right, "n1").await);
    assert!(
        reason.contains("too many wrong tokens came from your address; try again in"),
        "{reason}"
    );
    let start = std::time::Instant::now();
    while reason_of(Peer::of(&head).join(&right, "n1").await) != "let in" {
        assert!(start.elapsed() < Duration::from_secs(20), "it has to wait for a second");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn who_may_do_less_hears_no_more_of_what_they_asked_before() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let (_peer, member) = user(&head, &mut line).await;
    set_role(&mut line, Role::Administrator).await;
    let connection = member.client().await;
    let (mut to, mut from) = connection.open_stream().await.expect("opens");
    let events = Request::Events {
        after: None,
        follow: true,
    };
    to.send(&events).await.expect("sends");
    let mut hear = async || {
        let heard = tokio::time::timeout(DEADLINE, from.recv::<Reply>())
            .await
            .expect("in time");
        heard.expect("reads").expect("answers")
    };
    assert!(matches!(hear().await, Reply::Events { .. }));
    set_role(&mut line, Role::User).await;
    let last = hear().await;
    assert!(
        matches!(&last, Reply::Refused(refusal) if refusal.what.contains("were changed")),
        "{last:?}"
    );
    ask(&connection, &Request::Status)
        .await
        .expect("the connection goes on");
}

#[tokio::test]
async fn a_number_of_another_account_is_nobodys_by_another_name() {
    let head = Head::start().await;
    let mut line = head.client().await;
    let own = nix::unistd::User::from_name("daemon")
        .expect("asks")
        .expect("is everywhere");
    let request = Request::AddUser {
        user: UserName::new("no-such-account-here").expect("a name"),
        role: Role::User,
        ids: Some((own.uid.as_raw(), own.gid.as_raw())),
    };
    let reply = line.ask(&request).await;
    assert!(
        matches!(&reply, Reply::Refused(refusal) if refusal.what.contains("is the account 'daemon'")),
        "{reply:?}"
    );
}

#[tokio::test]
async fn one_account_that_knocks_and_says_nothing_does_not_lock_others_out() {
    let head = Head::start().await;
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(head.connect().await);
    }
    // The next one of this account is turned away, for as long as those say nothing.
    let mut next = head.connect().await;
    let end = tokio::time::timeout(DEADLINE, next.from.recv::<Reply>())
        .await
        .expect("in time");
    match end {
        Ok(Some(Reply::Refused(refusal))) => assert!(refusal.retry_after.is_some(), "{refusal:?}"),
        other => panic!("{other:?}"),
    }
    silent.clear();
    let start = std::time::Instant::now();
    loop {
        let mut line = head.connect().await;
        let greeting = proto::client::Greeting { version: VERSION };
        let greeted = match line.to.send(&greeting).await {
            Ok(()) => line.from.recv::<proto::client::Greeted>().await,
            Err(error) => Err(error),
        };
        if matches!(greeted, Ok(Some(proto::client::Greeted::Welcome { .. }))) {
            break;
        }
        assert!(start.elapsed() < DEADLINE, "places come back: {greeted:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn a_later_minor_version_is_welcome_and_another_major_is_refused_in_words() {
    let head = Head::start().await;
    let token = join_token(&mut head.client().await).await;
    let node = Peer::of(&head).joined(&token, "n1").await;
    let speaking = |version: Version| match hello("n1") {
        NodeMessage::Hello(mut hello) => {
            hello.version = version;
            NodeMessage::Hello(hello)
        }
        other => other,
    };

    let later = Version {
        minor: VERSION.minor + 7,
        ..VERSION
    };
    let mut control = node.say(&speaking(later)).await;
    assert!(matches!(control.hear().await, HeadMessage::Welcome { .. }));
    // What a later release says that this one does not know.
    let unknown = std::collections::BTreeMap::from([("t", "said_by_later_releases"), ("what", "more")]);
    control.to.send(&unknown).await.expect("sends");
    let beat = NodeMessage::Heartbeat { number: 3 };
    control.to.send(&beat).await.expect("sends");
    let answer = control.hear_until(|said| matches!(said, HeadMessage::HeartbeatTaken { .. }));
    assert_eq!(answer.await, HeadMessage::HeartbeatTaken { number: 3 });

    let other = Version {
        major: VERSION.major + 1,
        minor: 0,
    };
    let mut control = node.say(&speaking(other)).await;
    match control.hear().await {
        HeadMessage::Refused { reason } => assert!(
            reason.contains(&other.to_string()) && reason.contains(&VERSION.to_string()) && reason.contains("update"),
            "{reason}"
        ),
        said => panic!("{said:?}"),
    }
}

#[tokio::test]
async fn strangers_that_say_nothing_leave_room_for_other_addresses() {
    let head = Head::start().await;
    let token = join_token(&mut head.client().await).await;
    let peer = Peer::of(&head);
    let at = |last: u8| Dialer::bind([127, 0, 0, last].into(), Settings::default()).expect("dials from there");
    let (busy, other) = (at(1), at(9));
    let mut silent = Vec::new();
    for _ in 0..MAX_STRANGERS_OF_ONE {
        silent.push(peer.stranger(&token, &busy).await.expect("there is room"));
    }
    let refused = peer.stranger(&token, &busy).await;
    assert!(refused.is_err(), "{refused:?}");
    // With a token of QUIC's own by now.
    peer.stranger(&token, &other).await.expect("another address has room");
    for connection in silent.drain(..) {
        connection.close(CloseCode::Done, "nothing to say");
    }
    let start = std::time::Instant::now();
    while peer.stranger(&token, &busy).await.is_err() {
        assert!(start.elapsed() < DEADLINE, "room comes back");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
