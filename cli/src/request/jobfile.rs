//! Job files: a job with all its tasks in TOML, YAML or JSON. docs/job-file.md is their reference.
//!
//! ```text
//!   text -> tree (texts with lines) -> words (which option each key is) -> the parsers of the options
//! ```
//!
//! So a value means the same as on the command line and is refused with the same words, and with its line.

mod tree;
mod words;

use proto::model::job::JobSpec;
use proto::model::task::TaskSpec;

use self::tree::{Entry, Node, Value, Wrong};
use self::words::{Shape, Word};
use super::{Here, spec};
use crate::args::table::Key;
use crate::args::{Given, Options, UsageError, nearest};
use crate::{remark, script, value};

/// The most bytes of a job file: less than a message may have.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// The parts of a file.
const SECTIONS: [&str; 5] = ["job", "task", "prep", "release", "manager"];

/// The one key that is no option.
const COMMAND: &str = "command";

/// A job with its tasks, as a file or a command line asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Graph {
    /// The job.
    pub(super) job: JobSpec,
    /// Its tasks.
    pub(super) tasks: Vec<TaskSpec>,
    /// What is probably meant otherwise than it was written.
    pub(super) remarks: Vec<String>,
}

/// Reads a job file; options of the job on the command line go over what it says.
pub(super) fn read(path: &str, over: &Options, here: &Here) -> Result<Graph, UsageError> {
    let whole = |wrong: String| UsageError::File {
        place: path.to_owned(),
        wrong,
    };
    let ending = path.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase());
    let parse = match ending.as_deref() {
        Some("toml") => tree::of_toml,
        Some("yaml" | "yml") => tree::of_yaml,
        Some("json") => tree::of_json,
        Some("xml") => {
            return Err(whole(
                "job files of HPC Pack are not read; write it as TOML, YAML or JSON, see docs/job-file.md".to_owned(),
            ));
        }
        _ => {
            return Err(whole(
                "its name does not say what it is; let it end with .toml, .yaml or .json".to_owned(),
            ));
        }
    };
    let text = (here.file)(path, MOST_BYTES).map_err(whole)?.text;
    let file = File { path, here };
    let root = parse(&text).map_err(|Wrong { line, what }| file.wrong(line, what))?;
    file.graph(&root, over)
}

struct File<'a> {
    path: &'a str,
    here: &'a Here,
}

