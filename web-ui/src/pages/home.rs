//! Home: whether all is well, the last night, and the pipelines.

use super::{Page, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::daemon::KnownPipeline;
use crate::drawing::{BARS, Bar, Part, Scale, Svg, bars};
use crate::failure::Failure;
use crate::runs;
use crate::words::{self, Clock, Markup, duration, plural};
use askama::Template;
use axum::extract::{Query, State};
use axum::http::HeaderMap;
use jiff::Timestamp;
use orchestrator::event::RunEnd;
use orchestrator::plan::Interval;
use orchestrator::store::{RunFilter, RunRow, RunStatus, Store};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// Pipelines on one page.
const PAGE: usize = 50;
/// Pipelines in the drawing of the last night.
const NIGHT: usize = 12;
/// Runs in it.
const MOST_RUNS: usize = 2000;
/// Notices of one sort.
const NOTICES: usize = 4;

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

/// A run that can be looked at and mended.
pub struct Act {
    run: String,
    /// `resume` or `again`.
    verb: &'static str,
    label: String,
}

pub struct Notice {
    state: &'static str,
    text: Markup,
}

pub struct Night {
    title: String,
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
    paused: bool,
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

/// The pipelines, and the newest run of each.
struct Overview {
    known: BTreeMap<String, KnownPipeline>,
    newest: BTreeMap<String, (RunRow, RunStatus)>,
    /// The newest run that was not cancelled, where it went wrong.
    trouble: BTreeMap<String, (RunRow, RunStatus)>,
}

impl Overview {
    fn load(site: &Site, store: &mut Store, known: &[KnownPipeline]) -> Result<Overview, Failure> {
        let mut overview =
            Overview { known: BTreeMap::new(), newest: BTreeMap::new(), trouble: BTreeMap::new() };
        for one in known {
            // A file without a valid version is called as its file: it takes no other's place.
            overview.known.entry(one.name.clone()).or_insert_with(|| one.clone());
        }
        for name in store.pipelines()? {
            let filter = |limit| RunFilter {
                pipeline: Some(name.clone()),
                limit: Some(limit),
                ..RunFilter::default()
            };
            let mut runs = store.runs(&filter(1))?;
            // A run that goes on, or was cancelled, says nothing about the one before it.
            let cancelled = Some(RunEnd::Cancelled);
            if runs.first().is_some_and(|run| run.end.is_none() || run.end == cancelled) {
                runs = store.runs(&filter(10))?;
            }
            let runs: Vec<(RunRow, RunStatus)> = (runs.into_iter())
                .map(|run| {
                    let status = runs::status(site, &run);
                    (run, status)
                })
                .collect();
            let Some(newest) = runs.first().cloned() else { continue };
            let judged = runs
                .into_iter()
                .find(|(run, status)| *status != RunStatus::Running && run.end != cancelled);
            // Nobody could mend what the daemon does not have.
            let is_known = overview.known.get(&name).is_some_and(|known| known.valid);
            if let Some(judged) = judged.filter(|(_, status)| is_known && is_trouble(*status)) {
                overview.trouble.insert(name.clone(), judged);
            }
            overview.newest.insert(name, newest);
        }
        Ok(overview)
    }

    fn names(&self) -> BTreeSet<&String> {
        self.known.keys().chain(self.newest.keys()).collect()
    }

    /// The names that a search finds: what needs a person first.
    fn order(&self, query: &str) -> Vec<String> {
        let wanted = query.trim().to_lowercase();
        let mut names: Vec<&String> =
            self.names().into_iter().filter(|name| name.to_lowercase().contains(&wanted)).collect();
        // What changes from minute to minute moves no row: somebody may be about to press its button.
        names.sort_by_key(|name| {
            let known = self.known.get(*name);
            let broken = known.is_some_and(|known| !known.valid);
            let rank = match (self.trouble.contains_key(*name), broken) {
                (true, _) => 0,
                (_, true) => 1,
                _ if known.is_none() => 3,
                _ => 2,
            };
            (rank, (*name).clone())
        });
        names.into_iter().cloned().collect()
    }
}

fn is_trouble(status: RunStatus) -> bool {
    matches!(status.as_str(), "failed" | "crashed")
}

/// Six in the evening of yesterday: what a person who comes in the morning has not seen.
fn evening(clock: &Clock) -> Timestamp {
    let today = clock.local(clock.now).date();
    let yesterday = today.yesterday().unwrap_or(today);
    let evening = yesterday.at(18, 0, 0, 0).to_zoned(clock.zone.clone());
    evening.map_or(clock.now, |evening| evening.timestamp())
}

/// `last night`, `today`, `yesterday`, `on Sun 22 Nov`
fn when(at: Timestamp, clock: &Clock) -> String {
    let (local, now) = (clock.local(at), clock.local(clock.now));
    let today = now.date();
    let is_night = at >= evening(clock) && (local.date() != today || local.hour() < 7);
    if is_night {
        "last night".to_owned()
    } else if local.date() == today {
        "today".to_owned()
    } else if Some(local.date()) == today.yesterday().ok() {
        "yesterday".to_owned()
    } else {
        format!("on {}", clock.day(local.date()))
    }
}

fn ended(row: &RunRow) -> Timestamp {
    row.ended_at.unwrap_or(row.created_at)
}

/// The page's answer: a headline, a sentence, and what can be done.
fn verdict(
    store: &mut Store,
    overview: &Overview,
    night: &[RunRow],
    clock: &Clock,
) -> Result<(String, Markup, Option<Act>), Failure> {
    let running =
        overview.newest.values().filter(|(_, status)| *status == RunStatus::Running).count();
    let count = |end: RunEnd| night.iter().filter(|run| run.end == Some(end)).count();
    let (good, bad) = (count(RunEnd::Succeeded), count(RunEnd::Failed));
    let over = good + bad + count(RunEnd::Cancelled);
    let night_words = match over {
        0 => "No run has ended since yesterday evening".to_owned(),
        all if good == all => format!("{} went well since yesterday evening", plural(all, "run")),
        all => format!("{good} of {} since yesterday evening went well", plural(all, "run")),
    };
    let also = |text: Markup| {
        let text = if text.is_empty() { text } else { text.text(" ") };
        let text = text.text(&night_words);
        match running {
            0 => text.text("."),
            1 => text.text(", and 1 is running."),
            many => text.text(&format!(", and {many} are running.")),
        }
    };
    let worst = overview.trouble.iter().max_by_key(|(_, (run, _))| ended(run));
    let Some((name, (run, status))) = worst else {
        let (headline, answer) = match (overview.names().len(), overview.newest.len(), over) {
            (0, _, _) => (
                "No pipelines yet".to_owned(),
                Markup::new().text(
                    "Put a pipeline's YAML file into the daemon's directory: it is shown here as \
                     soon as it is saved.",
                ),
            ),
            (_, 0, _) => (
                "Nothing has run yet".to_owned(),
                Markup::new().text("Start a pipeline below, or wait until one is due."),
            ),
            (_, _, 0) => ("All is well".to_owned(), also(Markup::new())),
            _ if bad > 0 => ("All is well now".to_owned(), also(Markup::new())),
            _ => ("All went well last night".to_owned(), also(Markup::new())),
        };
        return Ok((headline, answer, None));
    };
    let trouble = Trouble::of(store, run, *status)?;
    let all = overview.names().len();
    let headline = match overview.trouble.len() {
        1 => format!("{name} {} {}", status.as_str(), when(ended(run), clock)),
        many => {
            let times: BTreeSet<String> =
                overview.trouble.values().map(|(run, _)| when(ended(run), clock)).collect();
            let when = match times.len() {
                1 => times.into_iter().next().unwrap_or_default(),
                _ => "at their last run".to_owned(),
            };
            format!("{many} of {all} pipelines failed {when}")
        }
    };
    let mut answer = Markup::new();
    if overview.trouble.len() > 1 {
        answer = answer.text("The newest: ").strong(name).text(". ");
    }
    answer = trouble.tell(answer, clock);
    Ok((headline, also(answer), Some(trouble.act)))
}

/// What went wrong in a run.
struct Trouble {
    task: Option<(String, u32)>,
    reason: String,
    at: Timestamp,
    act: Act,
}

impl Trouble {
    fn of(store: &mut Store, run: &RunRow, status: RunStatus) -> Result<Trouble, Failure> {
        let failed = match status {
            RunStatus::Crashed => None,
            _ => store.last_failure(&run.id)?,
        };
        let (label, verb) = match (&failed, status) {
            (_, RunStatus::Crashed) => ("Resume".to_owned(), "resume"),
            (Some((task, ..)), _) => (format!("Run again from {task}"), "again"),
            (None, _) => ("Run again".to_owned(), "again"),
        };
        let reason = failed.as_ref().map(|(_, _, reason)| reason.clone()).unwrap_or_default();
        Ok(Trouble {
            task: failed.map(|(name, attempts, _)| (name, attempts)),
            reason,
            at: ended(run),
            act: Act { run: run.id.clone(), verb, label },
        })
    }

    fn tell(&self, text: Markup, clock: &Clock) -> Markup {
        let at = clock.minute(self.at);
        match &self.task {
            Some((task, attempts)) => {
                let after = match attempts {
                    0 | 1 => String::new(),
                    many => format!(" after {many} attempts"),
                };
                text.text("Its task ")
                    .strong(task)
                    .text(&format!(" gave up at {at}{after}: {}.", first_line(&self.reason)))
            }
            None if self.act.verb == "resume" => {
                text.text(&format!("Begun at {at}, its process died; a resume goes on from there."))
            }
            None => text.text(&format!("It ended at {at}.")),
        }
    }
}

/// Long reasons stand on the page of the run.
fn first_line(reason: &str) -> String {
    let line = reason.lines().next().unwrap_or_default().trim_end_matches(['.', ':']);
    match line.char_indices().nth(240) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

/// Those that the headline does not tell of.
fn other_troubles(
    store: &mut Store,
    overview: &Overview,
    clock: &Clock,
) -> Result<Vec<Notice>, Failure> {
    let mut troubles: Vec<_> = overview.trouble.iter().collect();
    troubles.sort_by_key(|(_, (run, _))| std::cmp::Reverse(ended(run)));
    let mut notices = Vec::new();
    for (name, (run, status)) in troubles.iter().skip(1).take(NOTICES) {
        let trouble = Trouble::of(store, run, *status)?;
        let text = Markup::new().link(&format!("/runs/{}", run.id), name).text(&format!(
            " {} {}. ",
            status.as_str(),
            when(ended(run), clock)
        ));
        notices.push(Notice { state: status.as_str(), text: trouble.tell(text, clock) });
    }
    Ok(notices)
}

fn problems(known: &[KnownPipeline], clock: &Clock) -> Vec<Notice> {
    let broken = known.iter().filter_map(|known| Some((known, known.problems.as_ref()?)));
    let notice = |(known, problems): (&KnownPipeline, &String)| {
        let count = problems.lines().filter(|line| line.starts_with("error")).count().max(1);
        let first = problems.lines().next().unwrap_or_default();
        let first = first.split_once(": ").map_or(first, |(_, message)| message);
        let the_first = if count > 1 { ", the first" } else { "" };
        let goes_on = match known.valid {
            true => "Its last valid version stays in use.",
            false => "It can’t be run before that is mended.",
        };
        let href = format!("/pipelines/{}#definition", words::encode(&known.name));
        let text = Markup::new().link(&href, &known.path.display().to_string()).text(&format!(
            " has {} since {}{the_first}: {first}. {goes_on}",
            plural(count, "problem"),
            clock.when(known.since),
        ));
        Notice { state: if known.valid { "warning" } else { "failed" }, text }
    };
    broken.take(NOTICES).map(notice).collect()
}

fn left_out(store: &mut Store, since: Timestamp, clock: &Clock) -> Result<Vec<Notice>, Failure> {
    let mut notices = Vec::new();
    for (pipeline, row) in store.left_out(since, NOTICES)? {
        let count = match row.count {
            1 => format!(" was not run for {}", clock.when(row.first)),
            many => format!(" was not run {many} times since {}", clock.when(row.first)),
        };
        let href = format!("/pipelines/{}#schedule", words::encode(&pipeline));
        let text = Markup::new().link(&href, &pipeline);
        let text = text.text(&format!("{count}: {}.", row.why.sentence()));
        notices.push(Notice { state: "skipped", text });
    }
    Ok(notices)
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
    Some(Night { title: "Since yesterday evening".to_owned(), axis: scale.axis(clock), rows, more })
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
    let drawn: Vec<Bar> =
        runs.iter().zip(&states).map(|(run, status)| bar(run, *status, clock)).collect();
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
        paused: is_paused && schedule.is_some(),
        known: known.is_some_and(|known| known.valid),
    })
}

/// A run as a bar.
pub fn bar(run: &RunRow, status: RunStatus, clock: &Clock) -> Bar {
    let took = match status {
        RunStatus::Running => run.created_at.duration_until(clock.now),
        _ => run.created_at.duration_until(ended(run)),
    };
    Bar {
        href: format!("/runs/{}", run.id),
        state: status.as_str(),
        title: format!("{}: {}, {}", clock.interval(run.interval), status.as_str(), duration(took)),
        took,
    }
}
