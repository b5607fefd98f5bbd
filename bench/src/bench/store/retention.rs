//! What ten million finished tasks leave on disk, and how long the store takes to open then. Takes many minutes.
//!
//! The head node's rounds run here one after the other, each stored and flushed as the committer does it, with nodes whose
//! tasks end at once. There is no network and no thread, and time goes on by a millisecond per round.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, bail};
use headnode::past::Past;
use headnode::round::{Arrival, Departure, LinkId, Welcome, round};
use headnode::store::{SledStore, Store};
use proto::control::{HeadMessage, Hello, Report};
use proto::frame::VERSION;
use proto::ids::{BootId, KeyHash, NodeId, NodeName, PoolName, SubmissionId};
use proto::model::job::JobSpec;
use proto::model::node::Inventory;
use proto::model::owner::{Caller, Owner, Role};
use proto::stored::TokenRow;
use proto::units::{Millis, Monotonic, Now, Timestamp};
use scheduler::{Answer, Cluster, Input, Settings};

use crate::agents::Moments;
use crate::figure::Figure;
use crate::{local, usage, work};

/// Arrays, and elements of each: ten million together.
const ARRAYS: u32 = 100;
const ELEMENTS: u32 = 100_000;

/// Nodes, and slots of each: so many elements end in one round at most.
const NODES: u32 = 64;
const SLOTS: u32 = 16;

/// Bytes of an element on disk that are aimed at, with all that the store needs around it.
const DISK_AIM_BYTES: f64 = 100.0;

/// Seconds until a store of that size is open.
const OPEN_AIM_S: f64 = 5.0;

/// What nodes have to say to their orders.
type Said = BTreeMap<NodeId, Vec<Report>>;

const BOOT: BootId = BootId(1);
const LINK: LinkId = LinkId(1);

/// One look, however many rounds.
pub(crate) fn run(_rounds: usize) -> anyhow::Result<Vec<Figure>> {
    let folder = local::folder()?;
    let path = folder.path().join("store");
    let mut head = Head::start(&path)?;
    let own = [i32::try_from(std::process::id())?];
    let (mut first, mut memory) = (0.0, 0.0);
    for array in 0..ARRAYS {
        head.finish_an_array(array)?;
        memory = usage::resident_mib_after(&own, u64::from(array + 1) * u64::from(ELEMENTS))?;
        if array == ARRAYS / 10 - 1 {
            first = disk_bytes(&path)?;
        }
    }
    let elements = f64::from(ARRAYS) * f64::from(ELEMENTS);
    let last = disk_bytes(&path)?;
    drop(head);
    let start = Instant::now();
    let rows = SledStore::open(&path)?.load()?.len();
    let opened = start.elapsed().as_secs_f64();
    if rows == 0 {
        bail!("the store is empty");
    }
    Ok(vec![
        Figure::with_aim(
            "store.disk_per_element_1M",
            "bytes",
            first / elements * 10.0,
            DISK_AIM_BYTES,
        ),
        Figure::with_aim("store.disk_per_element_10M", "bytes", last / elements, DISK_AIM_BYTES),
        Figure::alone("store.disk_10M", "MiB", last / (1024.0 * 1024.0)),
        Figure::alone("store.memory_10M", "MiB", memory),
        Figure::with_aim("store.open_10M", "s", opened, OPEN_AIM_S),
    ])
}

/// What the files of a folder take on disk.
fn disk_bytes(folder: &Path) -> anyhow::Result<f64> {
    use std::os::unix::fs::MetadataExt;
    let mut blocks = 0;
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            blocks += std::fs::read_dir(entry.path())?.try_fold(0, |sum, file| {
                file.and_then(|file| file.metadata())
                    .map(|metadata| sum + metadata.blocks())
            })?;
        } else {
            blocks += entry.metadata()?.blocks();
        }
    }
    // stat(2): of 512 bytes, whatever the file system's own blocks are.
    Ok(blocks as f64 * 512.0)
}

/// A head node without threads and sockets.
struct Head {
    cluster: Cluster,
    store: Arc<SledStore>,
    past: Past,
    now: Now,
    welcome: Welcome,
    /// Messages with reports so far.
    said: u64,
    moments: BTreeMap<NodeId, Moments>,
}

