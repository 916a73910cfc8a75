//! The state of a run: a fold over its events.
//!
//! Pure: no clock, no randomness, no I/O. [`RunState::apply`] folds one event in, at the first run
//! and at every recovery alike; [`RunState::advance`](super::advance) says what follows. A
//! finished task costs its out-degree, never the size of the graph.

use crate::dataset::{DatasetName, Scheme};
use crate::event::{AttemptResult, Counts, ErrorClass, Event, Offsets, Published, RunEnd, TaskEnd};
use crate::plan::{EdgeReason, Plan};
use indexmap::IndexMap;
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::sync::Arc;

/// Everything known of a run.
#[derive(Clone, Debug)]
pub struct RunState {
    pub(super) plan: Arc<Plan>,
    pub(super) run_id: String,
    /// Attempts that may run at once; see [`RunState::takes_a_slot`].
    pub(super) jobs: usize,
    index: HashMap<String, usize>,
    /// The task and the output that write a dataset.
    writers: HashMap<DatasetName, (usize, String)>,
    downstream: Vec<Vec<Link>>,
    pub(super) tasks: Vec<TaskState>,
    /// Position of each task in the plan's order.
    pub(super) rank: Vec<usize>,
    /// Tasks whose turn it is to be looked at: all before them is decided.
    pub(super) fresh: VecDeque<usize>,
    /// Tasks that will run as soon as there is room, by rank.
    pub(super) ready: BTreeSet<(usize, usize)>,
    /// Ready readers of a stream, which need no room.
    pub(super) ready_readers: BTreeSet<(usize, usize)>,
    /// Tasks that pause before their next attempt.
    pub(super) sleeping: BTreeSet<(Timestamp, usize)>,
    /// Tasks with a failed attempt whose pause is not decided.
    pub(super) failing: BTreeSet<usize>,
    /// Running readers of a topic whose writer failed: they must stop.
    orphans: BTreeSet<usize>,
    pub(super) slots_used: usize,
    pub(super) unfinished: usize,
    epoch: u64,
    pub(super) cancel: Option<String>,
    end: Option<RunEnd>,
    /// The tasks that have ended since somebody took this.
    ends: Vec<(String, TaskEnd)>,
}

/// An edge of the plan, seen from its start.
#[derive(Clone, Copy, Debug)]
struct Link {
    to: usize,
    stream: bool,
}

/// Everything known of one task of a run.
#[derive(Clone, Debug, Default)]
pub struct TaskState {
    pub phase: Phase,
    /// Attempts begun.
    pub attempts: u32,
    /// Attempts failed; those lost with their process do not count.
    pub failures: u32,
    /// Of the newest attempt that ended.
    pub counts: Counts,
    pub values: Map<String, Value>,
    pub report: Map<String, Value>,
    /// Why the task ended as it did, or the newest attempt's error.
    pub reason: Option<String>,
    /// Versions pinned, by input.
    pub inputs: HashMap<String, Option<i64>>,
    pub outputs: IndexMap<String, OutputState>,
    /// Links into this task that still hold it back.
    held_by: usize,
    /// Tasks before this one that have not ended.
    pub(super) upstream_open: usize,
    /// Whether the links of topics out of this task hold their readers back no longer.
    released: bool,
    pub(super) upstream: Upstream,
    pub(super) reads_stream: bool,
}

/// How far an output has come.
#[derive(Clone, Debug, Default)]
pub struct OutputState {
    topic: bool,
    pub intended: Option<Option<i64>>,
    pub published: Option<Published>,
    pub opened: Option<Offsets>,
    pub closed: Option<Offsets>,
}

/// Which of the tasks before one ended otherwise than by success.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Upstream {
    pub(super) failed: Option<usize>,
    pub(super) skipped: Option<usize>,
    pub(super) cancelled: Option<usize>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Phase {
    /// Tasks before it hold it back.
    #[default]
    Waiting,
    /// Held back by nothing but room.
    Ready,
    Running,
    /// Its newest attempt failed in a way that can pass.
    Failing,
    /// Pauses before its next attempt.
    Sleeping(Timestamp),
    Ended(TaskEnd),
}

impl Phase {
    pub const fn as_str(self) -> &'static str {
        match self {
            Phase::Waiting => "waiting",
            Phase::Ready => "ready",
            Phase::Running => "running",
            Phase::Failing | Phase::Sleeping(_) => "retrying",
            Phase::Ended(end) => end.as_str(),
        }
    }
}

/// An event that does not fit the state: a defect, or a damaged journal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the journal does not fit the run: {0}")]
pub struct Misfit(String);

