//! Connections of compute nodes: one each, dialled by the node, with one control stream for its life.
//!
//! This module moves messages between a node and the controller and decides nothing. A message to a node that is not
//! connected, or that does not read, is dropped; its next hello brings everything again.
//!
//! A certificate alone lets no node in: its key has to be the one of the node's row. So a node that was removed, or whose
//! name was joined by another host, is told so and let go before it can take the place of anybody.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use proto::control::{HeadMessage, NodeMessage};
use proto::frame::VERSION;
use proto::ids::{BootId, KeyHash, NodeId};
use tokio::sync::mpsc;
use transport::control::{CloseCode, Connection, Listener, Pending, StreamReader, StreamWriter, later_message};
use transport::identity::Subject;

use crate::authority::ClusterAuthority;
use crate::clock::Clock;
use crate::join::Joins;
use crate::knock::{HEARD, Knocks};
use crate::remote::Remotes;
use crate::round::{Arrival, LinkId};
use crate::serve::Slot;
use crate::strangers::{Says, Strangers};
use crate::throttle::Source;
use crate::view::View;

/// How many messages may wait for one node; then its connection is ended, and its next hello brings everything again.
const MESSAGES_AHEAD: usize = 1024;

/// How long a peer may take from its connection to its first message.
const FIRST_MESSAGE_DEADLINE: Duration = Duration::from_secs(10);

/// How often a connected node may have its certificate renewed; sooner, it waits.
const RENEWAL_PAUSE: Duration = Duration::from_secs(1);

/// The connected nodes.
#[derive(Debug, Default)]
pub struct Links {
    /// Guards the table for the length of one look-up.
    table: Mutex<Table>,
}

#[derive(Debug, Default)]
struct Table {
    links: BTreeMap<NodeId, Link>,
    /// Of the newest connection of all.
    last: u64,
}

#[derive(Debug)]
struct Link {
    id: LinkId,
    connection: Connection,
    messages: mpsc::Sender<HeadMessage>,
    /// Before the welcome nothing else is said: what waits from before is superseded by what the hello leads to.
    welcomed: bool,
}

impl Links {
    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A newer connection of the same node replaces the older one.
    fn attach(&self, node: NodeId, connection: Connection, messages: mpsc::Sender<HeadMessage>) -> LinkId {
        let mut table = self.table();
        table.last += 1;
        let id = LinkId(table.last);
        let link = Link {
            id,
            connection,
            messages,
            welcomed: false,
        };
        if let Some(older) = table.links.insert(node, link) {
            older.connection.close(CloseCode::Superseded, "the node connected anew");
        }
        id
    }

    /// Whether this was still the node's newest connection.
    fn detach(&self, node: NodeId, id: LinkId) -> bool {
        let mut table = self.table();
        let newest = table.links.get(&node).is_some_and(|link| link.id == id);
        if newest {
            table.links.remove(&node);
        }
        newest
    }

    /// Sends a message, or drops it: when the node is not connected, when the message answers what came by an older
    /// connection, and before the welcome.
    pub fn send(&self, node: NodeId, by: Option<LinkId>, message: HeadMessage) {
        let mut table = self.table();
        let Some(link) = table
            .links
            .get_mut(&node)
            .filter(|link| by.is_none_or(|id| link.id == id))
        else {
            return;
        };
        link.welcomed |= matches!(message, HeadMessage::Welcome { .. });
        if link.welcomed && link.messages.try_send(message).is_err() {
            tracing::warn!(%node, "the node does not read its messages; its connection is ended");
            link.connection
                .close(CloseCode::Protocol, "too many messages wait for this node");
        }
    }

    /// Tells a node why it is not wanted now, which ends its connection.
    pub fn disconnect(&self, node: NodeId, reason: &str) {
        tracing::warn!(%node, reason, "a node is refused");
        if let Some(link) = self.table().links.get(&node) {
            let reason = reason.to_owned();
            link.say_last(HeadMessage::Refused { reason });
        }
    }

    /// Tells a node that it is in the cluster no more, which ends its connection.
    pub fn remove(&self, node: NodeId, reason: &str) {
        tracing::info!(%node, reason, "a node is out of the cluster");
        if let Some(link) = self.table().links.get(&node) {
            let reason = reason.to_owned();
            link.say_last(HeadMessage::Removed { reason });
        }
    }

    /// The same for a connection under that number with another key than `key`.
    pub fn remove_strangers(&self, node: NodeId, key: KeyHash, reason: &str) {
        if let Some(link) = self.table().links.get(&node)
            && link.connection.peer_key() != Some(key)
        {
            tracing::warn!(%node, reason, "an older connection of the node is ended");
            let reason = reason.to_owned();
            link.say_last(HeadMessage::Removed { reason });
        }
    }

