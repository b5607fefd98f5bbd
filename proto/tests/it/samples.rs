//! One sample of each message and row, with every field that it can have.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use proto::client::{Greeted, Greeting, Happened, JobFilter, Output, OutputPart, Refusal, RefusalCode, Reply, Request};
use proto::control::{
    AllocatedNode, AllocationAuthority, FileReply, FileRequest, FollowFrom, FollowReply, FollowRequest, HeadMessage,
    HeldAttempt, HeldState, Hello, Input, InputReply, Join, JoinReply, Knock, Login, LoginReply, NodeMessage,
    NodeRequest, Order, Piece, ProbeReply, Probed, Report, StartOrder, StepStart, TaskFile, Timing,
};
use proto::event::Event;
use proto::frame::Version;
use proto::ids::{
    AttemptId, BootId, DomainName, GroupName, JobId, KeyHash, LaunchId, NodeId, NodeName, PoolName, Rank, ResourceName,
    ScheduleName, Sequence, Step, SubmissionId, TaskId, TaskNumber, UserName,
};
use proto::launch::{
    AgentReply, AgentRequest, AllocationView, KeyValue, LauncherMessage, OutputStream, ProxyMessage, RankStatus,
};
use proto::model::array::{ArrayState, ChunkRow, Element, ElementState};
use proto::model::attempt::{Ahead, AttemptPhase, AttemptRow, Held, Share};
use proto::model::exit::{DependencyAction, ExitConditions, ExitOptions, ExitRule, JobAction, Retries};
use proto::model::job::{
    GroupOperator, JobChange, JobKind, JobOutcome, JobRow, JobSpec, JobState, OrderBy, OrderKey, Priority, Progress,
    SetTo, Span, TaskCounts, Units,
};
use proto::model::limits::{Limits, UserLimits};
use proto::model::node::{
    AdminState, Deallocation, Inventory, Liveness, NodeErrand, NodeErrandKind, NodeRow, NodeStart, StartState,
};
use proto::model::owner::{Owner, Role};
use proto::model::pool::{Allocation, FillType, GroupRow, PoolRow, PoolSpec};
use proto::model::role::{ManagerSpec, PreparationSpec, StartTaskSpec, TaskRole};
use proto::model::schedule::{Recurrence, ScheduleRow, ScheduleSpec, ScheduleState};
use proto::model::sweep::Sweep;
use proto::model::task::{
    AttemptOutcome, CommonFile, ExitCodes, Interactive, Request as Need, TaskKind, TaskOutcome, TaskRange, TaskRow,
    TaskSpec, TaskState,
};
use proto::model::user::{Credential, LoginToken, UserRow};
use proto::stored::{MetaRow, Parameters, Row, SettingsRow, SubmissionRow, TokenRow};
use proto::units::{Millis, Timestamp};

use super::{Line, line};

const VERSION: Version = Version { major: 3, minor: 0 };
const ATTEMPT: AttemptId = AttemptId(7);
const NODE: NodeId = NodeId(2);

pub(super) fn all() -> Vec<Line> {
    [control(), client(), streams(), launch(), rows()]
        .into_iter()
        .flatten()
        .collect()
}

fn node_name() -> NodeName {
    NodeName::new("node2").expect("a name")
}

fn pool_name() -> PoolName {
    PoolName::new("local").expect("a name")
}

fn group_name() -> GroupName {
    GroupName::new("AzureNodes").expect("a name")
}

fn owner() -> Owner {
    Owner {
        name: "ann".to_owned(),
        uid: 1000,
        gid: 100,
    }
}

fn task_id() -> TaskId {
    TaskId::new(JobId(12), TaskNumber(1))
}

fn inventory() -> Inventory {
    Inventory {
        cores: 2,
        sockets: 1,
        cgroups: true,
        core_ids: vec![0, 1],
        memory_bytes: 1 << 34,
        hostname: "h".to_owned(),
        os: "o".to_owned(),
        kernel: "k".to_owned(),
        arch: "x86_64".to_owned(),
        version: "0.1.0".to_owned(),
        addresses: vec![[127, 0, 0, 2].into()],
        resources: resources(),
        tags: BTreeSet::from([group_name()]),
        domain: Some(DomainName::new("rack1").expect("a name")),
    }
}

