//! The read model: a second cluster state that follows the first one's events after their flush.
//!
//! Every list, view, wait and `why` is served here, so reading never enters the loop, and nobody sees what a crash could
//! take back. Jobs that are over have left memory; they are read from the store.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use proto::client::{GroupView, JobFilter, MAX_ROWS, NodeView, PoolView, Refusal, RefusalCode, Reply};
use proto::event::Event;
use proto::ids::{JobId, NodeId, NodeName, PoolName, Sequence, TaskId};
use proto::model::job::JobRow;
use proto::model::node::{AdminState, Liveness, NodeRow};
use proto::model::owner::{Caller, Role};
use proto::model::task::TaskRow;
use proto::stored::{Row, RowKey};
use scheduler::Cluster;
use tokio::sync::watch;

use crate::store::{Store, StoreError};
use crate::weight;

/// About how many bytes of rows one list may have; half of the largest frame.
const MAX_LIST_BYTES: usize = proto::frame::MAX_FRAME_BYTES / 2;

/// How many jobs one list looks at: somebody with few jobs must not read the history of everybody.
const MAX_LOOKED_AT: usize = 200_000;

/// What can be read.
pub struct View {
    /// Guards the replica; held for one apply or one answer, never across a wait.
    cluster: RwLock<Cluster>,
    store: Arc<dyn Store>,
    changed: watch::Sender<Sequence>,
}

impl std::fmt::Debug for View {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("View")
            .field("changed", &self.changed)
            .finish_non_exhaustive()
    }
}

impl View {
    /// A view that begins as `cluster` is.
    #[must_use]
    pub fn new(cluster: Cluster, store: Arc<dyn Store>) -> Self {
        let (changed, _) = watch::channel(cluster.sequence());
        Self {
            cluster: RwLock::new(cluster),
            store,
            changed,
        }
    }

    /// Follows the events of one flushed round.
    pub fn apply(&self, events: &[Event], sequence: Sequence) {
        if events.is_empty() {
            return;
        }
        {
            let mut cluster = self.cluster.write().unwrap_or_else(PoisonError::into_inner);
            for event in events {
                cluster.apply(event);
            }
            // The rows are stored already.
            drop(cluster.take_changes());
        }
        self.changed.send_replace(sequence);
    }

