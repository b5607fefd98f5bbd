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
    /// How long the certificate of a node is good for; nodes renew it in time.
    pub node_certificate_life: Life,
    /// How long the certificate of a user is good for; the command line renews it when it is used in time.
    pub user_certificate_life: Life,
    /// The clocks.
    pub timing: TimingFile,
}

impl Default for File {
    fn default() -> Self {
        Self {
            cluster: "muster".to_owned(),
            listen: SocketAddr::from(([0, 0, 0, 0], DEFAULT_PORT)),
            node_certificate_life: Life::DEFAULT,
            user_certificate_life: Life::DEFAULT,
            timing: TimingFile::default(),
        }
    }
}

/// The UDP port where nodes dial in when nothing else is said.
pub const DEFAULT_PORT: u16 = 8745;

/// The life of certificates, as written: `90d`, `12h`, `1d 12h`, `30m` or `5s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Life(Millis);

impl Life {
    const DEFAULT: Self = Self(Millis::from_seconds(90 * 86_400));

    /// A node that cannot renew within it is refused until it does: tests use lives as short as this.
    const SHORTEST: Millis = Millis::from_seconds(5);

    const LONGEST: Millis = Millis::from_seconds(10 * 365 * 86_400);

    /// As a span.
    #[must_use]
    pub const fn span(self) -> Millis {
        self.0
    }
}

impl TryFrom<String> for Life {
    type Error = LifeError;
    fn try_from(text: String) -> Result<Self, LifeError> {
        let span = span_of(&text).ok_or_else(|| LifeError::NotASpan { text: text.clone() })?;
        if (Self::SHORTEST..=Self::LONGEST).contains(&span) {
            Ok(Self(span))
        } else {
            Err(LifeError::OutOfBounds { text })
        }
    }
}

/// Numbers with their units: `1d 12h`.
fn span_of(text: &str) -> Option<Millis> {
    let mut seconds = 0_u64;
    let mut parts = text.split_whitespace().peekable();
    parts.peek()?;
    for part in parts {
        let unit = part.chars().next_back()?;
        let each = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            _ => return None,
        };
        let number: u64 = part.strip_suffix(unit)?.parse().ok()?;
        seconds = seconds.checked_add(number.checked_mul(each)?)?;
    }
    Some(Millis::from_seconds(seconds))
}

/// Why a text is no life of a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LifeError {
    /// It is no span of time.
    #[error("'{text}' is no span of time: write for example \"90d\", \"12h\", \"30m\" or \"5s\"")]
    NotASpan {
        /// What was written.
        text: String,
    },
    /// It is too short or too long.
    #[error("'{text}' is not between 5 seconds and 10 years, which the life of a certificate has to be")]
    OutOfBounds {
        /// What was written.
        text: String,
    },
}

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
    /// How long the certificate of a node is good for.
    pub node_certificate_life: Millis,
    /// How long the certificate of a user is good for.
    pub user_certificate_life: Millis,
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
            node_certificate_life: self.node_certificate_life.span(),
            user_certificate_life: self.user_certificate_life.span(),
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
    fn lives_are_written_as_people_say_them() {
        let read = |text: &str| toml::from_str::<File>(&format!("node_certificate_life = '{text}'"));
        let life = |text| read(text).expect(text).node_certificate_life.span();
        assert_eq!(life("5s"), Millis::from_seconds(5));
        assert_eq!(life("1d 12h"), Millis::from_seconds(36 * 3600));
        assert_eq!(life("30m"), Millis::from_seconds(1800));
        for wrong in ["", "4s", "90", "d", "-5s", "11000d", "99999999999999999999d", "5 s"] {
            let error = read(wrong).expect_err(wrong).to_string();
            assert!(
                error.contains(wrong) && error.contains("node_certificate_life"),
                "{error}"
            );
        }
    }

    #[test]
    fn a_misspelt_setting_is_named() {
        let error = toml::from_str::<File>("clustre = 'x'").unwrap_err().to_string();
        assert!(error.contains("clustre"), "{error}");
    }
}