    /// A node's connection, for streams of their own.
    #[must_use]
    pub fn connection(&self, node: NodeId) -> Option<Connection> {
        self.table().links.get(&node).map(|link| link.connection.clone())
    }
}

impl Link {
    /// Sends a message that ends the connection.
    fn say_last(&self, message: HeadMessage) {
        let reason = last_word(&message).unwrap_or_default();
        if self.messages.try_send(message).is_err() {
            self.connection.close(CloseCode::Refused, &reason);
        }
    }
}

/// What a connection needs.
#[derive(Debug)]
pub struct Nodes {
    /// The connected nodes.
    pub links: Arc<Links>,
    /// For the controller.
    pub arrivals: mpsc::Sender<Arrival<Slot>>,
    /// For whose key a node's certificate has to be.
    pub view: Arc<View>,
    /// For nodes that renew.
    pub joins: Joins,
    /// For peers without a certificate.
    pub knocks: Knocks,
    /// Bounds them, and who is in the handshake.
    pub strangers: Strangers,
    /// For what the log says of them.
    pub clock: Clock,
    /// For users on other hosts.
    pub remotes: Arc<Remotes>,
    /// Fills in what launches need.
    pub authority: Arc<ClusterAuthority>,
}

/// Takes connections until the task is dropped.
pub async fn serve(listener: Listener, nodes: Arc<Nodes>) {
    while let Some(pending) = listener.accept().await {
        let nodes = Arc::clone(&nodes);
        tokio::spawn(async move { nodes.peer(pending).await });
    }
}

impl Nodes {
    async fn peer(&self, pending: Pending) {
        let remote = pending.remote_address();
        let crowded = self.strangers.is_crowded();
        let proved = if crowded {
            pending.prove_address()
        } else {
            Some(pending)
        };
        let Some(pending) = proved else { return };
        let Some(stay) = self.strangers.take(Source::of(remote.ip())) else {
            self.complain(
                remote,
                "refused a connection: too many of peers that have proved nothing, from there or in all",
            );
            return pending.refuse();
        };
        let connection = match pending.complete(FIRST_MESSAGE_DEADLINE).await {
            Ok(connection) => connection,
            Err(error) => return self.complain(remote, &format!("connection ended: {:#}", anyhow::Error::from(error))),
        };
        if connection.subject().is_none() {
            let knock = tokio::time::timeout(FIRST_MESSAGE_DEADLINE, self.knocks.serve(&connection));
            if let Err(error) = knock.await.unwrap_or_else(|late| Err(late.into())) {
                self.complain(remote, &format!("connection ended: {error:#}"));
            }
            return;
        }
        drop(stay);
        if let Err(error) = self.connection(connection).await {
            tracing::warn!(%remote, "connection ended: {error:#}");
        }
    }

    /// The log must not be filled by whoever can send packets.
    fn complain(&self, remote: SocketAddr, what: &str) {
        match self.strangers.says(self.clock.now().monotonic) {
            Says::Line { left_out: 0 } => tracing::warn!(%remote, "{what}"),
            Says::Line { left_out } => tracing::warn!(%remote, left_out, "{what}"),
            Says::Nothing => {}
        }
    }

    async fn connection(&self, connection: Connection) -> anyhow::Result<()> {
        match connection.subject() {
            Some(Subject::Node(node)) => {
                let node = *node;
                self.node(node, connection)
                    .await
                    .with_context(|| format!("node {node}"))
            }
            Some(Subject::User { name, .. }) => {
                let name = name.clone();
                self.remotes
                    .serve(connection, &name)
                    .await
                    .with_context(|| format!("user {name}"))
            }
            other => {
                let other = other.map(ToString::to_string).unwrap_or_default();
                let reason = format!("a certificate of '{other}' opens nothing here; nodes and users dial in");
                connection.close(CloseCode::Refused, &reason);
                bail!(reason)
            }
        }
    }

