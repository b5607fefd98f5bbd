//! Starts a head node from its folder and runs it until it is told to stop.
//!
//! ```text
//!   DIR/store/       rows (sled)
//!   DIR/identity/    the cluster's authority, the head's key and certificate, the secret of allocation authorities
//!   DIR/head.sock    the command line's door
//!   DIR/head.addr    where nodes and users dial in, written when everything is ready
//! ```

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use proto::client::{HeadView, Refusal, RefusalCode};
use proto::ids::Sequence;
use proto::stored::Row;
use proto::units::Monotonic;
use scheduler::{Answer, Cluster, Input};
use tokio::net::{UnixListener, UnixStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, oneshot, watch};
use transport::control::{CloseCode, spoken};

use crate::authority::ClusterAuthority;
use crate::clock::Clock;
use crate::config::Config;
use crate::controller::{Controller, Outbox};
use crate::door::{self, Bounds, Door, Places};
use crate::join::{Joins, Tokens};
use crate::knock::Knocks;
use crate::login::Credentials;
use crate::nodes::{self, Links, Nodes};
use crate::remote::Remotes;
use crate::round::{Arrival, Departure, Welcome};
use crate::store::{SledStore, Store};
use crate::strangers::Strangers;
use crate::view::View;

/// How often it is looked whether the threads still run; only the end of a broken process waits for it.
const HEALTH_CHECK: Duration = Duration::from_millis(250);

/// How long nodes may take to hear that the head node stops.
const FAREWELL: Duration = Duration::from_millis(500);

/// Where an answer goes.
#[derive(Debug)]
pub struct Slot(pub oneshot::Sender<Landed>);

/// An answer whose events are durable.
#[derive(Debug)]
pub struct Landed {
    /// What was decided.
    pub answer: Result<Answer, Refusal>,
    /// The state of the cluster that holds it.
    pub sequence: Sequence,
}

/// To the controller.
#[derive(Debug, Clone)]
pub struct Requests(pub mpsc::Sender<Arrival<Slot>>);

impl Requests {
    /// Asks, and waits until the answer is durable.
    ///
    /// # Errors
    /// What was refused, or that the head node is ending.
    pub async fn ask(&self, input: Input) -> Result<Answer, Refusal> {
        let ending = || Refusal {
            code: RefusalCode::Busy,
            what: "the head node is ending; whether the request was carried out is not known".to_owned(),
            remedy: "try again when it is back".to_owned(),
            retry_after: None,
        };
        let (slot, answer) = oneshot::channel();
        let slot = Slot(slot);
        self.0
            .send(Arrival::Request { input, slot })
            .await
            .map_err(|_| ending())?;
        answer.await.map_err(|_| ending())?.answer
    }
}

/// Sends what a round decided.
struct Post {
    links: Arc<Links>,
}

impl Outbox<Slot> for Post {
    fn send(&mut self, departure: Departure<Slot>) {
        match departure {
            Departure::Answer { slot, answer, sequence } => {
                // The asker may be gone; what it asked is done all the same.
                let _ = slot.0.send(Landed { answer, sequence });
            }
            Departure::ToNode { node, link, message } => self.links.send(node, link, message),
            Departure::Disconnect { node, reason } => self.links.disconnect(node, &reason),
            Departure::Remove { node, reason } => self.links.remove(node, &reason),
        }
    }
}

/// Runs a head node until SIGTERM or SIGINT.
///
/// # Errors
/// When it cannot start, naming the file or address; or when its store fails.
pub fn run(config: Config) -> anyhow::Result<()> {
    let dir = &config.dir;
    fs::create_dir_all(dir).with_context(|| format!("the folder {} cannot be made", dir.display()))?;
    let owner = fs::metadata(dir)?.uid();
    if owner != 0 && owner != nix::unistd::geteuid().as_raw() {
        bail!(
            "the folder {} belongs to the user {owner}, who could change everything in it; use one of your own",
            dir.display()
        );
    }
    fs::set_permissions(dir, fs::Permissions::from_mode(0o711))?;
    let clock = Clock::start();
    let (store, rows) = open_store(dir)?;
    let cluster = Cluster::restore(config.settings, rows.clone(), clock.now())
        .context("the stored cluster contradicts itself")?;
    let replica =
        Cluster::restore(config.settings, rows, clock.now()).context("the stored cluster contradicts itself")?;
    tracing::info!(
        jobs = cluster.jobs().count(),
        nodes = cluster.nodes().count(),
        "store read"
    );

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let store: Arc<dyn Store> = Arc::new(store);
    let view = Arc::new(View::new(replica, Arc::clone(&store)));
    let links = Arc::new(Links::default());
    let welcome = Welcome {
        version: spoken(),
        cluster: config.cluster.clone(),
        timing: config.settings.timing,
    };
    let post = Post {
        links: Arc::clone(&links),
    };
    let controller = Controller::start(cluster, store, Arc::clone(&view), post, clock, welcome)?;
    let ended = runtime.block_on(serve(&config, &controller, clock, view, links));
    // Ends the doors, and with them the last senders of arrivals.
    drop(runtime);
    controller.join().context("the store failed")?;
    // Nobody may take the socket of an ended head node for a living one.
    let _ = fs::remove_file(dir.join("head.addr"));
    let _ = fs::remove_file(dir.join("head.sock"));
    ended
}

