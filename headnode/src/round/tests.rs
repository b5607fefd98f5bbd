//! Rounds on a memory store: what leaves, in which order, and that a crash after any round loses nothing acknowledged.

use std::collections::BTreeSet;
use std::sync::Arc;

use proto::client::Refusal;
use proto::control::{HeadMessage, Hello, Order, Report};
use proto::event::Event;
use proto::frame::VERSION;
use proto::ids::{BootId, JobId, KeyHash, NodeId, NodeName, PoolName, SubmissionId};
use proto::model::job::JobSpec;
use proto::model::node::Inventory;
use proto::model::owner::{Caller, Owner, Role};
use proto::model::task::{AttemptOutcome, TaskSpec};
use proto::stored::TokenRow;
use proto::units::{Millis, Monotonic, Now, Timestamp};
use scheduler::{Answer, Cluster, Input, Settings};

use super::{Arrival, Departure, Flight, LinkId, Welcome, round};
use crate::past::Past;
use crate::store::{MemoryStore, Store};

const LINK: LinkId = LinkId(1);

const KEY: KeyHash = KeyHash([7; 32]);

/// A head node without threads and sockets.
struct Head {
    cluster: Cluster,
    store: Arc<MemoryStore>,
    past: Past,
    now: Now,
}

impl Head {
    fn new() -> Self {
        let now = Now {
            wall: Timestamp(1_000_000),
            monotonic: Monotonic(1_000),
        };
        let store = Arc::new(MemoryStore::default());
        Self {
            cluster: Cluster::new(Settings::default()),
            past: Past::new(Arc::clone(&store) as Arc<dyn Store>),
            store,
            now,
        }
    }

    fn round(&mut self, arrivals: Vec<Arrival<&'static str>>) -> Flight<&'static str> {
        let flight = self.decided(arrivals);
        self.store.commit(&flight.changes).expect("commits");
        flight
    }

    /// A round whose flush has yet to come.
    fn decided(&mut self, arrivals: Vec<Arrival<&'static str>>) -> Flight<&'static str> {
        self.now.monotonic = self.now.monotonic + Millis(1);
        let welcome = Welcome {
            version: VERSION,
            cluster: "test".to_owned(),
            timing: Settings::default().timing,
        };
        let flight = round(&mut self.cluster, arrivals, self.now, &welcome, &mut self.past);
        self.cluster.check().expect("a sound cluster");
        flight
    }

    fn ask(&mut self, input: Input) -> Result<Answer, Refusal> {
        let flight = self.round(vec![Arrival::Request { input, slot: "asker" }]);
        let answers = flight.departures.into_iter().filter_map(|departure| match departure {
            Departure::Answer { answer, .. } => Some(answer),
            _ => None,
        });
        answers.into_iter().next_back().expect("an answer")
    }

    /// Kill and restart: only the store survives.
    fn crash(&mut self) {
        let rows = self.store.load().expect("loads");
        self.cluster = Cluster::restore(Settings::default(), rows, self.now).expect("restores");
    }

    fn join(&mut self, name: &str) -> NodeId {
        let token = TokenRow {
            hash: "ab".repeat(32),
            pool: PoolName::new("local").expect("a name"),
            groups: Vec::new(),
            expires_at: self.now.wall + Millis::from_seconds(60),
            uses_left: 8,
        };
        self.ask(Input::MakeToken {
            caller: root(),
            token: token.clone(),
        })
        .expect("a token");
        let name = NodeName::new(name).expect("a name");
        match self
            .ask(Input::Join {
                secret_hash: token.hash,
                name,
                key: KEY,
                certificate_ends: self.now.wall + Millis::from_seconds(3600),
            })
            .expect("joins")
        {
            Answer::Joined { node, .. } => node,
            other => panic!("{other:?}"),
        }
    }

    fn submit(&mut self, submission: u128) -> Result<Answer, Refusal> {
        let tasks = vec![TaskSpec::of_command(vec!["true".to_owned()])];
        let submission = SubmissionId(submission);
        self.ask(Input::Submit {
            caller: root(),
            submission,
            job: Box::new(JobSpec::default()),
            tasks,
        })
    }
}

fn root() -> Caller {
    Caller {
        owner: Owner {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
        },
        role: Role::Administrator,
    }
}

fn hello(name: &str) -> Box<Hello> {
    Box::new(Hello {
        version: VERSION,
        name: NodeName::new(name).expect("a name"),
        boot: BootId(1),
        inventory: Inventory {
            cores: 2,
            core_ids: vec![0, 1],
            memory_bytes: 1 << 30,
            ..Inventory::default()
        },
        peer: ([127, 0, 0, 2], 4000).into(),
        held: Vec::new(),
        clock: None,
    })
}

fn messages<'a>(flight: &'a Flight<&'static str>) -> Vec<&'a HeadMessage> {
    let messages = flight.departures.iter().filter_map(|departure| match departure {
        Departure::ToNode { message, .. } => Some(message),
        _ => None,
    });
    messages.collect()
}

fn starts(flight: &Flight<&'static str>) -> Vec<u64> {
    let orders = messages(flight).into_iter().filter_map(|message| match message {
        HeadMessage::Orders { orders } => Some(orders),
        _ => None,
    });
    let starts = orders.flatten().filter_map(|order| match order {
        Order::Start(start) => Some(start.attempt.0),
        _ => None,
    });
    starts.collect()
}

#[test]
fn a_submission_is_granted_in_the_round_that_stores_it() {
    let mut head = Head::new();
    let node = head.join("n1");
    let flight = head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n1"),
    }]);
    assert!(
        matches!(messages(&flight)[..], [HeadMessage::Welcome { .. }]),
        "{flight:?}"
    );
    let tasks = vec![TaskSpec::of_command(vec!["true".to_owned()])];
    let input = Input::Submit {
        caller: root(),
        submission: SubmissionId(1),
        job: Box::default(),
        tasks,
    };
    let flight = head.round(vec![Arrival::Request { input, slot: "asker" }]);
    assert_eq!(starts(&flight).len(), 1);
    assert!(!flight.changes.is_empty(), "a grant is stored before it leaves");
}

