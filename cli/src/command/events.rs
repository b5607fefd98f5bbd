//! `muster events` and `node watch`: what happened, told as it comes. Goes on after a restart of the head node where it was.

use proto::client::{Happened, Reply, Request};
use proto::event::Event;
use proto::ids::{NodeId, NodeName, Sequence};
use serde_json::json;

use super::Door;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::{EventLines, Form, Look, Teller};

/// Tells events until there are no more, or for ever.
///
/// # Errors
/// When the head node says no, or nobody reads on.
pub(super) async fn run(follow: bool, after: Option<Sequence>, look: Look, door: &Door) -> Result<(), CliError> {
    tell(follow, after, Which::All, look, door).await
}

/// `node watch`: what happens to these nodes, or to all, for ever.
///
/// # Errors
/// A name that no node has; and as [`run`].
pub(super) async fn watch(nodes: Vec<NodeName>, look: Look, door: &Door) -> Result<(), CliError> {
    tell(true, None, Which::Nodes(nodes), look, door).await
}

/// Which events are told.
enum Which {
    All,
    /// Of these nodes; empty means of all nodes.
    Nodes(Vec<NodeName>),
}

async fn tell(follow: bool, after: Option<Sequence>, which: Which, look: Look, door: &Door) -> Result<(), CliError> {
    let mut client = door.connect().await?;
    let names: Vec<(NodeId, NodeName)> = match client.request(Request::ListNodes).await? {
        Reply::Nodes { nodes } => nodes.into_iter().map(|node| (node.row.id, node.row.name)).collect(),
        _ => Vec::new(),
    };
    if let Which::Nodes(wanted) = &which
        && let Some(unknown) = wanted.iter().find(|name| names.iter().all(|(_, known)| known != *name))
    {
        let nearest = crate::args::nearest(unknown.as_str(), names.iter().map(|(_, name)| name.as_str()));
        return Err(CliError::NoNode {
            node: unknown.clone(),
            nearest: nearest.map(str::to_owned),
        });
    }
    let form = look.form.clone();
    let mut told = Told {
        last: after,
        lines: EventLines::new(look, names),
        teller: Teller::new(),
        form,
        which,
    };
    loop {
        let error = match told.follow(follow, &mut client).await {
            Err(CliError::Client(error)) if follow && error.is_passing() => error,
            other => return other,
        };
        told.teller.remark("the head node went away; waiting for it");
        client = door.reconnect(error).await?;
    }
}

struct Told {
    last: Option<Sequence>,
    lines: EventLines,
    teller: Teller,
    form: Form,
    which: Which,
}

impl Told {
    async fn follow(&mut self, follow: bool, client: &mut Client) -> Result<(), CliError> {
        let request = Request::Events {
            after: self.last,
            follow,
        };
        client.open(&request).await?;
        loop {
            match client.next().await? {
                Reply::Events { events, missed } => {
                    if missed {
                        self.teller.remark("older events are no longer kept");
                    }
                    for happened in &events {
                        self.tell(happened)?;
                    }
                }
                Reply::Done { .. } => return Ok(()),
                _ => return Err(ClientError::Unexpected { asked: "muster events" }.into()),
            }
            // Without following there is one answer.
            if !follow {
                return Ok(());
            }
        }
    }

    fn is_wanted(&mut self, happened: &Happened) -> bool {
        match (&self.which, node_of(&happened.event)) {
            (Which::All, _) => true,
            (Which::Nodes(_), None) => false,
            (Which::Nodes(wanted), Some(_)) if wanted.is_empty() => true,
            (Which::Nodes(wanted), Some(node)) => {
                let name = self.lines.name(node);
                name.is_some_and(|name| wanted.contains(name))
            }
        }
    }

    fn tell(&mut self, happened: &Happened) -> Result<(), CliError> {
        self.last = Some(happened.sequence);
        if !self.is_wanted(happened) {
            // Names that it teaches count all the same.
            self.lines.sentence(happened);
            return Ok(());
        }
        let line = match self.form {
            Form::Json => json!({
                "sequence": happened.sequence,
                "at": happened.at,
                "event": happened.event,
                "sentence": self.lines.sentence(happened),
            })
            .to_string(),
            Form::Quiet => happened.sequence.to_string(),
            _ => self.lines.line(happened),
        };
        self.teller.say(&line).map_err(CliError::Output)
    }
}

/// The node that an event is about, beside what runs there.
const fn node_of(event: &Event) -> Option<NodeId> {
    match event {
        Event::NodeJoined { node, .. }
        | Event::NodeRenewed { node, .. }
        | Event::NodeRemoved { node }
        | Event::NodeUp { node, .. }
        | Event::NodeSuspected { node, .. }
        | Event::NodeReturned { node, .. }
        | Event::NodeLost { node, .. }
        | Event::NodeSwitched { node, .. }
        | Event::NodeStartChanged { node, .. }
        | Event::NodeErrandChanged { node, .. }
        | Event::GroupJoined { node, .. }
        | Event::GroupLeft { node, .. } => Some(*node),
        _ => None,
    }
}
