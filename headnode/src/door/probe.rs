//! Which nodes reach each other: each is asked to try all the others, and all of them try at once.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use proto::client::{ProbedNode, Refusal, RefusalCode, Reply};
use proto::control::{MAX_PROBES, NodeRequest, ProbeReply};
use proto::ids::NodeName;
use proto::model::node::NodeRow;
use proto::model::owner::{Caller, Role};
use tokio::task::JoinSet;
use transport::control::Connection;

use super::Door;
use super::refusal::refused;

/// How long all of it may take; a node that takes longer is told as such.
const DEADLINE: Duration = Duration::from_secs(10);

/// The longest answer of a node: a line for people per peer.
const MAX_REPLY_BYTES: usize = MAX_PROBES * 1024;

impl Door {
    /// Has the named nodes, or all that answer, try each other; a single one tries all.
    pub(super) async fn probe(&self, who: &Caller, names: &[NodeName]) -> Result<Reply, Refusal> {
        if who.role < Role::Operator {
            let what = "only operators and administrators may have nodes try each other";
            return Err(refused(RefusalCode::Forbidden, what, "ask one of them"));
        }
        let mut asked = self.view.node_rows(names)?;
        asked.sort_by(|a, b| scheduler::natural_order(a.name.as_str(), b.name.as_str()));
        asked.dedup_by(|a, b| a.id == b.id);
        if asked.len() > MAX_PROBES {
            return Err(refused(
                RefusalCode::Invalid,
                format!(
                    "{} nodes are too many to try each other: {MAX_PROBES} are the most",
                    asked.len()
                ),
                "name some of them",
            ));
        }
        let mut peers = if asked.len() == 1 {
            self.view.node_rows(&[])?
        } else {
            asked.clone()
        };
        peers.truncate(MAX_PROBES);

        let mut trials = JoinSet::new();
        for node in &asked {
            let others: Vec<(NodeName, SocketAddr)> = peers
                .iter()
                .filter(|peer| peer.id != node.id)
                .filter_map(|peer| Some((peer.name.clone(), peer.peer?)))
                .collect();
            let name = node.name.clone();
            let connection = self.links.connection(node.id);
            trials.spawn(async move { (name, try_all(connection, others).await) });
        }
        let mut told = BTreeMap::new();
        while let Some(trial) = trials.join_next().await {
            if let Ok((name, outcome)) = trial {
                told.insert(name, outcome);
            }
        }
        let nodes = asked.into_iter().map(|row| probed(row, &mut told)).collect();
        Ok(Reply::Probed { nodes })
    }
}

type Reached = Vec<(NodeName, Result<u64, String>)>;

fn probed(row: NodeRow, told: &mut BTreeMap<NodeName, Result<Reached, String>>) -> ProbedNode {
    let outcome = told.remove(&row.name);
    let (reached, unasked) = match outcome {
        Some(Ok(reached)) => (reached, None),
        Some(Err(reason)) => (Vec::new(), Some(reason)),
        None => (Vec::new(), Some("the trial failed on the head node".to_owned())),
    };
    ProbedNode {
        node: row.name,
        reached,
        unasked,
    }
}

async fn try_all(connection: Option<Connection>, others: Vec<(NodeName, SocketAddr)>) -> Result<Reached, String> {
    let Some(connection) = connection else {
        return Err("it is not connected".to_owned());
    };
    if others.is_empty() {
        return Ok(Vec::new());
    }
    let peers = others.iter().map(|(_, peer)| *peer).collect();
    let reply = match tokio::time::timeout(DEADLINE, ask(&connection, peers)).await {
        Ok(Ok(Some(reply))) => reply,
        Ok(Ok(None)) => return Err("it gave no answer; is it of this release?".to_owned()),
        Ok(Err(error)) => return Err(format!("{error:#}")),
        Err(_) => return Err(format!("it did not answer within {} s", DEADLINE.as_secs())),
    };
    let mut results = reply.results.into_iter();
    let reached = others.into_iter().map(|(name, peer)| {
        let outcome = match results.next() {
            Some(result) if result.peer == peer => result.outcome,
            _ => Err("the node left it out".to_owned()),
        };
        (name, outcome)
    });
    Ok(reached.collect())
}

async fn ask(connection: &Connection, peers: Vec<SocketAddr>) -> anyhow::Result<Option<ProbeReply>> {
    let (mut to, mut from) = connection.open_stream().await?;
    from.set_limit(MAX_REPLY_BYTES);
    to.send(&NodeRequest::Probe { peers }).await?;
    Ok(from.recv().await?)
}
