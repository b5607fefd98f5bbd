//! What people and programs read: tables, JSON and quiet output, to the letter.

mod model;

use std::sync::Arc;

use proto::client::{FileEnd, GroupView, HeadView, NodeView, PoolView};
use proto::control::{FileReply, TaskFile};
use proto::ids::{AttemptId, GroupName, JobId, NodeId, NodeName, PoolName, Sequence, Step, TaskId, TaskNumber};
use proto::model::job::{JobOutcome, JobRow, JobSpec, JobState, TaskCounts};
use proto::model::node::{AdminState, Deallocation, Inventory, Liveness, NodeRow};
use proto::model::owner::Owner;
use proto::model::pool::{Allocation, PoolRow, PoolSpec};
use proto::model::sweep::Sweep;
use proto::model::task::{AttemptOutcome, Request, TaskOutcome, TaskRow, TaskSpec, TaskState};
use proto::model::why::{Cause, Hold, NextEvent, Why};
use proto::units::Millis;
use time::UtcOffset;

use super::*;
use crate::answer::{Among, Names, Rehearsed, Shown, Status, Subject, SweepLine, TaskLine, TaskPage};

const NOON: Timestamp = Timestamp(1_795_262_400_000);

fn look(form: Form) -> Look {
    Look {
        form,
        width: None,
        colour: false,
        zone: Zone::Fixed(UtcOffset::UTC),
        now: NOON + Millis(185_000),
    }
}

fn render(answer: &Answer, look: &Look) -> Printed {
    super::render(answer, look).expect("fields that there are")
}

fn out(answer: &Answer, form: Form) -> String {
    render(answer, &look(form)).out
}

fn job(id: u64, state: JobState) -> JobRow {
    JobRow {
        id: JobId(id),
        owner: Owner {
            name: "alice".into(),
            uid: 1000,
            gid: 1000,
        },
        spec: JobSpec {
            name: "sweep".into(),
            ..JobSpec::default()
        },
        state,
        counts: TaskCounts {
            queued: 2,
            running: 1,
            ..TaskCounts::default()
        },
        next_task: TaskNumber(4),
        submitted_at: NOON,
        progress: None,
        requeues: 0,
        schedule: None,
        deleting: false,
        touched_nodes: std::collections::BTreeSet::new(),
    }
}

fn page(lines: Vec<TaskLine>, first: bool, last: bool) -> TaskPage {
    TaskPage {
        lines,
        names: names(),
        first,
        last,
    }
}

/// A step of a sweep of ten.
fn step(number: u32, outcome: TaskOutcome) -> TaskRow {
    let mut row = task(outcome, Some(0));
    row.id.step = Some(Step(number));
    let spec = Arc::make_mut(&mut row.spec);
    spec.command = ["app", "in**.dat"].map(str::to_owned).to_vec();
    spec.sweep = Sweep::new(1, 10, 1).ok();
    row
}

fn sweep() -> SweepLine {
    let cause = AttemptOutcome::Exited { code: 3 };
    let mut sweep = SweepLine::of(&step(1, TaskOutcome::Finished));
    sweep.add(&step(2, TaskOutcome::Failed { cause }));
    sweep.add(&step(3, TaskOutcome::Canceled));
    sweep
}

fn jobs() -> Answer {
    let failed = JobState::Ended {
        started_at: Some(NOON),
        ended_at: NOON + Millis(7_800_000),
        outcome: JobOutcome::Failed {
            reason: "task 11.1 failed with exit code 3".into(),
        },
    };
    let jobs = vec![
        job(12, JobState::Running { started_at: NOON }),
        job(11, failed),
        job(2, JobState::Queued),
    ];
    Answer::Jobs {
        jobs,
        more: false,
        whys: vec![],
        among: Among::OwnLive,
    }
}

fn id() -> TaskId {
    TaskId::new(JobId(3), TaskNumber(1))
}

