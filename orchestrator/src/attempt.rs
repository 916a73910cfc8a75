//! What a task kind is given to do its work: one attempt at one task of one run.

use crate::dataset::DatasetName;
use crate::event::{Counts, ErrorClass, Event, Offsets, Published};
use crate::kind::Files;
use crate::plan::{Interval, PlannedOutput};
use async_trait::async_trait;
use indexmap::IndexMap;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// What all attempts of a run share.
#[derive(Clone, Debug)]
pub struct RunContext {
    pub id: String,
    pub pipeline: String,
    pub interval: Interval,
    pub profile: Profile,
    /// The data directory: `store.db`, `runs/`, `tables/` and so on.
    pub data_dir: PathBuf,
    /// The directory of the project file, or of the pipeline if there is none; commands run here.
    pub project_dir: PathBuf,
}

/// A profile of `tidemill.yaml`: how the places are reached.
#[derive(Clone, Debug, PartialEq)]
pub struct Profile {
    pub name: String,
    pub settings: Map<String, Value>,
}

/// One attempt at one task.
pub struct Attempt {
    pub run: Arc<RunContext>,
    pub task: String,
    /// Counts from 1.
    pub number: u32,
    /// `with:`, wholly rendered and checked against the kind's schema.
    pub options: Value,
    /// Texts of the files that the options name.
    pub files: Arc<Files>,
    pub inputs: IndexMap<String, Input>,
    pub outputs: IndexMap<String, Output>,
    /// Fires when the attempt should stop: the run is cancelled, its time is up, or a task that
    /// feeds it failed. Return [`TaskError::Cancelled`] soon after.
    pub cancel: CancellationToken,
    pub progress: Arc<Progress>,
    pub(crate) scratch: PathBuf,
    pub journal: Arc<dyn Journal>,
}

/// A dataset that an attempt reads.
#[derive(Clone, Debug)]
pub struct Input {
    pub dataset: DatasetName,
    /// The version to read: what this run published, or what an earlier attempt of this task
    /// pinned. `None`: find the newest one, and [`Attempt::pin`] it before reading.
    pub version: Option<i64>,
    /// For a topic that another task of this run writes.
    pub stream: Option<watch::Receiver<Stream>>,
}

/// How far the writer of a topic has come.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stream {
    /// Where the run's records begin.
    pub start: Offsets,
    /// Where they end; known once the writer has succeeded. (If it fails for good, the reader is
    /// cancelled.)
    pub end: Option<Offsets>,
}

/// A dataset that an attempt writes.
#[derive(Clone, Debug)]
pub struct Output {
    pub planned: PlannedOutput,
    /// What an earlier attempt of this run found as the newest version before its commit. When
    /// `Some`, a commit after that version may already hold this publication: look for it first.
    pub intended: Option<Option<i64>>,
    /// Set when an earlier attempt of this run finished this output: there is nothing to write.
    pub published: Option<Published>,
    /// Where the run's records begin in a topic, if an earlier attempt opened it.
    pub opened: Option<Offsets>,
}

impl Output {
    pub fn dataset(&self) -> &DatasetName {
        &self.planned.dataset
    }
}

impl Attempt {
    /// A directory of this attempt's own, for scratch files and spill. Made at the first call,
    /// since most attempts need none; removed when the attempt has ended.
    pub fn scratch(&self) -> Result<&Path, TaskError> {
        std::fs::create_dir_all(&self.scratch).map_err(|error| {
            TaskError::io(format!("cannot make `{}`", self.scratch.display()), &error)
        })?;
        Ok(&self.scratch)
    }

    /// The options as the kind's type. An error here is a defect: the plan has checked them.
    pub fn options<T: DeserializeOwned>(&self) -> Result<T, TaskError> {
        serde_path_to_error::deserialize(&self.options).map_err(|error| {
            TaskError::permanent(format!("with.{}: {}", error.path(), error.inner()))
        })
    }

    /// The identity of what this task writes to an output; the same for every attempt of the run.
    pub fn publication(&self, output: &str) -> String {
        format!("{}/{}/{}", self.run.id, self.task, output)
    }

    /// Journals which version of an input is read. Call it before reading; retries then get the
    /// same one as [`Input::version`].
    pub async fn pin(&self, input: &str, version: Option<i64>) -> Result<(), TaskError> {
        let dataset = self.inputs[input].dataset.clone();
        let (task, input) = (self.task.clone(), input.to_owned());
        self.journal.record(Event::ReadPinned { task, input, dataset, version }).await
    }

