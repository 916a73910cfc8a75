//! Performing one attempt: putting together what its kind gets, and watching over its time.

use super::driver::{Message, Run};
use super::state::RunState;
use super::with_late;
use crate::attempt::{Attempt, Input, Journal, Output, Progress, Stream, TaskError};
use crate::event::{AttemptResult, ErrorClass, Event};
use crate::kind::Kind;
use crate::log;
use crate::plan::PlannedTask;
use crate::template::LateContext;
use async_trait::async_trait;
use futures::FutureExt;
use std::any::Any;
use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::Sender;
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

/// How long an attempt may take to stop once it was told to.
const GRACE: Duration = Duration::from_secs(30);

/// What the driver knows when it starts an attempt.
pub(super) struct AttemptTask<'a> {
    pub(super) run: &'a Run,
    pub(super) state: &'a RunState,
    pub(super) task: usize,
    pub(super) number: u32,
    pub(super) streams: &'a HashMap<String, watch::Sender<Stream>>,
    pub(super) outbox: Sender<Message>,
    pub(super) cancel: CancellationToken,
    pub(super) progress: Arc<Progress>,
    /// The run's directory.
    pub(super) directory: PathBuf,
}

/// Starts the attempt; its end comes as a message.
pub(super) fn start_attempt(start: AttemptTask<'_>, tokio: &tokio::runtime::Handle) {
    let planned = &start.run.plan.tasks[start.task];
    let kind = start.run.kinds.get(&planned.kind).cloned();
    let timeout = planned.timeout.map(|timeout| timeout.unsigned_abs());
    let span = log::span(
        &planned.name,
        start.number,
        &log::path(&start.directory, &planned.name, start.number),
    );
    let outbox = start.outbox.clone();
    let (task, number) = (planned.name.clone(), start.number);
    let progress = start.progress.clone();
    let attempt = span.in_scope(|| prepare(start, planned));
    let work = async move {
        let result = match (kind, attempt) {
            (_, Err(message)) => failed(ErrorClass::Permanent, message),
            (None, _) => failed(ErrorClass::Permanent, "this program lacks the task's kind".into()),
            (Some(kind), Ok(attempt)) => watch_over(kind, attempt, timeout).await,
        };
        match &result {
            AttemptResult::Failed { class, message } => tracing::error!(?class, "{message}"),
            AttemptResult::Cancelled => tracing::warn!("cancelled"),
            AttemptResult::Succeeded { .. } | AttemptResult::Lost => {}
        }
        let counts = progress.counts();
        // The driver is gone only when its run is.
        let _ = outbox.send(Message::Ended { task, attempt: number, result, counts });
    };
    tokio.spawn(work.instrument(span));
}

fn failed(class: ErrorClass, message: String) -> AttemptResult {
    AttemptResult::Failed { class, message }
}

/// Renders what only now can be known.
fn prepare(start: AttemptTask<'_>, planned: &PlannedTask) -> Result<Attempt, String> {
    let options = if planned.late.is_empty() {
        planned.options.clone()
    } else {
        let render = |late: &LateContext<'_>| crate::template::render_late(planned, late);
        let options = with_late(start.run, start.state, render)?;
        if let Some(kind) = start.run.kinds.get(&planned.kind) {
            crate::plan::recheck(kind.as_ref(), &options)?;
        }
        options
    };
    let scratch =
        start.directory.join("scratch").join(format!("{}.{}", planned.name, start.number));
    Ok(Attempt {
        run: start.run.context.clone(),
        task: planned.name.clone(),
        number: start.number,
        options,
        files: start.run.files.clone(),
        inputs: inputs(&start, planned),
        outputs: outputs(&start, planned),
        cancel: start.cancel,
        progress: start.progress,
        scratch,
        journal: Arc::new(DriverJournal(start.outbox)),
    })
}

fn inputs(start: &AttemptTask<'_>, planned: &PlannedTask) -> indexmap::IndexMap<String, Input> {
    let pinned = &start.state.tasks[start.task].inputs;
    let mut inputs = indexmap::IndexMap::new();
    for (name, dataset) in &planned.inputs {
        let version = match pinned.get(name) {
            Some(pinned) => *pinned,
            None => start.state.published_version(dataset),
        };
        let stream = start.streams.get(&dataset.to_string()).map(watch::Sender::subscribe);
        inputs.insert(name.clone(), Input { dataset: dataset.clone(), version, stream });
    }
    inputs
}

