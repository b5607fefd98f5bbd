//! Pools: made, changed, resized, taken away.
//!
//! ```text
//!   Steady --resize--> Resizing --as many nodes as wanted, none is to leave--> Steady
//!                         '------ its time is over ---> Steady, and says what is missing
//! ```
//!
//! Nodes that are to leave are drained first and then taken out. They go on to leave when the time of a resize is over,
//! because their tasks were told; only `pool resize --stop` or a larger size keeps them. Nodes join by themselves, also
//! when the pool has as many as it wants: a token is the administrator's word too.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use proto::client::Refusal;
use proto::event::Event;
use proto::ids::{AttemptId, PoolName, TaskNumber};
use proto::model::node::{AdminState, Deallocation, Liveness, NodeErrand, NodeErrandKind, NodeRow};
use proto::model::owner::Caller;
use proto::model::pool::{Allocation, DEFAULT_RESIZE_TIMEOUT, MAX_SLOTS_PER_NODE, PoolChange, PoolRow, PoolSpec};
use proto::units::Millis;

use super::admin::MAX_POOLS;
use super::duty::{Purpose, drain};
use super::ledger::Ledger;
use super::start_task;
use crate::cluster::Cluster;
use crate::input::Answer;
use crate::refusal::{busy, counted, invalid, unknown, wrong_state};

impl Ledger<'_> {
    /// A pool after what is decided so far.
    pub(super) fn pool(&self, name: &PoolName) -> Option<PoolRow> {
        let changed = self.nodes.pools.get(name);
        changed.or_else(|| self.cluster.pool(name)).cloned()
    }

    fn change_pool(&mut self, pool: PoolRow) {
        self.nodes.pools.insert(pool.name.clone(), pool.clone());
        self.nodes.pools_touched.insert(pool.name.clone());
        self.push(Event::PoolChanged { pool: Box::new(pool) });
    }
}

pub(super) fn add(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    name: &PoolName,
    spec: &PoolSpec,
) -> Result<Answer, Refusal> {
    if let Some(row) = ledger.cluster.pool(name) {
        refuse_deleting(row)?;
        if row.spec == *spec {
            return Ok(Answer::Notes(vec![format!("there is such a pool '{name}' already")]));
        }
        return Err(wrong_state(
            format!("there is a pool '{name}' already, and it is otherwise"),
            format!("change it: pool set {name}, or pool resize {name}; or take another name"),
        ));
    }
    if ledger.cluster.pools().count() >= MAX_POOLS {
        return Err(busy(
            format!("there are {MAX_POOLS} pools already"),
            "take one away that is not needed: pool delete NAME",
        ));
    }
    check(ledger.cluster, caller, spec)?;
    let start_job = spec.start_task.is_some();
    let start_job = start_job.then(|| start_task::make_job(ledger, caller, name));
    let allocation = match spec.wanted {
        Some(1..) => resizing(ledger, Deallocation::default(), None),
        Some(0) | None => Allocation::Steady,
    };
    ledger.change_pool(PoolRow {
        name: name.clone(),
        spec: spec.clone(),
        created_at: ledger.now.wall,
        allocation,
        resize_error: None,
        start_job,
        deleting: false,
    });
    Ok(Answer::Notes(Vec::new()))
}

fn check(cluster: &Cluster, caller: &Caller, spec: &PoolSpec) -> Result<(), Refusal> {
    if let Some(slots) = spec.slots_per_node
        && !(1..=MAX_SLOTS_PER_NODE).contains(&slots)
    {
        return Err(invalid(
            format!("{} per node are asked for", counted(slots as usize, "slot")),
            format!("give 1 to {MAX_SLOTS_PER_NODE}, or leave it out for as many as a node has cores"),
        ));
    }
    let start = spec.start_task.as_deref();
    start.map_or(Ok(()), |start| start_task::check(cluster, caller, start))
}

