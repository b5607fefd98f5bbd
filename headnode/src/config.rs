//! Settings: a file and flags, read to plain values first and then checked into working ones.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use proto::control::Timing;
use proto::units::Millis;
use scheduler::Settings;
use serde::Deserialize;

/// A file of settings, as written. A field that is not there has its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct File {
    /// The cluster's name.
    pub cluster: String,
    /// Where compute nodes dial in.
    pub listen: SocketAddr,
    /// The clocks.
    pub timing: TimingFile,
}

impl Default for File {
    fn default() -> Self {
        Self {
            cluster: "muster".to_owned(),
            listen: SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)),
            timing: TimingFile::default(),
        }
    }
}

/// The UDP port where nodes dial in when nothing else is said.
pub const DEFAULT_PORT: u16 = 8745;

/// The clocks, as written.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct TimingFile {
    /// How often a node says that it is there.
    pub heartbeat_seconds: u64,
    /// Silence after which a node gets no new work.
    pub suspect_after_seconds: u64,
    /// The fencing lease.
    pub lease_seconds: u64,
    /// Between a polite stop and a kill.
    pub kill_grace_seconds: u64,
    /// Silence after which a node's tasks may be started elsewhere.
    pub lost_after_seconds: u64,
}

impl Default for TimingFile {
    fn default() -> Self {
        let settings = Settings::default();
        Self {
            heartbeat_seconds: settings.timing.heartbeat.0 / 1000,
            suspect_after_seconds: settings.suspect_after.0 / 1000,
            lease_seconds: settings.timing.lease.0 / 1000,
            kill_grace_seconds: settings.timing.kill_grace.0 / 1000,
            lost_after_seconds: settings.lost_after.0 / 1000,
        }
    }
}

/// Why settings cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("the settings file {path} cannot be read")]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// The file is no settings file.
    #[error("the settings file {path} is wrong")]
    Wrong {
        /// Which.
        path: PathBuf,
        /// Where and why.
        #[source]
        source: Box<toml::de::Error>,
    },
    /// The clocks contradict each other.
    #[error("[timing]: {what}")]
    Timing {
        /// Which rule is broken.
        what: String,
    },
}

/// Checked settings.
#[derive(Debug, Clone)]
pub struct Config {
    /// The cluster's name.
    pub cluster: String,
    /// Where compute nodes dial in.
    pub listen: SocketAddr,
    /// Where the head node keeps everything.
    pub dir: PathBuf,
    /// For the scheduler.
    pub settings: Settings,
}

/// Reads a file of settings; none gives the defaults.
///
/// # Errors
/// [`ConfigError`], naming the file and the line.
pub fn read(path: Option<&Path>) -> Result<File, ConfigError> {
    let Some(path) = path else { return Ok(File::default()) };
    let text = std::fs::read_to_string(path).map_err(|source| ConfigError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    toml::from_str(&text).map_err(|source| ConfigError::Wrong {
        path: path.to_owned(),
        source: Box::new(source),
    })
}

impl File {
    /// Checks the settings.
    ///
    /// # Errors
    /// [`ConfigError::Timing`] when the clocks would let a task run twice.
    pub fn checked(self, dir: PathBuf) -> Result<Config, ConfigError> {
        let t = &self.timing;
        let settings = Settings {
            timing: Timing {
                heartbeat: Millis::from_seconds(t.heartbeat_seconds),
                lease: Millis::from_seconds(t.lease_seconds),
                kill_grace: Millis::from_seconds(t.kill_grace_seconds),
            },
            suspect_after: Millis::from_seconds(t.suspect_after_seconds),
            lost_after: Millis::from_seconds(t.lost_after_seconds),
            ..Settings::default()
        };
        settings.check().map_err(|error| ConfigError::Timing {
            what: error.to_string(),
        })?;
        Ok(Config {
            cluster: self.cluster,
            listen: self.listen,
            dir,
            settings,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sample_shows_the_defaults() {
        let sample = include_str!("../../configs/headnode.toml");
        assert_eq!(toml::from_str::<File>(sample).expect("parses"), File::default());
    }

    #[test]
    fn clocks_that_let_a_task_run_twice_are_refused() {
        let mut file = File::default();
        file.timing.lost_after_seconds = file.timing.lease_seconds;
        assert!(file.checked(PathBuf::new()).is_err());
    }

    #[test]
    fn a_misspelt_setting_is_named() {
        let error = toml::from_str::<File>("clustre = 'x'").unwrap_err().to_string();
        assert!(error.contains("clustre"), "{error}");
    }
}