#[test]
fn a_submission_that_is_repeated_is_one_job() {
    let mut head = Head::new();
    let first = head.submit(7).expect("accepted");
    assert_eq!(
        first,
        Answer::Submitted {
            job: JobId(1),
            repeated: false
        }
    );
    head.crash();
    assert_eq!(
        head.submit(7).expect("accepted"),
        Answer::Submitted {
            job: JobId(1),
            repeated: true
        }
    );
    assert_eq!(
        head.submit(8).expect("accepted"),
        Answer::Submitted {
            job: JobId(2),
            repeated: false
        }
    );
}

#[test]
fn orders_that_a_crash_swallowed_are_sent_again() {
    let mut head = Head::new();
    let node = head.join("n1");
    head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n1"),
    }]);
    head.submit(1).expect("accepted");
    // The start was stored; the head dies before the node hears of it.
    head.crash();
    let flight = head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n1"),
    }]);
    assert!(
        matches!(messages(&flight)[0], HeadMessage::Welcome { .. }),
        "the welcome goes first"
    );
    let again: BTreeSet<u64> = starts(&flight).into_iter().collect();
    assert_eq!(again.len(), 1, "once, not by resync and plan both: {flight:?}");
}

#[test]
fn an_end_that_is_reported_twice_ends_once() {
    let mut head = Head::new();
    let node = head.join("n1");
    head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n1"),
    }]);
    head.submit(1).expect("accepted");
    let attempt = head.cluster.attempts().next().expect("granted").id;
    let end = || {
        let outcome = AttemptOutcome::Exited { code: 0 };
        let reports = vec![Report::Ended {
            attempt,
            outcome,
            at: Timestamp(5),
            started_at: None,
            then: None,
        }];
        Arrival::Reports {
            node,
            link: LINK,
            boot: BootId(1),
            number: 1,
            reports,
        }
    };
    let first = head.round(vec![end()]);
    assert!(
        messages(&first)
            .iter()
            .any(|message| matches!(message, HeadMessage::ReportsTaken { number: 1 }))
    );
    let second = head.round(vec![end()]);
    assert!(second.events.is_empty(), "{second:?}");
    assert!(
        messages(&second)
            .iter()
            .any(|message| matches!(message, HeadMessage::ReportsTaken { number: 1 }))
    );
}

#[test]
fn a_heartbeat_alone_needs_no_flush() {
    let mut head = Head::new();
    let node = head.join("n1");
    head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n1"),
    }]);
    let flight = head.round(vec![Arrival::Heartbeat {
        node,
        link: LINK,
        number: 3,
    }]);
    assert!(flight.changes.is_empty(), "{flight:?}");
    assert!(matches!(
        messages(&flight)[..],
        [HeadMessage::HeartbeatTaken { number: 3 }]
    ));
}

#[test]
fn a_hello_that_is_refused_gets_no_welcome_and_does_not_count_as_heard() {
    let mut head = Head::new();
    let node = head.join("n1");
    let flight = head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n2"),
    }]);
    assert!(
        matches!(flight.departures[..], [Departure::Disconnect { .. }]),
        "{flight:?}"
    );
    assert!(flight.events.is_empty());
}

#[test]
fn orders_are_cut_into_messages_that_fit_into_frames() {
    let mut head = Head::new();
    let node = head.join("n1");
    let mut large = hello("n1");
    large.inventory.cores = 400;
    head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: large,
    }]);
    let word = "x".repeat(30_000);
    let tasks = vec![TaskSpec::of_command(vec!["echo".to_owned(), word]); 400];
    let input = Input::Submit {
        caller: root(),
        submission: SubmissionId(1),
        job: Box::default(),
        tasks,
    };
    let flight = head.round(vec![Arrival::Request { input, slot: "asker" }]);
    assert_eq!(starts(&flight).len(), 400);
    for message in messages(&flight) {
        proto::frame::encode(message, &mut Vec::new()).expect("fits");
    }
}