impl RunState {
    pub fn new(plan: Arc<Plan>, run_id: impl Into<String>, jobs: usize) -> Self {
        let count = plan.tasks.len();
        let mut rank = vec![0; count];
        for (position, task) in plan.order.iter().enumerate() {
            rank[*task] = position;
        }
        let mut state = RunState {
            run_id: run_id.into(),
            jobs: jobs.max(1),
            index: plan.tasks.iter().enumerate().map(|(i, t)| (t.name.clone(), i)).collect(),
            writers: HashMap::new(),
            downstream: vec![Vec::new(); count],
            tasks: vec![TaskState::default(); count],
            rank,
            fresh: VecDeque::new(),
            ready: BTreeSet::new(),
            ready_readers: BTreeSet::new(),
            sleeping: BTreeSet::new(),
            failing: BTreeSet::new(),
            orphans: BTreeSet::new(),
            slots_used: 0,
            unfinished: count,
            epoch: 0,
            cancel: None,
            end: None,
            ends: Vec::new(),
            plan: plan.clone(),
        };
        // Several reasons may join the same two tasks: one link, a stream if all of them are.
        let mut links: HashMap<(usize, usize), bool> = HashMap::new();
        for edge in &plan.edges {
            let stream = matches!(edge.reason, EdgeReason::Stream(_));
            links.entry((edge.from, edge.to)).and_modify(|all| *all &= stream).or_insert(stream);
        }
        let mut links: Vec<_> = links.into_iter().collect();
        links.sort_unstable();
        for ((from, to), stream) in links {
            state.downstream[from].push(Link { to, stream });
            state.tasks[to].held_by += 1;
            state.tasks[to].upstream_open += 1;
            state.tasks[to].reads_stream |= stream;
        }
        for (task, planned) in plan.tasks.iter().enumerate() {
            for (name, output) in &planned.outputs {
                state.writers.insert(output.dataset.clone(), (task, name.clone()));
                let topic = output.dataset.scheme() == Scheme::Topic;
                let output = OutputState { topic, ..OutputState::default() };
                state.tasks[task].outputs.insert(name.clone(), output);
            }
        }
        state.fresh = plan.order.iter().copied().filter(|t| state.tasks[*t].held_by == 0).collect();
        state
    }

    pub fn plan(&self) -> &Arc<Plan> {
        &self.plan
    }

    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    pub fn end(&self) -> Option<RunEnd> {
        self.end
    }

    /// Why the run is being cancelled, if it is.
    pub fn cancel_reason(&self) -> Option<&str> {
        self.cancel.as_deref()
    }

    /// All tasks with their names, in the order of the file.
    pub fn tasks(&self) -> impl Iterator<Item = (&str, &TaskState)> {
        self.plan.tasks.iter().map(|task| task.name.as_str()).zip(&self.tasks)
    }

    pub fn task(&self, name: &str) -> Option<&TaskState> {
        self.index.get(name).map(|task| &self.tasks[*task])
    }

    pub fn index_of(&self, name: &str) -> Option<usize> {
        self.index.get(name).copied()
    }

    /// Running readers of a topic whose writer failed: their attempts must be stopped.
    pub fn orphans(&self) -> impl Iterator<Item = usize> {
        self.orphans.iter().copied()
    }

    /// The version of a dataset that this run has published.
    pub fn published_version(&self, dataset: &DatasetName) -> Option<i64> {
        let (writer, output) = self.writers.get(dataset)?;
        self.tasks[*writer].outputs.get(output)?.published.as_ref()?.version
    }

    /// The tasks that have reached their final state since this was last called.
    pub fn take_ends(&mut self) -> Vec<(String, TaskEnd)> {
        std::mem::take(&mut self.ends)
    }

    /// What a new owner of the run tells first: the attempts that died with the process before.
    pub fn lost_attempts(&self) -> Vec<Event> {
        let running = self.tasks().filter(|(_, task)| task.phase == Phase::Running);
        running
            .map(|(name, task)| Event::AttemptEnded {
                task: name.to_owned(),
                attempt: task.attempts,
                result: AttemptResult::Lost,
                counts: Counts::default(),
            })
            .collect()
    }

    /// A reader of a stream runs beside its writer and takes no slot of its own; else a writer
    /// that waits for room could wait for its own reader.
    pub(super) fn takes_a_slot(&self, task: usize) -> bool {
        !self.tasks[task].reads_stream
    }

