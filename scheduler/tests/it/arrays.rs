//! Arrays are one record: what a large one costs in memory, in events and on disk, also after a restart.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::test_runner::Config;
use proto::control::Report;
use proto::event::Event;
use proto::ids::{AttemptId, BootId, JobId, NodeId, Step, SubmissionId, TaskId, TaskNumber};
use proto::model::array::{CHUNK, ChunkRow, Element, ElementState};
use proto::model::job::JobSpec;
use proto::model::sweep::{MAX_STEPS, Sweep};
use proto::model::task::{AttemptOutcome, TaskSpec, TaskState};
use proto::stored::{Change, Row, RowKey, encode};
use proto::units::{Millis, Now, Timestamp};
use scheduler::{Cluster, ElementPlace, Input, RestoreError, Settings, StoredJob};

use crate::world::{World, hello, root, user};

const JOB: JobId = JobId(1);
const ARRAY: TaskId = TaskId::new(JOB, TaskNumber(1));
const NODES: u32 = 4;
const SLOTS: u32 = 64;

/// A head node that stores, and does not compare the store with memory after each round as [`World`] does.
struct Head {
    cluster: Cluster,
    store: BTreeMap<RowKey, Row>,
    now: Now,
    /// Of each node.
    slots: u32,
}

impl Head {
    fn new() -> Self {
        Self::with_slots(SLOTS)
    }

    fn with_slots(slots: u32) -> Self {
        let mut world = World::new(Settings::default());
        for number in 0..NODES {
            let name = format!("n{number}");
            world.join(&name, "p", &[]);
            world.node_up(hello(&name, slots, 1)).answer.expect("a hello");
        }
        Self {
            store: world.cluster.rows().map(|row| (row.key(), row)).collect(),
            now: world.now,
            cluster: world.cluster,
            slots,
        }
    }

    /// One that may be refused.
    fn attempt(&mut self, input: &Input) {
        if scheduler::decide(&self.cluster, input, self.now).is_ok() {
            self.decide(input);
        }
    }

    fn decide(&mut self, input: &Input) -> Vec<Event> {
        let decision = scheduler::decide(&self.cluster, input, self.now).expect("no refusal");
        for event in &decision.events {
            self.cluster.apply(event);
        }
        decision.events
    }

    fn commit(&mut self) {
        for change in self.cluster.take_changes() {
            match change {
                Change::Put(row) => drop(self.store.insert(row.key(), row)),
                Change::Delete(key) => drop(self.store.remove(&key)),
                Change::DeleteJob(_) => {}
            }
        }
    }

    /// Fills the nodes once and lets all of it end. Returns how many elements that were.
    fn run_once(&mut self, code: impl Fn(u32) -> i32) -> u32 {
        let plan = scheduler::plan(&self.cluster, self.now);
        let mut granted: Vec<(AttemptId, NodeId, u32)> = Vec::new();
        for event in &plan.events {
            self.cluster.apply(event);
            if let Event::Granted {
                attempt, task, shares, ..
            } = event
            {
                granted.push((*attempt, shares[0].node, task.step.expect("an element").0));
            }
        }
        self.commit();
        for (attempt, node, step) in &granted {
            self.end(*attempt, *node, code(*step));
        }
        self.now.monotonic = self.now.monotonic + Millis(1);
        self.commit();
        u32::try_from(granted.len()).expect("few")
    }

    fn end(&mut self, attempt: AttemptId, node: NodeId, code: i32) {
        let outcome = AttemptOutcome::Exited { code };
        let at = self.now.wall;
        self.decide(&Input::Report {
            node,
            boot: BootId(1),
            report: Report::Ended {
                attempt,
                outcome,
                at,
                started_at: None,
                then: None,
            },
        });
    }

    /// The job as a shell reads it for a request.
    fn stored(&self) -> Option<Box<StoredJob>> {
        let Some(Row::Job(job)) = self.store.get(&RowKey::Job(JOB)) else {
            return None;
        };
        let (mut tasks, mut chunks) = (Vec::new(), Vec::new());
        for row in self.store.values() {
            match row {
                Row::Task(row) => tasks.push((**row).clone()),
                Row::Chunk(row) if !row.is_whole(COUNT) => chunks.push(row.clone()),
                _ => {}
            }
        }
        let job = (**job).clone();
        Some(Box::new(StoredJob { job, tasks, chunks }))
    }

    fn restart(&mut self) {
        let rows = self.store.values().cloned();
        self.cluster = Cluster::restore(Settings::default(), rows, self.now).expect("restores");
        self.cluster.check().expect("invariants hold after a restart");
        let nodes: Vec<_> = self.cluster.nodes().cloned().collect();
        for row in nodes {
            self.decide(&Input::NodeUp {
                node: row.id,
                key: row.key.expect("a key"),
                hello: Box::new(hello(row.name.as_str(), self.slots, 1)),
            });
        }
    }
}

