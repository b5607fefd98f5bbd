//! The newest events, for `events -f` and for whoever follows one job.
//!
//! Adding is O(1): an event moves in, is cut to what people look at, and pushes the oldest out. Whom it concerns is found
//! when it is added, while the cluster still knows its job; nothing is looked up when it is read. Hashes of tokens are
//! taken out before, so that nothing here could be used by a reader.

use std::collections::{BTreeSet, VecDeque};

use proto::client::Happened;
use proto::event::Event;
use proto::ids::{JobId, Sequence, TaskId};
use proto::model::owner::{Caller, Role};
use proto::units::Timestamp;
use scheduler::Cluster;

use crate::weight;

/// The most events that are kept.
pub(super) const MAX_EVENTS: usize = 10_000;

/// About the most bytes of them together; a few large submissions must not take the head node's memory.
const MAX_BYTES: usize = 32 * 1024 * 1024;

/// Tasks of one event that are kept; who wants all of them lists the job.
const TASKS_SHOWN: usize = 10;

/// About the most bytes of one page; half of the largest frame.
const MAX_PAGE_BYTES: usize = proto::frame::MAX_FRAME_BYTES / 2;

/// The last events, in order and without gaps.
#[derive(Debug)]
pub(super) struct Ring {
    entries: VecDeque<Entry>,
    bytes: usize,
    /// The number of the next event.
    next: u64,
}

#[derive(Debug)]
struct Entry {
    at: Timestamp,
    about: About,
    bytes: usize,
    event: Event,
}

/// Whom an event concerns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum About {
    /// Nodes, groups, pools: everybody.
    Floor,
    /// Users, tokens, settings: administrators.
    Rights,
    /// A job: its owner and operators.
    Job {
        /// Which.
        job: JobId,
        /// The task that it is about; none when it is about the job, or about many of its tasks.
        task: Option<TaskId>,
        /// The owner's number.
        owner: u32,
    },
    /// A job schedule: its owner and operators.
    Owned {
        /// The owner's number.
        owner: u32,
    },
    /// What is left of a job that nobody remembers: operators.
    Remains,
}

/// Events that a caller may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In order.
    pub events: Vec<Happened>,
    /// The last event that was looked at, shown or not: the next page begins after it.
    pub last: Sequence,
    /// Whether older ones than the first were asked for and are no longer kept.
    pub missed: bool,
    /// Whether there are more now.
    pub more: bool,
}

/// What happened to one job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// Nothing.
    Nothing,
    /// Something happened to these tasks and to nothing else.
    Tasks(BTreeSet<TaskId>),
    /// More than that, or nobody knows any more: look at all of it.
    Much,
}

impl Ring {
    /// Nothing yet; events count on after `last`.
    pub(super) const fn after(last: Sequence) -> Self {
        Self {
            entries: VecDeque::new(),
            bytes: 0,
            next: last.0 + 1,
        }
    }

    /// Takes the next event.
    pub(super) fn push(&mut self, mut event: Event, about: About, at: Timestamp) {
        cut(&mut event);
        let bytes = weight::of_event(&event);
        self.bytes += bytes;
        self.next += 1;
        self.entries.push_back(Entry {
            at,
            about,
            bytes,
            event,
        });
        while self.entries.len() > MAX_EVENTS || self.bytes > MAX_BYTES {
            match self.entries.pop_front() {
                Some(oldest) => self.bytes -= oldest.bytes,
                None => return,
            }
        }
    }

    /// The number of the oldest event that is kept, or of the next one.
    fn first(&self) -> u64 {
        self.next - self.entries.len() as u64
    }

    /// Entries after that event, with their numbers.
    fn since(&self, after: Sequence) -> impl Iterator<Item = (Sequence, &Entry)> {
        let first = self.first();
        let skipped = after.0.saturating_add(1).saturating_sub(first);
        let skipped = usize::try_from(skipped).map_or(usize::MAX, |skipped| skipped.min(self.entries.len()));
        let numbers = (first + skipped as u64..).map(Sequence);
        numbers.zip(self.entries.range(skipped..))
    }

    /// What the caller may see of the events after that one, oldest first, at most so many.
    pub(super) fn page(&self, caller: &Caller, after: Sequence, most: usize) -> Page {
        let mut page = Page {
            events: Vec::new(),
            last: Sequence(self.next - 1).max(after),
            missed: after.0.saturating_add(1) < self.first(),
            more: false,
        };
        let mut bytes = 0;
        for (sequence, entry) in self.since(after).filter(|(_, entry)| entry.about.concerns(caller)) {
            bytes += entry.bytes;
            if page.events.len() == most || (bytes > MAX_PAGE_BYTES && !page.events.is_empty()) {
                page.last = Sequence(sequence.0 - 1);
                page.more = true;
                break;
            }
            page.events.push(Happened {
                sequence,
                at: entry.at,
                event: Box::new(entry.event.clone()),
            });
        }
        page
    }

