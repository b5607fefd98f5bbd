//! The spawner alone, driven over its socket as an agent would.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use computenode::spawner::clock::BootTime;
use computenode::spawner::message::{ExitRecord, FromSpawner, KeptState, Output, Role, SpawnOrder, ToSpawner};
use proto::frame;
use proto::ids::{AttemptId, BootId, LaunchId};
use proto::model::task::AttemptOutcome;
use proto::units::Millis;
use tempfile::TempDir;

use crate::wait::{DEADLINE, alive, pid_in, until};

/// A spawner in a folder of its own; ended with the test.
struct Spawner {
    folder: TempDir,
    process: Child,
}

impl Spawner {
    fn start() -> Self {
        let folder = tempfile::Builder::new().prefix("ms").tempdir().expect("a folder");
        let process = run(folder.path(), "log".as_ref());
        Self { folder, process }
    }

    /// One whose log takes no byte, as on a full disk.
    fn start_on_a_full_disk() -> Self {
        let folder = tempfile::Builder::new().prefix("ms").tempdir().expect("a folder");
        let process = run(folder.path(), "/dev/full".as_ref());
        Self { folder, process }
    }

    fn again(&mut self) {
        self.process.wait().expect("the one before has ended");
        self.process = run(self.folder.path(), "log".as_ref());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn agent(&self) -> Agent {
        Agent::connect(&self.path("spawner.sock"))
    }

    fn kill(&self) {
        signal(self.process.id(), nix::sys::signal::Signal::SIGKILL);
    }
}

/// The log is a path below the folder, or an absolute one.
fn run(folder: &Path, log: &Path) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join(log))
        .expect("a log");
    Command::new(env!("CARGO_BIN_EXE_muster-computenode"))
        .args(["spawner", "--dir"])
        .arg(folder)
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the spawner starts")
}

fn signal(pid: u32, signal: nix::sys::signal::Signal) {
    let pid = nix::unistd::Pid::from_raw(i32::try_from(pid).expect("fits"));
    nix::sys::signal::kill(pid, signal).expect("it is there");
}

impl Drop for Spawner {
    fn drop(&mut self) {
        if self.process.try_wait().expect("can be asked").is_none() {
            signal(self.process.id(), nix::sys::signal::Signal::SIGTERM);
            self.process.wait().expect("it ends");
        }
        if std::thread::panicking() {
            eprintln!("{}", std::fs::read_to_string(self.path("log")).unwrap_or_default());
        }
    }
}

struct Agent {
    stream: UnixStream,
    buffer: Vec<u8>,
    boot: BootId,
    held: Vec<(AttemptId, Vec<u8>, KeptState)>,
}

impl Agent {
    fn connect(socket: &Path) -> Self {
        let stream = until("the spawner's socket", || UnixStream::connect(socket).ok());
        stream.set_read_timeout(Some(DEADLINE)).expect("can be set");
        let mut agent = Self {
            stream,
            buffer: Vec::new(),
            boot: BootId(0),
            held: Vec::new(),
        };
        agent.send(&ToSpawner::Hello {
            version: frame::VERSION,
        });
        let FromSpawner::Welcome { boot, .. } = agent.next() else {
            panic!("no welcome")
        };
        agent.boot = boot;
        loop {
            match agent.next() {
                FromSpawner::Held {
                    attempt, kept, state, ..
                } => agent.held.push((attempt, kept, state)),
                FromSpawner::HeldAll => return agent,
                other => panic!("{other:?}"),
            }
        }
    }

    fn send(&mut self, message: &ToSpawner) {
        let mut bytes = Vec::new();
        frame::encode(message, &mut bytes).expect("encodes");
        self.stream.write_all(&bytes).expect("the spawner reads");
    }

    fn next(&mut self) -> FromSpawner {
        loop {
            if let Some((start, end)) = frame::split(&self.buffer).expect("a frame") {
                let message = frame::decode(&self.buffer[start..end]).expect("a message");
                self.buffer.drain(..end);
                return message;
            }
            let mut bytes = [0; 4096];
            let count = self.stream.read(&mut bytes).expect("the spawner answers in time");
            assert!(count > 0, "the spawner is gone");
            self.buffer.extend_from_slice(&bytes[..count]);
        }
    }