pub(super) fn set(
    ledger: &mut Ledger<'_>,
    caller: &Caller,
    name: &PoolName,
    change: &PoolChange,
) -> Result<Answer, Refusal> {
    let before = live(ledger.cluster, name)?;
    let mut pool = before.clone();
    let spec = &mut pool.spec;
    spec.fill = change.fill.unwrap_or(spec.fill);
    spec.inter_node = change.inter_node.unwrap_or(spec.inter_node);
    spec.limits = change.limits.unwrap_or(spec.limits);
    if let Some(start) = &change.start_task {
        spec.start_task = start.clone().into_option();
    }
    if pool.spec == before.spec {
        return Ok(Answer::Notes(vec![format!("pool '{name}' is so already")]));
    }
    let restarts = pool.spec.start_task != before.spec.start_task;
    if restarts {
        check(ledger.cluster, caller, &pool.spec)?;
        let due = pool.spec.start_task.is_some();
        pool.start_job = due.then(|| start_task::make_job(ledger, caller, &pool.name));
    }
    ledger.change_pool(pool.clone());
    let mut notes = Vec::new();
    if restarts {
        start_task::change(ledger, before, &pool);
        let nodes = ledger.cluster.nodes_of(name).count();
        if nodes > 0 && pool.start_job.is_some() {
            notes.push("nodes that are there run the new start task when they start anew: node reboot NAME".to_owned());
        }
    }
    Ok(Answer::Notes(notes))
}

pub(super) fn resize(
    ledger: &mut Ledger<'_>,
    name: &PoolName,
    wanted: Option<u32>,
    option: Deallocation,
    timeout: Option<Millis>,
) -> Result<Answer, Refusal> {
    let before = live(ledger.cluster, name)?;
    let Some(wanted) = wanted else {
        return Ok(Answer::Notes(stop(ledger, before)));
    };
    if timeout == Some(Millis(0)) {
        return Err(invalid(
            "a resize without any time is asked for",
            "give it some: --timeout 15m",
        ));
    }
    let (leaving, staying): (Vec<&NodeRow>, Vec<&NodeRow>) =
        ledger.cluster.nodes_of(name).partition(|row| ledger.duty(row).leaves());
    let same = before.spec.wanted == Some(wanted);
    if let Allocation::Resizing { option: other, .. } = before.allocation {
        let nodes = counted(before.spec.wanted.unwrap_or_default() as usize, "node");
        if same && option == other {
            return Ok(Answer::Notes(vec![format!(
                "pool '{name}' is being resized to {nodes} already"
            )]));
        }
        return Err(wrong_state(
            format!("pool '{name}' is being resized to {nodes}"),
            format!("stop that first: pool resize {name} --stop"),
        ));
    }
    if same && leaving.is_empty() && staying.len() == wanted as usize {
        let nodes = counted(staying.len(), "node");
        return Ok(Answer::Notes(vec![format!("pool '{name}' has {nodes} already")]));
    }
    let mut pool = before.clone();
    pool.spec.wanted = Some(wanted);
    pool.allocation = resizing(ledger, option, timeout);
    pool.resize_error = None;
    ledger.change_pool(pool);
    Ok(Answer::Notes(fit(
        ledger,
        name,
        (leaving, staying),
        wanted as usize,
        option,
    )))
}

/// Has nodes leave, keeps some that were to leave, or says how many are to join.
fn fit(
    ledger: &mut Ledger<'_>,
    name: &PoolName,
    (mut leaving, mut staying): (Vec<&NodeRow>, Vec<&NodeRow>),
    wanted: usize,
    option: Deallocation,
) -> Vec<String> {
    if staying.len() > wanted {
        let cluster = ledger.cluster;
        staying.sort_by_cached_key(|row| place_in_leaving(cluster, row));
        staying.truncate(staying.len() - wanted);
        return leave(ledger, &staying, option, BTreeSet::new());
    }
    // Those that still hold most are kept first: what they hold need not end.
    leaving.sort_by_cached_key(|row| Reverse(ledger.cluster.attempts_on(row.id).count()));
    leaving.truncate(wanted - staying.len());
    for row in &leaving {
        ledger.end_errand(row, None);
    }
    match wanted - staying.len() - leaving.len() {
        0 => Vec::new(),
        more => vec![format!(
            "pool '{name}' waits for {} more; let them join: muster node join-command --pool {name}",
            counted(more, "node")
        )],
    }
}

