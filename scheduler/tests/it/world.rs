//! A cluster with what a shell would do around it: it decides, applies, plans, keeps a store of rows, and after every
//! round compares the store with memory.

use std::collections::BTreeMap;

use proto::client::Refusal;
use proto::control::Hello;
use proto::event::Event;
use proto::frame::VERSION;
use proto::ids::{BootId, GroupName, JobId, KeyHash, NodeId, NodeName, PoolName, TaskId};
use proto::model::node::{Inventory, Liveness};
use proto::model::owner::{Caller, Owner, Role};
use proto::stored::{Change, Row, RowKey, TokenRow};
use proto::units::{Millis, Monotonic, Now, Timestamp};
use scheduler::{Action, Answer, Cluster, Input, Settings, StoredJob};

/// The wall clock at the start of a story, unlike the monotonic one.
pub(crate) const EPOCH: Timestamp = Timestamp(1_000_000);

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    /// Follows events only, as the head node's read model does.
    replica: Cluster,
    pub(crate) settings: Settings,
    pub(crate) now: Now,
    store: BTreeMap<RowKey, Row>,
    tokens: u32,
}

/// What a round did.
pub(crate) struct Round {
    pub(crate) answer: Result<Answer, Refusal>,
    pub(crate) events: Vec<Event>,
    pub(crate) actions: Vec<Action>,
}

impl World {
    pub(crate) fn new(settings: Settings) -> Self {
        settings.check().expect("clocks that hold");
        let now = Now {
            wall: EPOCH,
            monotonic: Monotonic(0),
        };
        let mut cluster = Cluster::new(settings);
        cluster.advance(now);
        Self {
            cluster,
            replica: Cluster::new(settings),
            settings,
            now,
            store: BTreeMap::new(),
            tokens: 0,
        }
    }

    /// One input and the placement pass after it, as the head node's round has it.
    pub(crate) fn round(&mut self, input: &Input) -> Round {
        let mut round = Round {
            answer: Ok(Answer::None),
            events: Vec::new(),
            actions: Vec::new(),
        };
        self.cluster.advance(self.now);
        match scheduler::decide(&self.cluster, input, self.now) {
            Ok(decision) => {
                round.answer = Ok(decision.answer);
                self.carry_out(&mut round, decision.events);
                round.actions.extend(decision.actions);
            }
            Err(refusal) => round.answer = Err(refusal),
        }
        self.expect_consistent();
        if let (Input::NodeUp { node, hello, .. }, Ok(_)) = (input, &round.answer) {
            let orders = scheduler::resync(&self.cluster, *node, &hello.held);
            round
                .actions
                .extend(orders.into_iter().map(|order| Action::Order { node: *node, order }));
        }
        let plan = scheduler::plan(&self.cluster, self.now);
        self.carry_out(&mut round, plan.events);
        let rest = scheduler::plan(&self.cluster, self.now).events;
        if self.counts_in_two_units() {
            // What such a job may take depends on what was taken since; the next round has the rest.
            self.carry_out(&mut round, rest);
        } else {
            assert_eq!(rest, [], "one pass places all that fits");
        }
        self.commit();
        self.expect_consistent();
        self.expect_restorable();
        self.expect_replayed();
        round
    }

    /// Whether a job is bounded in another unit than one of its tasks asks in.
    fn counts_in_two_units(&self) -> bool {
        let unit = std::mem::discriminant::<proto::model::task::Request>;
        self.cluster.jobs().any(|job| {
            job.spec.units.is_some_and(|units| {
                let mut tasks = self.cluster.tasks_of(job.id);
                tasks.any(|task| unit(&task.spec.request) != unit(&units.min))
            })
        })
    }

    fn carry_out(&mut self, round: &mut Round, events: Vec<Event>) {
        for event in events {
            let before = self.cluster.sequence();
            self.cluster.apply(&event);
            self.replica.apply(&event);
            assert_eq!(self.cluster.sequence().0, before.0 + 1);
            round.actions.extend(scheduler::react(&self.cluster, &event));
            round.events.push(event);
        }
    }

    fn commit(&mut self) {
        for change in self.cluster.take_changes() {
            match change {
                Change::Put(row) => self.store.insert(row.key(), row),
                Change::Delete(key) => self.store.remove(&key),
                Change::DeleteJob(job) => {
                    self.store.retain(|key, _| match key {
                        RowKey::Job(id) => *id != job,
                        RowKey::Task(id) | RowKey::Chunk(id, _) => id.job != job,
                        _ => true,
                    });
                    None
                }
            };
        }
        assert_eq!(self.cluster.take_changes(), [], "each change is told once");
    }

    fn expect_consistent(&self) {
        self.cluster.check().expect("invariants hold");
    }

    /// What a head node would load: all rows but jobs that are over and their tasks, unless they are to be deleted.
    fn live_rows(&self) -> Vec<Row> {
        let over = |job| matches!(self.store.get(&RowKey::Job(job)), Some(Row::Job(row)) if row.state.is_ended() && !row.deleting);
        let is_live = |row: &&Row| match row {
            Row::Job(row) => !row.state.is_ended() || row.deleting,
            Row::Task(row) => !over(row.id.job),
            Row::Chunk(row) => !over(row.array.job),
            _ => true,
        };
        self.store.values().filter(is_live).cloned().collect()
    }

    /// The same events give the same state.
    fn expect_replayed(&self) {
        assert!(
            self.replica.rows().eq(self.cluster.rows()),
            "a replica that follows the events holds what memory holds"
        );
    }

