//! A run as the pages and the API see it: its row, its plan, and the fold of its journal.

use crate::Site;
use crate::failure::Failure;
use crate::words::{Clock, Markup, duration, list, plural};
use indexmap::IndexMap;
use jiff::{SignedDuration, Timestamp};
use orchestrator::dataset::Scheme;
use orchestrator::event::{AttemptResult, TaskEnd};
use orchestrator::figures;
use orchestrator::plan::{Edge, EdgeReason, Plan, TriggerRule};
use orchestrator::run::counters::{self, Counted};
use orchestrator::run::{Phase, Restored, RunState, TaskState, Timeline, ownership};
use orchestrator::store::{Record, RunFilter, RunRow, RunStatus, Store, Trigger};
use std::collections::BTreeMap;

/// Everything known of a run.
pub struct RunView {
    pub row: RunRow,
    pub status: RunStatus,
    pub restored: Restored,
    pub definition_digest: String,
    pub state: RunState,
    pub timeline: Timeline,
    pub records: Vec<Record>,
    /// Of attempts at work, by task.
    pub counters: BTreeMap<String, Counted>,
    /// The edges into each task, as indices.
    incoming: Vec<Vec<usize>>,
}

/// A run's state as people see it.
pub fn status(site: &Site, row: &RunRow) -> RunStatus {
    ownership::status(&site.data_dir, row)
}

/// Runs that a filter and a state choose, newest first, with their states.
pub fn find(
    site: &Site,
    store: &mut Store,
    filter: RunFilter,
    state: Option<RunStatus>,
) -> Result<Vec<(RunRow, RunStatus)>, Failure> {
    Ok(ownership::find_runs(store, &site.data_dir, filter, state)?)
}

/// Who has asked for a run, as the end of a sentence.
pub fn trigger(trigger: Trigger) -> &'static str {
    match trigger {
        Trigger::Manual => "by hand, at the command line",
        Trigger::Schedule => "by the schedule",
        Trigger::Backfill => "by a backfill",
        Trigger::Web => "by hand, on these pages",
    }
}

impl RunView {
    pub fn load(site: &Site, store: &mut Store, id: &str) -> Result<RunView, Failure> {
        let row = store.find_run(id)?;
        // The state comes first: a run that has ended since is then shown as it was before.
        let status = status(site, &row);
        let stored = store.stored_run(&row.id)?;
        let restored = Restored::of(&stored, &site.kinds)?;
        let records = store.events(&row.id, 0)?;
        let mut state = RunState::new(restored.plan.clone(), &row.id, 1);
        let mut timeline = Timeline::default();
        for record in &records {
            state.apply(&record.event).map_err(|misfit| Failure::internal(misfit.to_string()))?;
            timeline.record(record);
        }
        let directory = ownership::run_directory(&site.data_dir, &row.id);
        let counters = match status {
            RunStatus::Running => counters::read(&directory),
            _ => BTreeMap::new(),
        };
        let mut incoming = vec![Vec::new(); restored.plan.tasks.len()];
        for (index, edge) in restored.plan.edges.iter().enumerate() {
            incoming[edge.to].push(index);
        }
        Ok(RunView {
            incoming,
            row,
            status,
            restored,
            definition_digest: stored.definition_digest,
            state,
            timeline,
            records,
            counters,
        })
    }

    /// The edges into a task.
    pub fn before(&self, name: &str) -> impl Iterator<Item = &Edge> {
        let index = self.state.index_of(name);
        let edges = index.map_or(&[][..], |index| &self.incoming[index]);
        edges.iter().map(|edge| &self.plan().edges[*edge])
    }

    pub fn plan(&self) -> &Plan {
        &self.restored.plan
    }

    /// When the run ended, or `now` while it goes on; where its process died, its last sign of life.
    pub fn end(&self, now: Timestamp) -> Timestamp {
        match (self.row.ended_at, self.status) {
            (Some(ended), _) => ended,
            (None, RunStatus::Running) => now,
            (None, _) => self.timeline.span().map_or(self.row.created_at, |(_, last)| last),
        }
    }

    pub fn took(&self, now: Timestamp) -> SignedDuration {
        self.row.created_at.duration_until(self.end(now))
    }