fn resources() -> BTreeMap<ResourceName, u32> {
    [(ResourceName::new("gpu").expect("a name"), 2)].into()
}

fn role_task() -> TaskSpec {
    TaskSpec::of_command(vec!["true".to_owned()])
}

fn limits() -> Limits {
    Limits {
        running_jobs: Some(1),
        cores: Some(2),
        queued_tasks: Some(3),
    }
}

fn preparation() -> PreparationSpec {
    PreparationSpec {
        task: role_task(),
        wait_for_success: true,
        rerun_after_reboot: false,
    }
}

fn exit_conditions() -> ExitConditions {
    let options = ExitOptions {
        dependency: Some(DependencyAction::Satisfy),
        job: Some(JobAction::Disable),
    };
    ExitConditions {
        codes: vec![ExitRule {
            first: 3,
            last: 5,
            options,
        }],
        pre_processing_error: Some(options),
        file_upload_error: None,
        default: Some(ExitOptions {
            dependency: Some(DependencyAction::Block),
            job: Some(JobAction::Terminate),
        }),
    }
}

fn pool_row() -> PoolRow {
    PoolRow {
        name: pool_name(),
        spec: PoolSpec {
            slots_per_node: Some(4),
            wanted: Some(8),
            fill: FillType::Spread,
            inter_node: false,
            start_task: Some(Box::new(StartTaskSpec {
                task: role_task(),
                wait_for_success: true,
            })),
            limits: limits(),
        },
        created_at: Timestamp(1),
        allocation: Allocation::Resizing {
            until: Timestamp(9),
            option: Deallocation::RetainedData,
        },
        resize_error: Some("r".to_owned()),
        start_job: Some(JobId(2)),
        deleting: true,
    }
}

fn schedule_spec() -> ScheduleSpec {
    ScheduleSpec {
        recurrence: Recurrence {
            do_not_run_until: Some(Timestamp(1)),
            do_not_run_after: Some(Timestamp(9)),
            start_window: Some(Millis(60_000)),
            interval: Some(Millis(120_000)),
        },
        job: JobSpec::default(),
        tasks: vec![role_task()],
    }
}

fn schedule_name() -> ScheduleName {
    ScheduleName::new("nightly").expect("a name")
}

fn schedule_row() -> ScheduleRow {
    ScheduleRow {
        name: schedule_name(),
        owner: owner(),
        spec: schedule_spec(),
        state: ScheduleState::Completed { ended_at: Timestamp(9) },
        created_at: Timestamp(1),
        next_run: Some(Timestamp(7)),
        recent_job: Some(JobId(12)),
        runs: 3,
        missed: 1,
        deleting: false,
    }
}

fn chunk_row() -> ChunkRow {
    let finished = ElementState::Finished {
        started_at: Some(Timestamp(5)),
        ended_at: Timestamp(9),
    };
    let element = |index, state| Element {
        index,
        state,
        last_attempt: Some(ATTEMPT),
        last_nodes: vec![NODE],
        exit_code: Some(0),
        requeues: 0,
        retries: 1,
    };
    ChunkRow {
        array: task_id(),
        chunk: 1,
        elements: vec![
            element(128, finished),
            element(129, ElementState::Other(TaskState::Queued)),
        ],
    }
}

fn allocated() -> AllocatedNode {
    AllocatedNode {
        node: NODE,
        name: node_name(),
        slots: 2,
        peer: ([127, 0, 0, 2], 4000).into(),
    }
}

fn env() -> BTreeMap<String, Option<String>> {
    [("A".to_owned(), Some("b".to_owned())), ("GONE".to_owned(), None)].into()
}

