//! A head node as far as one agent sees it: an authority, a port, and what a test makes it say.

use std::net::SocketAddr;
use std::time::{Duration, SystemTime};

use proto::control::{
    FileReply, FileRequest, HeadMessage, Hello, JoinReply, Knock, NodeMessage, NodeRequest, Order, ProbeReply, Report,
    StartOrder, Timing,
};
use proto::frame::VERSION;
use proto::ids::{NodeId, PoolName};
use proto::units::{Millis, Timestamp};
use transport::control::{Connection, Listener, Settings, StreamReader, StreamWriter};
use transport::identity::{
    Alpn, Authority, ClientCertificate, Identity, JoinToken, KeyPair, RequestDer, ServerTls, Subject,
};

use computenode::spawner::clock::wall_clock;

use crate::wait::DEADLINE;

const DAY: Duration = Duration::from_secs(86_400);

/// A head node.
pub(crate) struct Head {
    authority: Authority,
    listener: Listener,
    token: JoinToken,
    next_node: u32,
    /// Of the certificates that it makes for nodes.
    life: Duration,
    heartbeat: Millis,
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
        Self::with_life(DAY)
    }

    /// One whose nodes have certificates of that life.
    pub(crate) fn with_life(life: Duration) -> Self {
        let now = SystemTime::now();
        let authority = Authority::create("test", now, DAY).expect("an authority");
        let key = KeyPair::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let certificate = authority.issue(&request, &Subject::Head, now, DAY).expect("issues");
        let identity = Identity::new(key, certificate, authority.certificate().clone()).expect("fits");
        let tls = ServerTls::new(&identity, ClientCertificate::Renewable, Alpn::Head).expect("tls");
        let listener = Listener::bind(([127, 0, 0, 1], 0).into(), &tls, Settings::default()).expect("listens");
        let token = JoinToken::generate(authority.fingerprint()).expect("a token");
        Self {
            authority,
            listener,
            token,
            next_node: 1,
            life,
            heartbeat: Millis(100),
        }
    }

    /// One whose heartbeats need no answer during a test.
    pub(crate) fn patient() -> Self {
        Self {
            heartbeat: Millis(20_000),
            ..Self::start()
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
        let Some(Knock::Join(join)) = from.recv().await.expect("a message") else {
            panic!("no join")
        };
        let reply = if join.secret == self.token.secret.to_hex() {
            let node = NodeId(self.next_node);
            self.next_node += 1;
            let (certificate, authority) = self.certify(join.request, &Subject::Node(node));
            JoinReply::Joined {
                node,
                pool: PoolName::new("local").expect("a name"),
                groups: Vec::new(),
                certificate,
                authority,
                // An hour behind, and a little.
                clock: Timestamp(wall_clock().0 - 3_605_000),
                cluster: "test".to_owned(),
            }
        } else {
            JoinReply::Refused {
                reason: "the join token was used up; make another with 'muster node join-command'".to_owned(),
            }
        };
        to.send(&reply).await.expect("sent");
        connection.closed().await;
    }

    fn certify(&self, request: Vec<u8>, subject: &Subject) -> (Vec<u8>, Vec<u8>) {
        let (request, now) = (RequestDer::from(request), SystemTime::now());
        let certificate = self.authority.issue(&request, subject, now, self.life).expect("issues");
        (certificate.to_vec(), self.authority.certificate().to_vec())
    }

    /// The next node: its certificate has expired, and the only thing that it says is that it wants another.
    pub(crate) async fn renewal(&self) {
        let (connection, mut to, request) = self.renewal_asked().await;
        let subject = connection.subject().expect("a node").clone();
        let (certificate, authority) = self.certify(request, &subject);
        to.send(&HeadMessage::Renewed { certificate, authority })
            .await
            .expect("sent");
        connection.closed().await;
    }

    /// The same, and it is told that it was removed.
    pub(crate) async fn renewal_of_removed(&self) {
        let (connection, mut to, _) = self.renewal_asked().await;
        let reason = "removed by root".to_owned();
        to.send(&HeadMessage::Removed { reason }).await.expect("sent");
        connection.closed().await;
    }

    async fn renewal_asked(&self) -> (Connection, StreamWriter, Vec<u8>) {
        let connection = self.connection().await;
        assert!(connection.peer_expired(), "{:?}", connection.peer_validity());
        let (to, mut from) = connection.accept_stream().await.expect("a stream");
        match from.recv().await.expect("a message") {
            Some(NodeMessage::Renew { request, .. }) => (connection, to, request),
            other => panic!("{other:?}"),
        }
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
            heartbeat: self.heartbeat,
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

    /// The next report that is not a start: that of a short task goes with its end or before it.
    pub(crate) async fn next_end(&mut self) -> Report {
        loop {
            match self.report().await {
                Report::Started { .. } => {}
                other => return other,
            }
        }
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

    /// Does something else while the node's heartbeats are answered; reports wait.
    pub(crate) async fn alongside<T>(&mut self, work: impl Future<Output = T>) -> T {
        let mut work = std::pin::pin!(work);
        let mut later = Vec::new();
        let done = loop {
            tokio::select! {
                done = &mut work => break done,
                report = self.next_report(true) => later.push(report),
            }
        };
        later.append(&mut self.pending);
        self.pending = later;
        done
    }

    pub(crate) async fn file(&self, request: &FileRequest) -> FileReply {
        let (mut to, mut from) = self.connection.open_stream().await.expect("a stream");
        to.send(&NodeRequest::File(request.clone())).await.expect("sent");
        from.recv().await.expect("a message").expect("an answer")
    }

    /// A question whose answers come one after the other.
    pub(crate) async fn ask(&self, request: &NodeRequest) -> (StreamWriter, StreamReader) {
        let (mut to, from) = self.connection.open_stream().await.expect("a stream");
        to.send(request).await.expect("sent");
        (to, from)
    }

    pub(crate) async fn probe(&self, peers: Vec<SocketAddr>) -> ProbeReply {
        let (mut to, mut from) = self.connection.open_stream().await.expect("a stream");
        to.send(&NodeRequest::Probe { peers }).await.expect("sent");
        from.recv().await.expect("a message").expect("an answer")
    }

    /// Waits until the node asks for a new certificate, and gives it one. Heartbeats are answered on the way.
    pub(crate) async fn renew(&mut self, head: &Head) {
        let asked = async {
            loop {
                match self.from.recv().await.expect("a message").expect("the node speaks") {
                    NodeMessage::Renew { request, .. } => return request,
                    NodeMessage::Heartbeat { number } => {
                        let taken = HeadMessage::HeartbeatTaken { number };
                        self.to.send(&taken).await.expect("sent");
                    }
                    other => panic!("{other:?}"),
                }
            }
        };
        let request = tokio::time::timeout(DEADLINE, asked).await.expect("a renewal");
        let subject = self.connection.subject().expect("a node").clone();
        let (certificate, authority) = head.certify(request, &subject);
        let renewed = HeadMessage::Renewed { certificate, authority };
        self.to.send(&renewed).await.expect("sent");
    }

    pub(crate) async fn remove(&mut self, reason: &str) {
        let reason = reason.to_owned();
        self.to.send(&HeadMessage::Removed { reason }).await.expect("sent");
        let gone = tokio::time::timeout(DEADLINE, self.connection.closed());
        gone.await.expect("the node goes");
    }
}
