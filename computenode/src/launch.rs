//! Launches inside allocations: the socket of each task, and the port where other nodes ask for proxies.
//!
//! To open a task's socket (0600, the task's user) is the right to launch in its allocation. There a fresh key gets a
//! certificate of the allocation's own authority, which all nodes of the allocation make from the seed that the head
//! node sent; with it a program may ask the other nodes' agents for one thing, a proxy under the same attempt. What
//! runs as a proxy, and as whom, is the agent's choice, never the asker's.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Context;
use proto::control::AllocationAuthority;
use proto::frame::VERSION;
use proto::ids::{AttemptId, LaunchId, NodeId};
use proto::launch::{AgentReply, AgentRequest, AllocationView};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinHandle;
use transport::control::{FrameReader, FrameWriter, Listener, Pending, Settings, split_socket};
use transport::identity::{Authority, DynamicTrust, Identity, IdentityError, KeyPair, RequestDer, ServerTls, Subject};
use transport::wall;

use crate::directory::NodeDirectory;
use crate::kept::Kept;
use crate::workdir::give_to;

/// How long a certificate of an allocation is good; it is asked for anew at each launch.
const CERTIFICATE_LIFETIME: Duration = Duration::from_secs(30 * 86_400);

/// Connections to one task's socket at once, and to all of them; more wait.
const MAX_TASK_CONNECTIONS: usize = 8;
const MAX_LOCAL_CONNECTIONS: usize = 256;

/// Connections of other nodes at once; more are refused.
const MAX_PEERS: usize = 1024;

/// Requests are small.
const MAX_REQUEST_BYTES: usize = 64 * 1024;

/// How long a peer may take for its handshake, and how long one on another node may say nothing.
const HANDSHAKE_DEADLINE: Duration = Duration::from_secs(10);
const PEER_IDLE_DEADLINE: Duration = Duration::from_secs(60);

/// How long a program on a task's socket may say nothing: shorter than mpiexec waits for an answer, so that one that is
/// in the queue gets its turn.
const LOCAL_IDLE_DEADLINE: Duration = Duration::from_secs(10);

/// How long an asker may take to read its answer.
const ANSWER_DEADLINE: Duration = Duration::from_secs(10);

/// How long the start of a proxy may take.
const START_DEADLINE: Duration = Duration::from_secs(60);

/// Somebody in an allocation wants a proxy on this node.
#[derive(Debug)]
pub(crate) struct ProxyWanted {
    pub(crate) attempt: AttemptId,
    pub(crate) launch: LaunchId,
    pub(crate) rendezvous: SocketAddr,
    /// Nothing when it runs, else why not.
    pub(crate) reply: oneshot::Sender<Option<String>>,
}

/// The allocations that are served.
#[derive(Debug)]
pub(crate) struct Launches<W> {
    directory: NodeDirectory,
    node: NodeId,
    address: IpAddr,
    trust: DynamicTrust,
    key: KeyPair,
    open: BTreeMap<AttemptId, JoinHandle<()>>,
    /// For connections to all sockets.
    places: Arc<Semaphore>,
    wakes: mpsc::Sender<W>,
}

/// One allocation, as the tasks that serve it see it.
#[derive(Debug)]
struct Allocation {
    view: AllocationView,
    seed: AllocationAuthority,
    /// Made when it is first asked for: most tasks never launch anything.
    authority: OnceLock<Authority>,
}

impl Allocation {
    fn authority(&self) -> Result<&Authority, IdentityError> {
        if let Some(made) = self.authority.get() {
            return Ok(made);
        }
        let made = Authority::of_allocation(&self.seed.seed, self.view.attempt, wall::now())?;
        Ok(self.authority.get_or_init(|| made))
    }

    fn certify(&self, request: &RequestDer<'_>) -> Result<(Vec<u8>, Vec<u8>), IdentityError> {
        let authority = self.authority()?;
        let subject = Subject::Allocation(self.view.attempt);
        let certificate = authority.issue(request, &subject, wall::now(), CERTIFICATE_LIFETIME)?;
        Ok((certificate.to_vec(), authority.certificate().to_vec()))
    }
}