fn task_spec() -> TaskSpec {
    TaskSpec {
        name: "t".to_owned(),
        command: vec!["sh".to_owned(), "-c".to_owned(), "exit 3".to_owned()],
        request: Need::Nodes { count: 4 },
        exclusive: true,
        rerunnable: false,
        runtime_limit: Some(Millis(60_000)),
        workdir: Some("/tmp".to_owned()),
        stdout: Some("out".to_owned()),
        stderr: Some("err".to_owned()),
        stdin: Some("in".to_owned()),
        script: Some("#!/bin/sh\n".to_owned()),
        interactive: Some(Interactive { terminal: true }),
        sweep: Some(Sweep::new(1, 9, 2).expect("a sweep")),
        request_max: Some(8),
        depends_on: vec!["first".to_owned()],
        valid_exit_codes: Some(ExitCodes::new(vec![(0, 0), (5, 9)]).expect("exit codes")),
        env: env(),
        max_requeues: Some(3),
        kind: TaskKind::Service,
        memory_mib: Some(512),
        resources: resources(),
        coordination: Some(vec!["true".to_owned()]),
        common_files: vec![CommonFile {
            path: "hosts".to_owned(),
            text: "t".to_owned(),
            mode: 0o644,
        }],
        any_domain: true,
        affinity: Some(node_name()),
        depends_on_ranges: vec![TaskRange {
            first: TaskNumber(1),
            last: TaskNumber(3),
        }],
        exit_conditions: Some(Box::new(exit_conditions())),
        max_retries: Some(Retries::AtMost(2)),
        retention: Some(Millis(60_000)),
    }
}

fn job_spec() -> JobSpec {
    JobSpec {
        name: "j".to_owned(),
        priority: Priority::new(500).expect("in range"),
        pool: Some(pool_name()),
        node_groups: vec![group_name()],
        requested_nodes: vec![node_name()],
        exclusive: true,
        runtime_limit: Some(Millis(3_600_000)),
        env: env(),
        project: "p".to_owned(),
        kind: JobKind::Admin,
        group_operator: GroupOperator::Union,
        cores_per_node: Some(Span {
            min: Some(2),
            max: None,
        }),
        memory_per_node: Some(Span {
            min: None,
            max: Some(4096),
        }),
        single_node: true,
        order_by: vec![OrderBy {
            by: OrderKey::Memory,
            more_first: false,
        }],
        units: Some(Units {
            min: Need::Sockets { count: 1 },
            max: Some(4),
        }),
        hold_until: Some(Timestamp(77)),
        fail_on_task_failure: true,
        run_dependents_of_failed: true,
        run_until_canceled: true,
        valid_exit_codes: Some(ExitCodes::new(vec![(0, 1)]).expect("exit codes")),
        max_wall_clock: Some(Millis(7_200_000)),
        max_retries: Some(Retries::Unlimited),
        perform_exit_actions: true,
        max_parallel_tasks: Some(5),
        manager: Some(Box::new(ManagerSpec {
            task: role_task(),
            kill_job_on_completion: true,
            run_exclusive: false,
        })),
        preparation: Some(Box::new(preparation())),
        release: Some(Box::new(role_task())),
        parents: vec![JobId(11)],
    }
}

fn job_row() -> JobRow {
    JobRow {
        id: JobId(12),
        owner: owner(),
        spec: job_spec(),
        state: JobState::Ended {
            started_at: Some(Timestamp(5)),
            ended_at: Timestamp(9),
            outcome: JobOutcome::Failed { reason: "r".to_owned() },
        },
        counts: TaskCounts {
            queued: 1,
            running: 2,
            finished: 3,
            failed: 4,
            canceled: 5,
        },
        next_task: TaskNumber(16),
        submitted_at: Timestamp(4),
        progress: Some(Progress {
            percent: Some(40),
            message: "m".to_owned(),
        }),
        requeues: 1,
        schedule: Some(schedule_name()),
        deleting: true,
        touched_nodes: [NodeId(3)].into(),
    }
}

