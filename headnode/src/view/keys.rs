//! Whose key it is: what the head node looks up when a node connects with a certificate.

use proto::ids::{KeyHash, NodeId, NodeName};

use super::View;

/// A node as far as its certificate goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeKey {
    /// Its name.
    pub name: NodeName,
    /// The key that its certificate is for; none for a node that joined under a release that kept no keys.
    pub key: Option<KeyHash>,
}

impl View {
    /// The key of a node; none when it is not in the cluster.
    #[must_use]
    pub fn node_key(&self, node: NodeId) -> Option<NodeKey> {
        let cluster = self.cluster();
        let row = cluster.node(node)?;
        Some(NodeKey {
            name: row.name.clone(),
            key: row.key,
        })
    }
}
