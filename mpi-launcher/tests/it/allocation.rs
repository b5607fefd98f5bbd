//! An allocation without a cluster: agents as threads of the test, each with a task socket and a peer port of its own,
//! that start proxies as real processes. What they speak is the real protocol, with an authority of its own.

use std::net::Ipv4Addr;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime};

use proto::control::AllocatedNode;
use proto::ids::{AttemptId, JobId, NodeId, NodeName, TaskId, TaskNumber};
use proto::launch::{
    AgentReply, AgentRequest, AllocationView, LAUNCH_VARIABLE, NODE_ADDRESS_VARIABLE, NODE_NAME_VARIABLE,
    RENDEZVOUS_VARIABLE, TASK_SOCKET_VARIABLE,
};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::oneshot;
use transport::control::{FrameReader, FrameWriter, Listener, Settings, split_socket};
use transport::identity::{Authority, DynamicTrust, Identity, KeyPair, RequestDer, ServerTls, Subject};

/// The program under test.
pub(crate) const MPIEXEC: &str = env!("CARGO_BIN_EXE_muster-mpiexec");

/// How long any launch of these tests may take before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

const ATTEMPT: AttemptId = AttemptId(7);

/// What differs between tests.
#[derive(Debug, Clone)]
pub(crate) struct Shape {
    /// Cores of each node.
    pub(crate) slots: Vec<u32>,
    /// A node, counted from 1, whose agent starts nothing.
    pub(crate) refusing: Option<u32>,
    /// More variables for every proxy.
    pub(crate) proxy_env: Vec<(&'static str, &'static str)>,
}

/// Agents that run while this lives.
pub(crate) struct Allocation {
    folder: tempfile::TempDir,
    nodes: usize,
    proxies: Proxies,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// The proxies that were started: node and process.
type Proxies = Arc<Mutex<Vec<(u32, u32)>>>;

impl Allocation {
    /// Nodes `n1`, `n2` ... with so many cores.
    pub(crate) fn of(slots: &[u32]) -> Self {
        Self::shaped(Shape {
            slots: slots.to_vec(),
            refusing: None,
            proxy_env: vec![],
        })
    }

    pub(crate) fn shaped(shape: Shape) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let (stop, stopped) = oneshot::channel();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let (path, proxies, nodes) = (folder.path().to_owned(), Proxies::default(), shape.slots.len());
        let started = Arc::clone(&proxies);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            runtime.block_on(async {
                serve(&path, &shape, &started);
                ready.send(()).expect("the test waits");
                // The test is over when its end of this is dropped.
                let _ = stopped.await;
            });
        });
        is_ready.recv_timeout(PATIENCE).expect("agents listen");
        Self {
            folder,
            nodes,
            proxies,
            stop: Some(stop),
            thread: Some(thread),
        }
    }

    /// mpiexec as the primary node's task would start it.
    pub(crate) fn mpiexec(&self, words: &[&str]) -> Command {
        let mut command = Command::new(MPIEXEC);
        command
            .args(words)
            .current_dir(self.folder.path())
            .env(TASK_SOCKET_VARIABLE, socket(self.folder.path(), 1))
            .stdin(Stdio::null());
        command
    }

    /// Runs it to its end.
    pub(crate) fn run(&self, words: &[&str]) -> Ended {
        finish(&mut self.mpiexec(words))
    }

    /// A folder that is mpiexec's working directory and that of the ranks.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The process of the proxy on a node, once there is one.
    pub(crate) fn proxy_on(&self, node: u32) -> u32 {
        wait_for("a proxy", || {
            let proxies = self.proxies.lock().expect("no test panicked with it");
            proxies.iter().find(|(n, _)| *n == node).map(|(_, process)| *process)
        })
    }

    /// The processes that ranks named in files `pid.*` of the folder, once there are so many.
    pub(crate) fn rank_processes(&self, count: usize) -> Vec<u32> {
        wait_for("the ranks' processes", || {
            let entries = std::fs::read_dir(self.folder.path()).expect("the folder");
            let names = entries.filter_map(|entry| Some(entry.ok()?.path()));
            let pids = names.filter(|path| path.file_stem().is_some_and(|stem| stem == "pid"));
            let pids: Vec<u32> = pids
                .filter_map(|path| std::fs::read_to_string(path).ok()?.trim().parse().ok())
                .collect();
            (pids.len() == count).then_some(pids)
        })
    }
}

impl Drop for Allocation {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("the agents of {} nodes panicked", self.nodes);
        }
    }
}

/// How a launch ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Ended {
    /// Lines of standard output in an order of their own.
    pub(crate) fn sorted_lines(&self) -> Vec<&str> {
        let mut lines: Vec<&str> = self.stdout.lines().collect();
        lines.sort_unstable();
        lines
    }
}

/// Runs a command to its end, killed when it hangs.
pub(crate) fn finish(command: &mut Command) -> Ended {
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    ended(child)
}

