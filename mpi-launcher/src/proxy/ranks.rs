//! Starting the ranks of one node: the program, its environment, its sockets, its process group.
//!
//! Nothing runs between fork and exec: the PMI socket loses its close-on-exec mark just before the spawn and is closed
//! here just after, and the core mask is inherited (see `bind`). So the standard library can use its fast path,
//! `posix_spawn`, and no rank ever holds the socket of another.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::unistd::Pid;
use proto::ids::Rank;
use proto::launch::{
    LAUNCH_VARIABLE, NODE_ADDRESS_VARIABLE, NODE_NAME_VARIABLE, RENDEZVOUS_VARIABLE, RunOrder, StartProblem,
    TASK_SOCKET_VARIABLE,
};
use tokio::process::{Child, Command};

use super::bind::{self, Binding, CORE_IDS_VARIABLE};

/// An environment in order of names.
pub(crate) type Environment = BTreeMap<String, String>;

/// A rank that runs.
#[derive(Debug)]
pub(crate) struct StartedRank {
    /// Which.
    pub(crate) rank: Rank,
    /// Its process and process group.
    pub(crate) group: Pid,
    /// Its process, with its pipes.
    pub(crate) child: Child,
    /// Our end of its PMI socket.
    pub(crate) pmi: UnixStream,
}

/// Why a rank could not be started.
#[derive(Debug)]
pub(crate) struct NotStarted {
    /// Which.
    pub(crate) rank: Rank,
    /// What kind.
    pub(crate) problem: StartProblem,
    /// For people.
    pub(crate) reason: String,
}

/// Variables that other launchers gave us for our own start; handed on, they would point ranks to foreign sockets.
const LAUNCH_PREFIXES: [&str; 6] = ["PMI", "OMPI_", "SLURM_", "HYDI_", "HYDRA_", "MPI_LOCAL"];

/// What a node knows better than mpiexec's environment.
const NODE_VARIABLES: [&str; 14] = [
    NODE_NAME_VARIABLE,
    NODE_ADDRESS_VARIABLE,
    TASK_SOCKET_VARIABLE,
    CORE_IDS_VARIABLE,
    // By this mark the node's spawner knows its own processes.
    "MUSTER_ATTEMPT",
    "CCP_WORKDIR",
    NODE_ROOT_VARIABLE,
    "AZ_BATCH_NODE_ID",
    "AZ_BATCH_IS_CURRENT_NODE_MASTER",
    "AZ_BATCH_TASK_DIR",
    "AZ_BATCH_TASK_SHARED_DIR",
    "AZ_BATCH_TASK_WORKING_DIR",
    "HOSTNAME",
    "TMPDIR",
];

/// The node's folder; its `bin` comes first in the path of tasks.
const NODE_ROOT_VARIABLE: &str = "AZ_BATCH_NODE_ROOT_DIR";

/// Starts the ranks of this node one after the other. After a failure, those that run already come back with it.
pub(crate) fn start(order: &RunOrder, own: &Environment) -> (Vec<StartedRank>, Option<NotStarted>) {
    let ranks: Vec<Rank> = order.map.ranks_of(order.position).collect();
    let mut started = Vec::with_capacity(ranks.len());
    let Some(first) = ranks.first().copied() else {
        return (started, None);
    };
    let prepared = prepare(order, own, ranks.len());
    let prepared = match prepared {
        Ok(prepared) => prepared,
        Err((problem, reason)) => {
            return (
                started,
                Some(NotStarted {
                    rank: first,
                    problem,
                    reason,
                }),
            );
        }
    };
    for (local, rank) in ranks.iter().copied().enumerate() {
        match spawn(&prepared, order, rank, local) {
            Ok(rank) => started.push(rank),
            Err(error) => {
                let problem = match error.kind() {
                    io::ErrorKind::PermissionDenied => StartProblem::NotExecutable,
                    _ if error.raw_os_error() == Some(libc::ENOEXEC) => StartProblem::NotExecutable,
                    _ => StartProblem::System,
                };
                let reason = format!("'{}': {error}", prepared.program.display());
                return (started, Some(NotStarted { rank, problem, reason }));
            }
        }
    }
    (started, None)
}

/// What all ranks of the node have in common.
struct Prepared {
    program: PathBuf,
    directory: Option<PathBuf>,
    environment: Environment,
    /// The cores of each local rank; none when ranks are not bound.
    cores: Option<Vec<Vec<usize>>>,
    ranks: usize,
}

