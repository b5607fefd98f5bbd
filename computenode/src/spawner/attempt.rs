//! One attempt at its spawner: how far it is, and what is to be done about its processes.
//!
//! ```text
//!   Waiting --Start--> Starting --cloned--> Running --exited--> Left --nothing runs--> Reported
//!      |                  |                                      ^
//!      '----- Stop -------+---------- not started ---------------'
//! ```
//!
//! One that was granted ahead of time waits in the window (`Ahead`) between the start that was asked for and its slot.
//!
//! A coordination command runs while the program waits:
//!
//! ```text
//!   None --Start--> Starting --cloned--> Running --exited with 0--> Done --lease over--> Fenced
//!                      '--- not started ----'--- any other end ---> the attempt has Left
//! ```

use proto::model::task::AttemptOutcome;
use proto::units::{Millis, Timestamp};

use crate::spawner::clock::BootTime;
use crate::spawner::message::{ExitRecord, KeptState, Part};

#[derive(Debug)]
pub(super) struct Attempt {
    pub(super) kept: Vec<u8>,
    pub(super) rerunnable: bool,
    pub(super) kill_grace: Millis,
    pub(super) root: Root,
    pub(super) coordination: Coordination,
    /// Proxies between order and clone.
    pub(super) starting_proxies: usize,
    /// Set by whoever ends it first.
    pub(super) ending: Option<Ending>,
    /// To be forgotten without a report.
    pub(super) release: bool,
    /// Sessions that its processes led.
    pub(super) sessions: Vec<i32>,
    /// As whom its processes run, when not as the spawner itself.
    pub(super) user: Option<u32>,
    /// The cores of a slot that is handed on at its end.
    pub(super) slot: Option<Vec<u32>>,
}

#[derive(Debug)]
pub(super) enum Root {
    Waiting,
    Ahead,
    Starting,
    Running {
        pid: i32,
        started_at: Timestamp,
        limit: Option<(Millis, BootTime)>,
    },
    Left(ExitRecord),
    Reported(ExitRecord),
}

/// How far a task's coordination command is on this node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coordination {
    /// There is none, or not yet.
    None,
    Starting,
    Running {
        pid: i32,
        limit: Option<(Millis, BootTime)>,
    },
    /// It ended well; what it left behind runs on.
    Done,
    /// The lease was over, and what it left behind was ended with that: the program cannot be started any more.
    Fenced,
}

#[derive(Debug)]
pub(super) struct Ending {
    pub(super) outcome: AttemptOutcome,
    pub(super) asked: bool,
    pub(super) kill_at: BootTime,
}

impl Coordination {
    /// What it left behind is being ended because the lease is over.
    pub(super) fn fence(&mut self) {
        if *self == Self::Done {
            *self = Self::Fenced;
        }
    }
}

/// What to do about the processes of one attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measure {
    /// Only look whether any are left.
    Look,
    /// Ask all to end.
    Ask,
    /// Kill all.
    Kill,
}

impl Attempt {
    pub(super) const fn new(kept: Vec<u8>, rerunnable: bool, kill_grace: Millis) -> Self {
        Self {
            kept,
            rerunnable,
            kill_grace,
            root: Root::Waiting,
            coordination: Coordination::None,
            starting_proxies: 0,
            ending: None,
            release: false,
            sessions: Vec::new(),
            user: None,
            slot: None,
        }
    }

    pub(super) fn of_record(record: ExitRecord) -> Self {
        Self {
            root: Root::Reported(record),
            ..Self::new(Vec::new(), false, Millis(0))
        }
    }

    pub(super) fn state(&self) -> KeptState {
        match &self.root {
            Root::Waiting => match self.coordination {
                Coordination::None => KeptState::Waiting,
                Coordination::Starting | Coordination::Running { .. } => KeptState::Coordinating,
                Coordination::Done | Coordination::Fenced => KeptState::Coordinated,
            },
            Root::Ahead => KeptState::Ahead,
            Root::Starting => KeptState::Starting,
            Root::Running { started_at, .. } => KeptState::Running {
                started_at: *started_at,
            },
            Root::Left(ExitRecord {
                started_at: Some(started_at),
                ..
            }) => KeptState::Running {
                started_at: *started_at,
            },
            Root::Left(_) => KeptState::Starting,
            Root::Reported(record) => KeptState::Ended(record.clone()),
        }
    }

    pub(super) const fn takes_proxies(&self) -> bool {
        !self.release
            && self.ending.is_none()
            && matches!(self.root, Root::Waiting | Root::Starting | Root::Running { .. })
    }

    /// Of what the attempt's end would be the end now.
    pub(super) const fn part(&self) -> Part {
        match (&self.root, self.coordination) {
            (Root::Waiting, Coordination::Starting | Coordination::Running { .. }) => Part::Coordination,
            _ => Part::Program,
        }
    }

    pub(super) const fn may_run(&self) -> bool {
        !matches!(self.root, Root::Reported(_))
    }

    /// What to do about its processes now, or when.
    pub(super) fn measure(&mut self, now: BootTime) -> Result<Measure, Option<BootTime>> {
        let left = matches!(self.root, Root::Left(_));
        let releasable = self.release && !matches!(self.root, Root::Starting);
        match (&mut self.ending, &self.root) {
            // Not cloned yet; the end of the clone wakes the one who asks, and the clone has an end of its own.
            (ending, Root::Starting) => Err(ending
                .as_ref()
                .map(|ending| ending.kill_at)
                .filter(|kill_at| *kill_at > now)),
            (_, Root::Reported(_)) if !self.release => Err(None),
            (Some(ending), _) if ending.kill_at <= now => Ok(Measure::Kill),
            (Some(ending), _) if !ending.asked => {
                ending.asked = true;
                Ok(Measure::Ask)
            }
            // The grace is for the whole tree: what the program started may still be writing.
            (Some(ending), _) if !left && !releasable => Err(Some(ending.kill_at)),
            (Some(_), _) => Ok(Measure::Look),
            (None, _) if left => Ok(Measure::Kill),
            (None, Root::Running { limit, .. }) => Err(limit.map(|(_, at)| at)),
            (None, Root::Waiting) => match self.coordination {
                Coordination::Running { limit, .. } => Err(limit.map(|(_, at)| at)),
                _ => Err(None),
            },
            (None, _) => Err(None),
        }
    }
}
