//! Commands about nodes, groups and pools.

use proto::client::{NodeView, Reply, Request};
use proto::ids::GroupName;

use super::Door;
use crate::answer::Answer;
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::request::NodeCommand;

/// Carries out one.
pub(super) async fn run(command: NodeCommand, door: &Door) -> Result<Answer, CliError> {
    let mut client = door.connect().await?;
    let wrong = |asked| Err(ClientError::Unexpected { asked }.into());
    let request = match &command {
        NodeCommand::List { .. } => Request::ListNodes,
        NodeCommand::View(node) => Request::ViewNode { node: node.clone() },
        NodeCommand::Switch { nodes, admin, requeue } => Request::SwitchNodes {
            nodes: nodes.clone(),
            admin: *admin,
            requeue: *requeue,
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
        NodeCommand::PoolList => Request::ListPools,
        NodeCommand::PoolView(pool) => Request::ViewPool { pool: pool.clone() },
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
        (NodeCommand::PoolList, Reply::Pools { pools }) => Ok(Answer::Pools(pools)),
        (NodeCommand::PoolView(_), Reply::Pools { pools }) => match pools.into_iter().next() {
            Some(pool) => Ok(Answer::Pool(Box::new(pool))),
            None => wrong("pool view"),
        },
        (
            NodeCommand::Switch { .. }
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
