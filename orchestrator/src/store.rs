//! The store: `store.db`, an SQLite database in the data directory.
//!
//! The journal (`events`) is the truth; the other tables are derived from it in the same
//! transaction, or hold what a run was started with. Several run processes, the daemon and readers
//! share the file: WAL, short transactions, one fsync for each committed batch of events.

mod datasets;
mod fires;
mod history;
mod journal;
mod queries;
mod schema;

pub use datasets::{DatasetVersion, LineageEdge, Toucher};
pub use fires::{Fate, FireRow};
pub use history::{RunFilter, RunRow, RunState, RunStatus};
pub use journal::{NewRun, Record, StoredRun, Trigger};
pub use queries::{Ingestion, QueryRow};

use rusqlite::ffi::SQLITE_IOERR_SHMSIZE;
use rusqlite::{Connection, ErrorCode};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A connection to the store. Blocking; each thread that needs the store opens its own.
pub struct Store {
    connection: Connection,
    path: PathBuf,
}

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "`{}` was written by a newer tidemill (format {found}, this one knows {known}); \
         upgrade tidemill, or choose another data directory with --data-dir",
        path.display()
    )]
    Newer { path: PathBuf, found: i64, known: i64 },
    #[error("cannot use the data directory `{}`: {cause}", path.display())]
    Directory { path: PathBuf, cause: std::io::Error },
    #[error("cannot use `{}`: {cause}", path.display())]
    Sqlite { path: PathBuf, cause: rusqlite::Error },
    #[error(
        "the disk of `{}` is full; make room, and go on with `tidemill run --resume latest` if a \
         run was cut off",
        path.display()
    )]
    Full { path: PathBuf },
    #[error("`{}` holds a {what} that cannot be read: {cause}", path.display())]
    Damaged { path: PathBuf, what: &'static str, cause: serde_json::Error },
    #[error("another process has taken run {run} over")]
    Fenced { run: String },
    #[error("there is no run `{0}`; `tidemill history` lists them")]
    NoSuchRun(String),
    #[error("`{prefix}` could be any of these runs: {}", candidates.join(", "))]
    AmbiguousRun { prefix: String, candidates: Vec<String> },
}

impl StoreError {
    fn of_sqlite(path: &Path, cause: rusqlite::Error) -> Self {
        let path = path.to_owned();
        // The file shared by connections could not grow: the disk is full here, too.
        let no_room = cause.sqlite_error().is_some_and(|error| {
            error.code == ErrorCode::DiskFull || error.extended_code == SQLITE_IOERR_SHMSIZE
        });
        if no_room { StoreError::Full { path } } else { StoreError::Sqlite { path, cause } }
    }
}

impl Store {
    /// The format that this program reads and writes; it brings older ones to it.
    pub const FORMAT: i64 = schema::FORMAT;

    /// Opens the store of a data directory, and makes both where they are missing.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        let in_directory = |cause| StoreError::Directory { path: data_dir.to_owned(), cause };
        std::fs::create_dir_all(data_dir).map_err(in_directory)?;
        // One at a time: SQLite doesn't wait for another that makes the same file, it gives up.
        let directory = File::open(data_dir).map_err(in_directory)?;
        directory.lock().map_err(in_directory)?;
        let path = data_dir.join("store.db");
        let connection =
            Connection::open(&path).map_err(|cause| StoreError::of_sqlite(&path, cause))?;
        let mut store = Store { connection, path };
        store.prepare()?;
        Ok(store)
    }

    /// A store that nobody else sees, for tests that write much.
    #[cfg(test)]
    pub(crate) fn in_memory() -> Result<Self, StoreError> {
        let path = PathBuf::from(":memory:");
        let connection =
            Connection::open_in_memory().map_err(|cause| StoreError::of_sqlite(&path, cause))?;
        let mut store = Store { connection, path };
        store.prepare()?;
        Ok(store)
    }

    /// Opens the store if there is one.
    pub fn open_existing(data_dir: &Path) -> Result<Option<Self>, StoreError> {
        if data_dir.join("store.db").exists() { Self::open(data_dir).map(Some) } else { Ok(None) }
    }

    fn prepare(&mut self) -> Result<(), StoreError> {
        self.sqlite(|connection| {
            connection.busy_timeout(Duration::from_secs(30))?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", true)
        })?;
        let found = self.format()?;
        if found < schema::FORMAT {
            self.sqlite(schema::migrate)?;
        } else if found > schema::FORMAT {
            let (path, known) = (self.path.clone(), schema::FORMAT);
            return Err(StoreError::Newer { path, found, known });
        }
        Ok(())
    }

    /// A number that is another one after somebody else has written to the store.
    pub fn version(&mut self) -> Result<i64, StoreError> {
        self.sqlite(|connection| connection.pragma_query_value(None, "data_version", |r| r.get(0)))
    }

    fn format(&mut self) -> Result<i64, StoreError> {
        self.sqlite(|connection| connection.pragma_query_value(None, "user_version", |r| r.get(0)))
    }

    fn sqlite<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&mut self.connection).map_err(|cause| StoreError::of_sqlite(&self.path, cause))
    }

    fn damaged(&self, what: &'static str) -> impl FnOnce(serde_json::Error) -> StoreError {
        let path = self.path.clone();
        move |cause| StoreError::Damaged { path, what, cause }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Barrier;

    #[test]
    fn several_open_a_new_store_at_once() {
        for _ in 0..50 {
            let data = tempfile::tempdir().unwrap();
            let start = Barrier::new(16);
            let open = || {
                start.wait();
                Store::open(data.path()).map(drop)
            };
            std::thread::scope(|scope| {
                let all: Vec<_> = (0..16).map(|_| scope.spawn(open)).collect();
                all.into_iter().for_each(|one| one.join().unwrap().unwrap());
            });
        }
    }
}