fn open_store(dir: &Path) -> anyhow::Result<(SledStore, Vec<Row>)> {
    let path = dir.join("store");
    fs::create_dir_all(&path).with_context(|| format!("the folder {} cannot be made", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700))?;
    SledStore::open_and_load(&path).context("the store cannot be opened")
}

async fn serve(
    config: &Config,
    controller: &Controller<Slot>,
    clock: Clock,
    view: Arc<View>,
    links: Arc<Links>,
) -> anyhow::Result<()> {
    let dir = &config.dir;
    let authority = Arc::new(ClusterAuthority::open(&dir.join("identity"), &config.cluster, clock)?);
    let listener = authority
        .listen(config.listen, config.settings.timing.heartbeat.duration() * 3)
        .with_context(|| format!("nodes and users cannot dial in at {}", config.listen))?;
    let listen = listener.local_address()?;
    let ending = listener.clone();
    let socket = bind_socket(&dir.join("head.sock")).await?;

    let arrivals = controller.arrivals.clone();
    let requests = Requests(arrivals.clone());
    let joins = Joins {
        authority: Arc::clone(&authority),
        requests: requests.clone(),
        links: Arc::clone(&links),
        clock,
        cluster: config.cluster.clone(),
        life: config.node_certificate_life,
    };
    let credentials = Credentials {
        authority: Arc::clone(&authority),
        requests,
        view: Arc::clone(&view),
        clock,
        cluster: config.cluster.clone(),
        life: config.user_certificate_life,
    };
    let head = HeadView {
        cluster: config.cluster.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at: clock.now().wall,
        listen: listen.to_string(),
        sequence: Sequence(0),
        clock: clock.now().wall,
        fingerprint: authority.fingerprint().to_string(),
        certificate_ends: authority.head_ends(),
    };
    let door = Arc::new(Door {
        view: Arc::clone(&view),
        arrivals: arrivals.clone(),
        links: Arc::clone(&links),
        tokens: Tokens {
            authority: Arc::clone(&authority),
        },
        credentials: credentials.clone(),
        clock,
        places: Places::default(),
        bounds: Bounds::default(),
        head,
    });
    let remotes = Remotes::new(Arc::clone(&door), Arc::clone(&view));
    let remotes = Arc::new(remotes);
    let nodes = Nodes {
        links,
        arrivals: arrivals.clone(),
        view,
        knocks: Knocks::new(joins.clone(), credentials, clock),
        strangers: Strangers::default(),
        clock,
        joins,
        remotes: Arc::clone(&remotes),
        authority: Arc::clone(&authority),
    };

    let tasks = [
        tokio::spawn(nodes::serve(listener, Arc::new(nodes))),
        tokio::spawn(door::serve(socket, door)),
        tokio::spawn(async move { remotes.watch().await }),
        tokio::spawn(async move { authority.keep_fresh().await }),
        tokio::spawn(keep_time(controller.deadline.clone(), arrivals, clock)),
    ];
    write_address(&dir.join("head.addr"), &listen.to_string())?;
    tracing::info!(%listen, dir = %dir.display(), "head node ready");
    let ended = until_told(controller).await;
    // Nodes that hear of the end dial again at once when the head node is back.
    ending.close(CloseCode::Stopping, "the head node stops");
    ending.wait_idle(FAREWELL).await;
    for task in tasks {
        task.abort();
    }
    ended
}

async fn until_told(controller: &Controller<Slot>) -> anyhow::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut health = tokio::time::interval(HEALTH_CHECK);
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            _ = health.tick() => if controller.is_broken() {
                bail!("the head node's loop ended; restart it, what was acknowledged is on disk");
            }
        }
    }
    tracing::info!("head node stops; tasks go on");
    Ok(())
}

/// Sends a tick whenever the controller's next deadline has come.
async fn keep_time(
    mut deadline: watch::Receiver<Option<Monotonic>>,
    arrivals: mpsc::Sender<Arrival<Slot>>,
    clock: Clock,
) {
    loop {
        let next = *deadline.borrow_and_update();
        let due = async {
            match next {
                Some(at) => tokio::time::sleep_until(clock.instant(at).into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = deadline.changed() => if changed.is_err() { return },
            () = due => {
                if arrivals.send(Arrival::Tick).await.is_err() {
                    return;
                }
                // The round sets the next deadline; without news from it, the old one must not spin.
                if tokio::time::timeout(HEALTH_CHECK, deadline.changed()).await.is_ok_and(|news| news.is_err()) {
                    return;
                }
            }
        }
    }
}

/// Binds the door; a socket that nobody answers at is left over from a killed head node.
async fn bind_socket(path: &Path) -> anyhow::Result<UnixListener> {
    if UnixStream::connect(path).await.is_ok() {
        bail!(
            "another head node answers at {}; stop it first ('muster down')",
            path.display()
        );
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("{} cannot be removed", path.display()));
        }
        _ => {}
    }
    let listener = UnixListener::bind(path).with_context(|| format!("no socket at {}", path.display()))?;
    // Everyone may ask; the kernel says who does.
    fs::set_permissions(path, fs::Permissions::from_mode(0o666))?;
    Ok(listener)
}

fn write_address(path: &Path, text: &str) -> anyhow::Result<()> {
    let new = path.with_extension("new");
    fs::write(&new, text).with_context(|| format!("{} cannot be written", new.display()))?;
    fs::rename(&new, path).with_context(|| format!("{} cannot be written", path.display()))
}
