//! A run: what became of it and why, its tasks in time, their logs, and what it read and wrote.

use super::{Page, back, definition, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::daemon::Start;
use crate::drawing::{Part, Scale, Svg};
use crate::failure::Failure;
use crate::logs::{self, LogQuery};
use crate::runs::{self, RunView};
use crate::words::{self, Clock, Markup, bytes, duration, plural, rows};
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use indexmap::{IndexMap, IndexSet};
use jiff::{SignedDuration, Timestamp};
use orchestrator::event::{AttemptResult, Event, RunEnd, TaskEnd};
use orchestrator::run::{Phase, TaskState};
use orchestrator::store::{RunFilter, RunRow, RunState, RunStatus, Store};
use serde::Deserialize;
use std::sync::Arc;

#[derive(Template)]
#[template(path = "run.html")]
struct Run {
    chrome: Chrome,
    id: String,
    pipeline: String,
    /// `crashed`
    state: &'static str,
    title: String,
    headline: String,
    answer: Markup,
    says: String,
    /// What is wrong, with its place, as the terminal shows it.
    why: Option<String>,
    again: Option<String>,
    cancelling: bool,
    facts: Vec<Fact>,
    tasks_title: String,
    axis: Svg,
    tasks: Vec<TaskRow>,
    /// Where other tasks are, if there are many.
    fewer: Option<String>,
    more: Option<String>,
    log: Option<Log>,
    touched: Vec<(String, Touched)>,
    artifacts: Vec<(String, String)>,
    no_artifacts: String,
    code: Vec<definition::Line>,
    path: String,
}

pub struct Fact {
    name: &'static str,
    value: String,
    note: Markup,
}

pub struct TaskRow {
    name: String,
    kind: String,
    state: &'static str,
    span: Svg,
    rows: String,
    size: String,
    took: String,
    why: Markup,
    share: Option<u32>,
    attempts: Vec<String>,
}

pub struct Log {
    task: String,
    tasks: Vec<String>,
    level: String,
    q: String,
    lines: Vec<LogLine>,
    /// Why there is nothing.
    empty: String,
    note: String,
    live: bool,
}

pub struct LogLine {
    at: String,
    level: String,
    text: String,
}

/// A dataset that a run has read or written.
#[derive(Default)]
pub struct Touched {
    href: String,
    rows: String,
    /// The task that has written it, and the version that this made.
    written: String,
    /// The tasks that have read it, and the version that they have seen.
    read: String,
}

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path(id): Path<String>,
    Query(query): Query<LogQuery>,
) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| match RunView::load(site, store, &id) {
        Ok(run) => render(&view(site, store, run, &query, taste)?),
        // Of another version, or damaged: what can be told without its plan is.
        Err(failure) if failure.status != StatusCode::NOT_FOUND => match store.find_run(&id) {
            Ok(row) => render(&bare(site, store, &row, &failure, taste)?),
            Err(_) => Err(failure),
        },
        Err(failure) => Err(failure),
    })
    .await
}

