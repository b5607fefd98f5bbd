//! mpiexec's shell around the coordinator: sockets, links, signals, time, printing.
//!
//! One loop on one thread owns the coordinator and waits on one closed enum, signals, input and the next deadline. Links
//! have a loop for each stream: what proxies print goes straight to the printer and may hold up that stream, what they
//! decide comes here by another. This loop never waits for a link: what a proxy cannot take in time makes it a lost one.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use proto::frame::VERSION;
use proto::ids::{LaunchId, NodeId, Rank};
use proto::launch::{
    AgentRequest, AllocationView, LauncherMessage, ProxyMessage, RANK_NOTES_VARIABLE, RunOrder, TASK_SOCKET_VARIABLE,
};
use proto::units::Monotonic;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};
use transport::control::{CloseCode, Connection, Listener, Pending, StreamError, StreamReader, StreamWriter};
use transport::identity::{Alpn, ClientCertificate, ServerTls};
use transport::port_range::{self, PortRange};

use crate::args::Launch;
use crate::coordinator::{Action, Coordinator, Input, Outcome};
use crate::hosts::{Peers, TaskSocket, in_words, link_settings};
use crate::input;
use crate::map::{self, Placement};
use crate::output::{Piece, Printer};
use crate::standalone::Alone;

/// How long a proxy may take from its first packet to its hello.
const HELLO_TIMEOUT: Duration = Duration::from_secs(10);

/// How long peers may take to learn that all is over.
const PARTING_TIMEOUT: Duration = Duration::from_secs(1);

/// Messages that may wait for one proxy. Its protocol needs a handful; one that takes none is lost.
const MAX_WAITING_MESSAGES: usize = 64;

/// Events that may wait for the loop.
const MAX_WAITING_EVENTS: usize = 1024;

/// Agents that are asked at the same time.
const MAX_ASKED_AGENTS: usize = 64;

/// The longest hello.
const MAX_HELLO_BYTES: usize = 4096;

/// What mpiexec finds around itself.
#[derive(Debug, Clone)]
pub struct Surroundings {
    /// The task's socket; none outside a cluster, where ranks run on this machine.
    pub socket: Option<PathBuf>,
    /// The working directory, when it has a name that can be sent.
    pub directory: Option<String>,
    /// The environment, as far as it is text.
    pub environment: Vec<(String, String)>,
}

/// Runs a launch to its end, with its output on this process's own streams.
///
/// # Errors
/// When it never came to starting proxies; afterwards the outcome has the cause.
pub async fn run(launch: Launch, surroundings: Surroundings) -> Result<Outcome> {
    let mut signals = Signals::watch()?;
    // Lives as long as the launch.
    let (alone, path) = match &surroundings.socket {
        Some(path) => (None, path.clone()),
        None => {
            let alone = Alone::start()?;
            let path = alone.socket();
            (Some(alone), path)
        }
    };
    let mut socket = TaskSocket::open(&path).await?;
    let view = socket
        .describe()
        .await
        .context("cannot ask for this task's allocation")?;
    let placement = map::place(&view, launch.ranks, launch.per_node)?;
    let identity = socket
        .certify()
        .await
        .context("cannot get a certificate for this launch")?;
    let tls = ServerTls::new(&identity, ClientCertificate::Required, Alpn::Launch)?;
    let bind = |address| Listener::bind(address, &tls, link_settings());
    let listener = port_range::bind(PortRange::of_task()?, view.address, bind)
        .with_context(|| format!("cannot listen on this node's address {}", view.address))?;
    let id = fresh_id().context("the system gives no random bytes")?;
    let request = AgentRequest::StartProxy {
        launch: id,
        rendezvous: listener.local_address()?,
    };
    let (events, mut waiting) = mpsc::channel(MAX_WAITING_EVENTS);
    let calls = tokio::spawn(take_calls(listener.clone(), id, events.clone()));
    start_proxies(
        &placement,
        &view,
        socket,
        &Peers::new(&view, &identity)?,
        &request,
        &events,
    );

    let printer = Printer::start(launch.label)?;
    let order = order(&launch, &placement, surroundings, id);
    let names = placement.nodes.iter().map(|node| node.name.clone()).collect();
    let mut shell = Shell {
        began: Instant::now(),
        coordinator: Coordinator::new(names, order, launch.timeout, Monotonic(0)),
        links: placement.nodes.iter().map(|_| None).collect(),
        placement,
        events,
        pieces: printer.pieces,
        input: InputState::Unasked,
    };
    let outcome = shell.serve(&mut waiting, &mut signals).await;
    drop(shell);
    calls.abort();
    listener.close(CloseCode::Done, "the launch is over");
    // What reads our output may take its time, as with any program; a signal says that nobody wants to wait.
    tokio::select! {
        _ = printer.written => {}
        _ = signals.next() => {}
    }
    listener.wait_idle(PARTING_TIMEOUT).await;
    drop(alone);
    Ok(outcome)
}

