//! What a run said, and what it read and wrote.

use crate::Site;
use crate::logs::{self, LogQuery};
use crate::pages::datasets::href;
use crate::runs::RunView;
use crate::words::{Clock, plural, rows};
use indexmap::{IndexMap, IndexSet};
use jiff::Timestamp;
use orchestrator::event::Event;
use orchestrator::run::{Phase, TaskState};
use orchestrator::store::RunStatus;

pub struct Log {
    pub task: String,
    pub tasks: Vec<String>,
    pub level: String,
    pub q: String,
    pub lines: Vec<LogLine>,
    /// Why there is nothing.
    pub empty: String,
    pub note: String,
    pub live: bool,
}

pub struct LogLine {
    pub at: String,
    pub level: String,
    pub text: String,
}

/// A dataset that a run has read or written.
#[derive(Default)]
pub struct Touched {
    pub href: String,
    pub rows: String,
    /// The task that has written it, and the version that this made.
    pub written: String,
    /// The tasks that have read it, and the version that they have seen.
    pub read: String,
}

/// The log of the task that matters most, or of the one that is asked for.
pub fn log(site: &Site, run: &RunView, query: &LogQuery, clock: &Clock) -> Option<Log> {
    let begun = |task: &TaskState| task.attempts > 0;
    let tasks: Vec<String> = run
        .state
        .tasks()
        .filter(|(_, task)| begun(task))
        .map(|(name, _)| name.to_owned())
        .collect();
    let asked = query.task.clone().filter(|task| run.state.task(task).is_some());
    let failed = || run.failed().find(|(_, task)| begun(task)).map(|(name, _)| name.to_owned());
    let at_work = || {
        let mut tasks = run.state.tasks();
        tasks.find(|(_, task)| task.phase == Phase::Running).map(|(name, _)| name.to_owned())
    };
    let task = asked.or_else(failed).or_else(at_work).or_else(|| tasks.first().cloned())?;
    let files = logs::files(site, &run.row.id, &run.records, &task);
    let excerpt = logs::excerpt(&files, query);
    let line = |line: logs::Line| LogLine {
        at: line
            .at
            .parse()
            .map_or(line.at, |at: Timestamp| clock.local(at).strftime("%H:%M:%S.%3f").to_string()),
        level: line.level,
        text: line.text,
    };
    let mut note = match query.q.is_empty() {
        true => plural(excerpt.matching, "line"),
        false => format!("{} with “{}”", plural(excerpt.matching, "line"), query.q),
    };
    if excerpt.cut {
        note.push_str(&format!("; the last {} are shown", excerpt.lines.len()));
    }
    let phase = run.state.task(&task).map(|task| task.phase);
    let empty = match phase {
        Some(Phase::Running) => format!("{task} has said nothing so far."),
        _ if !tasks.contains(&task) => format!("{task} has no log: it did not run."),
        _ => format!("{task} has said nothing."),
    };
    let mut tasks = tasks;
    if !tasks.contains(&task) {
        tasks.push(task.clone());
    }
    let is_live = run.state.task(&task).is_some_and(|task| task.phase == Phase::Running);
    Some(Log {
        task,
        tasks,
        level: query.level.clone(),
        q: query.q.clone(),
        lines: excerpt.lines.into_iter().map(line).collect(),
        empty,
        note,
        live: is_live && run.status == RunStatus::Running,
    })
}

/// Each dataset once, in the order of the events.
pub fn touched(run: &RunView) -> Vec<(String, Touched)> {
    let with = |task: &str, version: Option<i64>| match version {
        Some(version) => format!("{task}, version\u{a0}{version}"),
        None => task.to_owned(),
    };
    // Who has seen which version.
    type Readers = IndexMap<Option<i64>, IndexSet<String>>;
    let mut all: IndexMap<String, (Touched, Readers)> = IndexMap::new();
    for record in &run.records {
        match &record.event {
            Event::ReadPinned { task, dataset, version, .. } => {
                let (_, readers) = all.entry(dataset.to_string()).or_default();
                readers.entry(*version).or_default().insert(task.clone());
            }
            Event::Published { task, dataset, published, .. } => {
                let (touched, _) = all.entry(dataset.to_string()).or_default();
                touched.written = with(task, published.version);
                touched.rows = rows(published.rows);
            }
            _ => {}
        }
    }
    let told = |(dataset, (touched, readers)): (String, (Touched, Readers))| {
        let groups = readers.into_iter().map(|(version, tasks)| {
            with(&tasks.into_iter().collect::<Vec<_>>().join(", "), version)
        });
        let read = groups.collect::<Vec<_>>().join("; ");
        let href = href(&dataset);
        (dataset, Touched { href, read, ..touched })
    };
    all.into_iter().map(told).collect()
}