impl File<'_> {
    fn wrong(&self, line: usize, wrong: String) -> UsageError {
        UsageError::File {
            place: format!("{}, line {line}", self.path),
            wrong,
        }
    }

    fn graph(&self, root: &Node, over: &Options) -> Result<Graph, UsageError> {
        let mut graph = Graph {
            job: JobSpec::default(),
            tasks: Vec::new(),
            remarks: Vec::new(),
        };
        let sections = self.entries(root, "a job file")?;
        let named = |entry: &Entry, name: &str| is(&entry.key, name) || (name == "task" && is(&entry.key, "tasks"));
        if let Some(entry) = sections
            .iter()
            .find(|entry| !SECTIONS.iter().any(|name| named(entry, name)))
        {
            return Err(self.unknown(entry, "a job file", SECTIONS.into_iter()));
        }
        let section = |name: &str| sections.iter().find(|entry| named(entry, name));
        let mut options = over.clone();
        if let Some(entry) = section("job") {
            let (below, _) = self.options(&entry.node, "[job]", &[words::JOB])?;
            options.underlay(below, super::job::UNITS);
        }
        graph.job = spec::job_alone(&options, self.here)?;
        let mut remarks = Vec::new();
        self.roles(&section, &mut graph.job, &mut remarks)?;
        match section("task").map(|entry| &entry.node) {
            None if graph.job.manager.is_some() => {}
            None => return Err(self.wrong(root.line, no_task("it has no [[task]]"))),
            Some(Node {
                value: Value::List(items),
                line,
            }) if items.is_empty() && graph.job.manager.is_none() => {
                return Err(self.wrong(*line, no_task("its list of tasks is empty")));
            }
            Some(Node {
                value: Value::List(items),
                ..
            }) => {
                for item in items {
                    let (task, _) = self.task(item, "[[task]]", &[words::TASK], &mut remarks)?;
                    graph.tasks.push(task);
                }
                self.check_names(items, &graph.tasks)?;
            }
            Some(other) => {
                let what = format!(
                    "'task' is a list of tables, not {}; in TOML write [[task]] above each task",
                    other.value.kind()
                );
                return Err(self.wrong(other.line, what));
            }
        }
        graph.remarks = told(remarks);
        Ok(graph)
    }

    /// What the command line says already stays.
    fn roles<'n>(
        &self,
        section: &impl Fn(&str) -> Option<&'n Entry>,
        job: &mut JobSpec,
        remarks: &mut Vec<Remark>,
    ) -> Result<(), UsageError> {
        if let Some(entry) = section("prep").filter(|_| job.preparation.is_none()) {
            let (task, options) = self.task(&entry.node, "[prep]", &[words::TASK, words::PREP], remarks)?;
            job.preparation = Some(Box::new(spec::preparation_of(task, &options)?));
        }
        if let Some(entry) = section("release").filter(|_| job.release.is_none()) {
            let (task, _) = self.task(&entry.node, "[release]", &[words::TASK], remarks)?;
            job.release = Some(Box::new(task));
        }
        if let Some(entry) = section("manager").filter(|_| job.manager.is_none()) {
            let (task, options) = self.task(&entry.node, "[manager]", &[words::TASK, words::MANAGER], remarks)?;
            job.manager = Some(Box::new(spec::manager_of(task, &options)?));
        }
        Ok(())
    }

    fn task(
        &self,
        node: &Node,
        place: &str,
        known: &[&'static [Word]],
        remarks: &mut Vec<Remark>,
    ) -> Result<(TaskSpec, Options), UsageError> {
        let (options, command) = self.options(node, place, known)?;
        let Some(command) = command else {
            return Err(self.wrong(
                node.line,
                format!("{place} has no command; write command = \"PROGRAM ARGUMENTS\""),
            ));
        };
        let program = command.first().map_or("", String::as_str);
        let carried =
            (self.here.script)(&self.beside(program)).map_err(|error| self.wrong(node.line, error.to_string()))?;
        if let Some((line, _)) = carried.as_ref().and_then(|script| script.directives.first()) {
            remarks.push(Remark::Other(format!(
                "{program}, line {line}: #MUSTER lines are not read where a job file says what is asked"
            )));
        }
        let mut task = spec::task(&options, command, self.here)?;
        task.exclusive = options.flag(Key::Exclusive)?;
        task.script = carried.map(|script| script.text);
        let name = if task.name.is_empty() {
            format!("line {}", node.line)
        } else {
            task.name.clone()
        };
        remarks.extend(remark::on(&task).into_iter().map(|text| Remark::On {
            task: name.clone(),
            text,
        }));
        match spec::kind(&options)? {
            spec::Kind::Basic | spec::Kind::Service => Ok((task, options)),
            spec::Kind::Preparation | spec::Kind::Release => Err(self.wrong(
                node.line,
                "preparation and release are parts of the file of their own: [prep], [release]".to_owned(),
            )),
        }
    }

    /// The options that keys are, and the command.
    fn options(
        &self,
        node: &Node,
        place: &str,
        known: &[&'static [Word]],
    ) -> Result<(Options, Option<Vec<String>>), UsageError> {
        let all = || known.iter().copied().flatten();
        let is_task = !std::ptr::eq(known[0], words::JOB);
        let (mut given, mut command) = (Vec::new(), None);
        for entry in self.entries(node, place)? {
            if is_task && is(&entry.key, COMMAND) {
                command = Some(self.command(entry)?);
                continue;
            }
            let Some(word) = all().find(|word| word.names.iter().any(|name| is(&entry.key, name))) else {
                let names = all().map(|word| word.names[0]);
                return Err(self.unknown(entry, place, names.chain(is_task.then_some(COMMAND))));
            };
            let values = self.values(entry, word)?;
            given.extend(values.into_iter().map(|value| Given {
                key: word.key,
                spelled: format!("{}, line {}: {}", self.path, entry.line, entry.key),
                value: Some(value),
            }));
        }
        Ok((Options::of(given)?, command))
    }

    fn unknown<'n>(&self, entry: &Entry, place: &str, names: impl Iterator<Item = &'n str>) -> UsageError {
        let names: Vec<&str> = names.collect();
        let key = entry.key.replace('-', "_");
        let hint = match nearest(&key, names.iter().copied()) {
            Some(name) => format!("did you mean '{name}'?"),
            None => format!("there are {}", names.join(", ")),
        };
        self.wrong(entry.line, format!("{place} has no key '{}'; {hint}", entry.key))
    }

    fn entries<'n>(&self, node: &'n Node, place: &str) -> Result<&'n [Entry], UsageError> {
        match &node.value {
            Value::Map(entries) => Ok(entries),
            other => Err(self.wrong(node.line, format!("{place} is a table of keys, not {}", other.kind()))),
        }
    }

    /// The values of an option, as it would be typed.
    fn values(&self, entry: &Entry, word: &Word) -> Result<Vec<String>, UsageError> {
        let refused = |node: &Node| self.wrong(node.line, format!("'{}' cannot be {}", entry.key, node.value.kind()));
        let text = |node: &Node| match &node.value {
            Value::Text(text) => Ok(text.clone()),
            _ => Err(refused(node)),
        };
        // A path of a file that is sent along starts where the job file lies.
        let placed = |value: String| match word.key {
            Key::CommonFile => self.beside(&value),
            _ => value,
        };
        let node = &entry.node;
        Ok(match (&node.value, word.shape) {
            (Value::Text(text), _) => vec![placed(text.clone())],
            (Value::List(items), Shape::Text) => {
                vec![items.iter().map(text).collect::<Result<Vec<_>, _>>()?.join(",")]
            }
            (Value::List(items), Shape::Command) => {
                let words = items.iter().map(text).collect::<Result<Vec<_>, _>>()?;
                let words = words.iter().map(|word| script::quoted(word));
                vec![words.collect::<Vec<_>>().join(" ")]
            }
            (Value::List(items), Shape::Each(_)) => items
                .iter()
                .map(|item| text(item).map(placed))
                .collect::<Result<Vec<_>, _>>()?,
            (Value::Map(entries), Shape::Each(sign)) if word.key != Key::CommonFile => {
                let pair = |entry: &Entry| match &entry.node.value {
                    Value::Nothing => Ok(format!("{}{sign}", entry.key)),
                    Value::Text(value) => Ok(format!("{}{sign}{}", entry.key, value.replace(';', r"\;"))),
                    _ => Err(refused(&entry.node)),
                };
                entries.iter().map(pair).collect::<Result<Vec<_>, _>>()?
            }
            _ => return Err(refused(node)),
        })
    }

    fn command(&self, entry: &Entry) -> Result<Vec<String>, UsageError> {
        let wrong = |error: value::ValueError| self.wrong(entry.line, format!("command: {error}"));
        let word = |node: &Node| match &node.value {
            Value::Text(text) => Ok(text.clone()),
            other => Err(self.wrong(node.line, format!("a word of a command cannot be {}", other.kind()))),
        };
        match &entry.node.value {
            Value::Text(text) => value::command(text).map_err(wrong),
            Value::List(items) => {
                let words = items.iter().map(word).collect::<Result<Vec<_>, _>>()?;
                match words.first() {
                    Some(first) if !first.is_empty() => Ok(words),
                    _ => Err(wrong(value::ValueError::NoCommand)),
                }
            }
            other => Err(self.wrong(entry.line, format!("command cannot be {}", other.kind()))),
        }
    }

    fn beside(&self, path: &str) -> String {
        match self.path.rsplit_once('/') {
            Some((folder, _)) if !path.starts_with('/') => format!("{folder}/{path}"),
            _ => path.to_owned(),
        }
    }

    /// A whole graph is here, so that a name that no task has is a slip.
    fn check_names(&self, items: &[Node], tasks: &[TaskSpec]) -> Result<(), UsageError> {
        let names: std::collections::BTreeSet<&str> = tasks.iter().map(|task| task.name.as_str()).collect();
        for (item, task) in items.iter().zip(tasks) {
            if let Some(name) = task.depends_on.iter().find(|name| !names.contains(name.as_str())) {
                let hint = nearest(name, names.iter().copied().filter(|name| !name.is_empty()))
                    .map(|near| format!("; did you mean '{near}'?"))
                    .unwrap_or_default();
                let what = format!("this task depends on '{name}', and no task has that name{hint}");
                return Err(self.wrong(item.line, what));
            }
        }
        Ok(())
    }
}

