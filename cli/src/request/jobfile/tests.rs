//! Job files: what their keys become, what is wrong in them and where, and the examples of their reference.

use proto::model::exit::{DependencyAction, Retries};
use proto::model::task::Request;
use proto::units::Timestamp;
use time::UtcOffset;

use super::*;
use crate::render::Zone;
use crate::text::FileText;
use crate::value::Clock;

const REFERENCE: &str = include_str!("../../../../docs/job-file.md");

fn here(file: fn(&str, usize) -> Result<FileText, String>) -> Here {
    Here {
        directory: None,
        clock: Clock {
            now: Timestamp(1_795_269_600_000),
            zone: Zone::Fixed(UtcOffset::UTC),
        },
        script: |word| {
            Ok((word == "graphs/run.sh").then(|| script::Script {
                text: "#!/bin/sh\n".to_owned(),
                directives: vec![(2, vec![])],
                late: vec![],
                foreign: None,
                windows: false,
            }))
        },
        file,
    }
}

/// A graph of a text that stands in the place of any file of that ending.
fn graph(ending: &str, text: &'static str) -> Result<Graph, String> {
    thread_local! {
        static TEXT: std::cell::Cell<&'static str> = const { std::cell::Cell::new("") };
    }
    TEXT.set(text);
    let here = here(|path, _| {
        let text = match path {
            "graphs/hosts.txt" => "hosts",
            path if path.starts_with("graphs/g.") => TEXT.get(),
            _ => return Err("it cannot be read".to_owned()),
        };
        Ok(FileText {
            text: text.to_owned(),
            mode: 0o644,
        })
    });
    read(&format!("graphs/g.{ending}"), &Options::default(), &here).map_err(|error| error.to_string())
}

/// The examples of the reference in one notation.
fn examples(notation: &str) -> Vec<&'static str> {
    let begin = format!("```{notation}\n");
    let parts = REFERENCE.split(begin.as_str()).skip(1);
    parts.filter_map(|part| part.split("```").next()).collect()
}

#[test]
fn the_examples_of_the_reference_are_the_same_job_in_each_notation() {
    let [toml, yaml, json] = ["toml", "yaml", "json"].map(|notation| {
        let examples = examples(notation);
        assert_eq!(examples.len(), 1, "{notation}");
        graph(notation, examples[0]).expect(notation)
    });
    assert_eq!(toml, yaml);
    assert_eq!(json.tasks.len(), 2);
    assert_eq!(toml.tasks.len(), 4);
    let job = &toml.job;
    assert!(job.preparation.is_some() && job.release.is_some() && job.manager.is_some());
    assert!(job.perform_exit_actions && job.env.contains_key("OMP_NUM_THREADS"));
    let [mesh, _, solve, report] = toml.tasks.as_slice() else {
        panic!("{:?}", toml.tasks);
    };
    assert_eq!(mesh.command, ["mesher", "--in", "wing body.geo"]);
    assert_eq!(solve.request, Request::Nodes { count: 4 });
    assert_eq!(solve.common_files[0].path, "hosts.txt");
    assert_eq!(solve.max_retries, Some(Retries::AtMost(2)));
    let conditions = solve.exit_conditions.as_ref().expect("conditions");
    assert_eq!(conditions.codes[0].options.dependency, Some(DependencyAction::Satisfy));
    assert_eq!(report.depends_on, ["solve"]);
}

#[test]
fn every_key_stands_in_the_reference() {
    for word in [words::JOB, words::TASK, words::PREP, words::MANAGER]
        .into_iter()
        .flatten()
    {
        assert!(REFERENCE.contains(&format!("`{}`", word.names[0])), "{}", word.names[0]);
    }
}

