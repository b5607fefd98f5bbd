//! Which tasks of a job wait for which names, and how the tasks of those names stand.
//!
//! Only names that some task depends on are counted, so a job without dependencies costs nothing. All of it follows from
//! the rows of the job; nothing here is stored.

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::TaskId;
use proto::model::task::{TaskOutcome, TaskRow, TaskSpec, TaskState};

/// How a task stands, for those that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not ended.
    Open,
    /// It ended well.
    Good,
    /// It failed or was canceled.
    Bad,
}

impl Standing {
    pub(crate) const fn of(state: &TaskState) -> Self {
        match state {
            TaskState::Ended {
                outcome: TaskOutcome::Finished,
                ..
            } => Self::Good,
            TaskState::Ended { .. } => Self::Bad,
            TaskState::Queued | TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { .. } => {
                Self::Open
            }
        }
    }
}

/// The tasks of one name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Name {
    open: u32,
    bad: u32,
    dependents: BTreeSet<TaskId>,
}

impl Name {
    fn count(&mut self, standing: Standing) -> Option<&mut u32> {
        match standing {
            Standing::Open => Some(&mut self.open),
            Standing::Bad => Some(&mut self.bad),
            Standing::Good => None,
        }
    }
}

/// The dependencies of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dependencies {
    names: BTreeMap<String, Name>,
}

impl Dependencies {
    /// Of all tasks of a job.
    pub(crate) fn of<'a>(tasks: impl Iterator<Item = &'a TaskRow> + Clone) -> Self {
        let mut new = Self::default();
        for task in tasks.clone() {
            new.depend(task.id, &task.spec);
        }
        if !new.is_empty() {
            for task in tasks {
                new.enter(&task.spec.name, Standing::of(&task.state));
            }
        }
        new
    }

    /// Whether nothing of the job depends on anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty()
    }

    /// Whether every name that the task depends on is counted here already.
    pub(crate) fn knows_names_of(&self, spec: &TaskSpec) -> bool {
        spec.depends_on.iter().all(|name| self.names.contains_key(name))
    }

    pub(crate) fn depend(&mut self, task: TaskId, spec: &TaskSpec) {
        for name in &spec.depends_on {
            self.names.entry(name.clone()).or_default().dependents.insert(task);
        }
    }

    /// A task of this name is there now.
    pub(crate) fn enter(&mut self, name: &str, standing: Standing) {
        if let Some(count) = self.names.get_mut(name).and_then(|name| name.count(standing)) {
            *count += 1;
        }
    }

    /// A task of this name stands otherwise now. Returns those who depend on the name, when that may change whether they
    /// wait.
    pub(crate) fn change(&mut self, name: &str, from: Standing, to: Standing) -> Vec<TaskId> {
        let Some(name) = self.names.get_mut(name).filter(|_| from != to) else {
            return Vec::new();
        };
        let before = (name.open > 0, name.bad > 0);
        if let Some(count) = name.count(from) {
            *count = count.saturating_sub(1);
        }
        if let Some(count) = name.count(to) {
            *count += 1;
        }
        if before == (name.open > 0, name.bad > 0) {
            Vec::new()
        } else {
            name.dependents.iter().copied().collect()
        }
    }

    /// Everyone who depends on the name.
    pub(crate) fn dependents(&self, name: &str) -> impl Iterator<Item = TaskId> {
        self.names
            .get(name)
            .into_iter()
            .flat_map(|name| name.dependents.iter().copied())
    }

    /// Whether nothing keeps the task waiting; `whatever` when the end of the others counts and not how they ended.
    pub(crate) fn are_met(&self, spec: &TaskSpec, whatever: bool) -> bool {
        spec.depends_on.iter().all(|name| match self.names.get(name) {
            Some(name) => name.open == 0 && (whatever || name.bad == 0),
            None => true,
        })
    }

    /// The names that keep the task waiting, with how many of their tasks have not ended.
    pub(crate) fn awaited<'a>(&'a self, spec: &'a TaskSpec) -> impl Iterator<Item = (&'a str, u32)> {
        spec.depends_on.iter().filter_map(|name| {
            let open = self.names.get(name)?.open;
            (open > 0).then_some((name.as_str(), open))
        })
    }

    /// The first of the task's names of which a task failed or was canceled.
    pub(crate) fn broken<'a>(&self, spec: &'a TaskSpec) -> Option<&'a str> {
        let bad = |name: &&String| self.names.get(*name).is_some_and(|name| name.bad > 0);
        spec.depends_on.iter().find(bad).map(String::as_str)
    }
}
