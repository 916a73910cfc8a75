//! The driver: performs what the state machine decides.
//!
//! A plain loop on a thread of its own. Attempts are tokio tasks that send it messages; whatever
//! has arrived is applied and written to the journal in one transaction, then the effects are
//! performed: attempts started, stopped, answered.

use super::attempt::{AttemptTask, start_attempt};
use super::ownership::{RunLock, run_directory};
use super::state::{Misfit, RunState};
use super::{Conditions, with_late};
use crate::attempt::{Progress, RunContext, Stream, TaskError};
use crate::event::{AttemptResult, Counts, Event, RunEnd};
use crate::kind::{Files, Kinds};
use crate::plan::{Plan, TriggerRule};
use crate::store::{Record, Store, StoreError};
use jiff::{SignedDuration, Timestamp};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

/// How often requests of other processes are looked for.
const POLL: Duration = Duration::from_millis(200);

/// Messages taken into one transaction at most.
const BATCH: usize = 1000;

/// Something that watches a run.
pub trait Observer: Send + Sync {
    /// These events are durable and applied.
    fn events(&self, state: &RunState, records: &[Record]);
    /// An attempt has begun; its counters may be read from now on.
    fn progress(&self, task: &str, attempt: u32, progress: &Arc<Progress>);
}

/// What a run needs to go on.
pub struct Run {
    pub plan: Arc<Plan>,
    pub context: Arc<RunContext>,
    pub files: Arc<Files>,
    /// The definition's environment variables, for expressions.
    pub env: BTreeMap<String, String>,
    pub kinds: Kinds,
    pub jobs: usize,
    pub observer: Arc<dyn Observer>,
}

#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Misfit(#[from] Misfit),
}

/// What attempts and others tell the driver.
pub(super) enum Message {
    /// An attempt wants an event in the journal, and to hear when it is durable.
    Record {
        event: Event,
        answer: oneshot::Sender<Result<(), TaskError>>,
    },
    Ended {
        task: String,
        attempt: u32,
        result: AttemptResult,
        counts: Counts,
    },
    Cancel {
        reason: String,
    },
}

/// Stops a run from outside its thread.
#[derive(Clone)]
pub struct Canceller(Sender<Message>);

impl Canceller {
    pub fn cancel(&self, reason: impl Into<String>) {
        // The run may be over already.
        let _ = self.0.send(Message::Cancel { reason: reason.into() });
    }
}

/// A run that this process owns.
pub struct Driver {
    run: Run,
    state: RunState,
    store: Store,
    _lock: RunLock,
    next_seq: u64,
    newest_request: i64,
    inbox: Receiver<Message>,
    outbox: Sender<Message>,
    attempts: HashMap<String, CancellationToken>,
    /// How far the writers of topics have come, by dataset.
    streams: HashMap<String, watch::Sender<Stream>>,
    tokio: tokio::runtime::Handle,
}

impl Driver {
    /// Takes the run over, new or interrupted, whose lock the caller has taken: raises its epoch,
    /// replays its journal. The run exists in the store. Call it within a tokio runtime.
    pub fn take_over(run: Run, lock: RunLock, mut store: Store) -> Result<Driver, RunError> {
        let id = run.context.id.clone();
        let pid = std::process::id();
        let epoch = store.claim(&id, pid)?;
        let mut state = RunState::new(run.plan.clone(), &id, run.jobs);
        let records = store.events(&id, 0)?;
        for record in &records {
            state.apply(&record.event)?;
        }
        run.observer.events(&state, &records);
        let (outbox, inbox) = channel();
        let mut driver = Driver {
            next_seq: records.last().map_or(0, |record| record.seq) + 1,
            streams: streams(&state),
            tokio: tokio::runtime::Handle::current(),
            run,
            state,
            store,
            _lock: lock,
            newest_request: 0,
            inbox,
            outbox,
            attempts: HashMap::new(),
        };
        let mut events = vec![Event::RunOwned { epoch, pid }];
        events.extend(driver.state.lost_attempts());
        for event in &events {
            driver.state.apply(event)?;
        }
        driver.commit(events, Timestamp::now())?;
        Ok(driver)
    }

    pub fn canceller(&self) -> Canceller {
        Canceller(self.outbox.clone())
    }

    pub fn state(&self) -> &RunState {
        &self.state
    }

    /// Runs to the end. Blocks; call it on a thread of its own.
    pub fn finish(mut self) -> Result<(RunState, RunEnd), RunError> {
        let result = self.turn_until_end();
        // On an error, nothing that is still running may go on without a journal.
        self.attempts.values().for_each(CancellationToken::cancel);
        result.map(|end| (self.state, end))
    }

