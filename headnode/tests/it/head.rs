//! A head node process in a folder of its own, killed when it goes out of scope.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use proto::client::{Greeted, Greeting, Reply, Request};
use proto::frame::VERSION;
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use transport::control::{FrameReader, FrameWriter, split_socket};

pub(crate) const DEADLINE: Duration = Duration::from_secs(20);

const SETTINGS: &str = "headnode.toml";

pub(crate) struct Head {
    pub(crate) folder: tempfile::TempDir,
    process: Child,
}

impl Head {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// With these settings.
    pub(crate) async fn start_with(settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::write(folder.path().join(SETTINGS), settings).expect("writes");
        let process = spawn(folder.path());
        let head = Self { folder, process };
        head.ready().await;
        head
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill().expect("it runs");
        self.process.wait().expect("it ends");
    }

    pub(crate) async fn restart(&mut self) {
        self.process = spawn(self.folder.path());
        self.ready().await;
    }

    /// Where nodes and users dial in.
    pub(crate) fn address(&self) -> SocketAddr {
        let text = std::fs::read_to_string(self.folder.path().join("head.addr")).expect("is ready");
        text.trim().parse().expect("an address")
    }

    fn socket(&self) -> PathBuf {
        self.folder.path().join("head.sock")
    }

    async fn ready(&self) {
        let start = Instant::now();
        while UnixStream::connect(self.socket()).await.is_err() || !self.folder.path().join("head.addr").exists() {
            assert!(start.elapsed() < DEADLINE, "the head node does not answer");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn connect(&self) -> Line {
        let (to, from) = split_socket(UnixStream::connect(self.socket()).await.expect("connects"));
        Line { to, from }
    }

    pub(crate) async fn client(&self) -> Line {
        let mut line = self.connect().await;
        line.to.send(&Greeting { version: VERSION }).await.expect("sends");
        let greeted: Greeted = line.from.recv().await.expect("reads").expect("answers");
        assert!(matches!(greeted, Greeted::Welcome { .. }), "{greeted:?}");
        line
    }
}

impl Drop for Head {
    fn drop(&mut self) {
        // It may have been killed already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn spawn(folder: &Path) -> Child {
    command(folder).stderr(Stdio::null()).spawn().expect("starts")
}

pub(crate) fn command(folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_muster-headnode"));
    command.arg("--dir").arg(folder).args(["--listen", "127.0.0.1:0"]);
    command.arg("--config").arg(folder.join(SETTINGS));
    command
}

pub(crate) struct Line {
    pub(crate) to: FrameWriter<OwnedWriteHalf>,
    pub(crate) from: FrameReader<OwnedReadHalf>,
}

impl Line {
    pub(crate) async fn ask(&mut self, request: &Request) -> Reply {
        self.to.send(request).await.expect("sends");
        self.reply().await
    }

    pub(crate) async fn reply(&mut self) -> Reply {
        let reply = tokio::time::timeout(DEADLINE, self.from.recv::<Reply>())
            .await
            .expect("in time");
        reply.expect("reads").expect("answers")
    }
}
