//! Torture: a real cluster under load, whose daemons, disks and links are broken at random, and a checker apart.
//!
//! ```text
//!   clients (crowd, client) --requests, repeated with their ids--> head node <--relay, nft, tbf--> nodes --> tasks (task)
//!        | log of what was acknowledged                                ^ faults (fault, ground)              | traces
//!        '---------------------------------> checker <-- told in the end -----------------------------------'
//! ```
//!
//! A seed decides which faults come when and what clients ask; which of them meet is up to the machine, so a seed leads to
//! like runs, not to the same one. Hosts are namespaces, so it needs root. `docs/testing.md` says what is promised and what
//! is not tried.

mod checker;
pub mod client;
mod crowd;
mod fault;
mod ground;
mod record;
mod relay;
mod rest;
pub mod task;

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};

use checker::{Broken, Evidence};
use crowd::Crowd;
use fault::{Active, Fault};
use ground::Ground;
use record::{Mark, read_lines};

use crate::sim::rng::Rng;

/// Nodes of two slots.
const NODES: u16 = 4;

const CLIENTS: usize = 3;

/// A cycle begins one fault. 60 of them, and the rest after them, fit into four minutes.
const CYCLE: Duration = Duration::from_millis(2200);

/// Between two looks for faults to make good and daemons to start again.
const LOOK: Duration = Duration::from_millis(100);

/// Runs so many cycles and says what it sees.
///
/// # Errors
/// A promise that was broken, with the seed, the cycle, and what proves it; the folder with everything is kept.
pub fn run(cycles: u64, seed: u64, say: &dyn Fn(String)) -> anyhow::Result<()> {
    say(format!("seed {seed}, {cycles} cycles"));
    let folder = tempfile::Builder::new().prefix("muster-torture.").tempdir()?;
    let ground = Ground::new(NODES, seed)?;
    let name = folder
        .path()
        .file_name()
        .and_then(|name| name.to_str())
        .context("a folder with a name")?;
    let traces = ground.shared().join(name);
    fs::create_dir(&traces)?;
    fs::set_permissions(&traces, fs::Permissions::from_mode(0o1777))?;
    let crowd = Crowd::start(CLIENTS, folder.path(), &ground.socket()?, name, seed)?;
    let mut run = Run {
        rng: Rng::of(seed, "faults"),
        name: name.to_owned(),
        traces,
        began: Instant::now(),
        cycle: 0,
        cycles,
        active: Vec::new(),
        ended_alone: 0,
        begun: 0,
        story: Vec::new(),
        crowd,
        ground,
        say,
    };
    let result = run.torture().and_then(|()| run.come_to_rest());
    let Err(error) = result else {
        return Ok(());
    };
    let kept = folder.keep();
    // What can be kept is kept; the reason of the failure matters more than that.
    let copied = run.keep(&kept);
    let note = copied.map_or_else(|error| format!(" (not all of it: {error:#})"), |()| String::new());
    bail!(
        "seed {seed}, cycle {}: {error:#}\neverything is kept in {}{note}",
        run.cycle,
        kept.display()
    )
}

struct Run<'a> {
    rng: Rng,
    name: String,
    traces: PathBuf,
    began: Instant,
    cycle: u64,
    cycles: u64,
    active: Vec<Active>,
    /// Daemons that ended by themselves, without a full disk.
    ended_alone: u32,
    /// Faults.
    begun: u32,
    /// What was done when.
    story: Vec<String>,
    crowd: Crowd,
    ground: Ground,
    say: &'a dyn Fn(String),
}

