//! A head node as far as one agent sees it: an authority, a port, and what a test makes it say.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use proto::control::{
    FileReply, FileRequest, HeadMessage, Hello, Join, JoinReply, NodeMessage, Order, Report, StartOrder, Timing,
};
use proto::frame::VERSION;
use proto::ids::{NodeId, PoolName};
use proto::units::Millis;
use transport::control::{Connection, Listener, Settings, StreamReader, StreamWriter};
use transport::identity::{
    Alpn, Authority, ClientCertificate, Identity, JoinToken, KeyPair, RequestDer, ServerTls, Subject,
};

use crate::wait::DEADLINE;

const DAY: Duration = Duration::from_secs(86_400);

/// A head node.
pub(crate) struct Head {
    authority: Authority,
    listener: Listener,
    token: JoinToken,
    next_node: u32,
}

/// A node's connection, after hello and welcome.
pub(crate) struct Node {
    pub(crate) hello: Hello,
    pub(crate) remote: SocketAddr,
    connection: Connection,
    to: StreamWriter,
    from: StreamReader,
    pending: Vec<Report>,
}

impl Head {
    pub(crate) fn start() -> Self {
        let now = SystemTime::now();
        let authority = Authority::create("test", now, DAY).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let certificate = authority.issue(&request, &Subject::Head, now, DAY).expect("issues");
        let identity = Identity::new(key, certificate, authority.certificate().clone()).expect("fits");
        let tls = ServerTls::new(&identity, ClientCertificate::Optional, Alpn::Head).expect("tls");
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &tls, Settings::default()).expect("listens");
        let token = JoinToken::generate(authority.fingerprint()).expect("a token");
        Self {
            authority,
            listener,
            token,
            next_node: 1,
        }
    }

    pub(crate) fn address(&self) -> String {
        self.listener.local_address().expect("an address").to_string()
    }

    pub(crate) fn token(&self) -> String {
        self.token.to_string()
    }

    async fn connection(&self) -> Connection {
        let accepted = async {
            loop {
                let pending = self.listener.accept().await.expect("listens");
                if let Ok(connection) = pending.complete(DEADLINE).await {
                    return connection;
                }
            }
        };
        tokio::time::timeout(DEADLINE, accepted).await.expect("an agent dials")
    }

    /// The next agent that joins: gets the next number when its token is right.
    pub(crate) async fn join(&mut self) {
        let connection = self.connection().await;
        assert_eq!(connection.subject(), None);
        let (mut to, mut from) = connection.accept_stream().await.expect("a stream");
        let join: Join = from.recv().await.expect("a message").expect("a join");
        let reply = if join.secret == self.token.secret.to_hex() {
            let node = NodeId(self.next_node);
            self.next_node += 1;
            let request = RequestDer::from(join.request);
            let now = SystemTime::now();
            let certificate = self
                .authority
                .issue(&request, &Subject::Node(node), now, DAY)
                .expect("issues");
            JoinReply::Joined {
                node,
                pool: PoolName::new("local").expect("a name"),
                groups: Vec::new(),
                certificate: certificate.to_vec(),
                authority: self.authority.certificate().to_vec(),
            }
        } else {
            JoinReply::Refused {
                reason: "the join token was used up; make another with 'node token'".to_owned(),
            }
        };
        to.send(&reply).await.expect("sent");
        connection.closed().await;
    }

    /// The next node that says hello.
    pub(crate) async fn node(&self) -> Node {
        let connection = self.connection().await;
        assert!(
            matches!(connection.subject(), Some(Subject::Node(_))),
            "{:?}",
            connection.subject()
        );
        let (mut to, mut from) = connection.accept_stream().await.expect("a stream");
        let Some(NodeMessage::Hello(hello)) = from.recv().await.expect("a message") else {
            panic!("no hello")
        };
        let timing = Timing {
            heartbeat: Millis(100),
            lease: Millis(60_000),
            kill_grace: Millis(500),
        };
        to.send(&HeadMessage::Welcome {
            version: VERSION,
            cluster: "test".to_owned(),
            timing,
        })
        .await
        .expect("sent");
        Node {
            hello: *hello,
            remote: connection.remote_address(),
            connection,
            to,
            from,
            pending: Vec::new(),
        }
    }
}

impl Node {
    pub(crate) async fn start(&mut self, order: StartOrder) {
        self.order(Order::Start(Box::new(order))).await;
    }

    pub(crate) async fn order(&mut self, order: Order) {
        self.to
            .send(&HeadMessage::Orders { orders: vec![order] })
            .await
            .expect("sent");
    }

    /// The next report; heartbeats and reports are acknowledged on the way.
    pub(crate) async fn report(&mut self) -> Report {
        tokio::time::timeout(DEADLINE, self.next_report(true))
            .await
            .expect("a report")
    }

    /// The same without acknowledging.
    pub(crate) async fn report_untaken(&mut self) -> Report {
        tokio::time::timeout(DEADLINE, self.next_report(false))
            .await
            .expect("a report")
    }

    async fn next_report(&mut self, take: bool) -> Report {
        while self.pending.is_empty() {
            match self.from.recv().await.expect("a message").expect("the node speaks") {
                NodeMessage::Heartbeat { number } => {
                    self.to
                        .send(&HeadMessage::HeartbeatTaken { number })
                        .await
                        .expect("sent");
                }
                NodeMessage::Reports { number, reports } => {
                    self.pending = reports;
                    if take {
                        self.to.send(&HeadMessage::ReportsTaken { number }).await.expect("sent");
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        self.pending.remove(0)
    }

    pub(crate) async fn file(&self, request: &FileRequest) -> FileReply {
        let (mut to, mut from) = self.connection.open_stream().await.expect("a stream");
        to.send(request).await.expect("sent");
        from.recv().await.expect("a message").expect("an answer")
    }
}
