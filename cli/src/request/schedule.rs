//! Commands about job schedules.

use proto::ids::ScheduleName;
use proto::model::job::{JobChange, SetTo};
use proto::model::role::ManagerSpec;
use proto::model::schedule::{MIN_RECURRENCE, Recurrence, ScheduleAction, ScheduleSpec};
use proto::model::task::TaskSpec;
use proto::units::{Millis, Timestamp};

use super::job::{Asked, asked};
use super::jobfile::Graph;
use super::{Here, id_of, misplaced, spec};
use crate::args::table::{self, Key, Status, Verb};
use crate::args::{Options, UsageError};
use crate::value;

/// A checked command about job schedules.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "one for each row of the table of commands, which describes them"
)]
pub enum ScheduleCommand {
    Add {
        name: ScheduleName,
        spec: Box<ScheduleSpec>,
        remarks: Vec<String>,
    },
    List,
    View(ScheduleName),
    Modify {
        name: ScheduleName,
        change: Box<ScheduleChange>,
        remarks: Vec<String>,
    },
    Act {
        name: ScheduleName,
        action: ScheduleAction,
    },
}

/// What is to be changed of a schedule. The head node takes all of it as it is to be, so it is asked for first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScheduleChange {
    /// See [`Recurrence::do_not_run_until`].
    pub from: Option<SetTo<Timestamp>>,
    /// See [`Recurrence::do_not_run_after`].
    pub until: Option<SetTo<Timestamp>>,
    /// See [`Recurrence::start_window`].
    pub window: Option<SetTo<Millis>>,
    /// See [`Recurrence::interval`].
    pub every: Option<SetTo<Millis>>,
    /// What its jobs ask for.
    pub job: JobChange,
    /// Their manager, when another is said.
    pub manager: Option<Box<ManagerSpec>>,
    /// Their tasks.
    pub tasks: ScheduleTasks,
}

/// What becomes of the tasks of a schedule.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ScheduleTasks {
    /// They stay.
    #[default]
    Stay,
    /// These take their place.
    Are(Vec<TaskSpec>),
    /// A job file takes the place of job and tasks.
    File(Box<(proto::model::job::JobSpec, Vec<TaskSpec>)>),
}

impl ScheduleChange {
    /// The wishes after it.
    #[must_use]
    pub fn on(self, standing: ScheduleSpec) -> ScheduleSpec {
        fn set<T>(change: Option<SetTo<T>>, standing: Option<T>) -> Option<T> {
            change.map_or(standing, SetTo::into_option)
        }
        let before = standing.recurrence;
        let recurrence = Recurrence {
            do_not_run_until: set(self.from, before.do_not_run_until),
            do_not_run_after: set(self.until, before.do_not_run_after),
            start_window: set(self.window, before.start_window),
            interval: set(self.every, before.interval),
        };
        let (job, tasks) = match self.tasks {
            ScheduleTasks::File(file) => *file,
            ScheduleTasks::Stay => (spec::applied(self.job, standing.job), standing.tasks),
            ScheduleTasks::Are(tasks) => (spec::applied(self.job, standing.job), tasks),
        };
        let mut spec = ScheduleSpec { recurrence, job, tasks };
        if self.manager.is_some() {
            spec.job.manager = self.manager;
        }
        spec
    }
}

/// Checks one.
pub(super) fn checked(
    verb: Verb,
    options: &Options,
    words: &[String],
    here: &Here,
) -> Result<ScheduleCommand, UsageError> {
    let act = |action| -> Result<_, UsageError> {
        Ok(ScheduleCommand::Act {
            name: id_of(verb, words)?,
            action,
        })
    };
    Ok(match verb {
        Verb::ScheduleAdd => add(options, words, here)?,
        Verb::ScheduleModify => modify(options, words, here)?,
        Verb::ScheduleList => ScheduleCommand::List,
        Verb::ScheduleView => ScheduleCommand::View(id_of(verb, words)?),
        Verb::ScheduleDisable => act(ScheduleAction::Disable)?,
        Verb::ScheduleEnable => act(ScheduleAction::Enable)?,
        Verb::ScheduleTerminate => act(ScheduleAction::Terminate)?,
        Verb::ScheduleDelete => act(ScheduleAction::Delete)?,
        _ => return Err(misplaced(verb)),
    })
}

