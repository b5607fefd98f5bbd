//! How a proxy comes to its work: it proves itself to mpiexec with a certificate from its own node, takes the order, and
//! ties the link to the session.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use proto::frame::VERSION;
use proto::ids::LaunchId;
use proto::launch::{LAUNCH_VARIABLE, LauncherMessage, ProxyMessage, RENDEZVOUS_VARIABLE, TASK_SOCKET_VARIABLE};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::timeout;
use transport::control::{StreamReader, StreamWriter};

use super::ranks::Environment;
use super::session::{self, Event, Outlet};
use crate::hosts::{Peers, TaskSocket, in_words};

/// How long mpiexec may take until the order: as long as it waits for the slowest proxy, and some.
const ORDER_TIMEOUT: Duration = Duration::from_secs(45);

/// Events that may wait for the session.
const MAX_WAITING_EVENTS: usize = 1024;

/// Pieces of output that may wait for the link; then ranks wait.
const MAX_WAITING_OUTPUT: usize = 32;

/// Runs the proxy that this process's environment describes, to the end of its launch.
///
/// # Errors
/// When it never got to its work; afterwards errors are told to mpiexec.
pub async fn run() -> Result<()> {
    let own: Environment = std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect();
    let launch: LaunchId = variable(&own, LAUNCH_VARIABLE)?.parse().context("the launch's id")?;
    let rendezvous: SocketAddr = variable(&own, RENDEZVOUS_VARIABLE)?
        .parse()
        .context("mpiexec's address")?;
    let mut socket = TaskSocket::open(&PathBuf::from(variable(&own, TASK_SOCKET_VARIABLE)?)).await?;
    let view = socket.describe().await.context("the allocation")?;
    let identity = socket.certify().await.context("a certificate")?;
    let connection = Peers::new(&view, &identity)?
        .dial(rendezvous)
        .await
        .context("mpiexec cannot be reached")?;
    let (mut writer, mut reader) = connection.open_stream().await?;
    writer
        .send(&ProxyMessage::Hello {
            version: VERSION,
            launch,
            node: view.here,
        })
        .await?;
    let (output_writer, _) = connection.open_stream().await?;
    let (control, control_waiting) = mpsc::unbounded_channel();
    let (output, output_waiting) = mpsc::channel(MAX_WAITING_OUTPUT);
    let (events, waiting) = mpsc::channel(MAX_WAITING_EVENTS);
    let outlet = Outlet { control, output };
    match timeout(ORDER_TIMEOUT, reader.recv::<LauncherMessage>())
        .await
        .context("no order came")??
    {
        Some(LauncherMessage::Run(order)) => {
            tokio::spawn(hear(reader, events.clone()));
            tokio::spawn(speak(writer, control_waiting, events.clone()));
            tokio::spawn(bring(output_writer, output_waiting));
            watch_signals(&events)?;
            session::run(*order, &own, outlet, events, waiting).await;
        }
        Some(LauncherMessage::Stop) => {
            tokio::spawn(speak(writer, control_waiting, events));
            tokio::spawn(bring(output_writer, output_waiting));
            outlet.finish();
        }
        Some(_) => bail!("mpiexec sent something else than an order"),
        None => bail!("mpiexec hung up without an order"),
    }
    // mpiexec hangs up when it has read everything, which may take as long as its own output is blocked. To go earlier
    // could lose the last words. A link to a dead mpiexec ends by itself.
    let [mut terminate, mut interrupt, mut hangup] = signals()?;
    tokio::select! {
        _ = connection.closed() => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        _ = hangup.recv() => {}
    }
    Ok(())
}

/// Brings what mpiexec says to the session, and the end of the link.
async fn hear(mut reader: StreamReader, events: mpsc::Sender<Event>) {
    let last = loop {
        match reader.recv::<LauncherMessage>().await {
            Ok(Some(message)) => {
                if events.send(Event::Launcher(message)).await.is_err() {
                    return;
                }
            }
            Ok(None) => break "mpiexec ended the stream".to_owned(),
            Err(error) => break in_words(&error),
        }
    };
    tracing::debug!(reason = last, "the link to mpiexec is at its end");
    // The session is over when nobody listens.
    let _ = events.send(Event::Unlinked).await;
}

/// Brings what the session says to mpiexec, except output.
async fn speak(
    mut writer: StreamWriter,
    mut control: mpsc::UnboundedReceiver<ProxyMessage>,
    events: mpsc::Sender<Event>,
) {
    while let Some(message) = control.recv().await {
        if let Err(error) = writer.send(&message).await {
            tracing::debug!(reason = in_words(&error), "the link to mpiexec is lost");
            // The session is over when nobody listens.
            let _ = events.send(Event::Unlinked).await;
            return;
        }
    }
    if let Err(error) = writer.finish().await {
        tracing::debug!(reason = in_words(&error), "the last words did not reach mpiexec");
    }
}

/// Brings output on a stream of its own: while nobody reads it, what decides something still goes through.
async fn bring(mut writer: StreamWriter, mut output: mpsc::Receiver<ProxyMessage>) {
    while let Some(message) = output.recv().await {
        if let Err(error) = writer.send(&message).await {
            // Dropping the queue tells the ranks' streams; the session hears of it from the other stream.
            tracing::debug!(reason = in_words(&error), "output does not reach mpiexec");
            return;
        }
    }
    if let Err(error) = writer.finish().await {
        tracing::debug!(reason = in_words(&error), "the end of the output did not reach mpiexec");
    }
}

/// SIGTERM and the like end the ranks as a lost link does: the agent that sends them wants this node's part to end.
fn watch_signals(events: &mpsc::Sender<Event>) -> std::io::Result<()> {
    for mut signal in signals()? {
        let events = events.clone();
        tokio::spawn(
            async move { while signal.recv().await.is_some() && events.send(Event::Unlinked).await.is_ok() {} },
        );
    }
    Ok(())
}

fn signals() -> std::io::Result<[Signal; 3]> {
    Ok([
        signal(SignalKind::terminate())?,
        signal(SignalKind::interrupt())?,
        signal(SignalKind::hangup())?,
    ])
}

fn variable<'a>(own: &'a Environment, name: &str) -> Result<&'a str> {
    let value = own.get(name).map(String::as_str);
    value.with_context(|| format!("{name} is not set; a proxy is started by a node's agent, never by hand"))
}