    /// All that the caller may see, as far as one answer holds it: the newest count.
    pub(super) fn newest(&self, caller: &Caller) -> Page {
        let mut bytes = 0;
        let mut first = self.next;
        for entry in self.entries.iter().rev() {
            bytes += entry.bytes;
            if bytes > MAX_PAGE_BYTES {
                break;
            }
            first -= 1;
        }
        let cut = first > self.first();
        let page = self.page(caller, Sequence(first.saturating_sub(1)), MAX_EVENTS);
        Page { missed: cut, ..page }
    }

    /// What happened to a job after that event.
    pub(super) fn news(&self, job: JobId, after: Sequence) -> News {
        if after.0.saturating_add(1) < self.first() {
            return News::Much;
        }
        let mut tasks = BTreeSet::new();
        for (_, entry) in self.since(after) {
            match entry.about {
                About::Job { job: of, task, .. } if of == job => match task {
                    Some(task) => drop(tasks.insert(task)),
                    None => return News::Much,
                },
                _ => {}
            }
        }
        if tasks.is_empty() {
            News::Nothing
        } else {
            News::Tasks(tasks)
        }
    }
}

impl About {
    /// Whom an event concerns, asked before it is applied: after that its job may be gone.
    pub(super) fn of(cluster: &Cluster, event: &Event) -> Self {
        match event {
            Event::PoolAdded { .. }
            | Event::PoolChanged { .. }
            | Event::PoolRemoved { .. }
            | Event::NodeStartChanged { .. }
            | Event::NodeErrandChanged { .. }
            | Event::GroupAdded { .. }
            | Event::GroupRemoved { .. }
            | Event::GroupJoined { .. }
            | Event::GroupLeft { .. }
            | Event::NodeJoined { .. }
            | Event::NodeRenewed { .. }
            | Event::NodeRemoved { .. }
            | Event::NodeUp { .. }
            | Event::NodeSuspected { .. }
            | Event::NodeReturned { .. }
            | Event::NodeLost { .. }
            | Event::NodeSwitched { .. } => Self::Floor,
            Event::TokenAdded { .. }
            | Event::TokenUsed { .. }
            | Event::TokenRemoved { .. }
            | Event::UserAdded { .. }
            | Event::UserRemoved { .. }
            | Event::LoginOffered { .. }
            | Event::LoggedIn { .. }
            | Event::CredentialRevoked { .. }
            | Event::SettingsChanged { .. } => Self::Rights,
            Event::ScheduleChanged { schedule } => Self::Owned {
                owner: schedule.owner.uid,
            },
            Event::ScheduleRemoved { schedule } => match cluster.schedule(schedule) {
                Some(row) => Self::Owned { owner: row.owner.uid },
                None => Self::Remains,
            },
            Event::JobAdded { job, owner, .. } | Event::JobCreated { job, owner, .. } => Self::Job {
                job: *job,
                task: None,
                owner: owner.uid,
            },
            Event::JobRevived { job, .. } => Self::Job {
                job: job.id,
                task: None,
                owner: job.owner.uid,
            },
            Event::TasksAdded { job, .. }
            | Event::JobSubmitted { job, .. }
            | Event::JobModified { job, .. }
            | Event::JobRequeued { job }
            | Event::JobStopping { job, .. }
            | Event::JobDisabled { job }
            | Event::JobEnabled { job }
            | Event::JobDeleting { job }
            | Event::JobDeleted { job }
            | Event::JobEnded { job, .. } => Self::job(cluster, *job, None),
            // Many tasks of the job are otherwise now.
            Event::ArrayRestCanceled { task, .. } | Event::ArrayRestRequeued { task } => {
                Self::job(cluster, task.job, None)
            }
            Event::Granted { task, .. }
            | Event::TaskRequeued { task, .. }
            | Event::TaskEnded { task, .. }
            | Event::ErrandAdded { task }
            | Event::ErrandForgotten { task } => Self::job(cluster, task.job, Some(*task)),
            Event::AttemptStarted { attempt, .. }
            | Event::AttemptStopping { attempt, .. }
            | Event::AttemptSent { attempt }
            | Event::Coordinated { attempt, .. }
            | Event::Advanced { attempt, .. }
            | Event::Recalled { attempt }
            | Event::AttemptEnded { attempt, .. }
            | Event::ShareReleased { attempt, .. } => match cluster.attempt(*attempt) {
                Some(attempt) => Self::job(cluster, attempt.task.job, Some(attempt.task)),
                None => Self::Remains,
            },
        }
    }

