//! Which outputs are told next: the state of one follower, without IO.
//!
//! ```text
//!   Idle --a try to tell--> Ready --place free--> Open --its last byte--> Drained --the try is over--> (End told) Idle
//!                             ^                     '--node unreachable--> Away
//!                             '------ node is back, or time to try again ---'  '--given up--> (End told) Idle
//! ```
//!
//! A task whose try is being told stays with it until its end is told; only then it is looked whether there is a newer
//! try. Each try ends with exactly one [`Step::End`].

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use proto::control::{FollowFrom, Piece, TaskFile};
use proto::ids::{AttemptId, NodeId, TaskId};

use crate::view::{Stage, TaskStage};

/// The most streams of one follower. All may be on one node, which takes no more of them for one account.
const MAX_OPEN: usize = super::source::MAX_FOLLOWED_OF_ONE;

/// How long the node of a task that is over is waited for; that of one that runs is waited for without end.
const PATIENCE: Duration = Duration::from_secs(15);

/// The first wait before an unreachable node is tried again without news from it; doubled up to the longest.
const FIRST_WAIT: Duration = Duration::from_millis(500);

/// The longest such wait.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    /// Open a stream.
    Open(Opening),
    /// Tell that all of a try was told.
    End {
        /// Of which task.
        task: TaskId,
        /// Which try.
        attempt: AttemptId,
        /// Where it was.
        node: NodeId,
    },
}

/// A stream to be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Opening {
    pub(super) task: TaskId,
    pub(super) attempt: AttemptId,
    pub(super) node: NodeId,
    pub(super) from: FollowFrom,
    pub(super) place: Place,
}

/// How far the files of a try were told; none where nothing was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Place {
    stdout: Option<u64>,
    stderr: Option<u64>,
}

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// With its last byte.
    Drained,
    /// Before that.
    Lost,
}

/// One follower.
#[derive(Debug)]
pub(super) struct Plan {
    from: FollowFrom,
    follow: bool,
    /// Whether tasks were named; else the job's end decides.
    is_named: bool,
    job_is_over: bool,
    tracks: BTreeMap<TaskId, Track>,
    /// Tasks that wait for a place; what runs goes first.
    ready: BTreeSet<(Turn, TaskId)>,
    away: BTreeSet<TaskId>,
    open: usize,
    /// Tracks that are not idle.
    busy: usize,
    /// Tasks that are not over.
    unfinished: usize,
    steps: VecDeque<Step>,
}

#[derive(Debug)]
struct Track {
    now: TaskStage,
    /// The try that there was when following began: only that begins where the follower said.
    first: Option<AttemptId>,
    /// The newest try whose end was told.
    told: Option<AttemptId>,
    doing: Doing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Running,
    Over,
}

/// The try that is told.
#[derive(Debug, Clone, Copy)]
struct Telling {
    attempt: AttemptId,
    node: NodeId,
    place: Place,
    trouble: Option<Trouble>,
}

/// Its node could not be reached since then, and the next trial waits so long.
#[derive(Debug, Clone, Copy)]
struct Trouble {
    since: Instant,
    wait: Duration,
}

#[derive(Debug)]
enum Doing {
    Idle,
    Ready(Telling),
    Open(Telling),
    Drained(Telling),
    Away {
        telling: Telling,
        since: Instant,
        again_at: Instant,
    },
}

impl Plan {
    pub(super) const fn new(from: FollowFrom, follow: bool, is_named: bool) -> Self {
        Self {
            from,
            follow,
            is_named,
            job_is_over: false,
            tracks: BTreeMap::new(),
            ready: BTreeSet::new(),
            away: BTreeSet::new(),
            open: 0,
            busy: 0,
            unfinished: 0,
            steps: VecDeque::new(),
        }
    }

    /// How many tasks are kept in mind.
    pub(super) fn tasks(&self) -> usize {
        self.tracks.len()
    }

    /// Whether the job was over when it was looked at last.
    pub(super) const fn job_is_over(&self) -> bool {
        self.job_is_over
    }

    /// The job as it was at the beginning: its tries so far are told from where the follower said.
    pub(super) fn begin(&mut self, is_over: bool, tasks: &[TaskStage]) {
        self.see_job(is_over, tasks);
        for track in self.tracks.values_mut() {
            track.first = match track.now.stage {
                Stage::Running | Stage::Over => track.now.last.map(|(attempt, _)| attempt),
                Stage::Waiting | Stage::Starting => None,
            };
        }
    }

