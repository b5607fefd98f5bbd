//! Requests that are refused: each says what was asked, what is wrong and what to do, and changes nothing.

use proto::client::{MAX_TASKS, RefusalCode};
use proto::ids::{NodeId, NodeName, PoolName, SubmissionId, TaskNumber};
use proto::model::exit::{ExitConditions, ExitOptions, ExitRule};
use proto::model::job::{JobChange, JobKind, JobSpec};
use proto::model::owner::{Caller, Role};
use proto::model::sweep::Sweep;
use proto::model::task::{CommonFile, Interactive, MAX_COMMAND_BYTES, MAX_SCRIPT_BYTES, Request, TaskRange, TaskSpec};
use proto::stored::TokenRow;
use proto::units::{Millis, Timestamp};
use scheduler::{Answer, Input, Settings};

use crate::world::{World, hello, key, root, user};

fn submit(change: impl FnOnce(&mut JobSpec, &mut Vec<TaskSpec>)) -> Input {
    let (mut job, mut tasks) = (JobSpec::default(), vec![TaskSpec::of_command(vec!["true".to_owned()])]);
    change(&mut job, &mut tasks);
    Input::Submit {
        caller: user("ann"),
        submission: SubmissionId(1),
        job: Box::new(job),
        tasks,
    }
}

#[track_caller]
pub(crate) fn refused(world: &mut World, input: &Input, says: &str) {
    let before = world.cluster.sequence();
    let refusal = world.round(input).answer.expect_err("a refusal");
    assert!(refusal.to_string().contains(says), "{refusal}");
    assert!(!refusal.remedy.is_empty(), "{refusal} lacks a remedy");
    assert_eq!(world.cluster.sequence(), before, "a refused request changes nothing");
}

#[test]
fn values_that_no_task_can_have_are_named() {
    let mut world = World::new(Settings::default());
    let variable = |name: &str, value: &str| [(name.to_owned(), Some(value.to_owned()))].into();
    let cases = [
        (
            submit(|job, _| job.env = variable("A=B", "c")),
            "the variable name 'A=B' has a '=' in it",
        ),
        (submit(|job, _| job.env = variable("", "c")), "a variable has no name"),
        (submit(|_, tasks| tasks[0].env = variable("A", "b\0")), "NUL byte"),
        (submit(|_, tasks| tasks[0].command[0] = "a\0b".to_owned()), "NUL byte"),
        (
            submit(|_, tasks| tasks[0].command = vec![String::new()]),
            "the command is empty",
        ),
        (
            submit(|_, tasks| tasks[0].command.push("x".repeat(MAX_COMMAND_BYTES))),
            "bytes, and 32768 are the most",
        ),
        (
            submit(|_, tasks| tasks[0].workdir = Some(String::new())),
            "the path of work directory is empty",
        ),
        (
            submit(|_, tasks| tasks[0].stdout = Some("x".repeat(5000))),
            "the stdout has 5000 bytes",
        ),
        (
            submit(|job, _| job.name = "x".repeat(300)),
            "the job name has 300 bytes",
        ),
        (
            submit(|_, tasks| tasks.resize(MAX_TASKS + 1, tasks[0].clone())),
            "100001 tasks, and 100000 are the most",
        ),
    ];
    for (input, says) in cases {
        refused(&mut world, &input, says);
    }
    // In a job of several tasks the refusal says which.
    let second = submit(|_, tasks| {
        tasks.push(tasks[0].clone());
        tasks[1].command.clear();
    });
    refused(&mut world, &second, "task 2: the command is empty");
}

#[test]
fn roles_bound_what_is_allowed() {
    let mut world = World::new(Settings::default());
    let mut node = user("ann");
    node.role = Role::Node;
    let mut input = submit(|_, _| {});
    if let Input::Submit { caller, .. } = &mut input {
        *caller = node;
    }
    refused(&mut world, &input, "a node submits no jobs");
    let input = Input::MakeToken {
        caller: user("ann"),
        token: token(&world, 1),
    };
    refused(
        &mut world,
        &input,
        "'ann' may not make join tokens: that takes the role administrator, not user",
    );
}

fn token(world: &World, uses: u32) -> TokenRow {
    TokenRow {
        hash: "abc".to_owned(),
        pool: PoolName::new("local").expect("a pool name"),
        groups: Vec::new(),
        expires_at: world.now.wall + Millis::from_seconds(60),
        uses_left: uses,
    }
}

