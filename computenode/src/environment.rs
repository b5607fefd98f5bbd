//! The environment of a task: HPC Pack's `CCP_*`, Azure Batch's `AZ_BATCH_*`, Muster's own, and the user's over all.
//!
//! Nothing of the daemon's own environment reaches a task. Variables that begin with `MUSTER_` cannot be set by users:
//! they say what the node knows to be so; but which cluster a task's own commands talk to is the user's choice.
//! Values follow the documents of both products; what Muster has no counterpart for is left out, not made up.

use std::collections::BTreeMap;
use std::net::IpAddr;

use proto::control::{AllocatedNode, StartOrder};
use proto::ids::{NodeName, TaskId, TaskNumber};
use proto::launch::{NODE_ADDRESS_VARIABLE, NODE_NAME_VARIABLE, RANK_NOTES_VARIABLE, TASK_SOCKET_VARIABLE};
use proto::model::role::TaskRole;

use transport::port_range::{PORT_RANGE_VARIABLE, PortRange};

use crate::account::Account;
use crate::kept::Kept;
use crate::workdir::Places;

/// After the node's own folder of commands.
const USUAL_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The cores of an attempt, as the kernel counts them.
pub(crate) const CORES_VARIABLE: &str = "CCP_COREIDS";

/// HPC Pack's number for a run time without a limit.
const NO_LIMIT_SECONDS: u64 = 2_147_483_647;

/// Users cannot set what begins so,
const RESERVED: &str = "MUSTER_";

/// but for where the commands of a task find a cluster.
const HEAD_SOCKET_VARIABLE: &str = "MUSTER_SOCKET";
const FREE: [&str; 2] = [HEAD_SOCKET_VARIABLE, "MUSTER_STATE"];

/// What a task's terminal understands: what nearly everybody's own does.
const TERMINAL: &str = "xterm-256color";

/// What the node knows of itself.
#[derive(Debug, Clone)]
pub struct NodeFacts {
    /// Its name.
    pub name: NodeName,
    /// Where other nodes reach it.
    pub address: IpAddr,
    /// Its folder.
    pub folder: String,
    /// The folder of commands, first in `PATH`.
    pub bin: String,
    /// The cluster's name.
    pub cluster: String,
    /// The head node, as this node dials it, without the port.
    pub head: String,
    /// The head node's own socket, where it is on this machine.
    pub head_socket: Option<String>,
    /// UDP ports for what a task listens on, first and last; none means whatever is free.
    pub ports: Option<PortRange>,
}

/// The variables of one process of an attempt.
#[must_use]
pub fn environment(
    node: &NodeFacts,
    kept: &Kept,
    account: &Account,
    places: &Places,
    socket: Option<&str>,
) -> Vec<(String, String)> {
    let mut all = BTreeMap::new();
    let terminal = kept.order.interactive.is_some_and(|interactive| interactive.terminal);
    all.extend(base(node, account, terminal).map(|(name, value)| (name.to_owned(), value)));
    all.extend(hpc_pack(node, kept, places).map(|(name, value)| (name.to_owned(), value)));
    all.extend(azure_batch(node, kept, places).map(|(name, value)| (name.to_owned(), value)));
    all.extend(own(node, kept, places, socket).map(|(name, value)| (name.to_owned(), value)));
    for (name, value) in &kept.order.env {
        let reserved = name.starts_with(RESERVED) && !FREE.contains(&name.as_str());
        if reserved || name.is_empty() || name.contains('=') {
            continue;
        }
        match value {
            // The user's order of folders stands; our commands are still found.
            Some(value) if name == "PATH" => drop(all.insert(name.clone(), with_folder(value, &node.bin))),
            Some(value) => drop(all.insert(name.clone(), value.clone())),
            None => drop(all.remove(name)),
        }
    }
    all.into_iter().collect()
}

fn with_folder(path: &str, bin: &str) -> String {
    if path.split(':').any(|folder| folder == bin) {
        path.to_owned()
    } else {
        format!("{path}:{bin}")
    }
}

