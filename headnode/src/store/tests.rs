//! Both stores tell the same story; the one on disk also after damage to its parts, and to a second opener.

use std::fs;
use std::path::{Path, PathBuf};
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

/// Files of a folder inside the store whose names begin so.
fn files(store: &Path, inside: &str, begins: &str) -> Vec<PathBuf> {
    let mut found = super::place::entries(&store.join(inside)).expect("reads");
    found.retain(|path| {
        path.file_name()
            .is_some_and(|name| name.to_string_lossy().starts_with(begins))
    });
    found.sort();
    found
}

/// A store with the story in it that ended without a word, as after kill -9 and a loss of power.
fn killed(folder: &Path) {
    let store = SledStore::open(folder).expect("opens");
    fill(&store);
    let killed = folder.with_extension("killed");
    copy(folder, &killed);
    drop(store);
    fs::remove_dir_all(folder).expect("removes");
    fs::rename(killed, folder).expect("renames");
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir(to).expect("a folder");
    for path in super::place::entries(from).expect("reads") {
        let to = to.join(path.file_name().expect("a name"));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, &to).expect("copies");
        }
    }
}

fn tells_the_story_again(folder: &Path) {
    tells_the_story(&SledStore::open(folder).expect("opens after damage"));
    tells_the_story(&SledStore::open(folder).expect("opens once more"));
}

/// What is done to each file.
type Damage = fn(&mut Vec<u8>);

fn damage(paths: &[PathBuf], damage: Damage) {
    assert!(!paths.is_empty(), "there is something to damage");
    for path in paths {
        let mut bytes = fs::read(path).expect("reads");
        damage(&mut bytes);
        fs::write(path, bytes).expect("writes");
    }
}

const DAMAGES: [Damage; 3] = [
    |bytes| bytes.clear(),
    |bytes| bytes.truncate(bytes.len() / 2),
    |bytes| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x10;
    },
];

#[test]
fn a_killed_store_has_everything() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    killed(&path);
    tells_the_story_again(&path);
}

#[test]
fn an_empty_truncated_or_flipped_snapshot_loses_nothing() {
    for what in DAMAGES {
        let folder = tempfile::tempdir().expect("a folder");
        fill(&SledStore::open(folder.path()).expect("opens"));
        // Opening writes a snapshot.
        drop(SledStore::open(folder.path()).expect("opens again"));
        damage(&files(folder.path(), "rows", "snap."), what);
        tells_the_story_again(folder.path());
    }
}

#[test]
fn a_database_without_its_tail_or_with_flipped_bytes_is_built_anew() {
    for what in DAMAGES {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store");
        fill(&SledStore::open(&path).expect("opens"));
        for snapshot in files(&path, "rows", "snap.") {
            fs::remove_file(snapshot).expect("removes");
        }
        damage(&files(&path, "rows", "db"), what);
        tells_the_story_again(&path);
    }
}

#[test]
fn a_database_that_is_gone_is_built_anew() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    killed(&path);
    fs::remove_dir_all(path.join("rows")).expect("removes");
    tells_the_story_again(&path);
}

#[test]
fn what_was_set_aside_is_kept_and_the_older_export_will_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let store = SledStore::open(&path).expect("opens");
    fill(&store);
    store.inner.export().expect("exports");
    drop(store);
    let exports = files(&path, "export", "0");
    assert_eq!(exports.len(), 2);
    damage(&exports[1..], DAMAGES[2]);
    damage(&files(&path, "rows", "db"), DAMAGES[0]);
    tells_the_story_again(&path);
    assert!(path.join("damaged-1/db").exists());
}

#[test]
fn without_any_export_it_says_what_to_do_and_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    fill(&SledStore::open(&path).expect("opens"));
    damage(&files(&path, "export", "0"), DAMAGES[0]);
    fs::write(path.join("suspect"), "").expect("writes");
    let error = SledStore::open(&path).expect_err("nothing to build from").to_string();
    assert!(error.contains("muster restore FILE"), "{error}");
    assert!(path.join("rows/db").exists());
}

#[test]
fn a_torn_last_record_was_told_nobody() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    let store = SledStore::open(&path).expect("opens");
    fill(&store);
    let torn = store.inner.journal().begin_torn(b"half a batch");
    torn.expect("writes");
    let killed = folder.path().join("killed");
    copy(&path, &killed);
    tells_the_story_again(&killed);
}

