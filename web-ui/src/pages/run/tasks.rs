//! The tasks of a run in time.

use crate::drawing::{Part, Scale, Svg};
use crate::runs::RunView;
use crate::words::{Clock, Markup, bytes, duration, rows};
use jiff::Timestamp;
use orchestrator::event::AttemptResult;
use orchestrator::run::TaskState;
use orchestrator::store::RunStatus;

pub struct TaskRow {
    pub name: String,
    pub kind: String,
    pub state: &'static str,
    pub span: Svg,
    pub rows: String,
    pub size: String,
    pub took: String,
    pub why: Markup,
    pub share: Option<u32>,
    pub attempts: Vec<String>,
}

/// Tasks on one page.
pub const TASKS: usize = 200;

/// The tasks in the order of the file; of many, those that need a person come first.
pub fn tasks(run: &RunView, page: usize, clock: &Clock) -> (Scale, Vec<TaskRow>) {
    let is_running = run.status == RunStatus::Running;
    let start = run.row.created_at;
    let end = run.end(clock.now);
    // Room for what comes.
    let room = start.duration_until(end).checked_div(20).filter(|_| is_running);
    let scale_end = room.and_then(|room| end.checked_add(room).ok()).unwrap_or(end);
    let scale = Scale::new(start, scale_end, &clock.zone);
    let now = is_running.then_some(clock.now);
    let mut all: Vec<_> = run.plan().tasks.iter().zip(run.state.tasks()).collect();
    if all.len() > TASKS {
        all.sort_by_key(|(_, (_, task))| match run.task_state(task) {
            "failed" | "crashed" => 0,
            "running" => 1,
            "succeeded" => 3,
            _ => 2,
        });
    }
    let shown = all.into_iter().skip(page * TASKS).take(TASKS);
    let rows = shown.map(|(planned, (name, task))| {
        let parts = parts(run, name, end);
        let counts = run.counts(name, task);
        let state = run.task_state(task);
        TaskRow {
            name: name.to_owned(),
            kind: if planned.kind == name { String::new() } else { planned.kind.clone() },
            state,
            span: scale.span(&parts, now, &told(run, name, task, clock)),
            rows: rows(counts.rows_out.max(counts.rows_in)),
            size: bytes(counts.bytes_out),
            took: match run.timeline.task(name, end) {
                Some(took) => duration(took),
                None => String::new(),
            },
            why: run.why(name, task, clock),
            share: run.share(name, task).map(|share| (share * 100.0) as u32),
            attempts: run.attempts(name, clock),
        }
    });
    let rows = rows.collect();
    (scale, rows)
}

/// A task's time: waiting from when what feeds it began, its attempts, and the pauses between.
fn parts(run: &RunView, name: &str, end: Timestamp) -> Vec<Part> {
    let mut parts = Vec::new();
    let attempts = run.timeline.attempts(name);
    let fed_since = (run.before(name))
        .filter_map(|edge| {
            let name = &run.plan().tasks[edge.from].name;
            run.timeline.attempts(name).first().map(|attempt| attempt.started)
        })
        .max();
    let is_root = run.before(name).next().is_none();
    let waited_since = if is_root { Some(run.row.created_at) } else { fed_since };
    let is_over = run.timeline.end_of(name).is_some();
    let until = match attempts.first() {
        Some(first) => Some(first.started),
        None if is_over || run.status != RunStatus::Running => None,
        None => Some(end),
    };
    if let (Some(start), Some(end)) = (waited_since, until)
        && start < end
    {
        parts.push(Part { start, end, state: "wait" });
    }
    for (index, attempt) in attempts.iter().enumerate() {
        let (stop, state) = match &attempt.ended {
            None if run.status == RunStatus::Running => (end, "running"),
            None => (end, "crashed"),
            Some((at, result)) => (
                *at,
                match result {
                    AttemptResult::Succeeded { .. } => "succeeded",
                    AttemptResult::Failed { .. } => "failed",
                    AttemptResult::Cancelled => "cancelled",
                    AttemptResult::Lost => "lost",
                },
            ),
        };
        parts.push(Part { start: attempt.started, end: stop, state });
        let next = attempts.get(index + 1).map(|next| next.started);
        let waits = run.status == RunStatus::Running && !is_over && attempt.ended.is_some();
        if let Some(next) = next.or(waits.then_some(end)) {
            parts.push(Part { start: stop, end: next, state: "wait" });
        }
    }
    parts
}

/// A task's time in words.
fn told(run: &RunView, name: &str, task: &TaskState, clock: &Clock) -> String {
    let attempts = run.timeline.attempts(name);
    match (attempts.first(), attempts.last()) {
        (Some(first), Some(last)) => {
            let end = match &last.ended {
                Some((at, _)) => format!("to {}", clock.second(*at)),
                None => "until now".to_owned(),
            };
            let many = match attempts.len() {
                1 => String::new(),
                many => format!(", {many} attempts"),
            };
            format!("{} {end}{many}: {}", clock.second(first.started), run.task_state(task))
        }
        _ => "did not run".to_owned(),
    }
}
