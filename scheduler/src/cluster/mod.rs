//! The cluster's state: the rows that are stored, and private indexes over them.
//!
//! Rows change in [`Cluster::apply`] only. Indexes can be rebuilt from the rows at any time, which is what a restart
//! does and what [`Cluster::check`] compares with. Nothing here decides anything.

mod apply;
mod array;
mod changes;
mod check;
mod class;
mod dependency;
mod errands;
mod exit;
mod floor;
mod jobs;
mod jumps;
mod lifecycle;
mod members;
mod numbers;
mod packed;
mod pools;
mod queue;
mod rest;
mod restore;
mod schedules;
mod shape;
mod starts;
mod usage;
mod users;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use proto::ids::{
    AttemptId, GroupName, JobId, NodeId, NodeName, PoolName, ScheduleName, Sequence, Step, SubmissionId, TaskId,
    TaskNumber,
};
use proto::model::attempt::AttemptRow;
use proto::model::job::JobRow;
use proto::model::node::{AdminState, Liveness, NodeRow, NodeStart, StartState};
use proto::model::pool::{GroupRow, PoolRow};
use proto::model::schedule::ScheduleRow;
use proto::model::task::{DEFAULT_REQUEUES, TaskKind, TaskOutcome, TaskRow, TaskState};
use proto::model::why::Cause;
use proto::stored::{Change, MetaRow, Row, SettingsRow, SubmissionRow, TokenRow};
use proto::units::{Millis, Monotonic, Now, Timestamp};

use crate::settings::Settings;
use array::Array;
pub use array::ElementPlace;
use changes::Changes;
use class::Classes;

pub(crate) use class::{Class, ClassId};
pub(crate) use dependency::{Dependencies, Standing, depends};
pub(crate) use errands::{coordination_of, errand_id, node_of};
pub(crate) use exit::options_of;
pub(crate) use floor::{Floor, Occupancy, Tenant, wares_of};
use jumps::moved;
pub(crate) use lifecycle::wall_of;
pub(crate) use numbers::{MAX_MEMBERS, members_of};
pub(crate) use queue::{Queue, WaitingJob};
pub use restore::RestoreError;
use schedules::Wakes;
pub(crate) use shape::{Lack, Shape, Wares};
pub(crate) use starts::start_task;
pub(crate) use usage::{Held, Usage};
use users::Users;
use window::Windows;
pub(crate) use window::is_single;

/// Bytes of a MiB, the unit in which memory is asked for.
pub(crate) const MIB: u64 = 1 << 20;

/// How many submissions of jobs that have left memory are remembered for repeats.
pub(crate) const MAX_OLD_SUBMISSIONS: usize = 10_000;

/// Everything that the head node knows, short of what ended long ago.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    meta: MetaRow,
    pools: BTreeMap<PoolName, PoolRow>,
    groups: BTreeMap<GroupName, GroupRow>,
    nodes: BTreeMap<NodeId, NodeRow>,
    jobs: BTreeMap<JobId, Job>,
    /// Tasks, arrays, and those elements of arrays that somebody touched and that have not ended well.
    tasks: BTreeMap<TaskId, TaskRow>,
    arrays: BTreeMap<TaskId, Array>,
    attempts: BTreeMap<AttemptId, AttemptRow>,
    submissions: BTreeMap<SubmissionId, SubmissionRow>,
    tokens: BTreeMap<String, TokenRow>,
    users: Users,
    settings_row: SettingsRow,
    schedules: BTreeMap<ScheduleName, ScheduleRow>,

    names: BTreeMap<NodeName, NodeId>,
    floor: Floor,
    windows: Windows,
    queue: Queue,
    classes: Classes,
    /// When jobs with a run-time limit reach it.
    limits: BTreeSet<(Timestamp, JobId)>,
    /// Until when jobs are held.
    holds: BTreeSet<(Timestamp, JobId)>,
    /// When jobs with a bound from their submission reach it.
    walls: BTreeSet<(Timestamp, JobId)>,
    /// Jobs that wait for others, behind those.
    children: BTreeSet<(JobId, JobId)>,
    /// Jobs that are to be taken away.
    deleting: BTreeSet<JobId>,
    wakes: Wakes,
    /// Preparation and release tasks of all jobs, by their nodes.
    errands: BTreeSet<(NodeId, TaskId)>,
    /// Submissions whose jobs have left memory, oldest first.
    old_submissions: BTreeSet<(JobId, SubmissionId)>,

    /// When each node was last heard. Never stored: after a restart it counts anew.
    heard: BTreeMap<NodeId, Monotonic>,
    /// No node's silence is due before that; none when that is not known. So few rounds look at all nodes.
    silence_due: Option<Monotonic>,
    /// Both clocks of the newest moment that the shell told, to turn one into the other.
    clock: Now,
    /// How far the wall clock has jumped since the start, in milliseconds.
    jumped: i64,
    changes: Changes,
}