    /// Folds one event in.
    pub fn apply(&mut self, event: &Event) -> Result<(), Misfit> {
        if self.end.is_some() {
            return Err(Misfit(format!("it has ended, and then comes {event:?}")));
        }
        match event {
            Event::RunOwned { epoch, .. } => self.own(*epoch)?,
            Event::AttemptStarted { task, attempt } => self.start(self.find(task)?, *attempt)?,
            Event::ReadPinned { task, input, version, .. } => {
                let task = self.find(task)?;
                self.tasks[task].inputs.insert(input.clone(), *version);
            }
            Event::StreamOpened { task, output, start, .. } => {
                self.output(task, output)?.opened = Some(start.clone());
                self.release_readers(self.find(task)?);
            }
            Event::StreamClosed { task, output, end, .. } => {
                self.output(task, output)?.closed = Some(end.clone());
            }
            Event::PublishIntended { task, output, base, .. } => {
                self.output(task, output)?.intended = Some(*base);
            }
            Event::Published { task, output, published, .. } => {
                self.output(task, output)?.published = Some(published.clone());
            }
            Event::AttemptEnded { task, attempt, result, counts } => {
                self.end_attempt(self.find(task)?, *attempt, result, *counts)?;
            }
            Event::RetryScheduled { task, at } => {
                let task = self.find(task)?;
                self.expect(task, |phase| phase == Phase::Failing, "a pause")?;
                self.leave_queues(task);
                self.tasks[task].phase = Phase::Sleeping(*at);
                self.sleeping.insert((*at, task));
            }
            Event::TaskEnded { task, state, reason } => {
                self.end_task(self.find(task)?, *state, reason.clone())?;
            }
            Event::CancelRequested { reason } => self.request_cancel(reason),
            Event::RunEnded { state } => {
                if self.unfinished > 0 {
                    return Err(Misfit(format!("it ends with {} tasks open", self.unfinished)));
                }
                self.end = Some(*state);
            }
        }
        Ok(())
    }

    fn find(&self, task: &str) -> Result<usize, Misfit> {
        self.index.get(task).copied().ok_or_else(|| Misfit(format!("there is no task `{task}`")))
    }

    fn output(&mut self, task: &str, output: &str) -> Result<&mut OutputState, Misfit> {
        let task = self.find(task)?;
        self.expect(task, |phase| phase == Phase::Running, "an output")?;
        self.tasks[task]
            .outputs
            .get_mut(output)
            .ok_or_else(|| Misfit(format!("there is no output `{output}`")))
    }

    fn expect(&self, task: usize, fits: fn(Phase) -> bool, what: &str) -> Result<(), Misfit> {
        let phase = self.tasks[task].phase;
        if fits(phase) {
            return Ok(());
        }
        Err(Misfit(format!("{what} of task `{}`, which is {phase:?}", self.plan.tasks[task].name)))
    }

    fn own(&mut self, epoch: u64) -> Result<(), Misfit> {
        if epoch <= self.epoch {
            return Err(Misfit(format!("epoch {epoch} comes after {}", self.epoch)));
        }
        self.epoch = epoch;
        Ok(())
    }

    fn start(&mut self, task: usize, attempt: u32) -> Result<(), Misfit> {
        let may_start = |phase| matches!(phase, Phase::Waiting | Phase::Ready | Phase::Sleeping(_));
        self.expect(task, may_start, "a start")?;
        if self.tasks[task].held_by > 0 {
            return Err(Misfit(format!("`{}` starts too early", self.plan.tasks[task].name)));
        }
        if attempt != self.tasks[task].attempts + 1 {
            let before = self.tasks[task].attempts;
            return Err(Misfit(format!("attempt {attempt} comes after {before}")));
        }
        self.leave_queues(task);
        self.tasks[task].attempts = attempt;
        self.tasks[task].phase = Phase::Running;
        self.slots_used += usize::from(self.takes_a_slot(task));
        Ok(())
    }

    /// Lets the readers of a task's topics begin, once all its topics are open.
    fn release_readers(&mut self, task: usize) {
        let mut topics = self.tasks[task].outputs.values().filter(|output| output.topic);
        if self.tasks[task].released || topics.any(|output| output.opened.is_none()) {
            return;
        }
        self.tasks[task].released = true;
        for link in self.downstream[task].clone() {
            if link.stream {
                self.let_go(link.to);
            }
        }
    }

    /// One link fewer holds a task back.
    fn let_go(&mut self, task: usize) {
        self.tasks[task].held_by -= 1;
        if self.tasks[task].held_by == 0 {
            self.fresh.push_back(task);
        }
    }

