//! What a running pipeline shows: a live line for each task at work, plain lines where there is no
//! terminal, or JSON lines.

use crate::output;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use jiff::SignedDuration;
use orchestrator::attempt::Progress;
use orchestrator::event::{AttemptResult, Event};
use orchestrator::run::counters::{self, Counted};
use orchestrator::run::{Observer, Phase, RunState, Timeline};
use orchestrator::store::Record;
use std::collections::BTreeMap;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    Live,
    Plain,
    Json,
}

impl Style {
    pub fn choose(json: bool) -> Style {
        match (json, std::io::stderr().is_terminal()) {
            (true, _) => Style::Json,
            (false, true) => Style::Live,
            (false, false) => Style::Plain,
        }
    }
}

/// Watches a run and shows it. Cheap to clone.
#[derive(Clone)]
pub struct Display {
    style: Style,
    bars: MultiProgress,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    times: Timeline,
    /// Attempts at work, by task.
    active: BTreeMap<String, Active>,
    /// Where their counters are written to, and when they were.
    directory: Option<PathBuf>,
    written: Option<Instant>,
    name_width: usize,
}

struct Active {
    attempt: u32,
    progress: Arc<Progress>,
    bar: ProgressBar,
    started: Instant,
    said: Instant,
}

impl Display {
    pub fn new(style: Style, bars: MultiProgress) -> Self {
        if style != Style::Live {
            bars.set_draw_target(ProgressDrawTarget::hidden());
        }
        Display { style, bars, shared: Arc::default() }
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what attempts count to a directory, for others to see.
    pub fn write_to(&self, run_directory: PathBuf) {
        self.lock().directory = Some(run_directory);
    }

    /// The times of the run so far.
    pub fn times(&self) -> Timeline {
        self.lock().times.clone()
    }

    /// Draws the counters again; call it about ten times a second.
    pub fn tick(&self) {
        let mut shared = self.lock();
        let name_width = shared.name_width;
        for (task, active) in &mut shared.active {
            let line = line(task, name_width, active);
            match self.style {
                Style::Live => active.bar.set_message(line),
                Style::Plain if active.said.elapsed() > Duration::from_secs(10) => {
                    active.said = Instant::now();
                    self.say(&line);
                }
                Style::Plain | Style::Json => {}
            }
        }
        shared.write_counters();
    }

    /// Takes the live lines off the screen.
    pub fn close(&self) {
        self.lock().active.clear();
        let _ = self.bars.clear();
    }

    /// A line above the live ones.
    pub fn say(&self, line: &str) {
        if self.style != Style::Json {
            self.bars.suspend(|| anstream::eprintln!("{line}"));
        }
    }

    /// Shows an attempt that began some time ago.
    pub fn at_work(&self, task: &str, attempt: u32, progress: &Arc<Progress>, since: Duration) {
        let bar = self.bars.add(ProgressBar::no_length());
        bar.set_style(ProgressStyle::with_template("{msg}").expect("a template without errors"));
        let now = Instant::now();
        let started = now.checked_sub(since).unwrap_or(now);
        let active = Active { attempt, progress: progress.clone(), bar, started, said: now };
        self.lock().active.insert(task.to_owned(), active);
    }

    fn told(&self, shared: &mut Shared, state: &RunState, event: &Event) {
        match event {
            Event::AttemptEnded { task, attempt, result, .. } => {
                let active = shared.active.remove(task);
                if let Some(active) = &active {
                    active.bar.finish_and_clear();
                }
                let line = match result {
                    AttemptResult::Failed { message, .. } => {
                        let (style, mark) = output::state("failed");
                        format!("{style}{mark} {task}{style:#}, attempt {attempt}: {message}")
                    }
                    AttemptResult::Succeeded { .. } => succeeded(state, shared, task),
                    AttemptResult::Cancelled => {
                        let (style, mark) = output::state("cancelled");
                        format!("{style}{mark} {task}{style:#} cancelled")
                    }
                    AttemptResult::Lost => {
                        let (style, mark) = output::state("lost");
                        format!(
                            "{style}{mark} {task}{style:#}, attempt {attempt}: lost with its process"
                        )
                    }
                };
                self.say(&line);
            }
            Event::RetryScheduled { task, at } => {
                let pause = jiff::Timestamp::now().duration_until(*at).max(SignedDuration::ZERO);
                let (style, mark) = output::state("retrying");
                let pause = output::duration(pause);
                self.say(&format!("{style}{mark} {task}{style:#} tries again in {pause}"));
            }
            Event::TaskEnded { task, state, reason } => {
                let (style, mark) = output::state(state.as_str());
                let why = reason.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
                let word = state.as_str().replace('_', " ");
                self.say(&format!("{style}{mark} {task}{style:#} {word}{why}"));
            }
            Event::CancelRequested { reason } => self.say(&format!("cancelling: {reason}")),
            _ => {}
        }
    }
}

impl Shared {
    /// About once a second, and once more when nothing is at work any longer.
    fn write_counters(&mut self) {
        let Some(directory) = &self.directory else { return };
        let due = match (self.active.is_empty(), self.written) {
            (true, written) => written.is_some(),
            (false, written) => written.is_none_or(|at| at.elapsed() >= Duration::from_secs(1)),
        };
        if !due {
            return;
        }
        self.written = (!self.active.is_empty()).then(Instant::now);
        let counted = |active: &Active| Counted {
            attempt: active.attempt,
            counts: active.progress.counts(),
            share: active.progress.share(),
        };
        let all = self.active.iter().map(|(task, active)| (task.clone(), counted(active)));
        // Whoever watches sees no news then; the run goes on.
        if let Err(error) = counters::write(directory, &all.collect()) {
            tracing::debug!("cannot write the counters of the run: {error}");
        }
    }
}

impl Observer for Display {
    fn events(&self, state: &RunState, records: &[Record]) {
        let mut shared = self.lock();
        if shared.name_width == 0 {
            let names = state.plan().tasks.iter().map(|task| task.name.chars().count());
            shared.name_width = names.max().unwrap_or(0).min(30);
        }
        for record in records {
            shared.times.record(record);
            // What an earlier process did is not news to a later one.
            if state.epoch() == 0 || record.epoch == state.epoch() {
                self.told(&mut shared, state, &record.event);
            }
            if self.style == Style::Json {
                // A closed pipe ends the program's output, not the run.
                let _ = writeln!(std::io::stdout(), "{}", record.to_json());
            }
        }
    }

