//! How long folders of ended attempts are kept, and their removal; and the bound of the node's logs.
//!
//! Beside each folder lies `TASK-ATTEMPT.keep`: it holds how long the folder is kept, and its time of change is the
//! attempt's end. That time is set at the end, and at each look while the attempt is held, so that an end that nobody
//! saw (power lost) counts from the last look. A folder without such a file, of an older release, gets one when it is
//! first seen. Wall clocks are set; a retention is as exact as they are.
//!
//! One thread does all of it, one folder after the other. A folder first goes to `trash/`, whole, and is emptied there
//! by [`removal`]: nobody sees half of one, and after a restart the rest is found there. What cannot be removed is told
//! once and tried again later, less and less often.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant, SystemTime};

use proto::ids::{AttemptId, JobId, TaskNumber};
use proto::units::Millis;

use crate::attempts::Attempts;
use crate::directory::NodeDirectory;
use crate::kept::Kept;
use crate::removal::{self, Removed};
use crate::service::bound_log;
use crate::workdir::make_0700;

/// Azure Batch's retentionTime where none is given: 7 days.
const DEFAULT_RETENTION: Millis = Millis::from_seconds(7 * 86_400);

/// The most folders that one look removes.
const MAX_REMOVED: usize = 256;

/// The most files and folders that one look removes from `trash/`: less than a second on a quiet disk, and about a
/// minute on one that is busy. Meanwhile nobody listens to the words for the thread, and what is held is not noted.
const MAX_EMPTIED: usize = 20_000;

/// How long what could not be removed is left alone: first this, then twice as long each time.
const FIRST_SETBACK: Duration = Duration::from_secs(60);
const LONGEST_SETBACK: Duration = Duration::from_secs(6 * 3600);

/// The most bytes that a log of the node has when it is looked at; what is more goes to `LOG.1`, once.
const MAX_LOG_BYTES: u64 = 16 * 1024 * 1024;

/// How many words may wait for the thread. One that finds no room is made good by a later look.
const WORDS_AHEAD: usize = 4096;

/// Between two looks: at least this, and this many times what a look took, so that looking costs little of a core.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);
const PAUSE_PER_LOOK: u32 = 50;

/// A look sets the time of what is held; and wall clocks are set.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// The thread that removes. It ends with the agent that holds this.
#[derive(Debug)]
pub(crate) struct Sweeper {
    words: SyncSender<Word>,
}

#[derive(Debug)]
enum Word {
    Ended(Arc<Kept>),
    Forget(JobId),
}

impl Sweeper {
    /// Begins to look. Every attempt that the spawner knows is in `attempts` already; `unreported` may have ended while
    /// there was no agent, which counts as now.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub(crate) fn start(
        directory: NodeDirectory,
        attempts: Attempts,
        unreported: BTreeSet<AttemptId>,
    ) -> io::Result<Self> {
        let (words, heard) = mpsc::sync_channel(WORDS_AHEAD);
        let mut sweep = Sweep {
            directory,
            attempts,
            setbacks: Setbacks::default(),
        };
        std::thread::Builder::new()
            .name("retention".to_owned())
            .spawn(move || {
                sweep.note_late_ends(&unreported);
                sweep.run(&heard);
            })?;
        Ok(Self { words })
    }

    /// An attempt ended just now: its retention begins.
    pub(crate) fn ended(&self, kept: Arc<Kept>) {
        if self.words.try_send(Word::Ended(kept)).is_err() {
            tracing::debug!("the end of an attempt was not noted; its last look counts");
        }
    }

    /// A job was deleted: the folders of its attempts go, those that are held at their ends.
    pub(crate) fn forget(&self, job: JobId) {
        if self.words.try_send(Word::Forget(job)).is_err() {
            tracing::warn!(%job, "too much is to be removed; the folders of this job go when their retention is over");
        }
    }
}

/// Says beside an attempt's folder how long it is kept. What was said before stays: it may have been cut short.
pub(crate) fn remember(folder: &Path, retention: Option<Millis>) -> io::Result<()> {
    let path = keep_file(folder);
    if path.exists() {
        return Ok(());
    }
    write_keep(&path, retention.unwrap_or(DEFAULT_RETENTION))
}

fn write_keep(path: &Path, retention: Millis) -> io::Result<()> {
    fs::write(path, format!("{}\n", retention.0))
}

fn retention_of(text: &str) -> Millis {
    text.trim().parse().map_or(DEFAULT_RETENTION, Millis)
}