fn task(outcome: TaskOutcome, exit_code: Option<i32>) -> TaskRow {
    let command = ["mpiexec", "-c", "1", "my prog"].map(str::to_owned).to_vec();
    TaskRow {
        id: id(),
        spec: Arc::new(TaskSpec {
            request: Request::Nodes { count: 2 },
            ..TaskSpec::of_command(command)
        }),
        state: TaskState::Ended {
            started_at: Some(NOON),
            ended_at: NOON + Millis(12_000),
            outcome,
        },
        requeues: 0,
        retries: 0,
        array: None,
        last_attempt: Some(AttemptId(9)),
        last_nodes: vec![NodeId(1), NodeId(2)],
        exit_code,
    }
}

fn names() -> Names {
    let name = |text| NodeName::new(text).expect("a name");
    Names(vec![(NodeId(1), name("node1")), (NodeId(2), name("node2"))])
}

fn viewed(stdout: &str, stderr: &str, all: bool) -> Answer {
    let end = |file, text: &str| FileEnd {
        file,
        attempt: AttemptId(9),
        content: FileReply::Tail {
            skipped: 0,
            bytes: text.as_bytes().to_vec(),
        },
    };
    Answer::Task {
        task: Box::new(task(TaskOutcome::Finished, Some(0))),
        names: names(),
        files: vec![end(TaskFile::Stdout, stdout), end(TaskFile::Stderr, stderr)],
        all,
    }
}

fn node(name: &str, admin: AdminState, liveness: Liveness) -> NodeView {
    let groups = ["AzureNodes", "ComputeNodes"].map(|group| GroupName::new(group).expect("a name"));
    NodeView {
        row: NodeRow {
            id: NodeId(1),
            name: NodeName::new(name).expect("a name"),
            pool: PoolName::new("local").expect("a name"),
            groups: groups.into(),
            inventory: Some(Inventory {
                cores: 8,
                memory_bytes: 32 << 30,
                ..Inventory::default()
            }),
            slots: 8,
            admin,
            liveness,
            boot: None,
            peer: None,
            joined_at: NOON,
            key: None,
            certificate_ends: None,
            clock_ahead_ms: None,
            drain: Deallocation::default(),
            start: None,
            errand: None,
            retained_until: None,
            errand_refused: None,
        },
        slots_held: 3,
        tasks: vec![id()],
    }
}

fn nodes() -> Answer {
    Answer::Nodes(vec![
        node("node1", AdminState::Online, Liveness::Up { since: NOON }),
        node("node2", AdminState::Draining, Liveness::Lost { since: NOON }),
    ])
}

#[test]
fn a_submission_is_answered_in_hpc_packs_words() {
    let answer = Answer::Submitted {
        job: JobId(7),
        repeated: false,
        remarks: vec![],
    };
    assert_eq!(out(&answer, Form::Table), "Job has been submitted. ID: 7.\n");
    assert_eq!(out(&answer, Form::Quiet), "7\n");
    assert_eq!(out(&answer, Form::Json), "{\n  \"id\": 7,\n  \"repeated\": false\n}\n");
    let repeated = render(
        &Answer::Submitted {
            job: JobId(7),
            repeated: true,
            remarks: vec!["did you\x1b mean".into()],
        },
        &look(Form::Table),
    );
    assert_eq!(repeated.out, "Job has been submitted. ID: 7.\n");
    assert!(repeated.err.contains("nothing new") && repeated.err.ends_with("did you^[ mean\n"));
}

#[test]
fn jobs_as_a_table() {
    let expected = "\
ID  Name   Owner  State    Priority  Tasks  Submitted              Time
12  sweep  alice  Running  Normal        3  2026-11-21 12:00:00   3m 5s
11  sweep  alice  Failed   Normal        3  2026-11-21 12:00:00  2h 10m
 2  sweep  alice  Queued   Normal        3  2026-11-21 12:00:00       -
";
    assert_eq!(out(&jobs(), Form::Table), expected);
    assert_eq!(out(&jobs(), Form::Quiet), "12\n11\n2\n");
    let list = out(&jobs(), Form::List);
    assert!(
        list.starts_with("ID        : 12\nName      : sweep\nOwner     : alice\n"),
        "{list}"
    );
    assert_eq!(list.split("\n\n").count(), 3);
}

