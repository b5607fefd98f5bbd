//! Attempts of the window, which wait for a slot of this node.

use super::*;

fn single(number: u64, ahead: bool) -> Order {
    let mut order = kept(number, &["node1"]).order;
    for share in &mut order.nodes {
        share.slots = 1;
    }
    (order.single, order.ahead) = (true, ahead);
    Order::Start(Box::new(order))
}

fn ended(number: u64, then: Option<u64>) -> FromSpawner {
    let mut record = record(number, Some(NOW), AttemptOutcome::Exited { code: 0 });
    record.then = then.map(attempt);
    FromSpawner::Ended(record)
}

#[test]
fn a_slot_is_handed_over_at_the_spawner_and_told_with_the_end() {
    let mut node = node();
    assert_eq!(words(&node.order(single(1, false), NOW)), ["hold 1 on [0]", "start 1"]);
    assert_eq!(words(&node.order(single(2, true), NOW)), ["hold 2 on []", "start 2"]);
    assert_eq!(words(&node.spawner(ended(1, Some(2)), NOW)), ["close 1"]);
    assert!(node.may_wait(), "the slot is in use again");
    let told = reports(&mut node);
    let [Report::Ended { then, started_at, .. }] = &told[..] else {
        panic!("{told:?}")
    };
    assert_eq!((*then, *started_at), (Some(attempt(2)), Some(NOW)));
    node.spawner(ended(2, None), NOW);
    assert!(!node.may_wait(), "a slot is free");
    assert_eq!(reports(&mut node).len(), 1);
    let again = node.order(single(3, false), NOW);
    assert_eq!(words(&again), ["hold 3 on [0]", "start 3"], "the core is free again");
}

#[test]
fn the_head_node_gives_a_slot_or_wants_an_attempt_back() {
    let mut node = node();
    for number in 1..=3 {
        node.order(single(number, true), NOW);
    }
    let advance = |number| Order::Advance {
        attempt: attempt(number),
    };
    let recall = |number| Order::Recall {
        attempt: attempt(number),
    };
    assert_eq!(words(&node.order(advance(1), NOW)), ["advance 1 on [0]"]);
    assert_eq!(node.order(advance(1), NOW), [], "it has its slot");
    assert_eq!(node.order(recall(1), NOW), [], "it is being started");
    assert_eq!(words(&node.order(recall(2), NOW)), ["recall 2"]);
    let returned = FromSpawner::Returned { attempt: attempt(2) };
    assert_eq!(words(&node.spawner(returned, NOW)), ["close 2", "discard 2"]);
    // It was started just before.
    node.order(recall(3), NOW);
    let at = NOW;
    node.spawner(
        FromSpawner::Started {
            attempt: attempt(3),
            at,
        },
        NOW,
    );
    let unknown = node.order(recall(9), NOW);
    assert_eq!(unknown, []);
    assert_eq!(
        reports(&mut node),
        [
            Report::Returned { attempt: attempt(2) },
            Report::Started {
                attempt: attempt(3),
                at
            },
            Report::Returned { attempt: attempt(9) },
        ]
    );
}

#[test]
fn cores_given_by_both_sides_are_held_once() {
    let mut node = node();
    node.order(single(1, false), NOW);
    node.order(single(2, true), NOW);
    let advance = Order::Advance { attempt: attempt(2) };
    assert_eq!(words(&node.order(advance, NOW)), ["advance 2 on [1]"]);
    // The spawner had handed the slot of 1 over before it heard that.
    node.spawner(ended(1, Some(2)), NOW);
    node.spawner(ended(2, None), NOW);
    let mut all = Vec::new();
    for number in 3..7 {
        all.extend(words(&node.order(single(number, false), NOW)).into_iter().take(1));
    }
    assert_eq!(
        all,
        ["hold 3 on [0]", "hold 4 on [1]", "hold 5 on [2]", "hold 6 on [3]"]
    );
}

#[test]
fn a_new_agent_finds_the_window_as_the_one_before_left_it() {
    let mut node = node();
    let waits = kept(1, &["node1"]);
    let mut runs = kept(2, &["node1"]);
    runs.order.ahead = true;
    runs.core_ids = Vec::new();
    let held = vec![
        (attempt(1), waits.to_bytes(), KeptState::Ahead, Vec::new()),
        (
            attempt(2),
            runs.to_bytes(),
            KeptState::Running { started_at: NOW },
            vec![3],
        ),
    ];
    assert_eq!(words(&node.spawner_back(BOOT, held, NOW)), ["serve 1", "serve 2"]);
    let commands = node.order(Order::Advance { attempt: attempt(1) }, NOW);
    assert_eq!(
        words(&commands),
        ["advance 1 on [2]"],
        "the core of the one that runs is its own"
    );
}

#[test]
fn what_a_lost_line_swallowed_is_said_again() {
    let mut node = node();
    for number in 1..=3 {
        node.order(single(number, true), NOW);
    }
    node.order(Order::Advance { attempt: attempt(1) }, NOW);
    node.order(Order::Recall { attempt: attempt(2) }, NOW);
    let held = vec![
        (attempt(1), Vec::new(), KeptState::Ahead, Vec::new()),
        (attempt(2), Vec::new(), KeptState::Ahead, Vec::new()),
    ];
    let commands = node.spawner_back(BOOT, held, NOW);
    assert_eq!(
        words(&commands),
        ["advance 1 on [0]", "recall 2", "hold 3 on []", "start 3"]
    );
}