#[test]
fn a_late_report_tells_when_the_task_ended_and_not_when_that_was_told() {
    let mut head = Head::new();
    let node = head.join("n1");
    let link = LINK;
    head.round(vec![Arrival::Hello {
        node,
        link,
        key: KEY,
        hello: hello("n1"),
    }]);
    head.submit(1).expect("accepted");
    let attempt = head.cluster.attempts().next().expect("granted").id;
    let ended_at = head.now.wall + Millis(1_000);
    // Five seconds later: an agent or a head node was away.
    head.now.wall = head.now.wall + Millis(5_000);
    let outcome = AttemptOutcome::Exited { code: 0 };
    let reports = vec![Report::Ended {
        attempt,
        outcome,
        at: ended_at,
        started_at: None,
        then: None,
    }];
    let flight = head.round(vec![Arrival::Reports {
        node,
        link,
        boot: BootId(1),
        number: 1,
        reports,
    }]);
    let ends = flight.events.iter().filter_map(|event| match event {
        Event::TaskEnded { at, .. } | Event::JobEnded { at, .. } => Some(*at),
        _ => None,
    });
    assert_eq!(ends.collect::<Vec<_>>(), [ended_at, ended_at]);
}

/// One job that a node has run to its end: the round that stores this, not flushed yet.
fn job_that_failed(head: &mut Head) -> Flight<&'static str> {
    let node = head.join("n1");
    head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n1"),
    }]);
    head.submit(1).expect("accepted");
    let attempt = head.cluster.attempts().next().expect("granted").id;
    let reports = vec![
        Report::Ended {
            attempt,
            outcome: AttemptOutcome::Exited { code: 1 },
            at: Timestamp(5),
            started_at: None,
            then: None,
        },
        Report::Released { attempt },
    ];
    let flight = head.decided(vec![Arrival::Reports {
        node,
        link: LINK,
        boot: BootId(1),
        number: 1,
        reports,
    }]);
    assert!(head.cluster.job(JobId(1)).is_none(), "it has left memory");
    flight
}

fn requeue(caller: Caller) -> Input {
    Input::RequeueJob {
        caller,
        job: JobId(1),
        stored: None,
    }
}

fn answers(flight: Flight<&'static str>) -> Vec<Result<Answer, Refusal>> {
    let answers = flight.departures.into_iter().filter_map(|departure| match departure {
        Departure::Answer { answer, .. } => Some(answer),
        _ => None,
    });
    answers.collect()
}

#[test]
fn a_job_whose_end_is_not_flushed_yet_can_be_put_back_into_the_queue() {
    let mut head = Head::new();
    let ended = job_that_failed(&mut head);
    // The store still has it as it was before.
    let input = requeue(root());
    let revived = head.decided(vec![Arrival::Request { input, slot: "asker" }]);
    assert_eq!(starts(&revived).len(), 1, "it runs again: {revived:?}");
    head.store.commit(&ended.changes).expect("commits");
    head.store.commit(&revived.changes).expect("commits");
    drop((ended, revived));
    head.crash();
    let job = head.cluster.job(JobId(1)).expect("it lives");
    assert_eq!((job.counts.total(), job.counts.failed), (1, 0));
}

#[test]
fn a_job_that_ends_in_the_very_round_can_be_put_back_into_the_queue() {
    let mut head = Head::new();
    let node = head.join("n1");
    head.round(vec![Arrival::Hello {
        node,
        link: LINK,
        key: KEY,
        hello: hello("n1"),
    }]);
    head.submit(1).expect("accepted");
    let attempt = head.cluster.attempts().next().expect("granted").id;
    let outcome = AttemptOutcome::Exited { code: 1 };
    let at = Timestamp(5);
    let reports = vec![
        Report::Ended {
            attempt,
            outcome,
            at,
            started_at: None,
            then: None,
        },
        Report::Released { attempt },
    ];
    let flight = head.round(vec![
        Arrival::Reports {
            node,
            link: LINK,
            boot: BootId(1),
            number: 1,
            reports,
        },
        Arrival::Request {
            input: requeue(root()),
            slot: "asker",
        },
    ]);
    assert_eq!(starts(&flight).len(), 1, "{flight:?}");
    head.crash();
    assert_eq!(head.cluster.job(JobId(1)).expect("it lives").counts.running, 1);
}

#[test]
fn a_job_that_is_flushed_is_read_from_the_store_and_only_for_whom_it_concerns() {
    let mut head = Head::new();
    let ended = job_that_failed(&mut head);
    head.store.commit(&ended.changes).expect("commits");
    drop(ended);
    let mut stranger = root();
    stranger.role = Role::User;
    stranger.owner.uid = 7;
    let refused = head.ask(requeue(stranger)).expect_err("not theirs");
    assert!(refused.what.contains("there is no job 1"), "{refused}");
    let flight = head.round(vec![Arrival::Request {
        input: requeue(root()),
        slot: "asker",
    }]);
    assert_eq!(starts(&flight).len(), 1);
    assert!(answers(flight)[0].is_ok());
    let nobody = Input::RequeueJob {
        caller: root(),
        job: JobId(99),
        stored: None,
    };
    assert!(head.ask(nobody).is_err());
}
