//! Join tokens, new nodes, and the certificates of nodes. A token is known by the hash of its secret, ends, and is counted.

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{KeyHash, NodeId, NodeName, PoolName};
use proto::model::node::{Liveness, NodeRow};
use proto::stored::TokenRow;
use proto::units::Timestamp;

use super::admin::{MAX_GROUPS, MAX_POOLS, add_missing_groups};
use super::ledger::Ledger;
use super::liveness::certified;
use super::pool::refuse_deleting;
use super::start_task;
use crate::input::Answer;
use crate::refusal::{busy, counted, forbidden, invalid, wrong_state};

/// The most tokens that are good at one time.
const MAX_TOKENS: usize = 1000;

/// The most groups of one token.
const MAX_TOKEN_GROUPS: usize = 64;

pub(super) fn make_token(ledger: &mut Ledger<'_>, token: &TokenRow) -> Result<Answer, Refusal> {
    let now = ledger.now.wall;
    if token.uses_left == 0 {
        return Err(invalid(
            "a token for 0 nodes lets nobody in",
            "give the number of nodes that may join with it",
        ));
    }
    if token.expires_at <= now {
        return Err(invalid(
            "a token with no lifetime lets nobody in",
            "give a longer lifetime",
        ));
    }
    if token.groups.len() > MAX_TOKEN_GROUPS {
        return Err(invalid(
            format!("a token with {} groups", token.groups.len()),
            "use 64 groups at most",
        ));
    }
    let expired: Vec<String> = ledger
        .cluster
        .tokens()
        .filter(|t| t.expires_at <= now)
        .map(|t| t.hash.clone())
        .collect();
    if ledger.cluster.tokens().count() - expired.len() >= MAX_TOKENS {
        return Err(busy(
            format!("{MAX_TOKENS} join tokens are good already"),
            "use one of them, or wait until they end",
        ));
    }
    let pool = ledger.cluster.pool(&token.pool);
    pool.map_or(Ok(()), refuse_deleting)?;
    let new_pool = pool.is_none();
    if new_pool && ledger.cluster.pools().count() >= MAX_POOLS {
        return Err(busy(
            format!("there are {MAX_POOLS} pools already"),
            "use one of them; see 'pool list'",
        ));
    }
    let new_groups = token
        .groups
        .iter()
        .filter(|group| ledger.cluster.group(group).is_none())
        .count();
    if ledger.cluster.groups().count() + new_groups > MAX_GROUPS {
        return Err(busy(
            format!("there may be {MAX_GROUPS} node groups"),
            "use one that exists; see 'nodegroup list'",
        ));
    }
    for hash in expired {
        ledger.push(Event::TokenRemoved { hash });
    }
    if new_pool {
        ledger.push(Event::PoolAdded {
            pool: token.pool.clone(),
            slots_per_node: None,
            at: now,
        });
    }
    add_missing_groups(ledger, &token.groups);
    ledger.push(Event::TokenAdded { token: token.clone() });
    Ok(Answer::None)
}

/// A node of a name that is known takes its place, and the certificate of the older one is void.
pub(super) fn join(
    ledger: &mut Ledger<'_>,
    hash: &str,
    name: &NodeName,
    key: KeyHash,
    certificate_ends: Timestamp,
) -> Result<Answer, Refusal> {
    const AGAIN: &str = "make a new one on the head node: 'muster node join-command'";
    let now = ledger.now.wall;
    let Some(token) = ledger.cluster.token(hash) else {
        return Err(forbidden("this cluster does not know the join token", AGAIN));
    };
    if token.expires_at <= now {
        return Err(forbidden(
            format!("the join token ended {} ago", now.since(token.expires_at)),
            AGAIN,
        ));
    }
    if token.uses_left == 0 {
        return Err(forbidden("the join token is used up", AGAIN));
    }
    let known = ledger.cluster.node_by_name(name);
    if known.is_some_and(|row| matches!(row.liveness, Liveness::Up { .. })) {
        return Err(wrong_state(
            format!("a node named '{name}' is in the cluster and answers"),
            "give this one another name with --name",
        ));
    }
    let held = known.map_or(0, |row| ledger.cluster.attempts_on(row.id).count());
    if held > 0 {
        // Its hello would prove that all it held is gone, and a machine of the same name proves nothing of the kind.
        return Err(wrong_state(
            format!("the node '{name}' still holds {}", counted(held, "task")),
            format!(
                "give this one another name with --name, or, when the old one is gone for good, take it out first: \
                 muster node remove {name} --force"
            ),
        ));
    }
    // A node that lost its folder keeps its number: what it held is settled by its hello.
    let node = known.map_or_else(|| ledger.cluster.meta().next_node, |row| row.id);
    add_missing_groups(ledger, &token.groups);
    ledger.push(Event::TokenUsed { hash: hash.to_owned() });
    let (pool, groups) = (token.pool.clone(), token.groups.clone());
    if let Some(row) = known {
        leave_old_life(ledger, row, &pool);
    }
    ledger.nodes.joined.insert(node, pool.clone());
    ledger.nodes.pools_touched.insert(pool.clone());
    let joined = Event::NodeJoined {
        node,
        name: name.clone(),
        pool: pool.clone(),
        groups: groups.clone(),
        key,
        certificate_ends,
        at: now,
    };
    ledger.push(joined);
    Ok(Answer::Joined { node, pool, groups })
}

/// A node that joins again is to stay, and has nothing to do any more with a pool that it is not in.
fn leave_old_life(ledger: &mut Ledger<'_>, row: &NodeRow, pool: &PoolName) {
    if ledger.duty(row).leaves() {
        ledger.end_errand(row, None);
    }
    if row.pool != *pool {
        ledger.nodes.pools_touched.insert(row.pool.clone());
        start_task::forget(ledger, row, "joined another pool");
        start_task::at_move(ledger, row, pool);
    }
}

/// A new certificate for the key that a node has, in time or after the old one has expired.
pub(super) fn renew(
    ledger: &mut Ledger<'_>,
    node: NodeId,
    key: KeyHash,
    certificate_ends: Timestamp,
) -> Result<Answer, Refusal> {
    let row = certified(ledger, node, key)?;
    ledger.push(match row.key {
        Some(_) => Event::NodeRenewed { node, certificate_ends },
        // It joined under a release that kept no keys; from now on it is bound to this one.
        None => Event::NodeJoined {
            node,
            name: row.name.clone(),
            pool: row.pool.clone(),
            groups: row.groups.iter().cloned().collect(),
            key,
            certificate_ends,
            at: ledger.now.wall,
        },
    });
    Ok(Answer::None)
}
