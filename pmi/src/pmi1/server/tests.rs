//! Stories of ranks and their server.

use proptest::prelude::*;
use proto::ids::Rank;
use proto::taskmap::TaskMap;

use super::*;
use crate::pmi1::client::{Reply, Request};

const SPACE: &str = "launch-1";

/// Two nodes with two ranks each; the server of node 0.
fn server() -> Server {
    let map = TaskMap::per_node(2, 2).expect("a map");
    Server::new(
        Facts {
            kvsname: SPACE.into(),
            universe_size: Some(4),
        },
        &map,
        0,
    )
}

fn ask(server: &mut Server, rank: u32, request: &Request) -> Reply {
    let outputs = server.handle_line(Rank(rank), &request.line().expect("sendable"));
    match outputs.as_slice() {
        [Output::Reply { rank: to, line }] if to.0 == rank => {
            assert!(
                line.len() <= crate::limits::MAX_REPLY_BYTES && line.ends_with('\n'),
                "{line}"
            );
            Reply::parse(line).expect("a reply")
        }
        other => panic!("expected one reply to {rank}, got {other:?}"),
    }
}

fn put(key: &str, value: &str) -> Request {
    Request::Put {
        kvsname: SPACE.into(),
        key: key.into(),
        value: value.into(),
    }
}

fn value_of(key: &str) -> Request {
    Request::Get {
        kvsname: SPACE.into(),
        key: key.into(),
    }
}

#[test]
fn an_mpich_rank_starts() {
    let mut server = server();
    assert_eq!(
        ask(&mut server, 0, &Request::Init),
        Reply::Init {
            version: 1,
            subversion: 1
        }
    );
    assert_eq!(
        ask(&mut server, 0, &Request::GetMaxes),
        Reply::Maxes {
            kvsname: 256,
            key: 64,
            value: 1024
        }
    );
    assert_eq!(ask(&mut server, 0, &Request::GetAppnum), Reply::Appnum(0));
    assert_eq!(
        ask(&mut server, 0, &Request::GetMyKvsname),
        Reply::MyKvsname(SPACE.into())
    );
    assert_eq!(
        ask(&mut server, 0, &Request::GetUniverseSize),
        Reply::UniverseSize(Some(4))
    );
    assert_eq!(
        ask(&mut server, 0, &value_of("PMI_process_mapping")),
        Reply::Value("(vector,(0,2,2))".into())
    );
    assert_eq!(ask(&mut server, 0, &Request::Finalize), Reply::Finalized);
    assert_eq!(server.handle_gone(Rank(0)), []);
}

#[test]
fn puts_cross_the_nodes_with_the_fence() {
    let mut server = server();
    assert_eq!(ask(&mut server, 0, &put("a", "0")), Reply::Put);
    assert_eq!(ask(&mut server, 1, &put("b", "1")), Reply::Put);
    assert_eq!(server.handle_line(Rank(0), "cmd=barrier_in\n"), []);
    let pairs = vec![("a".to_owned(), "0".to_owned()), ("b".to_owned(), "1".to_owned())];
    assert_eq!(
        server.handle_line(Rank(1), "cmd=barrier_in"),
        [Output::FenceIn { pairs: pairs.clone() }]
    );
    let mut union = pairs;
    union.push(("c".into(), "2".into()));
    let out = |rank| Output::Reply {
        rank: Rank(rank),
        line: "cmd=barrier_out rc=0\n".into(),
    };
    assert_eq!(server.handle_fence_out(union), [out(0), out(1)]);
    for (key, value) in [("a", "0"), ("b", "1"), ("c", "2")] {
        assert_eq!(ask(&mut server, 1, &value_of(key)), Reply::Value(value.into()));
    }
    assert!(matches!(ask(&mut server, 1, &value_of("d")), Reply::Refused { .. }));
    assert_eq!(server.handle_line(Rank(0), "cmd=barrier_in"), []);
    assert_eq!(
        server.handle_line(Rank(1), "cmd=barrier_in"),
        [Output::FenceIn { pairs: vec![] }]
    );
    assert_eq!(server.handle_fence_out(vec![]), [out(0), out(1)]);
    assert_eq!(server.handle_fence_out(vec![]), [], "nobody waits");
}

#[test]
fn an_abort_has_eight_bits_and_is_no_success() {
    for (line, code) in [
        ("cmd=abort exitcode=7", 7),
        ("cmd=abort exitcode=0", 1),
        ("cmd=abort exitcode=256", 1),
        ("cmd=abort exitcode=-1", 255),
        ("cmd=abort exitcode=9 error_msg=free text here", 9),
        ("cmd=abort", 1),
    ] {
        assert_eq!(
            server().handle_line(Rank(1), line),
            [Output::Abort { rank: Rank(1), code }],
            "{line}"
        );
    }
}

