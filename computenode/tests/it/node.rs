//! A node as a test runs it: an agent process with a folder, and the orders for it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use proto::control::{AllocatedNode, StartOrder};
use proto::ids::{AttemptId, JobId, NodeId, NodeName, TaskId, TaskNumber};
use proto::model::job::Env;
use proto::model::owner::Owner;
use proto::model::role::TaskRole;
use tempfile::TempDir;

use crate::wait::until;

/// An agent and its folder; ended with the test, its spawner too.
pub(crate) struct AgentProcess {
    folder: TempDir,
    number: u8,
    program: PathBuf,
    process: Child,
}

impl AgentProcess {
    pub(crate) fn start(number: u8, head: &str, token: Option<&str>) -> Self {
        Self::start_program(
            PathBuf::from(env!("CARGO_BIN_EXE_muster-computenode")),
            number,
            head,
            token,
        )
    }

    pub(crate) fn start_program(program: PathBuf, number: u8, head: &str, token: Option<&str>) -> Self {
        let folder = tempfile::Builder::new().prefix("mn").tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o711)).expect("sets the mode");
        let process = run(&program, folder.path(), number, head, token);
        Self {
            folder,
            number,
            program,
            process,
        }
    }

    /// Another agent in the same folder, without a token.
    pub(crate) fn again(&mut self, head: &str) {
        self.process.wait().expect("the one before has ended");
        self.process = run(&self.program, self.folder.path(), self.number, head, None);
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    pub(crate) fn kill(&self, signal: Signal) {
        kill(Pid::from_raw(i32::try_from(self.process.id()).expect("fits")), signal).expect("it is there");
    }

    pub(crate) fn exit_code(&mut self) -> Option<i32> {
        until("the agent's end", || self.process.try_wait().expect("can be asked")).code()
    }

    pub(crate) fn spawner_pid(&self) -> Option<i32> {
        std::fs::read_to_string(self.path("spawner.pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }
}

fn run(program: &std::path::Path, folder: &std::path::Path, number: u8, head: &str, token: Option<&str>) -> Child {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(folder.join("log"))
        .expect("a log");
    let mut command = Command::new(program);
    command.arg("agent").arg("--dir").arg(folder).args(["--head", head]);
    command.args([
        "--name",
        &format!("node{number}"),
        "--address",
        &address(number).to_string(),
    ]);
    if let Some(token) = token {
        command.args(["--token", token]);
    }
    command
        .stdin(Stdio::null())
        .stderr(log)
        .spawn()
        .expect("the agent starts")
}

impl Drop for AgentProcess {
    fn drop(&mut self) {
        // It may have ended.
        let _ = self.process.kill();
        self.process.wait().expect("it ends");
        if let Some(pid) = self.spawner_pid() {
            // It may not have been started, or have ended.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
            until("the spawner's end", || (!crate::wait::alive(pid)).then_some(()));
        }
        if std::thread::panicking() {
            eprintln!("{}", self.log());
            eprintln!(
                "{}",
                std::fs::read_to_string(self.path("spawner.log")).unwrap_or_default()
            );
        }
    }
}

pub(crate) fn address(number: u8) -> IpAddr {
    IpAddr::V4(Ipv4Addr::new(127, 0, 0, 1 + number))
}

/// Whoever runs the test.
pub(crate) fn myself() -> Owner {
    let user = User::from_uid(geteuid())
        .expect("accounts can be read")
        .expect("the tester has a name");
    Owner {
        name: user.name,
        uid: user.uid.as_raw(),
        gid: user.gid.as_raw(),
    }
}

/// Attempt `attempt` of task 12.1: a shell script on node 1, and on others.
pub(crate) fn script(attempt: u64, text: &str) -> StartOrder {
    StartOrder {
        attempt: AttemptId(attempt),
        task: TaskId::new(JobId(12), TaskNumber(1)),
        job_name: "job".to_owned(),
        task_name: String::new(),
        requeues: 0,
        owner: myself(),
        nodes: vec![share(1, SocketAddr::new(address(1), 1))],
        command: ["sh", "-c", text].map(str::to_owned).to_vec(),
        workdir: None,
        stdout: None,
        stderr: None,
        stdin: None,
        script: None,
        interactive: None,
        env: Env::new(),
        runtime_limit: None,
        exclusive: false,
        rerunnable: true,
        role: TaskRole::Task,
        coordination: None,
        common_files: Vec::new(),
        retention: None,
        pool: None,
        prepared_by: None,
        single: false,
        ahead: false,
        authority: None,
    }
}

pub(crate) fn share(number: u8, peer: SocketAddr) -> AllocatedNode {
    let name = NodeName::new(&format!("node{number}")).expect("a name");
    AllocatedNode {
        node: NodeId(u32::from(number)),
        name,
        slots: 1,
        peer,
    }
}
