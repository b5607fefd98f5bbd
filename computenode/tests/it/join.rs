//! The line that an administrator pastes on a host, and what belongs to it.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;
use transport::identity::{Fingerprint, JoinToken};

use crate::head::{Head, Node};
use crate::wait::{alive, until};

/// A host's folder; whatever was started there ends with the test.
struct Host {
    folder: TempDir,
}

impl Host {
    fn new() -> Self {
        let folder = tempfile::Builder::new().prefix("mj").tempdir().expect("a folder");
        Self { folder }
    }

    fn dir(&self) -> std::path::PathBuf {
        self.folder.path().join("node")
    }

    fn command(&self, role: &str, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_muster-computenode"));
        command.arg(role).arg("--dir").arg(self.dir()).args(args);
        command.stdin(Stdio::null()).env_remove("MUSTER_LOG");
        command
    }

    async fn run(&self, role: &str, args: &[&str]) -> Said {
        let mut command = self.command(role, args);
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .expect("runs");
        Said::of(output.expect("starts"))
    }

    fn pid(&self, name: &str) -> Option<i32> {
        std::fs::read_to_string(self.dir().join(name)).ok()?.trim().parse().ok()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        if self.dir().join("node.toml").exists() {
            let left = self.command("leave", &[]).output().expect("starts");
            if std::thread::panicking() {
                eprintln!("{}", String::from_utf8_lossy(&left.stderr));
            }
        }
    }
}

#[derive(Debug)]
struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Said {
    fn of(output: Output) -> Self {
        Self {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).expect("text"),
            err: String::from_utf8(output.stderr).expect("text"),
        }
    }
}

fn arguments<'a>(head: &'a str, token: &'a str) -> Vec<&'a str> {
    let fixed = [
        "--name",
        "host7",
        "--address",
        "127.0.0.7",
        "--cores",
        "3",
        "--no-service",
    ];
    let mut all = vec!["--head", head, "--token", token];
    all.extend(fixed);
    all
}

/// Types the line on the host while the head node lets it in.
async fn take_in(head: &mut Head, host: &Host, args: &[&str]) -> (Said, Node) {
    let taking_in = async {
        head.join().await;
        head.node().await
    };
    tokio::join!(host.run("join", args), taking_in)
}

#[tokio::test]
async fn one_line_makes_a_host_a_node_and_one_takes_it_out_again() {
    let (mut head, host) = (Head::patient(), Host::new());
    let (address, token) = (head.address(), head.token());
    let args = arguments(&address, &token);
    let (said, node) = take_in(&mut head, &host, &args).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!((node.hello.name.as_str(), node.hello.inventory.cores), ("host7", 3));
    assert!(node.hello.inventory.sockets >= 1);
    for part in [
        "host7: 3 cores on",
        "cluster 'test' as node 1, pool local, no groups",
        "WARNING: the clock here is 1h 0m ahead of",
        "--no-service was given",
        "the head node has taken this node in",
        "Node 'host7' is in the cluster.",
    ] {
        assert!(said.out.contains(part), "{part}: {}", said.out);
    }
    let (agent, spawner) = (host.pid("agent.pid"), host.pid("spawner.pid"));

    let status = host.run("status", &[]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    assert!(
        status.out.contains("connected") && status.out.contains("ends in 23h"),
        "{}",
        status.out
    );

    let again = host.run("join", &args).await;
    assert_eq!(again.code, Some(0), "{again:?}");
    assert!(again.out.contains("already, as 'host7'"), "{}", again.out);
    assert_eq!(host.pid("agent.pid"), agent, "it runs on");

    let foreign = JoinToken::generate(Fingerprint::of(b"another"))
        .expect("a token")
        .to_string();
    let refused = host.run("join", &arguments(&address, &foreign)).await;
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("muster-computenode leave --dir"),
        "{}",
        refused.err
    );

    let left = host.run("leave", &[]).await;
    assert_eq!(left.code, Some(0), "{left:?}");
    assert!(left.out.contains("muster node remove host7"), "{}", left.out);
    assert!(!host.dir().exists());
    for pid in [agent, spawner] {
        assert!(!alive(pid.expect("it ran")));
    }
    assert_eq!(host.run("status", &[]).await.code, Some(1));
}

