//! The life of the ranks on one node, from the order to start them to the last byte of their output.
//!
//! One loop owns the PMI server and the processes. It never waits for a reader: what it says goes to a queue that its own
//! ranks bound (each has one request under way and one end), and output has a queue of its own that may fill and then
//! holds up the ranks, not this loop. So a stop works while mpiexec's output is blocked.

use std::collections::BTreeMap;
use std::process::ExitStatus;
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use pmi::pmi1::parse::ParseError;
use pmi::pmi1::server::{Facts, Output, Server};
use proto::ids::Rank;
use proto::launch::{LauncherMessage, OutputStream, ProxyMessage, RankStatus, RunOrder};
use tokio::net::UnixStream;
use tokio::process::Child;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::pmi_server::{MAX_WAITING_REPLIES, converse};
use super::ranks::{self, Environment, StartedRank};
use super::stdio;
use crate::pairs::{MAX_FENCE_BYTES, from_wire, to_wire, wire_bytes};

/// Between SIGTERM and SIGKILL when ranks are stopped.
const STOP_GRACE: Duration = Duration::from_secs(1);

/// How long output may go on after the last rank ended, when a descendant still holds the stream.
const OUTPUT_GRACE: Duration = Duration::from_secs(1);

/// What wakes the session.
#[derive(Debug)]
pub(crate) enum Event {
    /// mpiexec said something.
    Launcher(LauncherMessage),
    /// The link to mpiexec is gone, or this process was told to end.
    Unlinked,
    /// A rank sent a line of PMI.
    PmiLine {
        /// Which.
        rank: Rank,
        /// Without its newline.
        line: String,
    },
    /// A rank sent what is no line.
    PmiBroken {
        /// Which.
        rank: Rank,
        /// What is wrong with it.
        error: Box<ParseError>,
    },
    /// A rank's conversation is over.
    PmiClosed {
        /// Which.
        rank: Rank,
    },
    /// A rank's process ended.
    Exited {
        /// Which.
        rank: Rank,
        /// How.
        status: RankStatus,
    },
    /// A rank's output is at its end.
    OutputEnded {
        /// Which.
        rank: Rank,
    },
    /// Rank 0 took a piece of input.
    InputTaken,
}

/// Where the session's words go.
#[derive(Debug, Clone)]
pub(crate) struct Outlet {
    /// Everything but output. Unbounded as a queue and bounded by protocol: one fence, one input answer, and per rank one
    /// end and one fault may be under way.
    pub(crate) control: mpsc::UnboundedSender<ProxyMessage>,
    /// Output. It ends when all senders are gone.
    pub(crate) output: mpsc::Sender<ProxyMessage>,
}

impl Outlet {
    /// The last word. mpiexec believes it when the output is at its end, too.
    pub(crate) fn finish(self) {
        // Without a link there is nobody to tell.
        let _ = self.control.send(ProxyMessage::Finished);
    }
}

/// How far a rank is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Life {
    Running,
    Ended(RankStatus),
}

#[derive(Debug)]
struct RankState {
    group: Pid,
    life: Life,
    /// Streams of output that are not at their end; while there are, somebody of its group lives.
    open_streams: u8,
    /// The way to its PMI socket; none when its process ended or its conversation is over.
    replies: Option<mpsc::Sender<String>>,
    conversation: Conversation,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Conversation {
    Open,
    Closed,
    /// It asked for the end of the launch, which is told once.
    Aborted,
    /// The server says that it left early. Told when its exit code is 0; any other code says more.
    LeftEarly,
}

/// Ends of a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stop {
    No,
    Terminated { kill_at: Instant },
    Killed,
}

