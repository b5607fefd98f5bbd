//! Exit conditions: what follows from the end of a task, beyond success and failure (Azure Batch's `exitConditions`).

use serde::{Deserialize, Serialize};

/// How often a task is run again after an exit that is no success.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Retries {
    /// At most so often.
    AtMost(u32),
    /// For ever (Azure Batch's -1).
    Unlimited,
}

impl Retries {
    /// Whether one more is allowed after so many.
    #[must_use]
    pub const fn allows(self, so_far: u32) -> bool {
        match self {
            Self::AtMost(most) => so_far < most,
            Self::Unlimited => true,
        }
    }
}

/// What a task's end means for the tasks that depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DependencyAction {
    /// They may run.
    Satisfy,
    /// They may not.
    Block,
}

/// What a task's end means for its job, where the job asks for it ([`super::job::JobSpec::perform_exit_actions`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JobAction {
    /// Nothing.
    None,
    /// The job is disabled; its running tasks wait again.
    Disable,
    /// The job is terminated with the reason `TaskFailed`.
    Terminate,
}

/// What follows from one kind of end. What is none follows the defaults: satisfied and no job action after success; blocked
/// and `terminate` after anything else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitOptions {
    /// For dependents.
    #[serde(default)]
    pub dependency: Option<DependencyAction>,
    /// For the job.
    #[serde(default)]
    pub job: Option<JobAction>,
}

/// Exit codes with what follows from them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRule {
    /// The first code.
    pub first: i32,
    /// The last, not before the first.
    pub last: i32,
    /// What follows.
    pub options: ExitOptions,
}

/// The most rules of one task.
pub const MAX_EXIT_RULES: usize = 64;

/// Matched in this order: rules by exit code, in their order; a start that failed; an upload that failed; the default.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ExitConditions {
    /// By exit code, single codes before ranges; at most [`MAX_EXIT_RULES`].
    #[serde(default)]
    pub codes: Vec<ExitRule>,
    /// When it could not be started: no program, no directory, no user, no files, a failed coordination command.
    #[serde(default)]
    pub pre_processing_error: Option<ExitOptions>,
    /// When its output could not be uploaded. Nothing uploads yet; kept for the REST API.
    #[serde(default)]
    pub file_upload_error: Option<ExitOptions>,
    /// When nothing else matched.
    #[serde(default)]
    pub default: Option<ExitOptions>,
}