/// A job and what is counted for it.
#[derive(Debug)]
struct Job {
    row: JobRow,
    class: ClassId,
    /// Attempts that still hold nodes.
    attempts: u32,
    /// What made it and what added tasks to it, for repeats; the addition by its first task.
    submissions: BTreeSet<(Option<TaskNumber>, SubmissionId)>,
    dependencies: Dependencies,
    /// How far the wall clock had jumped when its two spans of time began.
    jumped: Jumped,
}

/// How far the wall clock had jumped, in milliseconds, at the beginnings of a job.
#[derive(Debug, Clone, Copy, Default)]
struct Jumped {
    submitted: i64,
    started: i64,
}

impl Cluster {
    /// A cluster with nothing in it.
    #[must_use]
    pub fn new(settings: Settings) -> Self {
        Self {
            settings,
            meta: MetaRow::default(),
            pools: BTreeMap::new(),
            groups: BTreeMap::new(),
            nodes: BTreeMap::new(),
            jobs: BTreeMap::new(),
            tasks: BTreeMap::new(),
            arrays: BTreeMap::new(),
            attempts: BTreeMap::new(),
            submissions: BTreeMap::new(),
            tokens: BTreeMap::new(),
            users: Users::default(),
            settings_row: SettingsRow::default(),
            schedules: BTreeMap::new(),
            names: BTreeMap::new(),
            floor: Floor::default(),
            windows: Windows::default(),
            queue: Queue::default(),
            classes: Classes::default(),
            limits: BTreeSet::new(),
            holds: BTreeSet::new(),
            walls: BTreeSet::new(),
            children: BTreeSet::new(),
            deleting: BTreeSet::new(),
            wakes: Wakes::default(),
            errands: BTreeSet::new(),
            old_submissions: BTreeSet::new(),
            heard: BTreeMap::new(),
            silence_due: None,
            clock: Now::default(),
            jumped: 0,
            changes: Changes::default(),
        }
    }

    /// Tells both clocks; once per round, before its inputs. Without it the run-time limits of jobs follow no change of
    /// the wall clock.
    pub fn advance(&mut self, now: Now) {
        self.note_jump(now);
        self.clock = now;
        if self.silence_due.is_none_or(|at| at <= now.monotonic) {
            self.silence_due = self.next_silence();
        }
    }

    /// A heartbeat or any other message of a node came in. Not an event: it is forgotten at a restart.
    pub fn heard(&mut self, node: NodeId, at: Monotonic) {
        if self.nodes.contains_key(&node) {
            let last = self.heard.entry(node).or_insert(at);
            *last = at.max(*last);
        }
    }

    /// The rows that changed since the last call, each once, in the order of their keys.
    pub fn take_changes(&mut self) -> Vec<Change> {
        let mut taken = std::mem::take(&mut self.changes);
        taken
            .drain()
            .map(|(key, last)| last.unwrap_or_else(|| self.current(key)))
            .collect()
    }

    /// The number of the last event.
    #[must_use]
    pub const fn sequence(&self) -> Sequence {
        self.meta.sequence
    }

    /// The number that the next job gets; all jobs so far have smaller ones.
    #[must_use]
    pub const fn next_job(&self) -> JobId {
        self.meta.next_job
    }

    /// How many rows of tasks are in memory: an array is one, and each of its elements that has a row.
    #[must_use]
    pub fn live_tasks(&self) -> usize {
        self.tasks.len()
    }

    /// When the first node will have been silent for too long, unless it is heard.
    fn next_silence(&self) -> Option<Monotonic> {
        let silent = self.nodes.values().filter_map(|node| {
            let span = match node.liveness {
                Liveness::Up { .. } => self.settings.suspect_after,
                Liveness::Suspect { .. } => self.settings.lost_after,
                Liveness::Joined | Liveness::Lost { .. } => return None,
            };
            self.heard.get(&node.id).map(|last| *last + span)
        });
        silent.min()
    }