/// What wakes the loop, besides signals, input and time.
#[derive(Debug)]
enum Event {
    Called(Box<Call>),
    NoProxy { position: u32, reason: String },
    Said { position: u32, message: ProxyMessage },
    OutputEnded { position: u32 },
    Lost { position: u32, reason: String },
}

/// A proxy that has proved its allocation and said its node.
#[derive(Debug)]
struct Call {
    node: NodeId,
    connection: Connection,
    reader: StreamReader,
    writer: StreamWriter,
}

/// The way to a proxy. Dropping it hangs up.
#[derive(Debug)]
struct Link {
    connection: Connection,
    messages: mpsc::Sender<LauncherMessage>,
    ending: Ending,
}

/// A node is finished when its proxy says so and its output, which has a stream of its own, is at its end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ending {
    Open,
    Said,
    Heard,
}

impl Drop for Link {
    fn drop(&mut self) {
        self.connection.close(CloseCode::Done, "the launch is over");
    }
}

/// Whether standard input is read. It is not touched before rank 0 is there to take it.
#[derive(Debug)]
enum InputState {
    Unasked,
    Offered(mpsc::Receiver<Vec<u8>>),
    Sent(mpsc::Receiver<Vec<u8>>),
    Ended,
}

struct Shell {
    began: Instant,
    coordinator: Coordinator,
    placement: Placement,
    links: Vec<Option<Link>>,
    events: mpsc::Sender<Event>,
    pieces: mpsc::Sender<Piece>,
    input: InputState,
}

impl Shell {
    async fn serve(&mut self, waiting: &mut mpsc::Receiver<Event>, signals: &mut Signals) -> Outcome {
        loop {
            let deadline = self
                .coordinator
                .next_deadline()
                .map(|at| self.began + Duration::from_millis(at.0));
            let input = tokio::select! {
                // The loop holds a sender, so the queue never closes.
                Some(event) = waiting.recv() => self.translate(event),
                signal = signals.next() => Some(Input::Signal { signal }),
                piece = next_piece(&mut self.input) => {
                    self.send_input(piece);
                    None
                }
                () = sleep_until(deadline) => Some(Input::Tick),
            };
            let Some(input) = input else { continue };
            if let Some(outcome) = self.carry_out(input) {
                return outcome;
            }
        }
    }

    /// Gives the coordinator an input and does what it says. Sending may make links lost, which are inputs again.
    fn carry_out(&mut self, input: Input) -> Option<Outcome> {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let now = Monotonic(u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX));
            for action in self.coordinator.handle(input, now) {
                match action {
                    Action::Send { position, message } => inputs.extend(self.send(position, message)),
                    Action::OfferInput => self.offer_input(),
                    Action::End(outcome) => return Some(outcome),
                }
            }
        }
        None
    }

    fn translate(&mut self, event: Event) -> Option<Input> {
        match event {
            Event::Called(call) => self.admit(*call),
            Event::NoProxy { position, reason } => Some(Input::NoProxy { position, reason }),
            Event::Said {
                position,
                message: ProxyMessage::Finished,
            } => self.half_ended(position, Ending::Said),
            Event::OutputEnded { position } => self.half_ended(position, Ending::Heard),
            Event::Said { position, message } => Some(Input::Said { position, message }),
            Event::Lost { position, reason } => {
                if let Some(link) = self.links.get_mut(position as usize) {
                    *link = None;
                }
                Some(Input::Lost { position, reason })
            }
        }
    }

    /// One of the two ends came; with the other one the node is finished.
    fn half_ended(&mut self, position: u32, which: Ending) -> Option<Input> {
        let link = self.links.get_mut(position as usize)?.as_mut()?;
        let before = std::mem::replace(&mut link.ending, which);
        let both = before != Ending::Open && before != which;
        both.then_some(Input::Said {
            position,
            message: ProxyMessage::Finished,
        })
    }

    /// Gives a proxy its place. One that has none, or whose place is taken, is sent away.
    fn admit(&mut self, call: Call) -> Option<Input> {
        let Call {
            node,
            connection,
            reader,
            writer,
        } = call;
        let index = self.placement.nodes.iter().position(|allocated| allocated.node == node);
        let free = index.filter(|index| self.links[*index].is_none());
        let Some((index, position)) = free.and_then(|index| Some((index, u32::try_from(index).ok()?))) else {
            tracing::warn!(%node, "a proxy called that is not awaited");
            connection.close(CloseCode::Refused, "this launch does not await a proxy of this node");
            return None;
        };
        let (messages, to_send) = mpsc::channel(MAX_WAITING_MESSAGES);
        tokio::spawn(speak(position, writer, to_send, self.events.clone()));
        tokio::spawn(hear(position, reader, self.events.clone()));
        tokio::spawn(take_output(
            (position, node),
            connection.clone(),
            self.pieces.clone(),
            self.events.clone(),
        ));
        self.links[index] = Some(Link {
            connection,
            messages,
            ending: Ending::Open,
        });
        Some(Input::Joined { position })
    }

    fn send(&mut self, position: u32, message: LauncherMessage) -> Option<Input> {
        let link = self.links.get(position as usize)?.as_ref()?;
        match link.messages.try_send(message) {
            Ok(()) => None,
            Err(mpsc::error::TrySendError::Full(_)) => {
                let reason = format!("its proxy takes no messages ({MAX_WAITING_MESSAGES} are waiting)");
                Some(Input::Lost { position, reason })
            }
            // The loop that spoke to it has ended and says so itself.
            Err(mpsc::error::TrySendError::Closed(_)) => None,
        }
    }

    fn offer_input(&mut self) {
        self.input = match std::mem::replace(&mut self.input, InputState::Ended) {
            InputState::Unasked => match input::start() {
                Ok(pieces) => InputState::Offered(pieces),
                Err(error) => {
                    tracing::warn!(%error, "standard input is not read");
                    InputState::Ended
                }
            },
            InputState::Sent(pieces) | InputState::Offered(pieces) => InputState::Offered(pieces),
            InputState::Ended => InputState::Ended,
        };
    }

    fn send_input(&mut self, bytes: Vec<u8>) {
        self.input = match std::mem::replace(&mut self.input, InputState::Ended) {
            InputState::Offered(pieces) if !bytes.is_empty() => InputState::Sent(pieces),
            _ => InputState::Ended,
        };
        let position = self.placement.map.node_of(Rank(0)).unwrap_or(0);
        // Input that cannot be sent is lost with its link, which is told elsewhere.
        let _ = self.send(position, LauncherMessage::Input { bytes });
    }
}

