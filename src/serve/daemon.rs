//! The loop of the daemon: decides what is due, makes runs, resumes those whose process died.

mod orders;

use super::OnStop;
use super::desk::Order;
use super::pipelines::Pipelines;
use crate::{pipeline, process};
use anyhow::{Context, Result};
use jiff::{SignedDuration, Timestamp};
use orchestrator::plan::Interval;
use orchestrator::run::ownership::{self, RunLock};
use orchestrator::scheduler::Decision;
use orchestrator::store::{RunRow, Store, StoreError, Trigger};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender};
use std::time::{Duration, Instant};
use web_ui::Site;

/// It looks at the clock at least so often: it may have been set, and a machine that sleeps makes
/// waits longer than they should be.
const LONGEST_WAIT: Duration = Duration::from_secs(1);
/// Before it tries again what failed, as on a full disk.
const AFTER_ERROR: Duration = Duration::from_secs(5);
/// Changes of files come in bursts.
const SETTLED: Duration = Duration::from_millis(200);
/// A run whose process has died so often is left to people.
const MOST_PROCESSES: u64 = 5;
/// Before a run is resumed whose process has died once; doubled for each time more.
const PAUSE: Duration = Duration::from_secs(1);

/// What others tell the daemon.
pub(super) enum Message {
    /// The run has no process any more; by which watch of it.
    RunEnded(String, u64),
    FilesChanged,
    /// Somebody on the pages wants something.
    Order(Order),
    Stop,
}

pub(super) struct Daemon {
    /// What runs are started with.
    program: PathBuf,
    data_dir: PathBuf,
    store: Store,
    pipelines: Pipelines,
    outbox: Sender<Message>,
    /// When to look at each pipeline, by name.
    due: BTreeMap<String, Timestamp>,
    /// The runs that have a process, or will have one again, by id.
    active: BTreeMap<String, Active>,
    /// Those that have no process any more, and are to be looked at.
    ended: Vec<String>,
    /// How many processes of a run have died before they could take it over.
    deaths: BTreeMap<String, u64>,
    /// Since when it can't decide what is due of a pipeline, by name.
    kept_since: BTreeMap<String, Timestamp>,
    reload_at: Option<Instant>,
    orders: Vec<Order>,
    watches: u64,
    /// The pages, which are told what happens.
    site: Arc<Site>,
}

struct Active {
    pipeline: String,
    trigger: Trigger,
    /// Which of the daemon's watches tells of its end.
    watch: u64,
    /// Its process has died; a new one is started then.
    resume_at: Option<Instant>,
}

impl Daemon {
    /// Finds the runs that go on, and what earlier daemons have left.
    pub(super) fn new(
        program: PathBuf,
        data_dir: PathBuf,
        store: Store,
        pipelines: Pipelines,
        outbox: Sender<Message>,
        site: Arc<Site>,
    ) -> Result<Daemon> {
        let mut daemon = Daemon {
            program,
            data_dir,
            store,
            pipelines,
            outbox,
            due: BTreeMap::new(),
            active: BTreeMap::new(),
            ended: Vec::new(),
            deaths: BTreeMap::new(),
            kept_since: BTreeMap::new(),
            reload_at: None,
            orders: Vec::new(),
            watches: 0,
            site,
        };
        let now = Timestamp::now();
        if daemon.pipelines.is_lost {
            daemon.reload_at = Some(Instant::now() + AFTER_ERROR);
        }
        daemon.look_at_all(now);
        daemon.find_runs()?;
        for row in daemon.store.open_runs()? {
            if !daemon.active.contains_key(&row.id) {
                daemon.died(&row);
            }
        }
        Ok(daemon)
    }

    /// Works until it is told to stop.
    pub(super) fn run(&mut self, inbox: &Receiver<Message>, address: SocketAddr, on_stop: OnStop) {
        tracing::info!(
            "ready: http://{address}, with the data directory `{}`; pipelines with a schedule: {}; \
             active runs: {}",
            self.data_dir.display(),
            self.pipelines.scheduled().count(),
            self.active.len()
        );
        loop {
            let wait = self.step(Timestamp::now());
            if self.hear(inbox, wait) {
                return self.stop(inbox, on_stop);
            }
        }
    }