    /// When [`crate::Input::Tick`] is due next, or somewhat earlier.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let silent = self.silence_due.or_else(|| self.next_silence());
        let spans = self.limits.first().into_iter().chain(self.walls.first());
        let spans = spans.map(|(at, _)| self.monotonic(moved(*at, self.jumped)));
        let moments = self.holds.first().into_iter().map(|(at, _)| *at);
        let moments = moments.chain(self.wakes.first()).map(|at| self.monotonic(at));
        let on_the_wall = spans.chain(moments);
        let all = silent.into_iter().chain(on_the_wall);
        all.chain(self.deadlines_of_pools()).min()
    }

    /// The clocks of this cluster.
    #[must_use]
    pub const fn settings(&self) -> &Settings {
        &self.settings
    }

    /// What an administrator has set.
    #[must_use]
    pub const fn settings_row(&self) -> &SettingsRow {
        &self.settings_row
    }

    /// A job that is not over, or whose nodes have not all let go.
    #[must_use]
    pub fn job(&self, id: JobId) -> Option<&JobRow> {
        self.jobs.get(&id).map(|job| &job.row)
    }

    /// All such jobs, by number.
    pub fn jobs(&self) -> impl Iterator<Item = &JobRow> {
        self.jobs.values().map(|job| &job.row)
    }

    /// Those with smaller numbers than that one, by falling number.
    pub fn jobs_down(&self, before: JobId) -> impl Iterator<Item = &JobRow> {
        self.jobs.range(..before).rev().map(|(_, job)| &job.row)
    }

    /// The row of a task of such a job: of an array, or of an element that somebody touched and that has not ended well.
    /// For other elements see [`Self::task_or_untouched`].
    #[must_use]
    pub fn task(&self, id: TaskId) -> Option<&TaskRow> {
        self.tasks.get(&id)
    }

    /// The rows of tasks of one job, in order: an array's before those of its elements. Without those that it has on each of
    /// its nodes ([`Self::errands_of`]).
    pub fn tasks_of(&self, job: JobId) -> impl Iterator<Item = &TaskRow> {
        self.tasks
            .range(TaskId::first_of(job)..TaskId::new(job, TaskNumber::PREPARATION))
            .map(|(_, task)| task)
    }

    /// Tasks of a job behind that one, in order, without looking at those before it. Those on each of its nodes come last.
    pub fn tasks_after(&self, job: JobId, after: TaskId) -> impl Iterator<Item = &TaskRow> {
        let from = (Bound::Excluded(after), Bound::Unbounded);
        self.tasks
            .range(from)
            .map(|(_, task)| task)
            .take_while(move |task| task.id.job == job)
    }

    /// An attempt that still holds nodes.
    #[must_use]
    pub fn attempt(&self, id: AttemptId) -> Option<&AttemptRow> {
        self.attempts.get(&id)
    }

    /// All attempts that still hold nodes.
    pub fn attempts(&self) -> impl Iterator<Item = &AttemptRow> {
        self.attempts.values()
    }

    /// A node.
    #[must_use]
    pub fn node(&self, id: NodeId) -> Option<&NodeRow> {
        self.nodes.get(&id)
    }

    /// A node by its name, without regard to case.
    #[must_use]
    pub fn node_by_name(&self, name: &NodeName) -> Option<&NodeRow> {
        self.names.get(name).and_then(|id| self.nodes.get(id))
    }

    /// All nodes, by number.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeRow> {
        self.nodes.values()
    }

    /// All pools, by name.
    pub fn pools(&self) -> impl Iterator<Item = &PoolRow> {
        self.pools.values()
    }

    /// All node groups, by name.
    pub fn groups(&self) -> impl Iterator<Item = &GroupRow> {
        self.groups.values()
    }

    /// Slots that are held on a node.
    #[must_use]
    pub fn slots_held(&self, node: NodeId) -> u32 {
        self.floor.held(node)
    }

    /// The first answer to a submission.
    #[must_use]
    pub fn submission(&self, id: SubmissionId) -> Option<&SubmissionRow> {
        self.submissions.get(&id)
    }

    /// Every row in memory, by key: what a restart would be given.
    pub fn rows(&self) -> impl Iterator<Item = Row> {
        std::iter::once(Row::Meta(self.meta))
            .chain(self.pools.values().cloned().map(Row::Pool))
            .chain(self.groups.values().cloned().map(Row::Group))
            .chain(self.nodes.values().map(|row| Row::Node(Box::new(row.clone()))))
            .chain(self.jobs().map(|row| Row::Job(Box::new(row.clone()))))
            .chain(self.tasks.values().filter_map(|row| {
                let alone = self.is_stored_alone(row);
                alone.then(|| Row::Task(Box::new(row.clone())))
            }))
            .chain(self.arrays.keys().flat_map(|id| self.chunks_of(*id)).map(Row::Chunk))
            .chain(self.attempts.values().cloned().map(Row::Attempt))
            .chain(self.submissions.values().copied().map(Row::Submission))
            .chain(self.tokens.values().cloned().map(Row::Token))
            .chain(self.users.rows().map(|row| Row::User(Box::new(row.clone()))))
            .chain(std::iter::once(Row::Settings(Box::new(self.settings_row.clone()))))
            .chain(self.schedules.values().map(|row| Row::Schedule(Box::new(row.clone()))))
    }
}

