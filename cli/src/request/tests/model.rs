//! Command lines about what a job and a task may ask beyond HPC Pack, job files, pools, limits and schedules.

use proto::ids::{JobId, NodeName, PoolName, ScheduleName, TaskId, UserName};
use proto::model::exit::Retries;
use proto::model::job::{DisableTasks, JobChange, SetTo};
use proto::model::limits::Limits;
use proto::model::node::Deallocation;
use proto::model::pool::{FillType, PoolSpec};
use proto::model::schedule::{Recurrence, ScheduleAction, ScheduleSpec};
use proto::model::task::{Request as Needs, TaskKind, TaskSpec};
use proto::units::Millis;

use super::{NOW, command, here, refused, submitted};
use crate::args::{Invocation, UsageError, parse};
use crate::request::{
    Command, JobCommand, JobPick, LimitChange, NodeCommand, PoolCommand, ScheduleCommand, ScheduleTasks, TaskCommand,
    TaskPick, Then, checked,
};

/// A command line whose words have blanks.
fn command_of(words: &[&str]) -> Result<Command, UsageError> {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    match parse(&words[0], &words[1..])? {
        Invocation::Do { verb, options, words } => checked(verb, &options, &words, &here()),
        other => panic!("{other:?}"),
    }
}

fn pool(line: &str) -> PoolCommand {
    match command(line) {
        Ok(Command::Pool(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn schedule(line: &str) -> ScheduleCommand {
    match command(line) {
        Ok(Command::Schedule(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn job(line: &str) -> JobCommand {
    match command(line) {
        Ok(Command::Job(command)) => command,
        other => panic!("{line}: {other:?}"),
    }
}

fn name(text: &str) -> ScheduleName {
    ScheduleName::new(text).expect("a name")
}

#[test]
fn a_job_with_all_that_azure_batch_has() {
    let Ok(Command::Job(JobCommand::Submit(given))) = command_of(&[
        "job",
        "submit",
        "--max-wall-clock",
        "2h",
        "--max-task-retries",
        "-1",
        "--perform-exit-actions",
        "--max-parallel-tasks=8",
        "/parentjobids:1,2",
        "--prep",
        "run.sh 'two words'",
        "--prep-no-wait",
        "--prep-once",
        "--release",
        "rm -rf /tmp/x",
        "--manager=steer --every 60",
        "--manager-keep-job",
        "--manager-shared",
        "prog",
    ]) else {
        panic!("a submission");
    };
    let job = &given.job;
    assert_eq!(job.max_wall_clock, Some(Millis::from_seconds(7200)));
    assert_eq!(
        (job.max_retries, job.max_parallel_tasks),
        (Some(Retries::Unlimited), Some(8))
    );
    assert!(job.perform_exit_actions);
    assert_eq!(job.parents, [JobId(1), JobId(2)]);
    let preparation = job.preparation.as_ref().expect("a preparation");
    assert_eq!(preparation.task.command, ["run.sh", "two words"]);
    assert!(preparation.task.script.is_some(), "a script is carried");
    assert!(!preparation.wait_for_success && !preparation.rerun_after_reboot);
    assert_eq!(
        job.release.as_ref().expect("a release").command,
        ["rm", "-rf", "/tmp/x"]
    );
    let manager = job.manager.as_ref().expect("a manager");
    assert_eq!(manager.task.command, ["steer", "--every", "60"]);
    assert!(!manager.kill_job_on_completion && !manager.run_exclusive);

    assert!(refused("job submit --prep-once x").contains("--prep COMMAND"));
    assert!(refused("job submit --manager-shared x").contains("--manager COMMAND"));
    assert!(refused("job submit --max-task-retries -2 x").contains("or -1 for ever"));
    assert!(refused("job submit --parents 1,x x").contains("'x' is no job id"));
    let JobCommand::Modify { change, .. } =
        job_line("--prep none --release any --max-parallel-tasks any --parents none")
    else {
        panic!("a change");
    };
    assert_eq!(change.preparation, Some(SetTo::Nothing));
    assert_eq!(change.release, Some(SetTo::Nothing));
    assert_eq!(change.max_parallel_tasks, Some(SetTo::Nothing));
    assert_eq!(change.parents, Some(vec![]));
    let Ok(Command::Job(JobCommand::Submit(alone))) = command("job submit --manager steer --wait") else {
        panic!("a manager alone");
    };
    assert!(alone.tasks.is_empty() && alone.job.manager.is_some() && alone.then == Then::Wait);
    assert!(refused("job submit --manager steer --workdir /w").contains("a task beside the manager"));
    assert!(refused("job submit /time:5 x").contains("--runtime"));
    assert!(refused("task why 3").contains("job why 3"));
    assert!(refused("job modify 3 --manager x").contains("no option '--manager'"));
}

fn job_line(options: &str) -> JobCommand {
    job(&format!("job modify 3 {options}"))
}

#[test]
fn a_task_with_all_that_azure_batch_has() {
    let given = submitted(
        "job submit --memory 4G --resource gpu:1,lic:2 --resource x:3 --coordination sh --common-file hosts.txt=h.txt \
         --any-domain --affinity n1 --depend-ids 1,5-9 --max-retries 3 --retention 2d --on-exit 1,5-9=satisfy \
         --on-exit default=block,job:disable prog",
    );
    let task = &given.tasks[0];
    assert_eq!((task.memory_mib, task.resources.len()), (Some(4096), 3));
    assert_eq!(task.coordination.as_deref(), Some(["sh".to_owned()].as_slice()));
    assert_eq!(task.common_files[0].path, "h.txt");
    assert_eq!(
        (task.common_files[0].text.as_str(), task.common_files[0].mode),
        ("a b\n", 0o644)
    );
    assert!(task.any_domain);
    assert_eq!(task.affinity, NodeName::new("n1").ok());
    assert_eq!(task.depends_on_ranges.len(), 2);
    assert_eq!(task.max_retries, Some(Retries::AtMost(3)));
    assert_eq!(task.retention, Some(Millis::from_seconds(2 * 86_400)));
    assert_eq!(
        task.exit_conditions.as_ref().map(|conditions| conditions.codes.len()),
        Some(2)
    );
    for (line, part) in [
        (
            "job submit --common-file nosuch x",
            "--common-file: 'nosuch': it cannot be read",
        ),
        (
            "job submit --common-file hosts.txt=../x x",
            "leads out of the task's directory",
        ),
        (
            "job submit --common-file hosts.txt --common-file hosts.txt x",
            "'hosts.txt' is put there already; give it another name",
        ),
        ("job submit --resource gpu x", "'gpu' is no resource"),
        ("job submit --on-exit 1 x", "write CODES=ACTION"),
        ("job submit --mem 4G x", "did you mean '--memory'?"),
        ("job submit /requirednodes:n1 x", "is not built yet"),
        ("job new /estimatedprocessmemory:9", "give --memory with 'job add'"),
    ] {
        let said = refused(line);
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn memory_of_a_process_is_that_of_a_node_only_where_it_is_known() {
    let memory = |line: &str| submitted(line).tasks[0].memory_mib;
    assert_eq!(memory("job submit /estimatedprocessmemory:100 x"), Some(100));
    assert_eq!(
        memory("job submit /estimatedprocessmemory:100 /numcores:8 /singlenode x"),
        Some(800)
    );
    for line in [
        "job submit /estimatedprocessmemory:100 /numnodes:2 x",
        "job submit /estimatedprocessmemory:100 /numcores:8 x",
    ] {
        assert!(refused(line).contains("write --memory"), "{line}");
    }
    assert!(refused("job submit /estimatedprocessmemory:1 --memory 1 x").contains("exclude each other"));
}

#[test]
fn hpc_packs_types_of_tasks() {
    let given = submitted("job submit /type:Service /numcores:4-8 server");
    let task = &given.tasks[0];
    assert_eq!(
        (task.kind, task.request),
        (TaskKind::Service, Needs::Cores { count: 1 })
    );
    assert_eq!(given.job.units.and_then(|units| units.max), Some(8));
    assert!(task.sweep.is_none() && given.remarks.is_empty(), "{:?}", given.remarks);
    for line in [
        "job add 12 /type:NodePrep stage-in x",
        "task add 12 /type:nodeprep stage-in x",
    ] {
        let JobCommand::Modify { jobs, change } = job(line) else {
            panic!("a change");
        };
        assert_eq!(jobs, [JobPick::One(JobId(12))]);
        let Some(SetTo::Value(preparation)) = &change.preparation else {
            panic!("{change:?}");
        };
        assert_eq!(preparation.task.command, ["stage-in", "x"]);
        let rest = JobChange {
            preparation: None,
            ..*change
        };
        assert_eq!(rest, JobChange::default());
    }
    assert!(matches!(
        job("job add 12 /type:NodeRelease clean"),
        JobCommand::Modify { change, .. } if matches!(change.release, Some(SetTo::Value(_)))
    ));
    assert!(matches!(job("task add 12 --memory 1G x"), JobCommand::Add { task, .. } if task.memory_mib == Some(1024)));
    assert!(refused("job submit /type:Service /parametric:3 x").contains("exclude each other"));
}

#[test]
fn a_job_file_and_options_over_it() {
    let given = submitted("job submit /jobfile:graphs/g.toml --priority Highest /jobenv:B=2 --dry-run");
    assert_eq!((given.then, given.tasks.len()), (Then::Rehearse, 3));
    let job = &given.job;
    assert_eq!((job.name.as_str(), job.priority.hpc()), ("mesh and solve", 4000));
    assert_eq!(job.env["A"].as_deref(), Some("1;2"));
    assert_eq!(job.env["B"].as_deref(), Some("2"));
    assert_eq!(job.units.and_then(|units| units.max), Some(4));
    assert_eq!(job.max_retries, Some(Retries::AtMost(2)));
    assert_eq!(job.parents, [JobId(3), JobId(4)]);
    assert!(
        job.preparation
            .as_ref()
            .is_some_and(|preparation| !preparation.rerun_after_reboot)
    );
    assert_eq!(
        job.release.as_ref().expect("a release").command,
        ["stage-out", "it's done"]
    );
    assert!(
        job.manager
            .as_ref()
            .is_some_and(|manager| !manager.kill_job_on_completion)
    );
    let [mesh, solve, post] = given.tasks.as_slice() else {
        panic!("{:?}", given.tasks);
    };
    assert_eq!(mesh.command, ["mesher", "in put.geo"]);
    assert_eq!(
        (mesh.memory_mib, mesh.common_files[0].path.as_str()),
        (Some(4096), "h.txt")
    );
    assert_eq!(solve.coordination.as_deref().map(<[String]>::len), Some(3));
    assert_eq!(solve.runtime_limit, Some(Millis::from_seconds(5400)));
    assert_eq!(
        (post.sweep.map(|sweep| sweep.count()), post.max_retries),
        (Some(100), Some(Retries::Unlimited))
    );
    assert_eq!(post.env["EMPTY"], None);
    let units = submitted("job submit --job-file graphs/g.toml --num-cores 3").job.units;
    assert_eq!(units.map(|units| units.min), Some(Needs::Cores { count: 3 }));
    assert!(matches!(job_new(), JobCommand::New { tasks, .. } if tasks.len() == 3));
    for (line, part) in [
        (
            "job submit --job-file graphs/g.toml prog",
            "the programs stand in the file",
        ),
        (
            "job submit --job-file graphs/g.toml --memory 4G",
            "--memory (a task's; say it in the file)",
        ),
        ("job submit --job-file nosuch.toml", "nosuch.toml: it cannot be read"),
    ] {
        let said = refused(line);
        assert!(said.contains(part), "{line}: {said}");
    }
}

fn job_new() -> JobCommand {
    job("job new --job-file graphs/g.toml")
}

#[test]
fn the_life_of_a_job() {
    let one = || vec![JobPick::One(JobId(7))];
    let disabled = |tasks| JobCommand::Disable { jobs: one(), tasks };
    assert_eq!(job("job disable 7"), disabled(DisableTasks::Requeue));
    assert_eq!(job("job disable 7 --tasks wait"), disabled(DisableTasks::Wait));
    assert_eq!(job("job disable 7 /tasks:Terminate"), disabled(DisableTasks::Terminate));
    assert!(refused("job disable 7 --tasks kill").contains("use requeue, terminate, wait"));
    assert_eq!(job("job enable 7"), JobCommand::Enable(one()));
    assert_eq!(
        job("job delete 1-3,7"),
        JobCommand::Delete(vec![JobPick::Range(JobId(1), JobId(3)), JobPick::One(JobId(7))])
    );
    assert_eq!(
        job("job terminate 7 --reason done"),
        JobCommand::Terminate {
            jobs: one(),
            reason: "done".to_owned()
        }
    );
    let task: TaskId = "7.2".parse().expect("an id");
    assert_eq!(
        job("job why 7 7.2"),
        JobCommand::Why {
            jobs: one(),
            tasks: vec![TaskPick::One(task)]
        }
    );
    assert!(matches!(job("task why 7.2"), JobCommand::Why { jobs, tasks } if jobs.is_empty() && tasks.len() == 1));
    assert!(matches!(
        command("task reactivate 7 --filter failed"),
        Ok(Command::Task(TaskCommand::Reactivate(picked))) if picked.states == ["Failed"]
    ));
    assert!(refused("task reactivate last").contains("no filter says"));
    assert!(command("job list /state:Disabled,Terminating,finishing,Terminated").is_ok());
}

#[test]
fn nodes_drain_and_start_anew() {
    let nodes = || vec![NodeName::new("n1").expect("a name")];
    let restart = |option, reimage| {
        Ok(Command::Node(NodeCommand::Restart {
            nodes: nodes(),
            option,
            reimage,
        }))
    };
    assert_eq!(command("node reboot n1"), restart(Deallocation::TaskCompletion, false));
    assert_eq!(
        command("node reimage n1 --option RetainedData"),
        restart(Deallocation::RetainedData, true)
    );
    assert!(matches!(
        command("node offline n1 --option terminate"),
        Ok(Command::Node(NodeCommand::Switch {
            option: Deallocation::Terminate,
            ..
        }))
    ));
    assert!(refused("node drain n1 --requeue --option terminate").contains("exclude each other"));
    assert!(refused("node drain n1 --option kill").contains("use requeue, terminate, taskcompletion, retaineddata"));
    assert_eq!(command("node watch n1"), Ok(Command::Node(NodeCommand::Watch(nodes()))));
    assert_eq!(command("node watch"), Ok(Command::Node(NodeCommand::Watch(vec![]))));
}

#[test]
fn pools_and_their_sizes() {
    let gpu = || PoolName::new("gpu").expect("a name");
    let Ok(Command::Pool(PoolCommand::Create { spec, .. })) = command_of(&[
        "pool",
        "create",
        "gpu",
        "--slots",
        "4",
        "--size",
        "8",
        "--fill",
        "spread",
        "--no-inter-node",
        "--start-task",
        "sh /shared/setup.sh",
        "--start-task-retries=-1",
        "--start-task-no-wait",
        "--max-running-jobs",
        "2",
        "--max-cores=64",
        "--max-queued-tasks=1000",
    ]) else {
        panic!("a pool");
    };
    let start = spec.start_task.as_ref().expect("a start task");
    assert_eq!(start.task.command, ["sh", "/shared/setup.sh"]);
    assert_eq!(
        (start.task.max_retries, start.wait_for_success),
        (Some(Retries::Unlimited), false)
    );
    let limits = Limits {
        running_jobs: Some(2),
        cores: Some(64),
        queued_tasks: Some(1000),
    };
    assert_eq!(
        *spec,
        PoolSpec {
            slots_per_node: Some(4),
            wanted: Some(8),
            fill: FillType::Spread,
            inter_node: false,
            start_task: spec.start_task.clone(),
            limits,
        }
    );
    let PoolCommand::Set { change, limits, .. } =
        pool("pool set gpu --start-task none --no-inter-node=false --max-cores any")
    else {
        panic!("a change");
    };
    assert_eq!(
        (change.start_task.clone(), change.inter_node),
        (Some(SetTo::Nothing), Some(true))
    );
    assert_eq!(limits.cores, Some(None));
    assert_eq!(
        pool("pool resize gpu 16 --timeout 30m --option requeue"),
        PoolCommand::Resize {
            name: gpu(),
            wanted: Some(16),
            option: Deallocation::Requeue,
            timeout: Some(Millis::from_seconds(1800)),
        }
    );
    assert!(matches!(
        pool("pool resize gpu --stop"),
        PoolCommand::Resize { wanted: None, .. }
    ));
    assert_eq!(pool("pool delete gpu"), PoolCommand::Delete(gpu()));
    for (line, part) in [
        ("pool set gpu", "an option that says what to change"),
        ("pool set gpu --slots 3", "no option '--slots'"),
        ("pool resize gpu", "pool resize POOL N, or pool resize POOL --stop"),
        ("pool resize gpu 3 --stop", "says another"),
        ("pool create gpu --slots 257", "from 1 to 256"),
        ("pool create gpu --start-task-no-wait", "--start-task COMMAND"),
    ] {
        let said = refused(line);
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn limits_of_users() {
    let alice = || UserName::new("alice").expect("a name");
    assert_eq!(pool("muster limit list"), PoolCommand::Limits);
    let PoolCommand::SetLimits { user, change } = pool("muster limit set --user alice --cores 128 --queued-tasks any")
    else {
        panic!("limits");
    };
    assert_eq!(user, Some(alice()));
    assert_eq!(
        change,
        LimitChange {
            running_jobs: None,
            cores: Some(Some(128)),
            queued_tasks: Some(None),
        }
    );
    let before = Limits {
        running_jobs: Some(3),
        cores: Some(1),
        queued_tasks: Some(9),
    };
    let after = Limits {
        cores: Some(128),
        queued_tasks: None,
        ..before
    };
    assert_eq!(change.on(before), after);
    assert_eq!(
        pool("muster limit clear --user alice"),
        PoolCommand::ClearLimits(alice())
    );
    assert!(refused("muster limit clear").contains("--user NAME"));
    assert!(refused("muster limit set --user alice").contains("--cores 128"));
}

#[test]
fn schedules() {
    let ScheduleCommand::Add { name: added, spec, .. } = schedule(
        "muster job-schedule add --every 1h --from 60 --until +2d --window 10m nightly /numnodes:2 prog --every 3",
    ) else {
        panic!("a schedule");
    };
    assert_eq!(added, name("nightly"));
    let hour = Millis::from_seconds(3600);
    let recurrence = Recurrence {
        do_not_run_until: Some(NOW + hour),
        do_not_run_after: Some(NOW + Millis::from_seconds(2 * 86_400)),
        start_window: Some(Millis::from_seconds(600)),
        interval: Some(hour),
    };
    assert_eq!(spec.recurrence, recurrence);
    assert_eq!(spec.tasks[0].command, ["prog", "--every", "3"]);
    assert_eq!(spec.tasks[0].request, Needs::Nodes { count: 2 });
    assert!(matches!(
        schedule("muster jobschedule add g --job-file graphs/g.toml"),
        ScheduleCommand::Add { spec, .. } if spec.tasks.len() == 3
    ));
    assert!(matches!(
        schedule("muster jobschedule add m --manager steer"),
        ScheduleCommand::Add { spec, .. } if spec.tasks.is_empty() && spec.job.manager.is_some()
    ));
    assert_eq!(
        schedule("muster schedule terminate nightly"),
        ScheduleCommand::Act {
            name: name("nightly"),
            action: ScheduleAction::Terminate
        }
    );
    for (line, part) in [
        ("muster jobschedule add nightly", "the program to run, or --job-file"),
        ("muster jobschedule add n --every 30s x", "it must be at least 1m"),
        ("muster jobschedule modify n", "an option that says what to change"),
        (
            "muster jobschedule modify n --memory 4G",
            "the program that it is about",
        ),
    ] {
        let said = refused(line);
        assert!(said.contains(part), "{line}: {said}");
    }
}

#[test]
fn a_schedule_changes_in_what_was_said_and_in_nothing_else() {
    let standing = || ScheduleSpec {
        recurrence: Recurrence {
            interval: Some(Millis::from_seconds(3600)),
            start_window: Some(Millis::from_seconds(60)),
            ..Recurrence::default()
        },
        job: proto::model::job::JobSpec {
            name: "j".to_owned(),
            ..Default::default()
        },
        tasks: vec![TaskSpec::of_command(vec!["old".to_owned()])],
    };
    let changed = |line: &str| match schedule(line) {
        ScheduleCommand::Modify { change, .. } => change,
        other => panic!("{other:?}"),
    };
    let change = changed("muster jobschedule modify n --every 2h --window none --priority Highest");
    assert_eq!(change.tasks, ScheduleTasks::Stay);
    let after = change.on(standing());
    assert_eq!(after.recurrence.interval, Some(Millis::from_seconds(7200)));
    assert_eq!(after.recurrence.start_window, None);
    assert_eq!((after.job.name.as_str(), after.job.priority.hpc()), ("j", 4000));
    assert_eq!(after.tasks[0].command, ["old"]);
    let after = changed("muster jobschedule modify n new --every 3").on(standing());
    assert_eq!(after.tasks[0].command, ["new", "--every", "3"]);
    assert_eq!(after.recurrence, standing().recurrence);
    let after = changed("muster jobschedule modify n --job-file graphs/g.toml").on(standing());
    assert_eq!((after.job.name.as_str(), after.tasks.len()), ("mesh and solve", 3));
}
