//! Nodes and users of other hosts, as the head node sees them: QUIC, a key of their own, a token or a certificate.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use proto::client::{Greeted, Greeting, Reply, Request};
use proto::control::{HeadMessage, Hello, Join, JoinReply, Knock, Login, LoginReply, NodeMessage};
use proto::frame::VERSION;
use proto::ids::{BootId, NodeName};
use proto::model::node::Inventory;
use transport::control::{
    Connection, ConnectionFailure, DialError, Dialer, Settings, StreamError, StreamReader, StreamWriter, dial,
};
use transport::identity::{
    Alpn, CertificateDer, ClientTls, HEAD_SERVER_NAME, Identity, JoinToken, KeyPair, LoginToken, Trust, validity_of,
};

use crate::head::{DEADLINE, Head};

/// Somebody on another host.
#[derive(Clone)]
pub(crate) struct Peer {
    head: SocketAddr,
    pub(crate) key: KeyPair,
}

impl Peer {
    pub(crate) fn of(head: &Head) -> Self {
        let key = KeyPair::generate().expect("a key");
        Self {
            head: head.address(),
            key,
        }
    }

    fn request(&self) -> Vec<u8> {
        self.key.certificate_request().expect("a request").to_vec()
    }

    /// A connection from one of this machine's addresses, without a certificate; nothing is said on it.
    pub(crate) async fn stranger(&self, token: &str, from: &Dialer) -> Result<Connection, DialError> {
        let token: JoinToken = token.parse().expect("a token");
        let tls = ClientTls::new(None, &Trust::pinned(token.authority), Alpn::Head).expect("settings");
        from.dial(self.head, HEAD_SERVER_NAME, &tls, DEADLINE).await
    }

    async fn knock<T: serde::de::DeserializeOwned>(&self, trust: &Trust, knock: &Knock) -> T {
        let tls = ClientTls::new(None, trust, Alpn::Head).expect("settings");
        let dialled = dial(self.head, HEAD_SERVER_NAME, &tls, Settings::default(), DEADLINE).await;
        let (mut to, mut from) = dialled.expect("dials").open_stream().await.expect("opens");
        to.send(knock).await.expect("sends");
        from.recv::<T>().await.expect("reads").expect("answers")
    }

    pub(crate) async fn join(&self, token: &str, name: &str) -> JoinReply {
        let token: JoinToken = token.parse().expect("a token");
        let join = Join {
            version: VERSION,
            secret: token.secret.to_hex(),
            name: NodeName::new(name).expect("a name"),
            request: self.request(),
        };
        self.knock(&Trust::pinned(token.authority), &Knock::Join(join)).await
    }

    pub(crate) async fn login(&self, token: &str, host: &str) -> LoginReply {
        let token: LoginToken = token.parse().expect("a token");
        let login = Login {
            version: VERSION,
            secret: token.secret.to_hex(),
            host: host.to_owned(),
            request: self.request(),
        };
        self.knock(&Trust::pinned(token.authority), &Knock::Login(login)).await
    }

    /// With a certificate for its key.
    pub(crate) fn certified(&self, certificate: &[u8], authority: &[u8]) -> Member {
        let der = |bytes: &[u8]| CertificateDer::from(bytes.to_vec());
        let identity = Identity::new(self.key.clone(), der(certificate), der(authority));
        Member {
            peer: self.clone(),
            identity: identity.expect("belongs together"),
        }
    }

    /// Joins, and expects to be let in.
    pub(crate) async fn joined(&self, token: &str, name: &str) -> Member {
        match self.join(token, name).await {
            JoinReply::Joined {
                certificate, authority, ..
            } => self.certified(&certificate, &authority),
            JoinReply::Refused { reason } => panic!("{reason}"),
        }
    }

    /// Logs in, and expects to be let in.
    pub(crate) async fn logged_in(&self, token: &str) -> Member {
        match self.login(token, "laptop").await {
            LoginReply::LoggedIn {
                certificate, authority, ..
            } => self.certified(&certificate, &authority),
            LoginReply::Refused { reason } => panic!("{reason}"),
        }
    }
}

