//! Launches told as stories.

use super::*;
use crate::exit;

const NOW: Monotonic = Monotonic(1_000);

fn name(position: u32) -> NodeName {
    NodeName::new(&format!("n{position}")).expect("a name")
}

/// Nodes with two ranks each, none joined.
fn launch(nodes: u32) -> Coordinator {
    let map = TaskMap::per_node(nodes as usize, 2).expect("a map");
    let order = RunOrder {
        position: 0,
        node_name: name(0),
        map,
        command: vec!["prog".into()],
        workdir: None,
        launch_dir: None,
        env: vec![],
        inherited: vec![],
        affinity: false,
        kvs_name: "k".into(),
    };
    Coordinator::new(
        (0..nodes).map(name).collect(),
        order,
        Some(Duration::from_secs(60)),
        NOW,
    )
}

/// The same, with all proxies there.
fn running(nodes: u32) -> Coordinator {
    let mut launch = launch(nodes);
    for position in 0..nodes {
        launch.handle(Input::Joined { position }, NOW);
    }
    assert_eq!(launch.phase, Phase::Running);
    launch
}

fn said(launch: &mut Coordinator, position: u32, message: ProxyMessage) -> Vec<Action> {
    launch.handle(Input::Said { position, message }, NOW)
}

fn exited(rank: u32, code: i32) -> ProxyMessage {
    ProxyMessage::Exited {
        rank: Rank(rank),
        status: RankStatus::Exited { code },
    }
}

fn stops(nodes: impl IntoIterator<Item = u32>) -> Vec<Action> {
    nodes
        .into_iter()
        .map(|position| Action::Send {
            position,
            message: LauncherMessage::Stop,
        })
        .collect()
}

fn finish(launch: &mut Coordinator, nodes: impl IntoIterator<Item = u32>) -> Outcome {
    let mut last = Vec::new();
    for position in nodes {
        assert_eq!(last, [], "ended before node {position}");
        last = said(launch, position, ProxyMessage::Finished);
    }
    match last.as_slice() {
        [Action::End(outcome)] => outcome.clone(),
        other => panic!("expected the end, got {other:?}"),
    }
}

#[test]
fn ranks_start_when_the_last_proxy_is_there_and_the_end_is_good() {
    let mut launch = launch(2);
    assert_eq!(launch.handle(Input::Joined { position: 1 }, NOW), []);
    let actions = launch.handle(Input::Joined { position: 0 }, NOW);
    let orders: Vec<(u32, &str)> = actions
        .iter()
        .filter_map(|action| match action {
            Action::Send {
                position,
                message: LauncherMessage::Run(order),
            } => {
                assert_eq!(order.position, *position);
                Some((*position, order.node_name.as_str()))
            }
            _ => None,
        })
        .collect();
    assert_eq!(orders, [(0, "n0"), (1, "n1")]);
    assert_eq!(actions.last(), Some(&Action::OfferInput));
    for rank in 0..4 {
        assert_eq!(said(&mut launch, rank / 2, exited(rank, 0)), []);
    }
    let outcome = finish(&mut launch, [0, 1]);
    assert_eq!((outcome.code(), outcome.cause), (0, None));
    assert_eq!(launch.handle(Input::Tick, Monotonic(u64::MAX)), [], "over is over");
}

#[test]
fn a_fence_returns_the_union_to_everyone() {
    let mut launch = running(2);
    let pair = |key: &str| KeyValue {
        key: key.into(),
        value: "v".into(),
    };
    assert_eq!(said(&mut launch, 1, ProxyMessage::Fence { pairs: vec![pair("b")] }), []);
    let actions = said(&mut launch, 0, ProxyMessage::Fence { pairs: vec![pair("a")] });
    let union = vec![pair("b"), pair("a")];
    let done = |position| Action::Send {
        position,
        message: LauncherMessage::FenceDone { pairs: union.clone() },
    };
    assert_eq!(actions, [done(0), done(1)]);
}

#[test]
fn the_first_failure_stops_the_rest_and_gives_the_code() {
    let mut launch = running(3);
    assert_eq!(said(&mut launch, 1, exited(3, 7)), stops(0..3));
    assert_eq!(said(&mut launch, 0, exited(0, 9)), [], "a consequence");
    let outcome = finish(&mut launch, 0..3);
    assert_eq!(outcome.code(), 7);
    assert_eq!(
        outcome.cause.expect("a cause").to_string(),
        "rank 3 on n1 exited with code 7; all ranks were stopped"
    );
    assert_eq!(outcome.statuses[0], Some(RankStatus::Exited { code: 9 }));
    assert_eq!(outcome.statuses[1], None);
}

#[test]
fn an_abort_is_never_a_success() {
    for (asked, given) in [(3, 3), (0, 1), (256, 1), (-1, 255)] {
        let mut launch = running(1);
        assert_eq!(
            said(
                &mut launch,
                0,
                ProxyMessage::Abort {
                    rank: Rank(1),
                    code: asked
                }
            ),
            stops([0])
        );
        assert_eq!(finish(&mut launch, [0]).code(), given);
    }
}

#[test]
fn a_lost_node_is_named() {
    let mut launch = running(3);
    let actions = launch.handle(
        Input::Lost {
            position: 1,
            reason: "timed out".into(),
        },
        NOW,
    );
    assert_eq!(actions, stops([0, 2]));
    let outcome = finish(&mut launch, [0, 2]);
    assert_eq!(outcome.code(), exit::NODE_LOST);
    assert_eq!(
        outcome.cause.expect("a cause").to_string(),
        "node n1 was lost: timed out; all ranks were stopped"
    );
}

