//! The clocks of a cluster, the one rule between them that keeps a task from running twice, and the cluster's parameters
//! as people see them.

use proto::client::Parameter;
use proto::control::Timing;
use proto::model::task::DEFAULT_REQUEUES;
use proto::units::Millis;

use crate::cluster::Cluster;

/// Between a polite stop and a kill, in seconds.
pub(crate) const CANCEL_GRACE: &str = "TaskCancelGracePeriod";

/// How often a task is started again.
pub(crate) const RETRY_COUNT: &str = "TaskRetryCount";

/// How many waiting jobs behind a blocked one are tried.
pub(crate) const BACKFILL_LOOK_AHEAD: &str = "BackfillLookAhead";

/// `BackfillLookAhead` where nobody has set it: HPC Pack's.
pub(crate) const LOOK_AHEAD: u32 = 1000;

/// The largest `BackfillLookAhead`.
pub(crate) const MAX_LOOK_AHEAD: u32 = 1_000_000;

/// Parameters that an administrator may set, as HPC Pack calls them.
pub(crate) const SETTABLE: &[&str] = &[CANCEL_GRACE, RETRY_COUNT, BACKFILL_LOOK_AHEAD];

/// Parameters that are shown, and set where the head node is started.
pub(crate) const SHOWN: &[&str] = &[
    "HeartbeatInterval",
    "SuspectTimeout",
    "LostTimeout",
    "FencingLease",
    "ClockDrift",
];

/// Parameters of HPC Pack that nothing acts on yet.
pub(crate) const UNBUILT: &[&str] = &[
    "ActivationFilterProgram",
    "ActivationFilterTimeout",
    "AffinityType",
    "AutomaticGrowthEnabled",
    "AutomaticShrinkEnabled",
    "AutoGrowShrink",
    "DefaultHoldDuration",
    "DisableCredentialReuse",
    "EmailAddress",
    "EmailNotificationEnabled",
    "EnableGrowShrink",
    "EnablePreemption",
    "EnablePoolsMode",
    "ExcludedNodesLimit",
    "GrowInterval",
    "GrowThreshold",
    "HpcSoftCard",
    "InactivityCount",
    "JobCleanUpDayOfWeek",
    "JobCleanUpHour",
    "JobRetryCount",
    "NettcpOver443",
    "NodeReleaseTaskTimeout",
    "PreemptionBalancedMode",
    "PreemptionMode",
    "PreemptionType",
    "PriorityBias",
    "PriorityBiasLevel",
    "QueueBalancedMode",
    "ReBalancingInterval",
    "SchedulingMode",
    "ShrinkInterval",
    "ShrinkThreshold",
    "SubmissionFilterProgram",
    "SubmissionFilterTimeout",
    "TaskImmediatePreemptionEnabled",
    "TtlCompletedJobs",
];

/// The longest `TaskCancelGracePeriod`.
pub(crate) const MAX_CANCEL_GRACE: Millis = Millis(3_600_000);

/// The largest `TaskRetryCount`.
pub(crate) const MAX_RETRY_COUNT: u32 = 100;

/// When a silent node is suspected and given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// What nodes are told at their hello.
    pub timing: Timing,
    /// Silence after which a node gets no new tasks.
    pub suspect_after: Millis,
    /// Silence after which what a node ran may be started elsewhere.
    pub lost_after: Millis,
    /// How far the clocks of node and head may run apart over one lease, and a kill may take.
    pub drift: Millis,
}

impl Default for Settings {
    /// The on-site values: three missed heartbeats, and a lease that outlasts the maintenance of a head node.
    fn default() -> Self {
        let timing = Timing::default();
        Self {
            timing,
            suspect_after: Millis(3 * timing.heartbeat.0),
            lost_after: Millis::from_seconds(660),
            drift: Millis::from_seconds(30),
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SettingsError {
    /// A node could still run what the head starts elsewhere.
    #[error(
        "a node is given up after {lost_after}, but may run its tasks for {held}: \
         make the lost timeout longer than lease, kill grace and {drift} of drift together"
    )]
    RunsTwice {
        /// The lost timeout.
        lost_after: Millis,
        /// Lease, kill grace and drift together.
        held: Millis,
        /// The drift.
        drift: Millis,
    },
    /// A node would be suspected between two heartbeats.
    #[error("a node is suspected after {suspect_after}: make that at least twice the heartbeat of {heartbeat}")]
    Hasty {
        /// The silence after which a node is suspected.
        suspect_after: Millis,
        /// The time between two heartbeats.
        heartbeat: Millis,
    },
    /// A node would be given up before it is suspected.
    #[error(
        "a node is given up after {lost_after}: make that longer than the {suspect_after} after which it is suspected"
    )]
    Backwards {
        /// The lost timeout.
        lost_after: Millis,
        /// The silence after which a node is suspected.
        suspect_after: Millis,
    },
    /// A heartbeat that never pauses.
    #[error("the heartbeat is 0: use at least 1 second")]
    NoHeartbeat,
}

