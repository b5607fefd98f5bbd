//! Windows: what is granted ahead of time, who gets a slot, and what is wanted back.

use proto::control::{Order, Report};
use proto::event::Event;
use proto::ids::{AttemptId, BootId, NodeId, SubmissionId};
use proto::model::attempt::Ahead;
use proto::model::job::{JobSpec, Priority};
use proto::model::node::{AdminState, Deallocation};
use proto::model::sweep::Sweep;
use proto::model::task::{AttemptOutcome, TaskSpec, TaskState};
use proto::units::{Millis, Now};
use scheduler::{Action, Cluster, Input, Settings};

use crate::world::{World, hello, root};

/// One node of two slots, and rounds as the head node has them.
struct Head {
    cluster: Cluster,
    now: Now,
    node: NodeId,
    submissions: u128,
}

impl Head {
    fn new() -> Self {
        let mut world = World::new(Settings::default());
        world.join("n0", "p", &[]);
        world.node_up(hello("n0", 2, 1)).answer.expect("a hello");
        let node = world.cluster.nodes().next().expect("a node").id;
        Self {
            now: world.now,
            cluster: world.cluster,
            node,
            submissions: 0,
        }
    }

    fn apply(&mut self, events: &[Event]) {
        for event in events {
            self.cluster.apply(event);
        }
        drop(self.cluster.take_changes());
        self.cluster.check().expect("invariants hold");
    }

    /// Decides, plans and fills windows. Returns all events.
    fn round(&mut self, input: &Input) -> Vec<Event> {
        self.now.wall = self.now.wall + Millis(1);
        self.now.monotonic = self.now.monotonic + Millis(1);
        self.cluster.advance(self.now);
        let mut all = scheduler::decide(&self.cluster, input, self.now)
            .expect("no refusal")
            .events;
        self.apply(&all);
        let grants = scheduler::plan(&self.cluster, self.now).events;
        self.apply(&grants);
        all.extend(grants);
        let windows = scheduler::windows(&self.cluster, self.now);
        self.apply(&windows);
        all.extend(windows);
        all
    }

    fn submit(&mut self, priority: Priority, task: TaskSpec) -> Vec<Event> {
        self.submissions += 1;
        let job = JobSpec {
            priority,
            ..JobSpec::default()
        };
        self.round(&Input::Submit {
            caller: root(),
            submission: SubmissionId(self.submissions),
            job: Box::new(job),
            tasks: vec![task],
        })
    }

    fn report(&mut self, report: Report) -> Vec<Event> {
        let (node, boot) = (self.node, BootId(1));
        self.round(&Input::Report { node, boot, report })
    }

    fn end(&mut self, attempt: u64, then: Option<u64>) -> Vec<Event> {
        let at = self.now.wall;
        self.report(Report::Ended {
            attempt: AttemptId(attempt),
            outcome: AttemptOutcome::Exited { code: 0 },
            at,
            started_at: Some(at),
            then: then.map(AttemptId),
        })
    }

    fn waiting(&self) -> Vec<u64> {
        let ahead = self.cluster.attempts().filter(|row| row.ahead == Some(Ahead::Waits));
        ahead.map(|row| row.id.0).collect()
    }
}

fn sweep(count: u32) -> TaskSpec {
    let mut task = TaskSpec::of_command(vec!["true".to_owned()]);
    task.sweep = Some(Sweep::new(1, count, 1).expect("a sweep"));
    task
}

fn advanced(events: &[Event]) -> Vec<(u64, bool)> {
    let of = |event: &Event| match event {
        Event::Advanced { attempt, by_node, .. } => Some((attempt.0, *by_node)),
        _ => None,
    };
    events.iter().filter_map(of).collect()
}

fn recalled(events: &[Event]) -> usize {
    events
        .iter()
        .filter(|event| matches!(event, Event::Recalled { .. }))
        .count()
}

