//! Command lines to checked commands.

mod cluster;
mod model;

use proto::client::JobFilter;
use proto::ids::{PoolName, SubmissionId};
use proto::model::job::{GroupOperator, JobSpec, SetTo, Span, Units};
use proto::model::task::{Request as Needs, TaskSpec};
use proto::units::{Millis, Timestamp};
use time::UtcOffset;

use super::*;
use crate::args::{Invocation, parse};
use crate::render::Zone;

/// 2026-11-21 14:00:00 in UTC.
const NOW: Timestamp = Timestamp(1_795_269_600_000);

/// A caller in a home directory that has one script.
fn here() -> Here {
    Here {
        directory: Some("/home/a".to_owned()),
        clock: Clock {
            now: NOW,
            zone: Zone::Fixed(UtcOffset::UTC),
        },
        script: |word| {
            Ok((word == "run.sh").then(|| Script {
                text: "#!/bin/sh\n".to_owned(),
                directives: vec![
                    (2, vec!["/numnodes:2".to_owned(), "/env:A=1;B=1".to_owned()]),
                    (3, vec!["--priority".to_owned(), "High".to_owned() + "est"]),
                ],
                late: vec![9],
                foreign: None,
                windows: false,
            }))
        },
        file: read_here,
    }
}

/// The files of that directory.
fn read_here(path: &str, _: usize) -> Result<FileText, String> {
    let text = match path {
        "hosts.txt" | "graphs/hosts.txt" => "a b\n",
        "graphs/g.toml" => include_str!("tests/g.toml"),
        _ => return Err("it cannot be read: there is none".to_owned()),
    };
    Ok(FileText {
        text: text.to_owned(),
        mode: 0o644,
    })
}

fn command(line: &str) -> Result<Command, UsageError> {
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match parse(&words[0], &words[1..])? {
        Invocation::Do { verb, options, words } => {
            Globals::of(&options)?;
            checked(verb, &options, &words, &here())
        }
        other => panic!("{other:?}"),
    }
}

fn submitted(line: &str) -> Submission {
    match command(line) {
        Ok(Command::Job(JobCommand::Submit(submission))) => *submission,
        other => panic!("{other:?}"),
    }
}

fn refused(line: &str) -> String {
    command(line).expect_err(line).to_string()
}

#[test]
fn a_submission_with_everything() {
    let given = submitted(
        "job submit /numnodes:2 /nodegroup:a,b --requested-nodes n[1-2] /exclusive /priority:Normal+10 /runtime:1:30 \
         /jobname:j /name:t /workdir:/w /stdout:o /stderr:e /env:A=1;B= --env C=3 /jobenv:D=4 /rerunnable:false \
         /pool:p --submission-id ff prog -x",
    );
    assert_eq!(given.id, Some(SubmissionId(255)));
    assert_eq!(given.job.node_groups.len(), 2);
    assert_eq!(given.job.requested_nodes.len(), 2);
    assert!(given.job.exclusive && !given.tasks[0].rerunnable);
    assert_eq!(given.job.priority.hpc(), 2010);
    assert_eq!(given.job.runtime_limit, Some(Millis::from_seconds(5400)));
    assert_eq!(given.job.pool, PoolName::new("p").ok());
    assert_eq!(given.tasks[0].request, Needs::Nodes { count: 2 });
    assert_eq!((given.job.name.as_str(), given.tasks[0].name.as_str()), ("j", "t"));
    assert_eq!(given.tasks[0].env.len(), 3);
    assert_eq!(given.tasks[0].env["B"], None);
    assert_eq!(given.job.env["D"].as_deref(), Some("4"));
    assert_eq!(given.tasks[0].command, ["prog", "-x"]);
    assert_eq!(given.tasks[0].workdir.as_deref(), Some("/w"));
}