fn start_order() -> StartOrder {
    StartOrder {
        attempt: ATTEMPT,
        task: task_id(),
        job_name: "j".to_owned(),
        task_name: "t".to_owned(),
        requeues: 1,
        owner: owner(),
        nodes: vec![allocated()],
        command: vec!["true".to_owned()],
        workdir: None,
        stdout: None,
        stderr: None,
        stdin: Some("in".to_owned()),
        script: Some("#!/bin/sh\n".to_owned()),
        interactive: Some(Interactive { terminal: false }),
        env: env(),
        runtime_limit: None,
        exclusive: false,
        rerunnable: true,
        role: TaskRole::Preparation,
        coordination: Some(vec!["true".to_owned()]),
        common_files: Vec::new(),
        retention: Some(Millis(60_000)),
        pool: Some(pool_name()),
        prepared_by: Some(ATTEMPT),
        single: false,
        ahead: false,
        authority: Some(AllocationAuthority { seed: vec![1; 32] }),
    }
}

fn credential() -> Credential {
    Credential {
        key: KeyHash([7; 32]),
        issued_at: Timestamp(1),
        expires_at: Timestamp(9),
        host: "h".to_owned(),
    }
}

fn control() -> Vec<Line> {
    let hello = Hello {
        version: VERSION,
        name: node_name(),
        boot: BootId(5),
        inventory: inventory(),
        peer: ([127, 0, 0, 2], 4000).into(),
        held: vec![HeldAttempt {
            attempt: ATTEMPT,
            state: HeldState::Running {
                started_at: Timestamp(3),
            },
        }],
        clock: Some(Timestamp(8)),
    };
    let reports = vec![
        Report::Started {
            attempt: ATTEMPT,
            at: Timestamp(3),
        },
        Report::Ended {
            attempt: ATTEMPT,
            outcome: AttemptOutcome::Exited { code: 3 },
            at: Timestamp(4),
            started_at: Some(Timestamp(3)),
            then: Some(AttemptId(12)),
        },
        Report::Returned { attempt: ATTEMPT },
        Report::Released { attempt: ATTEMPT },
    ];
    let orders = vec![
        Order::Start(Box::new(start_order())),
        Order::Stop {
            attempt: ATTEMPT,
            grace: Millis(15_000),
        },
        Order::Release { attempt: ATTEMPT },
        Order::StartSteps {
            order: Box::new(start_order()),
            steps: vec![StepStart {
                attempt: ATTEMPT,
                step: Step(9),
                requeues: 1,
                ahead: true,
                authority: None,
            }],
        },
        Order::Advance { attempt: ATTEMPT },
        Order::Recall { attempt: ATTEMPT },
    ];
    let welcome = HeadMessage::Welcome {
        version: VERSION,
        cluster: "c".to_owned(),
        timing: Timing::default(),
    };
    let joined = JoinReply::Joined {
        node: NODE,
        pool: pool_name(),
        groups: vec![group_name()],
        certificate: vec![1, 2],
        authority: vec![3, 4],
        clock: Timestamp(8),
        cluster: "c".to_owned(),
    };
    let join = Join {
        version: VERSION,
        secret: "ab".to_owned(),
        name: node_name(),
        request: vec![5, 6],
    };
    let file = FileRequest {
        job: JobId(12),
        attempt: ATTEMPT,
        file: TaskFile::Stdout,
        last_bytes: 4000,
    };
    vec![
        line("control.hello", &NodeMessage::Hello(Box::new(hello))),
        line("control.heartbeat", &NodeMessage::Heartbeat { number: 9 }),
        line("control.reports", &NodeMessage::Reports { number: 4, reports }),
        line("control.welcome", &welcome),
        line("control.refused", &HeadMessage::Refused { reason: "r".to_owned() }),
        line("control.orders", &HeadMessage::Orders { orders }),
        line("control.reports_taken", &HeadMessage::ReportsTaken { number: 4 }),
        line("control.heartbeat_taken", &HeadMessage::HeartbeatTaken { number: 9 }),
        line("control.join", &Knock::Join(join)),
        line("control.joined", &joined),
        line("control.file_request", &NodeRequest::File(file)),
        line(
            "control.file_tail",
            &FileReply::Tail {
                skipped: 5,
                bytes: b"end".to_vec(),
            },
        ),
        line(
            "control.renew",
            &NodeMessage::Renew {
                version: VERSION,
                request: vec![1],
            },
        ),
        line(
            "control.renewed",
            &HeadMessage::Renewed {
                certificate: vec![1],
                authority: vec![2],
            },
        ),
        line("control.removed", &HeadMessage::Removed { reason: "r".to_owned() }),
        line(
            "control.login",
            &Knock::Login(Login {
                version: VERSION,
                secret: "ab".to_owned(),
                host: "h".to_owned(),
                request: vec![5],
            }),
        ),
        line(
            "control.logged_in",
            &LoginReply::LoggedIn {
                user: UserName::new("ann").expect("a name"),
                role: Role::Operator,
                cluster: "c".to_owned(),
                certificate: vec![1],
                authority: vec![2],
                expires_at: Timestamp(9),
                clock: Timestamp(8),
            },
        ),
        line(
            "control.follow",
            &NodeRequest::Follow(FollowRequest {
                job: JobId(12),
                attempt: ATTEMPT,
                from: FollowFrom::At { stdout: 5, stderr: 6 },
                follow: true,
            }),
        ),
        line("control.piece", &FollowReply::Piece(piece())),
        line("control.input", &NodeRequest::Input { attempt: ATTEMPT }),
        line("control.input_bytes", &Input::Bytes { bytes: vec![7] }),
        line("control.input_size", &Input::Size { rows: 24, columns: 80 }),
        line("control.input_end", &Input::End),
        line("control.input_closed", &InputReply::Closed { reason: "r".to_owned() }),
        line(
            "control.probe",
            &NodeRequest::Probe {
                peers: vec![([127, 0, 0, 2], 4000).into()],
            },
        ),
        line(
            "control.probed",
            &ProbeReply {
                results: vec![
                    Probed {
                        peer: ([127, 0, 0, 2], 4000).into(),
                        outcome: Ok(80),
                    },
                    Probed {
                        peer: ([127, 0, 0, 3], 4000).into(),
                        outcome: Err("r".to_owned()),
                    },
                ],
            },
        ),
        line("control.file_missing", &FileReply::Missing { reason: "r".to_owned() }),
    ]
}