#[test]
fn a_link_that_closes_after_the_end_is_no_loss() {
    let mut launch = running(2);
    for rank in 0..4 {
        said(&mut launch, rank / 2, exited(rank, 0));
    }
    assert_eq!(said(&mut launch, 0, ProxyMessage::Finished), []);
    assert_eq!(
        launch.handle(
            Input::Lost {
                position: 0,
                reason: "closed".into()
            },
            NOW
        ),
        []
    );
    assert_eq!(finish(&mut launch, [1]).code(), 0);
}

#[test]
fn silence_has_a_deadline_and_names_who_is_silent() {
    let mut launch = launch(3);
    launch.handle(Input::Joined { position: 1 }, NOW);
    let due = launch.next_deadline().expect("a deadline");
    assert_eq!(due, NOW + JOIN_TIMEOUT);
    assert_eq!(launch.handle(Input::Tick, due), stops([1]));
    let outcome = finish(&mut launch, [1]);
    assert_eq!(outcome.code(), exit::LAUNCHER);
    let said = outcome.cause.expect("a cause").to_string();
    assert!(said.starts_with("no proxy called from n0, n2 within 30 s"), "{said}");
}

#[test]
fn a_refused_proxy_ends_the_launch_at_once() {
    let mut launch = launch(2);
    let actions = launch.handle(
        Input::NoProxy {
            position: 1,
            reason: "no such attempt".into(),
        },
        NOW,
    );
    match actions.as_slice() {
        [Action::End(outcome)] => assert_eq!(outcome.code(), exit::LAUNCHER),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_time_limit_counts_from_the_beginning() {
    let mut launch = running(1);
    let due = launch.next_deadline().expect("a deadline");
    assert_eq!(due, NOW + Millis(60_000));
    assert_eq!(launch.handle(Input::Tick, Monotonic(due.0 - 1)), []);
    assert_eq!(launch.handle(Input::Tick, due), stops([0]));
    assert_eq!(launch.next_deadline(), Some(due + STOP_TIMEOUT));
    let late = launch.handle(Input::Tick, due + STOP_TIMEOUT);
    match late.as_slice() {
        [Action::End(outcome)] => assert_eq!(outcome.code(), exit::TIMED_OUT),
        other => panic!("a proxy that never finishes must not hold the end: {other:?}"),
    }
}

#[test]
fn one_signal_is_handed_on_and_a_second_kills() {
    let mut launch = running(2);
    let signal = |position, signal| Action::Send {
        position,
        message: LauncherMessage::Signal { signal },
    };
    assert_eq!(
        launch.handle(Input::Signal { signal: 2 }, NOW),
        [signal(0, 2), signal(1, 2)]
    );
    let later = NOW + Millis(5_000);
    assert_eq!(
        launch.handle(Input::Signal { signal: 2 }, later),
        [signal(0, 2), signal(1, 2)]
    );
    let actions = launch.handle(Input::Signal { signal: 2 }, later + Millis(500));
    assert!(actions.ends_with(&[signal(0, 9), signal(1, 9)]), "{actions:?}");
    assert_eq!(finish(&mut launch, [0, 1]).code(), 130);
}

#[test]
fn ranks_that_die_of_our_signal_say_interrupted() {
    let mut launch = running(1);
    launch.handle(Input::Signal { signal: 15 }, NOW);
    said(
        &mut launch,
        0,
        ProxyMessage::Exited {
            rank: Rank(0),
            status: RankStatus::Signaled { signal: 15 },
        },
    );
    let outcome = finish(&mut launch, [0]);
    assert_eq!(
        (outcome.code(), outcome.cause),
        (143, Some(Cause::Interrupted { signal: 15 }))
    );
}

#[test]
fn a_barrier_that_waits_for_ended_ranks_is_a_fault_in_either_order() {
    let mut first = running(2);
    said(&mut first, 0, ProxyMessage::Fence { pairs: vec![] });
    said(&mut first, 1, exited(2, 0));
    said(&mut first, 1, exited(3, 0));
    assert_eq!(said(&mut first, 1, ProxyMessage::Finished), stops([0]));
    assert_eq!(finish(&mut first, [0]).code(), exit::FAULT);
    let mut second = running(2);
    said(&mut second, 1, exited(2, 0));
    said(&mut second, 1, exited(3, 0));
    said(&mut second, 1, ProxyMessage::Finished);
    assert_eq!(said(&mut second, 0, ProxyMessage::Fence { pairs: vec![] }), stops([0]));
}

#[test]
fn a_proxy_that_speaks_of_foreign_ranks_or_hides_its_own_is_lost() {
    let mut foreign = running(2);
    assert_eq!(said(&mut foreign, 0, exited(3, 0)), stops([1]));
    let mut hiding = running(2);
    assert_eq!(said(&mut hiding, 0, ProxyMessage::Finished), stops([1]));
    let mut twice = running(2);
    said(&mut twice, 0, ProxyMessage::Fence { pairs: vec![] });
    assert_eq!(said(&mut twice, 0, ProxyMessage::Fence { pairs: vec![] }), stops([1]));
}