fn keep_file(folder: &Path) -> PathBuf {
    beside(folder, ".keep")
}

fn beside(folder: &Path, ending: &str) -> PathBuf {
    let mut name = folder.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

#[derive(Debug)]
struct Sweep {
    directory: NodeDirectory,
    attempts: Attempts,
    setbacks: Setbacks,
}

/// What could not be removed, by its path, and when it is tried again.
#[derive(Debug, Default)]
struct Setbacks {
    of: BTreeMap<PathBuf, Setback>,
}

#[derive(Debug)]
struct Setback {
    until: Instant,
    pause: Duration,
}

impl Setbacks {
    fn holds(&self, path: &Path, now: Instant) -> bool {
        self.of.get(path).is_some_and(|setback| setback.until > now)
    }

    /// Each is told once.
    fn add(&mut self, path: &Path, now: Instant, error: &dyn std::fmt::Display) {
        let pause = match self.of.get(path) {
            None => {
                tracing::warn!("{} is not removed, and tried again later: {error}", path.display());
                FIRST_SETBACK
            }
            Some(before) => {
                tracing::debug!("{} is still not removed: {error}", path.display());
                (before.pause * 2).min(LONGEST_SETBACK)
            }
        };
        let until = now + pause;
        self.of.insert(path.to_owned(), Setback { until, pause });
    }

    fn forget_what_is_gone(&mut self) {
        self.of.retain(|path, _| fs::symlink_metadata(path).is_ok());
    }
}

/// What a look came to.
#[derive(Debug, Default)]
struct Looked {
    removed: usize,
    /// When the next folder is due.
    next: Option<SystemTime>,
    /// What is in `trash/` after it.
    trash: Trash,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Trash {
    /// Nothing that could be removed now.
    #[default]
    Emptied,
    More,
}

impl Sweep {
    fn run(&mut self, heard: &Receiver<Word>) {
        let mut wait = Duration::ZERO;
        let mut due = Instant::now();
        loop {
            match heard.recv_timeout(wait) {
                Ok(Word::Ended(kept)) => {
                    let retention = self.note_end(&kept);
                    due = due.min(Instant::now() + retention.max(SHORTEST_PAUSE));
                }
                Ok(Word::Forget(job)) => {
                    self.forget(job);
                    due = due.min(Instant::now() + SHORTEST_PAUSE);
                }
                Err(RecvTimeoutError::Timeout) => {
                    let began = Instant::now();
                    let looked = self.look(SystemTime::now());
                    due = Instant::now() + pause(&looked, SystemTime::now(), began.elapsed());
                }
                Err(RecvTimeoutError::Disconnected) => return,
            }
            wait = due.saturating_duration_since(Instant::now());
        }
    }

    /// Sets the time from which the retention counts, and says how long that is.
    fn note_end(&self, kept: &Kept) -> Duration {
        let folder = self.directory.task(kept.order.task, kept.attempt());
        let keep = keep_file(&folder);
        touch(&keep, SystemTime::now());
        // Not the order's: its job may have been deleted meanwhile.
        let text = fs::read_to_string(keep).unwrap_or_default();
        retention_of(&text).duration()
    }

    fn note_late_ends(&self, attempts: &BTreeSet<AttemptId>) {
        if attempts.is_empty() {
            return;
        }
        for job in fs::read_dir(self.directory.tasks()).into_iter().flatten().flatten() {
            for (attempt, folder) in attempts_in(&job.path()) {
                if attempts.contains(&attempt) {
                    touch(&keep_file(&folder), SystemTime::now());
                }
            }
        }
    }

    fn forget(&mut self, job: JobId) {
        let folder = self.directory.job(job);
        for (attempt, folder) in attempts_in(&folder) {
            if self.attempts.find(attempt).is_some() {
                if let Err(error) = write_keep(&keep_file(&folder), Millis(0)) {
                    tracing::warn!(%attempt, "its folder stays when the attempt has ended: {error}");
                }
            } else {
                self.remove(job, &folder);
            }
        }
        // Others may be there still.
        let _ = fs::remove_dir(folder);
    }

    /// Looks at all folders and removes those that are due, so many at most.
    fn look(&mut self, now: SystemTime) -> Looked {
        self.bound_logs();
        self.setbacks.forget_what_is_gone();
        let startup = fs::read_link(self.directory.startup()).ok();
        let mut looked = Looked::default();
        for entry in fs::read_dir(self.directory.tasks()).into_iter().flatten().flatten() {
            let Some(job) = entry.file_name().to_str().and_then(|name| name.parse().ok()) else {
                continue;
            };
            let prepared_by = self.attempts.preparations_of(job);
            for (attempt, folder) in attempts_in(&entry.path()) {
                let in_use = self.attempts.find(attempt).is_some()
                    || startup.as_ref() == Some(&folder)
                    || (is_preparation(&folder) && prepared_by.contains(&attempt));
                match self.due(&folder, in_use, now) {
                    Some(due) if due > now => looked.next = looked.next.into_iter().chain([due]).min(),
                    Some(_) if self.setbacks.holds(&folder, Instant::now()) => {}
                    Some(_) if looked.removed < MAX_REMOVED => {
                        looked.removed += 1;
                        self.remove(job, &folder);
                    }
                    Some(due) => looked.next = Some(due),
                    None => {}
                }
            }
            // Others may be there still.
            let _ = fs::remove_dir(entry.path());
        }
        looked.trash = self.empty_trash(Instant::now(), MAX_EMPTIED);
        looked
    }

    /// When a folder is to go; none while it is in use, or when that cannot be told.
    fn due(&self, folder: &Path, in_use: bool, now: SystemTime) -> Option<SystemTime> {
        let keep = keep_file(folder);
        if in_use {
            touch(&keep, now);
            return None;
        }
        let Ok(text) = fs::read_to_string(&keep) else {
            if let Err(error) = remember(folder, None) {
                tracing::warn!("{}: {error}", keep.display());
            }
            return None;
        };
        let retention = retention_of(&text);
        let ended = fs::metadata(&keep).and_then(|found| found.modified()).ok()?;
        // Longer than clocks go is for ever.
        ended.checked_add(retention.duration())
    }

    /// Takes a folder out of sight, with what lies beside it. What is in it goes with the trash.
    fn remove(&mut self, job: JobId, folder: &Path) {
        let Some(name) = folder.file_name().and_then(|name| name.to_str()) else {
            return;
        };
        let trash = self.directory.trash();
        let target = trash.join(format!("{job}.{name}"));
        let moved = make_0700(&trash).and_then(|()| fs::rename(folder, &target));
        if let Err(error) = moved {
            return self.setbacks.add(folder, Instant::now(), &error);
        }
        for ending in [".paths", ".keep"] {
            // Most have no paths of their own.
            let _ = fs::remove_file(beside(folder, ending));
        }
    }

    fn bound_logs(&self) {
        let logs = [
            self.directory.agent_log(),
            self.directory.spawner_log(),
            self.directory.restart_log(),
        ];
        for log in logs {
            if let Err(error) = bound_log(&log, MAX_LOG_BYTES) {
                tracing::warn!("{} grows on: {error}", log.display());
            }
        }
    }

    /// Also what an agent before this one, or a removal that failed, has left. Removes so many entries at most.
    fn empty_trash(&mut self, now: Instant, mut budget: usize) -> Trash {
        let trash = self.directory.trash();
        let above = match removal::open_above(&trash) {
            Ok(above) => above,
            Err(error) => {
                // It is made for the first folder.
                if error.kind() != io::ErrorKind::NotFound {
                    self.setbacks.add(&trash, now, &error);
                }
                return Trash::Emptied;
            }
        };
        for entry in fs::read_dir(&trash).into_iter().flatten().flatten() {
            if self.setbacks.holds(&entry.path(), now) {
                continue;
            }
            if budget == 0 {
                return Trash::More;
            }
            match removal::remove(&above, &trash, &entry.file_name(), &mut budget) {
                Removed::Whole => {}
                Removed::Partly => return Trash::More,
                Removed::Left(left) => self.setbacks.add(&entry.path(), now, &left),
            }
        }
        Trash::Emptied
    }
}

/// How long until the next look.
fn pause(looked: &Looked, now: SystemTime, took: Duration) -> Duration {
    let until = looked
        .next
        .map_or(LONGEST_PAUSE, |next| next.duration_since(now).unwrap_or_default());
    if looked.trash == Trash::More {
        // Removal frees what others wait for; it takes half of the time.
        return took.clamp(SHORTEST_PAUSE, LONGEST_PAUSE);
    }
    let shortest = SHORTEST_PAUSE.max(took * PAUSE_PER_LOOK).min(LONGEST_PAUSE);
    until.clamp(shortest, LONGEST_PAUSE)
}

/// The folders of a job's attempts here.
fn attempts_in(job: &Path) -> Vec<(AttemptId, PathBuf)> {
    let entries = fs::read_dir(job).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let (_task, attempt) = name.to_str()?.split_once('-')?;
            // The files beside the folders have endings, which are no numbers.
            Some((attempt.parse().ok()?, entry.path()))
        })
        .collect()
}