    /// The job as it is now, or a part of its tasks.
    pub(super) fn see_job(&mut self, is_over: bool, tasks: &[TaskStage]) {
        self.job_is_over = is_over;
        for task in tasks {
            self.see(*task);
        }
    }

    fn see(&mut self, now: TaskStage) {
        let id = now.task;
        match self.tracks.get_mut(&id) {
            Some(track) => {
                self.unfinished -= usize::from(track.now.stage != Stage::Over);
                track.now = now;
            }
            None => {
                let track = Track {
                    now,
                    first: None,
                    told: None,
                    doing: Doing::Idle,
                };
                self.tracks.insert(id, track);
            }
        }
        self.unfinished += usize::from(now.stage != Stage::Over);
        self.look(id);
    }

    /// What follows from what is known of a task.
    fn look(&mut self, id: TaskId) {
        loop {
            let Some(track) = self.tracks.get_mut(&id) else { return };
            let now = track.now;
            let runs = |attempt| {
                let holds = matches!(now.stage, Stage::Running | Stage::Starting);
                holds && now.last.is_some_and(|(last, _)| last == attempt)
            };
            match &track.doing {
                Doing::Idle => {
                    let turn = match now.stage {
                        Stage::Waiting | Stage::Starting => return,
                        Stage::Running => Turn::Running,
                        Stage::Over => Turn::Over,
                    };
                    let Some((attempt, node)) = now.last.filter(|(attempt, _)| track.told != Some(*attempt)) else {
                        return;
                    };
                    let telling = Telling {
                        attempt,
                        node,
                        place: Place::default(),
                        trouble: None,
                    };
                    self.busy += 1;
                    self.make_ready(id, turn, telling);
                    return;
                }
                Doing::Ready(_) | Doing::Open(_) => return,
                Doing::Drained(telling) => {
                    // Its last byte came before the news of its end.
                    if self.follow && runs(telling.attempt) {
                        return;
                    }
                    let telling = *telling;
                    self.end(id, telling);
                }
                Doing::Away { telling, .. } => {
                    // One that is over may still be had when its node comes back soon; one that is tried again has moved on.
                    let moved_on =
                        now.last.is_none_or(|(last, _)| last != telling.attempt) || now.stage == Stage::Waiting;
                    if !moved_on {
                        return;
                    }
                    let telling = *telling;
                    self.end(id, telling);
                }
            }
        }
    }

    fn make_ready(&mut self, id: TaskId, turn: Turn, telling: Telling) {
        // Who follows wants to see what runs; who does not, all in order.
        let turn = if self.follow { turn } else { Turn::Running };
        self.ready.insert((turn, id));
        self.set(id, Doing::Ready(telling));
    }

    fn end(&mut self, id: TaskId, telling: Telling) {
        self.steps.push_back(Step::End {
            task: id,
            attempt: telling.attempt,
            node: telling.node,
        });
        self.away.remove(&id);
        self.busy -= 1;
        if let Some(track) = self.tracks.get_mut(&id) {
            track.told = Some(telling.attempt);
        }
        self.set(id, Doing::Idle);
    }

    fn set(&mut self, id: TaskId, doing: Doing) {
        if let Some(track) = self.tracks.get_mut(&id) {
            track.doing = doing;
        }
    }

    /// What is to be done now: ends first, then streams while there is a place.
    pub(super) fn next_step(&mut self) -> Option<Step> {
        if let Some(step) = self.steps.pop_front() {
            return Some(step);
        }
        if self.open == MAX_OPEN {
            return None;
        }
        let (_, id) = self.ready.pop_first()?;
        let track = self.tracks.get_mut(&id)?;
        let Doing::Ready(telling) = track.doing else {
            return None;
        };
        self.open += 1;
        track.doing = Doing::Open(telling);
        let from = if track.first == Some(telling.attempt) {
            self.from
        } else {
            FollowFrom::Start
        };
        Some(Step::Open(Opening {
            task: id,
            attempt: telling.attempt,
            node: telling.node,
            from,
            place: telling.place,
        }))
    }