    /// Wakes at every change of the cluster.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<Sequence> {
        self.changed.subscribe()
    }

    fn cluster(&self) -> RwLockReadGuard<'_, Cluster> {
        // A panic in `apply` ends the committer and with it the process; a reader may finish.
        self.cluster.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// One job that the caller may see.
    ///
    /// # Errors
    /// A refusal when there is none, or the store cannot be read.
    pub fn job(&self, caller: &Caller, id: JobId) -> Result<JobRow, Refusal> {
        let (live, known) = {
            let cluster = self.cluster();
            (cluster.job(id).cloned(), id < cluster.next_job())
        };
        let found = match live {
            Some(job) => Some(job),
            // The store may be one flush ahead of what anybody was told.
            None if !known => None,
            None => match self.store.row(&RowKey::Job(id)).map_err(|error| unreadable(&error))? {
                Some(Row::Job(job)) => Some(*job),
                _ => None,
            },
        };
        // Other users' jobs are as if they were not there.
        found
            .filter(|job| caller.may_touch(&job.owner))
            .ok_or_else(|| no_job(id))
    }

    /// Jobs, newest first.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn jobs(&self, caller: &Caller, filter: &JobFilter) -> Result<Reply, Refusal> {
        let mut jobs = Vec::new();
        let (mut more, mut bytes, mut looked_at) = (false, 0, 0);
        let mut take = |job: JobRow| {
            looked_at += 1;
            if is_shown(&job, caller, filter) {
                bytes += weight::of_job(&job);
                jobs.push(job);
            }
            more = jobs.len() == MAX_ROWS || bytes > MAX_LIST_BYTES || looked_at == MAX_LOOKED_AT;
            !more
        };
        if filter.ended || filter.states.iter().any(|state| is_ended_word(state)) {
            // The store may be one flush ahead; what is not in the view yet, or lives there, is told as the view has it.
            let newest = self.cluster().next_job();
            let as_seen = &mut |row: JobRow| {
                let live = self.cluster().job(row.id).cloned();
                take(live.unwrap_or(row))
            };
            self.store
                .jobs_down(Some(newest), as_seen)
                .map_err(|error| unreadable(&error))?;
        } else {
            let cluster = self.cluster();
            let mut live: Vec<&JobRow> = cluster.jobs().collect();
            live.sort_unstable_by_key(|job| std::cmp::Reverse(job.id));
            for job in live {
                if !take(job.clone()) {
                    break;
                }
            }
        }
        Ok(Reply::Jobs { jobs, more })
    }

    /// Why a job waits.
    ///
    /// # Errors
    /// A refusal when the caller sees no such job.
    pub fn why(&self, caller: &Caller, id: JobId) -> Result<Reply, Refusal> {
        let job = Box::new(self.job(caller, id)?);
        let why = scheduler::explain(&self.cluster(), id).map(Box::new);
        Ok(Reply::Why { job, why })
    }

    /// Tasks of a job, in order.
    ///
    /// # Errors
    /// A refusal when the caller sees no such job, or the store cannot be read.
    pub fn tasks(&self, caller: &Caller, id: JobId, from: u32) -> Result<Reply, Refusal> {
        self.job(caller, id)?;
        let mut tasks: Vec<TaskRow> = Vec::new();
        let (mut more, mut bytes) = (false, 0);
        let mut take = |task: TaskRow| {
            more = tasks.len() == MAX_ROWS || bytes > MAX_LIST_BYTES;
            if !more {
                bytes += weight::of_task(&task);
                tasks.push(task);
            }
            !more
        };
        let live = {
            let cluster = self.cluster();
            let live = cluster.job(id).is_some();
            for task in cluster.tasks_of(id).filter(|task| task.id.number.0 >= from) {
                if !take(task.clone()) {
                    break;
                }
            }
            live
        };
        if !live {
            self.store
                .tasks_up(id, from, &mut take)
                .map_err(|error| unreadable(&error))?;
        }
        let names = self.names(tasks.iter().flat_map(|task| task.last_nodes.iter().copied()));
        Ok(Reply::Tasks { tasks, names, more })
    }

    /// One task that the caller may see.
    ///
    /// # Errors
    /// A refusal when there is none, or the store cannot be read.
    pub fn task(&self, caller: &Caller, id: TaskId) -> Result<TaskRow, Refusal> {
        let job = self.job(caller, id.job)?;
        if let Some(task) = self.cluster().task(id) {
            return Ok(task.clone());
        }
        match self.store.row(&RowKey::Task(id)).map_err(|error| unreadable(&error))? {
            Some(Row::Task(task)) => Ok(*task),
            _ => {
                let tasks = job.counts.total();
                let plural = if tasks == 1 { "task, 1" } else { "tasks, 1 to" };
                let last = if tasks == 1 { String::new() } else { format!(" {tasks}") };
                Err(Refusal {
                    code: RefusalCode::NotFound,
                    what: format!("there is no task {id}: job {} has {tasks} {plural}{last}", id.job),
                    remedy: format!("see 'task list {}'", id.job),
                })
            }
        }
    }

    /// Names of nodes, each once.
    #[must_use]
    pub fn names(&self, nodes: impl Iterator<Item = NodeId>) -> Vec<(NodeId, NodeName)> {
        let cluster = self.cluster();
        let known = nodes.filter_map(|id| cluster.node(id).map(|node| (id, node.name.clone())));
        known.collect::<BTreeMap<_, _>>().into_iter().collect()
    }

    /// All nodes by name, or one.
    ///
    /// # Errors
    /// A refusal when there is no node of that name.
    pub fn nodes(&self, only: Option<&NodeName>) -> Result<Reply, Refusal> {
        let cluster = self.cluster();
        let mut rows: Vec<&NodeRow> = cluster.nodes().collect();
        rows.sort_by(|a, b| scheduler::natural_order(a.name.as_str(), b.name.as_str()));
        if let Some(name) = only {
            rows.retain(|row| row.name == *name);
            if rows.is_empty() {
                let names = cluster.nodes().map(|node| node.name.as_str());
                return Err(scheduler::unknown("node", name.as_str(), names, "see 'node list'"));
            }
        }
        let mut tasks: BTreeMap<NodeId, Vec<TaskId>> = BTreeMap::new();
        for attempt in cluster.attempts() {
            for share in attempt
                .shares
                .iter()
                .filter(|share| share.held == proto::model::attempt::Held::Yes)
            {
                tasks.entry(share.node).or_default().push(attempt.task);
            }
        }
        let view = |row: &NodeRow| NodeView {
            row: row.clone(),
            slots_held: cluster.slots_held(row.id),
            tasks: tasks.remove(&row.id).unwrap_or_default(),
        };
        Ok(Reply::Nodes {
            nodes: rows.into_iter().map(view).collect(),
        })
    }

    /// All groups by name, with their nodes.
    #[must_use]
    pub fn groups(&self) -> Reply {
        let cluster = self.cluster();
        let members =
            |group: &proto::ids::GroupName| names_of(cluster.nodes().filter(|node| node.groups.contains(group)));
        let groups = cluster.groups().map(|row| GroupView {
            name: row.name.clone(),
            nodes: members(&row.name),
        });
        Reply::Groups {
            groups: groups.collect(),
        }
    }

    /// All pools by name, or one.
    ///
    /// # Errors
    /// A refusal when there is no pool of that name.
    pub fn pools(&self, only: Option<&PoolName>) -> Result<Reply, Refusal> {
        let cluster = self.cluster();
        let mut pools = Vec::new();
        for row in cluster.pools().filter(|row| only.is_none_or(|name| row.name == *name)) {
            let nodes: Vec<&NodeRow> = cluster.nodes().filter(|node| node.pool == row.name).collect();
            let ready: Vec<&NodeRow> = nodes.iter().copied().filter(|node| is_ready(node)).collect();
            pools.push(PoolView {
                name: row.name.clone(),
                slots_per_node: row.slots_per_node,
                ready: u32::try_from(ready.len()).unwrap_or(u32::MAX),
                slots: ready.iter().map(|node| node.slots).sum(),
                slots_held: ready.iter().map(|node| cluster.slots_held(node.id)).sum(),
                nodes: names_of(nodes.into_iter()),
            });
        }
        match only {
            Some(name) if pools.is_empty() => {
                let names = cluster.pools().map(|pool| pool.name.as_str());
                Err(scheduler::unknown("pool", name.as_str(), names, "see 'pool list'"))
            }
            _ => Ok(Reply::Pools { pools }),
        }
    }

    /// Nodes, nodes that answer, live jobs, waiting tasks, running tasks.
    #[must_use]
    pub fn totals(&self) -> (u32, u32, u32, u64, u64) {
        let cluster = self.cluster();
        let count = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
        let up = cluster
            .nodes()
            .filter(|node| matches!(node.liveness, Liveness::Up { .. }))
            .count();
        let (queued, running) = cluster.jobs().fold((0, 0), |(queued, running), job| {
            (
                queued + u64::from(job.counts.queued),
                running + u64::from(job.counts.running),
            )
        });
        (
            count(cluster.nodes().count()),
            count(up),
            count(cluster.jobs().count()),
            queued,
            running,
        )
    }
}