    fn turn_until_end(&mut self) -> Result<RunEnd, RunError> {
        let mut messages: Vec<Message> = self.inbox.try_iter().take(BATCH).collect();
        loop {
            self.turn(std::mem::take(&mut messages))?;
            if let Some(end) = self.state.end() {
                return Ok(end);
            }
            match self.inbox.recv_timeout(self.patience()) {
                Ok(message) => {
                    messages.push(message);
                    messages.extend(self.inbox.try_iter().take(BATCH));
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => unreachable!("the driver keeps a sender"),
            }
            if messages.is_empty()
                && let Some((request, reason)) =
                    self.store.cancel_request(&self.run.context.id, self.newest_request)?
            {
                self.newest_request = request;
                messages.push(Message::Cancel { reason });
            }
        }
    }

    /// How long to wait for a message.
    fn patience(&self) -> Duration {
        let Some(at) = self.state.wakes_at() else { return POLL };
        let pause = Timestamp::now().duration_until(at).max(SignedDuration::ZERO);
        pause.unsigned_abs().min(POLL)
    }

    /// Applies what was told, decides, commits all of it at once, and performs the effects.
    fn turn(&mut self, messages: Vec<Message>) -> Result<(), RunError> {
        let now = Timestamp::now();
        let mut events = Vec::new();
        let mut answers = Vec::new();
        for message in messages {
            match message {
                Message::Record { event, answer } => match self.state.apply(&event) {
                    Ok(()) => {
                        events.push(event);
                        answers.push(answer);
                    }
                    Err(misfit) => {
                        let _ = answer.send(Err(TaskError::permanent(misfit.to_string())));
                    }
                },
                Message::Ended { task, attempt, result, counts } => {
                    self.attempts.remove(&task);
                    let event = Event::AttemptEnded { task, attempt, result, counts };
                    self.state.apply(&event)?;
                    events.push(event);
                }
                Message::Cancel { reason } if self.state.cancel_reason().is_none() => {
                    let event = Event::CancelRequested { reason };
                    self.state.apply(&event)?;
                    events.push(event);
                }
                Message::Cancel { .. } => {}
            }
        }
        let conditions = LateConditions(&self.run);
        events.extend(self.state.advance(now, &conditions));
        if events.is_empty() {
            return Ok(());
        }
        self.commit(events, now)?;
        for answer in answers {
            // The attempt may have given up waiting.
            let _ = answer.send(Ok(()));
        }
        Ok(())
    }

    fn commit(&mut self, events: Vec<Event>, at: Timestamp) -> Result<(), RunError> {
        let epoch = self.state.epoch();
        let ends = self.state.take_ends();
        self.store.append(&self.run.context.id, epoch, self.next_seq, at, &events, &ends)?;
        let records: Vec<Record> = (self.next_seq..)
            .zip(events)
            .map(|(seq, event)| Record { seq, at, epoch, event })
            .collect();
        self.next_seq += records.len() as u64;
        self.run.observer.events(&self.state, &records);
        for record in &records {
            self.perform(&record.event);
        }
        for task in self.state.orphans() {
            if let Some(cancel) = self.attempts.get(&self.run.plan.tasks[task].name) {
                cancel.cancel();
            }
        }
        Ok(())
    }

    /// The effect of a durable event.
    fn perform(&mut self, event: &Event) {
        match event {
            Event::AttemptStarted { task, attempt } => self.start(task, *attempt),
            Event::StreamOpened { dataset, start, .. } => {
                if let Some(stream) = self.streams.get(&dataset.to_string()) {
                    stream.send_modify(|stream| stream.start = start.clone());
                }
            }
            Event::StreamClosed { dataset, end, .. } => {
                if let Some(stream) = self.streams.get(&dataset.to_string()) {
                    stream.send_modify(|stream| stream.end = Some(end.clone()));
                }
            }
            Event::CancelRequested { .. } => {
                for (task, cancel) in &self.attempts {
                    let rule =
                        self.state.index_of(task).map(|i| self.run.plan.tasks[i].trigger_rule);
                    if rule != Some(TriggerRule::Always) {
                        cancel.cancel();
                    }
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, task: &str, attempt: u32) {
        let cancel = CancellationToken::new();
        self.attempts.insert(task.to_owned(), cancel.clone());
        let progress = Arc::new(Progress::default());
        self.run.observer.progress(task, attempt, &progress);
        let index = self.state.index_of(task).expect("the state knows the task it started");
        let start = AttemptTask {
            run: &self.run,
            state: &self.state,
            task: index,
            number: attempt,
            streams: &self.streams,
            outbox: self.outbox.clone(),
            cancel,
            progress,
            directory: run_directory(&self.run.context.data_dir, &self.run.context.id),
        };
        start_attempt(start, &self.tokio);
    }
}

/// One channel for each topic that a task of the run writes, as far as the journal knows them.
fn streams(state: &RunState) -> HashMap<String, watch::Sender<Stream>> {
    let mut streams = HashMap::new();
    for ((_, task), planned) in state.tasks().zip(&state.plan().tasks) {
        for (name, output) in &planned.outputs {
            let known = task.outputs.get(name);
            let stream = Stream {
                start: known.and_then(|o| o.opened.clone()).unwrap_or_default(),
                end: known.and_then(|o| o.closed.clone()),
            };
            streams.insert(output.dataset.to_string(), watch::Sender::new(stream));
        }
    }
    streams.retain(|dataset, _| dataset.starts_with("topic:"));
    streams
}

/// `when` with the results of earlier tasks.
struct LateConditions<'a>(&'a Run);

impl Conditions for LateConditions<'_> {
    fn holds(&self, state: &RunState, expression: &str) -> Result<bool, String> {
        with_late(self.0, state, |late| crate::template::holds_late(expression, late))
    }
}