fn element(step: u32) -> TaskId {
    TaskId {
        step: Some(Step(step)),
        ..ARRAY
    }
}

fn submit(count: u32) -> Input {
    let mut task = TaskSpec::of_command(vec!["solve*".to_owned()]);
    task.sweep = Some(Sweep::new(0, count - 1, 1).expect("a sweep"));
    Input::Submit {
        caller: user("ann"),
        submission: SubmissionId(1),
        job: Box::new(JobSpec::default()),
        tasks: vec![task],
    }
}

#[test]
fn the_largest_array_costs_what_was_touched_of_it() {
    let mut head = Head::new();
    assert_eq!(head.decide(&submit(MAX_STEPS)).len(), 1);
    assert_eq!(head.cluster.rows_in_memory(), 1);
    // One of each thousand fails; its chunk stays in memory.
    let code = |step: u32| i32::from(step % 1000 == 7);
    let mut run = 0;
    while run < 10_000 {
        run += head.run_once(code);
    }
    head.cluster.check().expect("invariants hold");
    let failed = run.div_ceil(1000);
    let most = (failed + 1) * CHUNK;
    assert!(
        head.cluster.rows_in_memory() <= most as usize,
        "{}",
        head.cluster.rows_in_memory()
    );
    assert_eq!(
        head.cluster.live_tasks(),
        1 + failed as usize,
        "rows of the array and of what failed"
    );
    assert_eq!(head.cluster.element_place(element(200)), ElementPlace::Stored);
    assert!(matches!(
        head.cluster.element_place(element(8)),
        ElementPlace::Packed(_)
    ));
    assert_eq!(head.cluster.element_place(element(7)), ElementPlace::Row);
    assert_eq!(head.cluster.element_place(element(run)), ElementPlace::Untouched);
    assert_eq!(head.cluster.element_place(element(MAX_STEPS)), ElementPlace::None);
    assert!(head.cluster.chunk_in_memory(ARRAY, 0) && !head.cluster.chunk_in_memory(ARRAY, 1));

    let before = head.cluster.rows_in_memory();
    head.restart();
    assert_eq!(head.cluster.rows_in_memory(), before, "a restart finds what was there");
    run += head.run_once(code);
    assert_eq!(
        head.cluster.arrays_of(JOB).next().map(|row| row.spec.sweep.is_some()),
        Some(true)
    );

    let cancel = Input::CancelJob {
        caller: root(),
        job: JOB,
        force: false,
        message: String::new(),
    };
    let events = head.decide(&cancel);
    assert_eq!(
        events.len(),
        2,
        "the rest and the job, whatever the rest is: {events:?}"
    );
    head.commit();
    let Some(Row::Job(job)) = head.store.get(&RowKey::Job(JOB)) else {
        panic!("the job is stored");
    };
    assert!(job.state.is_ended());
    assert_eq!(job.counts.canceled, MAX_STEPS - run);
    assert_eq!((job.counts.failed, job.counts.total()), (run.div_ceil(1000), MAX_STEPS));
    assert_eq!(head.cluster.rows_in_memory(), 0, "all of it has left memory");
    let chunks = head.store.keys().filter(|key| matches!(key, RowKey::Chunk(..))).count();
    assert_eq!(chunks, run.div_ceil(CHUNK) as usize, "what was touched is on disk");
}

/// Chunks behind the first untouched element stay in memory, however well they ended: nothing else would tell them from
/// those that nobody touched.
#[test]
fn a_chunk_out_of_turn_leaves_memory_in_its_turn() {
    let mut head = Head::new();
    let mut input = submit(3 * CHUNK);
    if let Input::Submit { job, .. } = &mut input {
        job.run_until_canceled = true;
    }
    head.decide(&input);
    let again = |tasks: Vec<TaskId>| Input::RequeueTasks {
        caller: root(),
        tasks,
        stored: None,
    };
    let canceled = head.decide(&Input::CancelTasks {
        caller: root(),
        tasks: vec![ARRAY],
        force: false,
        message: String::new(),
    });
    assert_eq!(canceled.len(), 1);
    let second: Vec<TaskId> = (CHUNK..2 * CHUNK).map(element).collect();
    assert_eq!(head.decide(&again(second)).len(), CHUNK as usize);
    assert_eq!(head.run_once(|_| 0), CHUNK);
    assert!(head.cluster.chunk_in_memory(ARRAY, 1) && !head.cluster.chunk_in_memory(ARRAY, 0));
    assert!(matches!(
        head.cluster.element_place(element(CHUNK)),
        ElementPlace::Packed(_)
    ));
    assert_eq!(head.cluster.element_place(element(0)), ElementPlace::Untouched);
    head.restart();
    assert_eq!(head.decide(&again(vec![ARRAY])).len(), 1);
    assert_eq!(head.run_once(|_| 0), 2 * CHUNK);
    assert!((0..3).all(|chunk| !head.cluster.chunk_in_memory(ARRAY, chunk)));
    assert_eq!(head.cluster.element_place(element(CHUNK)), ElementPlace::Stored);
    head.cluster.check().expect("invariants hold");
    head.restart();
    let row = head.cluster.task(ARRAY).expect("the array");
    assert!(row.state.is_ended() && head.cluster.untouched_of(ARRAY) == 0);
    let whole = |row: &Row| matches!(row, Row::Chunk(chunk) if chunk.is_whole(3 * CHUNK));
    assert_eq!(head.store.values().filter(|row| whole(row)).count(), 3);
}