fn outputs(start: &AttemptTask<'_>, planned: &PlannedTask) -> indexmap::IndexMap<String, Output> {
    let known = &start.state.tasks[start.task].outputs;
    let mut outputs = indexmap::IndexMap::new();
    for (name, output) in &planned.outputs {
        let known = known.get(name).cloned().unwrap_or_default();
        let output = Output {
            planned: output.clone(),
            intended: known.intended,
            published: known.published,
            opened: known.opened,
        };
        outputs.insert(name.clone(), output);
    }
    outputs
}

/// Runs the kind's work until it is done, has used up its time, or does not stop when told to.
async fn watch_over(
    kind: Arc<dyn Kind>,
    attempt: Attempt,
    timeout: Option<Duration>,
) -> AttemptResult {
    let cancel = attempt.cancel.clone();
    let scratch = attempt.scratch.clone();
    let unpinned = Unpinned::of(&attempt);
    let work = AssertUnwindSafe(async { kind.run(&attempt).await }).catch_unwind();
    tokio::pin!(work);
    let out_of_time = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let mut timed_out = false;
    let done = tokio::select! {
        done = &mut work => Some(done),
        () = cancel.cancelled() => None,
        () = out_of_time => {
            timed_out = true;
            cancel.cancel();
            None
        }
    };
    let done = match done {
        Some(done) => Some(done),
        None => tokio::time::timeout(GRACE, work).await.ok(),
    };
    let result = match done {
        Some(Ok(Ok(outcome))) => {
            unpinned.record().await;
            AttemptResult::Succeeded { values: outcome.values, report: outcome.report }
        }
        _ if timed_out => {
            let seconds = timeout.unwrap_or_default().as_secs_f64();
            failed(
                ErrorClass::Transient,
                format!("did not finish within its timeout of {seconds} s"),
            )
        }
        None => AttemptResult::Cancelled,
        Some(Ok(Err(_))) if cancel.is_cancelled() => AttemptResult::Cancelled,
        Some(Ok(Err(error))) => of_error(error),
        Some(Err(panic)) => failed(ErrorClass::Permanent, describe(panic.as_ref())),
    };
    // Leftovers are harmless: the directory is the attempt's own.
    let _ = std::fs::remove_dir_all(scratch);
    result
}

/// Inputs whose reading the kind did not journal (files, topics): lineage needs them too.
struct Unpinned {
    journal: Arc<dyn Journal>,
    events: Vec<Event>,
}

impl Unpinned {
    fn of(attempt: &Attempt) -> Self {
        let unversioned = attempt.inputs.iter().filter(|(_, input)| input.version.is_none());
        let events = unversioned
            .filter(|(_, input)| input.dataset.scheme() != crate::dataset::Scheme::Table)
            .map(|(name, input)| Event::ReadPinned {
                task: attempt.task.clone(),
                input: name.clone(),
                dataset: input.dataset.clone(),
                version: None,
            })
            .collect();
        Unpinned { journal: attempt.journal.clone(), events }
    }

    async fn record(self) {
        for event in self.events {
            // Without a journal the run ends anyway.
            let _ = self.journal.record(event).await;
        }
    }
}

fn of_error(error: TaskError) -> AttemptResult {
    match error.class() {
        Some(class) => failed(class, error.to_string()),
        None => AttemptResult::Cancelled,
    }
}

fn describe(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<&str>()
        .map(ToString::to_string)
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    format!("defect in tidemill, please report it: {text}")
}

/// Hands events to the driver and waits until they are durable.
struct DriverJournal(Sender<Message>);

#[async_trait]
impl Journal for DriverJournal {
    async fn record(&self, event: Event) -> Result<(), TaskError> {
        let (answer, durable) = oneshot::channel();
        let gone = |()| TaskError::Cancelled;
        self.0.send(Message::Record { event, answer }).map_err(|_| gone(()))?;
        durable.await.map_err(|_| gone(()))?
    }
}
