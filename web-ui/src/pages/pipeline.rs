//! A pipeline: how it has done, its last runs by tasks, its history, graph, definition and schedule,
//! and a form to start a run.

mod form;
mod grid;
mod preview;

use super::history::{History, HistoryQuery, history};
use super::{Page, back, definition, render};
use crate::Site;
use crate::chrome::{Chrome, Section, Taste};
use crate::daemon::{Inspected, KnownPipeline};
use crate::drawing::{Svg, graph};
use crate::failure::Failure;
use crate::runs;
use crate::words::{self, Clock, Markup, duration, plural};
use askama::Template;
use axum::extract::{Form, Path, Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Redirect;
use jiff::{SignedDuration, Timestamp};
use orchestrator::diagnostic::{Problems, line_and_column};
use orchestrator::figures::quantile;
use orchestrator::store::{RunFilter, RunRow, RunStatus, Store};
use serde::Deserialize;
use std::sync::Arc;

pub use form::start;

#[derive(Template)]
#[template(path = "pipeline.html")]
struct Pipeline {
    chrome: Chrome,
    name: String,
    answer: Markup,
    facts: Vec<(&'static str, String, String)>,
    can_run: bool,
    has_schedule: bool,
    paused: bool,
    grid: Option<grid::Grid>,
    history: History,
    graph: Option<Svg>,
    graph_note: String,
    form: Option<form::RunForm>,
    preview: Option<preview::Preview>,
    path: String,
    problems: Vec<(usize, String)>,
    /// Where problems lie in other files, as the terminal shows them.
    other_problems: String,
    code: Vec<definition::Line>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub struct PipelineQuery {
    state: String,
    from: String,
    to: String,
    before: String,
    /// The last run of the columns before, as in the history.
    columns: String,
    /// The page of tasks in the grid.
    tasks: u16,
}

impl PipelineQuery {
    fn history(&self) -> HistoryQuery {
        let PipelineQuery { state, from, to, before, .. } = self.clone();
        HistoryQuery { state, from, to, before, ..HistoryQuery::default() }
    }
}

pub async fn page(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Query(query): Query<PipelineQuery>,
) -> Page {
    let taste = Taste::of(&headers);
    site.ask(move |site, store| render(&view(site, store, &name, &query, taste)?)).await
}

fn view(
    site: &Site,
    store: &mut Store,
    name: &str,
    query: &PipelineQuery,
    taste: Taste,
) -> Result<Pipeline, Failure> {
    let chrome = site.chrome(Section::Pipelines, taste);
    let clock = &chrome.clock;
    let known = site.known(name).ok();
    let known = known.as_ref();
    let filter =
        RunFilter { pipeline: Some(name.to_owned()), limit: Some(30), ..RunFilter::default() };
    let last = runs::find(site, store, filter, None)?;
    if known.is_none() && last.is_empty() {
        return Err(Failure::not_found("pipeline", name));
    }
    let inspected = known.map(|known| site.daemon.inspect(&known.path));
    let valid = inspected.as_ref().and_then(|inspected| inspected.as_ref().ok());
    let path = format!("/pipelines/{}", words::encode(name));
    let paused = store.is_paused(name)? == Some(true);
    let schedule = known.and_then(|known| known.schedule.as_ref());
    let graph = match valid {
        Some(valid) => drawn(store, valid, &last)?,
        None => None,
    };
    let can_run = known.is_some_and(|known| known.valid);
    let (problems, other_problems, code) = file(known, inspected.as_ref());
    Ok(Pipeline {
        answer: answer(known, &last, paused, clock),
        facts: facts(store, name, known, &last, valid)?,
        can_run,
        has_schedule: schedule.is_some(),
        paused,
        grid: grid::grid(site, store, name, valid, query, &path, clock)?,
        history: history(site, store, Some(name), &query.history(), &path, clock)?,
        graph_note: match (&graph, valid) {
            (Some(_), _) => "A dotted line is a stream: its reader runs while its writer does.",
            (None, Some(_)) => "It has too many tasks to be drawn.",
            (None, None) => "It can be drawn when its file is valid.",
        }
        .to_owned(),
        graph,
        form: valid.filter(|_| can_run).map(form::RunForm::of),
        preview: match schedule {
            Some(schedule) => Some(preview::preview(store, name, schedule, paused, clock)?),
            None => None,
        },
        path: known.map(|known| known.path.display().to_string()).unwrap_or_default(),
        problems,
        other_problems,
        code,
        name: name.to_owned(),
        chrome,
    })
}

fn answer(
    known: Option<&KnownPipeline>,
    last: &[(RunRow, RunStatus)],
    paused: bool,
    clock: &Clock,
) -> Markup {
    let mut text = Markup::new();
    let over = last.iter().find(|(_, status)| *status != RunStatus::Running);
    if let Some((run, _)) = last.first().filter(|(_, status)| *status == RunStatus::Running) {
        text = text.strong("Running").text(&format!(" since {}. ", clock.when(run.created_at)));
    }
    text = match over {
        None if last.is_empty() => text.text("It has not run yet. "),
        None => text,
        Some((run, status)) => {
            let same = last
                .iter()
                .filter(|(_, other)| *other != RunStatus::Running)
                .take_while(|(_, other)| other == status)
                .count();
            let at = clock.when(run.ended_at.unwrap_or(run.created_at));
            let verb = match status.as_str() {
                "succeeded" => "Succeeded",
                "failed" => "Failed",
                "cancelled" => "Was cancelled",
                _ => "Crashed",
            };
            let row = match same {
                1 => String::new(),
                2 => ", as the run before".to_owned(),
                same => format!(", as the {} before", plural(same - 1, "run")),
            };
            text.strong(&format!("{verb} {at}")).text(&format!("{row}. "))
        }
    };
    if let Some(schedule) = known.and_then(|known| known.schedule.as_ref()) {
        text = match schedule.timetable().next(clock.now) {
            _ if paused => text.text("Its schedule is paused. "),
            Some(next) => text
                .text("It runs next ")
                .strong(&clock.when(next))
                .text(&format!(", {}. ", clock.until(next))),
            None => text.text("It is never due again. "),
        };
    }
    match known {
        None => text.text("Its file is not in the daemon’s directory."),
        Some(known) if known.problems.is_some() && known.valid => {
            text.text("Its file has problems; its last valid version stays in use.")
        }
        Some(known) if known.problems.is_some() => {
            text.text("Its file has problems, so that it can’t be run.")
        }
        Some(_) => text,
    }
}

fn facts(
    store: &mut Store,
    name: &str,
    known: Option<&KnownPipeline>,
    last: &[(RunRow, RunStatus)],
    valid: Option<&Inspected>,
) -> Result<Vec<(&'static str, String, String)>, Failure> {
    let over: Vec<_> = last.iter().filter(|(_, status)| *status != RunStatus::Running).collect();
    let good: Vec<_> = over.iter().filter(|(_, s)| s.as_str() == "succeeded").collect();
    let mut spans: Vec<SignedDuration> = (good.iter())
        .filter_map(|(run, _)| Some(run.created_at.duration_until(run.ended_at?)))
        .collect();
    let schedule = known.and_then(|known| known.schedule.as_ref());
    let mut facts = Vec::new();
    match schedule {
        Some(schedule) => facts.push(("Schedule", schedule.timetable().words(), String::new())),
        None if known.is_some_and(|known| known.valid) => {
            facts.push(("Schedule", "none".to_owned(), "it runs by hand".to_owned()));
        }
        None => {}
    }
    if !over.is_empty() {
        let percent = good.len() as f64 / over.len() as f64 * 100.0;
        let of = format!("{} of {}", good.len(), over.len());
        facts.push(("Succeeded", of, format!("{percent:.0}\u{a0}%")));
    }
    if let Some((median, most)) = quantile(&mut spans, 0.5).zip(quantile(&mut spans, 0.95)) {
        let note = format!("median; 95\u{a0}% end in {}", duration(most));
        facts.push(("Takes", duration(median), note));
    }
    let count = store.count_runs(name)?;
    facts.push(("Runs in all", orchestrator::figures::exact(count), String::new()));
    if let Some(valid) = valid {
        let tasks = plural(valid.plan.tasks.len(), "task");
        facts.push(("Profile", valid.plan.profile.clone(), tasks));
    }
    Ok(facts)
}

/// The graph, with the states of the newest run.
fn drawn(
    store: &mut Store,
    valid: &Inspected,
    last: &[(RunRow, RunStatus)],
) -> Result<Option<Svg>, Failure> {
    let Some((run, _)) = last.first() else {
        return Ok(graph(&valid.plan, |_| ("", "#definition".to_owned())));
    };
    let ends = store.task_ends(&run.id)?;
    Ok(graph(&valid.plan, |task| {
        let end = ends.iter().find(|(name, _)| name == task).map(|(_, end)| end.as_str());
        (
            end.unwrap_or_default(),
            format!("/runs/{}?task={}#task-{task}", run.id, words::encode(task)),
        )
    }))
}

/// The problems of the file by lines, those of other files, and the file's text.
fn file(
    known: Option<&KnownPipeline>,
    inspected: Option<&Result<Inspected, Problems>>,
) -> (Vec<(usize, String)>, String, Vec<definition::Line>) {
    let Some(known) = known else { return (Vec::new(), String::new(), Vec::new()) };
    let shown = known.path.display().to_string();
    match inspected {
        Some(Ok(valid)) => {
            let lines = definition::lines(&valid.definition.pipeline.text, &[]);
            // A name that another file has, too.
            let other = known.problems.clone().unwrap_or_default();
            (Vec::new(), other, lines)
        }
        Some(Err(problems)) => {
            let text = problems.sources.get(&shown).cloned().unwrap_or_default();
            let (here, elsewhere): (Vec<_>, Vec<_>) = (problems.diagnostics.iter())
                .partition(|problem| problem.file == shown && problem.span.is_some());
            let marks: Vec<definition::Mark> = here
                .iter()
                .filter_map(|problem| {
                    let (line, column) = line_and_column(&text, problem.span.as_ref()?.start);
                    let help = problem.help.as_ref().map(|help| format!("; {help}"));
                    let message = format!("{}{}", problem.message, help.unwrap_or_default());
                    Some(definition::Mark { line, column, is_error: problem.is_error(), message })
                })
                .collect();
            let listed = marks.iter().map(|mark| (mark.line, mark.message.clone())).collect();
            let rest: Vec<_> = elsewhere.into_iter().cloned().collect();
            let rest = orchestrator::diagnostic::render(&rest, &problems.sources, false);
            (listed, rest, definition::lines_with(&text, &marks))
        }
        None => (Vec::new(), String::new(), Vec::new()),
    }
}

#[derive(Deserialize)]
pub struct Pause {
    paused: bool,
}

pub async fn pause(
    State(site): State<Arc<Site>>,
    headers: HeaderMap,
    Path(name): Path<String>,
    Form(Pause { paused }): Form<Pause>,
) -> Result<Redirect, Failure> {
    site.ask(move |site, store| set_paused(site, store, &name, paused)).await?;
    Ok(back(&headers))
}

/// Stops or goes on making runs of a pipeline's schedule.
pub fn set_paused(site: &Site, store: &mut Store, name: &str, paused: bool) -> Result<(), Failure> {
    if site.known(name)?.schedule.is_none() {
        let detail = format!("`{name}` has no schedule that could be paused");
        return Err(Failure::new(StatusCode::CONFLICT, detail));
    }
    Ok(store.set_paused(name, paused, Timestamp::now())?)
}