/// Which nodes leave first: those that do no work as it is, then those that would be missed least.
fn place_in_leaving(cluster: &Cluster, row: &NodeRow) -> impl Ord + use<> {
    let held = cluster.attempts_on(row.id).count();
    let unused = match (row.liveness, row.admin) {
        // What a silent node holds may run there still; it cannot leave before that is known.
        _ if held > 0 => 3,
        (Liveness::Lost { .. }, _) => 0,
        (_, AdminState::Offline) => 1,
        (Liveness::Joined, _) => 2,
        (Liveness::Up { .. } | Liveness::Suspect { .. }, _) => 3,
    };
    // The job manager is the last to go, because it looks after the rest of its job.
    let manages = cluster
        .attempts_on(row.id)
        .any(|attempt| attempt.task.number == TaskNumber::MANAGER);
    (unused, manages, held, Reverse(row.joined_at), Reverse(row.id))
}

/// Drains nodes so that they are taken out when they hold nothing.
/// `stopped` are attempts that this decision has stopped already.
fn leave(
    ledger: &mut Ledger<'_>,
    rows: &[&NodeRow],
    option: Deallocation,
    mut stopped: BTreeSet<AttemptId>,
) -> Vec<String> {
    let mut notes = Vec::new();
    for row in rows {
        let admin = match (row.errand, row.admin) {
            (Some(errand), _) => errand.admin,
            (None, AdminState::Draining) => AdminState::Offline,
            (None, admin) => admin,
        };
        let errand = NodeErrand {
            kind: NodeErrandKind::Leave,
            asked_at: ledger.now.wall,
            sent: false,
            admin,
        };
        ledger.set_errand(row, Some(errand), None);
        notes.append(&mut drain(ledger, row, option, Purpose::Leave, &mut stopped));
        if matches!(row.liveness, Liveness::Lost { .. }) && ledger.cluster.attempts_on(row.id).next().is_some() {
            notes.push(format!(
                "node '{0}' does not answer and may hold tasks still; when it is gone for good: node remove {0} --force",
                row.name
            ));
        }
    }
    notes
}

/// Nodes that were to leave stay, and nobody waits for others.
fn stop(ledger: &mut Ledger<'_>, before: &PoolRow) -> Vec<String> {
    let cluster = ledger.cluster;
    let leaving = cluster.nodes_of(&before.name).filter(|row| ledger.duty(row).leaves());
    let leaving: Vec<&NodeRow> = leaving.collect();
    if before.allocation == Allocation::Steady && leaving.is_empty() {
        return vec![format!("pool '{}' is not being resized", before.name)];
    }
    for row in leaving {
        ledger.end_errand(row, None);
    }
    let nodes = cluster.nodes_of(&before.name).count();
    let mut pool = before.clone();
    pool.allocation = Allocation::Steady;
    pool.resize_error = None;
    pool.spec.wanted = Some(u32::try_from(nodes).unwrap_or(u32::MAX));
    ledger.change_pool(pool);
    vec![format!("pool '{}' stays with {}", before.name, counted(nodes, "node"))]
}

/// The pool's nodes leave, and it goes with the last of them. Jobs stay, also those that may run nowhere else.
pub(super) fn delete(ledger: &mut Ledger<'_>, name: &PoolName) -> Result<Answer, Refusal> {
    let cluster = ledger.cluster;
    let before = cluster.pool(name).ok_or_else(|| unknown_pool(cluster, name))?;
    if before.deleting {
        return Ok(Answer::Notes(vec![format!(
            "pool '{name}' is being taken away already"
        )]));
    }
    for token in cluster.tokens().filter(|token| token.pool == *name) {
        let hash = token.hash.clone();
        ledger.push(Event::TokenRemoved { hash });
    }
    let mut pool = before.clone();
    pool.deleting = true;
    pool.start_job = None;
    pool.allocation = Allocation::Steady;
    pool.resize_error = None;
    ledger.change_pool(pool.clone());
    let mut stopped = BTreeSet::new();
    if let Some(start) = before.start_job {
        start_task::change(ledger, before, &pool);
        stopped.extend(cluster.tasks_of(start).filter_map(|task| task.state.attempt()));
    }
    let rows: Vec<&NodeRow> = cluster.nodes_of(name).collect();
    let mut notes = leave(ledger, &rows, Deallocation::Requeue, stopped);
    let jobs = cluster.jobs().filter(|job| {
        let waits = job.counts.queued + job.counts.running > 0;
        waits && job.spec.pool.as_ref() == Some(name) && Some(job.id) != before.start_job
    });
    match jobs.count() {
        0 => {}
        1 => notes.push(format!(
            "1 job asks for pool '{name}' and waits until there is one of that name"
        )),
        jobs => notes.push(format!(
            "{jobs} jobs ask for pool '{name}' and wait until there is one of that name"
        )),
    }
    Ok(Answer::Notes(notes))
}

