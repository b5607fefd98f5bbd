//! Pools, groups, tokens and nodes become state; users do beside it.

use std::collections::BTreeSet;

use proto::event::Event;
use proto::ids::{GroupName, NodeId, NodeName, PoolName};
use proto::model::node::{AdminState, Deallocation, Liveness, NodeRow};
use proto::model::pool::{Allocation, GroupRow, PoolRow, PoolSpec};
use proto::stored::RowKey;
use proto::units::Timestamp;

use super::Cluster;
use super::restore::slots_of;

impl Cluster {
    pub(super) fn apply_to_sets(&mut self, event: &Event) {
        match event {
            Event::PoolAdded {
                pool,
                slots_per_node,
                at,
            } => {
                let row = PoolRow {
                    name: pool.clone(),
                    spec: PoolSpec {
                        slots_per_node: *slots_per_node,
                        ..PoolSpec::default()
                    },
                    created_at: *at,
                    allocation: Allocation::default(),
                    resize_error: None,
                    start_job: None,
                    deleting: false,
                };
                self.pools.insert(pool.clone(), row);
                self.changes.mark(RowKey::Pool(pool.clone()));
            }
            Event::GroupAdded { group, at } => {
                self.groups.insert(
                    group.clone(),
                    GroupRow {
                        name: group.clone(),
                        created_at: *at,
                    },
                );
                self.changes.mark(RowKey::Group(group.clone()));
            }
            Event::GroupRemoved { group } => {
                self.groups.remove(group);
                self.changes.mark(RowKey::Group(group.clone()));
                for node in self.nodes.values_mut() {
                    if node.groups.remove(group) {
                        self.changes.mark(RowKey::Node(node.id));
                    }
                }
            }
            Event::GroupJoined { group, node } => {
                let group = self.spelled(group);
                self.regroup(*node, |groups| groups.insert(group));
            }
            Event::GroupLeft { group, node } => self.regroup(*node, |groups| groups.remove(group)),
            Event::TokenAdded { token } => {
                self.tokens.insert(token.hash.clone(), token.clone());
                self.changes.mark(RowKey::Token(token.hash.clone()));
            }
            Event::TokenUsed { hash } => {
                if let Some(token) = self.tokens.get_mut(hash) {
                    token.uses_left = token.uses_left.saturating_sub(1);
                    self.changes.mark(RowKey::Token(hash.clone()));
                }
            }
            Event::TokenRemoved { hash } => {
                self.tokens.remove(hash);
                self.changes.mark(RowKey::Token(hash.clone()));
            }
            _ => {}
        }
    }

    /// A group's name as it was first written.
    fn spelled(&self, group: &GroupName) -> GroupName {
        self.groups
            .get(group)
            .map_or_else(|| group.clone(), |row| row.name.clone())
    }

    fn regroup(&mut self, node: NodeId, change: impl FnOnce(&mut BTreeSet<GroupName>) -> bool) {
        if let Some(row) = self.nodes.get_mut(&node)
            && change(&mut row.groups)
        {
            self.changes.mark(RowKey::Node(node));
        }
    }

    pub(super) fn apply_to_node(&mut self, event: &Event) {
        match event {
            Event::NodeJoined {
                node,
                name,
                pool,
                groups,
                key,
                certificate_ends,
                at,
            } => {
                self.meta.next_node = self.meta.next_node.max(NodeId(node.0.saturating_add(1)));
                self.names.insert(name.clone(), *node);
                let spelled = groups.iter().map(|group| self.spelled(group)).collect();
                let row = self
                    .nodes
                    .entry(*node)
                    .or_insert_with(|| new_node(*node, name.clone(), pool.clone(), *at));
                row.pool = pool.clone();
                row.groups = spelled;
                row.key = Some(*key);
                row.certificate_ends = Some(*certificate_ends);
                self.update_node(*node, |_| {});
            }
            Event::NodeUp {
                node,
                boot,
                inventory,
                peer,
                clock_ahead_ms,
                at,
            } => {
                let pool = self.nodes.get(node).and_then(|row| self.pools.get(&row.pool));
                let slots_per_node = pool.and_then(|pool| pool.spec.slots_per_node);
                self.update_node(*node, |row| {
                    row.boot = Some(*boot);
                    row.inventory = Some((**inventory).clone());
                    row.peer = Some(*peer);
                    row.clock_ahead_ms = *clock_ahead_ms;
                    row.slots = slots_of(row, slots_per_node);
                    if !matches!(row.liveness, Liveness::Up { .. }) {
                        row.liveness = Liveness::Up { since: *at };
                    }
                });
            }
            Event::NodeSuspected { node, at } => {
                self.update_node(*node, |row| row.liveness = Liveness::Suspect { since: *at });
            }
            Event::NodeReturned { node, at } => {
                self.update_node(*node, |row| row.liveness = Liveness::Up { since: *at });
            }
            Event::NodeLost { node, at } => {
                self.update_node(*node, |row| row.liveness = Liveness::Lost { since: *at });
            }
            Event::NodeSwitched { node, admin, drain } => self.update_node(*node, |row| {
                row.admin = *admin;
                row.drain = *drain;
            }),
            Event::NodeRenewed { node, certificate_ends } => {
                self.update_node(*node, |row| row.certificate_ends = Some(*certificate_ends));
            }
            Event::NodeRemoved { node } => self.remove_node(*node),
            _ => {}
        }
    }

    /// Its number is never given again.
    fn remove_node(&mut self, node: NodeId) {
        let Some(row) = self.nodes.remove(&node) else { return };
        self.names.remove(&row.name);
        self.heard.remove(&node);
        self.floor.remove(node);
        self.windows.forget(node);
        self.changes.mark(RowKey::Node(node));
    }

    pub(super) fn update_node(&mut self, node: NodeId, change: impl FnOnce(&mut NodeRow)) {
        if let Some(row) = self.nodes.get_mut(&node) {
            change(row);
            self.floor.refresh(row);
            self.silence_due = None;
            self.changes.mark(RowKey::Node(node));
        }
    }
}

fn new_node(id: NodeId, name: NodeName, pool: PoolName, at: Timestamp) -> NodeRow {
    NodeRow {
        id,
        name,
        pool,
        groups: BTreeSet::new(),
        inventory: None,
        slots: 0,
        admin: AdminState::Online,
        liveness: Liveness::Joined,
        boot: None,
        peer: None,
        joined_at: at,
        key: None,
        certificate_ends: None,
        clock_ahead_ms: None,
        drain: Deallocation::default(),
        start: None,
        errand: None,
        retained_until: None,
        errand_refused: None,
    }
}
