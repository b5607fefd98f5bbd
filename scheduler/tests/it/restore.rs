//! Stores that contradict themselves: a head node must not start on them.

use proto::ids::{AttemptId, JobId, NodeId, SubmissionId, TaskId, TaskNumber};
use proto::model::job::JobSpec;
use proto::model::task::TaskSpec;
use proto::stored::{Row, RowKey};
use scheduler::{Cluster, Input, RestoreError, Settings};

use crate::world::{World, hello, user};

const TASK: TaskId = TaskId {
    job: JobId(1),
    number: TaskNumber(1),
    step: None,
};

/// A node that runs the only task of a job.
fn running() -> World {
    let mut world = World::new(Settings::default());
    world.join("n0", "p", &[]);
    world.node_up(hello("n0", 4, 1)).answer.expect("a hello");
    let tasks = vec![TaskSpec::of_command(vec!["true".to_owned()])];
    let job = Box::new(JobSpec::default());
    let input = Input::Submit {
        caller: user("ann"),
        submission: SubmissionId(1),
        job,
        tasks,
    };
    world.round(&input).answer.expect("a job");
    world
}

#[track_caller]
fn without(key: &RowKey) -> RestoreError {
    let world = running();
    let rows = world.cluster.rows().filter(|row| row.key() != *key);
    Cluster::restore(world.settings, rows, world.now).expect_err("a contradiction")
}

#[test]
fn rows_that_are_missing_are_named() {
    assert_eq!(without(&RowKey::Job(JobId(1))), RestoreError::OrphanTask { task: TASK });
    let attempt = AttemptId(1);
    assert_eq!(
        without(&RowKey::Attempt(attempt)),
        RestoreError::NoAttempt { task: TASK, attempt }
    );
    assert_eq!(
        without(&RowKey::Node(NodeId(1))),
        RestoreError::NoNode {
            attempt,
            node: NodeId(1)
        }
    );
    let error = without(&RowKey::Task(TASK));
    assert_eq!(error.to_string(), "job 1 is stored with 1 tasks, and 0 are stored");
}

#[test]
fn two_nodes_of_one_name_are_refused() {
    let world = running();
    let mut rows: Vec<Row> = world.cluster.rows().collect();
    let mut twin = world.cluster.node(NodeId(1)).expect("a node").clone();
    twin.id = NodeId(2);
    rows.push(Row::Node(Box::new(twin)));
    let error = Cluster::restore(world.settings, rows, world.now).expect_err("a contradiction");
    assert_eq!(error.to_string(), "two nodes are stored under the name 'n0'");
}
