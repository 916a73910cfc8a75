//! The grid of runs by tasks: time runs to the right.

use super::PipelineQuery;
use crate::Site;
use crate::daemon::Inspected;
use crate::drawing::{BARS, Svg, bar};
use crate::failure::Failure;
use crate::pages::history::HistoryQuery;
use crate::runs;
use crate::words::{Clock, Cursor, duration};
use jiff::SignedDuration;
use orchestrator::event::TaskEnd;
use orchestrator::store::{RunFilter, RunRow, Store};
use std::collections::HashMap;

/// Tasks on one page.
const TASKS: usize = 100;

pub struct Grid {
    pub columns: Vec<Column>,
    pub rows: Vec<TaskRow>,
    pub note: String,
    pub older: Option<String>,
    pub newer: Option<String>,
    pub fewer: Option<String>,
    pub more: Option<String>,
}

pub struct Column {
    pub run: String,
    pub bar: Svg,
    pub label: String,
    pub title: String,
}

pub struct TaskRow {
    pub task: String,
    pub cells: Vec<Cell>,
}

/// A task in a run: its state; trouble is a link.
pub struct Cell {
    pub state: &'static str,
    pub link: Option<(String, String)>,
}

pub fn grid(
    site: &Site,
    store: &mut Store,
    name: &str,
    valid: Option<&Inspected>,
    query: &PipelineQuery,
    path: &str,
    clock: &Clock,
) -> Result<Option<Grid>, Failure> {
    let from = HistoryQuery { before: query.columns.clone(), ..HistoryQuery::default() };
    let filter = RunFilter { limit: Some(BARS + 1), ..from.filter(Some(name), clock) };
    let mut runs = store.runs(&filter)?;
    if runs.is_empty() {
        return Ok(None);
    }
    let has_older = runs.len() > BARS;
    runs.truncate(BARS);
    let zone = site.zone_of(name);
    let page = usize::from(query.tasks);
    let link = |columns: &str, tasks: usize| format!("{path}?columns={columns}&tasks={tasks}#runs");
    let older = runs
        .last()
        .filter(|_| has_older)
        .map(|last| link(&Cursor::after(last.created_at, &last.id).to_string(), page));
    runs.reverse();
    let mut ends: Vec<HashMap<String, TaskEnd>> = Vec::new();
    for run in &runs {
        ends.push(store.task_ends(&run.id)?.into_iter().collect());
    }
    // As the file has them; what it no longer has comes last.
    let mut tasks: Vec<String> = valid
        .map(|valid| valid.plan.tasks.iter().map(|task| task.name.clone()).collect())
        .unwrap_or_default();
    let known: std::collections::HashSet<String> = tasks.iter().cloned().collect();
    let mut gone: Vec<String> = ends
        .iter()
        .flat_map(HashMap::keys)
        .filter(|task| !known.contains(*task))
        .cloned()
        .collect();
    gone.sort();
    gone.dedup();
    tasks.extend(gone);
    let first_task = page * TASKS;
    let has_more = tasks.len() > first_task + TASKS;
    let all = tasks.len();
    let tasks: Vec<String> = tasks.into_iter().skip(first_task).take(TASKS).collect();

    let took = |run: &RunRow| run.created_at.duration_until(run.ended_at.unwrap_or(clock.now));
    let longest = runs.iter().filter(|run| run.ended_at.is_some()).map(took).max();
    let longest = longest.unwrap_or(SignedDuration::from_secs(1));
    let mut columns = Vec::new();
    let mut labelled: Option<jiff::civil::Date> = None;
    let mut room = 0;
    for run in &runs {
        let status = runs::status(site, run);
        let day = run.interval.start.to_zoned(zone.clone()).date();
        // A day is named once, with its month where that begins; a time has no room in each column.
        let label = match labelled {
            Some(last) if last == day && room > 0 => String::new(),
            Some(last) if last == day => clock.minute(run.created_at),
            Some(last) if last.month() == day.month() => day.strftime("%-d").to_string(),
            _ => day.strftime("%-d %b").to_string(),
        };
        room = if label.is_empty() { room - 1 } else { 2 };
        labelled = Some(day);
        columns.push(Column {
            run: run.id.clone(),
            bar: bar(status.as_str(), took(run).min(longest), longest),
            label,
            title: format!("{}: {}", clock.interval(run.interval, &zone), status.as_str()),
        });
    }
    let rows = tasks.into_iter().map(|task| {
        let cell = |(run, ends): (&RunRow, &HashMap<String, TaskEnd>)| {
            let end = ends.get(&task).copied();
            let link = end.filter(|end| *end == TaskEnd::Failed).map(|end| {
                let href = format!("/runs/{}?task={}#log", run.id, crate::words::encode(&task));
                let state = end.as_str();
                (href, format!("{task}, {}: {state}", clock.interval(run.interval, &zone)))
            });
            Cell { state: end.map_or("", TaskEnd::as_str), link }
        };
        TaskRow { cells: runs.iter().zip(&ends).map(cell).collect(), task: task.clone() }
    });
    let rows: Vec<TaskRow> = rows.collect();
    let span = match (runs.first(), runs.last()) {
        (Some(first), Some(last)) => {
            let day = |run: &RunRow| clock.day(run.interval.start.to_zoned(zone.clone()).date());
            match (day(first), day(last)) {
                (first, last) if first == last => first,
                (first, last) => format!("{first} to {last}"),
            }
        }
        _ => String::new(),
    };
    let mut note =
        format!("{span}; a bar’s height is the run’s duration, the tallest {}", duration(longest));
    if all > TASKS {
        note.push_str(&format!(
            "; tasks {} to {} of {all}",
            first_task + 1,
            first_task + rows.len()
        ));
    }
    Ok(Some(Grid {
        columns,
        rows,
        note,
        older,
        newer: (!query.columns.is_empty()).then(|| link("", page)),
        fewer: (page > 0).then(|| link(&query.columns, page - 1)),
        more: has_more.then(|| link(&query.columns, page + 1)),
    }))
}
