//! Home: whether all is well, the last night, and the pipelines.

mod verdict;

use super::{Page, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::drawing::{BARS, Bar, Part, Scale, Svg, bars};
use crate::failure::Failure;
use crate::runs;
use crate::words::{self, Clock, Markup, duration};
use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use orchestrator::plan::Interval;
use orchestrator::store::{RunFilter, RunRow, RunStatus, Store};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use verdict::{Act, Notice, Overview, ended, evening, left_out, other_troubles, problems, verdict};

/// Pipelines on one page.
const PAGE: usize = 50;
/// Pipelines in the drawing of the last night.
const NIGHT: usize = 12;
/// Runs in it.
const MOST_RUNS: usize = 2000;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct Search {
    q: String,
    page: u16,
}

#[derive(Template)]
#[template(path = "home.html")]
struct Home {
    chrome: Chrome,
    headline: String,
    answer: Markup,
    /// The newest run that went wrong.
    trouble: Option<Act>,
    notices: Vec<Notice>,
    night: Option<Night>,
    rows: Vec<Row>,
    count: usize,
    query: String,
    earlier: Option<String>,
    later: Option<String>,
}

pub struct Night {
    axis: Svg,
    rows: Vec<(String, Svg)>,
    more: usize,
}

pub struct Row {
    name: String,
    note: String,
    bars: Svg,
    /// What the bars show, for those who don't see them.
    told: String,
    rate: Option<(String, String)>,
    last: Option<Last>,
    schedule: String,
    next: String,
    /// Whether its schedule is paused, if it has one.
    paused: Option<bool>,
    /// Whether the daemon can start it.
    known: bool,
    running: Option<String>,
}

pub struct Last {
    run: String,
    state: &'static str,
    when: String,
    took: String,
    says: String,
}

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Query(search): Query<Search>,
) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| render(&home(site, store, &search, taste)?)).await
}

fn home(site: &Site, store: &mut Store, search: &Search, taste: Taste) -> Result<Home, Failure> {
    let chrome = site.chrome(Section::Pipelines, taste);
    let clock = &chrome.clock;
    let known = site.daemon.pipelines();
    let overview = Overview::load(site, store, &known)?;
    let evening = evening(clock);
    let since = Interval { start: evening, end: Timestamp::MAX };
    let of_night = RunFilter { created: Some(since), limit: Some(MOST_RUNS), ..Default::default() };
    let night_runs = store.runs(&of_night)?;
    let (headline, answer, trouble) = verdict(store, &overview, &night_runs, clock)?;
    let mut notices = other_troubles(store, &overview, clock)?;
    notices.extend(problems(&known, clock));
    notices.extend(left_out(store, evening, clock)?);

    let mut order = overview.order(&search.q);
    let count = order.len();
    let page = usize::from(search.page);
    let first = page * PAGE;
    let shown: Vec<String> = order.drain(..).skip(first).take(PAGE).collect();
    let paused = store.paused()?;
    let mut rows = Vec::new();
    for name in shown {
        rows.push(row(site, store, &overview, &name, &paused, clock)?);
    }
    let page_link = |page: usize| {
        let mut link = format!("/?page={page}");
        if !search.q.is_empty() {
            link.push_str(&format!("&q={}", words::encode(&search.q)));
        }
        link
    };
    Ok(Home {
        headline,
        answer,
        trouble,
        notices,
        night: night(site, &night_runs, &overview, evening, clock),
        rows,
        count,
        query: search.q.clone(),
        earlier: (page > 0).then(|| page_link(page - 1)),
        later: (count > first + PAGE).then(|| page_link(page + 1)),
        chrome,
    })
}

fn night(
    site: &Site,
    runs: &[RunRow],
    overview: &Overview,
    start: Timestamp,
    clock: &Clock,
) -> Option<Night> {
    let scale = Scale::new(start, clock.now, &clock.zone);
    let mut by_pipeline: BTreeMap<&str, Vec<&RunRow>> = BTreeMap::new();
    for run in runs.iter().rev() {
        by_pipeline.entry(&run.pipeline).or_default().push(run);
    }
    if by_pipeline.is_empty() {
        return None;
    }
    let mut names: Vec<&str> = by_pipeline.keys().copied().collect();
    names.sort_by_key(|name| (!overview.trouble.contains_key(*name), *name));
    let more = names.len().saturating_sub(NIGHT);
    names.truncate(NIGHT);
    let rows = names.into_iter().map(|name| {
        let runs = &by_pipeline[name];
        let states: Vec<RunStatus> = runs.iter().map(|run| runs::status(site, run)).collect();
        let part = |(run, status): (&&RunRow, &RunStatus)| Part {
            start: run.created_at,
            end: match status {
                RunStatus::Running => clock.now,
                _ => ended(run),
            },
            state: status.as_str(),
        };
        let parts: Vec<Part> = runs.iter().zip(&states).map(part).collect();
        (name.to_owned(), scale.span(&parts, Some(clock.now), &tally(&states)))
    });
    let rows = rows.collect();
    Some(Night { axis: scale.axis(clock), rows, more })
}

