//! Watching directories for changes of their files, by inotify.

use super::daemon::Message;
use rustix::fs::inotify::{self, CreateFlags, Reader, WatchFlags};
use rustix::io::Errno;
use std::ffi::CStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::Sender;

/// Tells when something changes in the directories that it watches.
pub(super) struct Watcher(Arc<OwnedFd>);

impl Watcher {
    pub(super) fn new(outbox: Sender<Message>) -> io::Result<Watcher> {
        let queue = Arc::new(inotify::init(CreateFlags::CLOEXEC)?);
        let read = queue.clone();
        std::thread::Builder::new().name("watch".into()).spawn(move || {
            let mut buffer = [MaybeUninit::uninit(); 4096];
            let mut events = Reader::new(&read, &mut buffer);
            loop {
                let matters = match events.next() {
                    // Without a name, events were lost, or the directory itself has changed.
                    Ok(event) => event.file_name().is_none_or(is_read),
                    Err(Errno::INTR) => continue,
                    Err(error) => {
                        tracing::error!("cannot watch for changes any longer: {error}");
                        return;
                    }
                };
                if matters && outbox.send(Message::FilesChanged).is_err() {
                    return;
                }
            }
        })?;
        Ok(Watcher(queue))
    }

    /// Watches a directory, without those in it; one that is watched already stays so.
    pub(super) fn watch(&self, directory: &Path) -> io::Result<()> {
        let changes = WatchFlags::CREATE
            | WatchFlags::CLOSE_WRITE
            | WatchFlags::DELETE
            | WatchFlags::MOVED_FROM
            | WatchFlags::MOVED_TO
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        inotify::add_watch(&self.0, directory, changes)?;
        Ok(())
    }
}

/// Whether a file of this name can be a part of a pipeline: tasks write others beside them.
fn is_read(name: &CStr) -> bool {
    let ending = Path::new(name.to_str().unwrap_or_default()).extension();
    ending.is_some_and(|ending| ["yaml", "yml", "sql"].iter().any(|known| ending == *known))
}
