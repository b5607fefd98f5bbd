//! What is kept on disk: one row type per kind of thing, each under a key that sorts as it is listed.
//!
//! Rows are the truth. A row is stored as MessagePack with field names inside an envelope that carries the format.

use serde::{Deserialize, Serialize};

use crate::ids::{
    AttemptId, GroupName, JobId, NodeId, PoolName, ScheduleName, Sequence, SubmissionId, TaskId, TaskNumber, UserName,
};
use crate::model::array::ChunkRow;
use crate::model::attempt::AttemptRow;
use crate::model::job::{Env, JobRow};
use crate::model::limits::UserLimits;
use crate::model::node::NodeRow;
use crate::model::pool::{GroupRow, PoolRow};
use crate::model::schedule::ScheduleRow;
use crate::model::task::TaskRow;
use crate::model::user::UserRow;
use crate::units::{Millis, Timestamp};

/// The format that this build writes. A store with a higher one is refused.
pub const FORMAT: u32 = 4;

/// What the cluster counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaRow {
    /// [`FORMAT`] of the build that wrote it last.
    pub format: u32,
    /// The last event that was applied.
    pub sequence: Sequence,
    /// The number of the next job.
    pub next_job: JobId,
    /// The number of the next attempt.
    pub next_attempt: AttemptId,
    /// The number of the next node.
    pub next_node: NodeId,
}

impl Default for MetaRow {
    fn default() -> Self {
        Self {
            format: FORMAT,
            sequence: Sequence(0),
            next_job: JobId(1),
            next_attempt: AttemptId(1),
            next_node: NodeId(1),
        }
    }
}

/// The first answer to a submission, for its repeats.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SubmissionRow {
    /// Made by the client.
    pub id: SubmissionId,
    /// Whose it is: the same id from somebody else is refused.
    pub uid: u32,
    /// What it became, or what tasks were added to.
    pub job: JobId,
    /// The first task that it added to a job that was there before; none when it made the job.
    #[serde(default)]
    pub first_task: Option<TaskNumber>,
}

/// A join token, known by its hash only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenRow {
    /// SHA-256 of the secret, in hex.
    pub hash: String,
    /// The pool that nodes join.
    pub pool: PoolName,
    /// The groups that nodes join.
    pub groups: Vec<GroupName>,
    /// After this it is refused.
    pub expires_at: Timestamp,
    /// How many joins are left; at 0 it is refused as used up.
    pub uses_left: u32,
}

/// What an administrator has set for the whole cluster (`cluscfg`).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SettingsRow {
    /// For every task, under the job's and the task's own variables.
    #[serde(default)]
    pub env: Env,
    /// Parameters.
    #[serde(default)]
    pub parameters: Parameters,
    /// How much one user may have at a time.
    #[serde(default)]
    pub limits: UserLimits,
}

/// Parameters of the cluster under HPC Pack's names; none means the head node's own default.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Parameters {
    /// `TaskCancelGracePeriod`: between a polite stop and a kill, at most an hour. The fencing lease has to fit (`Timing`).
    #[serde(default)]
    pub cancel_grace: Option<Millis>,
    /// `TaskRetryCount`: how often a task that says nothing itself is started again after failures that are not its own.
    #[serde(default)]
    pub task_retry_count: Option<u32>,
    /// `BackfillLookAhead`: how many waiting jobs behind a blocked one are looked at for what may run meanwhile.
    #[serde(default)]
    pub backfill_look_ahead: Option<u32>,
}

/// One row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Row {
    /// Counters.
    Meta(MetaRow),
    /// A pool.
    Pool(PoolRow),
    /// A node group.
    Group(GroupRow),
    /// A node.
    Node(Box<NodeRow>),
    /// A job.
    Job(Box<JobRow>),
    /// A task.
    Task(Box<TaskRow>),
    /// Touched elements of an array.
    Chunk(ChunkRow),
    /// An attempt that still holds nodes.
    Attempt(AttemptRow),
    /// A submission.
    Submission(SubmissionRow),
    /// A join token.
    Token(TokenRow),
    /// A person or service that was given a role or a credential.
    User(Box<UserRow>),
    /// What an administrator has set.
    Settings(Box<SettingsRow>),
    /// A job schedule.
    Schedule(Box<ScheduleRow>),
}

/// Which row. Sorted by kind, then by id, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum RowKey {
    /// Counters.
    Meta,
    /// A pool.
    Pool(PoolName),
    /// A node group.
    Group(GroupName),
    /// A node.
    Node(NodeId),
    /// A job.
    Job(JobId),
    /// A task.
    Task(TaskId),
    /// A chunk of an array, by its number.
    Chunk(TaskId, u32),
    /// An attempt.
    Attempt(AttemptId),
    /// A submission.
    Submission(SubmissionId),
    /// A join token, by its hash.
    Token(String),
    /// A user.
    User(UserName),
    /// What an administrator has set.
    Settings,
    /// A job schedule.
    Schedule(ScheduleName),
}

/// What happens to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Written anew, whole.
    Put(Row),
    /// Taken away.
    Delete(RowKey),
    /// A job with all its tasks and chunks is taken away.
    DeleteJob(JobId),
}