#[tokio::test]
async fn a_host_that_joined_starts_what_is_missing_without_a_token() {
    let (mut head, host) = (Head::patient(), Host::new());
    let (address, token) = (head.address(), head.token());
    let args = arguments(&address, &token);
    let (said, node) = take_in(&mut head, &host, &args).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let agent = host.pid("agent.pid").expect("it runs");
    kill(Pid::from_raw(agent), Signal::SIGKILL).expect("is there");
    until("its end", || (!alive(agent)).then_some(()));
    drop(node);

    let args = ["--head", &address, "--no-service"];
    let (said, node) = tokio::join!(host.run("join", &args), head.node());
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(node.hello.name.as_str(), "host7", "its settings are those of before");
}

#[tokio::test]
async fn an_agent_of_a_unit_waits_for_the_spawner_of_the_other_unit() {
    let (mut head, host) = (Head::patient(), Host::new());
    let (address, token) = (head.address(), head.token());
    let args = arguments(&address, &token);
    let (said, node) = take_in(&mut head, &host, &args).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    drop(node);
    for name in ["agent.pid", "spawner.pid"] {
        let pid = host.pid(name).expect("it runs");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("is there");
        until("its end", || (!alive(pid)).then_some(()));
    }

    let quiet = |mut command: Command| command.stderr(Stdio::null()).spawn().expect("starts");
    let mut agent = quiet(host.command("agent", &["--await-spawner"]));
    let own = Some(i32::try_from(agent.id()).expect("fits"));
    until("the agent", || (host.pid("agent.pid") == own).then_some(()));
    assert!(!host.dir().join("spawner.sock").exists());
    let mut spawner = quiet(host.command("spawner", &[]));
    let _node = head.node().await;
    assert_eq!(
        host.pid("spawner.pid"),
        Some(i32::try_from(spawner.id()).expect("fits"))
    );
    for child in [&mut agent, &mut spawner] {
        let pid = i32::try_from(child.id()).expect("fits");
        kill(Pid::from_raw(pid), Signal::SIGTERM).expect("is there");
        assert_eq!(child.wait().expect("ends").code(), Some(0));
    }
}

#[tokio::test]
async fn a_removed_host_joins_again_with_a_new_line() {
    let (mut head, host) = (Head::patient(), Host::new());
    let (address, token) = (head.address(), head.token());
    let args = arguments(&address, &token);
    let (said, mut node) = take_in(&mut head, &host, &args).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    let agent = host.pid("agent.pid").expect("it runs");
    node.remove("removed by root").await;
    until("the agent's end", || (!alive(agent)).then_some(()));
    let status = host.run("status", &[]).await;
    assert_eq!(status.code, Some(1), "{status:?}");
    assert!(status.out.contains("removed by root"), "{}", status.out);

    let (said, _node) = take_in(&mut head, &host, &args).await;
    assert_eq!(said.code, Some(0), "{said:?}");
    assert!(said.out.contains("as node 2"), "{}", said.out);
}

#[tokio::test]
async fn what_cannot_be_is_said_and_leaves_nothing_behind() {
    let (mut head, host) = (Head::patient(), Host::new());
    let (address, token) = (head.address(), head.token());
    let used_up = format!(
        "{}.{}",
        "muster-join-1.00000000000000000000000000000000",
        &token[token.len() - 64..]
    );
    let args = arguments(&address, &used_up);
    let (refused, ()) = tokio::join!(host.run("join", &args), head.join());
    assert_eq!(refused.code, Some(1), "{refused:?}");
    assert!(
        refused.err.contains("node 'host7' cannot join") && refused.err.contains("used up"),
        "{}",
        refused.err
    );
    assert!(!host.dir().exists());

    let wrong = host.run("join", &arguments(&address, "nonsense")).await;
    assert_eq!(wrong.code, Some(2), "{wrong:?}");
    assert!(wrong.err.contains("muster node join-command"), "{}", wrong.err);

    let none = host.run("join", &["--head", &address, "--no-service"]).await;
    assert_eq!(none.code, Some(1), "{none:?}");
    assert!(none.err.contains("a join token is needed"), "{}", none.err);

    assert_eq!(host.run("leave", &[]).await.code, Some(1));
    assert!(!Path::new(&host.dir()).exists());
}
