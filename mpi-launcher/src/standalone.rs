//! mpiexec outside a cluster: ranks on this machine only.
//!
//! The launch is the same as in a job. What differs is who answers on the task's socket: there is no agent, so mpiexec is
//! its own. It serves a socket that only its user can open, in a folder that is gone as soon as the proxy has come, makes
//! the allocation's authority itself, and starts the proxy as its child.

use std::fs;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use nix::unistd::gethostname;
use proto::control::AllocatedNode;
use proto::ids::{AttemptId, JobId, NodeId, NodeName, TaskId, TaskNumber};
use proto::launch::{
    AgentReply, AgentRequest, AllocationView, LAUNCH_VARIABLE, NODE_ADDRESS_VARIABLE, NODE_NAME_VARIABLE,
    RENDEZVOUS_VARIABLE, TASK_SOCKET_VARIABLE,
};
use tokio::net::{UnixListener, UnixStream};
use tokio::process::{Child, Command};
use transport::control::split_socket;
use transport::identity::{Authority, RequestDer, Subject};

/// Names the one allocation that this process makes; nobody else sees it.
const ATTEMPT: AttemptId = AttemptId(1);

/// This machine, as an allocation counts.
const HERE: NodeId = NodeId(1);

/// How long the launch's certificates are good. They are looked at when its processes meet, and never again.
const LIFE: Duration = Duration::from_secs(86_400);

/// An allocation of this machine, served by this process while it lives.
#[derive(Debug)]
pub(crate) struct Alone {
    folder: Folder,
}

/// Removed with all that is in it when this goes out of scope.
#[derive(Debug)]
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // It may be gone already, which is what is wanted.
        let _ = fs::remove_dir_all(&self.0);
    }
}

impl Alone {
    /// Serves an allocation of this machine until the runtime ends.
    ///
    /// # Errors
    /// When there is no place for a socket, or keys cannot be made.
    pub(crate) fn start() -> Result<Self> {
        let folder = Folder(private_folder().context("no folder for a socket can be made")?);
        let path = folder.0.join("socket");
        let listener =
            UnixListener::bind(&path).with_context(|| format!("no socket can be made at {}", path.display()))?;
        let agent = Agent {
            view: view()?,
            authority: Authority::create("mpiexec", SystemTime::now(), LIFE)?,
            socket: path,
            proxy: None,
        };
        tokio::spawn(agent.serve(listener));
        Ok(Self { folder })
    }

    /// Where a launch asks.
    pub(crate) fn socket(&self) -> PathBuf {
        self.folder.0.join("socket")
    }
}

/// What answers in an agent's place.
struct Agent {
    view: AllocationView,
    authority: Authority,
    socket: PathBuf,
    /// Kept, so that it is reaped when it ends.
    proxy: Option<Child>,
}

impl Agent {
    /// Two programs ask, one after the other: mpiexec until it has started the proxy, then the proxy.
    async fn serve(mut self, listener: UnixListener) {
        for last in [false, true] {
            let stream = match listener.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::error!(%error, "the launch's own socket broke");
                    return;
                }
            };
            if last {
                drop(self.socket.parent().map(|folder| Folder(folder.to_owned())));
            }
            self.converse(stream).await;
        }
        if let Some(mut proxy) = self.proxy
            && let Err(error) = proxy.wait().await
        {
            tracing::debug!(%error, "the end of the proxy cannot be read");
        }
    }

    async fn converse(&mut self, stream: UnixStream) {
        let (mut writer, mut reader) = split_socket(stream);
        // A program that was killed leaves in the middle of whatever it says.
        while let Ok(Some(request)) = reader.recv::<AgentRequest>().await {
            let reply = self.answer(request).unwrap_or_else(|error| AgentReply::Refused {
                reason: format!("{error:#}"),
            });
            if writer.send(&reply).await.is_err() {
                return;
            }
        }
    }

    fn answer(&mut self, request: AgentRequest) -> Result<AgentReply> {
        Ok(match request {
            AgentRequest::Describe { .. } => AgentReply::Allocation(Box::new(self.view.clone())),
            AgentRequest::Certify { request } => {
                let subject = Subject::Allocation(ATTEMPT);
                let certificate =
                    self.authority
                        .issue(&RequestDer::from(request), &subject, SystemTime::now(), LIFE)?;
                AgentReply::Certified {
                    certificate: certificate.to_vec(),
                    authority: self.authority.certificate().to_vec(),
                }
            }
            AgentRequest::StartProxy { launch, rendezvous } => {
                let own = std::env::current_exe().context("this program cannot be found again")?;
                let proxy = Command::new(own)
                    .arg("proxy")
                    .env(LAUNCH_VARIABLE, launch.to_string())
                    .env(RENDEZVOUS_VARIABLE, rendezvous.to_string())
                    .env(TASK_SOCKET_VARIABLE, &self.socket)
                    .env(NODE_NAME_VARIABLE, self.view.nodes[0].name.as_str())
                    .env(NODE_ADDRESS_VARIABLE, self.view.address.to_string())
                    .stdin(Stdio::null())
                    .stdout(Stdio::null())
                    // A key on the terminal is mpiexec's to hand on.
                    .process_group(0)
                    .spawn()
                    .context("the proxy cannot be started")?;
                self.proxy = Some(proxy);
                AgentReply::ProxyStarted
            }
            AgentRequest::Unknown => anyhow::bail!("a request of a newer release"),
        })
    }
}

/// This machine with one core to its name: without a number of ranks there is one, as with other launchers.
fn view() -> Result<AllocationView> {
    let host = gethostname().ok().and_then(|name| name.into_string().ok());
    let short = host.as_deref().and_then(|name| name.split('.').next());
    let name = short.and_then(|name| NodeName::new(name).ok());
    let name = name.map_or_else(|| NodeName::new("localhost"), Ok)?;
    let address = std::net::Ipv4Addr::LOCALHOST;
    let here = AllocatedNode {
        node: HERE,
        name,
        slots: 1,
        peer: (address, 0).into(),
    };
    Ok(AllocationView {
        attempt: ATTEMPT,
        task: TaskId::new(JobId(1), TaskNumber(1)),
        nodes: vec![here],
        here: HERE,
        address: address.into(),
    })
}

/// A folder that only this user can enter.
fn private_folder() -> io::Result<PathBuf> {
    let place = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from);
    let place = place.filter(|path| path.is_dir()).unwrap_or_else(std::env::temp_dir);
    let random = crate::driver::fresh_id()?;
    let folder = place.join(format!("muster-mpiexec-{random}"));
    fs::DirBuilder::new().mode(0o700).create(&folder)?;
    Ok(folder)
}
