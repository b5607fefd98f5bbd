//! Which jobs are live, beside the rows: a start must not read ten million jobs that are over to find a thousand that are not.
//!
//! Under keys that begin with a zero byte, which no row, export or backup has. The store keeps it by itself, from the rows
//! that it is given; a database that comes without it gets it when it is opened. It must never be needed to know what is true:
//! the rows say that.

use proto::ids::JobId;
use proto::stored::{self, Change, Row, RowKey};

use super::StoreError;
use super::record::Operation;
use super::tree::Tree;

/// The keys of live jobs begin so.
const LIVE: &[u8] = b"\0live/";

/// Says that the index is there.
const INDEXED: &[u8] = b"\0live";

/// Jobs of one batch while the index is made.
const BATCH: usize = 10_000;

fn key(job: JobId) -> Vec<u8> {
    [LIVE, &job.0.to_be_bytes()].concat()
}

/// What a change means for the index.
pub(super) fn operation(change: &Change) -> Option<Operation> {
    match change {
        Change::Put(Row::Job(job)) if super::is_live(job) => Some(put(job.id)),
        Change::Put(Row::Job(job)) => Some(Operation::Delete { key: key(job.id) }),
        Change::Delete(RowKey::Job(job)) | Change::DeleteJob(job) => Some(Operation::Delete { key: key(*job) }),
        _ => None,
    }
}

fn put(job: JobId) -> Operation {
    Operation::Put {
        key: key(job),
        value: Vec::new(),
    }
}

/// Makes the index of a database that has none.
pub(super) fn index(tree: &Tree) -> Result<(), StoreError> {
    if tree.value(INDEXED)?.is_some() {
        return Ok(());
    }
    let mut batch = Vec::new();
    tree.up(b"j/", &super::behind(b"j/"), &mut |_, bytes| {
        if let Row::Job(job) = stored::decode(bytes)?
            && super::is_live(&job)
        {
            batch.push(put(job.id));
            if batch.len() == BATCH {
                tree.apply(std::mem::take(&mut batch))?;
            }
        }
        Ok(true)
    })?;
    batch.push(Operation::Put {
        key: INDEXED.to_vec(),
        value: Vec::new(),
    });
    tree.apply(batch)
}

/// The live jobs, in order.
pub(super) fn jobs(tree: &Tree) -> Result<Vec<JobId>, StoreError> {
    let mut jobs = Vec::new();
    tree.up(LIVE, &super::behind(LIVE), &mut |key, _| {
        let number = key.strip_prefix(LIVE).and_then(|number| number.try_into().ok());
        jobs.extend(number.map(|number| JobId(u64::from_be_bytes(number))));
        Ok(true)
    })?;
    Ok(jobs)
}