/// A node or user that has a certificate.
#[derive(Clone)]
pub(crate) struct Member {
    peer: Peer,
    identity: Identity,
}

impl Member {
    pub(crate) async fn connect(&self) -> Connection {
        let tls = ClientTls::new(Some(&self.identity), &self.identity.trust(), Alpn::Head).expect("settings");
        let dialled = dial(self.peer.head, HEAD_SERVER_NAME, &tls, Settings::default(), DEADLINE).await;
        dialled.expect("dials")
    }

    /// When its certificate ends.
    pub(crate) fn ends(&self) -> SystemTime {
        validity_of(self.identity.certificate())
            .expect("a certificate")
            .not_after
    }

    /// Waits until its certificate has expired.
    pub(crate) async fn expire(&self) {
        let late = self.ends() + Duration::from_secs(1);
        while let Ok(left) = late.duration_since(SystemTime::now()) {
            assert!(left < DEADLINE, "a short life");
            tokio::time::sleep(left + Duration::from_millis(1)).await;
        }
    }

    pub(crate) fn renewal(&self) -> NodeMessage {
        NodeMessage::Renew {
            version: VERSION,
            request: self.peer.request(),
        }
    }

    /// As after a renewal.
    pub(crate) fn renewed(&self, message: &HeadMessage) -> Self {
        match message {
            HeadMessage::Renewed { certificate, authority } => self.peer.certified(certificate, authority),
            other => panic!("{other:?}"),
        }
    }

    /// Says one thing on a control stream of its own.
    pub(crate) async fn say(&self, message: &NodeMessage) -> Control {
        let connection = self.connect().await;
        let (to, from) = connection.open_stream().await.expect("opens");
        let mut control = Control { connection, to, from };
        control.to.send(message).await.expect("sends");
        control
    }

    /// A user's connection, greeted.
    pub(crate) async fn client(&self) -> Connection {
        let connection = self.connect().await;
        let (mut to, mut from) = connection.open_stream().await.expect("opens");
        to.send(&Greeting { version: VERSION }).await.expect("sends");
        let greeted = from.recv::<Greeted>().await.expect("reads").expect("answers");
        assert!(matches!(greeted, Greeted::Welcome { .. }), "{greeted:?}");
        connection
    }
}

/// A node's control stream.
pub(crate) struct Control {
    pub(crate) connection: Connection,
    pub(crate) to: StreamWriter,
    from: StreamReader,
}

impl Control {
    pub(crate) async fn hear(&mut self) -> HeadMessage {
        let heard = tokio::time::timeout(DEADLINE, self.from.recv::<HeadMessage>()).await;
        heard.expect("in time").expect("reads").expect("hears")
    }

    /// Skips what does not interest.
    pub(crate) async fn hear_until(&mut self, fits: impl Fn(&HeadMessage) -> bool) -> HeadMessage {
        loop {
            let message = self.hear().await;
            if fits(&message) {
                return message;
            }
        }
    }
}

pub(crate) fn hello(name: &str) -> NodeMessage {
    NodeMessage::Hello(Box::new(Hello {
        version: VERSION,
        name: NodeName::new(name).expect("a name"),
        boot: BootId(7),
        inventory: Inventory {
            cores: 4,
            memory_bytes: 1 << 30,
            ..Inventory::default()
        },
        peer: SocketAddr::from(([127, 0, 0, 1], 9)),
        held: Vec::new(),
        clock: None,
    }))
}

/// One request on a stream of its own.
pub(crate) async fn ask(connection: &Connection, request: &Request) -> Result<Reply, StreamError> {
    let (mut to, mut from) = connection.open_stream().await?;
    to.send(request).await?;
    let reply = tokio::time::timeout(DEADLINE, from.recv::<Reply>())
        .await
        .expect("in time")?;
    Ok(reply.expect("answers"))
}

/// Why the head node ended a connection.
pub(crate) async fn end_of(connection: &Connection) -> ConnectionFailure {
    tokio::time::timeout(DEADLINE, connection.closed())
        .await
        .expect("is closed in time")
}
