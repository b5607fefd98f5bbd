//! `muster down`: stops agents, then the keepers of tasks with their tasks, then the head node.
//!
//! In this order, because an agent starts its keeper again, and because the head node then still hears of nothing new. What
//! ran is started again by the next `up` when it may be rerun: the keepers' new lives prove that the old tasks are gone.

use std::path::Path;
use std::time::Duration;

use proto::client::{Reply, Request};

use super::processes::{self, Process, Role};
use super::{LocalError, StateFolder};
use crate::answer::Down;
use crate::client::Client;
use crate::render::Progress;

/// Agents and the head node only have to close what they have open.
const PATIENCE: Duration = Duration::from_secs(10);

/// Keepers give their tasks a grace before they kill them.
const KEEPERS_PATIENCE: Duration = Duration::from_secs(30);

/// A head node that does not answer at once is stopped all the same.
const QUESTION: Duration = Duration::from_secs(2);

/// Which processes a step stops.
type Wanted = fn(&Role) -> bool;

/// Stops the cluster in a folder; one that does not run is as good as stopped.
///
/// # Errors
/// [`LocalError`] when something cannot be stopped, or thrown away.
pub(crate) async fn down(path: &Path, purge: bool, progress: &mut Progress) -> Result<Down, LocalError> {
    let state = StateFolder::at(path)?;
    let mut down = Down {
        state: state.path().to_owned(),
        stopped: Vec::new(),
        tasks: 0,
        purged: false,
        notes: Vec::new(),
    };
    if !state.path().is_dir() {
        return Ok(down);
    }
    if purge {
        state.check_free()?;
    }
    let is_ours = state.is_ours();
    if !is_ours && processes::running(&state).is_empty() {
        return Ok(down);
    }
    state.check_owner(true)?;
    let lock = state.lock()?;
    down.tasks = tokio::time::timeout(QUESTION, running_tasks(&state))
        .await
        .ok()
        .flatten()
        .unwrap_or(0);
    let of = |wanted: Wanted| -> Vec<Process> {
        processes::running(&state)
            .into_iter()
            .filter(|process| wanted(&process.role))
            .collect()
    };
    let steps: [(&str, Wanted, Duration); 3] = [
        ("stopping the nodes", |role| matches!(role, Role::Agent(_)), PATIENCE),
        (
            "stopping tasks",
            |role| matches!(role, Role::Spawner(_)),
            KEEPERS_PATIENCE,
        ),
        ("stopping the head node", |role| *role == Role::Head, PATIENCE),
    ];
    for (line, wanted, patience) in steps {
        let found = of(wanted);
        if found.is_empty() {
            continue;
        }
        progress.show(line);
        let killed = processes::stop(&state, &found, patience).await?;
        for process in &killed {
            down.notes.push(format!(
                "The {} (process {}) did not end by itself and was killed.",
                process.role, process.pid
            ));
        }
        // The keepers belong to their nodes.
        let names = found.iter().filter(|process| !matches!(process.role, Role::Spawner(_)));
        down.stopped.extend(names.map(|process| process.role.to_string()));
    }
    if purge && is_ours {
        let left = state.purge()?;
        down.purged = true;
        if !left.is_empty() {
            down.notes.push(format!(
                "Left there, because 'muster up' has not made it: {}.",
                left.join(", ")
            ));
        }
    }
    progress.clear();
    drop(lock);
    Ok(down)
}

async fn running_tasks(state: &StateFolder) -> Option<u64> {
    let mut client = Client::connect(&state.socket()).await.ok()?;
    match client.request(Request::Status).await {
        Ok(Reply::Status { running, .. }) => Some(running),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_does_not_run_is_as_good_as_stopped() {
        let folder = tempfile::tempdir().expect("a folder");
        let nowhere = folder.path().join("none");
        let answer = down(&nowhere, true, &mut Progress::default()).await.expect("stops");
        assert!(answer.stopped.is_empty() && !answer.purged);

        let state = StateFolder::made(folder.path()).expect("a folder");
        std::fs::write(folder.path().join("mine"), "").expect("writes");
        let answer = down(folder.path(), true, &mut Progress::default())
            .await
            .expect("stops");
        assert!(answer.purged && !state.log_folder().exists());
        assert!(folder.path().join("mine").exists(), "what others keep there stays");
        assert!(answer.notes.iter().any(|note| note.contains("mine")), "{answer:?}");

        let again = down(folder.path(), true, &mut Progress::default()).await;
        assert!(again.is_ok_and(|answer| !answer.purged) && folder.path().join("mine").exists());
    }

    #[tokio::test]
    async fn a_folder_of_somebody_else_is_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::create_dir(folder.path().join("bin")).expect("a folder");
        std::fs::write(folder.path().join("bin/tool"), "").expect("writes");
        let refused = down(folder.path(), true, &mut Progress::default()).await;
        assert!(
            matches!(refused, Err(LocalError::Taken { name: "bin", .. })),
            "{refused:?}"
        );
        let nothing = down(folder.path(), false, &mut Progress::default()).await;
        assert!(nothing.is_ok_and(|answer| answer.stopped.is_empty()));
        assert!(folder.path().join("bin/tool").exists() && !folder.path().join("up.lock").exists());
    }

    #[tokio::test]
    async fn only_one_is_at_work() {
        let folder = tempfile::tempdir().expect("a folder");
        let state = StateFolder::made(folder.path()).expect("a folder");
        let held = state.lock().expect("locks");
        let error = down(folder.path(), false, &mut Progress::default())
            .await
            .expect_err("is held");
        assert!(matches!(error, LocalError::AtWork { .. }), "{error}");
        drop(held);
        assert!(down(folder.path(), false, &mut Progress::default()).await.is_ok());
    }
}