#[test]
fn what_is_wrong_is_named_with_its_line() {
    let wrong = |text| graph("toml", text).expect_err(text);
    assert_eq!(
        wrong("[job]\nname = \"x\"\npriorty = 3\n[[task]]\ncommand = \"x\"\n"),
        "graphs/g.toml, line 3: [job] has no key 'priorty'; did you mean 'priority'?"
    );
    assert_eq!(
        wrong("[job]\npriority = \"urgent\"\n[[task]]\ncommand = \"x\"\n"),
        "graphs/g.toml, line 2: priority: 'urgent': use 0 to 4000, or Lowest, BelowNormal, Normal, AboveNormal or \
         Highest, or one of them with an offset such as Normal+50"
    );
    assert_eq!(
        wrong("[[task]]\nname = \"mesh\"\ncommand = \"x\"\n\n[[task]]\ndepends_on = \"mehs\"\ncommand = \"y\"\n"),
        "graphs/g.toml, line 5: this task depends on 'mehs', and no task has that name; did you mean 'mesh'?"
    );
    assert_eq!(
        wrong("[[task]]\ncores = 1\nnodes = 2\ncommand = \"x\"\n"),
        "graphs/g.toml, line 3: nodes and graphs/g.toml, line 2: cores exclude each other; give one of them"
    );
    for (text, part) in [
        (
            "[jobs]\nname = 1\n",
            "line 1: a job file has no key 'jobs'; did you mean 'job'?",
        ),
        ("[job]\nname = \"x\"\n", "line 1: it has no [[task]]"),
        ("[[task]]\nname = \"x\"\n", "line 1: [[task]] has no command"),
        ("[[task]]\ncommand = \"x 'y\"\n", "line 2: command: a quote has no end"),
        ("[[task]]\ncommand = []\n", "line 2: command: it names no program"),
        (
            "[task]\ncommand = \"x\"\n",
            "'task' is a list of tables, not a table; in TOML write [[task]]",
        ),
        ("[tasks]\ncommand = \"x\"\n", "in TOML write [[task]]"),
        ("task = []\n", "line 1: its list of tasks is empty; add one: [[task]]"),
        (
            "[[task]]\ncommand = \"x\"\nname = { a = 1 }\n",
            "line 3: 'name' cannot be a table",
        ),
        (
            "[[task]]\ncommand = \"x\"\ncommon_files = { a = \"b\" }\n",
            "line 3: 'common_files' cannot be a table",
        ),
        (
            "[[task]]\ncommand = \"x\"\ntype = \"NodePrep\"\n",
            "parts of the file of their own",
        ),
        ("[[task]]\ncommand = \"x\"\nname = \"a\"\nname = \"b\"\n", "line 4: "),
    ] {
        let said = wrong(text);
        assert!(said.contains(part), "{text}: {said}");
    }
}

#[test]
fn what_is_true_of_many_tasks_is_remarked_once() {
    let text = "[[task]]\nname = \"a\"\narray = \"1-9\"\ncommand = \"x\"\n\
                [[task]]\narray = \"1-9\"\ncommand = \"y\"\n[[task]]\narray = \"1-9\"\ncommand = \"z\"\n";
    let graph = graph("toml", text).expect("a graph");
    let [remark] = graph.remarks.as_slice() else {
        panic!("{:?}", graph.remarks);
    };
    assert!(remark.starts_with("a and 2 more tasks: no '*'"), "{remark}");
}

#[test]
fn files_of_no_known_notation_are_refused() {
    assert!(graph("xml", "").is_err_and(|wrong| wrong.contains("TOML, YAML or JSON")));
    assert!(graph("txt", "").is_err_and(|wrong| wrong.contains("let it end with .toml")));
    assert!(graph("yaml", "").is_err_and(|wrong| wrong.contains("not nothing")));
    let missing = read("nosuch.toml", &Options::default(), &here(crate::text::read));
    let wrong = missing.expect_err("no file").to_string();
    assert!(wrong.starts_with("nosuch.toml: it cannot be read"), "{wrong}");
}

#[test]
fn a_script_beside_the_file_is_carried() {
    let graph = graph(
        "json",
        "{\"task\": [{\"command\": [\"run.sh\", \"a b\"], \"exclusive\": true}]}",
    )
    .expect("a graph");
    let task = &graph.tasks[0];
    assert_eq!(task.script.as_deref(), Some("#!/bin/sh\n"));
    assert_eq!(task.command, ["run.sh", "a b"]);
    assert!(task.exclusive);
    assert!(
        graph.remarks.concat().contains("#MUSTER lines are not read"),
        "{:?}",
        graph.remarks
    );
}