#[test]
fn a_submission_with_nothing() {
    let given = submitted("job submit hostname");
    assert_eq!(given.job, JobSpec::default());
    assert_eq!(given.tasks[0], TaskSpec::of_command(vec!["hostname".to_owned()]));
    assert!(!submitted("job submit /exclusive:false x").job.exclusive);
}

#[test]
fn wrong_values_are_named_with_their_option() {
    assert_eq!(
        refused("job submit /numnodes:four x"),
        "/numnodes: 'four': use a whole number from 1 to 1000000, or two with a dash between: 2-8"
    );
    assert_eq!(
        refused("job submit --num-nodes=2-* x"),
        "--num-nodes: '2-*': '*', calculated from the tasks, is not built yet; give numbers"
    );
    assert_eq!(
        refused("job submit /workdir:run x"),
        "/workdir: 'run': it must be an absolute path: the nodes know nothing of this directory; write /home/a/run"
    );
    assert_eq!(
        refused("job submit /numnodes:1 /numcores:2 x"),
        "/numnodes and /numcores exclude each other; give one of them"
    );
    assert_eq!(
        refused("job submit /exclusive:maybe x"),
        "/exclusive: 'maybe': use true or false"
    );
    assert_eq!(
        refused("job view twelve"),
        "'twelve' is no job id: expected a whole number from 1; write job view [OPTIONS] JOB..."
    );
    assert!(refused("task view 7").starts_with("'7' is no task id: expected JOB.TASK, for example 12.1"));
    assert!(refused("job list -o xml").contains("use table, wide, list, json, quiet"));
    assert!(refused("job list /state:Faild").contains("did you mean 'Failed'?"));
    assert!(refused("node online").contains("a node, or --all"));
    assert!(refused("node offline --all n1").contains("exclude each other"));
}

#[test]
fn filters() {
    let filter = |line| match command(line) {
        Ok(Command::Job(JobCommand::List { filter, jobs })) if jobs.is_empty() => filter,
        other => panic!("{other:?}"),
    };
    assert_eq!(filter("job list"), JobFilter::default());
    assert_eq!(
        filter("job list /all"),
        JobFilter {
            all_users: true,
            ended: true,
            ..JobFilter::default()
        }
    );
    let failed = filter("job list /status:failed,queued");
    assert_eq!(
        (failed.ended, failed.states),
        (true, vec!["Failed".to_owned(), "Queued".to_owned()])
    );
    assert_eq!(
        filter("job list /state:all"),
        JobFilter {
            ended: true,
            ..JobFilter::default()
        }
    );
}

#[test]
fn what_a_job_and_a_task_may_ask() {
    let given = submitted(
        "job submit /numcores:2-8 /nodegroup:a,b /nodegroupop:Union /corespernode:4-16 /memorypernode:4G /singlenode \
         /orderby:-cores,memory /holduntil:30 /failontaskfailure /faildependenttasks:false /rununtilcanceled \
         /projectname:p /validexitcodes:0,5..9 /stdin:in*.txt /depend:x,y /parametric:1-9:2 \
         /taskexecutionfailureretrylimit:5 prog *",
    );
    let (job, task) = (&given.job, &given.tasks[0]);
    assert_eq!((task.request, task.request_max), (Needs::Cores { count: 2 }, Some(8)));
    assert_eq!(job.group_operator, GroupOperator::Union);
    let cores = Span {
        min: Some(4),
        max: Some(16),
    };
    assert_eq!(job.cores_per_node, Some(cores));
    assert_eq!(job.memory_per_node.and_then(|span| span.min), Some(4096));
    assert!(job.single_node && job.fail_on_task_failure && job.run_dependents_of_failed && job.run_until_canceled);
    assert_eq!(job.order_by.len(), 2);
    assert_eq!(job.hold_until, Some(NOW + Millis::from_seconds(1800)));
    assert_eq!(job.project, "p");
    assert_eq!(
        task.valid_exit_codes.as_ref().map(ToString::to_string).as_deref(),
        Some("0,5..9")
    );
    assert_eq!(task.depends_on, ["x", "y"]);
    assert_eq!(task.sweep.map(|sweep| sweep.count()), Some(5));
    assert_eq!((task.max_requeues, task.stdin.as_deref()), (Some(5), Some("in*.txt")));
    assert_eq!(job.units, None);
}