/// A head node whose node has run something short, with attempts 2 and 3 on its slots and a window from 4 on.
fn filled() -> Head {
    let mut head = Head::new();
    head.submit(Priority::default(), sweep(100));
    assert_eq!(head.waiting(), [0_u64; 0], "nobody knows how long tasks take");
    head.end(1, None);
    assert!(head.waiting().starts_with(&[4, 5, 6]), "{:?}", head.waiting());
    assert!(head.waiting().len() <= 50, "half of what is left at most");
    assert_eq!(head.cluster.slots_held(head.node), 2, "what waits holds no slot");
    head
}

#[test]
fn a_window_is_filled_once_tasks_are_known_to_be_short_and_starts_go_as_one_order() {
    let mut head = Head::new();
    head.submit(Priority::default(), sweep(100));
    let events = head.end(1, None);
    let grants: Vec<Event> = events
        .into_iter()
        .filter(|event| matches!(event, Event::Granted { ahead: true, .. }))
        .collect();
    let actions = scheduler::react_to_all(&head.cluster, &grants);
    let [
        Action::Order {
            order: Order::StartSteps { steps, .. },
            ..
        },
    ] = &actions[..]
    else {
        panic!("{actions:?}")
    };
    assert_eq!(steps.len(), grants.len());
    assert!(steps.iter().all(|step| step.ahead));
    let counts = head.cluster.jobs().next().expect("a job").counts;
    assert_eq!((counts.running, counts.finished), (2, 1), "what waits ahead is queued");
}

#[test]
fn a_slot_goes_to_whom_the_node_says_or_else_to_the_first() {
    let mut head = filled();
    assert_eq!(advanced(&head.end(2, Some(5))), [(5, true)]);
    assert_eq!(advanced(&head.end(3, None)), [(4, false)]);
    assert_eq!(head.cluster.slots_held(head.node), 2);
}

#[test]
fn a_slot_that_the_head_node_gave_is_not_given_by_the_node_as_well() {
    let mut head = filled();
    assert_eq!(advanced(&head.end(2, None)), [(4, false)]);
    // The node had handed the other slot to 4 before it heard that: so the first one is free there, and goes to 5.
    assert_eq!(advanced(&head.end(3, Some(4))), [(5, false)]);
    assert_eq!(head.cluster.slots_held(head.node), 2);
}

#[test]
fn what_comes_first_in_the_queue_gets_the_window_of_others_back() {
    let mut head = filled();
    let waiting = head.waiting();
    let urgent = head.submit(Priority::new(1000).expect("a priority"), sweep(1));
    assert_eq!(recalled(&urgent), waiting.len());
    let back = head.report(Report::Returned { attempt: AttemptId(4) });
    let again = |event: &Event| {
        matches!(
            event,
            Event::TaskRequeued {
                asked: true,
                retry: false,
                ..
            }
        )
    };
    assert!(back.iter().any(again), "{back:?}");
    // It was started just before it was wanted back.
    assert_eq!(advanced(&head.end(2, Some(5))), [(5, true)]);
}

#[test]
fn a_node_that_gets_no_work_gives_its_window_back() {
    let mut head = filled();
    let waiting = head.waiting().len();
    let events = head.round(&Input::SwitchNodes {
        caller: root(),
        nodes: Vec::new(),
        admin: AdminState::Offline,
        option: Deallocation::TaskCompletion,
    });
    assert_eq!(recalled(&events), waiting);
    assert_eq!(advanced(&head.end(2, None)), [], "it gets no slot either");
}

#[test]
fn windows_come_back_with_a_restart() {
    let head = filled();
    let rows: Vec<_> = head.cluster.rows().collect();
    let again = Cluster::restore(Settings::default(), rows, head.now).expect("restores");
    again.check().expect("invariants hold");
    assert_eq!(again.slots_held(head.node), 2);
    let ahead = |row: &&proto::model::attempt::AttemptRow| row.ahead.is_some();
    assert_eq!(again.attempts().filter(ahead).count(), head.waiting().len());
    let queued = again.attempts().filter(ahead).all(|row| {
        let state = again.task(row.task).map(|task| &task.state);
        matches!(state, Some(TaskState::Granted { ahead: true, .. }))
    });
    assert!(queued);
}
