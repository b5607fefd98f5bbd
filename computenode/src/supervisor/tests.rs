//! Stories of a node: orders and news in, and what must come out, and nothing else.

use super::*;
use crate::kept::tests::kept;

const BOOT: BootId = BootId(1);
const NOW: Timestamp = Timestamp(100);

fn attempt(number: u64) -> AttemptId {
    AttemptId(number)
}

/// Node 1, `node1`, with four cores, connected to both sides.
fn node() -> Supervisor {
    agent_of(1)
}

fn agent_of(number: u32) -> Supervisor {
    let name = NodeName::new(&format!("node{number}")).expect("a name");
    let mut supervisor = Supervisor::new(NodeId(number), name, vec![0, 1, 2, 3]);
    assert_eq!(supervisor.spawner_back(BOOT, Vec::new(), NOW), []);
    assert_eq!(supervisor.greeted(), []);
    supervisor
}

fn start(supervisor: &mut Supervisor, number: u64, nodes: &[&str]) -> Vec<Command> {
    supervisor.order(Order::Start(Box::new(kept(number, nodes).order)), NOW)
}

fn record(number: u64, started_at: Option<Timestamp>, outcome: AttemptOutcome) -> ExitRecord {
    ExitRecord {
        attempt: attempt(number),
        boot: BOOT,
        started_at,
        ended_at: Timestamp(200),
        outcome,
        part: Part::Program,
        then: None,
    }
}

fn exited(number: u64) -> FromSpawner {
    FromSpawner::Ended(record(number, Some(NOW), AttemptOutcome::Exited { code: 0 }))
}

fn reports(supervisor: &mut Supervisor) -> Vec<Report> {
    match supervisor.next_reports() {
        Some(NodeMessage::Reports { reports, .. }) => reports,
        None => Vec::new(),
        other => panic!("{other:?}"),
    }
}

fn words(commands: &[Command]) -> Vec<String> {
    let word = |command: &Command| match command {
        Command::Hold(kept) => format!("hold {} on {:?}", kept.attempt(), kept.core_ids),
        Command::Serve(kept) => format!("serve {}", kept.attempt()),
        Command::Start(kept) => format!("start {}", kept.attempt()),
        Command::Refuse { attempt, reason } => format!("refuse {attempt}: {reason}"),
        Command::Stop { attempt, grace } => format!("stop {attempt} in {grace}"),
        Command::Release { attempt } => format!("release {attempt}"),
        Command::Forget { attempt } => format!("forget {attempt}"),
        Command::Close { attempt } => format!("close {attempt}"),
        Command::HelloAgain => "hello again".to_owned(),
        Command::Prepare(kept) => format!("prepare {}", kept.attempt()),
        Command::Coordinate(kept) => format!("coordinate {}", kept.attempt()),
        Command::Explain { kept, .. } => format!("explain {}", kept.attempt()),
        Command::Restart { reimage } => format!("restart, reimage {reimage}"),
        Command::ForgetJob { job } => format!("forget job {job}"),
        Command::Advance { attempt, cores } => format!("advance {attempt} on {cores:?}"),
        Command::Recall { attempt } => format!("recall {attempt}"),
        Command::Discard(kept) => format!("discard {}", kept.attempt()),
    };
    commands.iter().map(word).collect()
}

mod coordination;
mod window;

#[test]
fn a_task_runs_ends_and_is_forgotten_when_the_head_has_it() {
    let mut node = node();
    let commands = start(&mut node, 7, &["node1"]);
    assert_eq!(words(&commands), ["hold 7 on [0, 1]", "start 7"]);
    assert_eq!(start(&mut node, 7, &["node1"]), [], "a known attempt is left alone");
    assert_eq!(
        node.spawner(
            FromSpawner::Started {
                attempt: attempt(7),
                at: NOW
            },
            NOW
        ),
        []
    );
    assert_eq!(
        reports(&mut node),
        [Report::Started {
            attempt: attempt(7),
            at: NOW
        }]
    );
    assert_eq!(words(&node.spawner(exited(7), NOW)), ["close 7"]);
    let ended = Report::Ended {
        attempt: attempt(7),
        outcome: AttemptOutcome::Exited { code: 0 },
        at: Timestamp(200),
        started_at: None,
        then: None,
    };
    assert_eq!(reports(&mut node), [ended]);
    assert_eq!(node.taken(1), [], "the start is known, the end is not");
    assert_eq!(node.held().len(), 1);
    assert_eq!(words(&node.taken(2)), ["forget 7"]);
    assert_eq!(node.held(), []);
}