    fn hold(&mut self, attempt: u64, rerunnable: bool) {
        let kept = format!("kept {attempt}").into_bytes();
        self.send(&ToSpawner::Hold {
            attempt: AttemptId(attempt),
            kept,
            rerunnable,
            kill_grace: Millis(100),
        });
    }

    /// Holds and starts a shell script.
    fn start(&mut self, order: SpawnOrder) {
        self.hold(order.attempt.0, true);
        self.send(&order.into_message());
    }

    fn started(&mut self) {
        assert!(matches!(self.next(), FromSpawner::Started { .. }));
    }

    fn ended(&mut self) -> ExitRecord {
        match self.next() {
            FromSpawner::Ended(record) => record,
            other => panic!("{other:?}"),
        }
    }

    fn outcome(&mut self) -> AttemptOutcome {
        self.ended().outcome
    }
}

fn script(spawner: &Spawner, attempt: u64, text: &str) -> SpawnOrder {
    SpawnOrder {
        attempt: AttemptId(attempt),
        role: Role::Root,
        command: ["sh", "-c", text].map(str::to_owned).to_vec(),
        program: None,
        env: vec![("PATH".to_owned(), "/usr/bin:/bin".to_owned())],
        workdirs: vec![spawner.folder.path().to_str().expect("text").to_owned()],
        own_workdir: false,
        stdin: None,
        stdout: Output::Append {
            path: format!("out{attempt}"),
        },
        stderr: Output::Stdout,
        credentials: None,
        runtime_limit: None,
        new_privileges: false,
        single: false,
        ahead: false,
        cores: Vec::new(),
    }
}

#[test]
fn exit_codes_and_signals_are_told_and_recorded() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.start(script(&spawner, 1, "echo hi; exit 3"));
    agent.started();
    let record = agent.ended();
    assert_eq!(record.outcome, AttemptOutcome::Exited { code: 3 });
    assert!(record.started_at.is_some_and(|at| at <= record.ended_at));
    assert_eq!(
        std::fs::read_to_string(spawner.path("out1")).expect("an output"),
        "hi\n"
    );
    assert!(spawner.path("records/1").exists());

    agent.start(script(&spawner, 2, "kill -SEGV $$"));
    agent.started();
    assert_eq!(agent.outcome(), AttemptOutcome::Signaled { signal: 11 });
    // A real-time one, which has no name.
    agent.start(script(&spawner, 3, "kill -40 $$"));
    agent.started();
    assert_eq!(agent.outcome(), AttemptOutcome::Signaled { signal: 40 });

    agent.send(&ToSpawner::Forget { attempt: AttemptId(1) });
    until("the record's end", || {
        (!spawner.path("records/1").exists()).then_some(())
    });
    assert!(spawner.path("records/2").exists());
}

#[test]
fn a_log_on_a_full_disk_stops_nothing() {
    let spawner = Spawner::start_on_a_full_disk();
    let mut agent = spawner.agent();
    // The end of the second one, whose record cannot be written either, is logged with the keeper's lock held.
    std::fs::create_dir_all(spawner.path("records/2")).expect("in the way of a record");
    for attempt in [1, 2, 3] {
        agent.start(script(&spawner, attempt, "exit 4"));
        agent.started();
        assert_eq!(agent.outcome(), AttemptOutcome::Exited { code: 4 });
    }
}

#[test]
fn what_cannot_start_says_why() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.start(SpawnOrder {
        command: vec!["foo".to_owned()],
        ..script(&spawner, 1, "")
    });
    let reason = "no program 'foo' in PATH (/usr/bin:/bin)".to_owned();
    assert_eq!(agent.outcome(), AttemptOutcome::NotStarted { reason });
}

#[test]
fn many_short_tasks_all_come_back_once() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    let count = 300;
    for attempt in 1..=count {
        agent.start(SpawnOrder {
            command: vec!["true".to_owned()],
            stdout: Output::Null,
            ..script(&spawner, attempt, "")
        });
    }
    let (mut started, mut ended) = (Vec::new(), Vec::new());
    while ended.len() < usize::try_from(count).expect("fits") {
        match agent.next() {
            FromSpawner::Started { attempt, .. } => started.push(attempt),
            FromSpawner::Ended(record) => {
                assert_eq!(record.outcome, AttemptOutcome::Exited { code: 0 });
                assert!(started.contains(&record.attempt), "started is told first");
                ended.push(record.attempt);
            }
            other => panic!("{other:?}"),
        }
    }
    ended.sort_unstable();
    ended.dedup();
    assert_eq!(ended.len(), started.len());
}