#[test]
fn no_jobs_say_so_beside_the_output() {
    let printed = render(
        &Answer::Jobs {
            jobs: vec![],
            more: false,
            whys: vec![],
            among: Among::OwnLive,
        },
        &look(Form::Table),
    );
    assert_eq!(printed.out, "");
    assert!(printed.err.contains("job list --all"), "{}", printed.err);
    assert_eq!(
        out(
            &Answer::Jobs {
                jobs: vec![],
                more: false,
                whys: vec![],
                among: Among::OwnLive
            },
            Form::Json
        ),
        "[]\n"
    );
}

#[test]
fn json_has_all_fields_of_the_rows() {
    let value: serde_json::Value = serde_json::from_str(&out(&jobs(), Form::Json)).expect("JSON");
    let first = &value[0];
    assert_eq!(first["id"], 12);
    assert_eq!(first["status"], "Running");
    assert_eq!(first["owner"]["name"], "alice");
    assert_eq!(first["spec"]["name"], "sweep");
    assert_eq!(
        (&first["spec"]["priority"], &first["priority_hpc"]),
        (&0.into(), &2000.into())
    );
    assert_eq!(first["counts"]["queued"], 2);
    assert_eq!(first["submitted_at"], NOON.0);
    assert_eq!(
        value[1]["state"]["outcome"]["reason"],
        "task 11.1 failed with exit code 3"
    );

    let value: serde_json::Value = serde_json::from_str(&out(&viewed("hi\n", "", false), Form::Json)).expect("JSON");
    assert_eq!(value["id"], "3.1");
    assert_eq!(value["exit_code"], 0);
    assert_eq!(value["requeues"], 0);
    assert_eq!(value["nodes"], serde_json::json!(["node1", "node2"]));
    assert_eq!(
        value["files"][0],
        serde_json::json!({"file": "stdout", "attempt": 9, "skipped_bytes": 0, "text": "hi\n"})
    );

    let value: serde_json::Value = serde_json::from_str(&out(&nodes(), Form::Json)).expect("JSON");
    assert_eq!(value[1]["name"], "node2");
    assert_eq!(value[1]["health"], "Lost");
    assert_eq!(value[1]["tasks"], serde_json::json!(["3.1"]));
}

#[test]
fn a_task_with_its_output() {
    let expected = "\
Task      : 3.1
Name      : -
State     : Finished
Command   : mpiexec -c 1 'my prog'
Asked     : 2 nodes
Nodes     : node1, node2
Started   : 2026-11-21 12:00:00
Ended     : 2026-11-21 12:00:12
Time      : 12s
Exit code : 0

Output:
one
two
";
    assert_eq!(out(&viewed("one\ntwo\n", "", false), Form::Table), expected);
    let with_errors = out(&viewed("one\ntwo\n", "warning", false), Form::Table);
    assert_eq!(with_errors, format!("{expected}\nError output:\nwarning\n"));
}

#[test]
fn a_long_output_is_cut_at_a_line_unless_all_is_asked() {
    let lines: String = (0..4000).map(|number| format!("line {number}\n")).collect();
    let shown = out(&viewed(&lines, "", false), Form::Table);
    let (_, output) = shown
        .split_once("Output: (the end of it; --all shows more)\n")
        .expect("a remark");
    assert!(output.len() <= 16_000 && output.starts_with("line ") && output.ends_with("line 3999\n"));
    let all = out(&viewed(&lines, "", true), Form::Table);
    assert!(all.ends_with(&format!("Output:\n{lines}")));
}