    /// Journals that the next commit may be this output's. Call it before the commit, with the
    /// dataset's newest version. Returns the base to search after: that of the first attempt.
    pub async fn intend(
        &self,
        output: &str,
        newest: Option<i64>,
    ) -> Result<Option<i64>, TaskError> {
        if let Some(base) = self.outputs[output].intended {
            return Ok(base);
        }
        let dataset = self.outputs[output].dataset().clone();
        let (task, output) = (self.task.clone(), output.to_owned());
        self.journal.record(Event::PublishIntended { task, output, dataset, base: newest }).await?;
        Ok(newest)
    }

    /// Journals that an output is complete and durable.
    pub async fn published(&self, output: &str, published: Published) -> Result<(), TaskError> {
        let dataset = self.outputs[output].dataset().clone();
        let (task, output) = (self.task.clone(), output.to_owned());
        self.journal.record(Event::Published { task, output, dataset, published }).await
    }

    /// Journals where the run's records begin in a topic; its readers start now. Returns the start
    /// that counts: that of the first attempt.
    pub async fn stream_opened(&self, output: &str, start: Offsets) -> Result<Offsets, TaskError> {
        if let Some(opened) = &self.outputs[output].opened {
            return Ok(opened.clone());
        }
        let dataset = self.outputs[output].dataset().clone();
        let (task, output) = (self.task.clone(), output.to_owned());
        let event = Event::StreamOpened { task, output, dataset, start: start.clone() };
        self.journal.record(event).await?;
        Ok(start)
    }

    /// Journals where the run's records end in a topic; its readers drain up to here.
    pub async fn stream_closed(&self, output: &str, end: Offsets) -> Result<(), TaskError> {
        let dataset = self.outputs[output].dataset().clone();
        let (task, output) = (self.task.clone(), output.to_owned());
        self.journal.record(Event::StreamClosed { task, output, dataset, end }).await
    }

    /// [`TaskError::Cancelled`] if the attempt should stop. For loops that do not await `cancel`.
    pub fn check_cancelled(&self) -> Result<(), TaskError> {
        if self.cancel.is_cancelled() { Err(TaskError::Cancelled) } else { Ok(()) }
    }
}

/// Where an attempt's events go. Returns when the event is durable.
#[async_trait]
pub trait Journal: Send + Sync {
    async fn record(&self, event: Event) -> Result<(), TaskError>;
}

/// What a finished attempt has to tell.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outcome {
    /// Handed on to later tasks: `${{ tasks.NAME.values.KEY }}`.
    pub values: Map<String, Value>,
    /// For people: shown by `show`, kept in the journal.
    pub report: Map<String, Value>,
}

/// Live counters of an attempt, read while it runs.
#[derive(Debug, Default)]
pub struct Progress {
    rows_in: AtomicU64,
    rows_out: AtomicU64,
    bytes_out: AtomicU64,
    done: AtomicU64,
    total: AtomicU64,
}

