//! The keys of a job file: each is an option, and is read by its parser.

use crate::args::table::Key;

/// How values are turned into those of an option.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// One value; of a list all with commas between.
    Text,
    /// A command: one text, or its words.
    Command,
    /// A value each: of a list, or of a table with this sign between key and value.
    Each(char),
}

/// A key.
#[derive(Debug)]
pub(super) struct Word {
    /// Its name, and others for it.
    pub(super) names: &'static [&'static str],
    /// The option.
    pub(super) key: Key,
    /// How it is written.
    pub(super) shape: Shape,
}

const fn text(names: &'static [&'static str], key: Key) -> Word {
    Word {
        names,
        key,
        shape: Shape::Text,
    }
}

const fn word(names: &'static [&'static str], key: Key, shape: Shape) -> Word {
    Word { names, key, shape }
}

/// Of `[job]`.
pub(super) const JOB: &[Word] = &[
    text(&["name", "job_name"], Key::JobName),
    text(&["project", "project_name"], Key::Project),
    text(&["pool"], Key::Pool),
    text(&["node_groups", "node_group"], Key::NodeGroup),
    text(&["node_group_op"], Key::GroupOperator),
    text(&["requested_nodes"], Key::RequestedNodes),
    text(&["nodes", "num_nodes"], Key::NumNodes),
    text(&["sockets", "num_sockets"], Key::NumSockets),
    text(&["cores", "num_cores"], Key::NumCores),
    text(&["cores_per_node"], Key::CoresPerNode),
    text(&["memory_per_node"], Key::MemoryPerNode),
    text(&["single_node"], Key::SingleNode),
    text(&["order_by"], Key::OrderBy),
    text(&["exclusive"], Key::Exclusive),
    text(&["priority"], Key::Priority),
    text(&["runtime"], Key::RunTime),
    text(&["max_wall_clock"], Key::MaxWallClock),
    text(&["hold_until"], Key::HoldUntil),
    text(&["fail_on_task_failure"], Key::FailOnTaskFailure),
    text(&["fail_dependent_tasks"], Key::FailDependentTasks),
    text(&["run_until_canceled"], Key::RunUntilCanceled),
    text(&["valid_exit_codes"], Key::ValidExitCodes),
    text(&["max_task_retries"], Key::MaxTaskRetries),
    text(&["max_parallel_tasks"], Key::MaxParallelTasks),
    text(&["perform_exit_actions"], Key::PerformExitActions),
    text(&["parents", "parent_job_ids"], Key::Parents),
    word(&["env", "job_env"], Key::JobEnv, Shape::Each('=')),
];

/// Of `[[task]]`, and of the tasks that a job has beside those.
pub(super) const TASK: &[Word] = &[
    text(&["name"], Key::TaskName),
    text(&["type"], Key::TaskType),
    text(&["nodes", "num_nodes"], Key::NumNodes),
    text(&["sockets", "num_sockets"], Key::NumSockets),
    text(&["cores", "num_cores"], Key::NumCores),
    text(&["array", "parametric"], Key::Parametric),
    text(&["depends_on", "depend"], Key::Depend),
    text(&["depends_on_ids", "depend_ids"], Key::DependIds),
    text(&["exclusive"], Key::Exclusive),
    text(&["runtime"], Key::RunTime),
    text(&["workdir"], Key::WorkDir),
    text(&["stdin"], Key::StdIn),
    text(&["stdout"], Key::StdOut),
    text(&["stderr"], Key::StdErr),
    word(&["env"], Key::Env, Shape::Each('=')),
    text(&["memory"], Key::Memory),
    word(&["resources", "resource"], Key::Resource, Shape::Each(':')),
    word(&["coordination"], Key::Coordination, Shape::Command),
    word(&["common_files", "common_file"], Key::CommonFile, Shape::Each('=')),
    text(&["any_domain"], Key::AnyDomain),
    text(&["affinity"], Key::Affinity),
    text(&["rerunnable"], Key::Rerunnable),
    text(&["retry_limit"], Key::RetryLimit),
    text(&["max_retries"], Key::MaxRetries),
    text(&["valid_exit_codes"], Key::ValidExitCodes),
    word(&["exit_conditions", "on_exit"], Key::OnExit, Shape::Each('=')),
    text(&["retention"], Key::Retention),
];

/// Of `[prep]` besides.
pub(super) const PREP: &[Word] = &[text(&["no_wait"], Key::PrepNoWait), text(&["once"], Key::PrepOnce)];

/// Of `[manager]` besides.
pub(super) const MANAGER: &[Word] = &[
    text(&["keep_job"], Key::ManagerKeepJob),
    text(&["shared"], Key::ManagerShared),
];