    /// A stream has ended after it had told so much. Whether this is the first that the follower hears of an unreachable
    /// node.
    pub(super) fn closed(&mut self, id: TaskId, outcome: Outcome, place: Place, now: Instant) -> bool {
        let Some(track) = self.tracks.get_mut(&id) else {
            return false;
        };
        let Doing::Open(telling) = track.doing else {
            return false;
        };
        self.open -= 1;
        let came_further = place != telling.place;
        let mut telling = Telling { place, ..telling };
        let news = match outcome {
            Outcome::Drained => {
                track.doing = Doing::Drained(telling);
                false
            }
            Outcome::Lost if !self.follow => {
                track.doing = Doing::Drained(telling);
                true
            }
            Outcome::Lost => {
                let earlier = telling.trouble.filter(|_| !came_further);
                let trouble = earlier.map_or(
                    Trouble {
                        since: now,
                        wait: FIRST_WAIT,
                    },
                    |trouble| Trouble {
                        wait: (trouble.wait * 2).min(LONGEST_WAIT),
                        ..trouble
                    },
                );
                telling.trouble = Some(trouble);
                track.doing = Doing::Away {
                    telling,
                    since: trouble.since,
                    again_at: now + trouble.wait,
                };
                self.away.insert(id);
                earlier.is_none()
            }
        };
        self.look(id);
        news
    }

    /// Tries again where it is time and the node `is_there`, and gives up where patience has ended.
    pub(super) fn retry(&mut self, now: Instant, is_there: impl Fn(NodeId) -> bool) {
        let away: Vec<TaskId> = self.away.iter().copied().collect();
        for id in away {
            let Some(track) = self.tracks.get(&id) else { continue };
            let Doing::Away {
                telling,
                since,
                again_at,
            } = track.doing
            else {
                continue;
            };
            if track.now.stage == Stage::Over && now.duration_since(since) >= PATIENCE {
                self.end(id, telling);
                self.look(id);
            } else if now >= again_at && is_there(telling.node) {
                self.away.remove(&id);
                self.make_ready(id, Turn::Running, telling);
            }
        }
    }

    /// When [`Plan::retry`] is due next without news. A node that is not there is no reason to look again: its return is
    /// news.
    pub(super) fn deadline(&self, now: Instant) -> Option<Instant> {
        let due = self.away.iter().filter_map(|id| {
            let track = self.tracks.get(id)?;
            let Doing::Away { since, again_at, .. } = track.doing else {
                return None;
            };
            let patience = (track.now.stage == Stage::Over).then(|| since + PATIENCE);
            let again = (again_at > now).then_some(again_at);
            patience.into_iter().chain(again).min()
        });
        due.min()
    }

    /// Whether all that was asked for is told.
    pub(super) fn is_done(&self) -> bool {
        let over = if self.is_named {
            self.unfinished == 0
        } else {
            self.job_is_over
        };
        self.steps.is_empty() && self.busy == 0 && (over || !self.follow)
    }
}

impl Place {
    /// Where a stream begins that goes on from here, and whether it may bring what was told already: when only the end of
    /// the files was asked for, and one of them had said nothing, nobody knows where that began.
    pub(super) fn resume(self, from: FollowFrom) -> (FollowFrom, bool) {
        let Self { stdout, stderr } = self;
        match (from, stdout, stderr) {
            (_, None, None) => (from, false),
            (FollowFrom::Last { .. }, None, _) | (FollowFrom::Last { .. }, _, None) => (from, true),
            (FollowFrom::At { stdout: o, stderr: e }, ..) => {
                let (stdout, stderr) = (stdout.unwrap_or(o), stderr.unwrap_or(e));
                (FollowFrom::At { stdout, stderr }, false)
            }
            (FollowFrom::Start | FollowFrom::Last { .. }, ..) => {
                let (stdout, stderr) = (stdout.unwrap_or(0), stderr.unwrap_or(0));
                (FollowFrom::At { stdout, stderr }, false)
            }
        }
    }

    /// Takes away what was told already; none when nothing is left.
    pub(super) fn unseen(self, mut piece: Piece) -> Option<Piece> {
        let told = match piece.file {
            TaskFile::Stdout => self.stdout,
            TaskFile::Stderr => self.stderr,
        };
        let seen = told.unwrap_or(0).saturating_sub(piece.offset);
        let seen = usize::try_from(seen).map_or(usize::MAX, |seen| seen.min(piece.bytes.len()));
        piece.bytes.drain(..seen);
        piece.offset += seen as u64;
        (!piece.bytes.is_empty()).then_some(piece)
    }

    /// A piece was told. A file that was cut begins anew, so this may go back.
    pub(super) fn told(&mut self, file: TaskFile, end: u64) {
        match file {
            TaskFile::Stdout => self.stdout = Some(end),
            TaskFile::Stderr => self.stderr = Some(end),
        }
    }
}

#[cfg(test)]
mod tests;