fn is_preparation(folder: &Path) -> bool {
    let name = folder.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.split_once('-')
        .is_some_and(|(task, _)| task == TaskNumber::PREPARATION.to_string())
}

fn touch(path: &Path, now: SystemTime) {
    let touched = File::options()
        .write(true)
        .open(path)
        .and_then(|file| file.set_modified(now));
    if let Err(error) = touched
        // A share that never came to a folder has no such file.
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!("{}: {error}", path.display());
    }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::attempts::Stage;
    use crate::kept::tests::kept;

    const HOUR: Duration = Duration::from_secs(3600);

    struct Node {
        _folder: tempfile::TempDir,
        sweep: Sweep,
    }

    fn node() -> Node {
        let folder = tempfile::tempdir().expect("a folder");
        let directory = NodeDirectory::open(folder.path()).expect("opens");
        Node {
            _folder: folder,
            sweep: Sweep {
                directory,
                attempts: Attempts::new(),
                setbacks: Setbacks::default(),
            },
        }
    }

    impl Node {
        /// An attempt that ended just now.
        fn ended(&self, attempt: u64, retention: Option<Millis>) -> PathBuf {
            let order = kept(attempt, &["node1"]).order;
            let folder = self.sweep.directory.task(order.task, order.attempt);
            fs::create_dir_all(folder.join("wd")).expect("makes it");
            remember(&folder, retention).expect("writes");
            fs::write(beside(&folder, ".paths"), "x").expect("writes");
            folder
        }

        fn left(&self) -> usize {
            fs::read_dir(self.sweep.directory.job(JobId(12))).map_or(0, Iterator::count)
        }
    }

    #[test]
    fn a_folder_goes_when_its_time_is_over_and_its_jobs_with_the_last() {
        let mut node = node();
        let (short, long) = (node.ended(1, Some(Millis::from_seconds(60))), node.ended(2, None));
        let now = SystemTime::now();
        let looked = node.sweep.look(now);
        assert!(short.exists() && long.exists());
        let next = looked.next.expect("one is due").duration_since(now).expect("later");
        assert!(next <= Duration::from_secs(60), "{next:?}");
        assert_eq!(node.sweep.look(now + HOUR).removed, 1);
        assert!(!short.exists() && long.exists());
        assert_eq!(node.left(), 3, "the folder, its paths and its retention");
        assert_eq!(node.sweep.look(now + 8 * 24 * HOUR).removed, 1);
        assert!(!node.sweep.directory.job(JobId(12)).exists());
        assert_eq!(fs::read_dir(node.sweep.directory.trash()).expect("lists").count(), 0);
    }

    #[test]
    fn what_is_held_stays_and_its_time_begins_at_its_end() {
        let mut node = node();
        let folder = node.ended(1, Some(Millis(0)));
        let held = Arc::new(kept(1, &["node1"]));
        node.sweep.attempts.held(&held, Stage::Started);
        let later = SystemTime::now() + HOUR;
        assert_eq!(node.sweep.look(later).removed, 0);
        let seen = fs::metadata(keep_file(&folder)).expect("it is there").modified();
        assert_eq!(seen.expect("has a time"), later);
        node.sweep.attempts.over(held.attempt());
        assert_eq!(node.sweep.note_end(&held), Duration::ZERO);
        assert_eq!(node.sweep.look(SystemTime::now() + HOUR).removed, 1);
        assert!(!folder.exists());
    }

    #[test]
    fn a_preparation_stays_while_a_task_that_it_prepared_runs_and_a_start_task_while_it_is_the_newest() {
        let mut node = node();
        let job = node.sweep.directory.job(JobId(12));
        let make = |name: &str| {
            let folder = job.join(name);
            fs::create_dir_all(&folder).expect("makes it");
            remember(&folder, Some(Millis(0))).expect("writes");
            folder
        };
        let (prepared, other, start) = (make("prep-5"), make("prep-4"), make("1-3"));
        std::os::unix::fs::symlink(&start, node.sweep.directory.startup()).expect("links");
        let mut task = kept(7, &["node1"]);
        task.order.prepared_by = Some(AttemptId(5));
        node.sweep.attempts.held(&Arc::new(task), Stage::Started);
        assert_eq!(node.sweep.look(SystemTime::now() + HOUR).removed, 1);
        assert!(prepared.exists() && start.exists() && !other.exists());
    }

    #[test]
    fn a_deleted_jobs_folders_go_at_once_and_held_ones_at_their_end() {
        let mut node = node();
        let (ended, running) = (node.ended(1, None), node.ended(2, None));
        let held = Arc::new(kept(2, &["node1"]));
        node.sweep.attempts.held(&held, Stage::Started);
        node.sweep.forget(JobId(12));
        assert!(!ended.exists() && running.exists());
        node.sweep.attempts.over(held.attempt());
        node.sweep.look(SystemTime::now() + Duration::from_secs(1));
        assert!(!running.exists() && !node.sweep.directory.job(JobId(12)).exists());
        node.sweep.forget(JobId(13));
    }

    #[test]
    fn folders_of_an_older_release_are_kept_from_the_first_look_on() {
        let mut node = node();
        let folder = node.ended(1, None);
        fs::remove_file(keep_file(&folder)).expect("removes");
        let now = SystemTime::now();
        assert_eq!(node.sweep.look(now + 8 * 24 * HOUR).removed, 0);
        assert_eq!(node.sweep.look(now + 6 * 24 * HOUR).removed, 0);
        assert_eq!(node.sweep.look(now + 8 * 24 * HOUR).removed, 1);
    }

    #[test]
    fn a_folder_that_its_own_user_has_closed_goes_too() {
        let mut node = node();
        let folder = node.ended(1, Some(Millis(0)));
        let inner = folder.join("wd/closed");
        fs::create_dir(&inner).expect("makes it");
        fs::write(inner.join("file"), "x").expect("writes");
        fs::set_permissions(&inner, Permissions::from_mode(0o500)).expect("sets the mode");
        assert_eq!(node.sweep.look(SystemTime::now() + HOUR).removed, 1);
        assert_eq!(fs::read_dir(node.sweep.directory.trash()).expect("lists").count(), 0);
    }

    #[test]
    fn looks_are_rare_and_cheap() {
        let now = SystemTime::now();
        let due = |next| Looked {
            next,
            ..Looked::default()
        };
        let took = Duration::from_millis(1);
        assert_eq!(pause(&due(None), now, took), LONGEST_PAUSE);
        assert_eq!(pause(&due(Some(now)), now, took), SHORTEST_PAUSE);
        assert_eq!(
            pause(&due(Some(now)), now, Duration::from_secs(2)),
            Duration::from_secs(100)
        );
        assert_eq!(pause(&due(Some(now + HOUR)), now, took), LONGEST_PAUSE);
        let more = Looked {
            trash: Trash::More,
            ..Looked::default()
        };
        assert_eq!(pause(&more, now, took), SHORTEST_PAUSE);
        assert_eq!(pause(&more, now, Duration::from_secs(20)), Duration::from_secs(20));
    }

    #[test]
    fn what_cannot_be_removed_is_left_alone_for_longer_and_longer() {
        let mut setbacks = Setbacks::default();
        let (path, mut now) = (Path::new("/nowhere/at/all"), Instant::now());
        assert!(!setbacks.holds(path, now));
        let mut pauses = Vec::new();
        for _ in 0..10 {
            setbacks.add(path, now, &"busy");
            pauses.push(setbacks.of[path].pause.as_secs());
            assert!(setbacks.holds(path, now));
            now = setbacks.of[path].until;
            assert!(!setbacks.holds(path, now));
        }
        assert_eq!(pauses, [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600]);
        setbacks.forget_what_is_gone();
        assert!(setbacks.of.is_empty());
    }

    #[test]
    fn one_look_empties_so_much_and_the_next_goes_on() {
        let mut node = node();
        let folder = node.ended(1, Some(Millis(0)));
        for number in 0..20 {
            fs::create_dir_all(folder.join(format!("wd/{number}/inner"))).expect("makes it");
        }
        node.sweep.remove(JobId(12), &folder);
        let now = Instant::now();
        for budget in [0, 1, 10] {
            assert_eq!(node.sweep.empty_trash(now, budget), Trash::More);
        }
        assert_eq!(node.sweep.empty_trash(now, 1_000), Trash::Emptied);
        assert_eq!(fs::read_dir(node.sweep.directory.trash()).expect("lists").count(), 0);
    }
}
