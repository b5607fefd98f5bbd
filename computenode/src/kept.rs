//! What an agent has to know of an attempt, kept by the spawner across the agent's restarts.

use std::collections::BTreeSet;

use proto::control::StartOrder;
use proto::frame;
use proto::ids::{AttemptId, NodeId};
use serde::{Deserialize, Serialize};

/// An order and what this node decided about it. Read only by agents, the spawner keeps the bytes; so it may grow like
/// any message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// As it came from the head node.
    pub order: StartOrder,
    /// Cores of this node for this attempt, as the kernel counts them.
    pub core_ids: Vec<u32>,
}

impl Kept {
    /// Which attempt.
    #[must_use]
    pub const fn attempt(&self) -> AttemptId {
        self.order.attempt
    }

    /// Whether that node starts the task's command.
    #[must_use]
    pub fn is_primary(&self, node: NodeId) -> bool {
        self.order.nodes.first().is_some_and(|first| first.node == node)
    }

    /// For the spawner.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        // The order has just come in a frame, so it fits into one.
        if let Err(error) = frame::encode(self, &mut bytes) {
            tracing::error!(attempt = %self.attempt(), "{error}");
        }
        bytes
    }

    /// From the spawner; none when an agent of another release wrote something that cannot be read.
    #[must_use]
    pub fn of_bytes(bytes: &[u8]) -> Option<Self> {
        let (start, end) = frame::split(bytes).ok()??;
        frame::decode(bytes.get(start..end)?).ok()
    }
}

/// Which cores are taken. Attempts get cores of their own while there are enough; a node that offers more slots than
/// it has cores lets them overlap.
#[derive(Debug, Clone)]
pub(crate) struct Cores {
    all: Vec<u32>,
    taken: BTreeSet<u32>,
}

impl Cores {
    pub(crate) const fn new(all: Vec<u32>) -> Self {
        Self {
            all,
            taken: BTreeSet::new(),
        }
    }

    /// Takes so many, free ones first, in the kernel's order.
    pub(crate) fn take(&mut self, count: u32) -> Vec<u32> {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(self.all.len());
        let free = self.all.iter().filter(|core| !self.taken.contains(core));
        let mut chosen: Vec<u32> = free.take(count).copied().collect();
        let missing = count - chosen.len();
        chosen.extend(
            self.all
                .iter()
                .filter(|core| self.taken.contains(core))
                .take(missing)
                .copied()
                .collect::<Vec<_>>(),
        );
        chosen.sort_unstable();
        self.mark(&chosen);
        chosen
    }

    /// Those of an attempt that was there before this agent.
    pub(crate) fn mark(&mut self, cores: &[u32]) {
        self.taken.extend(cores);
    }

    /// Gives them back.
    pub(crate) fn free(&mut self, cores: &[u32]) {
        for core in cores {
            self.taken.remove(core);
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proto::control::AllocatedNode;
    use proto::ids::{JobId, NodeName, TaskId, TaskNumber};
    use proto::model::job::Env;
    use proto::model::owner::Owner;
    use proto::model::role::TaskRole;

    use super::*;

    /// Attempt `attempt` of task 12.1 on these nodes, which are number 1 and on, with two slots each.
    pub(crate) fn kept(attempt: u64, nodes: &[&str]) -> Kept {
        let node = |(number, name): (u8, &&str)| AllocatedNode {
            node: NodeId(u32::from(number)),
            name: NodeName::new(name).expect("a name"),
            slots: 2,
            peer: ([127, 0, 0, 1 + number], 4000 + u16::from(number)).into(),
        };
        let order = StartOrder {
            attempt: AttemptId(attempt),
            task: TaskId::new(JobId(12), TaskNumber(1)),
            job_name: "job".to_owned(),
            task_name: "task".to_owned(),
            requeues: 0,
            owner: Owner {
                name: "alice".to_owned(),
                uid: 1000,
                gid: 1000,
            },
            nodes: (1..).zip(nodes).map(node).collect(),
            command: vec!["true".to_owned()],
            workdir: None,
            stdout: None,
            stderr: None,
            stdin: None,
            script: None,
            interactive: None,
            env: Env::new(),
            runtime_limit: None,
            exclusive: false,
            rerunnable: true,
            role: TaskRole::Task,
            coordination: None,
            common_files: Vec::new(),
            retention: None,
            pool: None,
            prepared_by: None,
            single: false,
            ahead: false,
            authority: None,
        };
        Kept {
            order,
            core_ids: vec![0, 1],
        }
    }

    #[test]
    fn an_agent_reads_what_one_before_it_kept() {
        let kept = kept(7, &["node1"]);
        assert_eq!(Kept::of_bytes(&kept.to_bytes()), Some(kept));
        assert_eq!(Kept::of_bytes(b""), None);
        assert_eq!(Kept::of_bytes(b"\0\0\0\x01x"), None);
    }

    /// An order as it was kept before roles, coordination and retention.
    #[derive(Serialize)]
    struct OldOrder {
        attempt: AttemptId,
        task: TaskId,
        job_name: String,
        task_name: String,
        requeues: u32,
        owner: Owner,
        nodes: Vec<AllocatedNode>,
        command: Vec<String>,
        workdir: Option<String>,
        stdout: Option<String>,
        stderr: Option<String>,
        env: Env,
        runtime_limit: Option<proto::units::Millis>,
        exclusive: bool,
        rerunnable: bool,
        authority: Option<proto::control::AllocationAuthority>,
    }

    #[derive(Serialize)]
    struct OldKept {
        order: OldOrder,
        core_ids: Vec<u32>,
    }

    #[test]
    fn what_an_older_agent_kept_is_read_with_nothing_in_what_it_did_not_know() {
        let Kept { order, core_ids } = kept(7, &["node1", "node2"]);
        let expected = kept(7, &["node1", "node2"]);
        let old = OldKept {
            order: OldOrder {
                attempt: order.attempt,
                task: order.task,
                job_name: order.job_name,
                task_name: order.task_name,
                requeues: order.requeues,
                owner: order.owner,
                nodes: order.nodes,
                command: order.command,
                workdir: order.workdir,
                stdout: order.stdout,
                stderr: order.stderr,
                env: order.env,
                runtime_limit: order.runtime_limit,
                exclusive: order.exclusive,
                rerunnable: order.rerunnable,
                authority: order.authority,
            },
            core_ids,
        };
        let mut bytes = Vec::new();
        frame::encode(&old, &mut bytes).expect("fits");
        assert_eq!(Kept::of_bytes(&bytes), Some(expected));
    }

    #[test]
    fn attempts_get_cores_of_their_own_while_there_are_enough() {
        let mut cores = Cores::new(vec![0, 1, 2, 3]);
        assert_eq!(cores.take(2), [0, 1]);
        assert_eq!(cores.take(1), [2]);
        assert_eq!(cores.take(2), [0, 3], "one is shared");
        cores.free(&[0, 1]);
        assert_eq!(cores.take(9), [0, 1, 2, 3]);
    }
}