/// `28 of 30 succeeded, 1 failed, 1 running`
fn tally(states: &[RunStatus]) -> String {
    let count = |state: &str| states.iter().filter(|status| status.as_str() == state).count();
    let mut text = format!("{} of {} succeeded", count("succeeded"), states.len());
    for state in ["failed", "crashed", "cancelled", "running"] {
        match count(state) {
            0 => {}
            some => text.push_str(&format!(", {some} {state}")),
        }
    }
    text
}

fn row(
    site: &Site,
    store: &mut Store,
    overview: &Overview,
    name: &str,
    paused: &BTreeSet<String>,
    clock: &Clock,
) -> Result<Row, Failure> {
    let known = overview.known.get(name);
    let filter =
        RunFilter { pipeline: Some(name.to_owned()), limit: Some(BARS), ..RunFilter::default() };
    let mut runs = store.runs(&filter)?;
    runs.reverse();
    let states: Vec<RunStatus> = runs.iter().map(|run| runs::status(site, run)).collect();
    let zone = site.zone_of(name);
    let drawn: Vec<Bar> =
        runs.iter().zip(&states).map(|(run, status)| bar(run, *status, &zone, clock)).collect();
    let over = states.iter().filter(|status| **status != RunStatus::Running).count();
    let good = states.iter().filter(|status| status.as_str() == "succeeded").count();
    let rate = (over > 0).then(|| {
        (format!("{:.0}\u{a0}%", good as f64 / over as f64 * 100.0), format!("{good} of {over}"))
    });
    let last = overview.newest.get(name).map(|(run, status)| {
        let (when, took) = match status {
            RunStatus::Running => (
                format!("since {}", clock.when(run.created_at)),
                format!("{} so far", duration(run.created_at.duration_until(clock.now))),
            ),
            RunStatus::Crashed => (clock.when(run.created_at), String::new()),
            RunStatus::Ended(_) => {
                let ended = ended(run);
                (clock.when(ended), duration(run.created_at.duration_until(ended)))
            }
        };
        Last {
            run: run.id.clone(),
            state: status.as_str(),
            says: format!("{name} {}", words::state(status.as_str())),
            when,
            took,
        }
    });
    let is_paused = paused.contains(name);
    let schedule = known.and_then(|known| known.schedule.as_ref());
    let (words, next) = match schedule {
        Some(schedule) => {
            let timetable = schedule.timetable();
            let next = match timetable.next(clock.now) {
                _ if is_paused => "paused".to_owned(),
                Some(next) => format!("next {}, {}", clock.when(next), clock.until(next)),
                None => "never due again".to_owned(),
            };
            (timetable.words(), next)
        }
        None if known.is_some_and(|known| !known.valid) => (String::new(), String::new()),
        None if known.is_some() => ("by hand".to_owned(), String::new()),
        None => ("not in the daemon’s directory".to_owned(), String::new()),
    };
    let note = match known {
        Some(known) if !known.valid => "its file has problems".to_owned(),
        Some(known) => known.description.clone().unwrap_or_default(),
        None => String::new(),
    };
    Ok(Row {
        name: name.to_owned(),
        note,
        bars: bars(&drawn),
        told: tally(&states),
        rate,
        running: last.as_ref().filter(|last| last.state == "running").map(|last| last.run.clone()),
        last,
        schedule: words,
        next,
        paused: schedule.map(|_| is_paused),
        known: known.is_some_and(|known| known.valid),
    })
}

/// A run as a bar.
fn bar(run: &RunRow, status: RunStatus, zone: &TimeZone, clock: &Clock) -> Bar {
    let took = match status {
        RunStatus::Running => run.created_at.duration_until(clock.now),
        _ => run.created_at.duration_until(ended(run)),
    };
    Bar {
        href: format!("/runs/{}", run.id),
        state: status.as_str(),
        title: format!(
            "{}: {}, {}",
            clock.interval(run.interval, zone),
            status.as_str(),
            duration(took)
        ),
        took,
    }
}
