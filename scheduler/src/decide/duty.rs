//! What nodes are to do besides work: the administrator's switch, drains, and errands (start anew, leave).
//!
//! ```text
//!   drained by an option --holds nothing--> offline | told to start anew | taken out
//! ```
//!
//! What a decision changes of that is kept here, so that what follows from all of it together is decided at its end: a
//! draining node may let its last share go in the very decision that drains it.

use std::collections::{BTreeMap, BTreeSet};

use proto::event::Event;
use proto::ids::{AttemptId, NodeId, PoolName, TaskId};
use proto::model::attempt::{AttemptPhase, AttemptRow};
use proto::model::job::JobKind;
use proto::model::node::{AdminState, Deallocation, Liveness, NodeErrand, NodeErrandKind, NodeRow, NodeStart};
use proto::model::pool::PoolRow;
use proto::model::task::{AttemptOutcome, Request, TaskOutcome, TaskState};
use proto::units::Timestamp;

use super::leave;
use super::ledger::Ledger;

/// What a decision says about nodes and pools.
pub(super) struct Nodes {
    duties: BTreeMap<NodeId, Duty>,
    /// Whether they answer, where that is known better here than by their rows.
    answers: BTreeMap<NodeId, bool>,
    /// Those to look at in the end, although they let nothing go here.
    touched: BTreeSet<NodeId>,
    removed: BTreeSet<NodeId>,
    /// Until when files are kept of attempts that end here.
    retained: BTreeMap<NodeId, Timestamp>,
    /// Nodes that join here, with their pools.
    pub(super) joined: BTreeMap<NodeId, PoolName>,
    /// Start tasks, as they are now.
    pub(super) starts: BTreeMap<NodeId, Option<NodeStart>>,
    /// Start tasks that wait, or wait again, from now on.
    pub(super) begun: BTreeSet<TaskId>,
    /// Pools as they are now.
    pub(super) pools: BTreeMap<PoolName, PoolRow>,
    /// Pools whose number of nodes changes.
    pub(super) pools_touched: BTreeSet<PoolName>,
}

impl Nodes {
    pub(super) const fn new() -> Self {
        Self {
            duties: BTreeMap::new(),
            answers: BTreeMap::new(),
            touched: BTreeSet::new(),
            removed: BTreeSet::new(),
            retained: BTreeMap::new(),
            joined: BTreeMap::new(),
            starts: BTreeMap::new(),
            begun: BTreeSet::new(),
            pools: BTreeMap::new(),
            pools_touched: BTreeSet::new(),
        }
    }

    /// Whether a node is taken out of the cluster here.
    pub(super) fn is_removed(&self, node: NodeId) -> bool {
        self.removed.contains(&node)
    }
}

/// Switch and errand of a node.
#[derive(Clone, Copy)]
pub(super) struct Duty {
    pub(super) admin: AdminState,
    pub(super) drain: Deallocation,
    pub(super) errand: Option<NodeErrand>,
}

impl Duty {
    const fn of(row: &NodeRow) -> Self {
        Self {
            admin: row.admin,
            drain: row.drain,
            errand: row.errand,
        }
    }

    /// Whether the node is to leave its pool.
    pub(super) const fn leaves(self) -> bool {
        matches!(
            self.errand,
            Some(NodeErrand {
                kind: NodeErrandKind::Leave,
                ..
            })
        )
    }
}