#[test]
fn daemons_left_behind_are_killed_before_the_end_is_told() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    // Twice forked into sessions of their own; the second also drops its environment and with it the mark.
    let text = "setsid sh -c 'sleep 1000 & echo $! > marked' & \
                env -i /usr/bin/setsid /bin/sh -c 'sleep 1000 & echo $! > unmarked' & \
                while ! test -s marked || ! test -s unmarked; do sleep 0.01; done; exit 5";
    agent.start(script(&spawner, 1, text));
    agent.started();
    assert_eq!(agent.outcome(), AttemptOutcome::Exited { code: 5 });
    assert!(!alive(pid_in(&spawner.path("marked"))));
    assert!(!alive(pid_in(&spawner.path("unmarked"))));
}

#[test]
fn one_attempts_end_leaves_another_attempts_processes_alone() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.start(script(
        &spawner,
        1,
        "setsid sh -c 'sleep 1000 & echo $! > other' ; sleep 1000",
    ));
    agent.started();
    let other = pid_in(&spawner.path("other"));
    agent.start(script(&spawner, 2, "setsid sleep 1000 & echo $! > mine; exit 0"));
    agent.started();
    assert_eq!(agent.outcome(), AttemptOutcome::Exited { code: 0 });
    assert!(!alive(pid_in(&spawner.path("mine"))));
    assert!(alive(other));
}

#[test]
fn a_stop_asks_first_and_waits_for_the_whole_tree() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    // The shell ends at once; the program below it takes a moment to save its work.
    let text =
        "sh -c 'trap \"sleep 0.2; echo saved; exit\" TERM; echo ready > ready; while :; do sleep 0.01; done' & wait";
    agent.start(script(&spawner, 1, text));
    agent.started();
    until("the program", || spawner.path("ready").exists().then_some(()));
    agent.send(&ToSpawner::Stop {
        attempt: AttemptId(1),
        grace: Millis(20_000),
    });
    assert_eq!(agent.outcome(), AttemptOutcome::Stopped);
    // The shell also tells of its own sleep that was ended.
    assert!(
        std::fs::read_to_string(spawner.path("out1"))
            .expect("an output")
            .ends_with("saved\n")
    );
}

#[test]
fn who_does_not_listen_is_killed_after_the_grace() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.start(script(
        &spawner,
        1,
        "trap '' TERM; echo $$ > pid; while :; do sleep 1000; done",
    ));
    agent.started();
    let pid = pid_in(&spawner.path("pid"));
    agent.send(&ToSpawner::Stop {
        attempt: AttemptId(1),
        grace: Millis(50),
    });
    assert_eq!(agent.outcome(), AttemptOutcome::Stopped);
    assert!(!alive(pid));
}

#[test]
fn a_run_time_limit_ends_the_attempt() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    let limit = Millis(100);
    agent.start(SpawnOrder {
        runtime_limit: Some(limit),
        ..script(&spawner, 1, "sleep 1000")
    });
    agent.started();
    assert_eq!(agent.outcome(), AttemptOutcome::TimedOut { limit });
}

#[test]
fn the_lease_ends_what_may_be_started_elsewhere_and_nothing_else() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.hold(1, false);
    agent.send(&script(&spawner, 1, "echo $$ > kept; exec sleep 1000").into_message());
    agent.started();
    agent.start(script(&spawner, 2, "exec sleep 1000"));
    agent.started();
    // A share of a gang has proxies and no program of its own.
    agent.hold(3, true);
    let proxy = SpawnOrder {
        role: Role::Proxy { launch: LaunchId(1) },
        ..script(&spawner, 3, "echo $$ > proxy; exec sleep 1000")
    };
    agent.send(&proxy.clone().into_message());
    assert!(matches!(agent.next(), FromSpawner::Proxy { refused: None, .. }));
    let proxy_pid = pid_in(&spawner.path("proxy"));

    agent.send(&ToSpawner::Lease {
        until: BootTime::now() + Millis(50),
    });
    assert_eq!(agent.outcome(), AttemptOutcome::Fenced);
    assert!(alive(pid_in(&spawner.path("kept"))));
    until("the end of the proxy", || (!alive(proxy_pid)).then_some(()));
    agent.send(&proxy.into_message());
    assert!(matches!(agent.next(), FromSpawner::Proxy { refused: Some(_), .. }));
}