impl Row {
    /// Where it is kept.
    #[must_use]
    pub fn key(&self) -> RowKey {
        match self {
            Self::Meta(_) => RowKey::Meta,
            Self::Pool(row) => RowKey::Pool(row.name.clone()),
            Self::Group(row) => RowKey::Group(row.name.clone()),
            Self::Node(row) => RowKey::Node(row.id),
            Self::Job(row) => RowKey::Job(row.id),
            Self::Task(row) => RowKey::Task(row.id),
            Self::Chunk(row) => RowKey::Chunk(row.array, row.chunk),
            Self::Attempt(row) => RowKey::Attempt(row.id),
            Self::Submission(row) => RowKey::Submission(row.id),
            Self::Token(row) => RowKey::Token(row.hash.clone()),
            Self::User(row) => RowKey::User(row.name.clone()),
            Self::Settings(_) => RowKey::Settings,
            Self::Schedule(row) => RowKey::Schedule(row.name.clone()),
        }
    }
}

impl RowKey {
    /// The key as bytes: a prefix letter, then big-endian numbers or lower-case names, so that byte order is list order.
    #[must_use]
    pub fn bytes(&self) -> Vec<u8> {
        let named = |prefix: &[u8], name: &str| [prefix, name.to_ascii_lowercase().as_bytes()].concat();
        match self {
            Self::Meta => b"m/".to_vec(),
            Self::Pool(name) => named(b"p/", name.as_str()),
            Self::Group(name) => named(b"g/", name.as_str()),
            Self::Node(id) => [b"n/".as_slice(), &id.0.to_be_bytes()].concat(),
            Self::Job(id) => [b"j/".as_slice(), &id.0.to_be_bytes()].concat(),
            Self::Task(id) => {
                // Without a step the key is the shorter one, which sorts before all steps of the same number.
                let step = id.step.map_or_else(Vec::new, |step| step.0.to_be_bytes().to_vec());
                [Self::tasks_of(id.job).as_slice(), &id.number.0.to_be_bytes(), &step].concat()
            }
            Self::Chunk(array, chunk) => {
                let number = array.number.0.to_be_bytes();
                [Self::chunks_of(array.job).as_slice(), &number, &chunk.to_be_bytes()].concat()
            }
            Self::Attempt(id) => [b"a/".as_slice(), &id.0.to_be_bytes()].concat(),
            Self::Submission(id) => [b"s/".as_slice(), &id.0.to_be_bytes()].concat(),
            Self::Token(hash) => named(b"k/", hash),
            Self::User(name) => [b"u/", name.as_str().as_bytes()].concat(),
            Self::Settings => b"c/".to_vec(),
            Self::Schedule(name) => named(b"h/", name.as_str()),
        }
    }

    /// The prefix of all chunks of the arrays of one job.
    #[must_use]
    pub fn chunks_of(job: JobId) -> Vec<u8> {
        [b"e/".as_slice(), &job.0.to_be_bytes()].concat()
    }

    /// The prefix of all tasks of one job.
    #[must_use]
    pub fn tasks_of(job: JobId) -> Vec<u8> {
        [b"t/".as_slice(), &job.0.to_be_bytes()].concat()
    }
}

/// The first task of a job.
pub const FIRST_TASK: TaskNumber = TaskNumber(1);

#[derive(Serialize)]
struct EnvelopeOut<'a> {
    v: u32,
    row: &'a Row,
}

#[derive(Deserialize)]
struct EnvelopeIn {
    v: u32,
    row: Row,
}

/// Why a stored row cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// Damaged, or written by something else.
    #[error("a stored row is damaged")]
    Decode(#[from] rmp_serde::decode::Error),
    /// A bug of ours.
    #[error("a row cannot be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
    /// Written by a newer release.
    #[error("a stored row has format {found}, this build reads up to {FORMAT}: start the newer release")]
    Newer {
        /// The format found.
        found: u32,
    },
}

/// The bytes that are stored for a row.
///
/// # Errors
/// [`StoredError::Encode`], a bug of ours.
pub fn encode(row: &Row) -> Result<Vec<u8>, StoredError> {
    let mut bytes = Vec::new();
    // Human readable, as in frames, so that addresses inside tagged enums can be read back.
    let mut writer = rmp_serde::Serializer::new(&mut bytes)
        .with_struct_map()
        .with_human_readable();
    EnvelopeOut { v: FORMAT, row }.serialize(&mut writer)?;
    Ok(bytes)
}

/// The row of stored bytes.
///
/// # Errors
/// [`StoredError::Decode`] or [`StoredError::Newer`].
pub fn decode(bytes: &[u8]) -> Result<Row, StoredError> {
    let mut reader = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
    let envelope = EnvelopeIn::deserialize(&mut reader)?;
    if envelope.v > FORMAT {
        Err(StoredError::Newer { found: envelope.v })
    } else {
        Ok(envelope.row)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Step;

    #[test]
    fn rows_read_what_they_write() {
        let row = Row::Meta(MetaRow::default());
        assert_eq!(decode(&encode(&row).expect("encodes")).expect("decodes"), row);
        assert!(decode(b"no row").is_err());
    }

    #[test]
    fn keys_sort_as_lists_do() {
        let job = |number| RowKey::Job(JobId(number)).bytes();
        assert!(job(2) < job(10) && job(255) < job(256));
        let task = |job, number| RowKey::Task(TaskId::new(JobId(job), TaskNumber(number))).bytes();
        assert!(task(1, 300) < task(2, 1));
        let step = |number, step| {
            let id = TaskId::new(JobId(1), TaskNumber(number));
            RowKey::Task(TaskId {
                step: Some(Step(step)),
                ..id
            })
            .bytes()
        };
        assert!(task(1, 2) < step(2, 0) && step(2, 255) < step(2, 256) && step(2, u32::MAX) < task(1, 3));
        assert!(task(7, 1).starts_with(&RowKey::tasks_of(JobId(7))));
    }
}