fn base(node: &NodeFacts, account: &Account, terminal: bool) -> impl Iterator<Item = (&'static str, String)> {
    [
        ("PATH", format!("{}:{USUAL_PATH}", node.bin)),
        ("HOME", account.home.clone()),
        ("USER", account.name.clone()),
        ("LOGNAME", account.name.clone()),
        ("SHELL", account.shell.clone()),
        ("LANG", "C.UTF-8".to_owned()),
        ("TMPDIR", "/tmp".to_owned()),
    ]
    .into_iter()
    .chain(terminal.then(|| ("TERM", TERMINAL.to_owned())))
}

fn hpc_pack(node: &NodeFacts, kept: &Kept, places: &Places) -> impl Iterator<Item = (&'static str, String)> {
    let StartOrder { task, nodes, .. } = &kept.order;
    let cores: u64 = nodes.iter().map(|node| u64::from(node.slots)).sum();
    let list = nodes_and_cores(nodes);
    let runtime = kept
        .order
        .runtime_limit
        .map_or(NO_LIMIT_SECONDS, |limit| limit.0.div_ceil(1000));
    let truth = |is: bool| if is { "True" } else { "False" }.to_owned();
    [
        ("CCP_CLUSTER_NAME", node.cluster.clone()),
        ("CCP_SCHEDULER", node.head.clone()),
        ("CCP_HOME", node.folder.clone()),
        ("CCP_JOBID", task.job.to_string()),
        ("CCP_JOBNAME", kept.order.job_name.clone()),
        ("CCP_JOBTYPE", "Batch".to_owned()),
        // There is one way to submit, which is what that name means there.
        ("CCP_JOBTEMPLATE", "Default".to_owned()),
        ("CCP_TASKID", task.number.to_string()),
        (
            "CCP_TASKINSTANCEID",
            task.step.map_or_else(|| "0".to_owned(), |step| step.to_string()),
        ),
        ("CCP_TASKSYSTEMID", kept.order.attempt.to_string()),
        ("CCP_TASKCONTEXT", task.to_string()),
        ("CCP_NUMCPUS", cores.to_string()),
        ("CCP_NODES", list.clone()),
        ("CCP_NODES_CORES", list),
        (CORES_VARIABLE, joined(&kept.core_ids, " ")),
        ("CCP_RETRY_COUNT", kept.order.requeues.to_string()),
        ("CCP_RERUNNABLE", truth(kept.order.rerunnable)),
        ("CCP_EXCLUSIVE", truth(kept.order.exclusive)),
        ("CCP_RUNTIME", runtime.to_string()),
        ("CCP_WORKDIR", places.workdir.clone()),
        ("CCP_MPI_WORKDIR", places.workdir.clone()),
        ("CCP_STDIN", places.stdin.shown()),
        ("CCP_STDOUT", places.stdout.shown()),
        ("CCP_STDERR", places.stderr.shown()),
    ]
    .into_iter()
}