/// What only this crate reads.
impl Cluster {
    pub(crate) const fn meta(&self) -> &MetaRow {
        &self.meta
    }

    pub(crate) const fn floor(&self) -> &Floor {
        &self.floor
    }

    pub(crate) const fn queue(&self) -> &Queue {
        &self.queue
    }

    pub(crate) fn pool(&self, name: &PoolName) -> Option<&PoolRow> {
        self.pools.get(name)
    }

    pub(crate) fn group(&self, name: &GroupName) -> Option<&GroupRow> {
        self.groups.get(name)
    }

    pub(crate) fn token(&self, hash: &str) -> Option<&TokenRow> {
        self.tokens.get(hash)
    }

    pub(crate) fn tokens(&self) -> impl Iterator<Item = &TokenRow> {
        self.tokens.values()
    }

    /// Which nodes a job may use, as a number that equal wishes share.
    pub(crate) fn class_of(&self, job: JobId) -> Option<ClassId> {
        self.jobs.get(&job).map(|job| job.class)
    }

    pub(crate) fn class(&self, id: ClassId) -> Option<&Class> {
        self.classes.class(id)
    }

    /// Attempts with a share that the node still holds.
    pub(crate) fn attempts_on(&self, node: NodeId) -> impl Iterator<Item = &AttemptRow> {
        self.floor.attempts_on(node).filter_map(|id| self.attempts.get(&id))
    }

    /// How long a node has been silent; none when it was never heard.
    pub(crate) fn silence(&self, node: NodeId, now: Monotonic) -> Option<Millis> {
        self.heard.get(&node).map(|last| now.since(*last))
    }

    /// Jobs whose run time is over.
    pub(crate) fn over_limit(&self, now: Now) -> impl Iterator<Item = JobId> {
        self.due(&self.limits, self.jumped, now)
    }

    /// Jobs that have lasted as long as they may.
    pub(crate) fn over_wall_clock(&self, now: Now) -> impl Iterator<Item = JobId> {
        self.due(&self.walls, self.jumped, now)
    }

    /// Whether nothing of a job may start before its moment has come.
    pub(crate) fn is_held(&self, job: &JobRow) -> bool {
        let until = job.spec.hold_until;
        until.is_some_and(|at| self.holds.contains(&(at, job.id)))
    }

    /// Jobs that are held no longer.
    pub(crate) fn over_hold(&self, now: Now) -> impl Iterator<Item = JobId> {
        self.due(&self.holds, 0, now)
    }

    fn due(&self, deadlines: &BTreeSet<(Timestamp, JobId)>, jumped: i64, now: Now) -> impl Iterator<Item = JobId> {
        let due = move |at: Timestamp| {
            let at = moved(at, jumped);
            at <= now.wall || self.monotonic(at) <= now.monotonic
        };
        deadlines
            .iter()
            .take_while(move |(at, _)| due(*at))
            .map(|(_, job)| *job)
    }

    /// What the tasks of a job in memory depend on.
    pub(crate) fn dependencies(&self, job: JobId) -> Option<&Dependencies> {
        self.jobs.get(&job).map(|job| &job.dependencies)
    }

    /// The row of the task, or of the array and all rows of its elements, in order.
    pub(crate) fn covered(&self, id: TaskId) -> impl Iterator<Item = &TaskRow> {
        let last = TaskId {
            step: id.step.or(Some(Step(u32::MAX))),
            ..id
        };
        self.tasks.range(id..=last).map(|(_, task)| task)
    }