#[test]
fn a_missing_chunk_is_noticed() {
    let mut head = Head::new();
    head.decide(&submit(1000));
    head.run_once(|_| 1);
    let rows = head
        .store
        .values()
        .filter(|row| row.key() != RowKey::Chunk(ARRAY, 1))
        .cloned();
    let error = Cluster::restore(Settings::default(), rows, head.now).expect_err("a contradiction");
    assert!(matches!(error, RestoreError::Array { array: ARRAY, .. }), "{error}");
}

#[test]
fn steps_of_an_older_store_are_tasks_by_themselves() {
    let mut head = Head::new();
    head.decide(&submit(3));
    head.commit();
    // As format 2 had it: a row for each step, and none for all of them.
    let Some(Row::Task(array)) = head.store.remove(&RowKey::Task(ARRAY)) else {
        panic!("the array is stored");
    };
    for step in 0..3 {
        let row = proto::model::array::untouched(&array, Step(step));
        head.store.insert(RowKey::Task(row.id), Row::Task(Box::new(row)));
    }
    head.restart();
    assert_eq!((head.cluster.arrays_of(JOB).count(), head.cluster.live_tasks()), (0, 3));
    let cancel = Input::CancelTasks {
        caller: root(),
        tasks: vec![element(2)],
        force: false,
        message: String::new(),
    };
    assert_eq!(head.decide(&cancel).len(), 1);
    assert_eq!(head.run_once(|_| 0), 2);
    assert!(head.cluster.job(JOB).is_none(), "it is over");
    assert!(matches!(head.store.get(&RowKey::Task(element(1))), Some(Row::Task(row)) if row.state.is_ended()));
}

/// How an element stands, in a model that knows nothing of rows and chunks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stand {
    Waits,
    Good,
    Bad,
}

#[derive(Debug, Clone)]
enum Act {
    Run { failing: u32 },
    CancelOne(u32),
    CancelAll,
    RequeueOne(u32),
    RequeueAll,
    Restart,
    Revive,
}

fn act() -> impl Strategy<Value = Act> {
    // Close to the borders of chunks, where things are most likely to go wrong.
    let index = (0..3u32, 0..12u32).prop_map(|(chunk, near)| (chunk * CHUNK + near).saturating_sub(6).min(COUNT - 1));
    prop_oneof![
        6 => (1..8u32).prop_map(|failing| Act::Run { failing }),
        4 => index.clone().prop_map(Act::CancelOne),
        1 => Just(Act::CancelAll),
        4 => index.prop_map(Act::RequeueOne),
        2 => Just(Act::RequeueAll),
        1 => Just(Act::Restart),
        1 => Just(Act::Revive),
    ]
}

/// Elements of the arrays of random stories: two whole chunks and a part of one.
const COUNT: u32 = 2 * CHUNK + 40;

proptest! {
    #![proptest_config(Config { cases: 60, failure_persistence: None, ..Config::default() })]

    #[test]
    fn elements_are_what_happened_to_them_wherever_they_are_kept(acts in prop::collection::vec(act(), 1..30)) {
        let mut head = Head::with_slots(13);
        let mut input = submit(COUNT);
        if let Input::Submit { job, .. } = &mut input {
            job.run_until_canceled = true;
        }
        head.decide(&input);
        let mut model = vec![Stand::Waits; COUNT as usize];
        for act in acts {
            play(&mut head, &mut model, &act);
            compare(&head, &model);
        }
    }
}