#[test]
fn leaving_without_finalize_is_told() {
    let mut server = server();
    ask(&mut server, 0, &Request::Init);
    assert_eq!(server.handle_gone(Rank(0)), [Output::Left { rank: Rank(0) }]);
    assert_eq!(server.handle_gone(Rank(0)), []);
    assert_eq!(
        server.handle_line(Rank(0), "cmd=get_maxes"),
        [],
        "the dead get no answer"
    );
}

#[test]
fn programs_without_mpi_come_and_go() {
    let mut server = server();
    assert_eq!(server.handle_gone(Rank(0)), []);
    assert_eq!(server.handle_gone(Rank(1)), []);
}

#[test]
fn a_barrier_that_cannot_fill_is_told_in_either_order() {
    let mut first = server();
    assert_eq!(first.handle_gone(Rank(0)), []);
    assert_eq!(
        first.handle_line(Rank(1), "cmd=barrier_in"),
        [Output::Left { rank: Rank(0) }]
    );
    let mut second = server();
    assert_eq!(second.handle_line(Rank(1), "cmd=barrier_in"), []);
    assert_eq!(second.handle_gone(Rank(0)), [Output::Left { rank: Rank(0) }]);
}

#[test]
fn what_is_not_built_is_refused_politely() {
    let mut server = server();
    let lines = [
        "mcmd=spawn",
        "nprocs=2",
        "execname=./a b",
        "totspawns=2",
        "spawnssofar=1",
        "endcmd",
    ];
    for line in lines {
        assert_eq!(server.handle_line(Rank(0), line), [], "{line}");
    }
    for line in ["mcmd=spawn", "totspawns=2", "spawnssofar=2"] {
        assert_eq!(server.handle_line(Rank(0), line), [], "{line}");
    }
    let answer = Output::Reply {
        rank: Rank(0),
        line: "cmd=spawn_result rc=-1 msg=spawning_is_not_supported\n".into(),
    };
    assert_eq!(server.handle_line(Rank(0), "endcmd"), [answer]);
    let line = |server: &mut Server, text: &str| server.handle_line(Rank(0), text);
    for (asked, answered) in [
        ("cmd=publish_name service=s port=p", "cmd=publish_result rc=-1"),
        ("cmd=lookup_name service=s", "cmd=lookup_result rc=-1"),
        ("cmd=unpublish_name service=s", "cmd=unpublish_result rc=-1"),
        ("cmd=barrier_in group=WORLD", "cmd=barrier_out rc=-1"),
        ("cmd=dance", "cmd=dance_result rc=-1"),
        ("cmd=init pmi_version=3 pmi_subversion=0", "cmd=response_to_init rc=-1"),
        (
            "cmd=put kvsname=other key=a value=b",
            "cmd=put_result rc=-1 msg=unknown_kvsname",
        ),
    ] {
        match line(&mut server, asked).as_slice() {
            [Output::Reply { line, .. }] => assert!(line.starts_with(answered), "{line}"),
            other => panic!("{asked}: {other:?}"),
        }
    }
}

#[test]
fn broken_conversations_are_named() {
    let mut server = server();
    let broken = |outputs: Vec<Output>| match outputs.as_slice() {
        [
            Output::Broken {
                rank: Rank(0),
                violation,
            },
        ] => violation.to_string(),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        broken(server.handle_line(Rank(0), "hello")),
        "'hello' does not begin with cmd="
    );
    assert_eq!(
        broken(server.handle_line(Rank(0), "cmd=put kvsname=launch-1")),
        "put lacks the field key"
    );
    assert_eq!(server.handle_line(Rank(0), "cmd=barrier_in"), []);
    let twice = broken(server.handle_line(Rank(0), "cmd=barrier_in"));
    assert_eq!(twice, "it sent 'barrier_in' while it waits in a barrier");
    assert_eq!(
        server.handle_line(Rank(9), "cmd=init"),
        [],
        "a rank of another node is nobody here"
    );
}

proptest! {
    #[test]
    fn no_line_panics(lines in prop::collection::vec((0u32..3, "(cmd|mcmd|x)?=?(init|put|get|spawn|barrier_in|finalize|endcmd)?[ -~]{0,40}"), 0..40)) {
        let mut server = server();
        for (rank, line) in lines {
            for output in server.handle_line(Rank(rank), &line) {
                if let Output::FenceIn { pairs } = output {
                    server.handle_fence_out(pairs);
                }
            }
        }
        prop_assert!(server.fence.completed() < 40);
    }
}
