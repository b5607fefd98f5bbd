//! What measurements submit, as whom, and its end.

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, bail, ensure};
use cli::client::Client;
use nix::unistd::{Gid, Uid, setegid, seteuid};
use proto::client::{Reply, Request};
use proto::ids::{JobId, SubmissionId};
use proto::model::job::JobSpec;
use proto::model::sweep::Sweep;
use proto::model::task::TaskSpec;

/// The account that tasks run as when this program is root: the one without rights that every Linux has.
const NOBODY: u32 = 65_534;

/// A client that is nobody in particular when this program is root, else whoever runs it. The head node is told by the
/// kernel who connects, at that moment, so this program is somebody else for as long as that takes.
pub(crate) async fn connect(socket: &Path) -> anyhow::Result<Client> {
    let as_nobody = Uid::effective().is_root();
    if as_nobody {
        setegid(Gid::from_raw(NOBODY)).and_then(|()| seteuid(Uid::from_raw(NOBODY)))?;
    }
    let client = Client::connect(socket).await;
    if as_nobody {
        seteuid(Uid::from_raw(0)).and_then(|()| setegid(Gid::from_raw(0)))?;
    }
    client.with_context(|| format!("no connection to {}", socket.display()))
}

/// `/bin/true` with nothing around it: no directory of its own, no files for its output.
pub(crate) fn bare_task() -> TaskSpec {
    let mut task = task_with_files();
    task.workdir = Some("/".to_owned());
    task.stdout = Some("/dev/null".to_owned());
    task.stderr = Some("/dev/null".to_owned());
    task
}

/// `/bin/true` as it comes: a directory and both output files.
pub(crate) fn task_with_files() -> TaskSpec {
    TaskSpec::of_command(vec!["/bin/true".to_owned()])
}

/// The task as an array of so many.
pub(crate) fn array(mut task: TaskSpec, steps: u32) -> anyhow::Result<TaskSpec> {
    task.sweep = Some(Sweep::new(1, steps, 1)?);
    Ok(task)
}

/// A submission of one task, under a number that no other one of this machine has.
pub(crate) fn submission(task: TaskSpec) -> Request {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = u128::from(NUMBER.fetch_add(1, Ordering::Relaxed));
    Request::Submit {
        submission: SubmissionId(number | u128::from(std::process::id()) << 96),
        job: Box::new(JobSpec::default()),
        tasks: vec![task],
    }
}

/// Submits.
pub(crate) async fn submit(client: &mut Client, task: TaskSpec) -> anyhow::Result<JobId> {
    match client.request(submission(task)).await? {
        Reply::Submitted { job, .. } => Ok(job),
        other => bail!("the submission was not taken: {other:?}"),
    }
}

/// Submits and waits until the head node tells that it is over; `expected` tasks have to have ended well.
pub(crate) async fn submit_and_wait(client: &mut Client, task: TaskSpec, expected: u32) -> anyhow::Result<()> {
    let job = submit(client, task).await?;
    let ended = client.wait_job(job, |_| {}).await?;
    ensure!(
        ended.counts.finished == expected,
        "of {expected} tasks not all finished: {:?}",
        ended.counts
    );
    Ok(())
}