#[test]
fn tokens_end_and_are_counted() {
    let mut world = World::new(Settings::default());
    let join = |name: &str, hash: &str| Input::Join {
        secret_hash: hash.to_owned(),
        name: NodeName::new(name).expect("a node name"),
        key: key(77),
        certificate_ends: Timestamp(u64::MAX),
    };
    refused(&mut world, &join("n0", "abc"), "does not know the join token");
    let none = Input::MakeToken {
        caller: root(),
        token: token(&world, 0),
    };
    refused(&mut world, &none, "a token for 0 nodes");
    world
        .round(&Input::MakeToken {
            caller: root(),
            token: token(&world, 3),
        })
        .answer
        .expect("a token");

    let first = world.round(&join("n0", "abc")).answer.expect("joins");
    world.node_up(hello("n0", 4, 1)).answer.expect("a hello");
    refused(
        &mut world,
        &join("N0", "abc"),
        "a node named 'N0' is in the cluster and answers",
    );

    // A node that lost its folder keeps its number.
    let Answer::Joined { node, .. } = first else {
        panic!("joined by {first:?}")
    };
    world.round(&Input::NodeGone { node });
    assert_eq!(world.round(&join("n0", "abc")).answer.expect("joins"), first);

    assert_ne!(world.round(&join("n1", "abc")).answer.expect("joins"), first);
    refused(&mut world, &join("n2", "abc"), "the join token is used up");
    world.pass(Millis::from_seconds(61));
    refused(&mut world, &join("n2", "abc"), "the join token ended 1s ago");

    // The next token takes the place of those that ended.
    let mut next = token(&world, 1);
    next.hash = "def".to_owned();
    world
        .round(&Input::MakeToken {
            caller: root(),
            token: next,
        })
        .answer
        .expect("a token");
    refused(&mut world, &join("n2", "abc"), "does not know the join token");
}

#[test]
fn a_node_says_no_more_of_itself_than_can_be_kept() {
    let mut world = World::new(Settings::default());
    let node = world.join("n1", "default", &[]);
    let mut long = hello("n1", 4, 1);
    long.inventory.os = "x".repeat(1 << 20);
    let attempt = Input::NodeUp {
        node,
        key: world.cluster.node(node).and_then(|row| row.key).expect("its key"),
        hello: Box::new(long),
    };
    refused(&mut world, &attempt, "too long to be kept");
}

#[test]
fn a_hello_must_be_that_of_its_certificate() {
    let mut world = World::new(Settings::default());
    let node = world.join("n0", "local", &[]);
    for (hello, says) in [
        (
            hello("other", 4, 1),
            "the certificate is that of node 'n0', the node says that it is 'other'",
        ),
        (hello("n0", 0, 1), "says that it has 0 cores"),
    ] {
        refused(
            &mut world,
            &Input::NodeUp {
                node,
                key: key(1),
                hello: Box::new(hello),
            },
            says,
        );
    }
    let stranger = Input::NodeUp {
        node: NodeId(9),
        key: key(1),
        hello: Box::new(hello("n0", 4, 1)),
    };
    let refusal = world.round(&stranger).answer.expect_err("a refusal");
    assert_eq!(refusal.code, RefusalCode::NotFound);
}

#[test]
fn what_tasks_carry_is_bounded() {
    let mut world = World::new(Settings::default());
    let cases = [
        (
            submit(|_, tasks| tasks[0].script = Some("x".repeat(65 * 1024))),
            "the script has 66560 bytes, and 65536 are the most",
        ),
        (
            submit(|_, tasks| tasks[0].script = Some(String::new())),
            "the script is empty",
        ),
        (
            submit(|_, tasks| tasks[0].depends_on = (0..65).map(|n| format!("t{n}")).collect()),
            "65 tasks to wait for are named, and 64 are the most",
        ),
        (
            submit(|_, tasks| tasks[0].stdin = Some(String::new())),
            "the path of stdin is empty",
        ),
        (
            submit(|_, tasks| {
                tasks[0].sweep = Some(Sweep::new(1, 10_000_000, 1).expect("a sweep"));
                tasks.extend(vec![tasks[0].clone(); 100]);
            }),
            "the job would have 1010000000 tasks, steps of sweeps counted, and 1000000000 are the most",
        ),
        (
            submit(|_, tasks| tasks[0].request = Request::Beside { node: NodeId(1) }),
            "a place beside the queue is asked for in a job of the queue",
        ),
        (
            submit(|job, tasks| {
                job.kind = JobKind::Admin;
                tasks[0].request = Request::Beside { node: NodeId(1) };
            }),
            "'ann' may not run commands beside the queue: that takes the role operator, not user",
        ),
        (
            submit(|_, tasks| {
                tasks[0].interactive = Some(Interactive { terminal: true });
                tasks[0].request = Request::Nodes { count: 2 };
            }),
            "an interactive task with several nodes is asked for",
        ),
    ];
    for (input, says) in cases {
        refused(&mut world, &input, says);
    }
}

