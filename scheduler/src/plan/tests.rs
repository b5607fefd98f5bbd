//! What stories cannot set up: pools with wishes of their own, and how much a pass looks at.

use proto::ids::{NodeId, NodeName, PoolName, SubmissionId, TaskId};
use proto::model::limits::Limits;
use proto::model::node::{AdminState, Deallocation, Inventory, Liveness, NodeRow};
use proto::model::owner::{Caller, Owner, Role};
use proto::model::pool::{Allocation, FillType, PoolRow, PoolSpec};
use proto::model::task::TaskSpec;
use proto::model::why::{Cause, Hold, LimitKind};
use proto::stored::Row;
use proto::units::{Millis, Monotonic};

use super::*;
use crate::{Input, Settings, decide, explain};

const NOW: Now = Now {
    wall: Timestamp(1_000_000),
    monotonic: Monotonic(0),
};

fn pool(name: &str, spec: PoolSpec) -> Row {
    Row::Pool(PoolRow {
        name: PoolName::new(name).expect("a name"),
        spec,
        created_at: NOW.wall,
        allocation: Allocation::default(),
        resize_error: None,
        start_job: None,
        deleting: false,
    })
}

/// Nodes of four slots.
fn node(number: u32, pool: &str) -> Row {
    let inventory = Inventory {
        cores: 4,
        memory_bytes: 1 << 30,
        ..Inventory::default()
    };
    Row::Node(Box::new(NodeRow {
        id: NodeId(number),
        name: NodeName::new(&format!("n{number}")).expect("a name"),
        pool: PoolName::new(pool).expect("a name"),
        groups: BTreeSet::new(),
        inventory: Some(inventory),
        slots: 4,
        admin: AdminState::Online,
        liveness: Liveness::Lost { since: NOW.wall },
        boot: None,
        peer: None,
        joined_at: NOW.wall,
        key: None,
        certificate_ends: None,
        clock_ahead_ms: None,
        drain: Deallocation::default(),
        start: None,
        errand: None,
        retained_until: None,
        errand_refused: None,
    }))
}

/// A cluster of these pools and nodes, all of them ready.
fn cluster(rows: Vec<Row>) -> Cluster {
    let nodes: Vec<NodeId> = rows
        .iter()
        .filter_map(|row| match row {
            Row::Node(row) => Some(row.id),
            _ => None,
        })
        .collect();
    let mut cluster = Cluster::restore(Settings::default(), rows, NOW).expect("rows that agree");
    for node in nodes {
        cluster.apply(&Event::NodeReturned { node, at: NOW.wall });
    }
    cluster
}

fn task(cores: u32) -> TaskSpec {
    TaskSpec {
        request: proto::model::task::Request::Cores { count: cores },
        ..TaskSpec::of_command(vec!["true".to_owned()])
    }
}

fn submit(cluster: &mut Cluster, job: JobSpec, tasks: Vec<TaskSpec>) -> JobId {
    let id = cluster.next_job();
    let owner = Owner {
        name: "ann".to_owned(),
        uid: 1000,
        gid: 1000,
    };
    let input = Input::Submit {
        caller: Caller {
            owner,
            role: Role::User,
        },
        submission: SubmissionId(u128::from(id.0)),
        job: Box::new(job),
        tasks,
    };
    let decision = decide(cluster, &input, NOW).expect("a job that is taken");
    decision.events.iter().for_each(|event| cluster.apply(event));
    id
}

/// Plans, and tells the nodes of each grant, by number.
fn granted(cluster: &mut Cluster) -> Vec<(TaskId, Vec<u32>)> {
    let events = plan(cluster, NOW).events;
    events.iter().for_each(|event| cluster.apply(event));
    cluster.check().expect("indexes are those of the rows");
    let grants = events.into_iter().filter_map(|event| match event {
        Event::Granted { task, shares, .. } => Some((task, shares.iter().map(|share| share.node.0).collect())),
        _ => None,
    });
    grants.collect()
}