/// Runs the ranks of one order. Returns when all have ended and their output was handed to the outlet.
pub(crate) async fn run(
    order: RunOrder,
    own: &Environment,
    outlet: Outlet,
    sender: mpsc::Sender<Event>,
    mut events: mpsc::Receiver<Event>,
) {
    let (cut, cut_seen) = watch::channel(false);
    let mut session = Session::new(&order, outlet);
    let (started, failed) = ranks::start(&order, own);
    let all_run = failed.is_none();
    for rank in started {
        session.adopt(rank, &sender, &cut_seen);
    }
    session.say(match failed {
        None => ProxyMessage::Started,
        Some(failed) => ProxyMessage::NotStarted {
            rank: failed.rank,
            problem: failed.problem,
            reason: failed.reason,
        },
    });
    let mut drain_until = None;
    // Without all its ranks a session waits for the stop that mpiexec sends, so that every node hears of one cause.
    while !(session.is_quiet() && (all_run || session.stop != Stop::No)) {
        let kill_at = match session.stop {
            Stop::Terminated { kill_at } => Some(kill_at),
            Stop::No | Stop::Killed => None,
        };
        if drain_until.is_none() && session.all_ended() {
            drain_until = Some(Instant::now() + OUTPUT_GRACE);
        }
        tokio::select! {
            // `sender` lives as long as this loop, so the queue never closes.
            Some(event) = events.recv() => session.take(event),
            () = sleep_until(kill_at) => session.kill(),
            () = sleep_until(drain_until.filter(|_| !*cut.borrow())) => {
                session.kill_leftovers();
                // The receivers live as long as the streams; without them there is nothing to cut.
                let _ = cut.send(true);
            }
        }
    }
    session.finish().await;
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

struct Session {
    server: Server,
    ranks: BTreeMap<Rank, RankState>,
    input: Option<mpsc::Sender<Vec<u8>>>,
    loops: Vec<JoinHandle<()>>,
    outlet: Outlet,
    stop: Stop,
}

impl Session {
    fn new(order: &RunOrder, outlet: Outlet) -> Self {
        let facts = Facts {
            kvsname: order.kvs_name.clone(),
            universe_size: Some(order.map.size()),
        };
        let server = Server::new(facts, &order.map, order.position);
        Self {
            server,
            ranks: BTreeMap::new(),
            input: None,
            loops: Vec::new(),
            outlet,
            stop: Stop::No,
        }
    }

    /// Takes a started rank in: from here on its end, its lines and its output are events.
    fn adopt(&mut self, started: StartedRank, events: &mpsc::Sender<Event>, cut: &watch::Receiver<bool>) {
        let StartedRank {
            rank,
            group,
            mut child,
            pmi,
        } = started;
        let (replies, waiting) = mpsc::channel(MAX_WAITING_REPLIES);
        let mut state = RankState {
            group,
            life: Life::Running,
            open_streams: 0,
            replies: Some(replies),
            conversation: Conversation::Open,
        };
        match UnixStream::from_std(pmi) {
            Ok(stream) => self
                .loops
                .push(tokio::spawn(converse(rank, stream, waiting, events.clone()))),
            Err(error) => {
                (state.replies, state.conversation) = (None, Conversation::Closed);
                self.say(ProxyMessage::Fault {
                    rank,
                    reason: format!("cannot be heard: {error}"),
                });
            }
        }
        if let Some(stdout) = child.stdout.take() {
            state.open_streams += 1;
            self.forward(stdout, rank, OutputStream::Stdout, events, cut);
        }
        if let Some(stderr) = child.stderr.take() {
            state.open_streams += 1;
            self.forward(stderr, rank, OutputStream::Stderr, events, cut);
        }
        if rank == Rank(0) {
            let (input, pieces) = mpsc::channel(1);
            self.input = Some(input);
            // Not among the awaited loops: a rank may end without having read its input.
            tokio::spawn(stdio::feed(child.stdin.take(), pieces, events.clone()));
        }
        self.loops.push(tokio::spawn(reap(rank, child, events.clone())));
        self.ranks.insert(rank, state);
    }

    fn forward<R>(
        &mut self,
        stream: R,
        rank: Rank,
        which: OutputStream,
        events: &mpsc::Sender<Event>,
        cut: &watch::Receiver<bool>,
    ) where
        R: tokio::io::AsyncRead + Unpin + Send + 'static,
    {
        let (output, events, cut) = (self.outlet.output.clone(), events.clone(), cut.clone());
        self.loops.push(tokio::spawn(async move {
            stdio::forward(stream, rank, which, output, cut).await;
            // The session is over when nobody listens.
            let _ = events.send(Event::OutputEnded { rank }).await;
        }));
    }

    fn take(&mut self, event: Event) {
        match event {
            Event::Launcher(message) => self.obey(message),
            Event::Unlinked => self.end_all(),
            Event::PmiLine { rank, line } => {
                let outputs = self.server.handle_line(rank, &line);
                self.carry_out(outputs);
            }
            Event::PmiBroken { rank, error } => {
                let outputs = self.server.handle_broken_stream(rank, *error);
                self.carry_out(outputs);
            }
            Event::PmiClosed { rank } => {
                if let Some(state) = self.ranks.get_mut(&rank) {
                    state.replies = None;
                    state.conversation = Conversation::Closed;
                }
                let outputs = self.server.handle_gone(rank);
                self.carry_out(outputs);
            }
            Event::Exited { rank, status } => self.exited(rank, status),
            Event::OutputEnded { rank } => {
                if let Some(state) = self.ranks.get_mut(&rank) {
                    state.open_streams = state.open_streams.saturating_sub(1);
                }
            }
            Event::InputTaken => self.say(ProxyMessage::InputTaken),
        }
    }

    fn obey(&mut self, message: LauncherMessage) {
        match message {
            LauncherMessage::FenceDone { pairs } => {
                let outputs = self.server.handle_fence_out(from_wire(pairs));
                self.carry_out(outputs);
            }
            LauncherMessage::Input { bytes } => {
                // One piece is under way at a time, so there is room; a session without rank 0 drops it.
                let taken = self.input.as_ref().is_some_and(|input| input.try_send(bytes).is_ok());
                if !taken {
                    self.say(ProxyMessage::InputTaken);
                }
            }
            LauncherMessage::Signal { signal } => match Signal::try_from(signal) {
                Ok(Signal::SIGKILL) => self.kill(),
                Ok(signal) => self.signal(signal),
                Err(_) => tracing::warn!(signal, "mpiexec asked for a signal that this system does not have"),
            },
            LauncherMessage::Stop => self.end_all(),
            LauncherMessage::Run(_) | LauncherMessage::Unknown => {
                tracing::warn!("mpiexec sent a message that means nothing here; skipped");
            }
        }
    }

    fn carry_out(&mut self, outputs: Vec<Output>) {
        for output in outputs {
            match output {
                Output::Reply { rank, line } => self.reply(rank, line),
                Output::FenceIn { pairs } => self.fence(to_wire(pairs)),
                Output::Abort { rank, code } => {
                    // The rank waits on its socket to be ended; were that closed, MPICH would complain of it.
                    let Some(state) = self.ranks.get_mut(&rank) else {
                        continue;
                    };
                    if state.conversation != Conversation::Open {
                        continue;
                    }
                    state.conversation = Conversation::Aborted;
                    self.say(ProxyMessage::Abort {
                        rank,
                        code: i32::from(code),
                    });
                }
                Output::Left { rank } => self.left(rank),
                Output::Broken { rank, violation } => {
                    self.fault(rank, format!("broke the PMI protocol: {violation}"));
                }
            }
        }
    }

    fn reply(&mut self, rank: Rank, line: String) {
        let Some(replies) = self.ranks.get(&rank).and_then(|state| state.replies.as_ref()) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = replies.try_send(line) {
            self.fault(
                rank,
                "broke the PMI protocol: it asks on without reading the answers".to_owned(),
            );
        }
    }

    fn fence(&mut self, pairs: Vec<proto::launch::KeyValue>) {
        if wire_bytes(&pairs) > MAX_FENCE_BYTES {
            let rank = self.ranks.keys().next().copied().unwrap_or(Rank(0));
            self.fault(
                rank,
                format!("and its neighbours published more than {MAX_FENCE_BYTES} bytes in one barrier"),
            );
            return;
        }
        self.say(ProxyMessage::Fence { pairs });
    }

    /// A rank that left early is a fault only when it ended with 0: any other end is told as what it is.
    fn left(&mut self, rank: Rank) {
        let Some(state) = self.ranks.get_mut(&rank) else { return };
        match state.life {
            Life::Running => state.conversation = Conversation::LeftEarly,
            Life::Ended(RankStatus::Exited { code: 0 }) => self.told_left(rank),
            Life::Ended(_) => {}
        }
    }

    fn told_left(&mut self, rank: Rank) {
        self.fault(
            rank,
            "ended before MPI_Finalize, or without MPI while others wait for it in a barrier".to_owned(),
        );
    }

    fn fault(&mut self, rank: Rank, reason: String) {
        self.hang_up(rank);
        self.say(ProxyMessage::Fault { rank, reason });
    }

    /// The conversation is over: the rank can neither flood us nor be answered.
    fn hang_up(&mut self, rank: Rank) {
        if let Some(state) = self.ranks.get_mut(&rank) {
            state.replies = None;
        }
    }

    fn exited(&mut self, rank: Rank, status: RankStatus) {
        let Some(state) = self.ranks.get_mut(&rank) else { return };
        state.life = Life::Ended(status);
        // A descendant may hold the socket; the conversation ends with the process.
        state.replies = None;
        if state.conversation == Conversation::LeftEarly && status == (RankStatus::Exited { code: 0 }) {
            self.told_left(rank);
        }
        self.say(ProxyMessage::Exited { rank, status });
    }

    fn say(&self, message: ProxyMessage) {
        // Without a link there is nobody to tell; the link's end is an event of its own.
        let _ = self.outlet.control.send(message);
    }

    fn end_all(&mut self) {
        if self.stop == Stop::No {
            self.stop = Stop::Terminated {
                kill_at: Instant::now() + STOP_GRACE,
            };
            self.signal(Signal::SIGTERM);
            // A stopped process would take SIGTERM only after the kill.
            self.signal(Signal::SIGCONT);
        }
    }

    fn kill(&mut self) {
        self.stop = Stop::Killed;
        self.signal(Signal::SIGKILL);
    }

    /// To the group of every rank of which somebody lives.
    fn signal(&self, signal: Signal) {
        for (rank, state) in self
            .ranks
            .iter()
            .filter(|(_, state)| state.life == Life::Running || state.open_streams > 0)
        {
            if let Err(error) = killpg(state.group, signal) {
                // It ended in this moment; its end is on its way here.
                tracing::debug!(%rank, %error, %signal, "no such process group");
            }
        }
    }

    fn kill_leftovers(&self) {
        self.signal(Signal::SIGKILL);
    }

    fn all_ended(&self) -> bool {
        self.ranks.values().all(|state| state.life != Life::Running)
    }

    /// Every rank ended, its output is at its end, and its conversation was heard to the end.
    fn is_quiet(&self) -> bool {
        self.ranks.values().all(|state| {
            state.life != Life::Running && state.open_streams == 0 && state.conversation != Conversation::Open
        })
    }

    async fn finish(self) {
        for running in self.loops {
            if let Err(error) = running.await {
                tracing::error!(%error, "a loop of the session failed");
            }
        }
        self.outlet.finish();
    }
}

/// Waits for the end of one rank.
async fn reap(rank: Rank, mut child: Child, events: mpsc::Sender<Event>) {
    let status = match child.wait().await {
        Ok(status) => rank_status(status),
        Err(error) => {
            tracing::error!(%rank, %error, "the end of a rank cannot be read");
            RankStatus::Exited {
                code: i32::from(crate::exit::LAUNCHER),
            }
        }
    };
    // The session is over when nobody listens.
    let _ = events.send(Event::Exited { rank, status }).await;
}

fn rank_status(status: ExitStatus) -> RankStatus {
    use std::os::unix::process::ExitStatusExt;
    match (status.code(), status.signal()) {
        (Some(code), _) => RankStatus::Exited { code },
        (None, Some(signal)) => RankStatus::Signaled { signal },
        (None, None) => RankStatus::Exited {
            code: i32::from(u8::MAX),
        },
    }
}
