//! `uses: report`: draws a dashboard, declared in YAML, as a page and as pictures.
//!
//! ```text
//! YAML --dashboard--> Dashboard --queries--> Answers --figure--> Figure --+--plotly--> page
//!                                                                        +--draw----> PNG, SVG
//! ```

mod canvas;
mod dashboard;
mod data;
mod draw;
mod figure;
mod format;
mod page;
mod plotly;
mod query;
mod render;
#[cfg(test)]
mod sample;
#[cfg(test)]
mod tests;
mod theme;
mod ticks;
mod yaml;

use self::dashboard::Dashboard;
use self::page::{Made, MadeFrom};
use self::query::{Names, Query};
use self::render::{Answer, Answers};
use crate::engine::offline::Offline;
use crate::engine::sql::plan;
use crate::engine::{Engine, sql_error};
use crate::places::Places;
use async_trait::async_trait;
use datafusion::common::TableReference;
use datafusion::prelude::SessionContext;
use futures::StreamExt;
use indexmap::IndexMap;
use jiff::Timestamp;
use orchestrator::attempt::{Attempt, Outcome, TaskError};
use orchestrator::dataset::Scheme;
use orchestrator::event::Published;
use orchestrator::kind::{Files, Kind, Known, Port, Ports, Problem};
use orchestrator::plan::PlannedTask;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use std::path::Path;
use std::sync::Arc;

/// The output.
const PAGE: &str = "page";

/// A query that gives more rows than this was not meant for a chart.
const MOST_ROWS: usize = 100_000;

/// Draws dashboards.
pub struct Report {
    engine: Arc<Engine>,
}

impl Report {
    pub fn new(engine: Arc<Engine>) -> Self {
        Report { engine }
    }
}

#[derive(Debug, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Options {
    /// The file that says what is shown, such as `dashboards/sales.yaml`.
    dashboard: String,
    /// Values for the queries, which name them as `$name`.
    #[serde(default)]
    parameters: IndexMap<String, Value>,
}

#[async_trait]
impl Kind for Report {
    fn name(&self) -> &'static str {
        "report"
    }

    fn summary(&self) -> &'static str {
        "draws a dashboard as a page that opens offline, and its charts as pictures"
    }

    fn description(&self) -> &'static str {
        include_str!("report/manual.md")
    }

    fn example(&self) -> &'static str {
        include_str!("report/example.yaml")
    }

    fn options(&self) -> schemars::Schema {
        schemars::schema_for!(Options)
    }

    fn ports(&self) -> Ports {
        const TABLE: &[Scheme] = &[Scheme::Table];
        const ARTIFACT: &[Scheme] = &[Scheme::Artifact];
        Ports {
            inputs: vec![Port::any(TABLE, "A table that the queries read by this name")],
            outputs: vec![Port::named(PAGE, ARTIFACT, "The page with its pictures and numbers")],
        }
    }

    fn refer(&self, options: &Value, read: &mut dyn FnMut(&str) -> Option<String>) {
        let Some(path) = options["dashboard"].as_str() else { return };
        let Some(text) = read(path) else { return };
        for path in dashboard::referred(path, &text) {
            read(&path);
        }
    }

    fn check(&self, task: &PlannedTask, files: &Files, known: &Known) -> Vec<Problem> {
        let mut problems = Vec::new();
        for (name, value) in task.options["parameters"].as_object().into_iter().flatten() {
            if value.is_array() || value.is_object() || value.is_null() {
                let message = "a parameter is text, a number or a boolean";
                problems.push(Problem::new(["with", "parameters", name], message));
            }
        }
        let Some(path) = task.options["dashboard"].as_str() else { return problems };
        if !files.contains_key(path) {
            let message = "the dashboard's file must be named here, not computed";
            let help = "write its path, such as `dashboards/sales.yaml`";
            problems.push(Problem::new(["with", "dashboard"], message).help(help));
            return problems;
        }
        let inputs: Vec<&str> = task.inputs.keys().map(String::as_str).collect();
        let parameters = task.options["parameters"].as_object().into_iter().flatten();
        let parameters = parameters.map(|(name, value)| (name.clone(), value.clone())).collect();
        // A parameter that only the attempt knows may be of any type.
        let known = if task.late.is_empty() { known } else { &Known::new() };
        let columns = Offline::new(&self.engine, known);
        let names = Names { inputs: &inputs, parameters: &parameters, columns: &columns };
        problems.extend(dashboard::read(path, files, names).err().unwrap_or_default());
        problems
    }

    async fn run(&self, attempt: &Attempt) -> Result<Outcome, TaskError> {
        let options: Options = attempt.options()?;
        let places = Places::open(&attempt.run)?;
        let artifact = attempt.outputs[PAGE].dataset().name().to_owned();
        if attempt.outputs[PAGE].published.is_some() {
            let directory = places.artifacts().directory(&artifact).join(&attempt.run.id);
            return Ok(outcome(&directory));
        }
        let dashboard = read(&self.engine, attempt, &options)?;
        let session = self.engine.session(attempt.scratch()?)?;
        let mut made = made(attempt);
        for port in attempt.inputs.keys() {
            made.inputs.push(open(attempt, &places, &session, port).await?);
        }
        let queries = dashboard.queries().count();
        attempt.progress.set_total(2 * queries as u64);
        let asking = ask(attempt, &session, &dashboard, &options);
        let answers = tokio::select! {
            () = attempt.cancel.cancelled() => return Err(TaskError::Cancelled),
            answers = asking => answers?,
        };
        let rows = answers.rows() as u64;
        attempt.progress.add_rows_out(rows);
        attempt.intend(PAGE, None).await?;
        let sink = places.artifacts().create(&artifact, &attempt.run.id).await?;
        let bytes = draw(attempt, sink.directory(), dashboard, answers, made).await?;
        let directory = sink.finish().await?;
        attempt.progress.add_bytes_out(bytes);
        let published = Published { version: None, rows, bytes, schema: Vec::new() };
        attempt.published(PAGE, published).await?;
        tracing::info!("the page is {}", directory.join("index.html").display());
        Ok(outcome(&directory))
    }
}