/// Resizes whose time is over are over.
pub(super) fn end_resizes(ledger: &mut Ledger<'_>) {
    let cluster = ledger.cluster;
    for row in cluster.pools() {
        let Allocation::Resizing { until, .. } = row.allocation else {
            continue;
        };
        if !cluster.has_come(until, ledger.now) {
            continue;
        }
        let (have, leave) = count(ledger, &row.name);
        let wanted = row.spec.wanted.unwrap_or_default() as usize;
        let mut pool = row.clone();
        pool.allocation = Allocation::Steady;
        pool.resize_error = Some(if have < wanted {
            let verb = if have == 1 { "has" } else { "have" };
            format!(
                "{have} of {} {verb} joined; let more join: muster node join-command --pool {}",
                counted(wanted, "node"),
                row.name
            )
        } else {
            format!(
                "{} that {} to leave still {} tasks or their files; see 'node list'",
                counted(leave, "node"),
                if leave == 1 { "is" } else { "are" },
                if leave == 1 { "holds" } else { "hold" },
            )
        });
        ledger.change_pool(pool);
    }
}

/// A node was taken out by hand, so its pool is to be smaller (Azure Batch's rule).
pub(super) fn shrink(ledger: &mut Ledger<'_>, name: &PoolName) {
    if let Some(mut pool) = ledger.pool(name).filter(|pool| !pool.deleting)
        && let Some(wanted @ 1..) = pool.spec.wanted
    {
        pool.spec.wanted = Some(wanted - 1);
        ledger.change_pool(pool);
    }
}

/// Pools that have as many nodes as they want are steady; those that are taken away go with their last node.
pub(super) fn settle(ledger: &mut Ledger<'_>) {
    for name in std::mem::take(&mut ledger.nodes.pools_touched) {
        let Some(mut pool) = ledger.pool(&name) else { continue };
        let open = pool.allocation != Allocation::Steady || pool.resize_error.is_some();
        if !open && !pool.deleting {
            continue;
        }
        let (have, leave) = count(ledger, &name);
        if pool.deleting && have == 0 {
            ledger.push(Event::PoolRemoved { pool: name });
        } else if open && leave == 0 && have >= pool.spec.wanted.unwrap_or_default() as usize {
            pool.allocation = Allocation::Steady;
            pool.resize_error = None;
            ledger.change_pool(pool);
        }
    }
}

/// How many nodes a pool has after what is decided so far, and how many of them are to leave.
fn count(ledger: &Ledger<'_>, name: &PoolName) -> (usize, usize) {
    let elsewhere = |row: &&NodeRow| ledger.nodes.is_removed(row.id) || ledger.nodes.joined.contains_key(&row.id);
    let stay = ledger.cluster.nodes_of(name).filter(|row| !elsewhere(row));
    let (mut have, mut leave) = (0, 0);
    for row in stay {
        have += 1;
        leave += usize::from(ledger.duty(row).leaves());
    }
    let joined = ledger.nodes.joined.values().filter(|pool| *pool == name).count();
    (have + joined, leave)
}

fn resizing(ledger: &Ledger<'_>, option: Deallocation, timeout: Option<Millis>) -> Allocation {
    Allocation::Resizing {
        until: ledger.now.wall + timeout.unwrap_or(DEFAULT_RESIZE_TIMEOUT),
        option,
    }
}

/// A pool that is there to stay.
fn live<'a>(cluster: &'a Cluster, name: &PoolName) -> Result<&'a PoolRow, Refusal> {
    let row = cluster.pool(name).ok_or_else(|| unknown_pool(cluster, name))?;
    refuse_deleting(row)?;
    Ok(row)
}

pub(super) fn refuse_deleting(row: &PoolRow) -> Result<(), Refusal> {
    if !row.deleting {
        return Ok(());
    }
    Err(wrong_state(
        format!("pool '{}' is being taken away", row.name),
        "wait until its last node has left, see 'pool list'; or take another name",
    ))
}

fn unknown_pool(cluster: &Cluster, name: &PoolName) -> Refusal {
    let names = cluster.pools().map(|row| row.name.as_str());
    unknown("pool", name.as_str(), names, "see 'pool list'")
}