#[test]
fn a_task_that_failed_says_why() {
    let reason = "node node1: no program 'foo' in PATH";
    let cause = AttemptOutcome::NotStarted { reason: reason.into() };
    let missing = FileEnd {
        file: TaskFile::Stdout,
        attempt: AttemptId(9),
        content: FileReply::Missing {
            reason: "node node1 is not connected".into(),
        },
    };
    let answer = Answer::Task {
        task: Box::new(task(TaskOutcome::Failed { cause }, None)),
        names: names(),
        files: vec![missing],
        all: false,
    };
    let text = out(&answer, Form::Table);
    assert!(text.contains(&format!("Error message : {reason}\n")), "{text}");
    assert!(
        text.ends_with("Output: not available: node node1 is not connected\n"),
        "{text}"
    );
    let Answer::Task {
        task: mut row,
        names: known,
        files,
        all,
    } = answer
    else {
        unreachable!("made above")
    };
    if let TaskState::Ended { started_at, .. } = &mut row.state {
        *started_at = None;
    }
    row.requeues = 1;
    let text = out(
        &Answer::Task {
            task: row,
            names: known,
            files,
            all,
        },
        Form::Table,
    );
    assert!(
        !text.contains("Output") && text.ends_with(&format!("Error message : {reason}\n")),
        "{text}"
    );
    assert!(text.contains("Requeued      : once\n"), "{text}");
    let signaled = AttemptOutcome::Signaled { signal: 11 };
    let sentence = sentence::task_outcome(&task(TaskOutcome::Failed { cause: signaled }, None).state, &names());
    assert_eq!(
        sentence.as_deref(),
        Some("the program was ended by signal 11 (SIGSEGV)")
    );
}

#[test]
fn tasks_nodes_groups_and_pools() {
    let tasks = Answer::Tasks(page(
        vec![TaskLine::Task(Box::new(task(TaskOutcome::Finished, Some(0))))],
        true,
        true,
    ));
    let expected = "\x20ID  Name  State     Exit  Time  Nodes         Command
3.1  -     Finished     0   12s  node1, node2  mpiexec -c 1 'my prog'
";
    assert_eq!(out(&tasks, Form::Table), expected);
    assert_eq!(out(&tasks, Form::Quiet), "3.1\n");
    let expected = "\
Node Name  State     Health  Max  Run  Idle  Pool   Groups
node1      Online    OK        8    3     5  local  AzureNodes, ComputeNodes
node2      Draining  Lost      8    3     5  local  AzureNodes, ComputeNodes
";
    assert_eq!(out(&nodes(), Form::Table), expected);
    assert_eq!(out(&nodes(), Form::Quiet), "node1\nnode2\n");
    let name = |text| NodeName::new(text).expect("a name");
    let group = GroupView {
        name: GroupName::new("g").expect("a name"),
        nodes: vec![name("n1"), name("n2")],
    };
    assert_eq!(
        out(&Answer::Groups(vec![group]), Form::Table),
        "Group  Count  Nodes\ng          2  n1, n2\n"
    );
    let pool = PoolView {
        row: PoolRow {
            name: PoolName::new("local").expect("a name"),
            spec: PoolSpec::default(),
            created_at: NOON,
            allocation: Allocation::Steady,
            resize_error: None,
            start_job: None,
            deleting: false,
        },
        nodes: vec![name("n1")],
        ready: 1,
        slots: 8,
        slots_held: 3,
    };
    assert_eq!(
        out(&Answer::Pools(vec![pool]), Form::Table),
        "Pool   Nodes  Ready  Max  Run  Idle  Node Names\nlocal      1      1    8    3     5  n1\n"
    );
    let text = out(
        &Answer::Node(Box::new(node(
            "node1",
            AdminState::Online,
            Liveness::Up { since: NOON },
        ))),
        Form::Table,
    );
    assert!(
        text.contains(" : OK since 2026-11-21 12:00:00\n") && text.contains(" : 8, 3 held\n"),
        "{text}"
    );
}

