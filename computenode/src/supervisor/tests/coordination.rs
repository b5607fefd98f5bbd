//! Stories of tasks that coordinate first, and of what else a node is told besides attempts.

use proto::model::task::CommonFile;

use super::*;

/// An order for two nodes that coordinate.
fn coordinating(number: u64) -> StartOrder {
    StartOrder {
        coordination: Some(vec!["prepare".to_owned()]),
        ..kept(number, &["node1", "node2"]).order
    }
}

fn ordered(supervisor: &mut Supervisor, order: StartOrder) -> Vec<String> {
    words(&supervisor.order(Order::Start(Box::new(order)), NOW))
}

fn coordinated(supervisor: &mut Supervisor, number: u64) -> Vec<String> {
    let attempt = attempt(number);
    words(&supervisor.spawner(FromSpawner::Coordinated { attempt }, NOW))
}

fn begin(supervisor: &mut Supervisor, number: u64) -> Vec<String> {
    let attempt = attempt(number);
    words(&supervisor.order(Order::Begin { attempt }, NOW))
}

/// The end of its coordination command, as the spawner tells it.
fn failed(number: u64, outcome: AttemptOutcome) -> FromSpawner {
    FromSpawner::Ended(ExitRecord {
        part: Part::Coordination,
        ..record(number, None, outcome)
    })
}

/// How the shell answers a command to explain.
fn explain(supervisor: &mut Supervisor, commands: &[Command], last_line: &str) -> Vec<String> {
    let [Command::Explain { failed, .. }] = commands else {
        panic!("{commands:?}")
    };
    words(&supervisor.explained(failed.clone(), last_line))
}

