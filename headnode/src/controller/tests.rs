//! The two threads with a store that fails: what is told, what is not, and that it goes on when there is room.

use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};

use proto::client::RefusalCode;
use proto::control::HeadMessage;
use proto::ids::{JobId, SubmissionId, TaskId};
use proto::model::array::ChunkRow;
use proto::model::job::{JobRow, JobSpec};
use proto::model::owner::{Caller, Owner, Role};
use proto::model::task::{TaskRow, TaskSpec};
use proto::stored::{Row, RowKey};
use scheduler::{Answer, Input, Settings};

use super::*;
use crate::round::LinkId;
use crate::store::MemoryStore;

/// How long anything may take that takes a moment.
const SOON: Duration = Duration::from_secs(30);

/// What the disk is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Disk {
    Good,
    Full,
    /// The committer panics.
    Mad,
}

/// Rows in memory on a disk that is said to be full.
struct FailingStore {
    rows: MemoryStore,
    disk: Mutex<Disk>,
    /// Told at each try that fails.
    tries: Sender<()>,
}

impl FailingStore {
    fn set(&self, disk: Disk) {
        *self.disk.lock().expect("no panic") = disk;
    }
}

impl Store for FailingStore {
    fn load(&self) -> Result<Vec<Row>, StoreError> {
        self.rows.load()
    }

    fn commit(&self, changes: &[Change]) -> Result<(), StoreError> {
        let disk = *self.disk.lock().expect("no panic");
        match disk {
            Disk::Good => self.rows.commit(changes),
            Disk::Full => {
                let _ = self.tries.send(());
                Err(StoreError::Full {
                    folder: PathBuf::from("/var/lib/muster"),
                    free_bytes: 7,
                })
            }
            Disk::Mad => panic!("sled's log thread panicked"),
        }
    }

    fn row(&self, key: &RowKey) -> Result<Option<Row>, StoreError> {
        self.rows.row(key)
    }

    fn jobs_down(&self, before: Option<JobId>, take: &mut dyn FnMut(JobRow) -> bool) -> Result<(), StoreError> {
        self.rows.jobs_down(before, take)
    }

    fn tasks_up(
        &self,
        job: JobId,
        after: Option<TaskId>,
        take: &mut dyn FnMut(TaskRow) -> bool,
    ) -> Result<(), StoreError> {
        self.rows.tasks_up(job, after, take)
    }

    fn chunks_up(
        &self,
        job: JobId,
        from: Option<(TaskId, u32)>,
        take: &mut dyn FnMut(ChunkRow) -> bool,
    ) -> Result<(), StoreError> {
        self.rows.chunks_up(job, from, take)
    }
}

struct Out(Sender<Departure<u32>>);

impl Outbox<u32> for Out {
    fn send(&mut self, departure: Departure<u32>) {
        let _ = self.0.send(departure);
    }
}

struct Head {
    controller: Controller<u32>,
    store: Arc<FailingStore>,
    departures: Receiver<Departure<u32>>,
    tries: Receiver<()>,
}

fn head() -> Head {
    let (tries, seen) = channel();
    let store = Arc::new(FailingStore {
        rows: MemoryStore::default(),
        disk: Mutex::new(Disk::Good),
        tries,
    });
    let (out, departures) = channel();
    let view = View::new(Cluster::new(Settings::default()), Arc::clone(&store) as Arc<dyn Store>);
    let welcome = Welcome {
        version: proto::frame::VERSION,
        cluster: "test".to_owned(),
        timing: Settings::default().timing,
    };
    let controller = Controller::start(
        Cluster::new(Settings::default()),
        Arc::clone(&store) as Arc<dyn Store>,
        Arc::new(view),
        Out(out),
        Clock::start(),
        welcome,
    );
    Head {
        controller: controller.expect("starts"),
        store,
        departures,
        tries: seen,
    }
}

impl Head {
    fn submit(&self, number: u32) {
        let caller = Caller {
            owner: Owner {
                name: "root".to_owned(),
                uid: 0,
                gid: 0,
            },
            role: Role::Administrator,
        };
        let input = Input::Submit {
            caller,
            submission: SubmissionId(u128::from(number)),
            job: Box::new(JobSpec::default()),
            tasks: vec![TaskSpec::of_command(vec!["true".to_owned()])],
        };
        let sent = self
            .controller
            .arrivals
            .blocking_send(Arrival::Request { input, slot: number });
        assert!(sent.is_ok(), "the controller runs");
    }

    fn next(&self) -> Departure<u32> {
        self.departures.recv_timeout(SOON).expect("a departure")
    }

    fn accepted(&self) -> u32 {
        match self.next() {
            Departure::Answer {
                slot,
                answer: Ok(Answer::Submitted { .. }),
                ..
            } => slot,
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_full_disk_refuses_hears_nodes_and_goes_on_when_there_is_room() {
    let head = head();
    head.submit(1);
    assert_eq!(head.accepted(), 1);
    head.store.set(Disk::Full);
    head.submit(2);
    head.tries.recv_timeout(SOON).expect("is tried");
    head.tries.recv_timeout(SOON).expect("and tried again");

    head.submit(3);
    match head.next() {
        Departure::Answer {
            slot: 3,
            answer: Err(refusal),
            ..
        } => {
            assert_eq!(refusal.code, RefusalCode::Busy);
            assert!(refusal.what.contains("/var/lib/muster, 7 bytes free"), "{refusal}");
        }
        other => panic!("{other:?}"),
    }
    let (node, link) = (NodeId(1), LinkId(1));
    let heartbeat = Arrival::Heartbeat { node, link, number: 5 };
    assert!(head.controller.arrivals.blocking_send(heartbeat).is_ok());
    let taken = HeadMessage::HeartbeatTaken { number: 5 };
    assert!(matches!(head.next(), Departure::ToNode { message, .. } if message == taken));

    head.store.set(Disk::Good);
    assert_eq!(head.accepted(), 2, "the round that met the full disk");
    head.submit(4);
    assert_eq!(head.accepted(), 4);
    head.controller.join().expect("a good end");
    let jobs = head.store.load().expect("loads").into_iter();
    assert_eq!(jobs.filter(|row| matches!(row, Row::Job(_))).count(), 3);
}

#[test]
fn an_end_during_a_shortage_tells_nobody_that_it_was_stored() {
    let head = head();
    head.store.set(Disk::Full);
    head.submit(1);
    head.tries.recv_timeout(SOON).expect("is tried");
    assert!(head.controller.join().expect_err("the round was not stored").is_full());
    assert!(head.departures.recv_timeout(SOON).is_err(), "nothing left");
}

#[test]
fn a_panic_of_the_committer_lets_nothing_of_its_round_leave() {
    let head = head();
    head.store.set(Disk::Mad);
    head.submit(1);
    let error = head.controller.join().expect_err("the store panicked");
    assert!(
        matches!(&error, StoreError::Panicked { what } if what.contains("log thread")),
        "{error}"
    );
    assert!(head.departures.recv_timeout(SOON).is_err(), "nothing left");
    assert!(head.store.load().expect("loads").is_empty());
}
