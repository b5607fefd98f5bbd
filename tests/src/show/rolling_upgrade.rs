//! `rolling-upgrade`: head node, agents and spawners are replaced, one after the other, by a release with a newer minor
//! version, and one of them back, while tasks run; all pairings of old and new work together.
//!
//! The newer release is played: the same programs say a higher minor version, add a field to each message, and say a
//! message that the others do not know. A spawner is replaced when its node is drained, because it lives as long as its
//! tasks.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, ensure};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use proto::frame::VERSION;

use super::say;
use crate::cluster::{Cluster, SOON, is_alive};
use crate::wait;

/// Tells a program of a debug build to play it.
const PLAYED: &str = "PLAY_LATER_MUSTER";

/// Elements of the load that must run on a node before it counts as working.
const PROGRESS: usize = 5;

/// As which release a program is started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Release {
    Old,
    New,
}

pub(super) fn run() -> anyhow::Result<()> {
    let rolling = Rolling::start()?;
    rolling.goes_on("both of the old release")?;

    rolling.restart("head", Release::New)?;
    rolling.goes_on("head node new, agents old")?;
    rolling.restart("agent node1", Release::New)?;
    rolling.goes_on("head node and agent of node1 new, its spawner old")?;
    rolling.restart("head", Release::Old)?;
    rolling.goes_on("head node old again, agent of node1 new")?;

    rolling.replace_spawner_of_node2()?;
    rolling.goes_on("spawner of node2 new, its agent and the head node old")?;
    rolling.restart("agent node2", Release::New)?;
    rolling.restart("head", Release::New)?;
    rolling.goes_on("all of node2 and the head node new")?;
    rolling.nothing_was_disturbed()
}

/// A cluster under load: two tasks that run throughout, and a sweep of short ones.
struct Rolling {
    cluster: Cluster,
    trace: PathBuf,
    /// The long tasks, by node.
    long: [u64; 2],
    sweep: u64,
}

/// A daemon that runs.
struct Daemon {
    pid: Pid,
    words: Vec<std::ffi::OsString>,
    program: PathBuf,
}

impl Rolling {
    fn start() -> anyhow::Result<Self> {
        let cluster = Cluster::start(2)?;
        let trace = cluster.state().join("trace");
        fs::create_dir(&trace)?;
        let long = |number: u8| {
            let line = format!(
                "echo $$ >> {0}/started-{number}; while [ ! -e {0}/gate-{number} ]; do sleep 0.05; done; exit {number}",
                trace.display()
            );
            cluster.submit(&[&format!("/requestednodes:node{number}"), "sh", "-c", &line])
        };
        let long = [long(1)?, long(2)?];
        for number in 1..=2 {
            let started = trace.join(format!("started-{number}"));
            wait::until("the long tasks to run", SOON, || Ok(started.exists().then_some(())))?;
        }
        let step = format!("echo * >> {}/runs-$MUSTER_NODE_NAME; sleep 0.03", trace.display());
        let sweep = cluster.submit(&["/parametric:1-100000", "sh", "-c", &step])?;
        Ok(Self {
            cluster,
            trace,
            long,
            sweep,
        })
    }