impl Settings {
    /// Whether nothing can run twice under these settings.
    ///
    /// # Errors
    /// [`SettingsError`] names the rule that is broken and what to change.
    pub fn check(&self) -> Result<(), SettingsError> {
        let Self {
            timing,
            suspect_after,
            lost_after,
            drift,
        } = *self;
        let held = timing.lease + timing.kill_grace + drift;
        if timing.heartbeat == Millis(0) {
            return Err(SettingsError::NoHeartbeat);
        }
        if suspect_after < timing.heartbeat + timing.heartbeat {
            return Err(SettingsError::Hasty {
                suspect_after,
                heartbeat: timing.heartbeat,
            });
        }
        if lost_after <= suspect_after {
            return Err(SettingsError::Backwards {
                lost_after,
                suspect_after,
            });
        }
        if held >= lost_after {
            return Err(SettingsError::RunsTwice {
                lost_after,
                held,
                drift,
            });
        }
        Ok(())
    }
}

/// All parameters of a cluster as they are in force: those that can be set, then the clocks.
#[must_use]
pub fn parameters_in_force(cluster: &Cluster) -> Vec<Parameter> {
    let settings = cluster.settings();
    let set = cluster.settings_row().parameters;
    let seconds = |span: Millis| match span.0 % 1000 {
        0 => (span.0 / 1000).to_string(),
        part => format!("{}.{part:03}", span.0 / 1000),
    };
    let settable = [
        (
            seconds(cluster.cancel_grace()),
            "seconds between a polite stop of a task and its kill",
        ),
        (
            set.task_retry_count.unwrap_or(DEFAULT_REQUEUES).to_string(),
            "how often a task is started again after failures that are not its own",
        ),
        (
            set.backfill_look_ahead.unwrap_or(LOOK_AHEAD).to_string(),
            "how many waiting jobs behind a blocked one are tried; 0 lets none pass",
        ),
    ];
    let shown = [
        (settings.timing.heartbeat, "seconds between two signs of life of a node"),
        (
            settings.suspect_after,
            "seconds of silence after which a node gets no new tasks",
        ),
        (
            settings.lost_after,
            "seconds of silence after which what a node ran is started elsewhere",
        ),
        (
            settings.timing.lease,
            "seconds without the head node after which a node ends what may be started elsewhere",
        ),
        (settings.drift, "seconds that clocks may run apart over one lease"),
    ];
    let parameter = |name: &&str, value: String, meaning: &str, settable: bool| Parameter {
        name: (*name).to_owned(),
        value,
        meaning: meaning.to_owned(),
        settable,
    };
    let settable = SETTABLE.iter().zip(settable);
    let shown = SHOWN.iter().zip(shown);
    settable
        .map(|(name, (value, meaning))| parameter(name, value, meaning, true))
        .chain(shown.map(|(name, (span, meaning))| parameter(name, seconds(span), meaning, false)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_hold() {
        assert_eq!(Settings::default().check(), Ok(()));
    }

    #[test]
    fn clocks_that_let_a_task_run_twice_are_refused() {
        let short = Settings {
            lost_after: Millis::from_seconds(645),
            ..Settings::default()
        };
        assert!(
            matches!(short.check(), Err(SettingsError::RunsTwice { .. })),
            "equal is too short"
        );
        let hasty = Settings {
            suspect_after: Millis::from_seconds(6),
            ..Settings::default()
        };
        assert!(matches!(hasty.check(), Err(SettingsError::Hasty { .. })));
    }
}
