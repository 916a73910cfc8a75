//! Runs as a list, newest first: of all pipelines, or a part of a pipeline's page.

use super::{Page, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::failure::Failure;
use crate::runs;
use crate::words::{Clock, Cursor, Markup, duration, encode};
use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::civil::Date;
use orchestrator::event::RunEnd;
use orchestrator::plan::Interval;
use orchestrator::store::{RunFilter, RunRow, RunStatus, Store, Trigger};
use serde::Deserialize;
use std::sync::Arc;

/// Runs on one page.
const PAGE: usize = 25;

/// The values of the filters' form.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct HistoryQuery {
    /// Of all runs.
    pub pipeline: String,
    pub state: String,
    pub from: String,
    pub to: String,
    /// The last run of the page before, as a [`Cursor`].
    pub before: String,
}

/// A list of runs with its filters.
pub struct History {
    /// The page that it stands on.
    pub path: String,
    /// What can be chosen, and what is.
    pub pipelines: Vec<(String, bool)>,
    pub rows: Vec<HistoryRow>,
    pub state: String,
    pub from: String,
    pub to: String,
    pub states: [&'static str; 6],
    pub older: Option<String>,
    pub newer: Option<String>,
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
    /// The state that is asked for.
    fn status(&self) -> Option<RunStatus> {
        match self.state.as_str() {
            "succeeded" => Some(RunStatus::Ended(RunEnd::Succeeded)),
            "failed" => Some(RunStatus::Ended(RunEnd::Failed)),
            "cancelled" => Some(RunStatus::Ended(RunEnd::Cancelled)),
            "running" => Some(RunStatus::Running),
            "crashed" => Some(RunStatus::Crashed),
            _ => None,
        }
    }

    /// What else the store is asked; an empty or unknown value asks for nothing.
    pub fn filter(&self, pipeline: Option<&str>, clock: &Clock) -> RunFilter {
        let start = |date: Date| Some(date.to_zoned(clock.zone.clone()).ok()?.timestamp());
        let from = self.from.parse().ok().and_then(start);
        let to = self.to.parse().ok().and_then(|date: Date| start(date.tomorrow().ok()?));
        let created = (from.is_some() || to.is_some()).then(|| Interval {
            start: from.unwrap_or(Timestamp::MIN),
            end: to.unwrap_or(Timestamp::MAX),
        });
        let before = Cursor::parse(&self.before).map(|cursor| (cursor.at, cursor.run));
        RunFilter {
            pipeline: pipeline.map(str::to_owned),
            created,
            before,
            limit: Some(PAGE + 1),
            ..RunFilter::default()
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
    let chosen = (!query.pipeline.is_empty()).then_some(query.pipeline.as_str());
    let filter = query.filter(pipeline.or(chosen), clock);
    let mut found = runs::find(site, store, filter, query.status())?;
    let has_more = found.len() > PAGE;
    found.truncate(PAGE);
    let HistoryQuery { pipeline: of, state, from, to, .. } = query;
    let mut filters = String::new();
    for (name, value) in [("pipeline", of), ("state", state), ("from", from), ("to", to)] {
        if !value.is_empty() {
            filters.push_str(&format!("{name}={}&", encode(value)));
        }
    }
    let older = found.last().filter(|_| has_more).map(|(last, _)| {
        let before = Cursor::after(last.created_at, &last.id);
        format!("{path}?{filters}before={before}#history")
    });
    let newer = (!query.before.is_empty()).then(|| format!("{path}?{filters}#history"));
    let mut rows = Vec::new();
    for (run, status) in &found {
        rows.push(row(site, store, run, *status, clock)?);
    }
    let pipelines = match pipeline {
        Some(_) => Vec::new(),
        None => (store.pipelines()?.into_iter())
            .map(|name| {
                let is_chosen = name == query.pipeline;
                (name, is_chosen)
            })
            .collect(),
    };
    let known = STATES.into_iter().find(|state| *state == query.state).unwrap_or_default();
    let is_date = |text: &str| text.parse::<Date>().is_ok();
    let date = |text: &String| if is_date(text) { text.clone() } else { String::new() };
    Ok(History {
        path: path.to_owned(),
        pipelines,
        rows,
        state: known.to_owned(),
        from: date(&query.from),
        to: date(&query.to),
        states: STATES,
        older,
        newer,
        is_filtered: !known.is_empty()
            || chosen.is_some()
            || is_date(&query.from)
            || is_date(&query.to),
    })
}

fn row(
    site: &Site,
    store: &mut Store,
    run: &RunRow,
    status: RunStatus,
    clock: &Clock,
) -> Result<HistoryRow, Failure> {
    let mut what = Markup::new();
    if matches!(status.as_str(), "failed" | "crashed")
        && let Some((task, attempt, message)) = store.last_failure(&run.id)?
    {
        let first = message.lines().next().unwrap_or_default();
        let first: String = first.chars().take(160).collect();
        let after = match attempt {
            1 => String::new(),
            many => format!(" after {many} attempts"),
        };
        what = what.strong(&task).text(&format!(" failed{after}: {first}"));
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
        interval: clock.interval(run.interval, &site.zone_of(&run.pipeline)),
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
    site.ask(move |site, store| {
        let chrome = site.chrome(Section::Pipelines, taste);
        let history = history(site, store, None, &query, "/runs", &chrome.clock)?;
        render(&Runs { history, chrome })
    })
    .await
}