fn is_ready(node: &NodeRow) -> bool {
    matches!(node.liveness, Liveness::Up { .. }) && node.admin == AdminState::Online
}

fn names_of<'a>(nodes: impl Iterator<Item = &'a NodeRow>) -> Vec<NodeName> {
    let mut names: Vec<NodeName> = nodes.map(|node| node.name.clone()).collect();
    names.sort_by(|a, b| scheduler::natural_order(a.as_str(), b.as_str()));
    names
}

fn is_ended_word(word: &str) -> bool {
    ["finished", "failed", "canceled", "all"]
        .iter()
        .any(|ended| word.eq_ignore_ascii_case(ended))
}

fn is_shown(job: &JobRow, caller: &Caller, filter: &JobFilter) -> bool {
    let whose = match &filter.user {
        Some(user) => job.owner.name == *user,
        None => filter.all_users || job.owner.uid == caller.owner.uid,
    };
    let states = &filter.states;
    let word = job.state.word();
    let state_fits = if states.is_empty() {
        filter.ended || !job.state.is_ended()
    } else {
        states
            .iter()
            .any(|state| state.eq_ignore_ascii_case(word) || state.eq_ignore_ascii_case("all"))
    };
    let visible = caller.role >= Role::Operator || caller.may_touch(&job.owner);
    visible && whose && state_fits && filter.name.as_ref().is_none_or(|name| job.spec.name == *name)
}

fn no_job(id: JobId) -> Refusal {
    Refusal {
        code: RefusalCode::NotFound,
        what: format!("there is no job {id}, or it is not yours"),
        remedy: "see 'job list --all'".to_owned(),
    }
}

fn unreadable(error: &StoreError) -> Refusal {
    tracing::error!(%error, "the store cannot be read");
    Refusal {
        code: RefusalCode::Busy,
        what: format!("the head node cannot read its store: {error}"),
        remedy: "see the head node's log".to_owned(),
    }
}