/// Waits for a started command, killed when it hangs.
pub(crate) fn ended(child: Child) -> Ended {
    let process = child.id();
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let watch = std::thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            kill(process, "KILL");
        }
    });
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    drop(done);
    watch.join().expect("the watch ends");
    let code = status
        .code()
        .or_else(|| status.signal().map(|signal| -signal))
        .expect("a status");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("text");
    Ended {
        code,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// Sends a signal by its short name.
pub(crate) fn kill(process: u32, signal: &str) {
    let status = Command::new("kill")
        .args(["-s", signal, &process.to_string()])
        .status()
        .expect("kill runs");
    assert!(status.success(), "kill -s {signal} {process}");
}

/// Waits until none of the processes runs.
pub(crate) fn wait_until_gone(processes: &[u32]) {
    wait_for("the ranks' end", || {
        let gone = |process: &u32| {
            let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
            status.is_empty() || status.contains("State:\tZ")
        };
        processes.iter().all(gone).then_some(())
    });
}

/// Asks again and again until there is an answer.
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < deadline, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn socket(folder: &Path, node: u32) -> PathBuf {
    folder.join(format!("n{node}.socket"))
}

/// One node's agent.
#[derive(Clone)]
struct Agent {
    view: AllocationView,
    authority: Authority,
    folder: PathBuf,
    shape: Shape,
    proxies: Proxies,
}

fn serve(folder: &Path, shape: &Shape, proxies: &Proxies) {
    let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
    let authority = Authority::create("allocation", now, day).expect("an authority");
    let mut listeners = Vec::new();
    let mut nodes = Vec::new();
    for (number, slots) in (1u32..).zip(&shape.slots) {
        let trust = DynamicTrust::new();
        let key = KeyPair::generate().expect("a key");
        let request = key.certificate_request().expect("a request");
        let certificate = authority
            .issue(&request, &Subject::Allocation(ATTEMPT), now, day)
            .expect("issues");
        let identity = Identity::new(key, certificate, authority.certificate().clone()).expect("an identity");
        trust.add(ATTEMPT, &identity).expect("serves");
        let tls = ServerTls::launch(&trust).expect("settings");
        let listener = Listener::bind((address(number), 0).into(), &tls, Settings::default()).expect("listens");
        nodes.push(AllocatedNode {
            node: NodeId(100 + number),
            name: NodeName::new(&format!("n{number}")).expect("a name"),
            slots: *slots,
            peer: listener.local_address().expect("an address"),
        });
        listeners.push((number, listener));
    }
    for (number, listener) in listeners {
        let view = AllocationView {
            attempt: ATTEMPT,
            task: TaskId::new(JobId(1), TaskNumber(1)),
            nodes: nodes.clone(),
            here: NodeId(100 + number),
            address: address(number).into(),
        };
        let (folder, shape, proxies) = (folder.to_owned(), shape.clone(), Arc::clone(proxies));
        let agent = Agent {
            view,
            authority: authority.clone(),
            folder,
            shape,
            proxies,
        };
        let unix = UnixListener::bind(socket(&agent.folder, number)).expect("a socket");
        tokio::spawn(agent.clone().serve_socket(number, unix));
        tokio::spawn(agent.serve_peers(number, listener));
    }
}

fn address(number: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::LOCALHOST) + number)
}

impl Agent {
    async fn serve_socket(self, number: u32, listener: UnixListener) {
        while let Ok((stream, _)) = listener.accept().await {
            let (writer, reader) = split_socket(stream);
            tokio::spawn(self.clone().converse(number, writer, reader));
        }
    }

    async fn serve_peers(self, number: u32, listener: Listener) {
        while let Some(pending) = listener.accept().await {
            let connection = pending.complete(PATIENCE).await.expect("a peer of the allocation");
            assert_eq!(connection.subject(), Some(&Subject::Allocation(ATTEMPT)));
            let agent = self.clone();
            tokio::spawn(async move {
                let (writer, reader) = connection.accept_stream().await.expect("a stream");
                agent.converse(number, writer, reader).await;
                connection.closed().await;
            });
        }
    }

    async fn converse<W, R>(self, number: u32, mut writer: FrameWriter<W>, mut reader: FrameReader<R>)
    where
        W: AsyncWrite + Unpin,
        R: AsyncRead + Unpin,
    {
        // A program that was killed leaves in the middle of whatever it says.
        while let Ok(Some(request)) = reader.recv::<AgentRequest>().await {
            let reply = self.answer(number, request);
            if writer.send(&reply).await.is_err() {
                return;
            }
        }
    }

    fn answer(&self, number: u32, request: AgentRequest) -> AgentReply {
        match request {
            AgentRequest::Describe { .. } => AgentReply::Allocation(Box::new(self.view.clone())),
            AgentRequest::Certify { request } => {
                let (now, day) = (SystemTime::now(), Duration::from_secs(86_400));
                let subject = Subject::Allocation(ATTEMPT);
                let certificate = self
                    .authority
                    .issue(&RequestDer::from(request), &subject, now, day)
                    .expect("a good request");
                AgentReply::Certified {
                    certificate: certificate.to_vec(),
                    authority: self.authority.certificate().to_vec(),
                }
            }
            AgentRequest::StartProxy { .. } if self.shape.refusing == Some(number) => AgentReply::Refused {
                reason: "this attempt is being released".to_owned(),
            },
            AgentRequest::StartProxy { launch, rendezvous } => {
                let mut proxy = tokio::process::Command::new(MPIEXEC);
                proxy
                    .arg("proxy")
                    .current_dir(&self.folder)
                    .env(TASK_SOCKET_VARIABLE, socket(&self.folder, number))
                    .env(LAUNCH_VARIABLE, launch.to_string())
                    .env(RENDEZVOUS_VARIABLE, rendezvous.to_string())
                    .env(NODE_NAME_VARIABLE, format!("n{number}"))
                    .env(NODE_ADDRESS_VARIABLE, address(number).to_string())
                    .envs(self.shape.proxy_env.iter().copied())
                    .stdin(Stdio::null())
                    .kill_on_drop(true);
                let mut child = proxy.spawn().expect("a proxy");
                let process = child.id().expect("it runs");
                self.proxies
                    .lock()
                    .expect("no test panicked with it")
                    .push((number, process));
                tokio::spawn(async move { child.wait().await });
                AgentReply::ProxyStarted
            }
            AgentRequest::Unknown => panic!("mpiexec asked for something unknown"),
        }
    }
}
