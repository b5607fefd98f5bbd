//! Certificates of nodes: bound to a key, renewed at any time, void when the node joins anew or is removed.

use proto::client::RefusalCode;
use proto::event::Event;
use proto::ids::{KeyHash, NodeId, NodeName, PoolName};
use proto::stored::{Row, RowKey, TokenRow};
use proto::units::{Millis, Timestamp};
use scheduler::{Input, Settings};

use crate::requests::refused;
use crate::world::{World, hello, key, root};

fn renew(node: NodeId, key: KeyHash, ends: u64) -> Input {
    Input::Renew {
        node,
        key,
        certificate_ends: Timestamp(ends),
    }
}

fn up(node: NodeId, key: KeyHash, name: &str) -> Input {
    Input::NodeUp {
        node,
        key,
        hello: Box::new(hello(name, 4, 1)),
    }
}

#[test]
fn the_newest_join_of_a_name_counts() {
    let mut world = World::new(Settings::default());
    let node = world.join("n0", "p", &["g"]);
    let first = world.cluster.node(node).expect("a node").key.expect("a key");
    world.round(&up(node, first, "n0")).answer.expect("a hello");
    world.round(&renew(node, first, 5_000_000)).answer.expect("renewed");
    let ends = |world: &World| world.cluster.node(node).and_then(|row| row.certificate_ends);
    assert_eq!(ends(&world), Some(Timestamp(5_000_000)));

    world.round(&Input::NodeGone { node });
    assert_eq!(world.join("n0", "p", &[]), node, "it keeps its number");
    let second = world.cluster.node(node).expect("a node").key.expect("a key");
    assert_ne!(first, second);
    let void = "the certificate of node 'n0' is void: a node of that name joined later with another key";
    refused(&mut world, &up(node, first, "n0"), void);
    refused(&mut world, &renew(node, first, 6_000_000), void);
    world.round(&up(node, second, "n0")).answer.expect("a hello");

    let remove = Input::RemoveNodes {
        caller: root(),
        nodes: vec![NodeName::new("n0").expect("a name")],
        force: false,
    };
    world.round(&remove).answer.expect("removed");
    assert!(world.stored(&RowKey::Node(node)).is_none(), "gone from disk too");
    for input in [up(node, second, "n0"), renew(node, second, 6_000_000)] {
        let refusal = world.round(&input).answer.expect_err("a refusal");
        assert_eq!(refusal.code, RefusalCode::NotFound);
        assert!(refusal.what.contains("or was removed"), "{refusal}");
    }
    let nobody = Input::RemoveNodes {
        caller: root(),
        nodes: Vec::new(),
        force: true,
    };
    refused(&mut world, &nobody, "no node is named");
    assert_ne!(world.join("n0", "p", &[]), node, "a number is not given twice");
}

#[test]
fn a_node_of_an_older_release_is_bound_to_its_key_when_it_renews() {
    let mut world = World::new(Settings::default());
    let node = world.join("n0", "p", &["g"]);
    let mut rows: Vec<Row> = world.cluster.rows().collect();
    for row in &mut rows {
        if let Row::Node(row) = row {
            (row.key, row.certificate_ends) = (None, None);
        }
    }
    let cluster = scheduler::Cluster::restore(world.settings, rows, world.now).expect("restores");
    let decision = scheduler::decide(&cluster, &renew(node, key(9), 7), world.now).expect("renewed");
    assert!(
        matches!(&decision.events[..], [Event::NodeJoined { key: bound, groups, .. }]
            if *bound == key(9) && groups.len() == 1),
        "{decision:?}"
    );
    assert!(scheduler::decide(&cluster, &up(node, key(3), "n0"), world.now).is_ok());
}

#[test]
fn a_clock_that_is_off_is_shown_and_nothing_more() {
    let mut world = World::new(Settings::default());
    let node = world.join("n0", "p", &[]);
    let row_key = world.cluster.node(node).expect("a node").key.expect("a key");
    let at = |world: &World, ahead: i64| {
        let mut hello = hello("n0", 4, 1);
        hello.clock = Some(Timestamp(world.now.wall.0.checked_add_signed(ahead).expect("a time")));
        Input::NodeUp {
            node,
            key: row_key,
            hello: Box::new(hello),
        }
    };
    let shown = |world: &World| world.cluster.node(node).and_then(|row| row.clock_ahead_ms);
    for ahead in [-600_000, 0, 2_500] {
        let input = at(&world, ahead);
        world
            .round(&input)
            .answer
            .expect("a hello is taken whatever its clock says");
        assert_eq!(shown(&world), Some(ahead));
    }
    let noise = at(&world, 2_600);
    assert_eq!(world.round(&noise).events, [], "noise is not worth an event");
    assert_eq!(shown(&world), Some(2_500));
}

#[test]
fn a_join_says_which_key_and_until_when() {
    let mut world = World::new(Settings::default());
    let token = TokenRow {
        hash: "abc".to_owned(),
        pool: PoolName::new("p").expect("a pool"),
        groups: Vec::new(),
        expires_at: world.now.wall + Millis(1),
        uses_left: 1,
    };
    world
        .round(&Input::MakeToken { caller: root(), token })
        .answer
        .expect("a token");
    let join = Input::Join {
        secret_hash: "abc".to_owned(),
        name: NodeName::new("n7").expect("a name"),
        key: key(7),
        certificate_ends: Timestamp(42),
    };
    world.round(&join).answer.expect("joins");
    let name = NodeName::new("N7").expect("a name");
    let row = world.cluster.node_by_name(&name).expect("a node");
    assert_eq!((row.key, row.certificate_ends), (Some(key(7)), Some(Timestamp(42))));
}
