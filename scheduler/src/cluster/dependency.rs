//! Which tasks of a job wait for which names and numbers, and how the tasks of those stand.
//!
//! A job of which no task depends on another costs nothing; once one does, the tasks of all names and numbers are counted,
//! so that it does not matter what comes first, a task or one that waits for it. All of it follows from the rows of the
//! job; nothing here is stored.

use std::collections::{BTreeMap, BTreeSet};

use proto::ids::{TaskId, TaskNumber};
use proto::model::exit::DependencyAction;
use proto::model::task::{TaskOutcome, TaskRange, TaskRow, TaskSpec, TaskState};

use super::exit::options_of;
use super::numbers::Numbers;

/// How a task stands, for those that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not ended.
    Open,
    /// It ended so that they may run: well, or with an exit that satisfies them all the same.
    Good,
    /// It ended otherwise.
    Bad,
}

impl Standing {
    /// As its row tells, so that it is the same after a restart.
    pub(crate) fn of(task: &TaskRow) -> Self {
        match &task.state {
            TaskState::Ended { outcome, .. } => Self::after(task.id, &task.spec, outcome, task.exit_code),
            TaskState::Queued | TaskState::Granted { .. } | TaskState::Running { .. } | TaskState::Stopping { .. } => {
                Self::Open
            }
        }
    }

    /// After this end, with the exit code of a newest try that ended by itself.
    pub(crate) fn after(task: TaskId, spec: &TaskSpec, outcome: &TaskOutcome, code: Option<i32>) -> Self {
        // Of an array, elements that ended well are not kept in memory one by one: there every success satisfies.
        let code = code.filter(|_| task.step.is_none());
        match options_of(spec, outcome, code).dependency {
            DependencyAction::Satisfy => Self::Good,
            DependencyAction::Block => Self::Bad,
        }
    }
}

/// How many tasks stand how.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) open: u32,
    pub(super) bad: u32,
}

impl Tally {
    pub(super) fn add(&mut self, standing: Standing, count: u32) {
        if let Some(counter) = self.counter(standing) {
            *counter += count;
        }
    }

    pub(super) fn take(&mut self, standing: Standing, count: u32) {
        if let Some(counter) = self.counter(standing) {
            *counter = counter.saturating_sub(count);
        }
    }

    const fn counter(&mut self, standing: Standing) -> Option<&mut u32> {
        match standing {
            Standing::Open => Some(&mut self.open),
            Standing::Bad => Some(&mut self.bad),
            Standing::Good => None,
        }
    }
}

/// The tasks of one name.
#[derive(Debug, Default, PartialEq, Eq)]
struct Name {
    tally: Tally,
    dependents: BTreeSet<TaskId>,
}

/// What a task waits for, and cannot ever get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken<'a> {
    Name(&'a str),
    Range(TaskRange),
}

/// The rows of a job without those of elements, for which their array's row stands.
fn alone<'a>(tasks: impl Iterator<Item = &'a TaskRow> + Clone) -> impl Iterator<Item = &'a TaskRow> + Clone {
    let mut array = None;
    tasks.filter(move |row| {
        if row.array.is_some() {
            array = Some(row.id.number);
        }
        row.id.step.is_none() || array != Some(row.id.number)
    })
}

/// How many elements of each array failed in a way that satisfies; one look at each row.
fn satisfying<'a>(tasks: impl Iterator<Item = &'a TaskRow>) -> BTreeMap<TaskNumber, u32> {
    let mut counts = BTreeMap::new();
    for row in tasks.filter(|row| row.id.step.is_some()) {
        let failed = matches!(
            row.state,
            TaskState::Ended {
                outcome: TaskOutcome::Failed { .. },
                ..
            }
        );
        if failed && Standing::of(row) == Standing::Good {
            *counts.entry(row.id.number).or_default() += 1;
        }
    }
    counts
}

/// The dependencies of one job.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dependencies {
    names: BTreeMap<String, Name>,
    numbers: Numbers,
}

/// Whether a task depends on any other.
pub(crate) const fn depends(spec: &TaskSpec) -> bool {
    !spec.depends_on.is_empty() || !spec.depends_on_ranges.is_empty()
}