fn nodes(grants: Vec<(TaskId, Vec<u32>)>) -> Vec<Vec<u32>> {
    grants.into_iter().map(|(_, nodes)| nodes).collect()
}

#[test]
fn a_pool_packs_or_spreads_its_tasks() {
    for (fill, expected) in [(FillType::Pack, [[1], [1], [1]]), (FillType::Spread, [[1], [2], [1]])] {
        let spec = PoolSpec {
            fill,
            ..PoolSpec::default()
        };
        let mut cluster = cluster(vec![pool("p", spec), node(1, "p"), node(2, "p")]);
        submit(&mut cluster, JobSpec::default(), vec![task(1); 3]);
        assert_eq!(nodes(granted(&mut cluster)), expected, "{fill:?}");
    }
}

#[test]
fn nodes_that_may_not_work_together_take_what_needs_one_of_them() {
    let apart = PoolSpec {
        inter_node: false,
        ..PoolSpec::default()
    };
    let rows = vec![
        pool("p", apart),
        pool("q", PoolSpec::default()),
        node(1, "p"),
        node(2, "p"),
        node(3, "q"),
    ];
    let mut cluster = cluster(rows);
    let mut gang = task(1);
    gang.request = proto::model::task::Request::Nodes { count: 2 };
    let gangs = submit(&mut cluster, JobSpec::default(), vec![gang, task(6)]);
    submit(&mut cluster, JobSpec::default(), vec![task(4); 3]);
    assert_eq!(
        nodes(granted(&mut cluster)),
        [[1], [2], [3]],
        "the gang could never run, so it keeps nothing"
    );
    let why = explain(&cluster, gangs, NOW).expect("it waits");
    assert_eq!(why.causes.get(&Cause::NoInterNode), Some(&2));
    assert_eq!(why.short_nodes, Some(1));
}

#[test]
fn a_pool_at_its_limit_gives_nothing_and_others_do() {
    let limits = Limits {
        cores: Some(5),
        running_jobs: Some(2),
        ..Limits::default()
    };
    let bounded = PoolSpec {
        limits,
        ..PoolSpec::default()
    };
    let rows = vec![
        pool("p", bounded),
        pool("q", PoolSpec::default()),
        node(1, "p"),
        node(2, "p"),
        node(3, "q"),
    ];
    let mut cluster = cluster(rows);
    let only_p = JobSpec {
        pool: Some(PoolName::new("p").expect("a name")),
        ..JobSpec::default()
    };
    submit(&mut cluster, only_p.clone(), vec![task(4)]);
    let second = submit(&mut cluster, only_p, vec![task(2)]);
    submit(&mut cluster, JobSpec::default(), vec![task(1)]);
    submit(&mut cluster, JobSpec::default(), vec![task(1)]);
    assert_eq!(
        nodes(granted(&mut cluster)),
        [[1], [2], [3]],
        "of five cores; the last goes to the other pool"
    );
    let why = explain(&cluster, second, NOW).expect("it waits");
    assert!(matches!(
        why.held,
        Some(Hold::PoolLimit {
            limit: LimitKind::RunningJobs,
            most: 2,
            ..
        })
    ));
}