impl Ledger<'_> {
    /// Switch and errand of a node after what is decided so far.
    pub(super) fn duty(&self, row: &NodeRow) -> Duty {
        self.nodes.duties.get(&row.id).copied().unwrap_or_else(|| Duty::of(row))
    }

    pub(super) fn switch_node(&mut self, row: &NodeRow, admin: AdminState, drain: Deallocation) {
        let duty = self.duty(row);
        self.nodes.duties.insert(row.id, Duty { admin, drain, ..duty });
        self.touch(row.id);
        self.push(Event::NodeSwitched {
            node: row.id,
            admin,
            drain,
        });
    }

    pub(super) fn set_errand(&mut self, row: &NodeRow, errand: Option<NodeErrand>, refused: Option<String>) {
        let duty = self.duty(row);
        self.nodes.duties.insert(row.id, Duty { errand, ..duty });
        self.touch(row.id);
        self.push(Event::NodeErrandChanged {
            node: row.id,
            errand,
            refused,
        });
    }

    /// The node has nothing else to do any more, and is switched as it was before.
    pub(super) fn end_errand(&mut self, row: &NodeRow, refused: Option<String>) {
        if let Some(errand) = self.duty(row).errand {
            self.set_errand(row, None, refused);
            self.switch_node(row, errand.admin, Deallocation::default());
        }
    }

    /// The node is to be looked at when everything else is decided.
    pub(super) fn touch(&mut self, node: NodeId) {
        self.nodes.touched.insert(node);
    }

    /// A node says hello here, or is given up.
    pub(super) fn answers(&mut self, node: NodeId, answers: bool) {
        self.nodes.answers.insert(node, answers);
        self.touch(node);
    }

    fn is_answering(&self, row: &NodeRow) -> bool {
        let by_row = matches!(row.liveness, Liveness::Up { .. } | Liveness::Suspect { .. });
        self.nodes.answers.get(&row.id).copied().unwrap_or(by_row)
    }

    /// The files of an attempt that ends here are kept on its nodes.
    pub(super) fn retain(&mut self, attempt: &AttemptRow, at: Timestamp) {
        let Some(until) = self.cluster.retention_end(attempt.task, at) else {
            return;
        };
        for share in &attempt.shares {
            let last = self.nodes.retained.entry(share.node).or_insert(until);
            *last = until.max(*last);
        }
    }

    /// Until when a node that answers has to stay for the files on it; none when it may go.
    pub(super) fn kept_until(&self, row: &NodeRow) -> Option<Timestamp> {
        let until = row.retained_until.max(self.nodes.retained.get(&row.id).copied())?;
        (self.is_answering(row) && !self.cluster.has_come(until, self.now)).then_some(until)
    }

    pub(super) fn remove_node(&mut self, row: &NodeRow) {
        self.nodes.removed.insert(row.id);
        self.nodes.pools_touched.insert(row.pool.clone());
        self.push(Event::NodeRemoved { node: row.id });
    }

    /// A draining node that holds nothing, after what is decided here, and need not be kept for its files.
    fn is_empty(&self, node: NodeId) -> Option<(NodeRow, Duty)> {
        let row = self.cluster.node(node).filter(|_| !self.nodes.is_removed(node))?;
        let duty = self.duty(row);
        let empty = duty.admin == AdminState::Draining
            && self.cluster.attempts_on(node).count() == self.released_on(node)
            && !(duty.drain == Deallocation::RetainedData && self.kept_until(row).is_some());
        empty.then(|| (row.clone(), duty))
    }

    fn due_nodes(&self) -> BTreeSet<NodeId> {
        let mut due = self.releasing();
        due.extend(&self.nodes.touched);
        due
    }
}

/// Nodes that were to leave and hold nothing are taken out. Before other consequences: what waited for them ends.
pub(super) fn take_out_empty(ledger: &mut Ledger<'_>) {
    for node in ledger.due_nodes() {
        if let Some((row, _)) = ledger.is_empty(node).filter(|(_, duty)| duty.leaves()) {
            leave::take_out(ledger, &row);
        }
    }
}

/// Draining nodes that hold nothing are offline, or are told what they were drained for.
pub(super) fn settle(ledger: &mut Ledger<'_>) {
    for node in ledger.due_nodes() {
        let Some((row, duty)) = ledger.is_empty(node) else {
            continue;
        };
        match duty.errand {
            None => ledger.switch_node(&row, AdminState::Offline, Deallocation::default()),
            // One that was given up hears nothing. Its hello brings it here again.
            Some(errand) if !errand.sent && ledger.is_answering(&row) => {
                let sent = NodeErrand { sent: true, ..errand };
                ledger.set_errand(&row, Some(sent), None);
            }
            Some(_) => {}
        }
    }
}

/// Nodes that were kept for the files on them may be due.
pub(super) fn end_retentions(ledger: &mut Ledger<'_>) {
    for row in ledger.cluster.nodes() {
        if row.admin == AdminState::Draining && row.drain == Deallocation::RetainedData {
            ledger.touch(row.id);
        }
    }
}

/// The option of the two that waits for less.
pub(super) fn stronger(a: Deallocation, b: Deallocation) -> Deallocation {
    let strength = |option| match option {
        Deallocation::RetainedData => 0,
        Deallocation::TaskCompletion => 1,
        Deallocation::Requeue => 2,
        Deallocation::Terminate => 3,
    };
    if strength(b) > strength(a) { b } else { a }
}