    fn runs(&self, node: &str) -> Vec<String> {
        let text = fs::read_to_string(self.trace.join(format!("runs-{node}"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Short tasks run on both nodes.
    fn goes_on(&self, pairing: &str) -> anyhow::Result<()> {
        for node in ["node1", "node2"] {
            let before = self.runs(node).len();
            wait::until(&format!("{node} to run tasks with {pairing}"), SOON, || {
                Ok((self.runs(node).len() >= before + PROGRESS).then_some(()))
            })
            .with_context(|| self.cluster.ok("node list").unwrap_or_default())?;
        }
        say(format!("tasks run on both nodes: {pairing}"));
        Ok(())
    }

    /// Ends a daemon and starts it with the same words as that release.
    fn restart(&self, role: &str, release: Release) -> anyhow::Result<()> {
        let address = self.cluster.state().join("head/head.addr");
        let listen = fs::read_to_string(&address).context("the head node's address")?;
        let mut daemon = self.stop(role)?;
        // Where nodes look for it.
        if let Some(at) = daemon.words.iter().position(|word| word == "--listen") {
            daemon.words[at + 1] = listen.into();
        }
        self.launch(role, &daemon, release)?;
        if role == "head" {
            wait::until("the head node to be ready", SOON, || Ok(address.exists().then_some(())))?;
        }
        Ok(())
    }

    fn stop(&self, role: &str) -> anyhow::Result<Daemon> {
        let daemon = self.find(role)?.with_context(|| format!("no {role} runs"))?;
        kill(daemon.pid, Signal::SIGTERM)?;
        wait::until(&format!("{role} to end"), SOON, || {
            Ok((!is_alive(daemon.pid)).then_some(()))
        })?;
        Ok(daemon)
    }

    fn launch(&self, role: &str, daemon: &Daemon, release: Release) -> anyhow::Result<()> {
        let log = self
            .cluster
            .state()
            .join(format!("upgrade-{}.log", role.replace(' ', "-")));
        let log = fs::File::options().create(true).append(true).open(log)?;
        let mut command = Command::new(&daemon.program);
        command
            .args(daemon.words.iter().skip(1))
            .current_dir(self.cluster.state())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .env_remove(PLAYED);
        if release == Release::New {
            command.env(PLAYED, "1");
        }
        // It ends with the cluster.
        drop(command.spawn().with_context(|| format!("starting {role}"))?);
        Ok(())
    }

    /// The daemon of this cluster with that role, from /proc: restarted ones are not in the file of `muster up`.
    fn find(&self, role: &str) -> anyhow::Result<Option<Daemon>> {
        let (kind, node) = role.split_once(' ').unwrap_or((role, ""));
        let folder = match kind {
            "head" => self.cluster.state().join("head"),
            _ => self.cluster.state().join("nodes").join(node),
        };
        for entry in fs::read_dir("/proc")?.flatten() {
            let Some(pid) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<std::ffi::OsString> = line
                .split(|byte| *byte == 0)
                .map(|word| std::ffi::OsStr::from_bytes(word).to_owned())
                .collect();
            let is_kind = match kind {
                "head" => words
                    .first()
                    .is_some_and(|word| word.as_bytes().ends_with(b"muster-headnode")),
                _ => words.get(1).is_some_and(|word| word == kind),
            };
            let pid = Pid::from_raw(pid);
            if is_kind && words.iter().any(|word| word == folder.as_os_str()) && is_alive(pid) {
                let program = fs::read_link(entry.path().join("exe"))?;
                // Behind the last zero byte there is no word.
                let words = words.into_iter().filter(|word| !word.is_empty()).collect();
                return Ok(Some(Daemon { pid, words, program }));
            }
        }
        Ok(None)
    }

    /// As an administrator does it: drain, replace, resume. Its long task ends before; the load goes on elsewhere.
    fn replace_spawner_of_node2(&self) -> anyhow::Result<()> {
        fs::write(self.trace.join("gate-2"), "")?;
        self.ended_once(self.long[1], 2)?;
        self.cluster.ok("node drain node2 --option taskcompletion")?;
        wait::until("node2 to hold nothing", SOON, || {
            let node = self.cluster.json("node view node2")?;
            Ok((node["admin"] == "offline").then_some(()))
        })?;
        let agent = self.stop("agent node2")?;
        let spawner = self.stop("spawner node2")?;
        self.launch("spawner node2", &spawner, Release::New)?;
        let socket = self.cluster.state().join("nodes/node2/spawner.sock");
        wait::until("the new spawner's socket", SOON, || Ok(socket.exists().then_some(())))?;
        self.launch("agent node2", &agent, Release::Old)?;
        self.cluster.ok("node online node2")?;
        say("node2 was drained, its spawner replaced, and the node resumed");
        Ok(())
    }

    fn ended_once(&self, job: u64, code: i32) -> anyhow::Result<()> {
        let waited = self.cluster.run("job", &["wait", &job.to_string()])?;
        ensure!(
            waited.code == 1,
            "job {job} ends with {code}, which is a failure: {waited:?}"
        );
        let view = self.cluster.json(&format!("task view {job}.1"))?;
        let row = view.get("task").unwrap_or(&view);
        ensure!(
            row["exit_code"] == code && row["requeues"] == 0,
            "task {job}.1 ended otherwise than with {code}, or was started twice: {view}"
        );
        Ok(())
    }

    fn nothing_was_disturbed(&self) -> anyhow::Result<()> {
        fs::write(self.trace.join("gate-1"), "")?;
        self.ended_once(self.long[0], 1)?;
        for number in 1..=2 {
            let started = fs::read_to_string(self.trace.join(format!("started-{number}")))?;
            ensure!(
                started.lines().count() == 1,
                "task {number} was started twice: {started}"
            );
        }
        let said = fs::read_to_string(self.cluster.state().join("upgrade-head.log"))?;
        let later = format!("version={}.{}", VERSION.major, VERSION.minor + 1);
        ensure!(
            said.contains(&later),
            "no node said a later version ({later}), so this shows nothing: {said}"
        );
        self.cluster.ok(&format!("job cancel {} --force", self.sweep))?;
        let mut steps: Vec<String> = ["node1", "node2"].iter().flat_map(|node| self.runs(node)).collect();
        let all = steps.len();
        steps.sort_unstable();
        steps.dedup();
        ensure!(steps.len() == all, "{} short tasks ran twice", all - steps.len());
        let counts = self.cluster.json(&format!("job view {}", self.sweep))?["counts"].clone();
        ensure!(counts["failed"] == 0, "short tasks failed: {counts}");
        say(format!(
            "{all} short tasks ran, each once; the task of node1 ran through it all and ended with its own code"
        ));
        Ok(())
    }
}