impl<W: From<ProxyWanted> + Send + 'static> Launches<W> {
    /// Serves nothing yet, and listens for peers. Returns where.
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub(crate) fn listen(
        directory: NodeDirectory,
        node: NodeId,
        (address, port): (IpAddr, Option<u16>),
        wakes: mpsc::Sender<W>,
    ) -> anyhow::Result<(Self, SocketAddr)> {
        let trust = DynamicTrust::new();
        let settings = Settings {
            max_connections: MAX_PEERS,
            ..Settings::default()
        };
        let tls = ServerTls::launch(&trust)?;
        let listener = match port {
            Some(port) => bind_at(SocketAddr::new(address, port), &tls, settings)?,
            None => bind_as_before(&directory, address, &tls, settings)?,
        };
        let peer = listener.local_address()?;
        remove_old_sockets(&directory);
        tokio::spawn(serve_peers(listener, wakes.clone()));
        let launches = Self {
            directory,
            node,
            address,
            trust,
            key: KeyPair::generate()?,
            open: BTreeMap::new(),
            places: Arc::new(Semaphore::new(MAX_LOCAL_CONNECTIONS)),
            wakes,
        };
        Ok((launches, peer))
    }

    /// Serves an allocation from now on; one that is served already stays.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub(crate) fn open(&mut self, kept: &Kept) -> anyhow::Result<()> {
        let attempt = kept.attempt();
        let (Some(seed), false) = (&kept.order.authority, self.open.contains_key(&attempt)) else {
            return Ok(());
        };
        let view = AllocationView {
            attempt,
            task: kept.order.task,
            nodes: kept.order.nodes.clone(),
            here: self.node,
            address: self.address,
        };
        let allocation = Arc::new(Allocation {
            view,
            seed: seed.clone(),
            authority: OnceLock::new(),
        });
        if kept.order.nodes.len() > 1 {
            self.trust_peers(&allocation)?;
        }
        let listener = self.make_socket(kept).inspect_err(|_| {
            self.trust.remove(attempt);
        })?;
        let serving = serve_socket(listener, allocation, Arc::clone(&self.places), self.wakes.clone());
        self.open.insert(attempt, tokio::spawn(serving));
        Ok(())
    }

    fn make_socket(&self, kept: &Kept) -> anyhow::Result<UnixListener> {
        let path = self.directory.task_socket(kept.attempt());
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        // The daemon's umask keeps others out until the mode is set.
        let listener = UnixListener::bind(&path)
            .with_context(|| format!("the task's socket {} cannot be made", path.display()))?;
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600))?;
        give_to(&path, &kept.order.owner)?;
        Ok(listener)
    }

    fn trust_peers(&self, allocation: &Allocation) -> anyhow::Result<()> {
        let request = self.key.certificate_request()?;
        let (certificate, authority) = allocation.certify(&request)?;
        let identity = Identity::new(self.key.clone(), certificate.into(), authority.into())?;
        Ok(self.trust.add(allocation.view.attempt, &identity)?)
    }

    /// Serves an allocation no longer.
    pub(crate) fn close(&mut self, attempt: AttemptId) {
        if let Some(serving) = self.open.remove(&attempt) {
            serving.abort();
            self.trust.remove(attempt);
            // It may have been removed by hand.
            let _ = std::fs::remove_file(self.directory.task_socket(attempt));
        }
    }
}

/// Listens for peers where the administrator said; firewalls count on that, so there is no other place.
fn bind_at(place: SocketAddr, tls: &ServerTls, settings: Settings) -> anyhow::Result<Listener> {
    let listener = Listener::bind(place, tls, settings);
    listener.with_context(|| {
        format!(
            "cannot listen for other nodes on {place}: free that UDP port, or set another --peer-port (peer_port in \
             node.toml); is --address one of this machine's?"
        )
    })
}

/// Listens for peers where the agent before did: the head node and other nodes know allocations by that address.
fn bind_as_before(
    directory: &NodeDirectory,
    address: IpAddr,
    tls: &ServerTls,
    settings: Settings,
) -> anyhow::Result<Listener> {
    let file = directory.peer_port();
    let before = std::fs::read_to_string(&file).ok();
    let port = before.as_deref().and_then(|text| text.trim().parse().ok()).unwrap_or(0);
    let bind = |port| Listener::bind(SocketAddr::new(address, port), tls, settings);
    let listener = bind(port).or_else(|error| {
        tracing::warn!(port, "the port for peers is another one from now on: {error}");
        bind(0)
    });
    let listener =
        listener.with_context(|| format!("cannot listen on {address}; is --address one of this machine's?"))?;
    let bound = listener.local_address()?.port();
    if bound != port
        && let Err(error) = std::fs::write(&file, format!("{bound}\n"))
    {
        tracing::warn!("the port for peers is not remembered in {}: {error}", file.display());
    }
    Ok(listener)
}