#[test]
fn an_awaited_job_tells_by_its_exit_code() {
    let over = |outcome| JobState::Ended {
        started_at: Some(NOON),
        ended_at: NOON + Millis(12_000),
        outcome,
    };
    let finished = Answer::Waited(Box::new(job(3, over(JobOutcome::Finished))));
    assert_eq!(
        out(&finished, Form::Table),
        "job 3: Finished after 12s: every task ended well\n"
    );
    assert_eq!(finished.exit().code(), 0);
    let mut mixed = job(3, over(JobOutcome::Finished));
    mixed.counts = TaskCounts {
        finished: 2,
        canceled: 1,
        ..TaskCounts::default()
    };
    let mixed = Answer::Waited(Box::new(mixed));
    assert_eq!(
        out(&mixed, Form::Table),
        "job 3: Finished after 12s: 2 finished, 1 canceled\n"
    );
    assert_eq!(mixed.exit().code(), 1);
    let by_a_task = JobOutcome::Terminated {
        by: String::new(),
        reason: "TaskFailed".into(),
    };
    let text = out(&Answer::Waited(Box::new(job(3, over(by_a_task)))), Form::Table);
    assert!(
        text.contains("a task failed; see 'task list 3 --filter failed'"),
        "{text}"
    );
    let canceled = JobOutcome::Canceled {
        by: "bob".into(),
        message: "wrong input".into(),
    };
    let canceled = Answer::Waited(Box::new(job(3, over(canceled))));
    assert_eq!(
        out(&canceled, Form::Table),
        "job 3: Canceled after 12s: canceled by bob: wrong input\n"
    );
    assert_eq!(canceled.exit().code(), 1);
    let never = |outcome| {
        let state = JobState::Ended {
            started_at: None,
            ended_at: NOON,
            outcome,
        };
        out(&Answer::Waited(Box::new(job(3, state))), Form::Table)
    };
    let by = JobOutcome::Canceled {
        by: "bob".into(),
        message: String::new(),
    };
    assert_eq!(never(by), "job 3: Canceled before it started: canceled by bob\n");
    let reason = "task 3.1: node node1: no program 'foo' in PATH (/a:/b:/c)".into();
    assert_eq!(
        never(JobOutcome::Failed { reason }),
        "job 3: Failed before it started: task 3.1: node node1: no program 'foo'\n"
    );
}

#[test]
fn a_token_comes_with_the_line_to_type() {
    let token = |head: &str| Answer::Token {
        token: "T0K".into(),
        head: head.into(),
        expires_at: NOON,
    };
    let printed = render(&token("10.0.0.1:8745"), &look(Form::Table));
    assert_eq!(printed.out, "T0K\n");
    let line = "  muster-computenode agent --dir DIR --name NAME --head 10.0.0.1:8745 --token T0K\n";
    assert!(printed.err.ends_with(line), "{}", printed.err);
    let here = render(&token("127.0.0.1:8745"), &look(Form::Table));
    assert!(here.err.contains("this machine only"), "{}", here.err);
    let value: serde_json::Value = serde_json::from_str(&out(&token("10.0.0.1:8745"), Form::Json)).expect("JSON");
    assert_eq!(value["head"], "10.0.0.1:8745");
}

#[test]
fn a_narrow_terminal_has_room_for_jobs() {
    let at = |now| Look {
        width: Some(62),
        now,
        ..look(Form::Table)
    };
    let today = render(&jobs(), &at(NOON + Millis(185_000))).out;
    assert!(today.contains("  12:00:00  ") && !today.contains("2026"), "{today}");
    assert!(today.lines().all(|line| line.chars().count() <= 62), "{today}");
    let later = render(&jobs(), &at(NOON + Millis(86_400_000))).out;
    assert!(
        later.contains("  2026-11-21  ") && !later.contains("12:00:00"),
        "{later}"
    );
}

