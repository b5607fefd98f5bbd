//! `muster events`: what happened, told as it comes. Goes on after a restart of the head node where it was.

use proto::client::{Happened, Reply, Request};
use proto::ids::Sequence;
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
    let mut client = door.connect().await?;
    let names = match client.request(Request::ListNodes).await? {
        Reply::Nodes { nodes } => nodes.into_iter().map(|node| (node.row.id, node.row.name)).collect(),
        _ => Vec::new(),
    };
    let form = look.form.clone();
    let mut told = Told {
        last: after,
        lines: EventLines::new(look, names),
        teller: Teller::new(),
        form,
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

    fn tell(&mut self, happened: &Happened) -> Result<(), CliError> {
        self.last = Some(happened.sequence);
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
