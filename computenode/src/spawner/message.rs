//! Agent ↔ spawner on the socket `spawner.sock`: frames of `proto`, agent first.
//!
//! ```text
//!   agent                                   spawner
//!   Hello ------------------------------->
//!         <------------------------------- Welcome, Held (once per attempt), HeldAll
//!   Hold, Start, Refuse, Stop, Release, Lease ->
//!   Advance, Recall ---------------------->
//!         <------------------------------- Coordinated, Started, Ended, Proxy, Released, Returned
//!   Forget ------------------------------>        the head node has the report
//! ```
//!
//! The two may be of different releases, because a spawner lives as long as its tasks: unknown fields are skipped, and
//! what the agent wants to remember travels as bytes that the spawner only keeps. These types are not in `proto`
//! because nobody but the two processes of this one program ever sees them.

use proto::frame::{self, FrameError, Version};
use proto::ids::{AttemptId, BootId, LaunchId};
use proto::model::task::AttemptOutcome;
use proto::units::{Millis, Timestamp};
use serde::{Deserialize, Serialize};

use crate::spawner::clock::BootTime;

/// The most attempts that a spawner holds at once: far above what a head node grants to one node ahead of time.
pub const MAX_ATTEMPTS: usize = 16 * 1024;

/// Agent → spawner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum ToSpawner {
    /// First message. An older connection is closed.
    Hello {
        /// What the agent speaks.
        version: Version,
    },
    /// Remember an attempt. A known one is left alone.
    Hold {
        /// Which.
        attempt: AttemptId,
        /// For the agent after its own restart; not read here.
        #[serde(with = "serde_bytes")]
        kept: Vec<u8>,
        /// Whether it ends with the fencing lease.
        rerunnable: bool,
        /// Between a polite stop and a kill.
        kill_grace: Millis,
    },
    /// Start a process of a held attempt.
    Start {
        /// A [`SpawnOrder`], written apart: a tagged message is read twice, and this one is long.
        #[serde(with = "serde_bytes")]
        order: Vec<u8>,
    },
    /// Start an attempt of the window: a slot is free for it. Ignored when it was started.
    Advance {
        /// Which.
        attempt: AttemptId,
        /// Its cores, as the kernel counts them.
        cores: Vec<u32>,
    },
    /// Forget an attempt of the window, unless it was started: answered with [`FromSpawner::Returned`], known or not.
    Recall {
        /// Which.
        attempt: AttemptId,
    },
    /// A held attempt's program cannot be prepared: it is over.
    Refuse {
        /// Which.
        attempt: AttemptId,
        /// Why not, for the user.
        reason: String,
    },
    /// End the attempt's program politely, by force after `grace`.
    Stop {
        /// Which.
        attempt: AttemptId,
        /// None at all when forced.
        grace: Millis,
    },
    /// Kill all of the attempt and forget it; answered with [`FromSpawner::Released`], known or not.
    Release {
        /// Which.
        attempt: AttemptId,
    },
    /// The head node has the attempt's report: its record is not needed any more.
    Forget {
        /// Which.
        attempt: AttemptId,
    },
    /// What may be started elsewhere runs until then, unless renewed.
    Lease {
        /// On this machine's clock.
        until: BootTime,
    },
    /// From a newer agent.
    #[serde(other)]
    Unknown,
}

/// One process to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpawnOrder {
    /// Whose.
    pub attempt: AttemptId,
    /// What for.
    pub role: Role,
    /// Program and arguments; a program without a slash is looked for in the `PATH` of `env`.
    pub command: Vec<String>,
    /// The file that is run, where it is not the command's first word.
    #[serde(default)]
    pub program: Option<String>,
    /// The whole environment; the attempt's mark is added.
    pub env: Vec<(String, String)>,
    /// Where it starts: the first that can be entered.
    pub workdirs: Vec<String>,
    /// Whether that is the task's own folder, because its user named none.
    #[serde(default)]
    pub own_workdir: bool,
    /// Where standard input comes from; none means that there is nothing. A relative path starts at the workdir. Opened
    /// as the user.
    #[serde(default)]
    pub stdin: Option<String>,
    /// Where standard output goes. Opened as the user.
    pub stdout: Output,
    /// Where standard error goes. Opened as the user.
    pub stderr: Output,
    /// As whom; none means as the spawner itself.
    pub credentials: Option<Credentials>,
    /// From its start.
    pub runtime_limit: Option<Millis>,
    /// Whether set-user-id programs work in it.
    pub new_privileges: bool,
    /// It takes one slot and nothing else: its end starts the next of the window, which gets its cores.
    #[serde(default)]
    pub single: bool,
    /// It waits in the window.
    #[serde(default)]
    pub ahead: bool,
    /// Its cores, as the kernel counts them; they are handed on with the slot.
    #[serde(default)]
    pub cores: Vec<u32>,
}