async fn next_piece(input: &mut InputState) -> Vec<u8> {
    match input {
        InputState::Offered(pieces) => pieces.recv().await.unwrap_or_default(),
        InputState::Unasked | InputState::Sent(_) | InputState::Ended => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Asks every agent for a proxy: the own one over the socket, the others by QUIC.
fn start_proxies(
    placement: &Placement,
    view: &AllocationView,
    socket: TaskSocket,
    peers: &Peers,
    request: &AgentRequest,
    events: &mpsc::Sender<Event>,
) {
    let asked = Arc::new(Semaphore::new(MAX_ASKED_AGENTS));
    let mut socket = Some(socket);
    for (position, node) in (0u32..).zip(&placement.nodes) {
        let own = if node.node == view.here { socket.take() } else { None };
        let (agent, peers, request) = (node.peer, peers.clone(), request.clone());
        let (asked, events) = (Arc::clone(&asked), events.clone());
        tokio::spawn(async move {
            // The semaphore is never closed.
            let _place = asked.acquire().await;
            let started = match own {
                Some(mut socket) => socket.start_proxy(&request).await,
                None => peers.start_proxy(agent, &request).await,
            };
            if let Err(error) = started {
                // The launch is over when nobody listens.
                let _ = events
                    .send(Event::NoProxy {
                        position,
                        reason: in_words(&error),
                    })
                    .await;
            }
        });
    }
}

/// Takes calls of proxies until the listener closes, each in a loop of its own. Aborting this aborts those.
async fn take_calls(listener: Listener, launch: LaunchId, events: mpsc::Sender<Event>) {
    let mut greetings = JoinSet::new();
    loop {
        tokio::select! {
            pending = listener.accept() => match pending {
                Some(pending) => drop(greetings.spawn(take_call(pending, launch, events.clone()))),
                None => return,
            },
            // Only to forget those that are over.
            Some(_) = greetings.join_next() => {}
        }
    }
}

async fn take_call(pending: Pending, launch: LaunchId, events: mpsc::Sender<Event>) {
    let from = pending.remote_address();
    match timeout(HELLO_TIMEOUT, greet(pending, launch)).await {
        // The launch is over when nobody listens.
        Ok(Ok(call)) => drop(events.send(Event::Called(Box::new(call))).await),
        Ok(Err(error)) => tracing::warn!(%from, "a call was refused: {error:#}"),
        Err(_) => tracing::warn!(%from, "a call did not get as far as its hello in time"),
    }
}

async fn greet(pending: Pending, launch: LaunchId) -> Result<Call> {
    let connection = pending.complete(HELLO_TIMEOUT).await?;
    let (writer, mut reader) = connection.accept_stream().await?;
    reader.set_limit(MAX_HELLO_BYTES);
    let hello = reader.recv::<ProxyMessage>().await?;
    reader.set_limit(proto::frame::MAX_FRAME_BYTES);
    let refused = match hello {
        Some(ProxyMessage::Hello { version, .. }) if !VERSION.accepts(version) => {
            format!("mpiexec speaks version {VERSION}, the proxy {version}")
        }
        Some(ProxyMessage::Hello { launch: other, .. }) if other != launch => "this is another launch".to_owned(),
        Some(ProxyMessage::Hello { node, .. }) => {
            return Ok(Call {
                node,
                connection,
                reader,
                writer,
            });
        }
        _ => "a proxy says hello first".to_owned(),
    };
    connection.close(CloseCode::Refused, &refused);
    anyhow::bail!(refused)
}

/// Sends to one proxy what the loop has for it.
async fn speak(
    position: u32,
    mut writer: StreamWriter,
    mut messages: mpsc::Receiver<LauncherMessage>,
    events: mpsc::Sender<Event>,
) {
    while let Some(message) = messages.recv().await {
        if let Err(error) = writer.send(&message).await {
            // The launch is over when nobody listens.
            let _ = events
                .send(Event::Lost {
                    position,
                    reason: in_words(&error),
                })
                .await;
            return;
        }
    }
}

/// Brings what one proxy says to the loop, to its last word.
async fn hear(position: u32, mut reader: StreamReader, events: mpsc::Sender<Event>) {
    let reason = loop {
        match reader.recv::<ProxyMessage>().await {
            Ok(Some(message)) => {
                let last = message == ProxyMessage::Finished;
                if events.send(Event::Said { position, message }).await.is_err() || last {
                    return;
                }
            }
            Ok(None) => break "its proxy ended without a last word".to_owned(),
            Err(error) => break in_words(&error),
        }
    };
    // The launch is over when nobody listens.
    let _ = events.send(Event::Lost { position, reason }).await;
}

/// Brings the output of one proxy to the printer, to its end.
async fn take_output(
    (position, node): (u32, NodeId),
    connection: Connection,
    pieces: mpsc::Sender<Piece>,
    events: mpsc::Sender<Event>,
) {
    let taken = async {
        let (_, mut reader) = connection.accept_stream().await?;
        while let Some(message) = reader.recv::<ProxyMessage>().await? {
            if let ProxyMessage::Output { rank, stream, bytes } = message
                && pieces
                    .send(Piece {
                        rank,
                        node,
                        stream,
                        bytes,
                    })
                    .await
                    .is_err()
            {
                break;
            }
        }
        Ok::<(), StreamError>(())
    };
    let event = match taken.await {
        Ok(()) => Event::OutputEnded { position },
        Err(error) => Event::Lost {
            position,
            reason: in_words(&error),
        },
    };
    // The launch is over when nobody listens.
    let _ = events.send(event).await;
}

/// The signals that mpiexec hands on.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    hangup: Signal,
}

impl Signals {
    fn watch() -> Result<Self> {
        let watch = |kind| signal(kind).context("signals cannot be watched");
        Ok(Self {
            interrupt: watch(SignalKind::interrupt())?,
            terminate: watch(SignalKind::terminate())?,
            hangup: watch(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> i32 {
        tokio::select! {
            _ = self.interrupt.recv() => SignalKind::interrupt().as_raw_value(),
            _ = self.terminate.recv() => SignalKind::terminate().as_raw_value(),
            _ = self.hangup.recv() => SignalKind::hangup().as_raw_value(),
        }
    }
}

fn order(launch: &Launch, placement: &Placement, surroundings: Surroundings, id: LaunchId) -> RunOrder {
    let alone = surroundings.socket.is_none();
    RunOrder {
        position: 0,
        // Replaced for each node, as the position is.
        node_name: placement.nodes[0].name.clone(),
        map: placement.map.clone(),
        command: launch.command.clone(),
        workdir: launch.workdir.clone(),
        launch_dir: surroundings.directory,
        env: launch
            .env
            .iter()
            .map(|(name, value)| (name.clone(), Some(value.clone())))
            // Outside a cluster the socket is this launch's own, and gone by now.
            .chain([(RANK_NOTES_VARIABLE.to_owned(), None)])
            .chain(alone.then(|| (TASK_SOCKET_VARIABLE.to_owned(), None)))
            .collect(),
        inherited: surroundings.environment,
        affinity: launch.affinity,
        // MPI libraries make names of files in /dev/shm of it, so it is unique on every host, and short.
        kvs_name: format!("muster_{id}"),
    }
}

pub(crate) fn fresh_id() -> std::io::Result<LaunchId> {
    use std::io::Read;
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(LaunchId(u128::from_be_bytes(bytes)))
}