#[test]
fn a_new_job_counts_its_units_and_a_modification_says_only_what_changes() {
    let Ok(Command::Job(JobCommand::New { job, .. })) = command("job new /numnodes:2-4 /validexitcodes:1") else {
        panic!("a job");
    };
    let units = Units {
        min: Needs::Nodes { count: 2 },
        max: Some(4),
    };
    assert_eq!(job.units, Some(units));
    assert!(job.valid_exit_codes.is_some());
    let Ok(Command::Job(JobCommand::Modify { jobs, change })) = command(
        "job modify 3-5 /pool:any /holduntil:now /runtime:Infinite /nodegroup:any /progress:40 /exclusive:false",
    ) else {
        panic!("a change");
    };
    assert_eq!(jobs.len(), 1);
    assert_eq!(change.pool, Some(SetTo::Nothing));
    assert_eq!(change.hold_until, Some(SetTo::Nothing));
    assert_eq!(change.runtime_limit, Some(SetTo::Nothing));
    assert_eq!(
        (change.node_groups.clone(), change.exclusive),
        (Some(vec![]), Some(false))
    );
    assert_eq!(change.progress.as_ref().and_then(|progress| progress.percent), Some(40));
    assert_eq!((change.name.clone(), change.priority), (None, None));
    assert!(refused("job modify 3").contains("an option that says what to change"));
}

#[test]
fn a_task_is_added_to_a_job_with_its_own_options() {
    let Ok(Command::Job(JobCommand::Add { job, task, sized, .. })) =
        command("job add 12 /numcores:4 --name mesh mesher -o /x")
    else {
        panic!("a task");
    };
    assert_eq!(job, JobPick::One(proto::ids::JobId(12)));
    assert_eq!((task.name.as_str(), sized), ("mesh", true));
    assert_eq!(task.command, ["mesher", "-o", "/x"]);
    assert!(refused("job add 12 /priority:Highest x").contains("no option '/priority' for 'job add'"));
    assert!(refused("job add 12").contains("a job id and the program to run"));
}

#[test]
fn a_script_is_carried_and_the_command_line_wins() {
    let given = submitted("job submit /numcores:8 /env:B=2 run.sh arg");
    assert_eq!(given.tasks[0].script.as_deref(), Some("#!/bin/sh\n"));
    assert_eq!(given.tasks[0].command, ["run.sh", "arg"]);
    assert_eq!(given.tasks[0].request, Needs::Cores { count: 8 });
    assert_eq!(given.job.priority.hpc(), 4000);
    let value = |name: &str| given.tasks[0].env[name].clone();
    assert_eq!((value("A").as_deref(), value("B").as_deref()), (Some("1"), Some("2")));
    assert_eq!(
        given.remarks,
        ["run.sh, line 9: #MUSTER below the first command says nothing"]
    );
    assert_eq!(
        submitted("job submit run.sh").tasks[0].request,
        Needs::Nodes { count: 2 }
    );
    let Err(error) = command("job add 3 run.sh") else {
        panic!("a priority is no task's")
    };
    assert!(
        error.to_string().contains("run.sh, line 3: no option '--priority'"),
        "{error}"
    );
}