#[test]
fn lost_records_before_the_end_of_the_journal_are_told() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    killed(&path);
    let journal = files(&path, "journal", "0");
    let newest = journal.last().expect("a segment");
    let mut bytes = fs::read(newest).expect("reads");
    bytes[60] ^= 1;
    fs::write(newest, bytes).expect("writes");
    let error = SledStore::open(&path).expect_err("damaged");
    assert!(matches!(error, StoreError::Journal { .. }), "{error}");
}

#[test]
fn a_store_of_the_old_layout_moves() {
    let folder = tempfile::tempdir().expect("a folder");
    let old = ::sled::open(folder.path()).expect("opens");
    let rows = [
        Row::Meta(MetaRow::default()),
        Row::Settings(Box::default()),
        job(1, true),
    ];
    for row in rows.into_iter().chain([task(1, 1), job(2, false), task(2, 1)]) {
        let bytes = proto::stored::encode(&row).expect("encodes");
        old.insert(row.key().bytes(), bytes).expect("inserts");
    }
    drop(old);
    tells_the_story_again(folder.path());
    assert!(!folder.path().join("db").exists());
}

#[test]
fn checkpoints_and_exports_let_go_of_the_journal() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("opens");
    for number in 1..=4 {
        store.commit(&[Change::Put(task(9, number))]).expect("commits");
        store.inner.export().expect("exports");
    }
    assert_eq!(files(folder.path(), "export", "0").len(), 2);
    assert_eq!(
        files(folder.path(), "journal", "0").len(),
        2,
        "from the older export on"
    );
    drop(store);
    let store = SledStore::open(folder.path()).expect("opens");
    assert_eq!(store.row(&task(9, 4).key()).expect("reads"), Some(task(9, 4)));
}

#[test]
fn compaction_keeps_every_row_and_makes_the_folder_smaller() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("opens");
    fill(&store);
    for round in 0..20u32 {
        let rows: Vec<Change> = (0..2000)
            .map(|number| Change::Put(task(9 + u64::from(round % 2), number)))
            .collect();
        store.commit(&rows).expect("commits");
    }
    store
        .commit(&[Change::DeleteJob(JobId(9)), Change::DeleteJob(JobId(10))])
        .expect("commits");
    drop(store);
    let before = super::place::size_of(&folder.path().join("rows")).expect("reads");
    super::offline::compact(folder.path()).expect("compacts");
    let after = super::place::size_of(&folder.path().join("rows")).expect("reads");
    assert!(after * 2 < before, "{before} bytes before, {after} after");
    tells_the_story_again(folder.path());
}

#[test]
fn a_swap_that_was_interrupted_is_finished_or_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store");
    fill(&SledStore::open(&path).expect("opens"));
    copy(&path.join("rows"), &path.join("rows.done"));
    fs::create_dir(path.join("rows.new")).expect("a folder");
    fs::remove_file(path.join("rows/db")).expect("removes");
    tells_the_story_again(&path);
    assert!(!path.join("rows.new").exists() && !path.join("rows.done").exists());
}

#[test]
fn another_database_is_built_after_one_refused_a_write() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("opens");
    fill(&store);
    store.inner.fail();
    assert!(store.load().expect_err("is not read").is_full());
    store.commit(&[Change::Put(task(2, 3))]).expect("commits");
    store.commit(&[Change::Delete(task(2, 3).key())]).expect("commits");
    tells_the_story(&store);
}

/// All rows as files say them.
fn at_rest(store: &Path) -> Vec<Vec<u8>> {
    let rows = super::RowsAtRest::of(store).expect("reads");
    rows.map(|row| row.expect("reads").0).collect()
}

