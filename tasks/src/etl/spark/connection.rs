//! A session at a Spark Connect server, for one attempt.

use super::errors::transport_error;
use crate::places::SparkSettings;
use orchestrator::attempt::{Progress, TaskError};
use spark_connect::{Result as SparkResult, SparkError, SparkSession};
use std::collections::HashMap;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::{Arc, Mutex as StdMutex, PoisonError};
use std::time::Duration;
use tokio::sync::Mutex;

/// How long a server has to take a connection.
const DIAL: Duration = Duration::from_secs(10);
/// How long an operation that was told to stop has for it.
const STOP: Duration = Duration::from_secs(10);
/// Marks the operations of the session, so that they can be stopped.
const TAG: &str = "tidemill";

/// What makes Spark compute as DataFusion does, where a setting can, and write Parquet that reads
/// back as it was.
const SETTINGS: [(&str, &str); 9] = [
    ("spark.sql.session.timeZone", "UTC"),
    ("spark.sql.timestampType", "TIMESTAMP_LTZ"),
    // An overflow or a text that is no number is an error, never a null.
    ("spark.sql.ansi.enabled", "true"),
    ("spark.sql.ansi.doubleQuotedIdentifiers", "true"),
    ("spark.sql.parquet.outputTimestampType", "TIMESTAMP_MICROS"),
    ("spark.sql.parquet.datetimeRebaseModeInRead", "CORRECTED"),
    ("spark.sql.parquet.datetimeRebaseModeInWrite", "CORRECTED"),
    ("spark.sql.parquet.writeLegacyFormat", "false"),
    ("spark.sql.parquet.compression.codec", "snappy"),
];

/// The client is synchronous, and each call blocks a thread of its own.
pub(super) struct Connection {
    session: SparkSession,
    remote: String,
    /// Held by the thread that is at work in the session.
    busy: Arc<Mutex<()>>,
}

impl Connection {
    /// Dials, and makes the session ready.
    pub(super) async fn open(
        settings: &SparkSettings,
        progress: Arc<Progress>,
    ) -> Result<Connection, TaskError> {
        let (settings, url) = (settings.clone(), settings.url()?);
        let opened = tokio::task::spawn_blocking(move || {
            dial(&settings)?;
            let remote = settings.remote;
            let failed = |error: SparkError| transport_error(&remote, &error);
            let session = SparkSession::builder().remote(&url).get_or_create().map_err(failed)?;
            let version = session.version().map_err(failed)?;
            tracing::info!("Spark {version} at {remote} computes");
            for (name, value) in SETTINGS {
                session.conf().set(name, value).map_err(failed)?;
            }
            session.add_tag(TAG).map_err(failed)?;
            tell_progress(&session, progress);
            Ok(Connection { session, remote, busy: Arc::default() })
        });
        opened.await.map_err(broke_off)?
    }

    /// Works in the session. If this future is dropped the thread goes on, until
    /// [`Connection::close`] stops it.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&SparkSession) -> SparkResult<T> + Send + 'static,
    ) -> Result<SparkResult<T>, TaskError> {
        let (session, busy) = (self.session.clone(), self.busy.clone().lock_owned().await);
        let span = tracing::Span::current();
        let called = tokio::task::spawn_blocking(move || {
            let _busy = busy;
            span.in_scope(|| work(&session))
        });
        called.await.map_err(broke_off)
    }

    /// Stops what is still running, and lets the server forget the session.
    pub(super) async fn close(self) {
        let stopped = tokio::time::timeout(STOP, async {
            // Asked again and again: an operation may have been about to begin.
            while self.busy.try_lock().is_err() {
                let session = self.session.clone();
                let interrupt = tokio::task::spawn_blocking(move || session.interrupt_tag(TAG));
                if let Ok(Err(error)) = interrupt.await {
                    tracing::debug!("can't stop what Spark is computing: {error}");
                }
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            let session = self.session.clone();
            tokio::task::spawn_blocking(move || session.stop()).await
        });
        if !matches!(stopped.await, Ok(Ok(Ok(())))) {
            tracing::debug!("the session at {} was not released", self.remote);
        }
    }
}

fn broke_off(error: tokio::task::JoinError) -> TaskError {
    TaskError::permanent(format!("a call to Spark broke off: {error}"))
}

/// The client itself goes on for minutes when nobody listens.
fn dial(settings: &SparkSettings) -> Result<(), TaskError> {
    let (remote, address) = (&settings.remote, settings.address()?);
    let away = |error: std::io::Error| {
        TaskError::transient(format!("no Spark Connect server answers at `{remote}`: {error}"))
    };
    let mut result = Err(std::io::Error::other("the host has no address"));
    for address in address.to_socket_addrs().map_err(away)? {
        result = TcpStream::connect_timeout(&address, DIAL).map(drop);
        if result.is_ok() {
            break;
        }
    }
    result.map_err(away)
}

/// Spark's tasks are the units of work.
fn tell_progress(session: &SparkSession, progress: Arc<Progress>) {
    let known: StdMutex<HashMap<i64, (u64, u64)>> = StdMutex::default();
    session.register_progress_handler(move |told| {
        let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
        for stage in &told.stages {
            let done = stage.num_completed_tasks.max(0).cast_unsigned();
            let entry = known.entry(stage.stage_id).or_default();
            progress.add_done(done.saturating_sub(entry.1));
            *entry = (stage.num_tasks.max(0).cast_unsigned(), done.max(entry.1));
        }
        progress.set_total(known.values().map(|(tasks, _)| tasks).sum());
    });
}