fn why(asked: Request) -> Why {
    Why {
        job: JobId(3),
        task: id(),
        asked,
        nodes: 6,
        eligible: 4,
        eligible_slots: 32,
        free: 1,
        free_slots: 5,
        causes: [(Cause::Offline, 2), (Cause::Busy, 3)].into(),
        ahead: 1,
        held: None,
        next: None,
        expected_start: None,
        short_nodes: None,
    }
}

#[test]
fn why_a_job_waits() {
    let told = |why: Why| {
        let answer = Answer::Why {
            job: Box::new(job(3, JobState::Queued)),
            why: Some(Box::new(why)),
            names: names(),
        };
        out(&answer, Form::Table)
    };
    assert_eq!(
        told(why(Request::Nodes { count: 8 })),
        "\
job 3 waits: task 3.1 asks 8 nodes; 4 eligible, 1 free (of 6 nodes in the cluster); see 'node list'
  2 offline
  3 busy
  1 task stands before it in the queue
  short: it cannot start before 4 more nodes can take it
"
    );
    let soon = Why {
        next: Some(NextEvent::TaskEnds {
            task: TaskId::new(JobId(2), TaskNumber(5)),
            by: Some(NOON + Millis(485_000)),
        }),
        expected_start: Some(NOON + Millis(905_000)),
        short_nodes: Some(0),
        ..why(Request::Cores { count: 8 })
    };
    assert_eq!(
        told(soon.clone()),
        "\
job 3 waits: task 3.1 asks 8 cores; 32 cores on 4 nodes eligible, 5 free (of 6 nodes in the cluster); see 'node list'
  2 offline
  3 busy
  1 task stands before it in the queue
  next: task 2.5 ends, at 12:08 (in 5 min) at the latest
  expected: to start at 12:15 (in 12 min), if what runs takes as long as its limit
"
    );
    let answer = Answer::Why {
        job: Box::new(job(3, JobState::Queued)),
        why: Some(Box::new(soon)),
        names: names(),
    };
    let value: serde_json::Value = serde_json::from_str(&out(&answer, Form::Json)).expect("JSON");
    assert_eq!(value["why"]["next"]["is"], "task_ends");
    assert!(
        value["sentence"]
            .as_str()
            .is_some_and(|text| text.contains("\nexpected: "))
    );
    let nothing = Answer::Why {
        job: Box::new(job(3, JobState::Running { started_at: NOON })),
        why: None,
        names: names(),
    };
    assert_eq!(
        out(&nothing, Form::Table),
        "job 3 runs and nothing of it waits: 1 task running\n"
    );
}

#[test]
fn a_terminal_gets_colours_and_no_wide_lines() {
    let look = Look {
        width: Some(60),
        colour: true,
        ..look(Form::Table)
    };
    let text = render(&nodes(), &look).out;
    assert!(
        text.contains("\x1b[32mOnline  \x1b[0m") && text.contains("AzureNo…"),
        "{text}"
    );
    let plain = text
        .replace("\x1b[32m", "")
        .replace("\x1b[31m", "")
        .replace("\x1b[33m", "")
        .replace("\x1b[0m", "");
    assert!(plain.lines().all(|line| line.chars().count() <= 60), "{plain}");
}

#[test]
fn what_users_wrote_cannot_command_the_terminal() {
    let mut row = job(3, JobState::Queued);
    row.spec.name = "x\x1b]0;title\x07\n\u{202e}y".into();
    for answer in [
        Answer::Job(Box::new(row.clone())),
        Answer::Jobs {
            jobs: vec![row],
            more: false,
            whys: vec![],
            among: Among::OwnLive,
        },
    ] {
        let text = out(&answer, Form::Table);
        assert!(text.contains("x^[]0;title^G^J?y"), "{text:?}");
    }
}