impl SpawnOrder {
    /// The message that asks for it.
    #[must_use]
    pub fn into_message(self) -> ToSpawner {
        let mut order = Vec::with_capacity(2048);
        // A start that cannot be written is one that cannot be read, which the spawner tells.
        if let Err(error) = frame::encode(&self, &mut order) {
            tracing::error!(attempt = %self.attempt, "{error}");
        }
        ToSpawner::Start { order }
    }

    /// Out of the message.
    ///
    /// # Errors
    /// [`FrameError`] when it is none.
    pub fn of_bytes(bytes: &[u8]) -> Result<Self, FrameError> {
        let (start, end) = frame::split(bytes)?.unwrap_or_default();
        frame::decode(bytes.get(start..end).unwrap_or_default())
    }
}

/// What a process is to its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum Role {
    /// The task's own program; its end is the attempt's end.
    Root,
    /// The coordination command of a task on several nodes, before the task's own program. When it ends well, the attempt
    /// goes on with what it left behind; else the attempt is over.
    Coordination,
    /// A proxy of a launch; its end ends nothing.
    Proxy {
        /// Which launch.
        launch: LaunchId,
    },
}

/// Where an output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "to")]
pub enum Output {
    /// Nowhere.
    Null,
    /// To a file, which is made or emptied. A relative path starts at the workdir.
    File {
        /// The path.
        path: String,
    },
    /// To a file, after what it holds.
    Append {
        /// The path.
        path: String,
    },
    /// For standard error: where standard output goes.
    Stdout,
}

/// A user as the kernel sees one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Credentials {
    /// User id.
    pub uid: u32,
    /// Primary group.
    pub gid: u32,
    /// All groups.
    pub groups: Vec<u32>,
}

/// Spawner → agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "t")]
pub enum FromSpawner {
    /// Answer to hello.
    Welcome {
        /// What the spawner speaks.
        version: Version,
        /// Its life.
        boot: BootId,
    },
    /// After the welcome, once for each attempt that it knows.
    Held {
        /// Which.
        attempt: AttemptId,
        /// What the agent gave; empty for records of an earlier life.
        #[serde(with = "serde_bytes")]
        kept: Vec<u8>,
        /// How far it is.
        state: KeptState,
        /// Its cores, where a slot was handed over to it here.
        #[serde(default)]
        cores: Vec<u32>,
    },
    /// After the last of them.
    HeldAll,
    /// The coordination command ended well.
    Coordinated {
        /// Whose.
        attempt: AttemptId,
    },
    /// The program runs.
    Started {
        /// Whose.
        attempt: AttemptId,
        /// When.
        at: Timestamp,
    },
    /// The program ended, or could not be started, and nothing of the attempt runs any more. The record is written.
    Ended(ExitRecord),
    /// A proxy runs, or not.
    Proxy {
        /// Whose.
        attempt: AttemptId,
        /// Of which launch.
        launch: LaunchId,
        /// Why not.
        refused: Option<String>,
    },
    /// Nothing of the attempt runs any more, and it is forgotten.
    Released {
        /// Which.
        attempt: AttemptId,
    },
    /// It was not started, and is forgotten (answer to [`ToSpawner::Recall`]).
    Returned {
        /// Which.
        attempt: AttemptId,
    },
    /// From a newer spawner.
    #[serde(other)]
    Unknown,
}

/// How far an attempt is at its spawner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "is")]
pub enum KeptState {
    /// Held; no program was asked for.
    Waiting,
    /// In the window, ready to be started.
    Ahead,
    /// Its coordination command is being started or runs.
    Coordinating,
    /// Its coordination command ended well; no program was asked for.
    Coordinated,
    /// Its program is being started.
    Starting,
    /// Its program runs, or what it left behind is being ended.
    Running {
        /// Since when.
        started_at: Timestamp,
    },
    /// Over.
    Ended(ExitRecord),
}

/// How an attempt's program ended; on disk until the head node has it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ExitRecord {
    /// Which.
    pub attempt: AttemptId,
    /// In which life of the spawner.
    pub boot: BootId,
    /// When it was started, if it was.
    pub started_at: Option<Timestamp>,
    /// When it ended.
    pub ended_at: Timestamp,
    /// How.
    pub outcome: AttemptOutcome,
    /// Of what that is the end.
    #[serde(default)]
    pub part: Part,
    /// The attempt of the window that got its slot.
    #[serde(default)]
    pub then: Option<AttemptId>,
}

/// What of an attempt ran last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The task's own program, or nothing.
    #[default]
    Program,
    /// Its coordination command.
    Coordination,
}