fn azure_batch(node: &NodeFacts, kept: &Kept, places: &Places) -> impl Iterator<Item = (&'static str, String)> {
    let StartOrder { task, nodes, .. } = &kept.order;
    let addresses: Vec<IpAddr> = nodes.iter().map(|node| node.peer.ip()).collect();
    let master = nodes.first().map(|node| node.peer);
    let order = &kept.order;
    let several = nodes.len() > 1 || order.coordination.is_some() || !order.common_files.is_empty();
    let below = |name: &str| format!("{}/{name}", node.folder);
    let always = [
        ("AZ_BATCH_ACCOUNT_NAME", node.cluster.clone()),
        ("AZ_BATCH_NODE_ID", node.name.to_string()),
        // No node is one that its owner may take back at any time.
        ("AZ_BATCH_NODE_IS_DEDICATED", "true".to_owned()),
        ("AZ_BATCH_NODE_ROOT_DIR", node.folder.clone()),
        ("AZ_BATCH_NODE_SHARED_DIR", below("shared")),
        ("AZ_BATCH_NODE_STARTUP_DIR", below("startup")),
        ("AZ_BATCH_NODE_MOUNTS_DIR", below("fsmounts")),
        ("AZ_BATCH_TASK_DIR", places.folder.clone()),
        ("AZ_BATCH_TASK_WORKING_DIR", places.wd.clone()),
    ];
    let for_jobs = [
        ("AZ_BATCH_JOB_ID", task.job.to_string()),
        ("AZ_BATCH_TASK_ID", azure_task(*task)),
    ];
    let of_job = order.role != TaskRole::Start;
    let prepared = order
        .prepared_by
        .filter(|_| order.role != TaskRole::Preparation)
        .map(|attempt| below(&format!("tasks/{}/{}-{attempt}", task.job, TaskNumber::PREPARATION)));
    let prepared = prepared.into_iter().flat_map(|folder| {
        [
            ("AZ_BATCH_JOB_PREP_WORKING_DIR", format!("{folder}/wd")),
            ("AZ_BATCH_JOB_PREP_DIR", folder),
        ]
    });
    let for_several = [
        ("AZ_BATCH_NODE_LIST", joined(&addresses, ";")),
        ("AZ_BATCH_HOST_LIST", joined(&addresses, ",")),
        (
            "AZ_BATCH_MASTER_NODE",
            master.map(|peer| peer.to_string()).unwrap_or_default(),
        ),
        (
            "AZ_BATCH_IS_CURRENT_NODE_MASTER",
            nodes.first().is_some_and(|first| first.name == node.name).to_string(),
        ),
        ("AZ_BATCH_TASK_SHARED_DIR", places.folder.clone()),
    ];
    always
        .into_iter()
        .chain(for_jobs.into_iter().filter(move |_| of_job))
        .chain(order.pool.iter().map(|pool| ("AZ_BATCH_POOL_ID", pool.to_string())))
        .chain(prepared)
        .chain(for_several.into_iter().filter(move |_| several))
}

fn own(
    node: &NodeFacts,
    kept: &Kept,
    places: &Places,
    socket: Option<&str>,
) -> impl Iterator<Item = (&'static str, String)> {
    // Notes are of files that begin empty and belong to this attempt alone; and a terminal is none.
    let order = &kept.order;
    let noted = order.stdout.is_none()
        && order.stderr.is_none()
        && !order.interactive.is_some_and(|interactive| interactive.terminal);
    let names: Vec<&NodeName> = kept.order.nodes.iter().map(|node| &node.name).collect();
    [
        ("MUSTER_JOB_ID", kept.order.task.job.to_string()),
        ("MUSTER_TASK_ID", kept.order.task.to_string()),
        ("MUSTER_TASK_NAME", kept.order.task_name.clone()),
        (NODE_NAME_VARIABLE, node.name.to_string()),
        (NODE_ADDRESS_VARIABLE, node.address.to_string()),
        ("MUSTER_NODE_LIST", joined(&names, " ")),
    ]
    .into_iter()
    .chain(socket.map(|path| (TASK_SOCKET_VARIABLE, path.to_owned())))
    .chain(noted.then(|| (RANK_NOTES_VARIABLE, places.folder.clone())))
    .chain(node.ports.map(|ports| (PORT_RANGE_VARIABLE, ports.to_string())))
    .chain(node.head_socket.clone().map(|path| (HEAD_SOCKET_VARIABLE, path)))
}

/// Azure's ids hold no points.
fn azure_task(task: TaskId) -> String {
    match task.step {
        Some(step) => format!("{}-{step}", task.number),
        None => task.number.to_string(),
    }
}

/// HPC Pack's grammar: the number of nodes, then name and cores of each.
fn nodes_and_cores(nodes: &[AllocatedNode]) -> String {
    let each = nodes.iter().map(|node| format!(" {} {}", node.name, node.slots));
    format!("{}{}", nodes.len(), each.collect::<String>())
}

fn joined<T: ToString>(items: &[T], between: &str) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(between)
}