#[test]
fn the_cluster_at_a_glance() {
    let head = HeadView {
        cluster: "local".into(),
        version: "0.1.0".into(),
        pid: 77,
        started_at: NOON,
        listen: "127.0.0.1:8745".into(),
        sequence: Sequence(5),
        clock: NOON,
        fingerprint: String::new(),
        certificate_ends: NOON,
    };
    let status = Answer::Status(Box::new(Status {
        head,
        nodes: 4,
        up: 3,
        jobs: 2,
        queued: 10,
        running: 1,
    }));
    let text = out(&status, Form::Table);
    assert!(
        text.contains("Nodes      : 4, 3 up\n") && text.contains("process 77"),
        "{text}"
    );
    assert_eq!(out(&status, Form::Quiet), "local\n");
}

#[test]
fn a_sweep_is_one_line_and_one_page() {
    let lines = vec![
        TaskLine::Sweep(Box::new(sweep())),
        TaskLine::Task(Box::new(step(7, TaskOutcome::Finished))),
    ];
    let list = Answer::Tasks(page(lines, true, true));
    assert_eq!(
        out(&list, Form::Table),
        "\x20  ID  Name  State     Exit  Time  Nodes                                  Command
  3.1  -     Failed       -   12s  [3: 1 finished, 1 failed, 1 canceled]  app in**.dat
3.1.7  -     Finished     0   12s  node1, node2                           app in07.dat
"
    );
    assert_eq!(out(&list, Form::Quiet), "3.1\n3.1.7\n");
    let value: serde_json::Value = serde_json::from_str(&out(&list, Form::Json)).expect("JSON");
    assert_eq!(value[0]["counts"]["failed"], 1);
    assert_eq!(value[0]["failed"][0], "3.1.2");
    let view = out(&Answer::Sweep(Box::new(sweep())), Form::Table);
    assert!(view.contains("Index        : 1-10\n"), "{view}");
    assert!(view.contains("Failed steps : 3.1.2\n"), "{view}");
    assert!(
        view.ends_with("task view 3.1.2. All steps: task list 3 --expand\n"),
        "{view}"
    );
    let mut service = sweep();
    Arc::make_mut(&mut service.spec).kind = proto::model::task::TaskKind::Service;
    service.counts = TaskCounts {
        queued: 9_999_984,
        running: 4,
        finished: 12,
        ..TaskCounts::default()
    };
    service.failed = vec![];
    let view = out(&Answer::Sweep(Box::new(service.clone())), Form::Table);
    assert!(view.contains(": service: 4 running, 12 finished\n"), "{view}");
    assert!(
        !view.contains("--expand") && view.contains("task list 3 --filter running"),
        "{view}"
    );
    let list = out(
        &Answer::Tasks(page(vec![TaskLine::Sweep(Box::new(service))], true, true)),
        Form::Table,
    );
    assert!(list.contains("[service: 4 running, 12 finished]"), "{list}");
}

#[test]
fn a_long_list_comes_in_pages() {
    let row = |number| TaskLine::Task(Box::new(step(number, TaskOutcome::Finished)));
    let pages = [
        page(vec![row(1), row(2)], true, false),
        page(vec![row(3)], false, false),
        page(vec![row(4)], false, true),
    ];
    let whole = page(vec![row(1), row(2), row(3), row(4)], true, true);
    for form in [Form::Table, Form::Json, Form::Quiet, Form::List] {
        let parts: String = pages
            .iter()
            .map(|page| out(&Answer::Tasks(page.clone()), form.clone()))
            .collect();
        assert_eq!(parts, out(&Answer::Tasks(whole.clone()), form));
    }
    let ends = [page(vec![row(1)], true, false), page(vec![], false, true)];
    let text: String = ends
        .iter()
        .map(|page| out(&Answer::Tasks(page.clone()), Form::Json))
        .collect();
    assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{text}");
}