fn prepare(order: &RunOrder, own: &Environment, ranks: usize) -> Result<Prepared, (StartProblem, String)> {
    let environment = environment(order, own);
    let directory = directory(order)?;
    let Some(word) = order.command.first() else {
        return Err((StartProblem::NotFound, "no program was named".to_owned()));
    };
    let paths = [environment.get("PATH"), own.get("PATH")];
    let program = find(
        word,
        directory.as_deref(),
        &paths.map(|path| path.map_or("", String::as_str)),
    )?;
    let cores = order.affinity.then(|| {
        let cores = bind::usable_cores(own.get(CORE_IDS_VARIABLE).map(String::as_str))?;
        Ok((0..ranks).map(|local| bind::share(&cores, local, ranks)).collect())
    });
    let cores = cores.transpose().map_err(|error: io::Error| {
        (
            StartProblem::System,
            format!("the usable cores cannot be read: {error}"),
        )
    })?;
    Ok(Prepared {
        program,
        directory,
        environment,
        cores,
        ranks,
    })
}

fn spawn(prepared: &Prepared, order: &RunOrder, rank: Rank, local: usize) -> io::Result<StartedRank> {
    let (ours, theirs) = UnixStream::pair()?;
    ours.set_nonblocking(true)?;
    let theirs = OwnedFd::from(theirs);
    let mut command = Command::new(&prepared.program);
    let name = order.command.first().map_or("", String::as_str);
    command
        .arg0(name)
        .args(order.command.iter().skip(1))
        .env_clear()
        .envs(&prepared.environment)
        .envs(rank_variables(order, rank, local, prepared.ranks, theirs.as_raw_fd()))
        .stdin(if rank == Rank(0) { Stdio::piped() } else { Stdio::null() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(directory) = &prepared.directory {
        command.current_dir(directory);
    }
    let binding = prepared
        .cores
        .as_ref()
        .and_then(|cores| cores.get(local))
        .map(|cores| Binding::to(cores));
    let binding = binding.transpose()?;
    fcntl(theirs.as_fd(), FcntlArg::F_SETFD(FdFlag::empty()))?;
    let child = command.spawn();
    drop((theirs, binding));
    let child = child?;
    let id = child.id().and_then(|id| i32::try_from(id).ok());
    let group = id
        .map(Pid::from_raw)
        .ok_or_else(|| io::Error::other("the process ended before it was known"))?;
    Ok(StartedRank {
        rank,
        group,
        child,
        pmi: ours,
    })
}

/// The environment that all ranks of the node share: mpiexec's, with what this node knows better and what was asked for.
fn environment(order: &RunOrder, own: &Environment) -> Environment {
    let foreign = |name: &str| {
        LAUNCH_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            || [LAUNCH_VARIABLE, RENDEZVOUS_VARIABLE].contains(&name)
    };
    let from_launch = order
        .inherited
        .iter()
        .filter(|(name, _)| !foreign(name) && !NODE_VARIABLES.contains(&name.as_str()));
    let mut environment: Environment = from_launch.cloned().collect();
    let their_root = order
        .inherited
        .iter()
        .find(|(name, _)| name == NODE_ROOT_VARIABLE)
        .map(|(_, root)| root.as_str());
    if let (Some(path), Some(theirs), Some(ours)) =
        (environment.get_mut("PATH"), their_root, own.get(NODE_ROOT_VARIABLE))
    {
        *path = with_own_programs(path, theirs, ours);
    }
    for name in NODE_VARIABLES {
        if let Some(value) = own.get(name) {
            environment.insert(name.to_owned(), value.clone());
        }
    }
    // MPICH 5 gives up when it sees variables of several process managers, unless told which one to use.
    environment.insert("MPIR_CVAR_PMI_VERSION".to_owned(), "1".to_owned());
    for (name, value) in &order.env {
        match value {
            Some(value) => environment.insert(name.clone(), value.clone()),
            None => environment.remove(name),
        };
    }
    environment.insert(NODE_NAME_VARIABLE.to_owned(), order.node_name.to_string());
    environment.retain(|name, value| is_carried(name, value));
    environment
}

/// A path in which the folder of programs of mpiexec's node is the one of this node.
fn with_own_programs(path: &str, theirs: &str, ours: &str) -> String {
    let (theirs, ours) = (format!("{theirs}/bin"), format!("{ours}/bin"));
    let folders = path
        .split(':')
        .map(|folder| if folder == theirs { ours.as_str() } else { folder });
    folders.collect::<Vec<_>>().join(":")
}

/// Names and values that a process can have; anything else would make every spawn fail with no word about which.
fn is_carried(name: &str, value: &str) -> bool {
    !name.is_empty() && !name.contains(['=', '\0']) && !value.contains('\0')
}

/// What only this rank has. Open MPI's names are here too because programs read them to choose a device.
fn rank_variables(order: &RunOrder, rank: Rank, local: usize, ranks: usize, pmi: i32) -> [(&'static str, String); 9] {
    let (rank, size) = (rank.to_string(), order.map.size().to_string());
    [
        ("PMI_FD", pmi.to_string()),
        ("PMI_RANK", rank.clone()),
        ("PMI_SIZE", size.clone()),
        ("MPI_LOCALRANKID", local.to_string()),
        ("MPI_LOCALNRANKS", ranks.to_string()),
        ("OMPI_COMM_WORLD_RANK", rank),
        ("OMPI_COMM_WORLD_SIZE", size),
        ("OMPI_COMM_WORLD_LOCAL_RANK", local.to_string()),
        ("OMPI_COMM_WORLD_LOCAL_SIZE", ranks.to_string()),
    ]
}

/// Where the ranks start; none means where this proxy was started.
fn directory(order: &RunOrder) -> Result<Option<PathBuf>, (StartProblem, String)> {
    let launched = order
        .launch_dir
        .as_deref()
        .map(PathBuf::from)
        .filter(|path| path.is_dir());
    let Some(asked) = &order.workdir else {
        return Ok(launched);
    };
    let path = launched.unwrap_or_default().join(asked);
    if path.is_dir() {
        return Ok(Some(path));
    }
    Err((
        StartProblem::System,
        format!("the working directory '{}' is not there (-wdir)", path.display()),
    ))
}

/// Finds the program as a shell would, in the first path, then in the others.
fn find(word: &str, directory: Option<&Path>, paths: &[&str]) -> Result<PathBuf, (StartProblem, String)> {
    let here = directory.map_or_else(PathBuf::new, Path::to_path_buf);
    if word.contains('/') {
        let path = std::path::absolute(here.join(word)).unwrap_or_else(|_| here.join(word));
        return match check(&path) {
            Found::Program => Ok(path),
            Found::NotExecutable => Err(not_executable(&path)),
            Found::Nothing => Err((StartProblem::NotFound, format!("no such program '{}'", path.display()))),
        };
    }
    let mut unusable = None;
    for folder in paths
        .iter()
        .flat_map(|path| path.split(':'))
        .filter(|folder| !folder.is_empty())
    {
        let path = here.join(folder).join(word);
        match check(&path) {
            Found::Program => return Ok(std::path::absolute(&path).unwrap_or(path)),
            Found::NotExecutable => unusable = unusable.or(Some(path)),
            Found::Nothing => {}
        }
    }
    if let Some(path) = unusable {
        return Err(not_executable(&path));
    }
    let local = here
        .join(word)
        .is_file()
        .then(|| format!("; for the one in the working directory write './{word}'"));
    let reason = format!(
        "no such program '{word}' in PATH ({}){}",
        paths[0],
        local.unwrap_or_default()
    );
    Err((StartProblem::NotFound, reason))
}

enum Found {
    Program,
    NotExecutable,
    Nothing,
}

fn check(path: &Path) -> Found {
    match std::fs::metadata(path) {
        Ok(facts) if facts.is_file() && facts.permissions().mode() & 0o111 != 0 => Found::Program,
        Ok(_) => Found::NotExecutable,
        Err(_) => Found::Nothing,
    }
}

fn not_executable(path: &Path) -> (StartProblem, String) {
    (
        StartProblem::NotExecutable,
        format!("'{}' is there and cannot be executed; see 'chmod +x'", path.display()),
    )
}

#[cfg(test)]
mod tests {
    use proto::ids::NodeName;
    use proto::taskmap::TaskMap;

    use super::*;

    #[test]
    fn the_path_leads_to_this_nodes_programs() {
        assert_eq!(
            with_own_programs("/n1/bin:/usr/bin:/n1/bin2", "/n1", "/n2"),
            "/n2/bin:/usr/bin:/n1/bin2"
        );
    }

    fn order() -> RunOrder {
        RunOrder {
            position: 1,
            node_name: NodeName::new("n2").expect("a name"),
            map: TaskMap::per_node(2, 2).expect("a map"),
            command: vec!["sh".into()],
            workdir: None,
            launch_dir: None,
            env: vec![],
            inherited: vec![],
            affinity: false,
            kvs_name: "k".into(),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn foreign_launch_variables_stay_out_and_the_node_knows_itself() {
        let mut order = order();
        order.inherited = pairs(&[
            ("HOME", "/home/u"),
            ("PMI_FD", "9"),
            ("PMIX_RANK", "0"),
            ("SLURM_JOB_ID", "1"),
            ("OMPI_UNIVERSE_SIZE", "9"),
            ("MPI_LOCALRANKID", "7"),
            ("MUSTER_LAUNCH", "aa"),
            ("MUSTER_NODE_ADDRESS", "10.0.0.1"),
            ("CCP_COREIDS", "0 1"),
        ]);
        order.env = vec![
            ("OMPI_MCA_btl".into(), Some("self".into())),
            ("HOME".into(), None),
            ("A=".into(), None),
        ];
        let own = pairs(&[("MUSTER_NODE_ADDRESS", "10.0.0.2"), ("OTHER", "x")])
            .into_iter()
            .collect();
        let all: Vec<(String, String)> = environment(&order, &own).into_iter().collect();
        let expected = [
            ("MPIR_CVAR_PMI_VERSION", "1"),
            ("MUSTER_NODE_ADDRESS", "10.0.0.2"),
            ("MUSTER_NODE_NAME", "n2"),
            ("OMPI_MCA_btl", "self"),
        ];
        assert_eq!(all, pairs(&expected));
    }

    #[test]
    fn a_rank_knows_its_place() {
        let set: BTreeMap<_, _> = rank_variables(&order(), Rank(3), 1, 2, 5).into_iter().collect();
        assert_eq!(
            (
                set["PMI_RANK"].as_str(),
                set["PMI_SIZE"].as_str(),
                set["PMI_FD"].as_str()
            ),
            ("3", "4", "5")
        );
        assert_eq!(
            (set["MPI_LOCALRANKID"].as_str(), set["MPI_LOCALNRANKS"].as_str()),
            ("1", "2")
        );
        assert_eq!(set["OMPI_COMM_WORLD_LOCAL_RANK"], "1");
    }

    #[test]
    fn programs_are_found_as_a_shell_finds_them() {
        let folder = tempfile::tempdir().expect("a folder");
        let (tool, data) = (folder.path().join("tool"), folder.path().join("data"));
        std::fs::write(&tool, "#!/bin/sh\n").expect("written");
        std::fs::write(&data, "x").expect("written");
        std::fs::set_permissions(&tool, PermissionsExt::from_mode(0o755)).expect("a mode");
        let (path, here) = (folder.path().to_str().expect("text"), Some(folder.path()));
        assert_eq!(find("tool", None, &["/nowhere", path]).expect("found"), tool);
        assert_eq!(
            find("./tool", here, &[""])
                .expect("found")
                .canonicalize()
                .expect("real"),
            tool.canonicalize().expect("real")
        );
        let refused = |word: &str, paths: &[&str]| find(word, here, paths).expect_err("refused");
        assert_eq!(refused("data", &[path]).0, StartProblem::NotExecutable);
        assert_eq!(refused("./data", &[""]).0, StartProblem::NotExecutable);
        assert_eq!(
            refused("/no/such", &[""]),
            (StartProblem::NotFound, "no such program '/no/such'".into())
        );
        let (problem, reason) = refused("tool", &["/nowhere"]);
        assert_eq!(problem, StartProblem::NotFound);
        assert_eq!(
            reason,
            "no such program 'tool' in PATH (/nowhere); for the one in the working directory write './tool'"
        );
    }

    #[test]
    fn a_missing_workdir_is_named_and_a_missing_launch_dir_is_not_needed() {
        let mut order = order();
        order.launch_dir = Some("/no/such/place".into());
        assert_eq!(directory(&order).expect("not needed"), None);
        order.workdir = Some("/no/such/dir".into());
        let (_, reason) = directory(&order).expect_err("refused");
        assert_eq!(reason, "the working directory '/no/such/dir' is not there (-wdir)");
    }
}