    fn job(cluster: &Cluster, job: JobId, task: Option<TaskId>) -> Self {
        match cluster.job(job) {
            Some(row) => Self::Job {
                job,
                task,
                owner: row.owner.uid,
            },
            None => Self::Remains,
        }
    }

    fn concerns(self, caller: &Caller) -> bool {
        match self {
            Self::Floor => caller.role >= Role::User,
            Self::Rights => caller.role >= Role::Administrator,
            Self::Job { owner, .. } => {
                caller.role >= Role::Operator || (caller.role == Role::User && caller.owner.uid == owner)
            }
            Self::Owned { owner } => {
                caller.role >= Role::Operator || (caller.role == Role::User && caller.owner.uid == owner)
            }
            Self::Remains => caller.role >= Role::Operator,
        }
    }
}

/// Takes away what nobody looks at, and what nobody may know.
fn cut(event: &mut Event) {
    match event {
        Event::JobAdded { tasks, .. } | Event::TasksAdded { tasks, .. } => {
            tasks.truncate(TASKS_SHOWN);
            tasks.shrink_to_fit();
        }
        Event::JobRevived { tasks, chunks, .. } => {
            tasks.truncate(TASKS_SHOWN);
            tasks.shrink_to_fit();
            chunks.clear();
            chunks.shrink_to_fit();
        }
        Event::TokenAdded { token } => token.hash.clear(),
        Event::TokenUsed { hash } | Event::TokenRemoved { hash } => hash.clear(),
        Event::LoginOffered { token, .. } => token.hash.clear(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use proto::ids::{NodeId, PoolName};
    use proto::model::job::JobSpec;
    use proto::model::owner::Owner;
    use proto::model::task::TaskSpec;
    use proto::stored::TokenRow;
    use scheduler::Settings;

    use super::*;

    fn caller(uid: u32, role: Role) -> Caller {
        let owner = Owner {
            name: format!("u{uid}"),
            uid,
            gid: uid,
        };
        Caller { owner, role }
    }

    #[test]
    fn numbers_beyond_all_events_find_none() {
        let mut ring = Ring::after(Sequence(0));
        ring.push(suspected(1), About::Floor, Timestamp(1));
        let after = Sequence(u64::MAX);
        let page = ring.page(&caller(0, Role::Administrator), after, 9);
        assert!(page.events.is_empty() && !page.missed, "{page:?}");
        assert_eq!(page.last, after);
        assert_eq!(ring.news(JobId(1), after), News::Nothing);
    }

    fn suspected(node: u32) -> Event {
        Event::NodeSuspected {
            node: NodeId(node),
            at: Timestamp(1),
        }
    }

    fn job(number: u64, owner: u32, tasks: usize) -> Event {
        Event::JobAdded {
            job: JobId(number),
            submission: proto::ids::SubmissionId(u128::from(number)),
            owner: caller(owner, Role::User).owner,
            spec: Box::new(JobSpec::default()),
            tasks: vec![TaskSpec::of_command(vec!["true".to_owned()]); tasks],
            at: Timestamp(1),
            schedule: None,
        }
    }

    fn pushed(ring: &mut Ring, cluster: &mut Cluster, event: Event) {
        let about = About::of(cluster, &event);
        cluster.apply(&event);
        ring.push(event, about, Timestamp(5));
    }

    #[test]
    fn the_oldest_go_and_their_absence_is_told() {
        let mut ring = Ring::after(Sequence(100));
        let root = caller(0, Role::Administrator);
        assert!(
            !ring.page(&root, Sequence(100), MAX_EVENTS).missed,
            "nothing was missed"
        );
        assert!(
            ring.page(&root, Sequence(99), MAX_EVENTS).missed,
            "before the start of this process"
        );
        for node in 0..10_005 {
            ring.push(suspected(node), About::Floor, Timestamp(1));
        }
        let page = ring.page(&root, Sequence(100), MAX_EVENTS);
        assert!(page.missed);
        assert_eq!((page.events.len(), page.events[0].sequence), (10_000, Sequence(106)));
        assert_eq!(page.last, Sequence(10_105));
        let page = ring.page(&root, Sequence(10_104), MAX_EVENTS);
        assert_eq!((page.events.len(), page.missed), (1, false));
        assert!(ring.page(&root, page.last, MAX_EVENTS).events.is_empty());
        assert_eq!(
            ring.page(&root, Sequence(u64::MAX - 1), MAX_EVENTS).last,
            Sequence(u64::MAX - 1),
            "from the future"
        );
        assert!(!ring.newest(&root).missed, "all that are kept were asked for");
        let page = ring.page(&root, Sequence(10_000), 10);
        assert_eq!((page.events.len(), page.last, page.more), (10, Sequence(10_010), true));
    }

    #[test]
    fn everyone_sees_nodes_and_their_own_and_no_more() {
        let mut cluster = Cluster::new(Settings::default());
        let mut ring = Ring::after(Sequence(0));
        pushed(&mut ring, &mut cluster, job(1, 7, 1));
        pushed(&mut ring, &mut cluster, job(2, 8, 1));
        pushed(&mut ring, &mut cluster, suspected(1));
        let token = TokenRow {
            hash: "ab".repeat(32),
            pool: PoolName::new("p").expect("a name"),
            groups: Vec::new(),
            expires_at: Timestamp(9),
            uses_left: 1,
        };
        pushed(&mut ring, &mut cluster, Event::TokenAdded { token });
        let seen = |who: &Caller| -> Vec<u64> {
            let page = ring.page(who, Sequence(0), MAX_EVENTS);
            page.events.iter().map(|happened| happened.sequence.0).collect()
        };
        assert_eq!(seen(&caller(7, Role::User)), [1, 3]);
        assert_eq!(seen(&caller(9, Role::User)), [3]);
        assert_eq!(seen(&caller(9, Role::Operator)), [1, 2, 3]);
        assert_eq!(seen(&caller(0, Role::Administrator)), [1, 2, 3, 4]);
        assert_eq!(seen(&caller(7, Role::Node)), [0_u64; 0]);
        let page = ring.page(&caller(0, Role::Administrator), Sequence(3), MAX_EVENTS);
        assert!(
            matches!(&*page.events[0].event, Event::TokenAdded { token } if token.hash.is_empty()),
            "a hash must not leave: {page:?}"
        );
    }

    #[test]
    fn large_submissions_are_cut_and_bound_by_bytes() {
        let mut cluster = Cluster::new(Settings::default());
        let mut ring = Ring::after(Sequence(0));
        pushed(&mut ring, &mut cluster, job(1, 7, 1000));
        let page = ring.page(&caller(7, Role::User), Sequence(0), MAX_EVENTS);
        assert!(
            matches!(&*page.events[0].event, Event::JobAdded { tasks, .. } if tasks.len() == 10),
            "{page:?}"
        );
        let large = || Event::JobModified {
            job: JobId(1),
            spec: Box::new(JobSpec {
                env: [("V".to_owned(), Some("x".repeat(1 << 20)))].into(),
                ..JobSpec::default()
            }),
            progress: None,
        };
        for _ in 0..100 {
            ring.push(large(), About::Remains, Timestamp(1));
        }
        assert!(ring.bytes <= MAX_BYTES && ring.entries.len() < 40, "{}", ring.bytes);
        let root = caller(0, Role::Administrator);
        let page = ring.page(&root, Sequence(90), MAX_EVENTS);
        assert!(page.more && page.last < Sequence(101), "one frame does not hold all");
        let rest = ring.page(&root, page.last, MAX_EVENTS);
        assert_eq!(page.events.len() + rest.events.len(), 11);
        let newest = ring.newest(&root);
        assert_eq!(
            newest.events.last().map(|happened| happened.sequence),
            Some(Sequence(101))
        );
        assert!(newest.missed, "and it says that there were older ones");
    }

    #[test]
    fn news_of_a_job_are_its_tasks_or_much() {
        let mut cluster = Cluster::new(Settings::default());
        let mut ring = Ring::after(Sequence(0));
        pushed(&mut ring, &mut cluster, job(1, 7, 2));
        assert_eq!(ring.news(JobId(1), Sequence(0)), News::Much);
        assert_eq!(ring.news(JobId(1), Sequence(1)), News::Nothing);
        let task = TaskId::new(JobId(1), proto::ids::TaskNumber(2));
        pushed(&mut ring, &mut cluster, suspected(1));
        let requeued = Event::TaskRequeued {
            task,
            asked: true,
            retry: false,
            afresh: false,
        };
        ring.push(requeued, About::job(&cluster, JobId(1), Some(task)), Timestamp(1));
        assert_eq!(ring.news(JobId(1), Sequence(1)), News::Tasks([task].into()));
        assert_eq!(ring.news(JobId(2), Sequence(1)), News::Nothing);
    }
}