/// A remark on what a file says.
enum Remark {
    /// On a task: its name, or its line.
    On { task: String, text: String },
    /// On something else.
    Other(String),
}

/// A line for each; what is true of many tasks is said once.
fn told(remarks: Vec<Remark>) -> Vec<String> {
    let mut lines: Vec<(Remark, usize)> = Vec::new();
    for remark in remarks {
        let same = lines.iter_mut().find(|(known, _)| match (known, &remark) {
            (Remark::On { text: known, .. }, Remark::On { text, .. }) => known == text,
            _ => false,
        });
        match same {
            Some((_, more)) => *more += 1,
            None => lines.push((remark, 0)),
        }
    }
    let told = lines.into_iter().map(|(remark, more)| match (remark, more) {
        (Remark::Other(text), _) => text,
        (Remark::On { task, text }, 0) => format!("{task}: {text}"),
        (Remark::On { task, text }, 1) => format!("{task} and one more task: {text}"),
        (Remark::On { task, text }, more) => format!("{task} and {more} more tasks: {text}"),
    });
    told.collect()
}

/// What to add to a file that has nothing to run.
fn no_task(what: &str) -> String {
    format!("{what}; add one: [[task]] and below it command = \"PROGRAM ARGUMENTS\"")
}

/// Names are compared as those of options are.
fn is(key: &str, name: &str) -> bool {
    let plain = |text: &str| -> String {
        let letters = text.chars().filter(|c| *c != '-' && *c != '_');
        letters.map(|c| c.to_ascii_lowercase()).collect()
    };
    plain(key) == plain(name)
}

#[cfg(test)]
mod tests;