    /// Takes the messages that have come, or comes back after `wait`. Whether it is to stop.
    fn hear(&mut self, inbox: &Receiver<Message>, wait: Duration) -> bool {
        let mut stop = false;
        let first = inbox.recv_timeout(wait).ok();
        for message in first.into_iter().chain(inbox.try_iter()) {
            match message {
                Message::RunEnded(run, watch) => {
                    // An earlier process of a run that has been resumed since is no news.
                    let current = self.active.get(&run).map(|active| active.watch);
                    if current.is_none_or(|current| current == watch) {
                        self.ended.push(run);
                    }
                }
                Message::FilesChanged => {
                    self.reload_at.get_or_insert_with(|| Instant::now() + SETTLED);
                }
                Message::Order(order) => self.orders.push(order),
                Message::Stop => {
                    stop = true;
                    break;
                }
            }
        }
        stop
    }

    /// Does what is to be done now; says how long there is nothing more. What fails is tried again
    /// in a while, and holds nothing else up.
    fn step(&mut self, now: Timestamp) -> Duration {
        for run in std::mem::take(&mut self.ended) {
            match self.run_ended(&run, now) {
                Ok(()) => {}
                Err(error) if is_unknown(&error) => drop(self.active.remove(&run)),
                Err(error) => {
                    complain(&error);
                    self.ended.push(run);
                }
            }
        }
        for order in std::mem::take(&mut self.orders) {
            self.follow(order, now);
        }
        let is_due = |active: &Active| active.resume_at.is_some_and(|at| at <= Instant::now());
        let resume: Vec<String> =
            self.active.iter().filter(|(_, run)| is_due(run)).map(|(id, _)| id.clone()).collect();
        for run in resume {
            if let Err(error) = self.resume(&run) {
                complain(&error);
                if let Some(active) = self.active.get_mut(&run) {
                    active.resume_at = Some(Instant::now() + AFTER_ERROR);
                }
            }
        }
        let due: Vec<String> =
            self.due.iter().filter(|(_, at)| **at <= now).map(|(name, _)| name.clone()).collect();
        for name in due {
            if let Err(error) = self.look_at(&name, now) {
                complain(&error);
                let later = SignedDuration::try_from(AFTER_ERROR).unwrap_or_default();
                self.kept_since.entry(name.clone()).or_insert(now);
                self.due.insert(name, now.checked_add(later).unwrap_or(now));
            } else {
                self.kept_since.remove(&name);
            }
        }
        // Only now: what was due before a change is due by the old version.
        if self.reload_at.is_some_and(|at| at <= Instant::now()) {
            let could = self.pipelines.reload(Timestamp::now());
            self.reload_at = (!could).then(|| Instant::now() + AFTER_ERROR);
            self.site.changed();
            self.look_at_all(Timestamp::now());
        }
        let due = self.due.values().min().map(|due| {
            let wait = due.duration_since(Timestamp::now()).max(SignedDuration::ZERO);
            Duration::try_from(wait).unwrap_or_default()
        });
        let resume = self.active.values().filter_map(|run| run.resume_at).chain(self.reload_at);
        let resume = resume.map(|at| at.saturating_duration_since(Instant::now())).min();
        let ended = (!self.ended.is_empty()).then_some(AFTER_ERROR);
        due.into_iter().chain(resume).chain(ended).min().unwrap_or(LONGEST_WAIT).min(LONGEST_WAIT)
    }

    fn look_at_all(&mut self, now: Timestamp) {
        self.due = self.pipelines.scheduled().map(|(name, _)| (name.clone(), now)).collect();
    }