fn piece() -> Piece {
    Piece {
        file: TaskFile::Stdout,
        offset: 5,
        bytes: b"line\n".to_vec(),
        rank: Some(Rank(3)),
        on: None,
    }
}

fn streams() -> Vec<Line> {
    let output = Output {
        task: TaskId {
            step: Some(Step(7)),
            ..task_id()
        },
        attempt: ATTEMPT,
        node: node_name(),
        part: OutputPart::Piece(piece()),
    };
    let happened = Happened {
        sequence: Sequence(40),
        at: Timestamp(3),
        event: Box::new(Event::TaskRequeued {
            task: task_id(),
            asked: true,
            retry: true,
            afresh: true,
        }),
    };
    let requeued = Event::JobRequeued { job: JobId(12) };
    vec![
        line("event.job_requeued", &requeued),
        line(
            "client.tail",
            &Request::Tail {
                job: JobId(12),
                tasks: vec![task_id()],
                from: FollowFrom::Last { bytes: 400 },
                follow: true,
            },
        ),
        line("client.output", &Reply::Output(Box::new(output))),
        line(
            "client.events",
            &Reply::Events {
                events: vec![happened],
                missed: false,
            },
        ),
        line(
            "client.modify",
            &Request::ModifyJob {
                job: JobId(12),
                change: Box::new(JobChange {
                    runtime_limit: Some(SetTo::Nothing),
                    hold_until: Some(SetTo::Value(Timestamp(7))),
                    priority: Some(Priority::default()),
                    ..JobChange::default()
                }),
            },
        ),
    ]
}

