//! The store: one durable commit of a task's row beside one raw append with fdatasync on the same disk, and rows per
//! second in batches of 100 beside one by one. Many who wait at once: [`submitters`]; what is on disk: [`retention`].

mod retention;
mod submitters;

use std::fs::File;
use std::io::Write;
use std::sync::Arc;
use std::time::Instant;

use headnode::store::{SledStore, Store};
use proto::ids::{JobId, TaskId, TaskNumber};
use proto::model::task::{TaskRow, TaskSpec, TaskState};
use proto::stored::{Change, Row};

use crate::figure::Figure;

pub(crate) use retention::run as retention;
pub(crate) use submitters::run as submitters;

/// Commits per round.
const COMMITS: u32 = 200;
/// Rows of a batch.
const BATCH: u32 = 100;

pub(crate) fn run(rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = tempfile::tempdir_in(std::env::current_dir()?)?;
    let store = SledStore::open(&folder.path().join("store"))?;
    let mut raw = File::create(folder.path().join("raw"))?;
    let record = proto::stored::encode(&row(1))?;

    let (mut single, mut appended, mut batched, mut alone) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut number = 0;
    for _ in 0..rounds {
        for _ in 0..COMMITS {
            let start = Instant::now();
            raw.write_all(&record)?;
            raw.sync_data()?;
            appended.push(micros(start));

            number += 1;
            let change = Change::Put(row(number));
            let start = Instant::now();
            store.commit(&[change])?;
            single.push(micros(start));
        }
        let batch: Vec<Change> = (0..BATCH).map(|n| Change::Put(row(number + n))).collect();
        number += BATCH;
        let start = Instant::now();
        store.commit(&batch)?;
        batched.push(f64::from(BATCH) * 1e6 / micros(start));
        alone.push(1e6 / crate::figure::median(&mut single.clone()));
    }
    Ok(vec![
        Figure::of(
            "store.commit",
            "us",
            &mut single,
            "raw append + fdatasync",
            &mut appended,
        ),
        Figure::of(
            "store.batch_of_100",
            "rows/s",
            &mut batched,
            "one row per commit",
            &mut alone,
        ),
    ])
}

fn row(number: u32) -> Row {
    Row::Task(Box::new(TaskRow {
        id: TaskId::new(JobId(1), TaskNumber(number)),
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

fn micros(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e6
}