impl Progress {
    pub fn add_rows_in(&self, rows: u64) {
        self.rows_in.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn add_rows_out(&self, rows: u64) {
        self.rows_out.fetch_add(rows, Ordering::Relaxed);
    }

    pub fn add_bytes_out(&self, bytes: u64) {
        self.bytes_out.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Work done, in the unit of [`Progress::set_total`].
    pub fn add_done(&self, units: u64) {
        self.done.fetch_add(units, Ordering::Relaxed);
    }

    /// All the work there is, in any unit (bytes to read, rows to make), once it is known.
    pub fn set_total(&self, units: u64) {
        self.total.store(units, Ordering::Relaxed);
    }

    pub fn counts(&self) -> Counts {
        Counts {
            rows_in: self.rows_in.load(Ordering::Relaxed),
            rows_out: self.rows_out.load(Ordering::Relaxed),
            bytes_out: self.bytes_out.load(Ordering::Relaxed),
        }
    }

    /// The share of the work that is done, from 0 to 1, where that can be known.
    pub fn share(&self) -> Option<f64> {
        let total = self.total.load(Ordering::Relaxed);
        let done = self.done.load(Ordering::Relaxed);
        (total > 0).then(|| (done as f64 / total as f64).min(1.0))
    }
}

/// Why an attempt did not succeed, grouped by what the caller does about it.
#[derive(Debug, thiserror::Error)]
pub enum TaskError {
    /// Can pass: retried.
    #[error("{0}")]
    Transient(String),
    /// Will come again: fails at once.
    #[error("{0}")]
    Permanent(String),
    /// The attempt was told to stop.
    #[error("cancelled")]
    Cancelled,
}

impl TaskError {
    pub fn transient(message: impl Into<String>) -> Self {
        TaskError::Transient(message.into())
    }

    pub fn permanent(message: impl Into<String>) -> Self {
        TaskError::Permanent(message.into())
    }

    /// An input or output error: transient unless trying again can't help (no such file, no
    /// permission, disk full, not a directory).
    pub fn io(doing: impl std::fmt::Display, error: &std::io::Error) -> Self {
        use std::io::ErrorKind as Kind;
        let message = format!("{doing}: {error}");
        match error.kind() {
            Kind::Interrupted
            | Kind::TimedOut
            | Kind::WouldBlock
            | Kind::ResourceBusy
            | Kind::ConnectionRefused
            | Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::NotConnected
            | Kind::UnexpectedEof => TaskError::Transient(message),
            _ => TaskError::Permanent(message),
        }
    }

    pub fn class(&self) -> Option<ErrorClass> {
        match self {
            TaskError::Transient(_) => Some(ErrorClass::Transient),
            TaskError::Permanent(_) => Some(ErrorClass::Permanent),
            TaskError::Cancelled => None,
        }
    }

    /// The same error with what was being done before it.
    #[must_use]
    pub fn context(self, doing: impl std::fmt::Display) -> Self {
        match self {
            TaskError::Transient(message) => TaskError::Transient(format!("{doing}: {message}")),
            TaskError::Permanent(message) => TaskError::Permanent(format!("{doing}: {message}")),
            TaskError::Cancelled => TaskError::Cancelled,
        }
    }
}

/// An error and its causes in one line, `a: b: c`, each cause once.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

pub mod testing {
    //! Building an [`Attempt`] without a run, for the tests of task kinds.

    use super::*;
    use crate::kind::Write;
    use std::path::Path;
    use std::sync::Mutex;

    /// A journal that only remembers.
    #[derive(Default)]
    pub struct MemoryJournal(pub Mutex<Vec<Event>>);

    #[async_trait]
    impl Journal for MemoryJournal {
        async fn record(&self, event: Event) -> Result<(), TaskError> {
            self.0.lock().expect("no panic while locked").push(event);
            Ok(())
        }
    }

    /// A first attempt at a task `test` of run `test-run`, with everything below `root`
    /// (an existing directory): data in `root/data`, the project in `root`.
    pub fn attempt(
        root: &Path,
        options: Value,
        inputs: &[(&str, &str)],
        outputs: &[(&str, &str)],
    ) -> (Attempt, Arc<MemoryJournal>) {
        let journal = Arc::new(MemoryJournal::default());
        let scratch = root.join("scratch");
        let name = |text: &str| text.parse().expect("a dataset's name");
        let day = |text: &str| text.parse().expect("a timestamp");
        let attempt = Attempt {
            run: Arc::new(RunContext {
                id: "test-run".into(),
                pipeline: "test".into(),
                interval: Interval {
                    start: day("2026-11-23T00:00:00Z"),
                    end: day("2026-11-24T00:00:00Z"),
                },
                profile: Profile { name: "embedded".into(), settings: Map::new() },
                data_dir: root.join("data"),
                project_dir: root.to_owned(),
            }),
            task: "test".into(),
            number: 1,
            options,
            files: Arc::new(Files::new()),
            inputs: inputs
                .iter()
                .map(|(port, dataset)| {
                    let input = Input { dataset: name(dataset), version: None, stream: None };
                    ((*port).to_owned(), input)
                })
                .collect(),
            outputs: outputs
                .iter()
                .map(|(port, dataset)| {
                    let planned = PlannedOutput {
                        dataset: name(dataset),
                        write: Write::Overwrite,
                        replace_where: None,
                        partition_by: Vec::new(),
                        key: Vec::new(),
                    };
                    let output = Output { planned, intended: None, published: None, opened: None };
                    ((*port).to_owned(), output)
                })
                .collect(),
            cancel: CancellationToken::new(),
            progress: Arc::new(Progress::default()),
            scratch,
            journal: journal.clone(),
        };
        (attempt, journal)
    }
}