    /// Decides what is due of a pipeline, and makes the runs that there is room for.
    fn look_at(&mut self, name: &str, now: Timestamp) -> Result<()> {
        let Some(scheduled) = self.pipelines.get(name).cloned() else {
            self.due.remove(name);
            return Ok(());
        };
        let mut standing = self.store.standing(name, scheduled.identity(), now)?;
        let is_due = scheduled.next(&standing).is_some_and(|next| next <= now);
        if is_due || !standing.queued.is_empty() {
            self.find_runs()?;
            standing.active = self.active_of(name);
        }
        if is_due {
            let here = self.kept_since.get(name).copied().unwrap_or(now);
            let decision = scheduled.decide(&standing, now, here);
            self.store.record_decision(name, &decision, now)?;
            report(name, &decision);
            let active = standing.active;
            standing = self.store.standing(name, scheduled.identity(), now)?;
            standing.active = active;
        }
        for interval in standing.queued.iter().take(scheduled.room(&standing)) {
            self.start(name, *interval, scheduled.max_active_runs(), now)?;
        }
        match scheduled.next(&standing) {
            Some(next) => self.due.insert(name.to_owned(), next),
            None => self.due.remove(name),
        };
        Ok(())
    }

    fn active_of(&self, pipeline: &str) -> Vec<String> {
        // A backfill never holds back what is due.
        let counts = |run: &Active| run.pipeline == pipeline && run.trigger != Trigger::Backfill;
        let of = self.active.iter().filter(|(_, run)| counts(run));
        of.map(|(id, _)| id.clone()).collect()
    }

    /// Makes the run of a fire, and starts its process.
    fn start(
        &mut self,
        name: &str,
        interval: Interval,
        max_active: usize,
        now: Timestamp,
    ) -> Result<()> {
        let Some((definition, request)) = self.pipelines.prepare(name, interval, now) else {
            return Ok(());
        };
        let run = pipeline::new_run(definition, &request, name, interval, Trigger::Schedule)?;
        // The lock comes first: a run in the store that nobody has locked counts as crashed.
        let lock = self.lock(&run.id)?.context("a new run is locked by another process")?;
        let alive = |run: &str| ownership::is_alive(&self.data_dir, run);
        let made = self.store.start_fire(&run, max_active, alive);
        if let Ok(true) = made {
            tracing::info!("{name}: starts run {}, which is due at {}", run.id, interval.end);
            self.site.metrics.delayed(name, interval.end.duration_until(run.created_at));
            self.begin(&run.id, name, Trigger::Schedule, Some(lock));
        } else {
            // Nothing of a run that is not to be stays behind.
            let _ = std::fs::remove_dir_all(ownership::run_directory(&self.data_dir, &run.id));
        }
        if !made? {
            // Others have just started one, at whose end there is room again.
            self.find_runs()?;
        }
        Ok(())
    }

    fn lock(&self, run: &str) -> Result<Option<RunLock>> {
        RunLock::acquire(&self.data_dir, run).with_context(|| format!("cannot lock run {run}"))
    }

    /// Starts a process for a run whose lock is taken, or watches the one that it has.
    fn begin(&mut self, run: &str, pipeline: &str, trigger: Trigger, lock: Option<RunLock>) {
        self.watches += 1;
        let watch = self.watches;
        let done = self.watch(run, watch, lock).with_context(|| format!("cannot start run {run}"));
        let resume_at = done.err().map(|error| {
            complain(&error);
            Instant::now() + AFTER_ERROR
        });
        let active = Active { pipeline: pipeline.to_owned(), trigger, watch, resume_at };
        self.active.insert(run.to_owned(), active);
    }

    fn watch(&self, run: &str, watch: u64, lock: Option<RunLock>) -> Result<()> {
        let child: Option<Child> = lock
            .map(|lock| process::start(&self.program, &self.data_dir, run, lock))
            .transpose()?;
        let outbox = self.outbox.clone();
        process::tell_its_end(self.data_dir.clone(), run.to_owned(), child, move |run| {
            // Nobody listens any more when the daemon ends.
            let _ = outbox.send(Message::RunEnded(run, watch));
        })
    }

    /// Finds runs that others have started: by hand, or earlier daemons.
    fn find_runs(&mut self) -> Result<()> {
        for row in self.store.open_runs()? {
            if !self.active.contains_key(&row.id) && ownership::is_alive(&self.data_dir, &row.id) {
                self.begin(&row.id, &row.pipeline, row.trigger, None);
            }
        }
        Ok(())
    }

