//! Runs as a list, newest first: of all pipelines, or a part of a pipeline's page.

use super::{Page, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::failure::Failure;
use crate::runs;
use crate::words::{Clock, Markup, duration};
use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::civil::Date;
use orchestrator::event::RunEnd;
use orchestrator::plan::Interval;
use orchestrator::store::{RunFilter, RunRow, RunState, RunStatus, Store, Trigger};
use serde::Deserialize;
use std::sync::Arc;

/// Runs on one page.
const PAGE: usize = 25;

/// The values of the filters' form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HistoryQuery {
    pub state: String,
    pub from: String,
    pub to: String,
    /// The last run of the page before, as `MICROSECONDS-ID`.
    pub before: String,
}

/// A list of runs with its filters.
pub struct History {
    pub rows: Vec<HistoryRow>,
    pub state: String,
    pub from: String,
    pub to: String,
    pub states: [&'static str; 6],
    pub older: Option<String>,
    pub is_filtered: bool,
}

pub struct HistoryRow {
    pub run: String,
    /// The end of its id, by which it can be called: the beginnings are alike.
    pub short: String,
    pub pipeline: String,
    pub interval: String,
    pub state: &'static str,
    pub started: String,
    pub took: String,
    pub by: &'static str,
    pub what: Markup,
}

const STATES: [&str; 6] = ["", "succeeded", "failed", "cancelled", "running", "crashed"];

impl HistoryQuery {
    /// What the store is asked; an empty or unknown value asks for nothing.
    pub fn filter(&self, pipeline: Option<&str>, clock: &Clock) -> RunFilter {
        let state = match self.state.as_str() {
            "succeeded" => Some(RunState::Ended(RunEnd::Succeeded)),
            "failed" => Some(RunState::Ended(RunEnd::Failed)),
            "cancelled" => Some(RunState::Ended(RunEnd::Cancelled)),
            "running" | "crashed" => Some(RunState::Open),
            _ => None,
        };
        let day = |text: &str| {
            let date: Date = text.parse().ok()?;
            Some(date.to_zoned(clock.zone.clone()).ok()?.timestamp())
        };
        let next = |text: &str| {
            let date: Date = text.parse().ok()?;
            Some(date.tomorrow().ok()?.to_zoned(clock.zone.clone()).ok()?.timestamp())
        };
        let (from, to) = (day(&self.from), next(&self.to));
        let created = (from.is_some() || to.is_some()).then(|| Interval {
            start: from.unwrap_or(Timestamp::MIN),
            end: to.unwrap_or(Timestamp::MAX),
        });
        let before = self.before.split_once('-').and_then(|(at, id)| {
            Some((Timestamp::from_microsecond(at.parse().ok()?).ok()?, id.to_owned()))
        });
        RunFilter {
            pipeline: pipeline.map(str::to_owned),
            state,
            created,
            before,
            limit: Some(PAGE + 1),
        }
    }
}

/// The runs that a query asks for; `path` is the page that they stand on.
pub fn history(
    site: &Site,
    store: &mut Store,
    pipeline: Option<&str>,
    query: &HistoryQuery,
    path: &str,
    clock: &Clock,
) -> Result<History, Failure> {
    let mut runs = store.runs(&query.filter(pipeline, clock))?;
    let has_more = runs.len() > PAGE;
    runs.truncate(PAGE);
    let older = runs.last().filter(|_| has_more).map(|last| {
        let before = format!("{}-{}", last.created_at.as_microsecond(), last.id);
        let HistoryQuery { state, from, to, .. } = query;
        format!("{path}?state={state}&from={from}&to={to}&before={before}#history")
    });
    let mut rows = Vec::new();
    for run in runs {
        let status = runs::status(site, &run);
        // The store does not know which of the open ones have a process.
        let fits = match query.state.as_str() {
            "running" | "crashed" => status.as_str() == query.state,
            _ => true,
        };
        if fits {
            rows.push(row(store, &run, status, clock)?);
        }
    }
    let known = STATES.into_iter().find(|state| *state == query.state).unwrap_or_default();
    let is_date = |text: &str| text.parse::<Date>().is_ok();
    let date = |text: &String| if is_date(text) { text.clone() } else { String::new() };
    Ok(History {
        rows,
        state: known.to_owned(),
        from: date(&query.from),
        to: date(&query.to),
        states: STATES,
        older,
        is_filtered: !known.is_empty() || is_date(&query.from) || is_date(&query.to),
    })
}

fn row(
    store: &mut Store,
    run: &RunRow,
    status: RunStatus,
    clock: &Clock,
) -> Result<HistoryRow, Failure> {
    let mut what = Markup::new();
    if matches!(status.as_str(), "failed" | "crashed")
        && let Some((task, message)) = store.last_failure(&run.id)?
    {
        let first = message.lines().next().unwrap_or_default();
        let first: String = first.chars().take(160).collect();
        what = what.strong(&task).text(&format!(" failed: {first}"));
    } else if status == RunStatus::Crashed {
        what = what.text("its process died");
    } else if run.epoch > 1 {
        let more = run.epoch - 1;
        what = what.text(&match more {
            1 => "was resumed once".to_owned(),
            more => format!("was resumed {more} times"),
        });
    }
    let took = match (run.ended_at, status) {
        (Some(ended), _) => duration(run.created_at.duration_until(ended)),
        (None, RunStatus::Running) => {
            format!("{} so far", duration(run.created_at.duration_until(clock.now)))
        }
        (None, _) => String::new(),
    };
    Ok(HistoryRow {
        run: run.id.clone(),
        short: run.id.get(run.id.len().saturating_sub(8)..).unwrap_or(&run.id).to_owned(),
        pipeline: run.pipeline.clone(),
        interval: clock.interval(run.interval),
        state: status.as_str(),
        started: clock.when(run.created_at),
        took,
        by: match run.trigger {
            Trigger::Manual => "by hand",
            Trigger::Schedule => "schedule",
            Trigger::Backfill => "backfill",
            Trigger::Web => "these pages",
        },
        what,
    })
}

#[derive(Template)]
#[template(path = "runs.html")]
struct Runs {
    chrome: Chrome,
    history: History,
}

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Query(query): Query<HistoryQuery>,
) -> Page {
    let taste = Taste::of(&headers);
    let page = site
        .ask(move |site, store| {
            let chrome = site.chrome(Section::Pipelines, taste);
            let history = history(site, store, None, &query, "/runs", &chrome.clock)?;
            Ok(Runs { history, chrome })
        })
        .await?;
    render(&page)
}
