//! Connections of compute nodes: one each, dialled by the node, with one control stream for its life.
//!
//! This module moves messages between a node and the controller and decides nothing. A message to a node that is not
//! connected, or that does not read, is dropped; its next hello brings everything again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, bail};
use proto::control::{HeadMessage, NodeMessage};
use proto::frame::VERSION;
use proto::ids::{BootId, NodeId};
use tokio::sync::{Semaphore, mpsc};
use transport::control::{CloseCode, Connection, Listener, StreamReader, StreamWriter};
use transport::identity::Subject;

use crate::authority::ClusterAuthority;
use crate::join::{HEARD, Joins};
use crate::round::{Arrival, LinkId};
use crate::serve::Slot;

/// How many messages may wait for one node; then its connection is ended, and its next hello brings everything again.
const MESSAGES_AHEAD: usize = 1024;

/// How long a peer may take from its connection to its first message.
const FIRST_MESSAGE_DEADLINE: Duration = Duration::from_secs(10);

/// How many connections may be in their handshake at once.
const MAX_HANDSHAKES: usize = 256;

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

    /// Tells a node why it is not wanted, which ends its connection.
    pub fn disconnect(&self, node: NodeId, reason: &str) {
        tracing::warn!(%node, reason, "a node is refused");
        if let Some(link) = self.table().links.get(&node)
            && link
                .messages
                .try_send(HeadMessage::Refused {
                    reason: reason.to_owned(),
                })
                .is_err()
        {
            link.connection.close(CloseCode::Refused, reason);
        }
    }

    /// A node's connection, for streams of their own.
    #[must_use]
    pub fn connection(&self, node: NodeId) -> Option<Connection> {
        self.table().links.get(&node).map(|link| link.connection.clone())
    }
}

/// What a connection needs.
#[derive(Debug)]
pub struct Nodes {
    /// The connected nodes.
    pub links: Arc<Links>,
    /// For the controller.
    pub arrivals: mpsc::Sender<Arrival<Slot>>,
    /// For peers without a certificate.
    pub joins: Joins,
    /// Fills in what launches need.
    pub authority: Arc<ClusterAuthority>,
}

/// Takes connections until the task is dropped.
pub async fn serve(listener: Listener, nodes: Arc<Nodes>) {
    let places = Arc::new(Semaphore::new(MAX_HANDSHAKES));
    loop {
        let Ok(place) = Arc::clone(&places).acquire_owned().await else {
            return;
        };
        let Some(pending) = listener.accept().await else { return };
        let nodes = Arc::clone(&nodes);
        tokio::spawn(async move {
            let remote = pending.remote_address();
            let connected = pending.complete(FIRST_MESSAGE_DEADLINE).await;
            drop(place);
            let ended = match connected {
                Ok(connection) => nodes.connection(connection).await,
                Err(error) => Err(error.into()),
            };
            if let Err(error) = ended {
                tracing::warn!(%remote, "connection ended: {error:#}");
            }
        });
    }
}

impl Nodes {
    async fn connection(&self, connection: Connection) -> anyhow::Result<()> {
        match connection.subject() {
            Some(Subject::Node(node)) => {
                let node = *node;
                self.node(node, connection)
                    .await
                    .with_context(|| format!("node {node}"))
            }
            None => tokio::time::timeout(FIRST_MESSAGE_DEADLINE, self.joins.serve(&connection)).await?,
            Some(other) => {
                let reason = format!("a certificate of '{other}' opens nothing here; nodes dial in");
                connection.close(CloseCode::Refused, &reason);
                bail!(reason)
            }
        }
    }

    async fn node(&self, node: NodeId, connection: Connection) -> anyhow::Result<()> {
        let (mut to, mut from) = tokio::time::timeout(FIRST_MESSAGE_DEADLINE, connection.accept_stream()).await??;
        let first = tokio::time::timeout(FIRST_MESSAGE_DEADLINE, from.recv::<NodeMessage>()).await??;
        let Some(NodeMessage::Hello(hello)) = first else {
            bail!("the first message is no hello")
        };
        if !VERSION.accepts(hello.version) {
            let reason = format!(
                "the head node speaks version {VERSION}, the node {}: update one",
                hello.version
            );
            to.send(&HeadMessage::Refused { reason: reason.clone() }).await?;
            return end(&connection, &mut to, reason).await;
        }
        let boot = hello.boot;
        tracing::info!(%node, name = %hello.name, remote = %connection.remote_address(), "node connected");

        let (messages, mut waiting) = mpsc::channel(MESSAGES_AHEAD);
        let link = self.links.attach(node, connection.clone(), messages);
        self.arrivals.send(Arrival::Hello { node, link, hello }).await?;
        let authority = &self.authority;
        let send = async {
            let (mut batch, mut refused) = (Vec::new(), None);
            while waiting.recv_many(&mut batch, MESSAGES_AHEAD).await > 0 {
                for message in &mut batch {
                    authority.fill_in(message);
                    refused = refused.or_else(|| refusal(message));
                }
                to.send_all(&batch).await?;
                batch.clear();
                if let Some(reason) = refused {
                    return end(&connection, &mut to, reason).await;
                }
            }
            anyhow::Ok(())
        };
        let ended = tokio::select! {
            ended = send => ended,
            ended = self.hear(node, link, boot, &mut from) => ended,
            reason = connection.closed() => Err(reason.into()),
        };
        if self.links.detach(node, link) {
            self.arrivals.send(Arrival::Gone { node }).await?;
        }
        tracing::info!(%node, "node disconnected");
        ended
    }

    async fn hear(&self, node: NodeId, link: LinkId, boot: BootId, from: &mut StreamReader) -> anyhow::Result<()> {
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
                NodeMessage::Hello(_) | NodeMessage::Unknown => bail!("a message that does not belong here"),
            };
            self.arrivals.send(arrival).await?;
        }
        Ok(())
    }
}

fn refusal(message: &HeadMessage) -> Option<String> {
    match message {
        HeadMessage::Refused { reason } => Some(reason.clone()),
        _ => None,
    }
}

/// Ends a connection after its peer has heard why.
async fn end(connection: &Connection, to: &mut StreamWriter, reason: String) -> anyhow::Result<()> {
    // A peer that does not take the message hears the reason from the close.
    let _ = to.finish_and_wait(HEARD).await;
    connection.close(CloseCode::Refused, &reason);
    bail!(reason)
}
