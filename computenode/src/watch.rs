//! Waiting for files to change: one inotify instance for all who follow something on this node.
//!
//! One, because a user may have 128 of them. What is watched is an open file, never a path: whoever may not open a file
//! learns nothing of it here. A file system that tells the kernel nothing of other machines' writes (NFS) gives no
//! events; so whoever waits looks again once in a while by itself, which is also what remains when inotify is used up.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use nix::errno::Errno;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;

/// What is told of a file: that it grew or shrank.
const OF_A_FILE: AddWatchFlags = AddWatchFlags::IN_MODIFY;

/// What is told of a folder: that something came into it.
const OF_A_FOLDER: AddWatchFlags = AddWatchFlags::IN_CREATE.union(AddWatchFlags::IN_MOVED_TO);

/// The watches of this node. Clones share them.
#[derive(Debug, Clone)]
pub(crate) struct Watches {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    inotify: Inotify,
    /// Held for lookups only, never across a wait.
    waiting: Mutex<HashMap<WatchDescriptor, Vec<Arc<Notify>>>>,
}

/// One watch; ends with this value.
#[derive(Debug)]
pub(crate) struct Watch {
    shared: Arc<Shared>,
    descriptor: WatchDescriptor,
    wake: Arc<Notify>,
}

/// For the runtime's own waiting.
struct Events(Arc<Shared>);

impl AsRawFd for Events {
    fn as_raw_fd(&self) -> RawFd {
        self.0.inotify.as_fd().as_raw_fd()
    }
}

impl Watches {
    /// Watches nothing yet. Has to be called inside the runtime, which reads the events.
    ///
    /// # Errors
    /// When this user has no inotify instance left.
    pub(crate) fn new() -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let shared = Arc::new(Shared {
            inotify,
            waiting: Mutex::default(),
        });
        // SAFETY: the instance is open, is always the same one, and is closed with the last of those who share it, so not
        // before this registration ends.
        let events = unsafe { AsyncFd::register(Events(Arc::clone(&shared))) }?;
        tokio::spawn(deliver(events));
        Ok(Self { shared })
    }

    /// Wakes `wake` whenever the open file changes.
    ///
    /// # Errors
    /// When this user has no watches left.
    pub(crate) fn file(&self, file: &File, wake: &Arc<Notify>) -> io::Result<Watch> {
        self.watch(file, OF_A_FILE, wake)
    }

    /// Wakes `wake` whenever something is made in the open folder.
    ///
    /// # Errors
    /// When this user has no watches left.
    pub(crate) fn folder(&self, folder: &File, wake: &Arc<Notify>) -> io::Result<Watch> {
        self.watch(folder, OF_A_FOLDER, wake)
    }

    fn watch(&self, file: &File, of: AddWatchFlags, wake: &Arc<Notify>) -> io::Result<Watch> {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        // Under the lock, so that the end of another watch of the same file does not take this one along.
        let mut waiting = self.shared.lock();
        let descriptor = self.shared.inotify.add_watch(path.as_str(), of)?;
        waiting.entry(descriptor).or_default().push(Arc::clone(wake));
        Ok(Watch {
            shared: Arc::clone(&self.shared),
            descriptor,
            wake: Arc::clone(wake),
        })
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, HashMap<WatchDescriptor, Vec<Arc<Notify>>>> {
        // Each call changes one entry, so a thread that panicked left a whole map.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let mut waiting = self.shared.lock();
        let Some(wakes) = waiting.get_mut(&self.descriptor) else {
            return;
        };
        if let Some(place) = wakes.iter().position(|wake| Arc::ptr_eq(wake, &self.wake)) {
            wakes.swap_remove(place);
        }
        if wakes.is_empty() {
            waiting.remove(&self.descriptor);
            // The kernel has ended it already when the file itself is gone.
            let _ = self.shared.inotify.rm_watch(self.descriptor);
        }
    }
}

/// Wakes whoever waits, as long as the agent lives.
async fn deliver(events: AsyncFd<Events>) {
    loop {
        let Ok(mut ready) = events.readable().await else {
            return tracing::error!("changes of files are not told any more: the runtime gives no events");
        };
        let shared = &events.get_ref().0;
        match shared.inotify.read_events() {
            Ok(events) => {
                let waiting = shared.lock();
                for event in events {
                    // An overflow names no file: everybody looks.
                    if event.mask.contains(AddWatchFlags::IN_Q_OVERFLOW) {
                        waiting.values().flatten().for_each(|wake| wake.notify_one());
                    }
                    waiting
                        .get(&event.wd)
                        .into_iter()
                        .flatten()
                        .for_each(|wake| wake.notify_one());
                }
            }
            Err(Errno::EAGAIN) => ready.clear_ready(),
            Err(Errno::EINTR) => {}
            Err(error) => return tracing::error!("changes of files are not told any more: {error}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::time::Duration;

    use super::*;

    async fn woken(wake: &Notify) -> bool {
        tokio::time::timeout(Duration::from_secs(10), wake.notified())
            .await
            .is_ok()
    }

    #[tokio::test]
    async fn two_who_watch_one_file_are_both_woken_and_apart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("file");
        let mut file = File::create(&path).expect("makes it");
        let watches = Watches::new().expect("inotify");
        let (one, other) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let first = watches.file(&file, &one).expect("a watch");
        let second = watches
            .file(&File::open(&path).expect("opens"), &other)
            .expect("a watch");
        file.write_all(b"x").expect("writes");
        assert!(woken(&one).await && woken(&other).await);
        drop(first);
        file.write_all(b"y").expect("writes");
        assert!(woken(&other).await);
        drop(second);
        assert!(watches.shared.lock().is_empty());

        let opened = File::open(folder.path()).expect("opens");
        let _watch = watches.folder(&opened, &one).expect("a watch");
        File::create(folder.path().join("new")).expect("makes it");
        assert!(woken(&one).await);
    }
}