#[derive(Template)]
#[template(path = "run-bare.html")]
struct Bare {
    chrome: Chrome,
    id: String,
    pipeline: String,
    state: &'static str,
    why: String,
    again: bool,
    facts: Vec<(&'static str, String)>,
    tasks: Vec<(String, &'static str)>,
}

fn bare(
    site: &Site,
    store: &mut Store,
    row: &RunRow,
    failure: &Failure,
    taste: Taste,
) -> Result<Bare, Failure> {
    let chrome = site.chrome(Section::Pipelines, taste);
    let clock = &chrome.clock;
    let ends = store.task_ends(&row.id)?;
    let mut facts =
        vec![("Interval", clock.interval(row.interval)), ("Started", clock.when(row.created_at))];
    if let Some(ended) = row.ended_at {
        facts.push(("Took", duration(row.created_at.duration_until(ended))));
    }
    Ok(Bare {
        id: row.id.clone(),
        pipeline: row.pipeline.clone(),
        state: runs::status(site, row).as_str(),
        why: failure.detail.clone(),
        again: row.end.is_some(),
        facts,
        tasks: ends.into_iter().map(|(task, end)| (task, end.as_str())).collect(),
        chrome,
    })
}

fn view(
    site: &Site,
    store: &mut Store,
    run: RunView,
    query: &LogQuery,
    taste: Taste,
) -> Result<Run, Failure> {
    let chrome = site.chrome(Section::Pipelines, taste);
    let clock = &chrome.clock;
    let usual = usual(store, &run)?;
    // The run has not heard of it yet, or it has.
    let asked = store.cancel_request(&run.row.id, 0)?.map(|(_, reason)| reason);
    let cancelling = asked.filter(|_| run.status == RunStatus::Running);
    let (headline, answer) = verdict(&run, usual, cancelling.as_deref(), clock);
    let page = usize::from(query.page);
    let (scale, tasks) = tasks(&run, page, clock);
    let all = run.plan().tasks.len();
    let shown = tasks.len();
    let link = |page: usize| format!("?page={page}#tasks");
    let artifacts = run.artifacts();
    let state = run.status.as_str();
    let no_artifacts = match run.status {
        RunStatus::Running => "None yet.",
        _ => "None: this run has published no artifact.",
    };
    Ok(Run {
        id: run.row.id.clone(),
        pipeline: run.row.pipeline.clone(),
        state,
        title: format!("{headline}: {}", run.row.pipeline),
        says: format!("{} {}", run.row.pipeline, words::state(state)),
        headline,
        answer,
        why: why(&run),
        again: again_label(&run),
        cancelling: cancelling.is_some(),
        facts: facts(&run, usual, clock),
        tasks_title: match run.status {
            RunStatus::Running => plural(all, "task"),
            _ => format!("{} of {} succeeded", run.count(TaskEnd::Succeeded), plural(all, "task")),
        },
        axis: scale.axis(clock),
        tasks,
        fewer: (page > 0).then(|| link(page - 1)),
        more: (all > page * TASKS + shown && shown > 0).then(|| link(page + 1)),
        log: log(site, &run, query, clock),
        touched: touched(&run),
        artifacts,
        no_artifacts: no_artifacts.to_owned(),
        code: definition::lines(&run.restored.definition.pipeline.text, &marks(&run)),
        path: run.restored.definition.pipeline.path.clone(),
        chrome,
    })
}

/// How long good runs of the pipeline take: the median of the last ones.
fn usual(store: &mut Store, run: &RunView) -> Result<Option<SignedDuration>, Failure> {
    let filter = RunFilter {
        pipeline: Some(run.row.pipeline.clone()),
        state: Some(RunState::Ended(RunEnd::Succeeded)),
        limit: Some(15),
        ..RunFilter::default()
    };
    let good = store.runs(&filter)?;
    let mut spans: Vec<SignedDuration> = (good.iter().filter(|other| other.id != run.row.id))
        .filter_map(|run| Some(run.created_at.duration_until(run.ended_at?)))
        .collect();
    spans.sort();
    Ok((spans.len() >= 3).then(|| spans[spans.len() / 2]))
}

/// The page's answer: what became of the run, or how far it is.
fn verdict(
    run: &RunView,
    usual: Option<SignedDuration>,
    cancelling: Option<&str>,
    clock: &Clock,
) -> (String, Markup) {
    let took = duration(run.took(clock.now));
    let all = run.plan().tasks.len();
    let text = Markup::new();
    let succeeded = run.count(TaskEnd::Succeeded);
    match run.status {
        RunStatus::Running => {
            let headline = format!("Running: {} of {} done", run.ended(), plural(all, "task"));
            let at_work: Vec<String> = (run.state.tasks())
                .filter(|(_, task)| task.phase == Phase::Running)
                .map(|(name, _)| format!("`{name}`"))
                .collect();
            let mut answer = match at_work.as_slice() {
                [] => text.text("No task is at work now."),
                names => {
                    let verb = if names.len() == 1 { "is" } else { "are" };
                    text.text(&format!("{} {verb} at work.", words::list(names)))
                }
            };
            answer = answer.text(&format!(" It started {}", clock.when(run.row.created_at)));
            let end = usual.and_then(|usual| run.row.created_at.checked_add(usual).ok());
            answer = match end.filter(|end| *end > clock.now) {
                Some(end) => {
                    answer.text(" and should end at about ").strong(&clock.minute(end)).text(".")
                }
                None => answer.text(&format!(", {took} ago.")),
            };
            if let Some(reason) = run.state.cancel_reason().or(cancelling) {
                answer = answer.text(&format!(" It was asked to stop: {reason}."));
                return ("Cancelling".to_owned(), answer);
            }
            (headline, answer)
        }
        RunStatus::Ended(RunEnd::Succeeded) => {
            let again: u32 =
                run.state.tasks().map(|(_, task)| task.attempts.saturating_sub(1)).sum();
            let mut answer = text.text(&format!("It ended {}", clock.when(run.end(clock.now))));
            answer = match again {
                0 => answer.text("; no task needed a second attempt."),
                more => answer.text(&format!(
                    " after {}.",
                    plural(more as usize, "retry").replace("retrys", "retries")
                )),
            };
            (format!("Succeeded in {took}"), answer)
        }
        RunStatus::Ended(RunEnd::Failed) => {
            let failed: Vec<(&str, &TaskState)> = run.failed().collect();
            let Some((name, task)) = failed.first() else {
                return ("Failed".to_owned(), text.text(&format!("After {took}.")));
            };
            let reason = task.reason.clone().unwrap_or_default();
            let first = reason.lines().next().unwrap_or_default().trim_end_matches([':', '.']);
            let headline = match first.chars().count() {
                0..=70 => format!("Failed: {}", first.replace('`', "")),
                _ => format!("Failed at {name}"),
            };
            let after = match task.attempts {
                0 | 1 => String::new(),
                many => format!(" after {many} attempts"),
            };
            let at = run.timeline.end_of(name).unwrap_or_else(|| run.end(clock.now));
            let mut answer =
                text.strong(name).text(&format!(" failed at {}{after}", clock.minute(at)));
            if failed.len() > 1 {
                let others = failed[1..].iter().map(|(name, _)| format!("`{name}`"));
                let others: Vec<String> = others.collect();
                answer = answer.text(&format!(", and so did {}", words::list(&others)));
            }
            let behind = run.count(TaskEnd::UpstreamFailed);
            answer = answer.text(&match behind {
                0 => ".".to_owned(),
                some => format!("; {} behind it did not run.", plural(some, "task")),
            });
            let kept = match succeeded {
                0 => String::new(),
                1 => " What the task that succeeded published stays.".to_owned(),
                _ => format!(" What the {succeeded} tasks that succeeded published stays."),
            };
            (headline, answer.text(&kept))
        }
        RunStatus::Ended(RunEnd::Cancelled) => {
            let reason = run.state.cancel_reason().unwrap_or("no reason is known");
            let answer = text.text(&format!(
                "It was asked to stop: {reason}. {succeeded} of {} had succeeded.",
                plural(all, "task")
            ));
            (format!("Cancelled after {took}"), answer)
        }
        RunStatus::Crashed => {
            let answer = text.text(&format!(
                "Its last sign of life was {}; {} of {} had succeeded. A resume goes on from \
                 there and loses nothing.",
                clock.when(run.end(clock.now)),
                succeeded,
                plural(all, "task")
            ));
            ("Its process died".to_owned(), answer)
        }
    }
}

/// Failed tasks that are told of at length.
const TOLD: usize = 20;

/// The tasks that failed, each at its line of the definition.
fn why(run: &RunView) -> Option<String> {
    let definition = &run.restored.definition;
    let lines: Vec<&str> = definition.pipeline.text.lines().collect();
    let mut text = String::new();
    for (name, task) in run.failed().take(TOLD) {
        if !text.is_empty() {
            text.push('\n');
        }
        let reason = task.reason.as_deref().unwrap_or("it does not say why");
        let (first, rest) = reason.split_once('\n').unwrap_or((reason, ""));
        match definition.line_of(&["tasks", name]) {
            Some(line) => {
                let source = lines.get(line - 1).copied().unwrap_or_default();
                let gutter = " ".repeat(line.to_string().len());
                let indent = source.len() - source.trim_start().len();
                let (blank, carets) = (" ".repeat(indent), "^".repeat(name.chars().count()));
                text.push_str(&format!(
                    "{}:{line}\n{line} | {source}\n{gutter} | {blank}{carets} {first}\n",
                    definition.pipeline.path
                ));
            }
            None => text.push_str(&format!("{name}: {first}\n")),
        }
        for line in rest.lines() {
            text.push_str(&format!("  {line}\n"));
        }
    }
    let more = run.count(TaskEnd::Failed).saturating_sub(TOLD);
    if more > 0 {
        text.push_str(&format!("\nand {} more\n", plural(more, "failed task")));
    }
    (!text.is_empty()).then_some(text)
}

fn marks(run: &RunView) -> Vec<usize> {
    let line = |(name, _): (&str, &TaskState)| run.restored.definition.line_of(&["tasks", name]);
    run.failed().take(TOLD).filter_map(line).collect()
}

/// What a new run of the same would be called.
fn again_label(run: &RunView) -> Option<String> {
    match run.status {
        RunStatus::Running | RunStatus::Crashed => None,
        RunStatus::Ended(RunEnd::Failed) => {
            let first = run.failed().next();
            Some(first.map_or("Run again".into(), |(name, _)| format!("Run again from {name}")))
        }
        RunStatus::Ended(_) => Some("Run again".to_owned()),
    }
}

fn facts(run: &RunView, usual: Option<SignedDuration>, clock: &Clock) -> Vec<Fact> {
    let plan = run.plan();
    let both =
        |at: Timestamp| format!("{}, {}", clock.day(clock.local(at).date()), clock.minute(at));
    let params: Vec<String> = plan
        .params
        .iter()
        .map(|(name, value)| match value {
            serde_json::Value::String(text) => format!("{name} {text}"),
            other => format!("{name} {other}"),
        })
        .collect();
    let (first, others) = match params.split_first() {
        Some((first, others)) => (first.clone(), others.join(", ")),
        None => ("none".to_owned(), String::new()),
    };
    let note = |text: String| Markup::new().text(&text);
    let digest = run.definition_digest.get(..8).unwrap_or_default();
    let mut facts = vec![
        Fact {
            name: "Interval",
            value: clock.interval(run.row.interval),
            note: note(format!(
                "{} to {}",
                both(run.row.interval.start),
                both(run.row.interval.end)
            )),
        },
        Fact {
            name: "Started",
            value: clock.second(run.row.created_at),
            note: note(format!(
                "{}, {}",
                clock.day(clock.local(run.row.created_at).date()),
                runs::trigger(run.row.trigger)
            )),
        },
        Fact {
            name: if run.status == RunStatus::Running { "So far" } else { "Took" },
            value: duration(run.took(clock.now)),
            note: note(
                usual
                    .map_or(String::new(), |usual| format!("a good run takes {}", duration(usual))),
            ),
        },
        Fact { name: "Parameters", value: first, note: note(others) },
        Fact {
            name: "Definition",
            value: digest.to_owned(),
            note: Markup::new().link("#definition", "as it was then"),
        },
        Fact { name: "Profile", value: plan.profile.clone(), note: Markup::new() },
    ];
    if let Some(pid) = run.row.pid.filter(|_| run.status == RunStatus::Running) {
        facts[5].note = note(format!("process {pid}"));
    }
    facts
}

/// Tasks on one page.
const TASKS: usize = 200;

/// The tasks in the order of the file; of many, those that need a person come first.
fn tasks(run: &RunView, page: usize, clock: &Clock) -> (Scale, Vec<TaskRow>) {
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

/// The log of the task that matters most, or of the one that is asked for.
fn log(site: &Site, run: &RunView, query: &LogQuery, clock: &Clock) -> Option<Log> {
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
fn touched(run: &RunView) -> Vec<(String, Touched)> {
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
        let href = format!("/datasets/{dataset}");
        (dataset, Touched { href, read, ..touched })
    };
    all.into_iter().map(told).collect()
}

pub async fn cancel(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path(id): Path<String>,
) -> Result<Redirect, Failure> {
    site.ask(move |site, store| {
        request_cancel(site, store, &id, "somebody cancelled it on the pages")
    })
    .await?;
    Ok(back(&headers))
}

/// Asks a run to stop.
pub fn request_cancel(site: &Site, store: &mut Store, id: &str, by: &str) -> Result<(), Failure> {
    let row = store.find_run(id)?;
    match runs::status(site, &row) {
        RunStatus::Running => {
            let reason = by.to_owned();
            Ok(store.request_cancel(&row.id, Timestamp::now(), &reason)?)
        }
        status => Err(Failure::new(
            StatusCode::CONFLICT,
            format!("run {} is not running, it is {}", row.id, status.as_str()),
        )),
    }
}

pub async fn resume(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
) -> Result<Redirect, Failure> {
    let run = site
        .ask(move |site, store| {
            let row = store.find_run(&id)?;
            site.daemon.resume(&row.id)?;
            Ok(row.id)
        })
        .await?;
    Ok(Redirect::to(&format!("/runs/{run}")))
}

#[derive(Deserialize)]
pub struct Again {
    /// Also the tasks that had succeeded.
    #[serde(default)]
    whole: bool,
}

/// A new run of the same interval, with the same params; after a failure, from the failed tasks on.
pub async fn again(
    State(site): State<Arc<Site>>,
    Path(id): Path<String>,
    Query(Again { whole }): Query<Again>,
) -> Result<Redirect, Failure> {
    let run = site
        .ask(move |site, store| {
            let row = store.find_run(&id)?;
            let failed = store.task_ends(&row.id)?.into_iter();
            let start = Start {
                pipeline: row.pipeline,
                like: Some(row.id),
                from: failed
                    .filter(|(_, end)| !whole && *end == TaskEnd::Failed)
                    .map(|(name, _)| name)
                    .collect(),
                ..Start::default()
            };
            Ok(site.daemon.start(start)?)
        })
        .await?;
    Ok(Redirect::to(&format!("/runs/{run}")))
}