#[cfg(test)]
mod tests {
    use proto::ids::{AttemptId, PoolName};
    use proto::model::job::Env;
    use proto::units::Millis;

    use super::*;
    use crate::kept::tests::kept;
    use crate::workdir::{Place, Places};

    fn all_of(env: Env) -> Vec<String> {
        let mut kept = kept(7, &["node1", "node2"]);
        kept.order.env = env;
        all_of_kept(kept)
    }

    fn all_of_kept(mut kept: Kept) -> Vec<String> {
        kept.order.runtime_limit = Some(Millis(1500));
        let node = NodeFacts {
            name: NodeName::new("node1").expect("a name"),
            address: "127.0.0.2".parse().expect("an address"),
            folder: "/n".to_owned(),
            bin: "/n/bin".to_owned(),
            cluster: "muster".to_owned(),
            head: "head.site".to_owned(),
            head_socket: Some("/h/head.sock".to_owned()),
            ports: Some("41000-41999".parse().expect("a range")),
        };
        let account = Account {
            name: "alice".to_owned(),
            home: "/home/alice".to_owned(),
            shell: "/bin/bash".to_owned(),
            credentials: None,
        };
        let places = Places {
            folder: "/n/tasks/12/1-7".to_owned(),
            wd: "/n/tasks/12/1-7/wd".to_owned(),
            workdir: "/share".to_owned(),
            stdin: Place::Null,
            stdout: Place::At {
                path: "/share/out".to_owned(),
            },
            stderr: Place::Null,
        };
        let all = environment(&node, &kept, &account, &places, Some("/n/launch/7.sock"));
        all.into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    #[test]
    fn the_whole_environment_of_a_task_on_two_nodes() {
        let expected = "\
AZ_BATCH_ACCOUNT_NAME=muster
AZ_BATCH_HOST_LIST=127.0.0.2,127.0.0.3
AZ_BATCH_IS_CURRENT_NODE_MASTER=true
AZ_BATCH_JOB_ID=12
AZ_BATCH_MASTER_NODE=127.0.0.2:4001
AZ_BATCH_NODE_ID=node1
AZ_BATCH_NODE_IS_DEDICATED=true
AZ_BATCH_NODE_LIST=127.0.0.2;127.0.0.3
AZ_BATCH_NODE_MOUNTS_DIR=/n/fsmounts
AZ_BATCH_NODE_ROOT_DIR=/n
AZ_BATCH_NODE_SHARED_DIR=/n/shared
AZ_BATCH_NODE_STARTUP_DIR=/n/startup
AZ_BATCH_TASK_DIR=/n/tasks/12/1-7
AZ_BATCH_TASK_ID=1
AZ_BATCH_TASK_SHARED_DIR=/n/tasks/12/1-7
AZ_BATCH_TASK_WORKING_DIR=/n/tasks/12/1-7/wd
CCP_CLUSTER_NAME=muster
CCP_COREIDS=0 1
CCP_EXCLUSIVE=False
CCP_HOME=/n
CCP_JOBID=12
CCP_JOBNAME=job
CCP_JOBTEMPLATE=Default
CCP_JOBTYPE=Batch
CCP_MPI_WORKDIR=/share
CCP_NODES=2 node1 2 node2 2
CCP_NODES_CORES=2 node1 2 node2 2
CCP_NUMCPUS=4
CCP_RERUNNABLE=True
CCP_RETRY_COUNT=0
CCP_RUNTIME=2
CCP_SCHEDULER=head.site
CCP_STDERR=/dev/null
CCP_STDIN=/dev/null
CCP_STDOUT=/share/out
CCP_TASKCONTEXT=12.1
CCP_TASKID=1
CCP_TASKINSTANCEID=0
CCP_TASKSYSTEMID=7
CCP_WORKDIR=/share
HOME=/home/alice
LANG=C.UTF-8
LOGNAME=alice
MUSTER_JOB_ID=12
MUSTER_NODE_ADDRESS=127.0.0.2
MUSTER_NODE_LIST=node1 node2
MUSTER_NODE_NAME=node1
MUSTER_PORT_RANGE=41000-41999
MUSTER_RANK_NOTES=/n/tasks/12/1-7
MUSTER_SOCKET=/h/head.sock
MUSTER_TASK_ID=12.1
MUSTER_TASK_NAME=task
MUSTER_TASK_SOCKET=/n/launch/7.sock
PATH=/n/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
SHELL=/bin/bash
TMPDIR=/tmp
USER=alice";
        assert_eq!(all_of(Env::new()).join("\n"), expected);
    }

    /// Those of Azure Batch that a change of the order changes, against a plain task on one node.
    fn changed(change: impl FnOnce(&mut StartOrder)) -> Vec<String> {
        let plain = kept(7, &["node1"]);
        let mut other = plain.clone();
        change(&mut other.order);
        let (before, after) = (all_of_kept(plain), all_of_kept(other));
        let gone = before
            .iter()
            .filter(|line| !after.contains(line))
            .map(|line| format!("-{line}"));
        let come = after.iter().filter(|line| !before.contains(line)).cloned();
        gone.chain(come).collect()
    }

    #[test]
    fn preparation_pool_and_role_are_told() {
        let prepared = |order: &mut StartOrder| {
            order.pool = Some(PoolName::new("cpu").expect("a name"));
            order.prepared_by = Some(AttemptId(5));
        };
        let pool = "AZ_BATCH_POOL_ID=cpu";
        assert_eq!(
            changed(prepared),
            [
                "AZ_BATCH_JOB_PREP_DIR=/n/tasks/12/prep-5",
                "AZ_BATCH_JOB_PREP_WORKING_DIR=/n/tasks/12/prep-5/wd",
                pool
            ]
        );
        let itself = |order: &mut StartOrder| {
            prepared(order);
            order.role = TaskRole::Preparation;
        };
        assert_eq!(changed(itself), [pool]);
        let start = |order: &mut StartOrder| order.role = TaskRole::Start;
        assert_eq!(changed(start), ["-AZ_BATCH_JOB_ID=12", "-AZ_BATCH_TASK_ID=1"]);
    }

    #[test]
    fn a_task_that_coordinates_is_one_of_several_also_on_one_node() {
        let names = |change: fn(&mut StartOrder)| {
            let name = |line: String| line.split_once('=').map(|(name, _)| name.to_owned());
            changed(change).into_iter().filter_map(name).collect::<Vec<_>>()
        };
        let several = [
            "AZ_BATCH_HOST_LIST",
            "AZ_BATCH_IS_CURRENT_NODE_MASTER",
            "AZ_BATCH_MASTER_NODE",
            "AZ_BATCH_NODE_LIST",
            "AZ_BATCH_TASK_SHARED_DIR",
        ];
        assert_eq!(
            names(|order| order.coordination = Some(vec!["true".to_owned()])),
            several
        );
    }

    #[test]
    fn users_set_and_remove_what_is_not_ours() {
        let set = |name: &str, value: Option<&str>| (name.to_owned(), value.map(str::to_owned));
        let env = Env::from([
            set("PATH", Some("/opt/mpi/bin")),
            set("LANG", None),
            set("A", Some("b")),
            set("MUSTER_TASK_SOCKET", Some("/elsewhere")),
            set("MUSTER_NODE_NAME", None),
            set("MUSTER_SOCKET", Some("/other/head.sock")),
            set("MUSTER_STATE", Some("/other")),
        ]);
        let all = all_of(env);
        for there in [
            "PATH=/opt/mpi/bin:/n/bin",
            "A=b",
            "MUSTER_TASK_SOCKET=/n/launch/7.sock",
            "MUSTER_NODE_NAME=node1",
            "MUSTER_SOCKET=/other/head.sock",
            "MUSTER_STATE=/other",
        ] {
            assert!(all.iter().any(|line| line == there), "{there} in {all:?}");
        }
        assert!(!all.iter().any(|line| line.starts_with("LANG=")));
    }
}