#[test]
fn a_pass_looks_at_a_bounded_number_of_jobs() {
    let mut rows = vec![pool("p", PoolSpec::default())];
    rows.extend((1..=1000).map(|number| node(number, "p")));
    let mut cluster = cluster(rows);
    let mut gang = task(1);
    gang.request = proto::model::task::Request::Nodes { count: 900 };
    let limited = |seconds| JobSpec {
        runtime_limit: Some(Millis::from_seconds(seconds)),
        ..JobSpec::default()
    };
    submit(&mut cluster, limited(50), vec![gang.clone()]);
    assert_eq!(granted(&mut cluster).len(), 1);
    gang.request = proto::model::task::Request::Nodes { count: 1000 };
    submit(&mut cluster, limited(60), vec![gang]);
    // A hundred nodes are free for whatever ends in 50 s, which none of these does: each differs from all others.
    for number in 0..3000_u32 {
        submit(
            &mut cluster,
            limited(100 + u64::from(number)),
            vec![task(1 + number % 4); 2],
        );
    }
    let mut pass = Pass::new(&cluster, NOW);
    for (id, waiting) in cluster.queue().jobs() {
        let applicant = Applicant::of(&cluster, id).expect("a job");
        pass.serve(&applicant, waiting);
    }
    assert_eq!(pass.events, []);
    assert_eq!(
        pass.steps, 1001,
        "the blocked one, and as many behind it as are looked at"
    );
    assert!(
        pass.failed.len() < 10,
        "and most of these need no search: {}",
        pass.failed.len()
    );
    assert!(pass.prospects <= 64, "few walk over all nodes: {}", pass.prospects);
    assert_eq!(pass.demand.len(), 1000);
}

/// Ends an attempt as its nodes would tell it.
fn end(cluster: &mut Cluster, attempt: AttemptId, at: Timestamp) {
    let row = cluster.attempt(attempt).expect("an attempt").clone();
    let outcome = proto::model::task::AttemptOutcome::Exited { code: 0 };
    cluster.apply(&Event::AttemptEnded { attempt, outcome, at });
    for share in row.shares {
        let node = share.node;
        cluster.apply(&Event::ShareReleased { attempt, node });
    }
    let outcome = proto::model::task::TaskOutcome::Finished;
    let task = row.task;
    cluster.apply(&Event::TaskEnded { task, outcome, at });
}

/// What the first waiting job of a story asks: cores, or nodes; and for how long, if it says.
type Asked = (bool, u32, Option<u64>);

/// Jobs come all at once, run as long as they may, and whoever is first in the queue starts when it was told, or before.
fn expect_no_delay(asked: &[Asked]) {
    let mut rows = vec![pool("p", PoolSpec::default())];
    rows.extend((1..=5).map(|number| node(number, "p")));
    let mut cluster = cluster(rows);
    for (gang, count, limit) in asked {
        let mut one = task(*count);
        if *gang {
            one.request = proto::model::task::Request::Nodes { count: 1 + count % 5 };
        }
        one.runtime_limit = limit.map(Millis::from_seconds);
        submit(&mut cluster, JobSpec::default(), vec![one]);
    }
    let mut now = NOW;
    let mut told: BTreeMap<JobId, Timestamp> = BTreeMap::new();
    loop {
        for event in plan(&cluster, now).events {
            if let Event::Granted { task, at, .. } = &event {
                let promised = told.get(&task.job);
                assert!(
                    promised.is_none_or(|promised| at <= promised),
                    "job {} was delayed",
                    task.job
                );
            }
            cluster.apply(&event);
        }
        if let Some((first, _)) = cluster.queue().jobs().next()
            && let Some(start) = explain(&cluster, first, now).and_then(|why| why.expected_start)
        {
            let promised = told.entry(first).or_insert(start);
            assert!(
                start <= *promised,
                "job {first} was to start at {promised:?}, now at {start:?}"
            );
        }
        let next = cluster.attempts().map(|row| (end_of(&cluster, row), row.id));
        // What has no limit goes on until all that has one is over.
        let next = next.min_by_key(|(end, id)| (end.is_none(), *end, *id));
        let Some((at, attempt)) = next else { break };
        now.wall = at.unwrap_or(now.wall).max(now.wall);
        end(&mut cluster, attempt, now.wall);
    }
    assert!(cluster.queue().jobs().next().is_none(), "all have run");
}

proptest::proptest! {
    #[test]
    fn who_is_first_is_never_delayed(
        asked in proptest::collection::vec(
            (proptest::bool::ANY, 1..=4_u32, proptest::option::weighted(0.9, 1..100_u64)),
            1..25,
        )
    ) {
        expect_no_delay(&asked);
    }
}