impl Head {
    fn start(path: &Path) -> anyhow::Result<Self> {
        let store = Arc::new(SledStore::open(path)?);
        let settings = Settings::default();
        let mut head = Self {
            welcome: Welcome {
                version: VERSION,
                cluster: "bench".to_owned(),
                timing: settings.timing,
            },
            cluster: Cluster::new(settings),
            past: Past::new(Arc::clone(&store) as Arc<dyn Store>),
            store,
            now: Now {
                wall: Timestamp(1_000_000),
                monotonic: Monotonic(1_000),
            },
            said: 0,
            moments: BTreeMap::new(),
        };
        let token = TokenRow {
            hash: "ab".repeat(32),
            pool: PoolName::new("bench")?,
            groups: Vec::new(),
            expires_at: Timestamp(u64::MAX),
            uses_left: NODES,
        };
        head.ask(Input::MakeToken { caller: root(), token })?;
        for number in 0..NODES {
            head.node_comes(number)?;
        }
        Ok(head)
    }

    fn node_comes(&mut self, number: u32) -> anyhow::Result<()> {
        let name = NodeName::new(&format!("s{number}"))?;
        let mut key = [0; 32];
        key[..4].copy_from_slice(&number.to_be_bytes());
        let key = KeyHash(key);
        let (answer, _) = self.ask(Input::Join {
            secret_hash: "ab".repeat(32),
            name: name.clone(),
            key,
            certificate_ends: Timestamp(u64::MAX),
        })?;
        let Answer::Joined { node, .. } = answer else {
            bail!("a node does not join")
        };
        let hello = Box::new(Hello {
            version: VERSION,
            name,
            boot: BOOT,
            inventory: Inventory {
                cores: SLOTS,
                memory_bytes: 1 << 36,
                ..Inventory::default()
            },
            peer: ([127, 0, 0, 1], 9).into(),
            held: Vec::new(),
            clock: None,
        });
        let link = LINK;
        self.round(vec![Arrival::Hello { node, link, key, hello }])?;
        Ok(())
    }

    /// Submits an array and runs rounds until nothing of it is left.
    fn finish_an_array(&mut self, number: u32) -> anyhow::Result<()> {
        let submit = Input::Submit {
            caller: root(),
            submission: SubmissionId(u128::from(number) + 1),
            job: Box::new(JobSpec::default()),
            tasks: vec![work::array(work::bare_task(), ELEMENTS)?],
        };
        let (_, mut said) = self.ask(submit)?;
        let mut ended = 0;
        while !said.is_empty() {
            let ends = |reports: &Vec<Report>| {
                reports
                    .iter()
                    .filter(|report| matches!(report, Report::Ended { .. }))
                    .count()
            };
            ended += said.values().map(ends).sum::<usize>();
            let arrivals = said
                .into_iter()
                .map(|(node, reports)| self.reports(node, reports))
                .collect();
            said = self.round(arrivals)?.1;
        }
        if ended != ELEMENTS as usize {
            bail!("of {ELEMENTS} elements {ended} ended");
        }
        Ok(())
    }

    fn reports(&mut self, node: NodeId, reports: Vec<Report>) -> Arrival<()> {
        self.said += 1;
        Arrival::Reports {
            node,
            link: LINK,
            boot: BOOT,
            number: self.said,
            reports,
        }
    }

    fn ask(&mut self, input: Input) -> anyhow::Result<(Answer, Said)> {
        let (answer, said) = self.round(vec![Arrival::Request { input, slot: () }])?;
        Ok((answer.context("a request without an answer")?, said))
    }

    /// One round, stored; gives the answer to a request, and what nodes have to say to their orders.
    fn round(&mut self, arrivals: Vec<Arrival<()>>) -> anyhow::Result<(Option<Answer>, Said)> {
        self.now.monotonic = self.now.monotonic + Millis(1);
        self.now.wall = self.now.wall + Millis(1);
        let nodes: Vec<NodeId> = self.cluster.nodes().map(|node| node.id).collect();
        for node in nodes {
            // None of them is ever silent.
            self.cluster.heard(node, self.now.monotonic);
        }
        let flight = round(&mut self.cluster, arrivals, self.now, &self.welcome, &mut self.past);
        if !flight.changes.is_empty() {
            self.store.commit(&flight.changes)?;
        }
        let (mut answer, mut said) = (None, Said::new());
        for departure in flight.departures {
            match departure {
                Departure::Answer { answer: told, .. } => {
                    answer = Some(told.map_err(|refusal| anyhow::anyhow!("{refusal}"))?);
                }
                Departure::ToNode {
                    node,
                    message: HeadMessage::Orders { orders },
                    ..
                } => {
                    let moments = self.moments.entry(node).or_default();
                    let reports = moments.reports_of(orders, self.now.wall);
                    said.entry(node).or_default().extend(reports);
                }
                _ => {}
            }
        }
        said.retain(|_, reports| !reports.is_empty());
        Ok((answer, said))
    }
}

fn root() -> Caller {
    Caller {
        owner: Owner {
            name: "root".to_owned(),
            uid: 0,
            gid: 0,
        },
        role: Role::Administrator,
    }
}