    /// Stored rows are the state: what a restart would know is what memory knows, short of who answers.
    fn expect_restorable(&self) {
        let restored = Cluster::restore(self.settings, self.live_rows(), self.now).expect("restores");
        restored.check().expect("invariants hold after a restart");
        let over = |job| self.cluster.job(job).is_none_or(|row| row.state.is_ended());
        let compared = |rows: &Cluster| -> Vec<Row> {
            let mut rows: Vec<Row> = rows.rows().collect();
            rows.retain(|row| match row {
                Row::Job(row) => !over(row.id),
                Row::Task(row) => !over(row.id.job),
                Row::Chunk(row) => !over(row.array.job),
                _ => true,
            });
            for row in &mut rows {
                if let Row::Node(row) = row
                    && !matches!(row.liveness, Liveness::Joined | Liveness::Lost { .. })
                {
                    row.liveness = Liveness::Up { since: Timestamp(0) };
                }
            }
            rows
        };
        assert_eq!(
            compared(&restored),
            compared(&self.cluster),
            "the store holds what memory holds"
        );
    }

    /// The head node is killed and starts again.
    pub(crate) fn restart(&mut self) {
        let restored = || Cluster::restore(self.settings, self.live_rows(), self.now).expect("restores");
        (self.cluster, self.replica) = (restored(), restored());
        self.commit();
        self.expect_consistent();
    }

    pub(crate) fn pass(&mut self, span: Millis) {
        self.now.wall = self.now.wall + span;
        self.now.monotonic = self.now.monotonic + span;
    }

    /// The number that the next job gets.
    pub(crate) fn next_job(&self) -> JobId {
        match self.store.get(&RowKey::Meta) {
            Some(Row::Meta(meta)) => meta.next_job,
            _ => JobId(1),
        }
    }

    /// A job that has left memory, as a shell reads it for a request.
    pub(crate) fn stored_job(&self, id: JobId) -> Option<Box<StoredJob>> {
        let Some(Row::Job(job)) = self.store.get(&RowKey::Job(id)) else {
            return None;
        };
        let of_job = RowKey::Task(TaskId::first_of(id))..=RowKey::Task(TaskId::last_of(id));
        let tasks = self.store.range(of_job).filter_map(|(_, row)| match row {
            Row::Task(task) => Some((**task).clone()),
            _ => None,
        });
        let first = RowKey::Chunk(TaskId::first_of(id), 0);
        let chunks = self
            .store
            .range(first..=RowKey::Chunk(TaskId::last_of(id), u32::MAX))
            .filter_map(|(_, row)| match row {
                Row::Chunk(chunk) => Some(chunk.clone()),
                _ => None,
            });
        self.cluster.job(id).is_none().then(|| {
            Box::new(StoredJob {
                job: (**job).clone(),
                tasks: tasks.collect(),
                chunks: chunks.collect(),
            })
        })
    }

    /// A row as it is on disk.
    pub(crate) fn stored(&self, key: &RowKey) -> Option<&Row> {
        self.store.get(key)
    }

    /// Lets a node join, without a hello.
    pub(crate) fn join(&mut self, name: &str, pool: &str, groups: &[&str]) -> NodeId {
        self.tokens += 1;
        let token = TokenRow {
            hash: format!("token{}", self.tokens),
            pool: PoolName::new(pool).expect("a pool name"),
            groups: groups
                .iter()
                .map(|name| GroupName::new(name).expect("a group name"))
                .collect(),
            expires_at: self.now.wall + Millis(1),
            uses_left: 1,
        };
        let hash = token.hash.clone();
        self.round(&Input::MakeToken { caller: root(), token })
            .answer
            .expect("a token");
        let name = NodeName::new(name).expect("a node name");
        match self
            .round(&Input::Join {
                secret_hash: hash,
                name,
                key: key(self.tokens),
                certificate_ends: self.now.wall + Millis::from_seconds(3600),
            })
            .answer
            .expect("joins")
        {
            Answer::Joined { node, .. } => node,
            other => panic!("a join is answered by {other:?}"),
        }
    }

    pub(crate) fn node_up(&mut self, hello: Hello) -> Round {
        let row = self.cluster.node_by_name(&hello.name).expect("a node of that name");
        let (node, key) = (row.id, row.key.expect("a key"));
        self.cluster.heard(node, self.now.monotonic);
        self.round(&Input::NodeUp {
            node,
            key,
            hello: Box::new(hello),
        })
    }

    pub(crate) fn heard(&mut self, node: NodeId) -> Round {
        self.cluster.heard(node, self.now.monotonic);
        self.round(&Input::Heard { node })
    }
}

pub(crate) fn hello(name: &str, cores: u32, boot: u128) -> Hello {
    Hello {
        version: VERSION,
        name: NodeName::new(name).expect("a node name"),
        boot: BootId(boot),
        inventory: Inventory {
            cores,
            memory_bytes: 1 << 30,
            ..Inventory::default()
        },
        peer: "127.0.0.1:1".parse().expect("an address"),
        held: Vec::new(),
        clock: None,
    }
}

/// A key, one per number.
pub(crate) fn key(number: u32) -> KeyHash {
    let mut hash = [0; 32];
    hash[..4].copy_from_slice(&number.to_be_bytes());
    KeyHash(hash)
}

pub(crate) fn user(name: &str) -> Caller {
    let uid = 1000 + u32::from(name.as_bytes()[0]);
    Caller {
        owner: Owner {
            name: name.to_owned(),
            uid,
            gid: uid,
        },
        role: Role::User,
    }
}

pub(crate) fn root() -> Caller {
    Caller {
        owner: Owner {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
        },
        role: Role::Administrator,
    }
}