/// When jobs are made, as far as it was said.
fn when(options: &Options, here: &Here) -> Result<ScheduleChange, UsageError> {
    let moment = |text: &str| value::moment_after(text, here.clock);
    let span = |text: &str| value::span_from(text, MIN_RECURRENCE);
    Ok(ScheduleChange {
        from: options.read(Key::From, moment)?.map(spec::set_to),
        until: spec::any_or(options, Key::Until, |text| {
            moment(text).and_then(|at| at.ok_or(value::ValueError::Over))
        })?,
        window: spec::any_or(options, Key::Window, span)?,
        every: spec::any_or(options, Key::Every, span)?,
        ..ScheduleChange::default()
    })
}

fn add(options: &Options, words: &[String], here: &Here) -> Result<ScheduleCommand, UsageError> {
    let verb = Verb::ScheduleAdd;
    let (name, program) = words.split_at(1);
    let manager_alone =
        program.is_empty() && options.one(Key::Manager).is_some() && options.one(Key::JobFile).is_none();
    let (Graph { job, tasks, remarks }, options) = if manager_alone {
        let graph = Graph {
            job: spec::job(options, here)?,
            tasks: Vec::new(),
            remarks: Vec::new(),
        };
        (graph, options.clone())
    } else {
        let Asked { graph, options } = asked(verb, options, program, here)?;
        (graph, options)
    };
    let asked = ScheduleSpec {
        recurrence: Recurrence::default(),
        job,
        tasks,
    };
    Ok(ScheduleCommand::Add {
        name: id_of(verb, name)?,
        spec: Box::new(when(&options, here)?.on(asked)),
        remarks,
    })
}

fn modify(options: &Options, words: &[String], here: &Here) -> Result<ScheduleCommand, UsageError> {
    let verb = Verb::ScheduleModify;
    let (name, program) = words.split_at(1);
    let mut remarks = Vec::new();
    let mut change = when(options, here)?;
    if options.one(Key::JobFile).is_some() {
        let Asked { graph, .. } = asked(verb, options, program, here)?;
        change.tasks = ScheduleTasks::File(Box::new((graph.job, graph.tasks)));
        remarks = graph.remarks;
    } else {
        // Those of a script count too.
        let mut all = options.clone();
        if program.is_empty() {
            no_task_options(options)?;
        } else {
            let Asked { graph, options } = asked(verb, options, program, here)?;
            change.tasks = ScheduleTasks::Are(graph.tasks);
            remarks = graph.remarks;
            all = options;
        }
        change.job = spec::change(&all, here)?;
        change.manager = spec::manager(&all, here)?;
    }
    if change == ScheduleChange::default() {
        return Err(UsageError::MissingWord {
            place: verb.spec().title(),
            needs: "an option that says what to change, a program or --job-file",
            usage: format!("{} --every 12h NAME", verb.spec().title()),
        });
    }
    Ok(ScheduleCommand::Modify {
        name: id_of(verb, name)?,
        change: Box::new(change),
        remarks,
    })
}

/// Options of a task without its program would say nothing.
fn no_task_options(options: &Options) -> Result<(), UsageError> {
    let says_more = |key: Key| {
        let built = || table::options().filter(move |spec| spec.status == Status::Built(key));
        let on = |verb| built().any(|spec| spec.on.contains(&verb));
        on(Verb::JobAdd) && !matches!(key, Key::Exclusive | Key::RunTime)
    };
    match options.own().find(|given| says_more(given.key)) {
        Some(given) => Err(UsageError::MissingWord {
            place: given.spelled.clone(),
            needs: "the program that it is about",
            usage: Verb::ScheduleModify.spec().usage(),
        }),
        None => Ok(()),
    }
}