/// The dashboard, which the plan has checked.
fn read(engine: &Engine, attempt: &Attempt, options: &Options) -> Result<Dashboard, TaskError> {
    let path = &options.dashboard;
    let inputs: Vec<&str> = attempt.inputs.keys().map(String::as_str).collect();
    let columns = Offline::new(engine, &Known::new());
    let names = Names { inputs: &inputs, parameters: &options.parameters, columns: &columns };
    dashboard::read(path, &attempt.files, names).map_err(|problems| {
        let messages: Vec<String> = problems.into_iter().map(|problem| problem.message).collect();
        TaskError::permanent(format!("{path}: {}", messages.join("; ")))
    })
}

/// Makes an input's version a table of the session, under the port's name.
async fn open(
    attempt: &Attempt,
    places: &Places,
    session: &SessionContext,
    port: &str,
) -> Result<MadeFrom, TaskError> {
    let input = &attempt.inputs[port];
    let (name, tables) = (input.dataset.name(), places.tables());
    let version = match input.version {
        Some(version) => version,
        None => tables.latest(name).await?.ok_or_else(|| {
            let dataset = &input.dataset;
            TaskError::permanent(format!("`{dataset}` does not exist; has a task written it?"))
        })?,
    };
    attempt.pin(port, Some(version)).await?;
    let table = tables.read(name, version).await?;
    attempt.progress.add_rows_in(table.rows);
    let provider = table.provider(&session.state()).await?;
    session.register_table(TableReference::bare(port), provider).map_err(|error| {
        TaskError::permanent(format!("`{}` can't be queried: {error}", input.dataset))
    })?;
    Ok(MadeFrom { port: port.into(), dataset: input.dataset.to_string(), version: Some(version) })
}

async fn ask(
    attempt: &Attempt,
    session: &SessionContext,
    dashboard: &Dashboard,
    options: &Options,
) -> Result<Answers, TaskError> {
    let mut answers = Vec::new();
    for query in dashboard.queries() {
        answers.push(answer(session, query, options).await?);
        attempt.progress.add_done(1);
    }
    let mut answers = answers.into_iter();
    Ok(Answers {
        figures: answers.by_ref().take(dashboard.figures.len()).collect(),
        charts: answers.by_ref().take(dashboard.charts.len()).collect(),
        tables: answers.collect(),
    })
}

async fn answer(
    session: &SessionContext,
    query: &Query,
    options: &Options,
) -> Result<Answer, TaskError> {
    let place = query.place(&options.dashboard);
    // An SQL file may serve several dashboards: say which one asked.
    let asked = |error: TaskError| match &query.file {
        Some(_) => error.context(format!("{}: `{}`", options.dashboard, query.part())),
        None => error,
    };
    let failed = |error| asked(sql_error(&place, &query.sql, &error));
    let frame = plan(session, &place, &query.sql, &options.parameters).await.map_err(asked)?;
    let schema = Arc::new(frame.schema().as_arrow().clone());
    let mut stream = frame.execute_stream().await.map_err(failed)?;
    let mut batches = Vec::new();
    let mut rows = 0;
    while let Some(batch) = stream.next().await {
        let batch = batch.map_err(failed)?;
        rows += batch.num_rows();
        if rows > MOST_ROWS {
            let message = format!(
                "{place}: the query gives more than {MOST_ROWS} rows, which nobody could see; \
                 group them"
            );
            return Err(TaskError::permanent(message));
        }
        batches.push(batch);
    }
    Ok(Answer { schema, batches })
}

/// Draws on a thread of its own. Returns the bytes written.
async fn draw(
    attempt: &Attempt,
    directory: &Path,
    dashboard: Dashboard,
    answers: Answers,
    made: Made,
) -> Result<u64, TaskError> {
    let (directory, cancel) = (directory.to_owned(), attempt.cancel.clone());
    let progress = attempt.progress.clone();
    let span = tracing::Span::current();
    let work = move || {
        let proceed = || {
            progress.add_done(1);
            if cancel.is_cancelled() { Err(TaskError::Cancelled) } else { Ok(()) }
        };
        span.in_scope(|| render::write(&directory, &dashboard, &answers, &made, &proceed))
    };
    let joined = tokio::task::spawn_blocking(work).await;
    joined.map_err(|error| TaskError::permanent(format!("drawing broke off: {error}")))?
}

fn made(attempt: &Attempt) -> Made {
    Made {
        pipeline: attempt.run.pipeline.clone(),
        task: attempt.task.clone(),
        run: attempt.run.id.clone(),
        interval: page::interval(attempt.run.interval),
        at: page::moment(Timestamp::now()),
        version: env!("CARGO_PKG_VERSION"),
        inputs: Vec::new(),
    }
}

fn outcome(directory: &Path) -> Outcome {
    let page = json!(directory.join("index.html").display().to_string());
    Outcome { values: Map::from_iter([(PAGE.to_owned(), page)]), report: Map::new() }
}