    /// How a task stands, as a class and a word.
    pub fn task_state(&self, task: &TaskState) -> &'static str {
        match (task.phase, self.status) {
            (Phase::Ended(end), _) => end.as_str(),
            (Phase::Running, RunStatus::Running) => "running",
            (Phase::Running, _) => "crashed",
            _ => "waiting",
        }
    }

    /// What an attempt at work has counted so far, or the newest one that ended.
    pub fn counts(&self, name: &str, task: &TaskState) -> orchestrator::event::Counts {
        match self.counters.get(name) {
            Some(live) if task.phase == Phase::Running && live.attempt == task.attempts => {
                live.counts
            }
            _ => task.counts,
        }
    }

    /// How much of a task at work is done, from 0 to 1, where that is known.
    pub fn share(&self, name: &str, task: &TaskState) -> Option<f64> {
        let live = self.counters.get(name)?;
        let share = live.share.filter(|share| *share > 0.0)?;
        (task.phase == Phase::Running && live.attempt == task.attempts).then_some(share)
    }

    /// The tasks that failed by themselves.
    pub fn failed(&self) -> impl Iterator<Item = (&str, &TaskState)> {
        self.state.tasks().filter(|(_, task)| task.phase == Phase::Ended(TaskEnd::Failed))
    }

    /// How many tasks have ended so.
    pub fn count(&self, end: TaskEnd) -> usize {
        self.state.tasks().filter(|(_, task)| task.phase == Phase::Ended(end)).count()
    }

    /// The tasks that have ended, in whatever way.
    pub fn ended(&self) -> usize {
        self.state.tasks().filter(|(_, task)| matches!(task.phase, Phase::Ended(_))).count()
    }

    /// Why a task is as it is, and what comes next, in words.
    pub fn why(&self, name: &str, task: &TaskState, clock: &Clock) -> Markup {
        let text = Markup::new();
        let reason = task.reason.as_deref().unwrap_or_default();
        match task.phase {
            Phase::Waiting if self.status == RunStatus::Running => self.waits(name),
            Phase::Waiting | Phase::Ready if self.status != RunStatus::Running => {
                text.text("Had not begun when the process died.")
            }
            Phase::Waiting | Phase::Ready => {
                text.text("Waits until another task ends: as many are at work as may be at once.")
            }
            Phase::Failing | Phase::Sleeping(_) => {
                let at = match task.phase {
                    Phase::Sleeping(at) if at > clock.now => {
                        format!("Tries again {}: ", clock.until(at))
                    }
                    _ => "Tries again: ".to_owned(),
                };
                text.text(&format!("{at}attempt {} failed, {reason}.", task.attempts))
            }
            Phase::Running if self.status != RunStatus::Running => {
                text.text("Was at work when the process died. A resume tries it again.")
            }
            Phase::Running => self.pace(name, task, clock),
            Phase::Ended(TaskEnd::Succeeded) => self.retold(name, task),
            Phase::Ended(TaskEnd::Failed) if task.attempts == 0 => {
                text.text(&format!("Failed: {reason}."))
            }
            Phase::Ended(TaskEnd::Failed) => {
                let after = match task.attempts {
                    1 => "Failed".to_owned(),
                    many => format!("Failed after {many} attempts"),
                };
                text.text(&format!("{after}: {reason}."))
            }
            Phase::Ended(TaskEnd::Skipped) => text.text(&format!("Skipped, because {reason}.")),
            Phase::Ended(TaskEnd::UpstreamFailed) => match task.attempts {
                0 => text.text(&format!("Did not run, because {reason}.")),
                _ => text.text(&format!("Stopped, because {reason}.")),
            },
            Phase::Ended(TaskEnd::Cancelled) if reason.is_empty() => {
                text.text("Cancelled with its run.")
            }
            Phase::Ended(TaskEnd::Cancelled) => text.text(&format!("Cancelled, because {reason}.")),
        }
    }

    /// What holds a task back.
    fn waits(&self, name: &str) -> Markup {
        let Some(index) = self.state.index_of(name) else { return Markup::new() };
        let plan = self.plan();
        // What each task before this one still has to do.
        let mut open: IndexMap<&str, Vec<String>> = IndexMap::new();
        for edge in self.before(name) {
            let before = plan.tasks[edge.from].name.as_str();
            let phase = self.state.task(before).map(|task| task.phase);
            if matches!(phase, None | Some(Phase::Ended(_))) {
                continue;
            }
            let what = open.entry(before).or_default();
            match &edge.reason {
                EdgeReason::Stream(topic) => what.push(format!("open {topic}")),
                EdgeReason::Dataset(dataset) => what.push(format!("publish {dataset}")),
                EdgeReason::Needs | EdgeReason::Expression => {}
            }
        }
        let mut for_what: Vec<String> = open
            .iter()
            .map(|(before, what)| match what.as_slice() {
                [] => format!("`{before}` to end"),
                [one] => format!("`{before}` to {one}"),
                many => format!("`{before}` to publish {}", plural(many.len(), "dataset")),
            })
            .collect();
        const SHOWN: usize = 3;
        if for_what.len() > SHOWN {
            let more = for_what.len() - SHOWN;
            for_what.truncate(SHOWN);
            for_what.push(format!("{more} more"));
        }
        let rule = match plan.tasks[index].trigger_rule {
            TriggerRule::AnyFailed => " It runs only if one of them fails.",
            _ => "",
        };
        match for_what.as_slice() {
            [] => Markup::new().text("Is about to begin."),
            all => Markup::new().text(&format!("Waits for {}.{rule}", list(all))),
        }
    }

    /// The rows in a second of a task's newest attempt, in words.
    pub fn rate(&self, name: &str, task: &TaskState, now: Timestamp) -> Option<String> {
        let counts = self.counts(name, task);
        let rows = counts.rows_out.max(counts.rows_in);
        let newest = self.timeline.attempts(name).last()?;
        let end = newest.ended.as_ref().map_or_else(|| self.end(now), |(at, _)| *at);
        let seconds = newest.started.duration_until(end).as_secs_f64().max(0.001);
        let rate = figures::count((rows as f64 / seconds) as u64).replace(' ', "\u{a0}");
        (rows > 0).then(|| format!("{rate}\u{a0}rows/s"))
    }

    /// How fast a task at work is, and how long it will take.
    fn pace(&self, name: &str, task: &TaskState, clock: &Clock) -> Markup {
        let Some(began) = self.timeline.attempts(name).last() else { return Markup::new() };
        let seconds = began.started.duration_until(clock.now).as_secs_f64();
        let mut parts: Vec<String> = self.rate(name, task, clock.now).into_iter().collect();
        if let Some(share) = self.share(name, task).filter(|share| *share > 0.02 && *share < 1.0) {
            let left = SignedDuration::from_secs_f64(seconds * (1.0 - share) / share);
            parts.push(format!("about {} left", duration(left)));
        }
        if task.attempts > 1 {
            parts.push(format!("attempt {}", task.attempts));
        }
        Markup::new().text(&parts.join(", "))
    }

    /// What is worth knowing of a task that succeeded.
    fn retold(&self, name: &str, task: &TaskState) -> Markup {
        if task.attempts < 2 {
            return Markup::new();
        }
        let attempts = self.timeline.attempts(name);
        let lost = attempts
            .iter()
            .filter(|attempt| matches!(attempt.ended, Some((_, AttemptResult::Lost))))
            .count();
        let text = match (task.attempts, lost) {
            (2, 1) => "Its first attempt was lost with its process; the second went on.".to_owned(),
            (all, 0) => format!("Needed {all} attempts."),
            (all, lost) => format!("Needed {all} attempts; {lost} were lost with their process."),
        };
        Markup::new().text(&text)
    }

    /// The attempts at a task, a line each, where there is more than one or one went wrong.
    pub fn attempts(&self, name: &str, clock: &Clock) -> Vec<String> {
        let attempts = self.timeline.attempts(name);
        let is_plain = matches!(
            attempts,
            [] | [orchestrator::run::AttemptSpan {
                ended: None | Some((_, AttemptResult::Succeeded { .. })),
                ..
            }]
        );
        if is_plain {
            return Vec::new();
        }
        let line = |attempt: &orchestrator::run::AttemptSpan| {
            let from = clock.second(attempt.started);
            let how = match &attempt.ended {
                None if self.status == RunStatus::Running => "at work".to_owned(),
                None => "its process died".to_owned(),
                Some((at, result)) => {
                    let took = duration(attempt.started.duration_until(*at));
                    match result {
                        AttemptResult::Succeeded { .. } => format!("succeeded after {took}"),
                        AttemptResult::Failed { message, .. } => {
                            format!("failed after {took}: {message}")
                        }
                        AttemptResult::Cancelled => format!("cancelled after {took}"),
                        AttemptResult::Lost => "lost with its process".to_owned(),
                    }
                }
            };
            format!("{}: from {from}, {how}", attempt.number)
        };
        attempts.iter().map(line).collect()
    }

    /// The artifacts that the run has published, by name, with the task that made each.
    pub fn artifacts(&self) -> Vec<(String, String)> {
        let planned = self.plan().tasks.iter();
        let mut found = Vec::new();
        for (task, (_, known)) in planned.zip(self.state.tasks()) {
            for (output, planned) in &task.outputs {
                let published = known.outputs.get(output).is_some_and(|o| o.published.is_some());
                if published && planned.dataset.scheme() == Scheme::Artifact {
                    found.push((planned.dataset.name().to_owned(), task.name.clone()));
                }
            }
        }
        found
    }
}