#[test]
fn tasks_get_cores_of_their_own_and_give_them_back() {
    let mut node = node();
    start(&mut node, 1, &["node1"]);
    assert_eq!(words(&start(&mut node, 2, &["node1"])), ["hold 2 on [2, 3]", "start 2"]);
    node.spawner(exited(1), NOW);
    assert_eq!(words(&start(&mut node, 3, &["node1"])), ["hold 3 on [0, 1]", "start 3"]);
}

#[test]
fn a_member_of_a_gang_holds_until_released() {
    let mut node = agent_of(2);
    assert_eq!(words(&start(&mut node, 7, &["node1", "node2"])), ["hold 7 on [0, 1]"]);
    assert!(node.alive(attempt(7)).is_some());
    let release = Order::Release { attempt: attempt(7) };
    assert_eq!(words(&node.order(release, NOW)), ["close 7", "release 7"]);
    assert!(node.alive(attempt(7)).is_none(), "no proxy is started any more");
    assert_eq!(reports(&mut node), []);
    node.spawner(FromSpawner::Released { attempt: attempt(7) }, NOW);
    assert_eq!(reports(&mut node), [Report::Released { attempt: attempt(7) }]);
    assert_eq!(node.held(), []);
}

#[test]
fn a_release_of_something_unknown_is_answered_all_the_same() {
    let mut node = node();
    let release = Order::Release { attempt: attempt(9) };
    assert_eq!(words(&node.order(release, NOW)), ["close 9", "release 9"]);
    // The connection to the spawner was lost with the command; it is repeated.
    assert_eq!(words(&node.spawner_back(BOOT, Vec::new(), NOW)), ["release 9"]);
    node.spawner(FromSpawner::Released { attempt: attempt(9) }, NOW);
    assert_eq!(reports(&mut node), [Report::Released { attempt: attempt(9) }]);
}

#[test]
fn a_stop_of_something_unknown_ends_it() {
    let mut node = node();
    assert_eq!(
        node.order(
            Order::Stop {
                attempt: attempt(9),
                grace: Millis(5)
            },
            NOW
        ),
        []
    );
    assert_eq!(
        reports(&mut node),
        [Report::Ended {
            attempt: attempt(9),
            outcome: AttemptOutcome::Stopped,
            at: NOW,
            started_at: None,
            then: None
        }]
    );
    assert_eq!(words(&node.taken(1)), ["forget 9"]);
}

#[test]
fn what_cannot_be_prepared_names_the_node() {
    let mut node = node();
    start(&mut node, 7, &["node1"]);
    assert_eq!(
        words(&node.not_started(attempt(7), "no user 'x' here", NOW)),
        ["close 7", "refuse 7: no user 'x' here"]
    );
    let outcome = AttemptOutcome::NotStarted {
        reason: "node node1: no user 'x' here".to_owned(),
    };
    assert_eq!(
        reports(&mut node),
        [Report::Ended {
            attempt: attempt(7),
            outcome,
            at: NOW,
            started_at: None,
            then: None
        }]
    );
    assert_eq!(node.not_started(attempt(7), "again", NOW), []);
    assert_eq!(reports(&mut node), []);
}

#[test]
fn an_order_for_another_node_is_not_followed() {
    let mut node = agent_of(3);
    start(&mut node, 7, &["node1", "node2"]);
    let sent = reports(&mut node);
    assert!(
        matches!(
            &sent[..],
            [Report::Ended {
                outcome: AttemptOutcome::NotStarted { .. },
                ..
            }]
        ),
        "{sent:?}"
    );
}

#[test]
fn reports_are_repeated_with_their_numbers_until_taken() {
    let mut node = node();
    start(&mut node, 1, &["node1"]);
    node.spawner(exited(1), NOW);
    let first = node.next_reports().expect("something to say");
    node.ungreeted();
    node.spawner(FromSpawner::Released { attempt: attempt(5) }, NOW);
    assert_eq!(node.next_reports(), None, "nobody listens");
    assert_eq!(node.greeted(), [first]);
    assert!(matches!(
        node.next_reports(),
        Some(NodeMessage::Reports { number: 2, .. })
    ));
}

#[test]
fn long_news_go_in_bounded_messages() {
    let mut node = node();
    let count = MAX_REPORTS as u64 + 1;
    for number in 1..=count {
        node.spawner(
            FromSpawner::Released {
                attempt: attempt(number),
            },
            NOW,
        );
    }
    assert_eq!(reports(&mut node).len(), MAX_REPORTS);
    assert_eq!(reports(&mut node).len(), 1);
    assert_eq!(reports(&mut node).len(), 0);
}