fn client() -> Vec<Line> {
    let submit = Request::Submit {
        submission: SubmissionId(5),
        job: Box::new(job_spec()),
        tasks: vec![task_spec()],
    };
    let filter = JobFilter {
        all_users: true,
        ended: true,
        user: Some("ann".to_owned()),
        states: vec!["Queued".to_owned()],
        name: Some("j".to_owned()),
        project: Some("p".to_owned()),
        since: Some(Timestamp(2)),
        admin: true,
        limit: Some(5),
    };
    let greeted = Greeted::Welcome {
        version: VERSION,
        cluster: "c".to_owned(),
        user: "ann".to_owned(),
        role: Role::User,
    };
    let refusal = Refusal {
        code: RefusalCode::NotFound,
        what: "w".to_owned(),
        remedy: "r".to_owned(),
        retry_after: None,
    };
    vec![
        line("client.greeting", &Greeting { version: VERSION }),
        line("client.greeted", &greeted),
        line("client.submit", &submit),
        line("client.list_jobs", &Request::ListJobs { filter }),
        line(
            "client.cancel",
            &Request::CancelJob {
                job: JobId(12),
                force: true,
                message: "m".to_owned(),
            },
        ),
        line(
            "client.view_task",
            &Request::ViewTask {
                task: task_id(),
                output_bytes: 4000,
            },
        ),
        line(
            "client.switch",
            &Request::SwitchNodes {
                nodes: vec![node_name()],
                admin: AdminState::Draining,
                option: Deallocation::Requeue,
            },
        ),
        line(
            "client.submitted",
            &Reply::Submitted {
                job: JobId(12),
                sequence: Sequence(40),
                repeated: false,
            },
        ),
        line(
            "client.done",
            &Reply::Done {
                sequence: Sequence(40),
                notes: vec!["n".to_owned()],
            },
        ),
        line(
            "client.job",
            &Reply::Job {
                job: Box::new(job_row()),
            },
        ),
        line("client.refused", &Reply::Refused(refusal.clone())),
        line(
            "client.busy",
            &Reply::Refused(Refusal {
                code: RefusalCode::Busy,
                retry_after: Some(Millis(500)),
                ..refusal
            }),
        ),
    ]
}

fn launch() -> Vec<Line> {
    let view = AllocationView {
        attempt: ATTEMPT,
        task: task_id(),
        nodes: vec![allocated()],
        here: NODE,
        address: [127, 0, 0, 2].into(),
    };
    let output = ProxyMessage::Output {
        rank: Rank(3),
        stream: OutputStream::Stderr,
        bytes: b"line\n".to_vec(),
    };
    let pairs = vec![KeyValue {
        key: "k".to_owned(),
        value: "v".to_owned(),
    }];
    let start = AgentRequest::StartProxy {
        launch: LaunchId(8),
        rendezvous: ([127, 0, 0, 2], 5000).into(),
    };
    vec![
        line("launch.describe", &AgentRequest::Describe { version: VERSION }),
        line("launch.certify", &AgentRequest::Certify { request: vec![1, 2] }),
        line("launch.start_proxy", &start),
        line("launch.allocation", &AgentReply::Allocation(Box::new(view))),
        line(
            "launch.certified",
            &AgentReply::Certified {
                certificate: vec![1],
                authority: vec![2],
            },
        ),
        line(
            "launch.hello",
            &ProxyMessage::Hello {
                version: VERSION,
                launch: LaunchId(8),
                node: NODE,
            },
        ),
        line("launch.output", &output),
        line("launch.fence", &ProxyMessage::Fence { pairs: pairs.clone() }),
        line(
            "launch.exited",
            &ProxyMessage::Exited {
                rank: Rank(3),
                status: RankStatus::Signaled { signal: 9 },
            },
        ),
        line("launch.fence_done", &LauncherMessage::FenceDone { pairs }),
        line("launch.input", &LauncherMessage::Input { bytes: vec![7] }),
        line("launch.stop", &LauncherMessage::Stop),
    ]
}