    fn run_ended(&mut self, run: &str, now: Timestamp) -> Result<()> {
        let row = self.store.find_run(run)?;
        match row.end {
            Some(end) => {
                self.deaths.remove(run);
                if self.active.remove(run).is_some() {
                    tracing::info!("{}: run {run} {}", row.pipeline, end.as_str());
                    if let Err(error) = self.site.metrics.ended(&mut self.store, &row) {
                        tracing::warn!("run {run} is not in the metrics: {error}");
                    }
                }
            }
            // Somebody has resumed it before this was heard.
            None if ownership::is_alive(&self.data_dir, run) => {
                self.begin(run, &row.pipeline, row.trigger, None);
                return Ok(());
            }
            None => {
                *self.deaths.entry(run.to_owned()).or_default() += 1;
                self.died(&row);
            }
        }
        if self.pipelines.get(&row.pipeline).is_some() {
            self.due.insert(row.pipeline, now);
        }
        Ok(())
    }

    /// A run has no process, and has not ended.
    fn died(&mut self, row: &RunRow) {
        let RunRow { id, pipeline, trigger, epoch, .. } = row;
        self.active.remove(id);
        // Whoever has started another one decides about it.
        if !is_ours(*trigger) {
            return;
        }
        let deaths = self.deaths.get(id).copied().unwrap_or(0).max(*epoch);
        let log = ownership::run_directory(&self.data_dir, id).join("output.log");
        if deaths >= MOST_PROCESSES {
            tracing::error!(
                "{pipeline}: the process of run {id} has died {deaths} times, and is not started \
                 again; find out why in `{}`, then go on with `tidemill run --resume {id}`",
                log.display()
            );
            return;
        }
        let mut pause = Duration::ZERO;
        // An earlier daemon may have died before it could start the process.
        if deaths > 0 {
            pause = PAUSE * (1 << (deaths - 1));
            tracing::warn!(
                "{pipeline}: the process of run {id} has died; it is resumed in {} s; what it has \
                 said is in `{}`",
                pause.as_secs(),
                log.display()
            );
        }
        let resume_at = Some(Instant::now() + pause);
        let active = Active { pipeline: pipeline.clone(), trigger: *trigger, watch: 0, resume_at };
        self.active.insert(id.clone(), active);
    }

    fn resume(&mut self, run: &str) -> Result<()> {
        // If another process has it, that one is watched.
        let lock = self.lock(run)?;
        if let Some(Active { pipeline, trigger, .. }) = self.active.remove(run) {
            self.begin(run, &pipeline, trigger, lock);
        }
        Ok(())
    }

    fn stop(&mut self, inbox: &Receiver<Message>, on_stop: OnStop) {
        let runs: Vec<String> = self
            .active
            .iter()
            .filter(|(_, run)| run.resume_at.is_none() && is_ours(run.trigger))
            .map(|(id, _)| id.clone())
            .collect();
        tracing::info!("stops; active runs: {}", runs.len());
        if on_stop == OnStop::Cancel {
            for run in &runs {
                let asked =
                    self.store.request_cancel(run, Timestamp::now(), "the daemon was stopped");
                if let Err(error) = asked {
                    tracing::error!("cannot cancel run {run}: {error}");
                }
            }
        }
        let goes_on = |run: &String| ownership::is_alive(&self.data_dir, run);
        while on_stop != OnStop::Leave && runs.iter().any(goes_on) {
            // Once more stops at once.
            if matches!(inbox.recv_timeout(LONGEST_WAIT), Ok(Message::Stop)) {
                break;
            }
        }
    }
}

/// Whether the daemon starts such runs.
fn is_ours(trigger: Trigger) -> bool {
    matches!(trigger, Trigger::Schedule | Trigger::Web)
}

fn complain(error: &anyhow::Error) {
    tracing::error!("{error:#}; trying again");
}

/// Whether a run is not in the store.
fn is_unknown(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(StoreError::NoSuchRun(_)))
}

/// Says what is not run, and why.
fn report(pipeline: &str, decision: &Decision) {
    for row in &decision.left_out {
        let why = row.why.sentence();
        match row.count {
            1 => tracing::warn!("{pipeline}: not run for {}: {why}", row.first),
            count => tracing::warn!(
                "{pipeline}: {count} runs, from {} to {}, are not made: {why}",
                row.first,
                row.last
            ),
        }
    }
    for run in &decision.cancel {
        tracing::warn!("{pipeline}: cancels run {run}, since the next one is due");
    }
}