#[test]
fn what_runs_in_somebodys_name_is_said_by_them() {
    let mut world = World::new(Settings::default());
    world.join("n1", "default", &[]);
    let with_role = |name: &str, role| Caller { role, ..user(name) };
    let add = |caller: Caller, job| Input::AddTasks {
        caller,
        submission: SubmissionId(7),
        job,
        tasks: vec![TaskSpec::of_command(vec!["id".to_owned()])],
        stored: None,
    };
    let set = |caller: Caller, job| Input::ModifyJob {
        caller,
        job,
        change: Box::new(JobChange {
            env: [("LD_PRELOAD".to_owned(), Some("x.so".to_owned()))].into(),
            ..JobChange::default()
        }),
    };
    for (owner, number) in [(root(), 11), (user("ann"), 12)] {
        let job = world.next_job();
        let new = Input::NewJob {
            caller: owner,
            submission: SubmissionId(number),
            job: Box::default(),
        };
        world.round(&new).answer.expect("no refusal");
        for attempt in [add, set].map(|make| make(with_role("otto", Role::Operator), job)) {
            refused(&mut world, &attempt, "it would run as");
        }
        let by_administrator = set(with_role("eve", Role::Administrator), job);
        if number == 11 {
            refused(&mut world, &by_administrator, "it would run as 'root'");
        } else {
            world.round(&by_administrator).answer.expect("no refusal");
        }
    }
}

#[test]
fn files_commands_and_conditions_of_a_task_are_bounded() {
    let mut world = World::new(Settings::default());
    let file = |bytes: usize| CommonFile {
        path: "hosts".to_owned(),
        text: "x".repeat(bytes),
        mode: 0o644,
    };
    let rule = ExitRule {
        first: 1,
        last: 1,
        options: ExitOptions::default(),
    };
    let conditions = |count| {
        Some(Box::new(ExitConditions {
            codes: vec![rule; count],
            ..ExitConditions::default()
        }))
    };
    let cases = [
        (
            submit(|_, tasks| tasks[0].common_files = vec![file(MAX_SCRIPT_BYTES + 1)]),
            "bytes together, and 65536 are the most",
        ),
        (
            submit(|_, tasks| {
                tasks[0].common_files = vec![file(40_000)];
                tasks[0].script = Some("x".repeat(40_000));
            }),
            "the common files and the script have 80000 bytes together",
        ),
        (
            submit(|_, tasks| {
                tasks[0].request = Request::Nodes { count: 1 };
                tasks[0].command.push("x".repeat(20_000));
                tasks[0].coordination = Some(vec!["prepare".to_owned(), "x".repeat(20_000)]);
            }),
            "both commands have 40015 bytes together",
        ),
        (
            submit(|_, tasks| {
                tasks[0].request = Request::Nodes { count: 1 };
                tasks[0].coordination = Some(Vec::new());
            }),
            "coordination: the command is empty",
        ),
        (
            submit(|_, tasks| tasks[0].exit_conditions = conditions(65)),
            "65 exit conditions are named, and 64 are the most",
        ),
        (
            submit(|_, tasks| {
                let range = TaskRange {
                    first: TaskNumber(2),
                    last: TaskNumber(3),
                };
                tasks[0].depends_on_ranges = vec![range; 65];
            }),
            "65 ranges of tasks to wait for are named, and 64 are the most",
        ),
    ];
    for (input, says) in cases {
        refused(&mut world, &input, says);
    }
}
