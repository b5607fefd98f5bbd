//! A task and this terminal: its output is shown as it comes, what is typed here is its input.
//!
//! ```text
//!   Tail  <------------ one connection -------------- head      until the task is over
//!   Input ------------ another connection ----------> head      bytes, the terminal's size, the end; each is answered
//! ```
//!
//! With a terminal of the task's own every key goes to the task, `^C` too; `^]` lets go of it. Without one `^C` is ours.

use std::cell::RefCell;
use std::io::Read;

use proto::client::{Reply, Request};
use proto::control::{FollowFrom, Input, InputReply};
use proto::ids::{JobId, TaskId};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;

use super::Door;
use super::follow::{Following, follow};
use crate::client::{Client, ClientError};
use crate::exit::CliError;
use crate::render::{Live, Seen};
use crate::terminal::{RawTerminal, has_keys};

/// Bytes of one read, and so of one message: well below what a message may have.
const CHUNK: usize = 16 * 1024;

/// Reads that wait to be sent: enough not to stall a pipe, and a bound.
const READS: usize = 4;

/// `^]`, which lets go of the task, as `telnet` has it.
const LET_GO: &[u8] = b"\x1d";

/// What this program gives the task.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Keys {
    /// Nothing: the output is only shown.
    None,
    /// What comes on standard input, up to its end.
    Stream,
    /// Every key of our terminal.
    Terminal,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attached {
    /// All output was shown.
    ToTheEnd,
    /// The user let go, or nobody reads the output.
    Left,
    /// `^C`, or a signal that ends programs.
    Interrupted,
}

/// The keys for an interactive task.
pub(super) fn keys(terminal: bool) -> Result<Keys, CliError> {
    match (terminal, has_keys()) {
        (true, true) => Ok(Keys::Terminal),
        (true, false) => Err(CliError::NoTerminal),
        (false, _) => Ok(Keys::Stream),
    }
}

/// Shows a task's output and gives it our input until one of them ends.
pub(super) async fn attach(task: TaskId, keys: Keys, live: &RefCell<Live>, door: &Door) -> Result<Attached, CliError> {
    let following = Following {
        job: task.job,
        tasks: vec![task],
        from: FollowFrom::Start,
        to_the_end: true,
    };
    // Restored when this function is left, however it is left.
    let _raw = match keys {
        Keys::Terminal => Some(RawTerminal::enter().map_err(CliError::Terminal)?),
        Keys::Stream | Keys::None => None,
    };
    let mut ends = Ends::new().map_err(CliError::Runtime)?;
    tokio::select! {
        seen = follow(&following, live, door) => Ok(match seen? {
            Seen::Yes => Attached::ToTheEnd,
            Seen::No => Attached::Left,
        }),
        left = feed(task, keys, live, door), if keys != Keys::None => left,
        () = ends.next() => Ok(Attached::Interrupted),
    }
}

/// The signals that end programs. Taken, so that the terminal is given back first.
struct Ends([tokio::signal::unix::Signal; 3]);

impl Ends {
    fn new() -> std::io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// Sends input until the user lets go. When there is no more, or the task takes no more, the output is all that is left.
async fn feed(task: TaskId, keys: Keys, live: &RefCell<Live>, door: &Door) -> Result<Attached, CliError> {
    let mut reads = read_input();
    let mut resized = signal(SignalKind::window_change()).map_err(CliError::Runtime)?;
    let mut client = open(task, keys, door.connect().await?).await?;
    loop {
        let input = tokio::select! {
            read = reads.recv() => match read {
                Some(bytes) if keys == Keys::Terminal && bytes == LET_GO => return Ok(Attached::Left),
                Some(bytes) => Input::Bytes { bytes },
                None => Input::End,
            },
            Some(()) = resized.recv(), if keys == Keys::Terminal => match size() {
                Some(size) => size,
                None => continue,
            },
        };
        let is_end = input == Input::End;
        match exchange(&mut client, &input).await {
            Ok(InputReply::Taken) if is_end => return std::future::pending().await,
            Ok(InputReply::Taken) => {}
            Ok(InputReply::Closed { reason }) => {
                if !is_end && keys == Keys::Stream {
                    live.borrow_mut()
                        .remark(&format!("task {task} reads no more: {reason}"));
                }
                return std::future::pending().await;
            }
            Err(error) if error.is_passing() => {
                // Whether the last input arrived is not known; sent twice it would do more harm than lost.
                let again = door.reconnect(error).await?;
                client = open(task, keys, again).await?;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

/// Waits until the task takes input, and tells it how large the terminal is.
async fn open(task: TaskId, keys: Keys, mut client: Client) -> Result<Client, CliError> {
    client.open(&Request::Input { task }).await?;
    match client.next().await? {
        Reply::Done { .. } => {}
        _ => return Err(ClientError::Unexpected { asked: "task attach" }.into()),
    }
    if let Some(size) = size().filter(|_| keys == Keys::Terminal) {
        exchange(&mut client, &size).await?;
    }
    Ok(client)
}

async fn exchange(client: &mut Client, input: &Input) -> Result<InputReply, ClientError> {
    client.say(input).await?;
    client.hear().await
}

fn size() -> Option<Input> {
    let (rows, columns) = crate::render::terminal_size()?;
    Some(Input::Size { rows, columns })
}

/// Standard input in pieces, up to its end. Reading blocks, so a thread does it; it ends with the process.
fn read_input() -> mpsc::Receiver<Vec<u8>> {
    let (to, from) = mpsc::channel(READS);
    std::thread::spawn(move || {
        let mut chunk = vec![0; CHUNK];
        let mut stdin = std::io::stdin().lock();
        loop {
            match stdin.read(&mut chunk) {
                Ok(0) | Err(_) => break,
                Ok(length) => {
                    if to.blocking_send(chunk[..length].to_vec()).is_err() {
                        break;
                    }
                }
            }
        }
    });
    from
}

/// Cancels a job because its user said `^C` here; says what became of that.
pub(super) async fn cancel(job: JobId, door: &Door) -> String {
    let request = Request::CancelJob {
        job,
        force: false,
        message: "interrupted".to_owned(),
    };
    tokio::select! {
        reply = door.ask(request) => match reply {
            Ok(_) => format!("job {job} is being canceled; 'job view {job}' tells how it ended"),
            Err(error) => format!("job {job} could not be canceled: {error}; 'job cancel {job}' tries again"),
        },
        // Whoever says it twice does not want to wait. Failing to listen leaves the wait alone.
        Ok(()) = tokio::signal::ctrl_c() => format!("job {job} may go on; 'job cancel {job}' ends it"),
    }
}