    fn progress(&self, task: &str, attempt: u32, progress: &Arc<Progress>) {
        self.at_work(task, attempt, progress, Duration::ZERO);
    }
}

fn succeeded(state: &RunState, shared: &Shared, task: &str) -> String {
    let (style, mark) = output::state("succeeded");
    let mut line = format!("{style}{mark}{style:#} {task:<width$}", width = shared.name_width);
    if let Some(known) = state.task(task).filter(|known| matches!(known.phase, Phase::Ended(_))) {
        let counts = known.counts;
        let rows = counts.rows_out.max(counts.rows_in);
        line.push_str(&figures(rows, counts.bytes_out));
    }
    if let Some(duration) = shared.times.task(task, jiff::Timestamp::now()) {
        line.push_str(&format!("  {:>11}", output::duration(duration)));
    }
    line
}

/// `   1.20 M rows    104 MB`, blank where there is nothing.
fn figures(rows: u64, bytes: u64) -> String {
    let rows = if rows == 0 { String::new() } else { format!("{} rows", output::count(rows)) };
    let bytes = if bytes == 0 { String::new() } else { output::bytes(bytes) };
    format!("  {rows:>13}  {bytes:>9}")
}

fn line(task: &str, name_width: usize, active: &Active) -> String {
    let counts = active.progress.counts();
    let elapsed = active.started.elapsed();
    let rows = counts.rows_out.max(counts.rows_in);
    let (style, mark) = output::state("running");
    let mut line = format!("{style}{mark}{style:#} {task:<name_width$}");
    line.push_str(&figures(rows, counts.bytes_out));
    let elapsed_text = output::duration(SignedDuration::try_from(elapsed).unwrap_or_default());
    line.push_str(&format!("  {elapsed_text:>11}"));
    let seconds = elapsed.as_secs_f64();
    if rows > 0 && seconds > 0.2 {
        let rate = (rows as f64 / seconds) as u64;
        line.push_str(&format!("  {:>11}/s", format!("{} rows", output::count(rate))));
    }
    if let Some(share) = active.progress.share() {
        line.push_str(&format!("  {:>3.0} %", share * 100.0));
        if share > 0.02 && share < 1.0 && seconds > 1.0 {
            let left = SignedDuration::from_secs_f64(seconds * (1.0 - share) / share);
            line.push_str(&format!(", {} left", output::duration(left)));
        }
    }
    line
}