    /// The services of a job of which nobody canceled an instance: they keep it from ending by itself. Looks at all tasks,
    /// so only for a job of which all tasks are over.
    pub(crate) fn services_kept(&self, job: JobId) -> BTreeSet<TaskNumber> {
        let is_canceled = |task: &TaskRow| {
            matches!(
                task.state,
                TaskState::Ended {
                    outcome: TaskOutcome::Canceled,
                    ..
                }
            )
        };
        // Of an array with a failure, only its own record says that the rest was canceled.
        let is_canceled = |task: &TaskRow| {
            let rest = task.array.as_ref().and_then(|array| array.rest_canceled_at);
            rest.is_some() || is_canceled(task)
        };
        let (mut kept, mut canceled) = (BTreeSet::new(), BTreeSet::new());
        for task in self.tasks_of(job).filter(|task| task.spec.kind == TaskKind::Service) {
            kept.insert(task.id.number);
            if is_canceled(task) {
                canceled.insert(task.id.number);
            }
        }
        kept.retain(|number| !canceled.contains(number));
        kept
    }

    /// Whether a task may be started once more after failures that are not its own. Until it may not, its node ends it with
    /// the fencing lease.
    pub(crate) fn may_rerun(&self, task: &TaskRow) -> bool {
        let count = self.settings_row.parameters.task_retry_count;
        let most = task.spec.max_requeues.or(count).unwrap_or(DEFAULT_REQUEUES);
        task.spec.rerunnable && task.requeues < most
    }

    /// Between a polite stop and a kill.
    pub(crate) fn cancel_grace(&self) -> Millis {
        let grace = self.settings_row.parameters.cancel_grace;
        grace.unwrap_or(self.settings.timing.kill_grace)
    }

    /// A moment of the wall clock on the monotonic one.
    fn monotonic(&self, at: Timestamp) -> Monotonic {
        self.clock.monotonic + at.since(self.clock.wall)
    }

    fn current(&self, key: proto::stored::RowKey) -> Change {
        use proto::stored::RowKey;
        let row = match &key {
            RowKey::Meta => Some(Row::Meta(self.meta)),
            RowKey::Pool(name) => self.pools.get(name).cloned().map(Row::Pool),
            RowKey::Group(name) => self.groups.get(name).cloned().map(Row::Group),
            RowKey::Node(id) => self.nodes.get(id).map(|row| Row::Node(Box::new(row.clone()))),
            RowKey::Job(id) => self.job(*id).map(|row| Row::Job(Box::new(row.clone()))),
            RowKey::Task(id) => self.tasks.get(id).map(|row| Row::Task(Box::new(row.clone()))),
            RowKey::Attempt(id) => self.attempts.get(id).cloned().map(Row::Attempt),
            RowKey::Submission(id) => self.submissions.get(id).copied().map(Row::Submission),
            RowKey::Token(hash) => self.tokens.get(hash).cloned().map(Row::Token),
            RowKey::User(name) => self.users.row(name).map(|row| Row::User(Box::new(row.clone()))),
            RowKey::Chunk(array, chunk) => self.chunk_row(*array, *chunk).map(Row::Chunk),
            RowKey::Schedule(name) => self.schedules.get(name).map(|row| Row::Schedule(Box::new(row.clone()))),
            RowKey::Settings => Some(Row::Settings(Box::new(self.settings_row.clone()))),
        };
        row.map_or(Change::Delete(key), Change::Put)
    }
}

/// What keeps a node from getting any work; none when it is ready.
pub(crate) const fn hindrance(node: &NodeRow) -> Option<Cause> {
    match (node.liveness, node.admin) {
        (Liveness::Joined, _) => Some(Cause::NeverSeen),
        (Liveness::Lost { .. }, _) => Some(Cause::Lost),
        (Liveness::Suspect { .. }, _) => Some(Cause::Suspect),
        (Liveness::Up { .. }, _) if node.errand.is_some() => Some(Cause::OnErrand),
        (Liveness::Up { .. }, AdminState::Offline) => Some(Cause::Offline),
        (Liveness::Up { .. }, AdminState::Draining) => Some(Cause::Draining),
        (Liveness::Up { .. }, AdminState::Online) => hindrance_of_start(node),
    }
}

/// Whether the start task of its pool keeps a node from work.
const fn hindrance_of_start(node: &NodeRow) -> Option<Cause> {
    match &node.start {
        Some(NodeStart {
            state: StartState::Running,
            wait_for_success: true,
            ..
        }) => Some(Cause::WaitingForStartTask),
        Some(NodeStart {
            state: StartState::Failed { .. },
            wait_for_success: true,
            ..
        }) => Some(Cause::StartTaskFailed),
        _ => None,
    }
}