impl Run<'_> {
    fn now_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn tell(&mut self, what: &str) {
        self.story
            .push(format!("{:>7} ms  cycle {:<4} {what}", self.now_ms(), self.cycle));
    }

    fn torture(&mut self) -> anyhow::Result<()> {
        while self.cycle < self.cycles {
            self.cycle += 1;
            let left_ms = (self.cycles - self.cycle) * u64::try_from(CYCLE.as_millis())?;
            if let Some((fault, lasts_ms)) = fault::choose(&mut self.rng, self.ground.nodes(), &self.active, left_ms) {
                self.tell(&fault.to_string());
                if fault == Fault::KillClient {
                    self.crowd.kill_one(&mut self.rng)?;
                }
                let until_ms = self.now_ms() + lasts_ms;
                self.active.push(fault.begin(&self.ground, until_ms)?);
                self.begun += 1;
            }
            let end_ms = self.cycle * u64::try_from(CYCLE.as_millis())?;
            while self.now_ms() < end_ms {
                self.watch()?;
                std::thread::park_timeout(LOOK);
            }
            no_broken(checker::check_traces(&self.read_traces()?))?;
        }
        Ok(())
    }

    /// Makes good what is due, and starts what is meant to run.
    fn watch(&mut self) -> anyhow::Result<()> {
        let now_ms = self.now_ms();
        let (due, active) = std::mem::take(&mut self.active)
            .into_iter()
            .partition(|one| one.until_ms <= now_ms);
        self.active = active;
        let due: Vec<Active> = due;
        for one in &due {
            one.heal(&self.ground)?;
            self.tell(&format!("over: {}", one.fault));
        }
        let active = &self.active;
        let away = |host| active.iter().any(|one| one.fault.keeps_away(host));
        let started = self.ground.ensure(away)?;
        for host in started {
            let killed = due.iter().any(|one| one.fault.keeps_away(host));
            let excused = self.active.iter().chain(&due).any(|one| one.fault.excuses(host));
            let how = match (killed, excused) {
                (true, _) => "",
                (false, true) => ", which had ended on its full disk",
                (false, false) => ", which had ended by itself",
            };
            self.tell(&format!("started the daemon of host {host} again{how}"));
            self.ended_alone += u32::from(!killed && !excused);
        }
        if !self.active.iter().any(|one| one.fault == Fault::KillClient) {
            self.crowd.ensure()?;
        }
        Ok(())
    }

    fn read_traces(&self) -> anyhow::Result<BTreeMap<String, Vec<Mark>>> {
        let mut all = BTreeMap::new();
        for entry in fs::read_dir(&self.traces)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            all.insert(name, read_lines(&entry.path())?);
        }
        Ok(all)
    }

    /// Makes everything good, waits until all is over, and checks.
    fn come_to_rest(&mut self) -> anyhow::Result<()> {
        for one in std::mem::take(&mut self.active) {
            one.heal(&self.ground)?;
        }
        self.watch()?;
        self.tell("all faults are over");
        self.crowd.end()?;
        let logs = self
            .crowd
            .logs()
            .iter()
            .map(|path| read_lines(path))
            .collect::<Result<Vec<_>, _>>()?;
        let requests = checker::Requests::of(&logs);
        (self.say)(requests.counts());
        let told = rest::all_over(&self.ground, &requests)?;
        let traces = self.read_traces()?;
        let evidence = Evidence { logs, traces, told };
        (self.say)(format!(
            "{}; {} faults, {} daemons ended by themselves",
            evidence.counts(),
            self.begun,
            self.ended_alone
        ));
        no_broken(checker::check(&evidence))?;
        rest::no_orphan(&self.ground, &self.name)?;
        rest::no_slot_leaked(&self.ground)?;
        rest::no_panic(&self.ground)?;
        (self.say)("all ended as told, none ran twice at once, no orphan is left, no slot leaked".to_owned());
        Ok(())
    }

    /// Copies traces and daemons' logs beside the clients' logs.
    fn keep(&self, kept: &Path) -> anyhow::Result<()> {
        fs::write(kept.join("story"), self.story.join("\n"))?;
        let traces = kept.join("traces");
        fs::create_dir(&traces)?;
        for entry in fs::read_dir(&self.traces)? {
            let entry = entry?;
            fs::copy(entry.path(), traces.join(entry.file_name()))?;
        }
        for (name, path) in self.ground.logs()? {
            fs::copy(path, kept.join(name))?;
        }
        Ok(())
    }
}

/// The most broken promises that are shown.
const SHOWN: usize = 5;

fn no_broken(broken: Vec<Broken>) -> anyhow::Result<()> {
    if broken.is_empty() {
        return Ok(());
    }
    let shown: Vec<String> = broken.iter().take(SHOWN).map(ToString::to_string).collect();
    bail!("{} promises are broken\n{}", broken.len(), shown.join("\n"))
}