fn rows() -> Vec<Line> {
    let task = TaskRow {
        id: task_id(),
        spec: Arc::new(task_spec()),
        state: TaskState::Ended {
            started_at: Some(Timestamp(5)),
            ended_at: Timestamp(9),
            outcome: TaskOutcome::Failed {
                cause: AttemptOutcome::NodeLost {
                    node: NODE,
                    reason: "r".to_owned(),
                },
            },
        },
        requeues: 1,
        retries: 2,
        array: Some(Box::new(ArrayState {
            next: 3,
            rest_canceled_at: Some(Timestamp(9)),
            counts: TaskCounts::default(),
            started_at: Some(Timestamp(5)),
            ended_at: Some(Timestamp(9)),
        })),
        last_attempt: Some(ATTEMPT),
        last_nodes: vec![NODE],
        exit_code: Some(3),
    };
    let node = NodeRow {
        id: NODE,
        name: node_name(),
        pool: pool_name(),
        groups: BTreeSet::from([group_name()]),
        inventory: Some(inventory()),
        slots: 2,
        admin: AdminState::Online,
        liveness: Liveness::Up { since: Timestamp(2) },
        boot: Some(BootId(5)),
        peer: Some(([127, 0, 0, 2], 4000).into()),
        joined_at: Timestamp(1),
        key: Some(KeyHash([7; 32])),
        certificate_ends: Some(Timestamp(50)),
        clock_ahead_ms: Some(-3),
        drain: Deallocation::Terminate,
        start: Some(NodeStart {
            boot: BootId(5),
            state: StartState::Failed { reason: "r".to_owned() },
            wait_for_success: true,
        }),
        errand: Some(NodeErrand {
            kind: NodeErrandKind::Reimage,
            asked_at: Timestamp(6),
            sent: true,
            admin: AdminState::Online,
        }),
        retained_until: Some(Timestamp(70)),
        errand_refused: None,
    };
    let attempt = AttemptRow {
        id: ATTEMPT,
        task: task_id(),
        shares: vec![Share {
            node: NODE,
            slots: 2,
            held: Held::Yes,
        }],
        phase: AttemptPhase::Running {
            started_at: Timestamp(5),
        },
        granted_at: Timestamp(4),
        rerunnable: true,
        sent: false,
        coordinating: BTreeSet::from([NODE]),
        ahead: Some(Ahead::Recalled),
    };
    let token = TokenRow {
        hash: "ab".to_owned(),
        pool: pool_name(),
        groups: vec![group_name()],
        expires_at: Timestamp(99),
        uses_left: 3,
    };
    let submission = SubmissionRow {
        id: SubmissionId(5),
        uid: 1000,
        job: JobId(12),
        first_task: Some(TaskNumber(3)),
    };
    let user = UserRow {
        name: UserName::new("ann").expect("a name"),
        uid: 1000,
        gid: 100,
        role: Role::Operator,
        added_at: Timestamp(1),
        credentials: vec![credential()],
        login: Some(LoginToken {
            hash: "ab".to_owned(),
            expires_at: Timestamp(9),
        }),
    };
    let settings = SettingsRow {
        env: env(),
        parameters: Parameters {
            cancel_grace: Some(Millis(5000)),
            task_retry_count: Some(2),
            backfill_look_ahead: Some(1000),
        },
        limits: UserLimits {
            each: limits(),
            of: [(UserName::new("alice").expect("a name"), limits())].into(),
        },
    };
    vec![
        line("row.user", &Row::User(Box::new(user))),
        line("row.settings", &Row::Settings(Box::new(settings))),
        line("row.meta", &Row::Meta(MetaRow::default())),
        line("row.pool", &Row::Pool(pool_row())),
        line("row.schedule", &Row::Schedule(Box::new(schedule_row()))),
        line("row.chunk", &Row::Chunk(chunk_row())),
        line(
            "row.group",
            &Row::Group(GroupRow {
                name: group_name(),
                created_at: Timestamp(1),
            }),
        ),
        line("row.node", &Row::Node(Box::new(node))),
        line("row.job", &Row::Job(Box::new(job_row()))),
        line("row.task", &Row::Task(Box::new(task))),
        line("row.attempt", &Row::Attempt(attempt)),
        line("row.submission", &Row::Submission(submission)),
        line("row.token", &Row::Token(token)),
    ]
}