#[test]
fn chosen_fields() {
    let fields = |text: &str| Form::Fields(Fields::parse(text).expect("fields"));
    assert_eq!(
        out(&jobs(), fields("{id} {status} {spec.name} {priority_hpc}")),
        "12 Running sweep 2000\n11 Failed sweep 2000\n2 Queued sweep 2000\n"
    );
    assert_eq!(
        out(&Answer::Job(Box::new(job(2, JobState::Queued))), fields("{owner.name}")),
        "alice\n"
    );
    let error = super::render(&jobs(), &look(fields("{stauts}")))
        .expect_err("no such field")
        .to_string();
    assert!(
        error.contains("did you mean 'status'?") && error.contains("counts, deleting, id"),
        "{error}"
    );
}

#[test]
fn several_answers_and_what_could_not_be_done() {
    let refused = Refused {
        what: "there is no job 9; see 'job list'".to_owned(),
        exit: crate::exit::Exit::NotFound,
    };
    let answer = Answer::Many(vec![
        Ok(Answer::Notes(vec!["job 1 is canceled".to_owned()])),
        Err(refused),
        Ok(Answer::Notes(vec!["job 2 is canceled".to_owned()])),
    ]);
    let printed = render(&answer, &look(Form::Table));
    assert_eq!(printed.out, "job 1 is canceled\njob 2 is canceled\n");
    assert_eq!(printed.err, "there is no job 9; see 'job list'\n");
    assert_eq!(answer.exit(), crate::exit::Exit::NotFound);
    let value: serde_json::Value = serde_json::from_str(&out(&answer, Form::Json)).expect("JSON");
    assert_eq!(value.as_array().map(Vec::len), Some(2));
}

#[test]
fn the_exit_code_of_a_program_that_was_followed() {
    let exit = |outcome, code| {
        let shown = Shown {
            job: Box::new(job(3, JobState::Queued)),
            task: Box::new(task(outcome, code)),
            names: names(),
        };
        Answer::Shown(Box::new(shown)).exit().code()
    };
    let failed = |cause| TaskOutcome::Failed { cause };
    assert_eq!(exit(TaskOutcome::Finished, Some(5)), 0);
    assert_eq!(exit(failed(AttemptOutcome::Exited { code: 42 }), Some(42)), 42);
    assert_eq!(exit(failed(AttemptOutcome::Signaled { signal: 9 }), None), 137);
    assert_eq!(exit(failed(AttemptOutcome::Exited { code: 0 }), Some(0)), 1);
    assert_eq!(exit(failed(AttemptOutcome::Fenced), None), 1);
    assert_eq!(exit(TaskOutcome::Canceled, None), 1);
}

#[test]
fn what_would_become_of_a_submission() {
    let rehearsed = |starts_now, why: Option<Why>| {
        let answer = Rehearsed {
            subject: Subject::First,
            most: None,
            asked: Request::Nodes { count: 2 },
            tasks: 1,
            names: names(),
            starts_now,
            nodes: vec![
                NodeName::new("n1").expect("a name"),
                NodeName::new("n2").expect("a name"),
            ],
            why: why.map(Box::new),
            remarks: vec![],
        };
        out(&Answer::Rehearsed(Box::new(answer)), Form::Table)
    };
    assert_eq!(
        rehearsed(true, None),
        "It would start now: 2 nodes on n1, n2. Nothing was submitted.\n"
    );
    let mut held = why(Request::Nodes { count: 2 });
    held.held = Some(Hold::Until { at: NOON });
    held.next = Some(NextEvent::Somebody {
        command: format!("job modify {} --pool x", held.job),
    });
    let text = rehearsed(false, Some(held));
    assert!(
        text.contains("is held until 2026-11-21 12:00:00\n") && !text.contains("job modify"),
        "{text}"
    );
    let waits = rehearsed(false, Some(why(Request::Nodes { count: 2 })));
    assert!(
        waits.starts_with("Now it would wait: it asks 2 nodes; ") && waits.ends_with("\nNothing was submitted.\n"),
        "{waits}"
    );
}