#[test]
fn a_backup_beside_a_running_head_has_everything_and_is_restored() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, file) = (folder.path().join("store"), folder.path().join("backup"));
    let store = SledStore::open(&path).expect("opens");
    fill(&store);
    store
        .commit(&[Change::Put(job(7, true)), Change::Put(task(7, 1))])
        .expect("commits");
    store.inner.export().expect("exports");
    store
        .commit(&[Change::DeleteJob(JobId(7)), Change::Put(task(2, 9))])
        .expect("commits");
    store.commit(&[Change::Delete(task(2, 9).key())]).expect("commits");
    let count = super::offline::backup(&path, &file).expect("backs up");
    assert_eq!(count, at_rest(&path).len() as u64);
    assert!(matches!(
        super::offline::restore(&path, &file),
        Err(StoreError::InUse { .. })
    ));
    store.commit(&[Change::Put(job(8, false))]).expect("commits");
    drop(store);

    let (rows, before) = super::offline::restore(&path, &file).expect("restores");
    assert_eq!(rows, count);
    assert!(before.expect("there was a store").join("rows/db").exists());
    let store = SledStore::open(&path).expect("opens");
    assert_eq!(
        store.row(&RowKey::Job(JobId(8))).expect("reads"),
        None,
        "it is newer than the backup"
    );
    let mut live = store.load().expect("loads");
    match live.remove(0) {
        Row::Meta(meta) => assert!(meta.next_attempt.0 > 1_000_000, "no number is given out twice"),
        other => panic!("{other:?}"),
    }
    assert_eq!(live, [Row::Settings(Box::default()), job(2, false), task(2, 1)]);
}

#[test]
fn a_check_tells_the_sound_from_the_damaged() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("opens");
    fill(&store);
    assert!(
        super::offline::check(folder.path()).expect("looks").wrong.is_empty(),
        "while it is open"
    );
    drop(store);
    let found = super::offline::check(folder.path()).expect("looks");
    assert!(found.wrong.is_empty(), "{:?}", found.wrong);
    assert_eq!(found.rows.len(), 6);

    let tree = super::tree::Tree::open(&folder.path().join("rows"), 1 << 20).expect("opens");
    let gone = super::record::Operation::Delete {
        key: job(1, true).key().bytes(),
    };
    tree.apply(vec![gone]).expect("deletes");
    drop(tree);
    let found = super::offline::check(folder.path()).expect("looks");
    assert_eq!(found.wrong.len(), 1, "{:?}", found.wrong);

    let exports = files(folder.path(), "export", "0");
    damage(&exports, DAMAGES[2]);
    assert!(super::offline::check(folder.path()).expect("looks").wrong.len() >= 2);
}

#[test]
fn a_damaged_backup_changes_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, file) = (folder.path().join("store"), folder.path().join("backup"));
    fill(&SledStore::open(&path).expect("opens"));
    super::offline::backup(&path, &file).expect("backs up");
    damage(std::slice::from_ref(&file), DAMAGES[2]);
    assert!(matches!(
        super::offline::restore(&path, &file),
        Err(StoreError::Export { .. })
    ));
    tells_the_story_again(&path);
}

/// Measures a start; run with `--run-ignored only --no-capture`. `START_QUEUED` and `START_FINISHED` are thousands of jobs of
/// one task each, which is the costly case: an array of ten million is some rows.
#[test]
#[ignore = "measures"]
fn a_start_among_many_jobs() {
    let thousands = |name: &str, default: u64| {
        let given = std::env::var(name).ok().and_then(|text| text.parse().ok());
        given.unwrap_or(default) * 1000
    };
    let (queued, finished) = (thousands("START_QUEUED", 20), thousands("START_FINISHED", 100));
    let folder = tempfile::tempdir().expect("a folder");
    let store = SledStore::open(folder.path()).expect("opens");
    let mut batch = vec![Change::Put(Row::Meta(MetaRow::default()))];
    for number in 1..=queued + finished {
        let mut task = task(number, 1);
        if let Row::Task(task) = &mut task
            && number <= finished
        {
            task.exit_code = Some(0);
        }
        batch.extend([Change::Put(job(number, number <= finished)), Change::Put(task)]);
        if batch.len() >= 2000 {
            store.commit(&std::mem::take(&mut batch)).expect("commits");
        }
    }
    store.commit(&batch).expect("commits");
    drop(store);
    let start = std::time::Instant::now();
    let (_store, rows) = SledStore::open_and_load(folder.path()).expect("opens");
    let loaded = start.elapsed();
    assert_eq!(rows.len() as u64, 1 + 2 * queued);
    let status = fs::read_to_string("/proc/self/status").expect("reads");
    let resident = status
        .lines()
        .find(|line| line.starts_with("VmRSS"))
        .unwrap_or_default();
    eprintln!(
        "{queued} queued and {finished} finished jobs: open and load {} ms, {} bytes on disk, {resident}",
        loaded.as_millis(),
        super::place::size_of(folder.path()).expect("reads"),
    );
}
