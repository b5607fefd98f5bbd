//! Both stores tell the same story; sled also survives damage to its snapshots and a second opener.

use std::sync::Arc;

use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, TaskCounts};
use proto::model::owner::Owner;
use proto::model::task::{TaskRow, TaskSpec, TaskState};
use proto::stored::{Change, MetaRow, Row, RowKey};
use proto::units::Timestamp;

use super::{MemoryStore, SledStore, Store, StoreError};

fn job(id: u64, ended: bool) -> Row {
    let state = if ended {
        JobState::Ended {
            started_at: None,
            ended_at: Timestamp(2),
            outcome: JobOutcome::Finished,
        }
    } else {
        JobState::Queued
    };
    Row::Job(Box::new(JobRow {
        id: JobId(id),
        owner: Owner {
            name: "ann".to_owned(),
            uid: 1000,
            gid: 1000,
        },
        spec: JobSpec::default(),
        state,
        counts: TaskCounts::default(),
        next_task: TaskNumber(2),
        submitted_at: Timestamp(1),
        progress: None,
        requeues: 0,
        schedule: None,
        deleting: false,
        touched_nodes: std::collections::BTreeSet::new(),
    }))
}

fn task(job: u64, number: u32) -> Row {
    Row::Task(Box::new(TaskRow {
        id: TaskId::new(JobId(job), TaskNumber(number)),
        spec: Arc::new(TaskSpec::of_command(vec!["true".to_owned()])),
        state: TaskState::Queued,
        requeues: 0,
        retries: 0,
        array: None,
        last_attempt: None,
        last_nodes: Vec::new(),
        exit_code: None,
    }))
}

fn fill(store: &dyn Store) {
    let rows = [
        Row::Meta(MetaRow::default()),
        Row::Settings(Box::default()),
        job(1, true),
        task(1, 1),
        job(2, false),
        task(2, 1),
        task(2, 2),
    ];
    store.commit(&rows.map(Change::Put)).expect("commits");
    store
        .commit(&[Change::Delete(RowKey::Task(TaskId::new(JobId(2), TaskNumber(2))))])
        .expect("commits");
}

fn tells_the_story(store: &dyn Store) {
    let live = store.load().expect("loads");
    assert_eq!(
        live,
        [
            Row::Meta(MetaRow::default()),
            Row::Settings(Box::default()),
            job(2, false),
            task(2, 1)
        ],
        "an ended job stays on disk"
    );

    let mut seen = Vec::new();
    store
        .jobs_down(None, &mut |row| {
            seen.push(row.id.0);
            true
        })
        .expect("lists");
    assert_eq!(seen, [2, 1], "newest first");

    let mut tasks = Vec::new();
    store
        .tasks_up(JobId(1), None, &mut |row| {
            tasks.push(row.id.to_string());
            true
        })
        .expect("lists");
    assert_eq!(tasks, ["1.1"], "only the job's own");
    assert_eq!(store.row(&RowKey::Job(JobId(1))).expect("reads"), Some(job(1, true)));
}

#[test]
fn memory_tells_the_story() {
    let store = MemoryStore::default();
    fill(&store);
    tells_the_story(&store);
}

#[test]
fn sled_tells_the_story_after_reopening() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(&SledStore::open(folder.path()).expect("opens"));
    tells_the_story(&SledStore::open(folder.path()).expect("opens again"));
}

#[test]
fn a_second_head_is_told_so() {
    let folder = tempfile::tempdir().expect("a folder");
    let _first = SledStore::open(folder.path()).expect("opens");
    assert!(matches!(SledStore::open(folder.path()), Err(StoreError::InUse { .. })));
}

#[test]
fn a_damaged_snapshot_loses_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    fill(&SledStore::open(folder.path()).expect("opens"));
    // Opening writes a snapshot.
    drop(SledStore::open(folder.path()).expect("opens again"));
    let mut damaged = 0;
    for entry in std::fs::read_dir(folder.path()).expect("a folder") {
        let path = entry.expect("an entry").path();
        if path
            .file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with("snap."))
        {
            std::fs::write(&path, b"").expect("writes");
            damaged += 1;
        }
    }
    assert!(damaged > 0, "sled has written a snapshot");
    tells_the_story(&SledStore::open(folder.path()).expect("opens without its snapshot"));
}
