//! Who owns a run: an operating-system lock on `runs/<id>/lock`, held as long as the process
//! lives. A stopped process or a stepped clock cannot lose it, and a dead one is seen at once.

use crate::store::{RunFilter, RunRow, RunState, RunStatus, Store, StoreError};
use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::thread::sleep;
use std::time::Duration;

/// The directory of a run: its lock, logs and scratch files.
pub fn run_directory(data_dir: &Path, run: &str) -> PathBuf {
    data_dir.join("runs").join(run)
}

/// The lock of a run, held until it is dropped or the process dies.
#[derive(Debug)]
pub struct RunLock {
    file: File,
}

impl RunLock {
    /// Takes the lock; `None` if another process holds it.
    pub fn acquire(data_dir: &Path, run: &str) -> io::Result<Option<RunLock>> {
        let directory = run_directory(data_dir, run);
        std::fs::create_dir_all(&directory)?;
        let path = directory.join("lock");
        let file = OpenOptions::new().create(true).append(true).open(path)?;
        // Someone who asks whether the run is alive holds a shared lock for an instant.
        for _ in 0..50 {
            match file.try_lock() {
                Ok(()) => return Ok(Some(RunLock { file })),
                Err(TryLockError::WouldBlock) => sleep(Duration::from_millis(5)),
                Err(TryLockError::Error(error)) => return Err(error),
            }
        }
        Ok(None)
    }

    /// Hands the lock over to a child, as its standard input: it is held without a gap.
    pub fn into_stdin(self) -> Stdio {
        self.file.into()
    }

    /// The lock that the parent has handed over as standard input. No process that is started here
    /// may inherit that: it would hold the lock, too.
    pub fn inherited() -> io::Result<RunLock> {
        let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
        match file.try_lock() {
            Ok(()) => Ok(RunLock { file }),
            Err(TryLockError::WouldBlock) => Err(io::ErrorKind::ResourceBusy.into()),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// Waits until no process owns the run.
pub fn wait_for_end(data_dir: &Path, run: &str) -> io::Result<()> {
    File::open(run_directory(data_dir, run).join("lock"))?.lock_shared()
}

/// Whether a process owns the run.
pub fn is_alive(data_dir: &Path, run: &str) -> bool {
    let Ok(file) = File::open(run_directory(data_dir, run).join("lock")) else {
        return false;
    };
    matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock))
}

/// A run's state as people see it.
pub fn status(data_dir: &Path, row: &RunRow) -> RunStatus {
    row.status(row.end.is_none() && is_alive(data_dir, &row.id))
}

/// The runs that a filter and a state choose, newest first. Which of the open ones have a process the
/// store does not know: there are few of them, so that all are looked at.
pub fn find_runs(
    store: &mut Store,
    data_dir: &Path,
    filter: RunFilter,
    state: Option<RunStatus>,
) -> Result<Vec<(RunRow, RunStatus)>, StoreError> {
    let limit = filter.limit.unwrap_or(usize::MAX);
    let filter = match state {
        None => filter,
        Some(RunStatus::Ended(end)) => RunFilter { state: Some(RunState::Ended(end)), ..filter },
        Some(_) => RunFilter { state: Some(RunState::Open), limit: None, ..filter },
    };
    let rows = store.runs(&filter)?.into_iter().map(|row| {
        let status = status(data_dir, &row);
        (row, status)
    });
    let fits = |(_, status): &(RunRow, RunStatus)| state.is_none_or(|state| state == *status);
    Ok(rows.filter(fits).take(limit).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_owner_at_a_time_and_death_is_seen() {
        let data = tempfile::tempdir().unwrap();
        assert!(!is_alive(data.path(), "r"));
        let lock = RunLock::acquire(data.path(), "r").unwrap().unwrap();
        assert!(is_alive(data.path(), "r"));
        assert!(RunLock::acquire(data.path(), "r").unwrap().is_none());
        drop(lock);
        assert!(!is_alive(data.path(), "r"));
        assert!(RunLock::acquire(data.path(), "r").unwrap().is_some());
    }
}