#[test]
fn what_comes_after_a_submission() {
    let then = |line| submitted(line).then;
    assert_eq!(then("job submit x"), Then::Leave);
    assert_eq!(then("job submit --wait x"), Then::Wait);
    assert_eq!(then("job submit --dry-run --wait x"), Then::Rehearse);
    let given = submitted("job submit -it bash -i");
    assert_eq!(
        (given.then, given.tasks[0].interactive.map(|kind| kind.terminal)),
        (Then::Attach, Some(true))
    );
    assert_eq!(given.tasks[0].command, ["bash", "-i"]);
    assert_eq!(
        submitted("job submit -i cat").tasks[0]
            .interactive
            .map(|kind| kind.terminal),
        Some(false)
    );
    for (line, wrong) in [
        ("job submit -it /parametric:1-3 x", "-i and /parametric exclude"),
        ("job submit -t /stdin:f x", "-t and /stdin exclude"),
        (
            "job submit /id:3 /priority:0",
            "/id and /priority ('job modify' changes a job) exclude",
        ),
        (
            "job submit /id:3 x",
            "'job submit /id' does not know what to do with 'x'",
        ),
        ("job submit /id:3-4", "does not know what to do with '3-4'"),
        ("job submit", "a command, the program to run"),
        (
            "job submit /type:NodePrep stage-in",
            "/type: 'NodePrep': a job is more than that: write job submit --prep 'stage-in' PROGRAM",
        ),
        ("job submit /type:NodeRelease x", "--release 'x' PROGRAM"),
        ("job submit /type:ParametricSweep x", "give the index too"),
        ("job submit /type:Basic /parametric:2 x", "exclude each other"),
        (
            "job submit /jobtemplate:t x",
            "/jobtemplate is not built yet; nothing was done: give the options",
        ),
        ("job new /taskexecutionfailureretrylimit:2", "give it with 'job add'"),
    ] {
        let said = refused(line);
        assert!(said.contains(wrong), "{line}: {said}");
    }
    assert!(matches!(
        command("job submit /id:3 --wait"),
        Ok(Command::Job(JobCommand::SubmitMade { then: Then::Wait, .. }))
    ));
}

#[test]
fn filters_name_the_tasks_of_a_job() {
    let Ok(Command::Task(TaskCommand::Requeue(picked))) = command("task requeue 7 --filter failed,running") else {
        panic!("tasks");
    };
    assert_eq!(picked.tasks, [TaskPick::Jobs(JobPick::One(proto::ids::JobId(7)))]);
    assert_eq!(picked.states, ["Failed", "Running", "Dispatching"]);
    assert!(matches!(
        command("job requeue 7 --filter failed"),
        Ok(Command::Job(JobCommand::Requeue { tasks, .. })) if tasks == ["Failed"]
    ));
    assert!(matches!(
        command("task list 7 /state:failed"),
        Ok(Command::Task(TaskCommand::List(TaskListing { states, .. }))) if states == ["Failed"]
    ));
    assert!(refused("task cancel last").contains("no filter says which of its tasks"));
    assert!(refused("task requeue 7").contains("is no task id"));
    assert!(refused("task tail --label --no-label 3.1").contains("exclude each other"));
    let Ok(Command::Task(TaskCommand::Tail(tail))) = command("task tail -f -n 5 3") else {
        panic!("a tail");
    };
    assert_eq!((tail.follow, tail.lines, tail.label), (true, Some(5), None));
}

#[test]
fn forms_of_output() {
    let form = |line: &str| {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        match parse("job", &words).expect(line) {
            Invocation::Do { options, .. } => Globals::of(&options).map(|globals| globals.form),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(form("list"), Ok(Form::Table));
    assert_eq!(form("list /format:list"), Ok(Form::List));
    assert_eq!(form("list -o list"), Ok(Form::List));
    assert_eq!(form("list -o wide"), Ok(Form::Wide));
    assert_eq!(form("list -o json --format list"), Ok(Form::Json));
    assert!(matches!(form("list -o {id}:{status}"), Ok(Form::Fields(_))));
    assert!(form("list -o {id").unwrap_err().to_string().contains("no partner"));
    assert!(form("list -o xml").unwrap_err().to_string().contains("or fields"));
}