#[test]
fn a_new_agent_finds_what_the_one_before_it_started() {
    let (runs, waits, member) = (kept(1, &["node1"]), kept(2, &["node1"]), kept(3, &["node1", "node2"]));
    let member = Kept {
        order: StartOrder {
            nodes: member.order.nodes.into_iter().rev().collect(),
            ..member.order
        },
        ..member
    };
    let mut node = Supervisor::new(NodeId(1), NodeName::new("node1").expect("a name"), vec![0, 1, 2, 3]);
    let held = vec![
        (
            attempt(1),
            runs.to_bytes(),
            KeptState::Running { started_at: NOW },
            Vec::new(),
        ),
        (attempt(2), waits.to_bytes(), KeptState::Waiting, Vec::new()),
        (attempt(3), member.to_bytes(), KeptState::Waiting, Vec::new()),
        (
            attempt(4),
            Vec::new(),
            KeptState::Ended(record(4, Some(NOW), AttemptOutcome::Exited { code: 1 })),
            Vec::new(),
        ),
    ];
    let commands = node.spawner_back(BOOT, held, NOW);
    assert_eq!(
        words(&commands),
        ["serve 1", "serve 2", "start 2", "serve 3", "close 4"]
    );
    let states: Vec<HeldState> = node.held().into_iter().map(|held| held.state).collect();
    assert_eq!(
        states,
        [
            HeldState::Running { started_at: NOW },
            HeldState::Waiting,
            HeldState::Waiting,
            HeldState::Ended
        ]
    );
    assert_eq!(node.greeted(), []);
    let sent = reports(&mut node);
    assert!(
        matches!(
            sent[..],
            [Report::Ended {
                started_at: Some(_),
                ..
            }]
        ),
        "{sent:?}"
    );
}

#[test]
fn orders_lost_with_the_spawners_connection_are_repeated() {
    let mut node = node();
    start(&mut node, 1, &["node1"]);
    start(&mut node, 2, &["node1"]);
    node.order(
        Order::Stop {
            attempt: attempt(2),
            grace: Millis(5),
        },
        NOW,
    );
    let held = vec![(
        attempt(2),
        Vec::new(),
        KeptState::Running { started_at: NOW },
        Vec::new(),
    )];
    let commands = node.spawner_back(BOOT, held, NOW);
    assert_eq!(words(&commands), ["stop 2 in 5ms", "hold 1 on [0, 1]", "start 1"]);
    assert_eq!(
        reports(&mut node),
        [Report::Started {
            attempt: attempt(2),
            at: NOW
        }]
    );
}

#[test]
fn a_running_attempt_that_the_spawner_lost_is_lost() {
    let mut node = node();
    start(&mut node, 1, &["node1"]);
    node.spawner(
        FromSpawner::Started {
            attempt: attempt(1),
            at: NOW,
        },
        NOW,
    );
    assert_eq!(words(&node.spawner_back(BOOT, Vec::new(), NOW)), ["close 1"]);
    let sent = reports(&mut node);
    assert!(
        matches!(
            &sent[..],
            [Report::Ended {
                outcome: AttemptOutcome::NodeLost { .. },
                started_at: Some(_),
                ..
            }]
        ),
        "{sent:?}"
    );
}

#[test]
fn another_life_of_the_spawner_begins_with_a_new_hello() {
    let mut node = node();
    start(&mut node, 1, &["node1"]);
    node.spawner(
        FromSpawner::Started {
            attempt: attempt(1),
            at: NOW,
        },
        NOW,
    );
    let commands = node.spawner_back(BootId(2), Vec::new(), NOW);
    assert_eq!(words(&commands), ["close 1", "hello again"]);
    assert_eq!((node.boot(), node.held()), (Some(BootId(2)), Vec::new()));
    assert_eq!(node.greeted(), [], "reports of the old life are void");
    assert_eq!(words(&start(&mut node, 2, &["node1"])), ["hold 2 on [0, 1]", "start 2"]);
}

#[test]
fn a_start_waits_for_company_and_an_end_does_not() {
    let mut node = node();
    start(&mut node, 7, &["node1"]);
    assert!(!node.may_wait(), "nothing is to be told");
    let started = FromSpawner::Started {
        attempt: attempt(7),
        at: NOW,
    };
    node.spawner(started, NOW);
    assert!(node.may_wait());
    node.spawner(exited(7), NOW);
    assert!(!node.may_wait());
    let told = reports(&mut node);
    let both = |report: &Report| {
        matches!(
            report,
            Report::Ended {
                started_at: Some(_),
                ..
            }
        )
    };
    assert!(told.len() == 1 && told.iter().all(both), "both in one report: {told:?}");
}