#[test]
fn release_kills_and_answers_known_or_not() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.start(script(
        &spawner,
        1,
        "trap '' TERM; echo $$ > pid; while :; do sleep 1000; done",
    ));
    agent.started();
    let pid = pid_in(&spawner.path("pid"));
    agent.send(&ToSpawner::Release { attempt: AttemptId(1) });
    assert_eq!(agent.next(), FromSpawner::Released { attempt: AttemptId(1) });
    assert!(!alive(pid));
    agent.send(&ToSpawner::Release { attempt: AttemptId(77) });
    assert_eq!(agent.next(), FromSpawner::Released { attempt: AttemptId(77) });
    assert!(!spawner.path("records/1").exists());
}

#[test]
fn a_new_agent_gets_everything_that_the_old_one_missed() {
    let spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.start(script(&spawner, 1, "exec sleep 1000"));
    agent.start(script(&spawner, 2, "while ! test -e go; do sleep 0.01; done; exit 9"));
    agent.started();
    agent.started();
    agent.hold(3, true);
    drop(agent);
    std::fs::write(spawner.path("go"), "").expect("writes");
    until("the record", || spawner.path("records/2").exists().then_some(()));

    let mut agent = spawner.agent();
    let held: Vec<_> = agent
        .held
        .iter()
        .map(|(attempt, kept, _)| (attempt.0, String::from_utf8_lossy(kept).into_owned()))
        .collect();
    assert_eq!(
        held,
        [(1, "kept 1".to_owned()), (2, String::new()), (3, "kept 3".to_owned())]
    );
    assert!(matches!(agent.held[0].2, KeptState::Running { .. }));
    assert!(
        matches!(&agent.held[1].2, KeptState::Ended(record) if record.outcome == AttemptOutcome::Exited { code: 9 })
    );
    assert_eq!(agent.held[2].2, KeptState::Waiting);
    // A repeated start changes nothing.
    agent.send(&script(&spawner, 1, "exit 1").into_message());
    agent.send(&ToSpawner::Stop {
        attempt: AttemptId(1),
        grace: Millis(0),
    });
    assert_eq!(agent.outcome(), AttemptOutcome::Stopped);
}

#[test]
fn a_new_spawner_kills_what_the_old_one_left_and_keeps_its_records() {
    let mut spawner = Spawner::start();
    let mut agent = spawner.agent();
    let first = agent.boot;
    agent.start(script(&spawner, 1, "exit 4"));
    agent.started();
    agent.ended();
    agent.start(script(
        &spawner,
        2,
        "setsid sleep 1000 & echo $! > left; exec sleep 1000",
    ));
    agent.started();
    let left = pid_in(&spawner.path("left"));
    spawner.kill();
    spawner.again();

    let agent = spawner.agent();
    assert_ne!(agent.boot, first);
    assert!(!alive(left));
    let [(AttemptId(1), _, KeptState::Ended(record))] = &agent.held[..] else {
        panic!("{:?}", agent.held)
    };
    assert_eq!(
        (record.outcome.clone(), record.boot),
        (AttemptOutcome::Exited { code: 4 }, first)
    );
}

#[test]
fn one_node_has_one_spawner() {
    let spawner = Spawner::start();
    drop(spawner.agent());
    let mut second = run(spawner.folder.path(), "log".as_ref());
    assert_eq!(second.wait().expect("it ends").code(), Some(1));
    let log = std::fs::read_to_string(spawner.path("log")).expect("a log");
    assert!(log.contains("runs already"), "{log}");
}

#[test]
fn sigterm_ends_the_tasks_and_then_the_spawner() {
    let mut spawner = Spawner::start();
    let mut agent = spawner.agent();
    agent.start(script(
        &spawner,
        1,
        "trap 'echo asked > asked; exit' TERM; echo $$ > pid; while :; do sleep 0.01; done",
    ));
    agent.started();
    let pid = pid_in(&spawner.path("pid"));
    signal(spawner.process.id(), nix::sys::signal::Signal::SIGTERM);
    assert_eq!(spawner.process.wait().expect("it ends").code(), Some(0));
    assert!(!alive(pid));
    assert!(spawner.path("asked").exists());
    assert!(!spawner.path("spawner.sock").exists());
}