    async fn node(&self, node: NodeId, connection: Connection) -> anyhow::Result<()> {
        let (mut to, mut from) = tokio::time::timeout(FIRST_MESSAGE_DEADLINE, connection.accept_stream()).await??;
        let first = tokio::time::timeout(FIRST_MESSAGE_DEADLINE, from.recv::<NodeMessage>()).await??;
        let version = match &first {
            Some(NodeMessage::Hello(hello)) => hello.version,
            Some(NodeMessage::Renew { version, .. }) => *version,
            _ => bail!("the first message is neither hello nor renewal"),
        };
        if !VERSION.accepts(version) {
            let reason = format!("the head node speaks version {VERSION}, the node {version}: update one");
            return last(&connection, &mut to, HeadMessage::Refused { reason }).await;
        }
        let Some(key) = connection.peer_key() else {
            bail!("a node without a key")
        };
        if let Some(reason) = self.stranger(node, key) {
            return last(&connection, &mut to, HeadMessage::Removed { reason }).await;
        }
        let hello = match first {
            Some(NodeMessage::Hello(hello)) if !connection.peer_expired() => hello,
            Some(NodeMessage::Renew { request, .. }) => {
                let answer = self.joins.renew(node, key, request).await;
                return last(&connection, &mut to, answer).await;
            }
            _ => {
                let reason = "the node's certificate has expired: it has to renew it before anything else".to_owned();
                return last(&connection, &mut to, HeadMessage::Refused { reason }).await;
            }
        };
        let boot = hello.boot;
        tracing::info!(%node, name = %hello.name, %version, remote = %connection.remote_address(), "node connected");

        let (messages, mut waiting) = mpsc::channel(MESSAGES_AHEAD);
        let link = self.links.attach(node, connection.clone(), messages);
        let arrival = Arrival::Hello { node, link, key, hello };
        self.arrivals.send(arrival).await?;
        let authority = &self.authority;
        let send = async {
            let (mut batch, mut ends, mut unsaid) = (Vec::new(), None, later_message());
            while waiting.recv_many(&mut batch, MESSAGES_AHEAD).await > 0 {
                for message in &mut batch {
                    authority.fill_in(message);
                    ends = ends.or_else(|| last_word(message));
                }
                to.send_all(&batch).await?;
                batch.clear();
                // The welcome came first.
                if let Some(later) = unsaid.take() {
                    to.send(&later).await?;
                }
                if let Some(reason) = ends {
                    return end(&connection, &mut to, reason).await;
                }
            }
            anyhow::Ok(())
        };
        let ended = tokio::select! {
            ended = send => ended,
            ended = self.hear((node, key), link, boot, &mut from) => ended,
            reason = connection.closed() => Err(reason.into()),
        };
        if self.links.detach(node, link) {
            self.arrivals.send(Arrival::Gone { node }).await?;
        }
        tracing::info!(%node, "node disconnected");
        ended
    }

    /// Why the holder of that key is not the node, when it is not.
    fn stranger(&self, node: NodeId, key: KeyHash) -> Option<String> {
        let Some(row) = self.view.node_key(node) else {
            return Some(format!(
                "node {node} was taken out of the cluster: it may join again with a new token, see 'muster node \
                 join-command' on the head node"
            ));
        };
        (row.key.is_some_and(|known| known != key)).then(|| {
            format!(
                "another host joined as '{}' after this one: give this one another name, and a new token of 'muster node \
                 join-command'",
                row.name
            )
        })
    }

    async fn hear(
        &self,
        (node, key): (NodeId, KeyHash),
        link: LinkId,
        boot: BootId,
        from: &mut StreamReader,
    ) -> anyhow::Result<()> {
        let mut renewed: Option<Instant> = None;
        while let Some(message) = from.recv::<NodeMessage>().await? {
            let arrival = match message {
                NodeMessage::Heartbeat { number } => Arrival::Heartbeat { node, link, number },
                NodeMessage::Reports { number, reports } => Arrival::Reports {
                    node,
                    link,
                    boot,
                    number,
                    reports,
                },
                NodeMessage::Renew { request, .. } => {
                    if let Some(last) = renewed.replace(Instant::now()) {
                        tokio::time::sleep_until((last + RENEWAL_PAUSE).into()).await;
                    }
                    let answer = self.joins.renew(node, key, request).await;
                    self.links.send(node, Some(link), answer);
                    continue;
                }
                // Of a later release, which asks for nothing that its hello did not lead to.
                NodeMessage::Unknown => continue,
                NodeMessage::Hello(_) => bail!("a message that does not belong here"),
            };
            self.arrivals.send(arrival).await?;
        }
        Ok(())
    }
}

/// The reason of a message that ends the connection.
fn last_word(message: &HeadMessage) -> Option<String> {
    match message {
        HeadMessage::Refused { reason } | HeadMessage::Removed { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// Says one thing and ends the connection. Not an error when the peer got what it asked for.
async fn last(connection: &Connection, to: &mut StreamWriter, message: HeadMessage) -> anyhow::Result<()> {
    to.send(&message).await?;
    match last_word(&message) {
        Some(reason) => end(connection, to, reason).await,
        None => Ok(to.finish_and_wait(HEARD).await?),
    }
}

/// Ends a connection after its peer has heard why.
async fn end(connection: &Connection, to: &mut StreamWriter, reason: String) -> anyhow::Result<()> {
    // A peer that does not take the message hears the reason from the close.
    let _ = to.finish_and_wait(HEARD).await;
    connection.close(CloseCode::Refused, &reason);
    bail!(reason)
}