    fn end_attempt(
        &mut self,
        task: usize,
        attempt: u32,
        result: &AttemptResult,
        counts: Counts,
    ) -> Result<(), Misfit> {
        self.expect(task, |phase| phase == Phase::Running, "an end")?;
        if attempt != self.tasks[task].attempts {
            let newest = self.tasks[task].attempts;
            return Err(Misfit(format!("attempt {attempt} ends, but {newest} runs")));
        }
        self.slots_used -= usize::from(self.takes_a_slot(task));
        let max_failures = self.plan.tasks[task].retry.attempts;
        let orphaned = self.orphans.remove(&task);
        let state = &mut self.tasks[task];
        state.counts = counts;
        state.phase = Phase::Failing;
        match result {
            AttemptResult::Succeeded { values, report } => {
                state.values = values.clone();
                state.report = report.clone();
                self.end_task(task, TaskEnd::Succeeded, None)
            }
            AttemptResult::Failed { class, message } => {
                state.failures += 1;
                if *class == ErrorClass::Transient && state.failures < max_failures && !orphaned {
                    state.reason = Some(message.clone());
                    self.failing.insert(task);
                    return Ok(());
                }
                self.end_task(task, TaskEnd::Failed, Some(message.clone()))
            }
            AttemptResult::Cancelled if orphaned => {
                self.end_task(task, TaskEnd::UpstreamFailed, self.blame(task))
            }
            AttemptResult::Cancelled => self.end_task(task, TaskEnd::Cancelled, None),
            // A process that died says nothing about the task, which is looked at anew.
            AttemptResult::Lost => {
                state.phase = Phase::Waiting;
                self.fresh.push_back(task);
                Ok(())
            }
        }
    }

    /// Which failed task before this one keeps it from running, as a reason.
    pub(super) fn blame(&self, task: usize) -> Option<String> {
        let failed = self.tasks[task].upstream.failed?;
        Some(format!("`{}` failed", self.plan.tasks[failed].name))
    }

    fn end_task(
        &mut self,
        task: usize,
        end: TaskEnd,
        reason: Option<String>,
    ) -> Result<(), Misfit> {
        let may_end = |phase| !matches!(phase, Phase::Running | Phase::Ended(_));
        self.expect(task, may_end, "a final state")?;
        self.leave_queues(task);
        self.tasks[task].phase = Phase::Ended(end);
        self.tasks[task].reason = reason;
        self.ends.push((self.plan.tasks[task].name.clone(), end));
        self.unfinished -= 1;
        let released = self.tasks[task].released;
        // Blame the task that failed itself, not one that only followed.
        let culprit = match end {
            TaskEnd::UpstreamFailed => self.tasks[task].upstream.failed.unwrap_or(task),
            _ => task,
        };
        for link in self.downstream[task].clone() {
            let reader = &mut self.tasks[link.to];
            reader.upstream_open -= 1;
            match end {
                TaskEnd::Succeeded => {}
                TaskEnd::Failed | TaskEnd::UpstreamFailed => reader.upstream.failed = Some(culprit),
                TaskEnd::Skipped => reader.upstream.skipped = Some(culprit),
                TaskEnd::Cancelled => reader.upstream.cancelled = Some(culprit),
            }
            if link.stream && released {
                self.writer_ended(link.to, end);
            } else {
                self.let_go(link.to);
            }
        }
        Ok(())
    }

    /// The writer of a topic ended after its reader was let go.
    fn writer_ended(&mut self, reader: usize, end: TaskEnd) {
        match self.tasks[reader].phase {
            Phase::Waiting if self.tasks[reader].held_by == 0 => self.fresh.push_back(reader),
            Phase::Running if end != TaskEnd::Succeeded => {
                self.orphans.insert(reader);
            }
            Phase::Ready | Phase::Sleeping(_) | Phase::Failing if end != TaskEnd::Succeeded => {
                self.look_again(reader);
            }
            _ => {}
        }
    }

    fn request_cancel(&mut self, reason: &str) {
        self.cancel = Some(reason.to_owned());
        let ready = self.ready.iter().chain(&self.ready_readers);
        let waiting: Vec<usize> = (ready.map(|(_, task)| *task))
            .chain(self.sleeping.iter().map(|(_, task)| *task))
            .chain(self.failing.iter().copied())
            .collect();
        for task in waiting {
            self.look_again(task);
        }
    }

    fn look_again(&mut self, task: usize) {
        self.leave_queues(task);
        self.tasks[task].phase = Phase::Waiting;
        self.fresh.push_back(task);
    }

    pub(super) fn make_ready(&mut self, task: usize) {
        self.tasks[task].phase = Phase::Ready;
        let queue = if self.takes_a_slot(task) { &mut self.ready } else { &mut self.ready_readers };
        queue.insert((self.rank[task], task));
    }

    fn leave_queues(&mut self, task: usize) {
        self.ready.remove(&(self.rank[task], task));
        self.ready_readers.remove(&(self.rank[task], task));
        self.failing.remove(&task);
        if let Phase::Sleeping(at) = self.tasks[task].phase {
            self.sleeping.remove(&(at, task));
        }
    }
}
