//! A run: what became of it and why, its tasks in time, their logs, and what it read and wrote.

mod data;
mod tasks;
mod verdict;

use super::{Page, back, definition, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::daemon::Start;
use crate::drawing::Svg;
use crate::failure::Failure;
use crate::logs::LogQuery;
use crate::runs::{self, RunView};
use crate::words::{self, Markup, duration, plural};
use askama::Template;
use axum::extract::{Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use data::{Log, Touched, log, touched};
use jiff::Timestamp;
use orchestrator::event::TaskEnd;
use orchestrator::store::{RunRow, RunStatus, Store};
use serde::Deserialize;
use std::sync::Arc;
use tasks::{TASKS, TaskRow, tasks};
use verdict::{Fact, again_label, facts, marks, usual, verdict, why};

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
    let mut facts = vec![
        ("Interval", clock.interval(row.interval, &site.zone_of(&row.pipeline))),
        ("Started", clock.when(row.created_at)),
    ];
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
    let (headline, answer) = verdict(&run, &usual, cancelling.as_deref(), clock);
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
        facts: facts(&run, &usual, clock),
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
pub fn request_cancel(
    site: &Site,
    store: &mut Store,
    id: &str,
    reason: &str,
) -> Result<(), Failure> {
    let row = store.find_run(id)?;
    match runs::status(site, &row) {
        RunStatus::Running => Ok(store.request_cancel(&row.id, Timestamp::now(), reason)?),
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
