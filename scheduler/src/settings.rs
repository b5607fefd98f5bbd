//! The clocks of a cluster, and the one rule between them that keeps a task from running twice.

use proto::control::Timing;
use proto::units::Millis;

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