/// What a node is drained for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// To be offline.
    Offline,
    /// To start anew.
    Restart,
    /// To leave.
    Leave,
}

/// Gets a node that is not draining yet, or is so with a weaker option, on its way. Says what becomes of its tasks.
/// `stopped` are attempts that this decision has stopped already, of which a gang's nodes share one.
pub(super) fn drain(
    ledger: &mut Ledger<'_>,
    row: &NodeRow,
    option: Deallocation,
    purpose: Purpose,
    stopped: &mut BTreeSet<AttemptId>,
) -> Vec<String> {
    let (told, left) = stop_tasks(ledger, row, option, purpose, stopped);
    let mut notes = Vec::from_iter(told);
    let option = match row.admin {
        AdminState::Draining => stronger(row.drain, option),
        AdminState::Online | AdminState::Offline => option,
    };
    let then = match purpose {
        Purpose::Offline => "is offline then; it gets no new ones",
        Purpose::Restart => "starts anew then; it gets no new ones",
        Purpose::Leave => "leaves then; it gets no new ones",
    };
    let kept = ledger.kept_until(row).filter(|_| option == Deallocation::RetainedData);
    if left > 0 {
        let tasks = crate::refusal::counted(left, "task");
        notes.push(format!("node '{}' finishes {tasks} and {then}", row.name));
    }
    if let Some(until) = kept {
        let span = until.since(ledger.now.wall);
        notes.push(format!(
            "node '{}' is kept {span} more for the files of its tasks",
            row.name
        ));
    }
    let holds = ledger.cluster.attempts_on(row.id).next().is_some();
    let admin = if holds || kept.is_some() || purpose != Purpose::Offline {
        AdminState::Draining
    } else {
        AdminState::Offline
    };
    ledger.switch_node(row, admin, option);
    notes
}

/// Stops what the option does not let end by itself. Says so, and how many tasks are left to end.
pub(super) fn stop_tasks(
    ledger: &mut Ledger<'_>,
    row: &NodeRow,
    option: Deallocation,
    purpose: Purpose,
    stopped: &mut BTreeSet<AttemptId>,
) -> (Option<String>, usize) {
    let cluster = ledger.cluster;
    let (mut told, mut left) = (0, 0);
    for attempt in cluster.attempts_on(row.id) {
        let Some((outcome, again)) = due_stop(ledger, attempt, option, purpose) else {
            left += usize::from(!stopped.contains(&attempt.id));
            continue;
        };
        told += usize::from(again || outcome != TaskOutcome::Canceled);
        if stopped.insert(attempt.id) {
            ledger.push(Event::AttemptStopping {
                attempt: attempt.id,
                outcome,
                force: false,
                again,
            });
        }
    }
    let tasks = crate::refusal::counted(told, "task");
    let words = match (option, told) {
        (_, 0) => return (None, left),
        (Deallocation::Terminate, 1) => "is stopped and fails",
        (Deallocation::Terminate, _) => "are stopped and fail",
        (_, 1) => "goes back into the queue",
        _ => "go back into the queue",
    };
    (Some(format!("node '{}': {tasks} {words}", row.name)), left)
}

/// How an attempt on a node that is drained is stopped, if it is.
fn due_stop(
    ledger: &Ledger<'_>,
    attempt: &AttemptRow,
    option: Deallocation,
    purpose: Purpose,
) -> Option<(TaskOutcome, bool)> {
    let task = ledger.cluster.task(attempt.task)?;
    let job = ledger.cluster.job(attempt.task.job)?;
    let runs = matches!(attempt.phase, AttemptPhase::Granted | AttemptPhase::Running { .. });
    let to_run_again = matches!(task.state, TaskState::Stopping { again: true, .. });
    // What somebody started on this very node could run nowhere else.
    let movable = task.spec.rerunnable && !matches!(task.spec.request, Request::Beside { .. });
    match (option, job.spec.kind) {
        (Deallocation::TaskCompletion | Deallocation::RetainedData, _) => None,
        // A start task is run anew in the node's next life, if it has one. A node that is only offline keeps it.
        (_, JobKind::Start) => (runs && purpose != Purpose::Offline).then_some((TaskOutcome::Canceled, false)),
        (Deallocation::Requeue, _) => (runs && movable).then_some((TaskOutcome::Canceled, true)),
        (Deallocation::Terminate, _) => (runs || to_run_again).then_some((
            TaskOutcome::Failed {
                cause: AttemptOutcome::Stopped,
            },
            false,
        )),
    }
}
