//! The spawner's socket: one agent at a time, the newest counts.
//!
//! The socket has mode 0600 in the node's own folder, so whoever opens it may start anything as anyone anyway; what
//! arrives is still checked like anything from outside, because a bug in an agent must not take the tasks with it.

use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use proto::frame::{self, FrameError, VERSION};
use serde::Serialize;
use transport::control::{encode, later_message, spoken};

use crate::spawner::message::{FromSpawner, ToSpawner};
use crate::spawner::threads::Shared;

/// How long a connection may take to say hello.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// How long the agent may take to read a batch before its connection is cut.
const WRITE_DEADLINE: Duration = Duration::from_secs(10);

const READ_BYTES: usize = 64 * 1024;

/// Makes the socket, taking the place of one that a dead spawner left.
///
/// # Errors
/// When the socket cannot be made.
pub(super) fn listen(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    // Made under a name that nobody looks for, so that it is never open to others, not even for a moment.
    let unfinished = path.with_extension("new");
    drop(std::fs::remove_file(&unfinished));
    let listener = UnixListener::bind(&unfinished)?;
    std::fs::set_permissions(&unfinished, PermissionsExt::from_mode(0o600))?;
    std::fs::rename(&unfinished, path)?;
    Ok(listener)
}

/// Takes agents for the life of the process.
pub(super) fn run(listener: &UnixListener, shared: &Arc<Shared>) {
    let mut current: Option<UnixStream> = None;
    for generation in 1u64.. {
        let stream = match listener.accept() {
            Ok((stream, _)) => stream,
            Err(error) => {
                tracing::error!("taking a connection failed: {error}");
                std::thread::sleep(Duration::from_millis(100));
                continue;
            }
        };
        let kept = stream.try_clone();
        match Connection::greet(stream, generation, shared) {
            Ok(connection) => {
                if let Some(older) = current.take() {
                    // It may be closed already.
                    let _ = older.shutdown(std::net::Shutdown::Both);
                }
                current = kept.ok();
                if let Err(error) = connection.run() {
                    tracing::error!("a connection got no threads: {error}");
                }
            }
            Err(error) => tracing::warn!("a connection was refused: {error:#}"),
        }
    }
}

struct Connection {
    stream: UnixStream,
    frames: Frames,
    generation: u64,
    shared: Arc<Shared>,
}

impl Connection {
    fn greet(stream: UnixStream, generation: u64, shared: &Arc<Shared>) -> anyhow::Result<Self> {
        stream.set_read_timeout(Some(HELLO_DEADLINE))?;
        stream.set_write_timeout(Some(WRITE_DEADLINE))?;
        let mut frames = Frames::default();
        match frames.next(&stream)? {
            Some(ToSpawner::Hello { version }) if VERSION.accepts(version) => {}
            Some(ToSpawner::Hello { version }) => {
                // The agent learns from the version which of the two is to be restarted.
                write(
                    &stream,
                    &[FromSpawner::Welcome {
                        version: spoken(),
                        boot: shared.lock().boot(),
                    }],
                )?;
                anyhow::bail!("the agent speaks {version}, this spawner {VERSION}");
            }
            _ => anyhow::bail!("no hello"),
        }
        stream.set_read_timeout(None)?;
        shared.change(|keeper| keeper.attach(generation));
        Ok(Self {
            stream,
            frames,
            generation,
            shared: Arc::clone(shared),
        })
    }

    fn run(mut self) -> io::Result<()> {
        let (stream, shared, generation) = (self.stream.try_clone()?, Arc::clone(&self.shared), self.generation);
        let name = |what: &str| std::thread::Builder::new().name(format!("agent-{what}"));
        name("writer").spawn(move || {
            let mut unsaid = later_message();
            while let Some(news) = shared.wait_for_news(generation) {
                let told = write(&stream, &news).and_then(|()| match unsaid.take() {
                    Some(later) => write(&stream, &[later]),
                    None => Ok(()),
                });
                if let Err(error) = told {
                    tracing::warn!("the agent does not take its news: {error:#}");
                    break;
                }
            }
            shared.change(|keeper| keeper.detach(generation));
            // Ends the reader too. It may be closed already.
            let _ = stream.shutdown(std::net::Shutdown::Both);
        })?;
        name("reader").spawn(move || {
            let ended = self.read();
            tracing::info!(?ended, "the agent's connection is over");
            self.shared.change(|keeper| keeper.detach(self.generation));
        })?;
        Ok(())
    }

    fn read(&mut self) -> anyhow::Result<()> {
        while let Some(message) = self.frames.next(&self.stream)? {
            self.shared.change(|keeper| keeper.handle(message));
        }
        Ok(())
    }
}

fn write<T: Serialize>(mut stream: &UnixStream, messages: &[T]) -> anyhow::Result<()> {
    let mut bytes = Vec::new();
    for message in messages {
        encode(message, &mut bytes)?;
    }
    Ok(stream.write_all(&bytes)?)
}

/// Frames out of a stream.
#[derive(Default)]
struct Frames {
    buffer: Vec<u8>,
    /// Bytes at the front that were used.
    used: usize,
}

impl Frames {
    fn next(&mut self, mut stream: &UnixStream) -> anyhow::Result<Option<ToSpawner>> {
        loop {
            let rest = self.buffer.get(self.used..).unwrap_or_default();
            if let Some((start, end)) = frame::split(rest)? {
                let decoded = frame::decode(rest.get(start..end).unwrap_or_default());
                self.used += end;
                match decoded {
                    Ok(message) => return Ok(Some(message)),
                    // A message that is not understood costs itself and not the connection.
                    Err(error @ FrameError::Decode(_)) => tracing::warn!("{:#}", anyhow::Error::new(error)),
                    Err(error) => return Err(error.into()),
                }
                continue;
            }
            self.buffer.drain(..self.used);
            self.used = 0;
            let filled = self.buffer.len();
            self.buffer.resize(filled + READ_BYTES, 0);
            let read = stream.read(self.buffer.get_mut(filled..).unwrap_or_default());
            self.buffer.truncate(filled + *read.as_ref().unwrap_or(&0));
            match read {
                Ok(0) => return Ok(None),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}
