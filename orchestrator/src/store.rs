//! The store: `store.db`, an SQLite database in the data directory.
//!
//! The journal (`events`) is the truth; the other tables are derived from it in the same
//! transaction, or hold what a run was started with. Several run processes, the daemon and readers
//! share the file: WAL, short transactions, one fsync for each committed batch of events.

mod history;
mod journal;
mod schema;

pub use history::{DatasetVersion, LineageEdge, RunFilter, RunRow, RunStatus};
pub use journal::{NewRun, Record, StoredRun};

use rusqlite::Connection;
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
    #[error("cannot use the data directory `{}`: {source}", path.display())]
    Directory { path: PathBuf, source: std::io::Error },
    #[error("cannot use `{}`: {source}", path.display())]
    Sqlite { path: PathBuf, source: rusqlite::Error },
    #[error("`{}` holds a {what} that cannot be read: {source}", path.display())]
    Damaged { path: PathBuf, what: &'static str, source: serde_json::Error },
    #[error("another process has taken run {run} over")]
    Fenced { run: String },
    #[error("there is no run `{0}`; `tidemill history` lists them")]
    NoSuchRun(String),
    #[error("`{prefix}` could be any of these runs: {}", candidates.join(", "))]
    AmbiguousRun { prefix: String, candidates: Vec<String> },
}

impl Store {
    /// Opens the store of a data directory, and makes both where they are missing.
    pub fn open(data_dir: &Path) -> Result<Self, StoreError> {
        std::fs::create_dir_all(data_dir)
            .map_err(|source| StoreError::Directory { path: data_dir.to_owned(), source })?;
        let path = data_dir.join("store.db");
        let connection = Connection::open(&path)
            .map_err(|source| StoreError::Sqlite { path: path.clone(), source })?;
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

    fn format(&mut self) -> Result<i64, StoreError> {
        self.sqlite(|connection| connection.pragma_query_value(None, "user_version", |r| r.get(0)))
    }

    fn sqlite<T>(
        &mut self,
        work: impl FnOnce(&mut Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(&mut self.connection)
            .map_err(|source| StoreError::Sqlite { path: self.path.clone(), source })
    }

    fn damaged(&self, what: &'static str) -> impl FnOnce(serde_json::Error) -> StoreError {
        let path = self.path.clone();
        move |source| StoreError::Damaged { path, what, source }
    }
}
