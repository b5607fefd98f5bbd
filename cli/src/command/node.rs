//! Commands about nodes and groups.

use proto::client::{NodeView, Reply, Request};
use proto::ids::GroupName;

use super::{Door, events};
use crate::answer::Answer;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::Look;
use crate::request::NodeCommand;

/// Carries out one.
pub(super) async fn run(command: NodeCommand, look: Look, door: &Door) -> Result<Answer, CliError> {
    if let NodeCommand::Watch(nodes) = command {
        events::watch(nodes, look, door).await?;
        return Ok(Answer::Told);
    }
    let mut client = door.connect().await?;
    let wrong = |asked| Err(ClientError::Unexpected { asked }.into());
    let request = match &command {
        NodeCommand::List { .. } => Request::ListNodes,
        // Told above, for as long as somebody listens.
        NodeCommand::Watch(_) => return Ok(Answer::Told),
        NodeCommand::View(node) => Request::ViewNode { node: node.clone() },
        NodeCommand::Switch { nodes, admin, option } => Request::SwitchNodes {
            nodes: nodes.clone(),
            admin: *admin,
            option: *option,
        },
        NodeCommand::Restart { nodes, option, reimage } => Request::RestartNodes {
            nodes: nodes.clone(),
            option: *option,
            reimage: *reimage,
        },
        NodeCommand::Remove { nodes, force } => Request::RemoveNodes {
            nodes: nodes.clone(),
            force: *force,
        },
        NodeCommand::GroupList => Request::ListGroups,
        NodeCommand::GroupAdd { group, nodes } => Request::AddToGroup {
            group: group.clone(),
            nodes: nodes.clone(),
        },
        NodeCommand::GroupRemove { group, nodes } => Request::RemoveFromGroup {
            group: group.clone(),
            nodes: nodes.clone(),
        },
    };
    match (command, client.request(request).await?) {
        (NodeCommand::List { group, states }, Reply::Nodes { nodes }) => {
            let fits = |node: &NodeView| {
                group.as_ref().is_none_or(|group| node.row.groups.contains(group))
                    && (states.is_empty() || states.contains(&node.row.admin))
            };
            let nodes: Vec<NodeView> = nodes.into_iter().filter(fits).collect();
            match group {
                Some(group) if nodes.is_empty() => check_group(group, &mut client).await?,
                _ => {}
            }
            Ok(Answer::Nodes(nodes))
        }
        (NodeCommand::View(_), Reply::Nodes { nodes }) => match nodes.into_iter().next() {
            Some(node) => Ok(Answer::Node(Box::new(node))),
            None => wrong("node view"),
        },
        (NodeCommand::GroupList, Reply::Groups { groups }) => Ok(Answer::Groups(groups)),
        (
            NodeCommand::Switch { .. }
            | NodeCommand::Restart { .. }
            | NodeCommand::Remove { .. }
            | NodeCommand::GroupAdd { .. }
            | NodeCommand::GroupRemove { .. },
            Reply::Done { notes, .. },
        ) => Ok(Answer::Notes(notes)),
        _ => wrong("this command"),
    }
}

/// A group without nodes is there; one that is not there is a slip.
pub(super) async fn check_group(group: GroupName, client: &mut Client) -> Result<(), CliError> {
    let Reply::Groups { groups } = client.request(Request::ListGroups).await? else {
        return Err(ClientError::Unexpected {
            asked: "nodegroup list",
        }
        .into());
    };
    let known: Vec<GroupName> = groups.into_iter().map(|group| group.name).collect();
    if known.contains(&group) {
        Ok(())
    } else {
        Err(CliError::NoGroup { group, known })
    }
}