/// Sockets of an agent that was killed; those that are still wanted are made again.
fn remove_old_sockets(directory: &NodeDirectory) {
    for entry in std::fs::read_dir(directory.launch()).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "sock") {
            // One that stays is replaced when its attempt opens.
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

async fn serve_socket<W: From<ProxyWanted> + Send + 'static>(
    listener: UnixListener,
    allocation: Arc<Allocation>,
    all: Arc<Semaphore>,
    wakes: mpsc::Sender<W>,
) {
    let own = Arc::new(Semaphore::new(MAX_TASK_CONNECTIONS));
    // Dropped with this task, and with it all connections of the allocation.
    let mut connections = tokio::task::JoinSet::new();
    loop {
        let Ok(own_place) = Arc::clone(&own).acquire_owned().await else {
            return;
        };
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::warn!(attempt = %allocation.view.attempt, "a connection to the task's socket failed: {error}");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        // After the connection came: a place that waited for one would be lost to the other tasks.
        let Ok(place) = Arc::clone(&all).acquire_owned().await else {
            return;
        };
        while connections.try_join_next().is_some() {}
        let (allocation, wakes) = (Arc::clone(&allocation), wakes.clone());
        connections.spawn(async move {
            let (mut to, mut from) = split_socket(stream);
            let attempt = allocation.view.attempt;
            let ended = converse(&mut to, &mut from, attempt, Some(&allocation), &wakes).await;
            if let Err(error) = ended {
                tracing::debug!(%attempt, "a conversation on the task's socket ended: {error:#}");
            }
            drop((own_place, place));
        });
    }
}

async fn serve_peers<W: From<ProxyWanted> + Send + 'static>(listener: Listener, wakes: mpsc::Sender<W>) {
    while let Some(pending) = listener.accept().await {
        let wakes = wakes.clone();
        tokio::spawn(async move {
            let remote = pending.remote_address();
            if let Err(error) = serve_peer(pending, &wakes).await {
                tracing::debug!(%remote, "a peer's connection ended: {error:#}");
            }
        });
    }
}

async fn serve_peer<W: From<ProxyWanted>>(pending: Pending, wakes: &mpsc::Sender<W>) -> anyhow::Result<()> {
    let connection = pending.complete(HANDSHAKE_DEADLINE).await?;
    let Some(Subject::Allocation(attempt)) = connection.subject().cloned() else {
        anyhow::bail!("a peer without a certificate of an allocation");
    };
    loop {
        let (mut to, mut from) = connection.accept_stream().await?;
        converse(&mut to, &mut from, attempt, None, wakes).await?;
    }
}

/// Answers one conversation. Without `here` the asker is on another node and may only have proxies started.
async fn converse<R, T, W>(
    to: &mut FrameWriter<T>,
    from: &mut FrameReader<R>,
    attempt: AttemptId,
    here: Option<&Allocation>,
    wakes: &mpsc::Sender<W>,
) -> anyhow::Result<()>
where
    R: AsyncRead + Unpin,
    T: AsyncWrite + Unpin,
    W: From<ProxyWanted>,
{
    from.set_limit(MAX_REQUEST_BYTES);
    let idle = here.map_or(PEER_IDLE_DEADLINE, |_| LOCAL_IDLE_DEADLINE);
    loop {
        let next = tokio::time::timeout(idle, from.recv::<AgentRequest>()).await;
        let request = next.context("nothing was said for long")??;
        let Some(request) = request else { break };
        let reply = match (request, here) {
            (AgentRequest::StartProxy { launch, rendezvous }, _) => {
                start_proxy(attempt, launch, rendezvous, wakes).await
            }
            (AgentRequest::Describe { version }, Some(_)) if !VERSION.accepts(version) => refused(format!(
                "this node speaks version {VERSION}, the program {version}: use the mpiexec in PATH"
            )),
            (AgentRequest::Describe { .. }, Some(here)) => AgentReply::Allocation(Box::new(here.view.clone())),
            (AgentRequest::Certify { request }, Some(here)) => match here.certify(&RequestDer::from(request)) {
                Ok((certificate, authority)) => AgentReply::Certified { certificate, authority },
                Err(error) => refused(error.to_string()),
            },
            (AgentRequest::Describe { .. } | AgentRequest::Certify { .. }, None) => {
                refused("from another node only proxies can be asked for".to_owned())
            }
            (AgentRequest::Unknown, _) => refused("this node does not know that request; it is older".to_owned()),
        };
        let sent = tokio::time::timeout(ANSWER_DEADLINE, to.send(&reply)).await;
        sent.context("the answer was not read")??;
    }
    to.finish().await?;
    Ok(())
}

async fn start_proxy<W: From<ProxyWanted>>(
    attempt: AttemptId,
    launch: LaunchId,
    rendezvous: SocketAddr,
    wakes: &mpsc::Sender<W>,
) -> AgentReply {
    let (reply, answer) = oneshot::channel();
    let wanted = ProxyWanted {
        attempt,
        launch,
        rendezvous,
        reply,
    };
    if wakes.send(wanted.into()).await.is_err() {
        return refused("the agent is ending".to_owned());
    }
    match tokio::time::timeout(START_DEADLINE, answer).await {
        Ok(Ok(None)) => AgentReply::ProxyStarted,
        Ok(Ok(Some(reason))) => refused(reason),
        Ok(Err(_)) => refused("the agent lost its spawner".to_owned()),
        Err(_) => refused(format!("the proxy did not start within {START_DEADLINE:?}")),
    }
}

const fn refused(reason: String) -> AgentReply {
    AgentReply::Refused { reason }
}