fn reason(supervisor: &mut Supervisor) -> String {
    match &reports(supervisor)[..] {
        [
            Report::Ended {
                outcome: AttemptOutcome::NotStarted { reason },
                ..
            },
        ] => reason.clone(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_primary_coordinates_waits_for_the_others_and_begins_once() {
    let mut node = node();
    assert_eq!(
        ordered(&mut node, coordinating(7)),
        ["hold 7 on [0, 1]", "coordinate 7"]
    );
    assert_eq!(
        ordered(&mut node, coordinating(7)),
        [""; 0],
        "a known attempt is left alone"
    );
    assert!(node.alive(attempt(7)).is_some());
    assert_eq!(coordinated(&mut node, 7), [""; 0], "the others may not be ready");
    let told = [Report::Coordinated { attempt: attempt(7) }];
    assert_eq!(reports(&mut node), told);
    assert_eq!(coordinated(&mut node, 7), [""; 0], "said once");
    assert_eq!(begin(&mut node, 7), ["start 7"]);
    assert_eq!(begin(&mut node, 7), [""; 0], "it has begun");
    let started = FromSpawner::Started {
        attempt: attempt(7),
        at: NOW,
    };
    node.spawner(started, NOW);
    assert_eq!(begin(&mut node, 7), [""; 0], "it runs");
    assert_eq!(words(&node.spawner(exited(7), NOW)), ["close 7"]);
    assert_eq!(begin(&mut node, 7), [""; 0], "it is over");
    assert_eq!(begin(&mut node, 8), [""; 0], "it is not known");
    assert_eq!(reports(&mut node).len(), 1, "start and end together");
}

#[test]
fn a_beginning_that_comes_before_the_nodes_own_end_waits_for_it() {
    let mut node = node();
    ordered(&mut node, coordinating(7));
    assert_eq!(begin(&mut node, 7), [""; 0]);
    assert_eq!(coordinated(&mut node, 7), ["start 7"]);
}

#[test]
fn a_member_coordinates_and_begins_nothing() {
    let mut node = agent_of(2);
    assert_eq!(
        ordered(&mut node, coordinating(7)),
        ["hold 7 on [0, 1]", "coordinate 7"]
    );
    coordinated(&mut node, 7);
    assert_eq!(reports(&mut node), [Report::Coordinated { attempt: attempt(7) }]);
    assert_eq!(begin(&mut node, 7), [""; 0]);
    let release = Order::Release { attempt: attempt(7) };
    assert_eq!(words(&node.order(release, NOW)), ["close 7", "release 7"]);
}

#[test]
fn a_release_in_mid_coordination_ends_it_and_its_end_is_not_told() {
    let mut node = agent_of(2);
    ordered(&mut node, coordinating(7));
    let release = Order::Release { attempt: attempt(7) };
    assert_eq!(words(&node.order(release, NOW)), ["close 7", "release 7"]);
    assert_eq!(coordinated(&mut node, 7), [""; 0]);
    node.spawner(FromSpawner::Released { attempt: attempt(7) }, NOW);
    assert_eq!(reports(&mut node), [Report::Released { attempt: attempt(7) }]);
}

#[test]
fn a_coordination_that_fails_is_told_with_its_last_words_from_any_node() {
    for number in [1, 2] {
        let mut node = agent_of(number);
        ordered(&mut node, coordinating(7));
        let commands = node.spawner(failed(7, AttemptOutcome::Exited { code: 3 }), NOW);
        assert_eq!(reports(&mut node), [], "not before its words");
        assert!(node.alive(attempt(7)).is_none());
        assert_eq!(explain(&mut node, &commands, " no\tsuch mount \n"), ["close 7"]);
        assert_eq!(
            reason(&mut node),
            format!("node node{number}: the coordination command failed with exit code 3: no such mount")
        );
        assert_eq!(words(&node.taken(1)), ["forget 7"]);
        assert_eq!(
            ordered(&mut node, coordinating(8))[0],
            "hold 8 on [0, 1]",
            "its cores are free"
        );
    }
}

#[test]
fn each_bad_end_of_a_coordination_has_its_words() {
    let limit = Millis::from_seconds(90);
    for (outcome, expected) in [
        (AttemptOutcome::Signaled { signal: 9 }, "was ended by signal 9"),
        (
            AttemptOutcome::TimedOut { limit },
            "ran longer than the run-time limit of its task (1m 30s)",
        ),
    ] {
        let mut node = agent_of(2);
        ordered(&mut node, coordinating(7));
        let commands = node.spawner(failed(7, outcome), NOW);
        explain(&mut node, &commands, "");
        assert_eq!(
            reason(&mut node),
            format!("node node2: the coordination command {expected}")
        );
    }
    let mut node = agent_of(2);
    ordered(&mut node, coordinating(7));
    let reason_given = "no program 'prepare'".to_owned();
    node.spawner(failed(7, AttemptOutcome::NotStarted { reason: reason_given }), NOW);
    assert_eq!(
        reason(&mut node),
        "node node2: the coordination command cannot be started: no program 'prepare'"
    );
}

#[test]
fn a_release_while_last_words_are_looked_for_wins() {
    let mut node = agent_of(2);
    ordered(&mut node, coordinating(7));
    let commands = node.spawner(failed(7, AttemptOutcome::Exited { code: 1 }), NOW);
    node.order(Order::Release { attempt: attempt(7) }, NOW);
    assert_eq!(explain(&mut node, &commands, "late"), [""; 0]);
    assert_eq!(reports(&mut node), []);
}

#[test]
fn a_stop_in_mid_coordination_is_the_primarys() {
    let stop = |node: &mut Supervisor| {
        let order = Order::Stop {
            attempt: attempt(7),
            grace: Millis(5),
        };
        words(&node.order(order, NOW))
    };
    let mut primary = node();
    ordered(&mut primary, coordinating(7));
    assert_eq!(stop(&mut primary), ["stop 7 in 5ms"]);
    coordinated(&mut primary, 7);
    assert_eq!(begin(&mut primary, 7), [""; 0], "it is being stopped");
    let ended = primary.spawner(failed(7, AttemptOutcome::Stopped), NOW);
    assert_eq!(words(&ended), ["close 7"]);
    let sent = reports(&mut primary);
    assert!(
        matches!(
            sent.last(),
            Some(Report::Ended {
                outcome: AttemptOutcome::Stopped,
                ..
            })
        ),
        "{sent:?}"
    );
    let mut member = agent_of(2);
    ordered(&mut member, coordinating(7));
    assert_eq!(stop(&mut member), [""; 0]);
}

#[test]
fn what_cannot_be_prepared_for_a_coordination_ends_with_the_spawners_record() {
    let mut node = agent_of(2);
    ordered(&mut node, coordinating(7));
    let commands = node.not_started(attempt(7), "the disk is full", NOW);
    assert_eq!(words(&commands), ["refuse 7: the disk is full"]);
    assert_eq!(reports(&mut node), []);
    let reason_given = "the disk is full".to_owned();
    let record = record(7, None, AttemptOutcome::NotStarted { reason: reason_given });
    node.spawner(FromSpawner::Ended(record), NOW);
    assert_eq!(reason(&mut node), "node node2: the disk is full");
}

#[test]
fn a_new_agent_finds_each_step_of_a_coordination() {
    let bytes = |number| {
        let order = coordinating(number);
        let core_ids = Vec::new();
        Kept { order, core_ids }.to_bytes()
    };
    let mut node = Supervisor::new(NodeId(1), NodeName::new("node1").expect("a name"), vec![0, 1]);
    let held = vec![
        (attempt(1), bytes(1), KeptState::Waiting, Vec::new()),
        (attempt(2), bytes(2), KeptState::Coordinating, Vec::new()),
        (attempt(3), bytes(3), KeptState::Coordinated, Vec::new()),
        (attempt(4), bytes(4), KeptState::Starting, Vec::new()),
    ];
    let commands = node.spawner_back(BOOT, held, NOW);
    assert_eq!(
        words(&commands),
        ["serve 1", "coordinate 1", "serve 2", "serve 3", "serve 4"]
    );
    assert!(node.held().iter().all(|held| held.state == HeldState::Waiting));
    assert_eq!(node.greeted(), []);
    assert_eq!(
        reports(&mut node),
        [Report::Coordinated { attempt: attempt(3) }],
        "told once more"
    );
    assert_eq!(begin(&mut node, 3), ["start 3"]);
    assert_eq!(begin(&mut node, 2), [""; 0]);
    assert_eq!(coordinated(&mut node, 2), ["start 2"]);
    assert_eq!(begin(&mut node, 4), [""; 0], "it has begun");
}

#[test]
fn what_was_lost_with_the_spawners_connection_is_repeated_or_caught_up() {
    let mut node = node();
    for number in 1..=5 {
        ordered(&mut node, coordinating(number));
    }
    coordinated(&mut node, 3);
    begin(&mut node, 3);
    coordinated(&mut node, 5);
    assert_eq!(reports(&mut node).len(), 2);
    let held = vec![
        (attempt(1), Vec::new(), KeptState::Waiting, Vec::new()),
        (attempt(2), Vec::new(), KeptState::Coordinated, Vec::new()),
        (attempt(3), Vec::new(), KeptState::Coordinated, Vec::new()),
    ];
    let commands = node.spawner_back(BOOT, held, NOW);
    assert_eq!(
        words(&commands),
        ["coordinate 1", "start 3", "hold 4 on [0, 1]", "coordinate 4", "close 5"]
    );
    let sent = reports(&mut node);
    assert!(
        matches!(
            &sent[..],
            [
                Report::Coordinated { attempt: AttemptId(2) },
                Report::Ended {
                    attempt: AttemptId(5),
                    outcome: AttemptOutcome::NodeLost { .. },
                    ..
                }
            ]
        ),
        "{sent:?}"
    );
}

#[test]
fn a_member_gets_its_files_also_without_a_coordination() {
    let mut order = kept(7, &["node1", "node2"]).order;
    order.common_files = vec![CommonFile {
        path: "hosts".to_owned(),
        text: "n1".to_owned(),
        mode: 0o644,
    }];
    let mut member = agent_of(2);
    assert_eq!(ordered(&mut member, order.clone()), ["hold 7 on [0, 1]", "prepare 7"]);
    member.not_started(attempt(7), "the common file 'hosts' ...", NOW);
    assert_eq!(reason(&mut member), "node node2: the common file 'hosts' ...");
    let mut primary = node();
    assert_eq!(ordered(&mut primary, order), ["hold 7 on [0, 1]", "start 7"]);
}

#[test]
fn a_release_after_the_end_does_not_free_the_cores_of_another() {
    let mut node = agent_of(2);
    ordered(&mut node, coordinating(1));
    let commands = node.spawner(failed(1, AttemptOutcome::Exited { code: 1 }), NOW);
    explain(&mut node, &commands, "");
    assert_eq!(ordered(&mut node, coordinating(2))[0], "hold 2 on [0, 1]");
    node.order(Order::Release { attempt: attempt(1) }, NOW);
    node.spawner(FromSpawner::Released { attempt: attempt(1) }, NOW);
    assert_eq!(ordered(&mut node, coordinating(3))[0], "hold 3 on [2, 3]");
}

#[test]
fn errands_go_to_the_shell_and_refusals_to_the_head() {
    let mut node = node();
    assert_eq!(
        words(&node.order(Order::Restart { reimage: true }, NOW)),
        ["restart, reimage true"]
    );
    assert_eq!(
        words(&node.order(Order::ForgetJob { job: JobId(3) }, NOW)),
        ["forget job 3"]
    );
    let reason = "nothing is set".to_owned();
    node.errand_refused(reason.clone());
    assert_eq!(reports(&mut node), [Report::ErrandRefused { reason }]);
}