impl Dependencies {
    /// Of all tasks of a job.
    pub(crate) fn of<'a>(tasks: impl Iterator<Item = &'a TaskRow> + Clone) -> Self {
        let mut new = Self::default();
        if !tasks.clone().any(|task| depends(&task.spec)) {
            return new;
        }
        let satisfying = satisfying(tasks.clone());
        for task in alone(tasks.clone()) {
            let (name, number) = (&task.spec.name, task.id.number);
            let Some(state) = &task.array else {
                new.enter(name, number, Standing::of(task), 1);
                continue;
            };
            let satisfying = satisfying.get(&number).copied().unwrap_or(0);
            let counts = state.counts;
            for (standing, count) in [
                (Standing::Open, counts.queued + counts.running),
                (Standing::Good, counts.finished + satisfying),
                (Standing::Bad, counts.failed + counts.canceled - satisfying),
            ] {
                new.enter(name, number, standing, count);
            }
        }
        for task in alone(tasks) {
            new.depend(task.id, &task.spec);
        }
        new
    }

    /// Whether nothing of the job depends on anything.
    pub(crate) fn is_empty(&self) -> bool {
        self.names.is_empty() && self.numbers.is_empty()
    }

    pub(crate) fn depend(&mut self, task: TaskId, spec: &TaskSpec) {
        for name in &spec.depends_on {
            self.names.entry(name.clone()).or_default().dependents.insert(task);
        }
        for range in &spec.depends_on_ranges {
            self.numbers.depend(task, *range);
        }
    }

    /// So many tasks of this name and number are there now. Only for a job of which something depends.
    pub(crate) fn enter(&mut self, name: &str, number: TaskNumber, standing: Standing, count: u32) {
        if count == 0 {
            return;
        }
        if !name.is_empty() {
            let name = self.names.entry(name.to_owned()).or_default();
            name.tally.add(standing, count);
        }
        // Who waits for the number waited before, too.
        self.numbers
            .change(number, (None, standing), count, &mut BTreeSet::new());
    }

    /// So many tasks of this name and number stand otherwise now. Returns those who depend on them, when that may change
    /// whether they wait.
    pub(crate) fn change(
        &mut self,
        (name, number): (&str, TaskNumber),
        from: Standing,
        to: Standing,
        count: u32,
    ) -> BTreeSet<TaskId> {
        let mut moved = BTreeSet::new();
        if from == to || self.is_empty() {
            return moved;
        }
        self.numbers.change(number, (Some(from), to), count, &mut moved);
        let Some(name) = self.names.get_mut(name) else {
            return moved;
        };
        let before = (name.tally.open > 0, name.tally.bad > 0);
        name.tally.take(from, count);
        name.tally.add(to, count);
        if before != (name.tally.open > 0, name.tally.bad > 0) {
            moved.extend(name.dependents.iter().copied());
        }
        moved
    }

    /// Everyone who depends on the name.
    pub(crate) fn dependents(&self, name: &str) -> impl Iterator<Item = TaskId> {
        self.names
            .get(name)
            .into_iter()
            .flat_map(|name| name.dependents.iter().copied())
    }

    /// The ranges that hold the number, with everyone who depends on them.
    pub(crate) fn ranges_around(&self, number: TaskNumber) -> impl Iterator<Item = (TaskRange, &BTreeSet<TaskId>)> {
        self.numbers.dependents(number)
    }

    /// Whether nothing keeps the task waiting; `whatever` when the end of the others counts and not how they ended.
    pub(crate) fn are_met(&self, spec: &TaskSpec, whatever: bool) -> bool {
        let names = spec.depends_on.iter().all(|name| match self.names.get(name) {
            Some(Name { tally, .. }) => tally.open == 0 && (whatever || tally.bad == 0),
            None => true,
        });
        let mut ranges = spec.depends_on_ranges.iter();
        names && ranges.all(|range| self.numbers.is_met(*range, whatever))
    }

    /// The names that keep the task waiting, with how many of their tasks have not ended.
    pub(crate) fn awaited<'a>(&'a self, spec: &'a TaskSpec) -> impl Iterator<Item = (&'a str, u32)> {
        spec.depends_on.iter().filter_map(|name| {
            let open = self.names.get(name)?.tally.open;
            (open > 0).then_some((name.as_str(), open))
        })
    }

    /// The first number that keeps the task waiting, and how many do: not over, or not there.
    pub(crate) fn awaited_numbers(&self, spec: &TaskSpec) -> Option<(TaskNumber, u32)> {
        self.numbers.awaited(&spec.depends_on_ranges)
    }

    /// The first that the task depends on of which a task failed or was canceled.
    pub(crate) fn broken<'a>(&self, spec: &'a TaskSpec) -> Option<Broken<'a>> {
        let bad = |name: &&String| self.names.get(*name).is_some_and(|name| name.tally.bad > 0);
        let name = spec.depends_on.iter().find(bad).map(|name| Broken::Name(name));
        let mut ranges = spec.depends_on_ranges.iter().copied();
        name.or_else(|| ranges.find(|range| self.numbers.is_broken(*range)).map(Broken::Range))
    }
}