fn play(head: &mut Head, model: &mut [Stand], act: &Act) {
    let cancel = |tasks| Input::CancelTasks {
        caller: root(),
        tasks,
        force: false,
        message: String::new(),
    };
    let requeue = |tasks, stored| Input::RequeueTasks {
        caller: root(),
        tasks,
        stored,
    };
    let turn = |model: &mut [Stand], from, to| {
        model
            .iter_mut()
            .filter(|stand| **stand == from)
            .for_each(|stand| *stand = to);
    };
    match *act {
        Act::Run { failing } => {
            let fails = |step: u32| step % 8 == failing;
            let slots = (NODES * head.slots) as usize;
            let waiting = (0..COUNT).filter(|index| model[*index as usize] == Stand::Waits);
            let first: Vec<u32> = waiting.take(slots).collect();
            assert_eq!(head.run_once(|step| i32::from(fails(step))) as usize, first.len());
            for index in first {
                model[index as usize] = if fails(index) { Stand::Bad } else { Stand::Good };
            }
        }
        Act::CancelOne(index) => {
            head.decide(&cancel(vec![element(index)]));
            if model[index as usize] == Stand::Waits {
                model[index as usize] = Stand::Bad;
            }
        }
        Act::CancelAll => {
            head.decide(&cancel(vec![ARRAY]));
            turn(model, Stand::Waits, Stand::Bad);
        }
        Act::RequeueOne(index) => {
            head.attempt(&requeue(vec![element(index)], None));
            if model[index as usize] == Stand::Bad {
                model[index as usize] = Stand::Waits;
            }
        }
        Act::RequeueAll => {
            head.attempt(&requeue(vec![ARRAY], None));
            turn(model, Stand::Bad, Stand::Waits);
        }
        Act::Restart => {
            head.commit();
            head.restart();
        }
        // Over, out of memory, and back with what did not end well.
        Act::Revive => {
            if model.iter().all(|stand| *stand == Stand::Good) {
                return;
            }
            head.decide(&Input::CancelJob {
                caller: root(),
                job: JOB,
                force: false,
                message: String::new(),
            });
            head.commit();
            assert_eq!(head.cluster.rows_in_memory(), 0);
            turn(model, Stand::Waits, Stand::Bad);
            head.decide(&requeue(vec![ARRAY], head.stored()));
            turn(model, Stand::Bad, Stand::Waits);
        }
    }
    head.commit();
}

fn compare(head: &Head, model: &[Stand]) {
    head.cluster.check().expect("invariants hold");
    let job = head.cluster.job(JOB).expect("a job that goes on");
    for (index, stand) in (0..).zip(model) {
        let place = head.cluster.element_place(element(index));
        let row = head.cluster.task_or_untouched(element(index));
        match stand {
            Stand::Good => assert!(
                matches!(place, ElementPlace::Packed(_) | ElementPlace::Stored),
                "{index}"
            ),
            Stand::Waits => assert_eq!(row.expect("a row").state, TaskState::Queued, "{index}"),
            Stand::Bad => assert!(row.expect("a row").state.is_ended(), "{index}"),
        }
    }
    let count = |stand| model.iter().filter(|other| **other == stand).count();
    let counts = job.counts;
    assert_eq!(counts.queued as usize, count(Stand::Waits));
    assert_eq!(counts.finished as usize, count(Stand::Good));
    assert_eq!((counts.failed + counts.canceled) as usize, count(Stand::Bad));
    let rows = head.store.values().cloned();
    let restored = Cluster::restore(Settings::default(), rows, head.now).expect("restores");
    let of_job = |cluster: &Cluster| -> Vec<Row> {
        let ours = |row: &Row| matches!(row, Row::Job(_) | Row::Task(_) | Row::Chunk(_));
        cluster.rows().filter(ours).collect()
    };
    assert_eq!(
        of_job(&restored),
        of_job(&head.cluster),
        "the store holds what memory holds"
    );
}

#[test]
fn an_element_on_disk_is_small() {
    let at = Timestamp(1_763_000_000_000);
    let elements = (0..CHUNK).map(|index| Element {
        index: index + 9_000_000,
        state: ElementState::Finished {
            started_at: Some(at),
            ended_at: at,
        },
        last_attempt: Some(AttemptId(1 << 40)),
        last_nodes: vec![NodeId(99_999)],
        exit_code: Some(0),
        requeues: 0,
        retries: 0,
    });
    let chunk = ChunkRow {
        array: ARRAY,
        chunk: 9_000_000 / CHUNK,
        elements: elements.collect(),
    };
    assert!(chunk.is_whole(MAX_STEPS) && !chunk.is_whole(9_000_000));
    let bytes = encode(&Row::Chunk(chunk)).expect("encodes").len();
    assert!(
        bytes <= 100 * CHUNK as usize,
        "{} bytes per element",
        bytes / CHUNK as usize
    );
}
